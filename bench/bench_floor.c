/* SPDX-License-Identifier: Apache-2.0 */
/* What this machine can do at best with `threads` threads: multiply-adds of floats, products of bfloat16 pairs where the CPU
 * has them, and memory bandwidth (a[i] = b[i] + s * c[i]). Prints "name value" lines; the best of `repeats` tries. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/thread.h"
#include "util.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define ROUNDS 2000000LL
#define TRIAD ((int64_t)8 << 20) /* floats per thread and array: 32 MiB, well above the caches */

/* ---- multiply-adds: every thread runs `work` once; FLOPs of one run are returned */

typedef double (*work_fn)(float seed, float *sink);

static double plain_f32(float seed, float *sink)
{
    float x[64], m = 1.0f - seed;
    for (int i = 0; i < 64; i++) x[i] = seed * (float)i;
    for (long long r = 0; r < ROUNDS / 4; r++)
        for (int i = 0; i < 64; i++) x[i] = __builtin_fmaf(x[i], m, seed);
    for (int i = 0; i < 64; i++) *sink += x[i];
    return 2.0 * 64.0 * (double)(ROUNDS / 4);
}

#if defined(__x86_64__)
/* Twelve chains hide a latency of up to six cycles on two units. */
#define TWELVE(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)

__attribute__((target("avx2,fma"))) static double avx2_f32(float seed, float *sink)
{
    __m256 m = _mm256_set1_ps(1.0f - seed), a = _mm256_set1_ps(seed), sum = _mm256_setzero_ps();
#define X(i) __m256 x##i = _mm256_set1_ps(seed * i);
    TWELVE(X)
#undef X
    for (long long r = 0; r < ROUNDS * 4; r++) {
#define X(i) x##i = _mm256_fmadd_ps(x##i, m, a);
        TWELVE(X)
#undef X
    }
#define X(i) sum = _mm256_add_ps(sum, x##i);
    TWELVE(X)
#undef X
    *sink += _mm256_cvtss_f32(sum);
    return 12.0 * 8.0 * 2.0 * (double)(ROUNDS * 4);
}

__attribute__((target("avx512f"))) static double avx512_f32(float seed, float *sink)
{
    __m512 m = _mm512_set1_ps(1.0f - seed), a = _mm512_set1_ps(seed), sum = _mm512_setzero_ps();
#define X(i) __m512 x##i = _mm512_set1_ps(seed * i);
    TWELVE(X)
#undef X
    for (long long r = 0; r < ROUNDS * 4; r++) {
#define X(i) x##i = _mm512_fmadd_ps(x##i, m, a);
        TWELVE(X)
#undef X
    }
#define X(i) sum = _mm512_add_ps(sum, x##i);
    TWELVE(X)
#undef X
    *sink += _mm512_cvtss_f32(sum);
    return 12.0 * 16.0 * 2.0 * (double)(ROUNDS * 4);
}

__attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16"))) static double avx512_bf16(float seed, float *sink)
{
    __m512bh m = _mm512_cvtne2ps_pbh(_mm512_set1_ps(seed), _mm512_set1_ps(seed));
    __m512bh n = _mm512_cvtne2ps_pbh(_mm512_set1_ps(0.5f), _mm512_set1_ps(-0.5f));
    __m512 sum = _mm512_setzero_ps();
#define X(i) __m512 x##i = _mm512_set1_ps(seed * i);
    TWELVE(X)
#undef X
    for (long long r = 0; r < ROUNDS * 4; r++) {
#define X(i) x##i = _mm512_dpbf16_ps(x##i, m, n);
        TWELVE(X)
#undef X
    }
#define X(i) sum = _mm512_add_ps(sum, x##i);
    TWELVE(X)
#undef X
    *sink += _mm512_cvtss_f32(sum);
    return 12.0 * 32.0 * 2.0 * (double)(ROUNDS * 4);
}
#endif

static work_fn f32_work(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) return avx512_f32;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return avx2_f32;
#endif
    return plain_f32;
}

static work_fn bf16_work(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512bf16")) return avx512_bf16;
#endif
    return NULL;
}

typedef struct job {
    work_fn work;
    volatile float seed;
    float sink[64 * 16]; /* a cache line per thread */
    double flops[64];
    float *a[64], *b[64], *c[64];
    volatile float factor;
} job;

static sw_status run_work(void *ctx, int64_t i, sw_error *err)
{
    job *j = ctx;
    (void)err;
    j->flops[i] = j->work(j->seed, &j->sink[i * 16]);
    return SW_OK;
}

static sw_status run_triad(void *ctx, int64_t i, sw_error *err)
{
    job *j = ctx;
    float *a = j->a[i], factor = j->factor;
    const float *b = j->b[i], *c = j->c[i];
    (void)err;
    for (int64_t k = 0; k < TRIAD; k++) a[k] = b[k] + factor * c[k];
    return SW_OK;
}

static sw_status best_of(job *j, sw_pool *pool, int threads, int64_t repeats, sw_pool_fn fn, double *seconds, sw_error *err)
{
    *seconds = 1e30;
    for (int64_t r = 0; r < repeats; r++) {
        int64_t start = sw_now_ns();
        SW_TRY(sw_pool_for(pool, threads, fn, j, err));
        double s = (double)(sw_now_ns() - start) * 1e-9;
        if (s < *seconds) *seconds = s;
    }
    return SW_OK;
}

static sw_status floating(job *j, sw_pool *pool, int threads, int64_t repeats, work_fn work, const char *name, sw_error *err)
{
    double seconds = 0.0, flops = 0.0;
    if (!work) {
        printf("%s 0\n", name);
        return SW_OK;
    }
    j->work = work;
    SW_TRY(best_of(j, pool, threads, repeats, run_work, &seconds, err));
    for (int i = 0; i < threads; i++) flops += j->flops[i];
    printf("%s %.1f\n", name, flops / seconds * 1e-9);
    return SW_OK;
}

static sw_status bandwidth(job *j, sw_pool *pool, int threads, int64_t repeats, sw_error *err)
{
    double seconds = 0.0;
    sw_status status = SW_OK;
    for (int i = 0; i < threads; i++) {
        j->a[i] = sw_aligned_alloc(64, TRIAD * sizeof(float));
        j->b[i] = sw_aligned_alloc(64, TRIAD * sizeof(float));
        j->c[i] = sw_aligned_alloc(64, TRIAD * sizeof(float));
        if (!j->a[i] || !j->b[i] || !j->c[i]) {
            status = sw_nomem(err);
            break;
        }
        for (int64_t k = 0; k < TRIAD; k++) j->a[i][k] = 0.0f, j->b[i][k] = 1.0f, j->c[i][k] = (float)k;
    }
    if (status == SW_OK) status = best_of(j, pool, threads, repeats, run_triad, &seconds, err);
    if (status == SW_OK) printf("triad_gbs %.1f\n", 3.0 * sizeof(float) * (double)(TRIAD * threads) / seconds * 1e-9);
    for (int i = 0; i < threads; i++) sw_free(j->a[i]), sw_free(j->b[i]), sw_free(j->c[i]);
    return status;
}

static sw_status measure(const bench_args *args, sw_error *err)
{
    static job j = {.seed = 1e-7f, .factor = 0.5f};
    int64_t repeats;
    bench_common common;
    sw_pool *pool = NULL;
    SW_TRY(bench_common_read(args, &common, err));
    SW_TRY(bench_int(args, "repeats", 7, 1, 1000, &repeats, err));
    int threads = common.backend.threads > 0 ? common.backend.threads : sw_cpu_count();
    if (threads > 64) return sw_error_set(err, SW_E_INVALID, "%d threads: bench_floor measures at most 64", threads);
    if (threads > 1) SW_TRY(sw_pool_new(threads, &pool, err));
    printf("threads %d\n", threads);
    sw_status status = floating(&j, pool, threads, repeats, f32_work(), "f32_gflops", err);
    if (status == SW_OK) status = floating(&j, pool, threads, repeats, bf16_work(), "bf16_gflops", err);
    if (status == SW_OK) status = bandwidth(&j, pool, threads, repeats, err);
    sw_pool_free(pool);
    return status;
}

int main(int argc, char **argv)
{
    static const char *const keys[] = {NULL};
    bench_args args;
    sw_error err;
    sw_status status = bench_args_read(argc, argv, keys, &args, &err);
    if (status == SW_OK) status = measure(&args, &err);
    return bench_end("bench_floor", status, &err);
}
