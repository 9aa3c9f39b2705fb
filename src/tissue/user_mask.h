/* SPDX-License-Identifier: Apache-2.0 */
/* From a mask that is there to contours. */
#ifndef SW_TISSUE_USER_MASK_H
#define SW_TISSUE_USER_MASK_H

#include "slidewise/tissue.h"
#include "tissue/border.h"

/* Fills the contours and the fraction of a tissue of which all but those is set: every region of its mask with every hole. A
 * region without area (a line of single pixels) leaves the mask. */
sw_status sw_tissue_outline(sw_tissue *tissue, sw_error *err) SW_MUST_CHECK;
/* The same where the borders are known, and the mask is empty. */
sw_status sw_tissue_of_borders(sw_tissue *tissue, const sw_borders *borders, sw_error *err) SW_MUST_CHECK;

#endif
