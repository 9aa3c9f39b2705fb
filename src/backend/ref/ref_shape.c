/* SPDX-License-Identifier: Apache-2.0 */
/* Ops that move elements, and the mean over rows. */
#include <string.h>

#include "backend/ref/ref.h"

/* Where in x the element of y with flat index `at` comes from. */
static int64_t permuted(const sw_permute_attr *attr, const sw_shape *x, const sw_shape *y, int64_t at)
{
    int64_t from = 0;
    for (int i = y->rank - 1; i >= 0; i--) {
        from += at % y->dim[i] * sw_ref_after(x, attr->axis[i]);
        at /= y->dim[i];
    }
    return from;
}

#define REAL float
#define SUFFIX f32
#include "backend/ref/ref_shape.inc"
#undef REAL
#undef SUFFIX
#define REAL double
#define SUFFIX f64
#include "backend/ref/ref_shape.inc"
#undef REAL
#undef SUFFIX

SW_REF_BOTH(permute)
SW_REF_BOTH(reshape)
SW_REF_BOTH(rows)
SW_REF_BOTH(concat)
SW_REF_BOTH(mean_rows)

void sw_ref_shape_kernels(sw_kernels *table)
{
    table[SW_OP_PERMUTE] = (sw_kernels){permute_forward, permute_backward, SW_NEEDS_NOTHING};
    table[SW_OP_RESHAPE] = (sw_kernels){reshape_forward, reshape_backward, SW_NEEDS_NOTHING};
    table[SW_OP_ROWS] = (sw_kernels){rows_forward, rows_backward, SW_NEEDS_NOTHING};
    table[SW_OP_CONCAT] = (sw_kernels){concat_forward, concat_backward, SW_NEEDS_NOTHING};
    table[SW_OP_MEAN_ROWS] = (sw_kernels){mean_rows_forward, mean_rows_backward, SW_NEEDS_NOTHING};
}
