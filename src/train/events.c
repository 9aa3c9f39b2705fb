/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>

#include "base/json.h"
#include "base/mem.h"
#include "train/trainer.h"

static void put_text(sw_json_writer *w, const char *key, const char *value)
{
    sw_json_key(w, key);
    sw_json_string(w, value);
}

static void put_int(sw_json_writer *w, const char *key, int64_t value)
{
    sw_json_key(w, key);
    sw_json_int(w, value);
}

static void put_real(sw_json_writer *w, const char *key, double value)
{
    sw_json_key(w, key);
    sw_json_number(w, value);
}

static void begin(sw_json_writer *w, sw_buf *line, const char *event)
{
    sw_json_begin(w, line, 0);
    sw_json_object(w);
    put_text(w, "event", event);
}

sw_status sw_trainer_log_start(sw_trainer *t, bool resumed, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf line = {0};
    sw_json_writer w;
    begin(&w, &line, resumed ? "resume" : "start");
    put_text(&w, "version", SW_VERSION);
    if (t->options->command) put_text(&w, "command", t->options->command);
    put_text(&w, "backend", t->be->device.name);
    put_text(&w, "precision", "fp32");
    put_int(&w, "threads", t->be->threads);
    put_int(&w, "seed", t->config.run.seed);
    put_int(&w, "parameters", sw_model_params(t->model, NULL));
    put_int(&w, "encoder_parameters", sw_model_params(t->model, "encoder"));
    put_int(&w, "steps_per_epoch", sw_loader_steps(t->loader));
    put_int(&w, "epoch", t->state.epoch + 1);
    put_text(&w, "metric", sw_metric_name((sw_metric_id)t->metric));
    put_text(&w, "selected_on", t->dataset->bags[SW_SPLIT_VAL] > 0 ? "val" : "last epoch");
    sw_json_end_object(&w);
    return sw_runlog_write(t->log, &line, err);
}

static void put_view(sw_json_writer *w, const char *prefix, const sw_validation *v)
{
    static const sw_metric_id shown[] = {SW_METRIC_ACCURACY, SW_METRIC_BALANCED_ACCURACY, SW_METRIC_AUC, SW_METRIC_F1,
                                         SW_METRIC_KAPPA};
    char key[64];
    if (!v->done) return;
    snprintf(key, sizeof key, "%sval_loss", prefix);
    put_real(w, key, v->loss);
    for (size_t i = 0; i < sizeof shown / sizeof shown[0]; i++) {
        snprintf(key, sizeof key, "%sval_%s", prefix, sw_metric_name(shown[i]));
        put_real(w, key, v->metric[shown[i]]);
    }
}

sw_status sw_trainer_log_epoch(sw_trainer *t, const sw_epoch_record *r, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf line = {0};
    sw_json_writer w;
    begin(&w, &line, "epoch");
    put_int(&w, "epoch", r->epoch);
    put_real(&w, "train_loss", r->train_loss);
    put_real(&w, "lr", r->lr);
    put_real(&w, "grad_norm", r->grad_norm);
    put_real(&w, "seconds", r->seconds);
    put_real(&w, "patches_per_second", r->patches_per_second);
    put_view(&w, "", &r->view[SW_MAIN]);
    put_view(&w, "ema_", &r->view[SW_EMA]);
    sw_json_key(&w, "best");
    sw_json_bool(&w, r->best[sw_trainer_primary(t)]);
    sw_json_end_object(&w);
    return sw_runlog_write(t->log, &line, err);
}

sw_status sw_trainer_log_stop(sw_trainer *t, const char *reason, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf line = {0};
    sw_json_writer w;
    begin(&w, &line, "stop");
    put_text(&w, "reason", reason);
    put_int(&w, "epochs", t->state.epoch);
    put_int(&w, "steps", t->state.steps);
    put_int(&w, "best_epoch", t->state.best[sw_trainer_primary(t)].epoch);
    put_real(&w, "best_metric", t->state.best[sw_trainer_primary(t)].metric);
    sw_json_end_object(&w);
    return sw_runlog_write(t->log, &line, err);
}
