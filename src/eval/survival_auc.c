/* SPDX-License-Identifier: Apache-2.0 */
/* Time-dependent AUC and Brier score, weighted by the inverse probability of censoring. */
#include <math.h>

#include "base/mem.h"
#include "eval/survival.h"

/* Within the follow-up of the cases that count: not before the first time, before the last one. */
static bool within(const sw_ranked *r, const int32_t *weight, double time)
{
    const sw_outcomes *o = r->outcomes;
    int64_t first = 0, last = o->count - 1;
    if (o->count == 0) return false;
    while (weight && first < last && weight[r->by_time[first]] == 0) first++;
    while (weight && last > first && weight[r->by_time[last]] == 0) last--;
    return time >= o->time[r->by_time[first]] && time < o->time[r->by_time[last]];
}

/* Trapezoids over groups of tied risks, from the largest risk down. A case that does not count ties nobody together. */
static double auc_at(const sw_ranked *r, const int32_t *weight, const double *case_weight, double time)
{
    const sw_outcomes *o = r->outcomes;
    double tp = 0, fp = 0, last_tp = 0, last_fp = 0, area = 0, before = INFINITY;
    for (int64_t k = o->count - 1; k >= 0; k--) {
        int64_t i = r->by_risk[k];
        double w = weight ? weight[i] : 1;
        if (w == 0) continue;
        if (before - r->risk[i] > SW_RISK_TIE) { /* the group before is complete */
            area += (fp - last_fp) * (tp + last_tp) / 2;
            last_tp = tp;
            last_fp = fp;
        }
        before = r->risk[i];
        if (o->time[i] > time) fp += w;
        else if (o->event[i]) tp += w * case_weight[i]; /* NaN: the weight is unknown, and so is the AUC */
    }
    area += (fp - last_fp) * (tp + last_tp) / 2;
    return tp > 0 && fp > 0 ? area / (tp * fp) : NAN;
}

/* Survival of the weighted cases at rising times, one sweep. */
static void survival_at(const sw_ranked *r, const int32_t *weight, const double *times, int n_times, double *out)
{
    const sw_outcomes *o = r->outcomes;
    double at_risk = 0, survival = 1;
    int64_t i = 0;
    for (int64_t k = 0; k < o->count; k++) at_risk += weight ? weight[k] : 1;
    for (int t = 0; t < n_times; t++) {
        while (i < o->count && o->time[r->by_time[i]] <= times[t]) {
            double time = o->time[r->by_time[i]], events = 0, gone = 0;
            for (; i < o->count && o->time[r->by_time[i]] == time; i++) {
                int64_t k = r->by_time[i];
                double w = weight ? weight[k] : 1;
                gone += w;
                if (o->event[k]) events += w;
            }
            if (events > 0) survival *= 1 - events / at_risk;
            at_risk -= gone;
        }
        out[t] = survival;
    }
}

double sw_ranked_auc(const sw_ranked *r, const int32_t *weight, const double *case_weight, const double *times, int n_times,
                     double *auc)
{
    double before = 1, sum = 0, total = 0, only = NAN, survival;
    int defined = 0;
    for (int t = 0; t < n_times; t++) {
        auc[t] = within(r, weight, times[t]) ? auc_at(r, weight, case_weight, times[t]) : NAN;
        if (isnan(auc[t])) continue;
        survival_at(r, weight, &times[t], 1, &survival);
        sum += auc[t] * (before - survival);
        total += before - survival;
        before = survival;
        only = auc[t];
        defined++;
    }
    if (defined < 2) return only;
    return total > 0 ? sum / total : NAN;
}

static double brier_at(const sw_ranked *r, const int32_t *weight, const double *case_weight, double time_weight,
                       const double *survival, int n_times, double time)
{
    const sw_outcomes *o = r->outcomes;
    double sum = 0, count = 0;
    for (int64_t i = 0; i < o->count; i++) {
        double w = weight ? weight[i] : 1, s = survival[i * n_times];
        if (w == 0) continue;
        count += w;
        /* A probability of 0 to stay under observation weighs nothing, as in scikit-survival; an unknown one is told. */
        if (o->time[i] > time) sum += isinf(time_weight) ? 0 : w * (1 - s) * (1 - s) * time_weight;
        else if (o->event[i]) sum += isinf(case_weight[i]) ? 0 : w * s * s * case_weight[i];
    }
    return sum / count;
}

double sw_ranked_brier(const sw_ranked *r, const int32_t *weight, const double *case_weight, const double *time_weight,
                       const double *survival, const double *times, int n_times, double *score)
{
    double area = 0;
    int first = -1, last = -1;
    for (int t = 0; t < n_times; t++) {
        bool inside = within(r, weight, times[t]);
        score[t] = inside ? brier_at(r, weight, case_weight, time_weight[t], survival + t, n_times, times[t]) : NAN;
        if (isnan(score[t])) continue;
        if (last >= 0) area += (times[t] - times[last]) * (score[t] + score[last]) / 2;
        if (first < 0) first = t;
        last = t;
    }
    return last > first ? area / (times[last] - times[first]) : NAN;
}

static sw_status weights_of(const sw_outcomes *train, const sw_outcomes *test, const double *times, int n_times,
                            double **case_weight, double **time_weight, sw_error *err)
{
    SW_CLEANUP(sw_steps_free) sw_steps g = {0};
    SW_TRY(sw_censoring(train, &g, err));
    *case_weight = sw_calloc((size_t)test->count + 1, sizeof **case_weight);
    *time_weight = sw_calloc((size_t)n_times + 1, sizeof **time_weight);
    if (!*case_weight || !*time_weight) return sw_nomem(err);
    for (int64_t i = 0; i < test->count; i++) (*case_weight)[i] = sw_censoring_weight(&g, test->time[i]);
    for (int t = 0; t < n_times; t++) (*time_weight)[t] = sw_censoring_weight(&g, times[t]);
    return SW_OK;
}

sw_status sw_dynamic_auc(const sw_outcomes *train, const sw_outcomes *test, const double *risk, const double *times, int n_times,
                         double *auc, double *mean, sw_error *err)
{
    SW_CLEANUP(sw_ranked_free) sw_ranked r = {0};
    SW_AUTOFREE double *case_weight = NULL, *time_weight = NULL;
    SW_TRY(sw_ranked_new(test, risk, &r, err));
    SW_TRY(weights_of(train, test, times, n_times, &case_weight, &time_weight, err));
    *mean = sw_ranked_auc(&r, NULL, case_weight, times, n_times, auc);
    return SW_OK;
}

sw_status sw_brier_score(const sw_outcomes *train, const sw_outcomes *test, const double *survival, const double *times,
                         int n_times, double *score, double *integrated, sw_error *err)
{
    SW_CLEANUP(sw_ranked_free) sw_ranked r = {0};
    SW_AUTOFREE double *case_weight = NULL, *time_weight = NULL;
    SW_TRY(sw_ranked_new(test, test->time, &r, err)); /* the order of risks does not matter */
    SW_TRY(weights_of(train, test, times, n_times, &case_weight, &time_weight, err));
    *integrated = sw_ranked_brier(&r, NULL, case_weight, time_weight, survival, times, n_times, score);
    return SW_OK;
}
