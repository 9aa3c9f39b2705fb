/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics of weighted slides: from a confusion matrix, and AUC from scores that are sorted once. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "eval/eval.h"

static const struct {
    const char *name, *title;
} METRICS[] = {
    [SW_METRIC_ACCURACY] = {"accuracy", "accuracy"},
    [SW_METRIC_BALANCED_ACCURACY] = {"balanced_accuracy", "balanced accuracy"},
    [SW_METRIC_AUC] = {"auc", "AUC"},
    [SW_METRIC_F1] = {"f1", "F1, macro"},
    [SW_METRIC_PRECISION] = {"precision", "precision, macro"},
    [SW_METRIC_KAPPA] = {"kappa", "Cohen's kappa"},
    [SW_METRIC_KAPPA_QUADRATIC] = {"kappa_quadratic", "kappa, quadratic"},
    [SW_METRIC_C_INDEX] = {"c_index", "c-index"},
    [SW_METRIC_C_INDEX_IPCW] = {"c_index_ipcw", "c-index, IPCW"},
    [SW_METRIC_AUC_TD] = {"auc_td", "time-dependent AUC"},
    [SW_METRIC_IBS] = {"ibs", "Brier score, integrated"},
};
_Static_assert(sizeof METRICS / sizeof *METRICS == SW_METRIC_END, "every metric has a name");

const char *sw_metric_name(sw_metric_id id)
{
    return METRICS[id].name;
}

const char *sw_metric_title(sw_metric_id id)
{
    return METRICS[id].title;
}

int sw_metric_find(const char *name)
{
    for (int m = 0; m < SW_METRIC_END; m++) {
        if (strcmp(METRICS[m].name, name) == 0) return m;
    }
    return -1;
}

sw_metric_options sw_metric_options_default(void)
{
    return (sw_metric_options){.auc_absent_zero = false};
}

void sw_scored_free(sw_scored *s)
{
    sw_free(s->label);
    sw_free(s->predicted);
    sw_free(s->score);
    sw_free(s->order);
    sw_free(s->tie_ends);
    *s = (sw_scored){0};
}

static int by_falling_score(const void *a, const void *b, void *scores)
{
    int32_t i = *(const int32_t *)a, j = *(const int32_t *)b;
    const double *score = scores;
    if (score[i] != score[j]) return score[i] < score[j] ? 1 : -1;
    return (i > j) - (i < j);
}

static void sort_class(sw_scored *s, int c)
{
    double *score = s->score + c * s->count;
    int32_t *order = s->order + c * s->count;
    uint8_t *ends = s->tie_ends + c * s->count;
    for (int64_t i = 0; i < s->count; i++) order[i] = (int32_t)i;
    qsort_r(order, (size_t)s->count, sizeof *order, by_falling_score, score);
    for (int64_t i = 0; i < s->count; i++) {
        ends[i] = i + 1 == s->count || score[order[i]] != score[order[i + 1]];
    }
}

static sw_status allocate(sw_scored *s, sw_error *err)
{
    size_t n = (size_t)s->count, all = n * (size_t)s->n_classes;
    s->label = sw_calloc(n, sizeof *s->label);
    s->predicted = sw_calloc(n, sizeof *s->predicted);
    s->score = sw_calloc(all, sizeof *s->score);
    s->order = sw_calloc(all, sizeof *s->order);
    s->tie_ends = sw_calloc(all, sizeof *s->tie_ends);
    return s->label && s->predicted && s->score && s->order && s->tie_ends ? SW_OK : sw_nomem(err);
}

static int argmax(const double *row, int n)
{
    int best = 0;
    for (int c = 1; c < n; c++) {
        if (row[c] > row[best]) best = c;
    }
    return best;
}

sw_status sw_scored_new(int64_t count, int n_classes, const double *probability, const int *label, const int *predicted,
                        sw_scored *out, sw_error *err)
{
    SW_CLEANUP(sw_scored_free) sw_scored s = {.count = count, .n_classes = n_classes};
    if (count < 1) return sw_error_set(err, SW_E_INVALID, "there is no labelled slide to evaluate");
    if (count > (int64_t)1 << 24) return sw_error_set(err, SW_E_INVALID, "%lld slides are too many", (long long)count);
    if (n_classes < 2) return sw_error_set(err, SW_E_INVALID, "metrics need at least 2 classes, not %d", n_classes);
    SW_TRY(allocate(&s, err));
    for (int64_t i = 0; i < count; i++) {
        const double *row = probability + i * n_classes;
        s.label[i] = label[i];
        s.predicted[i] = predicted ? predicted[i] : argmax(row, n_classes);
        if (label[i] < 0 || label[i] >= n_classes || s.predicted[i] < 0 || s.predicted[i] >= n_classes) {
            return sw_error_set(err, SW_E_INVALID, "slide %lld: label %d or prediction %d is not one of %d classes",
                                (long long)i, label[i], s.predicted[i], n_classes);
        }
        for (int c = 0; c < n_classes; c++) {
            double p = n_classes == 2 && c == 0 ? -row[1] : row[c];
            if (isnan(p)) return sw_error_set(err, SW_E_INVALID, "slide %lld: a probability is not a number", (long long)i);
            s.score[c * count + i] = p;
        }
    }
    for (int c = 0; c < n_classes; c++) sort_class(&s, c);
    *out = s;
    s = (sw_scored){0};
    return SW_OK;
}

double sw_scored_auc(const sw_scored *s, int class_index, const int32_t *weight)
{
    const int32_t *order = s->order + class_index * s->count;
    const uint8_t *ends = s->tie_ends + class_index * s->count;
    int64_t positives = 0, negatives = 0; /* so far, from the highest score down */
    int64_t tied_pos = 0, tied_neg = 0;   /* in the current group of equal scores */
    double pairs = 0;                     /* ordered pairs won; ties count one half */
    for (int64_t i = 0; i < s->count; i++) {
        int32_t slide = order[i];
        *(s->label[slide] == class_index ? &tied_pos : &tied_neg) += weight ? weight[slide] : 1;
        if (!ends[i]) continue;
        pairs += (double)tied_neg * ((double)positives + 0.5 * (double)tied_pos);
        positives += tied_pos;
        negatives += tied_neg;
        tied_pos = tied_neg = 0;
    }
    return positives > 0 && negatives > 0 ? pairs / ((double)positives * (double)negatives) : NAN;
}

void sw_scored_confusion(const sw_scored *s, const int32_t *weight, int64_t *confusion)
{
    for (int64_t i = 0; i < s->count; i++) {
        confusion[s->label[i] * s->n_classes + s->predicted[i]] += weight ? weight[i] : 1;
    }
}

double sw_auc_macro(const double *class_auc, int n_classes, const sw_metric_options *options, int *left_out)
{
    double sum = 0;
    int used = 0, absent = 0;
    for (int c = 0; c < n_classes; c++) {
        if (isnan(class_auc[c])) {
            absent++;
        } else {
            sum += class_auc[c];
            used++;
        }
    }
    if (left_out) *left_out = absent;
    if (options->auc_absent_zero) return sum / n_classes;
    return used ? sum / used : NAN;
}

static double ratio(int64_t part, int64_t whole)
{
    return whole ? (double)part / (double)whole : NAN;
}

void sw_class_metrics_of(const int64_t *confusion, int n_classes, int class_index, sw_class_metrics *out)
{
    int64_t total = 0;
    *out = (sw_class_metrics){.tp = confusion[class_index * n_classes + class_index], .auc = NAN};
    for (int i = 0; i < n_classes; i++) {
        out->support += confusion[class_index * n_classes + i];
        out->predicted += confusion[i * n_classes + class_index];
        for (int j = 0; j < n_classes; j++) total += confusion[i * n_classes + j];
    }
    out->fn = out->support - out->tp;
    out->fp = out->predicted - out->tp;
    out->tn = total - out->tp - out->fn - out->fp;
    out->recall = ratio(out->tp, out->support);
    out->specificity = ratio(out->tn, out->tn + out->fp);
    out->precision = ratio(out->tp, out->predicted);
    out->f1 = ratio(2 * out->tp, 2 * out->tp + out->fp + out->fn);
}

/* 1 - observed / expected disagreement; |i - j|^2 weights when quadratic. */
static double kappa(const int64_t *confusion, int n_classes, bool quadratic)
{
    double observed = 0, expected = 0, total = 0;
    for (int i = 0; i < n_classes * n_classes; i++) total += (double)confusion[i];
    for (int i = 0; i < n_classes; i++) {
        for (int j = 0; j < n_classes; j++) {
            double row = 0, column = 0, w = quadratic ? (double)(i - j) * (i - j) : (i != j);
            for (int k = 0; k < n_classes; k++) {
                row += (double)confusion[i * n_classes + k];
                column += (double)confusion[k * n_classes + j];
            }
            observed += w * (double)confusion[i * n_classes + j];
            expected += w * row * column / total;
        }
    }
    return expected > 0 ? 1 - observed / expected : NAN;
}

void sw_metrics_of_confusion(const int64_t *confusion, int n_classes, double *out)
{
    double recall = 0, precision = 0, f1 = 0;
    int64_t correct = 0, total = 0;
    int used = 0;
    for (int c = 0; c < n_classes; c++) {
        sw_class_metrics m;
        sw_class_metrics_of(confusion, n_classes, c, &m);
        correct += m.tp;
        total += m.support;
        if (m.tp + m.fp + m.fn == 0) continue; /* neither labelled nor predicted: nothing to measure */
        used++;
        recall += m.support ? m.recall : 0;
        precision += m.predicted ? m.precision : 0;
        f1 += m.f1;
    }
    out[SW_METRIC_ACCURACY] = ratio(correct, total);
    out[SW_METRIC_BALANCED_ACCURACY] = used ? recall / used : NAN;
    out[SW_METRIC_PRECISION] = used ? precision / used : NAN;
    out[SW_METRIC_F1] = used ? f1 / used : NAN;
    out[SW_METRIC_KAPPA] = kappa(confusion, n_classes, false);
    out[SW_METRIC_KAPPA_QUADRATIC] = kappa(confusion, n_classes, true);
}

void sw_scored_metrics(const sw_scored *s, const int32_t *weight, const sw_metric_options *options, int64_t *confusion,
                       double *class_auc, double *out)
{
    memset(confusion, 0, (size_t)(s->n_classes * s->n_classes) * sizeof *confusion);
    sw_scored_confusion(s, weight, confusion);
    sw_metrics_of_confusion(confusion, s->n_classes, out);
    for (int c = 0; c < s->n_classes; c++) {
        class_auc[c] = s->n_classes == 2 && c == 1 ? class_auc[0] : sw_scored_auc(s, c, weight);
    }
    out[SW_METRIC_AUC] = sw_auc_macro(class_auc, s->n_classes, options, NULL);
}

sw_status sw_metrics_compute(int64_t count, int n_classes, const double *probability, const int *label,
                             const int *predicted, const sw_metric_options *options, double *out, sw_error *err)
{
    SW_CLEANUP(sw_scored_free) sw_scored s = {0};
    sw_metric_options opt = options ? *options : sw_metric_options_default();
    SW_AUTOFREE int64_t *confusion = NULL;
    SW_AUTOFREE double *class_auc = NULL;
    SW_TRY(sw_scored_new(count, n_classes, probability, label, predicted, &s, err));
    confusion = sw_calloc((size_t)(n_classes * n_classes), sizeof *confusion);
    class_auc = sw_calloc((size_t)n_classes, sizeof *class_auc);
    if (!confusion || !class_auc) return sw_nomem(err);
    sw_scored_metrics(&s, NULL, &opt, confusion, class_auc, out);
    return SW_OK;
}
