/* SPDX-License-Identifier: Apache-2.0 */
/* From stain amounts to pixels: absorption (Beer-Lambert), folds, pen, dust, vignetting and the camera's grain. */
#include <math.h>

#include "base/mem.h"
#include "slide/synth.h"

#define DUST_CELL_UM 210.0f
#define STRIP_PX 256

/* 1 in the middle of the band, 0 beyond its edge. */
static float band_at(const sw_scene *s, const sw_band *b, float x, float y, float roughness)
{
    float dx = x - b->x, dy = y - b->y, d = sqrtf(dx * dx + dy * dy) - b->radius;
    if (fabsf(d) > 3.0f * b->width) return 0.0f;
    float angle = atan2f(dy, dx), middle = 0.5f * (b->from + b->to);
    float off = fabsf(remainderf(angle - middle, 6.2831853f)) - 0.5f * (b->to - b->from);
    float rough = roughness * b->width * sw_noise_at(s->noise, x * 0.03f, y * 0.03f + s->offset[15]);
    float end = sw_smooth(2.0f * b->width, -2.0f * b->width, off * b->radius);
    return end * sw_smooth(b->width, 0.55f * b->width, fabsf(d + rough));
}

static void absorb(const sw_scene *s, const sw_canvas *c, int64_t i, float x, float y, float density[3])
{
    float depth = c->tissue[i];
    float h = c->h[i] * depth, e = c->e[i] * depth, blood = c->blood[i] * depth;
    for (int k = 0; k < s->n_folds; k++) {
        float fold = depth * band_at(s, &s->fold[k], x, y, 0.9f);
        h *= 1.0f + 1.1f * fold;
        e *= 1.0f + 1.2f * fold;
    }
    static const float BLOOD[3] = {0.12f, 0.85f, 0.72f};
    for (int ch = 0; ch < 3; ch++) {
        float stain = h * s->haematoxylin[ch] + e * s->eosin[ch];
        density[ch] = stain + (BLOOD[ch] - stain) * blood;
    }
    if (!s->has_pen) return;
    float pen = band_at(s, &s->pen, x, y, 0.25f);
    if (pen <= 0.0f) return;
    float streak = 0.75f + 0.2f * sw_noise_at(s->noise, x * 0.05f, y * 0.05f);
    for (int ch = 0; ch < 3; ch++) density[ch] += pen * streak * s->pen_ink[ch];
}

/* Specks of dust are few: density of the nearest, for a whole canvas, added where they are. */
static float dust_at(const sw_scene *s, float x, float y)
{
    int32_t i = (int32_t)floorf(x / DUST_CELL_UM), j = (int32_t)floorf(y / DUST_CELL_UM);
    unsigned spot = ((unsigned)j & (SW_NOISE_SIDE - 1)) * SW_NOISE_SIDE + ((unsigned)i & (SW_NOISE_SIDE - 1));
    float chance = s->noise->at[spot];
    if (chance < 0.72f) return 0.0f;
    float px = ((float)i + 0.5f + 0.4f * s->noise->at[(spot + 1) % (SW_NOISE_SIDE * SW_NOISE_SIDE)]) * DUST_CELL_UM;
    float py = ((float)j + 0.5f + 0.4f * s->noise->at[(spot + 2) % (SW_NOISE_SIDE * SW_NOISE_SIDE)]) * DUST_CELL_UM;
    float r = 1.5f + 12.0f * (chance - 0.72f), dx = x - px, dy = y - py;
    if (dx * dx + dy * dy > 4.0f * r * r) return 0.0f;
    float d = sqrtf(dx * dx + dy * dy) * (1.0f + 0.4f * sw_noise_at(s->noise, x * 0.4f, y * 0.4f));
    return 0.5f * sw_smooth(r, 0.4f * r, d);
}

/* One small integer per pixel, from the position alone. */
static float grain_at(uint32_t x, uint32_t y, uint32_t seed)
{
    uint32_t v = x * 0x9E3779B1u ^ (y * 0x85EBCA77u + seed);
    v = (v ^ v >> 15) * 0x2C1B3C6Du;
    v = (v ^ v >> 12) * 0x297A2D39u;
    v ^= v >> 15;
    return (float)((int32_t)(v & 0xFFFF) + (int32_t)(v >> 16) - 65535) * (1.0f / 65536.0f); /* triangular, -1 .. 1 */
}

static uint8_t to_byte(float value)
{
    value += 0.5f;
    return value <= 0.0f ? 0 : value >= 255.0f ? 255 : (uint8_t)value;
}

void sw_canvas_develop(const sw_canvas *c, uint8_t *rgb, size_t row_bytes)
{
    const sw_scene *s = c->scene;
    uint32_t seed = (uint32_t)s->seed * 2654435761u + s->slide * 40503u;
    for (int64_t row = 0; row < c->height; row++) {
        uint8_t *out = rgb + (size_t)row * row_bytes;
        float y = ((float)(c->y + row) + 0.5f) * s->mpp_um, v = y / s->side_um - 0.5f;
        for (int64_t column = 0; column < c->width; column++, out += 3) {
            float x = ((float)(c->x + column) + 0.5f) * s->mpp_um, u = x / s->side_um - 0.5f, density[3];
            absorb(s, c, row * c->width + column, x, y, density);
            float dust = dust_at(s, x, y), light = s->gain * (1.0f - 0.06f * (u * u + v * v));
            float grain = s->grain * grain_at((uint32_t)(c->x + column), (uint32_t)(c->y + row), seed);
            for (int ch = 0; ch < 3; ch++) out[ch] = to_byte(s->white[ch] * light * expf(-density[ch] - dust) + grain);
        }
    }
}

static sw_status render_block(const sw_scene *scene, float *planes, int64_t x, int64_t y, int64_t width, int64_t height,
                              uint8_t *rgb, size_t row_bytes)
{
    size_t n = (size_t)(width * height);
    sw_canvas c = {.scene = scene, .x = x, .y = y, .width = width, .height = height, .h = planes, .e = planes + n,
                   .blood = planes + 2 * n, .tissue = planes + 3 * n};
    sw_canvas_tissue(&c);
    sw_canvas_nuclei(&c);
    sw_canvas_develop(&c, rgb, row_bytes);
    return SW_OK;
}

/* In blocks on a fixed grid, so that a rectangle's pixels do not depend on how it was asked for. */
sw_status sw_scene_render(const sw_scene *scene, int64_t x, int64_t y, int64_t width, int64_t height, uint8_t *rgb,
                          size_t row_bytes, sw_error *err)
{
    SW_AUTOFREE float *planes = sw_malloc((size_t)4 * STRIP_PX * STRIP_PX * sizeof *planes);
    SW_AUTOFREE uint8_t *block = sw_malloc((size_t)3 * STRIP_PX * STRIP_PX);
    if (!planes || !block) return sw_nomem(err);
    for (int64_t by = y / STRIP_PX * STRIP_PX; by < y + height; by += STRIP_PX) {
        for (int64_t bx = x / STRIP_PX * STRIP_PX; bx < x + width; bx += STRIP_PX) {
            SW_TRY(render_block(scene, planes, bx, by, STRIP_PX, STRIP_PX, block, (size_t)3 * STRIP_PX));
            int64_t x0 = bx > x ? bx : x, x1 = bx + STRIP_PX < x + width ? bx + STRIP_PX : x + width;
            int64_t y0 = by > y ? by : y, y1 = by + STRIP_PX < y + height ? by + STRIP_PX : y + height;
            for (int64_t row = y0; row < y1; row++) {
                const uint8_t *from = block + 3 * ((row - by) * STRIP_PX + (x0 - bx));
                __builtin_memcpy(rgb + (size_t)(row - y) * row_bytes + 3 * (x0 - x), from, (size_t)(3 * (x1 - x0)));
            }
        }
    }
    return SW_OK;
}
