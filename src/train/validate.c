/* SPDX-License-Identifier: Apache-2.0 */
/* Validation and the final evaluation: all patches of each slide, in chunks. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "train/trainer.h"

int64_t sw_trainer_count_patches(const sw_trainer *t, const int64_t *index, int64_t n)
{
    int64_t total = 0;
    for (int64_t i = 0; i < n; i++)
        total += sw_bag_patches(t->store, &t->dataset->bag[index[i]], t->use.eval_mpp_um);
    return total;
}

sw_status sw_trainer_predict_bag(sw_trainer *t, sw_model *model, const sw_bag *bag, sw_meter *meter, int64_t *done,
                                 sw_bag_result *out, sw_error *err)
{
    sw_patch_source *source = NULL;
    SW_TRY(sw_bag_source(t->store, bag, t->use.eval_mpp_um, &source, err));
    sw_infer_options o = {.chunk_patches = t->use.chunk_patches,
                          .crop_px = t->use.crop_px,
                          .channel_order = t->use.channel_order,
                          .normalise = t->use.normalise,
                          .ahead = 1,
                          .pool = t->pool,
                          .meter = meter,
                          .meter_base = *done};
    sw_status status = sw_infer_bag(model, source, &o, out, err);
    if (status == SW_OK) *done += out->n_patches;
    sw_patch_source_free(source);
    return status;
}

static sw_status predict_all(sw_trainer *t, sw_model *model, const int64_t *index, int64_t n, const char *job,
                             sw_predictions *out, double *loss, sw_error *err)
{
    sw_meter meter;
    int64_t done = 0;
    double sum = 0.0;
    SW_TRY(sw_predictions_begin(out, t->use.n_classes, (const char *const *)t->use.class_name, err));
    sw_meter_start(&meter, t->sink, job, "patches", sw_trainer_count_patches(t, index, n));
    for (int64_t i = 0; i < n; i++) {
        const sw_bag *bag = &t->dataset->bag[index[i]];
        sw_bag_result r = {0};
        SW_TRY(sw_trainer_predict_bag(t, model, bag, &meter, &done, &r, err));
        sw_status status =
            sw_predictions_add(out, bag->slide_id, bag->case_id, bag->label, r.predicted, r.probability, err);
        sum -= log(fmax(r.probability[bag->label], 1e-300));
        sw_bag_result_free(&r);
        SW_TRY(status);
    }
    *loss = n > 0 ? sum / (double)n : NAN;
    return SW_OK;
}

sw_status sw_trainer_predict(sw_trainer *t, sw_model *model, sw_split split, const char *job, sw_predictions *out,
                             double *loss, sw_error *err)
{
    SW_AUTOFREE int64_t *index = NULL;
    *out = (sw_predictions){0};
    SW_TRY(sw_dataset_select(t->dataset, split, &index, err));
    sw_status status = predict_all(t, model, index, t->dataset->bags[split], job, out, loss, err);
    if (status != SW_OK) sw_predictions_free(out);
    return status;
}

static sw_status finish_classes(sw_trainer *t, sw_model *model, sw_split split, const char *name, const char *job, const char *path,
                                sw_error *err)
{
    double loss = 0.0;
    sw_eval_options eo = sw_eval_options_default();
    SW_CLEANUP(sw_predictions_free) sw_predictions p = {0};
    SW_TRY(sw_trainer_predict(t, model, split, job, &p, &loss, err));
    SW_TRY(sw_predictions_write(&p, path, err));
    eo.resamples = t->config.eval.bootstrap;
    return sw_eval_run(t->config.run.out, name, &eo, NULL, err);
}

static sw_status finish_risks(sw_trainer *t, sw_model *model, sw_split split, const char *name, const char *job, const char *path,
                              sw_error *err)
{
    double loss = 0.0;
    sw_survival_options so = sw_survival_options_default();
    SW_CLEANUP(sw_survival_predictions_free) sw_survival_predictions p = {0};
    SW_TRY(sw_trainer_predict_risks(t, model, split, job, &p, &loss, err));
    SW_TRY(sw_survival_predictions_write(&p, path, err));
    if (split == SW_SPLIT_TRAIN) return SW_OK; /* only what the other splits are measured by */
    so.resamples = t->config.eval.bootstrap;
    return sw_survival_eval_run(t->config.run.out, name, &so, NULL, err);
}

static sw_status finish_split(sw_trainer *t, sw_model *model, sw_split split, const char *name, sw_error *err)
{
    char job[64];
    SW_AUTOFREE char *path = sw_asprintf("%s/predictions_%s.csv", t->config.run.out, name);
    if (!path) return sw_nomem(err);
    snprintf(job, sizeof job, "evaluate %s", name);
    return t->task.survival ? finish_risks(t, model, split, name, job, path, err)
                            : finish_classes(t, model, split, name, job, path, err);
}

static sw_status finish_view(sw_trainer *t, int view, sw_error *err)
{
    /* Risk groups are split at the training cases' median risk, so these come first. */
    static const sw_split splits[] = {SW_SPLIT_TRAIN, SW_SPLIT_VAL, SW_SPLIT_TEST};
    bool primary = view == sw_trainer_primary(t);
    size_t first = !primary ? 2 : t->task.survival && t->config.eval.risks_of_train ? 0 : 1;
    SW_AUTOFREE char *best = sw_trainer_best_path(t, view);
    sw_model_use use = {0};
    sw_model *model = NULL;
    if (!best) return sw_nomem(err);
    SW_TRY(sw_checkpoint_open(t->be, best, &model, &use, err));
    sw_status status = SW_OK;
    for (size_t i = first; i < 3 && status == SW_OK; i++) {
        if (t->dataset->bags[splits[i]] > 0)
            status = finish_split(t, model, splits[i], primary ? sw_split_name(splits[i]) : "test_main", err);
    }
    sw_model_use_free(&use);
    sw_model_free(model);
    return status;
}

sw_status sw_trainer_finish(sw_trainer *t, sw_error *err)
{
    /* with both views kept the average is the primary one; its training risks part the groups of either */
    SW_TRY(finish_view(t, sw_trainer_primary(t), err));
    return sw_trainer_primary(t) == SW_EMA && sw_trainer_selects(t, SW_MAIN) ? finish_view(t, SW_MAIN, err) : SW_OK;
}
