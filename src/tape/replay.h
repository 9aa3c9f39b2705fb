/* SPDX-License-Identifier: Apache-2.0 */
/* Chunked replay: the gradient of a bag of any size in the memory of one chunk. Encode every chunk and
 * keep its features only; run the head on all features, forward and backward; encode each chunk once
 * more, now recording, and go back through it with its slice of the features' gradient. */
#ifndef SW_TAPE_REPLAY_H
#define SW_TAPE_REPLAY_H

#include "tape/tape.h"

typedef struct sw_replay {
    void *ctx;
    int64_t chunks; /* 1: one tape holds all, and nothing is computed twice */
    /* Features [n_i, d] of chunk `chunk`, n_i > 0. The second call for a chunk has `is_replay` true: it must
     * give the same values (dropout and augmentation from counters) and leave running statistics alone
     * (sw_batch_norm_attr.update_running false), so that these move once per step. */
    sw_var *(*encode)(void *ctx, sw_tape *tape, int64_t chunk, bool is_replay);
    /* Scalar loss from the features of all chunks [sum n_i, d]. Called once; what else the caller wants of
     * this pass (probabilities, attention) it takes from the variables here. */
    sw_var *(*head)(void *ctx, sw_tape *tape, sw_var *features);
    bool once; /* the encoder has nothing to learn: no second pass */
} sw_replay;

/* ADDS the gradients into the slabs of the parameters that encode and head use. `loss` (may be NULL) gets
 * the value, owned by the caller. On failure gradients are half-made: zero them before the next step. */
sw_status sw_replay_run(sw_backend *be, const sw_replay *replay, sw_tensor *loss, sw_error *err) SW_MUST_CHECK;

#endif
