/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "base/thread.h"

/* A sink is promised one call at a time and carries no lock of its own (callers make it by hand), so the
 * calls of the process take turns here. A sink must not call back into the library. */
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

static void log_text(const sw_sink *sink, sw_log_level level, const char *fmt, va_list args)
{
    if (!sink || !sink->log) return;
    char text[2048];
    if (sw_vsnprintf(text, sizeof(text), fmt, args) < 0) return;
    pthread_mutex_lock(&turn);
    sink->log(sink->ctx, level, text);
    pthread_mutex_unlock(&turn);
}

void sw_log_info(const sw_sink *sink, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    log_text(sink, SW_LOG_INFO, fmt, args);
    va_end(args);
}

void sw_log_warning(const sw_sink *sink, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    log_text(sink, SW_LOG_WARNING, fmt, args);
    va_end(args);
}

void sw_log_progress(const sw_sink *sink, const sw_progress *progress)
{
    if (!sink || !sink->progress) return;
    pthread_mutex_lock(&turn);
    sink->progress(sink->ctx, progress);
    pthread_mutex_unlock(&turn);
}

bool sw_log_cancelled(const sw_sink *sink)
{
    if (!sink || !sink->cancelled) return false;
    pthread_mutex_lock(&turn);
    bool cancelled = sink->cancelled(sink->ctx);
    pthread_mutex_unlock(&turn);
    return cancelled;
}

static const int64_t SETTLE_NS = 50000000;   /* ticks this early only tell where a resumed job starts */
static const int64_t MEASURE_NS = 200000000; /* shorter spans give a rate that jumps */
static const int64_t SHOW_NS = 100000000;    /* at most ten reports per second */
static const double WINDOW_S = 5.0;          /* time constant of the smoothed rates */

void sw_meter_start(sw_meter *m, const sw_sink *sink, const char *job, const char *unit, int64_t total)
{
    *m = (sw_meter){.sink = sink, .p = {.job = job, .unit = unit, .total = total, .eta_s = -1}};
    m->start_ns = m->last_ns = sw_now_ns();
    m->shown_ns = m->start_ns - SHOW_NS;
}

static double smooth(double before, double now, double span_s)
{
    if (before <= 0) return now;
    double weight = 1.0 - exp(-span_s / WINDOW_S);
    return before + weight * (now - before);
}

static void measure(sw_meter *m, int64_t now, int64_t done, double rate_units)
{
    double span_s = (double)(now - m->last_ns) * 1e-9;
    m->smooth_rate = smooth(m->smooth_rate, (rate_units - m->last_units) / span_s, span_s);
    m->done_rate = smooth(m->done_rate, (double)(done - m->last_done) / span_s, span_s);
    m->last_ns = now;
    m->last_units = rate_units;
    m->last_done = done;
}

void sw_meter_tick(sw_meter *m, int64_t done, double rate_units, const char *limit, const char *detail)
{
    int64_t now = sw_now_ns();
    if (now - m->start_ns < SETTLE_NS) {
        m->last_units = rate_units;
        m->last_done = done;
    } else if (now - m->last_ns >= MEASURE_NS) {
        measure(m, now, done, rate_units);
    }
    bool final = m->p.total > 0 && done >= m->p.total;
    if (!final && now - m->shown_ns < SHOW_NS) return;
    m->shown_ns = now;
    m->p.done = done;
    m->p.rate = m->smooth_rate;
    m->p.limit = limit;
    m->p.detail = detail;
    m->p.eta_s = m->p.total > 0 && m->done_rate > 0 ? (double)(m->p.total - done) / m->done_rate : -1;
    if (final) {
        m->p.eta_s = 0;
        /* Jobs too short for a measured span still have an average. */
        if (m->p.rate <= 0 && now > m->start_ns) m->p.rate = rate_units / ((double)(now - m->start_ns) * 1e-9);
    }
    sw_log_progress(m->sink, &m->p);
}
