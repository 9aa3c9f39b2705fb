#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# slidewise encode: one file of features per slide, whole or not there; run again it goes on, and refuses what something else made.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/tiny.sh"
# shellcheck disable=SC2034 # the same moments in every run, as far as the machine lets them be
RANDOM=21

d=$T/d
mkdir "$d"
run tiny_slides "$d"
expect_status "eight slides" 0
run "$SLIDEWISE" tile "$d/slides" --store "$d/store" --mpp 1 --preset bwh_biopsy --patch-px 64 --quiet
expect_status "a store" 0
in_store=$(sed -n 's/.* \([0-9]*\) patches in .*/\1/p' "$T/out")
tiny_config "$d" "$T/c.yaml"
run "$SLIDEWISE" train "$T/c.yaml" --quiet --set "run.out=$T/run" --set encoder.frozen=true --set augment.preset=none --set train.epochs=1
expect_status "a run with its encoder" 0

encode() { "$SLIDEWISE" encode "$d/store" --run "$T/run" --threads 2 --quiet "$@"; }
start=$(date +%s%N)
run encode -o "$T/whole"
whole_ms=$((($(date +%s%N) - start) / 1000000))
expect_status "encode with a run's encoder" 0
patches=$(sed -n 's/.*; \([0-9]*\) patches, features 256 wide.*/\1/p' "$T/out")
check "it says what it did" grep -q "^8 slides: 8 encoded, 0 already done, 0 failed; [0-9]* patches, features 256 wide, [0-9]* patches/s: $T/whole$" "$T/out"
check "as many patches as the store has" test "$patches" = "$in_store"
check "a file for each slide, and nothing else" test "$(cd "$T/whole" && ls -A | paste -sd' ')" = \
    "case001_a.h5 case002_a.h5 case002_b.h5 case003_a.h5 case003_b.h5 case004_a.h5 case005_a.h5 case006_a.h5"
run encode -o "$T/whole"
expect_stdout "run again nothing is left to do" "8 slides: 0 encoded, 8 already done, 0 failed; 0 patches, features 256 wide: $T/whole"
run encode -o "$T/chunk" --chunk 7 --threads 1
check "chunks and threads decide nothing" diff -r "$T/whole" "$T/chunk"

# Killed at any moment, a run of the same command makes what was never stopped.
killed=0 same=0
: >"$T/lost"
for _ in {1..12}; do
    rm -rf "$T/killed"
    ms=$((20 + RANDOM % whole_ms))
    status=0
    { timeout -s KILL "$(printf '%d.%03d' $((ms / 1000)) $((ms % 1000)))" "$SLIDEWISE" encode "$d/store" --run "$T/run" --threads 2 --quiet -o "$T/killed" >"$T/out"; } 2>"$T/err" || status=$?
    [ "$status" -eq 137 ] && killed=$((killed + 1))
    before=$(find "$T/killed" -name '*.h5' 2>/dev/null | wc -l)
    encode -o "$T/killed" >"$T/out" 2>"$T/err"
    grep -q "^8 slides: $((8 - before)) encoded, $before already done, 0 failed;" "$T/out" || cat "$T/out" "$T/err" >>"$T/lost"
    diff -r "$T/whole" "$T/killed" >>"$T/lost" && same=$((same + 1))
done
echo "# $killed of 12 runs of about $whole_ms ms were killed before they ended"
check "kills came while it worked" test "$killed" -ge 3
check "12 of 12 folders are the one that was never stopped" test "$same" = 12
check "finished slides are not done again" cmp "$T/lost" /dev/null

# What something else made stays as it is.
run "$SLIDEWISE" train "$T/c.yaml" --quiet --set "run.out=$T/other" --set run.seed=3 --set encoder.frozen=true --set augment.preset=none --set train.epochs=1
cp -r "$T/whole" "$T/mixed"
cp "$SLIDEWISE_SOURCE/tests/golden/features/clam/h5_files/one.h5" "$T/mixed/case001_a.h5"
rm "$T/mixed/case002_a.h5"
cp -r "$T/mixed" "$T/mixed.before"
run "$SLIDEWISE" encode "$d/store" --run "$T/other" -o "$T/mixed" --quiet
expect_status "another encoder in the same folder" 1
check "a file that is not ours" grep -qx "case001_a  $T/mixed/case001_a.h5: it is there already, and slidewise encode did not make it; give another folder" "$T/out"
check "a file of another encoder" grep -qE "^case003_b  $T/mixed/case003_b.h5: it was made with encoder_hash [0-9a-f]{16}, now it is [0-9a-f]{16}; give another folder, or remove the file$" "$T/out"
check "the count" grep -q "^8 slides: 1 encoded, 0 already done, 7 failed;" "$T/out"
expect_stderr "how to go on" "slidewise: 7 of 8 slides failed (see the table); with --allow-failures this exits with 0"
rm "$T/mixed/case002_a.h5"
check "they stay as they were" diff -r "$T/mixed.before" "$T/mixed"
run encode -o "$T/whole" --crop-px 40 --allow-failures
expect_status "--allow-failures" 0
check "another side" grep -qx "case006_a  $T/whole/case006_a.h5: it was made with crop_px 32, now it is 40; give another folder, or remove the file" "$T/out"

# Slides with coordinates: the same patches, nearly the same pixels (no JPEG between), and the attributes of their files.
run "$SLIDEWISE" tile "$d/slides" --trident "$d/job" --mpp 1 --preset bwh_biopsy --patch-px 64 --quiet
run "$SLIDEWISE" encode "$d/slides" --coords "$d/job" --run "$T/run" -o "$T/from_slides" --quiet
expect_status "slides and coordinates" 0
check "as many patches" grep -q "^8 slides: 8 encoded, 0 already done, 0 failed; $patches patches" "$T/out"
check "the attributes of the coordinates" grep -q "$d/job/10x_64px_0px_overlap" "$T/from_slides/case001_a.h5"

# Weights by their file.
expect_failure "a file that is no weights" 1 "slidewise: $T/c.yaml: not a weights file that slidewise reads (safetensors or a PyTorch checkpoint), or cut short" \
    "$SLIDEWISE" encode "$d/store" -o "$T/x" --encoder resnet50 --weights "$T/c.yaml"
expect_failure "an encoder that is none" 1 "slidewise: encoder.name: no encoder 'uni'; there are resnet18, resnet50, resnet18_full, resnet50_full" \
    "$SLIDEWISE" encode "$d/store" -o "$T/x" --encoder uni --weights "$T/c.yaml"
run "$SLIDEWISE" encode "$d/store" -o "$T/by_file" --encoder resnet18 --weights "$T/run/checkpoints/best.safetensors" --crop-px 32 --quiet
expect_status "the run's checkpoint as a file of weights" 0
check "gives the same files" diff -r "$T/by_file" "$T/chunk"

# Misuse
expect_failure "no folder" 2 "slidewise: encode needs --output DIR: where the features go" "$SLIDEWISE" encode "$d/store" --run "$T/run"
expect_failure "no encoder" 2 "slidewise: encode needs --encoder NAME and --weights FILE, or --run RUN" "$SLIDEWISE" encode "$d/store" -o "$T/x" --encoder resnet18
expect_failure "two encoders" 2 "slidewise: --run brings its encoder, weights and channel order; leave --encoder out" \
    "$SLIDEWISE" encode "$d/store" -o "$T/x" --run "$T/run" --encoder resnet18
expect_failure "no store" 1 "slidewise: $d/slides is not a store; give a store (slidewise tile SLIDES --store DIR), or slides with --coords DIR" \
    "$SLIDEWISE" encode "$d/slides" -o "$T/x" --run "$T/run"
expect_failure "another order" 2 "slidewise: --channel-order bgr: give rgb or bgr_as_reference" \
    "$SLIDEWISE" encode "$d/store" -o "$T/x" --encoder resnet18 --weights w --channel-order bgr
run "$SLIDEWISE" encode "$d/store" --run "$T/run" -o "$T/x" --mpp 3 --quiet
expect_status "a scale that no slide has" 1
check "is a reason for each" test "$(grep -c "slide case00[1-6]_[ab] has no patches at 3 um per pixel; tile it at that resolution, or give another one (--mpp)" "$T/out")" = 8
run "$SLIDEWISE" tile "$d/slides" --store "$d/two" --mpp 1 --mpp 2 --preset bwh_biopsy --patch-px 64 --quiet
run "$SLIDEWISE" encode "$d/two" --encoder resnet18 --weights "$T/run/checkpoints/best.safetensors" -o "$T/x" --quiet
check "several scales must be chosen from" grep -q "case001_a  slide case001_a has 2 scales; say which one is encoded (--mpp)" "$T/out"
mkdir "$T/busy"
exec 9<"$T/busy" && flock -n 9
expect_failure "one at a time in a folder" 1 "slidewise: $T/busy: another slidewise encode writes into this folder; wait until it has ended, or give another folder" \
    "$SLIDEWISE" encode "$d/store" --run "$T/run" -o "$T/busy"
exec 9<&-
finish
