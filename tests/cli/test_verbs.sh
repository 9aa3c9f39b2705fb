#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The command line itself: help, unknown words, values, derived texts.
. "$(dirname "$0")/lib.sh"

run "$SLIDEWISE" --version
expect_status "--version succeeds" 0
check "--version names the version" grep -qx 'slidewise [0-9]*\.[0-9]*\.[0-9]*' "$T/out"

run "$SLIDEWISE"
expect_status "no verb is a wrong command line" 2
check "and shows the verbs" grep -q '^  doctor ' "$T/out"
run "$SLIDEWISE" help
expect_status "help succeeds" 0

# The table is the truth: every verb in it is listed, documented and completed.
sed -n 's/^CLI_COMMAND(\(.*\))$/\1/p' "$SLIDEWISE_SOURCE/cli/commands.def" >"$T/verbs"
"$SLIDEWISE" man >"$T/man"
for shell in bash zsh fish; do "$SLIDEWISE" completion $shell >"$T/$shell"; done
while read -r verb; do
    run "$SLIDEWISE" "$verb" --help
    if [ "$status" -eq 0 ] && grep -q "^Usage: slidewise $verb" "$T/out"; then ok "$verb --help"; else not_ok "$verb --help" "$T/err"; fi
    grep -oE '^  (-., |    )--[a-z0-9-]+' "$T/out" | grep -oE '\-\-[a-z0-9-]+' >"$T/options"
    while read -r option; do
        for shell in bash zsh; do
            grep -q -e "$option" "$T/$shell" || echo "$shell completion lacks $verb $option"
        done
        grep -q -e "$verb' -l ${option#--}" "$T/fish" || echo "fish completion lacks $verb $option"
        grep -qF -e "$(echo "$option" | sed 's/-/\\-/g')" "$T/man" || echo "the man page lacks $verb $option"
    done <"$T/options" >"$T/lacks"
    if [ -s "$T/options" ] && [ ! -s "$T/lacks" ]; then ok "$verb: texts are complete"; else not_ok "$verb: texts are complete" "$T/lacks"; fi
    # A wide table or a long sentence must not break the page's shape.
    awk 'length($0) > 100 { print "help line too long: " $0; bad = 1 } END { exit bad }' "$T/out" >"$T/long" || { not_ok "$verb: help fits" "$T/long"; continue; }
    ok "$verb: help fits"
done <"$T/verbs"

check "bash can read its completion" bash -n "$T/bash"
if command -v zsh >/dev/null; then check "zsh can read its completion" zsh -n "$T/zsh"; else skip "zsh can read its completion" "zsh is not installed"; fi
if command -v fish >/dev/null; then check "fish can read its completion" fish -n "$T/fish"; else skip "fish can read its completion" "fish is not installed"; fi
complete_bash() { # WORDS...: prints what bash offers for the last word
    bash -c '. "$1"; shift; COMP_WORDS=(slidewise "$@"); COMP_CWORD=$#; _slidewise; printf "%s\n" "${COMPREPLY[@]}"' _ "$T/bash" "$@"
}
complete_bash doct >"$T/offered"
check "bash completes a verb" grep -qx doctor "$T/offered"
complete_bash doctor --js >"$T/offered"
check "bash completes an option" grep -qx -- --json "$T/offered"
if command -v groff >/dev/null; then
    groff -man -Tutf8 -ww "$T/man" >"$T/page" 2>"$T/troff"
    if [ -s "$T/page" ] && [ ! -s "$T/troff" ]; then ok "troff takes the man page without a warning"; else not_ok "troff takes the man page without a warning" "$T/troff"; fi
else
    skip "troff takes the man page without a warning" "groff is not installed"
fi

expect_failure "unknown verb, near one" 2 'slidewise: unknown verb "docter"; did you mean "doctor"?' "$SLIDEWISE" docter
expect_failure "unknown verb, near none" 2 'slidewise: unknown verb "qqqqqqq"; slidewise help lists the verbs' "$SLIDEWISE" qqqqqqq
expect_failure "unknown option, near one" 2 'slidewise: doctor: unknown option "--jsno"; did you mean "--json"?' "$SLIDEWISE" doctor --jsno
expect_failure "unknown option, near none" 2 'slidewise: doctor: unknown option "--zzzzzz=3"; slidewise doctor --help lists the options' "$SLIDEWISE" doctor --zzzzzz=3
expect_failure "unknown letter" 2 'slidewise: doctor: unknown option "-Z"; slidewise doctor --help lists the options' "$SLIDEWISE" doctor -Z
expect_failure "a flag takes no value" 2 'slidewise: doctor: --json takes no value' "$SLIDEWISE" doctor --json=1
expect_failure "too many operands" 2 'slidewise: doctor: unexpected argument "extra"; slidewise doctor --help tells more' "$SLIDEWISE" doctor extra
expect_failure "operands behind --" 2 'slidewise: doctor: unexpected argument "--json"; slidewise doctor --help tells more' "$SLIDEWISE" doctor -- --json
expect_failure "completion of an unknown shell" 2 'slidewise: completion needs the shell: bash, zsh or fish' "$SLIDEWISE" completion tcsh

expect_failure "a value that is no whole number" 2 'slidewise: synth: --slides: "2.5" is not a whole number' "$SLIDEWISE" synth "$T/x" --slides 2.5
expect_failure "a value that is no number" 2 'slidewise: synth: --mpp: "0,5" is not a number' "$SLIDEWISE" synth "$T/x" --mpp=0,5
expect_failure "a value that is missing" 2 'slidewise: synth: --slides needs a value (N)' "$SLIDEWISE" synth "$T/x" --slides
expect_failure "a letter whose value is missing" 2 'slidewise: synth: -n needs a value (N)' "$SLIDEWISE" synth "$T/x" -qn
expect_failure "an operand that is missing" 2 'slidewise: synth needs OUT; slidewise synth --help tells more' "$SLIDEWISE" synth
n=0
for way in "--slides 2" "--slides=2" "-n 2" "-n2" "-qn2" "-n 3 --slides 2"; do # the last one given counts
    n=$((n + 1))
    # shellcheck disable=SC2086
    run "$SLIDEWISE" synth --size 512 $way "$T/way$n"
    check "$way" test "$(ls "$T/way$n/slides" | wc -l)" -eq 2
done

run "$SLIDEWISE" doctor --json
expect_status "doctor --json succeeds" 0
check "doctor names the libraries" grep -q '"jansson": "2' "$T/out"
"$SLIDEWISE" doctor >/dev/full 2>"$T/err"
status=$?
expect_status "a result that cannot be written is a failure" 1
expect_stderr "and is told" 'slidewise: cannot write to standard output: No space left on device'
finish
