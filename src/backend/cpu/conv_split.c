/* SPDX-License-Identifier: Apache-2.0 */
/* Convolutions whose bits do not depend on the number of threads: the images are cut into parts, each a oneDNN call
 * on one thread (lanes.c), and the weight gradients of the parts are added in their order. Where the cuts are is
 * decided by the shape alone. */
#include <string.h>

#include "backend/cpu/cpu_internal.h"

/* Parts of a batch: enough for this many threads, but of two images at least, for work between calls. */
#define MOST_PARTS 32
#define LEAST_IMAGES 2
/* The weight gradients of all parts lie in memory until they are added. */
#define MOST_SUM_BYTES (64 << 20)

typedef struct split {
    const sw_dnn_conv *shape;
    uint64_t call; /* its number: one lane puts the weights in order once for all its parts */
    int64_t parts, x_image, y_image; /* bytes of one image */
    int64_t w_count;
    const char *x, *y; /* what the direction reads */
    const float *w, *bias;
    char *out;   /* images that it writes, or */
    float *sums; /* [parts][w_count] gradients of the weights */
} split;

static split split_of(sw_cpu *cpu, const sw_dnn_conv *s)
{
    int64_t element = s->bf16 ? 2 : 4;
    split p = {.shape = s, .call = ++cpu->split_calls, .parts = 1, .x_image = s->c * s->h * s->w * element,
               .y_image = s->o * s->oh * s->ow * element, .w_count = s->o * s->c * s->kh * s->kw};
    while (p.parts < MOST_PARTS && s->n / (2 * p.parts) >= LEAST_IMAGES) p.parts *= 2;
    return p;
}

/* The part's shape; *first is its first image. */
static sw_dnn_conv part_of(const split *p, int64_t part, int64_t *first)
{
    sw_dnn_conv s = *p->shape;
    *first = s.n * part / p->parts;
    s.n = s.n * (part + 1) / p->parts - *first;
    return s;
}

static sw_status forward_part(sw_dnn *lane, void *ctx, int64_t part, sw_error *err)
{
    const split *p = ctx;
    int64_t first;
    sw_dnn_conv s = part_of(p, part, &first);
    sw_dnn_same_weights(lane, p->call);
    return sw_dnn_conv_forward(lane, &s, p->x + first * p->x_image, p->w, p->bias, p->out + first * p->y_image, err);
}

sw_status sw_cpu_split_forward(sw_cpu *cpu, const sw_dnn_conv *shape, const void *x, const float *w,
                               const float *bias, void *y, sw_error *err)
{
    split p = split_of(cpu, shape);
    p.x = x;
    p.w = w;
    p.bias = bias;
    p.out = y;
    return sw_cpu_pieces(cpu, p.parts, forward_part, &p, err);
}

static sw_status data_part(sw_dnn *lane, void *ctx, int64_t part, sw_error *err)
{
    const split *p = ctx;
    int64_t first;
    sw_dnn_conv s = part_of(p, part, &first);
    sw_dnn_same_weights(lane, p->call);
    return sw_dnn_conv_backward_data(lane, &s, p->y + first * p->y_image, p->w, p->out + first * p->x_image, err);
}

sw_status sw_cpu_split_backward_data(sw_cpu *cpu, const sw_dnn_conv *shape, const void *dy, const float *w, void *dx,
                                     sw_error *err)
{
    split p = split_of(cpu, shape);
    p.y = dy;
    p.w = w;
    p.out = dx;
    return sw_cpu_pieces(cpu, p.parts, data_part, &p, err);
}

static sw_status weights_part(sw_dnn *lane, void *ctx, int64_t part, sw_error *err)
{
    const split *p = ctx;
    int64_t first;
    sw_dnn_conv s = part_of(p, part, &first);
    return sw_dnn_conv_backward_weights(lane, &s, p->x + first * p->x_image, p->y + first * p->y_image,
                                        p->sums + part * p->w_count, err);
}

/* dw = the sum of the parts, from the first to the last */
static void add_parts(const sw_cpu *cpu, const split *p, float *dw)
{
#pragma omp parallel for schedule(static) num_threads(cpu->base.threads) if (p->w_count > SW_CPU_CHUNK)
    for (int64_t at = 0; at < p->w_count; at += SW_CPU_CHUNK) {
        int64_t length = p->w_count - at < SW_CPU_CHUNK ? p->w_count - at : SW_CPU_CHUNK;
        memcpy(dw + at, p->sums + at, (size_t)length * sizeof(float));
        for (int64_t part = 1; part < p->parts; part++)
            cpu->simd->f32->add(dw + at, p->sums + part * p->w_count + at, dw + at, length);
    }
}

sw_status sw_cpu_split_backward_weights(sw_cpu *cpu, const sw_dnn_conv *shape, const void *x, const void *dy,
                                        float *dw, sw_error *err)
{
    split p = split_of(cpu, shape);
    p.x = x;
    p.y = dy;
    size_t bytes = (size_t)p.w_count * sizeof(float);
    while (p.parts > 1 && (size_t)p.parts * bytes > MOST_SUM_BYTES) p.parts /= 2;
    if (p.parts == 1) {
        p.sums = dw;
        return sw_cpu_pieces(cpu, 1, weights_part, &p, err);
    }
    void *sums;
    SW_TRY(sw_cpu_scratch(cpu, SW_SLOT_SUMS, (size_t)p.parts * bytes, &sums, err));
    p.sums = sums;
    SW_TRY(sw_cpu_pieces(cpu, p.parts, weights_part, &p, err));
    add_parts(cpu, &p, dw);
    return SW_OK;
}
