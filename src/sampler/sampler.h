/* SPDX-License-Identifier: Apache-2.0 */
/* Which patches a bag gives in an epoch, and in which order bags come: by counters, whoever asks and whenever. */
#ifndef SW_SAMPLER_SAMPLER_H
#define SW_SAMPLER_SAMPLER_H

#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"
#include "slidewise/error.h"

/* The patches per scale of a bag of n: [n_scales] in the order they stand in the bag, and how they are drawn. */
typedef struct sw_sample_plan {
    int n_scales;
    int64_t n[SW_CONFIG_MAX_SCALES];
    int64_t total;
    sw_sampler sampler; /* random where sw_sample_plan_reference or _shares made the plan */
    int64_t regions;    /* G of the regional samplers */
    double ratio;       /* of attention sampling, (0, 1]: see sw_sample_attended */
    int64_t per_cluster; /* of the samplers clusters and top_patches: most patches of a cluster */
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

/* What a bag has to draw from. */
typedef struct sw_sample_pool {
    int64_t count[SW_CONFIG_MAX_SCALES];     /* patches at each scale of the plan */
    const int64_t *xy[SW_CONFIG_MAX_SCALES]; /* [count, 2] positions in level-0 pixels; read by the sampler regional_slide only */
} sw_sample_pool;

/* Draws a bag. Per scale: fewer patches than asked and `pad`: all in order, then draws with replacement; not more than asked:
 * all in order; more: `want` of them without replacement, chosen by plan->sampler:
 *   random          a random subset in random order (multi-scale random instance sampling; on one scale plain random sampling)
 *   regional_1d     the list of patches is cut into intervals of ceil(count / regions); one random patch of each comes first,
 *                   then the rest at random from those not chosen (the reference implementation's num_group_1d)
 *   regional_2d     the list fills a square of side ceil(sqrt(count)) row by row, which regions x regions cells of
 *                   floor(side / regions) divide (what lies beyond belongs to none); floor(want / regions^2) random patches of
 *                   each cell, or all where it has fewer, then the rest at random (the reference's num_group_2d as it was meant:
 *                   the published code fails there)
 *   regional_slide  the same over true positions: regions x regions equal parts of the patches' bounding box, of which each
 *                   that has patches gives floor(want / parts that have some)
 *   attention       is drawn by sw_sample_attended, clusters and top_patches by sw_sample_clustered; here SW_E_INTERNAL
 * out: [plan->total], caller's; *n_out is less than the total where scales are short and `pad` is off. `bag` is an
 * identity that does not depend on the order of an epoch (the index into the dataset). A scale without any patch of
 * which some are asked is SW_E_INVALID. */
sw_status sw_sample_bag(const sw_sample_plan *plan, const sw_sample_pool *pool, bool pad, uint64_t seed, uint32_t epoch,
                        uint32_t bag, sw_pick *out, int64_t *n_out, sw_error *err) SW_MUST_CHECK;

/* Attention sampling: plan->total of the `patches` of a bag by the attention [heads, patches] of a teacher. One head: those
 * with most attention, in falling order. Several: each head votes for its own best ones, and the patches with most votes are
 * taken. Of equals the lower index comes first. plan->ratio < 1 chooses total / ratio so and takes a random `total` of them. Not more
 * patches than asked: as sw_sample_bag. The plan has one scale. */
sw_status sw_sample_attended(const sw_sample_plan *plan, const float *attention, int heads, int64_t patches, bool pad,
                             uint64_t seed, uint32_t epoch, uint32_t bag, sw_pick *out, int64_t *n_out, sw_error *err)
    SW_MUST_CHECK;

/* Cluster sampling: of the patches of each cluster in turn a random plan->per_cluster, or all where it has fewer, in random
 * order. cluster [patches]: -1, a patch that is not drawn, to any number. *n_out, at most plan->total, may be less also where
 * the bag has enough patches; with `pad` it is the total: some of the drawn ones come again, of no cluster. of [plan->total]: the
 * picks' clusters. The plan has one scale. A bag without any patch to draw is SW_E_INVALID. */
sw_status sw_sample_clustered(const sw_sample_plan *plan, const int32_t *cluster, int64_t patches, bool pad, uint64_t seed,
                              uint32_t epoch, uint32_t bag, sw_pick *out, int32_t *of, int64_t *n_out, sw_error *err) SW_MUST_CHECK;

/* The `k` of scores [n] that are highest get 0, the others -1: a single cluster for sw_sample_clustered. Of equals the lower
 * index comes first; a score that is not finite is SW_E_INVALID. */
sw_status sw_sample_best(const float *scores, int64_t n, int64_t k, int32_t *cluster, sw_error *err) SW_MUST_CHECK;

/* Shuffles `index` [n] for an epoch. */
void sw_sample_order(uint64_t seed, uint32_t epoch, int64_t *index, int64_t n);
/* Oversampling: how many bags of each class an epoch has, count[k] of which exist. A class with fewer than `ratio` times the
 * bags of the largest one gets that many (rounded); ratio 0, and a class without a bag: as it is. Returns their sum. */
int64_t sw_oversample_counts(int n_classes, const int64_t *count, double ratio, int64_t *out);
/* The bags of an epoch by those counts, `wanted` [n_classes]: every bag as often as goes evenly, and of the rest a random
 * choice that is new in each epoch. label [n] are the bags' classes. out [sum of wanted]: i + copy * stride, where i is the
 * index into label and copy counts how often it came before. */
sw_status sw_oversample(uint64_t seed, uint32_t epoch, const int *label, int64_t n, int n_classes, const int64_t *wanted,
                        int64_t stride, int64_t *out, sw_error *err) SW_MUST_CHECK;
/* Steps of an epoch of n bags in batches of `batch`; at least 1 when n > 0: fewer bags than a batch are one step. */
int64_t sw_sample_steps(int64_t n, int64_t batch, bool drop_last);

#endif
