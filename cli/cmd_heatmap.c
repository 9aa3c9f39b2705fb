/* SPDX-License-Identifier: Apache-2.0 */
/* heatmap: where a run's model looks on slides. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/csv.h"
#include "base/fs.h"
#include "base/mem.h"
#include "cli.h"
#include "slides.h"
#include "slidewise/explain.h"
#include "slidewise/predict.h"
#include "slidewise/slide.h"

static const cli_option options[] = {
    {"output", 'o', CLI_PATH, "DIR", "folder for the results (default: RUN/heatmaps)"},
    {"top", 0, CLI_INT, "N", "patches on the contact sheet, 0 for no sheet (default: 16)"},
    {"head", 0, CLI_TEXT, "N|mean", "attention head to show (default: mean)"},
    {"scale", 0, CLI_TEXT, "NAME", "colours by rank or min-max (default: rank)"},
    {"alpha", 0, CLI_REAL, "X", "opacity of the heat, 0 to 1 (default: 0.5)"},
    {"per-head", 0, CLI_FLAG, NULL, "also write every head into GeoJSON and CSV"},
    {"foci", 0, CLI_PATH, "FILE|DIR", "outlines of true foci (GeoJSON, or a folder of <slide>.geojson) to score against"},
    {"checkpoint", 0, CLI_TEXT, "NAME", "best (default), last, or the path of a checkpoint"},
    CLI_COORDS_OPTION,
    CLI_FEATURES_OPTION,
    {"slide-mpp", 0, CLI_REAL, "UM", "microns per pixel of slides that carry none"},
    {"threads", 't', CLI_INT, "N", "threads (default: all CPUs)"},
    {"backend", 0, CLI_TEXT, "NAME", "cpu or ref (default: the run's)"},
    {"precision", 0, CLI_TEXT, "NAME", "auto, fp32 or bf16 (default: the run's)"},
    {0},
};

typedef struct job {
    sw_predictor *predictor;
    const char **class_names;
    const char *out_dir, *foci;
    double slide_mpp_um; /* for slides that carry none; 0: not given */
    sw_explain_options explain;
    double auc_sum; /* over slides with a defined focus AUC */
    int64_t n_auc, n_foci, n_found, n_failed;
} job;

/* 0: understood; else an exit status. */
static int read_options(const cli_args *args, job *j)
{
    const char *head = cli_text(args, "head", "mean"), *scale = cli_text(args, "scale", "rank");
    int64_t top = cli_int(args, "top", 16), number;
    if (strcmp(head, "mean") != 0) {
        if (!sw_parse_int(head, &number) || number < 0 || number > 4096) {
            return cli_misuse("--head %s: give the number of a head, from 0, or mean", head);
        }
        j->explain.head = (int)number;
    }
    if (strcmp(scale, "rank") != 0 && strcmp(scale, "min-max") != 0) {
        return cli_misuse("--scale %s: give rank or min-max", scale);
    }
    if (top < 0 || top > 400) return cli_misuse("--top %lld: give a number from 0 to 400", (long long)top);
    j->explain.scale = strcmp(scale, "rank") == 0 ? SW_HEAT_RANK : SW_HEAT_MIN_MAX;
    j->explain.top = (int)top;
    j->explain.alpha = cli_real(args, "alpha", j->explain.alpha);
    if (!(j->explain.alpha >= 0 && j->explain.alpha <= 1)) {
        return cli_misuse("--alpha %g: give a number from 0 to 1", j->explain.alpha);
    }
    j->explain.per_head = cli_flag(args, "per-head");
    j->explain.sink = cli_sink();
    j->foci = cli_text(args, "foci", NULL);
    j->slide_mpp_um = cli_real(args, "slide-mpp", 0);
    if (j->slide_mpp_um < 0) return cli_misuse("--slide-mpp %g: give microns per pixel", j->slide_mpp_um);
    return 0;
}

/* The foci of a slide: the file given, or <slide>.geojson of the folder given where it is there. */
static sw_status foci_path(const job *j, const char *slide_id, char **out, sw_error *err)
{
    SW_AUTOFREE char *path = NULL;
    if (!j->foci) return SW_OK;
    path = sw_path_is_dir(j->foci) ? sw_asprintf("%s/%s.geojson", j->foci, slide_id) : sw_strdup(j->foci);
    if (!path) return sw_nomem(err);
    if (sw_path_is_dir(j->foci) && !sw_path_exists(path)) return SW_OK;
    *out = SW_STEAL(path);
    return SW_OK;
}

static void print_slide(job *j, const sw_slide_prediction *p, const sw_focus_score *f, bool scored)
{
    if (p->survival) printf("%s: risk %.4g, %lld patches", p->slide_id, p->risk, (long long)p->n_patches);
    else printf("%s: %s (%.3f), %lld patches", p->slide_id, j->class_names[p->predicted], p->probability[p->predicted],
                (long long)p->n_patches);
    if (scored && f->n_foci > 0) {
        printf("; foci found %lld of %lld, top %d in a focus %.0f %% (chance %.0f %%)", (long long)f->n_found,
               (long long)f->n_foci, f->top, 100 * f->top_hits, 100 * f->top_expected);
        if (isfinite(f->auc)) printf(", AUC %.3f", f->auc);
    }
    printf("\n");
    fflush(stdout);
}

static sw_status explain_one(job *j, const sw_slide_entry *entry, sw_error *err)
{
    SW_CLEANUP(sw_slide_prediction_free) sw_slide_prediction p = {0};
    SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
    SW_AUTOFREE char *foci = NULL;
    sw_slide_options slide_options = sw_slide_options_default();
    sw_explain_options opt = j->explain;
    sw_focus_score score = {0};
    SW_TRY(foci_path(j, entry->slide_id, &foci, err));
    slide_options.mpp_um = entry->mpp_um;
    SW_TRY(sw_slide_open(entry->path, &slide_options, &slide, err));
    SW_TRY(sw_predictor_slide(j->predictor, entry->path, entry->mpp_um, &p, err));
    opt.foci = foci;
    if (!(sw_slide_get_info(slide)->mpp_um > 0)) opt.slide_mpp_um = j->slide_mpp_um;
    SW_TRY(sw_explain_slide(slide, &p, j->class_names, j->out_dir, &opt, &score, err));
    j->n_foci += score.n_foci;
    j->n_found += score.n_found;
    if (foci && isfinite(score.auc)) {
        j->auc_sum += score.auc;
        j->n_auc++;
    }
    print_slide(j, &p, &score, foci != NULL);
    return SW_OK;
}

/* A slide that fails does not stop the others. */
static sw_status explain_all(job *j, const cli_args *args, sw_error *err)
{
    SW_CLEANUP(sw_slide_list_free) sw_slide_list list = {0};
    size_t n = cli_operand_count(args) - 1;
    SW_AUTOFREE const char **operand = sw_calloc(n, sizeof *operand);
    if (!operand) return sw_nomem(err);
    for (size_t i = 0; i < n; i++) operand[i] = cli_operand(args, i + 1);
    SW_TRY(sw_slide_list_expand(operand, n, &list, err));
    for (size_t i = 0; i < list.count; i++) {
        sw_status status = explain_one(j, &list.entry[i], err);
        if (status == SW_E_CANCELLED || status == SW_E_NOMEM || status == SW_E_NOSPACE) return status;
        if (status == SW_OK) continue;
        fprintf(stderr, "slidewise: %s: %s\n", list.entry[i].slide_id, err->message);
        j->n_failed++;
    }
    if (j->n_auc > 0) {
        printf("foci: %lld of %lld found; mean AUC of attention %.3f over %lld slides\n", (long long)j->n_found,
               (long long)j->n_foci, j->auc_sum / (double)j->n_auc, (long long)j->n_auc);
    }
    printf("%s\n", j->out_dir);
    return SW_OK;
}

static sw_status work(job *j, const cli_args *args, sw_error *err)
{
    SW_CLEANUP(sw_predictor_close) sw_predictor *predictor = NULL;
    SW_AUTOFREE const char **names = NULL;
    SW_AUTOFREE char *usual = sw_path_join(cli_operand(args, 0), "heatmaps");
    sw_predictor_options opt = sw_predictor_options_default();
    if (!usual) return sw_nomem(err);
    opt.checkpoint = cli_text(args, "checkpoint", opt.checkpoint);
    opt.backend = cli_text(args, "backend", opt.backend);
    opt.precision = cli_text(args, "precision", opt.precision);
    opt.threads = (int)cli_int(args, "threads", opt.threads);
    opt.slide_mpp_um = j->slide_mpp_um;
    opt.coords = cli_text(args, "coords", NULL);
    opt.features = cli_text(args, "features", NULL);
    opt.sink = cli_sink();
    SW_TRY(sw_predictor_open(cli_operand(args, 0), &opt, &predictor, err));
    SW_TRY(cli_check_features(args, predictor, true, err));
    names = sw_calloc((size_t)sw_predictor_classes(predictor), sizeof *names);
    if (!names) return sw_nomem(err);
    for (int c = 0; c < sw_predictor_classes(predictor); c++) names[c] = sw_predictor_class(predictor, c);
    j->predictor = predictor;
    j->class_names = names;
    j->out_dir = cli_text(args, "output", usual);
    return explain_all(j, args, err);
}

static int run(const cli_args *args)
{
    job j = {.explain = sw_explain_options_default()};
    sw_error err = {0};
    int misuse = read_options(args, &j);
    if (misuse) return misuse;
    if (work(&j, args, &err) != SW_OK) return cli_fail(&err);
    return j.n_failed ? 1 : 0;
}

const cli_command cli_cmd_heatmap = {
    .name = "heatmap",
    .operands = "RUN SLIDE|DIR|CSV...",
    .summary = "Attention over slides: picture, QuPath tiles, top patches, table",
    .text = "Predicts each slide with the run's model and writes <slide>.png (the slide beside the same with attention), "
            "<slide>.geojson (tiles with measurements, for QuPath's Measurement Maps), <slide>_top.png (the most attended "
            "patches), <slide>.csv and <slide>.json.\n"
            "With --foci the attention is scored against outlines of the truth: the AUC of patches inside against outside, "
            "and how many of the top patches and of the foci meet. A patch lies in a focus when its centre does or a "
            "quarter of its area.",
    .examples = "slidewise heatmap runs/a slides/case-7.svs\n"
                "slidewise heatmap runs/demo demo/slides --foci demo/foci --top 25",
    .min_operands = 2,
    .max_operands = -1,
    .computes = true,
    .options = options,
    .run = run,
};
