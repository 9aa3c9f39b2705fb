/* SPDX-License-Identifier: Apache-2.0 */
#include "config/config.h"

#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "config/config_table.h"

void sw_config_free(sw_config *config)
{
    if (!config) return;
    for (size_t i = 0; i < sw_config_key_count; i++) {
        const sw_config_key *key = &sw_config_keys[i];
        void *at = (char *)config + key->offset;
        if (!key->name) continue;
        if (key->kind == SW_CONFIG_TEXT) sw_free(*(char **)at);
        if (key->kind == SW_CONFIG_TEXTS) {
            sw_config_texts *texts = at;
            for (size_t t = 0; t < texts->count; t++) sw_free(texts->item[t]);
            sw_free(texts->item);
        }
    }
    memset(config, 0, sizeof(*config));
}

/* The keys that a preset stands for: the names and numbers of the reference. */
static void apply_preset(sw_config *config)
{
    static const struct {
        bool crop;
        double flip, shift;
    } means[] = {[SW_CFG_PRESET_NONE] = {false, 0, 0},
                 [SW_CFG_PRESET_WEAK] = {true, 0, 0},
                 [SW_CFG_PRESET_STRONG] = {true, 0.5, 0},
                 [SW_CFG_PRESET_WEAK_STRONG] = {true, 0, 0.390625}, /* 100 of 256 pixels */
                 [SW_CFG_PRESET_STRONG_V2] = {true, 0.5, 0.5}};
    sw_cfg_preset preset = config->augment.preset;
    config->augment.crop = means[preset].crop;
    config->augment.hflip = config->augment.vflip = means[preset].flip;
    config->augment.shift = means[preset].shift;
}

static sw_status store(sw_config *config, const sw_config_key *key, const sw_yaml *value, const sw_config_place *place,
                       sw_error *err)
{
    SW_TRY(sw_config_store(config, key, value, place, err));
    if (strcmp(key->name, "augment.preset") == 0) apply_preset(config);
    return SW_OK;
}

/* A value given as text; lists are read as YAML, everything else is taken as it stands. */
static sw_status store_plain(sw_config *config, const sw_config_key *key, const char *text,
                             const sw_config_place *place, sw_error *err)
{
    if (key->kind == SW_CONFIG_TEXTS || key->kind == SW_CONFIG_SCALES) {
        SW_CLEANUP(sw_yaml_free_ptr) sw_yaml *tree = NULL;
        sw_status status = sw_yaml_parse(text, strlen(text), key->name, &tree, err);
        if (status == SW_E_FORMAT) return sw_config_complain(place, err, "%s: '%s' is not a list ([a, b])", key->name, text);
        SW_TRY(status);
        return store(config, key, tree, place, err);
    }
    SW_AUTOFREE char *copy = sw_strdup(text);
    if (!copy) return sw_nomem(err);
    sw_yaml scalar = {.kind = SW_YAML_SCALAR, .text = copy};
    return store(config, key, &scalar, place, err);
}

sw_status sw_config_default(sw_config *out, sw_error *err)
{
    memset(out, 0, sizeof(*out));
    static const sw_config_place place = {.name = "default"};
    for (size_t i = 0; i < sw_config_key_count; i++) {
        const sw_config_key *key = &sw_config_keys[i];
        if (key->name) SW_TRY(store_plain(out, key, key->otherwise, &place, err));
    }
    return SW_OK;
}

/* ---- overrides */

static sw_status split_assignment(const char *assignment, char **name, const char **value, sw_error *err)
{
    const char *equals = strchr(assignment, '=');
    if (!equals || equals == assignment) {
        return sw_error_set(err, SW_E_INVALID, "--set: '%s' is not KEY=VALUE (such as train.epochs=30)", assignment);
    }
    *name = sw_strndup(assignment, (size_t)(equals - assignment));
    if (!*name) return sw_nomem(err);
    *value = equals + 1;
    return SW_OK;
}

sw_status sw_config_set(sw_config *config, const char *assignment, sw_error *err)
{
    static const sw_config_place place = {.name = "--set"};
    SW_AUTOFREE char *name = NULL;
    const char *value = NULL;
    SW_TRY(split_assignment(assignment, &name, &value, err));
    const sw_config_key *key = sw_config_key_find(name);
    if (!key) return sw_config_unknown(name, &place, err);
    return store_plain(config, key, value, &place, err);
}

static bool sets_preset(const char *assignment)
{
    return strncmp(assignment, "augment.preset=", strlen("augment.preset=")) == 0;
}

static sw_status apply_sets(sw_config *config, const char *const *sets, size_t n_sets, sw_error *err)
{
    for (size_t i = 0; i < n_sets; i++) {
        if (sets_preset(sets[i])) SW_TRY(sw_config_set(config, sets[i], err));
    }
    for (size_t i = 0; i < n_sets; i++) {
        if (!sets_preset(sets[i])) SW_TRY(sw_config_set(config, sets[i], err));
    }
    return SW_OK;
}

/* ---- the file */

static bool is_section(const char *name)
{
    size_t length = strlen(name);
    for (size_t i = 0; i < sw_config_key_count; i++) {
        const char *key = sw_config_keys[i].name;
        if (key && strncmp(key, name, length) == 0 && key[length] == '.') return true;
    }
    return false;
}

static sw_status read_map(sw_config *config, const sw_yaml *map, const char *prefix, const char *file, sw_error *err);

static sw_status read_member(sw_config *config, const sw_yaml *map, size_t i, const char *prefix, const char *file,
                             sw_error *err)
{
    sw_config_place place = {.name = file, .line = map->key_line[i]};
    SW_AUTOFREE char *name = sw_asprintf("%s%s", prefix, map->key[i]);
    if (!name) return sw_nomem(err);
    const sw_yaml *value = map->item[i];
    const sw_config_key *key = sw_config_key_find(name);
    if (key) return store(config, key, value, &place, err);
    if (!is_section(name)) return sw_config_unknown(name, &place, err);
    if (value->kind == SW_YAML_SCALAR && value->text[0] == '\0') return SW_OK; /* a section with nothing in it */
    if (value->kind != SW_YAML_MAP) {
        return sw_config_complain(&place, err, "'%s' is a section: its keys stand indented below it", name);
    }
    SW_AUTOFREE char *inner = sw_asprintf("%s.", name);
    if (!inner) return sw_nomem(err);
    return read_map(config, value, inner, file, err);
}

static sw_status read_map(sw_config *config, const sw_yaml *map, const char *prefix, const char *file, sw_error *err)
{
    bool augment = strcmp(prefix, "augment.") == 0;
    for (size_t i = 0; augment && i < map->count; i++) {
        if (strcmp(map->key[i], "preset") == 0) SW_TRY(read_member(config, map, i, prefix, file, err));
    }
    for (size_t i = 0; i < map->count; i++) {
        if (augment && strcmp(map->key[i], "preset") == 0) continue;
        SW_TRY(read_member(config, map, i, prefix, file, err));
    }
    return SW_OK;
}

static sw_status load(const sw_yaml *tree, const char *file, const char *const *sets, size_t n_sets, sw_config *out,
                      sw_error *err)
{
    SW_TRY(sw_config_default(out, err));
    if (tree && tree->kind == SW_YAML_SCALAR && tree->text[0] == '\0') tree = NULL;
    if (tree && tree->kind != SW_YAML_MAP) {
        return sw_error_set(err, SW_E_INVALID, "%s:%d: a configuration is a set of keys (such as 'train:'), not %s", file,
                            tree->line, tree->kind == SW_YAML_LIST ? "a list" : "a text");
    }
    if (tree) SW_TRY(read_map(out, tree, "", file, err));
    SW_TRY(apply_sets(out, sets, n_sets, err));
    return sw_config_check(out, file, err);
}

sw_status sw_config_parse(const char *text, size_t size, const char *name_for_errors, const char *const *sets,
                          size_t n_sets, sw_config *out, sw_error *err)
{
    memset(out, 0, sizeof(*out));
    SW_CLEANUP(sw_yaml_free_ptr) sw_yaml *tree = NULL;
    SW_TRY(sw_yaml_parse(text, size, name_for_errors, &tree, err));
    return load(tree, name_for_errors, sets, n_sets, out, err);
}

sw_status sw_config_load(const char *path, const char *const *sets, size_t n_sets, sw_config *out, sw_error *err)
{
    memset(out, 0, sizeof(*out));
    if (!path) return load(NULL, "configuration", sets, n_sets, out, err);
    SW_CLEANUP(sw_yaml_free_ptr) sw_yaml *tree = NULL;
    SW_TRY(sw_yaml_read(path, &tree, err));
    return load(tree, path, sets, n_sets, out, err);
}

/* ---- hash and comparison */

static uint64_t mix(uint64_t hash, uint64_t value)
{
    return (hash ^ value) * 0x9E3779B97F4A7C15u + (hash >> 29);
}

static uint64_t hash_real(double value)
{
    uint64_t bits;
    if (value == 0) value = 0; /* -0 is 0 */
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

static uint64_t hash_value(const void *at, sw_config_kind kind)
{
    const sw_config_texts *texts = at;
    const sw_config_scales *scales = at;
    uint64_t hash = 0;
    switch (kind) {
    case SW_CONFIG_INT: return (uint64_t)*(const int64_t *)at;
    case SW_CONFIG_REAL: return hash_real(*(const double *)at);
    case SW_CONFIG_BOOL: return *(const bool *)at;
    case SW_CONFIG_ENUM: return (uint64_t)*(const int *)at;
    case SW_CONFIG_TEXT: return sw_hash64(*(char *const *)at, strlen(*(char *const *)at));
    case SW_CONFIG_TEXTS:
        for (size_t i = 0; i < texts->count; i++) hash = mix(hash, sw_hash64(texts->item[i], strlen(texts->item[i])));
        return mix(hash, texts->count);
    case SW_CONFIG_SCALES:
        for (size_t i = 0; i < scales->count; i++) {
            hash = mix(mix(hash, hash_real(scales->item[i].mpp_um)), hash_real(scales->item[i].share));
        }
        return mix(hash, scales->count);
    }
    return 0;
}

uint64_t sw_config_hash(const sw_config *config)
{
    uint64_t hash = 0;
    for (size_t i = 0; i < sw_config_key_count; i++) {
        const sw_config_key *key = &sw_config_keys[i];
        if (!key->name || !key->decides) continue;
        hash = mix(hash, sw_hash64(key->name, strlen(key->name)));
        hash = mix(hash, hash_value(sw_config_at(config, key), key->kind));
    }
    return hash;
}

bool sw_config_differs(const sw_config *a, const sw_config *b, char *text, size_t size)
{
    for (size_t i = 0; i < sw_config_key_count; i++) {
        const sw_config_key *key = &sw_config_keys[i];
        if (!key->name || !key->decides) continue;
        if (hash_value(sw_config_at(a, key), key->kind) == hash_value(sw_config_at(b, key), key->kind)) continue;
        SW_CLEANUP(sw_buf_free) sw_buf line = {0};
        sw_buf_printf(&line, "%s: ", key->name);
        sw_config_put_value(a, key, &line);
        sw_buf_puts(&line, " against ");
        sw_config_put_value(b, key, &line);
        const char *shown = line.failed ? key->name : line.data; /* without memory at least the name */
        size_t length = strlen(shown);
        if (size > 0) {
            if (length >= size) length = size - 1;
            memcpy(text, shown, length);
            text[length] = '\0';
        }
        return true;
    }
    return false;
}

int64_t sw_config_bag_patches(const sw_config *c)
{
    return c->bag.sampler == SW_SAMPLER_CLUSTERS ? c->bag.clusters * c->bag.per_cluster : c->bag.patches;
}
