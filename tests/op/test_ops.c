/* SPDX-License-Identifier: Apache-2.0 */
/* One table of cases for every op that gives a value: numeric gradients in double, float against double, and
 * every other backend against the reference, with poisoned outputs, guard elements and both ways of adding. */
#include "test.h"

#include "op_harness.h"

#define A(type, ...) &(const type){__VA_ARGS__}
#define S(...) {sizeof((int[]){__VA_ARGS__}) / sizeof(int), {__VA_ARGS__}}
#define TRAIN(relu) A(sw_batch_norm_attr, true, true, relu, 1e-5, 0.1)
#define EVAL(relu) A(sw_batch_norm_attr, false, false, relu, 1e-5, 0.1)
#define NORM_POOL(training, window, stride, pad)                                                \
    A(sw_norm_pool_attr, {training, training, true, 1e-5, 0.1}, {window, stride, pad})
#define FOLD(stride, pad, relu) A(sw_conv_norm_attr, {stride, pad}, 1e-5, relu, false)
#define NEAR .tol = 2e-6, .cpu_tol = 2e-5

static const op_case cases[] = {
    {"conv 3x3", SW_OP_CONV2D, A(sw_conv2d_attr, 1, 1), {S(2, 3, 5, 7), S(4, 3, 3, 3)}, NEAR},
    {"conv 3x3 stride 2", SW_OP_CONV2D, A(sw_conv2d_attr, 2, 1), {S(1, 2, 7, 6), S(3, 2, 3, 3)}, NEAR},
    {"conv 7x7 stem", SW_OP_CONV2D, A(sw_conv2d_attr, 2, 3), {S(2, 3, 9, 11), S(2, 3, 7, 7)}, NEAR},
    {"conv 1x1 stride 2", SW_OP_CONV2D, A(sw_conv2d_attr, 2, 0), {S(2, 5, 5, 5), S(3, 5, 1, 1)}, NEAR},
    {"conv 1x1", SW_OP_CONV2D, A(sw_conv2d_attr, 1, 0), {S(1, 1, 1, 1), S(1, 1, 1, 1)}, NEAR},
    {"conv 1x3 window", SW_OP_CONV2D, A(sw_conv2d_attr, 1, 0), {S(1, 2, 4, 5), S(2, 2, 1, 3)}, NEAR},
    {"conv wide", SW_OP_CONV2D, A(sw_conv2d_attr, 1, 1), {S(1, 16, 4, 4), S(32, 16, 3, 3)}, NEAR},
    {"batch norm", SW_OP_BATCH_NORM, TRAIN(false), {S(3, 4, 3, 5), S(4), S(4), S(4), S(4)}, .absent = 32,
     .positive = 16, NEAR},
    {"batch norm relu", SW_OP_BATCH_NORM, TRAIN(true), {S(2, 3, 5, 3), S(3), S(3), S(3), S(3)}, .absent = 32,
     .positive = 16, NEAR},
    {"batch norm residual relu", SW_OP_BATCH_NORM, TRAIN(true), {S(2, 3, 4, 3), S(3), S(3), S(3), S(3), S(2, 3, 4, 3)},
     .positive = 16, NEAR},
    {"batch norm residual", SW_OP_BATCH_NORM, TRAIN(false), {S(2, 16, 2, 3), S(16), S(16), S(16), S(16), S(2, 16, 2, 3)},
     .positive = 16, NEAR},
    {"batch norm rank 2", SW_OP_BATCH_NORM, TRAIN(false), {S(7, 5), S(5), S(5), S(5), S(5)}, .absent = 32,
     .positive = 16, NEAR},
    {"batch norm eval", SW_OP_BATCH_NORM, EVAL(false), {S(2, 3, 3, 3), S(3), S(3), S(3), S(3)}, .absent = 32,
     .positive = 16, NEAR},
    {"batch norm eval residual relu", SW_OP_BATCH_NORM, EVAL(true),
     {S(2, 3, 3, 3), S(3), S(3), S(3), S(3), S(2, 3, 3, 3)}, .positive = 16, NEAR},
    {"norm pool 3x3", SW_OP_NORM_POOL, NORM_POOL(true, 3, 2, 1), {S(2, 3, 7, 9), S(3), S(3), S(3), S(3)}, .positive = 16, NEAR},
    {"norm pool 3x3 wide", SW_OP_NORM_POOL, NORM_POOL(true, 3, 2, 1), {S(2, 32, 6, 5), S(32), S(32), S(32), S(32)},
     .positive = 16, NEAR},
    {"norm pool 2x2", SW_OP_NORM_POOL, NORM_POOL(true, 2, 2, 0), {S(1, 16, 5, 4), S(16), S(16), S(16), S(16)},
     .positive = 16, NEAR},
    {"norm pool eval", SW_OP_NORM_POOL, NORM_POOL(false, 3, 1, 1), {S(2, 16, 4, 5), S(16), S(16), S(16), S(16)},
     .positive = 16, NEAR},
    {"max pool 3x3", SW_OP_MAX_POOL2D, A(sw_pool_attr, 3, 2, 1), {S(2, 3, 7, 9)}, NEAR},
    {"max pool 2x2", SW_OP_MAX_POOL2D, A(sw_pool_attr, 2, 2, 0), {S(1, 2, 5, 4)}, NEAR},
    {"max pool overlap", SW_OP_MAX_POOL2D, A(sw_pool_attr, 3, 1, 1), {S(1, 16, 4, 5)}, NEAR},
    {"global avg pool", SW_OP_GLOBAL_AVG_POOL, NULL, {S(3, 5, 7, 3)}, NEAR},
    {"global avg pool wide", SW_OP_GLOBAL_AVG_POOL, NULL, {S(2, 32, 4, 4)}, NEAR},
    {"linear", SW_OP_LINEAR, NULL, {S(5, 7), S(3, 7), S(3)}, NEAR},
    {"linear no bias", SW_OP_LINEAR, NULL, {S(2, 3, 9), S(33, 9)}, .absent = 4, NEAR},
    {"linear to one", SW_OP_LINEAR, NULL, {S(2, 2, 5, 4), S(1, 4), S(1)}, NEAR},
    {"linear vector", SW_OP_LINEAR, NULL, {S(17), S(5, 17), S(5)}, NEAR},
    {"layer norm", SW_OP_LAYER_NORM, A(sw_layer_norm_attr, 1e-5), {S(6, 7), S(7), S(7)}, NEAR},
    {"layer norm no offset", SW_OP_LAYER_NORM, A(sw_layer_norm_attr, 1e-6), {S(2, 3, 33), S(33)}, .absent = 4, NEAR},
    {"relu", SW_OP_RELU, NULL, {S(3, 37)}, NEAR},
    {"cast", SW_OP_CAST, A(sw_cast_attr, SW_F64), {S(3, 37)}, NEAR},
    {"gelu", SW_OP_GELU, NULL, {S(3, 37)}, NEAR},
    {"tanh", SW_OP_TANH, NULL, {S(3, 37)}, NEAR},
    {"sigmoid", SW_OP_SIGMOID, NULL, {S(3, 37)}, NEAR},
    {"dropout", SW_OP_DROPOUT, A(sw_dropout_attr, 0.25, 0x123456789abcdef0ull, 3, 5), {S(3, 37)}, NEAR},
    {"add", SW_OP_ADD, NULL, {S(2, 3, 5), S(2, 3, 5)}, NEAR},
    {"mul", SW_OP_MUL, NULL, {S(67), S(67)}, NEAR},
    {"scale", SW_OP_SCALE, A(sw_scale_attr, -1.75), {S(5, 9)}, .absent = 2, NEAR},
    {"scale by tensor", SW_OP_SCALE, A(sw_scale_attr, 1.0), {S(5, 9), S(1, 1)}, NEAR},
    {"softmax", SW_OP_SOFTMAX, NULL, {S(3, 2, 11)}, NEAR},
    {"softmax of one", SW_OP_SOFTMAX, NULL, {S(4, 1)}, NEAR},
    {"permute 3", SW_OP_PERMUTE, A(sw_permute_attr, {2, 0, 1}), {S(2, 3, 5)}, NEAR},
    {"permute 4", SW_OP_PERMUTE, A(sw_permute_attr, {0, 2, 1, 3}), {S(2, 7, 3, 5)}, NEAR},
    {"permute 2", SW_OP_PERMUTE, A(sw_permute_attr, {1, 0}), {S(17, 33)}, NEAR},
    {"reshape", SW_OP_RESHAPE, A(sw_reshape_attr, S(6, -1)), {S(2, 3, 5)}, NEAR},
    {"rows", SW_OP_ROWS, A(sw_rows_attr, 1, 2), {S(5, 3)}, NEAR},
    {"concat", SW_OP_CONCAT, NULL, {S(2, 5), S(3, 5)}, NEAR},
    {"matmul", SW_OP_MATMUL, A(sw_matmul_attr, false, false), {S(5, 7), S(7, 3)}, NEAR},
    {"matmul ta", SW_OP_MATMUL, A(sw_matmul_attr, true, false), {S(2, 7, 5), S(2, 7, 3)}, NEAR},
    {"matmul tb", SW_OP_MATMUL, A(sw_matmul_attr, false, true), {S(2, 2, 5, 7), S(2, 2, 3, 7)}, NEAR},
    {"matmul ta tb", SW_OP_MATMUL, A(sw_matmul_attr, true, true), {S(3, 7, 5), S(3, 3, 7)}, NEAR},
    {"matmul of a row", SW_OP_MATMUL, A(sw_matmul_attr, false, false), {S(4, 1, 19), S(4, 19, 8)}, NEAR},
    {"attend one", SW_OP_ATTEND_ONE, A(sw_attend_one_attr, 0.35, false), {S(2, 13, 8), S(2, 13, 8), S(2, 13)}, .tol = 4e-6,
     .cpu_tol = 4e-5},
    {"attend one odd", SW_OP_ATTEND_ONE, A(sw_attend_one_attr, 0.5, false), {S(3, 33, 5), S(3, 33, 5), S(3, 33)}, .tol = 4e-6,
     .cpu_tol = 4e-5},
    {"attend one alone", SW_OP_ATTEND_ONE, A(sw_attend_one_attr, 0.5, false), {S(1, 1, 4), S(1, 1, 4), S(1, 1)}, .tol = 4e-6,
     .cpu_tol = 4e-5},
    {"attend one reduced", SW_OP_ATTEND_ONE, A(sw_attend_one_attr, 0.35, true), {S(2, 67, 8), S(2, 67, 8), S(2, 67)},
     .tol = 4e-6, .cpu_tol = 1e-2},
    {"attend one reduced odd", SW_OP_ATTEND_ONE, A(sw_attend_one_attr, 0.5, true), {S(3, 49, 5), S(3, 49, 5), S(3, 49)},
     .tol = 4e-6, .cpu_tol = 1e-2},
    {"attend", SW_OP_ATTEND, A(sw_attend_attr, 0.35), {S(2, 7, 8), S(2, 13, 8), S(2, 13, 5)}, .tol = 4e-6, .cpu_tol = 4e-5},
    {"attend odd", SW_OP_ATTEND, A(sw_attend_attr, 0.5), {S(3, 19, 5), S(3, 6, 5), S(3, 6, 17)}, .tol = 4e-6, .cpu_tol = 4e-5},
    {"attend one query", SW_OP_ATTEND, A(sw_attend_attr, 0.5), {S(2, 1, 3), S(2, 33, 3), S(2, 33, 4)}, .tol = 4e-6, .cpu_tol = 4e-5},
    {"attend one key", SW_OP_ATTEND, A(sw_attend_attr, 0.5), {S(2, 5, 4), S(2, 1, 4), S(2, 1, 3)}, .tol = 4e-6, .cpu_tol = 4e-5},
    {"attend of ones", SW_OP_ATTEND, A(sw_attend_attr, -1.5), {S(1, 1, 1), S(1, 2, 1), S(1, 2, 1)}, .tol = 4e-6, .cpu_tol = 4e-5},
    {"cross entropy", SW_OP_CROSS_ENTROPY, NULL, {S(5, 3), S(5)}, .saved = 2, NEAR},
    {"survival nll", SW_OP_SURVIVAL_NLL, A(sw_survival_nll_attr, 0.0, 1e-7), {S(9, 4), S(9, 2)}, .saved = 2, NEAR},
    {"survival nll alpha", SW_OP_SURVIVAL_NLL, A(sw_survival_nll_attr, 0.4, 1e-7), {S(12, 5), S(12, 2)}, .saved = 2, NEAR},
    {"survival nll clamped", SW_OP_SURVIVAL_NLL, A(sw_survival_nll_attr, 0.0, 0.3), {S(16, 4), S(16, 2)}, .saved = 2, NEAR},
    {"cox", SW_OP_COX, NULL, {S(11, 1), S(11, 2)}, .saved = 2, NEAR},
    {"cox of one", SW_OP_COX, NULL, {S(1, 1), S(1, 2)}, .saved = 2, NEAR},
    {"depthwise 3x3", SW_OP_DEPTHWISE, NULL, {S(2, 3, 5, 7), S(3, 1, 3, 3), S(3)}, NEAR},
    {"depthwise 7x7 on a small image", SW_OP_DEPTHWISE, NULL, {S(2, 16, 3, 4), S(16, 1, 7, 7), S(16)}, NEAR},
    {"depthwise column", SW_OP_DEPTHWISE, NULL, {S(1, 2, 37, 8), S(2, 1, 33, 1)}, .absent = 4, NEAR},
    {"depthwise row", SW_OP_DEPTHWISE, NULL, {S(1, 2, 1, 9), S(2, 1, 1, 5), S(2)}, NEAR},
    {"depthwise 5x5 wide", SW_OP_DEPTHWISE, NULL, {S(1, 4, 19, 35), S(4, 1, 5, 5), S(4)}, NEAR},
    {"max last", SW_OP_MAX_LAST, NULL, {S(3, 2, 11)}, .saved = 2, NEAR},
    {"max of all", SW_OP_MAX_LAST, NULL, {S(97)}, .saved = 2, NEAR},
    {"gather", SW_OP_GATHER, NULL, {S(2, 5, 7), S(2, 4)}, .saved = 2, NEAR},
    {"gather more than there are", SW_OP_GATHER, NULL, {S(1, 3, 2), S(1, 9)}, .saved = 2, NEAR},
    {"min max", SW_OP_MIN_MAX, A(sw_min_max_attr, 1e-8), {S(3, 2, 11)}, .saved = 4, NEAR},
    {"reciprocal", SW_OP_RECIPROCAL, NULL, {S(3, 17)}, .positive = 1, NEAR},
    {"mean rows", SW_OP_MEAN_ROWS, NULL, {S(2, 9, 5)}, NEAR},
    {"silu", SW_OP_SILU, NULL, {S(3, 37)}, NEAR},
    {"rms norm", SW_OP_RMS_NORM, A(sw_rms_norm_attr, 1e-5), {S(2, 3, 33), S(33)}, NEAR},
    {"rms norm of one", SW_OP_RMS_NORM, A(sw_rms_norm_attr, 0.5), {S(5, 1), S(1)}, NEAR},
    {"scan2d", SW_OP_SCAN2D, NULL, {S(5, 4, 3), S(5, 4, 3), S(3, 2), S(5, 4, 2), S(5, 4, 2), S(3)}, NEAR},
    {"scan2d along", SW_OP_SCAN2D, NULL, {S(1, 7, 19), S(1, 7, 19), S(19, 3), S(1, 7, 3), S(1, 7, 3), S(19)}, NEAR},
    {"scan2d down", SW_OP_SCAN2D, NULL, {S(6, 1, 33), S(6, 1, 33), S(33, 1), S(6, 1, 1), S(6, 1, 1), S(33)}, NEAR},
    {"scan2d of one cell", SW_OP_SCAN2D, NULL, {S(1, 1, 5), S(1, 1, 5), S(5, 4), S(1, 1, 4), S(1, 1, 4), S(5)}, NEAR},
    {"conv norm stem", SW_OP_CONV_NORM, FOLD(2, 3, true), {S(2, 3, 9, 11), S(32, 3, 7, 7), S(32), S(32), S(32), S(32)},
     .absent = 64, .positive = 32, NEAR},
    {"conv norm 3x3", SW_OP_CONV_NORM, FOLD(1, 1, true), {S(2, 32, 7, 5), S(16, 32, 3, 3), S(16), S(16), S(16), S(16)},
     .absent = 64, .positive = 32, NEAR},
    {"conv norm 3x3 residual relu", SW_OP_CONV_NORM, FOLD(1, 1, true),
     {S(3, 16, 9, 7), S(32, 16, 3, 3), S(32), S(32), S(32), S(32), S(3, 32, 9, 7)}, .positive = 32, NEAR},
    {"conv norm 3x3 residual", SW_OP_CONV_NORM, FOLD(1, 1, false),
     {S(1, 16, 13, 11), S(16, 16, 3, 3), S(16), S(16), S(16), S(16), S(1, 16, 13, 11)}, .positive = 32, NEAR},
    {"conv norm odd channels", SW_OP_CONV_NORM, FOLD(1, 1, true),
     {S(2, 5, 5, 7), S(7, 5, 3, 3), S(7), S(7), S(7), S(7), S(2, 7, 5, 7)}, .positive = 32, NEAR},
    {"conv norm 3x3 stride 2", SW_OP_CONV_NORM, FOLD(2, 1, true),
     {S(2, 16, 9, 7), S(32, 16, 3, 3), S(32), S(32), S(32), S(32)}, .absent = 64, .positive = 32, NEAR},
    {"conv norm 3x3 stride 2 residual", SW_OP_CONV_NORM, FOLD(2, 1, false),
     {S(1, 2, 7, 6), S(3, 2, 3, 3), S(3), S(3), S(3), S(3), S(1, 3, 4, 3)}, .positive = 32, NEAR},
    {"conv norm 1x1 stride 2", SW_OP_CONV_NORM, FOLD(2, 0, false),
     {S(2, 16, 7, 5), S(32, 16, 1, 1), S(32), S(32), S(32), S(32)}, .absent = 64, .positive = 32, NEAR},
    {"conv norm 1x1 residual relu", SW_OP_CONV_NORM, FOLD(1, 0, true),
     {S(2, 32, 5, 3), S(16, 32, 1, 1), S(16), S(16), S(16), S(16), S(2, 16, 5, 3)}, .positive = 32, NEAR},
};
enum { CASES = sizeof cases / sizeof cases[0] };

/* Of the sizes that training has, for what sums over many numbers and for the clock; no numeric gradients. */
static const op_case large[] = {
    {"stem", SW_OP_CONV2D, A(sw_conv2d_attr, 2, 3), {S(2, 3, 112, 112), S(64, 3, 7, 7)}, NEAR},
    {"layer1 3x3", SW_OP_CONV2D, A(sw_conv2d_attr, 1, 1), {S(2, 64, 28, 28), S(64, 64, 3, 3)}, NEAR},
    {"layer2 3x3 stride 2", SW_OP_CONV2D, A(sw_conv2d_attr, 2, 1), {S(2, 64, 28, 28), S(128, 64, 3, 3)}, NEAR},
    {"layer2 1x1 stride 2", SW_OP_CONV2D, A(sw_conv2d_attr, 2, 0), {S(2, 64, 28, 28), S(128, 64, 1, 1)}, NEAR},
    {"layer3 3x3", SW_OP_CONV2D, A(sw_conv2d_attr, 1, 1), {S(1, 256, 14, 14), S(256, 256, 3, 3)}, NEAR},
    {"batch norm 56", SW_OP_BATCH_NORM, TRAIN(true),
     {S(4, 64, 56, 56), S(64), S(64), S(64), S(64), S(4, 64, 56, 56)}, .positive = 16, NEAR},
    {"max pool 56", SW_OP_MAX_POOL2D, A(sw_pool_attr, 3, 2, 1), {S(4, 64, 56, 56)}, NEAR},
    {"global avg pool 14", SW_OP_GLOBAL_AVG_POOL, NULL, {S(32, 256, 14, 14)}, NEAR},
    {"linear 1024", SW_OP_LINEAR, NULL, {S(1024, 256), S(512, 256), S(512)}, NEAR},
    {"layer norm 1024", SW_OP_LAYER_NORM, A(sw_layer_norm_attr, 1e-5), {S(1024, 512), S(512), S(512)}, NEAR},
    {"gelu 1024", SW_OP_GELU, NULL, {S(1024, 512)}, NEAR},
    {"dropout 1024", SW_OP_DROPOUT, A(sw_dropout_attr, 0.25, 0x123456789abcdef0ull, 3, 5), {S(1023, 513)}, NEAR},
    {"permute 1024 heads", SW_OP_PERMUTE, A(sw_permute_attr, {1, 0, 2}), {S(1023, 8, 65)}, NEAR},
    {"permute 1024 last", SW_OP_PERMUTE, A(sw_permute_attr, {2, 0, 1}), {S(1023, 8, 65)}, NEAR},
    {"softmax 20000", SW_OP_SOFTMAX, NULL, {S(4, 1, 20000)}, NEAR},
    {"attend one 1024", SW_OP_ATTEND_ONE, A(sw_attend_one_attr, 0.177, false), {S(2, 1024, 32), S(2, 1024, 32), S(2, 1024)}, NEAR},
    {"attend one reduced 1024", SW_OP_ATTEND_ONE, A(sw_attend_one_attr, 0.177, true),
     {S(2, 1024, 32), S(2, 1024, 32), S(2, 1024)}, NEAR},
    {"attend 500", SW_OP_ATTEND, A(sw_attend_attr, 0.177), {S(2, 500, 32), S(2, 333, 32), S(2, 333, 64)}, NEAR},
    {"attend of 4 landmarks", SW_OP_ATTEND, A(sw_attend_attr, 0.125), {S(2, 4, 64), S(2, 1500, 64), S(2, 1500, 64)}, NEAR},
    {"scan2d 40 x 50", SW_OP_SCAN2D, NULL,
     {S(40, 50, 100), S(40, 50, 100), S(100, 16), S(40, 50, 16), S(40, 50, 16), S(100)}, NEAR},
    {"silu 1024", SW_OP_SILU, NULL, {S(1024, 512)}, NEAR},
    {"scale 1024", SW_OP_SCALE, A(sw_scale_attr, -1.75), {S(1023, 65)}, .absent = 2, NEAR},
    {"scale by tensor 1024", SW_OP_SCALE, A(sw_scale_attr, 1.0), {S(1023, 65), S(1)}, NEAR},
    {"tanh 1024", SW_OP_TANH, NULL, {S(1023, 65)}, NEAR},
    {"sigmoid 1024", SW_OP_SIGMOID, NULL, {S(1023, 65)}, NEAR},
    {"max last 20000", SW_OP_MAX_LAST, NULL, {S(3, 20001)}, NEAR},
    {"gather 500", SW_OP_GATHER, NULL, {S(2, 300, 130), S(2, 500)}, NEAR},
    {"min max 9000", SW_OP_MIN_MAX, A(sw_min_max_attr, 1e-8), {S(5, 9001)}, NEAR},
    {"mean rows 1000", SW_OP_MEAN_ROWS, NULL, {S(3, 1000, 130)}, NEAR},
    {"depthwise 7x7 100", SW_OP_DEPTHWISE, NULL, {S(1, 5, 100, 99), S(5, 1, 7, 7), S(5)}, NEAR},
    {"matmul 4096", SW_OP_MATMUL, A(sw_matmul_attr, false, false), {S(4, 1, 4096), S(4, 4096, 128)}, NEAR},
};
enum { LARGE = sizeof large / sizeof large[0] };

TEST(every_op_with_a_value_has_a_case)
{
    for (int op = 0; op < SW_OP_COUNT; op++) {
        bool found = sw_op_get((sw_op_id)op)->infer == NULL;
        for (int i = 0; i < CASES; i++) found = found || (int)cases[i].op == op;
        if (!found) sw_test_fail(__FILE__, __LINE__, "no case for %s", sw_op_name((sw_op_id)op));
    }
}

static void check_numeric(const char *backend)
{
    sw_backend *be = NULL;
    sw_error err = {0};
    CHECK_OK(sw_backend_new(backend, NULL, &be, &err));
    for (int i = 0; i < CASES; i++) {
        char why[600] = "";
        if (!numeric_agrees(be, &cases[i], why, sizeof why)) {
            sw_test_fail(__FILE__, __LINE__, "%s on %s: %s", cases[i].name, backend, why);
        }
    }
    sw_backend_free(be);
}

TEST(gradients_agree_with_differences_in_double)
{
    check_numeric("ref");
}

/* `backend` in `dtype` against ref; `double_ref` compares with ref in double. */
static void check_backend(const char *backend, sw_dtype dtype, sw_dtype against, bool others)
{
    sw_backend *be = NULL, *ref = NULL;
    sw_error err = {0};
    CHECK_OK(sw_backend_new("ref", NULL, &ref, &err));
    CHECK_OK(sw_backend_new(backend, NULL, &be, &err));
    for (int i = 0; i < CASES; i++) {
        char why[600] = "";
        double tol = others ? cases[i].cpu_tol : dtype == against ? 0.0 : cases[i].tol;
        if (!backend_agrees(be, dtype, ref, against, &cases[i], tol, !others, why, sizeof why)) {
            sw_test_fail(__FILE__, __LINE__, "%s on %s: %s", cases[i].name, backend, why);
        }
    }
    sw_backend_free(be);
    sw_backend_free(ref);
}

TEST(float_agrees_with_double)
{
    check_backend("ref", SW_F32, SW_F64, false);
}

TEST(guard_agrees_with_ref_to_the_bit)
{
    check_backend("guard", SW_F32, SW_F32, false);
    check_backend("guard", SW_F64, SW_F64, false);
}

TEST(cpu_agrees_with_ref)
{
    sw_backend *be = NULL;
    sw_error err = {0};
    if (sw_backend_new("cpu", NULL, &be, &err) != SW_OK) SKIP("%s", err.message);
    sw_backend_free(be);
    check_backend("cpu", SW_F32, SW_F32, true);
}

/* Which cases the cpu backend also takes with images in bfloat16. */
static bool in_bf16(const op_case *c)
{
    return c->op == SW_OP_CONV2D || c->op == SW_OP_CONV_NORM || c->op == SW_OP_BATCH_NORM ||
           c->op == SW_OP_MAX_POOL2D || c->op == SW_OP_GLOBAL_AVG_POOL || c->op == SW_OP_RELU || c->op == SW_OP_ADD;
}

/* Numbers that bfloat16 holds, so that only what the kernel rounds itself is off: half of 2^-7 per value. */
TEST(bfloat16_agrees_with_double)
{
    sw_backend *be = NULL, *ref = NULL;
    sw_error err = {0};
    if (sw_backend_new("cpu", NULL, &be, &err) != SW_OK) SKIP("%s", err.message);
    CHECK_OK(sw_backend_new("ref", NULL, &ref, &err));
    int run = 0;
    for (int i = 0; i < CASES; i++) {
        char why[600] = "";
        if (!in_bf16(&cases[i])) continue;
        op_case c = cases[i];
        c.rounded = true;
        run++;
        if (!backend_agrees(be, SW_BF16, ref, SW_F64, &c, 1e-2, false, why, sizeof why)) {
            sw_test_fail(__FILE__, __LINE__, "%s in bf16: %s", c.name, why);
        }
    }
    CHECK(run > 20);
    static const struct {
        sw_dtype from, to;
    } cast[] = {{SW_F32, SW_BF16}, {SW_BF16, SW_F32}, {SW_BF16, SW_BF16}};
    for (int i = 0; i < 3; i++) {
        char why[600] = "";
        const sw_cast_attr attr = {cast[i].to};
        const op_case c = {"cast", SW_OP_CAST, &attr, {S(3, 16, 7, 5)}, .rounded = true};
        if (!backend_agrees(be, cast[i].from, ref, cast[i].from, &c, 1e-2, true, why, sizeof why)) {
            sw_test_fail(__FILE__, __LINE__, "cast from %s to %s: %s", sw_dtype_name(cast[i].from),
                         sw_dtype_name(cast[i].to), why);
        }
    }
    sw_backend_free(be);
    sw_backend_free(ref);
}

/* Values and gradients of one case in float on `be`, each as a whole, against ref in double. */
static void check_against_double(sw_backend *be, sw_backend *ref, const op_case *c, double bound, double *worst)
{
    double *values[SW_OP_MAX_IN];
    op_result r = {.problem = ""}, exact = {.problem = ""};
    values_new(c, values);
    if (!op_run(ref, SW_F64, c, values, true, false, &exact) || !op_run(be, SW_F32, c, values, true, false, &r))
        sw_test_fail(__FILE__, __LINE__, "%s: %s%s", c->name, exact.problem, r.problem);
    for (int i = 0; i < 1 + SW_OP_MAX_IN && r.out[0] && exact.out[0]; i++) {
        const double *a = i == 0 ? r.out[0] : r.grad[i - 1], *b = i == 0 ? exact.out[0] : exact.grad[i - 1];
        if (!a && !b) continue;
        int64_t count = i == 0 ? r.out_count[0] : r.in_count[i - 1];
        double d = a && b ? op_distance(a, b, count, 1e-3) : (double)INFINITY;
        *worst = fmax(*worst, d);
        if (d > bound)
            sw_test_fail(__FILE__, __LINE__, "%s: %s %d is %.3g from double (bound %.3g)", c->name,
                         i == 0 ? "output" : "gradient", i == 0 ? 0 : i - 1, d, bound);
    }
    op_result_free(&r);
    op_result_free(&exact);
    values_free(values);
}

/* Where a case asks for products of bfloat16 its bound is theirs. */
static double bound_of(const op_case *c)
{
    return c->op == SW_OP_ATTEND_ONE && ((const sw_attend_one_attr *)c->attr)->reduced ? 1e-2 : 1e-5;
}

TEST(values_and_gradients_on_cpu_are_within_1e_5_of_double)
{
    sw_backend *be = NULL, *ref = NULL;
    sw_error err = {0};
    if (sw_backend_new("cpu", NULL, &be, &err) != SW_OK) SKIP("%s", err.message);
    CHECK_OK(sw_backend_new("ref", NULL, &ref, &err));
    double worst = 0, reduced = 0;
    for (int i = 0; i < CASES + LARGE; i++) {
        const op_case *c = i < CASES ? &cases[i] : &large[i - CASES];
        double bound = bound_of(c);
        check_against_double(be, ref, c, bound, bound > 1e-5 ? &reduced : &worst);
    }
    printf("# farthest from double: %.2g; with products of bfloat16: %.2g\n", worst, reduced);
    sw_backend_free(be);
    sw_backend_free(ref);
}

/* --- the clock: SW_OP_TIMING=1 prints milliseconds per case, the best of a few runs; nothing is asserted of them */
static void print_time(sw_backend *be, const op_case *c, int runs)
{
    double *values[SW_OP_MAX_IN], forward_ms = INFINITY, backward_ms = INFINITY;
    values_new(c, values);
    for (int i = 0; i < runs; i++) {
        op_result r = {.problem = ""};
        if (!op_run(be, SW_F32, c, values, true, false, &r)) sw_test_fail(__FILE__, __LINE__, "%s: %s", c->name, r.problem);
        forward_ms = fmin(forward_ms, r.forward_ms);
        backward_ms = fmin(backward_ms, r.backward_ms);
        op_result_free(&r);
    }
    printf(" %9.4f", forward_ms);
    if (be->kernel[c->op].backward) printf(" %9.4f", backward_ms);
    else printf(" %9s", "-");
    values_free(values);
}

TEST(how_long_each_case_takes)
{
    sw_backend *be = NULL, *ref = NULL;
    sw_error err = {0};
    const char *wanted = getenv("SW_OP_TIMING");
    if (!wanted || strcmp(wanted, "1") != 0) SKIP("SW_OP_TIMING=1 prints it");
    if (sw_backend_new("cpu", NULL, &be, &err) != SW_OK) SKIP("%s", err.message);
    CHECK_OK(sw_backend_new("ref", NULL, &ref, &err));
    printf("# ms, best of several: %-26s %9s %9s %9s %9s\n", "", "cpu", "backward", "ref", "backward");
    for (int i = 0; i < CASES + LARGE; i++) {
        const op_case *c = i < CASES ? &cases[i] : &large[i - CASES];
        printf("# %-16s %-32s", sw_op_name(c->op), c->name);
        print_time(be, c, 7);
        print_time(ref, c, i < CASES ? 7 : 1);
        printf("\n");
    }
    sw_backend_free(be);
    sw_backend_free(ref);
}
