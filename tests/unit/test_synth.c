/* SPDX-License-Identifier: Apache-2.0 */
/* Synthetic slides: the same bytes from the same seed, readable slides, foci in positive slides only. */
#include <math.h>
#include <stdlib.h>

#include "base/csv.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/mem.h"
#include "slide/synth.h"
#include "slidewise/slide.h"
#include "test.h"

static sw_synth_options small(uint64_t seed, int threads)
{
    sw_synth_options o = sw_synth_options_default();
    o.n_slides = 4;
    o.size_px = 1000; /* not a multiple of the tile */
    o.seed = seed;
    o.threads = threads;
    return o;
}

static uint64_t hash_of(const char *dir, const char *name)
{
    sw_error err = {0};
    SW_CLEANUP(sw_buf_free) sw_buf bytes = {0};
    SW_AUTOFREE char *path = sw_path_join(dir, name);
    if (sw_file_read(path, &bytes, &err) != SW_OK) return 0;
    return sw_hash64(bytes.data, bytes.size);
}

static sw_status make(const char *dir, const sw_synth_options *o, sw_csv **labels, sw_error *err)
{
    SW_AUTOFREE char *path = sw_asprintf("%s/labels.csv", dir);
    SW_TRY(sw_synth_write(dir, o, err));
    return sw_csv_read(path, true, labels, err);
}

TEST(the_same_seed_gives_the_same_bytes)
{
    sw_error err = {0};
    SW_CLEANUP(sw_csv_free_ptr) sw_csv *first = NULL, *second = NULL, *other = NULL;
    SW_AUTOFREE char *a = sw_path_join(sw_test_dir(), "a"), *b = sw_path_join(sw_test_dir(), "b"), *c = sw_path_join(sw_test_dir(), "c");
    sw_synth_options one = small(7, 1), three = small(7, 3), eight = small(8, 3);
    CHECK_OK(make(a, &one, &first, &err));
    CHECK_OK(make(b, &three, &second, &err));
    CHECK_OK(make(c, &eight, &other, &err));
    CHECK_INT(sw_csv_rows(first), 4);
    CHECK(hash_of(a, "labels.csv") == hash_of(b, "labels.csv"));
    for (size_t i = 0; i < 4; i++) {
        char slide[128], foci[128];
        snprintf(slide, sizeof slide, "slides/%s.tif", sw_csv_cell(first, i, 1));
        snprintf(foci, sizeof foci, "foci/%s.geojson", sw_csv_cell(first, i, 1));
        CHECK(hash_of(a, slide) != 0 && hash_of(a, slide) == hash_of(b, slide));
        CHECK(hash_of(a, foci) != 0 && hash_of(a, foci) == hash_of(b, foci));
        CHECK(hash_of(a, slide) != hash_of(c, slide));
    }
}

TEST(slides_open_and_know_their_resolution)
{
    sw_error err = {0};
    SW_CLEANUP(sw_csv_free_ptr) sw_csv *labels = NULL;
    SW_AUTOFREE char *dir = sw_path_join(sw_test_dir(), "open");
    sw_synth_options o = small(3, 0);
    o.mpp_um = 0.8;
    CHECK_OK(make(dir, &o, &labels, &err));
    for (size_t i = 0; i < 4; i++) {
        SW_AUTOFREE char *path = sw_asprintf("%s/slides/%s.tif", dir, sw_csv_cell(labels, i, 1));
        SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
        CHECK_OK(sw_slide_open(path, NULL, &slide, &err));
        const sw_slide_info *info = sw_slide_get_info(slide);
        CHECK_STR(info->format, "generic-tiff");
        CHECK_INT(info->width, 1000);
        CHECK_INT(info->n_levels, 3);
        CHECK_INT(info->level[2].width, 250);
        CHECK_NEAR(info->mpp_um, 0.8, 1e-6, 0);
        SW_CLEANUP(sw_image_free) sw_image drawn = {0}, read = {0};
        CHECK_OK(sw_synth_render(&o, (int)i, 300, 480, 200, 100, &drawn, &err));
        CHECK_OK(sw_image_new(200, 100, 0, &read, &err));
        CHECK_OK(sw_slide_read(slide, 0, 300, 480, 200, 100, read.rgb, &err));
        double off = 0.0;
        for (int k = 0; k < 200 * 100 * 3; k++) off += abs((int)drawn.rgb[k] - (int)read.rgb[k]);
        CHECK(off / (200 * 100 * 3) < 8.0); /* JPEG */
    }
}

TEST(foci_are_in_positive_slides_only)
{
    sw_error err = {0};
    SW_CLEANUP(sw_csv_free_ptr) sw_csv *labels = NULL;
    SW_AUTOFREE char *dir = sw_path_join(sw_test_dir(), "foci");
    sw_synth_options o = small(11, 0);
    o.n_slides = 8;
    o.size_px = 512;
    CHECK_OK(make(dir, &o, &labels, &err));
    int positive = 0;
    for (size_t i = 0; i < 8; i++) {
        SW_AUTOFREE char *path = sw_asprintf("%s/foci/%s.geojson", dir, sw_csv_cell(labels, i, 1));
        SW_CLEANUP(sw_json_free_ptr) sw_json *json = NULL;
        CHECK_OK(sw_json_read(path, &json, &err));
        CHECK_STR(sw_json_text(sw_json_get(json, "type"), ""), "FeatureCollection");
        size_t n = sw_json_count(sw_json_get(json, "features"));
        bool tumor = strcmp(sw_csv_cell(labels, i, 2), "tumor") == 0;
        positive += tumor;
        if (!tumor) CHECK_INT(n, 0);
        else CHECK(n >= 2 && n <= 5);
    }
    CHECK_INT(positive, 4);
}

/* Foci take their share of the tissue, lie in it, and are darker than what surrounds them. */
TEST(foci_have_the_size_that_is_said)
{
    sw_error err = {0};
    sw_synth_options o = sw_synth_options_default();
    sw_synth_slide plan[40];
    CHECK_OK(sw_synth_plan(&o, plan, &err));
    int with_two_slides = 0;
    for (int i = 1; i < 40; i++) with_two_slides += strcmp(plan[i].case_id, plan[i - 1].case_id) == 0;
    CHECK(with_two_slides >= 4);
    for (int i = 0; i < 40; i++) {
        SW_CLEANUP(sw_scene_free) sw_scene *scene = NULL;
        CHECK_OK(sw_scene_new(&o, &plan[i], i, &scene, &err));
        if (!plan[i].tumor) {
            CHECK_INT(scene->n_foci, 0);
            continue;
        }
        int tissue = 0, focus = 0, glass = 0;
        for (int k = 0; k < 128 * 128; k++) {
            float x = ((float)(k % 128) + 0.5f) * scene->side_um / 128, y = ((float)(k / 128) + 0.5f) * scene->side_um / 128;
            bool in = false;
            for (int f = 0; f < scene->n_foci; f++) in = in || sw_blob_depth(&scene->focus[f], x, y) < 1.0f;
            bool is_tissue = sw_scene_tissue(scene, x, y) > 0.0f;
            tissue += is_tissue;
            focus += in && is_tissue;
            glass += in && !is_tissue;
        }
        double share = (double)focus / tissue;
        CHECK(share > 0.03 && share < 0.12);
        CHECK(glass <= focus / 5);
    }
}

/* Each focus takes its share of the time; without noise nothing else does, but for when a case was last seen. */
TEST(foci_decide_the_time)
{
    sw_synth_options o = small(3, 1);
    double months[2], usual;
    bool event[2];
    int observed = 0, later = 0;
    CHECK(o.effect == 0.45 && o.noise == 1);
    o.noise = 0;
    o.effect = 0.7;
    for (uint32_t patient = 0; patient < 200; patient++) {
        for (int k = 0; k < 2; k++) sw_synth_outcome(&o, patient, 2 + 2 * k, &months[k], &event[k]);
        for (int k = 0; k < 2; k++) {
            double due = 72 * exp(-0.7 * (2 + 2 * k));
            observed += event[k];
            CHECK(event[k] ? fabs(months[k] - 0.1 - due) <= 0.0501 : months[k] <= due + 0.1501);
        }
    }
    CHECK(observed > 250 && observed < 400); /* the others were last seen before */
    /* The usual times are those they were before there were options. */
    o = small(3, 1);
    sw_synth_outcome(&o, 0, 0, &usual, &event[0]);
    CHECK(usual == 9.2 && !event[0]);
    for (uint32_t patient = 0; patient < 200; patient++) {
        for (int k = 0; k < 2; k++) sw_synth_outcome(&o, patient, 6 * k, &months[k], &event[k]);
        later += months[0] >= months[1];
    }
    CHECK_INT(later, 200); /* the same chance for both: more foci, never later */
}

TEST(options_out_of_range)
{
    sw_error err = {0};
    sw_image image;
    sw_synth_options o = small(1, 0);
    o.n_slides = 0;
    CHECK_INT(sw_synth_write(sw_test_dir(), &o, &err), SW_E_INVALID);
    CHECK_STR(err.message, "0 slides cannot be made: ask for 1 to 9999");
    o = small(1, 0);
    o.size_px = 100;
    CHECK_INT(sw_synth_write(sw_test_dir(), &o, &err), SW_E_INVALID);
    CHECK_STR(err.message, "slides of 100 pixels cannot be made: ask for 512 to 32768");
    o = small(1, 0);
    o.mpp_um = 0.0 / 0.0;
    CHECK_INT(sw_synth_write(sw_test_dir(), &o, &err), SW_E_INVALID);
    o = small(1, 0);
    o.effect = -1;
    CHECK_INT(sw_synth_write(sw_test_dir(), &o, &err), SW_E_INVALID);
    CHECK_STR(err.message, "times with the effect -1 and the noise 1 cannot be made: ask for 0 to 10 and 0 to 4");
    o = small(1, 0);
    o.noise = 5;
    CHECK_INT(sw_synth_write(sw_test_dir(), &o, &err), SW_E_INVALID);
    o = small(1, 0);
    CHECK_INT(sw_synth_render(&o, 4, 0, 0, 10, 10, &image, &err), SW_E_INVALID);
    CHECK_STR(err.message, "slide 4 of 4 has no rectangle of 10 x 10 pixels at (0, 0)");
}

TEST(an_unwritable_place)
{
    sw_error err = {0};
    char expected[1200];
    SW_AUTOFREE char *file = sw_path_join(sw_test_dir(), "a-file"), *out = sw_asprintf("%s/a-file/out", sw_test_dir());
    sw_synth_options o = small(1, 0);
    CHECK_OK(sw_file_write(file, "x", 1, &err));
    CHECK(sw_synth_write(out, &o, &err) != SW_OK);
    snprintf(expected, sizeof expected, "cannot create the folder %s/slides: %s is a file, not a folder", out, file);
    CHECK_STR(err.message, expected);
}
