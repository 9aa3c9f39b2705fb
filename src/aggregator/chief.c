/* SPDX-License-Identifier: Apache-2.0 */
/* CHIEF's aggregator (Wang et al. 2024): CLAM's trunk with gated attention, to which what a text model says of the organ is added.
 * Names are the original's, and so are parts that nothing here uses: its published files hold them. */
#include <stdio.h>

#include "aggregator/aggregator.h"
#include "base/mem.h"

enum { HIDDEN = 256, ORGANS = 19, TEXT_WIDTH = 768 };
static const double GATE_DROPOUT = 0.25;

typedef struct chief {
    sw_mil_linear feature, attn_a, attn_b, attn_c, text, classifier;
    int organs; /* [19, 768] embeddings of organs' names, a buffer: zeros until a file gives them */
} chief;

static void declare_unused(sw_nn_builder *b, const sw_aggregator_options *o, int64_t hidden)
{
    char name[64];
    for (int i = 0; i < o->classes; i++) {
        snprintf(name, sizeof name, "instance_classifiers.%d", i);
        sw_mil_add_linear(b, 2, o->inner_dim, true, name);
    }
    sw_mil_add_linear(b, hidden, o->inner_dim, true, "att_head.fc1");
    sw_mil_add_linear(b, 1, hidden, true, "att_head.fc2");
}

static sw_status build(sw_nn_builder *b, const sw_aggregator_options *o, void **state, sw_error *err)
{
    int64_t c = o->inner_dim, hidden = o->hidden > 0 ? o->hidden : HIDDEN;
    if (o->organ < -1 || o->organ >= ORGANS)
        return sw_error_set(err, SW_E_INVALID, "aggregator.organ: %d is not between 0 and %d, or -1 for none", o->organ, ORGANS - 1);
    chief *m = sw_calloc(1, sizeof *m);
    if (!m) return sw_nomem(err);
    *state = m;
    m->organs = sw_nn_add(b, SW_BUFFER, SW_INIT_ZERO, SW_SHAPE(ORGANS, TEXT_WIDTH), "organ_embedding");
    m->feature = sw_mil_add_linear(b, c, o->input_dim, true, "attention_net.0");
    m->attn_a = sw_mil_add_linear(b, hidden, c, true, "attention_net.3.attention_a.0");
    m->attn_b = sw_mil_add_linear(b, hidden, c, true, "attention_net.3.attention_b.0");
    m->attn_c = sw_mil_add_linear(b, 1, hidden, true, "attention_net.3.attention_c");
    m->classifier = sw_mil_add_linear(b, o->classes, c, true, "classifiers");
    declare_unused(b, o, hidden);
    m->text = sw_mil_add_linear(b, c, TEXT_WIDTH, true, "text_to_vision.0");
    return SW_OK;
}

/* s [b, c] plus what the text says, the same for every bag. */
static sw_var *with_text(const chief *m, const sw_aggregator_options *o, sw_tape *t, sw_slab *slab, sw_var *s, const sw_nn_mode *mode)
{
    int64_t b = sw_var_shape(s)->dim[0];
    SW_AUTOFREE double *one = sw_malloc((size_t)(b + 1) * sizeof *one);
    if (!one) sw_tape_fail(t, SW_E_NOMEM, "out of memory");
    for (int64_t i = 0; one && i < b; i++) one[i] = 1.0;
    sw_var *organ = sw_rows(t, sw_tape_frozen(t, slab, m->organs), o->organ, 1);
    sw_var *text = sw_relu(t, sw_mil_linear_forward(t, slab, &m->text, organ)); /* [1, c] */
    sw_var *each = sw_mil_constant(t, sw_var_value(s)->dtype, SW_SHAPE(b, 1), one);
    text = sw_mil_dropout(t, o->dropout, 3, sw_matmul(t, each, text, false, false), mode);
    return sw_add(t, s, text);
}

static sw_aggregator_out forward(const void *state, const sw_aggregator_options *o, sw_tape *t, sw_slab *slab,
                                 sw_var *x, const sw_nn_mode *mode)
{
    const chief *m = state;
    int64_t b = sw_var_shape(x)->dim[0], n = sw_var_shape(x)->dim[1];
    const double rate = o->dropout > 0.0 ? GATE_DROPOUT : 0.0;

    sw_mil_act act = o->act == SW_ACT_GELU ? SW_ACT_GELU : SW_ACT_RELU;
    sw_var *z = sw_mil_linear_forward(t, slab, &m->feature, x);
    z = sw_mil_instead(z, sw_mil_activate(t, act, z));
    z = sw_mil_instead(z, sw_mil_dropout(t, o->dropout, 0, z, mode)); /* [b, n, c] */
    sw_var *u = sw_mil_dropout(t, rate, 1, sw_tanh(t, sw_mil_linear_forward(t, slab, &m->attn_a, z)), mode);
    sw_var *g = sw_mil_dropout(t, rate, 2, sw_sigmoid(t, sw_mil_linear_forward(t, slab, &m->attn_b, z)), mode);
    sw_var *a = sw_reshape(t, sw_mil_linear_forward(t, slab, &m->attn_c, sw_mul(t, u, g)), SW_SHAPE(b, n));
    a = sw_reshape(t, sw_softmax(t, a), SW_SHAPE(b, 1, n));
    sw_var *s = sw_reshape(t, sw_matmul(t, a, z, false, false), SW_SHAPE(b, o->inner_dim));
    if (o->organ >= 0) s = with_text(m, o, t, slab, s, mode);
    return (sw_aggregator_out){.logits = sw_mil_linear_forward(t, slab, &m->classifier, s),
                               .attention = a,
                               .instance = z,
                               .slide = s};
}

const sw_aggregator_def sw_aggregator_chief = {"chief", build, forward, sw_free, NULL};
