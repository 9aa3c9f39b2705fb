/* SPDX-License-Identifier: Apache-2.0 */
#include "nn/nn.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/rng.h"

typedef struct start {
    int index;
    sw_init init;
    double bound; /* of SW_INIT_BOUNDED */
} start;

struct sw_nn_builder {
    sw_slab *slab;
    char *group, *prefix;
    start *entry;
    size_t count, capacity;
    sw_error error;
};

sw_nn_mode sw_nn_mode_eval(void)
{
    return (sw_nn_mode){0};
}

sw_nn_mode sw_nn_mode_train(uint64_t seed, uint32_t step)
{
    return (sw_nn_mode){.training = true, .update_running = true, .seed = seed, .step = step};
}

sw_status sw_nn_builder_new(sw_slab *slab, const char *group, const char *prefix, sw_nn_builder **out, sw_error *err)
{
    sw_nn_builder *b = sw_calloc(1, sizeof *b);
    if (!b) return sw_nomem(err);
    b->slab = slab;
    b->group = sw_strdup(group);
    b->prefix = sw_strdup(prefix);
    if (!b->group || !b->prefix) {
        sw_nn_builder_free(b);
        return sw_nomem(err);
    }
    *out = b;
    return SW_OK;
}

void sw_nn_builder_free(sw_nn_builder *b)
{
    if (!b) return;
    sw_free(b->group);
    sw_free(b->prefix);
    sw_free(b->entry);
    sw_free(b);
}

static sw_status add(sw_nn_builder *b, sw_slab_kind kind, sw_init init, double bound, sw_shape shape, const char *name, int *index)
{
    char full[512];
    snprintf(full, sizeof full, "%s%s", b->prefix, name);
    SW_TRY(sw_grow(&b->entry, &b->capacity, b->count + 1, sizeof *b->entry, &b->error));
    SW_TRY(sw_slab_add(b->slab, kind, b->group, full, shape, index, &b->error));
    b->entry[b->count++] = (start){*index, init, bound};
    return SW_OK;
}

int sw_nn_add(sw_nn_builder *b, sw_slab_kind kind, sw_init init, sw_shape shape, const char *name_fmt, ...)
{
    char name[256];
    int index = -1;
    va_list ap;
    if (b->error.code != SW_OK) return -1;
    va_start(ap, name_fmt);
    vsnprintf(name, sizeof name, name_fmt, ap);
    va_end(ap);
    return add(b, kind, init, 0.0, shape, name, &index) == SW_OK ? index : -1;
}

int sw_nn_add_bounded(sw_nn_builder *b, double bound, sw_shape shape, const char *name_fmt, ...)
{
    char name[256];
    int index = -1;
    va_list ap;
    if (b->error.code != SW_OK) return -1;
    va_start(ap, name_fmt);
    vsnprintf(name, sizeof name, name_fmt, ap);
    va_end(ap);
    return add(b, SW_PARAM, SW_INIT_BOUNDED, bound, shape, name, &index) == SW_OK ? index : -1;
}

sw_status sw_nn_builder_status(const sw_nn_builder *b, sw_error *err)
{
    if (b->error.code == SW_OK) return SW_OK;
    return sw_error_set(err, b->error.code, "%s", b->error.message);
}

/* Standard deviation of what is drawn, or the bound of a uniform start; 0: not drawn. */
static double spread(const start *s, const sw_shape *shape)
{
    int64_t area = 1;
    for (int i = 2; i < shape->rank; i++) area *= shape->dim[i];
    double fan_out = (double)(shape->dim[0] * area), fan_in = shape->rank > 1 ? (double)(shape->dim[1] * area) : 1.0;
    switch (s->init) {
    case SW_INIT_XAVIER: return sqrt(2.0 / (fan_in + fan_out));
    case SW_INIT_KAIMING_FAN_OUT: return sqrt(2.0 / fan_out);
    case SW_INIT_TINY: return 1e-6;
    case SW_INIT_UNIFORM_FAN_IN: return 1.0 / sqrt(fan_in);
    case SW_INIT_BOUNDED: return s->bound;
    case SW_INIT_UNIT: return 1.0;
    default: return 0.0;
    }
}

static double draw(sw_init init, double size, sw_rng *rng)
{
    if (init == SW_INIT_UNIT) return sw_rng_range(rng, 0.0, size);
    return init == SW_INIT_UNIFORM_FAN_IN || init == SW_INIT_BOUNDED ? sw_rng_range(rng, -size, size) : size * sw_rng_normal(rng);
}

static double undrawn(sw_init init, int64_t i, const sw_shape *shape)
{
    if (init == SW_INIT_LOG_PLACE) return log((double)(i % shape->dim[shape->rank - 1] + 1));
    return init == SW_INIT_ONE ? 1.0 : 0.0;
}

/* `seed` NULL: nothing is drawn. */
static sw_status init_one(const sw_nn_builder *b, const start *s, const uint64_t *seed, sw_error *err)
{
    const sw_shape *shape = sw_slab_shape(b->slab, s->index);
    int64_t n = sw_shape_count(shape);
    SW_AUTOFREE double *value = sw_calloc((size_t)n, sizeof *value);
    if (!value) return sw_nomem(err);
    double size = seed ? spread(s, shape) : 0.0;
    sw_rng rng = sw_rng_stream(seed ? *seed : 0, SW_RNG_INIT, 0, (uint32_t)s->index, 0);
    for (int64_t i = 0; i < n; i++) value[i] = size > 0.0 ? draw(s->init, size, &rng) : undrawn(s->init, i, shape);
    return sw_tensor_upload_f64(sw_slab_value(b->slab, s->index), value, err);
}

sw_status sw_nn_init(const sw_nn_builder *b, uint64_t seed, sw_error *err)
{
    for (size_t i = 0; i < b->count; i++) SW_TRY(init_one(b, &b->entry[i], &seed, err));
    return SW_OK;
}

sw_status sw_nn_init_blank(const sw_nn_builder *b, sw_error *err)
{
    for (size_t i = 0; i < b->count; i++) SW_TRY(init_one(b, &b->entry[i], NULL, err));
    return SW_OK;
}
