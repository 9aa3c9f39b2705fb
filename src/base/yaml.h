/* SPDX-License-Identifier: Apache-2.0 */
/* YAML read into a plain tree that keeps line numbers (libyaml is named in yaml.c only). */
#ifndef SW_BASE_YAML_H
#define SW_BASE_YAML_H

#include <stddef.h>

#include "slidewise/error.h"

typedef enum sw_yaml_kind { SW_YAML_SCALAR, SW_YAML_LIST, SW_YAML_MAP } sw_yaml_kind;

typedef struct sw_yaml {
    sw_yaml_kind kind;
    int line;              /* 1-based */
    bool quoted;           /* scalar written in quotes: a string even if it looks like a number */
    char *text;            /* scalar */
    size_t count;          /* list or map */
    struct sw_yaml **item; /* list items or map values */
    char **key;            /* map */
    int *key_line;         /* map */
} sw_yaml;

/* Anchors are resolved; duplicate keys, several documents and syntax errors are refused with the line. */
sw_status sw_yaml_read(const char *path, sw_yaml **out, sw_error *err) SW_MUST_CHECK;
sw_status sw_yaml_parse(const char *text, size_t size, const char *name_for_errors, sw_yaml **out,
                        sw_error *err) SW_MUST_CHECK;
void sw_yaml_free(sw_yaml *root);
void sw_yaml_free_ptr(sw_yaml **root);
const sw_yaml *sw_yaml_get(const sw_yaml *map, const char *key); /* NULL: absent */

#endif
