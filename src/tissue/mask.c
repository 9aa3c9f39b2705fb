/* SPDX-License-Identifier: Apache-2.0 */
/* Saturation, median, Otsu, closing: with OpenCV's conventions, so that masks agree with CLAM's. */
#include "tissue/mask.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/mem.h"

enum { FEW = 16 }; /* a side up to which a window's elements are looked at one by one */

static void saturation_any(const uint8_t *rgb, int64_t n, uint8_t *out)
{
    int reciprocal[256] = {0}; /* 255 / v in 12-bit fixed point, as OpenCV rounds */
    for (int v = 1; v < 256; v++) reciprocal[v] = (int)lrint(255.0 * 4096 / v);
    for (int64_t i = 0; i < n; i++) {
        int r = rgb[3 * i], g = rgb[3 * i + 1], b = rgb[3 * i + 2];
        int high = r > g ? r : g, low = r < g ? r : g;
        high = b > high ? b : high;
        low = b < low ? b : low;
        out[i] = (uint8_t)(((high - low) * reciprocal[high] + 2048) >> 12);
    }
}

#if defined(__x86_64__)
/* The same bits three times as fast, many pixels at once: there is no table to look into. */
__attribute__((target("avx2"))) static void saturation_avx2(const uint8_t *restrict rgb, int64_t n, uint8_t *restrict out)
{
    for (int64_t i = 0; i < n; i++) {
        int r = rgb[3 * i], g = rgb[3 * i + 1], b = rgb[3 * i + 2];
        int high = r > g ? r : g, low = r < g ? r : g;
        high = b > high ? b : high;
        low = b < low ? b : low;
        int divisor = high > 0 ? high : 1; /* by itself: gcc would branch */
        int reciprocal = (int)(255.0f * 4096 / (float)divisor + 0.5f); /* a test tries all 255 */
        out[i] = (uint8_t)(((high - low) * reciprocal + 2048) >> 12);
    }
}
#endif

void sw_saturation(const uint8_t *rgb, int64_t n, uint8_t *out)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) {
        saturation_avx2(rgb, n, out);
        return;
    }
#endif
    saturation_any(rgb, n, out);
}

/* A histogram that knows its median: moved step by step, as neighbouring windows differ little. */
typedef struct window {
    int count[256];
    int below; /* values < median */
    int median;
    int half;  /* the median is the smallest m with more than half values <= m */
} window;

static void put(window *w, int value)
{
    w->count[value]++;
    w->below += value < w->median;
}

static void take(window *w, int value)
{
    w->count[value]--;
    w->below -= value < w->median;
}

static uint8_t settle(window *w)
{
    while (w->below > w->half) w->below -= w->count[--w->median];
    while (w->below + w->count[w->median] <= w->half) w->below += w->count[w->median++];
    return (uint8_t)w->median;
}

static void median_row(const uint8_t *padded, int64_t stride, int64_t width, int side, uint8_t *out)
{
    window w = {.half = side * side / 2};
    for (int y = 0; y < side; y++) {
        for (int x = 0; x < side; x++) put(&w, padded[y * stride + x]);
    }
    out[0] = settle(&w);
    for (int64_t x = 1; x < width; x++) {
        for (int y = 0; y < side; y++) {
            take(&w, padded[y * stride + x - 1]);
            put(&w, padded[y * stride + x + side - 1]);
        }
        out[x] = settle(&w);
    }
}

static sw_status check_side(int side, sw_error *err)
{
    if (side >= 1 && side < 256 && side % 2 == 1) return SW_OK;
    return sw_error_set(err, SW_E_INVALID, "the median window mthresh is %d; give an odd number", side);
}

sw_status sw_median(uint8_t *plane, int64_t width, int64_t height, int side, sw_error *err)
{
    SW_TRY(check_side(side, err));
    int64_t r = side / 2, stride = width + 2 * r;
    SW_AUTOFREE uint8_t *padded = sw_malloc((size_t)(stride * (height + 2 * r)));
    if (!padded) return sw_nomem(err);
    for (int64_t y = -r; y < height + r; y++) {
        const uint8_t *row = plane + width * (y < 0 ? 0 : y >= height ? height - 1 : y);
        uint8_t *out = padded + stride * (y + r);
        memset(out, row[0], (size_t)r);
        memcpy(out + r, row, (size_t)width);
        memset(out + r + width, row[width - 1], (size_t)r);
    }
    for (int64_t y = 0; y < height; y++) median_row(padded + stride * y, stride, width, side, plane + width * y);
    return SW_OK;
}

int sw_otsu(const uint8_t *plane, int64_t n)
{
    int64_t count[256] = {0};
    double total = 0, best = 0;
    int threshold = 0;
    for (int64_t i = 0; i < n; i++) count[plane[i]]++;
    for (int v = 0; v < 256; v++) total += (double)v * (double)count[v] / (double)n;
    double share = 0, sum = 0; /* of the values <= v */
    for (int v = 0; v < 256; v++) {
        share += (double)count[v] / (double)n;
        sum += (double)v * (double)count[v] / (double)n;
        if (share < 1e-7 || share > 1 - 1e-7) continue;
        double apart = sum / share - (total - sum) / (1 - share);
        double between = share * (1 - share) * apart * apart;
        if (between > best) {
            best = between;
            threshold = v;
        }
    }
    return threshold;
}

void sw_threshold(uint8_t *plane, int64_t n, int threshold)
{
    for (int64_t i = 0; i < n; i++) plane[i] = plane[i] > threshold ? 255 : 0;
}

/* ---- the median of a plane that is only compared with a threshold: it lies above where more than half of the window does, so
 * that counting takes its place. */

/* 1 where the value is above, with the border repeated r times on both sides. */
static void above_row(const uint8_t *row, int64_t width, int64_t r, int threshold, uint8_t *restrict out)
{
    uint8_t limit = (uint8_t)threshold;
    if (threshold < 0 || threshold > 254) memset(out + r, threshold < 0, (size_t)width);
    else for (int64_t x = 0; x < width; x++) out[r + x] = row[x] > limit;
    memset(out, out[r], (size_t)r);
    memset(out + r + width, out[r + width - 1], (size_t)r);
}

/* Sums of `side` neighbours, at most 255. */
static void sums_of_row(const uint8_t *padded, int64_t width, int side, uint8_t *restrict out)
{
    if (side <= FEW) {
        memcpy(out, padded, (size_t)width);
        for (int k = 1; k < side; k++) {
            for (int64_t x = 0; x < width; x++) out[x] = (uint8_t)(out[x] + padded[x + k]);
        }
        return;
    }
    int sum = 0;
    for (int k = 0; k < side - 1; k++) sum += padded[k];
    for (int64_t x = 0; x < width; x++) {
        sum += padded[x + side - 1];
        out[x] = (uint8_t)sum;
        sum -= padded[x];
    }
}

static void move_window(uint16_t *restrict count, const uint8_t *in, const uint8_t *out_of, int64_t width)
{
    for (int64_t x = 0; x < width; x++) count[x] = (uint16_t)(count[x] + in[x] - out_of[x]);
}

sw_status sw_median_above(uint8_t *plane, int64_t width, int64_t height, int side, int threshold, sw_error *err)
{
    SW_TRY(check_side(side, err));
    int64_t r = side / 2;
    int half = side * side / 2;
    SW_AUTOFREE uint8_t *padded = sw_malloc((size_t)(width + 2 * r));
    SW_AUTOFREE uint8_t *ring = sw_calloc((size_t)side * (size_t)width, 1); /* sums of the window's rows */
    SW_AUTOFREE uint8_t *next = sw_malloc((size_t)width);
    SW_AUTOFREE uint16_t *count = sw_calloc((size_t)width, sizeof *count);
    if (!padded || !ring || !next || !count) return sw_nomem(err);
    for (int64_t y = -2 * r; y < height; y++) { /* the window's last row is y + r, its middle y */
        int64_t last = y + r;
        if (last < height) { /* rows above the first and below the last repeat those */
            above_row(plane + width * (last < 0 ? 0 : last), width, r, threshold, padded);
            sums_of_row(padded, width, side, next);
        }
        uint8_t *oldest = ring + width * ((y + 2 * r) % side);
        move_window(count, next, oldest, width);
        memcpy(oldest, next, (size_t)width);
        if (y < 0) continue;
        uint8_t *to = plane + width * y;
        for (int64_t x = 0; x < width; x++) to[x] = count[x] > half ? 255 : 0;
    }
    return SW_OK;
}

/* ---- closing */

/* out[x] = 255 where any in[x - back .. x + ahead] is `wanted`; outside never counts. */
static void any_in_row(const uint8_t *in, int64_t n, int back, int ahead, uint8_t wanted, uint8_t *restrict out)
{
    int64_t inside = 0;
    for (int64_t i = 0; i < ahead && i < n; i++) inside += in[i] == wanted;
    for (int64_t i = 0; i < n; i++) {
        if (i + ahead < n) inside += in[i + ahead] == wanted;
        if (i - back - 1 >= 0) inside -= in[i - back - 1] == wanted;
        out[i] = inside > 0 ? wanted : (uint8_t)(255 - wanted);
    }
}

/* The same of small windows, whose elements are looked at one by one, but many windows at once. */
static void any_in_row_few(const uint8_t *in, int64_t n, int back, int ahead, uint8_t wanted, uint8_t *restrict out)
{
    uint8_t flip = (uint8_t)(255 - wanted); /* elements are 0 or 255: with 0 wanted, all of them are turned round */
    for (int64_t i = 0; i < n; i++) out[i] = in[i] ^ flip;
    for (int k = -back; k <= ahead; k++) {
        int64_t from = k < 0 ? -k : 0, to = k > 0 ? n - k : n;
        for (int64_t i = from; i < to; i++) out[i] |= in[i + k] ^ flip;
    }
    for (int64_t i = 0; i < n; i++) out[i] ^= flip;
}

/* Row y of the columns' windows of few elements. */
static void any_in_columns_few(const uint8_t *in, int64_t width, int64_t height, int64_t y, int back, int ahead, uint8_t wanted,
                               uint8_t *restrict out)
{
    uint8_t flip = (uint8_t)(255 - wanted);
    memset(out, 0, (size_t)width);
    for (int64_t k = y - back; k <= y + ahead; k++) {
        if (k < 0 || k >= height) continue;
        const uint8_t *row = in + k * width;
        for (int64_t x = 0; x < width; x++) out[x] |= row[x] ^ flip;
    }
    for (int64_t x = 0; x < width; x++) out[x] ^= flip;
}

static void count_row(const uint8_t *row, int64_t width, uint8_t wanted, int step, uint16_t *restrict count)
{
    for (int64_t x = 0; x < width; x++) count[x] = (uint16_t)(count[x] + (row[x] == wanted ? step : 0));
}

/* The columns of windows of any side: how many of the window are `wanted` is carried from row to row. */
static void any_in_columns(const uint8_t *in, uint16_t *count, int64_t width, int64_t height, int back, int ahead, uint8_t wanted,
                           uint8_t *out)
{
    memset(count, 0, (size_t)width * sizeof *count);
    for (int64_t y = 0; y < ahead && y < height; y++) count_row(in + y * width, width, wanted, 1, count);
    for (int64_t y = 0; y < height; y++) {
        uint8_t *to = out + y * width;
        if (y + ahead < height) count_row(in + (y + ahead) * width, width, wanted, 1, count);
        if (y - back - 1 >= 0) count_row(in + (y - back - 1) * width, width, wanted, -1, count);
        for (int64_t x = 0; x < width; x++) to[x] = count[x] > 0 ? wanted : (uint8_t)(255 - wanted);
    }
}

/* Spreads `wanted` over the box; with 255 a dilation, with 0 an erosion. */
static void spread(uint8_t *mask, uint8_t *other, uint16_t *count, int64_t width, int64_t height, int side, uint8_t wanted)
{
    int back = side / 2, ahead = side - 1 - side / 2;
    bool few = side <= FEW;
    for (int64_t y = 0; y < height; y++) {
        if (few) any_in_row_few(mask + y * width, width, back, ahead, wanted, other + y * width);
        else any_in_row(mask + y * width, width, back, ahead, wanted, other + y * width);
    }
    if (!few) any_in_columns(other, count, width, height, back, ahead, wanted, mask);
    for (int64_t y = 0; few && y < height; y++) any_in_columns_few(other, width, height, y, back, ahead, wanted, mask + y * width);
}

sw_status sw_close_mask(uint8_t *mask, int64_t width, int64_t height, int side, sw_error *err)
{
    SW_AUTOFREE uint8_t *other = sw_malloc((size_t)(width * height));
    SW_AUTOFREE uint16_t *count = sw_malloc((size_t)width * sizeof *count);
    if (!other || !count) return sw_nomem(err);
    spread(mask, other, count, width, height, side, 255);
    spread(mask, other, count, width, height, side, 0);
    return SW_OK;
}
