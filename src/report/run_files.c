/* SPDX-License-Identifier: Apache-2.0 */
#include "report/run_files.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void sw_run_files_free(sw_run_files *run)
{
    sw_buf_free(&run->config);
    sw_json_free(run->dataset);
    for (size_t i = 0; i < run->n_events; i++) sw_json_free(run->event[i]);
    sw_free(run->event);
    sw_csv_free(run->failures);
    for (size_t i = 0; i < run->n_splits; i++) {
        sw_free(run->split[i].name);
        sw_evaluation_free(&run->split[i].eval);
        sw_predictions_free(&run->split[i].preds);
        sw_survival_evaluation_free(&run->split[i].survival);
        sw_survival_predictions_free(&run->split[i].risks);
    }
    sw_free(run->split);
    for (size_t i = 0; i < run->n_heatmaps; i++) {
        sw_free(run->heatmap[i].slide_id);
        sw_free(run->heatmap[i].png);
        sw_free(run->heatmap[i].top);
        sw_json_free(run->heatmap[i].info);
    }
    sw_free(run->heatmap);
    sw_names_free(&run->problems);
    *run = (sw_run_files){0};
}

/* A piece that could not be read becomes a sentence; only lack of memory stops the report. */
static sw_status forgive(sw_run_files *run, sw_status status, sw_error *err)
{
    if (status == SW_OK) return SW_OK;
    if (status == SW_E_NOMEM) return status;
    return sw_names_add(&run->problems, err->message, err);
}

static sw_status note(sw_run_files *run, sw_error *err, const char *fmt, const char *a, long long n)
{
    SW_AUTOFREE char *text = sw_asprintf("%s: line %lld %s", a, n, fmt);
    if (!text) return sw_nomem(err);
    return sw_names_add(&run->problems, text, err);
}

static sw_status read_log(sw_run_files *run, const char *path, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf text = {0};
    long long line = 0;
    SW_TRY(sw_file_read(path, &text, err));
    for (size_t at = 0; at < text.size;) {
        const char *start = text.data + at, *end = memchr(start, '\n', text.size - at);
        size_t size = end ? (size_t)(end - start) : text.size - at;
        SW_CLEANUP(sw_json_free_ptr) sw_json *event = NULL;
        sw_error why = {0};
        at += size + 1;
        line++;
        if (strspn(start, " \t\r") >= size) continue;
        if (sw_json_parse(start, size, path, &event, &why) != SW_OK || !sw_json_is_object(event)) {
            if (why.code == SW_E_NOMEM) return sw_nomem(err);
            SW_TRY(note(run, err, end ? "is not a JSON object and is left out" : "was cut off (a run that was killed?) and is left out",
                        path, line));
            continue;
        }
        SW_TRY(sw_grow(&run->event, &run->events_capacity, run->n_events + 1, sizeof *run->event, err));
        run->event[run->n_events++] = SW_STEAL(event);
    }
    return SW_OK;
}

static sw_status read_config(sw_run_files *run, const char *path, sw_error *err)
{
    return sw_file_read(path, &run->config, err);
}

static sw_status read_dataset(sw_run_files *run, const char *path, sw_error *err)
{
    return sw_json_read(path, &run->dataset, err);
}

static sw_status read_failures(sw_run_files *run, const char *path, sw_error *err)
{
    return sw_csv_read(path, true, &run->failures, err);
}

static sw_status read_piece(sw_run_files *run, const char *name,
                            sw_status (*read)(sw_run_files *, const char *, sw_error *), sw_error *err)
{
    SW_AUTOFREE char *path = sw_path_join(run->dir, name);
    if (!path) return sw_nomem(err);
    if (!sw_path_exists(path)) return SW_OK;
    return forgive(run, read(run, path, err), err);
}

/* ---- splits ---- */

static int split_order(const char *name)
{
    return strcmp(name, "test") == 0 ? 0 : strcmp(name, "val") == 0 ? 1 : strcmp(name, "train") == 0 ? 2 : 3;
}

static int by_split(const void *a, const void *b)
{
    const sw_run_split *x = a, *y = b;
    int d = split_order(x->name) - split_order(y->name);
    return d ? d : strcmp(x->name, y->name);
}

const sw_run_split *sw_run_split_find(const sw_run_files *run, const char *name)
{
    for (size_t i = 0; i < run->n_splits; i++) {
        if (strcmp(run->split[i].name, name) == 0) return &run->split[i];
    }
    return NULL;
}

static sw_status split_for(sw_run_files *run, const char *name, size_t size, sw_run_split **out, sw_error *err)
{
    for (size_t i = 0; i < run->n_splits; i++) {
        *out = &run->split[i];
        if (strlen(run->split[i].name) == size && strncmp(run->split[i].name, name, size) == 0) return SW_OK;
    }
    SW_TRY(sw_grow(&run->split, &run->splits_capacity, run->n_splits + 1, sizeof *run->split, err));
    *out = &run->split[run->n_splits];
    **out = (sw_run_split){.name = sw_strndup(name, size)};
    if (!(*out)->name) return sw_nomem(err);
    run->n_splits++;
    return SW_OK;
}

static bool wears(const char *name, const char *prefix, const char *suffix, const char **middle, size_t *size)
{
    size_t n = strlen(name), p = strlen(prefix), s = strlen(suffix);
    if (n <= p + s || strncmp(name, prefix, p) != 0 || strcmp(name + n - s, suffix) != 0) return false;
    *middle = name + p;
    *size = n - p - s;
    return true;
}

/* What the metrics are about; a file that cannot be read is told by who reads it. */
static sw_status is_survival(const char *path, bool *out, sw_error *err)
{
    SW_CLEANUP(sw_json_free_ptr) sw_json *root = NULL;
    sw_error ignored;
    sw_status status = sw_json_read(path, &root, &ignored);
    if (status == SW_E_NOMEM) return sw_nomem(err);
    *out = status == SW_OK && strcmp(sw_json_text(sw_json_get(root, "task"), ""), "survival") == 0;
    return SW_OK;
}

/* A split without metrics is evaluated here; the training split only serves to measure the others. */
static sw_status evaluate_risks(sw_run_files *run, sw_run_split *s, int64_t resamples, sw_error *err)
{
    const sw_run_split *train = sw_run_split_find(run, "train");
    sw_survival_options opt = sw_survival_options_default();
    if (s->has_survival || !s->has_risks || s == train) return SW_OK;
    opt.resamples = resamples;
    opt.train = train && train->has_risks ? &train->risks : NULL;
    sw_status status = sw_survival_evaluate(&s->risks, s->name, &opt, &s->survival, err);
    s->has_survival = status == SW_OK;
    return forgive(run, status, err);
}

static sw_status read_split_file(sw_run_files *run, const char *name, sw_error *err)
{
    const char *middle;
    size_t size;
    sw_run_split *split;
    sw_status status;
    SW_AUTOFREE char *path = sw_path_join(run->dir, name);
    if (!path) return sw_nomem(err);
    if (wears(name, "predictions_", ".csv", &middle, &size)) {
        SW_TRY(split_for(run, middle, size, &split, err));
        if (sw_survival_predictions_is(path)) {
            status = sw_survival_predictions_read(path, &split->risks, err);
            split->has_risks = status == SW_OK;
            return forgive(run, status, err);
        }
        status = sw_predictions_read(path, &split->preds, err);
        split->has_predictions = status == SW_OK;
        return forgive(run, status, err);
    }
    if (wears(name, "metrics_", ".json", &middle, &size)) {
        bool survival = false;
        SW_TRY(split_for(run, middle, size, &split, err));
        SW_TRY(is_survival(path, &survival, err));
        if (survival) {
            status = sw_survival_evaluation_read(path, &split->survival, err);
            split->has_survival = status == SW_OK;
            return forgive(run, status, err);
        }
        status = sw_evaluation_read(path, &split->eval, err);
        split->has_metrics = status == SW_OK;
        return forgive(run, status, err);
    }
    return SW_OK;
}

static sw_status read_splits(sw_run_files *run, int64_t resamples, sw_error *err)
{
    SW_CLEANUP(sw_names_free) sw_names files = {0};
    SW_TRY(sw_dir_list(run->dir, false, &files, err));
    for (size_t i = 0; i < files.count; i++) SW_TRY(read_split_file(run, files.name[i], err));
    if (run->n_splits) qsort(run->split, run->n_splits, sizeof *run->split, by_split);
    for (size_t i = 0; i < run->n_splits; i++) {
        sw_run_split *s = &run->split[i];
        sw_eval_options opt = sw_eval_options_default();
        sw_status status;
        SW_TRY(evaluate_risks(run, s, resamples, err));
        if (s->has_metrics || !s->has_predictions) continue;
        opt.resamples = resamples;
        status = sw_evaluate(&s->preds, s->name, &opt, &s->eval, err);
        s->has_metrics = status == SW_OK;
        SW_TRY(forgive(run, status, err));
    }
    return SW_OK;
}

/* ---- heatmaps ---- */

static void find_row(const sw_run_files *run, sw_run_heatmap *h)
{
    h->split = -1;
    for (size_t s = 0; s < run->n_splits; s++) {
        const sw_predictions *p = &run->split[s].preds;
        for (int64_t i = 0; i < p->count; i++) {
            if (strcmp(p->slide_id[i], h->slide_id) != 0) continue;
            h->split = (int)s;
            h->row = i;
            return;
        }
    }
}

static int by_use(const void *a, const void *b)
{
    const sw_run_heatmap *x = a, *y = b;
    unsigned sx = (unsigned)x->split, sy = (unsigned)y->split; /* -1 comes last */
    if (sx != sy) return sx < sy ? -1 : 1;
    return strcmp(x->slide_id, y->slide_id);
}

static sw_status read_heatmap(sw_run_files *run, const char *dir, const sw_names *files, const char *stem, size_t size,
                              sw_error *err)
{
    sw_run_heatmap *h;
    SW_TRY(sw_grow(&run->heatmap, &run->heatmaps_capacity, run->n_heatmaps + 1, sizeof *run->heatmap, err));
    h = &run->heatmap[run->n_heatmaps++];
    *h = (sw_run_heatmap){.slide_id = sw_strndup(stem, size), .png = sw_asprintf("%s/%.*s.png", dir, (int)size, stem)};
    if (!h->slide_id || !h->png) return sw_nomem(err);
    for (size_t i = 0; i < files->count; i++) {
        const char *name = files->name[i];
        if (strncmp(name, stem, size) != 0) continue;
        if (strcmp(name + size, "_top.png") == 0) {
            h->top = sw_path_join(dir, name);
            if (!h->top) return sw_nomem(err);
        }
        if (strcmp(name + size, ".json") == 0) {
            SW_AUTOFREE char *path = sw_path_join(dir, name);
            if (!path) return sw_nomem(err);
            SW_TRY(forgive(run, sw_json_read(path, &h->info, err), err));
        }
    }
    find_row(run, h);
    return SW_OK;
}

static bool listed(const sw_names *files, const char *stem, size_t size, const char *suffix)
{
    for (size_t i = 0; i < files->count; i++) {
        if (strncmp(files->name[i], stem, size) == 0 && strcmp(files->name[i] + size, suffix) == 0) return true;
    }
    return false;
}

static sw_status read_heatmaps(sw_run_files *run, sw_error *err)
{
    SW_CLEANUP(sw_names_free) sw_names files = {0};
    SW_AUTOFREE char *dir = sw_path_join(run->dir, "heatmaps");
    if (!dir) return sw_nomem(err);
    if (!sw_path_is_dir(dir)) return SW_OK;
    SW_TRY(forgive(run, sw_dir_list(dir, false, &files, err), err));
    for (size_t i = 0; i < files.count; i++) {
        const char *name = files.name[i], *stem;
        size_t size, sheet;
        if (!wears(name, "", ".png", &stem, &size)) continue;
        /* A contact sheet is one only beside its heatmap: a slide may be called "x_top". */
        if (wears(name, "", "_top.png", &stem, &sheet) && listed(&files, stem, sheet, ".png")) continue;
        SW_TRY(read_heatmap(run, dir, &files, name, size, err));
    }
    if (run->n_heatmaps) qsort(run->heatmap, run->n_heatmaps, sizeof *run->heatmap, by_use);
    return SW_OK;
}

const sw_json *sw_run_event_value(const sw_run_files *run, const char *event, const char *key)
{
    for (size_t i = run->n_events; i-- > 0;) {
        const sw_json *value = sw_json_get(run->event[i], key);
        if (value && strcmp(sw_json_text(sw_json_get(run->event[i], "event"), ""), event) == 0) return value;
    }
    return NULL;
}

sw_status sw_run_files_read(const char *dir, int64_t resamples, sw_run_files *out, sw_error *err)
{
    SW_CLEANUP(sw_run_files_free) sw_run_files run = {.dir = dir};
    if (!sw_path_is_dir(dir)) {
        return sw_error_set(err, SW_E_NOT_FOUND, "%s is not a directory; give the directory of a run", dir);
    }
    SW_TRY(read_piece(&run, "config.yaml", read_config, err));
    SW_TRY(read_piece(&run, "dataset.json", read_dataset, err));
    SW_TRY(read_piece(&run, "log.jsonl", read_log, err));
    SW_TRY(read_piece(&run, "failures.csv", read_failures, err));
    SW_TRY(read_splits(&run, resamples, err));
    SW_TRY(read_heatmaps(&run, err));
    *out = run;
    run = (sw_run_files){0};
    return SW_OK;
}
