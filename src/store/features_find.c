/* SPDX-License-Identifier: Apache-2.0 */
/* Where files of features lie in the folders that tools leave behind. */
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "slidewise/slide.h"
#include "slidewise/store.h"
#include "store/features_find.h"

static bool is_features_file(const char *name)
{
    return name[0] != '.' && (sw_path_has_ext(name, "h5") || sw_path_has_ext(name, "hdf5"));
}

static sw_status files_in(const char *dir, sw_names *out, sw_error *err)
{
    SW_CLEANUP(sw_names_free) sw_names names = {0};
    SW_TRY(sw_dir_list(dir, false, &names, err));
    for (size_t i = 0; i < names.count; i++) {
        if (is_features_file(names.name[i])) SW_TRY(sw_names_add(out, names.name[i], err));
    }
    return SW_OK;
}

static bool holds_features(const char *folder)
{
    return strcmp(folder, "h5_files") == 0 || strncmp(folder, "features_", strlen("features_")) == 0;
}

/* The folder in `dir` that tools put features into: h5_files, or features_ENCODER. */
static sw_status inner_folder(const char *dir, char **out, sw_error *err)
{
    SW_CLEANUP(sw_names_free) sw_names names = {0};
    const char *found = NULL;
    SW_TRY(sw_dir_list(dir, true, &names, err));
    for (size_t i = 0; i < names.count; i++) {
        if (!holds_features(names.name[i])) continue;
        if (found)
            return sw_error_set(err, SW_E_INVALID, "%s holds features of several kinds (%s, %s); give one of these folders", dir, found, names.name[i]);
        found = names.name[i];
    }
    if (!found) return sw_error_set(err, SW_E_NOT_FOUND, "%s: there is no file of features (SLIDE.h5) in it", dir);
    *out = sw_path_join(dir, found);
    return *out ? SW_OK : sw_nomem(err);
}

sw_status sw_features_find(const char *path, char **folder, sw_names *files, sw_error *err)
{
    SW_AUTOFREE char *dir = NULL;
    if (!sw_path_exists(path)) return sw_error_set(err, SW_E_NOT_FOUND, "%s: there is no such file or folder of features", path);
    dir = sw_strdup(path);
    if (!dir) return sw_nomem(err);
    if (!sw_path_is_dir(path)) {
        SW_TRY(sw_names_add(files, path, err));
        *folder = SW_STEAL(dir);
        return SW_OK;
    }
    SW_CLEANUP(sw_names_free) sw_names names = {0};
    SW_TRY(files_in(dir, &names, err));
    if (names.count == 0) {
        SW_AUTOFREE char *inner = NULL;
        SW_TRY(inner_folder(dir, &inner, err));
        SW_TRY(files_in(inner, &names, err));
        if (names.count == 0) return sw_error_set(err, SW_E_NOT_FOUND, "%s: there is no file of features (SLIDE.h5) in it", inner);
        sw_free(dir);
        dir = SW_STEAL(inner);
    }
    for (size_t i = 0; i < names.count; i++) {
        SW_AUTOFREE char *file = sw_path_join(dir, names.name[i]);
        if (!file) return sw_nomem(err);
        SW_TRY(sw_names_add(files, file, err));
    }
    *folder = SW_STEAL(dir);
    return SW_OK;
}

/* ---- as slides */

static sw_status add_slide(sw_slide_list *list, const char *path, sw_error *err)
{
    SW_AUTOFREE char *id = sw_path_stem(path), *copy = sw_strdup(path);
    if (!id || !copy) return sw_nomem(err);
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->entry[i].slide_id, id) != 0) continue;
        if (strcmp(list->entry[i].path, path) == 0) return SW_OK;
        return sw_error_set(err, SW_E_INVALID, "slide %s comes twice: %s and %s", id, list->entry[i].path, path);
    }
    SW_TRY(sw_grow(&list->entry, &list->capacity, list->count + 1, sizeof *list->entry, err));
    list->entry[list->count] = (sw_slide_entry){.slide_id = SW_STEAL(id)};
    list->entry[list->count++].path = SW_STEAL(copy);
    return SW_OK;
}

sw_status sw_store_features_list(const char *const *operands, size_t n_operands, sw_slide_list *list, sw_error *err)
{
    for (size_t i = 0; i < n_operands; i++) {
        SW_CLEANUP(sw_names_free) sw_names files = {0};
        SW_AUTOFREE char *folder = NULL;
        SW_TRY(sw_features_find(operands[i], &folder, &files, err));
        for (size_t k = 0; k < files.count; k++) SW_TRY(add_slide(list, files.name[k], err));
    }
    return SW_OK;
}
