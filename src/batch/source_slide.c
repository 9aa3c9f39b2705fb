/* SPDX-License-Identifier: Apache-2.0 */
/* Patches read straight from a slide: no store is needed. */
#include <string.h>

#include "base/mem.h"
#include "batch/load.h"

typedef struct slide_source {
    sw_slide *slide;
    int64_t *xy; /* [count, 2] */
    int64_t count;
    int patch_px;
    double mpp_um;
} slide_source;

static sw_status read_patch(void *self, int64_t index, uint8_t *rgb, sw_error *err)
{
    const slide_source *s = self;
    sw_status status = sw_slide_read_patch(s->slide, s->xy[2 * index], s->xy[2 * index + 1], s->patch_px, s->mpp_um, rgb, err);
    if (status == SW_OK || status == SW_E_NOMEM) return status;
    return sw_error_prefix(err, "slide %s, patch %lld at %g um/px", sw_slide_get_info(s->slide)->slide_id,
                           (long long)index, s->mpp_um);
}

static sw_status places(void *self, double step_level0_px, float *xy, sw_error *err)
{
    const slide_source *s = self;
    if (!(step_level0_px > 0)) SW_TRY(sw_slide_patch_side(s->slide, s->patch_px, s->mpp_um, &step_level0_px, err));
    sw_places_of(s->xy, s->count, step_level0_px, xy);
    return SW_OK;
}

static void destroy(void *self)
{
    slide_source *s = self;
    sw_free(s->xy);
    sw_free(s);
}

static const sw_patch_source_ops ops = {.read = read_patch, .destroy = destroy, .places = places};

sw_status sw_patch_source_slide(sw_slide *slide, const int64_t *xy, int64_t count, int patch_px, double mpp_um,
                                sw_patch_source **out, sw_error *err)
{
    if (count < 0 || patch_px < 1 || !(mpp_um > 0)) {
        return sw_error_set(err, SW_E_INVALID, "%lld patches of %d px at %g um/px cannot be read from a slide",
                            (long long)count, patch_px, mpp_um);
    }
    SW_AUTOFREE slide_source *s = sw_calloc(1, sizeof(*s));
    SW_AUTOFREE int64_t *copy = sw_calloc((size_t)count + 1, 2 * sizeof(*copy));
    if (!s || !copy) return sw_nomem(err);
    if (count > 0) memcpy(copy, xy, (size_t)count * 2 * sizeof(*copy));
    *s = (slide_source){.slide = slide, .xy = copy, .count = count, .patch_px = patch_px, .mpp_um = mpp_um};
    SW_TRY(sw_patch_source_new(&ops, s, sw_slide_get_info(slide)->slide_id, count, patch_px, out, err));
    (void)SW_STEAL(s);
    (void)SW_STEAL(copy);
    return SW_OK;
}
