/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a run: configuration, store, labels, model, optimiser, and the run directory. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/mem.h"
#include "train/trainer.h"

bool sw_is_placeholder(const char *text)
{
    size_t n = strlen(text);
    return n > 2 && text[0] == '<' && text[n - 1] == '>';
}

static sw_status refuse_placeholder(const char *key, const char *value, sw_error *err)
{
    if (!sw_is_placeholder(value)) return SW_OK;
    return sw_error_set(err, SW_E_INVALID, "%s is still to be filled in: %s", key, value);
}

static sw_status load_config(sw_trainer *t, sw_error *err)
{
    const sw_train_options *o = t->options;
    SW_TRY(sw_config_load(o->config_path, o->sets, o->n_sets, &t->config, err));
    const sw_config *c = &t->config;
    SW_TRY(refuse_placeholder("data.store", c->data.store, err));
    SW_TRY(refuse_placeholder("data.slides", c->data.slides, err));
    SW_TRY(refuse_placeholder("data.coords", c->data.coords, err));
    SW_TRY(refuse_placeholder("data.features", c->data.features, err));
    SW_TRY(refuse_placeholder("data.labels", c->data.labels, err));
    SW_TRY(refuse_placeholder("encoder.weights", c->encoder.weights, err));
    SW_TRY(refuse_placeholder("aggregator.weights", c->aggregator.weights, err));
    SW_TRY(refuse_placeholder("run.out", c->run.out, err));
    if (!*c->data.store && !*c->data.features)
        return sw_error_set(err, SW_E_INVALID, "data.store is not set; tile the slides (slidewise tile SLIDES --store DIR) "
                                               "and name the store");
    if (!*c->data.labels)
        return sw_error_set(err, SW_E_INVALID, "data.labels is not set; name the CSV with the slides' labels");
    if (!*c->run.out) return sw_error_set(err, SW_E_INVALID, "run.out is not set; name the directory the run writes into");
    if (c->run.seed_per_fold) { /* what the run writes down is the seed that it used */
        t->config.run.seed += 100 * c->data.split.fold;
        t->config.run.seed_per_fold = false;
    }
    return SW_OK;
}

/* Makes RUN and RUN/checkpoints; refuses to overwrite a run unless it is resumed. */
static sw_status open_run_dir(sw_trainer *t, sw_error *err)
{
    const char *out = t->config.run.out;
    t->checkpoints = sw_path_join(out, "checkpoints");
    t->last = t->checkpoints ? sw_path_join(t->checkpoints, "last.safetensors") : NULL;
    t->previous = t->checkpoints ? sw_path_join(t->checkpoints, "previous.safetensors") : NULL;
    if (!t->last || !t->previous) return sw_nomem(err);
    SW_TRY(sw_mkdir_p(t->checkpoints, err));
    SW_TRY(sw_trainer_lock(t, err));
    if (!t->options->resume && (sw_path_exists(t->last) || sw_path_exists(t->previous)))
        return sw_error_set(err, SW_E_INVALID,
                            "%s: holds a run already; go on with it (--resume) or choose another run.out", out);
    /* A kill within a file's writing leaves the part that was written, and checkpoints are large. */
    SW_TRY(sw_dir_remove_leftovers(out, err));
    return sw_dir_remove_leftovers(t->checkpoints, err);
}

/* Patches stay on their slides. */
static sw_status open_slides(sw_trainer *t, sw_error *err)
{
    const sw_config *c = &t->config;
    SW_CLEANUP(sw_slide_list_free) sw_slide_list list = {0};
    sw_store_slides_options o = sw_store_slides_options_default();
    const char *operand = c->data.slides;
    if (!*c->data.coords)
        return sw_error_set(err, SW_E_INVALID, "data.store is none, and data.coords is not set; name the folder of coordinates "
                                               "(slidewise tile SLIDES --trident DIR)");
    if (!*c->data.slides)
        return sw_error_set(err, SW_E_INVALID, "data.store is none, and data.slides is not set; name the folder of the slides");
    SW_TRY(sw_slide_list_expand(&operand, 1, &list, err));
    o.slides = &list;
    o.coords = c->data.coords;
    o.slide_mpp_um = c->data.image_mpp;
    for (size_t i = 0; i < c->bag.scales.count && i < SW_STORE_MAX_SCALES; i++) o.mpp_um[o.n_mpp++] = c->bag.scales.item[i].mpp_um;
    o.exact = c->data.exact;
    o.cache_bytes = c->data.cache_mb << 20;
    o.threads = (int)(c->run.workers > 0 ? c->run.workers : c->run.threads);
    o.sink = t->sink;
    return sw_store_open_slides(&o, &t->store, err);
}

static sw_status open_features(sw_trainer *t, sw_error *err)
{
    const sw_config *c = &t->config;
    sw_store_features_options o = sw_store_features_options_default();
    o.path = c->data.features;
    o.cache_bytes = c->data.cache_mb << 20;
    o.threads = (int)(c->run.workers > 0 ? c->run.workers : c->run.threads);
    o.sink = t->sink;
    return sw_store_open_features(&o, &t->store, err);
}

sw_status sw_trainer_open_store(sw_trainer *t, sw_error *err)
{
    const sw_config *c = &t->config;
    if (*c->data.features) return open_features(t, err);
    if (strcmp(c->data.store, "none") == 0) return open_slides(t, err);
    SW_TRY(sw_store_open(c->data.store, &t->store, err));
    for (size_t i = 0; i < sw_store_part_count(t->store); i++) {
        const sw_store_part *part = sw_store_part_get(t->store, i);
        if (part->unfinished)
            sw_log_warning(t->sink, "store %s: tiling it goes on or was stopped, so that slides are missing; run its slidewise tile --shard again", part->path);
    }
    return SW_OK;
}

static sw_status load_data(sw_trainer *t, sw_error *err)
{
    const sw_config *c = &t->config;
    SW_TRY(sw_trainer_open_store(t, err));
    sw_dataset_slides slides = {.store = t->store};
    SW_TRY(sw_dataset_load(c, &slides, true, t->sink, &t->dataset, err));
    SW_TRY(sw_bag_scales_resolve(c, t->store, t->dataset, &t->scales, err));
    t->task = sw_task_of(c);
    SW_TRY(sw_task_class_weights(c, t->dataset, &t->class_weight, err));
    t->task.class_weight = t->class_weight;
    t->selects_on = c->train.select_on_test ? SW_SPLIT_TEST : SW_SPLIT_VAL;
    if (c->train.select_on_test)
        sw_log_warning(t->sink, "train.select_on_test: the best epoch is chosen on the test set, so the numbers told of it are too good");
    const char *metric = NULL;
    SW_TRY(sw_task_metric(&t->task, t->dataset->n_classes, c->train.metric, &metric, err));
    t->metric = sw_metric_find(metric);
    if (t->metric < 0) return sw_error_set(err, SW_E_INTERNAL, "the task's metric '%s' is unknown to evaluation", metric);
    return SW_OK;
}

static sw_model_options model_options(const sw_config *c, int outputs)
{
    sw_model_options o = sw_model_options_default();
    o.encoder = c->encoder.name;
    o.frozen = c->encoder.frozen;
    o.frozen_until = c->encoder.frozen_until;
    o.batch_stats = c->encoder.eval_stats == SW_CFG_STATS_BATCH;
    o.aggregator = c->aggregator.name;
    o.seed = (uint64_t)c->run.seed;
    o.mil.inner_dim = (int)c->aggregator.inner_dim;
    o.mil.heads = (int)c->aggregator.heads;
    o.mil.classes = outputs;
    o.mil.dropout = c->aggregator.dropout;
    o.mil.act = c->aggregator.act == SW_CFG_ACT_GELU   ? SW_ACT_GELU
                : c->aggregator.act == SW_CFG_ACT_RELU ? SW_ACT_RELU
                                                       : SW_ACT_NONE;
    o.mil.norm = c->aggregator.norm == SW_CFG_NORM_LN ? SW_MIL_NORM_LAYER : SW_MIL_NORM_NONE;
    o.mil.bias = c->aggregator.bias;
    o.mil.attn_bias = c->aggregator.attn_bias;
    o.mil.attn_plus = c->aggregator.attn_plus == SW_CFG_PLUS_LEARNABLE ? SW_PLUS_LEARNABLE
                      : c->aggregator.attn_plus == SW_CFG_PLUS_FIXED   ? SW_PLUS_FIXED
                                                                       : SW_PLUS_OFF;
    o.mil.alpha = c->aggregator.alpha;
    o.mil.ffn = c->aggregator.ffn;
    o.mil.attn_hidden = c->aggregator.attn_hidden;
    o.mil.attn_gated = c->aggregator.attn_gated;
    o.mil.embed_new = c->aggregator.embed_new;
    o.mil.hidden = (int)c->aggregator.hidden;
    o.mil.layers = (int)c->aggregator.layers;
    o.mil.pos = c->aggregator.pos == SW_CFG_POS_PPEG     ? SW_POS_PPEG
                : c->aggregator.pos == SW_CFG_POS_NONE   ? SW_POS_NONE
                : c->aggregator.pos == SW_CFG_POS_SINCOS ? SW_POS_SINCOS
                                                         : SW_POS_AUTO;
    o.mil.regions = (int)c->aggregator.regions;
    o.mil.epeg = (int)c->aggregator.epeg;
    o.mil.crmsa = (int)c->aggregator.crmsa;
    o.mil.crmsa_heads = (int)c->aggregator.crmsa_heads;
    o.mil.subtyping = c->aggregator.subtyping;
    o.mil.instance_ce = c->aggregator.instance_loss == SW_CFG_INSTANCE_CE;
    o.mil.instances = (int)c->aggregator.instances;
    o.mil.bag_weight = c->aggregator.bag_weight;
    o.mil.shortcut = c->aggregator.shortcut;
    o.mil.cross_bag = c->aggregator.cross_bag_reference;
    o.mil.slide_weight = c->aggregator.slide_loss;
    o.mil.patch_weight = c->aggregator.patch_loss;
    o.mil.cluster_weight = c->aggregator.cluster_loss;
    o.mil.gate_weight = c->aggregator.gate_loss;
    o.mil.gate_share = c->aggregator.gate_share;
    o.mil.topk = (int)c->aggregator.topk;
    o.mil.blocks = (int)c->aggregator.blocks;
    o.mil.state = (int)c->aggregator.state;
    o.mil.canvas_rows = (int)c->aggregator.canvas_rows;
    o.mil.canvas_columns = (int)c->aggregator.canvas_columns;
    o.mil.pool = c->aggregator.pool == SW_CFG_POOL_MEAN ? SW_POOL_MEAN : c->aggregator.pool == SW_CFG_POOL_MAX ? SW_POOL_MAX : SW_POOL_ATTN;
    o.mil.gate_dot = c->aggregator.gate == SW_CFG_GATE_DOT;
    o.mil.groups = (int)c->aggregator.groups;
    o.mil.distill = c->aggregator.distill == SW_CFG_DISTILL_MAXS      ? SW_DISTILL_MAXS
                    : c->aggregator.distill == SW_CFG_DISTILL_MAXMINS ? SW_DISTILL_MAXMINS
                    : c->aggregator.distill == SW_CFG_DISTILL_MAS     ? SW_DISTILL_MAS
                                                                      : SW_DISTILL_AFS;
    o.mil.shuffle = c->aggregator.shuffle;
    o.mil.organ = (int)c->aggregator.organ - (int)SW_CFG_ORGAN_BRAIN;
    o.mil.dilations = (int)c->aggregator.dilations;
    o.mil.segment_first = (int)c->aggregator.segment_first;
    o.mil.segment_last = (int)c->aggregator.segment_last;
    return o;
}

static bool is_frozen(const void *ctx, int entry)
{
    return sw_model_entry_frozen(ctx, entry);
}

sw_status sw_trainer_make_model(sw_trainer *t, int outputs, bool blank, sw_error *err)
{
    const sw_config *c = &t->config;
    static const char *const precision[] = {
        [SW_CFG_PRECISION_AUTO] = "auto", [SW_CFG_FP32] = "fp32", [SW_CFG_BF16] = "bf16"};
    sw_backend_options bo = {.threads = (int)c->run.threads, .deterministic = c->run.deterministic};
    sw_model_options mo = model_options(c, outputs);
    SW_TRY(sw_backend_new(c->run.backend, &bo, &t->be, err));
    SW_TRY(sw_backend_precision(t->be, precision[c->run.precision], &t->use.activations, err));
    mo.blank = blank;
    mo.blank_encoder = *c->encoder.weights != '\0';
    if (*c->data.features) mo.mil.input_dim = t->store ? sw_store_feature_dim(t->store) : SW_ASSUMED_DIM;
    SW_TRY(sw_model_new(t->be, SW_F32, &mo, &t->model, err));
    sw_model_set_activations(t->model, t->use.activations);
    if (*c->encoder.weights && !blank) SW_TRY(sw_model_load_encoder(t->model, c->encoder.weights, err));
    int taken = 0;
    if (*c->aggregator.weights && !blank) SW_TRY(sw_model_load_aggregator(t->model, c->aggregator.weights, &taken, err));
    SW_TRY(sw_model_zero_grad(t->model, err));
    if (c->train.ema > 0.0) SW_TRY(sw_model_twin(t->model, &t->ema, err));
    sw_optim_options oo = sw_optim_options_default();
    oo.kind = c->train.optimizer == SW_CFG_SGD    ? SW_OPTIM_SGD
              : c->train.optimizer == SW_CFG_ADAM ? SW_OPTIM_ADAM
                                                  : SW_OPTIM_ADAMW;
    oo.beta1 = c->train.beta1;
    oo.beta2 = c->train.beta2;
    oo.eps = c->train.eps;
    oo.momentum = c->train.momentum;
    oo.nesterov = c->train.nesterov;
    oo.weight_decay = c->train.weight_decay;
    oo.decay_matrices = c->train.decay == SW_CFG_DECAY_MATRICES;
    oo.lr_group = c->train.encoder_lr > 0.0 ? "encoder" : NULL;
    oo.skip_bad = c->train.grad_scaling == SW_CFG_GRAD_SCALING_DYNAMIC;
    oo.clip_norm = c->train.clip;
    oo.skips = is_frozen;
    oo.skip_ctx = t->model;
    SW_TRY(sw_optim_new(t->be, sw_model_slab(t->model), &oo, &t->optim, err));
    t->schedule = (sw_schedule){.kind = c->train.schedule == SW_CFG_COSINE ? SW_SCHEDULE_COSINE
                                        : c->train.schedule == SW_CFG_STEP ? SW_SCHEDULE_STEP
                                                                           : SW_SCHEDULE_CONST,
                                .lr = c->train.lr,
                                .min_lr = c->train.min_lr,
                                .warmup_lr = c->train.warmup_lr,
                                .epochs = (int)c->train.epochs,
                                .warmup_epochs = (int)c->train.warmup_epochs,
                                .warmup_updates = c->train.warmup_updates,
                                .step_epochs = (int)c->train.step_epochs,
                                .step_factor = c->train.step_factor};
    for (size_t i = 0; i < c->train.step_at.count && t->schedule.n_steps < SW_SCHEDULE_STEPS; i++)
        t->schedule.step_at[t->schedule.n_steps++] = (int)strtol(c->train.step_at.item[i], NULL, 10); /* checked with the configuration */
    t->encoder_schedule = t->schedule;
    t->encoder_schedule.lr = c->train.encoder_lr;
    return SW_OK;
}

/* What the model's outputs are called: classes, or bins of time with the edges between them, or one risk. */
static sw_status describe_outputs(sw_trainer *t, sw_error *err)
{
    const sw_dataset *d = t->dataset;
    sw_model_use *u = &t->use;
    int outputs = t->task.outputs(d->n_classes);
    u->survival = t->task.survival;
    u->class_name = sw_calloc((size_t)outputs, sizeof *u->class_name);
    u->edge = sw_calloc((size_t)outputs, sizeof *u->edge);
    if (!u->class_name || !u->edge) return sw_nomem(err);
    for (; u->n_classes < outputs; u->n_classes++) {
        const char *name = outputs == d->n_classes ? d->class_name[u->n_classes] : "risk";
        u->class_name[u->n_classes] = sw_strdup(name);
        if (!u->class_name[u->n_classes]) return sw_nomem(err);
    }
    for (int k = 0; u->survival && k + 1 < outputs; k++) u->edge[k] = d->edge[k];
    return SW_OK;
}

static sw_status describe_use(sw_trainer *t, sw_error *err)
{
    sw_model_use *u = &t->use;
    SW_TRY(sw_tile_settings_of(t->store, &u->tiling, err));
    SW_TRY(describe_outputs(t, err));
    u->backend = sw_strdup(t->config.run.backend);
    if (!u->backend) return sw_nomem(err);
    u->eval_mpp_um = t->scales.mpp_um[t->scales.eval];
    u->crop_px = (int)t->config.augment.crop_px;
    u->channel_order = t->config.encoder.channel_order;
    u->normalise = t->config.encoder.normalise;
    u->deterministic = t->config.run.deterministic;
    u->chunk_patches = t->config.eval.chunk_patches;
    return SW_OK;
}

static sw_status make_loader(sw_trainer *t, sw_error *err)
{
    const sw_config *c = &t->config;
    sw_loader_options lo = sw_loader_options_of(c);
    lo.places = sw_aggregator_uses_places(c->aggregator.name);
    lo.keep_bytes = t->keep_bytes;
    if (sw_store_feature_dim(t->store) > 0) lo.ahead = SW_FEATURES_AHEAD;
    int workers = (int)(c->run.workers > 0 ? c->run.workers : c->run.threads); /* 0: at most all CPUs */
    SW_TRY(sw_pool_new(workers, &t->pool, err));
    sw_pool_step_back(t->pool, 10); /* they fill the gaps that computing leaves */
    return sw_loader_new(t->store, t->dataset, SW_SPLIT_TRAIN, &t->scales, &lo, t->pool, &t->loader, err);
}

static sw_status write_description(sw_trainer *t, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf json = {0};
    sw_json_writer w;
    SW_AUTOFREE char *config = sw_path_join(t->config.run.out, "config.yaml");
    SW_AUTOFREE char *dataset = sw_path_join(t->config.run.out, "dataset.json");
    if (!config || !dataset) return sw_nomem(err);
    SW_TRY(sw_config_write_yaml(&t->config, config, err));
    sw_json_begin(&w, &json, 2);
    sw_dataset_json(t->dataset, &w);
    sw_buf_puts(&json, "\n");
    SW_TRY(sw_buf_status(&json, err));
    return sw_file_write(dataset, json.data, json.size, err);
}

/* What the result depends on: the configuration and the table. */
static uint64_t run_hash(const sw_trainer *t)
{
    uint64_t parts[2] = {sw_config_hash(&t->config), sw_dataset_hash(t->dataset)};
    return sw_hash64(parts, sizeof parts);
}

sw_status sw_trainer_open(sw_trainer *t, const sw_train_options *options, sw_error *err)
{
    *t = (sw_trainer){.options = options, .sink = options->sink, .saved_ns = sw_now_ns()};
    SW_TRY(load_config(t, err));
    SW_TRY(load_data(t, err));
    SW_TRY(open_run_dir(t, err));
    SW_TRY(sw_trainer_make_model(t, t->task.outputs(t->dataset->n_classes), false, err));
    if (options->resume) SW_TRY(sw_trainer_find_checkpoint(t, err));
    bool resumed = t->from != NULL;
    SW_TRY(sw_trainer_choose_chunks(t, resumed, err));
    SW_TRY(describe_use(t, err));
    SW_TRY(make_loader(t, err));
    t->state = sw_train_state_start(run_hash(t));
    t->state.grad_scale = t->config.train.grad_scaling == SW_CFG_GRAD_SCALING_DYNAMIC ? sw_grad_scaler_start().scale : 1.0;
    t->state.chunk_patches = t->config.train.chunk_patches;
    t->state.eval_chunk_patches = t->config.eval.chunk_patches;
    if (resumed) SW_TRY(sw_trainer_resume(t, err));
    SW_TRY(write_description(t, err));
    SW_AUTOFREE char *log = sw_path_join(t->config.run.out, "log.jsonl");
    if (!log) return sw_nomem(err);
    SW_TRY(sw_runlog_open(log, t->state.log_bytes, &t->log, err));
    return t->state.finished ? SW_OK : sw_trainer_log_start(t, resumed, err);
}

void sw_trainer_close(sw_trainer *t)
{
    sw_runlog_close(t->log);
    sw_loader_free(t->loader);
    sw_trainer_attend_free(t);
    sw_trainer_clusters_free(t);
    sw_pool_free(t->pool);
    sw_optim_free(t->optim);
    sw_model_free(t->ema);
    sw_model_free(t->model);
    sw_backend_free(t->be);
    sw_model_use_free(&t->use);
    sw_dataset_free(t->dataset);
    sw_store_close(&t->store);
    sw_free(t->class_weight);
    sw_free(t->checkpoints);
    sw_free(t->last);
    sw_free(t->previous);
    sw_trainer_unlock(t);
    sw_config_free(&t->config);
}
