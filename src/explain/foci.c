/* SPDX-License-Identifier: Apache-2.0 */
/* True foci as GeoJSON polygons, and how well attention finds them. */
#include <math.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "explain/explain.h"

#define GRID 16               /* sample points per side of a patch */
#define POSITIVE_OVERLAP 0.25 /* share of a patch that makes it a positive */
#define MAX_DEPTH 16          /* GeometryCollections do not nest deeper in practice */

typedef struct ring {
    double *xy; /* [n, 2] */
    size_t n;
} ring;

typedef struct polygon {
    ring *rings; /* the outline, then holes */
    size_t n, capacity;
    double left, top, right, bottom;
} polygon;

struct sw_foci {
    polygon *polygons;
    size_t n, capacity;
};

void sw_foci_free(sw_foci *foci)
{
    if (!foci) return;
    for (size_t p = 0; p < foci->n; p++) {
        for (size_t r = 0; r < foci->polygons[p].n; r++) sw_free(foci->polygons[p].rings[r].xy);
        sw_free(foci->polygons[p].rings);
    }
    sw_free(foci->polygons);
    sw_free(foci);
}

static void foci_free_ptr(sw_foci **foci)
{
    sw_foci_free(*foci);
}

int64_t sw_foci_count(const sw_foci *foci)
{
    return (int64_t)foci->n;
}

void sw_foci_rings(const sw_foci *foci, sw_ring_fn fn, void *ctx)
{
    for (size_t p = 0; p < foci->n; p++) {
        for (size_t r = 0; r < foci->polygons[p].n; r++) {
            fn(ctx, foci->polygons[p].rings[r].xy, foci->polygons[p].rings[r].n);
        }
    }
}

static sw_status read_ring(const sw_json *points, const char *path, polygon *p, sw_error *err)
{
    size_t n = sw_json_count(points);
    ring *r;
    if (!sw_json_is_array(points) || n < 4) {
        return sw_error_set(err, SW_E_FORMAT, "%s: a polygon's ring has %zu points; a closed ring has 4 or more", path, n);
    }
    SW_TRY(sw_grow(&p->rings, &p->capacity, p->n + 1, sizeof *p->rings, err));
    r = &p->rings[p->n];
    r->xy = sw_calloc(n * 2, sizeof *r->xy);
    if (!r->xy) return sw_nomem(err);
    r->n = n;
    p->n++;
    for (size_t i = 0; i < n; i++) {
        const sw_json *point = sw_json_at(points, i);
        double x = sw_json_real(sw_json_at(point, 0), NAN), y = sw_json_real(sw_json_at(point, 1), NAN);
        if (!isfinite(x) || !isfinite(y)) {
            return sw_error_set(err, SW_E_FORMAT, "%s: point %zu of a polygon's ring is not two numbers", path, i);
        }
        r->xy[2 * i] = x;
        r->xy[2 * i + 1] = y;
        p->left = fmin(p->left, x);
        p->right = fmax(p->right, x);
        p->top = fmin(p->top, y);
        p->bottom = fmax(p->bottom, y);
    }
    return SW_OK;
}

static sw_status read_polygon(const sw_json *rings, const char *path, sw_foci *foci, sw_error *err)
{
    polygon *p;
    if (!sw_json_is_array(rings) || sw_json_count(rings) < 1) {
        return sw_error_set(err, SW_E_FORMAT, "%s: a polygon has no ring", path);
    }
    SW_TRY(sw_grow(&foci->polygons, &foci->capacity, foci->n + 1, sizeof *foci->polygons, err));
    p = &foci->polygons[foci->n++];
    *p = (polygon){.left = INFINITY, .top = INFINITY, .right = -INFINITY, .bottom = -INFINITY};
    for (size_t r = 0; r < sw_json_count(rings); r++) SW_TRY(read_ring(sw_json_at(rings, r), path, p, err));
    return SW_OK;
}

static sw_status read_each(const sw_json *list, const char *path, int depth, sw_foci *foci, sw_error *err);

/* A FeatureCollection, a feature or a geometry. */
static sw_status read_object(const sw_json *object, const char *path, int depth, sw_foci *foci, sw_error *err)
{
    const char *type = sw_json_text(sw_json_get(object, "type"), "");
    const sw_json *coordinates = sw_json_get(object, "coordinates");
    if (depth > MAX_DEPTH) return sw_error_set(err, SW_E_FORMAT, "%s: geometries nest too deep", path);
    if (strcmp(type, "FeatureCollection") == 0) {
        return read_each(sw_json_get(object, "features"), path, depth + 1, foci, err);
    }
    if (strcmp(type, "GeometryCollection") == 0) {
        return read_each(sw_json_get(object, "geometries"), path, depth + 1, foci, err);
    }
    if (strcmp(type, "Feature") == 0) {
        const sw_json *geometry = sw_json_get(object, "geometry");
        if (!sw_json_is_object(geometry)) return SW_OK; /* null: a feature without a place */
        return read_object(geometry, path, depth + 1, foci, err);
    }
    if (strcmp(type, "Polygon") == 0) return read_polygon(coordinates, path, foci, err);
    if (strcmp(type, "MultiPolygon") == 0) {
        for (size_t i = 0; i < sw_json_count(coordinates); i++) {
            SW_TRY(read_polygon(sw_json_at(coordinates, i), path, foci, err));
        }
        return SW_OK;
    }
    return sw_error_set(err, SW_E_FORMAT, "%s: geometry type \"%s\"; foci are Polygon or MultiPolygon", path, type);
}

static sw_status read_each(const sw_json *list, const char *path, int depth, sw_foci *foci, sw_error *err)
{
    if (!sw_json_is_array(list)) return sw_error_set(err, SW_E_FORMAT, "%s: a collection has no list of members", path);
    for (size_t i = 0; i < sw_json_count(list); i++) {
        SW_TRY(read_object(sw_json_at(list, i), path, depth, foci, err));
    }
    return SW_OK;
}

sw_status sw_foci_read(const char *path, sw_foci **out, sw_error *err)
{
    SW_CLEANUP(sw_json_free_ptr) sw_json *root = NULL;
    SW_CLEANUP(foci_free_ptr) sw_foci *foci = NULL;
    SW_TRY(sw_json_read(path, &root, err));
    foci = sw_calloc(1, sizeof *foci);
    if (!foci) return sw_nomem(err);
    if (sw_json_is_array(root)) {
        SW_TRY(read_each(root, path, 0, foci, err));
    } else {
        SW_TRY(read_object(root, path, 0, foci, err));
    }
    *out = SW_STEAL(foci);
    return SW_OK;
}

/* Even-odd over all rings: holes count themselves out. */
static bool polygon_contains(const polygon *p, double x, double y)
{
    bool inside = false;
    if (x < p->left || x > p->right || y < p->top || y > p->bottom) return false;
    for (size_t r = 0; r < p->n; r++) {
        const double *xy = p->rings[r].xy;
        size_t n = p->rings[r].n;
        for (size_t i = 0, j = n - 1; i < n; j = i++) {
            double yi = xy[2 * i + 1], yj = xy[2 * j + 1];
            if ((yi > y) == (yj > y)) continue;
            if (x < xy[2 * i] + (y - yi) / (yj - yi) * (xy[2 * j] - xy[2 * i])) inside = !inside;
        }
    }
    return inside;
}

bool sw_foci_contains(const sw_foci *foci, double level0_x, double level0_y)
{
    for (size_t p = 0; p < foci->n; p++) {
        if (polygon_contains(&foci->polygons[p], level0_x, level0_y)) return true;
    }
    return false;
}

static bool apart(const polygon *p, double x, double y, double side)
{
    return x > p->right || y > p->bottom || x + side < p->left || y + side < p->top;
}

/* Share of a square inside polygons [first, first + n). */
static double overlap(const polygon *first, size_t n, double x, double y, double side)
{
    int hits = 0;
    bool near = false;
    for (size_t p = 0; p < n && !near; p++) near = !apart(&first[p], x, y, side);
    if (!near) return 0;
    for (int i = 0; i < GRID * GRID; i++) {
        double px = x + side * (i % GRID + 0.5) / GRID, py = y + side * (i / GRID + 0.5) / GRID;
        bool inside = false;
        for (size_t p = 0; p < n && !inside; p++) inside = polygon_contains(&first[p], px, py);
        hits += inside;
    }
    return (double)hits / (GRID * GRID);
}

double sw_foci_overlap(const sw_foci *foci, double level0_x, double level0_y, double side_px)
{
    return overlap(foci->polygons, foci->n, level0_x, level0_y, side_px);
}

/* Is patch i a positive of polygons [first, first + n)? */
static bool touches(const polygon *first, size_t n, const sw_attention_map *map, int64_t i)
{
    double side = map->patch_level0_px, x = (double)map->xy[2 * i], y = (double)map->xy[2 * i + 1];
    for (size_t p = 0; p < n; p++) {
        if (polygon_contains(&first[p], x + side / 2, y + side / 2)) return true;
    }
    return overlap(first, n, x, y, side) >= POSITIVE_OVERLAP;
}

sw_status sw_focus_score_of(const sw_foci *foci, const sw_attention_map *map, int head, int top, sw_focus_score *out,
                            sw_error *err)
{
    SW_CLEANUP(sw_heat_free) sw_heat heat = {0};
    SW_AUTOFREE bool *positive = NULL;
    sw_focus_score s = {.n_patches = map->n_patches, .n_foci = (int64_t)foci->n};
    int64_t hits = 0;
    if (top < 1) return sw_error_set(err, SW_E_INVALID, "the focus score needs 1 or more top patches, not %d", top);
    SW_TRY(sw_heat_make(map, head, SW_HEAT_RANK, &heat, err));
    positive = sw_calloc((size_t)map->n_patches, sizeof *positive);
    if (!positive) return sw_nomem(err);
    for (int64_t i = 0; i < map->n_patches; i++) {
        positive[i] = touches(foci->polygons, foci->n, map, i);
        s.n_positive += positive[i];
    }
    s.top = top < map->n_patches ? top : (int)map->n_patches;
    for (int k = 0; k < s.top; k++) hits += positive[heat.order[k]];
    for (size_t p = 0; p < foci->n; p++) {
        bool found = false;
        for (int k = 0; k < s.top && !found; k++) found = touches(&foci->polygons[p], 1, map, heat.order[k]);
        s.n_found += found;
    }
    s.auc = sw_auc(map->n_patches, heat.attention, positive);
    s.top_hits = (double)hits / s.top;
    s.top_expected = (double)s.n_positive / (double)map->n_patches;
    *out = s;
    return SW_OK;
}
