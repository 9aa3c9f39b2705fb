/* SPDX-License-Identifier: Apache-2.0 */
/* Many patches of a slide at once: neighbours are read as one region and cut; and reading what is left of damaged slides. */
#ifndef SW_SLIDE_PATCHES_H
#define SW_SLIDE_PATCHES_H

#include "slidewise/slide.h"

/* Pixels of a region at most: 12 MB, and 16 MB more while OpenSlide reads it. */
#define SW_GROUP_PIXELS (4 << 20)

/* Patch `index` is in `rgb` [patch_px, patch_px, 3]. */
typedef sw_status (*sw_slide_patch_fn)(void *ctx, int index, const uint8_t *rgb, sw_error *err);
/* Patch `index` lies where the slide is damaged, and `why` says how. */
typedef sw_status (*sw_slide_bad_fn)(void *ctx, int index, const sw_error *why, sw_error *err);

/* Reads the `n` patches at xy [n, 2] (level-0 pixels) one after another into `rgb` [patch_px, patch_px, 3] and calls `each`
 * after every one; its bits are those of sw_slide_read_patch. Patches that follow each other in `xy` are read together where
 * they lie close. A region that cannot be read is read again patch by patch. A patch that lies where the slide is damaged
 * (SW_E_FORMAT, after the format has tried again with a fresh handle) goes to `bad` instead of `each`, and the others go on;
 * with `bad` NULL, or when the file itself is gone, the first patch that cannot be read is the error, and all before it were
 * given to `each`. For several threads at once. */
sw_status sw_slide_read_patches(sw_slide *slide, const int64_t *xy, int n, int patch_px, double mpp_um, uint8_t *rgb,
                                sw_slide_patch_fn each, sw_slide_bad_fn bad, void *ctx, sw_error *err) SW_MUST_CHECK;

/* Whether such patches are pixels of a level as they are (see sw_slide_read_patch), and a whole number of level-0 pixels stands for
 * each; *level_mpp_um is then the level's own resolution, from which mpp_um differs by less than half a pixel over the patch. */
bool sw_slide_patch_is_level(const sw_slide *slide, int patch_px, double mpp_um, double *level_mpp_um);

/* The slide's own JPEG tile, where the patch is exactly one: the stream as the file holds it, made whole, so that every decoder
 * gives the pixels of sw_slide_read_patch. NULL: it is none, or its tile is not a sound stream as far as its segments tell (the
 * picture's data is not looked into). Owned by the caller (sw_image_bytes_free). For several threads at once. */
uint8_t *sw_slide_patch_jpeg(sw_slide *slide, const int64_t *xy, int patch_px, double mpp_um, size_t *size);

/* What a slide could not give. */
typedef struct sw_slide_missing {
    int64_t n_asked, n_missing; /* pixels of the levels that were read */
    sw_error first; /* why the first of them could not be read; code SW_OK: all was read */
} sw_slide_missing;

/* sw_slide_read, but what lies where the slide is damaged (SW_E_FORMAT) becomes white, square by square of at most 256 pixels,
 * and is added to `missing`. */
sw_status sw_slide_read_parts(sw_slide *slide, int level, int64_t level0_x, int64_t level0_y, int64_t width, int64_t height,
                              uint8_t *rgb, sw_slide_missing *missing, sw_error *err) SW_MUST_CHECK;
/* The same of sw_slide_read_area; SW_E_FORMAT where nothing at all can be read is the caller's to make of *missing. */
sw_status sw_slide_read_area_parts(sw_slide *slide, double level0_x, double level0_y, double level0_width, double level0_height,
                                   int64_t width, int64_t height, uint8_t *rgb, sw_slide_missing *missing, sw_error *err)
    SW_MUST_CHECK;

#endif
