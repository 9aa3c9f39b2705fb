#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What a running job shows, and how it stops. The job is the making of synthetic slides.
. "$(dirname "$0")/lib.sh"

synth=("$SLIDEWISE" synth --size 512 --threads 1)

run "${synth[@]}" "$T/plain" --slides 2
expect_status "a short job without a terminal" 0
check "shows no bar" test ! -s "$T/err"

on_terminal() { # COMMAND...: its output on a pseudo terminal, in $T/tty
    script -qec "$(printf '%q ' "$@")" /dev/null </dev/null >"$T/tty" 2>&1
}
if command -v script >/dev/null && on_terminal true; then
    on_terminal "${synth[@]}" "$T/tty1" --slides 12
    check "a terminal gets a bar" grep -qE $'\r.*\[=*>? *\] +[0-9]+ %' "$T/tty"
    tr '\r' '\n' <"$T/tty" >"$T/lines"
    check "the last state is complete" grep -qE '\[=+\] +100 %  12/12 slides' "$T/lines"
    check "with a rate" grep -qE 'slides/s' "$T/lines"
    # Bars are shorter than the terminal, or each would break into two lines.
    check "no bar is wider than the terminal" awk '/%/ && length($0) > 83 { exit 1 }' "$T/lines"
    on_terminal "${synth[@]}" "$T/tty2" --slides 12 --quiet
    if grep -q '%' "$T/tty"; then not_ok "--quiet shows no bar" "$T/tty"; else ok "--quiet shows no bar"; fi
else
    skip "a terminal gets a bar" "there is no script(1) to make a terminal"
fi

# Signals: stop at a safe point, say so, exit as the shell expects.
for signal in INT TERM; do
    # A background job of a script ignores SIGINT unless it is told otherwise.
    env --default-signal=INT "$SLIDEWISE" synth --size 1024 --threads 1 --slides 500 "$T/$signal" >"$T/out" 2>"$T/err" &
    pid=$!
    sleep 1
    kill -s "$signal" "$pid"
    wait "$pid"
    status=$?
    expect_status "SIG$signal stops the job" $((128 + $(kill -l "$signal")))
    check "and it is told" grep -q '^slidewise: stopped: ' "$T/err"
done

# Threads that compute wait briefly, or as the user says. A pipe for a configuration keeps the program at its beginning.
mkfifo "$T/config.yaml"
exec 3<>"$T/config.yaml"
waits() { # VARIABLE=VALUE...: the environment of a training that was started with them
    env -u GOMP_SPINCOUNT -u OMP_WAIT_POLICY "$@" "$SLIDEWISE" train "$T/config.yaml" >"$T/out" 2>&1 3>&- &
    pid=$!
    for _ in $(seq 100); do
        ls -l "/proc/$pid/fd" 2>&1 | grep -q 'config.yaml$' && break
        sleep 0.05
    done
    tr '\0' '\n' <"/proc/$pid/environ" >"$T/environ"
    cat "/proc/$pid/comm" >"$T/comm"
    kill -KILL "$pid"
    wait "$pid" 2>/dev/null
}
waits A=1
check "compute threads that wait go to sleep soon" grep -qx GOMP_SPINCOUNT=1000 "$T/environ"
check "the program keeps its name" grep -qx "${SLIDEWISE##*/}" "$T/comm"
waits GOMP_SPINCOUNT=77
check "unless the user says how long they look" grep -qx GOMP_SPINCOUNT=77 "$T/environ"
waits OMP_WAIT_POLICY=active
check "or how they wait" test -z "$(grep GOMP_SPINCOUNT "$T/environ")"
finish
