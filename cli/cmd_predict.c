/* SPDX-License-Identifier: Apache-2.0 */
/* slidewise predict: class probabilities of slides, straight from their files. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/csv.h"
#include "base/fs.h"
#include "base/mem.h"
#include "cli.h"
#include "slidewise/predict.h"
#include "slidewise/store.h"
#include "slides.h"

static const cli_option options[] = {
    {"output", 'o', CLI_PATH, "FILE", "CSV to write (default: standard output)"},
    {"checkpoint", 0, CLI_TEXT, "NAME", "best (default), last, or the path of a checkpoint"},
    {"cases", 0, CLI_PATH, "FILE", "table of case_id and slide_id: the slides of a case are predicted as one bag"},
    {"best", 0, CLI_PATH, "DIR", "also write the positions of each slide's best patches there, as TRIDENT does (data.coords of another training)"},
    {"best-count", 0, CLI_INT, "N", "as many of them (default: 512)"},
    CLI_COORDS_OPTION,
    CLI_FEATURES_OPTION,
    CLI_MPP_OPTIONS,
    {"chunk", 0, CLI_INT, "N", "patches encoded at a time (default: the run's eval.chunk_patches)"},
    {"threads", 't', CLI_INT, "N", "threads (default: all CPUs)"},
    {"backend", 0, CLI_TEXT, "NAME", "cpu or ref (default: the run's)"},
    {"precision", 0, CLI_TEXT, "NAME", "auto, fp32 or bf16 (default: the run's)"},
    {NULL, 0, CLI_FLAG, NULL, NULL},
};

/* Of a case of several slides its id stands for them. */
static void put_header(const sw_predictor *p, bool cases, sw_buf *csv)
{
    int classes = sw_predictor_classes(p);
    bool survival = sw_predictor_survival(p);
    sw_csv_put(csv, cases ? "case_id" : "slide_id", false);
    if (cases) sw_csv_put(csv, "slides", false);
    sw_csv_put(csv, survival ? "risk" : "predicted", false);
    for (int i = 0; i < classes && !(survival && classes == 1); i++) {
        char name[256];
        if (!survival) snprintf(name, sizeof name, "p_%s", sw_predictor_class(p, i));
        else if (i + 1 < classes) snprintf(name, sizeof name, "s_%.9g", sw_predictor_edge(p, i));
        else snprintf(name, sizeof name, "s_end");
        sw_csv_put(csv, name, false);
    }
    sw_csv_put(csv, "n_patches", false);
    sw_csv_put(csv, "seconds", false);
    sw_csv_put(csv, "error", true);
}

/* Columns of numbers between the first ones and n_patches. */
static int columns_of(const sw_predictor *p)
{
    int classes = sw_predictor_classes(p);
    return sw_predictor_survival(p) && classes == 1 ? 0 : classes;
}

static void put_number(sw_buf *csv, const char *fmt, double value)
{
    char text[64];
    snprintf(text, sizeof text, fmt, value);
    sw_csv_put(csv, text, false);
}

static void put_row(const sw_predictor *p, const sw_slide_prediction *s, bool cases, sw_buf *csv)
{
    sw_csv_put(csv, s->slide_id, false);
    if (cases) put_number(csv, "%.0f", (double)s->n_slides);
    if (s->survival) put_number(csv, "%.9g", s->risk);
    else sw_csv_put(csv, sw_predictor_class(p, s->predicted), false);
    for (int i = 0; i < columns_of(p); i++) put_number(csv, "%.9g", s->probability[i]);
    put_number(csv, "%.0f", (double)s->n_patches);
    put_number(csv, "%.2f", s->seconds);
    sw_csv_put(csv, "", true);
}

static void put_failure(const sw_predictor *p, const char *id, bool cases, const char *reason, sw_buf *csv)
{
    sw_csv_put(csv, id, false);
    for (int i = 0; i < columns_of(p) + 3 + cases; i++) sw_csv_put(csv, "", false);
    sw_csv_put(csv, reason, true);
}

/* One row of the table; false: stop, *status says why. */
static bool take_result(const sw_predictor *p, const char *id, bool cases, sw_slide_prediction *prediction, sw_status *status,
                        sw_buf *csv, size_t *failures, sw_error *err)
{
    if (*status == SW_E_CANCELLED || *status == SW_E_NOMEM) return false;
    if (*status == SW_OK) {
        put_row(p, prediction, cases, csv);
    } else {
        fprintf(stderr, "slidewise: %s\n", err->message);
        put_failure(p, id, cases, err->message, csv);
        ++*failures;
    }
    sw_slide_prediction_free(prediction);
    *status = SW_OK;
    return true;
}

/* Where the best patches of each slide go. */
typedef struct best {
    const char *dir; /* NULL: nowhere */
    int64_t count;
} best;

static sw_status check_best(const cli_args *args, best *out, sw_error *err)
{
    *out = (best){cli_text(args, "best", NULL), cli_int(args, "best-count", 512)};
    if (!out->dir && cli_given(args, "best-count")) return sw_error_set(err, SW_E_INVALID, "--best-count goes with --best DIR");
    if (out->dir && cli_given(args, "cases"))
        return sw_error_set(err, SW_E_INVALID, "--best: the best patches of a case lie on several slides; leave --cases out");
    if (out->count < 1) return sw_error_set(err, SW_E_INVALID, "--best-count: %lld; give a number above 0", (long long)out->count);
    return SW_OK;
}

/* Predicts every slide; *failures counts those that keep only their reason. */
static sw_status predict_all(sw_predictor *p, const sw_slide_list *list, const best *best, sw_buf *csv, size_t *failures, sw_error *err)
{
    sw_status status = SW_OK;
    put_header(p, false, csv);
    for (size_t i = 0; i < list->count; i++) {
        const sw_slide_entry *slide = &list->entry[i];
        sw_slide_prediction prediction = {0};
        status = sw_predictor_slide(p, slide->path, slide->mpp_um, &prediction, err);
        if (status == SW_OK && best->dir) status = sw_slide_prediction_write_best(&prediction, best->count, best->dir, err);
        if (!take_result(p, slide->slide_id, false, &prediction, &status, csv, failures, err)) return status;
    }
    return sw_buf_status(csv, err);
}

/* The slides of one case, by a table of case_id and slide_id. */
typedef struct case_slides {
    const char **path;
    double *mpp_um;
    int64_t n;
} case_slides;

static sw_status find_case(const sw_csv *table, size_t row, int kase, int slide, const sw_slide_list *list, case_slides *out, sw_error *err)
{
    const char *id = sw_csv_cell(table, row, (size_t)kase);
    out->n = 0;
    for (size_t r = row; r < sw_csv_rows(table); r++) {
        if (strcmp(sw_csv_cell(table, r, (size_t)kase), id) != 0) continue;
        const char *slide_id = sw_csv_cell(table, r, (size_t)slide);
        const sw_slide_entry *entry = sw_slide_list_find(list, slide_id);
        if (!entry)
            return sw_error_set(err, SW_E_NOT_FOUND, "%s:%lld: slide '%s' of case '%s' is none of the slides given", sw_csv_path(table),
                                (long long)sw_csv_line(table, r), slide_id, id);
        out->path[out->n] = entry->path;
        out->mpp_um[out->n++] = entry->mpp_um;
    }
    return SW_OK;
}

static bool seen_before(const sw_csv *table, size_t row, int kase)
{
    for (size_t r = 0; r < row; r++) {
        if (strcmp(sw_csv_cell(table, r, (size_t)kase), sw_csv_cell(table, row, (size_t)kase)) == 0) return true;
    }
    return false;
}

/* Predicts every case of the table, its slides as one bag. */
static sw_status predict_cases(sw_predictor *p, const char *path, const sw_slide_list *list, sw_buf *csv, size_t *failures,
                               size_t *count, sw_error *err)
{
    SW_CLEANUP(sw_csv_free_ptr) sw_csv *table = NULL;
    SW_TRY(sw_csv_read(path, true, &table, err));
    int kase = sw_csv_find(table, "case_id"), slide = sw_csv_find(table, "slide_id");
    if (kase < 0 || slide < 0)
        return sw_error_set(err, SW_E_FORMAT, "%s: --cases needs a table with the columns case_id and slide_id", path);
    SW_AUTOFREE const char **paths = sw_calloc(sw_csv_rows(table) + 1, sizeof *paths);
    SW_AUTOFREE double *mpp_um = sw_calloc(sw_csv_rows(table) + 1, sizeof *mpp_um);
    if (!paths || !mpp_um) return sw_nomem(err);
    case_slides slides = {paths, mpp_um, 0};
    put_header(p, true, csv);
    for (size_t row = 0; row < sw_csv_rows(table); row++) {
        const char *id = sw_csv_cell(table, row, (size_t)kase);
        sw_slide_prediction prediction = {0};
        if (seen_before(table, row, kase)) continue;
        sw_status status = find_case(table, row, kase, slide, list, &slides, err);
        if (status == SW_OK) status = sw_predictor_case(p, id, slides.path, slides.mpp_um, slides.n, &prediction, err);
        if (!take_result(p, id, true, &prediction, &status, csv, failures, err)) return status;
        ++*count;
    }
    return sw_buf_status(csv, err);
}

/* path NULL: standard output. */
static sw_status write_table(const char *path, const sw_buf *csv, sw_error *err)
{
    SW_TRY(sw_buf_status(csv, err));
    if (path) return sw_file_write(path, csv->data, csv->size, err);
    if (fwrite(csv->data, 1, csv->size, stdout) != csv->size || fflush(stdout) != 0)
        return sw_error_set(err, SW_E_IO, "standard output: writing the predictions failed; give a file with -o");
    return SW_OK;
}

/* Slides, or of a run that takes features these, unless they are found by their slides. */
static sw_status list_operands(const cli_args *args, const sw_predictor *p, sw_slide_list *list, sw_error *err)
{
    size_t n = cli_operand_count(args) - 1;
    SW_TRY(cli_check_features(args, p, false, err));
    if (sw_predictor_feature_dim(p) == 0 || cli_given(args, "features")) return cli_slide_list(args, 1, n, list, err);
    SW_AUTOFREE const char **operand = sw_calloc(n + 1, sizeof *operand);
    if (!operand) return sw_nomem(err);
    for (size_t i = 0; i < n; i++) operand[i] = cli_operand(args, i + 1);
    return sw_store_features_list(operand, n, list, err);
}

static sw_status predict(const cli_args *args, size_t *failures, sw_error *err)
{
    SW_CLEANUP(sw_slide_list_free) sw_slide_list list = {0};
    SW_CLEANUP(sw_buf_free) sw_buf csv = {0};
    SW_CLEANUP(sw_predictor_close) sw_predictor *predictor = NULL;
    sw_predictor_options o = sw_predictor_options_default();
    best best_patches;
    SW_TRY(check_best(args, &best_patches, err));
    o.checkpoint = cli_text(args, "checkpoint", NULL);
    o.backend = cli_text(args, "backend", NULL);
    o.precision = cli_text(args, "precision", NULL);
    o.threads = (int)cli_int(args, "threads", 0);
    o.chunk_patches = cli_int(args, "chunk", 0);
    o.slide_mpp_um = cli_real(args, "slide-mpp", 0.0);
    o.coords = cli_text(args, "coords", NULL);
    o.features = cli_text(args, "features", NULL);
    o.sink = cli_sink();
    SW_TRY(sw_predictor_open(cli_operand(args, 0), &o, &predictor, err));
    SW_TRY(list_operands(args, predictor, &list, err));
    const char *path = cli_text(args, "output", NULL);
    if (path) SW_TRY(sw_file_probe(path, err)); /* before the work, not after it */
    const char *cases = cli_text(args, "cases", NULL);
    size_t count = cases ? 0 : list.count;
    sw_status status = cases ? predict_cases(predictor, cases, &list, &csv, failures, &count, err)
                             : predict_all(predictor, &list, &best_patches, &csv, failures, err);
    if (status != SW_OK && status != SW_E_CANCELLED) return status;
    SW_TRY(write_table(path, &csv, err)); /* when interrupted: the slides that are done */
    SW_TRY(status);
    if (path) printf("%zu %s predicted, %zu failed: %s\n", count - *failures, cases ? "cases" : "slides", *failures, path);
    return SW_OK;
}

static int run(const cli_args *args)
{
    sw_error err = {0};
    size_t failures = 0;
    if (predict(args, &failures, &err) != SW_OK) return cli_fail(&err);
    return failures > 0 ? 1 : 0;
}

const cli_command cli_cmd_predict = {
    .name = "predict",
    .operands = "RUN SLIDE|DIR|CSV...",
    .summary = "predict slides with a trained run, straight from their files",
    .text = "Each slide is segmented, tiled and encoded as the run's training data was; memory holds one chunk of "
            "patches and the features. No store and no labels are needed.\n\n"
            "Writes a CSV with one row per slide: slide_id, predicted, one column of probabilities per class, "
            "n_patches, seconds, error. Of a survival run: risk (the larger the sooner) and the probability to be without the "
            "event at the end of each bin of time (s_<time>, s_end). A slide that cannot be read or holds no tissue keeps its row with the reason, "
            "and the exit status is 1.\n\n"
            "Of a run that was trained on features (data.features), give files of features or their folder in place of slides; or slides, and "
            "--features DIR.",
    .examples = "slidewise predict runs/a slides/ -o predictions.csv\n"
                "slidewise predict runs/a scan.tif --slide-mpp 0.25\n"
                "slidewise predict runs/a slides/ -o predictions.csv --best best/ --best-count 512",
    .min_operands = 2,
    .max_operands = -1,
    .computes = true,
    .options = options,
    .run = run,
};
