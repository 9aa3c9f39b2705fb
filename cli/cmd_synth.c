/* SPDX-License-Identifier: Apache-2.0 */
/* slidewise synth: slides to try everything with. */
#include <stdio.h>

#include "cli.h"
#include "slidewise/synth.h"

static const cli_option options[] = {
    {"slides", 'n', CLI_INT, "N", "number of slides, half of them with tumour (default: 40)"},
    {"size", 0, CLI_INT, "PX", "side of a slide in pixels (default: 2048)"},
    {"mpp", 0, CLI_REAL, "UM", "microns per pixel (default: 0.5)"},
    {"seed", 0, CLI_INT, "N", "the same seed gives the same bytes (default: 1)"},
    {"survival", 0, CLI_FLAG, NULL, "give every case a time and an event too, the sooner the more foci it has"},
    {"effect", 0, CLI_REAL, "X", "of --survival: each focus multiplies the time by exp(-X) (default: 0.45)"},
    {"noise", 0, CLI_REAL, "X", "of --survival: how random times are; 1: exponential, 0: the foci alone decide (default: 1)"},
    {"threads", 't', CLI_INT, "N", "threads (default: all CPUs)"},
    {NULL, 0, CLI_FLAG, NULL, NULL},
};

static int run(const cli_args *args)
{
    sw_error err = {0};
    sw_synth_options o = sw_synth_options_default();
    int64_t slides = cli_int(args, "slides", o.n_slides), threads = cli_int(args, "threads", 0);
    const char *out = cli_operand(args, 0);
    if (slides < 1 || slides > 9999) return cli_misuse("--slides must be 1 to 9999, not %lld", (long long)slides);
    if (threads < 0 || threads > 4096) return cli_misuse("--threads must be 0 to 4096, not %lld", (long long)threads);
    o.n_slides = (int)slides;
    o.size_px = cli_int(args, "size", o.size_px);
    o.mpp_um = cli_real(args, "mpp", o.mpp_um);
    o.seed = (uint64_t)cli_int(args, "seed", (int64_t)o.seed);
    o.survival = cli_flag(args, "survival");
    o.effect = cli_real(args, "effect", o.effect);
    o.noise = cli_real(args, "noise", o.noise);
    if (!o.survival && (cli_text(args, "effect", NULL) || cli_text(args, "noise", NULL)))
        return cli_misuse("--effect and --noise are about times: give --survival too");
    o.threads = (int)threads;
    o.sink = cli_sink();
    if (sw_synth_write(out, &o, &err) != SW_OK) return cli_fail(&err);
    if (!cli_quiet()) printf("%d slides of %lld x %lld pixels in %s/slides, labels in %s/labels.csv\n", o.n_slides,
                             (long long)o.size_px, (long long)o.size_px, out, out);
    return 0;
}

const cli_command cli_cmd_synth = {
    .name = "synth",
    .operands = "OUT",
    .summary = "make synthetic slides whose label depends on small foci",
    .text = "Writes pyramidal TIFF slides of H&E-like tissue (OUT/slides), a label table (OUT/labels.csv: "
            "case_id,slide_id,label; with --survival also time, in months, and event) and the outlines of the tumour foci (OUT/foci, GeoJSON in level-0 pixels; empty for "
            "normal slides). Stain differs from patient to patient, sharpness and brightness from slide to slide; pen "
            "marks, folds and lymphocyte aggregates occur in both classes. The same seed gives the same bytes, whatever "
            "the number of threads.",
    .examples = "slidewise synth demo\n"
                "slidewise synth big --slides 4 --size 16384 --mpp 0.25 --seed 7",
    .min_operands = 1,
    .max_operands = 1,
    .options = options,
    .run = run,
};
