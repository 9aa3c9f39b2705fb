/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/aggregator.h"

#include <string.h>

#include "base/buf.h"
#include "base/mem.h"

#define SW_AGGREGATOR(id) extern const sw_aggregator_def sw_aggregator_##id;
#include "aggregator/aggregators.def"
#undef SW_AGGREGATOR

static const sw_aggregator_def *const kinds[] = {
#define SW_AGGREGATOR(id) &sw_aggregator_##id,
#include "aggregator/aggregators.def"
#undef SW_AGGREGATOR
};

struct sw_aggregator {
    const sw_aggregator_def *def;
    sw_aggregator_options options;
    sw_slab *slab;
    sw_nn_builder *builder;
    void *state;
};

sw_aggregator_options sw_aggregator_options_default(void)
{
    return (sw_aggregator_options){.input_dim = 1024, .inner_dim = 512, .classes = 2, .heads = 8, .dropout = 0.25,
                                   .act = SW_ACT_RELU, .bias = true, .alpha = 1.0, .layers = 2, .regions = 8, .epeg = 15,
                                   .crmsa = 3, .crmsa_heads = 8, .instances = 8, .bag_weight = 0.7, .slide_weight = 1.0, .patch_weight = 0.01,
                                   .cluster_weight = 0.01, .topk = 6, .blocks = 1, .state = 16, .gate_weight = 0.1, .gate_share = 0.1,
                                   .groups = 5, .organ = -1, .dilations = 5, .segment_first = 1024, .segment_last = 1048576, .shuffle = true};
}

size_t sw_aggregator_kinds(void)
{
    return sizeof kinds / sizeof kinds[0];
}

const sw_aggregator_def *sw_aggregator_kind(size_t index)
{
    return index < sw_aggregator_kinds() ? kinds[index] : NULL;
}

bool sw_aggregator_uses_places(const char *name)
{
    return strcmp(name, "mamba2d") == 0 || strcmp(name, "gigap") == 0;
}

static sw_status find(const char *name, const sw_aggregator_def **def, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf known = {0};
    for (size_t i = 0; i < sw_aggregator_kinds(); i++) {
        if (strcmp(kinds[i]->name, name) == 0) {
            *def = kinds[i];
            return SW_OK;
        }
        sw_buf_printf(&known, "%s%s", i ? ", " : "", kinds[i]->name);
    }
    return sw_error_set(err, SW_E_INVALID, "aggregator.name: no aggregator '%s'; there are %s", name,
                        known.data ? known.data : "");
}

static sw_status build(sw_aggregator *a, sw_error *err)
{
    const sw_aggregator_options *o = &a->options;
    if (o->input_dim < 1 || o->inner_dim < 1 || o->classes < 1)
        return sw_error_set(err, SW_E_INVALID, "aggregator: input_dim %d and inner_dim %d must be positive, classes %d at least 1",
                            o->input_dim, o->inner_dim, o->classes);
    if (o->pos == SW_POS_SINCOS && strcmp(a->def->name, "gigap") != 0)
        return sw_error_set(err, SW_E_INVALID, "aggregator.pos: sincos is of gigap; %s has none, or ppeg", a->def->name);
    if (!(o->dropout >= 0.0 && o->dropout < 1.0))
        return sw_error_set(err, SW_E_INVALID, "aggregator.dropout: %g is not in [0, 1)", o->dropout);
    SW_TRY(sw_nn_builder_new(a->slab, "mil", "mil.", &a->builder, err));
    SW_TRY(a->def->build(a->builder, o, &a->state, err));
    return sw_nn_builder_status(a->builder, err);
}

sw_status sw_aggregator_new(const char *name, const sw_aggregator_options *options, sw_slab *slab, sw_aggregator **out,
                            sw_error *err)
{
    const sw_aggregator_def *def = NULL;
    SW_TRY(find(name, &def, err));
    sw_aggregator *a = sw_calloc(1, sizeof *a);
    if (!a) return sw_nomem(err);
    a->def = def;
    a->options = *options;
    a->slab = slab;
    sw_status status = build(a, err);
    if (status != SW_OK) {
        sw_aggregator_free(a);
        return status;
    }
    *out = a;
    return SW_OK;
}

void sw_aggregator_free(sw_aggregator *a)
{
    if (!a) return;
    if (a->state) a->def->destroy(a->state);
    sw_nn_builder_free(a->builder);
    sw_free(a);
}

const char *sw_aggregator_name(const sw_aggregator *a)
{
    return a->def->name;
}

const sw_aggregator_options *sw_aggregator_get_options(const sw_aggregator *a)
{
    return &a->options;
}

sw_status sw_aggregator_init(const sw_aggregator *a, uint64_t seed, sw_error *err)
{
    return sw_nn_init(a->builder, seed, err);
}

sw_status sw_aggregator_init_blank(const sw_aggregator *a, sw_error *err)
{
    return sw_nn_init_blank(a->builder, err);
}

sw_aggregator_out sw_aggregator_forward(const sw_aggregator *a, sw_tape *tape, sw_var *x, const sw_nn_mode *mode)
{
    const sw_shape *shape = sw_var_shape(x);
    if (shape->rank != 3 || shape->dim[0] < 1 || shape->dim[1] < 1) {
        char text[128];
        sw_tape_fail(tape, SW_E_INVALID, "aggregator: features %s must be [bags, patches, width], of at least one each",
                     sw_shape_text(shape, text, sizeof text));
        return (sw_aggregator_out){.logits = sw_relu(tape, x)};
    }
    return a->def->forward(a->state, &a->options, tape, a->slab, x, mode);
}

sw_var *sw_aggregator_loss(const sw_aggregator *a, sw_tape *tape, const sw_aggregator_out *out, const sw_mil_target *target)
{
    if (a->def->loss) return a->def->loss(a->state, &a->options, tape, a->slab, out, target);
    return target->loss(target->ctx, tape, out->logits, target->targets);
}

sw_mil_linear sw_mil_add_linear(sw_nn_builder *b, int64_t out, int64_t in, bool bias, const char *name)
{
    sw_mil_linear l = {.bias = -1};
    l.weight = sw_nn_add(b, SW_PARAM, SW_INIT_XAVIER, SW_SHAPE(out, in), "%s.weight", name);
    if (bias) l.bias = sw_nn_add(b, SW_PARAM, SW_INIT_ZERO, SW_SHAPE(out), "%s.bias", name);
    return l;
}

sw_mil_linear sw_mil_add_norm(sw_nn_builder *b, int64_t width, bool bias, const char *name)
{
    sw_mil_linear l = {.bias = -1};
    l.weight = sw_nn_add(b, SW_PARAM, SW_INIT_ONE, SW_SHAPE(width), "%s.weight", name);
    if (bias) l.bias = sw_nn_add(b, SW_PARAM, SW_INIT_ZERO, SW_SHAPE(width), "%s.bias", name);
    return l;
}

static sw_var *optional(sw_tape *tape, sw_slab *slab, int index)
{
    return index < 0 ? NULL : sw_tape_param(tape, slab, index);
}

sw_var *sw_mil_linear_forward(sw_tape *tape, sw_slab *slab, const sw_mil_linear *l, sw_var *x)
{
    return sw_linear(tape, x, sw_tape_param(tape, slab, l->weight), optional(tape, slab, l->bias));
}

sw_var *sw_mil_norm_forward(sw_tape *tape, sw_slab *slab, const sw_mil_linear *l, sw_var *x)
{
    return sw_layer_norm(tape, x, sw_tape_param(tape, slab, l->weight), optional(tape, slab, l->bias), 1e-5);
}

sw_var *sw_mil_activate(sw_tape *tape, sw_mil_act act, sw_var *x)
{
    return act == SW_ACT_GELU ? sw_gelu(tape, x) : act == SW_ACT_RELU ? sw_relu(tape, x) : x;
}

sw_var *sw_mil_dropout(sw_tape *tape, double rate, uint32_t site, sw_var *x, const sw_nn_mode *mode)
{
    if (!mode->training || rate == 0.0) return x;
    sw_dropout_attr attr = {.rate = rate, .seed = mode->seed, .step = mode->step, .site = site};
    return sw_dropout(tape, x, &attr);
}
