/* SPDX-License-Identifier: Apache-2.0 */
/* Borders of a binary mask by border following. */
#ifndef SW_TISSUE_BORDER_H
#define SW_TISSUE_BORDER_H

#include <stddef.h>
#include <stdint.h>

#include "slidewise/error.h"

typedef struct sw_border {
    size_t first;     /* index of its first point */
    int64_t n_points;
    int32_t parent;   /* of a hole: index of the outer border around it; of an outer border: -1 */
    double area_px;   /* of the polygon through its pixels' centres */
} sw_border;

typedef struct sw_borders {
    sw_border *border; /* in the order of a scan from the top left */
    size_t count, capacity;
    int32_t *xy;       /* [n_points, 2] every border pixel, in mask pixels */
    size_t n_points, points_capacity;
} sw_borders;

/* Outer borders of the 8-connected regions of non-zero pixels and the borders of their holes (a hole's border runs on
 * the region's pixels around it), every pixel kept. Suzuki and Abe, "Topological structural analysis of digitized
 * binary images by border following", CVGIP 30, 1985, algorithm 1. *out is overwritten; free with sw_borders_free. */
sw_status sw_borders_find(const uint8_t *mask, int64_t width, int64_t height, sw_borders *out, sw_error *err) SW_MUST_CHECK;
void sw_borders_free(sw_borders *borders);
/* Of the polygon through n points. */
double sw_border_area(const int32_t *xy, int64_t n);

#endif
