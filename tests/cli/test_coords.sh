#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Positions for and from CLAM and TRIDENT, with the program: written, taken again, refused where they do not fit.
. "$(dirname "$0")/lib.sh"

run "$SLIDEWISE" synth "$T/synth" --slides 3 --size 1024 --seed 5 --quiet
expect_status "synth makes slides" 0
slides=$T/synth/slides
first=$(basename "$(ls "$slides"/* | head -1)" .tif)
tile() { run "$SLIDEWISE" tile "$@" --threads 2 --quiet; }
cut=(--preset bwh_biopsy --patch-px 128 --mpp 1)

tile "$slides" --clam "$T/clam" --trident "$T/job" "${cut[@]}"
expect_status "positions without a store" 0
check "say where they are" grep -qE "^3 slides: 3 done, 0 already done, 0 failed; [1-9][0-9]* patches in $T/clam$" "$T/out"
check "CLAM's files are there" test "$(ls "$T/clam/patches" | tr '\n' ' ')" = "$(cd "$slides" && ls | sed 's/tif$/h5/' | tr '\n' ' ')"
check "TRIDENT's files are there" test "$(ls "$T/job/10x_128px_0px_overlap/patches" | tr '\n' ' ')" = "$(cd "$slides" && ls | sed 's/\.tif$/_patches.h5/' | tr '\n' ' ')"
check "and its contours" test "$(ls "$T/job/contours_geojson"/*.geojson | wc -l)" = 3
check "CLAM's list has its columns" test "$(head -1 "$T/clam/process_list_autogen.csv")" = "slide_id,process,status,seg_level,sthresh,mthresh,close,use_otsu,keep_ids,exclude_ids,a_t,a_h,max_n_holes,vis_level,line_thickness,use_padding,contour_fn"
check "and a row per slide" grep -qx "$first.tif,0,processed,-1,15,11,2,False,none,none,1,1,2,-1,50,True,four_pt" "$T/clam/process_list_autogen.csv"
cp -r "$T/clam" "$T/clam1"

# The same positions, cut by ourselves and taken from either tool's files, give the same patches.
tile "$slides" --store "$T/own" "${cut[@]}"
expect_status "a store of our own" 0
own=$(grep -oE '[0-9]+ patches' "$T/out")
tile "$slides" --store "$T/from_clam" --coords "$T/clam" --patch-px 128
expect_status "a store from CLAM's files" 0
check "has as many patches" grep -qF " $own in" "$T/out"
check "and the scale's usual name" grep -qE '^slide +status +1 um ' "$T/out"
tile "$slides" --store "$T/from_trident" --coords "$T/job"
expect_status "a store from TRIDENT's files" 0
check "has as many patches, too" grep -qF " $own in" "$T/out"
tile "$slides/$first.tif" --store "$T/from_file" --coords "$T/clam/patches/$first.h5"
expect_status "a store from one file" 0
tile "$slides" --store "$T/from_trident" --coords "$T/job" --clam "$T/clam2"
expect_status "taken again, and written for the other tool" 0
check "nothing is cut twice" grep -q '^3 slides: 0 done, 3 already done, 0 failed;' "$T/out"
for file in "$T"/clam/patches/*.h5; do # save_path lies in them: only the size can be compared byte for byte
    check "$(basename "$file") is as long" test "$(wc -c <"$file")" = "$(wc -c <"$T/clam2/patches/$(basename "$file")")"
done
tile "$slides" --clam "$T/clam" "${cut[@]}"
check "the same call writes the same bytes" diff -r "$T/clam" "$T/clam1"

# Rows about other slides stay in CLAM's list.
mkdir "$T/one"
cp "$slides/$first.tif" "$T/one/another.tif"
tile "$T/one" --clam "$T/clam" "${cut[@]}"
check "the list keeps the other slides" test "$(wc -l <"$T/clam/process_list_autogen.csv")" = 5

# What does not fit is told, and the others go on.
rm "$T/clam/patches/$first.h5"
sed -i "s/^$first.tif,0,processed/$first.tif,0,failed_seg/" "$T/clam/process_list_autogen.csv"
tile "$slides" --store "$T/partly" --coords "$T/clam"
expect_status "a slide without coordinates fails" 1
check "with the reason that CLAM gives" grep -qxF "failed: slide $first: no coordinates in $T/clam: neither $first.h5 nor ${first}_patches.h5 is there or in its folder patches; $T/clam/process_list_autogen.csv says \"failed_seg\" of it" "$T/out"
check "the others are done" grep -q '^3 slides: 2 done, 0 already done, 1 failed;' "$T/out"
expect_failure "coordinates of another slide" 1 \
    "slidewise: slide another: $T/clam1/patches/$first.h5 holds the coordinates of $first; give the folder that holds the file of each slide, or the file of this one" \
    "$SLIDEWISE" tile "$T/one" --store "$T/x" --coords "$T/clam1/patches/$first.h5" --quiet
"$SLIDEWISE" synth "$T/small" --slides 1 --size 512 --seed 5 --quiet
cp "$(ls "$T"/small/slides/*)" "$T/one/another.tif"
cp "$T/clam1/patches/$first.h5" "$T/one/another.h5"
run "$SLIDEWISE" tile "$T/one/another.tif" --store "$T/x" --coords "$T/one" --quiet
expect_status "coordinates of another scan" 1
check "are told" grep -qE "^slidewise: slide another: $T/one/another.h5 was made on a slide whose level [0-9] has [0-9]+ x [0-9]+ pixels, this one has [0-9]+ x [0-9]+; it is another slide or another scan$" "$T/err"
expect_failure "another resolution" 1 \
    "slidewise: slide $first: the patches of $T/clam1/patches/$first.h5 are 1 microns per pixel on this slide, not 2; check the slide's resolution, or tile it with --mpp 1 into another store" \
    bash -c "'$SLIDEWISE' tile '$slides/$first.tif' --store '$T/x' --coords '$T/clam1' --mpp 2 --patch-px 128 --quiet >/dev/null 2>'$T/warned'; status=\$?; head -1 '$T/warned' | sed 's/warning: //' >&2; exit \$status"
expect_failure "two scales for one file" 1 "slidewise: 2 resolutions were given, and coordinates of 1 ($T/clam1); give one for each, or none" \
    "$SLIDEWISE" tile "$slides" --store "$T/x" --coords "$T/clam1" --mpp 1 --mpp 2 --quiet

# CLAM's process list: parameters of single slides. What the list says of all is what --preset says.
second=$(basename "$(ls "$slides"/* | sed -n 2p)" .tif)
mkdir "$T/p" "$T/q" # the files name the folder that they were written to
cd "$T/p" && tile "$slides" --clam out "${cut[@]}"
cd "$T/q" && tile "$slides" --clam out --mpp 1 --patch-px 128 --process-list "$T/clam1/process_list_autogen.csv"
expect_status "a process list of all slides" 0
cd "$T" || exit
check "gives what its preset gives" diff -r "$T/p/out" "$T/q/out"
sed "s/^\($first.tif,.*\),none,none,/\1,none,0,/; s/^\($second.tif,.*\),four_pt\$/\1,four_pt_hard/" "$T/q/out/process_list_autogen.csv" >"$T/edited.csv"
tile "$slides" --store "$T/edited" --mpp 1 --patch-px 128 --preset bwh_biopsy --process-list "$T/edited.csv"
check "a slide without its contour" grep -qE "^$first +no tissue " "$T/out"
n=$(grep -oP "^$second +done +\K[0-9]+" "$T/out")
tile "$slides/$second.tif" --clam "$T/whole" "${cut[@]}"
check "a slide with a contour function of its own has fewer patches" test "$n" -lt "$(grep -oP "^$second +done +\K[0-9]+" "$T/out")"
tile "$slides" --store "$T/edited" --mpp 1 --patch-px 128 --preset bwh_biopsy
expect_status "the store wants the list" 1
check "and says so" grep -qE "^slidewise: store $T/edited: it was made with process_list = [0-9a-f]{16}, and \(not set\) is asked now; use the same settings, or another store$" "$T/err"
expect_failure "a list and no segmentation" 1 "slidewise: $T/edited.csv: a process list is for slides that are segmented" \
    "$SLIDEWISE" tile "$slides" --store "$T/x" --no-tissue --process-list "$T/edited.csv" --quiet

# Several scales: a folder of each.
tile "$slides" --trident "$T/two" --store "$T/two_own" --preset bwh_biopsy --patch-px 64 --mpp 0.5 --mpp 1
expect_status "two scales" 0
fine=$T/two/20x_64px_0px_overlap coarse=$T/two/10x_64px_0px_overlap
tile "$slides" --store "$T/two_taken" --coords "$fine,$coarse"
expect_status "taken from two folders" 0
export_of() { "$SLIDEWISE" store export "$1" "$2" --quiet >/dev/null && (cd "$2" && find . -name '*.jpg' -exec cksum {} + | sort -k3); }
export_of "$T/two_own" "$T/e1" >"$T/sums1"
export_of "$T/two_taken" "$T/e2" >"$T/sums2"
check "give the same patches at both scales" cmp "$T/sums1" "$T/sums2"
check "of which there are some" test "$(wc -l <"$T/sums1")" -gt 100
check "under the same names" grep -qE '^slide +status +0.5 um +1 um ' "$T/out"
expect_failure "a job of two resolutions alone" 1 \
    "slidewise: $T/two holds coordinates of several resolutions (10x_64px_0px_overlap, 20x_64px_0px_overlap); give one of these folders, or several with commas between" \
    "$SLIDEWISE" tile "$slides" --store "$T/x" --coords "$T/two" --quiet
tile "$slides" --trident "$T/other" --preset bwh_biopsy --patch-px 64 --mpp 1 --overlap 16
expect_failure "that overlap differently" 1 \
    "slidewise: patches of 64 pixels overlap by 0 pixels in $fine and by 16 in $T/other/10x_64px_16px_overlap; take coordinates that overlap alike, or tile them into two stores" \
    "$SLIDEWISE" tile "$slides" --store "$T/x" --coords "$fine,$T/other/10x_64px_16px_overlap" --quiet

expect_failure "a preset has nothing to say" 1 "slidewise: --preset does not go with --coords, where the positions are made already" \
    "$SLIDEWISE" tile "$slides" --store "$T/x" --coords "$T/clam1" --preset tcga --quiet
expect_failure "CLAM's files hold one scale" 1 \
    "slidewise: CLAM's files hold one resolution, 2 were asked for; give one, or write TRIDENT's files" \
    "$SLIDEWISE" tile "$slides" --clam "$T/x" --mpp 1 --mpp 2 --quiet
expect_failure "no coordinates at all" 1 "slidewise: $T/nowhere: there is no such file or folder of coordinates" \
    "$SLIDEWISE" tile "$slides" --store "$T/x" --coords "$T/nowhere" --quiet
finish
