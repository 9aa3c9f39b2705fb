/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics with intervals, ROC curves and the confusion matrix of each split. */
#include <math.h>
#include <stdio.h>

#include "base/mem.h"
#include "report/chart.h"
#include "report/html.h"
#include "report/page.h"

#define MAX_CURVES 8

void sw_page_metric_row(sw_buf *b, const char *title, const sw_metric_value *v)
{
    sw_buf_puts(b, "<tr>");
    sw_html_element(b, "td", NULL, title);
    sw_html_number_cell(b, v->value, 4);
    if (isfinite(v->low)) {
        sw_buf_printf(b, "<td class=\"ci\">%.3f &ndash; %.3f</td>", v->low, v->high);
    } else {
        sw_buf_puts(b, "<td>&ndash;</td>");
    }
    sw_buf_puts(b, "<td class=\"bars\">");
    sw_chart_interval(b, v->value, v->low, v->high, 150);
    sw_buf_puts(b, "</td>");
    sw_html_number_cell(b, v->mean, 4);
    sw_html_number_cell(b, v->sd, 4);
    sw_buf_puts(b, "</tr>\n");
}

static void metric_table(sw_buf *b, const sw_evaluation *e)
{
    static const char *const head[] = {"metric", "#value", "95 % interval", "", "#bootstrap mean", "#sd", NULL};
    sw_buf_puts(b, "<div class=\"scroll\"><table>\n");
    sw_html_head_row(b, head);
    sw_buf_puts(b, "<tbody>\n");
    for (int m = 0; m < SW_METRIC_COUNT; m++) sw_page_metric_row(b, sw_metric_title((sw_metric_id)m), &e->metric[m]);
    sw_buf_puts(b, "</tbody></table></div>\n");
}

static void class_table(sw_buf *b, const sw_evaluation *e)
{
    static const char *const head[] = {"class", "#slides", "#predicted", "#recall", "#specificity", "#precision", "#F1", "#AUC",
                                       NULL};
    sw_buf_puts(b, "<h3>By class</h3>\n<div class=\"scroll\"><table>\n");
    sw_html_head_row(b, head);
    sw_buf_puts(b, "<tbody>\n");
    for (int c = 0; c < e->n_classes; c++) {
        const sw_class_metrics *m = &e->per_class[c];
        sw_buf_puts(b, "<tr>");
        sw_html_element(b, "td", "id", e->class_name[c]);
        sw_html_count_cell(b, m->support);
        sw_html_count_cell(b, m->predicted);
        sw_html_number_cell(b, m->recall, 3);
        sw_html_number_cell(b, m->specificity, 3);
        sw_html_number_cell(b, m->precision, 3);
        sw_html_number_cell(b, m->f1, 3);
        sw_html_number_cell(b, m->auc, 3);
        sw_buf_puts(b, "</tr>\n");
    }
    sw_buf_puts(b, "</tbody></table></div>\n");
}

static void confusion_table(sw_buf *b, const sw_evaluation *e)
{
    sw_buf_puts(b, "<div><h3>Confusion matrix</h3>\n<div class=\"scroll\"><table class=\"confusion\">\n<thead><tr><th>label \\ "
                   "predicted</th>");
    for (int c = 0; c < e->n_classes; c++) sw_html_element(b, "th", NULL, e->class_name[c]);
    sw_buf_puts(b, "</tr></thead>\n<tbody>\n");
    for (int i = 0; i < e->n_classes; i++) {
        sw_buf_puts(b, "<tr>");
        sw_html_element(b, "th", NULL, e->class_name[i]);
        for (int j = 0; j < e->n_classes; j++) {
            long long n = (long long)e->confusion[i * e->n_classes + j];
            if (e->per_class[i].support == 0) { /* no share of nothing */
                sw_buf_puts(b, "<td>0<span>&ndash;</span></td>");
                continue;
            }
            double share = (double)n / (double)e->per_class[i].support;
            sw_buf_printf(b, "<td style=\"background:rgba(var(--shade),%.2f)\">%lld<span>%.0f %%</span></td>", share * 0.5, n,
                          100 * share);
        }
        sw_buf_puts(b, "</tr>\n");
    }
    sw_buf_puts(b, "</tbody></table></div>\n<p class=\"note\">Slides; the shade and the percentage are shares of the label's "
                   "row.</p></div>\n");
}

typedef struct curves {
    sw_roc roc[MAX_CURVES];
    const char *name[MAX_CURVES];
    int color[MAX_CURVES];
    size_t n;
} curves;

static void curves_free(curves *c)
{
    for (size_t i = 0; i < c->n; i++) sw_roc_free(&c->roc[i]);
}

/* With two classes one curve tells all; it is the second class's. */
static sw_status roc_figure(sw_buf *b, const sw_run_split *s, int64_t resamples, sw_error *err)
{
    SW_CLEANUP(curves_free) curves c = {0};
    const sw_evaluation *e = &s->eval;
    sw_buf_puts(b, "<div><h3>ROC</h3>\n");
    if (!s->has_predictions) {
        sw_html_missing(b, "There is no predictions_%s.csv to draw curves from.", s->name);
        sw_buf_puts(b, "</div>\n");
        return SW_OK;
    }
    for (int k = s->preds.n_classes == 2; k < s->preds.n_classes && c.n < MAX_CURVES; k++) {
        sw_error why = {0};
        sw_status status = sw_roc_curve(&s->preds, k, s->preds.n_classes == 2 ? resamples : 0, 0, &c.roc[c.n], &why);
        if (status == SW_E_INVALID) continue; /* one side is empty: the table of classes says it */
        if (status != SW_OK) return sw_error_set(err, why.code, "%s", why.message);
        c.name[c.n] = s->preds.class_name[k];
        c.color[c.n] = s->preds.n_classes == 2 ? 1 : (int)(c.n % 8) + 1;
        c.n++;
    }
    if (c.n == 0) {
        sw_html_missing(b, "No class has both positive and negative slides: there is no ROC curve.");
    } else {
        sw_chart_roc(b, c.roc, c.name, c.color, c.n);
        if (c.roc[0].band) sw_buf_puts(b, "<p class=\"note\">Band: 95 % of the resampled curves at each false positive rate.</p>\n");
        if (e->n_classes > MAX_CURVES) sw_buf_printf(b, "<p class=\"note\">The first %d classes.</p>\n", MAX_CURVES);
    }
    sw_buf_puts(b, "</div>\n");
    return SW_OK;
}

static sw_status split_results(sw_buf *b, const sw_run_split *s, int64_t resamples, sw_error *err)
{
    const sw_evaluation *e = &s->eval;
    sw_buf_printf(b, "<p>%lld labelled slides", (long long)e->count);
    if (e->unlabelled) sw_buf_printf(b, ", %lld without a label left out", (long long)e->unlabelled);
    if (e->resamples) sw_buf_printf(b, "; intervals from %lld bootstrap resamples of the slides", (long long)e->resamples);
    sw_buf_puts(b, ".</p>\n");
    metric_table(b, e);
    sw_buf_puts(b, "<div class=\"two\">\n");
    SW_TRY(roc_figure(b, s, resamples, err));
    confusion_table(b, e);
    sw_buf_puts(b, "</div>\n");
    class_table(b, e);
    return SW_OK;
}

sw_status sw_page_results(sw_buf *b, const sw_run_files *run, int64_t resamples, sw_error *err)
{
    const sw_run_split *main_split = sw_page_main_split(run);
    sw_html_section(b, "results", "Results");
    if (sw_page_survival_split(run)) SW_TRY(sw_page_survival_results(b, run, err));
    else if (!main_split) sw_html_missing(b, "There are no predictions with labels in this run, so there are no metrics.");
    for (size_t i = 0; i < run->n_splits; i++) {
        const sw_run_split *s = &run->split[i];
        if (!s->has_metrics) continue;
        if (s != main_split) {
            sw_buf_puts(b, "<details><summary>Split ");
            sw_html_text(b, s->name);
            sw_buf_puts(b, "</summary>\n");
        } else {
            sw_buf_puts(b, "<h3>Split ");
            sw_html_text(b, s->name);
            sw_buf_puts(b, "</h3>\n");
        }
        SW_TRY(split_results(b, s, resamples, err));
        if (s != main_split) sw_buf_puts(b, "</details>\n");
    }
    if (main_split) {
        sw_buf_puts(b, "<p class=\"note\">Balanced accuracy is the mean recall of the classes that are labelled or predicted. AUC "
                       "is the mean of one class against the rest; a class without positive or negative slides is left out. "
                       "Intervals are the 2.5 and 97.5 percentiles of the resamples: they say what another sample of as many "
                       "slides would give, not what another hospital, scanner or training seed would.</p>\n");
    }
    sw_html_end_section(b);
    return SW_OK;
}
