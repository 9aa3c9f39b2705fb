/* SPDX-License-Identifier: Apache-2.0 */
/* Resizing a box of a larger buffer, with taps that may reach beyond the box. */
#ifndef SW_SLIDE_RESIZE_H
#define SW_SLIDE_RESIZE_H

#include "slidewise/image.h"

typedef struct sw_resize_job {
    const uint8_t *pixels;         /* [source_height, source_width, 3] */
    int64_t source_width, source_height;
    int64_t source_x, source_y;    /* where pixels[0] lies, in the pixels that box and clip count in: 0 but for a part */
    double x, y, width, height;    /* box, source pixels */
    int64_t clip_x0, clip_x1, clip_y0, clip_y1; /* pixel columns and rows that taps may use, ends exclusive */
    int64_t black_x0, black_x1, black_y0, black_y1; /* the part of the box beyond the clip counts as black up to here; all
                                                       0: there is none, and taps stay in the clip */
    int64_t out_width, out_height;
    bool flip_x, flip_y;
    bool swap;                     /* byte c of a pixel goes to plane 2 - c (and gets that plane's constants) */
    bool plain;                    /* without the kernels of newer processors, for tests: the bits are the same */
} sw_resize_job;
/* The job of sw_resize_crop. */
sw_status sw_resize_job_of(const uint8_t *pixels, int64_t source_width, int64_t source_height, const sw_crop *crop,
                           int64_t width, int64_t height, sw_resize_job *out, sw_error *err) SW_MUST_CHECK;

/* The same of a box that may lie beyond the image, even wholly; there it is black. */
sw_status sw_resize_job_beyond(const uint8_t *pixels, int64_t source_width, int64_t source_height, const sw_crop *crop,
                               int64_t width, int64_t height, sw_resize_job *out, sw_error *err) SW_MUST_CHECK;

/* Work memory that one job leaves to the next; empty when zeroed. For one thread at a time. */
typedef struct sw_resize_scratch {
    void *memory;
    size_t bytes;
} sw_resize_scratch;
void sw_resize_scratch_free(sw_resize_scratch *scratch);

/* The whole job to bytes [out_height, out_width, 3], rounded to nearest. */
sw_status sw_resize_run_u8(const sw_resize_job *job, uint8_t *out, sw_error *err) SW_MUST_CHECK;
/* To planes [3, out_height, out_width]: value * scale[c] + offset[c], as sw_resize_crop. */
sw_status sw_resize_run_planes(const sw_resize_job *job, const float *scale, const float *offset, float *planes,
                               sw_resize_scratch *scratch, sw_error *err) SW_MUST_CHECK;

#endif
