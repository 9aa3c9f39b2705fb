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
    int frozen; /* parts */
};

static const char prefix[] = "encoder.model.";

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
    SW_TRY(sw_nn_builder_new(e->slab, "encoder", prefix, &e->builder, err));
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

static int count_parts(const sw_encoder *e)
{
    int n = 0;
    while (e->def->parts[n]) n++;
    return n;
}

sw_status sw_encoder_freeze_until(sw_encoder *e, const char *part, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf known = {0};
    e->frozen = 0;
    if (!*part) return SW_OK;
    for (int i = 0; e->def->parts[i]; i++) {
        if (strcmp(e->def->parts[i], part) == 0) {
            e->frozen = i + 1;
            return SW_OK;
        }
        sw_buf_printf(&known, "%s%s", i ? ", " : "", e->def->parts[i]);
    }
    SW_TRY(sw_buf_status(&known, err));
    return sw_error_set(err, SW_E_INVALID, "encoder.frozen_until: encoder %s has no part '%s'; there are %s", e->def->name, part,
                        known.data ? known.data : "");
}

bool sw_encoder_entry_frozen(const sw_encoder *e, int entry)
{
    const char *name = sw_slab_name(e->slab, entry);
    int part = 0;
    if (strncmp(name, prefix, sizeof prefix - 1) != 0) return false;
    for (int i = 0; e->def->parts[i]; i++)
        if (strncmp(name + sizeof prefix - 1, e->def->parts[i], strlen(e->def->parts[i])) == 0) part = i;
    return part < e->frozen;
}

sw_var *sw_encoder_forward(const sw_encoder *e, sw_tape *tape, bool frozen, sw_var *images, const sw_nn_mode *mode)
{
    sw_nn_mode used = frozen ? sw_nn_mode_eval() : *mode;
    int parts = frozen ? count_parts(e) : e->frozen;
    if (mode->activations != SW_BF16) return e->def->forward(e->state, tape, e->slab, parts, images, &used);
    sw_var *narrow = sw_cast(tape, images, SW_BF16);
    if (narrow != images) sw_var_done(images);
    sw_var *features = e->def->forward(e->state, tape, e->slab, parts, narrow, &used);
    sw_var_done(narrow);
    return features;
}
