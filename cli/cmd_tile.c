/* SPDX-License-Identifier: Apache-2.0 */
/* slidewise tile: slides into a store of patches. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "cli.h"
#include "slides.h"

static const cli_option options[] = {
    {"store", 's', CLI_PATH, "DIR", "the store to fill; made when missing (required, unless --clam or --trident is given)"},
    CLI_COORDS_OPTION,
    {"process-list", 0, CLI_PATH, "FILE", "CLAM's table with tissue settings of single slides, keep_ids and exclude_ids among them"},
    {"clam", 0, CLI_PATH, "DIR", "also write the positions as CLAM does: DIR/patches/SLIDE.h5, DIR/process_list_autogen.csv"},
    {"trident", 0, CLI_PATH, "DIR",
     "also write them as TRIDENT does: DIR/{mag}x_{px}px_{overlap}px_overlap/patches/SLIDE_patches.h5, DIR/contours_geojson"},
    {"mask", 0, CLI_PATH, "FILE|DIR", "your own tissue: a picture or QuPath's GeoJSON, or a folder with SLIDE.png or SLIDE.geojson of each"},
    {"mask-mode", 0, CLI_TEXT, "MODE", "replace: the mask instead of segmenting (default); within: what lies in both"},
    {"include", 0, CLI_TEXT, "NAMES", "classes of the GeoJSON that are taken, with commas (default: all)"},
    {"exclude", 0, CLI_TEXT, "NAMES", "classes of the GeoJSON that are taken out, with commas (default: none)"},
    CLI_TILE_OPTIONS,
    {"shard", 0, CLI_TEXT, "I/N", "only the I-th of N shares of the slides, into DIR/shard-I-of-N; DIR opens as one store when all N are made"},
    {"retry-unreadable", 0, CLI_FLAG, NULL, "tile slides of the store again of which something could not be read"},
    {NULL, 0, CLI_FLAG, NULL, NULL},
};

/* What positions out of files leave to the command line: the scale's name, the patches' pixels and their quality. */
static sw_status given_positions(const cli_args *args, const sw_slide_list *list, sw_tile_options *o, sw_error *err)
{
    static const char *const not_with[] = {"overlap", "preset", "no-tissue", "mask", "process-list"};
    for (size_t i = 0; i < sizeof not_with / sizeof *not_with; i++) {
        if (cli_given(args, not_with[i]))
            return sw_error_set(err, SW_E_INVALID, "--%s does not go with --coords, where the positions are made already", not_with[i]);
    }
    bool named = cli_list_count(args, "mpp") + cli_list_count(args, "magnification") > 0;
    o->coords = cli_text(args, "coords", NULL);
    double mpp_um[SW_STORE_MAX_SCALES];
    memcpy(mpp_um, o->settings.mpp_um, sizeof mpp_um);
    return sw_tile_settings_given(o->coords, list, o->slide_mpp_um, mpp_um, named ? o->settings.n_scales : 0,
                                  cli_given(args, "patch-px") ? o->settings.patch_px : 0, &o->settings, err);
}

static sw_status copy_text(const cli_args *args, const char *name, char *out, size_t size, sw_error *err)
{
    const char *text = cli_text(args, name, "");
    if (strlen(text) >= size) return sw_error_set(err, SW_E_INVALID, "--%s is longer than the %zu bytes that a store keeps of it", name, size - 1);
    snprintf(out, size, "%s", text);
    return SW_OK;
}

static sw_status mask_options(const cli_args *args, sw_mask_options *m, sw_error *err)
{
    static const char *const needs[] = {"mask-mode", "include", "exclude"};
    for (size_t i = 0; i < sizeof needs / sizeof *needs && !cli_given(args, "mask"); i++) {
        if (cli_given(args, needs[i])) return sw_error_set(err, SW_E_INVALID, "--%s needs --mask FILE|DIR", needs[i]);
    }
    if (!cli_given(args, "mask")) return SW_OK;
    if (cli_flag(args, "no-tissue")) return sw_error_set(err, SW_E_INVALID, "--mask does not go with --no-tissue, which takes the whole image");
    const char *mode = cli_text(args, "mask-mode", "replace");
    if (strcmp(mode, "replace") != 0 && strcmp(mode, "within") != 0)
        return sw_error_set(err, SW_E_INVALID, "--mask-mode %s: give replace or within", mode);
    m->mode = mode[0] == 'r' ? SW_MASK_REPLACE : SW_MASK_WITHIN;
    SW_TRY(copy_text(args, "mask", m->path, sizeof m->path, err));
    SW_TRY(copy_text(args, "include", m->include, sizeof m->include, err));
    return copy_text(args, "exclude", m->exclude, sizeof m->exclude, err);
}

/* "3/8"; false: not so. */
static bool parse_shard(const char *text, int64_t *shard, int64_t *n)
{
    char first[16];
    const char *slash = strchr(text, '/');
    size_t size = slash ? (size_t)(slash - text) : sizeof first;
    if (size >= sizeof first) return false;
    snprintf(first, sizeof first, "%.*s", (int)size, text);
    return sw_parse_int(first, shard) && sw_parse_int(slash + 1, n) && *n >= 1 && *n <= SW_TILE_MAX_SHARDS && *shard >= 1 && *shard <= *n;
}

static sw_status shard_option(const cli_args *args, sw_tile_options *o, sw_error *err)
{
    const char *text = cli_text(args, "shard", NULL);
    int64_t shard, n;
    if (!text) return SW_OK;
    if (!parse_shard(text, &shard, &n)) {
        return sw_error_set(err, SW_E_INVALID, "--shard %s: give I/N, the share I (from 1) of N (at most %d), as 1/8 to 8/8", text,
                            SW_TILE_MAX_SHARDS);
    }
    if (!cli_given(args, "store")) return sw_error_set(err, SW_E_INVALID, "--shard needs --store DIR, the folder of all shards");
    if (cli_given(args, "clam")) {
        return sw_error_set(err, SW_E_INVALID, "--shard does not go with --clam, whose table of all slides shards cannot share; --trident does");
    }
    o->shard = (int)shard;
    o->n_shards = (int)n;
    return SW_OK;
}

static sw_status tile(const cli_args *args, sw_tile_result *result, sw_error *err)
{
    SW_CLEANUP(sw_slide_list_free) sw_slide_list list = {0};
    sw_tile_options o;
    SW_TRY(cli_tile_options(args, &o, err));
    SW_TRY(mask_options(args, &o.settings.mask, err));
    o.store = cli_text(args, "store", NULL);
    o.clam = cli_text(args, "clam", NULL);
    o.process_list = cli_text(args, "process-list", NULL);
    o.trident = cli_text(args, "trident", NULL);
    o.retry_unreadable = cli_flag(args, "retry-unreadable");
    SW_TRY(shard_option(args, &o, err));
    SW_TRY(cli_slide_list(args, 0, cli_operand_count(args), &list, err));
    if (cli_given(args, "coords")) SW_TRY(given_positions(args, &list, &o, err));
    return sw_tile(&o, &list, result, err);
}

/* Where the patches go; owned, NULL: nowhere, or no memory. */
static char *store_of(const cli_args *args)
{
    int64_t shard, n;
    const char *store = cli_text(args, "store", NULL), *share = cli_text(args, "shard", "");
    if (!store) return NULL;
    return parse_shard(share, &shard, &n) ? sw_asprintf("%s/shard-%lld-of-%lld", store, (long long)shard, (long long)n) : sw_strdup(store);
}

/* What the shards are together, so far. */
static void print_shards(const char *folder)
{
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    sw_error err = {0};
    size_t unfinished = 0;
    if (sw_store_open(folder, &store, &err) != SW_OK) {
        printf("%s\n", err.message);
        return;
    }
    size_t n = sw_store_part_count(store);
    for (size_t i = 0; i < n; i++) unfinished += sw_store_part_get(store, i)->unfinished;
    if (unfinished > 0) printf("%s: %zu of its %zu shards are not finished\n", folder, unfinished, n);
    else printf("%s is one store of %zu shards with %lld slides; the table of all is in %s/slides.csv\n", folder, n, (long long)sw_store_slide_count(store), folder);
}

static int run(const cli_args *args)
{
    SW_CLEANUP(sw_tile_result_free) sw_tile_result result = {0};
    sw_error err = {0};
    SW_AUTOFREE char *store = store_of(args);
    const char *positions = cli_text(args, "clam", cli_text(args, "trident", NULL));
    if (!store && !positions)
        return cli_misuse("tile needs --store DIR: where the patches go (or --clam DIR or --trident DIR, where positions go)");
    sw_status status = tile(args, &result, &err);
    if (status == SW_OK || result.n_done > 0) cli_tile_print(&result, store ? store : positions, store && status == SW_OK);
    if (status != SW_OK) return cli_fail(&err);
    if (cli_given(args, "shard")) print_shards(cli_text(args, "store", ""));
    if ((result.n_failed == 0 && result.n_damaged == 0) || cli_flag(args, "allow-failures")) return 0;
    if (result.n_failed > 0) {
        fprintf(stderr, "slidewise: %zu of %zu slides failed (see the table); with --allow-failures this exits with 0\n",
                result.n_failed, result.count);
    }
    if (result.n_damaged > 0) {
        fprintf(stderr,
                "slidewise: %zu of %zu slides are damaged: %lld patches were left out%s%s%s; copy the slides again and give "
                "--retry-unreadable, or go on without these patches (--allow-failures exits with 0)\n",
                result.n_damaged, result.count, (long long)result.n_left_out[SW_LEFT_UNREADABLE], store ? " (see " : "",
                store ? store : "", store ? "/unreadable.csv)" : "");
    }
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
            "A patch that lies where a slide is damaged is read again, then left out, and the slide goes on: the table counts such patches, "
            "STORE/unreadable.csv lists them, and the exit status is 1, too. They stay left out when the command is run again; "
            "--retry-unreadable tries those slides anew.\n\n"
            "--max-pen-fraction, --min-laplacian-variance, --max-black-fraction and --max-white-fraction leave out patches by their pixels "
            "and are settings of the store. Without --store they make the slides be read all the same.\n\n"
            "--shard I/N tiles one of N shares of the slides into DIR/shard-I-of-N. Run it for each I, with the same slides and settings, in any order, "
            "at the same time, on any machines that see DIR: DIR/stores.json lists the shards, and DIR opens as one store when all are there. Which "
            "share a slide is in depends on its id and N only.\n\n"
            "The area filters of the tissue presets are made for large slides; for biopsies and small images take "
            "--preset bwh_biopsy, or --no-tissue.\n\n"
            "--coords takes the positions that CLAM or TRIDENT wrote: one .h5 for one slide, or the folder with the file of each. The side "
            "of a patch on the slide and its pixels (unless --patch-px) are those of the files; --mpp is then the name of the scale, which "
            "the patches may miss by 30 % where the other tool rounds to magnifications (each miss is told). --clam and --trident write "
            "positions for those tools, also without a store: then no pixel is cut. Several scales are several files or folders with commas "
            "between, each --mpp (all or none) the name of one, in that order.",
    .examples = "slidewise tile slides/ --store store --mpp 1.0\n"
                "slidewise tile slides/ --store store --magnification 10 --magnification 5 --preset tcga\n"
                "slidewise tile slides/ --store store --coords clam-out/\n"
                "slidewise tile slides/ --store store --mask annotations/ --include Tumor --exclude Necrosis\n"
                "slidewise tile slides/ --trident job --magnification 20\n"
                "slidewise tile slides/ --store store --shard 3/8\n"
                "slidewise tile cores/*.png --store store --slide-mpp 0.5 --no-tissue --patch-px 128",
    .min_operands = 1,
    .max_operands = -1,
    .options = options,
    .run = run,
};
