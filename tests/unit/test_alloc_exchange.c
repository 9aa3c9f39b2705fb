/* SPDX-License-Identifier: Apache-2.0 */
/* Every allocation of what exchanges data with other tools fails once: the error is told, nothing leaks. */
#include "alloc.h"
#include "slidewise/coords.h"
#include "slidewise/exchange.h"
#include "slidewise/tile.h"
#include "store/tile_work.h"

/* What all calls work on: one picture with coordinates, in a folder. */
typedef struct world {
    char dir[512], slides[600], coords[600], store[512], labels[512];
    sw_slide_list list;
    sw_slide *slide;
    int calls;
} world;

static sw_status make(world *w)
{
    SW_CLEANUP(sw_image_free) sw_image image = {0};
    SW_AUTOFREE char *path = NULL;
    static int64_t xy[4] = {0, 0, 16, 16};
    sw_grid grid = {.patch_px = PX, .mpp_um = 1, .magnification = 10, .patch_level0_px = PX, .step_level0_px = PX, .n_patches = 2, .xy = xy};
    snprintf(w->dir, sizeof w->dir, "%s", sw_test_dir());
    snprintf(w->slides, sizeof w->slides, "%s/slides", w->dir);
    snprintf(w->coords, sizeof w->coords, "%s/coords", w->dir);
    SW_TRY(make_world(w->store, w->labels, sizeof w->store));
    SW_TRY(sw_mkdir_p(w->slides, &err));
    path = sw_asprintf("%s/a.png", w->slides);
    SW_TRY(sw_image_new(64, 64, 200, &image, &err));
    SW_TRY(sw_image_write(path, &image, &err));
    const char *operand = w->slides;
    SW_TRY(sw_slide_list_expand(&operand, 1, &w->list, &err));
    sw_slide_options o = {.mpp_um = 1};
    SW_TRY(sw_slide_open(path, &o, &w->slide, &err));
    return sw_coords_write_clam(w->coords, "a", w->slide, &grid, &err);
}

static void clear(world *w)
{
    sw_slide_list_free(&w->list);
    sw_slide_close(&w->slide);
}

static sw_status write_and_read(void *ctx)
{
    world *w = ctx;
    static int64_t xy[4] = {0, 0, 16, 16};
    sw_grid grid = {.patch_px = PX, .mpp_um = 1, .magnification = 10, .patch_level0_px = PX, .step_level0_px = PX, .n_patches = 2, .xy = xy};
    SW_CLEANUP(sw_coords_free) sw_coords clam = {0}, trident = {0};
    SW_AUTOFREE char *path = NULL, *other = NULL;
    SW_TRY(sw_coords_write_clam(w->dir, "a", w->slide, &grid, &err));
    SW_TRY(sw_coords_write_trident(w->dir, "b", w->slide, &grid, 0, &err));
    SW_TRY(sw_coords_find(w->dir, "a", &path, &err));
    SW_TRY(sw_coords_find(w->dir, "b", &other, &err));
    SW_TRY(sw_coords_read(path, &clam, &err));
    return sw_coords_read(other, &trident, &err);
}

static sw_status import(void *ctx)
{
    world *w = ctx;
    SW_CLEANUP(sw_tile_result_free) sw_tile_result result = {0};
    SW_AUTOFREE char *lmdb = NULL, *store = NULL;
    sw_mem_fail_after(0); /* the paths are the test's own */
    lmdb = sw_asprintf("%s/golden/reference/224_80_level1.lmdb", sw_test_source());
    store = sw_asprintf("%s/in%d", w->dir, w->calls++);
    sw_import_options o = sw_import_options_default();
    o.lmdb = lmdb;
    o.store = store;
    o.mpp_um = 1;
    sw_mem_fail_after(w->calls);
    return sw_import_reference(&o, &result, &err);
}

static sw_status export_as(world *w, sw_export_form form)
{
    char out[600];
    sw_export_result r;
    sw_export_options o = sw_export_options_default();
    snprintf(out, sizeof out, "%s/out%d", w->dir, w->calls++);
    o.store = w->store;
    o.out = out;
    o.form = form;
    return sw_export(&o, &r, &err);
}

static sw_status export_folder(void *ctx)
{
    return export_as(ctx, SW_EXPORT_FOLDER);
}

static sw_status export_tar(void *ctx)
{
    return export_as(ctx, SW_EXPORT_TAR);
}

static sw_status open_slides(void *ctx)
{
    world *w = ctx;
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    uint8_t rgb[3 * PX * PX];
    sw_store_slides_options o = sw_store_slides_options_default();
    o.slides = &w->list;
    o.coords = w->coords;
    o.slide_mpp_um = 1;
    o.threads = 1;
    o.cache_bytes = 1 << 16;
    SW_TRY(sw_store_open_slides(&o, &store, &err));
    SW_TRY(sw_store_pixels(store, 0, 0, 1, rgb, &err));
    return sw_store_pixels(store, 0, 0, 1, rgb, &err); /* out of the cache */
}

/* A list of the one store, opened, checked and copied. */
static sw_status join_and_merge(void *ctx)
{
    world *w = ctx;
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    sw_export_result r;
    char joint[600], out[600];
    int call = w->calls++;
    const char *const one[] = {w->store};
    snprintf(joint, sizeof joint, "%s/joint%d", w->dir, call);
    snprintf(out, sizeof out, "%s/merged%d", w->dir, call);
    SW_TRY(sw_store_join(joint, one, 1, &err));
    SW_TRY(sw_store_open(joint, &store, &err));
    SW_TRY(sw_store_verify(store, NULL, NULL, &err));
    sw_store_close(&store);
    return sw_store_merge(joint, out, NULL, &r, &err);
}

/* A shard's list, mark and tables, without the tiling between. */
static sw_status shard(void *ctx)
{
    world *w = ctx;
    SW_CLEANUP(sw_tile_shard_free) sw_tile_shard s = {0};
    char folder[600];
    sw_tile_options o = sw_tile_options_default();
    sw_tile_pairs pairs;
    snprintf(folder, sizeof folder, "%s/shards%d", w->dir, w->calls++);
    o.store = folder;
    o.shard = o.n_shards = 1;
    sw_tile_pairs_make(&o.settings, &pairs);
    SW_TRY(sw_tile_shard_new(&o, &w->list, &s, &err));
    SW_TRY(sw_tile_shard_list(&s, &o, &pairs, &err));
    SW_TRY(sw_mkdir_p(s.store, &err));
    SW_TRY(sw_tile_shard_begin(&s, &err));
    SW_AUTOFREE char *table = sw_path_join(s.store, "slides.csv");
    if (!table) return sw_nomem(&err);
    SW_TRY(sw_file_write(table, "slide_id,status\na,done\n", 23, &err));
    return sw_tile_shard_end(&s, &err);
}

TEST(exchange_without_memory_says_so)
{
    world w = {0};
    CHECK_OK(make(&w));
    alloc_loop loop[] = {{.what = "coordinates", .call = write_and_read, .ctx = &w, .from = 1, .stride = 1},
                         {.what = "folders", .call = export_folder, .ctx = &w, .from = 1, .stride = 1},
                         {.what = "archives", .call = export_tar, .ctx = &w, .from = 1, .stride = 1},
                         {.what = "lists", .call = join_and_merge, .ctx = &w, .from = 1, .stride = 1},
                         {.what = "shards", .call = shard, .ctx = &w, .from = 1, .stride = 1},
                         {.what = "slides", .call = open_slides, .ctx = &w, .from = 1, .stride = 1}};
    bool all = true;
    for (size_t i = 0; i < sizeof loop / sizeof *loop && all; i++) {
        all = survive(&loop[i]);
        if (loop[i].most < 10) sw_test_fail(__FILE__, __LINE__, "%s made only %lld allocations", loop[i].what, (long long)loop[i].most);
    }
    w.calls = 0;
    alloc_loop imports = {.what = "import", .call = import, .ctx = &w, .from = 1, .stride = 1};
    all = all && survive(&imports);
    clear(&w);
    if (all && imports.most < 20) sw_test_fail(__FILE__, __LINE__, "import made only %lld allocations", (long long)imports.most);
}
