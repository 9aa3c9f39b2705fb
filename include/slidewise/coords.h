/* SPDX-License-Identifier: Apache-2.0 */
/* Patch positions in the files of other tools: CLAM's patches/SLIDE.h5 and TRIDENT's patches/SLIDE_patches.h5, read and
 * written. Positions are level-0 pixels of the top-left corner. */
#ifndef SLIDEWISE_COORDS_H
#define SLIDEWISE_COORDS_H

#include <stddef.h>
#include <stdint.h>

#include "slidewise/error.h"
#include "slidewise/grid.h"
#include "slidewise/slide.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum sw_coords_kind { SW_COORDS_CLAM, SW_COORDS_TRIDENT } sw_coords_kind;
SW_API const char *sw_coords_kind_name(sw_coords_kind kind); /* "CLAM", "TRIDENT" */

typedef struct sw_coords {
    sw_coords_kind kind;
    char *path;             /* that it was read from; owned */
    char *name;             /* of the slide as the file says it, "" when it says none; owned */
    int64_t n_patches;
    int64_t *xy;            /* [n_patches, 2]; owned */
    int patch_px;           /* side of a patch as the tool hands it to a network: CLAM's at patch_level, TRIDENT's at the target
                               magnification */
    double patch_level0_px; /* side of a patch, level-0 pixels; 0: only the slide can tell (a CLAM file without downsample) */
    int overlap_px;         /* TRIDENT: of neighbours, pixels of the patch; CLAM does not say: 0 */
    int patch_level;        /* CLAM; TRIDENT: 0 */
    int64_t width, height;  /* TRIDENT: of level 0; CLAM: of patch_level; 0: the file does not say */
    double level0_magnification, target_magnification; /* TRIDENT; CLAM: 0 */
} sw_coords;

/* Reads a file of either tool and tells which it is of by its attributes; anything else is SW_E_FORMAT (or
 * SW_E_UNSUPPORTED) with a sentence. A file without patches is not an error here. *out is overwritten; empty on failure. */
SW_API sw_status sw_coords_read(const char *path, sw_coords *out, sw_error *err) SW_MUST_CHECK;
SW_API void sw_coords_free(sw_coords *coords); /* clears it; fit for SW_CLEANUP */

/* The file that holds the positions of a slide. `where`: such a file (its name or the slide's name in it must fit), or a
 * folder: CLAM's or TRIDENT's, or the folder patches/ in it. *out is owned by the caller (sw_free). SW_E_NOT_FOUND says
 * where it was looked for and, where CLAM's process_list_autogen.csv is there, what it says about the slide. */
SW_API sw_status sw_coords_find(const char *where, const char *slide_id, char **out, sw_error *err) SW_MUST_CHECK;

/* SW_E_INVALID when the positions cannot be of this slide: another size, a patch wholly outside of it, or no patch at all.
 * Fills patch_level0_px where the file left it open. */
SW_API sw_status sw_coords_fit(sw_coords *coords, const sw_slide *slide, sw_error *err) SW_MUST_CHECK;

/* The level from which CLAM would read patches of `grid`, and their side there: the coarsest level that is not coarser than
 * grid->mpp_um by more than 1 %. */
SW_API void sw_coords_clam_level(const sw_slide *slide, const sw_grid *grid, int *level, int *patch_px);

/* Writes DIR/patches/SLIDE.h5 with the attributes that CLAM writes. */
SW_API sw_status sw_coords_write_clam(const char *dir, const char *slide_id, const sw_slide *slide, const sw_grid *grid,
                                      sw_error *err) SW_MUST_CHECK;
/* Writes DIR/{mag}x_{px}px_{overlap}px_overlap/patches/SLIDE_patches.h5 with the attributes that TRIDENT writes. {mag} is
 * grid->magnification. level0_magnification is TRIDENT's bucket of the slide's resolution; target_magnification is the whole
 * number where it gives the patches' true side, else the real number that does. */
SW_API sw_status sw_coords_write_trident(const char *dir, const char *slide_id, const sw_slide *slide, const sw_grid *grid,
                                         int overlap_px, sw_error *err) SW_MUST_CHECK;
/* TRIDENT's magnification for a resolution: 0.2 to 0.3 um per pixel is 40. */
SW_API int sw_coords_trident_magnification(double mpp_um);

#ifdef __cplusplus
}
#endif

#endif
