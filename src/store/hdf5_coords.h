/* SPDX-License-Identifier: Apache-2.0 */
/* The one thing we need of HDF5: a dataset "coords" [n, 2] with attributes. What the attributes mean is coords.c's. */
#ifndef SW_STORE_HDF5_COORDS_H
#define SW_STORE_HDF5_COORDS_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "slidewise/error.h"

typedef enum sw_h5_type { SW_H5_INT, SW_H5_REAL, SW_H5_TEXT } sw_h5_type;

/* An attribute to write. */
typedef struct sw_h5_attribute {
    const char *name;
    sw_h5_type type;
    int count;       /* 0: a scalar; 2: a pair (numbers only) */
    double value[2]; /* whole for SW_H5_INT, and exact up to 2^53 */
    const char *text;
} sw_h5_attribute;

/* An attribute to read: name and type are asked, the rest is the answer. A number is taken whatever its type in the file. */
typedef struct sw_h5_wanted {
    const char *name;
    bool is_text;
    int count;       /* 0: absent, or not a number (a text) as asked; else how many numbers there are, two of them kept */
    double value[2];
    char *text;      /* owned, sw_free */
} sw_h5_wanted;

/* Appends the whole file to *out: coords int64 [n, 2] (may grow along n, as Python's tools leave it), attributes in their
 * order. The same content gives the same bytes. */
sw_status sw_h5_coords_write(const int64_t *xy, int64_t n, const sw_h5_attribute *attribute, size_t n_attributes, sw_buf *out,
                             sw_error *err) SW_MUST_CHECK;

/* Reads a file, in a process of its own (a damaged file can make HDF5 crash: SW_E_FORMAT then), and fills `wanted`. *xy (owned, never NULL on success): [*n, 2]. The texts of `wanted` are the caller's to
 * free also after a failure. */
sw_status sw_h5_coords_read(const char *path, int64_t **xy, int64_t *n, sw_h5_wanted *wanted, size_t n_wanted, sw_error *err)
    SW_MUST_CHECK;

#endif
