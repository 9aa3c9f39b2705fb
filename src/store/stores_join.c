/* SPDX-License-Identifier: Apache-2.0 */
/* Making a list of stores. */
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "slidewise/store.h"
#include "store/store_parts.h"

/* Owned, without links and dots; NULL with an error. */
static char *real_path(const char *path, sw_error *err)
{
    char *real = realpath(path, NULL);
    char *copy = real ? sw_strdup(real) : NULL;
    if (!real) (void)sw_error_set(err, SW_E_NOT_FOUND, "store %s: there is no such folder", path);
    else if (!copy) (void)sw_nomem(err);
    free(real); /* ban-waiver: realpath allocates with malloc */
    return copy;
}

/* How `to` is called from the folder `from`, both real; absolute where they share nothing but the root. Owned. */
static char *relative_path(const char *from, const char *to)
{
    size_t shared = 0, i = 0;
    SW_CLEANUP(sw_buf_free) sw_buf out = {0};
    for (; from[i] && from[i] == to[i]; i++) {
        if (from[i] == '/') shared = i;
    }
    if ((!from[i] || from[i] == '/') && (!to[i] || to[i] == '/')) shared = i;
    if (shared == 0) return sw_strdup(to);
    for (const char *c = from + shared; *c; c++) {
        if (*c == '/') sw_buf_puts(&out, "../");
    }
    sw_buf_puts(&out, to[shared] == '/' ? to + shared + 1 : to + shared);
    return out.failed || out.size == 0 ? NULL : sw_strdup(out.data);
}

static sw_status is_listed(const sw_stores *list, const char *real, bool *out, sw_error *err)
{
    *out = false;
    for (size_t i = 0; i < list->count && !*out; i++) {
        sw_error ignored;
        SW_AUTOFREE char *other = real_path(list->path[i], &ignored);
        if (!other && ignored.code == SW_E_NOMEM) return sw_nomem(err);
        *out = other && strcmp(other, real) == 0;
    }
    return SW_OK;
}

static sw_status add_store(sw_stores *list, const char *path, sw_error *err)
{
    bool known;
    SW_AUTOFREE char *real = real_path(path, err), *folder = real ? real_path(list->folder, err) : NULL;
    if (!folder) return err->code;
    SW_TRY(is_listed(list, real, &known, err));
    if (known) return SW_OK;
    if (strcmp(real, folder) == 0)
        return sw_error_set(err, SW_E_INVALID, "store %s: a store cannot be joined in its own folder; choose another one for the list", path);
    SW_AUTOFREE char *name = relative_path(folder, real);
    return name ? sw_stores_add(list, name, err) : sw_nomem(err);
}

static sw_status add_any(sw_stores *list, const char *path, sw_error *err)
{
    SW_CLEANUP(sw_stores_free) sw_stores other = {0};
    if (!sw_stores_named(path)) return add_store(list, path, err);
    SW_TRY(sw_stores_read(path, &other, err));
    for (size_t i = 0; i < other.count; i++) SW_TRY(add_store(list, other.path[i], err));
    return SW_OK;
}

static sw_status write_joined(sw_stores *list, bool changed, sw_error *err)
{
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    SW_TRY(sw_store_open_stores(list, list->folder, &store, err));
    if (changed) {
        sw_setting_list_free(&list->settings);
        list->settings = store->settings;
        sw_status status = sw_stores_write(list, err);
        list->settings = (sw_setting_list){0}; /* the store's */
        SW_TRY(status);
    }
    return sw_stores_write_tables(list, list->folder, err);
}

sw_status sw_store_join(const char *folder, const char *const *store, size_t n_stores, sw_error *err)
{
    SW_CLEANUP(sw_stores_free) sw_stores list = {0};
    sw_error none = {0};
    if (!err) err = &none;
    if (sw_folder_holds(folder, "data.mdb"))
        return sw_error_set(err, SW_E_INVALID, "store %s: it is a store itself; choose another folder for the list", folder);
    if (sw_path_is_dir(folder) && sw_stores_named(folder)) {
        SW_TRY(sw_stores_read(folder, &list, err));
    } else if (n_stores == 0) {
        return sw_error_set(err, SW_E_NOT_FOUND, "store %s: there is no " SW_STORES_FILE " in it; name the stores to join", folder);
    } else {
        SW_TRY(sw_mkdir_p(folder, err));
        SW_TRY(sw_stores_new(folder, &list, err));
    }
    size_t before = list.count;
    for (size_t i = 0; i < n_stores; i++) SW_TRY(add_any(&list, store[i], err));
    return write_joined(&list, list.count > before, err);
}
