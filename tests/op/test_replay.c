/* SPDX-License-Identifier: Apache-2.0 */
/* Chunked replay gives the gradient of one tape that holds all chunks. */
#include "test.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/rng.h"
#include "tape/ops.h"
#include "tape/replay.h"

#define SHAPE(...) sw_shape_of((int)(sizeof((int64_t[]){__VA_ARGS__}) / 8), (int64_t[]){__VA_ARGS__})
enum { CHUNKS = 3, PX = 5, D = 6 };
static const int64_t rows_of[CHUNKS] = {4, 2, 3}; /* the chunks of a bag need not be alike */

typedef struct bag {
    sw_backend *be;
    sw_slab *slab;
    sw_tensor images[CHUNKS], label;
    int conv, gain, offset, mean, var, attn, cls;
    int encoded, replayed;
    bool frozen, bad_head;
} bag;

static void bag_free(bag *b)
{
    for (int i = 0; i < CHUNKS; i++) sw_tensor_release(&b->images[i]);
    sw_tensor_release(&b->label);
    sw_slab_free(b->slab);
    sw_backend_free(b->be);
}

static sw_status random_values(sw_tensor *t, uint32_t which, double size, sw_error *err)
{
    int64_t count = sw_tensor_count(t);
    SW_AUTOFREE double *values = sw_malloc((size_t)count * sizeof *values);
    sw_rng rng = sw_rng_stream(11, SW_RNG_TEST, which, 0, 0);
    if (!values) return sw_nomem(err);
    for (int64_t i = 0; i < count; i++) values[i] = size * sw_rng_normal(&rng);
    return sw_tensor_upload_f64(t, values, err);
}

static sw_status bag_new(const char *backend, sw_dtype dtype, bag *b, sw_error *err)
{
    const int32_t label = 1;
    const double one[D] = {1, 1, 1, 1, 1, 1};
    SW_TRY(sw_backend_new(backend, NULL, &b->be, err));
    SW_TRY(sw_slab_new(&b->be->device, dtype, &b->slab, err));
    SW_TRY(sw_slab_add(b->slab, SW_PARAM, "e", "conv", SHAPE(D, 3, 3, 3), &b->conv, err));
    SW_TRY(sw_slab_add(b->slab, SW_PARAM, "e", "gain", SHAPE(D), &b->gain, err));
    SW_TRY(sw_slab_add(b->slab, SW_PARAM, "e", "offset", SHAPE(D), &b->offset, err));
    SW_TRY(sw_slab_add(b->slab, SW_BUFFER, "e", "mean", SHAPE(D), &b->mean, err));
    SW_TRY(sw_slab_add(b->slab, SW_BUFFER, "e", "var", SHAPE(D), &b->var, err));
    SW_TRY(sw_slab_add(b->slab, SW_PARAM, "m", "attn", SHAPE(1, D), &b->attn, err));
    SW_TRY(sw_slab_add(b->slab, SW_PARAM, "m", "cls", SHAPE(3, D), &b->cls, err));
    SW_TRY(sw_slab_commit(b->slab, err));
    SW_TRY(random_values(sw_slab_value(b->slab, b->conv), 1, 0.3, err));
    SW_TRY(random_values(sw_slab_value(b->slab, b->gain), 2, 1.0, err));
    SW_TRY(random_values(sw_slab_value(b->slab, b->offset), 3, 0.5, err));
    SW_TRY(random_values(sw_slab_value(b->slab, b->attn), 4, 1.0, err));
    SW_TRY(random_values(sw_slab_value(b->slab, b->cls), 5, 1.0, err));
    SW_TRY(sw_tensor_upload_f64(sw_slab_value(b->slab, b->var), one, err));
    for (int i = 0; i < CHUNKS; i++) {
        SW_TRY(sw_tensor_new(&b->be->device, dtype, SHAPE(rows_of[i], 3, PX, PX), &b->images[i], err));
        SW_TRY(random_values(&b->images[i], 10 + (uint32_t)i, 1.0, err));
    }
    return sw_tensor_from(&b->be->device, SW_I32, SHAPE(1), &label, &b->label, err);
}

static sw_var *entry(bag *b, sw_tape *t, int index)
{
    return b->frozen ? sw_tape_frozen(t, b->slab, index) : sw_tape_param(t, b->slab, index);
}

static sw_var *encode(void *ctx, sw_tape *t, int64_t chunk, bool is_replay)
{
    bag *b = ctx;
    const sw_batch_norm_attr bn = {true, !is_replay, true, 1e-5, 0.1};
    const sw_dropout_attr dropout = {0.2, 99, 7, (uint32_t)chunk};
    b->encoded++;
    b->replayed += is_replay;
    sw_var *x = sw_conv2d(t, sw_tape_constant(t, &b->images[chunk]), entry(b, t, b->conv), 1, 1);
    sw_var *y = sw_batch_norm(t, x, entry(b, t, b->gain), entry(b, t, b->offset), sw_tape_frozen(t, b->slab, b->mean),
                              sw_tape_frozen(t, b->slab, b->var), NULL, &bn);
    sw_var_done(x);
    return sw_dropout(t, sw_global_avg_pool(t, y), &dropout);
}

/* Attention pooling and a linear classifier. */
static sw_var *head(void *ctx, sw_tape *t, sw_var *features)
{
    bag *b = ctx;
    int64_t n = sw_var_shape(features)->dim[0];
    if (b->bad_head) sw_tape_fail(t, SW_E_CANCELLED, "the head does not want to");
    sw_var *a = sw_linear(t, sw_tanh(t, features), sw_tape_param(t, b->slab, b->attn), NULL);
    a = sw_softmax(t, sw_reshape(t, a, SHAPE(1, n)));
    sw_var *s = sw_matmul(t, a, features, false, false);
    return sw_cross_entropy(t, sw_linear(t, s, sw_tape_param(t, b->slab, b->cls), NULL), sw_tape_constant(t, &b->label));
}

/* All chunks in one call, so that sw_replay_run keeps one tape. */
static sw_var *encode_whole(void *ctx, sw_tape *t, int64_t chunk, bool is_replay)
{
    sw_var *all = encode(ctx, t, chunk, is_replay);
    for (int i = 1; i < CHUNKS; i++) all = sw_concat(t, all, encode(ctx, t, i, is_replay));
    return all;
}

typedef struct outcome {
    double loss;
    double *grads, *buffers;
    int64_t n_grads, n_buffers;
} outcome;

static void outcome_free(outcome *o)
{
    sw_free(o->grads);
    sw_free(o->buffers);
}

static sw_status run(const char *backend, sw_dtype dtype, bool chunked, bool frozen, outcome *o, sw_error *err)
{
    SW_CLEANUP(bag_free) bag b = {.frozen = frozen};
    SW_CLEANUP(sw_tensor_release) sw_tensor loss = {0};
    SW_TRY(bag_new(backend, dtype, &b, err));
    const sw_replay r = {&b, chunked ? CHUNKS : 1, chunked ? encode : encode_whole, head, frozen};
    SW_TRY(sw_replay_run(b.be, &r, &loss, err));
    SW_TRY(sw_tensor_download_f64(&loss, &o->loss, err));
    o->n_grads = sw_tensor_count(sw_slab_grads(b.slab));
    o->n_buffers = sw_tensor_count(sw_slab_buffers(b.slab));
    o->grads = sw_malloc((size_t)o->n_grads * sizeof(double));
    o->buffers = sw_malloc((size_t)o->n_buffers * sizeof(double));
    if (!o->grads || !o->buffers) return sw_nomem(err);
    SW_TRY(sw_tensor_download_f64(sw_slab_grads(b.slab), o->grads, err));
    SW_TRY(sw_tensor_download_f64(sw_slab_buffers(b.slab), o->buffers, err));
    /* Every chunk once, and once more unless one tape holds all or the encoder wants no gradient. */
    int again = !chunked || frozen ? 0 : CHUNKS;
    if (b.encoded == CHUNKS + again && b.replayed == again) return SW_OK;
    return sw_error_set(err, SW_E_INTERNAL, "%d encodings, %d of them replays", b.encoded, b.replayed);
}

static void compare(const char *backend, sw_dtype dtype, bool frozen, double tol)
{
    SW_CLEANUP(outcome_free) outcome whole = {0};
    SW_CLEANUP(outcome_free) outcome chunked = {0};
    sw_error err = {0};
    CHECK_OK(run(backend, dtype, false, frozen, &whole, &err));
    CHECK_OK(run(backend, dtype, true, frozen, &chunked, &err));
    double top = 0.0;
    for (int64_t i = 0; i < whole.n_grads; i++) top = fmax(top, fabs(whole.grads[i]));
    CHECK(top > 1e-2);
    CHECK_NEAR(chunked.loss, whole.loss, tol, 0.0);
    for (int64_t i = 0; i < whole.n_grads; i++) CHECK_NEAR(chunked.grads[i], whole.grads[i], 0.0, tol * top);
    /* The running statistics moved once per chunk in both, to the bit, and away from where they began. */
    for (int64_t i = 0; i < whole.n_buffers; i++) CHECK(chunked.buffers[i] == whole.buffers[i]);
    CHECK(whole.buffers[0] != 0.0 && whole.buffers[16] != 1.0);
}

TEST(replay_equals_one_tape_in_double)
{
    compare("ref", SW_F64, false, 1e-12);
}

TEST(replay_equals_one_tape_in_float)
{
    compare("ref", SW_F32, false, 1e-5);
    compare("guard", SW_F32, false, 1e-5);
    sw_backend *be = NULL;
    if (sw_backend_new("cpu", NULL, &be, NULL) != SW_OK) return;
    sw_backend_free(be);
    compare("cpu", SW_F32, false, 1e-5);
}

TEST(a_frozen_encoder_is_not_replayed)
{
    compare("ref", SW_F64, true, 1e-12);
}

TEST(replay_reports_failures)
{
    SW_CLEANUP(bag_free) bag b = {.bad_head = true};
    sw_error err = {0};
    CHECK_OK(bag_new("ref", SW_F32, &b, &err));
    sw_replay r = {&b, CHUNKS, encode, head, false};
    CHECK_INT(sw_replay_run(b.be, &r, NULL, &err), SW_E_CANCELLED);
    CHECK_STR(err.message, "the head does not want to");
    r.chunks = 0;
    CHECK_INT(sw_replay_run(b.be, &r, NULL, &err), SW_E_INVALID);
    CHECK_STR(err.message, "a bag needs at least one chunk, not 0");
}

TEST(replay_survives_failing_allocations)
{
    int64_t live = sw_mem_live(), k = 0;
    sw_status status = SW_E_NOMEM;
    while (status == SW_E_NOMEM && k < 20000) {
        sw_error err = {0};
        outcome o = {0};
        sw_mem_fail_after(++k);
        status = run("ref", SW_F32, true, false, &o, &err);
        sw_mem_fail_after(0);
        outcome_free(&o);
        CHECK_INT(sw_mem_live(), live);
    }
    CHECK_INT(status, SW_OK);
    CHECK(k > 100);
}
