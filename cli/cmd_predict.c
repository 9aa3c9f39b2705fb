/* SPDX-License-Identifier: Apache-2.0 */
/* slidewise predict: class probabilities of slides, straight from their files. */
#include <stdio.h>

#include "base/buf.h"
#include "base/csv.h"
#include "base/fs.h"
#include "base/mem.h"
#include "cli.h"
#include "slidewise/predict.h"
#include "slides.h"

static const cli_option options[] = {
    {"output", 'o', CLI_PATH, "FILE", "CSV to write (default: standard output)"},
    {"checkpoint", 0, CLI_TEXT, "NAME", "best (default), last, or the path of a checkpoint"},
    CLI_COORDS_OPTION,
    CLI_MPP_OPTIONS,
    {"chunk", 0, CLI_INT, "N", "patches encoded at a time (default: the run's eval.chunk_patches)"},
    {"threads", 't', CLI_INT, "N", "threads (default: all CPUs)"},
    {"backend", 0, CLI_TEXT, "NAME", "cpu or ref (default: the run's)"},
    {"precision", 0, CLI_TEXT, "NAME", "auto, fp32 or bf16 (default: the run's)"},
    {NULL, 0, CLI_FLAG, NULL, NULL},
};

static void put_header(const sw_predictor *p, sw_buf *csv)
{
    sw_csv_put(csv, "slide_id", false);
    sw_csv_put(csv, "predicted", false);
    for (int i = 0; i < sw_predictor_classes(p); i++) {
        char name[256];
        snprintf(name, sizeof name, "p_%s", sw_predictor_class(p, i));
        sw_csv_put(csv, name, false);
    }
    sw_csv_put(csv, "n_patches", false);
    sw_csv_put(csv, "seconds", false);
    sw_csv_put(csv, "error", true);
}

static void put_number(sw_buf *csv, const char *fmt, double value)
{
    char text[64];
    snprintf(text, sizeof text, fmt, value);
    sw_csv_put(csv, text, false);
}

static void put_row(const sw_predictor *p, const sw_slide_prediction *s, sw_buf *csv)
{
    sw_csv_put(csv, s->slide_id, false);
    sw_csv_put(csv, sw_predictor_class(p, s->predicted), false);
    for (int i = 0; i < s->n_classes; i++) put_number(csv, "%.9g", s->probability[i]);
    put_number(csv, "%.0f", (double)s->n_patches);
    put_number(csv, "%.2f", s->seconds);
    sw_csv_put(csv, "", true);
}

static void put_failure(const sw_predictor *p, const char *slide_id, const char *reason, sw_buf *csv)
{
    sw_csv_put(csv, slide_id, false);
    for (int i = 0; i < sw_predictor_classes(p) + 3; i++) sw_csv_put(csv, "", false);
    sw_csv_put(csv, reason, true);
}

/* Predicts every slide; *failures counts those that keep only their reason. */
static sw_status predict_all(sw_predictor *p, const sw_slide_list *list, sw_buf *csv, size_t *failures, sw_error *err)
{
    put_header(p, csv);
    for (size_t i = 0; i < list->count; i++) {
        const sw_slide_entry *slide = &list->entry[i];
        sw_slide_prediction prediction = {0};
        sw_status status = sw_predictor_slide(p, slide->path, slide->mpp_um, &prediction, err);
        if (status == SW_E_CANCELLED || status == SW_E_NOMEM) return status;
        if (status == SW_OK) {
            put_row(p, &prediction, csv);
        } else {
            fprintf(stderr, "slidewise: %s\n", err->message);
            put_failure(p, slide->slide_id, err->message, csv);
            ++*failures;
        }
        sw_slide_prediction_free(&prediction);
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

static sw_status predict(const cli_args *args, size_t *failures, sw_error *err)
{
    SW_CLEANUP(sw_slide_list_free) sw_slide_list list = {0};
    SW_CLEANUP(sw_buf_free) sw_buf csv = {0};
    SW_CLEANUP(sw_predictor_close) sw_predictor *predictor = NULL;
    sw_predictor_options o = sw_predictor_options_default();
    o.checkpoint = cli_text(args, "checkpoint", NULL);
    o.backend = cli_text(args, "backend", NULL);
    o.precision = cli_text(args, "precision", NULL);
    o.threads = (int)cli_int(args, "threads", 0);
    o.chunk_patches = cli_int(args, "chunk", 0);
    o.slide_mpp_um = cli_real(args, "slide-mpp", 0.0);
    o.coords = cli_text(args, "coords", NULL);
    o.sink = cli_sink();
    SW_TRY(sw_predictor_open(cli_operand(args, 0), &o, &predictor, err));
    SW_TRY(cli_slide_list(args, 1, cli_operand_count(args) - 1, &list, err));
    const char *path = cli_text(args, "output", NULL);
    if (path) SW_TRY(sw_file_probe(path, err)); /* before the work, not after it */
    sw_status status = predict_all(predictor, &list, &csv, failures, err);
    if (status != SW_OK && status != SW_E_CANCELLED) return status;
    SW_TRY(write_table(path, &csv, err)); /* when interrupted: the slides that are done */
    SW_TRY(status);
    if (path) printf("%zu slides predicted, %zu failed: %s\n", list.count - *failures, *failures, path);
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
            "n_patches, seconds, error. A slide that cannot be read or holds no tissue keeps its row with the reason, "
            "and the exit status is 1.",
    .examples = "slidewise predict runs/a slides/ -o predictions.csv\n"
                "slidewise predict runs/a scan.tif --slide-mpp 0.25",
    .min_operands = 2,
    .max_operands = -1,
    .options = options,
    .run = run,
};
