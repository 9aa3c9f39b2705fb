/* SPDX-License-Identifier: Apache-2.0 */
/* Our own 3x3 convolution of stride 1 and padding 1 in single precision, F(4x4, 3x3); oneDNN 3.2 and later has none. */
#ifndef SW_BACKEND_CPU_WINOGRAD_H
#define SW_BACKEND_CPU_WINOGRAD_H

#include "backend/cpu/cpu_internal.h"

/* Whether these kernels take the shape: 3x3, stride 1, padding 1, both sides blocked. */
bool sw_cpu_wino_takes(const sw_cpu *cpu, const sw_dnn_conv *shape);

/* x, y, dx, dy blocked; w, dw plain [o, c, 3, 3]. Results are overwritten, but for shape->sum
 * and `add`; shape->bias and shape->relu as in onednn.h. */
sw_status sw_cpu_wino_forward(sw_cpu *cpu, const sw_dnn_conv *shape, const float *x, const float *w, const float *bias,
                              float *y, sw_error *err) SW_MUST_CHECK;
sw_status sw_cpu_wino_backward_data(sw_cpu *cpu, const sw_dnn_conv *shape, const float *dy, const float *w, float *dx,
                                    bool add, sw_error *err) SW_MUST_CHECK;
sw_status sw_cpu_wino_backward_weights(sw_cpu *cpu, const sw_dnn_conv *shape, const float *x, const float *dy, float *dw,
                                       sw_error *err) SW_MUST_CHECK;

#endif
