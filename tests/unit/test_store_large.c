/* SPDX-License-Identifier: Apache-2.0 */
/* Slides that are larger than a transaction: whole or not there, whatever happens on the way; nothing is left of those that were
 * dropped or whose writer was killed. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "slidewise/store.h"
#include "store/begun.h"
#include "store/writer.h"
#include "test.h"

enum { PATCHES = 300, BYTES = 3000, LIMIT = 40000 /* 14 patches */ };

static const sw_store_setting_pair SETTING = {"mpp_um", "1"};

static void fill(uint8_t *bytes, const char *slide, int scale, int index)
{
    memset(bytes, slide[0] + 7 * scale + index, BYTES);
    memcpy(bytes + index, slide, strlen(slide));
}

/* The first `n` patches of each of two scales. */
static sw_status put(sw_store_writer *w, const char *slide, int n, sw_error *err)
{
    uint8_t bytes[BYTES];
    for (int scale = 0; scale < 2; scale++) {
        for (int i = 0; i < n; i++) {
            fill(bytes, slide, scale, i);
            SW_TRY(sw_store_put(w, scale, i, bytes, BYTES, err));
        }
    }
    return SW_OK;
}

static sw_status commit(sw_store_writer *w, const char *slide, int n, sw_error *err)
{
    int64_t xy[2 * PATCHES] = {0};
    sw_store_slide about = {.slide_id = slide, .path = "x.svs", .mpp_source = "scanner", .properties_json = "{}", .n_scales = 2};
    for (int scale = 0; scale < 2; scale++) about.scale[scale] = (sw_store_scale){.mpp_um = 1 + scale, .patch_px = 64, .n_patches = n};
    for (int i = 0; i < 2 * n; i++) xy[i] = 5 * i;
    return sw_store_commit(w, &about, (const int64_t *const[]){xy, xy}, err);
}

static sw_status open_writer(const char *path, sw_store_writer **w, sw_error *err)
{
    SW_TRY(sw_store_writer_open(path, &SETTING, 1, w, err));
    sw_store_writer_limit(*w, LIMIT);
    return SW_OK;
}

static sw_status write_slide(const char *path, const char *slide, int n, sw_error *err)
{
    SW_CLEANUP(sw_store_writer_close) sw_store_writer *w = NULL;
    SW_TRY(open_writer(path, &w, err));
    SW_TRY(sw_store_begin(w, slide, err));
    SW_TRY(put(w, slide, n, err));
    return commit(w, slide, n, err);
}

/* A process that begins a slide, puts patches and is killed. */
static bool killed_within(const char *path, const char *slide, int n)
{
    int state;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        sw_store_writer *w = NULL;
        sw_error err = {0};
        if (open_writer(path, &w, &err) == SW_OK && sw_store_begin(w, slide, &err) == SW_OK && put(w, slide, n, &err) == SW_OK) raise(SIGKILL);
        _exit(1);
    }
    return child > 0 && waitpid(child, &state, 0) == child && WIFSIGNALED(state) && WTERMSIG(state) == SIGKILL;
}

/* The store holds these slides, whole, and `begun` records of a slide that is not there yet. */
static void check_store(const char *path, const char *const *slide, int n_slides, int n, int begun)
{
    sw_error err = {0};
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    int64_t records, there;
    uint8_t expected[BYTES];
    CHECK_OK(sw_store_open(path, &store, &err));
    CHECK_INT(sw_store_slide_count(store), n_slides);
    for (int k = 0; k < n_slides; k++) {
        int64_t at = sw_store_find(store, slide[k]);
        CHECK(at >= 0);
        for (int i = 0; i < 2 * n; i++) {
            const void *jpeg;
            size_t size;
            fill(expected, slide[k], i % 2, i / 2);
            CHECK_OK(sw_store_patch(store, at, i % 2, i / 2, &jpeg, &size, &err));
            CHECK(size == BYTES && memcmp(jpeg, expected, BYTES) == 0);
        }
    }
    CHECK_OK(sw_store_verify(store, NULL, &records, &err)); /* what is begun is no fault */
    CHECK_INT(records, 1 + n_slides * (3 + 2 * n));
    sw_store_close(&store);
    SW_CLEANUP(sw_kv_close) sw_kv *kv = NULL;
    CHECK_OK(sw_kv_open_read(path, &kv, &err));
    CHECK_INT(sw_kv_count(kv), records + begun);
    CHECK_OK(sw_begun_count(kv, &there, &err));
    CHECK_INT(there, begun);
}

static char *in_dir(const char *name)
{
    return sw_path_join(sw_test_dir(), name);
}

TEST(a_slide_of_many_transactions)
{
    sw_error err = {0};
    SW_AUTOFREE char *path = in_dir("many");
    CHECK_OK(write_slide(path, "b", PATCHES, &err));
    CHECK_OK(write_slide(path, "a", PATCHES, &err));
    check_store(path, (const char *const[]){"a", "b"}, 2, PATCHES, 0);
}

TEST(a_writer_killed_between_transactions)
{
    sw_error err = {0};
    SW_AUTOFREE char *path = in_dir("killed");
    CHECK_OK(write_slide(path, "a", 100, &err));
    CHECK(killed_within(path, "b", 5)); /* before the first of them: nothing is there */
    check_store(path, (const char *const[]){"a"}, 1, 100, 0);
    CHECK(killed_within(path, "b", 100)); /* 14 transactions of 14 patches, with a record that says so */
    check_store(path, (const char *const[]){"a"}, 1, 100, 14 * 14 + 1);
    CHECK(killed_within(path, "c", 20)); /* the next one takes it away, and leaves its own: 2 of 14 */
    check_store(path, (const char *const[]){"a"}, 1, 100, 2 * 14 + 1);
    SW_CLEANUP(sw_store_writer_close) sw_store_writer *w = NULL;
    CHECK_OK(open_writer(path, &w, &err));
    sw_store_writer_close(&w);
    check_store(path, (const char *const[]){"a"}, 1, 100, 0);
    CHECK_OK(write_slide(path, "b", 100, &err));
    check_store(path, (const char *const[]){"a", "b"}, 2, 100, 0);
}

TEST(a_large_slide_that_is_dropped)
{
    sw_error err = {0};
    SW_AUTOFREE char *path = in_dir("dropped");
    SW_CLEANUP(sw_store_writer_close) sw_store_writer *w = NULL;
    CHECK_OK(open_writer(path, &w, &err));
    CHECK_OK(sw_store_begin(w, "a", &err));
    CHECK_OK(put(w, "a", 100, &err));
    sw_store_abandon(w);
    CHECK_OK(sw_store_begin(w, "a", &err));
    CHECK_OK(put(w, "a", 100, &err));
    CHECK_INT(sw_store_put(w, 0, 7, "x", 1, &err), SW_E_INTERNAL); /* out of order: dropped, too */
    CHECK_OK(sw_store_begin(w, "b", &err));
    CHECK_OK(put(w, "b", 100, &err));
    CHECK_OK(commit(w, "b", 100, &err));
    CHECK_OK(sw_store_begin(w, "c", &err));
    CHECK_OK(put(w, "c", 100, &err));
    sw_store_writer_close(&w);
    check_store(path, (const char *const[]){"b"}, 1, 100, 0);
}

/* More than one transaction takes away at once. */
TEST(much_is_left)
{
    sw_error err = {0};
    SW_AUTOFREE char *path = in_dir("left");
    SW_CLEANUP(sw_store_writer_close) sw_store_writer *w = NULL;
    CHECK_OK(open_writer(path, &w, &err));
    CHECK_OK(sw_store_begin(w, "a", &err));
    for (int i = 0; i < 10000; i++) CHECK_OK(sw_store_put(w, i % 2, i / 2, "twenty bytes of this", 20, &err));
    sw_store_writer_close(&w);
    check_store(path, NULL, 0, 0, 0);
}

TEST(replacing_a_large_slide)
{
    sw_error err = {0};
    SW_AUTOFREE char *path = in_dir("replaced");
    CHECK_OK(write_slide(path, "a", 100, &err));
    SW_CLEANUP(sw_store_writer_close) sw_store_writer *w = NULL;
    CHECK_OK(open_writer(path, &w, &err));
    CHECK_OK(sw_store_begin_again(w, "a", &err));
    CHECK_OK(put(w, "a", 50, &err));
    sw_store_abandon(w);
    CHECK_OK(sw_store_begin_again(w, "a", &err));
    CHECK_OK(put(w, "a", 60, &err));
    CHECK_OK(commit(w, "a", 60, &err));
    sw_store_writer_close(&w);
    check_store(path, (const char *const[]){"a"}, 1, 60, 0);
}

/* A record that wrongly says that a whole slide is only begun takes nothing away. */
TEST(whole_slides_are_safe)
{
    sw_error err = {0};
    SW_AUTOFREE char *path = in_dir("safe");
    CHECK_OK(write_slide(path, "a", 20, &err));
    SW_CLEANUP(sw_kv_close) sw_kv *kv = NULL;
    CHECK_OK(sw_kv_open_write(path, &kv, &err));
    CHECK_OK(sw_kv_begin(kv, &err));
    CHECK_OK(sw_begun_put(kv, 0, &err));
    CHECK_OK(sw_kv_commit(kv, &err));
    sw_kv_close(&kv);
    SW_CLEANUP(sw_store_writer_close) sw_store_writer *w = NULL;
    SW_AUTOFREE char *message = sw_asprintf("store %s: the record of a slide that was begun is damaged; restore the store from a copy or tile into a new one", path);
    CHECK_INT(open_writer(path, &w, &err), SW_E_FORMAT);
    CHECK_STR(err.message, message);
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    int64_t records, faults;
    CHECK_OK(sw_store_open(path, &store, &err));
    CHECK_OK(sw_store_check(store, NULL, NULL, NULL, &records, &faults, &err));
    CHECK_INT(sw_store_scale_get(store, 0, 0)->n_patches, 20);
    CHECK_INT(faults, 1); /* and is told */
}
