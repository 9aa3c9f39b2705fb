# SPDX-License-Identifier: Apache-2.0
# Helpers of the shell tests, which report in TAP. A test sources this file and ends with `finish`.
#   $SLIDEWISE  the program     $SLIDEWISE_SOURCE  the source tree     $SLIDEWISE_BUILD  the build folder
#   $T          a fresh folder, removed at the end
# shellcheck shell=bash
set -u
: "${SLIDEWISE_SOURCE:=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}"
: "${SLIDEWISE_BUILD:=$SLIDEWISE_SOURCE/build/dev}"
: "${SLIDEWISE:=$SLIDEWISE_BUILD/bin/slidewise}"
export LC_ALL=C
T=$(mktemp -d "${TMPDIR:-/tmp}/slidewise-test-XXXXXX")
trap 'rm -rf "$T"' EXIT
tap_count=0
tap_failed=0

ok() { # NAME
    tap_count=$((tap_count + 1))
    echo "ok $tap_count - $1"
}

not_ok() { # NAME [FILE with details]
    tap_count=$((tap_count + 1))
    tap_failed=$((tap_failed + 1))
    echo "not ok $tap_count - $1"
    if [ -n "${2:-}" ]; then head -n 60 "$2" | sed 's/^/# /'; fi
}

skip() { # NAME REASON
    tap_count=$((tap_count + 1))
    echo "ok $tap_count - $1 # SKIP $2"
}

skip_all() { # REASON: nothing of this file can run
    skip "$(basename "$0" .sh)" "$1"
    finish
}

# run COMMAND...: sets $status; output in $T/out and $T/err
run() {
    status=0
    "$@" >"$T/out" 2>"$T/err" </dev/null || status=$?
}

# check NAME COMMAND...: passes when the command succeeds
check() {
    local name=$1
    shift
    if "$@" >"$T/check" 2>&1; then ok "$name"; else not_ok "$name" "$T/check"; fi
}

# expect_status NAME STATUS: of the last run
expect_status() {
    if [ "$status" -eq "$2" ]; then
        ok "$1"
    else
        { echo "exit status $status, expected $2"; cat "$T/err"; } >"$T/why"
        not_ok "$1" "$T/why"
    fi
}

# expect_stderr NAME TEXT, expect_stdout NAME TEXT: the whole of it, word for word
expect_text() { # NAME TEXT FILE
    if printf '%s\n' "$2" | diff - "$3" >"$T/diff"; then ok "$1"; else not_ok "$1" "$T/diff"; fi
}
expect_stderr() { expect_text "$1" "$2" "$T/err"; }
expect_stdout() { expect_text "$1" "$2" "$T/out"; }

# expect_failure NAME STATUS TEXT COMMAND...: runs it; the exit status and all of stderr must match
expect_failure() {
    local name=$1 expected=$2 text=$3
    shift 3
    run "$@"
    if [ "$status" -ne "$expected" ]; then
        { echo "exit status $status, expected $expected"; cat "$T/err"; } >"$T/why"
        not_ok "$name" "$T/why"
    else
        expect_stderr "$name" "$text"
    fi
}

finish() {
    echo "1..$tap_count"
    [ "$tap_failed" -eq 0 ]
    exit
}
