/* SPDX-License-Identifier: Apache-2.0 */
/* Files of features: a dataset "features" (CLAM, TRIDENT, slidewise) or "feats" (STAMP), [n, dim] or [1, n, dim], of 16, 32 or 64
 * bit floats, and beside it "coords" with positions, or none. Everything is read in a process of its own. */
#ifndef SW_STORE_HDF5_FEATURES_H
#define SW_STORE_HDF5_FEATURES_H

#include "store/hdf5_base.h"

/* What a file holds. */
typedef struct sw_h5_features {
    int64_t n, dim;  /* patches, and how wide their features are; 0 and 0 of an empty list */
    bool has_coords; /* a table of at least two columns and n rows */
    double step;     /* of neighbours along a row or column, as most of them have it; 0: unknown, or not looked for */
} sw_h5_features;

/* Only the head of the file is read. `wanted` is asked of "coords", then of the file; where that answers none of it, `step` is looked for. Its
 * texts are the caller's to free also after a failure. */
sw_status sw_h5_features_look(const char *path, sw_h5_features *out, sw_h5_wanted *wanted, size_t n_wanted, sw_error *err) SW_MUST_CHECK;
/* out [known->n, known->dim], the caller's. A value that is not finite, or a file that holds something else by now, is SW_E_FORMAT. */
sw_status sw_h5_features_read(const char *path, const sw_h5_features *known, float *out, sw_error *err) SW_MUST_CHECK;
/* xy [known->n, 2], the caller's, as they stand in the file. */
sw_status sw_h5_features_coords(const char *path, const sw_h5_features *known, double *xy, sw_error *err) SW_MUST_CHECK;
/* Every attribute of "coords" in any HDF5 file of ours, CLAM's or TRIDENT's. */
sw_status sw_h5_coords_attributes(const char *path, sw_h5_attributes *out, sw_error *err) SW_MUST_CHECK;

/* A file to write: features float32 [n, dim], coords int64 [n, 2]. */
typedef struct sw_h5_features_file {
    int64_t n, dim;
    const float *features;
    const int64_t *xy; /* NULL: no positions */
    const sw_h5_attribute *of_coords;
    size_t n_of_coords;
    const sw_h5_attribute *of_file;
    size_t n_of_file;
} sw_h5_features_file;
/* The whole file into *out, which is empty. The same content gives the same bytes. */
sw_status sw_h5_features_write(const sw_h5_features_file *file, sw_buf *out, sw_error *err) SW_MUST_CHECK;

#endif
