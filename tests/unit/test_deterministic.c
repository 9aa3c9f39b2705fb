/* SPDX-License-Identifier: Apache-2.0 */
/* One training step of ResNet-18 + ABMILX on the cpu backend: at a fixed number of threads the same bits each time, and
 * with `deterministic` the same bits at any number of threads. */
#include "base/mem.h"
#include "base/rng.h"
#include "model/model.h"
#include "optim/optim.h"
#include "tape/replay.h"
#include "test.h"

/* A chunk of 8 is cut into 4 parts, the last one of 3 images is not cut: both ways of the convolutions run. */
enum { PATCHES = 11, CHUNK = 8, SIZE = 40, THREADS = 4 };

static sw_error err;

static sw_var *encode(void *ctx, sw_tape *tape, int64_t chunk, bool is_replay)
{
    sw_model *model = ctx;
    int64_t n = chunk == 0 ? CHUNK : PATCHES - CHUNK, count = n * 3 * SIZE * SIZE;
    sw_tensor x = {0};
    sw_nn_mode mode = sw_nn_mode_train(3, 0);
    mode.update_running = !is_replay;
    SW_AUTOFREE float *v = sw_calloc((size_t)count, sizeof *v);
    sw_rng rng = sw_rng_stream(11, SW_RNG_TEST, (uint32_t)chunk, 0, 0);
    for (int64_t i = 0; i < count; i++) v[i] = (float)sw_rng_range(&rng, -2, 2);
    if (sw_tensor_from(&sw_model_backend(model)->device, SW_F32, SW_SHAPE(n, 3, SIZE, SIZE), v, &x, &err) != SW_OK)
        sw_tape_fail(tape, err.code, "%s", err.message);
    sw_var *out = sw_model_encode(model, tape, sw_tape_constant(tape, &x), &mode);
    sw_tensor_release(&x);
    return out;
}

static sw_var *head(void *ctx, sw_tape *tape, sw_var *features)
{
    sw_model *model = ctx;
    sw_tensor label = {0};
    sw_nn_mode mode = sw_nn_mode_train(3, 0);
    if (sw_tensor_from(&sw_model_backend(model)->device, SW_I32, SW_SHAPE(1), &(int32_t){1}, &label, &err) != SW_OK)
        sw_tape_fail(tape, err.code, "%s", err.message);
    sw_var *bag = sw_reshape(tape, features, SW_SHAPE(1, PATCHES, sw_model_dim(model)));
    sw_var *loss = sw_cross_entropy(tape, sw_model_aggregate(model, tape, bag, &mode).logits,
                                    sw_tape_constant(tape, &label));
    sw_tensor_release(&label);
    return loss;
}

/* What a step leaves behind. */
typedef struct result {
    double loss;
    float *grads, *params, *buffers;
    size_t n_params, n_buffers;
} result;

static void result_free(result *r)
{
    sw_free(r->grads);
    sw_free(r->params);
    sw_free(r->buffers);
}

static sw_status keep(const sw_tensor *t, float **host, size_t *count)
{
    *count = (size_t)sw_tensor_count(t);
    *host = sw_malloc(*count * sizeof(float));
    return *host ? sw_tensor_download_f32(t, *host, &err) : sw_nomem(&err);
}

static sw_status train_step(sw_model *model, result *r)
{
    SW_CLEANUP(sw_tensor_release) sw_tensor loss = {0};
    sw_slab *slab = sw_model_slab(model);
    sw_optim_options oo = sw_optim_options_default();
    oo.clip_norm = 1.0; /* its norm is a sum over all gradients */
    sw_optim *optim;
    sw_replay replay = {.ctx = model, .encode = encode, .head = head, .chunks = 2};
    SW_TRY(sw_model_zero_grad(model, &err));
    SW_TRY(sw_replay_run(sw_model_backend(model), &replay, &loss, &err));
    SW_TRY(sw_tensor_download_f64(&loss, &r->loss, &err));
    SW_TRY(keep(sw_slab_grads(slab), &r->grads, &r->n_params));
    SW_TRY(sw_optim_new(sw_model_backend(model), slab, &oo, &optim, &err));
    sw_status status = sw_optim_step(optim, 1e-3, 1.0, NULL, &err);
    sw_optim_free(optim);
    SW_TRY(status);
    SW_TRY(keep(sw_slab_params(slab), &r->params, &r->n_params));
    return keep(sw_slab_buffers(slab), &r->buffers, &r->n_buffers);
}

static void step(const sw_backend_options *options, sw_dtype activations, result *r)
{
    sw_backend *be = NULL;
    sw_model *model = NULL;
    sw_model_options mo = sw_model_options_default();
    mo.mil.inner_dim = 64;
    mo.mil.heads = 2;
    CHECK_OK(sw_backend_new("cpu", options, &be, &err));
    CHECK_OK(sw_model_new(be, SW_F32, &mo, &model, &err));
    sw_model_set_activations(model, activations);
    CHECK_OK(train_step(model, r));
    sw_model_free(model);
    sw_backend_free(be);
}

static size_t different(const float *a, const float *b, size_t count)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) n += memcmp(&a[i], &b[i], sizeof(float)) != 0;
    return n;
}

static void check_same(const result *a, const result *b)
{
    CHECK_INT(a->n_params, b->n_params);
    CHECK_INT(a->n_buffers, b->n_buffers);
    CHECK(a->n_params > 2000000 && a->n_buffers > 1000);
    CHECK(memcmp(&a->loss, &b->loss, sizeof a->loss) == 0);
    CHECK_INT(different(a->grads, b->grads, a->n_params), 0);
    CHECK_INT(different(a->params, b->params, a->n_params), 0);
    CHECK_INT(different(a->buffers, b->buffers, a->n_buffers), 0);
}

static void check_any_threads(sw_dtype activations)
{
    result one = {.loss = NAN};
    step(&(sw_backend_options){.threads = 1, .deterministic = true}, activations, &one);
    for (int threads = 2; threads <= THREADS && one.grads; threads++) {
        SW_CLEANUP(result_free) result r = {.loss = NAN};
        step(&(sw_backend_options){.threads = threads, .deterministic = true}, activations, &r);
        check_same(&r, &one);
    }
    result_free(&one);
}

TEST(deterministic_steps_are_the_same_bits_with_one_to_four_threads)
{
    check_any_threads(SW_F32);
}

TEST(deterministic_steps_in_bfloat16_are_the_same_bits_with_one_to_four_threads)
{
    check_any_threads(SW_BF16);
}

TEST(steps_repeat_bit_for_bit_at_a_fixed_number_of_threads)
{
    for (int i = 0; i < 4; i++) {
        SW_CLEANUP(result_free) result a = {.loss = NAN};
        SW_CLEANUP(result_free) result b = {.loss = NAN};
        sw_backend_options options = {.threads = i & 1 ? 3 : 1};
        step(&options, i & 2 ? SW_BF16 : SW_F32, &a);
        step(&options, i & 2 ? SW_BF16 : SW_F32, &b);
        check_same(&a, &b);
    }
}
