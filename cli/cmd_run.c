/* SPDX-License-Identifier: Apache-2.0 */
/* slidewise run: slides and a label table in, a trained model, metrics, heatmaps and a report out. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/csv.h"
#include "base/fs.h"
#include "base/mem.h"
#include "cli.h"
#include "slidewise/eval.h"
#include "slidewise/explain.h"
#include "slidewise/predict.h"
#include "slidewise/report.h"
#include "slidewise/survival.h"
#include "slidewise/train.h"
#include "slides.h"

enum { MAX_SETS = 64 };

static const cli_option options[] = {
    {"output", 'o', CLI_PATH, "DIR", "run directory (required)"},
    {"config", 0, CLI_PATH, "FILE", "configuration to start from (default: the built-in one)"},
    {"set", 0, CLI_LIST, "KEY=VALUE", "override one key of the configuration; may be repeated"},
    {"weights", 0, CLI_PATH, "FILE", "encoder weights (the same as --set encoder.weights=FILE)"},
    {"heatmaps", 0, CLI_INT, "N", "test slides to draw heatmaps of (default 6)"},
    {"foci", 0, CLI_PATH, "DIR", "true outlines (DIR/SLIDE.geojson) to score the heatmaps against"},
    CLI_TILE_OPTIONS,
    {NULL, 0, CLI_FLAG, NULL, NULL},
};

typedef struct job {
    const cli_args *args;
    const char *out, *labels;
    char *store, *heatmaps;
    sw_slide_list slides;
    sw_tile_result tiled;
    sw_buf failures;  /* failures.csv: what the report tells of slides that could not be used */
    int64_t undrawn;  /* slides whose heatmap failed */
} job;

static void job_free(job *j)
{
    sw_free(j->store);
    sw_free(j->heatmaps);
    sw_slide_list_free(&j->slides);
    sw_tile_result_free(&j->tiled);
    sw_buf_free(&j->failures);
}

/* The operands before the last are slides, the last is the label table. */
static sw_status job_begin(job *j, const cli_args *args, sw_error *err)
{
    size_t n = cli_operand_count(args) - 1;
    j->args = args;
    j->out = cli_text(args, "output", NULL);
    j->labels = cli_operand(args, n);
    j->store = sw_path_join(j->out, "store");
    j->heatmaps = sw_path_join(j->out, "heatmaps");
    if (!j->store || !j->heatmaps) return sw_nomem(err);
    SW_TRY(cli_slide_list(args, 0, n, &j->slides, err));
    return sw_mkdir_p(j->out, err);
}

static void add_failure(job *j, const char *slide_id, const char *stage, const char *reason)
{
    if (j->failures.size == 0) sw_buf_puts(&j->failures, "slide_id,stage,reason\n");
    sw_csv_put(&j->failures, slide_id, false);
    sw_csv_put(&j->failures, stage, false);
    sw_csv_put(&j->failures, reason, true);
}

static sw_status write_failures(const job *j, sw_error *err)
{
    SW_AUTOFREE char *path = sw_path_join(j->out, "failures.csv");
    if (!path) return sw_nomem(err);
    SW_TRY(sw_buf_status(&j->failures, err));
    if (j->failures.size == 0) return sw_file_remove(path, err); /* of an earlier call */
    return sw_file_write(path, j->failures.data, j->failures.size, err);
}

static sw_status tile(job *j, sw_error *err)
{
    sw_tile_options o;
    SW_TRY(cli_tile_options(j->args, &o, err));
    o.store = j->store;
    printf("1/5 tile: %zu slides into %s\n", j->slides.count, j->store);
    fflush(stdout);
    SW_TRY(sw_tile(&o, &j->slides, &j->tiled, err));
    cli_tile_print(&j->tiled, j->store, true);
    for (size_t i = 0; i < j->tiled.count; i++)
        if (j->tiled.row[i].reason) add_failure(j, j->tiled.row[i].slide_id, "tile", j->tiled.row[i].reason);
    SW_TRY(write_failures(j, err));
    if (j->tiled.n_failed > 0 && !cli_flag(j->args, "allow-failures"))
        return sw_error_set(err, SW_E_INVALID,
                            "%zu of %zu slides could not be tiled (see %s/failures.csv); mend or remove them, or give "
                            "--allow-failures to go on without them",
                            j->tiled.n_failed, j->tiled.count, j->out);
    return SW_OK;
}

static sw_status train(job *j, sw_train_result *result, sw_error *err)
{
    SW_AUTOFREE char *line = cli_line(j->args);
    const char *sets[MAX_SETS + 4];
    SW_AUTOFREE char *store = sw_asprintf("data.store=%s", j->store);
    SW_AUTOFREE char *labels = sw_asprintf("data.labels=%s", j->labels);
    SW_AUTOFREE char *out = sw_asprintf("run.out=%s", j->out);
    const char *weights = cli_text(j->args, "weights", NULL);
    SW_AUTOFREE char *init = sw_asprintf("encoder.weights=%s", weights ? weights : "");
    if (!store || !labels || !out || !init) return sw_nomem(err);
    sw_train_options o = sw_train_options_default();
    for (size_t i = 0; i < cli_list_count(j->args, "set"); i++) sets[o.n_sets++] = cli_list_item(j->args, "set", i);
    sets[o.n_sets++] = store;
    sets[o.n_sets++] = labels;
    sets[o.n_sets++] = out;
    if (weights) sets[o.n_sets++] = init;
    o.sets = sets;
    o.config_path = cli_text(j->args, "config", NULL);
    o.command = line;
    o.resume = true;
    o.sink = cli_sink();
    printf("2/5 train\n");
    fflush(stdout);
    SW_TRY(sw_train(&o, result, err));
    if (result->cancelled)
        return sw_error_set(err, SW_E_CANCELLED, "interrupted; the same command goes on from the last checkpoint");
    printf("    %lld epochs, %lld steps%s", (long long)result->epochs, (long long)result->steps,
           result->stopped_early ? ", stopped early" : "");
    if (!isnan(result->best_metric)) printf("; best %s %.4f at epoch %d", result->metric, result->best_metric, result->best_epoch);
    else if (!isnan(result->best_loss)) printf("; best validation loss %.4f at epoch %d", result->best_loss, result->best_epoch);
    printf("\n");
    return SW_OK;
}

static sw_status text_of(const char *metrics, bool survival, char **text, sw_error *err)
{
    sw_evaluation e = {0};
    sw_survival_evaluation risks = {0};
    SW_TRY(survival ? sw_survival_evaluation_read(metrics, &risks, err) : sw_evaluation_read(metrics, &e, err));
    sw_status status = survival ? sw_survival_evaluation_text(&risks, text, err) : sw_evaluation_text(&e, text, err);
    sw_survival_evaluation_free(&risks);
    sw_evaluation_free(&e);
    return status;
}

/* Training has measured its splits as the configuration says; here they are shown. */
static sw_status evaluate(job *j, sw_error *err)
{
    static const char *const splits[] = {"val", "test"};
    printf("3/5 evaluate\n");
    for (size_t i = 0; i < sizeof splits / sizeof splits[0]; i++) {
        char *text = NULL;
        SW_AUTOFREE char *metrics = sw_asprintf("%s/metrics_%s.json", j->out, splits[i]);
        SW_AUTOFREE char *table = sw_asprintf("%s/predictions_%s.csv", j->out, splits[i]);
        if (!metrics || !table) return sw_nomem(err);
        if (!sw_path_exists(metrics)) continue;
        sw_status status = text_of(metrics, sw_survival_predictions_is(table), &text, err);
        if (status == SW_OK) printf("\n%s\n", text);
        sw_evaluation_text_free(text);
        SW_TRY(status);
    }
    return SW_OK;
}

/* Slides to draw: test slides, one class after the other so that each is shown. */
static size_t choose(const sw_predictions *p, size_t wanted, const char **slide)
{
    size_t n = 0;
    for (int64_t round = 0; round < p->count && n < wanted; round++) {
        for (int c = 0; c < p->n_classes && n < wanted; c++) {
            int64_t seen = 0;
            for (int64_t i = 0; i < p->count; i++) {
                if (p->label[i] != c || seen++ != round) continue;
                slide[n++] = p->slide_id[i];
                break;
            }
        }
    }
    return n;
}

static int by_rising_risk(const void *a, const void *b, void *risks)
{
    const double *risk = risks;
    int64_t i = *(const int64_t *)a, j = *(const int64_t *)b;
    if (risk[i] != risk[j]) return risk[i] < risk[j] ? -1 : 1;
    return (i > j) - (i < j);
}

/* The first slide of a case: where a bag is a case, its id is the case's. */
static const char *slide_of(const sw_csv *labels, const char *case_id)
{
    int slide = sw_csv_find(labels, "slide_id"), kase = sw_csv_find(labels, "case_id");
    for (size_t r = 0; slide >= 0 && kase >= 0 && r < sw_csv_rows(labels); r++) {
        if (strcmp(sw_csv_cell(labels, r, (size_t)kase), case_id) == 0) return sw_csv_cell(labels, r, (size_t)slide);
    }
    return case_id;
}

/* A slide of the highest risk, of the lowest, of the second highest, … */
static sw_status choose_risks(const sw_survival_predictions *p, const sw_csv *labels, size_t wanted, const char **slide, size_t *n,
                              sw_error *err)
{
    SW_AUTOFREE int64_t *order = sw_calloc((size_t)p->count + 1, sizeof *order);
    if (!order) return sw_nomem(err);
    for (int64_t i = 0; i < p->count; i++) order[i] = i;
    qsort_r(order, (size_t)p->count, sizeof *order, by_rising_risk, p->risk);
    for (int64_t low = 0, high = p->count - 1; low <= high && *n < wanted; ++*n)
        slide[*n] = slide_of(labels, p->case_id[order[*n % 2 == 0 ? high-- : low++]]);
    return SW_OK;
}

/* Which slides of predictions_test.csv are drawn: [*n] in `slide`, which has room for `wanted`; texts are of the tables. */
typedef struct tables {
    sw_predictions classes;
    sw_survival_predictions risks;
    sw_csv *labels;
} tables;

static void tables_free(tables *t)
{
    sw_predictions_free(&t->classes);
    sw_survival_predictions_free(&t->risks);
    sw_csv_free(t->labels);
}

static sw_status choose_slides(const job *j, const char *path, size_t wanted, tables *t, const char **slide, size_t *n, sw_error *err)
{
    *n = 0;
    if (!sw_survival_predictions_is(path)) {
        SW_TRY(sw_predictions_read(path, &t->classes, err));
        *n = choose(&t->classes, wanted, slide);
        return SW_OK;
    }
    SW_TRY(sw_survival_predictions_read(path, &t->risks, err));
    SW_TRY(sw_csv_read(j->labels, true, &t->labels, err));
    return choose_risks(&t->risks, t->labels, wanted, slide, n, err);
}

typedef struct drawing {
    job *job;
    sw_predictor *predictor;
    const char **class_name;
    bool no_attention; /* the aggregator has none: there is nothing to draw */
    int64_t drawn;
    double auc, hits, expected; /* sums over the slides with a score */
    int64_t scored, found, foci;
} drawing;

static void add_score(drawing *d, const sw_focus_score *focus)
{
    if (isnan(focus->auc)) return;
    d->auc += focus->auc;
    d->hits += focus->top_hits;
    d->expected += focus->top_expected;
    d->foci += focus->n_foci;
    d->found += focus->n_found;
    d->scored++;
}

static sw_status draw_one(drawing *d, const sw_slide_entry *entry, sw_error *err)
{
    SW_CLEANUP(sw_slide_prediction_free) sw_slide_prediction prediction = {0};
    SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
    sw_focus_score focus = {.auc = NAN};
    sw_slide_options so = sw_slide_options_default();
    sw_explain_options eo = sw_explain_options_default();
    const char *foci_dir = cli_text(d->job->args, "foci", NULL);
    SW_AUTOFREE char *foci = foci_dir ? sw_asprintf("%s/%s.geojson", foci_dir, entry->slide_id) : NULL;
    if (foci_dir && !foci) return sw_nomem(err);
    so.mpp_um = entry->mpp_um;
    eo.slide_mpp_um = cli_real(d->job->args, "slide-mpp", 0.0);
    eo.foci = foci && sw_path_exists(foci) ? foci : NULL;
    eo.sink = cli_sink();
    SW_TRY(sw_predictor_slide(d->predictor, entry->path, entry->mpp_um, &prediction, err));
    d->no_attention = prediction.n_heads == 0;
    if (d->no_attention) return SW_OK;
    SW_TRY(sw_slide_open(entry->path, &so, &slide, err));
    SW_TRY(sw_explain_slide(slide, &prediction, d->class_name, d->job->heatmaps, &eo, &focus, err));
    if (eo.foci) add_score(d, &focus);
    d->drawn++;
    return SW_OK;
}

/* A slide that fails does not stop the others; it is listed in failures.csv. */
static sw_status draw_slides(drawing *d, const char *const *slide, size_t n, sw_error *err)
{
    job *j = d->job;
    for (size_t i = 0; i < n && !d->no_attention; i++) {
        const char *slide_id = slide[i];
        const sw_slide_entry *entry = sw_slide_list_find(&j->slides, slide_id);
        if (!entry) continue; /* tiled earlier, its file was not given this time */
        sw_status status = draw_one(d, entry, err);
        if (status == SW_E_CANCELLED || status == SW_E_NOMEM || status == SW_E_NOSPACE) return status;
        if (status == SW_OK) continue;
        fprintf(stderr, "slidewise: %s: %s\n", slide_id, err->message);
        add_failure(j, slide_id, "heatmap", err->message);
        j->undrawn++;
    }
    if (d->no_attention) printf("    none: this aggregator has no attention\n");
    else printf("    %lld slides in %s\n", (long long)d->drawn, j->heatmaps);
    return j->undrawn > 0 ? write_failures(j, err) : SW_OK;
}

static sw_status write_focus(const drawing *d, sw_error *err)
{
    if (d->scored == 0) return SW_OK;
    double n = (double)d->scored;
    SW_CLEANUP(sw_buf_free) sw_buf text = {0};
    SW_AUTOFREE char *path = sw_path_join(d->job->out, "focus.json");
    if (!path) return sw_nomem(err);
    printf("    heatmaps against the true foci, %lld slides: patch AUC %.3f; top patches in a focus %.2f (by chance %.2f); "
           "foci found %lld of %lld\n",
           (long long)d->scored, d->auc / n, d->hits / n, d->expected / n, (long long)d->found, (long long)d->foci);
    sw_buf_printf(&text,
                  "{\"slides\": %lld, \"auc\": %.6f, \"top_hits\": %.6f, \"top_expected\": %.6f, \"found\": %lld, "
                  "\"foci\": %lld}\n",
                  (long long)d->scored, d->auc / n, d->hits / n, d->expected / n, (long long)d->found, (long long)d->foci);
    SW_TRY(sw_buf_status(&text, err));
    return sw_file_write(path, text.data, text.size, err);
}

static sw_status draw(job *j, sw_error *err)
{
    int64_t wanted = cli_int(j->args, "heatmaps", 6);
    SW_CLEANUP(tables_free) tables t = {0};
    SW_CLEANUP(sw_predictor_close) sw_predictor *predictor = NULL;
    SW_AUTOFREE char *path = sw_path_join(j->out, "predictions_test.csv");
    if (!path) return sw_nomem(err);
    printf("4/5 heatmaps\n");
    fflush(stdout);
    if (wanted < 1 || !sw_path_exists(path)) return SW_OK;
    size_t n = 0;
    SW_AUTOFREE const char **slide = sw_calloc((size_t)wanted, sizeof *slide);
    if (!slide) return sw_nomem(err);
    SW_TRY(choose_slides(j, path, (size_t)wanted, &t, slide, &n, err));
    sw_predictor_options o = sw_predictor_options_default();
    o.slide_mpp_um = cli_real(j->args, "slide-mpp", 0.0);
    o.threads = (int)cli_int(j->args, "threads", 0);
    o.sink = cli_sink();
    SW_TRY(sw_predictor_open(j->out, &o, &predictor, err));
    int classes = sw_predictor_classes(predictor);
    SW_AUTOFREE const char **name = sw_calloc((size_t)classes, sizeof *name);
    if (!name) return sw_nomem(err);
    for (int i = 0; i < classes; i++) name[i] = sw_predictor_class(predictor, i);
    drawing d = {.job = j, .predictor = predictor, .class_name = name};
    SW_TRY(draw_slides(&d, slide, n, err));
    return write_focus(&d, err);
}

static sw_status report(job *j, sw_error *err)
{
    sw_report_options o = sw_report_options_default();
    o.sink = cli_sink();
    printf("5/5 report\n");
    SW_TRY(sw_report_write(j->out, NULL, &o, err));
    printf("\nreport: %s/report.html\n", j->out);
    return SW_OK;
}

static sw_status run_all(job *j, const cli_args *args, sw_error *err)
{
    sw_train_result trained;
    SW_TRY(job_begin(j, args, err));
    SW_TRY(tile(j, err));
    SW_TRY(train(j, &trained, err));
    SW_TRY(evaluate(j, err));
    SW_TRY(draw(j, err));
    return report(j, err);
}

static int run(const cli_args *args)
{
    sw_error err = {0};
    job j = {0};
    if (!cli_text(args, "output", NULL)) return cli_misuse("run needs a run directory: give -o DIR");
    if (cli_list_count(args, "set") > MAX_SETS) return cli_misuse("--set can be given at most %d times", MAX_SETS);
    sw_status status = run_all(&j, args, &err);
    job_free(&j);
    if (status == SW_OK) return j.undrawn > 0 && !cli_flag(args, "allow-failures") ? 1 : 0;
    int code = cli_fail(&err);
    return status == SW_E_CANCELLED ? 130 : code;
}

const cli_command cli_cmd_run = {
    .name = "run",
    .operands = "SLIDES... LABELS.csv",
    .summary = "Everything: tile, train, evaluate, heatmaps, report",
    .text = "SLIDES are slide files, folders or CSV tables; the last operand is the label table. Each stage goes on where "
            "it stopped: slides that are in DIR/store are not tiled again, training resumes from its last checkpoint.\n"
            "A slide that cannot be tiled stops the run after the table that says why, unless --allow-failures is given.",
    .examples = "slidewise run slides/ labels.csv -o runs/first\n"
                "slidewise run slides/ labels.csv -o runs/r18 --weights resnet18-f37072fd.pth --mpp 1.0",
    .min_operands = 2,
    .max_operands = -1,
    .computes = true,
    .options = options,
    .run = run,
};
