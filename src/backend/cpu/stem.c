/* SPDX-License-Identifier: Apache-2.0 */
/* The 7x7 convolution of stride 2 on three channels by minimal filtering. The unit of work is one row of tiles of one
 * image; the gradient of the weights is summed in a number of groups that does not depend on the threads. */
#include "backend/cpu/stem.h"

#define GROUPS 16 /* partial gradients of the weights */

bool sw_cpu_stem_takes(const sw_cpu *cpu, const sw_dnn_conv *s)
{
    return !s->bf16 && s->kh == 7 && s->kw == 7 && s->stride == 2 && s->pad == 3 && s->c == 3 && s->x_block == 1 &&
           s->y_block == cpu->block && s->o % cpu->simd->wino_width == 0 && !s->sum;
}

static sw_simd_stem stem_of(const sw_dnn_conv *s)
{
    sw_simd_stem a = {.h = (int)s->h, .w = (int)s->w, .oh = (int)s->oh, .ow = (int)s->ow, .k = s->o};
    a.tiles_x = (a.ow + 2) / 3;
    a.z_width = 3 * (int)a.tiles_x + 3;
    return a;
}

/* Floats of one set of filters, and of the work of one thread. */
static size_t filter_floats(const sw_simd_stem *a)
{
    return 36 * (size_t)(SW_STEM_CHANNELS * a->k + SW_WINO_PAD);
}

static size_t work_floats(const sw_cpu *cpu, const sw_simd_stem *a)
{
    size_t z = (size_t)(SW_STEM_TILE * a->z_width * SW_STEM_LANES), tiles = (size_t)a->tiles_x;
    return z + 36 * (tiles * SW_STEM_LANES + SW_WINO_PAD) + 36 * (tiles * (size_t)cpu->simd->wino_width + SW_WINO_PAD);
}

static void point_at(sw_simd_stem *a, float *work)
{
    a->z = work;
    a->in_stage = a->z + SW_STEM_TILE * a->z_width * SW_STEM_LANES;
    a->out_stage = a->in_stage + 36 * (a->tiles_x * SW_STEM_LANES + SW_WINO_PAD);
}

sw_status sw_cpu_stem_forward(sw_cpu *cpu, const sw_dnn_conv *s, const float *x, const float *w, const float *bias, float *y,
                              sw_error *err)
{
    sw_simd_stem common = stem_of(s);
    size_t filters = filter_floats(&common), work = work_floats(cpu, &common);
    void *mem;
    SW_TRY(sw_cpu_scratch(cpu, SW_SLOT_WORK, (filters + work * (size_t)cpu->base.threads) * sizeof(float), &mem, err));
    common.u = mem;
    common.bias = s->bias ? bias : NULL;
    common.relu = s->relu;
    cpu->simd->stem_filters(&common, w);
    int64_t rows = (s->oh + 2) / 3;
#pragma omp parallel for schedule(dynamic, 4) num_threads(cpu->base.threads)
    for (int64_t i = 0; i < s->n * rows; i++) {
        sw_simd_stem a = common;
        point_at(&a, common.u + filters + work * (size_t)sw_cpu_thread());
        cpu->simd->stem_forward(&a, x + i / rows * 3 * s->h * s->w, y + i / rows * s->o * s->oh * s->ow,
                           (int)(i % rows));
    }
    return SW_OK;
}

sw_status sw_cpu_stem_backward_weights(sw_cpu *cpu, const sw_dnn_conv *s, const float *x, const float *dy, float *dw,
                                       sw_error *err)
{
    sw_simd_stem common = stem_of(s);
    size_t filters = filter_floats(&common), work = work_floats(cpu, &common);
    int64_t rows = (s->oh + 2) / 3, units = s->n * rows, groups = units < GROUPS ? units : GROUPS;
    void *mem;
    SW_TRY(sw_cpu_scratch(cpu, SW_SLOT_WORK,
                          (filters * (size_t)groups + work * (size_t)cpu->base.threads) * sizeof(float), &mem, err));
    float *sums = mem;
#pragma omp parallel for schedule(dynamic, 1) num_threads(cpu->base.threads)
    for (int64_t g = 0; g < groups; g++) {
        sw_simd_stem a = common;
        a.u = sums + filters * (size_t)g;
        point_at(&a, sums + filters * (size_t)groups + work * (size_t)sw_cpu_thread());
        for (int64_t i = units * g / groups; i < units * (g + 1) / groups; i++)
            cpu->simd->stem_weights(&a, x + i / rows * 3 * s->h * s->w,
                               dy + i / rows * s->o * s->oh * s->ow, (int)(i % rows), i > units * g / groups);
    }
    for (int64_t g = 1; g < groups; g++) sw_cpu_add_to(cpu, sums, sums + filters * (size_t)g, (int64_t)filters);
    common.u = sums;
    cpu->simd->stem_filters_back(&common, dw);
    return SW_OK;
}
