/* SPDX-License-Identifier: Apache-2.0 */
#include "slidewise/store.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "store/kv.h"
#include "store/record.h"

struct sw_store {
    sw_kv *kv;
    sw_setting_list settings;
    sw_record_list slides;
};

void sw_store_close(sw_store **address)
{
    sw_store *store = *address;
    *address = NULL;
    if (!store) return;
    sw_record_list_free(&store->slides);
    sw_setting_list_free(&store->settings);
    sw_kv_close(&store->kv);
    sw_free(store);
}

sw_status sw_store_open(const char *path, sw_store **out, sw_error *err)
{
    SW_CLEANUP(sw_store_close) sw_store *store = sw_calloc(1, sizeof *store);
    bool found;
    if (!store) return sw_nomem(err);
    SW_TRY(sw_kv_open_read(path, &store->kv, err));
    SW_TRY(sw_record_get_meta(store->kv, &store->settings, &found, err));
    if (!found) {
        return sw_error_set(err, SW_E_FORMAT, "store %s: it is empty; fill it with: slidewise tile SLIDES --store %s", path,
                            path);
    }
    SW_TRY(sw_record_list_load(store->kv, &store->slides, err));
    *out = SW_STEAL(store);
    return SW_OK;
}

const char *sw_store_path(const sw_store *store)
{
    return sw_kv_dir(store->kv);
}

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
    return slide >= 0 && (size_t)slide < store->slides.count ? &store->slides.item[slide] : NULL;
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

static sw_status no_scale(const sw_store *store, int64_t slide, int scale, sw_error *err)
{
    return sw_error_set(err, SW_E_INVALID, "store %s: there is no slide %lld with a scale %d in it (%lld slides)",
                        sw_store_path(store), (long long)slide, scale, (long long)sw_store_slide_count(store));
}

static void decode_coords(const uint8_t *bytes, int64_t n, int64_t *xy)
{
    for (int64_t i = 0; i < 2 * n; i++) {
        uint64_t value = 0;
        for (int b = 7; b >= 0; b--) value = value << 8 | bytes[8 * i + b];
        xy[i] = (int64_t)value;
    }
}

sw_status sw_store_coords(const sw_store *store, int64_t slide, int scale, int64_t *xy, sw_error *err)
{
    const sw_store_scale *s = sw_store_scale_get(store, slide, scale);
    if (!s) return no_scale(store, slide, scale, err);
    const void *bytes;
    size_t size;
    char what[384];
    snprintf(what, sizeof what, "the coordinates of slide %s, scale %d,", sw_store_slide_id(store, slide), scale);
    sw_key key = sw_key_coords(record_of(store, slide)->number, scale);
    SW_TRY(sw_record_get(store->kv, &key, what, &bytes, &size, err));
    if (size != (size_t)s->n_patches * 16) {
        return sw_error_set(err, SW_E_FORMAT, "store %s: %s are %zu bytes for %lld patches; tile into a new store",
                            sw_store_path(store), what, size, (long long)s->n_patches);
    }
    decode_coords(bytes, s->n_patches, xy);
    return SW_OK;
}

sw_status sw_store_patch(const sw_store *store, int64_t slide, int scale, int64_t index, const void **jpeg, size_t *size,
                         sw_error *err)
{
    const sw_store_scale *s = sw_store_scale_get(store, slide, scale);
    if (!s) return no_scale(store, slide, scale, err);
    if (index < 0 || index >= s->n_patches) {
        return sw_error_set(err, SW_E_INVALID, "store %s: slide %s has no patch %lld at scale %d (%lld patches)",
                            sw_store_path(store), sw_store_slide_id(store, slide), (long long)index, scale,
                            (long long)s->n_patches);
    }
    char what[384];
    snprintf(what, sizeof what, "patch %lld of slide %s, scale %d,", (long long)index, sw_store_slide_id(store, slide), scale);
    sw_key key = sw_key_patch(record_of(store, slide)->number, scale, index);
    return sw_record_get(store->kv, &key, what, jpeg, size, err);
}

/* ---- checking everything */

static sw_status verify_scale(const sw_store *store, int64_t slide, int scale, int64_t *checked, sw_error *err)
{
    int64_t n = sw_store_scale_get(store, slide, scale)->n_patches;
    SW_AUTOFREE int64_t *xy = sw_calloc((size_t)(n > 0 ? n : 1) * 2, sizeof *xy);
    if (!xy) return sw_nomem(err);
    SW_TRY(sw_store_coords(store, slide, scale, xy, err));
    for (int64_t i = 0; i < n; i++) {
        const void *jpeg;
        size_t size;
        SW_TRY(sw_store_patch(store, slide, scale, i, &jpeg, &size, err));
    }
    *checked += n + 1;
    return SW_OK;
}

sw_status sw_store_verify(const sw_store *store, const sw_sink *sink, int64_t *n_records, sw_error *err)
{
    int64_t checked = 1; /* the head record, when it was opened */
    sw_meter meter;
    sw_meter_start(&meter, sink, "verify", "slides", sw_store_slide_count(store));
    for (int64_t i = 0; i < sw_store_slide_count(store); i++) {
        if (sw_log_cancelled(sink)) return sw_error_set(err, SW_E_CANCELLED, "cancelled");
        for (int s = 0; s < sw_store_scale_count(store, i); s++) SW_TRY(verify_scale(store, i, s, &checked, err));
        checked++;
        sw_meter_tick(&meter, i + 1, (double)(i + 1), "reading", sw_store_slide_id(store, i));
    }
    if (n_records) *n_records = checked;
    return SW_OK;
}
