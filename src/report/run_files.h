/* SPDX-License-Identifier: Apache-2.0 */
/* A run directory read into memory: each piece or the sentence that says why it is not there. */
#ifndef SW_REPORT_RUN_FILES_H
#define SW_REPORT_RUN_FILES_H

#include "base/buf.h"
#include "base/csv.h"
#include "base/fs.h"
#include "base/json.h"
#include "slidewise/eval.h"
#include "slidewise/survival.h"

typedef struct sw_run_split {
    char *name;
    bool has_metrics, has_predictions;
    sw_evaluation eval;
    sw_predictions preds;
    bool has_survival, has_risks; /* of a survival run, instead of the two above */
    sw_survival_evaluation survival;
    sw_survival_predictions risks;
} sw_run_split;

typedef struct sw_run_heatmap {
    char *slide_id, *png;
    char *top;      /* contact sheet; NULL: none */
    sw_json *info;  /* <slide>.json; NULL: none */
    int split;      /* index into splits; -1: not in any table of predictions */
    int64_t row;    /* in that table */
} sw_run_heatmap;

typedef struct sw_run_files {
    const char *dir; /* borrowed */
    sw_buf config;   /* empty: none */
    sw_json *dataset; /* NULL: none */
    sw_json **event;  /* lines of log.jsonl, in order */
    size_t n_events, events_capacity;
    sw_csv *failures; /* NULL: none */
    sw_run_split *split; /* test, val, train, then the others by name */
    size_t n_splits, splits_capacity;
    sw_run_heatmap *heatmap; /* test slides first */
    size_t n_heatmaps, heatmaps_capacity;
    sw_names problems; /* sentences about pieces that could not be read */
} sw_run_files;

/* Reads what there is. Fails for a directory that is missing, and for lack of memory. Splits that have predictions but
 * no metrics are evaluated here, with `resamples`. */
sw_status sw_run_files_read(const char *dir, int64_t resamples, sw_run_files *out, sw_error *err) SW_MUST_CHECK;
void sw_run_files_free(sw_run_files *run);

const sw_run_split *sw_run_split_find(const sw_run_files *run, const char *name); /* NULL: absent */
/* The last event of a kind that has `key`; NULL: none. */
const sw_json *sw_run_event_value(const sw_run_files *run, const char *event, const char *key);

#endif
