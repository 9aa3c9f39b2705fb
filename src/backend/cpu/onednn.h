/* SPDX-License-Identifier: Apache-2.0 */
/* The only door to oneDNN, C API 2.x or 3.x: convolutions and single-precision matrix products. */
#ifndef SW_BACKEND_CPU_ONEDNN_H
#define SW_BACKEND_CPU_ONEDNN_H

#include <stddef.h>
#include <stdint.h>

#include "slidewise/error.h"

typedef struct sw_dnn sw_dnn;

/* x [n, c, h, w], w [o, c, kh, kw] -> y [n, o, oh, ow]. Blocks of 1 are plain. */
typedef struct sw_dnn_conv {
    int64_t n, c, h, w, o, kh, kw, oh, ow;
    int64_t stride, pad;
    int64_t x_block, y_block; /* channels per block of x and of y: 1, 8 or 16 */
    int64_t bias, sum, relu;  /* 0 or 1, of forward only: y = relu?(conv [+ bias] [+ what y held]) */
    int64_t bf16;             /* 0: x, y and their gradients are float; 1: they are bfloat16 */
} sw_dnn_conv;

sw_status sw_dnn_new(int threads, sw_dnn **out, sw_error *err) SW_MUST_CHECK;
void sw_dnn_free(sw_dnn *dnn);
size_t sw_dnn_scratch_bytes(const sw_dnn *dnn);
void sw_dnn_trim(sw_dnn *dnn); /* lets go of scratch memory and cached primitives */

/* Weights given under one number are the same at each call and are put in order only once; 0: look at them each time. */
void sw_dnn_same_weights(sw_dnn *dnn, uint64_t call);

/* Weights, bias and their gradients are plain floats whatever x is; results are overwritten, but for shape->sum.
 * `bias` [o] is read only where shape->bias says so. Only int64_t members above: the shape is compared byte by byte. */
sw_status sw_dnn_conv_forward(sw_dnn *dnn, const sw_dnn_conv *shape, const void *x, const float *w,
                              const float *bias, void *y, sw_error *err) SW_MUST_CHECK;
sw_status sw_dnn_conv_backward_data(sw_dnn *dnn, const sw_dnn_conv *shape, const void *dy, const float *w,
                                    void *dx, sw_error *err) SW_MUST_CHECK;
sw_status sw_dnn_conv_backward_weights(sw_dnn *dnn, const sw_dnn_conv *shape, const void *x, const void *dy,
                                       float *dw, sw_error *err) SW_MUST_CHECK;

/* Row-major C [m, n] = op(A) op(B) + beta C; op(A) is [m, k], op(B) [k, n]. */
typedef struct sw_dnn_gemm {
    bool transpose_a, transpose_b;
    int64_t m, n, k;
    int64_t lda, ldb, ldc;
    float beta;
} sw_dnn_gemm;
/* Inside a parallel region of the caller it runs on the calling thread. */
sw_status sw_dnn_sgemm(const sw_dnn *dnn, const sw_dnn_gemm *shape, const float *a, const float *b, float *c,
                       sw_error *err) SW_MUST_CHECK;

#endif
