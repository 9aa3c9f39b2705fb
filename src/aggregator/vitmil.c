/* SPDX-License-Identifier: Apache-2.0 */
/* Patches as the tokens of a transformer: vitmil with layers of self-attention beside a class token; qamil with one query, the
 * class token, that attends to the patches (both in the reference implementation's vitmil). */
#include <math.h>
#include <stdio.h>

#include "aggregator/aggregator.h"
#include "base/mem.h"

typedef struct layer {
    sw_mil_linear norm, proj, norm2, fc1, fc2;
    int qkv, q; /* [3c, c]; where there is a query, [2c, c] of keys and values and [c, c] */
} layer;

typedef struct vitmil {
    bool query, has_pos;
    int cls, layers;
    sw_mil_linear feature_norm, feature, norm, classifier;
    sw_mil_ppeg ppeg;
    layer *layer;
} vitmil;

static void destroy(void *state)
{
    vitmil *m = state;
    sw_free(m->layer);
    sw_free(m);
}

static void add_layer(sw_nn_builder *b, const sw_aggregator_options *o, vitmil *m, int i)
{
    layer *l = &m->layer[i];
    char name[64];
    int64_t c = o->inner_dim;
    snprintf(name, sizeof name, "layer%d.norm", i + 1);
    l->norm = sw_mil_add_norm(b, c, true, name);
    if (m->query) {
        l->qkv = sw_nn_add(b, SW_PARAM, SW_INIT_XAVIER, SW_SHAPE(2 * c, c), "layer%d.attn.kv.weight", i + 1);
        l->q = sw_nn_add(b, SW_PARAM, SW_INIT_XAVIER, SW_SHAPE(c, c), "layer%d.attn.q.weight", i + 1);
    } else {
        l->qkv = sw_nn_add(b, SW_PARAM, SW_INIT_XAVIER, SW_SHAPE(3 * c, c), "layer%d.attn.qkv.weight", i + 1);
    }
    snprintf(name, sizeof name, "layer%d.attn.proj", i + 1);
    l->proj = sw_mil_add_linear(b, c, c, true, name);
    if (!o->ffn) return;
    snprintf(name, sizeof name, "layer%d.norm2", i + 1);
    l->norm2 = sw_mil_add_norm(b, c, true, name);
    snprintf(name, sizeof name, "layer%d.mlp.fc1", i + 1);
    l->fc1 = sw_mil_add_linear(b, 4 * c, c, true, name);
    snprintf(name, sizeof name, "layer%d.mlp.fc2", i + 1);
    l->fc2 = sw_mil_add_linear(b, c, 4 * c, true, name);
}

static sw_status build_kind(sw_nn_builder *b, const sw_aggregator_options *o, bool query, void **state, sw_error *err)
{
    bool norm = o->norm == SW_MIL_NORM_LAYER;
    if (o->heads < 1 || o->inner_dim % o->heads != 0)
        return sw_error_set(err, SW_E_INVALID, "aggregator.heads: %d does not divide aggregator.inner_dim %d", o->heads, o->inner_dim);
    if (o->layers < 1 || o->layers > 64)
        return sw_error_set(err, SW_E_INVALID, "aggregator.layers: %d is not between 1 and 64", o->layers);
    vitmil *m = sw_calloc(1, sizeof *m);
    if (!m) return sw_nomem(err);
    *state = m;
    m->query = query;
    m->has_pos = o->pos == SW_POS_PPEG && !query;
    m->layers = query ? 1 : o->layers;
    m->layer = sw_calloc((size_t)m->layers, sizeof *m->layer);
    if (!m->layer) return sw_nomem(err);
    m->cls = sw_nn_add(b, SW_PARAM, SW_INIT_TINY, SW_SHAPE(1, 1, o->inner_dim), "cls_token");
    if (m->has_pos) m->ppeg = sw_mil_add_ppeg(b, o->inner_dim, "pos_layer");
    if (norm) m->feature_norm = sw_mil_add_norm(b, o->input_dim, o->bias, "feature.0");
    m->feature = sw_mil_add_linear(b, o->inner_dim, o->input_dim, o->bias, norm ? "feature.1" : "feature.0");
    for (int i = 0; i < m->layers; i++) add_layer(b, o, m, i);
    m->norm = sw_mil_add_norm(b, o->inner_dim, o->bias, "norm");
    m->classifier = sw_mil_add_linear(b, o->classes, o->inner_dim, o->bias, "classifier");
    return SW_OK;
}

static sw_status build_vitmil(sw_nn_builder *b, const sw_aggregator_options *o, void **state, sw_error *err)
{
    return build_kind(b, o, false, state, err);
}

static sw_status build_qamil(sw_nn_builder *b, const sw_aggregator_options *o, void **state, sw_error *err)
{
    return build_kind(b, o, true, state, err);
}

typedef struct pass {
    const vitmil *m;
    const sw_aggregator_options *o;
    sw_tape *tape;
    sw_slab *slab;
    int64_t b;
    double scale; /* of the logits: 1 / sqrt(width of a head) */
} pass;

/* Heads of `x` [n, b, c] times c rows of the weight, from row `part` * c on: [b * heads, n, d] */
static sw_var *heads_of(const pass *p, sw_var *x, int weight, int part)
{
    int64_t c = p->o->inner_dim;
    sw_var *w = sw_rows(p->tape, sw_tape_param(p->tape, p->slab, weight), part * c, c);
    return sw_mil_split_heads(p->tape, sw_linear(p->tape, x, w, NULL), p->o->heads);
}

/* Weights of the keys for the first query: [b * heads, keys], without the first `skip` keys. */
static sw_var *first_row(const pass *p, sw_var *q, sw_var *k, int64_t skip)
{
    sw_tape *t = p->tape;
    int64_t g = sw_var_shape(q)->dim[0], m = sw_var_shape(q)->dim[1], d = sw_var_shape(q)->dim[2], n = sw_var_shape(k)->dim[1];
    sw_var *turned = m == 1 ? q : sw_rows(t, sw_permute(t, q, (const int[]){1, 0, 2}), 0, 1);
    sw_var *first = sw_reshape(t, turned, SW_SHAPE(g, 1, d));
    sw_var *a = sw_softmax(t, sw_scale(t, sw_matmul(t, first, k, false, true), p->scale));
    a = sw_permute(t, sw_reshape(t, a, SW_SHAPE(g, n)), (const int[]){1, 0});
    return sw_permute(t, sw_rows(t, a, skip, n - skip), (const int[]){1, 0});
}

/* x + proj(attention(norm(x))); x [1 + n, b, c]. *weights: the class token's, where it is not NULL. */
static sw_var *self_attention(const pass *p, const layer *l, sw_var *x, sw_var **weights)
{
    sw_tape *t = p->tape;
    sw_var *y = sw_mil_norm_forward(t, p->slab, &l->norm, x);
    sw_var *q = heads_of(p, y, l->qkv, 0), *k = heads_of(p, y, l->qkv, 1), *v = heads_of(p, y, l->qkv, 2);
    sw_var_done(y);
    if (weights) *weights = first_row(p, q, k, 1);
    y = sw_attend(t, q, k, v, p->scale);
    sw_var_done(q);
    sw_var_done(k);
    sw_var_done(v);
    y = sw_mil_merge_heads(t, y, p->b);
    y = sw_mil_instead(y, sw_mil_linear_forward(t, p->slab, &l->proj, y));
    sw_var *sum = sw_mil_instead(y, sw_add(t, x, y));
    return sw_mil_instead(x, sum);
}

/* The class token alone asks the patches: [1, b, c]. */
static sw_var *query_attention(const pass *p, const layer *l, sw_var *x, sw_var **weights)
{
    sw_tape *t = p->tape;
    int64_t n = sw_var_shape(x)->dim[0] - 1;
    sw_var *y = sw_mil_norm_forward(t, p->slab, &l->norm, x), *patches = sw_rows(t, y, 1, n);
    sw_var *q = sw_linear(t, sw_rows(t, y, 0, 1), sw_tape_param(t, p->slab, l->q), NULL);
    q = sw_mil_split_heads(t, q, p->o->heads);
    sw_var *k = heads_of(p, patches, l->qkv, 0), *v = heads_of(p, patches, l->qkv, 1);
    *weights = first_row(p, q, k, 0);
    y = sw_mil_merge_heads(t, sw_attend(t, q, k, v, p->scale), p->b);
    return sw_add(t, sw_rows(t, x, 0, 1), sw_mil_linear_forward(t, p->slab, &l->proj, y));
}

static sw_var *feed_forward(const pass *p, const layer *l, sw_var *x)
{
    sw_tape *t = p->tape;
    sw_var *y = sw_mil_norm_forward(t, p->slab, &l->norm2, x);
    y = sw_mil_instead(y, sw_mil_linear_forward(t, p->slab, &l->fc1, y));
    y = sw_mil_instead(y, sw_gelu(t, y));
    y = sw_mil_instead(y, sw_mil_linear_forward(t, p->slab, &l->fc2, y));
    sw_var *sum = sw_mil_instead(y, sw_add(t, x, y));
    return sw_mil_instead(x, sum);
}

static sw_aggregator_out forward(const void *state, const sw_aggregator_options *o, sw_tape *t, sw_slab *slab,
                                 sw_var *x, const sw_nn_mode *mode)
{
    const vitmil *m = state;
    int64_t b = sw_var_shape(x)->dim[0];
    pass p = {m, o, t, slab, b, 1.0 / sqrt((double)(o->inner_dim / o->heads))};
    sw_var *weights = NULL;

    sw_var *y = o->norm == SW_MIL_NORM_LAYER ? sw_mil_norm_forward(t, slab, &m->feature_norm, x) : x;
    sw_var *z = sw_mil_linear_forward(t, slab, &m->feature, y);
    if (y != x) sw_var_done(y);
    z = sw_mil_instead(z, sw_mil_activate(t, o->act, z));
    z = sw_mil_instead(z, sw_mil_dropout(t, o->dropout, 0, z, mode)); /* [b, n, c] */
    y = sw_mil_class_token(t, slab, m->cls, sw_mil_swap_tokens(t, sw_reshape(t, z, *sw_var_shape(z))));
    for (int i = 0; i < m->layers; i++) {
        if (i == 1 && m->has_pos) y = sw_mil_ppeg_forward(t, slab, &m->ppeg, y, 7);
        y = m->query ? query_attention(&p, &m->layer[i], y, &weights)
                     : self_attention(&p, &m->layer[i], y, i + 1 == m->layers ? &weights : NULL);
        if (o->ffn) y = feed_forward(&p, &m->layer[i], y);
    }
    sw_var *s = sw_reshape(t, sw_rows(t, y, 0, 1), SW_SHAPE(b, o->inner_dim));
    s = sw_mil_norm_forward(t, slab, &m->norm, s);
    return (sw_aggregator_out){.logits = sw_mil_linear_forward(t, slab, &m->classifier, s),
                               .attention = sw_mil_export_attention(t, weights, b),
                               .instance = z,
                               .slide = s};
}

const sw_aggregator_def sw_aggregator_vitmil = {"vitmil", build_vitmil, forward, destroy, NULL};
const sw_aggregator_def sw_aggregator_qamil = {"qamil", build_qamil, forward, destroy, NULL};
