/* SPDX-License-Identifier: Apache-2.0 */
#include "tissue/process_list.h"

#include <string.h>

#include "base/fs.h"
#include "base/mem.h"

typedef struct process_row {
    char *slide_id;
    sw_tissue_options options;
} process_row;

struct sw_process_list {
    process_row *row;
    size_t count;
    uint64_t hash;
};

void sw_process_list_free(sw_process_list *list)
{
    if (!list) return;
    for (size_t i = 0; i < list->count; i++) sw_free(list->row[i].slide_id);
    sw_free(list->row);
    sw_free(list);
}

static void free_ptr(sw_process_list **list)
{
    sw_process_list_free(*list);
}

static sw_status read_rows(const sw_csv *csv, const sw_tissue_options *base, sw_process_list *list, sw_error *err)
{
    int id = sw_csv_find(csv, "slide_id");
    if (id < 0) return sw_error_set(err, SW_E_NOT_FOUND, "%s: not a process list of CLAM: no column slide_id", sw_csv_path(csv));
    list->row = sw_calloc(sw_csv_rows(csv) + 1, sizeof *list->row);
    if (!list->row) return sw_nomem(err);
    for (size_t i = 0; i < sw_csv_rows(csv); i++) {
        SW_AUTOFREE char *slide_id = sw_path_stem(sw_csv_cell(csv, i, (size_t)id)); /* CLAM names a slide by its file */
        if (!slide_id) return sw_nomem(err);
        if (sw_process_list_find(list, slide_id)) {
            return sw_error_set(err, SW_E_INVALID, "%s, line %lld: slide %s stands here a second time; keep one row of it", sw_csv_path(csv),
                                (long long)sw_csv_line(csv, i), slide_id);
        }
        process_row *row = &list->row[list->count];
        row->options = *base;
        SW_TRY(sw_tissue_options_row(csv, i, &row->options, err));
        row->slide_id = SW_STEAL(slide_id);
        list->count++;
    }
    return SW_OK;
}

sw_status sw_process_list_read(const char *path, const sw_tissue_options *base, sw_process_list **out, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf text = {0};
    SW_CLEANUP(sw_csv_free_ptr) sw_csv *csv = NULL;
    SW_CLEANUP(free_ptr) sw_process_list *list = sw_calloc(1, sizeof *list);
    if (!list) return sw_nomem(err);
    SW_TRY(sw_file_read(path, &text, err));
    SW_TRY(sw_csv_parse(text.data, text.size, path, true, &csv, err));
    list->hash = sw_hash64(text.data, text.size);
    SW_TRY(read_rows(csv, base, list, err));
    *out = SW_STEAL(list);
    return SW_OK;
}

const sw_tissue_options *sw_process_list_find(const sw_process_list *list, const char *slide_id)
{
    for (size_t i = 0; list && i < list->count; i++) {
        if (strcmp(list->row[i].slide_id, slide_id) == 0) return &list->row[i].options;
    }
    return NULL;
}

uint64_t sw_process_list_hash(const sw_process_list *list)
{
    return list->hash;
}
