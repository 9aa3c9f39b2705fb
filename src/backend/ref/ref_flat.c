/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels in place on flat tensors: optimiser, averages, conversion. */
#include <math.h>

#include "backend/ref/ref.h"
#include "tensor/convert.h"

#define REAL float
#define SUFFIX f32
#include "backend/ref/ref_flat.inc"
#undef REAL
#undef SUFFIX
#define REAL double
#define SUFFIX f64
#include "backend/ref/ref_flat.inc"
#undef REAL
#undef SUFFIX

SW_REF_FORWARD(fill)
SW_REF_FORWARD(axpy)
SW_REF_FORWARD(lerp)
SW_REF_FORWARD(adam)
SW_REF_FORWARD(sgd)

/* The result is f64 whatever the input is, so this kernel chooses by its input alone. */
static sw_status sum_squares_forward(sw_backend *be, sw_forward_args *args, sw_error *err)
{
    const sw_tensor *x = args->in[0];
    (void)be;
    if ((x->dtype != SW_F32 && x->dtype != SW_F64) || args->out[0]->dtype != SW_F64 || x->layout != 0) {
        return sw_error_set(err, SW_E_UNSUPPORTED, "sum_squares: sums plain f32 or f64 into f64, not %s into %s",
                            sw_dtype_name(x->dtype), sw_dtype_name(args->out[0]->dtype));
    }
    double *sum = sw_ref_mem(args->out[0]);
    *sum = x->dtype == SW_F64 ? sum_squares_f64(x) : sum_squares_f32(x);
    return SW_OK;
}

static sw_status copy_forward(sw_backend *be, sw_forward_args *args, sw_error *err)
{
    enum { CHUNK = 256 };
    const sw_tensor *x = args->in[0];
    sw_tensor *y = args->out[0];
    const char *from = sw_ref_mem(x);
    char *to = sw_ref_mem(y);
    double wide[CHUNK];
    int64_t count = sw_tensor_count(y);
    (void)be;
    if (x->layout != 0 || count != sw_tensor_count(x) || !sw_dtype_is_float(x->dtype) || !sw_dtype_is_float(y->dtype)) {
        return sw_error_set(err, SW_E_INVALID, "copy: from %lld of %s to %lld of %s is not possible",
                            (long long)sw_tensor_count(x), sw_dtype_name(x->dtype), (long long)count,
                            sw_dtype_name(y->dtype));
    }
    y->layout = 0;
    for (int64_t first = 0; first < count; first += CHUNK) {
        int64_t part = count - first < CHUNK ? count - first : CHUNK;
        sw_convert_to_f64(x->dtype, from + (size_t)first * sw_dtype_size(x->dtype), wide, part);
        sw_convert_from_f64(y->dtype, wide, to + (size_t)first * sw_dtype_size(y->dtype), part);
    }
    return SW_OK;
}

void sw_ref_flat_kernels(sw_kernels *table)
{
    table[SW_OP_FILL] = (sw_kernels){fill_forward, NULL, SW_NEEDS_NOTHING};
    table[SW_OP_COPY] = (sw_kernels){copy_forward, NULL, SW_NEEDS_NOTHING};
    table[SW_OP_AXPY] = (sw_kernels){axpy_forward, NULL, SW_NEEDS_NOTHING};
    table[SW_OP_LERP] = (sw_kernels){lerp_forward, NULL, SW_NEEDS_NOTHING};
    table[SW_OP_SUM_SQUARES] = (sw_kernels){sum_squares_forward, NULL, SW_NEEDS_NOTHING};
    table[SW_OP_ADAM] = (sw_kernels){adam_forward, NULL, SW_NEEDS_NOTHING};
    table[SW_OP_SGD] = (sw_kernels){sgd_forward, NULL, SW_NEEDS_NOTHING};
}
