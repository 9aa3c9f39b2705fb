/* SPDX-License-Identifier: Apache-2.0 */
/* Decoding only the part of a JPEG that is looked at, many times over with one decoder. The pixels are those of
 * sw_jpeg_decode, bit for bit, unless they are asked for smaller. */
#ifndef SW_SLIDE_JPEG_READER_H
#define SW_SLIDE_JPEG_READER_H

#include "slidewise/image.h"

/* A decoder and the memory of its pixels; for one thread at a time. */
typedef struct sw_jpeg_reader sw_jpeg_reader;
sw_status sw_jpeg_reader_new(sw_jpeg_reader **out, sw_error *err) SW_MUST_CHECK;
void sw_jpeg_reader_free(sw_jpeg_reader *reader); /* NULL is fine */

typedef struct sw_jpeg_want {
    int64_t width, height;  /* of the stream: another size is SW_E_FORMAT */
    int64_t x0, y0, x1, y1; /* the pixels that are looked at, ends exclusive, inside the stream */
    int reduce;             /* 1: exact. 2 or 4: half or a quarter as wide and high, made from the low frequencies */
} sw_jpeg_want;

/* What was decoded: the box that was asked for, mostly with a margin. */
typedef struct sw_jpeg_part {
    const uint8_t *pixels; /* [height, width, 3] RGB; borrowed until the next call */
    int64_t x, y;          /* where pixels[0] lies, in (reduced) pixels of the stream */
    int64_t width, height; /* of the part */
} sw_jpeg_part;

/* RGB pixels of at least the box. Messages as sw_jpeg_decode_into's. A stream that is cut short is always found; damage
 * behind the last row that is needed is not looked for. */
sw_status sw_jpeg_reader_read(sw_jpeg_reader *reader, const void *jpeg, size_t size, const sw_jpeg_want *want,
                              sw_jpeg_part *out, sw_error *err) SW_MUST_CHECK;

/* A tile of a TIFF: its stream leaves to the page what all tiles share. */
typedef struct sw_jpeg_tile {
    const void *tables; /* NULL: the stream is whole */
    size_t tables_bytes;
    const void *jpeg;
    size_t bytes;
    bool is_rgb;           /* the colours of the stream, whatever it says itself; else YCbCr */
    int64_t width, height; /* of the stream: another size is SW_E_FORMAT */
} sw_jpeg_tile;

/* The pixels [x0, x1) x [y0, y1) of the tile, inside it, into `rgb`, whose rows are row_px pixels apart. All of the stream
 * is read, so that damage is found wherever it lies. */
sw_status sw_jpeg_reader_tile(sw_jpeg_reader *reader, const sw_jpeg_tile *tile, int64_t x0, int64_t y0, int64_t x1, int64_t y1,
                              uint8_t *rgb, int64_t row_px, sw_error *err) SW_MUST_CHECK;

#endif
