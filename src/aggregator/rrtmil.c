/* SPDX-License-Identifier: Apache-2.0 */
/* RRT-MIL (Tang et al. 2024, "R2T") as the reference implementation has it: attention within regions of a square of patches, then
 * attention across the regions through a few representatives of each, then attention pooling. */
#include <math.h>
#include <stdio.h>

#include "aggregator/aggregator.h"
#include "base/mem.h"

enum { POOL_HIDDEN = 128, CROSS_REGIONS = 8 }; /* across regions the reference has 8 a side, whatever the option says */
static const double DROPOUT = 0.1;

typedef struct msa {
    int qkv, qkv_bias;
    sw_mil_linear proj;
} msa;

typedef struct layer {
    sw_mil_linear norm;
    msa attn;
    int epeg, epeg_bias; /* -1: none */
} layer;

typedef struct rrtmil {
    int layers; /* within regions */
    layer *layer;
    layer cross;
    int phi; /* [c, representatives] */
    sw_mil_linear feature_norm, feature, norm, pool1, pool2, predictor;
} rrtmil;

static void destroy(void *state)
{
    rrtmil *m = state;
    sw_free(m->layer);
    sw_free(m);
}

static sw_status check(const sw_aggregator_options *o, sw_error *err)
{
    if (o->heads < 1 || o->inner_dim % o->heads != 0)
        return sw_error_set(err, SW_E_INVALID, "aggregator.heads: %d does not divide aggregator.inner_dim %d", o->heads, o->inner_dim);
    if (o->crmsa_heads < 1 || o->inner_dim % o->crmsa_heads != 0)
        return sw_error_set(err, SW_E_INVALID, "aggregator.crmsa_heads: %d does not divide aggregator.inner_dim %d", o->crmsa_heads,
                            o->inner_dim);
    if (o->layers < 1 || o->layers > 64)
        return sw_error_set(err, SW_E_INVALID, "aggregator.layers: %d is not between 1 and 64", o->layers);
    if (o->regions < 1 || o->crmsa < 1)
        return sw_error_set(err, SW_E_INVALID, "aggregator.regions: %d and aggregator.crmsa: %d must be at least 1", o->regions, o->crmsa);
    if (o->epeg < 0 || (o->epeg > 0 && o->epeg % 2 == 0))
        return sw_error_set(err, SW_E_INVALID, "aggregator.epeg: %d must be odd, or 0 for none", o->epeg);
    return SW_OK;
}

static void add_msa(sw_nn_builder *b, int64_t c, msa *a, const char *name)
{
    char full[128];
    a->qkv = sw_nn_add(b, SW_PARAM, SW_INIT_XAVIER, SW_SHAPE(3 * c, c), "%s.qkv.weight", name);
    a->qkv_bias = sw_nn_add(b, SW_PARAM, SW_INIT_ZERO, SW_SHAPE(3 * c), "%s.qkv.bias", name);
    snprintf(full, sizeof full, "%s.proj", name);
    a->proj = sw_mil_add_linear(b, c, c, true, full);
}

static void add_layer(sw_nn_builder *b, const sw_aggregator_options *o, layer *l, int i)
{
    char name[128];
    snprintf(name, sizeof name, "online_encoder.layers.%d.norm", i);
    l->norm = sw_mil_add_norm(b, o->inner_dim, true, name);
    snprintf(name, sizeof name, "online_encoder.layers.%d.attn.attn", i);
    add_msa(b, o->inner_dim, &l->attn, name);
    l->epeg = l->epeg_bias = -1;
    if (o->epeg == 0) return;
    l->epeg = sw_nn_add(b, SW_PARAM, SW_INIT_XAVIER, SW_SHAPE(o->heads, 1, o->epeg, 1), "%s.pe.weight", name);
    l->epeg_bias = sw_nn_add(b, SW_PARAM, SW_INIT_ZERO, SW_SHAPE(o->heads), "%s.pe.bias", name);
}

static sw_status build(sw_nn_builder *b, const sw_aggregator_options *o, void **state, sw_error *err)
{
    int64_t c = o->inner_dim;
    SW_TRY(check(o, err));
    rrtmil *m = sw_calloc(1, sizeof *m);
    if (!m) return sw_nomem(err);
    *state = m;
    m->layers = o->layers - 1;
    m->layer = sw_calloc((size_t)m->layers + 1, sizeof *m->layer);
    if (!m->layer) return sw_nomem(err);
    if (o->norm == SW_MIL_NORM_LAYER) m->feature_norm = sw_mil_add_norm(b, o->input_dim, o->bias, "norm");
    m->feature = sw_mil_add_linear(b, c, o->input_dim, o->bias, "feature.0");
    m->norm = sw_mil_add_norm(b, c, true, "online_encoder.norm");
    for (int i = 0; i < m->layers; i++) add_layer(b, o, &m->layer[i], i);
    m->cross.norm = sw_mil_add_norm(b, c, true, "online_encoder.cr_msa.norm");
    m->phi = sw_nn_add(b, SW_PARAM, SW_INIT_UNIFORM_FAN_IN, SW_SHAPE(c, o->crmsa), "online_encoder.cr_msa.attn.phi");
    add_msa(b, c, &m->cross.attn, "online_encoder.cr_msa.attn.attn");
    m->cross.epeg = m->cross.epeg_bias = -1;
    m->pool1 = sw_mil_add_linear(b, POOL_HIDDEN, c, false, "pool_fn.attention.attention.0");
    m->pool2 = sw_mil_add_linear(b, 1, POOL_HIDDEN, false, "pool_fn.attention.attention.2");
    m->predictor = sw_mil_add_linear(b, o->classes, c, o->bias, "predictor");
    return SW_OK;
}

typedef struct pass {
    const sw_aggregator_options *o;
    sw_tape *tape;
    sw_slab *slab;
    const sw_nn_mode *mode;
    int64_t b, n; /* bags, patches of each */
} pass;

/* The square that bags are laid out on: `regions` a side, each of `side` x `side` places. */
typedef struct square {
    int64_t regions, side;
} square;

static square square_of(const pass *p, int64_t regions)
{
    int64_t side = sw_mil_side(p->n);
    side += (regions - side % regions) % regions;
    return (square){regions, side / regions};
}

/* [b * regions, side, regions, side, c], the places of the square by rows, <-> region by region. */
static sw_var *regroup(sw_tape *t, sw_var *x)
{
    return sw_mil_instead(x, sw_permute(t, x, (const int[]){0, 2, 1, 3, 4}));
}

/* x [b, n, c] (let go) -> [b * regions^2, side^2, c], zeros behind the patches. */
static sw_var *part(const pass *p, square s, sw_var *x)
{
    sw_tape *t = p->tape;
    int64_t c = p->o->inner_dim, all = s.regions * s.regions * s.side * s.side;
    if (all > p->n) x = sw_mil_swap_tokens(t, sw_mil_zeros_behind(t, sw_mil_swap_tokens(t, x), all - p->n));
    x = regroup(t, sw_mil_instead(x, sw_reshape(t, x, SW_SHAPE(p->b * s.regions, s.side, s.regions, s.side, c))));
    return sw_mil_instead(x, sw_reshape(t, x, SW_SHAPE(p->b * s.regions * s.regions, s.side * s.side, c)));
}

/* Back to [b, n, c]. */
static sw_var *join(const pass *p, square s, sw_var *x)
{
    sw_tape *t = p->tape;
    int64_t c = p->o->inner_dim, all = s.regions * s.regions * s.side * s.side;
    x = regroup(t, sw_mil_instead(x, sw_reshape(t, x, SW_SHAPE(p->b * s.regions, s.regions, s.side, s.side, c))));
    x = sw_mil_instead(x, sw_reshape(t, x, SW_SHAPE(p->b, all, c)));
    if (all > p->n) x = sw_mil_swap_tokens(t, sw_rows(t, sw_mil_swap_tokens(t, x), 0, p->n));
    return x;
}

/* One of query, key and value of every head: x [g, n, c] -> [g * heads, n, c / heads]. */
static sw_var *heads_of(const pass *p, const msa *a, sw_var *x, int which, int heads)
{
    sw_tape *t = p->tape;
    int64_t g = sw_var_shape(x)->dim[0], n = sw_var_shape(x)->dim[1], c = p->o->inner_dim;
    sw_var *w = sw_rows(t, sw_tape_param(t, p->slab, a->qkv), which * c, c);
    sw_var *bias = sw_rows(t, sw_tape_param(t, p->slab, a->qkv_bias), which * c, c);
    sw_var *y = sw_linear(t, x, w, bias);
    y = sw_mil_instead(y, sw_reshape(t, y, SW_SHAPE(g, n, heads, c / heads)));
    y = sw_mil_instead(y, sw_permute(t, y, (const int[]){0, 2, 1, 3}));
    return sw_mil_instead(y, sw_reshape(t, y, SW_SHAPE(g * heads, n, c / heads)));
}

/* Logits of a region and the same moved by a convolution along the queries, one filter per head. */
static sw_var *with_position(const pass *p, const layer *l, sw_var *logits, int64_t g, int heads)
{
    sw_tape *t = p->tape;
    int64_t n = sw_var_shape(logits)->dim[1];
    sw_var *planes = sw_reshape(t, logits, SW_SHAPE(g, heads, n, n));
    sw_var *moved = sw_depthwise(t, planes, sw_tape_param(t, p->slab, l->epeg), sw_tape_param(t, p->slab, l->epeg_bias));
    sw_var *sum = sw_mil_instead(moved, sw_add(t, planes, moved));
    sw_var_done(planes);
    sw_var_done(logits);
    return sw_reshape(t, sum, SW_SHAPE(g * heads, n, n));
}

/* Attention of n tokens among themselves, in each of g groups: x [g, n, c] (let go) -> [g, n, c]. */
static sw_var *attend_all(const pass *p, const layer *l, int heads, uint32_t site, sw_var *x)
{
    sw_tape *t = p->tape;
    int64_t g = sw_var_shape(x)->dim[0], n = sw_var_shape(x)->dim[1], c = p->o->inner_dim;
    const double scale = 1.0 / sqrt((double)(c / heads));
    sw_var *q = heads_of(p, &l->attn, x, 0, heads), *k = heads_of(p, &l->attn, x, 1, heads), *v = heads_of(p, &l->attn, x, 2, heads);
    sw_var *y;
    sw_var_done(x);
    if (l->epeg >= 0) {
        sw_var *logits = sw_matmul(t, sw_scale(t, q, scale), k, false, true);
        logits = with_position(p, l, logits, g, heads);
        sw_var *a = sw_mil_instead(logits, sw_softmax(t, logits));
        y = sw_mil_instead(a, sw_matmul(t, a, v, false, false));
    } else {
        y = sw_attend(t, q, k, v, scale);
    }
    sw_var_done(q);
    sw_var_done(k);
    sw_var_done(v);
    y = sw_mil_instead(y, sw_reshape(t, y, SW_SHAPE(g, heads, n, c / heads)));
    y = sw_mil_instead(y, sw_permute(t, y, (const int[]){0, 2, 1, 3}));
    y = sw_mil_instead(y, sw_reshape(t, y, SW_SHAPE(g, n, c)));
    y = sw_mil_instead(y, sw_mil_linear_forward(t, p->slab, &l->attn.proj, y));
    return sw_mil_instead(y, sw_mil_dropout(t, DROPOUT, site, y, p->mode));
}

static sw_var *within_regions(const pass *p, const layer *l, uint32_t site, sw_var *x)
{
    square s = square_of(p, p->o->regions);
    sw_var *y = part(p, s, sw_mil_norm_forward(p->tape, p->slab, &l->norm, x));
    y = join(p, s, attend_all(p, l, p->o->heads, site, y));
    return sw_mil_instead(x, sw_mil_instead(y, sw_add(p->tape, x, y)));
}

/* Representatives [regions, k, c] of every region attend to each other; a bag's own, or those of all bags. */
static sw_var *among_regions(const pass *p, const layer *l, uint32_t site, sw_var *y)
{
    sw_tape *t = p->tape;
    int64_t w = sw_var_shape(y)->dim[0], k = p->o->crmsa, c = p->o->inner_dim, bags = p->o->cross_bag ? 1 : p->b;
    y = sw_reshape(t, y, SW_SHAPE(bags, w / bags, k, c));
    y = sw_reshape(t, sw_permute(t, y, (const int[]){0, 2, 1, 3}), SW_SHAPE(bags * k, w / bags, c));
    y = attend_all(p, l, p->o->crmsa_heads, site, y);
    y = sw_permute(t, sw_reshape(t, y, SW_SHAPE(bags, k, w / bags, c)), (const int[]){0, 2, 1, 3});
    return sw_reshape(t, y, SW_SHAPE(w, k, c));
}

static sw_var *across_regions(const pass *p, const rrtmil *m, uint32_t site, sw_var *x)
{
    sw_tape *t = p->tape;
    square s = square_of(p, CROSS_REGIONS);
    sw_var *y = part(p, s, sw_mil_norm_forward(t, p->slab, &m->cross.norm, x)); /* [w, places, c] */
    sw_var *phi = sw_permute(t, sw_tape_param(t, p->slab, m->phi), (const int[]){1, 0});
    sw_var *by_place = sw_linear(t, y, phi, NULL);                               /* [w, places, k] */
    sw_var *logits = sw_permute(t, by_place, (const int[]){0, 2, 1});            /* [w, k, places] */
    sw_var *dispatch = sw_permute(t, sw_softmax(t, by_place), (const int[]){0, 2, 1});
    sw_var *share = sw_mul(t, sw_min_max(t, logits, 1e-8), dispatch);
    sw_var *out = sw_matmul(t, sw_softmax(t, logits), y, false, false);          /* [w, k, c] */
    sw_var_done(y);
    out = among_regions(p, &m->cross, site, out);
    y = join(p, s, sw_matmul(t, share, out, true, false));
    return sw_mil_instead(x, sw_mil_instead(y, sw_add(t, x, y)));
}

static sw_aggregator_out forward(const void *state, const sw_aggregator_options *o, sw_tape *t, sw_slab *slab,
                                 sw_var *x, const sw_nn_mode *mode)
{
    const rrtmil *m = state;
    const pass p = {o, t, slab, mode, sw_var_shape(x)->dim[0], sw_var_shape(x)->dim[1]};

    sw_var *y = o->norm == SW_MIL_NORM_LAYER ? sw_mil_norm_forward(t, slab, &m->feature_norm, x) : x;
    sw_var *z = sw_mil_linear_forward(t, slab, &m->feature, y);
    if (y != x) sw_var_done(y);
    z = sw_mil_instead(z, sw_mil_activate(t, o->act, z));
    z = sw_mil_instead(z, sw_mil_dropout(t, o->dropout, 0, z, mode)); /* [b, n, c] */
    y = sw_reshape(t, z, *sw_var_shape(z));
    for (int i = 0; i < m->layers; i++) y = within_regions(&p, &m->layer[i], 1 + (uint32_t)i, y);
    y = across_regions(&p, m, 1 + (uint32_t)m->layers, y);
    if (o->shortcut) y = sw_mil_instead(y, sw_add(t, y, z));
    y = sw_mil_instead(y, sw_mil_norm_forward(t, slab, &m->norm, y));
    sw_var *a = sw_relu(t, sw_mil_linear_forward(t, slab, &m->pool1, y));
    a = sw_reshape(t, sw_mil_linear_forward(t, slab, &m->pool2, a), SW_SHAPE(p.b, 1, p.n));
    a = sw_softmax(t, a);
    sw_var *s = sw_reshape(t, sw_matmul(t, a, y, false, false), SW_SHAPE(p.b, o->inner_dim));
    return (sw_aggregator_out){.logits = sw_mil_linear_forward(t, slab, &m->predictor, s), .attention = a, .instance = z, .slide = s};
}

const sw_aggregator_def sw_aggregator_rrtmil = {"rrtmil", build, forward, destroy, NULL};
