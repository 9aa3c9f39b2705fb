/* SPDX-License-Identifier: Apache-2.0 */
/* One value into one member: type, range, and the sentences about what is wrong. */
#include <stdarg.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "config/config_table.h"

sw_status sw_config_complain(const sw_config_place *place, sw_error *err, const char *fmt, ...)
{
    char text[sizeof(err->message)];
    va_list args;
    va_start(args, fmt);
    int written = sw_vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (written < 0) text[0] = '\0';
    if (place->line > 0) return sw_error_set(err, SW_E_INVALID, "%s:%d: %s", place->name, place->line, text);
    return sw_error_set(err, SW_E_INVALID, "%s: %s", place->name, text);
}

static const char *leaf(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot ? dot + 1 : name;
}

/* "trian": a section mistyped by a letter or two. */
static const char *nearest_section(const char *name)
{
    enum { MAX_SECTIONS = 64 };
    const char *names[MAX_SECTIONS] = {0};
    size_t count = 0;
    for (size_t i = 0; i < sw_config_key_count && count < MAX_SECTIONS; i++) {
        if (sw_config_keys[i].section) names[count++] = sw_config_keys[i].section;
    }
    const char *near = strchr(name, '.') ? NULL : sw_nearest_name(name, names, count);
    return near && sw_edit_distance(name, near) <= 2 ? near : NULL;
}

/* A name mistyped by a letter or two, else a key of another section with the same last part, else the nearest name as a
 * whole, else the nearest last part. */
static const char *nearest_key(const char *name)
{
    enum { MAX_KEYS = 256 };
    const char *names[MAX_KEYS] = {0}, *leaves[MAX_KEYS] = {0};
    size_t count = 0;
    for (size_t i = 0; i < sw_config_key_count && count < MAX_KEYS; i++) {
        if (!sw_config_keys[i].name) continue;
        names[count] = sw_config_keys[i].name;
        leaves[count++] = leaf(sw_config_keys[i].name);
    }
    const char *near = sw_nearest_name(name, names, count);
    if (near && sw_edit_distance(name, near) <= 2) return near;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(leaves[i], leaf(name)) == 0) return names[i];
    }
    if (near) return near;
    near = sw_nearest_name(leaf(name), leaves, count);
    for (size_t i = 0; near && i < count; i++) {
        if (leaves[i] == near) return names[i];
    }
    return NULL;
}

sw_status sw_config_unknown(const char *name, const sw_config_place *place, sw_error *err)
{
    const char *near = nearest_section(name);
    if (!near) near = nearest_key(name);
    if (near) return sw_config_complain(place, err, "unknown key '%s'; the nearest is '%s'", name, near);
    return sw_config_complain(place, err, "unknown key '%s'; 'slidewise help config' lists all keys", name);
}

static const char *kind_words(const sw_config_key *key)
{
    switch (key->kind) {
    case SW_CONFIG_INT: return "a whole number";
    case SW_CONFIG_REAL: return "a number";
    case SW_CONFIG_BOOL: return "true or false";
    case SW_CONFIG_TEXT: return "a text";
    case SW_CONFIG_ENUM: return "one of the names";
    case SW_CONFIG_TEXTS: return "a list of texts";
    case SW_CONFIG_SCALES: return "a list of scales";
    }
    return "";
}

/* "train.epochs: 'many' is not a whole number; allowed: 1 to 1000000 epochs" */
static sw_status wrong_type(const sw_config_key *key, const sw_yaml *value, const sw_config_place *place, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf allowed = {0};
    if (key->kind == SW_CONFIG_INT || key->kind == SW_CONFIG_REAL || key->kind == SW_CONFIG_ENUM) {
        sw_buf_puts(&allowed, "; allowed: ");
        sw_config_allowed(key, &allowed);
    }
    SW_TRY(sw_buf_status(&allowed, err));
    const char *tail = allowed.data ? allowed.data : "";
    if (value->kind == SW_YAML_MAP)
        return sw_config_complain(place, err, "%s: a group of keys is not %s%s", key->name, kind_words(key), tail);
    if (value->kind == SW_YAML_LIST)
        return sw_config_complain(place, err, "%s: a list is not %s%s", key->name, kind_words(key), tail);
    if (value->text[0] == '\0' && !value->quoted)
        return sw_config_complain(place, err, "%s: no value is given; it must be %s%s", key->name, kind_words(key), tail);
    const char *quotes = value->quoted ? " in quotes" : "";
    return sw_config_complain(place, err, "%s: '%s'%s is not %s%s", key->name, value->text, quotes, kind_words(key), tail);
}

static sw_status out_of_range(const sw_config_key *key, const sw_yaml *value, const sw_config_place *place,
                              sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf allowed = {0};
    sw_config_allowed(key, &allowed);
    SW_TRY(sw_buf_status(&allowed, err));
    return sw_config_complain(place, err, "%s: %s is out of range; allowed: %s", key->name, value->text, allowed.data);
}

static sw_status store_enum(int *at, const sw_config_key *key, const sw_yaml *value, const sw_config_place *place,
                            sw_error *err)
{
    enum { MAX_NAMES = 32 };
    char text[MAX_NAMES][64];
    const char *names[MAX_NAMES] = {0}, *name;
    size_t length;
    int count = 0;
    for (; count < MAX_NAMES && sw_config_enum_name(key->names, count, &name, &length); count++) {
        if (strlen(value->text) == length && memcmp(value->text, name, length) == 0) {
            *at = count;
            return SW_OK;
        }
        size_t copied = length < sizeof(text[0]) ? length : sizeof(text[0]) - 1;
        memcpy(text[count], name, copied);
        text[count][copied] = '\0';
        names[count] = text[count];
    }
    SW_CLEANUP(sw_buf_free) sw_buf allowed = {0};
    sw_config_allowed(key, &allowed);
    SW_TRY(sw_buf_status(&allowed, err));
    const char *near = sw_nearest_name(value->text, names, (size_t)count);
    if (near)
        return sw_config_complain(place, err, "%s: '%s' is none of %s; the nearest is '%s'", key->name, value->text,
                                  allowed.data, near);
    return sw_config_complain(place, err, "%s: '%s' is none of %s", key->name, value->text, allowed.data);
}

static sw_status store_text(char **at, const char *text, sw_error *err)
{
    char *copy = sw_strdup(text);
    if (!copy) return sw_nomem(err);
    sw_free(*at);
    *at = copy;
    return SW_OK;
}

static void texts_clear(sw_config_texts *texts)
{
    for (size_t i = 0; i < texts->count; i++) sw_free(texts->item[i]);
    sw_free(texts->item);
    *texts = (sw_config_texts){0};
}

static sw_status store_texts(sw_config_texts *at, const sw_config_key *key, const sw_yaml *list,
                             const sw_config_place *place, sw_error *err)
{
    SW_CLEANUP(texts_clear) sw_config_texts texts = {0};
    if (list->count > 0 && !(texts.item = sw_calloc(list->count, sizeof(*texts.item)))) return sw_nomem(err);
    for (size_t i = 0; i < list->count; i++) {
        const sw_yaml *item = list->item[i];
        sw_config_place here = {.name = place->name, .line = place->line ? item->line : 0};
        if (item->kind != SW_YAML_SCALAR) {
            return sw_config_complain(&here, err, "%s: item %zu is not a text", key->name, i + 1);
        }
        if (!(texts.item[i] = sw_strdup(item->text))) return sw_nomem(err);
        texts.count++;
    }
    texts_clear(at);
    *at = texts;
    texts = (sw_config_texts){0};
    return SW_OK;
}

static sw_status scale_number(const sw_yaml *value, const char *name, double high, const sw_config_place *place,
                              double *out, sw_error *err)
{
    double number;
    if (value->kind != SW_YAML_SCALAR || value->quoted || !sw_parse_double(value->text, &number)) {
        return sw_config_complain(place, err, "bag.scales: %s must be a number", name);
    }
    if (!(number > 0 && number <= high)) {
        return sw_config_complain(place, err, "bag.scales: %s: %s is out of range; allowed: above 0, at most %g", name,
                                  value->text, high);
    }
    *out = number;
    return SW_OK;
}

static sw_status read_scale(const sw_yaml *map, const sw_config_place *place, sw_config_scale *out, sw_error *err)
{
    static const char *const names[] = {"mpp", "magnification", "share"};
    double value[3] = {0};
    if (map->kind != SW_YAML_MAP)
        return sw_config_complain(place, err, "bag.scales: each scale is {mpp: …} or {magnification: …}, with share: … for the rule 'shares'");
    for (size_t i = 0; i < map->count; i++) {
        size_t k = 0;
        while (k < 3 && strcmp(map->key[i], names[k]) != 0) k++;
        sw_config_place here = {.name = place->name, .line = place->line ? map->key_line[i] : 0};
        if (k == 3) {
            const char *near = sw_nearest_name(map->key[i], names, 3);
            return sw_config_complain(&here, err, "unknown key '%s' of a scale; %s%s%s", map->key[i],
                                      near ? "the nearest is '" : "the keys are mpp, magnification and share",
                                      near ? near : "", near ? "'" : "");
        }
        SW_TRY(scale_number(map->item[i], names[k], k == 2 ? 1e6 : 1000, &here, &value[k], err));
    }
    if ((value[0] > 0) == (value[1] > 0)) {
        return sw_config_complain(place, err, "bag.scales: a scale needs mpp or magnification, %s",
                                  value[0] > 0 ? "not both" : "and has neither");
    }
    out->mpp_um = value[0] > 0 ? value[0] : 10 / value[1];
    out->magnification = 10 / out->mpp_um; /* always from mpp, so that writing mpp alone gives the same back */
    out->share = value[2];
    return SW_OK;
}

static sw_status store_scales(sw_config_scales *at, const sw_yaml *list, const sw_config_place *place, sw_error *err)
{
    sw_config_scales scales = {0};
    if (list->count > SW_CONFIG_MAX_SCALES) {
        return sw_config_complain(place, err, "bag.scales: %zu scales are more than the %d that are allowed", list->count,
                                  SW_CONFIG_MAX_SCALES);
    }
    for (size_t i = 0; i < list->count; i++) {
        sw_config_place here = {.name = place->name, .line = place->line ? list->item[i]->line : 0};
        SW_TRY(read_scale(list->item[i], &here, &scales.item[i], err));
    }
    scales.count = list->count;
    *at = scales;
    return SW_OK;
}

static bool is_null(const sw_yaml *value)
{
    return !value->quoted && (strcmp(value->text, "~") == 0 || strcmp(value->text, "null") == 0);
}

static sw_status store_number(void *at, const sw_config_key *key, const sw_yaml *value, const sw_config_place *place,
                              sw_error *err)
{
    int64_t whole = 0;
    double number;
    if (value->quoted || !sw_parse_double(value->text, &number)) return wrong_type(key, value, place, err);
    if (key->kind == SW_CONFIG_INT && !sw_parse_int(value->text, &whole)) return wrong_type(key, value, place, err);
    bool low = key->above ? number > key->low : number >= key->low;
    if (!low || !(number <= key->high)) return out_of_range(key, value, place, err);
    if (key->kind == SW_CONFIG_INT) *(int64_t *)at = whole;
    else *(double *)at = number;
    return SW_OK;
}

sw_status sw_config_store(sw_config *config, const sw_config_key *key, const sw_yaml *value,
                          const sw_config_place *place, sw_error *err)
{
    void *at = (char *)config + key->offset;
    sw_yaml_kind wanted = key->kind == SW_CONFIG_TEXTS || key->kind == SW_CONFIG_SCALES ? SW_YAML_LIST : SW_YAML_SCALAR;
    if (value->kind != wanted) return wrong_type(key, value, place, err);
    switch (key->kind) {
    case SW_CONFIG_INT:
    case SW_CONFIG_REAL: return store_number(at, key, value, place, err);
    case SW_CONFIG_BOOL:
        if (value->quoted || (strcmp(value->text, "true") != 0 && strcmp(value->text, "false") != 0)) {
            return wrong_type(key, value, place, err);
        }
        *(bool *)at = value->text[0] == 't';
        return SW_OK;
    case SW_CONFIG_TEXT: return store_text(at, is_null(value) ? "" : value->text, err);
    case SW_CONFIG_ENUM:
        if (value->text[0] == '\0') return wrong_type(key, value, place, err);
        return store_enum(at, key, value, place, err);
    case SW_CONFIG_TEXTS: return store_texts(at, key, value, place, err);
    case SW_CONFIG_SCALES: return store_scales(at, value, place, err);
    }
    return sw_error_set(err, SW_E_INTERNAL, "%s: a key of unknown kind", key->name);
}
