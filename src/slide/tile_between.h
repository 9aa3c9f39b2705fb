/* SPDX-License-Identifier: Apache-2.0 */
/* Positions between pixels: what levels whose downsample is no whole number have nearly everywhere. */
#ifndef SW_SLIDE_TILE_BETWEEN_H
#define SW_SLIDE_TILE_BETWEEN_H

#include "slide/tile_reader.h"

/* OpenSlide reads wider and higher regions in parts, whose positions it rounds each by itself. */
#define SW_BETWEEN_MOST 4096

/* [height, width, 3] at the position (x, y) of the level, not negative, in its own pixels. Each pixel is the weighted sum of the four
 * around its position, which is rounded to 1/65536 of a pixel: what OpenSlide gives, to the bit with pixman 0.40 and newer
 * (older ones round weights to 1/128, and the sum down). false: ask OpenSlide. For several threads at once. */
bool sw_tile_reader_read_between(sw_tile_reader *reader, int level, double x, double y, int64_t width, int64_t height, uint8_t *rgb);

#endif
