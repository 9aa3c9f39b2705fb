/* SPDX-License-Identifier: Apache-2.0 */
/* Where a model looked: attention heatmaps, tiles for QuPath, contact sheets, tables, focus scores. */
#ifndef SLIDEWISE_EXPLAIN_H
#define SLIDEWISE_EXPLAIN_H

#include <stddef.h>
#include <stdint.h>

#include "slidewise/error.h"
#include "slidewise/eval.h"
#include "slidewise/log.h"

#ifdef __cplusplus
extern "C" {
#endif

struct sw_slide;            /* slidewise/slide.h */
struct sw_slide_prediction; /* slidewise/predict.h */

#define SW_HEAD_MEAN (-1)

/* Attention of a slide's patches; everything is borrowed. */
typedef struct sw_attention_map {
    const char *slide_id;
    int64_t n_patches;
    int n_heads;
    const int64_t *xy;         /* [n_patches, 2] top-left corners, level-0 pixels */
    double patch_level0_px;    /* side of a patch in level-0 pixels */
    double mpp_um;             /* resolution of the patches the encoder saw; 0: unknown */
    int patch_px;              /* side the encoder saw */
    const float *attention;    /* [n_heads, n_patches] */
    int n_classes;             /* 0: no contributions */
    const float *contribution; /* [n_classes, n_patches] what each patch adds to each logit; may be NULL */
    const char *const *class_name; /* [n_classes]; may be NULL */
} sw_attention_map;

/* A map that borrows a prediction's arrays. SW_E_INVALID with a sentence when the prediction has no attention. */
SW_API sw_status sw_attention_map_of(const struct sw_slide_prediction *prediction, sw_attention_map *out,
                                     sw_error *err) SW_MUST_CHECK;

typedef enum sw_heat_scale {
    SW_HEAT_RANK,   /* percentile rank: 0 the least attended patch, 1 the most; ties share the mean rank */
    SW_HEAT_MIN_MAX /* (a - min) / (max - min) */
} sw_heat_scale;

typedef struct sw_explain_options {
    int head;                /* head index or SW_HEAD_MEAN (default) */
    sw_heat_scale scale;     /* default SW_HEAT_RANK */
    double alpha;            /* opacity of the heat over the slide, default 0.5 */
    int64_t max_pixels;      /* pixel budget of the picture, default 4 000 000; memory is about 20 bytes each */
    int top;                 /* patches on the contact sheet, default 16; 0: no sheet */
    bool per_head;           /* also write each head into GeoJSON and CSV, default false */
    double slide_mpp_um;     /* resolution of the slide where it carries none, for the scale bar; 0: unknown */
    const char *foci;        /* GeoJSON of true foci to score against; NULL: none */
    const sw_sink *sink;     /* may be NULL */
} sw_explain_options;
SW_API sw_explain_options sw_explain_options_default(void);

/* Attention of one head (or the mean of the heads, each normalised to sum 1): out [n_patches], sums to 1. */
SW_API sw_status sw_attention_of_head(const sw_attention_map *map, int head, double *out, sw_error *err)
    SW_MUST_CHECK;
/* Values scaled into [0, 1]; all equal values become 0.5. */
SW_API sw_status sw_heat_scaled(const double *value, int64_t n, sw_heat_scale scale, double *out, sw_error *err)
    SW_MUST_CHECK;
/* The colour map: t in [0, 1] -> sRGB. A ramp of our own, built in Oklab so that lightness rises evenly. */
SW_API void sw_heat_color(double t, uint8_t rgb[3]);

/* Heat over the slide's thumbnail with legend and scale bar, as PNG. Overlapping patches are averaged. */
SW_API sw_status sw_heatmap_png(struct sw_slide *slide, const sw_attention_map *map,
                                const sw_explain_options *options, const char *path, sw_error *err) SW_MUST_CHECK;
/* The most attended patches, read from the slide, each with rank and attention, as PNG. */
SW_API sw_status sw_heatmap_sheet(struct sw_slide *slide, const sw_attention_map *map,
                                  const sw_explain_options *options, const char *path, sw_error *err) SW_MUST_CHECK;
/* A FeatureCollection of tile objects in level-0 pixels, coloured as the picture, with measurements attention (mean 1
 * over the slide: a_n * N), percentile (0 to 1), rank (1: most) and, if asked, one per head; QuPath (0.4 and newer)
 * shows it with Measurement Maps. */
SW_API sw_status sw_heatmap_geojson(const sw_attention_map *map, const sw_explain_options *options,
                                    const char *path, sw_error *err) SW_MUST_CHECK;
/* CSV: rank,level0_x,level0_y,level0_size,attention[,attention_head<h>…][,logit_<class>…], one line a patch
 * in the order of the map. */
SW_API sw_status sw_heatmap_csv(const sw_attention_map *map, const sw_explain_options *options, const char *path,
                                sw_error *err) SW_MUST_CHECK;

/* ---- foci --------------------------------------------------------------------------------------- */

typedef struct sw_foci sw_foci; /* polygons with holes, level-0 pixels */
/* Reads Polygon and MultiPolygon geometries of a GeoJSON file (a FeatureCollection, a list of features, one
 * feature or a bare geometry); other geometry types are an error that names them. No polygon at all is fine. */
SW_API sw_status sw_foci_read(const char *path, sw_foci **out, sw_error *err) SW_MUST_CHECK;
SW_API void sw_foci_free(sw_foci *foci);
SW_API int64_t sw_foci_count(const sw_foci *foci);
SW_API bool sw_foci_contains(const sw_foci *foci, double level0_x, double level0_y); /* even-odd within a polygon */
/* Share of a square's area inside the foci, in [0, 1] (16 x 16 sample points). */
SW_API double sw_foci_overlap(const sw_foci *foci, double level0_x, double level0_y, double side_px);

typedef struct sw_focus_score {
    int64_t n_patches, n_positive; /* positive: centre inside a focus, or at least 25 % of the area */
    int64_t n_foci, n_found;       /* foci touched by one of the top patches (as positives are touched) */
    double auc;                    /* attention ranks positives above negatives; NaN: one side is empty */
    int top;                       /* patches looked at for the next: min(k, n_patches) */
    double top_hits;               /* share of the `top` most attended patches that are positive */
    double top_expected;           /* the same for a random order: n_positive / n_patches */
} sw_focus_score;
SW_API sw_status sw_focus_score_of(const sw_foci *foci, const sw_attention_map *map, int head, int top,
                                   sw_focus_score *out, sw_error *err) SW_MUST_CHECK;

/* ---- all of it ---------------------------------------------------------------------------------- */

/* Writes DIR/<slide>.png, .geojson, _top.png, .csv and .json (creating DIR). <slide>.json is what the report reads:
 * (of a survival model "risk" and "survival", by the end of each bin, instead of "predicted" and "probability")
 * {"slide","predicted","probability":{"<class>":p},"n_patches","n_heads","head","scale","mpp_um",
 *  "attention":{"threshold","sparsity","below_mean","entropy_gap","gini"},
 *  "focus":{"n_positive","n_foci","n_found","auc","top","top_hits","top_expected"} (with foci only)}. */
SW_API sw_status sw_explain_slide(struct sw_slide *slide, const struct sw_slide_prediction *prediction,
                                  const char *const *class_names, const char *dir,
                                  const sw_explain_options *options, sw_focus_score *focus, sw_error *err)
    SW_MUST_CHECK;

#ifdef __cplusplus
}
#endif

#endif
