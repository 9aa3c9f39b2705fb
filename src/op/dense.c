/* SPDX-License-Identifier: Apache-2.0 */
/* Products, softmax, attention and loss. */
#include "op/infer.h"

sw_status sw_infer_linear(SW_INFER_ARGS)
{
    const sw_tensor *x = in[0], *w = in[1];
    sw_op_text a, b;
    (void)attr_;
    SW_TRY(sw_op_need_float("linear", "x", x, 1, err));
    SW_TRY(sw_op_need("linear", "w", w, 2, "[m, k]", err));
    SW_TRY(sw_op_same_dtype("linear", x, w, err));
    int last = x->shape.rank - 1;
    if (x->shape.dim[last] != w->shape.dim[1]) {
        return sw_error_set(err, SW_E_INVALID, "linear: x %s does not fit w %s: their last dimensions differ",
                            sw_op_shape(x, &a), sw_op_shape(w, &b));
    }
    if (in[2] && (in[2]->shape.rank != 1 || in[2]->shape.dim[0] != w->shape.dim[0])) {
        return sw_error_set(err, SW_E_INVALID, "linear: bias %s does not fit w %s", sw_op_shape(in[2], &a),
                            sw_op_shape(w, &b));
    }
    if (in[2]) SW_TRY(sw_op_same_dtype("linear", x, in[2], err));
    shape[0] = x->shape;
    shape[0].dim[last] = w->shape.dim[0];
    dtype[0] = x->dtype;
    return SW_OK;
}

sw_status sw_infer_matmul(SW_INFER_ARGS)
{
    const sw_matmul_attr *attr = attr_;
    const sw_tensor *a = in[0], *b = in[1];
    sw_op_text ta, tb;
    SW_TRY(sw_op_need_float("matmul", "a", a, 2, err));
    SW_TRY(sw_op_need_float("matmul", "b", b, 2, err));
    SW_TRY(sw_op_same_dtype("matmul", a, b, err));
    int r = a->shape.rank;
    bool fits = b->shape.rank == r;
    for (int i = 0; fits && i < r - 2; i++) fits = a->shape.dim[i] == b->shape.dim[i];
    fits = fits && a->shape.dim[attr->transpose_a ? r - 2 : r - 1] == b->shape.dim[attr->transpose_b ? r - 1 : r - 2];
    if (!fits) {
        return sw_error_set(err, SW_E_INVALID, "matmul: a %s%s and b %s%s do not fit", sw_op_shape(a, &ta),
                            attr->transpose_a ? " transposed" : "", sw_op_shape(b, &tb),
                            attr->transpose_b ? " transposed" : "");
    }
    shape[0] = a->shape;
    shape[0].dim[r - 2] = a->shape.dim[attr->transpose_a ? r - 1 : r - 2];
    shape[0].dim[r - 1] = b->shape.dim[attr->transpose_b ? r - 2 : r - 1];
    dtype[0] = a->dtype;
    return SW_OK;
}

sw_status sw_infer_attend_one(SW_INFER_ARGS)
{
    const sw_tensor *q = in[0], *k = in[1], *v = in[2];
    sw_op_text a, b, c;
    (void)attr_;
    SW_TRY(sw_op_need("attend_one", "q", q, 3, "[g, n, d]", err));
    SW_TRY(sw_op_need("attend_one", "k", k, 3, "[g, n, d]", err));
    SW_TRY(sw_op_need("attend_one", "v", v, 2, "[g, n]", err));
    SW_TRY(sw_op_same_dtype("attend_one", q, k, err));
    SW_TRY(sw_op_same_dtype("attend_one", q, v, err));
    sw_shape rows = SW_SHAPE(q->shape.dim[0], q->shape.dim[1]);
    if (!sw_shape_equal(&q->shape, &k->shape) || !sw_shape_equal(&v->shape, &rows)) {
        return sw_error_set(err, SW_E_INVALID, "attend_one: q %s, k %s and v %s do not fit", sw_op_shape(q, &a),
                            sw_op_shape(k, &b), sw_op_shape(v, &c));
    }
    shape[0] = shape[1] = rows;
    dtype[0] = dtype[1] = q->dtype;
    return SW_OK;
}

sw_status sw_infer_attend(SW_INFER_ARGS)
{
    const sw_tensor *q = in[0], *k = in[1], *v = in[2];
    const char *wrong = NULL;
    sw_op_text a, b, c;
    (void)attr_;
    SW_TRY(sw_op_need("attend", "q", q, 3, "[g, m, d]", err));
    SW_TRY(sw_op_need("attend", "k", k, 3, "[g, n, d]", err));
    SW_TRY(sw_op_need("attend", "v", v, 3, "[g, n, e]", err));
    SW_TRY(sw_op_same_dtype("attend", q, k, err));
    SW_TRY(sw_op_same_dtype("attend", q, v, err));
    const int64_t *qs = q->shape.dim, *ks = k->shape.dim, *vs = v->shape.dim;
    if (qs[0] != ks[0] || qs[0] != vs[0]) wrong = "they differ in groups, the first dimension";
    else if (qs[2] != ks[2]) wrong = "queries and keys differ in width, the last dimension";
    else if (ks[1] != vs[1]) wrong = "each key has one row of v";
    else if (ks[1] < 1 || qs[2] < 1 || vs[2] < 1) wrong = "keys and values cannot be empty";
    if (wrong) {
        return sw_error_set(err, SW_E_INVALID, "attend: q %s, k %s and v %s do not fit: %s", sw_op_shape(q, &a),
                            sw_op_shape(k, &b), sw_op_shape(v, &c), wrong);
    }
    shape[0] = SW_SHAPE(qs[0], qs[1], vs[2]);
    shape[1] = SW_SHAPE(qs[0], qs[1]);
    dtype[0] = dtype[1] = q->dtype;
    return SW_OK;
}

sw_status sw_infer_softmax(SW_INFER_ARGS)
{
    (void)attr_;
    SW_TRY(sw_op_need_float("softmax", "x", in[0], 1, err));
    shape[0] = in[0]->shape;
    dtype[0] = in[0]->dtype;
    return SW_OK;
}

/* Labels outside [0, k) are found by the kernel: the values are on the device. */
sw_status sw_infer_cross_entropy(SW_INFER_ARGS)
{
    const sw_tensor *x = in[0], *label = in[1];
    sw_op_text a, b;
    (void)attr_;
    SW_TRY(sw_op_need("cross_entropy", "logits", x, 2, "[b, k]", err));
    if (!label) return sw_error_set(err, SW_E_INVALID, "cross_entropy: labels are missing");
    if (label->dtype != SW_I32 || label->shape.rank != 1 || label->shape.dim[0] != x->shape.dim[0]) {
        return sw_error_set(err, SW_E_INVALID, "cross_entropy: labels %s %s do not fit logits %s: they must be i32 [%lld]",
                            sw_dtype_name(label->dtype), sw_op_shape(label, &a), sw_op_shape(x, &b),
                            (long long)x->shape.dim[0]);
    }
    if (x->shape.dim[0] < 1 || x->shape.dim[1] < 1) {
        return sw_error_set(err, SW_E_INVALID, "cross_entropy: logits %s are empty", sw_op_shape(x, &a));
    }
    shape[0] = (sw_shape){0};
    shape[1] = x->shape;
    dtype[0] = dtype[1] = x->dtype;
    return SW_OK;
}

static sw_status infer_survival(const char *op, const sw_tensor *const *in, sw_shape *shape, sw_dtype *dtype, sw_error *err)
{
    const sw_tensor *x = in[0], *target = in[1];
    sw_op_text a, b;
    SW_TRY(sw_op_need(op, "logits", x, 2, "[b, k]", err));
    if (!target) return sw_error_set(err, SW_E_INVALID, "%s: targets are missing", op);
    if (target->dtype != SW_I32 || target->shape.rank != 2 || target->shape.dim[0] != x->shape.dim[0] ||
        target->shape.dim[1] != 2) {
        return sw_error_set(err, SW_E_INVALID, "%s: targets %s %s do not fit logits %s: they must be i32 [%lld, 2]", op,
                            sw_dtype_name(target->dtype), sw_op_shape(target, &a), sw_op_shape(x, &b),
                            (long long)x->shape.dim[0]);
    }
    if (x->shape.dim[0] < 1 || x->shape.dim[1] < 1) {
        return sw_error_set(err, SW_E_INVALID, "%s: logits %s are empty", op, sw_op_shape(x, &a));
    }
    shape[0] = (sw_shape){0};
    shape[1] = x->shape;
    dtype[0] = dtype[1] = x->dtype;
    return SW_OK;
}

sw_status sw_infer_survival_nll(SW_INFER_ARGS)
{
    (void)attr_;
    return infer_survival("survival_nll", in, shape, dtype, err);
}

sw_status sw_infer_cox(SW_INFER_ARGS)
{
    sw_op_text a;
    (void)attr_;
    SW_TRY(infer_survival("cox", in, shape, dtype, err));
    if (in[0]->shape.dim[1] == 1) return SW_OK;
    return sw_error_set(err, SW_E_INVALID, "cox: logits %s: it takes one risk per bag, [b, 1]", sw_op_shape(in[0], &a));
}
