/* SPDX-License-Identifier: Apache-2.0 */
/* Pen, blur, black and white of a patch. */
#include "slidewise/artefact.h"

#include <math.h>

enum { BLACK_BELOW = 50, WHITE_ABOVE = 220 };

const char *sw_left_out_name(sw_left_out kind)
{
    static const char *const names[SW_LEFT_KINDS] = {"kept", "unreadable", "black", "white", "pen", "blurred"};
    return (unsigned)kind < SW_LEFT_KINDS ? names[kind] : "?";
}

sw_artefact_options sw_artefact_options_default(void)
{
    return (sw_artefact_options){.max_black_fraction = 1, .max_white_fraction = 1, .max_pen_fraction = 1};
}

bool sw_artefact_options_any(const sw_artefact_options *o)
{
    return o->max_black_fraction < 1 || o->max_white_fraction < 1 || o->max_pen_fraction < 1 || o->min_laplacian_variance > 0;
}

static sw_status check_fraction(const char *name, double value, sw_error *err)
{
    if (value >= 0 && value <= 1) return SW_OK;
    return sw_error_set(err, SW_E_INVALID, "%s is %g; give a share of the patch's pixels from 0 to 1", name, value);
}

sw_status sw_artefact_options_check(const sw_artefact_options *o, sw_error *err)
{
    SW_TRY(check_fraction("max_black_fraction", o->max_black_fraction, err));
    SW_TRY(check_fraction("max_white_fraction", o->max_white_fraction, err));
    SW_TRY(check_fraction("max_pen_fraction", o->max_pen_fraction, err));
    if (o->min_laplacian_variance >= 0 && isfinite(o->min_laplacian_variance)) return SW_OK;
    return sw_error_set(err, SW_E_INVALID, "min_laplacian_variance is %g; give a number of squared grey levels from 0 up",
                        o->min_laplacian_variance);
}

/* ---- colours */

/* Hue times `spread`, in degrees from 0 up to 360 times it; spread > 0. Whole numbers, so that limits are exact. */
static int hue_times(int r, int g, int b, int high, int spread)
{
    int hue = high == r ? 60 * (g - b) : high == g ? 120 * spread + 60 * (b - r) : 240 * spread + 60 * (r - g);
    return hue < 0 ? hue + 360 * spread : hue;
}

static bool is_ink(int r, int g, int b, int high, int low)
{
    int spread = high - low;
    if (high <= 70 && spread <= 20) return true;
    if (high < 40 || 4 * spread < high) return false;
    int hue = hue_times(r, g, b, high, spread);
    if (hue >= 70 * spread && hue <= 200 * spread) return true;
    if (hue > 200 * spread && hue <= 240 * spread) return 2 * spread >= high;
    return (hue >= 350 * spread || hue <= 20 * spread) && 4 * spread >= 3 * high && high >= 100;
}

static void count_light(const uint8_t *rgb, int64_t n, sw_artefacts *out)
{
    int64_t black = 0, white = 0;
    for (int64_t i = 0; i < n; i++) {
        const uint8_t *p = rgb + 3 * i;
        black += (p[0] < BLACK_BELOW) & (p[1] < BLACK_BELOW) & (p[2] < BLACK_BELOW);
        white += (p[0] > WHITE_ABOVE) & (p[1] > WHITE_ABOVE) & (p[2] > WHITE_ABOVE);
    }
    out->black_fraction = (double)black / (double)n;
    out->white_fraction = (double)white / (double)n;
}

static double pen_fraction(const uint8_t *rgb, int64_t n)
{
    int64_t ink = 0;
    for (int64_t i = 0; i < n; i++) {
        int r = rgb[3 * i], g = rgb[3 * i + 1], b = rgb[3 * i + 2];
        int high = r > g ? r : g, low = r < g ? r : g;
        high = b > high ? b : high;
        low = b < low ? b : low;
        ink += is_ink(r, g, b, high, low);
    }
    return (double)ink / (double)n;
}

/* ---- blur */

#define BLOCK 512 /* columns at a time */

/* Index of a neighbour, mirrored at the border. */
static int64_t mirrored(int64_t i, int64_t n)
{
    if (n == 1) return 0;
    return i < 0 ? -i : i >= n ? 2 * n - 2 - i : i;
}

static int luma(const uint8_t *p)
{
    return (4899 * p[0] + 9617 * p[1] + 1868 * p[2] + 8192) >> 14;
}

/* Luma of columns x0 - 1 to x0 + n of row `y`. */
static void luma_row(const uint8_t *rgb, int64_t width, int64_t height, int64_t x0, int64_t n, int64_t y, int *out)
{
    const uint8_t *row = rgb + 3 * width * mirrored(y, height);
    out[0] = luma(row + 3 * mirrored(x0 - 1, width));
    for (int64_t i = 0; i < n; i++) out[i + 1] = luma(row + 3 * (x0 + i));
    out[n + 1] = luma(row + 3 * mirrored(x0 + n, width));
}

static double laplacian_variance(const uint8_t *rgb, int64_t width, int64_t height)
{
    int64_t sum = 0, squares = 0; /* of at most 1020, and a patch has at most 2^32 pixels: no overflow */
    for (int64_t x0 = 0; x0 < width; x0 += BLOCK) {
        int64_t n = width - x0 < BLOCK ? width - x0 : BLOCK;
        int ring[3][BLOCK + 2];
        luma_row(rgb, width, height, x0, n, -1, ring[2]);
        luma_row(rgb, width, height, x0, n, 0, ring[0]);
        for (int64_t y = 0; y < height; y++) {
            const int *up = ring[(y + 2) % 3], *here = ring[y % 3], *down = ring[(y + 1) % 3];
            luma_row(rgb, width, height, x0, n, y + 1, ring[(y + 1) % 3]);
            int row_sum = 0, row_squares = 0;
            for (int64_t i = 1; i <= n; i++) {
                int value = up[i] + down[i] + here[i - 1] + here[i + 1] - 4 * here[i];
                row_sum += value;
                row_squares += value * value;
            }
            sum += row_sum;
            squares += row_squares;
        }
    }
    double n = (double)width * (double)height, mean = (double)sum / n;
    return (double)squares / n - mean * mean;
}

void sw_artefacts_measure(const uint8_t *rgb, int64_t width, int64_t height, sw_artefacts *out)
{
    count_light(rgb, width * height, out);
    out->pen_fraction = pen_fraction(rgb, width * height);
    out->laplacian_variance = laplacian_variance(rgb, width, height);
}

sw_left_out sw_artefacts_find(const uint8_t *rgb, int64_t width, int64_t height, const sw_artefact_options *o)
{
    sw_artefacts m = {.laplacian_variance = INFINITY}; /* what is not asked for is not measured and leaves nothing out */
    if (o->max_black_fraction < 1 || o->max_white_fraction < 1) count_light(rgb, width * height, &m);
    sw_left_out kind = sw_artefacts_judge(&m, o);
    if (kind == SW_LEFT_NOT && o->max_pen_fraction < 1) m.pen_fraction = pen_fraction(rgb, width * height);
    if (kind == SW_LEFT_NOT) kind = sw_artefacts_judge(&m, o);
    if (kind == SW_LEFT_NOT && o->min_laplacian_variance > 0) m.laplacian_variance = laplacian_variance(rgb, width, height);
    return kind == SW_LEFT_NOT ? sw_artefacts_judge(&m, o) : kind;
}

sw_left_out sw_artefacts_judge(const sw_artefacts *m, const sw_artefact_options *o)
{
    if (m->black_fraction > o->max_black_fraction) return SW_LEFT_BLACK;
    if (m->white_fraction > o->max_white_fraction) return SW_LEFT_WHITE;
    if (m->pen_fraction > o->max_pen_fraction) return SW_LEFT_PEN;
    return m->laplacian_variance < o->min_laplacian_variance ? SW_LEFT_BLURRED : SW_LEFT_NOT;
}
