/* SPDX-License-Identifier: Apache-2.0 */
/* Checking everything that a store holds. */
#include "base/log.h"
#include "base/mem.h"
#include "slidewise/store.h"
#include "store/begun.h"
#include "store/store_parts.h"

typedef struct checking {
    const sw_store *store;
    sw_store_fault_fn fn;
    void *ctx;
    int64_t *records; /* [n_parts], of each */
    int64_t faults;
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
    c->records[c->store->slides.item[slide]->part]++;
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
static sw_status check_strays(checking *c, size_t part, sw_error *err)
{
    int64_t there = sw_kv_count(c->store->kv[part]), begun = 0;
    if (there == c->records[part]) return SW_OK;
    /* A slide that is being written, or whose writer was killed, is no fault, and no slide yet. */
    sw_error why = {0};
    if (sw_begun_count(c->store->kv[part], &begun, &why) == SW_OK && there == c->records[part] + begun) return SW_OK;
    SW_AUTOFREE char *text = sw_asprintf("store %s: it holds %lld records, and its slides have %lld; restore the store from a copy or tile into "
                                         "a new one",
                                         c->store->part[part].path, (long long)there, (long long)c->records[part]);
    if (!text) return sw_nomem(err);
    fault(c, -1, -1, -1, text);
    return SW_OK;
}

/* What lies between the records: LMDB's own pages. The records are read all the same, to name those that are lost. */
static sw_status check_pages(checking *c, size_t part, sw_error *err)
{
    sw_error why = {0};
    sw_status status = sw_kv_check(c->store->kv[part], &why);
    if (status == SW_OK) return SW_OK;
    if (status != SW_E_FORMAT) return sw_error_set(err, status, "%s", why.message);
    fault(c, -1, -1, -1, why.message);
    return SW_OK;
}

static int64_t total(const checking *c)
{
    int64_t n = 0;
    for (size_t i = 0; i < c->store->n_parts; i++) n += c->records[i];
    return n;
}

static sw_status check_all(checking *c, const sw_sink *sink, sw_error *err)
{
    sw_meter meter;
    int64_t n_records = 0;
    for (size_t part = 0; part < c->store->n_parts; part++) {
        c->records[part] = 1; /* the head record, when the store was opened */
        SW_TRY(check_pages(c, part, err));
    }
    sw_meter_start(&meter, sink, "verify", "slides", sw_store_slide_count(c->store));
    for (int64_t i = 0; i < sw_store_slide_count(c->store); i++) {
        int64_t *records = &c->records[c->store->slides.item[i]->part], before = *records;
        if (sw_log_cancelled(sink)) return sw_error_set(err, SW_E_CANCELLED, "cancelled");
        for (int s = 0; s < sw_store_scale_count(c->store, i); s++) SW_TRY(check_scale(c, i, s, sink, err));
        ++*records; /* its description, when the store was opened */
        n_records += *records - before;
        sw_meter_tick(&meter, i + 1, (double)n_records, "reading", sw_store_slide_id(c->store, i));
    }
    for (size_t part = 0; part < c->store->n_parts; part++) SW_TRY(check_strays(c, part, err));
    return SW_OK;
}

sw_status sw_store_check(const sw_store *store, const sw_sink *sink, sw_store_fault_fn fn, void *ctx, int64_t *n_records,
                         int64_t *n_faults, sw_error *err)
{
    checking c = {.store = store, .fn = fn, .ctx = ctx};
    SW_AUTOFREE int64_t *records = sw_calloc(store->n_parts + 1, sizeof *records);
    if (!records) return sw_nomem(err);
    c.records = records;
    sw_status status = store->live || store->features ? SW_OK : check_all(&c, sink, err);
    if (n_records) *n_records = total(&c);
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
    int64_t n_faults = 0;
    SW_TRY(sw_store_check(store, sink, keep_first, &first, n_records, &n_faults, err));
    return n_faults == 0 ? SW_OK : sw_error_set(err, first.code, "%s", first.message);
}
