/* SPDX-License-Identifier: Apache-2.0 */
#include "store/pixel_cache.h"

#include <pthread.h>
#include <string.h>

#include "base/mem.h"

enum { WAYS = 8, LOCKS = 64 };

typedef struct slot {
    uint64_t key;
    uint64_t used; /* 0: empty */
    uint8_t *item; /* owned */
} slot;

struct sw_pixel_cache {
    size_t item_bytes, n_sets;
    slot *slot; /* [n_sets, WAYS] */
    int n_locks;
    struct guard {
        pthread_mutex_t lock;
        uint64_t clock;
    } guard[LOCKS]; /* of the sets s with s % LOCKS */
};

void sw_pixel_cache_free(sw_pixel_cache *cache)
{
    if (!cache) return;
    for (int i = 0; i < cache->n_locks; i++) pthread_mutex_destroy(&cache->guard[i].lock);
    for (size_t i = 0; cache->slot && i < cache->n_sets * WAYS; i++) sw_free(cache->slot[i].item);
    sw_free(cache->slot);
    sw_free(cache);
}

static void free_ptr(sw_pixel_cache **cache)
{
    sw_pixel_cache_free(*cache);
}

sw_status sw_pixel_cache_new(int64_t bytes, size_t item_bytes, sw_pixel_cache **out, sw_error *err)
{
    size_t n_sets = bytes > 0 ? (size_t)bytes / WAYS / (item_bytes + sizeof(slot)) : 0;
    *out = NULL;
    if (n_sets == 0) return SW_OK;
    SW_CLEANUP(free_ptr) sw_pixel_cache *cache = sw_calloc(1, sizeof *cache);
    if (!cache) return sw_nomem(err);
    cache->item_bytes = item_bytes;
    cache->n_sets = n_sets;
    cache->slot = sw_calloc(n_sets * WAYS, sizeof *cache->slot);
    if (!cache->slot) return sw_nomem(err);
    while (cache->n_locks < LOCKS) {
        if (pthread_mutex_init(&cache->guard[cache->n_locks].lock, NULL) != 0) return sw_nomem(err);
        cache->n_locks++;
    }
    *out = SW_STEAL(cache);
    return SW_OK;
}

/* Neighbouring keys to distant sets. */
static size_t set_of(const sw_pixel_cache *cache, uint64_t key)
{
    return (size_t)((key * 0x9E3779B97F4A7C15u >> 20) % cache->n_sets);
}

bool sw_pixel_cache_get(sw_pixel_cache *cache, uint64_t key, void *out)
{
    if (!cache) return false;
    size_t set = set_of(cache, key);
    struct guard *guard = &cache->guard[set % LOCKS];
    bool found = false;
    pthread_mutex_lock(&guard->lock);
    for (slot *s = cache->slot + set * WAYS, *end = s + WAYS; s < end && !found; s++) {
        if (!s->used || s->key != key) continue;
        s->used = ++guard->clock;
        memcpy(out, s->item, cache->item_bytes);
        found = true;
    }
    pthread_mutex_unlock(&guard->lock);
    return found;
}

void sw_pixel_cache_put(sw_pixel_cache *cache, uint64_t key, const void *item)
{
    if (!cache) return;
    size_t set = set_of(cache, key);
    struct guard *guard = &cache->guard[set % LOCKS];
    pthread_mutex_lock(&guard->lock);
    slot *oldest = cache->slot + set * WAYS;
    for (slot *s = oldest, *end = s + WAYS; s < end; s++) {
        if (s->used && s->key == key) {
            oldest = s;
            break;
        }
        if (s->used < oldest->used) oldest = s;
    }
    if (!oldest->item) oldest->item = sw_malloc(cache->item_bytes);
    if (oldest->item) {
        memcpy(oldest->item, item, cache->item_bytes);
        oldest->key = key;
        oldest->used = ++guard->clock;
    }
    pthread_mutex_unlock(&guard->lock);
}
