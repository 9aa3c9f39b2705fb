#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Fine-tuning on chosen patches: a run with gates names the best patches of every slide, and another run trains on these.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/tiny.sh"

tiny_slides "$T/d"
run "$SLIDEWISE" tile "$T/d/slides" --store "$T/d/store" --mpp 1 --preset bwh_biopsy --patch-px 64 --quiet
expect_status "a store" 0
tiny_config "$T/d" "$T/c.yaml"
run "$SLIDEWISE" train "$T/c.yaml" --set aggregator.name=ft_vib --set aggregator.hidden=8 --set aggregator.slide_loss=0.7 --set "run.out=$T/gates" --quiet
expect_status "training with gates" 0
run "$SLIDEWISE" predict "$T/gates" "$T/d/slides" -o "$T/all.csv" --best "$T/best" --best-count 5 --quiet
expect_status "predict and choose" 0
check "a file of positions for every slide" test "$(find "$T/best/patches" -name '*_patches.h5' | wc -l)" = 8
run "$SLIDEWISE" predict "$T/gates" "$T/d/slides" --coords "$T/best" -o "$T/few.csv" --quiet
expect_status "predict on the chosen ones" 0
check "of which there are five" test "$(grep -cE ',5,[0-9.]+,$' "$T/few.csv")" = 8
check "all patches were more" test "$(grep -cE ',5,[0-9.]+,$' "$T/all.csv")" = 0
run "$SLIDEWISE" train "$T/c.yaml" --set data.store=none --set "data.slides=$T/d/slides" --set "data.coords=$T/best" --set bag.patches=5 \
    --set aggregator.name=gabmil --set encoder.frozen_until=layer2 --set encoder.frozen_stats=true --set train.optimizer=adamw \
    --set train.encoder_lr=0.00001 --set train.schedule=step --set 'train.step_at=[1, 2]' --set "run.out=$T/tuned" --quiet
expect_status "training on the chosen ones, the encoder's first half frozen" 0
check "evaluates the test set" test -s "$T/tuned/metrics_test.json"
# The gates learn on features, as FT's do; the encoder that made them is the tuned one.
run "$SLIDEWISE" encode "$T/d/store" --run "$T/tuned" -o "$T/features" --quiet
expect_status "features" 0
run "$SLIDEWISE" train "$T/c.yaml" --set data.store= --set "data.features=$T/features" --set encoder.name=none --set bag.patches=0 --set train.batch_bags=1 \
    --set aggregator.name=ft_vib --set aggregator.hidden=8 --set "run.out=$T/second" --quiet
expect_status "training gates on features" 0
run "$SLIDEWISE" predict "$T/second" "$T/d/slides" --features "$T/features" -o "$T/p.csv" --best "$T/best2" --best-count 4 --quiet
expect_status "predict on features and choose" 0
run "$SLIDEWISE" predict "$T/gates" "$T/d/slides" --coords "$T/best2" -o "$T/few.csv" --quiet
expect_status "the slides can be read there" 0
check "at four patches each" test "$(grep -cE ',4,[0-9.]+,$' "$T/few.csv")" = 8
run "$SLIDEWISE" predict "$T/second" "$T/features" -o "$T/p.csv" --best "$T/x" --quiet
expect_status "features alone do not say how large a pixel is" 1
check "and say so" grep -qF "its features do not say where and how large patches are; give the slides, and their features with --features" "$T/err"

expect_failure "a number alone" 1 "slidewise: --best-count goes with --best DIR" "$SLIDEWISE" predict "$T/gates" "$T/d/slides" --best-count 5
expect_failure "no patch" 1 "slidewise: --best-count: 0; give a number above 0" "$SLIDEWISE" predict "$T/gates" "$T/d/slides" --best "$T/x" --best-count 0
expect_failure "cases" 1 "slidewise: --best: the best patches of a case lie on several slides; leave --cases out" \
    "$SLIDEWISE" predict "$T/gates" "$T/d/slides" --best "$T/x" --cases "$T/d/labels.csv"
finish
