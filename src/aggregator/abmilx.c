/* SPDX-License-Identifier: Apache-2.0 */
/* ABMILX: multi-head local attention whose logits are refined by global correlations between patches (A+), before one
 * softmax over the patches per head. Names are the reference implementation's. */
#include "aggregator/aggregator.h"

#include <math.h>

#include "base/mem.h"

#define GATED_DROPOUT 0.25 /* the reference's, whatever its option for the features says */

typedef struct abmilx {
    int64_t head_dim, width; /* width of one attention input: head_dim, or inner_dim with embed_new */
    int qk, alpha;           /* [2 width, width] and [1, 1]; -1 where there is none */
    sw_mil_linear norm_x, ffn1, ffn2, ffn_norm, norm1, feature_norm, feature, attn1, gate, attn2, proj, classifier;
} abmilx;

static int64_t attention_width(const sw_aggregator_options *o, int64_t width)
{
    if (o->attn_hidden == 0.0) return width;
    if (o->attn_hidden > 10.0) return o->embed_new ? (int64_t)o->attn_hidden : (int64_t)o->attn_hidden / o->heads;
    return (int64_t)((double)width / o->attn_hidden);
}

static sw_status check(const sw_aggregator_options *o, const abmilx *m, sw_error *err)
{
    if (o->heads < 1 || o->inner_dim % o->heads != 0)
        return sw_error_set(err, SW_E_INVALID, "aggregator.heads: %d does not divide aggregator.inner_dim %d", o->heads,
                            o->inner_dim);
    if (attention_width(o, m->width) < 1)
        return sw_error_set(err, SW_E_INVALID, "aggregator.attn_hidden: %g leaves no width for the attention of %d heads",
                            o->attn_hidden, o->heads);
    return SW_OK;
}

/* Entries in the order of the reference's state_dict. */
static void declare(sw_nn_builder *b, const sw_aggregator_options *o, abmilx *m)
{
    bool norm = o->norm == SW_MIL_NORM_LAYER;
    int64_t c = o->inner_dim, w = m->width, hidden = attention_width(o, w);
    if (o->attn_plus != SW_PLUS_OFF) {
        m->qk = sw_nn_add(b, SW_PARAM, SW_INIT_XAVIER, SW_SHAPE(2 * w, w), "attn_plus_fn.qk.weight");
        if (o->attn_plus == SW_PLUS_LEARNABLE)
            m->alpha = sw_nn_add(b, SW_PARAM, SW_INIT_XAVIER, SW_SHAPE(1, 1), "attn_plus_fn.v.weight");
        m->norm_x = sw_mil_add_norm(b, w, true, "attn_plus_fn.norm_x");
    }
    if (o->ffn) {
        m->ffn1 = sw_mil_add_linear(b, 4 * c, c, true, "mlp.fc1");
        m->ffn2 = sw_mil_add_linear(b, c, 4 * c, true, "mlp.fc2");
        if (!norm) m->ffn_norm = sw_mil_add_norm(b, c, true, "norm");
    }
    if (norm) m->norm1 = sw_mil_add_norm(b, c, o->bias, "norm1");
    if (norm) m->feature_norm = sw_mil_add_norm(b, o->input_dim, o->bias, "feature.0");
    m->feature = sw_mil_add_linear(b, c, o->input_dim, o->bias, norm ? "feature.1" : "feature.0");
    m->attn1 = sw_mil_add_linear(b, hidden, w, o->attn_bias, o->attn_gated ? "attention.attention_a.0" : "attention.fc1");
    if (o->attn_gated) m->gate = sw_mil_add_linear(b, hidden, w, o->attn_bias, "attention.attention_b.0");
    m->attn2 = sw_mil_add_linear(b, o->embed_new ? o->heads : 1, hidden, o->attn_bias,
                                 o->attn_gated ? "attention.attention_c" : "attention.fc2");
    m->proj = sw_mil_add_linear(b, c, c, o->bias, "proj");
    m->classifier = sw_mil_add_linear(b, o->classes, c, o->bias, "classifier");
}

static sw_status build(sw_nn_builder *b, const sw_aggregator_options *o, void **state, sw_error *err)
{
    abmilx *m = sw_calloc(1, sizeof *m);
    if (!m) return sw_nomem(err);
    *state = m;
    m->qk = m->alpha = -1;
    m->head_dim = o->heads > 0 ? o->inner_dim / o->heads : 0;
    m->width = o->embed_new ? o->inner_dim : m->head_dim;
    SW_TRY(check(o, m, err));
    declare(b, o, m);
    return SW_OK;
}

typedef struct pass {
    const abmilx *m;
    const sw_aggregator_options *o;
    sw_tape *tape;
    sw_slab *slab;
    int64_t b, n; /* bags, patches of each */
    bool reduced; /* A+ may multiply in bfloat16 */
    const sw_nn_mode *mode;
} pass;

/* [b, n, heads * d] -> [b * heads, n, d] */
static sw_var *split_heads(const pass *p, sw_var *x)
{
    int64_t h = p->o->heads, d = p->m->head_dim;
    sw_var *view = sw_reshape(p->tape, x, SW_SHAPE(p->b, p->n, h, d));
    sw_var *y = sw_mil_instead(view, sw_permute(p->tape, view, (const int[]){0, 2, 1, 3}));
    return sw_mil_instead(y, sw_reshape(p->tape, y, SW_SHAPE(p->b * h, p->n, d)));
}

/* The same of a matrix that only this function has. */
static sw_var *split_own(const pass *p, sw_var *x)
{
    return sw_mil_instead(x, split_heads(p, x));
}

/* u, a layer of the attention MLP, times the gate of its input `z`. */
static sw_var *gated(const pass *p, sw_var *u, sw_var *z)
{
    sw_tape *t = p->tape;
    sw_var *g = sw_mil_linear_forward(t, p->slab, &p->m->gate, z);
    g = sw_mil_instead(g, sw_sigmoid(t, g));
    u = sw_mil_instead(u, sw_mil_dropout(t, GATED_DROPOUT, 1, u, p->mode));
    g = sw_mil_instead(g, sw_mil_dropout(t, GATED_DROPOUT, 2, g, p->mode));
    sw_var *y = sw_mul(t, u, g);
    sw_var_done(u);
    sw_var_done(g);
    return y;
}

/* Logits of the local attention, [b * heads, n]. `z` [b, n, c], `zh` [b * heads, n, d]. */
static sw_var *attention_logits(const pass *p, sw_var *z, sw_var *zh)
{
    sw_tape *t = p->tape;
    sw_var *u = sw_mil_linear_forward(t, p->slab, &p->m->attn1, p->o->embed_new ? z : zh);
    u = sw_mil_instead(u, sw_gelu(t, u));
    if (p->o->attn_gated) u = gated(p, u, p->o->embed_new ? z : zh);
    sw_var *a = sw_mil_instead(u, sw_mil_linear_forward(t, p->slab, &p->m->attn2, u));
    if (p->o->embed_new) a = sw_permute(t, a, (const int[]){0, 2, 1}); /* [b, n, h] -> [b, h, n] */
    return sw_reshape(t, a, SW_SHAPE(p->b * p->o->heads, p->n));
}

/* A + alpha * softmax(Q K^T / sqrt(d)) A, heads sharing all weights; never forms n x n. */
static sw_var *attention_plus(const pass *p, sw_var *z, sw_var *zh, sw_var *a)
{
    sw_tape *t = p->tape;
    const abmilx *m = p->m;
    sw_var *y = sw_mil_norm_forward(t, p->slab, &m->norm_x, p->o->embed_new ? z : zh);
    sw_var *qk = sw_tape_param(t, p->slab, m->qk);
    sw_var *q = sw_linear(t, y, sw_rows(t, qk, 0, m->width), NULL);
    sw_var *k = sw_mil_instead(y, sw_linear(t, y, sw_rows(t, qk, m->width, m->width), NULL));
    if (p->o->embed_new) {
        q = split_own(p, q);
        k = split_own(p, k);
    }
    sw_var *v = m->alpha >= 0 ? sw_scale_by(t, a, sw_tape_param(t, p->slab, m->alpha)) : sw_scale(t, a, p->o->alpha);
    sw_var *refined = sw_add(t, a, sw_attend_one(t, q, k, v, 1.0 / sqrt((double)m->head_dim), p->reduced));
    sw_var_done(q);
    sw_var_done(k);
    return refined;
}

static sw_var *feed_forward(const pass *p, sw_var *s)
{
    sw_tape *t = p->tape;
    bool norm = p->o->norm == SW_MIL_NORM_NONE; /* the reference norms here only when it norms nowhere else */
    sw_var *x = norm ? sw_mil_norm_forward(t, p->slab, &p->m->ffn_norm, s) : s;
    x = sw_gelu(t, sw_mil_linear_forward(t, p->slab, &p->m->ffn1, x));
    return sw_add(t, s, sw_mil_linear_forward(t, p->slab, &p->m->ffn2, x));
}

static sw_aggregator_out forward(const void *state, const sw_aggregator_options *o, sw_tape *t, sw_slab *slab,
                                 sw_var *x, const sw_nn_mode *mode)
{
    const abmilx *m = state;
    const sw_shape *shape = sw_var_shape(x);
    pass p = {m, o, t, slab, shape->dim[0], shape->dim[1], mode->activations == SW_BF16, mode};
    bool norm = o->norm == SW_MIL_NORM_LAYER;
    int64_t groups = p.b * o->heads;

    sw_var *y = norm ? sw_mil_norm_forward(t, slab, &m->feature_norm, x) : x;
    sw_var *z = sw_mil_linear_forward(t, slab, &m->feature, y);
    if (norm) sw_var_done(y);
    z = sw_mil_instead(z, sw_mil_activate(t, o->act, z));
    z = sw_mil_instead(z, sw_mil_dropout(t, o->dropout, 0, z, mode));                         /* [b, n, c] */
    sw_var *zh = split_heads(&p, z);                                                   /* [b h, n, d] */
    sw_var *a = attention_logits(&p, z, zh);                                           /* [b h, n] */
    if (o->attn_plus != SW_PLUS_OFF) a = attention_plus(&p, z, zh, a);
    a = sw_softmax(t, a);
    sw_var *s = sw_matmul(t, sw_reshape(t, a, SW_SHAPE(groups, 1, p.n)), zh, false, false); /* [b h, 1, d] */
    sw_var_done(zh);
    s = sw_mil_linear_forward(t, slab, &m->proj, sw_reshape(t, s, SW_SHAPE(p.b, o->inner_dim)));
    if (o->ffn) s = feed_forward(&p, s);
    if (norm) s = sw_mil_norm_forward(t, slab, &m->norm1, s);
    return (sw_aggregator_out){.logits = sw_mil_linear_forward(t, slab, &m->classifier, s),
                               .attention = sw_reshape(t, a, SW_SHAPE(p.b, o->heads, p.n)),
                               .instance = z,
                               .slide = s};
}

const sw_aggregator_def sw_aggregator_abmilx = {"abmilx", build, forward, sw_free, NULL};
