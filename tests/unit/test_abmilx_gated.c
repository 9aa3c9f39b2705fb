/* SPDX-License-Identifier: Apache-2.0 */
/* ABMILX with the gated attention MLP: its entries, its numbers against plain C, its gradients against differences. */
#include "test.h"

#include "aggregator/aggregator.h"
#include "base/mem.h"

enum { BAGS = 2, N = 5, DIM = 6, C = 8, HEADS = 2, HIDDEN = C / HEADS, CLASSES = 3 };

static sw_error err;

typedef struct net {
    sw_backend *be;
    sw_slab *slab;
    sw_aggregator *agg;
    sw_aggregator_options o;
} net;

static void net_free(net *m)
{
    sw_aggregator_free(m->agg);
    sw_slab_free(m->slab);
    sw_backend_free(m->be);
}

static sw_status net_new(net *m, bool whole_width, sw_attn_plus plus)
{
    m->o = sw_aggregator_options_default();
    m->o.input_dim = DIM;
    m->o.inner_dim = C;
    m->o.heads = HEADS;
    m->o.classes = CLASSES;
    m->o.dropout = 0;
    m->o.act = SW_ACT_GELU; /* smooth, for the differences */
    m->o.attn_gated = m->o.attn_bias = true;
    m->o.embed_new = whole_width;
    m->o.attn_plus = plus;
    SW_TRY(sw_backend_new("ref", &(sw_backend_options){.threads = 1}, &m->be, &err));
    SW_TRY(sw_slab_new(&m->be->device, SW_F64, &m->slab, &err));
    SW_TRY(sw_aggregator_new("abmilx", &m->o, m->slab, &m->agg, &err));
    SW_TRY(sw_slab_commit(m->slab, &err));
    for (int e = 0; e < sw_slab_entries(m->slab); e++) {
        int64_t n = sw_shape_count(sw_slab_shape(m->slab, e));
        double size = strstr(sw_slab_name(m->slab, e), "attention_c") ? 4 : 0.8;
        SW_AUTOFREE double *v = sw_calloc((size_t)n, sizeof *v);
        for (int64_t i = 0; i < n; i++) v[i] = size * sin(0.7 * (double)i + 0.9 * e);
        SW_TRY(sw_tensor_upload_f64(sw_slab_value(m->slab, e), v, &err));
    }
    return SW_OK;
}

static void features(double *x)
{
    for (int i = 0; i < BAGS * N * DIM; i++) x[i] = 2 * cos(0.9 * i + 0.013 * i * i);
}

/* The loss is a sum of the logits with weights of their own, so that every output counts. */
static double weight_of(int i)
{
    return cos(1.3 * i + 0.2);
}

/* Runs forward, and backward where `backward`; the tape is the caller's. */
static sw_status run(const net *m, const double *x, const sw_nn_mode *mode, sw_tape **tape, sw_aggregator_out *out, bool backward)
{
    sw_tensor in = {0}, w = {0};
    double weights[BAGS * CLASSES];
    for (int i = 0; i < BAGS * CLASSES; i++) weights[i] = weight_of(i);
    SW_TRY(sw_tape_new(m->be, backward, tape, &err));
    SW_TRY(sw_tensor_new(&m->be->device, SW_F64, SW_SHAPE(BAGS, N, DIM), &in, &err));
    SW_TRY(sw_tensor_upload_f64(&in, x, &err));
    SW_TRY(sw_tensor_new(&m->be->device, SW_F64, SW_SHAPE(BAGS, CLASSES), &w, &err));
    SW_TRY(sw_tensor_upload_f64(&w, weights, &err));
    *out = sw_aggregator_forward(m->agg, *tape, sw_tape_input(*tape, &in), mode);
    sw_status status = sw_tape_status(*tape, &err);
    if (status == SW_OK && backward) status = sw_tape_backward(*tape, out->logits, &w, &err);
    sw_tensor_release(&in);
    sw_tensor_release(&w);
    return status;
}

/* ---- the same in plain C */

/* Numbers of an entry, until eight more were asked for. */
static const double *entry(const net *m, const char *name)
{
    static double v[8][256];
    static int turn;
    int at = sw_slab_find(m->slab, name);
    turn = (turn + 1) % 8;
    if (at < 0 || sw_tensor_download_f64(sw_slab_value(m->slab, at), v[turn], &err) != SW_OK)
        sw_test_fail(__FILE__, __LINE__, "no entry %s", name);
    return v[turn];
}

static double dot(const double *row, const double *x, int n, double offset)
{
    for (int i = 0; i < n; i++) offset += row[i] * x[i];
    return offset;
}

static double gelu(double x)
{
    return 0.5 * x * (1 + erf(x / sqrt(2)));
}

/* fc_c(gelu(W_a z + b_a) * sigmoid(W_b z + b_b)) for row `head` of W_c */
static double logit(const net *m, const double *z, int width, int head)
{
    const double *wa = entry(m, "mil.attention.attention_a.0.weight"), *ba = entry(m, "mil.attention.attention_a.0.bias");
    const double *wb = entry(m, "mil.attention.attention_b.0.weight"), *bb = entry(m, "mil.attention.attention_b.0.bias");
    const double *wc = entry(m, "mil.attention.attention_c.weight"), *bc = entry(m, "mil.attention.attention_c.bias");
    double sum = bc[head];
    for (int k = 0; k < width; k++) {
        double gate = 1 / (1 + exp(-dot(wb + k * width, z, width, bb[k])));
        sum += wc[head * width + k] * gelu(dot(wa + k * width, z, width, ba[k])) * gate;
    }
    return sum;
}

/* Attention [HEADS, N] and logits [CLASSES] of one bag, without A+. */
static void plainly(const net *m, const double *x, double *attention, double *logits)
{
    const double *wf = entry(m, "mil.feature.0.weight"), *bf = entry(m, "mil.feature.0.bias");
    double z[N][C], slide[C] = {0}, s[C];
    for (int i = 0; i < N; i++) {
        for (int c = 0; c < C; c++) z[i][c] = gelu(dot(wf + c * DIM, x + i * DIM, DIM, bf[c]));
    }
    for (int h = 0; h < HEADS; h++) {
        double a[N], total = 0;
        for (int i = 0; i < N; i++)
            total += a[i] = exp(m->o.embed_new ? logit(m, z[i], C, h) : logit(m, z[i] + h * HIDDEN, HIDDEN, 0));
        for (int i = 0; i < N; i++) {
            attention[h * N + i] = a[i] / total;
            for (int c = h * HIDDEN; c < (h + 1) * HIDDEN; c++) slide[c] += a[i] / total * z[i][c];
        }
    }
    const double *wp = entry(m, "mil.proj.weight"), *bp = entry(m, "mil.proj.bias");
    const double *wk = entry(m, "mil.classifier.weight"), *bk = entry(m, "mil.classifier.bias");
    for (int c = 0; c < C; c++) s[c] = dot(wp + c * C, slide, C, bp[c]);
    for (int k = 0; k < CLASSES; k++) logits[k] = dot(wk + k * C, s, C, bk[k]);
}

TEST(numbers_are_those_of_plain_c)
{
    for (int whole = 0; whole < 2; whole++) {
        SW_CLEANUP(net_free) net m = {0};
        double x[BAGS * N * DIM], logits[BAGS * CLASSES], attention[BAGS * HEADS * N], spread = 0;
        sw_nn_mode mode = sw_nn_mode_eval();
        sw_aggregator_out out;
        sw_tape *tape = NULL;
        features(x);
        CHECK_OK(net_new(&m, whole, SW_PLUS_OFF));
        CHECK(sw_slab_find(m.slab, "mil.attention.fc1.weight") < 0 && sw_slab_find(m.slab, "mil.attention.fc2.weight") < 0);
        CHECK_OK(run(&m, x, &mode, &tape, &out, false));
        CHECK_OK(sw_tensor_download_f64(sw_var_value(out.logits), logits, &err));
        CHECK_OK(sw_tensor_download_f64(sw_var_value(out.attention), attention, &err));
        sw_tape_free(tape);
        for (int b = 0; b < BAGS; b++) {
            double a[HEADS * N], l[CLASSES];
            plainly(&m, x + b * N * DIM, a, l);
            for (int i = 0; i < HEADS * N; i++) {
                CHECK_NEAR(attention[b * HEADS * N + i], a[i], 1e-12, 1e-14);
                spread = fmax(spread, fabs(a[i] - 1.0 / N));
            }
            for (int k = 0; k < CLASSES; k++) CHECK_NEAR(logits[b * CLASSES + k], l[k], 1e-12, 1e-14);
        }
        CHECK(spread > 0.05); /* the attention chooses */
    }
}

static double loss_of(const net *m, const double *x, const sw_nn_mode *mode)
{
    double logits[BAGS * CLASSES], sum = 0;
    sw_aggregator_out out;
    sw_tape *tape = NULL;
    if (run(m, x, mode, &tape, &out, false) != SW_OK || sw_tensor_download_f64(sw_var_value(out.logits), logits, &err) != SW_OK)
        sw_test_fail(__FILE__, __LINE__, "%s", err.message);
    sw_tape_free(tape);
    for (int i = 0; i < BAGS * CLASSES; i++) sum += weight_of(i) * logits[i];
    return sum;
}

/* d loss / d value i of entry e, from both sides. */
static double difference(const net *m, int e, int64_t i, const double *x, const sw_nn_mode *mode)
{
    const double step = 1e-5;
    double v[256], side[2];
    sw_tensor *value = sw_slab_value(m->slab, e);
    for (int k = 0; k < 2; k++) {
        if (sw_tensor_download_f64(value, v, &err) != SW_OK) return NAN;
        double before = v[i];
        v[i] += k ? step : -step;
        if (sw_tensor_upload_f64(value, v, &err) != SW_OK) return NAN;
        side[k] = loss_of(m, x, mode);
        v[i] = before;
        if (sw_tensor_upload_f64(value, v, &err) != SW_OK) return NAN;
    }
    return (side[1] - side[0]) / (2 * step);
}

static void gradients(bool whole_width, sw_attn_plus plus, const sw_nn_mode *mode)
{
    SW_CLEANUP(net_free) net m = {0};
    double x[BAGS * N * DIM], grad[256];
    sw_aggregator_out out;
    sw_tape *tape = NULL;
    int gated = 0;
    features(x);
    CHECK_OK(net_new(&m, whole_width, plus));
    CHECK_OK(run(&m, x, mode, &tape, &out, true));
    sw_tape_free(tape);
    for (int e = 0; e < sw_slab_entries(m.slab); e++) {
        int64_t n = sw_shape_count(sw_slab_shape(m.slab, e));
        double most = 0;
        CHECK_OK(sw_tensor_download_f64(sw_slab_grad(m.slab, e), grad, &err));
        for (int64_t i = 0; i < n; i++) {
            double expected = difference(&m, e, i, x, mode);
            most = fmax(most, fabs(expected));
            if (!(fabs(grad[i] - expected) <= 1e-7 + 1e-6 * fabs(expected)))
                sw_test_fail(__FILE__, __LINE__, "%s[%lld]: %.12g, by differences %.12g", sw_slab_name(m.slab, e), (long long)i, grad[i], expected);
        }
        gated += strstr(sw_slab_name(m.slab, e), "attention_b.0") && most > 1e-4; /* weight and bias */
    }
    CHECK_INT(gated, 2);
}

TEST(gradients_are_those_of_differences)
{
    sw_nn_mode eval = sw_nn_mode_eval(), train = sw_nn_mode_train(3, 7); /* the same masks at every pass */
    gradients(false, SW_PLUS_OFF, &eval);
    gradients(true, SW_PLUS_OFF, &eval);
    gradients(false, SW_PLUS_LEARNABLE, &train);
    gradients(true, SW_PLUS_LEARNABLE, &train);
}

/* Both layers have a dropout of their own in training, whatever that of the features is. */
TEST(the_gate_has_its_dropout)
{
    SW_CLEANUP(net_free) net m = {0};
    double x[BAGS * N * DIM];
    sw_nn_mode eval = sw_nn_mode_eval(), first = sw_nn_mode_train(3, 7), second = sw_nn_mode_train(3, 8);
    features(x);
    CHECK_OK(net_new(&m, false, SW_PLUS_OFF));
    CHECK(loss_of(&m, x, &first) == loss_of(&m, x, &first));
    CHECK(fabs(loss_of(&m, x, &first) - loss_of(&m, x, &second)) > 1e-6);
    CHECK(fabs(loss_of(&m, x, &first) - loss_of(&m, x, &eval)) > 1e-6);
}
