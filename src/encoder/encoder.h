/* SPDX-License-Identifier: Apache-2.0 */
/* Encoders: patch pixels [n, 3, h, w] (normalised) -> features [n, dim]. One file and one line in encoders.def each. */
#ifndef SW_ENCODER_ENCODER_H
#define SW_ENCODER_ENCODER_H

#include "nn/nn.h"

typedef struct sw_encoder sw_encoder;

/* What a kind of encoder gives. */
typedef struct sw_encoder_def {
    const char *name;
    int dim; /* feature width */
    /* Declares its entries; *state is the encoder's own, given back to the other two. */
    sw_status (*build)(sw_nn_builder *builder, void **state, sw_error *err);
    /* The first `frozen` parts have no gradient. */
    sw_var *(*forward)(const void *state, sw_tape *tape, sw_slab *slab, int frozen, sw_var *images,
                       const sw_nn_mode *mode);
    void (*destroy)(void *state);
    const char *const *parts; /* in the order that images go through them; NULL at the end. An entry belongs to the part whose
                               * name it begins with, or else to the first */
} sw_encoder_def;

size_t sw_encoder_kinds(void);
const sw_encoder_def *sw_encoder_kind(size_t index);

/* Declares the encoder `name` in `slab` under "encoder.model."; borrows the slab until sw_encoder_free. */
sw_status sw_encoder_new(const char *name, sw_slab *slab, sw_encoder **out, sw_error *err) SW_MUST_CHECK;
void sw_encoder_free(sw_encoder *encoder);
const char *sw_encoder_name(const sw_encoder *encoder);
int sw_encoder_dim(const sw_encoder *encoder);
sw_status sw_encoder_init(const sw_encoder *encoder, uint64_t seed, sw_error *err) SW_MUST_CHECK; /* random start */
sw_status sw_encoder_init_blank(const sw_encoder *encoder, sw_error *err) SW_MUST_CHECK; /* nothing drawn: a file follows */

/* From now on the parts up to the one of this name, it included, are frozen: they have no gradient. Their batch norm goes by what
 * the mode says. "" : none. An unknown part is SW_E_INVALID with the names there are. */
sw_status sw_encoder_freeze_until(sw_encoder *encoder, const char *part, sw_error *err) SW_MUST_CHECK;
bool sw_encoder_entry_frozen(const sw_encoder *encoder, int entry); /* of the slab; false: it learns, or is not the encoder's */

/* `frozen`: no gradient, and the running statistics whatever the mode. With mode->activations SW_BF16 all between the
 * images and the features (float in any case) is in bfloat16, and the images are let go (sw_var_done). */
sw_var *sw_encoder_forward(const sw_encoder *encoder, sw_tape *tape, bool frozen, sw_var *images,
                           const sw_nn_mode *mode);

#endif
