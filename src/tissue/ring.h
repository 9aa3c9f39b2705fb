/* SPDX-License-Identifier: Apache-2.0 */
/* Fast point-in-ring: the edges sorted into horizontal bands. Answers are those of sw_ring_side. */
#ifndef SW_TISSUE_RING_H
#define SW_TISSUE_RING_H

#include "slidewise/tissue.h"

typedef struct sw_ring_index {
    const sw_ring *ring; /* borrowed */
    int32_t min_x, min_y, max_x, max_y;
    double band_height;
    int64_t n_bands;
    int64_t *first; /* [n_bands + 1] into edge */
    int64_t *edge;  /* edge i joins points i and i + 1 */
} sw_ring_index;

sw_status sw_ring_index_make(const sw_ring *ring, sw_ring_index *out, sw_error *err) SW_MUST_CHECK;
void sw_ring_index_free(sw_ring_index *index);
int sw_ring_index_side(const sw_ring_index *index, double x, double y);

/* Fills the ring into a mask with `value`: its inside and, with `edge`, its own pixels (else they stay out). `xy` are
 * mask pixels, neighbours at most one apart, all inside the mask. */
sw_status sw_ring_fill(const int32_t *xy, int64_t n_points, bool edge, uint8_t value, uint8_t *mask, int64_t width,
                       sw_error *err) SW_MUST_CHECK;

#endif
