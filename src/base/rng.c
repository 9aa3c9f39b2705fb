/* SPDX-License-Identifier: Apache-2.0 */
/* Philox4x32-10: J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. */
#include "base/rng.h"

#include <math.h>
#include <string.h>

static const uint32_t MULTIPLIER_0 = 0xD2511F53u, MULTIPLIER_1 = 0xCD9E8D57u;
static const uint32_t WEYL_0 = 0x9E3779B9u, WEYL_1 = 0xBB67AE85u;

void sw_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)MULTIPLIER_0 * c0;
        uint64_t p1 = (uint64_t)MULTIPLIER_1 * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += WEYL_0;
        k1 += WEYL_1;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

sw_rng sw_rng_stream(uint64_t seed, sw_rng_purpose purpose, uint32_t epoch, uint32_t a, uint32_t b)
{
    /* The purpose enters through one block of the cipher, so that streams of neighbouring seeds and
     * purposes share no key by addition. */
    uint32_t named[4] = {(uint32_t)purpose, 0, 0, 0};
    uint32_t seed_key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t mixed[4];
    sw_philox(named, seed_key, mixed);
    return (sw_rng){.key = {mixed[0], mixed[1]}, .counter = {0, epoch, a, b}, .used = 4};
}

uint32_t sw_rng_u32(sw_rng *rng)
{
    if (rng->used >= 4) {
        sw_philox(rng->counter, rng->key, rng->out);
        rng->counter[0]++;
        rng->used = 0;
    }
    return rng->out[rng->used++];
}

uint64_t sw_rng_u64(sw_rng *rng)
{
    uint64_t low = sw_rng_u32(rng);
    return low | (uint64_t)sw_rng_u32(rng) << 32;
}

double sw_rng_uniform(sw_rng *rng)
{
    return (double)(sw_rng_u64(rng) >> 11) * 0x1p-53;
}

double sw_rng_range(sw_rng *rng, double low, double high)
{
    return low + (high - low) * sw_rng_uniform(rng);
}

uint64_t sw_rng_below(sw_rng *rng, uint64_t bound)
{
    /* Words below 2^64 mod bound would make small results more likely: draw again. */
    uint64_t biased = (0 - bound) % bound;
    uint64_t word;
    do {
        word = sw_rng_u64(rng);
    } while (word < biased);
    return word % bound;
}

double sw_rng_normal(sw_rng *rng)
{
    /* Box-Muller; the second value is dropped so that a draw always costs the same counters. */
    double radius = sqrt(-2.0 * log(1.0 - sw_rng_uniform(rng)));
    return radius * cos(2.0 * 3.14159265358979323846 * sw_rng_uniform(rng));
}

void sw_rng_shuffle(sw_rng *rng, int64_t *items, size_t count)
{
    for (size_t i = count; i > 1; i--) {
        size_t j = (size_t)sw_rng_below(rng, i);
        int64_t item = items[i - 1];
        items[i - 1] = items[j];
        items[j] = item;
    }
}
