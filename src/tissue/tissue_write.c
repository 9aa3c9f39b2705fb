/* SPDX-License-Identifier: Apache-2.0 */
/* Tissue for people: mask, overlay, GeoJSON. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/mem.h"
#include "slidewise/tissue.h"
#include "tissue/own_contours.h"

sw_status sw_tissue_write_mask(const sw_tissue *tissue, const char *path, sw_error *err)
{
    SW_CLEANUP(sw_image_free) sw_image image = {0};
    SW_TRY(sw_image_new(tissue->mask_width, tissue->mask_height, 0, &image, err));
    for (int64_t i = 0; i < image.width * image.height; i++) memset(image.rgb + 3 * i, tissue->mask[i], 3);
    return sw_image_write(path, &image, err);
}

/* --- overlay */

static void stamp(sw_image *image, int64_t x, int64_t y, int64_t size, const uint8_t color[3])
{
    int64_t x0 = x - size / 2, y0 = y - size / 2;
    for (int64_t j = y0 < 0 ? 0 : y0; j < y0 + size && j < image->height; j++) {
        for (int64_t i = x0 < 0 ? 0 : x0; i < x0 + size && i < image->width; i++) {
            memcpy(image->rgb + 3 * (j * image->width + i), color, 3);
        }
    }
}

static void draw_ring(sw_image *image, const sw_ring *ring, double downsample_x, double downsample_y, int64_t size,
                      const uint8_t color[3])
{
    for (int64_t i = 0; i < ring->n_points; i++) {
        const int32_t *a = ring->xy + 2 * i, *b = ring->xy + 2 * ((i + 1) % ring->n_points);
        double ax = a[0] / downsample_x, ay = a[1] / downsample_y;
        double dx = b[0] / downsample_x - ax, dy = b[1] / downsample_y - ay;
        int steps = (int)ceil(fmax(fabs(dx), fabs(dy))) + 1;
        for (int k = 0; k < steps; k++) {
            stamp(image, llround(ax + dx * k / steps), llround(ay + dy * k / steps), size, color);
        }
    }
}

void sw_tissue_draw(const sw_tissue *tissue, double line_thickness_level0_px, sw_image *image)
{
    static const uint8_t green[3] = {0, 255, 0}, blue[3] = {0, 0, 255};
    double down_x = (double)tissue->width / (double)image->width, down_y = (double)tissue->height / (double)image->height;
    int64_t size = (int64_t)(line_thickness_level0_px / sqrt(down_x * down_y));
    int64_t limit = (image->width < image->height ? image->width : image->height) / 100; /* small pictures stay visible */
    size = size > limit ? limit : size;
    size = size < 1 ? 1 : size;
    for (int64_t i = 0; i < tissue->n_contours; i++) {
        const sw_contour *contour = &tissue->contour[i];
        draw_ring(image, &contour->outer, down_x, down_y, size, green);
        for (int h = 0; h < contour->n_holes; h++) draw_ring(image, &contour->hole[h], down_x, down_y, size, blue);
    }
}

sw_status sw_tissue_write_overlay(sw_slide *slide, const sw_tissue *tissue, double line_thickness_level0_px,
                                  int64_t max_pixels, const char *path, sw_error *err)
{
    SW_CLEANUP(sw_image_free) sw_image image = {0};
    SW_TRY(sw_slide_thumbnail(slide, max_pixels, &image, NULL, err));
    sw_tissue_draw(tissue, line_thickness_level0_px, &image);
    return sw_image_write(path, &image, err);
}

/* --- GeoJSON */

/* A UUID (version 8: of our own making) that follows from the slide and the outline. */
static void put_uuid(sw_json_writer *w, const sw_tissue *tissue, const sw_contour *contour)
{
    char text[40];
    uint64_t a = sw_hash64(tissue->slide_id, strlen(tissue->slide_id));
    uint64_t b = sw_hash64(contour->outer.xy, 2 * sizeof *contour->outer.xy * (size_t)contour->outer.n_points);
    a ^= b * 0x9E3779B97F4A7C15u;
    snprintf(text, sizeof text, "%08x-%04x-8%03x-%04x-%012llx", (unsigned)(a >> 32), (unsigned)(a >> 16 & 0xffff),
             (unsigned)(a & 0xfff), (unsigned)(0x8000 | (b >> 48 & 0x3fff)), (unsigned long long)(b & 0xffffffffffffu));
    sw_json_string(w, text);
}

/* A ring in GeoJSON ends where it begins. Points between two others on a straight line add nothing. */
static void put_ring(sw_json_writer *w, const sw_ring *ring)
{
    sw_json_array(w);
    for (int64_t i = 0; i <= ring->n_points; i++) {
        const int32_t *p = ring->xy + 2 * (i % ring->n_points);
        const int32_t *before = ring->xy + 2 * ((i + ring->n_points - 1) % ring->n_points);
        const int32_t *after = ring->xy + 2 * ((i + 1) % ring->n_points);
        int64_t dx = (int64_t)p[0] - before[0], dy = (int64_t)p[1] - before[1];
        int64_t ex = (int64_t)after[0] - p[0], ey = (int64_t)after[1] - p[1];
        bool straight = dx * ey == dy * ex && dx * ex + dy * ey > 0;
        if (straight && i > 0 && i < ring->n_points) continue;
        sw_json_array(w);
        sw_json_int(w, p[0]);
        sw_json_int(w, p[1]);
        sw_json_end_array(w);
    }
    /* A single pixel or a line is no polygon to QuPath: a ring has at least four positions. */
    for (int64_t i = ring->n_points; i < 3; i++) {
        sw_json_array(w);
        sw_json_int(w, ring->xy[0]);
        sw_json_int(w, ring->xy[1]);
        sw_json_end_array(w);
    }
    sw_json_end_array(w);
}

static void put_contour(sw_json_writer *w, const sw_tissue *tissue, const sw_contour *contour)
{
    static const int color[3] = {0, 128, 0};
    sw_json_object(w);
    sw_json_key(w, "type");
    sw_json_string(w, "Feature");
    sw_json_key(w, "id");
    put_uuid(w, tissue, contour);
    sw_json_key(w, "geometry");
    sw_json_object(w);
    sw_json_key(w, "type");
    sw_json_string(w, "Polygon");
    sw_json_key(w, "coordinates");
    sw_json_array(w);
    put_ring(w, &contour->outer);
    for (int h = 0; h < contour->n_holes; h++) put_ring(w, &contour->hole[h]);
    sw_json_end_array(w);
    sw_json_end_object(w);
    sw_json_key(w, "properties");
    sw_json_object(w);
    sw_json_key(w, "objectType");
    sw_json_string(w, "annotation");
    sw_json_key(w, "classification");
    sw_json_object(w);
    sw_json_key(w, "name");
    sw_json_string(w, "Tissue");
    sw_json_key(w, "color");
    sw_json_array(w);
    for (int i = 0; i < 3; i++) sw_json_int(w, color[i]);
    sw_json_end_array(w);
    sw_json_end_object(w);
    sw_json_end_object(w);
    sw_json_end_object(w);
}

/* What it takes to read the contours back as they are. */
static void put_mask(sw_json_writer *w, const sw_tissue *tissue)
{
    sw_json_key(w, SW_OWN_CONTOURS);
    sw_json_object(w);
    sw_json_put_int(w, "mask_width", tissue->mask_width);
    sw_json_put_int(w, "mask_height", tissue->mask_height);
    sw_json_put_int(w, "slide_width", tissue->width);
    sw_json_put_int(w, "slide_height", tissue->height);
    sw_json_end_object(w);
}

sw_status sw_tissue_write_geojson(const sw_tissue *tissue, const char *path, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf text = {0};
    sw_json_writer w;
    sw_json_begin(&w, &text, 0);
    sw_json_object(&w);
    sw_json_key(&w, "type");
    sw_json_string(&w, "FeatureCollection");
    put_mask(&w, tissue);
    sw_json_key(&w, "features");
    sw_json_array(&w);
    for (int64_t i = 0; i < tissue->n_contours; i++) put_contour(&w, tissue, &tissue->contour[i]);
    sw_json_end_array(&w);
    sw_json_end_object(&w);
    sw_buf_puts(&text, "\n");
    SW_TRY(sw_buf_status(&text, err));
    return sw_file_write(path, text.data, text.size, err);
}
