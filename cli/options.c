/* SPDX-License-Identifier: Apache-2.0 */
/* Parsing the command line against a verb's table, and the values by name. */
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "table.h"

typedef struct given {
    const cli_option *option;
    const char *value; /* borrowed from argv; NULL for flags */
} given;

struct cli_args {
    const cli_command *command;
    int argc;    /* what was given behind the verb */
    char **argv; /* borrowed from main */
    given *given;
    size_t given_count, given_capacity;
    const char **operand;
    size_t operand_count, operand_capacity;
};

static const cli_option global_options[] = {
    {"help", 'h', CLI_FLAG, NULL, "show this help"},
    {"quiet", 'q', CLI_FLAG, NULL, "no progress and no notes; warnings and errors only"},
    {0},
};

const cli_option *cli_global_options(void)
{
    return global_options;
}

void cli_args_free(cli_args *args)
{
    if (!args) return;
    sw_free(args->given);
    sw_free(args->operand);
    sw_free(args);
}

/* ---- finding options */

static const cli_option *in_table(const cli_option *table, const char *name, size_t size, char letter)
{
    for (const cli_option *o = table; o && o->name; o++) {
        if (name ? strlen(o->name) == size && strncmp(o->name, name, size) == 0 : o->letter && o->letter == letter) {
            return o;
        }
    }
    return NULL;
}

/* By name (size bytes of it), or by letter when name is NULL. */
static const cli_option *find_option(const cli_command *command, const char *name, size_t size, char letter)
{
    const cli_option *o = in_table(command->options, name, size, letter);
    return o ? o : in_table(global_options, name, size, letter);
}

enum { MAX_NAMES = 256 };

static int unknown_option(const cli_command *command, const char *argument)
{
    const char *names[MAX_NAMES];
    size_t count = 0;
    const cli_option *tables[2] = {command->options, global_options};
    for (int t = 0; t < 2; t++) {
        for (const cli_option *o = tables[t]; o && o->name && count < MAX_NAMES; o++) names[count++] = o->name;
    }
    SW_AUTOFREE char *name = sw_strndup(argument + strspn(argument, "-"), strcspn(argument, "="));
    if (!name) return cli_misuse("unknown option \"%s\"", argument);
    name[strcspn(name, "=")] = '\0';
    const char *nearest = strlen(name) > 1 ? sw_nearest_name(name, names, count) : NULL;
    if (nearest) {
        return cli_misuse("%s: unknown option \"%s\"; did you mean \"--%s\"?", command->name, argument, nearest);
    }
    return cli_misuse("%s: unknown option \"%s\"; slidewise %s --help lists the options", command->name, argument,
                      command->name);
}

/* ---- taking values */

static int out_of_memory(void)
{
    sw_error err = {0};
    sw_nomem(&err);
    return cli_fail(&err);
}

static int check_value(const cli_command *command, const cli_option *o, const char *value)
{
    int64_t whole;
    double real;
    if (o->type == CLI_INT && !sw_parse_int(value, &whole)) {
        return cli_misuse("%s: --%s: \"%s\" is not a whole number", command->name, o->name, value);
    }
    if (o->type == CLI_REAL && !sw_parse_double(value, &real)) {
        return cli_misuse("%s: --%s: \"%s\" is not a number", command->name, o->name, value);
    }
    if (o->type == CLI_PATH && value[0] == '\0') {
        return cli_misuse("%s: --%s: the path is empty", command->name, o->name);
    }
    return 0;
}

static int add_given(cli_args *args, const cli_option *o, const char *value)
{
    int status = value ? check_value(args->command, o, value) : 0;
    if (status) return status;
    sw_error err;
    if (sw_grow(&args->given, &args->given_capacity, args->given_count + 1, sizeof(*args->given), &err) != SW_OK) {
        return cli_fail(&err);
    }
    args->given[args->given_count++] = (given){.option = o, .value = value};
    return 0;
}

static int add_operand(cli_args *args, const char *value)
{
    sw_error err;
    if (sw_grow(&args->operand, &args->operand_capacity, args->operand_count + 1, sizeof(*args->operand), &err) != SW_OK) {
        return cli_fail(&err);
    }
    args->operand[args->operand_count++] = value;
    return 0;
}

/* --name, --name=VALUE, --name VALUE. *used: extra arguments consumed. */
static int take_long(cli_args *args, const char *argument, const char *following, int *used)
{
    const char *name = argument + 2;
    size_t size = strcspn(name, "=");
    const char *value = name[size] == '=' ? name + size + 1 : NULL;
    const cli_option *o = find_option(args->command, name, size, 0);
    if (!o) return unknown_option(args->command, argument);
    if (o->type == CLI_FLAG) {
        if (value) return cli_misuse("%s: --%s takes no value", args->command->name, o->name);
        return add_given(args, o, NULL);
    }
    if (!value) {
        if (!following) return cli_misuse("%s: --%s needs a value (%s)", args->command->name, o->name, o->value);
        value = following;
        *used = 1;
    }
    return add_given(args, o, value);
}

/* -x, -xyz (flags), -x VALUE, -xVALUE. */
static int take_letters(cli_args *args, const char *argument, const char *following, int *used)
{
    for (const char *at = argument + 1; *at; at++) {
        const cli_option *o = find_option(args->command, NULL, 0, *at);
        if (!o) return unknown_option(args->command, argument);
        if (o->type == CLI_FLAG) {
            int status = add_given(args, o, NULL);
            if (status) return status;
            continue;
        }
        const char *value = at[1] ? at + 1 : following;
        if (!value) return cli_misuse("%s: -%c needs a value (%s)", args->command->name, *at, o->value);
        if (!at[1]) *used = 1;
        return add_given(args, o, value);
    }
    return 0;
}

static int take_arguments(cli_args *args, int argc, char **argv)
{
    bool only_operands = false;
    for (int i = 0; i < argc; i++) {
        const char *argument = argv[i], *following = i + 1 < argc ? argv[i + 1] : NULL;
        int used = 0, status;
        if (only_operands || argument[0] != '-' || argument[1] == '\0') {
            status = add_operand(args, argument);
        } else if (strcmp(argument, "--") == 0) {
            only_operands = true;
            status = 0;
        } else if (argument[1] == '-') {
            status = take_long(args, argument, following, &used);
        } else {
            status = take_letters(args, argument, following, &used);
        }
        if (status) return status;
        i += used;
    }
    return 0;
}

static int check_operands(const cli_args *args)
{
    const cli_command *c = args->command;
    if (args->operand_count < (size_t)c->min_operands) {
        return cli_misuse("%s needs %s; slidewise %s --help tells more", c->name, c->operands, c->name);
    }
    if (c->max_operands >= 0 && args->operand_count > (size_t)c->max_operands) {
        return cli_misuse("%s: unexpected argument \"%s\"; slidewise %s --help tells more", c->name,
                          args->operand[c->max_operands], c->name);
    }
    return 0;
}

int cli_parse(const cli_command *command, int argc, char **argv, cli_args **out, bool *help)
{
    cli_args *args = sw_calloc(1, sizeof(*args));
    if (!args) return out_of_memory();
    *out = args;
    args->command = command;
    args->argc = argc;
    args->argv = argv;
    /* Help is given even where the rest of the line is wrong. */
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) *help = true;
    }
    if (*help) return 0;
    int status = take_arguments(args, argc, argv);
    if (status == 0) status = check_operands(args);
    if (status == 0 && cli_flag(args, "quiet")) cli_set_quiet();
    return status;
}

/* A word as a shell wants it. */
static void put_quoted(sw_buf *out, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=./,:+@%";
    if (*word && strspn(word, plain) == strlen(word)) {
        sw_buf_puts(out, word);
        return;
    }
    sw_buf_puts(out, "'");
    for (; *word; word++) sw_buf_printf(out, *word == '\'' ? "'\\%c'" : "%c", *word);
    sw_buf_puts(out, "'");
}

char *cli_line(const cli_args *args)
{
    sw_buf line = {0};
    sw_buf_printf(&line, "slidewise %s", args->command->name);
    for (int i = 0; i < args->argc; i++) {
        sw_buf_puts(&line, " ");
        put_quoted(&line, args->argv[i]);
    }
    return line.data;
}

/* ---- values by name */

/* The last one given counts. */
static const given *find_given(const cli_args *args, const char *name)
{
    for (size_t i = args->given_count; i-- > 0;) {
        if (strcmp(args->given[i].option->name, name) == 0) return &args->given[i];
    }
    return NULL;
}

bool cli_given(const cli_args *args, const char *name)
{
    return find_given(args, name) != NULL;
}

bool cli_flag(const cli_args *args, const char *name)
{
    return find_given(args, name) != NULL;
}

const char *cli_text(const cli_args *args, const char *name, const char *otherwise)
{
    const given *g = find_given(args, name);
    return g ? g->value : otherwise;
}

int64_t cli_int(const cli_args *args, const char *name, int64_t otherwise)
{
    const given *g = find_given(args, name);
    int64_t value;
    return g && sw_parse_int(g->value, &value) ? value : otherwise;
}

double cli_real(const cli_args *args, const char *name, double otherwise)
{
    const given *g = find_given(args, name);
    double value;
    return g && sw_parse_double(g->value, &value) ? value : otherwise;
}

size_t cli_list_count(const cli_args *args, const char *name)
{
    size_t count = 0;
    for (size_t i = 0; i < args->given_count; i++) count += strcmp(args->given[i].option->name, name) == 0;
    return count;
}

const char *cli_list_item(const cli_args *args, const char *name, size_t index)
{
    for (size_t i = 0; i < args->given_count; i++) {
        if (strcmp(args->given[i].option->name, name) == 0 && index-- == 0) return args->given[i].value;
    }
    return NULL;
}

size_t cli_operand_count(const cli_args *args)
{
    return args->operand_count;
}

const char *cli_operand(const cli_args *args, size_t index)
{
    return index < args->operand_count ? args->operand[index] : NULL;
}
