#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Slides to patches with the program: scales, reruns, bad slides in the list, settings that differ.
. "$(dirname "$0")/lib.sh"

run "$SLIDEWISE" synth "$T/synth" --slides 3 --size 1024 --seed 5 --quiet
expect_status "synth makes slides" 0
check "three slides and their labels" test "$(ls "$T/synth/slides" | wc -l) $(wc -l <"$T/synth/labels.csv")" = "3 4"

store=$T/store
tile() { run "$SLIDEWISE" tile "$@" --preset bwh_biopsy --patch-px 128 --threads 2 --quiet; }

tile "$T/synth/slides" --store "$store" --mpp 0.5 --magnification 10 --masks
expect_status "two scales" 0
cp "$T/out" "$T/first"
check "the table names both scales" grep -qE '^slide +status +0.5 um +1 um' "$T/out"
check "and says how it went" grep -qE "^3 slides: 3 done, 0 already done, 0 failed; [1-9][0-9]* patches in $store; the table is in $store/slides.csv$" "$T/out"
check "masks, overlays and contours are there" test "$(ls "$store"/masks/*.png "$store"/overlays/*.jpg "$store"/contours/*.geojson | wc -l)" = 9
check "and what is kept at each scale" test "$(ls "$store"/stitches/*_0.5um.jpg "$store"/stitches/*_1um.jpg | wc -l)" = 6
check "the CSV has a row per slide" test "$(grep -c ',done,' "$store/slides.csv")" = 3
check "and the columns that are documented" grep -qx 'slide_id,status,patches_0.5um,patches_1um,left_out_unreadable,left_out_black,left_out_white,left_out_pen,left_out_blurred,unreadable_fraction,tissue_fraction,seconds,path,reason' "$store/slides.csv"

cp "$store/data.mdb" "$T/before"
tile "$T/synth/slides" --store "$store" --mpp 0.5 --mpp 1 --masks
expect_status "again" 0
check "finished slides are not done again" grep -q '^3 slides: 0 done, 3 already done, 0 failed;' "$T/out"
check "the patches are counted all the same" test "$(grep -oE '[0-9]+ patches' "$T/out")" = "$(grep -oE '[0-9]+ patches' "$T/first")"

expect_failure "other settings are refused" 1 \
    "slidewise: store $store: it was made with patch_px = 128, and 64 is asked now; use the same settings, or another store" \
    "$SLIDEWISE" tile "$T/synth/slides" --store "$store" --mpp 0.5 --mpp 1 --preset bwh_biopsy --patch-px 64 --quiet

# Pictures without a store, where CLAM has them; of whole images only what is kept.
tile "$T/synth/slides" --clam "$T/clam" --mpp 1 --masks
expect_status "pictures beside CLAM's positions" 0
check "overlays and stitches" test "$(ls "$T"/clam/masks/*.jpg "$T"/clam/stitches/*.jpg | wc -l) $(ls "$T/clam" | wc -l)" = "6 4"
tile "$T/synth/slides" --store "$T/store8" --mpp 1 --no-tissue
tile "$T/synth/slides" --store "$T/store8" --mpp 1 --no-tissue --masks
expect_status "pictures of a store that has none" 0
check "only stitches" test "$(ls "$T"/store8/stitches/*.jpg | wc -l) $(ls -d "$T"/store8/*/ | wc -l)" = "3 1"

# One good slide among bad ones.
bad=$T/bad
mkdir "$bad"
good=$(ls "$T/synth/slides" | head -1)
cp "$T/synth/slides/$good" "$bad/good.tif"
head -c 20000 "$T/synth/slides/$good" >"$bad/cut.tif"
echo "no slide" >"$bad/text.png"
printf 'P6\n' >"$bad/unknown.svs"
tile "$bad" --store "$T/store2" --mpp 1
expect_status "a slide that fails makes the exit status 1" 1
check "the good slide is done" grep -qE '^good +done ' "$T/out"
check "the cut slide is unreadable" grep -qE '^cut +unreadable ' "$T/out"
check "the text is unreadable" grep -qE '^text +unreadable ' "$T/out"
check "the count is right" grep -q '^4 slides: 1 done, 0 already done, 3 failed;' "$T/out"
check "the reasons are in the CSV" test "$(grep -cE '^(cut|text|unknown),unreadable,0,0,0,0,0,0,0.0000,0.0000,.*(cut.tif|text.png|unknown.svs).*' "$T/store2/slides.csv")" = 3
tile "$bad" --store "$T/store2" --mpp 1 --allow-failures
expect_status "--allow-failures exits with 0" 0
check "and does the good slide once only" grep -q '^4 slides: 0 done, 1 already done, 3 failed;' "$T/out"

# A file that changed under its name.
cp "$T/synth/slides/$(ls "$T/synth/slides" | tail -1)" "$bad/good.tif"
tile "$bad/good.tif" --store "$T/store2" --mpp 1
expect_status "another file of the same name is not taken for the old one" 1
check "and the sentence says so" grep -qE "^failed: slide good: the store holds one made from a file of [0-9]+ bytes" "$T/out"

# A slide with a hole in its file: its patches there are left out, the others stay, and the exit status tells.
size=$(stat -c %s "$T/synth/slides/$good")
hole=$T/hole.tif
cp "$T/synth/slides/$good" "$hole"
dd if=/dev/zero of="$hole" bs=1 seek=$((size / 3)) count=60000 conv=notrunc status=none
tile "$hole" --store "$T/store5" --mpp 0.5 --no-tissue
expect_status "a damaged slide makes the exit status 1" 1
cp "$T/out" "$T/table"
lost=$(grep -oP '^left out: \K[0-9]+(?= unreadable patches$)' "$T/out")
check "the table counts its patches" grep -qE "^hole +done +$((64 - lost)) +$lost +100.0%" "$T/out"
check "as kept and as left out" test "$lost" -gt 0
check "and the last line says what to do" grep -qxF "slidewise: 1 of 1 slides are damaged: $lost patches were left out (see $T/store5/unreadable.csv); copy the slides again and give --retry-unreadable, or go on without these patches (--allow-failures exits with 0)" "$T/err"
check "they are listed" test "$(grep -cE "^hole,0.5,[0-9]+,[0-9]+,.* pixels of level 0 at \([0-9]+, [0-9]+\) cannot be read: " "$T/store5/unreadable.csv")" = "$lost"
check "also in the CSV" grep -qE "^hole,done,$((64 - lost)),$lost,0,0,0,0,0.0000,1.0000," "$T/store5/slides.csv"
tile "$hole" --store "$T/store5" --mpp 0.5 --no-tissue --allow-failures
expect_status "--allow-failures exits with 0" 0
check "and the slide is not read again" grep -qE "^hole +already done +$((64 - lost)) +$lost " "$T/out"
cp "$T/synth/slides/$good" "$hole"
tile "$hole" --store "$T/store5" --mpp 0.5 --no-tissue --retry-unreadable
expect_status "a whole copy of it" 0
check "takes its place" grep -qE "^hole +done +64 +100.0%" "$T/out"
check "and nothing is listed any more" test ! -e "$T/store5/unreadable.csv"
run "$SLIDEWISE" store verify "$T/store5" --quiet
expect_status "the store is whole" 0

# Limits on what the pixels show.
tile "$T/synth/slides" --store "$T/store6" --mpp 1 --no-tissue --max-white-fraction 0.5 --min-laplacian-variance 0
expect_status "white patches are left out" 0
check "the table has a column of them" grep -qE '^slide +status +1 um +white +tissue +seconds$' "$T/out"
check "and their count" grep -qE '^left out: [1-9][0-9]* white patches$' "$T/out"
expect_failure "a share that is none" 1 "slidewise: max_white_fraction is 2; give a share of the patch's pixels from 0 to 1" \
    "$SLIDEWISE" tile "$T/synth/slides" --store "$T/store7" --max-white-fraction 2 --quiet

# The slides' own tiles.
whole() { run "$SLIDEWISE" tile "$T/synth/slides" --mpp 0.5 --no-tissue --quiet "$@"; } # 1024 pixels: 4 x 4 tiles of 256
whole --store "$T/own" --passthrough
expect_status "tiles are passed through" 0
check "the table counts them" grep -qE '^[^ ]+ +done +16 +16 +100.0%' "$T/out"
check "and says so below" grep -qx "passed through: 48 patches are the slides' own JPEG tiles" "$T/out"
whole --store "$T/own" --passthrough --reader openslide
check "the count is kept in the store" grep -qx "passed through: 48 patches are the slides' own JPEG tiles" "$T/out"
whole --store "$T/ours"
whole --store "$T/theirs" --reader openslide
expect_status "OpenSlide alone reads them too" 0
run "$SLIDEWISE" store export "$T/ours" "$T/ours.out"
run "$SLIDEWISE" store export "$T/theirs" "$T/theirs.out"
check "with the same patches" diff -r "$T/ours.out" "$T/theirs.out"
check "some of which there are" test "$(find "$T/ours.out" -name '*.jpg' | wc -l)" = 48
whole --store "$T/none" --passthrough --reader openslide
check "which passes nothing through" grep -qx "passed through: 0 patches are the slides' own JPEG tiles" "$T/out"
expect_failure "another reader" 1 "slidewise: --reader fast: give auto or openslide" \
    "$SLIDEWISE" tile "$T/synth/slides" --store "$T/x" --reader fast --quiet

# Resampled from level 0, or from the level that the slide has.
at_one() { run "$SLIDEWISE" tile "$T/synth/slides" --mpp 1 --no-tissue --quiet "$@"; }
at_one --store "$T/near"
at_one --store "$T/exact" --exact
expect_status "patches are resampled from level 0" 0
run "$SLIDEWISE" store export "$T/near" "$T/near.out"
run "$SLIDEWISE" store export "$T/exact" "$T/exact.out"
check "in as many patches" test "$(find "$T/exact.out" -name '*.jpg' | wc -l)" = "$(find "$T/near.out" -name '*.jpg' | wc -l)"
check "but others" test -n "$(diff -rq "$T/near.out" "$T/exact.out")"
run "$SLIDEWISE" store info "$T/exact"
check "the store keeps that" grep -q 'exact = yes' "$T/out"
at_one --store "$T/near" --exact
expect_status "and one store does not hold both" 1
check "which is said" grep -q "it was made with (not set)\|exact" "$T/err"

# Resolution that is not known.
pict=$T/plain
mkdir "$pict"
if command -v convert >/dev/null; then
    convert -size 300x300 xc:'#d080b0' "$pict/plain.png"
    tile "$pict" --store "$T/store3" --mpp 1 --no-tissue
    expect_status "a picture without a resolution fails" 1
    check "as such" grep -qE '^plain +no resolution ' "$T/out"
    check "and says how to give it" grep -qxF "no resolution: $pict/plain.png: no microns per pixel in the file; give --slide-mpp (e.g. --slide-mpp 0.5) or --mpp-csv with a CSV with columns slide_id,mpp" "$T/out"
    tile "$pict" --store "$T/store3" --mpp 1 --no-tissue --slide-mpp 0.5
    expect_status "--slide-mpp gives it one" 0
    check "one whole patch" grep -qE '^plain +done +1 ' "$T/out"
    convert -size 300x300 xc:white "$pict/white.png"
    tile "$pict/white.png" --store "$T/store4" --mpp 1 --slide-mpp 0.5
    expect_status "a slide without tissue fails" 1
    check "as such" grep -qE '^white +no tissue ' "$T/out"
else
    skip "slides without resolution and without tissue" "convert (ImageMagick) is not installed"
fi

# Resolutions of single slides, by our columns and by TRIDENT's: twice the microns are twice the patches along a side.
one=$(ls "$T/synth/slides" | sed -n 1p)
two=$(ls "$T/synth/slides" | sed -n 2p)
printf 'slide_id,mpp\n%s,1.0\n' "${one%.tif}" >"$T/ours.csv"
printf 'wsi,mpp\n%s,1.0\n' "$one" >"$T/trident.csv"
for table in ours trident; do
    tile "$T/synth/slides/$one" "$T/synth/slides/$two" --store "$T/of_$table" --mpp 0.5 --no-tissue --mpp-csv "$T/$table.csv"
    expect_status "--mpp-csv $table" 0
    check "the slide of the table" grep -qE "^${one%.tif} +done +256 " "$T/out"
    check "and the other" grep -qE "^${two%.tif} +done +64 " "$T/out"
done

expect_failure "no store" 2 "slidewise: tile needs --store DIR: where the patches go (or --clam DIR or --trident DIR, where positions go)" "$SLIDEWISE" tile "$bad"
finish
