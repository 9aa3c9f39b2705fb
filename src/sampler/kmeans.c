/* SPDX-License-Identifier: Apache-2.0 */
#include "sampler/kmeans.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

sw_kmeans_options sw_kmeans_options_default(void)
{
    return (sw_kmeans_options){.clusters = 8, .iterations = 25, .per_centroid = 256};
}

void sw_unit_rows(float *rows, int64_t n, int64_t dim)
{
    for (int64_t i = 0; i < n; i++) {
        float *row = rows + i * dim;
        double sum = 0.0;
        for (int64_t d = 0; d < dim; d++) sum += (double)row[d] * row[d];
        double factor = sum > 0.0 ? 1.0 / sqrt(sum) : 0.0;
        for (int64_t d = 0; d < dim; d++) row[d] = (float)(row[d] * factor);
    }
}

typedef struct kmeans {
    const float *points;
    int64_t n, dim, k;
    int64_t *index;   /* [trained] points that find the centroids */
    int64_t trained;
    double *centroid; /* [k, dim] */
    double *sum;      /* [k, dim] */
    int64_t *size;    /* [k] */
    sw_rng rng;
} kmeans;

static void kmeans_free(kmeans *m)
{
    sw_free(m->index);
    sw_free(m->centroid);
    sw_free(m->sum);
    sw_free(m->size);
}

/* The first `want` of a shuffle. */
static void draw(sw_rng *rng, int64_t *index, int64_t count, int64_t want)
{
    for (int64_t i = 0; i < want; i++) {
        int64_t j = i + (int64_t)sw_rng_below(rng, (uint64_t)(count - i)), chosen = index[j];
        index[j] = index[i];
        index[i] = chosen;
    }
}

static sw_status begin(kmeans *m, const sw_kmeans_options *o, sw_error *err)
{
    m->k = o->clusters < m->n ? o->clusters : m->n;
    m->trained = m->n;
    if (m->n > m->k * o->per_centroid) m->trained = m->k * o->per_centroid;
    m->index = sw_malloc((size_t)m->n * sizeof *m->index);
    m->centroid = sw_calloc((size_t)(m->k * m->dim), sizeof *m->centroid);
    m->sum = sw_calloc((size_t)(m->k * m->dim), sizeof *m->sum);
    m->size = sw_calloc((size_t)m->k, sizeof *m->size);
    if (!m->index || !m->centroid || !m->sum || !m->size) return sw_nomem(err);
    for (int64_t i = 0; i < m->n; i++) m->index[i] = i;
    if (m->trained < m->n) draw(&m->rng, m->index, m->n, m->trained);
    draw(&m->rng, m->index, m->trained, m->k);
    for (int64_t c = 0; c < m->k; c++)
        for (int64_t d = 0; d < m->dim; d++) m->centroid[c * m->dim + d] = m->points[m->index[c] * m->dim + d];
    return SW_OK;
}

static int64_t nearest(const kmeans *m, const float *point)
{
    int64_t best = 0;
    double least = INFINITY;
    for (int64_t c = 0; c < m->k; c++) {
        const double *at = m->centroid + c * m->dim;
        double sum = 0.0;
        for (int64_t d = 0; d < m->dim; d++) {
            double away = point[d] - at[d];
            sum += away * away;
        }
        if (sum < least) {
            least = sum;
            best = c;
        }
    }
    return best;
}

/* The cluster that gives half of its points away; -1: none has more than one. */
static int64_t donor(kmeans *m)
{
    int64_t spare = 0;
    for (int64_t c = 0; c < m->k; c++) spare += m->size[c] > 1 ? m->size[c] - 1 : 0;
    if (spare == 0) return -1;
    int64_t at = (int64_t)sw_rng_below(&m->rng, (uint64_t)spare);
    for (int64_t c = 0; c < m->k; c++) {
        if (m->size[c] < 2) continue;
        if (at < m->size[c] - 1) return c;
        at -= m->size[c] - 1;
    }
    return -1;
}

static void fill_empty(kmeans *m)
{
    for (int64_t c = 0; c < m->k; c++) {
        int64_t from = m->size[c] == 0 ? donor(m) : -1;
        if (from < 0) continue;
        double *here = m->centroid + c * m->dim, *there = m->centroid + from * m->dim;
        for (int64_t d = 0; d < m->dim; d++) {
            double step = d % 2 == 0 ? 1.0 / 1024 : -1.0 / 1024;
            here[d] = there[d] * (1.0 + step);
            there[d] *= 1.0 - step;
        }
        m->size[c] = m->size[from] / 2;
        m->size[from] -= m->size[c];
    }
}

static void iterate(kmeans *m)
{
    memset(m->sum, 0, (size_t)(m->k * m->dim) * sizeof *m->sum);
    memset(m->size, 0, (size_t)m->k * sizeof *m->size);
    for (int64_t i = 0; i < m->trained; i++) {
        const float *point = m->points + m->index[i] * m->dim;
        int64_t c = nearest(m, point);
        for (int64_t d = 0; d < m->dim; d++) m->sum[c * m->dim + d] += point[d];
        m->size[c]++;
    }
    for (int64_t c = 0; c < m->k; c++)
        for (int64_t d = 0; d < m->dim && m->size[c] > 0; d++) m->centroid[c * m->dim + d] = m->sum[c * m->dim + d] / (double)m->size[c];
    fill_empty(m);
}

static sw_status check(const float *points, int64_t n, int64_t dim, const sw_kmeans_options *o, sw_error *err)
{
    if (n < 1 || dim < 1 || o->clusters < 1 || o->iterations < 0 || o->per_centroid < 1)
        return sw_error_set(err, SW_E_INVALID, "k-means needs points, not %lld of %lld numbers, and clusters, not %lld", (long long)n,
                            (long long)dim, (long long)o->clusters);
    for (int64_t i = 0; i < n * dim; i++) {
        if (!isfinite(points[i]))
            return sw_error_set(err, SW_E_INVALID, "feature %g of patch %lld is not a number to cluster by", (double)points[i], (long long)(i / dim));
    }
    return SW_OK;
}

sw_status sw_kmeans(const float *points, int64_t n, int64_t dim, const sw_kmeans_options *options, sw_rng rng, int32_t *cluster,
                    double *centroid, int64_t *k, sw_error *err)
{
    SW_TRY(check(points, n, dim, options, err));
    SW_CLEANUP(kmeans_free) kmeans m = {.points = points, .n = n, .dim = dim, .rng = rng};
    SW_TRY(begin(&m, options, err));
    for (int i = 0; i < options->iterations; i++) iterate(&m);
    for (int64_t i = 0; i < n; i++) cluster[i] = (int32_t)nearest(&m, points + i * dim);
    if (centroid) memcpy(centroid, m.centroid, (size_t)(m.k * dim) * sizeof *centroid);
    *k = m.k;
    return SW_OK;
}
