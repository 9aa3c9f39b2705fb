/* SPDX-License-Identifier: Apache-2.0 */
/* Survival measures of weighted cases, prepared once for all resamples. */
#ifndef SW_EVAL_SURVIVAL_H
#define SW_EVAL_SURVIVAL_H

#include "slidewise/survival.h"

#define SW_RISK_TIE 1e-8

/* A step function: 1, then `value[i]` from time[i] on. */
typedef struct sw_steps {
    int64_t count;
    double *time, *value; /* [count] owned */
} sw_steps;
void sw_steps_free(sw_steps *steps);
/* The distribution of censoring (Kaplan-Meier with censored cases as events, events first at equal times). */
sw_status sw_censoring(const sw_outcomes *train, sw_steps *out, sw_error *err) SW_MUST_CHECK;
/* 1 / G(t); infinite where G is 0, NaN where it is unknown: after the last case, if it was not censored. */
double sw_censoring_weight(const sw_steps *g, double time);

/* Cases in the orders that all measures need. Times, events and risks are borrowed. */
typedef struct sw_ranked {
    const sw_outcomes *outcomes;
    const double *risk;
    int64_t *by_time;  /* [count] indices by rising time */
    int64_t *by_risk;  /* [count] indices by rising risk */
    int64_t *place;    /* [count] place of a case in by_risk */
    int64_t *below;    /* [count] places before this one have a smaller risk */
    int64_t *above;    /* [count] places from this one on have a larger risk; between them are ties */
    double *tree;      /* [count + 1] scratch of the sweep */
} sw_ranked;
sw_status sw_ranked_new(const sw_outcomes *outcomes, const double *risk, sw_ranked *out, sw_error *err) SW_MUST_CHECK;
void sw_ranked_free(sw_ranked *ranked);

/* weight [count] how often a case counts, NULL: once; pair [count] what its pairs weigh as an event, NULL: 1. */
void sw_ranked_concordance(const sw_ranked *r, const int32_t *weight, const double *pair, sw_concordance *out);

/* case_weight [count]: 1 / G at the case's time. auc [n_times]; returns the mean. */
double sw_ranked_auc(const sw_ranked *r, const int32_t *weight, const double *case_weight, const double *times, int n_times,
                     double *auc);
/* survival [count, n_times]; time_weight [n_times]: 1 / G there. score [n_times]; returns the integral. */
double sw_ranked_brier(const sw_ranked *r, const int32_t *weight, const double *case_weight, const double *time_weight,
                       const double *survival, const double *times, int n_times, double *score);

#endif
