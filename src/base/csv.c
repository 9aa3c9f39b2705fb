/* SPDX-License-Identifier: Apache-2.0 */
#include "base/csv.h"

#include <string.h>

#include "base/fs.h"
#include "base/mem.h"

struct sw_csv {
    char *path;
    char *text;        /* cells point into it; unquoted in place */
    const char **cell; /* [(rows + header) * columns] */
    size_t cells, cell_capacity;
    int64_t *line; /* [rows + header]: where each starts */
    size_t lines, line_capacity;
    size_t columns;
    bool has_header;
    char (*number)[24]; /* names of columns without a header */
};

void sw_csv_free(sw_csv *csv)
{
    if (!csv) return;
    sw_free(csv->path);
    sw_free(csv->text);
    sw_free(csv->cell);
    sw_free(csv->line);
    sw_free(csv->number);
    sw_free(csv);
}

void sw_csv_free_ptr(sw_csv **csv)
{
    sw_csv_free(*csv);
    *csv = NULL;
}

typedef struct parser {
    sw_csv *csv;
    char *at, *end; /* *end is the terminator */
    int64_t line;
    char separator;
    char stops[4]; /* what ends a cell without quotes: the separator and line ends */
} parser;

/* Of the first line: a comma where there is one outside quotes, else a tab, else a semicolon. */
static char separator_of(const char *at, const char *end)
{
    bool quoted = false, tab = false, semicolon = false;
    while (at < end && (*at == '\r' || *at == '\n')) at++;
    for (; at < end && (quoted || (*at != '\r' && *at != '\n')); at++) {
        if (*at == '"') quoted = !quoted;
        if (quoted) continue;
        if (*at == ',') return ',';
        tab = tab || *at == '\t';
        semicolon = semicolon || *at == ';';
    }
    return tab ? '\t' : semicolon ? ';' : ',';
}

/* Steps over CRLF, LF or a lone CR. */
static void skip_line_end(parser *p)
{
    if (p->at == p->end) return;
    bool carriage = *p->at++ == '\r';
    if (carriage && p->at < p->end && *p->at == '\n') p->at++;
    p->line++;
}

/* Reads a quoted cell, moving its text together over the doubled quotes; at is left behind it. */
static sw_status quoted_cell(parser *p, char **terminate, sw_error *err)
{
    int64_t opened = p->line;
    char *out = ++p->at;
    for (;; p->at++) {
        if (p->at == p->end) {
            return sw_error_set(err, SW_E_FORMAT, "%s, line %lld: a quoted cell is never closed", p->csv->path,
                                (long long)opened);
        }
        if (*p->at == '"') {
            if (p->at[1] != '"') break;
            p->at++;
        } else if (*p->at == '\n') {
            p->line++;
        }
        *out++ = *p->at;
    }
    *terminate = out;
    p->at++;
    if (p->at < p->end && !strchr(p->stops, *p->at)) {
        return sw_error_set(err, SW_E_FORMAT, "%s, line %lld: text follows the closing quote of a cell", p->csv->path,
                            (long long)p->line);
    }
    return SW_OK;
}

static sw_status add_cell(sw_csv *csv, const char *text, sw_error *err)
{
    SW_TRY(sw_grow(&csv->cell, &csv->cell_capacity, csv->cells + 1, sizeof(*csv->cell), err));
    csv->cell[csv->cells++] = text;
    return SW_OK;
}

/* One row: cells up to a line end. Cells are terminated only after the separator was looked at. */
static sw_status parse_row(parser *p, size_t *width, sw_error *err)
{
    *width = 0;
    for (;;) {
        char *start = p->at, *terminate = NULL;
        if (*p->at == '"') {
            start++;
            SW_TRY(quoted_cell(p, &terminate, err));
        } else {
            p->at += strcspn(p->at, p->stops);
            terminate = p->at;
        }
        SW_TRY(add_cell(p->csv, start, err));
        ++*width;
        bool more = p->at < p->end && *p->at == p->separator;
        if (more) p->at++;
        else skip_line_end(p);
        *terminate = '\0';
        if (!more) return SW_OK;
    }
}

static sw_status parse_rows(parser *p, sw_error *err)
{
    sw_csv *csv = p->csv;
    while (p->at < p->end) {
        if (*p->at == '\r' || *p->at == '\n') { /* blank lines separate nothing */
            skip_line_end(p);
            continue;
        }
        SW_TRY(sw_grow(&csv->line, &csv->line_capacity, csv->lines + 1, sizeof(*csv->line), err));
        int64_t line = csv->line[csv->lines++] = p->line;
        size_t width;
        SW_TRY(parse_row(p, &width, err));
        if (csv->lines == 1) csv->columns = width;
        if (width != csv->columns) {
            return sw_error_set(err, SW_E_FORMAT, "%s, line %lld: %zu cells, but the %s has %zu", csv->path, (long long)line,
                                width, csv->has_header ? "header" : "first row", csv->columns);
        }
    }
    return SW_OK;
}

static sw_status name_columns(sw_csv *csv, sw_error *err)
{
    csv->number = sw_calloc(csv->columns + 1, sizeof(*csv->number));
    if (!csv->number) return sw_nomem(err);
    for (size_t i = 0; i < csv->columns; i++) {
        sw_buf digits = {.data = csv->number[i], .capacity = sizeof(*csv->number)};
        sw_buf_printf(&digits, "%zu", i); /* 20 digits at most: never grows */
    }
    return SW_OK;
}

sw_status sw_csv_parse(const char *text, size_t size, const char *name_for_errors, bool has_header, sw_csv **out,
                       sw_error *err)
{
    SW_CLEANUP(sw_csv_free_ptr) sw_csv *csv = sw_calloc(1, sizeof(*csv));
    if (!csv) return sw_nomem(err);
    csv->has_header = has_header;
    csv->path = sw_strdup(name_for_errors);
    csv->text = csv->path ? sw_malloc(size + 1) : NULL;
    if (!csv->text) return sw_nomem(err);
    if (size) memcpy(csv->text, text, size);
    csv->text[size] = '\0';
    if (memchr(csv->text, '\0', size)) {
        return sw_error_set(err, SW_E_FORMAT, "%s is not a text table: it contains a zero byte (a spreadsheet file? save it as CSV)",
                            csv->path);
    }
    parser p = {.csv = csv, .at = csv->text, .end = csv->text + size, .line = 1};
    if (size >= 3 && memcmp(p.at, "\xEF\xBB\xBF", 3) == 0) p.at += 3;
    p.separator = separator_of(p.at, p.end);
    memcpy(p.stops, (char[]){p.separator, '\r', '\n', '\0'}, sizeof(p.stops));
    SW_TRY(parse_rows(&p, err));
    if (has_header && csv->lines == 0) {
        return sw_error_set(err, SW_E_FORMAT, "%s is empty: its first line must name the columns", csv->path);
    }
    if (!has_header) SW_TRY(name_columns(csv, err));
    *out = SW_STEAL(csv);
    return SW_OK;
}

sw_status sw_csv_read(const char *path, bool has_header, sw_csv **out, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf text = {0};
    SW_TRY(sw_file_read(path, &text, err));
    return sw_csv_parse(text.data, text.size, path, has_header, out, err);
}

const char *sw_csv_path(const sw_csv *csv)
{
    return csv->path;
}

size_t sw_csv_rows(const sw_csv *csv)
{
    return csv->lines - csv->has_header;
}

size_t sw_csv_columns(const sw_csv *csv)
{
    return csv->columns;
}

const char *sw_csv_column_name(const sw_csv *csv, size_t column)
{
    return csv->has_header ? csv->cell[column] : csv->number[column];
}

int sw_csv_find(const sw_csv *csv, const char *column_name)
{
    for (size_t i = 0; i < csv->columns; i++) {
        if (strcmp(sw_csv_column_name(csv, i), column_name) == 0) return (int)i;
    }
    return -1;
}

const char *sw_csv_cell(const sw_csv *csv, size_t row, size_t column)
{
    return csv->cell[(row + csv->has_header) * csv->columns + column];
}

int64_t sw_csv_line(const sw_csv *csv, size_t row)
{
    return csv->line[row + csv->has_header];
}

void sw_csv_put(sw_buf *buf, const char *field, bool last)
{
    /* A row of one empty cell would be read back as a blank line, so that cell is quoted as well. */
    bool first = buf->size == 0 || buf->data[buf->size - 1] == '\n';
    if (strpbrk(field, ",\"\r\n") || (field[0] == '\0' && first && last)) {
        sw_buf_puts(buf, "\"");
        for (const char *at = field; *at;) {
            size_t plain = strcspn(at, "\"");
            sw_buf_append(buf, at, plain);
            at += plain;
            if (*at) {
                sw_buf_puts(buf, "\"\"");
                at++;
            }
        }
        sw_buf_puts(buf, "\"");
    } else {
        sw_buf_puts(buf, field);
    }
    sw_buf_puts(buf, last ? "\n" : ",");
}
