/* SPDX-License-Identifier: Apache-2.0 */
/* ReLU, GELU, add, mul and the in-place kernels on flat tensors. Work is cut into chunks of a fixed length. */
#include <math.h>
#include <string.h>

#include "backend/cpu/cpu_internal.h"

/* Runs `body` with `at` the first element of a chunk and `length` its elements. */
#define CHUNKS(cpu, count, at, length, body)                                                    \
    do {                                                                                        \
        (void)(cpu);                                                                            \
        int64_t chunks_ = ((count) + SW_CPU_CHUNK - 1) / SW_CPU_CHUNK;                          \
        PARALLEL_FOR(cpu, chunks_)                                                              \
        for (int64_t chunk_ = 0; chunk_ < chunks_; chunk_++) {                                  \
            int64_t at = chunk_ * SW_CPU_CHUNK;                                                 \
            int64_t length = (count) - at < SW_CPU_CHUNK ? (count) - at : SW_CPU_CHUNK;         \
            body;                                                                               \
        }                                                                                       \
    } while (0)
#ifdef _OPENMP
#define PRAGMA(text) _Pragma(#text)
#define PARALLEL_FOR(cpu, chunks) PRAGMA(omp parallel for schedule(static) num_threads((cpu)->base.threads) if ((chunks) > 1))
#else
#define PARALLEL_FOR(cpu, chunks)
#endif

void sw_cpu_add_to(const sw_cpu *cpu, float *dst, const float *src, int64_t count)
{
    CHUNKS(cpu, count, at, length, cpu->simd->add(dst + at, src + at, dst + at, length));
}

sw_status sw_cpu_relu_forward(sw_backend *be, sw_forward_args *args, sw_error *err)
{
    (void)err;
    const sw_cpu *cpu = sw_cpu_of(be);
    const float *x = sw_cpu_f32(args->in[0]);
    float *y = sw_cpu_f32(args->out[0]);
    CHUNKS(cpu, sw_tensor_count(args->in[0]), at, length, cpu->simd->relu(x + at, y + at, length));
    args->out[0]->layout = args->in[0]->layout;
    return SW_OK;
}

/* Reads the output: its sign is that of the input. */
sw_status sw_cpu_relu_backward(sw_backend *be, sw_backward_args *args, sw_error *err)
{
    sw_cpu *cpu = sw_cpu_of(be);
    if (!args->grad_in[0]) return SW_OK;
    const sw_tensor *y_tensor = args->out[0];
    const float *y = sw_cpu_f32(y_tensor), *dy;
    bool add = args->add[0];
    float *dx;
    SW_TRY(sw_cpu_view(cpu, args->grad_out, y_tensor->layout, SW_SLOT_DY, &dy, err));
    SW_TRY(sw_cpu_gradient(cpu, args->grad_in[0], add, y_tensor->layout, &dx, err));
    CHUNKS(cpu, sw_tensor_count(y_tensor), at, length, cpu->simd->masked(y + at, dy + at, dx + at, add, length));
    return SW_OK;
}

sw_status sw_cpu_gelu_forward(sw_backend *be, sw_forward_args *args, sw_error *err)
{
    (void)err;
    const sw_cpu *cpu = sw_cpu_of(be);
    const float *x = sw_cpu_f32(args->in[0]);
    float *y = sw_cpu_f32(args->out[0]);
    CHUNKS(cpu, sw_tensor_count(args->in[0]), at, length, cpu->simd->gelu(x + at, y + at, length));
    args->out[0]->layout = args->in[0]->layout;
    return SW_OK;
}

sw_status sw_cpu_gelu_backward(sw_backend *be, sw_backward_args *args, sw_error *err)
{
    sw_cpu *cpu = sw_cpu_of(be);
    if (!args->grad_in[0]) return SW_OK;
    const sw_tensor *x_tensor = args->in[0];
    const float *x = sw_cpu_f32(x_tensor), *dy;
    bool add = args->add[0];
    float *dx;
    SW_TRY(sw_cpu_view(cpu, args->grad_out, x_tensor->layout, SW_SLOT_DY, &dy, err));
    SW_TRY(sw_cpu_gradient(cpu, args->grad_in[0], add, x_tensor->layout, &dx, err));
    CHUNKS(cpu, sw_tensor_count(x_tensor), at, length, cpu->simd->gelu_grad(x + at, dy + at, dx + at, add, length));
    return SW_OK;
}

sw_status sw_cpu_add_forward(sw_backend *be, sw_forward_args *args, sw_error *err)
{
    sw_cpu *cpu = sw_cpu_of(be);
    const float *a = sw_cpu_f32(args->in[0]), *b;
    float *y = sw_cpu_f32(args->out[0]);
    SW_TRY(sw_cpu_view(cpu, args->in[1], args->in[0]->layout, SW_SLOT_Y, &b, err));
    CHUNKS(cpu, sw_tensor_count(args->in[0]), at, length, cpu->simd->add(a + at, b + at, y + at, length));
    args->out[0]->layout = args->in[0]->layout;
    return SW_OK;
}

sw_status sw_cpu_add_backward(sw_backend *be, sw_backward_args *args, sw_error *err)
{
    sw_cpu *cpu = sw_cpu_of(be);
    const float *dy = sw_cpu_f32(args->grad_out);
    int64_t count = sw_tensor_count(args->grad_out);
    for (int i = 0; i < 2; i++) {
        if (!args->grad_in[i]) continue;
        float *dx;
        SW_TRY(sw_cpu_gradient(cpu, args->grad_in[i], args->add[i], args->grad_out->layout, &dx, err));
        if (args->add[i]) sw_cpu_add_to(cpu, dx, dy, count);
        else CHUNKS(cpu, count, at, length, memcpy(dx + at, dy + at, (size_t)length * sizeof(float)));
    }
    return SW_OK;
}

sw_status sw_cpu_mul_forward(sw_backend *be, sw_forward_args *args, sw_error *err)
{
    sw_cpu *cpu = sw_cpu_of(be);
    const float *a = sw_cpu_f32(args->in[0]), *b;
    float *y = sw_cpu_f32(args->out[0]);
    SW_TRY(sw_cpu_view(cpu, args->in[1], args->in[0]->layout, SW_SLOT_Y, &b, err));
    CHUNKS(cpu, sw_tensor_count(args->in[0]), at, length, cpu->simd->mul(a + at, b + at, y + at, false, length));
    args->out[0]->layout = args->in[0]->layout;
    return SW_OK;
}

sw_status sw_cpu_mul_backward(sw_backend *be, sw_backward_args *args, sw_error *err)
{
    sw_cpu *cpu = sw_cpu_of(be);
    const float *dy = sw_cpu_f32(args->grad_out);
    int layout = args->grad_out->layout;
    int64_t count = sw_tensor_count(args->grad_out);
    for (int i = 0; i < 2; i++) {
        if (!args->grad_in[i]) continue;
        const float *other;
        bool add = args->add[i];
        float *dx;
        SW_TRY(sw_cpu_view(cpu, args->in[1 - i], layout, SW_SLOT_X, &other, err));
        SW_TRY(sw_cpu_gradient(cpu, args->grad_in[i], add, layout, &dx, err));
        CHUNKS(cpu, count, at, length, cpu->simd->mul(dy + at, other + at, dx + at, add, length));
    }
    return SW_OK;
}

/* --- in-place kernels: everything is plain here (the dispatcher saw to it) */

sw_status sw_cpu_fill_forward(sw_backend *be, sw_forward_args *args, sw_error *err)
{
    (void)err;
    const sw_cpu *cpu = sw_cpu_of(be);
    float value = (float)((const sw_fill_attr *)args->attr)->value, *y = sw_cpu_f32(args->out[0]);
    CHUNKS(cpu, sw_tensor_count(args->out[0]), at, length, {
        for (int64_t i = at; i < at + length; i++) y[i] = value;
    });
    return SW_OK;
}

sw_status sw_cpu_copy_forward(sw_backend *be, sw_forward_args *args, sw_error *err)
{
    (void)err;
    const sw_cpu *cpu = sw_cpu_of(be);
    const float *x = sw_cpu_f32(args->in[0]);
    float *y = sw_cpu_f32(args->out[0]);
    CHUNKS(cpu, sw_tensor_count(args->out[0]), at, length, memcpy(y + at, x + at, (size_t)length * sizeof(float)));
    return SW_OK;
}

sw_status sw_cpu_axpy_forward(sw_backend *be, sw_forward_args *args, sw_error *err)
{
    (void)err;
    const sw_cpu *cpu = sw_cpu_of(be);
    float factor = (float)((const sw_axpy_attr *)args->attr)->factor;
    const float *x = sw_cpu_f32(args->in[0]);
    float *y = sw_cpu_f32(args->out[0]);
    CHUNKS(cpu, sw_tensor_count(args->out[0]), at, length, cpu->simd->axpy(factor, x + at, y + at, length));
    return SW_OK;
}

sw_status sw_cpu_lerp_forward(sw_backend *be, sw_forward_args *args, sw_error *err)
{
    (void)err;
    const sw_cpu *cpu = sw_cpu_of(be);
    float factor = (float)((const sw_axpy_attr *)args->attr)->factor;
    const float *x = sw_cpu_f32(args->in[0]);
    float *y = sw_cpu_f32(args->out[0]);
    CHUNKS(cpu, sw_tensor_count(args->out[0]), at, length, cpu->simd->lerp(factor, x + at, y + at, length));
    return SW_OK;
}

/* in: gradient; out: parameter, first and second moment */
sw_status sw_cpu_adam_forward(sw_backend *be, sw_forward_args *args, sw_error *err)
{
    (void)err;
    const sw_cpu *cpu = sw_cpu_of(be);
    const sw_adam_attr *attr = args->attr;
    double correction1 = 1 - pow(attr->beta1, (double)attr->step), correction2 = 1 - pow(attr->beta2, (double)attr->step);
    sw_simd_adam a = {.decay = attr->decoupled ? (float)(1 - attr->lr * attr->weight_decay) : 1,
                      .wd = attr->decoupled ? 0 : (float)attr->weight_decay,
                      .grad_scale = (float)attr->grad_scale,
                      .beta1 = (float)attr->beta1,
                      .beta2 = (float)attr->beta2,
                      .step = (float)(attr->lr / correction1),
                      .root_scale = (float)(1 / sqrt(correction2)),
                      .eps = (float)attr->eps};
    const float *g = sw_cpu_f32(args->in[0]);
    float *p = sw_cpu_f32(args->out[0]), *m = sw_cpu_f32(args->out[1]), *v = sw_cpu_f32(args->out[2]);
    CHUNKS(cpu, sw_tensor_count(args->out[0]), at, length,
           cpu->simd->adam(&a, g + at, p + at, m + at, v + at, length));
    return SW_OK;
}

/* One sum per chunk, joined in order. */
sw_status sw_cpu_sum_squares_forward(sw_backend *be, sw_forward_args *args, sw_error *err)
{
    sw_cpu *cpu = sw_cpu_of(be);
    const float *x = sw_cpu_f32(args->in[0]);
    int64_t count = sw_tensor_count(args->in[0]), chunks = (count + SW_CPU_CHUNK - 1) / SW_CPU_CHUNK;
    void *mem;
    SW_TRY(sw_cpu_scratch(cpu, SW_SLOT_SUMS, (size_t)chunks * sizeof(double), &mem, err));
    double *part = mem, sum = 0;
    CHUNKS(cpu, count, at, length, part[at / SW_CPU_CHUNK] = cpu->simd->sum_squares(x + at, length));
    for (int64_t i = 0; i < chunks; i++) sum += part[i];
    if (args->out[0]->dtype == SW_F64) *(double *)(void *)sw_cpu_f32(args->out[0]) = sum;
    else *sw_cpu_f32(args->out[0]) = (float)sum;
    return SW_OK;
}
