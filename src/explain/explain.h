/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of src/explain share. */
#ifndef SW_EXPLAIN_EXPLAIN_H
#define SW_EXPLAIN_EXPLAIN_H

#include <stddef.h>
#include <stdint.h>

#include "slidewise/explain.h"

/* Refuses maps whose numbers make no sense, with a sentence that names the slide. */
sw_status sw_attention_map_check(const sw_attention_map *map, int head, sw_error *err) SW_MUST_CHECK;

/* One slide's attention made ready for every output. Arrays are owned. */
typedef struct sw_heat {
    int64_t n;
    double *attention; /* [n] sums to 1 */
    double *heat;      /* [n] in [0, 1], as the options scale it */
    double *percentile; /* [n] in [0, 1] */
    int64_t *order;    /* [n] patch indices, most attended first (lower index first on ties) */
    int64_t *rank;     /* [n] 1: most attended; inverse of `order` */
} sw_heat;
sw_status sw_heat_make(const sw_attention_map *map, int head, sw_heat_scale scale, sw_heat *out, sw_error *err)
    SW_MUST_CHECK;
void sw_heat_free(sw_heat *heat);

/* Mean heat of the patches over each pixel of a picture whose pixel (0,0) starts at level-0 (x0, y0) and whose
 * pixels are `step` level-0 pixels wide: out [height, width]; NaN where there is no patch. */
sw_status sw_heat_raster(const sw_attention_map *map, const double *heat, double x0, double y0, double step,
                         int64_t width, int64_t height, float *out, sw_error *err) SW_MUST_CHECK;

/* rgb [height * width, 3] = (1 - alpha) rgb + alpha colour(heat), where heat is not NaN. */
void sw_heat_blend(const float *heat, int64_t pixels, double alpha, uint8_t *rgb);

/* Outlines of the foci, for drawing: calls back once per ring with its points [n, 2]. */
typedef void (*sw_ring_fn)(void *ctx, const double *xy, size_t n);
void sw_foci_rings(const sw_foci *foci, sw_ring_fn fn, void *ctx);

/* DIR/NAME with a suffix, where NAME is made safe for a file name. NULL: no memory. Owned. */
char *sw_explain_path(const char *dir, const char *slide_id, const char *suffix);

#endif
