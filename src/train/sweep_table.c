/* SPDX-License-Identifier: Apache-2.0 */
/* What the runs of a sweep left behind, side by side. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/csv.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/text.h"
#include "slidewise/eval.h"
#include "slidewise/survival.h"
#include "slidewise/sweep.h"

enum { MOST_METRICS = 8 };

/* One run's numbers of one split. */
typedef struct row {
    bool done;
    const char *split;  /* "test", or "val" where there is no test set */
    bool survival;
    int64_t count;      /* labelled slides or cases */
    int n;
    char metric[MOST_METRICS][32];
    sw_metric_value value[MOST_METRICS];
    bool compared;
    sw_comparison comparison;
    char why_not[256]; /* not compared */
} row;

static void add(row *r, sw_metric_id id, const sw_metric_value *value)
{
    if (r->n == MOST_METRICS) return;
    snprintf(r->metric[r->n], sizeof r->metric[0], "%s", sw_metric_name(id));
    r->value[r->n++] = *value;
}

static sw_status read_classes(const char *path, row *r, sw_error *err)
{
    static const sw_metric_id order[] = {SW_METRIC_AUC, SW_METRIC_ACCURACY, SW_METRIC_BALANCED_ACCURACY, SW_METRIC_F1,
                                         SW_METRIC_PRECISION, SW_METRIC_KAPPA, SW_METRIC_KAPPA_QUADRATIC};
    SW_CLEANUP(sw_evaluation_free) sw_evaluation e = {0};
    SW_TRY(sw_evaluation_read(path, &e, err));
    r->count = e.count;
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) add(r, order[i], &e.metric[order[i]]);
    return SW_OK;
}

static sw_status read_risks(const char *path, row *r, sw_error *err)
{
    SW_CLEANUP(sw_survival_evaluation_free) sw_survival_evaluation e = {0};
    SW_TRY(sw_survival_evaluation_read(path, &e, err));
    r->survival = true;
    r->count = e.count;
    for (int m = 0; m < SW_SURVIVAL_METRICS; m++) add(r, (sw_metric_id)((int)SW_METRIC_COUNT + m), &e.metric[m]);
    return SW_OK;
}

/* The log's last word is written when all else is. */
static sw_status is_finished(const sw_sweep_run *run, bool *out, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf log = {0};
    SW_AUTOFREE char *path = sw_path_join(run->dir, "log.jsonl");
    if (!path) return sw_nomem(err);
    *out = false;
    if (!sw_path_exists(path)) return SW_OK;
    SW_TRY(sw_file_read(path, &log, err));
    *out = log.data && (strstr(log.data, "\"event\":\"stop\"") || strstr(log.data, "\"event\": \"stop\""));
    return SW_OK;
}

static sw_status read_row(const sw_sweep_run *run, row *r, sw_error *err)
{
    static const char *const splits[] = {"test", "val"};
    bool finished = false;
    SW_TRY(is_finished(run, &finished, err));
    for (int i = 0; i < 2 && finished; i++) {
        SW_AUTOFREE char *path = sw_asprintf("%s/metrics_%s.json", run->dir, splits[i]);
        SW_AUTOFREE char *predictions = sw_asprintf("%s/predictions_%s.csv", run->dir, splits[i]);
        if (!path || !predictions) return sw_nomem(err);
        if (!sw_path_exists(path) || !sw_path_exists(predictions)) continue;
        r->split = splits[i];
        r->done = true;
        return sw_survival_predictions_is(predictions) ? read_risks(path, r, err) : read_classes(path, r, err);
    }
    return SW_OK;
}

static void compare(const sw_sweep *s, size_t i, size_t base, int64_t resamples, row *all)
{
    sw_error why = {0};
    row *r = &all[i];
    if (i == base || !r->done || !all[base].done) return;
    r->compared = sw_compare_runs(s->run[i].dir, s->run[base].dir, r->split, resamples, &r->comparison, &why) == SW_OK;
    if (!r->compared) snprintf(r->why_not, sizeof r->why_not, "%.*s", (int)sizeof r->why_not - 1, why.message);
}

static const sw_difference *difference(const row *r, const char *metric)
{
    for (int k = 0; r->compared && k < r->comparison.n_metrics; k++) {
        if (strcmp(r->comparison.metric[k].metric, metric) == 0) return &r->comparison.metric[k];
    }
    return NULL;
}

/* ---- CSV */

static void put_number(sw_buf *b, double value, bool last)
{
    char text[32] = "";
    if (isfinite(value)) snprintf(text, sizeof text, "%.9g", value);
    sw_csv_put(b, text, last);
}

static void put_csv_row(sw_buf *b, const char *name, const row *r, int k, const char *reason)
{
    char count[32] = "", rows[32] = "";
    const sw_difference *d = k < 0 ? NULL : difference(r, r->metric[k]);
    if (r->done) snprintf(count, sizeof count, "%lld", (long long)r->count);
    if (d) snprintf(rows, sizeof rows, "%lld", (long long)r->comparison.rows);
    sw_csv_put(b, name, false);
    sw_csv_put(b, reason ? "failed" : r->done ? "done" : "not finished", false);
    sw_csv_put(b, r->done ? r->split : "", false);
    sw_csv_put(b, count, false);
    sw_csv_put(b, k < 0 ? "" : r->metric[k], false);
    put_number(b, k < 0 ? NAN : r->value[k].value, false);
    put_number(b, k < 0 ? NAN : r->value[k].low, false);
    put_number(b, k < 0 ? NAN : r->value[k].high, false);
    put_number(b, d ? d->difference : NAN, false);
    put_number(b, d ? d->low : NAN, false);
    put_number(b, d ? d->high : NAN, false);
    put_number(b, d ? d->better : NAN, false);
    sw_csv_put(b, rows, false);
    sw_csv_put(b, reason ? reason : r->why_not, true);
}

static sw_status write_csv(const sw_sweep *s, const row *all, const char *const *reason, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf b = {0};
    SW_AUTOFREE char *path = sw_path_join(s->out, "sweep.csv");
    if (!path) return sw_nomem(err);
    sw_buf_puts(&b, "run,state,split,count,metric,value,low,high,difference,difference_low,difference_high,better,paired,note\n");
    for (size_t i = 0; i < s->count; i++) {
        const char *why = reason ? reason[i] : NULL;
        if (!all[i].done || why) put_csv_row(&b, s->run[i].name, &all[i], -1, why);
        for (int k = 0; all[i].done && !why && k < all[i].n; k++) put_csv_row(&b, s->run[i].name, &all[i], k, NULL);
    }
    SW_TRY(sw_buf_status(&b, err));
    return sw_file_write(path, b.data, b.size, err);
}

/* ---- text */

/* "0.912 [0.850, 0.961]" */
static const char *interval(double value, double low, double high, bool sign, char *out, size_t size)
{
    if (!isfinite(value)) snprintf(out, size, "-");
    else if (!isfinite(low)) snprintf(out, size, sign ? "%+.3f" : "%.3f", value);
    else snprintf(out, size, sign ? "%+.3f [%+.3f, %+.3f]" : "%.3f [%.3f, %.3f]", value, low, high);
    return out;
}

enum { SHOWN = 2, CELL = 32 }; /* AUC and accuracy, or the two concordance indices */

static void put_text_row(const sw_sweep *s, size_t i, const row *r, const char *reason, int width, sw_buf *b)
{
    char text[CELL];
    sw_buf_printf(b, "%-*s", width, s->run[i].name);
    if (reason) {
        sw_buf_printf(b, "  failed: %s\n", reason);
        return;
    }
    if (!r->done) {
        sw_buf_puts(b, "  not finished\n");
        return;
    }
    sw_buf_printf(b, "  %-5s %6lld", r->split, (long long)r->count);
    for (int k = 0; k < SHOWN && k < r->n; k++)
        sw_buf_printf(b, "  %-22s", interval(r->value[k].value, r->value[k].low, r->value[k].high, false, text, sizeof text));
    const sw_difference *d = r->n > 0 ? difference(r, r->metric[0]) : NULL;
    if (d) sw_buf_printf(b, "  %s", interval(d->difference, d->low, d->high, true, text, sizeof text));
    else if (s->baseline && strcmp(s->baseline, s->run[i].name) == 0) sw_buf_puts(b, "  baseline");
    else if (r->why_not[0]) sw_buf_puts(b, "  not compared");
    sw_buf_puts(b, "\n");
}

static void put_text(const sw_sweep *s, const row *all, const char *const *reason, sw_buf *b)
{
    int width = 3;
    const row *like = NULL;
    for (size_t i = 0; i < s->count; i++) {
        if ((int)strlen(s->run[i].name) > width) width = (int)strlen(s->run[i].name);
        if (!like && all[i].done) like = &all[i];
    }
    sw_buf_printf(b, "%-*s  split  %5s", width, "run", like && like->survival ? "cases" : "count");
    for (int k = 0; like && k < SHOWN && k < like->n; k++) sw_buf_printf(b, "  %-22s", like->metric[k]);
    if (s->baseline && like) sw_buf_printf(b, "  %s against %s", like->metric[0], s->baseline);
    sw_buf_puts(b, "\n");
    for (size_t i = 0; i < s->count; i++) put_text_row(s, i, &all[i], reason ? reason[i] : NULL, width, b);
    for (size_t i = 0; i < s->count; i++) {
        if (all[i].why_not[0]) sw_buf_printf(b, "%s is not compared: %s\n", s->run[i].name, all[i].why_not);
        else if (all[i].compared && all[i].comparison.only_run + all[i].comparison.only_baseline > 0)
            sw_buf_printf(b, "%s is compared on %lld rows; %lld are its own, %lld the baseline's\n", s->run[i].name,
                          (long long)all[i].comparison.rows, (long long)all[i].comparison.only_run,
                          (long long)all[i].comparison.only_baseline);
    }
    if (like) sw_buf_puts(b, "[2.5 and 97.5 percentile of bootstrap resamples; differences: of the same resamples for both runs]\n");
}

sw_status sw_sweep_table(const sw_sweep *s, const char *const *reason, int64_t resamples, char **text, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf b = {0};
    SW_AUTOFREE row *all = sw_calloc(s->count + 1, sizeof *all);
    SW_AUTOFREE char *path = sw_path_join(s->out, "sweep.txt");
    if (!all || !path) return sw_nomem(err);
    SW_TRY(sw_mkdir_p(s->out, err));
    for (size_t i = 0; i < s->count; i++) SW_TRY(read_row(&s->run[i], &all[i], err));
    for (size_t base = 0; s->baseline && base < s->count; base++) {
        if (strcmp(s->run[base].name, s->baseline) != 0) continue;
        for (size_t i = 0; i < s->count; i++) compare(s, i, base, resamples, all);
    }
    SW_TRY(write_csv(s, all, reason, err));
    put_text(s, all, reason, &b);
    SW_TRY(sw_buf_status(&b, err));
    SW_TRY(sw_file_write(path, b.data, b.size, err));
    *text = b.data;
    b = (sw_buf){0};
    return SW_OK;
}

void sw_sweep_text_free(char *text)
{
    sw_free(text);
}
