/* SPDX-License-Identifier: Apache-2.0 */
/* Plain [n, c, h, w] and blocked [n, c/B, h, w, B]. */
#include <string.h>

#include "backend/cpu/cpu_internal.h"
#include "base/mem.h"

bool sw_cpu_can_block(const sw_cpu *cpu, const sw_shape *shape)
{
    return shape->rank == 4 && shape->dim[1] % cpu->block == 0;
}

/* One plane of `block` channels; runs of pixels small enough that both sides stay in the first cache. */
#define REORDER_PLANE(type)                                                                     \
    do {                                                                                        \
        const type *s_ = src;                                                                   \
        type *d_ = dst;                                                                         \
        for (int64_t first = 0; first < pixels; first += 64) {                                  \
            int64_t end = first + 64 < pixels ? first + 64 : pixels;                            \
            if (to_blocked)                                                                     \
                for (int64_t p = first; p < end; p++)                                           \
                    for (int64_t c = 0; c < block; c++) d_[p * block + c] = s_[c * pixels + p]; \
            else                                                                                \
                for (int64_t c = 0; c < block; c++)                                             \
                    for (int64_t p = first; p < end; p++) d_[c * pixels + p] = s_[p * block + c]; \
        }                                                                                       \
    } while (0)

static void reorder_plane(const void *src, void *dst, size_t element, int64_t pixels, int64_t block, bool to_blocked)
{
    if (element == 1) REORDER_PLANE(uint8_t);
    else if (element == 2) REORDER_PLANE(uint16_t);
    else REORDER_PLANE(float);
}

void sw_cpu_reorder(const sw_cpu *cpu, const sw_shape *shape, size_t element, const void *src, int src_layout,
                    void *dst, int dst_layout)
{
    if (src_layout == dst_layout) {
        memcpy(dst, src, (size_t)sw_shape_count(shape) * element);
        return;
    }
    int64_t block = cpu->block, pixels = shape->dim[2] * shape->dim[3];
    int64_t planes = shape->dim[0] * shape->dim[1] / block;
    size_t bytes = (size_t)(pixels * block) * element;
#pragma omp parallel for schedule(static) num_threads(cpu->base.threads) if (planes > 1)
    for (int64_t i = 0; i < planes; i++)
        reorder_plane((const char *)src + (size_t)i * bytes, (char *)dst + (size_t)i * bytes, element, pixels, block,
                      dst_layout == SW_CPU_BLOCKED);
}

sw_status sw_cpu_view_any(sw_cpu *cpu, const sw_tensor *t, int layout, sw_cpu_slot slot, const void **data,
                          sw_error *err)
{
    if (t->layout == layout) {
        *data = sw_cpu_mem(t);
        return SW_OK;
    }
    void *mem;
    SW_TRY(sw_cpu_scratch(cpu, slot, sw_tensor_bytes(t), &mem, err));
    sw_cpu_reorder(cpu, &t->shape, sw_dtype_size(t->dtype), sw_cpu_f32(t), t->layout, mem, layout);
    *data = mem;
    return SW_OK;
}

sw_status sw_cpu_view(sw_cpu *cpu, const sw_tensor *t, int layout, sw_cpu_slot slot, const float **data,
                      sw_error *err)
{
    const void *mem;
    SW_TRY(sw_cpu_view_any(cpu, t, layout, slot, &mem, err));
    *data = mem;
    return SW_OK;
}

sw_status sw_cpu_relayout(sw_cpu *cpu, sw_tensor *t, int layout, sw_error *err)
{
    if (t->layout == layout) return SW_OK;
    SW_AUTOFREE void *copy = sw_malloc(sw_tensor_bytes(t));
    if (!copy) return sw_nomem(err);
    sw_cpu_reorder(cpu, &t->shape, sw_dtype_size(t->dtype), sw_cpu_f32(t), t->layout, copy, layout);
    memcpy(sw_cpu_f32(t), copy, sw_tensor_bytes(t));
    t->layout = layout;
    return SW_OK;
}

sw_status sw_cpu_gradient_any(sw_cpu *cpu, sw_tensor *t, bool add, int layout, void **data, sw_error *err)
{
    if (add) SW_TRY(sw_cpu_relayout(cpu, t, layout, err));
    t->layout = layout;
    *data = sw_cpu_mem(t);
    return SW_OK;
}

sw_status sw_cpu_gradient(sw_cpu *cpu, sw_tensor *t, bool add, int layout, float **data, sw_error *err)
{
    void *mem;
    SW_TRY(sw_cpu_gradient_any(cpu, t, add, layout, &mem, err));
    *data = mem;
    return SW_OK;
}
