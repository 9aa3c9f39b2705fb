/* SPDX-License-Identifier: Apache-2.0 */
/* Which patches a bag gives in an epoch, and in which order bags come: by counters, whoever asks and whenever. */
#ifndef SW_SAMPLER_SAMPLER_H
#define SW_SAMPLER_SAMPLER_H

#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"
#include "slidewise/error.h"

/* The patches per scale of a bag of n: [n_scales] in the order they stand in the bag. */
typedef struct sw_sample_plan {
    int n_scales;
    int64_t n[SW_CONFIG_MAX_SCALES];
    int64_t total;
} sw_sample_plan;

/* The reference's rule, for one or two scales: floor(patches / divisor) of the first (low magnification), the rest of the
 * second (high). One scale gets all. */
sw_status sw_sample_plan_reference(int64_t patches, double divisor, int n_scales, sw_sample_plan *out, sw_error *err)
    SW_MUST_CHECK;
/* Any number of scales: share[i] / sum of shares, rounded by largest remainder (ties: the earlier scale). */
sw_status sw_sample_plan_shares(int64_t patches, int n_scales, const double *share, sw_sample_plan *out, sw_error *err)
    SW_MUST_CHECK;

typedef struct sw_pick {
    int64_t scale;  /* index into the plan */
    int64_t patch;  /* index into the scale's patches */
} sw_pick;

/* Draws a bag (Zheng et al., multi-scale random instance sampling). count[s] patches exist at scale s. Per scale: more than
 * asked: a random subset in random order; fewer and `pad`: all in order, then draws with replacement; else all in order.
 * out: [plan->total], caller's; *n_out is less than the total where scales are short and `pad` is off. `bag` is an
 * identity that does not depend on the order of an epoch (the index into the dataset). A scale without any patch of
 * which some are asked is SW_E_INVALID. */
sw_status sw_sample_bag(const sw_sample_plan *plan, const int64_t *count, bool pad, uint64_t seed, uint32_t epoch,
                        uint32_t bag, sw_pick *out, int64_t *n_out, sw_error *err) SW_MUST_CHECK;

/* Shuffles `index` [n] for an epoch. */
void sw_sample_order(uint64_t seed, uint32_t epoch, int64_t *index, int64_t n);
/* Steps of an epoch of n bags in batches of `batch`; at least 1 when n > 0: fewer bags than a batch are one step. */
int64_t sw_sample_steps(int64_t n, int64_t batch, bool drop_last);

#endif
