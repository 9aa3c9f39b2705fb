/* SPDX-License-Identifier: Apache-2.0 */
/* Ops that move elements. */
#include "op/infer.h"

sw_status sw_infer_permute(SW_INFER_ARGS)
{
    const sw_permute_attr *attr = attr_;
    const sw_tensor *x = in[0];
    sw_op_text a;
    unsigned seen = 0;
    SW_TRY(sw_op_need_float("permute", "x", x, 1, err));
    shape[0].rank = x->shape.rank;
    for (int i = 0; i < x->shape.rank; i++) {
        int axis = attr->axis[i];
        if (axis < 0 || axis >= x->shape.rank || seen >> axis & 1u) {
            return sw_error_set(err, SW_E_INVALID, "permute: axis %d at place %d is no order of the axes of x %s",
                                axis, i, sw_op_shape(x, &a));
        }
        seen |= 1u << axis;
        shape[0].dim[i] = x->shape.dim[axis];
    }
    dtype[0] = x->dtype;
    return SW_OK;
}

/* One dimension may be -1: as large as the number of elements asks for. */
sw_status sw_infer_reshape(SW_INFER_ARGS)
{
    const sw_tensor *x = in[0];
    sw_op_text a;
    char wanted[128];
    SW_TRY(sw_op_need_float("reshape", "x", x, 0, err));
    sw_shape to = ((const sw_reshape_attr *)attr_)->shape;
    int64_t known = 1, count = sw_tensor_count(x);
    int open = -1;
    bool fits = to.rank >= 0 && to.rank <= SW_MAX_RANK;
    for (int i = 0; fits && i < to.rank; i++) {
        if (to.dim[i] == -1 && open < 0) {
            open = i;
        } else {
            fits = to.dim[i] >= 0;
            known *= to.dim[i];
        }
    }
    if (fits && open >= 0 && known > 0) {
        to.dim[open] = count / known;
        known *= to.dim[open];
    }
    if (!fits || known != count || (open >= 0 && to.dim[open] < 0)) {
        const sw_shape *asked = &((const sw_reshape_attr *)attr_)->shape;
        return sw_error_set(err, SW_E_INVALID, "reshape: x %s does not fit %s", sw_op_shape(x, &a),
                            sw_shape_text(asked, wanted, sizeof wanted));
    }
    shape[0] = to;
    dtype[0] = x->dtype;
    return SW_OK;
}

sw_status sw_infer_rows(SW_INFER_ARGS)
{
    const sw_rows_attr *attr = attr_;
    const sw_tensor *x = in[0];
    sw_op_text a;
    SW_TRY(sw_op_need_float("rows", "x", x, 1, err));
    if (attr->first < 0 || attr->count < 0 || attr->count > x->shape.dim[0] ||
        attr->first > x->shape.dim[0] - attr->count) {
        return sw_error_set(err, SW_E_INVALID, "rows: x %s has no rows %lld to %lld", sw_op_shape(x, &a),
                            (long long)attr->first, (long long)(attr->first + attr->count));
    }
    shape[0] = x->shape;
    shape[0].dim[0] = attr->count;
    dtype[0] = x->dtype;
    return SW_OK;
}

sw_status sw_infer_concat(SW_INFER_ARGS)
{
    const sw_tensor *x = in[0], *y = in[1];
    sw_op_text a, b;
    (void)attr_;
    SW_TRY(sw_op_need_float("concat", "a", x, 1, err));
    SW_TRY(sw_op_need_float("concat", "b", y, 1, err));
    SW_TRY(sw_op_same_dtype("concat", x, y, err));
    sw_shape like = y->shape;
    like.dim[0] = x->shape.dim[0];
    if (!sw_shape_equal(&x->shape, &like)) {
        return sw_error_set(err, SW_E_INVALID, "concat: a %s and b %s differ after the first dimension",
                            sw_op_shape(x, &a), sw_op_shape(y, &b));
    }
    shape[0] = x->shape;
    shape[0].dim[0] += y->shape.dim[0];
    dtype[0] = x->dtype;
    return SW_OK;
}

sw_status sw_infer_mean_rows(SW_INFER_ARGS)
{
    const sw_tensor *x = in[0];
    sw_op_text a;
    (void)attr_;
    SW_TRY(sw_op_need("mean_rows", "x", x, 3, "[b, n, d]", err));
    if (x->shape.dim[1] < 1) {
        return sw_error_set(err, SW_E_INVALID, "mean_rows: x %s has no rows", sw_op_shape(x, &a));
    }
    shape[0] = SW_SHAPE(x->shape.dim[0], x->shape.dim[2]);
    dtype[0] = x->dtype;
    return SW_OK;
}

static sw_status rows_of(const char *op, const sw_tensor *x, sw_error *err)
{
    sw_op_text a;
    SW_TRY(sw_op_need_float(op, "x", x, 1, err));
    if (x->shape.dim[x->shape.rank - 1] > 0) return SW_OK;
    return sw_error_set(err, SW_E_INVALID, "%s: the rows of x %s are empty", op, sw_op_shape(x, &a));
}

sw_status sw_infer_max_last(SW_INFER_ARGS)
{
    (void)attr_;
    SW_TRY(rows_of("max_last", in[0], err));
    shape[0] = in[0]->shape;
    shape[0].rank--;
    shape[0].dim[shape[0].rank] = 0;
    shape[1] = shape[0];
    dtype[0] = in[0]->dtype;
    dtype[1] = SW_I32;
    return SW_OK;
}

sw_status sw_infer_min_max(SW_INFER_ARGS)
{
    const sw_min_max_attr *attr = attr_;
    SW_TRY(rows_of("min_max", in[0], err));
    SW_TRY(sw_op_need_eps("min_max", attr->eps, err));
    int64_t rows = sw_tensor_count(in[0]) / in[0]->shape.dim[in[0]->shape.rank - 1];
    shape[0] = in[0]->shape;
    shape[1] = SW_SHAPE(rows);
    shape[2] = SW_SHAPE(rows, 2);
    dtype[0] = dtype[1] = in[0]->dtype;
    dtype[2] = SW_I32;
    return SW_OK;
}

/* An index outside [0, n) is found by the kernel: the values are on the device. */
sw_status sw_infer_gather(SW_INFER_ARGS)
{
    const sw_tensor *x = in[0], *index = in[1];
    sw_op_text a, b;
    (void)attr_;
    SW_TRY(sw_op_need("gather", "x", x, 3, "[b, n, d]", err));
    if (!index) return sw_error_set(err, SW_E_INVALID, "gather: the index is missing");
    if (index->dtype != SW_I32 || index->shape.rank != 2 || index->shape.dim[0] != x->shape.dim[0]) {
        return sw_error_set(err, SW_E_INVALID, "gather: index %s %s does not fit x %s: it must be i32 [%lld, k]",
                            sw_dtype_name(index->dtype), sw_op_shape(index, &a), sw_op_shape(x, &b),
                            (long long)x->shape.dim[0]);
    }
    shape[0] = SW_SHAPE(x->shape.dim[0], index->shape.dim[1], x->shape.dim[2]);
    shape[1] = index->shape;
    dtype[0] = x->dtype;
    dtype[1] = SW_I32;
    return SW_OK;
}
