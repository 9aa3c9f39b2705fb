/* SPDX-License-Identifier: Apache-2.0 */
/* One training step: bags forward and backward (in chunks where they do not fit), no update. */
#ifndef SW_TRAIN_STEP_H
#define SW_TRAIN_STEP_H

#include "batch/batch.h"
#include "model/model.h"
#include "task/task.h"
#include "train/watch.h"

typedef struct sw_step_options {
    const sw_task *task;
    const int32_t *targets; /* of the task, for the batch's bags; NULL: their labels (classification) */
    int64_t chunk_patches; /* patches encoded at a time; a step with more is replayed chunk by chunk */
    bool frozen_stats;     /* batch norm by the running statistics, which stay */
    double loss_scale;     /* the gradients are those of the loss times this; 0: 1 */
    sw_watch *watch;       /* gets what attention and features look like; NULL: nothing is looked at */
    uint64_t seed;         /* of dropout */
    uint32_t step;         /* global step: the dropout counter */
    /* The pixels of chunk `chunk`, normalised: [count, 3, px, px] of the batch's patches chunk_patches * chunk and on, on the
     * model's device, owned by the caller. Asked for in the order 0, 1, … and, if there are several chunks and the encoder
     * learns, 0, 1, … once more. */
    sw_status (*pixels)(void *ctx, int64_t chunk, sw_tensor *out, sw_error *err);
    void *ctx;
} sw_step_options;

/* ADDS the gradient of the mean loss over the batch's bags to the slab of `model`; running statistics move once
 * per chunk. *loss is on the host. On failure the gradients are half-made. */
sw_status sw_train_step(sw_model *model, const sw_batch *batch, const sw_step_options *options, double *loss,
                        sw_error *err) SW_MUST_CHECK;

#endif
