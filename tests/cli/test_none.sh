#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Training and predicting without a store: patches stay on their slides, positions come from coordinate files.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/tiny.sh"

tiny_slides "$T/d"
run "$SLIDEWISE" tile "$T/d/slides" --trident "$T/d/job" --mpp 1 --preset bwh_biopsy --patch-px 64 --quiet
expect_status "positions" 0
tiny_config "$T/d" "$T/c.yaml"
train() { run "$SLIDEWISE" train "$T/c.yaml" --set data.store=none --set "data.slides=$T/d/slides" --set "data.coords=$T/d/job" --quiet "$@"; }
train --set "run.out=$T/a"
expect_status "training without a store" 0
check "evaluates the test set" test -s "$T/a/metrics_test.json"
train --set "run.out=$T/b" --set data.cache_mb=0 --set run.workers=1
expect_status "without a cache, with fewer workers" 0
check "ends in the same weights" same_run "$T/a" "$T/b"
check "no store was made" test ! -e "$T/d/store" -a ! -e none

run "$SLIDEWISE" predict "$T/a" "$T/d/slides" --coords "$T/d/job" -o "$T/p.csv" --quiet
expect_status "predict with coordinates" 0
check "every slide" test "$(wc -l <"$T/p.csv")" = 9
# The slide of the test set, predicted from its file and as training left it.
of_run=$(grep '^case006_a,' "$T/a/predictions_test.csv" | cut -d, -f5,6)
of_file=$(grep '^case006_a,' "$T/p.csv" | cut -d, -f3,4)
if [ -n "$of_run" ] && [ "$of_run" = "$of_file" ]; then ok "as training evaluated it"; else
    cat "$T/p.csv" "$T/a/predictions_test.csv" >"$T/why"; not_ok "as training evaluated it" "$T/why"; fi
expect_failure "without coordinates the model has no positions" 1 \
    "slidewise: slide case006_a: the training slides were cut at positions that came from files (--coords or an imported store), so no positions follow for another slide; give its file of coordinates with --coords" \
    bash -c "'$SLIDEWISE' predict '$T/a' '$T/d/slides/case006_a.tif' --quiet >/dev/null"
run "$SLIDEWISE" heatmap "$T/a" "$T/d/slides/case006_a.tif" --coords "$T/d/job" -o "$T/heat" --quiet
expect_status "heatmap with coordinates" 0
check "is drawn" test -s "$T/heat/case006_a.png"

# Two scales: a folder of each.
run "$SLIDEWISE" tile "$T/d/slides" --trident "$T/d/two" --mpp 0.5 --mpp 1 --preset bwh_biopsy --patch-px 64 --quiet
both=$T/d/two/10x_64px_0px_overlap,$T/d/two/20x_64px_0px_overlap
train --set "run.out=$T/two" --set "data.coords=$both" --set "bag.scales=[{mpp: 1}, {mpp: 0.5}]"
expect_status "training on two scales" 0
run "$SLIDEWISE" predict "$T/two" "$T/d/slides/case006_a.tif" --coords "$both" -o "$T/two.csv" --quiet
expect_status "predicting at the one that evaluation takes" 0
check "as training evaluated it" test "$(grep '^case006_a,' "$T/two/predictions_test.csv" | cut -d, -f5,6)" = "$(grep '^case006_a,' "$T/two.csv" | cut -d, -f3,4)"

# A hole in the level that is read: predicting leaves its patches out, training tells what to do.
hole=$T/hole
mkdir "$hole"
cp "$T/d/slides/"*.tif "$hole"
number() { od -An -t "u$1" -j "$2" -N "$1" "$hole/case003_a.tif" | tr -d ' '; }
first=$(number 4 4)                                       # the TIFF directory of level 0
second=$(number 4 $((first + 2 + 12 * $(number 2 "$first")))) # of level 1, behind its tiles
dd if=/dev/zero of="$hole/case003_a.tif" bs=1 seek=$((second - 20000)) count=20000 conv=notrunc status=none
run "$SLIDEWISE" predict "$T/a" "$hole/case003_a.tif" --coords "$T/d/job" -o "$T/hole.csv" --quiet
expect_status "predict a damaged slide" 0
lost=$(grep -oP '^.*slide case003_a: \K[0-9]+(?= of its [0-9]+ patches cannot be read and are left out; the first: )' "$T/err")
n=$(grep '^case003_a,' "$T/p.csv" | grep -oP ',\K[0-9]+(?=,[0-9.]+,$)')
check "without the patches that cannot be read" grep -qE "^case003_a,.*,$((n - lost)),[0-9.]+,$" "$T/hole.csv"
check "which are fewer" test "$lost" -gt 0 -a "$lost" -lt "$n"
train --set "run.out=$T/y" --set "data.slides=$hole" --set train.epochs=8
expect_status "training from a damaged slide" 1
check "says what to do" grep -qE "slide case003_a, patch [0-9]+: .* cannot be read: .*copy it again from its source, or tile the slides into a store, where patches that cannot be read are left out$" "$T/err"

expect_failure "no coordinates" 1 "slidewise: data.store is none, and data.coords is not set; name the folder of coordinates (slidewise tile SLIDES --trident DIR)" \
    "$SLIDEWISE" train "$T/c.yaml" --set data.store=none --set "data.slides=$T/d/slides" --set "run.out=$T/x" --quiet
expect_failure "no slides" 1 "slidewise: data.store is none, and data.slides is not set; name the folder of the slides" \
    "$SLIDEWISE" train "$T/c.yaml" --set data.store=none --set "data.coords=$T/d/job" --set "run.out=$T/x" --quiet
rm "$T/d/job/10x_64px_0px_overlap/patches/case003_a_patches.h5"
train --set "run.out=$T/x"
expect_status "a slide of the table without coordinates" 1
check "is named with the reason" grep -qF "slide case003_a: no coordinates in $T/d/job/10x_64px_0px_overlap: neither case003_a.h5 nor case003_a_patches.h5 is there" "$T/err"
finish
