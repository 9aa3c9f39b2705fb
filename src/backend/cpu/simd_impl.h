/* SPDX-License-Identifier: Apache-2.0 */
/* The leaf kernels, written once with the compiler's vector types. The including file defines VL (floats per
 * vector: 4, 8 or 16), BLOCK (channels per block: 8 or 16) and VARIANT (a name). */
#include "backend/cpu/simd_vector_impl.h"

#define BLOCK_VECTORS (BLOCK / VL)

#include "backend/cpu/simd_wino_impl.h"
#include "backend/cpu/simd_stem_float_impl.h"
#include "backend/cpu/simd_stem_impl.h"
#include "backend/cpu/simd_direct_impl.h"

#define ELEM float
#define TYPED(name) name##_f32
#define LOAD_N load_n
#define STORE_N store_n
#define STREAM stream
#include "backend/cpu/simd_typed_impl.h"

#define ELEM uint16_t
#define TYPED(name) name##_bf16
#define LOAD_N load_bf16_n
#define STORE_N store_bf16_n
#define STREAM stream_bf16
#include "backend/cpu/simd_typed_impl.h"

#include "backend/cpu/simd_scan_impl.h"
#include "backend/cpu/simd_flat_impl.h"
#include "backend/cpu/simd_attend_impl.h"
#include "backend/cpu/simd_attend_wide_impl.h"
#include "backend/cpu/simd_depthwise_impl.h"
#include "backend/cpu/simd_small_impl.h"

#define NAME_(x) #x
#define NAME(x) NAME_(x)
static const sw_simd table = {
    .name = NAME(VARIANT), .block = BLOCK, .f32 = &typed_f32, .bf16 = &typed_bf16, .to_bf16 = to_bf16,
    .from_bf16 = from_bf16, .gelu = gelu, .gelu_grad = gelu_grad, .silu = silu, .silu_grad = silu_grad, .scan2d = scan2d,
    .scan2d_grad = scan2d_grad, .mul = mul, .axpy = axpy, .lerp = lerp, .adam = adam, .sum_squares = sum_squares, .softmax = softmax,
    .softmax_grad = softmax_grad, .layer_norm = layer_norm, .layer_norm_grad = layer_norm_grad, .attend = attend,
    .attend_grad = attend_grad,
    .scale = scale, .dot = dot, .tanh = tanh_all, .sigmoid = sigmoid_all, .dropout = dropout, .largest = largest,
    .smallest = smallest, .between = between, .column_sums = column_sums,
    .depthwise = depthwise, .depthwise_weights = depthwise_weights, .attend_wide = attend_wide, .attend_wide_mean = attend_wide_mean,
    .attend_wide_grad = attend_wide_grad, .wino_width = WINO_WIDTH, .wino_filters = wino_filters,
    .wino_weight_product = wino_weight_product, .wino_filters_back = wino_filters_back,
    .stem_filters = stem_filters, .stem_filters_back = stem_filters_back,
    .stem_forward = stem_forward, .stem_weights = stem_weights, .direct_forward = direct_forward};
