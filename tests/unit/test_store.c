/* SPDX-License-Identifier: Apache-2.0 */
/* Stores: round trips, threads, killed writers, damaged files, full and read-only disks; messages word for word. */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cpu.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/rng.h"
#include "slidewise/store.h"
#include "store/kv.h"
#include "store/record.h"
#include "test.h"

#define PATCH_BYTES 9000

static const sw_store_setting_pair SETTINGS[] = {{"mpp_um", "1, 2"}, {"patch_px", "256"}, {"quality", "80"}};

/* Not JPEGs: a store does not look into them. Slide, scale and index decide the bytes. */
static void fill(uint8_t *bytes, size_t size, const char *slide_id, int scale, int64_t index)
{
    sw_rng rng = sw_rng_stream(sw_hash64(slide_id, strlen(slide_id)), SW_RNG_TEST, (uint32_t)scale, (uint32_t)index, 0);
    for (size_t i = 0; i < size; i++) bytes[i] = (uint8_t)sw_rng_u32(&rng);
}

static size_t size_of(int64_t index)
{
    return (size_t)(1 + index * 37 % PATCH_BYTES);
}

static sw_store_slide slide_of(const char *slide_id, int64_t n0, int64_t n1)
{
    sw_store_slide slide = {.slide_id = slide_id, .path = "/slides/\"a\" b.svs", .source_bytes = 123456789012, .width = 100000,
                            .height = 80000, .mpp_um = 0.2527, .mpp_source = "scanner", .tissue_fraction = 0.3,
                            .seconds = 1.5, .properties_json = "{\"aperio.AppMag\":\"40\"}", .n_scales = 2};
    slide.scale[0] = (sw_store_scale){.mpp_um = 1, .magnification = 10, .patch_px = 256, .quality = 80,
                                      .patch_level0_px = 1013.06, .step_level0_px = 1013.06, .n_patches = n0};
    slide.scale[1] = (sw_store_scale){.mpp_um = 2, .magnification = 5, .patch_px = 256, .quality = 80,
                                      .patch_level0_px = 2026.12, .step_level0_px = 2026.12, .n_patches = n1};
    return slide;
}

static sw_status put_patches(sw_store_writer *w, const char *slide_id, int scale, int64_t n, sw_error *err)
{
    uint8_t bytes[PATCH_BYTES + 1];
    for (int64_t i = 0; i < n; i++) {
        fill(bytes, size_of(i), slide_id, scale, i);
        SW_TRY(sw_store_put(w, scale, i, bytes, size_of(i), err));
    }
    return SW_OK;
}

static sw_status put_slide(sw_store_writer *w, const char *slide_id, int64_t n0, int64_t n1, sw_error *err)
{
    SW_AUTOFREE int64_t *xy = sw_calloc((size_t)(n0 + n1 + 1) * 2, sizeof *xy);
    if (!xy) return sw_nomem(err);
    for (int64_t i = 0; i < 2 * (n0 + n1); i++) xy[i] = i * 1000003 - 7;
    const int64_t *const both[] = {xy, xy + 2 * n0};
    sw_store_slide slide = slide_of(slide_id, n0, n1);
    SW_TRY(sw_store_begin(w, slide_id, err));
    SW_TRY(put_patches(w, slide_id, 0, n0, err));
    SW_TRY(put_patches(w, slide_id, 1, n1, err));
    return sw_store_commit(w, &slide, both, err);
}

static sw_status make_store(const char *path, int64_t n0, sw_error *err)
{
    SW_CLEANUP(sw_store_writer_close) sw_store_writer *w = NULL;
    SW_TRY(sw_store_writer_open(path, SETTINGS, 3, &w, err));
    SW_TRY(put_slide(w, "b-slide", n0, 3, err));
    return put_slide(w, "a slide", 5, 2, err);
}

static const char *path_in(const char *dir, const char *name)
{
    static char path[8][600];
    static int turn;
    char joined[600];
    char *p = path[turn++ % 8];
    snprintf(joined, sizeof joined, "%s/%s", dir, name);
    return strcpy(p, joined);
}

static bool patch_is_right(const sw_store *store, int64_t slide, int scale, int64_t index)
{
    uint8_t expected[PATCH_BYTES + 1];
    const void *bytes;
    size_t size;
    sw_error err = {0};
    if (sw_store_patch(store, slide, scale, index, &bytes, &size, &err) != SW_OK) return false;
    fill(expected, size_of(index), sw_store_slide_id(store, slide), scale, index);
    return size == size_of(index) && memcmp(bytes, expected, size) == 0;
}

TEST(round_trip)
{
    sw_error err = {0};
    const char *path = path_in(sw_test_dir(), "round");
    CHECK_OK(make_store(path, 400, &err));
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    CHECK_OK(sw_store_open(path, &store, &err));
    CHECK_INT(sw_store_slide_count(store), 2);
    CHECK_STR(sw_store_slide_id(store, 0), "a slide"); /* sorted, though written last */
    CHECK_STR(sw_store_slide_id(store, 1), "b-slide");
    CHECK_INT(sw_store_find(store, "b-slide"), 1);
    CHECK_INT(sw_store_find(store, "b"), -1);
    CHECK(sw_store_slide_id(store, 2) == NULL && sw_store_slide_get(store, -1) == NULL);
    CHECK_INT(sw_store_setting_count(store), 3);
    CHECK_STR(sw_store_setting_name(store, 0), "mpp_um");
    CHECK_STR(sw_store_setting(store, "patch_px"), "256");
    CHECK(sw_store_setting(store, "colour") == NULL);
    const sw_store_slide *s = sw_store_slide_get(store, 1);
    CHECK_STR(s->path, "/slides/\"a\" b.svs");
    CHECK_STR(s->properties_json, "{\"aperio.AppMag\":\"40\"}");
    CHECK_STR(s->mpp_source, "scanner");
    CHECK_INT(s->source_bytes, 123456789012);
    CHECK_INT(s->width, 100000);
    CHECK_INT(s->height, 80000);
    CHECK(s->mpp_um == 0.2527 && s->tissue_fraction == 0.3 && s->seconds == 1.5);
    CHECK_INT(sw_store_scale_count(store, 1), 2);
    CHECK(sw_store_scale_get(store, 1, 1)->patch_level0_px == 2026.12);
    CHECK(sw_store_scale_get(store, 1, 2) == NULL);
    CHECK_INT(sw_store_scale_find(store, 1, 1.999), 1);
    CHECK_INT(sw_store_scale_find(store, 1, 1.5), -1);
    for (int64_t i = 0; i < 400; i++) CHECK(patch_is_right(store, 1, 0, i));
    for (int64_t i = 0; i < 3; i++) CHECK(patch_is_right(store, 1, 1, i));
    for (int64_t i = 0; i < 5; i++) CHECK(patch_is_right(store, 0, 0, i));
    int64_t xy[6];
    CHECK_OK(sw_store_coords(store, 1, 1, xy, &err));
    for (int i = 0; i < 6; i++) CHECK_INT(xy[i], (800 + i) * 1000003 - 7);
    int64_t records = 0;
    CHECK_OK(sw_store_verify(store, NULL, &records, &err));
    CHECK_INT(records, 1 + 2 + 4 + 400 + 3 + 5 + 2);
}

/* Bytes of mapped files in this process. */
static int64_t mapped(void)
{
    sw_process_memory m = sw_process_memory_now();
    return m.now - m.own;
}

TEST(what_was_read_does_not_stay_in_the_process)
{
    enum { N = 4000 };
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    const void *bytes;
    size_t size, total = 0;
    sw_error err;
    uint8_t expected[PATCH_BYTES + 1];
    const char *path = path_in(sw_test_dir(), "large");
    CHECK_OK(make_store(path, N, &err));
    CHECK_OK(sw_store_open(path, &store, &err));
    CHECK_STR(sw_store_slide_id(store, 1), "b-slide");
    int64_t before = mapped();
    for (int64_t i = 0; i < N; i++) {
        CHECK_OK(sw_store_patch(store, 1, 0, i, &bytes, &size, &err));
        sw_store_patch_done(store, bytes, size);
        fill(expected, size, "b-slide", 0, i);
        CHECK(i % 10 != 0 || (size == size_of(i) && memcmp(bytes, expected, size) == 0)); /* still valid */
        if (i % 10 == 0) sw_store_patch_done(store, bytes, size);
        total += size;
    }
    CHECK(total > 16 << 20);
    CHECK_NEAR((double)(mapped() - before), 0.0, 0.0, 2e6);
}

TEST(misuse_is_a_sentence)
{
    sw_error err = {0};
    char expected[1200];
    const char *path = path_in(sw_test_dir(), "misuse");
    CHECK_OK(make_store(path, 4, &err));
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    CHECK_OK(sw_store_open(path, &store, &err));
    const void *jpeg;
    size_t size;
    CHECK_INT(sw_store_patch(store, 1, 0, 4, &jpeg, &size, &err), SW_E_INVALID);
    snprintf(expected, sizeof expected, "store %s: slide b-slide has no patch 4 at scale 0 (4 patches)", path);
    CHECK_STR(err.message, expected);
    CHECK_INT(sw_store_patch(store, 1, 2, 0, &jpeg, &size, &err), SW_E_INVALID);
    snprintf(expected, sizeof expected, "store %s: there is no slide 1 with a scale 2 in it (2 slides)", path);
    CHECK_STR(err.message, expected);
    CHECK_INT(sw_store_coords(store, 7, 0, NULL, &err), SW_E_INVALID);
}

/* ---- threads */

typedef struct reading {
    const sw_store *store;
    int seed;
    int wrong;
} reading;

static void *read_at_random(void *arg)
{
    reading *r = arg;
    sw_rng rng = sw_rng_stream(5, SW_RNG_TEST, (uint32_t)r->seed, 0, 0);
    for (int i = 0; i < 2000; i++) {
        if (!patch_is_right(r->store, 1, 0, (int64_t)sw_rng_below(&rng, 400))) r->wrong++;
    }
    return NULL;
}

TEST(many_threads_read_one_store)
{
    sw_error err = {0};
    const char *path = path_in(sw_test_dir(), "threads");
    CHECK_OK(make_store(path, 400, &err));
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    CHECK_OK(sw_store_open(path, &store, &err));
    pthread_t thread[8];
    reading r[8];
    for (int i = 0; i < 8; i++) {
        r[i] = (reading){.store = store, .seed = i};
        CHECK_INT(pthread_create(&thread[i], NULL, read_at_random, &r[i]), 0);
    }
    for (int i = 0; i < 8; i++) pthread_join(thread[i], NULL);
    for (int i = 0; i < 8; i++) CHECK_INT(r[i].wrong, 0);
}

/* ---- writers */

TEST(a_killed_writer_leaves_whole_slides)
{
    sw_error err = {0};
    const char *path = path_in(sw_test_dir(), "killed");
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        sw_store_writer *w = NULL;
        if (sw_store_writer_open(path, SETTINGS, 3, &w, &err) != SW_OK) _exit(1);
        if (put_slide(w, "whole", 50, 5, &err) != SW_OK) _exit(2);
        if (sw_store_begin(w, "half", &err) != SW_OK || put_patches(w, "half", 0, 300, &err) != SW_OK) _exit(3);
        kill(getpid(), SIGKILL);
    }
    int how;
    CHECK_INT(waitpid(child, &how, 0), child);
    CHECK(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL);

    sw_store *store = NULL;
    CHECK_OK(sw_store_open(path, &store, &err));
    CHECK_INT(sw_store_slide_count(store), 1);
    CHECK_STR(sw_store_slide_id(store, 0), "whole");
    CHECK_OK(sw_store_verify(store, NULL, NULL, &err));
    sw_store_close(&store);

    SW_CLEANUP(sw_store_writer_close) sw_store_writer *w = NULL;
    CHECK_OK(sw_store_writer_open(path, SETTINGS, 3, &w, &err)); /* the dead writer's lock is gone */
    CHECK_INT(sw_store_writer_count(w), 1);
    CHECK(sw_store_writer_find(w, "whole") && !sw_store_writer_find(w, "half"));
    CHECK_OK(put_slide(w, "half", 7, 1, &err));
    sw_store_writer_close(&w);
    CHECK_OK(sw_store_open(path, &store, &err));
    bool right = patch_is_right(store, sw_store_find(store, "half"), 0, 6);
    sw_status whole = sw_store_verify(store, NULL, NULL, &err);
    sw_store_close(&store);
    CHECK(right && whole == SW_OK);
}

TEST(an_abandoned_slide_leaves_nothing)
{
    sw_error err = {0};
    const char *path = path_in(sw_test_dir(), "abandoned");
    SW_CLEANUP(sw_store_writer_close) sw_store_writer *w = NULL;
    CHECK_OK(sw_store_writer_open(path, SETTINGS, 3, &w, &err));
    CHECK_OK(sw_store_begin(w, "x", &err));
    CHECK_OK(put_patches(w, "x", 0, 10, &err));
    sw_store_abandon(w);
    CHECK_OK(put_slide(w, "x", 3, 1, &err));
    CHECK_INT(sw_store_begin(w, "x", &err), SW_E_INVALID);
    char expected[1200];
    snprintf(expected, sizeof expected, "store %s: it holds a slide named \"x\" already, or the name is empty", path);
    CHECK_STR(err.message, expected);
    CHECK_OK(sw_store_begin(w, "y", &err));
    CHECK_INT(sw_store_put(w, 0, 1, "z", 1, &err), SW_E_INTERNAL); /* out of order: the slide is dropped */
    CHECK_OK(put_slide(w, "y", 1, 1, &err));
    CHECK_INT(sw_store_writer_count(w), 2);
}

/* Replaces "b-slide" (40 patches) by one of `n0`, over and over, closed and opened between; at last the file holds what one made
 * at once does. */
TEST(a_replaced_slide_leaves_nothing_of_the_old)
{
    sw_error err = {0};
    const char *path = path_in(sw_test_dir(), "again");
    SW_CLEANUP(sw_store_writer_close) sw_store_writer *w = NULL;
    char expected[1200];
    int64_t xy[200] = {0};
    CHECK_OK(make_store(path, 40, &err));
    CHECK_OK(sw_store_writer_open(path, SETTINGS, 3, &w, &err));
    CHECK_INT(sw_store_begin_again(w, "c", &err), SW_E_INVALID);
    snprintf(expected, sizeof expected, "store %s: it holds no slide named \"c\" that could be replaced", path);
    CHECK_STR(err.message, expected);
    CHECK_OK(sw_store_begin_again(w, "b-slide", &err)); /* dropped: the old one stays */
    CHECK_OK(put_patches(w, "b-slide", 0, 7, &err));
    CHECK_INT(sw_store_writer_coords(w, "b-slide", 0, xy, &err), SW_E_INTERNAL);
    sw_store_abandon(w);
    CHECK_INT(sw_store_writer_find(w, "b-slide")->scale[0].n_patches, 40);
    CHECK_OK(sw_store_writer_coords(w, "b-slide", 0, xy, &err));
    CHECK(xy[0] == -7 && xy[79] == 79 * 1000003 - 7);
    for (int n0 = 38; n0 >= 2; n0 -= 6) { /* fewer patches each time: pages are freed and taken again */
        const int64_t *const both[] = {xy, xy};
        sw_store_slide slide = slide_of("b-slide", n0, 3);
        slide.scale[0].n_left_out[SW_LEFT_UNREADABLE] = 40 - n0;
        slide.unreadable_json = "[{\"scale\":0}]";
        slide.unreadable_fraction = 0.25;
        CHECK_OK(sw_store_begin_again(w, "b-slide", &err));
        CHECK_OK(put_patches(w, "b-slide", 0, n0, &err));
        CHECK_OK(put_patches(w, "b-slide", 1, 3, &err));
        CHECK_OK(sw_store_commit(w, &slide, both, &err));
        CHECK_INT(sw_store_writer_count(w), 2);
        sw_store_writer_close(&w);
        SW_CLEANUP(sw_store_close) sw_store *store = NULL;
        int64_t n_records = 0;
        CHECK_OK(sw_store_open(path, &store, &err));
        CHECK_OK(sw_store_verify(store, NULL, &n_records, &err));
        CHECK_INT(n_records, 1 + 2 + 4 + n0 + 3 + 5 + 2);
        int64_t at = sw_store_find(store, "b-slide");
        const sw_store_slide *kept = sw_store_slide_get(store, at);
        CHECK(kept->scale[0].n_patches == n0 && kept->scale[0].n_left_out[SW_LEFT_UNREADABLE] == 40 - n0);
        CHECK(kept->scale[0].n_left_out[SW_LEFT_PEN] == 0 && kept->unreadable_fraction == 0.25);
        CHECK_STR(kept->unreadable_json, "[{\"scale\":0}]");
        CHECK_STR(sw_store_slide_get(store, 1 - at)->unreadable_json, "[]");
        for (int i = 0; i < n0; i++) CHECK(patch_is_right(store, at, 0, i));
        for (int i = 0; i < 5; i++) CHECK(patch_is_right(store, 1 - at, 0, i));
        sw_store_close(&store);
        CHECK_OK(sw_store_writer_open(path, SETTINGS, 3, &w, &err));
    }
}

TEST(a_second_writer_is_refused)
{
    sw_error err = {0};
    char expected[1200];
    const char *path = path_in(sw_test_dir(), "second");
    SW_CLEANUP(sw_store_writer_close) sw_store_writer *first = NULL;
    SW_CLEANUP(sw_store_writer_close) sw_store_writer *second = NULL;
    CHECK_OK(sw_store_writer_open(path, SETTINGS, 3, &first, &err));
    CHECK_INT(sw_store_writer_open(path, SETTINGS, 3, &second, &err), SW_E_IO);
    snprintf(expected, sizeof expected, "store %s: process %ld is writing it; wait until it ends, or choose another store", path,
             (long)getpid());
    CHECK_STR(err.message, expected);
    sw_store_writer_close(&first);
    CHECK_OK(sw_store_writer_open(path, SETTINGS, 3, &second, &err));
}

TEST(other_settings_are_refused)
{
    sw_error err = {0};
    char expected[1200];
    const char *path = path_in(sw_test_dir(), "settings");
    CHECK_OK(make_store(path, 2, &err));
    SW_CLEANUP(sw_store_writer_close) sw_store_writer *w = NULL;
    const sw_store_setting_pair other[] = {{"mpp_um", "1, 2"}, {"patch_px", "224"}, {"quality", "80"}};
    CHECK_INT(sw_store_writer_open(path, other, 3, &w, &err), SW_E_INVALID);
    snprintf(expected, sizeof expected,
             "store %s: it was made with patch_px = 256, and 224 is asked now; use the same settings, or another store", path);
    CHECK_STR(err.message, expected);
    CHECK_INT(sw_store_writer_open(path, SETTINGS, 2, &w, &err), SW_E_INVALID);
    snprintf(expected, sizeof expected,
             "store %s: it was made with quality = 80, and (not set) is asked now; use the same settings, or another store", path);
    CHECK_STR(err.message, expected);
    CHECK_OK(sw_store_writer_open(path, SETTINGS, 3, &w, &err));
}

/* ---- what is not a store */

static sw_status open_status(const char *path, sw_error *err)
{
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    return sw_store_open(path, &store, err);
}

TEST(what_is_not_a_store)
{
    sw_error err = {0};
    char expected[1200];
    const char *path = path_in(sw_test_dir(), "nothing");
    CHECK_INT(open_status(path, &err), SW_E_NOT_FOUND);
    snprintf(expected, sizeof expected,
             "store %s: there is no such folder; make a store with: slidewise tile SLIDES --store %s", path, path);
    CHECK_STR(err.message, expected);

    CHECK_OK(sw_mkdir_p(path, &err));
    CHECK_INT(open_status(path, &err), SW_E_FORMAT);
    snprintf(expected, sizeof expected,
             "%s is not a store: it has no data.mdb; give the folder that slidewise tile wrote", path);
    CHECK_STR(err.message, expected);

    /* Its writer was killed before the first byte. */
    CHECK_OK(sw_file_write(path_in(path, "data.mdb"), "", 0, &err));
    CHECK_INT(open_status(path, &err), SW_E_FORMAT);
    snprintf(expected, sizeof expected, "store %s: it is empty; fill it with: slidewise tile SLIDES --store %s", path, path);
    CHECK_STR(err.message, expected);

    char noise[8192];
    memset(noise, 'x', sizeof noise);
    CHECK_OK(sw_file_write(path_in(path, "data.mdb"), noise, sizeof noise, &err));
    CHECK_INT(open_status(path, &err), SW_E_FORMAT);
    snprintf(expected, sizeof expected,
             "store %s: its data.mdb is not an LMDB database or its head is damaged; restore it from a copy or tile into a new "
             "store",
             path);
    CHECK_STR(err.message, expected);
}

TEST(a_truncated_store)
{
    sw_error err = {0};
    char expected[1200];
    const char *path = path_in(sw_test_dir(), "truncated");
    CHECK_OK(make_store(path, 100, &err));
    int64_t bytes;
    const char *data = path_in(path, "data.mdb");
    CHECK_OK(sw_file_size(data, &bytes, &err));
    CHECK_INT(truncate(data, bytes / 2), 0);
    CHECK_INT(open_status(path, &err), SW_E_FORMAT);
    snprintf(expected, sizeof expected,
             "store %s: its data.mdb is truncated: %lld bytes of %lld are there; copy it again from where it is whole, or tile "
             "into a new store",
             path, (long long)(bytes / 2), (long long)bytes);
    CHECK_STR(err.message, expected);
    SW_CLEANUP(sw_store_writer_close) sw_store_writer *w = NULL;
    CHECK_INT(sw_store_writer_open(path, SETTINGS, 3, &w, &err), SW_E_FORMAT);
    CHECK_STR(err.message, expected);
}

/* Turns one bit of the file wherever `needle` stands (old pages hold copies); false: nowhere. */
static bool flip_bit_at(const char *file, const uint8_t *needle, size_t size)
{
    sw_error err = {0};
    SW_CLEANUP(sw_buf_free) sw_buf bytes = {0};
    if (sw_file_read(file, &bytes, &err) != SW_OK) return false;
    size_t from = 0;
    int found = 0;
    for (char *at; (at = memmem(bytes.data + from, bytes.size - from, needle, size)) != NULL; found++) {
        at[size / 2] ^= 1;
        from = (size_t)(at - bytes.data) + size;
    }
    return found > 0 && sw_file_write(file, bytes.data, bytes.size, &err) == SW_OK;
}

TEST(one_wrong_bit_is_found)
{
    sw_error err = {0};
    char expected[1200];
    const char *path = path_in(sw_test_dir(), "bit");
    CHECK_OK(make_store(path, 400, &err));
    uint8_t patch[PATCH_BYTES + 1];
    fill(patch, size_of(200), "b-slide", 0, 200);
    CHECK(flip_bit_at(path_in(path, "data.mdb"), patch, size_of(200)));
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    CHECK_OK(sw_store_open(path, &store, &err));
    CHECK(patch_is_right(store, 1, 0, 199));
    const void *jpeg;
    size_t size;
    CHECK_INT(sw_store_patch(store, 1, 0, 200, &jpeg, &size, &err), SW_E_FORMAT);
    snprintf(expected, sizeof expected,
             "store %s: patch 200 of slide b-slide, scale 0, is damaged (its checksum differs); restore the store from a copy or "
             "tile into a new one",
             path);
    CHECK_STR(err.message, expected);
    err.message[0] = '\0';
    CHECK_INT(sw_store_verify(store, NULL, NULL, &err), SW_E_FORMAT);
    CHECK_STR(err.message, expected);
}

TEST(a_damaged_slide_record_is_found)
{
    sw_error err = {0};
    char expected[1200];
    const char *path = path_in(sw_test_dir(), "record");
    CHECK_OK(make_store(path, 4, &err));
    CHECK(flip_bit_at(path_in(path, "data.mdb"), (const uint8_t *)"aperio.AppMag", 13));
    CHECK_INT(open_status(path, &err), SW_E_FORMAT);
    snprintf(expected, sizeof expected,
             "store %s: a slide record is damaged (its checksum differs); restore the store from a copy or tile into a new one",
             path);
    CHECK_STR(err.message, expected);
}

TEST(another_version_is_refused)
{
    sw_error err = {0};
    char expected[1200];
    const char *path = path_in(sw_test_dir(), "version");
    SW_CLEANUP(sw_kv_close) sw_kv *kv = NULL;
    static const char head[] = "{\"format\":\"slidewise store\",\"version\":2,\"settings\":{}}";
    sw_key key = sw_key_meta();
    CHECK_OK(sw_kv_open_write(path, &kv, &err));
    CHECK_OK(sw_kv_begin(kv, &err));
    CHECK_OK(sw_record_put(kv, &key, head, sizeof head - 1, &err));
    CHECK_OK(sw_kv_commit(kv, &err));
    sw_kv_close(&kv);
    CHECK_INT(open_status(path, &err), SW_E_UNSUPPORTED);
    snprintf(expected, sizeof expected,
             "store %s: it is of version 2, this slidewise reads version 1; use the slidewise that made it, or tile again", path);
    CHECK_STR(err.message, expected);
}

TEST(another_lmdb_database_is_refused)
{
    sw_error err = {0};
    char expected[1200];
    const char *path = path_in(sw_test_dir(), "foreign");
    SW_CLEANUP(sw_kv_close) sw_kv *kv = NULL;
    void *space;
    CHECK_OK(sw_kv_open_write(path, &kv, &err));
    CHECK_OK(sw_kv_begin(kv, &err));
    CHECK_OK(sw_kv_put(kv, "__keys__", 8, 1, &space, &err));
    *(char *)space = 'x';
    CHECK_OK(sw_kv_commit(kv, &err));
    sw_kv_close(&kv);
    CHECK_INT(open_status(path, &err), SW_E_FORMAT);
    snprintf(expected, sizeof expected,
             "%s is an LMDB database, but not a store of slidewise; give the folder that slidewise tile wrote", path);
    CHECK_STR(err.message, expected);
}

/* ---- places that cannot be written */

/* Runs fn in a child of user "nobody" (root may write everywhere); true: the child was content. */
static bool as_nobody(bool (*fn)(const char *path), const char *path)
{
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        if (getuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) _exit(2);
        _exit(fn(path) ? 0 : 1);
    }
    int how;
    return child > 0 && waitpid(child, &how, 0) == child && WIFEXITED(how) && WEXITSTATUS(how) == 0;
}

static bool reads_without_writing(const char *path)
{
    sw_error err = {0};
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    if (sw_store_open(path, &store, &err) != SW_OK) {
        fprintf(stderr, "# %s\n", err.message);
        return false;
    }
    return patch_is_right(store, 1, 0, 3) && sw_store_verify(store, NULL, NULL, &err) == SW_OK;
}

static bool refuses_to_write(const char *path)
{
    sw_error err = {0};
    char expected[1200];
    SW_CLEANUP(sw_store_writer_close) sw_store_writer *w = NULL;
    snprintf(expected, sizeof expected,
             "store %s: it may not be written (Permission denied); change its permissions or choose another place", path);
    bool refused = sw_store_writer_open(path, SETTINGS, 3, &w, &err) == SW_E_IO && strcmp(err.message, expected) == 0;
    if (!refused) fprintf(stderr, "# %s\n", err.message);
    return refused;
}

static bool refuses_to_read(const char *path)
{
    sw_error err = {0};
    char expected[1200];
    snprintf(expected, sizeof expected,
             "store %s: it may not be read (Permission denied); change its permissions or choose another place", path);
    bool refused = open_status(path, &err) == SW_E_IO && strcmp(err.message, expected) == 0;
    if (!refused) fprintf(stderr, "# %s\n", err.message);
    return refused;
}

TEST(a_folder_that_may_only_be_read)
{
    sw_error err = {0};
    const char *path = path_in(sw_test_dir(), "readonly");
    CHECK_OK(make_store(path, 10, &err));
    CHECK_INT(chmod(sw_test_dir(), 0755), 0);
    CHECK_INT(unlink(path_in(path, "lock.mdb")), 0);
    CHECK_INT(chmod(path, 0555), 0);
    CHECK_INT(chmod(path_in(path, "data.mdb"), 0444), 0);
    CHECK_INT(chmod(path_in(path, "writer.lock"), 0444), 0);
    bool reads = as_nobody(reads_without_writing, path), refuses = as_nobody(refuses_to_write, path);
    CHECK_INT(chmod(path_in(path, "data.mdb"), 0), 0);
    bool hidden = as_nobody(refuses_to_read, path);
    CHECK_INT(chmod(path, 0755), 0);
    CHECK(reads);
    CHECK(refuses);
    CHECK(hidden);
}

TEST(a_full_disk)
{
    sw_error err = {0};
    char expected[1200];
    const char *disk = path_in(sw_test_dir(), "disk");
    CHECK_OK(sw_mkdir_p(disk, &err));
    if (mount("tmpfs", disk, "tmpfs", 0, "size=1m") != 0) SKIP("a small tmpfs cannot be mounted here (root is needed)");
    const char *path = path_in(disk, "store");
    sw_store_writer *w = NULL;
    sw_store *store = NULL;
    sw_status opened = sw_store_writer_open(path, SETTINGS, 3, &w, &err), full = SW_OK, whole = SW_E_INTERNAL, verified = SW_E_INTERNAL;
    int64_t slides = -1;
    bool sentence = false;
    if (opened == SW_OK) {
        whole = put_slide(w, "fits", 60, 2, &err);
        full = put_slide(w, "does not", 400, 2, &err);
        snprintf(expected, sizeof expected,
                 "store %s: the disk that holds it is full; free some space and run the same command again (whole slides are "
                 "kept), or choose another place",
                 path);
        sentence = strcmp(err.message, expected) == 0;
        if (!sentence) fprintf(stderr, "# %s\n", err.message);
        sw_store_writer_close(&w);
        if (sw_store_open(path, &store, &err) == SW_OK) {
            slides = sw_store_slide_count(store);
            verified = sw_store_verify(store, NULL, NULL, &err);
        }
        sw_store_close(&store);
    }
    CHECK_INT(umount(disk), 0);
    CHECK_INT(opened, SW_OK);
    CHECK_INT(whole, SW_OK);
    CHECK_INT(full, SW_E_NOSPACE);
    CHECK(sentence);
    CHECK_INT(slides, 1);
    CHECK_INT(verified, SW_OK);
}
