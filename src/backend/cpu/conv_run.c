/* SPDX-License-Identifier: Apache-2.0 */
/* Which implementation runs a convolution. */
#include "backend/cpu/cpu_internal.h"

sw_status sw_cpu_conv_forward(sw_cpu *cpu, const sw_dnn_conv *shape, const void *x, const float *w,
                              const float *bias, void *y, sw_error *err)
{
    if (cpu->lane) return sw_cpu_split_forward(cpu, shape, x, w, bias, y, err);
    return sw_dnn_conv_forward(cpu->dnn, shape, x, w, bias, y, err);
}

sw_status sw_cpu_conv_backward_data(sw_cpu *cpu, const sw_dnn_conv *shape, const void *dy, const float *w, void *dx,
                                    sw_error *err)
{
    if (cpu->lane) return sw_cpu_split_backward_data(cpu, shape, dy, w, dx, err);
    return sw_dnn_conv_backward_data(cpu->dnn, shape, dy, w, dx, err);
}

sw_status sw_cpu_conv_backward_weights(sw_cpu *cpu, const sw_dnn_conv *shape, const void *x, const void *dy,
                                       float *dw, sw_error *err)
{
    if (cpu->lane) return sw_cpu_split_backward_weights(cpu, shape, x, dy, dw, err);
    return sw_dnn_conv_backward_weights(cpu->dnn, shape, x, dy, dw, err);
}
