/* SPDX-License-Identifier: Apache-2.0 */
/* Resizing a box of a larger buffer, with taps that may reach beyond the box. */
#ifndef SW_SLIDE_RESIZE_H
#define SW_SLIDE_RESIZE_H

#include "slidewise/image.h"

typedef struct sw_resize_job {
    const uint8_t *pixels;         /* [source_height, source_width, 3] */
    int64_t source_width, source_height;
    double x, y, width, height;    /* box, source pixels */
    int64_t clip_x0, clip_x1, clip_y0, clip_y1; /* pixel columns and rows that taps may use, ends exclusive */
    int64_t out_width, out_height;
    bool flip_x, flip_y;
} sw_resize_job;

/* Calls emit(ctx, out_y, row) for every output row, row: float [out_width, 3], unrounded, unflipped in x. */
typedef void (*sw_resize_emit)(void *ctx, int64_t out_y, const float *row);
sw_status sw_resize_run(const sw_resize_job *job, sw_resize_emit emit, void *ctx, sw_error *err) SW_MUST_CHECK;
/* The whole job to bytes [out_height, out_width, 3]. */
sw_status sw_resize_run_u8(const sw_resize_job *job, uint8_t *out, sw_error *err) SW_MUST_CHECK;

#endif
