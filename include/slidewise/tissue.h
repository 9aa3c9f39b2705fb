/* SPDX-License-Identifier: Apache-2.0 */
/* Where the tissue is: saturation, median, threshold, closing, contours with holes (CLAM's method, step by step). */
#ifndef SLIDEWISE_TISSUE_H
#define SLIDEWISE_TISSUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "slidewise/error.h"
#include "slidewise/image.h"
#include "slidewise/slide.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Which points of a patch must lie in the contour (the edge counts as inside). */
typedef enum sw_contour_rule {
    SW_CONTOUR_FOUR_PT,      /* one of four points around the centre */
    SW_CONTOUR_FOUR_PT_HARD, /* all four */
    SW_CONTOUR_CENTER,       /* the centre */
    SW_CONTOUR_BASIC         /* the top-left corner */
} sw_contour_rule;
SW_API const char *sw_contour_rule_name(sw_contour_rule rule); /* "four_pt", … */
SW_API sw_status sw_contour_rule_parse(const char *name, sw_contour_rule *out, sw_error *err) SW_MUST_CHECK;

/* Names and meanings are CLAM's. */
typedef struct sw_tissue_options {
    int seg_level;         /* -1: level 0 of a one-level slide, else the last level with downsample <= 64 */
    int sthresh;           /* saturation > sthresh is tissue, default 8; not used with otsu */
    int mthresh;           /* side of the median window, odd, default 7 */
    int close;             /* side of the closing box, default 4; 0: none */
    bool otsu;             /* default false */
    double a_t, a_h;       /* least area of tissue and of holes in units of (512 level-0 pixels)^2, default 100, 16 */
    int max_n_holes;       /* per contour, the largest ones, default 8 */
    double line_thickness; /* of the overlay picture, level-0 pixels, default 250 */
    bool use_padding;      /* for the grid: patches may reach beyond the slide, default true */
    sw_contour_rule contour_rule; /* for the grid, default SW_CONTOUR_FOUR_PT */
    char keep_ids[64];     /* numbers of contours, from 0 in the order of sw_tissue.contour, with commas: these only; default "": all */
    char exclude_ids[64];  /* the same: without these; default "": none */
    double max_area_share; /* > 0: where a_t would ask for more than this share of the slide's area (small slides), a_t
                              and a_h are reduced in proportion; default 0.01. CLAM has none (presets: 0) */
    int64_t max_pixels;    /* a segmentation level larger than this is read in strips and reduced, default 100 000 000
                              (where CLAM gives up) */
} sw_tissue_options;
SW_API sw_tissue_options sw_tissue_options_default(void);

/* Fills *out from a preset: "default" (the values above), "clam" (CLAM without a preset), "bwh_biopsy",
 * "bwh_resection", "tcga", "tcga_nsclc", or the path of a CLAM preset CSV (columns by name, first row; missing or
 * empty cells keep CLAM's defaults). Untouched on failure. */
SW_API sw_status sw_tissue_options_preset(const char *name_or_csv, sw_tissue_options *out, sw_error *err) SW_MUST_CHECK;

/* A closed ring; the last point joins the first. */
typedef struct sw_ring {
    int32_t *xy;       /* [n_points, 2] level-0 pixels */
    int64_t n_points;
    double area_px;    /* at the segmentation level, shoelace through pixel centres */
} sw_ring;

typedef struct sw_contour {
    sw_ring outer;
    sw_ring *hole; /* [n_holes], largest first */
    int n_holes;
} sw_contour;

typedef struct sw_tissue {
    char *slide_id;
    int64_t width, height;     /* level 0 */
    int seg_level;             /* level that was read */
    double scale_x, scale_y;   /* level-0 pixels per mask pixel */
    int threshold;             /* that was used (Otsu's or sthresh) */
    sw_contour *contour;       /* [n_contours]; 0: no tissue found, which is not an error here */
    int64_t n_contours;
    double unreadable_fraction; /* share of the picture that could not be read (a damaged slide) and counts as no tissue */
    char *unreadable_why;       /* the first reason; NULL: all was read */
    double fraction;           /* share of the slide's area inside the contours, holes taken out */
    uint8_t *mask;             /* [mask_height, mask_width] 255: tissue kept, 0: not */
    int64_t mask_width, mask_height;
} sw_tissue;

/* Segments a slide. Where it is damaged there is no tissue; SW_E_FORMAT when nothing can be read. `options` NULL: defaults. *out is overwritten; empty on failure. Free with sw_tissue_free. */
SW_API sw_status sw_tissue_segment(sw_slide *slide, const sw_tissue_options *options, sw_tissue *out, sw_error *err)
    SW_MUST_CHECK;
/* The same on a picture of the slide: image pixel = scale_x x scale_y level-0 pixels (slide_id is copied). */
SW_API sw_status sw_tissue_segment_image(const sw_image *image, const char *slide_id, double scale_x, double scale_y,
                                         const sw_tissue_options *options, sw_tissue *out, sw_error *err) SW_MUST_CHECK;
SW_API void sw_tissue_free(sw_tissue *tissue); /* clears it; fit for SW_CLEANUP */
/* SW_E_INVALID with the sentence for a slide in which no tissue was found; SW_OK otherwise. */
SW_API sw_status sw_tissue_need(const sw_tissue *tissue, sw_error *err) SW_MUST_CHECK;

/* A user's own mask of the tissue. */
typedef enum sw_mask_mode {
    SW_MASK_NONE,    /* segmentation alone (default) */
    SW_MASK_REPLACE, /* the mask instead of segmentation */
    SW_MASK_WITHIN   /* what lies in both */
} sw_mask_mode;
typedef struct sw_mask_options {
    sw_mask_mode mode;
    char path[256];    /* a picture (PNG, JPEG or TIFF of any size, stretched over the slide; not black: tissue) or GeoJSON
                          (Polygon and MultiPolygon features in level-0 pixels), or a folder with ID.png or ID.geojson of each slide */
    char include[256]; /* GeoJSON only: names of the classes that are taken, with commas; empty (default): all */
    char exclude[256]; /* GeoJSON only: names of the classes that are taken out, with commas; empty (default): none */
} sw_mask_options;
/* Puts the mask in place of *tissue (replace; *tissue may be empty) or cuts *tissue to it (within); every region and hole
 * stays, however small. The mask is drawn at the resolution of *tissue, or at up to 16 million pixels. *tissue is untouched
 * on failure; SW_E_NOT_FOUND for a folder without the slide's file. */
SW_API sw_status sw_tissue_apply_mask(sw_tissue *tissue, const sw_slide *slide, const sw_mask_options *options, sw_error *err)
    SW_MUST_CHECK;

/* The mask as a grey picture (PNG or JPEG by extension). */
SW_API sw_status sw_tissue_write_mask(const sw_tissue *tissue, const char *path, sw_error *err) SW_MUST_CHECK;
/* Draws contours (green) and holes (blue) on a picture of the whole slide. */
SW_API void sw_tissue_draw(const sw_tissue *tissue, double line_thickness_level0_px, sw_image *image);
/* The same over a thumbnail of at most max_pixels pixels. */
SW_API sw_status sw_tissue_write_overlay(sw_slide *slide, const sw_tissue *tissue, double line_thickness_level0_px,
                                         int64_t max_pixels, const char *path, sw_error *err) SW_MUST_CHECK;
/* One QuPath annotation per contour (a Polygon with holes, class "Tissue", level-0 pixels); ids follow from the
 * content, so that the same slide gives the same file. */
SW_API sw_status sw_tissue_write_geojson(const sw_tissue *tissue, const char *path, sw_error *err) SW_MUST_CHECK;

/* -1 outside, 0 on the edge, 1 inside, for one ring (exact, integer-valued or real points). */
SW_API int sw_ring_side(const sw_ring *ring, double level0_x, double level0_y);

#ifdef __cplusplus
}
#endif

#endif
