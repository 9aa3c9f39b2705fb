/* SPDX-License-Identifier: Apache-2.0 */
/* One training at a time in a run directory. The lock goes with the process, however that ends. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/text.h"
#include "train/trainer.h"

/* Who holds it, as they wrote it: a help for people only. */
static void holder_of(int fd, char *out, size_t size)
{
    char text[32] = {0};
    int64_t pid;
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\0')) text[--n] = '\0';
    out[0] = '\0';
    if (n > 0 && sw_parse_int(text, &pid)) snprintf(out, size, " (process %lld)", (long long)pid);
}

static sw_status take(sw_trainer *t, const char *path, sw_error *err)
{
    char who[64], pid[32];
    if (flock(t->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK) {
            holder_of(t->lock_fd, who, sizeof who);
            return sw_error_set(err, SW_E_INVALID, "%s: another training writes into this directory%s; wait until it has ended, or choose another run.out",
                                t->config.run.out, who);
        }
        /* Some network file systems know no locks: that is no reason not to train there. */
        sw_log_warning(t->sink, "%s cannot be locked (%s): see to it that no second training writes into %s", path, strerror(errno),
                       t->config.run.out);
        return SW_OK;
    }
    int n = snprintf(pid, sizeof pid, "%lld\n", (long long)getpid());
    if (ftruncate(t->lock_fd, 0) != 0 || pwrite(t->lock_fd, pid, (size_t)n, 0) != n)
        return sw_error_set(err, sw_status_of_errno(errno), "cannot write %s: %s", path, strerror(errno));
    return SW_OK;
}

sw_status sw_trainer_lock(sw_trainer *t, sw_error *err)
{
    SW_AUTOFREE char *path = sw_path_join(t->config.run.out, "lock");
    if (!path) return sw_nomem(err);
    t->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (t->lock_fd < 0) return sw_error_set(err, sw_status_of_errno(errno), "cannot open %s: %s", path, strerror(errno));
    return take(t, path, err);
}

void sw_trainer_unlock(sw_trainer *t)
{
    if (t->lock_fd > 0) close(t->lock_fd);
    t->lock_fd = -1;
}
