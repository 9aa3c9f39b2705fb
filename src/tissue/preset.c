/* SPDX-License-Identifier: Apache-2.0 */
/* Presets by name and CLAM's preset tables. */
#include <stdio.h>
#include <strings.h>
#include <string.h>

#include "base/csv.h"
#include "base/fs.h"
#include "base/mem.h"
#include "slidewise/tissue.h"
#include "tissue/process_list.h"

static const char *const rule_names[] = {"four_pt", "four_pt_hard", "center", "basic"};

const char *sw_contour_rule_name(sw_contour_rule rule)
{
    return (unsigned)rule < 4 ? rule_names[rule] : "?";
}

sw_status sw_contour_rule_parse(const char *name, sw_contour_rule *out, sw_error *err)
{
    for (int i = 0; i < 4; i++) {
        if (strcmp(name, rule_names[i]) != 0) continue;
        *out = (sw_contour_rule)i;
        return SW_OK;
    }
    if (strcmp(name, "four_pt_easy") == 0) { /* as CLAM's classes call it */
        *out = SW_CONTOUR_FOUR_PT;
        return SW_OK;
    }
    return sw_error_set(err, SW_E_INVALID, "\"%s\" is no contour rule; there are four_pt, four_pt_hard, center and basic",
                        name);
}

static const sw_tissue_options clam = {.seg_level = -1,
                                       .sthresh = 8,
                                       .mthresh = 7,
                                       .close = 4,
                                       .otsu = false,
                                       .a_t = 100,
                                       .a_h = 16,
                                       .max_n_holes = 8,
                                       .line_thickness = 250,
                                       .use_padding = true,
                                       .contour_rule = SW_CONTOUR_FOUR_PT,
                                       .max_area_share = 0,
                                       .max_pixels = 100000000};

sw_tissue_options sw_tissue_options_default(void)
{
    sw_tissue_options options = clam;
    options.max_area_share = 0.01;
    return options;
}

static const struct preset {
    const char *name;
    int sthresh, mthresh, close;
    double a_t, a_h;
    int max_n_holes;
    double line_thickness;
} presets[] = {
    {"clam", 8, 7, 4, 100, 16, 8, 250},
    {"bwh_biopsy", 15, 11, 2, 1, 1, 2, 50},
    {"bwh_resection", 15, 11, 4, 100, 16, 8, 150},
    {"tcga", 8, 7, 4, 16, 4, 8, 100},
    {"tcga_nsclc", 8, 7, 4, 100, 16, 32, 120},
};

/* --- CLAM's tables */

typedef struct cells {
    const sw_csv *csv;
    size_t row;
} cells;

static const char *cell(const cells *c, const char *column)
{
    int i = sw_csv_find(c->csv, column);
    return i < 0 ? "" : sw_csv_cell(c->csv, c->row, (size_t)i);
}

static sw_status bad_cell(const cells *c, const char *column, const char *wanted, sw_error *err)
{
    return sw_error_set(err, SW_E_INVALID, "%s, line %lld: column %s is \"%s\"; give %s", sw_csv_path(c->csv),
                        (long long)sw_csv_line(c->csv, c->row), column, cell(c, column), wanted);
}

static sw_status real_cell(const cells *c, const char *column, double *out, sw_error *err)
{
    double value = 0;
    if (cell(c, column)[0] == '\0') return SW_OK;
    if (!sw_parse_double(cell(c, column), &value)) return bad_cell(c, column, "a number", err);
    *out = value;
    return SW_OK;
}

static sw_status int_cell(const cells *c, const char *column, int *out, sw_error *err)
{
    double value = *out; /* tables that went through a spreadsheet say 8.0 */
    SW_TRY(real_cell(c, column, &value, err));
    if (!(value >= -1000000 && value <= 1000000) || value != (double)(int)value) {
        return bad_cell(c, column, "a whole number", err);
    }
    *out = (int)value;
    return SW_OK;
}

static sw_status bool_cell(const cells *c, const char *column, bool *out, sw_error *err)
{
    const char *text = cell(c, column);
    if (text[0] == '\0') return SW_OK;
    bool yes = strcasecmp(text, "true") == 0 || strcmp(text, "1") == 0;
    bool no = strcasecmp(text, "false") == 0 || strcmp(text, "0") == 0;
    if (!yes && !no) return bad_cell(c, column, "TRUE or FALSE", err);
    *out = yes;
    return SW_OK;
}

/* "none" and an empty cell are none, as CLAM reads them. */
static sw_status ids_cell(const cells *c, const char *column, char *out, size_t size, sw_error *err)
{
    const char *text = cell(c, column);
    if (text[0] == '\0') return SW_OK;
    if (strcmp(text, "none") == 0) text = "";
    if (strspn(text, "0123456789, ") != strlen(text) || strlen(text) >= size) return bad_cell(c, column, "numbers of contours, with commas, or none", err);
    snprintf(out, size, "%s", text);
    return SW_OK;
}

static sw_status read_cells(const cells *c, sw_tissue_options *out, sw_error *err)
{
    SW_TRY(int_cell(c, "seg_level", &out->seg_level, err));
    SW_TRY(int_cell(c, "sthresh", &out->sthresh, err));
    SW_TRY(int_cell(c, "mthresh", &out->mthresh, err));
    SW_TRY(int_cell(c, "close", &out->close, err));
    SW_TRY(bool_cell(c, "use_otsu", &out->otsu, err));
    SW_TRY(real_cell(c, "a_t", &out->a_t, err));
    SW_TRY(real_cell(c, "a_h", &out->a_h, err));
    SW_TRY(int_cell(c, "max_n_holes", &out->max_n_holes, err));
    SW_TRY(real_cell(c, "line_thickness", &out->line_thickness, err));
    SW_TRY(bool_cell(c, "use_padding", &out->use_padding, err));
    SW_TRY(ids_cell(c, "keep_ids", out->keep_ids, sizeof out->keep_ids, err));
    SW_TRY(ids_cell(c, "exclude_ids", out->exclude_ids, sizeof out->exclude_ids, err));
    if (cell(c, "a_t")[0] != '\0') out->max_area_share = 0; /* as it stands there */
    else if (cell(c, "a")[0] != '\0') return bad_cell(c, "a", "a_t and a_h, in units of (512 level-0 pixels)^2", err);
    const char *rule = cell(c, "contour_fn");
    if (rule[0] == '\0') return SW_OK;
    return sw_contour_rule_parse(rule, &out->contour_rule, err) == SW_OK ? SW_OK : sw_error_prefix(err, "%s", sw_csv_path(c->csv));
}

sw_status sw_tissue_options_row(const sw_csv *csv, size_t row, sw_tissue_options *out, sw_error *err)
{
    const cells c = {csv, row};
    sw_tissue_options options = *out;
    SW_TRY(read_cells(&c, &options, err));
    *out = options;
    return SW_OK;
}

static sw_status read_table(const char *path, sw_tissue_options *out, sw_error *err)
{
    SW_CLEANUP(sw_csv_free_ptr) sw_csv *csv = NULL;
    sw_tissue_options options = clam;
    SW_TRY(sw_csv_read(path, true, &csv, err));
    if (sw_csv_find(csv, "sthresh") < 0 && sw_csv_find(csv, "a_t") < 0) {
        return sw_error_set(err, SW_E_NOT_FOUND, "%s: not a preset table: no column sthresh and none a_t", path);
    }
    if (sw_csv_rows(csv) < 1) return sw_error_set(err, SW_E_INVALID, "%s: no row in this table", path);
    SW_TRY(sw_tissue_options_row(csv, 0, &options, err));
    if (options.keep_ids[0] || options.exclude_ids[0]) {
        return sw_error_set(err, SW_E_INVALID,
                            "%s: keep_ids and exclude_ids choose contours of one slide; give them in a process list (--process-list), a row "
                            "per slide",
                            path);
    }
    *out = options;
    return SW_OK;
}

sw_status sw_tissue_options_preset(const char *name_or_csv, sw_tissue_options *out, sw_error *err)
{
    if (strcmp(name_or_csv, "default") == 0) {
        *out = sw_tissue_options_default();
        return SW_OK;
    }
    for (size_t i = 0; i < sizeof presets / sizeof *presets; i++) {
        const struct preset *p = &presets[i];
        if (strcmp(name_or_csv, p->name) != 0) continue;
        *out = clam;
        out->sthresh = p->sthresh;
        out->mthresh = p->mthresh;
        out->close = p->close;
        out->a_t = p->a_t;
        out->a_h = p->a_h;
        out->max_n_holes = p->max_n_holes;
        out->line_thickness = p->line_thickness;
        return SW_OK;
    }
    if (sw_path_has_ext(name_or_csv, "csv")) return read_table(name_or_csv, out, err);
    return sw_error_set(err, SW_E_NOT_FOUND,
                        "\"%s\" is no tissue preset; there are default, clam, bwh_biopsy, bwh_resection, tcga, tcga_nsclc, or "
                        "the path of a CLAM preset .csv",
                        name_or_csv);
}
