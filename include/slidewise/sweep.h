/* SPDX-License-Identifier: Apache-2.0 */
/* Several trainings one after the other, and one table of them. */
#ifndef SLIDEWISE_SWEEP_H
#define SLIDEWISE_SWEEP_H

#include <stddef.h>
#include <stdint.h>

#include "slidewise/error.h"
#include "slidewise/log.h"
#include "slidewise/train.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- two runs on the same slides ------------------------------------------------------------------ */

typedef struct sw_difference {
    char metric[32];           /* "auc": as in metrics_<split>.json */
    double run, baseline;      /* on the rows that both have */
    double difference;         /* run - baseline */
    double low, high;          /* 2.5 and 97.5 percentile over resamples of the rows, the same for both runs */
    double better;             /* share of the resamples in which the run is better; equal ones count half */
    int64_t undefined;         /* resamples left out: the metric is not defined there */
} sw_difference;

typedef struct sw_comparison {
    int64_t rows;                     /* labelled slides (cases) that both runs predict */
    int64_t only_run, only_baseline;  /* rows of one of them alone, left out */
    int64_t resamples;
    int n_metrics;
    sw_difference metric[8];
} sw_comparison;

/* Paired bootstrap of predictions_<split>.csv of two runs. Rows are paired by slide (survival: case); their labels must be
 * the same. resamples 0: no intervals. No common row, other classes or other labels are SW_E_INVALID. */
SW_API sw_status sw_compare_runs(const char *run_dir, const char *baseline_dir, const char *split, int64_t resamples,
                                 sw_comparison *out, sw_error *err) SW_MUST_CHECK;

/* ---- a sweep -------------------------------------------------------------------------------------- */

typedef struct sw_sweep_run {
    char *name;
    char *config;  /* YAML of this run */
    char **set;    /* [n_sets] "key=value" overrides, in their order; the last one is run.out */
    size_t n_sets;
    char *dir;     /* OUT/name */
} sw_sweep_run;

/* Read from a YAML file; everything is owned. Start from {0}. */
typedef struct sw_sweep {
    char *path, *out;
    char *baseline; /* name of a run; NULL: no differences */
    sw_sweep_run *run;
    size_t count;
} sw_sweep;

/* The file:
 *   base: config.yaml        configuration of every run that names none; relative to the sweep's file, as those below
 *   out: runs/sweep          folder of the runs, relative to the working directory
 *   baseline: abmil          the run that others are compared with
 *   set: {train.epochs: 20}  overrides of all runs
 *   runs:                    a list; each with a name, and a config of its own, or overrides
 *     - {name: abmil, set: {aggregator.name: abmil}}
 *     - {name: r50, config: r50.yaml}
 *   grid:                    every combination, of each of the runs above (or of the base alone)
 *     run.seed: [1, 2, 3]
 * Each configuration with its overrides is checked. `sets` come last. Messages name file, line and run. */
SW_API sw_status sw_sweep_read(const char *path, const char *const *sets, size_t n_sets, sw_sweep *out, sw_error *err)
    SW_MUST_CHECK;
SW_API void sw_sweep_free(sw_sweep *sweep); /* clears it; NULL is fine */

/* Trains one run, or goes on with it, or finds it finished. */
SW_API sw_status sw_sweep_train(const sw_sweep *sweep, size_t index, const char *command, const sw_sink *sink, sw_train_result *result,
                                sw_error *err) SW_MUST_CHECK;

/* The table of what the runs left behind: OUT/sweep.csv (a row for each run and metric) and OUT/sweep.txt (a row for each run).
 * Runs that are not finished are listed without numbers. reason [count]: why a run failed; NULL, or NULLs: it did not.
 * *text: the second; owned: sw_sweep_text_free. */
SW_API sw_status sw_sweep_table(const sw_sweep *sweep, const char *const *reason, int64_t resamples, char **text, sw_error *err)
    SW_MUST_CHECK;
SW_API void sw_sweep_text_free(char *text); /* NULL is fine */

#ifdef __cplusplus
}
#endif

#endif
