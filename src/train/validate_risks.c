/* SPDX-License-Identifier: Apache-2.0 */
/* Validation of a survival run: the risk of every bag of a split. */
#include <math.h>

#include "base/mem.h"
#include "train/trainer.h"

static sw_status add_risk(const sw_trainer *t, const sw_bag *bag, sw_bag_result *r, sw_survival_predictions *out, sw_error *err)
{
    /* Where a bag is a slide, its id names the row. */
    double risk = sw_survival_host(r->logit, r->n_classes, r->probability);
    if (!isfinite(risk)) return sw_error_set(err, SW_E_INVALID, "the risk of %s is not finite; lower train.lr (now %g)",
                                             bag->slide_id, t->config.train.lr);
    return sw_survival_predictions_add(out, bag->slide_id, sw_bag_slides(bag), bag->time, bag->event, risk, r->probability, err);
}

static sw_status predict_all(sw_trainer *t, sw_model *model, const int64_t *index, int64_t n, const char *job,
                             sw_survival_predictions *out, double *loss, sw_error *err)
{
    sw_meter meter;
    int64_t done = 0;
    int outputs = t->use.n_classes;
    SW_AUTOFREE double *logits = sw_calloc((size_t)n * (size_t)outputs + 1, sizeof *logits);
    SW_AUTOFREE int32_t *targets = sw_calloc((size_t)n * (size_t)t->task.width + 1, sizeof *targets);
    if (!logits || !targets) return sw_nomem(err);
    SW_TRY(sw_survival_predictions_begin(out, outputs > 1 ? outputs : 0, t->use.edge, err));
    sw_meter_start(&meter, t->sink, job, "patches", sw_trainer_count_patches(t, index, n));
    for (int64_t i = 0; i < n; i++) {
        const sw_bag *bag = &t->dataset->bag[index[i]];
        sw_bag_result r = {0};
        SW_TRY(sw_trainer_predict_bag(t, model, bag, &meter, &done, &r, err));
        for (int k = 0; k < outputs; k++) logits[i * outputs + k] = r.logit[k];
        sw_status status = add_risk(t, bag, &r, out, err);
        sw_bag_result_free(&r);
        SW_TRY(status);
    }
    *loss = NAN;
    if (n == 0) return SW_OK;
    t->task.targets(t->dataset, index, n, targets);
    return sw_task_loss(&t->task, t->be, logits, outputs, targets, n, loss, err);
}

sw_status sw_trainer_predict_risks(sw_trainer *t, sw_model *model, sw_split split, const char *job,
                                   sw_survival_predictions *out, double *loss, sw_error *err)
{
    SW_AUTOFREE int64_t *index = NULL;
    *out = (sw_survival_predictions){0};
    SW_TRY(sw_dataset_select(t->dataset, split, &index, err));
    sw_status status = predict_all(t, model, index, t->dataset->bags[split], job, out, loss, err);
    if (status != SW_OK) sw_survival_predictions_free(out);
    return status;
}
