/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>

#include "base/json.h"
#include "base/mem.h"
#include "train/trainer.h"

static void begin(sw_json_writer *w, sw_buf *line, const char *event)
{
    sw_json_begin(w, line, 0);
    sw_json_object(w);
    sw_json_put_string(w, "event", event);
}

sw_status sw_trainer_log_start(sw_trainer *t, bool resumed, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf line = {0};
    sw_json_writer w;
    begin(&w, &line, resumed ? "resume" : "start");
    sw_json_put_string(&w, "version", SW_VERSION);
    if (t->options->command) sw_json_put_string(&w, "command", t->options->command);
    sw_json_put_string(&w, "backend", t->be->device.name);
    sw_json_put_string(&w, "precision", sw_precision_name(t->use.activations));
    sw_json_put_int(&w, "threads", t->be->threads);
    sw_json_put_int(&w, "chunk_patches", t->config.train.chunk_patches);
    sw_json_put_int(&w, "seed", t->config.run.seed);
    sw_json_put_int(&w, "parameters", sw_model_params(t->model, NULL));
    sw_json_put_int(&w, "encoder_parameters", sw_model_params(t->model, "encoder"));
    sw_json_put_int(&w, "steps_per_epoch", sw_loader_steps(t->loader));
    sw_json_put_int(&w, "epoch", t->state.epoch + 1);
    sw_json_put_string(&w, "task", t->task.name);
    sw_json_put_string(&w, "loss", t->task.loss_name);
    sw_json_put_string(&w, "metric", sw_metric_name((sw_metric_id)t->metric));
    sw_json_put_string(&w, "selected_on", t->dataset->bags[t->selects_on] > 0 ? sw_split_name(t->selects_on) : "last epoch");
    sw_json_end_object(&w);
    return sw_runlog_write(t->log, &line, err);
}

static void put_view(sw_json_writer *w, const char *prefix, const sw_validation *v, bool survival)
{
    static const sw_metric_id classes[] = {SW_METRIC_ACCURACY, SW_METRIC_BALANCED_ACCURACY, SW_METRIC_AUC, SW_METRIC_F1,
                                           SW_METRIC_KAPPA};
    static const sw_metric_id risks[] = {SW_METRIC_C_INDEX, SW_METRIC_C_INDEX_IPCW};
    const sw_metric_id *shown = survival ? risks : classes;
    size_t n = survival ? sizeof risks / sizeof risks[0] : sizeof classes / sizeof classes[0];
    char key[64];
    if (!v->done) return;
    snprintf(key, sizeof key, "%sval_loss", prefix);
    sw_json_put_number(w, key, v->loss);
    for (size_t i = 0; i < n; i++) {
        snprintf(key, sizeof key, "%sval_%s", prefix, sw_metric_name(shown[i]));
        sw_json_put_number(w, key, v->metric[shown[i]]);
    }
}

/* What was not measured (attention that an aggregator has not) is left out. */
static void put_measured(sw_json_writer *w, const char *key, double value)
{
    if (!isnan(value)) sw_json_put_number(w, key, value);
}

static void put_watch(sw_json_writer *w, const sw_watch *m)
{
    char key[64];
    for (int p = 0; p < SW_PARTS; p++) {
        snprintf(key, sizeof key, "grad_norm_%s", sw_part_names[p]);
        put_measured(w, key, m->grad[p]);
    }
    put_measured(w, "attention_sparsity", m->sparsity);
    put_measured(w, "attention_below_mean", m->below_mean);
    put_measured(w, "attention_entropy_gap", m->entropy_gap);
    put_measured(w, "attention_gini", m->gini);
    put_measured(w, "attention_head_entropy_gap", m->head_gap);
    put_measured(w, "feature_norm", m->feature_norm);
    put_measured(w, "feature_spread", m->feature_spread);
    put_measured(w, "feature_rank", m->feature_rank);
}

sw_status sw_trainer_log_epoch(sw_trainer *t, const sw_epoch_record *r, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf line = {0};
    sw_json_writer w;
    begin(&w, &line, "epoch");
    sw_json_put_int(&w, "epoch", r->epoch);
    sw_json_put_number(&w, "train_loss", r->train_loss);
    sw_json_put_number(&w, "lr", r->lr);
    sw_json_put_number(&w, "grad_norm", r->grad_norm);
    put_watch(&w, &r->watch);
    if (t->config.train.grad_scaling == SW_CFG_GRAD_SCALING_DYNAMIC) {
        sw_json_put_number(&w, "grad_scale", t->state.grad_scale);
        sw_json_put_int(&w, "skipped_updates", t->state.skipped);
    }
    sw_json_put_number(&w, "seconds", r->seconds);
    sw_json_put_number(&w, "patches_per_second", r->patches_per_second);
    put_view(&w, "", &r->view[SW_MAIN], t->task.survival);
    put_view(&w, "ema_", &r->view[SW_EMA], t->task.survival);
    sw_json_key(&w, "best");
    sw_json_bool(&w, r->best[sw_trainer_primary(t)]);
    sw_json_end_object(&w);
    return sw_runlog_write(t->log, &line, err);
}

sw_status sw_trainer_log_alarm(sw_trainer *t, int epoch, sw_watch_alarm alarm, const char *text, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf line = {0};
    sw_json_writer w;
    begin(&w, &line, "warning");
    sw_json_put_int(&w, "epoch", epoch);
    sw_json_put_string(&w, "kind", sw_watch_alarm_name(alarm));
    sw_json_put_string(&w, "text", text);
    sw_json_end_object(&w);
    return sw_runlog_write(t->log, &line, err);
}

sw_status sw_trainer_log_stop(sw_trainer *t, const char *reason, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf line = {0};
    sw_json_writer w;
    begin(&w, &line, "stop");
    sw_json_put_string(&w, "reason", reason);
    sw_json_put_int(&w, "epochs", t->state.epoch);
    sw_json_put_int(&w, "steps", t->state.steps);
    sw_json_put_int(&w, "best_epoch", t->state.best[sw_trainer_primary(t)].epoch);
    sw_json_put_number(&w, "best_metric", t->state.best[sw_trainer_primary(t)].metric);
    sw_json_end_object(&w);
    return sw_runlog_write(t->log, &line, err);
}
