/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/versions.h"

const char *sw_jansson_version(void)
{
    return jansson_version_str();
}

/* ---- writing */

enum { MAX_DEPTH = 63 };

void sw_json_begin(sw_json_writer *w, sw_buf *buf, int indent)
{
    *w = (sw_json_writer){.buf = buf, .indent = indent};
}

static void new_line(sw_json_writer *w)
{
    if (w->indent > 0) sw_buf_printf(w->buf, "\n%*s", w->indent * w->depth, "");
}

/* What stands before a value or a key: the comma and the line break, unless a key was just written. */
static void separate(sw_json_writer *w)
{
    if (w->after_key) {
        w->after_key = false;
        return;
    }
    if (w->depth == 0) return;
    uint64_t bit = (uint64_t)1 << w->depth;
    if (w->used & bit) sw_buf_puts(w->buf, ",");
    w->used |= bit;
    new_line(w);
}

static void open_level(sw_json_writer *w, const char *bracket)
{
    separate(w);
    sw_buf_puts(w->buf, bracket);
    if (w->depth == MAX_DEPTH) {
        w->buf->failed = true; /* deeper than any document we write: refuse rather than write nonsense */
        return;
    }
    w->depth++;
    w->used &= ~((uint64_t)1 << w->depth);
}

static void close_level(sw_json_writer *w, const char *bracket)
{
    bool used = w->used >> w->depth & 1;
    if (w->depth > 0) w->depth--;
    if (used) new_line(w);
    sw_buf_puts(w->buf, bracket);
}

void sw_json_object(sw_json_writer *w)
{
    open_level(w, "{");
}

void sw_json_end_object(sw_json_writer *w)
{
    close_level(w, "}");
}

void sw_json_array(sw_json_writer *w)
{
    open_level(w, "[");
}

void sw_json_end_array(sw_json_writer *w)
{
    close_level(w, "]");
}

/* Bytes of the UTF-8 character at `s`; 0 when it is not valid. */
static size_t character_size(const unsigned char *s)
{
    if (s[0] < 0x80) return 1;
    if (s[0] >= 0xC2 && s[0] <= 0xDF) return (s[1] & 0xC0) == 0x80 ? 2 : 0;
    if (s[0] >= 0xE0 && s[0] <= 0xEF) {
        if ((s[1] & 0xC0) != 0x80 || (s[2] & 0xC0) != 0x80) return 0;
        if (s[0] == 0xE0 && s[1] < 0xA0) return 0; /* overlong */
        if (s[0] == 0xED && s[1] > 0x9F) return 0; /* surrogate */
        return 3;
    }
    if (s[0] >= 0xF0 && s[0] <= 0xF4) {
        if ((s[1] & 0xC0) != 0x80 || (s[2] & 0xC0) != 0x80 || (s[3] & 0xC0) != 0x80) return 0;
        if (s[0] == 0xF0 && s[1] < 0x90) return 0; /* overlong */
        if (s[0] == 0xF4 && s[1] > 0x8F) return 0; /* beyond Unicode */
        return 4;
    }
    return 0;
}

/* File names may hold any bytes; what is not UTF-8 becomes U+FFFD, so that the document stays valid. */
static void put_quoted(sw_buf *buf, const char *text)
{
    sw_buf_puts(buf, "\"");
    for (const unsigned char *s = (const unsigned char *)text; *s;) {
        size_t size = character_size(s);
        if (size == 0) {
            sw_buf_puts(buf, "\\ufffd");
            s++;
        } else if (*s == '"' || *s == '\\') {
            sw_buf_printf(buf, "\\%c", *s++);
        } else if (*s == '\n') {
            sw_buf_puts(buf, "\\n");
            s++;
        } else if (*s < 0x20 || *s == 0x7F) {
            sw_buf_printf(buf, "\\u%04x", *s++);
        } else {
            sw_buf_append(buf, s, size);
            s += size;
        }
    }
    sw_buf_puts(buf, "\"");
}

void sw_json_key(sw_json_writer *w, const char *key)
{
    separate(w);
    put_quoted(w->buf, key);
    sw_buf_puts(w->buf, w->indent > 0 ? ": " : ":");
    w->after_key = true;
}

void sw_json_string(sw_json_writer *w, const char *value)
{
    separate(w);
    if (value) put_quoted(w->buf, value);
    else sw_buf_puts(w->buf, "null");
}

void sw_json_number(sw_json_writer *w, double value)
{
    separate(w);
    if (isfinite(value)) sw_buf_printf(w->buf, "%.17g", value);
    else sw_buf_puts(w->buf, "null");
}

void sw_json_int(sw_json_writer *w, int64_t value)
{
    separate(w);
    sw_buf_printf(w->buf, "%lld", (long long)value);
}

void sw_json_bool(sw_json_writer *w, bool value)
{
    separate(w);
    sw_buf_puts(w->buf, value ? "true" : "false");
}

void sw_json_null(sw_json_writer *w)
{
    separate(w);
    sw_buf_puts(w->buf, "null");
}

void sw_json_put_string(sw_json_writer *w, const char *key, const char *value)
{
    sw_json_key(w, key);
    sw_json_string(w, value);
}

void sw_json_put_number(sw_json_writer *w, const char *key, double value)
{
    sw_json_key(w, key);
    sw_json_number(w, value);
}

void sw_json_put_int(sw_json_writer *w, const char *key, int64_t value)
{
    sw_json_key(w, key);
    sw_json_int(w, value);
}

void sw_json_put_bool(sw_json_writer *w, const char *key, bool value)
{
    sw_json_key(w, key);
    sw_json_bool(w, value);
}

/* ---- reading: an sw_json is jansson's json_t under another name */

static const json_t *native(const sw_json *value)
{
    return (const json_t *)value;
}

sw_status sw_json_parse(const char *text, size_t size, const char *name_for_errors, sw_json **out, sw_error *err)
{
    json_error_t problem;
    json_t *root = json_loadb(size ? text : "", size, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &problem);
    if (!root) {
        if (json_error_code(&problem) == json_error_out_of_memory) return sw_nomem(err);
        return sw_error_set(err, SW_E_FORMAT, "%s, line %d, column %d: not valid JSON: %s", name_for_errors,
                            problem.line < 1 ? 1 : problem.line, problem.column < 0 ? 0 : problem.column, problem.text);
    }
    *out = (sw_json *)root;
    return SW_OK;
}

sw_status sw_json_read(const char *path, sw_json **out, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf text = {0};
    SW_TRY(sw_file_read(path, &text, err));
    return sw_json_parse(text.data, text.size, path, out, err);
}

void sw_json_free(sw_json *root)
{
    json_decref((json_t *)root);
}

void sw_json_free_ptr(sw_json **root)
{
    sw_json_free(*root);
    *root = NULL;
}

const sw_json *sw_json_get(const sw_json *object, const char *key)
{
    return (const sw_json *)json_object_get(native(object), key);
}

const sw_json *sw_json_at(const sw_json *array, size_t index)
{
    return (const sw_json *)json_array_get(native(array), index);
}

size_t sw_json_count(const sw_json *value)
{
    return json_is_array(native(value)) ? json_array_size(native(value)) : json_object_size(native(value));
}

const char *sw_json_member(const sw_json *object, size_t index, const sw_json **value)
{
    json_t *members = (json_t *)object; /* jansson's iterators take no const */
    void *at = json_object_iter(members);
    while (at && index-- > 0) at = json_object_iter_next(members, at);
    if (!at) return NULL;
    if (value) *value = (const sw_json *)json_object_iter_value(at);
    return json_object_iter_key(at);
}

const char *sw_json_text(const sw_json *value, const char *otherwise)
{
    return json_is_string(native(value)) ? json_string_value(native(value)) : otherwise;
}

double sw_json_real(const sw_json *value, double otherwise)
{
    return json_is_number(native(value)) ? json_number_value(native(value)) : otherwise;
}

int64_t sw_json_integer(const sw_json *value, int64_t otherwise)
{
    if (json_is_integer(native(value))) return json_integer_value(native(value));
    if (!json_is_real(native(value))) return otherwise;
    double real = json_real_value(native(value)); /* "3.0" and "1e6" are whole numbers too */
    return real == floor(real) && fabs(real) < 0x1p63 ? (int64_t)real : otherwise;
}

bool sw_json_truth(const sw_json *value, bool otherwise)
{
    return json_is_boolean(native(value)) ? json_is_true(native(value)) : otherwise;
}

bool sw_json_is_object(const sw_json *value)
{
    return json_is_object(native(value));
}

bool sw_json_is_array(const sw_json *value)
{
    return json_is_array(native(value));
}
