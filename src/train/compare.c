/* SPDX-License-Identifier: Apache-2.0 */
/* Paired bootstrap: two runs on the same resamples of the slides that both predict. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "slidewise/eval.h"
#include "slidewise/survival.h"
#include "slidewise/sweep.h"

/* The rows that both runs have, side by side. */
typedef struct pairs {
    int64_t rows;
    int n_classes;          /* 0: survival */
    int *label;             /* [rows] */
    int *predicted[2];      /* [rows] */
    double *probability[2]; /* [rows, n_classes] */
    double *time, *risk[2]; /* [rows] */
    bool *event;
} pairs;

static void pairs_free(pairs *p)
{
    sw_free(p->label);
    sw_free(p->time);
    sw_free(p->event);
    for (int k = 0; k < 2; k++) {
        sw_free(p->predicted[k]);
        sw_free(p->probability[k]);
        sw_free(p->risk[k]);
    }
}

static sw_status pairs_new(pairs *p, int64_t most, int n_classes, sw_error *err)
{
    size_t n = (size_t)most + 1, k = (size_t)(n_classes > 0 ? n_classes : 1);
    p->n_classes = n_classes;
    p->label = sw_calloc(n, sizeof *p->label);
    p->time = sw_calloc(n, sizeof *p->time);
    p->event = sw_calloc(n, sizeof *p->event);
    bool whole = p->label && p->time && p->event;
    for (int i = 0; i < 2; i++) {
        p->predicted[i] = sw_calloc(n, sizeof *p->predicted[i]);
        p->probability[i] = sw_calloc(n * k, sizeof *p->probability[i]);
        p->risk[i] = sw_calloc(n, sizeof *p->risk[i]);
        whole = whole && p->predicted[i] && p->probability[i] && p->risk[i];
    }
    return whole ? SW_OK : sw_nomem(err);
}

/* ---- reading */

typedef struct named {
    const char *id;
    int64_t row;
} named;

static int by_id(const void *a, const void *b)
{
    return strcmp(((const named *)a)->id, ((const named *)b)->id);
}

static int64_t find_row(const named *list, int64_t n, const char *id)
{
    named wanted = {id, 0};
    const named *found = bsearch(&wanted, list, (size_t)n, sizeof *list, by_id);
    return found ? found->row : -1;
}

static sw_status sorted(char *const *id, int64_t n, named **out, sw_error *err)
{
    named *list = sw_calloc((size_t)n + 1, sizeof *list);
    if (!list) return sw_nomem(err);
    for (int64_t i = 0; i < n; i++) list[i] = (named){id[i], i};
    qsort(list, (size_t)n, sizeof *list, by_id);
    *out = list;
    return SW_OK;
}

static sw_status same_classes(const sw_predictions *a, const sw_predictions *b, const char *path, const char *other, sw_error *err)
{
    bool same = a->n_classes == b->n_classes;
    for (int k = 0; same && k < a->n_classes; k++) same = strcmp(a->class_name[k], b->class_name[k]) == 0;
    return same ? SW_OK : sw_error_set(err, SW_E_INVALID, "%s and %s have other classes and cannot be compared", path, other);
}

static sw_status pair_classes(const char *path, const char *base_path, pairs *p, sw_comparison *out, sw_error *err)
{
    SW_CLEANUP(sw_predictions_free) sw_predictions run = {0}, base = {0};
    SW_AUTOFREE named *list = NULL;
    int64_t labelled = 0;
    SW_TRY(sw_predictions_read(path, &run, err));
    SW_TRY(sw_predictions_read(base_path, &base, err));
    SW_TRY(same_classes(&run, &base, path, base_path, err));
    SW_TRY(pairs_new(p, base.count, base.n_classes, err));
    SW_TRY(sorted(run.slide_id, run.count, &list, err));
    for (int64_t i = 0; i < run.count; i++) labelled += run.label[i] >= 0;
    size_t row = (size_t)base.n_classes;
    for (int64_t i = 0; i < base.count; i++) {
        int64_t j = base.label[i] < 0 ? -1 : find_row(list, run.count, base.slide_id[i]);
        if (j < 0 || run.label[j] < 0) {
            out->only_baseline += base.label[i] >= 0;
            continue;
        }
        if (run.label[j] != base.label[i]) {
            return sw_error_set(err, SW_E_INVALID, "slide '%s' has the label '%s' in %s, and '%s' in %s", base.slide_id[i],
                                run.class_name[run.label[j]], path, base.class_name[base.label[i]], base_path);
        }
        const sw_predictions *from[2] = {&run, &base};
        const int64_t at[2] = {j, i};
        p->label[p->rows] = base.label[i];
        for (int k = 0; k < 2; k++) {
            p->predicted[k][p->rows] = from[k]->predicted[at[k]];
            memcpy(p->probability[k] + (size_t)p->rows * row, from[k]->probability + (size_t)at[k] * row, row * sizeof(double));
        }
        p->rows++;
    }
    out->only_run = labelled - p->rows;
    return SW_OK;
}

static sw_status pair_risks(const char *path, const char *base_path, pairs *p, sw_comparison *out, sw_error *err)
{
    SW_CLEANUP(sw_survival_predictions_free) sw_survival_predictions run = {0}, base = {0};
    SW_AUTOFREE named *list = NULL;
    int64_t labelled = 0;
    SW_TRY(sw_survival_predictions_read(path, &run, err));
    SW_TRY(sw_survival_predictions_read(base_path, &base, err));
    SW_TRY(pairs_new(p, base.count, 0, err));
    SW_TRY(sorted(run.case_id, run.count, &list, err));
    for (int64_t i = 0; i < run.count; i++) labelled += !isnan(run.time[i]);
    for (int64_t i = 0; i < base.count; i++) {
        int64_t j = isnan(base.time[i]) ? -1 : find_row(list, run.count, base.case_id[i]);
        if (j < 0 || isnan(run.time[j])) {
            out->only_baseline += !isnan(base.time[i]);
            continue;
        }
        if (run.time[j] != base.time[i] || run.event[j] != base.event[i]) {
            return sw_error_set(err, SW_E_INVALID, "case '%s' has the time %g in %s, and %g in %s", base.case_id[i], run.time[j], path,
                                base.time[i], base_path);
        }
        p->time[p->rows] = base.time[i];
        p->event[p->rows] = base.event[i];
        p->risk[0][p->rows] = run.risk[j];
        p->risk[1][p->rows] = base.risk[i];
        p->rows++;
    }
    out->only_run = labelled - p->rows;
    return SW_OK;
}

/* ---- measuring */

enum { MOST_METRICS = sizeof(((sw_comparison *)0)->metric) / sizeof(sw_difference) };
_Static_assert((int)SW_METRIC_COUNT <= (int)MOST_METRICS, "a comparison holds every metric");

/* Metrics of side k on the rows `index` [p->rows]; `from` is all of them, `to` has room for a resample. */
static sw_status measure(const pairs *from, int k, const int32_t *index, pairs *to, double *out, sw_error *err)
{
    size_t row = (size_t)from->n_classes;
    for (int64_t i = 0; i < from->rows; i++) {
        int64_t at = index ? index[i] : i;
        to->label[i] = from->label[at];
        to->predicted[k][i] = from->predicted[k][at];
        to->time[i] = from->time[at];
        to->event[i] = from->event[at];
        to->risk[k][i] = from->risk[k][at];
        if (row) memcpy(to->probability[k] + (size_t)i * row, from->probability[k] + (size_t)at * row, row * sizeof(double));
    }
    if (row) {
        sw_metric_options mo = sw_metric_options_default();
        return sw_metrics_compute(from->rows, from->n_classes, to->probability[k], to->label, to->predicted[k], &mo, out, err);
    }
    sw_outcomes outcomes = {.count = from->rows, .time = to->time, .event = to->event};
    sw_concordance c;
    SW_TRY(sw_concordance_index(&outcomes, to->risk[k], &c, err));
    out[0] = c.index;
    return SW_OK;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double percentile(const double *sorted_value, int64_t n, double share)
{
    double at = share * (double)(n - 1);
    int64_t i = (int64_t)at;
    if (i >= n - 1) return sorted_value[n - 1];
    return sorted_value[i] + (at - (double)i) * (sorted_value[i + 1] - sorted_value[i]);
}

static void summarise(sw_difference *d, double *value, int64_t n)
{
    int64_t kept = 0;
    double better = 0.0;
    for (int64_t i = 0; i < n; i++) {
        if (isnan(value[i])) continue;
        better += value[i] > 0.0 ? 1.0 : value[i] == 0.0 ? 0.5 : 0.0;
        value[kept++] = value[i];
    }
    d->undefined = n - kept;
    if (kept == 0) return;
    qsort(value, (size_t)kept, sizeof *value, by_value);
    d->low = percentile(value, kept, 0.025);
    d->high = percentile(value, kept, 0.975);
    d->better = better / (double)kept;
}

static sw_status resample(const pairs *p, pairs *scratch, sw_comparison *out, sw_error *err)
{
    int64_t n = out->resamples, m = out->n_metrics;
    if (n <= 0) return SW_OK;
    SW_AUTOFREE int32_t *index = sw_calloc((size_t)(n * p->rows), sizeof *index);
    SW_AUTOFREE double *value = sw_calloc((size_t)(n * m), sizeof *value);
    if (!index || !value) return sw_nomem(err);
    SW_TRY(sw_bootstrap_indices(p->rows, 0, n, index, err));
    for (int64_t i = 0; i < n; i++) {
        double a[MOST_METRICS], b[MOST_METRICS];
        SW_TRY(measure(p, 0, index + i * p->rows, scratch, a, err));
        SW_TRY(measure(p, 1, index + i * p->rows, scratch, b, err));
        for (int64_t k = 0; k < m; k++) value[k * n + i] = a[k] - b[k];
    }
    for (int64_t k = 0; k < m; k++) summarise(&out->metric[k], value + k * n, n);
    return SW_OK;
}

static sw_status compare(const pairs *p, sw_comparison *out, sw_error *err)
{
    SW_CLEANUP(pairs_free) pairs scratch = {0};
    double run[MOST_METRICS], baseline[MOST_METRICS];
    SW_TRY(pairs_new(&scratch, p->rows, p->n_classes, err));
    SW_TRY(measure(p, 0, NULL, &scratch, run, err));
    SW_TRY(measure(p, 1, NULL, &scratch, baseline, err));
    out->n_metrics = p->n_classes ? (int)SW_METRIC_COUNT : 1;
    for (int k = 0; k < out->n_metrics; k++) {
        sw_difference *d = &out->metric[k];
        *d = (sw_difference){.run = run[k], .baseline = baseline[k], .difference = run[k] - baseline[k], .low = NAN, .high = NAN,
                             .better = NAN};
        snprintf(d->metric, sizeof d->metric, "%s", sw_metric_name(p->n_classes ? (sw_metric_id)k : SW_METRIC_C_INDEX));
    }
    return resample(p, &scratch, out, err);
}

sw_status sw_compare_runs(const char *run_dir, const char *baseline_dir, const char *split, int64_t resamples, sw_comparison *out,
                          sw_error *err)
{
    SW_CLEANUP(pairs_free) pairs p = {0};
    SW_AUTOFREE char *path = sw_asprintf("%s/predictions_%s.csv", run_dir, split);
    SW_AUTOFREE char *base = sw_asprintf("%s/predictions_%s.csv", baseline_dir, split);
    if (!path || !base) return sw_nomem(err);
    *out = (sw_comparison){.resamples = resamples};
    bool risks = sw_survival_predictions_is(base);
    if (risks != sw_survival_predictions_is(path))
        return sw_error_set(err, SW_E_INVALID, "%s and %s are of different tasks and cannot be compared", path, base);
    SW_TRY(risks ? pair_risks(path, base, &p, out, err) : pair_classes(path, base, &p, out, err));
    if (p.rows == 0) return sw_error_set(err, SW_E_INVALID, "%s and %s have no labelled row in common", path, base);
    out->rows = p.rows;
    return compare(&p, out, err);
}
