/* SPDX-License-Identifier: Apache-2.0 */
/* Part 1 of the leaf kernels (see simd_impl.h): vectors and spans. The including file defines VL. */
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "backend/cpu/simd.h"
#if defined(__SSE2__)
#include <immintrin.h>
#endif

typedef float vf __attribute__((vector_size(VL * 4)));
typedef int32_t vi __attribute__((vector_size(VL * 4)));
typedef uint32_t vu __attribute__((vector_size(VL * 4)));
typedef uint16_t vh __attribute__((vector_size(VL * 2)));
typedef uint8_t vb __attribute__((vector_size(VL)));

/* Offset of element i's vector in a "per" array; zero where one vector is the whole span. */
#define LANE(i) (VL == SW_SPAN ? 0 : ((i) % SW_SPAN))
/* i walks over vectors; n is how many of its floats are inside (less than VL only at the end). */
#define EACH(i, n, first, end)                                                                  \
    for (int64_t i = (first), n = (end) - i < VL ? (end) - i : VL; i < (end);                   \
         i += VL, n = (end) - i < VL ? (end) - i : VL)

static inline vf load(const float *p)
{
    vf v;
    memcpy(&v, p, sizeof(v));
    return v;
}

static inline void store(float *p, vf v)
{
    memcpy(p, &v, sizeof(v));
}

static inline vf load_n(const float *p, int64_t n)
{
    if (n == VL) return load(p);
    float part[VL] = {0};
    memcpy(part, p, (size_t)n * sizeof(float));
    return load(part);
}

static inline void store_n(float *p, vf v, int64_t n)
{
    if (n == VL) {
        store(p, v);
        return;
    }
    float part[VL];
    store(part, v);
    memcpy(p, part, (size_t)n * sizeof(float));
}

/* A bfloat16 is the upper half of a float. */
static inline vf load_bf16_n(const uint16_t *p, int64_t n)
{
    vh half = {0};
    if (n == VL) memcpy(&half, p, sizeof(half));
    else memcpy(&half, p, (size_t)n * sizeof(*p));
    return (vf)(__builtin_convertvector(half, vu) << 16);
}

/* Rounds to nearest, ties to even; a number that is none stays so (and is quiet). In integers, so that every
 * instruction set gives the same bits; the CPU's own conversion would take denormals for zero. */
static inline void store_bf16_n(uint16_t *p, vf v, int64_t n)
{
    vu bits = (vu)v, none = (vu)(v != v);
    bits = (~none & (bits + (0x7fff + (bits >> 16 & 1)))) | (none & (bits | 0x400000));
    vh half = __builtin_convertvector(bits >> 16, vh);
    if (n == VL) memcpy(p, &half, sizeof(half));
    else memcpy(p, &half, (size_t)n * sizeof(*p));
}

/* Past the caches, for results larger than they are: an ordinary store reads the line first. `p` is aligned to the
 * vector; stream_end comes after the last one and before anybody reads. */
static inline void stream(float *p, vf v)
{
#if VL == 16
    _mm512_stream_ps(p, (__m512)v);
#elif VL == 8
    _mm256_stream_ps(p, (__m256)v);
#else
    store(p, v);
#endif
}

static inline void stream_bf16(uint16_t *p, vf v)
{
    uint16_t half[VL] __attribute__((aligned(2 * VL)));
    store_bf16_n(half, v, VL);
#if VL == 16
    _mm256_stream_si256((__m256i *)p, *(const __m256i *)half);
#elif VL == 8
    _mm_stream_si128((__m128i *)p, *(const __m128i *)half);
#else
    memcpy(p, half, sizeof(half));
#endif
}

static inline void stream_end(void)
{
#if defined(__SSE2__)
    _mm_sfence();
#endif
}

/* Zero beyond the first n. */
static inline vf keep_n(vf v, int64_t n)
{
    if (n == VL) return v;
    float part[VL];
    store(part, v);
    return load_n(part, n);
}

static inline vf splat(float x)
{
    return x - (vf){0};
}

static inline vf masked_by(vf v, vi mask)
{
    return (vf)((vi)v & mask);
}

static inline vf choose(vi mask, vf yes, vf no)
{
    return (vf)(((vi)yes & mask) | ((vi)no & ~mask));
}

/* The larger; b where one is not a number. */
static inline vf vmax(vf a, vf b)
{
#if VL == 16
    return _mm512_max_ps(a, b);
#elif VL == 8
    return _mm256_max_ps(a, b);
#elif defined(__SSE2__)
    return _mm_max_ps(a, b);
#else
    return choose(a > b, a, b);
#endif
}

/* The smaller; b where one is not a number. */
static inline vf vmin(vf a, vf b)
{
#if VL == 16
    return _mm512_min_ps(a, b);
#elif VL == 8
    return _mm256_min_ps(a, b);
#elif defined(__SSE2__)
    return _mm_min_ps(a, b);
#else
    return choose(a < b, a, b);
#endif
}

static inline vf vsqrt(vf a)
{
#if VL == 16
    return _mm512_sqrt_ps(a);
#elif VL == 8
    return _mm256_sqrt_ps(a);
#elif defined(__SSE2__)
    return _mm_sqrt_ps(a);
#else
    for (int l = 0; l < VL; l++) a[l] = sqrtf(a[l]);
    return a;
#endif
}

static inline float hsum(vf v)
{
    float part[VL];
    store(part, v);
    for (int width = VL / 2; width > 0; width /= 2)
        for (int l = 0; l < width; l++) part[l] += part[l + width];
    return part[0];
}

/* e^x to about one unit in the last place; x up to 88; zero below -87. Range reduction by ln 2 in two parts and
 * the usual minimax polynomial of degree 7 on [-ln2/2, ln2/2]. */
static inline vf vexp(vf x)
{
    const float round_bias = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    vi zero = x < -87.3f;
    x = vmax(splat(-87.3f), x);
    vf n = (x * 1.44269504f + round_bias) - round_bias;
    vf r = x - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    vf p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    vi exponent = (__builtin_convertvector(n, vi) + 127) << 23;
    return masked_by(p * (vf)exponent, ~zero);
}

/* --- spans. Sums run in float over short stretches and go on in double. */
#define STRETCH (32 * SW_SPAN)
#define SPAN_VECTORS (SW_SPAN / VL)

static inline void flush(vf *part, double *sum)
{
    for (int v = 0; v < SPAN_VECTORS; v++) {
        float lane[VL];
        store(lane, part[v]);
        for (int l = 0; l < VL; l++) sum[v * VL + l] += (double)lane[l];
    }
}
