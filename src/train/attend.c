/* SPDX-License-Identifier: Apache-2.0 */
/* Attention sampling: before a step the moving average looks at all patches of its bags, cut as the step would cut them, and
 * those that it attends to most are trained on, with the same pixels. */
#include "base/mem.h"
#include "infer/infer.h"
#include "train/trainer.h"

void sw_trainer_attend_free(sw_trainer *t)
{
    sw_free(t->given.n);
    sw_free(t->given.pick);
    sw_free(t->given.crop);
    t->given = (sw_batch_given){0};
}

static sw_status make_room(sw_trainer *t, sw_error *err)
{
    size_t bags = (size_t)t->config.train.batch_bags, n = bags * (size_t)t->scales.plan.total;
    if (t->given.n) return SW_OK;
    t->given.n = sw_calloc(bags, sizeof *t->given.n);
    t->given.pick = sw_calloc(n, sizeof *t->given.pick);
    t->given.crop = sw_calloc(n, sizeof *t->given.crop);
    return t->given.n && t->given.pick && t->given.crop ? SW_OK : sw_nomem(err);
}

static sw_status look(sw_trainer *t, sw_patch_source *source, const sw_crop *crop, sw_bag_result *out, sw_error *err)
{
    sw_infer_options o = {.chunk_patches = t->use.chunk_patches,
                          .crop_px = t->use.crop_px,
                          .channel_order = t->use.channel_order,
                          .normalise = t->use.normalise,
                          .ahead = 1,
                          .crop = crop,
                          .scaled = t->config.augment.fast_decode == SW_DECODE_SCALED,
                          .pool = t->pool};
    SW_TRY(sw_infer_bag(t->ema, source, &o, out, err));
    if (out->attention) return SW_OK;
    return sw_error_set(err, SW_E_INVALID, "aggregator.name: %s has no attention to sample by; set bag.sampler to another than "
                                           "attention", t->config.aggregator.name);
}

/* Patches and crops of bag `i` of the step, of all of which `crop` has room. */
static sw_status choose(sw_trainer *t, int64_t step, int64_t i, int64_t bag, sw_patch_source *source, sw_crop *crop, sw_error *err)
{
    int64_t patches = sw_patch_source_count(source), total = t->scales.plan.total, *n = &t->given.n[i];
    SW_AUTOFREE int *px = sw_malloc((size_t)patches * sizeof *px);
    SW_CLEANUP(sw_bag_result_free) sw_bag_result seen = {0};
    sw_pick *pick = t->given.pick + i * total;
    if (!px) return sw_nomem(err);
    for (int64_t k = 0; k < patches; k++) {
        int64_t at = k;
        px[k] = sw_patch_source_px(sw_patch_source_part(source, &at));
    }
    SW_TRY(sw_loader_crops(t->loader, step, i, patches, px, crop, err));
    SW_TRY(look(t, source, crop, &seen, err));
    SW_TRY(sw_sample_attended(&t->scales.plan, seen.attention, seen.n_heads, patches, t->config.bag.pad, (uint64_t)t->config.run.seed,
                              (uint32_t)t->state.epoch, (uint32_t)bag, pick, n, err));
    for (int64_t k = 0; k < *n; k++) t->given.crop[i * total + k] = crop[pick[k].patch];
    return SW_OK;
}

sw_status sw_trainer_attend(sw_trainer *t, int64_t step, sw_error *err)
{
    const int64_t *bag = NULL;
    int64_t bags = sw_loader_step_bags(t->loader, step, &bag);
    SW_TRY(make_room(t, err));
    for (int64_t i = 0; i < bags; i++) {
        const sw_bag *of = &t->dataset->bag[bag[i] % t->dataset->n_bags];
        sw_patch_source *source = NULL;
        SW_TRY(sw_bag_source(t->store, of, t->scales.mpp_um[0], &source, err));
        SW_AUTOFREE sw_crop *crop = sw_malloc((size_t)sw_patch_source_count(source) * sizeof *crop);
        sw_status status = crop ? choose(t, step, i, bag[i], source, crop, err) : sw_nomem(err);
        sw_patch_source_free(source);
        if (status != SW_OK) return sw_error_prefix(err, "slide %s", of->slide_id);
    }
    return sw_loader_give(t->loader, step, &t->given, err);
}
