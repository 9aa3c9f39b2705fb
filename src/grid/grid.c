/* SPDX-License-Identifier: Apache-2.0 */
/* Patch positions: contour by contour, by physical resolution. */
#include "slidewise/grid.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tissue/ring.h"

sw_grid_options sw_grid_options_default(void)
{
    return (sw_grid_options){.patch_px = 256, .contour_rule = SW_CONTOUR_FOUR_PT, .use_padding = true};
}

void sw_grid_free(sw_grid *grid)
{
    if (!grid) return;
    sw_free(grid->xy);
    sw_free(grid->contour);
    memset(grid, 0, sizeof *grid);
}

/* Tissue pixels in the rectangle from the origin: sum[(y) * (width + 1) + x]. */
typedef struct area_table {
    int64_t *sum; /* [mask_height + 1, mask_width + 1]; NULL: no tissue filter */
    int64_t width, height;
    double scale_x, scale_y;
} area_table;

typedef struct maker {
    const sw_grid_options *options;
    int64_t width, height; /* level 0 */
    double side, step;     /* level-0 pixels */
    area_table area;
    sw_grid grid;
    size_t xy_capacity, contour_capacity;
} maker;

static void maker_free(maker *m)
{
    sw_free(m->area.sum);
    sw_grid_free(&m->grid);
}

static sw_status add(maker *m, int64_t x, int64_t y, int32_t contour, sw_error *err)
{
    sw_grid *g = &m->grid;
    size_t n = (size_t)g->n_patches;
    SW_TRY(sw_grow(&g->xy, &m->xy_capacity, 2 * (n + 1), sizeof *g->xy, err));
    SW_TRY(sw_grow(&g->contour, &m->contour_capacity, n + 1, sizeof *g->contour, err));
    g->xy[2 * n] = x;
    g->xy[2 * n + 1] = y;
    g->contour[n] = contour;
    g->n_patches++;
    return SW_OK;
}

/* --- share of tissue */

static sw_status area_make(const sw_tissue *tissue, area_table *out, sw_error *err)
{
    int64_t w = tissue->mask_width, h = tissue->mask_height;
    out->sum = sw_calloc((size_t)((w + 1) * (h + 1)), sizeof *out->sum);
    if (!out->sum) return sw_nomem(err);
    for (int64_t y = 0; y < h; y++) {
        int64_t row = 0;
        for (int64_t x = 0; x < w; x++) {
            row += tissue->mask[y * w + x] != 0;
            out->sum[(y + 1) * (w + 1) + x + 1] = out->sum[y * (w + 1) + x + 1] + row;
        }
    }
    out->width = w;
    out->height = h;
    out->scale_x = tissue->scale_x;
    out->scale_y = tissue->scale_y;
    return SW_OK;
}

static double limit(double v, int64_t high)
{
    return v < 0 ? 0 : v > (double)high ? (double)high : v;
}

/* Tissue in [0, x) x [0, y), mask pixels, linear between the whole ones. */
static double area_to(const area_table *a, double x, double y)
{
    x = limit(x, a->width);
    y = limit(y, a->height);
    int64_t i = (int64_t)x, j = (int64_t)y, s = a->width + 1;
    double fx = x - (double)i, fy = y - (double)j;
    int64_t i1 = i < a->width ? i + 1 : i, j1 = j < a->height ? j + 1 : j;
    double top = (double)a->sum[j * s + i] * (1 - fx) + (double)a->sum[j * s + i1] * fx;
    double bottom = (double)a->sum[j1 * s + i] * (1 - fx) + (double)a->sum[j1 * s + i1] * fx;
    return top * (1 - fy) + bottom * fy;
}

static bool enough_tissue(const maker *m, int64_t x, int64_t y)
{
    const area_table *a = &m->area;
    if (!a->sum) return true;
    double x0 = (double)x / a->scale_x, x1 = ((double)x + m->side) / a->scale_x;
    double y0 = (double)y / a->scale_y, y1 = ((double)y + m->side) / a->scale_y;
    double tissue = area_to(a, x1, y1) - area_to(a, x0, y1) - area_to(a, x1, y0) + area_to(a, x0, y0);
    return tissue >= m->options->min_tissue * (x1 - x0) * (y1 - y0) - 1e-9;
}

/* --- one contour */

typedef struct rings {
    sw_ring_index outer, *hole;
    int n_holes;
} rings;

static void rings_free(rings *r)
{
    sw_ring_index_free(&r->outer);
    for (int i = 0; i < r->n_holes; i++) sw_ring_index_free(&r->hole[i]);
    sw_free(r->hole);
}

static sw_status rings_make(const sw_contour *contour, rings *r, sw_error *err)
{
    SW_TRY(sw_ring_index_make(&contour->outer, &r->outer, err));
    r->hole = sw_calloc((size_t)contour->n_holes + 1, sizeof *r->hole);
    if (!r->hole) return sw_nomem(err);
    for (int i = 0; i < contour->n_holes; i++) {
        SW_TRY(sw_ring_index_make(&contour->hole[i], &r->hole[i], err));
        r->n_holes++;
    }
    return SW_OK;
}

/* CLAM's checks; the edge of the contour counts as inside, the edge of a hole does not count as hole. */
static bool in_contour(const maker *m, const rings *r, int64_t x, int64_t y)
{
    double half = floor(m->side / 2), shift = floor(half * 0.5);
    double cx = (double)x + half, cy = (double)y + half;
    if (m->options->contour_rule == SW_CONTOUR_BASIC) return sw_ring_index_side(&r->outer, (double)x, (double)y) >= 0;
    if (m->options->contour_rule == SW_CONTOUR_CENTER || shift == 0) return sw_ring_index_side(&r->outer, cx, cy) >= 0;
    int inside = 0;
    for (int k = 0; k < 4; k++) {
        double px = k & 1 ? cx + shift : cx - shift, py = k & 2 ? cy + shift : cy - shift;
        inside += sw_ring_index_side(&r->outer, px, py) >= 0;
    }
    return m->options->contour_rule == SW_CONTOUR_FOUR_PT_HARD ? inside == 4 : inside > 0;
}

static bool in_hole(const maker *m, const rings *r, int64_t x, int64_t y)
{
    double cx = (double)x + m->side / 2, cy = (double)y + m->side / 2;
    for (int i = 0; i < r->n_holes; i++) {
        if (sw_ring_index_side(&r->hole[i], cx, cy) > 0) return true;
    }
    return false;
}

static int64_t position(int64_t corner, int64_t i, double step)
{
    return corner + llround((double)i * step);
}

/* First position that is not a candidate any more. */
static int64_t stop_at(const maker *m, int64_t end, int64_t level0_side)
{
    int64_t last = level0_side - (int64_t)ceil(m->side - 1e-9) + 1;
    return m->options->use_padding || end < last ? end : last;
}

static sw_status one_contour(maker *m, const sw_contour *contour, int32_t number, sw_error *err)
{
    SW_CLEANUP(rings_free) rings r = {0};
    SW_TRY(rings_make(contour, &r, err));
    int64_t x0 = r.outer.min_x, y0 = r.outer.min_y, first_i = 0, first_j = 0;
    if (m->options->align) {
        first_i = (int64_t)floor((double)x0 / m->step);
        first_j = (int64_t)floor((double)y0 / m->step);
        x0 = y0 = 0;
    }
    int64_t stop_x = stop_at(m, (int64_t)r.outer.max_x + 1, m->width);
    int64_t stop_y = stop_at(m, (int64_t)r.outer.max_y + 1, m->height);
    for (int64_t i = first_i, x = position(x0, i, m->step); x < stop_x; x = position(x0, ++i, m->step)) {
        for (int64_t j = first_j, y = position(y0, j, m->step); y < stop_y; y = position(y0, ++j, m->step)) {
            if (!in_contour(m, &r, x, y) || in_hole(m, &r, x, y) || !enough_tissue(m, x, y)) continue;
            SW_TRY(add(m, x, y, number, err));
        }
    }
    return SW_OK;
}

static sw_status whole_image(maker *m, sw_error *err)
{
    int64_t stop_x = stop_at(m, m->width, m->width), stop_y = stop_at(m, m->height, m->height);
    if (stop_x < 1) stop_x = 1; /* smaller than a patch: one patch all the same */
    if (stop_y < 1) stop_y = 1;
    for (int64_t i = 0, x = 0; x < stop_x; x = position(0, ++i, m->step)) {
        for (int64_t j = 0, y = 0; y < stop_y; y = position(0, ++j, m->step)) {
            if (enough_tissue(m, x, y)) SW_TRY(add(m, x, y, 0, err));
        }
    }
    return SW_OK;
}

/* --- duplicates */

typedef struct place {
    int64_t x, y, index;
} place;

static int by_place(const void *a, const void *b)
{
    const place *p = a, *q = b;
    if (p->x != q->x) return p->x < q->x ? -1 : 1;
    if (p->y != q->y) return p->y < q->y ? -1 : 1;
    return (p->index > q->index) - (p->index < q->index);
}

/* Keeps the first of equal positions, in the old order. */
static sw_status drop_duplicates(sw_grid *g, sw_error *err)
{
    size_t n = (size_t)g->n_patches;
    SW_AUTOFREE place *p = sw_malloc((n + 1) * sizeof *p);
    SW_AUTOFREE bool *again = sw_calloc(n + 1, sizeof *again);
    if (!p || !again) return sw_nomem(err);
    for (size_t i = 0; i < n; i++) p[i] = (place){g->xy[2 * i], g->xy[2 * i + 1], (int64_t)i};
    qsort(p, n, sizeof *p, by_place);
    for (size_t i = 1; i < n; i++) again[p[i].index] = p[i].x == p[i - 1].x && p[i].y == p[i - 1].y;
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (again[i]) continue;
        g->xy[2 * kept] = g->xy[2 * i];
        g->xy[2 * kept + 1] = g->xy[2 * i + 1];
        g->contour[kept++] = g->contour[i];
    }
    g->n_patches = (int64_t)kept;
    return SW_OK;
}

/* --- the grid */

static sw_status resolve(const sw_grid_options *o, double slide_mpp_um, maker *m, sw_error *err)
{
    double mpp_um = o->mpp_um > 0 ? o->mpp_um : o->magnification > 0 ? 10 / o->magnification : 0;
    if (!(mpp_um > 0) || !isfinite(mpp_um)) {
        return sw_error_set(err, SW_E_INVALID,
                            "no target resolution for the patches; give microns per pixel (e.g. 1.0) or a magnification "
                            "(e.g. 10)");
    }
    if (o->patch_px < 1 || o->patch_px > 65500) {
        return sw_error_set(err, SW_E_INVALID, "patches of %d pixels are not possible; give 1 to 65500", o->patch_px);
    }
    if (o->overlap_px < 0 || o->overlap_px >= o->patch_px) {
        return sw_error_set(err, SW_E_INVALID, "an overlap of %d pixels does not fit patches of %d pixels", o->overlap_px,
                            o->patch_px);
    }
    if (!(o->min_tissue >= 0 && o->min_tissue <= 1)) {
        return sw_error_set(err, SW_E_INVALID, "min_tissue is %g; give a share from 0 to 1", o->min_tissue);
    }
    m->grid.patch_px = o->patch_px;
    m->grid.mpp_um = mpp_um;
    m->grid.magnification = 10 / mpp_um;
    m->side = m->grid.patch_level0_px = o->patch_px * mpp_um / slide_mpp_um;
    m->step = m->grid.step_level0_px = (o->patch_px - o->overlap_px) * mpp_um / slide_mpp_um;
    if (m->step < 1) {
        return sw_error_set(err, SW_E_INVALID,
                            "patches %g level-0 pixels apart are too close: at %g microns per pixel and %g in the slide, use "
                            "larger patches or less overlap",
                            m->step, mpp_um, slide_mpp_um);
    }
    return SW_OK;
}

sw_status sw_grid_make_at(const sw_tissue *tissue, int64_t width, int64_t height, double slide_mpp_um,
                          const sw_grid_options *options, sw_grid *out, sw_error *err)
{
    SW_CLEANUP(maker_free) maker m = {.options = options, .width = width, .height = height};
    memset(out, 0, sizeof *out);
    if (!(slide_mpp_um > 0) || !isfinite(slide_mpp_um)) {
        return sw_error_set(err, SW_E_INVALID, "%g microns per pixel is not a slide's resolution", slide_mpp_um);
    }
    SW_TRY(resolve(options, slide_mpp_um, &m, err));
    if (!tissue && !options->whole_image) {
        return sw_error_set(err, SW_E_INVALID, "a grid without tissue must be asked for as one over the whole image");
    }
    if (tissue && options->min_tissue > 0) SW_TRY(area_make(tissue, &m.area, err));
    if (options->whole_image) {
        SW_TRY(whole_image(&m, err));
    } else {
        for (int64_t i = 0; i < tissue->n_contours; i++) {
            SW_TRY(one_contour(&m, &tissue->contour[i], (int32_t)i, err));
        }
    }
    if (options->unique) SW_TRY(drop_duplicates(&m.grid, err));
    *out = m.grid;
    memset(&m.grid, 0, sizeof m.grid);
    return SW_OK;
}

sw_status sw_grid_make(const sw_tissue *tissue, const sw_slide *slide, const sw_grid_options *options, sw_grid *out,
                       sw_error *err)
{
    const sw_slide_info *info = sw_slide_get_info(slide);
    double mpp_um = 0;
    memset(out, 0, sizeof *out);
    SW_TRY(sw_slide_need_mpp(slide, &mpp_um, err));
    return sw_grid_make_at(tissue, info->width, info->height, mpp_um, options, out, err);
}
