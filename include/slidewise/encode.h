/* SPDX-License-Identifier: Apache-2.0 */
/* Features of all patches by an encoder that does not learn: one HDF5 file per slide, as CLAM and TRIDENT write them. Training on such
 * files: data.features. */
#ifndef SLIDEWISE_ENCODE_H
#define SLIDEWISE_ENCODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "slidewise/error.h"
#include "slidewise/log.h"
#include "slidewise/store.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sw_encode_options {
    const char *output;     /* folder that gets SLIDE.h5 of each slide; made where it is missing; required */
    const char *run;        /* take the encoder of this run, with its crop_px and channel order; or, where NULL, */
    const char *checkpoint; /* of the run: "best" (NULL), "last" or a path */
    const char *encoder;    /* an encoder by its name ("resnet50"; see encoder.name of the configuration), */
    const char *weights;    /* with the weights of this file: both are required */
    double mpp_um;          /* the scale of the store that is encoded; 0: the run's, or the only one */
    int crop_px;            /* side that the encoder sees: patches are resized to it; 0: the run's, or 224 */
    bool bgr_as_reference;  /* without a run: blue first */
    const char *coords;     /* the file or folder of coordinates that the store of slides was opened with: their attributes are copied; may be NULL */
    int64_t chunk_patches;  /* encoded at a time; 0: 64 */
    int threads;            /* 0: all CPUs of this process */
    const char *backend;    /* NULL: cpu, or the run's */
    const char *precision;  /* "auto", "fp32" or "bf16"; NULL: fp32, or the run's */
    const sw_sink *sink;    /* may be NULL */
} sw_encode_options;
SW_API sw_encode_options sw_encode_options_default(void);

typedef enum sw_encode_status { SW_ENCODE_DONE, SW_ENCODE_ALREADY, SW_ENCODE_FAILED, SW_ENCODE_LEFT /* cancelled before it came */ } sw_encode_status;
SW_API const char *sw_encode_status_name(sw_encode_status status); /* "done", "already done", "failed", "not done" */

typedef struct sw_encode_row {
    char *slide_id;
    sw_encode_status status;
    int64_t n_patches;
    double seconds;
    char *reason; /* of a failure; else NULL */
} sw_encode_row;

typedef struct sw_encode_result {
    sw_encode_row *row; /* [count] in the store's order */
    size_t count, n_done, n_already, n_failed;
    int64_t n_patches;  /* encoded by this call */
    int dim;            /* how wide the features are */
    double seconds;
} sw_encode_result;
SW_API void sw_encode_result_free(sw_encode_result *result); /* clears it; fit for SW_CLEANUP */

/* Encodes every slide of a store (sw_store_open, or sw_store_open_slides) into OUTPUT/SLIDE.h5: "features" float32 [n, dim], and "coords" int64
 * [n, 2] with the attributes that TRIDENT writes (or those of the files of `coords`); the file itself says what encoded it. Files appear
 * whole or not at all. A file that is there and was made of the same patches with the same encoder stays; any other is a failure of its
 * slide. Slides that fail do not stop the others. *result is filled also where SW_E_CANCELLED or a full disk ended the work; free it
 * in any case. One call at a time per folder (SW_E_INVALID). */
SW_API sw_status sw_encode(const sw_store *store, const sw_encode_options *options, sw_encode_result *result, sw_error *err) SW_MUST_CHECK;

#ifdef __cplusplus
}
#endif

#endif
