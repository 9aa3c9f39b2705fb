/* SPDX-License-Identifier: Apache-2.0 */
/* Patches that are no tissue worth learning from: measured by their pixels and left out where asked. */
#ifndef SLIDEWISE_ARTEFACT_H
#define SLIDEWISE_ARTEFACT_H

#include <stdbool.h>
#include <stdint.h>

#include "slidewise/error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Why a patch of the grid is not among those of its slide. Of several reasons the first in this order counts. */
typedef enum sw_left_out {
    SW_LEFT_NOT,        /* it is among them */
    SW_LEFT_UNREADABLE, /* the slide is damaged there */
    SW_LEFT_BLACK,
    SW_LEFT_WHITE,
    SW_LEFT_PEN,
    SW_LEFT_BLURRED,
    SW_LEFT_KINDS
} sw_left_out;
SW_API const char *sw_left_out_name(sw_left_out kind); /* "kept", "unreadable", "black", "white", "pen", "blurred" */

/* What can be seen on the pixels of a patch. */
typedef struct sw_artefacts {
    double black_fraction;     /* share of pixels whose red, green and blue are all below 50 (of 255) */
    double white_fraction;     /* share of pixels whose red, green and blue are all above 220 */
    double pen_fraction;       /* share of pixels in the colour of a marker; by hue (degrees), saturation and brightness (HSV):
                                  green 70 to 200, saturation 0.25 and more, brightness 40 and more;
                                  blue 200 to 240, saturation 0.5 and more, brightness 40 and more;
                                  red 350 to 20, saturation 0.75 and more, brightness 100 and more;
                                  black: brightness up to 70 of which the channels differ by at most 20 */
    double laplacian_variance; /* grey levels squared: variance of the Laplacian (4 neighbours, mirrored at the border without
                                  repeating it) of the luma 0.299 R + 0.587 G + 0.114 B, rounded; it falls with blur, and its
                                  level depends on the resolution */
} sw_artefacts;

/* Which patches are left out; by default none. */
typedef struct sw_artefact_options {
    double max_black_fraction;     /* 0 to 1: patches with more; 1 (default): none */
    double max_white_fraction;     /* 0 to 1: patches with more; 1 (default): none */
    double max_pen_fraction;       /* 0 to 1: patches with more; 1 (default): none */
    double min_laplacian_variance; /* grey levels squared: patches with less; 0 (default): none */
} sw_artefact_options;
SW_API sw_artefact_options sw_artefact_options_default(void);
/* Whether any patch could be left out. */
SW_API bool sw_artefact_options_any(const sw_artefact_options *options);
/* SW_E_INVALID for fractions outside of 0 to 1 and a variance below 0. */
SW_API sw_status sw_artefact_options_check(const sw_artefact_options *options, sw_error *err) SW_MUST_CHECK;

/* rgb: [height, width, 3], each side at least 1. */
SW_API void sw_artefacts_measure(const uint8_t *rgb, int64_t width, int64_t height, sw_artefacts *out);
/* What the options say of a patch: SW_LEFT_NOT, or the first reason. */
SW_API sw_left_out sw_artefacts_judge(const sw_artefacts *measured, const sw_artefact_options *options);

/* Both at once, with no more work than the options ask for. */
SW_API sw_left_out sw_artefacts_find(const uint8_t *rgb, int64_t width, int64_t height, const sw_artefact_options *options);

#ifdef __cplusplus
}
#endif

#endif
