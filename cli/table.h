/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the command line share among themselves: the table, the parser, the texts made from it. */
#ifndef SW_CLI_TABLE_H
#define SW_CLI_TABLE_H

#include <stdio.h>

#include "base/buf.h"
#include "cli.h"

/* All verbs, NULL at the end; static. */
const cli_command *const *cli_commands(void);
const cli_command *cli_find_command(const char *name);
/* --help, --quiet: every verb has them; NULL name at the end. */
const cli_option *cli_global_options(void);

/* Checks argv (behind the verb) against the tables; 0, or the exit status after a message. `help`: --help was
 * asked for and the rest was not checked. Free with cli_args_free. */
int cli_parse(const cli_command *command, int argc, char **argv, cli_args **out, bool *help);
void cli_args_free(cli_args *args);

void cli_set_quiet(void);
void cli_catch_signals(void);
void cli_end_progress(void); /* ends the line of a progress bar that is still open */

/* Texts derived from the table. */
void cli_help_all(sw_buf *out);
void cli_help_verb(sw_buf *out, const cli_command *command);
void cli_man_page(sw_buf *out);
bool cli_completion(sw_buf *out, const char *shell); /* false: no such shell */

#endif
