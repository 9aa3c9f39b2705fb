/* SPDX-License-Identifier: Apache-2.0 */
/* From the tree of a PyTorch pickle to named tensors; what the two containers (zip, legacy) share. */
#ifndef SW_WEIGHTS_TORCH_TREE_H
#define SW_WEIGHTS_TORCH_TREE_H

#include "weights/pickle.h"
#include "weights/weights_file.h"

/* A storage as the pickle names it. */
typedef struct sw_torch_storage {
    const char *key; /* not terminated */
    size_t key_size;
    sw_dtype dtype;
    int64_t numel;   /* of the whole storage */
    int64_t first, count; /* the part that is meant: elements; all of it where there is no view */
} sw_torch_storage;

sw_status sw_torch_storage_of(const char *path, const sw_pickle_value *persistent, sw_torch_storage *out, sw_error *err)
    SW_MUST_CHECK;

/* Where storages lie. *data (borrowed until sw_weights_close) has at least numel elements, else an error says so. */
typedef struct sw_torch_source {
    void *ctx;
    sw_status (*find)(void *ctx, const sw_torch_storage *storage, const uint8_t **data, sw_error *err);
} sw_torch_source;

/* Adds every tensor of the tree under its path of keys, joined by '.'; a bare tensor is named "tensor". Numbers, texts
 * and other values are left out. */
sw_status sw_torch_add(sw_weights *w, const sw_pickle_value *root, const sw_torch_source *source, sw_error *err)
    SW_MUST_CHECK;

#endif
