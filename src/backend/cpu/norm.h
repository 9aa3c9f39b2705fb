/* SPDX-License-Identifier: Apache-2.0 */
/* What batch norm and batch norm with a pool share. */
#ifndef SW_BACKEND_CPU_NORM_H
#define SW_BACKEND_CPU_NORM_H

#include "backend/cpu/cpu_internal.h"

/* x [n, c, ...] seen as n * groups spans; a span holds `width` channels (1 or a block). */
typedef struct sw_norm_spans {
    int64_t n, channels, groups, width, length; /* length: elements of one span */
    int64_t bytes;                              /* of one span */
    int layout;
    sw_dtype dtype; /* float or bfloat16; parameters and statistics are float in any case */
} sw_norm_spans;

sw_norm_spans sw_cpu_norm_spans(const sw_cpu *cpu, const sw_tensor *x);
/* The values of the channels of one group, repeated over a span of lanes. */
void sw_cpu_norm_spread(const sw_norm_spans *s, const float *per_channel, int64_t group, float per[SW_SPAN]);
/* Adds the lanes that belong to the same channel. */
void sw_cpu_norm_gather(const sw_norm_spans *s, const double lane[SW_SPAN], double *per_channel);
/* Joins sums[image][2][channels] into total[2][channels], in the order of the images. */
void sw_cpu_norm_join(const sw_norm_spans *s, const double *sums, double *total);
/* Room for the sums per image, their totals and four floats per channel, until it is asked for again. */
sw_status sw_cpu_norm_work(sw_cpu *cpu, const sw_norm_spans *s, double **sums, double **total, float **extra,
                           sw_error *err) SW_MUST_CHECK;
/* Mean and inverse deviation: of the batch, which optionally moves the running ones, or (not in training) the running. */
sw_status sw_cpu_norm_statistics(sw_cpu *cpu, const sw_norm_spans *s, const sw_batch_norm_attr *attr, const char *x,
                                 float *mean, float *inverse, float *running_mean, float *running_var, sw_error *err)
    SW_MUST_CHECK;
/* What norm_grad multiplies and subtracts, from total[2][channels] (sum of dz, sum of dz * (x - mean)). */
void sw_cpu_norm_coefficients(const sw_norm_spans *s, bool training, const float *gain, const float *inverse,
                              const double *total, float *scale, float *c1, float *c2);
/* grad [channels] (+)= value * factor (NULL: 1); nothing where grad is NULL. */
sw_status sw_cpu_norm_parameter_grad(sw_cpu *cpu, sw_tensor *grad, bool add, const double *value, const float *factor,
                                     sw_error *err) SW_MUST_CHECK;

#endif
