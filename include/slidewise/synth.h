/* SPDX-License-Identifier: Apache-2.0 */
/* Synthetic slides of H&E-like tissue whose label depends on small foci of atypical tissue. They are made from counters:
 * the same seed gives the same bytes whatever the threads. */
#ifndef SLIDEWISE_SYNTH_H
#define SLIDEWISE_SYNTH_H

#include <stdbool.h>
#include <stdint.h>

#include "slidewise/error.h"
#include "slidewise/image.h"
#include "slidewise/log.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sw_synth_options {
    int n_slides;        /* default 40, half of them positive */
    int64_t size_px;     /* side of a slide at level 0, 512 .. 65536, default 2048 */
    double mpp_um;       /* microns per pixel of level 0, 0.1 .. 2, default 0.5 */
    uint64_t seed;       /* default 1 */
    bool survival;       /* labels.csv also has a time (months) and an event per case; default false */
    double effect;       /* of survival: each focus multiplies the time to the event by exp(-effect), 0 .. 10, default 0.45 */
    double noise;        /* of survival: the time's random factor is that of an exponential to this power, 0 .. 4, default 1 */
    int threads;         /* 0 (default): all CPUs of this process */
    const sw_sink *sink; /* may be NULL */
} sw_synth_options;
SW_API sw_synth_options sw_synth_options_default(void);

/* Writes OUT/slides/ID.tif (pyramidal, tiled, JPEG, with resolution tags), OUT/labels.csv (case_id,slide_id,label with
 * labels "normal" and "tumor") and OUT/foci/ID.geojson (outlines of the foci in level-0 pixels; an empty
 * FeatureCollection for normal slides). With `survival` the table has time and event too: the more foci the slides of a
 * case have, the sooner its event: after 72 * exp(-effect * foci) * E^noise months, E exponential with mean 1 (noise 0: the foci alone
 * decide); cases are censored at random. Slides do not depend on it. Files that are there are replaced, each atomically. Options out of range are
 * SW_E_INVALID. */
SW_API sw_status sw_synth_write(const char *out_dir, const sw_synth_options *options, sw_error *err) SW_MUST_CHECK;

/* A rectangle of slide `index` at level 0, as it is before JPEG coding. *out is overwritten; empty on failure. */
SW_API sw_status sw_synth_render(const sw_synth_options *options, int index, int64_t level0_x, int64_t level0_y,
                                 int64_t width, int64_t height, sw_image *out, sw_error *err) SW_MUST_CHECK;

#ifdef __cplusplus
}
#endif

#endif
