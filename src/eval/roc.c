/* SPDX-License-Identifier: Apache-2.0 */
/* ROC curves: exact points, and a pointwise bootstrap band. */
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "eval/eval.h"

#define BAND_POINTS 101 /* false positive rates 0, 0.01 … 1 */

void sw_roc_free(sw_roc *roc)
{
    if (!roc) return;
    sw_free(roc->fpr);
    sw_free(roc->tpr);
    sw_free(roc->threshold);
    sw_free(roc->band_fpr);
    sw_free(roc->band_low);
    sw_free(roc->band_high);
    *roc = (sw_roc){0};
}

typedef struct side {
    int64_t n; /* labelled slides */
    double *score;
    bool *positive;
} side;

static void side_free(side *s)
{
    sw_free(s->score);
    sw_free(s->positive);
}

/* Labelled slides in falling order of the class's score. */
typedef struct ranked {
    double score;
    bool positive;
    int64_t at; /* among the labelled slides: what the bootstrap draws */
} ranked;

static int by_falling_score(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->score != y->score) return x->score < y->score ? 1 : -1;
    return (x->at > y->at) - (x->at < y->at);
}

static ranked *rank(const side *s)
{
    ranked *r = sw_calloc((size_t)s->n, sizeof *r);
    if (!r) return NULL;
    for (int64_t i = 0; i < s->n; i++) r[i] = (ranked){s->score[i], s->positive[i], i};
    qsort(r, (size_t)s->n, sizeof *r, by_falling_score);
    return r;
}

/* Walks the curve of weighted slides, one point per distinct score: fpr, tpr [n + 1] counts as rates.
 * Returns the number of points, 0 when a side is empty. threshold may be NULL. */
static int64_t walk(const ranked *r, int64_t n, const int32_t *weight, double *fpr, double *tpr, double *threshold)
{
    int64_t points = 1, pos = 0, neg = 0;
    fpr[0] = tpr[0] = 0;
    if (threshold) threshold[0] = INFINITY;
    for (int64_t i = 0; i < n; i++) {
        *(r[i].positive ? &pos : &neg) += weight ? weight[r[i].at] : 1;
        if (i + 1 < n && r[i + 1].score == r[i].score) continue;
        fpr[points] = (double)neg;
        tpr[points] = (double)pos;
        if (threshold) threshold[points] = r[i].score;
        points++;
    }
    if (pos == 0 || neg == 0) return 0;
    for (int64_t i = 0; i < points; i++) {
        fpr[i] /= (double)neg;
        tpr[i] /= (double)pos;
    }
    return points;
}

static double area(const double *fpr, const double *tpr, int64_t points)
{
    double sum = 0;
    for (int64_t i = 1; i < points; i++) sum += (fpr[i] - fpr[i - 1]) * (tpr[i] + tpr[i - 1]) / 2;
    return sum;
}

double sw_auc(int64_t count, const double *score, const bool *positive)
{
    side s = {.n = count, .score = (double *)score, .positive = (bool *)positive}; /* only read */
    SW_AUTOFREE ranked *r = count > 0 ? rank(&s) : NULL;
    SW_AUTOFREE double *fpr = r ? sw_calloc((size_t)count + 1, sizeof *fpr) : NULL;
    SW_AUTOFREE double *tpr = r ? sw_calloc((size_t)count + 1, sizeof *tpr) : NULL;
    int64_t points;
    if (!fpr || !tpr) return NAN;
    points = walk(r, count, NULL, fpr, tpr, NULL);
    return points ? area(fpr, tpr, points) : NAN;
}

/* The curve's highest tpr at each grid point (straight lines between its points). */
static void sample(const double *fpr, const double *tpr, int64_t points, double *out)
{
    int64_t i = 0;
    for (int g = 0; g < BAND_POINTS; g++) {
        double x = (double)g / (BAND_POINTS - 1);
        while (i + 1 < points && fpr[i + 1] <= x) i++;
        out[g] = tpr[i];
        if (i + 1 < points) out[g] += (x - fpr[i]) / (fpr[i + 1] - fpr[i]) * (tpr[i + 1] - tpr[i]);
    }
}

static sw_status make_band(const ranked *r, int64_t n, int64_t resamples, int fold, sw_roc *roc, sw_error *err)
{
    SW_AUTOFREE int32_t *weight = sw_calloc((size_t)n, sizeof *weight);
    SW_AUTOFREE double *fpr = sw_calloc((size_t)n + 1, sizeof *fpr);
    SW_AUTOFREE double *tpr = sw_calloc((size_t)n + 1, sizeof *tpr);
    SW_AUTOFREE double *values = sw_calloc((size_t)resamples * BAND_POINTS, sizeof *values);
    sw_bootstrap generator;
    int64_t used = 0;
    roc->band_fpr = sw_calloc(BAND_POINTS, sizeof(double));
    roc->band_low = sw_calloc(BAND_POINTS, sizeof(double));
    roc->band_high = sw_calloc(BAND_POINTS, sizeof(double));
    if (!weight || !fpr || !tpr || !values || !roc->band_fpr || !roc->band_low || !roc->band_high) return sw_nomem(err);
    sw_bootstrap_begin(&generator, n, fold);
    for (int64_t i = 0; i < resamples; i++) {
        double at[BAND_POINTS];
        int64_t points;
        sw_bootstrap_weights(&generator, weight);
        points = walk(r, n, weight, fpr, tpr, NULL);
        if (!points) continue; /* a resample of one side has no curve */
        sample(fpr, tpr, points, at);
        for (int g = 0; g < BAND_POINTS; g++) values[g * resamples + used] = at[g];
        used++;
    }
    if (!used) return SW_OK;
    roc->band = BAND_POINTS;
    for (int g = 0; g < BAND_POINTS; g++) {
        qsort(values + g * resamples, (size_t)used, sizeof *values, sw_compare_doubles);
        roc->band_fpr[g] = (double)g / (BAND_POINTS - 1);
        roc->band_low[g] = sw_percentile(values + g * resamples, used, 2.5);
        roc->band_high[g] = sw_percentile(values + g * resamples, used, 97.5);
    }
    return SW_OK;
}

static sw_status collect(const sw_predictions *preds, int class_index, side *s, sw_error *err)
{
    int k = preds->n_classes;
    int64_t positives = 0;
    s->score = sw_calloc((size_t)preds->count, sizeof *s->score);
    s->positive = sw_calloc((size_t)preds->count, sizeof *s->positive);
    if (!s->score || !s->positive) return sw_nomem(err);
    for (int64_t i = 0; i < preds->count; i++) {
        if (preds->label[i] < 0) continue;
        s->score[s->n] = preds->probability[i * k + class_index];
        s->positive[s->n] = preds->label[i] == class_index;
        positives += s->positive[s->n++];
    }
    if (positives == 0 || positives == s->n) {
        return sw_error_set(err, SW_E_INVALID, "class \"%s\" has %lld of %lld slides: a ROC curve needs both sides",
                            preds->class_name[class_index], (long long)positives, (long long)s->n);
    }
    return SW_OK;
}

sw_status sw_roc_curve(const sw_predictions *preds, int class_index, int64_t resamples, int fold, sw_roc *out,
                       sw_error *err)
{
    SW_CLEANUP(sw_roc_free) sw_roc roc = {0};
    SW_CLEANUP(side_free) side s = {0};
    SW_AUTOFREE ranked *r = NULL;
    if (class_index < 0 || class_index >= preds->n_classes) {
        return sw_error_set(err, SW_E_INVALID, "class %d is not one of %d", class_index, preds->n_classes);
    }
    SW_TRY(collect(preds, class_index, &s, err));
    r = rank(&s);
    roc.fpr = sw_calloc((size_t)s.n + 1, sizeof *roc.fpr);
    roc.tpr = sw_calloc((size_t)s.n + 1, sizeof *roc.tpr);
    roc.threshold = sw_calloc((size_t)s.n + 1, sizeof *roc.threshold);
    if (!r || !roc.fpr || !roc.tpr || !roc.threshold) return sw_nomem(err);
    roc.points = walk(r, s.n, NULL, roc.fpr, roc.tpr, roc.threshold);
    roc.auc = area(roc.fpr, roc.tpr, roc.points);
    if (resamples > 0) SW_TRY(make_band(r, s.n, resamples, fold, &roc, err));
    *out = roc;
    roc = (sw_roc){0};
    return SW_OK;
}
