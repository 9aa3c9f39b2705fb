/* SPDX-License-Identifier: Apache-2.0 */
/* Given splits: a table whose columns train, val and test list slides or cases (CLAM, SurvPath), one that says true or false
 * for each (CLAM's _bool), three tables of one list each (GigaPath), or a folder of one of these, fold by fold. */
#include <string.h>
#include <strings.h>

#include "base/csv.h"
#include "base/fs.h"
#include "base/mem.h"
#include "dataset/dataset_internal.h"

typedef struct split_file {
    sw_dataset_build *build;
    char *path;              /* owned; of three tables, that of train */
    const sw_csv *csv;       /* the one that is read */
    sw_lookup slides, cases; /* of the label table */
    int64_t *line;           /* [count] where a bag was placed; 0: nowhere yet; < 0: in a table before this one */
    int64_t unknown;
    char *first_unknown; /* owned */
} split_file;

static sw_status place_bag(split_file *f, int64_t bag, const char *id, sw_split split, int64_t line, sw_error *err)
{
    sw_bag *at = &f->build->ds->bag[bag];
    if (f->line[bag] && at->split != split && f->line[bag] < 0) {
        return sw_error_set(err, SW_E_INVALID, "%s:%lld: '%s' is in %s, and in another table in %s", sw_csv_path(f->csv),
                            (long long)line, id, sw_split_name(split), sw_split_name(at->split));
    }
    if (f->line[bag] && at->split != split) {
        return sw_error_set(err, SW_E_INVALID, "%s:%lld: '%s' is in %s, and on line %lld in %s", sw_csv_path(f->csv),
                            (long long)line, id, sw_split_name(split), (long long)f->line[bag], sw_split_name(at->split));
    }
    at->split = split;
    f->line[bag] = line;
    return SW_OK;
}

/* By the very id, else, where that is a file's name, by its stem. */
static int64_t find_id(const sw_lookup *lookup, const char *id, const char *stem)
{
    int64_t at = sw_lookup_find(lookup, id);
    return at < 0 && stem ? sw_lookup_find(lookup, stem) : at;
}

static sw_status place_cell(split_file *f, const char *cell, sw_split split, int64_t line, sw_error *err)
{
    SW_AUTOFREE char *id = sw_text_trim(cell);
    if (!id) return sw_nomem(err);
    if (id[0] == '\0') return SW_OK;
    SW_AUTOFREE char *stem = sw_is_slide_file(id) ? sw_path_stem(id) : NULL;
    const sw_lookup *lookup = &f->slides;
    int64_t at = find_id(lookup, id, stem);
    if (at < 0) at = find_id(lookup = &f->cases, id, stem);
    if (at < 0) {
        if (f->build->config->data.missing == SW_CFG_MISSING_ERROR) {
            return sw_error_set(err, SW_E_NOT_FOUND, "%s:%lld: '%s' is neither a slide nor a case of %s; correct it, or set data.missing to skip",
                                sw_csv_path(f->csv), (long long)line, id, f->build->table.path);
        }
        if (f->unknown++ == 0) f->first_unknown = SW_STEAL(id);
        return SW_OK;
    }
    const char *found = lookup->entry[at].text;
    for (; at < lookup->count && strcmp(lookup->entry[at].text, found) == 0; at++) {
        SW_TRY(place_bag(f, lookup->entry[at].index, id, split, line, err));
    }
    return SW_OK;
}

static const sw_split order[] = {SW_SPLIT_TRAIN, SW_SPLIT_VAL, SW_SPLIT_TEST};

static bool is_truth(const char *cell, bool *truth)
{
    *truth = strcasecmp(cell, "true") == 0;
    return *truth || strcasecmp(cell, "false") == 0;
}

/* Each row is an id, in its first column, and true in one of train, val and test. */
static sw_status place_truths(split_file *f, const int *column, sw_error *err)
{
    for (size_t r = 0; r < sw_csv_rows(f->csv); r++) {
        for (int k = 0; k < 3; k++) {
            const char *cell = column[k] < 0 ? "false" : sw_csv_cell(f->csv, r, (size_t)column[k]);
            bool truth;
            if (!is_truth(cell, &truth)) {
                return sw_error_set(err, SW_E_FORMAT, "%s:%lld: column '%s': '%s' is neither true nor false", sw_csv_path(f->csv),
                                    (long long)sw_csv_line(f->csv, r), sw_split_name(order[k]), cell);
            }
            if (truth) SW_TRY(place_cell(f, sw_csv_cell(f->csv, r, 0), order[k], sw_csv_line(f->csv, r), err));
        }
    }
    return SW_OK;
}

/* The columns train, val and test list ids. */
static sw_status place_columns(split_file *f, sw_error *err)
{
    int column[3];
    bool truth;
    for (int k = 0; k < 3; k++) column[k] = sw_csv_find(f->csv, sw_split_name(order[k]));
    if (column[0] < 0) {
        return sw_error_set(err, SW_E_NOT_FOUND, "%s: no column 'train'; a split file has the columns train, val and test, which list slides",
                            sw_csv_path(f->csv));
    }
    if (sw_csv_rows(f->csv) > 0 && column[0] > 0 && is_truth(sw_csv_cell(f->csv, 0, (size_t)column[0]), &truth)) {
        return place_truths(f, column, err);
    }
    for (size_t r = 0; r < sw_csv_rows(f->csv); r++) {
        for (int k = 0; k < 3; k++) {
            if (column[k] < 0) continue;
            SW_TRY(place_cell(f, sw_csv_cell(f->csv, r, (size_t)column[k]), order[k], sw_csv_line(f->csv, r), err));
        }
    }
    return SW_OK;
}

/* One of GigaPath's three tables: its column of slides is the list. */
static sw_status place_list(split_file *f, sw_split split, sw_error *err)
{
    static const char *const known[] = {"slide_id", "slide", "case_id", "id"};
    const char *named = f->build->config->data.columns.slide_id;
    int column = named[0] ? sw_csv_find(f->csv, named) : -1;
    for (size_t i = 0; i < sizeof known / sizeof known[0] && column < 0; i++) column = sw_csv_find(f->csv, known[i]);
    if (column < 0) {
        return sw_error_set(err, SW_E_NOT_FOUND, "%s: no column 'slide_id'; name the column that lists slides with data.columns.slide",
                            sw_csv_path(f->csv));
    }
    for (size_t r = 0; r < sw_csv_rows(f->csv); r++) {
        SW_TRY(place_cell(f, sw_csv_cell(f->csv, r, (size_t)column), split, sw_csv_line(f->csv, r), err));
    }
    for (int64_t i = 0; i < f->build->ds->n_bags; i++) {
        if (f->line[i] > 0) f->line[i] = -1;
    }
    return SW_OK;
}

static sw_status place_lists(split_file *f, const char *folder, sw_error *err)
{
    for (int k = 0; k < 3; k++) {
        SW_CLEANUP(sw_csv_free_ptr) sw_csv *csv = NULL;
        SW_AUTOFREE char *path = sw_asprintf("%s/%s_%lld.csv", folder, sw_split_name(order[k]),
                                             (long long)f->build->config->data.split.fold);
        if (!path) return sw_nomem(err);
        if (k > 0 && !sw_path_exists(path)) continue;
        SW_TRY(sw_csv_read(path, true, &csv, err));
        f->csv = csv;
        SW_TRY(place_list(f, order[k], err));
    }
    f->csv = NULL;
    return SW_OK;
}

static sw_status report_file(split_file *f, sw_error *err)
{
    sw_dataset_build *b = f->build;
    int64_t nowhere = 0;
    for (int64_t i = 0; i < b->ds->n_bags; i++) nowhere += f->line[i] == 0;
    if (f->unknown > 0) {
        SW_TRY(sw_dataset_warn(b, err, "%s: %lld ids are neither slides nor cases of %s and were passed over (the first is '%s')",
                               f->path, (long long)f->unknown, b->table.path, f->first_unknown));
    }
    if (nowhere > 0) {
        SW_TRY(sw_dataset_warn(b, err, "%lld of %lld rows of %s are in no split of %s and take part in nothing",
                               (long long)nowhere, (long long)b->ds->n_bags, b->table.path, f->path));
    }
    return sw_dataset_set_source(b->ds, sw_strdup(f->path), err);
}

static void split_file_free(split_file *f)
{
    sw_lookup_free(&f->slides);
    sw_lookup_free(&f->cases);
    sw_free(f->line);
    sw_free(f->path);
    sw_free(f->first_unknown);
}

/* The table that is meant: data.split.file, or in a folder the one of data.split.fold. */
static sw_status find_file(split_file *f, bool *lists, sw_error *err)
{
    static const char *const names[] = {"splits", "fold", "train"};
    const char *path = f->build->config->data.split.file;
    long long fold = (long long)f->build->config->data.split.fold;
    if (!sw_path_exists(path)) {
        return sw_error_set(err, SW_E_NOT_FOUND, "%s: no such file; data.split.file must name a table of splits", path);
    }
    *lists = false;
    if (!sw_path_is_dir(path)) {
        f->path = sw_strdup(path);
        return f->path ? SW_OK : sw_nomem(err);
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        SW_AUTOFREE char *file = sw_asprintf("%s/%s_%lld.csv", path, names[i], fold);
        if (!file) return sw_nomem(err);
        if (!sw_path_exists(file)) continue;
        *lists = i == 2;
        f->path = SW_STEAL(file);
        return SW_OK;
    }
    return sw_error_set(err, SW_E_NOT_FOUND, "%s: the folder holds none of splits_%lld.csv, fold_%lld.csv and train_%lld.csv (data.split.fold is %lld)",
                        path, fold, fold, fold, fold);
}

static sw_status lookups_new(split_file *f, sw_error *err)
{
    sw_dataset *ds = f->build->ds;
    SW_TRY(sw_lookup_new(ds->n_bags, &f->slides, err));
    SW_TRY(sw_lookup_new(ds->n_bags, &f->cases, err));
    f->line = sw_calloc((size_t)ds->n_bags + 1, sizeof(*f->line));
    if (!f->line) return sw_nomem(err);
    for (int64_t i = 0; i < ds->n_bags; i++) {
        ds->bag[i].split = SW_SPLIT_NONE;
        f->slides.entry[i] = (sw_lookup_entry){ds->bag[i].slide_id, i};
        f->cases.entry[i] = (sw_lookup_entry){ds->bag[i].case_id, i};
    }
    sw_lookup_sort(&f->slides);
    sw_lookup_sort(&f->cases);
    return SW_OK;
}

sw_status sw_dataset_split_file(sw_dataset_build *b, sw_error *err)
{
    SW_CLEANUP(split_file_free) split_file f = {.build = b};
    SW_CLEANUP(sw_csv_free_ptr) sw_csv *csv = NULL;
    bool lists;
    SW_TRY(find_file(&f, &lists, err));
    SW_TRY(lookups_new(&f, err));
    if (lists) {
        SW_TRY(place_lists(&f, b->config->data.split.file, err));
    } else {
        SW_TRY(sw_csv_read(f.path, true, &csv, err));
        f.csv = csv;
        SW_TRY(place_columns(&f, err));
    }
    return report_file(&f, err);
}
