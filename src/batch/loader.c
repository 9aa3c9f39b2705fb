/* SPDX-License-Identifier: Apache-2.0 */
/* Training batches: what each step has, and its pixels as a stream of chunks that runs ahead over the ends of steps.
 *
 * The stream is one row of items for the prefetch: per step the chunks of the first pass and, when a step has several,
 * those of the second pass that were not kept. Every step has as many items as the largest one could have; those that a
 * shorter step lacks are empty and skipped, so that an item's number alone says what it is. */
#include <pthread.h>
#include <string.h>

#include "base/mem.h"
#include "batch/batch.h"
#include "batch/load.h"

typedef struct item {
    sw_pixel_chunk chunk;
    sw_batch *batch; /* NULL: empty */
} item;

struct sw_loader {
    sw_draw draw;
    sw_bag_scales scales;
    sw_loader_options options;
    sw_pixel_rule rule;
    sw_pool *pool;
    int64_t split_bags;
    int64_t *bag;    /* [split_bags] index into the dataset, in its order */
    int *label;      /* [split_bags] their classes */
    int64_t *wanted; /* [n_classes] bags of each class in an epoch */
    int64_t *order;  /* [n_bags] this epoch's: index into the dataset + copy * its bags */
    int64_t steps, first_step;
    int64_t most_chunks; /* of a step */
    int64_t keep;        /* the first `keep` chunks of a step wait for its second pass */
    int64_t step_items;
    size_t buffer_bytes;
    sw_makers makers;
    sw_prefetch *prefetch; /* NULL: no epoch is begun */
    sw_batch_given given;  /* by sw_loader_give */

    pthread_mutex_t lock;  /* of what follows, up to the blank line */
    sw_batch **plan;       /* [plans] steps in work: step s in slot s % plans */
    int64_t plans;
    float **idle;          /* [buffers] pixel memory that waits for its next use; n_idle are there */
    int64_t buffers, n_idle;
    int64_t items_left;    /* not yet begun: without any, no memory needs to wait */

    int64_t next_step;     /* what sw_loader_next hands out next */
    sw_batch *now;         /* the step it handed out last */
    int64_t asked;         /* chunks of it that were asked for */
    item *held;            /* the one handed out last, lent to the caller */
    item **kept;           /* [keep] of the first pass */
    sw_loader_count count;
};

sw_loader_options sw_loader_options_of(const sw_config *config)
{
    return (sw_loader_options){.augment = sw_augment_of(config), .channel_order = config->encoder.channel_order, .normalise = config->encoder.normalise,
                               .oversample = config->train.oversample, .pad = config->bag.pad && config->bag.patches > 0, .batch_bags = config->train.batch_bags,
                               .drop_last = config->train.drop_last, .seed = (uint64_t)config->run.seed,
                               .chunk_patches = config->train.chunk_patches, .ahead = 1, .once = config->encoder.frozen || *config->data.features};
}

/* ---- memory of pixels: used again, because fresh pages cost as much as a third of the decoding */

static float *buffer_take(sw_loader *l)
{
    float *buffer = NULL;
    pthread_mutex_lock(&l->lock);
    if (l->n_idle > 0) buffer = l->idle[--l->n_idle];
    pthread_mutex_unlock(&l->lock);
    return buffer ? buffer : sw_aligned_alloc(64, l->buffer_bytes);
}

static void buffer_give(sw_loader *l, float *buffer)
{
    if (!buffer) return;
    pthread_mutex_lock(&l->lock);
    bool wanted = l->items_left > 0 && l->n_idle < l->buffers;
    if (wanted) l->idle[l->n_idle++] = buffer;
    pthread_mutex_unlock(&l->lock);
    if (!wanted) sw_free(buffer);
}

static void buffers_free(sw_loader *l)
{
    for (; l->n_idle > 0; l->n_idle--) sw_free(l->idle[l->n_idle - 1]);
}

/* ---- one chunk */

static void item_free(sw_loader *l, item *it)
{
    if (!it) return;
    buffer_give(l, it->chunk.images);
    sw_batch_free(it->batch);
    sw_free(it);
}

static void discard(void *ctx, void *it)
{
    item_free(ctx, it);
}

/* The step's plan, drawn by whoever asks first; one more owner. */
static sw_status plan_of(sw_loader *l, int64_t step, sw_batch **out, sw_error *err)
{
    pthread_mutex_lock(&l->lock);
    sw_batch **slot = &l->plan[step % l->plans];
    sw_status status = SW_OK;
    if (!*slot || (*slot)->step != step) {
        sw_batch_free(*slot);
        *slot = NULL;
        status = sw_batch_draw(&l->draw, step, slot, err);
    }
    if (status == SW_OK) *out = sw_batch_share(*slot);
    pthread_mutex_unlock(&l->lock);
    return status;
}

typedef struct making {
    sw_loader *loader;
    item *item;
} making;

static sw_status load_patch(void *ctx, int64_t i, sw_error *err)
{
    making *m = ctx;
    sw_pixel_chunk *c = &m->item->chunk;
    const sw_batch *b = m->item->batch;
    sw_loader *l = m->loader;
    int64_t at = c->first + i;
    sw_cut cut = {&l->rule, b->source_px[at], &b->crop[at], c->px};
    sw_maker *maker = NULL;
    sw_timer timer = sw_timer_start();
    SW_TRY(sw_maker_take(&l->makers, &maker, err));
    sw_status status = sw_store_planes(l->draw.store, b->slide[at], b->scale_index[at], b->patch[at], &cut, maker,
                                       c->images + i * 3 * c->px * c->px, &timer, err);
    sw_maker_give(&l->makers, maker);
    sw_timer_add(&c->timing, &timer);
    return status;
}

/* Their features instead, slide by slide. */
static sw_status load_features(sw_loader *l, const item *it, sw_error *err)
{
    const sw_pixel_chunk *c = &it->chunk;
    const sw_batch *b = it->batch;
    for (int64_t i = 0, n; i < c->count; i += n) {
        int64_t at = c->first + i;
        for (n = 1; i + n < c->count && b->slide[at + n] == b->slide[at]; n++) {}
        SW_TRY(sw_store_features(l->draw.store, b->slide[at], b->patch + at, n, c->images + i * c->dim, err));
    }
    return SW_OK;
}

/* Fills `it` with chunk `chunk` of a step; leaves it empty where the step has no such chunk, or needs no second pass. */
static sw_status fill(sw_loader *l, int64_t step, int64_t chunk, bool second, item *it, sw_error *err)
{
    SW_TRY(plan_of(l, step, &it->batch, err));
    const sw_batch *b = it->batch;
    int64_t chunks = sw_batch_chunks(b), n = b->n_bags * b->bag_patches;
    if (chunk >= chunks || (second && chunks == 1)) {
        sw_batch_free(it->batch);
        it->batch = NULL;
        return SW_OK;
    }
    sw_pixel_chunk *c = &it->chunk;
    *c = (sw_pixel_chunk){.first = chunk * b->chunk_patches, .px = b->px, .dim = sw_store_feature_dim(l->draw.store)};
    c->count = n - c->first < b->chunk_patches ? n - c->first : b->chunk_patches;
    c->images = buffer_take(l);
    if (!c->images) return sw_nomem(err);
    making m = {l, it};
    return c->dim > 0 ? load_features(l, it, err) : sw_pool_for(l->pool, c->count, load_patch, &m, err);
}

static sw_status produce(void *ctx, int64_t index, void **out, sw_error *err)
{
    sw_loader *l = ctx;
    int64_t step = l->first_step + index / l->step_items, at = index % l->step_items;
    bool second = at >= l->most_chunks;
    pthread_mutex_lock(&l->lock);
    l->items_left--;
    pthread_mutex_unlock(&l->lock);
    item *it = sw_calloc(1, sizeof(*it));
    if (!it) return sw_nomem(err);
    sw_status status = fill(l, step, second ? l->keep + at - l->most_chunks : at, second, it, err);
    if (status == SW_OK) *out = it;
    else item_free(l, it);
    return status;
}

/* ---- the loader */

static sw_status check(const sw_dataset *dataset, sw_split split, const sw_loader_options *o, sw_error *err)
{
    if (dataset->bags[split] == 0) {
        return sw_error_set(err, SW_E_INVALID, "%s: the split '%s' has no slide", dataset->labels_path, sw_split_name(split));
    }
    if (o->batch_bags < 1 || o->ahead < 1 || o->augment.crop_px < 1 || o->chunk_patches < 1 || o->keep_bytes < 0) {
        return sw_error_set(err, SW_E_INVALID, "a loader needs at least 1 bag per step, 1 patch per chunk, 1 chunk ahead and 1 pixel, "
                                               "not %lld, %lld, %d and %d", (long long)o->batch_bags,
                            (long long)o->chunk_patches, o->ahead, o->augment.crop_px);
    }
    return SW_OK;
}

/* How many chunks there are and how many of them are kept. Those are the first ones of a step: the second pass begins with
 * them, so they are given back earliest, and the decoders are at the next ones meanwhile. */
static void measure(sw_loader *l)
{
    const sw_loader_options *o = &l->options;
    int64_t bags = o->batch_bags < l->draw.n_bags ? o->batch_bags : l->draw.n_bags, n = bags * l->scales.plan.total;
    int64_t patches = o->chunk_patches < n ? o->chunk_patches : n;
    l->most_chunks = (n + o->chunk_patches - 1) / o->chunk_patches;
    size_t dim = (size_t)sw_store_feature_dim(l->draw.store), pixels = 3 * (size_t)o->augment.crop_px * (size_t)o->augment.crop_px;
    l->buffer_bytes = (size_t)patches * (dim > 0 ? dim : pixels) * sizeof(float);
    bool twice = l->most_chunks > 1 && !o->once;
    if (twice) l->keep = o->keep_bytes / (int64_t)l->buffer_bytes;
    if (l->keep > l->most_chunks) l->keep = l->most_chunks;
    l->step_items = l->most_chunks + (twice ? l->most_chunks - l->keep : 0);
    l->buffers = o->ahead + l->keep;
    l->plans = o->ahead + 2; /* so many steps may have an item in work */
}

/* Which bags there are, and how many an epoch has. */
static sw_status choose_bags(sw_loader *l, sw_split split, sw_error *err)
{
    const sw_dataset *ds = l->draw.dataset;
    int64_t n = l->split_bags = ds->bags[split];
    SW_TRY(sw_dataset_select(ds, split, &l->bag, err));
    l->label = sw_calloc((size_t)n, sizeof(*l->label));
    l->wanted = sw_calloc((size_t)ds->n_classes, sizeof(*l->wanted));
    if (!l->label || !l->wanted) return sw_nomem(err);
    for (int64_t i = 0; i < n; i++) l->label[i] = ds->bag[l->bag[i]].label;
    int64_t most = sw_oversample_counts(ds->n_classes, sw_dataset_class_counts(ds, split), l->options.oversample, l->wanted);
    l->draw.n_bags = l->options.oversample > 0 ? most : n;
    l->order = sw_calloc((size_t)l->draw.n_bags, sizeof(*l->order));
    l->draw.order = l->order;
    return l->order ? SW_OK : sw_nomem(err);
}

/* The bags of an epoch, in the dataset's order. */
static sw_status order_bags(sw_loader *l, uint32_t epoch, sw_error *err)
{
    const sw_dataset *ds = l->draw.dataset;
    if (l->options.oversample <= 0) {
        memcpy(l->order, l->bag, (size_t)l->draw.n_bags * sizeof(*l->order));
        return SW_OK;
    }
    int64_t n = l->split_bags, stride = ds->n_bags;
    SW_TRY(sw_oversample(l->options.seed, epoch, l->label, n, ds->n_classes, l->wanted, n, l->order, err));
    for (int64_t i = 0; i < l->draw.n_bags; i++) l->order[i] = l->bag[l->order[i] % n] + l->order[i] / n * stride;
    return SW_OK;
}

static void loader_free_ptr(sw_loader **loader)
{
    sw_loader_free(*loader);
}

sw_status sw_loader_new(const sw_store *store, const sw_dataset *dataset, sw_split split, const sw_bag_scales *scales,
                        const sw_loader_options *options, sw_pool *pool, sw_loader **out, sw_error *err)
{
    SW_TRY(check(dataset, split, options, err));
    SW_CLEANUP(loader_free_ptr) sw_loader *l = sw_calloc(1, sizeof(*l));
    if (!l) return sw_nomem(err);
    pthread_mutex_init(&l->lock, NULL);
    sw_makers_init(&l->makers);
    l->scales = *scales;
    l->options = *options;
    l->pool = pool;
    l->rule = sw_pixel_rule_of(options->channel_order, options->normalise);
    l->rule.scaled = options->augment.fast_decode == SW_DECODE_SCALED;
    l->draw = (sw_draw){.store = store, .dataset = dataset, .scales = &l->scales, .options = &l->options};
    SW_TRY(choose_bags(l, split, err));
    l->steps = sw_sample_steps(l->draw.n_bags, options->batch_bags, options->drop_last);
    measure(l);
    l->plan = sw_calloc((size_t)l->plans, sizeof(*l->plan));
    l->idle = sw_calloc((size_t)l->buffers, sizeof(*l->idle));
    l->kept = sw_calloc((size_t)l->keep + 1, sizeof(*l->kept));
    if (!l->plan || !l->idle || !l->kept) return sw_nomem(err);
    *out = SW_STEAL(l);
    return SW_OK;
}

/* Drops what is lent, kept and prepared. */
static void stop(sw_loader *l)
{
    sw_prefetch_free(l->prefetch);
    l->prefetch = NULL;
    item_free(l, l->held);
    l->held = NULL;
    for (int64_t i = 0; l->kept && i < l->keep; i++) {
        item_free(l, l->kept[i]);
        l->kept[i] = NULL;
    }
    sw_batch_free(l->now);
    l->now = NULL;
    for (int64_t i = 0; l->plan && i < l->plans; i++) {
        sw_batch_free(l->plan[i]);
        l->plan[i] = NULL;
    }
}

void sw_loader_free(sw_loader *loader)
{
    if (!loader) return;
    stop(loader);
    buffers_free(loader);
    sw_makers_clear(&loader->makers);
    pthread_mutex_destroy(&loader->lock);
    sw_free(loader->plan);
    sw_free(loader->idle);
    sw_free(loader->kept);
    sw_free(loader->bag);
    sw_free(loader->label);
    sw_free(loader->wanted);
    sw_free(loader->order);
    sw_free(loader);
}

int64_t sw_loader_steps(const sw_loader *loader)
{
    return loader->steps;
}

int64_t sw_loader_bags(const sw_loader *loader)
{
    return loader->draw.n_bags;
}

int64_t sw_loader_bytes(const sw_loader *loader)
{
    return loader->buffers * (int64_t)loader->buffer_bytes;
}

sw_loader_count sw_loader_counted(const sw_loader *loader)
{
    return loader->count;
}

static sw_status begin_stream(sw_loader *l, sw_error *err)
{
    SW_TRY(sw_prefetch_new(l->pool, l->items_left, l->options.ahead, produce, discard, l, &l->prefetch, err));
    sw_prefetch_hold(l->prefetch);
    return SW_OK;
}

sw_status sw_loader_begin(sw_loader *l, uint32_t epoch, int64_t first_step, sw_error *err)
{
    if (first_step < 0 || first_step > l->steps) {
        return sw_error_set(err, SW_E_INVALID, "an epoch of %lld steps cannot begin at step %lld", (long long)l->steps,
                            (long long)first_step);
    }
    sw_sampler sampler = l->scales.plan.sampler;
    if ((sampler == SW_SAMPLER_CLUSTERS || sampler == SW_SAMPLER_TOP_PATCHES) && !l->draw.cluster)
        return sw_error_set(err, SW_E_INTERNAL, "an epoch whose patches are drawn by clusters began without them");
    stop(l);
    l->draw.epoch = epoch;
    l->draw.given = NULL;
    l->first_step = l->next_step = first_step;
    l->count = (sw_loader_count){.decoded = 0};
    SW_TRY(order_bags(l, epoch, err));
    sw_sample_order(l->options.seed, epoch, l->order, l->draw.n_bags);
    bool waits = l->scales.plan.sampler == SW_SAMPLER_ATTENTION; /* for sw_loader_give */
    l->items_left = waits ? 0 : (l->steps - first_step) * l->step_items;
    return begin_stream(l, err);
}

void sw_loader_set_clusters(sw_loader *l, const int32_t *const *cluster)
{
    stop(l); /* nothing is drawn by the old ones any more */
    l->draw.cluster = cluster;
}

sw_status sw_loader_give(sw_loader *l, int64_t step, const sw_batch_given *given, sw_error *err)
{
    if (!l->prefetch || step < 0 || step >= l->steps)
        return sw_error_set(err, SW_E_INTERNAL, "step %lld of an epoch was given out of order", (long long)step);
    stop(l);
    l->given = *given;
    l->draw.given = &l->given;
    l->first_step = l->next_step = step;
    l->items_left = l->step_items;
    return begin_stream(l, err);
}

int64_t sw_loader_step_bags(const sw_loader *l, int64_t step, const int64_t **bag)
{
    int64_t first = step * l->options.batch_bags, left = l->draw.n_bags - first;
    *bag = l->order + first;
    return left < l->options.batch_bags ? left : l->options.batch_bags;
}

sw_status sw_loader_crops(const sw_loader *l, int64_t step, int64_t bag_of_step, int64_t n, const int *source_px,
                          sw_crop *crop, sw_error *err)
{
    const int64_t *bag = NULL;
    (void)sw_loader_step_bags(l, step, &bag);
    memset(crop, 0, (size_t)n * sizeof *crop);
    if (sw_store_feature_dim(l->draw.store) > 0) return SW_OK; /* they are not cut */
    sw_augment_step draw = {.augment = &l->options.augment, .seed = l->options.seed, .epoch = l->draw.epoch,
                            .step = (uint32_t)(step * l->options.batch_bags + bag_of_step), .n_bags = 1, .bag_patches = n,
                            .bag = bag + bag_of_step, .source_px = source_px};
    return sw_augment_draw(&draw, crop, err);
}

sw_status sw_loader_next(sw_loader *l, sw_batch **batch, sw_error *err)
{
    *batch = NULL;
    if (!l->prefetch) return sw_error_set(err, SW_E_INTERNAL, "sw_loader_next before sw_loader_begin");
    sw_loader_done(l);
    for (int64_t i = 0; i < l->keep; i++) { /* there are some where a step was left early */
        item_free(l, l->kept[i]);
        l->kept[i] = NULL;
    }
    sw_batch_free(l->now);
    l->now = NULL;
    if (l->next_step == l->steps) return SW_OK;
    int64_t start = sw_now_ns();
    SW_TRY(plan_of(l, l->next_step, &l->now, err));
    l->count.waited_ns += sw_now_ns() - start;
    l->next_step++;
    l->asked = 0;
    *batch = sw_batch_share(l->now);
    return SW_OK;
}

/* The stream's next chunk of this step; what was left over of earlier steps is skipped. */
static sw_status take(sw_loader *l, item **out, sw_error *err)
{
    for (;;) {
        void *next = NULL;
        int64_t waited_ns = 0;
        SW_TRY(sw_prefetch_next(l->prefetch, &next, &waited_ns, err));
        l->count.waited_ns += waited_ns;
        item *it = next;
        if (!it) return sw_error_set(err, SW_E_INTERNAL, "the stream of pixels ended early");
        if (it->batch && it->batch->step == l->now->step) {
            *out = it;
            return SW_OK;
        }
        item_free(l, it);
    }
}

static void add_up(sw_loader_count *count, const sw_pixel_chunk *c)
{
    count->timing.read_ns += c->timing.read_ns;
    count->timing.decode_ns += c->timing.decode_ns;
    count->timing.augment_ns += c->timing.augment_ns;
    count->decoded += c->count;
}

sw_status sw_loader_chunk(sw_loader *l, int64_t chunk, const sw_pixel_chunk **out, sw_error *err)
{
    *out = NULL;
    sw_loader_done(l);
    int64_t chunks = l->now ? sw_batch_chunks(l->now) : 0, total = chunks > 1 && !l->options.once ? 2 * chunks : chunks;
    if (!l->now || l->asked == total || chunk != l->asked % chunks) {
        return sw_error_set(err, SW_E_INTERNAL, "chunk %lld of a step was asked for out of order", (long long)chunk);
    }
    if (l->asked >= chunks && chunk < l->keep) {
        l->held = SW_STEAL(l->kept[chunk]);
    } else {
        SW_TRY(take(l, &l->held, err));
        add_up(&l->count, &l->held->chunk);
    }
    l->asked++;
    *out = &l->held->chunk;
    return SW_OK;
}

void sw_loader_done(sw_loader *l)
{
    item *it = SW_STEAL(l->held);
    if (!it) return;
    int64_t chunks = sw_batch_chunks(it->batch), chunk = it->chunk.first / it->batch->chunk_patches;
    if (chunks > 1 && l->asked <= chunks && chunk < l->keep) l->kept[chunk] = it; /* the first pass */
    else item_free(l, it);
    if (l->prefetch) sw_prefetch_done(l->prefetch);
}
