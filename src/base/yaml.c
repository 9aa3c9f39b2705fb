/* SPDX-License-Identifier: Apache-2.0 */
#include "base/yaml.h"

#include <string.h>
#include <yaml.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/versions.h"

enum {
    MAX_DEPTH = 64,
    MAX_NODES = 100000 /* an alias copies what it names: a small file could otherwise grow without end */
};

const char *sw_libyaml_version(void)
{
    return yaml_get_version_string();
}

void sw_yaml_free(sw_yaml *root)
{
    if (!root) return;
    for (size_t i = 0; i < root->count; i++) {
        sw_yaml_free(root->item[i]);
        if (root->key) sw_free(root->key[i]);
    }
    sw_free(root->item);
    sw_free(root->key);
    sw_free(root->key_line);
    sw_free(root->text);
    sw_free(root);
}

void sw_yaml_free_ptr(sw_yaml **root)
{
    sw_yaml_free(*root);
    *root = NULL;
}

const sw_yaml *sw_yaml_get(const sw_yaml *map, const char *key)
{
    if (!map || map->kind != SW_YAML_MAP) return NULL;
    for (size_t i = 0; i < map->count; i++) {
        if (strcmp(map->key[i], key) == 0) return map->item[i];
    }
    return NULL;
}

typedef struct anchor {
    char *name;
    const sw_yaml *node; /* borrowed from the tree, which only grows */
} anchor;

typedef struct reader {
    yaml_parser_t parser;
    const char *name;
    anchor *anchors;
    size_t anchor_count, anchor_capacity;
    size_t nodes;
} reader;

static void reader_free(reader *r)
{
    for (size_t i = 0; i < r->anchor_count; i++) sw_free(r->anchors[i].name);
    sw_free(r->anchors);
    yaml_parser_delete(&r->parser);
}

static int line_of(yaml_mark_t mark)
{
    return (int)mark.line + 1;
}

static sw_status next_event(reader *r, yaml_event_t *event, sw_error *err)
{
    if (yaml_parser_parse(&r->parser, event)) return SW_OK;
    const yaml_parser_t *p = &r->parser;
    if (p->error == YAML_MEMORY_ERROR) return sw_nomem(err);
    const char *problem = p->problem ? p->problem : "it cannot be read";
    if (p->error == YAML_READER_ERROR) {
        return sw_error_set(err, SW_E_FORMAT, "%s, byte %zu: not valid YAML: %s", r->name, p->problem_offset, problem);
    }
    return sw_error_set(err, SW_E_FORMAT, "%s, line %d: not valid YAML: %s%s%s", r->name, line_of(p->problem_mark),
                        p->context ? p->context : "", p->context ? ", " : "", problem);
}

static sw_status new_node(reader *r, sw_yaml_kind kind, int line, sw_yaml **out, sw_error *err)
{
    if (++r->nodes > MAX_NODES) {
        return sw_error_set(err, SW_E_FORMAT, "%s, line %d: the file unfolds to more than %d values", r->name, line,
                            MAX_NODES);
    }
    sw_yaml *node = sw_calloc(1, sizeof(*node));
    if (!node) return sw_nomem(err);
    node->kind = kind;
    node->line = line;
    *out = node;
    return SW_OK;
}

/* Appends a child; takes `item` and `key` (NULL in a list) on success. */
static sw_status add_child(sw_yaml *node, sw_yaml *item, char *key, int key_line, sw_error *err)
{
    /* The capacity follows from the count (8, 12, 18, …), so that nodes need not carry it. */
    size_t capacity = 0;
    while (node->count > 0 && capacity < node->count) capacity = capacity < 8 ? 8 : capacity + capacity / 2;
    size_t room = capacity;
    SW_TRY(sw_grow(&node->item, &room, node->count + 1, sizeof(*node->item), err));
    if (key) {
        room = capacity;
        SW_TRY(sw_grow(&node->key, &room, node->count + 1, sizeof(*node->key), err));
        room = capacity;
        SW_TRY(sw_grow(&node->key_line, &room, node->count + 1, sizeof(*node->key_line), err));
        node->key[node->count] = key;
        node->key_line[node->count] = key_line;
    }
    node->item[node->count++] = item;
    return SW_OK;
}

static sw_status copy_node(reader *r, const sw_yaml *from, int line, sw_yaml **out, sw_error *err)
{
    SW_CLEANUP(sw_yaml_free_ptr) sw_yaml *copy = NULL;
    SW_TRY(new_node(r, from->kind, line, &copy, err));
    copy->quoted = from->quoted;
    if (from->text && !(copy->text = sw_strdup(from->text))) return sw_nomem(err);
    for (size_t i = 0; i < from->count; i++) {
        SW_CLEANUP(sw_yaml_free_ptr) sw_yaml *item = NULL;
        SW_TRY(copy_node(r, from->item[i], from->item[i]->line, &item, err));
        SW_AUTOFREE char *key = from->key ? sw_strdup(from->key[i]) : NULL;
        if (from->key && !key) return sw_nomem(err);
        SW_TRY(add_child(copy, item, key, from->key ? from->key_line[i] : 0, err));
        item = NULL;
        key = NULL;
    }
    *out = SW_STEAL(copy);
    return SW_OK;
}

static sw_status remember(reader *r, const yaml_char_t *name, const sw_yaml *node, sw_error *err)
{
    if (!name) return SW_OK;
    SW_TRY(sw_grow(&r->anchors, &r->anchor_capacity, r->anchor_count + 1, sizeof(*r->anchors), err));
    char *copy = sw_strdup((const char *)name);
    if (!copy) return sw_nomem(err);
    r->anchors[r->anchor_count++] = (anchor){.name = copy, .node = node};
    return SW_OK;
}

static sw_status resolve(reader *r, const yaml_event_t *event, sw_yaml **out, sw_error *err)
{
    const char *name = (const char *)event->data.alias.anchor;
    int line = line_of(event->start_mark);
    for (size_t i = r->anchor_count; i-- > 0;) { /* the latest of a name counts */
        if (strcmp(r->anchors[i].name, name) == 0) return copy_node(r, r->anchors[i].node, line, out, err);
    }
    return sw_error_set(err, SW_E_FORMAT, "%s, line %d: *%s names no anchor that is complete above it", r->name, line,
                        name);
}

static sw_status scalar_text(const reader *r, const yaml_event_t *event, char **out, sw_error *err)
{
    const char *value = (const char *)event->data.scalar.value;
    if (strlen(value) != event->data.scalar.length) {
        return sw_error_set(err, SW_E_FORMAT, "%s, line %d: a text contains a zero byte", r->name,
                            line_of(event->start_mark));
    }
    *out = sw_strdup(value);
    return *out ? SW_OK : sw_nomem(err);
}

static sw_status read_node(reader *r, const yaml_event_t *event, int depth, sw_yaml **out, sw_error *err);

static sw_status read_list(reader *r, sw_yaml *list, int depth, sw_error *err)
{
    for (;;) {
        SW_CLEANUP(yaml_event_delete) yaml_event_t event = {0};
        SW_TRY(next_event(r, &event, err));
        if (event.type == YAML_SEQUENCE_END_EVENT) return SW_OK;
        SW_CLEANUP(sw_yaml_free_ptr) sw_yaml *item = NULL;
        SW_TRY(read_node(r, &event, depth, &item, err));
        SW_TRY(add_child(list, item, NULL, 0, err));
        item = NULL;
    }
}

static sw_status read_key(const reader *r, const sw_yaml *map, const yaml_event_t *event, char **key, sw_error *err)
{
    int line = line_of(event->start_mark);
    if (event->type != YAML_SCALAR_EVENT) {
        return sw_error_set(err, SW_E_FORMAT, "%s, line %d: a key must be plain text", r->name, line);
    }
    SW_AUTOFREE char *text = NULL;
    SW_TRY(scalar_text(r, event, &text, err));
    for (size_t i = 0; i < map->count; i++) {
        if (strcmp(map->key[i], text) == 0) {
            return sw_error_set(err, SW_E_FORMAT, "%s, line %d: the key \"%s\" is already given at line %d", r->name,
                                line, text, map->key_line[i]);
        }
    }
    *key = SW_STEAL(text);
    return SW_OK;
}

static sw_status read_map(reader *r, sw_yaml *map, int depth, sw_error *err)
{
    for (;;) {
        SW_CLEANUP(yaml_event_delete) yaml_event_t event = {0};
        SW_TRY(next_event(r, &event, err));
        if (event.type == YAML_MAPPING_END_EVENT) return SW_OK;
        SW_AUTOFREE char *key = NULL;
        SW_TRY(read_key(r, map, &event, &key, err));
        SW_CLEANUP(yaml_event_delete) yaml_event_t value = {0};
        SW_TRY(next_event(r, &value, err));
        SW_CLEANUP(sw_yaml_free_ptr) sw_yaml *item = NULL;
        SW_TRY(read_node(r, &value, depth, &item, err));
        SW_TRY(add_child(map, item, key, line_of(event.start_mark), err));
        item = NULL;
        key = NULL;
    }
}

static sw_status read_node(reader *r, const yaml_event_t *event, int depth, sw_yaml **out, sw_error *err)
{
    int line = line_of(event->start_mark);
    if (depth > MAX_DEPTH) {
        return sw_error_set(err, SW_E_FORMAT, "%s, line %d: nested deeper than %d levels", r->name, line, MAX_DEPTH);
    }
    SW_CLEANUP(sw_yaml_free_ptr) sw_yaml *node = NULL;
    const yaml_char_t *anchor_name = NULL;
    switch (event->type) {
    case YAML_ALIAS_EVENT: return resolve(r, event, out, err);
    case YAML_SCALAR_EVENT:
        SW_TRY(new_node(r, SW_YAML_SCALAR, line, &node, err));
        SW_TRY(scalar_text(r, event, &node->text, err));
        node->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
        anchor_name = event->data.scalar.anchor;
        break;
    case YAML_SEQUENCE_START_EVENT:
        SW_TRY(new_node(r, SW_YAML_LIST, line, &node, err));
        SW_TRY(read_list(r, node, depth + 1, err));
        anchor_name = event->data.sequence_start.anchor;
        break;
    case YAML_MAPPING_START_EVENT:
        SW_TRY(new_node(r, SW_YAML_MAP, line, &node, err));
        SW_TRY(read_map(r, node, depth + 1, err));
        anchor_name = event->data.mapping_start.anchor;
        break;
    default: return sw_error_set(err, SW_E_INTERNAL, "%s, line %d: unexpected YAML event", r->name, line);
    }
    SW_TRY(remember(r, anchor_name, node, err));
    *out = SW_STEAL(node);
    return SW_OK;
}

/* Between the documents' marks: one document, or none (an empty map). */
static sw_status read_stream(reader *r, sw_yaml **out, sw_error *err)
{
    SW_CLEANUP(sw_yaml_free_ptr) sw_yaml *root = NULL;
    for (;;) {
        SW_CLEANUP(yaml_event_delete) yaml_event_t event = {0};
        SW_TRY(next_event(r, &event, err));
        if (event.type == YAML_STREAM_END_EVENT) break;
        if (event.type == YAML_STREAM_START_EVENT || event.type == YAML_DOCUMENT_END_EVENT) continue;
        if (event.type == YAML_DOCUMENT_START_EVENT) {
            if (!root) continue;
            return sw_error_set(err, SW_E_FORMAT, "%s, line %d: a second document starts here; only one is allowed",
                                r->name, line_of(event.start_mark));
        }
        SW_TRY(read_node(r, &event, 0, &root, err));
    }
    if (!root) SW_TRY(new_node(r, SW_YAML_MAP, 1, &root, err));
    *out = SW_STEAL(root);
    return SW_OK;
}

sw_status sw_yaml_parse(const char *text, size_t size, const char *name_for_errors, sw_yaml **out, sw_error *err)
{
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser)) return sw_nomem(err);
    SW_CLEANUP(reader_free) reader r = {.parser = parser, .name = name_for_errors};
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)(size ? text : ""), size);
    return read_stream(&r, out, err);
}

sw_status sw_yaml_read(const char *path, sw_yaml **out, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf text = {0};
    SW_TRY(sw_file_read(path, &text, err));
    return sw_yaml_parse(text.data, text.size, path, out, err);
}
