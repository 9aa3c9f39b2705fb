/* SPDX-License-Identifier: Apache-2.0 */
/* The encoder in bfloat16 beside fp32: the same features and losses within what rounding allows, the same learning, and
 * about half the memory. */
#include "test.h"

#include <math.h>

#include "base/cpu.h"
#include "base/mem.h"
#include "base/rng.h"
#include "model/model.h"
#include "op/op.h"
#include "optim/optim.h"
#include "train/step.h"

enum { PX = 32, PATCHES = 4, BAGS = 2, COUNT = BAGS * PATCHES * 3 * PX * PX };

static sw_error err;

typedef struct bench {
    sw_backend *be;
    sw_model *model;
    sw_optim *optim;
    float *images;
} bench;

static void bench_free(bench *b)
{
    sw_optim_free(b->optim);
    sw_model_free(b->model);
    sw_backend_free(b->be);
    sw_free(b->images);
}

/* Bags of stripes: class 0 down, class 1 across, under a share of noise, of another phase in each patch and step. */
static void draw(float *images, uint32_t step)
{
    sw_rng rng = sw_rng_stream(5, SW_RNG_TEST, step, 0, 0);
    for (int p = 0; p < BAGS * PATCHES; p++) {
        double phase = sw_rng_range(&rng, 0, 6.28);
        for (int c = 0; c < 3; c++)
            for (int y = 0; y < PX; y++)
                for (int x = 0; x < PX; x++)
                    images[((p * 3 + c) * PX + y) * PX + x] =
                        (float)(sin(0.5 * (p < PATCHES ? x : y) + phase) + 0.3 * sw_rng_normal(&rng));
    }
}

static bool bench_new(bench *b)
{
    sw_model_options mo = sw_model_options_default();
    sw_optim_options oo = sw_optim_options_default();
    mo.seed = 11;
    mo.mil.inner_dim = 32;
    mo.mil.heads = 2;
    mo.mil.dropout = 0.0;
    b->images = sw_calloc(COUNT, sizeof *b->images);
    bool ok = b->images && sw_backend_new("cpu", &(sw_backend_options){.threads = 1}, &b->be, &err) == SW_OK &&
              sw_model_new(b->be, SW_F32, &mo, &b->model, &err) == SW_OK && sw_model_zero_grad(b->model, &err) == SW_OK &&
              sw_optim_new(b->be, sw_model_slab(b->model), &oo, &b->optim, &err) == SW_OK;
    return ok || sw_test_fail(__FILE__, __LINE__, "%s", err.message);
}

static sw_status pixels(void *ctx, int64_t chunk, sw_tensor *out, sw_error *e)
{
    const bench *b = ctx;
    (void)chunk; /* one chunk holds all */
    return sw_tensor_from(&b->be->device, SW_F32, SW_SHAPE(BAGS * PATCHES, 3, PX, PX), b->images, out, e);
}

static sw_status step(bench *b, sw_dtype activations, uint32_t number, double *loss)
{
    int32_t label[BAGS] = {0, 1};
    sw_batch batch = {.n_bags = BAGS, .bag_patches = PATCHES, .chunk_patches = 100, .px = PX, .label = label};
    sw_step_options so = {.task = sw_task_get(SW_CFG_CLASSIFICATION), .chunk_patches = 100, .seed = 1, .step = number,
                          .pixels = pixels, .ctx = b};
    sw_model_set_activations(b->model, activations);
    draw(b->images, number);
    return sw_train_step(b->model, &batch, &so, loss, &err);
}

/* Features [n, dim] of the bags and their logits [bags, 2] without a gradient; `training`: batch statistics. */
static bool infer(const bench *b, sw_dtype activations, bool training, double *features, double *logits)
{
    sw_tape *tape = NULL;
    sw_tensor x = {0};
    sw_nn_mode mode = training ? sw_nn_mode_train(1, 1) : sw_nn_mode_eval();
    mode.update_running = false;
    sw_model_set_activations(b->model, activations);
    draw(b->images, 1000);
    bool ok = sw_tensor_from(&b->be->device, SW_F32, SW_SHAPE(BAGS * PATCHES, 3, PX, PX), b->images, &x, &err) == SW_OK &&
              sw_tape_new(b->be, false, &tape, &err) == SW_OK;
    if (ok) {
        sw_var *f = sw_model_encode(b->model, tape, sw_tape_constant(tape, &x), &mode);
        sw_var *bags = sw_reshape(tape, f, SW_SHAPE(BAGS, PATCHES, sw_model_dim(b->model)));
        sw_var *l = sw_model_aggregate(b->model, tape, bags, &mode).logits;
        ok = sw_tape_status(tape, &err) == SW_OK && sw_var_value(f)->dtype == SW_F32 &&
             sw_tensor_download_f64(sw_var_value(f), features, &err) == SW_OK &&
             sw_tensor_download_f64(sw_var_value(l), logits, &err) == SW_OK;
    }
    sw_tape_free(tape);
    sw_tensor_release(&x);
    return ok || sw_test_fail(__FILE__, __LINE__, "%s", err.message);
}

/* |a - b| / |b| in the Euclidean norm */
static double distance(const double *a, const double *b, int64_t n)
{
    double d = 0, size = 0;
    for (int64_t i = 0; i < n; i++) {
        d += (a[i] - b[i]) * (a[i] - b[i]);
        size += b[i] * b[i];
    }
    return sqrt(d / size);
}

/* Each of 17 layers rounds its result to 8 bits, by 2^-9 at most; measured: 0.3 % of the features, less of the logits. */
TEST(features_and_logits_are_near_those_of_fp32)
{
    enum { FEATURES = BAGS * PATCHES * 256 };
    static double wide[FEATURES], narrow[FEATURES];
    double wide_logits[4], narrow_logits[4], loss = 0;
    SW_CLEANUP(bench_free) bench b = {0};
    CHECK(bench_new(&b));
    for (uint32_t i = 0; i < 3; i++) { /* so that gains that start at zero are none, and the statistics are real */
        CHECK_OK(step(&b, SW_F32, i, &loss));
        CHECK_OK(sw_optim_step(b.optim, 1e-2, 1.0, NULL, &err));
    }
    for (int training = 0; training < 2; training++) {
        CHECK(infer(&b, SW_F32, training, wide, wide_logits) && infer(&b, SW_BF16, training, narrow, narrow_logits));
        double d = distance(narrow, wide, FEATURES), l = distance(narrow_logits, wide_logits, 4);
        printf("# %s: features %.2g, logits %.2g away from fp32\n", training ? "batch statistics" : "running statistics", d,
               l);
        CHECK(d > 1e-5 && d < 1e-2); /* also not the same: it does run in bfloat16 */
        CHECK(l < 5e-3);
    }
}

TEST(training_falls_as_in_fp32)
{
    enum { STEPS = 30 };
    double mean[2] = {0}, first[2] = {0};
    for (int k = 0; k < 2; k++) {
        SW_CLEANUP(bench_free) bench b = {0};
        CHECK(bench_new(&b));
        for (uint32_t i = 0; i < STEPS; i++) {
            double loss;
            CHECK_OK(step(&b, k ? SW_BF16 : SW_F32, i, &loss));
            CHECK_OK(sw_optim_step(b.optim, 1e-3, 1.0, NULL, &err));
            if (i == 0) first[k] = loss;
            if (i >= STEPS - 5) mean[k] += loss / 5;
        }
    }
    printf("# loss from %.4f to %.4f in fp32, from %.4f to %.4f in bf16\n", first[0], mean[0], first[1], mean[1]);
    CHECK_NEAR(first[1], first[0], 0, 2e-2);
    CHECK(mean[0] < 0.5 * first[0] && mean[1] < 0.5 * first[1]);
    CHECK_NEAR(mean[1], mean[0], 0, 0.1);
}

TEST(a_step_needs_about_half_the_memory)
{
    size_t peak[2];
    for (int k = 0; k < 2; k++) {
        SW_CLEANUP(bench_free) bench b = {0};
        double loss;
        CHECK(bench_new(&b));
        size_t before = sw_backend_memory(b.be).now;
        CHECK_OK(step(&b, k ? SW_BF16 : SW_F32, 0, &loss));
        peak[k] = sw_backend_memory(b.be).peak - before;
    }
    printf("# activations at most %.1f MB in fp32, %.1f MB in bf16\n", (double)peak[0] / 1e6, (double)peak[1] / 1e6);
    CHECK((double)peak[1] < 0.6 * (double)peak[0]);
}

TEST(precision_is_chosen_by_what_the_backend_has)
{
    sw_backend *cpu = NULL, *ref = NULL;
    sw_dtype type;
    CHECK_OK(sw_backend_new("cpu", NULL, &cpu, &err));
    CHECK_OK(sw_backend_new("ref", NULL, &ref, &err));
    CHECK(cpu->bf16 == (sw_cpu_has_bf16() ? SW_BF16_NATIVE : SW_BF16_SLOW) && ref->bf16 == SW_BF16_NEVER);
    for (int k = 0; k < 3; k++) {
        cpu->bf16 = (sw_bf16_support)k;
        CHECK(sw_backend_precision(cpu, "fp32", &type, &err) == SW_OK && type == SW_F32);
        CHECK(sw_backend_precision(cpu, "auto", &type, &err) == SW_OK && type == (k == SW_BF16_NATIVE ? SW_BF16 : SW_F32));
        if (k != SW_BF16_NEVER) CHECK(sw_backend_precision(cpu, "bf16", &type, &err) == SW_OK && type == SW_BF16);
    }
    CHECK(sw_backend_precision(ref, "bf16", &type, &err) == SW_E_UNSUPPORTED);
    CHECK_STR(err.message,
              "precision bf16: backend ref computes in fp32 only; choose precision fp32 or auto, or backend cpu");
    CHECK(sw_backend_precision(ref, "fp16", &type, &err) == SW_E_INVALID);
    CHECK_STR(err.message, "precision 'fp16' is none of auto, fp32, bf16");
    CHECK_STR(sw_precision_name(SW_BF16), "bf16");
    CHECK_STR(sw_precision_name(SW_F32), "fp32");
    sw_backend_free(cpu);
    sw_backend_free(ref);
}

TEST(weights_beside_bfloat16_are_float)
{
    const sw_conv2d_attr conv = {1, 1};
    const sw_batch_norm_attr norm = {.training = true, .eps = 1e-5, .momentum = 0.1};
    const sw_cast_attr cast = {SW_I32};
    sw_backend *be = NULL;
    sw_tensor x = {0}, w = {0}, narrow = {0}, out[SW_OP_MAX_OUT];
    CHECK_OK(sw_backend_new("cpu", NULL, &be, &err));
    CHECK_OK(sw_tensor_new(&be->device, SW_BF16, SW_SHAPE(1, 16, 4, 4), &x, &err));
    CHECK_OK(sw_tensor_new(&be->device, SW_BF16, SW_SHAPE(16, 16, 3, 3), &w, &err));
    CHECK_OK(sw_tensor_new(&be->device, SW_BF16, SW_SHAPE(16), &narrow, &err));
    const sw_tensor *conv_in[SW_OP_MAX_IN] = {&x, &w}, *norm_in[SW_OP_MAX_IN] = {&x, &narrow, &narrow, &narrow, &narrow};
    CHECK(sw_op_forward(be, SW_OP_CONV2D, &conv, conv_in, out, &err) == SW_E_INVALID);
    CHECK_STR(err.message, "conv2d: w is bf16, but must be f32 beside x in bf16");
    CHECK(sw_op_forward(be, SW_OP_BATCH_NORM, &norm, norm_in, out, &err) == SW_E_INVALID);
    CHECK_STR(err.message, "batch_norm: inputs are f32 and bf16, which differ");
    CHECK(sw_op_forward(be, SW_OP_CAST, &cast, conv_in, out, &err) == SW_E_INVALID);
    CHECK_STR(err.message, "cast: i32 is not a float type");
    CHECK(sw_op_forward(be, SW_OP_GELU, NULL, conv_in, out, &err) == SW_E_UNSUPPORTED);
    CHECK_STR(err.message, "gelu: the plain kernels work in f32 or in f64, not in bf16");
    sw_tensor_release(&x);
    sw_tensor_release(&w);
    sw_tensor_release(&narrow);
    sw_backend_free(be);
}

/* Logits [2] of one bag of 70 instances under a model with the A+ shortcut. */
static void refined(sw_dtype activations, double *logits)
{
    enum { N = 70, DIM = 256 };
    static float features[N * DIM];
    sw_backend *be = NULL;
    sw_model *model = NULL;
    sw_tape *tape = NULL;
    sw_tensor x = {0};
    sw_model_options mo = sw_model_options_default();
    mo.seed = 3;
    mo.mil.inner_dim = 64;
    mo.mil.heads = 2;
    mo.mil.attn_plus = SW_PLUS_FIXED;
    sw_rng rng = sw_rng_stream(5, SW_RNG_TEST, 1, 0, 0);
    for (int i = 0; i < N * DIM; i++) features[i] = (float)(3 * sw_rng_normal(&rng));
    CHECK_OK(sw_backend_new("cpu", &(sw_backend_options){.threads = 1}, &be, &err));
    CHECK_OK(sw_model_new(be, SW_F32, &mo, &model, &err));
    CHECK(sw_model_dim(model) == DIM);
    CHECK_OK(sw_tensor_from(&be->device, SW_F32, SW_SHAPE(1, N, DIM), features, &x, &err));
    CHECK_OK(sw_tape_new(be, false, &tape, &err));
    sw_model_set_activations(model, activations);
    sw_nn_mode mode = sw_nn_mode_eval();
    sw_var *l = sw_model_aggregate(model, tape, sw_tape_constant(tape, &x), &mode).logits;
    CHECK_OK(sw_tape_status(tape, &err));
    CHECK_OK(sw_tensor_download_f64(sw_var_value(l), logits, &err));
    sw_tape_free(tape);
    sw_tensor_release(&x);
    sw_model_free(model);
    sw_backend_free(be);
}

/* The rest of the aggregator is fp32: what differs is the attention, where the CPU can. */
TEST(the_precision_reaches_the_attention)
{
    double wide[2] = {0, 0}, narrow[2] = {0, 0};
    refined(SW_F32, wide);
    refined(SW_BF16, narrow);
    double d = distance(narrow, wide, 2);
    CHECK(d < 1e-2);
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512bf16")) CHECK(d > 0);
    else CHECK(d == 0);
#else
    CHECK(d == 0);
#endif
}
