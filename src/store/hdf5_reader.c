/* SPDX-License-Identifier: Apache-2.0 */
#include "store/hdf5_reader.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"

struct sw_h5_reader {
    pthread_mutex_t lock;
    sw_h5_serve_fn serve;
    pid_t child; /* 0: there is none */
    int end;     /* of the socket to it */
    int read;    /* files, by this child */
    int started;
};

/* ---- the child */

static void live(int end, sw_h5_serve_fn serve)
{
    size_t bytes;
    sw_h5_settle_child(end);
    while (sw_h5_receive(end, &bytes, sizeof bytes)) {
        sw_h5_limit_work(bytes);
        if (!serve(end, bytes)) break;
    }
    _exit(0); /* ban-waiver: the child ends here */
}

/* ---- its parent; all of these with the lock held */

/* *err says why, where it fails. */
static sw_status start(sw_h5_reader *r, const char *path, sw_error *err)
{
    int ends[2];
    if (r->child > 0) return SW_OK;
    sw_h5_quiet q = sw_h5_hush(); /* nobody is within HDF5 when the process is copied */
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
        int why = errno;
        sw_h5_unhush(&q);
        return sw_error_set(err, SW_E_IO, "%s: no socket to the process that reads it: %s", path, strerror(why));
    }
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        live(ends[1], r->serve);
    }
    int why = errno;
    sw_h5_unhush(&q);
    close(ends[1]);
    if (child < 0) {
        close(ends[0]);
        return sw_error_set(err, SW_E_IO, "%s: no process to read it in: %s", path, strerror(why));
    }
    r->child = child;
    r->end = ends[0];
    r->read = 0;
    r->started++;
    return SW_OK;
}

/* How it ended; -1: nobody knows. */
static int stop(sw_h5_reader *r)
{
    int state = -1;
    if (r->child <= 0) return state;
    shutdown(r->end, SHUT_RDWR); /* which ends it, if it has not ended */
    close(r->end);
    while (waitpid(r->child, &state, 0) < 0 && errno == EINTR) {}
    r->child = 0;
    return state;
}

static sw_status take_answer(const sw_h5_reader *r, const sw_h5_asking *a, bool *whole, sw_error *err)
{
    SW_TRY(sw_h5_take_answer(r->end, whole, err));
    return *whole ? a->take(a->ctx, r->end, whole, err) : SW_OK;
}

static sw_status ask(sw_h5_reader *r, const sw_h5_asking *a, sw_error *err)
{
    for (;;) {
        bool whole = false;
        SW_TRY(start(r, a->path, err));
        bool first = r->read++ == 0;
        /* A child that has ended meanwhile may have left an answer all the same. */
        if (sw_h5_send(r->end, &a->bytes, sizeof a->bytes)) (void)a->send(a->ctx, r->end);
        sw_status status = take_answer(r, a, &whole, err);
        if (status == SW_OK && whole) return SW_OK;
        int state = stop(r);
        a->forget(a->ctx);
        if (first) return status != SW_OK ? status : sw_h5_lost_child(a->path, a->bytes, state, err);
    }
}

sw_status sw_h5_reader_ask(sw_h5_reader *r, const sw_h5_asking *a, sw_error *err)
{
    pthread_mutex_lock(&r->lock);
    sw_status status = ask(r, a, err);
    pthread_mutex_unlock(&r->lock);
    return status;
}

sw_status sw_h5_reader_new(sw_h5_serve_fn serve, sw_h5_reader **out, sw_error *err)
{
    sw_error later = {0};
    sw_h5_reader *r = sw_calloc(1, sizeof *r);
    if (!r) return sw_nomem(err);
    pthread_mutex_init(&r->lock, NULL);
    r->serve = serve;
    *out = r;
    (void)start(r, "", &later); /* one that fails is tried again when it is asked, and told then */
    return SW_OK;
}

void sw_h5_reader_close(sw_h5_reader *r)
{
    if (!r) return;
    (void)stop(r);
    pthread_mutex_destroy(&r->lock);
    sw_free(r);
}

void sw_h5_reader_close_ptr(sw_h5_reader **r)
{
    sw_h5_reader_close(*r);
    *r = NULL;
}

int sw_h5_reader_started(const sw_h5_reader *r)
{
    return r->started;
}
