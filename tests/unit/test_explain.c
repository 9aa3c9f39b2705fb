/* SPDX-License-Identifier: Apache-2.0 */
/* Heat, colours, foci, GeoJSON and CSV; pictures of a small slide. */
#include "test.h"

#include <stdlib.h>

#include "base/csv.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/mem.h"
#include "explain/explain.h"
#include "explain/utf8.h"
#include "slidewise/image.h"
#include "slidewise/predict.h"
#include "slidewise/slide.h"

/* fontconfig keeps its caches until the process ends; the leak checker of an address-sanitized build must know. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libfontconfig";
}

static const int64_t XY[] = {0, 0, 100, 0, 0, 100, 100, 100};
static const float ATTENTION[] = {.1f, .2f, .3f, .4f, 1, 1, 1, 1};

static sw_attention_map small_map(void)
{
    return (sw_attention_map){.slide_id = "s", .n_patches = 4, .n_heads = 2, .xy = XY, .patch_level0_px = 100,
                              .mpp_um = 1, .patch_px = 50, .attention = ATTENTION};
}

static const char *scratch(const char *name)
{
    static char path[4][1100];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s", sw_test_dir(), name);
    return path[turn];
}

TEST(heads_are_normalised_and_averaged)
{
    sw_attention_map map = small_map();
    double a[4];
    sw_error err;
    CHECK_OK(sw_attention_of_head(&map, SW_HEAD_MEAN, a, &err));
    CHECK_NEAR(a[0], (.1 + .25) / 2, 1e-7, 0);
    CHECK_NEAR(a[3], (.4 + .25) / 2, 1e-7, 0);
    CHECK_OK(sw_attention_of_head(&map, 1, a, &err));
    CHECK_NEAR(a[2], .25, 1e-12, 0);
    CHECK_INT(sw_attention_of_head(&map, 2, a, &err), SW_E_INVALID);
    CHECK_STR(err.message, "slide \"s\": head 2 does not exist; the model has heads 0 to 1");
}

TEST(scaling)
{
    const double v[] = {5, 1, 5, 3, 2}, same[] = {2, 2};
    double out[5];
    sw_error err;
    CHECK_OK(sw_heat_scaled(v, 5, SW_HEAT_RANK, out, &err));
    CHECK_NEAR(out[0], .875, 1e-12, 0); /* ties share places 0 and 1 */
    CHECK_NEAR(out[2], .875, 1e-12, 0);
    CHECK_NEAR(out[3], .5, 1e-12, 0);
    CHECK_NEAR(out[1], 0, 0, 1e-12);
    CHECK_OK(sw_heat_scaled(v, 5, SW_HEAT_MIN_MAX, out, &err));
    CHECK_NEAR(out[3], .5, 1e-12, 0);
    CHECK_NEAR(out[0], 1, 1e-12, 0);
    CHECK_OK(sw_heat_scaled(same, 2, SW_HEAT_RANK, out, &err));
    CHECK_NEAR(out[0] + out[1], 1, 1e-12, 0);
}

/* Oklab lightness of an sRGB colour, by the formula's other direction. */
static double lightness(const uint8_t rgb[3])
{
    double v[3];
    for (int c = 0; c < 3; c++) {
        double s = rgb[c] / 255.0;
        v[c] = s <= 0.04045 ? s / 12.92 : pow((s + 0.055) / 1.055, 2.4);
    }
    return 0.2104542553 * cbrt(0.4122214708 * v[0] + 0.5363325363 * v[1] + 0.0514459929 * v[2]) +
           0.7936177850 * cbrt(0.2119034982 * v[0] + 0.6806995451 * v[1] + 0.1073969566 * v[2]) -
           0.0040720468 * cbrt(0.0883024619 * v[0] + 0.2817188376 * v[1] + 0.6299787005 * v[2]);
}

TEST(colours_get_lighter_evenly)
{
    for (int i = 0; i <= 20; i++) {
        uint8_t rgb[3];
        sw_heat_color(i / 20.0, rgb);
        CHECK_NEAR(lightness(rgb), 0.27 + 0.66 * i / 20, 0, 0.006);
    }
    uint8_t low[3], nan[3];
    sw_heat_color(-1, low);
    sw_heat_color(NAN, nan);
    CHECK(memcmp(low, nan, 3) == 0);
}

TEST(raster_averages_overlaps)
{
    const int64_t xy[] = {0, 0, 50, 0, 300, 300};
    sw_attention_map map = small_map();
    const double heat[] = {0, 1, .5};
    float out[16];
    sw_error err;
    map.n_patches = 3;
    map.xy = xy;
    CHECK_OK(sw_heat_raster(&map, heat, 0, 0, 50, 4, 4, out, &err)); /* pixels of 50, patches of 100 */
    CHECK_NEAR(out[0], 0, 0, 1e-6);
    CHECK_NEAR(out[1], .5, 0, 1e-6);
    CHECK_NEAR(out[2], 1, 0, 1e-6);
    CHECK(isnan(out[3]) && isnan(out[8]) && isnan(out[15])); /* the third lies outside */
    CHECK_OK(sw_heat_raster(&map, heat, 0, 0, 1000, 1, 1, out, &err)); /* patches smaller than a pixel still count */
    CHECK_NEAR(out[0], .5, 0, 1e-6);
}

TEST(blend)
{
    const float heat[] = {NAN, 1};
    uint8_t rgb[] = {10, 20, 30, 100, 100, 100}, top[3];
    sw_heat_color(1, top);
    sw_heat_blend(heat, 2, 0.5, rgb);
    CHECK_INT(rgb[0], 10);
    CHECK_INT(rgb[2], 30);
    for (int c = 0; c < 3; c++) CHECK(abs(rgb[3 + c] - (100 + top[c]) / 2) <= 1);
}

static const char *const RING =
    "{\"type\":\"FeatureCollection\",\"features\":[{\"type\":\"Feature\",\"geometry\":{\"type\":\"Polygon\",\"coordinates\":"
    "[[[0,0],[100,0],[100,100],[0,100],[0,0]],[[25,25],[75,25],[75,75],[25,75],[25,25]]]},\"properties\":{}},"
    "{\"type\":\"Feature\",\"geometry\":{\"type\":\"MultiPolygon\",\"coordinates\":[[[[110,110],[120,110],[120,120],[110,110]]]]}},"
    "{\"type\":\"Feature\",\"geometry\":null}]}";

static sw_status read_foci(const char *text, sw_foci **out, sw_error *err)
{
    const char *path = scratch("foci.geojson");
    SW_TRY(sw_file_write(path, text, strlen(text), err));
    return sw_foci_read(path, out, err);
}

TEST(foci_geometry)
{
    sw_foci *foci = NULL;
    sw_error err;
    CHECK_OK(read_foci(RING, &foci, &err));
    int64_t n = sw_foci_count(foci);
    bool in_ring = sw_foci_contains(foci, 10, 50), in_hole = sw_foci_contains(foci, 50, 50);
    bool in_triangle = sw_foci_contains(foci, 118, 112), outside = sw_foci_contains(foci, 105, 50);
    double whole = sw_foci_overlap(foci, 0, 0, 100), none = sw_foci_overlap(foci, 200, 200, 50);
    sw_foci_free(foci);
    CHECK_INT(n, 2);
    CHECK(in_ring && !in_hole && in_triangle && !outside);
    CHECK_NEAR(whole, .75, 1e-12, 0);
    CHECK_NEAR(none, 0, 0, 0);
}

static const char *foci_complaint(const char *text)
{
    static char message[1100];
    sw_foci *foci = NULL;
    sw_error err = {0};
    if (read_foci(text, &foci, &err) == SW_OK) {
        sw_foci_free(foci);
        return "no error";
    }
    const char *name = strstr(err.message, "foci.geojson");
    snprintf(message, sizeof message, "%s", name ? name : err.message);
    return message;
}

TEST(bad_foci_are_refused)
{
    CHECK_STR(foci_complaint("[]"), "no error");
    CHECK_STR(foci_complaint("{\"type\":\"Point\",\"coordinates\":[1,2]}"),
              "foci.geojson: geometry type \"Point\"; foci are Polygon or MultiPolygon");
    CHECK_STR(foci_complaint("{\"type\":\"Polygon\",\"coordinates\":[[[0,0],[1,1],[0,0]]]}"),
              "foci.geojson: a polygon's ring has 3 points; a closed ring has 4 or more");
    CHECK_STR(foci_complaint("{\"type\":\"Polygon\",\"coordinates\":[[[0,0],[1,\"x\"],[1,1],[0,0]]]}"),
              "foci.geojson: point 1 of a polygon's ring is not two numbers");
    CHECK_STR(foci_complaint("{\"type\":\"Polygon\",\"coordinates\":[]}"), "foci.geojson: a polygon has no ring");
    CHECK_STR(foci_complaint("{\"type\":\"FeatureCollection\"}"), "foci.geojson: a collection has no list of members");
}

TEST(focus_score)
{
    /* The focus covers the centre of patch 3 and a quarter of patch 2. */
    const char *text = "{\"type\":\"Polygon\",\"coordinates\":[[[75,100],[160,100],[160,200],[75,200],[75,100]]]}";
    sw_attention_map map = small_map();
    sw_focus_score s;
    sw_foci *foci = NULL;
    sw_error err;
    CHECK_OK(read_foci(text, &foci, &err));
    sw_status status = sw_focus_score_of(foci, &map, SW_HEAD_MEAN, 1, &s, &err);
    sw_foci_free(foci);
    CHECK_INT(status, SW_OK);
    CHECK_INT(s.n_positive, 2);
    CHECK_INT(s.n_foci, 1);
    CHECK_INT(s.n_found, 1);
    CHECK_NEAR(s.auc, 1, 1e-12, 0);
    CHECK_NEAR(s.top_hits, 1, 1e-12, 0);
    CHECK_NEAR(s.top_expected, .5, 1e-12, 0);
}

TEST(focus_score_without_foci)
{
    sw_attention_map map = small_map();
    sw_focus_score s;
    sw_foci *foci = NULL;
    sw_error err;
    CHECK_OK(read_foci("[]", &foci, &err));
    sw_status status = sw_focus_score_of(foci, &map, 0, 16, &s, &err);
    sw_foci_free(foci);
    CHECK_INT(status, SW_OK);
    CHECK(isnan(s.auc));
    CHECK_INT(s.top, 4);
    CHECK_NEAR(s.top_hits, 0, 0, 0);
}

TEST(geojson_for_qupath)
{
    SW_CLEANUP(sw_json_free_ptr) sw_json *root = NULL;
    sw_attention_map map = small_map();
    sw_explain_options opt = sw_explain_options_default();
    const char *path = scratch("tiles.geojson");
    sw_error err;
    opt.per_head = true;
    CHECK_OK(sw_heatmap_geojson(&map, &opt, path, &err));
    CHECK_OK(sw_json_read(path, &root, &err));
    CHECK_STR(sw_json_text(sw_json_get(root, "type"), ""), "FeatureCollection");
    const sw_json *features = sw_json_get(root, "features"), *f = sw_json_at(features, 1);
    const sw_json *m = sw_json_get(sw_json_get(f, "properties"), "measurements");
    const sw_json *ring = sw_json_at(sw_json_get(sw_json_get(f, "geometry"), "coordinates"), 0);
    CHECK_INT(sw_json_count(features), 4);
    CHECK_STR(sw_json_text(sw_json_get(sw_json_get(f, "properties"), "objectType"), ""), "tile");
    CHECK_INT(strlen(sw_json_text(sw_json_get(f, "id"), "")), 36);
    CHECK(strcmp(sw_json_text(sw_json_get(f, "id"), ""), sw_json_text(sw_json_get(sw_json_at(features, 2), "id"), "")) != 0);
    CHECK_NEAR(sw_json_real(sw_json_get(m, "attention"), 0), 4 * (.2 + .25) / 2, 1e-6, 0);
    CHECK_INT(sw_json_integer(sw_json_get(m, "rank"), 0), 3);
    CHECK_NEAR(sw_json_real(sw_json_get(m, "percentile"), 0), 1.0 / 3, 1e-5, 0);
    CHECK_NEAR(sw_json_real(sw_json_get(m, "attention head 0"), 0), .8, 1e-6, 0);
    CHECK_INT(sw_json_count(ring), 5);
    CHECK_NEAR(sw_json_real(sw_json_at(sw_json_at(ring, 2), 0), 0), 200, 0, 0);
    CHECK_NEAR(sw_json_real(sw_json_at(sw_json_at(ring, 4), 0), 0), 100, 0, 0);
}

TEST(csv_of_patches)
{
    SW_CLEANUP(sw_buf_free) sw_buf text = {0};
    SW_CLEANUP(sw_csv_free_ptr) sw_csv *csv = NULL;
    sw_attention_map map = small_map();
    sw_explain_options opt = sw_explain_options_default();
    const float contribution[] = {1, 2, 3, 4, -1, -2, -3, -4};
    const char *const names[] = {"no", "yes, sure"};
    const char *path = scratch("patches.csv");
    sw_error err;
    opt.head = 0;
    opt.per_head = true;
    map.n_classes = 2;
    map.class_name = names;
    map.contribution = contribution;
    CHECK_OK(sw_heatmap_csv(&map, &opt, path, &err));
    CHECK_OK(sw_file_read(path, &text, &err));
    const char *head = "rank,level0_x,level0_y,level0_size,attention,attention_head0,attention_head1,logit_no,"
                       "\"logit_yes, sure\"\n4,0,0,100,0.";
    CHECK(strncmp(text.data, head, strlen(head)) == 0);
    CHECK(strstr(text.data, ",0.25,4,-4\n") != NULL);
    CHECK_OK(sw_csv_read(path, true, &csv, &err));
    CHECK_INT(sw_csv_rows(csv), 4);
    for (size_t i = 0; i < 4; i++) {
        double value = NAN;
        CHECK(sw_parse_double(sw_csv_cell(csv, i, 4), &value));
        CHECK_NEAR(value, 0.1 * (double)(i + 1), 1e-6, 0);
    }
}

TEST(map_needs_attention)
{
    sw_slide_prediction p = {.slide_id = "x"};
    sw_attention_map map;
    sw_error err;
    CHECK_INT(sw_attention_map_of(&p, &map, &err), SW_E_INVALID);
    CHECK_STR(err.message, "slide \"x\": the model gives no attention, so there is no heatmap; train with aggregator abmilx or "
                           "abmil");
}

TEST(utf8_sequences)
{
    CHECK_INT(sw_utf8_sequence((const unsigned char *)"a"), 1);
    CHECK_INT(sw_utf8_sequence((const unsigned char *)"\xc3\xa9"), 2);
    CHECK_INT(sw_utf8_sequence((const unsigned char *)"\xf0\x9f\x94\xac"), 4);
    CHECK_INT(sw_utf8_sequence((const unsigned char *)"\xc3"), 0);
    CHECK_INT(sw_utf8_sequence((const unsigned char *)"\xff"), 0);
    CHECK_INT(sw_utf8_sequence((const unsigned char *)"\xc0\x80"), 0);
    CHECK_INT(sw_utf8_sequence((const unsigned char *)"\xed\xa0\x80"), 0);
    CHECK_INT(sw_utf8_sequence((const unsigned char *)"\xf4\x90\x80\x80"), 0);
}

/* A slide of 640 x 480 pixels: pink, with a dark disc of radius 60 at (420, 300). */
static sw_status make_slide(const char *path, sw_error *err)
{
    SW_CLEANUP(sw_image_free) sw_image image = {0};
    SW_TRY(sw_image_new(640, 480, 235, &image, err));
    for (int64_t y = 0; y < 480; y++) {
        for (int64_t x = 0; x < 640; x++) {
            uint8_t *rgb = image.rgb + 3 * (y * 640 + x);
            bool disc = (x - 420) * (x - 420) + (y - 300) * (y - 300) < 3600;
            rgb[0] = disc ? 90 : (uint8_t)(220 + (x * 7 + y * 3) % 20);
            rgb[1] = disc ? 50 : (uint8_t)(150 + (x * 3 + y * 5) % 30);
            rgb[2] = disc ? 130 : 190;
        }
    }
    return sw_image_write(path, &image, err);
}

TEST(all_outputs_of_a_slide)
{
    SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
    SW_CLEANUP(sw_json_free_ptr) sw_json *info = NULL;
    SW_CLEANUP(sw_image_free) sw_image picture = {0};
    enum { N = 12 * 9 };
    int64_t xy[2 * N];
    float attention[2 * N];
    double probability[] = {.25, .75}, logit[] = {0, 1.1};
    const char *const names[] = {"benign", "malignant"};
    const char *focus = "{\"type\":\"Polygon\",\"coordinates\":[[[360,240],[480,240],[480,360],[360,360],[360,240]]]}";
    sw_slide_prediction p = {.slide_id = (char *)"odd/name\xff", .n_classes = 2, .probability = probability, .logit = logit,
                             .predicted = 1, .n_patches = N, .n_heads = 2, .xy = xy, .patch_level0_px = 50, .patch_px = 50,
                             .mpp_um = 0.5, .attention = attention};
    sw_slide_options slide_opt = sw_slide_options_default();
    sw_explain_options opt = sw_explain_options_default();
    sw_focus_score score;
    sw_error err;
    for (int i = 0; i < N; i++) {
        xy[2 * i] = i % 12 * 50;
        xy[2 * i + 1] = i / 12 * 50;
        double dx = (double)xy[2 * i] + 25 - 420, dy = (double)xy[2 * i + 1] + 25 - 300;
        attention[i] = (float)exp(-(dx * dx + dy * dy) / 20000);
        attention[N + i] = (float)exp(-(dx * dx + dy * dy) / 90000);
    }
    CHECK_OK(make_slide(scratch("slide.png"), &err));
    slide_opt.mpp_um = 0.5;
    CHECK_OK(sw_slide_open(scratch("slide.png"), &slide_opt, &slide, &err));
    CHECK_OK(sw_file_write(scratch("truth.geojson"), focus, strlen(focus), &err));
    opt.foci = scratch("truth.geojson");
    CHECK_OK(sw_explain_slide(slide, &p, names, scratch("maps"), &opt, &score, &err));
    CHECK(score.auc > 0.99 && score.n_found == 1);
    CHECK_OK(sw_image_read(scratch("maps/odd_name\xff.png"), &picture, &err));
    CHECK(picture.width > 1280 && picture.height > 480); /* both panels at full resolution */
    sw_image_free(&picture);
    CHECK_OK(sw_image_read(scratch("maps/odd_name\xff_top.png"), &picture, &err));
    CHECK_INT(picture.width, 2 * 24 + 4 * (224 + 14) - 14);
    CHECK(sw_path_exists(scratch("maps/odd_name\xff.csv")) && sw_path_exists(scratch("maps/odd_name\xff.geojson")));
    CHECK_OK(sw_json_read(scratch("maps/odd_name\xff.json"), &info, &err));
    CHECK_STR(sw_json_text(sw_json_get(info, "predicted"), ""), "malignant");
    CHECK_NEAR(sw_json_real(sw_json_get(sw_json_get(info, "probability"), "malignant"), 0), .75, 1e-12, 0);
    CHECK_NEAR(sw_json_real(sw_json_get(sw_json_get(info, "focus"), "auc"), 0), score.auc, 1e-12, 0);
    CHECK(sw_json_real(sw_json_get(sw_json_get(info, "attention"), "gini"), 0) > 0.2);
}

TEST(big_slides_get_small_pictures)
{
    SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
    SW_CLEANUP(sw_image_free) sw_image picture = {0};
    sw_attention_map map = small_map();
    sw_explain_options opt = sw_explain_options_default();
    sw_error err;
    CHECK_OK(make_slide(scratch("slide2.png"), &err));
    CHECK_OK(sw_slide_open(scratch("slide2.png"), NULL, &slide, &err));
    opt.max_pixels = 40000;
    opt.scale = SW_HEAT_MIN_MAX;
    CHECK_OK(sw_heatmap_png(slide, &map, &opt, scratch("small.png"), &err));
    CHECK_OK(sw_image_read(scratch("small.png"), &picture, &err));
    CHECK(picture.width * picture.height < 300000); /* two panels of 20 000, and the words */
    opt.alpha = 1.5;
    CHECK_INT(sw_heatmap_png(slide, &map, &opt, scratch("small.png"), &err), SW_E_INVALID);
    CHECK_STR(err.message, "the opacity of the heat is 1.5, not in [0, 1]");
    opt = sw_explain_options_default();
    opt.top = 401;
    CHECK_INT(sw_heatmap_sheet(slide, &map, &opt, scratch("sheet.png"), &err), SW_E_INVALID);
    CHECK_STR(err.message, "401 top patches; between 1 and 400 fit on a sheet");
}

/* Every allocation fails once: the call says so, leaks nothing, and works afterwards. */
TEST(out_of_memory)
{
    sw_attention_map map = small_map();
    sw_explain_options opt = sw_explain_options_default();
    sw_error err;
    const char *foci_file = scratch("ring.geojson"), *out = scratch("tight.geojson");
    sw_status status = SW_E_NOMEM;
    int64_t live;
    CHECK_OK(sw_file_write(foci_file, RING, strlen(RING), &err));
    live = sw_mem_live();
    opt.per_head = true;
    for (int k = 1; status != SW_OK; k++) {
        sw_foci *foci = NULL;
        sw_focus_score score;
        CHECK(k < 10000);
        sw_mem_fail_after(k);
        status = sw_foci_read(foci_file, &foci, &err);
        if (status == SW_OK) status = sw_focus_score_of(foci, &map, SW_HEAD_MEAN, 2, &score, &err);
        if (status == SW_OK) status = sw_heatmap_geojson(&map, &opt, out, &err);
        if (status == SW_OK) status = sw_heatmap_csv(&map, &opt, out, &err);
        sw_mem_fail_after(0);
        sw_foci_free(foci);
        CHECK_INT(sw_mem_live(), live);
        CHECK(status == SW_OK || status == SW_E_NOMEM);
    }
}
