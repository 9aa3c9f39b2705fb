/* SPDX-License-Identifier: Apache-2.0 */
/* DTFD-MIL (Zhang et al. 2022): a bag's patches are dealt into groups, each a pseudo-bag with the slide's label for a first tier of
 * attention, which distils a few features from each group for a second. The second tier does not train the first. In training the
 * groups of every step are others; in evaluation they depend on the number of patches only. */
#include <math.h>

#include "aggregator/aggregator.h"
#include "base/mem.h"
#include "base/rng.h"

enum { HIDDEN = 128 };

typedef struct gated {
    sw_mil_linear v, u, weights;
} gated;

typedef struct dtfd {
    sw_mil_linear reduce, classifier, second_classifier;
    gated attention, second_attention;
} dtfd;

static sw_status build(sw_nn_builder *b, const sw_aggregator_options *o, void **state, sw_error *err)
{
    int64_t c = o->inner_dim, hidden = o->hidden > 0 ? o->hidden : HIDDEN;
    if (o->groups < 1) return sw_error_set(err, SW_E_INVALID, "aggregator.groups: %d must be at least 1", o->groups);
    dtfd *m = sw_calloc(1, sizeof *m);
    if (!m) return sw_nomem(err);
    *state = m;
    m->classifier = sw_mil_add_linear(b, o->classes, c, true, "classifier.fc");
    m->attention.v = sw_mil_add_linear(b, hidden, c, true, "attention.attention_V.0");
    m->attention.u = sw_mil_add_linear(b, hidden, c, true, "attention.attention_U.0");
    m->attention.weights = sw_mil_add_linear(b, 1, hidden, true, "attention.attention_weights");
    m->reduce = sw_mil_add_linear(b, c, o->input_dim, false, "dimReduction.fc1");
    m->second_attention.v = sw_mil_add_linear(b, hidden, c, true, "UClassifier.attention.attention_V.0");
    m->second_attention.u = sw_mil_add_linear(b, hidden, c, true, "UClassifier.attention.attention_U.0");
    m->second_attention.weights = sw_mil_add_linear(b, 1, hidden, true, "UClassifier.attention.attention_weights");
    m->second_classifier = sw_mil_add_linear(b, o->classes, c, true, "UClassifier.classifier.fc");
    return SW_OK;
}

/* x [b, n, c] -> logits of attention [b, n, 1] */
static sw_var *attend(sw_tape *t, sw_slab *slab, const gated *g, sw_var *x)
{
    sw_var *v = sw_mil_linear_forward(t, slab, &g->v, x), *u = sw_mil_linear_forward(t, slab, &g->u, x);
    v = sw_mil_instead(v, sw_tanh(t, v));
    u = sw_mil_instead(u, sw_sigmoid(t, u));
    sw_var *both = sw_mul(t, v, u);
    sw_var_done(v);
    sw_var_done(u);
    return sw_mil_instead(both, sw_mil_linear_forward(t, slab, &g->weights, both));
}

/* One pass: what the groups have in common, and what they leave behind. */
typedef struct pass {
    const dtfd *m;
    const sw_aggregator_options *o;
    sw_tape *tape;
    sw_slab *slab;
    const sw_nn_mode *mode;
    int64_t b, n;
    int groups, rows;            /* rows: features that a group hands on */
    const int32_t *order;        /* [b, n] patches as they are dealt */
    sw_var *mid, *e;             /* [b, n, c], [b, n, 1] logits of attention */
    double *weight;              /* [b, n] attention within the groups, by patch */
    sw_var *predicted, *handed;  /* [groups, b, classes]; [groups * rows, b, c] without a gradient */
} pass;

/* The first patch of group g, as numpy's array_split deals: the first groups are larger by one. */
static int64_t first_of(const pass *p, int g)
{
    int64_t each = p->n / p->groups, more = p->n % p->groups;
    return each * g + (g < more ? g : more);
}

/* Which patches of a bag are in which group. */
static void deal(const pass *p, int32_t *order)
{
    SW_AUTOFREE int64_t *items = sw_malloc((size_t)p->n * sizeof *items);
    if (!items) sw_tape_fail(p->tape, SW_E_NOMEM, "out of memory");
    for (int64_t i = 0; items && i < p->b; i++) {
        sw_rng rng = p->mode->training ? sw_rng_stream(p->mode->seed, SW_RNG_GROUP, p->mode->step, (uint32_t)i, 0)
                                       : sw_rng_stream(0, SW_RNG_GROUP, 0, 0, 0);
        for (int64_t k = 0; k < p->n; k++) items[k] = k;
        if (p->o->shuffle) sw_rng_shuffle(&rng, items, (size_t)p->n);
        for (int64_t k = 0; k < p->n; k++) order[i * p->n + k] = (int32_t)items[k];
    }
}

static bool download(sw_tape *t, const sw_var *x, double *to)
{
    sw_error err;
    if (sw_tape_status(t, &err) != SW_OK) return false;
    if (sw_tensor_download_f64(sw_var_value(x), to, &err) == SW_OK) return true;
    sw_tape_fail(t, err.code, "%s", err.message);
    return false;
}

/* How much a patch speaks for the last class (class activation map, from its share of the group's logits): what the original sorts by. */
static double activation(const double *logit, double weight, int classes)
{
    double sum = 0.0;
    for (int c = 0; c < classes; c++) sum += exp(weight * (logit[c] - logit[classes - 1]));
    return 1.0 / sum;
}

/* Patches [b, rows] of a group that are handed on: the first with the highest score, and for maxmins the last with the lowest. */
static sw_var *chosen(const pass *p, sw_var *mid, const double *weight, int64_t count)
{
    const int k = p->o->classes;
    const bool by_class = p->o->distill != SW_DISTILL_MAS;
    SW_AUTOFREE double *logit = sw_calloc((size_t)(p->b * count * k), sizeof *logit);
    SW_AUTOFREE int32_t *at = sw_calloc((size_t)(p->b * p->rows), sizeof *at);
    if (!logit || !at) {
        sw_tape_fail(p->tape, SW_E_NOMEM, "out of memory");
        return mid;
    }
    if (by_class) {
        sw_var *each = sw_linear(p->tape, mid, sw_tape_frozen(p->tape, p->slab, p->m->classifier.weight), NULL);
        if (!download(p->tape, each, logit)) return mid;
        sw_var_done(each);
    }
    for (int64_t i = 0; i < p->b; i++) {
        double high = -INFINITY, low = INFINITY;
        for (int64_t j = 0; j < count; j++) {
            double w = weight[i * count + j], s = by_class ? activation(logit + (i * count + j) * k, w, k) : w;
            if (s > high) at[i * p->rows] = (int32_t)j;
            if (s <= low && p->rows > 1) at[i * p->rows + 1] = (int32_t)j;
            high = fmax(high, s);
            low = fmin(low, s);
        }
    }
    return sw_gather(p->tape, mid, sw_mil_constant_i32(p->tape, SW_SHAPE(p->b, p->rows), at));
}

static sw_var *append(sw_tape *t, sw_var *to, sw_var *x)
{
    return to ? sw_concat(t, to, x) : x;
}

/* The first tier on group g; false: the tape has failed. */
static bool group(pass *p, int g)
{
    sw_tape *t = p->tape;
    int64_t first = first_of(p, g), count = first_of(p, g + 1) - first, b = p->b, c = p->o->inner_dim;
    SW_AUTOFREE int32_t *at = sw_calloc((size_t)(b * count), sizeof *at);
    SW_AUTOFREE double *weight = sw_calloc((size_t)(b * count), sizeof *weight);
    if (!at || !weight) {
        sw_tape_fail(t, SW_E_NOMEM, "out of memory");
        return false;
    }
    for (int64_t i = 0; i < b * count; i++) at[i] = p->order[i / count * p->n + first + i % count];
    sw_var *index = sw_mil_constant_i32(t, SW_SHAPE(b, count), at);
    sw_var *mid = sw_gather(t, p->mid, index);
    sw_var *a = sw_softmax(t, sw_reshape(t, sw_gather(t, p->e, index), SW_SHAPE(b, 1, count)));
    sw_var *s = sw_matmul(t, a, mid, false, false); /* [b, 1, c] */
    if (!download(t, a, weight)) return false;
    for (int64_t i = 0; i < b * count; i++) p->weight[i / count * p->n + at[i]] = weight[i];
    sw_var *flat = sw_mil_dropout(t, p->o->dropout, 2 + (uint32_t)g, sw_reshape(t, s, SW_SHAPE(b, c)), p->mode);
    sw_var *logits = sw_mil_linear_forward(t, p->slab, &p->m->classifier, flat);
    p->predicted = append(t, p->predicted, sw_reshape(t, logits, SW_SHAPE(1, b, p->o->classes)));
    sw_var *detached = sw_tape_constant(t, sw_var_value(p->o->distill == SW_DISTILL_AFS ? s : mid));
    if (p->o->distill != SW_DISTILL_AFS) detached = sw_mil_instead(detached, chosen(p, detached, weight, count));
    p->handed = append(t, p->handed, sw_mil_swap_tokens(t, detached));
    sw_var_done(mid);
    return true;
}

/* Attention for maps [b, 1, n]: within the group, times what its features weigh in the second tier, a [b, 1, rows of all groups]. */
static sw_var *whole_attention(pass *p, sw_var *a)
{
    const int64_t rows = (int64_t)p->groups * p->rows;
    SW_AUTOFREE double *second = sw_calloc((size_t)(p->b * rows), sizeof *second);
    if (!second) sw_tape_fail(p->tape, SW_E_NOMEM, "out of memory");
    if (!second || !download(p->tape, a, second)) return a;
    for (int64_t i = 0; i < p->b; i++) {
        for (int g = 0; g < p->groups; g++) {
            double sum = 0.0;
            for (int r = 0; r < p->rows; r++) sum += second[i * rows + g * p->rows + r];
            for (int64_t k = first_of(p, g); k < first_of(p, g + 1); k++) p->weight[i * p->n + p->order[i * p->n + k]] *= sum;
        }
    }
    return sw_mil_constant(p->tape, sw_var_value(a)->dtype, SW_SHAPE(p->b, 1, p->n), p->weight);
}

static sw_aggregator_out forward(const void *state, const sw_aggregator_options *o, sw_tape *t, sw_slab *slab,
                                 sw_var *x, const sw_nn_mode *mode)
{
    const dtfd *m = state;
    int64_t b = sw_var_shape(x)->dim[0], n = sw_var_shape(x)->dim[1], c = o->inner_dim;
    pass p = {.m = m, .o = o, .tape = t, .slab = slab, .mode = mode, .b = b, .n = n, .rows = o->distill == SW_DISTILL_MAXMINS ? 2 : 1};
    p.groups = n < o->groups ? (int)n : o->groups; /* none without a patch */
    SW_AUTOFREE int32_t *order = sw_calloc((size_t)(b * n), sizeof *order);
    SW_AUTOFREE double *weight = sw_calloc((size_t)(b * n), sizeof *weight);

    sw_mil_act act = o->act == SW_ACT_GELU ? SW_ACT_GELU : SW_ACT_RELU;
    p.mid = sw_mil_linear_forward(t, slab, &m->reduce, x);
    p.mid = sw_mil_instead(p.mid, sw_mil_activate(t, act, p.mid));
    p.e = attend(t, slab, &m->attention, p.mid);
    const sw_aggregator_out failed = {.logits = p.mid};
    if (!order || !weight) {
        sw_tape_fail(t, SW_E_NOMEM, "out of memory");
        return failed;
    }
    p.order = order;
    p.weight = weight;
    deal(&p, order);
    for (int g = 0; g < p.groups; g++)
        if (!group(&p, g)) return failed;

    sw_var *all = sw_mil_swap_tokens(t, p.handed); /* [b, groups * rows, c] */
    sw_var *a = attend(t, slab, &m->second_attention, all);
    a = sw_softmax(t, sw_reshape(t, a, SW_SHAPE(b, 1, p.groups * p.rows)));
    sw_var *s = sw_reshape(t, sw_matmul(t, a, all, false, false), SW_SHAPE(b, c));
    sw_var *seen = sw_mil_dropout(t, o->dropout, 1, s, mode);
    return (sw_aggregator_out){.logits = sw_mil_linear_forward(t, slab, &m->second_classifier, seen),
                               .attention = whole_attention(&p, a),
                               .instance = p.mid,
                               .slide = s,
                               .second = p.predicted};
}

/* The task's loss in both tiers: of the slide, and as a mean over the groups. */
static sw_var *loss(const void *state, const sw_aggregator_options *o, sw_tape *t, sw_slab *slab, const sw_aggregator_out *out,
                    const sw_mil_target *target)
{
    sw_error err;
    sw_var *sum = target->loss(target->ctx, t, out->logits, target->targets), *first = NULL;
    (void)state;
    (void)o;
    (void)slab;
    if (!out->second || sw_tape_status(t, &err) != SW_OK) return sum;
    const sw_shape *shape = sw_var_shape(out->second);
    for (int64_t g = 0; g < shape->dim[0]; g++) {
        sw_var *logits = sw_reshape(t, sw_rows(t, out->second, g, 1), SW_SHAPE(shape->dim[1], shape->dim[2]));
        sw_var *one = target->loss(target->ctx, t, logits, target->targets);
        first = first ? sw_add(t, first, one) : one;
    }
    return sw_add(t, sum, sw_scale(t, first, 1.0 / (double)shape->dim[0]));
}

const sw_aggregator_def sw_aggregator_dtfd = {"dtfd", build, forward, sw_free, loss};
