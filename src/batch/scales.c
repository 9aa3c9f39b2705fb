/* SPDX-License-Identifier: Apache-2.0 */
/* Which of a store's scales make a bag. */
#include <math.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "batch/batch.h"

typedef struct chosen {
    int n;
    double mpp_um[SW_CONFIG_MAX_SCALES], share[SW_CONFIG_MAX_SCALES];
} chosen;

/* Low magnification (large mpp) first. */
static void sort_scales(chosen *c)
{
    for (int i = 1; i < c->n; i++) {
        double mpp = c->mpp_um[i], share = c->share[i];
        int j = i;
        for (; j > 0 && c->mpp_um[j - 1] < mpp; j--) {
            c->mpp_um[j] = c->mpp_um[j - 1];
            c->share[j] = c->share[j - 1];
        }
        c->mpp_um[j] = mpp;
        c->share[j] = share;
    }
}

static sw_status first_bag(const sw_store *store, const sw_dataset *dataset, const sw_bag **out, sw_error *err)
{
    for (int64_t i = 0; i < dataset->n_bags; i++) {
        *out = &dataset->bag[i];
        if ((*out)->split != SW_SPLIT_NONE && (*out)->store_slide >= 0) return SW_OK;
    }
    return sw_error_set(err, SW_E_INVALID, "%s: no slide of the table is in a split and in store %s", dataset->labels_path,
                        sw_store_path(store));
}

static sw_status choose(const sw_config *config, const sw_store *store, const sw_dataset *dataset, chosen *out,
                        sw_error *err)
{
    const sw_config_scales *given = &config->bag.scales;
    out->n = (int)given->count;
    for (int s = 0; s < out->n; s++) {
        out->mpp_um[s] = given->item[s].mpp_um;
        out->share[s] = given->item[s].share;
    }
    if (out->n == 0) {
        const sw_bag *bag = NULL;
        SW_TRY(first_bag(store, dataset, &bag, err));
        out->n = sw_store_scale_count(store, bag->store_slide);
        if (out->n > SW_CONFIG_MAX_SCALES) out->n = SW_CONFIG_MAX_SCALES;
        for (int s = 0; s < out->n; s++) out->mpp_um[s] = sw_store_scale_get(store, bag->store_slide, s)->mpp_um;
        if (out->n > 2) {
            return sw_error_set(err, SW_E_INVALID, "store %s has %d scales; say in bag.scales which of them make a bag",
                                sw_store_path(store), out->n);
        }
    }
    sort_scales(out);
    return SW_OK;
}

static sw_status lacks_scale(const sw_store *store, int64_t slide, double mpp_um, const char *key, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf list = {0};
    for (int s = 0; s < sw_store_scale_count(store, slide); s++) {
        sw_buf_printf(&list, "%s%g", s ? ", " : "", sw_store_scale_get(store, slide, s)->mpp_um);
    }
    SW_TRY(sw_buf_status(&list, err));
    return sw_error_set(err, SW_E_NOT_FOUND, "store %s: slide %s has no scale of %g um/px, which %s asks for (it has %s); tile it so, or change the key",
                        sw_store_path(store), sw_store_slide_id(store, slide), mpp_um, key, list.data);
}

/* bag.patches, or where that is 0 those of the largest training bag, which all fit then. */
static int64_t patches_asked(const sw_config *config, const sw_store *store, const sw_dataset *dataset, double mpp_um)
{
    int64_t most = sw_config_bag_patches(config);
    for (int64_t i = 0; i < dataset->n_bags && config->bag.patches == 0; i++) {
        int64_t n = dataset->bag[i].split == SW_SPLIT_TRAIN ? sw_bag_patches(store, &dataset->bag[i], mpp_um) : 0;
        if (n > most) most = n;
    }
    return most > 0 ? most : 1;
}

/* Every slide has the scale; of the slides of one bag one at least has a patch. */
static sw_status check_bag(const sw_store *store, const sw_bag *bag, const sw_bag_scales *scales, int s, sw_error *err)
{
    bool eval_only = s == scales->n, wanted = s == scales->eval || (!eval_only && scales->plan.n[s] > 0);
    double mpp_um = scales->mpp_um[s];
    for (int64_t i = 0; i < sw_bag_slides(bag); i++) {
        int64_t slide = sw_bag_slide(bag, i);
        if (sw_store_scale_find(store, slide, mpp_um) < 0)
            return lacks_scale(store, slide, mpp_um, eval_only ? "eval.mpp" : "bag.scales", err);
    }
    if (!wanted || sw_bag_patches(store, bag, mpp_um) > 0) return SW_OK;
    return sw_error_set(err, SW_E_INVALID, "store %s: %s %s has no patch at %g um/px; leave it out of the label table",
                        sw_store_path(store), sw_bag_slides(bag) > 1 ? "case" : "slide", bag->slide_id, mpp_um);
}

sw_status sw_bag_scales_resolve(const sw_config *config, const sw_store *store, const sw_dataset *dataset,
                                sw_bag_scales *out, sw_error *err)
{
    chosen c = {0};
    SW_TRY(choose(config, store, dataset, &c, err));
    *out = (sw_bag_scales){.n = c.n, .eval = c.n - 1};
    memcpy(out->mpp_um, c.mpp_um, sizeof(c.mpp_um));
    int64_t patches = patches_asked(config, store, dataset, c.mpp_um[c.n - 1]);
    if (config->bag.scale_rule == SW_SCALE_SHARES) {
        SW_TRY(sw_sample_plan_shares(patches, c.n, c.share, &out->plan, err));
    } else {
        SW_TRY(sw_sample_plan_reference(patches, config->bag.divisor, c.n, &out->plan, err));
    }
    out->plan.sampler = config->bag.sampler;
    out->plan.regions = config->bag.regions;
    out->plan.ratio = config->bag.attention_ratio;
    out->plan.per_cluster = config->bag.sampler == SW_SAMPLER_CLUSTERS ? config->bag.per_cluster : out->plan.total;
    int used = c.n;
    if (config->eval.mpp_um > 0) {
        out->eval = 0;
        while (out->eval < c.n && fabs(out->mpp_um[out->eval] / config->eval.mpp_um - 1) > 0.01) out->eval++;
        if (out->eval == c.n) out->mpp_um[used++] = config->eval.mpp_um;
    }
    for (int64_t i = 0; i < dataset->n_bags; i++) {
        const sw_bag *bag = &dataset->bag[i];
        if (bag->split == SW_SPLIT_NONE) continue;
        for (int s = 0; s < used; s++) SW_TRY(check_bag(store, bag, out, s, err));
    }
    return SW_OK;
}
