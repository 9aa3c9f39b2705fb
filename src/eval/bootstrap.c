/* SPDX-License-Identifier: Apache-2.0 */
/* Resamples drawn as the reference implementation draws them: MT19937 (Matsumoto and Nishimura 1998) and
 * torch's multinomial with equal weights, whose cumulative table is in float32. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "eval/eval.h"

#define REFERENCE_SEED 7784414403328510413ull
#define MAX_COUNT ((int64_t)1 << 24) /* beyond, float32 cannot count the slides one by one */
#define N 624
#define M 397

void sw_bootstrap_begin(sw_bootstrap *b, int64_t count, int fold)
{
    b->state[0] = (uint32_t)(REFERENCE_SEED + (uint64_t)(int64_t)fold);
    for (uint32_t i = 1; i < N; i++) {
        b->state[i] = 1812433253u * (b->state[i - 1] ^ (b->state[i - 1] >> 30)) + i;
    }
    b->used = N;
    b->count = count;
}

static void twist(sw_bootstrap *b)
{
    for (int i = 0; i < N; i++) {
        uint32_t y = (b->state[i] & 0x80000000u) | (b->state[(i + 1) % N] & 0x7fffffffu);
        b->state[i] = b->state[(i + M) % N] ^ (y >> 1) ^ (y & 1 ? 0x9908b0dfu : 0);
    }
    b->used = 0;
}

static uint32_t next_u32(sw_bootstrap *b)
{
    uint32_t y;
    if (b->used == N) twist(b);
    y = b->state[b->used++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}

/* Entry i of the cumulative table: every slide has weight 1. */
static double cumulative(const sw_bootstrap *b, int64_t i)
{
    return (double)((float)(i + 1) / (float)b->count);
}

int64_t sw_bootstrap_draw(sw_bootstrap *b)
{
    uint64_t high = next_u32(b), low = next_u32(b);
    double u = (double)(((high << 32) | low) & ((UINT64_C(1) << 53) - 1)) * 0x1p-53;
    int64_t i = (int64_t)(u * (double)b->count);
    /* The table is almost i/count: start there and step to the smallest i with table[i] >= u. */
    if (i >= b->count) i = b->count - 1;
    while (i > 0 && cumulative(b, i - 1) >= u) i--;
    while (i < b->count - 1 && cumulative(b, i) < u) i++;
    return i;
}

void sw_bootstrap_weights(sw_bootstrap *b, int32_t *weight)
{
    memset(weight, 0, (size_t)b->count * sizeof *weight);
    for (int64_t i = 0; i < b->count; i++) weight[sw_bootstrap_draw(b)]++;
}

sw_status sw_bootstrap_indices(int64_t count, int fold, int64_t resamples, int32_t *out, sw_error *err)
{
    sw_bootstrap b;
    if (count < 1 || count > MAX_COUNT) {
        return sw_error_set(err, SW_E_INVALID, "a bootstrap of %lld slides: between 1 and %lld are possible",
                            (long long)count, (long long)MAX_COUNT);
    }
    sw_bootstrap_begin(&b, count, fold);
    for (int64_t i = 0; i < count * resamples; i++) out[i] = (int32_t)sw_bootstrap_draw(&b);
    return SW_OK;
}

int sw_compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double sw_percentile(const double *sorted, int64_t count, double percent)
{
    double at = percent / 100 * (double)(count - 1), low = floor(at);
    int64_t i = (int64_t)low;
    if (count < 1) return NAN;
    if (i >= count - 1) return sorted[count - 1];
    return sorted[i] + (at - low) * (sorted[i + 1] - sorted[i]);
}
