/* SPDX-License-Identifier: Apache-2.0 */
/* The made-up picture of tests/golden/make_tissue.py: discs, rings, an island in a hole, lines, specks. */
#ifndef SW_TEST_TISSUE_PICTURE_H
#define SW_TEST_TISSUE_PICTURE_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "slidewise/image.h"

enum { PICTURE_W = 120, PICTURE_H = 96 };

static inline int in_disc(int x, int y, int cx, int cy, int r)
{
    return (x - cx) * (x - cx) + (y - cy) * (y - cy) <= r * r;
}

static inline int is_tissue(int x, int y)
{
    int on = in_disc(x, y, 35, 40, 28);
    if (in_disc(x, y, 28, 36, 9) || in_disc(x, y, 45, 48, 7)) on = 0;
    if (in_disc(x, y, 28, 36, 4) || in_disc(x, y, 90, 30, 15) || in_disc(x, y, 92, 78, 20)) on = 1;
    if (in_disc(x, y, 92, 78, 12)) on = 0;
    if (y >= 70 && y < 72 && x >= 2 && x < 60) on = 1;
    if (y == 90 && x >= 5 && x < 40) on = 1;
    if (y < 6 && x >= 100) on = 1;
    return on;
}

static inline sw_status tissue_picture(sw_image *out, sw_error *err)
{
    static const uint8_t speck[3] = {180, 40, 120};
    SW_TRY(sw_image_new(PICTURE_W, PICTURE_H, 255, out, err));
    for (int y = 0; y < PICTURE_H; y++) {
        for (int x = 0; x < PICTURE_W; x++) {
            int v = (x * 7 + y * 13) % 23;
            const int tissue[3] = {200 - v, 110 + v, 160 + v}, glass[3] = {240 - v % 3, 241 - v % 2, 242 - v % 4};
            uint8_t *p = out->rgb + 3 * (y * PICTURE_W + x);
            for (int c = 0; c < 3; c++) p[c] = (uint8_t)(is_tissue(x, y) ? tissue[c] : glass[c]);
            if ((x * 31 + y * 17) % 97 == 0) memcpy(p, speck, 3);
        }
    }
    return SW_OK;
}

#endif
