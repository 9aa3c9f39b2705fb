/* SPDX-License-Identifier: Apache-2.0 */
/* Attention values made ready for pictures: heads, scaling, ranks, colours, rasters. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "explain/explain.h"
#include "slidewise/predict.h"

sw_explain_options sw_explain_options_default(void)
{
    return (sw_explain_options){
        .head = SW_HEAD_MEAN, .scale = SW_HEAT_RANK, .alpha = 0.5, .max_pixels = 4000000, .top = 16};
}

sw_status sw_attention_map_of(const struct sw_slide_prediction *prediction, sw_attention_map *out, sw_error *err)
{
    if (!prediction->attention || prediction->n_heads < 1 || prediction->n_patches < 1) {
        return sw_error_set(err, SW_E_INVALID,
                            "slide \"%s\": the model gives no attention, so there is no heatmap; train with aggregator "
                            "abmilx or abmil",
                            prediction->slide_id);
    }
    if (!prediction->xy || !(prediction->patch_level0_px > 0)) {
        return sw_error_set(err, SW_E_INVALID, "slide \"%s\": its features came without %s, so there is no place for a heatmap", prediction->slide_id,
                            prediction->xy ? "the size of their patches" : "positions (no dataset \"coords\" in their file)");
    }
    *out = (sw_attention_map){.slide_id = prediction->slide_id,
                              .n_patches = prediction->n_patches,
                              .n_heads = prediction->n_heads,
                              .xy = prediction->xy,
                              .patch_level0_px = prediction->patch_level0_px,
                              .mpp_um = prediction->mpp_um,
                              .patch_px = prediction->patch_px,
                              .attention = prediction->attention};
    return SW_OK;
}

sw_status sw_attention_map_check(const sw_attention_map *map, int head, sw_error *err)
{
    const char *id = map->slide_id ? map->slide_id : "";
    if (!map->xy || !map->attention || map->n_patches < 1 || map->n_heads < 1) {
        return sw_error_set(err, SW_E_INVALID, "slide \"%s\": there is no attention to show", id);
    }
    if (!(map->patch_level0_px > 0)) {
        return sw_error_set(err, SW_E_INVALID, "slide \"%s\": patches of %g pixels cannot be shown", id,
                            map->patch_level0_px);
    }
    if (head != SW_HEAD_MEAN && (head < 0 || head >= map->n_heads)) {
        return sw_error_set(err, SW_E_INVALID, "slide \"%s\": head %d does not exist; the model has heads 0 to %d", id, head,
                            map->n_heads - 1);
    }
    return SW_OK;
}

static sw_status add_head(const sw_attention_map *map, int head, double share, double *out, sw_error *err)
{
    const float *row = map->attention + (int64_t)head * map->n_patches;
    double sum = 0;
    for (int64_t i = 0; i < map->n_patches; i++) {
        if (!(row[i] >= 0) || isinf(row[i])) {
            return sw_error_set(err, SW_E_INVALID, "slide \"%s\": head %d, patch %lld: attention %g is not a weight",
                                map->slide_id, head, (long long)i, (double)row[i]);
        }
        sum += row[i];
    }
    if (!(sum > 0)) {
        return sw_error_set(err, SW_E_INVALID, "slide \"%s\": head %d: all attention is zero", map->slide_id, head);
    }
    for (int64_t i = 0; i < map->n_patches; i++) out[i] += share * row[i] / sum;
    return SW_OK;
}

sw_status sw_attention_of_head(const sw_attention_map *map, int head, double *out, sw_error *err)
{
    SW_TRY(sw_attention_map_check(map, head, err));
    memset(out, 0, (size_t)map->n_patches * sizeof *out);
    if (head != SW_HEAD_MEAN) return add_head(map, head, 1, out, err);
    for (int h = 0; h < map->n_heads; h++) SW_TRY(add_head(map, h, 1.0 / map->n_heads, out, err));
    return SW_OK;
}

static int by_falling_value(const void *a, const void *b, void *values)
{
    int64_t i = *(const int64_t *)a, j = *(const int64_t *)b;
    const double *v = values;
    if (v[i] != v[j]) return v[i] < v[j] ? 1 : -1;
    return (i > j) - (i < j);
}

/* Percentile ranks: ties share the mean of their places. */
static void rank_scaled(const double *value, const int64_t *order, int64_t n, double *out)
{
    for (int64_t from = 0; from < n;) {
        int64_t to = from + 1;
        while (to < n && value[order[to]] == value[order[from]]) to++;
        double place = (double)(from + to - 1) / 2; /* 0: largest */
        for (int64_t i = from; i < to; i++) out[order[i]] = 1 - place / (double)(n - 1);
        from = to;
    }
}

static sw_status falling_order(const double *value, int64_t n, int64_t *order, sw_error *err)
{
    for (int64_t i = 0; i < n; i++) {
        if (isnan(value[i])) return sw_error_set(err, SW_E_INVALID, "value %lld is not a number", (long long)i);
        order[i] = i;
    }
    qsort_r(order, (size_t)n, sizeof *order, by_falling_value, (void *)value);
    return SW_OK;
}

static void scaled(const double *value, const int64_t *order, int64_t n, sw_heat_scale scale, double *out)
{
    double high = value[order[0]], low = value[order[n - 1]];
    if (n == 1 || high <= low) {
        for (int64_t i = 0; i < n; i++) out[i] = 0.5;
    } else if (scale == SW_HEAT_RANK) {
        rank_scaled(value, order, n, out);
    } else {
        for (int64_t i = 0; i < n; i++) out[i] = (value[i] - low) / (high - low);
    }
}

sw_status sw_heat_scaled(const double *value, int64_t n, sw_heat_scale scale, double *out, sw_error *err)
{
    SW_AUTOFREE int64_t *order = NULL;
    if (n < 1) return SW_OK;
    order = sw_calloc((size_t)n, sizeof *order);
    if (!order) return sw_nomem(err);
    SW_TRY(falling_order(value, n, order, err));
    scaled(value, order, n, scale, out);
    return SW_OK;
}

void sw_heat_free(sw_heat *heat)
{
    sw_free(heat->attention);
    sw_free(heat->heat);
    sw_free(heat->percentile);
    sw_free(heat->order);
    sw_free(heat->rank);
    *heat = (sw_heat){0};
}

sw_status sw_heat_make(const sw_attention_map *map, int head, sw_heat_scale scale, sw_heat *out, sw_error *err)
{
    SW_CLEANUP(sw_heat_free) sw_heat h = {0};
    size_t n;
    SW_TRY(sw_attention_map_check(map, head, err));
    n = (size_t)map->n_patches;
    h.n = map->n_patches;
    h.attention = sw_calloc(n, sizeof *h.attention);
    h.heat = sw_calloc(n, sizeof *h.heat);
    h.percentile = sw_calloc(n, sizeof *h.percentile);
    h.order = sw_calloc(n, sizeof *h.order);
    h.rank = sw_calloc(n, sizeof *h.rank);
    if (!h.attention || !h.heat || !h.percentile || !h.order || !h.rank) return sw_nomem(err);
    SW_TRY(sw_attention_of_head(map, head, h.attention, err));
    SW_TRY(falling_order(h.attention, h.n, h.order, err));
    scaled(h.attention, h.order, h.n, scale, h.heat);
    scaled(h.attention, h.order, h.n, SW_HEAT_RANK, h.percentile);
    for (int64_t i = 0; i < h.n; i++) h.rank[h.order[i]] = i + 1;
    *out = h;
    h = (sw_heat){0};
    return SW_OK;
}

/* Pixels whose centre lies in [from, from + side), at least one. */
static void span(double from, double side, int64_t limit, int64_t *first, int64_t *last)
{
    *first = (int64_t)ceil(from - 0.5);
    *last = (int64_t)ceil(from + side - 0.5) - 1;
    if (*last < *first) *last = *first = (int64_t)floor(from + side / 2);
    if (*first < 0) *first = 0;
    if (*last >= limit) *last = limit - 1;
}

sw_status sw_heat_raster(const sw_attention_map *map, const double *heat, double x0, double y0, double step,
                         int64_t width, int64_t height, float *out, sw_error *err)
{
    SW_AUTOFREE float *count = sw_calloc((size_t)(width * height), sizeof *count);
    if (!count) return sw_nomem(err);
    memset(out, 0, (size_t)(width * height) * sizeof *out);
    for (int64_t i = 0; i < map->n_patches; i++) {
        int64_t left, right, top, bottom;
        double side = map->patch_level0_px / step;
        span(((double)map->xy[2 * i] - x0) / step, side, width, &left, &right);
        span(((double)map->xy[2 * i + 1] - y0) / step, side, height, &top, &bottom);
        for (int64_t y = top; y <= bottom; y++) {
            for (int64_t x = left; x <= right; x++) {
                out[y * width + x] += (float)heat[i];
                count[y * width + x] += 1;
            }
        }
    }
    for (int64_t p = 0; p < width * height; p++) out[p] = count[p] > 0 ? out[p] / count[p] : NAN;
    return SW_OK;
}
