/* SPDX-License-Identifier: Apache-2.0 */
/* 3x3 convolutions of stride 1 by minimal filtering: blocks of tiles go through transform, products and transform back
 * within one thread's caches. Blocks and their order of additions never depend on the number of threads, so neither
 * do results. */
#include "backend/cpu/winograd.h"

#define FORWARD_STAGE_BYTES ((size_t)2 << 20) /* of transformed input: many tiles to each pass over the filters */
#define WEIGHTS_STAGE_BYTES ((size_t)2 << 20) /* of both stages of a thread */
#define WEIGHTS_SUMS_BYTES ((size_t)24 << 20) /* of all partial gradients of the weights, about */
#define MOST_GROUPS 16                        /* partial gradients */
#define TRANSFORM_CHANNELS 8                  /* per unit of work where filters are transformed */

bool sw_cpu_wino_takes(const sw_cpu *cpu, const sw_dnn_conv *s)
{
    int64_t width = cpu->simd->wino_width;
    return s->kh == 3 && s->kw == 3 && s->stride == 1 && s->pad == 1 && s->x_block == cpu->block &&
           s->y_block == cpu->block && s->c % width == 0 && s->o % width == 0;
}

static const sw_simd_typed *typed(const sw_cpu *cpu, const sw_dnn_conv *s)
{
    return sw_cpu_typed(cpu, s->bf16 ? SW_BF16 : SW_F32);
}

static sw_simd_wino wino_of(const sw_dnn_conv *s, int64_t c, int64_t k)
{
    return (sw_simd_wino){.h = (int)s->h, .w = (int)s->w, .tiles_y = (int)(s->h + 3) / 4, .tiles_x = (int)(s->w + 3) / 4,
                          .c = c, .k = k, .k_end = k};
}

static int64_t tiles_of(const sw_dnn_conv *s, const sw_simd_wino *a)
{
    return s->n * a->tiles_y * a->tiles_x;
}

/* Room for the filters and, behind them, `stages` stages of `stage` floats. */
static sw_status work_memory(sw_cpu *cpu, sw_simd_wino *a, size_t stage, size_t stages, float **first, sw_error *err)
{
    void *mem;
    size_t filters = 36 * (size_t)(a->c * a->k + SW_WINO_PAD);
    SW_TRY(sw_cpu_scratch(cpu, SW_SLOT_WORK, (filters + stage * stages) * sizeof(float), &mem, err));
    a->u = mem;
    *first = a->u + filters;
    return SW_OK;
}

/* y = relu?(conv(x) + bias + y?) over all tiles, with the filters already in a->u. */
static void run_tiles(const sw_cpu *cpu, const sw_simd_typed *simd, const sw_simd_wino *common, int64_t tiles,
                      float *stages, size_t in_stage, size_t out_stage)
{
    int64_t blocks = (tiles + common->tiles_most - 1) / common->tiles_most;
#pragma omp parallel for schedule(dynamic, 1) num_threads(cpu->base.threads)
    for (int64_t b = 0; b < blocks; b++) {
        sw_simd_wino a = *common;
        int64_t first = b * a.tiles_most, count = tiles - first < a.tiles_most ? tiles - first : a.tiles_most;
        a.in_stage = stages + (size_t)sw_cpu_thread() * (in_stage + out_stage);
        a.out_stage = a.in_stage + in_stage;
        simd->wino_forward(&a, first, count);
    }
}

static sw_status convolve(sw_cpu *cpu, const sw_dnn_conv *s, sw_simd_wino *a, const float *w, bool back, sw_error *err)
{
    int64_t tiles = tiles_of(s, a), width = cpu->simd->wino_width;
    float *stages;
    size_t y_bytes = (size_t)(s->n * a->k * s->h * s->w) * (s->bf16 ? 2 : 4);
    a->past_cache = !a->sum && y_bytes >= cpu->past_cache;
    a->tiles_most = (int64_t)(FORWARD_STAGE_BYTES / (36 * sizeof(float) * (size_t)a->c)) / 6 * 6;
    if (a->tiles_most < 12) a->tiles_most = 12;
    size_t in_stage = 36 * (size_t)(a->tiles_most * a->c + SW_WINO_PAD);
    size_t out_stage = 36 * (size_t)(a->tiles_most * width + SW_WINO_PAD);
    SW_TRY(work_memory(cpu, a, in_stage + out_stage, (size_t)cpu->base.threads, &stages, err));
#pragma omp parallel for schedule(static) num_threads(cpu->base.threads)
    for (int64_t c = 0; c < a->c; c += TRANSFORM_CHANNELS)
        cpu->simd->wino_filters(a, w, back, c, c + TRANSFORM_CHANNELS < a->c ? c + TRANSFORM_CHANNELS : a->c);
    run_tiles(cpu, typed(cpu, s), a, tiles, stages, in_stage, out_stage);
    return SW_OK;
}

sw_status sw_cpu_wino_forward(sw_cpu *cpu, const sw_dnn_conv *s, const void *x, const float *w, const float *bias,
                              void *y, sw_error *err)
{
    sw_simd_wino a = wino_of(s, s->c, s->o);
    a.x = x;
    a.y = y;
    a.bias = s->bias ? bias : NULL;
    a.sum = s->sum;
    a.relu = s->relu;
    return convolve(cpu, s, &a, w, false, err);
}

sw_status sw_cpu_wino_backward_data(sw_cpu *cpu, const sw_dnn_conv *s, const void *dy, const float *w, void *dx, bool add,
                                    sw_error *err)
{
    sw_simd_wino a = wino_of(s, s->o, s->c);
    a.x = dy;
    a.y = dx;
    a.sum = add;
    return convolve(cpu, s, &a, w, true, err);
}

/* Partial gradients: each is as large as all filters, so there are few of large ones. */
static int64_t weight_groups(const sw_simd_wino *a, int64_t tiles)
{
    int64_t groups = (int64_t)(WEIGHTS_SUMS_BYTES / (36 * sizeof(float) * (size_t)(a->c * a->k)));
    if (groups > MOST_GROUPS) groups = MOST_GROUPS;
    if (groups < 2) groups = 2;
    return groups < tiles ? groups : tiles;
}

/* Where there are more threads than partial gradients, each of those is cut by output channels: x is transformed once for every
 * slice, and no sum changes. */
static int64_t channel_slices(const sw_cpu *cpu, const sw_simd_wino *a, int64_t groups)
{
    int64_t slices = (cpu->base.threads + groups - 1) / groups, most = a->k / cpu->simd->wino_width;
    return slices < most ? slices : most;
}

/* The gradient of the filters from tiles [first, end), into a->u; all memory is the calling thread's. */
static void weights_of_tiles(const sw_cpu *cpu, const sw_simd_typed *simd, const sw_simd_wino *a, const void *x,
                             const void *dy, int64_t first, int64_t end)
{
    int64_t in_step = a->tiles_most * a->c + SW_WINO_PAD, grad_step = a->tiles_most * a->k + SW_WINO_PAD;
    for (int64_t t = first; t < end; t += a->tiles_most) {
        int64_t count = end - t < a->tiles_most ? end - t : a->tiles_most;
        simd->wino_input(a, x, a->c, t, count, a->in_stage, in_step);
        simd->wino_grad(a, dy, a->k, t, count, a->out_stage, grad_step);
        cpu->simd->wino_weight_product(a, count, t > first);
    }
}

sw_status sw_cpu_wino_backward_weights(sw_cpu *cpu, const sw_dnn_conv *s, const void *x, const void *dy, float *dw,
                                       sw_error *err)
{
    sw_simd_wino common = wino_of(s, s->c, s->o);
    const sw_simd_typed *simd = typed(cpu, s);
    int64_t tiles = tiles_of(s, &common), groups = weight_groups(&common, tiles);
    common.tiles_most = (int64_t)(WEIGHTS_STAGE_BYTES / (36 * sizeof(float) * (size_t)(common.c + common.k)));
    if (common.tiles_most < 16) common.tiles_most = 16;
    size_t in_stage = 36 * (size_t)(common.tiles_most * common.c + SW_WINO_PAD);
    size_t stages = in_stage + 36 * (size_t)(common.tiles_most * common.k + SW_WINO_PAD);
    size_t filters = 36 * (size_t)(common.c * common.k + SW_WINO_PAD);
    void *mem;
    SW_TRY(sw_cpu_scratch(cpu, SW_SLOT_WORK,
                          (filters * (size_t)groups + stages * (size_t)cpu->base.threads) * sizeof(float), &mem, err));
    float *sums = mem;
    int64_t slices = channel_slices(cpu, &common, groups);
#pragma omp parallel for schedule(dynamic, 1) num_threads(cpu->base.threads)
    for (int64_t unit = 0; unit < groups * slices; unit++) {
        sw_simd_wino a = common;
        int64_t g = unit / slices, slice = unit % slices, blocks = common.k / cpu->simd->wino_width;
        a.u = sums + filters * (size_t)g;
        a.k_begin = slice * blocks / slices * cpu->simd->wino_width;
        a.k_end = (slice + 1) * blocks / slices * cpu->simd->wino_width;
        a.in_stage = sums + filters * (size_t)groups + stages * (size_t)sw_cpu_thread();
        a.out_stage = a.in_stage + in_stage;
        weights_of_tiles(cpu, simd, &a, x, dy, tiles * g / groups, tiles * (g + 1) / groups);
    }
    for (int64_t g = 1; g < groups; g++) sw_cpu_add_to(cpu, sums, sums + filters * (size_t)g, (int64_t)filters);
    common.u = sums;
#pragma omp parallel for schedule(static) num_threads(cpu->base.threads)
    for (int64_t c = 0; c < common.c; c += TRANSFORM_CHANNELS)
        cpu->simd->wino_filters_back(&common, dw, c, c + TRANSFORM_CHANNELS < common.c ? c + TRANSFORM_CHANNELS : common.c);
    return SW_OK;
}
