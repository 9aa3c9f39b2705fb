/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/convert.h"

#include <math.h>
#include <string.h>

bool sw_dtype_is_float(sw_dtype dtype)
{
    return dtype == SW_F32 || dtype == SW_F64 || dtype == SW_BF16 || dtype == SW_F16;
}

/* A 16-bit float with `mantissa` stored bits and smallest normal exponent `emin`. */
typedef struct half_format {
    int mantissa, emin;
} half_format;
static const half_format F16 = {10, -14}, BF16 = {7, -126};

static uint16_t infinity_bits(half_format f)
{
    return (uint16_t)(0x7fff >> f.mantissa << f.mantissa);
}

static uint16_t to_half(double value, half_format f)
{
    uint16_t sign = signbit(value) ? 0x8000 : 0, inf = infinity_bits(f);
    double size = fabs(value);
    if (isnan(size)) return (uint16_t)(sign | inf | 1 << (f.mantissa - 1));
    if (isinf(size)) return sign | inf;
    int e = size == 0.0 ? f.emin : ilogb(size);
    if (e < f.emin) e = f.emin;
    /* In units of the last place. The implicit bit of a normal number adds one to the exponent field,
     * and so does a mantissa that rounds up to the next power of two. */
    int64_t units = (int64_t)nearbyint(ldexp(size, f.mantissa - e));
    int64_t bits = ((int64_t)(e - f.emin) << f.mantissa) + units;
    return (uint16_t)(sign | (bits > inf ? inf : bits));
}

static double from_half(uint16_t bits, half_format f)
{
    int exponent = (bits & 0x7fff) >> f.mantissa;
    int units = bits & ((1 << f.mantissa) - 1);
    double value;
    if (exponent == infinity_bits(f) >> f.mantissa) {
        value = units ? (double)NAN : (double)INFINITY;
    } else if (exponent == 0) {
        value = ldexp(units, f.emin - f.mantissa);
    } else {
        value = ldexp(units + (1 << f.mantissa), f.emin + exponent - 1 - f.mantissa);
    }
    return bits & 0x8000 ? -value : value;
}

void sw_convert_to_f64(sw_dtype dtype, const void *from, double *to, int64_t count)
{
    if (dtype == SW_F64) {
        memcpy(to, from, (size_t)count * sizeof *to);
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        if (dtype == SW_F32) {
            to[i] = ((const float *)from)[i];
        } else {
            to[i] = from_half(((const uint16_t *)from)[i], dtype == SW_F16 ? F16 : BF16);
        }
    }
}

void sw_convert_from_f64(sw_dtype dtype, const double *from, void *to, int64_t count)
{
    if (dtype == SW_F64) {
        memcpy(to, from, (size_t)count * sizeof *from);
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        if (dtype == SW_F32) {
            ((float *)to)[i] = (float)from[i];
        } else {
            ((uint16_t *)to)[i] = to_half(from[i], dtype == SW_F16 ? F16 : BF16);
        }
    }
}
