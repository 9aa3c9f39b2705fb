/* SPDX-License-Identifier: Apache-2.0 */
/* Rings of points: inside or not, filling. */
#include "tissue/ring.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* What one edge adds to the answer: 2 when the point lies on it, 1 when a ray from the point to the right crosses it,
 * else 0. Differences of coordinates are small against 2^26, so that the products are exact. */
static int edge_effect(const int32_t *a, const int32_t *b, double x, double y)
{
    double cross = ((double)b[0] - a[0]) * (y - a[1]) - ((double)b[1] - a[1]) * (x - a[0]);
    if (cross == 0 && x >= fmin(a[0], b[0]) && x <= fmax(a[0], b[0]) && y >= fmin(a[1], b[1]) && y <= fmax(a[1], b[1])) {
        return 2;
    }
    if ((a[1] > y) == (b[1] > y)) return 0;
    return b[1] > a[1] ? cross > 0 : cross < 0;
}

static int side_over(const sw_ring *ring, const int64_t *edge, int64_t n, double x, double y)
{
    int inside = 0;
    for (int64_t k = 0; k < n; k++) {
        int64_t i = edge ? edge[k] : k, next = i + 1 < ring->n_points ? i + 1 : 0;
        int effect = edge_effect(ring->xy + 2 * i, ring->xy + 2 * next, x, y);
        if (effect == 2) return 0;
        inside ^= effect;
    }
    return inside ? 1 : -1;
}

int sw_ring_side(const sw_ring *ring, double level0_x, double level0_y)
{
    return side_over(ring, NULL, ring->n_points, level0_x, level0_y);
}

void sw_ring_index_free(sw_ring_index *index)
{
    sw_free(index->first);
    sw_free(index->edge);
    memset(index, 0, sizeof *index);
}

static int64_t band_of(const sw_ring_index *index, double y)
{
    int64_t band = (int64_t)floor((y - index->min_y) / index->band_height);
    return band < 0 ? 0 : band >= index->n_bands ? index->n_bands - 1 : band;
}

static void bands_of_edge(const sw_ring_index *index, int64_t i, int64_t *low, int64_t *high)
{
    const sw_ring *ring = index->ring;
    int32_t a = ring->xy[2 * i + 1], b = ring->xy[2 * (i + 1 < ring->n_points ? i + 1 : 0) + 1];
    *low = band_of(index, a < b ? a : b);
    *high = band_of(index, a < b ? b : a);
}

static void find_box(sw_ring_index *index, const sw_ring *ring)
{
    index->min_x = index->max_x = ring->xy[0];
    index->min_y = index->max_y = ring->xy[1];
    for (int64_t i = 1; i < ring->n_points; i++) {
        int32_t x = ring->xy[2 * i], y = ring->xy[2 * i + 1];
        if (x < index->min_x) index->min_x = x;
        if (x > index->max_x) index->max_x = x;
        if (y < index->min_y) index->min_y = y;
        if (y > index->max_y) index->max_y = y;
    }
}

sw_status sw_ring_index_make(const sw_ring *ring, sw_ring_index *out, sw_error *err)
{
    SW_CLEANUP(sw_ring_index_free) sw_ring_index index = {.ring = ring};
    int64_t low, high;
    memset(out, 0, sizeof *out);
    find_box(&index, ring);
    index.n_bands = ring->n_points / 4 + 1;
    index.band_height = ((double)index.max_y - index.min_y + 1) / (double)index.n_bands;
    index.first = sw_calloc((size_t)index.n_bands + 2, sizeof *index.first);
    if (!index.first) return sw_nomem(err);
    for (int64_t i = 0; i < ring->n_points; i++) { /* counting sort: sizes two places on, then ends, then starts */
        bands_of_edge(&index, i, &low, &high);
        for (int64_t b = low; b <= high; b++) index.first[b + 2]++;
    }
    for (int64_t b = 2; b <= index.n_bands + 1; b++) index.first[b] += index.first[b - 1];
    index.edge = sw_calloc((size_t)index.first[index.n_bands + 1] + 1, sizeof *index.edge);
    if (!index.edge) return sw_nomem(err);
    for (int64_t i = 0; i < ring->n_points; i++) {
        bands_of_edge(&index, i, &low, &high);
        for (int64_t b = low; b <= high; b++) index.edge[index.first[b + 1]++] = i;
    }
    *out = index;
    memset(&index, 0, sizeof index);
    return SW_OK;
}

int sw_ring_index_side(const sw_ring_index *index, double x, double y)
{
    if (x < index->min_x || x > index->max_x || y < index->min_y || y > index->max_y) return -1;
    int64_t band = band_of(index, y);
    return side_over(index->ring, index->edge + index->first[band], index->first[band + 1] - index->first[band], x, y);
}

/* --- filling */

/* Crossings by row, and in a row from left to right. */
typedef struct crossings {
    int32_t low, high; /* rows */
    int64_t *first;    /* [rows + 1] into column */
    int64_t *end;      /* [rows] of those that are placed */
    int32_t *column;
} crossings;

static void crossings_free(crossings *c)
{
    sw_free(c->first);
    sw_free(c->end);
    sw_free(c->column);
}

/* `cross` [n, 2]: x, y. A row has few of them, and mostly in order. */
static sw_status sort_crossings(const int32_t *cross, int64_t n, crossings *c, sw_error *err)
{
    c->low = INT32_MAX;
    c->high = INT32_MIN;
    for (int64_t i = 0; i < n; i++) {
        if (cross[2 * i + 1] < c->low) c->low = cross[2 * i + 1];
        if (cross[2 * i + 1] > c->high) c->high = cross[2 * i + 1];
    }
    int64_t rows = n > 0 ? (int64_t)c->high - c->low + 1 : 0;
    c->first = sw_calloc((size_t)rows + 1, sizeof *c->first);
    c->end = sw_calloc((size_t)rows + 1, sizeof *c->end);
    c->column = sw_malloc(((size_t)n + 1) * sizeof *c->column);
    if (!c->first || !c->end || !c->column) return sw_nomem(err);
    for (int64_t i = 0; i < n; i++) c->first[cross[2 * i + 1] - c->low + 1]++;
    for (int64_t row = 0; row < rows; row++) c->first[row + 1] += c->first[row];
    for (int64_t row = 0; row < rows; row++) c->end[row] = c->first[row];
    for (int64_t i = 0; i < n; i++) {
        int64_t row = cross[2 * i + 1] - c->low, at = c->end[row]++;
        for (; at > c->first[row] && c->column[at - 1] > cross[2 * i]; at--) c->column[at] = c->column[at - 1];
        c->column[at] = cross[2 * i];
    }
    return SW_OK;
}

/* Where the ring crosses the line just below each row's centre, in pairs: between them is inside. Neighbouring points
 * are at most one row apart, so the crossing lies at the upper point. */
sw_status sw_ring_fill(const int32_t *xy, int64_t n_points, bool edge, uint8_t value, uint8_t *mask, int64_t width,
                       sw_error *err)
{
    SW_AUTOFREE int32_t *cross = sw_malloc(2 * (size_t)n_points * sizeof *cross);
    SW_AUTOFREE uint8_t *kept = sw_malloc((size_t)n_points);
    SW_CLEANUP(crossings_free) crossings sorted = {0};
    int64_t n = 0;
    if (!cross || !kept) return sw_nomem(err);
    for (int64_t i = 0; i < n_points; i++) {
        const int32_t *a = xy + 2 * i, *b = xy + 2 * (i + 1 < n_points ? i + 1 : 0);
        kept[i] = mask[a[1] * width + a[0]];
        if (a[1] == b[1]) continue;
        memcpy(cross + 2 * n++, a[1] < b[1] ? a : b, 2 * sizeof *cross);
    }
    SW_TRY(sort_crossings(cross, n, &sorted, err));
    for (int64_t y = sorted.low; y <= sorted.high; y++) {
        int64_t end = sorted.first[y - sorted.low + 1];
        for (int64_t i = sorted.first[y - sorted.low]; i + 1 < end; i += 2) {
            memset(mask + y * width + sorted.column[i], value, (size_t)(sorted.column[i + 1] - sorted.column[i] + 1));
        }
    }
    /* The spans above include the ring's own pixels at their ends. A point may come twice: give all back first. */
    for (int64_t i = n_points - 1; i >= 0; i--) mask[xy[2 * i + 1] * width + xy[2 * i]] = edge ? value : kept[i];
    return SW_OK;
}
