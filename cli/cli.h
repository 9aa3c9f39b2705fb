/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: verbs in a table, options in static tables; help, man page and shell completion are
 * derived from them. Only cli/ prints and exits. */
#ifndef SW_CLI_H
#define SW_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "slidewise/error.h"
#include "slidewise/log.h"

typedef enum cli_type { CLI_FLAG, CLI_TEXT, CLI_INT, CLI_REAL, CLI_PATH, CLI_LIST /* may be repeated */ } cli_type;

typedef struct cli_option {
    const char *name; /* "store": --store VALUE or --store=VALUE; NULL ends the table */
    char letter;      /* 0: none */
    cli_type type;
    const char *value; /* shown in help: "DIR"; NULL for flags */
    const char *help;
} cli_option;

typedef struct cli_args cli_args;

typedef struct cli_command {
    const char *name;     /* "tile" */
    const char *operands; /* "SLIDE|DIR|CSV..." */
    const char *summary;  /* one line */
    const char *text;     /* paragraphs for --help and the man page; may be NULL */
    const char *examples; /* lines; may be NULL */
    const char *const *words; /* that may be the first operand, NULL at the end; for completion; NULL: any */
    int min_operands, max_operands; /* max -1: any */
    bool computes; /* with many threads that wait for each other: cli_wait_briefly */
    const cli_option *options;
    int (*run)(const cli_args *args); /* exit status */
} cli_command;

/* Starts the program anew with compute threads that go to sleep soon where they wait, unless the environment says how they are
 * to wait (GOMP_SPINCOUNT, OMP_WAIT_POLICY). Returns where that is so, or where it cannot be done. */
void cli_wait_briefly(char **argv);

/* Values by option name; types were checked before run() is called. */
bool cli_given(const cli_args *args, const char *name);
bool cli_flag(const cli_args *args, const char *name);
const char *cli_text(const cli_args *args, const char *name, const char *otherwise);
int64_t cli_int(const cli_args *args, const char *name, int64_t otherwise);
double cli_real(const cli_args *args, const char *name, double otherwise);
size_t cli_list_count(const cli_args *args, const char *name);
const char *cli_list_item(const cli_args *args, const char *name, size_t index);
size_t cli_operand_count(const cli_args *args);
const char *cli_operand(const cli_args *args, size_t index);
/* The command as it was given, quoted for a shell; owned (sw_free), NULL without memory. */
char *cli_line(const cli_args *args);

/* The sink that draws the progress bar on a terminal and plain lines elsewhere; --quiet (a global
 * option of every verb) drops progress. SIGINT and SIGTERM make it answer "cancelled". */
const sw_sink *cli_sink(void);
bool cli_quiet(void);

/* Prints "slidewise: <message>" to stderr; returns the exit status: cli_fail 1, or 128 + signal after SIGINT or
 * SIGTERM stopped the work; cli_misuse 2 (a wrong command line). */
int cli_fail(const sw_error *err);
int cli_misuse(const char *fmt, ...) SW_PRINTF(1, 2);

#define CLI_COMMAND(id) extern const cli_command cli_cmd_##id;
#include "commands.def"
#undef CLI_COMMAND

#endif
