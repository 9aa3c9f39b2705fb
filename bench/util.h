/* SPDX-License-Identifier: Apache-2.0 */
/* What the benchmark programs share: settings as key=value, and a measured case that either runs by itself or answers a
 * driver that lets two programs take turns. */
#ifndef BENCH_UTIL_H
#define BENCH_UTIL_H

#include "backend/backend.h"
#include "config/config.h"

/* --- settings: `program key=value ...`; the last one of a key wins */

typedef struct bench_args {
    const char *program;
    int count;
    char **text; /* borrowed from main */
} bench_args;

/* Checks that every argument is one of `keys` (each "name", or "name=what it means" for the usage message), or one of those
 * that every case knows. */
sw_status bench_args_read(int argc, char **argv, const char *const *keys, bench_args *out, sw_error *err) SW_MUST_CHECK;
const char *bench_text(const bench_args *args, const char *key, const char *fallback); /* borrowed */
/* A whole number in [low, high]; *out is the fallback where the key is absent. */
sw_status bench_int(const bench_args *args, const char *key, int64_t fallback, int64_t low, int64_t high, int64_t *out,
                    sw_error *err) SW_MUST_CHECK;

/* --- a case: something to measure again and again */

typedef struct bench_case {
    const char *name;      /* "encoder forward" */
    const char *unit;      /* of what is counted: "patches" */
    double items;          /* units of one go */
    double flops;          /* of one go, counted as direct convolutions; 0: not counted */
    double before_seconds; /* what it took until the case could start */
    sw_backend *be;        /* for the peak of tensors and for the breakdown; may be NULL */
    void *ctx;
    sw_status (*go)(void *ctx, sw_error *err);
} bench_case;

/* Runs the case: one go to warm up (warm=0: none), then
 *   serve=0 (default): `repeats` goes, and a line with minimum, median and maximum; with breakdown=1 a table of where the
 *                      time of further goes went, per op and shape.
 *   serve=1: prints "ready ITEMS FLOPS", then answers each line on standard input: "go" with "seconds WALL CPU", "memory" with
 *            "memory PEAK_BYTES_SINCE_READY TENSOR_BYTES"; ends at the end of input. Idle meanwhile. */
sw_status bench_run(const bench_args *args, const bench_case *c, sw_error *err) SW_MUST_CHECK;

/* Shared settings as every program takes them. */
typedef struct bench_common {
    sw_backend_options backend;
    const char *precision; /* "fp32", "bf16" */
} bench_common;
sw_status bench_common_read(const bench_args *args, bench_common *out, sw_error *err) SW_MUST_CHECK;

/* Random numbers in [-1, 1) on the device: the same for the same `stream`. */
sw_status bench_random(sw_backend *be, sw_shape shape, uint32_t stream, sw_tensor *out, sw_error *err) SW_MUST_CHECK;

/* FLOPs of ResNet-18 to layer3 per patch of `px` pixels a side, as direct convolutions: a multiply and an add are two.
 * 0: not counted for this encoder. */
double bench_encoder_flops(const char *encoder, int64_t px, bool training);

/* Prints the message of a failure; what main returns. */
int bench_end(const char *program, sw_status status, const sw_error *err);

/* --- trace.c: where time goes, per op, direction and shape. One backend at a time. */
void bench_trace_start(sw_backend *be); /* wraps the kernels of `be` */
void bench_trace_clear(void);
void bench_trace_print(double seconds_per_go, int64_t goes);

#endif
