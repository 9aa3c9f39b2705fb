/* SPDX-License-Identifier: Apache-2.0 */
#include "train/runlog.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"

struct sw_runlog {
    int fd;
    int64_t size;
    char *path;
};

static sw_status failed(const sw_runlog *log, const char *what, sw_error *err)
{
    int errnum = errno;
    if (sw_status_of_errno(errnum) == SW_E_NOSPACE)
        return sw_error_set(err, SW_E_NOSPACE,
                            "cannot write %s: the disk that holds it is full; free some space and go on with --resume", log->path);
    return sw_error_set(err, sw_status_of_errno(errnum), "%s: %s failed: %s", log->path, what, strerror(errnum));
}

static sw_status open_and_cut(sw_runlog *log, int64_t keep_bytes, sw_error *err)
{
    log->fd = open(log->path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (log->fd < 0) return failed(log, "opening the log", err);
    off_t end = lseek(log->fd, 0, SEEK_END);
    if (end < 0) return failed(log, "seeking", err);
    log->size = end;
    if (end <= keep_bytes) return SW_OK;
    if (ftruncate(log->fd, keep_bytes) != 0) return failed(log, "cutting the log", err);
    if (lseek(log->fd, keep_bytes, SEEK_SET) < 0) return failed(log, "seeking", err);
    log->size = keep_bytes;
    return SW_OK;
}

sw_status sw_runlog_open(const char *path, int64_t keep_bytes, sw_runlog **out, sw_error *err)
{
    sw_runlog *log = sw_calloc(1, sizeof *log);
    if (!log) return sw_nomem(err);
    log->fd = -1;
    log->path = sw_strdup(path);
    sw_status status = log->path ? open_and_cut(log, keep_bytes, err) : sw_nomem(err);
    if (status != SW_OK) {
        sw_runlog_close(log);
        return status;
    }
    *out = log;
    return SW_OK;
}

void sw_runlog_close(sw_runlog *log)
{
    if (!log) return;
    if (log->fd >= 0) close(log->fd);
    sw_free(log->path);
    sw_free(log);
}

static sw_status write_all(sw_runlog *log, const char *bytes, size_t size, sw_error *err)
{
    while (size > 0) {
        ssize_t n = write(log->fd, bytes, size);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return failed(log, "writing the log", err);
        bytes += n;
        size -= (size_t)n;
        log->size += n;
    }
    return SW_OK;
}

sw_status sw_runlog_write(sw_runlog *log, const sw_buf *line, sw_error *err)
{
    SW_TRY(sw_buf_status(line, err));
    SW_TRY(write_all(log, line->data, line->size, err));
    SW_TRY(write_all(log, "\n", 1, err));
    if (fdatasync(log->fd) != 0) return failed(log, "writing the log to disk", err);
    return SW_OK;
}

int64_t sw_runlog_size(const sw_runlog *log)
{
    return log->size;
}
