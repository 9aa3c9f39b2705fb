/* SPDX-License-Identifier: Apache-2.0 */
/* The picture codecs behind sw_image_read; one file each, each the only one that names its library. */
#ifndef SW_SLIDE_IMAGE_CODEC_H
#define SW_SLIDE_IMAGE_CODEC_H

#include "slidewise/image.h"

typedef enum sw_image_kind { SW_IMAGE_UNKNOWN, SW_IMAGE_JPEG, SW_IMAGE_PNG, SW_IMAGE_TIFF } sw_image_kind;

/* By the file's first bytes. A file that cannot be opened is an error. */
sw_status sw_image_kind_of(const char *path, sw_image_kind *out, sw_error *err) SW_MUST_CHECK;

/* Messages of the memory decoders start in the middle of a sentence: prefix them with the file's name. */
sw_status sw_png_decode(const void *png, size_t size, sw_image *out, sw_error *err) SW_MUST_CHECK;
sw_status sw_png_peek(const void *png, size_t size, int64_t *width, int64_t *height, sw_error *err) SW_MUST_CHECK;
sw_status sw_tiff_read(const char *path, sw_image *out, sw_error *err) SW_MUST_CHECK;

/* What the first directory of a TIFF says about itself. */
typedef struct sw_tiff_facts {
    int64_t width, height;
    double mpp_um_x, mpp_um_y; /* from the resolution tags; 0: none */
    int n_channel_pages;       /* pages of one channel that have the first one's size: > 1 is fluorescence */
} sw_tiff_facts;
sw_status sw_tiff_peek(const char *path, sw_tiff_facts *out, sw_error *err) SW_MUST_CHECK;

#endif
