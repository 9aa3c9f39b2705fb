/* SPDX-License-Identifier: Apache-2.0 */
/* Which bags and patches a step has and how they are cut: everything about it but its pixels. */
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "batch/load.h"

void sw_batch_free(sw_batch *batch)
{
    if (!batch || __atomic_sub_fetch(&batch->owners, 1, __ATOMIC_ACQ_REL) > 0) return;
    sw_free(batch->label);
    sw_free(batch->bag);
    sw_free(batch->identity);
    sw_free(batch->pick);
    sw_free(batch->cluster);
    sw_free(batch->crop);
    sw_free(batch->slide);
    sw_free(batch->patch);
    sw_free(batch->scale_index);
    sw_free(batch->source_px);
    sw_free(batch->xy);
    sw_free(batch);
}

static void batch_free_ptr(sw_batch **batch)
{
    sw_batch_free(*batch);
}

sw_batch *sw_batch_share(sw_batch *batch)
{
    __atomic_add_fetch(&batch->owners, 1, __ATOMIC_RELAXED);
    return batch;
}

int64_t sw_batch_chunks(const sw_batch *b)
{
    return (b->n_bags * b->bag_patches + b->chunk_patches - 1) / b->chunk_patches;
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
        if (b->cluster) hash = mix(hash, (uint64_t)b->cluster[i]);
        hash = mix_real(mix_real(mix_real(mix_real(hash, c->x), c->y), c->width), c->height);
        hash = mix(hash, (uint64_t)c->flip_x * 2 + (uint64_t)c->flip_y);
    }
    return hash;
}

static sw_status batch_new(const sw_draw *d, int64_t n_bags, sw_batch **out, sw_error *err)
{
    SW_CLEANUP(batch_free_ptr) sw_batch *b = sw_calloc(1, sizeof(*b));
    if (!b) return sw_nomem(err);
    size_t n = (size_t)(n_bags * d->scales->plan.total);
    *b = (sw_batch){.n_bags = n_bags, .bag_patches = d->scales->plan.total, .chunk_patches = d->options->chunk_patches,
                    .px = d->options->augment.crop_px, .owners = 1};
    b->label = sw_calloc((size_t)n_bags, sizeof(*b->label));
    b->bag = sw_calloc((size_t)n_bags, sizeof(*b->bag));
    b->identity = sw_calloc((size_t)n_bags, sizeof(*b->identity));
    b->pick = sw_calloc(n, sizeof(*b->pick));
    b->crop = sw_calloc(n, sizeof(*b->crop));
    b->slide = sw_calloc(n, sizeof(*b->slide));
    b->patch = sw_calloc(n, sizeof(*b->patch));
    b->scale_index = sw_calloc(n, sizeof(*b->scale_index));
    b->source_px = sw_calloc(n, sizeof(*b->source_px));
    if (d->options->places) b->xy = sw_calloc(2 * n, sizeof(*b->xy));
    if (d->options->places && !b->xy) return sw_nomem(err);
    if (d->cluster) b->cluster = sw_calloc(n, sizeof(*b->cluster));
    if (d->cluster && !b->cluster) return sw_nomem(err);
    if (!b->label || !b->bag || !b->identity || !b->pick || !b->crop || !b->slide || !b->patch || !b->scale_index || !b->source_px) return sw_nomem(err);
    *out = SW_STEAL(b);
    return SW_OK;
}

/* Positions of the patches at a scale, [count, 2], owned by the caller. The slides of a bag lie side by side. */
static sw_status positions(const sw_draw *d, const sw_bag *bag, int s, int64_t count, int64_t **out, sw_error *err)
{
    SW_AUTOFREE int64_t *xy = sw_malloc((size_t)count * 2 * sizeof(*xy));
    int64_t done = 0, left = 0;
    if (!xy) return sw_nomem(err);
    for (int64_t i = 0; i < sw_bag_slides(bag); i++) {
        int64_t slide = sw_bag_slide(bag, i), right = left;
        int at = sw_store_scale_find(d->store, slide, d->scales->mpp_um[s]);
        const sw_store_scale *scale = sw_store_scale_get(d->store, slide, at);
        if (scale->patch_level0_px <= 0)
            return sw_error_set(err, SW_E_INVALID, "its patches were imported without positions; set bag.sampler to another than regional_slide");
        SW_TRY(sw_store_coords(d->store, slide, at, xy + 2 * done, err));
        for (int64_t k = done; k < done + scale->n_patches; k++) {
            xy[2 * k] += left;
            if (xy[2 * k] + (int64_t)scale->patch_level0_px > right) right = xy[2 * k] + (int64_t)scale->patch_level0_px;
        }
        done += scale->n_patches;
        left = right;
    }
    *out = SW_STEAL(xy);
    return SW_OK;
}

static sw_status sample(const sw_draw *d, sw_batch *b, int64_t i, int64_t *n, sw_error *err)
{
    const sw_bag *bag = &d->dataset->bag[b->bag[i]];
    const sw_sample_plan *plan = &d->scales->plan;
    int64_t *xy[SW_CONFIG_MAX_SCALES] = {0};
    sw_sample_pool pool = {{0}, {0}};
    sw_status status = SW_OK;
    for (int s = 0; s < d->scales->n && status == SW_OK; s++) {
        pool.count[s] = sw_bag_patches(d->store, bag, d->scales->mpp_um[s]);
        if (plan->sampler == SW_SAMPLER_REGIONAL_SLIDE && pool.count[s] > plan->n[s])
            status = positions(d, bag, s, pool.count[s], &xy[s], err);
        pool.xy[s] = xy[s];
    }
    if (status == SW_OK)
        status = sw_sample_bag(plan, &pool, d->options->pad, d->options->seed, d->epoch, (uint32_t)b->identity[i],
                               b->pick + i * plan->total, n, err);
    for (int s = 0; s < d->scales->n; s++) sw_free(xy[s]);
    return status;
}

static sw_status sample_clustered(const sw_draw *d, sw_batch *b, int64_t i, int64_t *n, sw_error *err)
{
    const sw_sample_plan *plan = &d->scales->plan;
    int64_t patches = sw_bag_patches(d->store, &d->dataset->bag[b->bag[i]], d->scales->mpp_um[0]);
    return sw_sample_clustered(plan, d->cluster[b->bag[i]], patches, d->options->pad, d->options->seed, d->epoch,
                               (uint32_t)b->identity[i], b->pick + i * plan->total, b->cluster + i * plan->total, n, err);
}

static sw_status draw_bag(const sw_draw *d, sw_batch *b, int64_t i, sw_error *err)
{
    const sw_bag *bag = &d->dataset->bag[b->bag[i]];
    int64_t n = 0, wanted = d->scales->plan.total;
    if (d->given) {
        n = d->given->n[i];
        memcpy(b->pick + i * wanted, d->given->pick + i * wanted, (size_t)n * sizeof(*b->pick));
    } else if ((d->cluster ? sample_clustered : sample)(d, b, i, &n, err) != SW_OK) {
        return sw_error_prefix(err, "slide %s", bag->slide_id);
    }
    if (n == wanted) return SW_OK;
    if (d->options->batch_bags > 1) {
        return sw_error_set(err, SW_E_INVALID, "slide %s has %lld of the %lld patches that a bag asks for; set bag.pad to true, or train.batch_bags to 1",
                            bag->slide_id, (long long)n, (long long)wanted);
    }
    b->bag_patches = n; /* the only bag */
    return SW_OK;
}

/* Where every pick lies. */
static void locate(const sw_draw *d, sw_batch *b)
{
    for (int64_t i = 0; i < b->n_bags * b->bag_patches; i++) {
        const sw_bag *bag = &d->dataset->bag[b->bag[i / b->bag_patches]];
        sw_bag_place at = sw_bag_locate(d->store, bag, d->scales->mpp_um[b->pick[i].scale], b->pick[i].patch);
        b->slide[i] = at.slide;
        b->patch[i] = at.patch;
        b->scale_index[i] = at.scale;
        b->source_px[i] = sw_store_scale_get(d->store, at.slide, at.scale)->patch_px;
    }
}

sw_status sw_batch_draw(const sw_draw *d, int64_t step, sw_batch **out, sw_error *err)
{
    int64_t first = step * d->options->batch_bags, n_bags = d->n_bags - first;
    if (n_bags > d->options->batch_bags) n_bags = d->options->batch_bags;
    SW_CLEANUP(batch_free_ptr) sw_batch *b = NULL;
    SW_TRY(batch_new(d, n_bags, &b, err));
    b->step = step;
    for (int64_t i = 0; i < n_bags; i++) {
        b->identity[i] = d->order[first + i];
        b->bag[i] = b->identity[i] % d->dataset->n_bags;
        b->label[i] = d->dataset->bag[b->bag[i]].label;
        SW_TRY(draw_bag(d, b, i, err));
    }
    locate(d, b);
    if (d->options->places) SW_TRY(sw_batch_places(d->store, d->dataset, d->scales, b, err));
    if (sw_store_feature_dim(d->store) > 0) { /* features are not cut */
        *out = SW_STEAL(b);
        return SW_OK;
    }
    if (d->given) {
        memcpy(b->crop, d->given->crop, (size_t)(n_bags * b->bag_patches) * sizeof(*b->crop));
        *out = SW_STEAL(b);
        return SW_OK;
    }
    sw_augment_step draw = {.augment = &d->options->augment, .seed = d->options->seed, .epoch = d->epoch,
                            .step = (uint32_t)step, .n_bags = n_bags, .bag_patches = b->bag_patches, .bag = b->identity,
                            .source_px = b->source_px};
    SW_TRY(sw_augment_draw(&draw, b->crop, err));
    *out = SW_STEAL(b);
    return SW_OK;
}
