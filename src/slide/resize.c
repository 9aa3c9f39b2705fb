/* SPDX-License-Identifier: Apache-2.0 */
/* Separable bilinear resizing with antialias: rows first (long contiguous sums), then columns, four outputs at a time.
 * Products and sums are rounded one by one and in a fixed order (no fused multiply-add), so that every processor gives the
 * same bits. */
#include "slide/resize.h"

#include <math.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "base/mem.h"

typedef float vec4 __attribute__((vector_size(16)));
typedef int32_t int4 __attribute__((vector_size(16)));
typedef int16_t short8 __attribute__((vector_size(16)));
typedef uint8_t byte16 __attribute__((vector_size(16)));

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* Where the outputs of one axis look, and the work memory they live in. */
typedef struct taps {
    int32_t *first; /* [n] first source index */
    int32_t *count; /* [n] */
    float *weight;  /* [n, stride], zero behind the count */
    int64_t stride;
    int most;       /* largest count */
} taps;

static int64_t clamp(int64_t v, int64_t low, int64_t high)
{
    return v < low ? low : v > high ? high : v;
}

static int64_t stride_of(double scale)
{
    return (int64_t)ceil(scale > 1 ? scale : 1) * 2 + 1;
}

/* Output i looks at centre start + scale (i + 1/2); the triangle is max(1, scale) wide on either side. */
static void taps_make(double start, double length, int64_t low, int64_t high, int64_t n, taps *out)
{
    double scale = length / (double)n, support = scale > 1 ? scale : 1;
    memset(out->weight, 0, (size_t)(n * out->stride) * sizeof *out->weight);
    out->most = 1;
    for (int64_t i = 0; i < n; i++) {
        double centre = start + scale * ((double)i + 0.5);
        int64_t from = clamp((int64_t)floor(centre - support + 0.5), low, high - 1);
        int64_t to = clamp((int64_t)floor(centre + support + 0.5), from + 1, high);
        float *weight = out->weight + i * out->stride;
        double sum = 0;
        for (int64_t j = from; j < to; j++) {
            double w = 1 - fabs(((double)j - centre + 0.5) / support);
            sum += w > 0 ? w : 0;
        }
        for (int64_t j = from; j < to; j++) {
            double w = 1 - fabs(((double)j - centre + 0.5) / support);
            /* A box that lies beside the clip has no weight at all: the nearest pixel stands for it. */
            weight[j - from] = sum > 0 ? (float)((w > 0 ? w : 0) / sum) : (j == from ? 1.0f : 0.0f);
        }
        int count = (int)(to - from);
        while (count > 1 && weight[count - 1] == 0) count--;
        out->first[i] = (int32_t)from;
        out->count[i] = count;
        if (count > out->most) out->most = count;
    }
}

/* Taps outside of [low, high) fall on black: they are taken away, and the weights of the others stay. */
static void taps_cut(int64_t low, int64_t high, int64_t n, taps *t)
{
    t->most = 1;
    for (int64_t i = 0; i < n; i++) {
        float *weight = t->weight + i * t->stride;
        int64_t from = clamp(t->first[i], low, high), to = clamp(t->first[i] + t->count[i], from, high);
        int64_t skip = from - t->first[i], count = to - from;
        if (count <= 0) { /* nothing but black: some pixel without weight */
            from = low;
            count = 1;
            weight[0] = 0;
        } else {
            memmove(weight, weight + skip, (size_t)count * sizeof *weight);
        }
        memset(weight + count, 0, (size_t)(t->stride - count) * sizeof *weight);
        t->first[i] = (int32_t)from;
        t->count[i] = (int32_t)count;
        if (count > t->most) t->most = (int)count;
    }
}

/* ---- kernels, for every processor and once more for those with AVX2 */

typedef struct row_sum {
    const uint8_t *pixels; /* of the first row */
    int64_t row_bytes;
    const float *weight;
    int count;
    int64_t n;
    float *sum;
} row_sum;

/* Sixteen bytes as floats, in two steps of zeros put between (little-endian, as all processors that we know of). */
ALWAYS_INLINE void widen(const uint8_t *p, vec4 *out)
{
    const byte16 none = {0};
    byte16 bytes;
    memcpy(&bytes, p, sizeof bytes);
    short8 half[2] = {
        (short8)__builtin_shufflevector(bytes, none, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23),
        (short8)__builtin_shufflevector(bytes, none, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)};
    for (int i = 0; i < 2; i++) {
        int4 low = (int4)__builtin_shufflevector(half[i], (short8)none, 0, 8, 1, 9, 2, 10, 3, 11);
        int4 high = (int4)__builtin_shufflevector(half[i], (short8)none, 4, 12, 5, 13, 6, 14, 7, 15);
        out[2 * i] = __builtin_convertvector(low, vec4);
        out[2 * i + 1] = __builtin_convertvector(high, vec4);
    }
}

ALWAYS_INLINE void sum_row_ends(const row_sum *r, int64_t k)
{
    for (; k < r->n; k++) {
        float sum = r->weight[0] * (float)r->pixels[k];
        for (int t = 1; t < r->count; t++) sum += r->weight[t] * (float)r->pixels[t * r->row_bytes + k];
        r->sum[k] = sum;
    }
}

/* sum[k] = weighted sum of bytes k over the rows; k counts 3 bytes a pixel. */
static void sum_rows_any(const row_sum *in)
{
    const row_sum r = *in;
    int64_t k = 0;
    for (; k + 16 <= r.n; k += 16) {
        vec4 sum[4] = {{0}, {0}, {0}, {0}};
        for (int t = 0; t < r.count; t++) {
            vec4 four[4];
            widen(r.pixels + t * r.row_bytes + k, four);
            for (int i = 0; i < 4; i++) sum[i] += four[i] * r.weight[t];
        }
        memcpy(r.sum + k, sum, sizeof sum);
    }
    sum_row_ends(&r, k);
}

typedef struct column_sum {
    const float *sum;  /* may be read up to 3 * most + 4 floats behind its end: finite there */
    int64_t sum_first; /* source column of sum[0] */
    const taps *taps;
    int64_t n;
    float *row;        /* for interleaved output, [3 * n + 1] */
    float *plane[3];   /* for planes, of one row */
    float scale[3], offset[3];
    bool flip;         /* planes only */
} column_sum;

/* Red, green, blue and a lane that is thrown away, of output i. Every output takes `most` taps; those that it lacks weigh
 * nothing. */
ALWAYS_INLINE vec4 pixel_of(const column_sum *c, int64_t i, int most)
{
    const taps *t = c->taps;
    const float *p = c->sum + 3 * (t->first[i] - c->sum_first), *weight = t->weight + i * t->stride;
    vec4 pixel;
    memcpy(&pixel, p, sizeof pixel);
    vec4 acc = pixel * weight[0];
    for (int k = 1; k < most; k++) {
        memcpy(&pixel, p + 3 * k, sizeof pixel);
        acc += pixel * weight[k];
    }
    return acc;
}

ALWAYS_INLINE void put4(const column_sum *c, int channel, int64_t i, vec4 value)
{
    value = value * c->scale[channel] + c->offset[channel];
    if (c->flip) value = __builtin_shufflevector(value, value, 3, 2, 1, 0);
    memcpy(c->plane[channel] + (c->flip ? c->n - 4 - i : i), &value, sizeof value);
}

ALWAYS_INLINE void planes_of(const column_sum *in, int most)
{
    const column_sum own = *in, *c = &own; /* that no float written here can change */
    int64_t i = 0;
    for (; i + 4 <= c->n; i += 4) {
        vec4 p0 = pixel_of(c, i, most), p1 = pixel_of(c, i + 1, most), p2 = pixel_of(c, i + 2, most);
        vec4 p3 = pixel_of(c, i + 3, most);
        vec4 low01 = __builtin_shufflevector(p0, p1, 0, 4, 1, 5), low23 = __builtin_shufflevector(p2, p3, 0, 4, 1, 5);
        vec4 high01 = __builtin_shufflevector(p0, p1, 2, 6, 3, 7), high23 = __builtin_shufflevector(p2, p3, 2, 6, 3, 7);
        put4(c, 0, i, __builtin_shufflevector(low01, low23, 0, 1, 4, 5));
        put4(c, 1, i, __builtin_shufflevector(low01, low23, 2, 3, 6, 7));
        put4(c, 2, i, __builtin_shufflevector(high01, high23, 0, 1, 4, 5));
    }
    for (; i < c->n; i++) {
        vec4 p = pixel_of(c, i, most);
        for (int k = 0; k < 3; k++) c->plane[k][c->flip ? c->n - 1 - i : i] = p[k] * c->scale[k] + c->offset[k];
    }
}

ALWAYS_INLINE void planes_body(const column_sum *c)
{
    if (c->taps->most == 2) planes_of(c, 2);
    else if (c->taps->most == 3) planes_of(c, 3);
    else planes_of(c, c->taps->most);
}

ALWAYS_INLINE void row_of(const column_sum *in, int most)
{
    const column_sum own = *in, *c = &own;
    for (int64_t i = 0; i < c->n; i++) { /* the fourth lane is overwritten by the next output */
        vec4 p = pixel_of(c, i, most);
        memcpy(c->row + 3 * i, &p, sizeof p);
    }
}

ALWAYS_INLINE void row_body(const column_sum *c)
{
    if (c->taps->most == 2) row_of(c, 2);
    else if (c->taps->most == 3) row_of(c, 3);
    else row_of(c, c->taps->most);
}

typedef struct kernels {
    void (*sum_rows)(const row_sum *r);
    void (*planes)(const column_sum *c);
    void (*row)(const column_sum *c);
} kernels;

static void planes_any(const column_sum *c) { planes_body(c); }
static void row_any(const column_sum *c) { row_body(c); }

#if defined(__x86_64__)
#define AVX2 __attribute__((target("avx2")))

#define EIGHT_AT(p) _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(p))))

AVX2 ALWAYS_INLINE void sum_rows_of(const row_sum *in, int rows)
{
    const row_sum r = *in;
    int64_t k = 0;
    for (; k + 16 <= r.n; k += 16) {
        __m256 weight = _mm256_set1_ps(r.weight[0]);
        __m256 low = _mm256_mul_ps(EIGHT_AT(r.pixels + k), weight), high = _mm256_mul_ps(EIGHT_AT(r.pixels + k + 8), weight);
        for (int t = 1; t < rows; t++) {
            const uint8_t *p = r.pixels + t * r.row_bytes + k;
            weight = _mm256_set1_ps(r.weight[t]);
            low = _mm256_add_ps(low, _mm256_mul_ps(EIGHT_AT(p), weight));
            high = _mm256_add_ps(high, _mm256_mul_ps(EIGHT_AT(p + 8), weight));
        }
        _mm256_storeu_ps(r.sum + k, low);
        _mm256_storeu_ps(r.sum + k + 8, high);
    }
    sum_row_ends(&r, k);
}

AVX2 static void sum_rows_avx2(const row_sum *r)
{
    if (r->count == 2) sum_rows_of(r, 2);
    else if (r->count == 3) sum_rows_of(r, 3);
    else sum_rows_of(r, r->count);
}

AVX2 static void planes_avx2(const column_sum *c) { planes_body(c); }
AVX2 static void row_avx2(const column_sum *c) { row_body(c); }
#endif

static kernels choose_kernels(bool plain)
{
#if defined(__x86_64__)
    if (!plain && __builtin_cpu_supports("avx2")) return (kernels){sum_rows_avx2, planes_avx2, row_avx2};
#endif
    (void)plain;
    return (kernels){sum_rows_any, planes_any, row_any};
}

/* ---- one picture */

void sw_resize_scratch_free(sw_resize_scratch *scratch)
{
    sw_free(scratch->memory);
    *scratch = (sw_resize_scratch){0};
}

/* The work memory of a job, from one block that grows and is used again. */
typedef struct work {
    taps across, down;
    float *sum, *row;
} work;

static size_t padded(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static uint8_t *carve(uint8_t **at, size_t bytes)
{
    uint8_t *mine = *at;
    *at += padded(bytes);
    return mine;
}

static sw_status work_make(const sw_resize_job *job, sw_resize_scratch *scratch, work *out, sw_error *err)
{
    size_t across = (size_t)job->out_width, down = (size_t)job->out_height;
    *out = (work){.across.stride = stride_of(job->width / (double)across), .down.stride = stride_of(job->height / (double)down)};
    size_t weights_across = across * (size_t)out->across.stride * sizeof(float);
    size_t weights_down = down * (size_t)out->down.stride * sizeof(float);
    size_t sum = (3 * (size_t)(job->clip_x1 - job->clip_x0 + out->across.stride) + 4) * sizeof(float);
    size_t row = (3 * across + 1) * sizeof(float);
    size_t need = 2 * padded(across * sizeof(int32_t)) + 2 * padded(down * sizeof(int32_t)) + padded(weights_across) +
                  padded(weights_down) + padded(sum) + padded(row);
    if (need > scratch->bytes) {
        sw_resize_scratch_free(scratch);
        scratch->memory = sw_calloc(1, need);
        if (!scratch->memory) return sw_nomem(err);
        scratch->bytes = need;
    }
    uint8_t *at = scratch->memory;
    out->across.first = (int32_t *)(void *)carve(&at, across * sizeof(int32_t));
    out->across.count = (int32_t *)(void *)carve(&at, across * sizeof(int32_t));
    out->down.first = (int32_t *)(void *)carve(&at, down * sizeof(int32_t));
    out->down.count = (int32_t *)(void *)carve(&at, down * sizeof(int32_t));
    out->across.weight = (float *)(void *)carve(&at, weights_across);
    out->down.weight = (float *)(void *)carve(&at, weights_down);
    out->row = (float *)(void *)carve(&at, row);
    out->sum = (float *)(void *)carve(&at, sum);
    /* what other jobs left here may be any bits, and zero times NaN is not zero */
    float *behind = out->sum + 3 * (job->clip_x1 - job->clip_x0);
    memset(behind, 0, (3 * (size_t)out->across.stride + 4) * sizeof *behind);
    bool black = job->black_x1 > job->black_x0;
    taps_make(job->x, job->width, black ? job->black_x0 : job->clip_x0, black ? job->black_x1 : job->clip_x1, job->out_width, &out->across);
    taps_make(job->y, job->height, black ? job->black_y0 : job->clip_y0, black ? job->black_y1 : job->clip_y1, job->out_height, &out->down);
    if (!black) return SW_OK;
    taps_cut(job->clip_x0, job->clip_x1, job->out_width, &out->across);
    taps_cut(job->clip_y0, job->clip_y1, job->out_height, &out->down);
    return SW_OK;
}

/* The rows of output y, summed, into w->sum. */
static void sum_rows(const sw_resize_job *job, const kernels *k, const work *w, int64_t y)
{
    int64_t row_bytes = 3 * job->source_width;
    row_sum r = {.pixels = job->pixels + (w->down.first[y] - job->source_y) * row_bytes + 3 * (job->clip_x0 - job->source_x),
                 .row_bytes = row_bytes, .weight = w->down.weight + y * w->down.stride, .count = w->down.count[y],
                 .n = 3 * (job->clip_x1 - job->clip_x0), .sum = w->sum};
    k->sum_rows(&r);
}

sw_status sw_resize_run_u8(const sw_resize_job *job, uint8_t *out, sw_error *err)
{
    SW_CLEANUP(sw_resize_scratch_free) sw_resize_scratch scratch = {0};
    work w;
    kernels k = choose_kernels(job->plain);
    SW_TRY(work_make(job, &scratch, &w, err));
    column_sum c = {.sum = w.sum, .sum_first = job->clip_x0, .taps = &w.across, .n = job->out_width, .row = w.row};
    for (int64_t y = 0; y < job->out_height; y++) {
        uint8_t *to = out + 3 * (job->flip_y ? job->out_height - 1 - y : y) * c.n;
        sum_rows(job, &k, &w, y);
        k.row(&c);
        for (int64_t i = 0; i < 3 * c.n && !job->flip_x; i++) to[i] = (uint8_t)(w.row[i] + 0.5f);
        for (int64_t x = 0; x < c.n && job->flip_x; x++) {
            for (int i = 0; i < 3; i++) to[3 * (c.n - 1 - x) + i] = (uint8_t)(w.row[3 * x + i] + 0.5f);
        }
    }
    return SW_OK;
}

sw_status sw_resize_run_planes(const sw_resize_job *job, const float *scale, const float *offset, float *planes,
                               sw_resize_scratch *scratch, sw_error *err)
{
    work w;
    kernels k = choose_kernels(job->plain);
    SW_TRY(work_make(job, scratch, &w, err));
    column_sum c = {.sum = w.sum, .sum_first = job->clip_x0, .taps = &w.across, .n = job->out_width, .flip = job->flip_x};
    for (int i = 0; i < 3; i++) {
        int plane = job->swap ? 2 - i : i;
        c.scale[i] = scale ? scale[plane] : 1;
        c.offset[i] = offset ? offset[plane] : 0;
    }
    for (int64_t y = 0; y < job->out_height; y++) {
        int64_t to = job->flip_y ? job->out_height - 1 - y : y;
        for (int i = 0; i < 3; i++) c.plane[i] = planes + ((job->swap ? 2 - i : i) * job->out_height + to) * c.n;
        sum_rows(job, &k, &w, y);
        k.planes(&c);
    }
    return SW_OK;
}

sw_status sw_resize_job_of(const uint8_t *pixels, int64_t source_width, int64_t source_height, const sw_crop *crop,
                           int64_t width, int64_t height, sw_resize_job *out, sw_error *err)
{
    if (width < 1 || height < 1 || width > INT32_MAX || height > INT32_MAX) {
        return sw_error_set(err, SW_E_INVALID, "cannot resize to %lld x %lld pixels", (long long)width,
                            (long long)height);
    }
    const double slack = 1e-6; /* of sums of box corner and side */
    if (!(crop->width > 0) || !(crop->height > 0) || !(crop->x >= 0) || !(crop->y >= 0) ||
        crop->x + crop->width > (double)source_width + slack || crop->y + crop->height > (double)source_height + slack) {
        return sw_error_set(err, SW_E_INVALID, "a crop of %g x %g pixels at (%g, %g) is outside an image of %lld x %lld",
                            crop->width, crop->height, crop->x, crop->y, (long long)source_width,
                            (long long)source_height);
    }
    *out = (sw_resize_job){.pixels = pixels,
                           .source_width = source_width,
                           .source_height = source_height,
                           .x = crop->x,
                           .y = crop->y,
                           .width = crop->width,
                           .height = crop->height,
                           .clip_x0 = (int64_t)floor(crop->x),
                           .clip_y0 = (int64_t)floor(crop->y),
                           .out_width = width,
                           .out_height = height,
                           .flip_x = crop->flip_x,
                           .flip_y = crop->flip_y};
    out->clip_x1 = clamp((int64_t)ceil(crop->x + crop->width - slack), out->clip_x0 + 1, source_width);
    out->clip_y1 = clamp((int64_t)ceil(crop->y + crop->height - slack), out->clip_y0 + 1, source_height);
    return SW_OK;
}

sw_status sw_resize_job_beyond(const uint8_t *pixels, int64_t source_width, int64_t source_height, const sw_crop *crop,
                               int64_t width, int64_t height, sw_resize_job *out, sw_error *err)
{
    const double slack = 1e-6;
    bool within = crop->x >= 0 && crop->y >= 0 && crop->x + crop->width <= (double)source_width + slack &&
                  crop->y + crop->height <= (double)source_height + slack;
    sw_crop at_corner = *crop; /* what must hold of any box */
    if (within || !(crop->width > 0) || !(crop->height > 0) || !isfinite(crop->x + crop->y + crop->width + crop->height))
        return sw_resize_job_of(pixels, source_width, source_height, crop, width, height, out, err); /* which refuses what is no box */
    at_corner.x = at_corner.y = 0;
    at_corner.width = fmin(crop->width, (double)source_width);
    at_corner.height = fmin(crop->height, (double)source_height);
    SW_TRY(sw_resize_job_of(pixels, source_width, source_height, &at_corner, width, height, out, err));
    out->x = crop->x;
    out->y = crop->y;
    out->width = crop->width;
    out->height = crop->height;
    out->black_x0 = (int64_t)floor(crop->x);
    out->black_y0 = (int64_t)floor(crop->y);
    out->black_x1 = (int64_t)ceil(crop->x + crop->width - slack);
    out->black_y1 = (int64_t)ceil(crop->y + crop->height - slack);
    out->clip_x0 = clamp(out->black_x0, 0, source_width - 1);
    out->clip_y0 = clamp(out->black_y0, 0, source_height - 1);
    out->clip_x1 = clamp(out->black_x1, out->clip_x0 + 1, source_width);
    out->clip_y1 = clamp(out->black_y1, out->clip_y0 + 1, source_height);
    return SW_OK;
}

sw_status sw_resize_crop(const uint8_t *pixels, int64_t source_width, int64_t source_height, const sw_crop *crop,
                         int64_t width, int64_t height, const float *scale, const float *offset, float *planes,
                         sw_error *err)
{
    SW_CLEANUP(sw_resize_scratch_free) sw_resize_scratch scratch = {0};
    sw_resize_job job = {0};
    SW_TRY(sw_resize_job_of(pixels, source_width, source_height, crop, width, height, &job, err));
    return sw_resize_run_planes(&job, scale, offset, planes, &scratch, err);
}

sw_status sw_resize_crop_u8(const uint8_t *pixels, int64_t source_width, int64_t source_height, const sw_crop *crop,
                            int64_t width, int64_t height, uint8_t *out, sw_error *err)
{
    sw_resize_job job = {0};
    SW_TRY(sw_resize_job_of(pixels, source_width, source_height, crop, width, height, &job, err));
    return sw_resize_run_u8(&job, out, err);
}

sw_status sw_image_resize(const sw_image *source, int64_t width, int64_t height, sw_image *out, sw_error *err)
{
    SW_CLEANUP(sw_image_free) sw_image image = {0};
    sw_crop whole = {0, 0, (double)source->width, (double)source->height, false, false};
    memset(out, 0, sizeof *out);
    SW_TRY(sw_image_new(width, height, 255, &image, err));
    SW_TRY(sw_resize_crop_u8(source->rgb, source->width, source->height, &whole, width, height, image.rgb, err));
    *out = image;
    memset(&image, 0, sizeof image);
    return SW_OK;
}
