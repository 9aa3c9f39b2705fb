#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Training, evaluation, prediction and heatmaps on files of features: ours, CLAM's, TRIDENT's and STAMP's.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/tiny.sh"
golden=$SLIDEWISE_SOURCE/tests/golden/features

d=$T/d
mkdir "$d"
run tiny_slides "$d"
expect_status "eight slides" 0
run "$SLIDEWISE" tile "$d/slides" --store "$d/store" --mpp 1 --preset bwh_biopsy --patch-px 64 --quiet
tiny_config "$d" "$T/c.yaml"
run "$SLIDEWISE" train "$T/c.yaml" --quiet --set "run.out=$T/frozen" --set encoder.frozen=true --set augment.preset=none --set train.epochs=1
run "$SLIDEWISE" encode "$d/store" --run "$T/frozen" -o "$d/features" --quiet
expect_status "features of them" 0

cat >"$T/f.yaml" <<YAML
data:
  features: $d/features
  labels: $d/split.csv
encoder:
  name: none
bag:
  patches: 12
aggregator:
  inner_dim: 32
  heads: 2
train:
  epochs: 4
  batch_bags: 2
  drop_last: false
  lr: 0.001
eval:
  bootstrap: 20
run:
  threads: 1
  workers: 2
YAML
train() { "$SLIDEWISE" train "$T/f.yaml" --quiet --set "run.out=$T/$1" "${@:2}"; }

run train a
expect_status "train on features" 0
check "with a report" test -s "$T/a/report.html"
for file in predictions_test.csv metrics_val.json log.jsonl checkpoints/best.safetensors; do check "and $file" test -s "$T/a/$file"; done

# Interrupted and resumed: the same bytes.
run train b --stop-after-steps 5
expect_status "stopped" 130
run train b --resume
expect_status "resumed" 0
check "it is the run that was never stopped" same_run "$T/a" "$T/b"
run "$SLIDEWISE" eval "$T/a" --split val --bootstrap 0
expect_status "eval" 0
start=$(date +%s%N)
run train timed --set train.epochs=40
ms=$((($(date +%s%N) - start) / 1000000))
killed=0 same=0
for i in 1 2 3 4; do
    rm -rf "$T/k"
    { timeout -s KILL "$(printf '%d.%03d' 0 $((ms * i / 5 % 1000)))" "$SLIDEWISE" train "$T/f.yaml" --quiet --set train.epochs=40 --set "run.out=$T/k" >"$T/out"; } 2>"$T/err" || killed=$((killed + 1))
    resume=--resume
    [ -e "$T/k/checkpoints/last.safetensors" ] || rm -rf "$T/k" "$T/nothing"
    [ -e "$T/k" ] || resume=
    train k --set train.epochs=40 $resume >"$T/out" 2>"$T/err" || cat "$T/err"
    same_run "$T/timed" "$T/k" >"$T/why" 2>&1 && same=$((same + 1))
done
echo "# $killed of 4 were killed within $ms ms"
check "4 of 4 killed runs end as the one that was not" test "$same" = 4

# All patches, threads, and what the dry run says.
run train whole --set bag.patches=0 --set train.batch_bags=1
expect_status "bags of all patches" 0
run train whole2 --set bag.patches=0 --set train.batch_bags=1 --set run.workers=1 --set data.cache_mb=0
check "threads and cache decide nothing" same_run "$T/whole" "$T/whole2"
run "$SLIDEWISE" train "$T/f.yaml" --dry-run --set "run.out=$T/none" --set bag.patches=0 --set train.batch_bags=1
expect_status "dry run" 0
check "no encoder" grep -qE '^parameters +[0-9.]+ k \(encoder 0\)$' "$T/out"
check "operations per bag" grep -qE '^FLOPs +[0-9.]+ [kM] per bag \(forward;' "$T/out"
check "the largest bag" grep -qE '^bag +46 patches, 1 bag a step$' "$T/out"
check "nothing is written" test ! -e "$T/none"
run train budget --set run.memory=2GB
expect_status "a budget of memory" 0
check "is measured" grep -q '"chunk_patches":24' "$T/budget/log.jsonl"

# Prediction and heatmaps
run "$SLIDEWISE" predict "$T/a" "$d/features" -o "$T/p.csv" --quiet
expect_status "predict a folder of features" 0
check "all slides" test "$(grep -c '^case' "$T/p.csv")" = 8
p=$(grep '^case006_a,' "$T/p.csv" | cut -d, -f3)
check "what evaluation said" grep -q "^case006_a,case006,tumor,[a-z]*,$p," "$T/a/predictions_test.csv"
run "$SLIDEWISE" predict "$T/a" "$d/slides/case006_a.tif" --features "$d/features" --quiet
check "the same by the slide" grep -q "^case006_a,[a-z]*,$p," "$T/out"
printf 'case_id,slide_id\ncase002,case002_a\ncase002,case002_b\n' >"$T/cases.csv"
run "$SLIDEWISE" predict "$T/a" "$d/features" --cases "$T/cases.csv" --quiet
check "a case of two slides" grep -q '^case002,2,' "$T/out"
run "$SLIDEWISE" heatmap "$T/a" "$d/slides/case006_a.tif" --features "$d/features" -o "$T/heat" --quiet
expect_status "heatmap" 0
run "$SLIDEWISE" heatmap "$T/frozen" "$d/slides/case006_a.tif" -o "$T/heat0" --quiet
check "tiles where end to end has them" diff <(cut -d, -f2-4 "$T/heat/case006_a.csv" | sort) <(cut -d, -f2-4 "$T/heat0/case006_a.csv" | sort)
expect_failure "heatmaps need slides and features" 1 "slidewise: $T/a: the run was trained on features; name the folder of those of the slides (--features DIR)" \
    "$SLIDEWISE" heatmap "$T/a" "$d/slides/case006_a.tif"
expect_failure "features and a run on slides" 1 "slidewise: $T/frozen: the run takes slides, not features; leave --features out" \
    "$SLIDEWISE" predict "$T/frozen" "$d/slides" --features "$d/features"
expect_failure "features bring positions" 1 "slidewise: $T/a: the run was trained on features, which bring their positions; leave --coords out" \
    "$SLIDEWISE" predict "$T/a" "$d/features" --coords "$d/features"

# Files of other tools
printf 'slide,label,split\none,x,train\ntwo,y,train\n' >"$T/two.csv"
for kind in clam trident; do
    run train $kind --set "data.features=$golden/$kind" --set "data.labels=$T/two.csv" --set bag.patches=0 --set train.batch_bags=1
    expect_status "train on files of $kind" 0
done
printf 'slide,label,split\none,x,train\nextremes,y,train\n' >"$T/stamp.csv"
run train stamp --set "data.features=$golden/stamp" --set "data.labels=$T/stamp.csv" --set bag.patches=4
expect_status "train on files of STAMP" 0
run "$SLIDEWISE" predict "$T/clam" "$golden/stamp/extremes.h5" --quiet
check "another tool's file of the same width" grep -q '^extremes,[xy],' "$T/out"
cp "$d/slides/case006_a.tif" "$T/extremes.tif"
run "$SLIDEWISE" heatmap "$T/clam" "$T/extremes.tif" --features "$golden/stamp" -o "$T/heat" --quiet
check "no positions, no heatmap" grep -qx 'slidewise: extremes: slide "extremes": its features came without positions (no dataset "coords" in their file), so there is no place for a heatmap' "$T/err"

# Damaged, missing, of another kind
cp -r "$d/features" "$T/bad"
head -c 3000 "$d/features/case004_a.h5" >"$T/bad/case004_a.h5"
run train cut --set "data.features=$T/bad"
expect_status "a damaged file" 1
check "is told" grep -q "^slidewise: warning: $T/bad/case004_a.h5: " "$T/err"
check "and missing" grep -qx "slidewise: $d/split.csv: 1 of 8 rows name a slide that is not in $T/bad: case004_a; encode them, or set data.missing to skip" "$T/err"
run train skipped --set "data.features=$T/bad" --set data.missing=skip
expect_status "or left out where that is asked for" 0
check "with a warning" grep -q "warning: .*split.csv: 1 slide is not in $T/bad and left out: case004_a" "$T/err"
run "$SLIDEWISE" predict "$T/a" "$T/bad" --quiet
expect_status "predict goes on" 1
check "and keeps its row" grep -qE "^case004_a,,,,,,\"?$T/bad/case004_a.h5: " "$T/out"
rm "$T/bad/case004_a.h5"
run train missing --set "data.features=$T/bad"
check "a file that is not there" grep -qx "slidewise: $d/split.csv: 1 of 8 rows name a slide that is not in $T/bad: case004_a; encode them, or set data.missing to skip" "$T/err"
cp "$golden/wider.h5" "$T/bad/case004_a.h5"
expect_failure "another width" 1 "slidewise: $T/bad/case004_a.h5: its features are 12 wide, those of $T/bad/case001_a.h5 256; give features of one encoder" \
    train wide --set "data.features=$T/bad"
mkdir "$T/nan"
cp "$golden/refused/nan.h5" "$T/nan/one.h5" && cp "$golden/clam/h5_files/two.h5" "$T/nan/two.h5"
expect_failure "a feature that is no number" 1 \
    "slidewise: $T/nan/one.h5: feature 2 of patch 3 is not a number (NaN); features must be finite numbers, make the file again" \
    train nan --set "data.features=$T/nan" --set "data.labels=$T/two.csv"

# Survival, with cases of several slides
printf 'case_id,slide_id,time,event,split\n' >"$T/survival.csv"
i=0
for row in case001_a case002_a case002_b case003_a case003_b case004_a case005_a case006_a; do
    i=$((i + 1))
    split=train; case $row in case004*) split=val ;; case005*) split=test ;; esac
    echo "${row%_*},$row,$(((${row:6:1} * 7) % 5 + 1)),1,$split" >>"$T/survival.csv"
done
run train survival --set "data.labels=$T/survival.csv" --set task.type=survival --set task.survival.bins=2 --set train.metric=c_index --set bag.patches=0 --set train.batch_bags=1
expect_status "survival" 0
check "cases are bags" grep -q '^case002,2,' "$T/survival/predictions_train.csv"
run "$SLIDEWISE" predict "$T/survival" "$d/features" --cases "$T/cases.csv" --quiet
check "and predicted so" grep -qE '^case002,2,-?[0-9.]+,' "$T/out"

# What does not go together
refuse() { expect_failure "$1" 1 "slidewise: $T/f.yaml: $2" train x "${@:3}"; }
refuse "a store besides" "data.features takes the place of data.store; leave one of them out" --set "data.store=$d/store"
refuse "an encoder besides" "encoder.name: resnet18, but data.features holds features already; set it to none" --set encoder.name=resnet18
refuse "no features" "encoder.name: none needs data.features, the folder of features that come in instead" --set data.features=
refuse "all patches of several bags" "bag.patches: 0 takes all patches, and the bags of a step must have as many; set train.batch_bags to 1 (now 2)" --set bag.patches=0
refuse "all patches, and drawn" "bag.sampler: bag.patches is 0, so that all patches are taken and none are drawn; leave it out" \
    --set bag.patches=0 --set train.batch_bags=1 --set bag.sampler=regional_1d
refuse "weights of no encoder" "encoder.weights: with data.features there is no encoder and no choice of resolution; leave it out" --set encoder.weights=x
refuse "scales" "bag.scales: with data.features there is no encoder and no choice of resolution; leave it out" --set "bag.scales=[{mpp: 1}]"
expect_failure "all patches of slides" 1 "slidewise: $T/c.yaml: bag.patches: 0 (all patches of a slide) needs data.features; give a number of patches" \
    "$SLIDEWISE" train "$T/c.yaml" --set bag.patches=0 --set "run.out=$T/x"
expect_failure "a folder that is not there" 1 "slidewise: $T/no: there is no such file or folder of features" train x --set "data.features=$T/no"
finish
