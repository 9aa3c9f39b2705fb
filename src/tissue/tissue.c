/* SPDX-License-Identifier: Apache-2.0 */
/* Segmentation: read, mask, borders, filters, polygons. */
#include "slidewise/tissue.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "slide/slide_handle.h"
#include "slide/slide_patches.h"
#include "tissue/border.h"
#include "tissue/mask.h"
#include "tissue/ring.h"
#include "tissue/segment.h"
#include "tissue/user_mask.h"

#define STRIP_PIXELS (4 << 20)
#define SMALL_STRIP_PIXELS (1 << 20)
#define SQUARE_PX 256
#define REDUCED_PIXELS 16000000 /* of a level that is over max_pixels */

/* The saturation of the picture that is segmented. */
typedef struct plane {
    uint8_t *value; /* owned */
    int64_t width, height;
    double scale_x, scale_y;
    int level;
    sw_slide_missing missing;
} plane;

static void plane_free(plane *p)
{
    sw_free(p->value);
}

static void contour_free(sw_contour *contour)
{
    sw_free(contour->outer.xy);
    for (int h = 0; h < contour->n_holes; h++) sw_free(contour->hole[h].xy);
    sw_free(contour->hole);
}

void sw_tissue_free(sw_tissue *tissue)
{
    if (!tissue) return;
    for (int64_t i = 0; i < tissue->n_contours; i++) contour_free(&tissue->contour[i]);
    sw_free(tissue->contour);
    sw_free(tissue->mask);
    sw_free(tissue->slide_id);
    sw_free(tissue->unreadable_why);
    memset(tissue, 0, sizeof *tissue);
}

sw_status sw_tissue_need(const sw_tissue *tissue, sw_error *err)
{
    if (tissue->n_contours > 0) return SW_OK;
    return sw_error_set(err, SW_E_INVALID,
                        "slide %s: no tissue found (saturation threshold %d); look at the slide, then try another preset or a "
                        "lower threshold",
                        tissue->slide_id, tissue->threshold);
}

static sw_status check_options(const sw_tissue_options *o, sw_error *err)
{
    if (o->mthresh < 1 || o->mthresh % 2 == 0 || o->mthresh > 255) {
        return sw_error_set(err, SW_E_INVALID, "mthresh is %d; give an odd number from 1 to 255", o->mthresh);
    }
    if (o->close < 0 || o->close > 10000) {
        return sw_error_set(err, SW_E_INVALID, "close is %d; give 0 to 10000 pixels", o->close);
    }
    if (!(o->a_t >= 0) || !(o->a_h >= 0) || !(o->max_area_share >= 0)) {
        return sw_error_set(err, SW_E_INVALID, "a_t %g, a_h %g and max_area_share %g must not be negative", o->a_t, o->a_h,
                            o->max_area_share);
    }
    if (o->max_n_holes < 0 || o->max_pixels < 1) {
        return sw_error_set(err, SW_E_INVALID, "max_n_holes %d and max_pixels %lld must not be negative", o->max_n_holes,
                            (long long)o->max_pixels);
    }
    return SW_OK;
}

/* --- from saturation to borders */

static sw_status make_mask(plane *p, const sw_tissue_options *o, int *threshold, sw_error *err)
{
    int64_t n = p->width * p->height;
    *threshold = o->sthresh;
    if (o->otsu) {
        SW_TRY(sw_median(p->value, p->width, p->height, o->mthresh, err));
        *threshold = sw_otsu(p->value, n);
        sw_threshold(p->value, n, *threshold);
    } else {
        SW_TRY(sw_median_above(p->value, p->width, p->height, o->mthresh, *threshold, err));
    }
    return o->close > 0 ? sw_close_mask(p->value, p->width, p->height, o->close, err) : SW_OK;
}

typedef struct selection {
    const sw_borders *borders;
    int32_t *hole;        /* indices of holes, by parent, largest first */
    int64_t *first_hole;  /* [count + 1] into hole, by outer border */
    double least_tissue, least_hole;
    int max_n_holes;
} selection;

static void selection_free(selection *s)
{
    sw_free(s->hole);
    sw_free(s->first_hole);
}

static sw_status sort_holes(selection *s, sw_error *err)
{
    const sw_borders *b = s->borders;
    SW_AUTOFREE int64_t *n_placed = sw_calloc(b->count + 1, sizeof *n_placed);
    s->hole = sw_calloc(b->count + 1, sizeof *s->hole);
    s->first_hole = sw_calloc(b->count + 1, sizeof *s->first_hole);
    if (!n_placed || !s->hole || !s->first_hole) return sw_nomem(err);
    for (size_t i = 0; i < b->count; i++) {
        if (b->border[i].parent >= 0) s->first_hole[b->border[i].parent + 1]++;
    }
    for (size_t i = 0; i < b->count; i++) s->first_hole[i + 1] += s->first_hole[i];
    for (size_t i = b->count; i-- > 0;) { /* equal areas stay in OpenCV's order, from the bottom up */
        int32_t parent = b->border[i].parent;
        if (parent < 0) continue;
        int64_t from = s->first_hole[parent], at = from + n_placed[parent]++;
        while (at > from && b->border[s->hole[at - 1]].area_px < b->border[i].area_px) {
            s->hole[at] = s->hole[at - 1];
            at--;
        }
        s->hole[at] = (int32_t)i;
    }
    return SW_OK;
}

static double net_area(const selection *s, size_t outer)
{
    double area = s->borders->border[outer].area_px;
    for (int64_t k = s->first_hole[outer]; k < s->first_hole[outer + 1]; k++) {
        area -= s->borders->border[s->hole[k]].area_px;
    }
    return area;
}

static sw_status make_ring(const sw_borders *b, size_t index, const sw_tissue *tissue, sw_ring *out, sw_error *err)
{
    const sw_border *border = &b->border[index];
    const int32_t *xy = b->xy + 2 * border->first;
    out->xy = sw_malloc(2 * (size_t)border->n_points * sizeof *out->xy);
    if (!out->xy) return sw_nomem(err);
    for (int64_t i = 0; i < border->n_points; i++) {
        out->xy[2 * i] = (int32_t)(xy[2 * i] * tissue->scale_x);
        out->xy[2 * i + 1] = (int32_t)(xy[2 * i + 1] * tissue->scale_y);
    }
    out->n_points = border->n_points;
    out->area_px = border->area_px;
    return SW_OK;
}

static sw_status fill(const sw_borders *b, size_t index, bool outer, sw_tissue *tissue, sw_error *err)
{
    const sw_border *border = &b->border[index];
    return sw_ring_fill(b->xy + 2 * border->first, border->n_points, outer, outer ? 255 : 0, tissue->mask,
                        tissue->mask_width, err);
}

/* Adds the contour of one outer border, with the holes that are large enough. `area` loses what they take. */
static sw_status add_contour(const selection *s, size_t outer, sw_tissue *tissue, double *area, sw_error *err)
{
    sw_contour *contour = &tissue->contour[tissue->n_contours++];
    int64_t n = s->first_hole[outer + 1] - s->first_hole[outer];
    if (n > s->max_n_holes) n = s->max_n_holes;
    SW_TRY(make_ring(s->borders, outer, tissue, &contour->outer, err));
    contour->hole = sw_calloc((size_t)n + 1, sizeof *contour->hole);
    if (!contour->hole) return sw_nomem(err);
    SW_TRY(fill(s->borders, outer, true, tissue, err));
    *area += contour->outer.area_px;
    for (int64_t k = 0; k < n; k++) {
        size_t hole = (size_t)s->hole[s->first_hole[outer] + k];
        if (!(s->borders->border[hole].area_px > s->least_hole)) break;
        SW_TRY(make_ring(s->borders, hole, tissue, &contour->hole[contour->n_holes++], err));
        SW_TRY(fill(s->borders, hole, false, tissue, err));
        *area -= s->borders->border[hole].area_px;
    }
    return SW_OK;
}

/* Found from the top down, so that the mask gets a region before the islands in its holes; listed from the bottom up,
 * as OpenCV (and so CLAM) lists them. */
static void reverse(sw_contour *contour, int64_t n)
{
    for (int64_t i = 0; i < n / 2; i++) {
        sw_contour swap = contour[i];
        contour[i] = contour[n - 1 - i];
        contour[n - 1 - i] = swap;
    }
}

static bool is_large(const selection *s, size_t outer)
{
    if (s->borders->border[outer].parent >= 0) return false;
    double net = net_area(s, outer);
    return net != 0 && net > s->least_tissue;
}

/* Whether a number stands in "0,3, 7". */
static bool is_listed(const char *ids, int64_t id)
{
    while (*ids) {
        char *end;
        long long value = strtoll(ids, &end, 10);
        if (end != ids && value == id) return true;
        ids = end == ids ? ids + 1 : end;
    }
    return false;
}

static sw_status select_contours(const sw_borders *b, const sw_tissue_options *o, sw_tissue *tissue, sw_error *err)
{
    SW_CLEANUP(selection_free) selection s = {.borders = b, .max_n_holes = o->max_n_holes};
    double reference = floor(512.0 * 512.0 / (tissue->scale_x * tissue->scale_y)), area = 0;
    double pixels = (double)tissue->mask_width * (double)tissue->mask_height, reduce = 1;
    if (o->max_area_share > 0 && o->a_t * reference > o->max_area_share * pixels) {
        reduce = o->max_area_share * pixels / (o->a_t * reference);
    }
    s.least_tissue = o->a_t * reference * reduce;
    s.least_hole = o->a_h * reference * reduce;
    tissue->contour = sw_calloc(b->count + 1, sizeof *tissue->contour);
    if (!tissue->contour) return sw_nomem(err);
    SW_TRY(sort_holes(&s, err));
    int64_t n_large = 0, number = 0;
    for (size_t i = 0; i < b->count; i++) n_large += is_large(&s, i);
    for (size_t i = 0; i < b->count; i++) {
        if (!is_large(&s, i)) continue;
        int64_t id = n_large - 1 - number++; /* they are listed from the bottom up */
        bool kept = (!o->keep_ids[0] || is_listed(o->keep_ids, id)) && !is_listed(o->exclude_ids, id);
        if (kept) SW_TRY(add_contour(&s, i, tissue, &area, err));
    }
    reverse(tissue->contour, tissue->n_contours);
    tissue->fraction = area / pixels;
    return SW_OK;
}

/* The contours of the mask; of the mask stays what is in them. */
static sw_status outline(sw_tissue *tissue, const sw_tissue_options *o, sw_error *err)
{
    SW_CLEANUP(sw_borders_free) sw_borders borders = {0};
    SW_TRY(sw_borders_find(tissue->mask, tissue->mask_width, tissue->mask_height, &borders, err));
    memset(tissue->mask, 0, (size_t)(tissue->mask_width * tissue->mask_height));
    return select_contours(&borders, o, tissue, err);
}

static sw_status segment(plane *p, const char *slide_id, int64_t width, int64_t height, const sw_tissue_options *o,
                         sw_tissue *out, sw_error *err)
{
    SW_CLEANUP(sw_tissue_free) sw_tissue tissue = {.width = width,
                                                   .height = height,
                                                   .seg_level = p->level,
                                                   .scale_x = p->scale_x,
                                                   .scale_y = p->scale_y,
                                                   .mask_width = p->width,
                                                   .mask_height = p->height};
    tissue.slide_id = sw_strdup(slide_id);
    if (!tissue.slide_id) return sw_nomem(err);
    if (p->missing.n_missing > 0) {
        tissue.unreadable_fraction = (double)p->missing.n_missing / (double)p->missing.n_asked;
        tissue.unreadable_why = sw_strdup(p->missing.first.message);
        if (!tissue.unreadable_why) return sw_nomem(err);
    }
    SW_TRY(make_mask(p, o, &tissue.threshold, err));
    tissue.mask = SW_STEAL(p->value);
    SW_TRY(outline(&tissue, o, err));
    *out = tissue;
    memset(&tissue, 0, sizeof tissue);
    return SW_OK;
}

sw_status sw_tissue_outline(sw_tissue *tissue, sw_error *err)
{
    const sw_tissue_options all = {.max_n_holes = INT_MAX};
    return outline(tissue, &all, err);
}

sw_status sw_tissue_of_borders(sw_tissue *tissue, const sw_borders *borders, sw_error *err)
{
    const sw_tissue_options all = {.max_n_holes = INT_MAX};
    return select_contours(borders, &all, tissue, err);
}

/* --- the picture */

/* The level itself, strip by strip. */
typedef struct strips {
    sw_slide *slide;
    plane *p;
    int64_t rows; /* of a strip */
    sw_slide_missing *missing; /* of each */
} strips;

static sw_status read_strip(void *ctx, int64_t index, sw_error *err)
{
    const strips *s = ctx;
    plane *p = s->p;
    int64_t y = index * s->rows, n = p->height - y < s->rows ? p->height - y : s->rows;
    SW_AUTOFREE uint8_t *rgb = sw_malloc(3 * (size_t)(n * p->width));
    if (!rgb) return sw_nomem(err);
    int64_t level0_y = llround((double)y * sw_slide_get_info(s->slide)->level[p->level].downsample);
    SW_TRY(sw_slide_read_parts(s->slide, p->level, 0, level0_y, p->width, n, rgb, &s->missing[index], err));
    sw_saturation(rgb, n * p->width, p->value + y * p->width);
    return SW_OK;
}

/* Rows of a strip: small ones, for several threads, where pixels do not depend on where a region begins. */
static int64_t strip_rows(const sw_slide *slide, const plane *p)
{
    double downsample = sw_slide_get_info(slide)->level[p->level].downsample;
    bool whole = slide->facts.whole_tiles && downsample == floor(downsample);
    int64_t rows = (whole ? SMALL_STRIP_PIXELS : STRIP_PIXELS) / p->width + 1;
    if (whole) rows = (rows + SQUARE_PX - 1) / SQUARE_PX * SQUARE_PX; /* of what a damaged slide loses, too */
    return rows < p->height ? rows : p->height;
}

static sw_status read_level(sw_slide *slide, sw_pool *pool, plane *p, sw_error *err)
{
    strips s = {slide, p, strip_rows(slide, p), NULL};
    int64_t n = (p->height + s.rows - 1) / s.rows;
    SW_AUTOFREE sw_slide_missing *missing = sw_calloc((size_t)n, sizeof *missing);
    if (!missing) return sw_nomem(err);
    s.missing = missing;
    SW_TRY(sw_pool_for(n > 1 ? pool : NULL, n, read_strip, &s, err));
    for (int64_t i = 0; i < n; i++) {
        if (p->missing.first.code == SW_OK) p->missing.first = missing[i].first;
        p->missing.n_asked += missing[i].n_asked;
        p->missing.n_missing += missing[i].n_missing;
    }
    return SW_OK;
}

/* A level that is too large, reduced while it is read. */
static sw_status read_reduced(sw_slide *slide, plane *p, sw_error *err)
{
    const sw_slide_info *info = sw_slide_get_info(slide);
    int64_t rows = STRIP_PIXELS / p->width + 1;
    SW_AUTOFREE uint8_t *rgb = sw_malloc(3 * (size_t)(rows * p->width));
    if (!rgb) return sw_nomem(err);
    for (int64_t y = 0; y < p->height; y += rows) {
        int64_t n = p->height - y < rows ? p->height - y : rows;
        SW_TRY(sw_slide_read_area_parts(slide, 0, (double)y * p->scale_y, (double)info->width, (double)n * p->scale_y, p->width, n,
                                        rgb, &p->missing, err));
        sw_saturation(rgb, n * p->width, p->value + y * p->width);
    }
    return SW_OK;
}

static sw_status read_plane(sw_slide *slide, sw_pool *pool, const sw_tissue_options *o, plane *p, sw_error *err)
{
    const sw_slide_info *info = sw_slide_get_info(slide);
    p->level = o->seg_level >= 0 ? o->seg_level : info->n_levels == 1 ? 0 : sw_slide_best_level(slide, 64);
    if (p->level >= info->n_levels) {
        return sw_error_set(err, SW_E_INVALID, "%s: segmentation level %d asked for, and the slide has levels 0 to %d",
                            info->path, p->level, info->n_levels - 1);
    }
    const sw_slide_level *level = &info->level[p->level];
    bool too_large = level->width > o->max_pixels / level->height;
    double reduce = too_large ? sqrt((double)level->width * (double)level->height /
                                     fmin(REDUCED_PIXELS, (double)o->max_pixels))
                              : 1;
    p->width = (int64_t)fmax(1, floor((double)level->width / reduce));
    p->height = (int64_t)fmax(1, floor((double)level->height / reduce));
    p->scale_x = (double)info->width / (double)p->width;
    p->scale_y = (double)info->height / (double)p->height;
    p->value = sw_malloc((size_t)(p->width * p->height));
    if (!p->value) return sw_nomem(err);
    SW_TRY(too_large ? read_reduced(slide, p, err) : read_level(slide, pool, p, err));
    if (p->missing.n_missing < p->missing.n_asked) return SW_OK;
    return sw_error_set(err, p->missing.first.code, "%s", p->missing.first.message);
}

sw_status sw_tissue_segment(sw_slide *slide, const sw_tissue_options *options, sw_tissue *out, sw_error *err)
{
    return sw_tissue_segment_on(NULL, slide, options, out, err);
}

sw_status sw_tissue_segment_on(sw_pool *pool, sw_slide *slide, const sw_tissue_options *options, sw_tissue *out, sw_error *err)
{
    SW_CLEANUP(plane_free) plane p = {0};
    sw_tissue_options o = options ? *options : sw_tissue_options_default();
    const sw_slide_info *info = sw_slide_get_info(slide);
    memset(out, 0, sizeof *out);
    SW_TRY(check_options(&o, err));
    SW_TRY(read_plane(slide, pool, &o, &p, err));
    return segment(&p, info->slide_id, info->width, info->height, &o, out, err);
}

sw_status sw_tissue_segment_image(const sw_image *image, const char *slide_id, double scale_x, double scale_y,
                                  const sw_tissue_options *options, sw_tissue *out, sw_error *err)
{
    SW_CLEANUP(plane_free) plane p = {.width = image->width, .height = image->height, .scale_x = scale_x, .scale_y = scale_y};
    sw_tissue_options o = options ? *options : sw_tissue_options_default();
    memset(out, 0, sizeof *out);
    SW_TRY(check_options(&o, err));
    if (!(scale_x > 0) || !(scale_y > 0)) {
        return sw_error_set(err, SW_E_INVALID, "slide %s: a scale of %g x %g is not possible", slide_id, scale_x, scale_y);
    }
    p.value = sw_malloc((size_t)(p.width * p.height));
    if (!p.value) return sw_nomem(err);
    sw_saturation(image->rgb, p.width * p.height, p.value);
    return segment(&p, slide_id, llround((double)p.width * scale_x), llround((double)p.height * scale_y), &o, out, err);
}
