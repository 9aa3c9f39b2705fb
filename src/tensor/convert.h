/* SPDX-License-Identifier: Apache-2.0 */
/* Conversion of float types through double: exact up, rounded to nearest even down. */
#ifndef SW_TENSOR_CONVERT_H
#define SW_TENSOR_CONVERT_H

#include "tensor/tensor.h"

bool sw_dtype_is_float(sw_dtype dtype); /* f32, f64, bf16, f16 */
/* `dtype` is one of the float types. */
void sw_convert_to_f64(sw_dtype dtype, const void *from, double *to, int64_t count);
void sw_convert_from_f64(sw_dtype dtype, const double *from, void *to, int64_t count);

#endif
