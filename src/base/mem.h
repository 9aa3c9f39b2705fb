/* SPDX-License-Identifier: Apache-2.0 */
/* Memory: every allocation of the library passes here, so that tests can make the k-th one fail. */
#ifndef SW_BASE_MEM_H
#define SW_BASE_MEM_H

#include <stddef.h>
#include <stdint.h>

#include "slidewise/error.h"

/* As malloc, calloc, realloc, strdup; NULL when memory is out (the caller returns sw_nomem()). */
void *sw_malloc(size_t bytes);
void *sw_calloc(size_t count, size_t size);          /* NULL also when count * size overflows */
void *sw_realloc(void *old, size_t bytes);           /* on failure `old` stays valid */
void *sw_realloc_array(void *old, size_t count, size_t size);
char *sw_strdup(const char *text);
char *sw_strndup(const char *text, size_t bytes);
char *sw_asprintf(const char *fmt, ...) SW_PRINTF(1, 2);
void *sw_aligned_alloc(size_t alignment, size_t bytes); /* free with sw_free */
void sw_free(void *mem);                             /* NULL is fine */

/* Sets "out of memory" and returns SW_E_NOMEM. */
sw_status sw_nomem(sw_error *err);

/* Test hook: the `countdown`-th allocation from now fails (0: none). Per process. */
void sw_mem_fail_after(int64_t countdown);
int64_t sw_mem_live(void); /* blocks not yet freed */

/* Scope clean-up: SW_CLEANUP(sw_buf_free) sw_buf b = {0};  the function gets the variable's address. */
#define SW_CLEANUP(fn) __attribute__((cleanup(fn)))
void sw_free_ptr(void *address_of_pointer); /* for SW_CLEANUP on any plain pointer */
#define SW_AUTOFREE SW_CLEANUP(sw_free_ptr)

/* Hands a pointer over and clears the variable, so that scope clean-up leaves it alone. */
static inline void *sw_steal_(void *address_of_pointer)
{
    void **p = address_of_pointer;
    void *value = *p;
    *p = NULL;
    return value;
}
#define SW_STEAL(var) ((__typeof__(var))sw_steal_(&(var)))

/* Grows *array (element size `size`) to hold at least `need` elements; *capacity is kept. */
sw_status sw_grow(void *address_of_array, size_t *capacity, size_t need, size_t size, sw_error *err)
    SW_MUST_CHECK;

#endif
