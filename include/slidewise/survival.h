/* SPDX-License-Identifier: Apache-2.0 */
/* Evaluation of predicted risks against times to an event: concordance, time-dependent AUC, Brier score, Kaplan-Meier curves
 * of risk groups. Numbers agree with scikit-survival; where it raises an error, the number is NaN here and the text says why. */
#ifndef SLIDEWISE_SURVIVAL_H
#define SLIDEWISE_SURVIVAL_H

#include <stdbool.h>
#include <stdint.h>

#include "slidewise/error.h"
#include "slidewise/eval.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- measures. Arrays are borrowed. Only lack of memory is an error; what is undefined is NaN. */

/* Times, and whether the event was observed then (otherwise the case was last seen without it). */
typedef struct sw_outcomes {
    int64_t count;
    const double *time; /* [count] finite */
    const bool *event;  /* [count] */
} sw_outcomes;

typedef struct sw_concordance {
    double index; /* (concordant + tied / 2) / comparable; NaN without a comparable pair (all censored, one case, …) */
    int64_t concordant, discordant;
    int64_t tied_risk; /* risks at most 1e-8 apart count half */
    int64_t tied_time; /* comparable pairs of one time: an event, and a case censored then */
} sw_concordance;
/* Harrell's index. A pair is comparable when the one with the event has the smaller time, or the same time and the other is
 * censored; it is concordant when that one has the larger risk. */
SW_API sw_status sw_concordance_index(const sw_outcomes *outcomes, const double *risk, sw_concordance *out, sw_error *err)
    SW_MUST_CHECK;
/* Uno's index: a pair weighs 1 / G(t)^2, where G is the censoring distribution (Kaplan-Meier) of `train` and t the time of
 * the pair's event; events from `tau` on do not count (0: all). Events at times where G is 0, or is not known because no
 * training case was followed so long, do not count either (scikit-survival refuses them). */
SW_API sw_status sw_concordance_index_ipcw(const sw_outcomes *train, const sw_outcomes *test, const double *risk, double tau,
                                           sw_concordance *out, sw_error *err) SW_MUST_CHECK;

/* Kaplan and Meier's estimate with its pointwise 95 % interval (log-log, Greenwood). One point per distinct time. */
typedef struct sw_survival_curve {
    int64_t points;
    double *time, *survival, *low, *high; /* [points], owned; survival from this time on */
    int64_t *at_risk, *events;            /* [points], owned; just before and at this time */
} sw_survival_curve;
SW_API sw_status sw_kaplan_meier(const sw_outcomes *outcomes, sw_survival_curve *out, sw_error *err) SW_MUST_CHECK;
SW_API void sw_survival_curve_free(sw_survival_curve *curve); /* clears it; NULL is fine */
SW_API double sw_survival_curve_at(const sw_survival_curve *curve, double time); /* 1 before the first point */
/* The first time at which survival is at most `share`; NaN: it stays above. */
SW_API double sw_survival_curve_quantile(const sw_survival_curve *curve, double share);

/* Log-rank test of two groups. Both NaN where a group is empty or nothing can differ (no event). */
SW_API void sw_log_rank(const sw_outcomes *outcomes, const bool *second_group, double *chi2, double *p);

/* Cumulative/dynamic AUC at `times` [n_times], rising: cases are events until then, controls are those without one until
 * then; cases weigh 1 / G. auc [n_times]: NaN at a time outside [first, last) of the test times, without cases or without
 * controls. *mean: over the times where it is defined, weighted by the fall of the survival curve of `test` between them. */
SW_API sw_status sw_dynamic_auc(const sw_outcomes *train, const sw_outcomes *test, const double *risk, const double *times,
                                int n_times, double *auc, double *mean, sw_error *err) SW_MUST_CHECK;
/* Brier score at `times` of predicted survival [count, n_times], weighted by G. score [n_times], NaN as above;
 * *integrated: trapezoid over the times where it is defined, NaN with fewer than two. */
SW_API sw_status sw_brier_score(const sw_outcomes *train, const sw_outcomes *test, const double *survival, const double *times,
                                int n_times, double *score, double *integrated, sw_error *err) SW_MUST_CHECK;

/* ---- predictions: one row per bag (a case, or a slide) */

/* Start from {0} and sw_survival_predictions_begin. All arrays are owned. */
typedef struct sw_survival_predictions {
    int bins;         /* 0: the model gives a risk alone (Cox) */
    double *edge;     /* [bins - 1] where one bin of time ends and the next begins */
    int64_t count, capacity;
    char **case_id;   /* [count] */
    int64_t *slides;  /* [count] */
    double *time;     /* [count]; NaN: unknown, the row is left out of everything */
    bool *event;      /* [count] */
    double *risk;     /* [count] the larger the sooner */
    double *survival; /* [count, bins] probability to be without the event at the end of each bin */
} sw_survival_predictions;
SW_API sw_status sw_survival_predictions_begin(sw_survival_predictions *out, int bins, const double *edge, sw_error *err)
    SW_MUST_CHECK;
SW_API sw_status sw_survival_predictions_add(sw_survival_predictions *preds, const char *case_id, int64_t slides, double time,
                                             bool event, double risk, const double *survival, sw_error *err) SW_MUST_CHECK;
SW_API void sw_survival_predictions_free(sw_survival_predictions *preds); /* clears it; NULL is fine */
/* predictions_<split>.csv: case_id,slides,time,event,risk,s_<edge>…,s_end; time and event are empty where unknown; times
 * have all digits, risks and probabilities 9. Reading is strict: each problem is one sentence with file, line and value. */
SW_API sw_status sw_survival_predictions_write(const sw_survival_predictions *preds, const char *path, sw_error *err)
    SW_MUST_CHECK;
SW_API sw_status sw_survival_predictions_read(const char *path, sw_survival_predictions *out, sw_error *err) SW_MUST_CHECK;
/* Whether a table of predictions is one of survival, by its header. False too for a file that cannot be read. */
SW_API bool sw_survival_predictions_is(const char *path);

/* ---- evaluation */

#define SW_SURVIVAL_METRICS (SW_METRIC_END - SW_METRIC_COUNT)

typedef struct sw_risk_group {
    int64_t cases, events;
    double median; /* survival time; NaN: not reached */
    sw_survival_curve curve;
} sw_risk_group;

typedef struct sw_survival_evaluation {
    char split[64];
    int64_t count, events; /* labelled cases, which all numbers are about */
    int64_t unlabelled;
    int64_t resamples;     /* 0: no bootstrap was made */
    bool trained;          /* threshold and censoring distribution are those of the training cases; false: of this split */
    double threshold;      /* median risk: above it is the second group */
    sw_concordance pairs;
    sw_metric_value metric[SW_SURVIVAL_METRICS]; /* of SW_METRIC_C_INDEX + i */
    int n_times;
    double *time, *auc, *brier; /* [n_times] owned; brier NaN for a model without bins */
    sw_risk_group group[2];     /* low risk, high risk */
    double chi2, p;             /* log-rank */
} sw_survival_evaluation;
SW_API void sw_survival_evaluation_free(sw_survival_evaluation *eval);
SW_API double sw_survival_metric(const sw_survival_evaluation *eval, sw_metric_id id); /* its value */

typedef struct sw_survival_options {
    int64_t resamples; /* default 1000; 0: none */
    int fold;          /* seeds the index generator as the reference does; default 0 */
    const sw_survival_predictions *train; /* borrowed; NULL: threshold and censoring from the rows themselves */
    const double *times; /* [n_times] of AUC and Brier score, rising; with n_times 0 the edges between the bins, or, without
                          * bins, the quartiles of the training events */
    int n_times;
} sw_survival_options;
SW_API sw_survival_options sw_survival_options_default(void);

/* *out is owned by the caller. A table without a labelled row is SW_E_INVALID; Brier scores need the edges as times. */
SW_API sw_status sw_survival_evaluate(const sw_survival_predictions *preds, const char *split, const sw_survival_options *options,
                                      sw_survival_evaluation *out, sw_error *err) SW_MUST_CHECK;
/* metrics_<split>.json with "task": "survival"; undefined numbers are null. */
SW_API sw_status sw_survival_evaluation_write(const sw_survival_evaluation *eval, const char *path, sw_error *err) SW_MUST_CHECK;
SW_API sw_status sw_survival_evaluation_read(const char *path, sw_survival_evaluation *out, sw_error *err) SW_MUST_CHECK;
/* JSON, and a table for a terminal; *text is owned: sw_evaluation_text_free. */
SW_API sw_status sw_survival_evaluation_json(const sw_survival_evaluation *eval, char **text, sw_error *err) SW_MUST_CHECK;
SW_API sw_status sw_survival_evaluation_text(const sw_survival_evaluation *eval, char **text, sw_error *err) SW_MUST_CHECK;
/* Evaluates RUN/predictions_<split>.csv, with RUN/predictions_train.csv (where it is) as `train`, and writes
 * RUN/metrics_<split>.json. `out` may be NULL. */
SW_API sw_status sw_survival_eval_run(const char *run_dir, const char *split, const sw_survival_options *options,
                                      sw_survival_evaluation *out, sw_error *err) SW_MUST_CHECK;

#ifdef __cplusplus
}
#endif

#endif
