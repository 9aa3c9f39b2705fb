/* SPDX-License-Identifier: Apache-2.0 */
/* Attention with one value column: P = softmax(scale q k^T) v per group, streamed in tiles of queries by keys, so
 * that memory grows with n and never with n^2. Backward recomputes the tiles from the saved log-sum-exp:
 *   G_ij = exp(scale q_i.k_j - lse_i),  dv_j = sum_i G_ij dP_i,  dL_ij = G_ij dP_i (v_j - P_i),
 *   dq_i = scale sum_j dL_ij k_j,  dk_j = scale sum_i dL_ij q_i. */
#include <string.h>

#include "backend/cpu/cpu_internal.h"

#define QUERIES SW_ATTEND_QUERIES

/* q, k [g, n, d]; more leading dimensions are groups too. */
typedef struct sizes {
    int64_t groups, n, d, d_pad, tiles;
} sizes;

static sizes sizes_of(const sw_tensor *q)
{
    int rank = q->shape.rank;
    sizes s = {.n = q->shape.dim[rank - 2], .d = q->shape.dim[rank - 1]};
    s.groups = sw_tensor_count(q) / (s.n * s.d);
    s.d_pad = (s.d + SW_SPAN - 1) / SW_SPAN * SW_SPAN;
    s.tiles = (s.n + QUERIES - 1) / QUERIES;
    return s;
}

/* qt[c][i] = scale * q[first + i][c], zero beyond the last query. */
static void load_queries(const sizes *s, const float *q, int64_t count, float scale, float *qt)
{
    memset(qt, 0, (size_t)(s->d * QUERIES) * sizeof(float));
    for (int64_t i = 0; i < count; i++)
        for (int64_t c = 0; c < s->d; c++) qt[c * QUERIES + i] = scale * q[i * s->d + c];
}

static int64_t tile_queries(const sizes *s, int64_t tile)
{
    int64_t left = s->n - tile * QUERIES;
    return left < QUERIES ? left : QUERIES;
}

/* in: q, k [g, n, d], v [g, n]; out: P [g, n], log-sum-exp [g, n] */
sw_status sw_cpu_attend_one_forward(sw_backend *be, sw_forward_args *args, sw_error *err)
{
    sw_cpu *cpu = sw_cpu_of(be);
    sizes s = sizes_of(args->in[0]);
    float scale = (float)((const sw_attend_one_attr *)args->attr)->scale;
    const float *q = sw_cpu_f32(args->in[0]), *k = sw_cpu_f32(args->in[1]), *v = sw_cpu_f32(args->in[2]);
    float *p = sw_cpu_f32(args->out[0]), *lse = sw_cpu_f32(args->out[1]);
    /* per tile at work: qt, scores, lse, p */
    int64_t per_tile = s.d * QUERIES + SW_ATTEND_KEYS * QUERIES + 2 * QUERIES;
    int threads = cpu->base.threads;
    void *mem;
    SW_TRY(sw_cpu_scratch(cpu, SW_SLOT_WORK, (size_t)(per_tile * threads) * sizeof(float), &mem, err));
    float *work = mem;
    int64_t items = s.groups * s.tiles;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int t = 0; t < threads; t++) {
        float *mine = work + t * per_tile;
        sw_simd_attend a = {.n = s.n, .d = (int)s.d, .d_pad = (int)s.d_pad, .qt = mine,
                            .scores = mine + s.d * QUERIES};
        a.lse = a.scores + SW_ATTEND_KEYS * QUERIES;
        a.p = a.lse + QUERIES;
        for (int64_t i = items * t / threads; i < items * (t + 1) / threads; i++) {
            int64_t group = i / s.tiles, tile = i % s.tiles, count = tile_queries(&s, tile);
            int64_t at = group * s.n + tile * QUERIES;
            a.k = k + group * s.n * s.d;
            a.v = v + group * s.n;
            load_queries(&s, q + at * s.d, count, scale, a.qt);
            cpu->simd->attend(&a);
            memcpy(p + at, a.p, (size_t)count * sizeof(float));
            memcpy(lse + at, a.lse, (size_t)count * sizeof(float));
        }
    }
    return SW_OK;
}

/* What the threads share. A group's queries are cut into `parts` stretches of tiles, each with its own sums for
 * dk and dv, joined in order afterwards: one part is enough when there are groups for all threads. */
typedef struct backward {
    sizes s;
    const sw_cpu *cpu;
    const float *q, *k, *v, *p, *lse, *dp;
    float *dq, *dk, *dv; /* NULL: not wanted */
    bool add_dq, add_dk, add_dv;
    float scale;
    int64_t parts;
    float *dk_sum;  /* [groups * parts][n][d_pad] */
    double *dv_sum; /* [groups * parts][n] */
} backward;

static void pad_queries(const backward *b, const float *q, int64_t count, float *q_pad)
{
    const sizes *s = &b->s;
    memset(q_pad, 0, (size_t)(QUERIES * s->d_pad) * sizeof(float));
    for (int64_t i = 0; i < count; i++)
        for (int64_t c = 0; c < s->d; c++) q_pad[i * s->d_pad + c] = b->scale * q[i * s->d + c];
}

static void store_query_grad(const backward *b, const float *dqt, int64_t count, float *dq)
{
    for (int64_t i = 0; i < count; i++)
        for (int64_t c = 0; c < b->s.d; c++) {
            float g = b->scale * dqt[c * QUERIES + i];
            float *to = dq + i * b->s.d + c;
            *to = b->add_dq ? *to + g : g;
        }
}

/* Floats of work memory of one thread: qt, dqt, scores, q_pad and the tile's lse, P, dP. */
static int64_t backward_work(const sizes *s)
{
    return 2 * s->d * QUERIES + SW_ATTEND_KEYS * QUERIES + QUERIES * s->d_pad + 3 * QUERIES;
}

/* All tiles of one part of one group. */
static void backward_part(const backward *b, int64_t item, float *work)
{
    const sizes *s = &b->s;
    int64_t group = item / b->parts, part = item % b->parts;
    float *dp = work, *q_pad = dp + QUERIES;
    sw_simd_attend a = {.k = b->k + group * s->n * s->d, .v = b->v + group * s->n, .n = s->n, .d = (int)s->d,
                        .d_pad = (int)s->d_pad, .lse = q_pad + QUERIES * s->d_pad, .dp = dp, .q_pad = q_pad,
                        .dk_pad = b->dk_sum + item * s->n * s->d_pad, .dv = b->dv_sum + item * s->n};
    a.p = a.lse + QUERIES;
    a.qt = a.p + QUERIES;
    a.dqt = a.qt + s->d * QUERIES;
    a.scores = a.dqt + s->d * QUERIES;
    memset(a.dk_pad, 0, (size_t)(s->n * s->d_pad) * sizeof(float));
    memset(a.dv, 0, (size_t)s->n * sizeof(double));
    for (int64_t tile = s->tiles * part / b->parts; tile < s->tiles * (part + 1) / b->parts; tile++) {
        int64_t count = tile_queries(s, tile), at = group * s->n + tile * QUERIES;
        memset(work, 0, QUERIES * sizeof(float));
        memset(a.lse, 0, 2 * QUERIES * sizeof(float));
        memcpy(dp, b->dp + at, (size_t)count * sizeof(float));
        memcpy(a.lse, b->lse + at, (size_t)count * sizeof(float));
        memcpy(a.p, b->p + at, (size_t)count * sizeof(float));
        load_queries(s, b->q + at * s->d, count, b->scale, a.qt);
        pad_queries(b, b->q + at * s->d, count, q_pad);
        b->cpu->simd->attend_grad(&a);
        if (b->dq) store_query_grad(b, a.dqt, count, b->dq + at * s->d);
    }
}

/* Adds up the parts of every key's gradient. */
static void join_parts(const backward *b)
{
    const sizes *s = &b->s;
#pragma omp parallel for schedule(static) num_threads(b->cpu->base.threads)
    for (int64_t i = 0; i < s->groups * s->n; i++) {
        int64_t group = i / s->n, key = i % s->n;
        const float *dk = b->dk_sum + (group * b->parts * s->n + key) * s->d_pad;
        const double *dv = b->dv_sum + group * b->parts * s->n + key;
        for (int64_t c = 0; b->dk && c < s->d; c++) {
            float sum = 0;
            for (int64_t part = 0; part < b->parts; part++) sum += dk[part * s->n * s->d_pad + c];
            b->dk[i * s->d + c] = b->add_dk ? b->dk[i * s->d + c] + sum : sum;
        }
        double sum = 0;
        for (int64_t part = 0; b->dv && part < b->parts; part++) sum += dv[part * s->n];
        if (b->dv) b->dv[i] = b->add_dv ? b->dv[i] + (float)sum : (float)sum;
    }
}

static float *wanted(sw_tensor *grad)
{
    return grad ? sw_cpu_f32(grad) : NULL;
}

sw_status sw_cpu_attend_one_backward(sw_backend *be, sw_backward_args *args, sw_error *err)
{
    sw_cpu *cpu = sw_cpu_of(be);
    int threads = cpu->base.threads;
    backward b = {.s = sizes_of(args->in[0]), .cpu = cpu,
                  .q = sw_cpu_f32(args->in[0]), .k = sw_cpu_f32(args->in[1]), .v = sw_cpu_f32(args->in[2]),
                  .p = sw_cpu_f32(args->out[0]), .lse = sw_cpu_f32(args->out[1]), .dp = sw_cpu_f32(args->grad_out),
                  .dq = wanted(args->grad_in[0]), .dk = wanted(args->grad_in[1]), .dv = wanted(args->grad_in[2]),
                  .add_dq = args->add[0], .add_dk = args->add[1], .add_dv = args->add[2],
                  .scale = (float)((const sw_attend_one_attr *)args->attr)->scale};
    const sizes *s = &b.s;
    int64_t wanted_items = cpu->lane ? SW_CPU_FIXED_PARTS : threads;
    b.parts = s->groups >= wanted_items ? 1 : (wanted_items + s->groups - 1) / s->groups;
    int64_t items = s->groups * b.parts, per_thread = backward_work(s);
    void *sums, *work;
    size_t dv_bytes = (size_t)(items * s->n) * sizeof(double);
    SW_TRY(sw_cpu_scratch(cpu, SW_SLOT_SUMS, dv_bytes + (size_t)(items * s->n * s->d_pad) * sizeof(float), &sums, err));
    SW_TRY(sw_cpu_scratch(cpu, SW_SLOT_WORK, (size_t)(per_thread * threads) * sizeof(float), &work, err));
    b.dv_sum = sums;
    b.dk_sum = (float *)(b.dv_sum + items * s->n);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int t = 0; t < threads; t++)
        for (int64_t item = items * t / threads; item < items * (t + 1) / threads; item++)
            backward_part(&b, item, (float *)work + t * per_thread);
    join_parts(&b);
    return SW_OK;
}
