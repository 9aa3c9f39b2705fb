/* SPDX-License-Identifier: Apache-2.0 */
/* The reference implementation's LMDB (tests/golden/make_reference_lmdb.py wrote two) becomes a store, JPEG by JPEG. */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "slidewise/exchange.h"
#include "slidewise/coords.h"
#include "store/reference.h"
#include "test.h"

static char *golden(const char *name)
{
    return sw_asprintf("%s/golden/reference/%s", sw_test_source(), name);
}

static bool is_file(const char *name, const void *bytes, size_t size)
{
    SW_CLEANUP(sw_buf_free) sw_buf file = {0};
    SW_AUTOFREE char *path = golden(name);
    sw_error err;
    return sw_file_read(path, &file, &err) == SW_OK && file.size == size && memcmp(file.data, bytes, size) == 0;
}

TEST(every_form_of_a_pickled_bytes_object)
{
    static const struct {
        const char *pickle;
        size_t size;
        const char *bytes; /* NULL: refused */
    } form[] = {
        {"\x80\x04\x95\x07\0\0\0\0\0\0\0C\x03" "abc\x94.", 18, "abc"},  /* protocol 4, framed */
        {"\x80\x04" "B\x03\0\0\0" "abc\x94.", 12, "abc"},               /* protocol 4, too large for a frame */
        {"\x80\x04" "B\x03\0\0\0" "abc\x95\x02\0\0\0\0\0\0\0\x94.", 21, "abc"}, /* a frame behind it */
        {"\x80\x05\x8e\x03\0\0\0\0\0\0\0" "abc\x94.", 16, "abc"},       /* more than 4 GiB would look so */
        {"\x80\x03" "C\x03" "abcq\0.", 10, "abc"},                      /* protocol 3 */
        {"\x80\x03" "C\x03" "abcr\0\0\0\0.", 13, "abc"},
        {"\x80\x04" "C\x00.", 5, ""},                                   /* nothing remembered */
        {"\x80\x04" "C\x03" "abc\x94", 8, NULL},                        /* no end */
        {"\x80\x04" "C\x03" "abc\x94..", 10, NULL},                     /* something behind the end */
        {"\x80\x04" "C\x05" "abc\x94.", 9, NULL},                       /* takes its own end for bytes */
        {"\x80\x04" "B\xff\xff\xff\xff" "abc\x94.", 12, NULL},
        {"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\xff" "abc\x94.", 16, NULL},
        {"\x80\x04\x8c\x03" "abc\x94.", 9, NULL},                       /* a text */
        {"\x80\x02" "c_codecs\nencode\n.", 19, NULL},                   /* a call */
        {"abc", 3, NULL},
        {"\x80", 1, NULL},
        {"", 0, NULL},
    };
    for (size_t i = 0; i < sizeof form / sizeof *form; i++) {
        const void *bytes = NULL;
        size_t size = 99;
        bool taken = sw_reference_bytes(form[i].pickle, form[i].size, &bytes, &size);
        if (taken != (form[i].bytes != NULL)) sw_test_fail(__FILE__, __LINE__, "form %zu", i);
        if (taken && form[i].bytes) CHECK(size == strlen(form[i].bytes) && memcmp(bytes, form[i].bytes, size) == 0);
    }
    /* Every cut of the first is refused, from memory of exactly that size. */
    for (size_t size = 0; size < form[0].size; size++) {
        SW_AUTOFREE char *cut = sw_malloc(size + (size == 0));
        const void *bytes;
        size_t n;
        memcpy(cut, form[0].pickle, size);
        CHECK(!sw_reference_bytes(cut, size, &bytes, &n));
    }
}

TEST(keys)
{
    size_t slide;
    int64_t index;
    CHECK(sw_reference_key("a-0", 3, &slide, &index) && slide == 1 && index == 0);
    CHECK(sw_reference_key("a-1-10", 6, &slide, &index) && slide == 3 && index == 10);
    CHECK(sw_reference_key("a-999999999", 11, &slide, &index) && index == 999999999);
    static const char *const bad[] = {"", "a", "-1", "a-", "a-1x", "a-01", "17", "a-1000000000"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) CHECK(!sw_reference_key(bad[i], strlen(bad[i]), &slide, &index));
}

TEST(the_reference_lmdb_becomes_a_store)
{
    sw_error err = {0};
    SW_CLEANUP(sw_tile_result_free) sw_tile_result result = {0}, again = {0};
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    SW_AUTOFREE char *path = sw_path_join(sw_test_dir(), "store"), *lmdb = golden("224_80_level1.lmdb");
    sw_import_options o = sw_import_options_default();
    o.lmdb = lmdb;
    o.store = path;
    o.mpp_um = 1.0;
    CHECK_OK(sw_import_reference(&o, &result, &err));
    CHECK(result.count == 3 && result.n_done == 3 && result.n_failed == 0 && result.n_patches == 16);
    CHECK_OK(sw_store_open(path, &store, &err));
    CHECK_OK(sw_store_verify(store, NULL, NULL, &err));
    CHECK_INT(sw_store_slide_count(store), 3);
    static const char *const id[] = {"a", "a-1", "b c"};
    const int64_t n[] = {12, 3, 1};
    for (int64_t s = 0; s < 3; s++) {
        const sw_store_scale *scale = sw_store_scale_get(store, s, 0);
        CHECK_STR(sw_store_slide_id(store, s), id[s]);
        CHECK(scale->n_patches == n[s] && scale->patch_px == 32 && scale->mpp_um == 1.0 && scale->quality == 80);
        CHECK(scale->patch_level0_px == 0 && sw_store_slide_get(store, s)->width == 0);
    }
    const void *jpeg;
    size_t size;
    CHECK_OK(sw_store_patch(store, 0, 0, 10, &jpeg, &size, &err));
    CHECK(is_file("a-10.jpg", jpeg, size));
    CHECK_OK(sw_store_patch(store, 1, 0, 2, &jpeg, &size, &err));
    CHECK(is_file("a-1-2.jpg", jpeg, size));
    sw_store_close(&store);
    CHECK_OK(sw_import_reference(&o, &again, &err));
    CHECK(again.n_done == 0 && again.n_already == 3 && again.n_patches == 16);
    sw_tile_result_free(&again);
    o.mpp_um = 0.5;
    CHECK_INT(sw_import_reference(&o, &again, &err), SW_E_INVALID);
    SW_AUTOFREE char *differs = sw_asprintf("store %s: it was made with mpp_um = 1, and 0.5 is asked now; use the same settings, or another "
                                            "store", path);
    CHECK_STR(err.message, differs);
}

static void log_text(void *ctx, sw_log_level level, const char *text)
{
    (void)level;
    snprintf(ctx, 512, "%s", text);
}

TEST(an_unfinished_lmdb)
{
    sw_error err = {0};
    char said[512] = "";
    sw_sink sink = {.ctx = said, .log = log_text};
    SW_CLEANUP(sw_tile_result_free) sw_tile_result result = {0};
    SW_AUTOFREE char *path = sw_path_join(sw_test_dir(), "unfinished"), *lmdb = golden("unfinished.lmdb");
    sw_import_options o = sw_import_options_default();
    o.lmdb = lmdb;
    o.store = path;
    o.mpp_um = 1.0;
    o.sink = &sink;
    CHECK_OK(sw_import_reference(&o, &result, &err));
    CHECK(result.n_done == 1 && result.n_patches == 2);
    SW_AUTOFREE char *expected = sw_asprintf("%s: its writer did not come to its end (no table __pn__); the last slide may lack patches", lmdb);
    CHECK_STR(said, expected);
}

TEST(positions_of_an_lmdb)
{
    sw_error err = {0};
    SW_CLEANUP(sw_tile_result_free) sw_tile_result result = {0};
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    SW_AUTOFREE char *path = sw_path_join(sw_test_dir(), "with_coords"), *lmdb = golden("224_80_level1.lmdb");
    SW_AUTOFREE char *coords = sw_path_join(sw_test_dir(), "coords"), *three = sw_path_join(coords, "a-1.h5"), *other = sw_path_join(coords, "a.h5");
    SW_AUTOFREE char *from = sw_asprintf("%s/golden/coords/clam.h5", sw_test_source());
    SW_CLEANUP(sw_buf_free) sw_buf file = {0};
    CHECK_OK(sw_mkdir_p(coords, &err));
    CHECK_OK(sw_file_read(from, &file, &err)); /* three positions: right for a-1, wrong for a; none for "b c" */
    CHECK_OK(sw_file_write(three, file.data, file.size, &err));
    CHECK_OK(sw_file_write(other, file.data, file.size, &err));
    sw_import_options o = sw_import_options_default();
    o.lmdb = lmdb;
    o.store = path;
    o.mpp_um = 1.0;
    o.coords = coords;
    CHECK_OK(sw_import_reference(&o, &result, &err));
    CHECK(result.n_done == 1 && result.n_failed == 2);
    SW_AUTOFREE char *count = sw_asprintf("slide a: %s holds 3 positions and %s 12 patches; give the coordinates that the LMDB was cut at", other, lmdb);
    CHECK_STR(result.row[0].reason, count);
    SW_AUTOFREE char *none = sw_asprintf("slide b c: no coordinates in %s: neither b c.h5 nor b c_patches.h5 is there or in its folder patches", coords);
    CHECK_STR(result.row[2].reason, none);
    CHECK_OK(sw_store_open(path, &store, &err));
    int64_t xy[6];
    CHECK_OK(sw_store_coords(store, 0, 0, xy, &err));
    CHECK(xy[0] == 128 && xy[1] == 64 && xy[4] == 640 && xy[5] == 64);
    CHECK(sw_store_scale_get(store, 0, 0)->patch_level0_px == 512);
}

TEST(what_is_no_reference_lmdb)
{
    sw_error err = {0};
    sw_reference r;
    SW_AUTOFREE char *absent = sw_path_join(sw_test_dir(), "absent.lmdb"), *text = sw_path_join(sw_test_dir(), "text.lmdb");
    CHECK_INT(sw_reference_open(absent, &r, &err), SW_E_NOT_FOUND);
    CHECK_INT(sw_reference_open(sw_test_dir(), &r, &err), SW_E_FORMAT);
    SW_AUTOFREE char *folder = sw_asprintf("%s is a folder; the reference implementation's LMDB is one file, give that", sw_test_dir());
    CHECK_STR(err.message, folder);
    CHECK_OK(sw_file_write(text, "no database, but long enough to be looked at", 44, &err));
    CHECK_INT(sw_reference_open(text, &r, &err), SW_E_FORMAT);
    SW_AUTOFREE char *no_lmdb = sw_asprintf("%s: not an LMDB database, or its head is damaged; give the .lmdb file that the reference "
                                            "implementation wrote", text);
    CHECK_STR(err.message, no_lmdb);
    /* The file cut in the middle. */
    SW_CLEANUP(sw_buf_free) sw_buf file = {0};
    SW_AUTOFREE char *whole = golden("224_80_level1.lmdb");
    CHECK_OK(sw_file_read(whole, &file, &err));
    CHECK_OK(sw_file_write(text, file.data, file.size / 2, &err));
    CHECK_INT(sw_reference_open(text, &r, &err), SW_E_FORMAT);
    SW_AUTOFREE char *cut = sw_asprintf("%s: it is truncated: %zu bytes of %zu are there; copy it again from where it is whole", text,
                                        file.size / 2, file.size);
    CHECK_STR(err.message, cut);
}

/* A bit of a pickle flipped: the slide fails with the patch's name, the others come over. */
TEST(a_damaged_value)
{
    sw_error err = {0};
    SW_CLEANUP(sw_tile_result_free) sw_tile_result result = {0};
    SW_CLEANUP(sw_buf_free) sw_buf file = {0}, jpeg = {0};
    SW_AUTOFREE char *whole = golden("224_80_level1.lmdb"), *ten = golden("a-10.jpg"), *path = sw_path_join(sw_test_dir(), "damaged.lmdb");
    SW_AUTOFREE char *store = sw_path_join(sw_test_dir(), "damaged");
    CHECK_OK(sw_file_read(whole, &file, &err));
    CHECK_OK(sw_file_read(ten, &jpeg, &err));
    char *at = memmem(file.data, file.size, jpeg.data, jpeg.size);
    CHECK(at != NULL);
    at[-5] = 'X'; /* the code that says "bytes" */
    CHECK_OK(sw_file_write(path, file.data, file.size, &err));
    sw_import_options o = sw_import_options_default();
    o.lmdb = path;
    o.store = store;
    o.mpp_um = 1.0;
    CHECK_OK(sw_import_reference(&o, &result, &err));
    CHECK(result.n_done == 2 && result.n_failed == 1);
    SW_AUTOFREE char *why = sw_asprintf("slide a: patch 10 of %s is no pickled bytes object, which is all that is read from a pickle here", path);
    CHECK_STR(result.row[0].reason, why);
}
