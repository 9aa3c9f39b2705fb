/* SPDX-License-Identifier: Apache-2.0 */
/* Attention-based MIL (Ilse et al. 2018) as the reference implementation has it, plain and gated. */
#include "aggregator/aggregator.h"
#include "base/mem.h"

enum { PLAIN_HIDDEN = 128, GATED_HIDDEN = 384 };

typedef struct abmil {
    bool gated;
    sw_mil_linear feature_norm, feature, attn1, gate, attn2, norm1, classifier;
} abmil;

static abmil *begin(sw_nn_builder *b, const sw_aggregator_options *o, bool gated)
{
    abmil *m = sw_calloc(1, sizeof *m);
    /* the reference's gated variant loses the norms that mil_norm asks for; so does ours, to read its weights */
    bool norm = o->norm == SW_MIL_NORM_LAYER && !gated;
    if (!m) return NULL;
    m->gated = gated;
    if (norm) m->feature_norm = sw_mil_add_norm(b, o->input_dim, o->bias, "feature.0");
    m->feature = sw_mil_add_linear(b, o->inner_dim, o->input_dim, o->bias, norm ? "feature.1" : "feature.0");
    return m;
}

static sw_status build_plain(sw_nn_builder *b, const sw_aggregator_options *o, void **state, sw_error *err)
{
    abmil *m = begin(b, o, false);
    int64_t hidden = o->hidden > 0 ? o->hidden : PLAIN_HIDDEN;
    if (!m) return sw_nomem(err);
    *state = m;
    m->attn1 = sw_mil_add_linear(b, hidden, o->inner_dim, true, "attention.0");
    m->attn2 = sw_mil_add_linear(b, 1, hidden, true, "attention.2");
    if (o->norm == SW_MIL_NORM_LAYER) m->norm1 = sw_mil_add_norm(b, o->inner_dim, o->bias, "norm1");
    m->classifier = sw_mil_add_linear(b, o->classes, o->inner_dim, o->bias, "classifier");
    return SW_OK;
}

static sw_status build_gated(sw_nn_builder *b, const sw_aggregator_options *o, void **state, sw_error *err)
{
    abmil *m = begin(b, o, true);
    int64_t hidden = o->hidden > 0 ? o->hidden : GATED_HIDDEN;
    if (!m) return sw_nomem(err);
    *state = m;
    m->attn1 = sw_mil_add_linear(b, hidden, o->inner_dim, true, "attention_a.0");
    m->gate = sw_mil_add_linear(b, hidden, o->inner_dim, true, "attention_b.0");
    m->attn2 = sw_mil_add_linear(b, 1, hidden, true, "attention_c");
    m->classifier = sw_mil_add_linear(b, o->classes, o->inner_dim, o->bias, "classifier.0");
    return SW_OK;
}

static sw_var *attention_logits(const abmil *m, const sw_aggregator_options *o, sw_tape *t, sw_slab *slab, sw_var *z,
                                const sw_nn_mode *mode)
{
    sw_var *u = sw_tanh(t, sw_mil_linear_forward(t, slab, &m->attn1, z));
    if (m->gated) {
        sw_var *g = sw_sigmoid(t, sw_mil_linear_forward(t, slab, &m->gate, z));
        u = sw_mul(t, sw_mil_dropout(t, o->dropout, 1, u, mode), sw_mil_dropout(t, o->dropout, 2, g, mode));
    }
    return sw_mil_linear_forward(t, slab, &m->attn2, u);
}

static sw_aggregator_out forward(const void *state, const sw_aggregator_options *o, sw_tape *t, sw_slab *slab,
                                 sw_var *x, const sw_nn_mode *mode)
{
    const abmil *m = state;
    const sw_shape *shape = sw_var_shape(x);
    int64_t b = shape->dim[0], n = shape->dim[1];
    bool norm = o->norm == SW_MIL_NORM_LAYER && !m->gated;

    if (norm) x = sw_mil_norm_forward(t, slab, &m->feature_norm, x);
    /* this model knows two activations: anything but GELU is ReLU */
    sw_mil_act act = o->act == SW_ACT_GELU ? SW_ACT_GELU : SW_ACT_RELU;
    sw_var *z = sw_mil_activate(t, act, sw_mil_linear_forward(t, slab, &m->feature, x));
    z = sw_mil_dropout(t, o->dropout, 0, z, mode);                                               /* [b, n, c] */
    sw_var *a = sw_reshape(t, attention_logits(m, o, t, slab, z, mode), SW_SHAPE(b, n));
    a = sw_reshape(t, sw_softmax(t, a), SW_SHAPE(b, 1, n));
    sw_var *s = sw_reshape(t, sw_matmul(t, a, z, false, false), SW_SHAPE(b, o->inner_dim));
    if (norm) s = sw_mil_norm_forward(t, slab, &m->norm1, s);
    return (sw_aggregator_out){.logits = sw_mil_linear_forward(t, slab, &m->classifier, s),
                               .attention = a,
                               .instance = z,
                               .slide = s};
}

const sw_aggregator_def sw_aggregator_abmil = {"abmil", build_plain, forward, sw_free, NULL};
const sw_aggregator_def sw_aggregator_gabmil = {"gabmil", build_gated, forward, sw_free, NULL};
