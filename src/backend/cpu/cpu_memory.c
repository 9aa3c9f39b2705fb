/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of the cpu device: a caching allocator and the backend's scratch slots. */
#include <string.h>
#include <sys/mman.h>

#include "backend/cpu/cpu_internal.h"
#include "base/mem.h"

#define ALIGNMENT 64
#define MAPPED_BYTES ((size_t)1 << 20) /* from here on a block is a mapping of its own */
#define HUGE_BYTES ((size_t)4 << 20)   /* from here on huge pages pay */
#define SLACK_BYTES ((size_t)32 << 20) /* free blocks kept beyond the high-water mark of live memory */

/* In front of every block that is handed out. */
typedef struct sw_cpu_block {
    size_t capacity; /* bytes after this header */
    struct sw_cpu_block *older, *newer; /* while free */
    size_t mapped; /* bytes of the mapping that this header starts; 0: memory of sw_aligned_alloc */
    void *token;   /* one byte of sw_malloc that stands for a mapping where allocations are counted or made to fail */
    char fill[ALIGNMENT - 2 * sizeof(size_t) - 3 * sizeof(void *)];
} sw_cpu_block;
_Static_assert(sizeof(sw_cpu_block) == ALIGNMENT, "the data behind the header keeps its alignment");

sw_status sw_cpu_cache_init(sw_cpu_cache *cache, sw_error *err)
{
    if (pthread_mutex_init(&cache->lock, NULL) != 0)
        return sw_error_set(err, SW_E_NOMEM, "out of memory for a lock of the cpu backend");
    return SW_OK;
}

/* Eight size classes per power of two: at most an eighth of a block is wasted. */
static size_t size_class(size_t bytes)
{
    if (bytes < 512) return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT + (bytes == 0 ? ALIGNMENT : 0);
    size_t step = (size_t)1 << (sizeof(size_t) * 8 - 1 - (size_t)__builtin_clzl(bytes) - 3);
    return (bytes + step - 1) / step * step;
}

static void unlink_block(sw_cpu_cache *cache, sw_cpu_block *b)
{
    if (b->older) b->older->newer = b->newer;
    else cache->oldest = b->newer;
    if (b->newer) b->newer->older = b->older;
    else cache->newest = b->older;
    b->older = b->newer = NULL;
    cache->cached -= b->capacity;
}

static void free_block(sw_cpu_block *b)
{
    if (!b->mapped) {
        sw_free(b);
        return;
    }
    sw_free(b->token);
    munmap(b, b->mapped);
}

/* Frees the blocks that waited longest until at most `limit` bytes of free blocks are left. */
static void evict(sw_cpu_cache *cache, size_t limit)
{
    while (cache->cached > limit) {
        sw_cpu_block *b = cache->oldest;
        unlink_block(cache, b);
        free_block(b);
    }
}

/* The most recently freed block of this class (its memory may still be in the caches), or the best of up to a
 * quarter more. */
static sw_cpu_block *take_cached(sw_cpu_cache *cache, size_t capacity)
{
    sw_cpu_block *best = NULL;
    for (sw_cpu_block *b = cache->newest; b; b = b->older) {
        if (b->capacity < capacity || b->capacity > capacity + capacity / 4) continue;
        if (!best || b->capacity < best->capacity) best = b;
        if (best->capacity == capacity) break;
    }
    if (best) unlink_block(cache, best);
    return best;
}

/* What was held at most, and a little: a step of training finds all its blocks again, and the process never
 * grows far beyond what its tensors needed. */
static size_t cache_limit(const sw_cpu_cache *cache, size_t coming)
{
    size_t held = cache->held + coming, most = cache->held_peak + SLACK_BYTES;
    return most > held ? most - held : 0;
}

/* A mapping of its own goes back to the system whole; in the heap blocks of tens of megabytes would leave holes. */
static sw_cpu_block *map_block(size_t capacity)
{
    SW_AUTOFREE void *token = sw_malloc(1);
    size_t bytes = capacity + sizeof(sw_cpu_block);
    if (!token) return NULL;
    sw_cpu_block *b = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (b == MAP_FAILED) return NULL;
#ifdef MADV_HUGEPAGE
    /* Only advice: refused where the system has no huge pages, and all works as well without. */
    if (capacity >= HUGE_BYTES) (void)madvise(b, bytes, MADV_HUGEPAGE);
#endif
    b->capacity = capacity;
    b->mapped = bytes;
    b->token = SW_STEAL(token);
    return b;
}

static sw_cpu_block *fresh_block(size_t capacity)
{
    if (capacity >= MAPPED_BYTES) return map_block(capacity);
    sw_cpu_block *b = sw_aligned_alloc(ALIGNMENT, capacity + sizeof(*b));
    if (!b) return NULL;
    memset(b, 0, sizeof(*b));
    b->capacity = capacity;
    return b;
}

static sw_status device_alloc(sw_device *dev, size_t bytes, void **mem, sw_error *err)
{
    sw_cpu_cache *cache = &((sw_cpu *)dev)->cache;
    size_t capacity = size_class(bytes);
    pthread_mutex_lock(&cache->lock);
    sw_cpu_block *b = take_cached(cache, capacity);
    if (!b) {
        evict(cache, cache_limit(cache, capacity));
        b = fresh_block(capacity);
        if (!b && cache->cached) {
            evict(cache, 0);
            b = fresh_block(capacity);
        }
    }
    if (b) {
        cache->held += b->capacity;
        if (cache->held > cache->held_peak) cache->held_peak = cache->held;
    }
    pthread_mutex_unlock(&cache->lock);
    if (!b) return sw_nomem(err);
    *mem = b + 1;
    return SW_OK;
}

static void device_release(sw_device *dev, void *mem, size_t bytes)
{
    (void)bytes;
    if (!mem) return;
    sw_cpu_cache *cache = &((sw_cpu *)dev)->cache;
    sw_cpu_block *b = (sw_cpu_block *)mem - 1;
    pthread_mutex_lock(&cache->lock);
    cache->held -= b->capacity;
    cache->cached += b->capacity;
    b->older = cache->newest;
    b->newer = NULL;
    if (cache->newest) cache->newest->newer = b;
    else cache->oldest = b;
    cache->newest = b;
    evict(cache, cache_limit(cache, 0));
    pthread_mutex_unlock(&cache->lock);
}

static sw_status device_upload(sw_device *dev, sw_tensor *dst, const void *host, sw_error *err)
{
    (void)dev;
    (void)err;
    memcpy(sw_cpu_f32(dst), host, sw_tensor_bytes(dst));
    dst->layout = SW_CPU_PLAIN;
    return SW_OK;
}

static sw_status device_download(sw_device *dev, const sw_tensor *src, void *host, sw_error *err)
{
    (void)err;
    if (src->layout == SW_CPU_PLAIN) memcpy(host, sw_cpu_f32(src), sw_tensor_bytes(src));
    else
        sw_cpu_reorder((const sw_cpu *)dev, &src->shape, sw_dtype_size(src->dtype), sw_cpu_f32(src), src->layout,
                       host, SW_CPU_PLAIN);
    return SW_OK;
}

const sw_device_ops sw_cpu_device_ops = {
    .alloc = device_alloc, .release = device_release, .upload = device_upload, .download = device_download};

void sw_cpu_cache_trim(sw_cpu_cache *cache)
{
    pthread_mutex_lock(&cache->lock);
    evict(cache, 0);
    cache->held_peak = cache->held;
    pthread_mutex_unlock(&cache->lock);
}

void sw_cpu_cache_destroy(sw_cpu_cache *cache)
{
    evict(cache, 0);
    pthread_mutex_destroy(&cache->lock);
}

sw_status sw_cpu_scratch(sw_cpu *cpu, sw_cpu_slot slot, size_t bytes, void **mem, sw_error *err)
{
    if (bytes > cpu->scratch[slot].bytes || !cpu->scratch[slot].mem) {
        sw_free(cpu->scratch[slot].mem);
        cpu->scratch[slot].bytes = 0;
        cpu->scratch[slot].mem = sw_aligned_alloc(ALIGNMENT, bytes ? bytes : ALIGNMENT);
        if (!cpu->scratch[slot].mem) return sw_nomem(err);
        cpu->scratch[slot].bytes = bytes;
    }
    *mem = cpu->scratch[slot].mem;
    return SW_OK;
}

void sw_cpu_scratch_free(sw_cpu *cpu)
{
    for (int i = 0; i < SW_SLOT_COUNT; i++) {
        sw_free(cpu->scratch[i].mem);
        cpu->scratch[i].mem = NULL;
        cpu->scratch[i].bytes = 0;
    }
}
