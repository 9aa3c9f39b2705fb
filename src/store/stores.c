/* SPDX-License-Identifier: Apache-2.0 */
#include "store/stores.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"

#define FORMAT_NAME "slidewise stores"
#define VERSION 1

void sw_stores_free(sw_stores *list)
{
    for (size_t i = 0; i < list->count; i++) {
        sw_free(list->name[i]);
        sw_free(list->path[i]);
    }
    sw_free(list->name);
    sw_free(list->path);
    sw_free(list->file);
    sw_free(list->folder);
    sw_setting_list_free(&list->settings);
    *list = (sw_stores){0};
}

/* Without memory of its own, the lack of which would read as "no". */
bool sw_folder_holds(const char *folder, const char *name)
{
    char path[PATH_MAX];
    int size = snprintf(path, sizeof path, "%s/%s", folder, name);
    return size > 0 && (size_t)size < sizeof path && sw_path_exists(path);
}

bool sw_stores_named(const char *path)
{
    if (sw_path_is_dir(path)) return sw_folder_holds(path, SW_STORES_FILE);
    return sw_path_has_ext(path, "json") && sw_path_exists(path);
}

sw_status sw_stores_new(const char *folder, sw_stores *out, sw_error *err)
{
    SW_CLEANUP(sw_stores_free) sw_stores list = {0};
    list.folder = sw_strdup(folder);
    list.file = sw_path_join(folder, SW_STORES_FILE);
    if (!list.folder || !list.file) return sw_nomem(err);
    *out = list;
    list = (sw_stores){0};
    return SW_OK;
}

sw_status sw_stores_add(sw_stores *list, const char *name, sw_error *err)
{
    SW_TRY(sw_grow(&list->name, &list->capacity, list->count + 1, sizeof *list->name, err));
    SW_TRY(sw_grow(&list->path, &list->path_capacity, list->count + 1, sizeof *list->path, err));
    SW_AUTOFREE char *copy = sw_strdup(name);
    SW_AUTOFREE char *path = name[0] == '/' ? sw_strdup(name) : sw_path_join(list->folder, name);
    if (!copy || !path) return sw_nomem(err);
    list->name[list->count] = SW_STEAL(copy);
    list->path[list->count++] = SW_STEAL(path);
    return SW_OK;
}

/* ---- the file */

static sw_status name_file(const char *path, sw_stores *list, sw_error *err)
{
    if (sw_path_is_dir(path)) return sw_stores_new(path, list, err);
    const char *name = sw_path_name(path);
    list->folder = name == path ? sw_strdup(".") : sw_strndup(path, (size_t)(name - path - (name - path > 1)));
    list->file = sw_strdup(path);
    return list->folder && list->file ? SW_OK : sw_nomem(err);
}

static sw_status read_list(sw_stores *list, sw_error *err)
{
    SW_CLEANUP(sw_json_free_ptr) sw_json *json = NULL;
    SW_TRY(sw_json_read(list->file, &json, err));
    const sw_json *stores = sw_json_get(json, "stores");
    if (strcmp(sw_json_text(sw_json_get(json, "format"), ""), FORMAT_NAME) != 0 || !sw_json_is_array(stores) || sw_json_count(stores) == 0) {
        return sw_error_set(err, SW_E_FORMAT,
                            "%s: it is no list of stores: \"format\": \"" FORMAT_NAME "\" and a list of folders as \"stores\" are needed; make one "
                            "with: slidewise store join FOLDER STORE...", list->file);
    }
    int64_t version = sw_json_integer(sw_json_get(json, "version"), VERSION);
    if (version != VERSION)
        return sw_error_set(err, SW_E_UNSUPPORTED, "%s: it is of version %lld, this slidewise reads version %d", list->file, (long long)version, VERSION);
    for (size_t i = 0; i < sw_json_count(stores); i++) {
        const char *name = sw_json_text(sw_json_at(stores, i), "");
        if (!name[0]) return sw_error_set(err, SW_E_FORMAT, "%s: store %zu of its list has no name", list->file, i + 1);
        for (size_t k = 0; k < i; k++) {
            if (strcmp(list->name[k], name) == 0) return sw_error_set(err, SW_E_FORMAT, "%s: it lists %s twice", list->file, name);
        }
        SW_TRY(sw_stores_add(list, name, err));
    }
    return sw_setting_list_from(sw_json_get(json, "settings"), &list->settings, err);
}

sw_status sw_stores_read(const char *path, sw_stores *out, sw_error *err)
{
    SW_CLEANUP(sw_stores_free) sw_stores list = {0};
    SW_TRY(name_file(path, &list, err));
    SW_TRY(read_list(&list, err));
    *out = list;
    list = (sw_stores){0};
    return SW_OK;
}

static sw_status list_text(const sw_stores *list, sw_buf *text, sw_error *err)
{
    sw_json_writer w;
    sw_json_begin(&w, text, 2);
    sw_json_object(&w);
    sw_json_put_string(&w, "format", FORMAT_NAME);
    sw_json_put_int(&w, "version", VERSION);
    sw_json_key(&w, "settings");
    sw_setting_list_json(&list->settings, &w);
    sw_json_key(&w, "stores");
    sw_json_array(&w);
    for (size_t i = 0; i < list->count; i++) sw_json_string(&w, list->name[i]);
    sw_json_end_array(&w);
    sw_json_end_object(&w);
    sw_buf_puts(text, "\n");
    return sw_buf_status(text, err);
}

sw_status sw_stores_write(const sw_stores *list, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf text = {0};
    SW_TRY(list_text(list, &text, err));
    return sw_file_write(list->file, text.data, text.size, err);
}

sw_status sw_stores_create(const sw_stores *list, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf text = {0};
    if (sw_path_exists(list->file)) return SW_OK;
    SW_TRY(list_text(list, &text, err));
    return sw_file_create(list->file, text.data, text.size, err);
}

sw_status sw_stores_refuse_writer(const char *folder, sw_error *err)
{
    if (!sw_path_is_dir(folder) || !sw_folder_holds(folder, SW_STORES_FILE)) return SW_OK;
    return sw_error_set(err, SW_E_INVALID,
                        "store %s: it is a list of stores (" SW_STORES_FILE "), into which nothing is written; tile with --shard I/N, or into "
                        "another store", folder);
}

/* ---- what is missing */

char *sw_shard_name(int shard, int n_shards)
{
    return sw_asprintf("shard-%d-of-%d", shard, n_shards);
}

bool sw_shard_parse(const char *name, int *shard, int *n_shards)
{
    if (sscanf(name, "shard-%d-of-%d", shard, n_shards) != 2) return false;
    SW_AUTOFREE char *again = sw_shard_name(*shard, *n_shards);
    return again && strcmp(again, name) == 0 && *shard >= 1 && *shard <= *n_shards;
}

sw_status sw_stores_missing(const sw_stores *list, size_t index, size_t n_missing, sw_error *err)
{
    int shard, n_shards;
    char others[64] = "";
    if (n_missing > 1) snprintf(others, sizeof others, " and %zu more are", n_missing - 1);
    const char *is = n_missing > 1 ? "" : " is", *it = n_missing > 1 ? "the first" : "it";
    if (sw_shard_parse(list->name[index], &shard, &n_shards)) {
        return sw_error_set(err, SW_E_NOT_FOUND, "store %s: its shard %d of %d%s%s missing; make %s with: slidewise tile SLIDES --store %s --shard %d/%d",
                            list->folder, shard, n_shards, others, is, it, list->folder, shard, n_shards);
    }
    return sw_error_set(err, SW_E_NOT_FOUND, "store %s: the store %s of its list%s%s missing; put %s there, or take it off %s", list->folder,
                        list->path[index], others, is, it, list->file);
}

sw_status sw_stores_check_there(const sw_stores *list, sw_error *err)
{
    size_t first = 0, n_missing = 0;
    for (size_t i = 0; i < list->count; i++) {
        SW_AUTOFREE char *data = sw_path_join(list->path[i], "data.mdb");
        int64_t bytes = 0;
        if (!data) return sw_nomem(err);
        /* What is there and may not be looked at is said by the opening. */
        if (sw_path_exists(data) && (sw_file_size(data, &bytes, NULL) != SW_OK || bytes > 0)) continue;
        if (n_missing++ == 0) first = i;
    }
    return n_missing == 0 ? SW_OK : sw_stores_missing(list, first, n_missing, err);
}
