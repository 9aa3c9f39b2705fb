/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the JPEG tiles of Aperio and generic TIFF slides without OpenSlide, which paints every tile through a general
 * compositor and spends more time there than on decoding. The pixels are OpenSlide's, bit for bit; wherever that is not
 * certain, or anything fails, the caller asks OpenSlide, which is also who says what is wrong with a slide. */
#ifndef SW_SLIDE_TILE_READER_H
#define SW_SLIDE_TILE_READER_H

#include "slide/tiff_grid.h"
#include "slidewise/slide.h"

typedef struct sw_tile_reader sw_tile_reader;

/* *out NULL with SW_OK: nothing of this file can be read so. Only SW_E_NOMEM is an error. */
sw_status sw_tile_reader_open(const char *path, const sw_slide_level *level, int n_levels, sw_tile_reader **out, sw_error *err)
    SW_MUST_CHECK;
/* The same with grids [n_levels] that were read before; they are taken on success, and stay the caller's where *out is NULL. */
sw_status sw_tile_reader_of_grids(const char *path, sw_tiff_grid *grid, int n_levels, sw_tile_reader **out, sw_error *err)
    SW_MUST_CHECK;
void sw_tile_reader_close(sw_tile_reader *reader); /* NULL is fine */

/* Where the level's tiles lie; NULL: it cannot be read so. Borrowed. */
const sw_tiff_grid *sw_tile_reader_grid(const sw_tile_reader *reader, int level);

/* [height, width, 3] at (x, y) of the level, in its own pixels; white outside. false: ask OpenSlide; rgb may be half written.
 * For several threads at once. */
bool sw_tile_reader_read(sw_tile_reader *reader, int level, int64_t x, int64_t y, int64_t width, int64_t height, uint8_t *rgb);

/* The stream of the one tile that is exactly the square of `side` pixels at (x, y) of the level, made whole: with the tables, and
 * with a marker that tells every decoder its colours. NULL: there is no such tile, or it is not sound. Owned by the caller
 * (sw_image_bytes_free). For several threads at once. */
uint8_t *sw_tile_reader_jpeg(sw_tile_reader *reader, int level, int64_t x, int64_t y, int64_t side, size_t *size);

#endif
