/* SPDX-License-Identifier: Apache-2.0 */
/* Weight files: safetensors (read and write) and PyTorch checkpoints (read; nothing in them is ever executed). */
#ifndef SW_WEIGHTS_WEIGHTS_H
#define SW_WEIGHTS_WEIGHTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "slidewise/error.h"
#include "tensor/tensor.h"

/* One tensor of a file. Texts and data are borrowed from the file's handle. */
typedef struct sw_weight {
    const char *name;
    sw_dtype dtype;
    sw_shape shape;
} sw_weight;

typedef struct sw_weights sw_weights;

/* Opens a weight file of any of the formats, told by its content. The whole structure is checked here, and of files that
 * sw_weights_writer_save wrote every byte; a damaged or foreign file is SW_E_FORMAT with a sentence. *out is owned by the caller; untouched on failure. */
sw_status sw_weights_open(const char *path, sw_weights **out, sw_error *err) SW_MUST_CHECK;
void sw_weights_close(sw_weights *weights);
void sw_weights_close_ptr(sw_weights **weights); /* for SW_CLEANUP */

const char *sw_weights_path(const sw_weights *weights);
bool sw_weights_checked(const sw_weights *weights); /* it carries a checksum, so that every byte was checked */
size_t sw_weights_count(const sw_weights *weights);
const sw_weight *sw_weights_get(const sw_weights *weights, size_t index); /* in file order */
int64_t sw_weights_find(const sw_weights *weights, const char *name);     /* -1: absent */
/* Text stored beside the tensors (safetensors only); NULL: absent. */
const char *sw_weights_metadata(const sw_weights *weights, const char *key);

/* Row-major values of a tensor. Float types convert to f32; integer ones only to i64. */
sw_status sw_weights_read_f32(const sw_weights *weights, size_t index, float *out, sw_error *err) SW_MUST_CHECK;
sw_status sw_weights_read_i64(const sw_weights *weights, size_t index, int64_t *out, sw_error *err) SW_MUST_CHECK;

/* --- writing safetensors: the same content gives the same bytes, with a checksum among the metadata ("slidewise.crc32c") */
typedef struct sw_weights_writer sw_weights_writer;
sw_status sw_weights_writer_new(sw_weights_writer **out, sw_error *err) SW_MUST_CHECK;
void sw_weights_writer_free(sw_weights_writer *writer);
/* Copies name, shape and data (row-major, of `dtype`). */
sw_status sw_weights_writer_add(sw_weights_writer *writer, const char *name, sw_dtype dtype, const sw_shape *shape,
                                const void *data, sw_error *err) SW_MUST_CHECK;
sw_status sw_weights_writer_metadata(sw_weights_writer *writer, const char *key, const char *value, sw_error *err)
    SW_MUST_CHECK;
/* Writes all of it, atomically. */
sw_status sw_weights_writer_save(const sw_weights_writer *writer, const char *path, sw_error *err) SW_MUST_CHECK;

#endif
