/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SW_TISSUE_SEGMENT_H
#define SW_TISSUE_SEGMENT_H

#include "base/thread.h"
#include "slidewise/tissue.h"

/* sw_tissue_segment, whose large levels are read by several threads of `pool` (NULL: by the caller). The result does not depend
 * on their number. */
sw_status sw_tissue_segment_on(sw_pool *pool, sw_slide *slide, const sw_tissue_options *options, sw_tissue *out, sw_error *err)
    SW_MUST_CHECK;

#endif
