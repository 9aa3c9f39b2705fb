/* SPDX-License-Identifier: Apache-2.0 */
/* What several keys must be together. */
#include <string.h>

#include "base/text.h"
#include "config/config_table.h"

static sw_status check_classes(const sw_config *c, const sw_config_place *place, sw_error *err)
{
    const sw_config_texts *classes = &c->task.classes;
    if (classes->count == 1) return sw_config_complain(place, err, "task.classes: one class is not enough; name at least two");
    bool found = false;
    for (size_t i = 0; i < classes->count; i++) {
        if (classes->item[i][0] == '\0') return sw_config_complain(place, err, "task.classes: item %zu is empty", i + 1);
        for (size_t j = 0; j < i; j++) {
            if (strcmp(classes->item[i], classes->item[j]) == 0) {
                return sw_config_complain(place, err, "task.classes: '%s' is named twice", classes->item[i]);
            }
        }
        if (strcmp(classes->item[i], c->task.positive) == 0) found = true;
    }
    if (c->task.positive[0] == '\0' || classes->count == 0) return SW_OK;
    if (classes->count > 2) {
        return sw_config_complain(place, err, "task.positive: '%s' makes sense with two classes, task.classes has %zu",
                                  c->task.positive, classes->count);
    }
    if (!found) return sw_config_complain(place, err, "task.positive: '%s' is not in task.classes", c->task.positive);
    return SW_OK;
}

static sw_status check_survival(const sw_config *c, const sw_config_place *place, sw_error *err)
{
    bool survival = c->task.type == SW_CFG_SURVIVAL;
    bool by_case = c->data.bag == SW_CFG_BAG_CASE || (survival && c->data.bag == SW_CFG_BAG_AUTO);
    if (by_case && c->data.repeats == SW_CFG_REPEATS_KEEP) {
        return sw_config_complain(place, err, "data.repeats: keep repeats slides, but a bag is a case here (data.bag); set it to error");
    }
    if (!survival) return SW_OK;
    if (c->task.classes.count > 0 || c->task.positive[0] != '\0') {
        return sw_config_complain(place, err, "task.%s: task.type survival has no classes, it has bins of time (task.survival.bins)",
                                  c->task.classes.count > 0 ? "classes" : "positive");
    }
    if (strcmp(c->aggregator.name, "c2c") == 0) {
        return sw_config_complain(place, err, "aggregator.name: c2c trains its patches by the slide's class, which task.type survival has not");
    }
    if (c->task.survival.loss == SW_CFG_COX && c->train.batch_bags < 2) {
        return sw_config_complain(place, err, "task.survival.loss: cox compares the bags of a step, but train.batch_bags is %lld; "
                                              "set it to 2 or more", (long long)c->train.batch_bags);
    }
    return SW_OK;
}

static sw_status check_split(const sw_config *c, const sw_config_place *place, sw_error *err)
{
    int64_t folds = c->data.split.folds;
    if (c->data.split.from == SW_CFG_SPLIT_FILE && c->data.split.file[0] == '\0') {
        return sw_config_complain(place, err, "data.split.from is file, but data.split.file names none");
    }
    if (folds == 1 || (c->data.split.from == SW_CFG_SPLIT_KFOLD && folds == 0)) {
        return sw_config_complain(place, err, "data.split.folds: %lld; cross-validation needs at least 2 folds",
                                  (long long)folds);
    }
    if (folds > 0 && c->data.split.fold >= folds) {
        return sw_config_complain(place, err, "data.split.fold: %lld; with %lld folds it is 0 to %lld",
                                  (long long)c->data.split.fold, (long long)folds, (long long)folds - 1);
    }
    return SW_OK;
}

static sw_status check_scales(const sw_config *c, const sw_config_place *place, sw_error *err)
{
    const sw_config_scales *scales = &c->bag.scales;
    bool shares = c->bag.scale_rule == SW_SCALE_SHARES;
    for (size_t i = 0; i < scales->count; i++) {
        const sw_config_scale *scale = &scales->item[i];
        for (size_t j = 0; j < i; j++) {
            if (scale->mpp_um == scales->item[j].mpp_um) {
                return sw_config_complain(place, err, "bag.scales: %g um/px is given twice", scale->mpp_um);
            }
        }
        if (shares && scale->share == 0) {
            return sw_config_complain(place, err, "bag.scales: the scale of %g um/px needs a share (bag.scale_rule is shares)",
                                      scale->mpp_um);
        }
        if (!shares && scale->share > 0) {
            return sw_config_complain(place, err, "bag.scales: the scale of %g um/px has a share; set bag.scale_rule to shares",
                                      scale->mpp_um);
        }
    }
    if (shares && scales->count == 0) {
        return sw_config_complain(place, err, "bag.scale_rule is shares, but bag.scales names no scale");
    }
    if (!shares && scales->count > 2) {
        return sw_config_complain(place, err, "bag.scales: %zu scales, but bag.scale_rule 'reference' knows at most two; set it to shares",
                                  scales->count);
    }
    return SW_OK;
}

static sw_status check_sampler(const sw_config *c, const sw_config_place *place, sw_error *err)
{
    bool clusters = c->bag.sampler == SW_SAMPLER_CLUSTERS, top = c->bag.sampler == SW_SAMPLER_TOP_PATCHES;
    if ((clusters || top) && c->bag.scales.count != 1 && c->data.features[0] == '\0') {
        return sw_config_complain(place, err, "bag.sampler: %s draws from one scale; name it in bag.scales (such as [{mpp: 1}])",
                                  clusters ? "clusters" : "top_patches");
    }
    if (c->bag.sampler != SW_SAMPLER_ATTENTION) return SW_OK;
    if (c->train.ema == 0) {
        return sw_config_complain(place, err, "bag.sampler: attention is that of the moving average; set train.ema (such as 0.9997)");
    }
    if (c->bag.scales.count != 1 && c->data.features[0] == '\0') {
        return sw_config_complain(place, err, "bag.sampler: attention draws from one scale; name it in bag.scales (such as [{mpp: 1}])");
    }
    return SW_OK;
}

/* Rising numbers of epochs. How many a schedule holds is optim's matter; 16 are plenty. */
static sw_status check_steps(const sw_config *c, const sw_config_place *place, sw_error *err)
{
    const sw_config_texts *at = &c->train.step_at;
    int64_t before = 0;
    if (at->count > 0 && c->train.schedule != SW_CFG_STEP)
        return sw_config_complain(place, err, "train.step_at: is of the schedule step; set train.schedule to it");
    if (at->count > 0 && c->train.step_epochs > 0)
        return sw_config_complain(place, err, "train.step_at: stands instead of train.step_epochs (now %lld); leave one of them out", (long long)c->train.step_epochs);
    if (at->count > 16) return sw_config_complain(place, err, "train.step_at: %zu steps; allowed: at most 16", at->count);
    for (size_t i = 0; i < at->count; i++) {
        double value;
        if (!sw_parse_double(at->item[i], &value) || value != (double)(int64_t)value || value <= (double)before || value > 1e6)
            return sw_config_complain(place, err, "train.step_at: '%s'; give whole numbers of epochs above 0 that rise", at->item[i]);
        before = (int64_t)value;
    }
    return SW_OK;
}

static sw_status check_training(const sw_config *c, const sw_config_place *place, sw_error *err)
{
    if (c->train.select != SW_CFG_SELECT_MAIN && c->train.ema == 0) {
        return sw_config_complain(place, err, "train.select: %s needs a moving average; set train.ema (such as 0.9997)",
                                  c->train.select == SW_CFG_SELECT_EMA ? "ema" : "both");
    }
    if (c->train.warmup_epochs > 0 && c->train.warmup_updates > 0) {
        return sw_config_complain(place, err, "train.warmup_updates: the warm-up goes by epochs already (train.warmup_epochs %lld); set one "
                                              "of both to 0", (long long)c->train.warmup_epochs);
    }
    SW_TRY(check_steps(c, place, err));
    if (c->train.nesterov && (c->train.optimizer != SW_CFG_SGD || c->train.momentum == 0)) {
        return sw_config_complain(place, err, "train.nesterov: true needs train.optimizer sgd and train.momentum above 0");
    }
    if (c->encoder.eval_stats == SW_CFG_STATS_BATCH && (c->encoder.frozen || c->encoder.frozen_stats)) {
        return sw_config_complain(place, err, "encoder.eval_stats: batch, but the encoder goes by the running statistics it starts with "
                                              "(encoder.%s)", c->encoder.frozen ? "frozen" : "frozen_stats");
    }
    if (c->encoder.eval_stats == SW_CFG_STATS_BATCH && c->eval.chunk_patches == 0) {
        return sw_config_complain(place, err, "encoder.eval_stats: batch needs eval.chunk_patches (such as 128): the statistics are those of "
                                              "the patches encoded at once");
    }
    if (c->encoder.frozen && c->encoder.frozen_until[0] != '\0') {
        return sw_config_complain(place, err, "encoder.frozen_until: %s, but the whole encoder is frozen (encoder.frozen); leave one of them out",
                                  c->encoder.frozen_until);
    }
    if (c->encoder.frozen && c->train.encoder_lr > 0) {
        return sw_config_complain(place, err, "train.encoder_lr: %g, but the encoder does not learn (encoder.frozen)", c->train.encoder_lr);
    }
    if (c->train.warmup_epochs > c->train.epochs) {
        return sw_config_complain(place, err, "train.warmup_epochs: %lld is more than train.epochs %lld",
                                  (long long)c->train.warmup_epochs, (long long)c->train.epochs);
    }
    return SW_OK;
}

/* The encoder is absent where features come in, and what concerns it must be left alone. */
static sw_status check_no_encoder(const sw_config *c, const sw_config_place *place, sw_error *err)
{
    const char *key = c->encoder.weights[0] != '\0'                     ? "encoder.weights"
                      : c->encoder.frozen                               ? "encoder.frozen"
                      : c->encoder.frozen_stats                         ? "encoder.frozen_stats"
                      : c->encoder.frozen_until[0] != '\0'              ? "encoder.frozen_until"
                      : c->encoder.eval_stats == SW_CFG_STATS_BATCH      ? "encoder.eval_stats"
                      : c->train.encoder_lr > 0                         ? "train.encoder_lr"
                      : c->bag.scales.count > 0                         ? "bag.scales"
                      : c->eval.mpp_um > 0                              ? "eval.mpp"
                                                                        : NULL;
    if (!key) return SW_OK;
    return sw_config_complain(place, err, "%s: with data.features there is no encoder and no choice of resolution; leave it out", key);
}

static sw_status check_features(const sw_config *c, const sw_config_place *place, sw_error *err)
{
    bool features = c->data.features[0] != '\0', none = strcmp(c->encoder.name, "none") == 0;
    if (!features && none) return sw_config_complain(place, err, "encoder.name: none needs data.features, the folder of features that come in instead");
    if (!features && c->bag.patches == 0)
        return sw_config_complain(place, err, "bag.patches: 0 (all patches of a slide) needs data.features; give a number of patches");
    if (!features) return SW_OK;
    if (c->data.store[0] != '\0') return sw_config_complain(place, err, "data.features takes the place of data.store; leave one of them out");
    if (!none) return sw_config_complain(place, err, "encoder.name: %s, but data.features holds features already; set it to none", c->encoder.name);
    if (c->bag.sampler == SW_SAMPLER_CLUSTERS || c->bag.sampler == SW_SAMPLER_TOP_PATCHES)
        return sw_config_complain(place, err, "bag.sampler: %s is for an encoder that learns; with data.features take another",
                                  c->bag.sampler == SW_SAMPLER_CLUSTERS ? "clusters" : "top_patches");
    if (c->bag.patches == 0 && c->train.batch_bags > 1)
        return sw_config_complain(place, err, "bag.patches: 0 takes all patches, and the bags of a step must have as many; set train.batch_bags to 1 (now %lld)",
                                  (long long)c->train.batch_bags);
    if (c->bag.patches == 0 && c->bag.sampler != SW_SAMPLER_RANDOM)
        return sw_config_complain(place, err, "bag.sampler: bag.patches is 0, so that all patches are taken and none are drawn; leave it out");
    return check_no_encoder(c, place, err);
}

/* Empty, [balanced], or positive numbers. How many classes there are is known later. */
static sw_status check_imbalance(const sw_config *c, const sw_config_place *place, sw_error *err)
{
    const sw_config_texts *w = &c->train.class_weights;
    if (c->task.type == SW_CFG_SURVIVAL && (w->count > 0 || c->train.oversample > 0)) {
        return sw_config_complain(place, err, "train.%s: task.type survival has no classes", w->count > 0 ? "class_weights" : "oversample");
    }
    if (w->count == 1 && strcmp(w->item[0], "balanced") == 0) return SW_OK;
    for (size_t i = 0; i < w->count; i++) {
        double value;
        if (sw_parse_double(w->item[i], &value) && value > 0 && value <= 1e6) continue;
        return sw_config_complain(place, err, "train.class_weights: '%s' is not a weight; give a number above 0 for each class, or [balanced]",
                                  w->item[i]);
    }
    return SW_OK;
}

static sw_status check_run(const sw_config *c, const sw_config_place *place, sw_error *err)
{
    int64_t bytes;
    const char *memory = c->run.memory;
    if (memory[0] == '\0' || strcmp(memory, "auto") == 0 || sw_parse_bytes(memory, &bytes)) return SW_OK;
    return sw_config_complain(place, err, "run.memory: '%s' is not a size; give auto, or a number with its unit, such as 6GB, "
                                          "800MB or 2.5GiB", memory);
}

sw_status sw_config_check(const sw_config *config, const char *name_for_errors, sw_error *err)
{
    sw_config_place place = {.name = name_for_errors};
    SW_TRY(check_classes(config, &place, err));
    SW_TRY(check_survival(config, &place, err));
    SW_TRY(check_split(config, &place, err));
    SW_TRY(check_scales(config, &place, err));
    SW_TRY(check_features(config, &place, err));
    SW_TRY(check_sampler(config, &place, err));
    SW_TRY(check_training(config, &place, err));
    SW_TRY(check_imbalance(config, &place, err));
    return check_run(config, &place, err);
}
