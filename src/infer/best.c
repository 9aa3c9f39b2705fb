/* SPDX-License-Identifier: Apache-2.0 */
/* The best patches of a prediction as a file of positions, for another training to read. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "sampler/sampler.h"
#include "slidewise/predict.h"
#include "store/coords_parts.h"

/* [n_patches], owned by the caller: the model's own scores, or the mean attention of its heads. */
static sw_status scores_of(const sw_slide_prediction *p, float **out, sw_error *err)
{
    *out = sw_calloc((size_t)p->n_patches + 1, sizeof **out);
    if (!*out) return sw_nomem(err);
    for (int64_t i = 0; i < p->n_patches; i++) {
        double sum = p->score ? p->score[i] : 0.0;
        for (int h = 0; !p->score && h < p->n_heads; h++) sum += p->attention[h * p->n_patches + i] / p->n_heads;
        (*out)[i] = (float)sum;
    }
    return SW_OK;
}

static sw_status check(const sw_slide_prediction *p, int64_t count, sw_error *err)
{
    if (count < 1) return sw_error_set(err, SW_E_INVALID, "%lld best patches: give a number above 0", (long long)count);
    if (p->n_slides != 1)
        return sw_error_set(err, SW_E_INVALID, "case %s: the best patches of a case lie on several slides; predict slide by slide", p->slide_id);
    if (!p->score && !p->attention)
        return sw_error_set(err, SW_E_INVALID, "slide %s: the run's aggregator says nothing of single patches, so that none are the best", p->slide_id);
    if (!p->xy || !(p->mpp_um > 0) || !(p->patch_level0_px > 0) || p->tile_px < 1)
        return sw_error_set(err, SW_E_INVALID, "slide %s: its features do not say where and how large patches are; give the slides, and their "
                                               "features with --features", p->slide_id);
    return SW_OK;
}

sw_status sw_slide_prediction_write_best(const sw_slide_prediction *p, int64_t count, const char *dir, sw_error *err)
{
    SW_TRY(check(p, count, err));
    SW_AUTOFREE float *score = NULL;
    SW_AUTOFREE int32_t *cluster = sw_calloc((size_t)p->n_patches + 1, sizeof *cluster);
    SW_AUTOFREE int64_t *xy = sw_calloc((size_t)p->n_patches * 2 + 1, sizeof *xy);
    int64_t n = 0;
    if (!cluster || !xy) return sw_nomem(err);
    SW_TRY(scores_of(p, &score, err));
    SW_TRY(sw_sample_best(score, p->n_patches, count, cluster, err));
    for (int64_t i = 0; i < p->n_patches; i++) {
        if (cluster[i] != 0) continue;
        memcpy(xy + 2 * n, p->xy + 2 * i, 2 * sizeof *xy);
        n++;
    }
    const sw_coords_geometry g = {.slide_id = p->slide_id, .folder = dir, .patch_px = p->tile_px, .patch_level0_px = p->patch_level0_px,
                                  .magnification = 10.0 / p->mpp_um, .level0_mpp_um = p->mpp_um * p->tile_px / p->patch_level0_px};
    return sw_coords_write_places(dir, &g, xy, n, err);
}
