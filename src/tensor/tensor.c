/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/tensor.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "tensor/convert.h"

size_t sw_dtype_size(sw_dtype dtype)
{
    static const size_t size[] = {[SW_F32] = 4, [SW_F64] = 8, [SW_BF16] = 2, [SW_F16] = 2,
                                  [SW_U8] = 1,  [SW_I32] = 4, [SW_I64] = 8};
    return size[dtype];
}

const char *sw_dtype_name(sw_dtype dtype)
{
    static const char *const name[] = {[SW_F32] = "f32", [SW_F64] = "f64", [SW_BF16] = "bf16", [SW_F16] = "f16",
                                       [SW_U8] = "u8",   [SW_I32] = "i32", [SW_I64] = "i64"};
    return name[dtype];
}

sw_shape sw_shape_of(int rank, const int64_t *dim)
{
    sw_shape shape = {.rank = rank};
    for (int i = 0; i < rank && i < SW_MAX_RANK; i++) shape.dim[i] = dim[i];
    return shape;
}

int64_t sw_shape_count(const sw_shape *shape)
{
    int64_t count = 1;
    for (int i = 0; i < shape->rank; i++) count *= shape->dim[i];
    return count;
}

bool sw_shape_equal(const sw_shape *a, const sw_shape *b)
{
    if (a->rank != b->rank) return false;
    for (int i = 0; i < a->rank; i++) {
        if (a->dim[i] != b->dim[i]) return false;
    }
    return true;
}

const char *sw_shape_text(const sw_shape *shape, char *out, size_t size)
{
    size_t used = (size_t)snprintf(out, size, "[");
    for (int i = 0; i < shape->rank && used < size; i++) {
        used += (size_t)snprintf(out + used, size - used, i ? ", %lld" : "%lld", (long long)shape->dim[i]);
    }
    if (used < size) snprintf(out + used, size - used, "]");
    return out;
}

/* Bytes of a plain tensor, or an error where the shape is not one or does not fit. */
static sw_status plain_bytes(sw_dtype dtype, const sw_shape *shape, size_t *bytes, sw_error *err)
{
    char text[128];
    size_t total = sw_dtype_size(dtype);
    if (shape->rank < 0 || shape->rank > SW_MAX_RANK) {
        return sw_error_set(err, SW_E_INVALID, "a tensor has at most %d dimensions, not %d", SW_MAX_RANK, shape->rank);
    }
    for (int i = 0; i < shape->rank; i++) {
        if (shape->dim[i] < 0 || __builtin_mul_overflow(total, (size_t)shape->dim[i], &total) ||
            total > (size_t)INT64_MAX) {
            return sw_error_set(err, SW_E_INVALID, "a tensor of shape %s is not possible",
                                sw_shape_text(shape, text, sizeof text));
        }
    }
    *bytes = total;
    return SW_OK;
}

static void count_bytes(sw_device *dev, int64_t change)
{
    int64_t now = __atomic_add_fetch(&dev->bytes_now, change, __ATOMIC_RELAXED);
    int64_t peak = __atomic_load_n(&dev->bytes_peak, __ATOMIC_RELAXED);
    while (now > peak && !__atomic_compare_exchange_n(&dev->bytes_peak, &peak, now, true, __ATOMIC_RELAXED,
                                                      __ATOMIC_RELAXED)) {
    }
}

static sw_status storage_new(sw_device *dev, size_t bytes, sw_storage **out, sw_error *err)
{
    SW_AUTOFREE sw_storage *s = sw_calloc(1, sizeof *s);
    if (!s) return sw_nomem(err);
    s->refs = 1;
    s->device = dev;
    s->bytes = bytes;
    SW_TRY(dev->ops->alloc(dev, bytes, &s->mem, err));
    count_bytes(dev, (int64_t)bytes);
    *out = SW_STEAL(s);
    return SW_OK;
}

static void storage_unref(sw_storage *s)
{
    if (!s || __atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL) > 0) return;
    s->device->ops->release(s->device, s->mem, s->bytes);
    count_bytes(s->device, -(int64_t)s->bytes);
    sw_free(s);
}

sw_status sw_tensor_new(sw_device *dev, sw_dtype dtype, sw_shape shape, sw_tensor *out, sw_error *err)
{
    size_t bytes = 0;
    sw_tensor t = {.dtype = dtype, .shape = shape};
    SW_TRY(plain_bytes(dtype, &shape, &bytes, err));
    SW_TRY(storage_new(dev, bytes, &t.storage, err));
    *out = t;
    return SW_OK;
}

sw_status sw_tensor_from(sw_device *dev, sw_dtype dtype, sw_shape shape, const void *host, sw_tensor *out,
                         sw_error *err)
{
    SW_CLEANUP(sw_tensor_release) sw_tensor t = {0};
    SW_TRY(sw_tensor_new(dev, dtype, shape, &t, err));
    SW_TRY(sw_tensor_upload(&t, host, err));
    *out = t;
    t = (sw_tensor){0};
    return SW_OK;
}

sw_tensor sw_tensor_ref(const sw_tensor *t)
{
    if (t->storage) __atomic_add_fetch(&t->storage->refs, 1, __ATOMIC_RELAXED);
    return *t;
}

void sw_tensor_release(sw_tensor *t)
{
    if (!t) return;
    storage_unref(t->storage);
    *t = (sw_tensor){0};
}

sw_status sw_tensor_view(const sw_tensor *t, int64_t first, sw_shape shape, sw_tensor *out, sw_error *err)
{
    char whole[128], part[128];
    size_t bytes;
    SW_TRY(plain_bytes(t->dtype, &shape, &bytes, err));
    int64_t count = sw_shape_count(&shape);
    if (!t->storage || t->layout != 0) {
        return sw_error_set(err, SW_E_INVALID, "only a plain tensor has views, but %s is %s",
                            sw_shape_text(&t->shape, whole, sizeof whole), t->storage ? "blocked" : "empty");
    }
    if (first < 0 || count > sw_tensor_count(t) || first > sw_tensor_count(t) - count) {
        return sw_error_set(err, SW_E_INVALID, "a view %s from element %lld does not lie inside a tensor %s",
                            sw_shape_text(&shape, part, sizeof part), (long long)first,
                            sw_shape_text(&t->shape, whole, sizeof whole));
    }
    sw_tensor view = sw_tensor_ref(t);
    view.shape = shape;
    view.offset += (size_t)first * sw_dtype_size(t->dtype);
    *out = view;
    return SW_OK;
}

int64_t sw_tensor_count(const sw_tensor *t)
{
    return sw_shape_count(&t->shape);
}

size_t sw_tensor_bytes(const sw_tensor *t)
{
    return (size_t)sw_tensor_count(t) * sw_dtype_size(t->dtype);
}

static sw_status check_storage(const sw_tensor *t, sw_error *err)
{
    if (t->storage) return SW_OK;
    return sw_error_set(err, SW_E_INVALID, "the tensor is empty: its value was let go or never made");
}

sw_status sw_tensor_upload(sw_tensor *t, const void *host, sw_error *err)
{
    SW_TRY(check_storage(t, err));
    return t->storage->device->ops->upload(t->storage->device, t, host, err);
}

sw_status sw_tensor_download(const sw_tensor *t, void *host, sw_error *err)
{
    SW_TRY(check_storage(t, err));
    return t->storage->device->ops->download(t->storage->device, t, host, err);
}

static sw_status check_float(const sw_tensor *t, sw_error *err)
{
    SW_TRY(check_storage(t, err));
    if (sw_dtype_is_float(t->dtype)) return SW_OK;
    return sw_error_set(err, SW_E_INVALID, "a tensor of type %s does not convert to or from floating point",
                        sw_dtype_name(t->dtype));
}

sw_status sw_tensor_upload_f64(sw_tensor *t, const double *host, sw_error *err)
{
    SW_TRY(check_float(t, err));
    if (t->dtype == SW_F64) return sw_tensor_upload(t, host, err);
    SW_AUTOFREE void *own = sw_malloc(sw_tensor_bytes(t));
    if (!own) return sw_nomem(err);
    sw_convert_from_f64(t->dtype, host, own, sw_tensor_count(t));
    return sw_tensor_upload(t, own, err);
}

sw_status sw_tensor_download_f64(const sw_tensor *t, double *host, sw_error *err)
{
    SW_TRY(check_float(t, err));
    if (t->dtype == SW_F64) return sw_tensor_download(t, host, err);
    SW_AUTOFREE void *own = sw_malloc(sw_tensor_bytes(t));
    if (!own) return sw_nomem(err);
    SW_TRY(sw_tensor_download(t, own, err));
    sw_convert_to_f64(t->dtype, own, host, sw_tensor_count(t));
    return SW_OK;
}

sw_status sw_tensor_upload_f32(sw_tensor *t, const float *host, sw_error *err)
{
    SW_TRY(check_float(t, err));
    if (t->dtype == SW_F32) return sw_tensor_upload(t, host, err);
    int64_t count = sw_tensor_count(t);
    SW_AUTOFREE double *wide = sw_malloc((size_t)count * sizeof *wide);
    if (!wide) return sw_nomem(err);
    sw_convert_to_f64(SW_F32, host, wide, count);
    return sw_tensor_upload_f64(t, wide, err);
}

sw_status sw_tensor_download_f32(const sw_tensor *t, float *host, sw_error *err)
{
    SW_TRY(check_float(t, err));
    if (t->dtype == SW_F32) return sw_tensor_download(t, host, err);
    int64_t count = sw_tensor_count(t);
    SW_AUTOFREE double *wide = sw_malloc((size_t)count * sizeof *wide);
    if (!wide) return sw_nomem(err);
    SW_TRY(sw_tensor_download_f64(t, wide, err));
    sw_convert_from_f64(SW_F32, wide, host, count);
    return SW_OK;
}
