/* SPDX-License-Identifier: Apache-2.0 */
/* Ops that keep the shape. */
#include "op/infer.h"
#include "tensor/convert.h"

static sw_status like_x(const char *op, const sw_tensor *x, sw_shape *shape, sw_dtype *dtype, sw_error *err)
{
    SW_TRY(sw_op_need_float(op, "x", x, 0, err));
    shape[0] = x->shape;
    dtype[0] = x->dtype;
    return SW_OK;
}

#define ACTIVATION(name)                                                                        \
    sw_status sw_infer_##name(SW_INFER_ARGS)                                                    \
    {                                                                                           \
        (void)attr_;                                                                            \
        return like_x(#name, in[0], shape, dtype, err);                                         \
    }
ACTIVATION(relu)
ACTIVATION(gelu)
ACTIVATION(tanh)
ACTIVATION(sigmoid)
ACTIVATION(reciprocal)
ACTIVATION(silu)

sw_status sw_infer_cast(SW_INFER_ARGS)
{
    const sw_cast_attr *attr = attr_;
    SW_TRY(like_x("cast", in[0], shape, dtype, err));
    if (!sw_dtype_is_float(attr->dtype)) {
        return sw_error_set(err, SW_E_INVALID, "cast: %s is not a float type", sw_dtype_name(attr->dtype));
    }
    dtype[0] = attr->dtype;
    return SW_OK;
}

sw_status sw_infer_dropout(SW_INFER_ARGS)
{
    const sw_dropout_attr *attr = attr_;
    if (!(attr->rate >= 0.0 && attr->rate < 1.0)) {
        return sw_error_set(err, SW_E_INVALID, "dropout: rate %g must be at least 0 and below 1", attr->rate);
    }
    return like_x("dropout", in[0], shape, dtype, err);
}

static sw_status pair(const char *op, const sw_tensor *const *in, sw_shape *shape, sw_dtype *dtype, sw_error *err)
{
    sw_op_text a, b;
    SW_TRY(sw_op_need_float(op, "a", in[0], 0, err));
    SW_TRY(sw_op_need_float(op, "b", in[1], 0, err));
    SW_TRY(sw_op_same_dtype(op, in[0], in[1], err));
    if (!sw_shape_equal(&in[0]->shape, &in[1]->shape)) {
        return sw_error_set(err, SW_E_INVALID, "%s: a %s and b %s differ in shape", op, sw_op_shape(in[0], &a),
                            sw_op_shape(in[1], &b));
    }
    shape[0] = in[0]->shape;
    dtype[0] = in[0]->dtype;
    return SW_OK;
}

sw_status sw_infer_add(SW_INFER_ARGS)
{
    (void)attr_;
    return pair("add", in, shape, dtype, err);
}

sw_status sw_infer_mul(SW_INFER_ARGS)
{
    (void)attr_;
    return pair("mul", in, shape, dtype, err);
}

sw_status sw_infer_scale(SW_INFER_ARGS)
{
    sw_op_text a;
    (void)attr_;
    SW_TRY(like_x("scale", in[0], shape, dtype, err));
    if (!in[1]) return SW_OK;
    SW_TRY(sw_op_same_dtype("scale", in[0], in[1], err));
    if (sw_tensor_count(in[1]) == 1) return SW_OK;
    return sw_error_set(err, SW_E_INVALID, "scale: the factor %s must have one element", sw_op_shape(in[1], &a));
}
