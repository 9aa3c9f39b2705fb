/* SPDX-License-Identifier: Apache-2.0 */
/* The reference backend: every op in plain C, one file per family, each compiled for float and double
 * from one template (.inc). Written to be read and believed; others are tested against it. */
#ifndef SW_BACKEND_REF_REF_H
#define SW_BACKEND_REF_REF_H

#include "backend/backend.h"

sw_status sw_ref_backend_new(const sw_backend_options *options, sw_backend **out, sw_error *err) SW_MUST_CHECK;

/* Each fills the rows of its family. */
void sw_ref_conv_kernels(sw_kernels *table);
void sw_ref_norm_kernels(sw_kernels *table);
void sw_ref_dense_kernels(sw_kernels *table);
void sw_ref_attend_kernels(sw_kernels *table);
void sw_ref_elementwise_kernels(sw_kernels *table);
void sw_ref_shape_kernels(sw_kernels *table);
void sw_ref_select_kernels(sw_kernels *table);
void sw_ref_scan_kernels(sw_kernels *table);
void sw_ref_loss_kernels(sw_kernels *table);
void sw_ref_flat_kernels(sw_kernels *table);

/* True when every tensor is plain and of type f32 or of type f64 alike (i32 and u8 aside); *wide says
 * which. Otherwise an error that names the op. */
sw_status sw_ref_check_forward(const char *op, const sw_forward_args *args, bool *wide, sw_error *err) SW_MUST_CHECK;
sw_status sw_ref_check_backward(const char *op, const sw_backward_args *args, bool *wide, sw_error *err) SW_MUST_CHECK;

/* "OP: index I is outside of [0, N)", for every backend. */
sw_status sw_ref_outside(const char *op, int32_t index, int64_t n, sw_error *err);

static inline void *sw_ref_mem(const sw_tensor *t)
{
    return t && t->storage ? (char *)t->storage->mem + t->offset : NULL;
}

/* Elements before, of, and after dimension `axis`. */
static inline int64_t sw_ref_before(const sw_shape *s, int axis)
{
    int64_t count = 1;
    for (int i = 0; i < axis; i++) count *= s->dim[i];
    return count;
}
static inline int64_t sw_ref_after(const sw_shape *s, int axis)
{
    int64_t count = 1;
    for (int i = axis + 1; i < s->rank; i++) count *= s->dim[i];
    return count;
}

/* The kernel `name` of both types, chosen by the tensors' type. */
#define SW_REF_FORWARD(name)                                                                    \
    static sw_status name##_forward(sw_backend *be, sw_forward_args *args, sw_error *err)       \
    {                                                                                           \
        bool wide;                                                                              \
        (void)be;                                                                               \
        SW_TRY(sw_ref_check_forward(#name, args, &wide, err));                                  \
        return wide ? name##_forward_f64(args, err) : name##_forward_f32(args, err);            \
    }
#define SW_REF_BACKWARD(name)                                                                   \
    static sw_status name##_backward(sw_backend *be, sw_backward_args *args, sw_error *err)     \
    {                                                                                           \
        bool wide;                                                                              \
        (void)be;                                                                               \
        SW_TRY(sw_ref_check_backward(#name, args, &wide, err));                                 \
        return wide ? name##_backward_f64(args, err) : name##_backward_f32(args, err);          \
    }
#define SW_REF_BOTH(name) SW_REF_FORWARD(name) SW_REF_BACKWARD(name)

/* Inside a template: FN(conv2d_forward) is conv2d_forward_f32 or _f64. */
#define SW_REF_GLUE_(a, b) a##_##b
#define SW_REF_GLUE(a, b) SW_REF_GLUE_(a, b)
#define FN(name) SW_REF_GLUE(name, SUFFIX)

#endif
