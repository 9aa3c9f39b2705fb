/* SPDX-License-Identifier: Apache-2.0 */
/* What the shape inference functions share; one function per op, one file per family. */
#ifndef SW_OP_INFER_H
#define SW_OP_INFER_H

#include "op/op.h"

/* Room for a shape inside one message. */
typedef struct sw_op_text {
    char text[128];
} sw_op_text;
const char *sw_op_shape(const sw_tensor *t, sw_op_text *out); /* "none" for NULL */

/* "OP: NAME is missing" / "… must have RANK dimensions WHAT, not SHAPE" / "… is TYPE, not a float type" */
sw_status sw_op_need(const char *op, const char *name, const sw_tensor *t, int rank, const char *what, sw_error *err)
    SW_MUST_CHECK;
/* Any rank of at least `least`. */
sw_status sw_op_need_float(const char *op, const char *name, const sw_tensor *t, int least, sw_error *err)
    SW_MUST_CHECK;
sw_status sw_op_same_dtype(const char *op, const sw_tensor *a, const sw_tensor *b, sw_error *err) SW_MUST_CHECK;
/* `t` must be [count] of x's type; NULL is fine where `optional`. */
sw_status sw_op_need_vector(const char *op, const char *name, const sw_tensor *t, int64_t count, const sw_tensor *x,
                            bool optional, sw_error *err) SW_MUST_CHECK;

sw_status sw_op_need_eps(const char *op, double eps, sw_error *err) SW_MUST_CHECK;

/* Activations in bf16 stand beside parameters and statistics in f32; otherwise all are of one type. */
static inline sw_dtype sw_op_param_dtype(sw_dtype x)
{
    return x == SW_BF16 ? SW_F32 : x;
}

#define SW_INFER_ARGS                                                                           \
    const void *attr_, const sw_tensor *const *in, sw_shape *shape, sw_dtype *dtype, sw_error *err
sw_status sw_infer_conv2d(SW_INFER_ARGS);
sw_status sw_infer_conv_norm(SW_INFER_ARGS);
sw_status sw_infer_max_pool2d(SW_INFER_ARGS);
sw_status sw_infer_global_avg_pool(SW_INFER_ARGS);
sw_status sw_infer_batch_norm(SW_INFER_ARGS);
sw_status sw_infer_layer_norm(SW_INFER_ARGS);
sw_status sw_infer_norm_pool(SW_INFER_ARGS);
sw_status sw_infer_linear(SW_INFER_ARGS);
sw_status sw_infer_matmul(SW_INFER_ARGS);
sw_status sw_infer_attend_one(SW_INFER_ARGS);
sw_status sw_infer_attend(SW_INFER_ARGS);
sw_status sw_infer_softmax(SW_INFER_ARGS);
sw_status sw_infer_cross_entropy(SW_INFER_ARGS);
sw_status sw_infer_survival_nll(SW_INFER_ARGS);
sw_status sw_infer_cox(SW_INFER_ARGS);
sw_status sw_infer_relu(SW_INFER_ARGS);
sw_status sw_infer_cast(SW_INFER_ARGS);
sw_status sw_infer_gelu(SW_INFER_ARGS);
sw_status sw_infer_tanh(SW_INFER_ARGS);
sw_status sw_infer_sigmoid(SW_INFER_ARGS);
sw_status sw_infer_dropout(SW_INFER_ARGS);
sw_status sw_infer_add(SW_INFER_ARGS);
sw_status sw_infer_mul(SW_INFER_ARGS);
sw_status sw_infer_scale(SW_INFER_ARGS);
sw_status sw_infer_permute(SW_INFER_ARGS);
sw_status sw_infer_reshape(SW_INFER_ARGS);
sw_status sw_infer_rows(SW_INFER_ARGS);
sw_status sw_infer_concat(SW_INFER_ARGS);
sw_status sw_infer_depthwise(SW_INFER_ARGS);
sw_status sw_infer_max_last(SW_INFER_ARGS);
sw_status sw_infer_gather(SW_INFER_ARGS);
sw_status sw_infer_min_max(SW_INFER_ARGS);
sw_status sw_infer_reciprocal(SW_INFER_ARGS);
sw_status sw_infer_mean_rows(SW_INFER_ARGS);
sw_status sw_infer_silu(SW_INFER_ARGS);
sw_status sw_infer_rms_norm(SW_INFER_ARGS);
sw_status sw_infer_scan2d(SW_INFER_ARGS);

#endif
