/* SPDX-License-Identifier: Apache-2.0 */
/* The best patches of a prediction in a file of positions: which, in what order, how large; and what is refused. */
#include "test.h"

#include "base/fs.h"
#include "base/mem.h"
#include "slidewise/coords.h"
#include "slidewise/predict.h"

static sw_error err;

static int64_t xy[12] = {0, 0, 512, 0, 1024, 0, 0, 512, 512, 512, 1024, 512};
static float score[6] = {0.5f, -2, 7, 0.5f, 0.5f, 0.25f};
static float attention[12] = {0.1f, 0.2f, 0.1f, 0.1f, 0.1f, 0.4f, 0.1f, 0.6f, 0.1f, 0.1f, 0.05f, 0.05f};

static sw_slide_prediction some(void)
{
    return (sw_slide_prediction){.slide_id = "s1", .n_slides = 1, .n_patches = 6, .n_heads = 2, .xy = xy, .patch_level0_px = 512, .patch_px = 224,
                                 .tile_px = 256, .mpp_um = 0.5, .attention = attention, .score = score};
}

/* Writes and reads back. */
static bool best(const sw_slide_prediction *p, int64_t count, const int *expected, int64_t n)
{
    SW_CLEANUP(sw_coords_free) sw_coords c = {0};
    SW_AUTOFREE char *path = NULL;
    if (sw_slide_prediction_write_best(p, count, sw_test_dir(), &err) != SW_OK || sw_coords_find(sw_test_dir(), "s1", &path, &err) != SW_OK ||
        sw_coords_read(path, &c, &err) != SW_OK)
        return sw_test_fail(__FILE__, __LINE__, "%s", err.message);
    bool same = c.n_patches == n && c.kind == SW_COORDS_TRIDENT && c.patch_px == 256 && c.patch_level0_px == 512 && c.width == 0 &&
                strcmp(c.name, "s1") == 0;
    for (int64_t i = 0; same && i < n; i++) same = c.xy[2 * i] == xy[2 * expected[i]] && c.xy[2 * i + 1] == xy[2 * expected[i] + 1];
    /* 0.25 um per pixel of level 0 is 40x, and the patches are half as fine */
    return same && c.level0_magnification == 40 && c.target_magnification == 20;
}

TEST(the_best_patches_by_score_or_by_attention)
{
    sw_slide_prediction p = some();
    CHECK(best(&p, 3, (const int[]){0, 2, 3}, 3)); /* 2, then the first two of three equals; in the order of the slide */
    CHECK(best(&p, 1, (const int[]){2}, 1));
    CHECK(best(&p, 100, (const int[]){0, 1, 2, 3, 4, 5}, 6));
    p.score = NULL;
    CHECK(best(&p, 2, (const int[]){1, 5}, 2)); /* means 0.4 and 0.225 */
}

TEST(what_has_no_best_patches_is_told)
{
    sw_slide_prediction p = some();
    CHECK_INT(sw_slide_prediction_write_best(&p, 0, sw_test_dir(), &err), SW_E_INVALID);
    CHECK_STR(err.message, "0 best patches: give a number above 0");
    p.n_slides = 2;
    CHECK_INT(sw_slide_prediction_write_best(&p, 1, sw_test_dir(), &err), SW_E_INVALID);
    CHECK_STR(err.message, "case s1: the best patches of a case lie on several slides; predict slide by slide");
    p = some();
    p.score = p.attention = NULL;
    CHECK_INT(sw_slide_prediction_write_best(&p, 1, sw_test_dir(), &err), SW_E_INVALID);
    CHECK_STR(err.message, "slide s1: the run's aggregator says nothing of single patches, so that none are the best");
    p = some();
    p.mpp_um = 0;
    CHECK_INT(sw_slide_prediction_write_best(&p, 1, sw_test_dir(), &err), SW_E_INVALID);
    CHECK_STR(err.message, "slide s1: its features do not say where and how large patches are; give the slides, and their features with --features");
    p = some();
    p.xy = NULL;
    CHECK_INT(sw_slide_prediction_write_best(&p, 1, sw_test_dir(), &err), SW_E_INVALID);
}
