/* SPDX-License-Identifier: Apache-2.0 */
/* Separable bilinear resizing with antialias: rows first (long contiguous sums), then columns. */
#include "slide/resize.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

typedef struct taps {
    int64_t *first; /* [n] first source index */
    int *count;     /* [n] */
    float *weight;  /* [n, stride] */
    int64_t stride;
} taps;

static void taps_free(taps *t)
{
    sw_free(t->first);
    sw_free(t->count);
    sw_free(t->weight);
}

static int64_t clamp(int64_t v, int64_t low, int64_t high)
{
    return v < low ? low : v > high ? high : v;
}

/* Output i looks at centre start + scale (i + 1/2); the triangle is max(1, scale) wide on either side. */
static sw_status taps_make(double start, double length, int64_t low, int64_t high, int64_t n, taps *out, sw_error *err)
{
    double scale = length / (double)n, support = scale > 1 ? scale : 1;
    out->stride = (int64_t)ceil(support) * 2 + 1;
    out->first = sw_calloc((size_t)n, sizeof *out->first);
    out->count = sw_calloc((size_t)n, sizeof *out->count);
    out->weight = sw_calloc((size_t)n * (size_t)out->stride, sizeof *out->weight);
    if (!out->first || !out->count || !out->weight) return sw_nomem(err);
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
        out->first[i] = from;
        out->count[i] = (int)(to - from);
        while (out->count[i] > 1 && weight[out->count[i] - 1] == 0) out->count[i]--;
    }
    return SW_OK;
}

/* sum[k] = weighted sum of bytes k over the tap rows; k counts 3 bytes a pixel. */
static void sum_rows(const uint8_t *pixels, int64_t row_bytes, const float *weight, int count, int64_t n, float *restrict sum)
{
    for (int64_t k = 0; k < n; k++) sum[k] = weight[0] * (float)pixels[k];
    for (int t = 1; t < count; t++) {
        const uint8_t *restrict row = pixels + t * row_bytes;
        const float w = weight[t];
        for (int64_t k = 0; k < n; k++) sum[k] += w * (float)row[k];
    }
}

typedef float vec4 __attribute__((vector_size(16))); /* red, green, blue and a lane that is thrown away */

/* `sum` has at least 4 floats behind every tap's first, so that whole vectors may be loaded. */
static void sum_columns(const float *sum, int64_t sum_first, const taps *t, int64_t n, float *restrict row)
{
    for (int64_t i = 0; i < n; i++) {
        const float *p = sum + 3 * (t->first[i] - sum_first), *weight = t->weight + i * t->stride;
        vec4 acc = {0, 0, 0, 0};
        for (int k = 0; k < t->count[i]; k++, p += 3) {
            vec4 pixel;
            memcpy(&pixel, p, sizeof pixel);
            acc += pixel * weight[k];
        }
        row[3 * i] = acc[0];
        row[3 * i + 1] = acc[1];
        row[3 * i + 2] = acc[2];
    }
}

sw_status sw_resize_run(const sw_resize_job *job, sw_resize_emit emit, void *ctx, sw_error *err)
{
    SW_CLEANUP(taps_free) taps across = {0};
    SW_CLEANUP(taps_free) taps down = {0};
    int64_t n = 3 * (job->clip_x1 - job->clip_x0);
    SW_TRY(taps_make(job->x, job->width, job->clip_x0, job->clip_x1, job->out_width, &across, err));
    SW_TRY(taps_make(job->y, job->height, job->clip_y0, job->clip_y1, job->out_height, &down, err));
    SW_AUTOFREE float *sum = sw_calloc((size_t)n + 4, sizeof *sum);
    SW_AUTOFREE float *row = sw_malloc(3 * (size_t)job->out_width * sizeof *row);
    if (!sum || !row) return sw_nomem(err);
    int64_t row_bytes = 3 * job->source_width;
    for (int64_t y = 0; y < job->out_height; y++) {
        const uint8_t *pixels = job->pixels + down.first[y] * row_bytes + 3 * job->clip_x0;
        sum_rows(pixels, row_bytes, down.weight + y * down.stride, down.count[y], n, sum);
        sum_columns(sum, job->clip_x0, &across, job->out_width, row);
        emit(ctx, job->flip_y ? job->out_height - 1 - y : y, row);
    }
    return SW_OK;
}

typedef struct to_bytes {
    uint8_t *out;
    int64_t width;
    bool flip;
} to_bytes;

static void emit_bytes(void *ctx, int64_t y, const float *row)
{
    const to_bytes *to = ctx;
    uint8_t *out = to->out + 3 * y * to->width;
    for (int64_t i = 0; i < 3 * to->width && !to->flip; i++) out[i] = (uint8_t)(row[i] + 0.5f);
    for (int64_t x = 0; x < to->width && to->flip; x++) {
        for (int c = 0; c < 3; c++) out[3 * (to->width - 1 - x) + c] = (uint8_t)(row[3 * x + c] + 0.5f);
    }
}

sw_status sw_resize_run_u8(const sw_resize_job *job, uint8_t *out, sw_error *err)
{
    to_bytes to = {out, job->out_width, job->flip_x};
    return sw_resize_run(job, emit_bytes, &to, err);
}

typedef struct to_planes {
    float *out;
    int64_t width, height;
    bool flip;
    float scale[3], offset[3];
} to_planes;

static void emit_planes(void *ctx, int64_t y, const float *row)
{
    const to_planes *to = ctx;
    for (int c = 0; c < 3; c++) {
        float *restrict out = to->out + (c * to->height + y) * to->width;
        const float scale = to->scale[c], offset = to->offset[c];
        if (to->flip) {
            for (int64_t x = 0; x < to->width; x++) out[to->width - 1 - x] = row[3 * x + c] * scale + offset;
        } else {
            for (int64_t x = 0; x < to->width; x++) out[x] = row[3 * x + c] * scale + offset;
        }
    }
}

static sw_status job_of(const uint8_t *pixels, int64_t source_width, int64_t source_height, const sw_crop *crop,
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

sw_status sw_resize_crop(const uint8_t *pixels, int64_t source_width, int64_t source_height, const sw_crop *crop,
                         int64_t width, int64_t height, const float *scale, const float *offset, float *planes,
                         sw_error *err)
{
    sw_resize_job job = {0};
    to_planes to = {planes, width, height, crop->flip_x, {1, 1, 1}, {0, 0, 0}};
    SW_TRY(job_of(pixels, source_width, source_height, crop, width, height, &job, err));
    if (scale) memcpy(to.scale, scale, sizeof to.scale);
    if (offset) memcpy(to.offset, offset, sizeof to.offset);
    return sw_resize_run(&job, emit_planes, &to, err);
}

sw_status sw_resize_crop_u8(const uint8_t *pixels, int64_t source_width, int64_t source_height, const sw_crop *crop,
                            int64_t width, int64_t height, uint8_t *out, sw_error *err)
{
    sw_resize_job job = {0};
    SW_TRY(job_of(pixels, source_width, source_height, crop, width, height, &job, err));
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
