/* SPDX-License-Identifier: Apache-2.0 */
/* Prediction of slides from their files of features, by a model without an encoder. */
#ifndef SW_INFER_PREDICT_FEATURES_H
#define SW_INFER_PREDICT_FEATURES_H

#include "infer/infer.h"

typedef struct sw_feature_case {
    const char *name;           /* of the bag */
    const char *const *file;    /* [n] of its slides */
    const double *slide_mpp_um; /* [n] of level 0, for positions in microns; 0: unknown. May be NULL */
    int64_t n;
    const sw_sink *sink;        /* may be NULL */
} sw_feature_case;

/* Where its patches lie, as far as the files tell. */
typedef struct sw_feature_places {
    int64_t *xy;            /* [patches, 2] owned: level-0 pixels, or microns where the slide's resolution is unknown; NULL: not every file holds positions */
    double patch_level0_px; /* side of a patch in the same unit; 0: unknown */
    int patch_px;           /* as it was encoded; 1: unknown */
} sw_feature_places;

/* bag and places are the caller's to free, also after a failure. */
sw_status sw_predict_features(sw_model *model, const sw_feature_case *of, sw_bag_result *bag, sw_feature_places *places, sw_error *err) SW_MUST_CHECK;

/* The file of a slide among the features of a folder, or the folder itself where it is a file: owned by the caller. */
sw_status sw_features_of_slide(const char *features, const char *slide_id, char **file, sw_error *err) SW_MUST_CHECK;

#endif
