/* SPDX-License-Identifier: Apache-2.0 */
#include "infer/predict_features.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "slidewise/slide.h"
#include "slidewise/store.h"

/* One store per file: each holds one slide. */
typedef struct opened {
    sw_store **store;
    int64_t n;
} opened;

static void opened_free(opened *o)
{
    for (int64_t i = 0; o->store && i < o->n; i++) sw_store_close(&o->store[i]);
    sw_free(o->store);
}

static sw_status open_all(const sw_feature_case *of, opened *o, sw_error *err)
{
    sw_store_features_options so = sw_store_features_options_default();
    o->store = sw_calloc((size_t)of->n + 1, sizeof(sw_store *));
    if (!o->store) return sw_nomem(err);
    so.cache_bytes = 0; /* each is read once */
    so.threads = 1;
    so.sink = of->sink;
    for (; o->n < of->n; o->n++) {
        so.path = of->file[o->n];
        SW_TRY(sw_store_open_features(&so, &o->store[o->n], err));
    }
    return SW_OK;
}

static sw_status join(const opened *o, const char *name, sw_patch_source **out, sw_error *err)
{
    int64_t made = 0;
    SW_AUTOFREE sw_patch_source **part = sw_calloc((size_t)o->n, sizeof(sw_patch_source *));
    if (!part) return sw_nomem(err);
    sw_status status = SW_OK;
    for (; made < o->n && status == SW_OK; made += status == SW_OK) status = sw_patch_source_store(o->store[made], 0, 0, &part[made], err);
    if (status == SW_OK) status = sw_patch_source_join(part, o->n, name, out, err);
    for (int64_t i = 0; status != SW_OK && i < made; i++) sw_patch_source_free(part[i]);
    return status;
}

/* Positions of one slide, in pixels of its level 0 where microns can be told as such; *there false: it holds none. */
static sw_status place(const sw_store *store, double slide_mpp_um, int64_t *xy, bool *there, sw_feature_places *out, sw_error *err)
{
    const sw_store_scale *scale = sw_store_scale_get(store, 0, 0);
    double unit_um = sw_store_slide_get(store, 0)->mpp_um, factor = unit_um > 0 && slide_mpp_um > 0 ? unit_um / slide_mpp_um : 1.0;
    sw_status status = sw_store_coords(store, 0, 0, xy, err);
    *there = status == SW_OK;
    if (status == SW_E_NOT_FOUND) return SW_OK;
    SW_TRY(status);
    for (int64_t i = 0; i < 2 * scale->n_patches && factor != 1.0; i++) xy[i] = llround((double)xy[i] * factor);
    out->patch_level0_px = scale->patch_level0_px * factor;
    return SW_OK;
}

static sw_status find_places(const opened *o, const sw_feature_case *of, int64_t n_patches, sw_feature_places *out, sw_error *err)
{
    SW_AUTOFREE int64_t *xy = sw_malloc((size_t)n_patches * 2 * sizeof *xy);
    bool there = true;
    if (!xy) return sw_nomem(err);
    out->patch_px = sw_store_scale_get(o->store[0], 0, 0)->patch_px;
    for (int64_t i = 0, at = 0; i < o->n && there; i++) {
        SW_TRY(place(o->store[i], of->slide_mpp_um ? of->slide_mpp_um[i] : 0.0, xy + 2 * at, &there, out, err));
        at += sw_store_scale_get(o->store[i], 0, 0)->n_patches;
    }
    if (there) out->xy = SW_STEAL(xy);
    return SW_OK;
}

sw_status sw_predict_features(sw_model *model, const sw_feature_case *of, sw_bag_result *bag, sw_feature_places *places, sw_error *err)
{
    SW_CLEANUP(opened_free) opened o = {0};
    sw_patch_source *source = NULL;
    sw_meter meter;
    *places = (sw_feature_places){0};
    SW_TRY(open_all(of, &o, err));
    SW_TRY(join(&o, of->name, &source, err));
    int64_t n = sw_patch_source_count(source);
    sw_meter_start(&meter, of->sink, of->name, "patches", n);
    sw_infer_options io = {.chunk_patches = n, .crop_px = 1, .ahead = 1, .meter = &meter};
    sw_status status = sw_infer_bag(model, source, &io, bag, err);
    sw_patch_source_free(source);
    return status == SW_OK ? find_places(&o, of, n, places, err) : status;
}

sw_status sw_features_of_slide(const char *features, const char *slide_id, char **file, sw_error *err)
{
    SW_CLEANUP(sw_slide_list_free) sw_slide_list list = {0};
    SW_TRY(sw_store_features_list(&features, 1, &list, err));
    for (size_t i = 0; i < list.count; i++) {
        if (strcmp(list.entry[i].slide_id, slide_id) != 0) continue;
        *file = sw_strdup(list.entry[i].path);
        return *file ? SW_OK : sw_nomem(err);
    }
    return sw_error_set(err, SW_E_NOT_FOUND, "slide %s: there is no %s.h5 among the %zu files of features of %s", slide_id, slide_id, list.count, features);
}
