/* SPDX-License-Identifier: Apache-2.0 */
#include "tape/ops.h"

#define OP(t, op, attr, ...)                                                                    \
    sw_tape_op(t, op, attr, (sw_var *[]){__VA_ARGS__}, sizeof((sw_var *[]){__VA_ARGS__}) / sizeof(sw_var *))

sw_var *sw_conv2d(sw_tape *t, sw_var *x, sw_var *w, int stride, int pad)
{
    const sw_conv2d_attr attr = {stride, pad};
    return OP(t, SW_OP_CONV2D, &attr, x, w);
}

sw_var *sw_batch_norm(sw_tape *t, sw_var *x, sw_var *gain, sw_var *offset, sw_var *running_mean, sw_var *running_var,
                      sw_var *residual, const sw_batch_norm_attr *attr)
{
    return OP(t, SW_OP_BATCH_NORM, attr, x, gain, offset, running_mean, running_var, residual);
}

sw_var *sw_conv_norm(sw_tape *t, sw_var *x, sw_var *w, sw_var *gain, sw_var *offset, sw_var *running_mean,
                     sw_var *running_var, sw_var *residual, const sw_conv_norm_attr *attr)
{
    return OP(t, SW_OP_CONV_NORM, attr, x, w, gain, offset, running_mean, running_var, residual);
}

sw_var *sw_norm_pool(sw_tape *t, sw_var *x, sw_var *gain, sw_var *offset, sw_var *running_mean, sw_var *running_var,
                     const sw_norm_pool_attr *attr)
{
    return OP(t, SW_OP_NORM_POOL, attr, x, gain, offset, running_mean, running_var);
}

sw_var *sw_max_pool2d(sw_tape *t, sw_var *x, int window, int stride, int pad)
{
    const sw_pool_attr attr = {window, stride, pad};
    return OP(t, SW_OP_MAX_POOL2D, &attr, x);
}

sw_var *sw_global_avg_pool(sw_tape *t, sw_var *x)
{
    return OP(t, SW_OP_GLOBAL_AVG_POOL, NULL, x);
}

sw_var *sw_linear(sw_tape *t, sw_var *x, sw_var *w, sw_var *bias)
{
    return OP(t, SW_OP_LINEAR, NULL, x, w, bias);
}

sw_var *sw_layer_norm(sw_tape *t, sw_var *x, sw_var *gain, sw_var *offset, double eps)
{
    const sw_layer_norm_attr attr = {eps};
    return OP(t, SW_OP_LAYER_NORM, &attr, x, gain, offset);
}

sw_var *sw_relu(sw_tape *t, sw_var *x)
{
    return OP(t, SW_OP_RELU, NULL, x);
}

sw_var *sw_cast(sw_tape *t, sw_var *x, sw_dtype dtype)
{
    const sw_cast_attr attr = {dtype};
    if (sw_var_value(x)->dtype == dtype) return x;
    return OP(t, SW_OP_CAST, &attr, x);
}

sw_var *sw_gelu(sw_tape *t, sw_var *x)
{
    return OP(t, SW_OP_GELU, NULL, x);
}

sw_var *sw_tanh(sw_tape *t, sw_var *x)
{
    return OP(t, SW_OP_TANH, NULL, x);
}

sw_var *sw_sigmoid(sw_tape *t, sw_var *x)
{
    return OP(t, SW_OP_SIGMOID, NULL, x);
}

sw_var *sw_dropout(sw_tape *t, sw_var *x, const sw_dropout_attr *attr)
{
    if (attr->rate == 0.0) return x;
    return OP(t, SW_OP_DROPOUT, attr, x);
}

sw_var *sw_add(sw_tape *t, sw_var *a, sw_var *b)
{
    return OP(t, SW_OP_ADD, NULL, a, b);
}

sw_var *sw_mul(sw_tape *t, sw_var *a, sw_var *b)
{
    return OP(t, SW_OP_MUL, NULL, a, b);
}

sw_var *sw_scale(sw_tape *t, sw_var *x, double factor)
{
    const sw_scale_attr attr = {factor};
    return OP(t, SW_OP_SCALE, &attr, x);
}

sw_var *sw_scale_by(sw_tape *t, sw_var *x, sw_var *scalar)
{
    const sw_scale_attr attr = {1.0};
    return OP(t, SW_OP_SCALE, &attr, x, scalar);
}

sw_var *sw_softmax(sw_tape *t, sw_var *x)
{
    return OP(t, SW_OP_SOFTMAX, NULL, x);
}

sw_var *sw_permute(sw_tape *t, sw_var *x, const int *axis)
{
    sw_permute_attr attr = {{0}};
    for (int i = 0; i < sw_var_shape(x)->rank; i++) attr.axis[i] = axis[i];
    return OP(t, SW_OP_PERMUTE, &attr, x);
}

sw_var *sw_reshape(sw_tape *t, sw_var *x, sw_shape shape)
{
    const sw_reshape_attr attr = {shape};
    return OP(t, SW_OP_RESHAPE, &attr, x);
}

sw_var *sw_rows(sw_tape *t, sw_var *x, int64_t first, int64_t count)
{
    const sw_rows_attr attr = {first, count};
    return OP(t, SW_OP_ROWS, &attr, x);
}

sw_var *sw_concat(sw_tape *t, sw_var *a, sw_var *b)
{
    return OP(t, SW_OP_CONCAT, NULL, a, b);
}

sw_var *sw_matmul(sw_tape *t, sw_var *a, sw_var *b, bool transpose_a, bool transpose_b)
{
    const sw_matmul_attr attr = {transpose_a, transpose_b};
    return OP(t, SW_OP_MATMUL, &attr, a, b);
}

sw_var *sw_attend_one(sw_tape *t, sw_var *q, sw_var *k, sw_var *v, double scale, bool reduced)
{
    const sw_attend_one_attr attr = {scale, reduced};
    return OP(t, SW_OP_ATTEND_ONE, &attr, q, k, v);
}

sw_var *sw_attend(sw_tape *t, sw_var *q, sw_var *k, sw_var *v, double scale)
{
    const sw_attend_attr attr = {scale};
    return OP(t, SW_OP_ATTEND, &attr, q, k, v);
}

sw_var *sw_cross_entropy(sw_tape *t, sw_var *logits, sw_var *labels)
{
    return OP(t, SW_OP_CROSS_ENTROPY, NULL, logits, labels);
}

sw_var *sw_survival_nll(sw_tape *t, sw_var *logits, sw_var *targets, double alpha, double eps)
{
    const sw_survival_nll_attr attr = {alpha, eps};
    return OP(t, SW_OP_SURVIVAL_NLL, &attr, logits, targets);
}

sw_var *sw_cox(sw_tape *t, sw_var *logits, sw_var *targets)
{
    return OP(t, SW_OP_COX, NULL, logits, targets);
}

sw_var *sw_mean_rows(sw_tape *t, sw_var *x)
{
    return OP(t, SW_OP_MEAN_ROWS, NULL, x);
}

sw_var *sw_depthwise(sw_tape *t, sw_var *x, sw_var *w, sw_var *bias)
{
    return OP(t, SW_OP_DEPTHWISE, NULL, x, w, bias);
}

sw_var *sw_max_last(sw_tape *t, sw_var *x)
{
    return OP(t, SW_OP_MAX_LAST, NULL, x);
}

sw_var *sw_gather(sw_tape *t, sw_var *x, sw_var *index)
{
    return OP(t, SW_OP_GATHER, NULL, x, index);
}

sw_var *sw_min_max(sw_tape *t, sw_var *x, double eps)
{
    const sw_min_max_attr attr = {eps};
    return OP(t, SW_OP_MIN_MAX, &attr, x);
}

sw_var *sw_reciprocal(sw_tape *t, sw_var *x)
{
    return OP(t, SW_OP_RECIPROCAL, NULL, x);
}

sw_var *sw_silu(sw_tape *t, sw_var *x)
{
    return OP(t, SW_OP_SILU, NULL, x);
}

sw_var *sw_rms_norm(sw_tape *t, sw_var *x, sw_var *gain, double eps)
{
    const sw_rms_norm_attr attr = {eps};
    return OP(t, SW_OP_RMS_NORM, &attr, x, gain);
}

sw_var *sw_scan2d(sw_tape *t, sw_var *u, sw_var *delta, sw_var *a_log, sw_var *b, sw_var *c, sw_var *d)
{
    return OP(t, SW_OP_SCAN2D, NULL, u, delta, a_log, b, c, d);
}
