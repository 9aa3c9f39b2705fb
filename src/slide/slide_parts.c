/* SPDX-License-Identifier: Apache-2.0 */
/* What is left of a damaged slide: halved until the damage lies in small squares. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "slide/slide_handle.h"
#include "slide/slide_patches.h"

#define SQUARE_PX 256 /* as large as tiles often are */

/* A region of a level and its place in the picture that it belongs to. */
typedef struct part {
    sw_slide *slide;
    int level;
    int64_t level0_x, level0_y; /* of the picture */
    int64_t row_px;             /* of the picture */
    uint8_t *rgb;               /* of the picture */
    sw_slide_missing *missing;
} part;

static int64_t level0_at(const part *p, int64_t begin, int64_t offset)
{
    return begin + llround((double)offset * p->slide->info.level[p->level].downsample);
}

static void place(const part *p, int64_t x, int64_t y, int64_t width, int64_t height, const uint8_t *pixels)
{
    for (int64_t row = 0; row < height; row++) {
        uint8_t *to = p->rgb + 3 * ((y + row) * p->row_px + x);
        if (pixels) memcpy(to, pixels + 3 * row * width, 3 * (size_t)width);
        else memset(to, 255, 3 * (size_t)width);
    }
}

/* Half of a side, whole squares where there are several. */
static int64_t half_of(int64_t side)
{
    return side > 2 * SQUARE_PX ? side / 2 / SQUARE_PX * SQUARE_PX : side > SQUARE_PX ? SQUARE_PX : side;
}

static sw_status read_part(const part *p, int64_t x, int64_t y, int64_t width, int64_t height, sw_error *err)
{
    SW_AUTOFREE uint8_t *pixels = sw_malloc(3 * (size_t)width * (size_t)height);
    sw_error why = {0};
    if (!pixels) return sw_nomem(err);
    sw_status status = sw_slide_read(p->slide, p->level, level0_at(p, p->level0_x, x), level0_at(p, p->level0_y, y), width, height,
                                     pixels, &why);
    if (status == SW_OK) place(p, x, y, width, height, pixels);
    if (status == SW_OK) return SW_OK;
    if (status != SW_E_FORMAT) return sw_error_set(err, status, "%s", why.message);
    sw_free(SW_STEAL(pixels));
    if (width <= SQUARE_PX && height <= SQUARE_PX) {
        if (p->missing->n_missing == 0) p->missing->first = why;
        p->missing->n_missing += width * height;
        place(p, x, y, width, height, NULL);
        return SW_OK;
    }
    bool across = width >= height;
    int64_t half = half_of(across ? width : height);
    SW_TRY(read_part(p, x, y, across ? half : width, across ? height : half, err));
    return across ? read_part(p, x + half, y, width - half, height, err) : read_part(p, x, y + half, width, height - half, err);
}

sw_status sw_slide_read_parts(sw_slide *slide, int level, int64_t level0_x, int64_t level0_y, int64_t width, int64_t height,
                              uint8_t *rgb, sw_slide_missing *missing, sw_error *err)
{
    sw_error why = {0};
    missing->n_asked += width * height;
    sw_status status = sw_slide_read(slide, level, level0_x, level0_y, width, height, rgb, &why);
    if (status == SW_OK) return SW_OK;
    if (status != SW_E_FORMAT) return sw_error_set(err, status, "%s", why.message);
    const part p = {slide, level, level0_x, level0_y, width, rgb, missing};
    return read_part(&p, 0, 0, width, height, err);
}
