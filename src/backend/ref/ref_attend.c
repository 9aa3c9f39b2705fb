/* SPDX-License-Identifier: Apache-2.0 */
/* Streamed attention, onto one value column and onto several: softmax(q k^T scale) v without the matrix of weights. */
#include <math.h>
#include <string.h>

#include "backend/ref/ref.h"
#include "base/mem.h"

#define REAL float
#define SUFFIX f32
#include "backend/ref/ref_attend.inc"
#undef REAL
#undef SUFFIX
#define REAL double
#define SUFFIX f64
#include "backend/ref/ref_attend.inc"
#undef REAL
#undef SUFFIX

SW_REF_BOTH(attend_one)
SW_REF_BOTH(attend)

void sw_ref_attend_kernels(sw_kernels *table)
{
    table[SW_OP_ATTEND_ONE] = (sw_kernels){attend_one_forward, attend_one_backward, SW_NEEDS_BOTH};
    table[SW_OP_ATTEND] = (sw_kernels){attend_forward, attend_backward, SW_NEEDS_BOTH};
}
