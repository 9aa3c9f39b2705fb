/* SPDX-License-Identifier: Apache-2.0 */
/* slidewise train: from a store and a label table to a trained run. */
#include <math.h>
#include <stdio.h>

#include "base/mem.h"
#include "cli.h"
#include "slidewise/report.h"
#include "slidewise/train.h"

enum { MAX_SETS = 64 };

static const cli_option options[] = {
    {"set", 0, CLI_LIST, "KEY=VALUE", "override one key of the configuration; may be repeated"},
    {"resume", 0, CLI_FLAG, NULL, "go on from the run's last checkpoint"},
    {"dry-run", 0, CLI_FLAG, NULL, "check the configuration and print what training would take; writes nothing"},
    {"quick", 0, CLI_FLAG, NULL, "with --dry-run: measure neither memory nor time"},
    {"stop-after-steps", 0, CLI_INT, "N", "write a checkpoint and stop after N steps"},
    {NULL, 0, CLI_FLAG, NULL, NULL},
};

static void print_result(const sw_train_result *r)
{
    printf("%s after %lld epochs (%lld steps), %.0f s\n",
           r->cancelled ? "interrupted" : r->stopped_early ? "stopped early" : "trained", (long long)r->epochs,
           (long long)r->steps, r->seconds);
    if (!isnan(r->best_metric)) printf("best %s %.4f at epoch %d\n", r->metric, r->best_metric, r->best_epoch);
    else if (!isnan(r->best_loss)) printf("best validation loss %.4f at epoch %d\n", r->best_loss, r->best_epoch);
    else if (r->best_epoch > 0) printf("no validation set: the last epoch is kept\n");
    printf("run directory: %s\n", r->run_dir);
    if (r->cancelled) printf("go on with the same command and --resume\n");
}

static int plan(const sw_train_options *o, bool quick)
{
    sw_error err = {0};
    sw_train_plan p;
    char *text = NULL;
    if (sw_train_plan_make(o, quick, &p, &err) != SW_OK || sw_train_plan_text(&p, &text, &err) != SW_OK) return cli_fail(&err);
    printf("%s", text);
    sw_train_plan_text_free(text);
    return 0;
}

static int run(const cli_args *args)
{
    const char *sets[MAX_SETS];
    sw_error err = {0};
    sw_train_result result;
    sw_train_options o = sw_train_options_default();
    if (cli_list_count(args, "set") > MAX_SETS) return cli_misuse("--set can be given at most %d times", MAX_SETS);
    for (size_t i = 0; i < cli_list_count(args, "set"); i++) sets[o.n_sets++] = cli_list_item(args, "set", i);
    o.sets = sets;
    SW_AUTOFREE char *line = cli_line(args);
    o.command = line;
    o.config_path = cli_operand(args, 0);
    o.resume = cli_flag(args, "resume");
    o.stop_after_steps = cli_int(args, "stop-after-steps", 0);
    o.sink = cli_sink();
    if (cli_flag(args, "quick") && !cli_flag(args, "dry-run")) return cli_misuse("train: --quick goes with --dry-run");
    if (cli_flag(args, "dry-run")) return plan(&o, cli_flag(args, "quick"));
    if (sw_train(&o, &result, &err) != SW_OK) return cli_fail(&err);
    print_result(&result);
    if (result.cancelled) return 130;
    sw_report_options ro = sw_report_options_default();
    ro.sink = cli_sink();
    if (sw_report_write(result.run_dir, NULL, &ro, &err) != SW_OK) return cli_fail(&err);
    printf("report: %s/report.html\n", result.run_dir);
    return 0;
}

const cli_command cli_cmd_train = {
    .name = "train",
    .operands = "CONFIG.yaml",
    .summary = "train encoder and aggregator together from slide labels",
    .text = "Reads the configuration, the store of patches and the label table it names, trains, and writes into the "
            "run directory (run.out): config.yaml (resolved), dataset.json, log.jsonl, checkpoints/, and at the end "
            "predictions_SPLIT.csv, metrics_SPLIT.json and report.html.\n\n"
            "With --dry-run nothing is written: the configuration is checked with whatever of its data is there, and parameters, "
            "FLOPs, memory, steps and hours are printed, the last three from a short measurement on this machine. Data paths that are "
            "not set, or written as '<...>', are noted; any other path that is missing is an error.\n\n"
            "A run that was interrupted goes on with --resume and ends in the same weights, byte for byte, as one "
            "that was not.",
    .examples = "slidewise train config.yaml\n"
                "slidewise train config.yaml --set train.lr=1e-4 --set run.out=runs/lr1e-4\n"
                "slidewise train config.yaml --dry-run\n"
                "slidewise train config.yaml --resume",
    .min_operands = 1,
    .max_operands = 1,
    .computes = true,
    .options = options,
    .run = run,
};
