/* SPDX-License-Identifier: Apache-2.0 */
/* JPEG through libjpeg-turbo's TurboJPEG interface. */
#include <string.h>
#include <turbojpeg.h>

#include "base/mem.h"
#include "base/versions.h"
#include "slidewise/image.h"

/* The library does not tell its version when it runs; this is the one we were built with. */
const char *sw_turbojpeg_version(void)
{
    return SW_TURBOJPEG_VERSION;
}

static void destroy_codec(tjhandle *handle)
{
    if (*handle) tjDestroy(*handle);
}

sw_status sw_jpeg_encode(const uint8_t *rgb, int64_t width, int64_t height, int quality, uint8_t **bytes, size_t *size,
                         sw_error *err)
{
    if (width < 1 || height < 1 || width > 65500 || height > 65500) {
        return sw_error_set(err, SW_E_INVALID, "a JPEG of %lld x %lld pixels is not possible: sides must be 1 to 65500",
                            (long long)width, (long long)height);
    }
    if (quality < 1 || quality > 100) {
        return sw_error_set(err, SW_E_INVALID, "JPEG quality %d is outside 1 to 100", quality);
    }
    SW_CLEANUP(destroy_codec) tjhandle codec = tjInitCompress();
    unsigned long used = tjBufSize((int)width, (int)height, TJSAMP_420);
    SW_AUTOFREE uint8_t *out = used == (unsigned long)-1 ? NULL : sw_malloc(used);
    if (!codec || !out) return sw_nomem(err);
    /* The accurate transform is what Pillow uses; TurboJPEG would take the fast one below quality 96. */
    unsigned char *target = out;
    if (tjCompress2(codec, rgb, (int)width, 0, (int)height, TJPF_RGB, &target, &used, TJSAMP_420, quality,
                    TJFLAG_NOREALLOC | TJFLAG_ACCURATEDCT) != 0) {
        return sw_error_set(err, SW_E_INTERNAL, "JPEG encoding failed: %s", tjGetErrorStr2(codec));
    }
    uint8_t *fit = sw_realloc(out, used);
    if (!fit) return sw_nomem(err);
    (void)SW_STEAL(out);
    *bytes = fit;
    *size = used;
    return SW_OK;
}

static sw_status read_header(tjhandle codec, const void *jpeg, size_t size, int64_t *width, int64_t *height,
                             sw_error *err)
{
    int w = 0, h = 0, sampling = 0, space = 0;
    if (tjDecompressHeader3(codec, jpeg, (unsigned long)size, &w, &h, &sampling, &space) != 0 &&
        tjGetErrorCode(codec) != TJERR_WARNING) {
        return sw_error_set(err, SW_E_FORMAT, "not a readable JPEG stream: %s", tjGetErrorStr2(codec));
    }
    if (w < 1 || h < 1) return sw_error_set(err, SW_E_FORMAT, "not a readable JPEG stream: no picture size in it");
    *width = w;
    *height = h;
    return SW_OK;
}

sw_status sw_jpeg_peek(const void *jpeg, size_t size, int64_t *width, int64_t *height, sw_error *err)
{
    SW_CLEANUP(destroy_codec) tjhandle codec = tjInitDecompress();
    if (!codec) return sw_nomem(err);
    return read_header(codec, jpeg, size, width, height, err);
}

static sw_status decode_pixels(tjhandle codec, const void *jpeg, size_t size, sw_pixel_order order, int64_t width,
                               int64_t height, uint8_t *pixels, sw_error *err)
{
    int format = order == SW_PIXEL_BGR ? TJPF_BGR : TJPF_RGB;
    if (tjDecompress2(codec, jpeg, (unsigned long)size, pixels, (int)width, 0, (int)height, format, 0) == 0) return SW_OK;
    const char *reason = tjGetErrorStr2(codec);
    /* Stray bytes between segments lose nothing; every other warning (a premature end above all) loses pixels. */
    if (tjGetErrorCode(codec) == TJERR_WARNING && strstr(reason, "extraneous bytes")) return SW_OK;
    return sw_error_set(err, SW_E_FORMAT, "damaged JPEG stream: %s", reason);
}

sw_status sw_jpeg_decode(const void *jpeg, size_t size, sw_pixel_order order, sw_image *out, sw_error *err)
{
    SW_CLEANUP(destroy_codec) tjhandle codec = tjInitDecompress();
    SW_CLEANUP(sw_image_free) sw_image image = {0};
    int64_t width = 0, height = 0;
    memset(out, 0, sizeof *out);
    if (!codec) return sw_nomem(err);
    SW_TRY(read_header(codec, jpeg, size, &width, &height, err));
    SW_TRY(sw_image_new(width, height, 255, &image, err));
    SW_TRY(decode_pixels(codec, jpeg, size, order, width, height, image.rgb, err));
    *out = image;
    memset(&image, 0, sizeof image);
    return SW_OK;
}

sw_status sw_jpeg_decode_into(const void *jpeg, size_t size, sw_pixel_order order, int64_t width, int64_t height,
                              uint8_t *pixels, sw_error *err)
{
    SW_CLEANUP(destroy_codec) tjhandle codec = tjInitDecompress();
    int64_t w = 0, h = 0;
    if (!codec) return sw_nomem(err);
    SW_TRY(read_header(codec, jpeg, size, &w, &h, err));
    if (w != width || h != height) {
        return sw_error_set(err, SW_E_FORMAT, "the JPEG stream holds %lld x %lld pixels where %lld x %lld are expected",
                            (long long)w, (long long)h, (long long)width, (long long)height);
    }
    return decode_pixels(codec, jpeg, size, order, width, height, pixels, err);
}
