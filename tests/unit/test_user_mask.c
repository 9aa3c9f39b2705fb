/* SPDX-License-Identifier: Apache-2.0 */
/* Masks of the user's: drawn ones, with counted pixels. */
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/mem.h"
#include "slidewise/grid.h"
#include "slidewise/tissue.h"
#include "test.h"
#include "tissue/own_contours.h"

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

/* A picture of discs, some of them holes and some islands in these. */
static void draw_discs(sw_image *image, uint32_t seed)
{
    static const uint8_t tissue[3] = {200, 90, 160}, glass[3] = {255, 255, 255};
    for (int i = 0; i < 27; i++) {
        uint32_t h = seed = seed * 1664525u + 1013904223u;
        int64_t cx = (h >> 8) % 150, cy = (h >> 16) % 130, r = i < 6 ? 12 + h % 30 : 1 + (h >> 4) % 11;
        if (i >= 24) cx = 70, cy = 60, r = 46 - 18 * (i - 24); /* a ring with an island in its hole */
        for (int64_t y = cy - r; y <= cy + r; y++) {
            for (int64_t x = cx - r; x <= cx + r; x++) {
                if (x < 0 || y < 0 || x >= image->width || y >= image->height || (x - cx) * (x - cx) + (y - cy) * (y - cy) > r * r) continue;
                memcpy(image->rgb + 3 * (y * image->width + x), i < 6 || i % 3 == 0 || i == 26 ? tissue : glass, 3);
            }
        }
    }
}

/* What is written is read again: rings, holes, their order, and the mask; so are the patches, with every option. */
static void check_read_again(const sw_tissue *t, const sw_slide_info *info, int64_t *n_patches)
{
    sw_error err = {0};
    bool ours = false;
    SW_CLEANUP(sw_tissue_free) sw_tissue again = {0};
    SW_CLEANUP(sw_json_free_ptr) sw_json *root = NULL;
    SW_AUTOFREE char *path = sw_path_join(sw_test_dir(), "written.geojson");
    CHECK_OK(sw_tissue_write_geojson(t, path, &err));
    CHECK_OK(sw_json_read(path, &root, &err));
    CHECK_OK(sw_own_contours(root, info, &again, &ours, &err));
    CHECK(ours && again.n_contours == t->n_contours && again.mask_width == t->mask_width && again.mask_height == t->mask_height);
    CHECK(memcmp(again.mask, t->mask, (size_t)(t->mask_width * t->mask_height)) == 0);
    CHECK(again.fraction == t->fraction && again.scale_x == t->scale_x && again.scale_y == t->scale_y);
    for (int64_t i = 0; i < t->n_contours; i++) {
        const sw_contour *a = &again.contour[i], *b = &t->contour[i];
        CHECK_INT(a->n_holes, b->n_holes);
        for (int h = -1; h < b->n_holes && a->n_holes == b->n_holes; h++) {
            const sw_ring *x = h < 0 ? &a->outer : &a->hole[h], *y = h < 0 ? &b->outer : &b->hole[h];
            CHECK(x->n_points == y->n_points && memcmp(x->xy, y->xy, 2 * sizeof *x->xy * (size_t)x->n_points) == 0);
        }
    }
    SW_CLEANUP(sw_grid_free) sw_grid a = {0};
    SW_CLEANUP(sw_grid_free) sw_grid b = {0};
    sw_grid_options o = sw_grid_options_default();
    o.patch_px = 32;
    o.mpp_um = 0.5;
    o.min_tissue = 0.4;
    CHECK_OK(sw_grid_make_at(t, info->width, info->height, 0.5, &o, &a, &err));
    CHECK_OK(sw_grid_make_at(&again, info->width, info->height, 0.5, &o, &b, &err));
    CHECK(a.n_patches == b.n_patches && memcmp(a.xy, b.xy, 2 * sizeof *a.xy * (size_t)a.n_patches) == 0);
    *n_patches += a.n_patches;
}

TEST(contours_that_were_written_are_read_as_they_were)
{
    sw_error err = {0};
    int64_t n_patches = 0, n_holes = 0, n_islands = 0;
    for (uint32_t seed = 1; seed <= 40; seed++) {
        SW_CLEANUP(sw_image_free) sw_image image = {0};
        SW_CLEANUP(sw_tissue_free) sw_tissue t = {0};
        CHECK_OK(sw_image_new(150, 130, 255, &image, &err));
        draw_discs(&image, seed);
        sw_tissue_options o = sw_tissue_options_default();
        o.close = (int)(seed % 5);
        o.mthresh = 1 + 2 * (int)(seed % 3);
        o.max_n_holes = (int)(seed % 4); /* those that are filled may have islands, which lie in a contour then */
        o.a_t = o.a_h = 0.001;
        sw_slide_info info = {.slide_id = "drawn", .width = 150 * (1 + seed % 9) + 149 * (seed % 2), .height = 130 * (1 + seed % 9) + 7 * (seed % 3)};
        double scale_x = (double)info.width / 150, scale_y = (double)info.height / 130;
        CHECK_OK(sw_tissue_segment_image(&image, "drawn", scale_x, scale_y, &o, &t, &err));
        t.width = info.width; /* of a picture it is rounded */
        t.height = info.height;
        for (int64_t i = 0; i < t.n_contours; i++) {
            n_holes += t.contour[i].n_holes;
            for (int64_t k = 0; k < t.n_contours; k++) n_islands += sw_ring_side(&t.contour[k].outer, t.contour[i].outer.xy[0], t.contour[i].outer.xy[1]) > 0;
        }
        check_read_again(&t, &info, &n_patches);
    }
    CHECK(n_patches > 10000 && n_holes > 20 && n_islands > 3);
}

/* Moved, of another slide, or without the member: then the polygons are drawn. */
TEST(contours_that_were_changed_are_not_taken_for_written_ones)
{
    static const struct { const char *member, *ring; bool ours; } cases[] = {
        {"50,\"mask_height\":40,\"slide_width\":100,\"slide_height\":80", "[20,20],[20,40],[60,40],[60,20],[20,20]", true},
        {"50,\"mask_height\":40,\"slide_width\":100,\"slide_height\":80", "[20,20],[20,40],[61,40],[60,20],[20,20]", false},
        {"50,\"mask_height\":40,\"slide_width\":100,\"slide_height\":80", "[20,20],[20,40],[60,44],[60,20],[20,20]", false},
        {"50,\"mask_height\":40,\"slide_width\":100,\"slide_height\":80", "[20,20],[20,40],[100,40],[100,20],[20,20]", false},
        {"50,\"mask_height\":40,\"slide_width\":100,\"slide_height\":80", "[20,20],[20,40],[60,40],[20,20.5]", false},
        {"50,\"mask_height\":40,\"slide_width\":100,\"slide_height\":82", "[20,20],[20,40],[60,40],[60,20],[20,20]", false},
        {"0,\"mask_height\":40,\"slide_width\":100,\"slide_height\":80", "[20,20],[20,40],[60,40],[60,20],[20,20]", false},
        {"500,\"mask_height\":40,\"slide_width\":100,\"slide_height\":80", "[20,20],[20,40],[60,40],[60,20],[20,20]", false},
    };
    sw_error err = {0};
    SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
    open_slide(&slide);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        SW_CLEANUP(sw_tissue_free) sw_tissue t = {0};
        SW_AUTOFREE char *text = sw_asprintf("{\"slidewise\":{\"mask_width\":%s},\"features\":[{\"geometry\":{\"type\":\"Polygon\","
                                             "\"coordinates\":[[%s]]},\"properties\":{\"classification\":\"Tissue\"}}]}", cases[i].member, cases[i].ring);
        sw_mask_options o;
        mask_at(&o, "own.geojson", text);
        CHECK_OK(sw_tissue_apply_mask(&t, slide, &o, &err));
        CHECK(t.n_contours == 1 && t.mask_width == (cases[i].ours ? 50 : 100));
        if (cases[i].ours) CHECK_INT(kept(&t), 21 * 11); /* with its edge */
        sw_tissue_free(&t);
        snprintf(o.exclude, sizeof o.exclude, "Other");
        CHECK_OK(sw_tissue_apply_mask(&t, slide, &o, &err));
        CHECK_INT(t.mask_width, cases[i].ours ? 50 : 100);
        snprintf(o.exclude, sizeof o.exclude, "Tissue"); /* what is taken out is drawn, and nothing is left */
        CHECK_INT(sw_tissue_apply_mask(&t, slide, &o, &err), SW_E_INVALID);
    }
}

/* Cut to the mask that it was itself, the tissue stays as it is. */
TEST(within_its_own_contours_nothing_is_lost)
{
    sw_error err = {0};
    SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
    open_slide(&slide);
    SW_CLEANUP(sw_tissue_free) sw_tissue t = {0};
    sw_mask_options o;
    mask_at(&o, "a.geojson", drawn);
    CHECK_OK(sw_tissue_apply_mask(&t, slide, &o, &err));
    int64_t before = kept(&t);
    mask_at(&o, "itself.geojson", NULL);
    CHECK_OK(sw_tissue_write_geojson(&t, o.path, &err));
    o.mode = SW_MASK_WITHIN;
    CHECK_OK(sw_tissue_apply_mask(&t, slide, &o, &err));
    CHECK(kept(&t) == before && t.n_contours == 3);
}
