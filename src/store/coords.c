/* SPDX-License-Identifier: Apache-2.0 */
/* Reading CLAM's and TRIDENT's positions, finding a slide's file, and whether it can be that slide's. */
#include "slidewise/coords.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/csv.h"
#include "base/fs.h"
#include "base/mem.h"
#include "store/coords_parts.h"
#include "store/hdf5_coords.h"

/* Two tools read one slide through different libraries: their downsamples differ in the last digits. */
#define SAME_DOWNSAMPLE 0.01
#define MOST_PX 1e6

const char *sw_coords_kind_name(sw_coords_kind kind)
{
    return kind == SW_COORDS_CLAM ? "CLAM" : "TRIDENT";
}

void sw_coords_free(sw_coords *coords)
{
    sw_free(coords->path);
    sw_free(coords->name);
    sw_free(coords->xy);
    *coords = (sw_coords){0};
}

/* ---- a file */

enum { PATCH_SIZE, PATCH_LEVEL, DOWNSAMPLE, CUSTOM, LEVEL_DIM, SIZE_LEVEL0, LEVEL0_MAG, TARGET_MAG, OVERLAP, WIDTH, HEIGHT, NAME, WANTED };
_Static_assert((int)WANTED == (int)SW_COORDS_ATTRIBUTES, "a name for each");

sw_coords_asked sw_coords_ask(void)
{
    static const char *const name[WANTED] = {"patch_size",        "patch_level",          "downsample",           "custom_downsample",
                                             "level_dim",         "patch_size_level0",    "level0_magnification", "target_magnification",
                                             "overlap",           "level0_width",         "level0_height",        "name"};
    sw_coords_asked a = {0};
    for (int i = 0; i < WANTED; i++) a.at[i].name = name[i];
    a.at[NAME].is_text = true;
    return a;
}

void sw_coords_asked_free(sw_coords_asked *a)
{
    for (int i = 0; i < WANTED; i++) sw_free(a->at[i].text);
}

static sw_status bad_value(const char *path, const sw_h5_wanted *w, sw_error *err)
{
    return sw_error_set(err, SW_E_FORMAT, "%s: its attribute %s is %g, which no patch can have; make the file again", path, w->name,
                        w->value[0]);
}

/* Whole and in [least, MOST_PX]. */
static sw_status whole(const char *path, const sw_h5_wanted *w, double least, int *out, sw_error *err)
{
    double value = w->value[0];
    if (!(value >= least && value <= MOST_PX) || value != floor(value)) return bad_value(path, w, err);
    *out = (int)value;
    return SW_OK;
}

static sw_status take_clam(const char *path, const sw_coords_asked *a, sw_coords *out, sw_error *err)
{
    out->kind = SW_COORDS_CLAM;
    SW_TRY(whole(path, &a->at[PATCH_SIZE], 1, &out->patch_px, err));
    SW_TRY(whole(path, &a->at[PATCH_LEVEL], 0, &out->patch_level, err));
    double custom = a->at[CUSTOM].count ? a->at[CUSTOM].value[0] : 1.0;
    double down = a->at[DOWNSAMPLE].count ? a->at[DOWNSAMPLE].value[0] : out->patch_level == 0 ? 1.0 : 0.0;
    if (!(custom > 0 && custom <= MOST_PX)) return bad_value(path, &a->at[CUSTOM], err);
    if (a->at[DOWNSAMPLE].count && !(down > 0 && down <= MOST_PX)) return bad_value(path, &a->at[DOWNSAMPLE], err);
    out->patch_level0_px = out->patch_px * down * custom;
    if (a->at[LEVEL_DIM].count == 2) {
        out->width = (int64_t)a->at[LEVEL_DIM].value[0];
        out->height = (int64_t)a->at[LEVEL_DIM].value[1];
    }
    return SW_OK;
}

static sw_status take_trident(const char *path, const sw_coords_asked *a, sw_coords *out, sw_error *err)
{
    out->kind = SW_COORDS_TRIDENT;
    SW_TRY(whole(path, &a->at[PATCH_SIZE], 1, &out->patch_px, err));
    if (a->at[OVERLAP].count) SW_TRY(whole(path, &a->at[OVERLAP], 0, &out->overlap_px, err));
    out->level0_magnification = a->at[LEVEL0_MAG].value[0];
    out->target_magnification = a->at[TARGET_MAG].value[0];
    if (!(out->level0_magnification > 0 && out->level0_magnification <= 1000)) return bad_value(path, &a->at[LEVEL0_MAG], err);
    if (!(out->target_magnification > 0 && out->target_magnification <= 1000)) return bad_value(path, &a->at[TARGET_MAG], err);
    out->patch_level0_px = out->patch_px * out->level0_magnification / out->target_magnification;
    if (a->at[SIZE_LEVEL0].count) {
        int side = 0;
        SW_TRY(whole(path, &a->at[SIZE_LEVEL0], 1, &side, err));
        out->patch_level0_px = side;
    }
    if (a->at[WIDTH].count && a->at[HEIGHT].count) {
        out->width = (int64_t)a->at[WIDTH].value[0];
        out->height = (int64_t)a->at[HEIGHT].value[0];
    }
    return SW_OK;
}

static bool is_trident(const sw_coords_asked *a)
{
    return a->at[PATCH_SIZE].count && a->at[LEVEL0_MAG].count && a->at[TARGET_MAG].count;
}

bool sw_coords_are_told(const sw_coords_asked *a)
{
    return is_trident(a) || (a->at[PATCH_SIZE].count && a->at[PATCH_LEVEL].count);
}

sw_status sw_coords_take(const char *path, const sw_coords_asked *a, sw_coords *out, sw_error *err)
{
    if (is_trident(a)) return take_trident(path, a, out, err);
    if (sw_coords_are_told(a)) return take_clam(path, a, out, err);
    return sw_error_set(err, SW_E_FORMAT,
                        "%s: its coordinates have neither CLAM's attributes (patch_size, patch_level) nor TRIDENT's (patch_size, "
                        "level0_magnification, target_magnification), so that the size of the patches is unknown",
                        path);
}

sw_status sw_coords_read_by(sw_h5_reader *reader, const char *path, sw_coords *out, sw_error *err)
{
    SW_CLEANUP(sw_coords_asked_free) sw_coords_asked a = sw_coords_ask();
    SW_CLEANUP(sw_coords_free) sw_coords c = {0};
    *out = (sw_coords){0};
    SW_TRY(sw_h5_coords_read(reader, path, &c.xy, &c.n_patches, a.at, WANTED, err));
    SW_TRY(sw_coords_take(path, &a, &c, err));
    c.path = sw_strdup(path);
    c.name = sw_strdup(a.at[NAME].text ? a.at[NAME].text : "");
    if (!c.path || !c.name) return sw_nomem(err);
    *out = c;
    c = (sw_coords){0};
    return SW_OK;
}

sw_status sw_coords_read(const char *path, sw_coords *out, sw_error *err)
{
    return sw_coords_read_by(NULL, path, out, err);
}

/* ---- whose file */

/* What CLAM's own list says of a slide; "" where there is none. Its slide_id is the name of the file. */
static sw_status listed_status(const char *list, const char *slide_id, char *out, size_t room, sw_error *err)
{
    SW_CLEANUP(sw_csv_free_ptr) sw_csv *csv = NULL;
    out[0] = '\0';
    if (!sw_path_exists(list)) return SW_OK;
    SW_TRY(sw_csv_read(list, true, &csv, err));
    int id = sw_csv_find(csv, "slide_id"), status = sw_csv_find(csv, "status");
    for (size_t i = 0; id >= 0 && status >= 0 && i < sw_csv_rows(csv); i++) {
        SW_AUTOFREE char *stem = sw_path_stem(sw_csv_cell(csv, i, (size_t)id));
        if (!stem) return sw_nomem(err);
        if (strcmp(stem, slide_id) != 0) continue;
        snprintf(out, room, "; %s says \"%s\" of it", list, sw_csv_cell(csv, i, (size_t)status));
    }
    return SW_OK;
}

static sw_status not_there(const char *dir, const char *slide_id, sw_error *err)
{
    char said[512], also[512] = "";
    SW_AUTOFREE char *list = sw_path_join(dir, "process_list_autogen.csv");
    SW_AUTOFREE char *above = sw_path_join(dir, "../process_list_autogen.csv");
    if (!list || !above) return sw_nomem(err);
    SW_TRY(listed_status(list, slide_id, said, sizeof said, err));
    if (!said[0]) SW_TRY(listed_status(above, slide_id, also, sizeof also, err));
    return sw_error_set(err, SW_E_NOT_FOUND,
                        "slide %s: no coordinates in %s: neither %s.h5 nor %s_patches.h5 is there or in its folder patches%s%s", slide_id,
                        dir, slide_id, slide_id, said, also);
}

/* DIR/ID.h5, DIR/ID_patches.h5 and the same in DIR/patches; *out stays NULL where none is. */
static sw_status in_folder(const char *dir, const char *slide_id, char **out, sw_error *err)
{
    static const char *const form[4][2] = {{"/", ".h5"}, {"/", "_patches.h5"}, {"/patches/", ".h5"}, {"/patches/", "_patches.h5"}};
    for (int i = 0; i < 4 && !*out; i++) {
        SW_AUTOFREE char *path = sw_asprintf("%s%s%s%s", dir, form[i][0], slide_id, form[i][1]);
        if (!path) return sw_nomem(err);
        if (sw_path_exists(path) && !sw_path_is_dir(path)) *out = SW_STEAL(path);
    }
    return SW_OK;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* TRIDENT's job folder holds a folder per resolution: one is taken, several must be chosen from. */
static sw_status job_folder(const char *dir, char **out, sw_error *err)
{
    SW_CLEANUP(sw_names_free) sw_names names = {0};
    const char *found[2] = {NULL, NULL};
    SW_TRY(sw_dir_list(dir, true, &names, err));
    for (size_t i = 0; i < names.count; i++) {
        if (ends_with(names.name[i], "px_overlap")) found[found[0] != NULL] = names.name[i];
    }
    if (found[1]) {
        return sw_error_set(err, SW_E_INVALID, "%s holds coordinates of several resolutions (%s, %s); give one of these folders, or several with commas between", dir,
                            found[0], found[1]);
    }
    if (!found[0]) return SW_OK;
    *out = sw_path_join(dir, found[0]);
    return *out ? SW_OK : sw_nomem(err);
}

static sw_status is_of_slide(sw_h5_reader *reader, const char *path, const char *slide_id, sw_error *err)
{
    SW_AUTOFREE char *stem = sw_path_stem(path);
    SW_AUTOFREE char *trident = sw_asprintf("%s_patches", slide_id);
    SW_CLEANUP(sw_coords_free) sw_coords coords = {0};
    if (!stem || !trident) return sw_nomem(err);
    if (strcmp(stem, slide_id) == 0 || strcmp(stem, trident) == 0) return SW_OK;
    SW_TRY(sw_coords_read_by(reader, path, &coords, err));
    if (strcmp(coords.name, slide_id) == 0) return SW_OK;
    return sw_error_set(err, SW_E_INVALID,
                        "slide %s: %s holds the coordinates of %s; give the folder that holds the file of each slide, or the file of this "
                        "one",
                        slide_id, path, coords.name[0] ? coords.name : "another slide");
}

sw_status sw_coords_find_by(sw_h5_reader *reader, const char *where, const char *slide_id, char **out, sw_error *err)
{
    SW_AUTOFREE char *path = NULL, *job = NULL;
    if (!sw_path_exists(where)) {
        return sw_error_set(err, SW_E_NOT_FOUND, "%s: there is no such file or folder of coordinates", where);
    }
    if (!sw_path_is_dir(where)) {
        SW_TRY(is_of_slide(reader, where, slide_id, err));
        path = sw_strdup(where);
        if (!path) return sw_nomem(err);
    } else {
        SW_TRY(in_folder(where, slide_id, &path, err));
        if (!path) SW_TRY(job_folder(where, &job, err));
        if (job) SW_TRY(in_folder(job, slide_id, &path, err));
        if (!path) return not_there(job ? job : where, slide_id, err);
    }
    *out = SW_STEAL(path);
    return SW_OK;
}

sw_status sw_coords_find(const char *where, const char *slide_id, char **out, sw_error *err)
{
    return sw_coords_find_by(NULL, where, slide_id, out, err);
}

/* ---- can it be this slide's */

static sw_status other_size(const sw_coords *c, const sw_slide_info *info, int level, int64_t width, int64_t height, sw_error *err)
{
    return sw_error_set(err, SW_E_INVALID,
                        "slide %s: %s was made on a slide whose level %d has %lld x %lld pixels, this one has %lld x %lld; it is another "
                        "slide or another scan",
                        info->slide_id, c->path, level, (long long)c->width, (long long)c->height, (long long)width, (long long)height);
}

static sw_status fit_clam(sw_coords *c, const sw_slide_info *info, sw_error *err)
{
    if (c->patch_level >= info->n_levels) {
        return sw_error_set(err, SW_E_INVALID,
                            "slide %s: %s was made at level %d, this slide has levels 0 to %d; it is another slide or another scan",
                            info->slide_id, c->path, c->patch_level, info->n_levels - 1);
    }
    const sw_slide_level *level = &info->level[c->patch_level];
    if (c->width > 0 && (c->width != level->width || c->height != level->height))
        return other_size(c, info, c->patch_level, level->width, level->height, err);
    if (c->patch_level0_px == 0) c->patch_level0_px = c->patch_px * level->downsample_x;
    double down = c->patch_level0_px / c->patch_px;
    if (down < level->downsample_x * (1 - SAME_DOWNSAMPLE)) {
        return sw_error_set(err, SW_E_INVALID,
                            "slide %s: %s says that level %d is downsampled by %g, on this slide it is by %g; it is another slide or "
                            "another scan",
                            info->slide_id, c->path, c->patch_level, down, level->downsample_x);
    }
    return SW_OK;
}

sw_status sw_coords_fit(sw_coords *c, const sw_slide *slide, sw_error *err)
{
    const sw_slide_info *info = sw_slide_get_info(slide);
    if (c->n_patches == 0) {
        return sw_error_set(err, SW_E_INVALID, "slide %s: %s holds no patch; leave the slide out, or make its coordinates again",
                            info->slide_id, c->path);
    }
    if (c->kind == SW_COORDS_CLAM) SW_TRY(fit_clam(c, info, err));
    else if (c->width > 0 && (c->width != info->width || c->height != info->height))
        return other_size(c, info, 0, info->width, info->height, err);
    double side = c->patch_level0_px;
    for (int64_t i = 0; i < c->n_patches; i++) {
        int64_t x = c->xy[2 * i], y = c->xy[2 * i + 1];
        if (x < info->width && y < info->height && (double)x > -side && (double)y > -side) continue;
        return sw_error_set(err, SW_E_INVALID,
                            "slide %s: patch %lld of %s lies at (%lld, %lld), outside of the slide (%lld x %lld pixels); the coordinates "
                            "are of another slide or another scan",
                            info->slide_id, (long long)i, c->path, (long long)x, (long long)y, (long long)info->width,
                            (long long)info->height);
    }
    return SW_OK;
}
