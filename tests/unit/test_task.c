/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <math.h>
#include <stdlib.h>

#include "base/fs.h"
#include "base/mem.h"
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

/* Loss and gradient of three bags by hand: the mean over bags of w_y * -log softmax. */
TEST(weighted_cross_entropy)
{
    static const double x[9] = {0.5, -1.25, 2, 0, 0.75, -0.5, 1.5, 1, -2}, w[3] = {0.25, 3, 1.5};
    static const int32_t y[3] = {2, 0, 1};
    sw_backend *be = NULL;
    sw_tape *tape = NULL;
    sw_tensor t = {0}, labels = {0};
    sw_backend_options bo = {.threads = 1};
    sw_task task = *sw_task_get(SW_CFG_CLASSIFICATION);
    double loss = 0, expected = 0, grad[9];
    task.class_weight = w;
    CHECK_OK(sw_backend_new("ref", &bo, &be, &err));
    CHECK_OK(sw_tensor_new(&be->device, SW_F64, SW_SHAPE(3, 3), &t, &err));
    CHECK_OK(sw_tensor_upload_f64(&t, x, &err));
    CHECK_OK(sw_tensor_from(&be->device, SW_I32, SW_SHAPE(3), y, &labels, &err));
    CHECK_OK(sw_tape_new(be, true, &tape, &err));
    sw_var *in = sw_tape_input(tape, &t), *out = task.loss(&task, tape, in, sw_tape_constant(tape, &labels));
    CHECK_OK(sw_tape_status(tape, &err));
    CHECK_OK(sw_tensor_download_f64(sw_var_value(out), &loss, &err));
    CHECK_OK(sw_tape_backward(tape, out, NULL, &err));
    CHECK_OK(sw_tensor_download_f64(sw_var_grad(in), grad, &err));
    for (int i = 0; i < 3; i++) {
        double sum = 0;
        for (int k = 0; k < 3; k++) sum += exp(x[3 * i + k]);
        expected -= w[y[i]] * log(exp(x[3 * i + y[i]]) / sum) / 3;
        for (int k = 0; k < 3; k++) {
            double p = exp(x[3 * i + k]) / sum;
            CHECK_NEAR(grad[3 * i + k], w[y[i]] * (p - (k == y[i])) / 3, 1e-14, 0);
        }
    }
    CHECK_NEAR(loss, expected, 1e-14, 0);
    sw_tape_free(tape);
    sw_tensor_release(&t);
    sw_tensor_release(&labels);
    sw_backend_free(be);
}

static sw_status weights_of(const char *set, const char *more, double **out, char *message)
{
    static const char table[] = "slide,label,split\na,x,train\nb,x,train\nc,x,train\nd,y,train\ne,y,test\n";
    SW_CLEANUP(sw_config_free) sw_config c = {0};
    SW_CLEANUP(sw_dataset_free_ptr) sw_dataset *ds = NULL;
    char path[600];
    snprintf(path, sizeof path, "%s/labels.csv", sw_test_dir());
    SW_TRY(sw_file_write(path, table, strlen(table), &err));
    SW_TRY(sw_config_default(&c, &err));
    sw_free(c.data.labels);
    c.data.labels = sw_strdup(path);
    c.data.split.val = 0;
    SW_TRY(sw_config_set(&c, set, &err));
    if (more) SW_TRY(sw_config_set(&c, more, &err));
    sw_status status = sw_config_check(&c, "config", &err);
    if (status == SW_OK) status = sw_dataset_load(&c, NULL, true, NULL, &ds, &err);
    if (status == SW_OK) status = sw_task_class_weights(&c, ds, out, &err);
    snprintf(message, 300, "%s", status == SW_OK ? "" : strstr(err.message, "train."));
    return status;
}

TEST(class_weights)
{
    char message[300];
    SW_AUTOFREE double *none = NULL, *given = NULL, *balanced = NULL, *both = NULL, *bad = NULL;
    CHECK_OK(weights_of("train.class_weights=[]", NULL, &none, message));
    CHECK(none == NULL);
    CHECK_OK(weights_of("train.class_weights=[1, 2.5]", NULL, &given, message));
    CHECK(given && given[0] == 1 && given[1] == 2.5);
    CHECK_OK(weights_of("train.class_weights=[balanced]", NULL, &balanced, message));
    CHECK(balanced && balanced[0] == 4.0 / 6.0 && balanced[1] == 4.0 / 2.0); /* of the training slides alone */
    CHECK_OK(weights_of("train.class_weights=[balanced]", "train.oversample=1", &both, message));
    CHECK(both && both[0] == 1 && both[1] == 1);
    CHECK_INT(weights_of("train.class_weights=[1, 2, 3]", NULL, &bad, message), SW_E_INVALID);
    CHECK(strncmp(message, "train.class_weights: 3 weights, but ", 36) == 0 && strstr(message, " has 2 classes"));
    CHECK_INT(weights_of("train.class_weights=[1, heavy]", NULL, &bad, message), SW_E_INVALID);
    CHECK_STR(message, "train.class_weights: 'heavy' is not a weight; give a number above 0 for each class, or [balanced]");
    CHECK_INT(weights_of("train.class_weights=[balanced]", "task.type=survival", &bad, message), SW_E_INVALID);
    CHECK_STR(message, "train.class_weights: task.type survival has no classes");
}

/* Three bags: an event in the second bin at 5, one censored at 9, an event at 2 in the first. */
TEST(survival)
{
    sw_bag bag[3] = {{.label = 1, .time = 5, .event = true}, {.label = 2, .time = 9}, {.label = 0, .time = 2, .event = true}};
    const sw_dataset ds = {.bag = bag, .n_bags = 3};
    const int64_t all[3] = {1, 0, 2};
    SW_CLEANUP(sw_config_free) sw_config c = {0};
    int32_t target[6];
    const char *metric = NULL;
    double loss = NAN;
    CHECK_OK(sw_config_default(&c, &err));
    CHECK_OK(sw_config_set(&c, "task.type=survival", &err));
    CHECK_OK(sw_config_set(&c, "task.survival.alpha=0.25", &err));
    sw_task nll = sw_task_of(&c);
    CHECK(nll.survival && nll.alpha == 0.25 && nll.eps == 1e-7 && nll.width == 2);
    CHECK_STR(nll.loss_name, "survival_nll");
    CHECK_INT(nll.outputs(4), 4);
    nll.targets(&ds, all, 3, target);
    static const int32_t bins[6] = {2, 1, 1, 0, 0, 0};
    CHECK(memcmp(target, bins, sizeof bins) == 0);
    CHECK_OK(sw_task_metric(&nll, 4, "", &metric, &err));
    CHECK_STR(metric, "c_index");
    CHECK_INT(sw_task_metric(&nll, 4, "auc", &metric, &err), SW_E_INVALID);
    CHECK_STR(err.message, "train.metric: 'auc' is none of the metrics of survival: c_index, c_index_ipcw");
    CHECK_OK(sw_config_set(&c, "task.survival.loss=cox", &err));
    sw_task cox = sw_task_of(&c);
    CHECK_STR(cox.loss_name, "cox");
    CHECK_INT(cox.outputs(4), 1);
    cox.targets(&ds, all, 3, target);
    static const int32_t ranks[6] = {2, 0, 1, 1, 0, 1};
    CHECK(memcmp(target, ranks, sizeof ranks) == 0);
    sw_backend *be = NULL;
    const double zero[3] = {0}, hazards[4] = {0.2, -0.3, 0.5, -1};
    const int32_t second[2] = {1, 0};
    CHECK_OK(sw_backend_new("ref", &(sw_backend_options){.threads = 1}, &be, &err));
    sw_status status = sw_task_loss(&cox, be, zero, 1, target, 3, &loss, &err);
    if (status == SW_OK) CHECK_NEAR(loss, 0.5 * (log(2) + log(3)), 1e-6, 0); /* two events, at risk 2 and 3 */
    if (status == SW_OK) status = sw_task_loss(&nll, be, hazards, 4, second, 1, &loss, &err);
    sw_backend_free(be);
    CHECK_INT(status, SW_OK);
    CHECK_NEAR(loss, 1.652493954, 1e-6, 0);
}
