/* SPDX-License-Identifier: Apache-2.0 */
/* A small drawing surface (cairo is named in draw_cairo.c only). Errors stick to the canvas: draw freely, ask once in
 * sw_canvas_finish. Positions and sizes are pixels, origin top left; colours are 0xRRGGBB. */
#ifndef SW_EXPLAIN_DRAW_H
#define SW_EXPLAIN_DRAW_H

#include <stddef.h>
#include <stdint.h>

#include "slidewise/error.h"
#include "slidewise/image.h"

typedef struct sw_canvas sw_canvas;

sw_status sw_canvas_new(int64_t width, int64_t height, uint32_t background, sw_canvas **out, sw_error *err) SW_MUST_CHECK;
void sw_canvas_free(sw_canvas *canvas);
void sw_canvas_free_ptr(sw_canvas **canvas); /* for SW_CLEANUP */

void sw_canvas_image(sw_canvas *canvas, const sw_image *image, int64_t x, int64_t y); /* pixel for pixel, clipped */
void sw_canvas_fill(sw_canvas *canvas, double x, double y, double width, double height, uint32_t color, double alpha);
void sw_canvas_frame(sw_canvas *canvas, double x, double y, double width, double height, uint32_t color, double line);
void sw_canvas_line(sw_canvas *canvas, double x0, double y0, double x1, double y1, uint32_t color, double line);
/* A closed outline; points [n, 2]. */
void sw_canvas_outline(sw_canvas *canvas, const double *xy, size_t n, uint32_t color, double line);
/* Everything drawn between these two is kept inside the rectangle. */
void sw_canvas_clip(sw_canvas *canvas, double x, double y, double width, double height);
void sw_canvas_unclip(sw_canvas *canvas);

typedef enum sw_align { SW_ALIGN_LEFT, SW_ALIGN_CENTER, SW_ALIGN_RIGHT } sw_align;
/* `y` is the baseline, `size` the font's height. max_width > 0: the text is made smaller to fit, down to half its
 * size, then cut with an ellipsis. Bytes that are not UTF-8 are shown as '?'. */
typedef struct sw_text_style {
    double size, max_width;
    uint32_t color;
    sw_align align;
    bool bold;
} sw_text_style;
void sw_canvas_text(sw_canvas *canvas, double x, double y, const sw_text_style *style, const char *text);

/* The finished picture; *out is owned by the caller. */
sw_status sw_canvas_finish(sw_canvas *canvas, sw_image *out, sw_error *err) SW_MUST_CHECK;

#endif
