/* SPDX-License-Identifier: Apache-2.0 */
/* Our own 7x7 convolution of stride 2 and padding 3 on three channels, see simd_stem_impl.h. */
#ifndef SW_BACKEND_CPU_STEM_H
#define SW_BACKEND_CPU_STEM_H

#include "backend/cpu/cpu_internal.h"

bool sw_cpu_stem_takes(const sw_cpu *cpu, const sw_dnn_conv *shape);

/* x [n, 3, h, w] plain; y, dy blocked; w, dw plain [o, 3, 7, 7]. Results are overwritten. */
sw_status sw_cpu_stem_forward(sw_cpu *cpu, const sw_dnn_conv *shape, const float *x, const float *w, const float *bias,
                              float *y, sw_error *err) SW_MUST_CHECK;
sw_status sw_cpu_stem_backward_weights(sw_cpu *cpu, const sw_dnn_conv *shape, const float *x, const float *dy, float *dw,
                                       sw_error *err) SW_MUST_CHECK;

#endif
