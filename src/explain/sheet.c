/* SPDX-License-Identifier: Apache-2.0 */
/* The contact sheet: the patches that the model attended to most. */
#include <math.h>
#include <stdio.h>

#include "base/mem.h"
#include "explain/draw.h"
#include "explain/explain.h"
#include "slidewise/image.h"
#include "slidewise/slide.h"

#define CELL 224
#define GAP 14
#define MARGIN 24
#define HEAD 78
#define CAPTION 30
#define INK 0x1f2328
#define SOFT 0x59636e
#define MAX_TOP 400

static int columns_for(int count)
{
    int columns = (int)ceil(sqrt((double)count));
    return columns < 2 ? 2 : columns > 8 ? 8 : columns;
}

static sw_status draw_cell(sw_canvas *c, struct sw_slide *slide, const sw_attention_map *map, const sw_heat *heat,
                           int place, int columns, sw_error *err)
{
    SW_CLEANUP(sw_image_free) sw_image patch = {0};
    int64_t i = heat->order[place];
    int64_t x = MARGIN + (int64_t)(place % columns) * (CELL + GAP);
    int64_t y = HEAD + (int64_t)(place / columns) * (CELL + CAPTION + GAP);
    sw_text_style rank = {.size = 15, .color = INK, .bold = true};
    sw_text_style value = {.size = 14, .color = SOFT, .align = SW_ALIGN_RIGHT, .max_width = CELL - 50};
    char text[96];
    uint8_t rgb[3];
    SW_TRY(sw_image_new(CELL, CELL, 255, &patch, err));
    SW_TRY(sw_slide_read_area(slide, (double)map->xy[2 * i], (double)map->xy[2 * i + 1], map->patch_level0_px,
                              map->patch_level0_px, CELL, CELL, patch.rgb, err));
    sw_canvas_image(c, &patch, x, y);
    sw_heat_color(heat->heat[i], rgb);
    sw_canvas_frame(c, (double)x - 3, (double)y - 3, CELL + 6, CELL + 6,
                    (uint32_t)rgb[0] << 16 | (uint32_t)rgb[1] << 8 | rgb[2], 3);
    snprintf(text, sizeof text, "%d", place + 1);
    sw_canvas_text(c, (double)x, (double)(y + CELL) + 21, &rank, text);
    snprintf(text, sizeof text, "%.3g \xc3\x97 mean   (%lld, %lld)", heat->attention[i] * (double)map->n_patches,
             (long long)map->xy[2 * i], (long long)map->xy[2 * i + 1]);
    sw_canvas_text(c, (double)x + CELL, (double)(y + CELL) + 21, &value, text);
    return SW_OK;
}

static void draw_head(sw_canvas *c, const sw_attention_map *map, int count, double share, double mpp_um, double width)
{
    sw_text_style title = {.size = 22, .color = INK, .bold = true, .max_width = width};
    sw_text_style small = {.size = 14, .color = SOFT, .max_width = width};
    char line[256], size[64] = "";
    if (mpp_um > 0) snprintf(size, sizeof size, ", each %.4g \xc2\xb5m wide", map->patch_level0_px * mpp_um);
    snprintf(line, sizeof line, "the %d most attended of %lld patches hold %.1f %% of the attention%s", count,
             (long long)map->n_patches, 100 * share, size);
    sw_canvas_text(c, MARGIN, 34, &title, map->slide_id);
    sw_canvas_text(c, MARGIN, 58, &small, line);
}

sw_status sw_heatmap_sheet(struct sw_slide *slide, const sw_attention_map *map, const sw_explain_options *options,
                           const char *path, sw_error *err)
{
    sw_explain_options opt = options ? *options : sw_explain_options_default();
    SW_CLEANUP(sw_heat_free) sw_heat heat = {0};
    SW_CLEANUP(sw_canvas_free_ptr) sw_canvas *c = NULL;
    SW_CLEANUP(sw_image_free) sw_image picture = {0};
    double share = 0, mpp_um;
    int64_t width, height;
    int count, columns;
    if (opt.top < 1 || opt.top > MAX_TOP) {
        return sw_error_set(err, SW_E_INVALID, "%d top patches; between 1 and %d fit on a sheet", opt.top, MAX_TOP);
    }
    SW_TRY(sw_heat_make(map, opt.head, opt.scale, &heat, err));
    count = opt.top < heat.n ? opt.top : (int)heat.n;
    columns = columns_for(count);
    width = 2 * MARGIN + (int64_t)columns * (CELL + GAP) - GAP;
    height = HEAD + (int64_t)((count + columns - 1) / columns) * (CELL + CAPTION + GAP) + MARGIN - GAP;
    SW_TRY(sw_canvas_new(width, height, 0xffffff, &c, err));
    for (int k = 0; k < count; k++) {
        SW_TRY(draw_cell(c, slide, map, &heat, k, columns, err));
        share += heat.attention[heat.order[k]];
    }
    mpp_um = opt.slide_mpp_um > 0 ? opt.slide_mpp_um : sw_slide_get_info(slide)->mpp_um;
    draw_head(c, map, count, share, mpp_um, (double)(width - 2 * MARGIN));
    SW_TRY(sw_canvas_finish(c, &picture, err));
    return sw_image_write(path, &picture, err);
}
