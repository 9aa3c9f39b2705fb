/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/slab.h"

#include <string.h>

#include "base/mem.h"

/* Entries start on multiples of 64 bytes of f32; the elements between them stay zero. */
#define ALIGN_ELEMENTS 16

typedef struct entry {
    sw_slab_kind kind;
    char *name, *group;
    sw_shape shape;
    int64_t first;
    sw_tensor value, grad;
} entry;

struct sw_slab {
    sw_device *dev;
    sw_dtype dtype;
    entry *entries;
    size_t count, capacity;
    int64_t elements[2]; /* by kind */
    bool committed;
    sw_tensor params, grads, buffers;
};

sw_status sw_slab_new(sw_device *dev, sw_dtype dtype, sw_slab **out, sw_error *err)
{
    sw_slab *slab = sw_calloc(1, sizeof *slab);
    if (!slab) return sw_nomem(err);
    slab->dev = dev;
    slab->dtype = dtype;
    *out = slab;
    return SW_OK;
}

void sw_slab_free(sw_slab *slab)
{
    if (!slab) return;
    for (size_t i = 0; i < slab->count; i++) {
        entry *e = &slab->entries[i];
        sw_tensor_release(&e->value);
        sw_tensor_release(&e->grad);
        sw_free(e->name);
        sw_free(e->group);
    }
    sw_tensor_release(&slab->params);
    sw_tensor_release(&slab->grads);
    sw_tensor_release(&slab->buffers);
    sw_free(slab->entries);
    sw_free(slab);
}

sw_status sw_slab_add(sw_slab *slab, sw_slab_kind kind, const char *group, const char *name, sw_shape shape,
                      int *index, sw_error *err)
{
    if (slab->committed) {
        return sw_error_set(err, SW_E_INTERNAL, "parameter %s is declared after the slab was committed", name);
    }
    if (sw_slab_find(slab, name) >= 0) {
        return sw_error_set(err, SW_E_INVALID, "parameter %s is declared twice", name);
    }
    SW_TRY(sw_grow(&slab->entries, &slab->capacity, slab->count + 1, sizeof *slab->entries, err));
    SW_AUTOFREE char *own_name = sw_strdup(name);
    SW_AUTOFREE char *own_group = sw_strdup(group);
    if (!own_name || !own_group) return sw_nomem(err);
    int64_t count = sw_shape_count(&shape);
    slab->entries[slab->count] = (entry){.kind = kind,
                                         .name = SW_STEAL(own_name),
                                         .group = SW_STEAL(own_group),
                                         .shape = shape,
                                         .first = slab->elements[kind]};
    slab->elements[kind] += (count + ALIGN_ELEMENTS - 1) / ALIGN_ELEMENTS * ALIGN_ELEMENTS;
    if (index) *index = (int)slab->count;
    slab->count++;
    return SW_OK;
}

static sw_status new_zero(sw_slab *slab, int64_t count, sw_tensor *out, sw_error *err)
{
    SW_AUTOFREE void *zeros = sw_calloc((size_t)count, sw_dtype_size(slab->dtype));
    if (!zeros) return sw_nomem(err);
    return sw_tensor_from(slab->dev, slab->dtype, SW_SHAPE(count), zeros, out, err);
}

sw_status sw_slab_commit(sw_slab *slab, sw_error *err)
{
    if (slab->committed) return sw_error_set(err, SW_E_INTERNAL, "the slab is committed twice");
    slab->committed = true; /* also after a failure: a half-made slab is only good for sw_slab_free */
    SW_TRY(new_zero(slab, slab->elements[SW_PARAM], &slab->params, err));
    SW_TRY(new_zero(slab, slab->elements[SW_PARAM], &slab->grads, err));
    SW_TRY(new_zero(slab, slab->elements[SW_BUFFER], &slab->buffers, err));
    for (size_t i = 0; i < slab->count; i++) {
        entry *e = &slab->entries[i];
        const sw_tensor *flat = e->kind == SW_PARAM ? &slab->params : &slab->buffers;
        SW_TRY(sw_tensor_view(flat, e->first, e->shape, &e->value, err));
        if (e->kind == SW_PARAM) SW_TRY(sw_tensor_view(&slab->grads, e->first, e->shape, &e->grad, err));
    }
    return SW_OK;
}

sw_device *sw_slab_device(const sw_slab *slab)
{
    return slab->dev;
}

sw_dtype sw_slab_dtype(const sw_slab *slab)
{
    return slab->dtype;
}

int sw_slab_entries(const sw_slab *slab)
{
    return (int)slab->count;
}

const char *sw_slab_name(const sw_slab *slab, int index)
{
    return slab->entries[index].name;
}

const char *sw_slab_group(const sw_slab *slab, int index)
{
    return slab->entries[index].group;
}

sw_slab_kind sw_slab_entry_kind(const sw_slab *slab, int index)
{
    return slab->entries[index].kind;
}

const sw_shape *sw_slab_shape(const sw_slab *slab, int index)
{
    return &slab->entries[index].shape;
}

int sw_slab_find(const sw_slab *slab, const char *name)
{
    for (size_t i = 0; i < slab->count; i++) {
        if (strcmp(slab->entries[i].name, name) == 0) return (int)i;
    }
    return -1;
}

int64_t sw_slab_first(const sw_slab *slab, int index)
{
    return slab->entries[index].first;
}

sw_tensor *sw_slab_value(sw_slab *slab, int index)
{
    return &slab->entries[index].value;
}

sw_tensor *sw_slab_grad(sw_slab *slab, int index)
{
    return slab->entries[index].kind == SW_PARAM ? &slab->entries[index].grad : NULL;
}

sw_tensor *sw_slab_params(sw_slab *slab)
{
    return &slab->params;
}

sw_tensor *sw_slab_grads(sw_slab *slab)
{
    return &slab->grads;
}

sw_tensor *sw_slab_buffers(sw_slab *slab)
{
    return &slab->buffers;
}
