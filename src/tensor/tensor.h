/* SPDX-License-Identifier: Apache-2.0 */
/* Tensors: a shape over ref-counted storage that belongs to a device. Nothing outside src/backend
 * reads or writes the memory: the host goes through sw_tensor_upload and sw_tensor_download. */
#ifndef SW_TENSOR_TENSOR_H
#define SW_TENSOR_TENSOR_H

#include <stddef.h>
#include <stdint.h>

#include "slidewise/error.h"

#define SW_MAX_RANK 5

typedef enum sw_dtype { SW_F32, SW_F64, SW_BF16, SW_F16, SW_U8, SW_I32, SW_I64 } sw_dtype;
size_t sw_dtype_size(sw_dtype dtype);
const char *sw_dtype_name(sw_dtype dtype); /* "f32" */

typedef struct sw_shape {
    int rank; /* 0: a scalar */
    int64_t dim[SW_MAX_RANK];
} sw_shape;
#define SW_SHAPE(...)                                                                           \
    sw_shape_of((int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[]){__VA_ARGS__})
sw_shape sw_shape_of(int rank, const int64_t *dim);
int64_t sw_shape_count(const sw_shape *shape); /* elements */
bool sw_shape_equal(const sw_shape *a, const sw_shape *b);
const char *sw_shape_text(const sw_shape *shape, char *out, size_t size); /* "[2, 3]" */

typedef struct sw_device sw_device;
typedef struct sw_tensor sw_tensor;

/* What a backend gives so that tensors can live on it. Host data is always plain row-major. */
typedef struct sw_device_ops {
    sw_status (*alloc)(sw_device *dev, size_t bytes, void **mem, sw_error *err); /* not zeroed */
    void (*release)(sw_device *dev, void *mem, size_t bytes);
    sw_status (*upload)(sw_device *dev, sw_tensor *dst, const void *host, sw_error *err);
    sw_status (*download)(sw_device *dev, const sw_tensor *src, void *host, sw_error *err);
} sw_device_ops;
struct sw_device {
    const sw_device_ops *ops;
    const char *name; /* "ref", "guard", "cpu", "cuda" */
    int64_t bytes_now, bytes_peak; /* atomic; kept by tensor.c */
};

typedef struct sw_storage {
    int64_t refs; /* atomic */
    sw_device *device; /* outlives every storage */
    void *mem;         /* the device's own handle: for src/backend only */
    size_t bytes;
} sw_storage;

/* A tensor is a value; each copy made with sw_tensor_ref holds one reference on the storage. */
struct sw_tensor {
    sw_storage *storage; /* NULL: empty tensor */
    size_t offset;       /* bytes into the storage */
    sw_dtype dtype;
    sw_shape shape;      /* logical: images are [n, c, h, w] */
    int layout;          /* 0: plain row-major; other values are private to the backend, which may
                            store any tensor it made itself in its own layout of the same byte size */
};

sw_status sw_tensor_new(sw_device *dev, sw_dtype dtype, sw_shape shape, sw_tensor *out, sw_error *err)
    SW_MUST_CHECK; /* memory not initialised */
sw_status sw_tensor_from(sw_device *dev, sw_dtype dtype, sw_shape shape, const void *host, sw_tensor *out,
                         sw_error *err) SW_MUST_CHECK;
sw_tensor sw_tensor_ref(const sw_tensor *t);
void sw_tensor_release(sw_tensor *t); /* clears it; empty is fine */
/* A view of `count` elements from element `first` of a PLAIN tensor, under a new shape. */
sw_status sw_tensor_view(const sw_tensor *t, int64_t first, sw_shape shape, sw_tensor *out, sw_error *err)
    SW_MUST_CHECK;
int64_t sw_tensor_count(const sw_tensor *t);
size_t sw_tensor_bytes(const sw_tensor *t);
/* Whole tensor to and from plain row-major host memory of sw_tensor_bytes(t). Upload makes it plain. */
sw_status sw_tensor_upload(sw_tensor *t, const void *host, sw_error *err) SW_MUST_CHECK;
sw_status sw_tensor_download(const sw_tensor *t, void *host, sw_error *err) SW_MUST_CHECK;
/* As above, converting between the tensor's float type and double on the host. */
sw_status sw_tensor_upload_f64(sw_tensor *t, const double *host, sw_error *err) SW_MUST_CHECK;
sw_status sw_tensor_download_f64(const sw_tensor *t, double *host, sw_error *err) SW_MUST_CHECK;
sw_status sw_tensor_upload_f32(sw_tensor *t, const float *host, sw_error *err) SW_MUST_CHECK;
sw_status sw_tensor_download_f32(const sw_tensor *t, float *host, sw_error *err) SW_MUST_CHECK;

#endif
