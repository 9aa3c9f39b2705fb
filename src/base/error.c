/* SPDX-License-Identifier: Apache-2.0 */
#include "slidewise/error.h"

#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include "base/text.h"

/* Cuts a text that did not fit, back to the last whole UTF-8 character. */
static void cut_to_whole_character(char *text, size_t capacity)
{
    size_t size = strlen(text);
    if (size + 1 < capacity) return;
    size_t lead = size;
    while (lead > 0 && ((unsigned char)text[lead - 1] & 0xC0) == 0x80) lead--;
    if (lead == 0) return;
    unsigned char c = (unsigned char)text[lead - 1];
    size_t want = c < 0x80 ? 1 : c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : 2;
    if (size - (lead - 1) < want) text[lead - 1] = '\0';
}

sw_status sw_error_set(sw_error *err, sw_status code, const char *fmt, ...)
{
    if (!err) return code;
    /* Formatted aside first: an argument may be the message that is being replaced. */
    char text[sizeof(err->message)];
    va_list args;
    va_start(args, fmt);
    int written = sw_vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (written < 0) text[0] = '\0';
    cut_to_whole_character(text, sizeof(text));
    memcpy(err->message, text, strlen(text) + 1);
    err->code = code;
    return code;
}

sw_status sw_error_prefix(sw_error *err, const char *fmt, ...)
{
    /* Without a place for the message the code is lost too; callers return the status they hold. */
    if (!err) return SW_E_INTERNAL;
    char text[sizeof(err->message)];
    va_list args;
    va_start(args, fmt);
    int written = sw_vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    size_t used = written < 0 ? 0 : strlen(text);
    const char *parts[2] = {used ? ": " : "", err->message};
    for (int i = 0; i < 2; i++) { /* what does not fit is cut */
        size_t room = sizeof(text) - 1 - used, size = strnlen(parts[i], room);
        memcpy(text + used, parts[i], size);
        used += size;
    }
    text[used] = '\0';
    cut_to_whole_character(text, sizeof(text));
    memcpy(err->message, text, strlen(text) + 1);
    return err->code;
}

const char *sw_status_name(sw_status status)
{
    switch (status) {
    case SW_OK: return "ok";
    case SW_E_NOMEM: return "out of memory";
    case SW_E_INVALID: return "invalid value";
    case SW_E_IO: return "input/output error";
    case SW_E_NOSPACE: return "disk full";
    case SW_E_NOT_FOUND: return "not found";
    case SW_E_FORMAT: return "malformed content";
    case SW_E_UNSUPPORTED: return "unsupported";
    case SW_E_CANCELLED: return "cancelled";
    case SW_E_INTERNAL: return "internal error";
    }
    return "unknown status";
}
