/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

sw_status sw_status_of_errno(int errnum)
{
    switch (errnum) {
    case ENOSPC:
    case EDQUOT: return SW_E_NOSPACE;
    case ENOENT: return SW_E_NOT_FOUND;
    case ENOMEM: return SW_E_NOMEM;
    default: return SW_E_IO;
    }
}

/* What to do about it, where that is known. */
static const char *mend_of(int errnum)
{
    switch (errnum) {
    case ENOENT: return "; check the path";
    case ENOTDIR: return "; a part of the path is a file";
    case EACCES:
    case EPERM:
    case EROFS: return "; change its permissions or choose another place";
    default: return "";
    }
}

/* "cannot <doing> PATH: <reason>; <mend>" */
static sw_status path_error(sw_error *err, const char *doing, const char *path, int errnum)
{
    sw_status code = sw_status_of_errno(errnum);
    if (code == SW_E_NOSPACE) {
        return sw_error_set(err, code, "cannot %s %s: the disk that holds it is full; free some space or choose another place",
                            doing, path);
    }
    char reason[128];
    return sw_error_set(err, code, "cannot %s %s: %s%s", doing, path, strerror_r(errnum, reason, sizeof(reason)),
                        mend_of(errnum));
}

static void close_fd(int *fd)
{
    if (*fd >= 0) close(*fd);
}

/* ---- paths */

bool sw_path_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

bool sw_path_is_dir(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

char *sw_path_join(const char *dir, const char *name)
{
    size_t size = strlen(dir);
    if (size == 0 || name[0] == '/') return sw_strdup(name);
    return sw_asprintf("%s%s%s", dir, dir[size - 1] == '/' ? "" : "/", name);
}

const char *sw_path_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

char *sw_path_stem(const char *path)
{
    const char *name = sw_path_name(path);
    const char *dot = strrchr(name, '.');
    /* A leading dot makes a hidden file, not an extension. */
    return sw_strndup(name, dot && dot != name ? (size_t)(dot - name) : strlen(name));
}

bool sw_path_has_ext(const char *path, const char *ext)
{
    const char *name = sw_path_name(path);
    const char *dot = strrchr(name, '.');
    return dot && dot != name && strcasecmp(dot + 1, ext) == 0;
}

/* ---- directories and files */

sw_status sw_mkdir_p(const char *path, sw_error *err)
{
    if (sw_path_is_dir(path)) return SW_OK; /* as nearly always */
    SW_AUTOFREE char *part = sw_strdup(path);
    if (!part) return sw_nomem(err);
    for (char *at = part; *at;) {
        while (*at == '/') at++;
        while (*at && *at != '/') at++;
        char was = *at;
        *at = '\0';
        if (part[0] && mkdir(part, 0777) != 0) {
            int reason = errno;
            /* An existing parent may answer EACCES or EROFS instead of EEXIST. */
            if (!sw_path_is_dir(part)) {
                if (reason == EEXIST) {
                    return sw_error_set(err, SW_E_IO, "cannot create the folder %s: %s is a file, not a folder", path, part);
                }
                return path_error(err, "create the folder", path, reason);
            }
        }
        *at = was;
    }
    return SW_OK;
}

sw_status sw_file_size(const char *path, int64_t *bytes, sw_error *err)
{
    struct stat info;
    if (stat(path, &info) != 0) return path_error(err, "read", path, errno);
    if (S_ISDIR(info.st_mode)) return path_error(err, "read", path, EISDIR);
    *bytes = info.st_size;
    return SW_OK;
}

static sw_status read_all(int fd, const char *path, sw_buf *out, sw_error *err)
{
    struct stat info;
    if (fstat(fd, &info) != 0) return path_error(err, "read", path, errno);
    if (S_ISDIR(info.st_mode)) return path_error(err, "read", path, EISDIR);
    size_t expected = info.st_size > 0 ? (size_t)info.st_size : 0;
    char *data = sw_realloc(out->data, expected + 2);
    if (!data) return sw_nomem(err);
    out->data = data;
    out->capacity = expected + 2;
    for (;;) {
        if (out->capacity - out->size < 2) SW_TRY(sw_grow(&out->data, &out->capacity, out->size + 65536, 1, err));
        ssize_t got = read(fd, out->data + out->size, out->capacity - out->size - 1);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return path_error(err, "read", path, errno);
        out->size += (size_t)got;
        out->data[out->size] = '\0';
        if (got == 0) return SW_OK;
    }
}

sw_status sw_file_read(const char *path, sw_buf *out, sw_error *err)
{
    sw_buf_clear(out);
    SW_CLEANUP(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return path_error(err, "open", path, errno);
    return read_all(fd, path, out, err);
}

/* Between the name of a file and the six characters of mkostemp while it is written. */
#define TEMPORARY ".tmp-"

static int write_all(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t put = write(fd, bytes, size);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return errno;
        bytes += put;
        size -= (size_t)put;
    }
    return 0;
}

sw_status sw_file_probe(const char *path, sw_error *err)
{
    SW_AUTOFREE char *temporary = sw_asprintf("%s" TEMPORARY "XXXXXX", path);
    if (!temporary) return sw_nomem(err);
    if (sw_path_is_dir(path)) return path_error(err, "write", path, EISDIR);
    SW_CLEANUP(close_fd) int fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0) return path_error(err, "write", path, errno);
    return sw_file_remove(temporary, err);
}

/* Makes the rename itself survive a power cut. Some network file systems refuse to sync a folder; the
 * file is then as safe as they can make it. */
static int sync_folder_of(const char *path)
{
    const char *name = sw_path_name(path);
    SW_AUTOFREE char *dir = name == path ? sw_strdup(".") : sw_strndup(path, (size_t)(name - path));
    if (!dir) return ENOMEM;
    SW_CLEANUP(close_fd) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return errno == EACCES ? 0 : errno;
    if (fsync(fd) == 0 || errno == EINVAL || errno == ENOTSUP) return 0;
    return errno;
}

sw_status sw_file_write(const char *path, const void *bytes, size_t size, sw_error *err)
{
    return sw_file_write_after(path, NULL, 0, bytes, size, err);
}

/* Gives what was written its name. `only_new`: a file that has the name already keeps it. */
static int name_file(const char *temporary, const char *path, bool only_new)
{
    if (!only_new) return rename(temporary, path) == 0 ? 0 : errno;
    if (link(temporary, path) == 0 || errno == EEXIST) return unlink(temporary) == 0 ? 0 : errno;
    /* A file system without second names: the last one to rename wins. */
    return rename(temporary, path) == 0 ? 0 : errno;
}

static sw_status write_file(const char *path, bool only_new, const void *head, size_t head_size, const void *bytes, size_t size, sw_error *err)
{
    SW_AUTOFREE char *temporary = sw_asprintf("%s" TEMPORARY "XXXXXX", path);
    if (!temporary) return sw_nomem(err);
    int fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0) return path_error(err, "write", path, errno);
    int reason = write_all(fd, head, head_size);
    if (reason == 0) reason = write_all(fd, bytes, size);
    if (reason == 0 && fsync(fd) != 0) reason = errno;
    /* mkostemp makes private files; what we write follows the permissions of the file it replaces,
     * or is readable like any other output of the user. */
    struct stat old;
    mode_t mode = stat(path, &old) == 0 ? old.st_mode & 07777 : 0644;
    if (reason == 0 && fchmod(fd, mode) != 0) reason = errno;
    if (close(fd) != 0 && reason == 0) reason = errno;
    if (reason == 0) reason = name_file(temporary, path, only_new);
    if (reason != 0) {
        unlink(temporary);
        return path_error(err, "write", path, reason);
    }
    reason = sync_folder_of(path);
    return reason == 0 ? SW_OK : path_error(err, "write", path, reason);
}

sw_status sw_file_write_after(const char *path, const void *head, size_t head_size, const void *bytes, size_t size,
                              sw_error *err)
{
    return write_file(path, false, head, head_size, bytes, size, err);
}

sw_status sw_file_create(const char *path, const void *bytes, size_t size, sw_error *err)
{
    return write_file(path, true, NULL, 0, bytes, size, err);
}

sw_status sw_file_keep(const char *path, const char *other, sw_error *err)
{
    SW_AUTOFREE char *temporary = sw_asprintf("%s" TEMPORARY "second", other); /* a leftover if we are killed here */
    if (!temporary) return sw_nomem(err);
    SW_TRY(sw_file_remove(temporary, err));
    if (link(path, temporary) != 0) {
        if (errno == ENOENT || rename(path, other) == 0) return SW_OK;
        return path_error(err, "rename", path, errno);
    }
    int reason = rename(temporary, other) == 0 ? 0 : errno;
    unlink(temporary); /* it is still there where both names were the same file's already */
    return reason == 0 ? SW_OK : path_error(err, "write", other, reason);
}

sw_status sw_file_remove(const char *path, sw_error *err)
{
    if (unlink(path) == 0 || errno == ENOENT) return SW_OK;
    return path_error(err, "remove", path, errno);
}

/* ---- listing */

sw_status sw_names_add(sw_names *names, const char *name, sw_error *err)
{
    SW_TRY(sw_grow(&names->name, &names->capacity, names->count + 1, sizeof(*names->name), err));
    char *copy = sw_strdup(name);
    if (!copy) return sw_nomem(err);
    names->name[names->count++] = copy;
    return SW_OK;
}

void sw_names_free(sw_names *names)
{
    if (!names) return;
    for (size_t i = 0; i < names->count; i++) sw_free(names->name[i]);
    sw_free(names->name);
    *names = (sw_names){0};
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void close_dir(DIR **dir)
{
    if (*dir) closedir(*dir);
}

static sw_status list_entries(DIR *dir, const char *path, bool directories, sw_names *found, sw_error *err)
{
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (!entry) return errno == 0 ? SW_OK : path_error(err, "list the folder", path, errno);
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        struct stat info;
        if (fstatat(dirfd(dir), entry->d_name, &info, 0) != 0) continue; /* a dangling link names nothing */
        if (S_ISREG(info.st_mode) || (directories && S_ISDIR(info.st_mode))) {
            SW_TRY(sw_names_add(found, entry->d_name, err));
        }
    }
}

sw_status sw_dir_list(const char *dir, bool directories, sw_names *out, sw_error *err)
{
    SW_CLEANUP(close_dir) DIR *open_dir = opendir(dir);
    if (!open_dir) return path_error(err, "list the folder", dir, errno);
    SW_CLEANUP(sw_names_free) sw_names found = {0};
    SW_TRY(list_entries(open_dir, dir, directories, &found, err));
    if (found.count > 1) qsort(found.name, found.count, sizeof(*found.name), compare_names);
    sw_names_free(out);
    *out = found;
    found = (sw_names){0};
    return SW_OK;
}

static bool is_leftover(const char *name)
{
    size_t size = strlen(name), tail = strlen(TEMPORARY) + 6;
    return size > tail && strncmp(name + size - tail, TEMPORARY, strlen(TEMPORARY)) == 0;
}

sw_status sw_dir_remove_leftovers(const char *dir, sw_error *err)
{
    SW_CLEANUP(sw_names_free) sw_names names = {0};
    SW_TRY(sw_dir_list(dir, false, &names, err));
    for (size_t i = 0; i < names.count; i++) {
        if (!is_leftover(names.name[i])) continue;
        SW_AUTOFREE char *path = sw_path_join(dir, names.name[i]);
        if (!path) return sw_nomem(err);
        SW_TRY(sw_file_remove(path, err));
    }
    return SW_OK;
}

/* ---- checksums */

#if defined(__x86_64__)
/* The processor's own instruction: every patch that is read from a store is checked, and in software that costs a fifth of
 * loading it. */
__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(uint32_t crc, const uint8_t *in, size_t size)
{
    uint64_t wide = (uint32_t)~crc;
    for (; size >= 8; size -= 8, in += 8) {
        uint64_t eight;
        memcpy(&eight, in, sizeof(eight));
        wide = __builtin_ia32_crc32di(wide, eight);
    }
    uint32_t narrow = (uint32_t)wide;
    for (; size > 0; size--) narrow = __builtin_ia32_crc32qi(narrow, *in++);
    return ~narrow;
}
#endif

uint32_t sw_crc32c(uint32_t crc, const void *bytes, size_t size)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2")) return crc32c_sse42(crc, bytes, size);
#endif
    /* Half-byte table of the reflected Castagnoli polynomial 0x82F63B78: 64 bytes, no set-up. */
    static const uint32_t table[16] = {
        0x00000000u, 0x105EC76Fu, 0x20BD8EDEu, 0x30E349B1u, 0x417B1DBCu, 0x5125DAD3u, 0x61C69362u, 0x7198540Du,
        0x82F63B78u, 0x92A8FC17u, 0xA24BB5A6u, 0xB21572C9u, 0xC38D26C4u, 0xD3D3E1ABu, 0xE330A81Au, 0xF36E6F75u};
    const uint8_t *in = bytes;
    crc = ~crc;
    for (size_t i = 0; i < size; i++) {
        crc ^= in[i];
        crc = (crc >> 4) ^ table[crc & 15];
        crc = (crc >> 4) ^ table[crc & 15];
    }
    return ~crc;
}

uint64_t sw_hash64(const void *bytes, size_t size)
{
    const uint8_t *in = bytes;
    uint64_t hash = 0xCBF29CE484222325u;
    for (size_t i = 0; i < size; i++) hash = (hash ^ in[i]) * 0x100000001B3u;
    return hash;
}
