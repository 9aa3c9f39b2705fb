/* SPDX-License-Identifier: Apache-2.0 */
/* The training loop. Everything random comes from counters, so a checkpoint is weights, moments and a few numbers. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "train/step.h"
#include "train/trainer.h"

sw_train_options sw_train_options_default(void)
{
    return (sw_train_options){0};
}

/* What one call does besides the state that checkpoints keep. */
typedef struct loop {
    sw_trainer *t;
    int64_t steps_now;   /* steps of this call */
    int64_t patches;     /* of the epoch, in this call */
    int64_t begun_ns;
    sw_loader_count counted; /* at the end of the last step, */
    int64_t counted_ns;      /* and when that was */
    bool cancelled;
} loop;

static bool must_stop(const loop *l)
{
    int64_t limit = l->t->options->stop_after_steps;
    return sw_log_cancelled(l->t->sink) || (limit > 0 && l->steps_now >= limit);
}

/* --- one step */

/* A failure that ends the run is in its log, too, where the report finds it. */
static sw_status tell_if_bad(sw_trainer *t, sw_status status, sw_error *err)
{
    sw_error ignored;
    if (status != SW_E_INVALID) return status;
    if (sw_trainer_log_alarm(t, t->state.epoch + 1, SW_ALARM_NOT_FINITE, err->message, &ignored) != SW_OK)
        sw_log_warning(t->sink, "%s", ignored.message);
    return status;
}

static sw_status update(loop *l, int64_t in_window, sw_error *err)
{
    sw_trainer *t = l->t;
    sw_train_state *s = &t->state;
    double lr = sw_schedule_lr_at(&t->schedule, s->epoch, s->updates);
    if (t->config.train.encoder_lr > 0.0)
        sw_optim_set_group_lr(t->optim, sw_schedule_lr_at(&t->encoder_schedule, s->epoch, s->updates));
    double grad_scale = 1.0 / ((double)in_window * s->grad_scale);
    SW_TRY(sw_watch_gradients(&s->watch, t->model, grad_scale, err));
    SW_TRY(tell_if_bad(t, sw_optim_step(t->optim, lr, grad_scale, &s->grad_norm, err), err));
    s->updates = sw_optim_steps(t->optim);
    if (t->config.train.grad_scaling == SW_CFG_GRAD_SCALING_OFF) return SW_OK;
    sw_grad_scaler scaler = {s->grad_scale, s->grad_good};
    s->skipped += sw_optim_skipped(t->optim);
    sw_grad_scaler_update(&scaler, sw_optim_skipped(t->optim));
    s->grad_scale = scaler.scale;
    s->grad_good = scaler.good;
    if (s->grad_scale < 1e-30)
        return sw_error_set(err, SW_E_INVALID, "no gradient is finite, however small the loss is made (update %lld); lower train.lr (now %g)",
                            (long long)s->updates + 1, lr);
    return SW_OK;
}

/* Steps since the last update when the epoch stands at `done` steps. */
static int64_t window(const sw_trainer *t, int64_t done)
{
    int64_t k = t->config.train.accumulate, rest = done % k;
    return rest == 0 ? k : rest;
}

static bool ends_window(const sw_trainer *t, int64_t done)
{
    return done % t->config.train.accumulate == 0 || done == sw_loader_steps(t->loader);
}

static sw_status pixels(void *ctx, int64_t chunk, sw_tensor *out, sw_error *err)
{
    const sw_trainer *t = ctx;
    const sw_pixel_chunk *c = NULL;
    SW_TRY(sw_loader_chunk(t->loader, chunk, &c, err));
    sw_shape shape = c->dim > 0 ? SW_SHAPE(c->count, c->dim) : SW_SHAPE(c->count, 3, c->px, c->px);
    sw_status status = sw_tensor_from(&t->be->device, SW_F32, shape, c->images, out, err);
    sw_loader_done(t->loader);
    return status;
}

static sw_status step(loop *l, const sw_batch *batch, sw_error *err)
{
    sw_trainer *t = l->t;
    double loss = 0.0;
    SW_AUTOFREE int32_t *targets = sw_calloc((size_t)batch->n_bags * (size_t)t->task.width, sizeof *targets);
    if (!targets) return sw_nomem(err);
    t->task.targets(t->dataset, batch->bag, batch->n_bags, targets);
    sw_step_options so = {.task = &t->task,
                          .targets = targets,
                          .chunk_patches = t->config.train.chunk_patches,
                          .frozen_stats = t->config.encoder.frozen_stats,
                          .loss_scale = t->state.grad_scale,
                          .watch = &t->state.watch,
                          .seed = (uint64_t)t->config.run.seed,
                          .step = (uint32_t)t->state.steps,
                          .pixels = pixels,
                          .ctx = t};
    SW_TRY(sw_train_step(t->model, batch, &so, &loss, err));
    if (!isfinite(loss))
        return tell_if_bad(t, sw_error_set(err, SW_E_INVALID, "the loss is not finite at step %lld; lower train.lr (now %g)",
                                           (long long)t->state.steps + 1, t->config.train.lr), err);
    int64_t done = t->state.epoch_step + 1;
    if (ends_window(t, done)) SW_TRY(update(l, window(t, done), err));
    double decay = sw_ema_decay(t->config.train.ema, t->config.train.ema_warmup, t->state.steps + 1);
    if (t->ema) SW_TRY(sw_model_lerp(t->ema, t->model, 1.0 - decay, err));
    t->state.loss_sum += loss;
    t->state.epoch_step = done;
    t->state.steps++;
    l->steps_now++;
    l->patches += batch->n_bags * batch->bag_patches;
    return SW_OK;
}

static void show(const loop *l, sw_meter *meter)
{
    char detail[64];
    const sw_train_state *s = &l->t->state;
    int64_t elapsed = sw_now_ns() - l->begun_ns;
    sw_loader_count count = sw_loader_counted(l->t->loader);
    const char *limit = count.waited_ns > elapsed / 4 ? sw_batch_timing_limit(&count.timing) : "computing";
    snprintf(detail, sizeof detail, "loss %.4f", s->loss_sum / (double)s->epoch_step);
    sw_meter_tick(meter, s->epoch_step, (double)l->patches, limit, detail);
}

/* run.workers 0: as many threads load as the last step's measure says. A step that computes on all processors is slowed by
 * every thread beside it; at the start and wherever it waits, all of them load. */
static void size_workers(loop *l)
{
    sw_trainer *t = l->t;
    int64_t now = sw_now_ns();
    sw_loader_count counted = sw_loader_counted(t->loader);
    int most = sw_pool_threads(t->pool);
    if (t->config.run.workers == 0)
        sw_pool_limit(t->pool, sw_loader_workers(&l->counted, &counted, now - l->counted_ns, most));
    l->counted = counted;
    l->counted_ns = now;
}

/* A checkpoint inside an epoch, where the clock asks for one and no gradient waits for its update. */
static sw_status maybe_save(loop *l, sw_error *err)
{
    sw_trainer *t = l->t;
    double minutes = (double)(sw_now_ns() - t->saved_ns) * 1e-9 / 60.0;
    if (minutes < t->config.train.checkpoint_minutes) return SW_OK; /* 0: after each step */
    if (!ends_window(t, t->state.epoch_step)) return SW_OK;
    return sw_trainer_save(t, err);
}

/* The steps of an epoch, from where the state stands. */
static sw_status run_steps(loop *l, sw_error *err)
{
    sw_trainer *t = l->t;
    char job[64];
    sw_meter meter;
    int64_t steps = sw_loader_steps(t->loader);
    snprintf(job, sizeof job, "train epoch %d/%lld", t->state.epoch + 1, (long long)t->config.train.epochs);
    sw_pool_limit(t->pool, sw_pool_threads(t->pool));
    if (sw_trainer_clusters(t) && t->state.epoch_step == 0) {
        sw_status status = sw_trainer_cluster(t, err);
        if (status == SW_E_CANCELLED) l->cancelled = true;
        if (status != SW_OK) return status == SW_E_CANCELLED ? SW_OK : status;
    }
    if (sw_trainer_clusters(t)) sw_loader_set_clusters(t->loader, (const int32_t *const *)t->cluster);
    SW_TRY(sw_loader_begin(t->loader, (uint32_t)t->state.epoch, t->state.epoch_step, err));
    l->counted = sw_loader_counted(t->loader);
    l->counted_ns = sw_now_ns();
    sw_meter_start(&meter, t->sink, job, "steps", steps);
    meter.p.rate_unit = "patches";
    while (t->state.epoch_step < steps) {
        sw_batch *batch = NULL;
        if (t->config.bag.sampler == SW_SAMPLER_ATTENTION) SW_TRY(sw_trainer_attend(t, t->state.epoch_step, err));
        SW_TRY(sw_loader_next(t->loader, &batch, err));
        if (!batch) return sw_error_set(err, SW_E_INTERNAL, "the loader ended %lld steps early",
                                        (long long)(steps - t->state.epoch_step));
        sw_status status = step(l, batch, err);
        if (status == SW_OK) show(l, &meter);
        size_workers(l);
        sw_batch_free(batch);
        SW_TRY(status);
        if (must_stop(l) && ends_window(t, t->state.epoch_step)) {
            l->cancelled = true;
            return SW_OK;
        }
        SW_TRY(maybe_save(l, err));
    }
    return SW_OK;
}

/* --- the end of an epoch */

static sw_status validate_classes(sw_trainer *t, sw_model *model, const char *job, sw_validation *v, sw_error *err)
{
    SW_CLEANUP(sw_predictions_free) sw_predictions p = {0};
    sw_metric_options mo = sw_metric_options_default();
    SW_TRY(sw_trainer_predict(t, model, t->selects_on, job, &p, &v->loss, err));
    return sw_metrics_compute(p.count, p.n_classes, p.probability, p.label, p.predicted, &mo, v->metric, err);
}

static sw_status validate_risks(sw_trainer *t, sw_model *model, const char *job, sw_validation *v, sw_error *err)
{
    SW_CLEANUP(sw_survival_predictions_free) sw_survival_predictions p = {0};
    SW_CLEANUP(sw_survival_evaluation_free) sw_survival_evaluation e = {0};
    sw_survival_options so = {.resamples = 0};
    SW_TRY(sw_trainer_predict_risks(t, model, t->selects_on, job, &p, &v->loss, err));
    SW_TRY(sw_survival_evaluate(&p, "val", &so, &e, err));
    for (int m = SW_METRIC_COUNT; m < SW_METRIC_END; m++) v->metric[m] = sw_survival_metric(&e, (sw_metric_id)m);
    return SW_OK;
}

static sw_status validate(sw_trainer *t, int view, sw_validation *v, sw_error *err)
{
    char job[64];
    sw_model *model = view == SW_EMA ? t->ema : t->model;
    sw_pool_limit(t->pool, sw_pool_threads(t->pool)); /* what training needed says nothing here */
    snprintf(job, sizeof job, "validate epoch %d%s", t->state.epoch + 1, view == SW_EMA ? " (moving average)" : "");
    SW_TRY(t->task.survival ? validate_risks(t, model, job, v, err) : validate_classes(t, model, job, v, err));
    v->done = true;
    return SW_OK;
}

/* Strictly greater as in the reference; among equal values, which small validation sets give often, the lower loss, or the
 * later epoch (train.ties). A metric that is not defined on the validation set (the AUC of one class) leaves the choice to the loss. */
static bool is_better(const sw_trainer *t, const sw_best *best, double value, double loss)
{
    if (best->epoch == 0) return true;
    if (isnan(value)) return isnan(best->metric) && loss < best->loss;
    return isnan(best->metric) || value > best->metric || (value == best->metric && (loss < best->loss || t->config.train.ties == SW_CFG_TIES_LATER));
}

/* What early stopping counts: a tie is not worse, as in the reference, unless it counts all that is not better. */
static bool is_stale(const sw_trainer *t, const sw_best *best, double value, double loss)
{
    bool ties = t->config.train.early_stop.counts == SW_CFG_COUNT_NOT_BETTER;
    if (best->epoch == 0) return false;
    if (t->config.train.early_stop.watch == SW_CFG_WATCH_LOSS)
        return ties ? !(loss < t->state.least_loss) : loss > t->state.least_loss;
    if (isnan(value)) return !isnan(best->metric) || (ties ? loss >= best->loss : loss > best->loss);
    return ties ? !isnan(best->metric) && value <= best->metric : value < best->metric;
}

static void warn_undefined(const sw_trainer *t)
{
    sw_log_warning(t->sink, "the validation %s is not defined (%s in val?); the validation loss selects",
                   sw_metric_title((sw_metric_id)t->metric), t->task.survival ? "no event" : "a class without an example");
}

/* Validates the views that are kept and writes those that are better than before. Without a set to select on the last
 * epoch is the one to keep. */
static sw_status select_best(sw_trainer *t, sw_epoch_record *r, sw_error *err)
{
    bool has_val = t->dataset->bags[t->selects_on] > 0;
    for (int view = 0; view < SW_VIEWS; view++) {
        sw_best *best = &t->state.best[view];
        if (!sw_trainer_selects(t, view)) continue;
        if (has_val) SW_TRY(validate(t, view, &r->view[view], err));
        double value = has_val ? r->view[view].metric[t->metric] : NAN;
        double loss = r->view[view].loss;
        bool better = !has_val || is_better(t, best, value, loss);
        if (view == sw_trainer_primary(t) && has_val) {
            if (isnan(value) && best->epoch == 0) warn_undefined(t);
            t->state.stale = is_stale(t, best, value, loss) ? t->state.stale + 1 : 0;
            if (!(t->state.least_loss <= loss)) t->state.least_loss = loss;
        }
        if (!better) continue;
        *best = (sw_best){t->state.epoch + 1, value, has_val ? loss : NAN};
        r->best[view] = true;
        SW_TRY(sw_trainer_save_best(t, view, err));
    }
    return SW_OK;
}

static void describe(const sw_trainer *t, const sw_epoch_record *r)
{
    const sw_validation *v = &r->view[sw_trainer_primary(t)];
    if (!v->done) {
        sw_log_info(t->sink, "epoch %d: loss %.4f, %.0f patches/s", r->epoch, r->train_loss, r->patches_per_second);
        return;
    }
    sw_log_info(t->sink, "epoch %d: loss %.4f, val loss %.4f, val %s %.4f%s, %.0f patches/s", r->epoch, r->train_loss, v->loss,
                sw_metric_title((sw_metric_id)t->metric), v->metric[t->metric], r->best[sw_trainer_primary(t)] ? " (best)" : "",
                r->patches_per_second);
}

/* Warns of what the watch has seen, of each kind once in a run. */
static sw_status sound_alarms(sw_trainer *t, const sw_epoch_record *r, sw_error *err)
{
    char text[300];
    sw_watch_case of = {.epoch = r->epoch, .loss = r->train_loss, .encoder_frozen = t->config.encoder.frozen || !sw_model_has_encoder(t->model),
                        .guessing = t->task.survival ? NAN : log((double)t->dataset->n_classes)};
    for (int a = 0; a < SW_ALARMS; a++) {
        if ((t->state.alarms >> a & 1) || !sw_watch_judge(&r->watch, &of, (sw_watch_alarm)a, text, sizeof text)) continue;
        t->state.alarms |= (int64_t)1 << a;
        sw_log_warning(t->sink, "%s", text);
        SW_TRY(sw_trainer_log_alarm(t, r->epoch, (sw_watch_alarm)a, text, err));
    }
    return SW_OK;
}

static bool stops_early(const sw_trainer *t)
{
    int64_t patience = t->config.train.early_stop.patience;
    return patience > 0 && t->state.stale >= patience && t->state.epoch > t->config.train.early_stop.min_epoch;
}

/* Commit order: best, log line, then the checkpoint that moves the state on. A kill in between repeats the epoch's end,
 * and the log is cut back to what the checkpoint knows. */
static sw_status end_epoch(loop *l, sw_error *err)
{
    sw_trainer *t = l->t;
    double seconds = (double)(sw_now_ns() - l->begun_ns) * 1e-9;
    t->state.seconds += seconds;
    sw_epoch_record r = {.epoch = t->state.epoch + 1,
                         .train_loss = t->state.loss_sum / (double)t->state.epoch_step,
                         .lr = sw_schedule_lr_at(&t->schedule, t->state.epoch, t->state.updates > 0 ? t->state.updates - 1 : 0),
                         .grad_norm = t->state.grad_norm,
                         .watch = sw_watch_means(&t->state.watch),
                         .seconds = t->state.seconds,
                         .patches_per_second = seconds > 0.0 && l->patches > 0 ? (double)l->patches / seconds : NAN};
    SW_TRY(select_best(t, &r, err));
    SW_TRY(sw_trainer_log_epoch(t, &r, err));
    describe(t, &r);
    SW_TRY(sound_alarms(t, &r, err));
    t->state.epoch++;
    t->state.epoch_step = 0;
    t->state.loss_sum = t->state.seconds = 0.0;
    t->state.watch = (sw_watch){0};
    t->state.stopped_early = stops_early(t);
    return sw_trainer_save(t, err);
}

/* Stopped within validation: the epoch's steps are kept, and a resumed run begins at their end. */
static sw_status end_or_cancel(loop *l, sw_error *err)
{
    sw_trainer *t = l->t;
    sw_train_state before = t->state;
    sw_status status = end_epoch(l, err);
    if (status != SW_E_CANCELLED) return status;
    before.seconds = t->state.seconds;
    t->state = before;
    l->cancelled = true;
    return sw_trainer_save(t, err);
}

static sw_status run_epochs(loop *l, sw_error *err)
{
    sw_trainer *t = l->t;
    while (t->state.epoch < t->config.train.epochs && !t->state.stopped_early && !l->cancelled) {
        l->patches = 0;
        l->begun_ns = sw_now_ns();
        SW_TRY(run_steps(l, err));
        bool whole = t->state.epoch_step == sw_loader_steps(t->loader);
        if (!whole) t->state.seconds += (double)(sw_now_ns() - l->begun_ns) * 1e-9;
        SW_TRY(whole ? end_or_cancel(l, err) : sw_trainer_save(t, err));
    }
    return SW_OK;
}

/* --- the whole */

static void report(const loop *l, int64_t start_ns, sw_train_result *result)
{
    const sw_trainer *t = l->t;
    const sw_best *best = &t->state.best[sw_trainer_primary(t)];
    *result = (sw_train_result){.epochs = t->state.epoch,
                                .steps = t->state.steps,
                                .best_epoch = best->epoch,
                                .best_metric = best->metric,
                                .best_loss = best->loss,
                                .seconds = (double)(sw_now_ns() - start_ns) * 1e-9,
                                .stopped_early = t->state.stopped_early,
                                .cancelled = l->cancelled};
    snprintf(result->run_dir, sizeof result->run_dir, "%s", t->config.run.out);
    snprintf(result->metric, sizeof result->metric, "%s", sw_metric_title((sw_metric_id)t->metric));
}

static sw_status train(loop *l, sw_error *err)
{
    sw_trainer *t = l->t;
    if (t->state.finished) return SW_OK;
    SW_TRY(run_epochs(l, err));
    if (l->cancelled) return SW_OK;
    SW_TRY(sw_trainer_finish(t, err));
    sw_trainer_report_memory(t);
    SW_TRY(sw_trainer_log_stop(t, t->state.stopped_early ? "stopped early" : "all epochs done", err));
    t->state.finished = true;
    return sw_trainer_save(t, err);
}

sw_status sw_train(const sw_train_options *options, sw_train_result *result, sw_error *err)
{
    sw_trainer t;
    int64_t start_ns = sw_now_ns();
    sw_status status = sw_trainer_open(&t, options, err);
    loop l = {.t = &t};
    if (status == SW_OK) status = train(&l, err);
    if (status == SW_OK) report(&l, start_ns, result);
    sw_trainer_close(&t);
    return status;
}
