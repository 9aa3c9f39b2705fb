/* SPDX-License-Identifier: Apache-2.0 */
/* Tiling: what lies in the store is what the slide gives, whatever the threads; settings come back; cancelling. */
#include <stdatomic.h>

#include "base/fs.h"
#include "base/mem.h"
#include "slidewise/synth.h"
#include "slidewise/tile.h"
#include "test.h"

static sw_status make_slides(const char *dir, sw_slide_list *list, sw_error *err)
{
    sw_synth_options o = sw_synth_options_default();
    SW_AUTOFREE char *slides = sw_path_join(dir, "slides");
    o.n_slides = 2;
    o.size_px = 900;
    SW_TRY(sw_synth_write(dir, &o, err));
    const char *operand = slides;
    return sw_slide_list_expand(&operand, 1, list, err);
}

static sw_tile_options options_for(const char *store, int threads)
{
    sw_tile_options o = sw_tile_options_default();
    o.store = store;
    o.threads = threads;
    o.settings.n_scales = 2;
    o.settings.mpp_um[0] = 0.7;
    o.settings.mpp_um[1] = 2.0;
    o.settings.patch_px = 64;
    o.settings.overlap_px = 8;
    o.settings.quality = 91;
    o.settings.tissue.a_t = 1;
    return o;
}

TEST(the_store_holds_what_the_slide_gives)
{
    sw_error err = {0};
    SW_CLEANUP(sw_slide_list_free) sw_slide_list list = {0};
    SW_CLEANUP(sw_tile_result_free) sw_tile_result one = {0}, three = {0};
    SW_CLEANUP(sw_store_close) sw_store *a = NULL, *b = NULL;
    SW_AUTOFREE char *dir = sw_path_join(sw_test_dir(), "same"), *pa = sw_path_join(dir, "a"), *pb = sw_path_join(dir, "b");
    CHECK_OK(make_slides(dir, &list, &err));
    sw_tile_options oa = options_for(pa, 1), ob = options_for(pb, 3);
    CHECK_OK(sw_tile(&oa, &list, &one, &err));
    CHECK_OK(sw_tile(&ob, &list, &three, &err));
    CHECK_INT(one.n_done, 2);
    CHECK_INT(one.n_patches, three.n_patches);
    CHECK_OK(sw_store_open(pa, &a, &err));
    CHECK_OK(sw_store_open(pb, &b, &err));
    CHECK_OK(sw_store_verify(a, NULL, NULL, &err));
    for (int64_t s = 0; s < 2; s++) {
        SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
        CHECK_OK(sw_slide_open(list.entry[s].path, NULL, &slide, &err));
        CHECK_STR(sw_store_slide_id(a, s), list.entry[s].slide_id);
        for (int scale = 0; scale < 2; scale++) {
            const sw_store_scale *info = sw_store_scale_get(a, s, scale);
            CHECK_INT(info->n_patches, one.row[s].n_patches[scale]);
            CHECK_NEAR(info->patch_level0_px, 64 * info->mpp_um / 0.5, 1e-5, 0);
            SW_AUTOFREE int64_t *xy = sw_calloc((size_t)info->n_patches * 2, sizeof *xy);
            CHECK_OK(sw_store_coords(a, s, scale, xy, &err));
            for (int64_t i = 0; i < info->n_patches; i++) {
                uint8_t rgb[64 * 64 * 3];
                uint8_t *jpeg;
                size_t size, kept_size, other_size;
                const void *kept, *other;
                CHECK_OK(sw_store_patch(a, s, scale, i, &kept, &kept_size, &err));
                CHECK_OK(sw_store_patch(b, s, scale, i, &other, &other_size, &err));
                CHECK(kept_size == other_size && memcmp(kept, other, kept_size) == 0);
                CHECK_OK(sw_slide_read_patch(slide, xy[2 * i], xy[2 * i + 1], 64, info->mpp_um, rgb, &err));
                CHECK_OK(sw_jpeg_encode(rgb, 64, 64, 91, &jpeg, &size, &err));
                bool same = size == kept_size && memcmp(jpeg, kept, size) == 0;
                sw_image_bytes_free(jpeg);
                CHECK(same);
            }
        }
    }
}

/* Positions written for TRIDENT and taken back from there give the same pixels, and the store says that they were given. */
TEST(given_positions_give_the_same_patches)
{
    sw_error err = {0};
    SW_CLEANUP(sw_slide_list_free) sw_slide_list list = {0};
    SW_CLEANUP(sw_tile_result_free) sw_tile_result own = {0}, taken = {0};
    SW_CLEANUP(sw_store_close) sw_store *a = NULL, *b = NULL;
    SW_AUTOFREE char *dir = sw_path_join(sw_test_dir(), "given"), *pa = sw_path_join(dir, "a"), *pb = sw_path_join(dir, "b");
    SW_AUTOFREE char *job = sw_path_join(dir, "job");
    CHECK_OK(make_slides(dir, &list, &err));
    sw_tile_options oa = options_for(pa, 2), ob = options_for(pb, 2);
    oa.settings.n_scales = 1;
    oa.settings.mpp_um[0] = 1.0;
    oa.trident = job;
    CHECK_OK(sw_tile(&oa, &list, &own, &err));
    CHECK_INT(own.n_done, 2);
    ob.coords = job;
    CHECK_INT(sw_tile(&ob, &list, &taken, &err), SW_E_INVALID);
    CHECK_STR(err.message, "coordinates were given to settings that make their own positions");
    CHECK_OK(sw_tile_settings_given(job, &list, 0, 0, 0, &ob.settings, &err));
    CHECK(ob.settings.given_positions && ob.settings.n_scales == 1 && ob.settings.mpp_um[0] == 1.0);
    CHECK(ob.settings.patch_px == 64 && ob.settings.overlap_px == 8);
    CHECK_OK(sw_tile(&ob, &list, &taken, &err));
    CHECK_INT(taken.n_done, 2);
    CHECK_OK(sw_store_open(pa, &a, &err));
    CHECK_OK(sw_store_open(pb, &b, &err));
    for (int64_t s = 0; s < 2; s++) {
        const sw_store_scale *x = sw_store_scale_get(a, s, 0), *y = sw_store_scale_get(b, s, 0);
        CHECK(x->n_patches == y->n_patches && x->mpp_um == y->mpp_um && x->magnification == y->magnification);
        CHECK(x->patch_level0_px == y->patch_level0_px && x->overlap_px == y->overlap_px);
        CHECK_NEAR(x->step_level0_px, y->step_level0_px, 1e-12, 0);
        for (int64_t i = 0; i < x->n_patches; i++) {
            const void *kept, *other;
            size_t kept_size, other_size;
            CHECK_OK(sw_store_patch(a, s, 0, i, &kept, &kept_size, &err));
            CHECK_OK(sw_store_patch(b, s, 0, i, &other, &other_size, &err));
            CHECK(kept_size == other_size && memcmp(kept, other, kept_size) == 0);
        }
    }
    sw_tile_settings back = {0};
    CHECK_OK(sw_tile_settings_of(b, &back, &err));
    CHECK(back.given_positions && !back.whole_image && back.patch_px == 64 && back.mpp_um[0] == 1.0);
    SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
    SW_CLEANUP(sw_grid_free) sw_grid grid = {0};
    sw_tissue tissue;
    CHECK_OK(sw_slide_open(list.entry[0].path, NULL, &slide, &err));
    CHECK_INT(sw_tile_positions(slide, &back, &tissue, &grid, &err), SW_E_INVALID);
    SW_AUTOFREE char *why = sw_asprintf("slide %s: the training slides were cut at positions that came from files (--coords or an imported "
                                        "store), so no positions follow for another slide; give its file of coordinates with --coords",
                                        list.entry[0].slide_id);
    CHECK_STR(err.message, why);
}

TEST(settings_come_back_from_the_store)
{
    sw_error err = {0};
    SW_CLEANUP(sw_slide_list_free) sw_slide_list list = {0};
    SW_CLEANUP(sw_tile_result_free) sw_tile_result result = {0};
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    SW_AUTOFREE char *path = sw_path_join(sw_test_dir(), "settings");
    sw_tile_options o = options_for(path, 1);
    o.settings.tissue.sthresh = 17;
    o.settings.tissue.a_h = 0.1;
    o.settings.tissue.otsu = true;
    o.settings.tissue.use_padding = false;
    o.settings.tissue.max_area_share = 0.0025;
    o.settings.tissue.contour_rule = SW_CONTOUR_CENTER;
    CHECK_OK(sw_tile(&o, &list, &result, &err)); /* no slides: an empty store */
    CHECK_OK(sw_store_open(path, &store, &err));
    sw_tile_settings s = {0};
    CHECK_OK(sw_tile_settings_of(store, &s, &err));
    CHECK_INT(s.n_scales, 2);
    CHECK(s.mpp_um[0] == 0.7 && s.mpp_um[1] == 2.0);
    CHECK(s.patch_px == 64 && s.overlap_px == 8 && s.quality == 91 && !s.whole_image);
    CHECK(s.tissue.sthresh == 17 && s.tissue.mthresh == 7 && s.tissue.close == 4 && s.tissue.otsu && !s.tissue.use_padding);
    CHECK(s.tissue.a_t == 1 && s.tissue.a_h == 0.1 && s.tissue.max_n_holes == 8 && s.tissue.seg_level == -1);
    CHECK(s.tissue.contour_rule == SW_CONTOUR_CENTER && s.tissue.max_pixels == o.settings.tissue.max_pixels);
    CHECK(s.tissue.max_area_share == 0.0025);
}

TEST(settings_out_of_range)
{
    sw_error err = {0};
    sw_slide_list list = {0};
    SW_CLEANUP(sw_tile_result_free) sw_tile_result result = {0};
    SW_AUTOFREE char *path = sw_path_join(sw_test_dir(), "range");
    sw_tile_options o = options_for(path, 1);
    o.settings.mpp_um[1] = 0.7;
    CHECK_INT(sw_tile(&o, &list, &result, &err), SW_E_INVALID);
    CHECK_STR(err.message, "0.7 microns per pixel was asked for twice");
    o = options_for(path, 1);
    o.settings.overlap_px = 64;
    CHECK_INT(sw_tile(&o, &list, &result, &err), SW_E_INVALID);
    CHECK_STR(err.message, "an overlap of 64 pixels: give 0 to 63 (less than a patch)");
    o = options_for(path, 1);
    o.settings.quality = 0;
    CHECK_INT(sw_tile(&o, &list, &result, &err), SW_E_INVALID);
    CHECK_STR(err.message, "a JPEG quality of 0: give 1 to 100");
    o = options_for(NULL, 1);
    CHECK_INT(sw_tile(&o, &list, &result, &err), SW_E_INVALID);
    CHECK_STR(err.message, "no store was named to tile into");
    CHECK(!sw_path_exists(path));
}

/* ---- cancelling at the k-th question, for several k */

typedef struct stopper {
    atomic_int left; /* questions that are answered with "go on" */
} stopper;

static bool is_stopped(void *ctx)
{
    return atomic_fetch_sub(&((stopper *)ctx)->left, 1) <= 0;
}

TEST(cancelling_keeps_whole_slides)
{
    sw_error err = {0};
    SW_CLEANUP(sw_slide_list_free) sw_slide_list list = {0};
    SW_AUTOFREE char *dir = sw_path_join(sw_test_dir(), "cancel");
    CHECK_OK(make_slides(dir, &list, &err));
    int cancelled_with_some = 0;
    for (int k = 0; k < 12; k++) {
        SW_CLEANUP(sw_tile_result_free) sw_tile_result result = {0}, again = {0};
        SW_CLEANUP(sw_store_close) sw_store *store = NULL;
        SW_AUTOFREE char *path = sw_asprintf("%s/store%d", dir, k);
        stopper s = {k};
        sw_sink sink = {.ctx = &s, .cancelled = is_stopped};
        sw_tile_options o = options_for(path, 1);
        o.sink = &sink;
        sw_status status = sw_tile(&o, &list, &result, &err);
        CHECK(status == SW_OK || status == SW_E_CANCELLED);
        CHECK(k > 0 || (status == SW_E_CANCELLED && result.n_done == 0));
        CHECK_OK(sw_store_open(path, &store, &err));
        CHECK_OK(sw_store_verify(store, NULL, NULL, &err));
        CHECK_INT(sw_store_slide_count(store), result.n_done);
        for (size_t i = 0; i < 2; i++) {
            CHECK((result.row[i].status == SW_TILE_DONE) == (sw_store_find(store, result.row[i].slide_id) >= 0));
            if (result.row[i].status != SW_TILE_DONE) CHECK_STR(result.row[i].reason, "not reached: cancelled");
        }
        cancelled_with_some += status == SW_E_CANCELLED && result.n_done == 1;
        size_t before = result.n_done;
        sw_store_close(&store);
        o.sink = NULL;
        CHECK_OK(sw_tile(&o, &list, &again, &err)); /* goes on where it stopped */
        CHECK_INT(again.n_done, 2 - before);
        CHECK_INT(again.n_already, before);
    }
    CHECK(cancelled_with_some > 0);
}
