#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Tiling against one openslide-python read per patch, taking turns on the same slide and the same patches:
#   bench/tile.sh SLIDE MPP [ROUNDS]     MPP: the slide's own resolution (the peer does not resize)
# SLIDEWISE_BUILD: the build (default: build); SLIDEWISE_BEFORE: another slidewise to compare with; PYTHON: one that has
# openslide, PIL, PyTurboJPEG and h5py (default: python3); TMPDIR: where stores go, best in memory. Prints CSV.
set -eu
[ $# -ge 2 ] || { sed -n '3,6s/^# //p' "$0" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
slide=$1 mpp=$2 rounds=${3:-3}
program=${SLIDEWISE_BUILD:-build}/bin/slidewise
python=${PYTHON:-python3}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# NAME COMMAND...: one row: name, round, wall seconds, processor seconds, peak MB of the largest process
measure() {
    local name=$1
    shift
    env time -o "$dir/time" -f '%e %U %S %M' "$@" >"$dir/out" || { cat "$dir/out" >&2; exit 1; }
    awk -v n="$name" -v r="$round" -v p="$patches" '{ printf "%s,%d,%d,%.2f,%.2f,%.0f\n", n, r, p, $1, $2 + $3, $4 / 1024 }' "$dir/time"
}

"$program" tile -q "$slide" --clam "$dir/first" --mpp "$mpp" >/dev/null
coords=$(echo "$dir"/first/patches/*.h5)
peer=no
"$python" -c 'import openslide, PIL, turbojpeg, h5py' 2>/dev/null && peer=yes || echo "$python lacks openslide, PIL, turbojpeg or h5py: no peer" >&2
"$program" tile -q "$slide" --store "$dir/count" --mpp "$mpp" >/dev/null
patches=$("$program" store info "$dir/count" | sed -n 's/.* slides, \([0-9]*\) patches.*/\1/p')

echo "what,round,patches,wall_s,cpu_s,peak_mb"
for round in $(seq "$rounds"); do
    rm -rf "$dir"/coords "$dir"/store*
    measure coords "$program" tile -q "$slide" --clam "$dir/coords" --mpp "$mpp"
    measure store "$program" tile -q "$slide" --store "$dir/store" --mpp "$mpp"
    measure store_1_thread "$program" tile -q "$slide" --store "$dir/store1" --mpp "$mpp" -t 1
    [ -z "${SLIDEWISE_BEFORE:-}" ] || measure store_before "$SLIDEWISE_BEFORE" tile -q "$slide" --store "$dir/store_b" --mpp "$mpp"
    [ $peer = yes ] || continue
    for n in 1 2; do
        measure "pil_$n" "$python" "$here/peer_tile.py" "$slide" "$coords" --processes $n
        measure "turbojpeg_$n" "$python" "$here/peer_tile.py" "$slide" "$coords" --processes $n --jpeg turbo
    done
done
[ $peer = no ] || "$python" "$here/peer_tile.py" "$slide" "$coords" --floor >&2
