/* SPDX-License-Identifier: Apache-2.0 */
/* From slides to patches, on the slides of `slides` (several with commas between), each taken to have `mpp` microns per pixel,
 * so that patches of 256 px are pixels of level 0 as they are:
 *   kind=tissue   open and segment
 *   kind=coords   the same and the grid of patches, written as CLAM's h5 into OUT/N (N counts the goes)
 *   kind=store    all of it: read, encode, commit to the store OUT/N
 *                 (coords=DIR: not the positions, which are in DIR as --clam writes them)
 *   kind=floor    what no tiler can do without: libjpeg-turbo decodes, from memory, as many pixels of the slides' own tiles as
 *                 the patches have, and encodes them; no tile twice, nothing cut, nothing stored
 *   kind=stages   a table of where the time of tissue and coordinates goes */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <turbojpeg.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/thread.h"
#include "slide/tile_reader.h"
#include "slidewise/tile.h"
#include "tissue/segment.h"
#include "util.h"

typedef struct tile_stream {
    uint8_t *jpeg;
    size_t size;
} tile_stream;

typedef struct work {
    sw_slide_list list;
    sw_tile_options options;
    const char *kind, *out;
    int64_t n_patches, goes;
    sw_pool *pool;
    tile_stream *tile; /* of the floor */
    size_t n_tiles, tiles_capacity;
    int64_t tile_px;
} work;

static void work_free(work *w)
{
    for (size_t i = 0; i < w->n_tiles; i++) sw_image_bytes_free(w->tile[i].jpeg);
    sw_free(w->tile);
    sw_pool_free(w->pool);
    sw_slide_list_free(&w->list);
}

static sw_status open_slide(const work *w, int64_t index, sw_slide **slide, sw_error *err)
{
    const sw_slide_entry *entry = &w->list.entry[index];
    sw_slide_options so = sw_slide_options_default();
    so.mpp_um = entry->mpp_um;
    so.openslide_only = w->options.openslide_only;
    so.lean = true; /* as sw_tile where there is no store */
    return sw_slide_open(entry->path, &so, slide, err);
}

static sw_status segment(void *ctx, int64_t index, sw_error *err)
{
    work *w = ctx;
    SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
    SW_CLEANUP(sw_tissue_free) sw_tissue tissue = {0};
    SW_TRY(open_slide(w, index, &slide, err));
    return sw_tissue_segment_on(w->pool, slide, &w->options.settings.tissue, &tissue, err);
}

/* ---- the floor */

static sw_status floor_patch(void *ctx, int64_t index, sw_error *err)
{
    const work *w = ctx;
    const tile_stream *t = &w->tile[index];
    int side = (int)w->tile_px;
    tjhandle in = tjInitDecompress(), out = tjInitCompress();
    SW_AUTOFREE uint8_t *rgb = sw_malloc(3 * (size_t)(side * side));
    unsigned long size = tjBufSize(side, side, TJSAMP_420);
    SW_AUTOFREE uint8_t *jpeg = sw_malloc(size);
    unsigned char *target = jpeg;
    bool ok = in && out && rgb && jpeg &&
              tjDecompress2(in, t->jpeg, (unsigned long)t->size, rgb, side, 0, side, TJPF_RGB, 0) == 0 &&
              tjCompress2(out, rgb, side, 0, side, TJPF_RGB, &target, &size, TJSAMP_420, w->options.settings.quality,
                          TJFLAG_NOREALLOC | TJFLAG_ACCURATEDCT) == 0;
    if (in) tjDestroy(in);
    if (out) tjDestroy(out);
    return ok ? SW_OK : sw_error_set(err, SW_E_INTERNAL, "a tile of the slide could not be decoded and encoded by libjpeg-turbo");
}

static sw_status take_tiles(work *w, const sw_slide *slide, const sw_grid *grid, sw_error *err)
{
    const sw_slide_info *info = sw_slide_get_info(slide);
    sw_tile_reader *reader = NULL;
    SW_TRY(sw_tile_reader_open(info->path, info->level, info->n_levels, &reader, err));
    sw_status status = SW_OK;
    for (int64_t i = 0; reader && status == SW_OK && i < grid->n_patches; i++) {
        int64_t side = w->tile_px, x = grid->xy[2 * i] / side * side, y = grid->xy[2 * i + 1] / side * side;
        size_t size = 0;
        uint8_t *jpeg = sw_tile_reader_jpeg(reader, 0, x, y, side, &size);
        if (!jpeg) continue; /* at the slide's edge */
        status = sw_grow(&w->tile, &w->tiles_capacity, w->n_tiles + 1, sizeof *w->tile, err);
        if (status == SW_OK) w->tile[w->n_tiles++] = (tile_stream){jpeg, size};
        else sw_image_bytes_free(jpeg);
    }
    sw_tile_reader_close(reader);
    return status;
}

/* ---- cases */

static sw_status count_patches(work *w, int64_t index, sw_error *err)
{
    SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
    SW_CLEANUP(sw_tissue_free) sw_tissue tissue = {0};
    SW_CLEANUP(sw_grid_free) sw_grid grid = {0};
    SW_TRY(open_slide(w, index, &slide, err));
    const sw_tile_options *o = &w->options;
    SW_TRY(o->coords ? sw_tile_positions_given(slide, o->coords, &o->settings, NULL, &grid, err)
                     : sw_tile_positions(slide, &o->settings, &tissue, &grid, err));
    w->n_patches += grid.n_patches;
    return strcmp(w->kind, "floor") == 0 ? take_tiles(w, slide, &grid, err) : SW_OK;
}

static sw_status tile(work *w, sw_error *err)
{
    SW_CLEANUP(sw_tile_result_free) sw_tile_result result = {0};
    SW_AUTOFREE char *to = sw_asprintf("%s/%lld", w->out, (long long)w->goes);
    if (!to) return sw_nomem(err);
    sw_tile_options o = w->options;
    o.store = strcmp(w->kind, "store") == 0 ? to : NULL;
    o.clam = o.store ? NULL : to;
    SW_TRY(sw_tile(&o, &w->list, &result, err));
    if (result.n_patches == w->n_patches) return SW_OK;
    return sw_error_set(err, SW_E_INTERNAL, "%lld patches, and %lld before", (long long)result.n_patches, (long long)w->n_patches);
}

static sw_status go(void *ctx, sw_error *err)
{
    work *w = ctx;
    sw_status status;
    if (strcmp(w->kind, "tissue") == 0) status = sw_pool_for(w->pool, (int64_t)w->list.count, segment, w, err);
    else if (strcmp(w->kind, "floor") == 0) status = sw_pool_for(w->pool, (int64_t)w->n_tiles, floor_patch, w, err);
    else status = tile(w, err);
    w->goes++;
    return status;
}

/* ---- stages */

static double lap(int64_t *since)
{
    int64_t now = sw_now_ns();
    double ms = (double)(now - *since) * 1e-6;
    *since = now;
    return ms;
}

static sw_status stages_once(work *w, int64_t index, double ms[4], sw_error *err)
{
    SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
    SW_CLEANUP(sw_image_free) sw_image image = {0};
    SW_CLEANUP(sw_tissue_free) sw_tissue tissue = {0};
    SW_CLEANUP(sw_grid_free) sw_grid grid = {0};
    int64_t since = sw_now_ns();
    SW_TRY(open_slide(w, index, &slide, err));
    const sw_slide_info *info = sw_slide_get_info(slide);
    int level = info->n_levels == 1 ? 0 : sw_slide_best_level(slide, 64);
    int64_t width = info->level[level].width, height = info->level[level].height;
    ms[0] = lap(&since);
    SW_TRY(sw_image_new(width, height, 255, &image, err));
    SW_TRY(sw_slide_read(slide, level, 0, 0, width, height, image.rgb, err));
    ms[1] = lap(&since);
    SW_TRY(sw_tissue_segment_image(&image, info->slide_id, (double)info->width / (double)width,
                                   (double)info->height / (double)height, &w->options.settings.tissue, &tissue, err));
    ms[2] = lap(&since);
    sw_grid_options go = sw_grid_options_default();
    go.mpp_um = w->options.settings.mpp_um[0];
    SW_TRY(sw_grid_make(&tissue, slide, &go, &grid, err));
    ms[3] = lap(&since);
    return SW_OK;
}

static sw_status stages(work *w, int64_t repeats, sw_error *err)
{
    printf("%-36s %9s %9s %9s %9s  ms, best of %lld, one thread\n", "slide", "open", "read", "segment", "grid", (long long)repeats);
    for (size_t i = 0; i < w->list.count; i++) {
        double best[4] = {1e30, 1e30, 1e30, 1e30}, ms[4];
        for (int64_t r = 0; r < repeats; r++) {
            SW_TRY(stages_once(w, (int64_t)i, ms, err));
            for (int k = 0; k < 4; k++) best[k] = ms[k] < best[k] ? ms[k] : best[k];
        }
        printf("%-36s %9.2f %9.2f %9.2f %9.2f\n", w->list.entry[i].slide_id, best[0], best[1], best[2], best[3]);
    }
    return SW_OK;
}

/* ---- settings */

static sw_status read_list(const char *slides, double mpp_um, sw_slide_list *list, sw_error *err)
{
    SW_AUTOFREE char *copy = sw_strdup(slides);
    if (!copy) return sw_nomem(err);
    for (char *name = strtok(copy, ","); name; name = strtok(NULL, ","))
        SW_TRY(sw_slide_list_expand((const char *const[]){name}, 1, list, err));
    for (size_t i = 0; i < list->count; i++) list->entry[i].mpp_um = mpp_um;
    return SW_OK;
}

static sw_status prepare(const bench_args *args, work *w, sw_error *err)
{
    int64_t threads, passthrough;
    const char *slides = bench_text(args, "slides", NULL);
    double mpp_um = atof(bench_text(args, "mpp", "0.5"));
    w->kind = bench_text(args, "kind", "store");
    w->out = bench_text(args, "out", NULL);
    if (!slides || !(mpp_um > 0)) return sw_error_set(err, SW_E_INVALID, "slides=FILE,... is missing, or mpp is no resolution");
    if (!w->out && (strcmp(w->kind, "store") == 0 || strcmp(w->kind, "coords") == 0))
        return sw_error_set(err, SW_E_INVALID, "out=DIR is missing: where results go");
    SW_TRY(bench_int(args, "threads", 0, 0, 4096, &threads, err));
    SW_TRY(bench_int(args, "passthrough", 0, 0, 1, &passthrough, err));
    SW_TRY(bench_int(args, "tile_px", 256, 8, 65500, &w->tile_px, err));
    SW_TRY(read_list(slides, mpp_um, &w->list, err));
    w->options = sw_tile_options_default();
    w->options.settings.mpp_um[0] = mpp_um;
    w->options.coords = bench_text(args, "coords", NULL);
    if (w->options.coords)
        SW_TRY(sw_tile_settings_given(w->options.coords, &w->list, 0, &mpp_um, 1, 256, &w->options.settings, err));
    w->options.settings.passthrough = passthrough != 0;
    w->options.openslide_only = strcmp(bench_text(args, "reader", "auto"), "openslide") == 0;
    w->options.threads = (int)threads;
    if (threads != 1) SW_TRY(sw_pool_new((int)threads, &w->pool, err));
    for (size_t i = 0; i < w->list.count; i++) SW_TRY(count_patches(w, (int64_t)i, err));
    if (w->out) SW_TRY(sw_mkdir_p(w->out, err));
    return SW_OK;
}

static sw_status run(const bench_args *args, work *w, sw_error *err)
{
    int64_t repeats;
    SW_TRY(prepare(args, w, err));
    SW_TRY(bench_int(args, "repeats", 7, 1, 1000, &repeats, err));
    if (strcmp(w->kind, "stages") == 0) return stages(w, repeats, err);
    double n = (double)w->n_patches;
    if (strcmp(w->kind, "floor") == 0) n = (double)w->n_tiles * (double)(w->tile_px * w->tile_px) / (256.0 * 256.0);
    bench_case c = {.name = w->kind, .unit = "patches", .items = n, .ctx = w, .go = go};
    return bench_run(args, &c, err);
}

int main(int argc, char **argv)
{
    static const char *const keys[] = {"slides=FILE,...", "kind=store", "out=DIR", "mpp=0.5", "reader=auto", "passthrough=0",
                                       "tile_px=256", "coords=DIR", NULL};
    SW_CLEANUP(work_free) work w = {.out = NULL};
    bench_args args;
    sw_error err;
    sw_status status = bench_args_read(argc, argv, keys, &args, &err);
    if (status == SW_OK) status = run(&args, &w, &err);
    return bench_end("bench_tile", status, &err);
}
