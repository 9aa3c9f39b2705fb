#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Thirty training steps of ResNet-18 (to layer3) + ABMILX in PyTorch, for tests/golden/test_training.c.

Weights and pixels come from an integer hash that C repeats exactly, so only the losses are stored.
Run: python3 tests/golden/make_training.py > tests/golden/training.csv
"""
import sys

import torch
import torch.nn.functional as F
from torch import nn

BAGS, PATCHES, SIZE, CLASSES = 2, 8, 64, 3
INNER, HEADS, STEPS, LR, DECAY = 64, 4, 30, 3e-6, 1e-2


def hashed(count, stream):
    """uniform in [-1, 1), element i of `stream`"""
    x = torch.arange(count, dtype=torch.int64) * 2654435761 + stream * 40503 + 12345
    mask = 0xFFFFFFFF
    x &= mask
    for _ in range(2):
        x ^= x >> 16
        x = (x * 0x45D9F3B) & mask
    x ^= x >> 16
    return x.double() / 2147483648.0 - 1.0


class Block(nn.Module):
    def __init__(self, cin, cout, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(cout)
        self.conv2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(cout)
        self.downsample = None
        if stride != 1 or cin != cout:
            self.downsample = nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout))

    def forward(self, x):
        short = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(x)) + short)


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = nn.Sequential(Block(64, 64, 1), Block(64, 64, 1))
        self.layer2 = nn.Sequential(Block(64, 128, 2), Block(128, 128, 1))
        self.layer3 = nn.Sequential(Block(128, 256, 2), Block(256, 256, 1))

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        return self.layer3(self.layer2(self.layer1(x))).mean((2, 3))


class AbmilX(nn.Module):
    """layer norm, no biases, GELU, learnable alpha; dropout off"""

    def __init__(self):
        super().__init__()
        d = INNER // HEADS
        self.qk = nn.Parameter(torch.empty(2 * d, d))
        self.v = nn.Parameter(torch.empty(1, 1))
        self.norm_x = nn.LayerNorm(d)
        self.norm1 = nn.LayerNorm(INNER, bias=False)
        self.f0 = nn.LayerNorm(256, bias=False)
        self.f1 = nn.Linear(256, INNER, bias=False)
        self.fc1 = nn.Linear(d, d, bias=False)
        self.fc2 = nn.Linear(d, 1, bias=False)
        self.proj = nn.Linear(INNER, INNER, bias=False)
        self.classifier = nn.Linear(INNER, CLASSES, bias=False)

    def forward(self, x):
        b, n, _ = x.shape
        d = INNER // HEADS
        z = F.gelu(self.f1(self.f0(x))).view(b, n, HEADS, d).transpose(1, 2)
        a = self.fc2(F.gelu(self.fc1(z)))
        q, k = (self.norm_x(z) @ self.qk.T).split(d, dim=-1)
        a = a + torch.softmax(q @ k.transpose(-1, -2) / d ** 0.5, -1) @ (a * self.v[0, 0])
        s = (torch.softmax(a, 2) * z).sum(2).reshape(b, INNER)
        return self.classifier(self.norm1(self.proj(s)))


def fill(module, names):
    """the same rule as test_training.c: conv and linear scaled by fan-in, gains around 1, offsets small"""
    state = dict(module.named_parameters())
    for stream, (ours, theirs) in enumerate(names):
        p = state[theirs]
        value = hashed(p.numel(), stream + 1).reshape(p.shape)
        if p.dim() >= 2:
            fan_in = p.numel() // p.shape[0]
            value = value * (3.0 / fan_in) ** 0.5
        elif theirs.endswith("bias"):
            value = value * 0.1
        else:
            value = 1.0 + value * 0.1
        with torch.no_grad():
            p.copy_(value)


def encoder_names(encoder):
    return [("encoder.model." + n, n) for n, _ in encoder.named_parameters()]


MIL = [("mil.attn_plus_fn.qk.weight", "qk"), ("mil.attn_plus_fn.v.weight", "v"),
       ("mil.attn_plus_fn.norm_x.weight", "norm_x.weight"), ("mil.attn_plus_fn.norm_x.bias", "norm_x.bias"),
       ("mil.norm1.weight", "norm1.weight"), ("mil.feature.0.weight", "f0.weight"),
       ("mil.feature.1.weight", "f1.weight"), ("mil.attention.fc1.weight", "fc1.weight"),
       ("mil.attention.fc2.weight", "fc2.weight"), ("mil.proj.weight", "proj.weight"),
       ("mil.classifier.weight", "classifier.weight")]


def run(dtype):
    torch.set_default_dtype(dtype)
    encoder, mil = Encoder(), AbmilX()
    names = encoder_names(encoder)
    fill(encoder, names)
    fill(mil, MIL)
    params = list(encoder.parameters()) + list(mil.parameters())
    optimiser = torch.optim.AdamW(params, lr=LR, weight_decay=DECAY)
    losses = []
    for step in range(STEPS):
        bag = step % 3  # three fixed batches in turn
        x = hashed(BAGS * PATCHES * 3 * SIZE * SIZE, 1000 + bag).reshape(BAGS, PATCHES, 3, SIZE, SIZE)
        label = torch.tensor([bag % CLASSES, (bag + 1) % CLASSES])
        # each class has its own mean colour and contrast: a signal well above rounding
        gain = 0.5 + 0.5 * label.double().view(-1, 1, 1, 1, 1)
        tint = ((label.view(-1, 1) + torch.arange(3)) % 3).double().view(-1, 1, 3, 1, 1) - 1.0
        x = (x * gain + tint).to(dtype).reshape(-1, 3, SIZE, SIZE)
        logits = mil(encoder(x).view(BAGS, PATCHES, -1))
        loss = F.cross_entropy(logits, label)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


def main():
    torch.set_num_threads(1)
    double, single = run(torch.float64), run(torch.float32)
    worst = max(abs(a - b) / abs(a) for a, b in zip(double, single))
    print(f"torch {torch.__version__}: float32 against float64 differs by {worst:.2e} at most", file=sys.stderr)
    print("step,loss_f32,loss_f64")
    for i, (s, d) in enumerate(zip(single, double)):
        print(f"{i},{s:.9g},{d:.17g}")


if __name__ == "__main__":
    main()
