#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# slidewise store: the reference implementation's LMDB in, folders and archives out, damage told, kills survived.
. "$(dirname "$0")/lib.sh"
lmdb=$SLIDEWISE_SOURCE/tests/golden/reference/224_80_level1.lmdb

run "$SLIDEWISE" store import "$lmdb" "$T/in" --mpp 1.143 --quiet
expect_status "import" 0
check "tells what came over" grep -qxF "3 slides: 3 done, 0 already done, 0 failed; 16 patches in $T/in" "$T/out"
check "nothing is written beside the LMDB" test "$(ls "$(dirname "$lmdb")" | wc -l)" = 4
run "$SLIDEWISE" store info "$T/in"
expect_status "info" 0
check "lists the slides" grep -qE '^a-1 +unknown +\? +1\.143 +32 px +3$' "$T/out"
check "and the settings" grep -qxF 'made with mpp_um = 1.143; patch_px = 32; overlap_px = 0; quality = 80; positions = given' "$T/out"
run "$SLIDEWISE" store info "$T/in" --json
check "also as JSON" grep -q '"n_patches": 16' "$T/out"
run "$SLIDEWISE" store verify "$T/in" --quiet
expect_status "verify" 0
expect_stdout "says that it is whole" "$T/in is whole: 23 records of 3 slides fit their checksums"
run "$SLIDEWISE" store export "$T/in" "$T/out1" --quiet
expect_status "export" 0
check "gives the JPEGs back" cmp "$T/out1/1.143um/a/000010.jpg" "$(dirname "$lmdb")/a-10.jpg"
run "$SLIDEWISE" store export "$T/in" "$T/out1" --tar --slide a --quiet
expect_status "export --tar" 0
check "tar reads it" test "$(tar tf "$T/out1/1.143um/a.tar" | wc -l)" = 24
tar xOf "$T/out1/1.143um/a.tar" a/000010.jpg >"$T/ten.jpg"
check "bit by bit" cmp "$T/ten.jpg" "$(dirname "$lmdb")/a-10.jpg"

# A larger store of real patches: export killed at any moment, then run again, is the export that was not killed.
"$SLIDEWISE" synth "$T/synth" --slides 3 --size 1024 --seed 5 --quiet
"$SLIDEWISE" tile "$T/synth/slides" --store "$T/store" --mpp 0.5 --preset bwh_biopsy --patch-px 32 --quiet >"$T/tiled"
"$SLIDEWISE" store export "$T/store" "$T/whole" --quiet >"$T/out"
"$SLIDEWISE" store export "$T/store" "$T/whole" --tar --quiet >"$T/out"
for delay in 0.002 0.005 0.01 0.02 0.04; do
    { timeout -s KILL $delay "$SLIDEWISE" store export "$T/store" "$T/killed" --quiet >"$T/out"; } 2>"$T/err"
    { timeout -s KILL $delay "$SLIDEWISE" store export "$T/store" "$T/killed" --tar --quiet >"$T/out"; } 2>"$T/err"
done
run "$SLIDEWISE" store export "$T/store" "$T/killed" --quiet
expect_status "after five kills" 0
run "$SLIDEWISE" store export "$T/store" "$T/killed" --tar --quiet
expect_status "and for archives" 0
check "the export is the same" diff -r "$T/whole" "$T/killed"
run "$SLIDEWISE" store export "$T/store" "$T/killed" --quiet
check "and is not done again" grep -qxF "0 folders with 0 patches (0.0 MiB) written to $T/killed; 3 were there already" "$T/out"

# A flipped byte in the middle of a patch. Where it lies in the file is found by the patch itself.
name=$(cd "$T/whole/0.5um" && ls | head -1)
jpeg=$(ls "$T/whole/0.5um/$name"/*.jpg | sed -n 5p)
flip() { # FILE NEEDLE-FILE: changes a bit in every copy of NEEDLE's last 40 bytes (pages that LMDB split keep old copies)
    local needle at
    needle=$(tail -c 40 "$2" | od -An -v -tx1 | tr -d ' \n')
    od -An -v -tx1 "$1" | tr -d ' \n' | grep -ob "$needle" | while IFS=: read -r at _; do
        printf '%b' "\\x$(printf '%02x' $((0x${needle:0:2} ^ 16)))" | dd of="$1" bs=1 seek=$((at / 2)) conv=notrunc 2>/dev/null
    done
}
mkdir "$T/bad"
cp "$T/store/data.mdb" "$T/bad/data.mdb"
flip "$T/bad/data.mdb" "$jpeg"
run "$SLIDEWISE" store verify "$T/bad" --quiet
expect_status "a flipped bit fails the store" 1
expect_stdout "names slide and patch" "store $T/bad: patch 4 of slide $name, scale 0, is damaged (its checksum differs); restore the store from a copy or tile into a new one"
records=$(sed -n 's/.* whole: \([0-9]*\) records.*/\1/p' <("$SLIDEWISE" store verify "$T/store" --quiet))
expect_stderr "and counts" "slidewise: store $T/bad: 1 of $records records are damaged or missing"
run "$SLIDEWISE" store export "$T/bad" "$T/bad_out" --quiet
expect_status "export does not hand on damage" 1
check "and leaves no slide that looks whole" test ! -e "$T/bad_out/0.5um/$name"

# Pages of LMDB itself, overwritten: whatever LMDB does with them, verify ends with a sentence.
mkdir "$T/pages"
cp "$T/store/data.mdb" "$T/pages/data.mdb"
for page in 3 5 7 9 11; do
    printf '\377\377\377\377\377\377\377\377\377\377\377\377\377\377\377\377\377\377\377\377\377\377\377\377' |
        dd of="$T/pages/data.mdb" bs=1 seek=$((page * 4096 + 8)) conv=notrunc 2>/dev/null
done
run "$SLIDEWISE" store verify "$T/pages" --quiet
expect_status "damaged pages fail the store" 1
check "in words" grep -q "^slidewise: store $T/pages: " "$T/err"

expect_failure "no resolution" 2 "slidewise: store import needs --mpp UM: the microns per pixel of the patches, which the LMDB does not say" \
    "$SLIDEWISE" store import "$lmdb" "$T/x"
expect_failure "no LMDB" 1 "slidewise: $SLIDEWISE_SOURCE/README.md: not an LMDB database, or its head is damaged; give the .lmdb file that the reference implementation wrote" \
    "$SLIDEWISE" store import "$SLIDEWISE_SOURCE/README.md" "$T/x" --mpp 1
expect_failure "another resolution than the store's" 1 \
    "slidewise: store $T/in: it was made with mpp_um = 1.143, and 1 is asked now; use the same settings, or another store" \
    "$SLIDEWISE" store import "$lmdb" "$T/in" --mpp 1 --quiet
expect_failure "unknown word, near one" 2 'slidewise: store: unknown word "impor"; did you mean "store import"?' "$SLIDEWISE" store impor
expect_failure "unknown word" 2 'slidewise: store: unknown word "qqqqqqqq"; give import, info, verify, export, join or merge' "$SLIDEWISE" store qqqqqqqq
expect_failure "operands missing" 2 'slidewise: store export needs STORE OUT; slidewise store --help tells more' "$SLIDEWISE" store export x
expect_failure "an option of another word" 2 'slidewise: store verify takes no --tar; slidewise store --help tells more' "$SLIDEWISE" store verify x --tar
"$SLIDEWISE" completion bash >"$T/bash"
bash -c '. "$1"; COMP_WORDS=(slidewise store ver); COMP_CWORD=2; _slidewise; printf "%s\n" "${COMPREPLY[@]}"' _ "$T/bash" >"$T/offered"
check "bash completes the words" grep -qx verify "$T/offered"
finish
