/* SPDX-License-Identifier: Apache-2.0 */
/* ReLU, GELU, tanh, sigmoid, dropout, scale, add, mul, cast and the in-place kernels on flat tensors. Work is cut into chunks of a fixed length. */
#include <math.h>
#include <string.h>

#include "backend/cpu/cpu_internal.h"
#include "backend/dropout.h"

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

/* Element `at` of data whose elements have `size` bytes. */
#define AT(data, at, size) ((char *)(data) + (size_t)(at) * (size))
#define CAT(data, at, size) ((const char *)(data) + (size_t)(at) * (size))

void sw_cpu_add_to(const sw_cpu *cpu, float *dst, const float *src, int64_t count)
{
    CHUNKS(cpu, count, at, length, cpu->simd->f32->add(dst + at, src + at, dst + at, length));
}

void sw_cpu_add_to_any(const sw_cpu *cpu, sw_dtype dtype, void *dst, const void *src, int64_t count)
{
    const sw_simd_typed *simd = sw_cpu_typed(cpu, dtype);
    size_t size = sw_dtype_size(dtype);
    CHUNKS(cpu, count, at, length, simd->add(AT(dst, at, size), CAT(src, at, size), AT(dst, at, size), length));
}

sw_status sw_cpu_relu_forward(sw_backend *be, sw_forward_args *args, sw_error *err)
{
    (void)err;
    const sw_cpu *cpu = sw_cpu_of(be);
    const sw_simd_typed *simd = sw_cpu_typed(cpu, args->in[0]->dtype);
    size_t size = sw_dtype_size(args->in[0]->dtype);
    const void *x = sw_cpu_mem(args->in[0]);
    void *y = sw_cpu_mem(args->out[0]);
    CHUNKS(cpu, sw_tensor_count(args->in[0]), at, length, simd->relu(CAT(x, at, size), AT(y, at, size), length));
    args->out[0]->layout = args->in[0]->layout;
    return SW_OK;
}

/* Reads the output: its sign is that of the input. */
sw_status sw_cpu_relu_backward(sw_backend *be, sw_backward_args *args, sw_error *err)
{
    sw_cpu *cpu = sw_cpu_of(be);
    if (!args->grad_in[0]) return SW_OK;
    const sw_tensor *y_tensor = args->out[0];
    const sw_simd_typed *simd = sw_cpu_typed(cpu, y_tensor->dtype);
    size_t size = sw_dtype_size(y_tensor->dtype);
    const void *y = sw_cpu_mem(y_tensor), *dy;
    bool add = args->add[0];
    void *dx;
    SW_TRY(sw_cpu_view_any(cpu, args->grad_out, y_tensor->layout, SW_SLOT_DY, &dy, err));
    SW_TRY(sw_cpu_gradient_any(cpu, args->grad_in[0], add, y_tensor->layout, &dx, err));
    CHUNKS(cpu, sw_tensor_count(y_tensor), at, length,
           simd->masked(CAT(y, at, size), CAT(dy, at, size), AT(dx, at, size), add, length));
    return SW_OK;
}

static sw_simd_dropout dropout_of(const sw_dropout_attr *attr)
{
    return (sw_simd_dropout){.key = {(uint32_t)attr->seed, (uint32_t)(attr->seed >> 32)}, .step = attr->step, .site = attr->site,
                             .below = (uint64_t)ceil(attr->rate * 4294967296.0), .factor = 1.0 / (1.0 - attr->rate)};
}

/* Chunks begin with a draw. */
static void drop(const sw_cpu *cpu, const sw_dropout_attr *attr, const float *x, float *y, bool add, int64_t count)
{
    sw_simd_dropout d = dropout_of(attr);
    CHUNKS(cpu, count, at, length,
           cpu->simd->dropout(&d, (uint32_t)(at / SW_DROPOUT_GROUP), x + at, y + at, add, length));
}

sw_status sw_cpu_dropout_forward(sw_backend *be, sw_forward_args *args, sw_error *err)
{
    (void)err;
    drop(sw_cpu_of(be), args->attr, sw_cpu_f32(args->in[0]), sw_cpu_f32(args->out[0]), false, sw_tensor_count(args->in[0]));
    return SW_OK;
}

sw_status sw_cpu_dropout_backward(sw_backend *be, sw_backward_args *args, sw_error *err)
{
    (void)err;
    if (!args->grad_in[0]) return SW_OK;
    drop(sw_cpu_of(be), args->attr, sw_cpu_f32(args->grad_out), sw_cpu_f32(args->grad_in[0]), args->add[0],
         sw_tensor_count(args->grad_out));
    return SW_OK;
}

sw_status sw_cpu_tanh_forward(sw_backend *be, sw_forward_args *args, sw_error *err)
{
    (void)err;
    const sw_cpu *cpu = sw_cpu_of(be);
    const float *x = sw_cpu_f32(args->in[0]);
    float *y = sw_cpu_f32(args->out[0]);
    CHUNKS(cpu, sw_tensor_count(args->in[0]), at, length, cpu->simd->tanh(x + at, y + at, length));
    return SW_OK;
}

sw_status sw_cpu_sigmoid_forward(sw_backend *be, sw_forward_args *args, sw_error *err)
{
    (void)err;
    const sw_cpu *cpu = sw_cpu_of(be);
    const float *x = sw_cpu_f32(args->in[0]);
    float *y = sw_cpu_f32(args->out[0]);
    CHUNKS(cpu, sw_tensor_count(args->in[0]), at, length, cpu->simd->sigmoid(x + at, y + at, length));
    return SW_OK;
}

static float scale_of(const void *attr, const sw_tensor *s)
{
    return s ? *sw_cpu_f32(s) : (float)((const sw_scale_attr *)attr)->factor;
}

/* in: x, factor of one element|NULL */
sw_status sw_cpu_scale_forward(sw_backend *be, sw_forward_args *args, sw_error *err)
{
    (void)err;
    const sw_cpu *cpu = sw_cpu_of(be);
    float factor = scale_of(args->attr, args->in[1]);
    const float *x = sw_cpu_f32(args->in[0]);
    float *y = sw_cpu_f32(args->out[0]);
    CHUNKS(cpu, sw_tensor_count(args->in[0]), at, length, cpu->simd->scale(factor, x + at, y + at, false, length));
    return SW_OK;
}

sw_status sw_cpu_scale_backward(sw_backend *be, sw_backward_args *args, sw_error *err)
{
    sw_cpu *cpu = sw_cpu_of(be);
    float factor = scale_of(args->attr, args->in[1]);
    const float *x = sw_cpu_f32(args->in[0]), *dy = sw_cpu_f32(args->grad_out);
    int64_t count = sw_tensor_count(args->grad_out), chunks = (count + SW_CPU_CHUNK - 1) / SW_CPU_CHUNK;
    if (args->grad_in[0]) {
        float *dx = sw_cpu_f32(args->grad_in[0]);
        bool add = args->add[0];
        CHUNKS(cpu, count, at, length, cpu->simd->scale(factor, dy + at, dx + at, add, length));
    }
    if (!args->grad_in[1]) return SW_OK;
    void *mem;
    SW_TRY(sw_cpu_scratch(cpu, SW_SLOT_SUMS, (size_t)chunks * sizeof(double), &mem, err));
    double *part = mem, sum = 0;
    CHUNKS(cpu, count, at, length, part[at / SW_CPU_CHUNK] = cpu->simd->dot(x + at, dy + at, length));
    for (int64_t i = 0; i < chunks; i++) sum += part[i];
    float *ds = sw_cpu_f32(args->grad_in[1]);
    *ds = (float)(args->add[1] ? (double)*ds + sum : sum);
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

sw_status sw_cpu_silu_forward(sw_backend *be, sw_forward_args *args, sw_error *err)
{
    (void)err;
    const sw_cpu *cpu = sw_cpu_of(be);
    const float *x = sw_cpu_f32(args->in[0]);
    float *y = sw_cpu_f32(args->out[0]);
    CHUNKS(cpu, sw_tensor_count(args->in[0]), at, length, cpu->simd->silu(x + at, y + at, length));
    args->out[0]->layout = args->in[0]->layout;
    return SW_OK;
}

sw_status sw_cpu_silu_backward(sw_backend *be, sw_backward_args *args, sw_error *err)
{
    sw_cpu *cpu = sw_cpu_of(be);
    if (!args->grad_in[0]) return SW_OK;
    const sw_tensor *x_tensor = args->in[0];
    const float *x = sw_cpu_f32(x_tensor), *dy;
    bool add = args->add[0];
    float *dx;
    SW_TRY(sw_cpu_view(cpu, args->grad_out, x_tensor->layout, SW_SLOT_DY, &dy, err));
    SW_TRY(sw_cpu_gradient(cpu, args->grad_in[0], add, x_tensor->layout, &dx, err));
    CHUNKS(cpu, sw_tensor_count(x_tensor), at, length, cpu->simd->silu_grad(x + at, dy + at, dx + at, add, length));
    return SW_OK;
}

sw_status sw_cpu_add_forward(sw_backend *be, sw_forward_args *args, sw_error *err)
{
    sw_cpu *cpu = sw_cpu_of(be);
    const sw_simd_typed *simd = sw_cpu_typed(cpu, args->in[0]->dtype);
    size_t size = sw_dtype_size(args->in[0]->dtype);
    const void *a = sw_cpu_mem(args->in[0]), *b;
    void *y = sw_cpu_mem(args->out[0]);
    SW_TRY(sw_cpu_view_any(cpu, args->in[1], args->in[0]->layout, SW_SLOT_Y, &b, err));
    CHUNKS(cpu, sw_tensor_count(args->in[0]), at, length,
           simd->add(CAT(a, at, size), CAT(b, at, size), AT(y, at, size), length));
    args->out[0]->layout = args->in[0]->layout;
    return SW_OK;
}

sw_status sw_cpu_add_backward(sw_backend *be, sw_backward_args *args, sw_error *err)
{
    sw_cpu *cpu = sw_cpu_of(be);
    const void *dy = sw_cpu_mem(args->grad_out);
    int64_t count = sw_tensor_count(args->grad_out);
    size_t size = sw_dtype_size(args->grad_out->dtype);
    for (int i = 0; i < 2; i++) {
        if (!args->grad_in[i]) continue;
        void *dx;
        SW_TRY(sw_cpu_gradient_any(cpu, args->grad_in[i], args->add[i], args->grad_out->layout, &dx, err));
        if (args->add[i]) sw_cpu_add_to_any(cpu, args->grad_out->dtype, dx, dy, count);
        else CHUNKS(cpu, count, at, length, memcpy(AT(dx, at, size), CAT(dy, at, size), (size_t)length * size));
    }
    return SW_OK;
}

void sw_cpu_convert(const sw_cpu *cpu, const void *x, sw_dtype from, void *y, sw_dtype to, int64_t count)
{
    size_t x_size = sw_dtype_size(from), y_size = sw_dtype_size(to);
    CHUNKS(cpu, count, at, length, {
        const void *part = CAT(x, at, x_size);
        void *result = AT(y, at, y_size);
        if (from == to) memcpy(result, part, (size_t)length * x_size);
        else if (to == SW_BF16) cpu->simd->to_bf16(part, result, length);
        else cpu->simd->from_bf16(part, result, length);
    });
}

sw_status sw_cpu_cast_forward(sw_backend *be, sw_forward_args *args, sw_error *err)
{
    (void)err;
    const sw_tensor *x = args->in[0];
    sw_tensor *y = args->out[0];
    sw_cpu_convert(sw_cpu_of(be), sw_cpu_mem(x), x->dtype, sw_cpu_mem(y), y->dtype, sw_tensor_count(x));
    y->layout = x->layout;
    return SW_OK;
}

sw_status sw_cpu_cast_backward(sw_backend *be, sw_backward_args *args, sw_error *err)
{
    sw_cpu *cpu = sw_cpu_of(be);
    const sw_tensor *dy = args->grad_out;
    sw_tensor *dx = args->grad_in[0];
    void *data, *result;
    if (!dx) return SW_OK;
    SW_TRY(sw_cpu_gradient_any(cpu, dx, args->add[0], dy->layout, &data, err));
    result = data;
    if (args->add[0]) SW_TRY(sw_cpu_scratch(cpu, SW_SLOT_RESULT, sw_tensor_bytes(dx), &result, err));
    sw_cpu_convert(cpu, sw_cpu_mem(dy), dy->dtype, result, dx->dtype, sw_tensor_count(dx));
    if (args->add[0]) sw_cpu_add_to_any(cpu, dx->dtype, data, result, sw_tensor_count(dx));
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

static void sgd(const sw_sgd_attr *a, const float *restrict g, float *restrict p, float *restrict v, int64_t count)
{
    const float lr = (float)a->lr, momentum = (float)a->momentum, wd = (float)a->weight_decay, scale = (float)a->grad_scale;
    const float on_g = a->nesterov ? lr : 0, on_v = a->nesterov ? lr * momentum : lr;
    for (int64_t i = 0; i < count; i++) {
        float grad = g[i] * scale + p[i] * wd, velocity = v[i] * momentum + grad;
        v[i] = velocity;
        p[i] -= on_g * grad + on_v * velocity;
    }
}

/* in: gradient; out: parameter, velocity */
sw_status sw_cpu_sgd_forward(sw_backend *be, sw_forward_args *args, sw_error *err)
{
    (void)err;
    const sw_cpu *cpu = sw_cpu_of(be);
    const float *g = sw_cpu_f32(args->in[0]);
    float *p = sw_cpu_f32(args->out[0]), *v = sw_cpu_f32(args->out[1]);
    CHUNKS(cpu, sw_tensor_count(args->out[0]), at, length, sgd(args->attr, g + at, p + at, v + at, length));
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
