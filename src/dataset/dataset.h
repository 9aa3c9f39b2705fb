/* SPDX-License-Identifier: Apache-2.0 */
/* Label tables: slides, their cases, classes and splits. Every problem of a table is one sentence with file and line. */
#ifndef SW_DATASET_DATASET_H
#define SW_DATASET_DATASET_H

#include "base/json.h"
#include "config/config.h"
#include "slidewise/log.h"
#include "slidewise/store.h"

typedef enum sw_split { SW_SPLIT_TRAIN, SW_SPLIT_VAL, SW_SPLIT_TEST, SW_SPLIT_NONE, SW_SPLIT_COUNT } sw_split;
const char *sw_split_name(sw_split split); /* "train", "val", "test", "none": key in files */

/* One bag: a slide, or all slides of a case (data.bag). A table that repeats a row (the reference's oversampling) gives as
 * many bags of slides. Owned by the dataset. */
typedef struct sw_bag {
    char *slide_id, *case_id; /* slide_id of a bag that is a case: the case's id */
    int label;         /* class index; survival: the bin of the time */
    sw_split split;    /* SW_SPLIT_NONE: takes part in nothing */
    int64_t store_slide; /* index into the store; -1: made without a store */
    int64_t *more;     /* [n_more] the case's further slides */
    int64_t n_more;
    double time;       /* survival: to the event or the last visit, in the table's unit */
    bool event;        /* survival: it was observed; false: censored */
    int64_t line;      /* of the label table */
} sw_bag;
static inline int64_t sw_bag_slides(const sw_bag *bag)
{
    return 1 + bag->n_more;
}
/* Index into the store of slide 0 <= i < sw_bag_slides. */
static inline int64_t sw_bag_slide(const sw_bag *bag, int64_t i)
{
    return i == 0 ? bag->store_slide : bag->more[i - 1];
}

typedef struct sw_dataset {
    char *labels_path;
    int n_classes;
    char **class_name; /* [n_classes]; of two classes the second is the positive one */
    sw_bag *bag;       /* in the table's order */
    int64_t n_bags;
    int64_t n_cases;
    char *split_source; /* for people: "column 'fold' of labels.csv", "random by case, seed 2021", … */
    bool val_carved;    /* the validation set was taken from the training cases */
    char **missing;     /* slides (data.match: exact) or rows of the table that the store does not hold (data.missing: skip) */
    int64_t n_missing;
    char **unlabelled;  /* slides of the store without a row */
    int64_t n_unlabelled;
    char **ambiguous;   /* sentences about slides that fit several rows, and were left out (data.missing: skip) */
    int64_t n_ambiguous;
    int64_t bags[SW_SPLIT_COUNT], cases[SW_SPLIT_COUNT];
    int64_t *count;     /* [SW_SPLIT_COUNT, n_classes] bags */
    bool by_case;       /* a bag is a case */
    bool survival;      /* classes are bins of time */
    char *time_column;  /* survival: its name, for people */
    double *edge;       /* survival: [n_classes - 1] where one bin ends and the next begins */
    int64_t events[SW_SPLIT_COUNT]; /* survival: bags whose event was observed */
    char **warning;     /* sentences */
    int64_t n_warnings;
} sw_dataset;

/* Where the slides are known from. With neither, every row counts as present. */
typedef struct sw_dataset_slides {
    const sw_store *store;     /* or */
    const char *const *id;     /* [count]; store_slide is the index into it */
    int64_t count;
} sw_dataset_slides;

/* Reads config->data.labels as config->data and config->task say. `slides` may be NULL. Warnings go to `sink` (may be NULL)
 * and into the dataset. `need_train`: also refuse a table that cannot be trained on (no training slide, a class without an
 * example in train, one class only). *out is owned by the caller, untouched on failure. Free with sw_dataset_free. */
sw_status sw_dataset_load(const sw_config *config, const sw_dataset_slides *slides, bool need_train, const sw_sink *sink,
                          sw_dataset **out, sw_error *err) SW_MUST_CHECK;
void sw_dataset_free(sw_dataset *dataset);
void sw_dataset_free_ptr(sw_dataset **dataset); /* for SW_CLEANUP */

/* Indices into dataset->bag of one split, in the table's order: [dataset->bags[split]], owned by the caller. */
sw_status sw_dataset_select(const sw_dataset *dataset, sw_split split, int64_t **index, sw_error *err) SW_MUST_CHECK;
/* Row of dataset->count. */
const int64_t *sw_dataset_class_counts(const sw_dataset *dataset, sw_split split);
/* A hash of slides, labels, classes and splits, for resuming: another table is another run. */
uint64_t sw_dataset_hash(const sw_dataset *dataset);
/* dataset.json of a run: {"classes": […], "split_source": …, "splits": {"train": {"slides": n, "cases": n, "per_class":
 * {name: n}}, …}, "missing": […], "unlabelled": […], "warnings": […]}, written where the writer stands. */
void sw_dataset_json(const sw_dataset *dataset, sw_json_writer *writer);

#endif
