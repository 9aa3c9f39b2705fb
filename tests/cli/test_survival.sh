#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A survival run end to end on tiny synthetic slides whose times depend on their foci: cases of several slides, both losses,
# every verb on the result.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/tiny.sh"

d=$T/data
"$SLIDEWISE" synth "$d" --slides 14 --size 1024 --seed 3 --survival --quiet || { not_ok "slides"; finish; }
check "the table has times and events" test "$(head -1 "$d/labels.csv")" = "case_id,slide_id,label,time,event"
awk -F, 'NR > 1 { if ($4 <= 0 || ($5 != 0 && $5 != 1) || (($1 in t) && t[$1] != $4 " " $5)) bad = 1; t[$1] = $4 " " $5; n[$1]++ }
    END { for (c in n) two += n[c] > 1; exit bad || !two }' "$d/labels.csv" && ok "one outcome per case, some cases of two slides" ||
    not_ok "one outcome per case, some cases of two slides" "$d/labels.csv"
"$SLIDEWISE" synth "$T/plain" --slides 14 --size 1024 --seed 3 --quiet
check "the slides do not depend on it" diff -r "$d/slides" "$T/plain/slides"
check "nor does the rest of the table" diff <(cut -d, -f1-3 "$d/labels.csv") "$T/plain/labels.csv"
expect_failure "synth: --effect without times" 2 "slidewise: --effect and --noise are about times: give --survival too" \
    "$SLIDEWISE" synth "$T/none" --slides 2 --effect 1

# Five cases train, so that there are events enough; the others are val and test in turn.
awk -F, 'NR == 1 { print $0 ",split"; next } !($1 in s) { k = n++; s[$1] = k < 5 ? "train" : k % 2 ? "val" : "test" } { print $0 "," s[$1] }' \
    "$d/labels.csv" >"$d/split.csv"
tiny_config "$d" "$T/tiny.yaml"
sed -i '1i task: {type: survival, survival: {bins: 2}}' "$T/tiny.yaml"
sed -i 's/epochs: 3/epochs: 2/' "$T/tiny.yaml"
run "$SLIDEWISE" run "$d/slides" "$d/split.csv" -o "$T/run" --config "$T/tiny.yaml" --mpp 0.5 --mpp 1 --preset bwh_biopsy \
    --patch-px 64 --heatmaps 2 --foci "$d/foci" --quiet
expect_status "slidewise run" 0
check "it says what it measured" grep -q '^  c-index ' "$T/out"
for file in predictions_train.csv predictions_val.csv predictions_test.csv metrics_val.json metrics_test.json report.html; do
    check "$file is there" test -s "$T/run/$file"
done
check "the training split is not measured" test ! -e "$T/run/metrics_train.json"
edge=$(json_value edges <(tr -d '\n ' <"$T/run/dataset.json") | tr -d '[]')
check "predictions: the columns" test "$(head -1 "$T/run/predictions_test.csv")" = "case_id,slides,time,event,risk,s_$edge,s_end"
cases=$(awk -F, 'NR > 1 && $6 == "test" { n[$1]++ } END { for (c in n) print c "," n[c] }' "$d/split.csv" | sort)
check "predictions: the cases and their slides" test "$(cut -d, -f1,2 "$T/run/predictions_test.csv" | tail -n +2 | sort)" = "$cases"
awk -F, 'NR > 1 { r = -($6 + $7); if ($6 < $7 || $6 > 1 || $7 < 0 || r - $5 > 1e-6 || $5 - r > 1e-6) { print; bad = 1 } } END { exit bad }' \
    "$T/run/predictions_test.csv" >"$T/risks"
check "risk is minus the sum of survival, which falls" test ! -s "$T/risks"
check "the log has the loss and the metric" grep -q '"loss": *"survival_nll".*"metric": *"c_index"' "$T/run/log.jsonl"
check "and a c-index per epoch" test "$(grep -c '"val_c_index"' "$T/run/log.jsonl")" = 2
check "the report draws the groups" grep -q 'Kaplan-Meier' "$T/run/report.html"
check "and has the log-rank test" grep -q 'Log-rank test' "$T/run/report.html"
check "and a table of the AUC at times" grep -q 'AUC until then' "$T/run/report.html"
check "and no class of anything" test -z "$(grep -o 'Confusion matrix' "$T/run/report.html")"

run "$SLIDEWISE" eval "$T/run" --bootstrap 20
expect_status "eval" 0
check "tells the groups" grep -q 'split at the median risk of the training cases' "$T/out"
cp "$T/run/metrics_test.json" "$T/before.json"
run "$SLIDEWISE" eval "$T/run" --bootstrap 20 --json
check "as JSON, the same" cmp "$T/out" "$T/before.json"
run "$SLIDEWISE" eval "$T/run" --bootstrap 0 --times 5,2
expect_status "times that fall are misuse" 2
check "and it says so" grep -q -- '--times 5,2: give at most 32 rising numbers with commas between them' "$T/err"
rm "$T/run/predictions_train.csv"
run "$SLIDEWISE" eval "$T/run" --bootstrap 0 --times 2,5
check "without the training cases it says so" grep -q 'split at the median risk of the cases of this split' "$T/out"
run "$SLIDEWISE" eval "$T/run" --bootstrap 20

# New slides: one by one, and as cases; a case from the slides themselves agrees with the one out of the store.
run "$SLIDEWISE" predict "$T/run" "$d/slides" --quiet
check "predict: the columns" test "$(head -1 "$T/out")" = "slide_id,risk,s_$edge,s_end,n_patches,seconds,error"
check "predict: every slide" test "$(wc -l <"$T/out")" = 15
run "$SLIDEWISE" predict "$T/run" "$d/slides" --cases "$d/split.csv" -o "$T/cases.csv" --quiet
expect_status "predict --cases" 0
check "predict --cases: the columns" test "$(head -1 "$T/cases.csv")" = "case_id,slides,risk,s_$edge,s_end,n_patches,seconds,error"
awk -F, 'NR == FNR { if (FNR > 1) { slides[$1] = $2; risk[$1] = $3 } next } FNR > 1 { n++; x = risk[$1] - $5; if (slides[$1] != $2 || x > 0.02 || x < -0.02) { print $0, risk[$1]; bad = 1 } }
    END { exit bad || !n }' "$T/cases.csv" "$T/run/predictions_test.csv" >"$T/differs"
if [ $? -eq 0 ]; then ok "predict --cases agrees with the test predictions"; else not_ok "predict --cases agrees with the test predictions" "$T/differs"; fi
run "$SLIDEWISE" predict "$T/run" "$d/slides/case001_a.tif" --cases "$d/split.csv" --quiet
expect_status "a slide of the table that is not given" 1
check "is told" grep -q "slide 'case002_a' of case 'case002' is none of the slides given" "$T/err"
run "$SLIDEWISE" heatmap "$T/run" "$d/slides/case001_a.tif" -o "$T/heat" --quiet
check "heatmap: a risk" grep -qE '^case001_a: risk -?[0-9.]+, [0-9]+ patches' "$T/out"

# Cox: one output, a risk without bins.
tiny_config "$d" "$T/cox.yaml" && sed -i "1i task: {type: survival, survival: {bins: 2, loss: cox}}" "$T/cox.yaml"
run "$SLIDEWISE" train "$T/cox.yaml" --set "data.store=$T/run/store" --set "run.out=$T/cox" --set train.epochs=1 --quiet
expect_status "train with the partial likelihood" 0
check "cox: predictions without bins" test "$(head -1 "$T/cox/predictions_test.csv")" = "case_id,slides,time,event,risk"
check "cox: no Brier score" grep -qE '"ibs": *\{ *"value": *null' <(tr -d '\n' <"$T/cox/metrics_test.json" | tr -s ' ')
run "$SLIDEWISE" report "$T/cox" --quiet
expect_status "cox: report" 0
run "$SLIDEWISE" predict "$T/cox" "$d/slides/case001_a.tif" --quiet
check "cox: predict" test "$(head -1 "$T/out")" = "slide_id,risk,n_patches,seconds,error"

# Interrupted and resumed: the same run.
common=("$T/tiny.yaml" --set "data.store=$T/run/store" --set run.deterministic=true --quiet)
run "$SLIDEWISE" train "${common[@]}" --set "run.out=$T/whole"
run "$SLIDEWISE" train "${common[@]}" --set "run.out=$T/parts" --stop-after-steps 3
run "$SLIDEWISE" train "${common[@]}" --set "run.out=$T/parts" --resume
expect_status "resumed" 0
check "resumed: the same weights" same_tensors "$T/whole/checkpoints/best.safetensors" "$T/parts/checkpoints/best.safetensors"
check "resumed: the same predictions" cmp "$T/whole/predictions_test.csv" "$T/parts/predictions_test.csv"
finish
