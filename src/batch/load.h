/* SPDX-License-Identifier: Apache-2.0 */
/* What training and evaluation loaders share: one patch from bytes to normalised planes, and where time goes. */
#ifndef SW_BATCH_LOAD_H
#define SW_BATCH_LOAD_H

#include <pthread.h>

#include "batch/batch.h"
#include "slide/jpeg_reader.h"
#include "slide/resize.h"

/* Adds the time since the last lap to a counter; one timer per patch. */
typedef struct sw_timer {
    int64_t last_ns;
    int64_t read_ns, decode_ns, augment_ns;
} sw_timer;
sw_timer sw_timer_start(void);
void sw_timer_lap(sw_timer *timer, int64_t *counter);
/* Adds to the shared counters, from any thread. */
void sw_timer_add(sw_batch_timing *timing, const sw_timer *timer);

/* Constants of a loader's pixels. */
typedef struct sw_pixel_rule {
    bool swap;   /* blue first */
    bool scaled; /* decode at 1/2 or 1/4 where the crop is so much larger than the result: fast, not exact */
    float scale[3], offset[3];
} sw_pixel_rule;
sw_pixel_rule sw_pixel_rule_of(sw_channel_order order, sw_pixel_norm norm);

/* What a thread works with: a decoder and memory that stay from patch to patch. For one thread at a time. */
typedef struct sw_maker {
    struct sw_maker *next;
    sw_jpeg_reader *reader;
    sw_resize_scratch scratch;
    uint8_t *rgb; /* for patches that do not come as JPEG */
    size_t rgb_bytes;
} sw_maker;
/* Those that nobody uses now; there are never more than threads. */
typedef struct sw_makers {
    pthread_mutex_t lock;
    sw_maker *idle;
} sw_makers;
void sw_makers_init(sw_makers *makers);
void sw_makers_clear(sw_makers *makers);
sw_status sw_maker_take(sw_makers *makers, sw_maker **out, sw_error *err) SW_MUST_CHECK;
void sw_maker_give(sw_makers *makers, sw_maker *maker); /* NULL is fine */

/* How a patch becomes planes [3, px, px]. */
typedef struct sw_cut {
    const sw_pixel_rule *rule;
    int patch_px;
    const sw_crop *crop; /* of the patch */
    int px;
} sw_cut;
/* One patch of a store; only what the crop needs is decoded. Laps `timer`. Messages name store, slide, patch. */
sw_status sw_store_planes(const sw_store *store, int64_t slide, int scale, int64_t index, const sw_cut *cut,
                          sw_maker *maker, float *planes, sw_timer *timer, sw_error *err) SW_MUST_CHECK;
/* Whether a source has these ops; only then *self is set. */
bool sw_patch_source_is(const sw_patch_source *source, const sw_patch_source_ops *ops, void **self);
/* Whether a source is one scale of a slide of a store; the outputs are set only then. */
bool sw_patch_source_is_store(const sw_patch_source *source, const sw_store **store, int64_t *slide, int *scale);
/* The same of any source. */
sw_status sw_patch_source_planes(sw_patch_source *source, int64_t index, const sw_cut *cut, sw_maker *maker, float *planes,
                                 sw_timer *timer, sw_error *err) SW_MUST_CHECK;

/* Places [n, 2] on a grid: column and row, in steps of neighbours. Unknown ones are not numbers. */
void sw_places_unknown(float *xy, int64_t n);
void sw_places_of(const int64_t *level0, int64_t n, double step_level0_px, float *xy);
/* From the grid's first column on, and below what was placed so far: *below is the first free row, and moves on. */
void sw_places_below(float *xy, int64_t n, float *below);
sw_status sw_store_places(const sw_store *store, int64_t slide, int scale, float *xy, sw_error *err) SW_MUST_CHECK;
/* Fills batch->xy. */
sw_status sw_batch_places(const sw_store *store, const sw_dataset *dataset, const sw_bag_scales *scales, sw_batch *batch,
                          sw_error *err) SW_MUST_CHECK;

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
    const int64_t *order; /* [n_bags] index into the dataset + copy * its bags, in this epoch's order */
    int64_t n_bags;       /* per epoch */
    uint32_t epoch;
    const int32_t *const *cluster; /* [bags of the dataset] of each bag's patches, where these are drawn by clusters */
    const sw_batch_given *given; /* patches and crops of the one step that is drawn; NULL: they are drawn here */
} sw_draw;
/* One step, with one owner. The same whoever draws it and whenever. */
sw_status sw_batch_draw(const sw_draw *draw, int64_t step, sw_batch **out, sw_error *err) SW_MUST_CHECK;
sw_batch *sw_batch_share(sw_batch *batch); /* one more owner; from any thread */

#endif
