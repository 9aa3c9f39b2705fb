/* SPDX-License-Identifier: Apache-2.0 */
/* A growable byte buffer; also the string builder (always NUL-terminated beyond `size`). */
#ifndef SW_BASE_BUF_H
#define SW_BASE_BUF_H

#include <stddef.h>
#include <stdint.h>

#include "slidewise/error.h"

typedef struct sw_buf {
    char *data;      /* owned; NULL while empty */
    size_t size;     /* bytes in use, without the terminator */
    size_t capacity;
    bool failed;     /* sticky: an append ran out of memory; check once with sw_buf_status */
} sw_buf;

void sw_buf_free(sw_buf *buf);
void sw_buf_append(sw_buf *buf, const void *bytes, size_t size);
void sw_buf_puts(sw_buf *buf, const char *text);
void sw_buf_printf(sw_buf *buf, const char *fmt, ...) SW_PRINTF(2, 3);
void sw_buf_base64(sw_buf *buf, const void *bytes, size_t size); /* appends base64 text */
void sw_buf_clear(sw_buf *buf);                                  /* keeps the capacity */
sw_status sw_buf_status(const sw_buf *buf, sw_error *err) SW_MUST_CHECK;

#endif
