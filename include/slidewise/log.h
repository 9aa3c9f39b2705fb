/* SPDX-License-Identifier: Apache-2.0 */
/* How the library talks: it never prints, it calls the sink that its caller gave. */
#ifndef SLIDEWISE_LOG_H
#define SLIDEWISE_LOG_H

#include <stdint.h>

#include "slidewise/error.h"

typedef enum sw_log_level { SW_LOG_INFO, SW_LOG_WARNING } sw_log_level;

/* State of a long job. Texts are borrowed for the duration of the call. */
typedef struct sw_progress {
    const char *job;    /* "tile", "train epoch 3/75", … */
    const char *unit;   /* what is counted: "patches", "bags", "slides" */
    int64_t done;
    int64_t total;      /* 0: unknown */
    double rate;        /* rate_unit per second, recent */
    const char *rate_unit; /* NULL: unit */
    double eta_s;       /* < 0: unknown */
    const char *limit;  /* what limits it: "reading", "decoding", "computing", "writing"; NULL: unknown */
    const char *detail; /* free text ("loss 0.532"); may be NULL */
} sw_progress;

/* All members may be NULL. Called from any thread, one call at a time. */
typedef struct sw_sink {
    void *ctx;
    void (*log)(void *ctx, sw_log_level level, const char *text);
    void (*progress)(void *ctx, const sw_progress *progress);
    bool (*cancelled)(void *ctx); /* true: stop at the next commit point with SW_E_CANCELLED */
} sw_sink;

#endif
