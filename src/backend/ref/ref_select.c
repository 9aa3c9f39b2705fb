/* SPDX-License-Identifier: Apache-2.0 */
/* Ops that find the ends of rows, or take rows by number. */
#include <string.h>

#include "backend/ref/ref.h"

static int64_t last_of(const sw_shape *s)
{
    return s->dim[s->rank - 1];
}

sw_status sw_ref_outside(const char *op, int32_t index, int64_t n, sw_error *err)
{
    return sw_error_set(err, SW_E_INVALID, "%s: index %d is outside of [0, %lld)", op, index, (long long)n);
}

#define REAL float
#define SUFFIX f32
#include "backend/ref/ref_select.inc"
#undef REAL
#undef SUFFIX
#define REAL double
#define SUFFIX f64
#include "backend/ref/ref_select.inc"
#undef REAL
#undef SUFFIX

SW_REF_BOTH(max_last)
SW_REF_BOTH(gather)
SW_REF_BOTH(min_max)

void sw_ref_select_kernels(sw_kernels *table)
{
    table[SW_OP_MAX_LAST] = (sw_kernels){max_last_forward, max_last_backward, SW_NEEDS_OUTPUT};
    table[SW_OP_GATHER] = (sw_kernels){gather_forward, gather_backward, SW_NEEDS_OUTPUT};
    table[SW_OP_MIN_MAX] = (sw_kernels){min_max_forward, min_max_backward, SW_NEEDS_OUTPUT};
}
