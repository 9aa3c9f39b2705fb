/* SPDX-License-Identifier: Apache-2.0 */
/* eval: metrics and intervals of a run's predictions. */
#include <stdio.h>

#include "cli.h"
#include "slidewise/eval.h"

static const cli_option options[] = {
    {"split", 0, CLI_TEXT, "NAME", "train, val or test (default: test)"},
    {"bootstrap", 0, CLI_INT, "N", "resamples for the intervals, 0 for none (default: 1000)"},
    {"fold", 0, CLI_INT, "K", "seeds the resamples as fold K of the reference implementation (default: 0)"},
    {"auc-absent-zero", 0, CLI_FLAG, NULL, "count classes without a ROC curve as AUC 0, as the reference does"},
    {"json", 0, CLI_FLAG, NULL, "print the metrics as JSON"},
    {0},
};

static int run(const cli_args *args)
{
    sw_evaluation e = {0};
    sw_error err = {0};
    char *text = NULL;
    sw_eval_options opt = sw_eval_options_default();
    sw_status status;
    int64_t fold = cli_int(args, "fold", 0);
    opt.resamples = cli_int(args, "bootstrap", opt.resamples);
    opt.metric.auc_absent_zero = cli_flag(args, "auc-absent-zero");
    if (opt.resamples < 0) return cli_misuse("--bootstrap %lld: give 0 or more resamples", (long long)opt.resamples);
    if (fold < 0 || fold > 1000) return cli_misuse("--fold %lld: give a number from 0 to 1000", (long long)fold);
    opt.fold = (int)fold;
    if (sw_eval_run(cli_operand(args, 0), cli_text(args, "split", "test"), &opt, &e, &err) != SW_OK) return cli_fail(&err);
    status = cli_flag(args, "json") ? sw_evaluation_json(&e, &text, &err) : sw_evaluation_text(&e, &text, &err);
    if (status == SW_OK) fputs(text, stdout);
    sw_evaluation_text_free(text);
    sw_evaluation_free(&e);
    return status == SW_OK ? 0 : cli_fail(&err);
}

const cli_command cli_cmd_eval = {
    .name = "eval",
    .operands = "RUN",
    .summary = "Metrics of a run's predictions, with bootstrap intervals",
    .text = "Reads RUN/predictions_<split>.csv, prints accuracy, balanced accuracy, AUC, F1, precision and Cohen's kappa "
            "with the mean, standard deviation and 2.5 to 97.5 percentile of 1000 resamples of the slides, the confusion "
            "matrix and a table per class, and writes RUN/metrics_<split>.json.\n"
            "Balanced accuracy, F1 and precision are means over the classes that are labelled or predicted. A class "
            "without positive or without negative slides has no ROC curve and is left out of the AUC.",
    .examples = "slidewise eval runs/a\n"
                "slidewise eval runs/a --split val --bootstrap 0 --json",
    .min_operands = 1,
    .max_operands = 1,
    .options = options,
    .run = run,
};
