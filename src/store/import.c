/* SPDX-License-Identifier: Apache-2.0 */
/* The reference implementation's LMDB into a store. */
#include <math.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "slidewise/coords.h"
#include "slidewise/exchange.h"
#include "store/coords_parts.h"
#include "store/hdf5_coords.h"
#include "store/reference.h"
#include "store/tile_work.h"

/* As for positions out of files (tile_coords.c). */
#define MOST_OFF 0.3
#define TOLD_OFF 0.01

sw_import_options sw_import_options_default(void)
{
    return (sw_import_options){.quality = 80};
}

typedef struct importing {
    const sw_import_options *options;
    sw_reference reference;
    sw_store_writer *writer;
    sw_h5_reader *reader; /* of positions; NULL: there are none */
    sw_tile_result *result;
    int patch_px; /* of all patches */
    sw_meter meter;
    int64_t patches;
} importing;

static void importing_free(importing *m)
{
    sw_store_writer_close(&m->writer);
    sw_h5_reader_close(m->reader);
    sw_reference_close(&m->reference);
}

/* A slide between its first patch and its commit. */
typedef struct slide_import {
    const sw_reference_slide *from;
    sw_store_slide slide;
    sw_coords coords;   /* empty: unknown */
    sw_slide *file;     /* NULL: not given */
    int64_t *xy;        /* borrowed from coords, or `zeros` */
    int64_t *zeros;
} slide_import;

static void slide_import_free(slide_import *s)
{
    sw_coords_free(&s->coords);
    sw_slide_close(&s->file);
    sw_free(s->zeros);
}

/* ---- what a slide is */

static sw_status check_count(const importing *m, const sw_reference_slide *from, sw_error *err)
{
    int64_t expected = from->promised >= 0 ? from->promised : from->highest + 1;
    if (from->count == expected && from->highest + 1 == expected) return SW_OK;
    return sw_error_set(err, SW_E_FORMAT, "slide %s: %s holds %lld of its %lld patches; make the LMDB again", from->slide_id,
                        m->options->lmdb, (long long)from->count, (long long)(expected > from->highest ? expected : from->highest + 1));
}

/* From the slide's own file, where it was given. */
static sw_status describe_file(const importing *m, slide_import *s, sw_error *err)
{
    const sw_slide_entry *entry = m->options->slides ? sw_slide_list_find(m->options->slides, s->from->slide_id) : NULL;
    if (!entry) return SW_OK;
    SW_TRY(sw_tile_open_slide(entry, 0, NULL, m->options->sink, &s->file, err));
    const sw_slide_info *info = sw_slide_get_info(s->file);
    SW_TRY(sw_file_size(entry->path, &s->slide.source_bytes, err));
    s->slide.path = info->path;
    s->slide.width = info->width;
    s->slide.height = info->height;
    s->slide.mpp_um = info->mpp_um;
    s->slide.mpp_source = sw_mpp_source_name(info->mpp_source);
    return SW_OK;
}

/* The reference cuts at one size and often stores another (256 pixels kept as 224): easily named wrongly. */
static sw_status check_resolution(const importing *m, const slide_import *s, sw_error *err)
{
    double level0_um = s->slide.mpp_um, named = m->options->mpp_um;
    double mpp_um = s->coords.patch_level0_px * level0_um / m->patch_px;
    if (level0_um <= 0 || fabs(mpp_um / named - 1) <= TOLD_OFF) return SW_OK;
    if (fabs(mpp_um / named - 1) > MOST_OFF) {
        return sw_error_set(err, SW_E_INVALID, "slide %s: its patches are %.4g microns per pixel, not %g; import with --mpp %.4g", s->from->slide_id,
                            mpp_um, named, mpp_um);
    }
    sw_log_warning(m->options->sink, "slide %s: its patches are %.4g microns per pixel; they are kept with those of %g", s->from->slide_id,
                   mpp_um, named);
    return SW_OK;
}

static sw_status describe_positions(const importing *m, slide_import *s, sw_error *err)
{
    SW_AUTOFREE char *path = NULL;
    sw_store_scale *scale = &s->slide.scale[0];
    if (!m->options->coords) {
        s->zeros = sw_calloc((size_t)s->from->count * 2, sizeof *s->zeros);
        s->xy = s->zeros;
        return s->zeros ? SW_OK : sw_nomem(err);
    }
    SW_TRY(sw_coords_find_by(m->reader, m->options->coords, s->from->slide_id, &path, err));
    SW_TRY(sw_coords_read_by(m->reader, path, &s->coords, err));
    if (s->file) SW_TRY(sw_coords_fit(&s->coords, s->file, err));
    if (s->coords.n_patches != s->from->count) {
        return sw_error_set(err, SW_E_INVALID, "slide %s: %s holds %lld positions and %s %lld patches; give the coordinates that the LMDB was cut at",
                            s->from->slide_id, path, (long long)s->coords.n_patches, m->options->lmdb, (long long)s->from->count);
    }
    if (s->file) SW_TRY(check_resolution(m, s, err));
    s->xy = s->coords.xy;
    scale->patch_level0_px = s->coords.patch_level0_px;
    scale->step_level0_px = s->coords.patch_level0_px;
    if (!s->file && s->coords.kind == SW_COORDS_TRIDENT) {
        s->slide.width = s->coords.width;
        s->slide.height = s->coords.height;
    }
    return SW_OK;
}

static sw_status describe(const importing *m, slide_import *s, sw_error *err)
{
    s->slide = (sw_store_slide){.slide_id = s->from->slide_id,
                                .path = m->options->lmdb,
                                .mpp_source = sw_mpp_source_name(SW_MPP_NONE),
                                .properties_json = "{}",
                                .n_scales = 1};
    s->slide.scale[0] = (sw_store_scale){.mpp_um = m->options->mpp_um,
                                         .magnification = 10.0 / m->options->mpp_um,
                                         .patch_px = m->patch_px,
                                         .quality = m->options->quality,
                                         .n_patches = s->from->count};
    SW_TRY(check_count(m, s->from, err));
    SW_TRY(describe_file(m, s, err));
    return describe_positions(m, s, err);
}

/* ---- its patches */

static sw_status check_jpeg(const importing *m, const char *slide_id, int64_t index, const void *jpeg, size_t size, sw_error *err)
{
    int64_t width, height;
    sw_status status = sw_jpeg_peek(jpeg, size, &width, &height, err);
    if (status != SW_OK) return sw_error_prefix(err, "slide %s: patch %lld of %s", slide_id, (long long)index, m->options->lmdb);
    if (width == m->patch_px && height == m->patch_px) return SW_OK;
    return sw_error_set(err, SW_E_FORMAT, "slide %s: patch %lld of %s has %lld x %lld pixels, others %d x %d; a store holds one size per scale",
                        slide_id, (long long)index, m->options->lmdb, (long long)width, (long long)height, m->patch_px, m->patch_px);
}

static sw_status put_patches(importing *m, const sw_reference_slide *from, bool *fatal, sw_error *err)
{
    for (int64_t i = 0; i < from->count; i++) {
        const void *jpeg;
        size_t size;
        if (i % 256 == 0 && sw_log_cancelled(m->options->sink)) return sw_error_set(err, SW_E_CANCELLED, "cancelled");
        SW_TRY(sw_reference_patch(&m->reference, from->slide_id, i, &jpeg, &size, err));
        SW_TRY(check_jpeg(m, from->slide_id, i, jpeg, size, err));
        *fatal = true;
        SW_TRY(sw_store_put(m->writer, 0, i, jpeg, size, err));
        *fatal = false;
        m->patches++;
    }
    return SW_OK;
}

static sw_status import_slide(importing *m, const sw_reference_slide *from, bool *fatal, sw_error *err)
{
    SW_CLEANUP(slide_import_free) slide_import s = {.from = from};
    int64_t start = sw_now_ns();
    *fatal = false;
    SW_TRY(describe(m, &s, err));
    *fatal = true;
    SW_TRY(sw_store_begin(m->writer, from->slide_id, err));
    *fatal = false;
    sw_status status = put_patches(m, from, fatal, err);
    if (status == SW_OK) {
        const int64_t *xy = s.xy;
        s.slide.seconds = (double)(sw_now_ns() - start) * 1e-9;
        *fatal = true;
        status = sw_store_commit(m->writer, &s.slide, &xy, err);
    }
    if (status != SW_OK) sw_store_abandon(m->writer);
    return status;
}

/* ---- all of them */

static sw_status settle(importing *m, sw_tile_row *row, sw_status status, bool fatal, sw_error *why, sw_error *err)
{
    sw_tile_result *r = m->result;
    const sw_store_slide *known = sw_store_writer_find(m->writer, row->slide_id);
    if (status == SW_OK) {
        row->n_patches[0] = known->scale[0].n_patches;
        row->seconds = known->seconds;
        r->n_patches += row->n_patches[0];
        if (row->status == SW_TILE_ALREADY) r->n_already++;
        else r->n_done++;
        return SW_OK;
    }
    r->n_failed++;
    row->status = SW_TILE_FAILED;
    row->reason = sw_strdup(why->message);
    if (!row->reason) return sw_nomem(err);
    if (fatal || status == SW_E_CANCELLED || status == SW_E_NOMEM) return sw_error_set(err, status, "%s", why->message);
    sw_log_warning(m->options->sink, "%s", why->message);
    return SW_OK;
}

static sw_status import_all(importing *m, sw_error *err)
{
    sw_tile_result *r = m->result;
    r->row = sw_calloc(m->reference.count, sizeof *r->row);
    if (!r->row) return sw_nomem(err);
    sw_meter_start(&m->meter, m->options->sink, "import", "slides", (int64_t)m->reference.count);
    m->meter.p.rate_unit = "patches";
    for (size_t i = 0; i < m->reference.count; i++) {
        const sw_reference_slide *from = &m->reference.slide[i];
        sw_tile_row *row = &r->row[r->count++];
        sw_error why = {0};
        bool fatal = false;
        row->slide_id = sw_strdup(from->slide_id);
        row->path = sw_strdup(m->options->lmdb);
        if (!row->slide_id || !row->path) return sw_nomem(err);
        bool known = sw_store_writer_find(m->writer, from->slide_id) != NULL;
        row->status = known ? SW_TILE_ALREADY : SW_TILE_DONE;
        sw_status status = known ? SW_OK : import_slide(m, from, &fatal, &why);
        SW_TRY(settle(m, row, status, fatal, &why, err));
        sw_meter_tick(&m->meter, (int64_t)i + 1, (double)m->patches, "reading", from->slide_id);
    }
    return SW_OK;
}

/* The first JPEG that can be read tells the size of all. */
static sw_status find_size(importing *m, sw_error *err)
{
    sw_error first = {0}, other;
    for (size_t i = 0; i < m->reference.count; i++) {
        const void *jpeg;
        size_t size;
        int64_t width, height;
        sw_error *why = first.code ? &other : &first;
        if (m->reference.slide[i].count == 0) continue;
        if (sw_reference_patch(&m->reference, m->reference.slide[i].slide_id, 0, &jpeg, &size, why) != SW_OK) continue;
        if (sw_jpeg_peek(jpeg, size, &width, &height, why) != SW_OK) continue;
        if (width != height || width < 16 || width > 4096) {
            return sw_error_set(err, SW_E_UNSUPPORTED, "%s: its patches have %lld x %lld pixels; a store holds squares of 16 to 4096",
                                m->options->lmdb, (long long)width, (long long)height);
        }
        m->patch_px = (int)width;
        return SW_OK;
    }
    return sw_error_set(err, first.code ? first.code : SW_E_FORMAT, "%s", first.code ? first.message : "the LMDB holds no patch");
}

static void warn(const importing *m)
{
    const sw_reference *r = &m->reference;
    if (!r->has_table) {
        sw_log_warning(m->options->sink, "%s: its writer did not come to its end (no table __pn__); the last slide may lack patches",
                       r->path);
    }
    if (r->n_strange > 0)
        sw_log_warning(m->options->sink, "%s: %lld keys are not of the form SLIDE-NUMBER and are left out", r->path, (long long)r->n_strange);
}

sw_status sw_import_reference(const sw_import_options *o, sw_tile_result *result, sw_error *err)
{
    SW_CLEANUP(importing_free) importing m = {.options = o, .result = result};
    sw_tile_settings s = sw_tile_settings_default();
    sw_tile_pairs pairs;
    int64_t start = sw_now_ns();
    *result = (sw_tile_result){.n_scales = 1, .mpp_um = {o->mpp_um}};
    if (o->coords) SW_TRY(sw_h5_coords_reader_new(&m.reader, err));
    SW_TRY(sw_reference_open(o->lmdb, &m.reference, err));
    SW_TRY(find_size(&m, err));
    s.given_positions = true;
    s.mpp_um[0] = o->mpp_um;
    s.quality = o->quality;
    s.patch_px = m.patch_px;
    SW_TRY(sw_tile_settings_check(&s, err));
    sw_tile_pairs_make(&s, &pairs);
    SW_TRY(sw_store_writer_open(o->store, pairs.pair, pairs.count, &m.writer, err));
    warn(&m);
    sw_status status = import_all(&m, err);
    result->seconds = (double)(sw_now_ns() - start) * 1e-9;
    return status;
}
