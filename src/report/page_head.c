/* SPDX-License-Identifier: Apache-2.0 */
/* What the reader sees first: the main numbers, and what should make one careful with them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "report/chart.h"
#include "report/html.h"
#include "report/page.h"

#define FEW_SLIDES 30     /* below, one slide moves the accuracy by more than 3 points */
#define FEW_PER_CLASS 10
#define WIDE_INTERVAL 0.2

const sw_run_split *sw_page_main_split(const sw_run_files *run)
{
    for (size_t i = 0; i < run->n_splits; i++) { /* they are in this order */
        if (run->split[i].has_metrics) return &run->split[i];
    }
    return NULL;
}

void sw_page_tile(sw_buf *b, const char *title, const char *split, const sw_metric_value *v)
{
    sw_buf_puts(b, "<div class=\"tile\"><div class=\"name\">");
    sw_html_text(b, title);
    sw_buf_puts(b, ", ");
    sw_html_text(b, split);
    sw_buf_puts(b, "</div><div class=\"big\">");
    sw_html_number(b, v->value, 3);
    sw_buf_puts(b, "</div><div class=\"ci\">");
    if (isfinite(v->low)) {
        sw_buf_printf(b, "95 %%: %.3f &ndash; %.3f", v->low, v->high);
    } else {
        sw_buf_puts(b, isfinite(v->value) ? "no interval" : "undefined here");
    }
    sw_buf_puts(b, "</div>");
    sw_chart_interval(b, v->value, v->low, v->high, 160);
    sw_buf_puts(b, "</div>\n");
}

void sw_page_tiles(sw_buf *b, const sw_run_files *run)
{
    static const sw_metric_id shown[] = {SW_METRIC_AUC, SW_METRIC_BALANCED_ACCURACY, SW_METRIC_ACCURACY, SW_METRIC_F1,
                                         SW_METRIC_KAPPA};
    const sw_run_split *s = sw_page_main_split(run), *survival = sw_page_survival_split(run);
    if (!s && survival) sw_page_survival_tiles(b, survival);
    if (!s) return;
    sw_buf_puts(b, "<div class=\"tiles\">\n");
    for (size_t i = 0; i < sizeof shown / sizeof *shown; i++) {
        const sw_metric_value *v = &s->eval.metric[shown[i]];
        sw_page_tile(b, sw_metric_title(shown[i]), s->name, v);
    }
    sw_buf_puts(b, "</div>\n");
}

/* ---- warnings ---- */

sw_status sw_page_warn(sw_names *list, sw_error *err, const char *fmt, ...)
{
    SW_CLEANUP(sw_buf_free) sw_buf text = {0};
    char line[1024];
    va_list args;
    va_start(args, fmt);
    sw_vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    sw_buf_puts(&text, line);
    SW_TRY(sw_buf_status(&text, err));
    return sw_names_add(list, text.data, err);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Distinct cases among the predictions; -1: no memory. */
static int64_t count_cases(const sw_predictions *p)
{
    SW_AUTOFREE const char **sorted = sw_calloc((size_t)p->count + 1, sizeof *sorted);
    int64_t n = p->count > 0;
    if (!sorted) return -1;
    for (int64_t i = 0; i < p->count; i++) sorted[i] = p->case_id[i];
    qsort(sorted, (size_t)p->count, sizeof *sorted, by_text);
    for (int64_t i = 1; i < p->count; i++) n += strcmp(sorted[i - 1], sorted[i]) != 0;
    return n;
}

static sw_status warn_size(sw_names *list, const sw_run_split *s, sw_error *err)
{
    const sw_evaluation *e = &s->eval;
    if (e->count == 1) {
        SW_TRY(sw_page_warn(list, err, "The %s split has a single labelled slide: every resample is that slide again, and the intervals "
                    "say nothing.", s->name));
    } else if (e->count < FEW_SLIDES) {
        SW_TRY(sw_page_warn(list, err, "The %s split has only %lld labelled slides: one slide more or less right moves the accuracy "
                    "by %.1f points.", s->name, (long long)e->count, 100.0 / (double)e->count));
    }
    for (int c = 0; c < e->n_classes; c++) {
        if (e->per_class[c].support == 0) {
            SW_TRY(sw_page_warn(list, err, "No slide of the %s split has the label \"%s\": nothing can be said about this class.",
                        s->name, e->class_name[c]));
        } else if (e->per_class[c].support < FEW_PER_CLASS) {
            SW_TRY(sw_page_warn(list, err, "Class \"%s\" has only %lld slide%s in the %s split.", e->class_name[c],
                        (long long)e->per_class[c].support, e->per_class[c].support == 1 ? "" : "s", s->name));
        }
    }
    return SW_OK;
}

static sw_status warn_quality(sw_names *list, const sw_run_split *s, sw_error *err)
{
    const sw_evaluation *e = &s->eval;
    const sw_metric_value *auc = &e->metric[SW_METRIC_AUC], *acc = &e->metric[SW_METRIC_ACCURACY];
    int64_t most = 0;
    for (int c = 0; c < e->n_classes; c++) most = e->per_class[c].support > most ? e->per_class[c].support : most;
    if (isfinite(auc->low) && auc->high - auc->low > WIDE_INTERVAL) {
        SW_TRY(sw_page_warn(list, err, "The 95 %% interval of the %s AUC is wide, %.3f to %.3f: read the AUC as a range, not as a "
                    "number.", s->name, auc->low, auc->high));
    }
    if (isfinite(auc->low) && auc->low <= 0.5) {
        SW_TRY(sw_page_warn(list, err, "The 95 %% interval of the %s AUC reaches 0.5: this split does not show that the model is "
                    "better than guessing.", s->name));
    }
    if (e->count > 0 && most < e->count && acc->value <= (double)most / (double)e->count) {
        SW_TRY(sw_page_warn(list, err, "Always naming the commonest class of the %s split would be right for %.1f %% of its slides; "
                    "the model is right for %.1f %%.", s->name, 100.0 * (double)most / (double)e->count, 100 * acc->value));
    }
    if (isnan(auc->value)) { /* a class has no curve only where it has all slides or none: one has all */
        for (int c = 0; c < e->n_classes; c++) {
            if (e->per_class[c].support != e->count) continue;
            SW_TRY(sw_page_warn(list, err, "The AUC of the %s split is undefined: all its slides have the label \"%s\".", s->name,
                        e->class_name[c]));
        }
    } else if (auc->undefined > 0) {
        SW_TRY(sw_page_warn(list, err, "In %lld of %lld resamples of the %s split the AUC is undefined (only one class was drawn); they "
                    "are left out of its interval.", (long long)auc->undefined, (long long)e->resamples, s->name));
    }
    return SW_OK;
}

static sw_status warn_split(sw_names *list, const sw_run_split *s, sw_error *err)
{
    SW_TRY(warn_size(list, s, err));
    SW_TRY(warn_quality(list, s, err));
    if (s->has_predictions) {
        int64_t cases = count_cases(&s->preds);
        if (cases < 0) return sw_nomem(err);
        if (cases < s->preds.count) {
            SW_TRY(sw_page_warn(list, err, "The %lld slides of the %s split come from %lld cases. The intervals treat slides as "
                        "independent and are therefore too narrow.", (long long)s->preds.count, s->name, (long long)cases));
        }
        if (s->preds.count != s->eval.count + s->eval.unlabelled) {
            SW_TRY(sw_page_warn(list, err, "metrics_%s.json is about %lld slides, predictions_%s.csv has %lld: run slidewise eval "
                        "again.", s->name, (long long)(s->eval.count + s->eval.unlabelled), s->name,
                        (long long)s->preds.count));
        }
    }
    return SW_OK;
}

static sw_status warn_selection(sw_names *list, const sw_run_files *run, sw_error *err)
{
    const char *on = sw_json_text(sw_run_event_value(run, "start", "selected_on"), "");
    const sw_json *splits = run->dataset ? sw_json_get(run->dataset, "splits") : NULL;
    const sw_json *val = splits ? sw_json_get(splits, "val") : NULL;
    if (strcmp(on, "last epoch") == 0) {
        return sw_page_warn(list, err, "There is no validation split: no epoch was selected, the last epoch was kept.");
    }
    if (!on[0] && splits && sw_json_integer(val ? sw_json_get(val, "slides") : NULL, 0) == 0) {
        return sw_page_warn(list, err, "There is no validation split: no epoch could be selected without looking at the test split.");
    }
    return SW_OK;
}

/* In red: every number of the test split is meant. */
static void put_selected_on_test(sw_buf *b, const sw_run_files *run)
{
    if (strcmp(sw_json_text(sw_run_event_value(run, "start", "selected_on"), ""), "test") != 0) return;
    sw_buf_puts(b, "<div class=\"warnings danger\" role=\"alert\"><strong>Selected on the test set</strong>\n<p>The epoch was selected on "
                   "the test split (train.select_on_test): the test metrics are optimistic, as in every run that chooses on the "
                   "slides it reports. They must not be compared with those of runs that have a validation set of their own.</p></div>\n");
}

/* What the collapse watch saw while the run trained. */
static void put_alarms(sw_buf *b, const sw_run_files *run)
{
    bool open = false;
    for (size_t i = 0; i < run->n_events; i++) {
        const char *text = sw_json_text(sw_json_get(run->event[i], "text"), NULL);
        if (!text || strcmp(sw_json_text(sw_json_get(run->event[i], "event"), ""), "warning") != 0) continue;
        if (!open) sw_buf_puts(b, "<div class=\"warnings danger\" role=\"alert\"><strong>Training went wrong</strong>\n<ul>\n");
        open = true;
        sw_html_element(b, "li", NULL, text);
        sw_buf_puts(b, "\n");
    }
    if (open) sw_buf_puts(b, "</ul></div>\n");
}

sw_status sw_page_warnings(sw_buf *b, const sw_run_files *run, sw_error *err)
{
    SW_CLEANUP(sw_names_free) sw_names list = {0};
    const sw_run_split *s = sw_page_main_split(run);
    const sw_json *given = run->dataset ? sw_json_get(run->dataset, "warnings") : NULL;
    for (size_t i = 0; given && i < sw_json_count(given); i++) {
        const char *text = sw_json_text(sw_json_at(given, i), NULL);
        if (text) SW_TRY(sw_names_add(&list, text, err));
    }
    SW_TRY(warn_selection(&list, run, err));
    if (s) SW_TRY(warn_split(&list, s, err));
    if (!s && sw_page_survival_split(run)) SW_TRY(sw_page_survival_warnings(&list, sw_page_survival_split(run), err));
    if (run->failures && sw_csv_rows(run->failures) > 0) {
        size_t n = sw_csv_rows(run->failures);
        SW_TRY(sw_page_warn(&list, err, "%zu slide%s could not be used; the reasons stand under Data.", n, n == 1 ? "" : "s"));
    }
    for (size_t i = 0; i < run->problems.count; i++) SW_TRY(sw_names_add(&list, run->problems.name[i], err));
    put_selected_on_test(b, run);
    put_alarms(b, run);
    if (list.count == 0) return SW_OK;
    sw_buf_puts(b, "<div class=\"warnings\" role=\"note\"><strong>Read with care</strong>\n<ul>\n");
    for (size_t i = 0; i < list.count; i++) {
        sw_html_element(b, "li", NULL, list.name[i]);
        sw_buf_puts(b, "\n");
    }
    sw_buf_puts(b, "</ul></div>\n");
    return SW_OK;
}
