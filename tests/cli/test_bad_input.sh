#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Bad input: what the user is told, word for word, the exit status, and that nothing is lost.
# Disks that are full or may not be written are small ones of the test's own, in a mount name space of its own.
if [ -z "${SW_TEST_MOUNTS:-}" ]; then
    # shellcheck disable=SC2016
    if unshare -m sh -c 'mount -t tmpfs -o size=64k slidewise-test /mnt' 2>/dev/null; then exec env SW_TEST_MOUNTS=1 unshare -m "$0"; fi
    # shellcheck disable=SC2016
    if unshare -rm sh -c 'mount -t tmpfs -o size=64k slidewise-test /mnt' 2>/dev/null; then exec env SW_TEST_MOUNTS=1 unshare -rm "$0"; fi
fi
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/tiny.sh"
mounts=${SW_TEST_MOUNTS:-}
no_mounts="mounting a small disk takes root or user name spaces"
d=$T/data
tiny_slides "$d" && tiny_store "$d" || { not_ok "slides and store" "$d/tile.out"; finish; }
slide=$d/slides/case001_a.tif
tile_all=(--mpp 0.5 --mpp 1 --preset bwh_biopsy --patch-px 64 --quiet)

# --- slides

# tile_fails NAME STATUS-WORD REASON SLIDE [OPTION...]: one slide, one row of the table, one reason
tile_fails() {
    local name=$1 word=$2 reason=$3 path=$4 id
    shift 4
    id=$(basename "${path%.*}")
    rm -rf "$T/st"
    expect_failure "$name" 1 "slidewise: warning: $reason
slidewise: 1 of 1 slides failed (see the table); with --allow-failures this exits with 0" \
        "$SLIDEWISE" tile "$path" --store "$T/st" --quiet "$@"
    check "$name: the reason is in the table" grep -qxF "$word: $reason" "$T/out"
    check "$name: and in the CSV" grep -qE "^$id,$word,0,0,0,0,0,0,0.0000,0.0000,[0-9.]+,$path," "$T/st/slides.csv"
}
expect_failure "a slide that is not there" 1 "slidewise: $T/none.svs: no such file; check the path" \
    "$SLIDEWISE" tile "$T/none.svs" --store "$T/st" --quiet
head -c 50000 "$slide" >"$T/cut.tif"
tile_fails "a slide cut before its directory" unreadable \
    "$T/cut.tif: the file is damaged or cut short (libtiff: Can not read TIFF directory count); copy it again from its source" "$T/cut.tif"
white_tiff 300 "$T/white.tif"
head -c 100000 "$T/white.tif" >"$T/half.tif"
tile_fails "a slide cut within its pixels" unreadable \
    "$T/half.tif: the file is damaged or cut short (libtiff: Read error on strip 12; got 2678 bytes, expected 8100); copy it again from its source" \
    "$T/half.tif" --slide-mpp 0.5 --no-tissue --patch-px 64
: >"$T/empty.svs"
tile_fails "an empty file" unreadable "$T/empty.svs: the file is empty; copy it again from its source" "$T/empty.svs"
tile_fails "a slide without a resolution" "no resolution" \
    "$T/white.tif: no microns per pixel in the file; give --slide-mpp (e.g. --slide-mpp 0.5) or --mpp-csv with a CSV with columns slide_id,mpp" "$T/white.tif"
tile_fails "a slide without tissue" "no tissue" \
    "slide white: no tissue found (saturation threshold 8); look at the slide, then try another preset or a lower threshold" "$T/white.tif" --slide-mpp 0.5
data=${SLIDEWISE_TEST_DATA:-$SLIDEWISE_SOURCE/../shared/data}
if [ -r "$data/slides/CMU-1-Small-Region.svs" ]; then
    for share in 5 50 95; do
        head -c $((1938955 * share / 100)) "$data/slides/CMU-1-Small-Region.svs" >"$T/real.svs"
        tile_fails "$share % of a scanner's slide" unreadable \
            "$T/real.svs: the file is damaged or cut short (libtiff: Can not read TIFF directory count); copy it again from its source" "$T/real.svs"
    done
else
    skip "a scanner's slide, cut" "the real slides are not here"
fi

# Killed while tiling: slides that were committed stay.
"$SLIDEWISE" synth "$T/big" --slides 6 --size 2048 --seed 9 --quiet
"$SLIDEWISE" tile "$T/big/slides" --store "$T/whole" --threads 1 "${tile_all[@]}" >"$T/whole.out"
"$SLIDEWISE" tile "$T/big/slides" --store "$T/killed" --threads 1 "${tile_all[@]}" >/dev/null 2>&1 </dev/null &
pid=$!
while kill -0 "$pid" 2>/dev/null && [ "$(stat -c %s "$T/killed/data.mdb" 2>/dev/null || echo 0)" -lt 5500000 ]; do :; done
kill -KILL "$pid" 2>/dev/null
wait "$pid" 2>/dev/null
killed=$?
run "$SLIDEWISE" tile "$T/big/slides" --store "$T/killed" "${tile_all[@]}"
expect_status "tiling that was killed goes on" 0
check "it was killed within the work" test "$killed" -eq 137
check "some slides are done already, others are done now" grep -qE '^6 slides: [1-5] done, [1-5] already done, 0 failed;' "$T/out"
check "the table is that of an uninterrupted one" diff <(awk '/^case/ { print $1, $(NF-3), $(NF-2) }' "$T/whole.out") <(awk '/^case/ { print $1, $(NF-3), $(NF-2) }' "$T/out")

# --- configuration

tiny_config "$d" "$T/tiny.yaml"
train() { "$SLIDEWISE" train "$@" --quiet; }
config_fails() { # NAME TEXT YAML: the text's %s is the file
    printf '%s\n' "$3" >"$T/bad.yaml"
    expect_failure "$1" 1 "slidewise: ${2//%s/$T/bad.yaml}" train "$T/bad.yaml"
}
expect_failure "a configuration that is not there" 1 "slidewise: cannot open $T/none.yaml: No such file or directory; check the path" train "$T/none.yaml"
config_fails "YAML that is none" '%s, line 3: not valid YAML: while parsing a flow sequence, did not find expected '"','"' or '"']'" 'task:
  classes: [a, b
data:
  store: x'
config_fails "a key that is unknown" "%s:3: unknown key 'train.epoch'; the nearest is 'train.epochs'" 'train:
  lr: 0.001
  epoch: 3'
config_fails "a section that is unknown" "%s:1: unknown key 'trian'; the nearest is 'train'" 'trian:
  epochs: 3'
config_fails "a text for a number" "%s:2: train.epochs: 'many' is not a whole number; allowed: 1 to 1000000 epochs" 'train:
  epochs: many'
config_fails "a number for a list" "%s:1: 'train' is a section: its keys stand indented below it" 'train: 3'
config_fails "a value outside its range" "%s:2: train.epochs: 0 is out of range; allowed: 1 to 1000000 epochs" 'train:
  epochs: 0'
config_fails "a word that is not one of the known" "%s:2: train.optimizer: 'adamm' is none of adam, adamw, sgd; the nearest is 'adam'" 'train:
  optimizer: adamm'
expect_failure "an override of an unknown key" 1 "slidewise: --set: unknown key 'train.epoch'; the nearest is 'train.epochs'" train "$T/tiny.yaml" --set train.epoch=3
expect_failure "an override that is none" 1 "slidewise: --set: 'train.epochs' is not KEY=VALUE (such as train.epochs=30)" train "$T/tiny.yaml" --set train.epochs
expect_failure "no store" 1 "slidewise: data.store is not set; tile the slides (slidewise tile SLIDES --store DIR) and name the store" \
    train "$T/tiny.yaml" --set data.store=
expect_failure "no run directory" 1 "slidewise: run.out is not set; name the directory the run writes into" train "$T/tiny.yaml"
expect_failure "heads that do not divide the width" 1 "slidewise: aggregator.heads: 5 does not divide aggregator.inner_dim 32" \
    train "$T/tiny.yaml" --set "run.out=$T/r" --set aggregator.heads=5
expect_failure "an encoder that is unknown" 1 "slidewise: encoder.name: no encoder 'resnet19'; there are resnet18, resnet50, resnet18_full, resnet50_full" \
    train "$T/tiny.yaml" --set "run.out=$T/r" --set encoder.name=resnet19

# --- label tables

labels_fail() { # NAME TEXT CSV [--set ...]: the text's %s is the file
    local name=$1 text=$2
    printf '%s\n' "$3" >"$T/labels.csv"
    shift 3
    expect_failure "$name" 1 "slidewise: ${text//%s/$T/labels.csv}" train "$T/tiny.yaml" --set "run.out=$T/r" --set "data.labels=$T/labels.csv" "$@"
}
table=$(cat "$d/split.csv")
expect_failure "a label table that is not there" 1 "slidewise: $T/none.csv: no such file; data.labels must name the label table" \
    train "$T/tiny.yaml" --set "run.out=$T/r" --set "data.labels=$T/none.csv"
labels_fail "an unknown slide" "%s: 1 of 9 rows name a slide that is not in $d/store: case009_z; tile them, or set data.missing to skip" "$table
case009,case009_z,tumor,train"
labels_fail "a slide twice" "%s:10: slide 'case001_a' is already on line 2; delete one of them, or set data.repeats to keep if it shall count twice (oversampling)" "$table
case001,case001_a,normal,train"
labels_fail "a slide with two labels" "%s:10: slide 'case001_a' has the label 'tumor', and on line 2 'normal'; a slide has one label" "$table
case001,case001_a,tumor,train"
labels_fail "no column of slides" "%s: no column 'slide_id' (columns are: case_id, image, label, split); name it with data.columns.slide" "$(sed 's/slide_id/image/' "$d/split.csv")"
labels_fail "no column of labels" "%s: no column 'label' (columns are: case_id, slide_id, diagnosis, split); name it with data.columns.label" "$(sed 's/label/diagnosis/' "$d/split.csv")"
labels_fail "a row that is too short" "%s, line 10: 2 cells, but the header has 4" "$table
case001,case001_a"
labels_fail "a slide without a label" "%s:9: slide 'case006_a' has no label; fill it in or delete the row" "$(sed 's/case006_a,tumor/case006_a,/' "$d/split.csv")"
labels_fail "a class without a training slide" "%s: no training slide has the class 'tumor' (1 in val, 3 in test); change the split (data.split), or the classes (task.classes)" "$(sed -E 's/^(case003.*),train/\1,test/' "$d/split.csv")"
labels_fail "one class only" "warning: 4 of 8 slides have no row in %s and are left out: case003_a, case003_b, case005_a, case006_a
slidewise: %s: every slide has the label 'normal'; training needs at least two classes" "$(grep -v tumor "$d/split.csv")"
labels_fail "no training slide" "%s: no training slide is left (2 in val, 6 in test, 0 in no split); put some into train (data.split)" "$(sed 's/,train/,test/' "$d/split.csv")"
labels_fail "a case in two splits" "%s: case 'case002' is in train (line 3) and in test (line 4); correct the split, or set data.allow_leak to true" "$(sed 's/case002_b,normal,train/case002_b,normal,test/' "$d/split.csv")"
labels_fail "a split that is none" "%s:7: column 'split': 'dev' is none of train, val, test; correct it, or set data.split.from to random" "$(sed 's/,val/,dev/' "$d/split.csv")"
labels_fail "a table without a row" "%s: the table has a header but no row" "case_id,slide_id,label"
labels_fail "an empty table" "%s is empty: its first line must name the columns" ""
expect_failure "a label that is not among the classes" 1 "slidewise: $d/split.csv:5: slide 'case003_a' has the label 'tumor', which is not in task.classes (normal, tumour); the nearest is 'tumour'" train "$T/tiny.yaml" --set "run.out=$T/r" --set 'task.classes=[normal, tumour]'
check "none of these made a checkpoint" test ! -e "$T/r/checkpoints/last.safetensors"

# --- stores

store_fails() { # NAME TEXT STORE
    expect_failure "$1" 1 "$2" train "$T/tiny.yaml" --set "run.out=$T/r" --set "data.store=$3"
}
store_fails "a store that is not there" "slidewise: store $T/nostore: there is no such folder; make a store with: slidewise tile SLIDES --store $T/nostore" "$T/nostore"
store_fails "a folder that is no store" "slidewise: $d/slides is not a store: it has no data.mdb; give the folder that slidewise tile wrote" "$d/slides"
bytes=$(stat -c %s "$d/store/data.mdb")
cp -r "$d/store" "$T/short"
truncate -s 1000000 "$T/short/data.mdb"
store_fails "a store cut short" "slidewise: store $T/short: its data.mdb is truncated: 1000000 bytes of $bytes are there; copy it again from where it is whole, or tile into a new store" "$T/short"
expect_failure "which is not tiled into either" 1 "slidewise: store $T/short: its data.mdb is truncated: 1000000 bytes of $bytes are there; copy it again from where it is whole, or tile into a new store" \
    "$SLIDEWISE" tile "$d/slides" --store "$T/short" "${tile_all[@]}"
cp -r "$d/store" "$T/garbage"
head -c 8192 /dev/zero | tr '\0' 'g' | dd of="$T/garbage/data.mdb" conv=notrunc status=none
store_fails "a store whose head is damaged" "slidewise: store $T/garbage: its data.mdb is not an LMDB database or its head is damaged; restore it from a copy or tile into a new store" "$T/garbage"
# Bytes flipped in the middle of every other page: a patch that is read has another checksum.
cp -r "$d/store" "$T/flipped"
for at in $(seq 200000 40000 "$((bytes - 100000))"); do printf 'slidewise' | dd of="$T/flipped/data.mdb" bs=1 seek="$at" conv=notrunc status=none; done
run train "$T/tiny.yaml" --set "run.out=$T/r2" --set "data.store=$T/flipped"
expect_status "a store with flipped bytes" 1
sed -E 's/patch [0-9]+ of slide case00[0-9]_[ab], scale [01],/patch N of slide S, scale I,/' "$T/err" >"$T/general"
expect_text "is told as such, with slide and patch" \
    "slidewise: store $T/flipped: patch N of slide S, scale I, is damaged (its checksum differs); restore the store from a copy or tile into a new one" "$T/general"

# --- weights and runs

train "$T/tiny.yaml" --set "run.out=$T/good" --set train.epochs=1 >/dev/null 2>&1 </dev/null
best=$T/good/checkpoints/best.safetensors
weights_fail() { # NAME TEXT FILE [--set ...]
    local name=$1 text=$2 file=$3
    shift 3
    expect_failure "$name" 1 "slidewise: $text" train "$T/tiny.yaml" --set "run.out=$T/r" --set "encoder.weights=$file" "$@"
}
weights_fail "weights that are not there" "$T/none.pth: no such weights file; check the path" "$T/none.pth"
weights_fail "weights of another architecture" "$best: encoder.model.layer1.0.conv1.weight is [64, 64, 3, 3], but encoder resnet50 needs [64, 64, 1, 1]; give weights of that architecture or set encoder.name" "$best" --set encoder.name=resnet50
weights_fail "a table for weights" "$d/labels.csv: not a weights file that slidewise reads (safetensors or a PyTorch checkpoint), or cut short" "$d/labels.csv"
head -c 100000 "$best" >"$T/cut.safetensors"
weights_fail "weights cut short" "$T/cut.safetensors: damaged: its bytes are not those that were written (checksum); take it from a copy" "$T/cut.safetensors"
run train "$T/tiny.yaml" --set "run.out=$T/warm" --set train.epochs=1 --set "encoder.weights=$best"
expect_status "weights of the same architecture are fine" 0

expect_failure "a run that is there already" 1 "slidewise: $T/good: holds a run already; go on with it (--resume) or choose another run.out" \
    train "$T/tiny.yaml" --set "run.out=$T/good"
expect_failure "resuming with another configuration" 1 "slidewise: $T/good/checkpoints/last.safetensors: was trained with another configuration or label table than given now (train.epochs: 1 against 3); give the same, or choose another run.out" train "$T/tiny.yaml" --resume --set "run.out=$T/good" --set train.lr=0.1
cp -r "$T/good" "$T/torn"
head -c 100000 "$T/good/checkpoints/last.safetensors" >"$T/torn/checkpoints/last.safetensors"
expect_failure "resuming from a checkpoint cut short" 1 "slidewise: $T/torn/checkpoints/last.safetensors: damaged: its bytes are not those that were written (checksum); take it from a copy" train "$T/tiny.yaml" --resume --set "run.out=$T/torn" --set train.epochs=1

expect_failure "a run directory that is not there: predict" 1 "slidewise: $T/norun: no such run directory; give the directory that training wrote (run.out)" \
    "$SLIDEWISE" predict "$T/norun" "$slide"
expect_failure "heatmap" 1 "slidewise: $T/norun: no such run directory; give the directory that training wrote (run.out)" "$SLIDEWISE" heatmap "$T/norun" "$slide"
expect_failure "eval" 1 "slidewise: $T/norun: no such run directory; give the directory that training wrote (run.out)" "$SLIDEWISE" eval "$T/norun"
expect_failure "report" 1 "slidewise: $T/norun is not a directory; give the directory of a run" "$SLIDEWISE" report "$T/norun"
expect_failure "weights that are no checkpoint" 1 "slidewise: $d/labels.csv: not a weights file that slidewise reads (safetensors or a PyTorch checkpoint), or cut short" "$SLIDEWISE" predict "$T/good" "$slide" --checkpoint "$d/labels.csv"
expect_failure "predict: a slide that is not there" 1 "slidewise: $T/none.svs: no such file; check the path" "$SLIDEWISE" predict "$T/good" "$T/none.svs"
expect_failure "predict: a slide without a resolution" 1 "slidewise: $T/white.tif: no microns per pixel in the file; give --slide-mpp (e.g. --slide-mpp 0.5) or --mpp-csv with a CSV with columns slide_id,mpp" "$SLIDEWISE" predict "$T/good" "$T/white.tif" --quiet
check "predict: the row has the reason" grep -qE '^white,,,,,,"?.*white.tif: no microns per pixel' "$T/out"
expect_failure "predict: a slide without tissue" 1 "slidewise: slide white: no tissue found (saturation threshold 15); look at the slide, then try another preset or a lower threshold" "$SLIDEWISE" predict "$T/good" "$T/white.tif" --slide-mpp 0.5 --quiet
expect_failure "predict: a slide cut short" 1 "slidewise: $T/cut.tif: the file is damaged or cut short (libtiff: Can not read TIFF directory count); copy it again from its source" "$SLIDEWISE" predict "$T/good" "$T/cut.tif" --quiet
run "$SLIDEWISE" predict "$T/good" "$T/cut.tif" "$slide" --quiet
expect_status "predict: one bad slide of two is an exit status" 1
check "and the good one is predicted" grep -qE '^case001_a,(normal|tumor),' "$T/out"

# --- places that cannot be written

: >"$T/file"
expect_failure "tile: a store below a file" 1 "slidewise: cannot create the folder $T/file/store: $T/file is a file, not a folder" \
    "$SLIDEWISE" tile "$slide" --store "$T/file/store" "${tile_all[@]}"
expect_failure "train: a run below a file" 1 "slidewise: cannot create the folder $T/file/run/checkpoints: $T/file is a file, not a folder" \
    train "$T/tiny.yaml" --set "run.out=$T/file/run"
expect_failure "predict: a table below a file" 1 "slidewise: cannot write $T/file/p.csv: Not a directory; a part of the path is a file" "$SLIDEWISE" predict "$T/good" "$slide" -o "$T/file/p.csv" --quiet
expect_failure "report: a page below a file" 1 "slidewise: cannot write $T/file/r.html: Not a directory; a part of the path is a file" "$SLIDEWISE" report "$T/good" -o "$T/file/r.html"
expect_failure "synth: a folder below a file" 1 "slidewise: cannot create the folder $T/file/s/slides: $T/file is a file, not a folder" \
    "$SLIDEWISE" synth "$T/file/s" --slides 1 --size 512
if [ -n "$mounts" ]; then
    m=$T/small
    mkdir "$m"
    mount -t tmpfs -o size=1m slidewise-test "$m"
    mount -o remount,ro "$m"
    expect_failure "tile: a disk that is read-only" 1 "slidewise: cannot create the folder $m/store: Read-only file system; change its permissions or choose another place" \
        "$SLIDEWISE" tile "$slide" --store "$m/store" "${tile_all[@]}"
    expect_failure "train: a disk that is read-only" 1 "slidewise: cannot create the folder $m/run/checkpoints: Read-only file system; change its permissions or choose another place" \
        train "$T/tiny.yaml" --set "run.out=$m/run"
    mount -o remount,rw "$m"

    # A disk that fills up while tiling: whole slides stay, the rest follows when there is room.
    expect_failure "tile: a disk that is full" 1 "slidewise: store $m/store: the disk that holds it is full; free some space and run the same command again (whole slides are kept), or choose another place" \
        "$SLIDEWISE" tile "$d/slides" --store "$m/store" "${tile_all[@]}"
    mount -o remount,size=20m "$m"
    run "$SLIDEWISE" tile "$d/slides" --store "$m/store" "${tile_all[@]}"
    expect_status "with room again it goes on" 0
    check "keeping what was done" grep -qE '^8 slides: [1-7] done, [1-7] already done, 0 failed; 1598 patches' "$T/out"
    mount -o remount,ro "$m"
    expect_failure "tile: a store that may not be written" 1 "slidewise: store $m/store: it may not be written (Read-only file system); change its permissions or choose another place" \
        "$SLIDEWISE" tile "$d/slides" --store "$m/store" "${tile_all[@]}"
    store_fails_not=$T/from_read_only
    run train "$T/tiny.yaml" --set "run.out=$store_fails_not" --set "data.store=$m/store" --set train.epochs=1
    expect_status "but trained from" 0
    umount "$m"

    # A disk that fills up while a checkpoint is written: the old one stays, training goes on from it.
    two=(--set "run.out=$m/run" --set train.epochs=2 --set train.checkpoint_minutes=0)
    mount -t tmpfs -o size=200m slidewise-test "$m"
    run train "$T/tiny.yaml" "${two[@]}" --stop-after-steps 2
    expect_status "a run is begun" 130
    cp "$m/run/checkpoints/last.safetensors" "$T/last.before"
    rm "$m/run/checkpoints/previous.safetensors" # the next one would take its room
    free_kb=$(df -k --output=avail "$m" | tail -1)
    head -c $(((free_kb - 1000) * 1024)) /dev/zero >"$m/filler"
    expect_failure "train: a disk that is full" 1 "slidewise: cannot write $m/run/checkpoints/last.safetensors: the disk that holds it is full; free some space or choose another place" \
        train "$T/tiny.yaml" "${two[@]}" --resume
    check "the old checkpoint is as it was" cmp "$T/last.before" "$m/run/checkpoints/last.safetensors"
    check "nothing half-written is left" test -z "$(find "$m/run" -name '*.tmp-*')"
    head -c $((900 * 1024)) /dev/zero >"$m/filler2" && cat /dev/zero >"$m/filler3" 2>/dev/null
    expect_failure "train: no room even for its configuration" 1 "slidewise: cannot write $m/run/config.yaml: the disk that holds it is full; free some space or choose another place" train "$T/tiny.yaml" "${two[@]}" --resume
    check "the old checkpoint is as it was still" cmp "$T/last.before" "$m/run/checkpoints/last.safetensors"
    rm "$m"/filler*
    run train "$T/tiny.yaml" "${two[@]}" --resume
    expect_status "with room again it goes on" 0
    run train "$T/tiny.yaml" "${two[@]}" --set "run.out=$T/straight"
    check "and ends in the same bytes as one that never stopped" same_run "$T/straight" "$m/run"
    umount "$m"
else
    for name in "a disk that is read-only" "a disk that is full while tiling" "a disk that is full while training"; do skip "$name" "$no_mounts"; done
fi
finish
