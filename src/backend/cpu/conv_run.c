/* SPDX-License-Identifier: Apache-2.0 */
/* Which implementation runs a convolution: minimal filtering where it takes the shape (no sum there depends on threads);
 * then oneDNN, in fixed sub-batches where the result may not depend on the number of threads. */
#include "backend/cpu/direct.h"
#include "backend/cpu/stem.h"
#include "backend/cpu/winograd.h"

sw_status sw_cpu_conv_forward(sw_cpu *cpu, const sw_dnn_conv *shape, const void *x, const float *w,
                              const float *bias, void *y, sw_error *err)
{
    if (sw_cpu_wino_takes(cpu, shape)) return sw_cpu_wino_forward(cpu, shape, x, w, bias, y, err);
    if (sw_cpu_stem_takes(cpu, shape)) return sw_cpu_stem_forward(cpu, shape, x, w, bias, y, err);
    if (sw_cpu_direct_takes(cpu, shape)) return sw_cpu_direct_forward(cpu, shape, x, w, bias, y, err);
    if (cpu->lane) return sw_cpu_split_forward(cpu, shape, x, w, bias, y, err);
    return sw_dnn_conv_forward(cpu->dnn, shape, x, w, bias, y, err);
}

static sw_status data_elsewhere(sw_cpu *cpu, const sw_dnn_conv *shape, const void *dy, const float *w, void *dx,
                                sw_error *err)
{
    if (cpu->lane) return sw_cpu_split_backward_data(cpu, shape, dy, w, dx, err);
    return sw_dnn_conv_backward_data(cpu->dnn, shape, dy, w, dx, err);
}

sw_status sw_cpu_conv_backward_data(sw_cpu *cpu, const sw_dnn_conv *shape, const void *dy, const float *w, void *dx,
                                    bool add, sw_error *err)
{
    if (sw_cpu_wino_takes(cpu, shape)) return sw_cpu_wino_backward_data(cpu, shape, dy, w, dx, add, err);
    if (!add) return data_elsewhere(cpu, shape, dy, w, dx, err);
    void *result;
    int64_t count = shape->n * shape->c * shape->h * shape->w;
    sw_dtype dtype = shape->bf16 ? SW_BF16 : SW_F32;
    SW_TRY(sw_cpu_scratch(cpu, SW_SLOT_RESULT, (size_t)count * sw_dtype_size(dtype), &result, err));
    SW_TRY(data_elsewhere(cpu, shape, dy, w, result, err));
    sw_cpu_add_to_any(cpu, dtype, dx, result, count);
    return SW_OK;
}

sw_status sw_cpu_conv_backward_weights(sw_cpu *cpu, const sw_dnn_conv *shape, const void *x, const void *dy,
                                       float *dw, sw_error *err)
{
    if (sw_cpu_wino_takes(cpu, shape)) return sw_cpu_wino_backward_weights(cpu, shape, x, dy, dw, err);
    if (sw_cpu_stem_takes(cpu, shape)) return sw_cpu_stem_backward_weights(cpu, shape, x, dy, dw, err);
    if (cpu->lane) return sw_cpu_split_backward_weights(cpu, shape, x, dy, dw, err);
    return sw_dnn_conv_backward_weights(cpu->dnn, shape, x, dy, dw, err);
}
