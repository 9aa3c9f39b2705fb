/* SPDX-License-Identifier: Apache-2.0 */
#include "dataset/dataset.h"

#include <stdarg.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "dataset/classes.h"
#include "dataset/dataset_internal.h"

void sw_bag_clear(sw_bag *bag)
{
    sw_free(bag->slide_id);
    sw_free(bag->case_id);
    sw_free(bag->more);
    *bag = (sw_bag){0};
}

static void texts_free(char **text, int64_t count)
{
    for (int64_t i = 0; text && i < count; i++) sw_free(text[i]);
    sw_free(text);
}

void sw_dataset_free(sw_dataset *ds)
{
    if (!ds) return;
    for (int64_t i = 0; i < ds->n_bags; i++) sw_bag_clear(&ds->bag[i]);
    sw_free(ds->bag);
    texts_free(ds->class_name, ds->n_classes);
    texts_free(ds->missing, ds->n_missing);
    texts_free(ds->unlabelled, ds->n_unlabelled);
    texts_free(ds->ambiguous, ds->n_ambiguous);
    texts_free(ds->warning, ds->n_warnings);
    sw_free(ds->labels_path);
    sw_free(ds->split_source);
    sw_free(ds->count);
    sw_free(ds->time_column);
    sw_free(ds->edge);
    sw_free(ds);
}

void sw_dataset_free_ptr(sw_dataset **dataset)
{
    sw_dataset_free(*dataset);
    *dataset = NULL;
}

sw_status sw_dataset_warn(sw_dataset_build *b, sw_error *err, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    va_start(args, fmt);
    int written = sw_vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (written < 0) text[0] = '\0';
    sw_dataset *ds = b->ds;
    char **grown = sw_realloc_array(ds->warning, (size_t)ds->n_warnings + 1, sizeof(*grown));
    if (!grown) return sw_nomem(err);
    ds->warning = grown;
    if (!(grown[ds->n_warnings] = sw_strdup(text))) return sw_nomem(err);
    ds->n_warnings++;
    sw_log_warning(b->sink, "%s", text);
    return SW_OK;
}

void sw_put_names(sw_buf *out, char *const *name, int64_t count)
{
    enum { SHOWN = 5 };
    int64_t shown = count > SHOWN ? SHOWN - 1 : count;
    for (int64_t i = 0; i < shown; i++) sw_buf_printf(out, "%s%s", i ? ", " : "", name[i]);
    if (shown < count) sw_buf_printf(out, " and %lld more", (long long)(count - shown));
}

/* ---- rows become bags */

static sw_status make_bags(sw_dataset_build *b, sw_error *err)
{
    sw_dataset *ds = b->ds;
    ds->bag = sw_calloc((size_t)b->table.count, sizeof(*ds->bag));
    if (!ds->bag) return sw_nomem(err);
    for (int64_t i = 0; i < b->table.count; i++) {
        const sw_label_row *row = &b->table.row[i];
        sw_bag *bag = &ds->bag[ds->n_bags++];
        *bag = (sw_bag){.split = SW_SPLIT_NONE, .store_slide = -1, .line = row->line};
        if (!ds->survival) SW_TRY(sw_dataset_class_of(ds, &b->table, row, &bag->label, err));
        bag->slide_id = sw_strdup(row->slide_id);
        bag->case_id = sw_strdup(row->case_id);
        if (!bag->slide_id || !bag->case_id) return sw_nomem(err);
    }
    return SW_OK;
}

/* Are there two rows of one slide, and do they agree? */
static sw_status check_pair(const sw_dataset_build *b, const sw_bag *first, const sw_bag *second, sw_error *err)
{
    long long line = (long long)second->line, before = (long long)first->line;
    char *const *name = b->ds->class_name;
    if (b->ds->survival && (first->time != second->time || first->event != second->event)) {
        return sw_error_set(err, SW_E_INVALID, "%s:%lld: slide '%s' has the time %g%s, and on line %lld %g%s; a slide has one time",
                            b->table.path, line, second->slide_id, second->time, second->event ? "" : " (censored)", before,
                            first->time, first->event ? "" : " (censored)");
    }
    if (first->label != second->label) {
        return sw_error_set(err, SW_E_INVALID, "%s:%lld: slide '%s' has the label '%s', and on line %lld '%s'; a slide has one label",
                            b->table.path, line, second->slide_id, name[second->label], before, name[first->label]);
    }
    if (strcmp(first->case_id, second->case_id) != 0) {
        return sw_error_set(err, SW_E_INVALID, "%s:%lld: slide '%s' is of case '%s', and on line %lld of case '%s'; a slide has one case",
                            b->table.path, line, second->slide_id, second->case_id, before, first->case_id);
    }
    if (b->config->data.repeats == SW_CFG_REPEATS_KEEP) return SW_OK;
    return sw_error_set(err, SW_E_INVALID, "%s:%lld: slide '%s' is already on line %lld; delete one of them, or set data.repeats to keep if it shall count twice (oversampling)",
                        b->table.path, line, second->slide_id, before);
}

static sw_status bags_by_slide(const sw_dataset *ds, sw_lookup *out, sw_error *err)
{
    SW_TRY(sw_lookup_new(ds->n_bags, out, err));
    for (int64_t i = 0; i < ds->n_bags; i++) out->entry[i] = (sw_lookup_entry){ds->bag[i].slide_id, i};
    sw_lookup_sort(out);
    return SW_OK;
}

/* The repeat that stands first in the table is named. */
static sw_status check_repeats(const sw_dataset_build *b, sw_error *err)
{
    SW_CLEANUP(sw_lookup_free) sw_lookup slides = {0};
    SW_TRY(bags_by_slide(b->ds, &slides, err));
    sw_error found = {.code = SW_OK};
    int64_t line = INT64_MAX;
    for (int64_t i = 1, first = 0; i < slides.count; i++) {
        if (strcmp(slides.entry[i].text, slides.entry[first].text) != 0) {
            first = i;
            continue;
        }
        const sw_bag *second = &b->ds->bag[slides.entry[i].index];
        sw_error here = {.code = SW_OK};
        if (check_pair(b, &b->ds->bag[slides.entry[first].index], second, &here) == SW_OK) continue;
        if (second->line < line) {
            found = here;
            line = second->line;
        }
    }
    if (found.code != SW_OK && err) *err = found;
    return found.code;
}

static sw_status check_repeats_in_train(const sw_dataset_build *b, sw_error *err)
{
    SW_CLEANUP(sw_lookup_free) sw_lookup slides = {0};
    SW_TRY(bags_by_slide(b->ds, &slides, err));
    for (int64_t i = 1; i < slides.count; i++) {
        if (strcmp(slides.entry[i].text, slides.entry[i - 1].text) != 0) continue;
        const sw_bag *bag = &b->ds->bag[slides.entry[i].index], *before = &b->ds->bag[slides.entry[i - 1].index];
        sw_split split = bag->split != SW_SPLIT_TRAIN ? bag->split : before->split;
        if (split != SW_SPLIT_VAL && split != SW_SPLIT_TEST) continue;
        return sw_error_set(err, SW_E_INVALID, "%s:%lld: slide '%s' of the %s split is already on line %lld; only training slides may be repeated",
                            b->table.path, (long long)bag->line, bag->slide_id, sw_split_name(split), (long long)before->line);
    }
    return SW_OK;
}

/* ---- counts */

static sw_status count_all(sw_dataset *ds, sw_error *err)
{
    ds->count = sw_calloc((size_t)SW_SPLIT_COUNT * (size_t)ds->n_classes, sizeof(*ds->count));
    SW_CLEANUP(sw_lookup_free) sw_lookup cases = {0};
    SW_TRY(sw_lookup_new(ds->n_bags, &cases, err));
    if (!ds->count) return sw_nomem(err);
    for (int64_t i = 0; i < ds->n_bags; i++) {
        const sw_bag *bag = &ds->bag[i];
        cases.entry[i] = (sw_lookup_entry){bag->case_id, i};
        ds->bags[bag->split]++;
        ds->events[bag->split] += bag->event;
        ds->count[bag->split * ds->n_classes + bag->label]++;
    }
    sw_lookup_sort(&cases);
    for (int64_t i = 0; i < cases.count;) {
        bool in[SW_SPLIT_COUNT] = {0};
        const char *id = cases.entry[i].text;
        for (; i < cases.count && strcmp(cases.entry[i].text, id) == 0; i++) in[ds->bag[cases.entry[i].index].split] = true;
        ds->n_cases++;
        for (int s = 0; s < SW_SPLIT_COUNT; s++) ds->cases[s] += in[s];
    }
    return SW_OK;
}

static sw_status check_trainable(const sw_dataset_build *b, sw_error *err)
{
    const sw_dataset *ds = b->ds;
    const char *path = b->table.path;
    if (!ds->survival && ds->n_classes < 2) {
        return sw_error_set(err, SW_E_INVALID, "%s: every slide has the label '%s'; training needs at least two classes", path,
                            ds->class_name[0]);
    }
    if (ds->bags[SW_SPLIT_TRAIN] == 0) {
        return sw_error_set(err, SW_E_INVALID, "%s: no training slide is left (%lld in val, %lld in test, %lld in no split); put some into train (data.split)",
                            path, (long long)ds->bags[SW_SPLIT_VAL], (long long)ds->bags[SW_SPLIT_TEST],
                            (long long)ds->bags[SW_SPLIT_NONE]);
    }
    const int64_t *train = sw_dataset_class_counts(ds, SW_SPLIT_TRAIN);
    for (int k = 0; k < ds->n_classes && !ds->survival; k++) {
        if (train[k] > 0) continue;
        return sw_error_set(err, SW_E_INVALID, "%s: no training slide has the class '%s' (%lld in val, %lld in test); change the split (data.split), or the classes (task.classes)",
                            path, ds->class_name[k], (long long)sw_dataset_class_counts(ds, SW_SPLIT_VAL)[k],
                            (long long)sw_dataset_class_counts(ds, SW_SPLIT_TEST)[k]);
    }
    return SW_OK;
}

static void build_free(sw_dataset_build *b)
{
    sw_label_table_free(&b->table);
    sw_dataset_free(b->ds);
}

sw_status sw_dataset_load(const sw_config *config, const sw_dataset_slides *slides, bool need_train, const sw_sink *sink,
                          sw_dataset **out, sw_error *err)
{
    SW_CLEANUP(build_free) sw_dataset_build b = {.config = config, .sink = sink};
    SW_TRY(sw_label_table_read(config, &b.table, err));
    b.ds = sw_calloc(1, sizeof(*b.ds));
    if (!b.ds) return sw_nomem(err);
    if (!(b.ds->labels_path = sw_strdup(b.table.path))) return sw_nomem(err);
    b.ds->survival = config->task.type == SW_CFG_SURVIVAL;
    b.ds->by_case = sw_dataset_by_case(config);
    if (!b.ds->survival) SW_TRY(sw_dataset_classes(config, &b.table, b.ds, err));
    SW_TRY(make_bags(&b, err));
    if (b.ds->survival) SW_TRY(sw_dataset_survival_read(&b, err));
    if (slides) SW_TRY(sw_dataset_match(&b, slides, err));
    SW_TRY(check_repeats(&b, err));
    SW_TRY(sw_dataset_split(&b, err));
    SW_TRY(check_repeats_in_train(&b, err));
    if (b.ds->by_case) SW_TRY(sw_dataset_join_cases(&b, err));
    if (b.ds->survival) SW_TRY(sw_dataset_survival_bins(&b, err));
    SW_TRY(count_all(b.ds, err));
    if (need_train) SW_TRY(check_trainable(&b, err));
    *out = SW_STEAL(b.ds);
    return SW_OK;
}
