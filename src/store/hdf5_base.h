/* SPDX-License-Identifier: Apache-2.0 */
/* What everything that reads or writes HDF5 shares: one thread at a time, no printing, attributes, files in memory, and a process
 * of its own for reading. Objects are HDF5's hid_t, which is an int64_t. */
#ifndef SW_STORE_HDF5_BASE_H
#define SW_STORE_HDF5_BASE_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "slidewise/error.h"

/* HDF5 prints its troubles on stderr unless it is told not to; what the host program set is put back. The serial HDF5 is one state
 * for the whole process and serves one thread at a time: from hush to unhush it is the caller's. */
typedef struct sw_h5_quiet {
    int (*print)(int64_t stack, void *data);
    void *data;
} sw_h5_quiet;
sw_h5_quiet sw_h5_hush(void);
void sw_h5_unhush(const sw_h5_quiet *quiet); /* fit for SW_CLEANUP */

/* Handles of a call, closed in the order opposite to their opening. */
typedef struct sw_h5_handles {
    int64_t id[12];
    int (*close[12])(int64_t id);
    int count;
} sw_h5_handles;
int64_t sw_h5_keep(sw_h5_handles *handles, int64_t id, int (*close)(int64_t id)); /* id, which is not kept where it is negative */
void sw_h5_handles_close(sw_h5_handles *handles);                                 /* fit for SW_CLEANUP */

sw_status sw_h5_defect(const char *what, sw_error *err); /* SW_E_INTERNAL: "HDF5 could not <what>" */
sw_status sw_h5_damaged(const char *path, const char *made_by, sw_error *err); /* not an HDF5 file at all */

/* --- files are put together in memory: our own writes tell what is wrong with a disk, and a rename makes them whole. An error of
 * HDF5 there can only be a lack of memory or a defect. */

/* A new file of about `bytes`; *file is kept in `handles`. */
sw_status sw_h5_image_begin(sw_h5_handles *handles, size_t bytes, int64_t *file, sw_error *err) SW_MUST_CHECK;
/* Appends the whole file to *out. */
sw_status sw_h5_image_end(int64_t file, sw_buf *out, sw_error *err) SW_MUST_CHECK;

/* --- attributes */

typedef enum sw_h5_type { SW_H5_INT, SW_H5_REAL, SW_H5_TEXT } sw_h5_type;

/* An attribute to write. */
typedef struct sw_h5_attribute {
    const char *name;
    sw_h5_type type;
    int count;       /* 0: a scalar; 2: a pair (numbers only) */
    double value[2]; /* whole for SW_H5_INT, and exact up to 2^53 */
    const char *text;
} sw_h5_attribute;
bool sw_h5_put_attribute(int64_t object, const sw_h5_attribute *attribute);

/* An attribute to read: name and type are asked, the rest is the answer. A number is taken whatever its type in the file. */
typedef struct sw_h5_wanted {
    const char *name;
    bool is_text;
    int count;       /* 0: absent, or not a number (a text) as asked; else how many numbers there are, two of them kept */
    double value[2];
    char *text;      /* owned, sw_free */
} sw_h5_wanted;
/* An absent one is no error, and stays as it is. */
sw_status sw_h5_get_attribute(int64_t object, sw_h5_wanted *wanted, sw_error *err) SW_MUST_CHECK;

/* Every attribute of an object that a sw_h5_attribute can hold, in the order of their names. Names and texts are owned. */
typedef struct sw_h5_attributes {
    sw_h5_attribute *item;
    size_t count, capacity;
} sw_h5_attributes;
sw_status sw_h5_get_attributes(int64_t object, sw_h5_attributes *out, sw_error *err) SW_MUST_CHECK;
void sw_h5_attributes_free(sw_h5_attributes *attributes);
sw_status sw_h5_attributes_add(sw_h5_attributes *attributes, const sw_h5_attribute *attribute, sw_error *err) SW_MUST_CHECK; /* copies */

/* --- reading in a process of its own. HDF5 trusts the addresses and sizes of a file, so that a damaged one can end the process that
 * reads it, or keep it for ever. A child reads, and sends what it has read through a pipe. */
typedef struct sw_h5_reading {
    const char *path; /* of the file, for messages */
    size_t bytes;     /* that are read: they decide how long it may take */
    sw_status (*read)(void *ctx, sw_error *err); /* in the child, where HDF5 is quiet */
    bool (*send)(void *ctx, int to);             /* in the child, after that: with sw_h5_send; false: the parent has gone */
    /* In the parent: what `send` sent, with sw_h5_receive. *whole false: it is not what was expected. */
    sw_status (*take)(void *ctx, int from, bool *whole, sw_error *err);
    void *ctx;
} sw_h5_reading;
/* The error of `read` or of `take`; a child that crashes or takes too long is SW_E_FORMAT. */
sw_status sw_h5_read_apart(const sw_h5_reading *reading, sw_error *err) SW_MUST_CHECK;
bool sw_h5_send(int to, const void *bytes, size_t size);
bool sw_h5_receive(int from, void *bytes, size_t size); /* exactly so many; false: the child ended before */
bool sw_h5_send_text(int to, const char *text); /* with its length before it; NULL is one, too */
sw_status sw_h5_receive_text(int from, char **text, bool *whole, sw_error *err) SW_MUST_CHECK; /* owned; NULL as it was sent */
bool sw_h5_send_wanted(int to, const sw_h5_wanted *wanted, size_t n);
sw_status sw_h5_receive_wanted(int from, sw_h5_wanted *wanted, size_t n, bool *whole, sw_error *err) SW_MUST_CHECK;
bool sw_h5_send_attributes(int to, const sw_h5_attributes *attributes);
sw_status sw_h5_receive_attributes(int from, sw_h5_attributes *attributes, bool *whole, sw_error *err) SW_MUST_CHECK;

/* --- the parts of it, for a process that reads several files (hdf5_reader.h) */
void sw_h5_settle_child(int end);     /* in the child: nothing is open but `end`, no core is dumped */
void sw_h5_limit_work(size_t bytes);  /* in the child: of the processor, from now on, what reading so many bytes may take */
bool sw_h5_answer(int to, sw_status status, const sw_error *error); /* in the child: the head of an answer */
/* In the parent. *whole false: the child ended before its answer did, or the answer is none. */
sw_status sw_h5_take_answer(int from, bool *whole, sw_error *err) SW_MUST_CHECK;
/* What a child that gave no answer says of the file; `state` as waitpid's, -1: nobody knows. */
sw_status sw_h5_lost_child(const char *path, size_t bytes, int state, sw_error *err);

#endif
