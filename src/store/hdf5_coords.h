/* SPDX-License-Identifier: Apache-2.0 */
/* Files of positions: a dataset "coords" [n, 2] with attributes. What the attributes mean is coords.c's. */
#ifndef SW_STORE_HDF5_COORDS_H
#define SW_STORE_HDF5_COORDS_H

#include "store/hdf5_reader.h"

/* Appends the whole file to *out: coords int64 [n, 2] (may grow along n, as Python's tools leave it), attributes in their
 * order. The same content gives the same bytes. */
sw_status sw_h5_coords_write(const int64_t *xy, int64_t n, const sw_h5_attribute *attribute, size_t n_attributes, sw_buf *out,
                             sw_error *err) SW_MUST_CHECK;

/* A process that reads many such files; see sw_h5_reader_new. */
sw_status sw_h5_coords_reader_new(sw_h5_reader **out, sw_error *err) SW_MUST_CHECK;
/* Reads a file in another process, that of `reader` or (NULL) one of its own, since a damaged file can make HDF5 crash: SW_E_FORMAT
 * then; and fills `wanted`. *xy (owned, never NULL on success): [*n, 2]. The texts of `wanted` are the caller's to free also after a
 * failure. */
sw_status sw_h5_coords_read(sw_h5_reader *reader, const char *path, int64_t **xy, int64_t *n, sw_h5_wanted *wanted, size_t n_wanted, sw_error *err)
    SW_MUST_CHECK;

#endif
