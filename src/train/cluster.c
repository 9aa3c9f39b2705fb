/* SPDX-License-Identifier: Apache-2.0 */
/* Cluster sampling: at the begin of an epoch the model looks at all patches of the training bags, whole, and puts those that
 * look alike to it into clusters (or ranks them by its patch classifier); the epoch's bags are drawn from these. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "infer/infer.h"
#include "sampler/kmeans.h"
#include "train/trainer.h"

static const char tensor_name[] = "train.clusters";
enum { NONE = 255 }; /* in a checkpoint: a patch that is not drawn */

bool sw_trainer_clusters(const sw_trainer *t)
{
    return t->config.bag.sampler == SW_SAMPLER_CLUSTERS || t->config.bag.sampler == SW_SAMPLER_TOP_PATCHES;
}

void sw_trainer_clusters_free(sw_trainer *t)
{
    for (int64_t i = 0; t->cluster && i < t->dataset->n_bags; i++) sw_free(t->cluster[i]);
    sw_free(t->cluster);
    t->cluster = NULL;
}

static int64_t patches_of(const sw_trainer *t, int64_t bag)
{
    return sw_bag_patches(t->store, &t->dataset->bag[bag], t->scales.mpp_um[0]);
}

static sw_status make_room(sw_trainer *t, const int64_t *index, int64_t n, sw_error *err)
{
    if (t->cluster) return SW_OK;
    t->cluster = sw_calloc((size_t)t->dataset->n_bags, sizeof *t->cluster);
    if (!t->cluster) return sw_nomem(err);
    for (int64_t i = 0; i < n; i++) {
        t->cluster[index[i]] = sw_calloc((size_t)patches_of(t, index[i]), sizeof **t->cluster);
        if (!t->cluster[index[i]]) return sw_nomem(err);
    }
    return SW_OK;
}

/* Points of the same length, so that angles count. */
static sw_status by_features(const sw_trainer *t, int64_t bag, sw_bag_result *seen, sw_error *err)
{
    int64_t k;
    sw_kmeans_options o = sw_kmeans_options_default();
    o.clusters = t->config.bag.clusters;
    if (!seen->instance)
        return sw_error_set(err, SW_E_INVALID, "aggregator.name: %s has no features of patches to cluster; set bag.sampler to another "
                                               "than clusters", t->config.aggregator.name);
    sw_unit_rows(seen->instance, seen->n_patches, seen->instance_dim);
    sw_rng rng = sw_rng_stream((uint64_t)t->config.run.seed, SW_RNG_CLUSTER, (uint32_t)t->state.epoch, (uint32_t)bag, 0);
    return sw_kmeans(seen->instance, seen->n_patches, seen->instance_dim, &o, rng, t->cluster[bag], NULL, &k, err);
}

static sw_status by_logits(const sw_trainer *t, int64_t bag, const sw_bag_result *seen, sw_error *err)
{
    if (!seen->patch_logit)
        return sw_error_set(err, SW_E_INVALID, "aggregator.name: %s has no classifier of patches to rank them by; set bag.sampler to "
                                               "another than top_patches", t->config.aggregator.name);
    if (seen->n_classes != 2)
        return sw_error_set(err, SW_E_INVALID, "bag.sampler: top_patches ranks patches by the second of two classes, and there are %d",
                            seen->n_classes);
    SW_AUTOFREE float *score = sw_malloc((size_t)seen->n_patches * sizeof *score);
    if (!score) return sw_nomem(err);
    for (int64_t i = 0; i < seen->n_patches; i++) score[i] = seen->patch_logit[2 * i + 1];
    return sw_sample_best(score, seen->n_patches, t->scales.plan.total, t->cluster[bag], err);
}

/* The chunk is that of training steps: it is a part of what the result depends on. */
static sw_status look(sw_trainer *t, int64_t bag, sw_meter *meter, int64_t *done, sw_bag_result *out, sw_error *err)
{
    sw_patch_source *source = NULL;
    SW_TRY(sw_bag_source(t->store, &t->dataset->bag[bag], t->scales.mpp_um[0], &source, err));
    sw_infer_options o = {.chunk_patches = t->config.train.chunk_patches,
                          .crop_px = t->use.crop_px,
                          .channel_order = t->use.channel_order,
                          .normalise = t->use.normalise,
                          .ahead = 1,
                          .instances = true,
                          .pool = t->pool,
                          .meter = meter,
                          .meter_base = *done};
    sw_status status = sw_infer_bag(t->model, source, &o, out, err);
    sw_patch_source_free(source);
    *done += out->n_patches;
    return status;
}

static sw_status cluster_bag(sw_trainer *t, int64_t bag, sw_meter *meter, int64_t *done, sw_error *err)
{
    SW_CLEANUP(sw_bag_result_free) sw_bag_result seen = {0};
    SW_TRY(look(t, bag, meter, done, &seen, err));
    return t->config.bag.sampler == SW_SAMPLER_CLUSTERS ? by_features(t, bag, &seen, err) : by_logits(t, bag, &seen, err);
}

sw_status sw_trainer_cluster(sw_trainer *t, sw_error *err)
{
    char job[64];
    sw_meter meter;
    int64_t n = t->dataset->bags[SW_SPLIT_TRAIN], done = 0, total = 0;
    SW_AUTOFREE int64_t *index = NULL;
    SW_TRY(sw_dataset_select(t->dataset, SW_SPLIT_TRAIN, &index, err));
    sw_loader_set_clusters(t->loader, NULL); /* what it may still prepare is drawn from what changes now */
    SW_TRY(make_room(t, index, n, err));
    for (int64_t i = 0; i < n; i++) total += patches_of(t, index[i]);
    snprintf(job, sizeof job, "cluster epoch %d/%lld", t->state.epoch + 1, (long long)t->config.train.epochs);
    sw_meter_start(&meter, t->sink, job, "patches", total);
    for (int64_t i = 0; i < n; i++) {
        sw_status status = cluster_bag(t, index[i], &meter, &done, err);
        if (status == SW_E_CANCELLED) return status;
        if (status != SW_OK) return sw_error_prefix(err, "slide %s", t->dataset->bag[index[i]].slide_id);
    }
    return SW_OK;
}

/* --- checkpoints: a byte for each patch, bag after bag as the table has them */

sw_status sw_trainer_put_clusters(const sw_trainer *t, sw_weights_writer *w, sw_error *err)
{
    int64_t n = t->dataset->bags[SW_SPLIT_TRAIN], total = 0, at = 0;
    SW_AUTOFREE int64_t *index = NULL;
    SW_TRY(sw_dataset_select(t->dataset, SW_SPLIT_TRAIN, &index, err));
    for (int64_t i = 0; i < n; i++) total += patches_of(t, index[i]);
    SW_AUTOFREE uint8_t *bytes = sw_malloc((size_t)total);
    if (!bytes) return sw_nomem(err);
    for (int64_t i = 0; i < n; i++) {
        int64_t patches = patches_of(t, index[i]);
        for (int64_t k = 0; k < patches; k++) {
            int32_t c = t->cluster[index[i]][k];
            bytes[at++] = (uint8_t)(c < 0 ? NONE : c);
        }
    }
    sw_shape shape = SW_SHAPE(total);
    return sw_weights_writer_add(w, tensor_name, SW_U8, &shape, bytes, err);
}

sw_status sw_trainer_get_clusters(sw_trainer *t, const sw_weights *w, sw_error *err)
{
    int64_t n = t->dataset->bags[SW_SPLIT_TRAIN], total = 0, found = sw_weights_find(w, tensor_name);
    SW_AUTOFREE int64_t *index = NULL;
    SW_TRY(sw_dataset_select(t->dataset, SW_SPLIT_TRAIN, &index, err));
    SW_TRY(make_room(t, index, n, err));
    for (int64_t i = 0; i < n; i++) total += patches_of(t, index[i]);
    if (found < 0 || sw_weights_get(w, (size_t)found)->dtype != SW_U8 || sw_shape_count(&sw_weights_get(w, (size_t)found)->shape) != total)
        return sw_error_set(err, SW_E_FORMAT, "%s: holds no fitting %s; delete the file to start again", sw_weights_path(w), tensor_name);
    SW_AUTOFREE int64_t *value = sw_malloc((size_t)total * sizeof *value);
    if (!value) return sw_nomem(err);
    SW_TRY(sw_weights_read_i64(w, (size_t)found, value, err));
    for (int64_t i = 0, at = 0; i < n; i++) {
        int64_t patches = patches_of(t, index[i]);
        for (int64_t k = 0; k < patches; k++, at++) t->cluster[index[i]][k] = value[at] == NONE ? -1 : (int32_t)value[at];
    }
    return SW_OK;
}
