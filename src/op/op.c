/* SPDX-License-Identifier: Apache-2.0 */
/* The op table, and ops without a tape. */
#include "op/op.h"

#include <string.h>

#include "op/infer.h"

enum {
#define SW_OP(id, name, n_in, n_out) INPUTS_##id = n_in, OUTPUTS_##id = n_out,
#include "backend/ops.def"
#undef SW_OP
};

#define ROW(id, fn, attr, none) [SW_OP_##id] = {fn, attr, INPUTS_##id, OUTPUTS_##id, none}
static const sw_op_def table[] = {
    ROW(CONV2D, sw_infer_conv2d, sizeof(sw_conv2d_attr), 0),
    ROW(BATCH_NORM, sw_infer_batch_norm, sizeof(sw_batch_norm_attr), 1u << 3 | 1u << 4),
    ROW(MAX_POOL2D, sw_infer_max_pool2d, sizeof(sw_pool_attr), 0),
    ROW(NORM_POOL, sw_infer_norm_pool, sizeof(sw_norm_pool_attr), 1u << 3 | 1u << 4),
    ROW(GLOBAL_AVG_POOL, sw_infer_global_avg_pool, 0, 0),
    ROW(LINEAR, sw_infer_linear, 0, 0),
    ROW(LAYER_NORM, sw_infer_layer_norm, sizeof(sw_layer_norm_attr), 0),
    ROW(RELU, sw_infer_relu, 0, 0),
    ROW(CAST, sw_infer_cast, sizeof(sw_cast_attr), 0),
    ROW(GELU, sw_infer_gelu, 0, 0),
    ROW(TANH, sw_infer_tanh, 0, 0),
    ROW(SIGMOID, sw_infer_sigmoid, 0, 0),
    ROW(DROPOUT, sw_infer_dropout, sizeof(sw_dropout_attr), 0),
    ROW(ADD, sw_infer_add, 0, 0),
    ROW(MUL, sw_infer_mul, 0, 0),
    ROW(SCALE, sw_infer_scale, sizeof(sw_scale_attr), 0),
    ROW(SOFTMAX, sw_infer_softmax, 0, 0),
    ROW(PERMUTE, sw_infer_permute, sizeof(sw_permute_attr), 0),
    ROW(RESHAPE, sw_infer_reshape, sizeof(sw_reshape_attr), 0),
    ROW(ROWS, sw_infer_rows, sizeof(sw_rows_attr), 0),
    ROW(CONCAT, sw_infer_concat, 0, 0),
    ROW(MATMUL, sw_infer_matmul, sizeof(sw_matmul_attr), 0),
    ROW(ATTEND_ONE, sw_infer_attend_one, sizeof(sw_attend_one_attr), 0),
    ROW(ATTEND, sw_infer_attend, sizeof(sw_attend_attr), 0),
    ROW(CROSS_ENTROPY, sw_infer_cross_entropy, 0, 1u << 1),
    ROW(SURVIVAL_NLL, sw_infer_survival_nll, sizeof(sw_survival_nll_attr), 1u << 1),
    ROW(COX, sw_infer_cox, 0, 1u << 1),
    ROW(DEPTHWISE, sw_infer_depthwise, 0, 0),
    ROW(MAX_LAST, sw_infer_max_last, 0, 0),
    ROW(GATHER, sw_infer_gather, 0, 1u << 1),
    ROW(MIN_MAX, sw_infer_min_max, sizeof(sw_min_max_attr), 0),
    ROW(RECIPROCAL, sw_infer_reciprocal, 0, 0),
    ROW(MEAN_ROWS, sw_infer_mean_rows, 0, 0),
    ROW(SILU, sw_infer_silu, 0, 0),
    ROW(RMS_NORM, sw_infer_rms_norm, sizeof(sw_rms_norm_attr), 0),
    ROW(SCAN2D, sw_infer_scan2d, 0, 0),
    ROW(CONV_NORM, sw_infer_conv_norm, sizeof(sw_conv_norm_attr), 0),
    ROW(FILL, NULL, sizeof(sw_fill_attr), 0),
    ROW(COPY, NULL, 0, 0),
    ROW(AXPY, NULL, sizeof(sw_axpy_attr), 0),
    ROW(LERP, NULL, sizeof(sw_axpy_attr), 0),
    ROW(SUM_SQUARES, NULL, 0, 0),
    ROW(ADAM, NULL, sizeof(sw_adam_attr), 0),
    ROW(SGD, NULL, sizeof(sw_sgd_attr), 0),
};
_Static_assert(sizeof table / sizeof table[0] == SW_OP_COUNT, "every op of ops.def has a row, the last one too");

const sw_op_def *sw_op_get(sw_op_id op)
{
    return &table[op];
}

/* A reshape, or rows of a plain tensor, need no copy. */
static bool is_view(sw_op_id op, const sw_tensor *x)
{
    return (op == SW_OP_RESHAPE || op == SW_OP_ROWS) && x->layout == 0;
}

static sw_status view(sw_op_id op, const void *attr, const sw_tensor *x, sw_shape shape, sw_tensor *out, sw_error *err)
{
    int64_t first = 0;
    if (op == SW_OP_ROWS && sw_tensor_count(x) > 0) {
        first = ((const sw_rows_attr *)attr)->first * (sw_tensor_count(x) / x->shape.dim[0]);
    }
    return sw_tensor_view(x, first, shape, out, err);
}

/* An input whose memory the output takes; NULL: none. Others may hold that memory too: then it stays as it is. */
static const sw_tensor *spent(sw_op_id op, const void *attr, const sw_tensor *const *in)
{
    if (op != SW_OP_CONV_NORM || !in[6] || !((const sw_conv_norm_attr *)attr)->spend_residual) return NULL;
    return __atomic_load_n(&in[6]->storage->refs, __ATOMIC_ACQUIRE) == 1 ? in[6] : NULL;
}

static sw_status forward(sw_backend *be, sw_op_id op, const void *attr, const sw_tensor *const *in, sw_tensor *out,
                         sw_error *err)
{
    const sw_op_def *def = &table[op];
    sw_shape shape[SW_OP_MAX_OUT] = {{0}};
    sw_dtype dtype[SW_OP_MAX_OUT] = {SW_F32};
    sw_forward_args args = {.attr = attr};
    if (!def->infer) return sw_error_set(err, SW_E_INTERNAL, "%s works in place: use sw_backend_run", sw_op_name(op));
    SW_TRY(def->infer(attr, in, shape, dtype, err));
    for (int i = 0; i < def->inputs; i++) {
        args.in[i] = in[i];
        if (in[i] && !in[i]->storage) {
            return sw_error_set(err, SW_E_INTERNAL, "%s: the value of input %d was let go", sw_op_name(op), i);
        }
        if (in[i] && in[i]->storage->device != &be->device) {
            return sw_error_set(err, SW_E_INVALID, "%s: input %d lives on backend %s, not on %s", sw_op_name(op), i,
                                in[i]->storage->device->name, be->device.name);
        }
    }
    if (is_view(op, in[0])) return view(op, attr, in[0], shape[0], out, err);
    const sw_tensor *taken = spent(op, attr, in);
    for (int i = 0; i < def->outputs; i++) {
        if (i == 0 && taken) out[i] = sw_tensor_ref(taken);
        else SW_TRY(sw_tensor_new(&be->device, dtype[i], shape[i], &out[i], err));
        args.out[i] = &out[i];
    }
    return sw_backend_run(be, op, &args, err);
}

sw_status sw_op_forward(sw_backend *be, sw_op_id op, const void *attr, const sw_tensor *const *in, sw_tensor *out,
                        sw_error *err)
{
    for (int i = 0; i < table[op].outputs; i++) out[i] = (sw_tensor){0};
    sw_status status = forward(be, op, attr, in, out, err);
    if (status != SW_OK) {
        for (int i = 0; i < table[op].outputs; i++) sw_tensor_release(&out[i]);
    }
    return status;
}

double sw_op_macs(sw_op_id op, const void *attr, const sw_tensor *const *in, const sw_tensor *out)
{
    const sw_shape *x = &in[0]->shape;
    double outputs = (double)sw_shape_count(&out->shape);
    switch (op) {
    case SW_OP_CONV2D:
    case SW_OP_CONV_NORM: return outputs * (double)(in[1]->shape.dim[1] * in[1]->shape.dim[2] * in[1]->shape.dim[3]);
    case SW_OP_DEPTHWISE: return outputs * (double)(in[1]->shape.dim[2] * in[1]->shape.dim[3]);
    case SW_OP_LINEAR: return outputs * (double)in[1]->shape.dim[1];
    case SW_OP_MATMUL: return outputs * (double)x->dim[((const sw_matmul_attr *)attr)->transpose_a ? x->rank - 2 : x->rank - 1];
    /* every query with every key, and the weights with the values */
    case SW_OP_ATTEND_ONE: return outputs * (double)x->dim[1] * (double)(x->dim[2] + 1);
    case SW_OP_ATTEND:
        return (double)(x->dim[0] * x->dim[1]) * (double)in[1]->shape.dim[1] * (double)(x->dim[2] + in[2]->shape.dim[2]);
    case SW_OP_SCAN2D: return 3.0 * outputs * (double)in[2]->shape.dim[1]; /* along, down, and out */
    default: return 0.0;
    }
}
