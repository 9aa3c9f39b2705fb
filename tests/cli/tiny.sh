# SPDX-License-Identifier: Apache-2.0
# The smallest whole case that the shell tests train on: eight synthetic slides, a store of two scales, a split by
# case, a configuration. Sourced behind lib.sh.
# shellcheck shell=bash

# tiny_slides DIR: eight slides of 1024 pixels at 0.5 um (4 normal, 4 tumour, of 6 patients) in DIR/slides, with labels.csv
# and, with a split in it, split.csv. The same bytes each time.
tiny_slides() {
    "$SLIDEWISE" synth "$1" --slides 8 --size 1024 --seed 5 --quiet || return
    cat >"$1/split.csv" <<'CSV'
case_id,slide_id,label,split
case001,case001_a,normal,train
case002,case002_a,normal,train
case002,case002_b,normal,train
case003,case003_a,tumor,train
case003,case003_b,tumor,train
case004,case004_a,normal,val
case005,case005_a,tumor,val
case006,case006_a,tumor,test
CSV
}

# tiny_store DIR: tiles DIR/slides into DIR/store at 0.5 and 1 um, patches of 64 pixels
tiny_store() {
    "$SLIDEWISE" tile "$1/slides" --store "$1/store" --mpp 0.5 --mpp 1 --preset bwh_biopsy --patch-px 64 --quiet >"$1/tile.out"
}

# tiny_config DIR FILE [KEY=VALUE...]: writes a configuration that trains in seconds. What it leaves out is set in each test.
tiny_config() {
    cat >"$2" <<YAML
data:
  store: $1/store
  labels: $1/split.csv
bag:
  patches: 12
augment:
  crop_px: 32
aggregator:
  inner_dim: 32
  heads: 2
train:
  epochs: 3
  batch_bags: 2
  drop_last: false
  lr: 0.001
  chunk_patches: 64
eval:
  bootstrap: 20
run:
  threads: 1
  workers: 2
YAML
}

# tensors FILE: the tensors of a safetensors file, without the header, whose metadata holds times
tensors() {
    local header
    header=$(od -An -t u8 -N 8 "$1" | tr -d ' ') && tail -c "+$((9 + header))" "$1"
}

# same_tensors FILE FILE
same_tensors() {
    [ -s "$1" ] && [ -s "$2" ] && cmp <(tensors "$1") <(tensors "$2")
}

# epochs_of LOG: the lines of its epochs without what the clock says
epochs_of() {
    grep '"event": *"epoch"' "$1" | sed -E 's/, *"(seconds|patches_per_second)": *[^,}]*//g'
}

# same_run DIR DIR: the same weights byte for byte, the same epochs, the same predictions and metrics
same_run() {
    local file failed=0
    for file in "$1"/checkpoints/*.safetensors; do
        case $(basename "$file") in
        last.*) same_tensors "$file" "$2/checkpoints/last.safetensors" || failed=1 ;;
        *) cmp "$file" "$2/checkpoints/$(basename "$file")" || failed=1 ;;
        esac
    done
    for file in "$1"/predictions_*.csv "$1"/metrics_*.json "$1/dataset.json"; do
        [ -s "$file" ] || { echo "$file is not there"; failed=1; }
        cmp "$file" "$2/$(basename "$file")" || failed=1
    done
    diff <(epochs_of "$1/log.jsonl") <(epochs_of "$2/log.jsonl") || failed=1
    return $failed
}

# json_value KEY FILE: the values of a key whose value is a number or a word, one a line
json_value() {
    grep -oE "\"$1\": *[^,}]*" "$2" | sed -E 's/^"[^"]*": *//'
}

le16() { printf "\\$(printf %03o $(($1 & 255)))\\$(printf %03o $(($1 >> 8 & 255)))"; }
le32() { le16 $(($1 & 65535)) && le16 $(($1 >> 16)); }

# white_tiff SIDE FILE: a white uncompressed RGB picture without a resolution, its directory first
white_tiff() {
    local tag
    {
        printf 'II*\0' && le32 8 && le16 9
        # tag,value; one count of 8 bits serves for the three samples
        for tag in 256,"$1" 257,"$1" 258,8 259,1 262,2 273,122 277,3 278,"$1" 279,$((3 * $1 * $1)); do
            le16 "${tag%,*}" && le16 4 && le32 1 && le32 "${tag#*,}"
        done
        le32 0 && head -c $((3 * $1 * $1)) /dev/zero | tr '\0' '\377'
    } >"$2"
}
