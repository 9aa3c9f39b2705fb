/* SPDX-License-Identifier: Apache-2.0 */
/* report: one HTML page about a run. */
#include <stdio.h>

#include "cli.h"
#include "slidewise/report.h"

static const cli_option options[] = {
    {"output", 'o', CLI_PATH, "FILE", "page to write (default: RUN/report.html)"},
    {"title", 0, CLI_TEXT, "TEXT", "title of the page"},
    {"heatmaps", 0, CLI_INT, "N", "most heatmaps to embed (default: 8)"},
    {"slides", 0, CLI_INT, "N", "most rows in each table of predictions (default: 200)"},
    {0},
};

static int run(const cli_args *args)
{
    sw_error err = {0};
    sw_report_options opt = sw_report_options_default();
    const char *dir = cli_operand(args, 0), *path = cli_text(args, "output", NULL);
    int64_t heatmaps = cli_int(args, "heatmaps", opt.max_heatmaps);
    opt.max_slides = cli_int(args, "slides", opt.max_slides);
    opt.title = cli_text(args, "title", NULL);
    opt.sink = cli_sink();
    if (heatmaps < 0 || heatmaps > 1000) return cli_misuse("--heatmaps %lld: give a number from 0 to 1000", (long long)heatmaps);
    if (opt.max_slides < 0) return cli_misuse("--slides %lld: give 0 or more", (long long)opt.max_slides);
    opt.max_heatmaps = (int)heatmaps;
    if (sw_report_write(dir, path, &opt, &err) != SW_OK) return cli_fail(&err);
    if (path) {
        printf("%s\n", path);
    } else {
        printf("%s/report.html\n", dir);
    }
    return 0;
}

const cli_command cli_cmd_report = {
    .name = "report",
    .operands = "RUN",
    .summary = "One self-contained HTML page about a run",
    .text = "Writes metrics with intervals, ROC curves, the confusion matrix, predictions per slide with the worst errors "
            "first, heatmaps, training curves, the data and the settings into one HTML file without scripts or outside "
            "links. What the run does not hold is left out, and the page says so.",
    .examples = "slidewise report runs/a\n"
                "slidewise report runs/a -o a.html --heatmaps 20",
    .min_operands = 1,
    .max_operands = 1,
    .options = options,
    .run = run,
};
