/* SPDX-License-Identifier: Apache-2.0 */
/* Pixels of patches, kept as long as they fit: a table of sets of eight, of which the one unused for longest makes room. */
#ifndef SW_STORE_PIXEL_CACHE_H
#define SW_STORE_PIXEL_CACHE_H

#include <stddef.h>
#include <stdint.h>

#include "slidewise/error.h"

typedef struct sw_pixel_cache sw_pixel_cache;

/* For items of item_bytes, at most `bytes` in all (memory is taken as items come). *out NULL: not one set fits. */
sw_status sw_pixel_cache_new(int64_t bytes, size_t item_bytes, sw_pixel_cache **out, sw_error *err) SW_MUST_CHECK;
void sw_pixel_cache_free(sw_pixel_cache *cache); /* NULL is fine */
/* Copies the item of `key` to `out`; false: it is not there. cache NULL: never. From any thread. */
bool sw_pixel_cache_get(sw_pixel_cache *cache, uint64_t key, void *out);
/* Keeps a copy; without memory for it nothing happens. */
void sw_pixel_cache_put(sw_pixel_cache *cache, uint64_t key, const void *item);

#endif
