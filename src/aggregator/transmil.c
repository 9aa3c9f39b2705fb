/* SPDX-License-Identifier: Apache-2.0 */
/* TransMIL (Shao et al. 2021) as the reference implementation has it: two layers of Nystrom attention over the patches and a class
 * token, with a position encoding by convolutions between them. */
#include <math.h>

#include "aggregator/aggregator.h"
#include "base/mem.h"

enum { PINV_ITERATIONS = 6, RESIDUAL_TAPS = 33 };
static const double ATTENTION_DROPOUT = 0.1;

typedef struct layer {
    sw_mil_linear norm, out;
    int qkv, residual; /* [3c, c], [heads, 1, 33, 1] */
} layer;

typedef struct transmil {
    bool has_pos;
    int cls;
    sw_mil_linear feature_norm, feature, norm, classifier;
    sw_mil_ppeg ppeg;
    layer layer[2];
} transmil;

static sw_status build(sw_nn_builder *b, const sw_aggregator_options *o, void **state, sw_error *err)
{
    static const char *const norms[] = {"layer1.norm", "layer2.norm"}, *const outs[] = {"layer1.attn.to_out.0", "layer2.attn.to_out.0"};
    bool norm = o->norm == SW_MIL_NORM_LAYER;
    int64_t c = o->inner_dim;
    if (o->heads < 1 || c % o->heads != 0)
        return sw_error_set(err, SW_E_INVALID, "aggregator.heads: %d does not divide aggregator.inner_dim %d", o->heads, o->inner_dim);
    if (c < 2) return sw_error_set(err, SW_E_INVALID, "aggregator.inner_dim: transmil has half as many landmarks, and needs at least 2");
    transmil *m = sw_calloc(1, sizeof *m);
    if (!m) return sw_nomem(err);
    *state = m;
    m->has_pos = o->pos != SW_POS_NONE;
    m->cls = sw_nn_add(b, SW_PARAM, SW_INIT_TINY, SW_SHAPE(1, 1, c), "cls_token");
    if (m->has_pos) m->ppeg = sw_mil_add_ppeg(b, c, "pos_layer");
    if (norm) m->feature_norm = sw_mil_add_norm(b, o->input_dim, o->bias, "feature.0");
    m->feature = sw_mil_add_linear(b, c, o->input_dim, o->bias, norm ? "feature.1" : "feature.0");
    for (int i = 0; i < 2; i++) {
        layer *l = &m->layer[i];
        l->norm = sw_mil_add_norm(b, c, true, norms[i]);
        l->qkv = sw_nn_add(b, SW_PARAM, SW_INIT_XAVIER, SW_SHAPE(3 * c, c), "layer%d.attn.to_qkv.weight", i + 1);
        l->out = sw_mil_add_linear(b, c, c, true, outs[i]);
        l->residual = sw_nn_add(b, SW_PARAM, SW_INIT_XAVIER, SW_SHAPE(o->heads, 1, RESIDUAL_TAPS, 1),
                                "layer%d.attn.res_conv.weight", i + 1);
    }
    m->norm = sw_mil_add_norm(b, c, o->bias, "norm");
    m->classifier = sw_mil_add_linear(b, o->classes, c, o->bias, "classifier");
    return SW_OK;
}

typedef struct pass {
    const transmil *m;
    const sw_aggregator_options *o;
    sw_tape *tape;
    sw_slab *slab;
    const sw_nn_mode *mode;
    int64_t b, patches; /* bags, patches of each */
    int64_t landmarks;
} pass;

/* Heads of `x` [n, b, c] times c rows of the weight: [b * heads, n, d] */
static sw_var *heads_of(const pass *p, sw_var *x, int weight, int part)
{
    int64_t c = p->o->inner_dim;
    sw_var *w = sw_rows(p->tape, sw_tape_param(p->tape, p->slab, weight), part * c, c);
    return sw_mil_split_heads(p->tape, sw_linear(p->tape, x, w, NULL), p->o->heads);
}

/* Means of as many stretches of tokens as there are landmarks: [g, n, d] -> [g, landmarks, d]. */
static sw_var *landmarks_of(const pass *p, sw_var *x)
{
    int64_t g = sw_var_shape(x)->dim[0], n = sw_var_shape(x)->dim[1], d = sw_var_shape(x)->dim[2];
    sw_var *parts = sw_reshape(p->tape, x, SW_SHAPE(g * p->landmarks, n / p->landmarks, d));
    return sw_reshape(p->tape, sw_mean_rows(p->tape, parts), SW_SHAPE(g, p->landmarks, d));
}

static sw_var *identities(const pass *p, const sw_var *like)
{
    int64_t g = sw_var_shape(like)->dim[0], n = p->landmarks;
    SW_AUTOFREE double *one = sw_calloc((size_t)(g * n * n) + 1, sizeof *one);
    if (!one) sw_tape_fail(p->tape, SW_E_NOMEM, "out of memory");
    for (int64_t i = 0; one && i < g * n; i++) one[i * n + i % n] = 1.0;
    return sw_mil_constant(p->tape, sw_var_value(like)->dtype, SW_SHAPE(g, n, n), one);
}

/* The largest sum of a column of `a` [g, n, n], of all groups (and bags: as the method is published). */
static sw_var *largest_column(sw_tape *t, sw_var *a)
{
    int64_t n = sw_var_shape(a)->dim[1];
    sw_var *mean = sw_mean_rows(t, a);
    return sw_scale(t, sw_max_last(t, sw_reshape(t, mean, SW_SHAPE(sw_shape_count(sw_var_shape(mean))))), (double)n);
}

/* factor * one - y */
static sw_var *less(sw_tape *t, sw_var *one, double factor, sw_var *y)
{
    sw_var *minus = sw_scale(t, y, -1.0);
    return sw_mil_instead(minus, sw_add(t, sw_scale(t, one, factor), minus));
}

/* The pseudo-inverse of softmax rows `a` [g, n, n], by iterations that multiply only. */
static sw_var *pseudo_inverse(const pass *p, sw_var *a)
{
    sw_tape *t = p->tape;
    sw_var *turned = sw_permute(t, a, (const int[]){0, 2, 1}), *one = identities(p, a);
    sw_var *bound = sw_scale_by(t, largest_column(t, a), largest_column(t, turned));
    sw_var *z = sw_scale_by(t, turned, sw_reciprocal(t, bound));
    for (int i = 0; i < PINV_ITERATIONS; i++) {
        sw_var *y = sw_matmul(t, a, z, false, false);
        sw_var *inner = less(t, one, 7.0, y);
        inner = less(t, one, 15.0, sw_mil_instead(inner, sw_matmul(t, y, inner, false, false)));
        inner = less(t, one, 13.0, sw_mil_instead(inner, sw_matmul(t, y, inner, false, false)));
        z = sw_mil_instead(inner, sw_scale(t, sw_matmul(t, z, inner, false, false), 0.25));
        sw_var_done(y);
    }
    return z;
}

/* softmax(q k^T), [g, rows of q, rows of k] */
static sw_var *kernel(sw_tape *t, sw_var *q, sw_var *k)
{
    sw_var *logits = sw_matmul(t, q, k, false, true);
    return sw_mil_instead(logits, sw_softmax(t, logits));
}

/* The class token's weights of the patches, [g, patches]: its row of the product of the three kernels. */
static sw_var *class_weights(const pass *p, sw_var *q, sw_var *landmark_k, sw_var *inverse, sw_var *to_keys, int64_t pad)
{
    sw_tape *t = p->tape;
    int64_t g = sw_var_shape(q)->dim[0], n = sw_var_shape(q)->dim[1], d = sw_var_shape(q)->dim[2];
    sw_var *turned = sw_permute(t, q, (const int[]){1, 0, 2});
    sw_var *row = kernel(t, sw_reshape(t, sw_rows(t, turned, pad, 1), SW_SHAPE(g, 1, d)), landmark_k);
    row = sw_matmul(t, sw_matmul(t, row, inverse, false, false), to_keys, false, false);
    row = sw_permute(t, sw_reshape(t, row, SW_SHAPE(g, n)), (const int[]){1, 0});
    sw_var_done(turned);
    return sw_permute(t, sw_rows(t, row, pad + 1, p->patches), (const int[]){1, 0});
}

/* x + out(attention(norm(x))); x [n, b, c], the class token first. *weights [g, patches] as it sees them. */
static sw_var *attention(const pass *p, const layer *l, uint32_t site, sw_var *x, sw_var **weights)
{
    sw_tape *t = p->tape;
    const int64_t n = sw_var_shape(x)->dim[0], d = p->o->inner_dim / p->o->heads;
    const int64_t pad = (p->landmarks - n % p->landmarks) % p->landmarks, all = n + pad;
    sw_var *y = sw_mil_zeros_before(t, sw_mil_norm_forward(t, p->slab, &l->norm, x), pad);
    sw_var *q = heads_of(p, y, l->qkv, 0), *k = heads_of(p, y, l->qkv, 1), *v = heads_of(p, y, l->qkv, 2);
    sw_var_done(y);
    q = sw_mil_instead(q, sw_scale(t, q, 1.0 / sqrt((double)d)));
    sw_var *landmark_q = landmarks_of(p, q), *landmark_k = landmarks_of(p, k);
    sw_var *inverse = pseudo_inverse(p, kernel(t, landmark_q, landmark_k));
    sw_var *to_keys = kernel(t, landmark_q, k); /* [g, landmarks, n] */
    *weights = class_weights(p, q, landmark_k, inverse, to_keys, pad);
    sw_var *seen = sw_matmul(t, inverse, sw_matmul(t, to_keys, v, false, false), false, false);
    sw_var_done(to_keys);
    y = sw_attend(t, q, landmark_k, seen, 1.0);
    sw_var_done(q);
    sw_var_done(k);
    sw_var *planes = sw_reshape(t, v, SW_SHAPE(p->b, p->o->heads, all, d));
    sw_var *local = sw_depthwise(t, planes, sw_tape_param(t, p->slab, l->residual), NULL);
    sw_var_done(planes);
    sw_var_done(v);
    y = sw_mil_instead(y, sw_add(t, y, sw_reshape(t, local, SW_SHAPE(p->b * p->o->heads, all, d))));
    sw_var_done(local);
    y = sw_rows(t, sw_mil_merge_heads(t, y, p->b), pad, n);
    y = sw_mil_linear_forward(t, p->slab, &l->out, y);
    y = sw_mil_instead(y, sw_mil_dropout(t, ATTENTION_DROPOUT, site, y, p->mode));
    return sw_mil_instead(x, sw_mil_instead(y, sw_add(t, x, y)));
}

static sw_aggregator_out forward(const void *state, const sw_aggregator_options *o, sw_tape *t, sw_slab *slab,
                                 sw_var *x, const sw_nn_mode *mode)
{
    const transmil *m = state;
    const int64_t b = sw_var_shape(x)->dim[0], n = sw_var_shape(x)->dim[1], side = sw_mil_side(n);
    const pass p = {m, o, t, slab, mode, b, n, o->inner_dim / 2};
    sw_var *weights[2];

    sw_var *y = o->norm == SW_MIL_NORM_LAYER ? sw_mil_norm_forward(t, slab, &m->feature_norm, x) : x;
    sw_var *z = sw_mil_linear_forward(t, slab, &m->feature, y);
    if (y != x) sw_var_done(y);
    z = sw_mil_instead(z, sw_mil_activate(t, o->act, z));
    z = sw_mil_instead(z, sw_mil_dropout(t, o->dropout, 0, z, mode)); /* [b, n, c] */
    y = sw_mil_swap_tokens(t, sw_reshape(t, z, *sw_var_shape(z)));
    if (side * side > n) y = sw_concat(t, y, sw_rows(t, y, 0, side * side - n)); /* a full square, by the first ones again */
    y = sw_mil_class_token(t, slab, m->cls, y);
    y = attention(&p, &m->layer[0], 1, y, &weights[0]);
    if (m->has_pos) y = sw_mil_ppeg_forward(t, slab, &m->ppeg, y, 1);
    y = attention(&p, &m->layer[1], 2, y, &weights[1]);
    sw_var *s = sw_reshape(t, sw_rows(t, y, 0, 1), SW_SHAPE(b, o->inner_dim));
    s = sw_mil_norm_forward(t, slab, &m->norm, s);
    return (sw_aggregator_out){.logits = sw_mil_linear_forward(t, slab, &m->classifier, s),
                               .attention = sw_mil_export_attention(t, sw_scale(t, sw_add(t, weights[0], weights[1]), 0.5), b),
                               .instance = z,
                               .slide = s};
}

const sw_aggregator_def sw_aggregator_transmil = {"transmil", build, forward, sw_free, NULL};
