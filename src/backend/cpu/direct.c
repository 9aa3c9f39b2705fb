/* SPDX-License-Identifier: Apache-2.0 */
/* Forward convolutions of stride 2 as matrix products over gathered windows: measured faster than oneDNN's direct
 * kernel in single precision, and independent of the number of threads. */
#include "backend/cpu/direct.h"

#define STAGE_BYTES ((size_t)256 << 10) /* gathered windows of a thread: a quarter of a second-level cache */

bool sw_cpu_direct_takes(const sw_cpu *cpu, const sw_dnn_conv *s)
{
    return !s->bf16 && s->stride == 2 && s->kh == 3 && s->kw == 3 && s->x_block == cpu->block &&
           s->y_block == cpu->block && s->o % cpu->simd->wino_width == 0;
}

/* w [o, c, kh, kw] -> u [o / width][tap][c][width] */
static void order_weights(const sw_cpu *cpu, const sw_dnn_conv *s, const float *w, float *u)
{
    int64_t width = cpu->simd->wino_width, taps = s->kh * s->kw;
#pragma omp parallel for schedule(static) num_threads(cpu->base.threads)
    for (int64_t o = 0; o < s->o; o++)
        for (int64_t c = 0; c < s->c; c++)
            for (int64_t t = 0; t < taps; t++)
                u[(o / width * taps * s->c + t * s->c + c) * width + o % width] = w[(o * s->c + c) * taps + t];
}

sw_status sw_cpu_direct_forward(sw_cpu *cpu, const sw_dnn_conv *s, const float *x, const float *w, const float *bias, float *y,
                                sw_error *err)
{
    size_t depth = (size_t)(s->kh * s->kw * s->c), filters = depth * (size_t)s->o, width = (size_t)cpu->simd->wino_width;
    int64_t most = (int64_t)(STAGE_BYTES / (depth * sizeof(float))) / 6 * 6, outputs = s->n * s->oh * s->ow;
    if (most < 6) most = 6;
    size_t work = (size_t)most * (depth + width);
    void *mem;
    SW_TRY(sw_cpu_scratch(cpu, SW_SLOT_WORK, (filters + work * (size_t)cpu->base.threads) * sizeof(float), &mem, err));
    float *u = mem;
    sw_simd_direct common = {.h = (int)s->h, .w = (int)s->w, .oh = (int)s->oh, .ow = (int)s->ow, .kh = (int)s->kh,
                             .kw = (int)s->kw, .stride = (int)s->stride, .pad = (int)s->pad, .c = s->c, .k = s->o,
                             .x = x, .y = y, .u = u, .bias = s->bias ? bias : NULL, .sum = s->sum, .relu = s->relu};
    order_weights(cpu, s, w, u);
#pragma omp parallel for schedule(dynamic, 1) num_threads(cpu->base.threads)
    for (int64_t first = 0; first < outputs; first += most) {
        sw_simd_direct a = common;
        a.stage = u + filters + work * (size_t)sw_cpu_thread();
        a.result = a.stage + (size_t)most * depth;
        cpu->simd->direct_forward(&a, first, outputs - first < most ? outputs - first : most);
    }
    return SW_OK;
}
