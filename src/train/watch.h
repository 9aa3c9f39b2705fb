/* SPDX-License-Identifier: Apache-2.0 */
/* The collapse watch: what attention, features and gradients look like over an epoch, and when that means that nothing is
 * learned any more. Sums, so that a run that goes on within an epoch comes to the same numbers. */
#ifndef SW_TRAIN_WATCH_H
#define SW_TRAIN_WATCH_H

#include "batch/batch.h"
#include "model/model.h"

enum { SW_PART_ENCODER, SW_PART_AGGREGATOR, SW_PART_HEAD, SW_PARTS };
extern const char *const sw_part_names[SW_PARTS]; /* "encoder", "aggregator", "head" */

/* Sums over an epoch; every member is a double, so that a checkpoint keeps them as one list. */
typedef struct sw_watch {
    double bags;                                    /* whose attention was measured */
    double sparsity, below_mean, entropy_gap, gini; /* of attention averaged over heads, as sw_attention_stats */
    double head_gap;                                /* 1 - entropy / ln N of each head by itself: heads on one patch each are no less collapsed */
    double looks;                                   /* steps of whose first bag the features were measured */
    double feature_norm, feature_spread, feature_rank;
    double updates;
    double grad[SW_PARTS], grad_all;                /* L2 norms of the gradient, before clipping; NaN: a part without parameters */
    double fewest;                                  /* patches of the smallest bag; 0: none yet */
    double bad;                                     /* bags whose attention was no number */
} sw_watch;
enum { SW_WATCH_NUMBERS = sizeof(sw_watch) / sizeof(double) };

/* How features [n, dim] of a bag lie: the mean L2 norm; the spread, sqrt(trace of their covariance) / norm; and the effective
 * rank of the covariance, exp of the entropy of its eigenvalues' shares (Roy and Vetterli 2007, of the covariance): 1 where
 * they vary along one line, 0 where they do not vary. Of a bag with more than SW_FEATURE_ROWS patches as many of them, evenly
 * spaced. A value that is not finite makes all three NaN. */
enum { SW_FEATURE_ROWS = 48 };
typedef struct sw_feature_stats {
    double norm, spread, rank;
} sw_feature_stats;
sw_status sw_feature_measure(const float *features, int64_t n, int64_t dim, sw_feature_stats *out, sw_error *err) SW_MUST_CHECK;

/* Adds a step: attention [bags, heads, patches] (NULL: the aggregator has none), features [bags * patches, dim]. */
sw_status sw_watch_step(sw_watch *w, const sw_tensor *attention, const sw_tensor *features, const sw_batch *batch,
                        sw_error *err) SW_MUST_CHECK;
/* Adds the gradients of an update as they stand in the model's slab, times `grad_scale`. */
sw_status sw_watch_gradients(sw_watch *w, sw_model *model, double grad_scale, sw_error *err) SW_MUST_CHECK;

/* Means of the epoch; NaN where nothing was measured. */
sw_watch sw_watch_means(const sw_watch *w);

/* What can be wrong. */
typedef enum sw_watch_alarm {
    SW_ALARM_ONE_PATCH,   /* attention lies on about one patch */
    SW_ALARM_UNIFORM,     /* attention is the same everywhere */
    SW_ALARM_RANK,        /* features of a bag vary along one line at most */
    SW_ALARM_VANISHED,    /* gradients of a part, or all, are about zero */
    SW_ALARM_EXPLODED,    /* or huge */
    SW_ALARM_LOSS,        /* the loss is far above that of guessing */
    SW_ALARM_NOT_FINITE,  /* a loss or a gradient is no number */
    SW_ALARMS
} sw_watch_alarm;
const char *sw_watch_alarm_name(sw_watch_alarm alarm); /* "attention_one_patch", static */

typedef struct sw_watch_case {
    int epoch;             /* 1-based */
    double loss;           /* mean of the epoch */
    double guessing;       /* loss of guessing, ln K of K classes; NaN: none */
    bool encoder_frozen;
} sw_watch_case;
/* Whether `alarm` (not NOT_FINITE, which whoever meets it tells) holds of an epoch's means; if so `text` is a sentence that says
 * what was seen and what helps. */
bool sw_watch_judge(const sw_watch *means, const sw_watch_case *of, sw_watch_alarm alarm, char *text, size_t size);

#endif
