/* SPDX-License-Identifier: Apache-2.0 */
/* Dual-stream MIL (Li et al. 2021) as the reference implementation has it: every class's critical patch asks all others how
 * much they resemble it; a second loss trains the critical patches' own logits. */
#include <math.h>

#include "aggregator/aggregator.h"
#include "base/mem.h"

enum { QUERY = 128 };

typedef struct dsmil {
    sw_mil_linear feature, instance, q1, q2, v, norm;
    int fcc, fcc_bias;
} dsmil;

static sw_status build(sw_nn_builder *b, const sw_aggregator_options *o, void **state, sw_error *err)
{
    dsmil *m = sw_calloc(1, sizeof *m);
    int64_t c = o->inner_dim, k = o->classes;
    if (!m) return sw_nomem(err);
    *state = m;
    m->feature = sw_mil_add_linear(b, c, o->input_dim, o->bias, "feature.0");
    m->instance = sw_mil_add_linear(b, k, c, o->bias, "i_classifier");
    m->q1 = sw_mil_add_linear(b, QUERY, c, o->bias, "b_classifier.q.0");
    m->q2 = sw_mil_add_linear(b, QUERY, QUERY, true, "b_classifier.q.2"); /* the reference keeps this bias in any case */
    m->v = sw_mil_add_linear(b, c, c, o->bias, "b_classifier.v.1");
    if (o->norm == SW_MIL_NORM_LAYER) m->norm = sw_mil_add_norm(b, c, true, "b_classifier.norm");
    m->fcc = sw_nn_add(b, SW_PARAM, SW_INIT_XAVIER, SW_SHAPE(k, k, c), "b_classifier.fcc.weight");
    m->fcc_bias = o->bias ? sw_nn_add(b, SW_PARAM, SW_INIT_ZERO, SW_SHAPE(k), "b_classifier.fcc.bias") : -1;
    return SW_OK;
}

static sw_aggregator_out forward(const void *state, const sw_aggregator_options *o, sw_tape *t, sw_slab *slab,
                                 sw_var *x, const sw_nn_mode *mode)
{
    const dsmil *m = state;
    int64_t b = sw_var_shape(x)->dim[0], k = o->classes, c = o->inner_dim;

    sw_var *z = sw_mil_linear_forward(t, slab, &m->feature, x);
    z = sw_mil_instead(z, sw_mil_activate(t, o->act, z));
    z = sw_mil_instead(z, sw_mil_dropout(t, o->dropout, 0, z, mode)); /* [b, n, c] */
    sw_var *each = sw_permute(t, sw_mil_linear_forward(t, slab, &m->instance, z), (const int[]){0, 2, 1});
    sw_var *largest = sw_max_last(t, each); /* [b, k]: of each class's critical patch */
    sw_var *critical = sw_tape_constant(t, sw_var_saved(largest, 0));

    sw_var *q = sw_relu(t, sw_mil_linear_forward(t, slab, &m->q1, z));
    q = sw_tanh(t, sw_mil_linear_forward(t, slab, &m->q2, q)); /* [b, n, query] */
    sw_var *a = sw_matmul(t, sw_gather(t, q, critical), q, false, true);
    a = sw_softmax(t, sw_scale(t, a, 1.0 / sqrt((double)QUERY))); /* [b, k, n] */
    sw_var *v = sw_mil_linear_forward(t, slab, &m->v, z);
    v = sw_mil_instead(v, sw_relu(t, v));
    sw_var *e = sw_matmul(t, a, v, false, false); /* [b, k, c] */
    if (o->norm == SW_MIL_NORM_LAYER) e = sw_mil_norm_forward(t, slab, &m->norm, e);
    e = sw_reshape(t, e, SW_SHAPE(b, k * c));
    sw_var *w = sw_reshape(t, sw_tape_param(t, slab, m->fcc), SW_SHAPE(k, k * c));
    sw_var *logits = sw_linear(t, e, w, m->fcc_bias < 0 ? NULL : sw_tape_param(t, slab, m->fcc_bias));
    return (sw_aggregator_out){.logits = logits, .attention = a, .instance = z, .slide = e, .second = largest};
}

/* Half on the bag's logits, half on those of the critical patches. */
static sw_var *loss(const void *state, const sw_aggregator_options *o, sw_tape *t, sw_slab *slab, const sw_aggregator_out *out,
                    const sw_mil_target *target)
{
    (void)state;
    (void)o;
    (void)slab;
    sw_var *bag = target->loss(target->ctx, t, out->logits, target->targets);
    sw_var *critical = target->loss(target->ctx, t, out->second, target->targets);
    return sw_scale(t, sw_add(t, bag, critical), 0.5);
}

const sw_aggregator_def sw_aggregator_dsmil = {"dsmil", build, forward, sw_free, loss};
