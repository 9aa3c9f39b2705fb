/* SPDX-License-Identifier: Apache-2.0 */
/* Batches of matrix products, and who computes which of their rows. */
#include "backend/cpu/cpu_internal.h"

static sw_status one_product(sw_dnn *dnn, const sw_cpu_gemms *t, int64_t i, sw_error *err)
{
    return sw_dnn_sgemm(dnn, &t->gemm, t->a + i * t->a_step, t->b + i * t->b_step, t->c + i * t->c_step, err);
}

/* Several products: one per thread at a time. Few: each with all threads. */
static sw_status run_fast(sw_cpu *cpu, const sw_cpu_gemms *t, sw_error *err)
{
    if (t->count < cpu->base.threads || t->count == 1) {
        for (int64_t i = 0; i < t->count; i++) SW_TRY(one_product(cpu->dnn, t, i, err));
        return SW_OK;
    }
    sw_status worst = SW_OK;
#pragma omp parallel for schedule(static) num_threads(cpu->base.threads)
    for (int64_t i = 0; i < t->count; i++) {
        sw_error mine = {.code = SW_OK};
        sw_status status = one_product(cpu->dnn, t, i, &mine);
        if (status != SW_OK) {
#pragma omp critical(sw_cpu_gemm_error)
            {
                worst = status;
                if (err) *err = mine;
            }
        }
    }
    return worst;
}

/* --- bits that do not depend on the threads: each product cut into blocks of rows, where that gives few also of
 * columns; a block is one call on one thread */
typedef struct blocks {
    const sw_cpu_gemms *all;
    int64_t rows, columns;      /* of one block, at most */
    int64_t down, across;       /* blocks of one product */
} blocks;

static blocks blocks_of(const sw_cpu_gemms *t)
{
    const sw_dnn_gemm *g = &t->gemm;
    blocks b = {.all = t, .rows = g->m <= 512 ? 64 : g->m <= 4096 ? 128 : 256, .columns = g->n, .across = 1};
    b.down = (g->m + b.rows - 1) / b.rows;
    if (t->count * b.down < 16 && g->n > 256) {
        b.columns = 256;
        b.across = (g->n + b.columns - 1) / b.columns;
    }
    return b;
}

static int64_t at_most(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static sw_status run_block(sw_dnn *lane, void *ctx, int64_t piece, sw_error *err)
{
    const blocks *b = ctx;
    const sw_cpu_gemms *t = b->all;
    sw_dnn_gemm g = t->gemm;
    int64_t i = piece / (b->down * b->across), in = piece % (b->down * b->across);
    int64_t row = in / b->across * b->rows, column = in % b->across * b->columns;
    g.m = at_most(b->rows, g.m - row);
    g.n = at_most(b->columns, g.n - column);
    const float *a_at = t->a + i * t->a_step + (g.transpose_a ? row : row * g.lda);
    const float *b_at = t->b + i * t->b_step + (g.transpose_b ? column * g.ldb : column);
    return sw_dnn_sgemm(lane, &g, a_at, b_at, t->c + i * t->c_step + row * g.ldc + column, err);
}

sw_status sw_cpu_gemms_run(sw_cpu *cpu, const sw_cpu_gemms *t, sw_error *err)
{
    if (!cpu->lane) return run_fast(cpu, t, err);
    blocks b = blocks_of(t);
    return sw_cpu_pieces(cpu, t->count * b.down * b.across, run_block, &b, err);
}
