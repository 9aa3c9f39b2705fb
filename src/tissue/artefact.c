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

static void count_colours(const uint8_t *rgb, int64_t n, sw_artefacts *out)
{
    int64_t black = 0, white = 0, ink = 0;
    for (int64_t i = 0; i < n; i++) {
        int r = rgb[3 * i], g = rgb[3 * i + 1], b = rgb[3 * i + 2];
        int high = r > g ? r : g, low = r < g ? r : g;
        high = b > high ? b : high;
        low = b < low ? b : low;
        black += high < BLACK_BELOW;
        white += low > WHITE_ABOVE;
        ink += is_ink(r, g, b, high, low);
    }
    out->black_fraction = (double)black / (double)n;
    out->white_fraction = (double)white / (double)n;
    out->pen_fraction = (double)ink / (double)n;
}

/* ---- blur */

static int luma(const uint8_t *rgb, int64_t at)
{
    const uint8_t *p = rgb + 3 * at;
    return (4899 * p[0] + 9617 * p[1] + 1868 * p[2] + 8192) >> 14;
}

/* Index of a neighbour, mirrored at the border. */
static int64_t mirrored(int64_t i, int64_t n)
{
    if (n == 1) return 0;
    return i < 0 ? -i : i >= n ? 2 * n - 2 - i : i;
}

static double laplacian_variance(const uint8_t *rgb, int64_t width, int64_t height)
{
    int64_t sum = 0, squares = 0; /* of at most 1020, and a patch has at most 2^32 pixels: no overflow */
    for (int64_t y = 0; y < height; y++) {
        int64_t up = mirrored(y - 1, height) * width, here = y * width, down = mirrored(y + 1, height) * width;
        for (int64_t x = 0; x < width; x++) {
            int value = luma(rgb, up + x) + luma(rgb, down + x) + luma(rgb, here + mirrored(x - 1, width)) +
                        luma(rgb, here + mirrored(x + 1, width)) - 4 * luma(rgb, here + x);
            sum += value;
            squares += value * value;
        }
    }
    double n = (double)(width * height), mean = (double)sum / n;
    return (double)squares / n - mean * mean;
}

void sw_artefacts_measure(const uint8_t *rgb, int64_t width, int64_t height, sw_artefacts *out)
{
    count_colours(rgb, width * height, out);
    out->laplacian_variance = laplacian_variance(rgb, width, height);
}

sw_left_out sw_artefacts_judge(const sw_artefacts *m, const sw_artefact_options *o)
{
    if (m->black_fraction > o->max_black_fraction) return SW_LEFT_BLACK;
    if (m->white_fraction > o->max_white_fraction) return SW_LEFT_WHITE;
    if (m->pen_fraction > o->max_pen_fraction) return SW_LEFT_PEN;
    return m->laplacian_variance < o->min_laplacian_variance ? SW_LEFT_BLURRED : SW_LEFT_NOT;
}
