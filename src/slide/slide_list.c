/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of slides out of files, folders and tables. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/csv.h"
#include "base/fs.h"
#include "base/mem.h"
#include "slidewise/slide.h"

static const char *const extensions[] = {"svs", "tif",  "tiff", "ndpi", "mrxs",    "scn", "vms", "vmu",
                                         "bif", "svslide", "qptiff", "dcm",  "png", "jpg", "jpeg"};
static const char *const name_columns[] = {"slide_id", "wsi", "path", "slide", "filename"};

static bool is_slide_name(const char *path)
{
    for (size_t i = 0; i < sizeof extensions / sizeof *extensions; i++) {
        if (sw_path_has_ext(path, extensions[i])) return true;
    }
    return false;
}

void sw_slide_list_free(sw_slide_list *list)
{
    if (!list) return;
    for (size_t i = 0; i < list->count; i++) {
        sw_free(list->entry[i].slide_id);
        sw_free(list->entry[i].path);
    }
    sw_free(list->entry);
    sw_free(list->slot);
    memset(list, 0, sizeof *list);
}

/* ---- by id: a hash table of places in the list, counted from 1 */

/* Where the id is, or the empty slot where it would be. */
static uint32_t *slot_of(const sw_slide_list *list, const char *slide_id)
{
    size_t mask = list->n_slots - 1, at = (size_t)sw_hash64(slide_id, strlen(slide_id)) & mask;
    while (list->slot[at] && strcmp(list->entry[list->slot[at] - 1].slide_id, slide_id) != 0) at = (at + 1) & mask;
    return &list->slot[at];
}

/* Room for one slide more, half of the slots empty. */
static sw_status grow_slots(sw_slide_list *list, sw_error *err)
{
    if (list->n_slots >= 2 * (list->count + 1)) return SW_OK;
    size_t n = list->n_slots ? 2 * list->n_slots : 64;
    while (n < 2 * (list->count + 1)) n *= 2;
    uint32_t *slot = sw_calloc(n, sizeof *slot);
    if (!slot) return sw_nomem(err);
    sw_free(list->slot);
    list->slot = slot;
    list->n_slots = n;
    for (size_t i = 0; i < list->count; i++) *slot_of(list, list->entry[i].slide_id) = (uint32_t)(i + 1);
    return SW_OK;
}

static sw_slide_entry *find(const sw_slide_list *list, const char *slide_id)
{
    if (list->slot) {
        uint32_t place = *slot_of(list, slide_id);
        return place ? &list->entry[place - 1] : NULL;
    }
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->entry[i].slide_id, slide_id) == 0) return &list->entry[i];
    }
    return NULL;
}

const sw_slide_entry *sw_slide_list_find(const sw_slide_list *list, const char *slide_id)
{
    return find(list, slide_id);
}

static bool same_file(const char *a, const char *b)
{
    if (strcmp(a, b) == 0) return true;
    char *real_a = realpath(a, NULL), *real_b = realpath(b, NULL);
    bool same = real_a && real_b && strcmp(real_a, real_b) == 0;
    free(real_a); /* ban-waiver: realpath allocates with malloc */
    free(real_b); /* ban-waiver: as above */
    return same;
}

/* *entry: the slide of this path, old or new. */
static sw_status add_file(sw_slide_list *list, const char *path, sw_slide_entry **entry, sw_error *err)
{
    SW_AUTOFREE char *id = sw_path_stem(path);
    if (!id) return sw_nomem(err);
    *entry = find(list, id);
    if (*entry && same_file((*entry)->path, path)) return SW_OK;
    if (*entry) {
        return sw_error_set(err, SW_E_INVALID,
                            "two slides are called %s: %s and %s; a slide is known by its file name without extension, so "
                            "rename one or leave it out",
                            id, (*entry)->path, path);
    }
    SW_TRY(sw_grow(&list->entry, &list->capacity, list->count + 1, sizeof *list->entry, err));
    SW_TRY(grow_slots(list, err));
    char *copy = sw_strdup(path);
    if (!copy) return sw_nomem(err);
    uint32_t *slot = slot_of(list, id);
    *entry = &list->entry[list->count++];
    **entry = (sw_slide_entry){SW_STEAL(id), copy, 0};
    *slot = (uint32_t)list->count;
    return SW_OK;
}

static sw_status add_folder(sw_slide_list *list, const char *dir, sw_error *err)
{
    SW_CLEANUP(sw_names_free) sw_names names = {0};
    size_t found = 0;
    SW_TRY(sw_dir_list(dir, false, &names, err));
    for (size_t i = 0; i < names.count; i++) {
        if (!is_slide_name(names.name[i]) || names.name[i][0] == '.') continue;
        sw_slide_entry *entry = NULL;
        SW_AUTOFREE char *path = sw_path_join(dir, names.name[i]);
        if (!path) return sw_nomem(err);
        SW_TRY(add_file(list, path, &entry, err));
        found++;
    }
    if (found > 0) return SW_OK;
    return sw_error_set(err, SW_E_NOT_FOUND,
                        "%s: no slide in this folder; looked for .svs, .tif, .tiff, .ndpi, .mrxs, .scn, .vms, .vmu, .bif, "
                        ".svslide, .qptiff, .dcm, .png and .jpg files (sub-folders are not searched)",
                        dir);
}

/* --- tables */

/* A slide file beside the table. */
typedef struct beside {
    char *id, *name; /* owned */
} beside;

typedef struct table {
    sw_csv *csv;
    size_t name, mpp;
    bool has_mpp;
    beside *file; /* by id, then by name; NULL: nobody has asked for them yet */
    size_t n_files;
} table;

static void table_free(table *t)
{
    for (size_t i = 0; i < t->n_files; i++) {
        sw_free(t->file[i].id);
        sw_free(t->file[i].name);
    }
    sw_free(t->file);
    sw_csv_free(t->csv);
}

static sw_status table_open(const char *path, table *out, sw_error *err)
{
    int name = -1;
    SW_TRY(sw_csv_read(path, true, &out->csv, err));
    for (size_t i = 0; i < sizeof name_columns / sizeof *name_columns && name < 0; i++) {
        name = sw_csv_find(out->csv, name_columns[i]);
    }
    if (name < 0) {
        return sw_error_set(err, SW_E_NOT_FOUND,
                            "%s: no column slide_id (or wsi, path, slide, filename) that names the slides", path);
    }
    int mpp = sw_csv_find(out->csv, "mpp");
    out->name = (size_t)name;
    out->has_mpp = mpp >= 0;
    out->mpp = mpp >= 0 ? (size_t)mpp : 0;
    return SW_OK;
}

/* An empty cell is "not given". */
static sw_status table_mpp(const table *t, size_t row, double *mpp_um, sw_error *err)
{
    const char *cell = t->has_mpp ? sw_csv_cell(t->csv, row, t->mpp) : "";
    *mpp_um = 0;
    if (*cell == '\0') return SW_OK;
    if (sw_parse_double(cell, mpp_um) && *mpp_um > 0 && isfinite(*mpp_um)) return SW_OK;
    return sw_error_set(err, SW_E_INVALID, "%s, line %lld: mpp is \"%s\"; give microns per pixel, e.g. 0.5",
                        sw_csv_path(t->csv), (long long)sw_csv_line(t->csv, row), cell);
}

static sw_status set_mpp(sw_slide_entry *entry, double mpp_um, const table *t, size_t row, sw_error *err)
{
    if (mpp_um == 0) return SW_OK;
    if (entry->mpp_um > 0 && entry->mpp_um != mpp_um) {
        return sw_error_set(err, SW_E_INVALID, "%s, line %lld: slide %s has mpp %g here and %g before; keep one",
                            sw_csv_path(t->csv), (long long)sw_csv_line(t->csv, row), entry->slide_id, mpp_um,
                            entry->mpp_um);
    }
    entry->mpp_um = mpp_um;
    return SW_OK;
}

/* The listed slide that a cell means: by id, or by a file name or path whose stem is the id. An id may hold dots. */
static sw_status find_named(const sw_slide_list *list, const char *cell, sw_slide_entry **entry, sw_error *err)
{
    *entry = find(list, cell);
    if (*entry || !is_slide_name(cell)) return SW_OK;
    SW_AUTOFREE char *id = sw_path_stem(cell);
    if (!id) return sw_nomem(err);
    *entry = find(list, id);
    return SW_OK;
}

sw_status sw_slide_list_apply_mpp(sw_slide_list *list, const char *csv_path, size_t *n_set, sw_error *err)
{
    SW_CLEANUP(table_free) table t = {0};
    size_t set = 0;
    SW_TRY(table_open(csv_path, &t, err));
    if (!t.has_mpp) return sw_error_set(err, SW_E_NOT_FOUND, "%s: no column mpp", csv_path);
    for (size_t row = 0; row < sw_csv_rows(t.csv); row++) {
        sw_slide_entry *entry = NULL;
        double mpp_um = 0;
        SW_TRY(table_mpp(&t, row, &mpp_um, err));
        SW_TRY(find_named(list, sw_csv_cell(t.csv, row, t.name), &entry, err));
        if (!entry || mpp_um == 0) continue;
        SW_TRY(set_mpp(entry, mpp_um, &t, row, err));
        set++;
    }
    if (n_set) *n_set = set;
    return SW_OK;
}

static int compare_files(const void *a, const void *b)
{
    const beside *x = a, *y = b;
    int order = strcmp(x->id, y->id);
    return order ? order : strcmp(x->name, y->name);
}

/* Once for a table: its rows may be as many as the files. */
static sw_status list_files(table *t, const char *dir, sw_error *err)
{
    SW_CLEANUP(sw_names_free) sw_names names = {0};
    if (t->file) return SW_OK;
    SW_TRY(sw_dir_list(dir, false, &names, err));
    t->file = sw_calloc(names.count + 1, sizeof *t->file);
    if (!t->file) return sw_nomem(err);
    for (size_t i = 0; i < names.count; i++) {
        if (!is_slide_name(names.name[i])) continue;
        beside *file = &t->file[t->n_files++];
        file->id = sw_path_stem(names.name[i]);
        file->name = sw_strdup(names.name[i]);
        if (!file->id || !file->name) return sw_nomem(err);
    }
    if (t->n_files > 1) qsort(t->file, t->n_files, sizeof *t->file, compare_files);
    return SW_OK;
}

/* The first slide file in `dir` whose id is `id`; *path stays NULL when there is none. */
static sw_status file_of_id(table *t, const char *dir, const char *id, char **path, sw_error *err)
{
    SW_TRY(list_files(t, dir, err));
    size_t low = 0, high = t->n_files;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(t->file[middle].id, id) < 0) low = middle + 1;
        else high = middle;
    }
    if (low == t->n_files || strcmp(t->file[low].id, id) != 0) return SW_OK;
    *path = sw_path_join(dir, t->file[low].name);
    return *path ? SW_OK : sw_nomem(err);
}

static sw_status resolve(table *t, size_t row, char **path, sw_error *err)
{
    const char *csv = sw_csv_path(t->csv), *cell = sw_csv_cell(t->csv, row, t->name), *name = sw_path_name(csv);
    SW_AUTOFREE char *dir = name == csv ? sw_strdup(".") : sw_strndup(csv, (size_t)(name - csv));
    if (!dir) return sw_nomem(err);
    *path = cell[0] == '/' || name == csv ? sw_strdup(cell) : sw_path_join(dir, cell);
    if (!*path) return sw_nomem(err);
    if (cell[0] && sw_path_exists(*path) && !sw_path_is_dir(*path)) return SW_OK;
    sw_free(SW_STEAL(*path));
    if (cell[0]) SW_TRY(file_of_id(t, dir, cell, path, err));
    if (*path) return SW_OK;
    return sw_error_set(err, SW_E_NOT_FOUND,
                        "%s, line %lld: no slide \"%s\"; give a path, or put the slide beside the table or its folder on "
                        "the command line",
                        csv, (long long)sw_csv_line(t->csv, row), cell);
}

static sw_status add_table(sw_slide_list *list, const char *csv_path, sw_error *err)
{
    SW_CLEANUP(table_free) table t = {0};
    SW_TRY(table_open(csv_path, &t, err));
    if (sw_csv_rows(t.csv) == 0) return sw_error_set(err, SW_E_INVALID, "%s: no row in this table", csv_path);
    for (size_t row = 0; row < sw_csv_rows(t.csv); row++) {
        sw_slide_entry *entry = NULL;
        SW_AUTOFREE char *path = NULL;
        double mpp_um = 0;
        SW_TRY(table_mpp(&t, row, &mpp_um, err));
        SW_TRY(find_named(list, sw_csv_cell(t.csv, row, t.name), &entry, err));
        if (!entry) {
            SW_TRY(resolve(&t, row, &path, err));
            SW_TRY(add_file(list, path, &entry, err));
        }
        SW_TRY(set_mpp(entry, mpp_um, &t, row, err));
    }
    return SW_OK;
}

sw_status sw_slide_list_expand(const char *const *operands, size_t n_operands, sw_slide_list *list, sw_error *err)
{
    for (size_t i = 0; i < n_operands; i++) {
        sw_slide_entry *entry = NULL;
        if (sw_path_has_ext(operands[i], "csv")) continue;
        if (!sw_path_exists(operands[i])) {
            return sw_error_set(err, SW_E_NOT_FOUND, "%s: no such file; check the path", operands[i]);
        }
        SW_TRY(sw_path_is_dir(operands[i]) ? add_folder(list, operands[i], err)
                                           : add_file(list, operands[i], &entry, err));
    }
    /* Tables last: their rows may speak of slides that the other operands name. */
    for (size_t i = 0; i < n_operands; i++) {
        if (sw_path_has_ext(operands[i], "csv")) SW_TRY(add_table(list, operands[i], err));
    }
    return SW_OK;
}
