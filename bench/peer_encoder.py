#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The same encoder in PyTorch (eager), for the ratio that bench/encoder.sh prints: best and median patches/s."""
import os
import statistics
import sys
import time

import torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "golden"))
from make_training import Encoder  # noqa: E402

BATCH, SIZE, RUNS = 32, 224, 7


def rates(step):
    step()
    seconds = []
    for _ in range(RUNS):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return BATCH / min(seconds), BATCH / statistics.median(seconds)


def main():
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else os.cpu_count())
    print(f"PyTorch {torch.__version__}, eager, {torch.get_num_threads()} threads")
    for layout, form in (("NCHW", torch.contiguous_format), ("channels last", torch.channels_last)):
        encoder = Encoder().to(memory_format=form)
        x = torch.randn(BATCH, 3, SIZE, SIZE).to(memory_format=form)

        def forward():
            with torch.no_grad():
                encoder(x)

        def train():
            encoder.zero_grad()
            encoder(x).sum().backward()

        for name, step, mode in (("forward", forward, False), ("forward + backward", train, True)):
            encoder.train(mode)
            best, median = rates(step)
            print(f"{name:18} best {best:7.1f}  median {median:7.1f} patches/s  {layout}")


if __name__ == "__main__":
    main()
