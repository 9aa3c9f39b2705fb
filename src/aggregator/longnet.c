/* SPDX-License-Identifier: Apache-2.0 */
/* Dilated attention is made of gathers: of each head, the tokens that it looks at are brought side by side, padded with a token of
 * zeros as the original pads, attended to within their segments, and brought back. Where several branches saw a token, they are
 * weighed by their sums of powers, without a gradient, as in the original. */
#include "aggregator/longnet.h"

#include <math.h>
#include <stdio.h>

#include "base/mem.h"

enum { MAX_BRANCHES = 16, SITES = 4 };
static const double UNSEEN = -1e8; /* the original's logarithm of nothing */

typedef struct layer {
    sw_mil_linear k, v, q, out, inner_norm, norm, fc1, fc2, ffn_norm, final_norm;
} layer;

struct sw_longnet {
    sw_longnet_options o;
    sw_mil_linear norm;
    layer layer[];
};

int64_t sw_longnet_segment(const sw_longnet_options *o, int branch)
{
    double of = o->branches > 1 ? (double)branch / (o->branches - 1) : 0.0;
    return (int64_t)floor((double)o->first * pow((double)o->last / (double)o->first, of) * (1.0 + 1e-12));
}

static sw_status check(const sw_longnet_options *o, sw_error *err)
{
    if (o->layers < 1 || o->layers > 64) return sw_error_set(err, SW_E_INVALID, "aggregator.layers: %d is not between 1 and 64", o->layers);
    if (o->branches < 1 || o->branches > MAX_BRANCHES)
        return sw_error_set(err, SW_E_INVALID, "aggregator.dilations: %d is not between 1 and %d", o->branches, (int)MAX_BRANCHES);
    if (o->first < 1 || o->last < o->first)
        return sw_error_set(err, SW_E_INVALID, "aggregator.segment_first: %lld must be at least 1 and at most aggregator.segment_last %lld",
                            (long long)o->first, (long long)o->last);
    if (o->heads < 1 || o->width % o->heads != 0)
        return sw_error_set(err, SW_E_INVALID, "aggregator.heads: %d does not divide aggregator.inner_dim %d", o->heads, o->width);
    if (o->heads % (1 << (o->branches - 1)) != 0)
        return sw_error_set(err, SW_E_INVALID, "aggregator.heads: %d must be a multiple of %d, which the last of aggregator.dilations %d is",
                            o->heads, 1 << (o->branches - 1), o->branches);
    return SW_OK;
}

static sw_mil_linear linear(sw_nn_builder *b, int64_t out, int64_t in, const char *prefix, int i, const char *part)
{
    char name[128];
    snprintf(name, sizeof name, "%slayers.%d.%s", prefix, i, part);
    return sw_mil_add_linear(b, out, in, true, name);
}

static sw_mil_linear norm(sw_nn_builder *b, int64_t width, const char *prefix, int i, const char *part)
{
    char name[128];
    snprintf(name, sizeof name, "%slayers.%d.%s", prefix, i, part);
    return sw_mil_add_norm(b, width, true, name);
}

sw_status sw_longnet_build(sw_nn_builder *b, const char *prefix, const sw_longnet_options *o, sw_longnet **out, sw_error *err)
{
    char name[128];
    SW_TRY(check(o, err));
    sw_longnet *m = sw_calloc(1, sizeof *m + (size_t)o->layers * sizeof m->layer[0]);
    if (!m) return sw_nomem(err);
    *out = m;
    m->o = *o;
    for (int i = 0; i < o->layers; i++) {
        layer *l = &m->layer[i];
        l->k = linear(b, o->width, o->width, prefix, i, "self_attn.k_proj");
        l->v = linear(b, o->width, o->width, prefix, i, "self_attn.v_proj");
        l->q = linear(b, o->width, o->width, prefix, i, "self_attn.q_proj");
        l->out = linear(b, o->width, o->width, prefix, i, "self_attn.out_proj");
        l->inner_norm = norm(b, o->width, prefix, i, "self_attn.inner_attn_ln");
        l->norm = norm(b, o->width, prefix, i, "self_attn_layer_norm");
        l->fc1 = linear(b, o->hidden, o->width, prefix, i, "ffn.fc1");
        l->fc2 = linear(b, o->width, o->hidden, prefix, i, "ffn.fc2");
        l->ffn_norm = norm(b, o->hidden, prefix, i, "ffn.ffn_layernorm");
        l->final_norm = norm(b, o->width, prefix, i, "final_layer_norm");
    }
    snprintf(name, sizeof name, "%slayer_norm", prefix);
    m->norm = sw_mil_add_norm(b, o->width, true, name);
    return SW_OK;
}

void sw_longnet_free(sw_longnet *net)
{
    sw_free(net);
}

/* --- where tokens go in each branch, the same in every layer */

typedef struct branch {
    int64_t segment, segments, kept; /* tokens of a segment; segments; tokens of a segment that a head looks at */
    int32_t *to;                     /* [rows, segments * kept] token, or n: the zeros */
    int32_t *back;                   /* [rows, n] place among them, or -1: the head does not look at this token */
    sw_var *gather, *scatter;        /* both as a constant; scatter has 0 for -1 */
} branch;

typedef struct pass {
    const sw_longnet *m;
    sw_tape *tape;
    sw_slab *slab;
    const sw_nn_mode *mode;
    int64_t n, b, rows, width; /* tokens, bags, bags * heads, of a head */
    branch branch[MAX_BRANCHES];
    double *weight; /* [branches, rows, n] of the branches, of the layer that is run */
} pass;

static void pass_free(pass *p)
{
    for (int i = 0; i < MAX_BRANCHES; i++) {
        sw_free(p->branch[i].to);
        sw_free(p->branch[i].back);
    }
    sw_free(p->weight);
}

/* The group of heads that a head belongs to starts at the token of the group's number and goes on in steps of the ratio. */
static bool lay_out(pass *p, int i)
{
    branch *r = &p->branch[i];
    const int64_t ratio = (int64_t)1 << i, segment = sw_longnet_segment(&p->m->o, i);
    r->segment = segment < p->n ? segment : p->n;
    r->segments = (p->n + r->segment - 1) / r->segment;
    r->kept = (r->segment + ratio - 1) / ratio;
    const int64_t all = r->segments * r->kept;
    r->to = sw_malloc((size_t)(p->rows * all) * sizeof *r->to);
    r->back = sw_malloc((size_t)(p->rows * p->n) * sizeof *r->back);
    SW_AUTOFREE int32_t *place = sw_malloc((size_t)(p->rows * p->n) * sizeof *place);
    if (!r->to || !r->back || !place) return false;
    for (int64_t row = 0; row < p->rows; row++) {
        const int64_t start = row % p->m->o.heads / (p->m->o.heads / ratio);
        for (int64_t k = 0; k < all; k++) {
            int64_t within = k % r->kept * ratio + start, token = k / r->kept * r->segment + within;
            r->to[row * all + k] = (int32_t)(within < r->segment && token < p->n ? token : p->n);
        }
        for (int64_t t = 0; t < p->n; t++) {
            int64_t within = t % r->segment, at = within % ratio == start ? t / r->segment * r->kept + within / ratio : -1;
            r->back[row * p->n + t] = (int32_t)at;
            place[row * p->n + t] = (int32_t)(at < 0 ? 0 : at);
        }
    }
    r->gather = sw_mil_constant_i32(p->tape, SW_SHAPE(p->rows, all), r->to);
    r->scatter = sw_mil_constant_i32(p->tape, SW_SHAPE(p->rows, p->n), place);
    return true;
}

/* --- attention */

static bool download(sw_tape *t, const sw_tensor *x, double *to)
{
    sw_error err;
    if (sw_tape_status(t, &err) != SW_OK) return false;
    if (sw_tensor_download_f64(x, to, &err) == SW_OK) return true;
    sw_tape_fail(t, err.code, "%s", err.message);
    return false;
}

/* Of tokens [rows, n + 1, d], those of a branch by segments: [rows * segments, kept, d]. */
static sw_var *gathered(const pass *p, const branch *r, sw_var *x)
{
    sw_var *y = sw_gather(p->tape, x, r->gather);
    return sw_mil_instead(y, sw_reshape(p->tape, y, SW_SHAPE(p->rows * r->segments, r->kept, p->width)));
}

/* What branch i makes of each token, [rows, n, d]; into p->weight the logarithm of what it saw. */
static sw_var *look(pass *p, int i, sw_var *q, sw_var *k, sw_var *v)
{
    sw_tape *t = p->tape;
    const branch *r = &p->branch[i];
    const int64_t all = r->segments * r->kept;
    double *to = p->weight + i * p->rows * p->n;
    SW_AUTOFREE double *log_sum = sw_malloc((size_t)(p->rows * all) * sizeof *log_sum);
    if (!log_sum) sw_tape_fail(t, SW_E_NOMEM, "out of memory");
    sw_var *some_q = gathered(p, r, q), *some_k = gathered(p, r, k), *some_v = gathered(p, r, v);
    sw_var *y = sw_attend(t, some_q, some_k, some_v, 1.0 / sqrt((double)p->width));
    sw_var_done(some_q);
    sw_var_done(some_k);
    sw_var_done(some_v);
    if (!log_sum || !download(t, sw_var_saved(y, 0), log_sum)) return y;
    for (int64_t at = 0; at < p->rows * p->n; at++) {
        double sum = r->back[at] < 0 ? 0.0 : log_sum[at / p->n * all + r->back[at]];
        to[at] = sum == 0.0 ? UNSEEN : sum;
    }
    y = sw_mil_instead(y, sw_reshape(t, y, SW_SHAPE(p->rows, all, p->width)));
    return sw_mil_instead(y, sw_gather(t, y, r->scatter));
}

/* From logarithms of sums to weights that add up to one over the branches. */
static void weigh(pass *p)
{
    const int64_t count = p->rows * p->n;
    for (int64_t at = 0; at < count; at++) {
        double top = -INFINITY, sum = 0.0;
        for (int i = 0; i < p->m->o.branches; i++) top = fmax(top, p->weight[i * count + at]);
        for (int i = 0; i < p->m->o.branches; i++) sum += p->weight[i * count + at] = exp(p->weight[i * count + at] - top);
        for (int i = 0; i < p->m->o.branches; i++) p->weight[i * count + at] /= sum;
    }
}

/* `count` ones. */
static sw_var *ones(const pass *p, sw_dtype dtype, sw_shape shape)
{
    int64_t count = sw_shape_count(&shape);
    SW_AUTOFREE double *one = sw_malloc((size_t)count * sizeof *one);
    if (!one) sw_tape_fail(p->tape, SW_E_NOMEM, "out of memory");
    for (int64_t i = 0; one && i < count; i++) one[i] = 1.0;
    return sw_mil_constant(p->tape, dtype, shape, one);
}

/* The first token's weights of the tokens, [rows, n - 1] without its own: of each branch within the first segment. */
static sw_var *first_sees(pass *p, sw_var *q, sw_var *k)
{
    sw_tape *t = p->tape;
    const int64_t rows = p->rows, n = p->n;
    const double scale = 1.0 / sqrt((double)p->width);
    SW_AUTOFREE int32_t *zero = sw_calloc((size_t)rows, sizeof *zero);
    SW_AUTOFREE double *logit = sw_malloc((size_t)(rows * (n + 1)) * sizeof *logit);
    SW_AUTOFREE double *sum = sw_calloc((size_t)(rows * (n - 1)), sizeof *sum);
    if (!zero || !logit || !sum) sw_tape_fail(t, SW_E_NOMEM, "out of memory");
    sw_var *mine = sw_gather(t, sw_tape_constant(t, sw_var_value(q)), sw_mil_constant_i32(t, SW_SHAPE(rows, 1), zero));
    sw_var *all = sw_matmul(t, mine, sw_tape_constant(t, sw_var_value(k)), false, true); /* [rows, 1, n + 1] */
    if (!zero || !logit || !sum || !download(t, sw_var_value(all), logit)) return q;
    for (int i = 0; i < p->m->o.branches; i++) {
        const branch *r = &p->branch[i];
        for (int64_t row = 0; row < rows; row++) {
            const int32_t *to = r->to + row * r->segments * r->kept;
            const double *l = logit + row * (n + 1), weight = p->weight[(i * rows + row) * n];
            double top = -INFINITY, total = 0.0;
            for (int64_t m = 0; m < r->kept; m++) top = fmax(top, scale * l[to[m]]);
            for (int64_t m = 0; m < r->kept; m++) total += exp(scale * l[to[m]] - top);
            for (int64_t m = 0; m < r->kept; m++)
                if (to[m] > 0 && to[m] < n) sum[row * (n - 1) + to[m] - 1] += weight * exp(scale * l[to[m]] - top) / total;
        }
    }
    return sw_mil_constant(t, sw_var_value(q)->dtype, SW_SHAPE(rows, n - 1), sum);
}

/* x [n, b, c] by one of the projections, with a token of zeros behind: [rows, n + 1, d] */
static sw_var *projected(const pass *p, const sw_mil_linear *l, sw_var *x)
{
    sw_var *y = sw_mil_zeros_behind(p->tape, sw_mil_linear_forward(p->tape, p->slab, l, x), 1);
    return sw_mil_split_heads(p->tape, y, p->m->o.heads);
}

static sw_var *attention(pass *p, const layer *l, sw_var *x, sw_var **seen)
{
    sw_tape *t = p->tape;
    sw_var *q = projected(p, &l->q, x), *k = projected(p, &l->k, x), *v = projected(p, &l->v, x);
    sw_var *each[MAX_BRANCHES], *sum = NULL;
    sw_dtype dtype = sw_var_value(x)->dtype;
    for (int i = 0; i < p->m->o.branches; i++) each[i] = look(p, i, q, k, v);
    weigh(p);
    if (seen) *seen = first_sees(p, q, k);
    sw_var_done(q);
    sw_var_done(k);
    sw_var_done(v);
    sw_var *wide = ones(p, dtype, SW_SHAPE(1, p->width));
    for (int i = 0; i < p->m->o.branches; i++) {
        sw_var *w = sw_mil_constant(t, dtype, SW_SHAPE(p->rows * p->n, 1), p->weight + i * p->rows * p->n);
        w = sw_mil_instead(w, sw_matmul(t, w, wide, false, false));
        sw_var *y = sw_mul(t, each[i], sw_reshape(t, w, SW_SHAPE(p->rows, p->n, p->width)));
        sw_var_done(w);
        sw_var_done(each[i]);
        sum = sum ? sw_mil_instead(sum, sw_mil_instead(y, sw_add(t, sum, y))) : y;
    }
    sum = sw_mil_merge_heads(t, sum, p->b);
    sum = sw_mil_instead(sum, sw_mil_norm_forward(t, p->slab, &l->inner_norm, sum));
    return sw_mil_instead(sum, sw_mil_linear_forward(t, p->slab, &l->out, sum));
}

/* --- the layers */

/* x [n, b, c] without the bags that are left out of this step, the others the larger for it. */
static sw_var *drop_path(const pass *p, double rate, uint32_t site, sw_var *x)
{
    if (!p->mode->training || rate == 0.0) return x;
    const int64_t n = p->n, b = p->b, c = p->m->o.width;
    sw_tape *t = p->tape;
    sw_dtype dtype = sw_var_value(x)->dtype;
    sw_var *bags = sw_mil_dropout(t, rate, site, ones(p, dtype, SW_SHAPE(1, b)), p->mode);
    sw_var *tokens = sw_matmul(t, ones(p, dtype, SW_SHAPE(n, 1)), bags, false, false);
    sw_var *all = sw_matmul(t, sw_reshape(t, tokens, SW_SHAPE(n * b, 1)), ones(p, dtype, SW_SHAPE(1, c)), false, false);
    return sw_mil_instead(x, sw_mul(t, x, sw_reshape(t, all, SW_SHAPE(n, b, c))));
}

/* x + what came of it, each with its own mask. */
static sw_var *added(const pass *p, double rate, uint32_t site, sw_var *x, sw_var *y)
{
    y = sw_mil_instead(y, sw_mil_dropout(p->tape, p->m->o.dropout, site, y, p->mode));
    y = drop_path(p, rate, site + 1, y);
    return sw_mil_instead(x, sw_mil_instead(y, sw_add(p->tape, x, y)));
}

static sw_var *run_layer(pass *p, int i, sw_var *x, sw_var **seen)
{
    sw_tape *t = p->tape;
    const sw_longnet_options *o = &p->m->o;
    const layer *l = &p->m->layer[i];
    const double rate = o->layers > 1 ? o->drop_path * i / (o->layers - 1) : 0.0;
    const uint32_t site = o->site + 1 + SITES * (uint32_t)i;
    sw_var *y = sw_mil_norm_forward(t, p->slab, &l->norm, x);
    x = added(p, rate, site, x, sw_mil_instead(y, attention(p, l, y, seen)));
    y = sw_mil_norm_forward(t, p->slab, &l->final_norm, x);
    y = sw_mil_instead(y, sw_mil_linear_forward(t, p->slab, &l->fc1, y));
    y = sw_mil_instead(y, sw_gelu(t, y));
    y = sw_mil_instead(y, sw_mil_norm_forward(t, p->slab, &l->ffn_norm, y));
    y = sw_mil_instead(y, sw_mil_linear_forward(t, p->slab, &l->fc2, y));
    return added(p, rate, site + 2, x, y);
}

sw_var *sw_longnet_forward(const sw_longnet *m, sw_tape *t, sw_slab *slab, sw_var *x, const sw_nn_mode *mode, sw_var **seen)
{
    sw_error err;
    if (sw_tape_status(t, &err) != SW_OK) return x;
    const int64_t n = sw_var_shape(x)->dim[0], b = sw_var_shape(x)->dim[1];
    SW_CLEANUP(pass_free) pass p = {.m = m, .tape = t, .slab = slab, .mode = mode, .n = n, .b = b, .rows = b * m->o.heads};
    p.width = m->o.width / m->o.heads;
    p.weight = sw_malloc((size_t)(m->o.branches * p.rows * n) * sizeof *p.weight);
    bool room = p.weight != NULL;
    for (int i = 0; room && i < m->o.branches; i++) room = lay_out(&p, i);
    if (!room) {
        sw_tape_fail(t, SW_E_NOMEM, "out of memory");
        return x;
    }
    x = sw_mil_instead(x, sw_mil_dropout(t, m->o.dropout, m->o.site, x, mode));
    for (int i = 0; i < m->o.layers && sw_tape_status(t, &err) == SW_OK; i++) x = run_layer(&p, i, x, i == m->o.layers - 1 ? seen : NULL);
    return sw_mil_instead(x, sw_mil_norm_forward(t, slab, &m->norm, x));
}
