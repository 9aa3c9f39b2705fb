#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Peak memory of a training step and of whole-slide inference for bags of growing size at a fixed chunk. `make bench` builds
# and runs it with small patches; `bench/memory.sh --px 224 64 256 1024 4096 16384` takes a quarter of an hour.
program="${SLIDEWISE_BUILD:-build}/bench/bench_memory"
[ -x "$program" ] || { echo "bench/memory.sh: $program is missing; build the target slidewise_bench" >&2; exit 1; }
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
"$program" --dir "$dir" "$@" && rm -rf "$dir" && mkdir "$dir" && "$program" --infer --dir "$dir" "$@"
