/* SPDX-License-Identifier: Apache-2.0 */
/* The files of features that h5py wrote (tests/golden/make_features.py): the forms of CLAM, TRIDENT and STAMP are read, others refused. */
#include "base/fs.h"
#include "base/mem.h"
#include "slidewise/slide.h"
#include "slidewise/store.h"
#include "test.h"

enum { N = 5, DIM = 8 };

static sw_error err;

static char *path_of(const char *name)
{
    return sw_asprintf("%s/golden/features/%s", sw_test_source(), name);
}

static sw_status open_at(const char *name, sw_store **out)
{
    SW_AUTOFREE char *path = path_of(name);
    sw_store_features_options o = sw_store_features_options_default();
    o.path = path;
    o.threads = 2;
    return sw_store_open_features(&o, out, &err);
}

/* Rows 0 to n - 1 of a slide are the numbers of make_features.py. */
static bool has_values(const sw_store *store, int64_t slide, int64_t n)
{
    const int64_t all[N] = {0, 1, 2, 3, 4};
    float value[N * DIM];
    if (sw_store_features(store, slide, all, n, value, &err) != SW_OK) return sw_test_fail(__FILE__, __LINE__, "%s", err.message);
    for (int i = 0; i < n * DIM; i++) {
        if (value[i] != (float)i / 8 - 1) return sw_test_fail(__FILE__, __LINE__, "value %d is %g", i, (double)value[i]);
    }
    return true;
}

static bool has_positions(const sw_store *store, int64_t slide, double scale)
{
    static const int64_t expected[2 * N] = {100, 50, 100, 306, 100, 562, 356, 50, 1003, 77};
    int64_t xy[2 * N];
    if (sw_store_coords(store, slide, 0, xy, &err) != SW_OK) return sw_test_fail(__FILE__, __LINE__, "%s", err.message);
    for (int64_t i = 0; i < 2 * sw_store_scale_get(store, slide, 0)->n_patches; i++) {
        if (xy[i] != llround((double)expected[i] * scale)) return sw_test_fail(__FILE__, __LINE__, "position %lld is %lld", (long long)i, (long long)xy[i]);
    }
    return true;
}

TEST(files_of_clam)
{
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    CHECK_OK(open_at("clam", &store)); /* h5_files in it */
    CHECK(strstr(sw_store_path(store), "clam/h5_files"));
    CHECK_INT(sw_store_slide_count(store), 2);
    CHECK_INT(sw_store_feature_dim(store), DIM);
    CHECK(!sw_store_has_jpegs(store));
    CHECK_INT(sw_store_find(store, "two"), 1);
    CHECK_INT(sw_store_scale_get(store, 1, 0)->n_patches, 3);
    CHECK(sw_store_scale_get(store, 0, 0)->patch_level0_px == 256); /* the grid tells it */
    CHECK(has_values(store, 0, N) && has_values(store, 1, 3));
    CHECK(has_positions(store, 0, 1) && has_positions(store, 1, 1));
    /* rows by their index, in any order */
    const int64_t some[3] = {4, 0, 4};
    float value[3 * DIM];
    CHECK_OK(sw_store_features(store, 0, some, 3, value, &err));
    CHECK(value[0] == 3 && value[DIM] == -1 && value[2 * DIM + 7] == (float)39 / 8 - 1);
    const int64_t beyond = 3;
    CHECK_INT(sw_store_features(store, 1, &beyond, 1, value, &err), SW_E_INVALID);
}

TEST(files_of_trident)
{
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    CHECK_OK(open_at("trident", &store));
    CHECK(strstr(sw_store_path(store), "trident/features_resnet50"));
    CHECK_INT(sw_store_slide_count(store), 2);
    for (int64_t i = 0; i < 2; i++) { /* the second is [1, n, dim] */
        const sw_store_scale *scale = sw_store_scale_get(store, i, 0);
        CHECK(scale->n_patches == N && scale->patch_px == 256 && scale->patch_level0_px == 512);
        CHECK(sw_store_slide_get(store, i)->width == 2000 && sw_store_slide_get(store, i)->height == 1600);
        CHECK(has_values(store, i, N) && has_positions(store, i, 1));
    }
}

TEST(files_of_stamp)
{
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    CHECK_OK(open_at("stamp", &store));
    CHECK_INT(sw_store_slide_count(store), 2);
    int64_t one = sw_store_find(store, "one"), extremes = sw_store_find(store, "extremes"), xy[2 * N];
    const sw_store_scale *scale = sw_store_scale_get(store, one, 0);
    CHECK(scale->patch_level0_px == 256 && scale->patch_px == 224); /* microns, of which a pixel has 1 */
    CHECK(sw_store_slide_get(store, one)->mpp_um == 1 && sw_store_slide_get(store, extremes)->mpp_um == 0);
    CHECK(has_values(store, one, N) && has_positions(store, one, 0.5));
    const int64_t first = 0;
    float value[DIM];
    CHECK_OK(sw_store_features(store, extremes, &first, 1, value, &err));
    CHECK(value[0] == 0x1p-24f && value[1] == -1023 * 0x1p-24f && value[2] == 65504 && value[3] == -65504);
    CHECK(value[4] == 0 && signbit(value[4]) && value[5] == 0.333251953125f);
    CHECK_INT(sw_store_coords(store, extremes, 0, xy, &err), SW_E_NOT_FOUND);
    CHECK(strstr(err.message, "stamp/extremes.h5: it holds no positions (no dataset \"coords\")"));
    CHECK(sw_store_scale_get(store, extremes, 0)->patch_level0_px == 0);
}

TEST(other_forms)
{
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    CHECK_OK(open_at("forms", &store));
    CHECK_INT(sw_store_slide_count(store), 4);
    for (int64_t i = 0; i < 4; i++) CHECK(has_values(store, i, N));
}

/* One file alone: what is said of it. */
static bool refused(const char *name, const char *said)
{
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    SW_AUTOFREE char *path = path_of(name), *whole = sw_asprintf("%s: %s", path, said);
    float value[N * DIM];
    const int64_t first = 0;
    sw_status status = open_at(name, &store);
    if (status == SW_OK) status = sw_store_features(store, 0, &first, 1, value, &err);
    if (status == SW_E_FORMAT && strcmp(err.message, whole) == 0) return true;
    return sw_test_fail(__FILE__, __LINE__, "%s: %s, expected %s", name, status == SW_OK ? "taken" : err.message, whole);
}

TEST(what_is_refused)
{
    CHECK(refused("refused/empty.h5", "it holds no patch"));
    CHECK(refused("refused/nothing.h5", "it holds no patch"));
    CHECK(refused("refused/nan.h5", "feature 2 of patch 3 is not a number (NaN); features must be finite numbers, make the file again"));
    CHECK(refused("refused/infinite.h5", "feature 7 of patch 4 is infinite; features must be finite numbers, make the file again"));
    CHECK(refused("refused/one_row.h5",
                  "its features are one row for the whole slide; slidewise reads one row of numbers per patch, [n, width] or [1, n, width]"));
    CHECK(refused("refused/cube.h5", "its features are no table; slidewise reads one row of numbers per patch, [n, width] or [1, n, width]"));
    CHECK(refused("refused/whole_numbers.h5",
                  "its features are no floating-point numbers; slidewise reads one row of numbers per patch, [n, width] or [1, n, width]"));
    CHECK(refused("refused/fewer_positions.h5", "it holds features of 5 patches and positions of 4; make the file again"));
    CHECK(refused("refused/positions_only.h5", "no dataset \"features\" (or \"feats\") in it; give a file of features, such as CLAM's "
                                               "h5_files/SLIDE.h5 or TRIDENT's features_ENCODER/SLIDE.h5"));
    CHECK(refused("refused/group.h5", "its \"features\" are no dataset; slidewise reads the files of CLAM, TRIDENT, STAMP or slidewise"));
}

static void count_warning(void *ctx, sw_log_level level, const char *text)
{
    int *n = ctx;
    if (level == SW_LOG_WARNING && strstr(text, "/refused/")) ++*n;
}

TEST(what_cannot_be_read_is_left_out_and_told)
{
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    SW_AUTOFREE char *path = path_of("refused");
    int warnings = 0;
    const sw_sink sink = {.ctx = &warnings, .log = count_warning};
    sw_store_features_options o = sw_store_features_options_default();
    o.path = path;
    o.sink = &sink;
    CHECK_OK(sw_store_open_features(&o, &store, &err));
    CHECK_INT(sw_store_slide_count(store), 2); /* nan and infinite are found when they are read */
    CHECK_INT(warnings, 8);
    CHECK_INT(sw_store_find(store, "nan"), 1);
}

static sw_status copy(const char *name, const char *to)
{
    SW_AUTOFREE char *from = path_of(name), *path = sw_path_join(sw_test_dir(), to);
    SW_CLEANUP(sw_buf_free) sw_buf bytes = {0};
    SW_TRY(sw_file_read(from, &bytes, &err));
    return sw_file_write(path, bytes.data, bytes.size, &err);
}

TEST(one_width_for_all)
{
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    SW_AUTOFREE char *dir = sw_path_join(sw_test_dir(), "mixed"), *said = NULL;
    sw_store_features_options o = sw_store_features_options_default();
    o.path = dir;
    CHECK_OK(sw_mkdir_p(dir, &err));
    CHECK_INT(sw_store_open_features(&o, &store, &err), SW_E_NOT_FOUND);
    said = sw_asprintf("%s: there is no file of features (SLIDE.h5) in it", dir);
    CHECK_STR(err.message, said);
    CHECK_OK(copy("clam/h5_files/one.h5", "mixed/one.h5"));
    CHECK_OK(copy("wider.h5", "mixed/wider.h5"));
    CHECK_INT(sw_store_open_features(&o, &store, &err), SW_E_INVALID);
    SW_AUTOFREE char *widths = sw_asprintf("%s/wider.h5: its features are 12 wide, those of %s/one.h5 8; give features of one encoder", dir, dir);
    CHECK_STR(err.message, widths);
}

TEST(several_folders_must_be_chosen_from)
{
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    SW_AUTOFREE char *dir = sw_path_join(sw_test_dir(), "job"), *a = sw_path_join(dir, "features_uni"), *b = sw_path_join(dir, "features_resnet50");
    sw_store_features_options o = sw_store_features_options_default();
    o.path = dir;
    CHECK_INT(sw_store_open_features(&o, &store, &err), SW_E_NOT_FOUND);
    SW_AUTOFREE char *nothing = sw_asprintf("%s: there is no such file or folder of features", dir);
    CHECK_STR(err.message, nothing);
    CHECK_OK(sw_mkdir_p(a, &err));
    CHECK_OK(sw_mkdir_p(b, &err));
    CHECK_INT(sw_store_open_features(&o, &store, &err), SW_E_INVALID);
    SW_AUTOFREE char *several = sw_asprintf("%s holds features of several kinds (features_resnet50, features_uni); give one of these folders", dir);
    CHECK_STR(err.message, several);
}

TEST(files_as_slides)
{
    SW_CLEANUP(sw_slide_list_free) sw_slide_list list = {0};
    SW_AUTOFREE char *clam = path_of("clam"), *wider = path_of("wider.h5"), *one = path_of("stamp/one.h5"), *said = NULL;
    const char *operands[] = {clam, wider, wider};
    CHECK_OK(sw_store_features_list(operands, 3, &list, &err));
    CHECK_INT(list.count, 3);
    CHECK_STR(list.entry[0].slide_id, "one");
    CHECK_STR(list.entry[2].slide_id, "wider");
    operands[0] = one;
    CHECK_INT(sw_store_features_list(operands, 1, &list, &err), SW_E_INVALID);
    said = sw_asprintf("slide one comes twice: %s/h5_files/one.h5 and %s", clam, one);
    CHECK_STR(err.message, said);
}
