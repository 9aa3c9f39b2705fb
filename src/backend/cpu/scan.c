/* SPDX-License-Identifier: Apache-2.0 */
/* The selective scan over a grid of cells: threads take spans of channels, each of which keeps to itself but for the gradients of
 * b and c. Those are summed in as many parts as any number of threads has, and joined in order. */
#include <string.h>

#include "backend/cpu/cpu_internal.h"

static sw_simd_scan scan_of(const sw_tensor *const *in)
{
    const sw_shape *u = &in[0]->shape;
    return (sw_simd_scan){.rows = u->dim[0], .columns = u->dim[1], .e = u->dim[2], .n = in[2]->shape.dim[1],
                          .u = sw_cpu_f32(in[0]), .delta = sw_cpu_f32(in[1]), .a_log = sw_cpu_f32(in[2]),
                          .b = sw_cpu_f32(in[3]), .c = sw_cpu_f32(in[4]), .d = sw_cpu_f32(in[5])};
}

static int64_t spans_of(const sw_simd_scan *a)
{
    return (a->e + SW_SPAN - 1) / SW_SPAN;
}

static int64_t span_length(const sw_simd_scan *a, int64_t span)
{
    int64_t rest = a->e - span * SW_SPAN;
    return rest < SW_SPAN ? rest : SW_SPAN;
}

sw_status sw_cpu_scan2d_forward(sw_backend *be, sw_forward_args *args, sw_error *err)
{
    sw_cpu *cpu = sw_cpu_of(be);
    sw_simd_scan a = scan_of(args->in);
    int64_t each = (a.columns + 2) * a.n * SW_SPAN, spans = spans_of(&a);
    void *work;
    SW_TRY(sw_cpu_scratch(cpu, SW_SLOT_WORK, (size_t)(each * be->threads) * sizeof(float), &work, err));
    a.y = sw_cpu_f32(args->out[0]);
#pragma omp parallel for schedule(static) num_threads(cpu->base.threads) if (a.rows * a.columns * a.e * a.n > SW_CPU_CHUNK)
    for (int64_t i = 0; i < spans; i++) {
        sw_simd_scan mine = a;
        mine.work = (float *)work + sw_cpu_thread() * each;
        cpu->simd->scan2d(&mine, i * SW_SPAN, span_length(&a, i));
    }
    return SW_OK;
}

static float *gradient(const sw_backward_args *args, int i)
{
    return args->grad_in[i] ? sw_cpu_f32(args->grad_in[i]) : NULL;
}

/* part [parts][2][count] -> the gradient `which` of the two */
static void join(const sw_cpu *cpu, const float *part, int64_t parts, int which, int64_t count, float *to, bool add)
{
    if (!to) return;
#pragma omp parallel for schedule(static) num_threads(cpu->base.threads) if (parts * count > SW_CPU_CHUNK)
    for (int64_t i = 0; i < count; i++) {
        double sum = 0;
        for (int64_t p = 0; p < parts; p++) sum += (double)part[(2 * p + which) * count + i];
        to[i] = add ? to[i] + (float)sum : (float)sum;
    }
}

sw_status sw_cpu_scan2d_backward(sw_backend *be, sw_backward_args *args, sw_error *err)
{
    sw_cpu *cpu = sw_cpu_of(be);
    sw_simd_scan a = scan_of(args->in);
    int64_t spans = spans_of(&a), parts = spans < SW_CPU_FIXED_PARTS ? spans : SW_CPU_FIXED_PARTS;
    int64_t cells = a.rows * a.columns, each = (8 * cells + a.columns) * SW_SPAN, count = cells * a.n;
    void *work, *sums;
    SW_TRY(sw_cpu_scratch(cpu, SW_SLOT_WORK, (size_t)(each * be->threads) * sizeof(float), &work, err));
    SW_TRY(sw_cpu_scratch(cpu, SW_SLOT_SUMS, (size_t)(parts * 2 * count) * sizeof(float), &sums, err));
    a.dy = sw_cpu_f32(args->grad_out);
    a.du = gradient(args, 0);
    a.ddelta = gradient(args, 1);
    a.da_log = gradient(args, 2);
    a.dd = gradient(args, 5);
    a.add_u = args->add[0];
    a.add_delta = args->add[1];
    a.add_a_log = args->add[2];
    a.add_d = args->add[5];
#pragma omp parallel for schedule(static) num_threads(cpu->base.threads) if (count * a.e > SW_CPU_CHUNK)
    for (int64_t p = 0; p < parts; p++) {
        sw_simd_scan mine = a;
        mine.work = (float *)work + sw_cpu_thread() * each;
        mine.db = (float *)sums + 2 * p * count;
        mine.dc = mine.db + count;
        memset(mine.db, 0, (size_t)(2 * count) * sizeof(float));
        for (int64_t i = p * spans / parts; i < (p + 1) * spans / parts; i++)
            cpu->simd->scan2d_grad(&mine, i * SW_SPAN, span_length(&a, i));
    }
    join(cpu, sums, parts, 0, count, gradient(args, 3), args->add[3]);
    join(cpu, sums, parts, 1, count, gradient(args, 4), args->add[4]);
    return SW_OK;
}
