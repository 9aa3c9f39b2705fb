/* SPDX-License-Identifier: Apache-2.0 */
#include "task/task.h"

#include <string.h>

#include "base/buf.h"
#include "base/mem.h"

static int classification_outputs(int n_classes)
{
    return n_classes;
}

/* The reference chooses by AUC for two classes and by the mean recall of the classes for more. */
static const char *classification_primary(int n_classes)
{
    return n_classes == 2 ? "auc" : "balanced_accuracy";
}

static const char *const classification_metrics[] = {"accuracy", "balanced_accuracy", "auc", "f1", "precision", "kappa",
                                                     "kappa_quadratic", NULL};

static const sw_task tasks[] = {
    [SW_CFG_CLASSIFICATION] = {.name = "classification", .loss_name = "cross_entropy", .outputs = classification_outputs,
                               .loss = sw_cross_entropy, .primary_metric = classification_primary,
                               .metrics = classification_metrics, .metrics_rise = true},
};

const sw_task *sw_task_get(sw_cfg_task type)
{
    return (size_t)type < sizeof(tasks) / sizeof(tasks[0]) ? &tasks[type] : NULL;
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
