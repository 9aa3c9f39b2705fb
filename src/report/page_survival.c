/* SPDX-License-Identifier: Apache-2.0 */
/* The sections of a survival run: concordance and its companions, curves of risk groups, cases by risk. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "report/chart.h"
#include "report/html.h"
#include "report/page.h"

#define FEW_EVENTS 30 /* below, one event moves the concordance index by points */
#define MAX_AT_RISK 7 /* rows of the table below the curves */

static const char *const GROUP[2] = {"low risk", "high risk"};

const sw_run_split *sw_page_survival_split(const sw_run_files *run)
{
    for (size_t i = 0; i < run->n_splits; i++) { /* they are in this order */
        if (run->split[i].has_survival) return &run->split[i];
    }
    return NULL;
}

static const char *time_name(const sw_run_files *run)
{
    return run->dataset ? sw_json_text(sw_json_get(run->dataset, "time"), "time") : "time";
}

void sw_page_survival_tiles(sw_buf *b, const sw_run_split *s)
{
    const sw_survival_evaluation *e = &s->survival;
    sw_buf_puts(b, "<div class=\"tiles\">\n");
    for (int m = 0; m < SW_SURVIVAL_METRICS; m++) {
        if (isnan(e->metric[m].value) && m > 0) continue;
        sw_page_tile(b, sw_metric_title((sw_metric_id)(SW_METRIC_COUNT + m)), s->name, &e->metric[m]);
    }
    sw_buf_puts(b, "<div class=\"tile\"><div class=\"name\">log-rank p, ");
    sw_html_text(b, s->name);
    sw_buf_puts(b, "</div><div class=\"big\">");
    if (isnan(e->p)) sw_buf_puts(b, "&ndash;");
    else sw_buf_printf(b, e->p < 0.0005 ? "%.1e" : "%.3f", e->p);
    sw_buf_puts(b, "</div><div class=\"ci\">high against low risk</div></div>\n</div>\n");
}

sw_status sw_page_survival_warnings(sw_names *list, const sw_run_split *s, sw_error *err)
{
    const sw_survival_evaluation *e = &s->survival;
    const sw_metric_value *c = &e->metric[0];
    if (isnan(c->value)) {
        SW_TRY(sw_page_warn(list, err, "The concordance index of the %s split is undefined: %s.", s->name,
                            e->events == 0 ? "all its cases are censored" : "it has no pair of cases that can be compared"));
    }
    if (!isnan(c->value) && e->events < FEW_EVENTS) {
        SW_TRY(sw_page_warn(list, err, "The %s split has only %lld event%s in %lld case%s: the concordance index rests on few pairs.",
                            s->name, (long long)e->events, e->events == 1 ? "" : "s", (long long)e->count, e->count == 1 ? "" : "s"));
    }
    if (isfinite(c->low) && c->low <= 0.5) {
        SW_TRY(sw_page_warn(list, err, "The 95 %% interval of the %s concordance index reaches 0.5: this split does not show that "
                            "the risks are better than chance.", s->name));
    }
    if (!e->trained) {
        SW_TRY(sw_page_warn(list, err, "The risk groups of the %s split are cut at its own median risk, because the run has no "
                            "predictions of its training cases.", s->name));
    }
    return SW_OK;
}

/* ---- curves */

/* Corners of a step curve from (0, 1): [2 * points + 1]. */
static size_t steps_of(const sw_survival_curve *c, double *x, double *y)
{
    size_t n = 0;
    double before = 1.0;
    x[n] = 0;
    y[n++] = before;
    for (int64_t i = 0; i < c->points; i++) {
        x[n] = c->time[i];
        y[n++] = before;
        x[n] = c->time[i];
        y[n++] = before = c->survival[i];
    }
    return n;
}

static sw_status curves(sw_buf *b, const sw_run_files *run, const sw_survival_evaluation *e, sw_error *err)
{
    size_t most = 2 * (size_t)(e->group[0].curve.points + e->group[1].curve.points) + 4;
    SW_AUTOFREE double *x = sw_calloc(most, sizeof *x);
    SW_AUTOFREE double *y = sw_calloc(most, sizeof *y);
    char names[2][64];
    sw_series series[2];
    size_t used = 0, n = 0;
    if (!x || !y) return sw_nomem(err);
    for (int g = 0; g < 2; g++) {
        if (e->group[g].cases == 0) continue;
        size_t points = steps_of(&e->group[g].curve, x + used, y + used);
        snprintf(names[g], sizeof names[g], "%s (%lld)", GROUP[g], (long long)e->group[g].cases);
        series[n++] = (sw_series){names[g], x + used, y + used, points, g == 0 ? 1 : 2, false};
        used += points;
    }
    sw_chart chart = {.title = "Kaplan-Meier", .x_title = time_name(run), .mark_x = NAN, .from_zero = true, .y_most = 1};
    sw_chart_lines(b, &chart, series, n);
    return SW_OK;
}

static int64_t at_risk(const sw_survival_curve *c, double time)
{
    for (int64_t i = 0; i < c->points; i++) {
        if (c->time[i] >= time) return c->at_risk[i];
    }
    return 0;
}

static void survival_cell(sw_buf *b, const sw_survival_curve *c, double time)
{
    int64_t at = -1;
    while (at + 1 < c->points && c->time[at + 1] <= time) at++;
    if (c->points == 0) sw_buf_puts(b, "<td class=\"n\">&ndash;</td>");
    else if (at < 0) sw_buf_puts(b, "<td class=\"n\">1.000</td>");
    else sw_buf_printf(b, "<td class=\"n\">%.3f (%.3f &ndash; %.3f)</td>", c->survival[at], c->low[at], c->high[at]);
}

/* Numbers at risk and survival at even times up to the last one. */
static void risk_table(sw_buf *b, const sw_run_files *run, const sw_survival_evaluation *e)
{
    double last = 0;
    for (int g = 0; g < 2; g++) {
        const sw_survival_curve *c = &e->group[g].curve;
        if (c->points > 0 && c->time[c->points - 1] > last) last = c->time[c->points - 1];
    }
    double step = last > 0 ? pow(10, floor(log10(last / 2))) : 1;
    while (last / step > MAX_AT_RISK - 1) step *= last / (step * 2) > MAX_AT_RISK - 1 ? 5 : 2;
    sw_buf_puts(b, "<div class=\"scroll\"><table>\n<thead><tr>");
    sw_html_element(b, "th", "n", time_name(run));
    for (int g = 0; g < 2; g++)
        sw_buf_printf(b, "<th class=\"n\">%s: at risk</th><th class=\"n\">survival (95 %%)</th>", GROUP[g]);
    sw_buf_puts(b, "</tr></thead>\n<tbody>\n");
    for (int k = 0; k * step <= last && k <= MAX_AT_RISK; k++) {
        sw_buf_printf(b, "<tr><td class=\"n\">%.4g</td>", k * step);
        for (int g = 0; g < 2; g++) {
            sw_html_count_cell(b, at_risk(&e->group[g].curve, k * step));
            survival_cell(b, &e->group[g].curve, k * step);
        }
        sw_buf_puts(b, "</tr>\n");
    }
    sw_buf_puts(b, "</tbody></table></div>\n");
}

static sw_status groups(sw_buf *b, const sw_run_files *run, const sw_survival_evaluation *e, sw_error *err)
{
    sw_buf_puts(b, "<div><h3>Risk groups</h3>\n");
    SW_TRY(curves(b, run, e, err));
    sw_buf_printf(b, "<p class=\"note\">Cut at the median risk of the %s (%.4g). ", e->trained ? "training cases" : "split itself",
                  e->threshold);
    for (int g = 0; g < 2; g++) {
        sw_buf_printf(b, "%s: %lld cases, %lld events, median ", g ? "High risk" : "Low risk", (long long)e->group[g].cases,
                      (long long)e->group[g].events);
        if (isnan(e->group[g].median)) sw_buf_puts(b, "not reached. ");
        else sw_buf_printf(b, "%.4g. ", e->group[g].median);
    }
    if (isnan(e->p)) sw_buf_puts(b, "The log-rank test is undefined: one group is empty, or nobody has the event.");
    else sw_buf_printf(b, "Log-rank test: chi-square %.3f, p = %.4g.", e->chi2, e->p);
    sw_buf_puts(b, "</p></div>\n");
    return SW_OK;
}

static void times_table(sw_buf *b, const sw_run_files *run, const sw_survival_evaluation *e)
{
    sw_buf_puts(b, "<div><h3>At given times</h3>\n");
    if (e->n_times == 0) {
        sw_html_missing(b, "There is no time at which cases and controls could be told apart.");
    } else {
        sw_buf_puts(b, "<div class=\"scroll\"><table>\n<thead><tr>");
        sw_html_element(b, "th", "n", time_name(run));
        sw_buf_puts(b, "<th class=\"n\">AUC until then</th><th class=\"n\">Brier score</th></tr></thead>\n<tbody>\n");
        for (int t = 0; t < e->n_times; t++) {
            sw_buf_printf(b, "<tr><td class=\"n\">%.4g</td>", e->time[t]);
            sw_html_number_cell(b, e->auc[t], 3);
            sw_html_number_cell(b, e->brier[t], 4);
            sw_buf_puts(b, "</tr>\n");
        }
        sw_buf_puts(b, "</tbody></table></div>\n");
    }
    sw_buf_printf(b, "<p class=\"note\">Cumulative cases against dynamic controls, weighted by the censoring of the %s.</p></div>\n",
                  e->trained ? "training cases" : "split itself");
}

/* ---- results */

static sw_status split_results(sw_buf *b, const sw_run_files *run, const sw_run_split *s, sw_error *err)
{
    static const char *const head[] = {"metric", "#value", "95 % interval", "", "#bootstrap mean", "#sd", NULL};
    const sw_survival_evaluation *e = &s->survival;
    sw_buf_printf(b, "<p>%lld cases, %lld with the event", (long long)e->count, (long long)e->events);
    if (e->unlabelled) sw_buf_printf(b, ", %lld without a time left out", (long long)e->unlabelled);
    if (e->resamples) sw_buf_printf(b, "; intervals from %lld bootstrap resamples of the cases", (long long)e->resamples);
    sw_buf_puts(b, ".</p>\n<div class=\"scroll\"><table>\n");
    sw_html_head_row(b, head);
    sw_buf_puts(b, "<tbody>\n");
    for (int m = 0; m < SW_SURVIVAL_METRICS; m++)
        sw_page_metric_row(b, sw_metric_title((sw_metric_id)(SW_METRIC_COUNT + m)), &e->metric[m]);
    sw_buf_puts(b, "</tbody></table></div>\n<div class=\"two\">\n");
    SW_TRY(groups(b, run, e, err));
    times_table(b, run, e);
    sw_buf_puts(b, "</div>\n");
    risk_table(b, run, e);
    return SW_OK;
}

sw_status sw_page_survival_results(sw_buf *b, const sw_run_files *run, sw_error *err)
{
    const sw_run_split *main_split = sw_page_survival_split(run);
    for (size_t i = 0; i < run->n_splits; i++) {
        const sw_run_split *s = &run->split[i];
        if (!s->has_survival) continue;
        sw_buf_puts(b, s == main_split ? "<h3>Split " : "<details><summary>Split ");
        sw_html_text(b, s->name);
        sw_buf_puts(b, s == main_split ? "</h3>\n" : "</summary>\n");
        SW_TRY(split_results(b, run, s, err));
        if (s != main_split) sw_buf_puts(b, "</details>\n");
    }
    sw_buf_puts(b, "<p class=\"note\">The c-index is the share of comparable pairs of cases whose risks are in the order of their "
                   "times (0.5: by chance); IPCW weights the pairs by the inverse probability of being censored. The Brier score "
                   "is a squared error, the smaller the better. Intervals are the 2.5 and 97.5 percentiles of the resamples: they "
                   "say what another sample of as many cases would give, not what another hospital, scanner or training seed "
                   "would.</p>\n");
    return SW_OK;
}

/* ---- cases by risk */

static int by_falling_risk(const void *a, const void *b, void *risks)
{
    const double *risk = risks;
    int64_t i = *(const int64_t *)a, j = *(const int64_t *)b;
    if (risk[i] != risk[j]) return risk[i] > risk[j] ? -1 : 1;
    return (i > j) - (i < j);
}

static void risk_row(sw_buf *b, const sw_survival_predictions *p, int64_t i)
{
    sw_buf_puts(b, "<tr>");
    sw_html_element(b, "td", "id", p->case_id[i]);
    sw_html_count_cell(b, p->slides[i]);
    sw_html_number_cell(b, p->time[i], 2);
    sw_html_element(b, "td", NULL, isnan(p->time[i]) ? "" : p->event[i] ? "yes" : "censored");
    sw_html_number_cell(b, p->risk[i], 4);
    for (int k = 0; k + 1 < p->bins; k++) sw_html_number_cell(b, p->survival[i * p->bins + k], 3);
    sw_buf_puts(b, "</tr>\n");
}

sw_status sw_page_survival_cases(sw_buf *b, const sw_run_split *s, int64_t max_cases, sw_error *err)
{
    const sw_survival_predictions *p = &s->risks;
    int64_t shown = p->count < max_cases ? p->count : max_cases;
    SW_AUTOFREE int64_t *order = sw_calloc((size_t)p->count + 1, sizeof *order);
    if (!order) return sw_nomem(err);
    for (int64_t i = 0; i < p->count; i++) order[i] = i;
    qsort_r(order, (size_t)p->count, sizeof *order, by_falling_risk, p->risk);
    sw_buf_puts(b, "<div class=\"scroll\"><table>\n<thead><tr><th>case</th><th class=\"n\">slides</th><th class=\"n\">time</th>"
                   "<th>event</th><th class=\"n\">risk</th>");
    for (int k = 0; k + 1 < p->bins; k++) sw_buf_printf(b, "<th class=\"n\">survival to %.4g</th>", p->edge[k]);
    sw_buf_puts(b, "</tr></thead>\n<tbody>\n");
    for (int64_t k = 0; k < shown; k++) risk_row(b, p, order[k]);
    sw_buf_puts(b, "</tbody></table></div>\n");
    if (shown < p->count)
        sw_buf_printf(b, "<p class=\"note\">%lld of %lld cases are shown; all are in the run's CSV.</p>\n", (long long)shown,
                      (long long)p->count);
    return SW_OK;
}
