/* SPDX-License-Identifier: Apache-2.0 */
/* Tiling: what lies in the store is what the slide gives, whatever the threads; settings come back; cancelling. */
#include <stdatomic.h>

#include <tiffio.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "slidewise/coords.h"
#include "slidewise/synth.h"
#include "slidewise/tile.h"
#include "damage.h"
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
    CHECK_OK(sw_tile_settings_given(job, &list, 0, NULL, 0, 0, &ob.settings, &err));
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

static void keep_log(void *ctx, sw_log_level level, const char *text)
{
    (void)level;
    sw_buf_printf(ctx, "%s\n", text);
}

/* ---- damaged slides */

static const char *reason_of(const sw_tile_result *r)
{
    return r->row[0].reason ? r->row[0].reason : "";
}

/* Whole patches of a slide of 900 pixels, side px at its own resolution: 14 x 14 of 64, 56 x 56 of 16. */
static sw_tile_options whole_options(const char *store, int px)
{
    sw_tile_options o = options_for(store, 3);
    o.settings.n_scales = 1;
    o.settings.mpp_um[0] = 0.5;
    o.settings.patch_px = px;
    o.settings.overlap_px = 0;
    o.settings.whole_image = true;
    return o;
}

/* What the store holds is the whole slide but for the tile from (256, 256) to (512, 512); `clam` holds the same positions. */
static void check_hole(const char *store_path, const char *clam, const char *whole_path, int px, int n)
{
    sw_error err = {0};
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    SW_CLEANUP(sw_slide_close) sw_slide *whole = NULL;
    SW_CLEANUP(sw_coords_free) sw_coords coords = {0};
    SW_AUTOFREE char *file = NULL;
    CHECK_OK(sw_store_open(store_path, &store, &err));
    CHECK_OK(sw_store_verify(store, NULL, NULL, &err));
    CHECK_OK(sw_slide_open(whole_path, NULL, &whole, &err));
    int64_t kept = sw_store_scale_get(store, 0, 0)->n_patches, seen = 0;
    CHECK_INT(kept, (int64_t)n * n - (256 / px) * (256 / px));
    CHECK_OK(sw_coords_find(clam, sw_store_slide_id(store, 0), &file, &err));
    CHECK_OK(sw_coords_read(file, &coords, &err));
    CHECK_INT(coords.n_patches, kept);
    SW_AUTOFREE int64_t *xy = sw_calloc((size_t)kept * 2, sizeof *xy);
    CHECK_OK(sw_store_coords(store, 0, 0, xy, &err));
    CHECK(memcmp(xy, coords.xy, (size_t)kept * 16) == 0);
    for (int i = 0; i < n * n; i++) {
        uint8_t rgb[64 * 64 * 3];
        uint8_t *jpeg;
        size_t size, kept_size;
        const void *kept_jpeg;
        int64_t x = i / n * px, y = i % n * px;
        if (x >= 256 && x < 512 && y >= 256 && y < 512) continue;
        CHECK(xy[2 * seen] == x && xy[2 * seen + 1] == y);
        CHECK_OK(sw_store_patch(store, 0, 0, seen++, &kept_jpeg, &kept_size, &err));
        CHECK_OK(sw_slide_read_patch(whole, x, y, px, 0.5, rgb, &err));
        CHECK_OK(sw_jpeg_encode(rgb, px, px, 91, &jpeg, &size, &err));
        bool same = size == kept_size && memcmp(jpeg, kept_jpeg, size) == 0;
        sw_image_bytes_free(jpeg);
        CHECK(same);
    }
    CHECK_INT(seen, kept);
}

static int lines_of(const char *path)
{
    sw_error err = {0};
    SW_CLEANUP(sw_buf_free) sw_buf text = {0};
    int lines = 0;
    if (sw_file_read(path, &text, &err) != SW_OK) return -1;
    for (size_t i = 0; i < text.size; i++) lines += text.data[i] == '\n';
    return lines;
}

static void check_damaged(const char *dir, const char *whole, int px, int n)
{
    sw_error err = {0};
    SW_AUTOFREE char *path = sw_asprintf("%s/hole%d.tif", dir, px), *store = sw_asprintf("%s/store%d", dir, px);
    SW_AUTOFREE char *clam = sw_asprintf("%s/clam%d", dir, px), *csv = sw_path_join(store, "unreadable.csv");
    SW_CLEANUP(sw_slide_list_free) sw_slide_list list = {0};
    const char *operand = path;
    int64_t lost = (256 / px) * (256 / px), all = (int64_t)n * n;
    CHECK_OK(damage_tile(whole, path, 0, 5, &err));
    CHECK_OK(sw_slide_list_expand(&operand, 1, &list, &err));
    sw_tile_options o = whole_options(store, px);
    o.clam = clam;
    for (int again = 0; again < 3; again++) { /* the first time, once more, and with another try */
        SW_CLEANUP(sw_tile_result_free) sw_tile_result r = {0};
        o.retry_unreadable = again == 2;
        CHECK_OK(sw_tile(&o, &list, &r, &err));
        CHECK(r.n_damaged == 1 && r.n_failed == 0 && r.n_patches == all - lost && r.n_left_out[SW_LEFT_UNREADABLE] == lost);
        CHECK_INT(r.row[0].status, again == 1 ? SW_TILE_ALREADY : SW_TILE_DONE);
        CHECK_INT(r.row[0].n_left_out[SW_LEFT_UNREADABLE], lost);
        CHECK_INT(lines_of(csv), 1 + lost);
        check_hole(store, clam, whole, px, n);
    }
    /* a whole copy, which has another size: without being asked the store refuses it, with it is tiled again */
    SW_CLEANUP(sw_tile_result_free) sw_tile_result r = {0}, r2 = {0}, r3 = {0};
    SW_CLEANUP(sw_buf_free) sw_buf bytes = {0};
    CHECK_OK(sw_file_read(whole, &bytes, &err));
    sw_buf_puts(&bytes, "x");
    CHECK_OK(sw_file_write(path, bytes.data, bytes.size, &err));
    o.retry_unreadable = false;
    CHECK_OK(sw_tile(&o, &list, &r, &err));
    CHECK_INT(r.row[0].status, SW_TILE_FAILED);
    o.retry_unreadable = true;
    CHECK_OK(sw_tile(&o, &list, &r2, &err));
    CHECK(r2.n_done == 1 && r2.n_damaged == 0 && r2.n_patches == all);
    CHECK_INT(lines_of(csv), -1);
    CHECK_OK(sw_tile(&o, &list, &r3, &err));
    CHECK(r3.n_already == 1 && r3.n_patches == all);
    SW_CLEANUP(sw_store_close) sw_store *opened = NULL;
    int64_t n_records;
    CHECK_OK(sw_store_open(store, &opened, &err));
    CHECK_OK(sw_store_verify(opened, NULL, &n_records, &err));
    CHECK_INT(n_records, all + 3); /* nothing of the old one is left */
}

TEST(a_damaged_tile_costs_its_patches_only)
{
    sw_error err = {0};
    SW_CLEANUP(sw_slide_list_free) sw_slide_list list = {0};
    SW_AUTOFREE char *dir = sw_path_join(sw_test_dir(), "damaged");
    CHECK_OK(make_slides(dir, &list, &err));
    check_damaged(dir, list.entry[0].path, 64, 14); /* encoded with the opening */
    check_damaged(dir, list.entry[0].path, 16, 56); /* encoded while it is written */
}

TEST(a_slide_that_cannot_be_read_anywhere_fails)
{
    sw_error err = {0};
    SW_CLEANUP(sw_slide_list_free) sw_slide_list list = {0}, one = {0};
    SW_CLEANUP(sw_tile_result_free) sw_tile_result r = {0}, r2 = {0};
    SW_AUTOFREE char *dir = sw_path_join(sw_test_dir(), "nowhere"), *path = sw_path_join(dir, "nowhere.tif");
    SW_AUTOFREE char *store = sw_path_join(dir, "store");
    const char *operand = path;
    CHECK_OK(make_slides(dir, &list, &err));
    CHECK_OK(damage_tile(list.entry[0].path, path, 0, 0, &err));
    for (uint32_t tile = 1; tile < 16; tile++) CHECK_OK(damage_tile(path, path, 0, tile, &err));
    CHECK_OK(sw_slide_list_expand(&operand, 1, &one, &err));
    sw_tile_options o = whole_options(store, 64);
    CHECK_OK(sw_tile(&o, &one, &r, &err));
    CHECK(r.n_failed == 1 && r.n_damaged == 0 && r.row[0].status == SW_TILE_UNREADABLE);
    SW_AUTOFREE char *begin = sw_asprintf("slide nowhere: none of its 196 patches at 0.5 microns per pixel can be read; the first: %s: 64 x 64 "
                                          "pixels of level 0 at (0, 0) cannot be read: ", path);
    CHECK(strncmp(reason_of(&r), begin, strlen(begin)) == 0);
    /* the level that is looked at for tissue */
    SW_AUTOFREE char *other = sw_path_join(dir, "store2");
    CHECK_OK(damage_tile(list.entry[0].path, path, 2, 0, &err));
    o = options_for(other, 1);
    CHECK_OK(sw_tile(&o, &one, &r2, &err));
    CHECK_INT(r2.row[0].status, SW_TILE_UNREADABLE);
    CHECK(strstr(reason_of(&r2), "pixels of level 2 at (0, 0) cannot be read: "));
}

/* Level 1 of the slide is looked at for tissue, and one of its four tiles is damaged. */
TEST(damage_on_the_level_of_the_tissue_is_told)
{
    sw_error err = {0};
    SW_CLEANUP(sw_slide_list_free) sw_slide_list list = {0}, one = {0};
    SW_CLEANUP(sw_tile_result_free) sw_tile_result r = {0}, r2 = {0};
    SW_CLEANUP(sw_buf_free) sw_buf said = {0};
    SW_AUTOFREE char *dir = sw_path_join(sw_test_dir(), "unseen"), *path = sw_path_join(dir, "unseen.tif");
    SW_AUTOFREE char *store = sw_path_join(dir, "store");
    const char *operand = path;
    sw_sink sink = {.ctx = &said, .log = keep_log};
    CHECK_OK(make_slides(dir, &list, &err));
    CHECK_OK(damage_tile(list.entry[0].path, path, 1, 3, &err));
    CHECK_OK(sw_slide_list_expand(&operand, 1, &one, &err));
    sw_tile_options o = options_for(store, 1);
    o.settings.n_scales = 1;
    o.settings.mpp_um[0] = 0.5;
    o.settings.tissue.seg_level = 1;
    o.sink = &sink;
    CHECK_OK(sw_tile(&o, &one, &r, &err));
    double share = 194.0 * 194.0 / 450.0 / 450.0; /* the damaged tile reaches beyond the slide */
    CHECK(r.n_done == 1 && r.n_damaged == 1 && r.n_left_out[SW_LEFT_UNREADABLE] == 0);
    CHECK_NEAR(r.row[0].unreadable_fraction, share, 1e-12, 0);
    CHECK(strstr(said.data, "slide unseen: 19 % of the picture that is looked at for tissue cannot be read and counts as none; the first: "));
    CHECK_OK(sw_tile(&o, &one, &r2, &err));
    CHECK(r2.n_already == 1 && r2.n_damaged == 1);
    CHECK_NEAR(r2.row[0].unreadable_fraction, share, 1e-9, 0);
    SW_CLEANUP(sw_store_close) sw_store *opened = NULL;
    CHECK_OK(sw_store_open(store, &opened, &err));
    int64_t n = sw_store_scale_get(opened, 0, 0)->n_patches;
    SW_AUTOFREE int64_t *xy = sw_calloc((size_t)n * 2, sizeof *xy);
    CHECK_OK(sw_store_coords(opened, 0, 0, xy, &err));
    for (int64_t i = 0; i < n; i++) CHECK(xy[2 * i] < 512 || xy[2 * i + 1] < 512);
}

/* ---- resolution */

/* A slide as Aperio writes them, of which only the objective is known: 256 x 256 pixels in one tile. */
static bool write_objective_only(const char *path)
{
    static uint8_t pixels[256 * 256 * 3];
    TIFF *t = TIFFOpen(path, "w");
    if (!t) return false;
    for (int i = 0; i < 256 * 256 * 3; i++) pixels[i] = (uint8_t)(i % 3 * 40 + i / 7 % 90);
    bool ok = TIFFSetField(t, TIFFTAG_IMAGEWIDTH, 256) && TIFFSetField(t, TIFFTAG_IMAGELENGTH, 256) &&
              TIFFSetField(t, TIFFTAG_TILEWIDTH, 256) && TIFFSetField(t, TIFFTAG_TILELENGTH, 256) &&
              TIFFSetField(t, TIFFTAG_BITSPERSAMPLE, 8) && TIFFSetField(t, TIFFTAG_SAMPLESPERPIXEL, 3) &&
              TIFFSetField(t, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG) && TIFFSetField(t, TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_RGB) &&
              TIFFSetField(t, TIFFTAG_COMPRESSION, COMPRESSION_JPEG) &&
              TIFFSetField(t, TIFFTAG_IMAGEDESCRIPTION, "Aperio Image Library v1\r\n256x256 [0,0 256x256] (256x256) JPEG/RGB Q=90|AppMag = 20") &&
              TIFFWriteTile(t, pixels, 0, 0, 0, 0) > 0;
    TIFFClose(t);
    return ok;
}

/* The objective is the last resort and is told; whatever else is known comes before it and is not. */
TEST(the_objective_is_the_last_resort)
{
    sw_error err = {0};
    SW_AUTOFREE char *path = sw_path_join(sw_test_dir(), "only_objective.svs"), *csv = sw_path_join(sw_test_dir(), "mpp.csv");
    const char *operand = path;
    CHECK(write_objective_only(path));
    CHECK_OK(sw_file_write(csv, "wsi,mpp\nonly_objective.svs,0.25\n", 32, &err));
    static const double truth[3] = {0.5, 0.4, 0.25};
    for (int i = 0; i < 3; i++) { /* objective; --slide-mpp; and a table, which comes before both */
        SW_CLEANUP(sw_slide_list_free) sw_slide_list list = {0};
        SW_CLEANUP(sw_tile_result_free) sw_tile_result r = {0};
        SW_CLEANUP(sw_buf_free) sw_buf said = {0};
        SW_CLEANUP(sw_store_close) sw_store *store = NULL;
        SW_AUTOFREE char *dir = sw_asprintf("%s/objective%d", sw_test_dir(), i);
        sw_sink sink = {.ctx = &said, .log = keep_log};
        size_t n_set = 0;
        CHECK_OK(sw_slide_list_expand(&operand, 1, &list, &err));
        if (i == 2) CHECK_OK(sw_slide_list_apply_mpp(&list, csv, &n_set, &err));
        CHECK_INT(n_set, i == 2);
        sw_tile_options o = whole_options(dir, 64);
        o.sink = &sink;
        o.slide_mpp_um = i > 0 ? 0.4 : 0;
        CHECK_OK(sw_tile(&o, &list, &r, &err));
        CHECK_INT(r.n_done, 1);
        CHECK_OK(sw_store_open(dir, &store, &err));
        CHECK_NEAR(sw_store_slide_get(store, 0)->mpp_um, truth[i], 1e-12, 0);
        CHECK_STR(sw_store_slide_get(store, 0)->mpp_source, i == 0 ? "objective power" : "given");
        CHECK_NEAR(sw_store_scale_get(store, 0, 0)->patch_level0_px, 64 * 0.5 / truth[i], 1e-12, 0);
        CHECK_STR(i == 0 ? said.data : "", i == 0 ? "slide only_objective: its resolution is guessed from the objective power: 0.5 microns "
                                                    "per pixel\n" : "");
        CHECK(i == 0 || said.size == 0);
    }
}

/* ---- what was never scanned */

/* A slide as Aperio writes them, of 4 x 4 tiles of 256 pixels: a square of tissue on grey glass, and tiles that were never
 * scanned, whose place in the file is 0 bytes long. */
enum { HOLE_SIDE = 1024 };

static bool is_scanned(int column, int row)
{
    return column < 2 && row < 3;
}

static bool in_tissue(int64_t x, int64_t y)
{
    return x >= 100 && x < 420 && y >= 100 && y < 600;
}

static bool write_with_holes(const char *path)
{
    static uint8_t tile[256 * 256 * 3];
    static const uint8_t stain[3] = {190, 90, 150}, glass[3] = {225, 225, 225};
    TIFF *t = TIFFOpen(path, "w");
    if (!t) return false;
    bool ok = TIFFSetField(t, TIFFTAG_IMAGEWIDTH, HOLE_SIDE) && TIFFSetField(t, TIFFTAG_IMAGELENGTH, HOLE_SIDE) &&
              TIFFSetField(t, TIFFTAG_TILEWIDTH, 256) && TIFFSetField(t, TIFFTAG_TILELENGTH, 256) &&
              TIFFSetField(t, TIFFTAG_BITSPERSAMPLE, 8) && TIFFSetField(t, TIFFTAG_SAMPLESPERPIXEL, 3) &&
              TIFFSetField(t, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG) && TIFFSetField(t, TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_RGB) &&
              TIFFSetField(t, TIFFTAG_COMPRESSION, COMPRESSION_JPEG) &&
              TIFFSetField(t, TIFFTAG_IMAGEDESCRIPTION, "Aperio Image Library v1\r\n1024x1024 [0,0 1024x1024] (256x256) JPEG/RGB Q=90|MPP = 0.5");
    for (int i = 0; i < 16; i++) {
        if (!is_scanned(i % 4, i / 4)) continue;
        for (int p = 0; p < 256 * 256; p++) memcpy(tile + 3 * p, in_tissue(i % 4 * 256 + p % 256, i / 4 * 256 + p / 256) ? stain : glass, 3);
        ok = ok && TIFFWriteTile(t, tile, (uint32_t)(i % 4 * 256), (uint32_t)(i / 4 * 256), 0, 0) > 0;
    }
    TIFFClose(t);
    return ok;
}

/* Holes of a scan, as MIRAX's slides have them too, are white, and no tissue is found in them, by either reader. */
TEST(holes_of_a_scan_are_white_and_no_tissue)
{
    sw_error err = {0};
    SW_AUTOFREE char *path = sw_path_join(sw_test_dir(), "holes.svs");
    SW_AUTOFREE uint8_t *rgb = sw_malloc((size_t)HOLE_SIDE * HOLE_SIDE * 3);
    CHECK(write_with_holes(path) && rgb);
    for (int k = 0; k < 2; k++) {
        SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
        SW_CLEANUP(sw_slide_list_free) sw_slide_list list = {0};
        SW_CLEANUP(sw_tile_result_free) sw_tile_result r = {0};
        SW_CLEANUP(sw_store_close) sw_store *store = NULL;
        SW_AUTOFREE char *dir = sw_asprintf("%s/holes%d", sw_test_dir(), k);
        sw_slide_options how = sw_slide_options_default();
        const char *operand = path;
        how.openslide_only = k == 1;
        CHECK_OK(sw_slide_open(path, &how, &slide, &err));
        CHECK_OK(sw_slide_read(slide, 0, 0, 0, HOLE_SIDE, HOLE_SIDE, rgb, &err));
        int64_t not_white = 0, white = 0;
        for (int64_t i = 0; i < HOLE_SIDE * HOLE_SIDE; i++) {
            const uint8_t *p = rgb + 3 * i;
            bool is_white = p[0] == 255 && p[1] == 255 && p[2] == 255;
            if (is_scanned((int)(i % HOLE_SIDE / 256), (int)(i / HOLE_SIDE / 256))) white += is_white;
            else not_white += !is_white;
        }
        CHECK_INT(not_white, 0);
        CHECK_INT(white, 0);
        CHECK_OK(sw_slide_list_expand(&operand, 1, &list, &err));
        sw_tile_options o = whole_options(dir, 64);
        o.settings.whole_image = false;
        o.settings.tissue.a_t = 0;
        o.openslide_only = k == 1;
        CHECK_OK(sw_tile(&o, &list, &r, &err));
        CHECK_INT(r.n_done, 1);
        CHECK_NEAR(r.row[0].tissue_fraction, 320.0 * 500 / (HOLE_SIDE * HOLE_SIDE), 0.01, 0);
        CHECK_OK(sw_store_open(dir, &store, &err));
        int64_t n = sw_store_scale_get(store, 0, 0)->n_patches;
        SW_AUTOFREE int64_t *xy = sw_calloc((size_t)n * 2, sizeof *xy);
        CHECK_OK(sw_store_coords(store, 0, 0, xy, &err));
        CHECK(n >= 35);
        for (int64_t i = 0; i < n; i++) CHECK(in_tissue(xy[2 * i] + 32, xy[2 * i + 1] + 32) || (xy[2 * i] < 450 && xy[2 * i + 1] < 632));
    }
}

/* ---- artefacts */

/* Whether the pixels of a picture around a patch's centre are white; the picture has the slide's own size. */
static bool is_white_at(const sw_image *picture, int64_t x, int64_t y)
{
    for (int64_t row = y + 16; row < y + 48; row++) {
        for (int64_t i = 3 * (row * picture->width + x + 16); i < 3 * (row * picture->width + x + 48); i++)
            if (picture->rgb[i] < 250) return false;
    }
    return true;
}

/* Of every patch of the slide: what its pixels say must be what the store did. */
TEST(artefacts_are_left_out_and_counted)
{
    sw_error err = {0};
    SW_CLEANUP(sw_slide_list_free) sw_slide_list list = {0};
    SW_CLEANUP(sw_tile_result_free) sw_tile_result r = {0}, again = {0}, only = {0}, other = {0};
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    SW_AUTOFREE char *dir = sw_path_join(sw_test_dir(), "artefacts"), *path = sw_path_join(dir, "store");
    SW_AUTOFREE char *job = sw_path_join(dir, "job"), *slides = sw_path_join(dir, "slides");
    sw_synth_options synth = sw_synth_options_default();
    const char *operand = slides;
    synth.n_slides = 10;
    synth.size_px = 900;
    CHECK_OK(sw_synth_write(dir, &synth, &err));
    CHECK_OK(sw_slide_list_expand(&operand, 1, &list, &err));
    sw_tile_options o = whole_options(path, 64);
    o.settings.artefacts = (sw_artefact_options){.max_black_fraction = 0.001, .max_white_fraction = 0.6, .max_pen_fraction = 0.2,
                                                 .min_laplacian_variance = 60};
    o.masks = true;
    CHECK_OK(sw_tile(&o, &list, &r, &err));
    CHECK_INT(r.n_done, 10);
    CHECK_OK(sw_store_open(path, &store, &err));
    for (size_t s = 0; s < list.count; s++) {
        SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
        SW_CLEANUP(sw_image_free) sw_image stitch = {0};
        SW_AUTOFREE char *picture = sw_asprintf("%s/stitches/%s.jpg", path, list.entry[s].slide_id);
        CHECK_OK(sw_image_read(picture, &stitch, &err));
        CHECK(stitch.width == 900 && stitch.height == 900);
        int64_t n_left_out[SW_LEFT_KINDS] = {0}, kept = 0, at = sw_store_find(store, list.entry[s].slide_id);
        const sw_store_scale *scale = sw_store_scale_get(store, at, 0);
        SW_AUTOFREE int64_t *xy = sw_calloc((size_t)scale->n_patches * 2, sizeof *xy);
        CHECK_OK(sw_store_coords(store, at, 0, xy, &err));
        CHECK_OK(sw_slide_open(list.entry[s].path, NULL, &slide, &err));
        for (int i = 0; i < 14 * 14; i++) {
            uint8_t rgb[64 * 64 * 3];
            sw_artefacts m;
            CHECK_OK(sw_slide_read_patch(slide, i / 14 * 64, i % 14 * 64, 64, 0.5, rgb, &err));
            sw_artefacts_measure(rgb, 64, 64, &m);
            sw_left_out kind = sw_artefacts_judge(&m, &o.settings.artefacts);
            n_left_out[kind]++;
            if (kind == SW_LEFT_NOT || kind == SW_LEFT_PEN) CHECK(is_white_at(&stitch, i / 14 * 64, i % 14 * 64) == (kind != SW_LEFT_NOT));
            if (kind != SW_LEFT_NOT) continue;
            CHECK(kept < scale->n_patches && xy[2 * kept] == i / 14 * 64 && xy[2 * kept + 1] == i % 14 * 64);
            kept++;
        }
        CHECK_INT(kept, scale->n_patches);
        CHECK_INT(kept, r.row[s].n_patches[0]);
        for (int kind = 1; kind < SW_LEFT_KINDS; kind++) {
            CHECK_INT(scale->n_left_out[kind], n_left_out[kind]);
            CHECK_INT(r.row[s].n_left_out[kind], n_left_out[kind]);
        }
    }
    CHECK(r.n_left_out[SW_LEFT_WHITE] > 0 && r.n_left_out[SW_LEFT_PEN] > 0 && r.n_left_out[SW_LEFT_BLURRED] > 0);
    CHECK(r.n_left_out[SW_LEFT_UNREADABLE] == 0 && r.n_damaged == 0);
    sw_tile_settings back = {0};
    CHECK_OK(sw_tile_settings_of(store, &back, &err));
    CHECK(memcmp(&back.artefacts, &o.settings.artefacts, sizeof back.artefacts) == 0);
    /* a later call counts the same; without a store the positions are the same; other limits are refused */
    sw_store_close(&store);
    SW_CLEANUP(sw_buf_free) sw_buf before = {0}, after = {0};
    SW_AUTOFREE char *picture = sw_asprintf("%s/stitches/%s.jpg", path, list.entry[3].slide_id);
    CHECK_OK(sw_file_read(picture, &before, &err));
    CHECK_OK(sw_file_remove(picture, &err));
    CHECK_OK(sw_tile(&o, &list, &again, &err)); /* draws the picture that is missing */
    CHECK_OK(sw_file_read(picture, &after, &err));
    CHECK(before.size == after.size && memcmp(before.data, after.data, after.size) == 0);
    CHECK(again.n_already == 10 && memcmp(again.n_left_out, r.n_left_out, sizeof r.n_left_out) == 0);
    o.store = NULL;
    o.trident = job;
    CHECK_INT(sw_tile(&o, &list, &only, &err), SW_E_INVALID);
    CHECK_STR(err.message, "pictures are kept in the store or beside CLAM's positions, and neither was named");
    o.masks = false;
    CHECK_OK(sw_tile(&o, &list, &only, &err));
    CHECK(only.n_done == 10 && only.n_patches == r.n_patches && memcmp(only.n_left_out, r.n_left_out, sizeof r.n_left_out) == 0);
    o = whole_options(path, 64);
    CHECK_INT(sw_tile(&o, &list, &other, &err), SW_E_INVALID);
    SW_AUTOFREE char *why = sw_asprintf("store %s: it was made with max_black_fraction = 0.001, and (not set) is asked now; use the same "
                                        "settings, or another store", path);
    CHECK_STR(err.message, why);
}

TEST(a_slide_of_which_nothing_is_left_says_why)
{
    sw_error err = {0};
    SW_CLEANUP(sw_slide_list_free) sw_slide_list list = {0};
    SW_CLEANUP(sw_tile_result_free) sw_tile_result r = {0}, r2 = {0};
    SW_AUTOFREE char *dir = sw_path_join(sw_test_dir(), "nothing"), *path = sw_path_join(dir, "store");
    CHECK_OK(make_slides(dir, &list, &err));
    sw_tile_options o = whole_options(path, 64);
    o.settings.artefacts.min_laplacian_variance = 1e6;
    CHECK_OK(sw_tile(&o, &list, &r, &err));
    CHECK(r.n_failed == 2 && r.row[0].status == SW_TILE_NO_TISSUE);
    SW_AUTOFREE char *why = sw_asprintf("slide %s: none of its 196 patches at 0.5 microns per pixel is left (196 blurred); look at the slide, "
                                        "then change the limits", list.entry[0].slide_id);
    CHECK_STR(reason_of(&r), why);
    o.settings.artefacts.max_pen_fraction = 1.5;
    CHECK_INT(sw_tile(&o, &list, &r2, &err), SW_E_INVALID);
    CHECK_STR(err.message, "max_pen_fraction is 1.5; give a share of the patch's pixels from 0 to 1");
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

/* Of every patch of a store: whether its JPEG decodes to the slide's pixels. */
static int64_t exact_patches(const char *store_path, const sw_slide_list *list, int scale, sw_error *err)
{
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    int64_t exact = 0;
    if (sw_store_open(store_path, &store, err) != SW_OK) return -1;
    for (int64_t s = 0; s < sw_store_slide_count(store); s++) {
        const sw_store_scale *info = sw_store_scale_get(store, s, scale);
        SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
        sw_slide_options o = sw_slide_options_default();
        size_t bytes = 3 * (size_t)info->patch_px * (size_t)info->patch_px;
        SW_AUTOFREE int64_t *xy = sw_calloc((size_t)info->n_patches * 2, sizeof *xy);
        SW_AUTOFREE uint8_t *rgb = sw_malloc(bytes), *kept_rgb = sw_malloc(bytes);
        o.openslide_only = true;
        const sw_slide_entry *entry = sw_slide_list_find(list, sw_store_slide_id(store, s));
        if (!xy || !rgb || !kept_rgb || sw_slide_open(entry->path, &o, &slide, err) != SW_OK) return -1;
        if (sw_store_coords(store, s, scale, xy, err) != SW_OK) return -1;
        for (int64_t i = 0; i < info->n_patches; i++) {
            const void *jpeg;
            size_t size;
            if (sw_store_patch(store, s, scale, i, &jpeg, &size, err) != SW_OK) return -1;
            if (sw_jpeg_decode_into(jpeg, size, SW_PIXEL_RGB, info->patch_px, info->patch_px, kept_rgb, err) != SW_OK) return -1;
            if (sw_slide_read_patch(slide, xy[2 * i], xy[2 * i + 1], info->patch_px, info->mpp_um, rgb, err) != SW_OK) return -1;
            exact += memcmp(rgb, kept_rgb, bytes) == 0;
        }
    }
    return exact;
}

static sw_tile_options passthrough_options(const char *store)
{
    sw_tile_options o = sw_tile_options_default();
    o.store = store;
    o.threads = 2;
    o.settings.n_scales = 2;
    o.settings.mpp_um[0] = 0.5004; /* of the slides 0.5: 0.2 of a pixel over a patch, which must not add up */
    o.settings.mpp_um[1] = 0.7;
    o.settings.tissue.a_t = 1;
    o.settings.passthrough = true;
    return o;
}

TEST(patches_on_tiles_are_stored_as_they_are)
{
    sw_error err = {0};
    SW_CLEANUP(sw_slide_list_free) sw_slide_list list = {0};
    SW_CLEANUP(sw_tile_result_free) sw_tile_result first = {0}, again = {0}, whole = {0}, looked = {0};
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    SW_CLEANUP(sw_buf_free) sw_buf table = {0};
    SW_AUTOFREE char *dir = sw_path_join(sw_test_dir(), "through"), *path = sw_path_join(dir, "store");
    SW_AUTOFREE char *whole_path = sw_path_join(dir, "whole"), *csv = sw_path_join(path, "slides.csv"), *looked_path = sw_path_join(dir, "looked");
    CHECK_OK(make_slides(dir, &list, &err));
    sw_tile_options o = passthrough_options(path);
    CHECK_OK(sw_tile(&o, &list, &first, &err));
    CHECK(first.passthrough && first.n_passed_through >= 8);
    CHECK_INT(first.n_passed_through, first.row[0].n_passed_through + first.row[1].n_passed_through);
    CHECK_INT(exact_patches(path, &list, 0, &err), first.n_passed_through);
    CHECK_INT(exact_patches(path, &list, 1, &err), 0);
    CHECK_OK(sw_store_open(path, &store, &err));
    for (int64_t s = 0; s < 2; s++) {
        const sw_store_scale *scale = sw_store_scale_get(store, s, 0);
        int64_t xy[2 * 64], inside = 0;
        CHECK(scale->n_patches <= 64 && scale->mpp_um == 0.5004 && scale->patch_level0_px == 256 && scale->step_level0_px == 256);
        CHECK_OK(sw_store_coords(store, s, 0, xy, &err));
        for (int64_t i = 0; i < scale->n_patches; i++) {
            CHECK(xy[2 * i] % 256 == 0 && xy[2 * i + 1] % 256 == 0);
            inside += xy[2 * i] + 256 <= 900 && xy[2 * i + 1] + 256 <= 900;
        }
        CHECK_INT(scale->n_passed_through, inside);
        CHECK_INT(sw_store_scale_get(store, s, 1)->n_passed_through, 0);
    }
    sw_tile_settings back;
    CHECK_OK(sw_tile_settings_of(store, &back, &err));
    CHECK(back.passthrough);
    CHECK_OK(sw_tile(&o, &list, &again, &err));
    CHECK(again.n_already == 2 && again.n_passed_through == first.n_passed_through);
    CHECK_OK(sw_file_read(csv, &table, &err));
    CHECK(strstr(table.data, "slide_id,status,patches_0.5004um,patches_0.7um,passed_through,left_out_"));
    sw_tile_result_free(&again);
    o.settings.passthrough = false;
    CHECK_INT(sw_tile(&o, &list, &again, &err), SW_E_INVALID);
    SW_AUTOFREE char *why = sw_asprintf("store %s: it was made with passthrough = yes, and (not set) is asked now; use the same settings, or "
                                        "another store", path);
    CHECK_STR(err.message, why);
    sw_tile_options w = passthrough_options(whole_path);
    w.settings.whole_image = true;
    w.settings.n_scales = 1;
    CHECK_OK(sw_tile(&w, &list, &whole, &err));
    CHECK_INT(whole.n_passed_through, 2 * 9); /* 900 pixels hold 3 whole tiles */
    CHECK_INT(exact_patches(whole_path, &list, 0, &err), 2 * 9);
    sw_tile_options l = passthrough_options(looked_path); /* pixels are looked at, and the tiles stored all the same */
    l.settings.n_scales = 1;
    l.settings.artefacts.max_white_fraction = 0.9999;
    CHECK_OK(sw_tile(&l, &list, &looked, &err));
    CHECK(looked.n_left_out[SW_LEFT_WHITE] + looked.n_patches == first.row[0].n_patches[0] + first.row[1].n_patches[0]);
    CHECK_INT(exact_patches(looked_path, &list, 0, &err), looked.n_passed_through);
    CHECK(looked.n_passed_through >= 8);
}

/* Other sizes and positions have no tile of their own; without the setting none is taken. */
TEST(other_patches_are_encoded)
{
    sw_error err = {0};
    SW_CLEANUP(sw_slide_list_free) sw_slide_list list = {0};
    SW_CLEANUP(sw_tile_result_free) sw_tile_result result = {0};
    SW_AUTOFREE char *dir = sw_path_join(sw_test_dir(), "encoded"), *path[3] = {sw_path_join(dir, "a"), NULL, NULL};
    SW_AUTOFREE char *small = sw_path_join(dir, "b"), *plain = sw_path_join(dir, "c");
    CHECK_OK(make_slides(dir, &list, &err));
    for (int i = 0; i < 3; i++) {
        sw_tile_options o = passthrough_options(i == 0 ? path[0] : i == 1 ? small : plain);
        o.settings.whole_image = true;
        o.settings.n_scales = 1;
        if (i == 0) o.settings.overlap_px = 10; /* all but the first lie beside the tiles */
        if (i == 1) o.settings.patch_px = 128;
        if (i == 2) o.settings.passthrough = false;
        sw_tile_result_free(&result);
        CHECK_OK(sw_tile(&o, &list, &result, &err));
        CHECK_INT(result.n_passed_through, i == 0 ? 2 : 0);
        CHECK_INT(exact_patches(o.store, &list, 0, &err), i == 0 ? 2 : 0);
    }
}

TEST(patches_on_the_tiles_of_real_slides)
{
    if (!sw_test_data()) SKIP("no shared/data beside the checkout");
    sw_error err = {0};
    SW_CLEANUP(sw_slide_list_free) sw_slide_list list = {0};
    SW_CLEANUP(sw_tile_result_free) sw_tile_result result = {0};
    SW_AUTOFREE char *slide = sw_path_join(sw_test_data(), "atlas-mini/slides/hodgkin.tif");
    SW_AUTOFREE char *aperio = sw_path_join(sw_test_data(), "slides/CMU-1-Small-Region.svs");
    SW_AUTOFREE char *path = sw_path_join(sw_test_dir(), "real"), *aperio_path = sw_path_join(sw_test_dir(), "real-240");
    const char *operand = slide;
    CHECK_OK(sw_slide_list_expand(&operand, 1, &list, &err));
    SW_CLEANUP(sw_slide_close) sw_slide *opened = NULL;
    CHECK_OK(sw_slide_open(slide, NULL, &opened, &err));
    sw_tile_options o = passthrough_options(path);
    o.settings.n_scales = 1;
    o.settings.whole_image = true;
    o.settings.mpp_um[0] = sw_slide_get_info(opened)->mpp_um;
    CHECK_OK(sw_tile(&o, &list, &result, &err));
    CHECK_INT(result.n_passed_through, 49);
    CHECK_INT(exact_patches(path, &list, 0, &err), 49);
    sw_slide_list_free(&list);
    sw_tile_result_free(&result);
    operand = aperio;
    CHECK_OK(sw_slide_list_expand(&operand, 1, &list, &err));
    o.store = aperio_path;
    o.settings.patch_px = 240;
    o.settings.mpp_um[0] = 0.499;
    CHECK_OK(sw_tile(&o, &list, &result, &err));
    CHECK_INT(result.n_passed_through, 9 * 12);
    CHECK_INT(exact_patches(aperio_path, &list, 0, &err), 9 * 12);
}
