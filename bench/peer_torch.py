#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The same work in PyTorch, for the ratios that bench/bench.py prints.

    peer_torch.py ROW modes=MODE,MODE...  [precision=fp32|bf16] [threads=N] [key=value...]

With select=1 every mode is measured `repeats` times, one after the other, and a line "mode NAME SECONDS" (or "mode NAME
failed WHY") is printed for each. Otherwise the one mode is prepared, "ready" is printed, and each line on standard input is
answered: "go" with "seconds S", "memory" with "memory PEAK_BYTES_SINCE_READY BYTES_AFTER_IMPORT".

A mode is words joined by '+':
  eager or compile            torch.compile, for inference with freezing (which folds the batch norms); eager inference has
                              its batch norms folded into the convolutions
  nchw or nhwc                layout of the pixels
  autocast or pure            bf16 only: torch.autocast, or weights in bfloat16 too
  w0, w1, w2                  worker processes of the DataLoader
"""
import contextlib
import copy
import os
import resource
import sys
import time

STARTED = time.perf_counter()

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "golden"))
from make_training import Encoder  # noqa: E402

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


# ---- the model


class AbmilX(nn.Module):
    """ABMILX as bench_step configures it: layer norm, no biases, GELU, learnable alpha, dropout 0.25."""

    def __init__(self, dim=256, inner=256, heads=8, classes=2):
        super().__init__()
        self.heads, self.width = heads, inner // heads
        self.feature = nn.Sequential(nn.LayerNorm(dim, bias=False), nn.Linear(dim, inner, bias=False), nn.GELU(),
                                     nn.Dropout(0.25))
        self.score = nn.Sequential(nn.Linear(self.width, self.width, bias=False), nn.GELU(),
                                   nn.Linear(self.width, 1, bias=False))
        self.norm_x = nn.LayerNorm(self.width)
        self.qk = nn.Linear(self.width, 2 * self.width, bias=False)
        self.alpha = nn.Linear(1, 1, bias=False)
        self.proj = nn.Linear(inner, inner, bias=False)
        self.norm1 = nn.LayerNorm(inner, bias=False)
        self.classifier = nn.Linear(inner, classes, bias=False)

    def forward(self, x):
        b, n, _ = x.shape
        z = self.feature(x).view(b, n, self.heads, self.width).transpose(1, 2)
        a = self.score(z)
        q, k = self.qk(self.norm_x(z)).chunk(2, dim=-1)
        # the value padded to the width of q, so that PyTorch may take its fast path; column 0 is the result
        v = F.pad(self.alpha(a), (0, self.width - 1))
        a = a + F.scaled_dot_product_attention(q.to(v.dtype), k.to(v.dtype), v)[..., :1]
        s = (torch.softmax(a, 2).transpose(-1, -2) @ z).reshape(b, -1)
        return self.classifier(self.norm1(self.proj(s)))


class Whole(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.mil = Encoder(), AbmilX()

    def forward(self, x, bags):
        return self.mil(self.encoder(x).view(bags, x.shape[0] // bags, -1))


def fold(encoder):
    """The encoder for evaluation with every batch norm folded into the convolution before it."""
    from torch.nn.utils.fusion import fuse_conv_bn_eval
    encoder = copy.deepcopy(encoder).eval()
    for module in [encoder, *encoder.modules()]:
        for conv, norm in (("conv1", "bn1"), ("conv2", "bn2")):
            if isinstance(getattr(module, norm, None), nn.BatchNorm2d):
                setattr(module, conv, fuse_conv_bn_eval(getattr(module, conv), getattr(module, norm)))
                setattr(module, norm, nn.Identity())
        short = getattr(module, "downsample", None)
        if isinstance(short, nn.Sequential) and isinstance(short[1], nn.BatchNorm2d):
            module.downsample = fuse_conv_bn_eval(short[0], short[1])
    return encoder


class Mode:
    def __init__(self, name):
        words = name.split("+")
        self.name = name
        self.compile = "compile" in words
        self.form = torch.channels_last if "nhwc" in words else torch.contiguous_format
        self.autocast, self.pure = "autocast" in words, "pure" in words
        self.workers = next((int(w[1:]) for w in words if w[0] == "w" and w[1:].isdigit()), 0)

    def dtype(self):
        return torch.bfloat16 if self.pure else torch.float32

    def cast(self):
        return torch.autocast("cpu", torch.bfloat16) if self.autocast else contextlib.nullcontext()

    def module(self, module, training):
        module = module.to(dtype=self.dtype(), memory_format=self.form).train(training)
        if not self.compile:
            return module
        import torch._inductor.config
        torch._inductor.config.freezing = not training
        return torch.compile(module, dynamic=False)

    def pixels(self, x):
        return x.to(dtype=self.dtype()).contiguous(memory_format=self.form)


# ---- rows: each returns a function that does the work once


def encoder_row(args, mode, training):
    batch, px = int(args.get("batch", 32)), int(args.get("px", 224))
    x = mode.pixels(torch.rand(batch, 3, px, px) * 2 - 1)
    encoder = Encoder()
    if not training:
        encoder = mode.module(encoder.eval() if mode.compile else fold(encoder), False)

        def forward():
            with torch.no_grad(), mode.cast():
                return encoder(x)

        return forward
    encoder = mode.module(encoder, True)
    seed = torch.rand(batch, 256)

    def step():
        for p in encoder.parameters():
            p.grad = None
        with mode.cast():
            y = encoder(x)
        y.backward(seed.to(y.dtype))

    return step


class Patches(torch.utils.data.Dataset):
    """The JPEGs that bench_store copied out of the store, from one mapped file: no file is opened per patch."""

    def __init__(self, folder, name, limit=None):
        with open(os.path.join(folder, name + ".idx")) as index:
            self.rows = [tuple(map(int, line.split())) for line in index][:limit]
        self.path, self.bytes = os.path.join(folder, name + ".bin"), None
        self.decode = faster_decoder(self)

    def jpeg(self, i):
        if self.bytes is None:  # in each worker
            self.bytes = torch.from_file(self.path, size=os.path.getsize(self.path), dtype=torch.uint8)
        _, offset, size = self.rows[i]
        return self.bytes[offset:offset + size]

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return self.decode(self.jpeg(i))


def decode_torchvision(data):
    from torchvision.io import ImageReadMode, decode_jpeg
    return decode_jpeg(data, mode=ImageReadMode.RGB)


def decode_pil(data):
    import io
    from PIL import Image
    from torchvision.transforms.v2.functional import pil_to_tensor
    return pil_to_tensor(Image.open(io.BytesIO(data.numpy().tobytes())).convert("RGB"))


def faster_decoder(patches):
    best = {}
    for decode in (decode_torchvision, decode_pil):
        start = time.perf_counter()
        for i in range(0, 64):
            decode(patches.jpeg(i % len(patches)))
        best[time.perf_counter() - start] = decode
    return best[min(best)]


class Bags(torch.utils.data.Dataset):
    """A slide's patches as one bag of bytes, each cut, resized and mirrored on its own."""

    def __init__(self, folder, count):
        from torchvision.transforms import v2
        self.patches, self.count = Patches(folder, "train"), count
        self.slides = sorted({row[0] for row in self.patches.rows})
        self.of = {s: [i for i, row in enumerate(self.patches.rows) if row[0] == s] for s in self.slides}
        self.change = v2.Compose([v2.RandomResizedCrop(224, scale=(0.08, 1.0), antialias=True),
                                  v2.RandomHorizontalFlip(), v2.RandomVerticalFlip()])

    def __len__(self):
        return len(self.slides)

    def __getitem__(self, i):
        mine = self.of[self.slides[i]]
        picks = [mine[j] for j in torch.randperm(len(mine))[:self.count].tolist()]
        return torch.stack([self.change(self.patches[j]) for j in picks]), i % 2


def normalise(x, mode):
    """Bytes [n, 3, h, w] to normalised pixels, in one pass over the batch."""
    scale = torch.tensor([1 / 255 / s for s in STD]).view(1, 3, 1, 1)
    offset = torch.tensor([-m / s for m, s in zip(MEAN, STD)]).view(1, 3, 1, 1)
    return mode.pixels(x.float().contiguous(memory_format=mode.form).mul_(scale).add_(offset))


def loader_of(dataset, batch, shuffle, mode):
    more = {"persistent_workers": True, "prefetch_factor": 2} if mode.workers else {}
    return torch.utils.data.DataLoader(dataset, batch_size=batch, shuffle=shuffle, num_workers=mode.workers, **more)


def step_row(args, mode, first_only=False):
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
    bags, count = int(args.get("bags", 2)), int(args.get("patches", 64))
    loader = loader_of(Bags(args["store"], count), bags, True, mode)
    raw = Whole()
    model = mode.module(raw, True)
    optimiser = torch.optim.AdamW(raw.parameters(), lr=2e-4, weight_decay=1e-5, fused=True)
    ema = AveragedModel(raw, multi_avg_fn=get_ema_multi_avg_fn(0.999))

    def epoch():
        for pixels, label in loader:
            x = normalise(pixels.flatten(0, 1), mode)
            with mode.cast():
                loss = F.cross_entropy(model(x, pixels.shape[0]).float(), label)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            ema.update_parameters(raw)
            loss.item()
            if first_only:
                return

    return epoch


def infer_row(args, mode):
    patches = Patches(args["store"], "infer", int(args["limit"]) if "limit" in args else None)
    # Batches of one size, so that a compiled encoder is compiled once; the last one is filled up.
    batch = int(args.get("chunk", 64))
    loader = loader_of(patches, batch, False, mode)
    raw = Encoder().eval()
    encoder = mode.module(raw if mode.compile else fold(raw), False)
    mil = AbmilX().to(mode.dtype()).eval()

    def slide():
        features = []
        with torch.no_grad(), mode.cast():
            for pixels in loader:
                x = normalise(pixels, mode)
                n = x.shape[0]
                if n < batch:
                    x = mode.pixels(torch.cat([x, x.new_zeros(batch - n, *x.shape[1:])]))
                features.append(encoder(x)[:n])
            return mil(torch.cat(features)[None]).float().softmax(-1).tolist()

    return slide


def attend_row(args, mode, training):
    n, heads, width = int(args.get("n", 512)), int(args.get("heads", 8)), int(args.get("width", 32))
    given = int(args.get("columns", 1))  # of the value
    columns = width if "padded" in mode.name else given
    dtype = torch.bfloat16 if args.get("precision") == "bf16" else torch.float32
    q, k = (torch.rand(1, heads, n, width, dtype=dtype) * 2 - 1 for _ in range(2))
    v, seed = torch.rand(1, heads, n, given, dtype=dtype), torch.rand(1, heads, n, given, dtype=dtype)
    for t in (q, k, v):
        t.requires_grad_(training)
    # A matrix of n x n scores that does not fit shall fail, not push the machine into swapping.
    with open("/proc/meminfo") as info:
        free = next(int(line.split()[1]) * 1024 for line in info if line.startswith("MemAvailable"))
    with open("/proc/self/statm") as own:
        size = int(own.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + free * 9 // 10, resource.RLIM_INFINITY))

    def run():
        y = F.scaled_dot_product_attention(q, k, F.pad(v, (0, columns - given)))[..., :given]
        if training:
            torch.autograd.grad(y, (q, k, v), seed)

    def forward():
        with torch.no_grad():
            run()

    return run if training else forward


ROWS = {
    "encoder-forward": lambda args, mode: encoder_row(args, mode, False),
    "encoder-train": lambda args, mode: encoder_row(args, mode, True),
    "step": step_row,
    "infer": infer_row,
    "attend-forward": lambda args, mode: attend_row(args, mode, False),
    "attend-train": lambda args, mode: attend_row(args, mode, True),
}


# ---- measuring


def resident(name):
    """VmHWM (the most so far) or VmRSS (now), in bytes."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(name))


def clear_peak():
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pass  # not allowed here: the peak is that of the whole process


def say(*words):
    print(*words, flush=True)


def timed(go):
    start = time.perf_counter()
    go()
    return time.perf_counter() - start


def serve(go, warm):
    if warm:
        go()
    clear_peak()
    say("ready")
    for line in sys.stdin:
        if line.strip() == "go":
            say("seconds", timed(go))
        else:
            say("memory", resident("VmHWM"), AT_REST)


def why(error):
    text = str(error).strip().splitlines()
    return (type(error).__name__ + ": " + (text[0] if text else ""))[:160]


AT_REST = resident("VmRSS")


def main():
    args = dict(arg.split("=", 1) for arg in sys.argv[2:])
    if int(args.get("threads", 0)):
        torch.set_num_threads(int(args["threads"]))
    row, modes = sys.argv[1], args["modes"].split(",")
    if row == "start":
        step_row(args, Mode(modes[0]), first_only=True)()
        say("first step", time.perf_counter() - STARTED)
        return
    if args.get("select") == "1":
        for name in modes:
            try:
                if "compile" in name:
                    torch._dynamo.reset()
                go = ROWS[row](args, Mode(name))
                warm = timed(go)
                # repeats=0: the first go counts, for rows that take long
                say("mode", name, min((timed(go) for _ in range(int(args.get("repeats", 2)))), default=warm), warm)
            except Exception as error:  # a mode that this PyTorch cannot do is left out, and said so
                say("mode", name, "failed", why(error))
        return
    try:
        serve(ROWS[row](args, Mode(modes[0])), args.get("warm", "1") == "1")
    except (RuntimeError, MemoryError) as error:
        say("failed", why(error))


if __name__ == "__main__":
    main()
