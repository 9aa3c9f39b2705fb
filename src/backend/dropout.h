/* SPDX-License-Identifier: Apache-2.0 */
/* Which elements dropout keeps, the same on every backend. */
#ifndef SW_BACKEND_DROPOUT_H
#define SW_BACKEND_DROPOUT_H

#include "backend/backend.h"
#include "base/rng.h"

enum { SW_DROPOUT_GROUP = 4 }; /* elements that one draw decides */

/* The factors of the elements 4 * group and the three after it: 0 with probability `rate`, otherwise 1 / (1 - rate). */
static inline void sw_dropout_factors(const sw_dropout_attr *attr, uint64_t group, double factor[SW_DROPOUT_GROUP])
{
    const uint32_t counter[4] = {(uint32_t)group, attr->step, attr->site, 0};
    const uint32_t key[2] = {(uint32_t)attr->seed, (uint32_t)(attr->seed >> 32)};
    uint32_t word[4];
    sw_philox(counter, key, word);
    for (int i = 0; i < SW_DROPOUT_GROUP; i++)
        factor[i] = (double)word[i] < attr->rate * 4294967296.0 ? 0.0 : 1.0 / (1.0 - attr->rate);
}

#endif
