/* SPDX-License-Identifier: Apache-2.0 */
/* The sections of the page; each appends to the buffer and says so where its piece is missing. */
#ifndef SW_REPORT_PAGE_H
#define SW_REPORT_PAGE_H

#include "report/run_files.h"
#include "slidewise/report.h"

void sw_page_tiles(sw_buf *b, const sw_run_files *run);
sw_status sw_page_warnings(sw_buf *b, const sw_run_files *run, sw_error *err) SW_MUST_CHECK;
void sw_page_data(sw_buf *b, const sw_run_files *run);
sw_status sw_page_training(sw_buf *b, const sw_run_files *run, sw_error *err) SW_MUST_CHECK;
sw_status sw_page_results(sw_buf *b, const sw_run_files *run, int64_t resamples, sw_error *err) SW_MUST_CHECK;
sw_status sw_page_predictions(sw_buf *b, const sw_run_files *run, int64_t max_slides, sw_error *err) SW_MUST_CHECK;
sw_status sw_page_heatmaps(sw_buf *b, const sw_run_files *run, int max_heatmaps, sw_error *err) SW_MUST_CHECK;
void sw_page_attention(sw_buf *b, const sw_run_files *run);
void sw_page_settings(sw_buf *b, const sw_run_files *run);
void sw_page_reproduce(sw_buf *b, const sw_run_files *run, const char *command);

/* --- page_survival.c: what the sections show of a survival run. */
const sw_run_split *sw_page_survival_split(const sw_run_files *run); /* the one it is about; NULL: no survival run */
void sw_page_survival_tiles(sw_buf *b, const sw_run_split *split);
sw_status sw_page_survival_warnings(sw_names *list, const sw_run_split *split, sw_error *err) SW_MUST_CHECK;
sw_status sw_page_survival_results(sw_buf *b, const sw_run_files *run, sw_error *err) SW_MUST_CHECK;
sw_status sw_page_survival_cases(sw_buf *b, const sw_run_split *split, int64_t max_cases, sw_error *err) SW_MUST_CHECK;
/* --- pieces that both kinds of runs have */
void sw_page_tile(sw_buf *b, const char *title, const char *split, const sw_metric_value *value);
void sw_page_metric_row(sw_buf *b, const char *title, const sw_metric_value *value);
SW_PRINTF(3, 4) sw_status sw_page_warn(sw_names *list, sw_error *err, const char *fmt, ...);

/* The split that the page is about: test, else val, else the first that has metrics; NULL: none. */
const sw_run_split *sw_page_main_split(const sw_run_files *run);

#endif
