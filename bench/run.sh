#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What `make bench` calls. With python3 bench.py measures in turns with PyTorch (where that is installed); without it the C
# programs run by themselves. --breakdown: where the time goes, per op and shape. $SLIDEWISE_BUILD is the build folder.
# $SLIDES, files or folders with spaces between: tiling each of them and reading their patches instead, beside Python's tilers and
# readers; the options are then tile.py's. Without a Python that has the peers, slidewise alone.
here=$(dirname "$0")
programs="${SLIDEWISE_BUILD:-$here/../build/release}/bench"
[ -x "$programs/bench_encoder" ] || { echo "bench/run.sh: $programs/bench_encoder is missing; build slidewise_bench" >&2; exit 1; }

alone() {
    export GOMP_SPINCOUNT="${GOMP_SPINCOUNT:-1000}" # as the program's threads wait (cli/waiting.c)
    store=$(mktemp -d) || exit 1
    trap 'rm -rf "$store"' EXIT
    "$programs/bench_store" out="$store" patches="${PATCHES:-1024}" && "$programs/bench_floor" || exit 1
    precisions=fp32
    [ "$("$programs/bench_floor" repeats=1 | sed -n 's/bf16_gflops //p')" = 0 ] || precisions='fp32 bf16'
    for precision in $precisions; do
        echo "== $precision"
        "$programs/bench_encoder" kind=forward precision=$precision "$@" &&
            "$programs/bench_encoder" kind=train precision=$precision "$@" &&
            "$programs/bench_step" store="$store" precision=$precision "$@" &&
            "$programs/bench_infer" store="$store" precision=$precision "$@" || exit 1
    done
    "$programs/bench_step" store="$store" kind=start patches=8 || exit 1
    for n in 512 10000; do
        "$programs/bench_attend" n=$n kind=forward && "$programs/bench_attend" n=$n kind=train || exit 1
        "$programs/bench_attend" n=$n width=64 columns=64 kind=forward &&
            "$programs/bench_attend" n=$n width=64 columns=64 kind=train || exit 1
    done
    for name in abmil transmil rrtmil; do "$programs/bench_mil" name=$name kind=train || exit 1; done
}

if [ -n "${SLIDES:-}" ]; then
    python=${PYTHON:-python3}
    # shellcheck disable=SC2086 # words on purpose
    if command -v "$python" > /dev/null; then
        "$python" "$here/tile.py" "$@" $SLIDES && exec "$python" "$here/store.py" $SLIDES
        exit 1
    fi
    out=$(mktemp -d) || exit 1
    trap 'rm -rf "$out"' EXIT
    for slides in $SLIDES; do
        for kind in stages tissue coords store; do
            "$programs/bench_tile" slides="$slides" kind=$kind out="$out" || exit 1
        done
    done
    exit 0
fi

case " $* " in
*" --breakdown "*) alone breakdown=1 repeats=3 ;;
*) if command -v python3 > /dev/null; then exec python3 "$here/bench.py" "$@"; else alone; fi ;;
esac
