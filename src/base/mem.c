/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

/* The test hook and the block count are the only state of the process that the library keeps. */
static atomic_llong fail_countdown; /* 0: never fail */
static atomic_llong live_blocks;

void sw_mem_fail_after(int64_t countdown)
{
    atomic_store(&fail_countdown, countdown > 0 ? countdown : 0);
}

int64_t sw_mem_live(void)
{
    return atomic_load(&live_blocks);
}

/* True exactly once: at the allocation that sw_mem_fail_after named. */
static bool must_fail(void)
{
    if (atomic_load_explicit(&fail_countdown, memory_order_relaxed) <= 0) return false;
    return atomic_fetch_sub(&fail_countdown, 1) == 1;
}

static void *counted(void *mem)
{
    if (mem) atomic_fetch_add_explicit(&live_blocks, 1, memory_order_relaxed);
    return mem;
}

void *sw_malloc(size_t bytes)
{
    if (must_fail()) return NULL;
    return counted(malloc(bytes ? bytes : 1));
}

void *sw_calloc(size_t count, size_t size)
{
    if (must_fail()) return NULL;
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) return NULL;
    return counted(calloc(bytes ? bytes : 1, 1));
}

void *sw_realloc(void *old, size_t bytes)
{
    if (!old) return sw_malloc(bytes);
    if (must_fail()) return NULL;
    return realloc(old, bytes ? bytes : 1);
}

void *sw_realloc_array(void *old, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) return NULL;
    return sw_realloc(old, bytes);
}

char *sw_strndup(const char *text, size_t bytes)
{
    size_t size = strnlen(text, bytes);
    char *copy = sw_malloc(size + 1);
    if (!copy) return NULL;
    memcpy(copy, text, size);
    copy[size] = '\0';
    return copy;
}

char *sw_strdup(const char *text)
{
    return sw_strndup(text, strlen(text));
}

char *sw_asprintf(const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int size = sw_vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    char *text = size < 0 ? NULL : sw_malloc((size_t)size + 1);
    if (text) sw_vsnprintf(text, (size_t)size + 1, fmt, again);
    va_end(again);
    return text;
}

void *sw_aligned_alloc(size_t alignment, size_t bytes)
{
    if (must_fail()) return NULL;
    void *mem = NULL;
    if (alignment < sizeof(void *)) alignment = sizeof(void *);
    if (posix_memalign(&mem, alignment, bytes ? bytes : 1) != 0) return NULL;
    return counted(mem);
}

void sw_free(void *mem)
{
    if (!mem) return;
    atomic_fetch_sub_explicit(&live_blocks, 1, memory_order_relaxed);
    free(mem);
}

void sw_free_ptr(void *address_of_pointer)
{
    void *mem;
    memcpy(&mem, address_of_pointer, sizeof(mem));
    sw_free(mem);
    mem = NULL;
    memcpy(address_of_pointer, &mem, sizeof(mem));
}

sw_status sw_nomem(sw_error *err)
{
    return sw_error_set(err, SW_E_NOMEM, "out of memory");
}

sw_status sw_grow(void *address_of_array, size_t *capacity, size_t need, size_t size, sw_error *err)
{
    if (need <= *capacity) return SW_OK;
    size_t wanted = *capacity < 8 ? 8 : *capacity + *capacity / 2;
    if (wanted < need) wanted = need;
    void *array;
    memcpy(&array, address_of_array, sizeof(array));
    array = sw_realloc_array(array, wanted, size);
    if (!array) return sw_nomem(err);
    memcpy(address_of_array, &array, sizeof(array));
    *capacity = wanted;
    return SW_OK;
}
