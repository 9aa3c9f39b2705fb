/* SPDX-License-Identifier: Apache-2.0 */
/* Attention for other programs: GeoJSON tiles (QuPath), CSV. */
#include <string.h>

#include "base/csv.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/mem.h"
#include "explain/explain.h"

char *sw_explain_path(const char *dir, const char *slide_id, const char *suffix)
{
    char *path = sw_asprintf("%s/%s%s", dir, slide_id, suffix);
    if (!path) return NULL;
    for (char *c = path + strlen(dir) + 1; *c; c++) {
        if (*c == '/') *c = '_';
    }
    return path;
}

/* [n_heads, n]: every head normalised; NULL with *status set on failure. */
static double *all_heads(const sw_attention_map *map, sw_status *status, sw_error *err)
{
    SW_AUTOFREE double *heads = sw_calloc((size_t)map->n_heads * (size_t)map->n_patches, sizeof *heads);
    if (!heads) {
        *status = sw_nomem(err);
        return NULL;
    }
    for (int h = 0; h < map->n_heads; h++) {
        *status = sw_attention_of_head(map, h, heads + h * map->n_patches, err);
        if (*status != SW_OK) return NULL;
    }
    return SW_STEAL(heads);
}

/* A stable identifier per slide and patch, in the form of a UUID of version 8 (RFC 9562: free content). */
static void put_uuid(sw_buf *buf, const char *slide_id, int64_t index)
{
    uint64_t slide = sw_hash64(slide_id, strlen(slide_id));
    uint64_t key[2] = {slide, (uint64_t)index}, patch = sw_hash64(key, sizeof key);
    sw_buf_printf(buf, "%08x-%04x-8%03x-%04x-%012llx", (unsigned)(slide >> 32), (unsigned)(slide >> 16 & 0xffff),
                  (unsigned)(slide & 0xfff), (unsigned)(patch >> 48 & 0x3fff) | 0x8000,
                  (unsigned long long)(patch & 0xffffffffffffull));
}

static void put_feature(sw_buf *buf, const sw_attention_map *map, const sw_heat *heat, const double *heads, int64_t i)
{
    double x = (double)map->xy[2 * i], y = (double)map->xy[2 * i + 1], s = map->patch_level0_px, n = (double)map->n_patches;
    uint8_t rgb[3];
    sw_heat_color(heat->heat[i], rgb);
    sw_buf_puts(buf, "{\"type\":\"Feature\",\"id\":\"");
    put_uuid(buf, map->slide_id, i);
    sw_buf_printf(buf,
                  "\",\"geometry\":{\"type\":\"Polygon\",\"coordinates\":"
                  "[[[%.10g,%.10g],[%.10g,%.10g],[%.10g,%.10g],[%.10g,%.10g],[%.10g,%.10g]]]}",
                  x, y, x + s, y, x + s, y + s, x, y + s, x, y);
    sw_buf_printf(buf,
                  ",\"properties\":{\"objectType\":\"tile\",\"color\":[%d,%d,%d],"
                  "\"measurements\":{\"attention\":%.9g,\"percentile\":%.6g,\"rank\":%lld",
                  rgb[0], rgb[1], rgb[2], heat->attention[i] * n, heat->percentile[i], (long long)heat->rank[i]);
    for (int h = 0; heads && h < map->n_heads; h++) {
        sw_buf_printf(buf, ",\"attention head %d\":%.9g", h, heads[h * map->n_patches + i] * n);
    }
    sw_buf_puts(buf, "}}}");
}

sw_status sw_heatmap_geojson(const sw_attention_map *map, const sw_explain_options *options, const char *path,
                             sw_error *err)
{
    sw_explain_options opt = options ? *options : sw_explain_options_default();
    SW_CLEANUP(sw_heat_free) sw_heat heat = {0};
    SW_CLEANUP(sw_buf_free) sw_buf buf = {0};
    SW_AUTOFREE double *heads = NULL;
    sw_status status = SW_OK;
    SW_TRY(sw_heat_make(map, opt.head, opt.scale, &heat, err));
    if (opt.per_head) {
        heads = all_heads(map, &status, err);
        if (!heads) return status;
    }
    sw_buf_puts(&buf, "{\"type\":\"FeatureCollection\",\"features\":[");
    for (int64_t i = 0; i < map->n_patches; i++) {
        sw_buf_puts(&buf, i ? ",\n" : "\n");
        put_feature(&buf, map, &heat, heads, i);
    }
    sw_buf_puts(&buf, "\n]}\n");
    SW_TRY(sw_buf_status(&buf, err));
    return sw_file_write(path, buf.data, buf.size, err);
}

static sw_status put_header(sw_buf *buf, const sw_attention_map *map, bool per_head, sw_error *err)
{
    sw_buf_puts(buf, "rank,level0_x,level0_y,level0_size,attention");
    for (int h = 0; per_head && h < map->n_heads; h++) sw_buf_printf(buf, ",attention_head%d", h);
    for (int c = 0; map->contribution && c < map->n_classes; c++) {
        SW_AUTOFREE char *name =
            map->class_name ? sw_asprintf("logit_%s", map->class_name[c]) : sw_asprintf("logit_%d", c);
        if (!name) return sw_nomem(err);
        sw_buf_puts(buf, ",");
        sw_csv_put(buf, name, false);
        buf->data[--buf->size] = '\0'; /* the separator: the next column brings its own */
    }
    sw_buf_puts(buf, "\n");
    return SW_OK;
}

sw_status sw_heatmap_csv(const sw_attention_map *map, const sw_explain_options *options, const char *path, sw_error *err)
{
    sw_explain_options opt = options ? *options : sw_explain_options_default();
    SW_CLEANUP(sw_heat_free) sw_heat heat = {0};
    SW_CLEANUP(sw_buf_free) sw_buf buf = {0};
    SW_AUTOFREE double *heads = NULL;
    sw_status status = SW_OK;
    SW_TRY(sw_heat_make(map, opt.head, opt.scale, &heat, err));
    if (opt.per_head) {
        heads = all_heads(map, &status, err);
        if (!heads) return status;
    }
    SW_TRY(put_header(&buf, map, opt.per_head, err));
    for (int64_t i = 0; i < map->n_patches; i++) {
        sw_buf_printf(&buf, "%lld,%lld,%lld,%.10g,%.9g", (long long)heat.rank[i], (long long)map->xy[2 * i],
                      (long long)map->xy[2 * i + 1], map->patch_level0_px, heat.attention[i]);
        for (int h = 0; heads && h < map->n_heads; h++) sw_buf_printf(&buf, ",%.9g", heads[h * map->n_patches + i]);
        for (int c = 0; map->contribution && c < map->n_classes; c++) {
            sw_buf_printf(&buf, ",%.9g", (double)map->contribution[c * map->n_patches + i]);
        }
        sw_buf_puts(&buf, "\n");
    }
    SW_TRY(sw_buf_status(&buf, err));
    return sw_file_write(path, buf.data, buf.size, err);
}
