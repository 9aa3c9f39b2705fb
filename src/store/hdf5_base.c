/* SPDX-License-Identifier: Apache-2.0 */
#include "store/hdf5_base.h"

#include <hdf5.h>
#include <pthread.h>
#include <string.h>

#include "base/mem.h"
#include "base/versions.h"

#define DIGITS(x) #x
#define NUMBER(x) DIGITS(x)
#define IMAGE_STEP ((size_t)1 << 14)
#define MOST_TEXT ((size_t)1 << 16)

_Static_assert(sizeof(hid_t) == sizeof(int64_t), "handles are 64-bit");

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

const char *sw_hdf5_version(void)
{
    return NUMBER(H5_VERS_MAJOR) "." NUMBER(H5_VERS_MINOR) "." NUMBER(H5_VERS_RELEASE);
}

sw_h5_quiet sw_h5_hush(void)
{
    sw_h5_quiet q = {0};
    pthread_mutex_lock(&lock);
    H5Eget_auto2(H5E_DEFAULT, &q.print, &q.data);
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    return q;
}

void sw_h5_unhush(const sw_h5_quiet *q)
{
    H5Eset_auto2(H5E_DEFAULT, q->print, q->data);
    pthread_mutex_unlock(&lock);
}

int64_t sw_h5_keep(sw_h5_handles *h, int64_t id, int (*close)(int64_t id))
{
    if (id < 0) return id;
    h->id[h->count] = id;
    h->close[h->count++] = close;
    return id;
}

void sw_h5_handles_close(sw_h5_handles *h)
{
    while (h->count > 0) {
        h->count--;
        h->close[h->count](h->id[h->count]);
    }
}

sw_status sw_h5_defect(const char *what, sw_error *err)
{
    return sw_error_set(err, SW_E_INTERNAL, "HDF5 could not %s", what);
}

sw_status sw_h5_damaged(const char *path, const char *made_by, sw_error *err)
{
    return sw_error_set(err, SW_E_FORMAT, "%s: not an HDF5 file, or a damaged one; give the .h5 that %s wrote", path, made_by);
}

/* ---- files in memory */

sw_status sw_h5_image_begin(sw_h5_handles *h, size_t bytes, int64_t *file, sw_error *err)
{
    size_t step = bytes + IMAGE_STEP;
    hid_t how = sw_h5_keep(h, H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
    if (how < 0 || H5Pset_fapl_core(how, step, false) < 0) return sw_h5_defect("set up a file in memory", err);
    *file = sw_h5_keep(h, H5Fcreate("memory.h5", H5F_ACC_TRUNC, H5P_DEFAULT, how), H5Fclose);
    return *file < 0 ? sw_h5_defect("begin a file in memory", err) : SW_OK;
}

sw_status sw_h5_image_end(int64_t file, sw_buf *out, sw_error *err)
{
    if (H5Fflush(file, H5F_SCOPE_GLOBAL) < 0) return sw_h5_defect("finish a file in memory", err);
    ssize_t size = H5Fget_file_image(file, NULL, 0);
    if (size <= 0) return sw_h5_defect("tell the size of a file in memory", err);
    SW_AUTOFREE void *image = sw_malloc((size_t)size);
    if (!image) return sw_nomem(err);
    if (H5Fget_file_image(file, image, (size_t)size) != size) return sw_h5_defect("hand over a file in memory", err);
    if (!out->data) { /* no second copy of what may be large */
        out->data = SW_STEAL(image);
        out->size = out->capacity = (size_t)size;
        return SW_OK;
    }
    sw_buf_append(out, image, (size_t)size);
    return sw_buf_status(out, err);
}

/* ---- attributes */

static bool write_value(hid_t object, const sw_h5_attribute *a, hid_t space, hid_t file_type, hid_t memory_type)
{
    SW_CLEANUP(sw_h5_handles_close) sw_h5_handles h = {0};
    hid_t id = sw_h5_keep(&h, H5Acreate2(object, a->name, file_type, space, H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
    if (id < 0) return false;
    if (a->type == SW_H5_TEXT) return H5Awrite(id, memory_type, &a->text) >= 0;
    return H5Awrite(id, memory_type, a->value) >= 0; /* HDF5 turns the doubles into the file's type */
}

bool sw_h5_put_attribute(int64_t object, const sw_h5_attribute *a)
{
    SW_CLEANUP(sw_h5_handles_close) sw_h5_handles h = {0};
    hsize_t count = (hsize_t)a->count;
    hid_t space = sw_h5_keep(&h, a->count ? H5Screate_simple(1, &count, NULL) : H5Screate(H5S_SCALAR), H5Sclose);
    if (space < 0) return false;
    if (a->type == SW_H5_INT) return write_value(object, a, space, H5T_STD_I64LE, H5T_NATIVE_DOUBLE);
    if (a->type == SW_H5_REAL) return write_value(object, a, space, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE);
    hid_t text = sw_h5_keep(&h, H5Tcopy(H5T_C_S1), H5Tclose); /* as Python's str: of any length, UTF-8 */
    if (text < 0 || H5Tset_size(text, H5T_VARIABLE) < 0 || H5Tset_cset(text, H5T_CSET_UTF8) < 0) return false;
    return write_value(object, a, space, text, text);
}

static sw_status read_number(hid_t id, hid_t space, sw_h5_wanted *w)
{
    double value[16];
    hssize_t count = H5Sget_simple_extent_npoints(space);
    if (count < 1 || count > 16 || H5Aread(id, H5T_NATIVE_DOUBLE, value) < 0) return SW_OK; /* as if it were absent */
    w->count = (int)count;
    w->value[0] = value[0];
    w->value[1] = value[count > 1];
    return SW_OK;
}

/* Text of a fixed length, as numpy's bytes; or of any length, as Python's str. */
static sw_status read_text(hid_t id, hid_t type, hid_t space, sw_h5_wanted *w, sw_error *err)
{
    htri_t any_length = H5Tis_variable_str(type);
    if (any_length < 0 || H5Sget_simple_extent_npoints(space) != 1) return SW_OK;
    if (any_length) {
        char *text = NULL;
        if (H5Aread(id, type, &text) < 0 || !text) return SW_OK;
        w->text = sw_strdup(text);
        H5Dvlen_reclaim(type, space, H5P_DEFAULT, &text);
    } else {
        size_t size = H5Tget_size(type);
        w->text = size > 0 && size < MOST_TEXT ? sw_calloc(size + 1, 1) : NULL;
        if (size == 0 || size >= MOST_TEXT) return SW_OK;
        if (w->text && H5Aread(id, type, w->text) < 0) w->text[0] = '\0';
    }
    return w->text ? SW_OK : sw_nomem(err);
}

sw_status sw_h5_get_attribute(int64_t object, sw_h5_wanted *w, sw_error *err)
{
    SW_CLEANUP(sw_h5_handles_close) sw_h5_handles h = {0};
    if (H5Aexists(object, w->name) <= 0) return SW_OK;
    hid_t id = sw_h5_keep(&h, H5Aopen(object, w->name, H5P_DEFAULT), H5Aclose);
    hid_t type = id < 0 ? -1 : sw_h5_keep(&h, H5Aget_type(id), H5Tclose);
    hid_t space = id < 0 ? -1 : sw_h5_keep(&h, H5Aget_space(id), H5Sclose);
    if (type < 0 || space < 0) return SW_OK;
    H5T_class_t class = H5Tget_class(type);
    if (w->is_text) return class == H5T_STRING ? read_text(id, type, space, w, err) : SW_OK;
    return class == H5T_INTEGER || class == H5T_FLOAT ? read_number(id, space, w) : SW_OK;
}

/* ---- all of them */

void sw_h5_attributes_free(sw_h5_attributes *list)
{
    for (size_t i = 0; i < list->count; i++) {
        sw_free((char *)list->item[i].name);
        sw_free((char *)list->item[i].text);
    }
    sw_free(list->item);
    *list = (sw_h5_attributes){0};
}

sw_status sw_h5_attributes_add(sw_h5_attributes *list, const sw_h5_attribute *attribute, sw_error *err)
{
    SW_TRY(sw_grow(&list->item, &list->capacity, list->count + 1, sizeof *list->item, err));
    SW_AUTOFREE char *name = sw_strdup(attribute->name);
    SW_AUTOFREE char *text = attribute->text ? sw_strdup(attribute->text) : NULL;
    if (!name || (attribute->text && !text)) return sw_nomem(err);
    list->item[list->count] = *attribute;
    list->item[list->count].name = SW_STEAL(name);
    list->item[list->count++].text = SW_STEAL(text);
    return SW_OK;
}

/* Is it a scalar, rather than a list of one? And of which kind? */
static bool kind_of(hid_t object, const char *name, bool *scalar, sw_h5_type *type)
{
    SW_CLEANUP(sw_h5_handles_close) sw_h5_handles h = {0};
    hid_t id = sw_h5_keep(&h, H5Aopen(object, name, H5P_DEFAULT), H5Aclose);
    hid_t of = id < 0 ? -1 : sw_h5_keep(&h, H5Aget_type(id), H5Tclose);
    hid_t space = id < 0 ? -1 : sw_h5_keep(&h, H5Aget_space(id), H5Sclose);
    if (of < 0 || space < 0) return false;
    H5T_class_t class = H5Tget_class(of);
    *scalar = H5Sget_simple_extent_type(space) == H5S_SCALAR;
    *type = class == H5T_INTEGER ? SW_H5_INT : class == H5T_FLOAT ? SW_H5_REAL : SW_H5_TEXT;
    return class == H5T_INTEGER || class == H5T_FLOAT || class == H5T_STRING;
}

typedef struct collecting {
    sw_h5_attributes *out;
    sw_status status;
    sw_error *err;
} collecting;

static herr_t collect(hid_t object, const char *name, const H5A_info_t *info, void *ctx)
{
    collecting *c = ctx;
    sw_h5_wanted w = {.name = name};
    sw_h5_type type;
    bool scalar;
    (void)info;
    if (!kind_of(object, name, &scalar, &type)) return 0;
    w.is_text = type == SW_H5_TEXT;
    c->status = sw_h5_get_attribute(object, &w, c->err);
    bool held = type == SW_H5_TEXT ? w.text != NULL : w.count == 1 || w.count == 2;
    sw_h5_attribute a = {.name = name, .type = type, .count = scalar || type == SW_H5_TEXT ? 0 : w.count, .value = {w.value[0], w.value[1]}, .text = w.text};
    if (c->status == SW_OK && held) c->status = sw_h5_attributes_add(c->out, &a, c->err);
    sw_free(w.text);
    return c->status == SW_OK ? 0 : 1; /* 1 ends the walk */
}

sw_status sw_h5_get_attributes(int64_t object, sw_h5_attributes *out, sw_error *err)
{
    collecting c = {.out = out, .err = err};
    hsize_t at = 0;
    H5Aiterate2(object, H5_INDEX_NAME, H5_ITER_INC, &at, collect, &c); /* what cannot be walked has none */
    return c.status;
}
