/* SPDX-License-Identifier: Apache-2.0 */
/* What a slide format must offer. A format is one file that ends in one const table of functions. */
#ifndef SW_SLIDE_INTERNAL_H
#define SW_SLIDE_INTERNAL_H

#include "slidewise/slide.h"

typedef struct sw_slide_property_pair {
    char *name, *value;
} sw_slide_property_pair;

/* Filled by a format's open(); owned by the slide. */
typedef struct sw_slide_facts {
    char format[64];
    bool whole_tiles; /* tiles lie on whole pixels: a region's pixels do not depend on where the region begins */
    int n_levels;
    sw_slide_level *level;            /* width, height and downsample are the format's; the rest is derived */
    sw_slide_property_pair *property; /* sorted by name */
    size_t n_properties;
    size_t properties_capacity;
} sw_slide_facts;

typedef struct sw_slide_ops {
    const char *name;
    /* *state NULL with SW_OK: not a file of this format, ask the next one. */
    sw_status (*open)(const char *path, const sw_slide_options *options, sw_slide_facts *facts, void **state, sw_error *err)
        SW_MUST_CHECK;
    /* [height, width, 3]; white outside. Called from several threads. The message needs no file name and no region. */
    sw_status (*read)(void *state, int level, int64_t level0_x, int64_t level0_y, int64_t width, int64_t height,
                      uint8_t *rgb, sw_error *err) SW_MUST_CHECK;
    /* The file's own JPEG stream of the square of `side` pixels, decoding to what read() gives; NULL: there is none. Owned by
     * the caller (sw_image_bytes_free). May be NULL: the format has none. Called from several threads. */
    uint8_t *(*jpeg)(void *state, int level, int64_t level0_x, int64_t level0_y, int64_t side, size_t *size);
    void (*close)(void *state);
} sw_slide_ops;

extern const sw_slide_ops sw_slide_openslide, sw_slide_picture;

void sw_slide_facts_free(sw_slide_facts *facts);
sw_status sw_slide_facts_add(sw_slide_facts *facts, const char *name, const char *value, sw_error *err) SW_MUST_CHECK;
/* Value of a property, NULL when absent. */
const char *sw_slide_facts_find(const sw_slide_facts *facts, const char *name);
/* Resolution by the rule of sw_mpp_source; `given` > 0 is the caller's. */
sw_mpp_source sw_slide_resolution(const sw_slide_facts *facts, double given, double mpp_um[2], double *objective);

#endif
