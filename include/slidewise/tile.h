/* SPDX-License-Identifier: Apache-2.0 */
/* From slides to a store of patches: open, segment, lay the grid, read, resize, encode, commit. */
#ifndef SLIDEWISE_TILE_H
#define SLIDEWISE_TILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "slidewise/artefact.h"
#include "slidewise/error.h"
#include "slidewise/grid.h"
#include "slidewise/log.h"
#include "slidewise/slide.h"
#include "slidewise/store.h"
#include "slidewise/tissue.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What decides which patches a slide gives. */
typedef struct sw_tile_settings {
    int n_scales;
    double mpp_um[SW_STORE_MAX_SCALES]; /* of the patches, in the order given; default one scale, 1.0 */
    int patch_px;             /* default 256 */
    int overlap_px;           /* default 0 */
    int quality;              /* of the JPEGs, default 80 */
    bool passthrough;         /* a patch that is exactly one of the slide's own JPEG tiles (same grid, size and resolution) is stored as
                                 that tile, not decoded and not encoded again; its quality is then the slide's. So that there are
                                 such, positions are whole steps from the slide's corner (sw_grid_options.align), and where mpp_um is
                                 within half a pixel over the patch of a level's, the steps are those of that level; default false */
    bool exact;               /* sw_slide_options.exact; default false */
    bool whole_image;         /* no tissue segmentation: a grid over the whole image; default false */
    bool given_positions;     /* positions are not made here but come from files (sw_tile_options.coords) or from an imported
                                 store; mpp_um are the names that the scales go by; no tissue; default false */
    sw_tissue_options tissue; /* default sw_tissue_options_default() */
    sw_mask_options mask;     /* a mask of the user's, instead of the segmentation or on top of it; default none */
    sw_artefact_options artefacts; /* patches that are left out by what their pixels show; default none */
} sw_tile_settings;
SW_API sw_tile_settings sw_tile_settings_default(void);

/* The settings a store was tiled with, so that new slides can be tiled alike. *out untouched on failure. */
SW_API sw_status sw_tile_settings_of(const sw_store *store, sw_tile_settings *out, sw_error *err) SW_MUST_CHECK;

/* For positions out of files (see sw_tile_options.coords): sets given_positions and a scale per place of `coords`; patch_px
 * becomes what the files of the first place say unless it is given (not 0). The scales' mpp_um become, unless they are given
 * (`n_mpp` is their number, in the order of the places; 0: mpp_um may be NULL): what TRIDENT's target magnification says, else the
 * resolution of the first slide's patches, rounded to a usual one (…, 0.25, 0.5, 1, 2, …) within 20 %. `slide_mpp_um` as in
 * sw_tile_options. The first slide that has positions decides; where none has, its error is returned. SW_E_INVALID: another
 * number of mpp_um than of places, or places whose patches overlap differently. */
SW_API sw_status sw_tile_settings_given(const char *coords, const sw_slide_list *slides, double slide_mpp_um, const double *mpp_um,
                                        int n_mpp, int patch_px, sw_tile_settings *settings, sw_error *err) SW_MUST_CHECK;

/* The patch positions that these settings give on a slide. *tissue and *grid are overwritten; grid is [n_scales], caller's;
 * free each with sw_tissue_free and sw_grid_free (also after a failure, they are empty then). SW_E_INVALID with the sentence
 * for a slide without resolution, without tissue, or without a patch at one of the scales, for given_positions, and for settings with a mask of the user's. */
SW_API sw_status sw_tile_positions(sw_slide *slide, const sw_tile_settings *settings, sw_tissue *tissue, sw_grid *grid,
                                   sw_error *err) SW_MUST_CHECK;

/* The positions that a file of coordinates gives on a slide (`coords`: as in sw_tile_options; of several places the one that comes
 * nearest), for patches of settings->patch_px pixels of a scale that goes by settings->mpp_um[0]; grid->mpp_um is their true resolution. *grid is overwritten, empty on failure. */
SW_API sw_status sw_tile_positions_given(sw_slide *slide, const char *coords, const sw_tile_settings *settings, const sw_sink *sink,
                                         sw_grid *grid, sw_error *err) SW_MUST_CHECK;

#define SW_TILE_MAX_SHARDS 1024
/* The shard of a slide, 1 to n_shards. It depends on the id and the number of shards only, so that a slide stays in its shard when
 * others join the list or leave it. */
SW_API int sw_shard_of(const char *slide_id, int n_shards);

typedef struct sw_tile_options {
    const char *store;         /* directory; made when missing; NULL: only the files of `clam` and `trident` are written */
    const char *coords;        /* take the positions from this file, or from the file of each slide in this folder, as CLAM or
                                  TRIDENT wrote them (sw_coords_find); several of them, with commas between, are several scales;
                                  needs settings.given_positions. NULL (default): segment */
    const char *process_list;  /* CLAM's table with the parameters of single slides (columns by name; what a row leaves open is in
                                  settings.tissue; `process` and `status` are not looked at); a store keeps a checksum of it and
                                  refuses another. NULL (default): all slides alike */
    const char *clam;          /* also write the positions below this folder as CLAM does: patches/ID.h5 and
                                  process_list_autogen.csv; one scale only. NULL (default): do not */
    const char *trident;       /* the same as TRIDENT does, and contours_geojson/ID.geojson. NULL (default): do not */
    sw_tile_settings settings;
    double slide_mpp_um;       /* resolution of slides that carry none; 0 (default): they fail */
    bool openslide_only;       /* sw_slide_options.openslide_only: slower, the same pixels, nothing is passed through; default false */
    int threads;               /* 0 (default): all CPUs of this process */
    bool masks;                /* also write pictures of up to a million pixels: STORE/masks/ID.png, STORE/overlays/ID.jpg and
                                  STORE/contours/ID.geojson of the tissue (where slides are segmented or a mask is given), and
                                  STORE/stitches/ID.jpg (ID_1um.jpg … of several scales) of the patches that are kept, the rest white.
                                  Without a store, as CLAM has them: CLAM/masks/ID.jpg (the overlay) and CLAM/stitches/ID.jpg.
                                  Slides that the store holds get those that they lack. Default: none */
    bool retry_unreadable;     /* slides of the store of which patches could not be read are tiled again, and replaced where that
                                  works; default: they stay as they are */
    int shard, n_shards;       /* only the slides of this shard (1 is the first) of so many (at most SW_TILE_MAX_SHARDS), into a store of
                                  its own, STORE/shard-I-of-N; STORE is then the list of all of them (sw_store_open) and opens when
                                  each was made, by any process on any machine, also at the same time. Not with `clam`. n_shards 0
                                  (default): all slides, one store */
    const sw_sink *sink;       /* may be NULL */
} sw_tile_options;
SW_API sw_tile_options sw_tile_options_default(void);

typedef enum sw_tile_status {
    SW_TILE_DONE,       /* tiled now */
    SW_TILE_ALREADY,    /* in the store since an earlier call */
    SW_TILE_NO_TISSUE,  /* nothing was found on it */
    SW_TILE_NO_MPP,     /* its resolution is unknown */
    SW_TILE_UNREADABLE, /* missing, damaged or of an unknown format */
    SW_TILE_FAILED      /* any other reason */
} sw_tile_status;
SW_API const char *sw_tile_status_name(sw_tile_status status); /* "done", "already done", "no tissue", … */

typedef struct sw_tile_row {
    char *slide_id, *path;
    sw_tile_status status;
    char *reason;                           /* NULL unless it failed */
    int64_t n_patches[SW_STORE_MAX_SCALES]; /* per scale */
    int64_t n_left_out[SW_LEFT_KINDS];      /* patches of the grids that are not among them, by reason, all scales */
    int64_t n_passed_through;               /* of the patches, the slide's own JPEG tiles, all scales */
    double unreadable_fraction;             /* of the picture that is looked at for tissue */
    double tissue_fraction;
    double seconds;                         /* that tiling took, in this or the earlier call */
} sw_tile_row;

typedef struct sw_tile_result {
    sw_tile_row *row;   /* the slides asked for, in their order */
    size_t count;
    int n_scales;
    double mpp_um[SW_STORE_MAX_SCALES];
    size_t n_done, n_already, n_failed; /* n_failed: every other status */
    int64_t n_patches;  /* of the slides asked for, all scales */
    int64_t n_left_out[SW_LEFT_KINDS]; /* of them, by reason */
    bool looked_for[SW_LEFT_KINDS];    /* the settings ask for it */
    bool passthrough;                  /* the settings ask for it */
    int64_t n_passed_through;          /* of n_patches, the slides' own JPEG tiles */
    size_t n_damaged;   /* slides, done or already done, of which something could not be read */
    double seconds;
} sw_tile_result;
SW_API void sw_tile_result_free(sw_tile_result *result); /* clears it; fit for SW_CLEANUP */

/* Tiles every slide of the list into the store; a slide that fails keeps its reason in its row and the others go on. Slides
 * that the store holds already are not done again. A store made with other settings is refused (SW_E_INVALID names which).
 * A patch that lies where its slide is damaged is read again alone through a fresh handle, then left out, recorded in the store
 * (sw_store_slide.unreadable_json) and counted, and the slide goes on; a scale without any patch left fails its slide. Without a
 * store pixels are read only where settings.artefacts ask for it.
 * Also writes STORE/slides.csv: the rows, then the store's other slides, and STORE/unreadable.csv where patches could not be
 * read. Returns SW_OK also when slides failed; an error
 * means that the work as a whole could not go on (store, disk, memory), SW_E_CANCELLED that the sink asked to stop: slides
 * committed before stay. *result is overwritten; on an error it holds what was done until then. */
SW_API sw_status sw_tile(const sw_tile_options *options, const sw_slide_list *slides, sw_tile_result *result,
                         sw_error *err) SW_MUST_CHECK;

#ifdef __cplusplus
}
#endif

#endif
