/* SPDX-License-Identifier: Apache-2.0 */
/* Artefacts of patches: every number by hand. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "slidewise/artefact.h"
#include "test.h"

static sw_artefacts measured(const uint8_t *rgb, int64_t width, int64_t height)
{
    sw_artefacts m;
    sw_artefacts_measure(rgb, width, height, &m);
    return m;
}

static bool is_ink(int r, int g, int b)
{
    const uint8_t rgb[3] = {(uint8_t)r, (uint8_t)g, (uint8_t)b};
    return measured(rgb, 1, 1).pen_fraction == 1;
}

TEST(black_and_white_pixels)
{
    static const uint8_t rgb[8 * 3] = {49, 49, 49, 50, 0, 0, 0, 0, 0, 221, 221, 221, 221, 221, 220, 255, 255, 255, 128, 128, 128, 221, 255, 230};
    sw_artefacts m = measured(rgb, 4, 2);
    CHECK(m.black_fraction == 2.0 / 8);
    CHECK(m.white_fraction == 3.0 / 8);
}

/* Each limit, at it and past it. */
TEST(marker_colours)
{
    CHECK(is_ink(20, 60, 200) && is_ink(30, 160, 80) && is_ink(220, 30, 40) && is_ink(25, 25, 30)); /* blue, green, red, black */
    CHECK(is_ink(85, 100, 10) && !is_ink(86, 100, 10));                    /* green: hue 70, 69.3 */
    CHECK(is_ink(75, 100, 75) && !is_ink(76, 100, 76));                    /* saturation 0.25, 0.24 */
    CHECK(is_ink(20, 39, 20) && is_ink(15, 40, 15) && !is_ink(10, 39, 10)); /* black below brightness 40 with a small spread only */
    CHECK(is_ink(50, 83, 100));                                            /* hue 200.4, saturation 0.5 */
    CHECK(!is_ink(51, 83, 100));                                           /* blue and too pale */
    CHECK(is_ink(66, 88, 99));                                             /* hue 200: still green's limit, saturation a third */
    CHECK(is_ink(0, 0, 100) && !is_ink(1, 0, 100));                        /* hue 240, 240.6 */
    CHECK(is_ink(100, 0, 16) && !is_ink(100, 0, 17));                      /* hue 350.4, 349.8 */
    CHECK(is_ink(100, 33, 0) && !is_ink(100, 34, 0));                      /* hue 19.8, 20.4 */
    CHECK(is_ink(100, 25, 25) && !is_ink(100, 26, 26) && !is_ink(99, 20, 20)); /* saturation 0.75, 0.74; brightness 99 */
    CHECK(is_ink(70, 50, 60) && !is_ink(71, 60, 60) && !is_ink(70, 49, 60)); /* black: brightness 70, spread 20 */
    /* tissue and glass are none */
    CHECK(!is_ink(205, 130, 180) && !is_ink(110, 70, 150) && !is_ink(90, 60, 140) && !is_ink(230, 150, 170) && !is_ink(170, 60, 70));
    CHECK(!is_ink(243, 242, 245) && !is_ink(255, 255, 255) && !is_ink(190, 200, 190));
}

/* A single bright pixel of 5 x 5: the Laplacian is -4 v there and v at its neighbours; at a corner the mirror doubles. */
TEST(variance_of_the_laplacian)
{
    uint8_t rgb[5 * 5 * 3] = {0};
    memset(rgb + 3 * 12, 100, 3);
    CHECK_NEAR(measured(rgb, 5, 5).laplacian_variance, (16 + 4) * 100.0 * 100.0 / 25, 1e-12, 0);
    memset(rgb, 0, sizeof rgb);
    memset(rgb, 10, 3); /* the corner: itself -40; each neighbour sees it once from one side: 10, mirrored from none */
    CHECK_NEAR(measured(rgb, 5, 5).laplacian_variance, (40.0 * 40 + 2 * 100) / 25 - (-20.0 / 25) * (-20.0 / 25), 1e-12, 0);
    memset(rgb, 0, sizeof rgb);
    memset(rgb + 3 * 6, 10, 3); /* one in from the corner: its neighbours at the border see it twice */
    CHECK_NEAR(measured(rgb, 5, 5).laplacian_variance, (40.0 * 40 + 2 * 400 + 2 * 100) / 25 - (20.0 / 25) * (20.0 / 25), 1e-12, 0);
    memset(rgb, 77, sizeof rgb);
    CHECK(measured(rgb, 5, 5).laplacian_variance == 0);
    CHECK(measured(rgb, 1, 1).laplacian_variance == 0);
    /* luma: 0.299, 0.587, 0.114, rounded */
    const uint8_t pair[2][6] = {{255, 0, 0, 0, 0, 0}, {0, 255, 0, 0, 0, 255}};
    CHECK(measured(pair[0], 2, 1).laplacian_variance == 4.0 * 76 * 76);
    CHECK(measured(pair[1], 2, 1).laplacian_variance == 4.0 * (150 - 29) * (150 - 29));
}

TEST(blur_lowers_it)
{
    enum { SIDE = 32 };
    uint8_t sharp[SIDE * SIDE * 3], soft[SIDE * SIDE * 3];
    for (int i = 0; i < SIDE * SIDE; i++) memset(sharp + 3 * i, (i % SIDE / 4 + i / SIDE / 4) % 2 ? 200 : 90, 3);
    for (int y = 0; y < SIDE; y++) {
        for (int x = 0; x < SIDE; x++) {
            int sum = 0;
            for (int k = 0; k < 9; k++) sum += sharp[3 * ((y + k / 3 - 1 + SIDE) % SIDE * SIDE + (x + k % 3 - 1 + SIDE) % SIDE)];
            memset(soft + 3 * (y * SIDE + x), sum / 9, 3);
        }
    }
    CHECK(measured(sharp, SIDE, SIDE).laplacian_variance > 5 * measured(soft, SIDE, SIDE).laplacian_variance);
}

TEST(the_first_reason_counts)
{
    sw_artefact_options o = sw_artefact_options_default();
    sw_artefacts m = {.black_fraction = 1, .white_fraction = 1, .pen_fraction = 1, .laplacian_variance = 0};
    CHECK(!sw_artefact_options_any(&o));
    CHECK_INT(sw_artefacts_judge(&m, &o), SW_LEFT_NOT);
    o.min_laplacian_variance = 0.1;
    CHECK(sw_artefact_options_any(&o));
    CHECK_INT(sw_artefacts_judge(&m, &o), SW_LEFT_BLURRED);
    m.laplacian_variance = 0.1;
    CHECK_INT(sw_artefacts_judge(&m, &o), SW_LEFT_NOT);
    m.laplacian_variance = 0;
    o.max_pen_fraction = 0.5;
    CHECK_INT(sw_artefacts_judge(&m, &o), SW_LEFT_PEN);
    o.max_white_fraction = 0.5;
    CHECK_INT(sw_artefacts_judge(&m, &o), SW_LEFT_WHITE);
    o.max_black_fraction = 0.5;
    CHECK_INT(sw_artefacts_judge(&m, &o), SW_LEFT_BLACK);
    m.black_fraction = 0.5;
    CHECK_INT(sw_artefacts_judge(&m, &o), SW_LEFT_WHITE);
    CHECK_STR(sw_left_out_name(SW_LEFT_BLURRED), "blurred");
    CHECK_STR(sw_left_out_name(SW_LEFT_UNREADABLE), "unreadable");
}

TEST(limits_that_are_none)
{
    sw_error err = {0};
    sw_artefact_options o = sw_artefact_options_default();
    CHECK_OK(sw_artefact_options_check(&o, &err));
    o.max_black_fraction = -0.1;
    CHECK_INT(sw_artefact_options_check(&o, &err), SW_E_INVALID);
    CHECK_STR(err.message, "max_black_fraction is -0.1; give a share of the patch's pixels from 0 to 1");
    o = sw_artefact_options_default();
    o.min_laplacian_variance = -3;
    CHECK_INT(sw_artefact_options_check(&o, &err), SW_E_INVALID);
    CHECK_STR(err.message, "min_laplacian_variance is -3; give a number of squared grey levels from 0 up");
}

/* A patch wider than a block of columns, against the definition; and what is found is what is measured and judged. */
TEST(large_patches_and_all_at_once)
{
    enum { W = 1100, H = 37 };
    static uint8_t rgb[W * H * 3];
    uint32_t state = 9;
    for (size_t i = 0; i < sizeof rgb; i++) {
        state = state * 1664525u + 1013904223u;
        rgb[i] = (uint8_t)((state >> 24) % (i / 3 % W < 600 ? 256 : 60));
    }
    double sum = 0, squares = 0;
    for (int y = 0; y < H; y++) {
        for (int x = 0; x < W; x++) {
            static const int step[5][2] = {{0, 0}, {-1, 0}, {1, 0}, {0, -1}, {0, 1}};
            double value = 0;
            for (int k = 0; k < 5; k++) {
                int nx = abs(x + step[k][0]), ny = abs(y + step[k][1]);
                nx = nx >= W ? 2 * W - 2 - nx : nx;
                ny = ny >= H ? 2 * H - 2 - ny : ny;
                const uint8_t *p = rgb + 3 * (ny * W + nx);
                value += (k == 0 ? -4 : 1) * ((4899 * p[0] + 9617 * p[1] + 1868 * p[2] + 8192) >> 14);
            }
            sum += value;
            squares += value * value;
        }
    }
    double n = W * H, want = squares / n - sum / n * sum / n;
    CHECK_NEAR(measured(rgb, W, H).laplacian_variance, want, 1e-12, 0);
    int seen[SW_LEFT_KINDS] = {0};
    for (int k = 0; k < 300; k++) {
        double v[4];
        for (int i = 0; i < 4; i++) {
            state = state * 1664525u + 1013904223u;
            v[i] = (state >> 30) == 0 ? 1 : (double)(state >> 16 & 255) / 255;
        }
        sw_artefact_options o = {.max_black_fraction = v[0], .max_white_fraction = v[1] * v[1], .max_pen_fraction = v[2], .min_laplacian_variance = v[3] * 9000};
        int x = k % 10 * 100;
        uint8_t patch[16 * 16 * 3];
        for (int y = 0; y < 16; y++) memcpy(patch + 48 * y, rgb + 3 * (y * W + x), 48);
        sw_artefacts m = measured(patch, 16, 16);
        sw_left_out kind = sw_artefacts_judge(&m, &o);
        CHECK_INT(sw_artefacts_find(patch, 16, 16, &o), kind);
        seen[kind]++;
    }
    CHECK(seen[SW_LEFT_NOT] > 5 && seen[SW_LEFT_BLACK] > 5 && seen[SW_LEFT_PEN] > 5 && seen[SW_LEFT_BLURRED] > 5);
}
