/* SPDX-License-Identifier: Apache-2.0 */
/* Matrix products through oneDNN: linear layers and batched matmul. */
#include "backend/cpu/cpu_internal.h"

static int64_t last_dim(const sw_tensor *t, int from_end)
{
    return t->shape.dim[t->shape.rank - from_end];
}

static sw_status one_gemm(sw_cpu *cpu, sw_dnn_gemm gemm, const float *a, const float *b, float *c, sw_error *err)
{
    sw_cpu_gemms t = {.gemm = gemm, .count = 1, .a = a, .b = b, .c = c};
    return sw_cpu_gemms_run(cpu, &t, err);
}

/* x [.., k], w [m, k], bias [m]|NULL -> y [.., m] = x w^T + bias */
sw_status sw_cpu_linear_forward(sw_backend *be, sw_forward_args *args, sw_error *err)
{
    sw_cpu *cpu = sw_cpu_of(be);
    const sw_tensor *w = args->in[1];
    int64_t m = w->shape.dim[0], k = w->shape.dim[1], rows = sw_tensor_count(args->out[0]) / m;
    const float *bias = args->in[2] ? sw_cpu_f32(args->in[2]) : NULL;
    float *y = sw_cpu_f32(args->out[0]);
    if (bias) {
#pragma omp parallel for schedule(static) num_threads(cpu->base.threads) if (rows * m > SW_CPU_CHUNK)
        for (int64_t r = 0; r < rows; r++)
            for (int64_t i = 0; i < m; i++) y[r * m + i] = bias[i];
    }
    sw_dnn_gemm g = {.transpose_b = true, .m = rows, .n = m, .k = k, .lda = k, .ldb = k, .ldc = m,
                     .beta = bias ? 1.0f : 0.0f};
    return one_gemm(cpu, g, sw_cpu_f32(args->in[0]), sw_cpu_f32(w), y, err);
}

/* Sums of the columns of dy [rows, m], each in double and in the order of the rows. */
static void column_sums(const sw_cpu *cpu, const float *dy, int64_t rows, int64_t m, float *out, bool add)
{
    (void)cpu; /* without OpenMP */
#pragma omp parallel for schedule(static) num_threads(cpu->base.threads) if (rows * m > SW_CPU_CHUNK)
    for (int64_t first = 0; first < m; first += SW_SPAN) {
        int64_t width = m - first < SW_SPAN ? m - first : SW_SPAN;
        double sum[SW_SPAN] = {0};
        for (int64_t r = 0; r < rows; r++)
            for (int64_t c = 0; c < width; c++) sum[c] += (double)dy[r * m + first + c];
        for (int64_t c = 0; c < width; c++)
            out[first + c] = add ? out[first + c] + (float)sum[c] : (float)sum[c];
    }
}

sw_status sw_cpu_linear_backward(sw_backend *be, sw_backward_args *args, sw_error *err)
{
    sw_cpu *cpu = sw_cpu_of(be);
    const sw_tensor *w = args->in[1];
    int64_t m = w->shape.dim[0], k = w->shape.dim[1], rows = sw_tensor_count(args->grad_out) / m;
    const float *dy = sw_cpu_f32(args->grad_out);
    if (args->grad_in[0]) {
        sw_dnn_gemm g = {.m = rows, .n = k, .k = m, .lda = m, .ldb = k, .ldc = k, .beta = args->add[0] ? 1.0f : 0.0f};
        SW_TRY(one_gemm(cpu, g, dy, sw_cpu_f32(w), sw_cpu_f32(args->grad_in[0]), err));
    }
    if (args->grad_in[1]) {
        sw_dnn_gemm g = {.transpose_a = true, .m = m, .n = k, .k = rows, .lda = m, .ldb = k, .ldc = k,
                         .beta = args->add[1] ? 1.0f : 0.0f};
        SW_TRY(one_gemm(cpu, g, dy, sw_cpu_f32(args->in[0]), sw_cpu_f32(args->grad_in[1]), err));
    }
    if (args->grad_in[2])
        column_sums(cpu, dy, rows, m, sw_cpu_f32(args->grad_in[2]), args->add[2]);
    return SW_OK;
}

/* Same number of matrices on both sides; anything else is ref's. */
static bool takes(const sw_tensor *a, const sw_tensor *b)
{
    if (a->shape.rank != b->shape.rank || a->shape.rank < 2) return false;
    for (int i = 0; i + 2 < a->shape.rank; i++)
        if (a->shape.dim[i] != b->shape.dim[i]) return false;
    return true;
}

sw_status sw_cpu_matmul_forward(sw_backend *be, sw_forward_args *args, sw_error *err)
{
    sw_cpu *cpu = sw_cpu_of(be);
    const sw_matmul_attr *attr = args->attr;
    const sw_tensor *a = args->in[0], *b = args->in[1], *c = args->out[0];
    if (!takes(a, b) || sw_tensor_count(c) == 0) return sw_cpu_ref_forward(cpu, SW_OP_MATMUL, args, err);
    int64_t m = last_dim(c, 2), n = last_dim(c, 1), k = last_dim(a, attr->transpose_a ? 2 : 1);
    sw_cpu_gemms t = {.gemm = {.transpose_a = attr->transpose_a, .transpose_b = attr->transpose_b, .m = m, .n = n, .k = k,
                        .lda = last_dim(a, 1), .ldb = last_dim(b, 1), .ldc = n},
               .count = sw_tensor_count(c) / (m * n), .a_step = m * k, .b_step = k * n, .c_step = m * n,
               .a = sw_cpu_f32(a), .b = sw_cpu_f32(b), .c = sw_cpu_f32(args->out[0])};
    return sw_cpu_gemms_run(cpu, &t, err);
}

/* With A' = op(A), B' = op(B): dA' = dC B'^T, dB' = A'^T dC; a transposed operand gets the transpose of that. */
sw_status sw_cpu_matmul_backward(sw_backend *be, sw_backward_args *args, sw_error *err)
{
    sw_cpu *cpu = sw_cpu_of(be);
    const sw_matmul_attr *attr = args->attr;
    const sw_tensor *a = args->in[0], *b = args->in[1], *dc = args->grad_out;
    if (!takes(a, b) || sw_tensor_count(dc) == 0) return sw_cpu_ref_backward(cpu, SW_OP_MATMUL, args, err);
    bool ta = attr->transpose_a, tb = attr->transpose_b;
    int64_t m = last_dim(dc, 2), n = last_dim(dc, 1), k = last_dim(a, ta ? 2 : 1), count = sw_tensor_count(dc) / (m * n);
    int64_t lda = last_dim(a, 1), ldb = last_dim(b, 1);
    const float *a_data = sw_cpu_f32(a), *b_data = sw_cpu_f32(b), *dc_data = sw_cpu_f32(dc);
    if (args->grad_in[0]) {
        sw_cpu_gemms t = {.count = count, .c_step = m * k, .c = sw_cpu_f32(args->grad_in[0])};
        if (ta) { /* dA [k, m] = B' dC^T */
            t.gemm = (sw_dnn_gemm){.transpose_a = tb, .transpose_b = true, .m = k, .n = m, .k = n, .lda = ldb, .ldb = n};
            t.a = b_data, t.a_step = k * n, t.b = dc_data, t.b_step = m * n;
        } else { /* dA [m, k] = dC B'^T */
            t.gemm = (sw_dnn_gemm){.transpose_b = !tb, .m = m, .n = k, .k = n, .lda = n, .ldb = ldb};
            t.a = dc_data, t.a_step = m * n, t.b = b_data, t.b_step = k * n;
        }
        t.gemm.ldc = lda;
        t.gemm.beta = args->add[0] ? 1.0f : 0.0f;
        SW_TRY(sw_cpu_gemms_run(cpu, &t, err));
    }
    if (args->grad_in[1]) {
        sw_cpu_gemms t = {.count = count, .c_step = k * n, .c = sw_cpu_f32(args->grad_in[1])};
        if (tb) { /* dB [n, k] = dC^T A' */
            t.gemm = (sw_dnn_gemm){.transpose_a = true, .transpose_b = ta, .m = n, .n = k, .k = m, .lda = n, .ldb = lda};
            t.a = dc_data, t.a_step = m * n, t.b = a_data, t.b_step = m * k;
        } else { /* dB [k, n] = A'^T dC */
            t.gemm = (sw_dnn_gemm){.transpose_a = !ta, .m = k, .n = n, .k = m, .lda = lda, .ldb = n};
            t.a = a_data, t.a_step = m * k, t.b = dc_data, t.b_step = m * n;
        }
        t.gemm.ldc = ldb;
        t.gemm.beta = args->add[1] ? 1.0f : 0.0f;
        SW_TRY(sw_cpu_gemms_run(cpu, &t, err));
    }
    return SW_OK;
}
