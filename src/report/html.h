/* SPDX-License-Identifier: Apache-2.0 */
/* Small pieces of HTML. Everything that comes from a file goes through sw_html_text. */
#ifndef SW_REPORT_HTML_H
#define SW_REPORT_HTML_H

#include "base/buf.h"
#include "slidewise/error.h"

extern const char sw_html_style[]; /* the page's style sheet */

void sw_html_text(sw_buf *b, const char *text); /* escaped; fit for attributes in double quotes too */
void sw_html_number(sw_buf *b, double value, int decimals); /* a dash for NaN */
void sw_html_section(sw_buf *b, const char *id, const char *title);
void sw_html_end_section(sw_buf *b);
/* <tag class="class">escaped text</tag>; class may be NULL. */
void sw_html_element(sw_buf *b, const char *tag, const char *class_name, const char *text);
/* The sentence that stands where a piece is missing. */
void sw_html_missing(sw_buf *b, const char *fmt, ...) SW_PRINTF(2, 3);
void sw_html_number_cell(sw_buf *b, double value, int decimals); /* <td class="n"> */
void sw_html_count_cell(sw_buf *b, long long value);
/* Header row of a table from names that end with NULL; a name that starts with '#' is a column of numbers. */
void sw_html_head_row(sw_buf *b, const char *const *names);

#endif
