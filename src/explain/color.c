/* SPDX-License-Identifier: Apache-2.0 */
/* The heat colours: a path through Oklab (Ottosson 2020) from deep violet over blue and green to light yellow,
 * in which lightness rises in equal steps, so that equal differences of heat look equal, also in grey. */
#include <math.h>

#include "explain/explain.h"

#define STEPS 256

/* Linear sRGB of an Oklab colour; false when it lies outside the screen's gamut. */
static bool oklab_to_linear(double L, double a, double b, double rgb[3])
{
    double l = L + 0.3963377774 * a + 0.2158037573 * b;
    double m = L - 0.1055613458 * a - 0.0638541728 * b;
    double s = L - 0.0894841775 * a - 1.2914855480 * b;
    bool inside = true;
    l = l * l * l;
    m = m * m * m;
    s = s * s * s;
    rgb[0] = 4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s;
    rgb[1] = -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s;
    rgb[2] = -0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s;
    for (int c = 0; c < 3; c++) inside = inside && rgb[c] >= 0 && rgb[c] <= 1;
    return inside;
}

static uint8_t gamma_byte(double linear)
{
    double v = linear <= 0.0031308 ? 12.92 * linear : 1.055 * pow(linear, 1 / 2.4) - 0.055;
    v = v < 0 ? 0 : v > 1 ? 1 : v;
    return (uint8_t)(v * 255 + 0.5);
}

void sw_heat_color(double t, uint8_t rgb[3])
{
    const double degree = 3.14159265358979323846 / 180;
    double linear[3], chroma, lightness, hue;
    t = t > 0 ? t < 1 ? t : 1 : 0; /* NaN: 0 */
    lightness = 0.27 + 0.66 * t;
    hue = (300 - 200 * t) * degree;
    /* As colourful as the narrowest place of the path (teal) allows, a little more towards both ends. */
    chroma = 0.095 + 0.14 * (t - 0.4) * (t - 0.4);
    while (chroma > 0 && !oklab_to_linear(lightness, chroma * cos(hue), chroma * sin(hue), linear)) chroma -= 0.001;
    for (int c = 0; c < 3; c++) rgb[c] = gamma_byte(linear[c]);
}

void sw_heat_blend(const float *heat, int64_t pixels, double alpha, uint8_t *rgb)
{
    uint8_t table[STEPS][3];
    for (int i = 0; i < STEPS; i++) sw_heat_color((double)i / (STEPS - 1), table[i]);
    for (int64_t p = 0; p < pixels; p++) {
        const uint8_t *color;
        if (isnan(heat[p])) continue;
        color = table[(int)(heat[p] * (STEPS - 1) + 0.5f)];
        for (int c = 0; c < 3; c++) {
            rgb[3 * p + c] = (uint8_t)(rgb[3 * p + c] * (1 - alpha) + color[c] * alpha + 0.5);
        }
    }
}
