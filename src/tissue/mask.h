/* SPDX-License-Identifier: Apache-2.0 */
/* The steps from colour to a binary mask. Planes are [height, width], one byte a pixel. */
#ifndef SW_TISSUE_MASK_H
#define SW_TISSUE_MASK_H

#include <stdint.h>

#include "slidewise/error.h"

/* 8-bit HSV saturation of n RGB pixels. */
void sw_saturation(const uint8_t *rgb, int64_t n, uint8_t *out);
/* Median over side x side (odd, at most 255) with replicated border, in place. */
sw_status sw_median(uint8_t *plane, int64_t width, int64_t height, int side, sw_error *err) SW_MUST_CHECK;
/* sw_median and sw_threshold in one, many times as fast. */
sw_status sw_median_above(uint8_t *plane, int64_t width, int64_t height, int side, int threshold, sw_error *err) SW_MUST_CHECK;
/* Otsu's threshold: the value that parts the histogram with the largest variance between the two sides. */
int sw_otsu(const uint8_t *plane, int64_t n);
/* value > threshold: 255, else 0; in place. */
void sw_threshold(uint8_t *plane, int64_t n, int threshold);
/* Dilation then erosion by a box of ones, each with offsets -side/2 .. side-1-side/2, pixels outside neutral; an even
 * side moves the mask by one pixel to the right and down. In place. */
sw_status sw_close_mask(uint8_t *mask, int64_t width, int64_t height, int side, sw_error *err) SW_MUST_CHECK;

#endif
