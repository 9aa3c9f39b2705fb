/* SPDX-License-Identifier: Apache-2.0 */
/* Patches that stay on their slides: the same pixels as from the slide itself, whatever is cached or closed, from any thread. */
#include <stdatomic.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/thread.h"
#include "slidewise/coords.h"
#include "slidewise/store.h"
#include "slidewise/tile.h"
#include "store/hdf5_coords.h"
#include "store/pixel_cache.h"
#include "test.h"

enum { PICTURES = 40, SIDE = 96, PX = 32, PATCHES = 9 }; /* more slides than are kept open */

static uint8_t value_of(int picture, int x, int y, int channel)
{
    return (uint8_t)(picture * 37 + x * 3 + y * 5 + channel * 71);
}

static sw_status write_picture(const char *dir, int k, sw_error *err)
{
    SW_CLEANUP(sw_image_free) sw_image image = {0};
    SW_AUTOFREE char *path = sw_asprintf("%s/p%02d.png", dir, k);
    SW_TRY(sw_image_new(SIDE, SIDE, 0, &image, err));
    for (int i = 0; i < SIDE * SIDE * 3; i++) image.rgb[i] = value_of(k, i / 3 % SIDE, i / 3 / SIDE, i % 3);
    return sw_image_write(path, &image, err);
}

/* A grid of 3 x 3 patches; picture 5 has none, the positions of picture 6 are those of something larger. */
static sw_status write_coords(const char *dir, int k, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf bytes = {0};
    SW_AUTOFREE char *path = sw_asprintf("%s/p%02d.h5", dir, k);
    sw_h5_attribute a[] = {{.name = "patch_size", .type = SW_H5_INT, .value = {PX}}, {.name = "patch_level", .type = SW_H5_INT}};
    int64_t xy[2 * PATCHES];
    for (int i = 0; i < PATCHES; i++) {
        xy[2 * i] = (i / 3) * PX + (k == 6 ? 1000 : 0);
        xy[2 * i + 1] = (i % 3) * PX;
    }
    if (k == 5) return SW_OK;
    SW_TRY(sw_h5_coords_write(xy, PATCHES, a, 2, &bytes, err));
    return sw_file_write(path, bytes.data, bytes.size, err);
}

static sw_status make_pictures(const char *dir, sw_slide_list *list, sw_error *err)
{
    SW_TRY(sw_mkdir_p(dir, err));
    for (int k = 0; k < PICTURES; k++) {
        SW_TRY(write_picture(dir, k, err));
        SW_TRY(write_coords(dir, k, err));
    }
    return sw_slide_list_expand(&dir, 1, list, err);
}

typedef struct reading {
    sw_store *store;
    atomic_int wrong;
} reading;

static sw_status read_one(void *ctx, int64_t job, sw_error *err)
{
    reading *r = ctx;
    sw_rng rng = sw_rng_stream(3, SW_RNG_TEST, (uint32_t)job, 0, 0);
    int64_t slide = sw_rng_u32(&rng) % (uint64_t)sw_store_slide_count(r->store);
    int index = (int)(sw_rng_u32(&rng) % PATCHES), picture = (sw_store_slide_id(r->store, slide)[1] - '0') * 10 + sw_store_slide_id(r->store, slide)[2] - '0';
    uint8_t rgb[PX * PX * 3];
    SW_TRY(sw_store_pixels(r->store, slide, 0, index, rgb, err));
    bool same = true;
    for (int i = 0; i < PX * PX * 3 && same; i++)
        same = rgb[i] == value_of(picture, (index / 3) * PX + i / 3 % PX, (index % 3) * PX + i / 3 / PX, i % 3);
    atomic_fetch_add(&r->wrong, !same);
    return SW_OK;
}

static void count_log(void *ctx, sw_log_level level, const char *text)
{
    (void)level;
    sw_buf_printf(ctx, "%s\n", text);
}

TEST(pixels_of_more_slides_than_are_kept_open)
{
    sw_error err = {0};
    SW_CLEANUP(sw_slide_list_free) sw_slide_list list = {0};
    SW_CLEANUP(sw_buf_free) sw_buf said = {0};
    SW_AUTOFREE char *dir = sw_path_join(sw_test_dir(), "pictures");
    sw_sink sink = {.ctx = &said, .log = count_log};
    CHECK_OK(make_pictures(dir, &list, &err));
    sw_pool *pool = NULL;
    CHECK_OK(sw_pool_new(4, &pool, &err));
    const int64_t cache[] = {0, 20 * PX * PX * 3, 64 << 20};
    for (int c = 0; c < 3; c++) {
        reading r = {0};
        sw_store_slides_options o = sw_store_slides_options_default();
        sw_buf_clear(&said);
        o.slides = &list;
        o.coords = dir;
        o.slide_mpp_um = 0.5;
        o.cache_bytes = cache[c];
        o.threads = 1;
        o.sink = &sink;
        CHECK_OK(sw_store_open_slides(&o, &r.store, &err));
        CHECK_INT(sw_store_slide_count(r.store), PICTURES - 2);
        SW_AUTOFREE char *expected = sw_asprintf(
            "slide p05: no coordinates in %s: neither p05.h5 nor p05_patches.h5 is there or in its folder patches\n"
            "slide p06: patch 0 of %s/p06.h5 lies at (1000, 0), outside of the slide (96 x 96 pixels); the coordinates are of another slide "
            "or another scan\n",
            dir, dir);
        CHECK_STR(said.data, expected);
        const sw_store_scale *scale = sw_store_scale_get(r.store, 0, 0);
        CHECK(scale->mpp_um == 0.5 && scale->patch_px == PX && scale->patch_level0_px == PX && scale->n_patches == PATCHES);
        sw_status status = sw_pool_for(pool, 1500, read_one, &r, &err);
        int wrong = atomic_load(&r.wrong);
        int64_t xy[2 * PATCHES];
        const void *jpeg;
        size_t size;
        uint8_t rgb[PX * PX * 3];
        sw_error other = {0};
        CHECK(!sw_store_has_jpegs(r.store));
        CHECK_OK(sw_store_coords(r.store, 7, 0, xy, &err));
        CHECK(xy[2 * 5] == PX && xy[2 * 5 + 1] == 2 * PX);
        CHECK_INT(sw_store_pixels(r.store, 0, 0, PATCHES, rgb, &other), SW_E_INVALID);
        CHECK_INT(sw_store_patch(r.store, 0, 0, 0, &jpeg, &size, &other), SW_E_UNSUPPORTED);
        SW_AUTOFREE char *no_jpeg = sw_asprintf("%s: its patches stay on their slides, there is no JPEG of them", dir);
        CHECK_STR(other.message, no_jpeg);
        sw_tile_settings s = {0};
        CHECK_OK(sw_tile_settings_of(r.store, &s, &err));
        CHECK(s.given_positions && s.mpp_um[0] == 0.5 && s.patch_px == PX);
        sw_store_close(&r.store);
        if (status != SW_OK) sw_test_fail(__FILE__, __LINE__, "%s", err.message);
        CHECK_INT(wrong, 0);
    }
    sw_pool_free(pool);
}

TEST(a_cache_keeps_what_was_used_last)
{
    sw_error err = {0};
    sw_pixel_cache *cache = NULL;
    uint64_t got;
    CHECK_OK(sw_pixel_cache_new(100, 64, &cache, &err)); /* not one set of eight */
    CHECK(cache == NULL);
    sw_pixel_cache_put(cache, 1, &got);
    CHECK(!sw_pixel_cache_get(cache, 1, &got));
    CHECK_OK(sw_pixel_cache_new(8 * (8 + 24), 8, &cache, &err)); /* just one set */
    CHECK(cache != NULL);
    for (uint64_t key = 0; key < 8; key++) {
        uint64_t item = key * 1000;
        sw_pixel_cache_put(cache, key, &item);
    }
    CHECK(sw_pixel_cache_get(cache, 0, &got) && got == 0);
    uint64_t ninth = 8000;
    sw_pixel_cache_put(cache, 8, &ninth); /* 1 is the oldest now */
    CHECK(!sw_pixel_cache_get(cache, 1, &got));
    for (uint64_t key = 0; key < 9; key++) CHECK(key == 1 || (sw_pixel_cache_get(cache, key, &got) && got == key * 1000));
    uint64_t newer = 5;
    sw_pixel_cache_put(cache, 3, &newer);
    CHECK(sw_pixel_cache_get(cache, 3, &got) && got == 5);
    sw_pixel_cache_free(cache);
}
