/* SPDX-License-Identifier: Apache-2.0 */
/* Many patches of a slide at once: neighbours are read as one region and cut. */
#ifndef SW_SLIDE_PATCHES_H
#define SW_SLIDE_PATCHES_H

#include "slidewise/slide.h"

/* Pixels of a region at most: 12 MB, and 16 MB more while OpenSlide reads it. */
#define SW_GROUP_PIXELS (4 << 20)

/* Patch `index` is in `rgb` [patch_px, patch_px, 3]. */
typedef sw_status (*sw_slide_patch_fn)(void *ctx, int index, const uint8_t *rgb, sw_error *err);

/* Reads the `n` patches at xy [n, 2] (level-0 pixels) one after another into `rgb` [patch_px, patch_px, 3] and calls `each`
 * after every one; its bits are those of sw_slide_read_patch. Patches that follow each other in `xy` are read together where
 * they lie close. A region that cannot be read is read again patch by patch: the first patch that cannot be read is the error,
 * and all before it were given to `each`. For several threads at once. */
sw_status sw_slide_read_patches(sw_slide *slide, const int64_t *xy, int n, int patch_px, double mpp_um, uint8_t *rgb,
                                sw_slide_patch_fn each, void *ctx, sw_error *err) SW_MUST_CHECK;

#endif
