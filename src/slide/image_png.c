/* SPDX-License-Identifier: Apache-2.0 */
/* PNG through libpng's simplified interface. */
#include <png.h>
#include <string.h>

#include "base/mem.h"
#include "base/versions.h"
#include "slide/image_codec.h"

const char *sw_libpng_version(void)
{
    return png_get_libpng_ver(NULL);
}

static void release(png_image *png)
{
    png_image_free(png);
}

sw_status sw_png_encode(const uint8_t *rgb, int64_t width, int64_t height, uint8_t **bytes, size_t *size, sw_error *err)
{
    if (width < 1 || height < 1 || width > 0x7fffffff / 3 || height > 0x7fffffff) {
        return sw_error_set(err, SW_E_INVALID, "a PNG of %lld x %lld pixels is not possible", (long long)width,
                            (long long)height);
    }
    SW_CLEANUP(release) png_image png = {.version = PNG_IMAGE_VERSION,
                                         .width = (png_uint_32)width,
                                         .height = (png_uint_32)height,
                                         .format = PNG_FORMAT_RGB};
    png_alloc_size_t used = PNG_IMAGE_PNG_SIZE_MAX(png);
    SW_AUTOFREE uint8_t *out = sw_malloc(used);
    if (!out) return sw_nomem(err);
    if (!png_image_write_to_memory(&png, out, &used, 0, rgb, 0, NULL)) {
        return sw_error_set(err, SW_E_INTERNAL, "PNG encoding failed: %s", png.message);
    }
    uint8_t *fit = sw_realloc(out, used);
    if (!fit) return sw_nomem(err);
    (void)SW_STEAL(out);
    *bytes = fit;
    *size = used;
    return SW_OK;
}

sw_status sw_png_peek(const void *bytes, size_t size, int64_t *width, int64_t *height, sw_error *err)
{
    SW_CLEANUP(release) png_image png = {.version = PNG_IMAGE_VERSION};
    if (!png_image_begin_read_from_memory(&png, bytes, size)) {
        return sw_error_set(err, SW_E_FORMAT, "not a readable PNG file: %s", png.message);
    }
    *width = png.width;
    *height = png.height;
    return SW_OK;
}

static void lay_over_white(const uint8_t *rgba, int64_t n_pixels, uint8_t *rgb)
{
    for (int64_t i = 0; i < n_pixels; i++) {
        unsigned alpha = rgba[4 * i + 3];
        for (int c = 0; c < 3; c++) {
            rgb[3 * i + c] = (uint8_t)((rgba[4 * i + c] * alpha + 255 * (255 - alpha) + 127) / 255);
        }
    }
}

sw_status sw_png_decode(const void *bytes, size_t size, sw_image *out, sw_error *err)
{
    SW_CLEANUP(release) png_image png = {.version = PNG_IMAGE_VERSION};
    SW_CLEANUP(sw_image_free) sw_image image = {0};
    memset(out, 0, sizeof *out);
    if (!png_image_begin_read_from_memory(&png, bytes, size)) {
        return sw_error_set(err, SW_E_FORMAT, "not a readable PNG file: %s", png.message);
    }
    bool transparent = (png.format & PNG_FORMAT_FLAG_ALPHA) != 0;
    png.flags |= PNG_IMAGE_FLAG_16BIT_sRGB; /* 16-bit values are scaled, not taken for linear light */
    png.format = transparent ? PNG_FORMAT_RGBA : PNG_FORMAT_RGB;
    SW_TRY(sw_image_new(png.width, png.height, 255, &image, err));
    SW_AUTOFREE uint8_t *rgba = transparent ? sw_malloc(4 * (size_t)png.width * png.height) : NULL;
    if (transparent && !rgba) return sw_nomem(err);
    if (!png_image_finish_read(&png, NULL, transparent ? rgba : image.rgb, 0, NULL)) {
        return sw_error_set(err, SW_E_FORMAT, "damaged PNG file: %s", png.message);
    }
    if (transparent) lay_over_white(rgba, image.width * image.height, image.rgb);
    *out = image;
    memset(&image, 0, sizeof image);
    return SW_OK;
}
