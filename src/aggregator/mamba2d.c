/* SPDX-License-Identifier: Apache-2.0 */
/* 2DMambaMIL (Zhang et al. 2025) by its equations, which its CUDA kernel follows: patches lie on the grid of their slide, a learned
 * vector where there is none; selective scans along the rows and down the columns mix them, and attention over all cells pools them.
 * Layers have their biases as published. The canvas is as large as the bag's patches reach, unless one is given. */
#include <math.h>
#include <stdio.h>

#include "aggregator/aggregator.h"
#include "base/mem.h"

enum { ATTENTION = 128, TAPS = 4, MOST_CELLS = 1 << 24 };
static const double EPS = 1e-5;

typedef struct block {
    sw_mil_linear dt;
    int a_log, d, in, taps, taps_bias, x, out, norm;
} block;

typedef struct mamba2d {
    int pad, blocks, rank; /* rank: of what the steps are made of */
    sw_mil_linear feature, norm, attention1, attention2, classifier;
    block *block;
} mamba2d;

static void destroy(void *state)
{
    mamba2d *m = state;
    sw_free(m->block);
    sw_free(m);
}

static void add_block(sw_nn_builder *b, const sw_aggregator_options *o, mamba2d *m, int i)
{
    block *l = &m->block[i];
    char name[64];
    int64_t c = o->inner_dim, e = 2 * c, n = o->state;
    l->a_log = sw_nn_add(b, SW_PARAM, SW_INIT_LOG_PLACE, SW_SHAPE(e, n), "layers.layers.%d.mixer.A_log", i);
    l->d = sw_nn_add(b, SW_PARAM, SW_INIT_ONE, SW_SHAPE(e), "layers.layers.%d.mixer.D", i);
    l->in = sw_nn_add(b, SW_PARAM, SW_INIT_XAVIER, SW_SHAPE(2 * e, c), "layers.layers.%d.mixer.in_proj.weight", i);
    l->taps = sw_nn_add(b, SW_PARAM, SW_INIT_UNIFORM_FAN_IN, SW_SHAPE(e, 1, TAPS), "layers.layers.%d.mixer.conv1d.weight", i);
    l->taps_bias = sw_nn_add_bounded(b, 1.0 / sqrt(TAPS), SW_SHAPE(e), "layers.layers.%d.mixer.conv1d.bias", i);
    l->x = sw_nn_add(b, SW_PARAM, SW_INIT_XAVIER, SW_SHAPE(m->rank + 2 * n, e), "layers.layers.%d.mixer.x_proj.weight", i);
    snprintf(name, sizeof name, "layers.layers.%d.mixer.dt_proj", i);
    l->dt = sw_mil_add_linear(b, e, m->rank, true, name);
    l->out = sw_nn_add(b, SW_PARAM, SW_INIT_XAVIER, SW_SHAPE(c, e), "layers.layers.%d.mixer.out_proj.weight", i);
    l->norm = sw_nn_add(b, SW_PARAM, SW_INIT_ONE, SW_SHAPE(c), "layers.layers.%d.norm.weight", i);
}

static sw_status build(sw_nn_builder *b, const sw_aggregator_options *o, void **state, sw_error *err)
{
    if (o->blocks < 1 || o->blocks > 64)
        return sw_error_set(err, SW_E_INVALID, "aggregator.blocks: %d is not between 1 and 64", o->blocks);
    if (o->state < 1 || o->state > 1024)
        return sw_error_set(err, SW_E_INVALID, "aggregator.state: %d is not between 1 and 1024", o->state);
    if ((o->canvas_rows > 0) != (o->canvas_columns > 0))
        return sw_error_set(err, SW_E_INVALID, "aggregator.canvas_rows: %d and aggregator.canvas_columns: %d must both be 0 or both be more",
                            o->canvas_rows, o->canvas_columns);
    mamba2d *m = sw_calloc(1, sizeof *m);
    if (!m) return sw_nomem(err);
    *state = m;
    m->blocks = o->blocks;
    m->rank = (o->inner_dim + 15) / 16;
    m->block = sw_calloc((size_t)m->blocks, sizeof *m->block);
    if (!m->block) return sw_nomem(err);
    m->feature = sw_mil_add_linear(b, o->inner_dim, o->input_dim, true, "_fc1.0");
    m->norm = sw_mil_add_norm(b, o->inner_dim, true, "norm");
    m->pad = sw_nn_add(b, SW_PARAM, SW_INIT_UNIT, SW_SHAPE(o->inner_dim), "layers.pad_token");
    for (int i = 0; i < m->blocks; i++) add_block(b, o, m, i);
    m->attention1 = sw_mil_add_linear(b, ATTENTION, o->inner_dim, true, "attention.0");
    m->attention2 = sw_mil_add_linear(b, 1, ATTENTION, true, "attention.2");
    m->classifier = sw_mil_add_linear(b, o->classes, o->inner_dim, true, "classifier");
    return SW_OK;
}

/* --- the canvas of a bag */

typedef struct canvas {
    int64_t rows, columns;
    int32_t *cell;  /* [n] of each patch, */
    int32_t *patch; /* [rows * columns] and the last patch of each cell, n where there is none */
} canvas;

static void canvas_free(canvas *v)
{
    sw_free(v->cell);
    sw_free(v->patch);
}

/* Where position x is in units of cells: from the first one on, or from the slide's corner where the canvas is given. */
static int64_t cell_at(double x, double first, bool given)
{
    return given ? (int64_t)floor(x + 0.01) : (int64_t)llround(x - first);
}

static sw_status size_canvas(const sw_aggregator_options *o, const float *xy, int64_t n, double low[2], canvas *v, sw_error *err)
{
    double high[2];
    for (int k = 0; k < 2; k++) low[k] = high[k] = xy[k];
    for (int64_t i = 0; i < 2 * n; i++) {
        low[i % 2] = fmin(low[i % 2], xy[i]);
        high[i % 2] = fmax(high[i % 2], xy[i]);
    }
    bool given = o->canvas_rows > 0;
    int64_t columns = cell_at(high[0], low[0], given) + 1, rows = cell_at(high[1], low[1], given) + 1;
    if (given && (columns > o->canvas_columns || rows > o->canvas_rows || low[0] < -0.01 || low[1] < -0.01))
        return sw_error_set(err, SW_E_INVALID, "a bag's patches reach over %lld rows and %lld columns of cells; aggregator.canvas_rows and "
                                               "aggregator.canvas_columns, %d and %d, must hold them, or be 0 for canvases as large as each bag",
                            (long long)rows, (long long)columns, o->canvas_rows, o->canvas_columns);
    v->rows = given ? o->canvas_rows : rows;
    v->columns = given ? o->canvas_columns : columns;
    if ((double)v->rows * (double)v->columns <= MOST_CELLS) return SW_OK;
    return sw_error_set(err, SW_E_INVALID, "a bag's patches lie %lld rows and %lld columns of cells apart, which is too far for mamba2d",
                        (long long)v->rows, (long long)v->columns);
}

/* xy [n, 2]; NULL, or not a number: unknown, the patches lie row by row on a square. */
static sw_status lay_out(const sw_aggregator_options *o, const float *xy, int64_t n, canvas *v, sw_error *err)
{
    double low[2] = {0};
    bool known = xy != NULL;
    for (int64_t i = 0; known && i < 2 * n; i++) known = isfinite(xy[i]);
    if (known) {
        SW_TRY(size_canvas(o, xy, n, low, v, err));
    } else {
        v->columns = sw_mil_side(n);
        v->rows = (n + v->columns - 1) / v->columns;
    }
    v->cell = sw_malloc((size_t)n * sizeof *v->cell);
    v->patch = sw_malloc((size_t)(v->rows * v->columns) * sizeof *v->patch);
    if (!v->cell || !v->patch) return sw_nomem(err);
    for (int64_t i = 0; i < v->rows * v->columns; i++) v->patch[i] = (int32_t)n;
    for (int64_t i = 0; i < n; i++) {
        int64_t at = i;
        if (known) at = cell_at(xy[2 * i + 1], low[1], o->canvas_rows > 0) * v->columns + cell_at(xy[2 * i], low[0], o->canvas_rows > 0);
        v->cell[i] = (int32_t)at;
        v->patch[at] = (int32_t)i;
    }
    return SW_OK;
}

/* --- forward, one bag at a time */

typedef struct pass {
    const mamba2d *m;
    const sw_aggregator_options *o;
    sw_tape *tape;
    sw_slab *slab;
} pass;

static sw_var *param(const pass *p, int index)
{
    return sw_tape_param(p->tape, p->slab, index);
}

/* x times rows [first, first + count) of a weight, without a bias */
static sw_var *part_of(const pass *p, sw_var *x, int weight, int64_t first, int64_t count)
{
    return sw_linear(p->tape, x, sw_rows(p->tape, param(p, weight), first, count), NULL);
}

static sw_var *silu(sw_tape *t, sw_var *x)
{
    return sw_mil_instead(x, sw_silu(t, x));
}

/* Each channel's weighted sum of a cell and the TAPS - 1 before it, row by row; x [cells, e] is let go. */
static sw_var *convolve(const pass *p, const block *l, sw_var *x)
{
    sw_tape *t = p->tape;
    static const int turn[] = {1, 0};
    int64_t cells = sw_var_shape(x)->dim[0], e = sw_var_shape(x)->dim[1];
    /* Of an odd window the half behind the cell is zero. */
    sw_var *taps = sw_permute(t, sw_reshape(t, param(p, l->taps), SW_SHAPE(e, TAPS)), turn);
    taps = sw_concat(t, taps, sw_mil_constant(t, sw_var_value(x)->dtype, SW_SHAPE(TAPS - 1, e), NULL));
    taps = sw_reshape(t, sw_permute(t, taps, turn), SW_SHAPE(e, 1, 1, 2 * TAPS - 1));
    sw_var *line = sw_mil_instead(x, sw_permute(t, x, turn));
    line = sw_mil_instead(line, sw_reshape(t, line, SW_SHAPE(1, e, 1, cells)));
    sw_var *y = sw_mil_instead(line, sw_depthwise(t, line, taps, param(p, l->taps_bias)));
    y = sw_mil_instead(y, sw_reshape(t, y, SW_SHAPE(e, cells)));
    return sw_mil_instead(y, sw_permute(t, y, turn));
}

static sw_var *on_grid(sw_tape *t, const canvas *v, sw_var *x)
{
    return sw_mil_instead(x, sw_reshape(t, x, SW_SHAPE(v->rows, v->columns, sw_var_shape(x)->dim[1])));
}

/* y + mixer(norm(y)); y [cells, c] is let go. */
static sw_var *mix(const pass *p, const block *l, const canvas *v, sw_var *y)
{
    sw_tape *t = p->tape;
    int64_t e = 2 * p->o->inner_dim, n = p->o->state, rank = p->m->rank, cells = v->rows * v->columns;
    sw_var *x = sw_rms_norm(t, y, param(p, l->norm), EPS);
    sw_var *u = silu(t, convolve(p, l, part_of(p, x, l->in, 0, e)));
    sw_var *gate = silu(t, part_of(p, x, l->in, e, e));
    sw_var_done(x);
    sw_var *low = part_of(p, u, l->x, 0, rank);
    sw_var *delta = on_grid(t, v, sw_mil_instead(low, sw_mil_linear_forward(t, p->slab, &l->dt, low)));
    sw_var *b = on_grid(t, v, part_of(p, u, l->x, rank, n)), *c = on_grid(t, v, part_of(p, u, l->x, rank + n, n));
    u = on_grid(t, v, u);
    sw_var *scanned = sw_scan2d(t, u, delta, param(p, l->a_log), b, c, param(p, l->d));
    sw_var_done(u);
    sw_var_done(delta);
    sw_var_done(b);
    sw_var_done(c);
    scanned = sw_mil_instead(scanned, sw_reshape(t, scanned, SW_SHAPE(cells, e)));
    sw_var *gated = sw_mil_instead(scanned, sw_mul(t, scanned, gate));
    sw_var_done(gate);
    sw_var *out = sw_mil_instead(gated, sw_linear(t, gated, param(p, l->out), NULL));
    return sw_mil_instead(y, sw_mil_instead(out, sw_add(t, y, out)));
}

static sw_var *numbers(sw_tape *t, sw_shape shape, const int32_t *value)
{
    sw_error err;
    sw_tensor on_device = {0};
    if (sw_tape_status(t, &err) == SW_OK && sw_tensor_from(&sw_tape_backend(t)->device, SW_I32, shape, value, &on_device, &err) != SW_OK)
        sw_tape_fail(t, err.code, "%s", err.message);
    sw_var *v = sw_tape_constant(t, &on_device);
    sw_tensor_release(&on_device);
    return v;
}

/* Rows of x [m, c] by number, without a gradient: [n, c] */
static sw_var *look_up(sw_tape *t, const sw_var *x, const int32_t *row, int64_t n)
{
    int64_t m = sw_var_shape(x)->dim[0], c = sw_var_shape(x)->dim[1];
    sw_var *all = sw_reshape(t, sw_tape_constant(t, sw_var_value(x)), SW_SHAPE(1, m, c));
    return sw_reshape(t, sw_gather(t, all, numbers(t, SW_SHAPE(1, n), row)), SW_SHAPE(n, c));
}

/* What is made of one bag. */
typedef struct pooled {
    sw_var *slide;   /* [1, c] */
    sw_var *weights; /* [1, n] of the patches' cells, without a gradient */
    sw_var *seen;    /* [n, c] what they weigh */
} pooled;

/* z [n, c] features of a bag's patches. */
static pooled pool_bag(const pass *p, const canvas *v, sw_var *z)
{
    sw_tape *t = p->tape;
    int64_t n = sw_var_shape(z)->dim[0], c = p->o->inner_dim, cells = v->rows * v->columns;
    sw_var *all = sw_concat(t, z, sw_reshape(t, param(p, p->m->pad), SW_SHAPE(1, c)));
    sw_var *grid = sw_mil_instead(all, sw_gather(t, sw_reshape(t, all, SW_SHAPE(1, n + 1, c)), numbers(t, SW_SHAPE(1, cells), v->patch)));
    sw_var *y = sw_mil_instead(grid, sw_reshape(t, grid, SW_SHAPE(cells, c)));
    for (int i = 0; i < p->m->blocks; i++) y = mix(p, &p->m->block[i], v, y);
    y = sw_mil_instead(y, sw_mil_norm_forward(t, p->slab, &p->m->norm, y));
    sw_var *a = sw_mil_linear_forward(t, p->slab, &p->m->attention1, y);
    a = sw_mil_instead(a, sw_tanh(t, a));
    a = sw_mil_instead(a, sw_mil_linear_forward(t, p->slab, &p->m->attention2, a));
    a = sw_softmax(t, sw_reshape(t, a, SW_SHAPE(1, cells)));
    return (pooled){.slide = sw_matmul(t, a, y, false, false),
                    .weights = sw_reshape(t, look_up(t, sw_reshape(t, a, SW_SHAPE(cells, 1)), v->cell, n), SW_SHAPE(1, n)),
                    .seen = look_up(t, y, v->cell, n)};
}

static sw_var *join(sw_tape *t, sw_var *so_far, sw_var *next)
{
    return so_far ? sw_concat(t, so_far, next) : next;
}

static sw_aggregator_out forward(const void *state, const sw_aggregator_options *o, sw_tape *t, sw_slab *slab,
                                 sw_var *x, const sw_nn_mode *mode)
{
    const mamba2d *m = state;
    const pass p = {m, o, t, slab};
    const int64_t b = sw_var_shape(x)->dim[0], n = sw_var_shape(x)->dim[1], c = o->inner_dim;
    sw_var *slide = NULL, *weights = NULL, *seen = NULL;

    sw_var *z = sw_mil_linear_forward(t, slab, &m->feature, x);
    z = sw_mil_instead(z, sw_mil_activate(t, o->act, z));
    z = sw_mil_instead(z, sw_mil_dropout(t, o->dropout, 0, z, mode));
    z = sw_reshape(t, z, SW_SHAPE(b * n, c));
    for (int64_t i = 0; i < b && sw_tape_status(t, NULL) == SW_OK; i++) {
        sw_error err;
        SW_CLEANUP(canvas_free) canvas v = {0};
        if (lay_out(o, mode->xy ? mode->xy + 2 * i * n : NULL, n, &v, &err) != SW_OK) sw_tape_fail(t, err.code, "%s", err.message);
        if (sw_tape_status(t, NULL) != SW_OK) break;
        pooled bag = pool_bag(&p, &v, sw_rows(t, z, i * n, n));
        slide = join(t, slide, bag.slide);
        weights = join(t, weights, bag.weights);
        seen = join(t, seen, bag.seen);
    }
    if (sw_tape_status(t, NULL) != SW_OK) return (sw_aggregator_out){.logits = z};
    return (sw_aggregator_out){.logits = sw_mil_linear_forward(t, slab, &m->classifier, slide),
                               .attention = sw_mil_export_attention(t, weights, b),
                               .instance = sw_reshape(t, seen, SW_SHAPE(b, n, c)),
                               .slide = slide};
}

const sw_aggregator_def sw_aggregator_mamba2d = {"mamba2d", build, forward, destroy, NULL};
