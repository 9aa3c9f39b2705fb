/* SPDX-License-Identifier: Apache-2.0 */
/* Cluster-to-Conquer (Sharma et al. 2021): a narrow tail on the encoder, attention over the slide, and a classifier of the
 * patches beside that of the slide. Its loss has three parts: the slide's, the patches' by the slide's label, and one that
 * keeps attention even among the patches of a cluster. Names are the original's. */
#include <math.h>

#include "aggregator/aggregator.h"
#include "base/mem.h"

enum { TAIL = 4, HIDDEN = 32, FEW = 4 }; /* tail: first layer by second; clusters of so few patches do not count */

typedef struct c2c {
    sw_mil_linear tail1, tail2, attn1, attn2, classifier, patch;
} c2c;

static sw_status build(sw_nn_builder *b, const sw_aggregator_options *o, void **state, sw_error *err)
{
    c2c *m = sw_calloc(1, sizeof *m);
    int64_t c = o->inner_dim, hidden = o->hidden > 0 ? o->hidden : HIDDEN;
    if (!m) return sw_nomem(err);
    *state = m;
    m->tail1 = sw_mil_add_linear(b, TAIL * c, o->input_dim, true, "resnet_tail.0");
    m->tail2 = sw_mil_add_linear(b, c, TAIL * c, true, "resnet_tail.2");
    m->attn1 = sw_mil_add_linear(b, hidden, c, true, "attention.0");
    m->attn2 = sw_mil_add_linear(b, 1, hidden, true, "attention.2");
    m->classifier = sw_mil_add_linear(b, o->classes, c, true, "classifier.0");
    m->patch = sw_mil_add_linear(b, o->classes, c, true, "patch_classifier.0");
    return SW_OK;
}

static sw_aggregator_out forward(const void *state, const sw_aggregator_options *o, sw_tape *t, sw_slab *slab,
                                 sw_var *x, const sw_nn_mode *mode)
{
    const c2c *m = state;
    int64_t b = sw_var_shape(x)->dim[0], n = sw_var_shape(x)->dim[1];
    (void)mode;
    sw_var *f = sw_relu(t, sw_mil_linear_forward(t, slab, &m->tail1, x));
    f = sw_relu(t, sw_mil_linear_forward(t, slab, &m->tail2, f)); /* [b, n, c] */
    sw_var *e = sw_tanh(t, sw_mil_linear_forward(t, slab, &m->attn1, f));
    e = sw_reshape(t, sw_mil_linear_forward(t, slab, &m->attn2, e), SW_SHAPE(b, n));
    sw_var *a = sw_reshape(t, sw_softmax(t, e), SW_SHAPE(b, 1, n));
    sw_var *s = sw_reshape(t, sw_matmul(t, a, f, false, false), SW_SHAPE(b, o->inner_dim));
    return (sw_aggregator_out){.logits = sw_mil_linear_forward(t, slab, &m->classifier, s),
                               .attention = a,
                               .instance = f,
                               .slide = s,
                               .patch = sw_mil_linear_forward(t, slab, &m->patch, f),
                               .second = e}; /* before the softmax */
}

/* --- the loss */

/* The same number everywhere, of `like`'s type. */
static sw_var *filled(sw_tape *t, const sw_var *like, sw_shape shape, double value)
{
    sw_error err;
    sw_tensor x = {0};
    int64_t n = sw_shape_count(&shape);
    SW_AUTOFREE double *v = sw_calloc((size_t)n, sizeof *v);
    for (int64_t i = 0; v && i < n; i++) v[i] = value;
    if (!v) sw_tape_fail(t, SW_E_NOMEM, "out of memory");
    else if (sw_tensor_new(&sw_tape_backend(t)->device, sw_var_value(like)->dtype, shape, &x, &err) != SW_OK ||
             sw_tensor_upload_f64(&x, v, &err) != SW_OK)
        sw_tape_fail(t, err.code, "%s", err.message);
    sw_var *out = sw_tape_constant(t, &x);
    sw_tensor_release(&x);
    return out;
}

/* Mean over all patches of the cross-entropy of their own logits [b, n, classes] with their slide's label. */
static sw_var *patch_loss(sw_tape *t, sw_var *logits, const int32_t *label)
{
    const sw_shape *shape = sw_var_shape(logits);
    int64_t b = shape->dim[0], n = shape->dim[1];
    SW_AUTOFREE int32_t *each = sw_calloc((size_t)(b * n), sizeof *each);
    if (!each) {
        sw_tape_fail(t, SW_E_NOMEM, "out of memory");
        return logits;
    }
    for (int64_t i = 0; i < b * n; i++) each[i] = label[i / n];
    return sw_cross_entropy(t, sw_reshape(t, logits, SW_SHAPE(b * n, shape->dim[2])), sw_mil_constant_i32(t, SW_SHAPE(b * n), each));
}

/* KL divergence of the softmax over the `k` patches `at` of e [1, all, 1] from evenness, but for -ln k: the mean over the
 * patches of -log_softmax(e), which is the cross-entropy of k equal rows with the labels 0, 1, ... */
static sw_var *unevenness(sw_tape *t, sw_var *e, int32_t *at, int64_t k)
{
    sw_var *some = sw_gather(t, e, sw_mil_constant_i32(t, SW_SHAPE(1, k), at));
    sw_var *ones = filled(t, e, SW_SHAPE(k, 1), 1.0);
    sw_var *rows = sw_matmul(t, ones, sw_reshape(t, some, SW_SHAPE(1, k)), false, false);
    for (int64_t i = 0; i < k; i++) at[i] = (int32_t)i;
    return sw_cross_entropy(t, rows, sw_mil_constant_i32(t, SW_SHAPE(k), at));
}

/* Mean over the bags of the sum over their clusters; NULL: none has enough patches. e [b, n], cluster [b, n]. */
static sw_var *cluster_loss(sw_tape *t, sw_var *e, const int32_t *cluster)
{
    int64_t b = sw_var_shape(e)->dim[0], n = sw_var_shape(e)->dim[1];
    sw_var *flat = sw_reshape(t, e, SW_SHAPE(1, b * n, 1)), *sum = NULL;
    double logs = 0.0;
    int32_t top = -1;
    SW_AUTOFREE int32_t *at = sw_calloc((size_t)n, sizeof *at);
    if (!at) {
        sw_tape_fail(t, SW_E_NOMEM, "out of memory");
        return NULL;
    }
    for (int64_t i = 0; i < b * n; i++) top = cluster[i] > top ? cluster[i] : top;
    for (int64_t bag = 0; bag < b; bag++) {
        for (int32_t c = 0; c <= top; c++) {
            int64_t k = 0;
            for (int64_t i = bag * n; i < (bag + 1) * n; i++)
                if (cluster[i] == c) at[k++] = (int32_t)i;
            if (k <= FEW) continue;
            sw_var *one = unevenness(t, flat, at, k);
            sum = sum ? sw_add(t, sum, one) : one;
            logs += log((double)k);
        }
    }
    if (!sum) return NULL;
    sum = sw_add(t, sum, filled(t, e, (sw_shape){.rank = 0}, -logs));
    return sw_scale(t, sum, 1.0 / (double)b);
}

static sw_var *loss(const void *state, const sw_aggregator_options *o, sw_tape *t, sw_slab *slab, const sw_aggregator_out *out,
                    const sw_mil_target *target)
{
    sw_error err;
    (void)state;
    (void)slab;
    if (!target->label)
        sw_tape_fail(t, SW_E_INVALID, "aggregator.name: c2c trains its patches by the slide's class, which this task has not");
    if (sw_tape_status(t, &err) != SW_OK) return out->logits;
    sw_var *sum = sw_scale(t, target->loss(target->ctx, t, out->logits, target->targets), o->slide_weight);
    if (o->patch_weight > 0.0)
        sum = sw_add(t, sum, sw_scale(t, patch_loss(t, out->patch, target->label), o->patch_weight));
    sw_var *even = o->cluster_weight > 0.0 && target->cluster ? cluster_loss(t, out->second, target->cluster) : NULL;
    return even ? sw_add(t, sum, sw_scale(t, even, o->cluster_weight)) : sum;
}

const sw_aggregator_def sw_aggregator_c2c = {"c2c", build, forward, sw_free, loss};
