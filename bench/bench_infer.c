/* SPDX-License-Identifier: Apache-2.0 */
/* A whole slide from a store (bench_store makes it) to logits: read, decode, ResNet-18, ABMILX. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "infer/infer.h"
#include "util.h"

typedef struct work {
    sw_backend *be;
    sw_model *model;
    sw_store *store;
    sw_patch_source *source;
    sw_pool *pool;
    sw_infer_options options;
} work;

static sw_status go(void *ctx, sw_error *err)
{
    work *w = ctx;
    sw_bag_result result;
    SW_TRY(sw_infer_bag(w->model, w->source, &w->options, &result, err));
    sw_bag_result_free(&result);
    return SW_OK;
}

static sw_status make_model(work *w, const bench_common *common, sw_error *err)
{
    sw_model_options mo = sw_model_options_default();
    mo.encoder = "resnet18";
    mo.aggregator = "abmilx";
    mo.mil.inner_dim = 256;
    mo.mil.heads = 8;
    mo.mil.norm = SW_MIL_NORM_LAYER;
    mo.mil.act = SW_ACT_GELU;
    mo.mil.bias = false;
    mo.mil.attn_plus = SW_PLUS_LEARNABLE;
    sw_dtype activations;
    SW_TRY(sw_backend_new("cpu", &common->backend, &w->be, err));
    SW_TRY(sw_backend_precision(w->be, common->precision, &activations, err));
    SW_TRY(sw_model_new(w->be, SW_F32, &mo, &w->model, err));
    sw_model_set_activations(w->model, activations);
    return SW_OK;
}

static sw_status prepare(const bench_args *args, work *w, bench_case *c, sw_error *err)
{
    int64_t chunk;
    bench_common common;
    const char *store = bench_text(args, "store", NULL);
    SW_TRY(bench_common_read(args, &common, err));
    if (!store) return sw_error_set(err, SW_E_INVALID, "store=DIR is missing: what bench_store wrote (its out=DIR)");
    SW_TRY(bench_int(args, "chunk", 64, 1, 100000, &chunk, err));
    SW_AUTOFREE char *path = sw_asprintf("%s/infer", store);
    if (!path) return sw_nomem(err);
    SW_TRY(make_model(w, &common, err));
    SW_TRY(sw_store_open(path, &w->store, err));
    SW_TRY(sw_patch_source_store(w->store, 0, 0, &w->source, err));
    SW_TRY(sw_pool_new(w->be->threads, &w->pool, err));
    w->options = (sw_infer_options){.chunk_patches = chunk, .crop_px = 224, .ahead = 1, .pool = w->pool};
    int64_t n = sw_patch_source_count(w->source);
    *c = (bench_case){.name = "whole slide, store to logits",
                      .unit = "patches",
                      .items = (double)n,
                      .flops = (double)n * bench_encoder_flops("resnet18", 224, false),
                      .be = w->be,
                      .ctx = w,
                      .go = go};
    return SW_OK;
}

int main(int argc, char **argv)
{
    static const char *const keys[] = {"store=out=DIR of bench_store", "chunk=64", NULL};
    work w = {.be = NULL};
    bench_args args;
    bench_case c;
    sw_error err;
    sw_status status = bench_args_read(argc, argv, keys, &args, &err);
    if (status == SW_OK) status = prepare(&args, &w, &c, &err);
    if (status == SW_OK) status = bench_run(&args, &c, &err);
    sw_patch_source_free(w.source);
    sw_store_close(&w.store);
    sw_pool_free(w.pool);
    sw_model_free(w.model);
    sw_backend_free(w.be);
    return bench_end("bench_infer", status, &err);
}
