/* SPDX-License-Identifier: Apache-2.0 */
/* Convolution: layouts and additions here; conv_run.c picks who does the work. */
#include "backend/cpu/cpu_internal.h"

/* Blocked on both sides where channels allow; a stem of up to four channels reads plain images and writes blocked;
 * the rest is plain. */
sw_dnn_conv sw_cpu_conv_shape(const sw_cpu *cpu, const sw_conv2d_attr *attr, const sw_tensor *x_tensor,
                              const sw_shape *w, const sw_shape *y)
{
    const sw_shape *x = &x_tensor->shape;
    sw_dnn_conv s = {.n = x->dim[0], .c = x->dim[1], .h = x->dim[2], .w = x->dim[3], .o = w->dim[0], .kh = w->dim[2],
                     .kw = w->dim[3], .oh = y->dim[2], .ow = y->dim[3], .stride = attr->stride, .pad = attr->pad,
                     .x_block = 1, .y_block = 1, .bf16 = x_tensor->dtype == SW_BF16};
    bool y_can = sw_cpu_can_block(cpu, y), x_can = sw_cpu_can_block(cpu, x);
    if (y_can && x_can) s.x_block = s.y_block = cpu->block;
    else if (y_can && s.c <= 4) s.y_block = cpu->block;
    return s;
}

sw_status sw_cpu_conv2d_forward(sw_backend *be, sw_forward_args *args, sw_error *err)
{
    sw_cpu *cpu = sw_cpu_of(be);
    const sw_tensor *x = args->in[0], *w = args->in[1];
    sw_tensor *y = args->out[0];
    sw_dnn_conv s = sw_cpu_conv_shape(cpu, args->attr, x, &w->shape, &y->shape);
    const void *x_data;
    const float *w_data;
    SW_TRY(sw_cpu_view_any(cpu, x, sw_cpu_layout_of(s.x_block), SW_SLOT_X, &x_data, err));
    SW_TRY(sw_cpu_view(cpu, w, SW_CPU_PLAIN, SW_SLOT_Y, &w_data, err));
    SW_TRY(sw_cpu_conv_forward(cpu, &s, x_data, w_data, NULL, sw_cpu_mem(y), err));
    y->layout = sw_cpu_layout_of(s.y_block);
    return SW_OK;
}

static sw_status conv_grad_data(sw_cpu *cpu, const sw_dnn_conv *s, const void *dy, const float *w, sw_tensor *dx,
                                bool add, sw_error *err)
{
    void *dx_data;
    SW_TRY(sw_cpu_gradient_any(cpu, dx, add, sw_cpu_layout_of(s->x_block), &dx_data, err));
    return sw_cpu_conv_backward_data(cpu, s, dy, w, dx_data, add, err);
}

static sw_status conv_grad_weights(sw_cpu *cpu, const sw_dnn_conv *s, const void *x, const void *dy, sw_tensor *dw,
                                   bool add, sw_error *err)
{
    float *dw_data;
    SW_TRY(sw_cpu_gradient(cpu, dw, add, SW_CPU_PLAIN, &dw_data, err));
    if (!add) return sw_cpu_conv_backward_weights(cpu, s, x, dy, dw_data, err);
    void *result;
    SW_TRY(sw_cpu_scratch(cpu, SW_SLOT_RESULT, sw_tensor_bytes(dw), &result, err));
    SW_TRY(sw_cpu_conv_backward_weights(cpu, s, x, dy, result, err));
    sw_cpu_add_to(cpu, dw_data, result, sw_tensor_count(dw));
    return SW_OK;
}

sw_status sw_cpu_conv2d_backward(sw_backend *be, sw_backward_args *args, sw_error *err)
{
    sw_cpu *cpu = sw_cpu_of(be);
    const sw_tensor *x = args->in[0], *w = args->in[1], *dy = args->grad_out;
    sw_dnn_conv s = sw_cpu_conv_shape(cpu, args->attr, x, &w->shape, &dy->shape);
    const void *x_data, *dy_data;
    const float *w_data;
    SW_TRY(sw_cpu_view_any(cpu, dy, sw_cpu_layout_of(s.y_block), SW_SLOT_DY, &dy_data, err));
    if (args->grad_in[1]) {
        SW_TRY(sw_cpu_view_any(cpu, x, sw_cpu_layout_of(s.x_block), SW_SLOT_X, &x_data, err));
        SW_TRY(conv_grad_weights(cpu, &s, x_data, dy_data, args->grad_in[1], args->add[1], err));
    }
    if (args->grad_in[0]) {
        SW_TRY(sw_cpu_view(cpu, w, SW_CPU_PLAIN, SW_SLOT_Y, &w_data, err));
        SW_TRY(conv_grad_data(cpu, &s, dy_data, w_data, args->grad_in[0], args->add[0], err));
    }
    return SW_OK;
}
