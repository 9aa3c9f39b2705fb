/* SPDX-License-Identifier: Apache-2.0 */
/* slidewise tile: slides into a store of patches. */
#include <stdio.h>

#include "base/mem.h"
#include "cli.h"
#include "slides.h"

static const cli_option options[] = {
    {"store", 's', CLI_PATH, "DIR", "the store to fill; made when missing (required)"},
    CLI_TILE_OPTIONS,
    {NULL, 0, CLI_FLAG, NULL, NULL},
};

static sw_status tile(const cli_args *args, sw_tile_result *result, sw_error *err)
{
    SW_CLEANUP(sw_slide_list_free) sw_slide_list list = {0};
    sw_tile_options o;
    SW_TRY(cli_tile_options(args, &o, err));
    o.store = cli_text(args, "store", NULL);
    SW_TRY(cli_slide_list(args, 0, cli_operand_count(args), &list, err));
    return sw_tile(&o, &list, result, err);
}

static int run(const cli_args *args)
{
    SW_CLEANUP(sw_tile_result_free) sw_tile_result result = {0};
    sw_error err = {0};
    if (!cli_given(args, "store")) return cli_misuse("tile needs --store DIR: where the patches go");
    sw_status status = tile(args, &result, &err);
    if (status == SW_OK || result.n_done > 0) cli_tile_print(&result, cli_text(args, "store", ""), status == SW_OK);
    if (status != SW_OK) return cli_fail(&err);
    if (result.n_failed == 0 || cli_flag(args, "allow-failures")) return 0;
    fprintf(stderr, "slidewise: %zu of %zu slides failed (see the table); with --allow-failures this exits with 0\n",
            result.n_failed, result.count);
    return 1;
}

const cli_command cli_cmd_tile = {
    .name = "tile",
    .operands = "SLIDE|DIR|CSV...",
    .summary = "cut slides into patches and keep them in a store",
    .text = "Finds the tissue of each slide, lays a grid of patches of a physical resolution over it (any resolution is reached "
            "from the nearest finer level), and writes the patches as JPEGs into a store, one commit per slide. Run it again "
            "to go on: slides that are in the store are not done again; other settings than the store's are refused.\n\n"
            "At the end a table lists every slide with its patches or the reason of its failure, also as STORE/slides.csv. The exit "
            "status is 1 when a slide failed, unless --allow-failures is given.\n\n"
            "The area filters of the tissue presets are made for large slides; for biopsies and small images take "
            "--preset bwh_biopsy, or --no-tissue.",
    .examples = "slidewise tile slides/ --store store --mpp 1.0\n"
                "slidewise tile slides/ --store store --magnification 10 --magnification 5 --preset tcga\n"
                "slidewise tile cores/*.png --store store --slide-mpp 0.5 --no-tissue --patch-px 128",
    .min_operands = 1,
    .max_operands = -1,
    .options = options,
    .run = run,
};
