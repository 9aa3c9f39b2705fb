#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What training results in depends on the configuration alone: not on when it runs, whether it was killed on the way,
# or how many threads load the patches; and on how many compute only by rounding, with run.deterministic not at all.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/tiny.sh"

d=$T/data
tiny_slides "$d" && tiny_store "$d" || { not_ok "slides and store" "$d/tile.out"; finish; }
tiny_config "$d" "$T/tiny.yaml"
train() { # OUT [--set KEY=VALUE...]
    local out=$1
    shift
    run "$SLIDEWISE" train "$T/tiny.yaml" --quiet --set "run.out=$out" "$@"
}

# Everything that has a state: moving average, both views kept, accumulation over an uneven number of steps, replay
# in chunks, dropout, clipping, a checkpoint after each step.
hard=(--set train.epochs=4 --set train.ema=0.9 --set train.select=both --set train.accumulate=2 --set train.chunk_patches=16
      --set train.clip=1 --set train.checkpoint_minutes=0 --set train.warmup_epochs=1)

train "$T/a" "${hard[@]}"
expect_status "a run" 0
begin=$(date +%s%N)
train "$T/b" "${hard[@]}"
took_ms=$((($(date +%s%N) - begin) / 1000000))
expect_status "the same again" 0
check "both end in the same bytes" same_run "$T/a" "$T/b"
check "training moved on" test "$(json_value train_loss "$T/a/log.jsonl" | sort -u | wc -l)" -eq 4
train "$T/c" "${hard[@]}" --set run.seed=2022 --set train.epochs=2
check "another seed ends in others" test "$(cmp "$T/a/checkpoints/best.safetensors" "$T/c/checkpoints/best.safetensors" | wc -l)" -eq 1
train "$T/w" "${hard[@]}" --set run.workers=1
check "one loading thread or two: the same bytes" same_run "$T/a" "$T/w"

# Stopped in good order after every fifth step.
for round in 1 2 3; do
    run "$SLIDEWISE" train "$T/tiny.yaml" --quiet --resume --stop-after-steps 5 --set "run.out=$T/s" "${hard[@]}"
    [ "$status" -eq 130 ] || break
done
check "stopped twice and resumed: done at the third call" test "$round $status" = "3 0"
check "stopped and resumed: the same bytes" same_run "$T/a" "$T/s"

# --- killed and resumed

# start OUT: goes on with a run in the background; its process is $pid
start() {
    "$SLIDEWISE" train "$T/tiny.yaml" --quiet --resume --set "run.out=$1" "${hard[@]}" >"$T/killed.out" 2>"$T/killed.err" </dev/null &
    pid=$!
}
# kill_it: SIGKILL; counts a process that was still at work
kill_it() {
    kill -KILL "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
    local how=$?
    [ "$how" -eq 137 ] && kills=$((kills + 1))
    [ "$how" -eq 137 ] || [ "$how" -eq 0 ] || cat "$T/killed.err" >>"$T/trouble"
}
finished() { grep -q '"event": *"stop"' "$1/log.jsonl" 2>/dev/null; }

# Twenty kills at random moments, those that come before the run's start among them; each may fall within a step, a validation
# or a write. A run gets a sixth of its time before it is killed, at most, and a run that is done makes room for the next.
seed=${SW_TEST_SEED:-$$}
echo "# kills at random moments of SW_TEST_SEED=$seed, in a run of $took_ms ms"
RANDOM=$seed
kills=0
runs=1
: >"$T/trouble"
for _ in {1..30}; do
    start "$T/k$runs"
    ms=$((10 + RANDOM % (took_ms / 6 + 1)))
    sleep "$(printf '%d.%03d' $((ms / 1000)) $((ms % 1000)))"
    kill_it
    [ $kills -ge 20 ] && break
    finished "$T/k$runs" && runs=$((runs + 1))
done
for k in $(seq $runs); do
    run "$SLIDEWISE" train "$T/tiny.yaml" --quiet --resume --set "run.out=$T/k$k" "${hard[@]}"
    expect_status "run $k of $runs, resumed after its kills ($kills in all)" 0
    check "run $k: the same bytes as never killed" same_run "$T/a" "$T/k$k"
    check "run $k: each epoch is in the log once" test "$(json_value epoch <(grep '"event": *"epoch"' "$T/k$k/log.jsonl") | tr '\n' ' ')" = "1 2 3 4 "
done
check "twenty kills met a run at work" test "$kills" -ge 20
check "no attempt to resume failed" test ! -s "$T/trouble"

# Kills while a checkpoint is being written: a temporary file that was not there before is there.
kills=0
caught=0
writing() { # since $T/mark
    local file
    for file in "$T"/m/checkpoints/*.tmp-*; do [ "$file" -nt "$T/mark" ] && return 0; done
    return 1
}
for skip_ms in 0 0 300 100 500 200; do
    start "$T/m"
    sleep "0.$skip_ms" # meanwhile it may write a few
    touch "$T/mark"
    while ! writing && kill -0 "$pid" 2>/dev/null; do :; done
    writing && caught=$((caught + 1))
    kill_it
    finished "$T/m" && break
done
run "$SLIDEWISE" train "$T/tiny.yaml" --quiet --resume --set "run.out=$T/m" "${hard[@]}"
expect_status "resumed after $caught kills within a write" 0
check "at least two kills met a checkpoint being written" test "$caught" -ge 2
check "no attempt to resume failed then" test ! -s "$T/trouble"
check "killed while writing: the same bytes" same_run "$T/a" "$T/m"
check "no half-written file is left" test -z "$(find "$T/m" "$T"/k* -name '*.tmp-*')"

# --- threads

# 20 epochs of one step each: the loss of an epoch is that of a step. Five bags, no validation. The learning rate warms up:
# threads round differently, a ReLU or a step of Adam near zero turns 1e-7 into more, and large first steps blow that up.
one=(--set train.epochs=20 --set train.batch_bags=5 --set train.chunk_patches=1000 --set train.schedule=const --set train.lr=0.00002
     --set train.warmup_epochs=20)
sed -e 's/,val$/,none/' -e 's/,test$/,none/' "$d/split.csv" >"$d/train_only.csv"
one+=(--set "data.labels=$d/train_only.csv" --set data.split.val=0)
export OMP_WAIT_POLICY=passive # on a busy machine two spinning threads take minutes
train "$T/one" "${one[@]}" --set run.threads=1 --set run.workers=1
expect_status "one thread" 0
check "without a validation set the report says which epoch was kept" grep -q "the last epoch was kept" "$T/one/report.html"
train "$T/two" "${one[@]}" --set run.threads=2 --set run.workers=2
expect_status "two threads" 0
json_value train_loss "$T/one/log.jsonl" >"$T/one.loss"
json_value train_loss "$T/two/log.jsonl" >"$T/two.loss"
check "the first loss agrees to rounding: the same patches, crops and flips" \
    awk 'NR == FNR { a = $1; nextfile } { d = (a - $1) / a; exit !(d < 2e-6 && d > -2e-6) }' "$T/one.loss" "$T/two.loss"
paste "$T/one.loss" "$T/two.loss" | awk '
    { d = ($1 - $2) / $1; if (d < 0) d = -d; if (d > worst) worst = d; n++ }
    END { printf "%d steps, largest relative difference %.3g\n", n, worst; exit !(n == 20 && worst <= 1e-4) }' >"$T/compare"
threads_agree=$?
sed 's/^/# 1 against 2 threads: /' "$T/compare"
if [ $threads_agree -eq 0 ]; then ok "the losses of 20 steps agree to 1e-4"; else not_ok "the losses of 20 steps agree to 1e-4" <(paste "$T/one.loss" "$T/two.loss"); fi

# With run.deterministic not a bit of it: weights, log, predictions. One thread, against a run that goes on with another
# number of threads each time.
exact=("${hard[@]}" --set train.epochs=2 --set run.deterministic=true)
train "$T/d1" "${exact[@]}" --set run.threads=1
expect_status "deterministic, one thread" 0
for threads in 1 2 3; do
    stop=(--stop-after-steps 2)
    [ $threads -eq 3 ] && stop=()
    run "$SLIDEWISE" train "$T/tiny.yaml" --quiet --resume "${stop[@]}" --set "run.out=$T/d123" "${exact[@]}" --set run.threads=$threads
    echo "# $threads threads: exit status $status" && echo "$status" >>"$T/statuses"
done
check "begun with one thread, resumed with two, ended with three" test "$(tr '\n' ' ' <"$T/statuses")" = "130 130 0 "
check "deterministic: the same bytes" same_run "$T/d1" "$T/d123"
expect_failure "a run does not go on with the other setting" 1 \
    "slidewise: $T/d123/checkpoints/last.safetensors: was trained with another configuration or label table than given now (run.deterministic: true against false); give the same, or choose another run.out" \
    "$SLIDEWISE" train "$T/tiny.yaml" --quiet --resume --set "run.out=$T/d123" "${exact[@]}" --set run.deterministic=false
finish
