/* SPDX-License-Identifier: Apache-2.0 */
/* One process's share of the slides: a store of its own, beside those of the others in one folder. */
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/stores.h"
#include "store/tile_work.h"

int sw_shard_of(const char *slide_id, int n_shards)
{
    uint64_t h = sw_hash64(slide_id, strlen(slide_id));
    h = (h ^ h >> 33) * 0xff51afd7ed558ccdu; /* the low bits of FNV-1a see too little of names that differ in one digit */
    h ^= h >> 33;
    return n_shards > 1 ? (int)(h % (uint64_t)n_shards) + 1 : 1;
}

void sw_tile_shard_free(sw_tile_shard *s)
{
    sw_free(s->name);
    sw_free(s->store);
    sw_free(s->mark);
    sw_free(s->mine.entry);
    *s = (sw_tile_shard){0};
}

static sw_status check(const sw_tile_options *o, sw_error *err)
{
    if (o->n_shards > SW_TILE_MAX_SHARDS || o->shard < 1 || o->shard > o->n_shards) {
        return sw_error_set(err, SW_E_INVALID, "shard %d of %d: give 1 to %d shards, and which of them this is (1 is the first)", o->shard, o->n_shards,
                            SW_TILE_MAX_SHARDS);
    }
    if (!o->store || !o->store[0]) return sw_error_set(err, SW_E_INVALID, "shards are parts of a store, and none was named");
    if (o->clam) {
        return sw_error_set(err, SW_E_INVALID, "CLAM's files end in one table for all slides, which shards cannot share; write TRIDENT's files, or "
                                               "CLAM's without shards");
    }
    return SW_OK;
}

sw_status sw_tile_shard_new(const sw_tile_options *o, const sw_slide_list *slides, sw_tile_shard *out, sw_error *err)
{
    SW_CLEANUP(sw_tile_shard_free) sw_tile_shard s = {.folder = o->store};
    SW_TRY(check(o, err));
    s.name = sw_shard_name(o->shard, o->n_shards);
    s.store = s.name ? sw_path_join(o->store, s.name) : NULL;
    s.mark = s.store ? sw_path_join(s.store, SW_STORES_UNFINISHED) : NULL;
    s.mine.entry = sw_calloc(slides->count + 1, sizeof *s.mine.entry);
    if (!s.mark || !s.mine.entry) return sw_nomem(err);
    for (size_t i = 0; i < slides->count; i++) {
        if (sw_shard_of(slides->entry[i].slide_id, o->n_shards) == o->shard) s.mine.entry[s.mine.count++] = slides->entry[i];
    }
    *out = s;
    s = (sw_tile_shard){0};
    return SW_OK;
}

/* The list as every shard of this tiling would make it. */
static sw_status full_list(const sw_tile_options *o, const char *folder, const sw_tile_pairs *pairs, sw_stores *list, sw_error *err)
{
    SW_TRY(sw_stores_new(folder, list, err));
    for (int i = 1; i <= o->n_shards; i++) {
        SW_AUTOFREE char *name = sw_shard_name(i, o->n_shards);
        if (!name) return sw_nomem(err);
        SW_TRY(sw_stores_add(list, name, err));
    }
    return sw_setting_list_of(pairs->pair, pairs->count, &list->settings, err);
}

/* What is there must be the list of this tiling; other stores may have been joined to it. */
static sw_status compare_lists(const sw_stores *own, const sw_stores *there, const char *name, sw_error *err)
{
    bool listed = false;
    const char *has, *asked;
    for (size_t i = 0; i < there->count; i++) listed = listed || strcmp(there->name[i], name) == 0;
    if (!listed) {
        return sw_error_set(err, SW_E_INVALID,
                            "store %s: %s is not on its list (" SW_STORES_FILE "), which begins with %s; give the number of shards that it was begun "
                            "with, or choose another store",
                            own->folder, name, there->name[0]);
    }
    const char *differs = sw_setting_list_differs(&there->settings, &own->settings, &has, &asked);
    if (!differs) return SW_OK;
    return sw_error_set(err, SW_E_INVALID, "store %s: it was made with %s = %s, and %s is asked now; use the same settings, or another store", own->folder,
                        differs, has, asked);
}

sw_status sw_tile_shard_list(const sw_tile_shard *s, const sw_tile_options *o, const sw_tile_pairs *pairs, sw_error *err)
{
    SW_CLEANUP(sw_stores_free) sw_stores own = {0};
    SW_CLEANUP(sw_stores_free) sw_stores there = {0};
    if (sw_folder_holds(s->folder, "data.mdb"))
        return sw_error_set(err, SW_E_INVALID, "store %s: it is one store already, which shards cannot go on with; tile without --shard, or choose another "
                                               "store", s->folder);
    SW_TRY(sw_mkdir_p(s->folder, err));
    SW_TRY(full_list(o, s->folder, pairs, &own, err));
    SW_TRY(sw_stores_create(&own, err));
    SW_TRY(sw_stores_read(s->folder, &there, err));
    return compare_lists(&own, &there, s->name, err);
}

sw_status sw_tile_shard_begin(const sw_tile_shard *s, sw_error *err)
{
    return sw_file_write(s->mark, "", 0, err);
}

sw_status sw_tile_shard_end(const sw_tile_shard *s, sw_error *err)
{
    SW_CLEANUP(sw_stores_free) sw_stores list = {0};
    SW_TRY(sw_file_remove(s->mark, err));
    SW_TRY(sw_stores_read(s->folder, &list, err));
    return sw_stores_write_tables(&list, s->folder, err);
}
