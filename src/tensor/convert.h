/* SPDX-License-Identifier: Apache-2.0 */
/* Conversion of float types through double: exact up, rounded to nearest even down. */
#ifndef SW_TENSOR_CONVERT_H
#define SW_TENSOR_CONVERT_H

#include <string.h>

#include "tensor/tensor.h"

/* A bfloat16 is the upper half of a float; down it is rounded to nearest, ties to even. */
static inline float sw_bf16_to_f32(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}
static inline uint16_t sw_bf16_from_f32(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (value != value) return (uint16_t)((bits | 0x400000) >> 16); /* still none, and quiet */
    return (uint16_t)((bits + (0x7fff + (bits >> 16 & 1))) >> 16);
}

bool sw_dtype_is_float(sw_dtype dtype); /* f32, f64, bf16, f16 */
/* `dtype` is one of the float types. */
void sw_convert_to_f64(sw_dtype dtype, const void *from, double *to, int64_t count);
void sw_convert_from_f64(sw_dtype dtype, const double *from, void *to, int64_t count);

#endif
