#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The reference pages are what the program prints.
. "$(dirname "$0")/lib.sh"

run "$SLIDEWISE" help config
expect_status "help config succeeds" 0
check "docs/config.md is what 'slidewise help config' prints" diff "$SLIDEWISE_SOURCE/docs/config.md" "$T/out"

# Every verb that the pages show in a shell block exists.
grep -hoE '^slidewise [a-z]+' "$SLIDEWISE_SOURCE"/docs/*.md "$SLIDEWISE_SOURCE"/README.md | awk '{print $2}' | sort -u >"$T/verbs"
for verb in $(cat "$T/verbs"); do
    check "the pages' verb $verb exists" "$SLIDEWISE" help "$verb"
done
finish
