/* SPDX-License-Identifier: Apache-2.0 */
/* How much memory a step takes, and the largest chunk that a budget allows. Measured, not guessed: two small chunks and two
 * small bags go through the real model on the real backend, and a line through both gives what one more patch costs. */
#ifndef SW_INFER_MEMORY_H
#define SW_INFER_MEMORY_H

#include "model/model.h"

/* Bytes = fixed + per_patch * patches. */
typedef struct sw_memory_line {
    double fixed, per_patch;
} sw_memory_line;

/* What was measured; everything in bytes. */
typedef struct sw_memory_cost {
    double base;            /* the process without tensors: program, libraries, tables, mapped files */
    double held;            /* tensors that stay: parameters, gradients, moments, averages */
    sw_memory_line chunk;   /* tensors of a chunk: forward and backward, or forward alone; its pixels are in it */
    sw_memory_line head;    /* tensors of the aggregator, by patches of all bags of a step */
    sw_memory_line scratch; /* what kernels work in, by patches of a chunk */
    double head_scratch;
    int px, dim;            /* side of a patch (0: features come in), width of its features */
    bool training;
} sw_memory_cost;

/* Runs chunks of 2 and 4 patches of px * px zeros through the encoder, where there is one, and bags of 64 and 192 through the aggregator; with
 * `training` also back, with gradients of zero. The model is left as it was: running statistics do not move, gradients must
 * be zero before and are zero after. The backend's idle memory is given back. */
sw_status sw_memory_measure(sw_model *model, int px, bool training, sw_memory_cost *out, sw_error *err) SW_MUST_CHECK;

/* What goes on at once, besides the measured part. */
typedef struct sw_memory_load {
    int64_t patches;     /* of a step (all bags), or of the largest slide */
    int64_t waiting;     /* chunks of pixels that the loader holds besides the one that is computed */
    double other;        /* bytes: decoding, the checkpoint as it is written */
} sw_memory_load;

/* Bytes that the process takes at most with chunks of `chunk` patches. */
double sw_memory_total(const sw_memory_cost *cost, const sw_memory_load *load, int64_t chunk);

/* The largest chunk that stays within `budget` bytes: the whole step, or a multiple of 8, or below 8 any number. `limit`:
 * at most so many (0: no limit). SW_E_INVALID where not even one patch fits: the message names `key` and the least that
 * works. */
sw_status sw_memory_pick(const sw_memory_cost *cost, const sw_memory_load *load, double budget, int64_t limit,
                         const char *key, int64_t *chunk, sw_error *err) SW_MUST_CHECK;

/* A checked run.memory in bytes: of "auto" what the process has now and 70 % of what is free; 0 of "" (no budget). */
double sw_memory_budget(const char *text);

#endif
