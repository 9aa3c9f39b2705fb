/* SPDX-License-Identifier: Apache-2.0 */
/* Normalisation ops. */
#include "op/infer.h"

sw_status sw_op_need_eps(const char *op, double eps, sw_error *err)
{
    if (eps > 0.0) return SW_OK;
    return sw_error_set(err, SW_E_INVALID, "%s: eps %g must be greater than 0", op, eps);
}

sw_status sw_infer_batch_norm(SW_INFER_ARGS)
{
    static const char *const name[] = {"x", "gain", "offset", "running_mean", "running_var"};
    const sw_batch_norm_attr *attr = attr_;
    const sw_tensor *x = in[0], *residual = in[5];
    sw_op_text a, b;
    SW_TRY(sw_op_need_float("batch_norm", "x", x, 2, err));
    SW_TRY(sw_op_need_eps("batch_norm", attr->eps, err));
    sw_tensor like = *x;
    like.dtype = sw_op_param_dtype(x->dtype);
    for (int i = 1; i < 5; i++) {
        SW_TRY(sw_op_need_vector("batch_norm", name[i], in[i], x->shape.dim[1], &like, false, err));
    }
    int64_t per_channel = x->shape.dim[1] ? sw_tensor_count(x) / x->shape.dim[1] : 0;
    if (attr->training && per_channel < 2) {
        return sw_error_set(err, SW_E_INVALID,
                            "batch_norm: training needs more than one value per channel, but x is %s",
                            sw_op_shape(x, &a));
    }
    if (residual && (!sw_shape_equal(&x->shape, &residual->shape) || residual->dtype != x->dtype)) {
        return sw_error_set(err, SW_E_INVALID, "batch_norm: residual %s does not fit x %s", sw_op_shape(residual, &a),
                            sw_op_shape(x, &b));
    }
    shape[0] = x->shape;
    shape[1] = shape[2] = SW_SHAPE(x->shape.dim[1]);
    dtype[0] = x->dtype;
    dtype[1] = dtype[2] = like.dtype;
    return SW_OK;
}

sw_status sw_infer_norm_pool(SW_INFER_ARGS)
{
    const sw_norm_pool_attr *attr = attr_;
    const sw_tensor *norm_in[SW_OP_MAX_IN] = {in[0], in[1], in[2], in[3], in[4]};
    SW_TRY(sw_infer_max_pool2d(&attr->pool, in, shape, dtype, err));
    sw_shape pooled = shape[0];
    SW_TRY(sw_infer_batch_norm(&attr->norm, norm_in, shape, dtype, err));
    shape[0] = shape[3] = pooled;
    dtype[3] = SW_U8;
    return SW_OK;
}

sw_status sw_infer_layer_norm(SW_INFER_ARGS)
{
    const sw_layer_norm_attr *attr = attr_;
    const sw_tensor *x = in[0];
    sw_op_text a;
    SW_TRY(sw_op_need_float("layer_norm", "x", x, 1, err));
    SW_TRY(sw_op_need_eps("layer_norm", attr->eps, err));
    int last = x->shape.rank - 1;
    if (x->shape.dim[last] < 1) {
        return sw_error_set(err, SW_E_INVALID, "layer_norm: the last dimension of x %s is empty", sw_op_shape(x, &a));
    }
    SW_TRY(sw_op_need_vector("layer_norm", "gain", in[1], x->shape.dim[last], x, false, err));
    SW_TRY(sw_op_need_vector("layer_norm", "offset", in[2], x->shape.dim[last], x, true, err));
    shape[0] = x->shape;
    shape[1] = shape[2] = sw_shape_of(last, x->shape.dim);
    dtype[0] = dtype[1] = dtype[2] = x->dtype;
    return SW_OK;
}

sw_status sw_infer_rms_norm(SW_INFER_ARGS)
{
    const sw_tensor *x = in[0];
    sw_op_text a;
    SW_TRY(sw_op_need_float("rms_norm", "x", x, 1, err));
    SW_TRY(sw_op_need_eps("rms_norm", ((const sw_rms_norm_attr *)attr_)->eps, err));
    int last = x->shape.rank - 1;
    if (x->shape.dim[last] < 1) {
        return sw_error_set(err, SW_E_INVALID, "rms_norm: the last dimension of x %s is empty", sw_op_shape(x, &a));
    }
    SW_TRY(sw_op_need_vector("rms_norm", "gain", in[1], x->shape.dim[last], x, false, err));
    shape[0] = x->shape;
    shape[1] = sw_shape_of(last, x->shape.dim);
    dtype[0] = dtype[1] = x->dtype;
    return SW_OK;
}
