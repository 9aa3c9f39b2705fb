/* SPDX-License-Identifier: Apache-2.0 */
/* CLAM (Lu et al. 2021), with one attention for all classes (clam_sb) or one for each (clam_mb). In training the patches with most and
 * least attention are taken for examples of the slide's class and of none, which a second loss learns to tell apart. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "aggregator/aggregator.h"
#include "base/mem.h"

enum { HIDDEN = 256 };
static const double GATE_DROPOUT = 0.25;
static const double HARD = 6.907755278982137; /* ln 1000: two scores so far apart have no smooth loss */

typedef struct clam {
    int branches; /* 1, or one for each class */
    sw_mil_linear feature, attn_a, attn_b, attn_c;
    sw_mil_linear *classifier; /* [1] of all classes, or [classes] of one each */
    sw_mil_linear *instance;   /* [classes], each of two */
} clam;

static void destroy(void *state)
{
    clam *m = state;
    sw_free(m->classifier);
    sw_free(m->instance);
    sw_free(m);
}

static sw_status build_kind(sw_nn_builder *b, const sw_aggregator_options *o, bool each_class, void **state, sw_error *err)
{
    int64_t c = o->inner_dim, hidden = o->hidden > 0 ? o->hidden : HIDDEN;
    char name[64];
    if (o->instances < 1) return sw_error_set(err, SW_E_INVALID, "aggregator.instances: %d must be at least 1", o->instances);
    clam *m = sw_calloc(1, sizeof *m);
    if (!m) return sw_nomem(err);
    *state = m;
    m->branches = each_class ? o->classes : 1;
    m->classifier = sw_calloc((size_t)m->branches, sizeof *m->classifier);
    m->instance = sw_calloc((size_t)o->classes, sizeof *m->instance);
    if (!m->classifier || !m->instance) return sw_nomem(err);
    m->feature = sw_mil_add_linear(b, c, o->input_dim, o->bias, "attention_net.0");
    m->attn_a = sw_mil_add_linear(b, hidden, c, true, "attention_net.3.attention_a.0");
    m->attn_b = sw_mil_add_linear(b, hidden, c, true, "attention_net.3.attention_b.0");
    m->attn_c = sw_mil_add_linear(b, m->branches, hidden, true, "attention_net.3.attention_c");
    if (!each_class) m->classifier[0] = sw_mil_add_linear(b, o->classes, c, o->bias, "classifiers");
    for (int i = 0; each_class && i < o->classes; i++) {
        snprintf(name, sizeof name, "classifiers.%d", i);
        m->classifier[i] = sw_mil_add_linear(b, 1, c, o->bias, name);
    }
    for (int i = 0; i < o->classes; i++) {
        snprintf(name, sizeof name, "instance_classifiers.%d", i);
        m->instance[i] = sw_mil_add_linear(b, 2, c, true, name);
    }
    return SW_OK;
}

static sw_status build_sb(sw_nn_builder *b, const sw_aggregator_options *o, void **state, sw_error *err)
{
    return build_kind(b, o, false, state, err);
}

static sw_status build_mb(sw_nn_builder *b, const sw_aggregator_options *o, void **state, sw_error *err)
{
    return build_kind(b, o, true, state, err);
}

/* Logits of slides whose classes each have their own embedding: s [b, classes, c] -> [b, classes]. */
static sw_var *each_own(const clam *m, sw_tape *t, sw_slab *slab, sw_var *s)
{
    int64_t b = sw_var_shape(s)->dim[0], c = sw_var_shape(s)->dim[2];
    sw_var *by_class = sw_permute(t, s, (const int[]){1, 0, 2}), *all = NULL;
    for (int i = 0; i < m->branches; i++) {
        sw_var *own = sw_reshape(t, sw_rows(t, by_class, i, 1), SW_SHAPE(b, c));
        sw_var *logit = sw_reshape(t, sw_mil_linear_forward(t, slab, &m->classifier[i], own), SW_SHAPE(1, b));
        all = all ? sw_concat(t, all, logit) : logit;
    }
    return sw_permute(t, all, (const int[]){1, 0});
}

static sw_aggregator_out forward(const void *state, const sw_aggregator_options *o, sw_tape *t, sw_slab *slab,
                                 sw_var *x, const sw_nn_mode *mode)
{
    const clam *m = state;
    int64_t b = sw_var_shape(x)->dim[0];
    const double rate = o->dropout > 0.0 ? GATE_DROPOUT : 0.0;

    sw_mil_act act = o->act == SW_ACT_GELU ? SW_ACT_GELU : SW_ACT_RELU;
    sw_var *z = sw_mil_linear_forward(t, slab, &m->feature, x);
    z = sw_mil_instead(z, sw_mil_activate(t, act, z));
    z = sw_mil_instead(z, sw_mil_dropout(t, o->dropout, 0, z, mode)); /* [b, n, c] */
    sw_var *u = sw_mil_dropout(t, rate, 1, sw_tanh(t, sw_mil_linear_forward(t, slab, &m->attn_a, z)), mode);
    sw_var *g = sw_mil_dropout(t, rate, 2, sw_sigmoid(t, sw_mil_linear_forward(t, slab, &m->attn_b, z)), mode);
    sw_var *a = sw_mil_linear_forward(t, slab, &m->attn_c, sw_mul(t, u, g));
    a = sw_softmax(t, sw_permute(t, a, (const int[]){0, 2, 1})); /* [b, branches, n] */
    sw_var *s = sw_matmul(t, a, z, false, false);                /* [b, branches, c] */
    sw_var *flat = sw_reshape(t, s, SW_SHAPE(b, m->branches * o->inner_dim));
    sw_var *logits = m->branches == 1 ? sw_mil_linear_forward(t, slab, &m->classifier[0], flat) : each_own(m, t, slab, s);
    return (sw_aggregator_out){.logits = logits, .attention = a, .instance = z, .slide = flat};
}

/* --- the loss of patches */

/* The smooth top-1 SVM (Berrada et al. 2018) with margin and temperature 1, a mean over rows: x [n, 2], target [n]. Where two
 * scores are far apart the loss is the hinge itself. */
static sw_var *smooth_svm(sw_tape *t, sw_var *x, const int32_t *target, int64_t n)
{
    sw_error err;
    int64_t smooth = 0, hard = 0;
    sw_var *sum = NULL, *rows = sw_reshape(t, x, SW_SHAPE(1, n, 2));
    sw_dtype dtype = sw_var_value(x)->dtype;
    SW_AUTOFREE double *value = sw_calloc((size_t)n * 6, sizeof *value);
    SW_AUTOFREE int32_t *at = sw_calloc((size_t)n * 3, sizeof *at);
    sw_status status = value && at ? sw_tensor_download_f64(sw_var_value(x), value, &err) : sw_nomem(&err);
    if (status != SW_OK) {
        sw_tape_fail(t, err.code, "%s", err.message);
        return x;
    }
    double *margin = value + 2 * n, *sign = margin + 2 * n;
    int32_t *label = at + n, *far = label + n;
    for (int64_t i = 0; i < n; i++) {
        if (fabs(value[2 * i] - value[2 * i + 1]) < HARD) {
            margin[2 * smooth + 1 - target[i]] = 1.0;
            label[smooth] = target[i];
            at[smooth++] = (int32_t)i;
        } else {
            sign[2 * hard + target[i]] = -1.0;
            sign[2 * hard + 1 - target[i]] = 1.0;
            far[hard++] = (int32_t)i;
        }
    }
    if (smooth > 0) {
        sw_var *some = sw_reshape(t, sw_gather(t, rows, sw_mil_constant_i32(t, SW_SHAPE(1, smooth), at)), SW_SHAPE(smooth, 2));
        some = sw_add(t, some, sw_mil_constant(t, dtype, SW_SHAPE(smooth, 2), margin));
        sum = sw_scale(t, sw_cross_entropy(t, some, sw_mil_constant_i32(t, SW_SHAPE(smooth), label)), (double)smooth);
    }
    if (hard > 0) {
        sw_var *some = sw_reshape(t, sw_gather(t, rows, sw_mil_constant_i32(t, SW_SHAPE(1, hard), far)), SW_SHAPE(hard, 2));
        some = sw_mul(t, some, sw_mil_constant(t, dtype, SW_SHAPE(hard, 2), sign));
        sw_var *one = sw_mil_constant(t, dtype, SW_SHAPE(1), (const double[]){1.0});
        sw_var *ones = sw_mil_constant(t, dtype, SW_SHAPE(1, 2), (const double[]){1.0, 1.0});
        some = sw_relu(t, sw_linear(t, some, ones, one));
        some = sw_reshape(t, sw_mean_rows(t, sw_reshape(t, some, SW_SHAPE(1, hard, 1))), (sw_shape){.rank = 0});
        some = sw_scale(t, some, (double)hard);
        sum = sum ? sw_add(t, sum, some) : some;
    }
    return sw_scale(t, sum, 1.0 / (double)n);
}

typedef struct ranked {
    double weight;
    int32_t at;
} ranked;

/* Most attention first; among equals the first patch. */
static int by_weight(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->weight != y->weight) return x->weight < y->weight ? 1 : -1;
    return (x->at > y->at) - (x->at < y->at);
}

typedef struct judge {
    const clam *m;
    const sw_aggregator_options *o;
    sw_tape *tape;
    sw_slab *slab;
    sw_var *patches; /* [1, b * n, c] */
    int64_t n;       /* patches of a bag */
    ranked *order;   /* [n] room */
    int32_t *at, *target;
} judge;

/* Loss of class `c`'s classifier on the patches of bag `bag` with most attention, and where it is the bag's own also least. */
static sw_var *of_class(const judge *j, const double *weight, int64_t bag, int c, bool own)
{
    sw_tape *t = j->tape;
    int64_t k = j->o->instances < j->n ? j->o->instances : j->n, count = 0;
    for (int64_t i = 0; i < j->n; i++) j->order[i] = (ranked){weight[i], (int32_t)i};
    qsort(j->order, (size_t)j->n, sizeof *j->order, by_weight);
    for (int64_t i = 0; i < k; i++) {
        j->target[count] = own;
        j->at[count++] = (int32_t)(bag * j->n) + j->order[i].at;
    }
    for (int64_t i = 0; own && i < k; i++) {
        j->target[count] = 0;
        j->at[count++] = (int32_t)(bag * j->n) + j->order[j->n - 1 - i].at;
    }
    sw_var *h = sw_gather(t, j->patches, sw_mil_constant_i32(t, SW_SHAPE(1, count), j->at));
    h = sw_reshape(t, h, SW_SHAPE(count, j->o->inner_dim));
    sw_var *x = sw_mil_linear_forward(t, j->slab, &j->m->instance[c], h);
    if (j->o->instance_ce) return sw_cross_entropy(t, x, sw_mil_constant_i32(t, SW_SHAPE(count), j->target));
    return smooth_svm(t, x, j->target, count);
}

/* Mean over the bags of what their patches cost; NULL: the tape has failed. */
static sw_var *instance_loss(judge *j, const sw_aggregator_out *out, const int32_t *label)
{
    sw_error err;
    const sw_shape *shape = sw_var_shape(out->attention);
    int64_t b = shape->dim[0], branches = shape->dim[1];
    sw_var *sum = NULL;
    SW_AUTOFREE double *a = sw_calloc((size_t)(b * branches * j->n) + 1, sizeof *a);
    sw_status status = a ? sw_tensor_download_f64(sw_var_value(out->attention), a, &err) : sw_nomem(&err);
    if (status != SW_OK) {
        sw_tape_fail(j->tape, err.code, "%s", err.message);
        return NULL;
    }
    for (int64_t i = 0; i < b; i++) {
        for (int c = 0; c < j->o->classes; c++) {
            if (c != label[i] && !j->o->subtyping) continue;
            sw_var *one = of_class(j, a + (i * branches + (branches > 1 ? c : 0)) * j->n, i, c, c == label[i]);
            sum = sum ? sw_add(j->tape, sum, one) : one;
        }
    }
    return sw_scale(j->tape, sum, 1.0 / (double)(b * (j->o->subtyping ? j->o->classes : 1)));
}

static sw_var *loss(const void *state, const sw_aggregator_options *o, sw_tape *t, sw_slab *slab, const sw_aggregator_out *out,
                    const sw_mil_target *target)
{
    sw_error err;
    sw_var *bag = target->loss(target->ctx, t, out->logits, target->targets);
    if (!target->label || o->bag_weight >= 1.0 || sw_tape_status(t, &err) != SW_OK) return bag; /* survival: no class to be an example of */
    const sw_shape *z = sw_var_shape(out->instance);
    judge j = {state, o, t, slab, sw_reshape(t, out->instance, SW_SHAPE(1, z->dim[0] * z->dim[1], z->dim[2])), z->dim[1], NULL, NULL, NULL};
    SW_AUTOFREE ranked *order = sw_calloc((size_t)j.n, sizeof *order);
    SW_AUTOFREE int32_t *room = sw_calloc((size_t)j.n * 4, sizeof *room);
    if (!order || !room) {
        sw_tape_fail(t, SW_E_NOMEM, "out of memory");
        return bag;
    }
    j.order = order;
    j.at = room;
    j.target = room + 2 * j.n;
    sw_var *patches = instance_loss(&j, out, target->label);
    if (!patches) return bag;
    return sw_add(t, sw_scale(t, bag, o->bag_weight), sw_scale(t, patches, 1.0 - o->bag_weight));
}

const sw_aggregator_def sw_aggregator_clam_sb = {"clam_sb", build_sb, forward, destroy, loss};
const sw_aggregator_def sw_aggregator_clam_mb = {"clam_mb", build_mb, forward, destroy, loss};
