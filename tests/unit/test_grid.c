/* SPDX-License-Identifier: Apache-2.0 */
/* Patch grids: by hand, and against CLAM's rule written with OpenCV (tests/golden/make_tissue.py). */
#include <math.h>
#include <stdio.h>

#include "base/mem.h"
#include "slidewise/grid.h"
#include "test.h"
#include "unit/tissue_picture.h"

static sw_status picture_tissue(const char *kind, sw_tissue *out, sw_error *err)
{
    SW_CLEANUP(sw_image_free) sw_image image = {0};
    sw_tissue_options o = sw_tissue_options_default();
    bool plain = strcmp(kind, "plain") == 0, odd = strcmp(kind, "odd") == 0;
    o.sthresh = plain ? 8 : odd ? 20 : 15;
    o.mthresh = plain ? 7 : odd ? 5 : 3;
    o.close = plain ? 4 : odd ? 5 : 0;
    o.a_t = plain ? 0.2 : odd ? 0 : 0.01;
    o.a_h = plain ? 0.05 : odd ? 0 : 0.01;
    o.max_n_holes = plain || odd ? 8 : 1;
    o.max_area_share = 0;
    SW_TRY(tissue_picture(&image, err));
    return sw_tissue_segment_image(&image, "made-up", 8, 8.25, &o, out, err);
}

TEST(the_grid_is_clams_patch_by_patch)
{
    static const struct {
        const char *kind;
        int64_t n, first[2], second[2], last[2], weighted;
    } want[] = {{"plain", 41, {72, 179}, {72, 243}, {456, 435}, 1119037},
                {"no_close", 72, {584, 486}, {584, 550}, {928, 0}, 3347578},
                {"odd", 73, {584, 486}, {584, 550}, {920, 0}, 3413344}};
    for (int k = 0; k < 3; k++) {
        sw_error err = {0};
        SW_CLEANUP(sw_tissue_free) sw_tissue tissue = {0};
        SW_CLEANUP(sw_grid_free) sw_grid grid = {0};
        sw_grid_options o = sw_grid_options_default();
        o.patch_px = 64;
        o.mpp_um = 0.5;
        CHECK_OK(picture_tissue(want[k].kind, &tissue, &err));
        CHECK_OK(sw_grid_make_at(&tissue, tissue.width, tissue.height, 0.5, &o, &grid, &err));
        CHECK_INT(grid.n_patches, want[k].n);
        CHECK(grid.xy[0] == want[k].first[0] && grid.xy[1] == want[k].first[1]);
        CHECK(grid.xy[2] == want[k].second[0] && grid.xy[3] == want[k].second[1]);
        const int64_t *last = grid.xy + 2 * (grid.n_patches - 1);
        CHECK(last[0] == want[k].last[0] && last[1] == want[k].last[1]);
        int64_t weighted = 0;
        for (int64_t i = 0; i < grid.n_patches; i++) weighted += (i + 1) * (grid.xy[2 * i] + 3 * grid.xy[2 * i + 1]);
        CHECK_INT(weighted, want[k].weighted);
    }
}

/* One contour: a square of 0 .. 100, with a square hole of 40 .. 60. */
static int32_t square[] = {0, 0, 100, 0, 100, 100, 0, 100}, hole[] = {40, 40, 60, 40, 60, 60, 40, 60};

static sw_status square_grid(const sw_grid_options *o, double slide_mpp_um, int64_t slide_side, sw_grid *out, sw_error *err)
{
    sw_ring inner = {hole, 4, 400};
    sw_contour contour = {{square, 4, 10000}, &inner, 1};
    sw_tissue tissue = {.contour = &contour, .n_contours = 1, .width = slide_side, .height = slide_side};
    return sw_grid_make_at(&tissue, slide_side, slide_side, slide_mpp_um, o, out, err);
}

TEST(order_is_x_outer_y_inner_and_holes_are_left_out)
{
    sw_error err = {0};
    SW_CLEANUP(sw_grid_free) sw_grid grid = {0};
    sw_grid_options o = sw_grid_options_default();
    o.patch_px = 33;
    o.mpp_um = 1;
    o.contour_rule = SW_CONTOUR_CENTER;
    CHECK_OK(square_grid(&o, 1, 1000, &grid, &err));
    /* Starts 0, 33, 66, 99 per axis; centres 16, 49, 82, 115; the last is out, (49.5, 49.5) is in the hole. */
    static const int64_t want[][2] = {{0, 0}, {0, 33}, {0, 66}, {33, 0}, {33, 66}, {66, 0}, {66, 33}, {66, 66}};
    CHECK_INT(grid.n_patches, 8);
    for (int i = 0; i < 8; i++) CHECK(grid.xy[2 * i] == want[i][0] && grid.xy[2 * i + 1] == want[i][1]);
    CHECK_NEAR(grid.patch_level0_px, 33, 0, 0);
    CHECK_NEAR(grid.magnification, 10, 0, 0);
}

TEST(the_four_rules_keep_what_they_say)
{
    /* Patches of 44: starts 0, 44, 88, centres 22, 66, 110, shift 11; of 40: centres 20, 60, 100 (on the edge: inside; 60
     * on the edge of the hole: not in it), shift 10. Order: four_pt, four_pt_hard, center, basic. */
    static const int64_t want[2][4] = {{9, 4, 4, 9}, {9, 4, 9, 9}};
    for (int i = 0; i < 8; i++) {
        sw_error err = {0};
        SW_CLEANUP(sw_grid_free) sw_grid grid = {0};
        sw_grid_options o = sw_grid_options_default();
        o.patch_px = i < 4 ? 44 : 40;
        o.mpp_um = 1;
        o.contour_rule = (sw_contour_rule)(i % 4);
        CHECK_OK(square_grid(&o, 1, 1000, &grid, &err));
        CHECK_INT(grid.n_patches, want[i / 4][i % 4]);
    }
}

TEST(padding_decides_on_patches_beyond_the_slide)
{
    sw_error err = {0};
    SW_CLEANUP(sw_grid_free) sw_grid with = {0};
    SW_CLEANUP(sw_grid_free) sw_grid without = {0};
    sw_grid_options o = sw_grid_options_default();
    o.patch_px = 30;
    o.mpp_um = 1;
    o.contour_rule = SW_CONTOUR_BASIC;
    CHECK_OK(square_grid(&o, 1, 101, &with, &err));
    o.use_padding = false;
    CHECK_OK(square_grid(&o, 1, 101, &without, &err));
    CHECK_INT(with.n_patches, 16 - 1); /* starts 0 30 60 90; (30, 30) has its centre 45, 45 in the hole */
    CHECK_INT(without.n_patches, 9 - 1); /* 90 + 30 > 101 */
}

TEST(a_real_valued_step_does_not_drift)
{
    sw_error err = {0};
    SW_CLEANUP(sw_grid_free) sw_grid grid = {0};
    sw_grid_options o = sw_grid_options_default();
    o.patch_px = 100;
    o.mpp_um = 1;
    o.whole_image = true;
    o.use_padding = false;
    CHECK_OK(sw_grid_make_at(NULL, 100000, 300, 0.3, &o, &grid, &err)); /* 333.33 level-0 pixels */
    CHECK_INT(grid.n_patches, 299); /* a patch at round(299 x 333.33) = 99667 would end at 100000.33; one row all the same */
    sw_grid_free(&grid);
    CHECK_OK(sw_grid_make_at(NULL, 100000, 334, 0.3, &o, &grid, &err));
    CHECK_INT(grid.n_patches, 299);
    for (int64_t i = 0; i < grid.n_patches; i++) CHECK_INT(grid.xy[2 * i], llround((double)i * 100 / 0.3));
}

TEST(magnification_overlap_and_several_scales)
{
    sw_error err = {0};
    SW_CLEANUP(sw_grid_free) sw_grid grid = {0};
    sw_grid_options o = sw_grid_options_default();
    o.patch_px = 256;
    o.magnification = 20;
    o.overlap_px = 128;
    o.whole_image = true;
    CHECK_OK(sw_grid_make_at(NULL, 1024, 512, 0.25, &o, &grid, &err));
    CHECK_NEAR(grid.mpp_um, 0.5, 0, 0);
    CHECK_NEAR(grid.patch_level0_px, 512, 0, 0);
    CHECK_NEAR(grid.step_level0_px, 256, 0, 0);
    CHECK_INT(grid.n_patches, 4 * 2);
    o.use_padding = false;
    sw_grid_free(&grid);
    CHECK_OK(sw_grid_make_at(NULL, 1024, 512, 0.25, &o, &grid, &err));
    CHECK_INT(grid.n_patches, 3 * 1);
}

TEST(a_share_of_tissue_can_be_asked_for)
{
    sw_error err = {0};
    uint8_t mask[16] = {255, 255, 0, 0, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    sw_tissue tissue = {.mask = mask, .mask_width = 4, .mask_height = 4, .scale_x = 10, .scale_y = 10};
    sw_grid_options o = sw_grid_options_default();
    static const double share[] = {0, 0.2, 0.25, 0.45, 0.5, 0.51, 1};
    o.patch_px = 20;
    o.mpp_um = 1;
    o.whole_image = true;
    for (int i = 0; i < 7; i++) {
        SW_CLEANUP(sw_grid_free) sw_grid grid = {0};
        o.min_tissue = share[i];
        CHECK_OK(sw_grid_make_at(&tissue, 40, 40, 1, &o, &grid, &err));
        CHECK_INT(grid.n_patches, share[i] == 0 ? 4 : 1);
    }
    o.overlap_px = 10; /* starts 0 10 20 30: shares 1, 1/2, 0, 0 per axis */
    o.min_tissue = 0.25;
    SW_CLEANUP(sw_grid_free) sw_grid grid = {0};
    CHECK_OK(sw_grid_make_at(&tissue, 40, 40, 1, &o, &grid, &err));
    CHECK_INT(grid.n_patches, 4);
}

TEST(equal_positions_can_be_dropped)
{
    sw_error err = {0};
    sw_contour contour[2] = {{{square, 4, 0}, NULL, 0}, {{square, 4, 0}, NULL, 0}};
    sw_tissue tissue = {.contour = contour, .n_contours = 2, .width = 1000, .height = 1000};
    SW_CLEANUP(sw_grid_free) sw_grid all = {0};
    SW_CLEANUP(sw_grid_free) sw_grid unique = {0};
    sw_grid_options o = sw_grid_options_default();
    o.patch_px = 33;
    o.mpp_um = 1;
    CHECK_OK(sw_grid_make_at(&tissue, 1000, 1000, 1, &o, &all, &err));
    CHECK_INT(all.n_patches, 18);
    CHECK_INT(all.contour[17], 1);
    o.unique = true;
    CHECK_OK(sw_grid_make_at(&tissue, 1000, 1000, 1, &o, &unique, &err));
    CHECK_INT(unique.n_patches, 9);
    for (int i = 0; i < 18; i++) CHECK_INT(unique.xy[i], all.xy[i]);
}

TEST(what_is_wrong_with_the_options_is_said)
{
    sw_error err = {0};
    sw_grid grid;
    sw_grid_options o = sw_grid_options_default();
    o.whole_image = true;
    CHECK_INT(sw_grid_make_at(NULL, 100, 100, 0.5, &o, &grid, &err), SW_E_INVALID);
    CHECK_STR(err.message, "no target resolution for the patches; give microns per pixel (e.g. 1.0) or a magnification (e.g. 10)");
    o.mpp_um = 1;
    o.overlap_px = 256;
    CHECK_INT(sw_grid_make_at(NULL, 100, 100, 0.5, &o, &grid, &err), SW_E_INVALID);
    CHECK_STR(err.message, "an overlap of 256 pixels does not fit patches of 256 pixels");
    o.overlap_px = 0;
    o.whole_image = false;
    CHECK_INT(sw_grid_make_at(NULL, 100, 100, 0.5, &o, &grid, &err), SW_E_INVALID);
    CHECK_STR(err.message, "a grid without tissue must be asked for as one over the whole image");
}

TEST(a_slide_without_resolution_has_no_grid)
{
    if (!sw_test_data()) SKIP("no shared/data beside the checkout");
    sw_error err = {0};
    char path[600], expected[900];
    SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
    sw_grid grid;
    sw_grid_options o = sw_grid_options_default();
    o.mpp_um = 1;
    o.whole_image = true;
    snprintf(path, sizeof path, "%s/slides/TCGA-CR-7395-01A-01-TS1.svs", sw_test_data());
    CHECK_OK(sw_slide_open(path, NULL, &slide, &err));
    CHECK_INT(sw_grid_make(NULL, slide, &o, &grid, &err), SW_E_INVALID);
    snprintf(expected, sizeof expected,
             "%s: no microns per pixel in the file; give --mpp (e.g. --mpp 0.5) or a CSV with columns slide_id,mpp", path);
    CHECK_STR(err.message, expected);
}

/* Pixels of 10 x 10 level-0 pixels: those whose centre lies in a patch, [left, left + 15). */
TEST(a_stitch_shows_the_patches_and_nothing_else)
{
    sw_error err = {0};
    SW_CLEANUP(sw_image_free) sw_image thumbnail = {0}, out = {0};
    int64_t xy[] = {5, 0, 30, 26, -20, 35, 1000, 1000};
    sw_grid grid = {.patch_level0_px = 15, .n_patches = 4, .xy = xy};
    static const char *const shown[4] = {"##..", "....", "....", "...#"};
    CHECK_OK(sw_image_new(4, 4, 0, &thumbnail, &err));
    for (int i = 0; i < 48; i++) thumbnail.rgb[i] = (uint8_t)(i * 5);
    CHECK_OK(sw_grid_stitch(&grid, 40, 40, &thumbnail, &out, &err));
    CHECK(out.width == 4 && out.height == 4);
    for (int i = 0; i < 48; i++) CHECK_INT(out.rgb[i], shown[i / 12][i / 3 % 4] == '#' ? i * 5 : 255);
}
