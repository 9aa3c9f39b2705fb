/* SPDX-License-Identifier: Apache-2.0 */
#include "store/record.h"

#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/mem.h"

#define FORMAT_NAME "slidewise store"
#define CRC_BYTES 4

/* ---- keys */

static void key_number(sw_key *key, uint64_t value, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--) key->bytes[key->size++] = (uint8_t)(value >> 8 * i);
}

static sw_key key_of(char kind)
{
    return (sw_key){.bytes = {(uint8_t)kind}, .size = 1};
}

sw_key sw_key_meta(void)
{
    return key_of('a');
}

sw_key sw_key_slide(uint32_t slide)
{
    sw_key key = key_of('b');
    key_number(&key, slide, 4);
    return key;
}

sw_key sw_key_coords(uint32_t slide, int scale)
{
    sw_key key = key_of('c');
    key_number(&key, slide, 4);
    key_number(&key, (uint64_t)scale, 2);
    return key;
}

sw_key sw_key_patch(uint32_t slide, int scale, int64_t index)
{
    sw_key key = key_of('p');
    key_number(&key, slide, 4);
    key_number(&key, (uint64_t)scale, 2);
    key_number(&key, (uint64_t)index, 4);
    return key;
}

/* ---- checksums */

static uint32_t crc_of(const void *key, size_t key_size, const void *bytes, size_t size)
{
    return sw_crc32c(sw_crc32c(0, key, key_size), bytes, size);
}

bool sw_record_check(const void *key, size_t key_size, const void *value, size_t size)
{
    const uint8_t *v = value;
    if (size < CRC_BYTES) return false;
    uint32_t kept = (uint32_t)v[0] | (uint32_t)v[1] << 8 | (uint32_t)v[2] << 16 | (uint32_t)v[3] << 24;
    return kept == crc_of(key, key_size, v + CRC_BYTES, size - CRC_BYTES);
}

sw_status sw_record_put(sw_kv *kv, const sw_key *key, const void *bytes, size_t size, sw_error *err)
{
    void *space;
    SW_TRY(sw_kv_put(kv, key->bytes, key->size, size + CRC_BYTES, &space, err));
    uint32_t crc = crc_of(key->bytes, key->size, bytes, size);
    uint8_t *out = space;
    for (int i = 0; i < CRC_BYTES; i++) out[i] = (uint8_t)(crc >> 8 * i);
    memcpy(out + CRC_BYTES, bytes, size);
    return SW_OK;
}

static sw_status damaged(const sw_kv *kv, const char *what, const char *how, sw_error *err)
{
    return sw_error_set(err, SW_E_FORMAT, "store %s: %s %s; restore the store from a copy or tile into a new one",
                        sw_kv_dir(kv), what, how);
}

sw_status sw_record_get(sw_kv *kv, const sw_key *key, const char *what, const void **bytes, size_t *size, sw_error *err)
{
    const void *value;
    size_t value_size;
    SW_TRY(sw_kv_get(kv, key->bytes, key->size, &value, &value_size, err));
    if (!value) return damaged(kv, what, "is missing", err);
    if (!sw_record_check(key->bytes, key->size, value, value_size)) return damaged(kv, what, "is damaged (its checksum differs)", err);
    *bytes = (const uint8_t *)value + CRC_BYTES;
    *size = value_size - CRC_BYTES;
    return SW_OK;
}

void sw_record_unpack(const void *bytes, size_t n, int64_t *out)
{
    const uint8_t *in = bytes;
    for (size_t i = 0; i < n; i++) {
        uint64_t value = 0;
        for (int b = 7; b >= 0; b--) value = value << 8 | in[8 * i + (size_t)b];
        out[i] = (int64_t)value;
    }
}

/* ---- the head */

sw_status sw_record_put_meta(sw_kv *kv, const sw_setting_list *settings, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf text = {0};
    sw_json_writer w;
    sw_json_begin(&w, &text, 0);
    sw_json_object(&w);
    sw_json_key(&w, "format");
    sw_json_string(&w, FORMAT_NAME);
    sw_json_key(&w, "version");
    sw_json_int(&w, SW_STORE_VERSION);
    sw_json_key(&w, "settings");
    sw_setting_list_json(settings, &w);
    sw_json_end_object(&w);
    SW_TRY(sw_buf_status(&text, err));
    sw_key key = sw_key_meta();
    return sw_record_put(kv, &key, text.data, text.size, err);
}

typedef struct first_key {
    bool any;
} first_key;

static sw_status note_key(void *ctx, const void *key, size_t key_size, const void *value, size_t size, sw_error *err)
{
    (void)key, (void)key_size, (void)value, (void)size, (void)err;
    ((first_key *)ctx)->any = true;
    return SW_E_CANCELLED; /* one is enough */
}

static sw_status foreign(const sw_kv *kv, sw_error *err)
{
    return sw_error_set(err, SW_E_FORMAT,
                        "%s is an LMDB database, but not a store of slidewise; give the folder that slidewise tile wrote",
                        sw_kv_dir(kv));
}

sw_status sw_record_get_meta(sw_kv *kv, sw_setting_list *out, bool *found, sw_error *err)
{
    SW_CLEANUP(sw_json_free_ptr) sw_json *json = NULL;
    const void *bytes;
    size_t size;
    first_key first = {0};
    sw_key key = sw_key_meta();
    *found = false;
    sw_status status = sw_kv_each(kv, 0, note_key, &first, err);
    if (status != SW_OK && !first.any) return status;
    if (!first.any) return SW_OK;
    const void *value;
    SW_TRY(sw_kv_get(kv, key.bytes, key.size, &value, &size, err));
    if (!value) return foreign(kv, err);
    SW_TRY(sw_record_get(kv, &key, "its head record", &bytes, &size, err));
    if (sw_json_parse(bytes, size, sw_kv_dir(kv), &json, err) != SW_OK) return foreign(kv, err);
    if (strcmp(sw_json_text(sw_json_get(json, "format"), ""), FORMAT_NAME) != 0) return foreign(kv, err);
    int64_t version = sw_json_integer(sw_json_get(json, "version"), 0);
    if (version != SW_STORE_VERSION) {
        return sw_error_set(err, SW_E_UNSUPPORTED,
                            "store %s: it is of version %lld, this slidewise reads version %d; use the slidewise that made it, "
                            "or tile again",
                            sw_kv_dir(kv), (long long)version, SW_STORE_VERSION);
    }
    status = sw_setting_list_from(sw_json_get(json, "settings"), out, err);
    *found = status == SW_OK;
    return status;
}

/* ---- slides */

static void slide_free(sw_store_slide *slide)
{
    sw_free((char *)slide->slide_id);
    sw_free((char *)slide->path);
    sw_free((char *)slide->mpp_source);
    sw_free((char *)slide->properties_json);
    sw_free((char *)slide->unreadable_json);
    *slide = (sw_store_slide){0};
}

void sw_record_list_free(sw_record_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        slide_free(&list->item[i]->slide);
        sw_free(list->item[i]);
    }
    sw_free(list->item);
    *list = (sw_record_list){0};
}

/* Where `slide_id` is, or where it would stand. */
static size_t position(const sw_record_list *list, const char *slide_id)
{
    size_t low = 0, high = list->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(list->item[middle]->slide.slide_id, slide_id) < 0) low = middle + 1;
        else high = middle;
    }
    return low;
}

int64_t sw_record_list_find(const sw_record_list *list, const char *slide_id)
{
    size_t at = position(list, slide_id);
    return at < list->count && strcmp(list->item[at]->slide.slide_id, slide_id) == 0 ? (int64_t)at : -1;
}

sw_status sw_record_list_add(sw_record_list *list, const sw_store_slide *slide, uint32_t number, sw_error *err)
{
    SW_CLEANUP(slide_free) sw_store_slide copy = *slide;
    copy.slide_id = sw_strdup(slide->slide_id);
    copy.path = sw_strdup(slide->path);
    copy.mpp_source = sw_strdup(slide->mpp_source);
    copy.properties_json = sw_strdup(slide->properties_json);
    copy.unreadable_json = sw_strdup(slide->unreadable_json ? slide->unreadable_json : "[]");
    if (!copy.slide_id || !copy.path || !copy.mpp_source || !copy.properties_json || !copy.unreadable_json) return sw_nomem(err);
    SW_TRY(sw_grow(&list->item, &list->capacity, list->count + 1, sizeof *list->item, err));
    sw_slide_record *record = sw_malloc(sizeof *record);
    if (!record) return sw_nomem(err);
    size_t at = position(list, slide->slide_id);
    memmove(list->item + at + 1, list->item + at, (list->count - at) * sizeof *list->item);
    *record = (sw_slide_record){.slide = copy, .number = number};
    list->item[at] = record;
    copy = (sw_store_slide){0};
    list->count++;
    if (number >= list->next_number) list->next_number = number + 1;
    return SW_OK;
}

void sw_record_list_remove(sw_record_list *list, uint32_t number)
{
    size_t at = 0;
    while (at < list->count && list->item[at]->number != number) at++;
    if (at == list->count) return;
    if (number + 1 == list->next_number) list->next_number--;
    slide_free(&list->item[at]->slide);
    sw_free(list->item[at]);
    list->count--;
    memmove(list->item + at, list->item + at + 1, (list->count - at) * sizeof *list->item);
}

static void put_scale(sw_json_writer *w, const sw_store_scale *scale)
{
    sw_json_object(w);
    sw_json_put_number(w, "mpp_um", scale->mpp_um);
    sw_json_put_number(w, "magnification", scale->magnification);
    sw_json_put_int(w, "patch_px", scale->patch_px);
    sw_json_put_int(w, "overlap_px", scale->overlap_px);
    sw_json_put_int(w, "quality", scale->quality);
    sw_json_put_number(w, "patch_level0_px", scale->patch_level0_px);
    sw_json_put_number(w, "step_level0_px", scale->step_level0_px);
    sw_json_put_int(w, "n_patches", scale->n_patches);
    if (scale->n_passed_through > 0) sw_json_put_int(w, "n_passed_through", scale->n_passed_through);
    for (int kind = 1; kind < SW_LEFT_KINDS; kind++) {
        if (scale->n_left_out[kind] > 0) sw_json_put_int(w, sw_left_out_name((sw_left_out)kind), scale->n_left_out[kind]);
    }
    sw_json_end_object(w);
}

sw_status sw_record_put_slide(sw_kv *kv, uint32_t number, const sw_store_slide *slide, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf text = {0};
    sw_json_writer w;
    sw_json_begin(&w, &text, 0);
    sw_json_object(&w);
    sw_json_put_string(&w, "slide_id", slide->slide_id);
    sw_json_put_string(&w, "path", slide->path);
    sw_json_put_int(&w, "source_bytes", slide->source_bytes);
    sw_json_put_int(&w, "width", slide->width);
    sw_json_put_int(&w, "height", slide->height);
    sw_json_put_number(&w, "mpp_um", slide->mpp_um);
    sw_json_put_string(&w, "mpp_source", slide->mpp_source);
    sw_json_put_number(&w, "tissue_fraction", slide->tissue_fraction);
    sw_json_put_number(&w, "seconds", slide->seconds);
    sw_json_put_string(&w, "properties", slide->properties_json);
    if (slide->unreadable_json) sw_json_put_string(&w, "unreadable", slide->unreadable_json);
    if (slide->unreadable_fraction > 0) sw_json_put_number(&w, "unreadable_fraction", slide->unreadable_fraction);
    sw_json_key(&w, "scales");
    sw_json_array(&w);
    for (int i = 0; i < slide->n_scales; i++) put_scale(&w, &slide->scale[i]);
    sw_json_end_array(&w);
    sw_json_end_object(&w);
    SW_TRY(sw_buf_status(&text, err));
    sw_key key = sw_key_slide(number);
    return sw_record_put(kv, &key, text.data, text.size, err);
}

static sw_store_scale scale_from(const sw_json *json)
{
    sw_store_scale scale = {
        .mpp_um = sw_json_real(sw_json_get(json, "mpp_um"), 0),
        .magnification = sw_json_real(sw_json_get(json, "magnification"), 0),
        .patch_px = (int)sw_json_integer(sw_json_get(json, "patch_px"), 0),
        .overlap_px = (int)sw_json_integer(sw_json_get(json, "overlap_px"), 0),
        .quality = (int)sw_json_integer(sw_json_get(json, "quality"), 0),
        .patch_level0_px = sw_json_real(sw_json_get(json, "patch_level0_px"), 0),
        .step_level0_px = sw_json_real(sw_json_get(json, "step_level0_px"), 0),
        .n_patches = sw_json_integer(sw_json_get(json, "n_patches"), 0),
        .n_passed_through = sw_json_integer(sw_json_get(json, "n_passed_through"), 0),
    };
    for (int kind = 1; kind < SW_LEFT_KINDS; kind++)
        scale.n_left_out[kind] = sw_json_integer(sw_json_get(json, sw_left_out_name((sw_left_out)kind)), 0);
    return scale;
}

/* Texts are borrowed from `json`. False: not a slide record. */
static bool slide_from(const sw_json *json, sw_store_slide *out)
{
    const sw_json *scales = sw_json_get(json, "scales");
    *out = (sw_store_slide){
        .slide_id = sw_json_text(sw_json_get(json, "slide_id"), ""),
        .path = sw_json_text(sw_json_get(json, "path"), ""),
        .source_bytes = sw_json_integer(sw_json_get(json, "source_bytes"), 0),
        .width = sw_json_integer(sw_json_get(json, "width"), 0),
        .height = sw_json_integer(sw_json_get(json, "height"), 0),
        .mpp_um = sw_json_real(sw_json_get(json, "mpp_um"), 0),
        .mpp_source = sw_json_text(sw_json_get(json, "mpp_source"), ""),
        .tissue_fraction = sw_json_real(sw_json_get(json, "tissue_fraction"), 0),
        .seconds = sw_json_real(sw_json_get(json, "seconds"), 0),
        .properties_json = sw_json_text(sw_json_get(json, "properties"), "{}"),
        .unreadable_json = sw_json_text(sw_json_get(json, "unreadable"), "[]"),
        .unreadable_fraction = sw_json_real(sw_json_get(json, "unreadable_fraction"), 0),
        .n_scales = (int)sw_json_count(scales),
    };
    if (!out->slide_id[0] || out->n_scales < 1 || out->n_scales > SW_STORE_MAX_SCALES) return false;
    for (int i = 0; i < out->n_scales; i++) {
        out->scale[i] = scale_from(sw_json_at(scales, (size_t)i));
        if (out->scale[i].n_patches < 0 || out->scale[i].n_patches > UINT32_MAX) return false;
    }
    return true;
}

typedef struct loading {
    sw_kv *kv;
    sw_record_list *list;
} loading;

static sw_status load_one(void *ctx, const void *key, size_t key_size, const void *value, size_t size, sw_error *err)
{
    loading *l = ctx;
    const uint8_t *k = key;
    char what[64] = "a slide record";
    if (key_size != 5 || !sw_record_check(key, key_size, value, size)) return damaged(l->kv, what, "is damaged (its checksum differs)", err);
    uint32_t number = (uint32_t)k[1] << 24 | (uint32_t)k[2] << 16 | (uint32_t)k[3] << 8 | k[4];
    SW_CLEANUP(sw_json_free_ptr) sw_json *json = NULL;
    sw_store_slide slide;
    SW_TRY(sw_json_parse((const char *)value + CRC_BYTES, size - CRC_BYTES, sw_kv_dir(l->kv), &json, err));
    if (!slide_from(json, &slide)) return damaged(l->kv, what, "lacks what a slide needs", err);
    /* Descriptions lie among the patches, whose pages the system maps along. */
    if (l->list->count % 64 == 63) sw_kv_rest(l->kv);
    return sw_record_list_add(l->list, &slide, number, err);
}

sw_status sw_record_list_load(sw_kv *kv, sw_record_list *out, sw_error *err)
{
    loading l = {.kv = kv, .list = out};
    sw_status status = sw_kv_each(kv, 'b', load_one, &l, err);
    if (status != SW_OK) sw_record_list_free(out);
    return status;
}
