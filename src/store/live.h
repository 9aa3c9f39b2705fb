/* SPDX-License-Identifier: Apache-2.0 */
/* Patches that stay on their slides: which slides and positions there are, and pixels on demand through caches. */
#ifndef SW_STORE_LIVE_H
#define SW_STORE_LIVE_H

#include "slidewise/store.h"
#include "slidewise/tile.h"
#include "store/record.h"

typedef struct sw_live sw_live;

/* Finds the positions of every slide of the list. A slide whose positions fail is left out with a warning. Fills `slides` (by
 * id) and `settings`, both empty before and the caller's also after a failure. */
sw_status sw_live_open(const sw_store_slides_options *options, sw_record_list *slides, sw_setting_list *settings, sw_live **out,
                       sw_error *err) SW_MUST_CHECK;
void sw_live_close(sw_live **live);
const char *sw_live_name(const sw_live *live);
/* [n_patches, 2] of a slide at a scale; `number` is that of its record. */
const int64_t *sw_live_positions(const sw_live *live, uint32_t number, int scale);
/* Pixels of a patch; from any thread. */
sw_status sw_live_read(sw_live *live, uint32_t number, int scale, int64_t index, uint8_t *rgb, sw_error *err) SW_MUST_CHECK;

#endif
