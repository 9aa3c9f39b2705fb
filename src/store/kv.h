/* SPDX-License-Identifier: Apache-2.0 */
/* Keys and values in one LMDB directory: one snapshot to read, one transaction to write. */
#ifndef SW_STORE_KV_H
#define SW_STORE_KV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "slidewise/error.h"

typedef struct sw_kv sw_kv;

/* Read-only: the state of this moment is held until sw_kv_close. Falls back to no lock file where the folder cannot be
 * written. A reader follows no number of the file that it has not checked: damage is SW_E_FORMAT, here and in every call. */
sw_status sw_kv_open_read(const char *dir, sw_kv **out, sw_error *err) SW_MUST_CHECK;
/* Reads an LMDB that is one file and not ours. No lock is taken and nothing is written beside it. */
sw_status sw_kv_open_file(const char *path, sw_kv **out, sw_error *err) SW_MUST_CHECK;
/* Creates the folder and the files when missing; refuses a second writer, and a file whose pages do not fit each other. */
sw_status sw_kv_open_write(const char *dir, sw_kv **out, sw_error *err) SW_MUST_CHECK;
void sw_kv_close(sw_kv **kv);
const char *sw_kv_dir(const sw_kv *kv);

/* *value NULL: no such key. The bytes are borrowed: of a reader until it is closed, of a writer until its transaction
 * ends. Readers: from any thread. */
sw_status sw_kv_get(sw_kv *kv, const void *key, size_t key_size, const void **value, size_t *size, sw_error *err)
    SW_MUST_CHECK;
/* A reader's value is not looked at for now: its pages, and those that the system mapped along with them, leave the process.
 * It stays valid and comes back from the system's cache. From any thread. False: it is no value of this one. */
bool sw_kv_done(sw_kv *kv, const void *value, size_t size);
/* None of its values is looked at for now. */
void sw_kv_rest(sw_kv *kv);
/* Calls fn for every key that begins with `first`, in key order (0: for every key). */
typedef sw_status (*sw_kv_fn)(void *ctx, const void *key, size_t key_size, const void *value, size_t size, sw_error *err);
sw_status sw_kv_each(sw_kv *kv, char first, sw_kv_fn fn, void *ctx, sw_error *err) SW_MUST_CHECK;

/* How many keys there are, by the database's own count. Readers only. */
int64_t sw_kv_count(const sw_kv *kv);
/* The size of the file as it was opened. Readers only. */
int64_t sw_kv_bytes(const sw_kv *kv);
/* Checks all of LMDB's own pages: SW_E_FORMAT names the first that is damaged. Readers only. */
sw_status sw_kv_check(const sw_kv *kv, sw_error *err) SW_MUST_CHECK;

/* Writer only. A failed put leaves the transaction to be aborted. */
sw_status sw_kv_begin(sw_kv *kv, sw_error *err) SW_MUST_CHECK;
/* Reserves `size` bytes for a new key; the caller fills *space before the next call. */
sw_status sw_kv_put(sw_kv *kv, const void *key, size_t key_size, size_t size, void **space, sw_error *err) SW_MUST_CHECK;
/* Takes a record away; a missing one is SW_E_FORMAT. */
sw_status sw_kv_remove(sw_kv *kv, const void *key, size_t key_size, sw_error *err) SW_MUST_CHECK;
sw_status sw_kv_commit(sw_kv *kv, sw_error *err) SW_MUST_CHECK;
void sw_kv_abort(sw_kv *kv); /* nothing begun: nothing happens */

#endif
