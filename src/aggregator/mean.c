/* SPDX-License-Identifier: Apache-2.0 */
/* The plainest aggregator: the mean of the patch features and one linear layer (the reference's meanP). */
#include "aggregator/aggregator.h"
#include "base/mem.h"

typedef struct mean {
    sw_mil_linear head;
} mean;

static sw_status build(sw_nn_builder *b, const sw_aggregator_options *o, void **state, sw_error *err)
{
    mean *m = sw_calloc(1, sizeof *m);
    if (!m) return sw_nomem(err);
    *state = m;
    m->head = sw_mil_add_linear(b, o->classes, o->input_dim, true, "head");
    return SW_OK;
}

static sw_aggregator_out forward(const void *state, const sw_aggregator_options *o, sw_tape *t, sw_slab *slab,
                                 sw_var *x, const sw_nn_mode *mode)
{
    const mean *m = state;
    (void)o;
    (void)mode;
    sw_var *s = sw_mean_rows(t, x);
    return (sw_aggregator_out){.logits = sw_mil_linear_forward(t, slab, &m->head, s), .instance = x, .slide = s};
}

const sw_aggregator_def sw_aggregator_mean = {"mean", build, forward, sw_free, NULL};
