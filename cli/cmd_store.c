/* SPDX-License-Identifier: Apache-2.0 */
/* slidewise store: what to do with whole stores: import, info, verify, export, join, merge. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli.h"
#include "slides.h"
#include "slidewise/exchange.h"

static const cli_option options[] = {
    {"mpp", 0, CLI_REAL, "UM", "import: microns per pixel of the patches (required); export: only this scale"},
    {"coords", 'c', CLI_PATH, "FILE|DIR", "import: the coordinate files of CLAM or TRIDENT that the LMDB was cut at"},
    {"slides", 0, CLI_LIST, "SLIDE|DIR|CSV", "import: the slides it was cut from, for their size and resolution"},
    {"quality", 0, CLI_INT, "N", "import: JPEG quality of the patches, which the LMDB does not say (default: 80)"},
    {"slide", 0, CLI_LIST, "ID", "export: only this slide"},
    {"tar", 0, CLI_FLAG, NULL, "export: one tar per slide and scale, for WebDataset, instead of folders"},
    {"json", 0, CLI_FLAG, NULL, "info: print one JSON object"},
    {"allow-failures", 0, CLI_FLAG, NULL, "import: go on (and exit with 0) also when slides failed"},
    {NULL, 0, CLI_FLAG, NULL, NULL},
};

/* ---- import */

static sw_status import_store(const cli_args *args, sw_tile_result *result, sw_error *err)
{
    SW_CLEANUP(sw_slide_list_free) sw_slide_list list = {0};
    sw_import_options o = sw_import_options_default();
    o.lmdb = cli_operand(args, 1);
    o.store = cli_operand(args, 2);
    o.mpp_um = cli_real(args, "mpp", 0);
    o.quality = (int)cli_int(args, "quality", o.quality);
    o.coords = cli_text(args, "coords", NULL);
    o.sink = cli_sink();
    for (size_t i = 0; i < cli_list_count(args, "slides"); i++) {
        const char *operand = cli_list_item(args, "slides", i);
        SW_TRY(sw_slide_list_expand(&operand, 1, &list, err));
    }
    o.slides = list.count ? &list : NULL;
    return sw_import_reference(&o, result, err);
}

static int run_import(const cli_args *args)
{
    SW_CLEANUP(sw_tile_result_free) sw_tile_result result = {0};
    sw_error err = {0};
    if (!cli_given(args, "mpp")) return cli_misuse("store import needs --mpp UM: the microns per pixel of the patches, which the LMDB does not say");
    sw_status status = import_store(args, &result, &err);
    if (status == SW_OK || result.n_done > 0) cli_tile_print(&result, cli_operand(args, 2), false);
    if (status != SW_OK) return cli_fail(&err);
    if (result.n_failed == 0 || cli_flag(args, "allow-failures")) return 0;
    fprintf(stderr, "slidewise: %zu of %zu slides failed (see the table); with --allow-failures this exits with 0\n", result.n_failed,
            result.count);
    return 1;
}

/* ---- info */

static int64_t patches_of(const sw_store *store)
{
    int64_t total = 0;
    for (int64_t i = 0; i < sw_store_slide_count(store); i++) {
        for (int s = 0; s < sw_store_scale_count(store, i); s++) total += sw_store_scale_get(store, i, s)->n_patches;
    }
    return total;
}

static void put_slide(sw_json_writer *w, const sw_store_slide *slide)
{
    sw_json_object(w);
    sw_json_put_string(w, "slide_id", slide->slide_id);
    sw_json_put_string(w, "path", slide->path);
    sw_json_put_int(w, "width", slide->width);
    sw_json_put_int(w, "height", slide->height);
    sw_json_put_number(w, "mpp_um", slide->mpp_um);
    sw_json_put_string(w, "mpp_source", slide->mpp_source);
    sw_json_put_number(w, "tissue_fraction", slide->tissue_fraction);
    sw_json_key(w, "scales");
    sw_json_array(w);
    for (int s = 0; s < slide->n_scales; s++) {
        const sw_store_scale *scale = &slide->scale[s];
        sw_json_object(w);
        sw_json_put_number(w, "mpp_um", scale->mpp_um);
        sw_json_put_int(w, "patch_px", scale->patch_px);
        sw_json_put_int(w, "overlap_px", scale->overlap_px);
        sw_json_put_int(w, "quality", scale->quality);
        sw_json_put_number(w, "patch_level0_px", scale->patch_level0_px);
        sw_json_put_int(w, "n_patches", scale->n_patches);
        if (scale->n_passed_through > 0) sw_json_put_int(w, "n_passed_through", scale->n_passed_through);
        for (int kind = 1; kind < SW_LEFT_KINDS; kind++) {
            char name[40];
            snprintf(name, sizeof name, "left_out_%s", sw_left_out_name((sw_left_out)kind));
            if (scale->n_left_out[kind] > 0) sw_json_put_int(w, name, scale->n_left_out[kind]);
        }
        sw_json_end_object(w);
    }
    sw_json_end_array(w);
    sw_json_end_object(w);
}

static void put_parts(sw_json_writer *w, const sw_store *store)
{
    sw_json_key(w, "stores");
    sw_json_array(w);
    for (size_t i = 0; i < sw_store_part_count(store); i++) {
        const sw_store_part *part = sw_store_part_get(store, i);
        sw_json_object(w);
        sw_json_put_string(w, "path", part->path);
        sw_json_put_int(w, "n_slides", part->n_slides);
        sw_json_put_int(w, "n_patches", part->n_patches);
        sw_json_put_int(w, "bytes", part->bytes);
        sw_json_put_bool(w, "unfinished", part->unfinished);
        sw_json_end_object(w);
    }
    sw_json_end_array(w);
}

static void print_parts(const sw_store *store)
{
    for (size_t i = 0; i < sw_store_part_count(store); i++) {
        const sw_store_part *part = sw_store_part_get(store, i);
        printf("%s: %lld slides, %lld patches, %.1f MiB%s\n", part->path, (long long)part->n_slides, (long long)part->n_patches,
               (double)part->bytes / 0x1p20, part->unfinished ? "; not finished: tiling goes on, or was stopped (run it again)" : "");
    }
}

static sw_status print_json(const sw_store *store, int64_t bytes, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf text = {0};
    sw_json_writer w;
    sw_json_begin(&w, &text, 2);
    sw_json_object(&w);
    sw_json_put_string(&w, "store", sw_store_path(store));
    sw_json_put_int(&w, "bytes", bytes);
    sw_json_put_int(&w, "n_patches", patches_of(store));
    if (sw_store_is_list(store)) put_parts(&w, store);
    sw_json_key(&w, "settings");
    sw_json_object(&w);
    for (size_t i = 0; i < sw_store_setting_count(store); i++) {
        const char *name = sw_store_setting_name(store, i);
        sw_json_put_string(&w, name, sw_store_setting(store, name));
    }
    sw_json_end_object(&w);
    sw_json_key(&w, "slides");
    sw_json_array(&w);
    for (int64_t i = 0; i < sw_store_slide_count(store); i++) put_slide(&w, sw_store_slide_get(store, i));
    sw_json_end_array(&w);
    sw_json_end_object(&w);
    SW_TRY(sw_buf_status(&text, err));
    printf("%s\n", text.data);
    return SW_OK;
}

static void print_slide(const sw_store_slide *slide, int width)
{
    char size[64] = "unknown", mpp[32] = "?";
    if (slide->width > 0) snprintf(size, sizeof size, "%lld x %lld", (long long)slide->width, (long long)slide->height);
    if (slide->mpp_um > 0) snprintf(mpp, sizeof mpp, "%.4g", slide->mpp_um);
    for (int s = 0; s < slide->n_scales; s++) {
        const sw_store_scale *scale = &slide->scale[s];
        printf("%-*s  %17s  %8s  %6.4g  %4d px  %8lld\n", width, s ? "" : slide->slide_id, s ? "" : size, s ? "" : mpp, scale->mpp_um,
               scale->patch_px, (long long)scale->n_patches);
        for (int kind = 1; kind < SW_LEFT_KINDS; kind++) {
            if (scale->n_left_out[kind] == 0) continue;
            printf("%-*s  left out: %lld %s\n", width, "", (long long)scale->n_left_out[kind], sw_left_out_name((sw_left_out)kind));
        }
    }
}

static void print_text(const sw_store *store, int64_t bytes)
{
    int width = 5;
    int64_t n = sw_store_slide_count(store), patches = patches_of(store);
    for (int64_t i = 0; i < n; i++) {
        int size = (int)strlen(sw_store_slide_id(store, i));
        width = size <= width ? width : size < 60 ? size : 60;
    }
    printf("%-*s  %17s  %8s  %6s  %7s  %8s\n", width, "slide", "pixels", "um/pixel", "scale", "side", "patches");
    for (int64_t i = 0; i < n; i++) print_slide(sw_store_slide_get(store, i), width);
    if (sw_store_is_list(store)) print_parts(store);
    printf("made with");
    for (size_t i = 0; i < sw_store_setting_count(store); i++) {
        const char *name = sw_store_setting_name(store, i);
        printf("%s %s = %s", i ? ";" : "", name, sw_store_setting(store, name));
    }
    printf("\n%lld slides, %lld patches, %.1f MiB in %s", (long long)n, (long long)patches, (double)bytes / 0x1p20, sw_store_path(store));
    if (patches > 0) printf(" (%.1f kB a patch)", (double)bytes / (double)patches / 1e3);
    printf("\n");
}

static sw_status info(const cli_args *args, sw_error *err)
{
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    int64_t bytes = 0;
    SW_TRY(sw_store_open(cli_operand(args, 1), &store, err));
    for (size_t i = 0; i < sw_store_part_count(store); i++) bytes += sw_store_part_get(store, i)->bytes;
    if (cli_flag(args, "json")) return print_json(store, bytes, err);
    print_text(store, bytes);
    return SW_OK;
}

static int run_info(const cli_args *args)
{
    sw_error err = {0};
    return info(args, &err) == SW_OK ? 0 : cli_fail(&err);
}

/* ---- verify */

static void print_fault(void *ctx, const sw_store_fault *fault)
{
    (void)ctx;
    printf("%s\n", fault->message);
}

static int verify(const char *path)
{
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    sw_error err = {0};
    int64_t records, faults;
    if (sw_store_open(path, &store, &err) != SW_OK) return cli_fail(&err);
    if (sw_store_check(store, cli_sink(), print_fault, NULL, &records, &faults, &err) != SW_OK) return cli_fail(&err);
    if (faults == 0) {
        printf("%s is whole: %lld records of %lld slides fit their checksums\n", path, (long long)records,
               (long long)sw_store_slide_count(store));
        return 0;
    }
    sw_error_set(&err, SW_E_FORMAT, "store %s: %lld of %lld records are damaged or missing", path, (long long)faults, (long long)records);
    return cli_fail(&err);
}

/* In a process of its own: a disk that cannot give a page of the file ends the process that asks for it. */
static int run_verify(const cli_args *args)
{
    const struct timespec moment = {.tv_nsec = 20000000};
    const char *path = cli_operand(args, 1);
    int state = 0;
    sw_error err = {0};
    fflush(stdout);
    pid_t child = fork();
    if (child < 0) return verify(path);
    if (child == 0) {
        int status = verify(path);
        bool whole = fflush(stdout) == 0;
        _exit(status == 0 && !whole ? 1 : status);
    }
    for (bool told = false; waitpid(child, &state, WNOHANG) == 0; nanosleep(&moment, NULL)) {
        if (told || !cli_sink()->cancelled(cli_sink()->ctx)) continue;
        kill(child, SIGTERM);
        told = true;
    }
    if (WIFEXITED(state)) return WEXITSTATUS(state);
    sw_error_set(&err, SW_E_FORMAT,
                 "store %s: its data.mdb cannot be read whole (the check was stopped by signal %d: the disk fails, or the file was cut as it was "
                 "read); restore it from a copy or tile into a new store",
                 path, WTERMSIG(state));
    return cli_fail(&err);
}

/* ---- export */

static sw_status export_store(const cli_args *args, sw_export_result *result, sw_error *err)
{
    size_t n = cli_list_count(args, "slide");
    sw_export_options o = sw_export_options_default();
    SW_AUTOFREE const char **slide = sw_calloc(n + 1, sizeof *slide);
    if (!slide) return sw_nomem(err);
    for (size_t i = 0; i < n; i++) slide[i] = cli_list_item(args, "slide", i);
    o.store = cli_operand(args, 1);
    o.out = cli_operand(args, 2);
    o.form = cli_flag(args, "tar") ? SW_EXPORT_TAR : SW_EXPORT_FOLDER;
    o.mpp_um = cli_real(args, "mpp", 0);
    o.slide = slide;
    o.n_slides = n;
    o.sink = cli_sink();
    return sw_export(&o, result, err);
}

static int run_export(const cli_args *args)
{
    sw_export_result r;
    sw_error err = {0};
    bool tar = cli_flag(args, "tar");
    sw_status status = export_store(args, &r, &err);
    if (status != SW_OK) return cli_fail(&err);
    printf("%lld %s with %lld patches (%.1f MiB) written to %s", (long long)r.n_written, tar ? "archives" : "folders", (long long)r.n_patches,
           (double)r.n_bytes / 0x1p20, cli_operand(args, 2));
    if (r.n_already > 0) printf("; %lld were there already", (long long)r.n_already);
    printf("\n");
    return 0;
}

/* ---- join, merge */

static sw_status join(const cli_args *args, sw_store **store, sw_error *err)
{
    size_t n = cli_operand_count(args) - 2;
    SW_AUTOFREE const char **path = sw_calloc(n + 1, sizeof *path);
    if (!path) return sw_nomem(err);
    for (size_t i = 0; i < n; i++) path[i] = cli_operand(args, i + 2);
    SW_TRY(sw_store_join(cli_operand(args, 1), path, n, err));
    return sw_store_open(cli_operand(args, 1), store, err);
}

static int run_join(const cli_args *args)
{
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    sw_error err = {0};
    if (join(args, &store, &err) != SW_OK) return cli_fail(&err);
    print_parts(store);
    printf("%s is one store of %zu with %lld slides and %lld patches\n", sw_store_path(store), sw_store_part_count(store),
           (long long)sw_store_slide_count(store), (long long)patches_of(store));
    return 0;
}

static int run_merge(const cli_args *args)
{
    sw_export_result r;
    sw_error err = {0};
    if (sw_store_merge(cli_operand(args, 1), cli_operand(args, 2), cli_sink(), &r, &err) != SW_OK) return cli_fail(&err);
    printf("%lld slides with %lld patches (%.1f MiB) copied to %s", (long long)r.n_written, (long long)r.n_patches, (double)r.n_bytes / 0x1p20,
           cli_operand(args, 2));
    if (r.n_already > 0) printf("; %lld were there already", (long long)r.n_already);
    printf("\n");
    return 0;
}

/* ---- all of them */

static const char *const words[] = {"import", "info", "verify", "export", "join", "merge", NULL};
static const struct sub_verb {
    size_t operands, most; /* with its own name */
    const char *needs;
    const char *options; /* that it takes, each between spaces */
    int (*run)(const cli_args *args);
} sub_verbs[] = {{3, 3, "LMDB STORE", " mpp coords slides quality allow-failures ", run_import},
                 {2, 2, "STORE", " json ", run_info},
                 {2, 2, "STORE", " ", run_verify},
                 {3, 3, "STORE OUT", " mpp slide tar ", run_export},
                 {2, SIZE_MAX, "DIR STORE...", " ", run_join},
                 {3, 3, "STORE OUT", " ", run_merge}};

static int check_options(const cli_args *args, int which)
{
    for (const cli_option *o = options; o->name; o++) {
        char name[32];
        snprintf(name, sizeof name, " %s ", o->name);
        if (cli_given(args, o->name) && !strstr(sub_verbs[which].options, name))
            return cli_misuse("store %s takes no --%s; slidewise store --help tells more", words[which], o->name);
    }
    return 0;
}

static int run(const cli_args *args)
{
    const char *word = cli_operand(args, 0);
    int which = 0;
    while (words[which] && strcmp(words[which], word) != 0) which++;
    if (!words[which]) {
        const char *nearest = sw_nearest_name(word, words, sizeof words / sizeof *words - 1);
        if (nearest) return cli_misuse("store: unknown word \"%s\"; did you mean \"store %s\"?", word, nearest);
        return cli_misuse("store: unknown word \"%s\"; give import, info, verify, export, join or merge", word);
    }
    if (cli_operand_count(args) < sub_verbs[which].operands || cli_operand_count(args) > sub_verbs[which].most)
        return cli_misuse("store %s needs %s; slidewise store --help tells more", word, sub_verbs[which].needs);
    int status = check_options(args, which);
    return status ? status : sub_verbs[which].run(args);
}

const cli_command cli_cmd_store = {
    .name = "store",
    .operands = "import|export|merge FROM TO | info|verify STORE | join DIR STORE",
    .summary = "import, describe, check, export, join or merge stores of patches",
    .text = "import makes a store of the LMDB that the reference implementation writes (one file, pickled), copying every JPEG bit by bit; "
            "no pickle is executed. The LMDB knows neither resolution nor positions: give --mpp, and the coordinate files with --coords.\n\n"
            "info lists slides, scales, numbers and sizes.\n\n"
            "verify reads every record and compares it with its checksum; each bad one is named by slide and patch, and the exit status is 1. It "
            "also looks at every page of the LMDB file between them.\n\n"
            "export writes OUT/{mpp}um/SLIDE/{index}_x{x}_y{y}.jpg, or with --tar OUT/{mpp}um/SLIDE.tar, whose members are SLIDE/{index}.jpg "
            "and SLIDE/{index}.json (position and resolution). What has its name is complete: the same call goes on where one was stopped.\n\n"
            "join writes DIR/stores.json, a list of stores: wherever a store is asked for, DIR is then all of them as one. Nothing is copied. They need the "
            "same settings, and no slide may be in two. Stores are added to a list that is there; without any it makes the tables of the "
            "list anew (DIR/slides.csv, DIR/unreadable.csv).\n\n"
            "merge copies all slides of a store, or of such a list, into one store, bit for bit; run it again to go on.",
    .examples = "slidewise store import 224_80_level1.lmdb store --mpp 1.143 --coords clam-out/\n"
                "slidewise store info store\n"
                "slidewise store verify store\n"
                "slidewise store export store out --tar --mpp 1.0\n"
                "slidewise store join both store-a store-b",
    .words = words,
    .min_operands = 1,
    .max_operands = -1,
    .options = options,
    .run = run,
};
