/* SPDX-License-Identifier: Apache-2.0 */
/* From predictions to an evaluation: all metrics with their bootstrap. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "eval/eval.h"

sw_eval_options sw_eval_options_default(void)
{
    return (sw_eval_options){.resamples = 1000, .fold = 0, .metric = sw_metric_options_default()};
}

void sw_evaluation_free(sw_evaluation *eval)
{
    if (!eval) return;
    for (int c = 0; eval->class_name && c < eval->n_classes; c++) sw_free(eval->class_name[c]);
    sw_free(eval->class_name);
    sw_free(eval->confusion);
    sw_free(eval->per_class);
    *eval = (sw_evaluation){0};
}

/* The labelled rows of `preds`. */
static sw_status labelled(const sw_predictions *preds, const char *split, sw_scored *out, sw_error *err)
{
    int k = preds->n_classes;
    int64_t n = 0, rows = preds->count > 0 ? preds->count : 1;
    SW_AUTOFREE double *probability = sw_calloc((size_t)rows * (size_t)k, sizeof *probability);
    SW_AUTOFREE int *label = sw_calloc((size_t)rows, sizeof *label);
    SW_AUTOFREE int *predicted = sw_calloc((size_t)rows, sizeof *predicted);
    if (!probability || !label || !predicted) return sw_nomem(err);
    for (int64_t i = 0; i < preds->count; i++) {
        if (preds->label[i] < 0) continue;
        memcpy(probability + n * k, preds->probability + i * k, (size_t)k * sizeof *probability);
        label[n] = preds->label[i];
        predicted[n++] = preds->predicted[i];
    }
    if (n == 0) {
        return sw_error_set(err, SW_E_INVALID,
                            "split \"%s\": none of the %lld predicted slides has a label; metrics need labels", split,
                            (long long)preds->count);
    }
    return sw_scored_new(n, k, probability, label, predicted, out, err);
}

static sw_status begin(const sw_predictions *preds, const char *split, sw_evaluation *e, sw_error *err)
{
    size_t k = (size_t)preds->n_classes;
    snprintf(e->split, sizeof e->split, "%s", split);
    e->class_name = sw_calloc(k, sizeof *e->class_name);
    e->confusion = sw_calloc(k * k, sizeof *e->confusion);
    e->per_class = sw_calloc(k, sizeof *e->per_class);
    if (!e->class_name || !e->confusion || !e->per_class) return sw_nomem(err);
    e->n_classes = preds->n_classes;
    for (size_t c = 0; c < k; c++) {
        e->class_name[c] = sw_strdup(preds->class_name[c]);
        if (!e->class_name[c]) return sw_nomem(err);
    }
    return SW_OK;
}

/* Mean, deviation and percentiles of the `n` finite values among `value` (sorted in place). */
void sw_metric_summarise(double *value, int64_t resamples, sw_metric_value *out)
{
    int64_t n = 0;
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < resamples; i++) {
        if (!isnan(value[i])) value[n++] = value[i];
    }
    out->undefined = resamples - n;
    out->mean = out->sd = out->low = out->high = NAN;
    if (n == 0) return;
    for (int64_t i = 0; i < n; i++) sum += value[i];
    out->mean = sum / (double)n;
    for (int64_t i = 0; i < n; i++) squares += (value[i] - out->mean) * (value[i] - out->mean);
    if (n > 1) out->sd = sqrt(squares / (double)(n - 1));
    qsort(value, (size_t)n, sizeof *value, sw_compare_doubles);
    out->low = sw_percentile(value, n, 2.5);
    out->high = sw_percentile(value, n, 97.5);
}

static sw_status bootstrap(const sw_scored *s, const sw_eval_options *opt, sw_evaluation *e, sw_error *err)
{
    size_t k = (size_t)s->n_classes;
    SW_AUTOFREE int32_t *weight = sw_calloc((size_t)s->count, sizeof *weight);
    SW_AUTOFREE int64_t *confusion = sw_calloc(k * k, sizeof *confusion);
    SW_AUTOFREE double *class_auc = sw_calloc(k, sizeof *class_auc);
    SW_AUTOFREE double *values = sw_calloc((size_t)opt->resamples * SW_METRIC_COUNT, sizeof *values);
    sw_bootstrap generator;
    if (!weight || !confusion || !class_auc || !values) return sw_nomem(err);
    sw_bootstrap_begin(&generator, s->count, opt->fold);
    for (int64_t r = 0; r < opt->resamples; r++) { /* one resample serves all metrics */
        double metric[SW_METRIC_COUNT];
        sw_bootstrap_weights(&generator, weight);
        sw_scored_metrics(s, weight, &opt->metric, confusion, class_auc, metric);
        for (int m = 0; m < SW_METRIC_COUNT; m++) values[m * opt->resamples + r] = metric[m];
    }
    for (int m = 0; m < SW_METRIC_COUNT; m++) sw_metric_summarise(values + m * opt->resamples, opt->resamples, &e->metric[m]);
    return SW_OK;
}

static sw_status measure(const sw_scored *s, const sw_eval_options *opt, sw_evaluation *e, sw_error *err)
{
    double metric[SW_METRIC_COUNT];
    SW_AUTOFREE double *class_auc = sw_calloc((size_t)s->n_classes, sizeof *class_auc);
    if (!class_auc) return sw_nomem(err);
    sw_scored_metrics(s, NULL, &opt->metric, e->confusion, class_auc, metric);
    for (int c = 0; c < s->n_classes; c++) {
        sw_class_metrics_of(e->confusion, s->n_classes, c, &e->per_class[c]);
        e->per_class[c].auc = class_auc[c];
    }
    sw_auc_macro(class_auc, s->n_classes, &opt->metric, &e->auc_left_out);
    for (int m = 0; m < SW_METRIC_COUNT; m++) {
        e->metric[m] = (sw_metric_value){.mean = NAN, .sd = NAN, .low = NAN, .high = NAN};
    }
    if (opt->resamples > 0) SW_TRY(bootstrap(s, opt, e, err));
    for (int m = 0; m < SW_METRIC_COUNT; m++) {
        e->metric[m].value = metric[m];
        /* An interval around nothing would look like a result. */
        if (isnan(metric[m])) e->metric[m].mean = e->metric[m].sd = e->metric[m].low = e->metric[m].high = NAN;
    }
    return SW_OK;
}

sw_status sw_evaluate(const sw_predictions *preds, const char *split, const sw_eval_options *options, sw_evaluation *out,
                      sw_error *err)
{
    sw_eval_options opt = options ? *options : sw_eval_options_default();
    SW_CLEANUP(sw_evaluation_free) sw_evaluation e = {0};
    SW_CLEANUP(sw_scored_free) sw_scored s = {0};
    if (opt.resamples < 0) {
        return sw_error_set(err, SW_E_INVALID, "%lld bootstrap resamples; give 0 for none or a positive number",
                            (long long)opt.resamples);
    }
    SW_TRY(labelled(preds, split, &s, err));
    SW_TRY(begin(preds, split, &e, err));
    e.count = s.count;
    e.unlabelled = preds->count - s.count;
    e.resamples = opt.resamples;
    SW_TRY(measure(&s, &opt, &e, err));
    *out = e;
    e = (sw_evaluation){0};
    return SW_OK;
}

sw_status sw_eval_run(const char *run_dir, const char *split, const sw_eval_options *options, sw_evaluation *out,
                      sw_error *err)
{
    SW_CLEANUP(sw_predictions_free) sw_predictions preds = {0};
    SW_CLEANUP(sw_evaluation_free) sw_evaluation e = {0};
    SW_AUTOFREE char *table = sw_asprintf("%s/predictions_%s.csv", run_dir, split);
    SW_AUTOFREE char *metrics = sw_asprintf("%s/metrics_%s.json", run_dir, split);
    if (!table || !metrics) return sw_nomem(err);
    if (!sw_path_is_dir(run_dir)) {
        return sw_error_set(err, SW_E_NOT_FOUND, "%s: no such run directory; give the directory that training wrote (run.out)",
                            run_dir);
    }
    if (!sw_path_exists(table)) {
        return sw_error_set(err, SW_E_NOT_FOUND,
                            "%s is missing: the run holds no predictions of split \"%s\"; train the run to its end or "
                            "name another split",
                            table, split);
    }
    SW_TRY(sw_predictions_read(table, &preds, err));
    if (sw_evaluate(&preds, split, options, &e, err) != SW_OK) return sw_error_prefix(err, "%s", table);
    SW_TRY(sw_evaluation_write(&e, metrics, err));
    if (out) {
        *out = e;
        e = (sw_evaluation){0};
    }
    return SW_OK;
}
