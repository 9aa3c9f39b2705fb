/* SPDX-License-Identifier: Apache-2.0 */
/* Convolution with batch norm folded into weights and bias, residual and ReLU: for passes without a gradient. */
#include <math.h>

#include "backend/cpu/cpu_internal.h"

/* in: x, w, gain, offset, running_mean, running_var, residual|NULL */
enum { X, W, GAIN, OFFSET, MEAN, VAR, RESIDUAL };

/* Weights times gain / deviation, and what is left of the offset as a bias. */
static sw_status fold(sw_cpu *cpu, const sw_forward_args *args, const float *w, const float **folded,
                      const float **bias, sw_error *err)
{
    const sw_conv_norm_attr *attr = args->attr;
    int64_t channels = args->in[W]->shape.dim[0], each = sw_tensor_count(args->in[W]) / channels;
    const float *gain = sw_cpu_f32(args->in[GAIN]), *offset = sw_cpu_f32(args->in[OFFSET]);
    const float *mean = sw_cpu_f32(args->in[MEAN]), *var = sw_cpu_f32(args->in[VAR]);
    void *mem;
    SW_TRY(sw_cpu_scratch(cpu, SW_SLOT_SUMS, (size_t)(channels * (each + 1)) * sizeof(float), &mem, err));
    float *to = mem, *rest = to + channels * each;
#pragma omp parallel for schedule(static) num_threads(cpu->base.threads) if (channels * each > SW_CPU_CHUNK)
    for (int64_t o = 0; o < channels; o++) {
        double scale = (double)gain[o] / sqrt((double)var[o] + attr->eps);
        float factor = (float)scale;
        for (int64_t i = o * each; i < (o + 1) * each; i++) to[i] = w[i] * factor;
        rest[o] = (float)((double)offset[o] - (double)mean[o] * scale);
    }
    *folded = to;
    *bias = rest;
    return SW_OK;
}

/* Puts the residual into y, where the convolution is added to it. y may have the residual's memory already. */
static sw_status lay_residual(sw_cpu *cpu, const sw_tensor *residual, sw_tensor *y, int layout, sw_error *err)
{
    if (sw_cpu_mem(y) == sw_cpu_mem(residual)) {
        y->layout = residual->layout;
        return sw_cpu_relayout(cpu, y, layout, err);
    }
    sw_cpu_reorder(cpu, &y->shape, sw_dtype_size(y->dtype), sw_cpu_mem(residual), residual->layout, sw_cpu_mem(y),
                   layout);
    return SW_OK;
}

sw_status sw_cpu_conv_norm_forward(sw_backend *be, sw_forward_args *args, sw_error *err)
{
    sw_cpu *cpu = sw_cpu_of(be);
    const sw_conv_norm_attr *attr = args->attr;
    const sw_tensor *x = args->in[X], *w = args->in[W];
    sw_tensor *y = args->out[0];
    sw_dnn_conv s = sw_cpu_conv_shape(cpu, &attr->conv, x, &w->shape, &y->shape);
    s.bias = 1;
    s.relu = attr->relu;
    s.sum = args->in[RESIDUAL] != NULL;
    const void *x_data;
    const float *w_data, *folded, *bias;
    SW_TRY(sw_cpu_view_any(cpu, x, sw_cpu_layout_of(s.x_block), SW_SLOT_X, &x_data, err));
    SW_TRY(sw_cpu_view(cpu, w, SW_CPU_PLAIN, SW_SLOT_Y, &w_data, err));
    SW_TRY(fold(cpu, args, w_data, &folded, &bias, err));
    if (s.sum) SW_TRY(lay_residual(cpu, args->in[RESIDUAL], y, sw_cpu_layout_of(s.y_block), err));
    y->layout = sw_cpu_layout_of(s.y_block);
    return sw_cpu_conv_forward(cpu, &s, x_data, folded, bias, sw_cpu_mem(y), err);
}
