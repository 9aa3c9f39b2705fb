/* SPDX-License-Identifier: Apache-2.0 */
/* Batch norm with residual and ReLU, in either layout. Sums are kept per image and plane and joined in the order
 * of the images, so that they do not depend on the number of threads. */
#include <math.h>

#include "backend/cpu/norm.h"
#include "tensor/convert.h"

sw_norm_spans sw_cpu_norm_spans(const sw_cpu *cpu, const sw_tensor *x)
{
    sw_norm_spans s = {.n = x->shape.dim[0], .channels = x->shape.dim[1], .layout = x->layout, .length = 1,
               .dtype = x->dtype};
    for (int i = 2; i < x->shape.rank; i++) s.length *= x->shape.dim[i];
    s.width = x->layout == SW_CPU_BLOCKED ? cpu->block : 1;
    s.groups = s.channels / s.width;
    s.length *= s.width;
    s.bytes = s.length * (int64_t)sw_dtype_size(s.dtype);
    return s;
}

/* The values of the channels of one group, repeated over a span. */
void sw_cpu_norm_spread(const sw_norm_spans *s, const float *per_channel, int64_t group, float per[SW_SPAN])
{
    for (int i = 0; i < SW_SPAN; i++) per[i] = per_channel[group * s->width + i % s->width];
}

/* Adds the lanes that belong to the same channel. */
void sw_cpu_norm_gather(const sw_norm_spans *s, const double lane[SW_SPAN], double *per_channel)
{
    for (int64_t c = 0; c < s->width; c++) per_channel[c] = 0;
    for (int i = 0; i < SW_SPAN; i++) per_channel[i % s->width] += lane[i];
}

/* First value of each channel: subtracted before squaring, so that a large mean does not cancel the variance. */
static void pivots(const sw_norm_spans *s, const char *x, float *pivot)
{
    for (int64_t g = 0; g < s->groups; g++, x += s->bytes)
        for (int64_t c = 0; c < s->width; c++)
            pivot[g * s->width + c] = s->dtype == SW_BF16 ? sw_bf16_to_f32(((const uint16_t *)(const void *)x)[c])
                                                          : ((const float *)(const void *)x)[c];
}

/* Joins sums[image][2][channels] into total[2][channels]. */
void sw_cpu_norm_join(const sw_norm_spans *s, const double *sums, double *total)
{
    for (int64_t i = 0; i < 2 * s->channels; i++) total[i] = 0;
    for (int64_t image = 0; image < s->n; image++)
        for (int64_t i = 0; i < 2 * s->channels; i++) total[i] += sums[image * 2 * s->channels + i];
}

/* Room for the sums per image, their totals and four floats per channel. */
sw_status sw_cpu_norm_work(sw_cpu *cpu, const sw_norm_spans *s, double **sums, double **total, float **extra,
                             sw_error *err)
{
    void *mem;
    size_t channels = (size_t)s->channels, images = (size_t)s->n;
    SW_TRY(sw_cpu_scratch(cpu, SW_SLOT_SUMS, channels * ((images + 1) * 2 * sizeof(double) + 4 * sizeof(float)), &mem,
                          err));
    *sums = mem;
    *total = *sums + images * 2 * channels;
    *extra = (float *)(*total + 2 * channels);
    return SW_OK;
}

sw_status sw_cpu_norm_statistics(sw_cpu *cpu, const sw_norm_spans *s, const sw_batch_norm_attr *attr, const char *x, float *mean,
                            float *inverse, float *running_mean, float *running_var, sw_error *err)
{
    double *sums, *total;
    float *pivot;
    if (!attr->training) {
        for (int64_t c = 0; c < s->channels; c++) {
            mean[c] = running_mean[c];
            inverse[c] = (float)(1.0 / sqrt((double)running_var[c] + attr->eps));
        }
        return SW_OK;
    }
    SW_TRY(sw_cpu_norm_work(cpu, s, &sums, &total, &pivot, err));
    const sw_simd_typed *simd = sw_cpu_typed(cpu, s->dtype);
    pivots(s, x, pivot);
#pragma omp parallel for schedule(static) num_threads(cpu->base.threads)
    for (int64_t i = 0; i < s->n * s->groups; i++) {
        int64_t image = i / s->groups, group = i % s->groups;
        float per[SW_SPAN];
        double sum[SW_SPAN] = {0}, square[SW_SPAN] = {0};
        sw_cpu_norm_spread(s, pivot, group, per);
        simd->moments(x + i * s->bytes, s->length, per, sum, square);
        double *to = sums + image * 2 * s->channels + group * s->width;
        sw_cpu_norm_gather(s, sum, to);
        sw_cpu_norm_gather(s, square, to + s->channels);
    }
    sw_cpu_norm_join(s, sums, total);
    double m = (double)(s->n * s->length / s->width);
    for (int64_t c = 0; c < s->channels; c++) {
        double shift = total[c] / m, var = total[s->channels + c] / m - shift * shift;
        if (var < 0) var = 0;
        mean[c] = (float)((double)pivot[c] + shift);
        inverse[c] = (float)(1.0 / sqrt(var + attr->eps));
        if (!attr->update_running) continue;
        double batch_mean = (double)pivot[c] + shift, unbiased = m > 1 ? var * m / (m - 1) : var;
        running_mean[c] = (float)((1 - attr->momentum) * running_mean[c] + attr->momentum * batch_mean);
        running_var[c] = (float)((1 - attr->momentum) * running_var[c] + attr->momentum * unbiased);
    }
    return SW_OK;
}

void sw_cpu_norm_coefficients(const sw_norm_spans *s, bool training, const float *gain, const float *inverse,
                              const double *total, float *scale, float *c1, float *c2)
{
    double m = (double)(s->n * s->length / s->width);
    for (int64_t c = 0; c < s->channels; c++) {
        double inv = (double)inverse[c];
        scale[c] = (float)((double)gain[c] * inv);
        c1[c] = training ? (float)(total[c] / m) : 0;
        c2[c] = training ? (float)(total[s->channels + c] * inv * inv / m) : 0;
    }
}

/* Large results, in whole vectors of an aligned layout, are written past the caches. */
static bool goes_past(const sw_cpu *cpu, const sw_norm_spans *s)
{
    return s->layout == SW_CPU_BLOCKED && (size_t)(s->bytes * s->n * s->groups) >= cpu->past_cache;
}

/* in: x, gain, offset, running_mean, running_var, residual|NULL; out: y, mean, inverse deviation */
sw_status sw_cpu_batch_norm_forward(sw_backend *be, sw_forward_args *args, sw_error *err)
{
    sw_cpu *cpu = sw_cpu_of(be);
    const sw_batch_norm_attr *attr = args->attr;
    const sw_tensor *x = args->in[0];
    sw_tensor *y = args->out[0];
    sw_norm_spans s = sw_cpu_norm_spans(cpu, x);
    float *mean = sw_cpu_f32(args->out[1]), *inverse = sw_cpu_f32(args->out[2]);
    float *running_mean = sw_cpu_f32(args->in[3]), *running_var = sw_cpu_f32(args->in[4]);
    const char *x_data = sw_cpu_mem(x);
    const void *residual = NULL;
    char *y_data = sw_cpu_mem(y);
    if (args->in[5]) SW_TRY(sw_cpu_view_any(cpu, args->in[5], s.layout, SW_SLOT_X, &residual, err));
    SW_TRY(sw_cpu_norm_statistics(cpu, &s, attr, x_data, mean, inverse, running_mean, running_var, err));
    const float *gain = sw_cpu_f32(args->in[1]), *offset = sw_cpu_f32(args->in[2]);
    bool past = goes_past(cpu, &s);
    const sw_simd_typed *simd = sw_cpu_typed(cpu, s.dtype);
#pragma omp parallel for schedule(static) num_threads(cpu->base.threads)
    for (int64_t i = 0; i < s.n * s.groups; i++) {
        int64_t group = i % s.groups, at = i * s.bytes;
        float per_mean[SW_SPAN], per_scale[SW_SPAN], per_inverse[SW_SPAN], per_offset[SW_SPAN];
        sw_cpu_norm_spread(&s, mean, group, per_mean);
        sw_cpu_norm_spread(&s, inverse, group, per_inverse);
        sw_cpu_norm_spread(&s, gain, group, per_scale);
        sw_cpu_norm_spread(&s, offset, group, per_offset);
        for (int l = 0; l < SW_SPAN; l++) per_scale[l] *= per_inverse[l];
        simd->norm(x_data + at, residual ? (const char *)residual + at : NULL, y_data + at, s.length, per_mean,
                   per_scale, per_offset, attr->relu, past);
    }
    y->layout = s.layout;
    return SW_OK;
}

/* What backward reads, all in the layout of x. */
typedef struct norm_backward {
    sw_norm_spans s;
    const char *x, *y, *dy; /* y NULL: no ReLU */
    const float *mean, *inverse, *gain;
    char *dx, *dresidual; /* NULL: not wanted */
    bool add_dx, add_dresidual;
} norm_backward;

/* total[0][c] = sum of dz, total[1][c] = sum of dz * (x - mean) */
static void backward_sums(const sw_cpu *cpu, const norm_backward *b, double *sums, double *total)
{
    const sw_norm_spans *s = &b->s;
    const sw_simd_typed *simd = sw_cpu_typed(cpu, s->dtype);
#pragma omp parallel for schedule(static) num_threads(cpu->base.threads)
    for (int64_t i = 0; i < s->n * s->groups; i++) {
        int64_t image = i / s->groups, group = i % s->groups, at = i * s->bytes;
        float per[SW_SPAN];
        double sum[SW_SPAN] = {0}, dot[SW_SPAN] = {0};
        sw_cpu_norm_spread(s, b->mean, group, per);
        simd->norm_sums(b->x + at, b->y ? b->y + at : NULL, b->dy + at, s->length, per, sum, dot);
        double *to = sums + image * 2 * s->channels + group * s->width;
        sw_cpu_norm_gather(s, sum, to);
        sw_cpu_norm_gather(s, dot, to + s->channels);
    }
    sw_cpu_norm_join(s, sums, total);
}

static void backward_apply(const sw_cpu *cpu, const norm_backward *b, const float *scale, const float *c1,
                           const float *c2)
{
    const sw_norm_spans *s = &b->s;
    const sw_simd_typed *simd = sw_cpu_typed(cpu, s->dtype);
    bool past = goes_past(cpu, s) && !b->add_dx;
#pragma omp parallel for schedule(static) num_threads(cpu->base.threads)
    for (int64_t i = 0; i < s->n * s->groups; i++) {
        int64_t group = i % s->groups, at = i * s->bytes;
        const char *y = b->y ? b->y + at : NULL;
        float per_mean[SW_SPAN], per_scale[SW_SPAN], per_c1[SW_SPAN], per_c2[SW_SPAN];
        sw_cpu_norm_spread(s, b->mean, group, per_mean);
        sw_cpu_norm_spread(s, scale, group, per_scale);
        sw_cpu_norm_spread(s, c1, group, per_c1);
        sw_cpu_norm_spread(s, c2, group, per_c2);
        if (b->dx)
            simd->norm_grad(b->x + at, y, b->dy + at, b->dx + at, b->add_dx, s->length, per_mean, per_scale, per_c1,
                            per_c2, past);
        if (b->dresidual) simd->masked(y, b->dy + at, b->dresidual + at, b->add_dresidual, s->length);
    }
}

sw_status sw_cpu_norm_parameter_grad(sw_cpu *cpu, sw_tensor *grad, bool add, const double *value, const float *factor,
                                sw_error *err)
{
    if (!grad) return SW_OK;
    float *to;
    SW_TRY(sw_cpu_gradient(cpu, grad, add, SW_CPU_PLAIN, &to, err));
    for (int64_t c = 0; c < sw_tensor_count(grad); c++) {
        float g = (float)(factor ? value[c] * (double)factor[c] : value[c]);
        to[c] = add ? to[c] + g : g;
    }
    return SW_OK;
}

static sw_status backward_views(sw_cpu *cpu, sw_backward_args *args, norm_backward *b, sw_error *err)
{
    const sw_batch_norm_attr *attr = args->attr;
    b->s = sw_cpu_norm_spans(cpu, args->in[0]);
    b->x = sw_cpu_mem(args->in[0]);
    b->mean = sw_cpu_f32(args->out[1]);
    b->inverse = sw_cpu_f32(args->out[2]);
    b->gain = sw_cpu_f32(args->in[1]);
    const void *dy = NULL, *y = NULL;
    void *dx = NULL, *dresidual = NULL;
    SW_TRY(sw_cpu_view_any(cpu, args->grad_out, b->s.layout, SW_SLOT_DY, &dy, err));
    if (attr->relu) SW_TRY(sw_cpu_view_any(cpu, args->out[0], b->s.layout, SW_SLOT_Y, &y, err));
    b->add_dx = args->add[0];
    b->add_dresidual = args->add[5];
    if (args->grad_in[0]) SW_TRY(sw_cpu_gradient_any(cpu, args->grad_in[0], b->add_dx, b->s.layout, &dx, err));
    if (args->grad_in[5])
        SW_TRY(sw_cpu_gradient_any(cpu, args->grad_in[5], b->add_dresidual, b->s.layout, &dresidual, err));
    b->dy = dy;
    b->y = y;
    b->dx = dx;
    b->dresidual = dresidual;
    return SW_OK;
}

sw_status sw_cpu_batch_norm_backward(sw_backend *be, sw_backward_args *args, sw_error *err)
{
    sw_cpu *cpu = sw_cpu_of(be);
    const sw_batch_norm_attr *attr = args->attr;
    norm_backward b = {.y = NULL};
    SW_TRY(backward_views(cpu, args, &b, err));
    const sw_norm_spans *s = &b.s;
    double *sums, *total;
    float *extra;
    SW_TRY(sw_cpu_norm_work(cpu, s, &sums, &total, &extra, err));
    backward_sums(cpu, &b, sums, total);
    float *scale = extra, *c1 = extra + s->channels, *c2 = extra + 2 * s->channels;
    sw_cpu_norm_coefficients(s, attr->training, b.gain, b.inverse, total, scale, c1, c2);
    backward_apply(cpu, &b, scale, c1, c2);
    SW_TRY(sw_cpu_norm_parameter_grad(cpu, args->grad_in[1], args->add[1], total + s->channels, b.inverse, err));
    return sw_cpu_norm_parameter_grad(cpu, args->grad_in[2], args->add[2], total, NULL, err);
}
