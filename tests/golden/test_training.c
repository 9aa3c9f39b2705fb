/* SPDX-License-Identifier: Apache-2.0 */
/* Thirty training steps of ResNet-18 + ABMILX against PyTorch from the same weights (make_training.py, training.csv). */
#include "base/csv.h"
#include "base/fs.h"
#include "base/mem.h"
#include "golden/hash.h"
#include "model/model.h"
#include "optim/optim.h"
#include "tape/replay.h"
#include "test.h"

enum { BAGS = 2, PATCHES = 8, SIZE = 64, CLASSES = 3, STEPS = 30, COUNT = BAGS * PATCHES * 3 * SIZE * SIZE };

static sw_error err;

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* Streams count parameters of encoder and aggregator separately, in the order of declaration. */
static bool fill(sw_model *model)
{
    sw_slab *slab = sw_model_slab(model);
    int64_t stream[2] = {0, 0};
    for (int e = 0; e < sw_slab_entries(slab); e++) {
        if (sw_slab_entry_kind(slab, e) != SW_PARAM) continue;
        const sw_shape *shape = sw_slab_shape(slab, e);
        int64_t n = sw_shape_count(shape), s = ++stream[strcmp(sw_slab_group(slab, e), "mil") == 0];
        SW_AUTOFREE double *v = sw_calloc((size_t)n, sizeof *v);
        for (int64_t i = 0; i < n; i++) {
            double h = golden_hashed(i, s);
            v[i] = shape->rank >= 2                           ? h * sqrt(3.0 / (double)(n / shape->dim[0]))
                   : ends_with(sw_slab_name(slab, e), "bias") ? h * 0.1
                                                              : 1.0 + h * 0.1;
        }
        if (sw_tensor_upload_f64(sw_slab_value(slab, e), v, &err) != SW_OK)
            return sw_test_fail(__FILE__, __LINE__, "%s", err.message);
    }
    return true;
}

typedef struct step {
    sw_model *model;
    sw_dtype dtype;
    int bag;
    int64_t chunk_patches;
} step;

static sw_var *encode(void *ctx, sw_tape *tape, int64_t chunk, bool is_replay)
{
    const step *s = ctx;
    sw_tensor x = {0};
    sw_nn_mode mode = sw_nn_mode_train(0, 0);
    int64_t per_patch = 3 * SIZE * SIZE, first = chunk * s->chunk_patches;
    int64_t n = BAGS * PATCHES - first < s->chunk_patches ? BAGS * PATCHES - first : s->chunk_patches;
    SW_AUTOFREE double *v = sw_calloc((size_t)(n * per_patch), sizeof *v);
    mode.update_running = !is_replay;
    for (int64_t k = 0; k < n * per_patch; k++) {
        int64_t i = first * per_patch + k, bag = i / (PATCHES * per_patch), channel = i / (SIZE * SIZE) % 3;
        int64_t label = bag == 0 ? s->bag % CLASSES : (s->bag + 1) % CLASSES;
        v[k] = golden_hashed(i, 1000 + s->bag) * (0.5 + 0.5 * (double)label) + (double)((label + channel) % 3) - 1.0;
    }
    sw_backend *be = sw_model_backend(s->model);
    if (sw_tensor_new(&be->device, s->dtype, SW_SHAPE(n, 3, SIZE, SIZE), &x, &err) != SW_OK ||
        sw_tensor_upload_f64(&x, v, &err) != SW_OK)
        sw_tape_fail(tape, err.code, "%s", err.message);
    sw_var *out = sw_model_encode(s->model, tape, sw_tape_constant(tape, &x), &mode);
    sw_tensor_release(&x);
    return out;
}

static sw_var *head(void *ctx, sw_tape *tape, sw_var *features)
{
    const step *s = ctx;
    sw_tensor labels = {0};
    sw_nn_mode mode = sw_nn_mode_train(0, 0);
    sw_backend *be = sw_model_backend(s->model);
    int32_t y[BAGS] = {s->bag % CLASSES, (s->bag + 1) % CLASSES};
    if (sw_tensor_from(&be->device, SW_I32, SW_SHAPE(BAGS), y, &labels, &err) != SW_OK)
        sw_tape_fail(tape, err.code, "%s", err.message);
    sw_var *bags = sw_reshape(tape, features, SW_SHAPE(BAGS, PATCHES, sw_model_dim(s->model)));
    sw_var *logits = sw_model_aggregate(s->model, tape, bags, &mode).logits;
    sw_var *loss = sw_cross_entropy(tape, logits, sw_tape_constant(tape, &labels));
    sw_tensor_release(&labels);
    return loss;
}

static sw_status train_step(step *s, sw_optim *optim, double *loss)
{
    sw_tensor value = {0};
    sw_replay r = {.ctx = s, .encode = encode, .head = head};
    r.chunks = (BAGS * PATCHES + s->chunk_patches - 1) / s->chunk_patches;
    SW_TRY(sw_replay_run(sw_model_backend(s->model), &r, &value, &err));
    sw_status status = sw_tensor_download_f64(&value, loss, &err);
    sw_tensor_release(&value);
    SW_TRY(status);
    return sw_optim_step(optim, 3e-6, 1.0, NULL, &err);
}

/* Trains `steps` steps and compares each loss with PyTorch's in double. */
static void run(const char *backend, sw_dtype dtype, int threads, int steps, double tol)
{
    SW_CLEANUP(sw_csv_free_ptr) sw_csv *golden = NULL;
    SW_AUTOFREE char *path = sw_path_join(sw_test_source(), "golden/training.csv");
    sw_backend *be = NULL;
    sw_model *model = NULL;
    sw_optim *optim = NULL;
    sw_model_options mo = sw_model_options_default();
    sw_optim_options oo = sw_optim_options_default();
    double worst = 0.0;
    mo.mil.inner_dim = 64;
    mo.mil.heads = 4;
    mo.mil.classes = CLASSES;
    mo.mil.dropout = 0.0;
    mo.mil.act = SW_ACT_GELU;
    mo.mil.norm = SW_MIL_NORM_LAYER;
    mo.mil.bias = false;
    mo.mil.attn_plus = SW_PLUS_LEARNABLE;
    oo.weight_decay = 1e-2;
    CHECK_OK(sw_csv_read(path, true, &golden, &err));
    CHECK_INT(sw_csv_rows(golden), STEPS);
    CHECK_OK(sw_backend_new(backend, &(sw_backend_options){.threads = threads}, &be, &err));
    CHECK_OK(sw_model_new(be, dtype, &mo, &model, &err));
    CHECK(fill(model));
    CHECK_OK(sw_optim_new(be, sw_model_slab(model), &oo, &optim, &err));
    CHECK_OK(sw_model_zero_grad(model, &err));
    for (int i = 0; i < steps; i++) {
        step s = {model, dtype, i % 3, BAGS * PATCHES};
        double loss = NAN, expected = NAN;
        CHECK(sw_parse_double(sw_csv_cell(golden, (size_t)i, 2), &expected));
        CHECK_OK(train_step(&s, optim, &loss));
        worst = fmax(worst, fabs(loss - expected) / expected);
        if (!(fabs(loss - expected) <= tol * expected))
            sw_test_fail(__FILE__, __LINE__, "step %d: loss is %.9g, PyTorch's %.9g", i, loss, expected);
    }
    printf("# %s %s, %d threads, %d steps: losses within %.2e of PyTorch's\n", backend, sw_dtype_name(dtype), threads, steps,
           worst);
    sw_optim_free(optim);
    sw_model_free(model);
    sw_backend_free(be);
}

TEST(thirty_steps_on_cpu)
{
    run("cpu", SW_F32, 2, STEPS, 1e-4);
}

TEST(thirty_steps_on_cpu_with_one_thread)
{
    run("cpu", SW_F32, 1, STEPS, 1e-4);
}

TEST(two_steps_on_ref_in_double)
{
    run("ref", SW_F64, 1, 2, 1e-9);
}
