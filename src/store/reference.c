/* SPDX-License-Identifier: Apache-2.0 */
#include "store/reference.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "weights/pickle.h"

#define MOST_KEY 511 /* of LMDB */

/* ---- one value */

typedef struct cursor {
    const uint8_t *at, *end;
} cursor;

/* Little-endian unsigned of `width` bytes; false: they are not there. */
static bool take_uint(cursor *c, int width, uint64_t *out)
{
    if (c->end - c->at < width) return false;
    *out = 0;
    for (int i = width - 1; i >= 0; i--) *out = *out << 8 | c->at[i];
    c->at += width;
    return true;
}

static bool skip(cursor *c, uint8_t code, int width)
{
    if (c->at == c->end || *c->at != code) return true; /* it need not be there */
    if (c->end - c->at < 1 + width) return false;
    c->at += 1 + width;
    return true;
}

static bool take_bytes(cursor *c, const void **bytes, size_t *size)
{
    if (c->at == c->end) return false;
    uint8_t code = *c->at++;
    int width = code == 'C' ? 1 : code == 'B' ? 4 : code == 0x8e ? 8 : 0;
    uint64_t count = 0;
    if (width == 0 || !take_uint(c, width, &count) || count > (uint64_t)(c->end - c->at)) return false;
    *bytes = c->at;
    *size = (size_t)count;
    c->at += count;
    return true;
}

bool sw_reference_bytes(const void *value, size_t size, const void **bytes, size_t *bytes_size)
{
    enum { PROTO = 0x80, FRAME = 0x95, MEMOIZE = 0x94, BINPUT = 'q', LONG_BINPUT = 'r' };
    cursor c = {value, (const uint8_t *)value + size};
    if (size == 0 || *c.at != PROTO || !skip(&c, PROTO, 1) || !skip(&c, FRAME, 8)) return false;
    if (!take_bytes(&c, bytes, bytes_size) || !skip(&c, FRAME, 8)) return false;
    if (!skip(&c, MEMOIZE, 0) || !skip(&c, BINPUT, 1) || !skip(&c, LONG_BINPUT, 4)) return false;
    return c.end - c.at == 1 && *c.at == '.';
}

/* ---- keys */

bool sw_reference_key(const void *key, size_t size, size_t *slide_size, int64_t *index)
{
    const char *text = key;
    size_t digits = 0;
    while (digits < size && text[size - 1 - digits] >= '0' && text[size - 1 - digits] <= '9') digits++;
    if (digits == 0 || digits > 9 || size < digits + 2 || text[size - digits - 1] != '-') return false;
    if (digits > 1 && text[size - digits] == '0') return false;
    *index = 0;
    for (size_t i = size - digits; i < size; i++) *index = *index * 10 + (text[i] - '0');
    *slide_size = size - digits - 1;
    return true;
}

/* A name that becomes that of files. */
static bool is_slide_name(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if ((unsigned char)text[i] < 32 || text[i] == 127 || text[i] == '/') return false;
    }
    return !(size <= 2 && memcmp(text, "..", size) == 0);
}

static int compare(const char *slide_id, const char *text, size_t size)
{
    int order = strncmp(slide_id, text, size);
    return order != 0 ? order : slide_id[size] != '\0';
}

/* Where the slide is, or where it would stand. */
static size_t position(const sw_reference *r, const char *text, size_t size)
{
    size_t low = 0, high = r->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare(r->slide[middle].slide_id, text, size) < 0) low = middle + 1;
        else high = middle;
    }
    return low;
}

static sw_status slide_at(sw_reference *r, const char *text, size_t size, sw_reference_slide **out, sw_error *err)
{
    size_t at = position(r, text, size);
    if (at == r->count || compare(r->slide[at].slide_id, text, size) != 0) {
        SW_TRY(sw_grow(&r->slide, &r->capacity, r->count + 1, sizeof *r->slide, err));
        char *id = sw_strndup(text, size);
        if (!id) return sw_nomem(err);
        memmove(r->slide + at + 1, r->slide + at, (r->count - at) * sizeof *r->slide);
        r->slide[at] = (sw_reference_slide){.slide_id = id, .highest = -1, .promised = -1};
        r->count++;
    }
    *out = &r->slide[at];
    return SW_OK;
}

static bool is_metadata(const void *key, size_t size)
{
    static const char *const name[] = {"__keys__", "__len__", "__slide__", "__pn__"};
    for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
        if (strlen(name[i]) == size && memcmp(name[i], key, size) == 0) return true;
    }
    return false;
}

static sw_status count_key(void *ctx, const void *key, size_t key_size, const void *value, size_t size, sw_error *err)
{
    sw_reference *r = ctx;
    sw_reference_slide *slide = NULL;
    size_t slide_size;
    int64_t index;
    (void)value, (void)size;
    if (is_metadata(key, key_size)) return SW_OK;
    if (!sw_reference_key(key, key_size, &slide_size, &index) || !is_slide_name(key, slide_size)) {
        r->n_strange++;
        return SW_OK;
    }
    SW_TRY(slide_at(r, key, slide_size, &slide, err));
    slide->count++;
    if (index > slide->highest) slide->highest = index;
    return SW_OK;
}

/* The table of the slides with their numbers of patches, which is written last. */
static sw_status read_table(sw_reference *r, sw_error *err)
{
    SW_CLEANUP(sw_pickle_free) sw_pickle pickle = {0};
    const void *value;
    size_t size;
    SW_TRY(sw_kv_get(r->kv, "__pn__", 6, &value, &size, err));
    if (!value) return SW_OK;
    SW_TRY(sw_pickle_read(value, size, r->path, &pickle, err));
    const sw_pickle_value *table = pickle.root;
    if (table->kind != SW_PICKLE_DICT)
        return sw_error_set(err, SW_E_FORMAT, "%s: its table __pn__ is no table; make the LMDB again", r->path);
    for (size_t i = 0; i + 1 < table->count; i += 2) {
        const sw_pickle_value *name = table->item[i], *n = table->item[i + 1];
        sw_reference_slide *slide = NULL;
        if (name->kind != SW_PICKLE_TEXT || n->kind != SW_PICKLE_INT || !is_slide_name(name->text, name->size) || name->size == 0)
            return sw_error_set(err, SW_E_FORMAT, "%s: its table __pn__ does not give a number for a slide; make the LMDB again", r->path);
        SW_TRY(slide_at(r, name->text, name->size, &slide, err));
        slide->promised = n->number;
    }
    r->has_table = true;
    return SW_OK;
}

/* ---- a file */

void sw_reference_close(sw_reference *r)
{
    for (size_t i = 0; i < r->count; i++) sw_free(r->slide[i].slide_id);
    sw_free(r->slide);
    sw_free(r->path);
    sw_kv_close(&r->kv);
    *r = (sw_reference){0};
}

static sw_status look(sw_reference *r, const char *path, sw_error *err)
{
    r->path = sw_strdup(path);
    if (!r->path) return sw_nomem(err);
    SW_TRY(sw_kv_open_file(path, &r->kv, err));
    SW_TRY(sw_kv_each(r->kv, 0, count_key, r, err));
    SW_TRY(read_table(r, err));
    if (r->count > 0) return SW_OK;
    return sw_error_set(err, SW_E_FORMAT, "%s: no patch is in it under a key SLIDE-NUMBER; give the .lmdb file that the reference implementation wrote",
                        path);
}

sw_status sw_reference_open(const char *path, sw_reference *out, sw_error *err)
{
    *out = (sw_reference){0};
    sw_status status = look(out, path, err);
    if (status != SW_OK) sw_reference_close(out);
    return status;
}

sw_status sw_reference_patch(const sw_reference *r, const char *slide_id, int64_t index, const void **jpeg, size_t *size, sw_error *err)
{
    char key[MOST_KEY + 1];
    const void *value;
    size_t value_size;
    int key_size = snprintf(key, sizeof key, "%s-%lld", slide_id, (long long)index);
    if (key_size > MOST_KEY) return sw_error_set(err, SW_E_INVALID, "%s: the slide name %s is too long", r->path, slide_id);
    SW_TRY(sw_kv_get(r->kv, key, (size_t)key_size, &value, &value_size, err));
    if (!value) return sw_error_set(err, SW_E_FORMAT, "slide %s: patch %lld is missing in %s", slide_id, (long long)index, r->path);
    if (!sw_reference_bytes(value, value_size, jpeg, size)) {
        return sw_error_set(err, SW_E_FORMAT,
                            "slide %s: patch %lld of %s is no pickled bytes object, which is all that is read from a pickle here", slide_id,
                            (long long)index, r->path);
    }
    const uint8_t *start = *jpeg;
    if (*size < 4 || start[0] != 0xff || start[1] != 0xd8)
        return sw_error_set(err, SW_E_FORMAT, "slide %s: patch %lld of %s is no JPEG", slide_id, (long long)index, r->path);
    return SW_OK;
}
