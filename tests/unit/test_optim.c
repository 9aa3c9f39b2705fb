/* SPDX-License-Identifier: Apache-2.0 */
/* Schedules against the reference's values; Adam and AdamW against a hand-written loop in double. */
#include "base/mem.h"
#include "optim/optim.h"
#include "test.h"

TEST(cosine_schedule_has_the_reference_values)
{
    sw_schedule sub = {SW_SCHEDULE_COSINE, 8e-5, 1e-7, 1e-6, 75, 10};
    CHECK_NEAR(sw_schedule_lr(&sub, 0), 1e-6, 1e-9, 0);
    CHECK_NEAR(sw_schedule_lr(&sub, 1), 8.9e-6, 1e-9, 0);
    CHECK_NEAR(sw_schedule_lr(&sub, 9), 7.21e-5, 1e-9, 0);
    CHECK_NEAR(sw_schedule_lr(&sub, 10), 7.654614e-5, 1e-6, 0);
    CHECK_NEAR(sw_schedule_lr(&sub, 37), 4.088665e-5, 1e-6, 0);
    CHECK_NEAR(sw_schedule_lr(&sub, 74), 1.350429e-7, 1e-6, 0);
    CHECK_NEAR(sw_schedule_lr(&sub, 75), 1e-7, 1e-12, 0);
    sw_schedule panda = {SW_SCHEDULE_COSINE, 2e-4, 1e-7, 1e-6, 200, 0};
    CHECK_NEAR(sw_schedule_lr(&panda, 1), 1.999877e-4, 1e-6, 0);
    CHECK_NEAR(sw_schedule_lr(&panda, 100), 1.0005e-4, 1e-6, 0);
    CHECK_NEAR(sw_schedule_lr(&panda, 199), 1.123306e-7, 1e-6, 0);
}

TEST(step_and_constant_schedules)
{
    sw_schedule step = {SW_SCHEDULE_STEP, 1.0, 0, 0, 10, 0};
    CHECK_NEAR(sw_schedule_lr(&step, 4), 1.0, 1e-12, 0);
    CHECK_NEAR(sw_schedule_lr(&step, 5), 0.2, 1e-12, 0);
    sw_schedule constant = {SW_SCHEDULE_CONST, 0.5, 0, 0, 10, 0};
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
    options.skip_group = "encoder";
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
