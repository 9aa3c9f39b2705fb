/* SPDX-License-Identifier: Apache-2.0 */
/* All patches of one source in order, chunk by chunk: whole patches, resized. */
#include "base/mem.h"
#include "batch/batch.h"
#include "batch/load.h"

struct sw_eval_loader {
    sw_patch_source *source;
    sw_eval_loader_options options;
    sw_pixel_rule rule;
    sw_makers makers;
    sw_pool *pool;
    sw_prefetch *prefetch;
};

void sw_eval_chunk_free(sw_eval_chunk *chunk)
{
    if (!chunk) return;
    sw_free(chunk->images);
    sw_free(chunk);
}

static void chunk_free_ptr(sw_eval_chunk **chunk)
{
    sw_eval_chunk_free(*chunk);
}

typedef struct making {
    sw_eval_loader *loader;
    sw_eval_chunk *chunk;
} making;

static sw_status load_patch(void *ctx, int64_t i, sw_error *err)
{
    making *m = ctx;
    sw_eval_chunk *c = m->chunk;
    sw_eval_loader *l = m->loader;
    int64_t at = c->first + i;
    sw_patch_source *source = sw_patch_source_part(l->source, &at);
    int px = sw_patch_source_px(source);
    sw_crop whole = {.width = px, .height = px};
    sw_cut cut = {&l->rule, px, l->options.crop ? &l->options.crop[c->first + i] : &whole, c->px};
    sw_maker *maker = NULL;
    sw_timer timer = sw_timer_start();
    SW_TRY(sw_maker_take(&l->makers, &maker, err));
    sw_status status =
        sw_patch_source_planes(source, at, &cut, maker, c->images + i * 3 * c->px * c->px, &timer, err);
    sw_maker_give(&l->makers, maker);
    sw_timer_add(&c->timing, &timer);
    return status;
}

static sw_status produce(void *ctx, int64_t index, void **item, sw_error *err)
{
    sw_eval_loader *l = ctx;
    SW_CLEANUP(chunk_free_ptr) sw_eval_chunk *c = sw_calloc(1, sizeof(*c));
    if (!c) return sw_nomem(err);
    c->first = index * l->options.chunk_patches;
    c->count = sw_patch_source_count(l->source) - c->first;
    if (c->count > l->options.chunk_patches) c->count = l->options.chunk_patches;
    c->px = l->options.crop_px;
    c->images = sw_aligned_alloc(64, (size_t)c->count * 3 * (size_t)c->px * (size_t)c->px * sizeof(float));
    if (!c->images) return sw_nomem(err);
    making m = {.loader = l, .chunk = c};
    SW_TRY(sw_pool_for(l->pool, c->count, load_patch, &m, err));
    *item = SW_STEAL(c);
    return SW_OK;
}

static void discard(void *ctx, void *item)
{
    (void)ctx;
    sw_eval_chunk_free(item);
}

sw_status sw_eval_loader_new(sw_patch_source *source, const sw_eval_loader_options *options, sw_pool *pool,
                             sw_eval_loader **out, sw_error *err)
{
    if (options->crop_px < 1 || options->chunk_patches < 1 || options->ahead < 1) {
        return sw_error_set(err, SW_E_INVALID, "chunks need at least 1 pixel, 1 patch and 1 chunk ahead, not %d, %lld and %d",
                            options->crop_px, (long long)options->chunk_patches, options->ahead);
    }
    SW_AUTOFREE sw_eval_loader *l = sw_calloc(1, sizeof(*l));
    if (!l) return sw_nomem(err);
    *l = (sw_eval_loader){.source = source, .options = *options, .pool = pool,
                          .rule = sw_pixel_rule_of(options->channel_order, options->normalise)};
    l->rule.scaled = options->crop && options->scaled;
    int64_t chunks = (sw_patch_source_count(source) + options->chunk_patches - 1) / options->chunk_patches;
    sw_makers_init(&l->makers);
    sw_status status = sw_prefetch_new(pool, chunks, options->ahead, produce, discard, l, &l->prefetch, err);
    if (status != SW_OK) {
        sw_makers_clear(&l->makers);
        return status;
    }
    sw_prefetch_hold(l->prefetch);
    *out = SW_STEAL(l);
    return SW_OK;
}

void sw_eval_loader_done(sw_eval_loader *loader, sw_eval_chunk *chunk)
{
    sw_eval_chunk_free(chunk);
    sw_prefetch_done(loader->prefetch);
}

void sw_eval_loader_free(sw_eval_loader *loader)
{
    if (!loader) return;
    sw_prefetch_free(loader->prefetch);
    sw_makers_clear(&loader->makers);
    sw_free(loader);
}

sw_status sw_eval_loader_next(sw_eval_loader *loader, sw_eval_chunk **chunk, int64_t *waited_ns, sw_error *err)
{
    void *item = NULL;
    *chunk = NULL;
    SW_TRY(sw_prefetch_next(loader->prefetch, &item, waited_ns, err));
    *chunk = item;
    return SW_OK;
}
