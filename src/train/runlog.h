/* SPDX-License-Identifier: Apache-2.0 */
/* The run's log: one JSON object a line. A checkpoint remembers the log's size, so that a resumed run
 * cuts what was written after it and the log reads as if nothing had happened. */
#ifndef SW_TRAIN_RUNLOG_H
#define SW_TRAIN_RUNLOG_H

#include "base/buf.h"
#include "slidewise/error.h"

typedef struct sw_runlog sw_runlog;

/* Opens (or creates) `path` and cuts it to `keep_bytes`. A log shorter than that is kept as it is. */
sw_status sw_runlog_open(const char *path, int64_t keep_bytes, sw_runlog **out, sw_error *err) SW_MUST_CHECK;
void sw_runlog_close(sw_runlog *log);
/* Appends `line` (without newline) and hands it to the disk. */
sw_status sw_runlog_write(sw_runlog *log, const sw_buf *line, sw_error *err) SW_MUST_CHECK;
int64_t sw_runlog_size(const sw_runlog *log);

#endif
