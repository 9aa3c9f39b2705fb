/* SPDX-License-Identifier: Apache-2.0 */
#include "util.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/rng.h"
#include "base/thread.h"

enum { MAX_REPEATS = 1001 };

/* ---- settings */

static const char *const common_keys[] = {
    "serve=1: answer a driver on standard input", "repeats=measured goes, 7",     "breakdown=1: time per op and shape",
    "threads=0: all CPUs",                        "precision=fp32, or bf16",      "deterministic=0",
    "warm=1: one go before the first measured one", NULL};

static bool is_key(const char *const *keys, const char *arg, size_t length)
{
    for (; *keys; keys++)
        if (strcspn(*keys, "=") == length && strncmp(*keys, arg, length) == 0) return true;
    return false;
}

static void list_keys(const char *const *keys, char *text, size_t size)
{
    for (; *keys; keys++) {
        size_t used = strlen(text);
        snprintf(text + used, size - used, "\n  %s", *keys);
    }
}

sw_status bench_args_read(int argc, char **argv, const char *const *keys, bench_args *out, sw_error *err)
{
    char usage[800] = "";
    *out = (bench_args){argv[0], argc - 1, argv + 1};
    for (int i = 1; i < argc; i++) {
        size_t length = strcspn(argv[i], "=");
        if (argv[i][length] == '=' && (is_key(keys, argv[i], length) || is_key(common_keys, argv[i], length))) continue;
        list_keys(keys, usage, sizeof usage);
        list_keys(common_keys, usage, sizeof usage);
        return sw_error_set(err, SW_E_INVALID, "'%s' is not a setting; give any of%s", argv[i], usage);
    }
    return SW_OK;
}

const char *bench_text(const bench_args *args, const char *key, const char *fallback)
{
    size_t length = strlen(key);
    for (int i = args->count - 1; i >= 0; i--)
        if (strncmp(args->text[i], key, length) == 0 && args->text[i][length] == '=') return args->text[i] + length + 1;
    return fallback;
}

sw_status bench_int(const bench_args *args, const char *key, int64_t fallback, int64_t low, int64_t high, int64_t *out,
                    sw_error *err)
{
    const char *text = bench_text(args, key, NULL);
    *out = fallback;
    if (!text) return SW_OK;
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end || errno || value < low || value > high)
        return sw_error_set(err, SW_E_INVALID, "%s=%s: give a whole number from %lld to %lld", key, text, (long long)low,
                            (long long)high);
    *out = value;
    return SW_OK;
}

sw_status bench_common_read(const bench_args *args, bench_common *out, sw_error *err)
{
    int64_t threads, deterministic;
    SW_TRY(bench_int(args, "threads", 0, 0, 4096, &threads, err));
    SW_TRY(bench_int(args, "deterministic", 0, 0, 1, &deterministic, err));
    *out = (bench_common){.backend = {.threads = (int)threads, .deterministic = deterministic != 0},
                          .precision = bench_text(args, "precision", "fp32")};
    if (strcmp(out->precision, "fp32") != 0 && strcmp(out->precision, "bf16") != 0)
        return sw_error_set(err, SW_E_INVALID, "precision=%s: give fp32 or bf16", out->precision);
    return SW_OK;
}

/* ---- measuring */

/* The peak of resident memory so far, in bytes; 0 where the system does not tell. */
static int64_t peak_bytes(void)
{
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    long long kb = 0;
    if (!file) return 0;
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "VmHWM: %lld kB", &kb) == 1) break;
    fclose(file);
    return kb * 1024;
}

/* Starts the peak anew from what is resident now. Where the system refuses, the peak stays that of the whole process. */
static void peak_clear(void)
{
    FILE *file = fopen("/proc/self/clear_refs", "w");
    if (!file) return;
    fputs("5", file);
    fclose(file);
}

/* Of all threads, those that ended too. */
static double cpu_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static sw_status timed_go(const bench_case *c, double *seconds, sw_error *err)
{
    int64_t start = sw_now_ns();
    SW_TRY(c->go(c->ctx, err));
    *seconds = (double)(sw_now_ns() - start) * 1e-9;
    return SW_OK;
}

static sw_status serve(const bench_case *c, sw_error *err)
{
    char line[64];
    printf("ready %.0f %.0f\n", c->items, c->flops);
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        double seconds = 0.0;
        line[strcspn(line, "\n")] = '\0';
        if (strcmp(line, "go") == 0) {
            double before = cpu_seconds();
            SW_TRY(timed_go(c, &seconds, err));
            printf("seconds %.9f %.9f\n", seconds, cpu_seconds() - before);
        } else if (strcmp(line, "memory") == 0) {
            printf("memory %lld %lld\n", (long long)peak_bytes(), c->be ? (long long)sw_backend_memory(c->be).peak : 0LL);
        } else {
            return sw_error_set(err, SW_E_INVALID, "'%s' was asked for; ask for go or memory", line);
        }
        fflush(stdout);
    }
    return SW_OK;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static sw_status alone(const bench_case *c, int64_t repeats, double *median, sw_error *err)
{
    double seconds[MAX_REPEATS];
    for (int64_t i = 0; i < repeats; i++) SW_TRY(timed_go(c, &seconds[i], err));
    qsort(seconds, (size_t)repeats, sizeof *seconds, by_value);
    *median = seconds[repeats / 2];
    printf("%-34s %9.2f %s/s (median of %lld; slowest %.2f, fastest %.2f)", c->name, c->items / *median, c->unit,
           (long long)repeats, c->items / seconds[repeats - 1], c->items / seconds[0]);
    if (c->flops > 0.0) printf("  %.0f GFLOP/s", c->flops / *median * 1e-9);
    printf("  process %.0f MB", (double)peak_bytes() / 1e6);
    if (c->be) printf(", tensors %.0f MB", (double)sw_backend_memory(c->be).peak / 1e6);
    printf("\n");
    return SW_OK;
}

static sw_status breakdown(const bench_case *c, int64_t goes, sw_error *err)
{
    double total = 0.0;
    bench_trace_clear();
    for (int64_t i = 0; i < goes; i++) {
        double seconds = 0.0;
        SW_TRY(timed_go(c, &seconds, err));
        total += seconds;
    }
    bench_trace_print(total / (double)goes, goes);
    return SW_OK;
}

sw_status bench_run(const bench_args *args, const bench_case *c, sw_error *err)
{
    int64_t serving, repeats, trace, warm;
    double median = 0.0;
    SW_TRY(bench_int(args, "serve", 0, 0, 1, &serving, err));
    SW_TRY(bench_int(args, "repeats", 7, 1, MAX_REPEATS, &repeats, err));
    SW_TRY(bench_int(args, "breakdown", 0, 0, 1, &trace, err));
    SW_TRY(bench_int(args, "warm", 1, 0, 1, &warm, err));
    if (trace && c->be) bench_trace_start(c->be);
    if (warm) SW_TRY(c->go(c->ctx, err)); /* makes primitives and touches memory */
    peak_clear();
    if (serving) return serve(c, err);
    SW_TRY(alone(c, repeats, &median, err));
    return trace && c->be ? breakdown(c, repeats < 3 ? repeats : 3, err) : SW_OK;
}

int bench_end(const char *program, sw_status status, const sw_error *err)
{
    if (status != SW_OK) fprintf(stderr, "%s: %s\n", program, err->message);
    return status != SW_OK;
}

/* ---- inputs and costs */

sw_status bench_random(sw_backend *be, sw_shape shape, uint32_t stream, sw_tensor *out, sw_error *err)
{
    int64_t count = sw_shape_count(&shape);
    SW_AUTOFREE float *host = sw_malloc((size_t)count * sizeof(float));
    if (!host) return sw_nomem(err);
    sw_rng rng = sw_rng_stream(1, SW_RNG_TEST, 0, stream, 0);
    for (int64_t i = 0; i < count; i++) host[i] = (float)sw_rng_range(&rng, -1, 1);
    return sw_tensor_from(&be->device, SW_F32, shape, host, out, err);
}

/* One convolution of `side` x `side` results. Training adds the gradients of weights and, but for the first, of pixels. */
static double conv_flops(double side, double out, double in, double window, double passes)
{
    return 2.0 * side * side * out * in * window * window * passes;
}

double bench_encoder_flops(const char *encoder, int64_t px, bool training)
{
    if (strcmp(encoder, "resnet18") != 0) return 0.0;
    double side = (double)((px + 1) / 2), passes = training ? 3.0 : 1.0, width = 64.0;
    double flops = conv_flops(side, 64.0, 3.0, 7.0, training ? 2.0 : 1.0);
    side = (double)(((int64_t)side + 1) / 2);
    flops += 4.0 * conv_flops(side, 64.0, 64.0, 3.0, passes);
    for (int layer = 2; layer <= 3; layer++) {
        side = (double)(((int64_t)side + 1) / 2);
        flops += conv_flops(side, 2.0 * width, width, 3.0, passes) + conv_flops(side, 2.0 * width, width, 1.0, passes);
        width *= 2.0;
        flops += 3.0 * conv_flops(side, width, width, 3.0, passes);
    }
    return flops;
}
