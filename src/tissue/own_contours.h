/* SPDX-License-Identifier: Apache-2.0 */
/* GeoJSON of our own, read back without loss. */
#ifndef SW_TISSUE_OWN_CONTOURS_H
#define SW_TISSUE_OWN_CONTOURS_H

#include <stdbool.h>

#include "base/json.h"
#include "slidewise/tissue.h"

/* The collection's member that says which mask the contours were followed in: mask_width, mask_height, slide_width, slide_height.
 * Other programs pass it over, and drop it when they write the file anew. */
#define SW_OWN_CONTOURS "slidewise"

/* *ours: `root` is a collection that sw_tissue_write_geojson wrote for a slide of this size, and no position in it was moved; then
 * *out is the tissue that was written, but for level and threshold (0), and whatever its features' classes. Else *out is empty. */
sw_status sw_own_contours(const sw_json *root, const sw_slide_info *info, sw_tissue *out, bool *ours, sw_error *err) SW_MUST_CHECK;

#endif
