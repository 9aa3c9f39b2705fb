/* SPDX-License-Identifier: Apache-2.0 */
/* What torch.save wrote before 1.6: a magic number, a protocol number and facts of the system, each a pickle; the object;
 * the list of storage keys; then for each key the number of elements (int64) and the raw elements. */
#include <string.h>

#include "base/mem.h"
#include "weights/torch_tree.h"

typedef struct part {
    const sw_pickle_value *key;
    const uint8_t *data;
    uint64_t numel;
    bool known; /* its element type is told by the object */
    sw_dtype dtype;
} part;

typedef struct legacy {
    sw_weights *w;
    size_t at;
    sw_pickle object, keys;
    part *parts;
} legacy;

static sw_status next_pickle(legacy *l, sw_pickle *out, sw_error *err)
{
    SW_TRY(sw_pickle_read(l->w->map + l->at, l->w->map_bytes - l->at, l->w->path, out, err));
    l->at += out->used;
    return SW_OK;
}

static bool is_magic(const sw_pickle_value *v)
{
    static const uint8_t magic[] = {0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};
    return v->kind == SW_PICKLE_LONG && v->size == sizeof magic && memcmp(v->text, magic, sizeof magic) == 0;
}

static bool is_big_endian(const sw_pickle_value *facts)
{
    for (size_t i = 0; facts->kind == SW_PICKLE_DICT && i + 1 < facts->count; i += 2)
        if (sw_pickle_is_text(facts->item[i], "little_endian") && facts->item[i + 1]->kind == SW_PICKLE_BOOL)
            return facts->item[i + 1]->number == 0;
    return false;
}

/* The three pickles before the object. */
static sw_status read_head(legacy *l, sw_pickle head[3], sw_error *err)
{
    const char *path = l->w->path;
    SW_TRY(next_pickle(l, &head[0], err));
    if (!is_magic(head[0].root))
        return sw_error_set(err, SW_E_FORMAT,
                            "%s: a Python pickle, but not a PyTorch checkpoint; save it with torch.save(model.state_dict(), ...)",
                            path);
    SW_TRY(next_pickle(l, &head[1], err));
    if (head[1].root->kind != SW_PICKLE_INT || head[1].root->number != 1001)
        return sw_error_set(err, SW_E_UNSUPPORTED, "%s: a PyTorch checkpoint of an unknown protocol (known: 1001)", path);
    SW_TRY(next_pickle(l, &head[2], err));
    if (is_big_endian(head[2].root))
        return sw_error_set(err, SW_E_UNSUPPORTED, "%s: was saved on a big-endian machine; save it again on another", path);
    return SW_OK;
}

static bool same_key(const sw_pickle_value *v, const char *key, size_t size)
{
    return v->size == size && memcmp(v->text, key, size) == 0;
}

static part *find_part(const legacy *l, const char *key, size_t size)
{
    const sw_pickle_value *keys = l->keys.root;
    for (size_t i = 0; i < keys->count; i++)
        if (same_key(l->parts[i].key, key, size)) return &l->parts[i];
    return NULL;
}

static sw_status set_keys(legacy *l, sw_error *err)
{
    const sw_pickle_value *keys = l->keys.root;
    if (keys->kind != SW_PICKLE_LIST)
        return sw_error_set(err, SW_E_FORMAT, "%s: has no list of storages; the file is damaged", l->w->path);
    l->parts = sw_calloc(keys->count + 1, sizeof *l->parts);
    if (!l->parts) return sw_nomem(err);
    for (size_t i = 0; i < keys->count; i++) {
        if (keys->item[i]->kind != SW_PICKLE_TEXT)
            return sw_error_set(err, SW_E_FORMAT, "%s: has a storage key that is no text; the file is damaged", l->w->path);
        l->parts[i].key = keys->item[i];
    }
    return SW_OK;
}

/* The key list gives no element types: they are where the object names its storages. */
static sw_status set_dtypes(legacy *l, sw_error *err)
{
    for (size_t i = 0; i < l->object.count; i++) {
        sw_torch_storage s = {0};
        if (l->object.value[i]->kind != SW_PICKLE_PERSISTENT) continue;
        SW_TRY(sw_torch_storage_of(l->w->path, l->object.value[i], &s, err));
        part *p = find_part(l, s.key, s.key_size);
        if (!p) continue; /* told when a tensor wants it */
        if (p->known && sw_dtype_size(p->dtype) != sw_dtype_size(s.dtype))
            return sw_error_set(err, SW_E_FORMAT, "%s: names storage %.*s with two element types; the file is damaged",
                                l->w->path, (int)(s.key_size < 60 ? s.key_size : 60), s.key);
        p->known = true;
        p->dtype = s.dtype;
    }
    return SW_OK;
}

static sw_status place_parts(legacy *l, sw_error *err)
{
    const sw_weights *w = l->w;
    for (size_t i = 0; i < l->keys.root->count; i++) {
        part *p = &l->parts[i];
        int size = (int)(p->key->size < 60 ? p->key->size : 60);
        if (!p->known)
            return sw_error_set(err, SW_E_FORMAT, "%s: storage %.*s belongs to no tensor; the file is damaged", w->path, size,
                                p->key->text);
        if (w->map_bytes - l->at < 8)
            return sw_error_set(err, SW_E_FORMAT, "%s: cut short before storage %.*s; fetch the file again", w->path, size,
                                p->key->text);
        for (int b = 7; b >= 0; b--) p->numel = p->numel << 8 | w->map[l->at + (size_t)b];
        l->at += 8;
        if (p->numel > (w->map_bytes - l->at) / sw_dtype_size(p->dtype))
            return sw_error_set(err, SW_E_FORMAT, "%s: cut short in storage %.*s; fetch the file again", w->path, size,
                                p->key->text);
        p->data = w->map + l->at;
        l->at += (size_t)p->numel * sw_dtype_size(p->dtype);
    }
    return SW_OK;
}

static sw_status find(void *ctx, const sw_torch_storage *s, const uint8_t **data, sw_error *err)
{
    const legacy *l = ctx;
    const part *p = find_part(l, s->key, s->key_size);
    int size = (int)(s->key_size < 60 ? s->key_size : 60);
    if (!p)
        return sw_error_set(err, SW_E_FORMAT, "%s: storage %.*s is missing; fetch the file again", l->w->path, size, s->key);
    if (p->numel < (uint64_t)s->numel)
        return sw_error_set(err, SW_E_FORMAT, "%s: storage %.*s has %llu elements, but %lld are used; the file is damaged",
                            l->w->path, size, s->key, (unsigned long long)p->numel, (long long)s->numel);
    *data = p->data;
    return SW_OK;
}

static sw_status read_all(legacy *l, sw_pickle head[3], sw_error *err)
{
    sw_torch_source source = {l, find};
    SW_TRY(read_head(l, head, err));
    SW_TRY(next_pickle(l, &l->object, err));
    SW_TRY(next_pickle(l, &l->keys, err));
    SW_TRY(set_keys(l, err));
    SW_TRY(set_dtypes(l, err));
    SW_TRY(place_parts(l, err));
    return sw_torch_add(l->w, l->object.root, &source, err);
}

sw_status sw_torch_legacy_read(sw_weights *w, sw_error *err)
{
    legacy l = {.w = w};
    sw_pickle head[3] = {{0}};
    sw_status status = read_all(&l, head, err);
    for (int i = 0; i < 3; i++) sw_pickle_free(&head[i]);
    sw_pickle_free(&l.object);
    sw_pickle_free(&l.keys);
    sw_free(l.parts);
    return status;
}
