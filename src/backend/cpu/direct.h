/* SPDX-License-Identifier: Apache-2.0 */
/* Our own forward convolution of stride 2, see simd_direct_impl.h. */
#ifndef SW_BACKEND_CPU_DIRECT_H
#define SW_BACKEND_CPU_DIRECT_H

#include "backend/cpu/cpu_internal.h"

bool sw_cpu_direct_takes(const sw_cpu *cpu, const sw_dnn_conv *shape);

/* x, y blocked; w plain [o, c, kh, kw]; shape->bias, sum and relu as in onednn.h. */
sw_status sw_cpu_direct_forward(sw_cpu *cpu, const sw_dnn_conv *shape, const float *x, const float *w, const float *bias,
                                float *y, sw_error *err) SW_MUST_CHECK;

#endif
