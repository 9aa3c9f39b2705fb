/* SPDX-License-Identifier: Apache-2.0 */
/* One process for many files: whatever one of them does to it, the others are read, and each is blamed for itself only. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "store/hdf5_coords.h"
#include "test.h"

/* ---- a process that does as it is told; "files" are words */

typedef struct word {
    const char *text;
    char *answer;  /* owned */
    int forgotten;
} word;

static bool send_word(void *ctx, int to)
{
    return sw_h5_send_text(to, ((const word *)ctx)->text);
}

static sw_status take_word(void *ctx, int from, bool *whole, sw_error *err)
{
    return sw_h5_receive_text(from, &((word *)ctx)->answer, whole, err);
}

static void forget_word(void *ctx)
{
    word *w = ctx;
    sw_free(SW_STEAL(w->answer));
    w->forgotten++;
}

/* "poison" is answered, and whatever comes next is crashed on; "rot" is answered, and whatever comes next is refused. */
static bool obey(int end, size_t bytes)
{
    static char before[20];
    sw_error err = {0};
    SW_AUTOFREE char *text = NULL;
    bool whole = false;
    (void)bytes;
    if (sw_h5_receive_text(end, &text, &whole, &err) != SW_OK || !whole) return false;
    if (strcmp(text, "crash") == 0 || strcmp(before, "poison") == 0) raise(SIGUSR2); /* any signal that ends a process; sanitizers catch the usual ones */
    if (strcmp(text, "half") == 0) {
        int64_t size = 1000;
        bool sent = sw_h5_answer(end, SW_OK, NULL) && sw_h5_send(end, &size, sizeof size) && sw_h5_send(end, "x", 1);
        raise(sent ? SIGUSR2 : SIGKILL);
    }
    for (volatile int spin = strcmp(text, "endless") == 0; spin;) continue;
    if (strcmp(text, "refuse") == 0 || strcmp(before, "rot") == 0) {
        sw_status status = sw_error_set(&err, SW_E_UNSUPPORTED, "%s is refused after %s", text, before);
        return sw_h5_answer(end, status, &err) && false;
    }
    snprintf(before, sizeof before, "%s", text);
    return sw_h5_answer(end, SW_OK, NULL) && sw_h5_send_text(end, text);
}

static sw_status ask(sw_h5_reader *reader, const char *text, sw_error *err)
{
    word w = {.text = text};
    const sw_h5_asking a = {.path = text, .bytes = 5, .send = send_word, .take = take_word, .forget = forget_word, .ctx = &w};
    sw_status status = sw_h5_reader_ask(reader, &a, err);
    bool right = status != SW_OK ? w.answer == NULL && w.forgotten > 0 : w.answer && strcmp(w.answer, text) == 0;
    sw_free(w.answer);
    return right ? status : sw_error_set(err, SW_E_INTERNAL, "another answer than \"%s\"", text);
}

TEST(one_process_reads_many_files)
{
    sw_error err = {0};
    SW_CLEANUP(sw_h5_reader_close_ptr) sw_h5_reader *reader = NULL;
    CHECK_OK(sw_h5_reader_new(obey, &reader, &err));
    for (int i = 0; i < 200; i++) {
        char text[20];
        snprintf(text, sizeof text, "file %d", i);
        CHECK_OK(ask(reader, text, &err));
    }
    CHECK_INT(sw_h5_reader_started(reader), 1);
}

TEST(a_file_answers_for_itself_only)
{
    sw_error err = {0};
    SW_CLEANUP(sw_h5_reader_close_ptr) sw_h5_reader *reader = NULL;
    CHECK_OK(sw_h5_reader_new(obey, &reader, &err));
    CHECK_INT(ask(reader, "crash", &err), SW_E_FORMAT); /* the first file of its process */
    CHECK_STR(err.message, "crash: the HDF5 library crashed on it; the file is damaged, make it again");
    CHECK_INT(sw_h5_reader_started(reader), 1);
    CHECK_OK(ask(reader, "a", &err));
    CHECK_INT(sw_h5_reader_started(reader), 2);
    CHECK_INT(ask(reader, "crash", &err), SW_E_FORMAT); /* asked again in a process of its own */
    CHECK_STR(err.message, "crash: the HDF5 library crashed on it; the file is damaged, make it again");
    CHECK_INT(sw_h5_reader_started(reader), 3);
    CHECK_OK(ask(reader, "b", &err));
    CHECK_INT(ask(reader, "half", &err), SW_E_FORMAT);
    CHECK_STR(err.message, "half: the HDF5 library crashed on it; the file is damaged, make it again");
    CHECK_OK(ask(reader, "poison", &err));
    CHECK_OK(ask(reader, "c", &err)); /* what the file before it did is not its fault */
    CHECK_OK(ask(reader, "rot", &err));
    CHECK_OK(ask(reader, "d", &err));
    CHECK_INT(ask(reader, "refuse", &err), SW_E_UNSUPPORTED);
    CHECK_STR(err.message, "refuse is refused after ");
    CHECK_OK(ask(reader, "e", &err));
}

TEST(a_file_that_takes_for_ever_is_left)
{
    sw_error err = {0};
    SW_CLEANUP(sw_h5_reader_close_ptr) sw_h5_reader *reader = NULL;
    CHECK_OK(sw_h5_reader_new(obey, &reader, &err));
    CHECK_INT(ask(reader, "endless", &err), SW_E_FORMAT);
    CHECK_STR(err.message, "endless: the HDF5 library came to no end with it in 2 s; the file is damaged, make it again");
    CHECK_OK(ask(reader, "a", &err));
    CHECK_INT(sw_h5_reader_started(reader), 2);
}

typedef struct asker {
    sw_h5_reader *reader;
    int number;
    atomic_int right;
} asker;

static void *ask_many(void *ctx)
{
    asker *a = ctx;
    for (int i = 0; i < 100; i++) {
        sw_error err = {0};
        char text[30];
        snprintf(text, sizeof text, i % 25 == 24 ? "crash" : "file %d of %d", i, a->number);
        sw_status status = ask(a->reader, text, &err);
        a->right += i % 25 == 24 ? status == SW_E_FORMAT : status == SW_OK;
    }
    return NULL;
}

TEST(several_threads_ask)
{
    enum { N = 4 };
    sw_error err = {0};
    SW_CLEANUP(sw_h5_reader_close_ptr) sw_h5_reader *reader = NULL;
    asker of[N] = {{0}};
    pthread_t thread[N];
    CHECK_OK(sw_h5_reader_new(obey, &reader, &err));
    for (int i = 0; i < N; i++) {
        of[i].reader = reader;
        of[i].number = i;
        CHECK_INT(pthread_create(&thread[i], NULL, ask_many, &of[i]), 0);
    }
    for (int i = 0; i < N; i++) {
        CHECK_INT(pthread_join(thread[i], NULL), 0);
        CHECK_INT(of[i].right, 100);
    }
}

/* ---- files of positions */

/* Bytes flipped one after the other, a sound file in between: the same answers as with a process for each. */
TEST(damaged_files_beside_sound_ones)
{
    static const int64_t xy[6] = {0, 0, 512, 256, 1024, 77};
    sw_error err = {0}, alone_err = {0};
    SW_CLEANUP(sw_buf_free) sw_buf bytes = {0};
    SW_CLEANUP(sw_h5_reader_close_ptr) sw_h5_reader *reader = NULL;
    SW_AUTOFREE char *bent = sw_path_join(sw_test_dir(), "bent.h5"), *sound = sw_path_join(sw_test_dir(), "sound.h5");
    const sw_h5_attribute a[] = {{.name = "patch_size", .type = SW_H5_INT, .value = {256}}, {.name = "name", .type = SW_H5_TEXT, .text = "a_slide"}};
    int refused = 0, read = 0;
    CHECK_OK(sw_h5_coords_reader_new(&reader, &err));
    CHECK_OK(sw_h5_coords_write(xy, 3, a, 2, &bytes, &err));
    CHECK_OK(sw_file_write(sound, bytes.data, bytes.size, &err));
    for (size_t at = 0; at < bytes.size; at += 17) {
        SW_AUTOFREE int64_t *alone = NULL, *both = NULL, *good = NULL;
        int64_t n_alone = -1, n = -1, n_good = -1;
        sw_h5_wanted w[3][2] = {{{.name = "patch_size"}, {.name = "name", .is_text = true}}};
        memcpy(w[1], w[0], sizeof w[0]);
        memcpy(w[2], w[0], sizeof w[0]);
        if (bytes.data[at] == 0 && at % 7 != 0) continue; /* most of the file is room */
        bytes.data[at] = (char)(bytes.data[at] ^ 0x80);
        CHECK_OK(sw_file_write(bent, bytes.data, bytes.size, &err));
        bytes.data[at] = (char)(bytes.data[at] ^ 0x80);
        sw_status status = sw_h5_coords_read(reader, bent, &both, &n, w[0], 2, &err);
        CHECK_INT(status, sw_h5_coords_read(NULL, bent, &alone, &n_alone, w[1], 2, &alone_err));
        if (status == SW_OK) CHECK(n == n_alone && memcmp(both, alone, (size_t)n * 2 * sizeof *both) == 0 && w[0][0].value[0] == w[1][0].value[0]);
        else CHECK_STR(err.message, alone_err.message);
        read += status == SW_OK;
        refused += status != SW_OK;
        CHECK_OK(sw_h5_coords_read(reader, sound, &good, &n_good, w[2], 2, &err));
        CHECK(n_good == 3 && memcmp(good, xy, sizeof xy) == 0 && w[2][0].value[0] == 256);
        CHECK_STR(w[2][1].text, "a_slide");
        for (int i = 0; i < 3; i++) sw_free(w[i][1].text);
    }
    CHECK(refused > 3 && read > 10);
    CHECK(sw_h5_reader_started(reader) < 2 * refused + 2); /* what is read well costs no process */
}
