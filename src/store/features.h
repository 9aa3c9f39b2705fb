/* SPDX-License-Identifier: Apache-2.0 */
/* Files of features in place of patches: which there are, and their rows on demand through a cache of whole slides. */
#ifndef SW_STORE_FEATURES_H
#define SW_STORE_FEATURES_H

#include "slidewise/store.h"
#include "store/record.h"

typedef struct sw_features sw_features;

/* Looks at the head of every file. One that cannot be read, or holds no patch, is left out with a warning; files of different widths
 * are SW_E_INVALID. Fills `slides` (by id) and `settings`, both empty before and the caller's also after a failure. */
sw_status sw_features_open(const sw_store_features_options *options, sw_record_list *slides, sw_setting_list *settings, sw_features **out,
                           sw_error *err) SW_MUST_CHECK;
void sw_features_close(sw_features **features);
const char *sw_features_name(const sw_features *features);
int sw_features_dim(const sw_features *features);
/* xy [n_patches, 2] of a slide, rounded; `number` is that of its record. SW_E_NOT_FOUND: its file holds none. */
sw_status sw_features_coords(const sw_features *features, uint32_t number, int64_t *xy, sw_error *err) SW_MUST_CHECK;
/* Rows index [n] of a slide: out [n, dim]. From any thread. */
sw_status sw_features_rows(sw_features *features, uint32_t number, const int64_t *index, int64_t n, float *out, sw_error *err) SW_MUST_CHECK;

#endif
