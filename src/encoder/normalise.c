/* SPDX-License-Identifier: Apache-2.0 */
#include "encoder/normalise.h"

void sw_normalise(sw_pixel_norm norm, float *scale, float *offset)
{
    static const double mean[3] = SW_NORMALISE_MEAN, sd[3] = SW_NORMALISE_SD;
    for (int c = 0; c < 3; c++) {
        bool unit = norm == SW_PIXELS_UNIT;
        scale[c] = (float)(1.0 / (255.0 * (unit ? 1.0 : sd[c])));
        offset[c] = unit ? 0.0f : (float)(-mean[c] / sd[c]);
    }
}
