/* SPDX-License-Identifier: Apache-2.0 */
/* The table of keys behind config.h, for the files of this folder. */
#ifndef SW_CONFIG_CONFIG_TABLE_H
#define SW_CONFIG_CONFIG_TABLE_H

#include "base/yaml.h"
#include "config/config.h"

typedef enum sw_config_kind {
    SW_CONFIG_INT,
    SW_CONFIG_REAL,
    SW_CONFIG_BOOL,
    SW_CONFIG_TEXT,
    SW_CONFIG_ENUM,
    SW_CONFIG_TEXTS,
    SW_CONFIG_SCALES
} sw_config_kind;

typedef struct sw_config_key {
    const char *name; /* dotted; NULL: a section */
    sw_config_kind kind;
    size_t offset;         /* of the member in sw_config */
    const char *otherwise; /* default, as text */
    double low, high;
    bool above;        /* the value must be greater than `low`, not equal */
    const char *unit;  /* "" : none */
    const char *names; /* of an enumeration, "a|b|c" */
    bool decides;
    const char *help;
    const char *section; /* of a section its name */
} sw_config_key;

extern const sw_config_key sw_config_keys[]; /* sections and keys in order */
extern const size_t sw_config_key_count;

const sw_config_key *sw_config_key_find(const char *name); /* NULL: no such key */
const void *sw_config_at(const sw_config *config, const sw_config_key *key);
/* Name `index` of "a|b|c" as text and length; false beyond the last. */
bool sw_config_enum_name(const char *names, int index, const char **name, size_t *length);
/* "1 to 8 bags", "above 0, at most 1", "one of adam, adamw": what a key allows. */
void sw_config_allowed(const sw_config_key *key, sw_buf *out);
/* One value as YAML (a list in flow style). */
void sw_config_put_value(const sw_config *config, const sw_config_key *key, sw_buf *out);
/* The shortest text that reads back as the same number. */
void sw_config_put_real(sw_buf *out, double value);

/* Where a value stands, for messages: "config.yaml:12" or "--set". */
typedef struct sw_config_place {
    const char *name;
    int line; /* 0: none */
} sw_config_place;

/* Checks `value` and stores it in the member of `key`. */
sw_status sw_config_store(sw_config *config, const sw_config_key *key, const sw_yaml *value,
                          const sw_config_place *place, sw_error *err) SW_MUST_CHECK;
/* "unknown key 'x'; the nearest is 'y'". */
sw_status sw_config_unknown(const char *name, const sw_config_place *place, sw_error *err) SW_MUST_CHECK;
sw_status sw_config_complain(const sw_config_place *place, sw_error *err, const char *fmt, ...) SW_PRINTF(3, 4);

#endif
