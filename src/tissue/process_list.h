/* SPDX-License-Identifier: Apache-2.0 */
/* CLAM's process list: a table with the parameters of single slides. */
#ifndef SW_TISSUE_PROCESS_LIST_H
#define SW_TISSUE_PROCESS_LIST_H

#include "base/csv.h"
#include "slidewise/tissue.h"

/* Reads row `row` over what *out holds: missing columns and empty cells leave it. Untouched on failure. */
sw_status sw_tissue_options_row(const sw_csv *csv, size_t row, sw_tissue_options *out, sw_error *err) SW_MUST_CHECK;

typedef struct sw_process_list sw_process_list;

/* Reads the table; `base` is what its rows leave open. SW_E_NOT_FOUND: no file, or no column slide_id; SW_E_INVALID names the line
 * and the column of a bad cell, or a slide that stands there twice. *out is owned by the caller; untouched on failure. */
sw_status sw_process_list_read(const char *path, const sw_tissue_options *base, sw_process_list **out, sw_error *err) SW_MUST_CHECK;
void sw_process_list_free(sw_process_list *list);
/* The parameters of a slide; NULL: it has no row (or `list` is NULL). Borrowed. */
const sw_tissue_options *sw_process_list_find(const sw_process_list *list, const char *slide_id);
/* Follows from the content of the file. */
uint64_t sw_process_list_hash(const sw_process_list *list);

#endif
