/* SPDX-License-Identifier: Apache-2.0 */
#include "slidewise/store.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "store/store_parts.h"

size_t sw_store_setting_count(const sw_store *store)
{
    return store->settings.count;
}

const char *sw_store_setting_name(const sw_store *store, size_t index)
{
    return index < store->settings.count ? store->settings.name[index] : NULL;
}

const char *sw_store_setting(const sw_store *store, const char *name)
{
    return sw_setting_list_find(&store->settings, name);
}

int64_t sw_store_slide_count(const sw_store *store)
{
    return (int64_t)store->slides.count;
}

int64_t sw_store_find(const sw_store *store, const char *slide_id)
{
    return sw_record_list_find(&store->slides, slide_id);
}

static const sw_slide_record *record_of(const sw_store *store, int64_t slide)
{
    return slide >= 0 && (size_t)slide < store->slides.count ? store->slides.item[slide] : NULL;
}

const sw_store_slide *sw_store_slide_get(const sw_store *store, int64_t slide)
{
    const sw_slide_record *record = record_of(store, slide);
    return record ? &record->slide : NULL;
}

const char *sw_store_slide_id(const sw_store *store, int64_t slide)
{
    const sw_slide_record *record = record_of(store, slide);
    return record ? record->slide.slide_id : NULL;
}

int sw_store_scale_count(const sw_store *store, int64_t slide)
{
    const sw_slide_record *record = record_of(store, slide);
    return record ? record->slide.n_scales : 0;
}

const sw_store_scale *sw_store_scale_get(const sw_store *store, int64_t slide, int scale)
{
    const sw_slide_record *record = record_of(store, slide);
    return record && scale >= 0 && scale < record->slide.n_scales ? &record->slide.scale[scale] : NULL;
}

int sw_store_scale_find(const sw_store *store, int64_t slide, double mpp_um)
{
    int best = -1;
    double best_off = 0.01;
    for (int i = 0; i < sw_store_scale_count(store, slide); i++) {
        double off = fabs(sw_store_scale_get(store, slide, i)->mpp_um / mpp_um - 1.0);
        if (off <= best_off) {
            best = i;
            best_off = off;
        }
    }
    return best;
}

/* The LMDB that holds a slide. */
static sw_kv *kv_of(const sw_store *store, const sw_slide_record *record)
{
    return store->kv[record->part];
}

static sw_status no_scale(const sw_store *store, int64_t slide, int scale, sw_error *err)
{
    return sw_error_set(err, SW_E_INVALID, "store %s: there is no slide %lld with a scale %d in it (%lld slides)",
                        sw_store_path(store), (long long)slide, scale, (long long)sw_store_slide_count(store));
}

sw_status sw_store_coords(const sw_store *store, int64_t slide, int scale, int64_t *xy, sw_error *err)
{
    const sw_store_scale *s = sw_store_scale_get(store, slide, scale);
    if (!s) return no_scale(store, slide, scale, err);
    if (store->live) {
        memcpy(xy, sw_live_positions(store->live, record_of(store, slide)->number, scale), (size_t)s->n_patches * 16);
        return SW_OK;
    }
    if (store->features) return sw_features_coords(store->features, record_of(store, slide)->number, xy, err);
    const void *bytes;
    size_t size;
    char what[384];
    snprintf(what, sizeof what, "the coordinates of slide %s, scale %d,", sw_store_slide_id(store, slide), scale);
    const sw_slide_record *record = record_of(store, slide);
    sw_key key = sw_key_coords(record->number, scale);
    SW_TRY(sw_record_get(kv_of(store, record), &key, what, &bytes, &size, err));
    if (size != (size_t)s->n_patches * 16) {
        return sw_error_set(err, SW_E_FORMAT, "store %s: %s are %zu bytes for %lld patches; tile into a new store",
                            sw_store_path(store), what, size, (long long)s->n_patches);
    }
    sw_record_unpack(bytes, size / 8, xy);
    return SW_OK;
}

static sw_status check_patch(const sw_store *store, int64_t slide, int scale, int64_t index, sw_error *err)
{
    const sw_store_scale *s = sw_store_scale_get(store, slide, scale);
    if (!s) return no_scale(store, slide, scale, err);
    if (index >= 0 && index < s->n_patches) return SW_OK;
    return sw_error_set(err, SW_E_INVALID, "store %s: slide %s has no patch %lld at scale %d (%lld patches)", sw_store_path(store),
                        sw_store_slide_id(store, slide), (long long)index, scale, (long long)s->n_patches);
}

sw_status sw_store_patch(const sw_store *store, int64_t slide, int scale, int64_t index, const void **jpeg, size_t *size,
                         sw_error *err)
{
    SW_TRY(check_patch(store, slide, scale, index, err));
    if (store->features) return sw_error_set(err, SW_E_UNSUPPORTED, "%s: it holds features, there is no JPEG of a patch", sw_store_path(store));
    if (store->live) return sw_error_set(err, SW_E_UNSUPPORTED, "%s: its patches stay on their slides, there is no JPEG of them", sw_store_path(store));
    char what[384];
    const sw_slide_record *record = record_of(store, slide);
    snprintf(what, sizeof what, "patch %lld of slide %s, scale %d,", (long long)index, record->slide.slide_id, scale);
    sw_key key = sw_key_patch(record->number, scale, index);
    return sw_record_get(kv_of(store, record), &key, what, jpeg, size, err);
}

void sw_store_patch_done(const sw_store *store, const void *jpeg, size_t size)
{
    for (size_t i = 0; i < store->n_parts; i++) {
        if (sw_kv_done(store->kv[i], jpeg, size)) return;
    }
}

bool sw_store_has_jpegs(const sw_store *store)
{
    return store->live == NULL && store->features == NULL;
}

sw_status sw_store_pixels(const sw_store *store, int64_t slide, int scale, int64_t index, uint8_t *rgb, sw_error *err)
{
    SW_TRY(check_patch(store, slide, scale, index, err));
    if (store->features) return sw_error_set(err, SW_E_UNSUPPORTED, "%s: it holds features, there are no pixels of a patch", sw_store_path(store));
    if (!store->live) return sw_error_set(err, SW_E_UNSUPPORTED, "store %s: its patches are JPEGs, not pixels", sw_store_path(store));
    sw_status status = sw_live_read(store->live, record_of(store, slide)->number, scale, index, rgb, err);
    if (status == SW_OK || status == SW_E_NOMEM) return status;
    return sw_error_prefix(err, "slide %s, patch %lld", sw_store_slide_id(store, slide), (long long)index);
}

int sw_store_feature_dim(const sw_store *store)
{
    return store->features ? sw_features_dim(store->features) : 0;
}

sw_status sw_store_features(const sw_store *store, int64_t slide, const int64_t *index, int64_t n, float *out, sw_error *err)
{
    if (!store->features) return sw_error_set(err, SW_E_UNSUPPORTED, "store %s: it holds patches, there are no features of them", sw_store_path(store));
    for (int64_t i = 0; i < n; i++) SW_TRY(check_patch(store, slide, 0, index[i], err));
    return sw_features_rows(store->features, record_of(store, slide)->number, index, n, out, err);
}
