#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Encoder speed, and PyTorch's where python3 has it. `make bench` builds and runs it; $SLIDEWISE_BUILD is the build
# folder (default: build).
program="${SLIDEWISE_BUILD:-build}/bench/bench_encoder"
[ -x "$program" ] || { echo "bench/encoder.sh: $program is missing; build the target slidewise_bench" >&2; exit 1; }
"$program" "$@" || exit 1
if python3 -c 'import torch' 2>/dev/null; then
    python3 "$(dirname "$0")/peer_encoder.py"
else
    echo "PyTorch is not here: no ratio (pip install torch)"
fi
