/* SPDX-License-Identifier: Apache-2.0 */
/* The page: its frame, the data, the settings, and the order of everything. */
#include "slidewise/report.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "report/html.h"
#include "report/page.h"

sw_report_options sw_report_options_default(void)
{
    return (sw_report_options){.max_slides = 200, .max_heatmaps = 8, .resamples = 1000};
}

static void failures_table(sw_buf *b, const sw_csv *csv)
{
    size_t rows = sw_csv_rows(csv);
    if (rows == 0) return;
    sw_buf_printf(b, "<h3>Slides that could not be used: %zu</h3>\n<div class=\"scroll\"><table>\n<thead><tr>", rows);
    for (size_t c = 0; c < sw_csv_columns(csv); c++) sw_html_element(b, "th", NULL, sw_csv_column_name(csv, c));
    sw_buf_puts(b, "</tr></thead>\n<tbody>\n");
    for (size_t r = 0; r < rows; r++) {
        sw_buf_puts(b, "<tr>");
        for (size_t c = 0; c < sw_csv_columns(csv); c++) sw_html_element(b, "td", NULL, sw_csv_cell(csv, r, c));
        sw_buf_puts(b, "</tr>\n");
    }
    sw_buf_puts(b, "</tbody></table></div>\n");
}

static void split_row(sw_buf *b, const char *name, const sw_json *split, const sw_json *classes)
{
    const sw_json *per_class = sw_json_get(split, "per_class");
    sw_buf_puts(b, "<tr>");
    sw_html_element(b, "td", NULL, name);
    sw_html_count_cell(b, sw_json_integer(sw_json_get(split, "slides"), 0));
    sw_html_count_cell(b, sw_json_integer(sw_json_get(split, "cases"), 0));
    if (sw_json_get(split, "events")) sw_html_count_cell(b, sw_json_integer(sw_json_get(split, "events"), 0));
    for (size_t c = 0; c < sw_json_count(classes); c++) {
        const char *class_name = sw_json_text(sw_json_at(classes, c), "");
        const sw_json *count = sw_json_is_object(per_class) ? sw_json_get(per_class, class_name) : NULL;
        sw_html_count_cell(b, count ? sw_json_integer(count, 0) : 0);
    }
    sw_buf_puts(b, "</tr>\n");
}

void sw_page_data(sw_buf *b, const sw_run_files *run)
{
    const sw_json *splits = run->dataset ? sw_json_get(run->dataset, "splits") : NULL;
    const sw_json *classes = run->dataset ? sw_json_get(run->dataset, "classes") : NULL;
    sw_html_section(b, "data", "Data");
    if (!sw_json_is_object(splits) || !sw_json_is_array(classes)) {
        sw_html_missing(b, "There is no dataset.json with classes and splits in this run.");
    } else {
        sw_buf_puts(b, "<div class=\"scroll\"><table>\n<thead><tr><th>split</th><th class=\"n\">slides</th><th "
                       "class=\"n\">cases</th>");
        if (sw_json_get(run->dataset, "time")) sw_buf_puts(b, "<th class=\"n\">events</th>");
        for (size_t c = 0; c < sw_json_count(classes); c++) {
            sw_html_element(b, "th", "n", sw_json_text(sw_json_at(classes, c), "?"));
        }
        sw_buf_puts(b, "</tr></thead>\n<tbody>\n");
        for (size_t s = 0; s < sw_json_count(splits); s++) {
            const sw_json *split = NULL;
            const char *name = sw_json_member(splits, s, &split);
            if (name && sw_json_is_object(split)) split_row(b, name, split, classes);
        }
        sw_buf_puts(b, "</tbody></table></div>\n");
    }
    if (run->failures) failures_table(b, run->failures);
    sw_html_end_section(b);
}

void sw_page_settings(sw_buf *b, const sw_run_files *run)
{
    sw_html_section(b, "settings", "Settings");
    if (run->config.size == 0) {
        sw_html_missing(b, "There is no config.yaml in this run.");
    } else {
        sw_buf_puts(b, "<p class=\"note\">config.yaml, as resolved when the run started.</p>\n<pre>");
        sw_html_text(b, run->config.data);
        sw_buf_puts(b, "</pre>\n");
    }
    sw_html_end_section(b);
}

static void fact(sw_buf *b, const char *name, const sw_json *value)
{
    const char *text = value ? sw_json_text(value, NULL) : NULL;
    if (!value) return;
    sw_buf_puts(b, "<tr>");
    sw_html_element(b, "th", NULL, name);
    sw_buf_puts(b, "<td>");
    if (text) {
        sw_html_text(b, text);
    } else {
        sw_buf_printf(b, "%.10g", sw_json_real(value, 0));
    }
    sw_buf_puts(b, "</td></tr>\n");
}

void sw_page_reproduce(sw_buf *b, const sw_run_files *run, const char *command)
{
    static const char *const keys[] = {"version", "backend", "precision", "threads", "seed", "host", "time"};
    const sw_json *versions = sw_run_event_value(run, "start", "versions");
    const char *said = command ? command : sw_json_text(sw_run_event_value(run, "start", "command"), NULL);
    sw_html_section(b, "again", "To do it again");
    if (said) {
        sw_html_element(b, "pre", NULL, said);
    } else {
        sw_html_missing(b, "The log does not say with which command the run was made; its config.yaml is above.");
    }
    sw_buf_puts(b, "<div class=\"scroll\"><table><tbody>\n<tr><th>report made by</th><td>slidewise " SW_VERSION "</td></tr>\n");
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) fact(b, keys[i], sw_run_event_value(run, "start", keys[i]));
    for (size_t i = 0; sw_json_is_object(versions) && i < sw_json_count(versions); i++) {
        const sw_json *value = NULL;
        const char *name = sw_json_member(versions, i, &value);
        if (name) fact(b, name, value);
    }
    sw_buf_puts(b, "</tbody></table></div>\n");
    sw_html_end_section(b);
}

/* ---- the frame ---- */

static void put_lead(sw_buf *b, const sw_run_files *run)
{
    const sw_run_split *s = sw_page_main_split(run);
    const sw_json *classes = run->dataset ? sw_json_get(run->dataset, "classes") : NULL;
    sw_buf_puts(b, "<p class=\"lead\">A model trained from whole-slide images and slide labels");
    const sw_run_split *survival = sw_page_survival_split(run);
    if (survival) {
        sw_buf_printf(b, " to rank cases by their risk, evaluated on %lld cases of the split ", (long long)survival->survival.count);
        sw_html_text(b, survival->name);
    }
    if (!survival && classes && sw_json_count(classes) > 1) {
        sw_buf_puts(b, " to tell ");
        for (size_t c = 0; c < sw_json_count(classes); c++) {
            if (c) sw_buf_puts(b, c + 1 == sw_json_count(classes) ? " from " : ", ");
            sw_html_text(b, sw_json_text(sw_json_at(classes, c), "?"));
        }
    }
    if (s) {
        sw_buf_printf(b, ", evaluated on %lld slides of the split ", (long long)s->eval.count);
        sw_html_text(b, s->name);
    }
    sw_buf_puts(b, ".</p>\n");
}

static void put_top(sw_buf *b, const sw_run_files *run, const char *title)
{
    static const char *const nav[][2] = {{"results", "Results"},   {"heatmaps", "Heatmaps"}, {"slides", "Slides"},
                                         {"training", "Training"}, {"data", "Data"},         {"attention", "Attention"},
                                         {"settings", "Settings"}, {"again", "To do it again"}};
    sw_buf_puts(b, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                   "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>");
    sw_html_text(b, title);
    sw_buf_puts(b, "</title>\n<style>\n");
    sw_buf_puts(b, sw_html_style);
    sw_buf_puts(b, "</style>\n</head>\n<body>\n<header class=\"top\">\n");
    sw_html_element(b, "h1", NULL, title);
    sw_buf_puts(b, "\n");
    put_lead(b, run);
    sw_buf_puts(b, "<div class=\"rule\"></div>\n<nav>");
    for (size_t i = 0; i < sizeof nav / sizeof *nav; i++) sw_buf_printf(b, "<a href=\"#%s\">%s</a>\n", nav[i][0], nav[i][1]);
    sw_buf_puts(b, "</nav>\n</header>\n<main>\n");
}

static sw_status put_page(sw_buf *b, const sw_run_files *run, const char *title, const sw_report_options *opt,
                          sw_error *err)
{
    put_top(b, run, title);
    sw_page_tiles(b, run);
    SW_TRY(sw_page_warnings(b, run, err));
    SW_TRY(sw_page_results(b, run, opt->resamples, err));
    SW_TRY(sw_page_heatmaps(b, run, opt->max_heatmaps, err));
    SW_TRY(sw_page_predictions(b, run, opt->max_slides, err));
    SW_TRY(sw_page_training(b, run, err));
    sw_page_data(b, run);
    sw_page_attention(b, run);
    sw_page_settings(b, run);
    sw_page_reproduce(b, run, opt->command);
    sw_buf_puts(b, "</main>\n<footer>Made by slidewise. Research software: not a medical device, not for "
                   "diagnosis.</footer>\n</body>\n</html>\n");
    return sw_buf_status(b, err);
}

/* "runs/a/" -> "a" */
static char *run_name(const char *dir)
{
    size_t n = strlen(dir);
    while (n > 1 && dir[n - 1] == '/') n--;
    SW_AUTOFREE char *trimmed = sw_strndup(dir, n);
    return trimmed ? sw_strdup(sw_path_name(trimmed)) : NULL;
}

sw_status sw_report_write(const char *run_dir, const char *path, const sw_report_options *options, sw_error *err)
{
    sw_report_options opt = options ? *options : sw_report_options_default();
    SW_CLEANUP(sw_run_files_free) sw_run_files run = {0};
    SW_CLEANUP(sw_buf_free) sw_buf page = {0};
    SW_AUTOFREE char *name = run_name(run_dir);
    SW_AUTOFREE char *title = name ? sw_asprintf("slidewise report: %s", name) : NULL;
    SW_AUTOFREE char *usual = sw_path_join(run_dir, "report.html");
    if (!name || !title || !usual) return sw_nomem(err);
    if (opt.max_slides < 0 || opt.max_heatmaps < 0 || opt.resamples < 0) {
        return sw_error_set(err, SW_E_INVALID, "a report's limits on slides, heatmaps and resamples are 0 or more");
    }
    SW_TRY(sw_run_files_read(run_dir, opt.resamples, &run, err));
    for (size_t i = 0; i < run.problems.count; i++) sw_log_warning(opt.sink, "%s", run.problems.name[i]);
    SW_TRY(put_page(&page, &run, opt.title ? opt.title : title, &opt, err));
    return sw_file_write(path ? path : usual, page.data, page.size, err);
}
