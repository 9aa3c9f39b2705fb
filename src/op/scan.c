/* SPDX-License-Identifier: Apache-2.0 */
/* The selective scan over a grid of cells. */
#include "op/infer.h"

sw_status sw_infer_scan2d(SW_INFER_ARGS)
{
    static const char *const name[] = {"u", "delta", "a_log", "b", "c"};
    static const char *const what[] = {"[rows, columns, e]", "[rows, columns, e]", "[e, n]", "[rows, columns, n]", "[rows, columns, n]"};
    const int64_t *u = NULL;
    sw_op_text t;
    (void)attr_;
    for (int i = 0; i < 5; i++) {
        SW_TRY(sw_op_need("scan2d", name[i], in[i], i == 2 ? 2 : 3, what[i], err));
        SW_TRY(sw_op_same_dtype("scan2d", in[0], in[i], err));
    }
    u = in[0]->shape.dim;
    if (u[0] < 1 || u[1] < 1 || u[2] < 1 || in[2]->shape.dim[1] < 1)
        return sw_error_set(err, SW_E_INVALID, "scan2d: u %s and its states cannot be empty", sw_op_shape(in[0], &t));
    const sw_shape wanted[] = {in[0]->shape, in[0]->shape, SW_SHAPE(u[2], in[2]->shape.dim[1]), SW_SHAPE(u[0], u[1], in[2]->shape.dim[1]),
                               SW_SHAPE(u[0], u[1], in[2]->shape.dim[1])};
    for (int i = 1; i < 5; i++) {
        char text[128];
        if (sw_shape_equal(&in[i]->shape, &wanted[i])) continue;
        return sw_error_set(err, SW_E_INVALID, "scan2d: %s %s does not fit: it must be %s", name[i], sw_op_shape(in[i], &t),
                            sw_shape_text(&wanted[i], text, sizeof text));
    }
    SW_TRY(sw_op_need_vector("scan2d", "d", in[5], u[2], in[0], false, err));
    shape[0] = in[0]->shape;
    dtype[0] = in[0]->dtype;
    return SW_OK;
}
