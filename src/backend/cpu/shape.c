/* SPDX-License-Identifier: Apache-2.0 */
/* Permute: rows of the result, whose elements lie a fixed distance apart in x. */
#include <string.h>

#include "backend/cpu/cpu_internal.h"

typedef struct turn {
    int64_t rows, length; /* of y, the permuted side */
    int64_t step;         /* in x, between elements of a row */
    int64_t distance[SW_MAX_RANK]; /* in x, per dimension of y */
    const sw_shape *y;
} turn;

static turn turn_of(const sw_permute_attr *attr, const sw_shape *x, const sw_shape *y)
{
    turn t = {.y = y, .rows = 1, .length = 1, .step = 1};
    int64_t after[SW_MAX_RANK], below = 1;
    for (int i = x->rank - 1; i >= 0; i--) {
        after[i] = below;
        below *= x->dim[i];
    }
    for (int i = 0; i < y->rank; i++) t.distance[i] = after[attr->axis[i]];
    for (int i = 0; i < y->rank - 1; i++) t.rows *= y->dim[i];
    if (y->rank > 0) {
        t.length = y->dim[y->rank - 1];
        t.step = t.distance[y->rank - 1];
    }
    return t;
}

/* Where in x row `r` of y begins. */
static int64_t row_start(const turn *t, int64_t r)
{
    int64_t from = 0;
    for (int i = t->y->rank - 2; i >= 0; i--) {
        from += r % t->y->dim[i] * t->distance[i];
        r /= t->y->dim[i];
    }
    return from;
}

sw_status sw_cpu_permute_forward(sw_backend *be, sw_forward_args *args, sw_error *err)
{
    (void)err;
    const sw_cpu *cpu = sw_cpu_of(be);
    const float *x = sw_cpu_f32(args->in[0]);
    float *y = sw_cpu_f32(args->out[0]);
    const turn t = turn_of(args->attr, &args->in[0]->shape, &args->out[0]->shape);
#pragma omp parallel for schedule(static) num_threads(cpu->base.threads) if (t.rows * t.length > SW_CPU_CHUNK)
    for (int64_t r = 0; r < t.rows; r++) {
        const float *from = x + row_start(&t, r);
        float *to = y + r * t.length;
        if (t.step == 1) memcpy(to, from, (size_t)t.length * sizeof *to);
        else for (int64_t i = 0; i < t.length; i++) to[i] = from[i * t.step];
    }
    return SW_OK;
}

sw_status sw_cpu_permute_backward(sw_backend *be, sw_backward_args *args, sw_error *err)
{
    (void)err;
    const sw_cpu *cpu = sw_cpu_of(be);
    if (!args->grad_in[0]) return SW_OK;
    const float *dy = sw_cpu_f32(args->grad_out);
    float *dx = sw_cpu_f32(args->grad_in[0]);
    const bool add = args->add[0];
    const turn t = turn_of(args->attr, &args->grad_in[0]->shape, &args->grad_out->shape);
    /* No two elements of y come from the same place: rows may be written at once. */
#pragma omp parallel for schedule(static) num_threads(cpu->base.threads) if (t.rows * t.length > SW_CPU_CHUNK)
    for (int64_t r = 0; r < t.rows; r++) {
        const float *from = dy + r * t.length;
        float *to = dx + row_start(&t, r);
        for (int64_t i = 0; i < t.length; i++) to[i * t.step] = add ? to[i * t.step] + from[i] : from[i];
    }
    return SW_OK;
}
