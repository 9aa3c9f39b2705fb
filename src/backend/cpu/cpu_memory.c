/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of the cpu device: an arena of tensors and the backend's scratch slots. */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backend/cpu/cpu_internal.h"
#include "base/mem.h"

#define ALIGNMENT 64
#define ARENA_BYTES ((size_t)256 << 10) /* from here on a block lies in the arena, below in the heap */
#define HUGE_PAGE ((size_t)2 << 20)
#define LEAST_RESERVED ((size_t)256 << 20)

/* In front of every block that is handed out. */
typedef struct sw_cpu_block {
    size_t capacity; /* bytes after this header */
    struct sw_cpu_block *below, *above; /* neighbours in the arena */
    size_t mapped; /* bytes of the mapping that this header starts, where the arena was full */
    void *token;   /* one byte of sw_malloc that stands for a block of the arena where allocations are counted or made
                      to fail; NULL: free */
    char place;    /* HEAP, ARENA, MAPPING */
    char fill[ALIGNMENT - 2 * sizeof(size_t) - 3 * sizeof(void *) - 1];
} sw_cpu_block;
_Static_assert(sizeof(sw_cpu_block) == ALIGNMENT, "the data behind the header keeps its alignment");
enum { HEAP, ARENA, MAPPING };

sw_status sw_cpu_cache_init(sw_cpu_cache *cache, sw_error *err)
{
    if (pthread_mutex_init(&cache->lock, NULL) != 0)
        return sw_error_set(err, SW_E_NOMEM, "out of memory for a lock of the cpu backend");
    return SW_OK;
}

static void *map(size_t bytes, int flags)
{
    void *mem = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
    return mem == MAP_FAILED ? NULL : mem;
}

static void ask_huge(void *mem, size_t bytes)
{
#ifdef MADV_HUGEPAGE
    /* Only advice: refused where the system has no huge pages, and all works as well without. */
    if (bytes >= 2 * HUGE_PAGE) (void)madvise(mem, bytes, MADV_HUGEPAGE);
#else
    (void)mem;
    (void)bytes;
#endif
}

/* Addresses for twice the machine's memory, or as many as the process may have. They cost nothing until touched. */
static void reserve(sw_cpu_cache *cache)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    size_t bytes = pages > 0 && page > 0 ? 2 * (size_t)pages * (size_t)page : (size_t)8 << 30;
    for (; bytes >= LEAST_RESERVED && !cache->base; bytes /= 2) {
        bytes = bytes / HUGE_PAGE * HUGE_PAGE;
        cache->base = map(bytes, MAP_NORESERVE);
        cache->reserved = bytes;
    }
    if (!cache->base) cache->reserved = 0;
    else ask_huge(cache->base, cache->reserved);
}

/* The smallest free block that is large enough, the lowest of equals. */
static sw_cpu_block *best_free(const sw_cpu_cache *cache, size_t capacity)
{
    sw_cpu_block *best = NULL;
    for (sw_cpu_block *b = cache->first; b; b = b->above)
        if (!b->token && b->capacity >= capacity && (!best || b->capacity < best->capacity)) best = b;
    return best;
}

/* Leaves what is beyond `capacity` as a free block of its own, if it is worth one. */
static void split(sw_cpu_cache *cache, sw_cpu_block *b, size_t capacity)
{
    if (b->capacity - capacity < sizeof(*b) + ARENA_BYTES) return;
    sw_cpu_block *rest = (sw_cpu_block *)((char *)(b + 1) + capacity);
    *rest = (sw_cpu_block){.capacity = b->capacity - capacity - sizeof(*b), .below = b, .above = b->above, .place = ARENA};
    if (rest->above) rest->above->below = rest;
    else cache->last = rest;
    b->above = rest;
    b->capacity = capacity;
}

/* `b` takes in its free neighbour above. */
static void join_above(sw_cpu_cache *cache, sw_cpu_block *b)
{
    sw_cpu_block *gone = b->above;
    b->capacity += sizeof(*gone) + gone->capacity;
    b->above = gone->above;
    if (b->above) b->above->below = b;
    else cache->last = b;
}

/* A block at the end of the arena, which begins with the last block where that is free. */
static sw_cpu_block *extend(sw_cpu_cache *cache, size_t capacity)
{
    sw_cpu_block *last = cache->last && !cache->last->token ? cache->last : NULL;
    size_t start = last ? (size_t)((char *)last - cache->base) : cache->used, end = start + sizeof(*last) + capacity;
    if (end > cache->reserved) return NULL;
    if (!last) {
        last = (sw_cpu_block *)(cache->base + start);
        *last = (sw_cpu_block){.below = cache->last, .place = ARENA};
        if (cache->last) cache->last->above = last;
        else cache->first = last;
        cache->last = last;
    }
    last->capacity = capacity;
    cache->used = end;
    return last;
}

static sw_cpu_block *arena_block(sw_cpu_cache *cache, size_t capacity)
{
    if (!cache->base) reserve(cache);
    sw_cpu_block *b = best_free(cache, capacity);
    if (!b) return extend(cache, capacity);
    split(cache, b, capacity);
    return b;
}

static sw_cpu_block *own_mapping(size_t capacity)
{
    size_t bytes = capacity + sizeof(sw_cpu_block);
    sw_cpu_block *b = map(bytes, 0);
    if (!b) return NULL;
    ask_huge(b, bytes);
    *b = (sw_cpu_block){.capacity = capacity, .mapped = bytes, .place = MAPPING};
    return b;
}

static sw_cpu_block *large_block(sw_cpu_cache *cache, size_t capacity)
{
    SW_AUTOFREE void *token = sw_malloc(1);
    if (!token) return NULL;
    pthread_mutex_lock(&cache->lock);
    sw_cpu_block *b = arena_block(cache, capacity);
    if (b) b->token = SW_STEAL(token);
    pthread_mutex_unlock(&cache->lock);
    if (b) return b;
    b = own_mapping(capacity);
    if (b) b->token = SW_STEAL(token);
    return b;
}

static sw_cpu_block *small_block(size_t capacity)
{
    sw_cpu_block *b = sw_aligned_alloc(ALIGNMENT, capacity + sizeof(*b));
    if (b) *b = (sw_cpu_block){.capacity = capacity, .place = HEAP};
    return b;
}

static sw_status device_alloc(sw_device *dev, size_t bytes, void **mem, sw_error *err)
{
    size_t capacity = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (capacity < bytes) return sw_nomem(err);
    if (capacity == 0) capacity = ALIGNMENT;
    sw_cpu_block *b = capacity < ARENA_BYTES ? small_block(capacity) : large_block(&((sw_cpu *)dev)->cache, capacity);
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
    if (b->place == HEAP) {
        sw_free(b);
        return;
    }
    sw_free(b->token);
    if (b->place == MAPPING) {
        munmap(b, b->mapped);
        return;
    }
    pthread_mutex_lock(&cache->lock);
    b->token = NULL;
    if (b->above && !b->above->token) join_above(cache, b);
    if (b->below && !b->below->token) join_above(cache, b->below);
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

/* The whole pages of [from, to) go back to the system and read as zero when they are touched again. */
static void give_back(char *from, char *to)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t first = ((uintptr_t)from + page - 1) / page * page, end = (uintptr_t)to / page * page;
    if (first < end) (void)madvise((void *)first, end - first, MADV_DONTNEED); /* refused: the pages stay, no more */
}

size_t sw_cpu_cache_idle(sw_cpu_cache *cache)
{
    size_t idle = 0;
    pthread_mutex_lock(&cache->lock);
    for (sw_cpu_block *b = cache->first; b; b = b->above)
        if (!b->token) idle += b->capacity;
    pthread_mutex_unlock(&cache->lock);
    return idle;
}

void sw_cpu_cache_trim(sw_cpu_cache *cache)
{
    pthread_mutex_lock(&cache->lock);
    for (sw_cpu_block *b = cache->first; b; b = b->above)
        if (!b->token) give_back((char *)(b + 1), (char *)(b + 1) + b->capacity);
    sw_cpu_block *last = cache->last;
    if (last && !last->token) {
        cache->used = (size_t)((char *)last - cache->base);
        cache->last = last->below;
        if (cache->last) cache->last->above = NULL;
        else cache->first = NULL;
    }
    pthread_mutex_unlock(&cache->lock);
}

void sw_cpu_cache_destroy(sw_cpu_cache *cache)
{
    if (cache->base) munmap(cache->base, cache->reserved);
    pthread_mutex_destroy(&cache->lock);
}

void *sw_cpu_pages_new(size_t bytes)
{
    size_t capacity = bytes ? bytes : ALIGNMENT;
    SW_AUTOFREE void *token = sw_malloc(1);
    sw_cpu_block *b = !token ? NULL : capacity < ARENA_BYTES ? small_block(capacity) : own_mapping(capacity);
    if (!b) return NULL;
    b->token = SW_STEAL(token);
    return b + 1;
}

void sw_cpu_pages_free(void *mem)
{
    if (!mem) return;
    sw_cpu_block *b = (sw_cpu_block *)mem - 1;
    sw_free(b->token);
    if (b->place == MAPPING) munmap(b, b->mapped);
    else sw_free(b);
}

sw_status sw_cpu_scratch(sw_cpu *cpu, sw_cpu_slot slot, size_t bytes, void **mem, sw_error *err)
{
    if (bytes > cpu->scratch[slot].bytes || !cpu->scratch[slot].mem) {
        sw_cpu_pages_free(cpu->scratch[slot].mem);
        cpu->scratch[slot].bytes = 0;
        cpu->scratch[slot].mem = sw_cpu_pages_new(bytes);
        if (!cpu->scratch[slot].mem) return sw_nomem(err);
        cpu->scratch[slot].bytes = bytes;
    }
    *mem = cpu->scratch[slot].mem;
    return SW_OK;
}

void sw_cpu_scratch_free(sw_cpu *cpu)
{
    for (int i = 0; i < SW_SLOT_COUNT; i++) {
        sw_cpu_pages_free(cpu->scratch[i].mem);
        cpu->scratch[i].mem = NULL;
        cpu->scratch[i].bytes = 0;
    }
}
