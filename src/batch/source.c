/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"
#include "batch/load.h"

struct sw_patch_source {
    const sw_patch_source_ops *ops;
    void *self;
    char *name;
    int64_t count;
    int patch_px;
    double step_level0_px;
};

sw_status sw_patch_source_new(const sw_patch_source_ops *ops, void *self, const char *name, int64_t count, int patch_px,
                              sw_patch_source **out, sw_error *err)
{
    SW_AUTOFREE sw_patch_source *source = sw_calloc(1, sizeof(*source));
    SW_AUTOFREE char *copy = sw_strdup(name);
    if (!source || !copy) return sw_nomem(err);
    *source = (sw_patch_source){.ops = ops, .self = self, .name = SW_STEAL(copy), .count = count, .patch_px = patch_px};
    *out = SW_STEAL(source);
    return SW_OK;
}

void sw_patch_source_free(sw_patch_source *source)
{
    if (!source) return;
    source->ops->destroy(source->self);
    sw_free(source->name);
    sw_free(source);
}

int64_t sw_patch_source_count(const sw_patch_source *source)
{
    return source->count;
}

int sw_patch_source_px(const sw_patch_source *source)
{
    return source->patch_px;
}

const char *sw_patch_source_name(const sw_patch_source *source)
{
    return source->name;
}

sw_status sw_patch_source_read(sw_patch_source *source, int64_t index, uint8_t *rgb, sw_error *err)
{
    if (index < 0 || index >= source->count) {
        return sw_error_set(err, SW_E_INVALID, "slide %s has no patch %lld (%lld patches)", source->name, (long long)index,
                            (long long)source->count);
    }
    return source->ops->read(source->self, index, rgb, err);
}

sw_status sw_patch_source_places(sw_patch_source *source, float *xy, sw_error *err)
{
    if (source->ops->places) return source->ops->places(source->self, source->step_level0_px, xy, err);
    sw_places_unknown(xy, source->count);
    return SW_OK;
}

void sw_patch_source_set_step(sw_patch_source *source, double step_level0_px)
{
    source->step_level0_px = step_level0_px;
}

bool sw_patch_source_is(const sw_patch_source *source, const sw_patch_source_ops *ops, void **self)
{
    if (source->ops != ops) return false;
    *self = source->self;
    return true;
}
