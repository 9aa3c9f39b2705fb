/* SPDX-License-Identifier: Apache-2.0 */
/* Softmax and cross entropy. */
#include <math.h>

#include "backend/ref/ref.h"

#define REAL float
#define SUFFIX f32
#include "backend/ref/ref_loss.inc"
#undef REAL
#undef SUFFIX
#define REAL double
#define SUFFIX f64
#include "backend/ref/ref_loss.inc"
#undef REAL
#undef SUFFIX

SW_REF_BOTH(softmax)
SW_REF_BOTH(cross_entropy)

void sw_ref_loss_kernels(sw_kernels *table)
{
    table[SW_OP_SOFTMAX] = (sw_kernels){softmax_forward, softmax_backward, SW_NEEDS_OUTPUT};
    table[SW_OP_CROSS_ENTROPY] = (sw_kernels){cross_entropy_forward, cross_entropy_backward, SW_NEEDS_BOTH};
}
