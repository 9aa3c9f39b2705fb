/* SPDX-License-Identifier: Apache-2.0 */
/* Stores as folders of JPEGs and as tar archives. */
#include <sys/stat.h>

#include "base/fs.h"
#include "base/mem.h"
#include "slidewise/exchange.h"
#include "store/tar.h"
#include "test.h"

/* Slides "a.b" (positions known; scales 1 and 2 um) and "c" (imported: not known; scale 1 um). Not JPEGs: nobody looks. */
static sw_status write_slide(sw_store_writer *w, const char *id, int n_scales, double side, sw_error *err)
{
    const int64_t xy[6] = {0, 0, 512, -3, 1024, 77}, *all[2] = {xy, xy};
    SW_TRY(sw_store_begin(w, id, err));
    for (int s = 0; s < n_scales; s++) {
        for (int i = 0; i < 3; i++) {
            char text[64];
            int size = snprintf(text, sizeof text, "%s scale %d patch %d", id, s, i);
            SW_TRY(sw_store_put(w, s, i, text, (size_t)size, err));
        }
    }
    sw_store_slide slide = {.slide_id = id, .path = "x.svs", .mpp_um = side > 0 ? 0.25 : 0, .mpp_source = "scanner", .properties_json = "{}",
                            .n_scales = n_scales};
    for (int s = 0; s < n_scales; s++) {
        slide.scale[s] = (sw_store_scale){.mpp_um = s + 1, .magnification = 10.0 / (s + 1), .patch_px = 256, .quality = 80,
                                          .patch_level0_px = side * (s + 1), .n_patches = 3};
    }
    return sw_store_commit(w, &slide, all, err);
}

static sw_status make_store(const char *path, sw_error *err)
{
    SW_CLEANUP(sw_store_writer_close) sw_store_writer *w = NULL;
    const sw_store_setting_pair setting = {"mpp_um", "1, 2"};
    SW_TRY(sw_store_writer_open(path, &setting, 1, &w, err));
    SW_TRY(write_slide(w, "a.b", 2, 1024, err));
    return write_slide(w, "c", 1, 0, err);
}

static bool holds(const char *dir, const char *name, const char *text)
{
    SW_CLEANUP(sw_buf_free) sw_buf file = {0};
    SW_AUTOFREE char *path = sw_path_join(dir, name);
    sw_error err;
    return sw_file_read(path, &file, &err) == SW_OK && file.size == strlen(text) && memcmp(file.data, text, file.size) == 0;
}

TEST(a_folder_of_files)
{
    sw_error err = {0};
    sw_export_result r;
    SW_AUTOFREE char *store = sw_path_join(sw_test_dir(), "folder"), *out = sw_path_join(sw_test_dir(), "folder_out");
    sw_export_options o = sw_export_options_default();
    CHECK_OK(make_store(store, &err));
    o.store = store;
    o.out = out;
    CHECK_OK(sw_export(&o, &r, &err));
    CHECK(r.n_written == 3 && r.n_already == 0 && r.n_patches == 9 && r.n_bytes == 6 * 19 + 3 * 17);
    CHECK(holds(out, "1um/a.b/000001_x512_y-3.jpg", "a.b scale 0 patch 1"));
    CHECK(holds(out, "2um/a.b/000002_x1024_y77.jpg", "a.b scale 1 patch 2"));
    CHECK(holds(out, "1um/c/000000.jpg", "c scale 0 patch 0"));
    /* What a killed call left is not taken for anything; what is whole is not written again. */
    SW_AUTOFREE char *part = sw_path_join(out, "1um/.c.part"), *stale = sw_path_join(part, "000000_x5_y5.jpg"), *whole = sw_path_join(out, "1um/c");
    CHECK(rename(whole, part) == 0);
    CHECK_OK(sw_file_write(stale, "old", 3, &err));
    CHECK_OK(sw_export(&o, &r, &err));
    CHECK(r.n_written == 1 && r.n_already == 2 && r.n_patches == 3);
    CHECK(holds(out, "1um/c/000000.jpg", "c scale 0 patch 0") && !sw_path_exists(part));
    CHECK(!holds(out, "1um/c/000000_x5_y5.jpg", "old"));
}

TEST(what_was_asked_for)
{
    sw_error err = {0};
    sw_export_result r;
    SW_AUTOFREE char *store = sw_path_join(sw_test_dir(), "asked"), *out = sw_path_join(sw_test_dir(), "asked_out"), *one = sw_path_join(out, "1um");
    sw_export_options o = sw_export_options_default();
    const char *const slide[] = {"a.b"}, *const absent[] = {"a"};
    CHECK_OK(make_store(store, &err));
    o.store = store;
    o.out = out;
    o.mpp_um = 2.0;
    CHECK_OK(sw_export(&o, &r, &err));
    CHECK(r.n_written == 1 && !sw_path_exists(one));
    o.mpp_um = 0;
    o.slide = slide;
    o.n_slides = 1;
    CHECK_OK(sw_export(&o, &r, &err));
    CHECK(r.n_written == 1 && r.n_already == 1);
    o.slide = absent;
    CHECK_INT(sw_export(&o, &r, &err), SW_E_NOT_FOUND);
    SW_AUTOFREE char *no_slide = sw_asprintf("store %s: there is no slide a in it", store);
    CHECK_STR(err.message, no_slide);
    o.n_slides = 0;
    o.mpp_um = 3;
    CHECK_INT(sw_export(&o, &r, &err), SW_E_NOT_FOUND);
    SW_AUTOFREE char *no_scale = sw_asprintf("store %s: no slide has a scale of 3 um/px", store);
    CHECK_STR(err.message, no_scale);
}

/* The octal number of a header's field. */
static long field(const char *header, int at)
{
    long value = 0;
    for (const char *c = header + at; *c >= '0' && *c <= '7'; c++) value = value * 8 + (*c - '0');
    return value;
}

static bool is_header(const char *h)
{
    long sum = 0;
    for (int i = 0; i < SW_TAR_BLOCK; i++) sum += i >= 148 && i < 156 ? ' ' : (unsigned char)h[i];
    return memcmp(h + 257, "ustar\0" "00", 8) == 0 && field(h, 148) == sum && h[154] == '\0' && h[155] == ' ';
}

TEST(an_archive)
{
    sw_error err = {0};
    sw_export_result r;
    SW_CLEANUP(sw_buf_free) sw_buf file = {0}, c = {0};
    SW_AUTOFREE char *store = sw_path_join(sw_test_dir(), "tar"), *out = sw_path_join(sw_test_dir(), "tar_out");
    SW_AUTOFREE char *tar = sw_path_join(out, "1um/a.b.tar"), *other = sw_path_join(out, "1um/c.tar");
    sw_export_options o = sw_export_options_default();
    CHECK_OK(make_store(store, &err));
    o.store = store;
    o.out = out;
    o.form = SW_EXPORT_TAR;
    CHECK_OK(sw_export(&o, &r, &err));
    CHECK(r.n_written == 3);
    CHECK_OK(sw_file_read(tar, &file, &err));
    CHECK_INT(file.size, (3 * 4 + 2) * SW_TAR_BLOCK);
    const char *h = file.data + 4 * SW_TAR_BLOCK; /* of patch 1 */
    CHECK(is_header(h) && strcmp(h, "a.b/000001.jpg") == 0 && field(h, 124) == 19 && field(h, 100) == 0644 && h[156] == '0');
    CHECK(memcmp(h + SW_TAR_BLOCK, "a.b scale 0 patch 1\0", 20) == 0);
    h += 2 * SW_TAR_BLOCK;
    const char json[] = "{\"slide_id\":\"a.b\",\"index\":1,\"level0_x\":512,\"level0_y\":-3,\"patch_level0_px\":1024,\"patch_px\":256,"
                        "\"mpp_um\":1,\"slide_mpp_um\":0.25}";
    CHECK(is_header(h) && strcmp(h, "a.b/000001.json") == 0);
    CHECK_INT(field(h, 124), sizeof json - 1);
    CHECK_STR(h + SW_TAR_BLOCK, json);
    for (size_t i = file.size - 2 * SW_TAR_BLOCK; i < file.size; i++) CHECK(file.data[i] == 0);
    CHECK_OK(sw_file_read(other, &c, &err));
    CHECK_STR(c.data + 3 * SW_TAR_BLOCK, "{\"slide_id\":\"c\",\"index\":0,\"patch_px\":256,\"mpp_um\":1}");
}

TEST(a_long_name)
{
    SW_CLEANUP(sw_buf_free) sw_buf tar = {0};
    char name[201] = "";
    memset(name, 'n', 200);
    sw_tar_member(&tar, name, "x", 1);
    CHECK(!tar.failed);
    CHECK_INT(tar.size, 4 * SW_TAR_BLOCK);
    CHECK(is_header(tar.data) && tar.data[156] == 'x' && field(tar.data, 124) == 210);
    CHECK(strncmp(tar.data + SW_TAR_BLOCK, "210 path=nnn", 12) == 0 && tar.data[SW_TAR_BLOCK + 209] == '\n');
    CHECK(is_header(tar.data + 2 * SW_TAR_BLOCK) && tar.data[3 * SW_TAR_BLOCK] == 'x');
    sw_buf_clear(&tar);
    name[92] = '\0'; /* with its record, 92 characters are 101 and 91 are 99: the length's own digits count */
    memset(name, 'n', 92);
    sw_tar_member(&tar, name, "x", 1);
    CHECK_INT(tar.size, 2 * SW_TAR_BLOCK);
}
