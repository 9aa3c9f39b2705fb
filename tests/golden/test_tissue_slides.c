/* SPDX-License-Identifier: Apache-2.0 */
/* CLAM's patches of every real slide at hand, as OpenCV finds them (make_tissue.py slides wrote tissue_slides.csv). */
#include <stdlib.h>
#include <string.h>

#include "base/csv.h"
#include "base/fs.h"
#include "base/mem.h"
#include "slidewise/grid.h"
#include "test.h"

enum { SIDE = 256 };

typedef struct places {
    int64_t *xy;
    int64_t n;
} places;

static void places_free(places *p)
{
    sw_free(p->xy);
}

/* "x:y,y;x:y" */
static bool read_places(const char *text, int64_t n, places *out)
{
    int64_t x = 0;
    out->xy = sw_calloc((size_t)n * 2 + 1, sizeof *out->xy);
    if (!out->xy) return false;
    for (char *end = NULL; *text; text = *end ? end + 1 : end) {
        int64_t value = strtoll(text, &end, 10);
        if (end == text) return false;
        if (*end == ':') {
            x = value;
            continue;
        }
        if (out->n == n) return false;
        out->xy[2 * out->n] = x;
        out->xy[2 * out->n++ + 1] = value;
    }
    return out->n == n;
}

static int by_place(const void *a, const void *b)
{
    const int64_t *p = a, *q = b;
    if (p[0] != q[0]) return p[0] < q[0] ? -1 : 1;
    return (p[1] > q[1]) - (p[1] < q[1]);
}

/* Sorts both and tells what share of their union is in both (1 for two empty sets). */
static double intersection_over_union(int64_t *a, int64_t n_a, int64_t *b, int64_t n_b)
{
    int64_t i = 0, j = 0, both = 0;
    if (n_a > 0) qsort(a, (size_t)n_a, 2 * sizeof *a, by_place);
    if (n_b > 0) qsort(b, (size_t)n_b, 2 * sizeof *b, by_place);
    while (i < n_a && j < n_b) {
        int order = by_place(a + 2 * i, b + 2 * j);
        both += order == 0;
        i += order <= 0;
        j += order >= 0;
    }
    return n_a + n_b == 0 ? 1 : (double)both / (double)(n_a + n_b - both);
}

typedef struct row {
    const sw_csv *csv;
    size_t at;
} row;

static const char *text_of(const row *r, const char *column)
{
    return sw_csv_cell(r->csv, r->at, (size_t)sw_csv_find(r->csv, column));
}

static int64_t number_of(const row *r, const char *column)
{
    return strtoll(text_of(r, column), NULL, 10);
}

/* *same: also the order is CLAM's. */
static void compare(const row *r, sw_slide *slide, double *overlap, bool *same)
{
    sw_error err = {0};
    SW_CLEANUP(places_free) places want = {0};
    SW_CLEANUP(sw_tissue_free) sw_tissue tissue = {0};
    SW_CLEANUP(sw_grid_free) sw_grid grid = {0};
    sw_tissue_options o;
    sw_grid_options g = sw_grid_options_default();
    const sw_slide_info *info = sw_slide_get_info(slide);
    CHECK(read_places(text_of(r, "positions"), number_of(r, "patches"), &want));
    CHECK_OK(sw_tissue_options_preset(text_of(r, "preset"), &o, &err));
    o.otsu = number_of(r, "otsu") != 0;
    CHECK_OK(sw_contour_rule_parse(text_of(r, "rule"), &g.contour_rule, &err));
    g.use_padding = number_of(r, "padding") != 0;
    g.patch_px = SIDE;
    g.mpp_um = 1;
    CHECK_OK(sw_tissue_segment(slide, &o, &tissue, &err));
    CHECK_INT(tissue.seg_level, number_of(r, "seg_level"));
    CHECK_OK(sw_grid_make_at(&tissue, info->width, info->height, 1, &g, &grid, &err));
    *same = tissue.n_contours == number_of(r, "contours") && grid.n_patches == want.n &&
            (want.n == 0 || memcmp(grid.xy, want.xy, (size_t)want.n * 16) == 0);
    *overlap = intersection_over_union(grid.xy, grid.n_patches, want.xy, want.n);
}

TEST(the_patches_of_every_slide_are_those_of_clam)
{
    if (!sw_test_data()) SKIP("no shared/data beside the checkout");
    sw_error err = {0};
    SW_CLEANUP(sw_csv_free_ptr) sw_csv *csv = NULL;
    SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
    SW_AUTOFREE char *table = sw_asprintf("%s/golden/tissue_slides.csv", sw_test_source());
    size_t n_same = 0, n_slides = 0;
    double least = 1;
    CHECK_OK(sw_csv_read(table, true, &csv, &err));
    size_t n = sw_csv_rows(csv);
    for (size_t i = 0; i < n; i++) {
        row r = {csv, i}, before = {csv, i - 1};
        bool same = false;
        double overlap = 0;
        if (i == 0 || strcmp(text_of(&r, "slide"), text_of(&before, "slide")) != 0) {
            SW_AUTOFREE char *path = sw_asprintf("%s/%s", sw_test_data(), text_of(&r, "slide"));
            sw_slide_close(&slide);
            CHECK_OK(sw_slide_open(path, NULL, &slide, &err));
            n_slides++;
        }
        compare(&r, slide, &overlap, &same);
        if (overlap < 0.99) {
            sw_test_fail(__FILE__, __LINE__, "%s, %s, %s: intersection over union %.4f", text_of(&r, "slide"), text_of(&r, "preset"),
                         text_of(&r, "rule"), overlap);
        }
        least = overlap < least ? overlap : least;
        n_same += same;
    }
    printf("# %zu slides, %zu settings: %zu with the same positions in the same order, least intersection over union %.4f\n", n_slides, n, n_same,
           least);
    CHECK(n_slides >= 45);
}

/* A slide that is put beside the others must be compared, too. */
TEST(no_slide_at_hand_is_missing_from_the_table)
{
    if (!sw_test_data()) SKIP("no shared/data beside the checkout");
    static const char *const folders[] = {"slides", "atlas-mini/slides"};
    sw_error err = {0};
    SW_CLEANUP(sw_buf_free) sw_buf text = {0};
    SW_AUTOFREE char *table = sw_asprintf("%s/golden/tissue_slides.csv", sw_test_source());
    CHECK_OK(sw_file_read(table, &text, &err));
    for (int f = 0; f < 2; f++) {
        SW_CLEANUP(sw_names_free) sw_names names = {0};
        SW_AUTOFREE char *dir = sw_asprintf("%s/%s", sw_test_data(), folders[f]);
        CHECK_OK(sw_dir_list(dir, false, &names, &err));
        for (size_t i = 0; i < names.count; i++) {
            SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
            SW_AUTOFREE char *path = sw_path_join(dir, names.name[i]);
            SW_AUTOFREE char *begin = sw_asprintf("\n%s/%s,", folders[f], names.name[i]);
            /* DICOM opens with OpenSlide 4 only; plain pictures not at all in what wrote the table */
            if (sw_path_has_ext(path, "dcm") || sw_slide_open(path, NULL, &slide, &err) != SW_OK) continue;
            if (strcmp(sw_slide_get_info(slide)->format, "tiff") == 0) continue;
            if (!strstr(text.data, begin)) sw_test_fail(__FILE__, __LINE__, "%s/%s: run make_tissue.py slides", folders[f], names.name[i]);
        }
    }
}
