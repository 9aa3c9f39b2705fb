/* SPDX-License-Identifier: Apache-2.0 */
/* Splits: from the table's column, or from a split file; a case on two sides is refused. */
#include <string.h>
#include <strings.h>

#include "base/csv.h"
#include "base/fs.h"
#include "base/mem.h"
#include "dataset/dataset_internal.h"

const char *sw_split_name(sw_split split)
{
    static const char *const names[] = {"train", "val", "test", "none"};
    return split < SW_SPLIT_COUNT ? names[split] : "";
}

sw_split sw_split_parse(const char *text)
{
    static const struct { const char *name; sw_split split; } known[] = {
        {"train", SW_SPLIT_TRAIN}, {"training", SW_SPLIT_TRAIN}, {"val", SW_SPLIT_VAL}, {"valid", SW_SPLIT_VAL},
        {"validation", SW_SPLIT_VAL}, {"test", SW_SPLIT_TEST}, {"testing", SW_SPLIT_TEST}, {"none", SW_SPLIT_NONE},
        {"", SW_SPLIT_NONE}};
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strcasecmp(text, known[i].name) == 0) return known[i].split;
    }
    return SW_SPLIT_COUNT;
}

static sw_status set_source(sw_dataset *ds, char *text, sw_error *err)
{
    if (!text) return sw_nomem(err);
    sw_free(ds->split_source);
    ds->split_source = text;
    return SW_OK;
}

static sw_status split_by_column(sw_dataset_build *b, sw_error *err)
{
    const sw_label_table *t = &b->table;
    for (int64_t i = 0; i < b->ds->n_bags; i++) {
        sw_split split = sw_split_parse(t->row[i].split);
        if (split == SW_SPLIT_COUNT) {
            return sw_error_set(err, SW_E_INVALID, "%s:%lld: column '%s': '%s' is none of train, val, test; correct it, or set data.split.from to random",
                                t->path, (long long)t->row[i].line, t->split_column, t->row[i].split);
        }
        b->ds->bag[i].split = split;
    }
    return set_source(b->ds, sw_asprintf("column '%s' of %s", t->split_column, t->path), err);
}

/* ---- the split file */

typedef struct split_file {
    sw_dataset_build *build;
    const sw_csv *csv;
    sw_lookup slides, cases; /* of the label table */
    int64_t *line;           /* [count] where a bag was placed; 0: nowhere yet */
    int64_t unknown;
    const char *first_unknown;
} split_file;

static sw_status place_bag(split_file *f, int64_t bag, const char *id, sw_split split, int64_t line, sw_error *err)
{
    sw_bag *at = &f->build->ds->bag[bag];
    if (f->line[bag] && at->split != split) {
        return sw_error_set(err, SW_E_INVALID, "%s:%lld: '%s' is in %s, and on line %lld in %s", sw_csv_path(f->csv),
                            (long long)line, id, sw_split_name(split), (long long)f->line[bag], sw_split_name(at->split));
    }
    at->split = split;
    f->line[bag] = line;
    return SW_OK;
}

static sw_status place_cell(split_file *f, const char *cell, sw_split split, int64_t line, sw_error *err)
{
    SW_AUTOFREE char *id = sw_text_trim(cell);
    if (!id) return sw_nomem(err);
    if (id[0] == '\0') return SW_OK;
    const sw_lookup *lookup = &f->slides;
    int64_t at = sw_lookup_find(lookup, id);
    if (at < 0) at = sw_lookup_find(lookup = &f->cases, id);
    if (at < 0) {
        if (f->build->config->data.missing == SW_CFG_MISSING_ERROR) {
            return sw_error_set(err, SW_E_NOT_FOUND, "%s:%lld: '%s' is neither a slide nor a case of %s; correct it, or set data.missing to skip",
                                sw_csv_path(f->csv), (long long)line, id, f->build->table.path);
        }
        if (f->unknown++ == 0) f->first_unknown = cell;
        return SW_OK;
    }
    for (; at < lookup->count && strcmp(lookup->entry[at].text, id) == 0; at++) {
        SW_TRY(place_bag(f, lookup->entry[at].index, id, split, line, err));
    }
    return SW_OK;
}

static sw_status place_all(split_file *f, sw_error *err)
{
    static const sw_split order[] = {SW_SPLIT_TRAIN, SW_SPLIT_VAL, SW_SPLIT_TEST};
    int column[3];
    for (int k = 0; k < 3; k++) column[k] = sw_csv_find(f->csv, sw_split_name(order[k]));
    if (column[0] < 0) {
        return sw_error_set(err, SW_E_NOT_FOUND, "%s: no column 'train'; a split file has the columns train, val and test, which list slides",
                            sw_csv_path(f->csv));
    }
    for (size_t r = 0; r < sw_csv_rows(f->csv); r++) {
        for (int k = 0; k < 3; k++) {
            if (column[k] < 0) continue;
            SW_TRY(place_cell(f, sw_csv_cell(f->csv, r, (size_t)column[k]), order[k], sw_csv_line(f->csv, r), err));
        }
    }
    return SW_OK;
}

static sw_status report_file(split_file *f, sw_error *err)
{
    sw_dataset_build *b = f->build;
    int64_t nowhere = 0;
    for (int64_t i = 0; i < b->ds->n_bags; i++) nowhere += f->line[i] == 0;
    if (f->unknown > 0) {
        SW_TRY(sw_dataset_warn(b, err, "%s: %lld ids are neither slides nor cases of %s and were passed over (the first is '%s')",
                               sw_csv_path(f->csv), (long long)f->unknown, b->table.path, f->first_unknown));
    }
    if (nowhere > 0) {
        SW_TRY(sw_dataset_warn(b, err, "%lld of %lld rows of %s are in no split of %s and take part in nothing",
                               (long long)nowhere, (long long)b->ds->n_bags, b->table.path, sw_csv_path(f->csv)));
    }
    return set_source(b->ds, sw_asprintf("%s", sw_csv_path(f->csv)), err);
}

static void split_file_free(split_file *f)
{
    sw_lookup_free(&f->slides);
    sw_lookup_free(&f->cases);
    sw_free(f->line);
}

sw_status sw_dataset_split_file(sw_dataset_build *b, sw_error *err)
{
    const char *path = b->config->data.split.file;
    if (!sw_path_exists(path)) {
        return sw_error_set(err, SW_E_NOT_FOUND, "%s: no such file; data.split.file must name a table of splits", path);
    }
    SW_CLEANUP(sw_csv_free_ptr) sw_csv *csv = NULL;
    SW_TRY(sw_csv_read(path, true, &csv, err));
    SW_CLEANUP(split_file_free) split_file f = {.build = b, .csv = csv};
    int64_t n = b->ds->n_bags;
    SW_TRY(sw_lookup_new(n, &f.slides, err));
    SW_TRY(sw_lookup_new(n, &f.cases, err));
    f.line = sw_calloc((size_t)n, sizeof(*f.line));
    if (!f.line) return sw_nomem(err);
    for (int64_t i = 0; i < n; i++) {
        b->ds->bag[i].split = SW_SPLIT_NONE;
        f.slides.entry[i] = (sw_lookup_entry){b->ds->bag[i].slide_id, i};
        f.cases.entry[i] = (sw_lookup_entry){b->ds->bag[i].case_id, i};
    }
    sw_lookup_sort(&f.slides);
    sw_lookup_sort(&f.cases);
    SW_TRY(place_all(&f, err));
    return report_file(&f, err);
}

/* ---- all of it */

static sw_status refuse_leaks(sw_dataset_build *b, sw_error *err)
{
    const sw_dataset *ds = b->ds;
    SW_CLEANUP(sw_lookup_free) sw_lookup cases = {0};
    SW_TRY(sw_lookup_new(ds->n_bags, &cases, err));
    for (int64_t i = 0; i < ds->n_bags; i++) cases.entry[i] = (sw_lookup_entry){ds->bag[i].case_id, i};
    sw_lookup_sort(&cases);
    const sw_bag *seen = NULL;
    int64_t leaking = 0;
    for (int64_t i = 0; i < cases.count; i++) {
        const sw_bag *bag = &ds->bag[cases.entry[i].index];
        if (seen && strcmp(seen->case_id, bag->case_id) != 0) seen = NULL;
        if (bag->split == SW_SPLIT_NONE) continue;
        if (!seen) seen = bag;
        if (bag->split == seen->split) continue;
        if (!b->config->data.allow_leak) {
            return sw_error_set(err, SW_E_INVALID, "%s: case '%s' is in %s (line %lld) and in %s (line %lld); correct the split, or set data.allow_leak to true",
                                b->table.path, bag->case_id, sw_split_name(seen->split), (long long)seen->line,
                                sw_split_name(bag->split), (long long)bag->line);
        }
        leaking++;
    }
    if (leaking == 0) return SW_OK;
    return sw_dataset_warn(b, err, "%s: %lld slides are in another split than the first slide of their case (data.allow_leak is true)",
                           b->table.path, (long long)leaking);
}

static sw_cfg_split resolve_auto(const sw_dataset_build *b)
{
    sw_cfg_split from = b->config->data.split.from;
    if (from != SW_CFG_SPLIT_AUTO) return from;
    if (b->config->data.split.file[0]) return SW_CFG_SPLIT_FILE;
    if (b->config->data.split.folds > 0) return SW_CFG_SPLIT_KFOLD;
    return b->table.split_column ? SW_CFG_SPLIT_COLUMN : SW_CFG_SPLIT_RANDOM;
}

static bool has_split(const sw_dataset *ds, sw_split split)
{
    for (int64_t i = 0; i < ds->n_bags; i++) {
        if (ds->bag[i].split == split) return true;
    }
    return false;
}

sw_status sw_dataset_split(sw_dataset_build *b, sw_error *err)
{
    sw_cfg_split from = resolve_auto(b);
    bool made = from == SW_CFG_SPLIT_RANDOM || from == SW_CFG_SPLIT_KFOLD;
    if (made) {
        SW_TRY(sw_dataset_split_random(b, from == SW_CFG_SPLIT_KFOLD, err));
    } else {
        if (from == SW_CFG_SPLIT_FILE) SW_TRY(sw_dataset_split_file(b, err));
        else SW_TRY(split_by_column(b, err));
        SW_TRY(refuse_leaks(b, err));
    }
    bool carve = b->config->data.split.val > 0 && !has_split(b->ds, SW_SPLIT_VAL);
    if (carve) SW_TRY(sw_dataset_carve_val(b, err));
    if (!b->table.has_case && (made || b->ds->val_carved)) {
        return sw_dataset_warn(b, err, "%s has no column of cases: every slide counts as a case of its own", b->table.path);
    }
    return SW_OK;
}
