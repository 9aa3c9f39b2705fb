/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/thread.h"
#include "base/cpu.h"
#include "test.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <unistd.h>

typedef struct work {
    sw_pool *pool;
    atomic_llong sum;
    atomic_llong visited[200];
    int64_t fail_from, fail_step;
    atomic_int outstanding, most_outstanding;
} work;

static sw_status add(void *ctx, int64_t index, sw_error *err)
{
    work *w = ctx;
    (void)err;
    atomic_fetch_add(&w->sum, index);
    atomic_fetch_add(&w->visited[index], 1);
    return SW_OK;
}

TEST(every_index_runs_once)
{
    sw_error err = {0};
    for (int threads = 1; threads <= 4; threads++) {
        work w = {0};
        sw_pool *pool = NULL;
        CHECK_OK(sw_pool_new(threads, &pool, &err));
        CHECK_INT(sw_pool_threads(pool), threads);
        CHECK_OK(sw_pool_for(pool, 200, add, &w, &err));
        CHECK_OK(sw_pool_for(pool, 0, add, &w, &err));
        sw_pool_free(pool);
        CHECK_INT(atomic_load(&w.sum), 199 * 200 / 2);
        for (int i = 0; i < 200; i++) CHECK_INT(atomic_load(&w.visited[i]), 1);
    }
    work w = {0};
    CHECK_OK(sw_pool_for(NULL, 200, add, &w, &err));
    CHECK_INT(atomic_load(&w.sum), 199 * 200 / 2);
}

static sw_status nest(void *ctx, int64_t index, sw_error *err)
{
    work *w = ctx;
    if (index % 2) return sw_pool_for(w->pool, 20, add, w, err);
    return SW_OK;
}

static sw_status nest_twice(void *ctx, int64_t index, sw_error *err)
{
    work *w = ctx;
    (void)index;
    return sw_pool_for(w->pool, 6, nest, w, err);
}

TEST(loops_nest_without_locking_up)
{
    sw_error err = {0};
    for (int threads = 1; threads <= 3; threads++) {
        work w = {0};
        CHECK_OK(sw_pool_new(threads, &w.pool, &err));
        CHECK_OK(sw_pool_for(w.pool, 8, nest_twice, &w, &err));
        sw_pool_free(w.pool);
        CHECK_INT(atomic_load(&w.sum), 8 * 3 * 190);
    }
}

static sw_status fail_some(void *ctx, int64_t index, sw_error *err)
{
    work *w = ctx;
    atomic_fetch_add(&w->visited[index], 1);
    if (index < w->fail_from) {
        if (index == w->fail_from - 1) usleep(1000); /* let later failures come first */
        return SW_OK;
    }
    if (index == w->fail_from) usleep(3000);
    return sw_error_set(err, SW_E_INVALID, "item %d", (int)index);
}

TEST(the_lowest_failing_index_is_reported)
{
    sw_error err = {0};
    sw_pool *pool = NULL;
    CHECK_OK(sw_pool_new(4, &pool, &err));
    for (int from = 0; from < 40; from += 3) {
        work w = {.fail_from = from};
        CHECK_INT(sw_pool_for(pool, 200, fail_some, &w, &err), SW_E_INVALID);
        char expected[32];
        snprintf(expected, sizeof(expected), "item %d", from);
        CHECK_STR(err.message, expected);
        for (int i = 0; i < from; i++) CHECK_INT(atomic_load(&w.visited[i]), 1);
        CHECK_INT(atomic_load(&w.visited[199]), 0);
        CHECK_INT(sw_pool_for(pool, 200, fail_some, &w, NULL), SW_E_INVALID);
    }
    sw_pool_free(pool);
}

static sw_status make_item(void *ctx, int64_t index, void **item, sw_error *err)
{
    work *w = ctx;
    int now = atomic_fetch_add(&w->outstanding, 1) + 1;
    int most = atomic_load(&w->most_outstanding);
    while (now > most && !atomic_compare_exchange_weak(&w->most_outstanding, &most, now)) continue;
    sw_rng rng = sw_rng_stream(5, SW_RNG_TEST, 0, (uint32_t)index, 0);
    usleep((useconds_t)sw_rng_below(&rng, 2000));
    if (w->fail_step && index == w->fail_from) {
        atomic_fetch_sub(&w->outstanding, 1);
        return sw_error_set(err, SW_E_IO, "item %d is lost", (int)index);
    }
    int64_t *made = sw_malloc(sizeof(*made));
    if (!made) return sw_nomem(err);
    *made = index;
    *item = made;
    return SW_OK;
}

static void drop_item(void *ctx, void *item)
{
    work *w = ctx;
    atomic_fetch_sub(&w->outstanding, 1);
    sw_free(item);
}

TEST(prefetch_keeps_order_and_its_window)
{
    sw_error err = {0};
    for (int threads = 1; threads <= 4; threads += 3) {
        for (int ahead = 1; ahead <= 7; ahead += 3) {
            work w = {0};
            sw_prefetch *p = NULL;
            CHECK_OK(sw_pool_new(threads, &w.pool, &err));
            CHECK_OK(sw_prefetch_new(w.pool, 60, ahead, make_item, drop_item, &w, &p, &err));
            int64_t waited_total = 0;
            for (int64_t i = 0; i < 60; i++) {
                void *item = NULL;
                int64_t waited = -1;
                CHECK_OK(sw_prefetch_next(p, &item, &waited, &err));
                CHECK(item);
                CHECK_INT(*(int64_t *)item, i);
                CHECK(waited >= 0);
                waited_total += waited;
                drop_item(&w, item);
            }
            void *item = &w;
            CHECK_OK(sw_prefetch_next(p, &item, NULL, &err));
            CHECK(!item);
            sw_prefetch_free(p);
            sw_pool_free(w.pool);
            CHECK(waited_total > 0);
            CHECK(atomic_load(&w.most_outstanding) <= ahead + 1); /* one may be in the caller's hand */
            CHECK_INT(atomic_load(&w.outstanding), 0);
        }
    }
}

/* Whoever says when an item's memory is free again has no more than `ahead` of them. */
TEST(prefetch_that_holds_stays_in_its_window)
{
    sw_error err = {0};
    for (int ahead = 1; ahead <= 4; ahead++) {
        for (int say = 0; say < 2; say++) { /* 0: the next one is asked for without a word */
            work w = {0};
            sw_prefetch *p = NULL;
            CHECK_OK(sw_pool_new(3, &w.pool, &err));
            CHECK_OK(sw_prefetch_new(w.pool, 40, ahead, make_item, drop_item, &w, &p, &err));
            sw_prefetch_hold(p);
            for (int64_t i = 0; i < 40; i++) {
                void *item = NULL;
                CHECK_OK(sw_prefetch_next(p, &item, NULL, &err));
                CHECK(item && *(int64_t *)item == i);
                sched_yield(); /* time to begin one too many */
                drop_item(&w, item);
                if (say) sw_prefetch_done(p);
                if (say) sw_prefetch_done(p); /* once more says nothing */
            }
            sw_prefetch_free(p);
            sw_pool_free(w.pool);
            CHECK(atomic_load(&w.most_outstanding) <= ahead);
            CHECK_INT(atomic_load(&w.outstanding), 0);
        }
    }
}

TEST(prefetch_hands_out_what_came_before_a_failure)
{
    sw_error err = {0};
    work w = {.fail_from = 11, .fail_step = 1};
    sw_prefetch *p = NULL;
    CHECK_OK(sw_pool_new(3, &w.pool, &err));
    CHECK_OK(sw_prefetch_new(w.pool, 60, 5, make_item, drop_item, &w, &p, &err));
    void *item;
    for (int i = 0; i < 11; i++) {
        CHECK_OK(sw_prefetch_next(p, &item, NULL, &err));
        CHECK_INT(*(int64_t *)item, i);
        drop_item(&w, item);
    }
    for (int again = 0; again < 2; again++) {
        CHECK_INT(sw_prefetch_next(p, &item, NULL, &err), SW_E_IO);
        CHECK_STR(err.message, "item 11 is lost");
        CHECK(!item);
    }
    sw_prefetch_free(p);
    CHECK_INT(atomic_load(&w.outstanding), 0);
    CHECK_OK(sw_prefetch_new(w.pool, 60, 5, make_item, drop_item, &w, &p, &err)); /* freed untouched */
    sw_prefetch_free(p);
    CHECK_INT(atomic_load(&w.outstanding), 0);
    sw_pool_free(w.pool);
}

static sw_status consume_inside(void *ctx, int64_t index, sw_error *err)
{
    work *w = ctx;
    (void)index;
    sw_prefetch *p = NULL;
    SW_TRY(sw_prefetch_new(w->pool, 5, 2, make_item, drop_item, w, &p, err));
    sw_status status = SW_OK;
    for (int64_t i = 0; i < 5 && status == SW_OK; i++) {
        void *item = NULL;
        status = sw_prefetch_next(p, &item, NULL, err);
        if (status == SW_OK) atomic_fetch_add(&w->sum, *(int64_t *)item);
        if (item) drop_item(w, item);
    }
    sw_prefetch_free(p);
    return status;
}

TEST(prefetch_inside_pool_tasks)
{
    sw_error err = {0};
    work w = {0};
    CHECK_OK(sw_pool_new(2, &w.pool, &err));
    CHECK_OK(sw_pool_for(w.pool, 6, consume_inside, &w, &err));
    sw_pool_free(w.pool);
    CHECK_INT(atomic_load(&w.sum), 60);
}

/* Items that take a while; the most at once. */
static sw_status slow_item(void *ctx, int64_t index, void **item, sw_error *err)
{
    work *w = ctx;
    (void)err;
    int now = atomic_fetch_add(&w->outstanding, 1) + 1;
    for (int most = atomic_load(&w->most_outstanding); now > most;) {
        if (atomic_compare_exchange_weak(&w->most_outstanding, &most, now)) break;
    }
    usleep(5000);
    atomic_fetch_sub(&w->outstanding, 1);
    atomic_fetch_add(&w->sum, 1);
    *item = &w->visited[index];
    return SW_OK;
}

static void count_in(work *w)
{
    int now = atomic_fetch_add(&w->outstanding, 1) + 1;
    for (int most = atomic_load(&w->most_outstanding); now > most;) {
        if (atomic_compare_exchange_weak(&w->most_outstanding, &most, now)) break;
    }
    usleep(300);
}

static sw_status count_one(void *ctx, int64_t index, sw_error *err)
{
    work *w = ctx;
    (void)err;
    count_in(w);
    atomic_fetch_sub(&w->outstanding, 1);
    atomic_fetch_add(&w->visited[index], 1);
    return SW_OK;
}

/* Counted before the loop inside and after it: a task that waits for its own is not counted twice. */
static sw_status count_nested(void *ctx, int64_t index, sw_error *err)
{
    work *w = ctx;
    SW_TRY(count_one(ctx, index, err));
    SW_TRY(sw_pool_for(w->pool, 4, count_one, ctx, err));
    return count_one(ctx, index, err);
}

static sw_status count_item(void *ctx, int64_t index, void **item, sw_error *err)
{
    work *w = ctx;
    SW_TRY(count_nested(ctx, index, err));
    *item = &w->visited[index];
    return SW_OK;
}

/* A second thread that calls the same pool. */
static void *call_beside(void *ctx)
{
    work *w = ctx;
    sw_error err = {0};
    return sw_pool_for(w->pool, 30, count_nested, w, &err) == SW_OK ? w : NULL;
}

TEST(no_more_than_its_threads_are_busy)
{
    sw_error err = {0};
    for (int threads = 1; threads <= 4; threads++) {
        work w = {0};
        sw_prefetch *p = NULL;
        pthread_t beside;
        void *ended = NULL, *item = NULL;
        CHECK_OK(sw_pool_new(threads, &w.pool, &err));
        CHECK_OK(sw_pool_for(w.pool, 40, count_one, &w, &err));
        CHECK_INT(atomic_load(&w.most_outstanding), threads);
        CHECK_OK(sw_prefetch_new(w.pool, 40, 3 * threads, count_item, NULL, &w, &p, &err));
        CHECK_INT(pthread_create(&beside, NULL, call_beside, &w), 0);
        for (int i = 0; i < 40; i++) { /* the caller works where it waits, and calls a loop of its own */
            CHECK_OK(sw_prefetch_next(p, &item, NULL, &err));
            CHECK(item == &w.visited[i]);
            if (i % 8 == 0) CHECK_OK(sw_pool_for(w.pool, 6, count_nested, &w, &err));
        }
        CHECK_INT(pthread_join(beside, &ended), 0);
        CHECK(ended == &w);
        sw_prefetch_free(p);
        sw_pool_free(w.pool);
        CHECK_INT(atomic_load(&w.most_outstanding), threads);
        CHECK_INT(atomic_load(&w.outstanding), 0);
    }
}

TEST(a_limit_holds_until_somebody_waits)
{
    enum { ITEMS = 12 };
    sw_error err = {0};
    sw_pool *pool = NULL;
    CHECK_OK(sw_pool_new(4, &pool, &err));
    for (int limit = 1; limit <= 4; limit += 3) {
        work w = {0};
        sw_prefetch *p = NULL;
        sw_pool_limit(pool, limit);
        CHECK_OK(sw_prefetch_new(pool, ITEMS, ITEMS, slow_item, NULL, &w, &p, &err));
        while (atomic_load(&w.sum) < ITEMS) usleep(1000);
        if (limit == 1) CHECK_INT(atomic_load(&w.most_outstanding), 1);
        else CHECK(atomic_load(&w.most_outstanding) > 1 && atomic_load(&w.most_outstanding) <= 4);
        sw_prefetch_free(p);
    }
    sw_pool_limit(pool, 0); /* at least 1 */
    work w = {0};
    sw_prefetch *p = NULL;
    CHECK_OK(sw_prefetch_new(pool, ITEMS, 4, slow_item, NULL, &w, &p, &err));
    for (int i = 0; i < ITEMS; i++) {
        void *item = NULL;
        CHECK_OK(sw_prefetch_next(p, &item, NULL, &err));
        CHECK(item == &w.visited[i]);
    }
    CHECK(atomic_load(&w.most_outstanding) > 1);
    sw_prefetch_free(p);
    sw_pool_free(pool);
}

static sw_status note_priority(void *ctx, int64_t index, sw_error *err)
{
    work *w = ctx;
    (void)err;
    usleep(2000); /* so that every thread gets some */
    atomic_store(&w->visited[index], getpriority(PRIO_PROCESS, 0));
    return SW_OK;
}

TEST(threads_step_back)
{
    sw_error err = {0};
    sw_pool *pool = NULL;
    work w = {0};
    int own = getpriority(PRIO_PROCESS, 0), others = 0;
    CHECK_OK(sw_pool_new(2, &pool, &err));
    sw_pool_step_back(pool, 3);
    CHECK_OK(sw_pool_for(pool, 60, note_priority, &w, &err));
    for (int i = 0; i < 60; i++) {
        long long p = atomic_load(&w.visited[i]);
        CHECK(p == own || p == (own + 3 > 19 ? 19 : own + 3));
        others += p != own;
    }
    CHECK(own == 19 || others > 0);
    CHECK_INT(getpriority(PRIO_PROCESS, 0), own);
    sw_pool_free(pool);
}

TEST(wrong_sizes_are_refused)
{
    sw_error err = {0};
    sw_pool *pool = NULL;
    sw_prefetch *p = NULL;
    CHECK_INT(sw_pool_new(-1, &pool, &err), SW_E_INVALID);
    CHECK_STR(err.message, "a pool needs at least 1 thread, not -1");
    CHECK_OK(sw_pool_new(0, &pool, &err));
    CHECK_INT(sw_pool_threads(pool), sw_cpu_count());
    CHECK_INT(sw_prefetch_new(pool, 3, 0, make_item, drop_item, NULL, &p, &err), SW_E_INVALID);
    CHECK_STR(err.message, "a prefetch needs room for at least 1 item, not 0");
    sw_pool_free(pool);
}

TEST(cpu_count_respects_affinity)
{
    cpu_set_t before, one;
    CHECK_INT(sched_getaffinity(0, sizeof(before), &before), 0);
    CHECK(sw_cpu_count() >= 1 && sw_cpu_count() <= CPU_COUNT(&before));
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &before)) {
            CPU_SET(cpu, &one);
            break;
        }
    }
    CHECK_INT(sched_setaffinity(0, sizeof(one), &one), 0);
    int count = sw_cpu_count();
    sched_setaffinity(0, sizeof(before), &before);
    CHECK_INT(count, 1);
    CHECK(sw_memory_bytes() > 1 << 20);
    CHECK(sw_memory_available_bytes() <= sw_memory_bytes());
}

typedef struct seen {
    int reports, warnings, infos;
    sw_progress last;
    char text[64];
    bool cancel;
} seen;

static void see_log(void *ctx, sw_log_level level, const char *text)
{
    seen *s = ctx;
    if (level == SW_LOG_WARNING) s->warnings++;
    else s->infos++;
    snprintf(s->text, sizeof(s->text), "%s", text);
}

static void see_progress(void *ctx, const sw_progress *p)
{
    seen *s = ctx;
    s->reports++;
    s->last = *p;
}

static bool see_cancelled(void *ctx)
{
    return ((seen *)ctx)->cancel;
}

TEST(sinks_may_be_absent_or_partial)
{
    sw_log_info(NULL, "x");
    sw_log_progress(NULL, NULL);
    CHECK(!sw_log_cancelled(NULL));
    sw_sink empty = {0};
    sw_log_warning(&empty, "x");
    CHECK(!sw_log_cancelled(&empty));
    seen s = {0};
    sw_sink sink = {.ctx = &s, .log = see_log, .progress = see_progress, .cancelled = see_cancelled};
    sw_log_info(&sink, "%d slides", 3);
    CHECK_STR(s.text, "3 slides");
    sw_log_warning(&sink, "w");
    CHECK(s.infos == 1 && s.warnings == 1);
    s.cancel = true;
    CHECK(sw_log_cancelled(&sink));
}

TEST(the_meter_measures_rate_and_time_left)
{
    seen s = {0};
    sw_sink sink = {.ctx = &s, .progress = see_progress};
    sw_meter m;
    sw_meter_start(&m, &sink, "tile", "patches", 100);
    sw_meter_tick(&m, 40, 400, NULL, NULL); /* a resumed job: 40 were there before */
    for (int i = 41; i <= 70; i++) {
        usleep(10000);
        sw_meter_tick(&m, i, 10.0 * i, "reading", "d");
    }
    CHECK(s.reports >= 2 && s.reports <= 12);
    CHECK(s.last.rate > 300 && s.last.rate < 1001); /* 10 units in 10 ms or a little more */
    CHECK(s.last.eta_s > 0 && s.last.eta_s < 2);
    CHECK_STR(s.last.limit, "reading");
    sw_meter_tick(&m, 100, 1000, "writing", NULL);
    CHECK_INT(s.last.done, 100);
    CHECK_NEAR(s.last.eta_s, 0, 0, 0);
}
