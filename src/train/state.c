/* SPDX-License-Identifier: Apache-2.0 */
#include "train/state.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"

sw_train_state sw_train_state_start(uint64_t config_hash)
{
    sw_train_state s = {.config_hash = config_hash, .grad_scale = 1.0, .least_loss = NAN};
    for (int i = 0; i < 2; i++) s.best[i] = (sw_best){0, NAN, NAN};
    return s;
}

static void put_best(sw_json_writer *w, const char *key, const sw_best *best)
{
    sw_json_key(w, key);
    sw_json_object(w);
    sw_json_put_int(w, "epoch", best->epoch);
    sw_json_put_number(w, "metric", best->metric); /* NaN is written as null */
    sw_json_put_number(w, "loss", best->loss);
    sw_json_end_object(w);
}

static void put_watch(sw_json_writer *w, const sw_watch *watch)
{
    const double *value = (const double *)watch;
    sw_json_key(w, "watch");
    sw_json_array(w);
    for (int i = 0; i < SW_WATCH_NUMBERS; i++) sw_json_number(w, value[i]);
    sw_json_end_array(w);
}

/* Of another length in a checkpoint of another version: the epoch's numbers then begin where it goes on. */
static sw_watch get_watch(const sw_json *root)
{
    double value[SW_WATCH_NUMBERS] = {0};
    sw_watch watch;
    const sw_json *list = sw_json_get(root, "watch");
    if (sw_json_count(list) == SW_WATCH_NUMBERS)
        for (int i = 0; i < SW_WATCH_NUMBERS; i++) value[i] = sw_json_real(sw_json_at(list, (size_t)i), NAN); /* null */
    memcpy(&watch, value, sizeof watch);
    return watch;
}

void sw_train_state_write(const sw_train_state *s, sw_buf *out)
{
    sw_json_writer w;
    char hash[32];
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)s->config_hash);
    sw_json_begin(&w, out, 0);
    sw_json_object(&w);
    const struct {
        const char *key;
        int64_t value;
    } ints[] = {{"epoch", s->epoch}, {"epoch_step", s->epoch_step}, {"steps", s->steps},
                {"updates", s->updates}, {"stale", s->stale}, {"log_bytes", s->log_bytes},
                {"alarms", s->alarms}, {"grad_good", s->grad_good}, {"skipped", s->skipped}, {"chunk_patches", s->chunk_patches}, {"eval_chunk_patches", s->eval_chunk_patches}};
    for (size_t i = 0; i < sizeof ints / sizeof ints[0]; i++) sw_json_put_int(&w, ints[i].key, ints[i].value);
    sw_json_put_number(&w, "loss_sum", s->loss_sum);
    sw_json_put_number(&w, "grad_norm", s->grad_norm);
    sw_json_put_number(&w, "grad_scale", s->grad_scale);
    sw_json_put_number(&w, "least_loss", s->least_loss);
    sw_json_put_number(&w, "seconds", s->seconds);
    put_watch(&w, &s->watch);
    put_best(&w, "best", &s->best[0]);
    put_best(&w, "best_ema", &s->best[1]);
    sw_json_put_bool(&w, "finished", s->finished);
    sw_json_put_bool(&w, "stopped_early", s->stopped_early);
    sw_json_put_string(&w, "config", hash);
    sw_json_end_object(&w);
}

static sw_best get_best(const sw_json *root, const char *key)
{
    const sw_json *b = sw_json_get(root, key);
    return (sw_best){(int)sw_json_integer(sw_json_get(b, "epoch"), 0), sw_json_real(sw_json_get(b, "metric"), NAN),
                     sw_json_real(sw_json_get(b, "loss"), NAN)};
}

sw_status sw_train_state_read(const char *text, const char *name, sw_train_state *out, sw_error *err)
{
    SW_CLEANUP(sw_json_free_ptr) sw_json *root = NULL;
    SW_TRY(sw_json_parse(text, strlen(text), name, &root, err));
    const char *hash = sw_json_text(sw_json_get(root, "config"), NULL);
    if (!hash || !sw_json_get(root, "steps"))
        return sw_error_set(err, SW_E_FORMAT, "%s: not a training state; delete the file to start again", name);
    *out = (sw_train_state){
        .epoch = (int)sw_json_integer(sw_json_get(root, "epoch"), 0),
        .epoch_step = sw_json_integer(sw_json_get(root, "epoch_step"), 0),
        .steps = sw_json_integer(sw_json_get(root, "steps"), 0),
        .updates = sw_json_integer(sw_json_get(root, "updates"), 0),
        .stale = (int)sw_json_integer(sw_json_get(root, "stale"), 0),
        .log_bytes = sw_json_integer(sw_json_get(root, "log_bytes"), 0),
        .chunk_patches = sw_json_integer(sw_json_get(root, "chunk_patches"), 0),
        .eval_chunk_patches = sw_json_integer(sw_json_get(root, "eval_chunk_patches"), 0),
        .loss_sum = sw_json_real(sw_json_get(root, "loss_sum"), 0.0),
        .grad_norm = sw_json_real(sw_json_get(root, "grad_norm"), 0.0),
        .watch = get_watch(root),
        .alarms = sw_json_integer(sw_json_get(root, "alarms"), 0),
        .least_loss = sw_json_real(sw_json_get(root, "least_loss"), NAN),
        .grad_scale = sw_json_real(sw_json_get(root, "grad_scale"), 1.0),
        .grad_good = sw_json_integer(sw_json_get(root, "grad_good"), 0),
        .skipped = sw_json_integer(sw_json_get(root, "skipped"), 0),
        .seconds = sw_json_real(sw_json_get(root, "seconds"), 0.0),
        .best = {get_best(root, "best"), get_best(root, "best_ema")},
        .finished = sw_json_truth(sw_json_get(root, "finished"), false),
        .stopped_early = sw_json_truth(sw_json_get(root, "stopped_early"), false),
        .config_hash = strtoull(hash, NULL, 16),
    };
    return SW_OK;
}
