/* SPDX-License-Identifier: Apache-2.0 */
/* Whole-slide images behind one small interface: everything OpenSlide reads, and plain PNG, JPEG and TIFF pictures
 * as slides of one level. All positions are level-0 pixels unless a name says otherwise. */
#ifndef SLIDEWISE_SLIDE_H
#define SLIDEWISE_SLIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "slidewise/error.h"
#include "slidewise/image.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sw_slide sw_slide;

typedef struct sw_slide_options {
    double mpp_um; /* > 0: microns per level-0 pixel, instead of what the file says; 0 (default): from the file */
    bool openslide_only; /* true: OpenSlide reads all pixels, also those that we read faster with the same bits; default false */
    bool exact; /* true: patches (sw_slide_read_patch) are resampled from level 0, not from the level nearest above: within rounding
                   of an antialiased resize of level 0 wherever the pyramid's makers used another filter, and slower; default false */
    bool lean; /* true: OpenSlide, which opens a file dozens of times to know it, is asked only for what we cannot read; of the
                  properties there may be no more than those that the resolution follows from; default false */
} sw_slide_options;
SW_API sw_slide_options sw_slide_options_default(void);

/* Where the resolution came from, best first. */
typedef enum sw_mpp_source {
    SW_MPP_NONE,     /* the file has none */
    SW_MPP_OPTION,   /* given by the caller */
    SW_MPP_SCANNER,  /* openslide.mpp-x and -y */
    SW_MPP_TIFF,     /* the resolution tags of the TIFF file, 0.05 .. 20 um per pixel */
    SW_MPP_OBJECTIVE /* 10 / objective power: a guess, warn about it */
} sw_mpp_source;
SW_API const char *sw_mpp_source_name(sw_mpp_source source); /* "none", "given", "scanner", "TIFF tags", … */

typedef struct sw_slide_level {
    int64_t width, height;           /* pixels of this level */
    double downsample;               /* as the format reports it (mean of the axes for plain images) */
    double downsample_x, downsample_y; /* level-0 side / this level's side */
    double mpp_um;                   /* 0: unknown */
    double magnification;            /* 10 / mpp_um; 0: unknown */
} sw_slide_level;

/* Borrowed from the slide until it is closed. */
typedef struct sw_slide_info {
    const char *path;
    const char *slide_id;       /* file name without its last extension */
    const char *format;         /* OpenSlide's vendor ("aperio", "generic-tiff", …) or "png", "jpeg", "tiff" */
    int64_t width, height;      /* of level 0 */
    int n_levels;
    const sw_slide_level *level; /* [n_levels], finest first */
    double mpp_um;              /* mean of the two below; 0: unknown */
    double mpp_um_x, mpp_um_y;
    sw_mpp_source mpp_source;
    double objective_power;     /* 0: unknown */
} sw_slide_info;

/* Opens a slide: OpenSlide first, then the plain image formats. `options` NULL: defaults. *out is owned by the caller,
 * close it with sw_slide_close; untouched on failure. The message says what the file is and what to do: missing
 * (SW_E_NOT_FOUND), damaged (SW_E_FORMAT), a format that this build cannot read (SW_E_UNSUPPORTED). */
SW_API sw_status sw_slide_open(const char *path, const sw_slide_options *options, sw_slide **out, sw_error *err)
    SW_MUST_CHECK;
SW_API void sw_slide_close(sw_slide **slide); /* sets *slide to NULL; fit for SW_CLEANUP */

SW_API const sw_slide_info *sw_slide_get_info(const sw_slide *slide);
/* The file's own properties ("aperio.AppMag", "tiff.XResolution", …), sorted by name; borrowed. */
SW_API size_t sw_slide_property_count(const sw_slide *slide);
SW_API const char *sw_slide_property_name(const sw_slide *slide, size_t index);
SW_API const char *sw_slide_property_value(const sw_slide *slide, size_t index);
SW_API const char *sw_slide_property(const sw_slide *slide, const char *name); /* NULL: absent */

/* Microns per pixel of level 0, or SW_E_INVALID with the sentence that says how to give it. */
SW_API sw_status sw_slide_need_mpp(const sw_slide *slide, double *mpp_um, sw_error *err) SW_MUST_CHECK;
/* Last level whose downsample is <= `downsample` (level 0 if there is none): OpenSlide's rule. */
SW_API int sw_slide_best_level(const sw_slide *slide, double downsample);

/* --- reading. All of it may be called from several threads on one slide. Pixels outside the slide and transparent
 * ones are white. A read that fails is tried once more on a freshly opened file; the message names the region. */

/* Pixels [height, width, 3] of `level`, top-left corner at level-0 position (level0_x, level0_y); no resizing. */
SW_API sw_status sw_slide_read(sw_slide *slide, int level, int64_t level0_x, int64_t level0_y, int64_t width,
                               int64_t height, uint8_t *rgb, sw_error *err) SW_MUST_CHECK;
/* A level-0 rectangle (real numbers) resized to width x height pixels: read at the coarsest level that is not coarser
 * than asked by more than 1 %, then resized with antialias. rgb: [height, width, 3]. */
SW_API sw_status sw_slide_read_area(sw_slide *slide, double level0_x, double level0_y, double level0_width,
                                    double level0_height, int64_t width, int64_t height, uint8_t *rgb, sw_error *err)
    SW_MUST_CHECK;
/* A square patch of patch_px pixels at mpp_um microns per pixel, top-left corner at (level0_x, level0_y).
 * rgb: [patch_px, patch_px, 3]. Fails like sw_slide_need_mpp. Where a level has this resolution (to less than half a
 * pixel over the patch) its pixels are returned as they are. */
SW_API sw_status sw_slide_read_patch(sw_slide *slide, int64_t level0_x, int64_t level0_y, int patch_px, double mpp_um,
                                     uint8_t *rgb, sw_error *err) SW_MUST_CHECK;
/* Side in level-0 pixels of such a patch: patch_px * mpp_um / slide's mpp_um (a real number). */
SW_API sw_status sw_slide_patch_side(const sw_slide *slide, int patch_px, double mpp_um, double *level0_px, sw_error *err)
    SW_MUST_CHECK;
/* The whole slide in at most max_pixels pixels; where it is damaged it is white (SW_E_FORMAT: nothing can be read). *downsample (may be NULL): level-0 pixels per pixel of the picture.
 * *out is overwritten; empty on failure. */
SW_API sw_status sw_slide_thumbnail(sw_slide *slide, int64_t max_pixels, sw_image *out, double *downsample, sw_error *err)
    SW_MUST_CHECK;

/* --- lists of slides */

typedef struct sw_slide_entry {
    char *slide_id; /* file name without its last extension */
    char *path;
    double mpp_um;  /* from a table; 0: not given */
} sw_slide_entry;

typedef struct sw_slide_list {
    sw_slide_entry *entry; /* owned; files and folders in the order given, files of a folder by name */
    size_t count, capacity;
    uint32_t *slot; /* private: where an id is looked up; NULL: entry by entry */
    size_t n_slots;
} sw_slide_list;

/* Expands operands into `list` (zeroed by the caller; what was added stays on failure, free it anyway):
 *   a file                -> that slide
 *   a folder              -> its files with a slide's extension (not its sub-folders)
 *   a .csv                -> its rows; a column slide_id, wsi, path, slide or filename names the slide, a column mpp
 *                            (optional) its resolution. A row that names a slide already listed by another operand
 *                            gives that slide's mpp; a name is a path (absolute, or relative to the CSV's folder) or
 *                            the id of a slide file in the CSV's folder.
 * The same file twice counts once. Two files with one slide_id, an unknown file, an empty folder and a bad mpp are
 * errors that name both sides. */
SW_API sw_status sw_slide_list_expand(const char *const *operands, size_t n_operands, sw_slide_list *list, sw_error *err)
    SW_MUST_CHECK;
/* Sets mpp_um of the listed slides from a CSV with columns slide_id (or wsi, path, slide, filename) and mpp. Rows about
 * slides that are not listed are ignored; *n_set (may be NULL) counts the slides that got one. */
SW_API sw_status sw_slide_list_apply_mpp(sw_slide_list *list, const char *csv_path, size_t *n_set, sw_error *err)
    SW_MUST_CHECK;
SW_API const sw_slide_entry *sw_slide_list_find(const sw_slide_list *list, const char *slide_id); /* NULL: absent */
SW_API void sw_slide_list_free(sw_slide_list *list); /* clears it; fit for SW_CLEANUP */

#ifdef __cplusplus
}
#endif

#endif
