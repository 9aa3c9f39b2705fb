/* SPDX-License-Identifier: Apache-2.0 */
/* Training a run: from a store of patches and a label table to checkpoints, predictions and metrics. */
#ifndef SLIDEWISE_TRAIN_H
#define SLIDEWISE_TRAIN_H

#include <stddef.h>
#include <stdint.h>

#include "slidewise/error.h"
#include "slidewise/log.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sw_train_options {
    const char *config_path;   /* YAML */
    const char *const *sets;   /* "key=value" overrides; borrowed */
    size_t n_sets;
    bool resume;               /* go on from the run's last checkpoint where there is one; without it a run
                                  directory that already holds a checkpoint is refused */
    int64_t stop_after_steps;  /* > 0: stop (with a checkpoint) after this many steps of this call */
    const char *command;       /* how this call was made, for the log and the report; may be NULL */
    const sw_sink *sink;       /* may be NULL */
} sw_train_options;
SW_API sw_train_options sw_train_options_default(void);

typedef struct sw_train_result {
    char run_dir[1024];
    int64_t epochs, steps;   /* done in all, including before a resume */
    int best_epoch;          /* 1-based; 0: none */
    double best_metric;      /* value of the selection metric at best_epoch; NaN: not defined on the validation set */
    double best_loss;        /* mean cross-entropy of the validation set at best_epoch; NaN: there is no such set */
    char metric[64];         /* its name */
    double seconds;          /* of this call */
    bool stopped_early, cancelled;
} sw_train_result;

/* Writes into the run directory: config.yaml, dataset.json, log.jsonl, checkpoints/, and at the end
 * predictions_<split>.csv and metrics_<split>.json for every split that has slides. A kill loses at most
 * the work since the last checkpoint; with `resume` the end result is the same, byte for byte. */
SW_API sw_status sw_train(const sw_train_options *options, sw_train_result *result, sw_error *err) SW_MUST_CHECK;

/* ---- what a training would take, without training ------------------------------------------------ */

/* Numbers that are not known are NaN, or -1 where they count. */
typedef struct sw_train_plan {
    int64_t parameters, encoder_parameters;
    double patch_macs;       /* of the encoder for one patch, forward; FLOPs are twice as many */
    double bag_macs;         /* of a training bag, encoder and aggregator, forward */
    int64_t bag_patches, batch_bags, epochs;
    int64_t train_bags;      /* per epoch, with those that oversampling adds */
    int64_t val_bags, test_bags, val_patches, test_patches;
    int64_t steps_per_epoch, steps;
    int64_t chunk_patches;   /* that go through the encoder at once in training */
    double memory_bytes;     /* of the process while it trains, at most */
    double train_patches_per_second, eval_patches_per_second; /* measured on this machine */
    double hours;            /* of the whole training */
    bool hours_without_val;  /* how many patches the validation has is not known, and not in `hours` */
    char device[64];         /* "cpu, 2 threads" */
    size_t n_notes;
    char note[16][256];      /* sentences: what is not known yet, and why */
} sw_train_plan;

/* Checks the configuration and whatever of its data is there, and measures. A path that is empty or a placeholder
 * ("<store of PANDA>") is noted, and what follows from it is not known; any other that does not exist is an error as in
 * sw_train. Nothing is written. `quick`: nothing is measured either (no memory, speed or hours). */
SW_API sw_status sw_train_plan_make(const sw_train_options *options, bool quick, sw_train_plan *out, sw_error *err)
    SW_MUST_CHECK;
/* A table for a terminal; *text is owned: sw_train_plan_text_free. */
SW_API sw_status sw_train_plan_text(const sw_train_plan *plan, char **text, sw_error *err) SW_MUST_CHECK;
SW_API void sw_train_plan_text_free(char *text); /* NULL is fine */

#ifdef __cplusplus
}
#endif

#endif
