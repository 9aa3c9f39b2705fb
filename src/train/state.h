/* SPDX-License-Identifier: Apache-2.0 */
/* Everything that training depends on besides the tensors: small, and written into each checkpoint as JSON. */
#ifndef SW_TRAIN_STATE_H
#define SW_TRAIN_STATE_H

#include "base/buf.h"
#include "slidewise/error.h"
#include "train/watch.h"

/* Best value so far of one model (the trained one, or its moving average). */
typedef struct sw_best {
    int epoch;     /* 1-based; 0: none yet */
    double metric, loss; /* on the validation set; NaN: there is none */
} sw_best;

typedef struct sw_train_state {
    int epoch;          /* 0-based epoch in progress */
    int64_t epoch_step; /* steps done in it */
    int64_t steps;      /* steps done in all */
    int64_t updates;    /* optimiser updates done in all: fewer with accumulation */
    double loss_sum, seconds; /* of the epoch in progress */
    double grad_scale;        /* of the loss; 1 without train.grad_scaling */
    int64_t grad_good;        /* updates since it changed */
    int64_t skipped;          /* updates left out in all */
    double grad_norm;         /* of the last update: an epoch may be resumed behind its last step */
    sw_watch watch;           /* of the epoch in progress */
    int64_t alarms;           /* those that were told: bit a for sw_watch_alarm a */
    sw_best best[2];    /* main, EMA */
    double least_loss;  /* of all validations of the watched model; NaN: none yet */
    int stale;          /* validations since the last improvement */
    bool finished, stopped_early;
    int64_t log_bytes;  /* size of log.jsonl at this moment */
    int64_t chunk_patches, eval_chunk_patches; /* as chosen at the start; 0: an older version */
    uint64_t config_hash;
} sw_train_state;

sw_train_state sw_train_state_start(uint64_t config_hash);

/* One line of JSON. Doubles are written so that reading gives the same bits. */
void sw_train_state_write(const sw_train_state *state, sw_buf *out);
sw_status sw_train_state_read(const char *text, const char *name_for_errors, sw_train_state *out, sw_error *err)
    SW_MUST_CHECK;

#endif
