/* SPDX-License-Identifier: Apache-2.0 */
/* The program: finds the verb, checks its options against the table, runs it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "cli.h"
#include "config/config.h"
#include "table.h"

static const cli_command *const commands[] = {
#define CLI_COMMAND(id) &cli_cmd_##id,
#include "commands.def"
#undef CLI_COMMAND
    NULL};

const cli_command *const *cli_commands(void)
{
    return commands;
}

const cli_command *cli_find_command(const char *name)
{
    for (size_t i = 0; commands[i]; i++) {
        if (strcmp(commands[i]->name, name) == 0) return commands[i];
    }
    return NULL;
}

static int unknown_verb(const char *name)
{
    const char *names[sizeof(commands) / sizeof(commands[0]) + 2] = {"help"};
    size_t count = 1;
    for (size_t i = 0; commands[i]; i++) names[count++] = commands[i]->name;
    const char *nearest = sw_nearest_name(name, names, count);
    const char *what = name[0] == '-' ? "option" : "verb";
    if (nearest) return cli_misuse("unknown %s \"%s\"; did you mean \"%s\"?", what, name, nearest);
    return cli_misuse("unknown %s \"%s\"; slidewise help lists the verbs", what, name);
}

/* Prints a derived text; a failed allocation is the only way to fail. */
static int print_text(sw_buf *text)
{
    sw_error err = {0};
    int status = 0;
    if (sw_buf_status(text, &err) != SW_OK) status = cli_fail(&err);
    else if (text->size) fwrite(text->data, 1, text->size, stdout);
    sw_buf_free(text);
    return status;
}

static int help(const char *verb)
{
    sw_buf text = {0};
    if (!verb) {
        cli_help_all(&text);
        return print_text(&text);
    }
    if (strcmp(verb, "config") == 0) { /* a page of the manual, not a verb */
        sw_config_markdown(&text);
        return print_text(&text);
    }
    const cli_command *command = cli_find_command(verb);
    if (!command) return unknown_verb(verb);
    cli_help_verb(&text, command);
    return print_text(&text);
}

static int completion(const char *shell)
{
    sw_buf text = {0};
    if (shell && cli_completion(&text, shell)) return print_text(&text);
    return cli_misuse("completion needs the shell: bash, zsh or fish");
}

static int man_page(void)
{
    sw_buf text = {0};
    cli_man_page(&text);
    return print_text(&text);
}

static int run_verb(const cli_command *command, int argc, char **argv)
{
    cli_args *args = NULL;
    bool asked_help = false;
    int status = cli_parse(command, argc, argv, &args, &asked_help);
    if (status == 0 && asked_help) {
        status = help(command->name);
    } else if (status == 0) {
        cli_catch_signals();
        status = command->run(args);
        cli_end_progress();
    }
    cli_args_free(args);
    return status;
}

static int dispatch(int argc, char **argv)
{
    if (argc < 2) {
        int status = help(NULL);
        return status ? status : 2;
    }
    const char *verb = argv[1], *operand = argc > 2 ? argv[2] : NULL;
    const cli_command *command = cli_find_command(verb);
    if (command) {
        if (command->computes) cli_wait_briefly(argv);
        return run_verb(command, argc - 2, argv + 2);
    }
    if (strcmp(verb, "help") == 0 || strcmp(verb, "--help") == 0 || strcmp(verb, "-h") == 0) return help(operand);
    if (strcmp(verb, "--version") == 0 || strcmp(verb, "version") == 0) {
        puts("slidewise " SW_VERSION);
        return 0;
    }
    if (strcmp(verb, "man") == 0) return man_page();
    if (strcmp(verb, "completion") == 0) return completion(operand);
    return unknown_verb(verb);
}

int main(int argc, char **argv)
{
    int status = dispatch(argc, argv);
    /* A result that did not reach its reader is no success. */
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "slidewise: cannot write to standard output: %s\n", strerror(errno));
        if (status == 0) status = 1;
    }
    return status;
}
