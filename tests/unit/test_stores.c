/* SPDX-License-Identifier: Apache-2.0 */
/* Several stores read as one: the list, what it refuses (word for word), joining, merging, and which slide is whose. */
#include <sys/resource.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "slidewise/exchange.h"
#include "slidewise/store.h"
#include "slidewise/tile.h"
#include "store/stores.h"
#include "test.h"

static char *in_dir(const char *name)
{
    return sw_path_join(sw_test_dir(), name);
}

/* A store of slides of `n` patches each; the bytes of a patch tell slide and index. */
static sw_status make(const char *path, const char *quality, const char *const *slide, size_t n_slides, int n, sw_error *err)
{
    SW_CLEANUP(sw_store_writer_close) sw_store_writer *w = NULL;
    const sw_store_setting_pair settings[] = {{"mpp_um", "1"}, {"patch_px", "64"}, {"quality", quality}};
    SW_TRY(sw_store_writer_open(path, settings, 3, &w, err));
    for (size_t i = 0; i < n_slides; i++) {
        SW_AUTOFREE int64_t *xy = sw_calloc((size_t)n * 2 + 1, sizeof *xy);
        if (!xy) return sw_nomem(err);
        sw_store_slide about = {.slide_id = slide[i], .path = "x.svs", .width = 1000, .height = 900, .mpp_um = 0.5, .mpp_source = "scanner",
                                .properties_json = "{}", .n_scales = 1};
        about.scale[0] = (sw_store_scale){.mpp_um = 1, .magnification = 10, .patch_px = 64, .quality = 80, .patch_level0_px = 128,
                                          .step_level0_px = 128, .n_patches = n};
        SW_TRY(sw_store_begin(w, slide[i], err));
        for (int p = 0; p < n; p++) {
            char bytes[64];
            int size = snprintf(bytes, sizeof bytes, "%s:%d", slide[i], p);
            xy[2 * p] = 128 * p;
            SW_TRY(sw_store_put(w, 0, p, bytes, (size_t)size, err));
        }
        SW_TRY(sw_store_commit(w, &about, (const int64_t *const[]){xy}, err));
    }
    return SW_OK;
}

/* What `slide` holds, by its own words. */
static void check_slide(const sw_store *store, const char *slide, int n)
{
    sw_error err = {0};
    int64_t at = sw_store_find(store, slide);
    CHECK(at >= 0);
    CHECK_INT(sw_store_scale_get(store, at, 0)->n_patches, n);
    for (int p = 0; p < n; p++) {
        const void *jpeg;
        size_t size;
        char expected[64];
        snprintf(expected, sizeof expected, "%s:%d", slide, p);
        CHECK_OK(sw_store_patch(store, at, 0, p, &jpeg, &size, &err));
        CHECK(size == strlen(expected) && memcmp(jpeg, expected, size) == 0);
        sw_store_patch_done(store, jpeg, size);
    }
    SW_AUTOFREE int64_t *xy = sw_calloc((size_t)n * 2 + 1, sizeof *xy);
    CHECK_OK(sw_store_coords(store, at, 0, xy, &err));
    CHECK_INT(xy[2 * (n - 1)], 128 * (n - 1));
}

static const char *const FIRST[] = {"d", "a"}, *const SECOND[] = {"c"}, *const THIRD[] = {"b", "e", "0"};

static void three(const char *folder, char *path[3], char **joint)
{
    sw_error err = {0};
    const char *const *slide[] = {FIRST, SECOND, THIRD};
    const size_t n[] = {2, 1, 3};
    const char *name[] = {"one", "two", "three"};
    *joint = in_dir(folder);
    for (int i = 0; i < 3; i++) {
        path[i] = sw_asprintf("%s/%s", *joint, name[i]);
        CHECK_OK(make(path[i], "80", slide[i], n[i], 5 + i, &err));
    }
}

static void free_three(char *path[3])
{
    for (int i = 0; i < 3; i++) sw_free(path[i]);
}

TEST(join)
{
    sw_error err = {0};
    char *path[3];
    SW_AUTOFREE char *joint = NULL;
    three("join", path, &joint);
    CHECK_OK(sw_store_join(joint, (const char *const *)path, 3, &err));
    SW_CLEANUP(sw_buf_free) sw_buf text = {0};
    SW_AUTOFREE char *file = sw_path_join(joint, "stores.json");
    CHECK_OK(sw_file_read(file, &text, &err));
    CHECK_STR(text.data, "{\n  \"format\": \"slidewise stores\",\n  \"version\": 1,\n  \"settings\": {\n    \"mpp_um\": \"1\",\n    \"patch_px\": "
                         "\"64\",\n    \"quality\": \"80\"\n  },\n  \"stores\": [\n    \"one\",\n    \"two\",\n    \"three\"\n  ]\n}\n");
    const char *const named[] = {joint, file};
    for (int i = 0; i < 2; i++) { /* the folder, or the file */
        SW_CLEANUP(sw_store_close) sw_store *store = NULL;
        CHECK_OK(sw_store_open(named[i], &store, &err));
        CHECK(sw_store_is_list(store));
        CHECK_STR(sw_store_path(store), named[i]);
        CHECK_INT(sw_store_slide_count(store), 6);
        const char *const sorted[] = {"0", "a", "b", "c", "d", "e"};
        for (int k = 0; k < 6; k++) CHECK_STR(sw_store_slide_id(store, k), sorted[k]);
        CHECK_STR(sw_store_setting(store, "patch_px"), "64");
        for (int k = 0; k < 2; k++) check_slide(store, FIRST[k], 5);
        check_slide(store, SECOND[0], 6);
        for (int k = 0; k < 3; k++) check_slide(store, THIRD[k], 7);
        CHECK_INT(sw_store_part_count(store), 3);
        const sw_store_part *part = sw_store_part_get(store, 2);
        CHECK_STR(part->path, path[2]);
        CHECK_INT(part->n_slides, 3);
        CHECK_INT(part->n_patches, 21);
        CHECK(part->bytes > 0 && !part->unfinished && sw_store_part_get(store, 3) == NULL);
        int64_t records;
        CHECK_OK(sw_store_verify(store, NULL, &records, &err));
        CHECK_INT(records, 3 + 2 * (2 + 5) + (2 + 6) + 3 * (2 + 7));
    }
    free_three(path);
}

TEST(one_store_is_no_list)
{
    sw_error err = {0};
    SW_AUTOFREE char *path = in_dir("plain");
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    CHECK_OK(make(path, "80", FIRST, 2, 3, &err));
    CHECK_OK(sw_store_open(path, &store, &err));
    CHECK(!sw_store_is_list(store) && sw_store_part_count(store) == 1);
    CHECK_STR(sw_store_part_get(store, 0)->path, path);
    CHECK_INT(sw_store_part_get(store, 0)->n_patches, 6);
}

TEST(join_again_adds_and_lists_the_stores_of_a_list)
{
    sw_error err = {0};
    char *path[3];
    SW_AUTOFREE char *joint = NULL;
    three("again", path, &joint);
    SW_AUTOFREE char *outer = in_dir("again_outer/deep");
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    SW_CLEANUP(sw_stores_free) sw_stores list = {0};
    CHECK_OK(sw_store_join(joint, (const char *const *)path, 1, &err));
    CHECK_OK(sw_store_join(joint, (const char *const *)path, 2, &err)); /* the first is listed already */
    const char *const both[] = {joint, path[2]};
    CHECK_OK(sw_store_join(outer, both, 2, &err));
    CHECK_OK(sw_stores_read(outer, &list, &err));
    CHECK_INT(list.count, 3);
    CHECK_STR(list.name[0], "../../again/one");
    CHECK_STR(list.name[2], "../../again/three");
    CHECK_OK(sw_store_open(outer, &store, &err));
    CHECK_INT(sw_store_slide_count(store), 6);
    CHECK_OK(sw_store_join(outer, NULL, 0, &err)); /* its tables anew */
    free_three(path);
}

/* Opens what must not open. */
static void check_refused(const char *path, sw_status expected, const char *message)
{
    sw_error err = {0};
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    CHECK_INT(sw_store_open(path, &store, &err), expected);
    CHECK_STR(err.message, message);
}

/* The message word for word, as a format and its values. */
#define CHECK_SAYS(status, expected, ...)                       \
    do {                                                        \
        sw_status told_ = (status);                             \
        SW_AUTOFREE char *text_ = sw_asprintf(__VA_ARGS__);     \
        CHECK_INT(told_, expected);                             \
        CHECK_STR(err.message, text_);                          \
    } while (0)

TEST(refusals_of_join)
{
    sw_error err = {0};
    char *path[3];
    SW_AUTOFREE char *joint = NULL;
    three("refuse", path, &joint);
    SW_AUTOFREE char *other = in_dir("refuse_other");
    SW_AUTOFREE char *twice = in_dir("refuse_twice");
    SW_AUTOFREE char *file = sw_path_join(joint, "stores.json");
    const char *const slide[] = {"z"}, *const again[] = {"y", "c"};
    CHECK_OK(make(other, "90", slide, 1, 2, &err));
    CHECK_OK(make(twice, "80", again, 2, 2, &err));
    const char *const differ[] = {path[0], other}, *const same[] = {path[1], path[0], twice}, *const none[] = {"/no/such/store"};
    sw_status status = sw_store_join(joint, differ, 2, &err);
    SW_AUTOFREE char *expected = sw_asprintf("store %s: %s was made with quality = 80, and %s/../refuse_other with 90; stores that are read as one "
                                             "need the same settings: tile one of them anew, or leave it off %s", joint, path[0], joint, file);
    CHECK_SAYS(status, SW_E_INVALID, "%s", expected);
    CHECK(!sw_path_exists(file)); /* nothing was written */
    status = sw_store_join(joint, same, 3, &err);
    sw_free(expected);
    expected = sw_asprintf("store %s: slide c is in %s and in %s/../refuse_twice; a slide may be in one of them only: leave one of the two off %s", joint,
                           path[1], joint, file);
    CHECK_SAYS(status, SW_E_INVALID, "%s", expected);
    CHECK_SAYS(sw_store_join(joint, none, 1, &err), SW_E_NOT_FOUND, "store /no/such/store: there is no such folder");
    CHECK_SAYS(sw_store_join(joint, NULL, 0, &err), SW_E_NOT_FOUND, "store %s: there is no stores.json in it; name the stores to join", joint);
    CHECK_SAYS(sw_store_join(other, differ, 1, &err), SW_E_INVALID, "store %s: it is a store itself; choose another folder for the list", other);
    CHECK(!sw_path_exists(file));
    free_three(path);
}

TEST(what_is_missing)
{
    sw_error err = {0};
    SW_AUTOFREE char *joint = in_dir("missing");
    SW_AUTOFREE char *file = sw_path_join(joint, "stores.json");
    SW_AUTOFREE char *second = sw_path_join(joint, "shard-2-of-4");
    CHECK_OK(make(second, "80", FIRST, 2, 3, &err));
    SW_CLEANUP(sw_stores_free) sw_stores list = {0};
    CHECK_OK(sw_stores_new(joint, &list, &err));
    for (int i = 1; i <= 4; i++) {
        SW_AUTOFREE char *name = sw_shard_name(i, 4);
        CHECK_OK(sw_stores_add(&list, name, &err));
    }
    CHECK_OK(sw_stores_write(&list, &err));
    SW_AUTOFREE char *three_missing = sw_asprintf("store %s: its shard 1 of 4 and 2 more are missing; make the first with: slidewise tile SLIDES --store %s "
                                                  "--shard 1/4", joint, joint);
    check_refused(joint, SW_E_NOT_FOUND, three_missing);
    for (int i = 1; i <= 3; i += 2) {
        SW_AUTOFREE char *name = sw_shard_name(i, 4), *path = sw_path_join(joint, name);
        CHECK_OK(make(path, "80", i == 1 ? SECOND : THIRD, 1, 2, &err));
    }
    SW_AUTOFREE char *one_missing = sw_asprintf("store %s: its shard 4 of 4 is missing; make it with: slidewise tile SLIDES --store %s --shard 4/4", joint, joint);
    check_refused(joint, SW_E_NOT_FOUND, one_missing);
    SW_AUTOFREE char *last = sw_path_join(joint, "shard-4-of-4"), *data = sw_path_join(last, "data.mdb");
    CHECK_OK(sw_mkdir_p(last, &err));
    CHECK_OK(sw_file_write(data, "", 0, &err)); /* killed before the first byte */
    check_refused(joint, SW_E_NOT_FOUND, one_missing);
    CHECK_OK(sw_file_remove(data, &err));
    sw_kv *kv = NULL;
    CHECK_OK(sw_kv_open_write(last, &kv, &err)); /* killed before the settings */
    sw_kv_close(&kv);
    check_refused(joint, SW_E_NOT_FOUND, one_missing);
    CHECK_OK(make(last, "80", THIRD, 0, 0, &err)); /* a share may be empty */
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    CHECK_OK(sw_store_open(joint, &store, &err));
    CHECK_INT(sw_store_slide_count(store), 4);
    CHECK_OK(sw_stores_add(&list, "elsewhere", &err));
    CHECK_OK(sw_stores_write(&list, &err));
    SW_AUTOFREE char *gone = sw_asprintf("store %s: the store %s/elsewhere of its list is missing; put it there, or take it off %s", joint, joint, file);
    check_refused(joint, SW_E_NOT_FOUND, gone);
}

static void check_text(const char *joint, const char *text, sw_status expected, const char *after_file)
{
    sw_error err = {0};
    SW_AUTOFREE char *file = sw_path_join(joint, "stores.json");
    SW_AUTOFREE char *message = sw_asprintf("%s%s", file, after_file);
    CHECK_OK(sw_file_write(file, text, strlen(text), &err));
    check_refused(joint, expected, message);
}

TEST(bad_lists)
{
    sw_error err = {0};
    SW_AUTOFREE char *joint = in_dir("bad");
    CHECK_OK(sw_mkdir_p(joint, &err));
    const char *no_list = ": it is no list of stores: \"format\": \"slidewise stores\" and a list of folders as \"stores\" are needed; make one with: "
                          "slidewise store join FOLDER STORE...";
    check_text(joint, "{}", SW_E_FORMAT, no_list);
    check_text(joint, "[1]", SW_E_FORMAT, no_list);
    check_text(joint, "{\"format\": \"slidewise stores\", \"stores\": []}", SW_E_FORMAT, no_list);
    check_text(joint, "{\"format\": \"slidewise stores\", \"stores\": \"a\"}", SW_E_FORMAT, no_list);
    check_text(joint, "{\"format\": \"slidewise stores\", \"version\": 2, \"stores\": [\"a\"]}", SW_E_UNSUPPORTED,
               ": it is of version 2, this slidewise reads version 1");
    check_text(joint, "{\"format\": \"slidewise stores\", \"stores\": [\"a\", 3]}", SW_E_FORMAT, ": store 2 of its list has no name");
    check_text(joint, "{\"format\": \"slidewise stores\", \"stores\": [\"a\", \"b\", \"a\"]}", SW_E_FORMAT, ": it lists a twice");
}

TEST(lists_are_not_written_into_and_not_nested)
{
    sw_error err = {0};
    char *path[3];
    SW_AUTOFREE char *joint = NULL;
    three("closed", path, &joint);
    SW_AUTOFREE char *outer = in_dir("closed_outer");
    SW_AUTOFREE char *file = sw_path_join(outer, "stores.json");
    SW_CLEANUP(sw_store_writer_close) sw_store_writer *w = NULL;
    const sw_store_setting_pair setting = {"mpp_um", "1"};
    CHECK_OK(sw_store_join(joint, (const char *const *)path, 3, &err));
    CHECK_SAYS(sw_store_writer_open(joint, &setting, 1, &w, &err), SW_E_INVALID,
                  "store %s: it is a list of stores (stores.json), into which nothing is written; tile with --shard I/N, or into another store", joint);
    CHECK_OK(sw_mkdir_p(outer, &err));
    const char *text = "{\"format\": \"slidewise stores\", \"stores\": [\"../closed\"]}";
    CHECK_OK(sw_file_write(file, text, strlen(text), &err));
    SW_AUTOFREE char *there = sw_path_join(joint, "data.mdb");
    SW_AUTOFREE char *one = sw_path_join(path[0], "data.mdb");
    CHECK(link(one, there) == 0);
    SW_AUTOFREE char *nested = sw_asprintf("%s: it lists %s/../closed, which is a list itself; list the stores of that one", file, outer);
    check_refused(outer, SW_E_FORMAT, nested);
    SW_AUTOFREE char *both = sw_asprintf("store %s: it holds a store (data.mdb) and a list of others (stores.json); move one of them to a folder of its own",
                                         joint);
    check_refused(joint, SW_E_FORMAT, both);
    free_three(path);
}

TEST(a_damaged_store_of_a_list_is_named)
{
    sw_error err = {0};
    char *path[3];
    SW_AUTOFREE char *joint = NULL;
    three("damaged", path, &joint);
    SW_AUTOFREE char *data = sw_path_join(path[1], "data.mdb");
    SW_CLEANUP(sw_buf_free) sw_buf bytes = {0};
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    int64_t records, faults;
    CHECK_OK(sw_store_join(joint, (const char *const *)path, 3, &err));
    CHECK_OK(sw_file_read(data, &bytes, &err));
    int flipped = 0; /* a patch's bytes, and copies of it on pages that are free */
    for (size_t i = 0; i + 3 < bytes.size; i++) {
        if (memcmp(bytes.data + i, "c:3", 3) == 0) {
            bytes.data[i + 2] ^= 1;
            flipped++;
        }
    }
    CHECK(flipped > 0);
    CHECK_OK(sw_file_write(data, bytes.data, bytes.size, &err));
    CHECK_OK(sw_store_open(joint, &store, &err));
    CHECK_OK(sw_store_check(store, NULL, NULL, NULL, &records, &faults, &err));
    CHECK_INT(faults, 1);
    SW_AUTOFREE char *message = sw_asprintf("store %s: patch 3 of slide c, scale 0, is damaged (its checksum differs); restore the store from a copy or "
                                            "tile into a new one", path[1]);
    CHECK_INT(sw_store_verify(store, NULL, &records, &err), SW_E_FORMAT);
    CHECK_STR(err.message, message);
    free_three(path);
}

TEST(merge)
{
    sw_error err = {0};
    char *path[3];
    SW_AUTOFREE char *joint = NULL;
    three("merge", path, &joint);
    SW_AUTOFREE char *out = in_dir("merged");
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    sw_export_result r;
    CHECK_OK(sw_store_join(joint, (const char *const *)path, 3, &err));
    CHECK_OK(sw_store_merge(path[0], out, NULL, &r, &err)); /* as a call that was killed leaves it */
    CHECK_INT(r.n_written, 2);
    CHECK_OK(sw_store_merge(joint, out, NULL, &r, &err));
    CHECK_INT(r.n_written, 4);
    CHECK_INT(r.n_already, 2);
    CHECK_INT(r.n_patches, 6 + 21);
    CHECK_OK(sw_store_open(out, &store, &err));
    CHECK(!sw_store_is_list(store));
    CHECK_INT(sw_store_slide_count(store), 6);
    check_slide(store, "d", 5);
    check_slide(store, "c", 6);
    check_slide(store, "e", 7);
    CHECK_INT(sw_store_slide_get(store, 0)->width, 1000);
    CHECK_SAYS(sw_store_merge(joint, path[1], NULL, &r, &err), SW_E_INVALID,
                  "store %s: it cannot be merged into itself; choose another folder", path[1]);
    free_three(path);
}

/* Each store takes two files; what is too many is said. */
TEST(many_stores)
{
    sw_error err = {0};
    enum { N = 80 };
    SW_AUTOFREE char *joint = in_dir("many");
    SW_CLEANUP(sw_stores_free) sw_stores list = {0};
    CHECK_OK(sw_mkdir_p(joint, &err));
    CHECK_OK(sw_stores_new(joint, &list, &err));
    for (int i = 1; i <= N; i++) {
        SW_AUTOFREE char *name = sw_shard_name(i, N), *id = sw_asprintf("slide-%03d", i);
        CHECK_OK(sw_stores_add(&list, name, &err));
        CHECK_OK(make(list.path[i - 1], "80", (const char *const[]){id}, 1, 2, &err));
    }
    CHECK_OK(sw_stores_write(&list, &err));
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    CHECK_OK(sw_store_open(joint, &store, &err));
    CHECK_INT(sw_store_slide_count(store), N);
    check_slide(store, "slide-001", 2);
    check_slide(store, "slide-080", 2);
    sw_store_close(&store);
    struct rlimit old, few;
    CHECK(getrlimit(RLIMIT_NOFILE, &old) == 0);
    few = old;
    few.rlim_cur = 100;
    CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
    sw_status status = sw_store_open(joint, &store, &err);
    CHECK(setrlimit(RLIMIT_NOFILE, &old) == 0);
    CHECK_INT(status, SW_E_IO);
    const char *tail = ": too many files are open (an open store takes two); raise the limit (ulimit -n)";
    size_t size = strlen(err.message);
    CHECK(size > strlen(tail));
    CHECK_STR(err.message + size - strlen(tail), tail);
}

TEST(shards_of_slides)
{
    /* Fixed for ever: a store that was begun goes on with them. */
    const char *const id[] = {"", "a", "TCGA-AA-3516-01Z-00-DX1", "case001_a", "case001_b"};
    const int of8[] = {3, 6, 7, 1, 7};
    for (int i = 0; i < 5; i++) {
        CHECK_INT(sw_shard_of(id[i], 8), of8[i]);
        CHECK_INT(sw_shard_of(id[i], 1), 1);
    }
    int count[16] = {0};
    for (int i = 0; i < 10000; i++) {
        char name[32];
        snprintf(name, sizeof name, "slide-%05d", i);
        int shard = sw_shard_of(name, 16);
        CHECK(shard >= 1 && shard <= 16);
        count[shard - 1]++;
    }
    for (int i = 0; i < 16; i++) CHECK(count[i] > 525 && count[i] < 725); /* four standard deviations */
    int shard, n;
    CHECK(sw_shard_parse("shard-3-of-12", &shard, &n) && shard == 3 && n == 12);
    CHECK(!sw_shard_parse("shard-13-of-12", &shard, &n) && !sw_shard_parse("shard-03-of-12", &shard, &n) && !sw_shard_parse("shard-3-of-12x", &shard, &n) &&
          !sw_shard_parse("shard-0-of-12", &shard, &n));
}

TEST(options_of_shards)
{
    sw_error err = {0};
    sw_tile_options o = sw_tile_options_default();
    sw_slide_list list = {0};
    sw_tile_result result;
    o.shard = 3;
    o.n_shards = 2;
    CHECK_SAYS(sw_tile(&o, &list, &result, &err), SW_E_INVALID,
                  "shard 3 of 2: give 1 to 1024 shards, and which of them this is (1 is the first)");
    o.shard = 0;
    CHECK_SAYS(sw_tile(&o, &list, &result, &err), SW_E_INVALID,
                  "shard 0 of 2: give 1 to 1024 shards, and which of them this is (1 is the first)");
    o.shard = 1;
    CHECK_SAYS(sw_tile(&o, &list, &result, &err), SW_E_INVALID, "shards are parts of a store, and none was named");
    o.store = "x";
    o.clam = "y";
    CHECK_SAYS(sw_tile(&o, &list, &result, &err), SW_E_INVALID,
                  "CLAM's files end in one table for all slides, which shards cannot share; write TRIDENT's files, or CLAM's without shards");
}

/* Only one of those who make a file at the same time does. */
TEST(created_once)
{
    sw_error err = {0};
    SW_AUTOFREE char *path = in_dir("once");
    SW_CLEANUP(sw_buf_free) sw_buf text = {0};
    CHECK_OK(sw_file_create(path, "first", 5, &err));
    CHECK_OK(sw_file_create(path, "second", 6, &err));
    CHECK_OK(sw_file_read(path, &text, &err));
    CHECK_STR(text.data, "first");
    SW_CLEANUP(sw_names_free) sw_names names = {0};
    CHECK_OK(sw_dir_list(sw_test_dir(), false, &names, &err));
    for (size_t i = 0; i < names.count; i++) CHECK(strstr(names.name[i], ".tmp-") == NULL);
}
