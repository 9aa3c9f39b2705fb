/* SPDX-License-Identifier: Apache-2.0 */
/* The bottleneck head of FT: evaluation and a training step with its random masks against PyTorch (make_ft_vib.py, ft_vib.json),
 * and what evaluation leaves out. */
#include <stdlib.h>

#include "aggregator/aggregator.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/mem.h"
#include "test.h"

static sw_error err;

typedef struct bench {
    sw_backend *be;
    sw_slab *slab;
    sw_aggregator *agg;
    sw_json *c;
    int64_t b, n;
    sw_tensor x, y;
} bench;

static void bench_free(bench *t)
{
    sw_tensor_release(&t->x);
    sw_tensor_release(&t->y);
    sw_aggregator_free(t->agg);
    sw_slab_free(t->slab);
    sw_backend_free(t->be);
    sw_json_free(t->c);
}

static bool fails(int line)
{
    return sw_test_fail(__FILE__, line, "%s", err.message);
}

static int64_t number(const bench *t, const char *key)
{
    return sw_json_integer(sw_json_get(t->c, key), 0);
}

static double at(const bench *t, const char *key, size_t i)
{
    return sw_json_real(sw_json_at(sw_json_get(t->c, key), i), NAN);
}

static bool fill(bench *t)
{
    for (int k = 0; k < sw_slab_entries(t->slab); k++) {
        int64_t n = sw_shape_count(sw_slab_shape(t->slab, k));
        SW_AUTOFREE double *v = sw_calloc((size_t)n, sizeof *v);
        for (int64_t i = 0; i < n; i++) v[i] = 0.5 * sin(0.7 * (double)i + 0.3 * (double)(k + 1));
        if (sw_tensor_upload_f64(sw_slab_value(t->slab, k), v, &err) != SW_OK) return fails(__LINE__);
    }
    return true;
}

/* b bags of n patches; 0: those of the golden case. */
static bool bench_new(bench *t, const char *backend, sw_dtype dtype, int64_t n)
{
    SW_AUTOFREE char *path = sw_path_join(sw_test_source(), "golden/ft_vib.json");
    sw_aggregator_options o = sw_aggregator_options_default();
    int32_t label[2];
    if (sw_json_read(path, &t->c, &err) != SW_OK) return fails(__LINE__);
    o.input_dim = (int)number(t, "input_dim");
    o.inner_dim = (int)number(t, "inner_dim");
    o.classes = (int)number(t, "classes");
    o.hidden = (int)number(t, "hidden");
    o.dropout = 0;
    o.slide_weight = 0.7;
    o.gate_weight = 0.3;
    o.gate_share = 0.2;
    t->b = number(t, "batch");
    t->n = n > 0 ? n : number(t, "n");
    int64_t count = t->b * t->n * o.input_dim;
    SW_AUTOFREE double *x = sw_calloc((size_t)count, sizeof *x);
    for (int64_t i = 0; i < count; i++) x[i] = cos(0.9 * (double)i);
    for (int i = 0; i < 2; i++) label[i] = (int32_t)at(t, "labels", (size_t)i);
    return (sw_backend_new(backend, &(sw_backend_options){.threads = 2}, &t->be, &err) == SW_OK &&
            sw_slab_new(&t->be->device, dtype, &t->slab, &err) == SW_OK &&
            sw_aggregator_new("ft_vib", &o, t->slab, &t->agg, &err) == SW_OK && sw_slab_commit(t->slab, &err) == SW_OK &&
            sw_tensor_new(&t->be->device, dtype, SW_SHAPE(t->b, t->n, o.input_dim), &t->x, &err) == SW_OK &&
            sw_tensor_upload_f64(&t->x, x, &err) == SW_OK &&
            sw_tensor_from(&t->be->device, SW_I32, SW_SHAPE(t->b), label, &t->y, &err) == SW_OK && fill(t)) ||
           fails(__LINE__);
}

static sw_var *cross_entropy(const void *ctx, sw_tape *tape, sw_var *logits, sw_var *targets)
{
    (void)ctx;
    return sw_cross_entropy(tape, logits, targets);
}

/* One pass; logits, attention, score are as long as they are (NULL: not wanted). With `step` >= 0 it trains and goes back. */
static bool pass(bench *t, int64_t step, double *logits, double *attention, double *score, double *loss)
{
    sw_tape *tape = NULL;
    sw_nn_mode mode = step >= 0 ? sw_nn_mode_train((uint64_t)number(t, "seed"), (uint32_t)step) : sw_nn_mode_eval();
    if (sw_tape_new(t->be, step >= 0, &tape, &err) != SW_OK) return fails(__LINE__);
    const sw_mil_target target = {.loss = cross_entropy, .targets = sw_tape_constant(tape, &t->y)};
    sw_aggregator_out o = sw_aggregator_forward(t->agg, tape, sw_tape_constant(tape, &t->x), &mode);
    sw_var *value = sw_aggregator_loss(t->agg, tape, &o, &target);
    bool ok = sw_tape_status(tape, &err) == SW_OK && sw_tensor_download_f64(sw_var_value(o.logits), logits, &err) == SW_OK &&
              (!attention || sw_tensor_download_f64(sw_var_value(o.attention), attention, &err) == SW_OK) &&
              (!score || sw_tensor_download_f64(sw_var_value(o.score), score, &err) == SW_OK) &&
              sw_tensor_download_f64(sw_var_value(value), loss, &err) == SW_OK &&
              (step < 0 || sw_tape_backward(tape, value, NULL, &err) == SW_OK);
    sw_tape_free(tape);
    return ok || fails(__LINE__);
}

static void check(const char *backend, sw_dtype dtype, double tol)
{
    SW_CLEANUP(bench_free) bench t = {0};
    double logits[6], attention[14], score[14], loss;
    CHECK(bench_new(&t, backend, dtype, 0));
    CHECK(pass(&t, -1, logits, attention, score, &loss));
    for (size_t i = 0; i < 6; i++) CHECK_NEAR(logits[i], at(&t, "logits", i), tol, tol);
    for (size_t i = 0; i < 14; i++) CHECK_NEAR(attention[i], at(&t, "attention", i), tol, tol);
    for (size_t i = 0; i < 14; i++) CHECK_NEAR(score[i], at(&t, "score", i), tol, tol);
    CHECK(pass(&t, number(&t, "step"), logits, NULL, NULL, &loss));
    for (size_t i = 0; i < 6; i++) CHECK_NEAR(logits[i], at(&t, "trained", i), tol, tol);
    CHECK_NEAR(loss, sw_json_real(sw_json_get(t.c, "loss"), NAN), tol, 0);
    const sw_json *grads = sw_json_get(t.c, "grads");
    CHECK_INT(sw_json_count(grads), sw_slab_entries(t.slab));
    for (size_t i = 0; i < sw_json_count(grads); i++) {
        const sw_json *value = NULL;
        SW_AUTOFREE char *name = sw_asprintf("mil.%s", sw_json_member(grads, i, &value));
        int e = sw_slab_find(t.slab, name);
        CHECK_INT(e, i);
        int64_t n = sw_shape_count(sw_slab_shape(t.slab, e));
        double sum = 0.0;
        SW_AUTOFREE double *v = sw_calloc((size_t)n, sizeof *v);
        CHECK_OK(sw_tensor_download_f64(sw_slab_grad(t.slab, e), v, &err));
        for (int64_t k = 0; k < n; k++) sum += v[k] * v[k];
        CHECK_NEAR(sqrt(sum), sw_json_real(value, NAN), tol, tol * 1e-2);
    }
}

TEST(outputs_masks_loss_and_gradients_are_pytorchs_in_double)
{
    check("ref", SW_F64, 1e-9);
    check("guard", SW_F64, 1e-9);
}

TEST(outputs_masks_loss_and_gradients_are_pytorchs_in_float)
{
    check("ref", SW_F32, 1e-4);
    check("cpu", SW_F32, 1e-4);
}

TEST(each_step_has_its_own_masks)
{
    SW_CLEANUP(bench_free) bench t = {0};
    double a[6], b[6], c[6], loss;
    CHECK(bench_new(&t, "ref", SW_F64, 0));
    CHECK(pass(&t, 3, a, NULL, NULL, &loss) && pass(&t, 3, b, NULL, NULL, &loss) && pass(&t, 4, c, NULL, NULL, &loss));
    CHECK(memcmp(a, b, sizeof a) == 0 && memcmp(a, c, sizeof a) != 0);
}

/* In evaluation 1024 patches of a larger bag take part: those with the largest gates, and their equals. */
TEST(evaluation_looks_at_the_largest_gates_alone)
{
    enum { N = 1500 };
    SW_CLEANUP(bench_free) bench t = {0};
    SW_AUTOFREE double *attention = sw_calloc(2 * N, sizeof *attention), *score = sw_calloc(2 * N, sizeof *score);
    double logits[6], loss;
    CHECK(bench_new(&t, "ref", SW_F64, N));
    CHECK(pass(&t, -1, logits, attention, score, &loss));
    for (int bag = 0; bag < 2; bag++) {
        double least = INFINITY, most = -INFINITY, sum = 0;
        int in = 0;
        for (int i = bag * N; i < (bag + 1) * N; i++) {
            in += attention[i] > 0;
            sum += attention[i];
            if (attention[i] > 0) least = fmin(least, score[i]);
            else most = fmax(most, score[i]);
        }
        CHECK_INT(in, 1024);
        CHECK(least > most);
        CHECK_NEAR(sum, 1, 1e-12, 0);
    }
}
