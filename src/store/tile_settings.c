/* SPDX-License-Identifier: Apache-2.0 */
/* Tiling settings as the text that a store keeps, and back. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "store/tile_work.h"

sw_tile_settings sw_tile_settings_default(void)
{
    return (sw_tile_settings){
        .n_scales = 1, .mpp_um = {1.0}, .patch_px = 256, .quality = 80, .tissue = sw_tissue_options_default(),
        .artefacts = sw_artefact_options_default()};
}

sw_status sw_tile_settings_check(const sw_tile_settings *s, sw_error *err)
{
    if (s->n_scales < 1 || s->n_scales > SW_STORE_MAX_SCALES) {
        return sw_error_set(err, SW_E_INVALID, "%d resolutions were asked for: give 1 to %d", s->n_scales, SW_STORE_MAX_SCALES);
    }
    for (int i = 0; i < s->n_scales; i++) {
        if (!(s->mpp_um[i] >= 0.01 && s->mpp_um[i] <= 1000.0))
            return sw_error_set(err, SW_E_INVALID, "patches of %g microns per pixel: give 0.01 to 1000", s->mpp_um[i]);
        for (int j = 0; j < i; j++) {
            if (s->mpp_um[i] == s->mpp_um[j])
                return sw_error_set(err, SW_E_INVALID, "%g microns per pixel was asked for twice", s->mpp_um[i]);
        }
    }
    if (s->patch_px < 16 || s->patch_px > 4096)
        return sw_error_set(err, SW_E_INVALID, "patches of %d pixels: give 16 to 4096", s->patch_px);
    if (s->overlap_px < 0 || s->overlap_px >= s->patch_px) {
        return sw_error_set(err, SW_E_INVALID, "an overlap of %d pixels: give 0 to %d (less than a patch)", s->overlap_px,
                            s->patch_px - 1);
    }
    if (s->mask.mode != SW_MASK_NONE && (s->whole_image || s->given_positions))
        return sw_error_set(err, SW_E_INVALID, "a mask does not go with %s", s->whole_image ? "whole images" : "given positions");
    if (s->quality < 1 || s->quality > 100)
        return sw_error_set(err, SW_E_INVALID, "a JPEG quality of %d: give 1 to 100", s->quality);
    return sw_artefact_options_check(&s->artefacts, err);
}

/* ---- to text */

static char *next_pair(sw_tile_pairs *out, const char *name)
{
    char *text = out->text[out->count];
    out->pair[out->count++] = (sw_store_setting_pair){.name = name, .value = text};
    return text;
}

static void put_text(sw_tile_pairs *out, const char *name, const char *value)
{
    snprintf(next_pair(out, name), sizeof out->text[0], "%s", value);
}

static void put_int(sw_tile_pairs *out, const char *name, int64_t value)
{
    snprintf(next_pair(out, name), sizeof out->text[0], "%lld", (long long)value);
}

/* Always with a point, whatever the locale; without memory, the lack of which would make an empty setting. */
static SW_PRINTF(3, 4) void print_c(char *text, size_t size, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    (void)sw_vsnprintf(text, size, fmt, args);
    va_end(args);
}

static void format_real(char *text, size_t size, const char *before, double value)
{
    print_c(text, size, "%s%.10g", before, value);
}

static void put_real(sw_tile_pairs *out, const char *name, double value)
{
    format_real(next_pair(out, name), sizeof out->text[0], "", value);
}

static void put_bool(sw_tile_pairs *out, const char *name, bool value)
{
    snprintf(next_pair(out, name), sizeof out->text[0], "%s", value ? "yes" : "no");
}

static void put_scales(sw_tile_pairs *out, const sw_tile_settings *s)
{
    char *text = next_pair(out, "mpp_um");
    size_t used = 0;
    for (int i = 0; i < s->n_scales && used + 32 < sizeof out->text[0]; i++) {
        format_real(text + used, sizeof out->text[0] - used, i > 0 ? ", " : "", s->mpp_um[i]);
        used += strlen(text + used);
    }
}

/* Only those that leave patches out, so that stores without any stay what they were. */
static void put_artefacts(sw_tile_pairs *out, const sw_artefact_options *a)
{
    if (a->max_black_fraction < 1) put_real(out, "max_black_fraction", a->max_black_fraction);
    if (a->max_white_fraction < 1) put_real(out, "max_white_fraction", a->max_white_fraction);
    if (a->max_pen_fraction < 1) put_real(out, "max_pen_fraction", a->max_pen_fraction);
    if (a->min_laplacian_variance > 0) put_real(out, "min_laplacian_variance", a->min_laplacian_variance);
}

void sw_tile_pairs_make(const sw_tile_settings *s, sw_tile_pairs *out)
{
    out->count = 0;
    put_scales(out, s);
    put_int(out, "patch_px", s->patch_px);
    put_int(out, "overlap_px", s->overlap_px);
    put_int(out, "quality", s->quality);
    if (s->passthrough) put_bool(out, "passthrough", true); /* stores without it stay what they were */
    if (s->exact) put_bool(out, "exact", true);
    put_artefacts(out, &s->artefacts);
    if (s->given_positions) {
        snprintf(next_pair(out, "positions"), sizeof out->text[0], "given");
        return;
    }
    put_bool(out, "whole_image", s->whole_image);
    if (s->whole_image) return;
    if (s->mask.mode != SW_MASK_NONE) {
        put_text(out, "mask_mode", s->mask.mode == SW_MASK_REPLACE ? "replace" : "within");
        put_text(out, "mask", s->mask.path);
        put_text(out, "mask_include", s->mask.include);
        put_text(out, "mask_exclude", s->mask.exclude);
    }
    put_int(out, "seg_level", s->tissue.seg_level);
    put_int(out, "sthresh", s->tissue.sthresh);
    put_int(out, "mthresh", s->tissue.mthresh);
    put_int(out, "close", s->tissue.close);
    put_bool(out, "otsu", s->tissue.otsu);
    put_real(out, "a_t", s->tissue.a_t);
    put_real(out, "a_h", s->tissue.a_h);
    put_int(out, "max_n_holes", s->tissue.max_n_holes);
    put_bool(out, "use_padding", s->tissue.use_padding);
    snprintf(next_pair(out, "contour_rule"), sizeof out->text[0], "%s", sw_contour_rule_name(s->tissue.contour_rule));
    put_real(out, "max_area_share", s->tissue.max_area_share);
    put_int(out, "max_pixels", s->tissue.max_pixels);
    if (s->tissue.keep_ids[0]) put_text(out, "keep_ids", s->tissue.keep_ids);
    if (s->tissue.exclude_ids[0]) put_text(out, "exclude_ids", s->tissue.exclude_ids);
}

void sw_tile_pairs_process_list(const sw_process_list *list, sw_tile_pairs *out)
{
    if (list) snprintf(next_pair(out, "process_list"), sizeof out->text[0], "%016llx", (unsigned long long)sw_process_list_hash(list));
}

/* ---- from text */

typedef struct reader {
    const sw_store *store;
    const char *bad; /* first setting that is missing or malformed */
} reader;

static const char *get(reader *r, const char *name)
{
    const char *text = sw_store_setting(r->store, name);
    if (!text && !r->bad) r->bad = name;
    return text;
}

static double get_real(reader *r, const char *name)
{
    double value = 0.0;
    const char *text = get(r, name);
    if (text && !sw_parse_double(text, &value) && !r->bad) r->bad = name;
    return value;
}

static int64_t get_int(reader *r, const char *name)
{
    int64_t value = 0;
    const char *text = get(r, name);
    if (text && !sw_parse_int(text, &value) && !r->bad) r->bad = name;
    return value;
}

static bool get_bool(reader *r, const char *name)
{
    const char *text = get(r, name);
    return text && strcmp(text, "yes") == 0;
}

static void get_scales(reader *r, sw_tile_settings *out)
{
    char text[256] = "", *rest = text;
    const char *kept = get(r, "mpp_um");
    if (!kept) return;
    snprintf(text, sizeof text, "%s", kept);
    out->n_scales = 0;
    while (rest && out->n_scales < SW_STORE_MAX_SCALES) {
        char *comma = strstr(rest, ", ");
        if (comma) *comma = '\0';
        if (!sw_parse_double(rest, &out->mpp_um[out->n_scales++]) && !r->bad) r->bad = "mpp_um";
        rest = comma ? comma + 2 : NULL;
    }
}

static void get_text(reader *r, const char *name, char *out, size_t size)
{
    const char *text = get(r, name);
    snprintf(out, size, "%s", text ? text : "");
}

static void get_tissue(reader *r, sw_tissue_options *out, sw_error *err, sw_status *status)
{
    out->seg_level = (int)get_int(r, "seg_level");
    out->sthresh = (int)get_int(r, "sthresh");
    out->mthresh = (int)get_int(r, "mthresh");
    out->close = (int)get_int(r, "close");
    out->otsu = get_bool(r, "otsu");
    out->a_t = get_real(r, "a_t");
    out->a_h = get_real(r, "a_h");
    out->max_n_holes = (int)get_int(r, "max_n_holes");
    out->use_padding = get_bool(r, "use_padding");
    out->max_area_share = get_real(r, "max_area_share");
    out->max_pixels = get_int(r, "max_pixels");
    if (sw_store_setting(r->store, "keep_ids")) get_text(r, "keep_ids", out->keep_ids, sizeof out->keep_ids);
    if (sw_store_setting(r->store, "exclude_ids")) get_text(r, "exclude_ids", out->exclude_ids, sizeof out->exclude_ids);
    const char *rule = get(r, "contour_rule");
    *status = rule ? sw_contour_rule_parse(rule, &out->contour_rule, err) : SW_OK;
}

/* Stores without a mask name none. */
static void get_mask(reader *r, sw_mask_options *out)
{
    const char *mode = sw_store_setting(r->store, "mask_mode");
    if (!mode) return;
    out->mode = strcmp(mode, "within") == 0 ? SW_MASK_WITHIN : SW_MASK_REPLACE;
    get_text(r, "mask", out->path, sizeof out->path);
    get_text(r, "mask_include", out->include, sizeof out->include);
    get_text(r, "mask_exclude", out->exclude, sizeof out->exclude);
}

static void get_artefact(reader *r, const char *name, double *out)
{
    if (sw_store_setting(r->store, name)) *out = get_real(r, name);
}

sw_status sw_tile_settings_of(const sw_store *store, sw_tile_settings *out, sw_error *err)
{
    reader r = {.store = store};
    sw_tile_settings s = sw_tile_settings_default();
    sw_status status = SW_OK;
    get_scales(&r, &s);
    s.patch_px = (int)get_int(&r, "patch_px");
    s.overlap_px = (int)get_int(&r, "overlap_px");
    s.quality = (int)get_int(&r, "quality");
    s.given_positions = sw_store_setting(store, "positions") != NULL;
    s.whole_image = !s.given_positions && get_bool(&r, "whole_image");
    if (!s.whole_image && !s.given_positions) get_tissue(&r, &s.tissue, err, &status);
    if (status != SW_OK) return status;
    get_mask(&r, &s.mask);
    s.passthrough = sw_store_setting(store, "passthrough") != NULL;
    s.exact = sw_store_setting(store, "exact") != NULL;
    get_artefact(&r, "max_black_fraction", &s.artefacts.max_black_fraction);
    get_artefact(&r, "max_white_fraction", &s.artefacts.max_white_fraction);
    get_artefact(&r, "max_pen_fraction", &s.artefacts.max_pen_fraction);
    get_artefact(&r, "min_laplacian_variance", &s.artefacts.min_laplacian_variance);
    if (r.bad) {
        return sw_error_set(err, SW_E_FORMAT,
                            "store %s: its setting %s is missing or malformed, so new slides cannot be tiled alike; tile again",
                            sw_store_path(store), r.bad);
    }
    SW_TRY(sw_tile_settings_check(&s, err));
    *out = s;
    return SW_OK;
}
