#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A hundred training steps of ResNet-18 (to layer3) + ABMILX in PyTorch, for tests/golden/test_trajectory.c: cross entropy and
discrete-time survival, AdamW, warm-up and cosine, two bags a step, a moving average of weights and running statistics.

Weights and pixels come from an integer hash that C repeats exactly. Of the losses all are stored, of each final tensor its
norm and its projection on hashed numbers, and the same of the way it went from its start.
Run: python3 tests/golden/make_trajectory.py   (writes trajectory_losses.csv and trajectory_weights.csv)
"""
import copy
import math
import pathlib
import sys

import torch
import torch.nn.functional as F

import make_training as base
from make_training import MIL, AbmilX, Encoder, encoder_names, fill, hashed

BAGS, PATCHES, SIZE, STEPS, EPOCH_STEPS = 2, 6, 32, 100, 10
EPOCHS, WARMUP, LR, WARMUP_LR, MIN_LR = 10, 3, 4e-6, 1e-6, 1e-7
DECAY, EMA = 1e-2, 0.95
HERE = pathlib.Path(__file__).parent
# (bin, censored) of the two bags of the three batches
TARGETS = [[(0, 0), (1, 0)], [(1, 0), (2, 1)], [(3, 0), (0, 1)]]


def lr_of(epoch):
    """timm's cosine with warm-up, per epoch"""
    if epoch < WARMUP:
        return WARMUP_LR + epoch * (LR - WARMUP_LR) / WARMUP
    return MIN_LR + 0.5 * (LR - MIN_LR) * (1 + math.cos(math.pi * epoch / EPOCHS))


def survival_nll(logits, targets, eps=1e-7):
    hazard = torch.sigmoid(logits)
    survival = torch.cumprod(1 - hazard, 1)
    padded = torch.cat([torch.ones_like(survival[:, :1]), survival], 1)
    y = torch.tensor([t[0] for t in targets])[:, None]
    c = torch.tensor([t[1] for t in targets])[:, None]
    before, here, now = padded.gather(1, y), hazard.gather(1, y), padded.gather(1, y + 1)
    event = -(1 - c) * (before.clamp(min=eps).log() + here.clamp(min=eps).log())
    censored = -c * now.clamp(min=eps).log()
    return (event + censored).mean()


def batch(step, survival, dtype):
    bag = step % 3
    x = hashed(BAGS * PATCHES * 3 * SIZE * SIZE, 2000 + bag).reshape(BAGS, PATCHES, 3, SIZE, SIZE)
    label = torch.tensor([t[0] for t in TARGETS[bag]]) if survival else torch.tensor([bag % 3, (bag + 1) % 3])
    gain = 0.5 + 0.5 * label.double().view(-1, 1, 1, 1, 1)
    tint = ((label.view(-1, 1) + torch.arange(3)) % 3).double().view(-1, 1, 3, 1, 1) - 1.0
    return (x * gain + tint).to(dtype).reshape(-1, 3, SIZE, SIZE), label, TARGETS[bag]


def ours(encoder, mil):
    """(name of slidewise, tensor) of all floating entries"""
    out = [("encoder.model." + n, t) for n, t in encoder.state_dict().items() if t.is_floating_point()]
    state = mil.state_dict()
    return out + [(name, state[theirs]) for name, theirs in MIL]


def run(dtype, survival):
    torch.set_default_dtype(dtype)
    base.CLASSES = 4 if survival else 3
    encoder, mil = Encoder(), AbmilX()
    fill(encoder, encoder_names(encoder))
    fill(mil, MIL)
    start = {n: t.clone().double() for n, t in ours(encoder, mil)}
    ema = copy.deepcopy(torch.nn.ModuleList([encoder, mil]))
    params = list(encoder.parameters()) + list(mil.parameters())
    optimiser = torch.optim.AdamW(params, lr=LR, weight_decay=DECAY)
    losses = []
    for step in range(STEPS):
        for group in optimiser.param_groups:
            group["lr"] = lr_of(step // EPOCH_STEPS)
        x, label, targets = batch(step, survival, dtype)
        logits = mil(encoder(x).view(BAGS, PATCHES, -1))
        loss = survival_nll(logits, targets) if survival else F.cross_entropy(logits, label)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            for (_, e), (_, w) in zip(ours(*ema), ours(encoder, mil)):
                e += (1 - EMA) * (w - e)
        losses.append(loss.item())
    final = {}
    for view, modules in (("main", (encoder, mil)), ("ema", ema)):
        for k, (name, t) in enumerate(ours(*modules)):
            w = t.double().flatten()
            moved = w - start[name].flatten()
            h = hashed(w.numel(), 5000 + k)
            final[view, name] = [w.norm().item(), (w * h).sum().item(), moved.norm().item(), (moved * h).sum().item(), moved]
    return losses, final


def main():
    torch.set_num_threads(2)
    tables, weights = [], ["task,view,name,norm,projection,moved,moved_projection"]
    for survival in (False, True):
        (double, exact), (single, rounded) = run(torch.float64, survival), run(torch.float32, survival)
        tables.append(double)
        loss = max(abs(a - b) / abs(a) for a, b in zip(double, single))
        way = max(((exact[k][4] - rounded[k][4]).norm() / max(exact[k][2], 1e-30)).item() for k in exact)
        value = max(((exact[k][4] - rounded[k][4]).norm() / exact[k][0]).item() for k in exact)
        print(f"{'survival' if survival else 'classes'}: float32 against float64: losses {loss:.2e}, weights {value:.2e}, "
              f"ways {way:.2e}; loss {double[0]:.4f} to {double[-1]:.4f}", file=sys.stderr)
        for (view, name), v in exact.items():
            weights.append(f"{'survival' if survival else 'classes'},{view},{name}," + ",".join(f"{x:.9g}" for x in v[:4]))
    rows = ["step,classes,survival"] + [f"{i},{a:.12g},{b:.12g}" for i, (a, b) in enumerate(zip(*tables))]
    (HERE / "trajectory_losses.csv").write_text("\n".join(rows) + "\n")
    (HERE / "trajectory_weights.csv").write_text("\n".join(weights) + "\n")


if __name__ == "__main__":
    main()
