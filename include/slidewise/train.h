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

#ifdef __cplusplus
}
#endif

#endif
