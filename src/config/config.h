/* SPDX-License-Identifier: Apache-2.0 */
/* The one configuration: a YAML file, `--set` overrides and defaults become a struct sw_config. Keys, types, ranges,
 * units and help texts stand in one table, config_keys.def; checks, YAML, JSON and the reference page come from it. */
#ifndef SW_CONFIG_CONFIG_H
#define SW_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/json.h"
#include "slidewise/error.h"

#define SW_CONFIG_MAX_SCALES 16

/* The enumerations have the order of their names in config_keys.def, and of their counterparts in the modules. */
typedef enum sw_cfg_task { SW_CFG_CLASSIFICATION, SW_CFG_SURVIVAL } sw_cfg_task;
typedef enum sw_cfg_survival_loss { SW_CFG_NLL, SW_CFG_COX } sw_cfg_survival_loss;
typedef enum sw_cfg_bins_from { SW_CFG_BINS_TRAIN, SW_CFG_BINS_ALL, SW_CFG_BINS_COLUMN } sw_cfg_bins_from;
typedef enum sw_cfg_bag { SW_CFG_BAG_AUTO, SW_CFG_BAG_SLIDE, SW_CFG_BAG_CASE } sw_cfg_bag;
typedef enum sw_cfg_missing { SW_CFG_MISSING_ERROR, SW_CFG_MISSING_SKIP } sw_cfg_missing;
typedef enum sw_cfg_repeats { SW_CFG_REPEATS_ERROR, SW_CFG_REPEATS_KEEP } sw_cfg_repeats;
typedef enum sw_cfg_match { SW_CFG_MATCH_EXACT, SW_CFG_MATCH_PREFIX, SW_CFG_MATCH_SUBSTRING } sw_cfg_match;
typedef enum sw_cfg_split { SW_CFG_SPLIT_AUTO, SW_CFG_SPLIT_COLUMN, SW_CFG_SPLIT_FILE, SW_CFG_SPLIT_RANDOM,
                            SW_CFG_SPLIT_KFOLD } sw_cfg_split;
typedef enum sw_scale_rule { SW_SCALE_REFERENCE, SW_SCALE_SHARES } sw_scale_rule;
typedef enum sw_sampler { SW_SAMPLER_RANDOM, SW_SAMPLER_REGIONAL_1D, SW_SAMPLER_REGIONAL_2D, SW_SAMPLER_REGIONAL_SLIDE,
                          SW_SAMPLER_ATTENTION, SW_SAMPLER_CLUSTERS, SW_SAMPLER_TOP_PATCHES } sw_sampler;
typedef enum sw_cfg_preset {
    SW_CFG_PRESET_NONE,
    SW_CFG_PRESET_WEAK,
    SW_CFG_PRESET_STRONG,
    SW_CFG_PRESET_WEAK_STRONG,
    SW_CFG_PRESET_STRONG_V2
} sw_cfg_preset;
typedef enum sw_augment_share { SW_SHARE_PATCH, SW_SHARE_CHUNK } sw_augment_share;
typedef enum sw_fast_decode { SW_DECODE_EXACT, SW_DECODE_SCALED } sw_fast_decode;
typedef enum sw_channel_order { SW_CHANNELS_RGB, SW_CHANNELS_BGR_AS_REFERENCE } sw_channel_order;
typedef enum sw_pixel_norm { SW_PIXELS_IMAGENET, SW_PIXELS_UNIT } sw_pixel_norm;
typedef enum sw_cfg_eval_stats { SW_CFG_STATS_RUNNING, SW_CFG_STATS_BATCH } sw_cfg_eval_stats;
typedef enum sw_cfg_attn_plus { SW_CFG_PLUS_OFF, SW_CFG_PLUS_FIXED, SW_CFG_PLUS_LEARNABLE } sw_cfg_attn_plus;
typedef enum sw_cfg_pool { SW_CFG_POOL_ATTN, SW_CFG_POOL_MEAN, SW_CFG_POOL_MAX } sw_cfg_pool;
typedef enum sw_cfg_gate { SW_CFG_GATE_REFERENCE, SW_CFG_GATE_DOT } sw_cfg_gate;
/* SW_CFG_ORGAN_NONE + 1 + i: organ i of CHIEF's text embeddings. */
typedef enum sw_cfg_organ { SW_CFG_ORGAN_NONE, SW_CFG_ORGAN_BRAIN, SW_CFG_ORGAN_SOFT_TISSUE = 19 } sw_cfg_organ;
typedef enum sw_cfg_distill { SW_CFG_DISTILL_AFS, SW_CFG_DISTILL_MAXS, SW_CFG_DISTILL_MAXMINS, SW_CFG_DISTILL_MAS } sw_cfg_distill;
typedef enum sw_cfg_pos { SW_CFG_POS_AUTO, SW_CFG_POS_NONE, SW_CFG_POS_PPEG, SW_CFG_POS_SINCOS } sw_cfg_pos;
typedef enum sw_cfg_instance_loss { SW_CFG_INSTANCE_SVM, SW_CFG_INSTANCE_CE } sw_cfg_instance_loss;
typedef enum sw_cfg_norm { SW_CFG_NORM_NONE, SW_CFG_NORM_LN } sw_cfg_norm;
typedef enum sw_cfg_act { SW_CFG_ACT_NONE, SW_CFG_ACT_RELU, SW_CFG_ACT_GELU } sw_cfg_act;
typedef enum sw_cfg_optimizer { SW_CFG_ADAM, SW_CFG_ADAMW, SW_CFG_SGD } sw_cfg_optimizer;
typedef enum sw_cfg_decay { SW_CFG_DECAY_ALL, SW_CFG_DECAY_MATRICES } sw_cfg_decay;
typedef enum sw_cfg_grad_scaling { SW_CFG_GRAD_SCALING_OFF, SW_CFG_GRAD_SCALING_DYNAMIC } sw_cfg_grad_scaling;
typedef enum sw_cfg_watched { SW_CFG_WATCH_METRIC, SW_CFG_WATCH_LOSS } sw_cfg_watched;
typedef enum sw_cfg_counted { SW_CFG_COUNT_WORSE, SW_CFG_COUNT_NOT_BETTER } sw_cfg_counted;
typedef enum sw_cfg_ties { SW_CFG_TIES_LOSS, SW_CFG_TIES_LATER } sw_cfg_ties;
typedef enum sw_cfg_schedule { SW_CFG_COSINE, SW_CFG_CONST, SW_CFG_STEP } sw_cfg_schedule;
typedef enum sw_cfg_select { SW_CFG_SELECT_MAIN, SW_CFG_SELECT_EMA, SW_CFG_SELECT_BOTH } sw_cfg_select;
typedef enum sw_cfg_precision { SW_CFG_PRECISION_AUTO, SW_CFG_FP32, SW_CFG_BF16 } sw_cfg_precision;

typedef struct sw_config_texts {
    char **item; /* owned */
    size_t count;
} sw_config_texts;

/* One scale of a bag: exactly one of mpp and magnification is given in the file, the other follows (10 / x). */
typedef struct sw_config_scale {
    double mpp_um, magnification;
    double share; /* of the bag's patches; 0: not given */
} sw_config_scale;

typedef struct sw_config_scales {
    sw_config_scale item[SW_CONFIG_MAX_SCALES];
    size_t count;
} sw_config_scales;

/* Texts are owned and never NULL: "" is "not given". Meaning, unit and range of each member: config_keys.def. */
typedef struct sw_config {
    struct {
        sw_cfg_task type;
        sw_config_texts classes;
        char *positive;
        struct {
            sw_cfg_survival_loss loss;
            int64_t bins;
            sw_cfg_bins_from bins_from;
            double alpha, eps;
        } survival;
    } task;
    struct {
        char *store, *slides, *coords, *features, *labels;
        int64_t cache_mb;
        bool exact;
        struct { char *case_id, *slide_id, *label, *time, *event, *censored, *split; } columns;
        struct {
            sw_cfg_split from;
            char *file;
            double test, val;
            int64_t seed, folds, fold;
        } split;
        double image_mpp;
        sw_cfg_match match;
        sw_cfg_missing missing;
        sw_cfg_repeats repeats;
        sw_cfg_bag bag;
        bool allow_leak;
    } data;
    struct {
        int64_t patches;
        sw_config_scales scales;
        sw_scale_rule scale_rule;
        double divisor;
        bool pad;
        sw_sampler sampler;
        int64_t regions;
        double attention_ratio;
        int64_t clusters, per_cluster;
    } bag;
    struct {
        sw_cfg_preset preset;
        bool crop;
        int64_t crop_px;
        double crop_scale, crop_ratio, hflip, vflip, shift;
        sw_augment_share share;
        sw_fast_decode fast_decode;
    } augment;
    struct {
        char *name, *weights, *frozen_until;
        bool frozen, frozen_stats;
        sw_channel_order channel_order;
        sw_pixel_norm normalise;
        sw_cfg_eval_stats eval_stats;
    } encoder;
    struct {
        char *name, *weights;
        int64_t inner_dim, heads;
        sw_cfg_attn_plus attn_plus;
        double alpha;
        bool ffn;
        sw_cfg_norm norm;
        bool bias, attn_bias;
        double dropout;
        sw_cfg_act act;
        double attn_hidden;
        bool attn_gated, embed_new;
        int64_t hidden, layers;
        sw_cfg_pos pos;
        int64_t regions, epeg, crmsa, crmsa_heads;
        bool shortcut, cross_bag_reference, subtyping;
        sw_cfg_instance_loss instance_loss;
        int64_t instances;
        double bag_weight;
        double slide_loss, patch_loss, cluster_loss, gate_loss, gate_share;
        int64_t topk, blocks, state, canvas_rows, canvas_columns;
        sw_cfg_pool pool;
        sw_cfg_gate gate;
        int64_t groups;
        sw_cfg_distill distill;
        bool shuffle;
        sw_cfg_organ organ;
        int64_t dilations, segment_first, segment_last;
    } aggregator;
    struct {
        int64_t epochs, batch_bags;
        bool drop_last;
        double lr, encoder_lr, weight_decay;
        sw_cfg_decay decay;
        sw_cfg_optimizer optimizer;
        double beta1, beta2, eps, momentum;
        bool nesterov;
        sw_cfg_schedule schedule;
        int64_t step_epochs;
        double step_factor;
        sw_config_texts step_at;
        int64_t warmup_epochs, warmup_updates;
        double warmup_lr, min_lr, ema;
        bool ema_warmup;
        sw_cfg_select select;
        struct {
            int64_t patience, min_epoch;
            sw_cfg_watched watch;
            sw_cfg_counted counts;
        } early_stop;
        int64_t accumulate;
        double clip;
        sw_cfg_grad_scaling grad_scaling;
        double oversample;
        bool select_on_test;
        sw_config_texts class_weights;
        char *metric;
        sw_cfg_ties ties;
        int64_t chunk_patches;
        double checkpoint_minutes;
    } train;
    struct {
        int64_t bootstrap, chunk_patches;
        bool risks_of_train;
        double mpp_um;
    } eval;
    struct {
        char *out;
        int64_t seed;
        bool seed_per_fold;
        int64_t threads;
        bool deterministic;
        char *backend;
        sw_cfg_precision precision;
        int64_t workers;
        char *memory;
    } run;
} sw_config;

/* Every member at its default. *out is overwritten (not freed); free it with sw_config_free, also after a failure. */
sw_status sw_config_default(sw_config *out, sw_error *err) SW_MUST_CHECK;
void sw_config_free(sw_config *config); /* clears it; NULL and zeroed are fine; fit for SW_CLEANUP */

/* Defaults, then the YAML at `path` (NULL: none), then `sets` ("augment.crop_px=128") in their order; then the checks that
 * concern several keys. augment.preset is applied before the other keys of its source. Messages name file, line, key,
 * value, and what is allowed ("--set" instead of the file for overrides). Files named by keys are not opened. Paths are
 * taken as they are (relative to the working directory). *out as sw_config_default. */
sw_status sw_config_load(const char *path, const char *const *sets, size_t n_sets, sw_config *out, sw_error *err)
    SW_MUST_CHECK;
/* The same from a YAML text. */
sw_status sw_config_parse(const char *text, size_t size, const char *name_for_errors, const char *const *sets,
                          size_t n_sets, sw_config *out, sw_error *err) SW_MUST_CHECK;
/* One override ("key=value", or for code: key and value as YAML text), without the checks across keys. */
sw_status sw_config_set(sw_config *config, const char *assignment, sw_error *err) SW_MUST_CHECK;
/* The checks across keys, for a struct that code has changed. */
sw_status sw_config_check(const sw_config *config, const char *name_for_errors, sw_error *err) SW_MUST_CHECK;

/* The resolved configuration as YAML with comments; reading it back gives the same struct, bit for bit. */
void sw_config_yaml(const sw_config *config, sw_buf *out);
sw_status sw_config_write_yaml(const sw_config *config, const char *path, sw_error *err) SW_MUST_CHECK; /* atomic */
/* One JSON object {"train": {"epochs": 200, …}, …}, written where the writer stands. */
void sw_config_json(const sw_config *config, sw_json_writer *writer);
/* docs/config.md: one table per section. */
void sw_config_markdown(sw_buf *out);

/* Patches of a full bag: bag.patches, or those of all its clusters. */
int64_t sw_config_bag_patches(const sw_config *config);

/* A hash of what decides the result of training: everything but paths of data and run, evaluation, threads, workers and
 * checkpoint times. The same on every machine. */
uint64_t sw_config_hash(const sw_config *config);
/* The first key that sw_config_hash covers and that differs: writes "train.lr: 0.0002 against 0.0001" (value of a, then
 * of b) and returns true. */
bool sw_config_differs(const sw_config *a, const sw_config *b, char *text, size_t size);

#endif
