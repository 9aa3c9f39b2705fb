/* SPDX-License-Identifier: Apache-2.0 */
/* Tissue: each step by hand, the whole against OpenCV's numbers (tests/golden/make_tissue.py). */
#include <string.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/mem.h"
#include "slidewise/tissue.h"
#include "tissue/process_list.h"
#include "test.h"
#include "tissue/border.h"
#include "tissue/mask.h"
#include "tissue/ring.h"
#include "unit/tissue_picture.h"

TEST(saturation_by_hand)
{
    static const uint8_t rgb[] = {0, 0, 0, 255, 255, 255, 255, 0, 0, 200, 100, 150, 10, 20, 30, 241, 240, 250};
    static const uint8_t want[] = {0, 0, 255, 127, 170, 10}; /* 127.5 (OpenCV: 127), 170, 10.2 */
    uint8_t out[6];
    sw_saturation(rgb, 6, out);
    for (int i = 0; i < 6; i++) CHECK_INT(out[i], want[i]);
}

/* OpenCV's: 255 (high - low) / high with the quotient rounded in fixed point first. Every pair of high and low, at every place of a
 * vector. */
TEST(saturation_of_every_colour_is_opencvs)
{
    static uint8_t rgb[3 * 256 * 256], out[256 * 256];
    for (int i = 0; i < 256 * 256; i++) {
        int high = i / 256, low = i % 256 <= high ? i % 256 : high, place = i % 3;
        for (int k = 0; k < 3; k++) rgb[3 * i + k] = (uint8_t)(k == place ? high : k == (place + 1) % 3 ? low : (high + low) / 2);
    }
    for (int from = 0; from < 3; from++) {
        sw_saturation(rgb + 3 * from, 256 * 256 - from, out);
        for (int i = from; i < 256 * 256; i++) {
            int high = i / 256, low = i % 256 <= high ? i % 256 : high;
            int reciprocal = high > 0 ? (int)lrint(255.0 * 4096 / high) : 0;
            CHECK_INT(out[i - from], ((high - low) * reciprocal + 2048) >> 12);
        }
    }
}

TEST(median_repeats_the_border)
{
    sw_error err = {0};
    uint8_t p[] = {9, 1, 1, 1, 5,
                   1, 1, 1, 1, 5,
                   1, 1, 7, 7, 5};
    static const uint8_t want[] = {1, 1, 1, 1, 5,
                                   1, 1, 1, 5, 5,
                                   1, 1, 1, 5, 5};
    CHECK_OK(sw_median(p, 5, 3, 3, &err));
    for (int i = 0; i < 15; i++) CHECK_INT(p[i], want[i]);
    CHECK_INT(sw_median(p, 5, 3, 4, &err), SW_E_INVALID);
    CHECK_STR(err.message, "the median window mthresh is 4; give an odd number");
}

static int by_value(const void *a, const void *b)
{
    return *(const uint8_t *)a - *(const uint8_t *)b;
}

TEST(median_is_the_middle_of_the_sorted_window)
{
    sw_error err = {0};
    enum { W = 23, H = 17, R = 3 };
    uint8_t p[W * H], in[W * H];
    for (int i = 0; i < W * H; i++) in[i] = p[i] = (uint8_t)((i * 7919 + i * i * 31) >> 3);
    CHECK_OK(sw_median(p, W, H, 2 * R + 1, &err));
    for (int y = 0; y < H; y++) {
        for (int x = 0; x < W; x++) {
            uint8_t window[(2 * R + 1) * (2 * R + 1)];
            int n = 0;
            for (int j = y - R; j <= y + R; j++) {
                for (int i = x - R; i <= x + R; i++) {
                    int cy = j < 0 ? 0 : j >= H ? H - 1 : j, cx = i < 0 ? 0 : i >= W ? W - 1 : i;
                    window[n++] = in[cy * W + cx];
                }
            }
            qsort(window, (size_t)n, 1, by_value);
            CHECK_INT(p[y * W + x], window[n / 2]);
        }
    }
}

/* Counting what is above the threshold must tell what the threshold of the median tells, also where the window is larger than
 * the picture. */
TEST(counting_takes_the_place_of_the_median)
{
    sw_error err = {0};
    static const int sides[] = {1, 3, 7, 15, 17, 31, 255};
    enum { W = 67, H = 29 };
    for (size_t k = 0; k < sizeof sides / sizeof *sides; k++) {
        for (int threshold = -1; threshold < 256; threshold += threshold < 120 ? 11 : 67) {
            uint8_t slow[W * H], fast[W * H];
            int tissue = 0;
            for (int i = 0; i < W * H; i++) slow[i] = fast[i] = (uint8_t)((i % W) * 2 + (i / W) * 3 + ((i * 7919 + i * i * 31) >> 3) % 60);
            CHECK_OK(sw_median(slow, W, H, sides[k], &err));
            sw_threshold(slow, W * H, threshold);
            CHECK_OK(sw_median_above(fast, W, H, sides[k], threshold, &err));
            for (int i = 0; i < W * H; i++) {
                CHECK_INT(fast[i], slow[i]);
                tissue += fast[i] != 0;
            }
            if (threshold == 108) CHECK(tissue > 0 && tissue < W * H);
        }
    }
    uint8_t one = 9;
    CHECK_OK(sw_median_above(&one, 1, 1, 7, 8, &err));
    CHECK_INT(one, 255);
    CHECK_INT(sw_median_above(&one, 1, 1, 4, 8, &err), SW_E_INVALID);
    CHECK_STR(err.message, "the median window mthresh is 4; give an odd number");
}

TEST(otsu_parts_two_heaps)
{
    uint8_t p[100];
    for (int i = 0; i < 100; i++) p[i] = (uint8_t)(i < 60 ? 10 + i % 3 : 80 + i % 5);
    CHECK_INT(sw_otsu(p, 100), 12); /* the first of the equally good thresholds, 12 .. 79 */
    memset(p, 7, sizeof p);
    CHECK_INT(sw_otsu(p, 100), 0);
    p[0] = 8;
    CHECK_INT(sw_otsu(p, 100), 7);
    sw_threshold(p, 100, 7);
    CHECK(p[0] == 255 && p[1] == 0);
}

/* Dilation and erosion both look from -2 to +1, so that a mask moves one pixel to the right and down. */
TEST(closing_with_an_even_side_moves_the_mask)
{
    sw_error err = {0};
    uint8_t even[100] = {0}, odd[100] = {0}, edge[100] = {0};
    even[4 * 10 + 4] = odd[4 * 10 + 4] = 255;
    CHECK_OK(sw_close_mask(even, 10, 10, 4, &err));
    CHECK_OK(sw_close_mask(odd, 10, 10, 3, &err));
    for (int i = 0; i < 100; i++) CHECK_INT(even[i], i == 5 * 10 + 5 ? 255 : 0);
    for (int i = 0; i < 100; i++) CHECK_INT(odd[i], i == 4 * 10 + 4 ? 255 : 0);
    edge[0] = edge[3] = 255; /* a gap of two is closed; outside is neutral for both steps */
    CHECK_OK(sw_close_mask(edge, 10, 10, 3, &err));
    for (int i = 0; i < 100; i++) CHECK_INT(edge[i], i <= 3 ? 255 : 0);
}

/* One step of a closing, pixel by pixel. */
static void spread_slowly(const uint8_t *in, int w, int h, int side, uint8_t wanted, uint8_t *out)
{
    int back = side / 2, ahead = side - 1 - back;
    for (int i = 0; i < w * h; i++) {
        bool any = false;
        for (int y = i / w - back; y <= i / w + ahead; y++) {
            for (int x = i % w - back; x <= i % w + ahead; x++) {
                any = any || (x >= 0 && y >= 0 && x < w && y < h && in[y * w + x] == wanted);
            }
        }
        out[i] = any ? wanted : (uint8_t)(255 - wanted);
    }
}

TEST(closing_of_any_side_is_dilation_and_erosion)
{
    sw_error err = {0};
    enum { W = 53, H = 37 };
    for (int side = 1; side < 60; side += side < 20 ? 1 : 13) {
        uint8_t mask[W * H], middle[W * H], want[W * H];
        for (int i = 0; i < W * H; i++) mask[i] = (i * 7919 + i * i * 31) % 97 < 97 / (side + 1) ? 255 : 0;
        spread_slowly(mask, W, H, side, 255, middle);
        spread_slowly(middle, W, H, side, 0, want);
        CHECK_OK(sw_close_mask(mask, W, H, side, &err));
        for (int i = 0; i < W * H; i++) CHECK_INT(mask[i], want[i]);
    }
}

static void paint(const char *const *row, int w, int h, uint8_t *mask)
{
    for (int i = 0; i < w * h; i++) mask[i] = row[i / w][i % w] == '#' ? 255 : 0;
}

TEST(borders_have_their_holes_below_them)
{
    static const char *const row[] = {"#########.",
                                      "#.......#.",
                                      "#.#####.#.",
                                      "#.#...#.##",
                                      "#.#.#.#.#.",
                                      "#.#...#.#.",
                                      "#.#####.#.",
                                      "#.......#.",
                                      "#########.",
                                      ".........#"};
    uint8_t mask[100];
    sw_error err = {0};
    SW_CLEANUP(sw_borders_free) sw_borders b = {0};
    paint(row, 10, 10, mask);
    CHECK_OK(sw_borders_find(mask, 10, 10, &b, &err));
    CHECK_INT(b.count, 5);
    CHECK_INT(b.border[0].parent, -1); /* the frame, with the corner and the bump that touch it */
    CHECK_INT(b.border[1].parent, 0);  /* its hole: a diamond-cornered ring of region pixels around 7 x 7 */
    CHECK_INT(b.border[2].parent, -1); /* the inner square, an island */
    CHECK_INT(b.border[3].parent, 2);
    CHECK_INT(b.border[4].parent, -1); /* the point in the middle */
    CHECK_INT(b.border[4].n_points, 1);
    CHECK_NEAR(b.border[4].area_px, 0, 0, 0);
    CHECK_NEAR(b.border[0].area_px, 65, 0, 0); /* 8 x 8 and the bump's triangle; the corner adds nothing */
    CHECK_NEAR(b.border[1].area_px, 62, 0, 0); /* 8 x 8 less four corners of half a pixel */
    CHECK_NEAR(b.border[2].area_px, 16, 0, 0);
    CHECK_NEAR(b.border[3].area_px, 14, 0, 0);
    CHECK_INT(b.xy[0], 0);
    CHECK_INT(b.xy[1], 0);
}

/* What OpenCV says of the made-up picture. */
static const struct expectation {
    const char *name;
    int sthresh, mthresh, close;
    double a_t, a_h;
    int max_n_holes;
    int otsu_threshold;
    int n_contours;
    struct {
        int n_points;
        double area;
        int64_t sum_x, sum_y;
        int n_holes;
        double hole[5];
    } contour[5];
} expected[] = {
    {"plain", 8, 7, 4, 0.2, 0.05, 8, 4, 1, {{160, 2410.0, 46080, 55276, 1, {263.0}}}},
    {"no_close", 15, 3, 0, 0.01, 0.01, 1, 4, 5,
     {{112, 55.0, 27328, 65072, 0, {0}},
      {112, 1168.0, 82432, 71787, 1, {467.0}},
      {84, 663.0, 60472, 20765, 0, {0}},
      {156, 2370.0, 43680, 51417, 1, {273.0}},
      {47, 94.5, 41248, 941, 0, {0}}}},
    {"odd", 20, 5, 5, 0, 0, 8, 4, 4,
     {{116, 1172.0, 85376, 74919, 1, {466.0}},
      {84, 662.0, 60480, 20765, 0, {0}},
      {160, 2400.0, 44784, 53898, 5, {156.0, 46.0, 46.0, 46.0, 46.0}},
      {47, 93.5, 41240, 900, 0, {0}}}},
};

static void check_expectation(const struct expectation *e, bool otsu)
{
    sw_error err = {0};
    SW_CLEANUP(sw_image_free) sw_image image = {0};
    SW_CLEANUP(sw_tissue_free) sw_tissue tissue = {0};
    sw_tissue_options o = sw_tissue_options_default();
    o.sthresh = e->sthresh;
    o.mthresh = e->mthresh;
    o.close = e->close;
    o.a_t = e->a_t;
    o.a_h = e->a_h;
    o.max_n_holes = e->max_n_holes;
    o.max_area_share = 0;
    o.otsu = otsu;
    CHECK_OK(tissue_picture(&image, &err));
    CHECK_OK(sw_tissue_segment_image(&image, "made-up", 8, 8.25, &o, &tissue, &err));
    CHECK_INT(tissue.threshold, otsu ? e->otsu_threshold : e->sthresh);
    CHECK_INT(tissue.n_contours, e->n_contours);
    for (int i = 0; i < e->n_contours; i++) {
        const sw_contour *c = &tissue.contour[i];
        int64_t sum[2] = {0, 0};
        CHECK_INT(c->outer.n_points, e->contour[i].n_points);
        CHECK_NEAR(c->outer.area_px, e->contour[i].area, 0, 0);
        for (int64_t k = 0; k < 2 * c->outer.n_points; k++) sum[k % 2] += c->outer.xy[k];
        CHECK_INT(sum[0], e->contour[i].sum_x);
        CHECK_INT(sum[1], e->contour[i].sum_y);
        CHECK_INT(c->n_holes, e->contour[i].n_holes);
        for (int h = 0; h < c->n_holes; h++) CHECK_NEAR(c->hole[h].area_px, e->contour[i].hole[h], 0, 0);
    }
}

TEST(segmentation_agrees_with_opencv)
{
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        check_expectation(&expected[i], false);
        check_expectation(&expected[i], true);
    }
}

TEST(the_mask_holds_the_kept_tissue_and_nothing_else)
{
    sw_error err = {0};
    SW_CLEANUP(sw_image_free) sw_image image = {0};
    SW_CLEANUP(sw_tissue_free) sw_tissue tissue = {0};
    sw_tissue_options o = sw_tissue_options_default();
    o.a_t = o.a_h = 0.005;
    o.max_area_share = 0;
    o.close = 0;
    CHECK_OK(tissue_picture(&image, &err));
    CHECK_OK(sw_tissue_segment_image(&image, "made-up", 8, 8, &o, &tissue, &err));
    const uint8_t *m = tissue.mask;
    CHECK_INT(m[60 * PICTURE_W + 35], 255); /* the large disc */
    CHECK_INT(m[29 * PICTURE_W + 28], 0);   /* its hole */
    CHECK_INT(m[36 * PICTURE_W + 28], 255); /* the island in that hole */
    CHECK_INT(m[78 * PICTURE_W + 92], 0);
    CHECK_INT(m[90 * PICTURE_W + 20], 0); /* a line of one pixel does not live through the median */
    for (int64_t i = 0; i < tissue.n_contours; i++) { /* every pixel: inside an outer ring and not in its holes */
        const sw_contour *c = &tissue.contour[i];
        for (int64_t k = 0; k < c->outer.n_points; k++) {
            CHECK_INT(m[c->outer.xy[2 * k + 1] / 8 * PICTURE_W + c->outer.xy[2 * k] / 8], 255);
        }
    }
    for (int y = 0; y < PICTURE_H; y++) {
        for (int x = 0; x < PICTURE_W; x++) {
            bool in = false;
            for (int64_t i = 0; i < tissue.n_contours; i++) {
                const sw_contour *c = &tissue.contour[i];
                bool here = sw_ring_side(&c->outer, 8 * x, 8 * y) >= 0;
                for (int h = 0; h < c->n_holes; h++) here = here && sw_ring_side(&c->hole[h], 8 * x, 8 * y) <= 0;
                in = in || here;
            }
            CHECK_INT(m[y * PICTURE_W + x], in ? 255 : 0);
        }
    }
}

TEST(small_slides_are_not_lost_to_large_area_limits)
{
    sw_error err = {0};
    SW_CLEANUP(sw_image_free) sw_image image = {0};
    SW_CLEANUP(sw_tissue_free) sw_tissue ours = {0};
    SW_CLEANUP(sw_tissue_free) sw_tissue clam = {0};
    sw_tissue_options o;
    CHECK_OK(tissue_picture(&image, &err));
    CHECK_OK(sw_tissue_segment_image(&image, "made-up", 8, 8, NULL, &ours, &err));
    CHECK(ours.n_contours >= 3);
    CHECK_OK(sw_tissue_need(&ours, &err));
    CHECK_OK(sw_tissue_options_preset("clam", &o, &err));
    CHECK_OK(sw_tissue_segment_image(&image, "made-up", 8, 8, &o, &clam, &err));
    CHECK_INT(clam.n_contours, 0);
    CHECK_NEAR(clam.fraction, 0, 0, 0);
    CHECK_INT(sw_tissue_need(&clam, &err), SW_E_INVALID);
    CHECK_STR(err.message, "slide made-up: no tissue found (saturation threshold 8); look at the slide, then try another preset "
                           "or a lower threshold");
}

TEST(points_in_rings_the_edge_counts_apart)
{
    sw_error err = {0};
    int32_t xy[] = {0, 0, 10, 0, 10, 10, 5, 5, 0, 10}; /* a square with a notch from below */
    const sw_ring ring = {xy, 5, 0};
    SW_CLEANUP(sw_ring_index_free) sw_ring_index index = {0};
    CHECK_OK(sw_ring_index_make(&ring, &index, &err));
    static const double p[][3] = {{2, 2, 1}, {5, 7, -1}, {5, 5, 0}, {0, 4, 0}, {10, 10, 0}, {7, 7, 0}, {8, 7, 1},
                                  {-1, 0, -1}, {11, 0, -1}, {5, 10, -1}, {3, 0, 0}, {2.5, 7.5, 0}, {2, 7.5, 1}, {5, 0.5, 1}};
    for (size_t i = 0; i < sizeof p / sizeof *p; i++) {
        CHECK_INT(sw_ring_side(&ring, p[i][0], p[i][1]), (int)p[i][2]);
        CHECK_INT(sw_ring_index_side(&index, p[i][0], p[i][1]), (int)p[i][2]);
    }
}

TEST(the_index_answers_as_the_plain_test_everywhere)
{
    sw_error err = {0};
    SW_CLEANUP(sw_image_free) sw_image image = {0};
    SW_CLEANUP(sw_tissue_free) sw_tissue tissue = {0};
    CHECK_OK(tissue_picture(&image, &err));
    CHECK_OK(sw_tissue_segment_image(&image, "made-up", 3.3, 2.7, NULL, &tissue, &err));
    CHECK(tissue.n_contours > 0);
    for (int64_t i = 0; i < tissue.n_contours; i++) {
        const sw_ring *ring = &tissue.contour[i].outer;
        SW_CLEANUP(sw_ring_index_free) sw_ring_index index = {0};
        CHECK_OK(sw_ring_index_make(ring, &index, &err));
        for (double y = -3; y < 270; y += 1.5) {
            for (double x = -3; x < 400; x += 1.5) CHECK_INT(sw_ring_index_side(&index, x, y), sw_ring_side(ring, x, y));
        }
    }
}

TEST(presets_by_name_and_from_clam_tables)
{
    sw_error err = {0};
    char path[600], expected_message[900];
    sw_tissue_options o;
    CHECK_OK(sw_tissue_options_preset("bwh_biopsy", &o, &err));
    CHECK(o.sthresh == 15 && o.mthresh == 11 && o.close == 2 && o.a_t == 1 && o.a_h == 1 && o.max_n_holes == 2);
    CHECK(o.line_thickness == 50 && o.max_area_share == 0 && !o.otsu && o.use_padding && o.seg_level == -1);
    CHECK_OK(sw_tissue_options_preset("tcga", &o, &err));
    CHECK(o.sthresh == 8 && o.a_t == 16 && o.a_h == 4 && o.max_n_holes == 8 && o.line_thickness == 100);
    CHECK_INT(sw_tissue_options_preset("tgca", &o, &err), SW_E_NOT_FOUND);
    CHECK_STR(err.message, "\"tgca\" is no tissue preset; there are default, clam, bwh_biopsy, bwh_resection, tcga, tcga_nsclc, "
                           "or the path of a CLAM preset .csv");
    snprintf(path, sizeof path, "%s/preset.csv", sw_test_dir());
    const char *text = "seg_level,sthresh,mthresh,close,use_otsu,a_t,a_h,max_n_holes,vis_level,line_thickness,white_thresh,"
                       "black_thresh,use_padding,contour_fn,keep_ids,exclude_ids\n"
                       "-1,20.0,5,3,TRUE,2.5,,4,-1,50,5,50,FALSE,four_pt_hard,none,none\n";
    CHECK_OK(sw_file_write(path, text, strlen(text), &err));
    CHECK_OK(sw_tissue_options_preset(path, &o, &err));
    CHECK(o.sthresh == 20 && o.mthresh == 5 && o.close == 3 && o.otsu && o.a_t == 2.5 && o.a_h == 16 && o.max_n_holes == 4);
    CHECK(!o.use_padding && o.contour_rule == SW_CONTOUR_FOUR_PT_HARD);
    text = "sthresh,use_otsu\n8,perhaps\n";
    CHECK_OK(sw_file_write(path, text, strlen(text), &err));
    CHECK_INT(sw_tissue_options_preset(path, &o, &err), SW_E_INVALID);
    snprintf(expected_message, sizeof expected_message, "%s, line 2: column use_otsu is \"perhaps\"; give TRUE or FALSE", path);
    CHECK_STR(err.message, expected_message);
    text = "sthresh,keep_ids\n8,\"0,2\"\n";
    CHECK_OK(sw_file_write(path, text, strlen(text), &err));
    CHECK_INT(sw_tissue_options_preset(path, &o, &err), SW_E_INVALID);
    snprintf(expected_message, sizeof expected_message,
             "%s: keep_ids and exclude_ids choose contours of one slide; give them in a process list (--process-list), a row per slide", path);
    CHECK_STR(err.message, expected_message);
}

static int64_t ones(const sw_tissue *t)
{
    int64_t n = 0;
    for (int64_t i = 0; i < t->mask_width * t->mask_height; i++) n += t->mask[i] != 0;
    return n;
}

/* "odd" above has four contours: those of the numbers stay, in their order, and the mask and the share are theirs. */
TEST(contours_by_number)
{
    static const struct {
        const char *keep, *exclude;
        int n, contour[4];
    } c[] = {{"", "", 4, {0, 1, 2, 3}}, {"2", "", 1, {2}},     {"3, 1", "", 2, {1, 3}}, {"", "0", 3, {1, 2, 3}},
             {"0,1,2", "1", 2, {0, 2}}, {"", "12", 4, {0, 1, 2, 3}}, {"1", "1", 0, {0}},    {"7", "", 0, {0}}};
    sw_error err = {0};
    SW_CLEANUP(sw_image_free) sw_image image = {0};
    double share[4];
    int64_t pixels[4];
    CHECK_OK(tissue_picture(&image, &err));
    sw_tissue_options o = sw_tissue_options_default();
    o.sthresh = 20;
    o.mthresh = o.close = 5;
    o.a_t = o.a_h = 0;
    for (int i = 0; i < 4; i++) {
        SW_CLEANUP(sw_tissue_free) sw_tissue one = {0};
        snprintf(o.keep_ids, sizeof o.keep_ids, "%d", i);
        CHECK_OK(sw_tissue_segment_image(&image, "made-up", 8, 8.25, &o, &one, &err));
        share[i] = one.fraction;
        pixels[i] = ones(&one);
    }
    for (size_t k = 0; k < sizeof c / sizeof *c; k++) {
        SW_CLEANUP(sw_tissue_free) sw_tissue t = {0};
        double sum = 0;
        int64_t mask = 0;
        snprintf(o.keep_ids, sizeof o.keep_ids, "%s", c[k].keep);
        snprintf(o.exclude_ids, sizeof o.exclude_ids, "%s", c[k].exclude);
        CHECK_OK(sw_tissue_segment_image(&image, "made-up", 8, 8.25, &o, &t, &err));
        CHECK_INT(t.n_contours, c[k].n);
        for (int i = 0; i < c[k].n; i++) {
            CHECK_NEAR(t.contour[i].outer.area_px, expected[2].contour[c[k].contour[i]].area, 0, 0);
            sum += share[c[k].contour[i]];
            mask += pixels[c[k].contour[i]];
        }
        CHECK_NEAR(t.fraction, sum, 1e-12, 1e-15);
        CHECK_INT(ones(&t), mask);
    }
}

TEST(a_process_list_speaks_of_single_slides)
{
    sw_error err = {0};
    sw_process_list *list = NULL;
    sw_tissue_options base = sw_tissue_options_default();
    char path[600], want[900];
    snprintf(path, sizeof path, "%s/process_list.csv", sw_test_dir());
    base.mthresh = 9;
    const char *text = "slide_id,process,sthresh,a_t,keep_ids,exclude_ids,contour_fn\n"
                       "a.svs,1,12,5,none,none,center\n"
                       "b.c.tif,0,,,\"0,3\",1,\n";
    CHECK_OK(sw_file_write(path, text, strlen(text), &err));
    CHECK_OK(sw_process_list_read(path, &base, &list, &err));
    const sw_tissue_options *a = sw_process_list_find(list, "a"), *b = sw_process_list_find(list, "b.c");
    CHECK(a && b && !sw_process_list_find(list, "c") && !sw_process_list_find(NULL, "a"));
    CHECK(a->sthresh == 12 && a->a_t == 5 && a->mthresh == 9 && a->contour_rule == SW_CONTOUR_CENTER && a->max_area_share == 0);
    CHECK(b->sthresh == 8 && b->a_t == base.a_t && b->mthresh == 9 && b->max_area_share == base.max_area_share);
    CHECK_STR(a->keep_ids, "");
    CHECK_STR(b->keep_ids, "0,3");
    CHECK_STR(b->exclude_ids, "1");
    uint64_t hash = sw_process_list_hash(list);
    sw_process_list_free(list);
    static const struct {
        const char *text, *message;
        sw_status status;
    } bad[] = {{"slide,sthresh\na,8\n", "%s: not a process list of CLAM: no column slide_id", SW_E_NOT_FOUND},
               {"slide_id,sthresh\na.svs,8\na.tif,9\n", "%s, line 3: slide a stands here a second time; keep one row of it", SW_E_INVALID},
               {"slide_id,keep_ids\na,0\nb,all\n", "%s, line 3: column keep_ids is \"all\"; give numbers of contours, with commas, or none", SW_E_INVALID},
               {"slide_id,a\na,100\n", "%s, line 2: column a is \"100\"; give a_t and a_h, in units of (512 level-0 pixels)^2", SW_E_INVALID}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK_OK(sw_file_write(path, bad[i].text, strlen(bad[i].text), &err));
        CHECK_INT(sw_process_list_read(path, &base, &list, &err), bad[i].status);
        const char *rest = bad[i].message + 2;
        snprintf(want, sizeof want, "%s%s", path, rest);
        CHECK_STR(err.message, want);
    }
    CHECK_OK(sw_file_write(path, text, strlen(text) - 1, &err));
    CHECK_OK(sw_process_list_read(path, &base, &list, &err));
    CHECK(sw_process_list_hash(list) != hash);
    sw_process_list_free(list);
}

TEST(contour_rules_by_name)
{
    sw_error err = {0};
    sw_contour_rule rule;
    for (int i = 0; i < 4; i++) {
        CHECK_OK(sw_contour_rule_parse(sw_contour_rule_name((sw_contour_rule)i), &rule, &err));
        CHECK_INT(rule, i);
    }
    CHECK_OK(sw_contour_rule_parse("four_pt_easy", &rule, &err));
    CHECK_INT(rule, SW_CONTOUR_FOUR_PT);
    CHECK_INT(sw_contour_rule_parse("four", &rule, &err), SW_E_INVALID);
    CHECK_STR(err.message, "\"four\" is no contour rule; there are four_pt, four_pt_hard, center and basic");
}

TEST(geojson_is_closed_and_the_same_every_time)
{
    sw_error err = {0};
    char path[2][600];
    SW_CLEANUP(sw_image_free) sw_image image = {0};
    SW_CLEANUP(sw_tissue_free) sw_tissue tissue = {0};
    SW_CLEANUP(sw_json_free_ptr) sw_json *root = NULL;
    SW_CLEANUP(sw_buf_free) sw_buf first = {0};
    SW_CLEANUP(sw_buf_free) sw_buf second = {0};
    CHECK_OK(tissue_picture(&image, &err));
    CHECK_OK(sw_tissue_segment_image(&image, "made-up", 8, 8, NULL, &tissue, &err));
    for (int i = 0; i < 2; i++) {
        snprintf(path[i], sizeof path[i], "%s/tissue%d.geojson", sw_test_dir(), i);
        CHECK_OK(sw_tissue_write_geojson(&tissue, path[i], &err));
    }
    CHECK_OK(sw_file_read(path[0], &first, &err));
    CHECK_OK(sw_file_read(path[1], &second, &err));
    CHECK_STR(first.data, second.data);
    CHECK_OK(sw_json_read(path[0], &root, &err));
    const sw_json *features = sw_json_get(root, "features");
    CHECK_INT(sw_json_count(features), tissue.n_contours);
    for (int64_t i = 0; i < tissue.n_contours; i++) {
        const sw_json *feature = sw_json_at(features, (size_t)i);
        const sw_json *rings = sw_json_get(sw_json_get(feature, "geometry"), "coordinates");
        CHECK_INT(strlen(sw_json_text(sw_json_get(feature, "id"), "")), 36);
        CHECK_INT(sw_json_count(rings), 1 + tissue.contour[i].n_holes);
        for (size_t r = 0; r < sw_json_count(rings); r++) {
            const sw_json *ring = sw_json_at(rings, r);
            size_t n = sw_json_count(ring);
            CHECK(n >= 4);
            for (size_t k = 0; k < 2; k++) {
                CHECK_INT(sw_json_integer(sw_json_at(sw_json_at(ring, 0), k), -1),
                          sw_json_integer(sw_json_at(sw_json_at(ring, n - 1), k), -2));
            }
        }
    }
}

TEST(a_real_slide_gives_opencvs_contour)
{
    if (!sw_test_data()) SKIP("no shared/data beside the checkout");
    sw_error err = {0};
    char path[600];
    SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
    SW_CLEANUP(sw_tissue_free) sw_tissue tissue = {0};
    SW_CLEANUP(sw_image_free) sw_image overlay = {0};
    sw_tissue_options o;
    snprintf(path, sizeof path, "%s/slides/gastric-metaplasia-aperio-style.svs", sw_test_data());
    CHECK_OK(sw_slide_open(path, NULL, &slide, &err));
    CHECK_OK(sw_tissue_options_preset("tcga", &o, &err));
    CHECK_OK(sw_tissue_segment(slide, &o, &tissue, &err));
    CHECK_INT(tissue.seg_level, 5);
    CHECK_INT(tissue.n_contours, 1);
    CHECK_INT(tissue.contour[0].outer.n_points, 1309);
    CHECK_NEAR(tissue.contour[0].outer.area_px, 97067.5, 0, 0);
    CHECK_INT(tissue.contour[0].outer.xy[0], 8905);
    CHECK_INT(tissue.contour[0].outer.xy[1], 160);
    CHECK_INT(tissue.contour[0].n_holes, 0);
    CHECK_NEAR(tissue.fraction, 0.6455, 0, 1e-4);
    snprintf(path, sizeof path, "%s/overlay.png", sw_test_dir());
    CHECK_OK(sw_tissue_write_overlay(slide, &tissue, o.line_thickness, 100000, path, &err));
    CHECK_OK(sw_image_read(path, &overlay, &err));
    int64_t green = 0;
    for (int64_t i = 0; i < overlay.width * overlay.height; i++) green += memcmp(overlay.rgb + 3 * i, "\0\xff\0", 3) == 0;
    CHECK(green > 800 && green < 12000);
    snprintf(path, sizeof path, "%s/mask.png", sw_test_dir());
    CHECK_OK(sw_tissue_write_mask(&tissue, path, &err));
}

TEST(a_level_over_the_budget_is_reduced_while_it_is_read)
{
    if (!sw_test_data()) SKIP("no shared/data beside the checkout");
    sw_error err = {0};
    char path[600];
    SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
    SW_CLEANUP(sw_tissue_free) sw_tissue full = {0};
    SW_CLEANUP(sw_tissue_free) sw_tissue small = {0};
    sw_tissue_options o;
    snprintf(path, sizeof path, "%s/slides/CMU-1-Small-Region.svs", sw_test_data());
    CHECK_OK(sw_slide_open(path, NULL, &slide, &err));
    CHECK_OK(sw_tissue_options_preset("bwh_biopsy", &o, &err));
    CHECK_OK(sw_tissue_segment(slide, &o, &full, &err));
    o.max_pixels = 200000;
    CHECK_OK(sw_tissue_segment(slide, &o, &small, &err));
    CHECK(small.mask_width * small.mask_height <= 200000 && small.mask_width * small.mask_height > 190000);
    CHECK_INT(small.width, 2220);
    CHECK_NEAR(small.fraction, full.fraction, 0, 0.06);
}
