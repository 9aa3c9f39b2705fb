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

# Contours of a TRIDENT job, written and read again: the patches are those of the segmentation, to the last one. Without the member
# by which we know our own files they are drawn by pixel centres, and single patches at the border may differ. And as TRIDENT's own
# files have them: a number of the tissue in place of a class, and an inner ring.
tile "$slides" --trident "$T/job" --store "$T/cut" "${cut[@]}"
tile "$slides" --store "$T/again" --mask "$T/job/contours_geojson" "${cut[@]}"
expect_status "contours_geojson is read" 0
mkdir "$T/plain"
for file in "$T/job/contours_geojson"/*.geojson; do sed 's/"slidewise":{[^}]*},//' "$file" >"$T/plain/$(basename "$file")"; done
tile "$slides" --store "$T/drawn" --mask "$T/plain" "${cut[@]}"
for store in cut again drawn; do # slide, position and content, without the patch's number
    "$SLIDEWISE" store export "$T/$store" "$T/$store.out" --quiet >/dev/null
    (cd "$T/$store.out" && find . -name '*.jpg' -exec cksum {} +) | sed -E 's,[0-9]+_x,x,' | sort >"$T/$store.list"
done
both=$(comm -12 "$T/cut.list" "$T/drawn.list" | wc -l)
either=$(sort -u "$T/cut.list" "$T/drawn.list" | wc -l)
check "some patches are cut" test "$both" -gt 100
check "and the same ones again" cmp -s "$T/cut.list" "$T/again.list"
check "drawn, but for one in a hundred" test $((100 * (either - both))) -le "$either"
echo '{"type":"FeatureCollection","name":"'"$first"'","features":[{"type":"Feature","properties":{"tissue_id":0},"geometry":{"type":"Polygon","coordinates":[[[0.0,0.0],[1024.0,0.0],[1024.0,1024.0],[0.0,1024.0],[0.0,0.0]],[[256.0,256.0],[256.0,768.0],[768.0,768.0],[768.0,256.0],[256.0,256.0]]]}}]}' >"$T/theirs.geojson"
tile "$slides/$first.tif" --store "$T/theirs" --mask "$T/theirs.geojson" "${cut[@]}"
expect_status "TRIDENT's own form is read" 0
check "with its hole" grep -qE "^$first +done .* (75\.[0-9]|74\.[5-9])% " "$T/out"

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
