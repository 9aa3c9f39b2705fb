/* SPDX-License-Identifier: Apache-2.0 */
/* safetensors: 8 bytes of header length, a JSON header {name: {dtype, shape, data_offsets}}, raw data. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/mem.h"
#include "weights/weights_file.h"

enum { MAX_HEADER = 100 * 1024 * 1024 };

/* What our writer begins each header with; eight hexadecimal digits follow: CRC-32C of the whole file with zeros in their
 * place. To others it is one more text among the metadata. */
static const char checksum_start[] = "{\"__metadata__\":{\"slidewise.crc32c\":\"";
enum { CHECKSUM_AT = 8 + sizeof checksum_start - 1, CHECKSUM_DIGITS = 8 };
static const char no_checksum[] = "00000000";

static const struct {
    const char *name;
    sw_dtype dtype;
} dtypes[] = {{"F32", SW_F32}, {"F64", SW_F64}, {"F16", SW_F16}, {"BF16", SW_BF16},
              {"I64", SW_I64}, {"I32", SW_I32}, {"U8", SW_U8}, {"BOOL", SW_U8}};

static uint64_t read_u64(const uint8_t *p)
{
    uint64_t v = 0;
    for (int i = 7; i >= 0; i--) v = v << 8 | p[i];
    return v;
}

static bool find_dtype(const char *name, sw_dtype *out)
{
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++) {
        if (strcmp(dtypes[i].name, name) == 0) {
            *out = dtypes[i].dtype;
            return true;
        }
    }
    return false;
}

static sw_status bad(const sw_weights *w, const char *name, const char *what, sw_error *err)
{
    return sw_error_set(err, SW_E_FORMAT, "%s: tensor %s %s; the file is damaged, fetch it again", w->path, name, what);
}

static sw_status read_entry(sw_weights *w, const char *name, const sw_json *v, const uint8_t *data, uint64_t data_bytes,
                            sw_error *err)
{
    const sw_json *dims = sw_json_get(v, "shape"), *offsets = sw_json_get(v, "data_offsets");
    sw_shape shape = {0};
    sw_dtype dtype;
    uint64_t bytes = 1;
    if (!find_dtype(sw_json_text(sw_json_get(v, "dtype"), ""), &dtype))
        return bad(w, name, "has an element type that slidewise does not read", err);
    if (!sw_json_is_array(dims) || sw_json_count(dims) > SW_MAX_RANK || sw_json_count(offsets) != 2)
        return bad(w, name, "has no usable shape or data_offsets", err);
    bytes = sw_dtype_size(dtype);
    shape.rank = (int)sw_json_count(dims);
    for (int i = 0; i < shape.rank; i++) {
        shape.dim[i] = sw_json_integer(sw_json_at(dims, (size_t)i), -1);
        if (shape.dim[i] < 0 || (shape.dim[i] > 0 && bytes > data_bytes / (uint64_t)shape.dim[i] + 1))
            return bad(w, name, "has a shape larger than the file", err);
        bytes *= (uint64_t)shape.dim[i];
    }
    int64_t begin = sw_json_integer(sw_json_at(offsets, 0), -1), end = sw_json_integer(sw_json_at(offsets, 1), -1);
    if (begin < 0 || end < begin || (uint64_t)end > data_bytes) return bad(w, name, "lies outside the file", err);
    if ((uint64_t)(end - begin) != bytes) return bad(w, name, "has a size that is not its shape's", err);
    return sw_weights_add(w, name, dtype, &shape, data + begin, err);
}

/* Compares with the checksum, where there is one. */
static sw_status check_sum(sw_weights *w, sw_error *err)
{
    char text[CHECKSUM_DIGITS + 1];
    if (w->map_bytes < CHECKSUM_AT + CHECKSUM_DIGITS || memcmp(w->map + 8, checksum_start, sizeof checksum_start - 1) != 0) return SW_OK;
    uint32_t crc = sw_crc32c(0, w->map, CHECKSUM_AT);
    crc = sw_crc32c(crc, no_checksum, CHECKSUM_DIGITS);
    crc = sw_crc32c(crc, w->map + CHECKSUM_AT + CHECKSUM_DIGITS, w->map_bytes - CHECKSUM_AT - CHECKSUM_DIGITS);
    snprintf(text, sizeof text, "%08x", (unsigned)crc);
    w->checked = memcmp(text, w->map + CHECKSUM_AT, CHECKSUM_DIGITS) == 0;
    if (w->checked) return SW_OK;
    return sw_error_set(err, SW_E_FORMAT, "%s: damaged: its bytes are not those that were written (checksum); take it from a copy",
                        w->path);
}

sw_status sw_safetensors_read(sw_weights *w, sw_error *err)
{
    SW_TRY(check_sum(w, err));
    uint64_t header = read_u64(w->map);
    if (header > w->map_bytes - 8 || header > MAX_HEADER || header < 2)
        return sw_error_set(err, SW_E_FORMAT,
                            "%s: not a weights file that slidewise reads (safetensors or a PyTorch checkpoint), or cut short",
                            w->path);
    SW_CLEANUP(sw_json_free_ptr) sw_json *root = NULL;
    SW_TRY(sw_json_parse((const char *)w->map + 8, (size_t)header, w->path, &root, err));
    if (!sw_json_is_object(root))
        return sw_error_set(err, SW_E_FORMAT, "%s: the safetensors header is not an object", w->path);
    for (size_t i = 0; i < sw_json_count(root); i++) {
        const sw_json *value = NULL, *text = NULL;
        const char *name = sw_json_member(root, i, &value);
        if (strcmp(name, "__metadata__") != 0) {
            SW_TRY(read_entry(w, name, value, w->map + 8 + header, w->map_bytes - 8 - header, err));
            continue;
        }
        for (size_t j = 0; j < sw_json_count(value); j++) {
            const char *key = sw_json_member(value, j, &text);
            SW_TRY(sw_weights_add_text(w, key, sw_json_text(text, ""), err));
        }
    }
    return SW_OK;
}

/* --- writing */

struct sw_weights_writer {
    sw_buf header; /* members, each ended by a comma */
    sw_buf text;   /* members of __metadata__ */
    sw_buf data;
};

sw_status sw_weights_writer_new(sw_weights_writer **out, sw_error *err)
{
    sw_weights_writer *w = sw_calloc(1, sizeof *w);
    if (!w) return sw_nomem(err);
    *out = w;
    return SW_OK;
}

void sw_weights_writer_free(sw_weights_writer *w)
{
    if (!w) return;
    sw_buf_free(&w->header);
    sw_buf_free(&w->text);
    sw_buf_free(&w->data);
    sw_free(w);
}

static void put_text(sw_buf *buf, const char *text)
{
    sw_json_writer json;
    sw_json_begin(&json, buf, 0);
    sw_json_string(&json, text);
}

sw_status sw_weights_writer_add(sw_weights_writer *w, const char *name, sw_dtype dtype, const sw_shape *shape,
                                const void *data, sw_error *err)
{
    size_t bytes = (size_t)sw_shape_count(shape) * sw_dtype_size(dtype), i = 0;
    while (dtypes[i].dtype != dtype) i++;
    if (w->header.size > 0) sw_buf_puts(&w->header, ",");
    put_text(&w->header, name);
    sw_buf_printf(&w->header, ":{\"dtype\":\"%s\",\"shape\":[", dtypes[i].name);
    for (int d = 0; d < shape->rank; d++) sw_buf_printf(&w->header, "%s%lld", d ? "," : "", (long long)shape->dim[d]);
    sw_buf_printf(&w->header, "],\"data_offsets\":[%zu,%zu]}", w->data.size, w->data.size + bytes);
    sw_buf_append(&w->data, data, bytes);
    SW_TRY(sw_buf_status(&w->header, err));
    return sw_buf_status(&w->data, err);
}

sw_status sw_weights_writer_metadata(sw_weights_writer *w, const char *key, const char *value, sw_error *err)
{
    if (w->text.size > 0) sw_buf_puts(&w->text, ",");
    put_text(&w->text, key);
    sw_buf_puts(&w->text, ":");
    put_text(&w->text, value);
    return sw_buf_status(&w->text, err);
}

sw_status sw_weights_writer_save(const sw_weights_writer *w, const char *path, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf file = {0};
    uint8_t length[8] = {0};
    sw_buf_append(&file, length, sizeof length);
    sw_buf_printf(&file, "%s%s\"", checksum_start, no_checksum);
    if (w->text.size > 0) sw_buf_printf(&file, ",%s", w->text.data);
    sw_buf_puts(&file, w->header.size > 0 ? "}," : "}");
    if (w->header.size > 0) sw_buf_append(&file, w->header.data, w->header.size);
    sw_buf_puts(&file, "}");
    while (file.size % 8 != 0 && !file.failed) sw_buf_puts(&file, " "); /* data start aligned */
    SW_TRY(sw_buf_status(&file, err));
    uint64_t header = file.size - 8;
    for (int i = 0; i < 8; i++) file.data[i] = (char)(header >> (8 * i) & 255);
    uint32_t crc = sw_crc32c(sw_crc32c(0, file.data, file.size), w->data.data, w->data.size);
    char digits[CHECKSUM_DIGITS + 1];
    snprintf(digits, sizeof digits, "%08x", (unsigned)crc);
    memcpy(file.data + CHECKSUM_AT, digits, CHECKSUM_DIGITS);
    return sw_file_write_after(path, file.data, file.size, w->data.data, w->data.size, err); /* data are large: no copy */
}
