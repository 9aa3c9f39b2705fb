/* SPDX-License-Identifier: Apache-2.0 */
#include "encoder/normalise.h"

void sw_normalise(float *scale, float *offset)
{
    static const double mean[3] = SW_NORMALISE_MEAN, sd[3] = SW_NORMALISE_SD;
    for (int c = 0; c < 3; c++) {
        scale[c] = (float)(1.0 / (255.0 * sd[c]));
        offset[c] = (float)(-mean[c] / sd[c]);
    }
}
