/* SPDX-License-Identifier: Apache-2.0 */
/* Which implementation runs a convolution: minimal filtering where it takes the shape (no sum there depends on threads);
 * then oneDNN, in fixed sub-batches where the result may not depend on the number of threads. On a CPU for which oneDNN
 * has no bfloat16 at all it gets copies of the images as floats. */
#include "backend/cpu/direct.h"
#include "backend/cpu/stem.h"
#include "backend/cpu/winograd.h"

/* Scratch memory for `count` floats: the values of `images`, or (NULL) anything. */
static sw_status widen(sw_cpu *cpu, sw_cpu_slot slot, const void *images, int64_t count, void **wide, sw_error *err)
{
    SW_TRY(sw_cpu_scratch(cpu, slot, (size_t)count * sizeof(float), wide, err));
    if (images) sw_cpu_convert(cpu, images, SW_BF16, *wide, SW_F32, count);
    return SW_OK;
}

/* Whether oneDNN is to be asked at all, and whether its answer stands. */
static bool asks(const sw_cpu *cpu, const sw_dnn_conv *shape)
{
    return !shape->bf16 || !cpu->lacks_bf16;
}
static bool stands(sw_cpu *cpu, const sw_dnn_conv *shape, sw_status status)
{
    cpu->lacks_bf16 = cpu->lacks_bf16 || (shape->bf16 && status == SW_E_UNSUPPORTED);
    return asks(cpu, shape);
}

static int64_t x_count(const sw_dnn_conv *s)
{
    return s->n * s->c * s->h * s->w;
}
static int64_t y_count(const sw_dnn_conv *s)
{
    return s->n * s->o * s->oh * s->ow;
}

static sw_status forward_elsewhere(sw_cpu *cpu, const sw_dnn_conv *shape, const void *x, const float *w,
                                   const float *bias, void *y, sw_error *err)
{
    if (asks(cpu, shape)) {
        sw_status status = cpu->lane ? sw_cpu_split_forward(cpu, shape, x, w, bias, y, err)
                                     : sw_dnn_conv_forward(cpu->dnn, shape, x, w, bias, y, err);
        if (stands(cpu, shape, status)) return status;
    }
    sw_dnn_conv s = *shape;
    void *wide_x, *wide_y;
    s.bf16 = 0;
    SW_TRY(widen(cpu, SW_SLOT_WIDE_X, x, x_count(&s), &wide_x, err));
    SW_TRY(widen(cpu, SW_SLOT_WIDE_Y, s.sum ? y : NULL, y_count(&s), &wide_y, err));
    SW_TRY(forward_elsewhere(cpu, &s, wide_x, w, bias, wide_y, err));
    sw_cpu_convert(cpu, wide_y, SW_F32, y, SW_BF16, y_count(&s));
    return SW_OK;
}

sw_status sw_cpu_conv_forward(sw_cpu *cpu, const sw_dnn_conv *shape, const void *x, const float *w,
                              const float *bias, void *y, sw_error *err)
{
    if (sw_cpu_wino_takes(cpu, shape)) return sw_cpu_wino_forward(cpu, shape, x, w, bias, y, err);
    if (sw_cpu_stem_takes(cpu, shape)) return sw_cpu_stem_forward(cpu, shape, x, w, bias, y, err);
    if (sw_cpu_direct_takes(cpu, shape)) return sw_cpu_direct_forward(cpu, shape, x, w, bias, y, err);
    return forward_elsewhere(cpu, shape, x, w, bias, y, err);
}

static sw_status data_elsewhere(sw_cpu *cpu, const sw_dnn_conv *shape, const void *dy, const float *w, void *dx,
                                sw_error *err)
{
    if (asks(cpu, shape)) {
        sw_status status = cpu->lane ? sw_cpu_split_backward_data(cpu, shape, dy, w, dx, err)
                                     : sw_dnn_conv_backward_data(cpu->dnn, shape, dy, w, dx, err);
        if (stands(cpu, shape, status)) return status;
    }
    sw_dnn_conv s = *shape;
    void *wide_dy, *wide_dx;
    s.bf16 = 0;
    SW_TRY(widen(cpu, SW_SLOT_WIDE_Y, dy, y_count(&s), &wide_dy, err));
    SW_TRY(widen(cpu, SW_SLOT_WIDE_X, NULL, x_count(&s), &wide_dx, err));
    SW_TRY(data_elsewhere(cpu, &s, wide_dy, w, wide_dx, err));
    sw_cpu_convert(cpu, wide_dx, SW_F32, dx, SW_BF16, x_count(&s));
    return SW_OK;
}

sw_status sw_cpu_conv_backward_data(sw_cpu *cpu, const sw_dnn_conv *shape, const void *dy, const float *w, void *dx,
                                    bool add, sw_error *err)
{
    if (sw_cpu_wino_takes(cpu, shape)) return sw_cpu_wino_backward_data(cpu, shape, dy, w, dx, add, err);
    if (!add) return data_elsewhere(cpu, shape, dy, w, dx, err);
    void *result;
    int64_t count = x_count(shape);
    sw_dtype dtype = shape->bf16 ? SW_BF16 : SW_F32;
    SW_TRY(sw_cpu_scratch(cpu, SW_SLOT_RESULT, (size_t)count * sw_dtype_size(dtype), &result, err));
    SW_TRY(data_elsewhere(cpu, shape, dy, w, result, err));
    sw_cpu_add_to_any(cpu, dtype, dx, result, count);
    return SW_OK;
}

static sw_status weights_elsewhere(sw_cpu *cpu, const sw_dnn_conv *shape, const void *x, const void *dy, float *dw,
                                   sw_error *err)
{
    if (asks(cpu, shape)) {
        sw_status status = cpu->lane ? sw_cpu_split_backward_weights(cpu, shape, x, dy, dw, err)
                                     : sw_dnn_conv_backward_weights(cpu->dnn, shape, x, dy, dw, err);
        if (stands(cpu, shape, status)) return status;
    }
    sw_dnn_conv s = *shape;
    void *wide_x, *wide_dy;
    s.bf16 = 0;
    SW_TRY(widen(cpu, SW_SLOT_WIDE_X, x, x_count(&s), &wide_x, err));
    SW_TRY(widen(cpu, SW_SLOT_WIDE_Y, dy, y_count(&s), &wide_dy, err));
    return weights_elsewhere(cpu, &s, wide_x, wide_dy, dw, err);
}

sw_status sw_cpu_conv_backward_weights(sw_cpu *cpu, const sw_dnn_conv *shape, const void *x, const void *dy,
                                       float *dw, sw_error *err)
{
    if (sw_cpu_wino_takes(cpu, shape)) return sw_cpu_wino_backward_weights(cpu, shape, x, dy, dw, err);
    if (sw_cpu_stem_takes(cpu, shape)) return sw_cpu_stem_backward_weights(cpu, shape, x, dy, dw, err);
    return weights_elsewhere(cpu, shape, x, dy, dw, err);
}
