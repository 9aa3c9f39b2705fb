/* SPDX-License-Identifier: Apache-2.0 */
/* Max pool with a one-byte winner index, and the global average pool. */
#include "backend/cpu/cpu_internal.h"

static void pool_sizes(const sw_pool_attr *attr, const sw_shape *x, const sw_shape *y, int size[SW_POOL_SIZES])
{
    size[SW_POOL_H] = (int)x->dim[2];
    size[SW_POOL_W] = (int)x->dim[3];
    size[SW_POOL_OH] = (int)y->dim[2];
    size[SW_POOL_OW] = (int)y->dim[3];
    size[SW_POOL_WINDOW] = attr->window;
    size[SW_POOL_STRIDE] = attr->stride;
    size[SW_POOL_PAD] = attr->pad;
}

static void plain_pool(const float *x, float *y, uint8_t *index, const int *size)
{
    int h = size[SW_POOL_H], w = size[SW_POOL_W], window = size[SW_POOL_WINDOW], stride = size[SW_POOL_STRIDE];
    for (int oy = 0; oy < size[SW_POOL_OH]; oy++)
        for (int ox = 0; ox < size[SW_POOL_OW]; ox++, y++, index++) {
            int y0 = oy * stride - size[SW_POOL_PAD], x0 = ox * stride - size[SW_POOL_PAD];
            bool any = false;
            for (int ky = 0; ky < window; ky++)
                for (int kx = 0; kx < window; kx++) {
                    if (y0 + ky < 0 || y0 + ky >= h || x0 + kx < 0 || x0 + kx >= w) continue;
                    float value = x[(int64_t)(y0 + ky) * w + x0 + kx];
                    if (any && !(value > *y)) continue;
                    any = true;
                    *y = value;
                    *index = (uint8_t)(ky * window + kx);
                }
        }
}

static void plain_pool_grad(const float *dy, const uint8_t *index, float *dx, bool add, const int *size)
{
    int w = size[SW_POOL_W], window = size[SW_POOL_WINDOW];
    if (!add)
        for (int64_t i = 0; i < (int64_t)size[SW_POOL_H] * w; i++) dx[i] = 0;
    for (int oy = 0; oy < size[SW_POOL_OH]; oy++)
        for (int ox = 0; ox < size[SW_POOL_OW]; ox++, dy++, index++) {
            int iy = oy * size[SW_POOL_STRIDE] - size[SW_POOL_PAD] + *index / window;
            int ix = ox * size[SW_POOL_STRIDE] - size[SW_POOL_PAD] + *index % window;
            dx[(int64_t)iy * w + ix] += *dy;
        }
}

/* The one-byte index can name this many places of a window. */
static bool takes(const sw_pool_attr *attr)
{
    return attr->window <= 16;
}

sw_status sw_cpu_max_pool2d_forward(sw_backend *be, sw_forward_args *args, sw_error *err)
{
    sw_cpu *cpu = sw_cpu_of(be);
    const sw_tensor *x = args->in[0];
    sw_tensor *y = args->out[0], *index = args->out[1];
    if (!takes(args->attr)) return sw_cpu_ref_forward(cpu, SW_OP_MAX_POOL2D, args, err);
    int size[SW_POOL_SIZES];
    pool_sizes(args->attr, &x->shape, &y->shape, size);
    bool blocked = x->layout == SW_CPU_BLOCKED;
    int64_t width = blocked ? cpu->block : 1, planes = x->shape.dim[0] * x->shape.dim[1] / width;
    int64_t x_plane = width * x->shape.dim[2] * x->shape.dim[3], y_plane = width * y->shape.dim[2] * y->shape.dim[3];
    const float *x_data = sw_cpu_f32(x);
    float *y_data = sw_cpu_f32(y);
    uint8_t *index_data = (uint8_t *)sw_cpu_f32(index);
#pragma omp parallel for schedule(static) num_threads(cpu->base.threads)
    for (int64_t i = 0; i < planes; i++) {
        const float *from = x_data + i * x_plane;
        if (blocked) cpu->simd->max_pool(from, y_data + i * y_plane, index_data + i * y_plane, size);
        else plain_pool(from, y_data + i * y_plane, index_data + i * y_plane, size);
    }
    y->layout = index->layout = x->layout;
    return SW_OK;
}

/* Reads the winner index only, in the layout that forward left it in. */
sw_status sw_cpu_max_pool2d_backward(sw_backend *be, sw_backward_args *args, sw_error *err)
{
    sw_cpu *cpu = sw_cpu_of(be);
    const sw_tensor *dy = args->grad_out, *index = args->out[1];
    sw_tensor *dx = args->grad_in[0];
    if (!dx) return SW_OK;
    if (!takes(args->attr)) return sw_cpu_ref_backward(cpu, SW_OP_MAX_POOL2D, args, err);
    int size[SW_POOL_SIZES];
    pool_sizes(args->attr, &dx->shape, &dy->shape, size);
    bool blocked = index->layout == SW_CPU_BLOCKED, add = args->add[0];
    const float *dy_data;
    float *dx_data;
    SW_TRY(sw_cpu_view(cpu, dy, index->layout, SW_SLOT_DY, &dy_data, err));
    SW_TRY(sw_cpu_gradient(cpu, dx, add, index->layout, &dx_data, err));
    const uint8_t *index_data = (const uint8_t *)sw_cpu_f32(index);
    int64_t width = blocked ? cpu->block : 1, planes = dx->shape.dim[0] * dx->shape.dim[1] / width;
    int64_t x_plane = width * dx->shape.dim[2] * dx->shape.dim[3];
    int64_t y_plane = width * dy->shape.dim[2] * dy->shape.dim[3];
#pragma omp parallel for schedule(static) num_threads(cpu->base.threads)
    for (int64_t i = 0; i < planes; i++) {
        const float *from = dy_data + i * y_plane;
        const uint8_t *where = index_data + i * y_plane;
        if (blocked) cpu->simd->max_pool_grad(from, where, dx_data + i * x_plane, add, size);
        else plain_pool_grad(from, where, dx_data + i * x_plane, add, size);
    }
    return SW_OK;
}

sw_status sw_cpu_global_avg_pool_forward(sw_backend *be, sw_forward_args *args, sw_error *err)
{
    (void)err;
    sw_cpu *cpu = sw_cpu_of(be);
    const sw_tensor *x = args->in[0];
    int64_t width = x->layout == SW_CPU_BLOCKED ? cpu->block : 1, pixels = x->shape.dim[2] * x->shape.dim[3];
    int64_t planes = x->shape.dim[0] * x->shape.dim[1] / width;
    const float *x_data = sw_cpu_f32(x);
    float *y = sw_cpu_f32(args->out[0]);
#pragma omp parallel for schedule(static) num_threads(cpu->base.threads)
    for (int64_t i = 0; i < planes; i++) {
        double lane[SW_SPAN] = {0}, sum[SW_SPAN] = {0};
        cpu->simd->lane_sums(x_data + i * width * pixels, width * pixels, lane);
        for (int l = 0; l < SW_SPAN; l++) sum[l % width] += lane[l];
        for (int64_t c = 0; c < width; c++) y[i * width + c] = (float)(sum[c] / (double)pixels);
    }
    return SW_OK;
}

sw_status sw_cpu_global_avg_pool_backward(sw_backend *be, sw_backward_args *args, sw_error *err)
{
    sw_cpu *cpu = sw_cpu_of(be);
    sw_tensor *dx = args->grad_in[0];
    if (!dx) return SW_OK;
    bool add = args->add[0];
    /* Where channels allow, what comes before us is a blocked convolution. */
    int layout = add ? dx->layout : sw_cpu_can_block(cpu, &dx->shape) ? SW_CPU_BLOCKED : SW_CPU_PLAIN;
    float *dx_data;
    SW_TRY(sw_cpu_gradient(cpu, dx, add, layout, &dx_data, err));
    const float *dy = sw_cpu_f32(args->grad_out);
    int64_t width = layout == SW_CPU_BLOCKED ? cpu->block : 1, pixels = dx->shape.dim[2] * dx->shape.dim[3];
    int64_t planes = dx->shape.dim[0] * dx->shape.dim[1] / width;
    float factor = 1.0f / (float)pixels;
#pragma omp parallel for schedule(static) num_threads(cpu->base.threads)
    for (int64_t i = 0; i < planes; i++) {
        float *to = dx_data + i * width * pixels;
        for (int64_t p = 0; p < pixels; p++)
            for (int64_t c = 0; c < width; c++) {
                float g = dy[i * width + c] * factor;
                to[p * width + c] = add ? to[p * width + c] + g : g;
            }
    }
    return SW_OK;
}
