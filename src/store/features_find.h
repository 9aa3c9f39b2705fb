/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SW_STORE_FEATURES_FIND_H
#define SW_STORE_FEATURES_FIND_H

#include "base/fs.h"

/* The files of features that `path` stands for: one file; a folder's .h5 files; or those of the only folder in it that CLAM (h5_files) or
 * TRIDENT (features_ENCODER) put them into. *folder (owned by the caller) is where they lie, or the file itself; paths are added to `files`. */
sw_status sw_features_find(const char *path, char **folder, sw_names *files, sw_error *err) SW_MUST_CHECK;

#endif
