/* SPDX-License-Identifier: Apache-2.0 */
/* The man page (troff) and the shell completions, made from the tables. */
#include <string.h>

#include "table.h"

/* ---- man page */

/* Text for troff: no control lines by accident, hyphens that can be copied, lines as they are. */
static void troff(sw_buf *out, const char *text)
{
    bool line_start = true;
    for (const char *at = text; *at; at++) {
        if (line_start && (*at == '.' || *at == '\'')) sw_buf_puts(out, "\\&");
        line_start = *at == '\n';
        if (*at == '\\') sw_buf_puts(out, "\\e");
        else if (*at == '-') sw_buf_puts(out, "\\-");
        else sw_buf_append(out, at, 1);
    }
}

/* Paragraphs are parted by blank lines; lines that start with a space are set as they are. */
static void troff_paragraphs(sw_buf *out, const char *text)
{
    sw_buf_puts(out, ".PP\n");
    for (const char *at = text; *at;) {
        size_t size = strcspn(at, "\n");
        char line[1024];
        size_t kept = size < sizeof(line) - 1 ? size : sizeof(line) - 1;
        memcpy(line, at, kept);
        line[kept] = '\0';
        if (size == 0) {
            sw_buf_puts(out, ".PP\n");
        } else if (line[0] == ' ') {
            sw_buf_puts(out, ".nf\n");
            troff(out, line);
            sw_buf_puts(out, "\n.fi\n");
        } else {
            troff(out, line);
            /* A paragraph longer than the piece goes on without a break: the next piece follows at once. */
            if (kept == size) sw_buf_puts(out, "\n");
        }
        at += kept;
        if (*at == '\n' && kept == size) at++;
    }
}

static void troff_options(sw_buf *out, const cli_option *table)
{
    for (const cli_option *o = table; o && o->name; o++) {
        sw_buf_puts(out, ".TP\n");
        if (o->letter) sw_buf_printf(out, "\\fB\\-%c\\fR, ", o->letter);
        sw_buf_puts(out, "\\fB\\-\\-");
        troff(out, o->name);
        sw_buf_puts(out, "\\fR");
        if (o->value) {
            sw_buf_puts(out, " \\fI");
            troff(out, o->value);
            sw_buf_puts(out, "\\fR");
        }
        sw_buf_puts(out, "\n");
        troff(out, o->help);
        sw_buf_puts(out, o->type == CLI_LIST ? " (may be given more than once)\n" : "\n");
    }
}

static void troff_verb(sw_buf *out, const cli_command *c)
{
    sw_buf_puts(out, ".SS \"slidewise ");
    troff(out, c->name);
    sw_buf_puts(out, " [OPTION...] ");
    troff(out, c->operands ? c->operands : "");
    sw_buf_puts(out, "\"\n");
    troff(out, c->summary);
    sw_buf_puts(out, "\n");
    if (c->text) troff_paragraphs(out, c->text);
    troff_options(out, c->options);
    if (c->examples) {
        sw_buf_puts(out, ".PP\nExamples:\n.PP\n.nf\n");
        troff(out, c->examples);
        sw_buf_puts(out, "\n.fi\n");
    }
}

void cli_man_page(sw_buf *out)
{
    sw_buf_puts(out, ".TH SLIDEWISE 1 \"\" \"slidewise " SW_VERSION "\" \"User Commands\"\n"
                     ".SH NAME\nslidewise \\- end\\-to\\-end learning from whole\\-slide images\n"
                     ".SH SYNOPSIS\n\\fBslidewise\\fR \\fIVERB\\fR [\\fIOPTION\\fR...] [\\fIARGUMENT\\fR...]\n"
                     ".SH DESCRIPTION\n"
                     "From whole\\-slide images and labels of whole slides to a trained model, an evaluation,\n"
                     "predictions and heatmaps. The patch encoder and the aggregator are trained together.\n"
                     ".SH VERBS\n");
    for (const cli_command *const *c = cli_commands(); *c; c++) troff_verb(out, *c);
    sw_buf_puts(out, ".SH OPTIONS OF EVERY VERB\n");
    troff_options(out, cli_global_options());
    sw_buf_puts(out, ".SH EXIT STATUS\n.TP\n0\nall is done.\n.TP\n1\nthe work failed; the reason is on standard error.\n"
                     ".TP\n2\nthe command line is wrong.\n.TP\n130, 143\nstopped by SIGINT or SIGTERM at a safe point.\n");
}

/* ---- completions */

static void option_words(sw_buf *out, const cli_option *table)
{
    for (const cli_option *o = table; o && o->name; o++) sw_buf_printf(out, " --%s", o->name);
}

static void put_words(sw_buf *out, const char *const *words)
{
    for (size_t i = 0; words[i]; i++) sw_buf_printf(out, "%s%s", i ? " " : "", words[i]);
}

/* A verb whose first operand is one of a few words. */
static void bash_words(sw_buf *out, const cli_command *c)
{
    if (!c->words) return;
    sw_buf_puts(out, "\n        if [ \"$COMP_CWORD\" -eq 2 ] && [ \"${word#-}\" = \"$word\" ]; then\n"
                     "            COMPREPLY=($(compgen -W '");
    put_words(out, c->words);
    sw_buf_puts(out, "' -- \"$word\"))\n            return\n        fi");
}

static void bash_completion(sw_buf *out)
{
    sw_buf_puts(out, "# bash completion of slidewise\n_slidewise()\n{\n"
                     "    local word=${COMP_WORDS[COMP_CWORD]} words=\n    COMPREPLY=()\n"
                     "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n        words='");
    for (const cli_command *const *c = cli_commands(); *c; c++) sw_buf_printf(out, "%s ", (*c)->name);
    sw_buf_puts(out, "help --help --version'\n"
                     "        COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n        return\n    fi\n"
                     "    case ${COMP_WORDS[1]} in\n");
    for (const cli_command *const *c = cli_commands(); *c; c++) {
        sw_buf_printf(out, "    %s) words='", (*c)->name);
        option_words(out, (*c)->options);
        option_words(out, cli_global_options());
        sw_buf_puts(out, "'");
        bash_words(out, *c);
        sw_buf_puts(out, " ;;\n");
    }
    sw_buf_puts(out, "    help) words='");
    for (const cli_command *const *c = cli_commands(); *c; c++) sw_buf_printf(out, "%s ", (*c)->name);
    sw_buf_puts(out, "'; COMPREPLY=($(compgen -W \"$words\" -- \"$word\")); return ;;\n    esac\n"
                     "    case $word in\n    -*) COMPREPLY=($(compgen -W \"$words\" -- \"$word\")) ;;\n"
                     "    *) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- \"$word\")) ;;\n    esac\n}\n"
                     "complete -F _slidewise slidewise\n");
}

/* Inside single quotes of a shell; zsh's brackets and colons are special in its specs. */
static void quoted(sw_buf *out, const char *text, bool zsh)
{
    for (const char *at = text; *at; at++) {
        if (*at == '\'') sw_buf_puts(out, zsh ? "'\\''" : "\\'");
        else if (*at == '\n') sw_buf_puts(out, " ");
        else if (zsh && strchr("[]:\\", *at)) sw_buf_printf(out, "\\%c", *at);
        else if (*at == '\\') sw_buf_puts(out, "\\\\");
        else sw_buf_append(out, at, 1);
    }
}

static void zsh_options(sw_buf *out, const cli_option *table)
{
    for (const cli_option *o = table; o && o->name; o++) {
        sw_buf_printf(out, " \\\n        '%s--%s%s[", o->type == CLI_LIST ? "*" : "", o->name, o->type == CLI_FLAG ? "" : "=");
        quoted(out, o->help, true);
        sw_buf_puts(out, "]");
        if (o->type != CLI_FLAG) {
            sw_buf_puts(out, ":");
            quoted(out, o->value ? o->value : "value", true);
            sw_buf_puts(out, o->type == CLI_PATH ? ":_files" : ":");
        }
        sw_buf_puts(out, "'");
    }
}

static void zsh_completion(sw_buf *out)
{
    sw_buf_puts(out, "#compdef slidewise\n# zsh completion of slidewise\n_slidewise()\n{\n    local -a verbs=(\n");
    for (const cli_command *const *c = cli_commands(); *c; c++) {
        sw_buf_printf(out, "        '%s:", (*c)->name);
        quoted(out, (*c)->summary, true);
        sw_buf_puts(out, "'\n");
    }
    sw_buf_puts(out, "        'help:show help'\n    )\n"
                     "    if (( CURRENT == 2 )); then\n        _describe verb verbs\n        return\n    fi\n"
                     "    local verb=$words[2]\n    shift words\n    (( CURRENT-- ))\n    case $verb in\n");
    for (const cli_command *const *c = cli_commands(); *c; c++) {
        sw_buf_printf(out, "    %s)\n        _arguments", (*c)->name);
        zsh_options(out, (*c)->options);
        zsh_options(out, cli_global_options());
        if ((*c)->words) {
            sw_buf_puts(out, " \\\n        '1:what to do:(");
            put_words(out, (*c)->words);
            sw_buf_puts(out, ")'");
        }
        sw_buf_puts(out, " \\\n        '*:file:_files' ;;\n");
    }
    sw_buf_puts(out, "    help) _describe verb verbs ;;\n    esac\n}\n_slidewise \"$@\"\n");
}

static void fish_options(sw_buf *out, const char *verb, const cli_option *table)
{
    for (const cli_option *o = table; o && o->name; o++) {
        sw_buf_printf(out, "complete -c slidewise -n '__fish_seen_subcommand_from %s' -l %s", verb, o->name);
        if (o->letter) sw_buf_printf(out, " -s %c", o->letter);
        if (o->type != CLI_FLAG) sw_buf_puts(out, o->type == CLI_PATH ? " -r -F" : " -r");
        sw_buf_puts(out, " -d '");
        quoted(out, o->help, false);
        sw_buf_puts(out, "'\n");
    }
}

static void fish_completion(sw_buf *out)
{
    sw_buf_puts(out, "# fish completion of slidewise\n");
    for (const cli_command *const *c = cli_commands(); *c; c++) {
        sw_buf_printf(out, "complete -c slidewise -n __fish_use_subcommand -f -a %s -d '", (*c)->name);
        quoted(out, (*c)->summary, false);
        sw_buf_puts(out, "'\n");
        if ((*c)->words) {
            sw_buf_printf(out, "complete -c slidewise -n '__fish_seen_subcommand_from %s; and not __fish_seen_subcommand_from ", (*c)->name);
            put_words(out, (*c)->words);
            sw_buf_puts(out, "' -f -a '");
            put_words(out, (*c)->words);
            sw_buf_puts(out, "'\n");
        }
        fish_options(out, (*c)->name, (*c)->options);
        fish_options(out, (*c)->name, cli_global_options());
    }
    sw_buf_puts(out, "complete -c slidewise -n __fish_use_subcommand -f -a help -d 'show help'\n");
}

bool cli_completion(sw_buf *out, const char *shell)
{
    if (strcmp(shell, "bash") == 0) bash_completion(out);
    else if (strcmp(shell, "zsh") == 0) zsh_completion(out);
    else if (strcmp(shell, "fish") == 0) fish_completion(out);
    else return false;
    return true;
}
