/* SPDX-License-Identifier: Apache-2.0 */
/* eval: metrics and intervals of a run's predictions. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "cli.h"
#include "slidewise/eval.h"
#include "slidewise/survival.h"

static const cli_option options[] = {
    {"split", 0, CLI_TEXT, "NAME", "train, val or test (default: test)"},
    {"bootstrap", 0, CLI_INT, "N", "resamples for the intervals, 0 for none (default: 1000)"},
    {"fold", 0, CLI_INT, "K", "seeds the resamples as fold K of the reference implementation (default: 0)"},
    {"auc-absent-zero", 0, CLI_FLAG, NULL, "count classes without a ROC curve as AUC 0, as the reference does"},
    {"times", 0, CLI_TEXT, "T,T...", "survival: times of the AUC (default: the edges between the bins of time)"},
    {"json", 0, CLI_FLAG, NULL, "print the metrics as JSON"},
    {0},
};

enum { MAX_TIMES = 32 };

/* "12,24,60" -> out; -1: something else. */
static int parse_times(const char *text, double *out)
{
    int n = 0;
    SW_AUTOFREE char *copy = sw_strdup(text);
    char *save = NULL;
    if (!copy) return -1;
    for (char *item = strtok_r(copy, ",", &save); item; item = strtok_r(NULL, ",", &save)) {
        if (n == MAX_TIMES || !sw_parse_double(item, &out[n]) || (n > 0 && !(out[n] > out[n - 1]))) return -1;
        n++;
    }
    return n;
}

static sw_status classes(const cli_args *args, const sw_eval_options *opt, char **text, sw_error *err)
{
    sw_evaluation e = {0};
    SW_TRY(sw_eval_run(cli_operand(args, 0), cli_text(args, "split", "test"), opt, &e, err));
    sw_status status = cli_flag(args, "json") ? sw_evaluation_json(&e, text, err) : sw_evaluation_text(&e, text, err);
    sw_evaluation_free(&e);
    return status;
}

static sw_status risks(const cli_args *args, const sw_survival_options *opt, char **text, sw_error *err)
{
    sw_survival_evaluation e = {0};
    SW_TRY(sw_survival_eval_run(cli_operand(args, 0), cli_text(args, "split", "test"), opt, &e, err));
    sw_status status = cli_flag(args, "json") ? sw_survival_evaluation_json(&e, text, err) : sw_survival_evaluation_text(&e, text, err);
    sw_survival_evaluation_free(&e);
    return status;
}

static int run(const cli_args *args)
{
    sw_error err = {0};
    char *text = NULL;
    double times[MAX_TIMES];
    sw_eval_options opt = sw_eval_options_default();
    sw_survival_options so = sw_survival_options_default();
    int64_t fold = cli_int(args, "fold", 0);
    opt.resamples = cli_int(args, "bootstrap", opt.resamples);
    opt.metric.auc_absent_zero = cli_flag(args, "auc-absent-zero");
    if (opt.resamples < 0) return cli_misuse("--bootstrap %lld: give 0 or more resamples", (long long)opt.resamples);
    if (fold < 0 || fold > 1000) return cli_misuse("--fold %lld: give a number from 0 to 1000", (long long)fold);
    opt.fold = so.fold = (int)fold;
    so.resamples = opt.resamples;
    so.times = times;
    so.n_times = parse_times(cli_text(args, "times", ""), times);
    if (so.n_times < 0) return cli_misuse("--times %s: give at most %d rising numbers with commas between them", cli_text(args, "times", ""), MAX_TIMES);
    SW_AUTOFREE char *table = sw_asprintf("%s/predictions_%s.csv", cli_operand(args, 0), cli_text(args, "split", "test"));
    if (!table) return 1;
    sw_status status = sw_survival_predictions_is(table) ? risks(args, &so, &text, &err) : classes(args, &opt, &text, &err);
    if (status == SW_OK) fputs(text, stdout);
    sw_evaluation_text_free(text);
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
            "without positive or without negative slides has no ROC curve and is left out of the AUC.\n"
            "Of a survival run it prints the concordance index (Harrell's, and Uno's weighted by censoring), the "
            "time-dependent AUC and the Brier score with their intervals, and the log-rank test of two groups that are "
            "split at the median risk of the training cases.",
    .examples = "slidewise eval runs/a\n"
                "slidewise eval runs/a --split val --bootstrap 0 --json\n"
                "slidewise eval runs/survival --times 12,24,60",
    .min_operands = 1,
    .max_operands = 1,
    .options = options,
    .run = run,
};
