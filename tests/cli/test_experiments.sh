#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every configuration in experiments/ is one that can be trained, and those of the paper are what their maker writes.
. "$(dirname "$0")/lib.sh"

[ -d "$SLIDEWISE_SOURCE/experiments/paper" ] || skip_all "the experiments are not here"
mkdir "$T/made"
run "$SLIDEWISE_SOURCE/experiments/paper/make" "$T/made"
expect_status "experiments/paper/make runs" 0
check "it writes the configurations that are there" diff -r -x make -x README.md "$T/made" "$SLIDEWISE_SOURCE/experiments/paper"

failed=0 count=0
for yaml in "$SLIDEWISE_SOURCE"/experiments/*/*.yaml; do
    case $(basename "$yaml") in sweep*) continue ;; esac
    count=$((count + 1))
    run "$SLIDEWISE" train "$yaml" --dry-run --quick --set run.threads=1
    if [ "$status" -ne 0 ] || ! grep -q '^parameters ' "$T/out" || ! grep -q '^FLOPs ' "$T/out"; then
        failed=$((failed + 1))
        { echo "$yaml:"; cat "$T/err" "$T/out"; } >>"$T/why"
    fi
done
if [ $failed -eq 0 ] && [ $count -gt 100 ]; then ok "train --dry-run takes all $count configurations"; else
    echo "$failed of $count refused" >>"$T/why"
    not_ok "train --dry-run takes every configuration" "$T/why"
fi
for yaml in "$SLIDEWISE_SOURCE"/experiments/*/sweep*.yaml; do
    run "$SLIDEWISE" sweep "$yaml" --list
    expect_status "$(basename "$yaml") is a sweep of $(wc -l <"$T/out") runs" 0
done
expect_failure "a placeholder cannot be trained on" 1 \
    "slidewise: data.store is still to be filled in: <store of PANDA at 0.25 and 0.5 um/px>" \
    "$SLIDEWISE" train "$SLIDEWISE_SOURCE/experiments/paper/main-r18-panda.yaml"
expect_failure "--quick alone means nothing" 2 "slidewise: train: --quick goes with --dry-run" "$SLIDEWISE" train "$SLIDEWISE_SOURCE/experiments/paper/main-r18-panda.yaml" --quick
finish
