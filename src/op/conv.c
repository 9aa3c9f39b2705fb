/* SPDX-License-Identifier: Apache-2.0 */
/* Ops on images: convolution and pooling. */
#include "op/infer.h"

static sw_status window_out(const char *op, const sw_tensor *x, int64_t window_h, int64_t window_w, int stride,
                            int pad, int64_t out[2], sw_error *err)
{
    sw_op_text a;
    const int64_t window[2] = {window_h, window_w};
    if (stride < 1 || pad < 0) {
        return sw_error_set(err, SW_E_INVALID, "%s: stride %d must be at least 1 and padding %d at least 0", op,
                            stride, pad);
    }
    for (int i = 0; i < 2; i++) {
        int64_t room = x->shape.dim[2 + i] + 2 * (int64_t)pad - window[i];
        if (room < 0 || window[i] < 1) {
            return sw_error_set(err, SW_E_INVALID, "%s: a %lld x %lld window does not fit x %s with padding %d", op,
                                (long long)window_h, (long long)window_w, sw_op_shape(x, &a), pad);
        }
        out[i] = room / stride + 1;
    }
    return SW_OK;
}

static sw_status convolved(const char *op, const sw_conv2d_attr *attr, const sw_tensor *x, const sw_tensor *w,
                           sw_shape *shape, sw_error *err)
{
    sw_op_text a, b;
    int64_t out[2];
    SW_TRY(sw_op_need(op, "x", x, 4, "[n, c, h, w]", err));
    SW_TRY(sw_op_need(op, "w", w, 4, "[o, c, kh, kw]", err));
    if (w->dtype != sw_op_param_dtype(x->dtype)) {
        return sw_error_set(err, SW_E_INVALID, "%s: w is %s, but must be %s beside x in %s", op, sw_dtype_name(w->dtype),
                            sw_dtype_name(sw_op_param_dtype(x->dtype)), sw_dtype_name(x->dtype));
    }
    if (x->shape.dim[1] != w->shape.dim[1]) {
        return sw_error_set(err, SW_E_INVALID, "%s: x %s and w %s differ in channels", op, sw_op_shape(x, &a),
                            sw_op_shape(w, &b));
    }
    SW_TRY(window_out(op, x, w->shape.dim[2], w->shape.dim[3], attr->stride, attr->pad, out, err));
    *shape = SW_SHAPE(x->shape.dim[0], w->shape.dim[0], out[0], out[1]);
    return SW_OK;
}

sw_status sw_infer_conv2d(SW_INFER_ARGS)
{
    SW_TRY(convolved("conv2d", attr_, in[0], in[1], &shape[0], err));
    dtype[0] = in[0]->dtype;
    return SW_OK;
}

sw_status sw_infer_conv_norm(SW_INFER_ARGS)
{
    static const char *const name[] = {"gain", "offset", "running_mean", "running_var"};
    const sw_conv_norm_attr *attr = attr_;
    const sw_tensor *x = in[0], *residual = in[6];
    sw_op_text a;
    char wanted[128];
    SW_TRY(convolved("conv_norm", &attr->conv, x, in[1], &shape[0], err));
    SW_TRY(sw_op_need_eps("conv_norm", attr->eps, err));
    for (int i = 0; i < 4; i++) {
        SW_TRY(sw_op_need_vector("conv_norm", name[i], in[2 + i], shape[0].dim[1], in[1], false, err));
    }
    if (residual && (!sw_shape_equal(&shape[0], &residual->shape) || residual->dtype != x->dtype)) {
        return sw_error_set(err, SW_E_INVALID, "conv_norm: residual %s of type %s does not fit the result %s of type %s",
                            sw_op_shape(residual, &a), sw_dtype_name(residual->dtype),
                            sw_shape_text(&shape[0], wanted, sizeof wanted), sw_dtype_name(x->dtype));
    }
    dtype[0] = x->dtype;
    return SW_OK;
}

sw_status sw_infer_max_pool2d(SW_INFER_ARGS)
{
    const sw_pool_attr *attr = attr_;
    const sw_tensor *x = in[0];
    int64_t out[2];
    SW_TRY(sw_op_need("max_pool2d", "x", x, 4, "[n, c, h, w]", err));
    /* The winner's place in the window is kept in a byte, and every window must touch a pixel. */
    if (attr->window > 16 || attr->pad > attr->window / 2) {
        return sw_error_set(err, SW_E_INVALID,
                            "max_pool2d: window %d must be at most 16 and padding %d at most half of it", attr->window,
                            attr->pad);
    }
    SW_TRY(window_out("max_pool2d", x, attr->window, attr->window, attr->stride, attr->pad, out, err));
    shape[0] = shape[1] = SW_SHAPE(x->shape.dim[0], x->shape.dim[1], out[0], out[1]);
    dtype[0] = x->dtype;
    dtype[1] = SW_U8;
    return SW_OK;
}

sw_status sw_infer_global_avg_pool(SW_INFER_ARGS)
{
    const sw_tensor *x = in[0];
    sw_op_text a;
    (void)attr_;
    SW_TRY(sw_op_need("global_avg_pool", "x", x, 4, "[n, c, h, w]", err));
    if (x->shape.dim[2] < 1 || x->shape.dim[3] < 1) {
        return sw_error_set(err, SW_E_INVALID, "global_avg_pool: x %s has no pixels", sw_op_shape(x, &a));
    }
    shape[0] = SW_SHAPE(x->shape.dim[0], x->shape.dim[1]);
    dtype[0] = sw_op_param_dtype(x->dtype);
    return SW_OK;
}

sw_status sw_infer_depthwise(SW_INFER_ARGS)
{
    const sw_tensor *x = in[0], *w = in[1];
    sw_op_text a, b;
    (void)attr_;
    SW_TRY(sw_op_need("depthwise", "x", x, 4, "[n, c, h, w]", err));
    SW_TRY(sw_op_need("depthwise", "w", w, 4, "[c, 1, kh, kw]", err));
    SW_TRY(sw_op_same_dtype("depthwise", x, w, err));
    if (w->shape.dim[0] != x->shape.dim[1] || w->shape.dim[1] != 1 || w->shape.dim[2] % 2 == 0 || w->shape.dim[3] % 2 == 0) {
        return sw_error_set(err, SW_E_INVALID, "depthwise: w %s does not fit x %s: it must be [%lld, 1, odd, odd]", sw_op_shape(w, &a),
                            sw_op_shape(x, &b), (long long)x->shape.dim[1]);
    }
    SW_TRY(sw_op_need_vector("depthwise", "bias", in[2], x->shape.dim[1], x, true, err));
    shape[0] = x->shape;
    dtype[0] = x->dtype;
    return SW_OK;
}
