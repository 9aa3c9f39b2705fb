#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The collapse watch on trainings that really break: each alarm fires on the screen, in the log and in the report; runs as they
# should be raise none.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/tiny.sh"

d=$T/data
tiny_slides "$d" && tiny_store "$d" || { not_ok "slides"; finish; }
tiny_config "$d" "$T/tiny.yaml"

# train_with NAME KEY=VALUE...: a few epochs, into $T/NAME
train_with() {
    local name=$1 sets=() key
    shift
    for key in "$@"; do sets+=(--set "$key"); done
    run "$SLIDEWISE" train "$T/tiny.yaml" --set "run.out=$T/$name" --set run.deterministic=true --set train.epochs=4 "${sets[@]}"
    expect_status "$name: trains" 0
    grep '"event":"warning"' "$T/$name/log.jsonl" >"$T/$name.alarms"
}

# fires NAME KIND PATTERN: the alarm is in the log, once, and its sentence on the screen and in red in the report
fires() {
    check "$1: $2 is in the log, once" test "$(grep -c "\"kind\":\"$2\"" "$T/$1.alarms")" = 1
    check "$1: its sentence is in the log" grep -qE "\"kind\":\"$2\",\"text\":\"epoch [1-4]: $3" "$T/$1.alarms"
    check "$1: and on the screen" grep -qE "warning: epoch [1-4]: $3" "$T/err"
    check "$1: and in the report" test -n "$(sed -n '/<div class="warnings danger" role="alert"><strong>Training went wrong<\/strong>/,/<\/ul>/p' \
        "$T/$1/report.html" | grep -E "<li>epoch [1-4]: $3")"
}

# silent NAME
silent() {
    check "$1: no alarm in the log" test ! -s "$T/$1.alarms"
    check "$1: none on the screen" test -z "$(grep 'warning: epoch' "$T/err")"
    check "$1: none in the report" test -z "$(grep 'Training went wrong' "$T/$1/report.html")"
}

train_with healthy
silent healthy
check "healthy: the log measures attention, features and gradients" grep -qE \
    '"grad_norm_encoder":[0-9.]+,"grad_norm_aggregator":[0-9.]+,"grad_norm_head":[0-9.]+,.*"attention_head_entropy_gap":0\.[0-9]+,.*"feature_rank":[1-9]' "$T/healthy/log.jsonl"
# An aggregator without parameters has no gradient that could vanish.
train_with mean aggregator.name=mean
silent mean
check "mean: a part without parameters has no gradient norm" test -z "$(grep -o '"grad_norm_aggregator"' "$T/mean/log.jsonl")"
train_with frozen encoder.frozen=true
silent frozen

# A learning rate a hundred times too high: each head of the attention ends on one patch.
train_with attention train.lr=0.1
fires attention attention_one_patch "the attention lies on about one patch of each bag \(1 - entropy / ln N of a head is (0\.9[5-9]|1\.)"

# A weight decay that takes the encoder's weights: every patch has the same features, and the attention nothing to choose by.
train_with features train.optimizer=adamw train.weight_decay=100 train.lr=0.01
fires features feature_rank "all patches of a bag have the same features \(they spread by [0-9.]+e-0[5-9] of their norm\): the encoder has collapsed"
fires features attention_uniform "the attention is the same on all patches"

# No batch statistics to hold the encoder's images, and steps far too long.
train_with gradients aggregator.name=mean encoder.frozen_stats=true train.lr=0.1
fires gradients gradients_exploded "the gradient has exploded \(norm [0-9.]+e\+[0-9]+\); lower train.lr or set train.clip"
fires gradients loss "the training loss is [0-9.e+]+, far above that of guessing"
# The norm that is watched is the one before clipping; clipped, the same run goes on without exploding.
train_with clipped aggregator.name=mean encoder.frozen_stats=true train.lr=0.1 train.clip=1 train.optimizer=sgd
check "clipped: the gradient does not explode" test -z "$(grep gradients_exploded "$T/clipped.alarms")"
finish
