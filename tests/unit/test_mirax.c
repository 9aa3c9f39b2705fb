/* SPDX-License-Identifier: Apache-2.0 */
/* MIRAX slides, of which only parts are scanned: holes and surroundings are white and no tissue, positions are level-0 pixels. */
#include <stdlib.h>

#include "slidewise/tile.h"
#include "test.h"
#include "unit/mirax_slide.h"

static sw_error err;

static const char *slide_path(void)
{
    static char path[700];
    if (path[0]) return path;
    if (mirax_write(sw_test_dir(), "holes", &err) != SW_OK) return NULL;
    snprintf(path, sizeof path, "%s/holes.mrxs", sw_test_dir());
    return path;
}

/* Ends exclusive. */
static void bounds_of(int *x0, int *y0, int *x1, int *y1)
{
    *x0 = *y0 = 1 << 20;
    *x1 = *y1 = 0;
    for (int i = 0; i < MIRAX_ACROSS * MIRAX_DOWN; i++) {
        int x, y;
        if (!mirax_has(i % MIRAX_ACROSS, i / MIRAX_ACROSS)) continue;
        mirax_corner(i % MIRAX_ACROSS, i / MIRAX_ACROSS, &x, &y);
        if (x < *x0) *x0 = x;
        if (y < *y0) *y0 = y;
        if (x + MIRAX_PHOTO > *x1) *x1 = x + MIRAX_PHOTO;
        if (y + MIRAX_PHOTO > *y1) *y1 = y + MIRAX_PHOTO;
    }
}

TEST(a_mirax_slide_is_described)
{
    SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
    CHECK(slide_path());
    CHECK_OK(sw_slide_open(slide_path(), NULL, &slide, &err));
    const sw_slide_info *info = sw_slide_get_info(slide);
    CHECK_STR(info->slide_id, "holes");
    CHECK_STR(info->format, "mirax");
    CHECK(info->width == MIRAX_WIDTH && info->height == MIRAX_HEIGHT && info->n_levels == MIRAX_LEVELS);
    for (int i = 0; i < MIRAX_LEVELS; i++) CHECK(info->level[i].downsample == 1 << i && info->level[i].width == MIRAX_WIDTH >> i);
    CHECK(info->mpp_um == 0.25 && info->mpp_source == SW_MPP_SCANNER && info->objective_power == 40);
    int x0, y0, x1, y1;
    bounds_of(&x0, &y0, &x1, &y1);
    static const char *const name[] = {"openslide.bounds-x", "openslide.bounds-y", "openslide.bounds-width", "openslide.bounds-height"};
    const int want[] = {x0, y0, x1 - x0, y1 - y0};
    for (int i = 0; i < 4; i++) {
        char text[20];
        snprintf(text, sizeof text, "%d", want[i]);
        CHECK_STR(sw_slide_property(slide, name[i]), text);
    }
}

/* Whether every pixel of the square of `side` pixels around a point is scanned, or none is. */
static bool all_scanned(int64_t x, int64_t y, int side, bool scanned)
{
    for (int64_t i = 0; i < (int64_t)side * side; i++)
        if (mirax_scanned(x - side / 2 + i % side, y - side / 2 + i / side) != scanned) return false;
    return true;
}

/* Each level: what is not scanned is white, what is scanned is where it lies on the glass. A seam may blur. */
TEST(holes_of_a_mirax_slide_are_white)
{
    SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
    CHECK(slide_path());
    CHECK_OK(sw_slide_open(slide_path(), NULL, &slide, &err));
    for (int level = 0; level < MIRAX_LEVELS; level++) {
        int factor = 1 << level;
        int64_t w = MIRAX_WIDTH / factor, h = MIRAX_HEIGHT / factor, n_white = 0, n_scanned = 0, off = 0;
        SW_AUTOFREE uint8_t *rgb = sw_malloc((size_t)(3 * w * h));
        CHECK(rgb);
        CHECK_OK(sw_slide_read(slide, level, 0, 0, w, h, rgb, &err));
        for (int64_t y = 5; y < h; y += 7) {
            for (int64_t x = 3; x < w; x += 5) {
                const uint8_t *p = rgb + 3 * (y * w + x);
                uint8_t want[3];
                if (all_scanned(x * factor, y * factor, 5 * factor, false)) {
                    CHECK(p[0] == 255 && p[1] == 255 && p[2] == 255);
                    n_white++;
                } else if (all_scanned(x * factor, y * factor, 5 * factor, true)) {
                    mirax_mean(x * factor, y * factor, factor, want);
                    for (int c = 0; c < 3; c++) off += abs(p[c] - want[c]);
                    n_scanned++;
                }
            }
        }
        CHECK(n_white > 300 / factor && n_scanned > 300 / factor);
        CHECK(off < 3 * 3 * n_scanned); /* 3 grey levels on average */
    }
}

static double tissue_share(void)
{
    int64_t n = 0;
    for (int64_t i = 0; i < (int64_t)MIRAX_WIDTH * MIRAX_HEIGHT; i++)
        n += mirax_is_tissue(i % MIRAX_WIDTH, i / MIRAX_WIDTH) && mirax_scanned(i % MIRAX_WIDTH, i / MIRAX_WIDTH);
    return (double)n / ((double)MIRAX_WIDTH * MIRAX_HEIGHT);
}

TEST(holes_of_a_mirax_slide_hold_no_tissue)
{
    CHECK(slide_path());
    for (int level = 0; level < MIRAX_LEVELS; level++) {
        SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
        SW_CLEANUP(sw_tissue_free) sw_tissue t = {0};
        sw_tissue_options o = sw_tissue_options_default();
        o.seg_level = level;
        o.a_t = o.a_h = 0.05;
        CHECK_OK(sw_slide_open(slide_path(), NULL, &slide, &err));
        CHECK_OK(sw_tissue_segment(slide, &o, &t, &err));
        CHECK_INT(t.n_contours, 1);
        CHECK_INT(t.contour[0].n_holes, 1);
        CHECK_NEAR(t.fraction, tissue_share(), 0.03, 0);
        int64_t wrong = 0;
        for (int64_t i = 0; i < t.mask_width * t.mask_height; i++) {
            int64_t x = (int64_t)((double)(i % t.mask_width) * t.scale_x), y = (int64_t)((double)(i / t.mask_width) * t.scale_y);
            if (t.mask[i] && all_scanned(x, y, 24, false)) wrong++; /* the median and the closing reach 3 pixels of level 2 */
        }
        CHECK_INT(wrong, 0);
    }
}

/* The patch at 1 / factor of the slide's resolution against what lies on the glass; grey levels per channel. */
static double difference(const sw_image *patch, int64_t level0_x, int64_t level0_y, int factor, int64_t *n)
{
    double sum = 0;
    for (int64_t i = 0; i < patch->width * patch->height; i++) {
        int64_t x = level0_x + i % patch->width * factor, y = level0_y + i / patch->width * factor;
        uint8_t want[3];
        if (!all_scanned(x, y, 3 * factor, true)) continue;
        mirax_mean(x, y, factor, want);
        for (int c = 0; c < 3; c++) sum += fabs((double)patch->rgb[3 * i + c] - want[c]) / 3;
        ++*n;
    }
    return sum;
}

/* Tiling at levels and between them: nothing but patches with tissue in them that was scanned, at the places they were cut from. */
TEST(patches_of_a_mirax_slide)
{
    enum { PX = 64 };
    SW_AUTOFREE char *dir = sw_path_join(sw_test_dir(), "store");
    SW_CLEANUP(sw_slide_list_free) sw_slide_list list = {0};
    SW_CLEANUP(sw_tile_result_free) sw_tile_result r = {0};
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    const char *operand = slide_path();
    int x0, y0, x1, y1;
    CHECK(operand);
    bounds_of(&x0, &y0, &x1, &y1);
    sw_tile_options o = sw_tile_options_default();
    o.store = dir;
    o.settings.patch_px = PX;
    o.settings.quality = 95;
    o.settings.n_scales = 2;
    o.settings.mpp_um[0] = 0.25;
    o.settings.mpp_um[1] = 0.5;
    o.settings.tissue.a_t = o.settings.tissue.a_h = 0.05;
    CHECK_OK(sw_slide_list_expand(&operand, 1, &list, &err));
    CHECK_INT(list.count, 1);
    CHECK_OK(sw_tile(&o, &list, &r, &err));
    CHECK_INT(r.n_done, 1);
    CHECK_OK(sw_store_open(dir, &store, &err));
    for (int scale = 0; scale < 2; scale++) {
        int64_t n = sw_store_scale_get(store, 0, scale)->n_patches, pixels = 0, side = PX << scale;
        SW_AUTOFREE int64_t *xy = sw_calloc((size_t)n * 2, sizeof *xy);
        double off = 0;
        CHECK(xy && n >= (scale == 0 ? 80 : 20));
        CHECK_OK(sw_store_coords(store, 0, scale, xy, &err));
        for (int64_t i = 0; i < n; i++) {
            SW_CLEANUP(sw_image_free) sw_image patch = {0};
            int64_t x = xy[2 * i], y = xy[2 * i + 1], tissue = 0;
            CHECK(x > x0 && y > y0 && x < x1 && y < y1);
            for (int64_t k = 0; k < side * side; k++) {
                int64_t u = x + k % side, v = y + k / side;
                tissue += mirax_is_tissue(u, v) && mirax_scanned(u, v);
            }
            CHECK(tissue > side * side / 20);
            const void *jpeg;
            size_t size;
            CHECK_OK(sw_store_patch(store, 0, scale, i, &jpeg, &size, &err));
            CHECK_OK(sw_jpeg_decode(jpeg, size, SW_PIXEL_RGB, &patch, &err));
            off += difference(&patch, x, y, 1 << scale, &pixels);
        }
        CHECK(pixels > 10000 && off / (double)pixels < 2);
    }
}
