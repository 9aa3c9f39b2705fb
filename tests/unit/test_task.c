/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "slidewise/eval.h"
#include "task/task.h"

static sw_error err;

TEST(classification)
{
    const sw_task *task = sw_task_get(SW_CFG_CLASSIFICATION);
    CHECK(task && task->metrics_rise && !task->survival && task->width == 1);
    CHECK_STR(task->name, "classification");
    CHECK_INT(task->outputs(6), 6);
    for (const char *const *name = task->metrics; *name; name++) CHECK(sw_metric_find(*name) >= 0);
    const char *metric = NULL;
    CHECK_OK(sw_task_metric(task, 2, "", &metric, &err));
    CHECK_STR(metric, "auc");
    CHECK_OK(sw_task_metric(task, 3, "", &metric, &err));
    CHECK_STR(metric, "balanced_accuracy");
    CHECK_OK(sw_task_metric(task, 3, "kappa", &metric, &err));
    CHECK_STR(metric, "kappa");
    CHECK_INT(sw_task_metric(task, 3, "auroc", &metric, &err), SW_E_INVALID);
    CHECK_STR(err.message, "train.metric: 'auroc' is none of the metrics of classification: accuracy, balanced_accuracy, auc, f1, precision, kappa, kappa_quadratic");
}
