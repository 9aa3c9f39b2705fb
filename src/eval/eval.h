/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of src/eval share: weighted metrics, and the reference's index generator. */
#ifndef SW_EVAL_EVAL_H
#define SW_EVAL_EVAL_H

#include <stddef.h>
#include <stdint.h>

#include "slidewise/eval.h"

/* The labelled slides, with each class's scores sorted once: every resample is then one sweep per class. */
typedef struct sw_scored {
    int64_t count;
    int n_classes;
    int *label;        /* [count] owned */
    int *predicted;    /* [count] owned */
    double *score;     /* [n_classes, count] owned; class-major */
    int32_t *order;    /* [n_classes, count] owned; indices by falling score */
    uint8_t *tie_ends; /* [n_classes, count] owned; 1: the next score in this order is lower */
} sw_scored;

/* count in [1, 2^24]. With two classes the first class's score is minus the second's, so that both curves
 * are the binary one, whatever rounding did to p_0. */
sw_status sw_scored_new(int64_t count, int n_classes, const double *probability, const int *label,
                        const int *predicted, sw_scored *out, sw_error *err) SW_MUST_CHECK;
void sw_scored_free(sw_scored *s);

/* AUC of one class when slide i counts weight[i] times; NaN without positives or without negatives. */
double sw_scored_auc(const sw_scored *s, int class_index, const int32_t *weight);
/* confusion [n_classes, n_classes] += weight; rows: label. */
void sw_scored_confusion(const sw_scored *s, const int32_t *weight, int64_t *confusion);
/* Mean of class AUCs [n_classes] under the option's rule; *left_out (may be NULL) counts NaN classes. */
double sw_auc_macro(const double *class_auc, int n_classes, const sw_metric_options *options, int *left_out);
/* Fills every metric but the AUC. */
void sw_metrics_of_confusion(const int64_t *confusion, int n_classes, double *out);
void sw_class_metrics_of(const int64_t *confusion, int n_classes, int class_index, sw_class_metrics *out);

/* All metrics of one (re)sample; scratch: confusion [K*K], class_auc [K]. */
void sw_scored_metrics(const sw_scored *s, const int32_t *weight, const sw_metric_options *options,
                       int64_t *confusion, double *class_auc, double *out);

typedef struct sw_bootstrap {
    uint32_t state[624];
    int used;
    int64_t count;
} sw_bootstrap;
void sw_bootstrap_begin(sw_bootstrap *b, int64_t count, int fold);
int64_t sw_bootstrap_draw(sw_bootstrap *b);                      /* one index */
void sw_bootstrap_weights(sw_bootstrap *b, int32_t *weight);     /* one resample: how often each slide was drawn */

/* Mean, deviation and percentiles of the defined ones among `value` [resamples] (sorted in place). */
void sw_metric_summarise(double *value, int64_t resamples, sw_metric_value *out);

/* Percentile (0..100) of sorted values by linear interpolation; NaN when empty. */
double sw_percentile(const double *sorted, int64_t count, double percent);
int sw_compare_doubles(const void *a, const void *b); /* for qsort, rising */

#endif
