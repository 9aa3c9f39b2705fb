/* SPDX-License-Identifier: Apache-2.0 */
/* Files of features: what is written is read back, damaged ones end no program, and memory is that of the cache. */
#include "base/fs.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/thread.h"
#include "slidewise/store.h"
#include "store/hdf5_features.h"
#include "test.h"

enum { N = 7, DIM = 5 };

static sw_error err;

static void fill(float *value, int64_t n, int slide)
{
    for (int64_t i = 0; i < n; i++) value[i] = (float)(i % 977) * 0.25f - (float)slide;
}

/* `slide` in `dir`, n rows. */
static sw_status write_slide(const char *dir, int slide, int64_t n, int64_t dim, sw_buf *out)
{
    SW_AUTOFREE char *path = sw_asprintf("%s/s%d.h5", dir, slide);
    SW_AUTOFREE float *value = sw_calloc((size_t)(n * dim), sizeof *value);
    SW_AUTOFREE int64_t *xy = sw_calloc((size_t)n * 2, sizeof *xy);
    const sw_h5_attribute of_coords[] = {{.name = "patch_size", .type = SW_H5_INT, .value = {256}},
                                         {.name = "level0_magnification", .type = SW_H5_INT, .value = {40}},
                                         {.name = "target_magnification", .type = SW_H5_REAL, .value = {12.5}},
                                         {.name = "pair", .type = SW_H5_REAL, .count = 2, .value = {4, 4.5}},
                                         {.name = "name", .type = SW_H5_TEXT, .text = "s"}};
    const sw_h5_attribute of_file = {.name = "made_by", .type = SW_H5_TEXT, .text = "a test"};
    fill(value, n * dim, slide);
    for (int64_t i = 0; i < n; i++) xy[2 * i] = 10 * i;
    sw_h5_features_file file = {.n = n, .dim = dim, .features = value, .xy = xy, .of_coords = of_coords, .n_of_coords = 5, .of_file = &of_file, .n_of_file = 1};
    SW_TRY(sw_h5_features_write(&file, out, &err));
    return sw_file_write(path, out->data, out->size, &err);
}

TEST(what_is_written_is_read)
{
    SW_CLEANUP(sw_buf_free) sw_buf bytes = {0}, again = {0};
    SW_CLEANUP(sw_h5_attributes_free) sw_h5_attributes all = {0};
    SW_AUTOFREE char *path = sw_asprintf("%s/s3.h5", sw_test_dir());
    sw_h5_features head;
    float value[N * DIM], expected[N * DIM];
    double xy[2 * N];
    sw_h5_wanted wanted[] = {{.name = "patch_size"}, {.name = "made_by", .is_text = true}, {.name = "absent"}};
    CHECK_OK(write_slide(sw_test_dir(), 3, N, DIM, &bytes));
    CHECK_OK(sw_h5_features_look(path, &head, wanted, 3, &err));
    CHECK(head.n == N && head.dim == DIM && head.has_coords && head.step == 0); /* the attributes tell enough */
    CHECK(wanted[0].count == 1 && wanted[0].value[0] == 256 && wanted[2].count == 0);
    CHECK_STR(wanted[1].text, "a test");
    sw_free(wanted[1].text);
    CHECK_OK(sw_h5_features_read(path, &head, value, &err));
    fill(expected, N * DIM, 3);
    CHECK(memcmp(value, expected, sizeof value) == 0);
    CHECK_OK(sw_h5_features_coords(path, &head, xy, &err));
    for (int i = 0; i < N; i++) CHECK(xy[2 * i] == 10 * i && xy[2 * i + 1] == 0);
    CHECK_OK(sw_h5_features_look(path, &head, NULL, 0, &err));
    CHECK(head.step == 10);
    CHECK_OK(sw_h5_coords_attributes(path, &all, &err));
    CHECK_INT(all.count, 5);
    CHECK_STR(all.item[0].name, "level0_magnification"); /* by name */
    CHECK(all.item[0].type == SW_H5_INT && all.item[0].count == 0 && all.item[0].value[0] == 40);
    CHECK(all.item[2].type == SW_H5_REAL && all.item[2].count == 2 && all.item[2].value[1] == 4.5);
    CHECK_STR(all.item[1].text, "s");
    /* the same content, the same bytes */
    CHECK_OK(write_slide(sw_test_dir(), 3, N, DIM, &again));
    CHECK(bytes.size == again.size && memcmp(bytes.data, again.data, bytes.size) == 0);
    /* a file that became another one in the meantime */
    head.n = N + 1;
    CHECK_INT(sw_h5_features_read(path, &head, value, &err), SW_E_FORMAT);
    SW_AUTOFREE char *changed = sw_asprintf("%s: it was written anew in the meantime (features of 8 x 5, now 7 x 5); start again", path);
    CHECK_STR(err.message, changed);
}

TEST(a_file_that_is_not_there_or_none)
{
    SW_AUTOFREE char *path = sw_path_join(sw_test_dir(), "none.h5"), *said = NULL, *bad = NULL;
    sw_h5_features head;
    CHECK_INT(sw_h5_features_look(path, &head, NULL, 0, &err), SW_E_NOT_FOUND);
    said = sw_asprintf("cannot read %s: No such file or directory", path);
    CHECK_STR(err.message, said);
    CHECK_OK(sw_file_write(path, "", 0, &err));
    CHECK_INT(sw_h5_features_look(path, &head, NULL, 0, &err), SW_E_FORMAT);
    bad = sw_asprintf("%s: not an HDF5 file, or a damaged one; give the .h5 that CLAM, TRIDENT, STAMP or slidewise wrote", path);
    CHECK_STR(err.message, bad);
    CHECK_OK(sw_file_write(path, "\x89HDF\r\n\x1a\n and no more", 21, &err));
    CHECK_INT(sw_h5_features_look(path, &head, NULL, 0, &err), SW_E_FORMAT);
    CHECK_STR(err.message, bad);
}

/* Every byte that means something, bent in turn. */
TEST(damaged_files_end_no_program)
{
    SW_CLEANUP(sw_buf_free) sw_buf bytes = {0};
    SW_AUTOFREE char *path = sw_path_join(sw_test_dir(), "bent.h5");
    static const unsigned char bend[] = {0x01, 0x80, 0xff};
    int refused = 0, read = 0;
    CHECK_OK(write_slide(sw_test_dir(), 1, N, DIM, &bytes));
    for (size_t at = 0; at < bytes.size; at++) {
        sw_h5_features head;
        SW_AUTOFREE float *value = NULL;
        if (bytes.data[at] == 0 && at % 11 != 0) continue; /* most of the file is room */
        bytes.data[at] = (char)(bytes.data[at] ^ bend[at % 3]);
        CHECK_OK(sw_file_write(path, bytes.data, bytes.size, &err));
        bytes.data[at] = (char)(bytes.data[at] ^ bend[at % 3]);
        sw_status status = sw_h5_features_look(path, &head, NULL, 0, &err);
        if (status == SW_OK && head.n * head.dim < 1 << 20) {
            value = sw_calloc((size_t)(head.n * head.dim) + 1, sizeof *value);
            CHECK(value);
            status = sw_h5_features_read(path, &head, value, &err);
        }
        read += status == SW_OK;
        refused += status != SW_OK;
        if (status != SW_OK) CHECK(strstr(err.message, "bent.h5: ") && (status == SW_E_FORMAT || status == SW_E_UNSUPPORTED || status == SW_E_NOMEM));
    }
    printf("# %d refused, %d read\n", refused, read);
    CHECK(refused > 50 && read > 50);
}

/* --- many at once */

enum { SLIDES = 6, ROWS = 40, WIDE = 64, ASKED = 400 };

typedef struct asking {
    const sw_store *store;
    int bad;
} asking;

static sw_status ask_one(void *ctx, int64_t i, sw_error *e)
{
    asking *a = ctx;
    sw_rng rng = sw_rng_stream(7, SW_RNG_SAMPLE, 0, (uint32_t)i, 0);
    int64_t slide = (int64_t)sw_rng_below(&rng, SLIDES), index[3];
    float value[3 * WIDE], all[ROWS * WIDE];
    for (int k = 0; k < 3; k++) index[k] = (int64_t)sw_rng_below(&rng, ROWS);
    SW_TRY(sw_store_features(a->store, slide, index, 3, value, e));
    fill(all, ROWS * WIDE, (int)slide);
    for (int k = 0; k < 3; k++) {
        if (memcmp(value + k * WIDE, all + index[k] * WIDE, WIDE * sizeof *all) != 0) __atomic_fetch_add(&a->bad, 1, __ATOMIC_RELAXED);
    }
    return SW_OK;
}

TEST(many_threads_and_a_small_cache)
{
    SW_AUTOFREE char *dir = sw_path_join(sw_test_dir(), "many");
    sw_pool *pool = NULL;
    CHECK_OK(sw_mkdir_p(dir, &err));
    for (int i = 0; i < SLIDES; i++) {
        SW_CLEANUP(sw_buf_free) sw_buf bytes = {0};
        CHECK_OK(write_slide(dir, i, ROWS, WIDE, &bytes));
    }
    CHECK_OK(sw_pool_new(4, &pool, &err));
    for (int kept = 0; kept < 3; kept++) { /* no slide, two slides, all */
        SW_CLEANUP(sw_store_close) sw_store *store = NULL;
        sw_store_features_options o = {.path = dir, .cache_bytes = kept == 2 ? 1 << 24 : (int64_t)kept * 2 * ROWS * WIDE * 4};
        CHECK_OK(sw_store_open_features(&o, &store, &err));
        asking a = {.store = store};
        CHECK_OK(sw_pool_for(pool, kept == 2 ? ASKED : ASKED / 4, ask_one, &a, &err));
        CHECK_INT(a.bad, 0);
    }
    sw_pool_free(pool);
}
