/* SPDX-License-Identifier: Apache-2.0 */
/* An encoder on random pixels: forward in evaluation, or forward and backward with batch statistics. */
#include <stdio.h>
#include <string.h>

#include "encoder/encoder.h"
#include "util.h"

typedef struct work {
    sw_backend *be;
    sw_slab *slab;
    sw_encoder *encoder;
    sw_tensor images, seed; /* seed: the gradient that backward starts from */
    sw_dtype activations;
    bool training;
} work;

static sw_status go(void *ctx, sw_error *err)
{
    work *w = ctx;
    sw_tape *tape;
    SW_TRY(sw_tape_new(w->be, w->training, &tape, err));
    sw_nn_mode mode = w->training ? sw_nn_mode_train(1, 1) : sw_nn_mode_eval();
    mode.activations = w->activations;
    sw_var *x = sw_tape_constant(tape, &w->images);
    sw_var *y = sw_encoder_forward(w->encoder, tape, !w->training, x, &mode);
    sw_status status = sw_tape_status(tape, err);
    if (status == SW_OK && w->training) status = sw_tape_backward(tape, y, &w->seed, err);
    sw_tape_free(tape);
    return status;
}

static sw_status prepare(const bench_args *args, work *w, bench_case *c, sw_error *err)
{
    static char name[64];
    int64_t batch, px;
    bench_common common;
    const char *kind = bench_text(args, "kind", "forward"), *encoder = bench_text(args, "encoder", "resnet18");
    SW_TRY(bench_common_read(args, &common, err));
    SW_TRY(bench_int(args, "batch", 32, 1, 4096, &batch, err));
    SW_TRY(bench_int(args, "px", 224, 8, 4096, &px, err));
    w->training = strcmp(kind, "train") == 0;
    if (!w->training && strcmp(kind, "forward") != 0)
        return sw_error_set(err, SW_E_INVALID, "kind=%s: give forward or train", kind);
    SW_TRY(sw_backend_new("cpu", &common.backend, &w->be, err));
    SW_TRY(sw_backend_precision(w->be, common.precision, &w->activations, err));
    SW_TRY(sw_slab_new(&w->be->device, SW_F32, &w->slab, err));
    SW_TRY(sw_encoder_new(encoder, w->slab, &w->encoder, err));
    SW_TRY(sw_slab_commit(w->slab, err));
    SW_TRY(sw_encoder_init(w->encoder, 1, err));
    SW_TRY(bench_random(w->be, SW_SHAPE(batch, 3, px, px), 0, &w->images, err));
    SW_TRY(bench_random(w->be, SW_SHAPE(batch, sw_encoder_dim(w->encoder)), 1, &w->seed, err));
    snprintf(name, sizeof name, "encoder %s, %s", w->training ? "training step" : "forward", common.precision);
    *c = (bench_case){.name = name,
                      .unit = "patches",
                      .items = (double)batch,
                      .flops = (double)batch * bench_encoder_flops(encoder, px, w->training),
                      .be = w->be,
                      .ctx = w,
                      .go = go};
    return SW_OK;
}

int main(int argc, char **argv)
{
    static const char *const keys[] = {"kind=forward, or train", "encoder=resnet18", "batch=32", "px=224", NULL};
    work w = {.be = NULL};
    bench_args args;
    bench_case c;
    sw_error err;
    sw_status status = bench_args_read(argc, argv, keys, &args, &err);
    if (status == SW_OK) status = prepare(&args, &w, &c, &err);
    if (status == SW_OK) status = bench_run(&args, &c, &err);
    sw_tensor_release(&w.images);
    sw_tensor_release(&w.seed);
    sw_encoder_free(w.encoder);
    sw_slab_free(w.slab);
    sw_backend_free(w.be);
    return bench_end("bench_encoder", status, &err);
}
