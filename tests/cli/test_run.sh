#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The main job, end to end, on eight tiny synthetic slides: `slidewise run`, again, and every verb on its result.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/tiny.sh"

d=$T/data
tiny_slides "$d" || { not_ok "slides" ; finish; }
tiny_config "$d" "$T/tiny.yaml"
whole() { # what it costs in processor seconds goes to $T/cost
    TIMEFORMAT=%U
    { time run "$SLIDEWISE" run "$d/slides" "$d/split.csv" -o "$T/run" --config "$T/tiny.yaml" --mpp 0.5 --mpp 1 \
        --preset bwh_biopsy --patch-px 64 --heatmaps 1 --foci "$d/foci" --quiet; } 2>"$T/cost"
}
whole
expect_status "slidewise run" 0
cp "$T/out" "$T/first.out"
cp "$T/cost" "$T/first.cost"
slide=case006_a
for file in config.yaml dataset.json log.jsonl checkpoints/best.safetensors checkpoints/last.safetensors \
    predictions_val.csv predictions_test.csv metrics_val.json metrics_test.json report.html store/data.mdb \
    store/slides.csv heatmaps/$slide.png heatmaps/$slide.geojson heatmaps/${slide}_top.png heatmaps/$slide.csv \
    heatmaps/$slide.json; do
    [ -s "$T/run/$file" ] || echo "$file"
done >"$T/missing"
if [ -s "$T/missing" ]; then not_ok "the run directory is complete" "$T/missing"; else ok "the run directory is complete"; fi
check "the last line names the report" test "$(tail -1 "$T/first.out")" = "report: $T/run/report.html"
check "the resolved configuration names what was given" grep -qE "^ *labels: .*$d/split.csv" "$T/run/config.yaml"
check "three epochs are in the log" test "$(json_value epoch <(grep '"event": *"epoch"' "$T/run/log.jsonl") | tr '\n' ' ')" = "1 2 3 "
check "predictions: the columns" test "$(head -1 "$T/run/predictions_test.csv")" = "slide_id,case_id,label,predicted,p_normal,p_tumor"
check "predictions: the test slide" grep -qE '^case006_a,case006,tumor,(normal|tumor),[0-9.e-]+,[0-9.e-]+$' "$T/run/predictions_test.csv"
check "predictions: the two of the validation set" test "$(cut -d, -f1-3 "$T/run/predictions_val.csv" | tail -n +2 | tr '\n' ' ')" = "case004_a,case004,normal case005_a,case005,tumor "
awk -F, 'FNR > 1 { s = $5 + $6; if (s < 0.999999 || s > 1.000001) { print; bad = 1 } } END { exit bad }' \
    "$T/run/predictions_val.csv" "$T/run/predictions_test.csv" >"$T/sums"
check "probabilities sum to one" test ! -s "$T/sums"

# The report: one file that needs nothing else.
check "the report is a whole page" grep -q '</html>' "$T/run/report.html"
check "it loads nothing from elsewhere" test -z "$(grep -oiE '(src|href|action|data)=["'"'"']?(https?:)?//[^ >]*|url\((https?:)?//[^)]*|@import[^;]*|<link[^>]*>|<script[^>]*src[^>]*>' "$T/run/report.html")"
grep -oiE '(src|href)="[^"]{0,40}' "$T/run/report.html" | grep -viE '="(data:|#)' >"$T/links"
if [ -s "$T/links" ]; then not_ok "and links to no file beside it" "$T/links"; else ok "and links to no file beside it"; fi
check "it shows the test slide" grep -q "$slide" "$T/run/report.html"

# Again: every stage is found done.
cp -r "$T/run/checkpoints" "$T/before"
for file in predictions_test.csv predictions_val.csv metrics_test.json log.jsonl config.yaml; do cp "$T/run/$file" "$T/before/"; done
stamp=$(stat -c %Y.%i "$T/run/checkpoints/best.safetensors" "$T/run/checkpoints/last.safetensors")
whole
expect_status "the same command again" 0
echo "# $(cat "$T/first.cost") s of processor time, then $(cat "$T/cost") s"
check "is quicker" awk 'NR == FNR { first = $1; nextfile } { exit !($1 < 0.7 * first) }' "$T/first.cost" "$T/cost"
check "tiles nothing again" grep -qE '8 slides: 0 done, 8 already done, 0 failed' "$T/out"
check "leaves the checkpoints alone" test "$(stat -c %Y.%i "$T/run/checkpoints/best.safetensors" "$T/run/checkpoints/last.safetensors")" = "$stamp"
for file in best.safetensors last.safetensors; do check "and $file as it was" cmp "$T/before/$file" "$T/run/checkpoints/$file"; done
for file in predictions_test.csv predictions_val.csv metrics_test.json log.jsonl config.yaml; do
    check "and $file as it was" cmp "$T/before/$file" "$T/run/$file"
done

# Each verb on the run.
run "$SLIDEWISE" eval "$T/run" --split val --bootstrap 20 --json
expect_status "eval" 0
check "eval's JSON has the metrics" grep -q '"balanced_accuracy"' "$T/out"
run "$SLIDEWISE" predict "$T/run" "$d/slides" -o "$T/predictions.csv" --quiet
expect_status "predict, from the slides" 0
check "its columns" test "$(head -1 "$T/predictions.csv")" = "slide_id,predicted,p_normal,p_tumor,n_patches,seconds,error"
check "a row per slide, none failed" test "$(grep -cE '^case00[0-9]_[ab],(normal|tumor),[0-9.e-]+,[0-9.e-]+,[1-9][0-9]*,[0-9.]+,$' "$T/predictions.csv")" -eq 8
# The store holds JPEGs, so the two ways differ a little, and no more.
awk -F, 'FNR == 1 { next }
    FILENAME ~ /predictions.csv$/ { straight[$1] = $4; next }
    { d = straight[$1] - $6; if (d < 0) d = -d; if (!($1 in straight) || d > 0.02) { print $0 ": straight from the slide " straight[$1]; bad = 1 } n++ }
    END { if (n != 3) { print n " slides compared"; bad = 1 } exit bad }' \
    "$T/predictions.csv" "$T/run/predictions_val.csv" "$T/run/predictions_test.csv" >"$T/apart"
agree=$?
if [ $agree -eq 0 ]; then ok "predict agrees with the run's predictions to 0.02"; else not_ok "predict agrees with the run's predictions to 0.02" "$T/apart"; fi
run "$SLIDEWISE" predict "$T/run" "$d/slides/$slide.tif" --chunk 7 --quiet
expect_status "predict in small chunks, to standard output" 0
awk -F, 'FNR == 1 { next } FILENAME ~ /predictions.csv$/ { p[$1] = $4; next } { d = p[$1] - $4; exit !(d < 1e-5 && d > -1e-5) }' "$T/predictions.csv" "$T/out"
chunks_agree=$?
check "gives what large chunks give" test $chunks_agree -eq 0
run "$SLIDEWISE" predict "$T/run" "$d/slides/$slide.tif" --backend ref --quiet
awk -F, 'FNR == 1 { next } FILENAME ~ /predictions.csv$/ { p[$1] = $4; next } { d = p[$1] - $4; exit !(d < 1e-4 && d > -1e-4) }' "$T/predictions.csv" "$T/out"
backends_agree=$?
check "the plain backend predicts the same" test "$status $backends_agree" = "0 0"

run "$SLIDEWISE" heatmap "$T/run" "$d/slides/case001_a.tif" -o "$T/heat" --quiet
expect_status "heatmap" 0
check "picture, tiles, top patches, table" test "$(ls "$T/heat" | tr '\n' ' ')" = "case001_a.csv case001_a.geojson case001_a.json case001_a.png case001_a_top.png "
patches=$(grep '^case001_a,' "$T/predictions.csv" | cut -d, -f5)
check "a row of the table per patch" test "$(tail -n +2 "$T/heat/case001_a.csv" | wc -l)" -eq "$patches"
check "a tile of the GeoJSON per patch" test "$(grep -o '"type": *"Feature"' "$T/heat/case001_a.geojson" | wc -l)" -eq "$patches"
check "with a measurement each" test "$(grep -oE '"measurements"' "$T/heat/case001_a.geojson" | wc -l)" -eq "$patches"
if command -v jq >/dev/null; then
    check "the GeoJSON parses" jq -e '.type == "FeatureCollection" and (.features | all(.geometry.type == "Polygon"))' "$T/heat/case001_a.geojson"
else # it reads it back itself, as outlines
    run "$SLIDEWISE" heatmap "$T/run" "$d/slides/case001_a.tif" -o "$T/heat2" --foci "$T/heat/case001_a.geojson" --quiet
    expect_status "the GeoJSON parses" 0
fi
cp "$T/run/report.html" "$T/report.before"
run "$SLIDEWISE" report "$T/run" -o "$T/page.html" --title "A title of its own"
expect_status "report" 0
check "with the title" grep -q '<title>A title of its own</title>' "$T/page.html"
finish
