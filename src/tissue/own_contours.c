/* SPDX-License-Identifier: Apache-2.0 */
/* Contours that sw_tissue_write_geojson wrote, as they were: every corner is a pixel of the mask that they were followed in, and
 * the pixels between two corners lie on a straight or a diagonal line. */
#include "tissue/own_contours.h"

#include <string.h>

#include "base/mem.h"
#include "tissue/border.h"
#include "tissue/user_mask.h"

typedef struct reading {
    int64_t width, height;   /* of the mask */
    double scale_x, scale_y; /* level-0 pixels per pixel */
    sw_borders borders;
} reading;

static void reading_free(reading *r)
{
    sw_borders_free(&r->borders);
}

/* The mask's pixel of which `level0` is the position, as sw_ring has it: k * scale without its fraction. -1: there is none. */
static int64_t pixel_of(const sw_json *level0, double scale, int64_t count)
{
    int64_t at = sw_json_integer(level0, -1);
    if (at < 0) return -1;
    for (int64_t k = (int64_t)((double)at / scale), end = k + 2; k < end && k < count; k++) {
        if ((int64_t)((double)k * scale) == at) return k;
    }
    return -1;
}

static bool corner_of(const reading *r, const sw_json *json, int64_t *xy)
{
    xy[0] = pixel_of(sw_json_at(json, 0), r->scale_x, r->width);
    xy[1] = pixel_of(sw_json_at(json, 1), r->scale_y, r->height);
    return xy[0] >= 0 && xy[1] >= 0;
}

static sw_status add_point(sw_borders *b, const int64_t *xy, sw_error *err)
{
    SW_TRY(sw_grow(&b->xy, &b->points_capacity, 2 * (b->n_points + 1), sizeof *b->xy, err));
    b->xy[2 * b->n_points] = (int32_t)xy[0];
    b->xy[2 * b->n_points + 1] = (int32_t)xy[1];
    b->n_points++;
    return SW_OK;
}

/* The pixels from a (with it) to b (without it); *ours false where no straight or diagonal line leads there. */
static sw_status add_line(sw_borders *b, const int64_t *from, const int64_t *to, bool *ours, sw_error *err)
{
    int64_t dx = to[0] - from[0], dy = to[1] - from[1], n = dx > 0 ? dx : dx < 0 ? -dx : dy < 0 ? -dy : dy;
    *ours = dx == 0 || dy == 0 || dx == dy || dx == -dy;
    for (int64_t i = 0; *ours && i < n; i++) {
        const int64_t xy[2] = {from[0] + dx / n * i, from[1] + dy / n * i};
        SW_TRY(add_point(b, xy, err));
    }
    return SW_OK;
}

/* A closed ring as the border with this parent (-1: an outer one). */
static sw_status add_ring(reading *r, const sw_json *ring, int32_t parent, bool *ours, sw_error *err)
{
    sw_borders *b = &r->borders;
    size_t n = sw_json_is_array(ring) ? sw_json_count(ring) : 0;
    sw_border border = {.first = b->n_points, .parent = parent};
    int64_t from[2], to[2];
    *ours = n >= 4 && corner_of(r, sw_json_at(ring, 0), from);
    for (size_t i = 1; *ours && i < n; i++) {
        *ours = corner_of(r, sw_json_at(ring, i), to);
        if (*ours) SW_TRY(add_line(b, from, to, ours, err));
        memcpy(from, to, sizeof from);
    }
    border.n_points = (int64_t)(b->n_points - border.first);
    if (!*ours || border.n_points == 0) {
        *ours = false;
        return SW_OK;
    }
    border.area_px = sw_border_area(b->xy + 2 * border.first, border.n_points);
    *ours = border.area_px > 0;
    SW_TRY(sw_grow(&b->border, &b->capacity, b->count + 1, sizeof *b->border, err));
    b->border[b->count++] = border;
    return SW_OK;
}

/* Holes are listed from the largest; among equals the last border comes first. */
static sw_status add_polygon(reading *r, const sw_json *rings, bool *ours, sw_error *err)
{
    int32_t outer = (int32_t)r->borders.count;
    SW_TRY(add_ring(r, sw_json_at(rings, 0), -1, ours, err));
    for (size_t i = sw_json_count(rings); *ours && i > 1; i--) SW_TRY(add_ring(r, sw_json_at(rings, i - 1), outer, ours, err));
    return SW_OK;
}

sw_status sw_own_contours(const sw_json *root, const sw_slide_info *info, sw_tissue *out, bool *ours, sw_error *err)
{
    const sw_json *mask = sw_json_get(root, SW_OWN_CONTOURS), *features = sw_json_get(root, "features");
    SW_CLEANUP(reading_free) reading r = {.width = sw_json_integer(sw_json_get(mask, "mask_width"), 0),
                                          .height = sw_json_integer(sw_json_get(mask, "mask_height"), 0)};
    memset(out, 0, sizeof *out);
    *ours = r.width > 0 && r.height > 0 && r.width <= info->width && r.height <= info->height && sw_json_is_array(features) &&
            sw_json_integer(sw_json_get(mask, "slide_width"), 0) == info->width &&
            sw_json_integer(sw_json_get(mask, "slide_height"), 0) == info->height;
    if (!*ours) return SW_OK;
    r.scale_x = (double)info->width / (double)r.width;
    r.scale_y = (double)info->height / (double)r.height;
    for (size_t i = sw_json_count(features); *ours && i > 0; i--) { /* borders come from the top down, contours from the bottom up */
        SW_TRY(add_polygon(&r, sw_json_get(sw_json_get(sw_json_at(features, i - 1), "geometry"), "coordinates"), ours, err));
    }
    if (!*ours) return SW_OK;
    SW_CLEANUP(sw_tissue_free) sw_tissue made = {.width = info->width, .height = info->height, .scale_x = r.scale_x, .scale_y = r.scale_y,
                                                 .mask_width = r.width, .mask_height = r.height};
    made.slide_id = sw_strdup(info->slide_id);
    made.mask = sw_calloc((size_t)(r.width * r.height), 1);
    if (!made.slide_id || !made.mask) return sw_nomem(err);
    SW_TRY(sw_tissue_of_borders(&made, &r.borders, err));
    *out = made;
    memset(&made, 0, sizeof made);
    return SW_OK;
}
