/* SPDX-License-Identifier: Apache-2.0 */
/* Stores from and for others: the reference implementation's LMDB becomes a store; a store becomes JPEG files or WebDataset
 * archives. */
#ifndef SLIDEWISE_EXCHANGE_H
#define SLIDEWISE_EXCHANGE_H

#include <stddef.h>
#include <stdint.h>

#include "slidewise/error.h"
#include "slidewise/log.h"
#include "slidewise/slide.h"
#include "slidewise/tile.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sw_import_options {
    const char *lmdb;            /* the one file that the reference implementation wrote */
    const char *store;           /* directory; made when missing */
    double mpp_um;               /* of its patches: the file does not say; required */
    int quality;                 /* of its JPEGs: the file does not say; default 80, the reference's */
    const char *coords;          /* the files of coordinates the LMDB was cut at (sw_coords_find): their order is the LMDB's. NULL
                                    (default): the positions stay unknown (patch_level0_px 0, all at (0, 0)) */
    const sw_slide_list *slides; /* the slides it was cut from, by id; NULL (default) or without a slide: size and resolution of that
                                    slide stay unknown (0) */
    const sw_sink *sink;         /* may be NULL */
} sw_import_options;
SW_API sw_import_options sw_import_options_default(void);

/* Imports every slide of the LMDB, its JPEGs bit by bit; no pickle is executed. A slide that fails (patches missing or not
 * JPEGs, another size, coordinates of another number) keeps its reason in its row and the others go on; slides that the store
 * holds are not done again. The LMDB is opened read-only and without a lock. *result is overwritten, free it with
 * sw_tile_result_free. */
SW_API sw_status sw_import_reference(const sw_import_options *options, sw_tile_result *result, sw_error *err) SW_MUST_CHECK;

typedef enum sw_export_form {
    SW_EXPORT_FOLDER, /* OUT/{mpp}um/SLIDE/{index}_x{x}_y{y}.jpg */
    SW_EXPORT_TAR     /* OUT/{mpp}um/SLIDE.tar for WebDataset: SLIDE/{index}.jpg and SLIDE/{index}.json */
} sw_export_form;

typedef struct sw_export_options {
    const char *store, *out;
    sw_export_form form;      /* default SW_EXPORT_FOLDER */
    double mpp_um;            /* only this scale; 0 (default): all */
    const char *const *slide; /* [n_slides] only these; n_slides 0 (default): all */
    size_t n_slides;
    const sw_sink *sink;      /* may be NULL */
} sw_export_options;
SW_API sw_export_options sw_export_options_default(void);

typedef struct sw_export_result {
    int64_t n_written, n_already; /* slides at a scale: written now, there since an earlier call */
    int64_t n_patches, n_bytes;   /* written now; of JPEGs */
} sw_export_result;

/* A slide at a scale is written under another name and renamed when it is whole: what has its name is complete, and the same call
 * goes on after a kill. Archives are synced to disk before that, folders are not: after a power cut write them anew. Every patch is checked against its checksum. *result is overwritten. */
SW_API sw_status sw_export(const sw_export_options *options, sw_export_result *result, sw_error *err) SW_MUST_CHECK;

/* Copies the slides of `store` (one, or a list that is read as one) into the one store at `out`, which is made when missing and
 * has the same settings; patches bit for bit, each checked against its checksum, a commit per slide. Slides that `out` holds
 * already are not copied again, so that the same call goes on after a kill. Also writes OUT/slides.csv and OUT/unreadable.csv from
 * those of the stores. *result is overwritten: slides, patches and bytes. */
SW_API sw_status sw_store_merge(const char *store, const char *out, const sw_sink *sink, sw_export_result *result, sw_error *err) SW_MUST_CHECK;

#ifdef __cplusplus
}
#endif

#endif
