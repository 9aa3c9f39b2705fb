/* SPDX-License-Identifier: Apache-2.0 */
/* Ops on each element, and dropout. */
#include <math.h>

#include "backend/dropout.h"
#include "backend/ref/ref.h"
#include "tensor/convert.h"

/* The factor of element `index`. */
static double dropout_factor(const sw_dropout_attr *attr, uint64_t index)
{
    double factor[SW_DROPOUT_GROUP];
    sw_dropout_factors(attr, index / SW_DROPOUT_GROUP, factor);
    return factor[index % SW_DROPOUT_GROUP];
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
SW_REF_BOTH(silu)
SW_REF_BOTH(reciprocal)
SW_REF_BOTH(dropout)
SW_REF_BOTH(add)
SW_REF_BOTH(mul)
SW_REF_BOTH(scale)

static sw_status cast_check(const sw_tensor *from, const sw_tensor *to, sw_error *err)
{
    if (from->layout == 0 && to->layout == 0) return SW_OK;
    return sw_error_set(err, SW_E_INTERNAL, "cast: the plain kernel got a tensor of layout %d",
                        from->layout ? from->layout : to->layout);
}

/* Through double, which holds every value of the narrower types. */
static void cast_add(const sw_tensor *from, sw_tensor *to, bool add)
{
    enum { PART = 256 };
    const char *x = sw_ref_mem(from);
    char *y = sw_ref_mem(to);
    double wide[PART], old[PART];
    for (int64_t first = 0, count = sw_tensor_count(to); first < count; first += PART) {
        int64_t n = count - first < PART ? count - first : PART;
        char *at = y + (size_t)first * sw_dtype_size(to->dtype);
        sw_convert_to_f64(from->dtype, x + (size_t)first * sw_dtype_size(from->dtype), wide, n);
        if (add) sw_convert_to_f64(to->dtype, at, old, n);
        for (int64_t i = 0; add && i < n; i++) wide[i] += old[i];
        sw_convert_from_f64(to->dtype, wide, at, n);
    }
}

static sw_status cast_forward(sw_backend *be, sw_forward_args *args, sw_error *err)
{
    (void)be;
    args->out[0]->layout = 0;
    SW_TRY(cast_check(args->in[0], args->out[0], err));
    cast_add(args->in[0], args->out[0], false);
    return SW_OK;
}

static sw_status cast_backward(sw_backend *be, sw_backward_args *args, sw_error *err)
{
    (void)be;
    if (!args->grad_in[0]) return SW_OK;
    if (!args->add[0]) args->grad_in[0]->layout = 0;
    SW_TRY(cast_check(args->grad_out, args->grad_in[0], err));
    cast_add(args->grad_out, args->grad_in[0], args->add[0]);
    return SW_OK;
}

void sw_ref_elementwise_kernels(sw_kernels *table)
{
    table[SW_OP_RELU] = (sw_kernels){relu_forward, relu_backward, SW_NEEDS_OUTPUT};
    table[SW_OP_CAST] = (sw_kernels){cast_forward, cast_backward, SW_NEEDS_NOTHING};
    table[SW_OP_GELU] = (sw_kernels){gelu_forward, gelu_backward, SW_NEEDS_INPUTS};
    table[SW_OP_TANH] = (sw_kernels){tanh_forward, tanh_backward, SW_NEEDS_OUTPUT};
    table[SW_OP_SIGMOID] = (sw_kernels){sigmoid_forward, sigmoid_backward, SW_NEEDS_OUTPUT};
    table[SW_OP_SILU] = (sw_kernels){silu_forward, silu_backward, SW_NEEDS_INPUTS};
    table[SW_OP_RECIPROCAL] = (sw_kernels){reciprocal_forward, reciprocal_backward, SW_NEEDS_OUTPUT};
    table[SW_OP_DROPOUT] = (sw_kernels){dropout_forward, dropout_backward, SW_NEEDS_NOTHING};
    table[SW_OP_ADD] = (sw_kernels){add_forward, add_backward, SW_NEEDS_NOTHING};
    table[SW_OP_MUL] = (sw_kernels){mul_forward, mul_backward, SW_NEEDS_INPUTS};
    table[SW_OP_SCALE] = (sw_kernels){scale_forward, scale_backward, SW_NEEDS_INPUTS};
}
