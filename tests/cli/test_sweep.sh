#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# slidewise sweep: a list of runs, killed on the way and taken up again; its table; and what is refused.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/tiny.sh"

d=$T/data
tiny_slides "$d" && tiny_store "$d" || { not_ok "slides and store" "$d/tile.out"; finish; }
tiny_config "$d" "$T/tiny.yaml"
# four test slides, so that there is something to resample
sed -i 's/,val$/,test/; s/case003_b,tumor,train/case003_b,tumor,test/; s/case003,case003_b/case007,case003_b/' "$d/split.csv"

cat >"$T/sweep.yaml" <<YAML
base: tiny.yaml
out: $T/runs
baseline: abmilx
set: {train.epochs: 2, data.split.val: 0, train.checkpoint_minutes: 0}
runs:
  - name: abmilx
  - {name: abmil, set: {aggregator.name: abmil}}
YAML

run "$SLIDEWISE" sweep "$T/sweep.yaml" --list
expect_stdout "--list names the runs" "abmilx
abmil"
run "$SLIDEWISE" sweep "$T/sweep.yaml" --table
expect_status "a table before anything was trained" 0
check "it says so" grep -q '^abmil  *not finished$' "$T/out"

# Killed in the second run: the first is finished by then.
"$SLIDEWISE" sweep "$T/sweep.yaml" --quiet >"$T/killed.out" 2>&1 </dev/null &
pid=$!
for _ in $(seq 1 1200); do
    [ -e "$T/runs/abmil/checkpoints/last.safetensors" ] && break
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.05
done
kill -KILL "$pid" 2>/dev/null
wait "$pid" 2>/dev/null
check "the kill met the second run at work" test $? -eq 137
check "the first run was finished" grep -q '"event": *"stop"' "$T/runs/abmilx/log.jsonl"
check "the second was not" eval '! grep -q "\"event\": *\"stop\"" "$T/runs/abmil/log.jsonl"'
cp "$T/runs/abmilx/log.jsonl" "$T/first.log"

run "$SLIDEWISE" sweep "$T/sweep.yaml" --quiet
expect_status "the same command goes on" 0
cp "$T/out" "$T/table"
check "the finished run is left as it is" cmp "$T/first.log" "$T/runs/abmilx/log.jsonl"
check "the killed one was resumed" grep -q '"event": *"resume"' "$T/runs/abmil/log.jsonl"
run "$SLIDEWISE" train "$T/tiny.yaml" --quiet --set train.epochs=2 --set data.split.val=0 --set aggregator.name=abmil --set "run.out=$T/alone"
check "and ends as if it had been trained alone" same_run "$T/alone" "$T/runs/abmil"
check "each run has its report" test -s "$T/runs/abmil/report.html" -a -s "$T/runs/abmilx/report.html"

check "the table names both runs and the baseline" eval 'grep -qE "^abmilx +test +4 .* baseline$" "$T/table" && grep -qE "^abmil +test +4 " "$T/table"'
check "it is also written as text" grep -qF "$(sed -n 1p "$T/runs/sweep.txt")" "$T/table"
check "as CSV: a row for each run and metric" test "$(grep -c ',done,test,4,' "$T/runs/sweep.csv")" -eq 14
column() { awk -F, -v run="$1" -v metric="$2" -v k="$3" '$1 == run && $5 == metric { print $k }' "$T/runs/sweep.csv"; }
check "the difference is that of the values" awk -v a="$(column abmil accuracy 6)" -v b="$(column abmilx accuracy 6)" \
    -v d="$(column abmil accuracy 9)" 'BEGIN { exit !(d != "" && (a - b - d)^2 < 1e-12) }'
check "it lies in its interval" awk -v d="$(column abmil accuracy 9)" -v l="$(column abmil accuracy 10)" -v h="$(column abmil accuracy 11)" \
    'BEGIN { exit !(l != "" && h != "" && l <= d && d <= h) }'
check "the baseline has none" test -z "$(column abmilx accuracy 9)"

# --- a grid, and a run that fails
cat >"$T/grid.yaml" <<YAML
base: tiny.yaml
out: $T/grid
grid:
  train.lr: [1e-4, 0.001]
  aggregator.heads: [1, 2, 4]
YAML
run "$SLIDEWISE" sweep "$T/grid.yaml" --list
expect_stdout "a grid is every combination" "lr=1e-4-heads=1
lr=1e-4-heads=2
lr=1e-4-heads=4
lr=0.001-heads=1
lr=0.001-heads=2
lr=0.001-heads=4"
cat >"$T/fails.yaml" <<YAML
base: tiny.yaml
out: $T/fails
set: {train.epochs: 1}
runs:
  - {name: bad, set: {data.labels: no/labels.csv}}
  - {name: good}
YAML
run "$SLIDEWISE" sweep "$T/fails.yaml" --quiet
expect_status "a run that fails fails the sweep" 1
check "after the others were trained" grep -q '^good  *test ' "$T/out"
check "and is told" grep -qxF "slidewise: bad: no/labels.csv: no such file; data.labels must name the label table" "$T/err"
check "in the table, too" grep -q '^bad,failed,.*no/labels.csv: no such file' "$T/fails/sweep.csv"

# --- what is refused
refuse() { # NAME TEXT YAML
    printf '%s' "$3" >"$T/bad.yaml"
    expect_failure "$1" 1 "slidewise: $T/bad.yaml:$2" "$SLIDEWISE" sweep "$T/bad.yaml" --list
}
refuse "a key mistyped" "2: unknown key 'run' of a sweep; the nearest is 'runs'" "out: o
run: []
"
refuse "no runs" "1: the sweep has neither runs nor a grid" "out: o
base: tiny.yaml
"
refuse "no out" "1: out is not set; name the folder of the runs" "runs: [{name: a}]
"
refuse "no configuration" "2: the run has no config, and the sweep no base; name the configuration" "out: o
runs: [{name: a}]
"
refuse "two runs of one name" "5: two runs are called 'a'" "out: o
base: tiny.yaml
runs:
  - {name: a}
  - {name: a, set: {train.lr: 0.1}}
"
refuse "a baseline that is not there" "3: baseline: no run is called 'b' (there are a)" "out: o
base: tiny.yaml
baseline: b
runs: [{name: a}]
"
refuse "a key of the configuration mistyped" \
    "3: run 'a': --set: unknown key 'train.lrr'; the nearest is 'train.lr'" "out: o
base: tiny.yaml
runs: [{name: a, set: {train.lrr: 0.1}}]
"
refuse "a grid without values" "3: each key of the grid has a list of values" "out: o
base: tiny.yaml
grid: {train.lr: 0.1}
"
finish
