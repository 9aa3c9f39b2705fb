/* SPDX-License-Identifier: Apache-2.0 */
/* slidewise sweep: several trainings one after the other, and one table of them. */
#include <stdio.h>

#include "base/mem.h"
#include "cli.h"
#include "slidewise/report.h"
#include "slidewise/sweep.h"

enum { MAX_SETS = 64 };

static const cli_option options[] = {
    {"set", 0, CLI_LIST, "KEY=VALUE", "override one key of every run's configuration; may be repeated"},
    {"list", 0, CLI_FLAG, NULL, "print the runs' names and stop"},
    {"table", 0, CLI_FLAG, NULL, "train nothing: make the table of what is there"},
    {"bootstrap", 0, CLI_INT, "N", "resamples for the differences, 0 for none (default: 1000)"},
    {0},
};

static sw_status finish(const sw_train_result *result, sw_error *err)
{
    sw_report_options ro = sw_report_options_default();
    ro.sink = cli_sink();
    return sw_report_write(result->run_dir, NULL, &ro, err);
}

/* A run that fails does not stop the others; *stopped: the user did, or the disk is full. */
static void train_all(const sw_sweep *s, const char *line, char **reason, sw_error *err, bool *stopped)
{
    for (size_t i = 0; i < s->count && !*stopped; i++) {
        sw_train_result result = {.epochs = 0};
        printf("%zu/%zu %s\n", i + 1, s->count, s->run[i].name);
        fflush(stdout);
        sw_status status = sw_sweep_train(s, i, line, cli_sink(), &result, err);
        if (status == SW_OK && result.cancelled) status = sw_error_set(err, SW_E_CANCELLED, "interrupted; the same command goes on from the last checkpoint");
        if (status == SW_OK) status = finish(&result, err);
        if (status == SW_OK) continue;
        *stopped = status == SW_E_CANCELLED || status == SW_E_NOSPACE || status == SW_E_NOMEM;
        if (*stopped) return;
        fprintf(stderr, "slidewise: %s: %s\n", s->run[i].name, err->message);
        reason[i] = sw_strdup(err->message);
    }
}

static int sweep_and_print(const cli_args *args, const sw_sweep *s, char **reason)
{
    sw_error err = {0};
    char *text = NULL;
    bool stopped = false;
    int failed = 0;
    SW_AUTOFREE char *line = cli_line(args);
    if (!cli_flag(args, "table")) train_all(s, line, reason, &err, &stopped);
    if (stopped) return cli_fail(&err);
    if (sw_sweep_table(s, (const char *const *)reason, cli_int(args, "bootstrap", 1000), &text, &err) != SW_OK) return cli_fail(&err);
    printf("\n%stable: %s/sweep.csv\n", text, s->out);
    sw_sweep_text_free(text);
    for (size_t i = 0; i < s->count; i++) failed += reason[i] != NULL;
    return failed > 0;
}

static int run(const cli_args *args)
{
    const char *sets[MAX_SETS];
    size_t n = cli_list_count(args, "set");
    sw_error err = {0};
    sw_sweep s = {0};
    if (n > MAX_SETS) return cli_misuse("--set can be given at most %d times", MAX_SETS);
    if (cli_int(args, "bootstrap", 0) < 0) return cli_misuse("--bootstrap %lld: give 0 or more resamples", (long long)cli_int(args, "bootstrap", 0));
    for (size_t i = 0; i < n; i++) sets[i] = cli_list_item(args, "set", i);
    if (sw_sweep_read(cli_operand(args, 0), sets, n, &s, &err) != SW_OK) return cli_fail(&err);
    int status = 0;
    char **reason = sw_calloc(s.count + 1, sizeof *reason);
    if (!reason) status = cli_fail((sw_nomem(&err), &err));
    else if (cli_flag(args, "list")) for (size_t i = 0; i < s.count; i++) printf("%s\n", s.run[i].name);
    else status = sweep_and_print(args, &s, reason);
    for (size_t i = 0; reason && i < s.count; i++) sw_free(reason[i]);
    sw_free(reason);
    sw_sweep_free(&s);
    return status;
}

const cli_command cli_cmd_sweep = {
    .name = "sweep",
    .operands = "FILE.yaml",
    .summary = "train a list or grid of configurations and compare them",
    .text = "Trains the runs that FILE.yaml lists one after the other, each into its own folder, and prints and writes one table: "
            "OUT/sweep.csv (all metrics) and OUT/sweep.txt, with bootstrap intervals, and the differences from a baseline run on "
            "the same resamples of the slides that both predict.\n\n"
            "The same command again goes on where it was stopped or killed: runs that are finished are left as they are. A run that "
            "fails is told and does not stop the others; the exit status is then 1.\n\n"
            "FILE.yaml has the keys base (a configuration), out (the folder of the runs), baseline (the name of a run), set "
            "(overrides of all runs), runs (a list of {name, config, set}) and grid (keys with lists of values: every combination of "
            "them, with each of the runs). Paths of configurations are relative to FILE.yaml.",
    .examples = "slidewise sweep sweep.yaml\n"
                "slidewise sweep sweep.yaml --list\n"
                "slidewise sweep sweep.yaml --table",
    .min_operands = 1,
    .max_operands = 1,
    .computes = true,
    .options = options,
    .run = run,
};
