/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <lmdb.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/versions.h"
#include "store/kv.h"
#include "store/pages.h"

const char *sw_lmdb_version(void)
{
    return mdb_version(NULL, NULL, NULL);
}

/* Address space only: the file is as large as what is in it. Grown by doubling between slides. */
#define FIRST_MAP_BYTES ((size_t)256 << 30)
#define LEAST_MAP_BYTES ((size_t)1 << 30)
#define MOST_READERS 1024
#define FULL_DISK_BYTES ((uint64_t)1 << 16)

struct sw_kv {
    char *dir;
    MDB_env *env;
    MDB_dbi dbi;
    MDB_txn *txn; /* reader: keeps the snapshot from being written over; writer: the slide being written, or NULL */
    sw_pages pages; /* reader: the snapshot, in a map of our own */
    void *map;      /* NULL: none */
    size_t map_size;
    atomic_uint done; /* values that sw_kv_done was told of */
    int64_t n_puts, put_bytes, n_removals; /* writer: of this transaction */
    bool writer;
    bool is_file; /* another program's: dir is the path of its one file */
    int lock_fd; /* of writer.lock; -1: none */
};

/* ---- what LMDB says, as sentences */

/* LMDB answers EIO for a write that the disk took only in part, which is what a disk does as it fills up. */
static bool disk_is_full(const char *dir)
{
    struct statvfs disk;
    return statvfs(dir, &disk) == 0 && (uint64_t)disk.f_bavail * disk.f_frsize < FULL_DISK_BYTES;
}

/* The same where the process may not write larger files: the write that reaches the limit is cut short. */
static bool file_is_at_limit(const char *dir)
{
    struct rlimit most;
    struct stat file;
    SW_AUTOFREE char *data = sw_path_join(dir, "data.mdb");
    if (!data || getrlimit(RLIMIT_FSIZE, &most) != 0 || most.rlim_cur == RLIM_INFINITY || stat(data, &file) != 0) return false;
    return (uint64_t)file.st_size + FULL_DISK_BYTES > (uint64_t)most.rlim_cur;
}

static sw_status kv_error(const char *dir, int rc, bool writing, sw_error *err)
{
    if (rc == EIO && writing && disk_is_full(dir)) rc = ENOSPC;
    if (rc == EIO && writing && file_is_at_limit(dir)) rc = EFBIG;
    switch (rc) {
    case EFBIG:
        return sw_error_set(err, SW_E_NOSPACE,
                            "store %s: its data.mdb is as large as files may become here; raise the limit (ulimit -f) and run the same "
                            "command again (whole slides are kept), or choose another place",
                            dir);
    case ENOSPC:
    case EDQUOT:
        return sw_error_set(err, SW_E_NOSPACE,
                            "store %s: the disk that holds it is full; free some space and run the same command again (whole "
                            "slides are kept), or choose another place",
                            dir);
    case MDB_MAP_FULL:
        return sw_error_set(err, SW_E_NOSPACE,
                            "store %s: it has outgrown the address space it may use; raise the limit (ulimit -v) or tile into "
                            "another store",
                            dir);
    case ENOMEM:
        return sw_error_set(err, SW_E_NOMEM, "store %s: no address space to map it; raise the limit (ulimit -v)", dir);
    case EACCES:
    case EPERM:
    case EROFS: {
        char reason[128];
        return sw_error_set(err, SW_E_IO, "store %s: it may not be %s (%s); change its permissions or choose another place", dir,
                            writing ? "written" : "read", strerror_r(rc, reason, sizeof reason));
    }
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
        return sw_error_set(err, SW_E_FORMAT,
                            "store %s: its data.mdb is not an LMDB database or its head is damaged; restore it from a copy or "
                            "tile into a new store",
                            dir);
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_PANIC:
    case MDB_INCOMPATIBLE:
        return sw_error_set(err, SW_E_FORMAT,
                            "store %s: its data.mdb is damaged (%s); restore it from a copy or tile into a new store", dir,
                            mdb_strerror(rc));
    case EMFILE:
    case ENFILE:
        return sw_error_set(err, SW_E_IO, "store %s: too many files are open (an open store takes two); raise the limit (ulimit -n)", dir);
    case MDB_READERS_FULL:
        return sw_error_set(err, SW_E_IO, "store %s: more than %d readers have it open; close some", dir, MOST_READERS);
    default: return sw_error_set(err, SW_E_IO, "store %s: %s", dir, mdb_strerror(rc));
    }
}

static sw_status file_error(const char *path, int rc, sw_error *err)
{
    switch (rc) {
    case ENOMEM:
        return sw_error_set(err, SW_E_NOMEM, "%s: no address space to map it; raise the limit (ulimit -v)", path);
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
        return sw_error_set(err, SW_E_FORMAT, "%s: not an LMDB database, or its head is damaged; give the .lmdb file that the reference implementation wrote", path);
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_PANIC:
    case MDB_INCOMPATIBLE:
        return sw_error_set(err, SW_E_FORMAT, "%s: it is damaged (%s); copy it again", path, mdb_strerror(rc));
    default: return sw_error_set(err, sw_status_of_errno(rc), "%s: cannot be read: %s", path, mdb_strerror(rc));
    }
}

static sw_status reading_error(const sw_kv *kv, int rc, sw_error *err)
{
    return kv->is_file ? file_error(kv->dir, rc, err) : kv_error(kv->dir, rc, kv->writer, err);
}

static sw_status damaged(const sw_kv *kv, const sw_pages_fault *fault, sw_error *err)
{
    return sw_error_set(err, SW_E_FORMAT, kv->is_file ? "%s: it is damaged (page %llu: %s); copy it again"
                                                      : "store %s: its data.mdb is damaged (page %llu: %s); restore it from a copy or tile into a new store",
                        kv->dir, (unsigned long long)fault->page, fault->why);
}

/* ---- opening */

void sw_kv_close(sw_kv **address)
{
    sw_kv *kv = *address;
    *address = NULL;
    if (!kv) return;
    if (kv->txn) mdb_txn_abort(kv->txn);
    if (kv->env) mdb_env_close(kv->env);
    if (kv->map) munmap(kv->map, kv->map_size);
    if (kv->lock_fd >= 0) close(kv->lock_fd);
    sw_free(kv->dir);
    sw_free(kv);
}

static sw_status kv_new(const char *dir, bool writer, sw_kv **out, sw_error *err)
{
    SW_CLEANUP(sw_kv_close) sw_kv *kv = sw_calloc(1, sizeof *kv);
    if (!kv) return sw_nomem(err);
    kv->lock_fd = -1;
    kv->writer = writer;
    kv->dir = sw_strdup(dir);
    if (!kv->dir) return sw_nomem(err);
    *out = SW_STEAL(kv);
    return SW_OK;
}

static int env_open(sw_kv *kv, unsigned flags, size_t map_bytes)
{
    int rc = mdb_env_create(&kv->env);
    if (rc != 0) return rc;
    if ((rc = mdb_env_set_maxreaders(kv->env, MOST_READERS)) != 0) return rc;
    if (map_bytes > 0 && (rc = mdb_env_set_mapsize(kv->env, map_bytes)) != 0) return rc;
    rc = mdb_env_open(kv->env, kv->dir, flags | MDB_NOTLS, 0666);
    if (rc == 0) return 0;
    mdb_env_close(kv->env);
    kv->env = NULL;
    return rc;
}

/* The file's own head, before LMDB believes it. What cannot be opened or is empty is LMDB's to answer. */
static sw_status check_head(const sw_kv *kv, sw_error *err)
{
    enum { HEAD = 1 << 17, TRIES = 4 };
    const struct timespec moment = {.tv_nsec = 5000000};
    SW_AUTOFREE char *path = kv->is_file ? sw_strdup(kv->dir) : sw_path_join(kv->dir, "data.mdb");
    SW_AUTOFREE uint8_t *head = sw_malloc(HEAD);
    sw_pages_fault fault = {0};
    bool whole = false;
    if (!path || !head) return sw_nomem(err);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return SW_OK;
    /* A writer may be between its two metas: then the next look is content. */
    for (int i = 0; i < TRIES && !whole; i++) {
        if (i > 0) nanosleep(&moment, NULL);
        ssize_t have = pread(fd, head, HEAD, 0);
        whole = have <= 0 || sw_pages_check_head(head, (size_t)have, !kv->is_file, &fault);
    }
    close(fd);
    if (whole) return SW_OK;
    return strcmp(fault.why, "no head of an LMDB file") == 0 ? reading_error(kv, MDB_INVALID, err) : damaged(kv, &fault, err);
}

/* Pages beyond the end of the file would end the process with SIGBUS when they are read. */
static sw_status check_size(const sw_kv *kv, sw_error *err)
{
    MDB_envinfo info;
    MDB_stat pages;
    struct stat file;
    mdb_filehandle_t fd = -1;
    int rc = mdb_env_info(kv->env, &info);
    if (rc == 0) rc = mdb_env_stat(kv->env, &pages);
    if (rc == 0) rc = mdb_env_get_fd(kv->env, &fd);
    if (rc == 0 && fstat(fd, &file) != 0) rc = errno;
    if (rc != 0) return reading_error(kv, rc, err);
    long long need = ((long long)info.me_last_pgno + 1) * (long long)pages.ms_psize;
    if (file.st_size >= need) return SW_OK;
    if (kv->is_file) {
        return sw_error_set(err, SW_E_FORMAT, "%s: it is truncated: %lld bytes of %lld are there; copy it again from where it is whole",
                            kv->dir, (long long)file.st_size, need);
    }
    return sw_error_set(err, SW_E_FORMAT,
                        "store %s: its data.mdb is truncated: %lld bytes of %lld are there; copy it again from where it is "
                        "whole, or tile into a new store",
                        kv->dir, (long long)file.st_size, need);
}

static sw_status check_is_store(const char *dir, sw_error *err)
{
    if (!sw_path_exists(dir)) {
        return sw_error_set(err, SW_E_NOT_FOUND,
                            "store %s: there is no such folder; make a store with: slidewise tile SLIDES --store %s", dir, dir);
    }
    SW_AUTOFREE char *data = sw_path_join(dir, "data.mdb");
    if (!data) return sw_nomem(err);
    struct stat file;
    /* Only "not there" makes it no store: what may not be looked at is said by the opening. */
    if ((stat(data, &file) != 0 && (errno == ENOENT || errno == ENOTDIR)) || !sw_path_is_dir(dir)) {
        return sw_error_set(err, SW_E_FORMAT, "%s is not a store: it has no data.mdb; give the folder that slidewise tile wrote",
                            dir);
    }
    /* A writer was killed before it wrote the head. */
    if (stat(data, &file) == 0 && file.st_size == 0)
        return sw_error_set(err, SW_E_FORMAT, "store %s: it is empty; fill it with: slidewise tile SLIDES --store %s", dir, dir);
    return SW_OK;
}

/* Maps the file as it is now. */
static sw_status map_file(sw_kv *kv, sw_error *err)
{
    mdb_filehandle_t fd = -1;
    struct stat file;
    int rc = mdb_env_get_fd(kv->env, &fd);
    if (rc == 0 && fstat(fd, &file) != 0) rc = errno;
    if (rc != 0) return reading_error(kv, rc, err);
    void *map = mmap(NULL, (size_t)file.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) return reading_error(kv, errno, err);
    kv->map = map;
    kv->map_size = (size_t)file.st_size;
    (void)madvise(map, kv->map_size, MADV_RANDOM);
    return SW_OK;
}

/* *found false: there were two commits between the transaction and the look at its meta. */
static sw_status begin_once(sw_kv *kv, bool *found, sw_error *err)
{
    sw_pages_fault fault;
    int rc = mdb_txn_begin(kv->env, NULL, MDB_RDONLY, &kv->txn);
    /* A writer has outgrown our room since: take that which the file asks for. */
    if (rc == MDB_MAP_RESIZED && (rc = mdb_env_set_mapsize(kv->env, 0)) == 0) rc = mdb_txn_begin(kv->env, NULL, MDB_RDONLY, &kv->txn);
    if (rc != 0) return reading_error(kv, rc, err);
    SW_TRY(map_file(kv, err));
    if (!sw_pages_find(kv->map, kv->map_size, mdb_txn_id(kv->txn), &kv->pages, found, &fault)) return damaged(kv, &fault, err);
    if (*found) return SW_OK;
    mdb_txn_abort(kv->txn);
    kv->txn = NULL;
    munmap(kv->map, kv->map_size);
    kv->map = NULL;
    return SW_OK;
}

static sw_status begin_reading(sw_kv *kv, sw_error *err)
{
    bool found = false;
    SW_TRY(check_size(kv, err));
    for (int i = 0; i < 16 && !found; i++) SW_TRY(begin_once(kv, &found, err));
    if (!found) return sw_error_set(err, SW_E_IO, "store %s: it is written faster than it can be opened; try again", kv->dir);
    sw_pages_fault fault;
    return kv->is_file || sw_pages_check_order(&kv->pages, &fault) ? SW_OK : damaged(kv, &fault, err);
}

/* The map is as large as the file: the one the file asks for may be terabytes. */
sw_status sw_kv_open_file(const char *path, sw_kv **out, sw_error *err)
{
    SW_CLEANUP(sw_kv_close) sw_kv *kv = NULL;
    int64_t bytes;
    if (sw_path_is_dir(path)) {
        return sw_error_set(err, SW_E_FORMAT, "%s is a folder; the reference implementation's LMDB is one file, give that", path);
    }
    SW_TRY(sw_file_size(path, &bytes, err));
    SW_TRY(kv_new(path, false, &kv, err));
    kv->is_file = true;
    SW_TRY(check_head(kv, err));
    int rc = env_open(kv, MDB_RDONLY | MDB_NORDAHEAD | MDB_NOLOCK | MDB_NOSUBDIR, ((size_t)bytes | 0xffff) + 1);
    if (rc != 0) return file_error(path, rc, err);
    SW_TRY(begin_reading(kv, err));
    *out = SW_STEAL(kv);
    return SW_OK;
}

/* LMDB's own map of a reader, which looks at little of it: without this it takes as much address space as the writer did, and a
 * process that opens a hundred shards has no more. */
static size_t reader_map_bytes(const char *dir)
{
    struct stat file;
    char data[PATH_MAX];
    int size = snprintf(data, sizeof data, "%s/data.mdb", dir);
    return size > 0 && (size_t)size < sizeof data && stat(data, &file) == 0 ? ((size_t)file.st_size | 0xffff) + 1 : 0;
}

sw_status sw_kv_open_read(const char *dir, sw_kv **out, sw_error *err)
{
    SW_CLEANUP(sw_kv_close) sw_kv *kv = NULL;
    SW_TRY(check_is_store(dir, err));
    SW_TRY(kv_new(dir, false, &kv, err));
    SW_TRY(check_head(kv, err));
    size_t map = reader_map_bytes(dir);
    int rc = env_open(kv, MDB_RDONLY | MDB_NORDAHEAD, map);
    /* A lock file that cannot be made or written: nobody here can be writing either. */
    if (rc == EACCES || rc == EROFS || rc == EPERM) rc = env_open(kv, MDB_RDONLY | MDB_NORDAHEAD | MDB_NOLOCK, map);
    if (rc != 0) return kv_error(dir, rc, false, err);
    SW_TRY(begin_reading(kv, err));
    *out = SW_STEAL(kv);
    return SW_OK;
}

/* The lock is the kernel's: it ends with the process, however that ends. */
static sw_status lock_writer(sw_kv *kv, sw_error *err)
{
    SW_AUTOFREE char *path = sw_path_join(kv->dir, "writer.lock");
    if (!path) return sw_nomem(err);
    kv->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (kv->lock_fd < 0) return kv_error(kv->dir, errno, true, err);
    if (flock(kv->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK) return kv_error(kv->dir, errno, true, err);
        char pid[32] = "";
        ssize_t got = pread(kv->lock_fd, pid, sizeof pid - 1, 0);
        pid[got > 0 ? got : 0] = '\0';
        return sw_error_set(err, SW_E_IO, "store %s: process %s is writing it; wait until it ends, or choose another store",
                            kv->dir, pid[0] ? pid : "of another user");
    }
    char pid[32];
    int size = snprintf(pid, sizeof pid, "%ld", (long)getpid());
    if (ftruncate(kv->lock_fd, 0) != 0 || pwrite(kv->lock_fd, pid, (size_t)size, 0) != size)
        return kv_error(kv->dir, errno, true, err);
    return SW_OK;
}

/* LMDB's writer follows pages without a question, and writes over those that a damaged list calls free. */
static sw_status check_before_writing(sw_kv *kv, sw_error *err)
{
    MDB_envinfo info;
    sw_pages_fault fault = {0};
    bool found = false;
    int rc = mdb_env_info(kv->env, &info);
    if (rc != 0) return kv_error(kv->dir, rc, true, err);
    SW_TRY(check_size(kv, err));
    SW_TRY(map_file(kv, err));
    bool whole = sw_pages_find(kv->map, kv->map_size, info.me_last_txnid, &kv->pages, &found, &fault);
    if (whole && found && sw_pages_check_order(&kv->pages, &fault)) SW_TRY(sw_pages_check(&kv->pages, false, &fault, err));
    munmap(kv->map, kv->map_size);
    kv->map = NULL;
    return fault.why ? damaged(kv, &fault, err) : SW_OK;
}

sw_status sw_kv_open_write(const char *dir, sw_kv **out, sw_error *err)
{
    SW_CLEANUP(sw_kv_close) sw_kv *kv = NULL;
    SW_TRY(sw_mkdir_p(dir, err));
    SW_TRY(kv_new(dir, true, &kv, err));
    SW_TRY(lock_writer(kv, err));
    SW_TRY(check_head(kv, err));
    size_t map = FIRST_MAP_BYTES;
    int rc = env_open(kv, 0, map);
    while (rc == ENOMEM && map > LEAST_MAP_BYTES) rc = env_open(kv, 0, map /= 2);
    if (rc != 0) return kv_error(dir, rc, true, err);
    SW_TRY(check_before_writing(kv, err));
    int dead;
    rc = mdb_reader_check(kv->env, &dead); /* slots of killed readers would keep old pages alive */
    MDB_txn *txn = NULL;
    if (rc == 0) rc = mdb_txn_begin(kv->env, NULL, 0, &txn);
    if (rc == 0) {
        rc = mdb_dbi_open(txn, NULL, 0, &kv->dbi);
        if (rc == 0) rc = mdb_txn_commit(txn);
        else mdb_txn_abort(txn);
    }
    if (rc != 0) return kv_error(dir, rc, true, err);
    *out = SW_STEAL(kv);
    return SW_OK;
}

const char *sw_kv_dir(const sw_kv *kv)
{
    return kv->dir;
}

/* ---- reading */

static MDB_val value_of(const void *bytes, size_t size)
{
    return (MDB_val){.mv_size = size, .mv_data = (void *)bytes};
}

/* A writer reads through its own transaction, or a short one when none is open. */
static int writers_txn(sw_kv *kv, MDB_txn **txn)
{
    *txn = kv->txn;
    return kv->txn ? 0 : mdb_txn_begin(kv->env, NULL, MDB_RDONLY, txn);
}

/* A value that is about to be read comes from the disk in one go; touched page by page it would come 4 KiB at a time, since
 * reading ahead is off. Of a value in memory this costs a microsecond. */
static void fetch(const void *value, size_t size)
{
    const uintptr_t page = 4096;
    uintptr_t start = (uintptr_t)value / page * page;
    if (size > page) (void)madvise((void *)start, (uintptr_t)value + size - start, MADV_WILLNEED);
}

sw_status sw_kv_get(sw_kv *kv, const void *key, size_t key_size, const void **value, size_t *size, sw_error *err)
{
    MDB_val k = value_of(key, key_size), v = {0};
    sw_pages_fault fault;
    *value = NULL;
    *size = 0;
    if (!kv->writer) {
        if (!sw_pages_get(&kv->pages, key, key_size, value, size, &fault)) return damaged(kv, &fault, err);
        fetch(*value, *size);
        return SW_OK;
    }
    if (!kv->txn) return sw_error_set(err, SW_E_INTERNAL, "store %s: a value was asked for outside a transaction", kv->dir);
    int rc = mdb_get(kv->txn, kv->dbi, &k, &v);
    if (rc == MDB_NOTFOUND) return SW_OK;
    if (rc != 0) return kv_error(kv->dir, rc, true, err);
    *value = v.mv_data;
    *size = v.mv_size;
    return SW_OK;
}

/* The system maps pages around one that is touched: 64 KiB as a rule, and as much as a page table holds of large folios. */
#define AROUND ((uintptr_t)2 << 20)
#define DONE_ALL 256 /* values */

bool sw_kv_done(sw_kv *kv, const void *value, size_t size)
{
    uintptr_t low = (uintptr_t)kv->map, high = low + kv->map_size;
    if (kv->writer || (uintptr_t)value < low || (uintptr_t)value >= high) return false;
    uintptr_t start = (uintptr_t)value / AROUND * AROUND, end = ((uintptr_t)value + size + AROUND - 1) / AROUND * AROUND;
    /* Now and then all of them: others' reads map again what lies around theirs. */
    bool all = (atomic_fetch_add(&kv->done, 1) + 1) % DONE_ALL == 0;
    if (all || start < low) start = low;
    if (all || end > high) end = high;
    /* Refused or not, nothing is lost: the map is a file's, shared and read-only. */
    if (start < end) (void)madvise((void *)start, end - start, MADV_DONTNEED);
    return true;
}

void sw_kv_rest(sw_kv *kv)
{
    if (kv->map) (void)madvise(kv->map, kv->map_size, MADV_DONTNEED);
}

static sw_status writers_each(const sw_kv *kv, MDB_txn *txn, char first, sw_kv_fn fn, void *ctx, sw_error *err)
{
    MDB_cursor *cursor = NULL;
    int rc = mdb_cursor_open(txn, kv->dbi, &cursor);
    if (rc != 0) return kv_error(kv->dir, rc, true, err);
    MDB_val k = value_of(&first, 1), v = {0};
    sw_status status = SW_OK;
    rc = mdb_cursor_get(cursor, &k, &v, first ? MDB_SET_RANGE : MDB_FIRST);
    while (rc == 0 && status == SW_OK && (!first || *(const char *)k.mv_data == first)) {
        status = fn(ctx, k.mv_data, k.mv_size, v.mv_data, v.mv_size, err);
        if (status == SW_OK) rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    if (status != SW_OK || rc == 0 || rc == MDB_NOTFOUND) return status;
    return kv_error(kv->dir, rc, true, err);
}

typedef struct passing {
    sw_kv_fn fn;
    void *ctx;
    char first;
    sw_status status;
    sw_error *err;
} passing;

static bool pass(void *ctx, const void *key, size_t key_size, const void *value, size_t size)
{
    passing *p = ctx;
    if (p->first && (key_size == 0 || *(const char *)key != p->first)) return false;
    p->status = p->fn(p->ctx, key, key_size, value, size, p->err);
    return p->status == SW_OK;
}

sw_status sw_kv_each(sw_kv *kv, char first, sw_kv_fn fn, void *ctx, sw_error *err)
{
    if (!kv->writer) {
        passing p = {fn, ctx, first, SW_OK, err};
        sw_pages_fault fault;
        return sw_pages_each(&kv->pages, &first, first != 0, pass, &p, &fault) ? p.status : damaged(kv, &fault, err);
    }
    MDB_txn *txn = NULL;
    int rc = writers_txn(kv, &txn);
    if (rc != 0) return kv_error(kv->dir, rc, true, err);
    sw_status status = writers_each(kv, txn, first, fn, ctx, err);
    if (txn != kv->txn) mdb_txn_abort(txn);
    return status;
}

int64_t sw_kv_count(const sw_kv *kv)
{
    return (int64_t)kv->pages.records.entries;
}

int64_t sw_kv_bytes(const sw_kv *kv)
{
    return (int64_t)kv->map_size;
}

sw_status sw_kv_check(const sw_kv *kv, sw_error *err)
{
    sw_pages_fault fault;
    SW_TRY(sw_pages_check(&kv->pages, true, &fault, err));
    return fault.why ? damaged(kv, &fault, err) : SW_OK;
}

/* ---- writing */

/* Pages that one removal can touch, with those of the list of free pages. */
#define PAGES_PER_REMOVAL 16
#define PAGES_PER_TXN 64

static int size_now(sw_kv *kv, int *fd, int64_t *file_bytes, int64_t *page_bytes, int64_t *needed)
{
    MDB_envinfo info;
    MDB_stat pages;
    struct stat file;
    int rc = mdb_env_info(kv->env, &info);
    if (rc == 0) rc = mdb_env_stat(kv->env, &pages);
    if (rc == 0) rc = mdb_env_get_fd(kv->env, fd);
    if (rc == 0 && fstat(*fd, &file) != 0) rc = errno;
    if (rc != 0) return rc;
    *file_bytes = file.st_size;
    *page_bytes = (int64_t)pages.ms_psize;
    *needed = ((int64_t)info.me_last_pgno + 1) * *page_bytes;
    return 0;
}

static int64_t pages_in(const MDB_stat *tree)
{
    return (int64_t)(tree->ms_branch_pages + tree->ms_leaf_pages + tree->ms_overflow_pages);
}

/* The most pages that a transaction can add to the file: what its tree has grown by, a new page for each branch and leaf that was
 * there before, and for each of these a number in the list of free pages. No more than that: where files may not grow without
 * limit (ulimit -f), a larger guess would refuse what fits. */
static int pages_to_add(const sw_kv *kv, int64_t *pages)
{
    MDB_stat before, now;
    int rc = mdb_env_stat(kv->env, &before);
    if (rc == 0) rc = mdb_stat(kv->txn, kv->dbi, &now);
    if (rc != 0) return rc;
    int64_t grown = pages_in(&now) - pages_in(&before), replaced = (int64_t)(before.ms_branch_pages + before.ms_leaf_pages);
    *pages = (grown > 0 ? grown : 0) + replaced + replaced / 256 + PAGES_PER_REMOVAL * kv->n_removals + PAGES_PER_TXN;
    return 0;
}

/* A page that is taken at the end of the file and given back in the same transaction is never written, so the file may end
 * before the last page that LMDB counts, as a truncated one does (check_size). The file is made long enough before the commit, so that
 * it never looks truncated, and cut to its length after it. */
static int stretch(sw_kv *kv)
{
    int fd;
    int64_t file_bytes, page_bytes, needed, pages;
    int rc = size_now(kv, &fd, &file_bytes, &page_bytes, &needed);
    if (rc == 0) rc = pages_to_add(kv, &pages);
    if (rc != 0) return rc;
    /* What is removed may be larger than what is added: then the bytes that were put bound the growth. */
    int64_t most = needed + pages * page_bytes + (kv->n_removals > 0 ? 2 * kv->put_bytes + PAGES_PER_REMOVAL * page_bytes * kv->n_puts : 0);
    return file_bytes >= most || ftruncate(fd, (off_t)most) == 0 ? 0 : errno;
}

static int cut(sw_kv *kv)
{
    int fd;
    int64_t file_bytes, page_bytes, needed;
    int rc = size_now(kv, &fd, &file_bytes, &page_bytes, &needed);
    if (rc != 0) return rc;
    return file_bytes <= needed || ftruncate(fd, (off_t)needed) == 0 ? 0 : errno;
}

/* Room for a slide must be there before its transaction begins: the map cannot grow within one. */
static int grow_map(sw_kv *kv)
{
    MDB_envinfo info;
    MDB_stat pages;
    int rc = mdb_env_info(kv->env, &info);
    if (rc == 0) rc = mdb_env_stat(kv->env, &pages);
    if (rc != 0) return rc;
    size_t used = (info.me_last_pgno + 1) * (size_t)pages.ms_psize;
    return used > info.me_mapsize / 2 ? mdb_env_set_mapsize(kv->env, info.me_mapsize * 2) : 0;
}

sw_status sw_kv_begin(sw_kv *kv, sw_error *err)
{
    if (kv->txn || !kv->writer) return sw_error_set(err, SW_E_INTERNAL, "store %s: a slide is being written already", kv->dir);
    int rc = grow_map(kv);
    if (rc == 0) rc = mdb_txn_begin(kv->env, NULL, 0, &kv->txn);
    kv->n_puts = kv->put_bytes = kv->n_removals = 0;
    if (rc == 0) return SW_OK;
    kv->txn = NULL;
    return kv_error(kv->dir, rc, true, err);
}

sw_status sw_kv_put(sw_kv *kv, const void *key, size_t key_size, size_t size, void **space, sw_error *err)
{
    MDB_val k = value_of(key, key_size), v = value_of(NULL, size);
    if (!kv->txn) return sw_error_set(err, SW_E_INTERNAL, "store %s: a value was put outside a slide", kv->dir);
    int rc = mdb_put(kv->txn, kv->dbi, &k, &v, MDB_NOOVERWRITE | MDB_RESERVE);
    if (rc == MDB_KEYEXIST) return sw_error_set(err, SW_E_INTERNAL, "store %s: a record would be written twice", kv->dir);
    if (rc != 0) return kv_error(kv->dir, rc, true, err);
    *space = v.mv_data;
    kv->n_puts++;
    kv->put_bytes += (int64_t)size;
    return SW_OK;
}

/* LMDB frees as many pages of a large value as the head of the first one says. */
static sw_status check_large(const sw_kv *kv, size_t key_size, const MDB_val *value, sw_error *err)
{
    MDB_stat pages;
    sw_pages_fault fault = {0};
    int rc = mdb_env_stat(kv->env, &pages);
    if (rc != 0) return kv_error(kv->dir, rc, true, err);
    return sw_pages_check_large(value->mv_data, key_size, value->mv_size, pages.ms_psize, &fault) ? SW_OK : damaged(kv, &fault, err);
}

sw_status sw_kv_remove(sw_kv *kv, const void *key, size_t key_size, sw_error *err)
{
    MDB_val k = value_of(key, key_size);
    if (!kv->txn) return sw_error_set(err, SW_E_INTERNAL, "store %s: a value was removed outside a slide", kv->dir);
    MDB_val v = {0};
    int rc = mdb_get(kv->txn, kv->dbi, &k, &v);
    if (rc == 0) SW_TRY(check_large(kv, key_size, &v, err));
    if (rc == 0) rc = mdb_del(kv->txn, kv->dbi, &k, NULL);
    if (rc == MDB_NOTFOUND) {
        return sw_error_set(err, SW_E_FORMAT, "store %s: a record that should be there is missing; restore the store from a copy or tile "
                                              "into a new one", kv->dir);
    }
    kv->n_removals++;
    return rc == 0 ? SW_OK : kv_error(kv->dir, rc, true, err);
}

sw_status sw_kv_commit(sw_kv *kv, sw_error *err)
{
    if (!kv->txn) return sw_error_set(err, SW_E_INTERNAL, "store %s: there is no slide to commit", kv->dir);
    int rc = stretch(kv);
    if (rc != 0) mdb_txn_abort(kv->txn);
    else rc = mdb_txn_commit(kv->txn); /* frees the transaction whatever it answers */
    kv->txn = NULL;
    /* What is committed stays, also where the file cannot be cut: it is longer then than it need be, which is no harm. */
    if (rc == 0) (void)cut(kv);
    return rc == 0 ? SW_OK : kv_error(kv->dir, rc, true, err);
}

void sw_kv_abort(sw_kv *kv)
{
    if (kv->txn) mdb_txn_abort(kv->txn);
    kv->txn = NULL;
}
