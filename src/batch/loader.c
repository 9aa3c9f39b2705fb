/* SPDX-License-Identifier: Apache-2.0 */
/* Training batches: which bags and patches a step has, how they are cut, and their pixels, prepared ahead. */
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "batch/batch.h"
#include "batch/load.h"

struct sw_loader {
    const sw_store *store;
    const sw_dataset *dataset;
    sw_bag_scales scales;
    sw_loader_options options;
    sw_pixel_rule rule;
    sw_pool *pool;
    int64_t *bag;   /* [n_bags] index into the dataset, in its order */
    int64_t *order; /* [n_bags] the same in this epoch's order */
    int64_t n_bags, steps;
    uint32_t epoch;
    int64_t first_step;
    sw_prefetch *prefetch; /* NULL: no epoch is begun */
};

enum { LARGE_BATCH = 256 << 20 }; /* bytes; of larger ones a single batch is prepared ahead */

sw_loader_options sw_loader_options_of(const sw_config *config)
{
    double px = (double)config->augment.crop_px;
    double bytes = (double)config->train.batch_bags * (double)config->bag.patches * px * px * 3 * sizeof(float);
    return (sw_loader_options){.augment = sw_augment_of(config), .channel_order = config->encoder.channel_order,
                               .pad = config->bag.pad, .batch_bags = config->train.batch_bags,
                               .drop_last = config->train.drop_last, .seed = (uint64_t)config->run.seed,
                               .ahead = bytes > LARGE_BATCH ? 1 : 2};
}

void sw_batch_free(sw_batch *batch)
{
    if (!batch) return;
    sw_free(batch->images);
    sw_free(batch->label);
    sw_free(batch->bag);
    sw_free(batch->pick);
    sw_free(batch->crop);
    sw_free(batch);
}

static void batch_free_ptr(sw_batch **batch)
{
    sw_batch_free(*batch);
}

static uint64_t mix(uint64_t hash, uint64_t value)
{
    return (hash ^ value) * 0x9E3779B97F4A7C15u + (hash >> 29);
}

static uint64_t mix_real(uint64_t hash, double value)
{
    return mix(hash, sw_hash64(&value, sizeof(value)));
}

uint64_t sw_batch_digest(const sw_batch *b)
{
    uint64_t hash = mix((uint64_t)b->n_bags, (uint64_t)b->bag_patches);
    for (int64_t i = 0; i < b->n_bags; i++) hash = mix(mix(hash, (uint64_t)b->bag[i]), (uint64_t)b->label[i]);
    for (int64_t i = 0; i < b->n_bags * b->bag_patches; i++) {
        const sw_crop *c = &b->crop[i];
        hash = mix(mix(hash, (uint64_t)b->pick[i].scale), (uint64_t)b->pick[i].patch);
        hash = mix_real(mix_real(mix_real(mix_real(hash, c->x), c->y), c->width), c->height);
        hash = mix(hash, (uint64_t)c->flip_x * 2 + (uint64_t)c->flip_y);
    }
    return hash;
}

/* ---- one batch */

typedef struct making {
    const sw_loader *loader;
    sw_batch *batch;
    int *scale_index; /* [n_patches] into the slide's scales */
    int *source_px;   /* [n_patches] */
} making;

static void making_free(making *m)
{
    sw_free(m->scale_index);
    sw_free(m->source_px);
}

static sw_status batch_new(const sw_loader *l, int64_t n_bags, sw_batch **out, sw_error *err)
{
    SW_CLEANUP(batch_free_ptr) sw_batch *b = sw_calloc(1, sizeof(*b));
    if (!b) return sw_nomem(err);
    size_t n = (size_t)(n_bags * l->scales.plan.total);
    b->n_bags = n_bags;
    b->bag_patches = l->scales.plan.total;
    b->px = l->options.augment.crop_px;
    b->label = sw_calloc((size_t)n_bags, sizeof(*b->label));
    b->bag = sw_calloc((size_t)n_bags, sizeof(*b->bag));
    b->pick = sw_calloc(n, sizeof(*b->pick));
    b->crop = sw_calloc(n, sizeof(*b->crop));
    if (!b->label || !b->bag || !b->pick || !b->crop) return sw_nomem(err);
    *out = SW_STEAL(b);
    return SW_OK;
}

static sw_status draw_bag(const sw_loader *l, sw_batch *b, int64_t i, sw_error *err)
{
    const sw_bag *bag = &l->dataset->bag[b->bag[i]];
    int64_t count[SW_CONFIG_MAX_SCALES], n = 0, wanted = l->scales.plan.total;
    for (int s = 0; s < l->scales.n; s++) {
        int at = sw_store_scale_find(l->store, bag->store_slide, l->scales.mpp_um[s]);
        count[s] = at < 0 ? 0 : sw_store_scale_get(l->store, bag->store_slide, at)->n_patches;
    }
    sw_status status = sw_sample_bag(&l->scales.plan, count, l->options.pad, l->options.seed, l->epoch,
                                     (uint32_t)b->bag[i], b->pick + i * wanted, &n, err);
    if (status != SW_OK) return sw_error_prefix(err, "slide %s", bag->slide_id);
    if (n == wanted) return SW_OK;
    if (l->options.batch_bags > 1) {
        return sw_error_set(err, SW_E_INVALID, "slide %s has %lld of the %lld patches that a bag asks for; set bag.pad to true, or train.batch_bags to 1",
                            bag->slide_id, (long long)n, (long long)wanted);
    }
    b->bag_patches = n; /* the only bag */
    return SW_OK;
}

/* Where every pick lies. */
static sw_status locate(making *m, sw_error *err)
{
    const sw_loader *l = m->loader;
    const sw_batch *b = m->batch;
    size_t n = (size_t)(b->n_bags * b->bag_patches);
    m->scale_index = sw_calloc(n, sizeof(*m->scale_index));
    m->source_px = sw_calloc(n, sizeof(*m->source_px));
    if (!m->scale_index || !m->source_px) return sw_nomem(err);
    for (size_t i = 0; i < n; i++) {
        int64_t slide = l->dataset->bag[b->bag[i / (size_t)b->bag_patches]].store_slide;
        m->scale_index[i] = sw_store_scale_find(l->store, slide, l->scales.mpp_um[b->pick[i].scale]);
        m->source_px[i] = sw_store_scale_get(l->store, slide, m->scale_index[i])->patch_px;
    }
    return SW_OK;
}

static sw_status load_patch(void *ctx, int64_t i, sw_error *err)
{
    making *m = ctx;
    sw_batch *b = m->batch;
    const sw_loader *l = m->loader;
    int px = m->source_px[i];
    int64_t slide = l->dataset->bag[b->bag[i / b->bag_patches]].store_slide;
    sw_timer timer = sw_timer_start();
    SW_AUTOFREE uint8_t *rgb = sw_malloc(3 * (size_t)px * (size_t)px);
    if (!rgb) return sw_nomem(err);
    SW_TRY(sw_store_decode(l->store, slide, m->scale_index[i], b->pick[i].patch, px, rgb, &timer, err));
    SW_TRY(sw_pixels_to_planes(&l->rule, rgb, px, &b->crop[i], b->px, b->images + i * 3 * b->px * b->px, err));
    sw_timer_lap(&timer, &timer.augment_ns);
    sw_timer_add(&b->timing, &timer);
    return SW_OK;
}

static sw_status produce(void *ctx, int64_t index, void **item, sw_error *err)
{
    const sw_loader *l = ctx;
    int64_t step = l->first_step + index, first = step * l->options.batch_bags, n_bags = l->n_bags - first;
    if (n_bags > l->options.batch_bags) n_bags = l->options.batch_bags;
    SW_CLEANUP(batch_free_ptr) sw_batch *b = NULL;
    SW_TRY(batch_new(l, n_bags, &b, err));
    for (int64_t i = 0; i < n_bags; i++) {
        b->bag[i] = l->order[first + i];
        b->label[i] = l->dataset->bag[b->bag[i]].label;
        SW_TRY(draw_bag(l, b, i, err));
    }
    SW_CLEANUP(making_free) making m = {.loader = l, .batch = b};
    SW_TRY(locate(&m, err));
    sw_augment_step draw = {.augment = &l->options.augment, .seed = l->options.seed, .epoch = l->epoch,
                            .step = (uint32_t)step, .n_bags = n_bags, .bag_patches = b->bag_patches, .bag = b->bag,
                            .source_px = m.source_px};
    SW_TRY(sw_augment_draw(&draw, b->crop, err));
    int64_t n = n_bags * b->bag_patches;
    b->images = sw_aligned_alloc(64, (size_t)n * 3 * (size_t)b->px * (size_t)b->px * sizeof(float));
    if (!b->images) return sw_nomem(err);
    SW_TRY(sw_pool_for(l->pool, n, load_patch, &m, err));
    *item = SW_STEAL(b);
    return SW_OK;
}

static void discard(void *ctx, void *item)
{
    (void)ctx;
    sw_batch_free(item);
}

/* ---- the loader */

sw_status sw_loader_new(const sw_store *store, const sw_dataset *dataset, sw_split split, const sw_bag_scales *scales,
                        const sw_loader_options *options, sw_pool *pool, sw_loader **out, sw_error *err)
{
    if (dataset->bags[split] == 0) {
        return sw_error_set(err, SW_E_INVALID, "%s: the split '%s' has no slide", dataset->labels_path, sw_split_name(split));
    }
    if (options->batch_bags < 1 || options->ahead < 1 || options->augment.crop_px < 1) {
        return sw_error_set(err, SW_E_INVALID, "a loader needs at least 1 bag per step, 1 batch ahead and 1 pixel, not %lld, %d and %d",
                            (long long)options->batch_bags, options->ahead, options->augment.crop_px);
    }
    SW_AUTOFREE sw_loader *l = sw_calloc(1, sizeof(*l));
    SW_AUTOFREE int64_t *bag = NULL;
    SW_AUTOFREE int64_t *order = sw_calloc((size_t)dataset->bags[split], sizeof(*order));
    if (!l || !order) return sw_nomem(err);
    SW_TRY(sw_dataset_select(dataset, split, &bag, err));
    *l = (sw_loader){.store = store, .dataset = dataset, .scales = *scales, .options = *options, .pool = pool,
                     .rule = sw_pixel_rule_of(options->channel_order), .bag = SW_STEAL(bag), .order = SW_STEAL(order),
                     .n_bags = dataset->bags[split]};
    l->steps = sw_sample_steps(l->n_bags, options->batch_bags, options->drop_last);
    *out = SW_STEAL(l);
    return SW_OK;
}

void sw_loader_free(sw_loader *loader)
{
    if (!loader) return;
    sw_prefetch_free(loader->prefetch);
    sw_free(loader->bag);
    sw_free(loader->order);
    sw_free(loader);
}

int64_t sw_loader_steps(const sw_loader *loader)
{
    return loader->steps;
}

int64_t sw_loader_bags(const sw_loader *loader)
{
    return loader->n_bags;
}

sw_status sw_loader_begin(sw_loader *l, uint32_t epoch, int64_t first_step, sw_error *err)
{
    if (first_step < 0 || first_step > l->steps) {
        return sw_error_set(err, SW_E_INVALID, "an epoch of %lld steps cannot begin at step %lld", (long long)l->steps,
                            (long long)first_step);
    }
    sw_prefetch_free(l->prefetch);
    l->prefetch = NULL;
    l->epoch = epoch;
    l->first_step = first_step;
    memcpy(l->order, l->bag, (size_t)l->n_bags * sizeof(*l->order));
    sw_sample_order(l->options.seed, epoch, l->order, l->n_bags);
    return sw_prefetch_new(l->pool, l->steps - first_step, l->options.ahead, produce, discard, l, &l->prefetch, err);
}

sw_status sw_loader_next(sw_loader *l, sw_batch **batch, sw_error *err)
{
    void *item = NULL;
    int64_t waited_ns = 0;
    *batch = NULL;
    if (!l->prefetch) return sw_error_set(err, SW_E_INTERNAL, "sw_loader_next before sw_loader_begin");
    SW_TRY(sw_prefetch_next(l->prefetch, &item, &waited_ns, err));
    *batch = item;
    if (item) (*batch)->waited_ns = waited_ns;
    return SW_OK;
}
