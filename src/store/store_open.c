/* SPDX-License-Identifier: Apache-2.0 */
/* Opening one store, or several as one. */
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "slidewise/store.h"
#include "store/store_parts.h"

void sw_store_close(sw_store **address)
{
    sw_store *store = *address;
    *address = NULL;
    if (!store) return;
    sw_record_list_free(&store->slides);
    sw_setting_list_free(&store->settings);
    for (size_t i = 0; i < store->n_parts; i++) {
        sw_kv_close(&store->kv[i]);
        sw_free((char *)store->part[i].path);
    }
    sw_free(store->kv);
    sw_free(store->part);
    sw_live_close(&store->live);
    sw_features_close(&store->features);
    sw_free(store->path);
    sw_free(store);
}

static sw_status store_new(const char *path, size_t most_parts, sw_store **out, sw_error *err)
{
    SW_CLEANUP(sw_store_close) sw_store *store = sw_calloc(1, sizeof *store);
    if (!store) return sw_nomem(err);
    store->path = sw_strdup(path);
    store->kv = sw_calloc(most_parts, sizeof *store->kv);
    store->part = sw_calloc(most_parts, sizeof *store->part);
    if (!store->path || !store->kv || !store->part) return sw_nomem(err);
    *out = SW_STEAL(store);
    return SW_OK;
}

/* ---- one of them */

/* Adds the LMDB at `path` as the next part. *found false: nothing was ever written into it; it is no part then. */
static sw_status add_part(sw_store *store, const char *path, sw_setting_list *settings, sw_record_list *slides, bool *found, sw_error *err)
{
    SW_CLEANUP(sw_kv_close) sw_kv *kv = NULL;
    SW_TRY(sw_kv_open_read(path, &kv, err));
    SW_TRY(sw_record_get_meta(kv, settings, found, err));
    if (!*found) return SW_OK;
    SW_TRY(sw_record_list_load(kv, slides, err));
    sw_kv_rest(kv);
    char *copy = sw_strdup(path);
    if (!copy) return sw_nomem(err);
    sw_store_part *part = &store->part[store->n_parts];
    *part = (sw_store_part){.path = copy, .n_slides = (int64_t)slides->count, .bytes = sw_kv_bytes(kv), .unfinished = sw_folder_holds(path, SW_STORES_UNFINISHED)};
    for (size_t i = 0; i < slides->count; i++) {
        slides->item[i]->part = (uint32_t)store->n_parts;
        for (int s = 0; s < slides->item[i]->slide.n_scales; s++) part->n_patches += slides->item[i]->slide.scale[s].n_patches;
    }
    store->kv[store->n_parts++] = SW_STEAL(kv);
    return SW_OK;
}

static sw_status open_one(const char *path, sw_store **out, sw_error *err)
{
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    bool found;
    SW_TRY(store_new(path, 1, &store, err));
    SW_TRY(add_part(store, path, &store->settings, &store->slides, &found, err));
    if (!found) {
        return sw_error_set(err, SW_E_FORMAT, "store %s: it is empty; fill it with: slidewise tile SLIDES --store %s", path,
                            path);
    }
    *out = SW_STEAL(store);
    return SW_OK;
}

/* ---- several */

static sw_status compare_settings(const sw_store *store, const sw_stores *list, size_t index, const sw_setting_list *settings, sw_error *err)
{
    const char *first, *here, *name = sw_setting_list_differs(&store->settings, settings, &first, &here);
    if (!name) return SW_OK;
    return sw_error_set(err, SW_E_INVALID,
                        "store %s: %s was made with %s = %s, and %s with %s; stores that are read as one need the same settings: tile one of them "
                        "anew, or leave it off %s",
                        list->folder, list->path[0], name, first, list->path[index], here, list->file);
}

/* The slides of one store join those of the others, not sorted yet. */
static sw_status take_slides(sw_record_list *all, sw_record_list *more, sw_error *err)
{
    SW_TRY(sw_grow(&all->item, &all->capacity, all->count + more->count, sizeof *all->item, err));
    for (size_t i = 0; i < more->count; i++) all->item[all->count + i] = more->item[i];
    all->count += more->count;
    more->count = 0; /* they are all's now */
    return SW_OK;
}

static sw_status add_listed(sw_store *store, const sw_stores *list, size_t index, sw_error *err)
{
    SW_CLEANUP(sw_setting_list_free) sw_setting_list settings = {0};
    SW_CLEANUP(sw_record_list_free) sw_record_list slides = {0};
    bool found;
    if (sw_stores_named(list->path[index]))
        return sw_error_set(err, SW_E_FORMAT, "%s: it lists %s, which is a list itself; list the stores of that one", list->file, list->path[index]);
    SW_TRY(add_part(store, list->path[index], &settings, &slides, &found, err));
    if (!found) return sw_stores_missing(list, index, 1, err); /* its writer was killed at the beginning */
    if (index > 0) {
        SW_TRY(compare_settings(store, list, index, &settings, err));
    } else {
        store->settings = settings;
        settings = (sw_setting_list){0};
    }
    return take_slides(&store->slides, &slides, err);
}

static int compare_slides(const void *a, const void *b)
{
    const sw_slide_record *const *x = a, *const *y = b;
    return strcmp((*x)->slide.slide_id, (*y)->slide.slide_id);
}

static sw_status sort_slides(const sw_stores *list, sw_record_list *slides, sw_error *err)
{
    if (slides->count > 1) qsort(slides->item, slides->count, sizeof *slides->item, compare_slides);
    for (size_t i = 1; i < slides->count; i++) {
        const sw_slide_record *a = slides->item[i - 1], *b = slides->item[i];
        if (strcmp(a->slide.slide_id, b->slide.slide_id) != 0) continue;
        bool in_order = a->part < b->part;
        return sw_error_set(err, SW_E_INVALID,
                            "store %s: slide %s is in %s and in %s; a slide may be in one of them only: leave one of the two off %s", list->folder,
                            a->slide.slide_id, list->path[in_order ? a->part : b->part], list->path[in_order ? b->part : a->part], list->file);
    }
    return SW_OK;
}

sw_status sw_store_open_stores(const sw_stores *list, const char *path, sw_store **out, sw_error *err)
{
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    SW_TRY(sw_stores_check_there(list, err));
    SW_TRY(store_new(path, list->count, &store, err));
    store->is_list = true;
    for (size_t i = 0; i < list->count; i++) SW_TRY(add_listed(store, list, i, err));
    SW_TRY(sort_slides(list, &store->slides, err));
    *out = SW_STEAL(store);
    return SW_OK;
}

sw_status sw_store_open(const char *path, sw_store **out, sw_error *err)
{
    SW_CLEANUP(sw_stores_free) sw_stores list = {0};
    if (!sw_stores_named(path)) return open_one(path, out, err);
    if (sw_folder_holds(path, "data.mdb")) {
        return sw_error_set(err, SW_E_FORMAT, "store %s: it holds a store (data.mdb) and a list of others (" SW_STORES_FILE "); move one of them to a "
                                              "folder of its own", path);
    }
    SW_TRY(sw_stores_read(path, &list, err));
    return sw_store_open_stores(&list, path, out, err);
}

sw_store_slides_options sw_store_slides_options_default(void)
{
    return (sw_store_slides_options){.cache_bytes = (int64_t)256 << 20};
}

sw_status sw_store_open_slides(const sw_store_slides_options *options, sw_store **out, sw_error *err)
{
    SW_CLEANUP(sw_store_close) sw_store *store = sw_calloc(1, sizeof *store);
    if (!store) return sw_nomem(err);
    SW_TRY(sw_live_open(options, &store->slides, &store->settings, &store->live, err));
    *out = SW_STEAL(store);
    return SW_OK;
}

sw_store_features_options sw_store_features_options_default(void)
{
    return (sw_store_features_options){.cache_bytes = (int64_t)256 << 20};
}

sw_status sw_store_open_features(const sw_store_features_options *options, sw_store **out, sw_error *err)
{
    SW_CLEANUP(sw_store_close) sw_store *store = sw_calloc(1, sizeof *store);
    if (!store) return sw_nomem(err);
    SW_TRY(sw_features_open(options, &store->slides, &store->settings, &store->features, err));
    *out = SW_STEAL(store);
    return SW_OK;
}

/* ---- what it is made of */

const char *sw_store_path(const sw_store *store)
{
    if (store->features) return sw_features_name(store->features);
    return store->live ? sw_live_name(store->live) : store->path;
}

bool sw_store_is_list(const sw_store *store)
{
    return store->is_list;
}

size_t sw_store_part_count(const sw_store *store)
{
    return store->n_parts;
}

const sw_store_part *sw_store_part_get(const sw_store *store, size_t index)
{
    return index < store->n_parts ? &store->part[index] : NULL;
}
