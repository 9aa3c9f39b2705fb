/* SPDX-License-Identifier: Apache-2.0 */
/* What a training would take: the configuration is checked with whatever of its data is there; the model is built, and a few
 * patches of noise go through it. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "sampler/sampler.h"
#include "train/step.h"
#include "train/trainer.h"

enum { MEASURED = 32, WARM = 4 };       /* patches, */
enum { MEASURED_ROWS = 1024 };          /* and where they are features */
enum { LARGE_SLIDE = 10000 };           /* patches of the largest slide, where no store tells */
enum { TRAIN_CHUNK = 128 };             /* without run.memory */

typedef struct plan {
    sw_trainer t;
    sw_train_plan *out;
    bool quick;
    int64_t largest; /* patches of the largest slide */
    int64_t looked_at; /* patches of the training bags, where the sampler looks at all of them in each epoch; -1: not known */
} plan;

static void note(plan *p, const char *fmt, ...) SW_PRINTF(2, 3);
static void note(plan *p, const char *fmt, ...)
{
    enum { NOTES = sizeof(p->out->note) / sizeof(p->out->note[0]) };
    if (p->out->n_notes == NOTES) return;
    va_list args;
    va_start(args, fmt);
    int written = sw_vsnprintf(p->out->note[p->out->n_notes], sizeof p->out->note[0], fmt, args);
    va_end(args);
    if (written >= 0) p->out->n_notes++;
}

/* Is this path to be used? If not, why not is noted. */
static bool given(plan *p, const char *key, const char *value, const char *lacks)
{
    if (value[0] == '\0') note(p, "%s is not set: %s", key, lacks);
    else if (sw_is_placeholder(value)) note(p, "%s is to be filled in (%s): %s", key, value, lacks);
    else return true;
    return false;
}

/* ---- data */

static sw_status known_dataset(plan *p, sw_error *err)
{
    sw_trainer *t = &p->t;
    const sw_config *c = &t->config;
    sw_train_plan *o = p->out;
    sw_dataset_slides slides = {.store = t->store};
    SW_TRY(sw_dataset_load(c, t->store ? &slides : NULL, true, t->sink, &t->dataset, err));
    SW_TRY(sw_task_class_weights(c, t->dataset, &t->class_weight, err));
    SW_AUTOFREE int64_t *wanted = sw_calloc((size_t)t->dataset->n_classes, sizeof *wanted);
    if (!wanted) return sw_nomem(err);
    const int64_t *count = sw_dataset_class_counts(t->dataset, SW_SPLIT_TRAIN);
    o->train_bags = t->dataset->bags[SW_SPLIT_TRAIN];
    if (c->train.oversample > 0)
        o->train_bags = sw_oversample_counts(t->dataset->n_classes, count, c->train.oversample, wanted);
    o->val_bags = t->dataset->bags[SW_SPLIT_VAL];
    o->test_bags = t->dataset->bags[SW_SPLIT_TEST];
    o->steps_per_epoch = sw_sample_steps(o->train_bags, c->train.batch_bags, c->train.drop_last);
    o->steps = o->steps_per_epoch * c->train.epochs;
    return SW_OK;
}

static void count_patches(plan *p)
{
    sw_trainer *t = &p->t;
    p->out->val_patches = p->out->test_patches = p->looked_at = 0;
    for (int64_t i = 0; i < t->dataset->n_bags; i++) {
        const sw_bag *bag = &t->dataset->bag[i];
        int64_t n = sw_bag_patches(t->store, bag, t->scales.mpp_um[t->scales.eval]);
        if (n > p->largest) p->largest = n;
        if (bag->split == (t->config.train.select_on_test ? SW_SPLIT_TEST : SW_SPLIT_VAL)) p->out->val_patches += n;
        if (bag->split == SW_SPLIT_TEST) p->out->test_patches += n;
        if (bag->split == SW_SPLIT_TRAIN) p->looked_at += sw_bag_patches(t->store, bag, t->scales.mpp_um[0]);
    }
}

/* The store, the table, and what both say together, as far as they are there. */
static sw_status look_at_data(plan *p, sw_error *err)
{
    sw_trainer *t = &p->t;
    const sw_config *c = &t->config;
    bool features = *c->data.features;
    bool store = features ? given(p, "data.features", c->data.features, "slides and their features are not checked, which are taken to be 1024 wide")
                          : given(p, "data.store", c->data.store, "slides and their patches are not checked");
    if (store && !features && strcmp(c->data.store, "none") == 0) {
        store = given(p, "data.slides", c->data.slides, "slides and their patches are not checked");
        store = given(p, "data.coords", c->data.coords, "where patches lie is not checked") && store;
    }
    bool labels = given(p, "data.labels", c->data.labels, "bags, steps and hours are not known");
    given(p, "run.out", c->run.out, "train needs it");
    p->largest = LARGE_SLIDE;
    p->out->bag_patches = c->bag.patches > 0 ? sw_config_bag_patches(c) : LARGE_SLIDE;
    if (c->bag.patches == 0 && !(store && labels)) note(p, "bag.patches is 0: a bag of %d patches is assumed", LARGE_SLIDE);
    if (store) SW_TRY(sw_trainer_open_store(t, err));
    if (!labels) return SW_OK;
    SW_TRY(known_dataset(p, err));
    if (!store) return SW_OK;
    SW_TRY(sw_bag_scales_resolve(c, t->store, t->dataset, &t->scales, err));
    p->out->bag_patches = t->scales.plan.total;
    p->largest = 1;
    count_patches(p);
    return SW_OK;
}

/* Outputs of the model: by the table, else by the configuration. */
static sw_status outputs_of(plan *p, int *out, sw_error *err)
{
    const sw_config *c = &p->t.config;
    const char *metric = NULL;
    int n = 2;
    if (p->t.dataset) n = p->t.dataset->n_classes;
    else if (c->task.type == SW_CFG_SURVIVAL) n = (int)c->task.survival.bins;
    else if (c->task.classes.count > 0) n = (int)c->task.classes.count;
    else note(p, "task.classes is not set: two classes are assumed");
    *out = p->t.task.outputs(n);
    return sw_task_metric(&p->t.task, n, c->train.metric, &metric, err);
}

/* ---- the model */

static void tape_drop(sw_tape **tape)
{
    sw_tape_free(*tape);
}

static sw_status noise(const sw_trainer *t, sw_shape shape, sw_tensor *out, sw_error *err)
{
    int64_t n = sw_shape_count(&shape);
    SW_AUTOFREE float *host = sw_malloc((size_t)n * sizeof *host);
    if (!host) return sw_nomem(err);
    for (int64_t i = 0; i < n; i++) host[i] = (float)((i * 7919) % 1009) / 504.5f - 1.0f;
    return sw_tensor_from(&t->be->device, SW_F32, shape, host, out, err);
}

/* What comes in: pixels, or features. */
static sw_shape input_shape(const sw_trainer *t, int64_t n)
{
    int64_t px = t->config.augment.crop_px;
    return sw_model_has_encoder(t->model) ? SW_SHAPE(n, 3, px, px) : SW_SHAPE(n, sw_model_dim(t->model));
}

/* Forward, without a gradient: encoder for n patches [n, 3, px, px], or aggregator for a bag of n [1, n, dim]. */
static sw_status forward(const sw_trainer *t, int64_t n, bool encoder, double *macs, double *seconds, sw_error *err)
{
    SW_CLEANUP(tape_drop) sw_tape *tape = NULL;
    SW_CLEANUP(sw_tensor_release) sw_tensor x = {0};
    sw_nn_mode mode = sw_nn_mode_eval();
    SW_TRY(noise(t, encoder ? input_shape(t, n) : SW_SHAPE(1, n, sw_model_dim(t->model)), &x, err));
    int64_t begun = sw_now_ns();
    SW_TRY(sw_tape_new(t->be, false, &tape, err));
    sw_var *in = sw_tape_constant(tape, &x);
    if (encoder) (void)sw_model_encode(t->model, tape, in, &mode);
    else (void)sw_model_aggregate(t->model, tape, in, &mode);
    SW_TRY(sw_tape_status(tape, err));
    *seconds = (double)(sw_now_ns() - begun) * 1e-9;
    *macs = sw_tape_macs(tape);
    return SW_OK;
}

/* The aggregator's MACs grow with the square of a bag's patches at most: three small bags tell them for any. */
static sw_status count_macs(plan *p, sw_error *err)
{
    enum { UNIT = 8 };
    double y[3], seconds, n = (double)p->out->bag_patches / UNIT;
    if (sw_model_has_encoder(p->t.model)) SW_TRY(forward(&p->t, 1, true, &p->out->patch_macs, &seconds, err));
    else p->out->patch_macs = 0.0;
    for (int i = 0; i < 3; i++) SW_TRY(forward(&p->t, (i + 1) * UNIT, false, &y[i], &seconds, err));
    double square = (y[2] - 2.0 * y[1] + y[0]) / 2.0, slope = y[1] - y[0] - 3.0 * square;
    double bag = y[0] + slope * (n - 1.0) + square * (n * n - 1.0);
    p->out->bag_macs = bag + p->out->patch_macs * (double)p->out->bag_patches;
    return SW_OK;
}

static sw_status noisy_pixels(void *ctx, int64_t chunk, sw_tensor *out, sw_error *err)
{
    const sw_trainer *t = ctx;
    (void)chunk;
    return noise(t, input_shape(t, t->state.chunk_patches), out, err);
}

/* A step of one bag of n patches, in as many passes as a real step takes. */
static sw_status time_step(plan *p, int64_t n, double *seconds, sw_error *err)
{
    sw_trainer *t = &p->t;
    int64_t step = p->out->bag_patches * t->config.train.batch_bags;
    int64_t chunk = step > p->out->chunk_patches && n > 1 ? n / 2 : n;
    int32_t targets[2] = {0, 1};
    double loss = 0.0;
    sw_batch batch = {.n_bags = 1, .bag_patches = n / chunk * chunk, .label = targets};
    sw_step_options so = {.task = &t->task, .targets = targets, .chunk_patches = chunk, .pixels = noisy_pixels, .ctx = t};
    t->state.chunk_patches = chunk; /* for noisy_pixels */
    int64_t begun = sw_now_ns();
    SW_TRY(sw_train_step(t->model, &batch, &so, &loss, err));
    *seconds = (double)(sw_now_ns() - begun) * 1e-9;
    return SW_OK;
}

static sw_status measure_speed(plan *p, sw_error *err)
{
    sw_train_plan *o = p->out;
    double macs, seconds;
    bool pixels = sw_model_has_encoder(p->t.model);
    int64_t most = pixels ? MEASURED : MEASURED_ROWS, n = p->out->chunk_patches < most ? p->out->chunk_patches : most;
    if (o->bag_patches * o->batch_bags < n) n = o->bag_patches * o->batch_bags;
    SW_TRY(forward(&p->t, n, pixels, &macs, &seconds, err)); /* the first pass pays for memory and plans */
    SW_TRY(forward(&p->t, n, pixels, &macs, &seconds, err));
    o->eval_patches_per_second = (double)n / seconds;
    SW_TRY(time_step(p, n < WARM ? n : WARM, &seconds, err));
    SW_TRY(time_step(p, n, &seconds, err));
    o->train_patches_per_second = (double)n / seconds;
    if (o->train_bags < 0) return SW_OK;
    double epoch = (double)(o->steps_per_epoch * o->batch_bags < o->train_bags ? o->steps_per_epoch * o->batch_bags : o->train_bags);
    double total = (double)o->epochs * epoch * (double)o->bag_patches / o->train_patches_per_second;
    o->hours_without_val = o->val_patches < 0 && o->val_bags != 0;
    if (o->val_patches >= 0)
        total += ((double)o->epochs * (double)o->val_patches + (double)o->test_patches) / o->eval_patches_per_second;
    if (p->t.config.bag.sampler == SW_SAMPLER_ATTENTION || sw_trainer_clusters(&p->t)) {
        if (p->looked_at < 0) note(p, "hours are without the passes over all patches that bag.sampler takes");
        else total += (double)o->epochs * (double)p->looked_at / o->eval_patches_per_second;
    }
    o->hours = total / 3600.0;
    return SW_OK;
}

/* By a budget, or as train does without one. */
static sw_status measure_memory(plan *p, sw_error *err)
{
    sw_trainer *t = &p->t;
    sw_train_plan *o = p->out;
    double budget = sw_memory_budget(t->config.run.memory);
    for (int training = 1; training >= 0; training--) {
        sw_memory_cost cost;
        sw_memory_load load = {.patches = training ? o->batch_bags * o->bag_patches : p->largest, .waiting = training ? 2 : 3};
        SW_TRY(sw_memory_measure(t->model, (int)t->config.augment.crop_px, training, &cost, err));
        load.other = 2.0 * cost.held;
        int64_t chunk = training ? t->config.train.chunk_patches : t->config.eval.chunk_patches;
        if (chunk == 0 && budget > 0.0)
            SW_TRY(sw_memory_pick(&cost, &load, budget, training ? 0 : 64, "run.memory", &chunk, err));
        if (chunk == 0 && !sw_model_has_encoder(t->model)) chunk = load.patches;
        if (chunk == 0) chunk = training ? TRAIN_CHUNK : 64;
        if (chunk > load.patches) chunk = load.patches;
        if (training) o->chunk_patches = chunk;
        double total = sw_memory_total(&cost, &load, chunk);
        if (!(total < o->memory_bytes)) o->memory_bytes = total;
    }
    return SW_OK;
}

static sw_status look_at_weights(plan *p, const char *key, char *path, sw_error *err)
{
    SW_CLEANUP(sw_weights_close_ptr) sw_weights *w = NULL;
    if (!*path) return SW_OK;
    if (!sw_is_placeholder(path)) return p->quick ? sw_weights_open(path, &w, err) : SW_OK; /* at least it is there */
    note(p, "%s is to be filled in (%s): the file is not checked", key, path);
    path[0] = '\0';
    return SW_OK;
}

static sw_status look_at_model(plan *p, sw_error *err)
{
    sw_trainer *t = &p->t;
    sw_train_plan *o = p->out;
    int outputs = 0;
    SW_TRY(outputs_of(p, &outputs, err));
    bool blank = p->quick;
    SW_TRY(look_at_weights(p, "encoder.weights", t->config.encoder.weights, err));
    SW_TRY(look_at_weights(p, "aggregator.weights", t->config.aggregator.weights, err));
    SW_TRY(sw_trainer_make_model(t, outputs, blank, err));
    o->parameters = sw_model_params(t->model, NULL);
    o->encoder_parameters = sw_model_params(t->model, "encoder");
    snprintf(o->device, sizeof o->device, "%s, %d %s", t->be->device.name, t->be->threads, t->be->threads == 1 ? "thread" : "threads");
    SW_TRY(count_macs(p, err));
    if (p->quick) return SW_OK;
    if (!t->store && t->config.eval.chunk_patches == 0)
        note(p, "memory of evaluation is that of a slide of %d patches", LARGE_SLIDE);
    SW_TRY(measure_memory(p, err));
    return measure_speed(p, err);
}

static sw_status make(plan *p, sw_error *err)
{
    sw_trainer *t = &p->t;
    const sw_train_options *o = t->options;
    SW_TRY(sw_config_load(o->config_path, o->sets, o->n_sets, &t->config, err));
    t->task = sw_task_of(&t->config);
    p->out->epochs = t->config.train.epochs;
    p->out->batch_bags = t->config.train.batch_bags;
    SW_TRY(look_at_data(p, err));
    return look_at_model(p, err);
}

sw_status sw_train_plan_make(const sw_train_options *options, bool quick, sw_train_plan *out, sw_error *err)
{
    plan p = {.t = {.options = options, .sink = options->sink}, .out = out, .quick = quick, .looked_at = -1};
    *out = (sw_train_plan){.patch_macs = NAN, .bag_macs = NAN, .train_bags = -1, .val_bags = -1, .test_bags = -1, .val_patches = -1,
                           .test_patches = -1, .steps_per_epoch = -1, .steps = -1, .chunk_patches = -1, .memory_bytes = NAN,
                           .train_patches_per_second = NAN, .eval_patches_per_second = NAN, .hours = NAN};
    sw_status status = make(&p, err);
    sw_trainer_close(&p.t);
    return status;
}
