/* SPDX-License-Identifier: Apache-2.0 */
/* Ops without a tape: shape inference and checks, then the backend's kernel. */
#ifndef SW_OP_OP_H
#define SW_OP_OP_H

#include "backend/backend.h"

/* Checks inputs and gives shape and dtype of every output. Messages name op and shapes. */
typedef sw_status (*sw_infer_fn)(const void *attr, const sw_tensor *const *in, sw_shape *shape, sw_dtype *dtype,
                                 sw_error *err);
typedef struct sw_op_def {
    sw_infer_fn infer;   /* NULL for in-place kernels */
    size_t attr_bytes;   /* sizeof the attribute struct; 0: none */
    int inputs, outputs; /* from ops.def */
    unsigned no_grad;    /* bit i: input i never gets a gradient (labels, running statistics) */
} sw_op_def;
const sw_op_def *sw_op_get(sw_op_id op);

/* Infers, allocates outputs on `be` and runs forward. Outputs are owned by the caller on success. */
sw_status sw_op_forward(sw_backend *be, sw_op_id op, const void *attr, const sw_tensor *const *in,
                        sw_tensor *out, sw_error *err) SW_MUST_CHECK;

/* Multiplications and additions in pairs (MACs) of an op's forward pass: convolutions and products of matrices; what grows
 * only with the elements counts nothing. Shapes alone are read. */
double sw_op_macs(sw_op_id op, const void *attr, const sw_tensor *const *in, const sw_tensor *out);

#endif
