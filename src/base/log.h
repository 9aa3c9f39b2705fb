/* SPDX-License-Identifier: Apache-2.0 */
/* Calls into a sink; all accept NULL. */
#ifndef SW_BASE_LOG_H
#define SW_BASE_LOG_H

#include "slidewise/log.h"

void sw_log_info(const sw_sink *sink, const char *fmt, ...) SW_PRINTF(2, 3);
void sw_log_warning(const sw_sink *sink, const char *fmt, ...) SW_PRINTF(2, 3);
void sw_log_progress(const sw_sink *sink, const sw_progress *progress);
bool sw_log_cancelled(const sw_sink *sink);

/* Rate and ETA from a moving window; fill `job`, `unit`, `total` and call tick. At most ten reports
 * per second reach the sink, the last one (done == total) always. One thread at a time. A resumed job
 * ticks once, right after the start, with what was done before. */
typedef struct sw_meter {
    const sw_sink *sink;
    sw_progress p;
    int64_t start_ns, last_ns, shown_ns;
    int64_t last_done;
    double last_units;
    double smooth_rate; /* rate units per second */
    double done_rate;   /* `done` per second: the ETA comes from it */
} sw_meter;
void sw_meter_start(sw_meter *m, const sw_sink *sink, const char *job, const char *unit, int64_t total);
/* `done` of total; `rate_units` counts what the rate is about (pass done when the same). */
void sw_meter_tick(sw_meter *m, int64_t done, double rate_units, const char *limit, const char *detail);

#endif
