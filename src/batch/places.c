/* SPDX-License-Identifier: Apache-2.0 */
/* Where patches lie on the grid of their slide: columns and rows, for aggregators that go by them. */
#include <math.h>

#include "base/mem.h"
#include "batch/load.h"

void sw_places_unknown(float *xy, int64_t n)
{
    for (int64_t i = 0; i < 2 * n; i++) xy[i] = NAN;
}

void sw_places_of(const int64_t *level0, int64_t n, double step_level0_px, float *xy)
{
    for (int64_t i = 0; i < 2 * n; i++) xy[i] = (float)((double)level0[i] / step_level0_px);
}

void sw_places_below(float *xy, int64_t n, float *below)
{
    float low[2] = {INFINITY, INFINITY}, high = -INFINITY;
    for (int64_t i = 0; i < n; i++) {
        low[0] = fminf(low[0], xy[2 * i]);
        low[1] = fminf(low[1], xy[2 * i + 1]);
        high = fmaxf(high, xy[2 * i + 1]);
    }
    for (int64_t i = 0; i < n; i++) {
        xy[2 * i] -= low[0];
        xy[2 * i + 1] += *below - low[1];
    }
    if (n > 0) *below += roundf(high - low[1]) + 1.0f;
}

sw_status sw_store_places(const sw_store *store, int64_t slide, int scale, float *xy, sw_error *err)
{
    const sw_store_scale *s = sw_store_scale_get(store, slide, scale);
    double step = s->step_level0_px > 0 ? s->step_level0_px : s->patch_level0_px;
    if (!(step > 0)) {
        sw_places_unknown(xy, s->n_patches);
        return SW_OK;
    }
    SW_AUTOFREE int64_t *level0 = sw_malloc(((size_t)s->n_patches * 2 + 1) * sizeof *level0);
    if (!level0) return sw_nomem(err);
    SW_TRY(sw_store_coords(store, slide, scale, level0, err));
    sw_places_of(level0, s->n_patches, step, xy);
    return SW_OK;
}

/* Places of the picks of a bag that are of this slide and scale. */
static sw_status take(const sw_store *store, const sw_batch *b, int64_t first, int64_t slide, int scale, bool alone, float *below, sw_error *err)
{
    int64_t n = sw_store_scale_get(store, slide, scale)->n_patches;
    SW_AUTOFREE float *all = sw_malloc(((size_t)n * 2 + 1) * sizeof *all);
    if (!all) return sw_nomem(err);
    SW_TRY(sw_store_places(store, slide, scale, all, err));
    if (!alone) sw_places_below(all, n, below);
    for (int64_t i = first; i < first + b->bag_patches; i++) {
        if (b->slide[i] != slide || b->scale_index[i] != scale) continue;
        b->xy[2 * i] = all[2 * b->patch[i]];
        b->xy[2 * i + 1] = all[2 * b->patch[i] + 1];
    }
    return SW_OK;
}

sw_status sw_batch_places(const sw_store *store, const sw_dataset *dataset, const sw_bag_scales *scales, sw_batch *b, sw_error *err)
{
    for (int64_t i = 0; i < b->n_bags; i++) {
        const sw_bag *bag = &dataset->bag[b->bag[i]];
        int64_t slides = sw_bag_slides(bag);
        float below = 0;
        for (int s = 0; s < scales->n; s++)
            for (int64_t k = 0; k < slides; k++) {
                int64_t slide = sw_bag_slide(bag, k);
                int scale = slide < 0 ? -1 : sw_store_scale_find(store, slide, scales->mpp_um[s]);
                if (scale >= 0) SW_TRY(take(store, b, i * b->bag_patches, slide, scale, slides * scales->n == 1, &below, err));
            }
    }
    return SW_OK;
}
