/* SPDX-License-Identifier: Apache-2.0 */
/* Ops on each element, and dropout. */
#include <math.h>

#include "backend/ref/ref.h"
#include "base/rng.h"

/* The factor of element `index`: 0 with probability `rate`, otherwise 1 / (1 - rate). */
static double dropout_factor(const sw_dropout_attr *attr, uint64_t index)
{
    const uint32_t counter[4] = {(uint32_t)(index / 4), attr->step, attr->site, 0};
    const uint32_t key[2] = {(uint32_t)attr->seed, (uint32_t)(attr->seed >> 32)};
    uint32_t word[4];
    sw_philox(counter, key, word);
    return (double)word[index % 4] < attr->rate * 4294967296.0 ? 0.0 : 1.0 / (1.0 - attr->rate);
}

static double normal_density(double x)
{
    return 0.39894228040143267794 * exp(-0.5 * x * x);
}

static double normal_below(double x)
{
    return 0.5 * erfc(-x * 0.70710678118654752440);
}

static double sigmoid_of(double x)
{
    return x >= 0.0 ? 1.0 / (1.0 + exp(-x)) : exp(x) / (1.0 + exp(x));
}

#define REAL float
#define SUFFIX f32
#include "backend/ref/ref_elementwise.inc"
#undef REAL
#undef SUFFIX
#define REAL double
#define SUFFIX f64
#include "backend/ref/ref_elementwise.inc"
#undef REAL
#undef SUFFIX

SW_REF_BOTH(relu)
SW_REF_BOTH(gelu)
SW_REF_BOTH(tanh)
SW_REF_BOTH(sigmoid)
SW_REF_BOTH(dropout)
SW_REF_BOTH(add)
SW_REF_BOTH(mul)
SW_REF_BOTH(scale)

void sw_ref_elementwise_kernels(sw_kernels *table)
{
    table[SW_OP_RELU] = (sw_kernels){relu_forward, relu_backward, SW_NEEDS_OUTPUT};
    table[SW_OP_GELU] = (sw_kernels){gelu_forward, gelu_backward, SW_NEEDS_INPUTS};
    table[SW_OP_TANH] = (sw_kernels){tanh_forward, tanh_backward, SW_NEEDS_OUTPUT};
    table[SW_OP_SIGMOID] = (sw_kernels){sigmoid_forward, sigmoid_backward, SW_NEEDS_OUTPUT};
    table[SW_OP_DROPOUT] = (sw_kernels){dropout_forward, dropout_backward, SW_NEEDS_NOTHING};
    table[SW_OP_ADD] = (sw_kernels){add_forward, add_backward, SW_NEEDS_NOTHING};
    table[SW_OP_MUL] = (sw_kernels){mul_forward, mul_backward, SW_NEEDS_INPUTS};
    table[SW_OP_SCALE] = (sw_kernels){scale_forward, scale_backward, SW_NEEDS_INPUTS};
}
