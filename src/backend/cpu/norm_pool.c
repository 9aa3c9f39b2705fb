/* SPDX-License-Identifier: Apache-2.0 */
/* Batch norm, ReLU and max pool in one: the normed image, four times larger than what is pooled, never exists. */
#include "backend/cpu/norm.h"

/* Bytes of one pooled plane, all its channels. */
static int64_t pooled_bytes(const sw_norm_spans *s, const int *size)
{
    return s->width * size[SW_POOL_OH] * size[SW_POOL_OW] * (int64_t)sw_dtype_size(s->dtype);
}

sw_status sw_cpu_norm_pool_forward(sw_backend *be, sw_forward_args *args, sw_error *err)
{
    sw_cpu *cpu = sw_cpu_of(be);
    const sw_norm_pool_attr *attr = args->attr;
    const sw_tensor *x = args->in[0];
    if (x->layout != SW_CPU_BLOCKED) return sw_cpu_ref_forward(cpu, SW_OP_NORM_POOL, args, err);
    sw_tensor *y = args->out[0], *index = args->out[3];
    sw_norm_spans s = sw_cpu_norm_spans(cpu, x);
    const sw_simd_typed *simd = sw_cpu_typed(cpu, s.dtype);
    float *mean = sw_cpu_f32(args->out[1]), *inverse = sw_cpu_f32(args->out[2]);
    float *running_mean = sw_cpu_f32(args->in[3]), *running_var = sw_cpu_f32(args->in[4]);
    const float *gain = sw_cpu_f32(args->in[1]), *offset = sw_cpu_f32(args->in[2]);
    const char *x_data = sw_cpu_mem(x);
    char *y_data = sw_cpu_mem(y);
    uint8_t *index_data = sw_cpu_mem(index);
    int size[SW_POOL_SIZES];
    sw_cpu_pool_sizes(&attr->pool, &x->shape, &y->shape, size);
    SW_TRY(sw_cpu_norm_statistics(cpu, &s, &attr->norm, x_data, mean, inverse, running_mean, running_var, err));
    int64_t y_bytes = pooled_bytes(&s, size), y_count = s.width * size[SW_POOL_OH] * size[SW_POOL_OW];
#pragma omp parallel for schedule(static) num_threads(cpu->base.threads)
    for (int64_t i = 0; i < s.n * s.groups; i++) {
        float per_mean[SW_SPAN], per_scale[SW_SPAN], per_inverse[SW_SPAN], per_offset[SW_SPAN];
        sw_cpu_norm_spread(&s, mean, i % s.groups, per_mean);
        sw_cpu_norm_spread(&s, inverse, i % s.groups, per_inverse);
        sw_cpu_norm_spread(&s, gain, i % s.groups, per_scale);
        sw_cpu_norm_spread(&s, offset, i % s.groups, per_offset);
        for (int l = 0; l < SW_SPAN; l++) per_scale[l] *= per_inverse[l];
        simd->norm_max_pool(x_data + i * s.bytes, y_data + i * y_bytes, index_data + i * y_count, size, per_mean,
                            per_scale, per_offset);
    }
    y->layout = index->layout = s.layout;
    return SW_OK;
}

/* What backward reads, in the layout of x. */
typedef struct pooled {
    sw_norm_spans s;
    const sw_simd_typed *simd;
    int size[SW_POOL_SIZES];
    int64_t y_bytes, y_count; /* of one plane */
    const char *x, *y, *dy;
    const uint8_t *index;
    const float *mean;
} pooled;

static void pooled_sums(const sw_cpu *cpu, const pooled *p, double *sums, double *total)
{
    const sw_norm_spans *s = &p->s;
    (void)cpu; /* without OpenMP */
#pragma omp parallel for schedule(static) num_threads(cpu->base.threads)
    for (int64_t i = 0; i < s->n * s->groups; i++) {
        int64_t image = i / s->groups, group = i % s->groups;
        float per[SW_SPAN];
        double *to = sums + image * 2 * s->channels + group * s->width;
        for (int64_t c = 0; c < s->width; c++) to[c] = to[s->channels + c] = 0;
        sw_cpu_norm_spread(s, p->mean, group, per);
        p->simd->norm_pool_sums(p->x + i * s->bytes, p->y + i * p->y_bytes, p->dy + i * p->y_bytes,
                                p->index + i * p->y_count, p->size, per, to, to + s->channels);
    }
    sw_cpu_norm_join(s, sums, total);
}

static void pooled_apply(const sw_cpu *cpu, const pooled *p, const float *scale, const float *c1, const float *c2, char *dx,
                         bool add)
{
    const sw_norm_spans *s = &p->s;
    (void)cpu;
#pragma omp parallel for schedule(static) num_threads(cpu->base.threads)
    for (int64_t i = 0; i < s->n * s->groups; i++) {
        int64_t group = i % s->groups;
        float per_mean[SW_SPAN], per_scale[SW_SPAN], per_c1[SW_SPAN], per_c2[SW_SPAN];
        sw_cpu_norm_spread(s, p->mean, group, per_mean);
        sw_cpu_norm_spread(s, scale, group, per_scale);
        sw_cpu_norm_spread(s, c1, group, per_c1);
        sw_cpu_norm_spread(s, c2, group, per_c2);
        sw_simd_norm_grad per = {per_mean, per_scale, per_c1, per_c2};
        p->simd->norm_pool_grad(p->x + i * s->bytes, p->y + i * p->y_bytes, p->dy + i * p->y_bytes,
                                p->index + i * p->y_count, dx + i * s->bytes, add, p->size, &per);
    }
}

sw_status sw_cpu_norm_pool_backward(sw_backend *be, sw_backward_args *args, sw_error *err)
{
    sw_cpu *cpu = sw_cpu_of(be);
    const sw_norm_pool_attr *attr = args->attr;
    const sw_tensor *x = args->in[0];
    if (x->layout != SW_CPU_BLOCKED) return sw_cpu_ref_backward(cpu, SW_OP_NORM_POOL, args, err);
    pooled p = {.s = sw_cpu_norm_spans(cpu, x), .simd = sw_cpu_typed(cpu, x->dtype), .x = sw_cpu_mem(x),
                .index = sw_cpu_mem(args->out[3]), .y = sw_cpu_mem(args->out[0]), .mean = sw_cpu_f32(args->out[1])};
    const sw_norm_spans *s = &p.s;
    const void *dy;
    void *dx = NULL;
    SW_TRY(sw_cpu_view_any(cpu, args->grad_out, s->layout, SW_SLOT_DY, &dy, err));
    if (args->grad_in[0]) SW_TRY(sw_cpu_gradient_any(cpu, args->grad_in[0], args->add[0], s->layout, &dx, err));
    p.dy = dy;
    sw_cpu_pool_sizes(&attr->pool, &x->shape, &args->grad_out->shape, p.size);
    p.y_bytes = pooled_bytes(s, p.size);
    p.y_count = s->width * p.size[SW_POOL_OH] * p.size[SW_POOL_OW];
    double *sums, *total;
    float *extra;
    SW_TRY(sw_cpu_norm_work(cpu, s, &sums, &total, &extra, err));
    pooled_sums(cpu, &p, sums, total);
    const float *gain = sw_cpu_f32(args->in[1]), *inverse = sw_cpu_f32(args->out[2]);
    float *scale = extra, *c1 = extra + s->channels, *c2 = extra + 2 * s->channels;
    sw_cpu_norm_coefficients(s, attr->norm.training, gain, inverse, total, scale, c1, c2);
    if (dx) pooled_apply(cpu, &p, scale, c1, c2, dx, args->add[0]);
    SW_TRY(sw_cpu_norm_parameter_grad(cpu, args->grad_in[1], args->add[1], total + s->channels, inverse, err));
    return sw_cpu_norm_parameter_grad(cpu, args->grad_in[2], args->add[2], total, NULL, err);
}
