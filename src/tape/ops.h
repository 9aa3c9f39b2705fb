/* SPDX-License-Identifier: Apache-2.0 */
/* The ops as functions on tape variables, so that models read like their papers. */
#ifndef SW_TAPE_OPS_H
#define SW_TAPE_OPS_H

#include "tape/tape.h"

sw_var *sw_conv2d(sw_tape *t, sw_var *x, sw_var *w, int stride, int pad);
/* y = [relu](norm(x) * gain + offset [+ residual]); residual may be NULL. */
sw_var *sw_batch_norm(sw_tape *t, sw_var *x, sw_var *gain, sw_var *offset, sw_var *running_mean,
                      sw_var *running_var, sw_var *residual, const sw_batch_norm_attr *attr);
/* y = max_pool(relu(norm(x) * gain + offset)), of which backward keeps only x and where each maximum was. */
sw_var *sw_norm_pool(sw_tape *t, sw_var *x, sw_var *gain, sw_var *offset, sw_var *running_mean, sw_var *running_var,
                     const sw_norm_pool_attr *attr);
/* Convolution and batch norm with running statistics in one. It has no gradient: a recording tape fails where one is
 * wanted. With attr->spend_residual the residual's value is gone afterwards: call sw_var_done on it next. */
sw_var *sw_conv_norm(sw_tape *t, sw_var *x, sw_var *w, sw_var *gain, sw_var *offset, sw_var *running_mean,
                     sw_var *running_var, sw_var *residual, const sw_conv_norm_attr *attr);
sw_var *sw_max_pool2d(sw_tape *t, sw_var *x, int window, int stride, int pad);
sw_var *sw_global_avg_pool(sw_tape *t, sw_var *x);
sw_var *sw_linear(sw_tape *t, sw_var *x, sw_var *w, sw_var *bias); /* bias may be NULL */
sw_var *sw_layer_norm(sw_tape *t, sw_var *x, sw_var *gain, sw_var *offset, double eps); /* offset may be NULL */
sw_var *sw_relu(sw_tape *t, sw_var *x);
sw_var *sw_cast(sw_tape *t, sw_var *x, sw_dtype dtype); /* x itself where it has that type */
sw_var *sw_gelu(sw_tape *t, sw_var *x);
sw_var *sw_tanh(sw_tape *t, sw_var *x);
sw_var *sw_sigmoid(sw_tape *t, sw_var *x);
sw_var *sw_dropout(sw_tape *t, sw_var *x, const sw_dropout_attr *attr); /* rate 0: x itself */
sw_var *sw_add(sw_tape *t, sw_var *a, sw_var *b);
sw_var *sw_mul(sw_tape *t, sw_var *a, sw_var *b);
sw_var *sw_scale(sw_tape *t, sw_var *x, double factor);
sw_var *sw_scale_by(sw_tape *t, sw_var *x, sw_var *scalar);
sw_var *sw_softmax(sw_tape *t, sw_var *x);
sw_var *sw_permute(sw_tape *t, sw_var *x, const int *axis);
sw_var *sw_reshape(sw_tape *t, sw_var *x, sw_shape shape); /* one dimension may be -1 */
sw_var *sw_rows(sw_tape *t, sw_var *x, int64_t first, int64_t count);
sw_var *sw_concat(sw_tape *t, sw_var *a, sw_var *b);
sw_var *sw_matmul(sw_tape *t, sw_var *a, sw_var *b, bool transpose_a, bool transpose_b);
sw_var *sw_attend_one(sw_tape *t, sw_var *q, sw_var *k, sw_var *v, double scale, bool reduced);
/* softmax(scale * q k^T) v without the matrix of weights: q [g, m, d], k [g, n, d], v [g, n, e] -> [g, m, e]; memory grows with
 * m + n in both directions. sw_var_saved(y, 0): the logarithm of each query's sum of powers, [g, m]. */
sw_var *sw_attend(sw_tape *t, sw_var *q, sw_var *k, sw_var *v, double scale);
sw_var *sw_cross_entropy(sw_tape *t, sw_var *logits, sw_var *labels);
/* targets i32 [b, 2]: (bin, 1 if censored). Spec of the loss: sw_survival_nll_attr. */
sw_var *sw_survival_nll(sw_tape *t, sw_var *logits, sw_var *targets, double alpha, double eps);
/* logits [b, 1], targets i32 [b, 2]: (rank of the time, 1 if an event) -> minus the partial log-likelihood (Breslow) of the
 * bags of this call, per event; 0 without an event. */
sw_var *sw_cox(sw_tape *t, sw_var *logits, sw_var *targets);
/* One filter per channel: x [n, c, h, w], w [c, 1, kh, kw] of odd sizes, bias [c] or NULL; zeros around, the size stays. */
sw_var *sw_depthwise(sw_tape *t, sw_var *x, sw_var *w, sw_var *bias);
/* x [.., k] -> the largest of each row [..]; sw_var_saved(y, 0): its place, i32, the first on ties. */
sw_var *sw_max_last(sw_tape *t, sw_var *x);
/* x [b, n, d], index i32 [b, k] -> [b, k, d] */
sw_var *sw_gather(sw_tape *t, sw_var *x, sw_var *index);
/* (x - lowest) / (highest - lowest + eps) of each row of the last dimension */
sw_var *sw_min_max(sw_tape *t, sw_var *x, double eps);
sw_var *sw_reciprocal(sw_tape *t, sw_var *x);
sw_var *sw_mean_rows(sw_tape *t, sw_var *x);
sw_var *sw_silu(sw_tape *t, sw_var *x);
sw_var *sw_rms_norm(sw_tape *t, sw_var *x, sw_var *gain, double eps); /* x / sqrt(mean(x^2) + eps) * gain, of each row */
/* Selective scan of a grid of cells, along the rows and then down the columns: u, delta [r, q, e], a_log [e, n], b, c [r, q, n],
 * d [e] -> [r, q, e]; ops.def has the equations. No state of a cell is kept: backward scans again. */
sw_var *sw_scan2d(sw_tape *t, sw_var *u, sw_var *delta, sw_var *a_log, sw_var *b, sw_var *c, sw_var *d);

#endif
