/* SPDX-License-Identifier: Apache-2.0 */
/* What the verbs that take slides share: their options, the list of slides, the table of what tiling did. */
#ifndef SW_CLI_SLIDES_H
#define SW_CLI_SLIDES_H

#include "cli.h"
#include "slidewise/tile.h"

/* Resolution of slides that lack it. */
#define CLI_MPP_OPTIONS                                                                                                \
    {"slide-mpp", 0, CLI_REAL, "UM", "microns per pixel of slides that carry none"},                                   \
    {"mpp-csv", 0, CLI_PATH, "FILE", "microns per pixel by slide: columns slide_id,mpp"}

/* Positions for a trained model. */
#define CLI_COORDS_OPTION                                                                                              \
    {"coords", 'c', CLI_PATH, "FILE|DIR", "take the positions from coordinate files of CLAM or TRIDENT (several scales: with commas between) instead of segmenting"}

/* For a run that was trained on features. */
#define CLI_FEATURES_OPTION {"features", 0, CLI_PATH, "DIR", "of a run trained on features: the folder with SLIDE.h5 of each slide"}

/* How slides are cut. */
#define CLI_TILE_OPTIONS                                                                                               \
    {"mpp", 0, CLI_LIST, "UM", "microns per pixel of the patches; repeat for several scales (default: 1.0)"},          \
    {"magnification", 'm', CLI_LIST, "X", "the same as --mpp 10/X: 10 is 1.0, 40 is 0.25"},                            \
    {"patch-px", 'p', CLI_INT, "PX", "side of a patch in pixels (default: 256)"},                                      \
    {"overlap", 0, CLI_INT, "PX", "pixels that neighbours share (default: 0)"},                                        \
    {"quality", 0, CLI_INT, "N", "of the JPEG patches, 1 to 100 (default: 80)"},                                     \
    {"preset", 0, CLI_TEXT, "NAME|FILE",                                                                               \
     "tissue settings: default, bwh_biopsy, bwh_resection, tcga, tcga_nsclc or a CSV of CLAM"},                        \
    {"passthrough", 0, CLI_FLAG, NULL, "lay patches on the slide's own JPEG tiles and store those as they are, where they fit"},         \
    {"exact", 0, CLI_FLAG, NULL, "resample patches from level 0, not from the next finer level of the slide: slower"},                   \
    {"reader", 0, CLI_TEXT, "NAME",                                                                                    \
     "auto: JPEG tiles of Aperio and generic TIFF slides are read directly (default); openslide: OpenSlide reads all"}, \
    {"no-tissue", 0, CLI_FLAG, NULL, "take the whole image, for small regions and cores"},                             \
    {"max-pen-fraction", 0, CLI_REAL, "X",                                                                             \
     "leave out patches of which more than this share (0 to 1) has the colour of a marker (default: 1, none)"},        \
    {"min-laplacian-variance", 0, CLI_REAL, "V",                                                                       \
     "leave out patches whose Laplacian varies less (squared grey levels), as blurred ones do (default: 0, none)"},    \
    {"max-black-fraction", 0, CLI_REAL, "X", "leave out patches with a larger black share (0 to 1; default: 1, none)"}, \
    {"max-white-fraction", 0, CLI_REAL, "X", "leave out patches with a larger white share (0 to 1; default: 1, none)"}, \
    CLI_MPP_OPTIONS,                                                                                                   \
    {"masks", 0, CLI_FLAG, NULL, "also write pictures of the tissue, its contours (GeoJSON) and pictures of the patches kept"},              \
    {"allow-failures", 0, CLI_FLAG, NULL, "go on (and exit with 0) also when slides failed"},                          \
    {"threads", 't', CLI_INT, "N", "threads (default: all CPUs)"}

/* Operands [first, first + count) as slides, with the resolutions of --mpp-csv; free with sw_slide_list_free. */
sw_status cli_slide_list(const cli_args *args, size_t first, size_t count, sw_slide_list *list, sw_error *err)
    SW_MUST_CHECK;
/* Options that do not go with a run that takes features, or the other way round. `needs`: the verb needs the slides, too. */
struct sw_predictor;
sw_status cli_check_features(const cli_args *args, const struct sw_predictor *predictor, bool needs, sw_error *err) SW_MUST_CHECK;
/* Everything of CLI_TILE_OPTIONS; o->store is left to the caller. */
sw_status cli_tile_options(const cli_args *args, sw_tile_options *o, sw_error *err) SW_MUST_CHECK;
/* `complete`: sw_tile came to its end, so that STORE/slides.csv is there too. */
void cli_tile_print(const sw_tile_result *result, const char *store, bool complete);

#endif
