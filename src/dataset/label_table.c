/* SPDX-License-Identifier: Apache-2.0 */
/* The label table: which column is which, and its cells. */
#include <string.h>
#include <strings.h>

#include "base/csv.h"
#include "base/fs.h"
#include "base/mem.h"
#include "dataset/dataset_internal.h"

typedef struct column {
    const char *key;    /* of the configuration */
    const char *wanted; /* named there; "": by the known names */
    const char *const *known; /* NULL-terminated */
    bool needed;
    int index; /* -1: none */
} column;

enum { SLIDE, LABEL, CASE, SPLIT, TIME, EVENT, CENSORED, COLUMNS };

char *sw_text_trim(const char *text)
{
    text += strspn(text, " \t");
    size_t length = strlen(text);
    while (length > 0 && (text[length - 1] == ' ' || text[length - 1] == '\t')) length--;
    return sw_strndup(text, length);
}

void sw_label_rows_free(sw_label_row *row, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        sw_free(row[i].slide_id);
        sw_free(row[i].case_id);
        sw_free(row[i].label);
        sw_free(row[i].split);
        sw_free(row[i].time);
        sw_free(row[i].event);
    }
    sw_free(row);
}

void sw_label_table_free(sw_label_table *table)
{
    sw_label_rows_free(table->row, table->count);
    sw_free(table->path);
    sw_free(table->split_column);
    sw_free(table->time_column);
    sw_free(table->event_column);
    *table = (sw_label_table){0};
}

/* Blanks around a column's name and its letter case do not count. */
static int find_any_case(const sw_csv *csv, const char *name)
{
    size_t length = strlen(name);
    for (size_t c = 0; c < sw_csv_columns(csv); c++) {
        const char *cell = sw_csv_column_name(csv, c);
        cell += strspn(cell, " \t");
        if (strncasecmp(cell, name, length) == 0 && cell[length + strspn(cell + length, " \t")] == '\0') return (int)c;
    }
    return -1;
}

/* "no column 'label' (columns are: case, slide, class); name it with data.columns.label" */
static sw_status missing_column(const sw_csv *csv, const column *c, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf list = {0};
    for (size_t i = 0; i < sw_csv_columns(csv); i++) {
        const char *name = sw_csv_column_name(csv, i);
        sw_buf_printf(&list, "%s%s", i ? ", " : "", name[0] ? name : "(unnamed)");
    }
    SW_TRY(sw_buf_status(&list, err));
    if (c->wanted[0]) {
        return sw_error_set(err, SW_E_NOT_FOUND, "%s: no column '%s', which %s names (columns are: %s)", sw_csv_path(csv),
                            c->wanted, c->key, list.data);
    }
    return sw_error_set(err, SW_E_NOT_FOUND, "%s: no column '%s' (columns are: %s); name it with %s", sw_csv_path(csv),
                        c->known[0], list.data, c->key);
}

static sw_status find_column(const sw_csv *csv, column *c, sw_error *err)
{
    c->index = -1;
    if (c->wanted[0]) {
        c->index = sw_csv_find(csv, c->wanted);
        return c->index < 0 ? missing_column(csv, c, err) : SW_OK;
    }
    for (const char *const *name = c->known; *name && c->index < 0; name++) c->index = find_any_case(csv, *name);
    return c->index < 0 && c->needed ? missing_column(csv, c, err) : SW_OK;
}

static const char *const time_names[] = {"time", "survival_months", "survival_days", "survival_time", "os_months", "os_days", NULL};
static const char *const event_names[] = {"event", "status", "vital_status", "os_status", NULL};
static const char *const censored_names[] = {"censorship", "censored", NULL};

static void describe_columns(const sw_config *config, column *c)
{
    static const char *const slide[] = {"slide_id", "slide", "id", NULL};
    static const char *const label[] = {"label", NULL};
    static const char *const case_id[] = {"case_id", "case", "patient_id", "patient", NULL};
    static const char *const split[] = {"split", "fold", NULL};
    bool survival = config->task.type == SW_CFG_SURVIVAL;
    bool labelled = !survival || config->task.survival.bins_from == SW_CFG_BINS_COLUMN;
    c[LABEL] = (column){"data.columns.label", config->data.columns.label, label, labelled, -1};
    c[SLIDE] = (column){"data.columns.slide", config->data.columns.slide_id, slide, true, -1};
    c[CASE] = (column){"data.columns.case", config->data.columns.case_id, case_id, false, -1};
    c[SPLIT] = (column){"data.columns.split", config->data.columns.split, split, config->data.split.from == SW_CFG_SPLIT_COLUMN, -1};
    c[TIME] = (column){"data.columns.time", config->data.columns.time, time_names, survival, -1};
    c[EVENT] = (column){"data.columns.event", config->data.columns.event, event_names, survival, -1};
    c[CENSORED] = (column){"data.columns.censored", config->data.columns.censored, censored_names, false, -1};
}

/* Where it is found: the table of the reference calls the time Event, and the event Status. */
static sw_status find_survival(const sw_csv *csv, column *c, sw_label_table *out, sw_error *err)
{
    static const char *const status_name[] = {"status", NULL};
    bool as_reference = !c[TIME].wanted[0] && find_any_case(csv, "event") >= 0 && find_any_case(csv, "status") >= 0;
    for (const char *const *name = time_names; *name; name++) as_reference = as_reference && find_any_case(csv, *name) < 0;
    if (as_reference) {
        c[TIME].index = find_any_case(csv, "event");
        if (!c[EVENT].wanted[0]) c[EVENT].known = status_name;
    } else {
        SW_TRY(find_column(csv, &c[TIME], err));
    }
    SW_TRY(find_column(csv, &c[CENSORED], err));
    bool censored = c[CENSORED].index >= 0 && !c[EVENT].wanted[0];
    c[EVENT].needed = !censored;
    SW_TRY(find_column(csv, &c[EVENT], err));
    /* Of two that have their usual names, the one of events counts. */
    out->censored = censored && (c[CENSORED].wanted[0] || c[EVENT].index < 0);
    if (out->censored) c[EVENT].index = c[CENSORED].index;
    out->time_column = sw_text_trim(sw_csv_column_name(csv, (size_t)c[TIME].index));
    out->event_column = sw_text_trim(sw_csv_column_name(csv, (size_t)c[EVENT].index));
    return out->time_column && out->event_column ? SW_OK : sw_nomem(err);
}

/* Two columns of which neither has a name we know, and none is named in the configuration: the reference's (ID, label). */
static bool is_headerless(const sw_csv *csv, const column *c)
{
    if (sw_csv_columns(csv) != 2) return false;
    for (int i = 0; i < TIME; i++) {
        if (c[i].wanted[0]) return false;
        for (const char *const *name = c[i].known; *name; name++) {
            if (find_any_case(csv, *name) >= 0) return false;
        }
    }
    return true;
}

static sw_status copy_cell(const sw_csv *csv, size_t row, int column, char **out, sw_error *err)
{
    *out = sw_text_trim(column < 0 ? "" : sw_csv_cell(csv, row, (size_t)column));
    return *out ? SW_OK : sw_nomem(err);
}

static sw_status read_row(const sw_csv *csv, size_t i, const column *c, sw_label_row *row, sw_error *err)
{
    const char *path = sw_csv_path(csv);
    row->line = sw_csv_line(csv, i);
    long long line = (long long)row->line;
    SW_TRY(copy_cell(csv, i, c[SLIDE].index, &row->slide_id, err));
    SW_TRY(copy_cell(csv, i, c[LABEL].index, &row->label, err));
    SW_TRY(copy_cell(csv, i, c[CASE].index < 0 ? c[SLIDE].index : c[CASE].index, &row->case_id, err));
    SW_TRY(copy_cell(csv, i, c[SPLIT].index, &row->split, err));
    SW_TRY(copy_cell(csv, i, c[TIME].index, &row->time, err));
    SW_TRY(copy_cell(csv, i, c[EVENT].index, &row->event, err));
    if (row->slide_id[0] == '\0') return sw_error_set(err, SW_E_FORMAT, "%s:%lld: the row names no slide", path, line);
    if (c[LABEL].needed && row->label[0] == '\0') {
        return sw_error_set(err, SW_E_FORMAT, "%s:%lld: slide '%s' has no label; fill it in or delete the row", path, line,
                            row->slide_id);
    }
    if (row->case_id[0] == '\0') {
        return sw_error_set(err, SW_E_FORMAT, "%s:%lld: slide '%s' has no case; fill it in or delete the row", path, line,
                            row->slide_id);
    }
    return SW_OK;
}

static sw_status read_rows(const sw_csv *csv, const column *c, sw_label_table *out, sw_error *err)
{
    size_t count = sw_csv_rows(csv);
    if (count == 0) {
        return sw_error_set(err, SW_E_FORMAT, "%s: the table has a header but no row", sw_csv_path(csv));
    }
    out->has_case = c[CASE].index >= 0;
    if (c[SPLIT].index >= 0) {
        out->split_column = sw_text_trim(sw_csv_column_name(csv, (size_t)c[SPLIT].index));
        if (!out->split_column) return sw_nomem(err);
    }
    out->row = sw_calloc(count, sizeof(*out->row));
    if (!out->row) return sw_nomem(err);
    for (size_t i = 0; i < count; i++) {
        out->count++;
        SW_TRY(read_row(csv, i, c, &out->row[i], err));
    }
    return SW_OK;
}

/* data.labels itself, or in a folder fold_<data.split.fold>.csv. */
static sw_status find_table(const sw_config *config, sw_label_table *out, sw_error *err)
{
    const char *path = config->data.labels;
    if (path[0] == '\0') {
        return sw_error_set(err, SW_E_INVALID, "data.labels names no label table (a CSV with the columns slide_id and label)");
    }
    if (!sw_path_exists(path)) {
        return sw_error_set(err, SW_E_NOT_FOUND, "%s: no such file; data.labels must name the label table", path);
    }
    out->of_folder = sw_path_is_dir(path);
    out->path = out->of_folder ? sw_asprintf("%s/fold_%lld.csv", path, (long long)config->data.split.fold) : sw_strdup(path);
    if (!out->path) return sw_nomem(err);
    if (!sw_path_exists(out->path)) {
        return sw_error_set(err, SW_E_NOT_FOUND, "%s: no such file; data.labels is a folder, of which data.split.fold (%lld) says which fold_K.csv is read",
                            out->path, (long long)config->data.split.fold);
    }
    return SW_OK;
}

sw_status sw_label_table_read(const sw_config *config, sw_label_table *out, sw_error *err)
{
    *out = (sw_label_table){0};
    SW_TRY(find_table(config, out, err));
    const char *path = out->path;
    SW_CLEANUP(sw_csv_free_ptr) sw_csv *csv = NULL;
    SW_TRY(sw_csv_read(path, true, &csv, err));
    column c[COLUMNS];
    describe_columns(config, c);
    bool survival = config->task.type == SW_CFG_SURVIVAL;
    if (!survival && is_headerless(csv, c)) {
        sw_csv_free_ptr(&csv);
        SW_TRY(sw_csv_read(path, false, &csv, err));
        c[SLIDE].index = 0;
        c[LABEL].index = 1;
        return read_rows(csv, c, out, err);
    }
    for (int i = 0; i < TIME; i++) SW_TRY(find_column(csv, &c[i], err));
    if (survival) SW_TRY(find_survival(csv, c, out, err));
    return read_rows(csv, c, out, err);
}
