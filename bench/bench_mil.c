/* SPDX-License-Identifier: Apache-2.0 */
/* An aggregator on one bag of random features: forward, or a training pass with the gradient of the features. */
#include <stdio.h>
#include <string.h>

#include "aggregator/aggregator.h"
#include "util.h"

typedef struct work {
    sw_backend *be;
    sw_slab *slab;
    sw_aggregator *aggregator;
    sw_tensor x, label;
    sw_nn_mode mode;
} work;

static sw_var *class_loss(const void *ctx, sw_tape *tape, sw_var *logits, sw_var *targets)
{
    (void)ctx;
    return sw_cross_entropy(tape, logits, targets);
}

static sw_status go(void *ctx, sw_error *err)
{
    work *w = ctx;
    sw_tape *tape;
    SW_TRY(sw_tape_new(w->be, w->mode.training, &tape, err));
    sw_aggregator_out out = sw_aggregator_forward(w->aggregator, tape, sw_tape_input(tape, &w->x), &w->mode);
    const int32_t label = 1;
    const sw_mil_target target = {.loss = class_loss, .targets = sw_tape_constant(tape, &w->label), .label = &label};
    sw_var *loss = w->mode.training ? sw_aggregator_loss(w->aggregator, tape, &out, &target) : NULL;
    sw_status status = sw_tape_status(tape, err);
    if (status == SW_OK && loss) status = sw_tape_backward(tape, loss, NULL, err);
    sw_tape_free(tape);
    return status;
}

static sw_status prepare(const bench_args *args, work *w, bench_case *c, sw_error *err)
{
    static char title[96];
    int64_t n, dim, inner;
    bench_common common;
    const char *name = bench_text(args, "name", "transmil"), *kind = bench_text(args, "kind", "forward");
    sw_aggregator_options o = sw_aggregator_options_default();
    const int32_t label = 1;
    SW_TRY(bench_common_read(args, &common, err));
    SW_TRY(bench_int(args, "n", 2500, 1, 1000000, &n, err));
    SW_TRY(bench_int(args, "dim", 256, 1, 65536, &dim, err));
    SW_TRY(bench_int(args, "inner", o.inner_dim, 1, 65536, &inner, err));
    bool training = strcmp(kind, "train") == 0;
    if (!training && strcmp(kind, "forward") != 0)
        return sw_error_set(err, SW_E_INVALID, "kind=%s: give forward or train", kind);
    o.input_dim = (int)dim;
    o.inner_dim = (int)inner;
    w->mode = training ? sw_nn_mode_train(1, 0) : sw_nn_mode_eval();
    SW_TRY(sw_backend_new("cpu", &common.backend, &w->be, err));
    SW_TRY(sw_slab_new(&w->be->device, SW_F32, &w->slab, err));
    SW_TRY(sw_aggregator_new(name, &o, w->slab, &w->aggregator, err));
    SW_TRY(sw_slab_commit(w->slab, err));
    SW_TRY(sw_aggregator_init(w->aggregator, 1, err));
    SW_TRY(bench_random(w->be, SW_SHAPE(1, n, dim), 0, &w->x, err));
    SW_TRY(sw_tensor_from(&w->be->device, SW_I32, SW_SHAPE(1), &label, &w->label, err));
    snprintf(title, sizeof title, "%s %s, %lld patches", name, training ? "training pass" : "forward", (long long)n);
    *c = (bench_case){.name = title, .unit = "bags", .items = 1.0, .be = w->be, .ctx = w, .go = go};
    return SW_OK;
}

int main(int argc, char **argv)
{
    static const char *const keys[] = {"name=transmil, an aggregator", "kind=forward, or train", "n=2500, patches",
                                       "dim=256, of their features", "inner=512", NULL};
    work w = {.be = NULL};
    bench_args args;
    bench_case c;
    sw_error err;
    sw_status status = bench_args_read(argc, argv, keys, &args, &err);
    if (status == SW_OK) status = prepare(&args, &w, &c, &err);
    if (status == SW_OK) status = bench_run(&args, &c, &err);
    sw_tensor_release(&w.x);
    sw_tensor_release(&w.label);
    sw_aggregator_free(w.aggregator);
    sw_slab_free(w.slab);
    sw_backend_free(w.be);
    return bench_end("bench_mil", status, &err);
}
