#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every configuration in experiments/ is one that can be trained, and those of the paper are what their maker writes.
. "$(dirname "$0")/lib.sh"

[ -d "$SLIDEWISE_SOURCE/experiments/paper" ] || skip_all "the experiments are not here"
mkdir "$T/made"
run "$SLIDEWISE_SOURCE/experiments/paper/make" "$T/made"
expect_status "experiments/paper/make runs" 0
check "it writes the configurations that are there" diff -r -x make -x README.md "$T/made" "$SLIDEWISE_SOURCE/experiments/paper"

# One configuration: its name is said where it is refused.
cat >"$T/try" <<'TRY'
out=$(mktemp "$T/try-XXXXXX")
"$SLIDEWISE" train "$1" --dry-run --quick --set run.threads=1 >"$out" 2>&1 && grep -q '^parameters ' "$out" && grep -q '^FLOPs ' "$out" && exit
{ echo "$1:"; cat "$out"; } >"$out.why"
TRY
export T SLIDEWISE
ls "$SLIDEWISE_SOURCE"/experiments/*/*.yaml "$SLIDEWISE_SOURCE"/experiments/paper/two-stage/*.yaml | grep -v '/sweep[^/]*$' >"$T/list"
xargs -d '\n' -P "$(nproc)" -I{} bash "$T/try" {} <"$T/list"
count=$(wc -l <"$T/list") failed=$(find "$T" -name 'try-*.why' | wc -l)
cat "$T"/try-*.why >"$T/why" 2>/dev/null
if [ $failed -eq 0 ] && [ $count -gt 400 ]; then ok "train --dry-run takes all $count configurations"; else
    echo "$failed of $count refused" >>"$T/why"
    not_ok "train --dry-run takes every configuration" "$T/why"
fi
for yaml in "$SLIDEWISE_SOURCE"/experiments/*/sweep*.yaml "$SLIDEWISE_SOURCE"/experiments/paper/two-stage/sweep-r50-*.yaml; do
    run "$SLIDEWISE" sweep "$yaml" --list
    expect_status "$(basename "$yaml") is a sweep of $(wc -l <"$T/out") runs" 0
done
expect_failure "a placeholder cannot be trained on" 1 \
    "slidewise: data.store is still to be filled in: <store of PANDA at 0.25 and 0.5 um/px>" \
    "$SLIDEWISE" train "$SLIDEWISE_SOURCE/experiments/paper/main-r18-panda.yaml"
expect_failure "nor on one for features" 1 "slidewise: data.features is still to be filled in: <folder of UNI's features of PANDA>" \
    "$SLIDEWISE" train "$SLIDEWISE_SOURCE/experiments/paper/two-stage/uni-abmil-panda.yaml"
expect_failure "--quick alone means nothing" 2 "slidewise: train: --quick goes with --dry-run" "$SLIDEWISE" train "$SLIDEWISE_SOURCE/experiments/paper/main-r18-panda.yaml" --quick
finish
