/* SPDX-License-Identifier: Apache-2.0 */
#include "weights/torch_tree.h"

#include <string.h>

#include "base/mem.h"

/* Bounds for trees that hold themselves: deeper and larger than any checkpoint. */
enum { MAX_DEPTH = 32, MAX_VISITS = 4000000, MAX_NAME = 1000 };

typedef struct walk {
    sw_weights *w;
    const sw_torch_source *source;
    int64_t visits;
} walk;

static bool whole(const sw_pickle_value *v, int64_t *out)
{
    if (v->kind != SW_PICKLE_INT || v->number < 0) return false;
    *out = v->number;
    return true;
}

sw_status sw_torch_storage_of(const char *path, const sw_pickle_value *p, sw_torch_storage *out, sw_error *err)
{
    const sw_pickle_value *type = p->count >= 5 ? p->item[1] : NULL, *view = p->count >= 6 ? p->item[5] : NULL;
    if (!type || !sw_pickle_is_text(p->item[0], "storage") || type->kind != SW_PICKLE_GLOBAL ||
        type->global->role != SW_ROLE_STORAGE || p->item[2]->kind != SW_PICKLE_TEXT || !whole(p->item[4], &out->numel) ||
        out->numel > INT64_MAX / 8)
        return sw_error_set(err, SW_E_FORMAT, "%s: names a storage in a way that PyTorch does not; the file is damaged", path);
    out->key = p->item[2]->text;
    out->key_size = p->item[2]->size;
    out->dtype = type->global->dtype;
    out->first = 0;
    out->count = out->numel;
    if (!view || view->kind == SW_PICKLE_NONE) return SW_OK;
    if (view->kind != SW_PICKLE_TUPLE || view->count != 3 || !whole(view->item[1], &out->first) ||
        !whole(view->item[2], &out->count) || out->first > out->numel || out->count > out->numel - out->first)
        return sw_error_set(err, SW_E_FORMAT, "%s: a view of storage %.*s lies outside of it; the file is damaged", path,
                            (int)(out->key_size < 60 ? out->key_size : 60), out->key);
    return SW_OK;
}

static sw_status bad(const walk *k, const char *name, const char *what, sw_error *err)
{
    return sw_error_set(err, SW_E_FORMAT, "%s: tensor %s %s; the file is damaged, fetch it again", k->w->path, name, what);
}

static bool is_call(const sw_pickle_value *v, sw_pickle_role role)
{
    return v->kind == SW_PICKLE_CALL && v->global->role == role;
}

/* A tuple of integers, or torch.Size of one. */
static const sw_pickle_value *tuple_of(const sw_pickle_value *v)
{
    if (is_call(v, SW_ROLE_SIZE) && v->count == 1) v = v->item[0];
    return v->kind == SW_PICKLE_TUPLE || v->kind == SW_PICKLE_LIST ? v : NULL;
}

/* The last element that shape and strides reach must lie below `count`. */
static bool inside(const sw_shape *shape, const int64_t *stride, int64_t offset, int64_t count)
{
    int64_t last = offset, step = 0, total = 1;
    for (int i = 0; i < shape->rank; i++) {
        if (shape->dim[i] == 0) return true;
        if (__builtin_mul_overflow(shape->dim[i] - 1, stride[i], &step) || __builtin_add_overflow(last, step, &last) ||
            __builtin_mul_overflow(total, shape->dim[i], &total) || total > INT64_MAX / 8)
            return false;
    }
    return last < count;
}

static sw_status add_tensor(walk *k, const sw_pickle_value *call, const char *name, sw_error *err)
{
    sw_torch_storage s = {0};
    sw_shape shape = {0};
    int64_t stride[SW_MAX_RANK], offset = 0;
    const uint8_t *data = NULL;
    if (call->count < 4 || call->item[0]->kind != SW_PICKLE_PERSISTENT || !whole(call->item[1], &offset))
        return bad(k, name, "is not built from a storage", err);
    const sw_pickle_value *size = tuple_of(call->item[2]), *strides = tuple_of(call->item[3]);
    if (!size || !strides || size->count != strides->count) return bad(k, name, "has no usable shape", err);
    if (size->count > SW_MAX_RANK)
        return sw_error_set(err, SW_E_UNSUPPORTED, "%s: tensor %s has %zu dimensions; slidewise reads at most %d",
                            k->w->path, name, size->count, SW_MAX_RANK);
    shape.rank = (int)size->count;
    for (int i = 0; i < shape.rank; i++)
        if (!whole(size->item[i], &shape.dim[i]) || !whole(strides->item[i], &stride[i]))
            return bad(k, name, "has no usable shape", err);
    SW_TRY(sw_torch_storage_of(k->w->path, call->item[0], &s, err));
    if (!inside(&shape, stride, offset, s.count)) return bad(k, name, "lies outside its storage", err);
    SW_TRY(k->source->find(k->source->ctx, &s, &data, err));
    if (sw_shape_count(&shape) > 0) data += (size_t)(s.first + offset) * sw_dtype_size(s.dtype);
    SW_TRY(sw_weights_add(k->w, name, s.dtype, &shape, data, err));
    memcpy(k->w->entry[k->w->count - 1].stride, stride, (size_t)shape.rank * sizeof *stride);
    return SW_OK;
}

static sw_status visit(walk *k, const sw_pickle_value *v, const char *name, int depth, sw_error *err);

static sw_status visit_member(walk *k, const sw_pickle_value *v, const char *name, const char *key, size_t size,
                              int depth, sw_error *err)
{
    if (size > MAX_NAME || memchr(key, '\0', size)) return bad(k, name[0] ? name : "(first level)", "has a name that is none", err);
    SW_AUTOFREE char *full = sw_asprintf("%s%s%.*s", name, name[0] ? "." : "", (int)size, key);
    if (!full) return sw_nomem(err);
    return visit(k, v, full, depth + 1, err);
}

/* Keys are texts, or the numbers of an optimiser's state. */
static sw_status visit_dict(walk *k, const sw_pickle_value *v, const char *name, int depth, sw_error *err)
{
    for (size_t i = 0; i + 1 < v->count; i += 2) {
        const sw_pickle_value *key = v->item[i];
        if (key->kind == SW_PICKLE_TEXT) {
            SW_TRY(visit_member(k, v->item[i + 1], name, key->text, key->size, depth, err));
        } else if (key->kind == SW_PICKLE_INT) {
            SW_AUTOFREE char *text = sw_asprintf("%lld", (long long)key->number);
            if (!text) return sw_nomem(err);
            SW_TRY(visit_member(k, v->item[i + 1], name, text, strlen(text), depth, err));
        }
    }
    return SW_OK;
}

static sw_status visit_list(walk *k, const sw_pickle_value *v, const char *name, int depth, sw_error *err)
{
    for (size_t i = 0; i < v->count; i++) {
        SW_AUTOFREE char *text = sw_asprintf("%zu", i);
        if (!text) return sw_nomem(err);
        SW_TRY(visit_member(k, v->item[i], name, text, strlen(text), depth, err));
    }
    return SW_OK;
}

static sw_status visit(walk *k, const sw_pickle_value *v, const char *name, int depth, sw_error *err)
{
    if (depth > MAX_DEPTH || ++k->visits > MAX_VISITS)
        return sw_error_set(err, SW_E_FORMAT, "%s: its collections hold each other without end; it is not a checkpoint",
                            k->w->path);
    if (is_call(v, SW_ROLE_PARAMETER) && v->count > 0) return visit(k, v->item[0], name, depth + 1, err);
    if (is_call(v, SW_ROLE_TENSOR)) return add_tensor(k, v, name[0] ? name : "tensor", err);
    if (v->kind == SW_PICKLE_DICT) return visit_dict(k, v, name, depth, err);
    if (v->kind == SW_PICKLE_LIST || v->kind == SW_PICKLE_TUPLE) return visit_list(k, v, name, depth, err);
    return SW_OK;
}

sw_status sw_torch_add(sw_weights *w, const sw_pickle_value *root, const sw_torch_source *source, sw_error *err)
{
    walk k = {.w = w, .source = source};
    SW_TRY(visit(&k, root, "", 0, err));
    if (w->count == 0)
        return sw_error_set(err, SW_E_FORMAT, "%s: a PyTorch file without any tensor; give one that torch.save(model.state_dict(), ...) wrote",
                            w->path);
    return SW_OK;
}
