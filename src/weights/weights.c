/* SPDX-License-Identifier: Apache-2.0 */
#include "weights/weights.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "weights/weights_file.h"

static sw_status map_file(sw_weights *w, sw_error *err)
{
    struct stat st;
    int fd = open(w->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        int e = errno;
        if (e == ENOENT)
            return sw_error_set(err, SW_E_NOT_FOUND, "%s: no such weights file; check the path", w->path);
        return sw_error_set(err, sw_status_of_errno(e), "%s: cannot be opened: %s", w->path, strerror(e));
    }
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size < 8) {
        close(fd);
        return sw_error_set(err, SW_E_FORMAT, "%s: not a weights file (too short); give a .safetensors, .pth, .pt or .bin",
                            w->path);
    }
    w->map_bytes = (size_t)st.st_size;
    void *map = mmap(NULL, w->map_bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    int e = errno;
    close(fd);
    if (map == MAP_FAILED)
        return sw_error_set(err, sw_status_of_errno(e), "%s: cannot be mapped: %s", w->path, strerror(e));
    w->map = map;
    return SW_OK;
}

static sw_status read_any(sw_weights *w, sw_error *err)
{
    SW_TRY(map_file(w, err));
    if (memcmp(w->map, "PK\3\4", 4) == 0) return sw_torch_zip_read(w, err);
    /* a safetensors header may be 128 bytes long, too; but then its text follows */
    if (w->map[0] == 0x80 && (w->map_bytes < 9 || w->map[8] != '{')) return sw_torch_legacy_read(w, err);
    return sw_safetensors_read(w, err);
}

sw_status sw_weights_open(const char *path, sw_weights **out, sw_error *err)
{
    sw_weights *w = sw_calloc(1, sizeof *w);
    if (!w) return sw_nomem(err);
    w->path = sw_strdup(path);
    sw_status status = w->path ? read_any(w, err) : sw_nomem(err);
    if (status != SW_OK) {
        sw_weights_close(w);
        return status;
    }
    *out = w;
    return SW_OK;
}

void sw_weights_close(sw_weights *w)
{
    if (!w) return;
    for (size_t i = 0; i < w->count; i++) sw_free((char *)w->entry[i].info.name);
    for (size_t i = 0; i < w->n_texts; i++) {
        sw_free(w->text[i].key);
        sw_free(w->text[i].value);
    }
    for (size_t i = 0; i < w->n_blocks; i++) sw_free(w->block[i]);
    if (w->map) munmap((void *)w->map, w->map_bytes);
    sw_free(w->block);
    sw_free(w->entry);
    sw_free(w->text);
    sw_free(w->path);
    sw_free(w);
}

void sw_weights_close_ptr(sw_weights **w)
{
    sw_weights_close(*w);
    *w = NULL;
}

sw_status sw_weights_add(sw_weights *w, const char *name, sw_dtype dtype, const sw_shape *shape, const uint8_t *data,
                         sw_error *err)
{
    if (sw_weights_find(w, name) >= 0)
        return sw_error_set(err, SW_E_FORMAT, "%s: holds two tensors named %s", w->path, name);
    SW_TRY(sw_grow(&w->entry, &w->capacity, w->count + 1, sizeof *w->entry, err));
    sw_weight_entry *e = &w->entry[w->count];
    *e = (sw_weight_entry){.info = {.name = sw_strdup(name), .dtype = dtype, .shape = *shape}, .data = data};
    if (!e->info.name) return sw_nomem(err);
    int64_t stride = 1;
    for (int i = shape->rank - 1; i >= 0; i--) {
        e->stride[i] = stride;
        stride *= shape->dim[i];
    }
    w->count++;
    return SW_OK;
}

sw_status sw_weights_add_text(sw_weights *w, const char *key, const char *value, sw_error *err)
{
    SW_TRY(sw_grow(&w->text, &w->texts_capacity, w->n_texts + 1, sizeof *w->text, err));
    sw_weight_text *t = &w->text[w->n_texts];
    t->key = sw_strdup(key);
    t->value = sw_strdup(value);
    w->n_texts++;
    return t->key && t->value ? SW_OK : sw_nomem(err);
}

bool sw_weights_checked(const sw_weights *w)
{
    return w->checked;
}

const char *sw_weights_path(const sw_weights *w)
{
    return w->path;
}

size_t sw_weights_count(const sw_weights *w)
{
    return w->count;
}

const sw_weight *sw_weights_get(const sw_weights *w, size_t index)
{
    return index < w->count ? &w->entry[index].info : NULL;
}

int64_t sw_weights_find(const sw_weights *w, const char *name)
{
    for (size_t i = 0; i < w->count; i++)
        if (strcmp(w->entry[i].info.name, name) == 0) return (int64_t)i;
    return -1;
}

const char *sw_weights_metadata(const sw_weights *w, const char *key)
{
    for (size_t i = 0; i < w->n_texts; i++)
        if (strcmp(w->text[i].key, key) == 0) return w->text[i].value;
    return NULL;
}

static float half_to_float(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = (h >> 10) & 31, mantissa = h & 1023, bits;
    float f;
    if (exponent == 0) {
        f = (float)mantissa * 0x1p-24f;
        return sign ? -f : f;
    }
    bits = exponent == 31 ? sign | 0x7f800000u | mantissa << 13 : sign | (exponent + 112) << 23 | mantissa << 13;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static float one_f32(const uint8_t *p, sw_dtype dtype)
{
    float f = 0.0f;
    double d;
    uint16_t h;
    uint32_t bits;
    switch (dtype) {
    case SW_F64: memcpy(&d, p, sizeof d); return (float)d;
    case SW_F16: memcpy(&h, p, sizeof h); return half_to_float(h);
    case SW_BF16:
        memcpy(&h, p, sizeof h);
        bits = (uint32_t)h << 16;
        memcpy(&f, &bits, sizeof f);
        return f;
    default: memcpy(&f, p, sizeof f); return f;
    }
}

static int64_t one_i64(const uint8_t *p, sw_dtype dtype)
{
    int64_t v = 0;
    int32_t i;
    if (dtype == SW_U8) return *p;
    if (dtype == SW_I32) {
        memcpy(&i, p, sizeof i);
        return i;
    }
    memcpy(&v, p, sizeof v);
    return v;
}

/* Element number i (row-major) of an entry that may be strided. */
static const uint8_t *element(const sw_weight_entry *e, int64_t i)
{
    int64_t at = 0;
    for (int d = e->info.shape.rank - 1; d >= 0; d--) {
        at += i % e->info.shape.dim[d] * e->stride[d];
        i /= e->info.shape.dim[d];
    }
    return e->data + (size_t)at * sw_dtype_size(e->info.dtype);
}

static bool is_float(sw_dtype dtype)
{
    return dtype == SW_F32 || dtype == SW_F64 || dtype == SW_F16 || dtype == SW_BF16;
}

sw_status sw_weights_read_f32(const sw_weights *w, size_t index, float *out, sw_error *err)
{
    const sw_weight_entry *e = &w->entry[index];
    if (!is_float(e->info.dtype))
        return sw_error_set(err, SW_E_INVALID, "%s: %s holds integers (%s), not weights", w->path, e->info.name,
                            sw_dtype_name(e->info.dtype));
    int64_t n = sw_shape_count(&e->info.shape);
    for (int64_t i = 0; i < n; i++) out[i] = one_f32(element(e, i), e->info.dtype);
    return SW_OK;
}

sw_status sw_weights_read_i64(const sw_weights *w, size_t index, int64_t *out, sw_error *err)
{
    const sw_weight_entry *e = &w->entry[index];
    if (is_float(e->info.dtype))
        return sw_error_set(err, SW_E_INVALID, "%s: %s holds floats (%s), not integers", w->path, e->info.name,
                            sw_dtype_name(e->info.dtype));
    int64_t n = sw_shape_count(&e->info.shape);
    for (int64_t i = 0; i < n; i++) out[i] = one_i64(element(e, i), e->info.dtype);
    return SW_OK;
}
