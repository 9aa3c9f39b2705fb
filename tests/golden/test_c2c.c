/* SPDX-License-Identifier: Apache-2.0 */
/* C2C's aggregator: its keys, its outputs and its loss against PyTorch (make_c2c.py, c2c.json), gradients against differences,
 * and the divergence within clusters against the original's number. */
#include <stdlib.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/mem.h"
#include "model/model_io.h"
#include "test.h"

static sw_error err;

static sw_json *golden(void)
{
    sw_json *root = NULL;
    SW_AUTOFREE char *path = sw_path_join(sw_test_source(), "golden/c2c.json");
    if (sw_json_read(path, &root, &err) != SW_OK) sw_test_fail(__FILE__, __LINE__, "%s", err.message);
    return root;
}

static int64_t number(const sw_json *c, const char *key)
{
    return sw_json_integer(sw_json_get(c, key), 0);
}

static sw_var *cross_entropy(const void *ctx, sw_tape *tape, sw_var *logits, sw_var *targets)
{
    (void)ctx;
    return sw_cross_entropy(tape, logits, targets);
}

/* --- a small head */

typedef struct bench {
    sw_backend *be;
    sw_slab *slab;
    sw_aggregator *agg;
    int64_t b, n;
    int32_t label[2], cluster[32];
    sw_tensor x, y;
} bench;

static void bench_free(bench *t)
{
    sw_tensor_release(&t->x);
    sw_tensor_release(&t->y);
    sw_aggregator_free(t->agg);
    sw_slab_free(t->slab);
    sw_backend_free(t->be);
}

static bool fails(int line)
{
    return sw_test_fail(__FILE__, line, "%s", err.message);
}

/* Entry k in the order of the original's state_dict gets 0.5 * sin(0.7 i + 0.3 (k + 1)), which is our order. */
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

static bool bench_new(bench *t, const sw_json *c, const char *backend, sw_dtype dtype, const double weight[3])
{
    double x[2 * 16 * 6];
    sw_aggregator_options o = sw_aggregator_options_default();
    o.input_dim = (int)number(c, "input_dim");
    o.inner_dim = (int)number(c, "inner_dim");
    o.classes = (int)number(c, "classes");
    o.slide_weight = weight[0];
    o.patch_weight = weight[1];
    o.cluster_weight = weight[2];
    t->b = number(c, "batch");
    t->n = number(c, "n");
    for (int64_t i = 0; i < t->b * t->n * o.input_dim; i++) x[i] = cos(0.9 * (double)i);
    for (int64_t i = 0; i < t->b; i++) t->label[i] = (int32_t)sw_json_integer(sw_json_at(sw_json_get(c, "labels"), (size_t)i), 0);
    for (int64_t i = 0; i < t->b * t->n; i++)
        t->cluster[i] = (int32_t)sw_json_integer(sw_json_at(sw_json_get(c, "clusters"), (size_t)i), 0);
    return (sw_backend_new(backend, &(sw_backend_options){.threads = 2}, &t->be, &err) == SW_OK &&
            sw_slab_new(&t->be->device, dtype, &t->slab, &err) == SW_OK &&
            sw_aggregator_new("c2c", &o, t->slab, &t->agg, &err) == SW_OK && sw_slab_commit(t->slab, &err) == SW_OK &&
            sw_tensor_new(&t->be->device, dtype, SW_SHAPE(t->b, t->n, o.input_dim), &t->x, &err) == SW_OK &&
            sw_tensor_upload_f64(&t->x, x, &err) == SW_OK &&
            sw_tensor_from(&t->be->device, SW_I32, SW_SHAPE(t->b), t->label, &t->y, &err) == SW_OK && fill(t)) ||
           fails(__LINE__);
}

/* The loss; its gradients are added to the slab with `back`, and `out` gets logits, then attention. */
static double loss_of(bench *t, bool back, double *out)
{
    sw_tape *tape = NULL;
    double loss = NAN;
    sw_nn_mode mode = sw_nn_mode_train(0, 0);
    if (sw_tape_new(t->be, true, &tape, &err) != SW_OK) return loss;
    const sw_mil_target target = {.loss = cross_entropy, .targets = sw_tape_constant(tape, &t->y), .label = t->label, .cluster = t->cluster};
    sw_aggregator_out o = sw_aggregator_forward(t->agg, tape, sw_tape_input(tape, &t->x), &mode);
    sw_var *value = sw_aggregator_loss(t->agg, tape, &o, &target);
    bool ok = sw_tape_status(tape, &err) == SW_OK && sw_tensor_download_f64(sw_var_value(value), &loss, &err) == SW_OK;
    if (ok && out)
        ok = sw_tensor_download_f64(sw_var_value(o.logits), out, &err) == SW_OK &&
             sw_tensor_download_f64(sw_var_value(o.attention), out + sw_tensor_count(sw_var_value(o.logits)), &err) == SW_OK;
    if (ok && back) ok = sw_tape_backward(tape, value, NULL, &err) == SW_OK;
    sw_tape_free(tape);
    if (!ok) fails(__LINE__);
    return ok ? loss : NAN;
}

static void check(const char *backend, sw_dtype dtype, double tol)
{
    SW_CLEANUP(sw_json_free_ptr) sw_json *c = golden();
    SW_CLEANUP(bench_free) bench t = {0};
    static const double all[3] = {1, 0.25, 5};
    static const char *const part[3] = {"slide", "patch", "even"};
    double out[2 * 3 + 2 * 16];
    CHECK(c && bench_new(&t, c, backend, dtype, all));
    CHECK_NEAR(loss_of(&t, true, out), sw_json_real(sw_json_get(c, "loss"), NAN), tol, 0);
    for (size_t i = 0; i < 6; i++) CHECK_NEAR(out[i], sw_json_real(sw_json_at(sw_json_get(c, "logits"), i), NAN), tol, tol);
    for (size_t i = 0; i < 32; i++) CHECK_NEAR(out[6 + i], sw_json_real(sw_json_at(sw_json_get(c, "attention"), i), NAN), tol, tol);
    const sw_json *grads = sw_json_get(c, "grads");
    CHECK_INT(sw_json_count(grads), sw_slab_entries(t.slab));
    for (size_t i = 0; i < sw_json_count(grads); i++) {
        const sw_json *value = NULL;
        SW_AUTOFREE char *name = sw_asprintf("mil.%s", sw_json_member(grads, i, &value));
        int e = sw_slab_find(t.slab, name);
        CHECK_INT(e, i); /* our order is the original's */
        int64_t n = sw_shape_count(sw_slab_shape(t.slab, e));
        double sum = 0.0;
        SW_AUTOFREE double *v = sw_calloc((size_t)n, sizeof *v);
        CHECK_OK(sw_tensor_download_f64(sw_slab_grad(t.slab, e), v, &err));
        for (int64_t k = 0; k < n; k++) sum += v[k] * v[k];
        CHECK_NEAR(sqrt(sum), sw_json_real(value, NAN), tol, tol * 1e-2);
    }
    for (int i = 0; i < 3; i++) { /* each part by itself */
        SW_CLEANUP(bench_free) bench one = {0};
        const double weight[3] = {i == 0, i == 1, i == 2};
        CHECK(bench_new(&one, c, backend, dtype, weight));
        CHECK_NEAR(loss_of(&one, false, NULL), sw_json_real(sw_json_get(c, part[i]), NAN), tol, tol);
    }
}

TEST(outputs_loss_and_gradients_are_pytorchs_in_double)
{
    check("ref", SW_F64, 1e-10);
    check("guard", SW_F64, 1e-10);
}

TEST(outputs_loss_and_gradients_are_pytorchs_in_float)
{
    check("ref", SW_F32, 2e-5);
    check("cpu", SW_F32, 2e-5);
}

TEST(gradients_are_those_of_differences)
{
    SW_CLEANUP(sw_json_free_ptr) sw_json *c = golden();
    SW_CLEANUP(bench_free) bench t = {0};
    static const double all[3] = {1, 0.25, 5};
    const double h = 1e-6;
    double worst = 0.0;
    CHECK(c && bench_new(&t, c, "ref", SW_F64, all));
    CHECK(isfinite(loss_of(&t, true, NULL)));
    sw_tensor *params = sw_slab_params(t.slab);
    int64_t n = sw_tensor_count(params);
    SW_AUTOFREE double *v = sw_calloc((size_t)n, sizeof *v), *g = sw_calloc((size_t)n, sizeof *g);
    CHECK_OK(sw_tensor_download_f64(params, v, &err));
    CHECK_OK(sw_tensor_download_f64(sw_slab_grads(t.slab), g, &err));
    for (int64_t i = 0; i < n; i++) {
        double at = v[i], side[2];
        for (int s = 0; s < 2; s++) {
            v[i] = at + (s ? h : -h);
            CHECK_OK(sw_tensor_upload_f64(params, v, &err));
            side[s] = loss_of(&t, false, NULL);
        }
        v[i] = at;
        worst = fmax(worst, fabs((side[1] - side[0]) / (2 * h) - g[i]));
    }
    printf("# %lld parameters, gradients at most %.2g from differences\n", (long long)n, worst);
    CHECK(worst < 1e-8);
}

/* --- the divergence within clusters: the number that the original's function gives */

static double divergence(sw_backend *be, sw_aggregator *agg, const double *e, const int32_t *cluster, int64_t n)
{
    sw_tape *tape = NULL;
    sw_tensor x = {0}, y = {0}, zero = {0};
    const int32_t label = 0;
    const double even[2] = {0, 0};
    double loss = NAN;
    bool ok = sw_tape_new(be, true, &tape, &err) == SW_OK && sw_tensor_new(&be->device, SW_F64, SW_SHAPE(1, n), &x, &err) == SW_OK &&
              sw_tensor_upload_f64(&x, e, &err) == SW_OK && sw_tensor_new(&be->device, SW_F64, SW_SHAPE(1, 2), &zero, &err) == SW_OK &&
              sw_tensor_upload_f64(&zero, even, &err) == SW_OK &&
              sw_tensor_from(&be->device, SW_I32, SW_SHAPE(1), &label, &y, &err) == SW_OK;
    if (ok) {
        const sw_mil_target target = {.loss = cross_entropy, .targets = sw_tape_constant(tape, &y), .label = &label, .cluster = cluster};
        sw_aggregator_out out = {.logits = sw_tape_constant(tape, &zero), .second = sw_tape_input(tape, &x)};
        sw_var *value = sw_aggregator_loss(agg, tape, &out, &target);
        ok = sw_tape_status(tape, &err) == SW_OK && sw_tensor_download_f64(sw_var_value(value), &loss, &err) == SW_OK;
    }
    if (!ok) fails(__LINE__);
    sw_tape_free(tape);
    sw_tensor_release(&x);
    sw_tensor_release(&y);
    sw_tensor_release(&zero);
    return loss;
}

TEST(the_divergence_is_the_originals)
{
    SW_CLEANUP(bench_free) bench t = {0};
    sw_aggregator_options o = sw_aggregator_options_default();
    double e[14];
    int32_t one_each[14], few[14], two[14], none[14];
    static const int32_t cluster[14] = {1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2};
    o.slide_weight = o.patch_weight = 0;
    o.cluster_weight = 1;
    for (int i = 0; i < 14; i++) {
        e[i] = i % 7 % 2 == 0 ? 0.05 : 0.1;
        one_each[i] = i;
        few[i] = i < 4 ? 0 : i < 8 ? 1 : -1;
        two[i] = i < 7 ? 0 : -1;
        none[i] = -1;
    }
    CHECK_OK(sw_backend_new("ref", &(sw_backend_options){.threads = 1}, &t.be, &err));
    CHECK_OK(sw_slab_new(&t.be->device, SW_F64, &t.slab, &err));
    CHECK_OK(sw_aggregator_new("c2c", &o, t.slab, &t.agg, &err));
    CHECK_NEAR(divergence(t.be, t.agg, e, cluster, 14), 0.0006136424, 0, 5e-11);
    CHECK_NEAR(divergence(t.be, t.agg, e, two, 14), 0.0006136424 / 2, 0, 5e-11); /* patches of no cluster are left out */
    CHECK_NEAR(divergence(t.be, t.agg, e, few, 14), 0, 0, 0);                     /* four are too few */
    CHECK_NEAR(divergence(t.be, t.agg, e, one_each, 14), 0, 0, 0);
    CHECK_NEAR(divergence(t.be, t.agg, e, none, 14), 0, 0, 0);
    CHECK_NEAR(divergence(t.be, t.agg, e, NULL, 14), 0, 0, 0);
    for (int i = 0; i < 14; i++) e[i] = i == 3 ? 1000 : 0; /* one patch has all */
    CHECK_NEAR(divergence(t.be, t.agg, e, two, 14), 1000.0 - 1000.0 / 7 - log(7), 1e-12, 0);
}

TEST(a_task_without_classes_is_refused)
{
    SW_CLEANUP(sw_json_free_ptr) sw_json *c = golden();
    SW_CLEANUP(bench_free) bench t = {0};
    static const double all[3] = {1, 1, 1};
    sw_tape *tape = NULL;
    sw_nn_mode mode = sw_nn_mode_eval();
    CHECK(c && bench_new(&t, c, "ref", SW_F64, all));
    CHECK_OK(sw_tape_new(t.be, true, &tape, &err));
    const sw_mil_target target = {.loss = cross_entropy, .targets = sw_tape_constant(tape, &t.y)};
    sw_aggregator_out out = sw_aggregator_forward(t.agg, tape, sw_tape_constant(tape, &t.x), &mode);
    (void)sw_aggregator_loss(t.agg, tape, &out, &target);
    sw_status status = sw_tape_status(tape, &err);
    sw_tape_free(tape);
    CHECK_INT(status, SW_E_INVALID);
    CHECK_STR(err.message, "aggregator.name: c2c trains its patches by the slide's class, which this task has not");
}

/* --- the whole model's keys: each one's values land in the entry it means */

static bool write_keys(const sw_json *keys, const char *path)
{
    sw_weights_writer *w = NULL;
    bool ok = sw_weights_writer_new(&w, &err) == SW_OK;
    for (size_t k = 0; ok && k < sw_json_count(keys); k++) {
        const sw_json *dims = NULL;
        const char *name = sw_json_member(keys, k, &dims);
        sw_shape shape = {.rank = (int)sw_json_count(dims)};
        for (int i = 0; i < shape.rank; i++) shape.dim[i] = sw_json_integer(sw_json_at(dims, (size_t)i), 0);
        SW_AUTOFREE float *v = sw_calloc((size_t)sw_shape_count(&shape), sizeof *v);
        for (int64_t i = 0; i < sw_shape_count(&shape); i++) v[i] = (float)k + 0.25f;
        ok = sw_weights_writer_add(w, name, SW_F32, &shape, v, &err) == SW_OK;
    }
    ok = ok && sw_weights_writer_save(w, path, &err) == SW_OK;
    sw_weights_writer_free(w);
    return ok || fails(__LINE__);
}

static const char *ours(const char *key, char *room, size_t size)
{
    static const char *const child[] = {"conv1", "bn1", "", "", "layer1", "layer2", "layer3", "layer4"};
    if (strncmp(key, "resnet_head.", 12) == 0) snprintf(room, size, "encoder.model.%s%s", child[key[12] - '0'], key + 13);
    else snprintf(room, size, "mil.%s", key);
    return room;
}

TEST(the_keys_are_the_originals)
{
    SW_CLEANUP(sw_json_free_ptr) sw_json *c = golden();
    SW_AUTOFREE char *path = sw_path_join(sw_test_dir(), "c2c.safetensors");
    sw_backend *be = NULL;
    sw_model *model = NULL;
    sw_model_options o = sw_model_options_default();
    int matched = 0;
    CHECK(c);
    const sw_json *keys = sw_json_get(c, "keys");
    o.encoder = "resnet18_full";
    o.aggregator = "c2c";
    o.mil.inner_dim = 64;
    CHECK_OK(sw_backend_new("ref", &(sw_backend_options){.threads = 1}, &be, &err));
    CHECK_OK(sw_model_new(be, SW_F32, &o, &model, &err));
    CHECK(write_keys(keys, path));
    CHECK_OK(sw_model_load_encoder(model, path, &err));
    sw_slab *slab = sw_model_slab(model);
    for (size_t k = 0; k < sw_json_count(keys); k++) {
        char name[256];
        const sw_json *dims = NULL;
        const char *key = sw_json_member(keys, k, &dims);
        float first;
        if (strstr(key, "num_batches_tracked")) continue;
        int e = sw_slab_find(slab, ours(key, name, sizeof name));
        if (e < 0) sw_test_fail(__FILE__, __LINE__, "no entry %s", name);
        CHECK(e >= 0);
        const sw_shape *shape = sw_slab_shape(slab, e);
        CHECK_INT(shape->rank, sw_json_count(dims));
        for (int i = 0; i < shape->rank; i++) CHECK_INT(shape->dim[i], sw_json_integer(sw_json_at(dims, (size_t)i), 0));
        matched++;
        if (strncmp(key, "resnet_head.", 12) != 0) continue;
        SW_AUTOFREE float *v = sw_calloc((size_t)sw_shape_count(shape), sizeof *v);
        CHECK_OK(sw_tensor_download_f32(sw_slab_value(slab, e), v, &err));
        first = v[0];
        CHECK_NEAR(first, (double)k + 0.25, 0, 0);
    }
    CHECK_INT(matched, sw_slab_entries(slab));
    CHECK_INT(matched, 100 + 12);
    CHECK_INT(sw_model_params(model, "mil"), 512 * 256 + 256 + 256 * 64 + 64 + 64 * 32 + 32 + 32 + 1 + 2 * (64 * 2 + 2));
    sw_model_free(model);
    sw_backend_free(be);
}
