/* SPDX-License-Identifier: Apache-2.0 */
#include "task/task.h"

#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/text.h"
#include "sampler/sampler.h"

/* ---- classification */

static int as_many(int n_classes)
{
    return n_classes;
}

static void class_targets(const sw_dataset *dataset, const int64_t *bag, int64_t n, int32_t *out)
{
    for (int64_t i = 0; i < n; i++) out[i] = dataset->bag[bag[i]].label;
}

/* The mean over the bags of weight(label) * -log softmax(logits)[label]. It is divided by the bags and not by their weights:
 * so that steps of few bags, accumulation and chunks all add up to the same gradient. */
static sw_var *weighted(const sw_task *task, sw_tape *tape, sw_var *logits, sw_var *targets)
{
    sw_error err;
    const sw_tensor *all = sw_var_value(targets);
    int64_t n = sw_tensor_count(all);
    sw_var *sum = NULL;
    SW_AUTOFREE int32_t *label = sw_calloc((size_t)n + 1, sizeof *label);
    if (!label) {
        sw_tape_fail(tape, SW_E_NOMEM, "out of memory");
        return sw_cross_entropy(tape, logits, targets);
    }
    if (sw_tensor_download(all, label, &err) != SW_OK) sw_tape_fail(tape, err.code, "%s", err.message);
    for (int64_t i = 0; i < n; i++) {
        sw_tensor one = {0};
        if (sw_tensor_view(all, i, SW_SHAPE(1), &one, &err) != SW_OK) sw_tape_fail(tape, err.code, "%s", err.message);
        sw_var *loss = sw_cross_entropy(tape, sw_rows(tape, logits, i, 1), sw_tape_constant(tape, &one));
        loss = sw_scale(tape, loss, task->class_weight[label[i]] / (double)n);
        sum = sum ? sw_add(tape, sum, loss) : loss;
        sw_tensor_release(&one);
    }
    return sum;
}

static sw_var *cross_entropy(const sw_task *task, sw_tape *tape, sw_var *logits, sw_var *targets)
{
    return task->class_weight ? weighted(task, tape, logits, targets) : sw_cross_entropy(tape, logits, targets);
}

/* The reference chooses by AUC for two classes and by the mean recall of the classes for more. */
static const char *classification_primary(int n_classes)
{
    return n_classes == 2 ? "auc" : "balanced_accuracy";
}

static const char *const classification_metrics[] = {"accuracy", "balanced_accuracy", "auc", "f1", "precision", "kappa",
                                                     "kappa_quadratic", NULL};

/* ---- survival */

static int one(int n_classes)
{
    (void)n_classes;
    return 1;
}

static void bin_targets(const sw_dataset *dataset, const int64_t *bag, int64_t n, int32_t *out)
{
    for (int64_t i = 0; i < n; i++) {
        out[2 * i] = dataset->bag[bag[i]].label;
        out[2 * i + 1] = !dataset->bag[bag[i]].event;
    }
}

/* The rank of a time among the bags that are compared: how many are shorter. */
static void rank_targets(const sw_dataset *dataset, const int64_t *bag, int64_t n, int32_t *out)
{
    for (int64_t i = 0; i < n; i++) {
        double time = dataset->bag[bag[i]].time;
        out[2 * i] = 0;
        for (int64_t j = 0; j < n; j++) out[2 * i] += dataset->bag[bag[j]].time < time;
        out[2 * i + 1] = dataset->bag[bag[i]].event;
    }
}

static sw_var *discrete_time(const sw_task *task, sw_tape *tape, sw_var *logits, sw_var *targets)
{
    return sw_survival_nll(tape, logits, targets, task->alpha, task->eps);
}

static sw_var *partial_likelihood(const sw_task *task, sw_tape *tape, sw_var *logits, sw_var *targets)
{
    (void)task;
    return sw_cox(tape, logits, targets);
}

static const char *survival_primary(int n_classes)
{
    (void)n_classes;
    return "c_index";
}

static const char *const survival_metrics[] = {"c_index", "c_index_ipcw", NULL};

/* ---- the table */

static const sw_task tasks[] = {
    [SW_CFG_CLASSIFICATION] = {.name = "classification", .loss_name = "cross_entropy", .outputs = as_many, .width = 1,
                               .targets = class_targets, .loss = cross_entropy, .primary_metric = classification_primary,
                               .metrics = classification_metrics, .metrics_rise = true},
    [SW_CFG_SURVIVAL] = {.name = "survival", .loss_name = "survival_nll", .survival = true, .outputs = as_many, .width = 2,
                         .targets = bin_targets, .loss = discrete_time, .eps = 1e-7, .primary_metric = survival_primary,
                         .metrics = survival_metrics, .metrics_rise = true},
};

const sw_task *sw_task_get(sw_cfg_task type)
{
    return (size_t)type < sizeof(tasks) / sizeof(tasks[0]) ? &tasks[type] : NULL;
}

sw_task sw_task_of(const sw_config *config)
{
    sw_task task = tasks[config->task.type];
    task.alpha = config->task.survival.alpha;
    task.eps = config->task.survival.eps;
    if (task.survival && config->task.survival.loss == SW_CFG_COX) {
        task.loss_name = "cox";
        task.outputs = one;
        task.targets = rank_targets;
        task.loss = partial_likelihood;
    }
    return task;
}

sw_status sw_task_metric(const sw_task *task, int n_classes, const char *wanted, const char **out, sw_error *err)
{
    if (wanted[0] == '\0') {
        *out = task->primary_metric(n_classes);
        return SW_OK;
    }
    SW_CLEANUP(sw_buf_free) sw_buf list = {0};
    for (const char *const *name = task->metrics; *name; name++) {
        if (strcmp(*name, wanted) == 0) {
            *out = *name;
            return SW_OK;
        }
        sw_buf_printf(&list, "%s%s", name == task->metrics ? "" : ", ", *name);
    }
    SW_TRY(sw_buf_status(&list, err));
    return sw_error_set(err, SW_E_INVALID, "train.metric: '%s' is none of the metrics of %s: %s", wanted, task->name, list.data);
}

sw_shape sw_task_target_shape(const sw_task *task, int64_t n)
{
    return task->width == 1 ? SW_SHAPE(n) : SW_SHAPE(n, task->width);
}

sw_status sw_task_loss(const sw_task *task, sw_backend *be, const double *logits, int outputs, const int32_t *targets, int64_t n,
                       double *loss, sw_error *err)
{
    SW_CLEANUP(sw_tensor_release) sw_tensor x = {0}, y = {0};
    sw_tape *tape = NULL;
    SW_TRY(sw_tensor_new(&be->device, SW_F32, SW_SHAPE(n, outputs), &x, err));
    SW_TRY(sw_tensor_upload_f64(&x, logits, err));
    SW_TRY(sw_tensor_from(&be->device, SW_I32, sw_task_target_shape(task, n), targets, &y, err));
    SW_TRY(sw_tape_new(be, false, &tape, err));
    sw_var *value = task->loss(task, tape, sw_tape_constant(tape, &x), sw_tape_constant(tape, &y));
    sw_status status = sw_tape_status(tape, err);
    if (status == SW_OK) status = sw_tensor_download_f64(sw_var_value(value), loss, err);
    sw_tape_free(tape);
    return status;
}

sw_status sw_task_class_weights(const sw_config *config, const sw_dataset *ds, double **out, sw_error *err)
{
    const sw_config_texts *given = &config->train.class_weights;
    *out = NULL;
    if (given->count == 0) return SW_OK;
    SW_AUTOFREE double *weight = sw_calloc((size_t)ds->n_classes, sizeof *weight);
    SW_AUTOFREE int64_t *count = sw_calloc((size_t)ds->n_classes, sizeof *count);
    if (!weight || !count) return sw_nomem(err);
    if (given->count == 1 && strcmp(given->item[0], "balanced") == 0) {
        int64_t n = sw_oversample_counts(ds->n_classes, sw_dataset_class_counts(ds, SW_SPLIT_TRAIN), config->train.oversample, count);
        for (int k = 0; k < ds->n_classes; k++)
            weight[k] = count[k] > 0 ? (double)n / ((double)ds->n_classes * (double)count[k]) : 1.0;
    } else if (given->count != (size_t)ds->n_classes) {
        return sw_error_set(err, SW_E_INVALID, "train.class_weights: %zu weights, but %s has %d classes", given->count,
                            ds->labels_path, ds->n_classes);
    } else {
        for (int k = 0; k < ds->n_classes; k++) {
            if (!sw_parse_double(given->item[k], &weight[k]))
                return sw_error_set(err, SW_E_INVALID, "train.class_weights: '%s' is not a number", given->item[k]);
        }
    }
    *out = SW_STEAL(weight);
    return SW_OK;
}
