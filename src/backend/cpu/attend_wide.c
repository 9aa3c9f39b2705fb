/* SPDX-License-Identifier: Apache-2.0 */
/* Attention whose values have several columns: y = softmax(scale q k^T) v per group, streamed in tiles of queries by keys,
 * so that memory grows with m + n and never with m n. Backward recomputes the tiles from the saved log-sum-exp:
 *   G_ij = exp(scale q_i.k_j - lse_i),  dv_j = sum_i G_ij dy_i,  dL_ij = G_ij (v_j.dy_i - y_i.dy_i),
 *   dq_i = scale sum_j dL_ij k_j,  dk_j = scale sum_i dL_ij q_i.
 * Work is cut by the sizes alone, into items of some tiles of queries and, where those are few, of some of the keys; sums
 * are joined in a fixed order: results do not depend on the threads. */
#include <math.h>
#include <string.h>

#include "backend/cpu/cpu_internal.h"
#include "base/mem.h"

#define QUERIES SW_ATTEND_QUERIES
/* Tiles of queries that pass over a stretch of keys while it is in the cache. */
#define FORWARD_TILES 4
#define BACKWARD_TILES 16
/* Floats of keys and values that are worked on together. */
#define STRETCH_FLOATS 65536
#define LOG2_E 1.44269504088896340736
#define LN_2 0.69314718055994530942

/* q [groups, m, d], k [groups, n, d], v [groups, n, e] */
typedef struct sizes {
    int64_t groups, m, n, d, e, d_pad, e_pad;
    int64_t tiles;             /* of queries, of one group */
    int64_t stretch;           /* keys that are worked on together */
    int64_t per_item, blocks;  /* tiles of an item, and items of one group that differ in their queries */
    int64_t parts, part_keys;  /* items of the same queries that differ in their keys, and how many those are */
    int64_t items;
} sizes;

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* `blocks`: pieces of one group's queries, of at least one tile. */
static sizes sizes_of(const sw_tensor *const *in, int64_t blocks)
{
    const int64_t *q = in[0]->shape.dim;
    sizes s = {.groups = q[0], .m = q[1], .n = in[1]->shape.dim[1], .d = q[2], .e = in[2]->shape.dim[2]};
    s.d_pad = up(s.d, SW_SPAN) * SW_SPAN;
    s.e_pad = up(s.e, SW_SPAN) * SW_SPAN;
    s.tiles = up(s.m, QUERIES);
    s.stretch = STRETCH_FLOATS / (s.d_pad + s.e_pad) / SW_ATTEND_KEYS * SW_ATTEND_KEYS;
    if (s.stretch < SW_ATTEND_KEYS) s.stretch = SW_ATTEND_KEYS;
    s.per_item = up(s.tiles, least(blocks, s.tiles));
    s.blocks = up(s.tiles, s.per_item);
    s.parts = least(up(SW_CPU_FIXED_PARTS, s.groups * s.blocks), up(s.n, 4 * SW_ATTEND_KEYS));
    s.part_keys = up(up(s.n, s.parts), SW_ATTEND_KEYS) * SW_ATTEND_KEYS;
    s.parts = up(s.n, s.part_keys);
    s.items = s.groups * s.blocks * s.parts;
    return s;
}

/* What an item of work is made of. */
typedef struct item {
    int64_t group, first, tiles; /* tiles of queries from `first` on */
    int64_t part, key, end;      /* keys from `key` on */
} item;

static item item_of(const sizes *s, int64_t index)
{
    item it = {.group = index / s->parts / s->blocks, .part = index % s->parts};
    it.first = index / s->parts % s->blocks * s->per_item;
    it.tiles = least(s->tiles - it.first, s->per_item);
    it.key = it.part * s->part_keys;
    it.end = least(s->n, it.key + s->part_keys);
    return it;
}

static int64_t tile_queries(const sizes *s, int64_t tile)
{
    return least(s->m - tile * QUERIES, QUERIES);
}

/* xt[c][i] = factor * x[i][c], zero beyond the last row. */
static void transpose(const float *x, int64_t rows, int64_t columns, float factor, float *xt)
{
    for (int64_t c = 0; c < columns; c++) {
        for (int64_t i = 0; i < rows; i++) xt[c * QUERIES + i] = factor * x[i * columns + c];
        for (int64_t i = rows; i < QUERIES; i++) xt[c * QUERIES + i] = 0;
    }
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
    float *y, *lse;
    double scale;
    int64_t state; /* floats of what the keys so far have left of a tile: top, sum, yt */
    float *states; /* [items][per_item][state] where there are several parts, otherwise of each thread */
} forward;

/* Floats of work memory of one thread: qt of each tile, part, weights. */
static int64_t forward_work(const sizes *s)
{
    return s->per_item * s->d * QUERIES + s->e * QUERIES + SW_ATTEND_KEYS * QUERIES;
}

/* y and the log-sum-exp of a tile's queries. */
static void finish_tile(const forward *f, int64_t group, int64_t tile, const float *state)
{
    const sizes *s = &f->s;
    const float *top = state, *sum = state + QUERIES, *yt = sum + QUERIES;
    int64_t at = group * s->m + tile * QUERIES, count = tile_queries(s, tile);
    for (int64_t i = 0; i < count; i++) {
        float inverse = 1.0f / sum[i];
        for (int64_t c = 0; c < s->e; c++) f->y[(at + i) * s->e + c] = yt[c * QUERIES + i] * inverse;
        f->lse[at + i] = (float)((double)top[i] * LN_2 + log((double)sum[i]));
    }
}

static void forward_item(const forward *f, int64_t index, float *state, float *work)
{
    const sizes *s = &f->s;
    item it = item_of(s, index);
    float *part = work + s->per_item * s->d * QUERIES;
    sw_simd_attend_wide a = {.d = (int)s->d, .e = (int)s->e, .d_pad = (int)s->d_pad, .e_pad = (int)s->e_pad, .part = part,
                             .weights = part + s->e * QUERIES};
    for (int64_t t = 0; t < it.tiles; t++) {
        const float *q = f->q + (it.group * s->m + (it.first + t) * QUERIES) * s->d;
        transpose(q, tile_queries(s, it.first + t), s->d, (float)(f->scale * LOG2_E), work + t * s->d * QUERIES);
        memset(state + t * f->state, 0, (size_t)f->state * sizeof(float));
        for (int i = 0; i < QUERIES; i++) state[t * f->state + i] = -INFINITY;
    }
    for (int64_t key = it.key; key < it.end; key += s->stretch)
        for (int64_t t = 0; t < it.tiles; t++) {
            a.keys = least(it.end - key, s->stretch);
            a.k = f->k + (it.group * s->n + key) * s->d;
            a.v = f->v + (it.group * s->n + key) * s->e;
            a.queries = (int)tile_queries(s, it.first + t);
            a.lanes = (a.queries + SW_SPAN - 1) / SW_SPAN * SW_SPAN;
            a.qt = work + t * s->d * QUERIES;
            a.top = state + t * f->state;
            a.sum = a.top + QUERIES;
            a.yt = a.sum + QUERIES;
            f->cpu->simd->attend_wide(&a);
        }
    for (int64_t t = 0; s->parts == 1 && t < it.tiles; t++) finish_tile(f, it.group, it.first + t, state + t * f->state);
}

/* Adds what the parts of the keys left of a tile, in order, into the first part's state. */
static void join_states(const forward *f, float *states, int64_t count)
{
    const sizes *s = &f->s;
    int64_t step = s->per_item * f->state;
    for (int64_t i = 0; i < count; i++) {
        float top = states[i];
        for (int64_t p = 1; p < s->parts; p++) top = fmaxf(top, states[p * step + i]);
        for (int64_t p = 0; p < s->parts; p++) {
            float fade = exp2f(states[p * step + i] - top);
            for (int64_t c = 1; c < s->e + 2; c++) {
                float x = fade * states[p * step + c * QUERIES + i], *to = states + c * QUERIES + i;
                *to = p ? *to + x : x;
            }
        }
        states[i] = top;
    }
}

static void join_forward(const forward *f)
{
    const sizes *s = &f->s;
#pragma omp parallel for schedule(static) num_threads(f->cpu->base.threads) if (s->groups * s->tiles > 1)
    for (int64_t i = 0; i < s->groups * s->tiles; i++) {
        int64_t group = i / s->tiles, tile = i % s->tiles, block = tile / s->per_item;
        int64_t index = (group * s->blocks + block) * s->parts;
        float *states = f->states + (index * s->per_item + tile % s->per_item) * f->state;
        join_states(f, states, tile_queries(s, tile));
        finish_tile(f, group, tile, states);
    }
}

/* in: q [g, m, d], k [g, n, d], v [g, n, e]; out: y [g, m, e], log-sum-exp [g, m] */
sw_status sw_cpu_attend_forward(sw_backend *be, sw_forward_args *args, sw_error *err)
{
    sw_cpu *cpu = sw_cpu_of(be);
    int threads = cpu->base.threads;
    forward f = {.s = sizes_of(args->in, up(args->in[0]->shape.dim[1], FORWARD_TILES * QUERIES)), .cpu = cpu,
                 .q = sw_cpu_f32(args->in[0]), .k = sw_cpu_f32(args->in[1]), .v = sw_cpu_f32(args->in[2]),
                 .y = sw_cpu_f32(args->out[0]), .lse = sw_cpu_f32(args->out[1]),
                 .scale = ((const sw_attend_attr *)args->attr)->scale};
    const sizes *s = &f.s;
    f.state = (s->e + 2) * QUERIES;
    int64_t per_thread = forward_work(s), per_item = s->per_item * f.state, next = 0;
    int64_t owners = s->parts > 1 ? s->items : threads;
    void *mem;
    SW_TRY(sw_cpu_scratch(cpu, SW_SLOT_WORK, (size_t)(per_thread * threads + per_item * owners) * sizeof(float), &mem, err));
    float *work = mem;
    f.states = work + per_thread * threads;
#pragma omp parallel for schedule(static) num_threads(threads) if (s->items > 1)
    for (int t = 0; t < threads; t++)
        for (int64_t i = next_item(&next); i < s->items; i = next_item(&next))
            forward_item(&f, i, f.states + (s->parts > 1 ? i : t) * per_item, work + t * per_thread);
    if (s->parts > 1) join_forward(&f);
    return SW_OK;
}

/* --- backward */

/* What the threads share. Sums over some of the queries (dk, dv) or of the keys (dq) wait to be joined in order. */
typedef struct backward {
    sizes s;
    const sw_cpu *cpu;
    const float *q, *k, *v, *y, *lse, *dy;
    float *dq, *dk, *dv; /* NULL: not wanted */
    bool add_dq, add_dk, add_dv;
    double scale;
    float *dk_sum; /* [groups][blocks][n][d_pad], or the gradient itself where there is nothing to join */
    float *dv_sum; /* [groups][blocks][n][e_pad], likewise */
    float *dq_sum; /* [groups][parts][m][d] where there are several parts */
} backward;

/* Floats of a tile of queries: qt, dqt, dyt, q_pad, dy_pad, log-sum-exp, mean. */
static int64_t tile_work(const sizes *s)
{
    return QUERIES * (2 * s->d + s->e + s->d_pad + s->e_pad + 2);
}

/* ... and of one thread, with weights and grads. */
static int64_t backward_work(const sizes *s)
{
    return least(BACKWARD_TILES, s->per_item) * tile_work(s) + 2 * SW_ATTEND_KEYS * QUERIES;
}

/* Where a tile's values lie in the work memory. */
typedef struct tile_memory {
    float *qt, *dqt, *dyt, *q_pad, *dy_pad, *lse, *mean;
} tile_memory;

static tile_memory tile_at(const sizes *s, float *mine)
{
    tile_memory at = {.qt = mine, .dqt = mine + s->d * QUERIES};
    at.dyt = at.dqt + s->d * QUERIES;
    at.q_pad = at.dyt + s->e * QUERIES;
    at.dy_pad = at.q_pad + s->d_pad * QUERIES;
    at.lse = at.dy_pad + s->e_pad * QUERIES;
    at.mean = at.lse + QUERIES;
    return at;
}

static void load_tile(const backward *b, int64_t group, int64_t tile, float *mine)
{
    const sizes *s = &b->s;
    tile_memory to = tile_at(s, mine); /* q_pad, dy_pad and lse follow each other */
    int64_t count = tile_queries(s, tile), at = group * s->m + tile * QUERIES;
    const float *q = b->q + at * s->d, *y = b->y + at * s->e, *dy = b->dy + at * s->e;
    transpose(q, count, s->d, (float)(b->scale * LOG2_E), to.qt);
    transpose(dy, count, s->e, 1, to.dyt);
    transpose(y, count, s->e, 1, to.dy_pad); /* for a moment */
    b->cpu->simd->attend_wide_mean(to.dy_pad, to.dyt, (int)s->e, to.mean);
    memset(to.dqt, 0, (size_t)(s->d * QUERIES) * sizeof(float));
    memset(to.q_pad, 0, (size_t)((s->d_pad + s->e_pad + 1) * QUERIES) * sizeof(float));
    for (int64_t i = 0; i < count; i++) {
        for (int64_t c = 0; c < s->d; c++) to.q_pad[i * s->d_pad + c] = (float)b->scale * q[i * s->d + c];
        memcpy(to.dy_pad + i * s->e_pad, dy + i * s->e, (size_t)s->e * sizeof(float));
        to.lse[i] = (float)((double)b->lse[at + i] * LOG2_E);
    }
}

/* dq of a tile's queries: the result, or this part's sums. */
static void store_query_grad(const backward *b, const item *it, int64_t tile, const float *dqt)
{
    const sizes *s = &b->s;
    bool whole = s->parts == 1, add = whole && b->add_dq;
    float scale = whole ? (float)b->scale : 1;
    int64_t row = (whole ? it->group : it->group * s->parts + it->part) * s->m + tile * QUERIES, count = tile_queries(s, tile);
    float *to = (whole ? b->dq : b->dq_sum) + row * s->d;
    for (int64_t i = 0; i < count; i++)
        for (int64_t c = 0; c < s->d; c++) {
            float g = scale * dqt[c * QUERIES + i];
            to[i * s->d + c] = add ? to[i * s->d + c] + g : g;
        }
}

/* Some tiles of queries from `first` on over all keys of an item. */
static void backward_tiles(const backward *b, const item *it, int64_t first, int64_t tiles, float *work)
{
    const sizes *s = &b->s;
    int64_t sums = (it->group * s->blocks + it->first / s->per_item) * s->n;
    float *weights = work + least(BACKWARD_TILES, s->per_item) * tile_work(s);
    sw_simd_attend_wide a = {.d = (int)s->d, .e = (int)s->e, .d_pad = (int)s->d_pad, .e_pad = (int)s->e_pad,
                             .weights = weights, .grads = weights + SW_ATTEND_KEYS * QUERIES};
    for (int64_t t = 0; t < tiles; t++) load_tile(b, it->group, first + t, work + t * tile_work(s));
    for (int64_t key = it->key; key < it->end; key += s->stretch)
        for (int64_t t = 0; t < tiles; t++) {
            tile_memory m = tile_at(s, work + t * tile_work(s));
            a.keys = least(it->end - key, s->stretch);
            a.k = b->k + (it->group * s->n + key) * s->d;
            a.v = b->v + (it->group * s->n + key) * s->e;
            a.queries = (int)tile_queries(s, first + t);
            a.lanes = (a.queries + SW_SPAN - 1) / SW_SPAN * SW_SPAN;
            a.qt = m.qt;
            a.dqt = m.dqt;
            a.dyt = m.dyt;
            a.q_pad = m.q_pad;
            a.dy_pad = m.dy_pad;
            a.top = m.lse;
            a.mean = m.mean;
            a.dk_pad = b->dk_sum + (sums + key) * s->d_pad;
            a.dv_pad = b->dv_sum + (sums + key) * s->e_pad;
            b->cpu->simd->attend_wide_grad(&a);
        }
    for (int64_t t = 0; b->dq && t < tiles; t++)
        store_query_grad(b, it, first + t, tile_at(s, work + t * tile_work(s)).dqt);
}

static void backward_item(const backward *b, int64_t index, float *work)
{
    const sizes *s = &b->s;
    item it = item_of(s, index);
    int64_t sums = (it.group * s->blocks + it.first / s->per_item) * s->n + it.key, keys = it.end - it.key;
    memset(b->dk_sum + sums * s->d_pad, 0, (size_t)(keys * s->d_pad) * sizeof(float));
    memset(b->dv_sum + sums * s->e_pad, 0, (size_t)(keys * s->e_pad) * sizeof(float));
    for (int64_t t = 0; t < it.tiles; t += BACKWARD_TILES)
        backward_tiles(b, &it, it.first + t, least(it.tiles - t, BACKWARD_TILES), work);
}

/* to [groups][rows][columns] (+)= scale * the sum over `parts` of sums [groups][parts][rows][step]; nothing where that is it */
static void join(const sw_cpu *cpu, const float *sums, int64_t groups, int64_t parts, int64_t rows, int64_t columns,
                 int64_t step, float scale, bool add, float *to)
{
    if (!to || to == sums) return;
#pragma omp parallel for schedule(static) num_threads(cpu->base.threads) if (groups * rows * columns > SW_CPU_CHUNK)
    for (int64_t i = 0; i < groups * rows; i++) {
        const float *from = sums + (i / rows * parts * rows + i % rows) * step;
        for (int64_t c = 0; c < columns; c++) {
            float sum = 0;
            for (int64_t p = 0; p < parts; p++) sum += from[p * rows * step + c];
            to[i * columns + c] = add ? to[i * columns + c] + scale * sum : scale * sum;
        }
    }
}

static float *wanted(sw_tensor *grad)
{
    return grad ? sw_cpu_f32(grad) : NULL;
}

sw_status sw_cpu_attend_backward(sw_backend *be, sw_backward_args *args, sw_error *err)
{
    sw_cpu *cpu = sw_cpu_of(be);
    int threads = cpu->base.threads;
    backward b = {.s = sizes_of(args->in, up(SW_CPU_FIXED_PARTS, args->in[0]->shape.dim[0])), .cpu = cpu,
                  .q = sw_cpu_f32(args->in[0]), .k = sw_cpu_f32(args->in[1]), .v = sw_cpu_f32(args->in[2]),
                  .y = sw_cpu_f32(args->out[0]), .lse = sw_cpu_f32(args->out[1]), .dy = sw_cpu_f32(args->grad_out),
                  .dq = wanted(args->grad_in[0]), .dk = wanted(args->grad_in[1]), .dv = wanted(args->grad_in[2]),
                  .add_dq = args->add[0], .add_dk = args->add[1], .add_dv = args->add[2],
                  .scale = ((const sw_attend_attr *)args->attr)->scale};
    const sizes *s = &b.s;
    int64_t per_thread = backward_work(s), next = 0, keys = up(s->groups * s->blocks * s->n, QUERIES) * QUERIES;
    bool dk_itself = s->blocks == 1 && b.dk && !b.add_dk && s->d == s->d_pad;
    bool dv_itself = s->blocks == 1 && b.dv && !b.add_dv && s->e == s->e_pad;
    int64_t dk_floats = dk_itself ? 0 : keys * s->d_pad, dv_floats = dv_itself ? 0 : keys * s->e_pad;
    int64_t dq_floats = s->parts > 1 ? s->groups * s->parts * s->m * s->d : 0;
    /* Of the arena, not a slot: it grows with the bag, and what the chunks' activations leave free lies idle now. */
    SW_CLEANUP(sw_tensor_release) sw_tensor mem = {0};
    SW_TRY(sw_tensor_new(&be->device, SW_F32, SW_SHAPE(dk_floats + dv_floats + per_thread * threads + dq_floats), &mem, err));
    b.dk_sum = dk_itself ? b.dk : sw_cpu_f32(&mem);
    b.dv_sum = dv_itself ? b.dv : sw_cpu_f32(&mem) + dk_floats;
    float *work = sw_cpu_f32(&mem) + dk_floats + dv_floats;
    b.dq_sum = work + per_thread * threads;
#pragma omp parallel for schedule(static) num_threads(threads) if (s->items > 1)
    for (int t = 0; t < threads; t++)
        for (int64_t i = next_item(&next); i < s->items; i = next_item(&next)) backward_item(&b, i, work + t * per_thread);
    join(cpu, b.dk_sum, s->groups, s->blocks, s->n, s->d, s->d_pad, 1, b.add_dk, b.dk);
    join(cpu, b.dv_sum, s->groups, s->blocks, s->n, s->e, s->e_pad, 1, b.add_dv, b.dv);
    if (s->parts > 1) join(cpu, b.dq_sum, s->groups, s->parts, s->m, s->d, s->d, (float)b.scale, b.add_dq, b.dq);
    return SW_OK;
}
