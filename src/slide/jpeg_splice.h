/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SW_SLIDE_JPEG_SPLICE_H
#define SW_SLIDE_JPEG_SPLICE_H

#include "slide/jpeg_reader.h"

/* The JPEG file that a tile of a TIFF is, with the same pixels in every decoder: the page's tables go in front, and in place of
 * what the tile says of its colours (APP0, APP14) goes Adobe's marker with what the page says. The picture's data is copied as
 * it is. NULL: it is not a JPEG stream of three colours of this size from beginning to end, or memory is short. Owned by the
 * caller (sw_image_bytes_free). Source: ITU T.81 annex B, Adobe technical note 5116. */
uint8_t *sw_jpeg_splice(const sw_jpeg_tile *tile, size_t *size);

#endif
