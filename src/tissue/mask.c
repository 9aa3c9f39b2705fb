/* SPDX-License-Identifier: Apache-2.0 */
/* Saturation, median, Otsu, closing: with OpenCV's conventions, so that masks agree with CLAM's. */
#include "tissue/mask.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

void sw_saturation(const uint8_t *rgb, int64_t n, uint8_t *out)
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

sw_status sw_median(uint8_t *plane, int64_t width, int64_t height, int side, sw_error *err)
{
    if (side < 1 || side % 2 == 0) {
        return sw_error_set(err, SW_E_INVALID, "the median window mthresh is %d; give an odd number", side);
    }
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

/* out[i] = 255 where any in[i - back .. i + ahead] is `wanted`; elements `step` apart; outside never counts. */
static void any_in_window(const uint8_t *in, int64_t n, int64_t step, int back, int ahead, uint8_t wanted, uint8_t *out)
{
    int64_t inside = 0;
    for (int64_t i = 0; i < ahead && i < n; i++) inside += in[i * step] == wanted;
    for (int64_t i = 0; i < n; i++) {
        if (i + ahead < n) inside += in[(i + ahead) * step] == wanted;
        if (i - back - 1 >= 0) inside -= in[(i - back - 1) * step] == wanted;
        out[i * step] = inside > 0 ? wanted : (uint8_t)(255 - wanted);
    }
}

/* Spreads `wanted` over the box; with 255 a dilation, with 0 an erosion. */
static void spread(uint8_t *mask, uint8_t *other, int64_t width, int64_t height, int side, uint8_t wanted)
{
    int back = side / 2, ahead = side - 1 - side / 2;
    for (int64_t y = 0; y < height; y++) {
        any_in_window(mask + y * width, width, 1, back, ahead, wanted, other + y * width);
    }
    for (int64_t x = 0; x < width; x++) any_in_window(other + x, height, width, back, ahead, wanted, mask + x);
}

sw_status sw_close_mask(uint8_t *mask, int64_t width, int64_t height, int side, sw_error *err)
{
    SW_AUTOFREE uint8_t *other = sw_malloc((size_t)(width * height));
    if (!other) return sw_nomem(err);
    spread(mask, other, width, height, side, 255);
    spread(mask, other, width, height, side, 0);
    return SW_OK;
}
