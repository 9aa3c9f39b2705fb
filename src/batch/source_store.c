/* SPDX-License-Identifier: Apache-2.0 */
/* Patches of one slide of a store. */
#include "base/mem.h"
#include "batch/batch.h"
#include "batch/load.h"

typedef struct store_source {
    const sw_store *store;
    int64_t slide;
    int scale, patch_px;
} store_source;

sw_status sw_store_decode(const sw_store *store, int64_t slide, int scale, int64_t index, int patch_px, uint8_t *rgb,
                          sw_timer *timer, sw_error *err)
{
    const void *jpeg = NULL;
    size_t size = 0;
    SW_TRY(sw_store_patch(store, slide, scale, index, &jpeg, &size, err));
    if (timer) sw_timer_lap(timer, &timer->read_ns);
    sw_status status = sw_jpeg_decode_into(jpeg, size, SW_PIXEL_RGB, patch_px, patch_px, rgb, err);
    if (timer) sw_timer_lap(timer, &timer->decode_ns);
    if (status == SW_OK || status == SW_E_NOMEM) return status;
    return sw_error_prefix(err, "store %s: slide %s, patch %lld at %g um/px", sw_store_path(store),
                           sw_store_slide_id(store, slide), (long long)index,
                           sw_store_scale_get(store, slide, scale)->mpp_um);
}

static sw_status read_patch(void *self, int64_t index, uint8_t *rgb, sw_error *err)
{
    const store_source *s = self;
    return sw_store_decode(s->store, s->slide, s->scale, index, s->patch_px, rgb, NULL, err);
}

static const sw_patch_source_ops ops = {.read = read_patch, .destroy = sw_free};

sw_status sw_patch_source_store(const sw_store *store, int64_t slide, int scale, sw_patch_source **out, sw_error *err)
{
    const sw_store_scale *known = sw_store_scale_get(store, slide, scale);
    if (!known) {
        return sw_error_set(err, SW_E_INVALID, "store %s: there is no slide %lld with a scale %d in it", sw_store_path(store),
                            (long long)slide, scale);
    }
    SW_AUTOFREE store_source *s = sw_calloc(1, sizeof(*s));
    if (!s) return sw_nomem(err);
    *s = (store_source){.store = store, .slide = slide, .scale = scale, .patch_px = known->patch_px};
    SW_TRY(sw_patch_source_new(&ops, s, sw_store_slide_id(store, slide), known->n_patches, known->patch_px, out, err));
    (void)SW_STEAL(s);
    return SW_OK;
}
