/* SPDX-License-Identifier: Apache-2.0 */
/* A model: encoder, aggregator and the slab that holds their parameters, on one backend. */
#ifndef SW_MODEL_MODEL_H
#define SW_MODEL_MODEL_H

#include "aggregator/aggregator.h"
#include "encoder/encoder.h"

typedef struct sw_model_options {
    const char *encoder;    /* "resnet18"; "none": what comes in are features already, mil.input_dim wide */
    const char *aggregator; /* "abmilx" */
    sw_aggregator_options mil; /* input_dim is set from the encoder, where there is one */
    bool blank, blank_encoder; /* nothing is drawn for the whole, or for the encoder: values from a file follow */
    bool frozen;            /* the encoder has no gradient and uses its running statistics */
    const char *frozen_until; /* the encoder's parts up to this one have no gradient, as sw_encoder_freeze_until; NULL or "": none */
    bool batch_stats;       /* outside of training the encoder goes by the statistics of the patches that are encoded at once */
    uint64_t seed;          /* of the random start */
} sw_model_options;
sw_model_options sw_model_options_default(void);

typedef struct sw_model sw_model;

/* A model with random parameters, in 32-bit floats (SW_F64 for tests). `be` outlives it. Texts are copied. */
sw_status sw_model_new(sw_backend *be, sw_dtype dtype, const sw_model_options *options, sw_model **out, sw_error *err)
    SW_MUST_CHECK;
void sw_model_free(sw_model *model);

sw_backend *sw_model_backend(const sw_model *model);
sw_slab *sw_model_slab(const sw_model *model);
const sw_model_options *sw_model_get_options(const sw_model *model);
int sw_model_dim(const sw_model *model);     /* feature width */
bool sw_model_has_encoder(const sw_model *model); /* false: it takes features */
int sw_model_classes(const sw_model *model);
int64_t sw_model_params(const sw_model *model, const char *group); /* "encoder", "mil"; NULL: all */

/* Of the encoder from now on: SW_BF16 (beside parameters in f32; the backend must have it), or SW_F32, the start: as the
 * parameters. */
void sw_model_set_activations(sw_model *model, sw_dtype activations);
sw_dtype sw_model_activations(const sw_model *model);

/* images [n, 3, h, w], normalised -> features [n, dim]; with activations in bf16 the images are let go (sw_var_done). Without an encoder
 * features, which stay as they are. */
sw_var *sw_model_encode(const sw_model *model, sw_tape *tape, sw_var *images, const sw_nn_mode *mode);
/* features [b, n, dim] -> logits, attention. */
sw_aggregator_out sw_model_aggregate(const sw_model *model, sw_tape *tape, sw_var *features, const sw_nn_mode *mode);
/* The training loss, a scalar, of what sw_model_aggregate gave on the same tape. */
sw_var *sw_model_loss(const sw_model *model, sw_tape *tape, const sw_aggregator_out *out, const sw_mil_target *target);

/* A second model of the same build with the same values (for a moving average). */
sw_status sw_model_twin(const sw_model *model, sw_model **out, sw_error *err) SW_MUST_CHECK;
/* twin += factor * (model - twin), parameters and running statistics. */
sw_status sw_model_lerp(sw_model *twin, const sw_model *model, double factor, sw_error *err) SW_MUST_CHECK;
/* Does this entry of the slab stay as it is, since it is of a frozen encoder or of its frozen part? */
bool sw_model_entry_frozen(const sw_model *model, int entry);
/* Sets all gradients to zero. */
sw_status sw_model_zero_grad(sw_model *model, sw_error *err) SW_MUST_CHECK;

#endif
