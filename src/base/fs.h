/* SPDX-License-Identifier: Apache-2.0 */
/* Files and paths. Every message names the path and the system's reason. */
#ifndef SW_BASE_FS_H
#define SW_BASE_FS_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "slidewise/error.h"

bool sw_path_exists(const char *path);
bool sw_path_is_dir(const char *path);
char *sw_path_join(const char *dir, const char *name); /* owned by the caller; NULL: no memory */
const char *sw_path_name(const char *path);            /* borrowed: after the last '/' */
char *sw_path_stem(const char *path);                  /* owned: name without its LAST extension */
bool sw_path_has_ext(const char *path, const char *ext); /* "svs", without dot, any case */

sw_status sw_mkdir_p(const char *path, sw_error *err) SW_MUST_CHECK;
sw_status sw_file_size(const char *path, int64_t *bytes, sw_error *err) SW_MUST_CHECK;
sw_status sw_file_read(const char *path, sw_buf *out, sw_error *err) SW_MUST_CHECK;
/* Writes beside `path`, fsyncs and renames: readers see the old file or the whole new one. */
sw_status sw_file_write(const char *path, const void *bytes, size_t size, sw_error *err) SW_MUST_CHECK;
/* The same with `head` before the bytes. */
sw_status sw_file_write_after(const char *path, const void *head, size_t head_size, const void *bytes, size_t size,
                              sw_error *err) SW_MUST_CHECK;
/* The same, but a file that is there stays as it is, also one that another process writes at this moment. */
sw_status sw_file_create(const char *path, const void *bytes, size_t size, sw_error *err) SW_MUST_CHECK;
/* The file at `path` gets the second name `other` (in the same folder; what had it loses it), so that it stays when `path` is
 * written anew. Where the file system has no such names it is renamed: `path` is then gone. An absent file is fine. */
sw_status sw_file_keep(const char *path, const char *other, sw_error *err) SW_MUST_CHECK;
/* Whether sw_file_write to `path` can succeed: asked before long work whose result goes there. */
sw_status sw_file_probe(const char *path, sw_error *err) SW_MUST_CHECK;
/* Removes what a killed sw_file_write left in `dir`. Only while no one writes there. */
sw_status sw_dir_remove_leftovers(const char *dir, sw_error *err) SW_MUST_CHECK;
sw_status sw_file_remove(const char *path, sw_error *err) SW_MUST_CHECK; /* absent is fine */

/* Regular files (and directories if asked) directly in `dir`, names sorted bytewise. */
typedef struct sw_names {
    char **name; /* owned */
    size_t count;
    size_t capacity;
} sw_names;
sw_status sw_dir_list(const char *dir, bool directories, sw_names *out, sw_error *err) SW_MUST_CHECK;
sw_status sw_names_add(sw_names *names, const char *name, sw_error *err) SW_MUST_CHECK; /* copies */
void sw_names_free(sw_names *names);

/* SW_E_NOSPACE for ENOSPC/EDQUOT, SW_E_NOT_FOUND for ENOENT, SW_E_NOMEM for ENOMEM, else SW_E_IO. */
sw_status sw_status_of_errno(int errnum);

uint32_t sw_crc32c(uint32_t crc, const void *bytes, size_t size); /* start with 0 */
uint64_t sw_hash64(const void *bytes, size_t size);               /* FNV-1a, 64 bit */

#endif
