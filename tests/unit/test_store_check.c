/* SPDX-License-Identifier: Apache-2.0 */
/* No flipped bit of a store goes unseen: wherever it is, the check tells it, or what is read is what was written. */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/rng.h"
#include "slidewise/store.h"
#include "test.h"

enum { SLIDES = 3, PATCHES = 25, MOST = 3000 };

static size_t patch_of(int slide, int64_t index, uint8_t *bytes)
{
    sw_rng rng = sw_rng_stream(7, SW_RNG_TEST, (uint32_t)slide, (uint32_t)index, 0);
    size_t size = 100 + sw_rng_u32(&rng) % (MOST - 100);
    for (size_t i = 0; i < size; i++) bytes[i] = (uint8_t)sw_rng_u32(&rng);
    return size;
}

static const char *const ID[SLIDES + 1] = {"one", "three", "two", "zero"}; /* the last one is added later */

static sw_status write_slide(sw_store_writer *w, int s, sw_error *err)
{
    uint8_t bytes[MOST];
    int64_t xy[2 * PATCHES];
    const int64_t *all = xy;
    SW_TRY(sw_store_begin(w, ID[s], err));
    for (int i = 0; i < PATCHES; i++) {
        xy[2 * i] = 100 * i + s;
        xy[2 * i + 1] = 7 * i;
        SW_TRY(sw_store_put(w, 0, i, bytes, patch_of(s, i, bytes), err));
    }
    sw_store_slide slide = {.slide_id = ID[s], .path = "x.svs", .width = 5000, .height = 4000, .mpp_um = 0.25, .mpp_source = "scanner",
                            .properties_json = "{}", .n_scales = 1};
    slide.scale[0] = (sw_store_scale){.mpp_um = 1, .magnification = 10, .patch_px = 64, .quality = 80, .patch_level0_px = 256,
                                      .step_level0_px = 256, .n_patches = PATCHES};
    return sw_store_commit(w, &slide, &all, err);
}

static sw_status make_store(const char *path, sw_error *err)
{
    SW_CLEANUP(sw_store_writer_close) sw_store_writer *w = NULL;
    const sw_store_setting_pair setting = {"mpp_um", "1"};
    SW_TRY(sw_store_writer_open(path, &setting, 1, &w, err));
    for (int s = 0; s < SLIDES; s++) SW_TRY(write_slide(w, s, err));
    return SW_OK;
}

static void keep_messages(void *ctx, const sw_store_fault *f)
{
    sw_buf *text = ctx;
    sw_buf_printf(text, "%lld/%d/%lld %s\n", (long long)f->slide, f->scale, (long long)f->patch, f->message);
}

/* Everything that was written is there, bit by bit. */
static bool is_unharmed(const sw_store *store)
{
    sw_error err;
    uint8_t expected[MOST];
    int64_t xy[2 * PATCHES];
    if (sw_store_slide_count(store) < SLIDES) return false;
    for (int s = 0; s < SLIDES; s++) {
        const sw_store_slide *slide = sw_store_slide_get(store, s);
        if (strcmp(slide->slide_id, ID[s]) != 0 || slide->width != 5000 || slide->scale[0].n_patches != PATCHES) return false;
        if (sw_store_coords(store, s, 0, xy, &err) != SW_OK || xy[2 * PATCHES - 2] != 100 * (PATCHES - 1) + s) return false;
        for (int i = 0; i < PATCHES; i++) {
            const void *jpeg;
            size_t size;
            if (sw_store_patch(store, s, 0, i, &jpeg, &size, &err) != SW_OK) return false;
            if (size != patch_of(s, i, expected) || memcmp(jpeg, expected, size) != 0) return false;
        }
    }
    return true;
}

enum { HARMLESS, TOLD, UNSEEN, CRASHED };

static int look(const char *path)
{
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    sw_error err;
    int64_t faults = 0;
    if (sw_store_open(path, &store, &err) != SW_OK) return TOLD;
    if (sw_store_check(store, NULL, NULL, NULL, NULL, &faults, &err) != SW_OK || faults > 0) return TOLD;
    return is_unharmed(store) ? HARMLESS : UNSEEN;
}

/* A child that fails is a crash: nothing may end the process. */
static int in_child(int (*fn)(const char *path), const char *path)
{
    int state;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        const struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        alarm(20);
        freopen("/dev/null", "w", stderr); /* LMDB and the sanitizers speak there */
        _exit(fn(path));
    }
    if (child < 0 || waitpid(child, &state, 0) != child) return CRASHED;
    return WIFEXITED(state) && WEXITSTATUS(state) <= UNSEEN ? WEXITSTATUS(state) : CRASHED;
}

static bool flip(int fd, off_t at, int bit)
{
    uint8_t byte;
    if (pread(fd, &byte, 1, at) != 1) return false;
    byte ^= (uint8_t)(1u << bit);
    return pwrite(fd, &byte, 1, at) == 1;
}

enum { META, BRANCH, LEAF, LARGE, REST, KINDS };

static int kind_of_page(const char *page)
{
    unsigned flags = (uint8_t)page[10];
    return flags == 8 ? META : flags == 1 ? BRANCH : flags == 2 ? LEAF : flags == 4 ? LARGE : REST;
}

/* Bytes of a page that are tried: all of its head and of a meta, the rest in steps. */
static bool is_tried(int kind, size_t at)
{
    if (kind == META) return at < 160;
    return at < 24 || at % (kind == LARGE || kind == REST ? 211 : 13) == 0;
}

TEST(any_flipped_bit_is_told_or_harmless)
{
    sw_error err = {0};
    SW_AUTOFREE char *path = sw_path_join(sw_test_dir(), "any"), *data = sw_path_join(path, "data.mdb");
    SW_CLEANUP(sw_buf_free) sw_buf file = {0};
    int count[4] = {0}, tried[KINDS] = {0};
    CHECK_OK(make_store(path, &err));
    CHECK_OK(sw_file_read(data, &file, &err));
    CHECK_INT(look(path), HARMLESS);
    int fd = open(data, O_RDWR);
    CHECK(fd >= 0);
    for (size_t at = 0; at < file.size; at++) {
        int kind = kind_of_page(file.data + at / 4096 * 4096);
        if (!is_tried(kind, at % 4096)) continue;
        for (int bit = kind == META ? 0 : (int)(at * 5 & 7), last = kind == META ? 7 : bit; bit <= last; bit++) {
            CHECK(flip(fd, (off_t)at, bit));
            int seen = look(path);
            CHECK(flip(fd, (off_t)at, bit));
            if (seen == UNSEEN) sw_test_fail(__FILE__, __LINE__, "bit %d of byte %zu is not seen", bit, at);
            count[seen]++;
            tried[kind]++;
        }
    }
    close(fd);
    for (int k = 0; k < REST; k++) CHECK(tried[k] > 30);
    CHECK(count[TOLD] > 2000);
    CHECK_INT(look(path), HARMLESS);
}

/* Without waiting for the disk. */
static bool overwrite(const char *path, const sw_buf *file)
{
    int fd = open(path, O_WRONLY | O_TRUNC);
    bool whole = fd >= 0 && write(fd, file->data, file->size) == (ssize_t)file->size;
    return fd >= 0 && close(fd) == 0 && whole;
}

/* A store that is damaged is not written, or what was in it stays and its damage is told. */
static int add_to(const char *path)
{
    SW_CLEANUP(sw_store_writer_close) sw_store_writer *w = NULL;
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    const sw_store_setting_pair setting = {"mpp_um", "1"};
    sw_error err;
    int64_t faults = 0;
    if (sw_store_writer_open(path, &setting, 1, &w, &err) != SW_OK) return TOLD;
    sw_status written = write_slide(w, 3, &err);
    sw_store_writer_close(&w);
    if (written != SW_OK || sw_store_open(path, &store, &err) != SW_OK) return TOLD;
    if (sw_store_check(store, NULL, NULL, NULL, NULL, &faults, &err) != SW_OK || faults > 0) return TOLD;
    return is_unharmed(store) ? HARMLESS : UNSEEN;
}

TEST(damaged_pages_are_not_written_over)
{
    sw_error err = {0};
    SW_AUTOFREE char *path = sw_path_join(sw_test_dir(), "write"), *data = sw_path_join(path, "data.mdb");
    SW_CLEANUP(sw_buf_free) sw_buf file = {0};
    int count[4] = {0};
    CHECK_OK(make_store(path, &err));
    CHECK_OK(sw_file_read(data, &file, &err));
    CHECK_INT(in_child(add_to, path), HARMLESS);
    for (size_t page = 0; page < file.size; page += 4096) {
        if (kind_of_page(file.data + page) == LARGE || kind_of_page(file.data + page) == REST) continue;
        for (size_t at = page; at < page + 40; at += 3) {
            file.data[at] ^= 4;
            CHECK(overwrite(data, &file));
            file.data[at] ^= 4;
            int seen = in_child(add_to, path);
            if (seen >= UNSEEN) sw_test_fail(__FILE__, __LINE__, "byte %zu: %s", at, seen == UNSEEN ? "something is lost" : "a crash");
            count[seen]++;
        }
    }
    CHECK(count[TOLD] > 50);
}

/* The page where the records' tree begins, from the newer of the two metas. */
static size_t root_of(const char *file)
{
    uint64_t txn[2], root[2];
    for (int i = 0; i < 2; i++) {
        memcpy(&txn[i], file + 4096 * i + 144, 8);
        memcpy(&root[i], file + 4096 * i + 128, 8);
    }
    return (size_t)root[txn[1] > txn[0]];
}

static const char *const DAMAGE[] = {"it says that it is another page", "it is of another kind than it must be", "its free space has impossible bounds"};

TEST(a_damaged_page_is_named)
{
    sw_error err = {0};
    SW_AUTOFREE char *path = sw_path_join(sw_test_dir(), "named"), *data = sw_path_join(path, "data.mdb");
    SW_CLEANUP(sw_buf_free) sw_buf file = {0};
    static const size_t where[] = {0, 10, 12};
    CHECK_OK(make_store(path, &err));
    CHECK_OK(sw_file_read(data, &file, &err));
    size_t branch = 4096 * root_of(file.data);
    CHECK(branch < file.size && kind_of_page(file.data + branch) == BRANCH);
    for (int k = 0; k < 3; k++) {
        SW_CLEANUP(sw_store_writer_close) sw_store_writer *w = NULL;
        SW_CLEANUP(sw_store_close) sw_store *store = NULL;
        const sw_store_setting_pair setting = {"mpp_um", "1"};
        SW_AUTOFREE char *expected = sw_asprintf("store %s: its data.mdb is damaged (page %zu: %s); restore it from a copy or tile into a new store",
                                                 path, branch / 4096, DAMAGE[k]);
        file.data[branch + where[k]] ^= 1;
        CHECK(overwrite(data, &file));
        file.data[branch + where[k]] ^= 1;
        CHECK_INT(sw_store_open(path, &store, &err), SW_E_FORMAT);
        CHECK_STR(err.message, expected);
        CHECK_INT(sw_store_writer_open(path, &setting, 1, &w, &err), SW_E_FORMAT);
        CHECK_STR(err.message, expected);
    }
}

TEST(an_older_state_does_not_pass_for_the_newest)
{
    sw_error err = {0};
    SW_AUTOFREE char *path = sw_path_join(sw_test_dir(), "older"), *data = sw_path_join(path, "data.mdb");
    SW_CLEANUP(sw_buf_free) sw_buf file = {0};
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    CHECK_OK(make_store(path, &err));
    CHECK_OK(sw_file_read(data, &file, &err));
    CHECK(file.data[144] == 4 && file.data[4096 + 144] == 3); /* the head, three slides */
    file.data[4096 + 144] = 5;
    CHECK(overwrite(data, &file));
    CHECK_INT(sw_store_open(path, &store, &err), SW_E_FORMAT);
    SW_AUTOFREE char *takes = sw_asprintf("store %s: its data.mdb is damaged (page 1: a commit that takes away what was there); restore it from a "
                                          "copy or tile into a new store", path);
    CHECK_STR(err.message, takes);
    memcpy(file.data + 4096 + 136, file.data + 136, 8); /* as if no page had been added */
    CHECK(overwrite(data, &file));
    CHECK_INT(sw_store_open(path, &store, &err), SW_E_FORMAT);
    SW_AUTOFREE char *other = sw_asprintf("store %s: its data.mdb is damaged (page 1: it is not of the commit that it says); restore it from a copy "
                                          "or tile into a new store", path);
    CHECK_STR(err.message, other);
}

/* A patch that has pages of its own: smaller ones leave copies in the free space of pages that LMDB split. */
static int64_t large_patch_of(int slide)
{
    uint8_t patch[MOST];
    int64_t index = 0;
    while (patch_of(slide, index, patch) < 2100) index++;
    return index;
}

TEST(every_bit_of_a_record_is_seen)
{
    sw_error err = {0};
    SW_AUTOFREE char *path = sw_path_join(sw_test_dir(), "record"), *data = sw_path_join(path, "data.mdb");
    SW_CLEANUP(sw_buf_free) sw_buf file = {0};
    uint8_t patch[MOST];
    CHECK_OK(make_store(path, &err));
    CHECK_OK(sw_file_read(data, &file, &err));
    int64_t index = large_patch_of(2);
    CHECK(index < PATCHES && large_patch_of(0) < PATCHES);
    size_t size = patch_of(2, index, patch);
    const char *at = memmem(file.data, file.size, patch, size);
    CHECK(at != NULL);
    int fd = open(data, O_RDWR);
    CHECK(fd >= 0);
    for (size_t i = 0; i < size; i += size / 37) {
        SW_CLEANUP(sw_store_close) sw_store *store = NULL;
        SW_CLEANUP(sw_buf_free) sw_buf said = {0};
        int64_t records = 0, faults = 0;
        off_t where = at - file.data + (off_t)i;
        CHECK(flip(fd, where, (int)(i & 7)));
        CHECK_OK(sw_store_open(path, &store, &err));
        CHECK_OK(sw_store_check(store, NULL, keep_messages, &said, &records, &faults, &err));
        CHECK_INT(records, 1 + SLIDES * (2 + PATCHES));
        CHECK_INT(faults, 1);
        SW_AUTOFREE char *expected = sw_asprintf("2/0/%lld store %s: patch %lld of slide two, scale 0, is damaged (its checksum differs); "
                                                 "restore the store from a copy or tile into a new one\n",
                                                 (long long)index, path, (long long)index);
        CHECK_STR(said.data, expected);
        CHECK_INT(sw_store_verify(store, NULL, NULL, &err), SW_E_FORMAT);
        CHECK(strstr(said.data, err.message));
        sw_store_close(&store);
        CHECK(flip(fd, where, (int)(i & 7)));
    }
    /* Two faults at once are both told. */
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    int64_t faults = 0;
    const char *other = memmem(file.data, file.size, patch, patch_of(0, large_patch_of(0), patch));
    CHECK(other != NULL);
    CHECK(flip(fd, at - file.data, 0) && flip(fd, other - file.data, 0));
    close(fd);
    CHECK_OK(sw_store_open(path, &store, &err));
    CHECK_OK(sw_store_check(store, NULL, NULL, NULL, NULL, &faults, &err));
    CHECK_INT(faults, 2);
}
