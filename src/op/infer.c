/* SPDX-License-Identifier: Apache-2.0 */
#include "op/infer.h"

#include <stdio.h>

#include "tensor/convert.h"

const char *sw_op_shape(const sw_tensor *t, sw_op_text *out)
{
    if (!t) return "none";
    return sw_shape_text(&t->shape, out->text, sizeof out->text);
}

sw_status sw_op_need_float(const char *op, const char *name, const sw_tensor *t, int least, sw_error *err)
{
    sw_op_text a;
    if (!t) return sw_error_set(err, SW_E_INVALID, "%s: %s is missing", op, name);
    if (!sw_dtype_is_float(t->dtype)) {
        return sw_error_set(err, SW_E_INVALID, "%s: %s is %s, not a float type", op, name, sw_dtype_name(t->dtype));
    }
    if (t->shape.rank < least) {
        return sw_error_set(err, SW_E_INVALID, "%s: %s %s must have at least %d dimensions", op, name,
                            sw_op_shape(t, &a), least);
    }
    return SW_OK;
}

sw_status sw_op_need(const char *op, const char *name, const sw_tensor *t, int rank, const char *what, sw_error *err)
{
    sw_op_text a;
    SW_TRY(sw_op_need_float(op, name, t, 0, err));
    if (t->shape.rank == rank) return SW_OK;
    return sw_error_set(err, SW_E_INVALID, "%s: %s %s must be %s", op, name, sw_op_shape(t, &a), what);
}

sw_status sw_op_same_dtype(const char *op, const sw_tensor *a, const sw_tensor *b, sw_error *err)
{
    if (a->dtype == b->dtype) return SW_OK;
    return sw_error_set(err, SW_E_INVALID, "%s: inputs are %s and %s, which differ", op, sw_dtype_name(a->dtype),
                        sw_dtype_name(b->dtype));
}

sw_status sw_op_need_vector(const char *op, const char *name, const sw_tensor *t, int64_t count, const sw_tensor *x,
                            bool optional, sw_error *err)
{
    sw_op_text a, b;
    if (!t && optional) return SW_OK;
    SW_TRY(sw_op_need(op, name, t, 1, "[c]", err));
    if (t->shape.dim[0] != count) {
        return sw_error_set(err, SW_E_INVALID, "%s: %s %s does not fit x %s: it must be [%lld]", op, name,
                            sw_op_shape(t, &a), sw_op_shape(x, &b), (long long)count);
    }
    return sw_op_same_dtype(op, x, t, err);
}
