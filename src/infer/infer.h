/* SPDX-License-Identifier: Apache-2.0 */
/* A bag through the model in evaluation mode: one chunk of pixels and the features in memory. */
#ifndef SW_INFER_INFER_H
#define SW_INFER_INFER_H

#include "base/log.h"
#include "base/thread.h"
#include "batch/batch.h"
#include "model/model.h"
#include "slidewise/log.h"

/* What the model says of one bag; free with sw_bag_result_free. */
typedef struct sw_bag_result {
    int64_t n_patches;
    int n_classes, n_heads;
    double *logit;       /* [n_classes] */
    double *probability; /* [n_classes] */
    int predicted;
    float *attention;    /* [n_heads, n_patches]; NULL where the aggregator has none */
    float *score;        /* [n_patches] by which the best patches are chosen; NULL: by attention */
    /* only where they are asked for: */
    int instance_dim;
    float *instance;     /* [n_patches, instance_dim] features that attention weighs; NULL where the aggregator has none */
    float *patch_logit;  /* [n_patches, n_classes] what each patch says by itself; NULL where the aggregator has none */
} sw_bag_result;
void sw_bag_result_free(sw_bag_result *result);

typedef struct sw_infer_options {
    int64_t chunk_patches; /* patches encoded at a time, > 0 */
    int crop_px;           /* side the encoder sees: whole patches are resized to it */
    sw_channel_order channel_order;
    sw_pixel_norm normalise;
    int ahead;             /* chunks of pixels that are prepared while one is encoded, >= 1 */
    const sw_crop *crop;   /* [patches] how each is cut, borrowed; NULL: whole patches */
    bool scaled;           /* with `crop`: as augment.fast_decode scaled */
    bool instances;        /* the result has features and logits of the patches */
    sw_pool *pool;         /* borrowed: decodes the chunks */
    sw_meter *meter;       /* borrowed, may be NULL: ticked with patches */
    int64_t meter_base;    /* patches counted before this bag */
} sw_infer_options;

/* The features of all patches of `source`: [patches, sw_model_dim], the caller's. Of a source of features these themselves. */
sw_status sw_infer_features(sw_model *model, sw_patch_source *source, const sw_infer_options *options, float *features, sw_error *err)
    SW_MUST_CHECK;
/* Encodes all patches of `source` and aggregates them. */
sw_status sw_infer_bag(sw_model *model, sw_patch_source *source, const sw_infer_options *options,
                       sw_bag_result *out, sw_error *err) SW_MUST_CHECK;

/* Softmax on the host, in double. */
void sw_softmax_host(const double *logit, int n, double *probability);

/* What the outputs of a survival model say. Several: hazards of bins of time, so survival [n] is the probability to be without
 * the event at the end of each bin, and the risk minus their sum. One: the risk itself, and survival is left as it is. */
double sw_survival_host(const double *logit, int n, double *survival);

#endif
