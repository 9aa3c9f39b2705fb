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
