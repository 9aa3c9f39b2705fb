/* SPDX-License-Identifier: Apache-2.0 */
/* What a checkpoint says besides its tensors: enough to predict new slides from the file alone. Kept as the safetensors
 * metadata keys "slidewise.model" and "slidewise.use". */
#ifndef SW_INFER_CHECKPOINT_H
#define SW_INFER_CHECKPOINT_H

#include "config/config.h"
#include "model/model_io.h"
#include "slidewise/tile.h"

typedef struct sw_model_use {
    bool survival;                  /* outputs are hazards of bins of time, or (one output) a risk */
    double *edge;                   /* [n_classes - 1] owned; survival: where one bin ends and the next begins */
    int n_classes;                  /* the model's outputs */
    char **class_name;              /* [n_classes] owned */
    sw_tile_settings tiling;        /* how the training slides were tiled; all scales */
    double eval_mpp_um;             /* the scale that evaluation uses */
    int crop_px;                    /* side the encoder sees */
    sw_channel_order channel_order;
    sw_pixel_norm normalise;
    int64_t chunk_patches;          /* eval.chunk_patches of the run */
    char *backend;                  /* run.backend, owned */
    bool deterministic;             /* run.deterministic */
    sw_dtype activations;           /* SW_F32 or SW_BF16: what run.precision came to on the machine of the training */
} sw_model_use;
void sw_model_use_free(sw_model_use *use); /* clears it */

/* JSON text, owned by the caller. */
sw_status sw_model_use_json(const sw_model_use *use, char **text, sw_error *err) SW_MUST_CHECK;
/* *out is overwritten; empty on failure. */
sw_status sw_model_use_parse(const char *text, const char *name_for_errors, sw_model_use *out, sw_error *err)
    SW_MUST_CHECK;

/* Adds model, names and use to a writer: a whole checkpoint of one model, without training state. */
sw_status sw_checkpoint_put(const sw_model *model, const sw_model_use *use, int64_t steps, sw_weights_writer *writer,
                            sw_error *err) SW_MUST_CHECK;
/* Builds the model of a checkpoint on `be` and loads it, with the activations of its use; *use is overwritten and owned by
 * the caller. */
sw_status sw_checkpoint_open(sw_backend *be, const char *path, sw_model **model, sw_model_use *use, sw_error *err)
    SW_MUST_CHECK;
/* The path, owned by the caller, of a run's checkpoint: "best" (or NULL), "last", or any path, which is not looked at. */
sw_status sw_checkpoint_find(const char *run_dir, const char *wanted, char **path, sw_error *err) SW_MUST_CHECK;
/* Only the use: which backend, which chunk. */
sw_status sw_checkpoint_peek(const char *path, sw_model_use *use, sw_error *err) SW_MUST_CHECK;

#endif
