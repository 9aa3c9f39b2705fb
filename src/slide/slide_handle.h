/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SW_SLIDE_HANDLE_H
#define SW_SLIDE_HANDLE_H

#include "slide/slide_internal.h"

struct sw_slide {
    char *path, *slide_id; /* owned */
    const sw_slide_ops *ops;
    void *state; /* the format's */
    sw_slide_facts facts;
    sw_slide_info info; /* points into the members above */
    bool exact;         /* sw_slide_options.exact */
};

#endif
