/* SPDX-License-Identifier: Apache-2.0 */
/* A hundred training steps of ResNet-18 + ABMILX against PyTorch from the same weights, for classes and for survival: AdamW,
 * warm-up and cosine, two bags a step, a moving average (make_trajectory.py, trajectory_losses.csv, trajectory_weights.csv).
 *
 * The learning rate is small and warmed up. Adam divides by the size of a gradient, and a ReLU has a kink, so that at a rate
 * such as 2e-4 the rounding of the first steps grows until float and double take different ways, in PyTorch too. At this one
 * PyTorch's own float losses are within 9.9e-5 of its double ones relative to the loss (which falls to a tenth), its weights
 * within 5e-5 of a tensor's norm, and the ways that the tensors went within 3.5 % of their length. The losses here are within
 * 1e-4, relative to those above 1; the weights within 1e-3. */
#include "base/csv.h"
#include "base/fs.h"
#include "base/mem.h"
#include "golden/hash.h"
#include "model/model.h"
#include "optim/optim.h"
#include "task/task.h"
#include "tape/replay.h"
#include "test.h"

enum { BAGS = 2, PATCHES = 6, SIZE = 32, STEPS = 100, EPOCH_STEPS = 10, ALL = BAGS * PATCHES };

static sw_error err;
/* (bin, censored) of the two bags of the three batches */
static const int32_t TARGET[3][2 * BAGS] = {{0, 0, 1, 0}, {1, 0, 2, 1}, {3, 0, 0, 1}};

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

typedef struct rig {
    sw_backend *be;
    sw_model *model, *ema, *start;
    sw_optim *optim;
    const sw_task *task;
    int batch; /* of the three */
} rig;

static int64_t label_of(const rig *r, int64_t bag)
{
    return r->task->survival ? TARGET[r->batch][2 * bag] : (r->batch + bag) % 3;
}

static sw_var *encode(void *ctx, sw_tape *tape, int64_t chunk, bool is_replay)
{
    const rig *r = ctx;
    enum { PER_PATCH = 3 * SIZE * SIZE };
    static double v[ALL * PER_PATCH];
    sw_tensor x = {0};
    sw_nn_mode mode = sw_nn_mode_train(0, 0);
    (void)chunk;
    mode.update_running = !is_replay;
    for (int64_t i = 0; i < ALL * PER_PATCH; i++) {
        int64_t label = label_of(r, i / (PATCHES * PER_PATCH)), channel = i / (SIZE * SIZE) % 3;
        v[i] = golden_hashed(i, 2000 + r->batch) * (0.5 + 0.5 * (double)label) + (double)((label + channel) % 3) - 1.0;
    }
    if (sw_tensor_new(&r->be->device, SW_F32, SW_SHAPE(ALL, 3, SIZE, SIZE), &x, &err) != SW_OK ||
        sw_tensor_upload_f64(&x, v, &err) != SW_OK)
        sw_tape_fail(tape, err.code, "%s", err.message);
    sw_var *out = sw_model_encode(r->model, tape, sw_tape_constant(tape, &x), &mode);
    sw_tensor_release(&x);
    return out;
}

static sw_var *head(void *ctx, sw_tape *tape, sw_var *features)
{
    const rig *r = ctx;
    sw_tensor targets = {0};
    sw_nn_mode mode = sw_nn_mode_train(0, 0);
    const int32_t label[BAGS] = {(int32_t)label_of(r, 0), (int32_t)label_of(r, 1)};
    const int32_t *given = r->task->survival ? TARGET[r->batch] : label;
    if (sw_tensor_from(&r->be->device, SW_I32, sw_task_target_shape(r->task, BAGS), given, &targets, &err) != SW_OK)
        sw_tape_fail(tape, err.code, "%s", err.message);
    sw_var *bags = sw_reshape(tape, features, SW_SHAPE(BAGS, PATCHES, sw_model_dim(r->model)));
    sw_var *logits = sw_model_aggregate(r->model, tape, bags, &mode).logits;
    sw_var *loss = r->task->loss(r->task, tape, logits, sw_tape_constant(tape, &targets));
    sw_tensor_release(&targets);
    return loss;
}

static sw_status train_step(rig *r, int step, double *loss)
{
    static const sw_schedule schedule = {.kind = SW_SCHEDULE_COSINE, .lr = 4e-6, .min_lr = 1e-7, .warmup_lr = 1e-6, .epochs = 10,
                                         .warmup_epochs = 3};
    sw_tensor value = {0};
    sw_replay replay = {.ctx = r, .chunks = 1, .encode = encode, .head = head};
    r->batch = step % 3;
    SW_TRY(sw_replay_run(r->be, &replay, &value, &err));
    sw_status status = sw_tensor_download_f64(&value, loss, &err);
    sw_tensor_release(&value);
    SW_TRY(status);
    SW_TRY(sw_optim_step(r->optim, sw_schedule_lr(&schedule, step / EPOCH_STEPS), 1.0, NULL, &err));
    return sw_model_lerp(r->ema, r->model, 0.05, &err);
}

static sw_status rig_new(rig *r, bool survival)
{
    sw_model_options mo = sw_model_options_default();
    sw_optim_options oo = sw_optim_options_default();
    r->task = sw_task_get(survival ? SW_CFG_SURVIVAL : SW_CFG_CLASSIFICATION);
    mo.mil.inner_dim = 64;
    mo.mil.heads = 4;
    mo.mil.classes = survival ? 4 : 3;
    mo.mil.dropout = 0.0;
    mo.mil.act = SW_ACT_GELU;
    mo.mil.norm = SW_MIL_NORM_LAYER;
    mo.mil.bias = false;
    mo.mil.attn_plus = SW_PLUS_LEARNABLE;
    oo.weight_decay = 1e-2;
    SW_TRY(sw_backend_new("cpu", &(sw_backend_options){.threads = 1}, &r->be, &err));
    SW_TRY(sw_model_new(r->be, SW_F32, &mo, &r->model, &err));
    if (!fill(r->model)) return SW_E_INTERNAL;
    SW_TRY(sw_model_twin(r->model, &r->ema, &err));
    SW_TRY(sw_model_twin(r->model, &r->start, &err));
    SW_TRY(sw_optim_new(r->be, sw_model_slab(r->model), &oo, &r->optim, &err));
    return sw_model_zero_grad(r->model, &err);
}

static void rig_free(rig *r)
{
    sw_optim_free(r->optim);
    sw_model_free(r->start);
    sw_model_free(r->ema);
    sw_model_free(r->model);
    sw_backend_free(r->be);
}

/* ---- the final weights */

typedef struct worst {
    double value, way; /* of a tensor: error over its norm; of the way it went: error over the way's length */
    int tensors;
} worst;

static double number(const sw_csv *csv, size_t row, size_t column)
{
    double value = NAN;
    return sw_parse_double(sw_csv_cell(csv, row, column), &value) ? value : NAN;
}

/* Norm and projection of a tensor, and of its way from the start, against row `row`; `stream` of the hashed numbers. */
static bool compare(const rig *r, sw_model *view, const sw_csv *golden, size_t row, int64_t stream, worst *w)
{
    sw_slab *slab = sw_model_slab(view);
    const char *name = sw_csv_cell(golden, row, 2);
    int at = -1;
    for (int e = 0; e < sw_slab_entries(slab); e++) {
        if (strcmp(sw_slab_name(slab, e), name) == 0) at = e;
    }
    if (at < 0) return sw_test_fail(__FILE__, __LINE__, "there is no tensor %s", name);
    int64_t n = sw_shape_count(sw_slab_shape(slab, at));
    SW_AUTOFREE double *v = sw_calloc((size_t)n, sizeof *v);
    SW_AUTOFREE double *v0 = sw_calloc((size_t)n, sizeof *v0);
    if (sw_tensor_download_f64(sw_slab_value(slab, at), v, &err) != SW_OK ||
        sw_tensor_download_f64(sw_slab_value(sw_model_slab(r->start), at), v0, &err) != SW_OK)
        return sw_test_fail(__FILE__, __LINE__, "%s", err.message);
    double norm = 0, projection = 0, moved = 0, moved_projection = 0;
    for (int64_t i = 0; i < n; i++) {
        double h = golden_hashed(i, stream), d = v[i] - v0[i];
        norm += v[i] * v[i];
        projection += v[i] * h;
        moved += d * d;
        moved_projection += d * h;
    }
    double size = number(golden, row, 3), length = number(golden, row, 5);
    w->value = fmax(w->value, fmax(fabs(sqrt(norm) - size), fabs(projection - number(golden, row, 4))) / size);
    w->way = fmax(w->way, fmax(fabs(sqrt(moved) - length), fabs(moved_projection - number(golden, row, 6))) / length);
    w->tensors++;
    return true;
}

static worst compare_all(const rig *r, const char *view)
{
    SW_CLEANUP(sw_csv_free_ptr) sw_csv *golden = NULL;
    SW_AUTOFREE char *path = sw_path_join(sw_test_source(), "golden/trajectory_weights.csv");
    worst w = {0};
    int64_t stream = 5000;
    if (sw_csv_read(path, true, &golden, &err) != SW_OK) {
        sw_test_fail(__FILE__, __LINE__, "%s", err.message);
        return w;
    }
    for (size_t row = 0; row < sw_csv_rows(golden); row++) {
        if (strcmp(sw_csv_cell(golden, row, 0), r->task->survival ? "survival" : "classes") != 0 ||
            strcmp(sw_csv_cell(golden, row, 1), view) != 0)
            continue;
        if (!compare(r, strcmp(view, "ema") == 0 ? r->ema : r->model, golden, row, stream++, &w)) break;
    }
    return w;
}

static void run(bool survival)
{
    SW_CLEANUP(sw_csv_free_ptr) sw_csv *golden = NULL;
    SW_CLEANUP(rig_free) rig r = {0};
    SW_AUTOFREE char *path = sw_path_join(sw_test_source(), "golden/trajectory_losses.csv");
    double farthest = 0.0, relative = 0.0;
    CHECK_OK(sw_csv_read(path, true, &golden, &err));
    CHECK_INT(sw_csv_rows(golden), STEPS);
    CHECK_OK(rig_new(&r, survival));
    for (int i = 0; i < STEPS; i++) {
        double loss = NAN, expected = number(golden, (size_t)i, survival ? 2 : 1);
        CHECK_OK(train_step(&r, i, &loss));
        farthest = fmax(farthest, fabs(loss - expected) / fmax(expected, 1.0));
        relative = fmax(relative, fabs(loss - expected) / expected);
        if (!(fabs(loss - expected) <= 1e-4 * fmax(expected, 1.0)))
            sw_test_fail(__FILE__, __LINE__, "step %d: loss is %.9g, PyTorch's %.9g", i, loss, expected);
    }
    for (int v = 0; v < 2; v++) {
        worst w = compare_all(&r, v ? "ema" : "main");
        printf("# %s, %s: %d tensors within %.2e of PyTorch's, their ways within %.2e; losses within %.2e (%.2e of themselves)\n",
               survival ? "survival" : "classes", v ? "moving average" : "weights", w.tensors, w.value, w.way, farthest, relative);
        CHECK_INT(w.tensors, 86);
        CHECK(w.value <= 1e-3);
        CHECK(w.way <= 1e-1);
    }
}

TEST(a_hundred_steps_of_classes)
{
    run(false);
}

TEST(a_hundred_steps_of_survival)
{
    run(true);
}
