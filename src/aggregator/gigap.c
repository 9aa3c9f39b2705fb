/* SPDX-License-Identifier: Apache-2.0 */
/* GigaPath's slide encoder (Xu et al. 2024) and a classifier: LongNet over the patches and a class token. Positions are added where they are
 * asked for and known; the reference implementation leaves them out. */
#include <math.h>

#include "aggregator/longnet.h"
#include "base/mem.h"

enum { FFN = 4, GRID = 1000 }; /* times the width; cells along a side of the grid of positions */
static const double DROP_PATH = 0.1, CLASS_TOKEN_STD = 0.02;

typedef struct gigap {
    int cls;
    sw_mil_linear embed, norm, classifier;
    sw_longnet *net;
} gigap;

static void destroy(void *state)
{
    gigap *m = state;
    sw_longnet_free(m->net);
    sw_free(m);
}

static sw_status build(sw_nn_builder *b, const sw_aggregator_options *o, void **state, sw_error *err)
{
    int64_t c = o->inner_dim;
    if (o->pos == SW_POS_PPEG) return sw_error_set(err, SW_E_INVALID, "aggregator.pos: gigap has no ppeg; set none or sincos");
    if (o->pos == SW_POS_SINCOS && o->inner_dim % 4 != 0)
        return sw_error_set(err, SW_E_INVALID, "aggregator.inner_dim: %d must be a multiple of 4 for aggregator.pos sincos", o->inner_dim);
    if (o->pool == SW_POOL_MAX) return sw_error_set(err, SW_E_INVALID, "aggregator.pool: gigap has attn (its class token) and mean, not max");
    gigap *m = sw_calloc(1, sizeof *m);
    if (!m) return sw_nomem(err);
    *state = m;
    const sw_longnet_options net = {.width = o->inner_dim,
                                    .hidden = o->hidden > 0 ? o->hidden : FFN * o->inner_dim,
                                    .heads = o->heads,
                                    .layers = o->layers,
                                    .branches = o->dilations,
                                    .first = o->segment_first,
                                    .last = o->segment_last,
                                    .dropout = o->dropout,
                                    .drop_path = DROP_PATH};
    m->cls = sw_nn_add_bounded(b, CLASS_TOKEN_STD * sqrt(3.0), SW_SHAPE(1, 1, c), "cls_token");
    m->embed = sw_mil_add_linear(b, c, o->input_dim, true, "patch_embed.proj");
    SW_TRY(sw_longnet_build(b, "encoder.", &net, &m->net, err));
    m->norm = sw_mil_add_norm(b, c, true, "norm");
    m->classifier = sw_mil_add_linear(b, o->classes, c, true, "classifier");
    return SW_OK;
}

/* Sines, then cosines of a coordinate: [width]. */
static void waves(double at, int64_t width, double *to)
{
    for (int64_t i = 0; i < width / 2; i++) {
        double angle = at * pow(10000.0, -2.0 * (double)i / (double)width);
        to[i] = sin(angle);
        to[width / 2 + i] = cos(angle);
    }
}

/* z [b, n, c] with the place of each patch on its slide's grid: row, then column. Patches of unknown place stay as they are. */
static sw_var *placed(sw_tape *t, sw_var *z, const float *xy)
{
    const int64_t b = sw_var_shape(z)->dim[0], n = sw_var_shape(z)->dim[1], c = sw_var_shape(z)->dim[2];
    SW_AUTOFREE double *place = sw_calloc((size_t)(b * n * c) + 1, sizeof *place);
    if (!place) sw_tape_fail(t, SW_E_NOMEM, "out of memory");
    for (int64_t i = 0; place && i < b * n; i++) {
        if (!isfinite(xy[2 * i]) || !isfinite(xy[2 * i + 1])) continue;
        /* one number for both, as in the original, so that what lies beyond its grid is where it has it */
        double index = floor(xy[2 * i] + 0.01) * GRID + floor(xy[2 * i + 1] + 0.01), column = floor(index / GRID);
        waves(index - column * GRID, c / 2, place + i * c);
        waves(column, c / 2, place + i * c + c / 2);
    }
    return sw_add(t, z, sw_mil_constant(t, sw_var_value(z)->dtype, *sw_var_shape(z), place));
}

static sw_aggregator_out forward(const void *state, const sw_aggregator_options *o, sw_tape *t, sw_slab *slab,
                                 sw_var *x, const sw_nn_mode *mode)
{
    const gigap *m = state;
    const int64_t b = sw_var_shape(x)->dim[0], n = sw_var_shape(x)->dim[1], c = o->inner_dim;
    sw_error err;
    sw_var *seen = NULL;

    sw_var *z = sw_mil_linear_forward(t, slab, &m->embed, x); /* [b, n, c] */
    sw_var *y = sw_tape_status(t, &err) == SW_OK && o->pos == SW_POS_SINCOS && mode->xy ? placed(t, z, mode->xy) : sw_reshape(t, z, *sw_var_shape(z));
    y = sw_mil_class_token(t, slab, m->cls, sw_mil_swap_tokens(t, y));
    y = sw_longnet_forward(m->net, t, slab, y, mode, &seen);
    if (sw_tape_status(t, &err) != SW_OK) return (sw_aggregator_out){.logits = y};
    sw_var *s = o->pool == SW_POOL_MEAN ? sw_mean_rows(t, sw_mil_swap_tokens(t, sw_rows(t, y, 1, n)))
                                        : sw_reshape(t, sw_rows(t, y, 0, 1), SW_SHAPE(b, c));
    sw_var_done(y);
    s = sw_layer_norm(t, s, sw_tape_param(t, slab, m->norm.weight), sw_tape_param(t, slab, m->norm.bias), 1e-6);
    return (sw_aggregator_out){.logits = sw_mil_linear_forward(t, slab, &m->classifier, s),
                               .attention = sw_mil_export_attention(t, seen, b),
                               .instance = z,
                               .slide = s};
}

const sw_aggregator_def sw_aggregator_gigap = {"gigap", build, forward, destroy, NULL};
