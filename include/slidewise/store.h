/* SPDX-License-Identifier: Apache-2.0 */
/* Patches on disk: a store is one LMDB directory that holds whole slides, each at one or more scales. A slide is
 * committed at once: what can be seen in a store is always complete. Every record carries a checksum. */
#ifndef SLIDEWISE_STORE_H
#define SLIDEWISE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "slidewise/artefact.h"
#include "slidewise/error.h"
#include "slidewise/log.h"

#ifdef __cplusplus
extern "C" {
#endif

#define SW_STORE_MAX_SCALES 16

/* The patches of one slide at one resolution. */
typedef struct sw_store_scale {
    double mpp_um, magnification; /* of the patches; magnification = 10 / mpp_um */
    int patch_px;                 /* side of a patch, pixels */
    int overlap_px;               /* of neighbours, pixels at mpp_um */
    int quality;                  /* of the JPEGs */
    double patch_level0_px;       /* side of a patch, level-0 pixels (a real number); 0: imported without positions, which are then
                                     all (0, 0) */
    double step_level0_px;        /* distance of neighbours, level-0 pixels */
    int64_t n_patches;
    int64_t n_passed_through;     /* of them, the slide's own JPEG tiles, stored as they are; `quality` is not theirs */
    int64_t n_left_out[SW_LEFT_KINDS]; /* patches of the grid that are not here, by reason ([SW_LEFT_NOT]: 0) */
} sw_store_scale;

/* What is known of a slide. Texts are borrowed: from the store until it is closed; in sw_store_commit from the caller
 * for the call. */
typedef struct sw_store_slide {
    const char *slide_id;
    const char *path;            /* of the slide file when it was tiled */
    int64_t source_bytes;        /* size of that file; 0: unknown (imported) */
    int64_t width, height;       /* level 0; 0: unknown (imported without the slide) */
    double mpp_um;               /* of level 0; 0: unknown (imported without the slide) */
    const char *mpp_source;      /* sw_mpp_source_name */
    double tissue_fraction;      /* share of the slide's area that is tissue; 1 for whole images */
    double seconds;              /* that tiling took */
    const char *properties_json; /* the slide file's own properties, one JSON object */
    const char *unreadable_json; /* patches that were left out as unreadable: a JSON array of objects with scale (index), level0_x,
                                    level0_y and reason; NULL to sw_store_commit: none */
    double unreadable_fraction;  /* share of the picture that is looked at for tissue which could not be read: no tissue there */
    int n_scales;
    sw_store_scale scale[SW_STORE_MAX_SCALES];
} sw_store_slide;

/* --- reading */

typedef struct sw_store sw_store;

/* Opens a store read-only, as it is now: slides added later need a new opening. Works on read-only media. `path` is the folder of
 * a store, or a list of stores that are read as one: a folder with stores.json (sw_store_join, sw_tile_options.n_shards), or such a
 * file itself, *.json. All of them are opened at once (two files and two maps of each) and have the same settings; a slide is in
 * one of them only (SW_E_INVALID names both). SW_E_NOT_FOUND names the first that is missing and what makes it. Open a store
 * once per process and share the handle between threads (LMDB's file locks belong to the process).
 * *out is owned by the caller; untouched on failure. SW_E_NOT_FOUND: no such folder; SW_E_FORMAT: the folder is not a
 * store, is of another version, truncated or corrupt (no damage of the file ends the process); SW_E_IO: may not be read. */
SW_API sw_status sw_store_open(const char *path, sw_store **out, sw_error *err) SW_MUST_CHECK;
/* What stands in for a store where patches stay on their slides: positions from files of coordinates, pixels on demand. */
struct sw_slide_list;
typedef struct sw_store_slides_options {
    const struct sw_slide_list *slides; /* the slides; one whose positions fail is left out with a warning */
    const char *coords;   /* file or folder of coordinates (sw_coords_find), or several, one per scale, with commas between; required */
    double slide_mpp_um;  /* resolution of slides that carry none; 0 (default): they are left out */
    double mpp_um[SW_STORE_MAX_SCALES]; /* names of the scales, in the order of `coords` */
    int n_mpp;            /* how many; where that is not the number of places (0, the default): as sw_tile_settings_given finds them */
    int patch_px;         /* 0 (default): as the files say */
    bool exact;           /* sw_slide_options.exact; default false */
    int64_t cache_bytes;  /* for pixels that were read, default 256 MiB; 0: none. Up to 32 slides are kept open besides */
    int threads;          /* to look at the slides with; 0 (default): all CPUs of this process */
    const sw_sink *sink;  /* may be NULL; for this call */
} sw_store_slides_options;
SW_API sw_store_slides_options sw_store_slides_options_default(void);
/* Everything below serves it like a store, but sw_store_patch (SW_E_UNSUPPORTED: there is no JPEG). Slides and coordinates must
 * stay where they are. */
SW_API sw_status sw_store_open_slides(const sw_store_slides_options *options, sw_store **out, sw_error *err) SW_MUST_CHECK;
/* What stands in for a store where features take the place of patches: one HDF5 file per slide, as slidewise encode, CLAM, TRIDENT and
 * STAMP write them ("features" or "feats", [n, dim] or [1, n, dim], and "coords" where there are positions). */
typedef struct sw_store_features_options {
    const char *path;    /* a folder of SLIDE.h5, or one that holds CLAM's h5_files or one of TRIDENT's features_ENCODER; or one file. Required */
    int64_t cache_bytes; /* for features that were read, default 256 MiB; 0: none. What is in use is in memory besides */
    int threads;         /* to look at the files with; 0 (default): all CPUs of this process */
    const sw_sink *sink; /* may be NULL; for this call */
} sw_store_features_options;
SW_API sw_store_features_options sw_store_features_options_default(void);
/* Each slide has one scale, by convention of 1 um per pixel, and the id that its file is named by. Files are read in processes of their
 * own, and a damaged one ends none. One that cannot be read, or holds no patch, is left out with a warning. SW_E_INVALID: files of
 * different widths (the message names two), or several folders to choose from; SW_E_NOT_FOUND: no file. */
SW_API sw_status sw_store_open_features(const sw_store_features_options *options, sw_store **out, sw_error *err) SW_MUST_CHECK;
/* The files that operands name, each a file or a folder as above, as slides: free with sw_slide_list_free. */
SW_API sw_status sw_store_features_list(const char *const *operands, size_t n_operands, struct sw_slide_list *list, sw_error *err) SW_MUST_CHECK;
SW_API void sw_store_close(sw_store **store); /* sets *store to NULL; fit for SW_CLEANUP */

SW_API const char *sw_store_path(const sw_store *store);

/* What it is made of: itself, or the stores of its list in the list's order; none where patches stay on their slides. */
typedef struct sw_store_part {
    const char *path;
    int64_t n_slides, n_patches; /* patches of all scales */
    int64_t bytes;               /* of its data file */
    bool unfinished;             /* it is a shard whose tiling goes on or was stopped: slides are missing */
} sw_store_part;
SW_API bool sw_store_is_list(const sw_store *store);
SW_API size_t sw_store_part_count(const sw_store *store);
SW_API const sw_store_part *sw_store_part_get(const sw_store *store, size_t index); /* NULL: out of range */

/* Makes FOLDER/stores.json, or adds to the one that is there: what sw_store_open takes as one store. Nothing is copied; paths are
 * kept relative to the folder where that is possible. A store that is listed already stays so; of a list all its stores are added.
 * They are opened first, and when that fails (see sw_store_open) nothing is written. Also makes the tables of them all anew:
 * FOLDER/slides.csv and FOLDER/unreadable.csv, with the store of each row. n_stores may be 0 where there is a list. */
SW_API sw_status sw_store_join(const char *folder, const char *const *store, size_t n_stores, sw_error *err) SW_MUST_CHECK;

/* The settings a store was made with: names and values as text, in the order they were given. */
SW_API size_t sw_store_setting_count(const sw_store *store);
SW_API const char *sw_store_setting_name(const sw_store *store, size_t index);
SW_API const char *sw_store_setting(const sw_store *store, const char *name); /* NULL: absent */

/* Slides in bytewise order of their ids, whatever the order in which they were added. `slide` below is an index into
 * this list, `scale` one into sw_store_slide.scale. Indices out of range give NULL, 0 or SW_E_INVALID. */
SW_API int64_t sw_store_slide_count(const sw_store *store);
SW_API int64_t sw_store_find(const sw_store *store, const char *slide_id); /* -1: absent */
SW_API const sw_store_slide *sw_store_slide_get(const sw_store *store, int64_t slide);
SW_API const char *sw_store_slide_id(const sw_store *store, int64_t slide);
SW_API int sw_store_scale_count(const sw_store *store, int64_t slide);
SW_API const sw_store_scale *sw_store_scale_get(const sw_store *store, int64_t slide, int scale);
/* The scale of a slide whose mpp_um is within 1 % of `mpp_um`; -1: none. */
SW_API int sw_store_scale_find(const sw_store *store, int64_t slide, double mpp_um);

/* Top-left corners in level-0 pixels: xy is [n_patches, 2], caller's. Checked against the checksum. Of features: as their file has them,
 * rounded (of STAMP's in microns), or SW_E_NOT_FOUND. */
SW_API sw_status sw_store_coords(const sw_store *store, int64_t slide, int scale, int64_t *xy, sw_error *err)
    SW_MUST_CHECK;
/* The JPEG of one patch, checked against its checksum; borrowed until the store is closed (it lies in the memory map).
 * One lookup. May be called from any number of threads. */
SW_API sw_status sw_store_patch(const sw_store *store, int64_t slide, int scale, int64_t index, const void **jpeg,
                                size_t *size, sw_error *err) SW_MUST_CHECK;
/* The caller is through with a patch's bytes for now (they stay valid): their pages leave this process, so that its memory
 * does not grow with what it has read, and stay in the system's cache. From any thread. */
SW_API void sw_store_patch_done(const sw_store *store, const void *jpeg, size_t size);

/* True: sw_store_patch gives the patches; false: they stay on their slides, sw_store_pixels gives them; or there are features of them only. */
SW_API bool sw_store_has_jpegs(const sw_store *store);
/* Pixels [patch_px, patch_px, 3] of one patch that stays on its slide (SW_E_UNSUPPORTED in a store of JPEGs). May be called from
 * any number of threads. The message names slide and patch. */
SW_API sw_status sw_store_pixels(const sw_store *store, int64_t slide, int scale, int64_t index, uint8_t *rgb, sw_error *err)
    SW_MUST_CHECK;

/* How wide the features of a patch are; 0: its patches are pixels. */
SW_API int sw_store_feature_dim(const sw_store *store);
/* Features [n, dim] of patches index [n] of a slide (SW_E_UNSUPPORTED where patches are pixels). The first call for a slide reads its whole
 * file. From any number of threads. A feature that is not finite is SW_E_FORMAT. */
SW_API sw_status sw_store_features(const sw_store *store, int64_t slide, const int64_t *index, int64_t n, float *out, sw_error *err)
    SW_MUST_CHECK;

/* What is wrong with one record. The message is borrowed for the call. */
typedef struct sw_store_fault {
    int64_t slide; /* index; -1: of no slide */
    int scale;     /* -1: of no scale */
    int64_t patch; /* -1: the scale's coordinates, or what has none */
    const char *message;
} sw_store_fault;
typedef void (*sw_store_fault_fn)(void *ctx, const sw_store_fault *fault);
/* Checks every record and LMDB's own pages, and tells each record that is missing or damaged, or belongs to nothing, and the first page
 * that does not fit the others. *n_records and *n_faults (both may be NULL) count; faults are not an error of this call. What
 * opening the store has read (its head and its slides' descriptions) is known to be whole. */
SW_API sw_status sw_store_check(const sw_store *store, const sw_sink *sink, sw_store_fault_fn fn, void *ctx, int64_t *n_records,
                                int64_t *n_faults, sw_error *err) SW_MUST_CHECK;
/* Checks every record; the first bad one is the error. *n_records (may be NULL) counts what was checked. */
SW_API sw_status sw_store_verify(const sw_store *store, const sw_sink *sink, int64_t *n_records, sw_error *err)
    SW_MUST_CHECK;

/* --- writing: one writer per store at a time, used from one thread */

typedef struct sw_store_writer sw_store_writer;

typedef struct sw_store_setting_pair {
    const char *name, *value;
} sw_store_setting_pair;

/* Opens or creates a store for writing. A new store keeps `settings`; an existing one must have the same, or SW_E_INVALID
 * names the first that differs, both values and the mend. A second writer is refused (SW_E_IO). The settings are copied.
 * *out is owned by the caller; untouched on failure. */
SW_API sw_status sw_store_writer_open(const char *path, const sw_store_setting_pair *settings, size_t n_settings,
                                      sw_store_writer **out, sw_error *err) SW_MUST_CHECK;
/* A slide that was begun and not committed is dropped. Sets *writer to NULL; fit for SW_CLEANUP. */
SW_API void sw_store_writer_close(sw_store_writer **writer);

SW_API int64_t sw_store_writer_count(const sw_store_writer *writer);
/* What the store knows of a slide that is in it; NULL: not in it. Borrowed until the next commit. */
SW_API const sw_store_slide *sw_store_writer_find(const sw_store_writer *writer, const char *slide_id);
/* Its positions: xy is [n_patches of the scale, 2], the caller's. Not while a slide is being written (SW_E_INTERNAL). */
SW_API sw_status sw_store_writer_coords(sw_store_writer *writer, const char *slide_id, int scale, int64_t *xy, sw_error *err) SW_MUST_CHECK;
SW_API const sw_store_slide *sw_store_writer_get(const sw_store_writer *writer, int64_t index); /* in id order */

/* One slide: begin, then all patches of scale 0 from index 0 up, of scale 1, …, then commit. Any failure drops the
 * whole slide; the writer can begin another. A full disk is SW_E_NOSPACE. */
SW_API sw_status sw_store_begin(sw_store_writer *writer, const char *slide_id, sw_error *err) SW_MUST_CHECK;
/* The same for a slide that the store holds: it is replaced when the new one is committed, and stays as it was otherwise. */
SW_API sw_status sw_store_begin_again(sw_store_writer *writer, const char *slide_id, sw_error *err) SW_MUST_CHECK;
SW_API sw_status sw_store_put(sw_store_writer *writer, int scale, int64_t index, const void *jpeg, size_t size,
                              sw_error *err) SW_MUST_CHECK;
/* `slide`: everything about it (slide_id as begun, n_patches of each scale as put); xy[s]: [n_patches of s, 2]. */
SW_API sw_status sw_store_commit(sw_store_writer *writer, const sw_store_slide *slide, const int64_t *const *xy,
                                 sw_error *err) SW_MUST_CHECK;
SW_API void sw_store_abandon(sw_store_writer *writer); /* drops the slide that was begun, if any */

#ifdef __cplusplus
}
#endif

#endif
