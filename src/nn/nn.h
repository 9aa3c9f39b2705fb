/* SPDX-License-Identifier: Apache-2.0 */
/* What models share: how they are run, and how parameters start. */
#ifndef SW_NN_NN_H
#define SW_NN_NN_H

#include "tape/ops.h"

typedef struct sw_nn_mode {
    bool training;        /* batch statistics and dropout */
    bool update_running;  /* training: move the running statistics (off when a chunk is replayed) */
    bool frozen_stats;    /* training: normalise by the running statistics, which do not move */
    bool batch_stats;     /* evaluation: normalise by the statistics of what is passed; the running ones stay */
    sw_dtype activations; /* SW_BF16: of the encoder, beside parameters in f32; otherwise they are as the images.
                             Aggregators compute in f32, but for the products of the A+ attention. */
    uint64_t seed;        /* of dropout */
    uint32_t step;        /* dropout counter: another mask each step */
    const float *xy;      /* [bags, patches, 2] column and row of each patch on the grid of its slide (sw_patch_source_places), for
                             aggregators that go by them; NULL: unknown */
} sw_nn_mode;

sw_nn_mode sw_nn_mode_eval(void);
sw_nn_mode sw_nn_mode_train(uint64_t seed, uint32_t step);

/* How an entry of the slab starts. Xavier normal: std = sqrt(2 / (fan_in + fan_out)); Kaiming normal, fan-out:
 * std = sqrt(2 / fan_out) with fan_out = out channels * kernel area; tiny: normal with std 1e-6; uniform, fan-in: between
 * plus and minus 1 / sqrt(fan_in), what PyTorch's layers start with; bounded: uniform with the bound given; unit: uniform between 0 and 1;
 * log place: logarithms of 1, 2, ... along the last dimension, not drawn. Fans of [out, in, ...] with the area of the rest. */
typedef enum sw_init {
    SW_INIT_ZERO,
    SW_INIT_ONE,
    SW_INIT_XAVIER,
    SW_INIT_KAIMING_FAN_OUT,
    SW_INIT_TINY,
    SW_INIT_UNIFORM_FAN_IN,
    SW_INIT_BOUNDED,
    SW_INIT_UNIT,
    SW_INIT_LOG_PLACE
} sw_init;

/* Declares an entry and remembers how it starts; *index as in sw_slab_add. */
typedef struct sw_nn_builder sw_nn_builder;
sw_status sw_nn_builder_new(sw_slab *slab, const char *group, const char *prefix, sw_nn_builder **out, sw_error *err)
    SW_MUST_CHECK;
void sw_nn_builder_free(sw_nn_builder *builder);
/* Sticky: after a failure every call does nothing and returns -1; sw_nn_builder_status tells. */
int sw_nn_add(sw_nn_builder *builder, sw_slab_kind kind, sw_init init, sw_shape shape, const char *name_fmt, ...)
    SW_PRINTF(5, 6);
/* A parameter that starts uniformly between -bound and bound, as a bias of PyTorch's layers does. */
int sw_nn_add_bounded(sw_nn_builder *builder, double bound, sw_shape shape, const char *name_fmt, ...) SW_PRINTF(4, 5);
sw_status sw_nn_builder_status(const sw_nn_builder *builder, sw_error *err) SW_MUST_CHECK;
/* After sw_slab_commit: uploads the start values. Entry i draws from stream (seed, INIT, 0, i, 0). */
sw_status sw_nn_init(const sw_nn_builder *builder, uint64_t seed, sw_error *err) SW_MUST_CHECK;
/* The same with zeros for what would be drawn, where a file follows: millions of normal numbers take a while. */
sw_status sw_nn_init_blank(const sw_nn_builder *builder, sw_error *err) SW_MUST_CHECK;

#endif
