#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Five updates of PyTorch's optimisers on two parameters (a matrix and a bias), for tests/unit/test_optim.c: gradients are
sin(step + 2 i), clipped to a norm where the row says so. Prints one C initialiser a row.
Run: python3 tests/golden/make_optim.py
"""
import torch

ROWS = [
    ("sgd", dict(lr=0.01), {}, 0, False),
    ("sgd", dict(lr=0.01, momentum=0.9, weight_decay=0.1), {}, 0, False),
    ("sgd", dict(lr=0.01, momentum=0.9, weight_decay=0.1, nesterov=True), {}, 0, False),
    ("adam", dict(lr=0.01, weight_decay=0.1, betas=(0.8, 0.95), eps=1e-4), {}, 0, False),
    ("adamw", dict(lr=0.01, weight_decay=0.1), {}, 0, True),           # the bias does not decay
    ("adamw", dict(lr=0.01, weight_decay=0.1), dict(lr=0.001), 0, False),  # the matrix has its own learning rate
    ("adamw", dict(lr=0.01, weight_decay=0.1), dict(lr=0.001), 0.5, True),  # all of it, and clipping
]


def run(kind, options, matrix_options, clip, matrices):
    torch.set_default_dtype(torch.float64)
    matrix = torch.nn.Parameter(torch.tensor([[1.0, -2.0], [0.5, 3.0]]))
    bias = torch.nn.Parameter(torch.tensor([-0.1, 0.7]))
    groups = [dict(params=[matrix], **matrix_options), dict(params=[bias], **(dict(weight_decay=0.0) if matrices else {}))]
    make = dict(sgd=torch.optim.SGD, adam=torch.optim.Adam, adamw=torch.optim.AdamW)[kind]
    optim = make(groups, **options)
    for step in range(1, 6):
        g = torch.tensor([step + 2.0 * i for i in range(6)]).sin()
        matrix.grad, bias.grad = g[:4].reshape(2, 2).clone(), g[4:].clone()
        if clip:
            torch.nn.utils.clip_grad_norm_([matrix, bias], clip)
        optim.step()
    return [*matrix.detach().flatten().tolist(), *bias.detach().tolist()]


for row in ROWS:
    print("{" + ", ".join(f"{x:.15g}" for x in run(*row)) + "},")
