/* SPDX-License-Identifier: Apache-2.0 */
/* Class names: those of the configuration, or the labels of the table in order. */
#include "dataset/classes.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"

enum { MAX_INFERRED = 100 }; /* more different labels than this are rather ids or measurements */

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int by_number(const void *a, const void *b)
{
    int64_t x = 0, y = 0;
    sw_parse_int(*(char *const *)a, &x);
    sw_parse_int(*(char *const *)b, &y);
    return (x > y) - (x < y);
}

static sw_status take_names(sw_dataset *ds, char *const *name, int count, sw_error *err)
{
    ds->class_name = sw_calloc((size_t)count, sizeof(*ds->class_name));
    if (!ds->class_name) return sw_nomem(err);
    for (int k = 0; k < count; k++) {
        ds->class_name[k] = sw_strdup(name[k]);
        if (!ds->class_name[k]) return sw_nomem(err);
        ds->n_classes++;
    }
    return SW_OK;
}

static sw_status infer_classes(const sw_label_table *t, sw_dataset *ds, sw_error *err)
{
    SW_AUTOFREE char **label = sw_calloc((size_t)t->count, sizeof(*label));
    if (!label) return sw_nomem(err);
    bool numbers = true;
    for (int64_t i = 0; i < t->count; i++) {
        int64_t ignored;
        label[i] = t->row[i].label;
        if (!sw_parse_int(label[i], &ignored)) numbers = false;
    }
    qsort(label, (size_t)t->count, sizeof(*label), numbers ? by_number : by_text);
    int64_t n = 0;
    for (int64_t i = 0; i < t->count; i++) {
        if (n == 0 || strcmp(label[i], label[n - 1]) != 0) label[n++] = label[i];
    }
    if (n > MAX_INFERRED) {
        return sw_error_set(err, SW_E_INVALID, "%s: %lld different labels in %lld rows; name the column of the classes with data.columns.label, or the classes with task.classes",
                            t->path, (long long)n, (long long)t->count);
    }
    return take_names(ds, label, (int)n, err);
}

/* Of two classes the positive one comes second. */
static sw_status place_positive(const sw_config *config, const sw_label_table *t, sw_dataset *ds, sw_error *err)
{
    const char *positive = config->task.positive;
    if (positive[0] == '\0') return SW_OK;
    int found = -1;
    for (int k = 0; k < ds->n_classes; k++) {
        if (strcmp(ds->class_name[k], positive) == 0) found = k;
    }
    if (ds->n_classes != 2) {
        return sw_error_set(err, SW_E_INVALID, "task.positive: '%s' makes sense with two classes, %s has %d", positive, t->path,
                            ds->n_classes);
    }
    if (found < 0) {
        return sw_error_set(err, SW_E_INVALID, "task.positive: '%s' is not a label of %s (they are %s and %s)", positive,
                            t->path, ds->class_name[0], ds->class_name[1]);
    }
    if (found == 0) {
        char *other = ds->class_name[1];
        ds->class_name[1] = ds->class_name[0];
        ds->class_name[0] = other;
    }
    return SW_OK;
}

sw_status sw_dataset_classes(const sw_config *config, const sw_label_table *t, sw_dataset *ds, sw_error *err)
{
    const sw_config_texts *given = &config->task.classes;
    if (given->count > 0) SW_TRY(take_names(ds, given->item, (int)given->count, err));
    else SW_TRY(infer_classes(t, ds, err));
    return place_positive(config, t, ds, err);
}

sw_status sw_dataset_class_of(const sw_dataset *ds, const sw_label_table *t, const sw_label_row *row, int *out,
                              sw_error *err)
{
    for (int k = 0; k < ds->n_classes; k++) {
        if (strcmp(ds->class_name[k], row->label) == 0) {
            *out = k;
            return SW_OK;
        }
    }
    SW_CLEANUP(sw_buf_free) sw_buf list = {0};
    for (int k = 0; k < ds->n_classes; k++) sw_buf_printf(&list, "%s%s", k ? ", " : "", ds->class_name[k]);
    SW_TRY(sw_buf_status(&list, err));
    const char *near = sw_nearest_name(row->label, (const char *const *)ds->class_name, (size_t)ds->n_classes);
    return sw_error_set(err, SW_E_INVALID, "%s:%lld: slide '%s' has the label '%s', which is not in task.classes (%s)%s%s%s",
                        t->path, (long long)row->line, row->slide_id, row->label, list.data,
                        near ? "; the nearest is '" : "", near ? near : "", near ? "'" : "");
}
