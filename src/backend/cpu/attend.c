/* SPDX-License-Identifier: Apache-2.0 */
/* Attention with one value column: P = softmax(scale q k^T) v per group, streamed in tiles of queries by keys, so
 * that memory grows with n and never with n^2. Backward recomputes the tiles from the saved log-sum-exp:
 *   G_ij = exp(scale q_i.k_j - lse_i),  dv_j = sum_i G_ij dP_i,  dL_ij = G_ij dP_i (v_j - P_i),
 *   dq_i = scale sum_j dL_ij k_j,  dk_j = scale sum_i dL_ij q_i.
 * Work is cut by the sizes alone and sums are joined in a fixed order: results do not depend on the threads.
 *
 * With attr->reduced, where the CPU has products of bfloat16, q, k and dL are rounded to it in the products. Sums and all
 * else stay float, and backward sees the same rounded scores as forward. */
#include <math.h>
#include <string.h>

#include "backend/cpu/cpu_internal.h"
#include "base/mem.h"

#define QUERIES SW_ATTEND_QUERIES
/* Tiles of queries that pass over a stretch of keys while it is in the cache. */
#define FORWARD_TILES 4
#define BACKWARD_TILES 16
#define LOG2_E 1.44269504088896340736
#define LN_2 0.69314718055994530942

/* q, k [g, n, d]; more leading dimensions are groups too. */
typedef struct sizes {
    int64_t groups, n, d, d_pad, tiles;
    int64_t stretch; /* keys that are worked on together: about a quarter of the second cache */
} sizes;

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static sizes sizes_of(const sw_tensor *q)
{
    int rank = q->shape.rank;
    sizes s = {.n = q->shape.dim[rank - 2], .d = q->shape.dim[rank - 1]};
    s.groups = sw_tensor_count(q) / (s.n * s.d);
    s.d_pad = (s.d + SW_SPAN - 1) / SW_SPAN * SW_SPAN;
    s.tiles = (s.n + QUERIES - 1) / QUERIES;
    s.stretch = 32768 / s.d_pad / SW_ATTEND_KEYS * SW_ATTEND_KEYS;
    if (s.stretch < SW_ATTEND_KEYS) s.stretch = SW_ATTEND_KEYS;
    return s;
}

/* qt[c][i] = scale * log2(e) * q[first + i][c], zero beyond the last query. */
static void load_queries(const sizes *s, const float *q, int64_t count, double scale, float *qt)
{
    float factor = (float)(scale * LOG2_E);
    for (int64_t c = 0; c < s->d; c++) {
        for (int64_t i = 0; i < count; i++) qt[c * QUERIES + i] = factor * q[i * s->d + c];
        for (int64_t i = count; i < QUERIES; i++) qt[c * QUERIES + i] = 0;
    }
}

/* The kernels with products of bfloat16; NULL: not wanted or not there. */
static const sw_simd_attend_bf16 *narrow_of(const sw_cpu *cpu, const sw_attend_one_attr *attr)
{
    return attr->reduced ? cpu->attend_bf16 : NULL;
}

/* Keys in the form that the bfloat16 kernels read, made for a whole call. */
typedef struct narrow_keys {
    const sw_simd_attend_bf16 *simd; /* NULL: keys are read as they are */
    int64_t words, pairs;            /* words of a key, pairs of keys of a group */
    uint32_t *k_words;               /* [groups * n][words] */
    uint32_t *k_pairs;               /* [groups][pairs][d], backward only */
} narrow_keys;

/* `mem` holds them, of the arena like all that grows with the bag. */
static sw_status narrow_keys_make(sw_cpu *cpu, const sizes *s, const float *k, bool backward, narrow_keys *out,
                                  sw_tensor *mem, sw_error *err)
{
    int64_t words = (s->d + 1) / 2, pairs = (s->n + 1) / 2, piece = 4096 / s->d * 2 + 2, pieces = (s->n + piece - 1) / piece;
    int64_t all_words = (s->groups * s->n * words + QUERIES - 1) / QUERIES * QUERIES; /* what follows stays aligned */
    int64_t all_pairs = backward ? s->groups * pairs * s->d : 0;
    out->words = words;
    out->pairs = pairs;
    SW_TRY(sw_tensor_new(&cpu->base.device, SW_I32, SW_SHAPE(all_words + all_pairs), mem, err));
    out->k_words = sw_cpu_mem(mem);
    out->k_pairs = backward ? out->k_words + all_words : NULL;
#pragma omp parallel for schedule(static) num_threads(cpu->base.threads) if (s->groups * pieces > 1)
    for (int64_t i = 0; i < s->groups * pieces; i++) {
        int64_t group = i / pieces, row = i % pieces * piece, rows = least(s->n - row, piece);
        const float *from = k + (group * s->n + row) * s->d;
        out->simd->words(from, rows, (int)s->d, out->k_words + (group * s->n + row) * words);
        if (backward) out->simd->pairs(from, rows, (int)s->d, (int)s->d, out->k_pairs + (group * pairs + row / 2) * s->d);
    }
    return SW_OK;
}

static int64_t tile_queries(const sizes *s, int64_t tile)
{
    return least(s->n - tile * QUERIES, QUERIES);
}

/* The next item of work for whichever thread asks first. */
static int64_t next_item(int64_t *next)
{
    return __atomic_fetch_add(next, 1, __ATOMIC_RELAXED);
}

/* --- forward */

typedef struct forward {
    sizes s;
    const sw_cpu *cpu;
    const float *q, *k, *v;
    float *p, *lse;
    double scale;
    narrow_keys narrow;
} forward;

/* Floats of work memory of one thread: per tile qt, top, sum, weighted. */
static int64_t forward_work(const sizes *s)
{
    return FORWARD_TILES * (s->d + 3) * QUERIES;
}

static void finish_queries(const forward *f, const sw_simd_attend *a, int64_t at, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        f->p[at + i] = a->weighted[i] / a->sum[i];
        f->lse[at + i] = (float)((double)a->top[i] * LN_2 + log((double)a->sum[i]));
    }
}

/* Queries from `at` on, in the form that the kernels read, to `work`. */
static void forward_queries(const forward *f, int64_t at, int64_t count, float *work, sw_simd_attend *a)
{
    const float *q = f->q + at * f->s.d;
    if (!f->narrow.simd) {
        load_queries(&f->s, q, count, f->scale, work);
        return;
    }
    uint32_t *words = (uint32_t *)(void *)work; /* half as many as floats */
    f->narrow.simd->query_words(q, count, (int)f->s.d, (float)(f->scale * LOG2_E), words);
    a->words = (int)f->narrow.words;
    a->qt_words = words;
}

/* The tiles from `first` on of one group, at most FORWARD_TILES. */
static void forward_tiles(const forward *f, int64_t group, int64_t first, float *work)
{
    const sizes *s = &f->s;
    int64_t tiles = least(s->tiles - first, FORWARD_TILES);
    sw_simd_attend a[FORWARD_TILES];
    for (int64_t t = 0; t < tiles; t++) {
        float *mine = work + t * (s->d + 3) * QUERIES;
        a[t] = (sw_simd_attend){.d = (int)s->d, .d_pad = (int)s->d_pad, .qt = mine, .top = mine + s->d * QUERIES};
        a[t].sum = a[t].top + QUERIES;
        a[t].weighted = a[t].sum + QUERIES;
        memset(a[t].sum, 0, 2 * QUERIES * sizeof(float));
        for (int i = 0; i < QUERIES; i++) a[t].top[i] = -INFINITY;
        int64_t at = group * s->n + (first + t) * QUERIES;
        forward_queries(f, at, tile_queries(s, first + t), mine, &a[t]);
    }
    for (int64_t key = 0; key < s->n; key += s->stretch)
        for (int64_t t = 0; t < tiles; t++) {
            a[t].keys = least(s->n - key, s->stretch);
            a[t].k = f->k + (group * s->n + key) * s->d;
            a[t].v = f->v + group * s->n + key;
            if (f->narrow.simd) {
                a[t].k_words = f->narrow.k_words + (group * s->n + key) * f->narrow.words;
                f->narrow.simd->attend(&a[t]);
            } else {
                f->cpu->simd->attend(&a[t]);
            }
        }
    for (int64_t t = 0; t < tiles; t++)
        finish_queries(f, &a[t], group * s->n + (first + t) * QUERIES, tile_queries(s, first + t));
}

/* in: q, k [g, n, d], v [g, n]; out: P [g, n], log-sum-exp [g, n] */
sw_status sw_cpu_attend_one_forward(sw_backend *be, sw_forward_args *args, sw_error *err)
{
    sw_cpu *cpu = sw_cpu_of(be);
    const sw_attend_one_attr *attr = args->attr;
    forward f = {.s = sizes_of(args->in[0]), .cpu = cpu, .q = sw_cpu_f32(args->in[0]), .k = sw_cpu_f32(args->in[1]),
                 .v = sw_cpu_f32(args->in[2]), .p = sw_cpu_f32(args->out[0]), .lse = sw_cpu_f32(args->out[1]),
                 .scale = attr->scale, .narrow.simd = narrow_of(cpu, attr)};
    int64_t per_group = (f.s.tiles + FORWARD_TILES - 1) / FORWARD_TILES, items = f.s.groups * per_group;
    int64_t per_thread = forward_work(&f.s), next = 0;
    int threads = cpu->base.threads;
    void *work;
    SW_TRY(sw_cpu_scratch(cpu, SW_SLOT_WORK, (size_t)(per_thread * threads) * sizeof(float), &work, err));
    SW_CLEANUP(sw_tensor_release) sw_tensor narrow = {0};
    if (f.narrow.simd) SW_TRY(narrow_keys_make(cpu, &f.s, f.k, false, &f.narrow, &narrow, err));
#pragma omp parallel for schedule(static) num_threads(threads) if (items > 1)
    for (int t = 0; t < threads; t++)
        for (int64_t i = next_item(&next); i < items; i = next_item(&next))
            forward_tiles(&f, i / per_group, i % per_group * FORWARD_TILES, (float *)work + t * per_thread);
    return SW_OK;
}

/* --- backward */

/* What the threads share. A group's queries are cut into `parts` ranges of tiles, each with its own sums for dk and
 * dv, joined in order afterwards. */
typedef struct backward {
    sizes s;
    const sw_cpu *cpu;
    const float *q, *k, *v, *p, *lse, *dp;
    float *dq, *dk, *dv; /* NULL: not wanted */
    bool add_dq, add_dk, add_dv;
    double scale;
    narrow_keys narrow;
    int64_t parts;
    float *dk_sum;  /* [groups * parts][n][d_pad] */
    double *dv_sum; /* [groups * parts][n] */
} backward;

/* Floats of work memory: of one tile (qt, dqt, q_pad, lse, P, dP), and of one thread, with scores and dv. */
static int64_t tile_work(const sizes *s)
{
    return QUERIES * (2 * s->d + s->d_pad + 3);
}

static int64_t backward_work(const backward *b)
{
    int64_t most = (b->s.tiles + b->parts - 1) / b->parts;
    return most * tile_work(&b->s) + SW_ATTEND_KEYS * QUERIES + b->s.stretch * SW_SPAN;
}

/* Where a tile's values lie in the work memory; dqt starts at zero. The words of bfloat16 lie where the floats would. */
static sw_simd_attend tile_at(const sizes *s, float *mine)
{
    sw_simd_attend a = {.d = (int)s->d, .d_pad = (int)s->d_pad, .qt = mine, .dqt = mine + s->d * QUERIES};
    a.q_pad = a.dqt + s->d * QUERIES;
    a.top = a.dqt + (s->d + s->d_pad) * QUERIES;
    a.p = a.top + QUERIES;
    a.dp = a.p + QUERIES;
    a.words = (int)((s->d + 1) / 2);
    a.qt_words = (const uint32_t *)(const void *)a.qt;
    a.q_pairs = (const uint32_t *)(const void *)a.q_pad;
    return a;
}

static void load_tile(const backward *b, int64_t group, int64_t tile, float *mine)
{
    const sizes *s = &b->s;
    int64_t count = tile_queries(s, tile), at = group * s->n + tile * QUERIES;
    const float *q = b->q + at * s->d;
    memset(mine, 0, (size_t)tile_work(s) * sizeof(float));
    float *q_pad = mine + 2 * s->d * QUERIES, *lse = q_pad + s->d_pad * QUERIES;
    if (b->narrow.simd) {
        b->narrow.simd->query_words(q, count, (int)s->d, (float)(b->scale * LOG2_E), (uint32_t *)(void *)mine);
        b->narrow.simd->pairs(q, count, (int)s->d, (int)s->d_pad, (uint32_t *)(void *)q_pad);
    } else {
        load_queries(s, q, count, b->scale, mine);
        for (int64_t i = 0; i < count; i++)
            memcpy(q_pad + i * s->d_pad, q + i * s->d, (size_t)s->d * sizeof(float));
    }
    for (int64_t i = 0; i < count; i++) lse[i] = (float)((double)b->lse[at + i] * LOG2_E);
    memcpy(lse + QUERIES, b->p + at, (size_t)count * sizeof(float));
    memcpy(lse + 2 * QUERIES, b->dp + at, (size_t)count * sizeof(float));
}

static void store_query_grad(const backward *b, const float *dqt, int64_t count, float *dq)
{
    for (int64_t i = 0; i < count; i++)
        for (int64_t c = 0; c < b->s.d; c++) {
            float g = (float)b->scale * dqt[c * QUERIES + i];
            float *to = dq + i * b->s.d + c;
            *to = b->add_dq ? *to + g : g;
        }
}

/* Some tiles of queries over one stretch of keys; dv of the stretch goes on in double. */
static void pass_stretch(const backward *b, int64_t item, int64_t key, float *tiles, int64_t count, float *scores)
{
    const sizes *s = &b->s;
    int64_t group = item / b->parts, keys = least(s->n - key, s->stretch);
    float *dv_lanes = scores + SW_ATTEND_KEYS * QUERIES;
    memset(dv_lanes, 0, (size_t)(keys * SW_SPAN) * sizeof(float));
    for (int64_t t = 0; t < count; t++) {
        sw_simd_attend a = tile_at(s, tiles + t * tile_work(s));
        a.keys = keys;
        a.k = b->k + (group * s->n + key) * s->d;
        a.v = b->v + group * s->n + key;
        a.scores = scores;
        a.dk_pad = b->dk_sum + (item * s->n + key) * s->d_pad;
        a.dv_lanes = dv_lanes;
        if (b->narrow.simd) {
            a.k_words = b->narrow.k_words + (group * s->n + key) * b->narrow.words;
            a.k_pairs = b->narrow.k_pairs + (group * b->narrow.pairs + key / 2) * s->d;
            a.score_words = (uint32_t *)(void *)scores; /* both together take as much room as the floats */
            a.score_pairs = a.score_words + SW_ATTEND_KEYS / 2 * QUERIES;
            b->narrow.simd->attend_grad(&a);
        } else {
            b->cpu->simd->attend_grad(&a);
        }
    }
    double *dv = b->dv_sum + item * s->n + key;
    for (int64_t j = 0; j < keys; j++) {
        float sum = 0;
        for (int l = 0; l < SW_SPAN; l++) sum += dv_lanes[j * SW_SPAN + l];
        dv[j] += (double)sum;
    }
}

/* All tiles of one part of one group. */
static void backward_part(const backward *b, int64_t item, float *work)
{
    const sizes *s = &b->s;
    int64_t group = item / b->parts, part = item % b->parts;
    int64_t first = s->tiles * part / b->parts, end = s->tiles * (part + 1) / b->parts;
    float *scores = work + (s->tiles + b->parts - 1) / b->parts * tile_work(s);
    memset(b->dk_sum + item * s->n * s->d_pad, 0, (size_t)(s->n * s->d_pad) * sizeof(float));
    memset(b->dv_sum + item * s->n, 0, (size_t)s->n * sizeof(double));
    for (int64_t t = first; t < end; t++) load_tile(b, group, t, work + (t - first) * tile_work(s));
    for (int64_t key = 0; key < s->n; key += s->stretch)
        for (int64_t t = first; t < end; t += BACKWARD_TILES)
            pass_stretch(b, item, key, work + (t - first) * tile_work(s), least(end - t, BACKWARD_TILES), scores);
    for (int64_t t = first; b->dq && t < end; t++)
        store_query_grad(b, tile_at(s, work + (t - first) * tile_work(s)).dqt, tile_queries(s, t),
                         b->dq + (group * s->n + t * QUERIES) * s->d);
}

/* Adds up the parts of every key's gradient. */
static void join_parts(const backward *b)
{
    const sizes *s = &b->s;
    float scale = (float)b->scale;
#pragma omp parallel for schedule(static) num_threads(b->cpu->base.threads) if (s->groups * s->n * s->d > SW_CPU_CHUNK)
    for (int64_t i = 0; i < s->groups * s->n; i++) {
        int64_t group = i / s->n, key = i % s->n;
        const float *dk = b->dk_sum + (group * b->parts * s->n + key) * s->d_pad;
        const double *dv = b->dv_sum + group * b->parts * s->n + key;
        for (int64_t c = 0; b->dk && c < s->d; c++) {
            float sum = 0;
            for (int64_t part = 0; part < b->parts; part++) sum += dk[part * s->n * s->d_pad + c];
            b->dk[i * s->d + c] = b->add_dk ? b->dk[i * s->d + c] + scale * sum : scale * sum;
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
    const sw_attend_one_attr *attr = args->attr;
    backward b = {.s = sizes_of(args->in[0]), .cpu = cpu,
                  .q = sw_cpu_f32(args->in[0]), .k = sw_cpu_f32(args->in[1]), .v = sw_cpu_f32(args->in[2]),
                  .p = sw_cpu_f32(args->out[0]), .lse = sw_cpu_f32(args->out[1]), .dp = sw_cpu_f32(args->grad_out),
                  .dq = wanted(args->grad_in[0]), .dk = wanted(args->grad_in[1]), .dv = wanted(args->grad_in[2]),
                  .add_dq = args->add[0], .add_dk = args->add[1], .add_dv = args->add[2],
                  .scale = attr->scale, .narrow.simd = narrow_of(cpu, attr)};
    const sizes *s = &b.s;
    b.parts = s->groups >= SW_CPU_FIXED_PARTS ? 1 : (SW_CPU_FIXED_PARTS + s->groups - 1) / s->groups;
    b.parts = least(b.parts, s->tiles);
    int64_t items = s->groups * b.parts, per_thread = backward_work(&b), next = 0;
    /* Of the arena, not a slot: it grows with the bag, and what the chunks' activations leave free lies idle now. */
    SW_CLEANUP(sw_tensor_release) sw_tensor sums = {0};
    int64_t keys = (items * s->n + QUERIES - 1) / QUERIES * QUERIES; /* what follows stays aligned */
    int64_t dv_floats = keys * (int64_t)(sizeof(double) / sizeof(float)), dk_floats = keys * s->d_pad;
    SW_TRY(sw_tensor_new(&be->device, SW_F32, SW_SHAPE(dv_floats + dk_floats + per_thread * threads), &sums, err));
    b.dv_sum = sw_cpu_mem(&sums);
    b.dk_sum = sw_cpu_f32(&sums) + dv_floats;
    float *work = b.dk_sum + dk_floats;
    SW_CLEANUP(sw_tensor_release) sw_tensor narrow = {0};
    if (b.narrow.simd) SW_TRY(narrow_keys_make(cpu, s, b.k, true, &b.narrow, &narrow, err));
#pragma omp parallel for schedule(static) num_threads(threads) if (items > 1)
    for (int t = 0; t < threads; t++)
        for (int64_t item = next_item(&next); item < items; item = next_item(&next))
            backward_part(&b, item, work + t * per_thread);
    join_parts(&b);
    return SW_OK;
}
