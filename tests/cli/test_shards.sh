#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# slidewise tile --shard, store join and merge: several stores are one, and equal to the one that was never cut apart.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/tiny.sh"
tiny_slides "$T"
tiny_store "$T"
"$SLIDEWISE" store export "$T/store" "$T/whole" --quiet >"$T/out"

shard() { # I/N STORE [OPTION...]
    local share=$1 store=$2
    shift 2
    "$SLIDEWISE" tile "$T/slides" --store "$store" --shard "$share" --mpp 0.5 --mpp 1 --preset bwh_biopsy --patch-px 64 --quiet "$@"
}

# same_as_whole NAME STORE: the same patches at the same positions, byte for byte
same_as_whole() {
    rm -rf "$T/export"
    "$SLIDEWISE" store export "$2" "$T/export" --quiet >"$T/out"
    check "$1" diff -r "$T/whole" "$T/export"
}

# One after the other, in any order; each says what there is.
run shard 2/3 "$T/joint"
expect_status "the second share" 0
check "says where it is" grep -q " patches in $T/joint/shard-2-of-3; the table is in $T/joint/shard-2-of-3/slides.csv\$" "$T/out"
check "and what is missing" grep -qxF "store $T/joint: its shard 1 of 3 and 1 more are missing; make the first with: slidewise tile SLIDES --store $T/joint --shard 1/3" "$T/out"
expect_failure "a store with shards missing does not open" 1 \
    "slidewise: store $T/joint: its shard 1 of 3 and 1 more are missing; make the first with: slidewise tile SLIDES --store $T/joint --shard 1/3" \
    "$SLIDEWISE" store info "$T/joint"
run shard 1/3 "$T/joint"
run shard 3/3 "$T/joint"
expect_status "the last share" 0
check "says that the store is whole" grep -qxF "$T/joint is one store of 3 shards with 8 slides; the table of all is in $T/joint/slides.csv" "$T/out"
same_as_whole "the shards hold what one store holds" "$T/joint"
sed 1d "$T/store/slides.csv" | cut -d, -f1-4 | sort >"$T/rows_one"
sed 1d "$T/joint/slides.csv" | cut -d, -f1-4 | sort >"$T/rows_joint"
check "there is a table" test -s "$T/rows_joint"
check "the table is that of all" cmp "$T/rows_one" "$T/rows_joint"
check "with the store of each" test "$(sed 1d "$T/joint/slides.csv" | sed 's/.*,//' | sort -u | tr '\n' ' ')" = "shard-1-of-3 shard-2-of-3 shard-3-of-3 "
run "$SLIDEWISE" store info "$T/joint"
check "info lists the shards" grep -qE "^$T/joint/shard-2-of-3: [0-9]+ slides, [0-9]+ patches, [0-9.]+ MiB\$" "$T/out"
run "$SLIDEWISE" store info "$T/joint" --json
check "also as JSON" grep -qF "\"path\": \"$T/joint/shard-3-of-3\"" "$T/out"
run "$SLIDEWISE" store verify "$T/joint" --quiet
expect_status "verify reads all of them" 0
check "and counts" grep -qE "^$T/joint is whole: [0-9]+ records of 8 slides fit their checksums\$" "$T/out"
run shard 1/3 "$T/joint"
check "a second run does nothing again" grep -q " 0 done, . already done, 0 failed" "$T/out"

# All at the same time, killed at any moment, and run again.
for delay in 0.01 0.02 0.03 0.05 0.08; do
    for i in 1 2 3; do
        { timeout -s KILL $delay "$SLIDEWISE" tile "$T/slides" --store "$T/killed" --shard $i/3 --mpp 0.5 --mpp 1 --preset bwh_biopsy --patch-px 64 --quiet; } >"$T/log$i" 2>&1 &
    done
    wait
done
rm -rf "$T/stopped"
cp -r "$T/joint" "$T/stopped"
touch "$T/stopped/shard-1-of-3/unfinished" # what a kill within a slide leaves
run "$SLIDEWISE" store info "$T/stopped"
check "a shard that was stopped is told" grep -q "^$T/stopped/shard-1-of-3: .*; not finished: tiling goes on, or was stopped (run it again)\$" "$T/out"
run shard 2/3 "$T/stopped"
check "also by the others" grep -qxF "$T/stopped: 1 of its 3 shards are not finished" "$T/out"
run shard 1/3 "$T/stopped"
check "until it is run again" grep -qxF "$T/stopped is one store of 3 shards with 8 slides; the table of all is in $T/stopped/slides.csv" "$T/out"
for i in 1 2 3; do shard $i/3 "$T/killed" >"$T/log$i" 2>&1 & done
wait
same_as_whole "three at once after kills hold what one store holds" "$T/killed"
check "and are finished" test -z "$(find "$T/killed" -name unfinished)"
check "with the table of all" test "$(sed 1d "$T/killed/slides.csv" | wc -l)" = 8

# A list that grows leaves each slide where it is.
mkdir "$T/few"
cp "$T/slides/case001_a.tif" "$T/slides/case005_a.tif" "$T/slides/case004_a.tif" "$T/few"
for i in 1 2 3; do
    "$SLIDEWISE" tile "$T/few" --store "$T/grown" --shard $i/3 --mpp 0.5 --mpp 1 --preset bwh_biopsy --patch-px 64 --quiet >"$T/out"
done
for i in 1 2 3; do shard $i/3 "$T/grown" >"$T/out"; done
same_as_whole "a store that grew by shards" "$T/grown"

# A share without slides is a store all the same.
for i in $(seq 1 12); do shard "$i/12" "$T/thin" >"$T/out" || not_ok "shard $i of 12" "$T/out"; done
same_as_whole "more shards than slides" "$T/thin"

# A slide that cannot be read fails in its shard, and in the table of all.
mkdir "$T/bad"
cp "$T/slides/"*.tif "$T/bad"
head -c 3000 "$T/slides/case001_a.tif" >"$T/bad/zz.tif"
for i in 1 2; do
    run "$SLIDEWISE" tile "$T/bad" --store "$T/failed" --shard $i/2 --mpp 0.5 --preset bwh_biopsy --patch-px 64 --quiet
    sum=$((${sum:-0} + status))
done
check "one of two shards fails" test "$sum" = 1
check "the table of all says why" grep -qE "^zz,(unreadable|failed),.*,shard-[12]-of-2\$" "$T/failed/slides.csv"

# TRIDENT's files are one per slide, which shards share.
"$SLIDEWISE" tile "$T/slides" --trident "$T/job" --mpp 0.5 --preset bwh_biopsy --patch-px 64 --quiet >"$T/out"
mv "$T/job" "$T/job_one" # the files name their folder
for i in 1 2; do
    "$SLIDEWISE" tile "$T/slides" --store "$T/with_job" --trident "$T/job" --shard $i/2 --mpp 0.5 --preset bwh_biopsy --patch-px 64 --quiet >"$T/out"
done
check "shards write TRIDENT's files together" diff -r "$T/job_one" "$T/job"
check "of every slide" test "$(find "$T/job" -name '*_patches.h5' | wc -l)" = 8

# Training on it gives the same weights.
tiny_config "$T" "$T/one.yaml"
run "$SLIDEWISE" train "$T/one.yaml" --set run.out="$T/run_one" --quiet
expect_status "training on one store" 0
run "$SLIDEWISE" train "$T/one.yaml" --set run.out="$T/run_joint" --set data.store="$T/joint" --quiet
expect_status "training on shards" 0
check "the same weights" same_tensors "$T/run_one/checkpoints/last.safetensors" "$T/run_joint/checkpoints/last.safetensors"
touch "$T/joint/shard-2-of-3/unfinished"
run "$SLIDEWISE" train "$T/one.yaml" --dry-run --set run.out="$T/run_x" --set data.store="$T/joint" --quiet
check "a shard that is not finished is told" grep -qF "store $T/joint/shard-2-of-3: tiling it goes on or was stopped, so that slides are missing; run its slidewise tile --shard again" "$T/err"
rm "$T/joint/shard-2-of-3/unfinished"

# Joining what is there already; merging into one.
mkdir "$T/half"
cp "$T/slides/"case00[1-3]*.tif "$T/half"
"$SLIDEWISE" tile "$T/half" --store "$T/a" --mpp 0.5 --mpp 1 --preset bwh_biopsy --patch-px 64 --quiet >"$T/out"
"$SLIDEWISE" tile "$T/slides/"case00[4-6]*.tif --store "$T/b" --mpp 0.5 --mpp 1 --preset bwh_biopsy --patch-px 64 --quiet >"$T/out"
run "$SLIDEWISE" store join "$T/both" "$T/a" "$T/b"
expect_status "join" 0
check "counts" grep -qE "^$T/both is one store of 2 with 8 slides and [0-9]+ patches\$" "$T/out"
check "keeps relative paths" grep -qxF '    "../a",' "$T/both/stores.json"
same_as_whole "joined stores" "$T/both"
mkdir "$T/moved"
mv "$T/a" "$T/b" "$T/both" "$T/moved"
same_as_whole "joined stores that were moved together" "$T/moved/both"
run "$SLIDEWISE" store merge "$T/moved/both" "$T/merged" --quiet
expect_status "merge" 0
same_as_whole "merged" "$T/merged"
check "the table goes along" test "$(sed 1d "$T/merged/slides.csv" | wc -l)" = 8
run "$SLIDEWISE" store merge "$T/moved/both" "$T/merged" --quiet
check "and is not done again" grep -qxF "0 slides with 0 patches (0.0 MiB) copied to $T/merged; 8 were there already" "$T/out"

expect_failure "join of stores that share slides" 1 \
    "slidewise: store $T/twice: slide case001_a is in $T/twice/../store and in $T/twice/../moved/a; a slide may be in one of them only: leave one of the two off $T/twice/stores.json" \
    "$SLIDEWISE" store join "$T/twice" "$T/store" "$T/moved/a"
"$SLIDEWISE" tile "$T/slides/case004_a.tif" --store "$T/other" --mpp 0.5 --mpp 1 --preset bwh_biopsy --patch-px 64 --quality 90 --quiet >"$T/out"
expect_failure "join of stores of other settings" 1 \
    "slidewise: store $T/mixed: $T/mixed/../moved/a was made with quality = 80, and $T/mixed/../other with 90; stores that are read as one need the same settings: tile one of them anew, or leave it off $T/mixed/stores.json" \
    "$SLIDEWISE" store join "$T/mixed" "$T/moved/a" "$T/other"
check "what cannot be joined is not listed" test ! -e "$T/mixed/stores.json"
expect_failure "a shard of other settings" 1 \
    "slidewise: store $T/joint: it was made with quality = 80, and 90 is asked now; use the same settings, or another store" \
    shard 1/3 "$T/joint" --quality 90
expect_failure "another number of shards" 1 \
    "slidewise: store $T/joint: shard-1-of-4 is not on its list (stores.json), which begins with shard-1-of-3; give the number of shards that it was begun with, or choose another store" \
    shard 1/4 "$T/joint"
expect_failure "tiling a list without --shard" 1 \
    "slidewise: store $T/joint: it is a list of stores (stores.json), into which nothing is written; tile with --shard I/N, or into another store" \
    "$SLIDEWISE" tile "$T/slides" --store "$T/joint" --mpp 0.5 --mpp 1 --preset bwh_biopsy --patch-px 64 --quiet
expect_failure "shards in a store" 1 \
    "slidewise: store $T/store: it is one store already, which shards cannot go on with; tile without --shard, or choose another store" \
    shard 1/3 "$T/store"
for share in 3/2 0/2 1/0 -1/2 1 1/ /2 a/b 1/2/3 1.5/2 1/1025 "1 /2"; do
    expect_failure "--shard '$share'" 1 "slidewise: --shard $share: give I/N, the share I (from 1) of N (at most 1024), as 1/8 to 8/8" \
        "$SLIDEWISE" tile "$T/slides" --store "$T/x" "--shard=$share"
done
expect_failure "--shard with --clam" 1 "slidewise: --shard does not go with --clam, whose table of all slides shards cannot share; --trident does" \
    "$SLIDEWISE" tile "$T/slides" --store "$T/x" --clam "$T/y" --shard 1/2
expect_failure "--shard without a store" 1 "slidewise: --shard needs --store DIR, the folder of all shards" \
    "$SLIDEWISE" tile "$T/slides" --trident "$T/y" --shard 1/2
rm -r "$T/joint/shard-2-of-3"
expect_failure "a shard that was lost" 1 \
    "slidewise: store $T/joint: its shard 2 of 3 is missing; make it with: slidewise tile SLIDES --store $T/joint --shard 2/3" \
    "$SLIDEWISE" train "$T/one.yaml" --set run.out="$T/run_y" --set data.store="$T/joint" --quiet
run shard 2/3 "$T/joint"
same_as_whole "and was made again" "$T/joint"
finish
