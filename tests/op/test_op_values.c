/* SPDX-License-Identifier: Apache-2.0 */
/* Forward values known from elsewhere: by hand, or by another formula. A gradient check alone passes with a
 * wrong forward. Runs on every backend of the build. */
#include "test.h"

#include "backend/backend.h"
#include "base/rng.h"
#include "op/op.h"
#include "tensor/tensor.h"

static const char *const backends[] = {"ref", "guard", "cpu"};
#define SHAPE(...) sw_shape_of((int)(sizeof((int64_t[]){__VA_ARGS__}) / 8), (int64_t[]){__VA_ARGS__})

static sw_tensor tensor_of(sw_backend *be, sw_shape shape, const double *values)
{
    sw_error err = {0};
    sw_tensor t = {0};
    if (sw_tensor_new(&be->device, SW_F32, shape, &t, &err) != SW_OK || sw_tensor_upload_f64(&t, values, &err) != SW_OK) {
        sw_test_fail(__FILE__, __LINE__, "%s", err.message);
    }
    return t;
}

/* Runs `op` on up to three inputs and compares output 0. Takes the inputs. */
static void expect(sw_backend *be, sw_op_id op, const void *attr, sw_tensor *in, int n_in, const double *expected,
                   int64_t count, double tol)
{
    sw_error err = {0};
    const sw_tensor *args[SW_OP_MAX_IN] = {NULL};
    sw_tensor out[SW_OP_MAX_OUT] = {{0}};
    double got[512];
    for (int i = 0; i < n_in; i++) args[i] = in[i].storage ? &in[i] : NULL;
    if (sw_op_forward(be, op, attr, args, out, &err) != SW_OK || sw_tensor_count(&out[0]) != count ||
        sw_tensor_download_f64(&out[0], got, &err) != SW_OK) {
        sw_test_fail(__FILE__, __LINE__, "%s on %s: %s", sw_op_name(op), be->device.name, err.message);
        count = 0;
    }
    for (int64_t i = 0; i < count; i++) {
        if (!(fabs(got[i] - expected[i]) <= tol)) {
            sw_test_fail(__FILE__, __LINE__, "%s on %s: element %lld is %.9g, expected %.9g", sw_op_name(op),
                         be->device.name, (long long)i, got[i], expected[i]);
        }
    }
    for (int i = 0; i < n_in; i++) sw_tensor_release(&in[i]);
    for (int i = 0; i < SW_OP_MAX_OUT; i++) sw_tensor_release(&out[i]);
}

/* Calls `check` with each backend that this build has. */
static void on_each(void (*check)(sw_backend *be))
{
    for (size_t i = 0; i < sizeof backends / sizeof backends[0]; i++) {
        sw_backend *be = NULL;
        sw_error err = {0};
        if (sw_backend_new(backends[i], NULL, &be, &err) != SW_OK) continue;
        check(be);
        sw_backend_free(be);
    }
}

static void conv_by_hand(sw_backend *be)
{
    /* A picture of ones and a window of ones with padding 1 counts the places on the picture. */
    const double ones[12] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    const double places[12] = {4, 6, 6, 4, 6, 9, 9, 6, 4, 6, 6, 4};
    sw_tensor in[2] = {tensor_of(be, SHAPE(1, 1, 3, 4), ones), tensor_of(be, SHAPE(1, 1, 3, 3), ones)};
    expect(be, SW_OP_CONV2D, &(sw_conv2d_attr){1, 1}, in, 2, places, 12, 0.0);
    /* One pixel set: the window appears mirrored around it (correlation, not convolution). */
    const double dot[9] = {0, 0, 0, 0, 1, 0, 0, 0, 0}, window[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    const double mirrored[9] = {9, 8, 7, 6, 5, 4, 3, 2, 1};
    sw_tensor one[2] = {tensor_of(be, SHAPE(1, 1, 3, 3), dot), tensor_of(be, SHAPE(1, 1, 3, 3), window)};
    expect(be, SW_OP_CONV2D, &(sw_conv2d_attr){1, 1}, one, 2, mirrored, 9, 0.0);
}

TEST(conv_counts_and_mirrors)
{
    on_each(conv_by_hand);
}

/* The padded picture is written out, and the window laid on it without any bounds. */
static void conv_written_out(sw_backend *be)
{
    enum { N = 2, C = 3, H = 9, W = 6, O = 4, K = 7, PAD = 3, STRIDE = 2, PH = H + 2 * PAD, PW = W + 2 * PAD };
    enum { OH = (PH - K) / STRIDE + 1, OW = (PW - K) / STRIDE + 1 };
    static double x[N * C * H * W], w[O * C * K * K], padded[N][C][PH][PW], y[N * O * OH * OW];
    sw_rng rng = sw_rng_stream(3, SW_RNG_TEST, 0, 0, 0);
    for (int i = 0; i < N * C * H * W; i++) x[i] = (double)sw_rng_below(&rng, 9) - 4.0;
    for (int i = 0; i < O * C * K * K; i++) w[i] = (double)sw_rng_below(&rng, 9) - 4.0;
    for (int i = 0; i < N * C * H * W; i++) padded[i / (C * H * W)][i / (H * W) % C][i / W % H + PAD][i % W + PAD] = x[i];
    for (int i = 0; i < N * O * OH * OW; i++) {
        int n = i / (O * OH * OW), o = i / (OH * OW) % O, oy = i / OW % OH, ox = i % OW;
        y[i] = 0.0;
        for (int k = 0; k < C * K * K; k++) {
            int c = k / (K * K), ky = k / K % K, kx = k % K;
            y[i] += padded[n][c][oy * STRIDE + ky][ox * STRIDE + kx] * w[o * C * K * K + k];
        }
    }
    sw_tensor in[2] = {tensor_of(be, SHAPE(N, C, H, W), x), tensor_of(be, SHAPE(O, C, K, K), w)};
    expect(be, SW_OP_CONV2D, &(sw_conv2d_attr){STRIDE, PAD}, in, 2, y, N * O * OH * OW, 1e-3);
}

TEST(conv_equals_the_window_on_a_padded_picture)
{
    on_each(conv_written_out);
}

static void pools(sw_backend *be)
{
    /* Padding never wins, also where all values are negative. */
    const double x[9] = {-5, -2, -3, -4, -9, -6, -7, -8, -1}, most[4] = {-2, -2, -4, -1};
    sw_tensor in[1] = {tensor_of(be, SHAPE(1, 1, 3, 3), x)};
    expect(be, SW_OP_MAX_POOL2D, &(sw_pool_attr){3, 2, 1}, in, 1, most, 4, 0.0);
    const double mean[1] = {-5};
    sw_tensor again[1] = {tensor_of(be, SHAPE(1, 1, 3, 3), x)};
    expect(be, SW_OP_GLOBAL_AVG_POOL, NULL, again, 1, mean, 1, 1e-6);
}

TEST(pools_of_negative_values)
{
    on_each(pools);
}

static void norms(sw_backend *be)
{
    /* 1, 2, 3, 4: mean 2.5, biased variance 1.25. */
    const double x[4] = {1, 2, 3, 4}, gain[4] = {1, 1, 2, 2}, offset[4] = {0, 1, 0, 1};
    const double y[4] = {-1.3416354, 1 - 0.44721182, 0.89442363, 1 + 2.6832709};
    sw_tensor in[3] = {tensor_of(be, SHAPE(1, 4), x), tensor_of(be, SHAPE(4), gain), tensor_of(be, SHAPE(4), offset)};
    expect(be, SW_OP_LAYER_NORM, &(sw_layer_norm_attr){1e-5}, in, 3, y, 4, 1e-6);
    const double one[1] = {1}, zero[1] = {0};
    const double z[4] = {-1.3416354, -0.44721182, 0.44721182, 1.3416354};
    sw_tensor bn[5] = {tensor_of(be, SHAPE(4, 1), x), tensor_of(be, SHAPE(1), one), tensor_of(be, SHAPE(1), zero),
                       tensor_of(be, SHAPE(1), zero), tensor_of(be, SHAPE(1), one)};
    sw_tensor mean = sw_tensor_ref(&bn[3]), var = sw_tensor_ref(&bn[4]);
    expect(be, SW_OP_BATCH_NORM, &(sw_batch_norm_attr){true, true, false, 1e-5, 0.1}, bn, 5, z, 4, 1e-6);
    /* Running: 0.9 * 0 + 0.1 * 2.5, and 0.9 * 1 + 0.1 * 5/3 (unbiased). */
    sw_error err = {0};
    double moved[2] = {0};
    CHECK_OK(sw_tensor_download_f64(&mean, &moved[0], &err));
    CHECK_OK(sw_tensor_download_f64(&var, &moved[1], &err));
    sw_tensor_release(&mean);
    sw_tensor_release(&var);
    CHECK_NEAR(moved[0], 0.25, 1e-6, 0.0);
    CHECK_NEAR(moved[1], 0.9 + 0.1 * 5.0 / 3.0, 1e-6, 0.0);
    /* Evaluation: (x - 1) / sqrt(4 + eps), residual and relu on top. */
    const double four[1] = {4}, residual[4] = {-1, 0, 0, 1}, r[4] = {0, 0.5, 1, 2.5};
    sw_tensor ev[6] = {tensor_of(be, SHAPE(4, 1), x),     tensor_of(be, SHAPE(1), one),  tensor_of(be, SHAPE(1), zero),
                       tensor_of(be, SHAPE(1), one),      tensor_of(be, SHAPE(1), four), tensor_of(be, SHAPE(4, 1), residual)};
    expect(be, SW_OP_BATCH_NORM, &(sw_batch_norm_attr){false, false, true, 1e-5, 0.1}, ev, 6, r, 4, 1e-5);
}

TEST(norms_of_one_to_four)
{
    on_each(norms);
}

static void activations(sw_backend *be)
{
    const double x[4] = {-1, 0, 1, 3}, relu[4] = {0, 0, 1, 3};
    const double gelu[4] = {-0.15865525393145707, 0, 0.8413447460685429, 2.9959503059};
    const double tanh_[4] = {-0.76159415595, 0, 0.76159415595, 0.99505475368};
    const double sigmoid[4] = {0.26894142137, 0.5, 0.73105857863, 0.95257412682};
    const double softmax[4] = {0.0152194, 0.0413707, 0.1124573, 0.8309526};
    const struct {
        sw_op_id op;
        const double *y;
    } row[] = {{SW_OP_RELU, relu}, {SW_OP_GELU, gelu}, {SW_OP_TANH, tanh_}, {SW_OP_SIGMOID, sigmoid}, {SW_OP_SOFTMAX, softmax}};
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        sw_tensor in[1] = {tensor_of(be, SHAPE(1, 4), x)};
        expect(be, row[i].op, NULL, in, 1, row[i].y, 4, 1e-6);
    }
    const double large[3] = {1000, 1000, -1000}, half[3] = {0.5, 0.5, 0};
    sw_tensor in[1] = {tensor_of(be, SHAPE(3), large)};
    expect(be, SW_OP_SOFTMAX, NULL, in, 1, half, 3, 1e-7);
}

TEST(activations_at_known_points)
{
    on_each(activations);
}

/* The streamed attention against the matrix written out. */
static void attention(sw_backend *be)
{
    enum { N = 37, D = 8 };
    static double q[N * D], k[N * D], v[N], p[N];
    sw_rng rng = sw_rng_stream(4, SW_RNG_TEST, 0, 0, 0);
    for (int i = 0; i < N * D; i++) {
        q[i] = (float)sw_rng_normal(&rng) * 3.0f;
        k[i] = (float)sw_rng_normal(&rng) * 3.0f;
    }
    for (int i = 0; i < N; i++) v[i] = (float)sw_rng_normal(&rng);
    for (int i = 0; i < N; i++) {
        double sum = 0.0, weighted = 0.0;
        for (int j = 0; j < N; j++) {
            double dot = 0.0;
            for (int l = 0; l < D; l++) dot += q[i * D + l] * k[j * D + l];
            sum += exp(dot / sqrt(D));
            weighted += exp(dot / sqrt(D)) * v[j];
        }
        p[i] = weighted / sum;
    }
    sw_tensor in[3] = {tensor_of(be, SHAPE(1, N, D), q), tensor_of(be, SHAPE(1, N, D), k), tensor_of(be, SHAPE(1, N), v)};
    expect(be, SW_OP_ATTEND_ONE, &(sw_attend_one_attr){.scale = 1.0 / sqrt(D)}, in, 3, p, N, 1e-5);
}

TEST(streamed_attention_equals_the_matrix)
{
    on_each(attention);
}

/* Two groups; the second one's logits reach 10 000 and single keys win, or tie. */
static void wide_attention(sw_backend *be)
{
    const double q[8] = {0, 0, 1, 0, 10, 0, 0, 3}, k[8] = {1, 5, 0, 7, 1000, 0, -1000, 0};
    const double v[12] = {1, 2, 3, 5, 6, 7, 1, 0, -1, 0, 1, 2};
    const double e = 2.71828182846, one = e / (e + 1), other = 1 / (e + 1);
    const double y[12] = {3, 4, 5, one + 5 * other, 2 * one + 6 * other, 3 * one + 7 * other, 1, 0, -1, 0.5, 0.5, 0.5};
    sw_tensor in[3] = {tensor_of(be, SHAPE(2, 2, 2), q), tensor_of(be, SHAPE(2, 2, 2), k), tensor_of(be, SHAPE(2, 2, 3), v)};
    expect(be, SW_OP_ATTEND, &(sw_attend_attr){1.0}, in, 3, y, 12, 1e-6);
}

TEST(attention_with_several_columns_by_hand)
{
    on_each(wide_attention);
}

static void products(sw_backend *be)
{
    const double a[6] = {1, 2, 3, 4, 5, 6}, b[6] = {1, 0, -1, 2, 1, 0}, ab[4] = {-2, 4, -2, 13};
    const double bias[2] = {10, 20}, y[4] = {8, 24, 8, 33};
    sw_tensor in[2] = {tensor_of(be, SHAPE(2, 3), a), tensor_of(be, SHAPE(2, 3), b)};
    expect(be, SW_OP_MATMUL, &(sw_matmul_attr){false, true}, in, 2, ab, 4, 1e-6);
    sw_tensor lin[3] = {tensor_of(be, SHAPE(2, 3), a), tensor_of(be, SHAPE(2, 3), b), tensor_of(be, SHAPE(2), bias)};
    expect(be, SW_OP_LINEAR, NULL, lin, 3, y, 4, 1e-5);
    const double turned[6] = {1, 4, 2, 5, 3, 6};
    sw_tensor one[1] = {tensor_of(be, SHAPE(2, 3), a)};
    expect(be, SW_OP_PERMUTE, &(sw_permute_attr){{1, 0}}, one, 1, turned, 6, 0.0);
    const double mean[3] = {2.5, 3.5, 4.5};
    sw_tensor rows[1] = {tensor_of(be, SHAPE(1, 2, 3), a)};
    expect(be, SW_OP_MEAN_ROWS, NULL, rows, 1, mean, 3, 1e-6);
}

TEST(products_by_hand)
{
    on_each(products);
}

/* Rates of ln 2 a step: all is halved from cell to cell. */
static void scans(sw_backend *be)
{
    const double ln2 = 0.69314718055994531, u[4] = {1 / ln2, 2 / ln2, 3 / ln2, 4 / ln2}, zero[4] = {0}, one[4] = {1, 1, 1, 1}, d[1] = {10 * ln2};
    /* along the rows 1, 2.5, 3, 5.5; then down the columns 1, 2.5, 3.5, 6.75 */
    const double y[4] = {11, 22.5, 33.5, 46.75};
    sw_tensor in[6] = {tensor_of(be, SHAPE(2, 2, 1), u),   tensor_of(be, SHAPE(2, 2, 1), zero), tensor_of(be, SHAPE(1, 1), zero),
                       tensor_of(be, SHAPE(2, 2, 1), one), tensor_of(be, SHAPE(2, 2, 1), one),  tensor_of(be, SHAPE(1), d)};
    expect(be, SW_OP_SCAN2D, NULL, in, 6, y, 4, 1e-5);
    const double x[3] = {0, 1, -2}, silu[3] = {0, 0.73105857863, -0.238405844044};
    in[0] = tensor_of(be, SHAPE(3), x);
    expect(be, SW_OP_SILU, NULL, in, 1, silu, 3, 1e-6);
    const double sides[2] = {3, 4}, gain[2] = {1, 2}, normed[2] = {0.848528137424, 2.26274169980};
    in[0] = tensor_of(be, SHAPE(1, 2), sides);
    in[1] = tensor_of(be, SHAPE(2), gain);
    expect(be, SW_OP_RMS_NORM, &(sw_rms_norm_attr){1e-12}, in, 2, normed, 2, 1e-6);
}

TEST(scans_by_hand)
{
    on_each(scans);
}

static void selections(sw_backend *be)
{
    /* each row's largest, the first on ties; lowest and highest at 0 and 1; rows by number, also twice */
    const double x[6] = {2, 5, 5, -1, -3, -2}, largest[2] = {5, -1}, scaled[6] = {0, 1, 1, 1, 0, 0.5};
    const double taken[6] = {-1, -3, -2, 2, 5, 5};
    const int32_t from[2] = {1, 0}, beyond[2] = {0, 2};
    sw_error err = {0};
    sw_tensor one[1] = {tensor_of(be, SHAPE(2, 3), x)};
    expect(be, SW_OP_MAX_LAST, NULL, one, 1, largest, 2, 0.0);
    one[0] = tensor_of(be, SHAPE(2, 3), x);
    expect(be, SW_OP_MIN_MAX, &(sw_min_max_attr){1e-8}, one, 1, scaled, 6, 1e-6);
    const double halves[3] = {2, 0.25, -1}, inverse[3] = {0.5, 4, -1};
    one[0] = tensor_of(be, SHAPE(3), halves);
    expect(be, SW_OP_RECIPROCAL, NULL, one, 1, inverse, 3, 1e-7);
    sw_tensor in[2] = {tensor_of(be, SHAPE(1, 2, 3), x), {0}}, out[SW_OP_MAX_OUT] = {{0}};
    const sw_tensor *args[SW_OP_MAX_IN] = {&in[0], &in[1]};
    CHECK_OK(sw_tensor_from(&be->device, SW_I32, SHAPE(1, 2), beyond, &in[1], &err));
    CHECK_INT(sw_op_forward(be, SW_OP_GATHER, NULL, args, out, &err), SW_E_INVALID);
    CHECK_STR(err.message, "gather: index 2 is outside of [0, 2)");
    CHECK_OK(sw_tensor_upload(&in[1], from, &err));
    expect(be, SW_OP_GATHER, NULL, in, 2, taken, 6, 0.0);
}

TEST(selections_by_hand)
{
    on_each(selections);
}

/* Two channels of 2 x 3 with a 3 x 1 and a 1 x 3 filter's worth of taps: the second channel's window only looks sideways. */
static void depthwise(sw_backend *be)
{
    const double x[12] = {1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6};
    const double w[18] = {0, 10, 0, 0, 1, 0, 0, 100, 0, 0, 0, 0, 10, 1, 100, 0, 0, 0}, bias[2] = {0.5, -0.5};
    const double y[12] = {401.5, 502.5, 603.5, 14.5, 25.5, 36.5, 200.5, 311.5, 22.5, 503.5, 644.5, 55.5};
    sw_tensor in[3] = {tensor_of(be, SHAPE(1, 2, 2, 3), x), tensor_of(be, SHAPE(2, 1, 3, 3), w), tensor_of(be, SHAPE(2), bias)};
    expect(be, SW_OP_DEPTHWISE, NULL, in, 3, y, 12, 1e-4);
}

TEST(depthwise_by_hand)
{
    on_each(depthwise);
}

static void loss(sw_backend *be)
{
    /* -log softmax(0, 0)[1] = ln 2; -log softmax(1, 3)[0] = 2 + ln(1 + e^-2). */
    const double logits[4] = {0, 0, 1, 3}, expected[1] = {0.5 * (0.69314718056 + 2.12692801104)};
    const int32_t label[2] = {1, 0}, wrong[2] = {1, 2};
    sw_error err = {0};
    sw_tensor in[2] = {tensor_of(be, SHAPE(2, 2), logits), {0}}, out[SW_OP_MAX_OUT] = {{0}};
    CHECK_OK(sw_tensor_from(&be->device, SW_I32, SHAPE(2), wrong, &in[1], &err));
    const sw_tensor *args[SW_OP_MAX_IN] = {&in[0], &in[1]};
    CHECK_INT(sw_op_forward(be, SW_OP_CROSS_ENTROPY, NULL, args, out, &err), SW_E_INVALID);
    CHECK_STR(err.message, "cross_entropy: label 2 of bag 1 is outside 0 to 1");
    CHECK_OK(sw_tensor_upload(&in[1], label, &err));
    expect(be, SW_OP_CROSS_ENTROPY, NULL, in, 2, expected, 1, 1e-6);
}

TEST(cross_entropy_by_hand)
{
    on_each(loss);
}

static void survival(sw_backend *be)
{
    /* The test vectors of the specification, each alone and their mean; an event in the first bin; alpha on a censored bag. */
    const double logits[8] = {0.2, -0.3, 0.5, -1, 1, 0.1, -0.2, 0.3}, first[1] = {1.652493954}, second[1] = {2.655797243},
                 both[1] = {0.5 * (1.652493954 + 2.655797243)}, soonest[1] = {0.598138869}, less[1] = {0.6 * 2.655797243};
    const int32_t event[2] = {1, 0}, censored[2] = {2, 1}, two[4] = {1, 0, 2, 1}, begin[2] = {0, 0}, wrong[2] = {4, 0};
    const sw_survival_nll_attr plain = {0.0, 1e-7}, alpha = {0.4, 1e-7};
    sw_error err = {0};
    sw_tensor in[2] = {tensor_of(be, SHAPE(1, 4), logits), {0}}, out[SW_OP_MAX_OUT] = {{0}};
    CHECK_OK(sw_tensor_from(&be->device, SW_I32, SHAPE(1, 2), wrong, &in[1], &err));
    const sw_tensor *args[SW_OP_MAX_IN] = {&in[0], &in[1]};
    CHECK_INT(sw_op_forward(be, SW_OP_SURVIVAL_NLL, &plain, args, out, &err), SW_E_INVALID);
    CHECK_STR(err.message, "survival_nll: bin 4 of bag 0 is outside 0 to 3");
    CHECK_OK(sw_tensor_upload(&in[1], event, &err));
    expect(be, SW_OP_SURVIVAL_NLL, &plain, in, 2, first, 1, 1e-6);
    in[0] = tensor_of(be, SHAPE(1, 4), logits);
    CHECK_OK(sw_tensor_from(&be->device, SW_I32, SHAPE(1, 2), begin, &in[1], &err));
    expect(be, SW_OP_SURVIVAL_NLL, &plain, in, 2, soonest, 1, 1e-6);
    in[0] = tensor_of(be, SHAPE(1, 4), logits + 4);
    CHECK_OK(sw_tensor_from(&be->device, SW_I32, SHAPE(1, 2), censored, &in[1], &err));
    expect(be, SW_OP_SURVIVAL_NLL, &plain, in, 2, second, 1, 1e-6);
    in[0] = tensor_of(be, SHAPE(1, 4), logits + 4);
    CHECK_OK(sw_tensor_from(&be->device, SW_I32, SHAPE(1, 2), censored, &in[1], &err));
    expect(be, SW_OP_SURVIVAL_NLL, &alpha, in, 2, less, 1, 1e-6);
    in[0] = tensor_of(be, SHAPE(2, 4), logits);
    CHECK_OK(sw_tensor_from(&be->device, SW_I32, SHAPE(2, 2), two, &in[1], &err));
    expect(be, SW_OP_SURVIVAL_NLL, &plain, in, 2, both, 1, 1e-6);
}

TEST(survival_nll_by_hand)
{
    on_each(survival);
}

static void cox(sw_backend *be)
{
    /* risks ln 1, ln 2, ln 3 at the times 0, 1, 1, events at the first two: (ln 6/1 + ln 5/2) / 2. No event: 0. */
    const double logits[3] = {0, 0.69314718056, 1.09861228867}, expected[1] = {0.5 * (1.79175946923 + 0.91629073187)},
                 nothing[1] = {0};
    const int32_t target[6] = {0, 1, 1, 1, 1, 0}, censored[6] = {0, 0, 1, 0, 2, 0};
    sw_error err = {0};
    sw_tensor in[2] = {tensor_of(be, SHAPE(3, 1), logits), {0}};
    CHECK_OK(sw_tensor_from(&be->device, SW_I32, SHAPE(3, 2), target, &in[1], &err));
    expect(be, SW_OP_COX, NULL, in, 2, expected, 1, 1e-6);
    in[0] = tensor_of(be, SHAPE(3, 1), logits);
    CHECK_OK(sw_tensor_from(&be->device, SW_I32, SHAPE(3, 2), censored, &in[1], &err));
    expect(be, SW_OP_COX, NULL, in, 2, nothing, 1, 1e-6);
}

TEST(cox_by_hand)
{
    on_each(cox);
}

static void dropout(sw_backend *be)
{
    enum { COUNT = 4001 };
    const sw_dropout_attr attr = {.rate = 0.25, .seed = 0x0000000500000009ull, .step = 2, .site = 7};
    static double x[COUNT], y[COUNT];
    sw_error err = {0};
    for (int i = 0; i < COUNT; i++) x[i] = 3.0;
    sw_tensor in = tensor_of(be, SHAPE(COUNT), x), out[SW_OP_MAX_OUT] = {{0}};
    const sw_tensor *args[SW_OP_MAX_IN] = {&in};
    CHECK_OK(sw_op_forward(be, SW_OP_DROPOUT, &attr, args, out, &err));
    CHECK_OK(sw_tensor_download_f64(&out[0], y, &err));
    int zeros = 0;
    for (int i = 0; i < COUNT; i++) {
        uint32_t word[4], counter[4] = {(uint32_t)i / 4, 2, 7, 0}, key[2] = {9, 5};
        sw_philox(counter, key, word);
        CHECK_NEAR(y[i], word[i % 4] < 1u << 30 ? 0.0 : 4.0, 1e-6, 0.0);
        zeros += y[i] == 0.0;
    }
    CHECK(zeros > COUNT / 4 - 120 && zeros < COUNT / 4 + 120); /* four standard deviations */
    sw_tensor_release(&in);
    sw_tensor_release(&out[0]);
}

TEST(dropout_follows_its_counters)
{
    on_each(dropout);
}

/* Two steps by hand: g = 2 * grad + 0.5 p, v = 0.9 v + g, p -= 0.1 (v, or g + 0.9 v). */
static void sgd(sw_backend *be)
{
    const double g[3] = {0.5, -2, 0}, p[3] = {1, 1, -4}, zero[3] = {0};
    sw_error err = {0};
    for (int nesterov = 0; nesterov < 2; nesterov++) {
        sw_tensor grad = tensor_of(be, SHAPE(3), g), param = tensor_of(be, SHAPE(3), p), v = tensor_of(be, SHAPE(3), zero);
        sw_sgd_attr attr = {0.1, 0.9, 0.5, nesterov, 2.0};
        sw_forward_args args = {.attr = &attr, .in = {&grad}, .out = {&param, &v}};
        double got[3], velocity[3], want[3], moved[3] = {0};
        for (int i = 0; i < 3; i++) want[i] = p[i];
        for (int step = 0; step < 2; step++) {
            CHECK_OK(sw_backend_run(be, SW_OP_SGD, &args, &err));
            for (int i = 0; i < 3; i++) {
                double full = 2 * g[i] + 0.5 * want[i];
                moved[i] = 0.9 * moved[i] + full;
                want[i] -= 0.1 * (nesterov ? full + 0.9 * moved[i] : moved[i]);
            }
        }
        CHECK_OK(sw_tensor_download_f64(&param, got, &err));
        CHECK_OK(sw_tensor_download_f64(&v, velocity, &err));
        for (int i = 0; i < 3; i++) {
            CHECK_NEAR(got[i], want[i], 1e-6, 0.0);
            CHECK_NEAR(velocity[i], moved[i], 1e-6, 0.0);
        }
        sw_tensor_release(&grad);
        sw_tensor_release(&param);
        sw_tensor_release(&v);
    }
}

TEST(stochastic_gradient_descent)
{
    on_each(sgd);
}

static void flat(sw_backend *be)
{
    const double g[3] = {0.5, -2, 0}, p[3] = {1, 1, 1}, zero[3] = {0};
    sw_error err = {0};
    for (int decoupled = 0; decoupled < 2; decoupled++) {
        sw_tensor grad = tensor_of(be, SHAPE(3), g), param = tensor_of(be, SHAPE(3), p);
        sw_tensor m = tensor_of(be, SHAPE(3), zero), v = tensor_of(be, SHAPE(3), zero);
        sw_adam_attr attr = {0.1, 0.9, 0.999, 1e-8, 0.01, decoupled, 1, 2.0};
        sw_forward_args args = {.attr = &attr, .in = {&grad}, .out = {&param, &m, &v}};
        CHECK_OK(sw_backend_run(be, SW_OP_ADAM, &args, &err));
        double got[3], moment[3];
        CHECK_OK(sw_tensor_download_f64(&param, got, &err));
        CHECK_OK(sw_tensor_download_f64(&m, moment, &err));
        /* The first step is lr * sign(gradient): 2g, or 2g + 0.01 with the decay inside. */
        CHECK_NEAR(got[0], decoupled ? 0.999 - 0.1 : 0.9, 1e-6, 0.0);
        CHECK_NEAR(got[1], decoupled ? 0.999 + 0.1 : 1.1, 1e-6, 0.0);
        CHECK_NEAR(got[2], decoupled ? 0.999 : 0.9, 1e-6, 0.0);
        CHECK_NEAR(moment[1], 0.1 * (decoupled ? -4.0 : -3.99), 1e-6, 0.0);
        sw_axpy_attr half = {0.5};
        sw_forward_args lerp = {.attr = &half, .in = {&grad}, .out = {&param}};
        CHECK_OK(sw_tensor_upload_f64(&param, p, &err));
        CHECK_OK(sw_backend_run(be, SW_OP_LERP, &lerp, &err)); /* 0.75, -0.5, 0.5 */
        CHECK_OK(sw_backend_run(be, SW_OP_AXPY, &lerp, &err)); /* 1, -1.5, 0.5 */
        CHECK_OK(sw_tensor_download_f64(&param, got, &err));
        CHECK_NEAR(got[0], 1.0, 1e-7, 0.0);
        CHECK_NEAR(got[1], -1.5, 1e-7, 0.0);
        CHECK_NEAR(got[2], 0.5, 1e-7, 0.0);
        sw_tensor sum = {0};
        CHECK_OK(sw_tensor_new(&be->device, SW_F64, SHAPE(1), &sum, &err));
        sw_forward_args squares = {.in = {&param}, .out = {&sum}};
        CHECK_OK(sw_backend_run(be, SW_OP_SUM_SQUARES, &squares, &err));
        CHECK_OK(sw_tensor_download(&sum, got, &err));
        CHECK_NEAR(got[0], 3.5, 1e-7, 0.0);
        sw_tensor_release(&sum);
        sw_tensor_release(&grad);
        sw_tensor_release(&param);
        sw_tensor_release(&m);
        sw_tensor_release(&v);
    }
}

TEST(optimiser_and_averages_by_hand)
{
    on_each(flat);
}

static void conversions(sw_backend *be)
{
    /* Ties to even, subnormals, overflow: bits known from the formats' definitions. */
    const double x[8] = {1.0, 65504.0, 65520.0, 0x1p-24, 0x1p-25, -0.1, 1.0 + 0x1p-11, 1.0 + 0x3p-11};
    const uint16_t half[8] = {0x3c00, 0x7bff, 0x7c00, 0x0001, 0x0000, 0xae66, 0x3c00, 0x3c02};
    const uint16_t brain[8] = {0x3f80, 0x4780, 0x4780, 0x3380, 0x3300, 0xbdcd, 0x3f80, 0x3f80};
    const sw_dtype type[2] = {SW_F16, SW_BF16};
    sw_error err = {0};
    for (int k = 0; k < 2; k++) {
        sw_tensor from = tensor_of(be, SHAPE(8), x), to = {0};
        uint16_t bits[8];
        double back[8];
        CHECK_OK(sw_tensor_new(&be->device, type[k], SHAPE(8), &to, &err));
        sw_forward_args args = {.in = {&from}, .out = {&to}};
        CHECK_OK(sw_backend_run(be, SW_OP_COPY, &args, &err));
        CHECK_OK(sw_tensor_download(&to, bits, &err));
        for (int i = 0; i < 8; i++) CHECK_INT(bits[i], (k ? brain : half)[i]);
        sw_forward_args again = {.in = {&to}, .out = {&from}};
        CHECK_OK(sw_backend_run(be, SW_OP_COPY, &again, &err));
        CHECK_OK(sw_tensor_download_f64(&from, back, &err));
        CHECK_NEAR(back[5], k ? -0.10009765625 : -0.0999755859375, 0.0, 0.0);
        CHECK(k ? back[3] == 0x1p-24 : isinf(back[2]) && back[3] == 0x1p-24);
        sw_tensor_release(&from);
        sw_tensor_release(&to);
    }
}

TEST(half_floats_to_the_bit)
{
    on_each(conversions);
}
