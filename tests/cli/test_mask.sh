#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A mask of the user's in place of the segmentation or on top of it, with the program.
. "$(dirname "$0")/lib.sh"

run "$SLIDEWISE" synth "$T/synth" --slides 2 --size 1024 --seed 5 --quiet
expect_status "synth makes slides" 0
slides=$T/synth/slides
first=$(basename "$(ls "$slides"/* | head -1)" .tif)
second=$(basename "$(ls "$slides"/* | tail -1)" .tif)
tile() { run "$SLIDEWISE" tile "$@" --threads 2 --quiet; }
cut=(--preset bwh_biopsy --patch-px 64 --mpp 0.5)
mkdir "$T/masks"
square() { # NAME X0 X1
    echo "{\"type\":\"Feature\",\"geometry\":{\"type\":\"Polygon\",\"coordinates\":[[[$2,0],[$3,0],[$3,1024],[$2,1024],[$2,0]]]},\"properties\":{\"classification\":{\"name\":\"$1\"}}}"
}
echo "{\"type\":\"FeatureCollection\",\"features\":[$(square All 0 1024),$(square Half 512 1024)]}" >"$T/masks/$first.geojson"

tile "$slides" --store "$T/own" "${cut[@]}"
tile "$slides" --store "$T/within" --mask "$T/masks" --mask-mode within --include All "${cut[@]}"
expect_status "a slide without a mask fails" 1
check "with its sentence" grep -qF "slide $second: no mask in $T/masks: neither $second.png nor $second.geojson is there" "$T/out"
check "the other is done" grep -q '^2 slides: 1 done, 0 already done, 1 failed;' "$T/out"
tile "$slides/$first.tif" --clam "$T/a" "${cut[@]}"
own=$(grep -oE '[0-9]+ patches' "$T/out")
tile "$slides/$first.tif" --clam "$T/b" --mask "$T/masks" --mask-mode within --include All "${cut[@]}"
check "a mask of everything changes nothing" grep -qF " $own in" "$T/out"
tile "$slides/$first.tif" --clam "$T/c" --mask "$T/masks/$first.geojson" --exclude Half "${cut[@]}"
expect_status "half of the slide" 0
check "is tissue" grep -qE " 50\.0%| 49\.[89]%" "$T/out"
expect_failure "another mask for the store" 1 \
    "slidewise: store $T/within: it was made with mask_include = All, and Half is asked now; use the same settings, or another store" \
    "$SLIDEWISE" tile "$slides" --store "$T/within" --mask "$T/masks" --mask-mode within --include Half "${cut[@]}" --quiet
expect_failure "classes without a mask" 1 "slidewise: --include needs --mask FILE|DIR" \
    "$SLIDEWISE" tile "$slides" --store "$T/x" --include Half --quiet
expect_failure "an unknown mode" 1 "slidewise: --mask-mode over: give replace or within" \
    "$SLIDEWISE" tile "$slides" --store "$T/x" --mask "$T/masks" --mask-mode over --quiet
expect_failure "a mask of whole images" 1 "slidewise: --mask does not go with --no-tissue, which takes the whole image" \
    "$SLIDEWISE" tile "$slides" --store "$T/x" --mask "$T/masks" --no-tissue --quiet
finish
