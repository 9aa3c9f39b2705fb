/* SPDX-License-Identifier: Apache-2.0 */
/* slidewise tile: slides into a store of patches. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "cli.h"
#include "slidewise/tile.h"

static const cli_option options[] = {
    {"store", 's', CLI_PATH, "DIR", "the store to fill; made when missing (required)"},
    {"mpp", 0, CLI_LIST, "UM", "microns per pixel of the patches; repeat for several scales (default: 1.0)"},
    {"magnification", 'm', CLI_LIST, "X", "the same as --mpp 10/X: 10 is 1.0, 40 is 0.25"},
    {"patch-px", 'p', CLI_INT, "PX", "side of a patch in pixels (default: 256)"},
    {"overlap", 0, CLI_INT, "PX", "pixels that neighbours share (default: 0)"},
    {"quality", 'q', CLI_INT, "N", "of the JPEG patches, 1 to 100 (default: 80)"},
    {"preset", 0, CLI_TEXT, "NAME|FILE", "tissue settings: default, bwh_biopsy, bwh_resection, tcga, tcga_nsclc or a CSV of CLAM"},
    {"no-tissue", 0, CLI_FLAG, NULL, "take the whole image, for small regions and cores"},
    {"slide-mpp", 0, CLI_REAL, "UM", "microns per pixel of slides that carry none"},
    {"mpp-csv", 0, CLI_PATH, "FILE", "microns per pixel by slide: columns slide_id,mpp"},
    {"masks", 0, CLI_FLAG, NULL, "also write masks, overlays and contours (GeoJSON) beside the patches"},
    {"allow-failures", 0, CLI_FLAG, NULL, "exit with 0 also when slides failed"},
    {"threads", 't', CLI_INT, "N", "threads (default: all CPUs)"},
    {NULL, 0, CLI_FLAG, NULL, NULL},
};

/* Adds the values of a repeated option, 10 / value for magnifications. */
static sw_status add_scales(const cli_args *args, const char *name, bool magnification, sw_tile_settings *s, sw_error *err)
{
    for (size_t i = 0; i < cli_list_count(args, name); i++) {
        double value;
        const char *text = cli_list_item(args, name, i);
        if (!sw_parse_double(text, &value) || value <= 0.0)
            return sw_error_set(err, SW_E_INVALID, "--%s %s: give a number above 0", name, text);
        if (s->n_scales == SW_STORE_MAX_SCALES)
            return sw_error_set(err, SW_E_INVALID, "--%s %s: at most %d scales fit into a store", name, text, SW_STORE_MAX_SCALES);
        s->mpp_um[s->n_scales++] = magnification ? 10.0 / value : value;
    }
    return SW_OK;
}

static sw_status read_settings(const cli_args *args, sw_tile_settings *s, sw_error *err)
{
    *s = sw_tile_settings_default();
    double default_mpp = s->mpp_um[0];
    s->n_scales = 0;
    SW_TRY(add_scales(args, "mpp", false, s, err));
    SW_TRY(add_scales(args, "magnification", true, s, err));
    if (s->n_scales == 0) s->mpp_um[s->n_scales++] = default_mpp;
    s->patch_px = (int)cli_int(args, "patch-px", s->patch_px);
    s->overlap_px = (int)cli_int(args, "overlap", s->overlap_px);
    s->quality = (int)cli_int(args, "quality", s->quality);
    s->whole_image = cli_flag(args, "no-tissue");
    const char *preset = cli_text(args, "preset", NULL);
    return preset ? sw_tissue_options_preset(preset, &s->tissue, err) : SW_OK;
}

static sw_status list_slides(const cli_args *args, sw_slide_list *list, sw_error *err)
{
    size_t n = cli_operand_count(args);
    SW_AUTOFREE const char **operand = sw_calloc(n, sizeof *operand);
    if (!operand) return sw_nomem(err);
    for (size_t i = 0; i < n; i++) operand[i] = cli_operand(args, i);
    SW_TRY(sw_slide_list_expand(operand, n, list, err));
    const char *mpp_csv = cli_text(args, "mpp-csv", NULL);
    return mpp_csv ? sw_slide_list_apply_mpp(list, mpp_csv, NULL, err) : SW_OK;
}

static int width_of_ids(const sw_tile_result *r)
{
    size_t width = strlen("slide");
    for (size_t i = 0; i < r->count; i++) {
        if (strlen(r->row[i].slide_id) > width) width = strlen(r->row[i].slide_id);
    }
    return width < 60 ? (int)width : 60;
}

static void print_table(const sw_tile_result *r, const char *store)
{
    int width = width_of_ids(r);
    printf("%-*s  %-13s", width, "slide", "status");
    for (int i = 0; i < r->n_scales; i++) {
        char head[32];
        snprintf(head, sizeof head, "%g um", r->mpp_um[i]);
        printf("  %9s", head);
    }
    printf("  tissue  seconds\n");
    for (size_t i = 0; i < r->count; i++) {
        const sw_tile_row *row = &r->row[i];
        printf("%-*s  %-13s", width, row->slide_id, sw_tile_status_name(row->status));
        for (int s = 0; s < r->n_scales; s++) printf("  %9lld", (long long)row->n_patches[s]);
        printf("  %5.1f%%  %7.1f\n", 100.0 * row->tissue_fraction, row->seconds);
    }
    for (size_t i = 0; i < r->count; i++) {
        if (r->row[i].reason) printf("%s: %s\n", sw_tile_status_name(r->row[i].status), r->row[i].reason);
    }
    printf("%zu slides: %zu done, %zu already done, %zu failed; %lld patches in %s; the table is in %s/slides.csv\n", r->count,
           r->n_done, r->n_already, r->n_failed, (long long)r->n_patches, store, store);
}

static sw_status tile(const cli_args *args, sw_tile_result *result, sw_error *err)
{
    SW_CLEANUP(sw_slide_list_free) sw_slide_list list = {0};
    sw_tile_options o = sw_tile_options_default();
    o.store = cli_text(args, "store", NULL);
    o.slide_mpp_um = cli_real(args, "slide-mpp", 0.0);
    o.threads = (int)cli_int(args, "threads", 0);
    o.masks = cli_flag(args, "masks");
    o.sink = cli_sink();
    SW_TRY(read_settings(args, &o.settings, err));
    SW_TRY(list_slides(args, &list, err));
    return sw_tile(&o, &list, result, err);
}

static int run(const cli_args *args)
{
    SW_CLEANUP(sw_tile_result_free) sw_tile_result result = {0};
    sw_error err = {0};
    if (!cli_given(args, "store")) return cli_misuse("tile needs --store DIR: where the patches go");
    if (cli_given(args, "slide-mpp") && cli_real(args, "slide-mpp", 0.0) <= 0.0)
        return cli_misuse("--slide-mpp must be above 0");
    sw_status status = tile(args, &result, &err);
    if (status == SW_OK || result.n_done > 0) print_table(&result, cli_text(args, "store", ""));
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
