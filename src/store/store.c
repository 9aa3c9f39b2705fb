/* SPDX-License-Identifier: Apache-2.0 */
#include "slidewise/store.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "store/kv.h"
#include "store/live.h"
#include "store/record.h"

struct sw_store {
    sw_kv *kv;     /* NULL: the patches stay on their slides */
    sw_live *live; /* NULL: they are in the store */
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
    sw_live_close(&store->live);
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
    return store->kv ? sw_kv_dir(store->kv) : sw_live_name(store->live);
}

sw_store_slides_options sw_store_slides_options_default(void)
{
    return (sw_store_slides_options){.cache_bytes = (int64_t)256 << 20};
}

sw_status sw_store_open_slides(const sw_store_slides_options *options, sw_store **out, sw_error *err)
{
    SW_CLEANUP(sw_store_close) sw_store *store = sw_calloc(1, sizeof *store);
    if (!store) return sw_nomem(err);
    SW_TRY(sw_live_open(options, &store->slides, &store->settings, &store->live, err));
    *out = SW_STEAL(store);
    return SW_OK;
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

sw_status sw_store_coords(const sw_store *store, int64_t slide, int scale, int64_t *xy, sw_error *err)
{
    const sw_store_scale *s = sw_store_scale_get(store, slide, scale);
    if (!s) return no_scale(store, slide, scale, err);
    if (store->live) {
        memcpy(xy, sw_live_positions(store->live, record_of(store, slide)->number, scale), (size_t)s->n_patches * 16);
        return SW_OK;
    }
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
    if (store->live) return sw_error_set(err, SW_E_UNSUPPORTED, "%s: its patches stay on their slides, there is no JPEG of them", sw_store_path(store));
    char what[384];
    snprintf(what, sizeof what, "patch %lld of slide %s, scale %d,", (long long)index, record_of(store, slide)->slide.slide_id, scale);
    sw_key key = sw_key_patch(record_of(store, slide)->number, scale, index);
    return sw_record_get(store->kv, &key, what, jpeg, size, err);
}

void sw_store_patch_done(const sw_store *store, const void *jpeg, size_t size)
{
    if (store->kv) sw_kv_done(store->kv, jpeg, size);
}

bool sw_store_has_jpegs(const sw_store *store)
{
    return store->live == NULL;
}

sw_status sw_store_pixels(const sw_store *store, int64_t slide, int scale, int64_t index, uint8_t *rgb, sw_error *err)
{
    SW_TRY(check_patch(store, slide, scale, index, err));
    if (!store->live) return sw_error_set(err, SW_E_UNSUPPORTED, "store %s: its patches are JPEGs, not pixels", sw_store_path(store));
    sw_status status = sw_live_read(store->live, record_of(store, slide)->number, scale, index, rgb, err);
    if (status == SW_OK || status == SW_E_NOMEM) return status;
    return sw_error_prefix(err, "slide %s, patch %lld", sw_store_slide_id(store, slide), (long long)index);
}

/* ---- checking everything */

typedef struct checking {
    const sw_store *store;
    sw_store_fault_fn fn;
    void *ctx;
    int64_t records, faults;
} checking;

static void fault(checking *c, int64_t slide, int scale, int64_t patch, const char *message)
{
    sw_store_fault f = {.slide = slide, .scale = scale, .patch = patch, .message = message};
    c->faults++;
    if (c->fn) c->fn(c->ctx, &f);
}

/* Only what lies in the store is a fault; anything else ends the check. */
static sw_status note(checking *c, sw_status status, int64_t slide, int scale, int64_t patch, const sw_error *why, sw_error *err)
{
    c->records++;
    if (status == SW_OK) return SW_OK;
    if (status != SW_E_FORMAT) return sw_error_set(err, status, "%s", why->message);
    fault(c, slide, scale, patch, why->message);
    return SW_OK;
}

static sw_status check_scale(checking *c, int64_t slide, int scale, const sw_sink *sink, sw_error *err)
{
    int64_t n = sw_store_scale_get(c->store, slide, scale)->n_patches;
    sw_error why = {0};
    SW_AUTOFREE int64_t *xy = sw_calloc((size_t)(n > 0 ? n : 1) * 2, sizeof *xy);
    if (!xy) return sw_nomem(err);
    SW_TRY(note(c, sw_store_coords(c->store, slide, scale, xy, &why), slide, scale, -1, &why, err));
    for (int64_t i = 0; i < n; i++) {
        const void *jpeg;
        size_t size;
        if (i % 1024 == 0 && sw_log_cancelled(sink)) return sw_error_set(err, SW_E_CANCELLED, "cancelled");
        SW_TRY(note(c, sw_store_patch(c->store, slide, scale, i, &jpeg, &size, &why), slide, scale, i, &why, err));
    }
    return SW_OK;
}

/* A record under a key that nothing asks for: a key with a flipped bit, or what another program put there. */
static sw_status check_strays(checking *c, sw_error *err)
{
    int64_t there = sw_kv_count(c->store->kv);
    if (there == c->records) return SW_OK;
    SW_AUTOFREE char *text = sw_asprintf("store %s: it holds %lld records, and its slides have %lld; restore the store from a copy or tile into "
                                         "a new one",
                                         sw_store_path(c->store), (long long)there, (long long)c->records);
    if (!text) return sw_nomem(err);
    fault(c, -1, -1, -1, text);
    return SW_OK;
}

/* What lies between the records: LMDB's own pages. The records are read all the same, to name those that are lost. */
static sw_status check_pages(checking *c, sw_error *err)
{
    sw_error why = {0};
    sw_status status = sw_kv_check(c->store->kv, &why);
    if (status == SW_OK) return SW_OK;
    if (status != SW_E_FORMAT) return sw_error_set(err, status, "%s", why.message);
    fault(c, -1, -1, -1, why.message);
    return SW_OK;
}

static sw_status check_all(checking *c, const sw_sink *sink, sw_error *err)
{
    sw_meter meter;
    c->records = 1; /* the head record, when the store was opened */
    SW_TRY(check_pages(c, err));
    sw_meter_start(&meter, sink, "verify", "slides", sw_store_slide_count(c->store));
    for (int64_t i = 0; i < sw_store_slide_count(c->store); i++) {
        if (sw_log_cancelled(sink)) return sw_error_set(err, SW_E_CANCELLED, "cancelled");
        for (int s = 0; s < sw_store_scale_count(c->store, i); s++) SW_TRY(check_scale(c, i, s, sink, err));
        c->records++; /* its description, when the store was opened */
        sw_meter_tick(&meter, i + 1, (double)c->records, "reading", sw_store_slide_id(c->store, i));
    }
    return check_strays(c, err);
}

sw_status sw_store_check(const sw_store *store, const sw_sink *sink, sw_store_fault_fn fn, void *ctx, int64_t *n_records,
                         int64_t *n_faults, sw_error *err)
{
    checking c = {.store = store, .fn = fn, .ctx = ctx};
    sw_status status = store->live ? SW_OK : check_all(&c, sink, err);
    if (n_records) *n_records = c.records;
    if (n_faults) *n_faults = c.faults;
    return status;
}

static void keep_first(void *ctx, const sw_store_fault *f)
{
    sw_error *first = ctx;
    if (!first->code) sw_error_set(first, SW_E_FORMAT, "%s", f->message);
}

sw_status sw_store_verify(const sw_store *store, const sw_sink *sink, int64_t *n_records, sw_error *err)
{
    sw_error first = {0};
    int64_t n_faults;
    SW_TRY(sw_store_check(store, sink, keep_first, &first, n_records, &n_faults, err));
    return n_faults == 0 ? SW_OK : sw_error_set(err, first.code, "%s", first.message);
}
