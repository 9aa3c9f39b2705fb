/* SPDX-License-Identifier: Apache-2.0 */
/* One self-contained HTML page about a run: inline styles, SVG charts, embedded pictures, no script. */
#ifndef SLIDEWISE_REPORT_H
#define SLIDEWISE_REPORT_H

#include <stddef.h>
#include <stdint.h>

#include "slidewise/error.h"
#include "slidewise/log.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What is read from the run directory. Each piece may be missing; the page then says so.
 *
 * config.yaml             the resolved settings, shown as they are
 * dataset.json            {"classes":["…"],"splits":{"train":{"slides":n,"cases":n,"per_class":{"<class>":n}},…},
 *                          "warnings":["…"]}
 * log.jsonl               one object a line. {"event":"epoch","epoch":1,"train_loss":x,"lr":x,"seconds":x,
 *                          "patches_per_second":x,"val_loss":x,"val_accuracy":x,"val_balanced_accuracy":x,
 *                          "val_auc":x,"ema_val_…":x,"best":true}; "start", "resume" and "stop" events may carry
 *                          "version","backend","precision","threads","seed","command","reason","versions":{name:text},
 *                          "metric" (name of the selection metric), "selected_on" ("val", "test"). A cut last line
 *                          (a run that was killed) is left out and said; other bad lines are an error.
 * predictions_<split>.csv slidewise/eval.h
 * metrics_<split>.json    slidewise/eval.h
 * heatmaps/<slide>.png    with <slide>.json and, if there, <slide>_top.png: slidewise/explain.h
 * failures.csv            slide_id,stage,reason: slides that could not be used (may be missing) */
typedef struct sw_report_options {
    const char *title;       /* NULL: "slidewise report: " and the run directory's name */
    const char *command;     /* command that reproduces the run; NULL: from log.jsonl */
    int64_t max_slides;      /* rows of the table of predictions per split, default 200 */
    int max_heatmaps;        /* pictures, test slides first, default 8 */
    int64_t resamples;       /* for the bands of the ROC curves, default 1000; 0: no band */
    const sw_sink *sink;     /* may be NULL */
} sw_report_options;
SW_API sw_report_options sw_report_options_default(void);

/* Writes `path` (NULL: RUN/report.html). A run directory that does not exist is SW_E_NOT_FOUND; a piece that exists
 * and cannot be read (a malformed JSON, say) is told on the page and to the sink as a warning. */
SW_API sw_status sw_report_write(const char *run_dir, const char *path, const sw_report_options *options,
                                 sw_error *err) SW_MUST_CHECK;

#ifdef __cplusplus
}
#endif

#endif
