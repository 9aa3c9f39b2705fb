/* SPDX-License-Identifier: Apache-2.0 */
/* Patches of a store in random order, as training asks for them: bench_reads store=DIR
 *   decode=1  whole patches to RGB pixels, which are copied out (decode=0: the bytes, checked against their checksums; decode=2:
 *             what a random crop of 0.25 to 1 of the area needs, which is what training decodes)
 *   open=1    each go opens the store first, so that whoever drives it can empty the system's cache of its files before
 *             (pages that a process has mapped stay) */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "base/thread.h"
#include "batch/load.h"
#include "util.h"

enum { CHUNK = 32 };

typedef struct place {
    int64_t slide, index;
    int64_t x0, y0, side; /* of what is decoded */
} place;

typedef struct work {
    const char *path;
    int64_t decode;
    bool open;
    sw_store *store;
    sw_pool *pool;
    sw_makers makers;
    place *order;
    int64_t n;
    int patch_px;
} work;

static sw_status read_patch(const work *w, const place *at, sw_maker *maker, uint8_t *rgb, sw_error *err)
{
    const void *jpeg = NULL;
    size_t size = 0;
    sw_jpeg_part part;
    SW_TRY(sw_store_patch(w->store, at->slide, 0, at->index, &jpeg, &size, err));
    if (w->decode == 0) return SW_OK;
    sw_jpeg_want want = {.width = w->patch_px, .height = w->patch_px, .x0 = at->x0, .y0 = at->y0, .x1 = at->x0 + at->side,
                         .y1 = at->y0 + at->side, .reduce = 1};
    SW_TRY(sw_jpeg_reader_read(maker->reader, jpeg, size, &want, &part, err));
    sw_store_patch_done(w->store, jpeg, size); /* as the loader does */
    memcpy(rgb, part.pixels, 3 * (size_t)(part.width * part.height));
    return SW_OK;
}

static sw_status read_chunk(void *ctx, int64_t chunk, sw_error *err)
{
    work *w = ctx;
    sw_maker *maker = NULL;
    SW_AUTOFREE uint8_t *rgb = sw_malloc(3 * (size_t)w->patch_px * (size_t)w->patch_px);
    if (!rgb) return sw_nomem(err);
    SW_TRY(sw_maker_take(&w->makers, &maker, err));
    sw_status status = SW_OK;
    for (int64_t i = chunk * CHUNK; status == SW_OK && i < w->n && i < (chunk + 1) * CHUNK; i++)
        status = read_patch(w, &w->order[i], maker, rgb, err);
    sw_maker_give(&w->makers, maker);
    return status;
}

static sw_status go(void *ctx, sw_error *err)
{
    work *w = ctx;
    if (w->open) SW_TRY(sw_store_open(w->path, &w->store, err));
    sw_status status = sw_pool_for(w->pool, (w->n + CHUNK - 1) / CHUNK, read_chunk, w, err);
    if (w->open) sw_store_close(&w->store);
    return status;
}

/* All patches of the store in an order that chance gives. */
static sw_status make_order(work *w, sw_error *err)
{
    sw_rng rng = sw_rng_stream(1, SW_RNG_TEST, 0, 0, 0);
    for (int64_t s = 0; s < sw_store_slide_count(w->store); s++) w->n += sw_store_scale_get(w->store, s, 0)->n_patches;
    w->order = sw_calloc((size_t)w->n + 1, sizeof *w->order);
    if (!w->order) return sw_nomem(err);
    int64_t k = 0;
    for (int64_t s = 0; s < sw_store_slide_count(w->store); s++) {
        const sw_store_scale *scale = sw_store_scale_get(w->store, s, 0);
        w->patch_px = scale->patch_px;
        for (int64_t i = 0; i < scale->n_patches; i++) {
            int64_t side = w->decode == 2 ? llround(scale->patch_px * sqrt(sw_rng_range(&rng, 0.25, 1))) : scale->patch_px;
            uint64_t room = (uint64_t)(scale->patch_px - side) + 1;
            w->order[k++] = (place){s, i, (int64_t)sw_rng_below(&rng, room), (int64_t)sw_rng_below(&rng, room), side};
        }
    }
    for (int64_t i = w->n - 1; i > 0; i--) {
        int64_t j = (int64_t)sw_rng_below(&rng, (uint64_t)i + 1);
        place swap = w->order[i];
        w->order[i] = w->order[j];
        w->order[j] = swap;
    }
    return SW_OK;
}

static sw_status run(const bench_args *args, work *w, sw_error *err)
{
    int64_t threads, decode, opens;
    SW_TRY(bench_int(args, "threads", 0, 0, 4096, &threads, err));
    SW_TRY(bench_int(args, "decode", 1, 0, 2, &decode, err));
    SW_TRY(bench_int(args, "open", 0, 0, 1, &opens, err));
    w->path = bench_text(args, "store", NULL);
    if (!w->path) return sw_error_set(err, SW_E_INVALID, "store=DIR is missing: what slidewise tile wrote");
    w->decode = decode;
    w->open = opens != 0;
    if (threads != 1) SW_TRY(sw_pool_new((int)threads, &w->pool, err));
    SW_TRY(sw_store_open(w->path, &w->store, err));
    SW_TRY(make_order(w, err));
    if (w->open) sw_store_close(&w->store);
    bench_case c = {.name = w->decode ? "random reads, decoded" : "random reads, bytes", .unit = "patches", .items = (double)w->n,
                    .ctx = w, .go = go};
    return bench_run(args, &c, err);
}

int main(int argc, char **argv)
{
    static const char *const keys[] = {"store=DIR", "decode=1", "open=0", NULL};
    work w = {.path = NULL};
    bench_args args;
    sw_error err;
    sw_makers_init(&w.makers);
    sw_status status = bench_args_read(argc, argv, keys, &args, &err);
    if (status == SW_OK) status = run(&args, &w, &err);
    sw_makers_clear(&w.makers);
    sw_store_close(&w.store);
    sw_pool_free(w.pool);
    sw_free(w.order);
    return bench_end("bench_reads", status, &err);
}
