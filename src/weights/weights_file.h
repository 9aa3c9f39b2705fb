/* SPDX-License-Identifier: Apache-2.0 */
/* What the readers of the single formats share. */
#ifndef SW_WEIGHTS_WEIGHTS_FILE_H
#define SW_WEIGHTS_WEIGHTS_FILE_H

#include "weights/weights.h"

typedef struct sw_weight_entry {
    sw_weight info;         /* info.name is owned */
    const uint8_t *data;    /* first element, in the file's memory map or in an owned block */
    int64_t stride[SW_MAX_RANK]; /* in elements; row-major where contiguous */
} sw_weight_entry;

typedef struct sw_weight_text {
    char *key, *value;
} sw_weight_text;

struct sw_weights {
    char *path;
    const uint8_t *map; /* the whole file, mapped read-only */
    size_t map_bytes;
    bool checked;       /* it carries a checksum, and has it */
    void **block;       /* memory that entries point into besides the map; owned */
    size_t n_blocks, blocks_capacity;
    sw_weight_entry *entry;
    size_t count, capacity;
    sw_weight_text *text;
    size_t n_texts, texts_capacity;
};

/* Appends an entry; the name is copied, strides are set to row-major. Two entries of one name are refused. */
sw_status sw_weights_add(sw_weights *w, const char *name, sw_dtype dtype, const sw_shape *shape, const uint8_t *data,
                         sw_error *err) SW_MUST_CHECK;
sw_status sw_weights_add_text(sw_weights *w, const char *key, const char *value, sw_error *err) SW_MUST_CHECK;

/* Readers: fill `w` (path and map are set). */
sw_status sw_safetensors_read(sw_weights *w, sw_error *err) SW_MUST_CHECK;
sw_status sw_torch_zip_read(sw_weights *w, sw_error *err) SW_MUST_CHECK;
sw_status sw_torch_legacy_read(sw_weights *w, sw_error *err) SW_MUST_CHECK;

#endif
