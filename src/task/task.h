/* SPDX-License-Identifier: Apache-2.0 */
/* Tasks: what a label means, which loss trains it and which metrics judge it. A table, one line per task. */
#ifndef SW_TASK_TASK_H
#define SW_TASK_TASK_H

#include "config/config.h"
#include "dataset/dataset.h"
#include "tape/ops.h"

typedef struct sw_task sw_task;
struct sw_task {
    const char *name; /* "classification" */
    const char *loss_name; /* "cross_entropy" */
    bool survival; /* outputs tell a risk instead of a class */
    /* Outputs of the head for n_classes classes (bins of time). */
    int (*outputs)(int n_classes);
    /* What the loss compares n bags with, I32: [n] where `width` is 1, [n, width] otherwise. bag [n] indexes dataset->bag. */
    int width;
    void (*targets)(const sw_dataset *dataset, const int64_t *bag, int64_t n, int32_t *out);
    /* Mean loss over the bags, a scalar: logits [b, outputs]. */
    sw_var *(*loss)(const sw_task *task, sw_tape *tape, sw_var *logits, sw_var *targets);
    double alpha, eps; /* of the discrete-time loss */
    const double *class_weight; /* classification: [n_classes], borrowed; NULL: all 1 */
    /* Name of the metric that selects checkpoints, as sw_metric_name gives it. */
    const char *(*primary_metric)(int n_classes);
    const char *const *metrics; /* names that count, NULL-terminated */
    bool metrics_rise;          /* larger is better */
};

const sw_task *sw_task_get(sw_cfg_task type); /* with default options; static storage, never NULL for a valid type */
sw_task sw_task_of(const sw_config *config);
/* train.metric of the config if it names one of the task's metrics, the primary one where it is "". */
sw_status sw_task_metric(const sw_task *task, int n_classes, const char *wanted, const char **out, sw_error *err)
    SW_MUST_CHECK;

/* The shape of n bags' targets. */
sw_shape sw_task_target_shape(const sw_task *task, int64_t n);
/* Mean loss of n bags whose outputs [n, outputs] are on the host, on the backend's own kernels, without a gradient. */
sw_status sw_task_loss(const sw_task *task, sw_backend *be, const double *logits, int outputs, const int32_t *targets, int64_t n,
                       double *loss, sw_error *err) SW_MUST_CHECK;

/* train.class_weights as numbers [dataset->n_classes], owned by the caller: as given, or `balanced`: n / (n_classes * n_k) by the
 * training bags with those that oversampling adds; NULL where there are none. Another number of weights than of classes is
 * SW_E_INVALID. */
sw_status sw_task_class_weights(const sw_config *config, const sw_dataset *dataset, double **out, sw_error *err) SW_MUST_CHECK;

#endif
