#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""C2C's head and its loss in PyTorch, in double, for tests/golden/test_c2c.c: the keys of the whole model with their shapes,
and of a small head the outputs, the three parts of the loss and the norm of every gradient.

Entry k (in the order of the state_dict) of the small head gets 0.5 * sin(0.7 i + 0.3 (k + 1)), the input cos(0.9 i).
Run: python3 tests/golden/make_c2c.py > tests/golden/c2c.json
"""
import json

import torch
import torch.nn.functional as F
from torch import nn

from make_resnet import Encoder

INPUT, WIDTH, HIDDEN, CLASSES, B, N = 6, 4, 32, 3, 2, 16
LABELS = [2, 0]
# of the first bag two clusters count (6 and 5 patches), of the second one (9); a patch that was drawn again has none
CLUSTERS = [[0, 1, 0, 1, 0, 1, 0, 2, 0, 1, 0, 2, 1, 2, 3, -1], [4, 0, 0, 0, 4, 4, 4, 0, 0, 0, 0, 0, 0, -1, 2, 1]]


class Head(nn.Module):
    def __init__(self, cin, width, classes):
        super().__init__()
        self.resnet_tail = nn.Sequential(nn.Linear(cin, 4 * width), nn.ReLU(), nn.Linear(4 * width, width), nn.ReLU())
        self.attention = nn.Sequential(nn.Linear(width, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, 1))
        self.classifier = nn.Sequential(nn.Linear(width, classes))
        self.patch_classifier = nn.Sequential(nn.Linear(width, classes))

    def forward(self, x):
        f = self.resnet_tail(x)
        e = self.attention(f)[:, 0]
        a = F.softmax(e, 0)
        return self.classifier((a[:, None] * f).sum(0)), a, e, self.patch_classifier(f)


def divergence(e, cluster):
    total = torch.zeros(())
    for c in sorted(set(cluster) - {-1}):
        some = e[[i for i, k in enumerate(cluster) if k == c]]
        if len(some) <= 4:
            continue
        u = torch.full_like(some, 1.0 / len(some))
        total = total + F.kl_div(F.log_softmax(some, 0), u, reduction="sum")
    return total


def keys():
    """of the whole model with two classes: the ResNet as a list of its children, of which 2 and 3 are the ReLU and the pool"""
    r = Encoder(False, 4)
    head = nn.Sequential(r.conv1, r.bn1, nn.ReLU(), nn.MaxPool2d(3, 2, 1), r.layer1, r.layer2, r.layer3, r.layer4)
    whole = Head(512, 64, 2)
    out = {f"resnet_head.{k}": list(v.shape) for k, v in head.state_dict().items()}
    out.update({k: list(v.shape) for k, v in whole.state_dict().items()})
    return out


def main():
    torch.set_default_dtype(torch.float64)
    head = Head(INPUT, WIDTH, CLASSES)
    with torch.no_grad():
        for k, t in enumerate(head.state_dict().values()):
            t.copy_((0.5 * torch.sin(0.7 * torch.arange(t.numel()) + 0.3 * (k + 1))).reshape(t.shape))
    x = torch.cos(0.9 * torch.arange(B * N * INPUT)).reshape(B, N, INPUT)
    slide = patch = even = 0.0
    logits, attention = [], []
    for i in range(B):
        y, a, e, p = head(x[i])
        logits += y.tolist()
        attention += a.tolist()
        slide = slide + F.cross_entropy(y[None], torch.tensor([LABELS[i]])) / B
        patch = patch + F.cross_entropy(p, torch.full((N,), LABELS[i])) / B
        even = even + divergence(e, CLUSTERS[i]) / B
    loss = 1.0 * slide + 0.25 * patch + 5.0 * even  # weights that let every part be seen
    loss.backward()
    result = {
        "input_dim": INPUT, "inner_dim": WIDTH, "classes": CLASSES, "batch": B, "n": N, "labels": LABELS,
        "clusters": sum(CLUSTERS, []), "logits": logits, "attention": attention,
        "slide": slide.item(), "patch": patch.item(), "even": even.item(), "loss": loss.item(),
        "grads": {k: p.grad.norm().item() for k, p in head.named_parameters()}, "keys": keys()}
    print("{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in result.items()) + "\n}")


if __name__ == "__main__":
    main()
