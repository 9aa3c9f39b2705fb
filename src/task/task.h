/* SPDX-License-Identifier: Apache-2.0 */
/* Tasks: what a label means, which loss trains it and which metrics judge it. A table, one line per task. */
#ifndef SW_TASK_TASK_H
#define SW_TASK_TASK_H

#include "config/config.h"
#include "tape/ops.h"

typedef struct sw_task {
    const char *name; /* "classification" */
    const char *loss_name; /* "cross_entropy" */
    /* Outputs of the head for n_classes classes. */
    int (*outputs)(int n_classes);
    /* Mean loss over the bags, a scalar: logits [b, outputs], labels I32 [b]. */
    sw_var *(*loss)(sw_tape *tape, sw_var *logits, sw_var *labels);
    /* Name of the metric that selects checkpoints, as sw_metric_name gives it. */
    const char *(*primary_metric)(int n_classes);
    const char *const *metrics; /* names that count, NULL-terminated */
    bool metrics_rise;          /* larger is better */
} sw_task;

const sw_task *sw_task_get(sw_cfg_task type); /* static storage; never NULL for a valid type */
/* train.metric of the config if it names one of the task's metrics, the primary one where it is "". */
sw_status sw_task_metric(const sw_task *task, int n_classes, const char *wanted, const char **out, sw_error *err)
    SW_MUST_CHECK;

#endif
