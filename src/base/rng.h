/* SPDX-License-Identifier: Apache-2.0 */
/* Counter-based random numbers (Philox4x32-10, Salmon et al. 2011): a stream is named by what it is
 * for, never by who draws it, so results do not depend on threads or ranks. */
#ifndef SW_BASE_RNG_H
#define SW_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

typedef enum sw_rng_purpose {
    SW_RNG_SAMPLE = 1, /* which patches of a bag */
    SW_RNG_CROP,
    SW_RNG_FLIP,
    SW_RNG_DROPOUT,
    SW_RNG_INIT,
    SW_RNG_SHUFFLE,    /* order of bags */
    SW_RNG_SPLIT,
    SW_RNG_BOOTSTRAP,
    SW_RNG_SYNTH,
    SW_RNG_TEST,
    SW_RNG_PAD,
    SW_RNG_OVERSAMPLE = 20, /* which bags of a rare class come once more */
    SW_RNG_SHIFT,           /* by how much a patch is moved before it is cropped */
    SW_RNG_CLUSTER = 30,    /* where the clusters of a bag begin */
    SW_RNG_GATE,            /* masks of patches (ft_vib) */
    SW_RNG_GROUP            /* which patches make a pseudo-bag (dtfd) */
} sw_rng_purpose;

typedef struct sw_rng {
    uint32_t key[2];
    uint32_t counter[4];
    uint32_t out[4];
    int used; /* words of `out` already handed out */
} sw_rng;

/* A stream of 2^32 blocks: key from seed and purpose, counter from (epoch, a, b). */
sw_rng sw_rng_stream(uint64_t seed, sw_rng_purpose purpose, uint32_t epoch, uint32_t a, uint32_t b);
uint32_t sw_rng_u32(sw_rng *rng);
uint64_t sw_rng_u64(sw_rng *rng);
double sw_rng_uniform(sw_rng *rng);                  /* [0, 1), 53 bits */
double sw_rng_range(sw_rng *rng, double low, double high);
uint64_t sw_rng_below(sw_rng *rng, uint64_t bound);  /* [0, bound), unbiased; bound > 0 */
double sw_rng_normal(sw_rng *rng);                   /* standard normal */
void sw_rng_shuffle(sw_rng *rng, int64_t *items, size_t count); /* Fisher-Yates */
/* The raw block function, for kernels that need random access (dropout). */
void sw_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

#endif
