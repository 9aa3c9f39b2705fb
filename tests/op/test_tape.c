/* SPDX-License-Identifier: Apache-2.0 */
/* The tape: gradients of shared values, what is kept and let go, failures, and a small net that learns. */
#include "test.h"

#include "base/mem.h"
#include "base/rng.h"
#include "tape/ops.h"

#define SHAPE(...) sw_shape_of((int)(sizeof((int64_t[]){__VA_ARGS__}) / 8), (int64_t[]){__VA_ARGS__})

static double scalar(const sw_tensor *t)
{
    sw_error err = {0};
    double value = NAN;
    if (!t || sw_tensor_count(t) != 1 || sw_tensor_download_f64(t, &value, &err) != SW_OK) return NAN;
    return value;
}

static sw_tensor one_value(sw_backend *be, double value)
{
    sw_error err = {0};
    sw_tensor t = {0};
    if (sw_tensor_new(&be->device, SW_F64, SHAPE(1), &t, &err) != SW_OK ||
        sw_tensor_upload_f64(&t, &value, &err) != SW_OK) {
        sw_test_fail(__FILE__, __LINE__, "%s", err.message);
    }
    return t;
}

TEST(a_value_used_often_collects_its_gradients)
{
    sw_backend *be = NULL;
    sw_tape *t = NULL;
    sw_error err = {0};
    CHECK_OK(sw_backend_new("guard", NULL, &be, &err));
    CHECK_OK(sw_tape_new(be, true, &t, &err));
    sw_tensor three = one_value(be, 3.0);
    sw_var *x = sw_tape_input(t, &three);
    /* y = x*x*x + (x + x) * 5: y' = 3 x^2 + 10 = 37; mul and add get the same variable twice. */
    sw_var *y = sw_add(t, sw_mul(t, sw_mul(t, x, x), x), sw_scale(t, sw_add(t, x, x), 5.0));
    CHECK_NEAR(scalar(sw_var_value(y)), 57.0, 1e-12, 0.0);
    CHECK(sw_var_grad(x) == NULL);
    CHECK_OK(sw_tape_backward(t, y, NULL, &err));
    CHECK_NEAR(scalar(sw_var_grad(x)), 37.0, 1e-12, 0.0);
    CHECK_NEAR(scalar(sw_var_value(y)), 57.0, 1e-12, 0.0); /* what backward started from stays */
    CHECK_INT(sw_tape_backward(t, y, NULL, &err), SW_E_INTERNAL);
    CHECK_STR(err.message, "backward runs once per tape, and this tape had its run");
    sw_tape_free(t);
    sw_tensor_release(&three);
    CHECK_INT(sw_backend_memory(be).now, 0);
    sw_backend_free(be);
}

static sw_backward_fn sound_mul;
static int same_place;

static sw_status watch_mul(sw_backend *be, sw_backward_args *args, sw_error *err)
{
    const sw_tensor *a = args->grad_in[0], *b = args->grad_in[1];
    same_place += a && b && a->storage == b->storage && a->offset == b->offset;
    return sound_mul(be, args, err);
}

/* A kernel with threads could not write two gradients to one place. */
TEST(a_kernel_never_gets_one_gradient_twice)
{
    sw_backend *be = NULL;
    sw_tape *t = NULL;
    sw_slab *slab = NULL;
    sw_error err = {0};
    int p;
    CHECK_OK(sw_backend_new("ref", NULL, &be, &err));
    sound_mul = be->kernel[SW_OP_MUL].backward;
    be->kernel[SW_OP_MUL].backward = watch_mul;
    CHECK_OK(sw_slab_new(&be->device, SW_F64, &slab, &err));
    CHECK_OK(sw_slab_add(slab, SW_PARAM, "g", "p", SHAPE(1), &p, &err));
    CHECK_OK(sw_slab_commit(slab, &err));
    sw_tensor three = one_value(be, 3.0);
    CHECK_OK(sw_tensor_upload(sw_slab_value(slab, p), &(double){3.0}, &err));
    CHECK_OK(sw_tape_new(be, true, &t, &err));
    sw_var *x = sw_tape_input(t, &three);
    /* Backward meets x + x*x from the right: x has a gradient already when x*x adds to it. */
    sw_var *square = sw_mul(t, x, x);
    sw_var *both = sw_mul(t, sw_tape_param(t, slab, p), sw_tape_param(t, slab, p));
    CHECK_OK(sw_tape_backward(t, sw_add(t, both, sw_add(t, square, sw_scale(t, x, 1.0))), NULL, &err));
    CHECK_NEAR(scalar(sw_var_grad(x)), 7.0, 1e-12, 0.0);
    CHECK_NEAR(scalar(sw_slab_grad(slab, p)), 6.0, 1e-12, 0.0);
    CHECK_INT(same_place, 0);
    sw_tape_free(t);
    sw_tensor_release(&three);
    sw_slab_free(slab);
    sw_backend_free(be);
}

TEST(parameters_add_into_the_slab_and_seeds_scale)
{
    sw_backend *be = NULL;
    sw_slab *slab = NULL;
    sw_error err = {0};
    int p, b;
    CHECK_OK(sw_backend_new("ref", NULL, &be, &err));
    CHECK_OK(sw_slab_new(&be->device, SW_F64, &slab, &err));
    CHECK_OK(sw_slab_add(slab, SW_PARAM, "g", "p", SHAPE(1), &p, &err));
    CHECK_OK(sw_slab_add(slab, SW_BUFFER, "g", "b", SHAPE(1), &b, &err));
    CHECK_OK(sw_slab_commit(slab, &err));
    sw_tensor two = one_value(be, 2.0);
    for (int pass = 1; pass <= 2; pass++) {
        sw_tape *t = NULL;
        CHECK_OK(sw_tape_new(be, true, &t, &err));
        CHECK(sw_var_wants_grad(sw_tape_frozen(t, slab, b)) == false);
        /* Twice the same parameter, as two variables: both uses count. */
        sw_var *y = sw_mul(t, sw_tape_constant(t, &two), sw_add(t, sw_tape_param(t, slab, p), sw_tape_param(t, slab, p)));
        CHECK_OK(sw_tape_backward(t, y, &two, &err));
        CHECK_NEAR(scalar(sw_slab_grad(slab, p)), 8.0 * pass, 1e-12, 0.0);
        sw_tape_free(t);
    }
    CHECK(sw_slab_grad(slab, b) == NULL);
    CHECK_NEAR(scalar(&two), 2.0, 0.0, 0.0); /* the seed is only read */
    sw_tensor_release(&two);
    sw_slab_free(slab);
    CHECK_INT(sw_backend_memory(be).now, 0);
    sw_backend_free(be);
}

TEST(a_seed_is_not_written_through_a_reshape)
{
    sw_backend *be = NULL;
    sw_tape *t = NULL;
    sw_error err = {0};
    CHECK_OK(sw_backend_new("ref", NULL, &be, &err));
    CHECK_OK(sw_tape_new(be, true, &t, &err));
    sw_tensor two = one_value(be, 2.0), seed = {0};
    CHECK_OK(sw_tensor_view(&two, 0, SHAPE(1, 1), &seed, &err));
    sw_var *x = sw_tape_input(t, &two);
    sw_var *h = sw_reshape(t, x, SHAPE(1, -1));
    sw_var *y = sw_reshape(t, sw_add(t, h, h), SHAPE(1, 1));
    CHECK_OK(sw_tape_backward(t, y, &seed, &err));
    CHECK_NEAR(scalar(sw_var_grad(x)), 4.0, 0.0, 0.0);
    CHECK_NEAR(scalar(&two), 2.0, 0.0, 0.0);
    sw_tape_free(t);
    /* Straight to the input: its gradient is a tensor of its own, not the caller's seed. */
    CHECK_OK(sw_tape_new(be, true, &t, &err));
    x = sw_tape_input(t, &two);
    CHECK_OK(sw_tape_backward(t, sw_reshape(t, x, SHAPE(1, 1)), &seed, &err));
    CHECK_NEAR(scalar(sw_var_grad(x)), 2.0, 0.0, 0.0);
    CHECK(sw_var_grad(x)->storage != seed.storage);
    sw_tape_free(t);
    sw_tensor_release(&seed);
    sw_tensor_release(&two);
    sw_backend_free(be);
}

TEST(a_failure_sticks_and_names_the_shapes)
{
    sw_backend *be = NULL;
    sw_tape *t = NULL;
    sw_error err = {0};
    CHECK_OK(sw_backend_new("ref", NULL, &be, &err));
    CHECK_OK(sw_tape_new(be, true, &t, &err));
    sw_tensor a = {0}, b = {0};
    CHECK_OK(sw_tensor_new(&be->device, SW_F32, SHAPE(2, 3), &a, &err));
    CHECK_OK(sw_tensor_new(&be->device, SW_F32, SHAPE(4, 5), &b, &err));
    sw_var *x = sw_tape_input(t, &a), *w = sw_tape_input(t, &b);
    sw_var *y = sw_linear(t, x, w, NULL);
    y = sw_softmax(t, sw_add(t, y, x));
    int axis[] = {1, 0};
    y = sw_permute(t, y, axis);
    CHECK_INT(sw_var_shape(y)->rank, 0);
    CHECK(sw_var_value(y)->storage == NULL);
    CHECK_INT(sw_tape_status(t, &err), SW_E_INVALID);
    CHECK_STR(err.message, "linear: x [2, 3] does not fit w [4, 5]: their last dimensions differ");
    CHECK_INT(sw_tape_backward(t, y, NULL, &err), SW_E_INVALID);
    CHECK_STR(err.message, "linear: x [2, 3] does not fit w [4, 5]: their last dimensions differ");
    sw_tape_free(t);
    sw_tensor_release(&a);
    sw_tensor_release(&b);
    sw_backend_free(be);
}

/* One op on tensors of two shapes; the message. */
static const char *refusal(sw_op_id op, const void *attr, sw_shape a, sw_shape b, char *out)
{
    sw_backend *be = NULL;
    sw_tape *t = NULL;
    sw_error err = {0};
    sw_tensor x = {0}, y = {0};
    out[0] = '\0';
    if (sw_backend_new("ref", NULL, &be, &err) != SW_OK || sw_tape_new(be, true, &t, &err) != SW_OK ||
        sw_tensor_new(&be->device, SW_F32, a, &x, &err) != SW_OK ||
        sw_tensor_new(&be->device, SW_F32, b, &y, &err) != SW_OK) {
        return "no set-up";
    }
    sw_var *in[] = {sw_tape_input(t, &x), sw_tape_input(t, &y)};
    sw_tape_op(t, op, attr, in, 2);
    if (sw_tape_status(t, &err) != SW_OK) snprintf(out, sizeof err.message, "%s", err.message);
    sw_tape_free(t);
    sw_tensor_release(&x);
    sw_tensor_release(&y);
    sw_backend_free(be);
    return out;
}

TEST(refusals_are_sentences)
{
    char out[1024];
    CHECK_STR(refusal(SW_OP_CONV2D, &(sw_conv2d_attr){1, 1}, SHAPE(1, 3, 8, 8), SHAPE(4, 2, 3, 3), out),
              "conv2d: x [1, 3, 8, 8] and w [4, 2, 3, 3] differ in channels");
    CHECK_STR(refusal(SW_OP_CONV2D, &(sw_conv2d_attr){1, 0}, SHAPE(1, 2, 2, 8), SHAPE(4, 2, 3, 3), out),
              "conv2d: a 3 x 3 window does not fit x [1, 2, 2, 8] with padding 0");
    CHECK_STR(refusal(SW_OP_CONV2D, &(sw_conv2d_attr){0, 0}, SHAPE(1, 2, 8, 8), SHAPE(4, 2, 3, 3), out),
              "conv2d: stride 0 must be at least 1 and padding 0 at least 0");
    CHECK_STR(refusal(SW_OP_CONV2D, &(sw_conv2d_attr){1, 0}, SHAPE(2, 8, 8), SHAPE(4, 2, 3, 3), out),
              "conv2d: x [2, 8, 8] must be [n, c, h, w]");
    CHECK_STR(refusal(SW_OP_ADD, NULL, SHAPE(2, 3), SHAPE(3, 2), out), "add: a [2, 3] and b [3, 2] differ in shape");
    CHECK_STR(refusal(SW_OP_MATMUL, &(sw_matmul_attr){true, false}, SHAPE(2, 3), SHAPE(3, 2), out),
              "matmul: a [2, 3] transposed and b [3, 2] do not fit");
    CHECK_STR(refusal(SW_OP_CONCAT, NULL, SHAPE(2, 3), SHAPE(2, 4), out),
              "concat: a [2, 3] and b [2, 4] differ after the first dimension");
    CHECK_STR(refusal(SW_OP_CROSS_ENTROPY, NULL, SHAPE(2, 3), SHAPE(2), out),
              "cross_entropy: labels f32 [2] do not fit logits [2, 3]: they must be i32 [2]");
    CHECK_STR(refusal(SW_OP_SURVIVAL_NLL, &(sw_survival_nll_attr){0.0, 1e-7}, SHAPE(2, 3), SHAPE(2, 2), out),
              "survival_nll: targets f32 [2, 2] do not fit logits [2, 3]: they must be i32 [2, 2]");
    CHECK_STR(refusal(SW_OP_COX, NULL, SHAPE(2, 1), SHAPE(2), out),
              "cox: targets f32 [2] do not fit logits [2, 1]: they must be i32 [2, 2]");
    CHECK_STR(refusal(SW_OP_DEPTHWISE, NULL, SHAPE(1, 3, 8, 8), SHAPE(3, 1, 3, 4), out),
              "depthwise: w [3, 1, 3, 4] does not fit x [1, 3, 8, 8]: it must be [3, 1, odd, odd]");
    CHECK_STR(refusal(SW_OP_GATHER, NULL, SHAPE(1, 3, 8), SHAPE(1, 3), out),
              "gather: index f32 [1, 3] does not fit x [1, 3, 8]: it must be i32 [1, k]");
    CHECK_STR(refusal(SW_OP_SCALE, &(sw_scale_attr){1}, SHAPE(2, 3), SHAPE(2), out),
              "scale: the factor [2] must have one element");
    CHECK_STR(refusal(SW_OP_BATCH_NORM, &(sw_batch_norm_attr){true, true, false, 1e-5, 0.1}, SHAPE(2, 3), SHAPE(2), out),
              "batch_norm: gain [2] does not fit x [2, 3]: it must be [3]");
}

/* The inputs of conv_norm but the residual; values 0.5, 0.501, … */
enum { FOLD_IN = 6, FOLD_N = 2, FOLD_C = 16, FOLD_PX = 5 };

static bool fold_inputs(sw_backend *be, sw_tensor *in, sw_tensor *residual)
{
    sw_error err = {0};
    sw_shape image = SHAPE(FOLD_N, FOLD_C, FOLD_PX, FOLD_PX), each = SHAPE(FOLD_C);
    sw_shape shape[] = {image, SHAPE(FOLD_C, FOLD_C, 3, 3), each, each, each, each, image};
    static float host[FOLD_C * FOLD_C * 9];
    for (int i = 0; i < FOLD_C * FOLD_C * 9; i++) host[i] = 0.5f + 0.001f * (float)i;
    for (int i = 0; i <= FOLD_IN; i++)
        if (sw_tensor_from(&be->device, SW_F32, shape[i], host, i < FOLD_IN ? &in[i] : residual, &err) != SW_OK)
            return sw_test_fail(__FILE__, __LINE__, "%s", err.message);
    return true;
}

static sw_var *fold(sw_tape *t, const sw_tensor *in, sw_var *residual, bool spend)
{
    const sw_conv_norm_attr attr = {.conv = {1, 1}, .eps = 1e-5, .relu = true, .spend_residual = spend};
    sw_var *v[FOLD_IN];
    for (int i = 0; i < FOLD_IN; i++) v[i] = sw_tape_constant(t, &in[i]);
    return sw_conv_norm(t, v[0], v[1], v[2], v[3], v[4], v[5], residual, &attr);
}

/* The residual as the result of an op, as in a net: nobody but the tape holds its memory. */
static void check_spending(const char *backend)
{
    enum { COUNT = FOLD_N * FOLD_C * FOLD_PX * FOLD_PX };
    double kept[COUNT], spent[COUNT], before[COUNT], after[COUNT];
    sw_backend *be = NULL;
    sw_tape *t = NULL;
    sw_error err = {0};
    sw_tensor in[FOLD_IN] = {{0}}, residual = {0};
    CHECK_OK(sw_backend_new(backend, NULL, &be, &err));
    CHECK_OK(sw_tape_new(be, false, &t, &err));
    CHECK(fold_inputs(be, in, &residual));
    sw_var *r = sw_tape_constant(t, &residual), *made = sw_relu(t, r);
    CHECK_OK(sw_tape_status(t, &err));
    CHECK_OK(sw_tensor_download_f64(&residual, before, &err));
    sw_var *y = fold(t, in, made, false), *held = fold(t, in, r, true);
    CHECK_OK(sw_tape_status(t, &err));
    CHECK(sw_var_value(y)->storage != sw_var_value(made)->storage);
    CHECK(sw_var_value(held)->storage != residual.storage); /* the test holds it too */
    CHECK_OK(sw_tensor_download_f64(&residual, after, &err));
    CHECK(memcmp(before, after, sizeof before) == 0);
    CHECK_OK(sw_tensor_download_f64(sw_var_value(y), kept, &err));
    const sw_storage *memory = sw_var_value(made)->storage;
    size_t now = sw_backend_memory(be).now;
    sw_var *z = fold(t, in, made, true);
    sw_var_done(made);
    CHECK_OK(sw_tape_status(t, &err));
    CHECK(sw_var_value(z)->storage == memory);
    CHECK_INT(sw_backend_memory(be).now, now);
    CHECK_OK(sw_tensor_download_f64(sw_var_value(z), spent, &err));
    CHECK(kept[0] > 1.0);
    CHECK(memcmp(kept, spent, sizeof kept) == 0);
    sw_tape_free(t);
    for (int i = 0; i < FOLD_IN; i++) sw_tensor_release(&in[i]);
    sw_tensor_release(&residual);
    CHECK_INT(sw_backend_memory(be).now, 0);
    sw_backend_free(be);
}

TEST(a_spent_residual_lends_its_memory)
{
    check_spending("ref");
    check_spending("guard");
    check_spending("cpu");
}

TEST(folded_batch_norm_has_no_gradient)
{
    sw_backend *be = NULL;
    sw_tape *t = NULL;
    sw_error err = {0};
    sw_tensor in[FOLD_IN] = {{0}}, residual = {0};
    CHECK_OK(sw_backend_new("cpu", NULL, &be, &err));
    CHECK_OK(sw_tape_new(be, true, &t, &err));
    CHECK(fold_inputs(be, in, &residual));
    sw_var *y = fold(t, in, sw_tape_constant(t, &residual), false);
    CHECK_OK(sw_tape_status(t, &err));
    CHECK(!sw_var_wants_grad(y));
    fold(t, in, sw_tape_input(t, &residual), false);
    CHECK_INT(sw_tape_status(t, &err), SW_E_UNSUPPORTED);
    CHECK_STR(err.message, "backend cpu has no gradient of conv_norm");
    sw_tape_free(t);
    CHECK_OK(sw_tape_new(be, false, &t, &err));
    sw_tensor_release(&residual);
    CHECK_OK(sw_tensor_new(&be->device, SW_F32, SHAPE(FOLD_N, FOLD_C, FOLD_PX, 4), &residual, &err));
    fold(t, in, sw_tape_constant(t, &residual), true);
    CHECK_INT(sw_tape_status(t, &err), SW_E_INVALID);
    CHECK_STR(err.message, "conv_norm: residual [2, 16, 5, 4] of type f32 does not fit the result [2, 16, 5, 5] of type f32");
    sw_tape_free(t);
    for (int i = 0; i < FOLD_IN; i++) sw_tensor_release(&in[i]);
    sw_tensor_release(&residual);
    sw_backend_free(be);
}

TEST(values_are_let_go)
{
    enum { ROWS = 64, COLS = 64, BYTES = ROWS * COLS * 4 };
    static float host[ROWS * COLS];
    sw_backend *be = NULL;
    sw_error err = {0};
    CHECK_OK(sw_backend_new("ref", NULL, &be, &err));
    for (int record = 0; record < 2; record++) {
        sw_tape *t = NULL;
        sw_tensor x = {0};
        CHECK_OK(sw_tensor_from(&be->device, SW_F32, SHAPE(ROWS, COLS), host, &x, &err));
        CHECK_OK(sw_tape_new(be, record, &t, &err));
        sw_var *v = sw_tape_input(t, &x);
        for (int i = 0; i < 10; i++) {
            /* Nobody's backward reads what goes into or out of an addition. */
            sw_var *next = sw_add(t, v, v);
            sw_var_done(v);
            v = next;
        }
        CHECK_INT(sw_backend_memory(be).now, 2 * BYTES); /* x, which the test holds, and the last */
        for (int i = 0; i < 10; i++) {
            sw_var *next = sw_tanh(t, v); /* its backward reads its output */
            sw_var_done(v);
            v = next;
        }
        CHECK_INT(sw_backend_memory(be).now, record ? 11 * BYTES : 2 * BYTES);
        CHECK_INT(sw_var_shape(v)->dim[0], ROWS);
        CHECK_INT(sw_var_wants_grad(v), record);
        if (record) {
            sw_tensor seed = sw_tensor_ref(&x);
            CHECK_OK(sw_tape_backward(t, v, &seed, &err));
            sw_tensor_release(&seed);
            CHECK_INT(sw_backend_memory(be).now, 3 * BYTES); /* x, its gradient, the last value */
        } else {
            CHECK_INT(sw_tape_backward(t, v, NULL, &err), SW_E_INTERNAL);
            CHECK_STR(err.message, "backward on a tape that does not record");
        }
        sw_tape_free(t);
        sw_tensor_release(&x);
        CHECK_INT(sw_backend_memory(be).now, 0);
    }
    CHECK_INT(sw_backend_memory(be).peak <= 16 * BYTES, 1);
    sw_backend_free(be);
}

TEST(using_a_value_that_was_let_go_fails)
{
    sw_backend *be = NULL;
    sw_tape *t = NULL;
    sw_error err = {0};
    CHECK_OK(sw_backend_new("ref", NULL, &be, &err));
    CHECK_OK(sw_tape_new(be, true, &t, &err));
    sw_tensor x = one_value(be, 1.0);
    sw_var *v = sw_tape_input(t, &x);
    sw_var_done(v);
    sw_relu(t, v);
    CHECK_INT(sw_tape_status(t, &err), SW_E_INTERNAL);
    CHECK_STR(err.message, "relu: the value of input 0 was let go");
    sw_tape_free(t);
    sw_tensor_release(&x);
    sw_backend_free(be);
}

/* --- a net of three layers: conv, batch norm and linear, trained with Adam on two kinds of pictures */
enum { N = 6, PX = 6, CHANNELS = 4 };

typedef struct toy {
    sw_backend *be;
    sw_slab *slab;
    sw_tensor images, labels, m, v;
    int conv, gain, offset, mean, var, w, b;
} toy;

static void toy_free(toy *n)
{
    sw_tensor_release(&n->images);
    sw_tensor_release(&n->labels);
    sw_tensor_release(&n->m);
    sw_tensor_release(&n->v);
    sw_slab_free(n->slab);
    sw_backend_free(n->be);
}

static sw_status toy_params(toy *n, sw_error *err)
{
    double w[9 * CHANNELS + 2 * CHANNELS];
    sw_rng rng = sw_rng_stream(1, SW_RNG_INIT, 0, 0, 0);
    for (int i = 0; i < 9 * CHANNELS + 2 * CHANNELS; i++) w[i] = 0.3 * sw_rng_normal(&rng);
    const double one[CHANNELS] = {1, 1, 1, 1};
    SW_TRY(sw_slab_new(&n->be->device, SW_F32, &n->slab, err));
    SW_TRY(sw_slab_add(n->slab, SW_PARAM, "a", "conv", SHAPE(CHANNELS, 1, 3, 3), &n->conv, err));
    SW_TRY(sw_slab_add(n->slab, SW_PARAM, "a", "gain", SHAPE(CHANNELS), &n->gain, err));
    SW_TRY(sw_slab_add(n->slab, SW_PARAM, "a", "offset", SHAPE(CHANNELS), &n->offset, err));
    SW_TRY(sw_slab_add(n->slab, SW_BUFFER, "a", "mean", SHAPE(CHANNELS), &n->mean, err));
    SW_TRY(sw_slab_add(n->slab, SW_BUFFER, "a", "var", SHAPE(CHANNELS), &n->var, err));
    SW_TRY(sw_slab_add(n->slab, SW_PARAM, "b", "w", SHAPE(2, CHANNELS), &n->w, err));
    SW_TRY(sw_slab_add(n->slab, SW_PARAM, "b", "b", SHAPE(2), &n->b, err));
    SW_TRY(sw_slab_commit(n->slab, err));
    SW_TRY(sw_tensor_upload_f64(sw_slab_value(n->slab, n->conv), w, err));
    SW_TRY(sw_tensor_upload_f64(sw_slab_value(n->slab, n->gain), one, err));
    SW_TRY(sw_tensor_upload_f64(sw_slab_value(n->slab, n->var), one, err));
    return sw_tensor_upload_f64(sw_slab_value(n->slab, n->w), w + 9 * CHANNELS, err);
}

static sw_status fill(sw_backend *be, sw_tensor *t, double value, sw_error *err)
{
    const sw_fill_attr attr = {value};
    sw_forward_args args = {.attr = &attr, .out = {t}};
    return sw_backend_run(be, SW_OP_FILL, &args, err);
}

/* Stripes along or across, with noise. */
static sw_status toy_new(const char *backend, toy *n, sw_error *err)
{
    float image[N * PX * PX];
    int32_t label[N];
    sw_rng rng = sw_rng_stream(2, SW_RNG_TEST, 0, 0, 0);
    for (int i = 0; i < N; i++) label[i] = i % 2;
    for (int i = 0; i < N * PX * PX; i++) {
        int x = i % PX, y = i / PX % PX;
        image[i] = (float)((label[i / (PX * PX)] ? x : y) % 2 + 0.2 * sw_rng_normal(&rng));
    }
    SW_TRY(sw_backend_new(backend, NULL, &n->be, err));
    SW_TRY(toy_params(n, err));
    SW_TRY(sw_tensor_from(&n->be->device, SW_F32, SHAPE(N, 1, PX, PX), image, &n->images, err));
    SW_TRY(sw_tensor_from(&n->be->device, SW_I32, SHAPE(N), label, &n->labels, err));
    int64_t params = sw_tensor_count(sw_slab_params(n->slab));
    SW_TRY(sw_tensor_new(&n->be->device, SW_F32, SHAPE(params), &n->m, err));
    SW_TRY(sw_tensor_new(&n->be->device, SW_F32, SHAPE(params), &n->v, err));
    SW_TRY(fill(n->be, &n->m, 0.0, err));
    return fill(n->be, &n->v, 0.0, err);
}

static void tape_drop(sw_tape **t)
{
    sw_tape_free(*t);
}

static sw_status toy_step(toy *n, int64_t step, double *loss, sw_error *err)
{
    SW_CLEANUP(tape_drop) sw_tape *t = NULL;
    const sw_batch_norm_attr bn = {true, true, true, 1e-5, 0.1};
    SW_TRY(sw_tape_new(n->be, true, &t, err));
    SW_TRY(fill(n->be, sw_slab_grads(n->slab), 0.0, err));
    sw_var *x = sw_conv2d(t, sw_tape_constant(t, &n->images), sw_tape_param(t, n->slab, n->conv), 1, 1);
    x = sw_batch_norm(t, x, sw_tape_param(t, n->slab, n->gain), sw_tape_param(t, n->slab, n->offset),
                      sw_tape_frozen(t, n->slab, n->mean), sw_tape_frozen(t, n->slab, n->var), NULL, &bn);
    x = sw_global_avg_pool(t, sw_max_pool2d(t, x, 3, 2, 1));
    x = sw_linear(t, x, sw_tape_param(t, n->slab, n->w), sw_tape_param(t, n->slab, n->b));
    sw_var *y = sw_cross_entropy(t, x, sw_tape_constant(t, &n->labels));
    SW_TRY(sw_tape_status(t, err));
    SW_TRY(sw_tape_backward(t, y, NULL, err));
    const sw_adam_attr adam = {0.02, 0.9, 0.999, 1e-8, 1e-4, true, step, 1.0};
    sw_forward_args args = {.attr = &adam, .in = {sw_slab_grads(n->slab)}, .out = {sw_slab_params(n->slab), &n->m, &n->v}};
    SW_TRY(sw_backend_run(n->be, SW_OP_ADAM, &args, err));
    return sw_tensor_download_f64(sw_var_value(y), loss, err);
}

static double train(const char *backend)
{
    SW_CLEANUP(toy_free) toy n = {0};
    sw_error err = {0};
    double first = 0.0, loss = 0.0;
    sw_status status = toy_new(backend, &n, &err);
    for (int64_t step = 1; status == SW_OK && step <= 60; step++) {
        status = toy_step(&n, step, &loss, &err);
        if (step == 1) first = loss;
    }
    if (status != SW_OK) sw_test_fail(__FILE__, __LINE__, "%s: %s", backend, err.message);
    if (!(first > 0.4 && loss < 0.2 * first)) {
        sw_test_fail(__FILE__, __LINE__, "%s: the loss went from %g to %g", backend, first, loss);
    }
    return loss;
}

TEST(a_small_net_learns)
{
    double loss = train("ref");
    CHECK_NEAR(train("guard"), loss, 0.0, 0.0);
    sw_backend *be = NULL;
    if (sw_backend_new("cpu", NULL, &be, NULL) != SW_OK) return;
    sw_backend_free(be);
    CHECK_NEAR(train("cpu"), loss, 0.02, 0.0);
}

static sw_status build_and_step(const char *backend)
{
    SW_CLEANUP(toy_free) toy n = {0};
    double loss;
    sw_error err = {0};
    SW_TRY(toy_new(backend, &n, &err));
    return toy_step(&n, 1, &loss, &err);
}

TEST(every_allocation_may_fail)
{
    static const char *const backends[] = {"ref", "guard"};
    for (int b = 0; b < 2; b++) {
        int64_t live = sw_mem_live(), k = 0;
        sw_status status = SW_E_NOMEM;
        while (status == SW_E_NOMEM && k < 5000) {
            sw_mem_fail_after(++k);
            status = build_and_step(backends[b]);
            sw_mem_fail_after(0);
            CHECK_INT(sw_mem_live(), live);
        }
        CHECK_INT(status, SW_OK);
        CHECK(k > 60);
    }
}
