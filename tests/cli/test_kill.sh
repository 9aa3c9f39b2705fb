#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Tiling that is stopped, by SIGKILL at random moments, by a full disk, by another writer: nothing committed is lost, and the same
# command run again makes the store that was never stopped.
. "$(dirname "$0")/lib.sh"
# shellcheck disable=SC2034 # the same moments in every run, as far as the machine lets them be
RANDOM=20

settings=(--mpp 0.5 --mpp 1 --preset bwh_biopsy --patch-px 64 --threads 2 --quiet)
tile() { "$SLIDEWISE" tile "$T/synth/slides" --store "$1" "${settings[@]}"; }
# All that a store holds, whatever the order of its slides and the time they took: every JPEG and position, and what is known of
# the slides.
content() {
    "$SLIDEWISE" store export "$1" "$2" --tar --quiet >"$T/exported" && (cd "$2" && find . -type f | sort | xargs sha256sum) >"$2.sums" &&
        "$SLIDEWISE" store info "$1" --json | grep -vE '"(store|bytes)": ' >>"$2.sums" && rm -r "$2"
}

run "$SLIDEWISE" synth "$T/synth" --slides 6 --size 1024 --seed 5 --quiet
expect_status "six slides" 0
tile "$T/warm" >"$T/out"
start=$(date +%s%N)
run tile "$T/whole"
whole_ms=$((($(date +%s%N) - start) / 1000000))
expect_status "tiled without interruption" 0
content "$T/whole" "$T/whole_out"
check "six slides at two scales" test "$(grep -c '\.tar$' "$T/whole_out.sums")" = 12

killed=0 complete=0 same=0 lost=0
: >"$T/lost"
for _ in {1..20}; do
    store=$T/killed
    rm -rf "$store"
    ms=$((5 + RANDOM % (whole_ms + 20)))
    status=0
    { timeout -s KILL "$(printf '%d.%03d' $((ms / 1000)) $((ms % 1000)))" "$SLIDEWISE" tile "$T/synth/slides" --store "$store" "${settings[@]}" >"$T/out"; } 2>"$T/err" || status=$?
    [ "$status" -eq 137 ] && killed=$((killed + 1))
    # timeout kills itself, too, and does not wait: a commit that the system is writing may end a moment later.
    [ -e "$store/writer.lock" ] && flock "$store/writer.lock" true
    # What was committed before is there, and whole. A kill before the first commit leaves no store yet.
    before=0
    if "$SLIDEWISE" store verify "$store" --quiet >"$T/verify" 2>"$T/why"; then
        before=$(sed -n 's/.* records of \([0-9]*\) slides fit.*/\1/p' "$T/verify")
    elif ! grep -qE 'there is no such folder|it has no data.mdb|it is empty; fill it' "$T/why"; then
        lost=$((lost + 1)); cat "$T/why" >>"$T/lost"
    fi
    tile "$store" >"$T/out" 2>"$T/why" && complete=$((complete + 1))
    grep -q "^6 slides: $((6 - before)) done, $before already done, 0 failed;" "$T/out" || { lost=$((lost + 1)); cat "$T/out" >>"$T/lost"; }
    content "$store" "$T/killed_out"
    cmp -s "$T/whole_out.sums" "$T/killed_out.sums" && same=$((same + 1))
done
echo "# $killed of 20 runs of about $whole_ms ms were killed before they ended"
check "kills came while it worked" test "$killed" -ge 5
check "20 of 20 reruns complete" test "$complete" = 20
check "20 of 20 stores are the one that was never stopped" test "$same" = 20
check "no slide that was committed is lost or done again" cmp "$T/lost" /dev/null

# Killed again and again in one store.
store=$T/often
for ms in 040 060 080 100 120 150; do
    { timeout -s KILL 0.$ms "$SLIDEWISE" tile "$T/synth/slides" --store "$store" "${settings[@]}" >"$T/out"; } 2>"$T/err"
done
run tile "$store"
expect_status "after six kills of one store" 0
content "$store" "$T/often_out"
check "it is the same store" cmp "$T/whole_out.sums" "$T/often_out.sums"

# A limit on the size of files, which is a full disk that needs no root.
limit=$(($(stat -c %s "$T/whole/data.mdb") / 2048)) # KiB: half of it
store=$T/limited
status=0
(ulimit -f $limit; exec "$SLIDEWISE" tile "$T/synth/slides" --store "$store" "${settings[@]}") >"$T/out" 2>"$T/err" || status=$?
expect_status "a file that may not grow ends the tiling" 1
expect_stderr "with a sentence" "slidewise: store $store: its data.mdb is as large as files may become here; raise the limit (ulimit -f) and run the same command again (whole slides are kept), or choose another place"
run "$SLIDEWISE" store verify "$store" --quiet
expect_status "what was committed is whole" 0
done_before=$(sed -n 's/.* records of \([0-9]*\) slides fit.*/\1/p' "$T/out")
check "and is some slides" test "$done_before" -ge 1
run tile "$store"
expect_status "it goes on without the limit" 0
check "where it stopped" grep -q "^6 slides: $((6 - done_before)) done, $done_before already done, 0 failed;" "$T/out"
content "$store" "$T/limited_out"
check "to the same store" cmp "$T/whole_out.sums" "$T/limited_out.sums"

# A disk that is full.
mkdir "$T/disk"
if mount -t tmpfs -o size="$limit"k tmpfs "$T/disk" 2>"$T/err"; then
    trap 'umount "$T/disk" 2>/dev/null; rm -rf "$T"' EXIT
    store=$T/disk/store
    run tile "$store"
    expect_status "a full disk ends the tiling" 1
    expect_stderr "with a sentence" "slidewise: store $store: the disk that holds it is full; free some space and run the same command again (whole slides are kept), or choose another place"
    run "$SLIDEWISE" store verify "$store" --quiet
    expect_status "what was committed is whole" 0
    mount -o remount,size=64m "$T/disk"
    run tile "$store"
    expect_status "it goes on where there is room again" 0
    content "$store" "$T/full_out"
    check "to the same store" cmp "$T/whole_out.sums" "$T/full_out.sums"

    # The same disk, read-only.
    sync
    if mount -o remount,ro "$T/disk" 2>"$T/err"; then
        run "$SLIDEWISE" store verify "$store" --quiet
        expect_status "a store on a read-only disk is read" 0
        expect_failure "and not written" 1 "slidewise: store $store: it may not be written (Read-only file system); change its permissions or choose another place" tile "$store"
    else
        skip "a read-only disk" "it cannot be remounted"
    fi
    umount "$T/disk"
else
    skip "a full disk and a read-only one" "a small tmpfs cannot be mounted here (root is needed)"
fi

# Two writers at once: the second is told who the first is. The first waits in its lock for as long as we like.
store=$T/two
mkdir "$store"
exec 8>"$store/writer.lock"
flock 8
printf '%d' $$ >&8
expect_failure "a second writer is refused" 1 "slidewise: store $store: process $$ is writing it; wait until it ends, or choose another store" tile "$store"
exec 8>&-
run tile "$store"
expect_status "and may when the first has ended" 0
content "$store" "$T/two_out"
check "with the same result" cmp "$T/whole_out.sums" "$T/two_out.sums"

# Two programs started at the same moment: one works, or both one after the other; none harms the store.
store=$T/race
tile "$store" >"$T/out1" 2>"$T/err1" &
tile "$store" >"$T/out2" 2>"$T/err2"
wait
check "at most one of two is refused" test "$(cat "$T/err1" "$T/err2" | grep -c 'is writing it; wait until it ends')" -le 1
run tile "$store"
content "$store" "$T/race_out"
check "and their store is the same, too" cmp "$T/whole_out.sums" "$T/race_out.sums"
finish
