/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration as YAML, JSON and the reference page. */
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "config/config_table.h"

/* The parts of a dotted name: "data.split.seed" has the groups "data", "split" and the leaf "seed". */
static size_t part(const char *name, int depth, const char **start)
{
    for (; depth > 0 && name; depth--) {
        name = strchr(name, '.');
        if (name) name++;
    }
    *start = name;
    return name ? strcspn(name, ".") : 0;
}

static int depth_of(const char *name)
{
    int depth = 0;
    for (; (name = strchr(name, '.')) != NULL; name++) depth++;
    return depth;
}

/* How many leading groups two keys share. */
static int shared_groups(const char *a, const char *b)
{
    int shared = 0, limit = depth_of(b);
    if (!a) return 0;
    if (depth_of(a) < limit) limit = depth_of(a);
    for (; shared < limit; shared++) {
        const char *x, *y;
        size_t n = part(a, shared, &x), m = part(b, shared, &y);
        if (n != m || memcmp(x, y, n) != 0) break;
    }
    return shared;
}

static void put_comment(const sw_config_key *key, sw_buf *out)
{
    sw_buf_puts(out, "  # ");
    sw_buf_puts(out, key->help);
    if (key->kind == SW_CONFIG_INT || key->kind == SW_CONFIG_REAL || key->kind == SW_CONFIG_ENUM) {
        sw_buf_puts(out, " (");
        sw_config_allowed(key, out);
        sw_buf_puts(out, ")");
    }
    sw_buf_puts(out, "\n");
}

void sw_config_yaml(const sw_config *config, sw_buf *out)
{
    const char *before = NULL;
    sw_buf_puts(out, "# slidewise configuration: every key, with what was not given at its default\n");
    for (size_t i = 0; i < sw_config_key_count; i++) {
        const sw_config_key *key = &sw_config_keys[i];
        if (!key->name) {
            sw_buf_printf(out, "\n# %s\n", key->help);
            continue;
        }
        int depth = depth_of(key->name);
        const char *start;
        for (int d = shared_groups(before, key->name); d < depth; d++) {
            size_t length = part(key->name, d, &start);
            sw_buf_printf(out, "%*s%.*s:\n", 2 * d, "", (int)length, start);
        }
        part(key->name, depth, &start);
        sw_buf_printf(out, "%*s%s: ", 2 * depth, "", start);
        sw_config_put_value(config, key, out);
        put_comment(key, out);
        before = key->name;
    }
}

sw_status sw_config_write_yaml(const sw_config *config, const char *path, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf text = {0};
    sw_config_yaml(config, &text);
    SW_TRY(sw_buf_status(&text, err));
    return sw_file_write(path, text.data, text.size, err);
}

/* ---- JSON */

static void json_scales(const sw_config_scales *scales, sw_json_writer *w)
{
    sw_json_array(w);
    for (size_t i = 0; i < scales->count; i++) {
        sw_json_object(w);
        sw_json_key(w, "mpp");
        sw_json_number(w, scales->item[i].mpp_um);
        if (scales->item[i].share > 0) {
            sw_json_key(w, "share");
            sw_json_number(w, scales->item[i].share);
        }
        sw_json_end_object(w);
    }
    sw_json_end_array(w);
}

static void json_value(const sw_config *config, const sw_config_key *key, sw_json_writer *w)
{
    const void *at = sw_config_at(config, key);
    const sw_config_texts *texts = at;
    const char *name;
    size_t length;
    char text[64];
    switch (key->kind) {
    case SW_CONFIG_INT: sw_json_int(w, *(const int64_t *)at); break;
    case SW_CONFIG_REAL: sw_json_number(w, *(const double *)at); break;
    case SW_CONFIG_BOOL: sw_json_bool(w, *(const bool *)at); break;
    case SW_CONFIG_TEXT: sw_json_string(w, *(char *const *)at); break;
    case SW_CONFIG_TEXTS:
        sw_json_array(w);
        for (size_t i = 0; i < texts->count; i++) sw_json_string(w, texts->item[i]);
        sw_json_end_array(w);
        break;
    case SW_CONFIG_SCALES: json_scales(at, w); break;
    case SW_CONFIG_ENUM:
        if (!sw_config_enum_name(key->names, *(const int *)at, &name, &length) || length >= sizeof(text)) length = 0;
        else memcpy(text, name, length);
        text[length] = '\0';
        sw_json_string(w, text);
        break;
    }
}

static void json_key(sw_json_writer *w, const char *start, size_t length)
{
    char name[64];
    if (length >= sizeof(name)) length = sizeof(name) - 1;
    memcpy(name, start, length);
    name[length] = '\0';
    sw_json_key(w, name);
}

void sw_config_json(const sw_config *config, sw_json_writer *w)
{
    const char *before = NULL;
    sw_json_object(w);
    for (size_t i = 0; i < sw_config_key_count; i++) {
        const sw_config_key *key = &sw_config_keys[i];
        if (!key->name) continue;
        int depth = depth_of(key->name), shared = shared_groups(before, key->name);
        for (int d = before ? depth_of(before) : 0; d > shared; d--) sw_json_end_object(w);
        const char *start;
        for (int d = shared; d < depth; d++) {
            size_t length = part(key->name, d, &start);
            json_key(w, start, length);
            sw_json_object(w);
        }
        size_t length = part(key->name, depth, &start);
        json_key(w, start, length);
        json_value(config, key, w);
        before = key->name;
    }
    for (int d = before ? depth_of(before) : 0; d > 0; d--) sw_json_end_object(w);
    sw_json_end_object(w);
}

/* ---- Markdown */

static const char *type_name(sw_config_kind kind)
{
    static const char *const names[] = {"whole number", "number", "true/false", "text", "name", "list of texts",
                                        "list of scales"};
    return names[kind];
}

/* A cell must not hold a bare '|'. */
static void put_cell(sw_buf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '|') sw_buf_puts(out, "\\");
        sw_buf_append(out, text, 1);
    }
}

void sw_config_markdown(sw_buf *out)
{
    sw_buf_puts(out, "# Configuration\n\n"
                     "One YAML file. Keys with dots below are nested in it (`train.lr` is `lr:` under `train:`); what is not\n"
                     "given has its default. `--set KEY=VALUE` overrides a key from the command line.\n");
    for (size_t i = 0; i < sw_config_key_count; i++) {
        const sw_config_key *key = &sw_config_keys[i];
        if (!key->name) {
            sw_buf_printf(out, "\n## %s\n\n%s\n\n| key | type | default | allowed | meaning |\n|---|---|---|---|---|\n",
                          key->section, key->help);
            continue;
        }
        bool range = key->kind == SW_CONFIG_INT || key->kind == SW_CONFIG_REAL || key->kind == SW_CONFIG_ENUM;
        bool none = key->otherwise[0] == '\0';
        sw_buf_printf(out, "| `%s` | %s | %s%s%s | ", key->name, type_name(key->kind), none ? "" : "`",
                      key->otherwise, none ? "" : "`");
        if (range) sw_config_allowed(key, out);
        sw_buf_puts(out, " | ");
        put_cell(out, key->help);
        sw_buf_puts(out, " |\n");
    }
}
