/* SPDX-License-Identifier: Apache-2.0 */
/* slidewise encode: features of all patches, one file per slide. */
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "cli.h"
#include "slides.h"
#include "slidewise/encode.h"

static const cli_option options[] = {
    {"output", 'o', CLI_PATH, "DIR", "folder that gets SLIDE.h5 of each slide (required)"},
    {"encoder", 'e', CLI_TEXT, "NAME", "resnet18 or resnet50, cut after layer3; resnet18_full or resnet50_full, whole"},
    {"weights", 'w', CLI_PATH, "FILE", "weights of the encoder (.safetensors, .pth, .pt, .bin)"},
    {"run", 'r', CLI_PATH, "RUN", "instead of both: the encoder of a trained run, with its resolution, crop and colours"},
    {"checkpoint", 0, CLI_TEXT, "NAME", "of the run: best (default), last, or the path of a checkpoint"},
    {"coords", 'c', CLI_PATH, "FILE|DIR", "where slides are given, not a store: the coordinate files of CLAM or TRIDENT"},
    {"mpp", 0, CLI_REAL, "UM", "the scale of the store, microns per pixel (default: the run's, or the only one)"},
    {"crop-px", 0, CLI_INT, "PX", "side that the encoder sees, to which patches are resized (default: the run's, or 224)"},
    {"channel-order", 0, CLI_TEXT, "ORDER", "rgb (default) or bgr_as_reference; of a run its own"},
    CLI_MPP_OPTIONS,
    {"chunk", 0, CLI_INT, "N", "patches encoded at a time (default: 64)"},
    {"allow-failures", 0, CLI_FLAG, NULL, "exit with 0 also when slides failed"},
    {"threads", 't', CLI_INT, "N", "threads (default: all CPUs)"},
    {"backend", 0, CLI_TEXT, "NAME", "cpu or ref (default: cpu, or the run's)"},
    {"precision", 0, CLI_TEXT, "NAME", "auto, fp32 or bf16 (default: fp32, or the run's)"},
    {NULL, 0, CLI_FLAG, NULL, NULL},
};

/* A store is a folder with a data.mdb, or a list of stores. */
static bool is_store(const char *path)
{
    SW_AUTOFREE char *data = sw_path_join(path, "data.mdb");
    SW_AUTOFREE char *list = sw_path_join(path, "stores.json");
    return (data && sw_path_exists(data)) || (list && sw_path_exists(list)) || sw_path_has_ext(path, "json");
}

static sw_status open_slides(const cli_args *args, sw_store **store, sw_error *err)
{
    SW_CLEANUP(sw_slide_list_free) sw_slide_list list = {0};
    sw_store_slides_options o = sw_store_slides_options_default();
    SW_TRY(cli_slide_list(args, 0, cli_operand_count(args), &list, err));
    o.slides = &list;
    o.coords = cli_text(args, "coords", NULL);
    o.slide_mpp_um = cli_real(args, "slide-mpp", 0);
    o.cache_bytes = 0; /* each patch is read once */
    o.threads = (int)cli_int(args, "threads", 0);
    o.sink = cli_sink();
    if (strchr(o.coords, ',')) return sw_error_set(err, SW_E_INVALID, "--coords %s: encode takes one scale at a time; give one file or folder", o.coords);
    return sw_store_open_slides(&o, store, err);
}

static sw_status open_input(const cli_args *args, sw_store **store, sw_error *err)
{
    const char *first = cli_operand(args, 0);
    if (cli_given(args, "coords")) return open_slides(args, store, err);
    if (!is_store(first))
        return sw_error_set(err, SW_E_INVALID, "%s is not a store; give a store (slidewise tile SLIDES --store DIR), or slides with --coords DIR", first);
    if (cli_operand_count(args) > 1) return sw_error_set(err, SW_E_INVALID, "%s is a store, and one store is encoded at a time", first);
    return sw_store_open(first, store, err);
}

static sw_status encode(const cli_args *args, sw_encode_result *result, sw_error *err)
{
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    sw_encode_options o = sw_encode_options_default();
    o.output = cli_text(args, "output", NULL);
    o.run = cli_text(args, "run", NULL);
    o.checkpoint = cli_text(args, "checkpoint", NULL);
    o.encoder = cli_text(args, "encoder", NULL);
    o.weights = cli_text(args, "weights", NULL);
    o.coords = cli_text(args, "coords", NULL);
    o.mpp_um = cli_real(args, "mpp", 0);
    o.crop_px = (int)cli_int(args, "crop-px", 0);
    o.bgr_as_reference = strcmp(cli_text(args, "channel-order", "rgb"), "rgb") != 0;
    o.chunk_patches = cli_int(args, "chunk", 0);
    o.threads = (int)cli_int(args, "threads", 0);
    o.backend = cli_text(args, "backend", NULL);
    o.precision = cli_text(args, "precision", NULL);
    o.sink = cli_sink();
    SW_TRY(open_input(args, &store, err));
    return sw_encode(store, &o, result, err);
}

/* The table of failures, and what was done. */
static void print_result(const sw_encode_result *r, const char *output)
{
    size_t left = r->count - r->n_done - r->n_already - r->n_failed;
    int width = 5;
    for (size_t i = 0; i < r->count; i++) {
        int n = (int)strlen(r->row[i].slide_id);
        if (r->row[i].reason && n > width) width = n;
    }
    if (r->n_failed > 0) printf("%-*s  failed because\n", width, "slide");
    for (size_t i = 0; i < r->count; i++) {
        if (r->row[i].reason) printf("%-*s  %s\n", width, r->row[i].slide_id, r->row[i].reason);
    }
    printf("%zu slides: %zu encoded, %zu already done, %zu failed", r->count, r->n_done, r->n_already, r->n_failed);
    if (left > 0) printf(", %zu left", left);
    printf("; %lld patches, features %d wide", (long long)r->n_patches, r->dim);
    if (r->n_patches > 0 && r->seconds > 0) printf(", %.0f patches/s", (double)r->n_patches / r->seconds);
    printf(": %s\n", output);
}

/* 0: as it should be. */
static int check_options(const cli_args *args)
{
    const char *order = cli_text(args, "channel-order", "rgb");
    if (!cli_given(args, "output")) return cli_misuse("encode needs --output DIR: where the features go");
    if (strcmp(order, "rgb") != 0 && strcmp(order, "bgr_as_reference") != 0) return cli_misuse("--channel-order %s: give rgb or bgr_as_reference", order);
    if (cli_int(args, "crop-px", 8) < 8 || cli_int(args, "crop-px", 8) > 4096)
        return cli_misuse("--crop-px %lld: give 8 to 4096 pixels", (long long)cli_int(args, "crop-px", 8));
    if (cli_int(args, "chunk", 1) < 1) return cli_misuse("--chunk %lld: give at least 1 patch", (long long)cli_int(args, "chunk", 1));
    bool named = cli_given(args, "encoder") || cli_given(args, "weights");
    if (cli_given(args, "run") && (named || cli_given(args, "channel-order")))
        return cli_misuse("--run brings its encoder, weights and channel order; leave --%s out",
                          cli_given(args, "encoder") ? "encoder" : named ? "weights" : "channel-order");
    if (!cli_given(args, "run") && !(cli_given(args, "encoder") && cli_given(args, "weights")))
        return cli_misuse("encode needs --encoder NAME and --weights FILE, or --run RUN");
    return 0;
}

static int run(const cli_args *args)
{
    SW_CLEANUP(sw_encode_result_free) sw_encode_result result = {0};
    sw_error err = {0};
    int misuse = check_options(args);
    if (misuse) return misuse;
    sw_status status = encode(args, &result, &err);
    if (result.count > 0) print_result(&result, cli_text(args, "output", ""));
    if (status != SW_OK) return cli_fail(&err);
    if (result.n_failed == 0 || cli_flag(args, "allow-failures")) return 0;
    fprintf(stderr, "slidewise: %zu of %zu slides failed (see the table); with --allow-failures this exits with 0\n", result.n_failed, result.count);
    return 1;
}

const cli_command cli_cmd_encode = {
    .name = "encode",
    .operands = "STORE | SLIDE|DIR|CSV...",
    .summary = "features of all patches by an encoder that does not learn",
    .text = "The first stage of training in two: writes DIR/SLIDE.h5 for each slide of a store, or of slides with positions of CLAM or TRIDENT "
            "(--coords). A file holds features (float32, [patches, width]) and coords ([patches, 2], level-0 pixels) with their attributes, "
            "as CLAM and TRIDENT write them; h5py and these tools read it.\n\n"
            "Files appear whole or not at all. Run it again to go on: slides that are done stay. A file that another encoder, other weights or "
            "other patches made is not touched, and its slide fails. At the end failures are listed, and the exit status is 1, unless "
            "--allow-failures is given.",
    .examples = "slidewise encode store -o features_resnet50 -e resnet50 -w resnet50-11ad3fa6.pth\n"
                "slidewise encode slides/ --coords clam-out/ -o features -e resnet18 -w resnet18-f37072fd.pth\n"
                "slidewise encode store -o features_tuned --run runs/a",
    .min_operands = 1,
    .max_operands = -1,
    .computes = true,
    .options = options,
    .run = run,
};
