/* SPDX-License-Identifier: Apache-2.0 */
#include "sampler/sampler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"

static sw_status check_patches(int64_t patches, int n_scales, sw_error *err)
{
    if (patches < 1) {
        return sw_error_set(err, SW_E_INVALID, "bag.patches: %lld; a bag needs at least 1 patch", (long long)patches);
    }
    if (n_scales < 1 || n_scales > SW_CONFIG_MAX_SCALES) {
        return sw_error_set(err, SW_E_INVALID, "bag.scales: %d scales; allowed: 1 to %d", n_scales, SW_CONFIG_MAX_SCALES);
    }
    return SW_OK;
}

sw_status sw_sample_plan_reference(int64_t patches, double divisor, int n_scales, sw_sample_plan *out, sw_error *err)
{
    SW_TRY(check_patches(patches, n_scales, err));
    if (n_scales > 2) {
        return sw_error_set(err, SW_E_INVALID, "bag.scale_rule 'reference' knows one or two scales, not %d; set it to shares and give each of bag.scales a share",
                            n_scales);
    }
    if (!(divisor >= 1)) return sw_error_set(err, SW_E_INVALID, "bag.divisor: %g; it must be at least 1", divisor);
    *out = (sw_sample_plan){.n_scales = n_scales, .total = patches};
    out->n[0] = patches;
    if (n_scales == 2) {
        out->n[0] = (int64_t)floor((double)patches / divisor);
        out->n[1] = patches - out->n[0];
    }
    return SW_OK;
}

sw_status sw_sample_plan_shares(int64_t patches, int n_scales, const double *share, sw_sample_plan *out, sw_error *err)
{
    SW_TRY(check_patches(patches, n_scales, err));
    double sum = 0, rest[SW_CONFIG_MAX_SCALES];
    for (int s = 0; s < n_scales; s++) {
        if (!(share[s] > 0) || !isfinite(share[s])) {
            return sw_error_set(err, SW_E_INVALID, "bag.scales: share %g; every share must be above 0", share[s]);
        }
        sum += share[s];
    }
    *out = (sw_sample_plan){.n_scales = n_scales, .total = patches};
    int64_t left = patches;
    for (int s = 0; s < n_scales; s++) {
        double exact = (double)patches * (share[s] / sum);
        out->n[s] = (int64_t)floor(exact + 1e-9); /* 0.1 + 0.2 must not cost a patch */
        rest[s] = exact - (double)out->n[s];
        left -= out->n[s];
    }
    for (; left > 0; left--) {
        int best = 0;
        for (int s = 1; s < n_scales; s++) {
            if (rest[s] > rest[best] + 1e-9) best = s;
        }
        out->n[best]++;
        rest[best] -= 1;
    }
    return SW_OK;
}

/* The first `want` steps of a Fisher-Yates shuffle of `index` [count]. */
static void shuffle_some(sw_rng *rng, int64_t *index, int64_t count, int64_t want)
{
    for (int64_t i = 0; i < want; i++) {
        int64_t j = i + (int64_t)sw_rng_below(rng, (uint64_t)(count - i)), chosen = index[j];
        index[j] = index[i];
        index[i] = chosen;
    }
}

static sw_status draw_random(sw_rng *rng, int64_t count, int64_t want, int64_t *out, sw_error *err)
{
    SW_AUTOFREE int64_t *index = sw_malloc((size_t)count * sizeof(*index));
    if (!index) return sw_nomem(err);
    for (int64_t i = 0; i < count; i++) index[i] = i;
    shuffle_some(rng, index, count, want);
    memcpy(out, index, (size_t)want * sizeof(*out));
    return SW_OK;
}

/* Completes `out`, of which `n` are chosen, to `want` at random from the others. */
static sw_status complete(sw_rng *rng, int64_t count, int64_t n, int64_t want, int64_t *out, sw_error *err)
{
    SW_AUTOFREE bool *taken = sw_calloc((size_t)count, sizeof(*taken));
    SW_AUTOFREE int64_t *left = sw_malloc((size_t)count * sizeof(*left));
    int64_t n_left = 0;
    if (!taken || !left) return sw_nomem(err);
    for (int64_t i = 0; i < n; i++) taken[out[i]] = true;
    for (int64_t i = 0; i < count; i++) {
        if (!taken[i]) left[n_left++] = i;
    }
    shuffle_some(rng, left, n_left, want - n);
    memcpy(out + n, left, (size_t)(want - n) * sizeof(*out));
    return SW_OK;
}

static sw_status draw_intervals(sw_rng *rng, int64_t count, int64_t want, int64_t regions, int64_t *out, sw_error *err)
{
    int64_t length = (count + regions - 1) / regions, n = 0;
    for (int64_t start = 0; start < count && n < want; start += length) {
        int64_t offset = (int64_t)sw_rng_below(rng, (uint64_t)length), last = count - start - 1;
        out[n++] = start + (offset < last ? offset : last); /* the clipping makes the last patch likelier, as in the reference */
    }
    return complete(rng, count, n, want, out, err);
}

/* Up to `quota` random patches of each cell, cell by cell; cell[i] in [0, cells), or -1: in none. */
static sw_status draw_cells(sw_rng *rng, const int64_t *cell, int64_t cells, int64_t count, int64_t quota, int64_t want,
                            int64_t *out, sw_error *err)
{
    SW_AUTOFREE int64_t *end = sw_calloc((size_t)cells + 1, sizeof(*end));
    SW_AUTOFREE int64_t *sorted = sw_malloc((size_t)count * sizeof(*sorted));
    int64_t n = 0;
    if (!end || !sorted) return sw_nomem(err);
    for (int64_t i = 0; i < count; i++) {
        if (cell[i] >= 0) end[cell[i] + 1]++;
    }
    for (int64_t c = 0; c < cells; c++) end[c + 1] += end[c];
    for (int64_t i = 0; i < count; i++) { /* a counting sort: end[c] moves from the start of c to its end */
        if (cell[i] >= 0) sorted[end[cell[i]]++] = i;
    }
    for (int64_t c = 0; c < cells; c++) {
        int64_t first = c > 0 ? end[c - 1] : 0, have = end[c] - first, take = have < quota ? have : quota;
        shuffle_some(rng, sorted + first, have, take);
        memcpy(out + n, sorted + first, (size_t)take * sizeof(*out));
        n += take;
    }
    return complete(rng, count, n, want, out, err);
}

static int64_t side_of(int64_t count)
{
    int64_t side = (int64_t)ceil(sqrt((double)count));
    while (side * side < count) side++;
    while (side > 1 && (side - 1) * (side - 1) >= count) side--;
    return side;
}

static sw_status draw_square(sw_rng *rng, int64_t count, int64_t want, int64_t regions, int64_t *out, sw_error *err)
{
    SW_AUTOFREE int64_t *cell = sw_malloc((size_t)count * sizeof(*cell));
    if (!cell) return sw_nomem(err);
    int64_t side = side_of(count), step = side / regions;
    for (int64_t i = 0; i < count; i++) {
        int64_t row = step > 0 ? i / side / step : regions, column = step > 0 ? i % side / step : regions;
        cell[i] = row < regions && column < regions ? row * regions + column : -1;
    }
    return draw_cells(rng, cell, regions * regions, count, want / (regions * regions), want, out, err);
}

/* The region of `value` among equal parts of [low, high]. */
static int64_t region_of(int64_t value, int64_t low, int64_t high, int64_t regions)
{
    return (int64_t)((double)(value - low) / ((double)(high - low) + 1) * (double)regions);
}

static sw_status draw_places(sw_rng *rng, const int64_t *xy, int64_t count, int64_t want, int64_t regions, int64_t *out,
                             sw_error *err)
{
    SW_AUTOFREE int64_t *cell = sw_malloc((size_t)count * sizeof(*cell));
    SW_AUTOFREE bool *used = sw_calloc((size_t)(regions * regions), sizeof(*used));
    int64_t low[2] = {xy[0], xy[1]}, high[2] = {xy[0], xy[1]}, parts = 0;
    if (!cell || !used) return sw_nomem(err);
    for (int64_t i = 0; i < 2 * count; i++) {
        if (xy[i] < low[i % 2]) low[i % 2] = xy[i];
        if (xy[i] > high[i % 2]) high[i % 2] = xy[i];
    }
    for (int64_t i = 0; i < count; i++) {
        cell[i] = region_of(xy[2 * i + 1], low[1], high[1], regions) * regions + region_of(xy[2 * i], low[0], high[0], regions);
        parts += !used[cell[i]];
        used[cell[i]] = true;
    }
    return draw_cells(rng, cell, regions * regions, count, want / parts, want, out, err);
}

static sw_status draw_some(sw_rng *rng, const sw_sample_plan *plan, const sw_sample_pool *pool, int s, int64_t *out,
                           sw_error *err)
{
    int64_t have = pool->count[s], want = plan->n[s];
    switch (plan->sampler) {
    case SW_SAMPLER_RANDOM: return draw_random(rng, have, want, out, err);
    case SW_SAMPLER_REGIONAL_1D: return draw_intervals(rng, have, want, plan->regions, out, err);
    case SW_SAMPLER_REGIONAL_2D: return draw_square(rng, have, want, plan->regions, out, err);
    case SW_SAMPLER_REGIONAL_SLIDE: return draw_places(rng, pool->xy[s], have, want, plan->regions, out, err);
    case SW_SAMPLER_ATTENTION: return sw_error_set(err, SW_E_INTERNAL, "attention sampling needs attention");
    case SW_SAMPLER_CLUSTERS:
    case SW_SAMPLER_TOP_PATCHES: break;
    }
    return sw_error_set(err, SW_E_INTERNAL, "cluster sampling needs clusters");
}

static int64_t *put_all(int64_t *out, int64_t have)
{
    for (int64_t i = 0; i < have; i++) out[i] = i;
    return out + have;
}

/* All patches of scale `s`, and as many of them again as are missing. */
static int64_t take_all(const sw_sample_plan *plan, int64_t have, bool pad, uint64_t seed, uint32_t epoch, uint32_t bag, int s,
                        int64_t *out)
{
    int64_t *next = put_all(out, have);
    if (!pad) return have;
    sw_rng rng = sw_rng_stream(seed, SW_RNG_PAD, epoch, bag, (uint32_t)s);
    for (int64_t i = have; i < plan->n[s]; i++) *next++ = (int64_t)sw_rng_below(&rng, (uint64_t)have);
    return plan->n[s];
}

static sw_status check_scale(int64_t have, int64_t want, int s, sw_error *err)
{
    if (have >= 1) return SW_OK;
    return sw_error_set(err, SW_E_INVALID, "no patch at scale %d, of which %lld are asked", s + 1, (long long)want);
}

sw_status sw_sample_bag(const sw_sample_plan *plan, const sw_sample_pool *pool, bool pad, uint64_t seed, uint32_t epoch,
                        uint32_t bag, sw_pick *out, int64_t *n_out, sw_error *err)
{
    SW_AUTOFREE int64_t *index = sw_malloc((size_t)plan->total * sizeof(*index));
    int64_t n = 0;
    if (!index) return sw_nomem(err);
    for (int s = 0; s < plan->n_scales; s++) {
        int64_t want = plan->n[s], have = pool->count[s], got = want;
        if (want == 0) continue;
        SW_TRY(check_scale(have, want, s, err));
        sw_rng rng = sw_rng_stream(seed, SW_RNG_SAMPLE, epoch, bag, (uint32_t)s);
        if (have > want) SW_TRY(draw_some(&rng, plan, pool, s, index, err));
        else got = take_all(plan, have, pad, seed, epoch, bag, s, index);
        for (int64_t i = 0; i < got; i++) out[n++] = (sw_pick){.scale = s, .patch = index[i]};
    }
    *n_out = n;
    return SW_OK;
}

/* --- attention */

typedef struct scored {
    double score;
    int64_t patch;
} scored;

static int by_score(const void *a, const void *b)
{
    const scored *x = a, *y = b;
    if (x->score != y->score) return x->score < y->score ? 1 : -1;
    return x->patch < y->patch ? -1 : x->patch > y->patch;
}

/* One vote of this head for each of its `k` best patches. */
static void vote(const float *attention, int64_t patches, int64_t k, scored *list, double *votes)
{
    for (int64_t i = 0; i < patches; i++) list[i] = (scored){attention[i], i};
    qsort(list, (size_t)patches, sizeof(*list), by_score);
    for (int64_t i = 0; i < k; i++) votes[list[i].patch]++;
}

/* The `k` best patches in falling order: by attention, or by votes of the heads. */
static sw_status choose(const float *attention, int heads, int64_t patches, int64_t k, int64_t *out, sw_error *err)
{
    SW_AUTOFREE scored *list = sw_malloc((size_t)patches * sizeof(*list));
    SW_AUTOFREE double *votes = sw_calloc((size_t)patches, sizeof(*votes));
    if (!list || !votes) return sw_nomem(err);
    for (int h = 0; h < heads && heads > 1; h++) vote(attention + h * patches, patches, k, list, votes);
    for (int64_t i = 0; i < patches; i++) list[i] = (scored){heads > 1 ? votes[i] : (double)attention[i], i};
    qsort(list, (size_t)patches, sizeof(*list), by_score);
    for (int64_t i = 0; i < k; i++) out[i] = list[i].patch;
    return SW_OK;
}

static sw_status check_attention(const float *attention, int64_t n, sw_error *err)
{
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(attention[i])) return sw_error_set(err, SW_E_INVALID, "attention %g is not a weight", (double)attention[i]);
    }
    return SW_OK;
}

sw_status sw_sample_attended(const sw_sample_plan *plan, const float *attention, int heads, int64_t patches, bool pad,
                             uint64_t seed, uint32_t epoch, uint32_t bag, sw_pick *out, int64_t *n_out, sw_error *err)
{
    int64_t want = plan->total, best = want, n = want;
    SW_TRY(check_scale(patches, want, 0, err));
    SW_TRY(check_attention(attention, heads * patches, err));
    if (plan->ratio > 0 && plan->ratio < 1) best = (int64_t)((double)want / plan->ratio);
    if (best > patches) best = patches;
    SW_AUTOFREE int64_t *index = sw_malloc((size_t)(best > want ? best : want) * sizeof(*index));
    if (!index) return sw_nomem(err);
    if (patches <= want) {
        n = take_all(plan, patches, pad, seed, epoch, bag, 0, index);
    } else {
        sw_rng rng = sw_rng_stream(seed, SW_RNG_SAMPLE, epoch, bag, 0);
        SW_TRY(choose(attention, heads, patches, best, index, err));
        if (best > want) shuffle_some(&rng, index, best, want);
    }
    for (int64_t i = 0; i < n; i++) out[i] = (sw_pick){.scale = 0, .patch = index[i]};
    *n_out = n;
    return SW_OK;
}

/* --- clusters */

/* Draws of cluster `c` behind the `n` picks there are; returns how many these are then. */
static int64_t draw_cluster(const sw_sample_plan *plan, const int32_t *cluster, int64_t patches, int32_t c, int64_t *index, sw_rng *rng,
                            sw_pick *out, int32_t *of, int64_t n)
{
    int64_t have = 0, take = plan->total - n;
    for (int64_t i = 0; i < patches; i++)
        if (cluster[i] == c) index[have++] = i;
    if (take > plan->per_cluster) take = plan->per_cluster;
    if (take > have) take = have;
    shuffle_some(rng, index, have, take);
    for (int64_t i = 0; i < take; i++) {
        out[n] = (sw_pick){.scale = 0, .patch = index[i]};
        of[n++] = c;
    }
    return n;
}

sw_status sw_sample_clustered(const sw_sample_plan *plan, const int32_t *cluster, int64_t patches, bool pad, uint64_t seed,
                              uint32_t epoch, uint32_t bag, sw_pick *out, int32_t *of, int64_t *n_out, sw_error *err)
{
    int64_t n = 0;
    int32_t top = -1;
    SW_TRY(check_scale(patches, plan->total, 0, err));
    SW_AUTOFREE int64_t *index = sw_malloc((size_t)patches * sizeof(*index));
    if (!index) return sw_nomem(err);
    for (int64_t i = 0; i < patches; i++) top = cluster[i] > top ? cluster[i] : top;
    sw_rng rng = sw_rng_stream(seed, SW_RNG_SAMPLE, epoch, bag, 0);
    for (int32_t c = 0; c <= top; c++) n = draw_cluster(plan, cluster, patches, c, index, &rng, out, of, n);
    if (n == 0) return sw_error_set(err, SW_E_INVALID, "no patch is in a cluster");
    int64_t drawn = n;
    sw_rng again = sw_rng_stream(seed, SW_RNG_PAD, epoch, bag, 0);
    for (; pad && n < plan->total; n++) {
        out[n] = out[sw_rng_below(&again, (uint64_t)drawn)];
        of[n] = -1;
    }
    *n_out = n;
    return SW_OK;
}

sw_status sw_sample_best(const float *scores, int64_t n, int64_t k, int32_t *cluster, sw_error *err)
{
    SW_AUTOFREE scored *list = sw_malloc((size_t)n * sizeof(*list));
    if (!list) return sw_nomem(err);
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(scores[i])) return sw_error_set(err, SW_E_INVALID, "score %g of patch %lld is not a number", (double)scores[i], (long long)i);
        list[i] = (scored){(double)scores[i], i};
        cluster[i] = -1;
    }
    qsort(list, (size_t)n, sizeof(*list), by_score);
    for (int64_t i = 0; i < k && i < n; i++) cluster[list[i].patch] = 0;
    return SW_OK;
}

void sw_sample_order(uint64_t seed, uint32_t epoch, int64_t *index, int64_t n)
{
    sw_rng rng = sw_rng_stream(seed, SW_RNG_SHUFFLE, epoch, 0, 0);
    sw_rng_shuffle(&rng, index, (size_t)n);
}

int64_t sw_oversample_counts(int n_classes, const int64_t *count, double ratio, int64_t *out)
{
    int64_t most = 0, sum = 0;
    for (int k = 0; k < n_classes; k++) most = count[k] > most ? count[k] : most;
    int64_t least = (int64_t)floor(ratio * (double)most + 0.5);
    for (int k = 0; k < n_classes; k++) {
        out[k] = count[k] > 0 && count[k] < least ? least : count[k];
        sum += out[k];
    }
    return sum;
}

sw_status sw_oversample(uint64_t seed, uint32_t epoch, const int *label, int64_t n, int n_classes, const int64_t *wanted,
                        int64_t stride, int64_t *out, sw_error *err)
{
    SW_AUTOFREE int64_t *of_class = sw_calloc((size_t)n + 1, sizeof(*of_class));
    if (!of_class) return sw_nomem(err);
    for (int k = 0; k < n_classes; k++) {
        int64_t have = 0;
        for (int64_t i = 0; i < n; i++) {
            if (label[i] == k) of_class[have++] = i;
        }
        int64_t whole = have > 0 ? wanted[k] / have : 0;
        for (int64_t copy = 0; copy < whole; copy++) {
            for (int64_t i = 0; i < have; i++) *out++ = of_class[i] + copy * stride;
        }
        int64_t rest = wanted[k] - whole * have;
        if (rest == 0) continue;
        sw_rng rng = sw_rng_stream(seed, SW_RNG_OVERSAMPLE, epoch, (uint32_t)k, 0);
        sw_rng_shuffle(&rng, of_class, (size_t)have);
        for (int64_t i = 0; i < rest; i++) *out++ = of_class[i] + whole * stride;
    }
    return SW_OK;
}

int64_t sw_sample_steps(int64_t n, int64_t batch, bool drop_last)
{
    if (n <= 0) return 0;
    if (n < batch) return 1;
    return drop_last ? n / batch : (n + batch - 1) / batch;
}
