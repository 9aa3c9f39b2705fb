/* SPDX-License-Identifier: Apache-2.0 */
/* CSV tables (RFC 4180: quotes, CRLF, UTF-8 byte-order mark) held whole in memory. A table whose first line has no comma
 * outside quotes is separated by tabs or, without any, by semicolons. */
#ifndef SW_BASE_CSV_H
#define SW_BASE_CSV_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/text.h" /* sw_parse_double, sw_parse_int */
#include "slidewise/error.h"

typedef struct sw_csv sw_csv;

/* Reads `path`. `has_header` false: columns are named "0", "1", … Rows of uneven width are an
 * error that names the line. *out is owned by the caller; untouched on failure. */
sw_status sw_csv_read(const char *path, bool has_header, sw_csv **out, sw_error *err) SW_MUST_CHECK;
sw_status sw_csv_parse(const char *text, size_t size, const char *name_for_errors, bool has_header,
                       sw_csv **out, sw_error *err) SW_MUST_CHECK;
void sw_csv_free(sw_csv *csv);
void sw_csv_free_ptr(sw_csv **csv); /* for SW_CLEANUP */

const char *sw_csv_path(const sw_csv *csv);
size_t sw_csv_rows(const sw_csv *csv);
size_t sw_csv_columns(const sw_csv *csv);
const char *sw_csv_column_name(const sw_csv *csv, size_t column);
int sw_csv_find(const sw_csv *csv, const char *column_name); /* -1 when absent */
const char *sw_csv_cell(const sw_csv *csv, size_t row, size_t column); /* borrowed; "" when empty */
int64_t sw_csv_line(const sw_csv *csv, size_t row); /* 1-based line in the file, for messages */

/* Writing: appends one field, quoted when needed; `last` ends the row. */
void sw_csv_put(sw_buf *buf, const char *field, bool last);

#endif
