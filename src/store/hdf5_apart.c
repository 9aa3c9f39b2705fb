/* SPDX-License-Identifier: Apache-2.0 */
/* Reading HDF5 in a process of its own. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#include "base/mem.h"
#include "store/hdf5_base.h"

#define MOST_TEXT ((int64_t)1 << 30)
#define MOST_ATTRIBUTES 4096

/* By the clock, for a child that waits: for a disk, or for a lock that another thread of ours held when the process was copied. Our own
 * memory is safe from that with the C library's allocator, but not with that of the address sanitizer. */
#if defined(__SANITIZE_ADDRESS__)
enum { MOST_WAIT_S = 3, MOST_TRIES = 10 };
#else
enum { MOST_WAIT_S = 600, MOST_TRIES = 2 };
#endif

/* The head of a child's answer. */
typedef struct answer {
    sw_status status;
    sw_error error;
} answer;

/* Of the processor, for so many bytes. Python's tools write a row as a chunk of its own, and of such a file HDF5 reads 10 MB in a
 * second. */
static rlim_t most_seconds(size_t bytes)
{
    return 2 + 2 * (rlim_t)(bytes >> 20);
}

/* To a pipe, or to a socket, whose other end may be gone without a signal for us. */
bool sw_h5_send(int to, const void *bytes, size_t size)
{
    for (const char *from = bytes; size > 0;) {
        ssize_t n = send(to, from, size, MSG_NOSIGNAL);
        if (n < 0 && errno == ENOTSOCK) n = write(to, from, size);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        from += n;
        size -= (size_t)n;
    }
    return true;
}

bool sw_h5_receive(int from, void *bytes, size_t size)
{
    for (char *to = bytes; size > 0;) {
        ssize_t n = read(from, to, size);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        to += n;
        size -= (size_t)n;
    }
    return true;
}

/* A text and its length before it; -1: NULL. */
bool sw_h5_send_text(int to, const char *text)
{
    int64_t size = text ? (int64_t)strlen(text) : -1;
    return sw_h5_send(to, &size, sizeof size) && (size < 0 || sw_h5_send(to, text, (size_t)size));
}

sw_status sw_h5_receive_text(int from, char **text, bool *whole, sw_error *err)
{
    int64_t size;
    *whole = sw_h5_receive(from, &size, sizeof size) && size < MOST_TEXT;
    if (!*whole || size < 0) return SW_OK;
    *text = sw_calloc((size_t)size + 1, 1);
    if (!*text) return sw_nomem(err);
    *whole = sw_h5_receive(from, *text, (size_t)size);
    return SW_OK;
}

bool sw_h5_send_wanted(int to, const sw_h5_wanted *wanted, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!sw_h5_send(to, &wanted[i].count, sizeof wanted[i].count) || !sw_h5_send(to, wanted[i].value, sizeof wanted[i].value) ||
            !sw_h5_send_text(to, wanted[i].text))
            return false;
    }
    return true;
}

sw_status sw_h5_receive_wanted(int from, sw_h5_wanted *wanted, size_t n, bool *whole, sw_error *err)
{
    *whole = true;
    for (size_t i = 0; i < n && *whole; i++) {
        *whole = sw_h5_receive(from, &wanted[i].count, sizeof wanted[i].count) && sw_h5_receive(from, wanted[i].value, sizeof wanted[i].value);
        if (*whole) SW_TRY(sw_h5_receive_text(from, &wanted[i].text, whole, err));
    }
    return SW_OK;
}

bool sw_h5_send_attributes(int to, const sw_h5_attributes *list)
{
    if (!sw_h5_send(to, &list->count, sizeof list->count)) return false;
    for (size_t i = 0; i < list->count; i++) {
        if (!sw_h5_send(to, &list->item[i], sizeof list->item[i]) || !sw_h5_send_text(to, list->item[i].name) || !sw_h5_send_text(to, list->item[i].text))
            return false;
    }
    return true;
}

sw_status sw_h5_receive_attributes(int from, sw_h5_attributes *list, bool *whole, sw_error *err)
{
    size_t n;
    *whole = sw_h5_receive(from, &n, sizeof n) && n <= MOST_ATTRIBUTES;
    for (size_t i = 0; *whole && i < n; i++) {
        sw_h5_attribute a;
        SW_AUTOFREE char *name = NULL;
        SW_AUTOFREE char *text = NULL;
        *whole = sw_h5_receive(from, &a, sizeof a);
        if (*whole) SW_TRY(sw_h5_receive_text(from, &name, whole, err));
        if (*whole) SW_TRY(sw_h5_receive_text(from, &text, whole, err));
        *whole = *whole && name;
        if (!*whole) break;
        a.name = name;
        a.text = text;
        SW_TRY(sw_h5_attributes_add(list, &a, err));
    }
    return SW_OK;
}

/* ---- the child */

/* What the parent has open, a lock among it, is not kept open by a child that outlives it for a moment. */
static void let_go(int but)
{
#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
#ifdef CLOSE_RANGE_CLOEXEC
    if (but > 3) close_range(3, (unsigned)but - 1, 0);
    close_range((unsigned)but + 1, ~0U, 0);
#else
    (void)but;
#endif
}

void sw_h5_settle_child(int end)
{
    const struct rlimit none = {0, 0};
    sigset_t late;
    let_go(end);
    setrlimit(RLIMIT_CORE, &none); /* a crash here is no news */
    signal(SIGXCPU, SIG_DFL);
    sigemptyset(&late);
    sigaddset(&late, SIGXCPU);
    pthread_sigmask(SIG_UNBLOCK, &late, NULL);
}

void sw_h5_limit_work(size_t bytes)
{
    struct rlimit work;
    struct rusage used;
    if (getrlimit(RLIMIT_CPU, &work) != 0 || getrusage(RUSAGE_SELF, &used) != 0) return;
    rlim_t spent = (rlim_t)used.ru_utime.tv_sec + (rlim_t)used.ru_stime.tv_sec;
    rlim_t most = spent + (spent > 0 || used.ru_utime.tv_usec + used.ru_stime.tv_usec > 100000) + most_seconds(bytes);
    work.rlim_cur = work.rlim_max == RLIM_INFINITY || most < work.rlim_max ? most : work.rlim_max;
    setrlimit(RLIMIT_CPU, &work);
}

bool sw_h5_answer(int to, sw_status status, const sw_error *error)
{
    answer a = {.status = status};
    if (status != SW_OK) a.error = *error;
    return sw_h5_send(to, &a, sizeof a);
}

sw_status sw_h5_take_answer(int from, bool *whole, sw_error *err)
{
    answer a;
    *whole = sw_h5_receive(from, &a, sizeof a);
    if (!*whole) return SW_OK;
    a.error.message[sizeof a.error.message - 1] = '\0';
    return a.status == SW_OK ? SW_OK : sw_error_set(err, a.status, "%s", a.error.message);
}

/* The child's whole life. */
static void answer_from_child(int to, const sw_h5_reading *r)
{
    sw_error error = {0};
    sigset_t late;
    sw_h5_settle_child(to);
    sw_h5_limit_work(r->bytes);
    signal(SIGALRM, SIG_DFL);
    sigemptyset(&late);
    sigaddset(&late, SIGALRM);
    pthread_sigmask(SIG_UNBLOCK, &late, NULL);
    alarm(MOST_WAIT_S);
    sw_status status = r->read(r->ctx, &error);
    bool sent = sw_h5_answer(to, status, &error) && (status != SW_OK || r->send(r->ctx, to));
    _exit(sent ? 0 : 1); /* ban-waiver: the child ends here */
}

/* *silent: it gave no sign at all. */
static sw_status take_answer(int from, const sw_h5_reading *r, bool *silent, bool *whole, sw_error *err)
{
    sw_status status = sw_h5_take_answer(from, whole, err);
    *silent = !*whole;
    SW_TRY(status);
    return *whole ? r->take(r->ctx, from, whole, err) : SW_OK;
}

sw_status sw_h5_lost_child(const char *path, size_t bytes, int state, sw_error *err)
{
    if (state != -1 && WIFSIGNALED(state) && WTERMSIG(state) == SIGXCPU)
        return sw_error_set(err, SW_E_FORMAT, "%s: the HDF5 library came to no end with it in %d s; the file is damaged, make it again", path,
                            (int)most_seconds(bytes));
    if (state != -1 && WIFSIGNALED(state) && WTERMSIG(state) == SIGKILL) /* the system's way where memory is short; no fault of the file's */
        return sw_error_set(err, SW_E_IO, "%s: the process that read it was killed (is memory short?); try again", path);
    if (state != -1 && WIFSIGNALED(state) && WTERMSIG(state) == SIGALRM)
        return sw_error_set(err, SW_E_IO, "%s: reading it did not end within %d s; is its disk there?", path, MOST_WAIT_S);
    return sw_error_set(err, SW_E_FORMAT, "%s: the HDF5 library crashed on it; the file is damaged, make it again", path);
}

/* One child; *again: it was stopped by the clock before it gave a sign. */
static sw_status try_once(const sw_h5_reading *r, bool *again, sw_error *err)
{
    int ends[2], state = -1;
    bool whole = false, silent = true;
    sw_h5_quiet q = sw_h5_hush(); /* nobody is within HDF5 when the process is copied */
    if (pipe2(ends, O_CLOEXEC) != 0) {
        int why = errno;
        sw_h5_unhush(&q);
        return sw_error_set(err, SW_E_IO, "%s: no pipe to the process that reads it: %s", r->path, strerror(why));
    }
    pid_t child = fork();
    if (child == 0) answer_from_child(ends[1], r);
    int why = errno;
    sw_h5_unhush(&q);
    close(ends[1]);
    sw_status status = child > 0 ? take_answer(ends[0], r, &silent, &whole, err) : SW_OK;
    close(ends[0]); /* a child that still writes ends by that */
    if (child < 0) return sw_error_set(err, SW_E_IO, "%s: no process to read it in: %s", r->path, strerror(why));
    while (waitpid(child, &state, 0) < 0 && errno == EINTR) {}
    *again = silent && state != -1 && WIFSIGNALED(state) && WTERMSIG(state) == SIGALRM;
    if (status == SW_OK && !whole) return sw_h5_lost_child(r->path, r->bytes, state, err);
    return status;
}

sw_status sw_h5_read_apart(const sw_h5_reading *r, sw_error *err)
{
    for (int tries = 1;; tries++) {
        bool again = false;
        sw_status status = try_once(r, &again, err);
        if (!again || tries == MOST_TRIES) return status;
    }
}
