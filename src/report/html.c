/* SPDX-License-Identifier: Apache-2.0 */
#include "report/html.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "explain/utf8.h"

void sw_html_text(sw_buf *b, const char *text)
{
    for (const unsigned char *s = (const unsigned char *)text; *s;) {
        size_t n = sw_utf8_sequence(s);
        switch (*s) {
        case '&': sw_buf_puts(b, "&amp;"); break;
        case '<': sw_buf_puts(b, "&lt;"); break;
        case '>': sw_buf_puts(b, "&gt;"); break;
        case '"': sw_buf_puts(b, "&quot;"); break;
        case '\'': sw_buf_puts(b, "&#39;"); break;
        default:
            if (n == 0 || *s == 0x7f || (*s < 0x20 && *s != '\n' && *s != '\t')) {
                sw_buf_puts(b, "&#xfffd;");
            } else {
                sw_buf_append(b, s, n);
            }
        }
        s += n ? n : 1;
    }
}

void sw_html_number(sw_buf *b, double value, int decimals)
{
    if (isfinite(value)) {
        sw_buf_printf(b, "%.*f", decimals, value);
    } else {
        sw_buf_puts(b, "&ndash;");
    }
}

void sw_html_section(sw_buf *b, const char *id, const char *title)
{
    sw_buf_printf(b, "<section id=\"%s\">\n<h2>", id);
    sw_html_text(b, title);
    sw_buf_puts(b, "</h2>\n");
}

void sw_html_end_section(sw_buf *b)
{
    sw_buf_puts(b, "</section>\n");
}

void sw_html_element(sw_buf *b, const char *tag, const char *class_name, const char *text)
{
    if (class_name) {
        sw_buf_printf(b, "<%s class=\"%s\">", tag, class_name);
    } else {
        sw_buf_printf(b, "<%s>", tag);
    }
    sw_html_text(b, text);
    sw_buf_printf(b, "</%s>", tag);
}

void sw_html_missing(sw_buf *b, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    sw_html_element(b, "p", "missing", text);
    sw_buf_puts(b, "\n");
}

void sw_html_number_cell(sw_buf *b, double value, int decimals)
{
    sw_buf_puts(b, "<td class=\"n\">");
    sw_html_number(b, value, decimals);
    sw_buf_puts(b, "</td>");
}

void sw_html_count_cell(sw_buf *b, long long value)
{
    sw_buf_printf(b, "<td class=\"n\">%lld</td>", value);
}

void sw_html_head_row(sw_buf *b, const char *const *names)
{
    sw_buf_puts(b, "<thead><tr>");
    for (; *names; names++) {
        bool number = **names == '#';
        sw_html_element(b, "th", number ? "n" : NULL, *names + number);
    }
    sw_buf_puts(b, "</tr></thead>\n");
}
