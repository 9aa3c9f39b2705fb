/* SPDX-License-Identifier: Apache-2.0 */
/* What is where on a synthetic slide. Stain, pens, folds and lymphocytes know nothing of the label; the foci do. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "slide/synth.h"

#define TWO_PI 6.283185307179586
#define FOCUS_CLEARANCE 0.12f /* of tissue around the middle of a focus, in units of the tissue field */

enum { STREAM_PLAN = 1, STREAM_PATIENT, STREAM_NOISE, STREAM_SCENE, STREAM_CELLS, STREAM_OUTCOME = 15 };

sw_rng sw_scene_rng(const sw_scene *scene, int kind, int32_t cell_x, int32_t cell_y)
{
    return sw_rng_stream(scene->seed, SW_RNG_SYNTH, scene->slide * 16u + STREAM_CELLS + (uint32_t)kind, (uint32_t)cell_x,
                         (uint32_t)cell_y);
}

static sw_rng stream(uint64_t seed, int kind, uint32_t index)
{
    return sw_rng_stream(seed, SW_RNG_SYNTH, index * 16u, (uint32_t)kind, UINT32_MAX);
}

static float between(sw_rng *rng, double low, double high)
{
    return (float)sw_rng_range(rng, low, high);
}

/* ---- shapes */

sw_blob sw_blob_make(sw_rng *rng, float x, float y, float r, float waviness)
{
    sw_blob blob = {.x = x, .y = y, .r = r};
    float sum = 0.0f;
    for (int i = 0; i < SW_BLOB_WAVES; i++) {
        float amplitude = waviness * between(rng, 0.3, 1.0) / (float)(i + 1);
        double phase = sw_rng_range(rng, 0, TWO_PI);
        blob.cos_k[i] = amplitude * (float)cos(phase);
        blob.sin_k[i] = amplitude * (float)sin(phase);
        sum += amplitude;
    }
    blob.reach = r * (1.0f + sum);
    return blob;
}

float sw_blob_depth(const sw_blob *blob, float x, float y)
{
    float dx = x - blob->x, dy = y - blob->y;
    float distance = sqrtf(dx * dx + dy * dy);
    if (distance < 1e-6f) return 0.0f;
    float c = dx / distance, s = dy / distance;
    float re = c, im = s, radius = 1.0f; /* (c + i s)^k */
    for (int i = 0; i < SW_BLOB_WAVES; i++) {
        float next = re * c - im * s;
        im = re * s + im * c;
        re = next;
        radius += blob->cos_k[i] * re + blob->sin_k[i] * im;
    }
    return distance / (blob->r * (radius > 0.2f ? radius : 0.2f));
}

void sw_blob_point(const sw_blob *blob, double angle, double *x, double *y)
{
    double radius = 1.0;
    for (int i = 0; i < SW_BLOB_WAVES; i++)
        radius += (double)blob->cos_k[i] * cos((i + 2) * angle) + (double)blob->sin_k[i] * sin((i + 2) * angle);
    radius = (double)blob->r * (radius > 0.2 ? radius : 0.2);
    *x = (double)blob->x + radius * cos(angle);
    *y = (double)blob->y + radius * sin(angle);
}

/* ---- fields */

static float octaves(const sw_noise *noise, float x, float y, int n)
{
    float sum = 0.0f, weight = 1.0f, total = 0.0f;
    for (int i = 0; i < n; i++) {
        sum += weight * sw_noise_at(noise, x + 17.3f * (float)i, y - 9.7f * (float)i);
        total += weight;
        weight *= 0.5f;
        x *= 2.03f;
        y *= 2.03f;
    }
    return sum / total;
}

float sw_scene_tissue(const sw_scene *scene, float x, float y)
{
    float best = -9.0f;
    for (int i = 0; i < scene->n_lobes; i++) {
        float depth = (1.0f - sw_blob_depth(&scene->lobe[i], x, y)) * scene->lobe[i].r * 0.01f;
        best = depth > best ? depth : best;
    }
    if (best < -1.5f) return best;
    return best + 0.42f * octaves(scene->noise, x * 0.011f + scene->offset[0], y * 0.011f + scene->offset[1], 4);
}

float sw_scene_gland_field(const sw_scene *scene, float x, float y)
{
    return octaves(scene->noise, x * 0.0042f + scene->offset[2], y * 0.0042f + scene->offset[3], 2) - scene->gland_level;
}

float sw_scene_fat_field(const sw_scene *scene, float x, float y)
{
    return octaves(scene->noise, x * 0.0037f + scene->offset[4], y * 0.0037f + scene->offset[5], 3) - scene->fat_level;
}

float sw_scene_fibre(const sw_scene *scene, float x, float y, float *u)
{
    float bend = 55.0f * octaves(scene->noise, x * 0.0065f + scene->offset[6], y * 0.0065f + scene->offset[7], 2);
    *u = x * scene->fibre_cos + y * scene->fibre_sin;
    return y * scene->fibre_cos - x * scene->fibre_sin + bend;
}

bool sw_scene_gland(const sw_scene *scene, int32_t cell_x, int32_t cell_y, sw_gland *out)
{
    float shift = cell_y & 1 ? 0.5f : 0.0f;
    float x = ((float)cell_x + 0.5f + shift) * SW_GLAND_CELL_UM, y = ((float)cell_y + 0.5f) * SW_GLAND_CELL_UM;
    if (sw_scene_gland_field(scene, x, y) < 0.0f || sw_scene_fat_field(scene, x, y) > -0.05f) return false;
    sw_rng rng = sw_scene_rng(scene, 0, cell_x, cell_y);
    if (sw_rng_uniform(&rng) < 0.12) return false;
    float r = between(&rng, 22, 40);
    if (sw_rng_uniform(&rng) < 0.12) r = between(&rng, 40, 45); /* dilated */
    float room = SW_GLAND_CELL_UM * 0.5f - r;
    x += between(&rng, -room, room);
    y += between(&rng, -room, room);
    if (sw_scene_tissue(scene, x, y) < r * 0.01f) return false;
    for (int i = 0; i < scene->n_foci; i++) {
        if (sw_blob_depth(&scene->focus[i], x, y) < 1.0f + 0.8f * r / scene->focus[i].r) return false;
    }
    for (int i = 0; i < scene->n_lymph; i++) {
        if (sw_blob_depth(&scene->lymph[i], x, y) < 1.0f + 0.5f * r / scene->lymph[i].r) return false;
    }
    *out = (sw_gland){.shape = sw_blob_make(&rng, x, y, r, 0.12f),
                      .lumen = between(&rng, 0.22, 0.5),
                      .secretion = sw_rng_uniform(&rng) < 0.3 ? between(&rng, 0.15, 0.4) : 0.0f};
    return true;
}

/* ---- plan of all slides */

sw_status sw_synth_check(const sw_synth_options *o, sw_error *err)
{
    if (o->n_slides < 1 || o->n_slides > 9999)
        return sw_error_set(err, SW_E_INVALID, "%d slides cannot be made: ask for 1 to 9999", o->n_slides);
    if (o->size_px < 512 || o->size_px > 32768) {
        return sw_error_set(err, SW_E_INVALID, "slides of %lld pixels cannot be made: ask for 512 to 32768",
                            (long long)o->size_px);
    }
    if (!(o->mpp_um >= 0.1 && o->mpp_um <= 2.0))
        return sw_error_set(err, SW_E_INVALID, "slides of %g microns per pixel cannot be made: ask for 0.1 to 2", o->mpp_um);
    if (!(o->effect >= 0 && o->effect <= 10) || !(o->noise >= 0 && o->noise <= 4))
        return sw_error_set(err, SW_E_INVALID, "times with the effect %g and the noise %g cannot be made: ask for 0 to 10 and 0 to 4",
                            o->effect, o->noise);
    if (o->threads < 0) return sw_error_set(err, SW_E_INVALID, "%d threads: ask for 1 or more, or 0 for all", o->threads);
    return SW_OK;
}

/* Labels alternate from case to case and every third pair of cases has two slides each, so that classes are balanced
 * and cases of both kinds come in both classes; then the cases are shuffled and numbered. */
sw_status sw_synth_plan(const sw_synth_options *options, sw_synth_slide *plan, sw_error *err)
{
    int n = options->n_slides, left[2] = {n - n / 2, n / 2}, n_cases = 0;
    SW_AUTOFREE int64_t *order = sw_calloc((size_t)n, sizeof *order);
    SW_AUTOFREE int *size = sw_calloc((size_t)n, sizeof *size);
    SW_AUTOFREE bool *tumor = sw_calloc((size_t)n, sizeof *tumor);
    if (!order || !size || !tumor) return sw_nomem(err);
    for (int k = 0; left[0] + left[1] > 0; k++) {
        int label = k % 2, slides = k / 2 % 3 == 2 ? 2 : 1;
        if (slides > left[label]) slides = left[label];
        if (slides == 0) continue;
        left[label] -= slides;
        size[n_cases] = slides;
        tumor[n_cases++] = label == 1;
    }
    for (int i = 0; i < n_cases; i++) order[i] = i;
    sw_rng rng = stream(options->seed, STREAM_PLAN, 0);
    sw_rng_shuffle(&rng, order, (size_t)n_cases);
    int at = 0;
    for (int i = 0; i < n_cases; i++) {
        for (int j = 0; j < size[order[i]]; j++, at++) {
            plan[at] = (sw_synth_slide){.patient = (uint32_t)i, .tumor = tumor[order[i]]};
            snprintf(plan[at].case_id, sizeof plan[at].case_id, "case%03d", i + 1);
            snprintf(plan[at].slide_id, sizeof plan[at].slide_id, "case%03d_%c", i + 1, 'a' + j);
        }
    }
    return SW_OK;
}

void sw_synth_outcome(const sw_synth_options *o, uint32_t patient, int n_foci, double *months, bool *event)
{
    sw_rng rng = stream(o->seed, STREAM_OUTCOME, patient);
    double death = 72.0 * exp(-o->effect * n_foci) * pow(-log(1.0 - sw_rng_uniform(&rng)), o->noise);
    double last_visit = -80.0 * log(1.0 - sw_rng_uniform(&rng));
    *event = death <= last_visit;
    *months = floor(10.0 * fmin(death, last_visit) + 0.5) / 10.0 + 0.1; /* nobody at 0 */
}

/* ---- one slide */

static void stain(sw_scene *scene, uint32_t patient, sw_rng *slide)
{
    static const float H[3] = {0.56f, 0.76f, 0.34f}, E[3] = {0.09f, 0.80f, 0.38f}, GLASS[3] = {243.0f, 242.0f, 244.0f};
    sw_rng rng = stream(scene->seed, STREAM_PATIENT, patient);
    float h_gain = between(&rng, 0.78, 1.2), e_gain = between(&rng, 0.72, 1.25);
    for (int c = 0; c < 3; c++) {
        scene->haematoxylin[c] = h_gain * (H[c] + between(&rng, -0.05, 0.05));
        scene->eosin[c] = e_gain * (E[c] + between(&rng, -0.05, 0.05));
        scene->white[c] = GLASS[c] + between(slide, -1.2, 1.2);
    }
    scene->soft_um = between(slide, 0.35, 0.9);
    scene->gain = between(slide, 0.95, 1.03);
    scene->grain = between(slide, 0.8, 1.8);
}

static void outline(sw_scene *scene, sw_rng *rng)
{
    float side = scene->side_um;
    float x = side * between(rng, 0.47, 0.53), y = side * between(rng, 0.47, 0.53);
    scene->n_lobes = sw_rng_uniform(rng) < 0.45 ? 2 : 1;
    if (scene->n_lobes == 1) {
        scene->lobe[0] = sw_blob_make(rng, x, y, side * between(rng, 0.43, 0.47), 0.07f);
        return;
    }
    double angle = sw_rng_range(rng, 0, TWO_PI);
    float dx = side * 0.17f * (float)cos(angle), dy = side * 0.17f * (float)sin(angle);
    scene->lobe[0] = sw_blob_make(rng, x - dx, y - dy, side * between(rng, 0.29, 0.33), 0.09f);
    scene->lobe[1] = sw_blob_make(rng, x + dx, y + dy, side * between(rng, 0.29, 0.33), 0.09f);
}

/* Area of the tissue in square microns, on a grid. */
static double tissue_area(const sw_scene *scene)
{
    int n = 64, inside = 0;
    for (int i = 0; i < n * n; i++) {
        float x = ((float)(i % n) + 0.5f) * scene->side_um / (float)n, y = ((float)(i / n) + 0.5f) * scene->side_um / (float)n;
        inside += sw_scene_tissue(scene, x, y) > 0.0f;
    }
    return (double)scene->side_um * (double)scene->side_um * inside / (n * n);
}

static bool clear_of(const sw_blob *others, int n, float x, float y, float r)
{
    for (int i = 0; i < n; i++) {
        float dx = x - others[i].x, dy = y - others[i].y, least = 1.15f * (r + others[i].r);
        if (dx * dx + dy * dy < least * least) return false;
    }
    return true;
}

/* A place in the tissue with `r` microns around it, away from the shapes given; shrinks r when there is none. */
static sw_blob place(const sw_scene *scene, sw_rng *rng, float r, float waviness)
{
    float x = scene->lobe[0].x, y = scene->lobe[0].y;
    for (int attempt = 0; attempt < 400; attempt++) {
        x = scene->side_um * between(rng, 0.05, 0.95);
        y = scene->side_um * between(rng, 0.05, 0.95);
        if (attempt % 100 == 99) r *= 0.8f;
        if (sw_scene_tissue(scene, x, y) > r * 0.01f + FOCUS_CLEARANCE && clear_of(scene->focus, scene->n_foci, x, y, r) &&
            clear_of(scene->lymph, scene->n_lymph, x, y, r))
            break;
    }
    return sw_blob_make(rng, x, y, r, waviness);
}

static void foci(sw_scene *scene, sw_rng *rng)
{
    int n = 2 + (int)sw_rng_below(rng, 4);
    double area = tissue_area(scene) * sw_rng_range(rng, 0.055, 0.095), weight[SW_SCENE_FOCI], sum = 0.0;
    for (int i = 0; i < n; i++) sum += weight[i] = sw_rng_range(rng, 0.5, 1.5);
    for (int i = 0; i < n; i++) {
        float r = (float)sqrt(area * weight[i] / sum / 3.14159265358979);
        sw_blob focus = place(scene, rng, r, 0.13f);
        scene->focus[scene->n_foci++] = focus;
    }
}

static sw_band band(const sw_scene *scene, sw_rng *rng, float width)
{
    float side = scene->side_um;
    sw_band b = {.radius = side * between(rng, 0.3, 0.9), .width = width};
    double angle = sw_rng_range(rng, 0, TWO_PI), half = sw_rng_range(rng, 0.12, 0.35) * (double)side / (double)b.radius;
    b.x = side * between(rng, 0.3, 0.7) - b.radius * (float)cos(angle);
    b.y = side * between(rng, 0.3, 0.7) - b.radius * (float)sin(angle);
    b.from = (float)(angle - half);
    b.to = (float)(angle + half);
    return b;
}

static void artefacts(sw_scene *scene, sw_rng *rng)
{
    static const float INK[3][3] = {{1.5f, 0.9f, 0.25f}, {1.3f, 0.35f, 0.9f}, {1.3f, 1.3f, 1.25f}}; /* blue, green, black */
    scene->n_folds = (int)sw_rng_below(rng, 5) / 2; /* 0 0 1 1 2 */
    for (int i = 0; i < scene->n_folds; i++) scene->fold[i] = band(scene, rng, between(rng, 7, 14));
    scene->has_pen = sw_rng_uniform(rng) < 0.25;
    uint64_t ink = sw_rng_below(rng, 3);
    for (int c = 0; c < 3; c++) scene->pen_ink[c] = INK[ink][c];
    scene->pen = band(scene, rng, 0.018f * scene->side_um);
    /* At the border of the slide, as pens are. */
    scene->pen.x += scene->side_um * (scene->pen.x < scene->side_um * 0.5f ? -0.15f : 0.15f);
}

void sw_scene_free(sw_scene **scene)
{
    if (*scene) sw_free((*scene)->noise);
    sw_free(*scene);
    *scene = NULL;
}

sw_status sw_scene_new(const sw_synth_options *options, const sw_synth_slide *slide, int index, sw_scene **out, sw_error *err)
{
    SW_CLEANUP(sw_scene_free) sw_scene *scene = sw_calloc(1, sizeof *scene);
    if (!scene) return sw_nomem(err);
    scene->noise = sw_malloc(sizeof *scene->noise);
    if (!scene->noise) return sw_nomem(err);
    scene->seed = options->seed;
    scene->slide = (uint32_t)index;
    scene->mpp_um = (float)options->mpp_um;
    scene->side_um = (float)((double)options->size_px * options->mpp_um);
    scene->tumor = slide->tumor;
    sw_rng lattice = stream(scene->seed, STREAM_NOISE, (uint32_t)index);
    for (size_t i = 0; i < SW_NOISE_SIDE * SW_NOISE_SIDE; i++)
        scene->noise->at[i] = (float)((double)sw_rng_u32(&lattice) * 0x1p-31 - 1.0);
    sw_rng rng = stream(scene->seed, STREAM_SCENE, (uint32_t)index);
    for (int i = 0; i < 16; i++) scene->offset[i] = between(&rng, 0, SW_NOISE_SIDE);
    double angle = sw_rng_range(&rng, 0, TWO_PI);
    scene->fibre_cos = (float)cos(angle);
    scene->fibre_sin = (float)sin(angle);
    scene->gland_level = between(&rng, -0.35, 0.0);
    scene->fat_level = between(&rng, 0.18, 0.4);
    stain(scene, slide->patient, &rng);
    outline(scene, &rng);
    artefacts(scene, &rng);
    /* Every slide has decoys: aggregates of lymphocytes, crowded and dark, but small and round. */
    int n_lymph = 1 + (int)sw_rng_below(&rng, 3);
    for (int i = 0; i < n_lymph; i++) {
        sw_blob aggregate = place(scene, &rng, between(&rng, 30, 55), 0.15f);
        scene->lymph[scene->n_lymph++] = aggregate;
    }
    if (scene->tumor) foci(scene, &rng); /* last: nothing else depends on the label */
    *out = SW_STEAL(scene);
    return SW_OK;
}
