/* SPDX-License-Identifier: Apache-2.0 */
/* Stores that are read as one: a folder whose stores.json lists them.
 *
 *   {"format": "slidewise stores", "version": 1, "settings": {…}, "stores": ["shard-1-of-4", "../other"]}
 *
 * A relative path is one from the folder of the list. "settings" is what the shards are tiled with; it may be absent. */
#ifndef SW_STORE_STORES_H
#define SW_STORE_STORES_H

#include "store/record.h"

#define SW_STORES_FILE "stores.json"
#define SW_STORES_UNFINISHED "unfinished" /* a file in a shard that is being tiled, or whose tiling was stopped */

typedef struct sw_stores {
    char *file, *folder; /* the list, and where it lies */
    char **name, **path; /* [count] as the list says, and from here */
    size_t count, capacity, path_capacity;
    sw_setting_list settings;
} sw_stores;
void sw_stores_free(sw_stores *list);

bool sw_folder_holds(const char *folder, const char *name);
/* Whether `path` is a list of stores: a folder with stores.json, or a file named *.json. */
bool sw_stores_named(const char *path);
/* An empty list in a folder. */
sw_status sw_stores_new(const char *folder, sw_stores *out, sw_error *err) SW_MUST_CHECK;
/* `path` as in sw_stores_named. *out untouched on failure. */
sw_status sw_stores_read(const char *path, sw_stores *out, sw_error *err) SW_MUST_CHECK;
sw_status sw_stores_add(sw_stores *list, const char *name, sw_error *err) SW_MUST_CHECK; /* copies */
/* In place of the one that is there. */
sw_status sw_stores_write(const sw_stores *list, sw_error *err) SW_MUST_CHECK;
/* Only where there is none, whoever else writes one at the same time: there is one list afterwards, which may be another's. */
sw_status sw_stores_create(const sw_stores *list, sw_error *err) SW_MUST_CHECK;
/* SW_E_INVALID where stores.json lies in the folder: nothing is tiled or imported beside it. */
sw_status sw_stores_refuse_writer(const char *folder, sw_error *err) SW_MUST_CHECK;

/* SW_E_NOT_FOUND tells how many of them are not there (or hold nothing, not even settings), which is the first, and what makes it. */
sw_status sw_stores_check_there(const sw_stores *list, sw_error *err) SW_MUST_CHECK;
sw_status sw_stores_missing(const sw_stores *list, size_t index, size_t n_missing, sw_error *err) SW_MUST_CHECK; /* that error */

/* "shard-2-of-8", owned; NULL: no memory. And back: false for any other name. */
char *sw_shard_name(int shard, int n_shards);
bool sw_shard_parse(const char *name, int *shard, int *n_shards);

/* FOLDER/slides.csv and FOLDER/unreadable.csv: the rows of all stores that have one, with a column "store". */
sw_status sw_stores_write_tables(const sw_stores *list, const char *folder, sw_error *err) SW_MUST_CHECK;

#endif
