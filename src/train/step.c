/* SPDX-License-Identifier: Apache-2.0 */
#include "train/step.h"

#include <string.h>

#include "tape/replay.h"

typedef struct step {
    sw_model *model;
    const sw_batch *batch;
    const sw_step_options *options;
    sw_backend *be;
    int64_t n_patches; /* of the step */
} step;

static sw_nn_mode mode_of(const step *s, bool is_replay)
{
    sw_nn_mode mode = sw_nn_mode_train(s->options->seed, s->options->step);
    mode.update_running = !is_replay;
    mode.frozen_stats = s->options->frozen_stats;
    return mode;
}

/* One chunk through the encoder. */
static sw_var *encode(void *ctx, sw_tape *tape, int64_t chunk, bool is_replay)
{
    const step *s = ctx;
    sw_error err;
    sw_tensor images = {0};
    if (s->options->pixels(s->options->ctx, chunk, &images, &err) != SW_OK) sw_tape_fail(tape, err.code, "%s", err.message);
    sw_nn_mode mode = mode_of(s, is_replay);
    sw_var *x = sw_tape_constant(tape, &images);
    sw_tensor_release(&images); /* the encoder may let go of them */
    return sw_model_encode(s->model, tape, x, &mode);
}

static sw_var *task_loss(const void *ctx, sw_tape *tape, sw_var *logits, sw_var *targets)
{
    const sw_task *task = ctx;
    return task->loss(task, tape, logits, targets);
}

/* features [n_patches, dim] -> mean loss over the bags. */
static sw_var *head(void *ctx, sw_tape *tape, sw_var *features)
{
    const step *s = ctx;
    sw_error err;
    sw_tensor labels = {0};
    const sw_batch *b = s->batch;
    sw_nn_mode mode = mode_of(s, false);
    const sw_task *task = s->options->task;
    const int32_t *target = s->options->targets ? s->options->targets : b->label;
    if (sw_tensor_from(&s->be->device, SW_I32, sw_task_target_shape(task, b->n_bags), target, &labels, &err) != SW_OK)
        sw_tape_fail(tape, err.code, "%s", err.message);
    sw_var *bags = sw_reshape(tape, features, SW_SHAPE(b->n_bags, b->bag_patches, sw_model_dim(s->model)));
    mode.xy = b->xy;
    sw_aggregator_out out = sw_model_aggregate(s->model, tape, bags, &mode);
    if (s->options->watch && sw_tape_status(tape, &err) == SW_OK &&
        sw_watch_step(s->options->watch, out.attention ? sw_var_value(out.attention) : NULL, sw_var_value(features), b, &err) != SW_OK)
        sw_tape_fail(tape, err.code, "%s", err.message);
    const sw_mil_target asked = {.loss = task_loss,
                                 .ctx = task,
                                 .targets = sw_tape_constant(tape, &labels),
                                 .label = task->survival ? NULL : target,
                                 .cluster = b->cluster};
    sw_var *loss = sw_model_loss(s->model, tape, &out, &asked);
    sw_tensor_release(&labels);
    if (s->options->loss_scale > 0.0 && s->options->loss_scale != 1.0) loss = sw_scale(tape, loss, s->options->loss_scale);
    return loss;
}

sw_status sw_train_step(sw_model *model, const sw_batch *batch, const sw_step_options *options, double *loss,
                        sw_error *err)
{
    step s = {model, batch, options, sw_model_backend(model), batch->n_bags * batch->bag_patches};
    int64_t chunks = (s.n_patches + options->chunk_patches - 1) / options->chunk_patches;
    bool frozen = sw_model_get_options(model)->frozen;
    sw_replay replay = {.ctx = &s, .chunks = chunks, .once = frozen, .encode = encode, .head = head};
    sw_tensor value = {0};
    SW_TRY(sw_replay_run(s.be, &replay, &value, err));
    sw_status status = sw_tensor_download_f64(&value, loss, err);
    if (status == SW_OK && options->loss_scale > 0.0) *loss /= options->loss_scale;
    sw_tensor_release(&value);
    return status;
}
