/* SPDX-License-Identifier: Apache-2.0 */
/* WiKG (Li et al. 2024) as the reference implementation has it: every patch is a head, linked to the tails that answer it most; what
 * it learns of them is added to it. Layers have their biases and PyTorch's start in any case, no norm before them. The matrix of all
 * heads with all tails is never kept: tails are chosen a few rows at a time, and only their own products are computed again, with a
 * gradient. */
#include <math.h>

#include "aggregator/aggregator.h"
#include "base/mem.h"

enum { BLOCK = 1 << 20 }; /* products of heads and tails at a time */
static const double SLOPE = 0.01;

typedef struct wikg {
    sw_mil_linear feature, head, tail, linear1, linear2, norm, fc, gate1, gate2;
} wikg;

static sw_mil_linear add_linear(sw_nn_builder *b, int64_t out, int64_t in, const char *name)
{
    sw_mil_linear l;
    l.weight = sw_nn_add(b, SW_PARAM, SW_INIT_UNIFORM_FAN_IN, SW_SHAPE(out, in), "%s.weight", name);
    l.bias = sw_nn_add_bounded(b, 1.0 / sqrt((double)in), SW_SHAPE(out), "%s.bias", name);
    return l;
}

static sw_status build(sw_nn_builder *b, const sw_aggregator_options *o, void **state, sw_error *err)
{
    int64_t c = o->inner_dim, half = c / 2;
    if (c < 2) return sw_error_set(err, SW_E_INVALID, "aggregator.inner_dim: the gates of wikg are half as wide, so it needs at least 2");
    if (o->topk < 1) return sw_error_set(err, SW_E_INVALID, "aggregator.topk: %d must be at least 1", o->topk);
    wikg *m = sw_calloc(1, sizeof *m);
    if (!m) return sw_nomem(err);
    *state = m;
    m->feature = add_linear(b, c, o->input_dim, "_fc1.0");
    m->head = add_linear(b, c, c, "W_head");
    m->tail = add_linear(b, c, c, "W_tail");
    /* The reference makes these three and never uses them; its files hold them. */
    add_linear(b, half, c, "gate_U");
    add_linear(b, half, c, "gate_V");
    add_linear(b, c, half, "gate_W");
    m->linear1 = add_linear(b, c, c, "linear1");
    m->linear2 = add_linear(b, c, c, "linear2");
    m->norm = sw_mil_add_norm(b, c, true, "norm");
    m->fc = add_linear(b, o->classes, c, "fc");
    if (o->pool == SW_POOL_ATTN) {
        m->gate1 = add_linear(b, half, c, "readout.gate_nn.0");
        m->gate2 = add_linear(b, 1, half, "readout.gate_nn.2");
    }
    return SW_OK;
}

/* max(x, 0) + SLOPE * min(x, 0); x is let go. */
static sw_var *leaky_relu(sw_tape *t, sw_var *x)
{
    sw_var *above = sw_relu(t, x);
    sw_var *most = sw_mil_instead(above, sw_scale(t, above, 1.0 - SLOPE));
    sw_var *little = sw_mil_instead(x, sw_scale(t, x, SLOPE));
    sw_var *sum = sw_mil_instead(most, sw_add(t, most, little));
    return sw_mil_instead(little, sum);
}

static sw_var *ones(sw_tape *t, const sw_var *like, sw_shape shape)
{
    int64_t n = sw_shape_count(&shape);
    SW_AUTOFREE double *one = sw_malloc((size_t)n * sizeof *one);
    if (!one) sw_tape_fail(t, SW_E_NOMEM, "out of memory");
    for (int64_t i = 0; one && i < n; i++) one[i] = 1.0;
    return sw_mil_constant(t, sw_var_value(like)->dtype, shape, one);
}

/* Half of each patch and half of what the bag's patches are in the mean; x [b, n, c] is let go. */
static sw_var *join_mean(sw_tape *t, sw_var *x)
{
    int64_t b = sw_var_shape(x)->dim[0], n = sw_var_shape(x)->dim[1], c = sw_var_shape(x)->dim[2];
    sw_var *mean = sw_reshape(t, sw_mean_rows(t, x), SW_SHAPE(b, 1, c));
    sw_var *all = sw_matmul(t, ones(t, x, SW_SHAPE(b, n, 1)), mean, false, false);
    sw_var *sum = sw_mil_instead(all, sw_add(t, x, all));
    return sw_mil_instead(x, sw_mil_instead(sum, sw_scale(t, sum, 0.5)));
}

/* The places of the k largest of n values, from the largest on; of equal ones the first. */
static void choose_largest(const double *value, int64_t n, int64_t k, int32_t *place)
{
    int64_t count = 0;
    for (int64_t j = 0; j < n; j++) {
        if (count == k && !(value[j] > value[place[k - 1]])) continue;
        int64_t at = count < k ? count++ : k - 1;
        for (; at > 0 && value[j] > value[place[at - 1]]; at--) place[at] = place[at - 1];
        place[at] = (int32_t)j;
    }
}

/* Tails of the heads [first, first + count) of one bag, [n, c] both. */
static void choose_rows(sw_tape *t, sw_var *head, sw_var *tail, int64_t first, int64_t count, int64_t k, double *product, int32_t *place)
{
    sw_error err;
    int64_t n = sw_var_shape(tail)->dim[0];
    sw_var *rows = sw_rows(t, head, first, count);
    sw_var *all = sw_mil_instead(rows, sw_matmul(t, rows, tail, false, true));
    if (sw_tape_status(t, NULL) != SW_OK) return;
    if (sw_tensor_download_f64(sw_var_value(all), product, &err) != SW_OK) sw_tape_fail(t, err.code, "%s", err.message);
    sw_var_done(all);
    for (int64_t i = 0; i < count; i++) choose_largest(product + i * n, n, k, place + i * k);
}

static sw_var *constant_of(sw_tape *t, sw_shape shape, const int32_t *value)
{
    sw_error err;
    sw_tensor on_device = {0};
    if (sw_tape_status(t, &err) == SW_OK && sw_tensor_from(&sw_tape_backend(t)->device, SW_I32, shape, value, &on_device, &err) != SW_OK)
        sw_tape_fail(t, err.code, "%s", err.message);
    sw_var *v = sw_tape_constant(t, &on_device);
    sw_tensor_release(&on_device);
    return v;
}

/* Which k tails answer each head most: i32 [b, n * k]. No gradient comes to the choice. */
static sw_var *choose_tails(sw_tape *t, sw_var *heads, const sw_var *tails, int64_t k)
{
    int64_t b = sw_var_shape(heads)->dim[0], n = sw_var_shape(heads)->dim[1], c = sw_var_shape(heads)->dim[2];
    if (sw_tape_status(t, NULL) != SW_OK) return heads;
    int64_t step = n < BLOCK ? BLOCK / n : 1;
    if (step > n) step = n;
    SW_AUTOFREE double *product = sw_malloc((size_t)(step * n) * sizeof *product);
    SW_AUTOFREE int32_t *place = sw_calloc((size_t)(b * n * k), sizeof *place);
    if (!product || !place) sw_tape_fail(t, SW_E_NOMEM, "out of memory");
    sw_var *head = sw_reshape(t, sw_tape_constant(t, sw_var_value(heads)), SW_SHAPE(b * n, c));
    sw_var *tail = sw_reshape(t, sw_tape_constant(t, sw_var_value(tails)), SW_SHAPE(b * n, c));
    for (int64_t i = 0; i < b; i++) {
        sw_var *of_bag = sw_rows(t, tail, i * n, n);
        for (int64_t first = 0; first < n && sw_tape_status(t, NULL) == SW_OK; first += step) {
            int64_t count = n - first < step ? n - first : step;
            choose_rows(t, head, of_bag, i * n + first, count, k, product, place + (i * n + first) * k);
        }
        sw_var_done(of_bag);
    }
    sw_var_done(head);
    sw_var_done(tail);
    return constant_of(t, SW_SHAPE(b, n * k), place);
}

/* What heads [g, 1, c] learn of their tails [g * k, c]: the tails' weighted sum, [g, 1, c]. */
static sw_var *learn(sw_tape *t, const sw_aggregator_options *o, sw_var *head, sw_var *tail, int64_t k)
{
    int64_t g = sw_var_shape(head)->dim[0], c = o->inner_dim;
    sw_var *each = sw_reshape(t, tail, SW_SHAPE(g, k, c));
    sw_var *pi = sw_matmul(t, head, each, false, true);
    pi = sw_reshape(t, sw_softmax(t, sw_scale(t, pi, 1.0 / sqrt((double)c))), SW_SHAPE(g, k, 1));
    /* tanh(head + pi tail + (1 - pi) head) */
    sw_var *two = sw_scale(t, ones(t, head, SW_SHAPE(g, k, 1)), 2.0);
    sw_var *from_head = sw_matmul(t, sw_add(t, two, sw_scale(t, pi, -1.0)), head, false, false);
    sw_var *spread = sw_matmul(t, sw_reshape(t, pi, SW_SHAPE(g * k, 1)), ones(t, head, SW_SHAPE(1, c)), false, false);
    sw_var *from_tail = sw_mil_instead(spread, sw_mul(t, spread, tail));
    sw_var *flat = sw_mil_instead(from_head, sw_reshape(t, from_head, SW_SHAPE(g * k, c)));
    sw_var *sum = sw_mil_instead(from_tail, sw_add(t, flat, from_tail));
    sw_var_done(flat);
    sw_var *gate = sw_mil_instead(sum, sw_tanh(t, sum)), *u, *one = ones(t, head, SW_SHAPE(1, c));
    /* The reference sums tails and gates for themselves; the dot product was meant. */
    if (o->gate_dot) u = sw_linear(t, sw_mul(t, tail, gate), one, NULL);
    else u = sw_mul(t, sw_linear(t, tail, one, NULL), sw_linear(t, gate, one, NULL));
    sw_var_done(gate);
    sw_var *beta = sw_softmax(t, sw_reshape(t, u, SW_SHAPE(g, 1, k)));
    return sw_mil_instead(each, sw_matmul(t, beta, each, false, false));
}

/* y [b, n, c] -> [b, c]; *attention [b, 1, n] where the pool is attention. */
static sw_var *read_out(const wikg *m, const sw_aggregator_options *o, sw_tape *t, sw_slab *slab, sw_var *y, sw_var **attention)
{
    int64_t b = sw_var_shape(y)->dim[0], n = sw_var_shape(y)->dim[1];
    if (o->pool == SW_POOL_MEAN) return sw_mean_rows(t, y);
    if (o->pool == SW_POOL_MAX) return sw_max_last(t, sw_permute(t, y, (const int[]){0, 2, 1}));
    sw_var *a = leaky_relu(t, sw_mil_linear_forward(t, slab, &m->gate1, y));
    a = sw_mil_instead(a, sw_mil_linear_forward(t, slab, &m->gate2, a));
    *attention = sw_softmax(t, sw_reshape(t, a, SW_SHAPE(b, 1, n)));
    return sw_reshape(t, sw_matmul(t, *attention, y, false, false), SW_SHAPE(b, o->inner_dim));
}

static sw_aggregator_out forward(const void *state, const sw_aggregator_options *o, sw_tape *t, sw_slab *slab,
                                 sw_var *x, const sw_nn_mode *mode)
{
    const wikg *m = state;
    const int64_t b = sw_var_shape(x)->dim[0], n = sw_var_shape(x)->dim[1], c = o->inner_dim, k = o->topk < n ? o->topk : n;
    sw_var *attention = NULL;

    sw_var *z = join_mean(t, leaky_relu(t, sw_mil_linear_forward(t, slab, &m->feature, x)));
    sw_var *head = sw_mil_linear_forward(t, slab, &m->head, z), *tail = sw_mil_linear_forward(t, slab, &m->tail, z);
    sw_var_done(z);
    sw_var *links = choose_tails(t, head, tail, k);
    sw_var *chosen = sw_mil_instead(tail, sw_reshape(t, sw_gather(t, tail, links), SW_SHAPE(b * n * k, c)));
    sw_var *learnt = learn(t, o, sw_reshape(t, head, SW_SHAPE(b * n, 1, c)), chosen, k);
    learnt = sw_reshape(t, learnt, SW_SHAPE(b, n, c));
    sw_var_done(chosen);
    sw_var *sum = sw_add(t, head, learnt), *product = sw_mul(t, head, learnt);
    sw_var_done(head);
    sw_var *first = leaky_relu(t, sw_mil_instead(sum, sw_mil_linear_forward(t, slab, &m->linear1, sum)));
    sw_var *second = leaky_relu(t, sw_mil_instead(product, sw_mil_linear_forward(t, slab, &m->linear2, product)));
    sw_var *y = sw_mil_instead(first, sw_add(t, first, second));
    sw_var_done(second);
    y = sw_mil_instead(y, sw_mil_dropout(t, o->dropout, 0, y, mode)); /* [b, n, c] */
    sw_var *s = sw_mil_norm_forward(t, slab, &m->norm, read_out(m, o, t, slab, y, &attention));
    return (sw_aggregator_out){.logits = sw_mil_linear_forward(t, slab, &m->fc, s), .attention = attention, .instance = y, .slide = s};
}

const sw_aggregator_def sw_aggregator_wikg = {"wikg", build, forward, sw_free, NULL};
