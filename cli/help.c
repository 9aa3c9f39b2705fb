/* SPDX-License-Identifier: Apache-2.0 */
/* Help texts, made from the tables. */
#include <string.h>

#include "table.h"

enum { WIDTH = 80, INDENT = 26 };

/* Words of `text` from column `column`, later lines indented; a line that starts with a space is kept as it is. */
static void wrap(sw_buf *out, const char *text, int column, int indent)
{
    for (const char *at = text; *at;) {
        if (*at == '\n') {
            sw_buf_printf(out, "\n%*s", indent, "");
            column = indent;
            at++;
            if (*at == ' ') {
                int size = (int)strcspn(at, "\n");
                sw_buf_printf(out, "%.*s", size, at);
                at += size;
            }
            continue;
        }
        int size = (int)strcspn(at, " \n");
        if (column > indent && column + 1 + size > WIDTH) {
            sw_buf_printf(out, "\n%*s", indent, "");
            column = indent;
        } else if (column > indent) {
            sw_buf_puts(out, " ");
            column++;
        }
        sw_buf_printf(out, "%.*s", size, at);
        column += size;
        at += size;
        if (*at == ' ') at++;
    }
    sw_buf_puts(out, "\n");
}

void cli_help_all(sw_buf *out)
{
    sw_buf_puts(out, "slidewise " SW_VERSION ": end-to-end learning from whole-slide images\n\n"
                     "Usage: slidewise VERB [OPTION...] [ARGUMENT...]\n\nVerbs:\n");
    for (const cli_command *const *c = cli_commands(); *c; c++) {
        sw_buf_printf(out, "  %-10s ", (*c)->name);
        wrap(out, (*c)->summary, 13, 13);
    }
    sw_buf_puts(out, "  help       show this text, or the help of one verb: slidewise help VERB\n\n"
                     "slidewise VERB --help tells all about a verb, slidewise help config every key of a\nconfiguration, slidewise --version the version.\n");
}

static void help_options(sw_buf *out, const cli_option *table)
{
    for (const cli_option *o = table; o && o->name; o++) {
        size_t start = out->size;
        if (o->letter) sw_buf_printf(out, "  -%c, ", o->letter);
        else sw_buf_puts(out, "      ");
        sw_buf_printf(out, "--%s%s%s", o->name, o->value ? " " : "", o->value ? o->value : "");
        int column = (int)(out->size - start);
        if (column + 2 > INDENT) sw_buf_printf(out, "\n%*s", INDENT, "");
        else sw_buf_printf(out, "%*s", INDENT - column, "");
        wrap(out, o->help, INDENT, INDENT);
        if (o->type == CLI_LIST) sw_buf_printf(out, "%*s(may be given more than once)\n", INDENT, "");
    }
}

void cli_help_verb(sw_buf *out, const cli_command *c)
{
    sw_buf_printf(out, "Usage: slidewise %s [OPTION...]%s%s\n\n", c->name, c->operands && c->operands[0] ? " " : "",
                  c->operands ? c->operands : "");
    wrap(out, c->summary, 0, 0);
    if (c->text) {
        sw_buf_puts(out, "\n");
        wrap(out, c->text, 0, 0);
    }
    sw_buf_puts(out, "\nOptions:\n");
    help_options(out, c->options);
    help_options(out, cli_global_options());
    if (c->examples) {
        sw_buf_puts(out, "\nExamples:\n");
        for (const char *at = c->examples; *at;) {
            int size = (int)strcspn(at, "\n");
            sw_buf_printf(out, "  %.*s\n", size, at);
            at += size;
            if (*at) at++;
        }
    }
}
