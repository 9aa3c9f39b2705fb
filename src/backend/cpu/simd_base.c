/* SPDX-License-Identifier: Apache-2.0 */
/* Leaf kernels for any CPU: vectors of four floats. */
#define VL 4
#define BLOCK 8
#define VARIANT base
#include "backend/cpu/simd_impl.h"

const sw_simd *sw_simd_base(void)
{
    return &table;
}
