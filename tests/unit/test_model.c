/* SPDX-License-Identifier: Apache-2.0 */
/* What a model promises whatever its weights: a frozen encoder, the moving average's twin, and those options of ABMILX that
 * the reference's golden numbers do not reach. */
#include "test.h"

#include "base/mem.h"
#include "model/model.h"

enum { N = 4, SIZE = 32, BAGS = 2, DIM = 6, PATCHES = 5 };

static sw_error err;

/* --- models */

typedef struct bench {
    sw_backend *be;
    sw_model *model;
} bench;

static void bench_free(bench *b)
{
    sw_model_free(b->model);
    sw_backend_free(b->be);
}

static bool bench_new(bench *b, bool frozen, uint64_t seed)
{
    sw_model_options o = sw_model_options_default();
    o.frozen = frozen;
    o.seed = seed;
    o.mil.inner_dim = 16;
    o.mil.heads = 2;
    o.mil.dropout = 0.0;
    return (sw_backend_new("ref", &(sw_backend_options){.threads = 1}, &b->be, &err) == SW_OK &&
            sw_model_new(b->be, SW_F64, &o, &b->model, &err) == SW_OK) ||
           sw_test_fail(__FILE__, __LINE__, "%s", err.message);
}

/* All values of a flat tensor; owned by the caller. */
static double *values(const sw_tensor *t)
{
    double *v = sw_calloc((size_t)sw_tensor_count(t), sizeof *v);
    if (!v || sw_tensor_download_f64(t, v, &err) != SW_OK) sw_test_fail(__FILE__, __LINE__, "%s", err.message);
    return v;
}

static double difference(const double *a, const double *b, int64_t n)
{
    double worst = 0.0;
    for (int64_t i = 0; i < n; i++) worst = fmax(worst, fabs(a[i] - b[i]));
    return worst;
}

static double largest_grad(const bench *b, const char *group)
{
    double worst = 0.0;
    sw_slab *slab = sw_model_slab(b->model);
    for (int e = 0; e < sw_slab_entries(slab); e++) {
        if (sw_slab_entry_kind(slab, e) != SW_PARAM || strcmp(sw_slab_group(slab, e), group) != 0) continue;
        SW_AUTOFREE double *g = values(sw_slab_grad(slab, e));
        for (int64_t i = 0; i < sw_shape_count(sw_slab_shape(slab, e)); i++) worst = fmax(worst, fabs(g[i]));
    }
    return worst;
}

/* Features of four patches as one bag, its loss, and the way back; `features` [N, dim] is filled. */
static bool step(const bench *b, const sw_nn_mode *mode, double *features)
{
    sw_tape *tape = NULL;
    sw_tensor x = {0}, y = {0};
    SW_AUTOFREE double *pixels = sw_calloc(N * 3 * SIZE * SIZE, sizeof *pixels);
    for (int64_t i = 0; i < N * 3 * SIZE * SIZE; i++) pixels[i] = sin(0.37 * (double)i) + 0.2;
    bool ok = sw_tensor_new(&b->be->device, SW_F64, SW_SHAPE(N, 3, SIZE, SIZE), &x, &err) == SW_OK &&
              sw_tensor_upload_f64(&x, pixels, &err) == SW_OK &&
              sw_tensor_from(&b->be->device, SW_I32, SW_SHAPE(1), &(int32_t){1}, &y, &err) == SW_OK &&
              sw_tape_new(b->be, true, &tape, &err) == SW_OK && sw_model_zero_grad(b->model, &err) == SW_OK;
    if (ok) {
        sw_var *f = sw_model_encode(b->model, tape, sw_tape_constant(tape, &x), mode);
        sw_var *bag = sw_reshape(tape, f, SW_SHAPE(1, N, sw_model_dim(b->model)));
        sw_var *logits = sw_model_aggregate(b->model, tape, bag, mode).logits;
        sw_var *loss = sw_cross_entropy(tape, logits, sw_tape_constant(tape, &y));
        ok = sw_tape_status(tape, &err) == SW_OK && sw_tensor_download_f64(sw_var_value(f), features, &err) == SW_OK &&
             sw_tape_backward(tape, loss, NULL, &err) == SW_OK;
    }
    sw_tape_free(tape);
    sw_tensor_release(&x);
    sw_tensor_release(&y);
    return ok || sw_test_fail(__FILE__, __LINE__, "%s", err.message);
}

TEST(a_frozen_encoder_gets_no_gradient_and_keeps_its_statistics)
{
    static double evaluated[N * 256], frozen[N * 256], trained[N * 256];
    SW_CLEANUP(bench_free) bench a = {0}, b = {0};
    sw_nn_mode train = sw_nn_mode_train(1, 1), eval = sw_nn_mode_eval();
    CHECK(bench_new(&a, true, 3) && bench_new(&b, false, 3));
    int64_t n = sw_tensor_count(sw_slab_buffers(sw_model_slab(a.model)));
    SW_AUTOFREE double *before = values(sw_slab_buffers(sw_model_slab(a.model)));
    CHECK(step(&b, &eval, evaluated) && step(&a, &train, frozen));
    CHECK_NEAR(difference(frozen, evaluated, N * 256), 0, 0, 0); /* running statistics though the step trains */
    CHECK_NEAR(largest_grad(&a, "encoder"), 0, 0, 0);
    CHECK(largest_grad(&a, "mil") > 1e-3);
    SW_AUTOFREE double *after = values(sw_slab_buffers(sw_model_slab(a.model)));
    CHECK_NEAR(difference(before, after, n), 0, 0, 0);
    /* and the same step moves an encoder that is not frozen */
    CHECK(step(&b, &train, trained));
    SW_AUTOFREE double *moved = values(sw_slab_buffers(sw_model_slab(b.model)));
    CHECK(difference(trained, evaluated, N * 256) > 1e-3);
    CHECK(largest_grad(&b, "encoder") > 1e-3);
    CHECK(difference(before, moved, n) > 1e-3);
}

/* Frozen up to layer2: the rest learns as it would anyway, whatever batch norm goes by. */
TEST(an_encoder_may_be_frozen_in_part)
{
    static double whole[N * 256], part[N * 256];
    for (int stats = 0; stats < 2; stats++) {
        SW_CLEANUP(bench_free) bench a = {0}, b = {0};
        sw_nn_mode train = sw_nn_mode_train(1, 1);
        sw_model_options o = sw_model_options_default();
        int still = 0, learning = 0;
        train.frozen_stats = stats == 1;
        CHECK(bench_new(&a, false, 3) && bench_new(&b, false, 3));
        o.mil = sw_model_get_options(b.model)->mil;
        o.seed = 3;
        o.frozen_until = "layer2";
        sw_model_free(b.model);
        b.model = NULL;
        CHECK_OK(sw_model_new(b.be, SW_F64, &o, &b.model, &err));
        CHECK(step(&a, &train, whole) && step(&b, &train, part));
        CHECK_NEAR(difference(whole, part, N * 256), 0, 0, 1e-9);
        sw_slab *s = sw_model_slab(a.model), *t = sw_model_slab(b.model);
        for (int e = 0; e < sw_slab_entries(s); e++) {
            const char *name = sw_slab_name(s, e);
            int64_t n = sw_shape_count(sw_slab_shape(s, e));
            bool first = strstr(name, "encoder.model.conv1.") || strstr(name, "encoder.model.bn1.") || strstr(name, ".layer1.") ||
                         strstr(name, ".layer2.");
            CHECK(sw_model_entry_frozen(b.model, e) == first && !sw_model_entry_frozen(a.model, e));
            if (sw_slab_entry_kind(s, e) != SW_PARAM) continue;
            SW_AUTOFREE double *g = values(sw_slab_grad(s, e)), *h = values(sw_slab_grad(t, e));
            for (int64_t i = 0; i < n; i++) CHECK_NEAR(h[i], first ? 0 : g[i], 1e-7, 1e-10);
            *(first ? &still : &learning) += 1;
        }
        CHECK(still == 2 * 1 + 1 + 4 * 3 + 5 * 3 && learning > 15); /* convolutions and their norms' gains and offsets */
    }
    sw_model_options o = sw_model_options_default();
    SW_CLEANUP(bench_free) bench c = {0};
    CHECK(bench_new(&c, false, 1));
    o.frozen_until = "layer4";
    sw_model *none = NULL;
    CHECK_INT(sw_model_new(c.be, SW_F64, &o, &none, &err), SW_E_INVALID);
    CHECK_STR(err.message, "encoder.frozen_until: encoder resnet18 has no part 'layer4'; there are conv1, layer1, layer2, layer3");
}

TEST(a_replayed_chunk_leaves_the_statistics)
{
    static double features[N * 256];
    SW_CLEANUP(bench_free) bench a = {0};
    sw_nn_mode replay = sw_nn_mode_train(1, 1);
    replay.update_running = false;
    CHECK(bench_new(&a, false, 3));
    SW_AUTOFREE double *before = values(sw_slab_buffers(sw_model_slab(a.model)));
    CHECK(step(&a, &replay, features));
    SW_AUTOFREE double *after = values(sw_slab_buffers(sw_model_slab(a.model)));
    CHECK(largest_grad(&a, "encoder") > 1e-3);
    CHECK_NEAR(difference(before, after, sw_tensor_count(sw_slab_buffers(sw_model_slab(a.model)))), 0, 0, 0);
}

TEST(a_twin_starts_alike_and_follows_by_a_share)
{
    static double features[N * 256];
    SW_CLEANUP(bench_free) bench a = {0}, other = {0};
    sw_nn_mode train = sw_nn_mode_train(1, 1);
    sw_model *twin = NULL;
    CHECK(bench_new(&a, false, 3) && bench_new(&other, false, 4));
    CHECK(step(&a, &train, features)); /* statistics are no longer 0 and 1 */
    sw_slab *s = sw_model_slab(a.model);
    int64_t n = sw_tensor_count(sw_slab_params(s)), m = sw_tensor_count(sw_slab_buffers(s));
    SW_AUTOFREE double *p = values(sw_slab_params(s)), *q = values(sw_slab_buffers(s));
    SW_AUTOFREE double *p2 = values(sw_slab_params(sw_model_slab(other.model)));
    CHECK_OK(sw_model_twin(a.model, &twin, &err));
    SW_AUTOFREE double *tp = values(sw_slab_params(sw_model_slab(twin))), *tq = values(sw_slab_buffers(sw_model_slab(twin)));
    bool alike = difference(p, tp, n) == 0.0 && difference(q, tq, m) == 0.0;
    /* the model moves on, the twin does not until it is told */
    for (int64_t i = 0; i < m; i++) q[i] += 1.0;
    bool ok = sw_tensor_upload_f64(sw_slab_params(s), p2, &err) == SW_OK &&
              sw_tensor_upload_f64(sw_slab_buffers(s), q, &err) == SW_OK;
    SW_AUTOFREE double *still = values(sw_slab_params(sw_model_slab(twin)));
    bool stays = difference(still, p, n) == 0.0;
    ok = ok && sw_model_lerp(twin, a.model, 0.25, &err) == SW_OK;
    SW_AUTOFREE double *up = values(sw_slab_params(sw_model_slab(twin))), *uq = values(sw_slab_buffers(sw_model_slab(twin)));
    sw_model_free(twin);
    CHECK(alike);
    CHECK(ok);
    CHECK(stays);
    CHECK(difference(p, p2, n) > 0.01);
    for (int64_t i = 0; i < n; i++) p2[i] = p[i] + 0.25 * (p2[i] - p[i]);
    for (int64_t i = 0; i < m; i++) tq[i] += 0.25;
    CHECK(difference(up, p2, n) < 1e-15);
    CHECK(difference(uq, tq, m) < 1e-15);
}

/* --- options of ABMILX */

typedef struct mil {
    sw_backend *be;
    sw_slab *slab;
    sw_aggregator *agg;
} mil;

static void mil_free(mil *m)
{
    sw_aggregator_free(m->agg);
    sw_slab_free(m->slab);
    sw_backend_free(m->be);
}

static sw_aggregator_options small(sw_attn_plus plus, double alpha)
{
    sw_aggregator_options o = sw_aggregator_options_default();
    o.input_dim = DIM;
    o.inner_dim = 48;
    o.heads = 2;
    o.attn_plus = plus;
    o.alpha = alpha;
    return o;
}

static sw_status mil_new(mil *m, const sw_aggregator_options *o)
{
    SW_TRY(sw_backend_new("ref", &(sw_backend_options){.threads = 1}, &m->be, &err));
    SW_TRY(sw_slab_new(&m->be->device, SW_F64, &m->slab, &err));
    return sw_aggregator_new("abmilx", o, m->slab, &m->agg, &err);
}

/* A value of each entry that depends on its name only, so that models with other entries besides agree on the common ones. */
static bool fill_by_name(const mil *m, double alpha)
{
    for (int e = 0; e < sw_slab_entries(m->slab); e++) {
        const char *name = sw_slab_name(m->slab, e);
        int64_t n = sw_shape_count(sw_slab_shape(m->slab, e));
        double phase = 0.0;
        SW_AUTOFREE double *v = sw_calloc((size_t)n, sizeof *v);
        for (const char *c = name; *c; c++) phase = fmod(phase * 1.7 + (double)*c, 100.0);
        for (int64_t i = 0; i < n; i++) v[i] = strstr(name, ".v.weight") ? alpha : 0.4 * sin(0.7 * (double)i + phase);
        if (sw_tensor_upload_f64(sw_slab_value(m->slab, e), v, &err) != SW_OK) return false;
    }
    return true;
}

/* Logits and attention of two bags, in `out` [BAGS * 2 + BAGS * 2 * PATCHES]. */
static bool run(const sw_aggregator_options *o, double alpha, double *out)
{
    SW_CLEANUP(mil_free) mil m = {0};
    sw_tape *tape = NULL;
    sw_tensor x = {0};
    sw_nn_mode eval = sw_nn_mode_eval();
    double pixels[BAGS * PATCHES * DIM];
    for (int i = 0; i < BAGS * PATCHES * DIM; i++) pixels[i] = 2.0 * cos(0.9 * (double)i);
    bool ok = mil_new(&m, o) == SW_OK && sw_slab_commit(m.slab, &err) == SW_OK && fill_by_name(&m, alpha) &&
              sw_tensor_new(&m.be->device, SW_F64, SW_SHAPE(BAGS, PATCHES, DIM), &x, &err) == SW_OK &&
              sw_tensor_upload_f64(&x, pixels, &err) == SW_OK && sw_tape_new(m.be, false, &tape, &err) == SW_OK;
    if (ok) {
        sw_aggregator_out y = sw_aggregator_forward(m.agg, tape, sw_tape_constant(tape, &x), &eval);
        ok = sw_tape_status(tape, &err) == SW_OK && sw_tensor_download_f64(sw_var_value(y.logits), out, &err) == SW_OK &&
             sw_tensor_download_f64(sw_var_value(y.attention), out + BAGS * 2, &err) == SW_OK;
    }
    sw_tape_free(tape);
    sw_tensor_release(&x);
    return ok || sw_test_fail(__FILE__, __LINE__, "%s", err.message);
}

TEST(a_fixed_alpha_is_the_learnable_one_held)
{
    enum { ALL = BAGS * 2 + BAGS * 2 * PATCHES };
    double fixed[ALL], learnt[ALL], off[ALL], none[ALL];
    sw_aggregator_options a = small(SW_PLUS_FIXED, 2.5), b = small(SW_PLUS_LEARNABLE, 1.0);
    sw_aggregator_options c = small(SW_PLUS_OFF, 1.0), d = small(SW_PLUS_FIXED, 0.0);
    CHECK(run(&a, NAN, fixed) && run(&b, 2.5, learnt) && run(&c, NAN, off) && run(&d, NAN, none));
    CHECK(difference(fixed, learnt, ALL) < 1e-15);
    CHECK(difference(off, none, ALL) < 1e-15);
    CHECK(difference(fixed, off, ALL) > 1e-5); /* A+ does something */
}

TEST(the_activation_may_be_left_out)
{
    enum { ALL = BAGS * 2 + BAGS * 2 * PATCHES };
    double with[3][ALL];
    sw_aggregator_options o = small(SW_PLUS_OFF, 1.0);
    const sw_mil_act acts[3] = {SW_ACT_NONE, SW_ACT_RELU, SW_ACT_GELU};
    for (int i = 0; i < 3; i++) {
        o.act = acts[i];
        CHECK(run(&o, NAN, with[i]));
    }
    for (int i = 0; i < 3; i++) CHECK(difference(with[i], with[(i + 1) % 3], ALL) > 1e-3);
}

/* Shape of an entry as text, or why the options are refused. */
static const char *shape_of(const sw_aggregator_options *o, const char *name)
{
    static char text[sizeof err.message];
    SW_CLEANUP(mil_free) mil m = {0};
    if (mil_new(&m, o) != SW_OK) {
        snprintf(text, sizeof text, "%s", err.message);
        return text;
    }
    int e = sw_slab_find(m.slab, name);
    if (e < 0) return "absent";
    sw_shape_text(sw_slab_shape(m.slab, e), text, sizeof text);
    return text;
}

TEST(the_attentions_width_follows_the_reference)
{
    static const char fc1[] = "mil.attention.fc1.weight", fc2[] = "mil.attention.fc2.weight";
    sw_aggregator_options o = small(SW_PLUS_OFF, 1.0); /* 48 wide, two heads of 24 */
    CHECK_STR(shape_of(&o, fc1), "[24, 24]");
    o.attn_hidden = 2; /* a divisor */
    CHECK_STR(shape_of(&o, fc1), "[12, 24]");
    o.attn_hidden = 10;
    CHECK_STR(shape_of(&o, fc1), "[2, 24]");
    o.attn_hidden = 0.5;
    CHECK_STR(shape_of(&o, fc1), "[48, 24]");
    o.attn_hidden = 11; /* above ten: a width, shared out among the heads */
    CHECK_STR(shape_of(&o, fc1), "[5, 24]");
    CHECK_STR(shape_of(&o, fc2), "[1, 5]");
    o.embed_new = true;
    CHECK_STR(shape_of(&o, fc1), "[11, 48]");
    CHECK_STR(shape_of(&o, fc2), "[2, 11]");
    o = small(SW_PLUS_OFF, 1.0);
    o.heads = 16;
    o.attn_hidden = 11;
    CHECK_STR(shape_of(&o, fc1), "aggregator.attn_hidden: 11 leaves no width for the attention of 16 heads");
}

TEST(optional_parts_have_the_references_names)
{
    sw_aggregator_options o = small(SW_PLUS_FIXED, 1.0);
    CHECK_STR(shape_of(&o, "mil.attn_plus_fn.qk.weight"), "[48, 24]");
    CHECK_STR(shape_of(&o, "mil.attn_plus_fn.v.weight"), "absent"); /* a fixed alpha is no parameter */
    CHECK_STR(shape_of(&o, "mil.feature.0.weight"), "[48, 6]");
    CHECK_STR(shape_of(&o, "mil.norm1.weight"), "absent");
    o.norm = SW_MIL_NORM_LAYER;
    CHECK_STR(shape_of(&o, "mil.feature.0.weight"), "[6]"); /* the norm pushes the layer to 1 */
    CHECK_STR(shape_of(&o, "mil.feature.1.weight"), "[48, 6]");
    CHECK_STR(shape_of(&o, "mil.norm1.bias"), "[48]");
    o.bias = false;
    CHECK_STR(shape_of(&o, "mil.norm1.bias"), "absent");
    CHECK_STR(shape_of(&o, "mil.attn_plus_fn.norm_x.bias"), "[24]"); /* always */
    o.ffn = true;
    CHECK_STR(shape_of(&o, "mil.mlp.fc1.bias"), "[192]"); /* always */
    o.attn_gated = true;
    CHECK_STR(shape_of(&o, "mil.attention.fc1.weight"), "absent");
    CHECK_STR(shape_of(&o, "mil.attention.attention_a.0.weight"), "[24, 24]");
    CHECK_STR(shape_of(&o, "mil.attention.attention_b.0.weight"), "[24, 24]");
    CHECK_STR(shape_of(&o, "mil.attention.attention_c.weight"), "[1, 24]");
    CHECK_STR(shape_of(&o, "mil.attention.attention_c.bias"), "absent");
    o.attn_bias = true;
    CHECK_STR(shape_of(&o, "mil.attention.attention_b.0.bias"), "[24]");
}
