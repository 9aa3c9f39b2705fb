/* SPDX-License-Identifier: Apache-2.0 */
/* Patch positions by physical resolution. */
#ifndef SLIDEWISE_GRID_H
#define SLIDEWISE_GRID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "slidewise/error.h"
#include "slidewise/image.h"
#include "slidewise/slide.h"
#include "slidewise/tissue.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sw_grid_options {
    int patch_px;         /* side of a patch in pixels at the target resolution, default 256 */
    double mpp_um;        /* target microns per pixel, default 0: from magnification */
    double magnification; /* target: 10 / mpp_um, so 40 is 0.25 um; used when mpp_um is 0; default 0 */
    int overlap_px;       /* of neighbours, pixels at the target resolution, default 0 (step = patch_px - overlap_px) */
    sw_contour_rule contour_rule; /* default SW_CONTOUR_FOUR_PT */
    bool use_padding;     /* patches may reach beyond the slide's right and bottom edge, default true */
    double min_tissue;    /* least share of a patch's area in the tissue mask, default 0: no such filter */
    bool unique;          /* drop positions that an earlier contour gave already, default false (CLAM keeps them) */
    bool align;           /* positions are whole steps from the slide's corner, not from each contour's, so that they can lie on the
                             slide's own tiles; default false (CLAM's way) */
    bool whole_image;     /* no tissue: a grid over the whole slide from (0, 0); default false. With use_padding the
                             last column and row may reach beyond the slide, without it only whole patches count,
                             and a slide smaller than a patch gives one patch at (0, 0). */
} sw_grid_options;
SW_API sw_grid_options sw_grid_options_default(void);

typedef struct sw_grid {
    int patch_px;
    double mpp_um, magnification; /* target, 10 / mpp_um */
    double patch_level0_px;       /* side of a patch in level-0 pixels (a real number) */
    double step_level0_px;        /* distance of neighbours in level-0 pixels (a real number) */
    int64_t n_patches;
    int64_t *xy;                  /* [n_patches, 2] top-left corners, level-0 pixels */
    int32_t *contour;             /* [n_patches] index of the contour; all 0 with whole_image */
} sw_grid;

/* Contour by contour, x outer, y inner, from the corner of each contour's bounding box (CLAM's order). `tissue` may be
 * NULL with whole_image. Position i along an axis is corner + round(i * step_level0_px), with `align` round(i * step_level0_px)
 * from the last one before the corner on. A slide without mpp fails like
 * sw_slide_need_mpp; options out of range are SW_E_INVALID. No patch at all is not an error here (n_patches 0).
 * *out is overwritten; empty on failure. Free with sw_grid_free. */
SW_API sw_status sw_grid_make(const sw_tissue *tissue, const sw_slide *slide, const sw_grid_options *options, sw_grid *out,
                              sw_error *err) SW_MUST_CHECK;
/* The same for a slide of which only size and resolution are known. */
SW_API sw_status sw_grid_make_at(const sw_tissue *tissue, int64_t width, int64_t height, double slide_mpp_um,
                                 const sw_grid_options *options, sw_grid *out, sw_error *err) SW_MUST_CHECK;
/* A picture of what the patches show: `thumbnail` is one of the whole slide (width x height level-0 pixels), and *out is as
 * large, white but for the pixels whose centre lies in a patch. *out is overwritten; empty on failure. */
SW_API sw_status sw_grid_stitch(const sw_grid *grid, int64_t width, int64_t height, const sw_image *thumbnail, sw_image *out, sw_error *err)
    SW_MUST_CHECK;
SW_API void sw_grid_free(sw_grid *grid); /* clears it; fit for SW_CLEANUP */

#ifdef __cplusplus
}
#endif

#endif
