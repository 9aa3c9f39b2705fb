/* SPDX-License-Identifier: Apache-2.0 */
/* What encoders expect of pixels: (value / 255 - mean) / sd with ImageNet's constants, or value / 255 alone. */
#ifndef SW_ENCODER_NORMALISE_H
#define SW_ENCODER_NORMALISE_H

#include "config/config.h"

#define SW_NORMALISE_MEAN {0.485, 0.456, 0.406}
#define SW_NORMALISE_SD {0.229, 0.224, 0.225}

/* scale and offset [3] so that value (0..255) * scale[c] + offset[c] is the normalised one. Constant c belongs to plane c
 * whatever colour it holds: with bgr_as_reference the blue plane comes first and gets red's constants, as the reference
 * implementation does. With SW_PIXELS_UNIT scale is 1 / 255 and offset 0. */
void sw_normalise(sw_pixel_norm norm, float *scale, float *offset);

#endif
