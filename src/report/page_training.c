/* SPDX-License-Identifier: Apache-2.0 */
/* Curves of the training, from the epochs in log.jsonl. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "report/chart.h"
#include "report/html.h"
#include "report/page.h"

/* Epoch records in order; a resumed run may hold an epoch twice, the later one counts. */
typedef struct epochs {
    const sw_json **record;
    double *number;
    size_t n;
} epochs;

static void epochs_free(epochs *e)
{
    sw_free((void *)e->record);
    sw_free(e->number);
}

static sw_status collect(const sw_run_files *run, epochs *e, sw_error *err)
{
    e->record = sw_calloc(run->n_events + 1, sizeof *e->record);
    e->number = sw_calloc(run->n_events + 1, sizeof *e->number);
    if (!e->record || !e->number) return sw_nomem(err);
    for (size_t i = 0; i < run->n_events; i++) {
        double number = sw_json_real(sw_json_get(run->event[i], "epoch"), NAN);
        if (strcmp(sw_json_text(sw_json_get(run->event[i], "event"), ""), "epoch") != 0 || isnan(number)) continue;
        while (e->n > 0 && e->number[e->n - 1] >= number) e->n--;
        e->record[e->n] = run->event[i];
        e->number[e->n++] = number;
    }
    return SW_OK;
}

static double value_of(const epochs *e, size_t i, const char *key)
{
    const sw_json *value = sw_json_get(e->record[i], key);
    return value ? sw_json_real(value, NAN) : NAN;
}

static double best_epoch(const epochs *e)
{
    double best = NAN;
    for (size_t i = 0; i < e->n; i++) {
        if (sw_json_truth(sw_json_get(e->record[i], "best"), false)) best = e->number[i];
    }
    return best;
}

typedef struct curve {
    const char *key, *name;
    int color;
    bool dashed;
    bool powers; /* the power of ten is drawn */
} curve;

static sw_status draw(sw_buf *b, const epochs *e, sw_chart chart, const curve *curves, size_t n, sw_error *err)
{
    SW_AUTOFREE double *values = sw_calloc(e->n * n + 1, sizeof *values);
    SW_AUTOFREE sw_series *series = sw_calloc(n, sizeof *series);
    if (!values || !series) return sw_nomem(err);
    for (size_t k = 0; k < n; k++) {
        for (size_t i = 0; i < e->n; i++) {
            double value = value_of(e, i, curves[k].key);
            values[k * e->n + i] = !curves[k].powers ? value : value > 0 ? log10(value) : NAN;
        }
        series[k] = (sw_series){curves[k].name, e->number, values + k * e->n, e->n, curves[k].color, curves[k].dashed};
    }
    if (!sw_chart_lines(b, &chart, series, n)) {
        sw_html_element(b, "h3", NULL, chart.title);
        sw_html_missing(b, "No epoch of the log has a number for this chart.");
    }
    return SW_OK;
}

static void summary(sw_buf *b, const sw_run_files *run, const epochs *e, double best)
{
    const char *reason = sw_json_text(sw_run_event_value(run, "stop", "reason"), NULL);
    const char *metric = sw_json_text(sw_run_event_value(run, "start", "metric"), NULL);
    double seconds = 0, rate = 0;
    size_t rates = 0;
    for (size_t i = 0; i < e->n; i++) {
        double s = value_of(e, i, "seconds"), r = value_of(e, i, "patches_per_second");
        seconds += isfinite(s) ? s : 0;
        rate += isfinite(r) ? r : 0;
        rates += isfinite(r);
    }
    sw_buf_printf(b, "<p>%zu epochs", e->n);
    if (seconds >= 5400) {
        sw_buf_printf(b, " in %.1f hours", seconds / 3600);
    } else if (seconds >= 90) {
        sw_buf_printf(b, " in %.1f minutes", seconds / 60);
    } else if (seconds > 0) {
        sw_buf_printf(b, " in %.0f seconds", seconds);
    }
    if (rates) sw_buf_printf(b, ", %.0f patches a second on average", rate / (double)rates);
    if (isfinite(best)) sw_buf_printf(b, "; the model is that of epoch %.0f", best);
    if (isfinite(best) && metric) {
        sw_buf_puts(b, ", chosen by ");
        sw_html_text(b, metric);
    }
    if (reason) {
        sw_buf_puts(b, "; ended: ");
        sw_html_text(b, reason);
    }
    sw_buf_puts(b, ".</p>\n");
}

static const curve losses[] = {{"train_loss", "training", 1, false, false}, {"val_loss", "validation", 2, false, false}};
static const curve metrics[] = {{"val_auc", "AUC", 1, false, false},
                                {"val_balanced_accuracy", "balanced acc.", 2, false, false},
                                {"val_c_index", "c-index", 1, false, false},
                                {"ema_val_c_index", "c-index, EMA", 1, true, false},
                                {"ema_val_auc", "AUC, EMA", 1, true, false},
                                {"ema_val_balanced_accuracy", "bal. acc., EMA", 2, true, false}};
static const curve rates[] = {{"lr", "learning rate", 3, false, false}};

static const curve attention[] = {{"attention_entropy_gap", "1 - entropy", 1, false, false},
                                  {"attention_gini", "Gini", 2, false, false},
                                  {"attention_below_mean", "below 1/N", 3, false, false}};
static const curve features[] = {{"feature_rank", "effective rank", 1, false, false}};
static const curve gradients[] = {{"grad_norm_encoder", "encoder", 1, false, true},
                                  {"grad_norm_aggregator", "aggregator", 2, false, true},
                                  {"grad_norm_head", "head", 3, false, true}};

/* One more chart where the log has something for it: runs of older versions have not. */
static sw_status draw_known(sw_buf *b, const epochs *e, sw_chart chart, const curve *curves, size_t n, sw_error *err)
{
    bool known = false;
    for (size_t i = 0; i < e->n; i++) known = known || isfinite(value_of(e, i, curves[0].key));
    if (!known) return SW_OK;
    sw_buf_puts(b, "<div>");
    SW_TRY(draw(b, e, chart, curves, n, err));
    sw_buf_puts(b, "</div>\n");
    return SW_OK;
}

/* What the collapse watch measured. */
static sw_status draw_watch(sw_buf *b, const epochs *e, sw_chart chart, sw_error *err)
{
    chart.title = "Attention: 0 alike on all patches, 1 on one";
    chart.from_zero = true;
    chart.y_most = 1;
    SW_TRY(draw_known(b, e, chart, attention, sizeof attention / sizeof attention[0], err));
    chart.title = "Rank of a bag's features";
    chart.y_most = NAN;
    SW_TRY(draw_known(b, e, chart, features, 1, err));
    chart.title = "Gradient norms, powers of ten";
    chart.from_zero = false;
    return draw_known(b, e, chart, gradients, sizeof gradients / sizeof gradients[0], err);
}

sw_status sw_page_training(sw_buf *b, const sw_run_files *run, sw_error *err)
{
    SW_CLEANUP(epochs_free) epochs e = {0};
    double best;
    sw_html_section(b, "training", "Training");
    SW_TRY(collect(run, &e, err));
    best = best_epoch(&e);
    if (e.n == 0) {
        sw_html_missing(b, run->n_events ? "log.jsonl records no finished epoch." : "There is no log.jsonl with epochs in this run.");
    } else {
        sw_chart chart = {.x_title = "epoch", .mark_x = best, .mark_title = "chosen", .y_most = NAN};
        summary(b, run, &e, best);
        sw_buf_puts(b, "<div class=\"two\">\n<div>");
        chart.title = "Loss";
        chart.from_zero = true;
        SW_TRY(draw(b, &e, chart, losses, 2, err));
        sw_buf_puts(b, "</div>\n<div>");
        chart.title = "Validation";
        chart.from_zero = false;
        chart.y_most = 1;
        SW_TRY(draw(b, &e, chart, metrics, sizeof metrics / sizeof metrics[0], err));
        sw_buf_puts(b, "</div>\n<div>");
        chart.title = "Learning rate";
        chart.from_zero = true;
        chart.y_most = NAN;
        SW_TRY(draw(b, &e, chart, rates, 1, err));
        sw_buf_puts(b, "</div>\n");
        SW_TRY(draw_watch(b, &e, chart, err));
        sw_buf_puts(b, "</div>\n");
    }
    sw_html_end_section(b);
    return SW_OK;
}
