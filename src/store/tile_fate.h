/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of the patches of a slide's grids: kept, unreadable, or left out for what their pixels show. */
#ifndef SW_STORE_TILE_FATE_H
#define SW_STORE_TILE_FATE_H

#include <pthread.h>

#include "base/buf.h"
#include "base/thread.h"
#include "slidewise/tile.h"

typedef struct sw_tile_bad {
    int scale;
    int64_t index, level0_x, level0_y; /* index: in the grid as it was laid */
    char *reason;
} sw_tile_bad;

typedef struct sw_tile_fates {
    int n_scales;
    uint8_t *kind[SW_STORE_MAX_SCALES]; /* [n_patches] sw_left_out; a patch's is set by the thread that reads it */
    int64_t n_left_out[SW_STORE_MAX_SCALES][SW_LEFT_KINDS]; /* known once it is settled */
    sw_tile_bad *bad; /* [n_bad]; in the order of scales and indices once it is settled */
    size_t n_bad, bad_capacity;
    pthread_mutex_t lock; /* of bad */
    bool has_lock;
} sw_tile_fates;

/* *out is overwritten; free it in any case. */
sw_status sw_tile_fates_new(const sw_grid *grid, int n_scales, sw_tile_fates *out, sw_error *err) SW_MUST_CHECK;
void sw_tile_fates_free(sw_tile_fates *fates);

/* From any thread, once per patch: notes a patch that cannot be read; judges one by its pixels [patch_px, patch_px, 3]. */
sw_status sw_tile_fates_unreadable(sw_tile_fates *fates, int scale, int64_t index, const int64_t *xy, const sw_error *why,
                                   sw_error *err) SW_MUST_CHECK;
sw_left_out sw_tile_fates_judge(sw_tile_fates *fates, int scale, int64_t index, const uint8_t *rgb, int patch_px,
                                const sw_artefact_options *options);

/* When all patches are known: counts, and takes those that are left out from the grids. A scale without any patch left is
 * SW_E_FORMAT where damage has taken them all, else SW_E_INVALID. One warning about unreadable patches goes to `sink`. */
sw_status sw_tile_fates_settle(sw_tile_fates *fates, const char *slide_id, sw_grid *grid, const sw_sink *sink, sw_error *err) SW_MUST_CHECK;
/* The unreadable patches as sw_store_slide.unreadable_json wants them. */
sw_status sw_tile_fates_json(const sw_tile_fates *fates, sw_buf *out, sw_error *err) SW_MUST_CHECK;

/* Reads every patch of the grids and notes what becomes of it. `pool` NULL: on this thread. */
sw_status sw_tile_fates_screen(sw_tile_fates *fates, sw_slide *slide, const sw_artefact_options *options, const sw_grid *grid,
                               sw_pool *pool, const sw_sink *sink, sw_error *err) SW_MUST_CHECK;
/* For who reads patches straight from a slide: the grid without patches that cannot be read or that `options` leave out. */
sw_status sw_tile_screen(sw_slide *slide, const sw_artefact_options *options, sw_grid *grid, sw_pool *pool, const sw_sink *sink,
                         sw_error *err) SW_MUST_CHECK;

#endif
