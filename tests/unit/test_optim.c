/* SPDX-License-Identifier: Apache-2.0 */
/* Schedules against the reference's values; Adam and AdamW against a hand-written loop in double. */
#include "base/mem.h"
#include "optim/optim.h"
#include "test.h"

TEST(cosine_schedule_has_the_reference_values)
{
    sw_schedule sub = {.kind = SW_SCHEDULE_COSINE, .lr = 8e-5, .min_lr = 1e-7, .warmup_lr = 1e-6, .epochs = 75, .warmup_epochs = 10};
    CHECK_NEAR(sw_schedule_lr(&sub, 0), 1e-6, 1e-9, 0);
    CHECK_NEAR(sw_schedule_lr(&sub, 1), 8.9e-6, 1e-9, 0);
    CHECK_NEAR(sw_schedule_lr(&sub, 9), 7.21e-5, 1e-9, 0);
    CHECK_NEAR(sw_schedule_lr(&sub, 10), 7.654614e-5, 1e-6, 0);
    CHECK_NEAR(sw_schedule_lr(&sub, 37), 4.088665e-5, 1e-6, 0);
    CHECK_NEAR(sw_schedule_lr(&sub, 74), 1.350429e-7, 1e-6, 0);
    CHECK_NEAR(sw_schedule_lr(&sub, 75), 1e-7, 1e-12, 0);
    sw_schedule panda = {.kind = SW_SCHEDULE_COSINE, .lr = 2e-4, .min_lr = 1e-7, .epochs = 200};
    CHECK_NEAR(sw_schedule_lr(&panda, 1), 1.999877e-4, 1e-6, 0);
    CHECK_NEAR(sw_schedule_lr(&panda, 100), 1.0005e-4, 1e-6, 0);
    CHECK_NEAR(sw_schedule_lr(&panda, 199), 1.123306e-7, 1e-6, 0);
}

TEST(step_and_constant_schedules)
{
    sw_schedule step = {.kind = SW_SCHEDULE_STEP, .lr = 1.0, .epochs = 10};
    CHECK_NEAR(sw_schedule_lr(&step, 4), 1.0, 1e-12, 0);
    CHECK_NEAR(sw_schedule_lr(&step, 5), 0.2, 1e-12, 0);
    sw_schedule constant = {.kind = SW_SCHEDULE_CONST, .lr = 0.5, .epochs = 10};
    CHECK_NEAR(sw_schedule_lr(&constant, 9), 0.5, 1e-12, 0);
}

enum { N = 5 };

/* PyTorch's update written out once more, on the host. */
static void expected_step(bool decoupled, double wd, double lr, int step, const double *g0, double *p, double *m,
                          double *v)
{
    for (int i = 0; i < N; i++) {
        double g = g0[i];
        if (decoupled) p[i] *= 1.0 - lr * wd;
        else g += wd * p[i];
        m[i] = 0.9 * m[i] + 0.1 * g;
        v[i] = 0.999 * v[i] + 0.001 * g * g;
        double m_hat = m[i] / (1.0 - pow(0.9, step)), v_hat = v[i] / (1.0 - pow(0.999, step));
        p[i] -= lr * m_hat / (sqrt(v_hat) + 1e-8);
    }
}

static bool skips(const void *ctx, int entry)
{
    return entry == *(const int *)ctx;
}

static void check_optimiser(bool decoupled)
{
    sw_error err;
    sw_backend *be = NULL;
    sw_slab *slab = NULL;
    sw_optim *optim = NULL;
    int a = 0, frozen = 0;
    sw_backend_options bo = {.threads = 1};
    CHECK_OK(sw_backend_new("guard", &bo, &be, &err));
    CHECK_OK(sw_slab_new(&be->device, SW_F64, &slab, &err));
    CHECK_OK(sw_slab_add(slab, SW_PARAM, "encoder", "f", SW_SHAPE(3), &frozen, &err));
    CHECK_OK(sw_slab_add(slab, SW_PARAM, "mil", "a", SW_SHAPE(N), &a, &err));
    CHECK_OK(sw_slab_commit(slab, &err));
    double p[N] = {1, -2, 0.5, 3, -0.1}, m[N] = {0}, v[N] = {0}, f[3] = {7, 8, 9}, got[N], g[N];
    CHECK_OK(sw_tensor_upload(sw_slab_value(slab, a), p, &err));
    CHECK_OK(sw_tensor_upload(sw_slab_value(slab, frozen), f, &err));
    sw_optim_options options = sw_optim_options_default();
    options.kind = decoupled ? SW_OPTIM_ADAMW : SW_OPTIM_ADAM;
    options.weight_decay = 0.1;
    options.skips = skips;
    options.skip_ctx = &frozen;
    CHECK_OK(sw_optim_new(be, slab, &options, &optim, &err));
    for (int step = 1; step <= 4; step++) {
        double norm = 0, sum = 0;
        for (int i = 0; i < N; i++) {
            g[i] = sin(step + 2.0 * i);
            sum += g[i] * g[i];
        }
        CHECK_OK(sw_tensor_upload(sw_slab_grad(slab, a), g, &err));
        CHECK_OK(sw_optim_step(optim, 0.01, 1.0, &norm, &err));
        CHECK_NEAR(norm, sqrt(sum), 1e-12, 0);
        expected_step(decoupled, 0.1, 0.01, step, g, p, m, v);
    }
    CHECK_OK(sw_tensor_download(sw_slab_value(slab, a), got, &err));
    for (int i = 0; i < N; i++) CHECK_NEAR(got[i], p[i], 1e-12, 0);
    CHECK_OK(sw_tensor_download(sw_slab_grad(slab, a), got, &err));
    for (int i = 0; i < N; i++) CHECK(got[i] == 0.0);
    CHECK_OK(sw_tensor_download(sw_slab_value(slab, frozen), got, &err));
    CHECK(got[0] == 7 && got[1] == 8 && got[2] == 9);
    sw_optim_free(optim);
    sw_slab_free(slab);
    sw_backend_free(be);
}

TEST(adamw_is_pytorchs)
{
    check_optimiser(true);
}

TEST(adam_is_pytorchs)
{
    check_optimiser(false);
}

TEST(gradient_that_is_not_finite_is_refused_and_changes_nothing)
{
    sw_error err;
    sw_backend *be = NULL;
    sw_slab *slab = NULL;
    sw_optim *optim = NULL;
    int a = 0;
    CHECK_OK(sw_backend_new("ref", &(sw_backend_options){.threads = 1}, &be, &err));
    CHECK_OK(sw_slab_new(&be->device, SW_F64, &slab, &err));
    CHECK_OK(sw_slab_add(slab, SW_PARAM, "mil", "a", SW_SHAPE(1), &a, &err));
    CHECK_OK(sw_slab_commit(slab, &err));
    sw_optim_options options = sw_optim_options_default();
    CHECK_OK(sw_optim_new(be, slab, &options, &optim, &err));
    double bad = NAN, value = 1;
    CHECK_OK(sw_tensor_upload(sw_slab_grad(slab, a), &bad, &err));
    CHECK(sw_optim_step(optim, 0.5, 1.0, NULL, &err) == SW_E_INVALID);
    CHECK_STR(err.message, "the gradient is not finite at update 1; lower train.lr (now 0.5) or set train.clip");
    CHECK_OK(sw_tensor_download(sw_slab_value(slab, a), &value, &err));
    CHECK(value == 0.0);
    sw_optim_free(optim);
    sw_slab_free(slab);
    sw_backend_free(be);
}

TEST(steps_of_any_length_and_factor)
{
    sw_schedule s = {.kind = SW_SCHEDULE_STEP, .lr = 1.0, .epochs = 30, .step_epochs = 10, .step_factor = 0.1};
    CHECK_NEAR(sw_schedule_lr(&s, 9), 1.0, 1e-12, 0);
    CHECK_NEAR(sw_schedule_lr(&s, 10), 0.1, 1e-12, 0);
    CHECK_NEAR(sw_schedule_lr(&s, 29), 0.01, 1e-12, 0);
    s = (sw_schedule){.kind = SW_SCHEDULE_STEP, .lr = 1.0, .epochs = 30, .step_factor = 0.1, .n_steps = 2, .step_at = {15, 25}};
    static const struct { int epoch; double lr; } at[] = {{0, 1}, {14, 1}, {15, 0.1}, {24, 0.1}, {25, 0.01}, {29, 0.01}};
    for (int i = 0; i < 6; i++) CHECK_NEAR(sw_schedule_lr(&s, at[i].epoch), at[i].lr, 1e-12, 0); /* PyTorch's MultiStepLR */
}

TEST(warm_up_by_updates)
{
    sw_schedule s = {.kind = SW_SCHEDULE_CONST, .lr = 1.0, .warmup_lr = 0.2, .epochs = 10, .warmup_updates = 4};
    static const double want[] = {0.2, 0.4, 0.6, 0.8, 1.0, 1.0};
    for (int u = 0; u < 6; u++) CHECK_NEAR(sw_schedule_lr_at(&s, u / 2, u), want[u], 1e-12, 0);
    s.kind = SW_SCHEDULE_STEP; /* behind the warm-up the epoch decides */
    CHECK_NEAR(sw_schedule_lr_at(&s, 5, 4), 0.2, 1e-12, 0);
    CHECK_NEAR(sw_schedule_lr_at(&s, 5, 3), 0.8, 1e-12, 0);
}

/* The formula of the reference's class: 1 - (1 + step)^(-2/3) with step = count - 1, and 0 for the first. */
TEST(a_moving_average_warms_up)
{
    CHECK(sw_ema_decay(0.9997, false, 1) == 0.9997);
    CHECK(sw_ema_decay(0.9997, true, 1) == 0.0);
    CHECK_NEAR(sw_ema_decay(0.9997, true, 2), 1 - 1 / cbrt(4.0), 1e-14, 0);
    CHECK_NEAR(sw_ema_decay(0.9997, true, 8), 0.75, 1e-14, 0);
    CHECK_NEAR(sw_ema_decay(0.9997, true, 1000), 0.99, 1e-14, 0);
    CHECK(sw_ema_decay(0.9997, true, 1000000) == 0.9997); /* 1 - 1e-4 would be more */
}

/* PyTorch's GradScaler: 65536, doubled after 2000 good updates in a row, halved after a bad one. */
TEST(the_scale_of_gradients)
{
    sw_grad_scaler s = sw_grad_scaler_start();
    CHECK(s.scale == 65536.0);
    for (int i = 0; i < 1999; i++) sw_grad_scaler_update(&s, false);
    CHECK(s.scale == 65536.0);
    sw_grad_scaler_update(&s, true);
    CHECK(s.scale == 32768.0 && s.good == 0);
    for (int i = 0; i < 1999; i++) sw_grad_scaler_update(&s, false);
    CHECK(s.scale == 32768.0);
    sw_grad_scaler_update(&s, false);
    CHECK(s.scale == 65536.0 && s.good == 0);
}

/* A matrix of the encoder and a bias of the aggregator. */
typedef struct pair {
    sw_backend *be;
    sw_slab *slab;
    sw_optim *optim;
    int matrix, bias;
} pair;

static void pair_free(pair *p)
{
    sw_optim_free(p->optim);
    sw_slab_free(p->slab);
    sw_backend_free(p->be);
}

static sw_status pair_new(const char *backend, sw_dtype dtype, const sw_optim_options *options, pair *p, sw_error *err)
{
    static const double start[2][4] = {{1, -2, 0.5, 3}, {-0.1, 0.7}};
    SW_TRY(sw_backend_new(backend, &(sw_backend_options){.threads = 1}, &p->be, err));
    SW_TRY(sw_slab_new(&p->be->device, dtype, &p->slab, err));
    SW_TRY(sw_slab_add(p->slab, SW_PARAM, "encoder", "m", SW_SHAPE(2, 2), &p->matrix, err));
    SW_TRY(sw_slab_add(p->slab, SW_PARAM, "mil", "b", SW_SHAPE(2), &p->bias, err));
    SW_TRY(sw_slab_commit(p->slab, err));
    SW_TRY(sw_tensor_upload_f64(sw_slab_value(p->slab, p->matrix), start[0], err));
    SW_TRY(sw_tensor_upload_f64(sw_slab_value(p->slab, p->bias), start[1], err));
    return sw_optim_new(p->be, p->slab, options, &p->optim, err);
}

static sw_status pair_gradients(pair *p, int step, double factor, sw_error *err)
{
    double g[6];
    for (int i = 0; i < 6; i++) g[i] = factor * sin(step + 2.0 * i);
    SW_TRY(sw_tensor_upload_f64(sw_slab_grad(p->slab, p->matrix), g, err));
    return sw_tensor_upload_f64(sw_slab_grad(p->slab, p->bias), g + 4, err);
}

static sw_status pair_values(pair *p, double *out, sw_error *err)
{
    SW_TRY(sw_tensor_download_f64(sw_slab_value(p->slab, p->matrix), out, err));
    return sw_tensor_download_f64(sw_slab_value(p->slab, p->bias), out + 4, err);
}

/* Numbers by tests/golden/make_optim.py, whose rows these are. */
static const struct {
    sw_optim_options o;
    double lr, matrix_lr, want[6];
} pytorch[] = {
    {{.kind = SW_OPTIM_SGD}, 0.01, -1,
     {0.998238383502776, -1.98802964338609, 0.491798764422781, 2.99485547986856, -0.0875170128662789, 0.694755008918725}},
    {{.kind = SW_OPTIM_SGD, .momentum = 0.9, .weight_decay = 0.1}, 0.01, -1,
     {0.941525423918586, -1.92888375980803, 0.501443232879061, 2.90911246330239, -0.0637852585442436, 0.713319090453094}},
    {{.kind = SW_OPTIM_SGD, .momentum = 0.9, .weight_decay = 0.1, .nesterov = true}, 0.01, -1,
     {0.940909656853813, -1.91424597457642, 0.490476505623481, 2.89843587914263, -0.0545007763817757, 0.703073684568984}},
    {{.kind = SW_OPTIM_ADAM, .beta1 = 0.8, .beta2 = 0.95, .eps = 1e-4, .weight_decay = 0.1}, 0.01, -1,
     {0.969874694470446, -1.95925124866064, 0.509034263286329, 2.96193427726332, -0.0891474426673615, 0.714358698697933}},
    {{.kind = SW_OPTIM_ADAMW, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.1, .decay_matrices = true}, 0.01, -1,
     {0.964773710890896, -1.97519761268885, 0.51207526797193, 2.95119840718557, -0.0911627910764323, 0.720579265941754}},
    {{.kind = SW_OPTIM_ADAMW, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.1, .lr_group = "encoder"}, 0.01, 0.001,
     {0.996468405498147, -1.99751780341189, 0.501213104090439, 2.99510877670158, -0.0906486248990222, 0.717009623151852}},
    {{.kind = SW_OPTIM_ADAMW, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.1, .lr_group = "encoder",
      .decay_matrices = true, .clip_norm = 0.5}, 0.01, 0.001,
     {0.996452422178281, -1.99750170583111, 0.501156866347259, 2.99508494759714, -0.0907393542829949, 0.720243107343815}},
};

/* Gradients come multiplied by 1024, as by a scaled loss: clipping acts on what they are without that. */
TEST(optimisers_and_groups_are_pytorchs)
{
    static const struct { const char *backend; sw_dtype dtype; double tolerance; } on[] = {{"guard", SW_F64, 1e-12}, {"cpu", SW_F32, 2e-6}};
    sw_error err;
    for (size_t r = 0; r < sizeof pytorch / sizeof pytorch[0]; r++) {
        for (int k = 0; k < 2; k++) {
            SW_CLEANUP(pair_free) pair p = {0};
            double got[6], norm = 0;
            CHECK_OK(pair_new(on[k].backend, on[k].dtype, &pytorch[r].o, &p, &err));
            if (pytorch[r].matrix_lr >= 0) sw_optim_set_group_lr(p.optim, pytorch[r].matrix_lr);
            for (int step = 1; step <= 5; step++) {
                CHECK_OK(pair_gradients(&p, step, 1024, &err));
                CHECK_OK(sw_optim_step(p.optim, pytorch[r].lr, 1.0 / 1024, &norm, &err));
            }
            double sum = 0;
            for (int i = 0; i < 6; i++) sum += sin(5 + 2.0 * i) * sin(5 + 2.0 * i);
            CHECK_NEAR(norm, sqrt(sum), 1e-6, 0);
            CHECK_OK(pair_values(&p, got, &err));
            /* PyTorch adds 1e-6 to the norm that it clips by */
            double tolerance = pytorch[r].o.clip_norm > 0 && on[k].tolerance < 1e-7 ? 1e-7 : on[k].tolerance;
            for (int i = 0; i < 6; i++) CHECK_NEAR(got[i], pytorch[r].want[i], tolerance, 0);
        }
    }
}

TEST(a_bad_gradient_is_left_out_where_that_is_asked_for)
{
    sw_error err;
    SW_CLEANUP(pair_free) pair p = {0};
    sw_optim_options o = sw_optim_options_default();
    double before[6], after[6], g[4];
    o.skip_bad = true;
    CHECK_OK(pair_new("ref", SW_F64, &o, &p, &err));
    CHECK_OK(pair_values(&p, before, &err));
    CHECK_OK(pair_gradients(&p, 1, INFINITY, &err));
    CHECK_OK(sw_optim_step(p.optim, 0.01, 1.0, NULL, &err));
    CHECK(sw_optim_skipped(p.optim) && sw_optim_steps(p.optim) == 0);
    CHECK_OK(pair_values(&p, after, &err));
    CHECK(memcmp(before, after, sizeof before) == 0);
    CHECK_OK(sw_tensor_download_f64(sw_slab_grad(p.slab, p.matrix), g, &err));
    for (int i = 0; i < 4; i++) CHECK(g[i] == 0.0);
    CHECK_OK(pair_gradients(&p, 1, 1, &err));
    CHECK_OK(sw_optim_step(p.optim, 0.01, 1.0, NULL, &err));
    CHECK(!sw_optim_skipped(p.optim) && sw_optim_steps(p.optim) == 1);
}
