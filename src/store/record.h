/* SPDX-License-Identifier: Apache-2.0 */
/* What the records of a store look like.
 *
 *   key                                      value (after the checksum)
 *   "a"                                      JSON: format, version, settings
 *   "b" slide:u32                            JSON: a slide and its scales
 *   "c" slide:u32 scale:u16                  int64 [n_patches, 2], little endian
 *   "p" slide:u32 scale:u16 index:u32        a JPEG
 *   "w" slide:u32                            nothing: a slide that is being written (begun.h)
 *
 * Numbers in keys are big endian, so that key order is reading order and new slides go to the end. A value begins with
 * the CRC-32C (little endian) of its key and the bytes that follow. Slides are numbered in the order of their commits. */
#ifndef SW_STORE_RECORD_H
#define SW_STORE_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include "base/json.h"
#include "slidewise/store.h"
#include "store/kv.h"

#define SW_STORE_VERSION 1

typedef struct sw_key {
    uint8_t bytes[16];
    size_t size;
} sw_key;
sw_key sw_key_meta(void);
sw_key sw_key_slide(uint32_t slide);
sw_key sw_key_coords(uint32_t slide, int scale);
sw_key sw_key_patch(uint32_t slide, int scale, int64_t index);

/* Puts a record with its checksum. */
sw_status sw_record_put(sw_kv *kv, const sw_key *key, const void *bytes, size_t size, sw_error *err) SW_MUST_CHECK;
/* Gets a record and checks it; `what` ("patch 3 of slide a, scale 0") names it in messages. Missing is SW_E_FORMAT. */
sw_status sw_record_get(sw_kv *kv, const sw_key *key, const char *what, const void **bytes, size_t *size, sw_error *err)
    SW_MUST_CHECK;
/* The numbers of a record of positions: n little-endian integers of 8 bytes. */
void sw_record_unpack(const void *bytes, size_t n, int64_t *out);
/* Checks the checksum of a whole value; false: it does not fit. */
bool sw_record_check(const void *key, size_t key_size, const void *value, size_t size);

/* Settings, owned. */
typedef struct sw_setting_list {
    char **name, **value;
    size_t count;
} sw_setting_list;
void sw_setting_list_free(sw_setting_list *list);
const char *sw_setting_list_find(const sw_setting_list *list, const char *name); /* NULL: absent */
/* Copies; *out untouched on failure. */
sw_status sw_setting_list_of(const sw_store_setting_pair *pairs, size_t n, sw_setting_list *out, sw_error *err) SW_MUST_CHECK;
/* The members of a JSON object, and back. */
sw_status sw_setting_list_from(const sw_json *json, sw_setting_list *out, sw_error *err) SW_MUST_CHECK;
void sw_setting_list_json(const sw_setting_list *list, sw_json_writer *w);
/* The name of the first setting (in the order of b, then of a) that differs, and both values, "(not set)" where one lacks it;
 * NULL: all are the same. Borrowed from the lists. */
const char *sw_setting_list_differs(const sw_setting_list *a, const sw_setting_list *b, const char **value_a, const char **value_b);
sw_status sw_record_put_meta(sw_kv *kv, const sw_setting_list *settings, sw_error *err) SW_MUST_CHECK;
/* *found false: the database is empty. */
sw_status sw_record_get_meta(sw_kv *kv, sw_setting_list *out, bool *found, sw_error *err) SW_MUST_CHECK;

/* A slide with owned texts, and its number. */
typedef struct sw_slide_record {
    sw_store_slide slide;
    uint32_t number;
    uint32_t part; /* which of the stores that are read as one; 0 where there is one */
} sw_slide_record;

/* Sorted by slide id. */
typedef struct sw_record_list {
    sw_slide_record **item; /* each owned */
    size_t count, capacity;
    uint32_t next_number;
} sw_record_list;
void sw_record_list_free(sw_record_list *list);
/* -1: absent. Of two of one id, while one replaces the other, the one that was added last. */
int64_t sw_record_list_find(const sw_record_list *list, const char *slide_id);
/* Copies the slide in. */
sw_status sw_record_list_add(sw_record_list *list, const sw_store_slide *slide, uint32_t number, sw_error *err) SW_MUST_CHECK;
/* The number of an added slide that was not kept is given again. */
void sw_record_list_remove(sw_record_list *list, uint32_t number);
sw_status sw_record_list_load(sw_kv *kv, sw_record_list *out, sw_error *err) SW_MUST_CHECK;
sw_status sw_record_put_slide(sw_kv *kv, uint32_t number, const sw_store_slide *slide, sw_error *err) SW_MUST_CHECK;

#endif
