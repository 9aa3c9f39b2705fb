/* SPDX-License-Identifier: Apache-2.0 */
/* The table of a survival evaluation for a terminal. */
#include <math.h>

#include "base/buf.h"
#include "base/mem.h"
#include "eval/survival.h"

static void put_value(sw_buf *buf, double value, int width)
{
    if (isnan(value)) sw_buf_printf(buf, "%*s", width, "-");
    else sw_buf_printf(buf, "%*.4f", width, value);
}

static void text_metrics(const sw_survival_evaluation *e, sw_buf *buf)
{
    sw_buf_printf(buf, "%s: %lld cases, %lld with the event", e->split, (long long)e->count, (long long)e->events);
    if (e->unlabelled) sw_buf_printf(buf, ", %lld without a time left out", (long long)e->unlabelled);
    sw_buf_printf(buf, "\n\n  %-22s  %7s", "metric", "value");
    if (e->resamples) sw_buf_printf(buf, "   %-16s  %7s  %7s", "95 % interval", "mean", "sd");
    sw_buf_puts(buf, "\n");
    for (int m = 0; m < SW_SURVIVAL_METRICS; m++) {
        const sw_metric_value *v = &e->metric[m];
        sw_buf_printf(buf, "  %-22s  ", sw_metric_title((sw_metric_id)(SW_METRIC_COUNT + m)));
        put_value(buf, v->value, 7);
        if (e->resamples) {
            sw_buf_puts(buf, "   ");
            put_value(buf, v->low, 7);
            sw_buf_puts(buf, "  ");
            put_value(buf, v->high, 7);
            sw_buf_puts(buf, "  ");
            put_value(buf, v->mean, 7);
            sw_buf_puts(buf, "  ");
            put_value(buf, v->sd, 7);
        }
        sw_buf_puts(buf, "\n");
    }
}

static void text_notes(const sw_survival_evaluation *e, sw_buf *buf)
{
    const sw_concordance *c = &e->pairs;
    if (e->resamples) sw_buf_printf(buf, "  bootstrap: %lld resamples of the cases\n", (long long)e->resamples);
    for (int m = 0; m < SW_SURVIVAL_METRICS; m++) {
        if (e->metric[m].undefined)
            sw_buf_printf(buf, "  %s: undefined in %lld resamples, which are left out\n",
                          sw_metric_title((sw_metric_id)(SW_METRIC_COUNT + m)), (long long)e->metric[m].undefined);
    }
    if (isnan(c->index)) {
        sw_buf_printf(buf, "  c-index: undefined, %s\n",
                      e->events == 0 ? "all cases are censored" : "no case with the event has another one to be compared with");
        return;
    }
    sw_buf_printf(buf, "  pairs: %lld concordant, %lld discordant, %lld of equal risk\n", (long long)c->concordant,
                  (long long)c->discordant, (long long)c->tied_risk);
}

static void text_times(const sw_survival_evaluation *e, sw_buf *buf)
{
    if (e->n_times == 0) return;
    sw_buf_printf(buf, "\n  %10s  %7s  %7s\n", "time", "AUC", "Brier");
    for (int t = 0; t < e->n_times; t++) {
        sw_buf_printf(buf, "  %10.4g  ", e->time[t]);
        put_value(buf, e->auc[t], 7);
        sw_buf_puts(buf, "  ");
        put_value(buf, e->brier[t], 7);
        sw_buf_puts(buf, "\n");
    }
    sw_buf_printf(buf, "  weights: censoring of the %s\n", e->trained ? "training cases" : "cases of this split");
}

static void text_groups(const sw_survival_evaluation *e, sw_buf *buf)
{
    static const char *const name[2] = {"low risk", "high risk"};
    sw_buf_printf(buf, "\n  %-10s  %6s  %6s  %12s\n", "group", "cases", "events", "median time");
    for (int g = 0; g < 2; g++) {
        sw_buf_printf(buf, "  %-10s  %6lld  %6lld  ", name[g], (long long)e->group[g].cases, (long long)e->group[g].events);
        if (isnan(e->group[g].median)) sw_buf_printf(buf, "%12s\n", "not reached");
        else sw_buf_printf(buf, "%12.4g\n", e->group[g].median);
    }
    sw_buf_printf(buf, "  split at the median risk of the %s, %.6g\n", e->trained ? "training cases" : "cases of this split",
                  e->threshold);
    if (isnan(e->p)) sw_buf_puts(buf, "  log-rank test: undefined, one group is empty or nobody has the event\n");
    else sw_buf_printf(buf, "  log-rank test: chi-square %.4f, p = %.4g\n", e->chi2, e->p);
}

sw_status sw_survival_evaluation_text(const sw_survival_evaluation *eval, char **text, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf buf = {0};
    text_metrics(eval, &buf);
    text_notes(eval, &buf);
    text_times(eval, &buf);
    text_groups(eval, &buf);
    SW_TRY(sw_buf_status(&buf, err));
    *text = SW_STEAL(buf.data);
    return SW_OK;
}
