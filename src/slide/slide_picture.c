/* SPDX-License-Identifier: Apache-2.0 */
/* Plain JPEG, PNG and TIFF pictures as slides of one level, held in memory. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "slide/image_codec.h"
#include "slide/slide_internal.h"

#define MAX_PIXELS 500000000 /* 1.5 GB */

static void close_picture(void *ctx)
{
    sw_image *image = ctx;
    sw_image_free(image);
    sw_free(image);
}

static sw_status tiff_facts(const char *path, sw_slide_facts *facts, sw_error *err)
{
    sw_tiff_facts tiff;
    char text[32];
    const char *name[2] = {"tiff.XResolution", "tiff.YResolution"};
    if (sw_tiff_peek(path, &tiff, err) != SW_OK) return err->code;
    if (tiff.n_channel_pages > 1) {
        return sw_error_set(err, SW_E_UNSUPPORTED,
                            "%s: a TIFF of %d one-channel pages (a fluorescence slide?), and only RGB slides can be "
                            "read; export it as one RGB image",
                            path, tiff.n_channel_pages);
    }
    double mpp_um[2] = {tiff.mpp_um_x, tiff.mpp_um_y};
    for (int i = 0; i < 2; i++) {
        if (!(mpp_um[i] > 0)) continue;
        snprintf(text, sizeof text, "%.17g", 10000 / mpp_um[i]);
        SW_TRY(sw_slide_facts_add(facts, name[i], text, err));
    }
    if (mpp_um[0] > 0 || mpp_um[1] > 0) SW_TRY(sw_slide_facts_add(facts, "tiff.ResolutionUnit", "centimeter", err));
    return SW_OK;
}

static sw_status open_picture(const char *path, const sw_slide_options *options, sw_slide_facts *facts, void **out, sw_error *err)
{
    (void)options; /* about other formats */
    static const char *const names[] = {"", "jpeg", "png", "tiff"};
    sw_image_kind kind = SW_IMAGE_UNKNOWN;
    int64_t width = 0, height = 0;
    SW_CLEANUP(sw_image_free) sw_image image = {0};
    *out = NULL;
    SW_TRY(sw_image_kind_of(path, &kind, err));
    if (kind == SW_IMAGE_UNKNOWN) return SW_OK;
    if (kind == SW_IMAGE_TIFF) SW_TRY(tiff_facts(path, facts, err));
    SW_TRY(sw_image_peek(path, &width, &height, err));
    if (width > MAX_PIXELS / height) {
        return sw_error_set(err, SW_E_UNSUPPORTED,
                            "%s: a plain picture of %lld x %lld pixels is too large to be held in memory; convert it to "
                            "a pyramidal tiled TIFF",
                            path, (long long)width, (long long)height);
    }
    SW_TRY(sw_image_read(path, &image, err));
    facts->level = sw_calloc(1, sizeof *facts->level);
    sw_image *owned = sw_calloc(1, sizeof *owned);
    if (!facts->level || !owned) {
        sw_free(owned);
        return sw_nomem(err);
    }
    snprintf(facts->format, sizeof facts->format, "%s", names[kind]);
    facts->n_levels = 1;
    facts->level[0] = (sw_slide_level){.width = image.width, .height = image.height, .downsample = 1};
    *owned = image;
    memset(&image, 0, sizeof image);
    *out = owned;
    return SW_OK;
}

static sw_status read_picture(void *ctx, int level, int64_t x, int64_t y, int64_t width, int64_t height, uint8_t *rgb,
                              sw_error *err)
{
    const sw_image *image = ctx;
    (void)level;
    (void)err;
    memset(rgb, 255, 3 * (size_t)width * (size_t)height);
    int64_t from = x < 0 ? 0 : x, to = x + width < image->width ? x + width : image->width;
    if (from >= to) return SW_OK;
    for (int64_t row = 0; row < height; row++) {
        if (y + row < 0 || y + row >= image->height) continue;
        memcpy(rgb + 3 * (row * width + from - x), image->rgb + 3 * ((y + row) * image->width + from),
               3 * (size_t)(to - from));
    }
    return SW_OK;
}

const sw_slide_ops sw_slide_picture = {"picture", open_picture, read_picture, NULL, close_picture};
