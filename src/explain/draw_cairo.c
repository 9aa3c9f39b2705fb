/* SPDX-License-Identifier: Apache-2.0 */
/* The drawing surface on cairo. */
#include "explain/draw.h"

#include <cairo.h>
#include <string.h>

#include "base/mem.h"
#include "base/versions.h"
#include "explain/utf8.h"

#define MAX_SIDE 32767 /* cairo's image surfaces go no further */
#define MAX_TEXT 512

const char *sw_cairo_version(void)
{
    return cairo_version_string();
}

struct sw_canvas {
    cairo_surface_t *surface;
    cairo_t *cr;
};

void sw_canvas_free(sw_canvas *canvas)
{
    if (!canvas) return;
    cairo_destroy(canvas->cr);
    cairo_surface_destroy(canvas->surface);
    sw_free(canvas);
}

void sw_canvas_free_ptr(sw_canvas **canvas)
{
    sw_canvas_free(*canvas);
}

static void set_color(cairo_t *cr, uint32_t color, double alpha)
{
    cairo_set_source_rgba(cr, (color >> 16 & 255) / 255.0, (color >> 8 & 255) / 255.0, (color & 255) / 255.0, alpha);
}

sw_status sw_canvas_new(int64_t width, int64_t height, uint32_t background, sw_canvas **out, sw_error *err)
{
    SW_CLEANUP(sw_canvas_free_ptr) sw_canvas *c = NULL;
    if (width < 1 || height < 1 || width > MAX_SIDE || height > MAX_SIDE) {
        return sw_error_set(err, SW_E_INVALID, "a picture of %lld x %lld pixels cannot be drawn; sides are 1 to %d",
                            (long long)width, (long long)height, MAX_SIDE);
    }
    c = sw_calloc(1, sizeof *c);
    if (!c) return sw_nomem(err);
    c->surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, (int)width, (int)height);
    c->cr = cairo_create(c->surface);
    if (cairo_status(c->cr) != CAIRO_STATUS_SUCCESS) return sw_nomem(err);
    set_color(c->cr, background, 1);
    cairo_paint(c->cr);
    cairo_set_line_join(c->cr, CAIRO_LINE_JOIN_ROUND);
    *out = SW_STEAL(c);
    return SW_OK;
}

void sw_canvas_image(sw_canvas *canvas, const sw_image *image, int64_t x, int64_t y)
{
    unsigned char *pixels;
    int stride, width, height;
    cairo_surface_flush(canvas->surface);
    pixels = cairo_image_surface_get_data(canvas->surface);
    stride = cairo_image_surface_get_stride(canvas->surface);
    width = cairo_image_surface_get_width(canvas->surface);
    height = cairo_image_surface_get_height(canvas->surface);
    for (int64_t row = 0; row < image->height; row++) {
        if (y + row < 0 || y + row >= height) continue;
        for (int64_t column = 0; column < image->width; column++) {
            const uint8_t *rgb = image->rgb + 3 * (row * image->width + column);
            uint32_t value = (uint32_t)rgb[0] << 16 | (uint32_t)rgb[1] << 8 | rgb[2];
            if (x + column < 0 || x + column >= width) continue;
            memcpy(pixels + (y + row) * stride + (x + column) * 4, &value, sizeof value);
        }
    }
    cairo_surface_mark_dirty(canvas->surface);
}

void sw_canvas_fill(sw_canvas *canvas, double x, double y, double width, double height, uint32_t color, double alpha)
{
    set_color(canvas->cr, color, alpha);
    cairo_rectangle(canvas->cr, x, y, width, height);
    cairo_fill(canvas->cr);
}

void sw_canvas_frame(sw_canvas *canvas, double x, double y, double width, double height, uint32_t color, double line)
{
    set_color(canvas->cr, color, 1);
    cairo_set_line_width(canvas->cr, line);
    cairo_rectangle(canvas->cr, x + line / 2, y + line / 2, width - line, height - line);
    cairo_stroke(canvas->cr);
}

void sw_canvas_line(sw_canvas *canvas, double x0, double y0, double x1, double y1, uint32_t color, double line)
{
    set_color(canvas->cr, color, 1);
    cairo_set_line_width(canvas->cr, line);
    cairo_move_to(canvas->cr, x0, y0);
    cairo_line_to(canvas->cr, x1, y1);
    cairo_stroke(canvas->cr);
}

void sw_canvas_outline(sw_canvas *canvas, const double *xy, size_t n, uint32_t color, double line)
{
    set_color(canvas->cr, color, 1);
    cairo_set_line_width(canvas->cr, line);
    for (size_t i = 0; i < n; i++) cairo_line_to(canvas->cr, xy[2 * i], xy[2 * i + 1]);
    cairo_close_path(canvas->cr);
    cairo_stroke(canvas->cr);
}

void sw_canvas_clip(sw_canvas *canvas, double x, double y, double width, double height)
{
    cairo_save(canvas->cr);
    cairo_rectangle(canvas->cr, x, y, width, height);
    cairo_clip(canvas->cr);
}

void sw_canvas_unclip(sw_canvas *canvas)
{
    cairo_restore(canvas->cr);
}

/* cairo refuses texts that are not UTF-8 for good: bad bytes become '?'. Long texts are cut between characters. */
static void clean(const char *text, char out[MAX_TEXT])
{
    size_t used = 0;
    for (const unsigned char *s = (const unsigned char *)text; *s && used < MAX_TEXT - 8;) {
        size_t n = sw_utf8_sequence(s);
        if (n == 0 || (n == 1 && *s < 0x20)) {
            out[used++] = '?';
            s++;
            continue;
        }
        memcpy(out + used, s, n);
        used += n;
        s += n;
    }
    out[used] = '\0';
}

static double advance(cairo_t *cr, const char *text)
{
    cairo_text_extents_t extents;
    cairo_text_extents(cr, text, &extents);
    return extents.x_advance;
}

/* Drops characters at the end until the text and an ellipsis fit. */
static void shorten(cairo_t *cr, char text[MAX_TEXT], double max_width)
{
    size_t n = strlen(text);
    while (n > 0 && advance(cr, text) > max_width) {
        do n--;
        while (n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80);
        memcpy(text + n, "\xe2\x80\xa6", 4);
    }
}

void sw_canvas_text(sw_canvas *canvas, double x, double y, const sw_text_style *style, const char *text)
{
    char shown[MAX_TEXT];
    cairo_t *cr = canvas->cr;
    double width;
    clean(text, shown);
    cairo_select_font_face(cr, "sans-serif", CAIRO_FONT_SLANT_NORMAL,
                           style->bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(cr, style->size);
    width = advance(cr, shown);
    if (style->max_width > 0 && width > style->max_width) {
        double ratio = style->max_width / width;
        cairo_set_font_size(cr, style->size * (ratio > 0.5 ? ratio : 0.5));
        shorten(cr, shown, style->max_width + 0.5);
        width = advance(cr, shown);
    }
    if (style->align == SW_ALIGN_CENTER) x -= width / 2;
    if (style->align == SW_ALIGN_RIGHT) x -= width;
    set_color(cr, style->color, 1);
    cairo_move_to(cr, x, y);
    cairo_show_text(cr, shown);
    cairo_new_path(cr);
}

sw_status sw_canvas_finish(sw_canvas *canvas, sw_image *out, sw_error *err)
{
    const unsigned char *pixels;
    cairo_status_t status = cairo_status(canvas->cr);
    int stride;
    if (status != CAIRO_STATUS_SUCCESS) {
        return sw_error_set(err, status == CAIRO_STATUS_NO_MEMORY ? SW_E_NOMEM : SW_E_INTERNAL, "drawing failed: %s",
                            cairo_status_to_string(status));
    }
    cairo_surface_flush(canvas->surface);
    SW_TRY(sw_image_new(cairo_image_surface_get_width(canvas->surface),
                        cairo_image_surface_get_height(canvas->surface), 255, out, err));
    pixels = cairo_image_surface_get_data(canvas->surface);
    stride = cairo_image_surface_get_stride(canvas->surface);
    for (int64_t y = 0; y < out->height; y++) {
        for (int64_t x = 0; x < out->width; x++) {
            uint32_t value;
            uint8_t *rgb = out->rgb + 3 * (y * out->width + x);
            memcpy(&value, pixels + y * stride + x * 4, sizeof value);
            rgb[0] = (uint8_t)(value >> 16);
            rgb[1] = (uint8_t)(value >> 8);
            rgb[2] = (uint8_t)value;
        }
    }
    return SW_OK;
}
