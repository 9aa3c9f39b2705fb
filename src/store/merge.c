/* SPDX-License-Identifier: Apache-2.0 */
/* Slides of one store, which may be a list of several, into another. */
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "slidewise/exchange.h"
#include "store/store_parts.h"

typedef struct merging {
    sw_store *from;
    sw_store_writer *to;
    const sw_sink *sink;
    sw_export_result *result;
    sw_meter meter;
} merging;

static void merging_free(merging *m)
{
    sw_store_close(&m->from);
    sw_store_writer_close(&m->to);
}

/* One process must not open the same LMDB twice. */
static sw_status refuse_itself(const sw_store *from, const char *out, sw_error *err)
{
    char *real_out = realpath(out, NULL);
    bool same = false;
    for (size_t i = 0; real_out && i < from->n_parts && !same; i++) {
        char *real = realpath(from->part[i].path, NULL);
        same = real && strcmp(real, real_out) == 0;
        free(real); /* ban-waiver: realpath allocates with malloc */
    }
    free(real_out); /* ban-waiver: as above */
    return same ? sw_error_set(err, SW_E_INVALID, "store %s: it cannot be merged into itself; choose another folder", out) : SW_OK;
}

static sw_status put_patches(merging *m, int64_t slide, int scale, sw_error *err)
{
    int64_t n = sw_store_scale_get(m->from, slide, scale)->n_patches;
    for (int64_t i = 0; i < n; i++) {
        const void *jpeg;
        size_t size;
        if (i % 1024 == 0 && sw_log_cancelled(m->sink)) return sw_error_set(err, SW_E_CANCELLED, "cancelled");
        SW_TRY(sw_store_patch(m->from, slide, scale, i, &jpeg, &size, err));
        SW_TRY(sw_store_put(m->to, scale, i, jpeg, size, err));
        sw_store_patch_done(m->from, jpeg, size);
        m->result->n_patches++;
        m->result->n_bytes += (int64_t)size;
    }
    return SW_OK;
}

typedef struct positions {
    int64_t *xy[SW_STORE_MAX_SCALES];
} positions;

static void positions_free(positions *p)
{
    for (int s = 0; s < SW_STORE_MAX_SCALES; s++) sw_free(p->xy[s]);
}

static sw_status copy_slide(merging *m, int64_t slide, sw_error *err)
{
    const sw_store_slide *about = sw_store_slide_get(m->from, slide);
    SW_CLEANUP(positions_free) positions own = {0};
    const int64_t *given[SW_STORE_MAX_SCALES];
    if (sw_store_writer_find(m->to, about->slide_id)) {
        m->result->n_already++;
        return SW_OK;
    }
    for (int s = 0; s < about->n_scales; s++) {
        given[s] = own.xy[s] = sw_calloc((size_t)about->scale[s].n_patches * 2 + 1, sizeof(int64_t));
        if (!own.xy[s]) return sw_nomem(err);
        SW_TRY(sw_store_coords(m->from, slide, s, own.xy[s], err));
    }
    SW_TRY(sw_store_begin(m->to, about->slide_id, err));
    for (int s = 0; s < about->n_scales; s++) SW_TRY(put_patches(m, slide, s, err));
    SW_TRY(sw_store_commit(m->to, about, given, err));
    m->result->n_written++;
    return SW_OK;
}

/* Settings as a writer takes them. */
static sw_status open_writer(merging *m, const char *out, sw_error *err)
{
    size_t n = sw_store_setting_count(m->from);
    SW_AUTOFREE sw_store_setting_pair *pair = sw_calloc(n + 1, sizeof *pair);
    if (!pair) return sw_nomem(err);
    for (size_t i = 0; i < n; i++) {
        pair[i].name = sw_store_setting_name(m->from, i);
        pair[i].value = sw_store_setting(m->from, pair[i].name);
    }
    return sw_store_writer_open(out, pair, n, &m->to, err);
}

/* The tables, for they tell of slides that failed, too. */
static sw_status write_tables(const char *from, const char *out, sw_error *err)
{
    SW_CLEANUP(sw_stores_free) sw_stores list = {0};
    if (sw_stores_named(from)) {
        SW_TRY(sw_stores_read(from, &list, err));
    } else {
        SW_TRY(sw_stores_new(".", &list, err));
        SW_TRY(sw_stores_add(&list, from, err));
    }
    return sw_stores_write_tables(&list, out, err);
}

sw_status sw_store_merge(const char *store, const char *out, const sw_sink *sink, sw_export_result *result, sw_error *err)
{
    SW_CLEANUP(merging_free) merging m = {.sink = sink, .result = result};
    *result = (sw_export_result){0};
    SW_TRY(sw_store_open(store, &m.from, err));
    SW_TRY(refuse_itself(m.from, out, err));
    SW_TRY(open_writer(&m, out, err));
    sw_meter_start(&m.meter, sink, "merge", "slides", sw_store_slide_count(m.from));
    m.meter.p.rate_unit = "patches";
    for (int64_t i = 0; i < sw_store_slide_count(m.from); i++) {
        SW_TRY(copy_slide(&m, i, err));
        sw_meter_tick(&m.meter, i + 1, (double)result->n_patches, "writing", sw_store_slide_id(m.from, i));
    }
    return write_tables(store, out, err);
}
