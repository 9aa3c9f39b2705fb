/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share. */
#ifndef SW_DATASET_DATASET_INTERNAL_H
#define SW_DATASET_DATASET_INTERNAL_H

#include "base/buf.h"
#include "dataset/dataset.h"

/* --- texts by name */
typedef struct sw_lookup_entry {
    const char *text; /* borrowed */
    int64_t index;
} sw_lookup_entry;

typedef struct sw_lookup {
    sw_lookup_entry *entry; /* sorted by text, then index */
    int64_t count;
} sw_lookup;
sw_status sw_lookup_new(int64_t count, sw_lookup *out, sw_error *err) SW_MUST_CHECK; /* entries to be filled */
void sw_lookup_sort(sw_lookup *lookup);
/* Position of the first entry with this text; -1: none. */
int64_t sw_lookup_find(const sw_lookup *lookup, const char *text);
void sw_lookup_free(sw_lookup *lookup);

/* --- the label table as it stands in the file */
typedef struct sw_label_row {
    char *slide_id, *case_id, *label, *split, *time, *event; /* owned, blanks around them cut */
    int64_t line;
} sw_label_row;

typedef struct sw_label_table {
    char *path;       /* owned */
    bool of_folder;   /* it is one file of a folder, which stands for a fold */
    sw_label_row *row;
    int64_t count;
    bool has_case;
    char *split_column; /* NULL: none */
    char *time_column, *event_column; /* NULL: none */
    bool censored;      /* the column of events says 1 where there was none */
} sw_label_table;
sw_status sw_label_table_read(const sw_config *config, sw_label_table *out, sw_error *err) SW_MUST_CHECK;
void sw_label_table_free(sw_label_table *table);
void sw_label_rows_free(sw_label_row *row, int64_t count);
char *sw_text_trim(const char *text); /* a copy; NULL: no memory */

/* --- building */
typedef struct sw_dataset_build {
    const sw_config *config;
    const sw_sink *sink;
    sw_label_table table; /* row i belongs to bag i until bags are dropped */
    sw_dataset *ds;
} sw_dataset_build;

sw_status sw_dataset_warn(sw_dataset_build *b, sw_error *err, const char *fmt, ...) SW_PRINTF(3, 4);
/* "a, b, c and 4 more" */
void sw_put_names(sw_buf *out, char *const *name, int64_t count);

void sw_bag_clear(sw_bag *bag);
/* --- match.c: finds the slides that rows name (data.match); a row that fits several becomes as many bags. */
sw_status sw_dataset_match(sw_dataset_build *b, const sw_dataset_slides *slides, sw_error *err) SW_MUST_CHECK;
/* Is this the name of a slide's file, rather than an id? */
bool sw_is_slide_file(const char *name);

/* --- survival.c */
/* Time and event of every bag, from its row; label becomes the stratum that random splits keep together. */
sw_status sw_dataset_survival_read(sw_dataset_build *b, sw_error *err) SW_MUST_CHECK;
/* Once splits and bags stand: the edges between the bins, their names, and label becomes the bin. */
sw_status sw_dataset_survival_bins(sw_dataset_build *b, sw_error *err) SW_MUST_CHECK;
/* --- cases.c: the slides of a case become one bag. */
bool sw_dataset_by_case(const sw_config *config);
sw_status sw_dataset_join_cases(sw_dataset_build *b, sw_error *err) SW_MUST_CHECK;

/* Sets the split of every bag and split_source. */
sw_status sw_dataset_split(sw_dataset_build *b, sw_error *err) SW_MUST_CHECK;
sw_status sw_dataset_set_source(sw_dataset *ds, char *text, sw_error *err) SW_MUST_CHECK; /* takes the text; NULL: no memory */
/* --- split_file.c: from data.split.file, a table or a folder of tables. */
sw_status sw_dataset_split_file(sw_dataset_build *b, sw_error *err) SW_MUST_CHECK;
/* By case: a test set (random or a fold), then a validation set out of what is train. */
sw_status sw_dataset_split_random(sw_dataset_build *b, bool folds, sw_error *err) SW_MUST_CHECK;
sw_status sw_dataset_carve_val(sw_dataset_build *b, sw_error *err) SW_MUST_CHECK;
/* SW_SPLIT_COUNT for a text that names no split. */
sw_split sw_split_parse(const char *text);

#endif
