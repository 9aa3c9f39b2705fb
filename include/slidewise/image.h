/* SPDX-License-Identifier: Apache-2.0 */
/* Pictures in host memory: files, JPEG and PNG in memory, antialiased resizing. */
#ifndef SLIDEWISE_IMAGE_H
#define SLIDEWISE_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "slidewise/error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* 8-bit RGB, row-major, no padding between rows: pixel (x, y) is rgb + 3 * (y * width + x). */
typedef struct sw_image {
    int64_t width, height;
    uint8_t *rgb; /* owned, [height, width, 3]; NULL while empty */
} sw_image;

/* An image filled with `value` in every channel. *out is overwritten (not freed); empty on failure.
 * SW_E_INVALID for sides outside 1..2^31-1. */
SW_API sw_status sw_image_new(int64_t width, int64_t height, uint8_t value, sw_image *out, sw_error *err) SW_MUST_CHECK;
SW_API void sw_image_free(sw_image *image); /* clears it; NULL and empty are fine; fit for SW_CLEANUP */

/* Reads a JPEG, PNG or TIFF file (told by its first bytes, not by its name). Grey becomes RGB, 16 bits become 8,
 * transparency is laid over white; of a TIFF the first directory is read. *out is overwritten; empty on failure. */
SW_API sw_status sw_image_read(const char *path, sw_image *out, sw_error *err) SW_MUST_CHECK;
/* Width and height without decoding the pixels; same files and errors as sw_image_read. */
SW_API sw_status sw_image_peek(const char *path, int64_t *width, int64_t *height, sw_error *err) SW_MUST_CHECK;
/* Writes .png or .jpg/.jpeg (quality 90) by the name's extension, atomically (a temporary file, then a rename). */
SW_API sw_status sw_image_write(const char *path, const sw_image *image, sw_error *err) SW_MUST_CHECK;

typedef enum sw_pixel_order { SW_PIXEL_RGB, SW_PIXEL_BGR } sw_pixel_order;

/* Baseline JPEG with 4:2:0 chroma, `quality` 1..100 (libjpeg's scale; the reference uses 80). rgb: [height, width, 3].
 * *bytes is owned by the caller, free with sw_image_bytes_free; both outputs untouched on failure. */
SW_API sw_status sw_jpeg_encode(const uint8_t *rgb, int64_t width, int64_t height, int quality, uint8_t **bytes,
                                size_t *size, sw_error *err) SW_MUST_CHECK;
/* Decodes into a fresh image; with SW_PIXEL_BGR the three bytes of a pixel are blue, green, red. */
SW_API sw_status sw_jpeg_decode(const void *jpeg, size_t size, sw_pixel_order order, sw_image *out, sw_error *err)
    SW_MUST_CHECK;
/* Decodes into the caller's buffer, which must hold exactly [height, width, 3] (SW_E_FORMAT names both sizes if the
 * stream's differ). */
SW_API sw_status sw_jpeg_decode_into(const void *jpeg, size_t size, sw_pixel_order order, int64_t width, int64_t height,
                                     uint8_t *pixels, sw_error *err) SW_MUST_CHECK;
/* Width and height from the header. */
SW_API sw_status sw_jpeg_peek(const void *jpeg, size_t size, int64_t *width, int64_t *height, sw_error *err)
    SW_MUST_CHECK;
/* PNG in memory, same ownership as sw_jpeg_encode. */
SW_API sw_status sw_png_encode(const uint8_t *rgb, int64_t width, int64_t height, uint8_t **bytes, size_t *size,
                               sw_error *err) SW_MUST_CHECK;
SW_API void sw_image_bytes_free(void *bytes); /* NULL is fine */

/* Resizing: separable bilinear with antialias, half-pixel centres (what PIL's BILINEAR and torchvision's
 * antialias=True compute): per axis scale s = in / out, support max(1, s), weight max(0, 1 - |d| / max(1, s)),
 * normalised over the taps inside the source. Accumulated in float; u8 results are rounded to nearest once, at the end. */
SW_API sw_status sw_image_resize(const sw_image *source, int64_t width, int64_t height, sw_image *out, sw_error *err)
    SW_MUST_CHECK;

typedef struct sw_crop {
    double x, y, width, height; /* box in source pixels; corner-based: the whole image is {0, 0, w, h}. Taps outside
                                   the box's pixel rows and columns (floor .. ceil) are not used. */
    bool flip_x, flip_y;        /* mirror the RESULT left-right, top-bottom */
} sw_crop;

/* Crop and resize to float planes, normalised in the same pass: planes[c][y][x] = value * scale[c] + offset[c], value in
 * 0..255 not rounded. `pixels` is [source_height, source_width, 3]; channel c of the output is byte c of a pixel.
 * `scale`, `offset`: [3], NULL for 1 and 0. planes: [3, height, width], caller's. A crop outside the source is
 * SW_E_INVALID. */
SW_API sw_status sw_resize_crop(const uint8_t *pixels, int64_t source_width, int64_t source_height, const sw_crop *crop,
                                int64_t width, int64_t height, const float *scale, const float *offset, float *planes,
                                sw_error *err) SW_MUST_CHECK;
/* The same to bytes, rounded to nearest: out [height, width, 3], caller's. */
SW_API sw_status sw_resize_crop_u8(const uint8_t *pixels, int64_t source_width, int64_t source_height,
                                   const sw_crop *crop, int64_t width, int64_t height, uint8_t *out, sw_error *err)
    SW_MUST_CHECK;

#ifdef __cplusplus
}
#endif

#endif
