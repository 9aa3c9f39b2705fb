/* SPDX-License-Identifier: Apache-2.0 */
/* Masks of the user's: drawn ones, with counted pixels. */
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "slidewise/tissue.h"
#include "test.h"

/* A slide of 100 x 80 pixels. */
static void open_slide(sw_slide **slide)
{
    sw_error err = {0};
    SW_CLEANUP(sw_image_free) sw_image image = {0};
    SW_AUTOFREE char *path = sw_path_join(sw_test_dir(), "s.png");
    CHECK_OK(sw_image_new(100, 80, 255, &image, &err));
    CHECK_OK(sw_image_write(path, &image, &err));
    CHECK_OK(sw_slide_open(path, NULL, slide, &err));
}

static int64_t kept(const sw_tissue *t)
{
    int64_t n = 0;
    for (int64_t i = 0; i < t->mask_width * t->mask_height; i++) n += t->mask[i] != 0;
    return n;
}

static void mask_at(sw_mask_options *o, const char *name, const char *text)
{
    sw_error err = {0};
    *o = (sw_mask_options) {.mode = SW_MASK_REPLACE};
    SW_AUTOFREE char *path = sw_path_join(sw_test_dir(), name);
    if (text) CHECK_OK(sw_file_write(path, text, strlen(text), &err));
    snprintf(o->path, sizeof o->path, "%s", path);
}

#define FEATURE(name, type, coordinates)                                                                              \
    "{\"type\":\"Feature\",\"geometry\":{\"type\":\"" type "\",\"coordinates\":" coordinates                           \
    "},\"properties\":{\"classification\":{\"name\":\"" name "\"}}}"
static const char drawn[] = "{\"type\":\"FeatureCollection\",\"features\":["
    FEATURE("Tumor", "Polygon", "[[[10,10],[50,10],[50,40],[10,40],[10,10]],[[20,20],[30,20],[30,30],[20,30],[20,20]]]") ","
    FEATURE("Stroma", "MultiPolygon", "[[[[60,10],[70,10],[70,20],[60,20],[60,10]]],[[[90,70],[200,70],[200,99],[90,99],[90,70]]]]") ","
    FEATURE("Necrosis", "Polygon", "[[[40,0],[50,0],[50,80],[40,80],[40,0]]]") ","
    FEATURE("Tumor", "Point", "[5,5]") "]}";

TEST(a_picture_is_stretched_over_the_slide)
{
    sw_error err = {0};
    SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
    open_slide(&slide);
    SW_CLEANUP(sw_image_free) sw_image picture = {0};
    SW_CLEANUP(sw_tissue_free) sw_tissue t = {0};
    sw_mask_options o;
    mask_at(&o, "m.png", NULL);
    CHECK_OK(sw_image_new(10, 8, 0, &picture, &err));
    picture.rgb[3 * (2 * 10 + 3) + 1] = 1; /* a label, of one channel */
    picture.rgb[3 * (2 * 10 + 4)] = 255;
    CHECK_OK(sw_image_write(o.path, &picture, &err));
    CHECK_OK(sw_tissue_apply_mask(&t, slide, &o, &err));
    CHECK_INT(t.n_contours, 1);
    CHECK_INT(kept(&t), 200);
    CHECK(t.mask[20 * 100 + 30] == 255 && t.mask[29 * 100 + 49] == 255 && t.mask[20 * 100 + 50] == 0);
    CHECK(sw_ring_side(&t.contour[0].outer, 30, 20) == 0 && sw_ring_side(&t.contour[0].outer, 29, 20) == -1);
    snprintf(o.include, sizeof o.include, "Tumor");
    CHECK_INT(sw_tissue_apply_mask(&t, slide, &o, &err), SW_E_INVALID);
    SW_AUTOFREE char *why = sw_asprintf("slide s: %s is a picture, which has no classes to include or exclude", o.path);
    CHECK_STR(err.message, why);
    CHECK_INT(kept(&t), 200); /* untouched */
}

TEST(annotations_are_taken_and_taken_out)
{
    sw_error err = {0};
    SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
    open_slide(&slide);
    static const struct { const char *include, *exclude; int64_t pixels, contours; } cases[] = {
        {"", "", 40 * 30 - 100 + 100 + 100 + 10 * 80 - 10 * 30, 3}, /* the polygons' union, cut at the slide's edge */
        {"Tumor", "", 40 * 30 - 100, 1},
        {"Tumor", "Necrosis", 30 * 30 - 100, 1},
        {" Stroma , Tumor", "Necrosis", 30 * 30 - 100 + 200, 3},
        {"", "Tumor", 200 + 10 * 80 - 10 * 30, 4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        SW_CLEANUP(sw_tissue_free) sw_tissue t = {0};
        sw_mask_options o;
    mask_at(&o, "a.geojson", drawn);
        snprintf(o.include, sizeof o.include, "%s", cases[i].include);
        snprintf(o.exclude, sizeof o.exclude, "%s", cases[i].exclude);
        CHECK_OK(sw_tissue_apply_mask(&t, slide, &o, &err));
        CHECK_INT(kept(&t), cases[i].pixels);
        CHECK_INT(t.n_contours, cases[i].contours);
    }
}

TEST(within_keeps_what_lies_in_both)
{
    sw_error err = {0};
    SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
    open_slide(&slide);
    SW_CLEANUP(sw_tissue_free) sw_tissue t = {0};
    sw_mask_options o;
    mask_at(&o, "a.geojson", drawn);
    snprintf(o.include, sizeof o.include, "Tumor");
    CHECK_OK(sw_tissue_apply_mask(&t, slide, &o, &err));
    CHECK_INT(t.contour[0].n_holes, 1);
    o.mode = SW_MASK_WITHIN;
    snprintf(o.include, sizeof o.include, "Necrosis");
    CHECK_OK(sw_tissue_apply_mask(&t, slide, &o, &err));
    CHECK_INT(kept(&t), 10 * 30);
    CHECK_INT(t.n_contours, 1);
    snprintf(o.include, sizeof o.include, "Stroma");
    CHECK_OK(sw_tissue_apply_mask(&t, slide, &o, &err));
    CHECK(t.n_contours == 0 && kept(&t) == 0);
}

static void check_refused(const char *text, const char *include, sw_status status, const char *format)
{
    sw_error err = {0};
    SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
    open_slide(&slide);
    SW_CLEANUP(sw_tissue_free) sw_tissue t = {0};
    sw_mask_options o;
    mask_at(&o, "bad.geojson", text);
    snprintf(o.include, sizeof o.include, "%s", include);
    CHECK_INT(sw_tissue_apply_mask(&t, slide, &o, &err), status);
    SW_AUTOFREE char *why = sw_asprintf(strncmp(format, "slide", 5) == 0 ? "slide s: %s%s" : "%s:%s", o.path, strchr(format, (char)32));
    CHECK_STR(err.message, why);
}

TEST(what_cannot_be_taken_is_told)
{
    check_refused(drawn, "Lymph", SW_E_INVALID, "slide holds no polygon of the classes Lymph; look at the names of its classes");
    check_refused("{\"features\":[]}", "", SW_E_INVALID, "slide holds no polygon that is taken; look at the names of its classes");
    check_refused("[" FEATURE("a", "Polygon", "[[[1,2],[3,4]]]") "]", "", SW_E_FORMAT,
                  ": feature 1: a ring of fewer than 3 positions; export the annotations again as GeoJSON");
    check_refused("[" FEATURE("a", "Polygon", "[[[1,2],[3,4],[5]]]") "]", "", SW_E_FORMAT,
                  ": feature 1: a position is not two numbers; export the annotations again as GeoJSON");
}
