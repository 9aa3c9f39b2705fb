/* SPDX-License-Identifier: Apache-2.0 */
/* Our own 3x3 convolution of stride 1 and padding 1 F(4x4, 3x3), on float or bfloat16 images with arithmetic in float;
 * oneDNN 3.2 and later has none for float. */
#ifndef SW_BACKEND_CPU_WINOGRAD_H
#define SW_BACKEND_CPU_WINOGRAD_H

#include "backend/cpu/cpu_internal.h"

/* Whether these kernels take the shape: 3x3, stride 1, padding 1, both sides blocked. */
bool sw_cpu_wino_takes(const sw_cpu *cpu, const sw_dnn_conv *shape);

/* x, y, dx, dy blocked; w, dw plain [o, c, 3, 3]. Results are overwritten, but for shape->sum
 * and `add`; shape->bias and shape->relu as in onednn.h. */
sw_status sw_cpu_wino_forward(sw_cpu *cpu, const sw_dnn_conv *shape, const void *x, const float *w, const float *bias,
                              void *y, sw_error *err) SW_MUST_CHECK;
sw_status sw_cpu_wino_backward_data(sw_cpu *cpu, const sw_dnn_conv *shape, const void *dy, const float *w, void *dx,
                                    bool add, sw_error *err) SW_MUST_CHECK;
sw_status sw_cpu_wino_backward_weights(sw_cpu *cpu, const sw_dnn_conv *shape, const void *x, const void *dy, float *dw,
                                       sw_error *err) SW_MUST_CHECK;

#endif
