/* SPDX-License-Identifier: Apache-2.0 */
/* Leaf kernels for AVX2 with FMA; sources.cmake gives this file the compiler's flags for them. */
#include "backend/cpu/simd.h"

#if defined(__AVX2__) && defined(__FMA__)
#define VL 8
#define BLOCK 8
#define VARIANT avx2
#include "backend/cpu/simd_impl.h"

const sw_simd *sw_simd_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? &table : NULL;
}
#else
#include <stddef.h>

const sw_simd *sw_simd_avx2(void)
{
    return NULL;
}
#endif
