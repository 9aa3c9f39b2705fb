/* SPDX-License-Identifier: Apache-2.0 */
/* Slide names may hold any bytes; pictures and pages must not. */
#ifndef SW_EXPLAIN_UTF8_H
#define SW_EXPLAIN_UTF8_H

#include <stddef.h>

/* Bytes (1 to 4) of the UTF-8 character at `s`, a terminated text; 0: no valid character starts here. */
size_t sw_utf8_sequence(const unsigned char *s);

#endif
