/* SPDX-License-Identifier: Apache-2.0 */
/* What is chosen by place: the largest of a row, rows by number, and rows between their ends. */
#include <string.h>

#include "backend/cpu/cpu_internal.h"
#include "backend/ref/ref.h"

static int64_t last_of(const sw_tensor *t)
{
    return t->shape.rank ? t->shape.dim[t->shape.rank - 1] : 1;
}

static int32_t *places(const sw_tensor *t)
{
    return sw_cpu_mem(t);
}

static void zero(const sw_cpu *cpu, float *x, int64_t count)
{
    int64_t chunks = (count + SW_CPU_CHUNK - 1) / SW_CPU_CHUNK;
#pragma omp parallel for schedule(static) num_threads(cpu->base.threads) if (chunks > 1)
    for (int64_t i = 0; i < chunks; i++) {
        int64_t rest = count - i * SW_CPU_CHUNK;
        memset(x + i * SW_CPU_CHUNK, 0, (size_t)(rest < SW_CPU_CHUNK ? rest : SW_CPU_CHUNK) * sizeof(float));
    }
}

/* in: x [.., k]; out: y [..], where it was */
sw_status sw_cpu_max_last_forward(sw_backend *be, sw_forward_args *args, sw_error *err)
{
    (void)err;
    const sw_cpu *cpu = sw_cpu_of(be);
    const float *x = sw_cpu_f32(args->in[0]);
    float *y = sw_cpu_f32(args->out[0]);
    int32_t *at = places(args->out[1]);
    int64_t k = last_of(args->in[0]), rows = sw_tensor_count(args->out[0]);
#pragma omp parallel for schedule(static) num_threads(cpu->base.threads) if (rows > 1 && rows * k > SW_CPU_CHUNK)
    for (int64_t r = 0; r < rows; r++) {
        at[r] = (int32_t)cpu->simd->largest(x + r * k, k);
        y[r] = x[r * k + at[r]];
    }
    return SW_OK;
}

sw_status sw_cpu_max_last_backward(sw_backend *be, sw_backward_args *args, sw_error *err)
{
    (void)err;
    const sw_cpu *cpu = sw_cpu_of(be);
    if (!args->grad_in[0]) return SW_OK;
    const float *dy = sw_cpu_f32(args->grad_out);
    const int32_t *at = places(args->out[1]);
    float *dx = sw_cpu_f32(args->grad_in[0]);
    int64_t rows = sw_tensor_count(args->grad_out), k = last_of(args->in[0]);
    if (!args->add[0]) zero(cpu, dx, rows * k);
    for (int64_t r = 0; r < rows; r++) dx[r * k + at[r]] += dy[r];
    return SW_OK;
}

/* in: x [b, n, d], index [b, k]; out: y [b, k, d], the index again */
sw_status sw_cpu_gather_forward(sw_backend *be, sw_forward_args *args, sw_error *err)
{
    const sw_cpu *cpu = sw_cpu_of(be);
    const float *x = sw_cpu_f32(args->in[0]);
    const int32_t *from = places(args->in[1]);
    float *y = sw_cpu_f32(args->out[0]);
    int64_t n = args->in[0]->shape.dim[1], d = args->in[0]->shape.dim[2], k = args->in[1]->shape.dim[1];
    int64_t count = sw_tensor_count(args->in[1]);
    for (int64_t i = 0; i < count; i++)
        if (from[i] < 0 || from[i] >= n) return sw_ref_outside("gather", from[i], n, err);
    memcpy(places(args->out[1]), from, (size_t)count * sizeof *from);
#pragma omp parallel for schedule(static) num_threads(cpu->base.threads) if (count * d > SW_CPU_CHUNK)
    for (int64_t i = 0; i < count; i++) memcpy(y + i * d, x + (i / k * n + from[i]) * d, (size_t)d * sizeof *y);
    return SW_OK;
}

/* A row may be taken several times: threads share columns, so that each element is added to in the order of the index. */
#define GATHER_COLUMNS 64

sw_status sw_cpu_gather_backward(sw_backend *be, sw_backward_args *args, sw_error *err)
{
    (void)err;
    const sw_cpu *cpu = sw_cpu_of(be);
    if (!args->grad_in[0]) return SW_OK;
    const float *dy = sw_cpu_f32(args->grad_out);
    const int32_t *from = places(args->out[1]);
    float *dx = sw_cpu_f32(args->grad_in[0]);
    const int64_t *dim = args->in[0]->shape.dim;
    int64_t n = dim[1], d = dim[2], k = args->grad_out->shape.dim[1], count = dim[0] * k;
    int64_t blocks = (d + GATHER_COLUMNS - 1) / GATHER_COLUMNS;
    if (!args->add[0]) zero(cpu, dx, dim[0] * n * d);
#pragma omp parallel for schedule(static) num_threads(cpu->base.threads) if (count * d > SW_CPU_CHUNK)
    for (int64_t block = 0; block < blocks; block++) {
        int64_t first = block * GATHER_COLUMNS, columns = d - first < GATHER_COLUMNS ? d - first : GATHER_COLUMNS;
        for (int64_t i = 0; i < count; i++) {
            float *to = dx + (i / k * n + from[i]) * d + first;
            cpu->simd->f32->add(to, dy + i * d + first, to, columns);
        }
    }
    return SW_OK;
}

/* in: x [.., k]; out: (x - lowest) / span, span [rows] = highest - lowest + eps, places of lowest and highest [rows, 2] */
sw_status sw_cpu_min_max_forward(sw_backend *be, sw_forward_args *args, sw_error *err)
{
    (void)err;
    const sw_cpu *cpu = sw_cpu_of(be);
    const double eps = ((const sw_min_max_attr *)args->attr)->eps;
    const float *x = sw_cpu_f32(args->in[0]);
    float *y = sw_cpu_f32(args->out[0]), *span = sw_cpu_f32(args->out[1]);
    int32_t *at = places(args->out[2]);
    int64_t k = last_of(args->in[0]), rows = sw_tensor_count(args->in[0]) / k;
#pragma omp parallel for schedule(static) num_threads(cpu->base.threads) if (rows > 1 && rows * k > SW_CPU_CHUNK)
    for (int64_t r = 0; r < rows; r++) {
        const float *row = x + r * k;
        int64_t low = cpu->simd->smallest(row, k), high = cpu->simd->largest(row, k);
        at[2 * r] = (int32_t)low;
        at[2 * r + 1] = (int32_t)high;
        span[r] = (float)((double)row[high] - (double)row[low] + eps);
        cpu->simd->between(row, row[low], span[r], y + r * k, k);
    }
    return SW_OK;
}

/* Both ends of a row take part of every element's gradient, joined in double: where a row is flat the parts are a hundred
 * million times their sum. */
static void min_max_row(const float *y, const float *dy, float span, const int32_t *at, float *dx, bool add, int64_t k)
{
    double sum = 0, weighted = 0;
    for (int64_t i = 0; i < k; i++) {
        sum += (double)dy[i];
        weighted += (double)dy[i] * (double)y[i];
    }
    for (int64_t i = 0; i < k; i++) {
        double g = (double)dy[i];
        if (i == at[0]) g -= sum - weighted;
        if (i == at[1]) g -= weighted;
        dx[i] = (float)((add ? (double)dx[i] : 0) + g / (double)span);
    }
}

sw_status sw_cpu_min_max_backward(sw_backend *be, sw_backward_args *args, sw_error *err)
{
    (void)err;
    const sw_cpu *cpu = sw_cpu_of(be);
    if (!args->grad_in[0]) return SW_OK;
    const float *dy = sw_cpu_f32(args->grad_out), *y = sw_cpu_f32(args->out[0]), *span = sw_cpu_f32(args->out[1]);
    const int32_t *at = places(args->out[2]);
    float *dx = sw_cpu_f32(args->grad_in[0]);
    bool add = args->add[0];
    int64_t k = last_of(args->in[0]), rows = sw_tensor_count(args->grad_out) / k;
#pragma omp parallel for schedule(static) num_threads(cpu->base.threads) if (rows > 1 && rows * k > SW_CPU_CHUNK)
    for (int64_t r = 0; r < rows; r++)
        min_max_row(y + r * k, dy + r * k, span[r], at + 2 * r, dx + r * k, add, k);
    return SW_OK;
}
