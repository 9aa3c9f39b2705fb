/* SPDX-License-Identifier: Apache-2.0 */
/* The heatmap: the slide as it is, and the same with heat, a colour bar and a scale bar. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "explain/draw.h"
#include "explain/explain.h"
#include "slidewise/image.h"
#include "slidewise/slide.h"

#define INK 0x1f2328
#define SOFT 0x59636e
#define PAPER 0xffffff
#define LINE 0xc8ccd1

/* Where everything stands on the picture, in pixels. */
typedef struct layout {
    double unit;        /* size of the small text; all distances follow it */
    int64_t width, height;
    int64_t panel_w, panel_h;
    int64_t x[2], y[2]; /* of the plain slide and of the heat */
    double legend_y;
    double downsample;  /* level-0 pixels per panel pixel */
    double mpp_um;      /* of level 0; 0: unknown */
} layout;

static layout arrange(const sw_image *thumb, double downsample)
{
    layout l = {.panel_w = thumb->width, .panel_h = thumb->height, .downsample = downsample};
    bool beside = thumb->width <= thumb->height * 8 / 5;
    double content = beside ? 2.0 * (double)thumb->width : (double)thumb->width;
    int64_t margin, head, gap;
    l.unit = content / 80;
    l.unit = l.unit < 13 ? 13 : l.unit > 34 ? 34 : l.unit;
    margin = (int64_t)(l.unit * 1.5);
    gap = (int64_t)(l.unit * 1.2);
    head = (int64_t)(l.unit * 5.2);
    l.x[0] = l.x[1] = margin;
    l.y[0] = l.y[1] = head;
    if (beside) {
        l.x[1] += thumb->width + gap;
    } else {
        l.y[1] += thumb->height + gap;
    }
    l.width = l.x[1] + thumb->width + margin;
    if (l.width < (int64_t)(l.unit * 46)) l.width = (int64_t)(l.unit * 46);
    l.legend_y = (double)(l.y[1] + thumb->height) + l.unit * 1.4;
    l.height = (int64_t)(l.legend_y + l.unit * 5.2);
    return l;
}

/* 1, 2 or 5 times a power of ten, at most `limit`. */
static double nice_length(double limit)
{
    double power = pow(10, floor(log10(limit))), lead = limit / power;
    return power * (lead >= 5 ? 5 : lead >= 2 ? 2 : 1);
}

static void draw_scale_bar(sw_canvas *c, const layout *l, int panel)
{
    double um_per_px = l->mpp_um * l->downsample, u = l->unit, length_um, length;
    double x = (double)l->x[panel] + u, y = (double)(l->y[panel] + l->panel_h) - u;
    sw_text_style style = {.size = u, .color = INK, .align = SW_ALIGN_CENTER};
    char label[64];
    if (!(um_per_px > 0)) return;
    length_um = nice_length((double)l->panel_w * 0.28 * um_per_px);
    length = length_um / um_per_px;
    if (length_um >= 1000) {
        snprintf(label, sizeof label, "%g mm", length_um / 1000);
    } else {
        snprintf(label, sizeof label, "%g \xc2\xb5m", length_um);
    }
    sw_canvas_fill(c, x - u * 0.5, y - u * 2.1, length + u, u * 2.6, PAPER, 0.85);
    sw_canvas_fill(c, x, y - u * 0.3, length, u * 0.3, INK, 1);
    style.max_width = length + u * 0.8;
    sw_canvas_text(c, x + length / 2, y - u * 0.75, &style, label);
}

typedef struct outline_ctx {
    sw_canvas *canvas;
    const layout *l;
    int panel;
    bool failed;
} outline_ctx;

static void draw_ring(void *ctx, const double *xy, size_t n)
{
    outline_ctx *o = ctx;
    SW_AUTOFREE double *moved = sw_calloc(n * 2, sizeof *moved);
    if (!moved) {
        o->failed = true;
        return;
    }
    for (size_t i = 0; i < n; i++) {
        moved[2 * i] = xy[2 * i] / o->l->downsample + (double)o->l->x[o->panel];
        moved[2 * i + 1] = xy[2 * i + 1] / o->l->downsample + (double)o->l->y[o->panel];
    }
    sw_canvas_outline(o->canvas, moved, n, PAPER, o->l->unit * 0.3);
    sw_canvas_outline(o->canvas, moved, n, INK, o->l->unit * 0.12);
}

static sw_status draw_foci(sw_canvas *c, const layout *l, const sw_foci *foci, sw_error *err)
{
    for (int panel = 0; foci && panel < 2; panel++) {
        outline_ctx ctx = {c, l, panel, false};
        sw_canvas_clip(c, (double)l->x[panel], (double)l->y[panel], (double)l->panel_w, (double)l->panel_h);
        sw_foci_rings(foci, draw_ring, &ctx);
        sw_canvas_unclip(c);
        if (ctx.failed) return sw_nomem(err);
    }
    return SW_OK;
}

/* The bar shows the colours as they are, not laid over the slide. */
static void draw_legend(sw_canvas *c, const layout *l, const sw_attention_map *map, const sw_heat *heat,
                        const sw_explain_options *opt, bool foci)
{
    double u = l->unit, x = (double)l->x[0], y = l->legend_y + u, width = u * 22, n = (double)map->n_patches;
    sw_text_style style = {.size = u, .color = SOFT, .align = SW_ALIGN_LEFT};
    double most = heat->attention[heat->order[0]] * n, least = heat->attention[heat->order[heat->n - 1]] * n;
    sw_canvas_text(c, x, l->legend_y + u * 0.3, &style,
                   opt->scale == SW_HEAT_RANK ? "attention, percentile rank among the slide's patches"
                                              : "attention, as a multiple of the slide's mean");
    for (int i = 0; i < 256; i++) {
        uint8_t rgb[3];
        sw_heat_color(i / 255.0, rgb);
        sw_canvas_fill(c, x + width * i / 256, y, width / 256 + 0.6, u * 1.2,
                       (uint32_t)rgb[0] << 16 | (uint32_t)rgb[1] << 8 | rgb[2], 1);
    }
    sw_canvas_frame(c, x, y, width, u * 1.2, LINE, 1);
    style.align = SW_ALIGN_CENTER;
    for (int i = 0; i <= 4; i++) {
        char tick[32];
        double at = x + width * i / 4;
        if (opt->scale == SW_HEAT_RANK) {
            snprintf(tick, sizeof tick, "%d %%", 25 * i);
        } else {
            snprintf(tick, sizeof tick, "%.3g", least + (most - least) * i / 4);
        }
        sw_canvas_line(c, at, y + u * 1.2, at, y + u * 1.5, SOFT, 1);
        sw_canvas_text(c, at < x + u ? x + u : at, y + u * 2.6, &style, tick);
    }
    if (foci) {
        style.align = SW_ALIGN_LEFT;
        sw_canvas_frame(c, x + width + u * 2, y, u * 1.6, u * 1.2, INK, u * 0.12);
        sw_canvas_text(c, x + width + u * 4.2, y + u * 0.95, &style, "true focus");
    }
}

static void draw_head(sw_canvas *c, const layout *l, const sw_attention_map *map, const sw_explain_options *opt)
{
    double u = l->unit, x = (double)l->x[0], width = (double)l->width - 2 * x;
    sw_text_style title = {.size = u * 1.5, .color = INK, .bold = true, .max_width = width};
    sw_text_style small = {.size = u, .color = SOFT, .max_width = width};
    char heads[64], size[64] = "", line[256];
    if (opt->head != SW_HEAD_MEAN) {
        snprintf(heads, sizeof heads, "head %d of %d", opt->head, map->n_heads);
    } else {
        snprintf(heads, sizeof heads, map->n_heads > 1 ? "mean of %d heads" : "%d head", map->n_heads);
    }
    if (l->mpp_um > 0) snprintf(size, sizeof size, " of %.4g \xc2\xb5m", map->patch_level0_px * l->mpp_um);
    snprintf(line, sizeof line, "attention, %s; %lld patches%s", heads, (long long)map->n_patches, size);
    sw_canvas_text(c, x, u * 2.2, &title, map->slide_id);
    sw_canvas_text(c, x, u * 4, &small, line);
}

static sw_status compose(const layout *l, const sw_image *thumb, const sw_attention_map *map, const sw_heat *heat,
                         const sw_explain_options *opt, const sw_foci *foci, sw_image *out, sw_error *err)
{
    SW_CLEANUP(sw_canvas_free_ptr) sw_canvas *c = NULL;
    SW_AUTOFREE float *raster = sw_calloc((size_t)(thumb->width * thumb->height), sizeof *raster);
    if (!raster) return sw_nomem(err);
    SW_TRY(sw_heat_raster(map, heat->heat, 0, 0, l->downsample, thumb->width, thumb->height, raster, err));
    SW_TRY(sw_canvas_new(l->width, l->height, PAPER, &c, err));
    sw_canvas_image(c, thumb, l->x[0], l->y[0]);
    sw_heat_blend(raster, thumb->width * thumb->height, opt->alpha, thumb->rgb);
    sw_canvas_image(c, thumb, l->x[1], l->y[1]);
    for (int p = 0; p < 2; p++) {
        sw_canvas_frame(c, (double)l->x[p] - 1, (double)l->y[p] - 1, (double)l->panel_w + 2, (double)l->panel_h + 2, LINE, 1);
    }
    SW_TRY(draw_foci(c, l, foci, err));
    draw_head(c, l, map, opt);
    draw_legend(c, l, map, heat, opt, foci != NULL);
    draw_scale_bar(c, l, 0);
    return sw_canvas_finish(c, out, err);
}

static void foci_free_ptr(sw_foci **foci)
{
    sw_foci_free(*foci);
}

sw_status sw_heatmap_png(struct sw_slide *slide, const sw_attention_map *map, const sw_explain_options *options,
                         const char *path, sw_error *err)
{
    sw_explain_options opt = options ? *options : sw_explain_options_default();
    SW_CLEANUP(sw_image_free) sw_image thumb = {0};
    SW_CLEANUP(sw_image_free) sw_image picture = {0};
    SW_CLEANUP(sw_heat_free) sw_heat heat = {0};
    SW_CLEANUP(foci_free_ptr) sw_foci *foci = NULL;
    double downsample = 1;
    layout l;
    if (!(opt.alpha >= 0 && opt.alpha <= 1)) {
        return sw_error_set(err, SW_E_INVALID, "the opacity of the heat is %g, not in [0, 1]", opt.alpha);
    }
    if (opt.max_pixels < 1000) {
        return sw_error_set(err, SW_E_INVALID, "a heatmap of %lld pixels; give 1000 or more", (long long)opt.max_pixels);
    }
    SW_TRY(sw_heat_make(map, opt.head, opt.scale, &heat, err));
    if (opt.foci) SW_TRY(sw_foci_read(opt.foci, &foci, err));
    SW_TRY(sw_slide_thumbnail(slide, opt.max_pixels / 2, &thumb, &downsample, err)); /* two panels */
    l = arrange(&thumb, downsample);
    l.mpp_um = opt.slide_mpp_um > 0 ? opt.slide_mpp_um : sw_slide_get_info(slide)->mpp_um;
    SW_TRY(compose(&l, &thumb, map, &heat, &opt, foci, &picture, err));
    return sw_image_write(path, &picture, err);
}
