/* SPDX-License-Identifier: Apache-2.0 */
/* The head that finds the patches worth fine-tuning on (Li et al. 2023, task-specific fine-tuning by a variational information
 * bottleneck): CLAM's trunk with gated attention, and a gate that lets few patches through. In training patches are weighed
 * by a random mask around their gate; in evaluation those with the largest gates take part, without a mask. */
#include <math.h>
#include <stdlib.h>

#include "aggregator/aggregator.h"
#include "base/mem.h"
#include "base/rng.h"

enum { HIDDEN = 256, SAMPLES = 10, KEEP = 1024 };
static const double TEMPERATURE = 0.1, MIX = 0.1; /* of a sample; mask = (sample + gate) / (1 + MIX), as in the original */
static const double NEVER = -1e30;                /* a logit whose softmax is zero */

typedef struct vib {
    sw_mil_linear feature, gate, attn_a, attn_b, attn_c, classifier;
} vib;

static sw_status build(sw_nn_builder *b, const sw_aggregator_options *o, void **state, sw_error *err)
{
    vib *m = sw_calloc(1, sizeof *m);
    int64_t c = o->inner_dim, hidden = o->hidden > 0 ? o->hidden : HIDDEN;
    if (!m) return sw_nomem(err);
    *state = m;
    m->feature = sw_mil_add_linear(b, c, o->input_dim, true, "attention_net.0");
    m->attn_a = sw_mil_add_linear(b, hidden, c, true, "attention_net.3.attention_a.0");
    m->attn_b = sw_mil_add_linear(b, hidden, c, true, "attention_net.3.attention_b.0");
    m->attn_c = sw_mil_add_linear(b, 1, hidden, true, "attention_net.3.attention_c");
    m->classifier = sw_mil_add_linear(b, o->classes, c, true, "classifiers");
    m->gate = sw_mil_add_linear(b, 1, c, true, "instance_gate");
    return SW_OK;
}

/* A constant of `like`'s type; values [count of shape], or NULL after a failure that the tape knows. */
static sw_var *constant(sw_tape *t, const sw_var *like, sw_shape shape, const double *values)
{
    sw_error err;
    sw_tensor x = {0};
    if (!values) sw_tape_fail(t, SW_E_NOMEM, "out of memory");
    else if (sw_tensor_new(&sw_tape_backend(t)->device, sw_var_value(like)->dtype, shape, &x, &err) != SW_OK ||
             sw_tensor_upload_f64(&x, values, &err) != SW_OK)
        sw_tape_fail(t, err.code, "%s", err.message);
    sw_var *v = sw_tape_constant(t, &x);
    sw_tensor_release(&x);
    return v;
}

/* All of u, owned by the caller; NULL after a failure that the tape knows. */
static double *values_of(sw_tape *t, const sw_var *u)
{
    sw_error err;
    double *v = NULL;
    if (sw_tape_status(t, &err) != SW_OK) return NULL;
    v = sw_calloc((size_t)sw_shape_count(sw_var_shape(u)), sizeof *v);
    if (!v) {
        sw_tape_fail(t, SW_E_NOMEM, "out of memory");
    } else if (sw_tensor_download_f64(sw_var_value(u), v, &err) != SW_OK) {
        sw_tape_fail(t, err.code, "%s", err.message);
        sw_free(v);
        v = NULL;
    }
    return v;
}

static double sigmoid(double x)
{
    return 1.0 / (1.0 + exp(-x));
}

/* Mean of the samples of a relaxed Bernoulli variable with these log-odds; `patch` of `bag` of the step names its numbers. */
static double sample(double log_odds, const sw_nn_mode *mode, int64_t bag, int64_t patch)
{
    double sum = 0.0;
    sw_rng rng = sw_rng_stream(mode->seed, SW_RNG_GATE, mode->step, (uint32_t)bag, (uint32_t)patch);
    for (int i = 0; i < SAMPLES; i++) {
        double v = sw_rng_uniform(&rng);
        sum += sigmoid((log_odds + log(v) - log1p(-v)) / TEMPERATURE);
    }
    return sum / SAMPLES;
}

/* h [b, n, c] times the mask of each patch. The samples have no gradient; the gates p = sigmoid(u) [b, n, 1] have. The original
 * takes log sigmoid(u) for log-odds, and so does this. */
static sw_var *masked(sw_tape *t, sw_var *h, sw_var *u, sw_var *p, const sw_nn_mode *mode)
{
    int64_t b = sw_var_shape(h)->dim[0], n = sw_var_shape(h)->dim[1], c = sw_var_shape(h)->dim[2];
    SW_AUTOFREE double *z = values_of(t, u);
    SW_AUTOFREE double *one = sw_calloc((size_t)c, sizeof *one);
    for (int64_t i = 0; z && i < b * n; i++) {
        double log_odds = z[i] > 0.0 ? -log1p(exp(-z[i])) : z[i] - log1p(exp(z[i]));
        z[i] = sample(log_odds, mode, i / n, i % n);
    }
    for (int64_t k = 0; one && k < c; k++) one[k] = 1.0;
    if (!z) return h;
    sw_var *mask = sw_scale(t, sw_add(t, p, constant(t, h, SW_SHAPE(b, n, 1), z)), 1.0 / (1.0 + MIX));
    sw_var *wide = sw_matmul(t, sw_reshape(t, mask, SW_SHAPE(b * n, 1)), constant(t, h, SW_SHAPE(1, c), one), false, false);
    return sw_mul(t, h, sw_reshape(t, wide, SW_SHAPE(b, n, c)));
}

static int falling(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

/* Logits of attention a [b, n] but of patches whose gate is below the KEEP-th largest. */
static sw_var *kept(sw_tape *t, sw_var *a, sw_var *u)
{
    int64_t b = sw_var_shape(a)->dim[0], n = sw_var_shape(a)->dim[1];
    if (n <= KEEP) return a;
    SW_AUTOFREE double *v = values_of(t, u);
    SW_AUTOFREE double *sorted = sw_calloc((size_t)n, sizeof *sorted);
    if (!v || !sorted) {
        if (v) sw_tape_fail(t, SW_E_NOMEM, "out of memory");
        return a;
    }
    for (int64_t bag = 0; bag < b; bag++) {
        double *row = v + bag * n;
        for (int64_t i = 0; i < n; i++) sorted[i] = row[i];
        qsort(sorted, (size_t)n, sizeof *sorted, falling);
        for (int64_t i = 0; i < n; i++) row[i] = row[i] >= sorted[KEEP - 1] ? 0.0 : NEVER;
    }
    return sw_add(t, a, constant(t, a, SW_SHAPE(b, n), v));
}

static sw_aggregator_out forward(const void *state, const sw_aggregator_options *o, sw_tape *t, sw_slab *slab,
                                 sw_var *x, const sw_nn_mode *mode)
{
    const vib *m = state;
    int64_t b = sw_var_shape(x)->dim[0], n = sw_var_shape(x)->dim[1];
    sw_var *h = sw_relu(t, sw_mil_linear_forward(t, slab, &m->feature, x));
    h = sw_mil_dropout(t, o->dropout, 0, h, mode);
    sw_var *u = sw_mil_linear_forward(t, slab, &m->gate, h), *p = sw_sigmoid(t, u); /* [b, n, 1] */
    if (mode->training) h = masked(t, h, u, p, mode);
    sw_var *s = sw_tanh(t, sw_mil_linear_forward(t, slab, &m->attn_a, h));
    sw_var *g = sw_sigmoid(t, sw_mil_linear_forward(t, slab, &m->attn_b, h));
    s = sw_mul(t, sw_mil_dropout(t, o->dropout, 1, s, mode), sw_mil_dropout(t, o->dropout, 2, g, mode));
    sw_var *a = sw_reshape(t, sw_mil_linear_forward(t, slab, &m->attn_c, s), SW_SHAPE(b, n));
    if (!mode->training) a = kept(t, a, u);
    a = sw_reshape(t, sw_softmax(t, a), SW_SHAPE(b, 1, n));
    sw_var *slide = sw_reshape(t, sw_matmul(t, a, h, false, false), SW_SHAPE(b, o->inner_dim));
    return (sw_aggregator_out){.logits = sw_mil_linear_forward(t, slab, &m->classifier, slide),
                               .attention = a,
                               .instance = h,
                               .slide = slide,
                               .score = sw_reshape(t, u, SW_SHAPE(b, n)),
                               .second = p};
}

/* The task's, and how far the mean gate of a bag is from the share that is to pass: the mean square over the bags. */
static sw_var *loss(const void *state, const sw_aggregator_options *o, sw_tape *t, sw_slab *slab, const sw_aggregator_out *out,
                    const sw_mil_target *target)
{
    (void)state;
    (void)slab;
    sw_var *sum = sw_scale(t, target->loss(target->ctx, t, out->logits, target->targets), o->slide_weight);
    int64_t b = sw_var_shape(out->second)->dim[0];
    SW_AUTOFREE double *share = sw_calloc((size_t)b + 1, sizeof *share);
    for (int64_t i = 0; share && i < b; i++) share[i] = -o->gate_share;
    sw_var *away = sw_add(t, sw_mean_rows(t, out->second), constant(t, out->logits, SW_SHAPE(b, 1), share)); /* [b, 1] */
    sw_var *square = sw_mean_rows(t, sw_reshape(t, sw_mul(t, away, away), SW_SHAPE(1, b, 1)));
    return sw_add(t, sum, sw_scale(t, sw_reshape(t, square, (sw_shape){.rank = 0}), o->gate_weight));
}

const sw_aggregator_def sw_aggregator_ft_vib = {"ft_vib", build, forward, sw_free, loss};
