/* SPDX-License-Identifier: Apache-2.0 */
/* A slide of a few drawn patches in a store, for tests that train. */
#ifndef SW_TESTS_TINY_SLIDE_H
#define SW_TESTS_TINY_SLIDE_H

#include <stdio.h>

#include "slidewise/image.h"
#include "slidewise/store.h"

enum { TINY_MOST_PX = 32, TINY_MOST_PATCHES = 4 };

/* Slide "s<slide>" of `n` patches (at most TINY_MOST_PATCHES) of `px` pixels (at most TINY_MOST_PX); odd slides look different from even ones. */
static inline sw_status tiny_slide(sw_store_writer *w, int slide, int64_t n, int px, sw_error *err)
{
    static uint8_t rgb[3 * TINY_MOST_PX * TINY_MOST_PX];
    int64_t xy[2 * TINY_MOST_PATCHES] = {0};
    char id[20];
    snprintf(id, sizeof id, "s%d", slide);
    sw_store_slide about = {.slide_id = id, .path = "x.svs", .width = 100, .height = 100, .mpp_um = 1,
                            .mpp_source = "given", .tissue_fraction = 1, .properties_json = "{}", .n_scales = 1};
    about.scale[0] = (sw_store_scale){.mpp_um = 1, .magnification = 10, .patch_px = px, .quality = 95,
                                      .patch_level0_px = px, .step_level0_px = px, .n_patches = n};
    SW_TRY(sw_store_begin(w, id, err));
    for (int64_t i = 0; i < n; i++) {
        uint8_t *jpeg = NULL;
        size_t size = 0;
        for (int k = 0; k < 3 * px * px; k++) rgb[k] = (uint8_t)(slide * 29 + i * 13 + k / 7 * (1 + slide % 2));
        SW_TRY(sw_jpeg_encode(rgb, px, px, 95, &jpeg, &size, err));
        sw_status status = sw_store_put(w, 0, i, jpeg, size, err);
        sw_image_bytes_free(jpeg);
        SW_TRY(status);
    }
    return sw_store_commit(w, &about, &(const int64_t *){xy}, err);
}

#endif
