#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""ResNet-18 and ResNet-50 (to layer3 or layer4, averaged) in PyTorch, in double, for tests/golden/test_resnet.c.

Weights, running statistics and pixels come from an integer hash that C repeats exactly; only results are stored: the
features of evaluation and of training, the loss, and of every gradient and every running statistic after one step its
norm, its sum and some elements.
Run: python3 tests/golden/make_resnet.py > tests/golden/resnet.csv
"""
import sys

import torch
import torch.nn.functional as F
from torch import nn

from make_training import hashed

N, SIZE, SAMPLES = 3, 48, 24


class Block(nn.Module):
    """basic (two 3x3) or bottleneck (1x1, 3x3 with the stride, 1x1)"""

    def __init__(self, cin, planes, stride, bottleneck):
        super().__init__()
        out = planes * 4 if bottleneck else planes
        self.bottleneck = bottleneck
        if bottleneck:
            self.conv1 = nn.Conv2d(cin, planes, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(planes)
            self.conv2 = nn.Conv2d(planes, planes, 3, stride, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(planes)
            self.conv3 = nn.Conv2d(planes, out, 1, bias=False)
            self.bn3 = nn.BatchNorm2d(out)
        else:
            self.conv1 = nn.Conv2d(cin, planes, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(planes)
            self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = None
        if stride != 1 or cin != out:
            self.downsample = nn.Sequential(nn.Conv2d(cin, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x):
        short = x if self.downsample is None else self.downsample(x)
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.bottleneck:
            y = self.bn3(self.conv3(F.relu(y)))
        return F.relu(y + short)


class Encoder(nn.Module):
    def __init__(self, bottleneck, stages):
        super().__init__()
        self.stages = stages
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        cin = 64
        for stage, count in enumerate(((3, 4, 6, 3) if bottleneck else (2, 2, 2, 2))[:stages]):
            planes, blocks = 64 << stage, []
            for i in range(count):
                blocks.append(Block(cin, planes, 2 if stage > 0 and i == 0 else 1, bottleneck))
                cin = planes * 4 if bottleneck else planes
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        for stage in range(self.stages):
            x = getattr(self, f"layer{stage + 1}")(x)
        return x.mean((2, 3))


def fill(encoder):
    """Streams count the entries of state_dict without num_batches_tracked; the same rule as test_resnet.c."""
    stream = 0
    with torch.no_grad():
        for name, t in encoder.state_dict().items():
            if name.endswith("num_batches_tracked"):
                continue
            stream += 1
            h = hashed(t.numel(), stream).reshape(t.shape)
            if t.dim() == 4:
                h = h * (6.0 / (t.numel() // t.shape[0])) ** 0.5
            elif name.endswith(("bias", "running_mean")):
                h = h * 0.1
            elif name.endswith("running_var"):
                h = 1.0 + h * 0.5
            else:
                h = 0.5 + h * 0.1  # gains below one keep the residual sums small
            t.copy_(h)


def row(encoder, kind, name, t):
    t = t.detach().double().flatten()
    step = max(1, t.numel() // SAMPLES)
    some = t[::step][:SAMPLES]
    values = " ".join(f"{v:.13g}" for v in some.tolist())
    print(f"{encoder},{kind},{name},{t.numel()},{t.norm().item():.15g},{t.sum().item():.15g},{t.abs().max().item():.9g},{values}")


def run(name, bottleneck, stages, every=True):
    encoder = Encoder(bottleneck, stages).double()
    fill(encoder)
    x = hashed(N * 3 * SIZE * SIZE, 5000).reshape(N, 3, SIZE, SIZE)
    encoder.eval()
    with torch.no_grad():
        row(name, "eval", "features", encoder(x))
    encoder.train()
    features = encoder(x)
    target = hashed(features.numel(), 6000).reshape(features.shape)
    loss = (features * target).sum()  # a gradient of either sign for every feature
    loss.backward()
    row(name, "train", "features", features)
    row(name, "loss", "loss", loss)
    if not every:
        return
    for key, p in encoder.named_parameters():
        row(name, "grad", key, p.grad)
    for key, t in encoder.named_buffers():
        if not key.endswith("num_batches_tracked"):
            row(name, "after", key, t)


def main():
    torch.set_num_threads(2)
    torch.set_default_dtype(torch.float64)
    print(f"torch {torch.__version__}", file=sys.stderr)
    print("encoder,kind,name,count,norm,sum,max,samples")
    run("resnet18", False, 3)
    run("resnet50", True, 3)
    run("resnet18_full", False, 4)
    run("resnet50_full", True, 4, every=False)


if __name__ == "__main__":
    main()
