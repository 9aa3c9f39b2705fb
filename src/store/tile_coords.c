/* SPDX-License-Identifier: Apache-2.0 */
/* Tiling beside other tools: positions out of their files, positions into their files. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/csv.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "slidewise/coords.h"
#include "store/coords_parts.h"
#include "store/tile_work.h"

/* Tools that know magnifications only call 0.2 to 0.3 um per pixel 40x; a scale's name may be off by as much, but not more. */
#define MOST_OFF 0.3
#define TOLD_OFF 0.01
#define USUAL_OFF 0.2

/* ---- positions out of files */

/* Where the coordinates of each scale are: one text with commas between. A path that has commas itself is one place. */
typedef struct places {
    char *text;
    const char *at[SW_STORE_MAX_SCALES];
    int n;
} places;

static void places_free(places *p)
{
    sw_free(p->text);
}

static sw_status places_of(const char *coords, places *out, sw_error *err)
{
    *out = (places){.text = sw_strdup(coords)};
    if (!out->text) return sw_nomem(err);
    bool one = sw_path_exists(coords);
    for (char *rest = out->text; rest;) {
        char *comma = one ? NULL : strchr(rest, ',');
        if (out->n == SW_STORE_MAX_SCALES)
            return sw_error_set(err, SW_E_INVALID, "%s: at most %d scales fit into a store", coords, SW_STORE_MAX_SCALES);
        if (comma) *comma = '\0';
        out->at[out->n++] = rest;
        rest = comma ? comma + 1 : NULL;
    }
    return SW_OK;
}

sw_status sw_tile_given_count(const char *coords, int *n_scales, sw_error *err)
{
    SW_CLEANUP(places_free) places p = {0};
    SW_TRY(places_of(coords, &p, err));
    *n_scales = p.n;
    return SW_OK;
}

static double true_mpp(const sw_coords *coords, const sw_slide *slide, int patch_px)
{
    return coords->patch_level0_px * sw_slide_get_info(slide)->mpp_um / patch_px;
}

static sw_status check_resolution(const sw_tile_options *o, const sw_slide *slide, const sw_coords *coords, double named, double mpp_um,
                                  sw_error *err)
{
    double off = fabs(mpp_um / named - 1.0);
    const char *id = sw_slide_get_info(slide)->slide_id;
    if (off > MOST_OFF) {
        return sw_error_set(err, SW_E_INVALID,
                            "slide %s: the patches of %s are %.4g microns per pixel on this slide, not %g; check the slide's resolution, or "
                            "tile it with --mpp %.4g into another store",
                            id, coords->path, mpp_um, named, mpp_um);
    }
    if (off > TOLD_OFF) {
        sw_log_warning(o->sink, "slide %s: the patches of %s are %.4g microns per pixel on this slide; they are kept with those of %g", id,
                       coords->path, mpp_um, named);
    }
    return SW_OK;
}

static sw_status read_place(sw_h5_reader *reader, const char *where, const sw_slide *slide, sw_coords *coords, sw_error *err)
{
    SW_AUTOFREE char *path = NULL;
    SW_TRY(sw_coords_find_by(reader, where, sw_slide_get_info(slide)->slide_id, &path, err));
    SW_TRY(sw_coords_read_by(reader, path, coords, err));
    return sw_coords_fit(coords, slide, err);
}

/* The place whose patches come nearest to the resolution. */
static sw_status nearest_place(sw_h5_reader *reader, const places *p, const sw_slide *slide, double mpp_um, int patch_px, int *place, sw_error *err)
{
    double least = INFINITY;
    for (int i = 0; i < p->n; i++) {
        SW_CLEANUP(sw_coords_free) sw_coords coords = {0};
        SW_TRY(read_place(reader, p->at[i], slide, &coords, err));
        double off = fabs(log(true_mpp(&coords, slide, patch_px) / mpp_um));
        if (!(off < least)) continue;
        least = off;
        *place = i;
    }
    return SW_OK;
}

sw_status sw_tile_given_grid(sw_h5_reader *reader, const sw_tile_options *o, const sw_slide *slide, int scale, sw_grid *out, sw_error *err)
{
    SW_CLEANUP(places_free) places p = {0};
    SW_CLEANUP(sw_coords_free) sw_coords coords = {0};
    const sw_tile_settings *s = &o->settings;
    int place = scale;
    SW_TRY(places_of(o->coords, &p, err));
    if (p.n != s->n_scales) SW_TRY(nearest_place(reader, &p, slide, s->mpp_um[scale], s->patch_px, &place, err));
    SW_TRY(read_place(reader, p.at[place], slide, &coords, err));
    double mpp_um = true_mpp(&coords, slide, s->patch_px), side = coords.patch_level0_px;
    SW_TRY(check_resolution(o, slide, &coords, s->mpp_um[scale], mpp_um, err));
    SW_AUTOFREE int32_t *contour = sw_calloc((size_t)coords.n_patches, sizeof *contour);
    if (!contour) return sw_nomem(err);
    *out = (sw_grid){.patch_px = s->patch_px,
                     .mpp_um = mpp_um,
                     .magnification = 10.0 / mpp_um,
                     .patch_level0_px = side,
                     .step_level0_px = side * (1.0 - (double)coords.overlap_px / coords.patch_px),
                     .n_patches = coords.n_patches,
                     .xy = SW_STEAL(coords.xy),
                     .contour = SW_STEAL(contour)};
    return SW_OK;
}

sw_status sw_tile_positions_given(sw_slide *slide, const char *coords, const sw_tile_settings *settings, const sw_sink *sink,
                                  sw_grid *grid, sw_error *err)
{
    sw_tile_options o = sw_tile_options_default();
    double level0_um;
    o.settings = *settings;
    o.coords = coords;
    o.sink = sink;
    *grid = (sw_grid){0};
    SW_TRY(sw_slide_need_mpp(slide, &level0_um, err));
    return sw_tile_given_grid(NULL, &o, slide, 0, grid, err);
}

/* The name of a scale that is nowhere said. */
static double usual_mpp(double mpp_um)
{
    double usual = 0.25 * exp2(round(log2(mpp_um / 0.25)));
    if (fabs(mpp_um / usual - 1.0) <= USUAL_OFF) return usual;
    double unit = pow(10.0, floor(log10(mpp_um)) - 3.0);
    return round(mpp_um / unit) * unit;
}

static sw_status given_of(const char *where, const sw_slide_entry *entry, double slide_mpp_um, double *mpp_um, int *patch_px,
                          int *overlap_px, sw_error *err)
{
    SW_CLEANUP(sw_coords_free) sw_coords coords = {0};
    SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
    SW_AUTOFREE char *path = NULL;
    double level0_um;
    SW_TRY(sw_coords_find(where, entry->slide_id, &path, err));
    SW_TRY(sw_coords_read(path, &coords, err));
    SW_TRY(sw_tile_open_slide(entry, slide_mpp_um, NULL, NULL, &slide, err));
    SW_TRY(sw_coords_fit(&coords, slide, err));
    SW_TRY(sw_slide_need_mpp(slide, &level0_um, err));
    if (*patch_px == 0) *patch_px = coords.patch_px;
    *overlap_px = (int)((int64_t)coords.overlap_px * *patch_px / coords.patch_px);
    if (*mpp_um > 0) return SW_OK;
    double target = coords.target_magnification;
    bool said = coords.kind == SW_COORDS_TRIDENT && target == round(target);
    *mpp_um = said ? 10.0 / target * coords.patch_px / *patch_px : usual_mpp(true_mpp(&coords, slide, *patch_px));
    return SW_OK;
}

/* The first slide that has positions there decides. */
static sw_status given_at(const char *where, const sw_slide_list *slides, double slide_mpp_um, double *mpp_um, int *patch_px,
                          int *overlap_px, sw_error *err)
{
    sw_error first = {0}, other;
    for (size_t i = 0; i < slides->count; i++) {
        sw_status status = given_of(where, &slides->entry[i], slide_mpp_um, mpp_um, patch_px, overlap_px, first.code ? &other : &first);
        if (status == SW_OK) return SW_OK;
        if (status == SW_E_NOMEM) return sw_nomem(err);
    }
    if (!first.code) return sw_error_set(err, SW_E_INVALID, "%s: no slide was given to these coordinates", where);
    return sw_error_set(err, first.code, "%s", first.message);
}

sw_status sw_tile_settings_given(const char *coords, const sw_slide_list *slides, double slide_mpp_um, const double *mpp_um, int n_mpp,
                                 int patch_px, sw_tile_settings *settings, sw_error *err)
{
    SW_CLEANUP(places_free) places p = {0};
    double found[SW_STORE_MAX_SCALES] = {0};
    int overlap_px[SW_STORE_MAX_SCALES] = {0};
    SW_TRY(places_of(coords, &p, err));
    if (n_mpp > 0 && n_mpp != p.n) {
        return sw_error_set(err, SW_E_INVALID, "%d resolutions were given, and coordinates of %d (%s); give one for each, or none", n_mpp, p.n,
                            coords);
    }
    for (int i = 0; i < p.n; i++) {
        found[i] = n_mpp > 0 ? mpp_um[i] : 0;
        SW_TRY(given_at(p.at[i], slides, slide_mpp_um, &found[i], &patch_px, &overlap_px[i], err));
        if (overlap_px[i] == overlap_px[0]) continue;
        return sw_error_set(err, SW_E_INVALID,
                            "patches of %d pixels overlap by %d pixels in %s and by %d in %s; take coordinates that overlap alike, or tile "
                            "them into two stores",
                            patch_px, overlap_px[0], p.at[0], overlap_px[i], p.at[i]);
    }
    settings->given_positions = true;
    settings->whole_image = false;
    settings->n_scales = p.n;
    memcpy(settings->mpp_um, found, sizeof found);
    settings->patch_px = patch_px;
    settings->overlap_px = overlap_px[0];
    return SW_OK;
}

/* ---- positions into files */

bool sw_tile_exports(const sw_tile_options *o)
{
    return o->clam || o->trident;
}

sw_status sw_tile_export(const sw_tile_job *job, sw_error *err)
{
    const sw_tile_options *o = job->run->options;
    const char *id = job->entry->slide_id;
    if (o->clam) SW_TRY(sw_coords_write_clam(o->clam, id, job->slide, &job->grid[0], err));
    for (int i = 0; o->trident && i < o->settings.n_scales; i++) {
        sw_grid grid = job->grid[i]; /* borrowed; goes by the name of its scale */
        grid.magnification = 10.0 / o->settings.mpp_um[i];
        SW_TRY(sw_coords_write_trident(o->trident, id, job->slide, &grid, o->settings.overlap_px, err));
    }
    if (!job->run->trident_contours_dir || job->tissue.n_contours == 0) return SW_OK;
    SW_AUTOFREE char *path = sw_asprintf("%s/%s.geojson", job->run->trident_contours_dir, id);
    if (!path) return sw_nomem(err);
    return sw_tissue_write_geojson(&job->tissue, path, err);
}

/* ---- process_list_autogen.csv */

static const char *const list_columns[] = {"slide_id", "process",     "status",    "seg_level",      "sthresh",     "mthresh",
                                           "close",    "use_otsu",    "keep_ids",  "exclude_ids",    "a_t",         "a_h",
                                           "max_n_holes", "vis_level", "line_thickness", "use_padding", "contour_fn"};
enum { LIST_COLUMNS = sizeof list_columns / sizeof *list_columns };

static void put_number(sw_buf *csv, double value)
{
    sw_buf text = {0};
    sw_buf_printf(&text, "%.10g", value);
    sw_csv_put(csv, text.data ? text.data : "", false);
    csv->failed = csv->failed || text.failed;
    sw_buf_free(&text);
}

static void put_truth(sw_buf *csv, bool value)
{
    sw_csv_put(csv, value ? "True" : "False", false);
}

/* CLAM names a slide by its file. Levels of -1 ask CLAM to choose, as we do. */
static void put_list_row(sw_buf *csv, const sw_tile_row *row, const sw_tissue_options *t)
{
    bool reached = !row->reason || strncmp(row->reason, "not reached", 11) != 0;
    bool done = row->status == SW_TILE_DONE || row->status == SW_TILE_ALREADY;
    sw_csv_put(csv, sw_path_name(row->path), false);
    sw_csv_put(csv, reached ? "0" : "1", false);
    sw_csv_put(csv, done ? "processed" : reached ? "failed_seg" : "tbp", false);
    put_number(csv, t->seg_level);
    put_number(csv, t->sthresh);
    put_number(csv, t->mthresh);
    put_number(csv, t->close);
    put_truth(csv, t->otsu);
    sw_csv_put(csv, t->keep_ids[0] ? t->keep_ids : "none", false);
    sw_csv_put(csv, t->exclude_ids[0] ? t->exclude_ids : "none", false);
    put_number(csv, t->a_t);
    put_number(csv, t->a_h);
    put_number(csv, t->max_n_holes);
    put_number(csv, -1);
    put_number(csv, t->line_thickness);
    put_truth(csv, t->use_padding);
    sw_csv_put(csv, sw_contour_rule_name(t->contour_rule), true);
}

static bool has_row(const sw_tile_result *result, const char *name)
{
    for (size_t i = 0; i < result->count; i++) {
        if (strcmp(sw_path_name(result->row[i].path), name) == 0) return true;
    }
    return false;
}

/* What an earlier call, or CLAM, wrote about other slides. */
static sw_status keep_rows(sw_buf *csv, const char *path, const sw_tile_result *result, sw_error *err)
{
    SW_CLEANUP(sw_csv_free_ptr) sw_csv *old = NULL;
    if (!sw_path_exists(path)) return SW_OK;
    SW_TRY(sw_csv_read(path, true, &old, err));
    int id = sw_csv_find(old, "slide_id");
    for (size_t i = 0; id >= 0 && i < sw_csv_rows(old); i++) {
        if (has_row(result, sw_csv_cell(old, i, (size_t)id))) continue;
        for (int c = 0; c < LIST_COLUMNS; c++) {
            int at = sw_csv_find(old, list_columns[c]);
            sw_csv_put(csv, at >= 0 ? sw_csv_cell(old, i, (size_t)at) : "", c == LIST_COLUMNS - 1);
        }
    }
    return SW_OK;
}

sw_status sw_tile_export_list(const sw_tile_run *run, const sw_tile_result *result, sw_error *err)
{
    const sw_tile_options *o = run->options;
    SW_CLEANUP(sw_buf_free) sw_buf csv = {0};
    if (!o->clam) return SW_OK;
    SW_AUTOFREE char *path = sw_path_join(o->clam, "process_list_autogen.csv");
    if (!path) return sw_nomem(err);
    SW_TRY(sw_mkdir_p(o->clam, err));
    for (int c = 0; c < LIST_COLUMNS; c++) sw_csv_put(&csv, list_columns[c], c == LIST_COLUMNS - 1);
    for (size_t i = 0; i < result->count; i++) put_list_row(&csv, &result->row[i], sw_tile_tissue_options(run, result->row[i].slide_id));
    SW_TRY(keep_rows(&csv, path, result, err));
    SW_TRY(sw_buf_status(&csv, err));
    return sw_file_write(path, csv.data, csv.size, err);
}
