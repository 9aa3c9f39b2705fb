/* SPDX-License-Identifier: Apache-2.0 */
/* Leaf kernels that need AVX-512's products of bfloat16 besides what simd_avx512.c needs. */
#include "backend/cpu/simd.h"

#if defined(__AVX512BF16__) && defined(__AVX512BW__)
#define VL 16
#define REDUCED 1
#include "backend/cpu/simd_vector_impl.h"
#include "backend/cpu/simd_attend_impl.h"

static vu rounded_row(const float *x, int64_t n)
{
    uint16_t half[VL];
    store_bf16_n(half, load_n(x, n), VL);
    vh v;
    memcpy(&v, half, sizeof(v));
    return __builtin_convertvector(v, vu);
}

static void pairs(const float *x, int64_t rows, int d, int step, uint32_t *to)
{
    for (int64_t row = 0; row < rows; row += 2, to += step, x += 2 * d) {
        EACH(c, n, 0, d) {
            vu pair = rounded_row(x + c, n);
            if (row + 1 < rows) pair |= rounded_row(x + d + c, n) << 16;
            memcpy(to + c, &pair, (size_t)(n == VL ? VL : n) * sizeof(*to));
        }
        memset(to + d, 0, (size_t)(step - d) * sizeof(*to));
    }
}

/* An odd width leaves the upper half of a row's last word zero. */
static void words(const float *x, int64_t rows, int d, uint32_t *to)
{
    int step = (d + 1) / 2;
    if (d % 2) memset(to, 0, (size_t)(rows * step) * sizeof(*to));
    for (int64_t row = 0; row < rows; row++) {
        uint16_t *half = (uint16_t *)(to + row * step);
        EACH(c, n, 0, d) store_bf16_n(half + c, load_n(x + row * d + c, n), n);
    }
}

static void query_words(const float *x, int64_t rows, int d, float factor, uint32_t *qt)
{
    memset(qt, 0, (size_t)((d + 1) / 2 * QUERIES) * sizeof(*qt));
    for (int64_t row = 0; row < rows; row++)
        EACH(c, n, 0, d) {
            uint16_t half[VL];
            uint32_t word[VL / 2];
            store_bf16_n(half, load_n(x + row * d + c, n) * factor, VL);
            memcpy(word, half, sizeof(word));
            for (int w = 0; 2 * w < n; w++) qt[(c / 2 + w) * QUERIES + row] = word[w];
        }
}

static const sw_simd_attend_bf16 table = {
    .attend = attend, .attend_grad = attend_grad, .pairs = pairs, .words = words, .query_words = query_words};

const sw_simd_attend_bf16 *sw_simd_avx512_bf16(void)
{
    return sw_simd_avx512() && __builtin_cpu_supports("avx512bf16") ? &table : NULL;
}
#else
#include <stddef.h>

const sw_simd_attend_bf16 *sw_simd_avx512_bf16(void)
{
    return NULL;
}
#endif
