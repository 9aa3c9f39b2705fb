/* SPDX-License-Identifier: Apache-2.0 */
/* What the attributes of positions say of the patches: for files of positions, and of features beside positions. */
#ifndef SW_STORE_COORDS_PARTS_H
#define SW_STORE_COORDS_PARTS_H

#include "slidewise/coords.h"
#include "store/hdf5_reader.h"

enum { SW_COORDS_ATTRIBUTES = 12 };

/* What is asked of "coords"; free with sw_coords_asked_free. */
typedef struct sw_coords_asked {
    sw_h5_wanted at[SW_COORDS_ATTRIBUTES];
} sw_coords_asked;
sw_coords_asked sw_coords_ask(void);
void sw_coords_asked_free(sw_coords_asked *asked);
/* Is it TRIDENT's or CLAM's by its attributes? */
bool sw_coords_are_told(const sw_coords_asked *asked);
/* The answers as the geometry of patches: kind, sides and sizes of *out; `path` is for messages. Attributes of neither tool are
 * SW_E_FORMAT. */
sw_status sw_coords_take(const char *path, const sw_coords_asked *asked, sw_coords *out, sw_error *err) SW_MUST_CHECK;

/* sw_coords_read and sw_coords_find through the process of `reader` (sw_h5_coords_reader_new), or (NULL) one for each file. */
sw_status sw_coords_read_by(sw_h5_reader *reader, const char *path, sw_coords *out, sw_error *err) SW_MUST_CHECK;
sw_status sw_coords_find_by(sw_h5_reader *reader, const char *where, const char *slide_id, char **out, sw_error *err) SW_MUST_CHECK;

/* --- writing */

typedef struct sw_coords_geometry {
    const char *slide_id, *folder; /* folder: what TRIDENT calls savetodir */
    int patch_px, overlap_px;
    double patch_level0_px, magnification; /* of the patches */
    double level0_mpp_um;
    int64_t width, height; /* of level 0 */
} sw_coords_geometry;
enum { SW_TRIDENT_ATTRIBUTES = 9 };
/* The attributes that TRIDENT gives to positions, [SW_TRIDENT_ATTRIBUTES]; texts are borrowed. */
void sw_coords_trident_attributes(const sw_coords_geometry *geometry, sw_h5_attribute *out);
/* Writes DIR/patches/SLIDE_patches.h5 with them: xy [n, 2]. Without a width the size of level 0 is left out. */
sw_status sw_coords_write_places(const char *dir, const sw_coords_geometry *geometry, const int64_t *xy, int64_t n, sw_error *err) SW_MUST_CHECK;

#endif
