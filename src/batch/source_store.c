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

static sw_status read_patch(void *self, int64_t index, uint8_t *rgb, sw_error *err)
{
    const store_source *s = self;
    const void *jpeg = NULL;
    size_t size = 0;
    if (!sw_store_has_jpegs(s->store)) return sw_store_pixels(s->store, s->slide, s->scale, index, rgb, err);
    SW_TRY(sw_store_patch(s->store, s->slide, s->scale, index, &jpeg, &size, err));
    sw_status status = sw_jpeg_decode_into(jpeg, size, SW_PIXEL_RGB, s->patch_px, s->patch_px, rgb, err);
    sw_store_patch_done(s->store, jpeg, size);
    if (status == SW_OK || status == SW_E_NOMEM) return status;
    return sw_error_prefix(err, "store %s: slide %s, patch %lld at %g um/px", sw_store_path(s->store),
                           sw_store_slide_id(s->store, s->slide), (long long)index,
                           sw_store_scale_get(s->store, s->slide, s->scale)->mpp_um);
}

static sw_status places(void *self, double step_level0_px, float *xy, sw_error *err)
{
    const store_source *s = self;
    (void)step_level0_px; /* the store knows it */
    return sw_store_places(s->store, s->slide, s->scale, xy, err);
}

static const sw_patch_source_ops ops = {.read = read_patch, .destroy = sw_free, .places = places};

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

sw_status sw_patch_source_features(sw_patch_source *source, int64_t first, int64_t count, int dim, float *out, sw_error *err)
{
    SW_AUTOFREE int64_t *index = sw_malloc((size_t)count * sizeof *index + 1);
    if (!index) return sw_nomem(err);
    for (int64_t done = 0; done < count;) {
        const sw_store *store = NULL;
        int64_t slide = 0, at = first + done, n = 0;
        int scale = 0;
        sw_patch_source *part = sw_patch_source_part(source, &at);
        int have = sw_patch_source_is_store(part, &store, &slide, &scale) ? sw_store_feature_dim(store) : 0;
        if (have == 0) return sw_error_set(err, SW_E_INVALID, "slide %s: the model takes features, not pixels", sw_patch_source_name(part));
        if (have != dim)
            return sw_error_set(err, SW_E_INVALID, "%s: its features are %d wide, but the model was trained on features %d wide; give features of the same encoder",
                                sw_store_slide_get(store, slide)->path, have, dim);
        for (; done + n < count && at + n < sw_patch_source_count(part); n++) index[n] = at + n;
        SW_TRY(sw_store_features(store, slide, index, n, out + (size_t)done * (size_t)dim, err));
        done += n;
    }
    return SW_OK;
}

bool sw_patch_source_is_store(const sw_patch_source *source, const sw_store **store, int64_t *slide, int *scale)
{
    void *self = NULL;
    if (!sw_patch_source_is(source, &ops, &self)) return false;
    const store_source *s = self;
    *store = s->store;
    *slide = s->slide;
    *scale = s->scale;
    return true;
}
