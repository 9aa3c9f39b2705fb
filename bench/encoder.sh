#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Encoder speed. `make bench` builds and runs it; $SLIDEWISE_BUILD is the build folder (default: build).
program="${SLIDEWISE_BUILD:-build}/bench/bench_encoder"
[ -x "$program" ] || { echo "bench/encoder.sh: $program is missing; build the target slidewise_bench" >&2; exit 1; }
exec "$program" "$@"
