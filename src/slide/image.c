/* SPDX-License-Identifier: Apache-2.0 */
/* Pictures: memory, files by kind. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "slide/image_codec.h"

#define FILE_QUALITY 90 /* of .jpg files that people look at */

sw_status sw_image_new(int64_t width, int64_t height, uint8_t value, sw_image *out, sw_error *err)
{
    memset(out, 0, sizeof *out);
    if (width < 1 || height < 1 || width > INT32_MAX || height > INT32_MAX) {
        return sw_error_set(err, SW_E_INVALID, "an image of %lld x %lld pixels is not possible", (long long)width,
                            (long long)height);
    }
    size_t bytes = 3 * (size_t)width * (size_t)height;
    uint8_t *rgb = sw_malloc(bytes);
    if (!rgb) return sw_nomem(err);
    memset(rgb, value, bytes);
    *out = (sw_image){width, height, rgb};
    return SW_OK;
}

void sw_image_free(sw_image *image)
{
    if (!image) return;
    sw_free(image->rgb);
    memset(image, 0, sizeof *image);
}

void sw_image_bytes_free(void *bytes)
{
    sw_free(bytes);
}

static void close_file(FILE **file)
{
    if (*file) fclose(*file);
}

sw_status sw_image_kind_of(const char *path, sw_image_kind *out, sw_error *err)
{
    uint8_t head[8] = {0};
    SW_CLEANUP(close_file) FILE *file = fopen(path, "rb");
    if (!file && errno == ENOENT) {
        return sw_error_set(err, SW_E_NOT_FOUND, "%s: no such file; check the path", path);
    }
    if (!file) return sw_error_set(err, sw_status_of_errno(errno), "%s: cannot be opened: %s", path, strerror(errno));
    size_t n = fread(head, 1, sizeof head, file);
    if (n == 0 && ferror(file)) return sw_error_set(err, SW_E_IO, "%s: cannot be read: %s", path, strerror(errno));
    *out = SW_IMAGE_UNKNOWN;
    if (n >= 3 && memcmp(head, "\xff\xd8\xff", 3) == 0) *out = SW_IMAGE_JPEG;
    if (n == 8 && memcmp(head, "\x89PNG\r\n\x1a\n", 8) == 0) *out = SW_IMAGE_PNG;
    bool little = memcmp(head, "II", 2) == 0 && (head[2] == 42 || head[2] == 43) && head[3] == 0;
    bool big = memcmp(head, "MM", 2) == 0 && head[2] == 0 && (head[3] == 42 || head[3] == 43);
    if (n == 8 && (little || big)) *out = SW_IMAGE_TIFF;
    return SW_OK;
}

static sw_status not_an_image(const char *path, sw_error *err)
{
    return sw_error_set(err, SW_E_FORMAT, "%s: not a JPEG, PNG or TIFF picture", path);
}

sw_status sw_image_read(const char *path, sw_image *out, sw_error *err)
{
    sw_image_kind kind = SW_IMAGE_UNKNOWN;
    SW_CLEANUP(sw_buf_free) sw_buf file = {0};
    memset(out, 0, sizeof *out);
    SW_TRY(sw_image_kind_of(path, &kind, err));
    if (kind == SW_IMAGE_UNKNOWN) return not_an_image(path, err);
    if (kind == SW_IMAGE_TIFF) return sw_tiff_read(path, out, err);
    SW_TRY(sw_file_read(path, &file, err));
    sw_status status = kind == SW_IMAGE_JPEG ? sw_jpeg_decode(file.data, file.size, SW_PIXEL_RGB, out, err)
                                             : sw_png_decode(file.data, file.size, out, err);
    return status == SW_OK ? SW_OK : sw_error_prefix(err, "%s", path);
}

sw_status sw_image_peek(const char *path, int64_t *width, int64_t *height, sw_error *err)
{
    sw_image_kind kind = SW_IMAGE_UNKNOWN;
    SW_CLEANUP(sw_buf_free) sw_buf file = {0};
    SW_TRY(sw_image_kind_of(path, &kind, err));
    if (kind == SW_IMAGE_UNKNOWN) return not_an_image(path, err);
    if (kind == SW_IMAGE_TIFF) {
        sw_tiff_facts facts;
        SW_TRY(sw_tiff_peek(path, &facts, err));
        *width = facts.width;
        *height = facts.height;
        return SW_OK;
    }
    SW_TRY(sw_file_read(path, &file, err));
    sw_status status = kind == SW_IMAGE_JPEG ? sw_jpeg_peek(file.data, file.size, width, height, err)
                                             : sw_png_peek(file.data, file.size, width, height, err);
    return status == SW_OK ? SW_OK : sw_error_prefix(err, "%s", path);
}

sw_status sw_image_write(const char *path, const sw_image *image, sw_error *err)
{
    SW_AUTOFREE uint8_t *bytes = NULL;
    size_t size = 0;
    sw_status status;
    if (sw_path_has_ext(path, "png")) {
        status = sw_png_encode(image->rgb, image->width, image->height, &bytes, &size, err);
    } else if (sw_path_has_ext(path, "jpg") || sw_path_has_ext(path, "jpeg")) {
        status = sw_jpeg_encode(image->rgb, image->width, image->height, FILE_QUALITY, &bytes, &size, err);
    } else {
        return sw_error_set(err, SW_E_UNSUPPORTED, "%s: pictures are written as .png, .jpg or .jpeg", path);
    }
    if (status != SW_OK) return sw_error_prefix(err, "%s", path);
    return sw_file_write(path, bytes, size, err);
}
