/* SPDX-License-Identifier: Apache-2.0 */
/* The patches of a grid on a small picture of their slide. */
#include <math.h>
#include <string.h>

#include "slidewise/grid.h"

/* First pixel whose centre is not before a position; `scale`: level-0 pixels per pixel. */
static int64_t pixel_from(double level0, double scale, int64_t side)
{
    double pixel = ceil(level0 / scale - 0.5);
    return pixel < 0 ? 0 : pixel > (double)side ? side : (int64_t)pixel;
}

sw_status sw_grid_stitch(const sw_grid *grid, int64_t width, int64_t height, const sw_image *thumbnail, sw_image *out, sw_error *err)
{
    double scale_x = (double)width / (double)thumbnail->width, scale_y = (double)height / (double)thumbnail->height;
    *out = (sw_image){0};
    SW_TRY(sw_image_new(thumbnail->width, thumbnail->height, 255, out, err));
    for (int64_t i = 0; i < grid->n_patches; i++) {
        double left = (double)grid->xy[2 * i], top = (double)grid->xy[2 * i + 1], side = ceil(grid->patch_level0_px - 1e-9); /* whole pixels: no seams */
        int64_t x0 = pixel_from(left, scale_x, out->width), x1 = pixel_from(left + side, scale_x, out->width);
        int64_t y0 = pixel_from(top, scale_y, out->height), y1 = pixel_from(top + side, scale_y, out->height);
        for (int64_t y = y0; y < y1 && x0 < x1; y++) {
            size_t at = 3 * (size_t)(y * out->width + x0);
            memcpy(out->rgb + at, thumbnail->rgb + at, 3 * (size_t)(x1 - x0));
        }
    }
    return SW_OK;
}
