/* SPDX-License-Identifier: Apache-2.0 */
/* From predicted risks to an evaluation: all measures with their bootstrap, and the curves of two risk groups. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "eval/eval.h"
#include "eval/survival.h"

sw_survival_options sw_survival_options_default(void)
{
    return (sw_survival_options){.resamples = 1000};
}

void sw_survival_evaluation_free(sw_survival_evaluation *e)
{
    if (!e) return;
    sw_free(e->time);
    sw_free(e->auc);
    sw_free(e->brier);
    for (int g = 0; g < 2; g++) sw_survival_curve_free(&e->group[g].curve);
    *e = (sw_survival_evaluation){0};
}

double sw_survival_metric(const sw_survival_evaluation *eval, sw_metric_id id)
{
    return eval->metric[id - SW_METRIC_COUNT].value;
}

/* ---- labelled rows */

typedef struct rows {
    sw_outcomes outcomes; /* of the arrays below */
    double *time, *risk, *survival; /* survival [count, bins] */
    bool *event;
} rows;

static void rows_free(rows *r)
{
    sw_free(r->time);
    sw_free(r->risk);
    sw_free(r->survival);
    sw_free(r->event);
}

static sw_status labelled(const sw_survival_predictions *p, rows *out, sw_error *err)
{
    size_t n = (size_t)p->count + 1;
    int64_t m = 0;
    out->time = sw_calloc(n, sizeof *out->time);
    out->risk = sw_calloc(n, sizeof *out->risk);
    out->event = sw_calloc(n, sizeof *out->event);
    out->survival = sw_calloc(n * (size_t)(p->bins + 1), sizeof *out->survival);
    if (!out->time || !out->risk || !out->event || !out->survival) return sw_nomem(err);
    for (int64_t i = 0; i < p->count; i++) {
        if (isnan(p->time[i])) continue;
        out->time[m] = p->time[i];
        out->event[m] = p->event[i];
        out->risk[m] = p->risk[i];
        for (int k = 0; k < p->bins; k++) out->survival[m * p->bins + k] = p->survival[i * p->bins + k];
        m++;
    }
    out->outcomes = (sw_outcomes){m, out->time, out->event};
    return SW_OK;
}

static double median(const double *value, int64_t count, sw_status *status, sw_error *err)
{
    SW_AUTOFREE double *sorted = sw_calloc((size_t)count + 1, sizeof *sorted);
    *status = sorted ? SW_OK : sw_nomem(err);
    if (!sorted) return NAN;
    for (int64_t i = 0; i < count; i++) sorted[i] = value[i];
    qsort(sorted, (size_t)count, sizeof *sorted, sw_compare_doubles);
    return sw_percentile(sorted, count, 50);
}

/* ---- times of AUC and Brier score */

static sw_status quartiles_of_events(const rows *r, sw_survival_evaluation *e, sw_error *err)
{
    SW_AUTOFREE double *time = sw_calloc((size_t)r->outcomes.count + 1, sizeof *time);
    int64_t n = 0;
    if (!time) return sw_nomem(err);
    for (int64_t i = 0; i < r->outcomes.count; i++) {
        if (r->event[i]) time[n++] = r->time[i];
    }
    qsort(time, (size_t)n, sizeof *time, sw_compare_doubles);
    for (int q = 1; q < 4 && n > 0; q++) {
        double at = sw_percentile(time, n, 25.0 * q);
        if (e->n_times == 0 || at > e->time[e->n_times - 1]) e->time[e->n_times++] = at;
    }
    return SW_OK;
}

static sw_status choose_times(const sw_survival_predictions *p, const sw_survival_options *o, const rows *train,
                              sw_survival_evaluation *e, sw_error *err)
{
    int room = o->n_times > 0 ? o->n_times : p->bins > 0 ? p->bins - 1 : 3;
    e->time = sw_calloc((size_t)room + 1, sizeof *e->time);
    e->auc = sw_calloc((size_t)room + 1, sizeof *e->auc);
    e->brier = sw_calloc((size_t)room + 1, sizeof *e->brier);
    if (!e->time || !e->auc || !e->brier) return sw_nomem(err);
    if (o->n_times == 0 && p->bins == 0) return quartiles_of_events(train, e, err);
    e->n_times = room;
    for (int t = 0; t < room; t++) {
        e->time[t] = o->n_times > 0 ? o->times[t] : p->edge[t];
        if (!isfinite(e->time[t]) || (t > 0 && !(e->time[t] > e->time[t - 1])))
            return sw_error_set(err, SW_E_INVALID, "the times of evaluation must rise; number %d is %g", t + 1, e->time[t]);
    }
    return SW_OK;
}

/* ---- all measures of a resample */

typedef struct measures {
    const rows *rows;
    sw_ranked ranked;
    double *case_weight, *pair_weight, *time_weight;
    double *survival; /* [count, n_times]; NULL: a model without bins, or times that are not its edges */
    int n_times;
    const double *times;
} measures;

static void measures_free(measures *m)
{
    sw_ranked_free(&m->ranked);
    sw_free(m->case_weight);
    sw_free(m->pair_weight);
    sw_free(m->time_weight);
    sw_free(m->survival);
}

/* Survival at the times, which are edges between bins: known there, not between them. */
static sw_status survival_at_times(const sw_survival_predictions *p, measures *m, sw_error *err)
{
    SW_AUTOFREE int *bin = sw_calloc((size_t)m->n_times + 1, sizeof *bin);
    if (!bin) return sw_nomem(err);
    for (int t = 0; t < m->n_times; t++) {
        for (bin[t] = 0; bin[t] < p->bins - 1 && p->edge[bin[t]] != m->times[t];) bin[t]++;
        if (bin[t] >= p->bins - 1) return SW_OK;
    }
    int64_t n = m->rows->outcomes.count;
    m->survival = sw_calloc((size_t)n * (size_t)m->n_times + 1, sizeof *m->survival);
    if (!m->survival) return sw_nomem(err);
    for (int64_t i = 0; i < n; i++) {
        for (int t = 0; t < m->n_times; t++) m->survival[i * m->n_times + t] = m->rows->survival[i * p->bins + bin[t]];
    }
    return SW_OK;
}

static sw_status prepare(const sw_survival_predictions *p, const rows *train, const rows *test, const sw_survival_evaluation *e,
                         measures *m, sw_error *err)
{
    SW_CLEANUP(sw_steps_free) sw_steps g = {0};
    int64_t n = test->outcomes.count;
    m->rows = test;
    m->n_times = e->n_times;
    m->times = e->time;
    m->case_weight = sw_calloc((size_t)n + 1, sizeof *m->case_weight);
    m->pair_weight = sw_calloc((size_t)n + 1, sizeof *m->pair_weight);
    m->time_weight = sw_calloc((size_t)e->n_times + 1, sizeof *m->time_weight);
    if (!m->case_weight || !m->pair_weight || !m->time_weight) return sw_nomem(err);
    SW_TRY(sw_ranked_new(&test->outcomes, test->risk, &m->ranked, err));
    SW_TRY(sw_censoring(&train->outcomes, &g, err));
    for (int64_t i = 0; i < n; i++) {
        double w = sw_censoring_weight(&g, test->time[i]);
        m->case_weight[i] = w;
        m->pair_weight[i] = test->event[i] && isfinite(w) ? w * w : 0;
    }
    for (int t = 0; t < e->n_times; t++) m->time_weight[t] = sw_censoring_weight(&g, e->time[t]);
    return survival_at_times(p, m, err);
}

/* out [SW_SURVIVAL_METRICS]; auc, brier [n_times] */
static void measure(const measures *m, const int32_t *weight, sw_concordance *pairs, double *auc, double *brier, double *out)
{
    sw_concordance uno;
    sw_ranked_concordance(&m->ranked, weight, NULL, pairs);
    sw_ranked_concordance(&m->ranked, weight, m->pair_weight, &uno);
    out[SW_METRIC_C_INDEX - SW_METRIC_COUNT] = pairs->index;
    out[SW_METRIC_C_INDEX_IPCW - SW_METRIC_COUNT] = uno.index;
    out[SW_METRIC_AUC_TD - SW_METRIC_COUNT] = sw_ranked_auc(&m->ranked, weight, m->case_weight, m->times, m->n_times, auc);
    out[SW_METRIC_IBS - SW_METRIC_COUNT] = NAN;
    for (int t = 0; t < m->n_times; t++) brier[t] = NAN;
    if (m->survival)
        out[SW_METRIC_IBS - SW_METRIC_COUNT] = sw_ranked_brier(&m->ranked, weight, m->case_weight, m->time_weight, m->survival,
                                                               m->times, m->n_times, brier);
}

static sw_status bootstrap(const measures *m, const sw_survival_options *o, sw_survival_evaluation *e, sw_error *err)
{
    int64_t n = m->rows->outcomes.count;
    SW_AUTOFREE int32_t *weight = sw_calloc((size_t)n, sizeof *weight);
    SW_AUTOFREE double *auc = sw_calloc((size_t)m->n_times + 1, sizeof *auc);
    SW_AUTOFREE double *brier = sw_calloc((size_t)m->n_times + 1, sizeof *brier);
    SW_AUTOFREE double *values = sw_calloc((size_t)o->resamples * SW_SURVIVAL_METRICS, sizeof *values);
    sw_bootstrap generator;
    if (!weight || !auc || !brier || !values) return sw_nomem(err);
    sw_bootstrap_begin(&generator, n, o->fold);
    for (int64_t r = 0; r < o->resamples; r++) { /* one resample serves all metrics */
        double metric[SW_SURVIVAL_METRICS];
        sw_concordance pairs;
        sw_bootstrap_weights(&generator, weight);
        measure(m, weight, &pairs, auc, brier, metric);
        for (int k = 0; k < SW_SURVIVAL_METRICS; k++) values[k * o->resamples + r] = metric[k];
    }
    for (int k = 0; k < SW_SURVIVAL_METRICS; k++) sw_metric_summarise(values + k * o->resamples, o->resamples, &e->metric[k]);
    return SW_OK;
}

static sw_status all_metrics(const measures *m, const sw_survival_options *o, sw_survival_evaluation *e, sw_error *err)
{
    double metric[SW_SURVIVAL_METRICS];
    measure(m, NULL, &e->pairs, e->auc, e->brier, metric);
    for (int k = 0; k < SW_SURVIVAL_METRICS; k++) e->metric[k] = (sw_metric_value){.mean = NAN, .sd = NAN, .low = NAN, .high = NAN};
    if (o->resamples > 0) SW_TRY(bootstrap(m, o, e, err));
    for (int k = 0; k < SW_SURVIVAL_METRICS; k++) {
        sw_metric_value *v = &e->metric[k];
        v->value = metric[k];
        if (isnan(v->value)) v->mean = v->sd = v->low = v->high = NAN; /* an interval around nothing would look like a result */
    }
    return SW_OK;
}

/* ---- risk groups */

static sw_status group_curve(const rows *r, const bool *high, bool which, sw_risk_group *out, sw_error *err)
{
    int64_t n = r->outcomes.count;
    SW_AUTOFREE double *time = sw_calloc((size_t)n + 1, sizeof *time);
    SW_AUTOFREE bool *event = sw_calloc((size_t)n + 1, sizeof *event);
    if (!time || !event) return sw_nomem(err);
    for (int64_t i = 0; i < n; i++) {
        if (high[i] != which) continue;
        time[out->cases] = r->time[i];
        event[out->cases++] = r->event[i];
        out->events += r->event[i];
    }
    sw_outcomes o = {out->cases, time, event};
    SW_TRY(sw_kaplan_meier(&o, &out->curve, err));
    out->median = sw_survival_curve_quantile(&out->curve, 0.5);
    return SW_OK;
}

static sw_status risk_groups(const rows *r, sw_survival_evaluation *e, sw_error *err)
{
    SW_AUTOFREE bool *high = sw_calloc((size_t)r->outcomes.count + 1, sizeof *high);
    if (!high) return sw_nomem(err);
    for (int64_t i = 0; i < r->outcomes.count; i++) high[i] = r->risk[i] > e->threshold;
    for (int g = 0; g < 2; g++) SW_TRY(group_curve(r, high, g == 1, &e->group[g], err));
    sw_log_rank(&r->outcomes, high, &e->chi2, &e->p);
    return SW_OK;
}

/* ---- all of it */

sw_status sw_survival_evaluate(const sw_survival_predictions *preds, const char *split, const sw_survival_options *options,
                               sw_survival_evaluation *out, sw_error *err)
{
    sw_survival_options o = options ? *options : sw_survival_options_default();
    SW_CLEANUP(sw_survival_evaluation_free) sw_survival_evaluation e = {.resamples = o.resamples};
    SW_CLEANUP(rows_free) rows test = {0}, train = {0};
    SW_CLEANUP(measures_free) measures m = {0};
    sw_status status;
    if (o.resamples < 0)
        return sw_error_set(err, SW_E_INVALID, "%lld bootstrap resamples; give 0 for none or a positive number",
                            (long long)o.resamples);
    SW_TRY(labelled(preds, &test, err));
    if (test.outcomes.count == 0)
        return sw_error_set(err, SW_E_INVALID, "split \"%s\": none of the %lld predicted cases has a time; metrics need times",
                            split, (long long)preds->count);
    if (o.train) SW_TRY(labelled(o.train, &train, err));
    e.trained = train.outcomes.count > 0;
    const rows *base = e.trained ? &train : &test;
    snprintf(e.split, sizeof e.split, "%s", split);
    e.count = test.outcomes.count;
    e.unlabelled = preds->count - e.count;
    for (int64_t i = 0; i < e.count; i++) e.events += test.event[i];
    e.threshold = median(base->risk, base->outcomes.count, &status, err);
    SW_TRY(status);
    SW_TRY(choose_times(preds, &o, base, &e, err));
    SW_TRY(prepare(preds, base, &test, &e, &m, err));
    SW_TRY(all_metrics(&m, &o, &e, err));
    SW_TRY(risk_groups(&test, &e, err));
    *out = e;
    e = (sw_survival_evaluation){0};
    return SW_OK;
}

sw_status sw_survival_eval_run(const char *run_dir, const char *split, const sw_survival_options *options,
                               sw_survival_evaluation *out, sw_error *err)
{
    SW_CLEANUP(sw_survival_predictions_free) sw_survival_predictions preds = {0}, train = {0};
    SW_CLEANUP(sw_survival_evaluation_free) sw_survival_evaluation e = {0};
    SW_AUTOFREE char *table = sw_asprintf("%s/predictions_%s.csv", run_dir, split);
    SW_AUTOFREE char *metrics = sw_asprintf("%s/metrics_%s.json", run_dir, split);
    SW_AUTOFREE char *training = sw_asprintf("%s/predictions_train.csv", run_dir);
    sw_survival_options o = options ? *options : sw_survival_options_default();
    if (!table || !metrics || !training) return sw_nomem(err);
    if (!sw_path_exists(table))
        return sw_error_set(err, SW_E_NOT_FOUND,
                            "%s is missing: the run holds no predictions of split \"%s\"; train the run to its end or "
                            "name another split", table, split);
    SW_TRY(sw_survival_predictions_read(table, &preds, err));
    if (!o.train && sw_path_exists(training)) {
        SW_TRY(sw_survival_predictions_read(training, &train, err));
        o.train = &train;
    }
    if (sw_survival_evaluate(&preds, split, &o, &e, err) != SW_OK) return sw_error_prefix(err, "%s", table);
    SW_TRY(sw_survival_evaluation_write(&e, metrics, err));
    if (!out) return SW_OK;
    *out = e;
    e = (sw_survival_evaluation){0};
    return SW_OK;
}
