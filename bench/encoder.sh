#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Encoder speed: configure with -DSW_BENCH=ON; $SLIDEWISE_BUILD is the build folder (default: build).
program="${SLIDEWISE_BUILD:-build}/bench/bench_encoder"
[ -x "$program" ] || { echo "bench/encoder.sh: $program is missing; configure with -DSW_BENCH=ON and build" >&2; exit 1; }
exec "$program" "$@"
