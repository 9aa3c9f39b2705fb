/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoints: last.safetensors holds everything that training depends on (previous.safetensors is the one before it, should
 * the last be damaged), best*.safetensors a model alone. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "train/trainer.h"

const char sw_trainer_state_key[] = "slidewise.state";
static const char ema_prefix[] = "ema.", m_name[] = "optim.m", v_name[] = "optim.v";

bool sw_trainer_selects(const sw_trainer *t, int view)
{
    sw_cfg_select select = t->config.train.select;
    if (view == SW_EMA) return t->ema && select != SW_CFG_SELECT_MAIN;
    return !t->ema || select != SW_CFG_SELECT_EMA;
}

int sw_trainer_primary(const sw_trainer *t)
{
    return sw_trainer_selects(t, SW_EMA) ? SW_EMA : SW_MAIN;
}

char *sw_trainer_best_path(const sw_trainer *t, int view)
{
    /* best.safetensors is the one to use; with both views kept the other one has its name in front */
    const char *name = view == sw_trainer_primary(t) ? "best" : view == SW_EMA ? "best_ema" : "best_main";
    return sw_asprintf("%s/%s.safetensors", t->checkpoints, name);
}

static sw_status put_tensor(sw_weights_writer *w, const char *name, const sw_tensor *t, sw_error *err)
{
    SW_AUTOFREE void *host = sw_malloc(sw_tensor_bytes(t));
    if (!host) return sw_nomem(err);
    SW_TRY(sw_tensor_download(t, host, err));
    return sw_weights_writer_add(w, name, t->dtype, &t->shape, host, err);
}

static sw_status put_all(sw_trainer *t, sw_weights_writer *w, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf state = {0};
    t->state.log_bytes = sw_runlog_size(t->log);
    sw_train_state_write(&t->state, &state);
    SW_TRY(sw_buf_status(&state, err));
    SW_TRY(sw_weights_writer_metadata(w, sw_trainer_state_key, state.data, err));
    SW_TRY(sw_checkpoint_put(t->model, &t->use, t->state.steps, w, err));
    if (t->ema) SW_TRY(sw_model_put(t->ema, ema_prefix, t->state.steps, w, err));
    if (sw_trainer_clusters(t) && t->state.epoch_step > 0) SW_TRY(sw_trainer_put_clusters(t, w, err));
    SW_TRY(put_tensor(w, m_name, sw_optim_m(t->optim), err));
    return put_tensor(w, v_name, sw_optim_v(t->optim), err);
}

sw_status sw_trainer_save(sw_trainer *t, sw_error *err)
{
    sw_weights_writer *w = NULL;
    SW_TRY(sw_weights_writer_new(&w, err));
    sw_status status = put_all(t, w, err);
    if (status == SW_OK) status = sw_file_keep(t->last, t->previous, err);
    if (status == SW_OK) status = sw_weights_writer_save(w, t->last, err);
    if (status == SW_OK && t->state.finished) status = sw_file_remove(t->previous, err);
    sw_weights_writer_free(w);
    t->saved_ns = sw_now_ns();
    return status;
}

sw_status sw_trainer_save_best(sw_trainer *t, int view, sw_error *err)
{
    SW_AUTOFREE char *path = sw_trainer_best_path(t, view);
    sw_weights_writer *w = NULL;
    if (!path) return sw_nomem(err);
    SW_TRY(sw_weights_writer_new(&w, err));
    sw_status status = sw_checkpoint_put(view == SW_EMA ? t->ema : t->model, &t->use, t->state.steps, w, err);
    if (status == SW_OK) status = sw_weights_writer_save(w, path, err);
    sw_weights_writer_free(w);
    return status;
}

static sw_status get_tensor(const sw_trainer *t, const sw_weights *w, const char *name, sw_tensor *out, sw_error *err)
{
    int64_t at = sw_weights_find(w, name);
    if (at < 0 || !sw_shape_equal(&sw_weights_get(w, (size_t)at)->shape, &out->shape))
        return sw_error_set(err, SW_E_FORMAT, "%s: holds no fitting %s; delete the file to start again", t->from, name);
    SW_AUTOFREE float *host = sw_malloc((size_t)sw_tensor_count(out) * sizeof *host);
    if (!host) return sw_nomem(err);
    SW_TRY(sw_weights_read_f32(w, (size_t)at, host, err));
    return sw_tensor_upload_f32(out, host, err);
}

/* RUN/config.yaml is still that of the checkpoint: it says which key differs; if none does, the table does. */
static sw_status other_run(const sw_trainer *t, sw_error *err)
{
    char key[256] = "the label table, its split or its slides";
    SW_CLEANUP(sw_config_free) sw_config before = {0};
    SW_AUTOFREE char *path = sw_path_join(t->config.run.out, "config.yaml");
    if (!path) return sw_nomem(err);
    sw_status status = sw_config_load(path, NULL, 0, &before, err);
    if (status == SW_E_NOMEM) return status;
    if (status == SW_OK) sw_config_differs(&before, &t->config, key, sizeof key);
    else snprintf(key, sizeof key, "%s can no longer be read, so what differs is not known", path);
    return sw_error_set(err, SW_E_INVALID,
                        "%s: was trained with another configuration or label table than given now (%s); give the same, or "
                        "choose another run.out",
                        t->from, key);
}

/* Whether a checkpoint can be gone on from: all its bytes are those that were written, and it holds a state. */
static sw_status check_checkpoint(const char *path, sw_train_state *state, sw_error *err)
{
    SW_CLEANUP(sw_weights_close_ptr) sw_weights *w = NULL;
    SW_TRY(sw_weights_open(path, &w, err));
    const char *text = sw_weights_metadata(w, sw_trainer_state_key);
    if (!sw_weights_checked(w))
        return sw_error_set(err, SW_E_FORMAT, "%s: carries no checksum: it is damaged, or of an older version", path);
    if (!text) return sw_error_set(err, SW_E_FORMAT, "%s: not a training checkpoint; choose another run.out", path);
    return sw_train_state_read(text, path, state, err);
}

sw_status sw_trainer_find_checkpoint(sw_trainer *t, sw_error *err)
{
    sw_train_state state = sw_train_state_start(0);
    sw_error first;
    t->from = NULL;
    if (!sw_path_exists(t->last) && !sw_path_exists(t->previous)) return SW_OK;
    sw_status status = check_checkpoint(t->last, &state, err);
    t->from = t->last;
    if (status == SW_OK && state.finished) return sw_file_remove(t->previous, err); /* a kill may have left it */
    if (status == SW_OK || status == SW_E_NOMEM || !sw_path_exists(t->previous)) return status;
    first = *err;
    if (check_checkpoint(t->previous, &state, err) != SW_OK)
        return sw_error_set(err, SW_E_FORMAT, "%s; nor can the one before it be used: %s is damaged, too", first.message, t->previous);
    sw_log_warning(t->sink, "%s; going on from the checkpoint before it, %s (epoch %d, step %lld)", first.message, t->previous,
                   state.epoch + 1, (long long)state.steps);
    t->from = t->previous;
    return sw_file_remove(t->last, err); /* or it would become the previous one */
}

sw_status sw_trainer_resume(sw_trainer *t, sw_error *err)
{
    SW_CLEANUP(sw_weights_close_ptr) sw_weights *w = NULL;
    uint64_t hash = t->state.config_hash;
    SW_TRY(sw_weights_open(t->from, &w, err));
    const char *state = sw_weights_metadata(w, sw_trainer_state_key);
    if (!state) return sw_error_set(err, SW_E_FORMAT, "%s: not a training checkpoint; choose another run.out", t->from);
    SW_TRY(sw_train_state_read(state, t->from, &t->state, err));
    if (t->state.config_hash != hash) return other_run(t, err);
    t->state.chunk_patches = t->config.train.chunk_patches; /* a checkpoint of an older version has none */
    t->state.eval_chunk_patches = t->config.eval.chunk_patches;
    SW_TRY(sw_model_get(t->model, "", w, err));
    if (t->ema) SW_TRY(sw_model_get(t->ema, ema_prefix, w, err));
    SW_TRY(get_tensor(t, w, m_name, sw_optim_m(t->optim), err));
    SW_TRY(get_tensor(t, w, v_name, sw_optim_v(t->optim), err));
    sw_optim_set_steps(t->optim, t->state.updates);
    return sw_trainer_clusters(t) && t->state.epoch_step > 0 ? sw_trainer_get_clusters(t, w, err) : SW_OK;
}
