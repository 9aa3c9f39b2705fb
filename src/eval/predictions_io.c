/* SPDX-License-Identifier: Apache-2.0 */
/* predictions_<split>.csv: strict reading, exact writing. */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/csv.h"
#include "base/fs.h"
#include "base/mem.h"
#include "slidewise/eval.h"

static const char *const FIXED[] = {"slide_id", "case_id", "label", "predicted"};
enum { COL_SLIDE, COL_CASE, COL_LABEL, COL_PREDICTED, N_FIXED };

static const char *class_text(const sw_predictions *p, int index)
{
    return index < 0 ? "" : p->class_name[index];
}

static void put_row(sw_buf *buf, const sw_predictions *p, int64_t i)
{
    sw_csv_put(buf, p->slide_id[i], false);
    sw_csv_put(buf, p->case_id[i], false);
    sw_csv_put(buf, class_text(p, p->label[i]), false);
    sw_csv_put(buf, class_text(p, p->predicted[i]), false);
    for (int c = 0; c < p->n_classes; c++) {
        sw_buf_printf(buf, "%.9g%s", p->probability[i * p->n_classes + c], c + 1 < p->n_classes ? "," : "\n");
    }
}

sw_status sw_predictions_write(const sw_predictions *preds, const char *path, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf buf = {0};
    for (int f = 0; f < N_FIXED; f++) sw_csv_put(&buf, FIXED[f], false);
    for (int c = 0; c < preds->n_classes; c++) {
        SW_AUTOFREE char *name = sw_asprintf("p_%s", preds->class_name[c]);
        if (!name) return sw_nomem(err);
        sw_csv_put(&buf, name, c + 1 == preds->n_classes);
    }
    for (int64_t i = 0; i < preds->count; i++) put_row(&buf, preds, i);
    SW_TRY(sw_buf_status(&buf, err));
    return sw_file_write(path, buf.data, buf.size, err);
}

static sw_status read_header(const sw_csv *csv, sw_predictions *p, sw_error *err)
{
    const char *path = sw_csv_path(csv);
    size_t columns = sw_csv_columns(csv);
    SW_AUTOFREE const char **names = NULL;
    for (size_t f = 0; f < N_FIXED; f++) {
        if (f >= columns || strcmp(sw_csv_column_name(csv, f), FIXED[f]) != 0) {
            return sw_error_set(err, SW_E_FORMAT,
                                "%s: column %zu is \"%s\" instead of \"%s\"; a table of predictions has the columns "
                                "slide_id,case_id,label,predicted,p_<class>...",
                                path, f + 1, f < columns ? sw_csv_column_name(csv, f) : "", FIXED[f]);
        }
    }
    if (columns < N_FIXED + 2) {
        return sw_error_set(err, SW_E_FORMAT, "%s: %zu probability columns; at least 2 columns p_<class> are needed", path,
                            columns - N_FIXED);
    }
    names = sw_calloc(columns - N_FIXED, sizeof *names);
    if (!names) return sw_nomem(err);
    for (size_t c = N_FIXED; c < columns; c++) {
        const char *name = sw_csv_column_name(csv, c);
        if (strncmp(name, "p_", 2) != 0 || !name[2]) {
            return sw_error_set(err, SW_E_FORMAT, "%s: column \"%s\" is not p_<class>", path, name);
        }
        names[c - N_FIXED] = name + 2;
    }
    if (sw_predictions_begin(p, (int)(columns - N_FIXED), names, err) != SW_OK) return sw_error_prefix(err, "%s", path);
    return SW_OK;
}

/* Index of a class name, -1 for the empty text where `may_be_empty`. */
static sw_status find_class(const sw_predictions *p, const sw_csv *csv, size_t row, size_t column, bool may_be_empty,
                            int *out, sw_error *err)
{
    const char *text = sw_csv_cell(csv, row, column);
    *out = -1;
    if (!text[0] && may_be_empty) return SW_OK;
    for (int c = 0; c < p->n_classes; c++) {
        if (strcmp(text, p->class_name[c]) == 0) {
            *out = c;
            return SW_OK;
        }
    }
    return sw_error_set(err, SW_E_FORMAT, "%s: line %lld: %s \"%s\" has no column \"p_%s\"", sw_csv_path(csv),
                        (long long)sw_csv_line(csv, row), FIXED[column], text, text);
}

static sw_status read_row(const sw_csv *csv, size_t row, double *values, sw_predictions *p, sw_error *err)
{
    const char *path = sw_csv_path(csv);
    long long line = (long long)sw_csv_line(csv, row);
    int label = -1, predicted = -1;
    SW_TRY(find_class(p, csv, row, COL_LABEL, true, &label, err));
    SW_TRY(find_class(p, csv, row, COL_PREDICTED, false, &predicted, err));
    for (int c = 0; c < p->n_classes; c++) {
        const char *cell = sw_csv_cell(csv, row, N_FIXED + (size_t)c);
        if (!sw_parse_double(cell, &values[c])) {
            return sw_error_set(err, SW_E_FORMAT, "%s: line %lld: column \"p_%s\" holds \"%s\", not a number", path, line,
                                p->class_name[c], cell);
        }
    }
    if (sw_predictions_add(p, sw_csv_cell(csv, row, COL_SLIDE), sw_csv_cell(csv, row, COL_CASE), label, predicted, values,
                           err) != SW_OK) {
        return sw_error_prefix(err, "%s: line %lld", path, line);
    }
    return SW_OK;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* A slide that is counted twice would make every interval too narrow. */
static sw_status check_unique(const sw_predictions *p, const char *path, sw_error *err)
{
    SW_AUTOFREE const char **sorted = NULL;
    if (p->count < 2) return SW_OK;
    sorted = sw_calloc((size_t)p->count, sizeof *sorted);
    if (!sorted) return sw_nomem(err);
    for (int64_t i = 0; i < p->count; i++) sorted[i] = p->slide_id[i];
    qsort(sorted, (size_t)p->count, sizeof *sorted, by_text);
    for (int64_t i = 1; i < p->count; i++) {
        if (strcmp(sorted[i - 1], sorted[i]) == 0) {
            return sw_error_set(err, SW_E_FORMAT, "%s: slide \"%s\" is listed twice", path, sorted[i]);
        }
    }
    return SW_OK;
}

sw_status sw_predictions_read(const char *path, sw_predictions *out, sw_error *err)
{
    SW_CLEANUP(sw_csv_free_ptr) sw_csv *csv = NULL;
    SW_CLEANUP(sw_predictions_free) sw_predictions p = {0};
    SW_AUTOFREE double *values = NULL;
    SW_TRY(sw_csv_read(path, true, &csv, err));
    SW_TRY(read_header(csv, &p, err));
    values = sw_calloc((size_t)p.n_classes, sizeof *values);
    if (!values) return sw_nomem(err);
    for (size_t row = 0; row < sw_csv_rows(csv); row++) SW_TRY(read_row(csv, row, values, &p, err));
    SW_TRY(check_unique(&p, path, err));
    *out = p;
    p = (sw_predictions){0};
    return SW_OK;
}
