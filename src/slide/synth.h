/* SPDX-License-Identifier: Apache-2.0 */
/* Synthetic slides, inside: a scene (what is where, in microns) and its rendering. */
#ifndef SW_SLIDE_SYNTH_H
#define SW_SLIDE_SYNTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rng.h"
#include "base/thread.h"
#include "slidewise/synth.h"

/* ---- noise: a random lattice of period 256, read with smooth interpolation */

#define SW_NOISE_SIDE 256
typedef struct sw_noise {
    float at[SW_NOISE_SIDE * SW_NOISE_SIDE]; /* -1 .. 1 */
} sw_noise;

static inline float sw_noise_at(const sw_noise *noise, float x, float y)
{
    float fx = __builtin_floorf(x), fy = __builtin_floorf(y);
    float u = x - fx, v = y - fy;
    unsigned x0 = (unsigned)(int)fx & (SW_NOISE_SIDE - 1), y0 = (unsigned)(int)fy & (SW_NOISE_SIDE - 1);
    unsigned x1 = (x0 + 1) & (SW_NOISE_SIDE - 1), y1 = (y0 + 1) & (SW_NOISE_SIDE - 1);
    u = u * u * (3.0f - 2.0f * u);
    v = v * v * (3.0f - 2.0f * v);
    float top = noise->at[y0 * SW_NOISE_SIDE + x0] * (1.0f - u) + noise->at[y0 * SW_NOISE_SIDE + x1] * u;
    float low = noise->at[y1 * SW_NOISE_SIDE + x0] * (1.0f - u) + noise->at[y1 * SW_NOISE_SIDE + x1] * u;
    return top * (1.0f - v) + low * v;
}

/* 0 below `low`, 1 above `high`, smooth between (low may be the larger one). */
static inline float sw_smooth(float low, float high, float x)
{
    float t = (x - low) / (high - low);
    t = t < 0.0f ? 0.0f : t > 1.0f ? 1.0f : t;
    return t * t * (3.0f - 2.0f * t);
}

/* ---- shapes */

#define SW_BLOB_WAVES 4
/* A closed outline around (x, y): radius r * (1 + sum of cos_k * cos(k a) + sin_k * sin(k a)), k = 2 .. 5. */
typedef struct sw_blob {
    float x, y, r; /* microns */
    float cos_k[SW_BLOB_WAVES], sin_k[SW_BLOB_WAVES];
    float reach; /* no point of the outline is farther from the centre */
} sw_blob;
sw_blob sw_blob_make(sw_rng *rng, float x, float y, float r, float waviness);
/* 0 at the centre, 1 on the outline. */
float sw_blob_depth(const sw_blob *blob, float x, float y);
void sw_blob_point(const sw_blob *blob, double angle, double *x, double *y); /* of the outline */

/* ---- a slide's plan */

#define SW_SCENE_FOCI 5
#define SW_SCENE_LYMPH 4
#define SW_SCENE_FOLDS 2

typedef struct sw_band { /* a fold or a pen stroke: an arc of a circle with a rough edge */
    float x, y, radius, from, to, width; /* angles in radians */
} sw_band;

typedef struct sw_scene {
    uint64_t seed;
    uint32_t slide;        /* index, in the random streams */
    float side_um, mpp_um;
    bool tumor;
    sw_noise *noise;
    sw_blob lobe[2];       /* outline of the tissue */
    int n_lobes;
    float offset[16];      /* shifts that make fields of one lattice independent */
    float fibre_cos, fibre_sin;
    float gland_level, fat_level; /* thresholds of the density fields */
    sw_blob focus[SW_SCENE_FOCI], lymph[SW_SCENE_LYMPH];
    int n_foci, n_lymph;
    sw_band fold[SW_SCENE_FOLDS];
    int n_folds;
    bool has_pen;
    sw_band pen;
    float pen_ink[3];      /* optical density of the ink */
    float haematoxylin[3], eosin[3]; /* optical density per unit of stain, RGB */
    float white[3];        /* 0 .. 255 */
    float soft_um;         /* blur of edges */
    float gain, grain;     /* brightness, noise of the camera */
} sw_scene;

/* Which case a slide belongs to and what it is called; made for all slides at once. */
typedef struct sw_synth_slide {
    char slide_id[32], case_id[32];
    uint32_t patient; /* stain */
    bool tumor;
    int n_foci; /* set when the slide is made */
} sw_synth_slide;
/* plan: [n_slides], caller's. */
sw_status sw_synth_plan(const sw_synth_options *options, sw_synth_slide *plan, sw_error *err) SW_MUST_CHECK;
/* Months to a case's event or to its last visit, which of the two, for a case of `n_foci` foci in all. */
void sw_synth_outcome(const sw_synth_options *options, uint32_t patient, int n_foci, double *months, bool *event);
sw_status sw_synth_check(const sw_synth_options *options, sw_error *err) SW_MUST_CHECK;

sw_status sw_scene_new(const sw_synth_options *options, const sw_synth_slide *slide, int index, sw_scene **out,
                       sw_error *err) SW_MUST_CHECK;
void sw_scene_free(sw_scene **scene);

/* > 0 in tissue, in units of about 100 microns of depth at the border. */
float sw_scene_tissue(const sw_scene *scene, float x, float y);
float sw_scene_gland_field(const sw_scene *scene, float x, float y); /* > 0: glands grow here */
float sw_scene_fat_field(const sw_scene *scene, float x, float y);   /* > 0: fat */
float sw_scene_fibre(const sw_scene *scene, float x, float y, float *u); /* coordinate across the fibres; *u along */
sw_rng sw_scene_rng(const sw_scene *scene, int kind, int32_t cell_x, int32_t cell_y);

/* ---- glands, on a staggered grid */

#define SW_GLAND_CELL_UM 96.0f
typedef struct sw_gland {
    sw_blob shape;
    float lumen;     /* share of the radius */
    float secretion; /* eosin in the lumen */
} sw_gland;
bool sw_scene_gland(const sw_scene *scene, int32_t cell_x, int32_t cell_y, sw_gland *out); /* false: no gland in the cell */

/* ---- rendering */

/* Stain amounts of a rectangle; all [height, width]. */
typedef struct sw_canvas {
    const sw_scene *scene;
    int64_t x, y, width, height; /* level-0 pixels */
    float *h, *e;  /* haematoxylin, eosin */
    float *blood;  /* 0 .. 1 */
    float *tissue; /* 0: glass, 1: tissue */
} sw_canvas;

void sw_canvas_tissue(sw_canvas *canvas); /* stroma, fat, glands, foci without nuclei, vessels */
void sw_canvas_nuclei(sw_canvas *canvas);
void sw_canvas_develop(const sw_canvas *canvas, uint8_t *rgb, size_t row_bytes); /* light, pen, dust, grain */

/* rgb: height rows of row_bytes. */
sw_status sw_scene_render(const sw_scene *scene, int64_t x, int64_t y, int64_t width, int64_t height, uint8_t *rgb,
                          size_t row_bytes, sw_error *err) SW_MUST_CHECK;

/* ---- files */

/* Renders the scene into a pyramidal TIFF; the file appears under its name when it is whole. */
sw_status sw_synth_tiff(const sw_scene *scene, int64_t size_px, const char *path, sw_pool *pool, sw_error *err) SW_MUST_CHECK;

#endif
