/* SPDX-License-Identifier: Apache-2.0 */
#include "infer/memory.h"

#include <math.h>
#include <string.h>

#include "base/cpu.h"
#include "base/mem.h"
#include "base/text.h"

enum { SMALL_CHUNK = 2, LARGE_CHUNK = 4, SMALL_BAG = 64, LARGE_BAG = 192 };

/* What the allocator's gaps and huge pages may add to what two small chunks showed. */
static const double gaps = 1.0 / 32.0, rounding_bytes = 0x1p23;

static double most(double a, double b)
{
    return a > b ? a : b;
}

/* --- measuring */

typedef sw_var *(*pass_fn)(const sw_model *model, sw_tape *tape, sw_var *x, const sw_nn_mode *mode);

static sw_var *encode(const sw_model *model, sw_tape *tape, sw_var *x, const sw_nn_mode *mode)
{
    return sw_model_encode(model, tape, x, mode);
}

static sw_var *aggregate(const sw_model *model, sw_tape *tape, sw_var *x, const sw_nn_mode *mode)
{
    return sw_model_aggregate(model, tape, x, mode).logits;
}

/* Most bytes of tensors beyond what stays, with the gaps between them, and the scratch memory. */
typedef struct peak {
    double tensors, scratch;
} peak;

static sw_status zeros(sw_backend *be, sw_shape shape, sw_tensor *out, sw_error *err)
{
    const sw_fill_attr zero = {.value = 0.0};
    SW_TRY(sw_tensor_new(&be->device, SW_F32, shape, out, err));
    sw_forward_args args = {.attr = &zero, .out = {out}};
    return sw_backend_run(be, SW_OP_FILL, &args, err);
}

static void tape_drop(sw_tape **tape)
{
    sw_tape_free(*tape);
}

/* There, and with `training` back with a gradient of zero. A frozen encoder wants none. */
static sw_status pass(sw_model *model, pass_fn fn, sw_shape shape, bool training, sw_error *err)
{
    sw_backend *be = sw_model_backend(model);
    sw_nn_mode mode = training ? sw_nn_mode_train(0, 0) : sw_nn_mode_eval();
    mode.update_running = false;
    SW_CLEANUP(tape_drop) sw_tape *tape = NULL;
    SW_CLEANUP(sw_tensor_release) sw_tensor x = {0}, seed = {0};
    SW_TRY(zeros(be, shape, &x, err));
    SW_TRY(sw_tape_new(be, training, &tape, err));
    sw_var *y = fn(model, tape, fn == aggregate ? sw_tape_input(tape, &x) : sw_tape_constant(tape, &x), &mode);
    SW_TRY(sw_tape_status(tape, err));
    if (!sw_var_wants_grad(y)) return SW_OK;
    SW_TRY(zeros(be, *sw_var_shape(y), &seed, err));
    return sw_tape_backward(tape, y, &seed, err);
}

static sw_status measure(sw_model *model, pass_fn fn, sw_shape shape, bool training, peak *out, sw_error *err)
{
    sw_backend *be = sw_model_backend(model);
    sw_backend_trim(be);
    sw_memory_use before = sw_backend_memory(be);
    SW_TRY(pass(model, fn, shape, training, err));
    sw_memory_use use = sw_backend_memory(be);
    double tensors = (double)use.peak - (double)before.now, with_gaps = (double)use.idle - (double)before.idle;
    *out = (peak){most(tensors, with_gaps), (double)use.scratch};
    return SW_OK;
}

static sw_memory_line line_through(double x0, double y0, double x1, double y1)
{
    double slope = most(0.0, (y1 - y0) / (x1 - x0));
    return (sw_memory_line){.fixed = most(0.0, y0 - slope * x0), .per_patch = slope};
}

/* What the process has that no tensor explains: after the kernels ran, and again when the backend has let go of all. */
static double base_of(sw_backend *be)
{
    sw_memory_use use = sw_backend_memory(be);
    double ran = (double)sw_process_memory_now().now - (double)(use.now + use.idle + use.scratch);
    sw_backend_trim(be);
    return most(0.0, most(ran, (double)sw_process_memory_now().now - (double)use.now));
}

static sw_status measure_all(sw_model *m, int px, bool training, sw_memory_cost *out, sw_error *err)
{
    peak p[2] = {{0, 0}, {0, 0}}, q[2];
    SW_TRY(measure(m, aggregate, SW_SHAPE(1, SMALL_BAG, out->dim), training, &q[0], err));
    SW_TRY(measure(m, aggregate, SW_SHAPE(1, LARGE_BAG, out->dim), training, &q[1], err));
    if (px > 0) {
        SW_TRY(measure(m, encode, SW_SHAPE(SMALL_CHUNK, 3, px, px), training, &p[0], err));
        SW_TRY(measure(m, encode, SW_SHAPE(LARGE_CHUNK, 3, px, px), training, &p[1], err));
    }
    out->head = line_through(SMALL_BAG, q[0].tensors, LARGE_BAG, q[1].tensors);
    out->head_scratch = q[1].scratch;
    out->chunk = line_through(SMALL_CHUNK, p[0].tensors, LARGE_CHUNK, p[1].tensors);
    out->scratch = line_through(SMALL_CHUNK, p[0].scratch, LARGE_CHUNK, p[1].scratch);
    out->held = (double)sw_backend_memory(sw_model_backend(m)).now;
    out->base = base_of(sw_model_backend(m));
    return training ? sw_model_zero_grad(m, err) : SW_OK;
}

sw_status sw_memory_measure(sw_model *model, int px, bool training, sw_memory_cost *out, sw_error *err)
{
    if (!sw_model_has_encoder(model)) px = 0;
    *out = (sw_memory_cost){.px = px, .dim = sw_model_dim(model), .training = training};
    return measure_all(model, px, training, out, err);
}

/* --- choosing */

double sw_memory_total(const sw_memory_cost *c, const sw_memory_load *load, int64_t chunk)
{
    double patches = (double)load->patches, n = (double)chunk;
    double pixels = n * (c->px > 0 ? 3.0 * c->px * c->px : c->dim) * sizeof(float);
    bool whole = c->training && chunk >= load->patches; /* one tape holds encoder and head */
    /* Features of the chunks, joined, and the gradient of a replayed step; the host's copy in inference. */
    double features = patches * c->dim * sizeof(float) * 2.0;
    double encoder = c->chunk.fixed + c->chunk.per_patch * n, head = c->head.fixed + c->head.per_patch * patches;
    double tensors = whole ? encoder + head : most(encoder + features, head + features);
    double scratch = most(c->scratch.fixed + c->scratch.per_patch * n, c->head_scratch);
    return c->base + c->held + tensors * (1.0 + gaps) + rounding_bytes + scratch + pixels * (double)load->waiting +
           load->other;
}

static sw_status too_small(const sw_memory_cost *cost, const sw_memory_load *load, double budget, const char *key,
                           sw_error *err)
{
    char have[32], need[32];
    double least = ceil(sw_memory_total(cost, load, 1) / 1e7) * 1e7; /* a round number that really works */
    if (cost->px == 0)
        return sw_error_set(err, SW_E_INVALID, "%s: %s is too small: the aggregator needs %s for %lld patches; give at least that, or lower bag.patches or "
                                               "train.batch_bags", key, sw_bytes_text((int64_t)budget, have, sizeof have),
                            sw_bytes_text((int64_t)least, need, sizeof need), (long long)load->patches);
    return sw_error_set(err, SW_E_INVALID,
                        "%s: %s is too small: one patch of %d x %d pixels at a time needs %s; give at least that, or lower "
                        "augment.crop_px, bag.patches or train.batch_bags",
                        key, sw_bytes_text((int64_t)budget, have, sizeof have), cost->px, cost->px,
                        sw_bytes_text((int64_t)least, need, sizeof need));
}

sw_status sw_memory_pick(const sw_memory_cost *cost, const sw_memory_load *load, double budget, int64_t limit,
                         const char *key, int64_t *chunk, sw_error *err)
{
    int64_t top = limit > 0 && limit < load->patches ? limit : load->patches;
    if (sw_memory_total(cost, load, 1) > budget) return too_small(cost, load, budget, key, err);
    if (sw_memory_total(cost, load, top) <= budget) {
        *chunk = top;
        return SW_OK;
    }
    /* The total grows with the chunk until that is the whole step, which was tried. */
    int64_t low = 1, high = top;
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if (sw_memory_total(cost, load, middle) <= budget) low = middle;
        else high = middle;
    }
    *chunk = low >= 8 ? low / 8 * 8 : low;
    return SW_OK;
}

double sw_memory_budget(const char *text)
{
    int64_t bytes;
    if (strcmp(text, "auto") == 0)
        return (double)sw_process_memory_now().now + 0.7 * (double)sw_memory_available_bytes();
    return sw_parse_bytes(text, &bytes) ? (double)bytes : 0.0;
}
