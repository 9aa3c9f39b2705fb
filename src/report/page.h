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

/* The split that the page is about: test, else val, else the first that has metrics; NULL: none. */
const sw_run_split *sw_page_main_split(const sw_run_files *run);

#endif
