/* SPDX-License-Identifier: Apache-2.0 */
/* Softmax, cross entropy and the losses of survival. */
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
SW_REF_BOTH(survival_nll)
SW_REF_BOTH(cox)

void sw_ref_loss_kernels(sw_kernels *table)
{
    table[SW_OP_SOFTMAX] = (sw_kernels){softmax_forward, softmax_backward, SW_NEEDS_OUTPUT};
    table[SW_OP_CROSS_ENTROPY] = (sw_kernels){cross_entropy_forward, cross_entropy_backward, SW_NEEDS_BOTH};
    table[SW_OP_SURVIVAL_NLL] = (sw_kernels){survival_nll_forward, survival_nll_backward, SW_NEEDS_OUTPUT};
    table[SW_OP_COX] = (sw_kernels){cox_forward, cox_backward, SW_NEEDS_OUTPUT};
}
