/* SPDX-License-Identifier: Apache-2.0 */
/* Splits: from the table's column, or from elsewhere; a case on two sides is refused. */
#include <string.h>
#include <strings.h>

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

sw_status sw_dataset_set_source(sw_dataset *ds, char *text, sw_error *err)
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
    return sw_dataset_set_source(b->ds, sw_asprintf("column '%s' of %s", t->split_column, t->path), err);
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
    if (b->table.of_folder && b->table.split_column) return SW_CFG_SPLIT_COLUMN; /* its fold is made already */
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

/* The reference: validation and test are one set, on which the best epoch is chosen and told. */
static void join_val_and_test(sw_dataset *ds)
{
    for (int64_t i = 0; i < ds->n_bags; i++) {
        if (ds->bag[i].split == SW_SPLIT_VAL) ds->bag[i].split = SW_SPLIT_TEST;
    }
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
    bool on_test = b->config->train.select_on_test;
    if (on_test) join_val_and_test(b->ds);
    bool carve = !on_test && b->config->data.split.val > 0 && !has_split(b->ds, SW_SPLIT_VAL);
    if (carve) SW_TRY(sw_dataset_carve_val(b, err));
    if (!b->table.has_case && (made || b->ds->val_carved)) {
        return sw_dataset_warn(b, err, "%s has no column of cases: every slide counts as a case of its own", b->table.path);
    }
    return SW_OK;
}
