/* SPDX-License-Identifier: Apache-2.0 */
/* The leaf kernels, written once with the compiler's vector types. The including file defines VL (floats per
 * vector: 4, 8 or 16), BLOCK (channels per block: 8 or 16) and VARIANT (a name). Part 1: vectors and spans. */
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "backend/cpu/simd.h"
#if defined(__SSE2__)
#include <immintrin.h>
#endif

typedef float vf __attribute__((vector_size(VL * 4)));
typedef int32_t vi __attribute__((vector_size(VL * 4)));
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

static void moments(const float *x, int64_t count, const float *pivot, double *sum, double *square)
{
    for (int64_t first = 0; first < count; first += STRETCH) {
        int64_t end = count - first < STRETCH ? count : first + STRETCH;
        vf s[SPAN_VECTORS] = {{0}}, q[SPAN_VECTORS] = {{0}};
        EACH(i, n, first, end) {
            vf d = keep_n(load_n(x + i, n) - load(pivot + LANE(i)), n);
            s[LANE(i) / VL] += d;
            q[LANE(i) / VL] += d * d;
        }
        flush(s, sum);
        flush(q, square);
    }
}

static void lane_sums(const float *x, int64_t count, double *sum)
{
    for (int64_t first = 0; first < count; first += STRETCH) {
        int64_t end = count - first < STRETCH ? count : first + STRETCH;
        vf s[SPAN_VECTORS] = {{0}};
        EACH(i, n, first, end) s[LANE(i) / VL] += load_n(x + i, n);
        flush(s, sum);
    }
}

static void norm(const float *x, const float *residual, float *y, int64_t count, const float *mean,
                 const float *scale, const float *offset, bool relu)
{
    vf zero = {0};
    EACH(i, n, 0, count) {
        vf v = (load_n(x + i, n) - load(mean + LANE(i))) * load(scale + LANE(i)) + load(offset + LANE(i));
        if (residual) v += load_n(residual + i, n);
        if (relu) v = vmax(zero, v);
        store_n(y + i, v, n);
    }
}

/* The gradient that passes the ReLU whose output was y (NULL: there was none). */
static inline vf through(const float *y, const float *dy, int64_t i, int64_t n)
{
    vf g = load_n(dy + i, n);
    return y ? masked_by(g, load_n(y + i, n) > 0) : g;
}

static void norm_sums(const float *x, const float *y, const float *dy, int64_t count, const float *mean, double *sum,
                      double *dot)
{
    for (int64_t first = 0; first < count; first += STRETCH) {
        int64_t end = count - first < STRETCH ? count : first + STRETCH;
        vf s[SPAN_VECTORS] = {{0}}, q[SPAN_VECTORS] = {{0}};
        EACH(i, n, first, end) {
            vf dz = through(y, dy, i, n);
            s[LANE(i) / VL] += dz;
            q[LANE(i) / VL] += dz * (load_n(x + i, n) - load(mean + LANE(i)));
        }
        flush(s, sum);
        flush(q, dot);
    }
}

static void norm_grad(const float *x, const float *y, const float *dy, float *dx, bool add, int64_t count,
                      const float *mean, const float *scale, const float *c1, const float *c2)
{
    EACH(i, n, 0, count) {
        vf dz = through(y, dy, i, n);
        vf d = (dz - load(c1 + LANE(i)) - (load_n(x + i, n) - load(mean + LANE(i))) * load(c2 + LANE(i))) *
               load(scale + LANE(i));
        if (add) d += load_n(dx + i, n);
        store_n(dx + i, d, n);
    }
}

static void masked(const float *y, const float *dy, float *dx, bool add, int64_t count)
{
    EACH(i, n, 0, count) {
        vf d = through(y, dy, i, n);
        if (add) d += load_n(dx + i, n);
        store_n(dx + i, d, n);
    }
}

/* --- max pool of a blocked plane */
#define BLOCK_VECTORS (BLOCK / VL)

static void max_pool(const float *x, float *y, uint8_t *index, const int *size)
{
    int h = size[SW_POOL_H], w = size[SW_POOL_W], window = size[SW_POOL_WINDOW], stride = size[SW_POOL_STRIDE];
    for (int oy = 0; oy < size[SW_POOL_OH]; oy++)
        for (int ox = 0; ox < size[SW_POOL_OW]; ox++) {
            int y0 = oy * stride - size[SW_POOL_PAD], x0 = ox * stride - size[SW_POOL_PAD];
            int ky0 = y0 < 0 ? -y0 : 0, kx0 = x0 < 0 ? -x0 : 0;
            int ky1 = h - y0 < window ? h - y0 : window, kx1 = w - x0 < window ? w - x0 : window;
            for (int v = 0; v < BLOCK_VECTORS; v++) {
                vf best = load(x + (int64_t)((y0 + ky0) * w + x0 + kx0) * BLOCK + v * VL);
                vi where = (vi){0} + (ky0 * window + kx0);
                for (int ky = ky0; ky < ky1; ky++)
                    for (int kx = kx0; kx < kx1; kx++) {
                        vf value = load(x + (int64_t)((y0 + ky) * w + x0 + kx) * BLOCK + v * VL);
                        vi better = value > best;
                        best = choose(better, value, best);
                        where = (better & (ky * window + kx)) | (~better & where);
                    }
                int64_t o = (int64_t)(oy * size[SW_POOL_OW] + ox) * BLOCK + v * VL;
                store(y + o, best);
                vb code = __builtin_convertvector(where, vb);
                memcpy(index + o, &code, sizeof(code));
            }
        }
}

/* First and last+1 output position whose window covers input position i. */
static inline void covering(int i, int pad, int window, int stride, int out, int *first, int *end)
{
    int low = i + pad - window + 1;
    *first = low <= 0 ? 0 : (low + stride - 1) / stride;
    *end = (i + pad) / stride + 1;
    if (*end > out) *end = out;
}

static void max_pool_grad(const float *dy, const uint8_t *index, float *dx, bool add, const int *size)
{
    int ow = size[SW_POOL_OW], window = size[SW_POOL_WINDOW], stride = size[SW_POOL_STRIDE], pad = size[SW_POOL_PAD];
    for (int iy = 0; iy < size[SW_POOL_H]; iy++) {
        int oy0, oy1, ox0, ox1;
        covering(iy, pad, window, stride, size[SW_POOL_OH], &oy0, &oy1);
        for (int ix = 0; ix < size[SW_POOL_W]; ix++) {
            covering(ix, pad, window, stride, ow, &ox0, &ox1);
            for (int v = 0; v < BLOCK_VECTORS; v++) {
                float *to = dx + (int64_t)(iy * size[SW_POOL_W] + ix) * BLOCK + v * VL;
                vf sum = add ? load(to) : (vf){0};
                for (int oy = oy0; oy < oy1; oy++)
                    for (int ox = ox0; ox < ox1; ox++) {
                        int64_t o = (int64_t)(oy * ow + ox) * BLOCK + v * VL;
                        vb code;
                        memcpy(&code, index + o, sizeof(code));
                        int mine = (iy + pad - oy * stride) * window + ix + pad - ox * stride;
                        sum += masked_by(load(dy + o), __builtin_convertvector(code, vi) == mine);
                    }
                store(to, sum);
            }
        }
    }
}

#include "backend/cpu/simd_flat_impl.h"
#include "backend/cpu/simd_attend_impl.h"
#include "backend/cpu/simd_wino_impl.h"

#define NAME_(x) #x
#define NAME(x) NAME_(x)
static const sw_simd table = {
    .name = NAME(VARIANT), .block = BLOCK, .moments = moments, .norm = norm, .norm_sums = norm_sums,
    .norm_grad = norm_grad, .masked = masked, .lane_sums = lane_sums, .max_pool = max_pool,
    .max_pool_grad = max_pool_grad, .relu = relu, .gelu = gelu, .gelu_grad = gelu_grad, .add = add, .mul = mul,
    .axpy = axpy, .lerp = lerp, .adam = adam, .sum_squares = sum_squares, .softmax = softmax,
    .softmax_grad = softmax_grad, .layer_norm = layer_norm, .layer_norm_grad = layer_norm_grad, .attend = attend,
    .attend_grad = attend_grad, .wino_width = WINO_WIDTH, .wino_filters = wino_filters, .wino_forward = wino_forward,
    .wino_input = wino_input, .wino_grad = wino_grad, .wino_weight_product = wino_weight_product,
    .wino_filters_back = wino_filters_back};
