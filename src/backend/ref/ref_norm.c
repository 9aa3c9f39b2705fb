/* SPDX-License-Identifier: Apache-2.0 */
/* Batch and layer normalisation. */
#include <math.h>

#include "backend/ref/ref.h"
#include "base/mem.h"

/* [n, c, ...] as n images of c planes with `pixels` values. */
typedef struct planes {
    int64_t n, c, pixels;
} planes;

static planes planes_of(const sw_shape *s)
{
    return (planes){s->dim[0], s->dim[1], sw_ref_after(s, 1)};
}

#define REAL float
#define SUFFIX f32
#include "backend/ref/ref_moments.inc"
#include "backend/ref/ref_norm.inc"
#undef REAL
#undef SUFFIX
#define REAL double
#define SUFFIX f64
#include "backend/ref/ref_moments.inc"
#include "backend/ref/ref_norm.inc"
#undef REAL
#undef SUFFIX

SW_REF_BOTH(batch_norm)
SW_REF_BOTH(layer_norm)
SW_REF_BOTH(rms_norm)

void sw_ref_norm_kernels(sw_kernels *table)
{
    /* batch_norm reads y for the sign of its relu; layer_norm reads what it saved. */
    table[SW_OP_BATCH_NORM] = (sw_kernels){batch_norm_forward, batch_norm_backward, SW_NEEDS_BOTH};
    table[SW_OP_RMS_NORM] = (sw_kernels){rms_norm_forward, rms_norm_backward, SW_NEEDS_BOTH};
    table[SW_OP_LAYER_NORM] = (sw_kernels){layer_norm_forward, layer_norm_backward, SW_NEEDS_BOTH};
}
