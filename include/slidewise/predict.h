/* SPDX-License-Identifier: Apache-2.0 */
/* Whole-slide inference with a trained run: straight from slides, in bounded memory. */
#ifndef SLIDEWISE_PREDICT_H
#define SLIDEWISE_PREDICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "slidewise/error.h"
#include "slidewise/log.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a model says of one slide. All arrays are owned; free with sw_slide_prediction_free. */
typedef struct sw_slide_prediction {
    char *slide_id;
    int n_classes;       /* outputs of the model */
    bool survival;       /* of a survival model, */
    double risk;         /* whose risk this is: the larger the sooner */
    double *probability; /* [n_classes], softmax of the logits; survival: to be without the event at the end of each bin of
                          * time, or, where the one output is the risk itself, NaN */
    double *logit;       /* [n_classes] */
    int predicted;       /* index of the largest logit (lowest index on ties); survival: 0 */
    int64_t n_slides;    /* 1, or as many as sw_predictor_case was given */
    int64_t n_patches;
    int n_heads;         /* 0: the aggregator has no attention */
    int64_t *xy;         /* [n_patches, 2] top-left corners in level-0 pixels; NULL: features came without positions */
    double patch_level0_px; /* side of a patch in level-0 pixels */
    int patch_px;        /* side the encoder saw */
    double mpp_um;       /* resolution of the patches; 0: unknown, of features */
    float *attention;    /* [n_heads, n_patches], each head sums to 1; NULL without attention */
    float *score;        /* [n_patches] by which the model ranks patches (the gates of ft_vib); NULL: by nothing but attention */
    int tile_px;         /* side of a patch at mpp_um, as it is cut */
    double seconds;
} sw_slide_prediction;

SW_API void sw_slide_prediction_free(sw_slide_prediction *prediction); /* clears it; NULL is fine */

typedef struct sw_predictor_options {
    const char *checkpoint; /* "best", "last" or a path; NULL: best */
    const char *backend;    /* NULL: the run's own */
    const char *precision;  /* "auto", "fp32", "bf16"; NULL: the one the run was trained in */
    int threads;            /* 0: all CPUs of this process */
    int64_t chunk_patches;  /* patches encoded at a time; 0: the run's eval.chunk_patches */
    const char *coords;     /* take the positions from this file or folder (sw_coords_find) instead of segmenting; needed where the
                               training slides were cut so; NULL: segment. Borrowed until sw_predictor_close */
    const char *features;   /* of a run that was trained on features: the folder with those of the slides that are predicted. NULL: files of
                               features are given in place of slides (sw_store_features_list). Borrowed until sw_predictor_close */
    double slide_mpp_um;    /* resolution of slides that carry none; 0: such slides are refused */
    const sw_sink *sink;    /* borrowed until sw_predictor_close; may be NULL */
} sw_predictor_options;
SW_API sw_predictor_options sw_predictor_options_default(void);

typedef struct sw_predictor sw_predictor; /* a run's model, its tiling settings and class names */

/* Opens a run directory written by training. *out is owned by the caller; untouched on failure. */
SW_API sw_status sw_predictor_open(const char *run_dir, const sw_predictor_options *options, sw_predictor **out,
                                   sw_error *err) SW_MUST_CHECK;
SW_API void sw_predictor_close(sw_predictor **predictor); /* sets *predictor to NULL */

SW_API int sw_predictor_classes(const sw_predictor *predictor);
SW_API const char *sw_predictor_class(const sw_predictor *predictor, int index); /* borrowed */
/* How wide the features are that the run takes in place of slides; 0: it takes slides. */
SW_API int sw_predictor_feature_dim(const sw_predictor *predictor);
SW_API bool sw_predictor_survival(const sw_predictor *predictor); /* outputs are bins of time, or one risk */
/* Where bin `index` ends and the next begins; NaN for the last one. */
SW_API double sw_predictor_edge(const sw_predictor *predictor, int index);
SW_API const char *sw_predictor_checkpoint(const sw_predictor *predictor);       /* path; borrowed */

/* Segments, tiles and encodes `slide_path` as the run's training data was tiled. Memory: one chunk of
 * pixels and the features. slide_mpp_um > 0 is the resolution of level 0 instead of what the file says. A slide
 * without tissue is SW_E_INVALID with a sentence. */
SW_API sw_status sw_predictor_slide(sw_predictor *predictor, const char *slide_path, double slide_mpp_um,
                                    sw_slide_prediction *out, sw_error *err) SW_MUST_CHECK;

/* The slides of a case as one bag: their patches together, one slide after the other. slide_mpp_um [n] as above; out->slide_id
 * is `case_id`, and xy are each slide's own. */
SW_API sw_status sw_predictor_case(sw_predictor *predictor, const char *case_id, const char *const *slide_path,
                                   const double *slide_mpp_um, int64_t n, sw_slide_prediction *out, sw_error *err) SW_MUST_CHECK;

/* Writes DIR/patches/SLIDE_patches.h5 with the positions of the `count` best patches of one slide (all, where it has fewer), in
 * the order of the prediction and with the attributes of TRIDENT: what data.coords reads. The best are those of the highest
 * score, or attention averaged over heads; of equals the first. A prediction of a case, or without positions, is SW_E_INVALID. */
SW_API sw_status sw_slide_prediction_write_best(const sw_slide_prediction *prediction, int64_t count, const char *dir,
                                                sw_error *err) SW_MUST_CHECK;

#ifdef __cplusplus
}
#endif

#endif
