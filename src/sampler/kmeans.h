/* SPDX-License-Identifier: Apache-2.0 */
/* Clusters of points by k-means (Lloyd): one thread, doubles, sums in the order of the points, so always the same bits. */
#ifndef SW_SAMPLER_KMEANS_H
#define SW_SAMPLER_KMEANS_H

#include <stdint.h>

#include "base/rng.h"
#include "slidewise/error.h"

typedef struct sw_kmeans_options {
    int64_t clusters;   /* most; fewer points have as many clusters as points. 8 */
    int iterations;     /* 25 */
    int64_t per_centroid; /* of more points than this for each cluster so many are drawn to find the centroids. 256 */
} sw_kmeans_options;
sw_kmeans_options sw_kmeans_options_default(void);

/* points [n, dim], n >= 1 -> cluster [n], each below the number of clusters k = min(clusters, n), which is returned in *k. The
 * centroids begin at k points drawn by `rng`; each iteration takes every point to the nearest centroid (of equally near ones
 * the first) and each centroid to the mean of its points. A centroid without points takes over half of another, drawn with
 * probability (points - 1), by moving a 1024th away from it. `centroid` [clusters, dim] (NULL: not wanted) gets the first *k.
 * A point that is not finite is SW_E_INVALID. */
sw_status sw_kmeans(const float *points, int64_t n, int64_t dim, const sw_kmeans_options *options, sw_rng rng, int32_t *cluster,
                    double *centroid, int64_t *k, sw_error *err) SW_MUST_CHECK;

/* Rows [n, dim] to length 1; a row of zeros stays. */
void sw_unit_rows(float *rows, int64_t n, int64_t dim);

#endif
