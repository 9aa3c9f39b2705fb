#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every verb that the pages show in a shell block exists.
. "$(dirname "$0")/lib.sh"

awk '/^```/ { inside = !inside; next } inside && $1 == "slidewise" && $2 ~ /^[a-z]+$/ { print $2 }' \
    "$SLIDEWISE_SOURCE"/docs/*.md "$SLIDEWISE_SOURCE"/README.md | sort -u >"$T/verbs"
check "the pages show verbs" grep -qx train "$T/verbs"
for verb in $(cat "$T/verbs"); do
    check "the pages' verb $verb exists" "$SLIDEWISE" help "$verb"
done
finish
