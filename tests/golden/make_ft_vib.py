#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The bottleneck head of FT in PyTorch, in double, for tests/golden/test_ft_vib.c: evaluation, and a training step without
dropout whose masks are made of the same counter-based numbers that C draws.

Entry k gets 0.5 * sin(0.7 i + 0.3 (k + 1)), the input cos(0.9 i).
Run: python3 tests/golden/make_ft_vib.py > tests/golden/ft_vib.json
"""
import json
import math

import torch
import torch.nn.functional as F
from torch import nn

INPUT, WIDTH, HIDDEN, CLASSES, B, N = 6, 8, 5, 3, 2, 7
LABELS = [2, 0]
SEED, STEP, PURPOSE = 2021, 17, 31


def philox(counter, key):
    c, k = list(counter), list(key)
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(p1 >> 32) ^ c[1] ^ k[0], p1 & 0xFFFFFFFF, (p0 >> 32) ^ c[3] ^ k[1], p0 & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


def uniforms(count, bag, patch):
    key = philox((PURPOSE, 0, 0, 0), (SEED & 0xFFFFFFFF, SEED >> 32))[:2]
    words = []
    while len(words) < 2 * count:
        words += philox((len(words) // 4, STEP, bag, patch), key)
    return [((words[2 * i] | words[2 * i + 1] << 32) >> 11) * 2.0**-53 for i in range(count)]


class Head(nn.Module):
    def __init__(self):
        super().__init__()
        gated = nn.Module()
        gated.attention_a = nn.Sequential(nn.Linear(WIDTH, HIDDEN))
        gated.attention_b = nn.Sequential(nn.Linear(WIDTH, HIDDEN))
        gated.attention_c = nn.Linear(HIDDEN, 1)
        self.attention_net = nn.Sequential(nn.Linear(INPUT, WIDTH), nn.ReLU(), nn.Dropout(0.0), gated)
        self.classifiers = nn.Linear(WIDTH, CLASSES)
        self.instance_gate = nn.Linear(WIDTH, 1)

    def forward(self, x, bag=None):
        h = F.relu(self.attention_net[0](x))
        u = self.instance_gate(h)
        p = torch.sigmoid(u)
        if bag is not None:
            z = torch.zeros_like(p)
            with torch.no_grad():
                logit = F.logsigmoid(u)
                for i in range(len(x)):
                    z[i] = sum(torch.sigmoid((logit[i] + math.log(v) - math.log1p(-v)) / 0.1) for v in uniforms(10, bag, i)) / 10
            h = (z + p) / 1.1 * h
        g = self.attention_net[3]
        a = F.softmax(g.attention_c(torch.tanh(g.attention_a(h)) * torch.sigmoid(g.attention_b(h)))[:, 0], 0)
        return self.classifiers((a[:, None] * h).sum(0)), a, u[:, 0], p


def main():
    torch.set_default_dtype(torch.float64)
    head = Head()
    with torch.no_grad():
        for k, t in enumerate(head.state_dict().values()):
            t.copy_((0.5 * torch.sin(0.7 * torch.arange(t.numel()) + 0.3 * (k + 1))).reshape(t.shape))
    x = torch.cos(0.9 * torch.arange(B * N * INPUT)).reshape(B, N, INPUT)
    logits, attention, score, trained = [], [], [], []
    loss = 0.0
    for i in range(B):
        y, a, u, _ = head(x[i])
        logits += y.tolist()
        attention += a.tolist()
        score += u.tolist()
        y, _, _, p = head(x[i], i)
        trained += y.tolist()
        loss = loss + (0.7 * F.cross_entropy(y[None], torch.tensor([LABELS[i]])) + 0.3 * (p.mean() - 0.2) ** 2) / B
    loss.backward()
    result = {
        "input_dim": INPUT, "inner_dim": WIDTH, "hidden": HIDDEN, "classes": CLASSES, "batch": B, "n": N, "labels": LABELS,
        "seed": SEED, "step": STEP, "logits": logits, "attention": attention, "score": score, "trained": trained,
        "loss": loss.item(), "grads": {k: p.grad.norm().item() for k, p in head.named_parameters()}}
    print("{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in result.items()) + "\n}")


if __name__ == "__main__":
    main()
