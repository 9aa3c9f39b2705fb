/* SPDX-License-Identifier: Apache-2.0 */
/* Convolution and pooling. */
#include <math.h>
#include <string.h>

#include "backend/ref/ref.h"
#include "base/mem.h"

/* Sizes of a window op over images. */
typedef struct window {
    int64_t n, c, h, w;   /* input */
    int64_t o, oh, ow;    /* output: channels and pixels */
    int64_t kh, kw;
    int stride, pad;
} window;

/* First input row (or column) a window that starts at `out` covers, and which of its places are inside. */
typedef struct reach {
    int64_t start, from, to; /* places [from, to) of the window lie on the image */
} reach;

static reach reach_of(int64_t out, int stride, int pad, int64_t size, int64_t window)
{
    reach r = {.start = out * stride - pad, .from = 0, .to = window};
    if (r.start < 0) r.from = -r.start;
    if (r.start + window > size) r.to = size - r.start;
    return r;
}

#define REAL float
#define SUFFIX f32
#include "backend/ref/ref_moments.inc"
#include "backend/ref/ref_conv.inc"
#undef REAL
#undef SUFFIX
#define REAL double
#define SUFFIX f64
#include "backend/ref/ref_moments.inc"
#include "backend/ref/ref_conv.inc"
#undef REAL
#undef SUFFIX

SW_REF_BOTH(conv2d)
SW_REF_FORWARD(conv_norm)
SW_REF_BOTH(max_pool2d)
SW_REF_BOTH(global_avg_pool)
SW_REF_BOTH(norm_pool)
SW_REF_BOTH(depthwise)

void sw_ref_conv_kernels(sw_kernels *table)
{
    table[SW_OP_CONV2D] = (sw_kernels){conv2d_forward, conv2d_backward, SW_NEEDS_INPUTS};
    table[SW_OP_CONV_NORM] = (sw_kernels){conv_norm_forward, NULL, SW_NEEDS_NOTHING};
    table[SW_OP_MAX_POOL2D] = (sw_kernels){max_pool2d_forward, max_pool2d_backward, SW_NEEDS_OUTPUT};
    /* It reads y for the sign of its relu. */
    table[SW_OP_NORM_POOL] = (sw_kernels){norm_pool_forward, norm_pool_backward, SW_NEEDS_BOTH};
    table[SW_OP_DEPTHWISE] = (sw_kernels){depthwise_forward, depthwise_backward, SW_NEEDS_INPUTS};
    table[SW_OP_GLOBAL_AVG_POOL] = (sw_kernels){global_avg_pool_forward, global_avg_pool_backward, SW_NEEDS_NOTHING};
}
