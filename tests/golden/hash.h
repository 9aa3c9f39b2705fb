/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers that C and the Python scripts of this folder make alike, so that weights and pixels need not be stored. */
#ifndef SW_GOLDEN_HASH_H
#define SW_GOLDEN_HASH_H

#include <stdint.h>

/* Uniform in [-1, 1): element `i` of `stream`, the same integers as in the Python scripts. */
static inline double golden_hashed(int64_t i, int64_t stream)
{
    uint64_t mask = 0xFFFFFFFF, x = (uint64_t)(i * 2654435761 + stream * 40503 + 12345) & mask;
    for (int k = 0; k < 2; k++) {
        x ^= x >> 16;
        x = x * 0x45D9F3B & mask;
    }
    x ^= x >> 16;
    return (double)x / 2147483648.0 - 1.0;
}

#endif
