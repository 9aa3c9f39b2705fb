/* SPDX-License-Identifier: Apache-2.0 */
/* Stroma, fat, glands, vessels and the ground of foci: everything but the nuclei. */
#include <math.h>
#include <string.h>

#include "slide/synth.h"

#define FAT_CELL_UM 46.0f
#define VESSEL_CELL_UM 170.0f
#define COARSE_PX 8 /* slow fields are computed on every eighth pixel and interpolated */
#define COARSE_MAX 40

static float pixel_x(const sw_canvas *c, int64_t column)
{
    return ((float)(c->x + column) + 0.5f) * c->scene->mpp_um;
}

static float pixel_y(const sw_canvas *c, int64_t row)
{
    return ((float)(c->y + row) + 0.5f) * c->scene->mpp_um;
}

static int32_t cell_of(float position_um, float cell_um)
{
    return (int32_t)floorf(position_um / cell_um);
}

/* ---- slow fields */

typedef float (*field_fn)(const sw_scene *scene, float x, float y);

typedef struct coarse {
    float at[COARSE_MAX][COARSE_MAX];
} coarse;

static void coarse_fill(const sw_canvas *c, field_fn fn, coarse *out)
{
    int64_t rows = c->height / COARSE_PX + 2, columns = c->width / COARSE_PX + 2;
    for (int64_t j = 0; j < rows; j++) {
        for (int64_t i = 0; i < columns; i++)
            out->at[j][i] = fn(c->scene, pixel_x(c, i * COARSE_PX), pixel_y(c, j * COARSE_PX));
    }
}

static float coarse_at(const coarse *f, int64_t column, int64_t row)
{
    int64_t i = column / COARSE_PX, j = row / COARSE_PX;
    float u = (float)(column % COARSE_PX) / COARSE_PX, v = (float)(row % COARSE_PX) / COARSE_PX;
    float top = f->at[j][i] * (1.0f - u) + f->at[j][i + 1] * u;
    float low = f->at[j + 1][i] * (1.0f - u) + f->at[j + 1][i + 1] * u;
    return top * (1.0f - v) + low * v;
}

static float fibre_across(const sw_scene *scene, float x, float y)
{
    float u;
    return sw_scene_fibre(scene, x, y, &u);
}

/* ---- stroma */

static void stroma_pixel(const sw_canvas *c, float x, float y, float across, int64_t i)
{
    const sw_scene *s = c->scene;
    float along = x * s->fibre_cos + y * s->fibre_sin;
    float coarse_fibre = sw_noise_at(s->noise, along * 0.022f + s->offset[8], across * 0.16f);
    float fine_fibre = sw_noise_at(s->noise, along * 0.07f + s->offset[9], across * 0.55f);
    float mottle = sw_noise_at(s->noise, x * 0.02f + s->offset[10], y * 0.02f);
    float ridge = 1.0f - 2.0f * fabsf(coarse_fibre);
    float e = 0.5f + 0.13f * ridge + 0.1f * fine_fibre + 0.12f * mottle;
    float gap = sw_smooth(0.42f, 0.72f, coarse_fibre + 0.35f * fine_fibre - 0.1f * mottle); /* clefts between bundles */
    c->e[i] = e * (1.0f - 0.8f * gap);
    c->h[i] = 0.07f + 0.03f * mottle;
}

/* ---- fat: white cells with thin walls */

typedef struct fat_seeds {
    int32_t x0, y0;
    int n_x, n_y;
    float x[16][16], y[16][16];
} fat_seeds;

static void fat_seeds_make(const sw_canvas *c, fat_seeds *out)
{
    out->x0 = cell_of(pixel_x(c, 0), FAT_CELL_UM) - 1;
    out->y0 = cell_of(pixel_y(c, 0), FAT_CELL_UM) - 1;
    out->n_x = cell_of(pixel_x(c, c->width), FAT_CELL_UM) + 2 - out->x0;
    out->n_y = cell_of(pixel_y(c, c->height), FAT_CELL_UM) + 2 - out->y0;
    for (int j = 0; j < out->n_y && j < 16; j++) {
        for (int i = 0; i < out->n_x && i < 16; i++) {
            sw_rng rng = sw_scene_rng(c->scene, 1, out->x0 + i, out->y0 + j);
            out->x[j][i] = ((float)(out->x0 + i) + (float)sw_rng_range(&rng, 0.15, 0.85)) * FAT_CELL_UM;
            out->y[j][i] = ((float)(out->y0 + j) + (float)sw_rng_range(&rng, 0.15, 0.85)) * FAT_CELL_UM;
        }
    }
}

/* Distance to the wall between the two nearest cells. */
static float fat_wall(const fat_seeds *seeds, float x, float y)
{
    int ci = cell_of(x, FAT_CELL_UM) - seeds->x0, cj = cell_of(y, FAT_CELL_UM) - seeds->y0;
    float first = 1e9f, second = 1e9f;
    for (int j = cj - 1; j <= cj + 1; j++) {
        for (int i = ci - 1; i <= ci + 1; i++) {
            if (i < 0 || j < 0 || i >= seeds->n_x || j >= seeds->n_y || i >= 16 || j >= 16) continue;
            float dx = x - seeds->x[j][i], dy = y - seeds->y[j][i], d = dx * dx + dy * dy;
            if (d < first) {
                second = first;
                first = d;
            } else if (d < second) {
                second = d;
            }
        }
    }
    return 0.5f * (sqrtf(second) - sqrtf(first));
}

static void fat_pixel(const sw_canvas *c, const fat_seeds *seeds, float fat, float x, float y, int64_t i)
{
    float wobble = 2.0f * sw_noise_at(c->scene->noise, x * 0.06f, y * 0.06f + c->scene->offset[11]);
    float wall = fat_wall(seeds, x + wobble, y - wobble);
    float soft = c->scene->soft_um;
    float inside = sw_smooth(1.0f, 1.6f + soft, wall) * sw_smooth(0.0f, 0.03f, fat);
    c->e[i] *= 1.0f - 0.97f * inside;
    c->h[i] *= 1.0f - 0.95f * inside;
}

/* ---- blobs: what lies inside a closed outline */

typedef void (*blob_fn)(const sw_canvas *c, const void *what, float depth, float x, float y, int64_t i);

/* Calls fn for every pixel whose depth is below `limit`. */
static void blob_pixels(const sw_canvas *c, const sw_blob *blob, float limit, blob_fn fn, const void *what)
{
    float mpp = c->scene->mpp_um, reach = blob->reach * limit;
    int64_t left = (int64_t)floorf((blob->x - reach) / mpp) - c->x, right = (int64_t)ceilf((blob->x + reach) / mpp) - c->x;
    int64_t top = (int64_t)floorf((blob->y - reach) / mpp) - c->y, bottom = (int64_t)ceilf((blob->y + reach) / mpp) - c->y;
    if (left < 0) left = 0;
    if (top < 0) top = 0;
    if (right >= c->width) right = c->width - 1;
    if (bottom >= c->height) bottom = c->height - 1;
    for (int64_t row = top; row <= bottom; row++) {
        float y = pixel_y(c, row);
        for (int64_t column = left; column <= right; column++) {
            float x = pixel_x(c, column), depth = sw_blob_depth(blob, x, y);
            if (depth < limit) fn(c, what, depth, x, y, row * c->width + column);
        }
    }
}

static void mix(float *value, float target, float share)
{
    *value += (target - *value) * share;
}

static void gland_pixel(const sw_canvas *c, const void *what, float depth, float x, float y, int64_t i)
{
    const sw_gland *g = what;
    const sw_noise *noise = c->scene->noise;
    float soft = c->scene->soft_um / g->shape.r;
    float grain = sw_noise_at(noise, x * 0.3f, y * 0.3f + c->scene->offset[12]);
    float body = sw_smooth(1.02f + soft, 1.02f - soft, depth);
    /* Cytoplasm: pale towards the lumen (mucin), denser at the base. */
    float base = sw_smooth(g->lumen, 1.0f, depth);
    mix(&c->e[i], 0.27f + 0.2f * base + 0.06f * grain, body);
    mix(&c->h[i], 0.13f + 0.12f * base + 0.04f * grain, body);
    float edge = g->lumen + 0.05f * sw_noise_at(noise, x * 0.12f, y * 0.12f);
    float lumen = sw_smooth(edge + 1.5f * soft, edge - 1.5f * soft, depth);
    mix(&c->e[i], g->secretion * (0.8f + 0.4f * grain), lumen);
    mix(&c->h[i], 0.02f, lumen);
    float membrane = expf(-(depth - 1.05f) * (depth - 1.05f) / (0.0006f + soft * soft));
    mix(&c->e[i], 0.75f, 0.6f * membrane);
}

static void focus_pixel(const sw_canvas *c, const void *what, float depth, float x, float y, int64_t i)
{
    const sw_blob *focus = what;
    float rough = 0.06f * sw_noise_at(c->scene->noise, x * 0.07f, y * 0.07f);
    float inside = sw_smooth(1.0f + 4.0f / focus->r, 1.0f - 4.0f / focus->r, depth + rough);
    float grain = sw_noise_at(c->scene->noise, x * 0.12f + c->scene->offset[13], y * 0.12f);
    mix(&c->e[i], 0.38f + 0.1f * grain, inside); /* amphophilic cytoplasm */
    mix(&c->h[i], 0.27f + 0.08f * grain, inside);
}

static void lymph_pixel(const sw_canvas *c, const void *what, float depth, float x, float y, int64_t i)
{
    const sw_blob *aggregate = what;
    float grain = sw_noise_at(c->scene->noise, x * 0.12f + c->scene->offset[13], y * 0.12f);
    float inside = sw_smooth(1.0f + 8.0f / aggregate->r, 1.0f - 8.0f / aggregate->r, depth + 0.05f * grain);
    mix(&c->e[i], 0.25f + 0.06f * grain, inside);
    mix(&c->h[i], 0.17f + 0.05f * grain, inside);
}

/* A small vessel: a wall, and red cells in it. */
static void vessel_pixel(const sw_canvas *c, const void *what, float depth, float x, float y, int64_t i)
{
    const sw_blob *vessel = what;
    float soft = c->scene->soft_um / vessel->r;
    float inside = sw_smooth(1.0f + soft, 1.0f - soft, depth);
    float lumen = sw_smooth(0.8f + soft, 0.8f - soft, depth);
    mix(&c->e[i], 0.62f, inside);
    mix(&c->h[i], 0.1f, inside);
    mix(&c->e[i], 0.05f, lumen);
    mix(&c->h[i], 0.02f, lumen);
    /* Cells on a staggered lattice of 6.4 um, each moved a little; some are missing. */
    int32_t row = cell_of(y, 5.6f);
    float shifted = x + (row & 1 ? 3.2f : 0.0f);
    int32_t column = cell_of(shifted, 6.4f);
    float jitter = sw_noise_at(c->scene->noise, (float)column * 1.0f, (float)row * 1.0f);
    if (jitter < -0.35f) return;
    float dx = shifted - ((float)column + 0.5f) * 6.4f - 0.6f * jitter, dy = y - ((float)row + 0.5f) * 5.6f + 0.5f * jitter;
    float d = sqrtf(dx * dx + dy * dy);
    float cell = sw_smooth(3.0f + 0.5f * c->scene->soft_um, 3.0f - c->scene->soft_um, d) * lumen;
    mix(&c->blood[i], 0.75f + 0.25f * sw_smooth(0.3f, 2.2f, d), cell);
}

static void glands(sw_canvas *c)
{
    float reach = SW_GLAND_CELL_UM;
    int32_t x0 = cell_of(pixel_x(c, 0) - reach, SW_GLAND_CELL_UM) - 1, x1 = cell_of(pixel_x(c, c->width) + reach, SW_GLAND_CELL_UM);
    int32_t y0 = cell_of(pixel_y(c, 0) - reach, SW_GLAND_CELL_UM), y1 = cell_of(pixel_y(c, c->height) + reach, SW_GLAND_CELL_UM);
    sw_gland gland;
    for (int32_t j = y0; j <= y1; j++) {
        for (int32_t i = x0; i <= x1; i++) {
            if (sw_scene_gland(c->scene, i, j, &gland)) blob_pixels(c, &gland.shape, 1.15f, gland_pixel, &gland);
        }
    }
}

static void vessels(sw_canvas *c)
{
    int32_t x0 = cell_of(pixel_x(c, 0), VESSEL_CELL_UM) - 1, x1 = cell_of(pixel_x(c, c->width), VESSEL_CELL_UM) + 1;
    int32_t y0 = cell_of(pixel_y(c, 0), VESSEL_CELL_UM) - 1, y1 = cell_of(pixel_y(c, c->height), VESSEL_CELL_UM) + 1;
    for (int32_t j = y0; j <= y1; j++) {
        for (int32_t i = x0; i <= x1; i++) {
            sw_rng rng = sw_scene_rng(c->scene, 2, i, j);
            if (sw_rng_uniform(&rng) < 0.45) continue;
            float x = ((float)i + (float)sw_rng_uniform(&rng)) * VESSEL_CELL_UM;
            float y = ((float)j + (float)sw_rng_uniform(&rng)) * VESSEL_CELL_UM;
            float r = (float)sw_rng_range(&rng, 8, 19);
            bool stroma = sw_scene_tissue(c->scene, x, y) > 0.15f && sw_scene_gland_field(c->scene, x, y) < 0.02f &&
                          sw_scene_fat_field(c->scene, x, y) < -0.02f;
            sw_blob vessel = sw_blob_make(&rng, x, y, r, 0.2f);
            if (stroma) blob_pixels(c, &vessel, 1.1f, vessel_pixel, &vessel);
        }
    }
}

/* ---- all of it */

void sw_canvas_tissue(sw_canvas *c)
{
    coarse tissue, fat, fibre;
    fat_seeds seeds;
    coarse_fill(c, sw_scene_tissue, &tissue);
    coarse_fill(c, sw_scene_fat_field, &fat);
    coarse_fill(c, fibre_across, &fibre);
    fat_seeds_make(c, &seeds);
    float sharp = 0.012f + 0.012f * c->scene->soft_um;
    for (int64_t row = 0; row < c->height; row++) {
        float y = pixel_y(c, row);
        for (int64_t column = 0; column < c->width; column++) {
            int64_t i = row * c->width + column;
            float depth = coarse_at(&tissue, column, row), x = pixel_x(c, column);
            c->h[i] = c->e[i] = c->blood[i] = c->tissue[i] = 0.0f;
            if (depth < -0.15f) continue;
            depth += 0.05f * sw_noise_at(c->scene->noise, x * 0.09f, y * 0.09f + c->scene->offset[14]); /* ragged border */
            c->tissue[i] = sw_smooth(-sharp, sharp, depth);
            stroma_pixel(c, x, y, coarse_at(&fibre, column, row), i);
            float fatness = coarse_at(&fat, column, row);
            if (fatness > 0.0f) fat_pixel(c, &seeds, fatness, x, y, i);
        }
    }
    vessels(c);
    glands(c);
    for (int i = 0; i < c->scene->n_lymph; i++)
        blob_pixels(c, &c->scene->lymph[i], 1.3f, lymph_pixel, &c->scene->lymph[i]);
    for (int i = 0; i < c->scene->n_foci; i++)
        blob_pixels(c, &c->scene->focus[i], 1.2f, focus_pixel, &c->scene->focus[i]);
}
