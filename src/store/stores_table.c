/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of several stores as one. */
#include <string.h>

#include "base/csv.h"
#include "base/fs.h"
#include "base/mem.h"
#include "store/stores.h"

typedef struct tables {
    const sw_stores *list;
    sw_csv **csv;        /* [list->count]; NULL: that store has none */
    const char **column; /* of all of them, in the order in which they come; borrowed from csv */
    size_t n_columns, capacity;
} tables;

static void tables_free(tables *t)
{
    for (size_t i = 0; t->csv && i < t->list->count; i++) sw_csv_free(t->csv[i]);
    sw_free(t->csv);
    sw_free(t->column);
}

static sw_status add_columns(tables *t, const sw_csv *csv, sw_error *err)
{
    for (size_t c = 0; c < sw_csv_columns(csv); c++) {
        const char *name = sw_csv_column_name(csv, c);
        size_t at = 0;
        while (at < t->n_columns && strcmp(t->column[at], name) != 0) at++;
        if (at < t->n_columns) continue;
        SW_TRY(sw_grow(&t->column, &t->capacity, t->n_columns + 1, sizeof *t->column, err));
        t->column[t->n_columns++] = name;
    }
    return SW_OK;
}

static sw_status read_tables(tables *t, const char *name, sw_error *err)
{
    t->csv = sw_calloc(t->list->count + 1, sizeof *t->csv);
    if (!t->csv) return sw_nomem(err);
    for (size_t i = 0; i < t->list->count; i++) {
        SW_AUTOFREE char *path = sw_path_join(t->list->path[i], name);
        if (!path) return sw_nomem(err);
        if (!sw_path_exists(path)) continue;
        SW_TRY(sw_csv_read(path, true, &t->csv[i], err));
        SW_TRY(add_columns(t, t->csv[i], err));
    }
    return SW_OK;
}

static void put_rows(const tables *t, size_t index, sw_buf *out)
{
    const sw_csv *csv = t->csv[index];
    for (size_t row = 0; csv && row < sw_csv_rows(csv); row++) {
        for (size_t c = 0; c < t->n_columns; c++) {
            int at = sw_csv_find(csv, t->column[c]);
            sw_csv_put(out, at < 0 ? "" : sw_csv_cell(csv, row, (size_t)at), false);
        }
        sw_csv_put(out, t->list->name[index], true);
    }
}

static sw_status write_one(const sw_stores *list, const char *name, const char *folder, sw_error *err)
{
    SW_CLEANUP(tables_free) tables t = {.list = list};
    SW_CLEANUP(sw_buf_free) sw_buf out = {0};
    SW_AUTOFREE char *path = sw_path_join(folder, name);
    if (!path) return sw_nomem(err);
    SW_TRY(read_tables(&t, name, err));
    if (t.n_columns == 0) return sw_path_exists(path) ? sw_file_remove(path, err) : SW_OK;
    for (size_t c = 0; c < t.n_columns; c++) sw_csv_put(&out, t.column[c], false);
    sw_csv_put(&out, "store", true);
    for (size_t i = 0; i < list->count; i++) put_rows(&t, i, &out);
    SW_TRY(sw_buf_status(&out, err));
    return sw_file_write(path, out.data, out.size, err);
}

sw_status sw_stores_write_tables(const sw_stores *list, const char *folder, sw_error *err)
{
    SW_TRY(write_one(list, "slides.csv", folder, err));
    return write_one(list, "unreadable.csv", folder, err);
}
