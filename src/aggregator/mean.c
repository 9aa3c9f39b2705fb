/* SPDX-License-Identifier: Apache-2.0 */
/* The plainest aggregators. Of features: their mean and one linear layer (mean, the reference's meanP), or one linear layer and the
 * largest of each class's logits (max). Of two layers on every patch: the mean of their logits (meanmil), or the largest (maxmil). */
#include "aggregator/aggregator.h"
#include "base/mem.h"

typedef struct pool {
    bool max, deep;
    sw_mil_linear hidden, head;
} pool;

static sw_status build_kind(sw_nn_builder *b, const sw_aggregator_options *o, pool kind, void **state, sw_error *err)
{
    pool *m = sw_calloc(1, sizeof *m);
    if (!m) return sw_nomem(err);
    *state = m;
    *m = kind;
    if (m->deep) m->hidden = sw_mil_add_linear(b, o->inner_dim, o->input_dim, true, "head.0");
    /* the reference counts the dropout between the two as a layer of its own, where there is one */
    const char *last = !m->deep ? "head" : o->dropout > 0.0 ? "head.3" : "head.2";
    m->head = sw_mil_add_linear(b, o->classes, m->deep ? o->inner_dim : o->input_dim, true, last);
    return SW_OK;
}

#define POOL(name, is_max, is_deep)                                                                                        \
    static sw_status build_##name(sw_nn_builder *b, const sw_aggregator_options *o, void **state, sw_error *err)           \
    {                                                                                                                      \
        return build_kind(b, o, (pool){.max = is_max, .deep = is_deep}, state, err);                                      \
    }                                                                                                                      \
    const sw_aggregator_def sw_aggregator_##name = {#name, build_##name, forward, sw_free, NULL};

static sw_aggregator_out forward(const void *state, const sw_aggregator_options *o, sw_tape *t, sw_slab *slab,
                                 sw_var *x, const sw_nn_mode *mode)
{
    const pool *m = state;
    if (!m->deep && !m->max) {
        sw_var *s = sw_mean_rows(t, x);
        return (sw_aggregator_out){.logits = sw_mil_linear_forward(t, slab, &m->head, s), .instance = x, .slide = s};
    }
    sw_var *z = x;
    if (m->deep) {
        z = sw_mil_activate(t, o->act, sw_mil_linear_forward(t, slab, &m->hidden, x));
        z = sw_mil_dropout(t, o->dropout, 0, z, mode);
    }
    sw_var *each = sw_mil_linear_forward(t, slab, &m->head, z); /* [b, n, classes] */
    sw_var *logits = m->max ? sw_max_last(t, sw_permute(t, each, (const int[]){0, 2, 1})) : sw_mean_rows(t, each);
    return (sw_aggregator_out){.logits = logits, .instance = z, .slide = logits};
}

POOL(mean, false, false)
POOL(max, true, false)
POOL(meanmil, false, true)
POOL(maxmil, true, true)
