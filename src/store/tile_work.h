/* SPDX-License-Identifier: Apache-2.0 */
/* Tiling, inside: settings as text, and one slide's work. */
#ifndef SW_STORE_TILE_WORK_H
#define SW_STORE_TILE_WORK_H

#include <stdatomic.h>

#include "base/thread.h"
#include "slidewise/tile.h"
#include "store/hdf5_reader.h"
#include "store/tile_fate.h"
#include "tissue/process_list.h"

#define SW_TILE_SETTINGS_MAX 32

/* Settings as names and values; the texts lie in `text`. */
typedef struct sw_tile_pairs {
    sw_store_setting_pair pair[SW_TILE_SETTINGS_MAX];
    size_t count;
    char text[SW_TILE_SETTINGS_MAX][256];
} sw_tile_pairs;
void sw_tile_pairs_make(const sw_tile_settings *settings, sw_tile_pairs *out);
/* Adds the checksum of the list, if there is one. */
void sw_tile_pairs_process_list(const sw_process_list *list, sw_tile_pairs *out);
sw_status sw_tile_settings_check(const sw_tile_settings *settings, sw_error *err) SW_MUST_CHECK;

/* What all slides of a call share. */
typedef struct sw_tile_run {
    const sw_tile_options *options;
    sw_pool *pool;
    sw_process_list *process_list;   /* NULL: all slides alike */
    char *masks_dir, *overlays_dir, *contours_dir, *stitches_dir; /* NULL: not wanted */
    char *trident_contours_dir;                    /* NULL: not wanted */
    sw_h5_reader *reader;                          /* of given positions; NULL: there are none */
    atomic_llong read_ns, encode_ns;               /* over all threads */
} sw_tile_run;

#define SW_TILE_CHUNK 32
typedef struct sw_tile_chunk {
    int scale;
    int64_t first;
    int count;
    uint8_t *jpeg[SW_TILE_CHUNK]; /* owned; NULL: the patch is left out */
    size_t size[SW_TILE_CHUNK];
    bool passed[SW_TILE_CHUNK]; /* the slide's own tile */
} sw_tile_chunk;
void sw_tile_chunk_free(sw_tile_chunk *chunk);

/* A slide between its opening and its commit. */
typedef struct sw_tile_job {
    sw_tile_run *run;
    const sw_slide_entry *entry;
    sw_slide *slide;
    sw_tissue tissue;
    sw_image thumbnail; /* empty: no pictures are wanted, or they are written */
    sw_grid grid[SW_STORE_MAX_SCALES];
    bool positions_only; /* nothing is written to the store: there is none, or the slide is in it */
    bool in_store;       /* and stays as it is */
    sw_tile_fates fates;
    int64_t n_passed_through[SW_STORE_MAX_SCALES]; /* as far as it is written */
    int64_t n_patches, n_chunks;
    int64_t chunks_before[SW_STORE_MAX_SCALES + 1]; /* of the scales before */
    sw_tile_chunk **chunk; /* [n_chunks] of small slides, encoded with the opening; NULL: encoded while they are written */
    int64_t spent_ns;
    sw_tile_status status; /* SW_TILE_DONE: ready to be written */
    sw_error error;        /* of any other status */
} sw_tile_job;

/* Opens, segments, lays the grids; encodes small slides. A slide that fails says so in the job; only a lack of memory for the job
 * itself is an error. */
sw_status sw_tile_job_new(sw_tile_run *run, const sw_slide_entry *entry, bool positions_only, bool in_store, sw_tile_job **out,
                          sw_error *err) SW_MUST_CHECK;
void sw_tile_job_free(sw_tile_job *job);
/* Chunk `index` of the slide: its patches as JPEGs (tile_chunk.c). */
sw_status sw_tile_job_chunk(sw_tile_job *job, int64_t index, sw_tile_chunk **out, sw_error *err) SW_MUST_CHECK;
/* Commits it, in place of the one of that id where there is one, and writes its positions for other tools. *fatal: it was the
 * store that failed, not the slide. `wrote` is called after every chunk. */
sw_status sw_tile_job_write(sw_tile_job *job, sw_store_writer *writer, void (*wrote)(void *ctx, int64_t patches), void *ctx,
                            bool *fatal, sw_error *err) SW_MUST_CHECK;
/* Of a slide that is in the store: the positions that the store holds, for other tools and the stitched picture, whatever the
 * slide gives today. */
sw_status sw_tile_job_export_stored(sw_tile_job *job, sw_store_writer *writer, sw_error *err) SW_MUST_CHECK;
/* The share of the slide that is tissue; of given positions, that the patches cover. */
double sw_tile_job_tissue(const sw_tile_job *job);
/* Opens a slide with the resolution that its entry or `slide_mpp_um` gives, to be read as `how` says (NULL: by default). `sink`: may
 * be NULL. */
sw_status sw_tile_open_slide(const sw_slide_entry *entry, double slide_mpp_um, const sw_tile_options *how, const sw_sink *sink,
                             sw_slide **out, sw_error *err) SW_MUST_CHECK;

/* --- a share of the slides (tile_shard.c) */

typedef struct sw_tile_shard {
    const char *folder; /* of all shards; borrowed from the options */
    char *name, *store; /* "shard-1-of-4" and its path */
    char *mark;         /* the file that says that it is not finished */
    sw_slide_list mine; /* entries borrowed from the whole list */
} sw_tile_shard;
sw_status sw_tile_shard_new(const sw_tile_options *options, const sw_slide_list *slides, sw_tile_shard *out, sw_error *err) SW_MUST_CHECK;
void sw_tile_shard_free(sw_tile_shard *shard);
/* Makes the list of all shards, or compares with the one that another process made. Before the shard's store is opened. */
sw_status sw_tile_shard_list(const sw_tile_shard *shard, const sw_tile_options *options, const sw_tile_pairs *pairs, sw_error *err) SW_MUST_CHECK;
/* Leaves the mark: the store must be open for writing, so that nobody else leaves or removes one. */
sw_status sw_tile_shard_begin(const sw_tile_shard *shard, sw_error *err) SW_MUST_CHECK;
/* Takes it away, and makes the tables of all shards that there are so far. */
sw_status sw_tile_shard_end(const sw_tile_shard *shard, sw_error *err) SW_MUST_CHECK;

/* --- pictures (tile_picture.c) */

/* Makes the folders of those that are wanted. */
sw_status sw_tile_pictures_begin(sw_tile_run *run, sw_error *err) SW_MUST_CHECK;
void sw_tile_pictures_end(sw_tile_run *run);
/* *missing: pictures are wanted, and the slide has none yet. */
sw_status sw_tile_pictures_missing(const sw_tile_run *run, const char *slide_id, bool *missing, sw_error *err) SW_MUST_CHECK;
/* Those of the tissue; reads the thumbnail for the stitched ones. */
sw_status sw_tile_pictures_tissue(sw_tile_job *job, sw_error *err) SW_MUST_CHECK;
/* Those of the grids, which must be settled; frees the thumbnail. */
sw_status sw_tile_pictures_stitch(sw_tile_job *job, sw_error *err) SW_MUST_CHECK;

/* --- positions that come from or go to files of other tools (tile_coords.c) */

/* How many scales `coords` of sw_tile_options names. */
sw_status sw_tile_given_count(const char *coords, int *n_scales, sw_error *err) SW_MUST_CHECK;
/* The grid of a slide whose positions are given, at one of the scales; grid->mpp_um is the true resolution of its patches. `reader` as of
 * sw_coords_read_by. */
sw_status sw_tile_given_grid(sw_h5_reader *reader, const sw_tile_options *options, const sw_slide *slide, int scale, sw_grid *out, sw_error *err) SW_MUST_CHECK;
/* Whether the call writes files of other tools. */
bool sw_tile_exports(const sw_tile_options *options);
sw_status sw_tile_export(const sw_tile_job *job, sw_error *err) SW_MUST_CHECK;
/* STORE/unreadable.csv: the patches of all its slides that could not be read; no file where there is none. */
sw_status sw_tile_write_unreadable(const char *store, const sw_store_writer *writer, sw_error *err) SW_MUST_CHECK;
/* CLAM's process_list_autogen.csv: the rows of the result, then what the file holds of other slides. */
sw_status sw_tile_export_list(const sw_tile_run *run, const sw_tile_result *result, sw_error *err) SW_MUST_CHECK;
/* The tissue's parameters of a slide of the call. */
const sw_tissue_options *sw_tile_tissue_options(const sw_tile_run *run, const char *slide_id);

/* The kind of failure of a read. */
sw_tile_status sw_tile_status_of(sw_status status);

#endif
