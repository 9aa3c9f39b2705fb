/* SPDX-License-Identifier: Apache-2.0 */
/* What torch.save writes since 1.6: a zip archive with TOP/data.pkl, the object, and TOP/data/KEY, the storages. */
#include <zip.h>

#include <string.h>

#include "base/mem.h"
#include "base/versions.h"
#include "weights/torch_tree.h"

/* Deflate makes nothing smaller than by this factor: a member that claims more is a lie. */
enum { MAX_RATIO = 1040 };

typedef struct stored {
    zip_uint64_t index;
    const uint8_t *data;
    uint64_t bytes;
} stored;

typedef struct archive {
    sw_weights *w;
    zip_t *zip;
    char *top; /* "archive/", or empty */
    uint64_t total; /* bytes unpacked so far */
    stored *stored;
    size_t count, capacity;
} archive;

static sw_status open_zip(archive *a, sw_error *err)
{
    zip_error_t e;
    zip_error_init(&e);
    zip_source_t *source = zip_source_buffer_create(a->w->map, a->w->map_bytes, 0, &e);
    if (source) a->zip = zip_open_from_source(source, ZIP_RDONLY, &e);
    if (a->zip) {
        zip_error_fini(&e);
        return SW_OK;
    }
    zip_source_free(source);
    sw_error_set(err, SW_E_FORMAT, "%s: a damaged or cut short PyTorch checkpoint (%s); fetch the file again", a->w->path,
                 zip_error_strerror(&e));
    zip_error_fini(&e);
    return SW_E_FORMAT;
}

static sw_status damaged(const archive *a, const char *member, const char *what, sw_error *err)
{
    return sw_error_set(err, SW_E_FORMAT, "%s: its member %s %s; fetch the file again", a->w->path, member, what);
}

/* Member number `index`, unpacked into memory that the caller owns. */
static sw_status unpack(archive *a, zip_uint64_t index, const char *name, uint8_t **out, uint64_t *bytes, sw_error *err)
{
    const zip_uint64_t needed = ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE;
    zip_stat_t st;
    uint8_t extra;
    if (zip_stat_index(a->zip, index, 0, &st) != 0 || (st.valid & needed) != needed)
        return damaged(a, name, "cannot be found", err);
    if (st.comp_size > a->w->map_bytes || st.size > st.comp_size * MAX_RATIO + 64 ||
        a->total + st.size > a->w->map_bytes * MAX_RATIO)
        return damaged(a, name, "claims a size that it cannot have", err);
    a->total += st.size;
    SW_AUTOFREE uint8_t *data = sw_malloc(st.size + 1);
    if (!data) return sw_nomem(err);
    zip_file_t *file = zip_fopen_index(a->zip, index, 0);
    if (!file) return damaged(a, name, "cannot be read (encrypted or damaged)", err);
    zip_uint64_t done = 0;
    zip_int64_t got = 1;
    while (done < st.size && got > 0) {
        got = zip_fread(file, data + done, st.size - done);
        if (got > 0) done += (zip_uint64_t)got;
    }
    /* the read at the end makes libzip check the sum */
    bool whole = done == st.size && zip_fread(file, &extra, 1) == 0;
    zip_fclose(file);
    if (!whole) return damaged(a, name, "is damaged", err);
    *out = SW_STEAL(data);
    *bytes = st.size;
    return SW_OK;
}

static sw_status find_top(archive *a, zip_uint64_t *pickle, sw_error *err)
{
    static const char end[] = "data.pkl";
    zip_int64_t n = zip_get_num_entries(a->zip, 0);
    for (zip_int64_t i = 0; i < n; i++) {
        const char *name = zip_get_name(a->zip, (zip_uint64_t)i, 0);
        size_t size = name ? strlen(name) : 0, m = sizeof end - 1;
        if (size < m || strcmp(name + size - m, end) != 0 || (size > m && name[size - m - 1] != '/')) continue;
        a->top = sw_strndup(name, size - m);
        if (!a->top) return sw_nomem(err);
        *pickle = (zip_uint64_t)i;
        return SW_OK;
    }
    return sw_error_set(err, SW_E_FORMAT, "%s: a zip archive without data.pkl: not a PyTorch checkpoint", a->w->path);
}

static sw_status check_byte_order(archive *a, sw_error *err)
{
    uint64_t bytes = 0;
    SW_AUTOFREE char *name = sw_asprintf("%sbyteorder", a->top);
    if (!name) return sw_nomem(err);
    zip_int64_t index = zip_name_locate(a->zip, name, 0);
    if (index < 0) return SW_OK; /* older files: little */
    SW_AUTOFREE uint8_t *text = NULL;
    SW_TRY(unpack(a, (zip_uint64_t)index, name, &text, &bytes, err));
    if (bytes == 6 && memcmp(text, "little", 6) == 0) return SW_OK;
    return sw_error_set(err, SW_E_UNSUPPORTED, "%s: was saved on a big-endian machine; save it again on another",
                        a->w->path);
}

/* Unpacks a storage once; its memory goes to the weights. */
static sw_status load(archive *a, zip_uint64_t index, const char *name, const stored **out, sw_error *err)
{
    sw_weights *w = a->w;
    for (size_t i = 0; i < a->count; i++) {
        *out = &a->stored[i];
        if (a->stored[i].index == index) return SW_OK;
    }
    SW_AUTOFREE uint8_t *data = NULL;
    uint64_t bytes = 0;
    SW_TRY(sw_grow(&a->stored, &a->capacity, a->count + 1, sizeof *a->stored, err));
    SW_TRY(sw_grow(&w->block, &w->blocks_capacity, w->n_blocks + 1, sizeof *w->block, err));
    SW_TRY(unpack(a, index, name, &data, &bytes, err));
    a->stored[a->count] = (stored){index, data, bytes};
    w->block[w->n_blocks++] = SW_STEAL(data);
    *out = &a->stored[a->count++];
    return SW_OK;
}

static sw_status find(void *ctx, const sw_torch_storage *s, const uint8_t **data, sw_error *err)
{
    archive *a = ctx;
    const stored *found = NULL;
    SW_AUTOFREE char *name = sw_asprintf("%sdata/%.*s", a->top, (int)(s->key_size < 200 ? s->key_size : 200), s->key);
    if (!name) return sw_nomem(err);
    zip_int64_t index = zip_name_locate(a->zip, name, 0);
    if (index < 0) return damaged(a, name, "is missing", err);
    SW_TRY(load(a, (zip_uint64_t)index, name, &found, err));
    if (found->bytes / sw_dtype_size(s->dtype) < (uint64_t)s->numel)
        return sw_error_set(err, SW_E_FORMAT, "%s: its member %s has %llu bytes, but %lld elements of %s are used; the file is damaged",
                            a->w->path, name, (unsigned long long)found->bytes, (long long)s->numel,
                            sw_dtype_name(s->dtype));
    *data = found->data;
    return SW_OK;
}

static sw_status read_all(archive *a, sw_pickle *pickle, uint8_t **bytes, sw_error *err)
{
    zip_uint64_t index = 0;
    uint64_t size = 0;
    sw_torch_source source = {a, find};
    SW_TRY(open_zip(a, err));
    SW_TRY(find_top(a, &index, err));
    SW_TRY(check_byte_order(a, err));
    SW_TRY(unpack(a, index, "data.pkl", bytes, &size, err));
    SW_TRY(sw_pickle_read(*bytes, size, a->w->path, pickle, err));
    return sw_torch_add(a->w, pickle->root, &source, err);
}

sw_status sw_torch_zip_read(sw_weights *w, sw_error *err)
{
    archive a = {.w = w};
    sw_pickle pickle = {0};
    SW_AUTOFREE uint8_t *bytes = NULL;
    sw_status status = read_all(&a, &pickle, &bytes, err);
    sw_pickle_free(&pickle);
    if (a.zip) zip_discard(a.zip);
    sw_free(a.stored);
    sw_free(a.top);
    return status;
}

const char *sw_libzip_version(void)
{
    return zip_libzip_version();
}
