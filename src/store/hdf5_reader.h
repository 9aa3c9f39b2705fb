/* SPDX-License-Identifier: Apache-2.0 */
/* One process that reads many HDF5 files, in place of a process for each (sw_h5_read_apart), of which most of the time goes into its
 * making. A file that is refused, crashes the process or keeps it too long ends it, and the next file finds a new one. Where that
 * happens in a process that has read other files before, the file is read once more in a new one: it answers for itself only. */
#ifndef SW_STORE_HDF5_READER_H
#define SW_STORE_HDF5_READER_H

#include "store/hdf5_base.h"

typedef struct sw_h5_reader sw_h5_reader;

/* In the process, where HDF5 is quiet: receives one request behind its `bytes`, and answers it with sw_h5_answer and what belongs
 * to the answer. false: it cannot go on. */
typedef bool (*sw_h5_serve_fn)(int end, size_t bytes);

/* The process is a copy of this one as it is now: the earlier and smaller, the better. One that cannot be started is no error before it
 * is asked. */
sw_status sw_h5_reader_new(sw_h5_serve_fn serve, sw_h5_reader **out, sw_error *err) SW_MUST_CHECK;
void sw_h5_reader_close(sw_h5_reader *reader); /* NULL is fine */
void sw_h5_reader_close_ptr(sw_h5_reader **reader);

typedef struct sw_h5_asking {
    const char *path; /* for messages */
    size_t bytes;     /* of the file: they decide how long it may take */
    bool (*send)(void *ctx, int to); /* the request, with sw_h5_send; false: the process has ended */
    sw_status (*take)(void *ctx, int from, bool *whole, sw_error *err); /* as of sw_h5_reading */
    void (*forget)(void *ctx); /* what half an answer left behind */
    void *ctx;
} sw_h5_asking;
/* The error of the answer, or what sw_h5_read_apart says of a file that crashes or comes to no end. From any thread, one at a time. */
sw_status sw_h5_reader_ask(sw_h5_reader *reader, const sw_h5_asking *asking, sw_error *err) SW_MUST_CHECK;

/* For tests: the number of processes that were started. */
int sw_h5_reader_started(const sw_h5_reader *reader);

#endif
