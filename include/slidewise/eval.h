/* SPDX-License-Identifier: Apache-2.0 */
/* Evaluation of slide predictions: metrics, bootstrap intervals, ROC curves, sparsity of attention. */
#ifndef SLIDEWISE_EVAL_H
#define SLIDEWISE_EVAL_H

#include <stddef.h>
#include <stdint.h>

#include "slidewise/error.h"
#include "slidewise/log.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- predictions -------------------------------------------------------------------------------- */

/* What a model says of a list of slides. Start from {0} and sw_predictions_begin. All arrays are owned. */
typedef struct sw_predictions {
    int n_classes;
    char **class_name;   /* [n_classes] */
    int64_t count;       /* rows */
    char **slide_id;     /* [count] */
    char **case_id;      /* [count] */
    int *label;          /* [count] class index; -1: unknown */
    int *predicted;      /* [count] class index */
    double *probability; /* [count, n_classes] */
    int64_t capacity;
} sw_predictions;

/* Copies the class names into an empty (zeroed) `out`. At least 2 classes, names not empty, no name twice. */
SW_API sw_status sw_predictions_begin(sw_predictions *out, int n_classes, const char *const *class_names,
                                      sw_error *err) SW_MUST_CHECK;
/* Appends a row (texts and numbers are copied). label -1: unknown; predicted -1: the largest probability,
 * lowest index on ties; case_id NULL: the slide's id. Probabilities must be in [0, 1] and sum to 1 (1e-3). */
SW_API sw_status sw_predictions_add(sw_predictions *preds, const char *slide_id, const char *case_id, int label,
                                    int predicted, const double *probability, sw_error *err) SW_MUST_CHECK;
SW_API void sw_predictions_free(sw_predictions *preds); /* frees the members and zeroes; NULL is fine */

/* predictions_<split>.csv: header slide_id,case_id,label,predicted,p_<class>… in class order; label and
 * predicted are class names (label empty: unknown), probabilities have 9 significant digits. Reading is
 * strict: each problem is one sentence with file, line and value. */
SW_API sw_status sw_predictions_write(const sw_predictions *preds, const char *path, sw_error *err) SW_MUST_CHECK;
SW_API sw_status sw_predictions_read(const char *path, sw_predictions *out, sw_error *err) SW_MUST_CHECK;

/* ---- metrics ------------------------------------------------------------------------------------ */

typedef enum sw_metric_id {
    SW_METRIC_ACCURACY,          /* correct / slides */
    SW_METRIC_BALANCED_ACCURACY, /* macro recall */
    SW_METRIC_AUC,               /* macro one-vs-rest; binary: AUC of the second class */
    SW_METRIC_F1,                /* macro */
    SW_METRIC_PRECISION,         /* macro */
    SW_METRIC_KAPPA,             /* Cohen's, unweighted */
    SW_METRIC_KAPPA_QUADRATIC,   /* Cohen's, quadratic weights (class order is the scale) */
    SW_METRIC_COUNT,             /* classification ends here, survival (survival.h) begins */
    SW_METRIC_C_INDEX = SW_METRIC_COUNT, /* Harrell's concordance index */
    SW_METRIC_C_INDEX_IPCW,      /* Uno's: pairs weighted by the inverse probability of censoring */
    SW_METRIC_AUC_TD,            /* time-dependent AUC, mean over the times */
    SW_METRIC_IBS,               /* integrated Brier score; the smaller the better */
    SW_METRIC_END
} sw_metric_id;
SW_API const char *sw_metric_name(sw_metric_id id);  /* "balanced_accuracy": key in files and configs */
SW_API const char *sw_metric_title(sw_metric_id id); /* "balanced accuracy": for people */
SW_API int sw_metric_find(const char *name);         /* -1: no such metric */

/* Rules. Macro recall, precision and F1: a class that is neither in the labels nor among the predictions
 * (tp + fp + fn = 0) is left out of the mean; a class that is only predicted counts with 0 (0/0 is 0).
 * AUC: exact, trapezoidal, tied scores grouped. A class with no positive or no negative slide has no ROC
 * curve: by default it is left out of the mean (and listed in sw_evaluation.auc_left_out), with
 * `auc_absent_zero` it counts with 0, as torchmetrics does and the reference implementation reports.
 * Kappa is undefined (NaN) when labels and predictions all name one class. */
typedef struct sw_metric_options {
    bool auc_absent_zero; /* default false */
} sw_metric_options;
SW_API sw_metric_options sw_metric_options_default(void);

/* All metrics of `count` slides at once; NaN where one is undefined. probability [count, n_classes]; label
 * and predicted [count] in [0, n_classes). predicted NULL: argmax of the row, lowest index on ties.
 * out [SW_METRIC_COUNT]. */
SW_API sw_status sw_metrics_compute(int64_t count, int n_classes, const double *probability, const int *label,
                                    const int *predicted, const sw_metric_options *options, double *out,
                                    sw_error *err) SW_MUST_CHECK;

/* A metric with its bootstrap. All NaN where it is undefined. */
typedef struct sw_metric_value {
    double value;      /* on the slides as they are */
    double mean, sd;   /* over the resamples where it is defined; sd with n - 1 */
    double low, high;  /* 2.5 and 97.5 percentile, linear interpolation */
    int64_t undefined; /* resamples left out because the metric is undefined there */
} sw_metric_value;

typedef struct sw_class_metrics {
    int64_t support;   /* slides with this label */
    int64_t predicted; /* slides predicted so */
    int64_t tp, fp, fn, tn;
    double recall, specificity, precision, f1; /* 0/0: NaN here (left out or 0 in the means, see above) */
    double auc;        /* one-vs-rest; NaN: absent */
} sw_class_metrics;

typedef struct sw_evaluation {
    char split[64];
    int n_classes;
    char **class_name;           /* [n_classes], owned */
    int64_t count;               /* labelled slides, which all numbers are about */
    int64_t unlabelled;          /* rows without a label, left out */
    int64_t resamples;           /* 0: no bootstrap was made */
    int64_t *confusion;          /* [n_classes, n_classes] rows: label, columns: predicted; owned */
    sw_class_metrics *per_class; /* [n_classes], owned */
    int auc_left_out;            /* classes that have no ROC curve */
    sw_metric_value metric[SW_METRIC_COUNT];
} sw_evaluation;

typedef struct sw_eval_options {
    int64_t resamples; /* default 1000; 0: none */
    int fold;          /* seeds the index generator as the reference does; default 0 */
    sw_metric_options metric;
} sw_eval_options;
SW_API sw_eval_options sw_eval_options_default(void);

/* Metrics and bootstrap of the labelled rows; *out (zeroed by the caller) is owned by the caller. */
SW_API sw_status sw_evaluate(const sw_predictions *preds, const char *split, const sw_eval_options *options,
                             sw_evaluation *out, sw_error *err) SW_MUST_CHECK;
SW_API void sw_evaluation_free(sw_evaluation *eval);

/* metrics_<split>.json:
 * {"split","slides","unlabelled","classes":[…],"resamples",
 *  "metrics":{"auc":{"value","mean","sd","low","high","undefined"},…},
 *  "confusion":[[…]],"per_class":[{"class","support","predicted","recall","specificity","precision","f1","auc"}],
 *  "auc_left_out"}; undefined numbers are null. */
SW_API sw_status sw_evaluation_write(const sw_evaluation *eval, const char *path, sw_error *err) SW_MUST_CHECK;
SW_API sw_status sw_evaluation_read(const char *path, sw_evaluation *out, sw_error *err) SW_MUST_CHECK;
/* A table for a terminal (metrics, confusion matrix, classes); *text is owned: sw_evaluation_text_free. */
SW_API sw_status sw_evaluation_text(const sw_evaluation *eval, char **text, sw_error *err) SW_MUST_CHECK;
/* The JSON that sw_evaluation_write writes; *text is owned: sw_evaluation_text_free. */
SW_API sw_status sw_evaluation_json(const sw_evaluation *eval, char **text, sw_error *err) SW_MUST_CHECK;
SW_API void sw_evaluation_text_free(char *text); /* NULL is fine */

/* Evaluates RUN/predictions_<split>.csv and writes RUN/metrics_<split>.json. `out` may be NULL. */
SW_API sw_status sw_eval_run(const char *run_dir, const char *split, const sw_eval_options *options,
                             sw_evaluation *out, sw_error *err) SW_MUST_CHECK;

/* ---- bootstrap ---------------------------------------------------------------------------------- */

/* Indices of `resamples` consecutive resamples of `count` slides, drawn as the reference implementation
 * draws them (MT19937 seeded with 7784414403328510413 + fold; torch's multinomial), so that its intervals
 * can be repeated. out [resamples, count]; count in [1, 2^24]. */
SW_API sw_status sw_bootstrap_indices(int64_t count, int fold, int64_t resamples, int32_t *out, sw_error *err)
    SW_MUST_CHECK;

/* ---- ROC ---------------------------------------------------------------------------------------- */

typedef struct sw_roc {
    int64_t points;
    double *fpr, *tpr;  /* [points], from (0,0) to (1,1), one point per distinct score */
    double *threshold;  /* [points], a slide is positive when its score >= threshold; first +inf */
    double auc;
    int band;           /* grid points of the band; 0: none */
    double *band_fpr, *band_low, *band_high; /* [band] 2.5 and 97.5 percentile of tpr over resamples */
} sw_roc;

/* One-vs-rest curve of a class. resamples 0: no band. SW_E_INVALID when the class has no positive or no
 * negative slide. */
SW_API sw_status sw_roc_curve(const sw_predictions *preds, int class_index, int64_t resamples, int fold,
                              sw_roc *out, sw_error *err) SW_MUST_CHECK;
SW_API void sw_roc_free(sw_roc *roc);

/* Area under the ROC curve of `count` scores, ties grouped; NaN when one side is empty or on no memory. */
SW_API double sw_auc(int64_t count, const double *score, const bool *positive);

/* ---- attention ---------------------------------------------------------------------------------- */

/* How sparse a slide's attention is, averaged over heads first (a_n, summing to 1). */
typedef struct sw_attention_stats {
    int64_t n_patches;
    double threshold;
    double sparsity;    /* 100 * share of patches whose min-max scaled attention is below `threshold` */
    double below_mean;  /* share of patches with a_n < 1/N */
    double entropy_gap; /* 1 - H(a) / ln N: 0 uniform, 1 one patch */
    double gini;        /* 0 uniform, (N-1)/N one patch */
} sw_attention_stats;

/* attention [n_heads, n_patches], not negative; each head is normalised to sum 1. threshold 0: 0.1.
 * With one patch, or the same attention everywhere, all four measures are 0. */
SW_API sw_status sw_attention_measure(const float *attention, int n_heads, int64_t n_patches, double threshold,
                                      sw_attention_stats *out, sw_error *err) SW_MUST_CHECK;

#ifdef __cplusplus
}
#endif

#endif
