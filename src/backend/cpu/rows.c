/* SPDX-License-Identifier: Apache-2.0 */
/* Layer norm and softmax over the last dimension, and the mean of rows. */
#include <string.h>

#include "backend/cpu/cpu_internal.h"

static int64_t row_length(const sw_tensor *t)
{
    return t->shape.rank ? t->shape.dim[t->shape.rank - 1] : 1;
}

sw_status sw_cpu_softmax_forward(sw_backend *be, sw_forward_args *args, sw_error *err)
{
    (void)err;
    const sw_cpu *cpu = sw_cpu_of(be);
    const float *x = sw_cpu_f32(args->in[0]);
    float *y = sw_cpu_f32(args->out[0]);
    int64_t k = row_length(args->in[0]), rows = sw_tensor_count(args->in[0]) / k;
#pragma omp parallel for schedule(static) num_threads(cpu->base.threads) if (rows * k > SW_CPU_CHUNK)
    for (int64_t r = 0; r < rows; r++) cpu->simd->softmax(x + r * k, y + r * k, k);
    return SW_OK;
}

sw_status sw_cpu_softmax_backward(sw_backend *be, sw_backward_args *args, sw_error *err)
{
    (void)err;
    const sw_cpu *cpu = sw_cpu_of(be);
    if (!args->grad_in[0]) return SW_OK;
    const float *y = sw_cpu_f32(args->out[0]), *dy = sw_cpu_f32(args->grad_out);
    float *dx = sw_cpu_f32(args->grad_in[0]);
    bool add = args->add[0];
    int64_t k = row_length(args->out[0]), rows = sw_tensor_count(args->out[0]) / k;
#pragma omp parallel for schedule(static) num_threads(cpu->base.threads) if (rows * k > SW_CPU_CHUNK)
    for (int64_t r = 0; r < rows; r++) cpu->simd->softmax_grad(y + r * k, dy + r * k, dx + r * k, add, k);
    return SW_OK;
}

/* in: x [.., k], gain [k], offset [k]|NULL; out: y, mean [rows], inverse deviation [rows] */
sw_status sw_cpu_layer_norm_forward(sw_backend *be, sw_forward_args *args, sw_error *err)
{
    (void)err;
    const sw_cpu *cpu = sw_cpu_of(be);
    const sw_layer_norm_attr *attr = args->attr;
    const float *x = sw_cpu_f32(args->in[0]), *gain = sw_cpu_f32(args->in[1]);
    const float *offset = args->in[2] ? sw_cpu_f32(args->in[2]) : NULL;
    float *y = sw_cpu_f32(args->out[0]), *mean = sw_cpu_f32(args->out[1]), *inverse = sw_cpu_f32(args->out[2]);
    int64_t k = row_length(args->in[0]), rows = sw_tensor_count(args->in[0]) / k;
#pragma omp parallel for schedule(static) num_threads(cpu->base.threads) if (rows * k > SW_CPU_CHUNK)
    for (int64_t r = 0; r < rows; r++)
        cpu->simd->layer_norm(x + r * k, gain, offset, y + r * k, k, attr->eps, mean + r, inverse + r);
    return SW_OK;
}

/* Rows per partial sum of the gain's and offset's gradients: fixed, so that the sums are too. */
#define STRETCH_ROWS 64

static void add_partial(sw_tensor *grad, bool add, const float *part, int64_t stretches, int64_t step, int64_t k)
{
    if (!grad) return;
    float *to = sw_cpu_f32(grad);
    for (int64_t i = 0; i < k; i++) {
        double sum = 0;
        for (int64_t s = 0; s < stretches; s++) sum += (double)part[s * step + i];
        to[i] = add ? to[i] + (float)sum : (float)sum;
    }
}

sw_status sw_cpu_layer_norm_backward(sw_backend *be, sw_backward_args *args, sw_error *err)
{
    sw_cpu *cpu = sw_cpu_of(be);
    const float *x = sw_cpu_f32(args->in[0]), *gain = sw_cpu_f32(args->in[1]), *dy = sw_cpu_f32(args->grad_out);
    const float *mean = sw_cpu_f32(args->out[1]), *inverse = sw_cpu_f32(args->out[2]);
    float *dx = args->grad_in[0] ? sw_cpu_f32(args->grad_in[0]) : NULL;
    bool add = args->add[0];
    int64_t k = row_length(args->in[0]), rows = sw_tensor_count(args->in[0]) / k;
    int64_t stretches = (rows + STRETCH_ROWS - 1) / STRETCH_ROWS;
    void *mem;
    SW_TRY(sw_cpu_scratch(cpu, SW_SLOT_SUMS, (size_t)(stretches * 2 * k) * sizeof(float), &mem, err));
    float *part = mem; /* [stretches][2][k] */
#pragma omp parallel for schedule(static) num_threads(cpu->base.threads) if (rows * k > SW_CPU_CHUNK)
    for (int64_t s = 0; s < stretches; s++) {
        float *dgain = part + s * 2 * k;
        memset(dgain, 0, (size_t)(2 * k) * sizeof(float));
        int64_t end = (s + 1) * STRETCH_ROWS < rows ? (s + 1) * STRETCH_ROWS : rows;
        for (int64_t r = s * STRETCH_ROWS; r < end; r++)
            cpu->simd->layer_norm_grad(x + r * k, gain, dy + r * k, dx ? dx + r * k : NULL, add, k, mean[r],
                                       inverse[r], dgain, dgain + k);
    }
    add_partial(args->grad_in[1], args->add[1], part, stretches, 2 * k, k);
    add_partial(args->grad_in[2], args->add[2], part + k, stretches, 2 * k, k);
    return SW_OK;
}

/* Columns that one thread adds up at a time. */
#define MEAN_COLUMNS 64

/* x [b, n, d] -> y [b, d] */
sw_status sw_cpu_mean_rows_forward(sw_backend *be, sw_forward_args *args, sw_error *err)
{
    (void)err;
    const sw_cpu *cpu = sw_cpu_of(be);
    const int64_t *dim = args->in[0]->shape.dim;
    int64_t n = dim[1], d = dim[2], blocks = (d + MEAN_COLUMNS - 1) / MEAN_COLUMNS, items = dim[0] * blocks;
    const float *x = sw_cpu_f32(args->in[0]);
    float *y = sw_cpu_f32(args->out[0]);
#pragma omp parallel for schedule(static) num_threads(cpu->base.threads) if (dim[0] * n * d > SW_CPU_CHUNK)
    for (int64_t i = 0; i < items; i++) {
        int64_t b = i / blocks, first = i % blocks * MEAN_COLUMNS, count = d - first < MEAN_COLUMNS ? d - first : MEAN_COLUMNS;
        double sum[MEAN_COLUMNS] = {0};
        cpu->simd->column_sums(x + b * n * d + first, n, d, count, sum);
        for (int64_t c = 0; c < count; c++) y[b * d + first + c] = (float)(sum[c] / (double)n);
    }
    return SW_OK;
}

sw_status sw_cpu_mean_rows_backward(sw_backend *be, sw_backward_args *args, sw_error *err)
{
    (void)err;
    const sw_cpu *cpu = sw_cpu_of(be);
    const int64_t *dim = args->in[0]->shape.dim;
    if (!args->grad_in[0]) return SW_OK;
    int64_t n = dim[1], d = dim[2], rows = dim[0] * n;
    const float *dy = sw_cpu_f32(args->grad_out);
    float *dx = sw_cpu_f32(args->grad_in[0]), share = (float)(1.0 / (double)n);
    bool add = args->add[0];
#pragma omp parallel for schedule(static) num_threads(cpu->base.threads) if (rows * d > SW_CPU_CHUNK)
    for (int64_t r = 0; r < rows; r++) cpu->simd->scale(share, dy + r / n * d, dx + r * d, add, d);
    return SW_OK;
}
