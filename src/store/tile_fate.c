/* SPDX-License-Identifier: Apache-2.0 */
#include "store/tile_fate.h"

#include <stdlib.h>
#include <string.h>

#include "base/csv.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "slide/slide_patches.h"
#include "store/tile_work.h"

enum { SCREEN_CHUNK = 32 };

sw_status sw_tile_fates_new(const sw_grid *grid, int n_scales, sw_tile_fates *out, sw_error *err)
{
    *out = (sw_tile_fates){.n_scales = n_scales};
    out->has_lock = pthread_mutex_init(&out->lock, NULL) == 0;
    if (!out->has_lock) return sw_nomem(err);
    for (int s = 0; s < n_scales; s++) {
        out->kind[s] = sw_calloc((size_t)grid[s].n_patches + 1, 1);
        if (!out->kind[s]) return sw_nomem(err);
    }
    return SW_OK;
}

void sw_tile_fates_free(sw_tile_fates *f)
{
    for (int s = 0; s < f->n_scales; s++) sw_free(f->kind[s]);
    for (size_t i = 0; i < f->n_bad; i++) sw_free(f->bad[i].reason);
    sw_free(f->bad);
    if (f->has_lock) pthread_mutex_destroy(&f->lock);
    *f = (sw_tile_fates){0};
}

sw_status sw_tile_fates_unreadable(sw_tile_fates *f, int scale, int64_t index, const int64_t *xy, const sw_error *why, sw_error *err)
{
    sw_tile_bad bad = {.scale = scale, .index = index, .level0_x = xy[0], .level0_y = xy[1], .reason = sw_strdup(why->message)};
    if (!bad.reason) return sw_nomem(err);
    f->kind[scale][index] = SW_LEFT_UNREADABLE;
    pthread_mutex_lock(&f->lock);
    sw_status status = sw_grow(&f->bad, &f->bad_capacity, f->n_bad + 1, sizeof *f->bad, err);
    if (status == SW_OK) f->bad[f->n_bad++] = bad;
    pthread_mutex_unlock(&f->lock);
    if (status != SW_OK) sw_free(bad.reason);
    return status;
}

sw_left_out sw_tile_fates_judge(sw_tile_fates *f, int scale, int64_t index, const uint8_t *rgb, int patch_px,
                                const sw_artefact_options *options)
{
    if (!sw_artefact_options_any(options)) return SW_LEFT_NOT;
    sw_left_out kind = sw_artefacts_find(rgb, patch_px, patch_px, options);
    f->kind[scale][index] = (uint8_t)kind;
    return kind;
}

/* ---- when all is known */

static int by_place(const void *a, const void *b)
{
    const sw_tile_bad *p = a, *q = b;
    if (p->scale != q->scale) return p->scale - q->scale;
    return (p->index > q->index) - (p->index < q->index);
}

/* "3 unreadable, 5 white" */
static void put_counts(sw_buf *out, const int64_t *n_left_out)
{
    for (int kind = 1; kind < SW_LEFT_KINDS; kind++) {
        if (n_left_out[kind] == 0) continue;
        sw_buf_printf(out, "%s%lld %s", out->size > 0 ? ", " : "", (long long)n_left_out[kind], sw_left_out_name((sw_left_out)kind));
    }
}

static sw_status none_left(const sw_tile_fates *f, int scale, const char *slide_id, const sw_grid *grid, int64_t laid, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf counts = {0};
    if (f->n_left_out[scale][SW_LEFT_UNREADABLE] == laid) {
        size_t first = 0;
        while (f->bad[first].scale != scale) first++;
        return sw_error_set(err, SW_E_FORMAT, "slide %s: none of its %lld patches at %g microns per pixel can be read; the first: %s", slide_id,
                            (long long)laid, grid->mpp_um, f->bad[first].reason);
    }
    put_counts(&counts, f->n_left_out[scale]);
    SW_TRY(sw_buf_status(&counts, err));
    return sw_error_set(err, SW_E_INVALID,
                        "slide %s: none of its %lld patches at %g microns per pixel is left (%s); look at the slide, then change the limits",
                        slide_id, (long long)laid, grid->mpp_um, counts.data);
}

static sw_status settle_scale(sw_tile_fates *f, int scale, const char *slide_id, sw_grid *grid, sw_error *err)
{
    const uint8_t *kind = f->kind[scale];
    int64_t laid = grid->n_patches, kept = 0;
    for (int64_t i = 0; i < laid; i++) {
        if (kind[i] != SW_LEFT_NOT) {
            f->n_left_out[scale][kind[i]]++;
            continue;
        }
        memmove(grid->xy + 2 * kept, grid->xy + 2 * i, 2 * sizeof *grid->xy);
        grid->contour[kept++] = grid->contour[i];
    }
    grid->n_patches = kept;
    return kept > 0 ? SW_OK : none_left(f, scale, slide_id, grid, laid, err);
}

sw_status sw_tile_fates_settle(sw_tile_fates *f, const char *slide_id, sw_grid *grid, const sw_sink *sink, sw_error *err)
{
    int64_t laid = 0;
    if (f->n_bad > 0) qsort(f->bad, f->n_bad, sizeof *f->bad, by_place);
    for (int s = 0; s < f->n_scales; s++) {
        laid += grid[s].n_patches;
        SW_TRY(settle_scale(f, s, slide_id, &grid[s], err));
    }
    if (f->n_bad > 0) {
        sw_log_warning(sink, "slide %s: %zu of its %lld patches cannot be read and are left out; the first: %s", slide_id, f->n_bad,
                       (long long)laid, f->bad[0].reason);
    }
    return SW_OK;
}

sw_status sw_tile_fates_json(const sw_tile_fates *f, sw_buf *out, sw_error *err)
{
    sw_json_writer w;
    sw_json_begin(&w, out, 0);
    sw_json_array(&w);
    for (size_t i = 0; i < f->n_bad; i++) {
        const sw_tile_bad *bad = &f->bad[i];
        sw_json_object(&w);
        sw_json_put_int(&w, "scale", bad->scale);
        sw_json_put_int(&w, "level0_x", bad->level0_x);
        sw_json_put_int(&w, "level0_y", bad->level0_y);
        sw_json_put_string(&w, "reason", bad->reason);
        sw_json_end_object(&w);
    }
    sw_json_end_array(&w);
    return sw_buf_status(out, err);
}

/* ---- reading without keeping */

typedef struct screening {
    sw_tile_fates *fates;
    sw_slide *slide;
    const sw_artefact_options *options;
    const sw_grid *grid;
    const sw_sink *sink;
    int64_t chunks_before[SW_STORE_MAX_SCALES + 1];
} screening;

typedef struct screened_chunk {
    const screening *s;
    int scale;
    int64_t first;
} screened_chunk;

static sw_status judge_patch(void *ctx, int i, const uint8_t *rgb, sw_error *err)
{
    const screened_chunk *c = ctx;
    (void)err;
    sw_tile_fates_judge(c->s->fates, c->scale, c->first + i, rgb, c->s->grid[c->scale].patch_px, c->s->options);
    return SW_OK;
}

static sw_status note_bad(void *ctx, int i, const sw_error *why, sw_error *err)
{
    const screened_chunk *c = ctx;
    int64_t index = c->first + i;
    return sw_tile_fates_unreadable(c->s->fates, c->scale, index, c->s->grid[c->scale].xy + 2 * index, why, err);
}

static sw_status screen_chunk(void *ctx, int64_t chunk, sw_error *err)
{
    const screening *s = ctx;
    screened_chunk c = {.s = s};
    if (sw_log_cancelled(s->sink)) return sw_error_set(err, SW_E_CANCELLED, "cancelled");
    while (chunk >= s->chunks_before[c.scale + 1]) c.scale++;
    const sw_grid *grid = &s->grid[c.scale];
    c.first = (chunk - s->chunks_before[c.scale]) * SCREEN_CHUNK;
    int64_t left = grid->n_patches - c.first;
    SW_AUTOFREE uint8_t *rgb = sw_malloc(3 * (size_t)grid->patch_px * (size_t)grid->patch_px);
    if (!rgb) return sw_nomem(err);
    return sw_slide_read_patches(s->slide, grid->xy + 2 * c.first, left < SCREEN_CHUNK ? (int)left : SCREEN_CHUNK, grid->patch_px,
                                 grid->mpp_um, rgb, judge_patch, note_bad, &c, err);
}

sw_status sw_tile_fates_screen(sw_tile_fates *f, sw_slide *slide, const sw_artefact_options *options, const sw_grid *grid, sw_pool *pool,
                               const sw_sink *sink, sw_error *err)
{
    screening s = {.fates = f, .slide = slide, .options = options, .grid = grid, .sink = sink};
    for (int i = 0; i < f->n_scales; i++)
        s.chunks_before[i + 1] = s.chunks_before[i] + (grid[i].n_patches + SCREEN_CHUNK - 1) / SCREEN_CHUNK;
    return sw_pool_for(pool, s.chunks_before[f->n_scales], screen_chunk, &s, err);
}

sw_status sw_tile_screen(sw_slide *slide, const sw_artefact_options *options, sw_grid *grid, sw_pool *pool, const sw_sink *sink,
                         sw_error *err)
{
    SW_CLEANUP(sw_tile_fates_free) sw_tile_fates fates;
    SW_TRY(sw_tile_fates_new(grid, 1, &fates, err));
    SW_TRY(sw_tile_fates_screen(&fates, slide, options, grid, pool, sink, err));
    return sw_tile_fates_settle(&fates, sw_slide_get_info(slide)->slide_id, grid, sink, err);
}

/* ---- unreadable.csv */

static void put_number(sw_buf *csv, double value)
{
    SW_AUTOFREE char *text = sw_asprintf("%.10g", value);
    sw_csv_put(csv, text ? text : "", false);
    csv->failed = csv->failed || !text;
}

static sw_status put_slide(sw_buf *csv, const sw_store_slide *slide, sw_error *err)
{
    SW_CLEANUP(sw_json_free_ptr) sw_json *list = NULL;
    SW_TRY(sw_json_parse(slide->unreadable_json, strlen(slide->unreadable_json), slide->slide_id, &list, err));
    for (size_t i = 0; i < sw_json_count(list); i++) {
        const sw_json *bad = sw_json_at(list, i);
        int64_t scale = sw_json_integer(sw_json_get(bad, "scale"), 0);
        sw_csv_put(csv, slide->slide_id, false);
        put_number(csv, scale >= 0 && scale < slide->n_scales ? slide->scale[scale].mpp_um : 0);
        put_number(csv, (double)sw_json_integer(sw_json_get(bad, "level0_x"), 0));
        put_number(csv, (double)sw_json_integer(sw_json_get(bad, "level0_y"), 0));
        sw_csv_put(csv, sw_json_text(sw_json_get(bad, "reason"), ""), true);
    }
    return SW_OK;
}

sw_status sw_tile_write_unreadable(const char *store, const sw_store_writer *writer, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf csv = {0};
    SW_AUTOFREE char *path = sw_path_join(store, "unreadable.csv");
    if (!path) return sw_nomem(err);
    sw_buf_puts(&csv, "slide_id,mpp_um,level0_x,level0_y,reason\n");
    size_t head = csv.size;
    for (int64_t i = 0; i < sw_store_writer_count(writer); i++) SW_TRY(put_slide(&csv, sw_store_writer_get(writer, i), err));
    SW_TRY(sw_buf_status(&csv, err));
    if (csv.size == head) return sw_path_exists(path) ? sw_file_remove(path, err) : SW_OK;
    return sw_file_write(path, csv.data, csv.size, err);
}
