/* SPDX-License-Identifier: Apache-2.0 */
#include "model/model.h"

#include <string.h>

#include "base/mem.h"

struct sw_model {
    sw_backend *be;
    sw_model_options options;
    sw_dtype activations;
    char *encoder_name, *aggregator_name, *frozen_until;
    sw_slab *slab;
    sw_encoder *encoder; /* NULL: none */
    sw_aggregator *aggregator;
};

sw_model_options sw_model_options_default(void)
{
    return (sw_model_options){.encoder = "resnet18", .aggregator = "abmilx", .mil = sw_aggregator_options_default()};
}

static const char no_encoder[] = "none";

static sw_status start_encoder(sw_model *m, const sw_model_options *o, sw_error *err)
{
    if (!m->encoder) return SW_OK;
    return o->blank || o->blank_encoder ? sw_encoder_init_blank(m->encoder, err) : sw_encoder_init(m->encoder, o->seed, err);
}

static sw_status set_up(sw_model *m, sw_dtype dtype, const sw_model_options *o, sw_error *err)
{
    m->options = *o;
    m->options.encoder = m->encoder_name = sw_strdup(o->encoder);
    m->options.aggregator = m->aggregator_name = sw_strdup(o->aggregator);
    m->options.frozen_until = m->frozen_until = sw_strdup(o->frozen_until ? o->frozen_until : "");
    if (!m->encoder_name || !m->aggregator_name || !m->frozen_until) return sw_nomem(err);
    SW_TRY(sw_slab_new(&m->be->device, dtype, &m->slab, err));
    if (strcmp(m->encoder_name, no_encoder) != 0) {
        SW_TRY(sw_encoder_new(m->encoder_name, m->slab, &m->encoder, err));
        SW_TRY(sw_encoder_freeze_until(m->encoder, m->frozen_until, err));
        m->options.mil.input_dim = sw_encoder_dim(m->encoder);
    } else {
        m->options.frozen = true;
    }
    SW_TRY(sw_aggregator_new(m->aggregator_name, &m->options.mil, m->slab, &m->aggregator, err));
    SW_TRY(sw_slab_commit(m->slab, err));
    SW_TRY(start_encoder(m, o, err));
    return o->blank ? sw_aggregator_init_blank(m->aggregator, err) : sw_aggregator_init(m->aggregator, o->seed, err);
}

sw_status sw_model_new(sw_backend *be, sw_dtype dtype, const sw_model_options *options, sw_model **out, sw_error *err)
{
    sw_model *m = sw_calloc(1, sizeof *m);
    if (!m) return sw_nomem(err);
    m->be = be;
    m->activations = SW_F32;
    sw_status status = set_up(m, dtype, options, err);
    if (status != SW_OK) {
        sw_model_free(m);
        return status;
    }
    *out = m;
    return SW_OK;
}

void sw_model_free(sw_model *m)
{
    if (!m) return;
    sw_aggregator_free(m->aggregator);
    sw_encoder_free(m->encoder);
    sw_slab_free(m->slab);
    sw_free(m->encoder_name);
    sw_free(m->aggregator_name);
    sw_free(m->frozen_until);
    sw_free(m);
}

bool sw_model_entry_frozen(const sw_model *m, int entry)
{
    if (m->options.frozen) return strcmp(sw_slab_group(m->slab, entry), "encoder") == 0;
    return m->encoder && sw_encoder_entry_frozen(m->encoder, entry);
}

sw_backend *sw_model_backend(const sw_model *m)
{
    return m->be;
}

sw_slab *sw_model_slab(const sw_model *m)
{
    return m->slab;
}

const sw_model_options *sw_model_get_options(const sw_model *m)
{
    return &m->options;
}

int sw_model_dim(const sw_model *m)
{
    return m->options.mil.input_dim;
}

bool sw_model_has_encoder(const sw_model *m)
{
    return m->encoder != NULL;
}

int sw_model_classes(const sw_model *m)
{
    return m->options.mil.classes;
}

int64_t sw_model_params(const sw_model *m, const char *group)
{
    int64_t count = 0;
    for (int i = 0; i < sw_slab_entries(m->slab); i++) {
        if (sw_slab_entry_kind(m->slab, i) != SW_PARAM) continue;
        if (group && strcmp(sw_slab_group(m->slab, i), group) != 0) continue;
        count += sw_shape_count(sw_slab_shape(m->slab, i));
    }
    return count;
}

void sw_model_set_activations(sw_model *m, sw_dtype activations)
{
    m->activations = activations;
}

sw_dtype sw_model_activations(const sw_model *m)
{
    return m->activations;
}

sw_var *sw_model_encode(const sw_model *m, sw_tape *tape, sw_var *images, const sw_nn_mode *mode)
{
    sw_nn_mode used = *mode;
    if (!m->encoder) return images;
    used.activations = m->activations;
    used.batch_stats = m->options.batch_stats && !mode->training;
    return sw_encoder_forward(m->encoder, tape, m->options.frozen, images, &used);
}

sw_aggregator_out sw_model_aggregate(const sw_model *m, sw_tape *tape, sw_var *features, const sw_nn_mode *mode)
{
    sw_nn_mode used = *mode;
    used.activations = m->activations;
    return sw_aggregator_forward(m->aggregator, tape, features, &used);
}

sw_var *sw_model_loss(const sw_model *m, sw_tape *tape, const sw_aggregator_out *out, const sw_mil_target *target)
{
    return sw_aggregator_loss(m->aggregator, tape, out, target);
}

static sw_status run_flat(sw_backend *be, sw_op_id op, const void *attr, const sw_tensor *in, sw_tensor *out,
                          sw_error *err)
{
    if (sw_tensor_count(out) == 0) return SW_OK;
    sw_forward_args args = {.attr = attr, .in = {in}, .out = {out}};
    return sw_backend_run(be, op, &args, err);
}

sw_status sw_model_twin(const sw_model *m, sw_model **out, sw_error *err)
{
    sw_model *twin = NULL;
    sw_model_options options = m->options;
    options.blank = true;
    SW_TRY(sw_model_new(m->be, sw_slab_dtype(m->slab), &options, &twin, err));
    sw_status status = run_flat(m->be, SW_OP_COPY, NULL, sw_slab_params(m->slab), sw_slab_params(twin->slab), err);
    if (status == SW_OK)
        status = run_flat(m->be, SW_OP_COPY, NULL, sw_slab_buffers(m->slab), sw_slab_buffers(twin->slab), err);
    if (status != SW_OK) {
        sw_model_free(twin);
        return status;
    }
    twin->activations = m->activations;
    *out = twin;
    return SW_OK;
}

sw_status sw_model_lerp(sw_model *twin, const sw_model *m, double factor, sw_error *err)
{
    sw_axpy_attr attr = {.factor = factor};
    SW_TRY(run_flat(m->be, SW_OP_LERP, &attr, sw_slab_params(m->slab), sw_slab_params(twin->slab), err));
    return run_flat(m->be, SW_OP_LERP, &attr, sw_slab_buffers(m->slab), sw_slab_buffers(twin->slab), err);
}

sw_status sw_model_zero_grad(sw_model *m, sw_error *err)
{
    sw_fill_attr attr = {.value = 0.0};
    sw_forward_args args = {.attr = &attr, .out = {sw_slab_grads(m->slab)}};
    return sw_backend_run(m->be, SW_OP_FILL, &args, err);
}
