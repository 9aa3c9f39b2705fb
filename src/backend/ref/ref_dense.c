/* SPDX-License-Identifier: Apache-2.0 */
/* Products of matrices. */
#include "backend/ref/ref.h"

/* A matrix inside flat memory: element (r, c) is at r * row + c * col. */
typedef struct strides {
    int64_t row, col;
} strides;

#define REAL float
#define SUFFIX f32
#include "backend/ref/ref_dense.inc"
#undef REAL
#undef SUFFIX
#define REAL double
#define SUFFIX f64
#include "backend/ref/ref_dense.inc"
#undef REAL
#undef SUFFIX

SW_REF_BOTH(linear)
SW_REF_BOTH(matmul)

void sw_ref_dense_kernels(sw_kernels *table)
{
    table[SW_OP_LINEAR] = (sw_kernels){linear_forward, linear_backward, SW_NEEDS_INPUTS};
    table[SW_OP_MATMUL] = (sw_kernels){matmul_forward, matmul_backward, SW_NEEDS_INPUTS};
}
