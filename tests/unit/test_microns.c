/* SPDX-License-Identifier: Apache-2.0 */
/* A patch covers patch_px times mpp microns, whatever the slide's own resolutions: at arbitrary targets it agrees with level 0
 * resized to them by a filter of the test's own, in double. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "slide/slide_patches.h"
#include "slidewise/slide.h"
#include "slidewise/store.h"
#include "slidewise/synth.h"
#include "store/hdf5_coords.h"
#include "test.h"

enum { PATCH = 128, PLACES = 9 };

/* One side of the antialiased bilinear filter as Pillow defines it: a triangle whose half width is the scale (at least 1), over
 * the pixels from `first`, whose centres lie at whole numbers and a half. */
static void reduce_line(const double *from, int n, int stride, double first, double scale, double *to, int out_stride)
{
    double half = scale > 1 ? scale : 1;
    for (int i = 0; i < PATCH; i++) {
        double centre = first + (i + 0.5) * scale, sum = 0, weights = 0;
        int end = (int)fmin(n, ceil(centre + half));
        for (int j = (int)fmax(0, floor(centre - half)); j < end; j++) {
            double w = 1 - fabs(j + 0.5 - centre) / half;
            if (w <= 0) continue; /* at the ends */
            sum += w * from[j * stride];
            weights += w;
        }
        to[i * out_stride] = sum / weights;
    }
}

/* [PATCH, PATCH, 3] of the box at (x, y) with this side, in pixels of an [n, n, 3] picture. */
static bool resized(const uint8_t *rgb, int n, double x, double y, double side, double *out)
{
    SW_AUTOFREE double *plane = sw_calloc((size_t)n * (size_t)n, sizeof *plane), *rows = sw_calloc((size_t)n * PATCH, sizeof *rows);
    if (!plane || !rows) return false;
    double scale = side / PATCH;
    for (int c = 0; c < 3; c++) {
        for (int i = 0; i < n * n; i++) plane[i] = rgb[3 * i + c];
        for (int r = 0; r < n; r++) reduce_line(plane + r * n, n, 1, x, scale, rows + r * PATCH, 1);
        for (int k = 0; k < PATCH; k++) reduce_line(rows + k, n, PATCH, y, scale, out + 3 * k + c, 3 * PATCH);
    }
    return true;
}

/* Mean absolute difference in grey levels between the patch at (x, y) and level 0 resized, and that of level 0 one patch pixel
 * beside it. Negative: it could not be read. */
static double difference(sw_slide *slide, int64_t x, int64_t y, double mpp_um, double *beside, sw_error *err)
{
    static uint8_t patch[3 * PATCH * PATCH];
    static double want[3 * PATCH * PATCH], moved[3 * PATCH * PATCH];
    double side = PATCH * mpp_um / sw_slide_get_info(slide)->mpp_um, scale = side / PATCH, sum = 0, other = 0;
    int margin = (int)ceil(2 * scale) + 2, n = (int)ceil(side) + 2 * margin;
    SW_AUTOFREE uint8_t *level0 = sw_malloc(3 * (size_t)n * (size_t)n);
    if (!level0 || sw_slide_read(slide, 0, x - margin, y - margin, n, n, level0, err) != SW_OK ||
        sw_slide_read_patch(slide, x, y, PATCH, mpp_um, patch, err) != SW_OK || !resized(level0, n, margin, margin, side, want) ||
        !resized(level0, n, margin + scale, margin, side, moved)) {
        return -1;
    }
    for (int i = 0; i < 3 * PATCH * PATCH; i++) {
        sum += fabs(patch[i] - want[i]);
        other += fabs(patch[i] - moved[i]);
    }
    *beside = other / (3 * PATCH * PATCH);
    return sum / (3 * PATCH * PATCH);
}

typedef struct together {
    sw_slide *slide;
    const int64_t *xy;
    int n_same;
} together;

static sw_status same_alone(void *ctx, int index, const uint8_t *rgb, sw_error *err)
{
    static uint8_t alone[3 * PATCH * PATCH];
    together *t = ctx;
    SW_TRY(sw_slide_read_patch(t->slide, t->xy[2 * index], t->xy[2 * index + 1], PATCH, 1.0, alone, err));
    t->n_same += memcmp(alone, rgb, sizeof alone) == 0;
    return SW_OK;
}

typedef struct how {
    double mpp_um; /* of slides that say none */
    bool exact;
    double worst, mean; /* allowed, in grey levels */
} how;

/* PLACES patches over the middle of the slide at each target. Level 0 one pixel of the patch aside always differs more. */
static void check_slide(const char *path, const how *h)
{
    static const double targets[] = {0.25, 0.5, 0.83, 1.0};
    sw_error err = {0};
    SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
    sw_slide_options options = sw_slide_options_default();
    options.mpp_um = h->mpp_um;
    options.exact = h->exact;
    CHECK_OK(sw_slide_open(path, &options, &slide, &err));
    const sw_slide_info *info = sw_slide_get_info(slide);
    for (size_t t = 0; t < sizeof targets / sizeof targets[0]; t++) {
        double side = PATCH * targets[t] / info->mpp_um, worst = 0, mean = 0;
        for (int p = 0; p < PLACES; p++) {
            double beside = 0;
            int64_t x = (int64_t)((double)info->width * (1 + p % 3) / 4 - side / 2);
            int64_t y = (int64_t)((double)info->height * (1 + p / 3) / 4 - side / 2);
            double d = difference(slide, x, y, targets[t], &beside, &err);
            CHECK(d >= 0);
            CHECK(d < beside);
            worst = fmax(worst, d);
            mean += d / PLACES;
        }
        if (getenv("SW_TEST_PRINT")) printf("# %s %s at %.2f um: worst %.2f, mean %.2f\n", info->slide_id, h->exact ? "exact" : "", targets[t], worst, mean);
        CHECK(worst <= h->worst && mean <= h->mean);
    }
}

/* Exact: rounding is all that is between them. Otherwise patches of 1 um come from a level that a pyramid's maker shrank with another
 * filter and encoded again, and those of 0.5 um of a slide of 0.499 are its own pixels, up to a quarter of a pixel off at the end. */
static const how ways[] = {{0, true, 0.3, 0.3}, {0, false, 10, 7}};

TEST(patches_of_drawn_slides_cover_their_microns)
{
    sw_error err = {0};
    sw_synth_options o = sw_synth_options_default();
    char path[700];
    o.n_slides = 1;
    o.size_px = 2048;
    CHECK_OK(sw_synth_write(sw_test_dir(), &o, &err));
    snprintf(path, sizeof path, "%s/slides/case001_a.tif", sw_test_dir());
    for (int i = 0; i < 2; i++) check_slide(path, &ways[i]);
}

TEST(patches_of_real_slides_cover_their_microns)
{
    static const struct {
        const char *path;
        double mpp_um;
    } slides[] = {{"slides/gastric-metaplasia-aperio-style.svs", 0}, {"slides/CMU-1-Small-Region.svs", 0},
                  {"slides/TCGA-CR-7395-01A-01-TS1.svs", 0.25}, {"atlas-mini/slides/keloid-scar.tif", 1.008}};
    if (!sw_test_data()) SKIP("no shared/data beside the checkout");
    for (size_t i = 0; i < sizeof slides / sizeof slides[0]; i++) {
        char path[700];
        snprintf(path, sizeof path, "%s/%s", sw_test_data(), slides[i].path);
        for (int k = 0; k < 2; k++) {
            how h = ways[k];
            h.mpp_um = slides[i].mpp_um;
            check_slide(path, &h);
        }
    }
}

TEST(exact_patches_read_together_are_those_read_alone)
{
    sw_error err = {0};
    sw_synth_options o = sw_synth_options_default();
    SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
    sw_slide_options options = sw_slide_options_default();
    char path[700];
    enum { N = 4 };
    static const int64_t xy[2 * N] = {256, 256, 256, 512, 512, 256, 701, 303};
    o.n_slides = 1;
    o.size_px = 2048;
    CHECK_OK(sw_synth_write(sw_test_dir(), &o, &err));
    snprintf(path, sizeof path, "%s/slides/case001_a.tif", sw_test_dir());
    options.exact = true;
    CHECK_OK(sw_slide_open(path, &options, &slide, &err));
    static uint8_t rgb[3 * PATCH * PATCH];
    together t = {.slide = slide, .xy = xy};
    CHECK_OK(sw_slide_read_patches(slide, xy, N, PATCH, 1.0, rgb, same_alone, NULL, &t, &err));
    CHECK_INT(t.n_same, N);
}

/* Without a store, too: what is read on demand is what the slide gives when it is opened that way. */
TEST(patches_that_stay_on_their_slides_are_exact)
{
    sw_error err = {0};
    sw_synth_options so = sw_synth_options_default();
    SW_AUTOFREE char *slides = sw_path_join(sw_test_dir(), "slides"), *h5 = sw_path_join(slides, "case001_a.h5");
    SW_AUTOFREE char *path = sw_path_join(slides, "case001_a.tif");
    SW_CLEANUP(sw_slide_list_free) sw_slide_list list = {0};
    SW_CLEANUP(sw_buf_free) sw_buf bytes = {0};
    const sw_h5_attribute a[] = {{.name = "patch_size", .type = SW_H5_INT, .value = {2 * PATCH}}, {.name = "patch_level", .type = SW_H5_INT}};
    static const int64_t xy[2] = {701, 303};
    static uint8_t stored[3 * PATCH * PATCH], direct[3 * PATCH * PATCH];
    const char *operand = path;
    so.n_slides = 1;
    so.size_px = 2048;
    CHECK_OK(sw_synth_write(sw_test_dir(), &so, &err));
    CHECK_OK(sw_h5_coords_write(xy, 1, a, 2, &bytes, &err));
    CHECK_OK(sw_file_write(h5, bytes.data, bytes.size, &err));
    CHECK_OK(sw_slide_list_expand(&operand, 1, &list, &err));
    for (int exact = 0; exact < 2; exact++) {
        SW_CLEANUP(sw_store_close) sw_store *store = NULL;
        SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
        sw_store_slides_options o = sw_store_slides_options_default();
        sw_slide_options how = sw_slide_options_default();
        o.slides = &list;
        o.coords = slides;
        o.patch_px = PATCH;
        o.exact = exact;
        CHECK_OK(sw_store_open_slides(&o, &store, &err));
        CHECK_OK(sw_store_pixels(store, 0, 0, 0, stored, &err));
        how.exact = true;
        CHECK_OK(sw_slide_open(path, &how, &slide, &err));
        CHECK_OK(sw_slide_read_patch(slide, xy[0], xy[1], PATCH, 1.0, direct, &err));
        CHECK((memcmp(stored, direct, sizeof stored) == 0) == exact);
        CHECK((sw_store_setting(store, "exact") != NULL) == exact);
    }
}
