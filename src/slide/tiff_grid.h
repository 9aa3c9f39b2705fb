/* SPDX-License-Identifier: Apache-2.0 */
/* Where the JPEG tiles of a pyramidal TIFF lie in its file. */
#ifndef SW_SLIDE_TIFF_GRID_H
#define SW_SLIDE_TIFF_GRID_H

#include "slide/slide_internal.h"

/* The tiles of one level: JPEG streams of 8 bits and three colours, all of one size, row by row. */
typedef struct sw_tiff_grid {
    int64_t width, height;         /* of the level; tiles of the last column and row reach beyond it */
    int64_t tile_width, tile_height;
    int64_t columns, rows;
    bool is_rgb;                   /* what the streams hold: RGB, or YCbCr */
    uint8_t *tables;               /* owned: the stream with what the tiles have in common (TIFF's JPEGTables); may be NULL */
    size_t tables_bytes;
    uint64_t *offset, *bytes;      /* owned, [rows * columns]: where each tile lies in the file; as the file says, not checked */
} sw_tiff_grid;

/* For each of the slide's levels the grid of the one page that has its size, where that page is tiled, JPEG, contiguous, 8-bit
 * RGB or YCbCr and lacks no tile; grid[i].offset NULL: there is none, or several. grid: [n_levels], overwritten; free it with
 * sw_tiff_grids_free, also on failure. SW_E_FORMAT where libtiff cannot read the file, SW_E_NOMEM. */
sw_status sw_tiff_grids_read(const char *path, const sw_slide_level *level, int n_levels, sw_tiff_grid *grid, sw_error *err)
    SW_MUST_CHECK;
/* What OpenSlide would say of a slide of Aperio or of a generic pyramid whose every level is such a grid: format, levels, and the
 * properties that the resolution follows from, not the others. facts->n_levels stays 0 where anything about the file is unusual:
 * then OpenSlide is to be asked. *grid: [facts->n_levels], owned by the caller with its contents, as of sw_tiff_grids_read. Only
 * SW_E_NOMEM is an error. */
sw_status sw_tiff_slide_facts(const char *path, sw_slide_facts *facts, sw_tiff_grid **grid, sw_error *err) SW_MUST_CHECK;
void sw_tiff_grids_free(sw_tiff_grid *grid, int n_levels); /* the contents, not the array */

#endif
