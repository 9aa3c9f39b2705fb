/* SPDX-License-Identifier: Apache-2.0 */
/* A bag's patches: those of its slides, one slide after the other. */
#include "base/mem.h"
#include "batch/batch.h"

static int64_t patches_of(const sw_store *store, int64_t slide, double mpp_um, int *scale)
{
    *scale = slide < 0 ? -1 : sw_store_scale_find(store, slide, mpp_um);
    return *scale < 0 ? 0 : sw_store_scale_get(store, slide, *scale)->n_patches;
}

int64_t sw_bag_patches(const sw_store *store, const sw_bag *bag, double mpp_um)
{
    int64_t n = 0;
    int scale;
    for (int64_t i = 0; i < sw_bag_slides(bag); i++) n += patches_of(store, sw_bag_slide(bag, i), mpp_um, &scale);
    return n;
}

sw_bag_place sw_bag_locate(const sw_store *store, const sw_bag *bag, double mpp_um, int64_t patch)
{
    sw_bag_place place = {.slide = -1, .scale = -1};
    for (int64_t i = 0; i < sw_bag_slides(bag); i++) {
        int64_t slide = sw_bag_slide(bag, i);
        int scale;
        int64_t n = patches_of(store, slide, mpp_um, &scale);
        if (patch < n) {
            place = (sw_bag_place){.slide = slide, .scale = scale, .patch = patch};
            break;
        }
        patch -= n;
    }
    return place;
}

static sw_status slide_source(const sw_store *store, const sw_bag *bag, int64_t slide, double mpp_um, sw_patch_source **out,
                              sw_error *err)
{
    int scale = sw_store_scale_find(store, slide, mpp_um);
    if (scale < 0)
        return sw_error_set(err, SW_E_NOT_FOUND, "%s: slide %s has no patches at %g um per pixel; tile it at that resolution",
                            sw_store_path(store), sw_bag_slides(bag) == 1 ? bag->slide_id : sw_store_slide_id(store, slide), mpp_um);
    return sw_patch_source_store(store, slide, scale, out, err);
}

sw_status sw_bag_source(const sw_store *store, const sw_bag *bag, double mpp_um, sw_patch_source **out, sw_error *err)
{
    int64_t n = sw_bag_slides(bag), made = 0;
    if (n == 1) return slide_source(store, bag, bag->store_slide, mpp_um, out, err);
    SW_AUTOFREE sw_patch_source **part = sw_calloc((size_t)n, sizeof(sw_patch_source *));
    if (!part) return sw_nomem(err);
    sw_status status = SW_OK;
    for (; made < n && status == SW_OK; made += status == SW_OK)
        status = slide_source(store, bag, sw_bag_slide(bag, made), mpp_um, &part[made], err);
    if (status == SW_OK) status = sw_patch_source_join(part, n, bag->slide_id, out, err);
    for (int64_t i = 0; status != SW_OK && i < made; i++) sw_patch_source_free(part[i]);
    return status;
}
