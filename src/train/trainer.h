/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of a training run; train.c is the order in which they work. */
#ifndef SW_TRAIN_TRAINER_H
#define SW_TRAIN_TRAINER_H

#include "base/log.h"
#include "base/thread.h"
#include "batch/batch.h"
#include "infer/checkpoint.h"
#include "infer/infer.h"
#include "infer/memory.h"
#include "model/model.h"
#include "optim/optim.h"
#include "slidewise/eval.h"
#include "slidewise/survival.h"
#include "slidewise/train.h"
#include "task/task.h"
#include "train/runlog.h"
#include "train/state.h"

enum { SW_ASSUMED_DIM = 1024 };   /* of features, in a plan without any */
enum { SW_FEATURES_AHEAD = 3 };   /* steps whose features are read while one is computed: files are read one by one */
enum { SW_MAIN, SW_EMA, SW_VIEWS }; /* the trained model, and its moving average */

typedef struct sw_trainer {
    const sw_train_options *options;
    const sw_sink *sink;
    sw_config config;
    char *checkpoints; /* RUN/checkpoints */
    char *last;        /* RUN/checkpoints/last.safetensors */
    char *previous;    /* RUN/checkpoints/previous.safetensors: the one before, until the run is done */
    const char *from;  /* the one of both that is resumed; NULL: the run begins */
    sw_store *store;
    sw_dataset *dataset;
    sw_bag_scales scales;
    sw_task task;
    double *class_weight; /* of its loss; NULL: all 1 */
    int metric;        /* sw_metric_id that selects, */
    sw_split selects_on; /* on this split: val, or with train.select_on_test test */
    sw_pool *pool;
    sw_loader *loader;
    sw_batch_given given; /* attention sampling: the step's patches; owned */
    int32_t **cluster;    /* cluster sampling: [bags of the dataset] of the training bags' patches in this epoch; owned */
    sw_backend *be;
    sw_model *model, *ema; /* ema NULL: off */
    sw_model_use use;
    sw_optim *optim;
    sw_schedule schedule, encoder_schedule; /* the second where train.encoder_lr is given */
    sw_train_state state;
    sw_runlog *log;
    double memory_estimate; /* bytes that the process will take at most; 0: not asked for */
    int64_t keep_bytes; /* of pixels that may wait for a step's second pass */
    int lock_fd;       /* of the run directory; <= 0: not held */
    int64_t saved_ns;  /* when the last checkpoint was written */
} sw_trainer;

/* --- setup.c: everything up to the first step. Free with sw_trainer_close, also after a failure. */
sw_status sw_trainer_open(sw_trainer *t, const sw_train_options *options, sw_error *err) SW_MUST_CHECK;
void sw_trainer_close(sw_trainer *t);
bool sw_is_placeholder(const char *text); /* "<what belongs here>", as in experiments/ */
sw_status sw_trainer_open_store(sw_trainer *t, sw_error *err) SW_MUST_CHECK; /* data.store, slides and coordinates, or features */
/* Backend, model, average, optimiser and schedule. `blank`: values do not matter, no weights are read. */
sw_status sw_trainer_make_model(sw_trainer *t, int outputs, bool blank, sw_error *err) SW_MUST_CHECK;

/* --- lock.c */
/* Refuses a run directory that another training writes into. */
sw_status sw_trainer_lock(sw_trainer *t, sw_error *err) SW_MUST_CHECK;
void sw_trainer_unlock(sw_trainer *t);

/* --- chunks.c */
/* Sets train.chunk_patches and eval.chunk_patches of the configuration where they are not given. */
sw_status sw_trainer_choose_chunks(sw_trainer *t, bool resumed, sw_error *err) SW_MUST_CHECK;
void sw_trainer_report_memory(const sw_trainer *t); /* the peak beside what was expected */

/* --- attend.c */
/* Chooses the patches of step `step` of the epoch begun and gives them to the loader (bag.sampler attention). */
sw_status sw_trainer_attend(sw_trainer *t, int64_t step, sw_error *err) SW_MUST_CHECK;
void sw_trainer_attend_free(sw_trainer *t);

/* --- cluster.c */
bool sw_trainer_clusters(const sw_trainer *t); /* are patches drawn by clusters (bag.sampler clusters, top_patches)? */
/* Finds the clusters of all training bags with the model as it is, for an epoch that begins. SW_E_CANCELLED: interrupted. */
sw_status sw_trainer_cluster(sw_trainer *t, sw_error *err) SW_MUST_CHECK;
/* Those of an epoch in progress, in a checkpoint and back: a run that goes on within it has another model than at its begin. */
sw_status sw_trainer_put_clusters(const sw_trainer *t, sw_weights_writer *w, sw_error *err) SW_MUST_CHECK;
sw_status sw_trainer_get_clusters(sw_trainer *t, const sw_weights *w, sw_error *err) SW_MUST_CHECK;
void sw_trainer_clusters_free(sw_trainer *t);

/* --- save.c */
extern const char sw_trainer_state_key[]; /* of a checkpoint's metadata */
sw_status sw_trainer_save(sw_trainer *t, sw_error *err) SW_MUST_CHECK;   /* last.safetensors, with all state */
/* Sets t->from. A last checkpoint that is damaged is told, and the one before it taken. */
sw_status sw_trainer_find_checkpoint(sw_trainer *t, sw_error *err) SW_MUST_CHECK;
sw_status sw_trainer_resume(sw_trainer *t, sw_error *err) SW_MUST_CHECK; /* from t->from */
/* best.safetensors, best_ema.safetensors: a model alone. */
sw_status sw_trainer_save_best(sw_trainer *t, int view, sw_error *err) SW_MUST_CHECK;
char *sw_trainer_best_path(const sw_trainer *t, int view); /* owned; NULL: no memory */
bool sw_trainer_selects(const sw_trainer *t, int view);    /* is this view validated and kept? */
int sw_trainer_primary(const sw_trainer *t);               /* the view that early stopping watches */

/* --- validate.c */
/* All bags of a split through `model`: predictions (owned by the caller) and the mean cross-entropy. */
sw_status sw_trainer_predict(sw_trainer *t, sw_model *model, sw_split split, const char *job, sw_predictions *out,
                             double *loss, sw_error *err) SW_MUST_CHECK;
/* The same of a survival run: risks, and the task's loss. */
sw_status sw_trainer_predict_risks(sw_trainer *t, sw_model *model, sw_split split, const char *job,
                                   sw_survival_predictions *out, double *loss, sw_error *err) SW_MUST_CHECK;
/* One bag of the dataset through `model`; *done counts patches. */
sw_status sw_trainer_predict_bag(sw_trainer *t, sw_model *model, const sw_bag *bag, sw_meter *meter, int64_t *done,
                                 sw_bag_result *out, sw_error *err) SW_MUST_CHECK;
int64_t sw_trainer_count_patches(const sw_trainer *t, const int64_t *index, int64_t n); /* of bags, for evaluation */
/* At the end: predictions_<split>.csv and metrics_<split>.json of val and test with the selected checkpoint. */
sw_status sw_trainer_finish(sw_trainer *t, sw_error *err) SW_MUST_CHECK;

/* --- events.c: lines of log.jsonl */
typedef struct sw_validation {
    bool done;
    double loss;
    double metric[SW_METRIC_END]; /* those of the task */
} sw_validation;
typedef struct sw_epoch_record {
    int epoch; /* 1-based */
    double train_loss, lr, seconds, patches_per_second, grad_norm;
    sw_watch watch; /* means */
    sw_validation view[SW_VIEWS];
    bool best[SW_VIEWS];
} sw_epoch_record;
sw_status sw_trainer_log_start(sw_trainer *t, bool resumed, sw_error *err) SW_MUST_CHECK;
sw_status sw_trainer_log_epoch(sw_trainer *t, const sw_epoch_record *record, sw_error *err) SW_MUST_CHECK;
/* {"event": "warning"}: what the collapse watch has seen. */
sw_status sw_trainer_log_alarm(sw_trainer *t, int epoch, sw_watch_alarm alarm, const char *text, sw_error *err) SW_MUST_CHECK;
sw_status sw_trainer_log_stop(sw_trainer *t, const char *reason, sw_error *err) SW_MUST_CHECK;

#endif
