/* SPDX-License-Identifier: Apache-2.0 */
#include "infer/infer.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "tape/tape.h"

void sw_bag_result_free(sw_bag_result *r)
{
    if (!r) return;
    sw_free(r->logit);
    sw_free(r->probability);
    sw_free(r->attention);
    sw_free(r->score);
    sw_free(r->instance);
    sw_free(r->patch_logit);
    *r = (sw_bag_result){0};
}

void sw_softmax_host(const double *logit, int n, double *probability)
{
    double top = logit[0], sum = 0.0;
    for (int i = 1; i < n; i++) top = fmax(top, logit[i]);
    for (int i = 0; i < n; i++) sum += probability[i] = exp(logit[i] - top);
    for (int i = 0; i < n; i++) probability[i] /= sum;
}

double sw_survival_host(const double *logit, int n, double *survival)
{
    double alive = 1.0, sum = 0.0;
    if (n == 1) return logit[0];
    for (int i = 0; i < n; i++) sum += survival[i] = alive *= 1.0 / (1.0 + exp(logit[i]));
    return -sum;
}

/* Pixels (released) -> features [n, dim] on the host. */
static sw_status encode_images(sw_model *model, sw_tensor *images, float *features, sw_error *err)
{
    sw_nn_mode mode = sw_nn_mode_eval();
    sw_tape *tape = NULL;
    sw_status status = sw_tape_new(sw_model_backend(model), false, &tape, err);
    if (status == SW_OK) {
        sw_var *x = sw_tape_constant(tape, images);
        sw_tensor_release(images); /* the encoder may let go of them */
        sw_var *out = sw_model_encode(model, tape, x, &mode);
        status = sw_tape_status(tape, err);
        if (status == SW_OK) status = sw_tensor_download_f32(sw_var_value(out), features, err);
    }
    sw_tensor_release(images);
    sw_tape_free(tape);
    return status;
}

/* One chunk (freed) -> its rows of `features` [n_patches, dim] on the host. The next one is decoded into its place while
 * this one is computed. */
static sw_status encode_chunk(sw_model *model, sw_eval_loader *loader, sw_eval_chunk *chunk, float *features, sw_error *err)
{
    sw_tensor images = {0};
    sw_shape shape = SW_SHAPE(chunk->count, 3, chunk->px, chunk->px);
    float *rows = features + chunk->first * sw_model_dim(model);
    sw_status status = sw_tensor_from(&sw_model_backend(model)->device, SW_F32, shape, chunk->images, &images, err);
    sw_eval_loader_done(loader, chunk);
    return status == SW_OK ? encode_images(model, &images, rows, err) : status;
}

/* Features that are there already. */
static sw_status take_features(const sw_model *model, sw_patch_source *source, const sw_infer_options *o, float *features, sw_error *err)
{
    int64_t n = sw_patch_source_count(source);
    if (o->meter && sw_log_cancelled(o->meter->sink)) return sw_error_set(err, SW_E_CANCELLED, "interrupted");
    SW_TRY(sw_patch_source_features(source, 0, n, sw_model_dim(model), features, err));
    if (o->meter) sw_meter_tick(o->meter, o->meter_base + n, (double)(o->meter_base + n), NULL, NULL);
    return SW_OK;
}

sw_status sw_infer_features(sw_model *model, sw_patch_source *source, const sw_infer_options *o, float *features, sw_error *err)
{
    if (!sw_model_has_encoder(model)) return take_features(model, source, o, features, err);
    sw_eval_loader *loader = NULL;
    sw_eval_loader_options lo = {.crop_px = o->crop_px,
                                 .chunk_patches = o->chunk_patches,
                                 .channel_order = o->channel_order,
                                 .normalise = o->normalise,
                                 .ahead = o->ahead,
                                 .crop = o->crop,
                                 .scaled = o->scaled};
    SW_TRY(sw_eval_loader_new(source, &lo, o->pool, &loader, err));
    sw_status status = SW_OK;
    for (;;) {
        sw_eval_chunk *chunk = NULL;
        int64_t waited_ns = 0, start_ns = sw_now_ns();
        status = sw_eval_loader_next(loader, &chunk, &waited_ns, err);
        if (status != SW_OK || !chunk) break;
        int64_t done = chunk->first + chunk->count;
        status = encode_chunk(model, loader, chunk, features, err);
        if (status != SW_OK) break;
        bool starved = waited_ns > (sw_now_ns() - start_ns) / 2;
        if (o->meter)
            sw_meter_tick(o->meter, o->meter_base + done, (double)(o->meter_base + done),
                          starved ? "decoding" : "computing", NULL);
        if (o->meter && sw_log_cancelled(o->meter->sink)) {
            status = sw_error_set(err, SW_E_CANCELLED, "interrupted");
            break;
        }
    }
    sw_eval_loader_free(loader);
    return status;
}

/* All of a variable, owned by the caller; NULL where there is none. */
static sw_status take(const sw_var *v, float **out, sw_error *err)
{
    if (!v) return SW_OK;
    *out = sw_malloc((size_t)sw_shape_count(sw_var_shape(v)) * sizeof **out);
    if (!*out) return sw_nomem(err);
    return sw_tensor_download_f32(sw_var_value(v), *out, err);
}

static sw_status take_attention(const sw_var *attention, sw_bag_result *out, sw_error *err)
{
    if (!attention) return SW_OK;
    const sw_shape *shape = sw_var_shape(attention); /* [1, heads, n] */
    out->n_heads = (int)shape->dim[1];
    return take(attention, &out->attention, err);
}

static sw_status take_instances(const sw_aggregator_out *result, sw_bag_result *out, sw_error *err)
{
    if (result->instance) out->instance_dim = (int)sw_var_shape(result->instance)->dim[2];
    SW_TRY(take(result->instance, &out->instance, err));
    return take(result->patch, &out->patch_logit, err);
}

static sw_status aggregate(sw_model *model, const sw_tensor *features, const float *xy, bool instances, sw_bag_result *out, sw_error *err)
{
    sw_tape *tape = NULL;
    sw_nn_mode mode = sw_nn_mode_eval();
    mode.xy = xy;
    SW_TRY(sw_tape_new(sw_model_backend(model), false, &tape, err));
    sw_aggregator_out result = sw_model_aggregate(model, tape, sw_tape_constant(tape, features), &mode);
    sw_status status = sw_tape_status(tape, err);
    if (status == SW_OK) status = sw_tensor_download_f64(sw_var_value(result.logits), out->logit, err);
    if (status == SW_OK) status = take_attention(result.attention, out, err);
    if (status == SW_OK) status = take(result.score, &out->score, err);
    if (status == SW_OK && instances) status = take_instances(&result, out, err);
    sw_tape_free(tape);
    return status;
}

static sw_status infer(sw_model *model, sw_patch_source *source, const sw_infer_options *o, sw_bag_result *out,
                       sw_error *err)
{
    int64_t n = sw_patch_source_count(source), dim = sw_model_dim(model);
    if (n < 1) return sw_error_set(err, SW_E_INVALID, "%s: no patch to look at", sw_patch_source_name(source));
    SW_AUTOFREE float *features = sw_malloc((size_t)(n * dim) * sizeof *features);
    out->n_patches = n;
    out->n_classes = sw_model_classes(model);
    out->logit = sw_calloc((size_t)out->n_classes, sizeof *out->logit);
    out->probability = sw_calloc((size_t)out->n_classes, sizeof *out->probability);
    if (!features || !out->logit || !out->probability) return sw_nomem(err);
    SW_TRY(sw_infer_features(model, source, o, features, err));
    SW_AUTOFREE float *xy = NULL;
    if (sw_aggregator_uses_places(sw_model_get_options(model)->aggregator)) {
        xy = sw_malloc((size_t)n * 2 * sizeof *xy);
        if (!xy) return sw_nomem(err);
        SW_TRY(sw_patch_source_places(source, xy, err));
    }
    sw_tensor bag = {0};
    SW_TRY(sw_tensor_from(&sw_model_backend(model)->device, SW_F32, SW_SHAPE(1, n, dim), features, &bag, err));
    sw_free(SW_STEAL(features));
    sw_status status = aggregate(model, &bag, xy, o->instances, out, err);
    sw_tensor_release(&bag);
    SW_TRY(status);
    sw_softmax_host(out->logit, out->n_classes, out->probability);
    for (int i = 1; i < out->n_classes; i++)
        if (out->logit[i] > out->logit[out->predicted]) out->predicted = i;
    return SW_OK;
}

sw_status sw_infer_bag(sw_model *model, sw_patch_source *source, const sw_infer_options *options, sw_bag_result *out,
                       sw_error *err)
{
    *out = (sw_bag_result){0};
    sw_status status = infer(model, source, options, out, err);
    if (status != SW_OK) sw_bag_result_free(out);
    return status;
}
