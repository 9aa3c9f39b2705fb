/* SPDX-License-Identifier: Apache-2.0 */
/* JSON: a streaming writer of our own, and reading through jansson (named in json.c only). */
#ifndef SW_BASE_JSON_H
#define SW_BASE_JSON_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "slidewise/error.h"

/* --- writing: appends to a buffer; commas and quotes are its business. Doubles are written with
 * 17 significant digits; NaN and infinities become null. indent 0: one line (JSON lines). */
typedef struct sw_json_writer {
    sw_buf *buf;   /* borrowed */
    int indent;    /* spaces per level */
    int depth;
    uint64_t used; /* bit per depth: a member was written */
    bool after_key;
} sw_json_writer;

void sw_json_begin(sw_json_writer *w, sw_buf *buf, int indent);
void sw_json_object(sw_json_writer *w); /* { */
void sw_json_end_object(sw_json_writer *w);
void sw_json_array(sw_json_writer *w); /* [ */
void sw_json_end_array(sw_json_writer *w);
void sw_json_key(sw_json_writer *w, const char *key);
void sw_json_string(sw_json_writer *w, const char *value); /* NULL: null */
void sw_json_number(sw_json_writer *w, double value);
void sw_json_int(sw_json_writer *w, int64_t value);
void sw_json_bool(sw_json_writer *w, bool value);
void sw_json_null(sw_json_writer *w);
/* Key and value in one call. */
void sw_json_put_string(sw_json_writer *w, const char *key, const char *value);
void sw_json_put_number(sw_json_writer *w, const char *key, double value);
void sw_json_put_int(sw_json_writer *w, const char *key, int64_t value);
void sw_json_put_bool(sw_json_writer *w, const char *key, bool value);

/* --- reading */
typedef struct sw_json sw_json; /* a value; children are borrowed from the root */
sw_status sw_json_parse(const char *text, size_t size, const char *name_for_errors, sw_json **out,
                        sw_error *err) SW_MUST_CHECK;
sw_status sw_json_read(const char *path, sw_json **out, sw_error *err) SW_MUST_CHECK;
void sw_json_free(sw_json *root); /* roots only */
void sw_json_free_ptr(sw_json **root);
const sw_json *sw_json_get(const sw_json *object, const char *key);   /* NULL: absent */
const sw_json *sw_json_at(const sw_json *array, size_t index);        /* NULL: out of range */
size_t sw_json_count(const sw_json *value);                           /* array or object members */
const char *sw_json_member(const sw_json *object, size_t index, const sw_json **value); /* in file order */
const char *sw_json_text(const sw_json *value, const char *otherwise); /* not a string: otherwise */
double sw_json_real(const sw_json *value, double otherwise);
int64_t sw_json_integer(const sw_json *value, int64_t otherwise);
bool sw_json_truth(const sw_json *value, bool otherwise);
bool sw_json_is_object(const sw_json *value);
bool sw_json_is_array(const sw_json *value);

#endif
