/* SPDX-License-Identifier: Apache-2.0 */
/* How many patches go through the encoder at once: as given, as a checkpoint remembers, or as run.memory allows. */
#include <stdio.h>

#include "base/cpu.h"
#include "base/mem.h"
#include "base/text.h"
#include "train/trainer.h"

enum { TRAIN_CHUNK = 128, EVAL_CHUNK = 64 }; /* without a budget */
enum { EVAL_AHEAD = 1 };                      /* chunks of pixels that are prepared */
enum { PLAN_BYTES = 112 };                     /* of a patch in the plan of a step: what is drawn and how it is cut */
enum { WORKER_BYTES = 2 << 20 };              /* of a loading thread: a decoder and one picture */

/* What the checkpoint of an interrupted run remembers stands for what is not given: chunks decide batch statistics. */
static sw_status take_recorded(sw_trainer *t, sw_error *err)
{
    SW_CLEANUP(sw_weights_close_ptr) sw_weights *w = NULL;
    sw_train_state state;
    SW_TRY(sw_weights_open(t->from, &w, err));
    const char *text = sw_weights_metadata(w, sw_trainer_state_key);
    if (!text) return SW_OK; /* sw_trainer_resume says so */
    SW_TRY(sw_train_state_read(text, t->from, &state, err));
    if (t->config.train.chunk_patches == 0) t->config.train.chunk_patches = state.chunk_patches;
    if (t->config.eval.chunk_patches == 0) t->config.eval.chunk_patches = state.eval_chunk_patches;
    return SW_OK;
}

static int64_t largest_slide(const sw_trainer *t)
{
    int64_t most = 1;
    for (int64_t i = 0; i < t->dataset->n_bags; i++) {
        int64_t n = sw_bag_patches(t->store, &t->dataset->bag[i], t->scales.mpp_um[t->scales.eval]);
        if (n > most) most = n;
    }
    return most;
}

/* Decoding, and a checkpoint as it is written: its data twice, at most as much as parameters and moments. */
static double besides(const sw_trainer *t, const sw_memory_cost *cost)
{
    int64_t workers = t->config.run.workers > 0 ? t->config.run.workers : t->config.run.threads;
    return 2.0 * cost->held + WORKER_BYTES * (double)(workers > 0 ? workers : sw_cpu_count());
}

/* Without an encoder nothing is gained by parts of a step. */
static void take_whole(sw_trainer *t)
{
    int64_t most = t->config.train.batch_bags * t->scales.plan.total, limit = 1000000; /* that of the key */
    int64_t *chunk = &t->config.train.chunk_patches;
    if (*chunk == 0) *chunk = most < limit ? most : limit;
}

/* What is read of features, besides what the loader holds. */
static double of_features(const sw_trainer *t)
{
    int dim = sw_store_feature_dim(t->store);
    double slide = (double)largest_slide(t) * dim * (double)sizeof(float);
    return dim == 0 ? 0.0 : (double)((int64_t)t->config.data.cache_mb << 20) + slide * SW_FEATURES_AHEAD;
}

/* One of the two chunks: measured, chosen if it is not given, and a warning if what is given does not fit. */
static sw_status fit(sw_trainer *t, bool training, double budget, int64_t *chunk, sw_error *err)
{
    sw_memory_cost cost;
    sw_memory_load load = {.waiting = EVAL_AHEAD};
    sw_loader_options lo = sw_loader_options_of(&t->config);
    char need[32], have[32];
    SW_TRY(sw_memory_measure(t->model, (int)t->config.augment.crop_px, training, &cost, err));
    load.other = besides(t, &cost) + of_features(t);
    load.patches = training ? t->config.train.batch_bags * t->scales.plan.total : largest_slide(t);
    if (training) {
        load.waiting = sw_store_feature_dim(t->store) > 0 ? SW_FEATURES_AHEAD : lo.ahead;
        load.other += PLAN_BYTES * (double)(lo.ahead + 2) * (double)load.patches;
    }
    if (*chunk == 0) SW_TRY(sw_memory_pick(&cost, &load, budget, training ? 0 : EVAL_CHUNK, "run.memory", chunk, err));
    double total = sw_memory_total(&cost, &load, *chunk);
    if (total > t->memory_estimate) t->memory_estimate = total;
    if (training && total < budget) t->keep_bytes = (int64_t)(budget - total); /* pixels that need not be decoded twice */
    if (total > budget && cost.px == 0)
        sw_log_warning(t->sink, "%s needs about %s, more than run.memory (%s)", training ? "a step" : "the largest slide",
                       sw_bytes_text((int64_t)total, need, sizeof need), sw_bytes_text((int64_t)budget, have, sizeof have));
    else if (total > budget)
        sw_log_warning(t->sink, "%s is %lld, which needs about %s, more than run.memory (%s)",
                       training ? "train.chunk_patches" : "eval.chunk_patches", (long long)*chunk,
                       sw_bytes_text((int64_t)total, need, sizeof need), sw_bytes_text((int64_t)budget, have, sizeof have));
    return SW_OK;
}

sw_status sw_trainer_choose_chunks(sw_trainer *t, bool resumed, sw_error *err)
{
    char need[32], have[32];
    int64_t *train = &t->config.train.chunk_patches, *eval = &t->config.eval.chunk_patches;
    double budget = sw_memory_budget(t->config.run.memory);
    if (resumed) SW_TRY(take_recorded(t, err));
    if (sw_store_feature_dim(t->store) > 0) take_whole(t);
    if (budget > 0.0) {
        SW_TRY(fit(t, true, budget, train, err));
        SW_TRY(fit(t, false, budget, eval, err));
        sw_log_info(t->sink, "memory: about %s of %s, with %lld patches at once in training and %lld in evaluation",
                    sw_bytes_text((int64_t)t->memory_estimate, need, sizeof need),
                    sw_bytes_text((int64_t)budget, have, sizeof have), (long long)*train, (long long)*eval);
    }
    if (*train == 0) *train = TRAIN_CHUNK;
    if (*eval == 0) *eval = EVAL_CHUNK;
    return SW_OK;
}

void sw_trainer_report_memory(const sw_trainer *t)
{
    char peak[32], estimate[32];
    int64_t bytes = sw_process_memory_now().peak;
    if (t->memory_estimate <= 0.0 || bytes <= 0) return;
    sw_log_info(t->sink, "memory: %s at most, %s were expected", sw_bytes_text(bytes, peak, sizeof peak),
                sw_bytes_text((int64_t)t->memory_estimate, estimate, sizeof estimate));
}
