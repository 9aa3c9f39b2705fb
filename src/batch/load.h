/* SPDX-License-Identifier: Apache-2.0 */
/* What training and evaluation loaders share: one patch from bytes to normalised planes, and where time goes. */
#ifndef SW_BATCH_LOAD_H
#define SW_BATCH_LOAD_H

#include "batch/batch.h"

/* Adds the time since the last lap to a counter; one timer per patch. */
typedef struct sw_timer {
    int64_t last_ns;
    int64_t read_ns, decode_ns, augment_ns;
} sw_timer;
sw_timer sw_timer_start(void);
void sw_timer_lap(sw_timer *timer, int64_t *counter);
/* Adds to the shared counters, from any thread. */
void sw_timer_add(sw_batch_timing *timing, const sw_timer *timer);

/* One patch of a store as RGB [patch_px, patch_px, 3]; laps `timer` (may be NULL). Messages name store, slide, patch. */
sw_status sw_store_decode(const sw_store *store, int64_t slide, int scale, int64_t index, int patch_px, uint8_t *rgb,
                          sw_timer *timer, sw_error *err) SW_MUST_CHECK;

/* Constants of a loader's pixels. */
typedef struct sw_pixel_rule {
    bool swap; /* blue first */
    float scale[3], offset[3];
} sw_pixel_rule;
sw_pixel_rule sw_pixel_rule_of(sw_channel_order order);
/* rgb [patch_px, patch_px, 3] (changed in place when the rule swaps) -> planes [3, px, px]. */
sw_status sw_pixels_to_planes(const sw_pixel_rule *rule, uint8_t *rgb, int patch_px, const sw_crop *crop, int px,
                              float *planes, sw_error *err) SW_MUST_CHECK;

/* How the patches of one step are cut and mirrored: crop [n_bags * bag_patches]. `bag`: identities; source_px: sides of the
 * patches, [n_bags * bag_patches]. */
typedef struct sw_augment_step {
    const sw_augment *augment;
    uint64_t seed;
    uint32_t epoch, step;
    int64_t n_bags, bag_patches;
    const int64_t *bag;
    const int *source_px;
} sw_augment_step;
sw_status sw_augment_draw(const sw_augment_step *step, sw_crop *crop, sw_error *err) SW_MUST_CHECK;

/* What the steps of an epoch are drawn from. */
typedef struct sw_draw {
    const sw_store *store;
    const sw_dataset *dataset;
    const sw_bag_scales *scales;
    const sw_loader_options *options;
    const int64_t *order; /* [n_bags] index into the dataset, in this epoch's order */
    int64_t n_bags;
    uint32_t epoch;
} sw_draw;
/* One step, with one owner. The same whoever draws it and whenever. */
sw_status sw_batch_draw(const sw_draw *draw, int64_t step, sw_batch **out, sw_error *err) SW_MUST_CHECK;
sw_batch *sw_batch_share(sw_batch *batch); /* one more owner; from any thread */

#endif
