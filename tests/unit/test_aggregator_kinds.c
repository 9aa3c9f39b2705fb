/* SPDX-License-Identifier: Apache-2.0 */
/* What holds for every aggregator of the table: bags of any size, bags that do not see each other, the same numbers with and without
 * a gradient, attention that adds up, parameters that all learn, and sentences for what cannot be. */
#include <stdlib.h>

#include "aggregator/aggregator.h"
#include "base/mem.h"
#include "base/rng.h"
#include "test.h"

enum { DIM = 10, CLASSES = 3 };
static sw_error err;

typedef struct rig {
    sw_backend *be;
    sw_slab *slab;
    sw_aggregator *agg;
} rig;

static sw_aggregator_options small(void)
{
    sw_aggregator_options o = sw_aggregator_options_default();
    o.input_dim = DIM;
    o.inner_dim = 16;
    o.classes = CLASSES;
    o.heads = o.crmsa_heads = 4;
    o.regions = 3;
    o.attn_plus = SW_PLUS_LEARNABLE;
    o.organ = 6;
    o.dilations = 3;
    o.segment_first = 4;
    o.segment_last = 32;
    return o;
}

static void fill(sw_tensor *t)
{
    int64_t n = sw_tensor_count(t);
    SW_AUTOFREE double *v = sw_calloc((size_t)n, sizeof *v);
    for (int64_t i = 0; i < n; i++) v[i] = sin(0.7 * (double)i);
    CHECK_OK(sw_tensor_upload_f64(t, v, &err));
}

static void open_rig(rig *r, const char *backend, const char *kind, const sw_aggregator_options *o)
{
    *r = (rig){0};
    CHECK_OK(sw_backend_new(backend, &(sw_backend_options){.threads = 2}, &r->be, &err));
    CHECK_OK(sw_slab_new(&r->be->device, SW_F32, &r->slab, &err));
    CHECK_OK(sw_aggregator_new(kind, o, r->slab, &r->agg, &err));
    CHECK_OK(sw_slab_commit(r->slab, &err));
    CHECK_OK(sw_aggregator_init(r->agg, 7, &err));
    for (int i = 0; i < sw_slab_entries(r->slab); i++) /* what a file would give */
        if (sw_slab_entry_kind(r->slab, i) == SW_BUFFER) fill(sw_slab_value(r->slab, i));
}

static void close_rig(rig *r)
{
    sw_aggregator_free(r->agg);
    sw_slab_free(r->slab);
    sw_backend_free(r->be);
}

/* b bags of n patches; bag i is that of number first + i. The caller frees. */
static float *bags(int64_t first, int64_t b, int64_t n)
{
    float *x = sw_malloc((size_t)(b * n * DIM) * sizeof *x);
    for (int64_t i = 0; i < b; i++) {
        sw_rng rng = sw_rng_stream(3, SW_RNG_TEST, (uint32_t)(first + i), (uint32_t)n, 0);
        for (int64_t k = 0; k < n * DIM; k++) x[i * n * DIM + k] = (float)sw_rng_normal(&rng);
    }
    return x;
}

static sw_var *class_loss(const void *ctx, sw_tape *tape, sw_var *logits, sw_var *targets)
{
    (void)ctx;
    return sw_cross_entropy(tape, logits, targets);
}

/* Each row of the attention adds up to one. */
static void check_attention(const char *kind, const sw_aggregator_out *out, int64_t b, int64_t n)
{
    if (!out->attention) return;
    const sw_shape *s = sw_var_shape(out->attention);
    CHECK_INT(s->rank, 3);
    CHECK_INT(s->dim[0], b);
    CHECK_INT(s->dim[2], n);
    int64_t rows = s->dim[0] * s->dim[1];
    SW_AUTOFREE double *a = sw_calloc((size_t)(rows * n), sizeof *a);
    CHECK_OK(sw_tensor_download_f64(sw_var_value(out->attention), a, &err));
    for (int64_t r = 0; r < rows; r++) {
        double sum = 0.0;
        for (int64_t i = 0; i < n; i++) sum += a[r * n + i];
        if (!(fabs(sum - 1.0) < 1e-4)) sw_test_fail(__FILE__, __LINE__, "%s: attention of row %d adds up to %g", kind, (int)r, sum);
    }
}

/* Logits [b, CLASSES] of a pass; a training one goes back to the parameters. */
static void run(const rig *r, int64_t first, int64_t b, int64_t n, bool record, bool training, double *logits)
{
    const char *kind = sw_aggregator_name(r->agg);
    sw_tape *tape = NULL;
    sw_tensor x = {0}, y = {0};
    int32_t label[8];
    sw_nn_mode mode = training ? sw_nn_mode_train(5, 1) : sw_nn_mode_eval();
    SW_AUTOFREE float *host = bags(first, b, n);
    for (int64_t i = 0; i < b; i++) label[i] = (int32_t)((first + i) % CLASSES);
    CHECK_OK(sw_tape_new(r->be, record, &tape, &err));
    CHECK_OK(sw_tensor_from(&r->be->device, SW_F32, SW_SHAPE(b, n, DIM), host, &x, &err));
    CHECK_OK(sw_tensor_from(&r->be->device, SW_I32, SW_SHAPE(b), label, &y, &err));
    sw_var *in = sw_tape_input(tape, &x);
    sw_aggregator_out out = sw_aggregator_forward(r->agg, tape, in, &mode);
    if (sw_tape_status(tape, &err) != SW_OK) sw_test_fail(__FILE__, __LINE__, "%s of %d: %s", kind, (int)n, err.message);
    CHECK_OK(sw_tensor_download_f64(sw_var_value(out.logits), logits, &err));
    check_attention(kind, &out, b, n);
    if (record) {
        const sw_mil_target target = {.loss = class_loss, .targets = sw_tape_constant(tape, &y), .label = label};
        CHECK_OK(sw_tape_backward(tape, sw_aggregator_loss(r->agg, tape, &out, &target), NULL, &err));
        SW_AUTOFREE double *grad = sw_calloc((size_t)(b * n * DIM), sizeof *grad);
        double sum = 0.0;
        CHECK_OK(sw_tensor_download_f64(sw_var_grad(in), grad, &err));
        for (int64_t i = 0; i < b * n * DIM; i++) sum += fabs(grad[i]);
        if (!(sum > 0.0 && sum < 1e6)) sw_test_fail(__FILE__, __LINE__, "%s of %d: the features' gradient adds up to %g", kind, (int)n, sum);
    }
    sw_tape_free(tape);
    sw_tensor_release(&x);
    sw_tensor_release(&y);
}

/* WiKG's reference makes gates that it never uses, CHIEF's two heads. */
static bool is_unused(const char *kind, const char *name)
{
    if (strcmp(kind, "chief") == 0) return strncmp(name, "mil.instance_classifiers.", 25) == 0 || strncmp(name, "mil.att_head.", 13) == 0;
    return strcmp(kind, "wikg") == 0 && strncmp(name, "mil.gate_", 9) == 0;
}

/* Is there a gradient at all in every parameter, after what has run? */
static void check_all_learn(const rig *r)
{
    for (int i = 0; i < sw_slab_entries(r->slab); i++) {
        int64_t n = sw_shape_count(sw_slab_shape(r->slab, i));
        if (sw_slab_entry_kind(r->slab, i) == SW_BUFFER) continue;
        SW_AUTOFREE double *g = sw_calloc((size_t)n, sizeof *g);
        double sum = 0.0;
        CHECK_OK(sw_tensor_download_f64(sw_slab_grad(r->slab, i), g, &err));
        for (int64_t k = 0; k < n; k++) sum += fabs(g[k]);
        if (is_unused(sw_aggregator_name(r->agg), sw_slab_name(r->slab, i))) CHECK_NEAR(sum, 0.0, 0.0, 0.0);
        else if (!(sum > 0.0)) sw_test_fail(__FILE__, __LINE__, "%s: no gradient ever reaches %s", sw_aggregator_name(r->agg), sw_slab_name(r->slab, i));
    }
}

TEST(bags_of_any_size_train_and_every_parameter_learns)
{
    static const int64_t sizes[] = {1, 2, 3, 5, 17, 70};
    double logits[8 * CLASSES];
    for (size_t k = 0; k < sw_aggregator_kinds(); k++) {
        const sw_aggregator_options o = small();
        rig r;
        open_rig(&r, "cpu", sw_aggregator_kind(k)->name, &o);
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
            for (int64_t b = 1; b <= 3; b += 2) run(&r, 0, b, sizes[i], true, true, logits);
        check_all_learn(&r);
        close_rig(&r);
    }
}

TEST(values_are_the_same_without_a_gradient)
{
    double with[2 * CLASSES], without[2 * CLASSES];
    for (size_t k = 0; k < sw_aggregator_kinds(); k++) {
        const sw_aggregator_options o = small();
        rig r;
        open_rig(&r, "cpu", sw_aggregator_kind(k)->name, &o);
        run(&r, 0, 2, 21, true, false, with);
        run(&r, 0, 2, 21, false, false, without);
        for (int i = 0; i < 2 * CLASSES; i++) CHECK_NEAR(without[i], with[i], 0.0, 0.0);
        close_rig(&r);
    }
}

TEST(bags_of_a_step_do_not_see_each_other)
{
    double both[3 * CLASSES], alone[CLASSES];
    for (size_t k = 0; k < sw_aggregator_kinds(); k++) {
        const sw_aggregator_options o = small();
        /* TransMIL's start of the pseudo-inverse is bound by the largest sum of all bags: its iterations end near, not at, the same */
        double tol = strcmp(sw_aggregator_kind(k)->name, "transmil") == 0 ? 5e-2 : 1e-5;
        rig r;
        open_rig(&r, "ref", sw_aggregator_kind(k)->name, &o);
        run(&r, 0, 3, 19, false, false, both);
        for (int64_t i = 0; i < 3; i++) {
            run(&r, i, 1, 19, false, false, alone);
            for (int c = 0; c < CLASSES; c++)
                if (!(fabs(alone[c] - both[i * CLASSES + c]) <= tol))
                    sw_test_fail(__FILE__, __LINE__, "%s: logit %d of bag %d is %g alone and %g beside others", sw_aggregator_kind(k)->name, c,
                                 (int)i, alone[c], both[i * CLASSES + c]);
        }
        close_rig(&r);
    }
}

TEST(across_bags_only_where_asked_for)
{
    sw_aggregator_options o = small();
    double own[CLASSES], beside[2 * CLASSES];
    rig r;
    o.cross_bag = true;
    open_rig(&r, "ref", "rrtmil", &o);
    run(&r, 0, 1, 90, false, false, own);
    run(&r, 0, 2, 90, false, false, beside);
    double moved = 0.0;
    for (int c = 0; c < CLASSES; c++) moved = fmax(moved, fabs(own[c] - beside[c]));
    CHECK(moved > 1e-6);
    close_rig(&r);
}

/* Logits of the first bag of 23 patches in this mode. */
static void logits_in(const rig *r, const sw_nn_mode *mode, double *logits)
{
    sw_tape *tape = NULL;
    sw_tensor x = {0};
    SW_AUTOFREE float *host = bags(0, 1, 23);
    CHECK_OK(sw_tape_new(r->be, false, &tape, &err));
    CHECK_OK(sw_tensor_from(&r->be->device, SW_F32, SW_SHAPE(1, 23, DIM), host, &x, &err));
    sw_aggregator_out out = sw_aggregator_forward(r->agg, tape, sw_tape_constant(tape, &x), mode);
    CHECK_OK(sw_tape_status(tape, &err));
    CHECK_OK(sw_tensor_download_f64(sw_var_value(out.logits), logits, &err));
    check_attention(sw_aggregator_name(r->agg), &out, 1, 23);
    sw_tape_free(tape);
    sw_tensor_release(&x);
}

static double apart(const double *a, const double *b)
{
    double most = 0.0;
    for (int c = 0; c < CLASSES; c++) most = fmax(most, fabs(a[c] - b[c]));
    return most;
}

TEST(pseudo_bags_are_dealt_anew_each_step_and_once_for_all_in_evaluation)
{
    static const sw_mil_distill ways[] = {SW_DISTILL_AFS, SW_DISTILL_MAXS, SW_DISTILL_MAXMINS, SW_DISTILL_MAS};
    const sw_nn_mode modes[] = {sw_nn_mode_train(5, 1), sw_nn_mode_train(5, 1), sw_nn_mode_train(5, 2), sw_nn_mode_train(6, 1),
                                sw_nn_mode_eval(),      sw_nn_mode_eval()};
    for (size_t w = 0; w < sizeof ways / sizeof ways[0]; w++) {
        double logits[6][CLASSES];
        sw_aggregator_options o = small();
        rig r;
        o.dropout = 0.0; /* nothing else is by chance */
        o.distill = ways[w];
        open_rig(&r, "cpu", "dtfd", &o);
        for (int i = 0; i < 6; i++) logits_in(&r, &modes[i], logits[i]);
        CHECK_NEAR(apart(logits[0], logits[1]), 0.0, 0.0, 0.0);
        CHECK(apart(logits[0], logits[2]) > 1e-7);
        CHECK(apart(logits[0], logits[3]) > 1e-7);
        CHECK_NEAR(apart(logits[4], logits[5]), 0.0, 0.0, 0.0);
        close_rig(&r);
        o.shuffle = false;
        open_rig(&r, "cpu", "dtfd", &o);
        for (int i = 0; i < 6; i++) logits_in(&r, &modes[i], logits[i]);
        for (int i = 1; i < 6; i++) CHECK_NEAR(apart(logits[0], logits[i]), 0.0, 0.0, 0.0);
        close_rig(&r);
    }
}

/* The sentence with which options are refused. */
static const char *refusal(const char *kind, const sw_aggregator_options *o)
{
    sw_backend *be = NULL;
    sw_slab *slab = NULL;
    sw_aggregator *agg = NULL;
    if (sw_backend_new("ref", NULL, &be, &err) == SW_OK && sw_slab_new(&be->device, SW_F32, &slab, &err) == SW_OK &&
        sw_aggregator_new(kind, o, slab, &agg, &err) == SW_OK)
        snprintf(err.message, sizeof err.message, "nothing was refused");
    sw_aggregator_free(agg);
    sw_slab_free(slab);
    sw_backend_free(be);
    return err.message;
}

TEST(impossible_options_have_their_sentences)
{
    static const char *const with_heads[] = {"abmilx", "transmil", "rrtmil", "vitmil", "qamil", "gigap"};
    for (size_t i = 0; i < sizeof with_heads / sizeof with_heads[0]; i++) {
        sw_aggregator_options o = small();
        o.heads = 3;
        CHECK_STR(refusal(with_heads[i], &o), "aggregator.heads: 3 does not divide aggregator.inner_dim 16");
    }
    sw_aggregator_options o = small();
    o.crmsa_heads = 5;
    CHECK_STR(refusal("rrtmil", &o), "aggregator.crmsa_heads: 5 does not divide aggregator.inner_dim 16");
    o = small();
    o.epeg = 4;
    CHECK_STR(refusal("rrtmil", &o), "aggregator.epeg: 4 must be odd, or 0 for none");
    o = small();
    o.layers = 0;
    CHECK_STR(refusal("vitmil", &o), "aggregator.layers: 0 is not between 1 and 64");
    CHECK_STR(refusal("rrtmil", &o), "aggregator.layers: 0 is not between 1 and 64");
    o = small();
    o.dilations = 5;
    CHECK_STR(refusal("gigap", &o), "aggregator.heads: 4 must be a multiple of 16, which the last of aggregator.dilations 5 is");
    o = small();
    o.dilations = 0;
    CHECK_STR(refusal("gigap", &o), "aggregator.dilations: 0 is not between 1 and 16");
    o = small();
    o.segment_last = 3;
    CHECK_STR(refusal("gigap", &o), "aggregator.segment_first: 4 must be at least 1 and at most aggregator.segment_last 3");
    o = small();
    o.layers = 65;
    CHECK_STR(refusal("gigap", &o), "aggregator.layers: 65 is not between 1 and 64");
    o = small();
    o.pool = SW_POOL_MAX;
    CHECK_STR(refusal("gigap", &o), "aggregator.pool: gigap has attn (its class token) and mean, not max");
    o = small();
    o.pos = SW_POS_PPEG;
    CHECK_STR(refusal("gigap", &o), "aggregator.pos: gigap has no ppeg; set none or sincos");
    o.pos = SW_POS_SINCOS;
    CHECK_STR(refusal("gigap", &o), "nothing was refused");
    CHECK_STR(refusal("transmil", &o), "aggregator.pos: sincos is of gigap; transmil has none, or ppeg");
    o.inner_dim = 18;
    CHECK_STR(refusal("gigap", &o), "aggregator.inner_dim: 18 must be a multiple of 4 for aggregator.pos sincos");
    o = small();
    o.organ = 19;
    CHECK_STR(refusal("chief", &o), "aggregator.organ: 19 is not between 0 and 18, or -1 for none");
    o = small();
    o.groups = 0;
    CHECK_STR(refusal("dtfd", &o), "aggregator.groups: 0 must be at least 1");
    o = small();
    o.blocks = 0;
    CHECK_STR(refusal("mamba2d", &o), "aggregator.blocks: 0 is not between 1 and 64");
    o = small();
    o.state = 0;
    CHECK_STR(refusal("mamba2d", &o), "aggregator.state: 0 is not between 1 and 1024");
    o = small();
    o.canvas_rows = 3;
    CHECK_STR(refusal("mamba2d", &o), "aggregator.canvas_rows: 3 and aggregator.canvas_columns: 0 must both be 0 or both be more");
    o = small();
    o.topk = 0;
    CHECK_STR(refusal("wikg", &o), "aggregator.topk: 0 must be at least 1");
    o = small();
    o.inner_dim = o.heads = 1;
    CHECK_STR(refusal("wikg", &o), "aggregator.inner_dim: the gates of wikg are half as wide, so it needs at least 2");
    CHECK_STR(refusal("transmil", &o), "aggregator.inner_dim: transmil has half as many landmarks, and needs at least 2");
}

/* Whether four patches can be laid out so; if they can, what is made of them. */
static void lay_out(const sw_aggregator_options *o, const float *xy, sw_status wanted, double *logits)
{
    rig r;
    sw_tape *tape = NULL;
    sw_tensor x = {0};
    sw_nn_mode mode = sw_nn_mode_eval();
    SW_AUTOFREE float *host = bags(0, 1, 4);
    mode.xy = xy;
    open_rig(&r, "ref", "mamba2d", o);
    CHECK_OK(sw_tape_new(r.be, false, &tape, &err));
    CHECK_OK(sw_tensor_from(&r.be->device, SW_F32, SW_SHAPE(1, 4, DIM), host, &x, &err));
    sw_aggregator_out out = sw_aggregator_forward(r.agg, tape, sw_tape_constant(tape, &x), &mode);
    CHECK_INT(sw_tape_status(tape, &err), wanted);
    if (wanted == SW_OK) CHECK_OK(sw_tensor_download_f64(sw_var_value(out.logits), logits, &err));
    sw_tape_free(tape);
    sw_tensor_release(&x);
    close_rig(&r);
}

TEST(places_on_a_canvas)
{
    static const float square[8] = {0, 0, 1, 0, 0, 1, 1, 1}, moved[8] = {7, 3, 8, 3, 7, 4, 8, 4}, far[8] = {0, 0, 1, 0, 0, 1, 3, 1};
    static const float left[8] = {-1, 0, 0, 0, 1, 1, 0, 1}, apart[8] = {0, 0, 1e5f, 0, 0, 1e5f, 0, 0};
    static const float unknown[8] = {0, 0, 1, 0, 0, NAN, 1, 1};
    double by_none[CLASSES], by_square[CLASSES], by_moved[CLASSES], by_unknown[CLASSES], by_far[CLASSES];
    sw_aggregator_options o = small();
    lay_out(&o, NULL, SW_OK, by_none);
    lay_out(&o, square, SW_OK, by_square);
    lay_out(&o, moved, SW_OK, by_moved);
    lay_out(&o, unknown, SW_OK, by_unknown);
    lay_out(&o, far, SW_OK, by_far);
    double change = 0.0;
    for (int i = 0; i < CLASSES; i++) {
        CHECK_NEAR(by_square[i], by_none[i], 0.0, 0.0);
        CHECK_NEAR(by_moved[i], by_none[i], 0.0, 0.0);
        CHECK_NEAR(by_unknown[i], by_none[i], 0.0, 0.0);
        change = fmax(change, fabs(by_far[i] - by_none[i]));
    }
    CHECK(change > 1e-4);
    lay_out(&o, apart, SW_E_INVALID, NULL);
    CHECK_STR(err.message, "a bag's patches lie 100001 rows and 100001 columns of cells apart, which is too far for mamba2d");
    o.canvas_rows = 2;
    o.canvas_columns = 3;
    lay_out(&o, square, SW_OK, by_far);
    lay_out(&o, far, SW_E_INVALID, NULL);
    CHECK_STR(err.message, "a bag's patches reach over 2 rows and 4 columns of cells; aggregator.canvas_rows and aggregator.canvas_columns, "
                           "2 and 3, must hold them, or be 0 for canvases as large as each bag");
    lay_out(&o, left, SW_E_INVALID, NULL);
}

TEST(a_bag_without_patches_is_a_sentence)
{
    const sw_aggregator_options o = small();
    for (size_t k = 0; k < sw_aggregator_kinds(); k++) {
        rig r;
        sw_tape *tape = NULL;
        sw_tensor x = {0};
        sw_nn_mode mode = sw_nn_mode_eval();
        open_rig(&r, "ref", sw_aggregator_kind(k)->name, &o);
        CHECK_OK(sw_tape_new(r.be, false, &tape, &err));
        CHECK_OK(sw_tensor_new(&r.be->device, SW_F32, SW_SHAPE(2, 0, DIM), &x, &err));
        sw_aggregator_forward(r.agg, tape, sw_tape_constant(tape, &x), &mode);
        CHECK_INT(sw_tape_status(tape, &err), SW_E_INVALID);
        CHECK_STR(err.message, "aggregator: features [2, 0, 10] must be [bags, patches, width], of at least one each");
        /* and on a tape that has failed every aggregator comes to its end */
        sw_aggregator_forward(r.agg, tape, sw_tape_constant(tape, &x), &mode);
        sw_tape_free(tape);
        sw_tensor_release(&x);
        close_rig(&r);
    }
}
