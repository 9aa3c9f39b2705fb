/* SPDX-License-Identifier: Apache-2.0 */
/* Max pool with a one-byte winner index, and the global average pool. */
#include "backend/cpu/cpu_internal.h"
#include "tensor/convert.h"

void sw_cpu_pool_sizes(const sw_pool_attr *attr, const sw_shape *x, const sw_shape *y, int size[SW_POOL_SIZES])
{
    size[SW_POOL_H] = (int)x->dim[2];
    size[SW_POOL_W] = (int)x->dim[3];
    size[SW_POOL_OH] = (int)y->dim[2];
    size[SW_POOL_OW] = (int)y->dim[3];
    size[SW_POOL_WINDOW] = attr->window;
    size[SW_POOL_STRIDE] = attr->stride;
    size[SW_POOL_PAD] = attr->pad;
}

/* Element i of data of float or bfloat16. */
static inline float get(const void *data, sw_dtype dtype, int64_t i)
{
    return dtype == SW_BF16 ? sw_bf16_to_f32(((const uint16_t *)data)[i]) : ((const float *)data)[i];
}

static inline void put(void *data, sw_dtype dtype, int64_t i, float value)
{
    if (dtype == SW_BF16) ((uint16_t *)data)[i] = sw_bf16_from_f32(value);
    else ((float *)data)[i] = value;
}

static void plain_pool(const void *x, sw_dtype dtype, void *y, uint8_t *index, const int *size)
{
    int h = size[SW_POOL_H], w = size[SW_POOL_W], window = size[SW_POOL_WINDOW], stride = size[SW_POOL_STRIDE];
    int64_t o = 0;
    for (int oy = 0; oy < size[SW_POOL_OH]; oy++)
        for (int ox = 0; ox < size[SW_POOL_OW]; ox++, o++) {
            int y0 = oy * stride - size[SW_POOL_PAD], x0 = ox * stride - size[SW_POOL_PAD];
            bool any = false;
            float best = 0;
            for (int ky = 0; ky < window; ky++)
                for (int kx = 0; kx < window; kx++) {
                    if (y0 + ky < 0 || y0 + ky >= h || x0 + kx < 0 || x0 + kx >= w) continue;
                    float value = get(x, dtype, (int64_t)(y0 + ky) * w + x0 + kx);
                    if (any && !(value > best)) continue;
                    any = true;
                    best = value;
                    index[o] = (uint8_t)(ky * window + kx);
                }
            put(y, dtype, o, best);
        }
}

/* Each input gathers from the windows it lies in: one rounding, whatever the type. */
static void plain_pool_grad(const void *dy, sw_dtype dtype, const uint8_t *index, void *dx, bool add, const int *size)
{
    int w = size[SW_POOL_W], ow = size[SW_POOL_OW], window = size[SW_POOL_WINDOW];
    int stride = size[SW_POOL_STRIDE], pad = size[SW_POOL_PAD];
    for (int iy = 0; iy < size[SW_POOL_H]; iy++) {
        int oy0, oy1, ox0, ox1;
        sw_pool_covering(iy, pad, window, stride, size[SW_POOL_OH], &oy0, &oy1);
        for (int ix = 0; ix < w; ix++) {
            int64_t i = (int64_t)iy * w + ix;
            float sum = add ? get(dx, dtype, i) : 0;
            sw_pool_covering(ix, pad, window, stride, ow, &ox0, &ox1);
            for (int oy = oy0; oy < oy1; oy++)
                for (int ox = ox0; ox < ox1; ox++) {
                    int64_t o = (int64_t)oy * ow + ox;
                    int mine = (iy + pad - oy * stride) * window + ix + pad - ox * stride;
                    if (index[o] == mine) sum += get(dy, dtype, o);
                }
            put(dx, dtype, i, sum);
        }
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
    sw_cpu_pool_sizes(args->attr, &x->shape, &y->shape, size);
    bool blocked = x->layout == SW_CPU_BLOCKED;
    int64_t width = blocked ? cpu->block : 1, planes = x->shape.dim[0] * x->shape.dim[1] / width;
    int64_t x_plane = width * x->shape.dim[2] * x->shape.dim[3], y_plane = width * y->shape.dim[2] * y->shape.dim[3];
    int64_t element = (int64_t)sw_dtype_size(x->dtype);
    const sw_simd_typed *simd = sw_cpu_typed(cpu, x->dtype);
    const char *x_data = sw_cpu_mem(x);
    char *y_data = sw_cpu_mem(y);
    uint8_t *index_data = sw_cpu_mem(index);
#pragma omp parallel for schedule(static) num_threads(cpu->base.threads)
    for (int64_t i = 0; i < planes; i++) {
        const char *from = x_data + i * x_plane * element;
        char *to = y_data + i * y_plane * element;
        if (blocked) simd->max_pool(from, to, index_data + i * y_plane, size);
        else plain_pool(from, x->dtype, to, index_data + i * y_plane, size);
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
    sw_cpu_pool_sizes(args->attr, &dx->shape, &dy->shape, size);
    bool blocked = index->layout == SW_CPU_BLOCKED, add = args->add[0];
    int64_t element = (int64_t)sw_dtype_size(dx->dtype);
    const sw_simd_typed *simd = sw_cpu_typed(cpu, dx->dtype);
    const void *dy_data;
    void *dx_data;
    SW_TRY(sw_cpu_view_any(cpu, dy, index->layout, SW_SLOT_DY, &dy_data, err));
    SW_TRY(sw_cpu_gradient_any(cpu, dx, add, index->layout, &dx_data, err));
    const uint8_t *index_data = sw_cpu_mem(index);
    int64_t width = blocked ? cpu->block : 1, planes = dx->shape.dim[0] * dx->shape.dim[1] / width;
    int64_t x_plane = width * dx->shape.dim[2] * dx->shape.dim[3];
    int64_t y_plane = width * dy->shape.dim[2] * dy->shape.dim[3];
#pragma omp parallel for schedule(static) num_threads(cpu->base.threads)
    for (int64_t i = 0; i < planes; i++) {
        const char *from = (const char *)dy_data + i * y_plane * element;
        char *to = (char *)dx_data + i * x_plane * element;
        const uint8_t *where = index_data + i * y_plane;
        if (blocked) simd->max_pool_grad(from, where, to, add, size);
        else plain_pool_grad(from, dx->dtype, where, to, add, size);
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
    int64_t bytes = width * pixels * (int64_t)sw_dtype_size(x->dtype);
    const sw_simd_typed *simd = sw_cpu_typed(cpu, x->dtype);
    const char *x_data = sw_cpu_mem(x);
    float *y = sw_cpu_f32(args->out[0]); /* float also where x is bfloat16 */
#pragma omp parallel for schedule(static) num_threads(cpu->base.threads)
    for (int64_t i = 0; i < planes; i++) {
        double lane[SW_SPAN] = {0}, sum[SW_SPAN] = {0};
        simd->lane_sums(x_data + i * bytes, width * pixels, lane);
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
    void *dx_data;
    SW_TRY(sw_cpu_gradient_any(cpu, dx, add, layout, &dx_data, err));
    const float *dy = sw_cpu_f32(args->grad_out);
    int64_t width = layout == SW_CPU_BLOCKED ? cpu->block : 1, pixels = dx->shape.dim[2] * dx->shape.dim[3];
    int64_t planes = dx->shape.dim[0] * dx->shape.dim[1] / width;
    float factor = 1.0f / (float)pixels;
#pragma omp parallel for schedule(static) num_threads(cpu->base.threads)
    for (int64_t i = 0; i < planes; i++) {
        int64_t first = i * width * pixels;
        for (int64_t p = 0; p < pixels; p++)
            for (int64_t c = 0; c < width; c++) {
                float g = dy[i * width + c] * factor;
                int64_t to = first + p * width + c;
                put(dx_data, dx->dtype, to, add ? get(dx_data, dx->dtype, to) + g : g);
            }
    }
    return SW_OK;
}
