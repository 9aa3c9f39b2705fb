/* SPDX-License-Identifier: Apache-2.0 */
/* Leaf kernels for AVX-512 (F, BW, DQ, VL); sources.cmake gives this file the compiler's flags for them. */
#include "backend/cpu/simd.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#define VL 16
#define BLOCK 16
#define VARIANT avx512
#include "backend/cpu/simd_impl.h"

const sw_simd *sw_simd_avx512(void)
{
    bool has = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("fma");
    return has ? &table : NULL;
}
#else
#include <stddef.h>

const sw_simd *sw_simd_avx512(void)
{
    return NULL;
}
#endif
