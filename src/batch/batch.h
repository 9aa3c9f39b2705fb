/* SPDX-License-Identifier: Apache-2.0 */
/* From patches on disk (or on a slide) to normalised pixels in host memory: read, decode, augment, ahead of need. */
#ifndef SW_BATCH_BATCH_H
#define SW_BATCH_BATCH_H

#include "base/thread.h"
#include "config/config.h"
#include "dataset/dataset.h"
#include "sampler/sampler.h"
#include "slidewise/slide.h"
#include "slidewise/store.h"

/* --- patches, wherever they lie */

/* A list of square patches, or of features of them. Implementations are below; `read` may be called from several threads at once. */
typedef struct sw_patch_source sw_patch_source;
typedef struct sw_patch_source_ops {
    /* Pixels [patch_px, patch_px, 3], RGB. The message names slide and patch. */
    sw_status (*read)(void *self, int64_t index, uint8_t *rgb, sw_error *err);
    void (*destroy)(void *self);
    /* NULL: unknown. xy [count, 2] as sw_patch_source_places gives them; step_level0_px 0: as far apart as patches are wide. */
    sw_status (*places)(void *self, double step_level0_px, float *xy, sw_error *err);
} sw_patch_source_ops;

/* For implementations: takes `self` on success. `name` (a slide's id) is copied. */
sw_status sw_patch_source_new(const sw_patch_source_ops *ops, void *self, const char *name, int64_t count, int patch_px,
                              sw_patch_source **out, sw_error *err) SW_MUST_CHECK;
void sw_patch_source_free(sw_patch_source *source);
int64_t sw_patch_source_count(const sw_patch_source *source);
int sw_patch_source_px(const sw_patch_source *source);
const char *sw_patch_source_name(const sw_patch_source *source); /* borrowed */
sw_status sw_patch_source_read(sw_patch_source *source, int64_t index, uint8_t *rgb, sw_error *err) SW_MUST_CHECK;

/* Features [count, dim] of patches first and on. A source of pixels, or of features of another width, is SW_E_INVALID. */
sw_status sw_patch_source_features(sw_patch_source *source, int64_t first, int64_t count, int dim, float *out, sw_error *err) SW_MUST_CHECK;

/* Where the patches lie on the grid of their slide: column and row, xy [count, 2], in steps of neighbours and from the slide's
 * corner on (so whole numbers only where a grid begins there); the parts of a joined source one below the other. Not numbers where
 * positions are unknown. */
sw_status sw_patch_source_places(sw_patch_source *source, float *xy, sw_error *err) SW_MUST_CHECK;
/* The distance of neighbours in level-0 pixels, for a source that does not know it by itself: patches read from a slide. */
void sw_patch_source_set_step(sw_patch_source *source, double step_level0_px);

/* All patches of one slide of a store at one scale; borrows the store. */
sw_status sw_patch_source_store(const sw_store *store, int64_t slide, int scale, sw_patch_source **out, sw_error *err)
    SW_MUST_CHECK;
/* Patches read from a slide: xy [count, 2] level-0 corners (copied), patch_px at mpp_um; borrows the slide. */
sw_status sw_patch_source_slide(sw_slide *slide, const int64_t *xy, int64_t count, int patch_px, double mpp_um,
                                sw_patch_source **out, sw_error *err) SW_MUST_CHECK;

/* The patches of several sources as one list, one source after the other; takes the sources on success. */
sw_status sw_patch_source_join(sw_patch_source *const *part, int64_t parts, const char *name, sw_patch_source **out,
                               sw_error *err) SW_MUST_CHECK;
/* The source that holds patch *index, which becomes its index there: a part of a joined source, else `source` itself. */
sw_patch_source *sw_patch_source_part(sw_patch_source *source, int64_t *index);

/* --- the patches of a bag: those of its slides, one slide after the other in the bag's order */

typedef struct sw_bag_place {
    int64_t slide; /* index into the store; -1: no such patch */
    int scale;     /* of that slide */
    int64_t patch; /* of that scale */
} sw_bag_place;
int64_t sw_bag_patches(const sw_store *store, const sw_bag *bag, double mpp_um); /* 0 where no slide has the scale */
sw_bag_place sw_bag_locate(const sw_store *store, const sw_bag *bag, double mpp_um, int64_t patch);
/* All of them; borrows the store. A slide that lacks the scale is SW_E_NOT_FOUND. */
sw_status sw_bag_source(const sw_store *store, const sw_bag *bag, double mpp_um, sw_patch_source **out, sw_error *err)
    SW_MUST_CHECK;

/* --- scales of a run */

/* The scales of a bag as the store holds them, low magnification first. */
typedef struct sw_bag_scales {
    int n;
    double mpp_um[SW_CONFIG_MAX_SCALES + 1]; /* [n], and eval.mpp at n where it is none of them */
    sw_sample_plan plan; /* patches per scale */
    int eval;            /* index into mpp_um: what validation and test use, eval.mpp or the finest */
} sw_bag_scales;
/* bag.scales of the config, or every scale of the store's slides where it names none; checked against every bag of
 * `dataset`: the message names the slide that lacks a scale and the scales it has. */
sw_status sw_bag_scales_resolve(const sw_config *config, const sw_store *store, const sw_dataset *dataset,
                                sw_bag_scales *out, sw_error *err) SW_MUST_CHECK;

/* --- augmentation */

typedef struct sw_augment {
    bool crop;            /* false: the whole patch is resized */
    int crop_px;          /* side of the result */
    double crop_scale;    /* least share of the area */
    double crop_ratio;    /* aspect ratio between 1/r and r */
    double hflip, vflip;  /* probabilities */
    double shift;         /* most that a patch is moved before it is cropped, of its side; black comes in */
    sw_augment_share share;
    sw_fast_decode fast_decode;
} sw_augment;
sw_augment sw_augment_of(const sw_config *config);

/* --- training */

typedef struct sw_batch_timing { /* summed over threads; nanoseconds */
    int64_t read_ns, decode_ns, augment_ns;
} sw_batch_timing;

/* What one step needs, all but its pixels, which come as a stream of chunks. Bag-major; inside a bag by scale, low
 * magnification first. Small, and shared: every owner frees it once. */
typedef struct sw_batch {
    int64_t n_bags, bag_patches; /* every bag has bag_patches patches */
    int64_t chunk_patches;       /* patches of a chunk; the last one has the rest */
    int64_t step;                /* of the epoch */
    int px;
    int32_t *label;    /* [n_bags] class index */
    int64_t *bag;      /* [n_bags] index into dataset->bag */
    int64_t *identity; /* [n_bags] what its random numbers are counted by: bag, and another number where it comes once more */
    sw_pick *pick;     /* [n_bags * bag_patches] what was drawn */
    int32_t *cluster;  /* [n_bags * bag_patches] the pick's cluster, -1: none; NULL: patches are not drawn by clusters */
    sw_crop *crop;     /* [n_bags * bag_patches] how it is cut and mirrored */
    int64_t *slide;    /* [n_bags * bag_patches] the pick's slide in the store, */
    int64_t *patch;    /* [n_bags * bag_patches] its index among that slide's patches, */
    int *scale_index;  /* [n_bags * bag_patches] and its scale among those of the slide */
    int *source_px;    /* [n_bags * bag_patches] side of the patch in the store */
    float *xy;         /* [n_bags * bag_patches, 2] column and row on the slide's grid, as sw_patch_source_places; slides and scales of a
                          bag lie one below the other. NULL: not asked for */
    int owners;
} sw_batch;
void sw_batch_free(sw_batch *batch); /* NULL is fine */
/* Hash of bags, picks, crops and flips. */
uint64_t sw_batch_digest(const sw_batch *batch);
int64_t sw_batch_chunks(const sw_batch *batch); /* of n_bags * bag_patches patches */
/* Which part of loading took longest: "reading", "decoding" or "augmenting". */
const char *sw_batch_timing_limit(const sw_batch_timing *timing);

typedef struct sw_loader_options {
    sw_augment augment;
    sw_channel_order channel_order;
    sw_pixel_norm normalise;
    double oversample; /* of each class at least so many bags as this times those of the largest; 0: as they are */
    bool pad;
    int64_t batch_bags;
    bool drop_last;
    uint64_t seed;
    int64_t chunk_patches; /* patches per chunk of pixels, >= 1 */
    int ahead;             /* chunks in memory, >= 1: prepared, also of the next steps, or handed out and not done with */
    bool places;           /* the steps tell where their patches lie */
    bool once;             /* every chunk of a step is asked for once; false: twice, where a step has several */
    int64_t keep_bytes;    /* of pixels that may wait for the second pass instead of being decoded again; 0: none */
} sw_loader_options;
/* chunk_patches is train.chunk_patches; keep_bytes is 0. */
sw_loader_options sw_loader_options_of(const sw_config *config);

/* Pixels, or features, of patches [first, first + count) of a step. */
typedef struct sw_pixel_chunk {
    int64_t first, count;
    int px;
    int dim;       /* of features; 0: pixels */
    float *images; /* [count, 3, px, px] normalised, or [count, dim]; 64-byte aligned */
    sw_batch_timing timing;
} sw_pixel_chunk;

/* Borrows store, dataset and pool until sw_loader_free; copies scales and options. `split`: which bags. Without padding, a
 * bag that is short of patches is SW_E_INVALID when batch_bags > 1 (all bags of a step have the same size); with
 * batch_bags 1 it is as short as it is. A loader needs a pool with at least one thread. */
typedef struct sw_loader sw_loader;
sw_status sw_loader_new(const sw_store *store, const sw_dataset *dataset, sw_split split, const sw_bag_scales *scales,
                        const sw_loader_options *options, sw_pool *pool, sw_loader **out, sw_error *err) SW_MUST_CHECK;
void sw_loader_free(sw_loader *loader);
int64_t sw_loader_steps(const sw_loader *loader); /* per epoch */
int64_t sw_loader_bags(const sw_loader *loader); /* per epoch, with those that come again */
/* Bytes of pixels that are in memory at most: `ahead` chunks, the one handed out among them, and those that are kept. */
int64_t sw_loader_bytes(const sw_loader *loader);
/* Begins epoch `epoch` (0-based) at step `first_step` (resuming); what was prefetched before is dropped. */
sw_status sw_loader_begin(sw_loader *loader, uint32_t epoch, int64_t first_step, sw_error *err) SW_MUST_CHECK;
/* Where the sampler is attention, sw_loader_begin prepares nothing: each step is given its patches before it is asked for, and
 * only that step follows. */
typedef struct sw_batch_given {
    int64_t *n;    /* [bags of the step] patches of each bag, at most the plan's total */
    sw_pick *pick; /* [bags of the step, total of the plan] */
    sw_crop *crop; /* the same; of a step of one bag its first n[0] */
} sw_batch_given;
/* What `given` points to is borrowed until the next call, sw_loader_begin or sw_loader_free. */
sw_status sw_loader_give(sw_loader *loader, int64_t step, const sw_batch_given *given, sw_error *err) SW_MUST_CHECK;
/* Where patches are drawn by clusters (samplers clusters and top_patches): cluster[i] of bag i of the dataset, one number for
 * each of its patches (sw_sample_clustered). To be called before sw_loader_begin, which is refused without; borrowed until
 * the next call or sw_loader_free. Bags of other splits may be NULL. */
void sw_loader_set_clusters(sw_loader *loader, const int32_t *const *cluster);
/* The bags of a step of the epoch begun: their number, and their identities (sw_batch; modulo the dataset's bags the index into
 * dataset->bag), borrowed. */
int64_t sw_loader_step_bags(const sw_loader *loader, int64_t step, const int64_t **bag);
/* How every patch of one of these bags is cut in this step: crop [n], source_px [n] the patches' sides. */
sw_status sw_loader_crops(const sw_loader *loader, int64_t step, int64_t bag_of_step, int64_t n, const int *source_px,
                          sw_crop *crop, sw_error *err) SW_MUST_CHECK;
/* The next step, owned by the caller; *batch NULL at the end of the epoch. Chunks of the step before that were not asked
 * for are skipped. */
sw_status sw_loader_next(sw_loader *loader, sw_batch **batch, sw_error *err) SW_MUST_CHECK;
/* Chunk `chunk` of that step. They must be asked for in the order 0, 1, … and then, without `once` and if there are
 * several, 0, 1, … once more; anything else is SW_E_INTERNAL. Borrowed until the next call for this loader, or until
 * sw_loader_done gives its memory back earlier (for those who have copied it): with ahead 1 the decoders go on only then. A damaged patch is the error
 * of its chunk. */
sw_status sw_loader_chunk(sw_loader *loader, int64_t chunk, const sw_pixel_chunk **out, sw_error *err) SW_MUST_CHECK;
void sw_loader_done(sw_loader *loader);

/* Since sw_loader_begin. */
typedef struct sw_loader_count {
    sw_batch_timing timing; /* of the chunks handed out */
    int64_t waited_ns;      /* sw_loader_next and sw_loader_chunk had to wait so long: the loader was the limit */
    int64_t decoded;        /* patches decoded for the chunks handed out */
} sw_loader_count;
sw_loader_count sw_loader_counted(const sw_loader *loader);
/* How many threads keep up with whoever takes the chunks, with half as many again in reserve: from what was counted at
 * either end of `elapsed_ns`. 1 to `most`. */
int sw_loader_workers(const sw_loader_count *before, const sw_loader_count *after, int64_t elapsed_ns, int most);

/* --- evaluation: all patches of a source in chunks, whole patch resized to crop_px */

typedef struct sw_eval_chunk {
    int64_t first, count; /* patches [first, first + count) of the source */
    int px;
    float *images;        /* [count, 3, px, px] normalised, 64-byte aligned */
    sw_batch_timing timing; /* of slides, decoding counts as reading: the source does both */
} sw_eval_chunk;
void sw_eval_chunk_free(sw_eval_chunk *chunk); /* NULL is fine */

typedef struct sw_eval_loader_options {
    int crop_px;
    int64_t chunk_patches;
    sw_channel_order channel_order;
    sw_pixel_norm normalise;
    int ahead; /* chunks in memory, >= 1: prepared, or handed out and not done with */
    const sw_crop *crop; /* [patches of the source] how each is cut, borrowed; NULL: whole */
    bool scaled;         /* with `crop`: as augment.fast_decode scaled */
} sw_eval_loader_options;

/* Borrows source and pool until sw_eval_loader_free. */
typedef struct sw_eval_loader sw_eval_loader;
sw_status sw_eval_loader_new(sw_patch_source *source, const sw_eval_loader_options *options, sw_pool *pool,
                             sw_eval_loader **out, sw_error *err) SW_MUST_CHECK;
void sw_eval_loader_free(sw_eval_loader *loader);
/* The next chunk, owned by the caller; *chunk NULL at the end. waited_ns may be NULL. */
sw_status sw_eval_loader_next(sw_eval_loader *loader, sw_eval_chunk **chunk, int64_t *waited_ns, sw_error *err)
    SW_MUST_CHECK;
/* Frees the chunk handed out last, and lets the decoders begin another in its place. */
void sw_eval_loader_done(sw_eval_loader *loader, sw_eval_chunk *chunk);

#endif
