/* SPDX-License-Identifier: Apache-2.0 */
/* Nuclei: of fibroblasts and scattered lymphocytes, of glands, of fat walls, of lymphocyte aggregates and of foci. */
#include <math.h>

#include "slide/synth.h"

#define TWO_PI 6.2831853f
#define STROMA_CELL_UM 17.0f
#define LYMPH_CELL_UM 6.3f
#define FOCUS_CELL_UM 11.0f
#define REACH_UM 14.0f /* no nucleus is larger */

typedef struct nucleus {
    float x, y;    /* microns */
    float a, b;    /* half axes, microns */
    float cos_t, sin_t;
    float dark;    /* haematoxylin */
    float coarse;  /* contrast of the chromatin */
    float rim;     /* > 0: pale middle, dark membrane */
    float dent2, dent3; /* irregularity of the outline */
    float nucleolus; /* radius, microns; 0: none */
} nucleus;

static float between(sw_rng *rng, double low, double high)
{
    return (float)sw_rng_range(rng, low, high);
}

static void turn(nucleus *n, float angle)
{
    n->cos_t = cosf(angle);
    n->sin_t = sinf(angle);
}

static void nucleus_pixel(const sw_canvas *c, const nucleus *n, float x, float y, int64_t i)
{
    float dx = x - n->x, dy = y - n->y;
    float u = (dx * n->cos_t + dy * n->sin_t) / n->a, v = (dy * n->cos_t - dx * n->sin_t) / n->b;
    float q2 = u * u + v * v;
    if (q2 > 2.6f) return;
    float q = sqrtf(q2), cos_a = u / (q + 1e-6f), sin_a = v / (q + 1e-6f);
    q *= 1.0f + n->dent2 * (cos_a * cos_a - sin_a * sin_a) + n->dent3 * cos_a * (cos_a * cos_a - 3.0f * sin_a * sin_a);
    float soft = 0.5f * c->scene->soft_um / n->b + 0.08f;
    float inside = sw_smooth(1.0f + soft, 1.0f - soft, q);
    if (inside <= 0.0f) return;
    const sw_noise *noise = c->scene->noise;
    float clump = sw_noise_at(noise, x * 0.85f, y * 0.85f) + 0.5f * sw_noise_at(noise, x * 1.7f + 31.0f, y * 1.7f);
    float membrane = 1.0f + 0.22f * sw_smooth(0.62f, 0.92f, q);
    float amount = n->dark * membrane * (1.0f - n->rim * sw_smooth(0.95f, 0.35f, q)) * (1.0f + n->coarse * clump);
    if (n->nucleolus > 0.0f) {
        float ox = dx - 0.25f * n->a * n->cos_t, oy = dy - 0.25f * n->a * n->sin_t;
        amount += 0.7f * sw_smooth(n->nucleolus + 0.5f, n->nucleolus - 0.4f, sqrtf(ox * ox + oy * oy));
    }
    /* Overlapping nuclei darken a little, they do not add up. */
    float under = c->h[i] > 0.45f ? 0.12f * c->h[i] : 0.0f;
    c->h[i] += (amount + under - c->h[i]) * inside;
    c->e[i] += (0.22f - c->e[i]) * 0.8f * inside;
    c->blood[i] *= 1.0f - inside;
}

static void draw(const sw_canvas *c, const nucleus *n)
{
    float mpp = c->scene->mpp_um, reach = 1.35f * (n->a > n->b ? n->a : n->b) + 1.0f;
    int64_t left = (int64_t)floorf((n->x - reach) / mpp) - c->x, right = (int64_t)ceilf((n->x + reach) / mpp) - c->x;
    int64_t top = (int64_t)floorf((n->y - reach) / mpp) - c->y, bottom = (int64_t)ceilf((n->y + reach) / mpp) - c->y;
    if (left < 0) left = 0;
    if (top < 0) top = 0;
    if (right >= c->width) right = c->width - 1;
    if (bottom >= c->height) bottom = c->height - 1;
    for (int64_t row = top; row <= bottom; row++) {
        for (int64_t column = left; column <= right; column++) {
            nucleus_pixel(c, n, ((float)(c->x + column) + 0.5f) * mpp, ((float)(c->y + row) + 0.5f) * mpp,
                          row * c->width + column);
        }
    }
}

/* ---- where cells lie */

typedef struct cells {
    int32_t x0, x1, y0, y1;
} cells;

/* Cells of a grid that reach into the canvas or into a box around a blob, whichever is smaller. */
static cells cells_of(const sw_canvas *c, const sw_blob *blob, float cell_um, float reach)
{
    float mpp = c->scene->mpp_um;
    float left = (float)c->x * mpp - reach, right = (float)(c->x + c->width) * mpp + reach;
    float top = (float)c->y * mpp - reach, bottom = (float)(c->y + c->height) * mpp + reach;
    if (blob) {
        float far = 1.45f * blob->reach; /* cells straggle around aggregates */
        left = fmaxf(left, blob->x - far);
        right = fminf(right, blob->x + far);
        top = fmaxf(top, blob->y - far);
        bottom = fminf(bottom, blob->y + far);
    }
    return (cells){(int32_t)floorf(left / cell_um), (int32_t)floorf(right / cell_um), (int32_t)floorf(top / cell_um),
                   (int32_t)floorf(bottom / cell_um)};
}

static bool in_blobs(const sw_blob *blob, int n, float x, float y, float margin_um)
{
    for (int i = 0; i < n; i++) {
        float dx = x - blob[i].x, dy = y - blob[i].y, reach = blob[i].reach + margin_um;
        if (dx * dx + dy * dy < reach * reach && sw_blob_depth(&blob[i], x, y) < 1.0f + margin_um / blob[i].r) return true;
    }
    return false;
}

static bool in_gland(const sw_scene *scene, float x, float y)
{
    int32_t ci = (int32_t)floorf(x / SW_GLAND_CELL_UM), cj = (int32_t)floorf(y / SW_GLAND_CELL_UM);
    sw_gland gland;
    for (int32_t j = cj - 1; j <= cj + 1; j++) {
        for (int32_t i = ci - 1; i <= ci + 1; i++) {
            if (sw_scene_gland(scene, i, j, &gland) && sw_blob_depth(&gland.shape, x, y) < 1.0f + 3.5f / gland.shape.r) return true;
        }
    }
    return false;
}

/* ---- kinds of cells */

static void stroma_nucleus(const sw_canvas *c, int32_t i, int32_t j)
{
    const sw_scene *s = c->scene;
    sw_rng rng = sw_scene_rng(s, 3, i, j);
    if (sw_rng_uniform(&rng) < 0.42) return;
    nucleus n = {.x = ((float)i + (float)sw_rng_uniform(&rng)) * STROMA_CELL_UM,
                 .y = ((float)j + (float)sw_rng_uniform(&rng)) * STROMA_CELL_UM};
    bool round = sw_rng_uniform(&rng) < 0.16;
    if (sw_scene_tissue(s, n.x, n.y) < 0.04f || in_blobs(s->focus, s->n_foci, n.x, n.y, 2.0f) ||
        in_blobs(s->lymph, s->n_lymph, n.x, n.y, 0.0f))
        return;
    if (sw_scene_fat_field(s, n.x, n.y) > 0.0f && sw_rng_uniform(&rng) < 0.9) return;
    if (in_gland(s, n.x, n.y)) return;
    float u, angle;
    float here = sw_scene_fibre(s, n.x, n.y, &u);
    /* Along the fibres: at right angles to the slope of the coordinate across them. */
    float gx = sw_scene_fibre(s, n.x + 2.0f, n.y, &u) - here, gy = sw_scene_fibre(s, n.x, n.y + 2.0f, &u) - here;
    angle = atan2f(gx, -gy) + between(&rng, -0.25, 0.25);
    turn(&n, angle);
    n.a = round ? between(&rng, 2.3, 3.0) : between(&rng, 3.6, 6.0);
    n.b = round ? n.a * between(&rng, 0.85, 1.0) : between(&rng, 1.1, 1.9);
    n.dark = round ? between(&rng, 1.0, 1.35) : between(&rng, 0.65, 1.1);
    n.coarse = 0.15f;
    n.dent3 = between(&rng, -0.1, 0.1);
    draw(c, &n);
}

static void gland_nuclei(const sw_canvas *c, const sw_gland *g, int32_t ci, int32_t cj)
{
    sw_rng rng = sw_scene_rng(c->scene, 4, ci, cj);
    int count = (int)(TWO_PI * g->shape.r * 0.86f / 4.9f);
    for (int k = 0; k < count; k++) {
        float angle = TWO_PI * ((float)k + between(&rng, -0.3, 0.3)) / (float)count;
        double ex, ey;
        sw_blob_point(&g->shape, (double)angle, &ex, &ey);
        bool second = sw_rng_uniform(&rng) < 0.22; /* a second row here and there */
        float depth = 1.0f - (second ? between(&rng, 9, 11.5) : between(&rng, 4.0, 5.4)) / g->shape.r;
        nucleus n = {.x = g->shape.x + depth * ((float)ex - g->shape.x), .y = g->shape.y + depth * ((float)ey - g->shape.y)};
        n.a = between(&rng, 3.3, 4.3);
        n.b = between(&rng, 2.0, 2.6);
        turn(&n, angle + between(&rng, -0.2, 0.2));
        n.dark = between(&rng, 0.85, 1.15);
        n.coarse = 0.18f;
        n.rim = 0.18f;
        n.dent3 = between(&rng, -0.05, 0.05);
        if (depth < g->lumen + 2.5f / g->shape.r) continue;
        draw(c, &n);
    }
}

static void lymph_nucleus(const sw_canvas *c, const sw_blob *aggregate, int32_t i, int32_t j)
{
    sw_rng rng = sw_scene_rng(c->scene, 5, i, j);
    nucleus n = {.x = ((float)i + between(&rng, 0.1, 0.9)) * LYMPH_CELL_UM, .y = ((float)j + between(&rng, 0.1, 0.9)) * LYMPH_CELL_UM};
    float depth = sw_blob_depth(aggregate, n.x, n.y);
    if (sw_rng_uniform(&rng) < (depth < 0.85f ? 0.06 : 0.15 + 0.8 * ((double)depth - 0.85)) || depth > 1.45f) return;
    if (sw_scene_tissue(c->scene, n.x, n.y) < 0.03f) return;
    n.a = between(&rng, 2.3, 2.95);
    n.b = n.a * between(&rng, 0.88, 1.0);
    turn(&n, between(&rng, 0, 6.28));
    n.dark = between(&rng, 1.15, 1.45);
    n.coarse = 0.22f;
    draw(c, &n);
}

/* Crowded, large, of every size and shape, dark or with a pale middle and a nucleolus, in no order. */
static void focus_nucleus(const sw_canvas *c, const sw_blob *focus, int32_t i, int32_t j)
{
    sw_rng rng = sw_scene_rng(c->scene, 6, i, j);
    nucleus n = {.x = ((float)i + between(&rng, 0.12, 0.88)) * FOCUS_CELL_UM, .y = ((float)j + between(&rng, 0.12, 0.88)) * FOCUS_CELL_UM};
    if (sw_rng_uniform(&rng) < 0.05 || sw_blob_depth(focus, n.x, n.y) > 1.0f) return;
    if (sw_scene_tissue(c->scene, n.x, n.y) < 0.03f) return;
    float size = between(&rng, 3.7, 5.9);
    if (sw_rng_uniform(&rng) < 0.08) size = between(&rng, 6.2, 8.5); /* giants */
    float stretch = between(&rng, 1.0, 1.5);
    n.a = size * sqrtf(stretch);
    n.b = size / sqrtf(stretch);
    turn(&n, between(&rng, 0, 6.28));
    n.dent2 = between(&rng, -0.12, 0.12);
    n.dent3 = between(&rng, -0.18, 0.18);
    n.dark = between(&rng, 1.05, 1.7);
    n.coarse = between(&rng, 0.25, 0.45);
    if (sw_rng_uniform(&rng) < 0.35) { /* vesicular */
        n.rim = between(&rng, 0.3, 0.5);
        n.nucleolus = between(&rng, 0.9, 1.5);
    }
    draw(c, &n);
}

typedef void (*cell_fn)(const sw_canvas *c, const sw_blob *blob, int32_t i, int32_t j);

static void cells_in(const sw_canvas *c, const sw_blob *blob, float cell_um, cell_fn fn)
{
    cells r = cells_of(c, blob, cell_um, REACH_UM);
    for (int32_t j = r.y0; j <= r.y1; j++) {
        for (int32_t i = r.x0; i <= r.x1; i++) fn(c, blob, i, j);
    }
}

void sw_canvas_nuclei(sw_canvas *c)
{
    cells r = cells_of(c, NULL, STROMA_CELL_UM, REACH_UM);
    for (int32_t j = r.y0; j <= r.y1; j++) {
        for (int32_t i = r.x0; i <= r.x1; i++) stroma_nucleus(c, i, j);
    }
    r = cells_of(c, NULL, SW_GLAND_CELL_UM, SW_GLAND_CELL_UM);
    sw_gland gland;
    for (int32_t j = r.y0; j <= r.y1; j++) {
        for (int32_t i = r.x0; i <= r.x1; i++) {
            if (sw_scene_gland(c->scene, i, j, &gland)) gland_nuclei(c, &gland, i, j);
        }
    }
    for (int k = 0; k < c->scene->n_lymph; k++) cells_in(c, &c->scene->lymph[k], LYMPH_CELL_UM, lymph_nucleus);
    for (int k = 0; k < c->scene->n_foci; k++) cells_in(c, &c->scene->focus[k], FOCUS_CELL_UM, focus_nucleus);
}
