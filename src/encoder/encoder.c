/* SPDX-License-Identifier: Apache-2.0 */
#include "encoder/encoder.h"

#include <string.h>

#include "base/buf.h"
#include "base/mem.h"

#define SW_ENCODER(id) extern const sw_encoder_def sw_encoder_##id;
#include "encoder/encoders.def"
#undef SW_ENCODER

static const sw_encoder_def *const kinds[] = {
#define SW_ENCODER(id) &sw_encoder_##id,
#include "encoder/encoders.def"
#undef SW_ENCODER
};

struct sw_encoder {
    const sw_encoder_def *def;
    sw_slab *slab;
    sw_nn_builder *builder;
    void *state;
};

size_t sw_encoder_kinds(void)
{
    return sizeof kinds / sizeof kinds[0];
}

const sw_encoder_def *sw_encoder_kind(size_t index)
{
    return index < sw_encoder_kinds() ? kinds[index] : NULL;
}

static sw_status find(const char *name, const sw_encoder_def **def, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf known = {0};
    for (size_t i = 0; i < sw_encoder_kinds(); i++) {
        if (strcmp(kinds[i]->name, name) == 0) {
            *def = kinds[i];
            return SW_OK;
        }
        sw_buf_printf(&known, "%s%s", i ? ", " : "", kinds[i]->name);
    }
    return sw_error_set(err, SW_E_INVALID, "encoder.name: no encoder '%s'; there are %s", name,
                        known.data ? known.data : "");
}

static sw_status build(sw_encoder *e, sw_error *err)
{
    SW_TRY(sw_nn_builder_new(e->slab, "encoder", "encoder.model.", &e->builder, err));
    SW_TRY(e->def->build(e->builder, &e->state, err));
    return sw_nn_builder_status(e->builder, err);
}

sw_status sw_encoder_new(const char *name, sw_slab *slab, sw_encoder **out, sw_error *err)
{
    const sw_encoder_def *def = NULL;
    SW_TRY(find(name, &def, err));
    sw_encoder *e = sw_calloc(1, sizeof *e);
    if (!e) return sw_nomem(err);
    e->def = def;
    e->slab = slab;
    sw_status status = build(e, err);
    if (status != SW_OK) {
        sw_encoder_free(e);
        return status;
    }
    *out = e;
    return SW_OK;
}

void sw_encoder_free(sw_encoder *e)
{
    if (!e) return;
    if (e->state) e->def->destroy(e->state);
    sw_nn_builder_free(e->builder);
    sw_free(e);
}

const char *sw_encoder_name(const sw_encoder *e)
{
    return e->def->name;
}

int sw_encoder_dim(const sw_encoder *e)
{
    return e->def->dim;
}

sw_status sw_encoder_init(const sw_encoder *e, uint64_t seed, sw_error *err)
{
    return sw_nn_init(e->builder, seed, err);
}

sw_status sw_encoder_init_blank(const sw_encoder *e, sw_error *err)
{
    return sw_nn_init_blank(e->builder, err);
}

sw_var *sw_encoder_forward(const sw_encoder *e, sw_tape *tape, bool frozen, sw_var *images, const sw_nn_mode *mode)
{
    sw_nn_mode used = frozen ? sw_nn_mode_eval() : *mode;
    if (mode->activations != SW_BF16) return e->def->forward(e->state, tape, e->slab, frozen, images, &used);
    sw_var *narrow = sw_cast(tape, images, SW_BF16);
    if (narrow != images) sw_var_done(images);
    sw_var *features = e->def->forward(e->state, tape, e->slab, frozen, narrow, &used);
    sw_var_done(narrow);
    return features;
}
