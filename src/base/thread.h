/* SPDX-License-Identifier: Apache-2.0 */
/* A thread pool, and an ordered pipeline over it. */
#ifndef SW_BASE_THREAD_H
#define SW_BASE_THREAD_H

#include <stddef.h>
#include <stdint.h>

#include "slidewise/error.h"

int sw_cpu_count(void); /* CPUs this process may use (affinity and cgroup quota respected) */

typedef struct sw_pool sw_pool;
/* threads 0: as many as sw_cpu_count() says. At most so many tasks run at once, on the pool's threads and the callers' together:
 * a caller that waits takes the place of one of its threads. */
sw_status sw_pool_new(int threads, sw_pool **out, sw_error *err) SW_MUST_CHECK;
void sw_pool_free(sw_pool *pool); /* waits for what is queued; free its prefetches first */
int sw_pool_threads(const sw_pool *pool); /* NULL: 1 */
/* Only so many of its threads work in the background from now on (at least 1, at most all: the start). While a caller waits
 * in sw_prefetch_next all of them work: whoever waits does not need the processors. */
void sw_pool_limit(sw_pool *pool, int threads);
/* Its threads give way to others: their priority falls by `nice` steps (1 to 19, counted from the start), for good. */
void sw_pool_step_back(sw_pool *pool, int nice);

/* Runs fn(ctx, i) for i in [0, count) on the pool and, where one of its threads is idle, the calling thread; returns the error of the
 * LOWEST failing i (later items may have been skipped). May be called from inside a pool task.
 * pool NULL: runs serially on the calling thread. */
typedef sw_status (*sw_pool_fn)(void *ctx, int64_t index, sw_error *err);
sw_status sw_pool_for(sw_pool *pool, int64_t count, sw_pool_fn fn, void *ctx, sw_error *err) SW_MUST_CHECK;

/* Ordered pipeline: `produce` runs for indices 0..count-1 on pool threads, at most `ahead` results
 * in flight; sw_prefetch_next hands them out in index order. */
typedef struct sw_prefetch sw_prefetch;
typedef sw_status (*sw_produce_fn)(void *ctx, int64_t index, void **item, sw_error *err);
typedef void (*sw_discard_fn)(void *ctx, void *item);
sw_status sw_prefetch_new(sw_pool *pool, int64_t count, int ahead, sw_produce_fn produce,
                          sw_discard_fn discard, void *ctx, sw_prefetch **out, sw_error *err) SW_MUST_CHECK;
/* Next item, owned by the caller; *item NULL at the end. *waited_ns (may be NULL) is how long this
 * call had to wait: the loader was the limit. */
sw_status sw_prefetch_next(sw_prefetch *p, void **item, int64_t *waited_ns, sw_error *err) SW_MUST_CHECK;
/* From now on the item handed out last is one of the `ahead`, until sw_prefetch_done says that its memory is free or the
 * next one is asked for: no more than `ahead` items are ever in memory. */
void sw_prefetch_hold(sw_prefetch *p);
void sw_prefetch_done(sw_prefetch *p);
void sw_prefetch_free(sw_prefetch *p); /* discards what was not taken */

int64_t sw_now_ns(void); /* monotonic */

#endif
