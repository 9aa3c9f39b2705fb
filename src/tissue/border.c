/* SPDX-License-Identifier: Apache-2.0 */
/* Border following after Suzuki and Abe (1985). Numbers in comments are the steps of their algorithm 1. */
#include "tissue/border.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

typedef struct tracer {
    int32_t *label;   /* the mask with a frame of zeros: 0, 1, or +-(border number) */
    int64_t stride;
    int64_t step[8];  /* neighbours, counter-clockwise on the screen from the right one */
    sw_borders *out;
} tracer;

void sw_borders_free(sw_borders *borders)
{
    if (!borders) return;
    sw_free(borders->border);
    sw_free(borders->xy);
    memset(borders, 0, sizeof *borders);
}

static sw_status add_point(tracer *t, int64_t at, sw_error *err)
{
    sw_borders *out = t->out;
    SW_TRY(sw_grow(&out->xy, &out->points_capacity, 2 * (out->n_points + 1), sizeof *out->xy, err));
    out->xy[2 * out->n_points] = (int32_t)(at % t->stride - 1);
    out->xy[2 * out->n_points + 1] = (int32_t)(at / t->stride - 1);
    out->n_points++;
    return SW_OK;
}

/* Follows one border from `start`; `from` is the direction of the zero pixel through which it was met (3.1-3.5). */
static sw_status follow(tracer *t, int64_t start, int from, int32_t number, sw_error *err)
{
    int32_t *label = t->label;
    int first = from, k = 0;
    do { /* 3.1: clockwise to the first region pixel */
        first = (first + 7) & 7;
        k++;
    } while (k < 8 && label[start + t->step[first]] == 0);
    if (label[start + t->step[first]] == 0) { /* a single pixel */
        label[start] = -number;
        return add_point(t, start, err);
    }
    int64_t last = start + t->step[first], at = start;
    int back = first; /* direction of the pixel we came from */
    for (;;) {
        int direction = back;
        bool right_is_zero = false;
        do { /* 3.3: counter-clockwise to the next region pixel */
            direction = (direction + 1) & 7;
            if (label[at + t->step[direction]] != 0) break;
            if (direction == 0) right_is_zero = true;
        } while (true);
        if (right_is_zero) { /* 3.4 */
            label[at] = -number;
        } else if (label[at] == 1) {
            label[at] = number;
        }
        SW_TRY(add_point(t, at, err));
        int64_t next = at + t->step[direction];
        if (next == start && at == last) return SW_OK; /* 3.5 */
        at = next;
        back = (direction + 4) & 7;
    }
}

double sw_border_area(const int32_t *xy, int64_t n)
{
    double twice = 0;
    for (int64_t i = 0; i < n; i++) {
        const int32_t *a = xy + 2 * i, *b = xy + 2 * ((i + 1) % n);
        twice += (double)a[0] * b[1] - (double)b[0] * a[1];
    }
    return fabs(twice) / 2;
}

/* `number` is 2 for the first border: 1 means "region, no border yet". */
static sw_status new_border(tracer *t, int64_t start, bool hole, int32_t met, sw_error *err)
{
    sw_borders *out = t->out;
    sw_border border = {.first = out->n_points, .parent = -1};
    if (hole) { /* step 2 of the paper, for two levels: the region's outer border */
        const sw_border *last = &out->border[met - 2];
        border.parent = last->parent >= 0 ? last->parent : met - 2;
    }
    if (out->count >= INT32_MAX - 2) return sw_error_set(err, SW_E_INVALID, "the mask has too many regions");
    SW_TRY(follow(t, start, hole ? 0 : 4, (int32_t)out->count + 2, err));
    border.n_points = (int64_t)(out->n_points - border.first);
    border.area_px = sw_border_area(out->xy + 2 * border.first, border.n_points);
    SW_TRY(sw_grow(&out->border, &out->capacity, out->count + 1, sizeof *out->border, err));
    out->border[out->count++] = border;
    return SW_OK;
}

/* From x on, pixels that neither start a border nor tell of one: all like their neighbours, and outside or wholly inside. */
static int64_t skip_dull(const tracer *t, int64_t row, int64_t x, int64_t width)
{
    enum { STEP = 16 };
    while (x + STEP <= width) {
        const int32_t *label = t->label + row + x;
        int32_t differs = 0, first = label[-1];
        for (int i = 0; i <= STEP; i++) differs |= label[i] ^ first;
        if (differs || (first & ~1)) break;
        x += STEP;
    }
    return x;
}

static sw_status scan(tracer *t, int64_t width, int64_t height, sw_error *err)
{
    for (int64_t y = 1; y <= height; y++) {
        int32_t met = 0; /* number of the border met last on this row; 0: the frame */
        for (int64_t x = 1; x <= width; x++) {
            x = skip_dull(t, y * t->stride, x, width);
            int64_t at = y * t->stride + x;
            int32_t value = t->label[at];
            if (value == 0) continue;
            if (value == 1 && t->label[at - 1] == 0) {
                SW_TRY(new_border(t, at, false, 0, err));
            } else if (value >= 1 && t->label[at + 1] == 0) {
                if (value > 1) met = value;
                SW_TRY(new_border(t, at, true, met, err));
            }
            if (t->label[at] != 1) met = abs(t->label[at]);
        }
    }
    return SW_OK;
}

sw_status sw_borders_find(const uint8_t *mask, int64_t width, int64_t height, sw_borders *out, sw_error *err)
{
    int64_t s = width + 2;
    tracer t = {.stride = s, .step = {1, 1 - s, -s, -1 - s, -1, s - 1, s, s + 1}, .out = out};
    memset(out, 0, sizeof *out);
    SW_AUTOFREE int32_t *label = sw_calloc((size_t)s * (size_t)(height + 2), sizeof *label);
    if (!label) return sw_nomem(err);
    t.label = label;
    for (int64_t y = 0; y < height; y++) {
        for (int64_t x = 0; x < width; x++) label[(y + 1) * s + x + 1] = mask[y * width + x] != 0;
    }
    sw_status status = scan(&t, width, height, err);
    if (status != SW_OK) sw_borders_free(out);
    return status;
}
