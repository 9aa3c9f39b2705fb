/* SPDX-License-Identifier: Apache-2.0 */
/* Kaplan-Meier curves, the distribution of censoring, and the log-rank test. */
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "eval/survival.h"

#define NORMAL_975 1.959963984540054 /* of the standard normal distribution */

typedef struct outcome {
    double time;
    bool event, second;
} outcome;

static int by_time(const void *a, const void *b)
{
    const outcome *x = a, *y = b;
    return (x->time > y->time) - (x->time < y->time);
}

static outcome *sorted(const sw_outcomes *o, const bool *second)
{
    outcome *s = sw_calloc((size_t)o->count + 1, sizeof *s);
    if (!s) return NULL;
    for (int64_t i = 0; i < o->count; i++) s[i] = (outcome){o->time[i], o->event[i], second && second[i]};
    qsort(s, (size_t)o->count, sizeof *s, by_time);
    return s;
}

void sw_survival_curve_free(sw_survival_curve *c)
{
    if (!c) return;
    sw_free(c->time);
    sw_free(c->survival);
    sw_free(c->low);
    sw_free(c->high);
    sw_free(c->at_risk);
    sw_free(c->events);
    *c = (sw_survival_curve){0};
}

static void interval(double s, double variance, double *low, double *high)
{
    double log_s = s > DBL_EPSILON ? log(s) : 0;
    double theta = log_s < -DBL_EPSILON ? sqrt(variance) / log_s : 0;
    *low = s > DBL_EPSILON ? exp(exp(-NORMAL_975 * theta) * log_s) : 0;
    *high = s > DBL_EPSILON ? exp(exp(NORMAL_975 * theta) * log_s) : 0;
}

sw_status sw_kaplan_meier(const sw_outcomes *o, sw_survival_curve *out, sw_error *err)
{
    SW_CLEANUP(sw_survival_curve_free) sw_survival_curve c = {0};
    SW_AUTOFREE outcome *s = sorted(o, NULL);
    size_t n = (size_t)o->count + 1;
    c.time = sw_calloc(n, sizeof *c.time);
    c.survival = sw_calloc(n, sizeof *c.survival);
    c.low = sw_calloc(n, sizeof *c.low);
    c.high = sw_calloc(n, sizeof *c.high);
    c.at_risk = sw_calloc(n, sizeof *c.at_risk);
    c.events = sw_calloc(n, sizeof *c.events);
    if (!s || !c.time || !c.survival || !c.low || !c.high || !c.at_risk || !c.events) return sw_nomem(err);
    double survival = 1, variance = 0;
    for (int64_t i = 0; i < o->count;) {
        int64_t at_risk = o->count - i, events = 0, p = c.points++;
        c.time[p] = s[i].time;
        for (; i < o->count && s[i].time == c.time[p]; i++) events += s[i].event;
        survival *= 1.0 - (double)events / (double)at_risk;
        if (at_risk > events) variance += (double)events / ((double)at_risk * (double)(at_risk - events));
        c.survival[p] = survival;
        c.at_risk[p] = at_risk;
        c.events[p] = events;
        interval(survival, variance, &c.low[p], &c.high[p]);
    }
    *out = c;
    c = (sw_survival_curve){0};
    return SW_OK;
}

/* Index of the last of `count` rising times that is not after `time`; -1: none. */
static int64_t last_until(const double *times, int64_t count, double time)
{
    int64_t low = 0, high = count;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (times[middle] <= time) low = middle + 1;
        else high = middle;
    }
    return low - 1;
}

double sw_survival_curve_at(const sw_survival_curve *c, double time)
{
    int64_t at = last_until(c->time, c->points, time);
    return at < 0 ? 1.0 : c->survival[at];
}

double sw_survival_curve_quantile(const sw_survival_curve *c, double share)
{
    for (int64_t i = 0; i < c->points; i++) {
        if (c->survival[i] <= share) return c->time[i];
    }
    return NAN;
}

/* ---- censoring */

void sw_steps_free(sw_steps *steps)
{
    sw_free(steps->time);
    sw_free(steps->value);
    *steps = (sw_steps){0};
}

sw_status sw_censoring(const sw_outcomes *train, sw_steps *out, sw_error *err)
{
    SW_CLEANUP(sw_steps_free) sw_steps g = {0};
    SW_AUTOFREE outcome *s = sorted(train, NULL);
    g.time = sw_calloc((size_t)train->count + 1, sizeof *g.time);
    g.value = sw_calloc((size_t)train->count + 1, sizeof *g.value);
    if (!s || !g.time || !g.value) return sw_nomem(err);
    double value = 1;
    for (int64_t i = 0; i < train->count;) {
        int64_t begin = i, events = 0;
        for (; i < train->count && s[i].time == s[begin].time; i++) events += s[i].event;
        int64_t censored = i - begin - events;
        /* who has the event at this time is no longer at risk of being censored at it */
        if (censored > 0) value *= 1.0 - (double)censored / (double)(train->count - begin - events);
        g.time[g.count] = s[begin].time;
        g.value[g.count++] = value;
    }
    *out = g;
    g = (sw_steps){0};
    return SW_OK;
}

double sw_censoring_weight(const sw_steps *g, double time)
{
    int64_t at = last_until(g->time, g->count, time);
    if (g->count == 0) return NAN;
    double value = at < 0 ? 1.0 : g->value[at];
    if (value > 0 && time > g->time[g->count - 1]) return NAN;
    return value > 0 ? 1.0 / value : INFINITY;
}

/* ---- log-rank */

void sw_log_rank(const sw_outcomes *o, const bool *second_group, double *chi2, double *p)
{
    SW_AUTOFREE outcome *s = sorted(o, second_group);
    double observed = 0, expected = 0, variance = 0;
    int64_t second = 0;
    *chi2 = *p = NAN;
    for (int64_t i = 0; s && i < o->count; i++) second += s[i].second;
    for (int64_t i = 0; s && i < o->count;) {
        double at_risk = (double)(o->count - i), events = 0, own = (double)second, time = s[i].time;
        for (; i < o->count && s[i].time == time; i++) {
            events += s[i].event;
            observed += s[i].event && s[i].second;
            second -= s[i].second;
        }
        expected += own * events / at_risk;
        if (at_risk > 1) variance += own / at_risk * (1 - own / at_risk) * events * (at_risk - events) / (at_risk - 1);
    }
    if (!(variance > 0)) return;
    *chi2 = (observed - expected) * (observed - expected) / variance;
    *p = erfc(sqrt(*chi2 / 2)); /* chi-square with one degree of freedom */
}
