/* SPDX-License-Identifier: Apache-2.0 */
#include "config/config_table.h"

#include <math.h>
#include <string.h>

#include "base/text.h"

/* The offset of a member whose type is checked at compile time. */
#define MEMBER(member, type)                                                                                            \
    (offsetof(sw_config, member) + 0 * sizeof(_Generic(((sw_config *)0)->member, type: (char)0)))
#define ENUM_MEMBER(member) (offsetof(sw_config, member) + 0 * sizeof(char[sizeof(((sw_config *)0)->member) == sizeof(int) ? 1 : -1]))

#define SECTION(title, text) {.section = title, .help = text},
#define NUMBER(type_, ctype, key, member, default_, low_, high_, unit_, decides_, text, above_)                         \
    {.name = key, .kind = type_, .offset = MEMBER(member, ctype), .otherwise = default_, .low = low_, .high = high_,    \
     .above = above_, .unit = unit_, .decides = decides_, .help = text},
#define INT(key, member, d, low, high, unit, decides, text)                                                             \
    NUMBER(SW_CONFIG_INT, int64_t, key, member, d, low, high, unit, decides, text, false)
#define REAL(key, member, d, low, high, unit, decides, text)                                                            \
    NUMBER(SW_CONFIG_REAL, double, key, member, d, low, high, unit, decides, text, false)
#define ABOVE(key, member, d, low, high, unit, decides, text)                                                           \
    NUMBER(SW_CONFIG_REAL, double, key, member, d, low, high, unit, decides, text, true)
#define PLAIN(type_, ctype, key, member, default_, decides_, text)                                                      \
    {.name = key, .kind = type_, .offset = MEMBER(member, ctype), .otherwise = default_, .unit = "",                    \
     .decides = decides_, .help = text},
#define BOOL(key, member, d, decides, text) PLAIN(SW_CONFIG_BOOL, bool, key, member, d, decides, text)
#define TEXT(key, member, d, decides, text) PLAIN(SW_CONFIG_TEXT, char *, key, member, d, decides, text)
#define TEXTS(key, member, d, decides, text) PLAIN(SW_CONFIG_TEXTS, sw_config_texts, key, member, d, decides, text)
#define SCALES(key, member, d, decides, text) PLAIN(SW_CONFIG_SCALES, sw_config_scales, key, member, d, decides, text)
#define ENUM(key, member, default_, names_, decides_, text)                                                             \
    {.name = key, .kind = SW_CONFIG_ENUM, .offset = ENUM_MEMBER(member), .otherwise = default_, .unit = "",             \
     .names = names_, .decides = decides_, .help = text},

const sw_config_key sw_config_keys[] = {
#include "config/config_keys.def"
};
const size_t sw_config_key_count = sizeof(sw_config_keys) / sizeof(sw_config_keys[0]);

const sw_config_key *sw_config_key_find(const char *name)
{
    for (size_t i = 0; i < sw_config_key_count; i++) {
        const sw_config_key *key = &sw_config_keys[i];
        if (key->name && strcmp(key->name, name) == 0) return key;
    }
    return NULL;
}

const void *sw_config_at(const sw_config *config, const sw_config_key *key)
{
    return (const char *)config + key->offset;
}

bool sw_config_enum_name(const char *names, int index, const char **name, size_t *length)
{
    for (; index > 0 && names; index--) {
        names = strchr(names, '|');
        if (names) names++;
    }
    if (!names) return false;
    *name = names;
    *length = strcspn(names, "|");
    return true;
}

void sw_config_put_real(sw_buf *out, double value)
{
    if (fabs(value) < 1e15 && value == floor(value)) {
        sw_buf_printf(out, "%.0f", value);
        return;
    }
    sw_buf text = {0};
    for (int digits = 1; digits <= 17; digits++) {
        double back;
        sw_buf_clear(&text);
        sw_buf_printf(&text, "%.*g", digits, value);
        if (text.failed || (sw_parse_double(text.data, &back) && back == value)) break;
    }
    if (text.failed) out->failed = true;
    else sw_buf_puts(out, text.data);
    sw_buf_free(&text);
}

static void put_range(const sw_config_key *key, sw_buf *out)
{
    if (key->above) {
        sw_buf_puts(out, "above ");
        sw_config_put_real(out, key->low);
        sw_buf_puts(out, ", at most ");
        sw_config_put_real(out, key->high);
    } else if (key->kind == SW_CONFIG_INT) {
        sw_buf_printf(out, "%lld to %lld", (long long)key->low, (long long)key->high);
    } else {
        sw_config_put_real(out, key->low);
        sw_buf_puts(out, " to ");
        sw_config_put_real(out, key->high);
    }
    if (key->unit[0]) sw_buf_printf(out, " %s", key->unit);
}

void sw_config_allowed(const sw_config_key *key, sw_buf *out)
{
    const char *name;
    size_t length;
    switch (key->kind) {
    case SW_CONFIG_INT:
    case SW_CONFIG_REAL: put_range(key, out); break;
    case SW_CONFIG_BOOL: sw_buf_puts(out, "true, false"); break;
    case SW_CONFIG_TEXT: sw_buf_puts(out, "text"); break;
    case SW_CONFIG_TEXTS: sw_buf_puts(out, "list of texts"); break;
    case SW_CONFIG_SCALES: sw_buf_puts(out, "list of scales"); break;
    case SW_CONFIG_ENUM:
        for (int i = 0; sw_config_enum_name(key->names, i, &name, &length); i++) {
            sw_buf_printf(out, "%s%.*s", i ? ", " : "", (int)length, name);
        }
        break;
    }
}

/* A JSON string is a YAML string in double quotes. */
static void put_text(sw_buf *out, const char *text)
{
    sw_json_writer w;
    sw_json_begin(&w, out, 0);
    sw_json_string(&w, text);
}

static void put_texts(sw_buf *out, const sw_config_texts *texts)
{
    sw_buf_puts(out, "[");
    for (size_t i = 0; i < texts->count; i++) {
        if (i) sw_buf_puts(out, ", ");
        put_text(out, texts->item[i]);
    }
    sw_buf_puts(out, "]");
}

static void put_scales(sw_buf *out, const sw_config_scales *scales)
{
    sw_buf_puts(out, "[");
    for (size_t i = 0; i < scales->count; i++) {
        sw_buf_puts(out, i ? ", {mpp: " : "{mpp: ");
        sw_config_put_real(out, scales->item[i].mpp_um);
        if (scales->item[i].share > 0) {
            sw_buf_puts(out, ", share: ");
            sw_config_put_real(out, scales->item[i].share);
        }
        sw_buf_puts(out, "}");
    }
    sw_buf_puts(out, "]");
}

void sw_config_put_value(const sw_config *config, const sw_config_key *key, sw_buf *out)
{
    const void *at = sw_config_at(config, key);
    const char *name;
    size_t length;
    switch (key->kind) {
    case SW_CONFIG_INT: sw_buf_printf(out, "%lld", (long long)*(const int64_t *)at); break;
    case SW_CONFIG_REAL: sw_config_put_real(out, *(const double *)at); break;
    case SW_CONFIG_BOOL: sw_buf_puts(out, *(const bool *)at ? "true" : "false"); break;
    case SW_CONFIG_TEXT: put_text(out, *(char *const *)at); break;
    case SW_CONFIG_TEXTS: put_texts(out, at); break;
    case SW_CONFIG_SCALES: put_scales(out, at); break;
    case SW_CONFIG_ENUM:
        if (sw_config_enum_name(key->names, *(const int *)at, &name, &length)) sw_buf_append(out, name, length);
        break;
    }
}
