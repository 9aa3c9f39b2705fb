/* SPDX-License-Identifier: Apache-2.0 */
/* Where patches lie on the grids of their slides: of a store, of a slide, of several, and of a training step. */
#include <stdlib.h>

#include "base/fs.h"
#include "base/mem.h"
#include "batch/batch.h"
#include "dataset/dataset.h"
#include "slidewise/image.h"
#include "test.h"

enum { PX = 32, PATCHES = 6 };
static sw_error err;

/* Steps of 48 pixels: patches overlap by a quarter. */
static const int64_t corner[2][2 * PATCHES] = {{96, 0, 144, 0, 96, 48, 192, 48, 240, 96, 96, 144}, {24, 24, 72, 24, 24, 72, 24, 72, 72, 72, 120, 120}};

static sw_status put_slide(sw_store_writer *w, const char *id, const int64_t *xy, bool known)
{
    static uint8_t rgb[3 * PX * PX];
    sw_store_slide about = {.slide_id = id, .path = "x.svs", .width = 1000, .height = 1000, .mpp_um = 0.5,
                            .mpp_source = "given", .tissue_fraction = 1, .properties_json = "{}", .n_scales = 1};
    about.scale[0] = (sw_store_scale){.mpp_um = 1, .magnification = 10, .patch_px = PX, .overlap_px = PX / 4, .quality = 95,
                                      .patch_level0_px = known ? 64 : 0, .step_level0_px = known ? 48 : 0, .n_patches = PATCHES};
    SW_TRY(sw_store_begin(w, id, &err));
    for (int64_t i = 0; i < PATCHES; i++) {
        uint8_t *jpeg = NULL;
        size_t size = 0;
        SW_TRY(sw_jpeg_encode(rgb, PX, PX, 95, &jpeg, &size, &err));
        sw_status status = sw_store_put(w, 0, i, jpeg, size, &err);
        sw_image_bytes_free(jpeg);
        SW_TRY(status);
    }
    return sw_store_commit(w, &about, &xy, &err);
}

static sw_status make_store(sw_store **out)
{
    const sw_store_setting_pair setting = {"made", "by a test"};
    sw_store_writer *w = NULL;
    char path[300];
    snprintf(path, sizeof path, "%s/places", sw_test_dir());
    if (!sw_path_exists(path)) {
        SW_TRY(sw_store_writer_open(path, &setting, 1, &w, &err));
        sw_status status = put_slide(w, "a", corner[0], true);
        if (status == SW_OK) status = put_slide(w, "b", corner[1], true);
        if (status == SW_OK) status = put_slide(w, "c", corner[0], false);
        sw_store_writer_close(&w);
        SW_TRY(status);
    }
    return sw_store_open(path, out, &err);
}

static void source_free_ptr(sw_patch_source **s)
{
    sw_patch_source_free(*s);
}

static void check_places(const char *what, const float *got, const float *expected, int64_t n)
{
    for (int64_t i = 0; i < 2 * n; i++)
        if (!(fabsf(got[i] - expected[i]) < 1e-5f))
            sw_test_fail(__FILE__, __LINE__, "%s: number %d is %g, expected %g", what, (int)i, (double)got[i], (double)expected[i]);
}

static const float of_a[] = {2, 0, 3, 0, 2, 1, 4, 1, 5, 2, 2, 3}, of_b[] = {0.5, 0.5, 1.5, 0.5, 0.5, 1.5, 0.5, 1.5, 1.5, 1.5, 2.5, 2.5};
/* a has four rows; both begin at their first column */
static const float joined[] = {0, 0, 1, 0, 0, 1, 2, 1, 3, 2, 0, 3, 0, 4, 1, 4, 0, 5, 0, 5, 1, 5, 2, 6};

TEST(of_a_store_in_steps_of_its_grid)
{
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    CHECK_OK(make_store(&store));
    const float *const expected[] = {of_a, of_b};
    for (int s = 0; s < 3; s++) {
        SW_CLEANUP(source_free_ptr) sw_patch_source *source = NULL;
        float xy[2 * PATCHES] = {0};
        const char *const id[] = {"a", "b", "c"};
        CHECK_OK(sw_patch_source_store(store, sw_store_find(store, id[s]), 0, &source, &err));
        CHECK_OK(sw_patch_source_places(source, xy, &err));
        if (s < 2) check_places(id[s], xy, expected[s], PATCHES);
        for (int i = 0; s == 2 && i < 2 * PATCHES; i++) CHECK(isnan(xy[i])); /* imported without positions */
    }
}

TEST(several_slides_one_below_the_other)
{
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    SW_CLEANUP(source_free_ptr) sw_patch_source *both = NULL;
    sw_patch_source *part[2] = {NULL};
    float xy[4 * PATCHES] = {0};
    CHECK_OK(make_store(&store));
    CHECK_OK(sw_patch_source_store(store, sw_store_find(store, "a"), 0, &part[0], &err));
    CHECK_OK(sw_patch_source_store(store, sw_store_find(store, "b"), 0, &part[1], &err));
    CHECK_OK(sw_patch_source_join(part, 2, "both", &both, &err));
    CHECK_OK(sw_patch_source_places(both, xy, &err));
    check_places("both", xy, joined, 2 * PATCHES);
}

TEST(of_a_slide_by_its_step_or_as_wide_as_patches_are)
{
    SW_CLEANUP(sw_image_free) sw_image image = {0};
    SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
    SW_CLEANUP(source_free_ptr) sw_patch_source *source = NULL;
    static const int64_t at[] = {64, 32};
    char path[300];
    float xy[2];
    snprintf(path, sizeof path, "%s/one.png", sw_test_dir());
    CHECK_OK(sw_image_new(192, 128, 0, &image, &err));
    CHECK_OK(sw_image_write(path, &image, &err));
    sw_slide_options o = sw_slide_options_default();
    o.mpp_um = 0.5;
    CHECK_OK(sw_slide_open(path, &o, &slide, &err));
    CHECK_OK(sw_patch_source_slide(slide, at, 1, 32, 1.0, &source, &err));
    CHECK_OK(sw_patch_source_places(source, xy, &err));
    check_places("by width", xy, (const float[]){1, 0.5}, 1);
    sw_patch_source_set_step(source, 32);
    CHECK_OK(sw_patch_source_places(source, xy, &err));
    check_places("by step", xy, (const float[]){2, 1}, 1);
}

/* Steps of one slide a bag, or of both as one case. */
static void check_steps(bool as_case)
{
    static const char table[] = "case,slide,label,split\nx,a,p,train\nx,b,p,train\ny,c,n,train\n";
    static const char single[] = "slide,label,split\na,p,train\nb,n,train\n";
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    sw_config config = {0};
    sw_dataset *dataset = NULL;
    sw_bag_scales scales;
    sw_pool *pool = NULL;
    sw_loader *loader = NULL;
    int known = 0;
    CHECK_OK(make_store(&store));
    CHECK_OK(sw_config_default(&config, &err));
    sw_free(config.data.labels);
    config.data.labels = sw_path_join(sw_test_dir(), as_case ? "cases.csv" : "slides.csv");
    CHECK_OK(sw_file_write(config.data.labels, as_case ? table : single, strlen(as_case ? table : single), &err));
    if (as_case) CHECK_OK(sw_config_set(&config, "data.bag=case", &err));
    config.data.split.val = 0;
    config.bag.patches = 8; /* more than there are: some come twice */
    config.augment.crop_px = PX;
    config.train.chunk_patches = 16;
    config.train.batch_bags = 2;
    sw_dataset_slides slides = {.store = store};
    CHECK_OK(sw_dataset_load(&config, &slides, true, NULL, &dataset, &err));
    CHECK_OK(sw_pool_new(1, &pool, &err));
    CHECK_OK(sw_bag_scales_resolve(&config, store, dataset, &scales, &err));
    sw_loader_options o = sw_loader_options_of(&config);
    CHECK(!o.places);
    o.places = true;
    CHECK_OK(sw_loader_new(store, dataset, SW_SPLIT_TRAIN, &scales, &o, pool, &loader, &err));
    CHECK_OK(sw_loader_begin(loader, 0, 0, &err));
    sw_batch *b = NULL;
    CHECK_OK(sw_loader_next(loader, &b, &err));
    CHECK_INT(b->n_bags, 2);
    for (int64_t i = 0; i < b->n_bags * b->bag_patches; i++) {
        const char *id = sw_store_slide_id(store, b->slide[i]);
        const float *all = *id == 'a' ? (as_case ? joined : of_a) : as_case ? joined + 2 * PATCHES : of_b;
        if (*id == 'c') CHECK(isnan(b->xy[2 * i]) && isnan(b->xy[2 * i + 1]));
        else check_places(id, b->xy + 2 * i, all + 2 * b->patch[i], 1);
        known += *id != 'c';
    }
    CHECK_INT(known, as_case ? 8 : 16);
    sw_batch_free(b);
    sw_loader_free(loader);
    sw_pool_free(pool);
    sw_dataset_free(dataset);
    sw_config_free(&config);
}

TEST(of_a_training_step)
{
    check_steps(false);
    check_steps(true);
}
