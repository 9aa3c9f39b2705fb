/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <stdarg.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"

void sw_buf_free(sw_buf *buf)
{
    if (!buf) return;
    sw_free(buf->data);
    *buf = (sw_buf){0};
}

/* Makes room for `more` bytes and the terminator; false: sticky failure. */
static bool reserve(sw_buf *buf, size_t more)
{
    if (buf->failed) return false;
    size_t need;
    if (__builtin_add_overflow(buf->size, more, &need) || __builtin_add_overflow(need, 1, &need)) {
        buf->failed = true;
        return false;
    }
    if (need <= buf->capacity) return true;
    size_t wanted = buf->capacity < 64 ? 64 : buf->capacity + buf->capacity / 2;
    if (wanted < need) wanted = need;
    char *data = sw_realloc(buf->data, wanted);
    if (!data) {
        buf->failed = true;
        return false;
    }
    buf->data = data;
    buf->capacity = wanted;
    return true;
}

void sw_buf_append(sw_buf *buf, const void *bytes, size_t size)
{
    if (!reserve(buf, size)) return;
    if (size) memcpy(buf->data + buf->size, bytes, size);
    buf->size += size;
    buf->data[buf->size] = '\0';
}

void sw_buf_puts(sw_buf *buf, const char *text)
{
    sw_buf_append(buf, text, strlen(text));
}

void sw_buf_printf(sw_buf *buf, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int size = sw_vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (size < 0) {
        buf->failed = true;
    } else if (reserve(buf, (size_t)size)) {
        sw_vsnprintf(buf->data + buf->size, (size_t)size + 1, fmt, again);
        buf->size += (size_t)size;
    }
    va_end(again);
}

void sw_buf_base64(sw_buf *buf, const void *bytes, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *in = bytes;
    size_t groups = size / 3 + (size % 3 != 0);
    if (groups > SIZE_MAX / 4) {
        buf->failed = true;
        return;
    }
    if (!reserve(buf, groups * 4)) return;
    char *out = buf->data + buf->size;
    for (size_t i = 0; i < size; i += 3) {
        size_t left = size - i;
        uint32_t word = (uint32_t)in[i] << 16;
        if (left > 1) word |= (uint32_t)in[i + 1] << 8;
        if (left > 2) word |= in[i + 2];
        *out++ = digits[word >> 18];
        *out++ = digits[(word >> 12) & 63];
        *out++ = left > 1 ? digits[(word >> 6) & 63] : '=';
        *out++ = left > 2 ? digits[word & 63] : '=';
    }
    *out = '\0';
    buf->size += groups * 4;
}

void sw_buf_clear(sw_buf *buf)
{
    buf->size = 0;
    buf->failed = false;
    if (buf->data) buf->data[0] = '\0';
}

sw_status sw_buf_status(const sw_buf *buf, sw_error *err)
{
    return buf->failed ? sw_nomem(err) : SW_OK;
}
