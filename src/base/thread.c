/* SPDX-License-Identifier: Apache-2.0 */
/* One list of open jobs under one lock. Workers take the next index of the first job that has one; the
 * newest job stands first, so that nested work is done before more of the outer work is begun. Whoever
 * waits for a job first does its unclaimed indices himself: waiting can therefore never lock up.
 * A pool of n threads has n seats, and work is done on a seat only, by its own threads and by callers alike. Whoever calls from
 * inside a task keeps the seat he has, also while he waits for the last indices of his job, which others do on theirs: nobody who
 * waits for a seat is waited for by one who has it. */
#include "base/thread.h"

#include <pthread.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "base/mem.h"

typedef struct job {
    struct job *next, *prev;
    void (*work)(struct job *job, int64_t index); /* called without the lock */
    int64_t begin; /* the next index to claim */
    int64_t limit; /* indices below it may be claimed; a failure lowers it */
    int active;    /* indices being worked on */
} job;

/* A thread at work, on its stack. */
typedef struct seat {
    struct seat *next;
    pthread_t thread;
} seat;

struct sw_pool {
    pthread_mutex_t lock;
    pthread_cond_t wake; /* for workers: there may be an index to claim */
    pthread_cond_t done; /* for waiters: an index was finished, a seat may be free */
    seat *seats;         /* those taken */
    int n_seats;         /* as many, at most `threads` */
    int standing;        /* workers that found an index and no seat */
    job jobs;            /* ring head */
    bool stopping;
    int limit;     /* threads with a number below it may work */
    int waiting;   /* callers that wait for an item: all threads may work then */
    int nice;      /* steps below the priority that a thread begins with */
    int numbered;  /* threads that have taken their number */
    int threads, started;
    pthread_t thread[];
};

int64_t sw_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* ---- jobs; all of these with the lock held */

static void list_job(sw_pool *pool, job *j)
{
    j->next = pool->jobs.next;
    j->prev = &pool->jobs;
    j->next->prev = j->prev->next = j;
    pthread_cond_broadcast(&pool->wake);
}

static void unlist_job(job *j)
{
    j->prev->next = j->next;
    j->next->prev = j->prev;
}

static job *claimable(sw_pool *pool)
{
    for (job *j = pool->jobs.next; j != &pool->jobs; j = j->next) {
        if (j->begin < j->limit) return j;
    }
    return NULL;
}

/* Whether the calling thread is inside a task. */
static bool is_seated(const sw_pool *pool)
{
    for (const seat *s = pool->seats; s; s = s->next) {
        if (pthread_equal(s->thread, pthread_self())) return true;
    }
    return false;
}

static bool may_work(const sw_pool *pool, bool seated)
{
    return seated || pool->n_seats < pool->threads;
}

static void leave_seat(sw_pool *pool, seat *mine)
{
    seat **at = &pool->seats;
    while (*at != mine) at = &(*at)->next;
    *at = mine->next;
    pool->n_seats--;
    if (pool->standing > 0) pthread_cond_broadcast(&pool->wake);
}

static void work_one(sw_pool *pool, job *j, bool seated)
{
    seat mine = {.next = pool->seats, .thread = pthread_self()};
    int64_t index = j->begin++;
    j->active++;
    if (!seated) {
        pool->seats = &mine;
        pool->n_seats++;
    }
    pthread_mutex_unlock(&pool->lock);
    j->work(j, index);
    pthread_mutex_lock(&pool->lock);
    if (!seated) leave_seat(pool, &mine);
    j->active--;
    pthread_cond_broadcast(&pool->done);
}

/* ---- the pool */

/* On Linux a thread has a priority of its own. Lowering it is always allowed; if it fails all the same, nothing is lost. */
static void step_back(int steps)
{
    (void)setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + steps);
}

static void *worker(void *arg)
{
    sw_pool *pool = arg;
    pthread_mutex_lock(&pool->lock);
    int number = pool->numbered++, nice = 0;
    for (;;) {
        if (pool->nice > nice) {
            step_back(pool->nice - nice);
            nice = pool->nice;
        }
        bool may = number < pool->limit || pool->waiting > 0;
        job *j = may ? claimable(pool) : NULL;
        if (j && may_work(pool, false)) {
            work_one(pool, j, false);
            continue;
        }
        if (!j && pool->stopping) break;
        pool->standing += j != NULL;
        pthread_cond_wait(&pool->wake, &pool->lock);
        pool->standing -= j != NULL;
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

sw_status sw_pool_new(int threads, sw_pool **out, sw_error *err)
{
    if (threads < 0) return sw_error_set(err, SW_E_INVALID, "a pool needs at least 1 thread, not %d", threads);
    if (threads == 0) threads = sw_cpu_count();
    sw_pool *pool = sw_calloc(1, sizeof(*pool) + (size_t)threads * sizeof(pthread_t));
    if (!pool) return sw_nomem(err);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pthread_cond_init(&pool->done, NULL);
    pool->jobs.next = pool->jobs.prev = &pool->jobs;
    pool->threads = pool->limit = threads;
    for (; pool->started < threads; pool->started++) {
        int reason = pthread_create(&pool->thread[pool->started], NULL, worker, pool);
        if (reason == 0) continue;
        int failed = pool->started + 1;
        sw_pool_free(pool);
        char text[128];
        return sw_error_set(err, SW_E_NOMEM, "cannot start thread %d of %d: %s; ask for fewer threads", failed, threads,
                            strerror_r(reason, text, sizeof(text)));
    }
    *out = pool;
    return SW_OK;
}

void sw_pool_free(sw_pool *pool)
{
    if (!pool) return;
    pthread_mutex_lock(&pool->lock);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    for (int i = 0; i < pool->started; i++) pthread_join(pool->thread[i], NULL);
    pthread_cond_destroy(&pool->done);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    sw_free(pool);
}

int sw_pool_threads(const sw_pool *pool)
{
    return pool ? pool->threads : 1;
}

void sw_pool_limit(sw_pool *pool, int threads)
{
    pthread_mutex_lock(&pool->lock);
    pool->limit = threads < 1 ? 1 : threads > pool->threads ? pool->threads : threads;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
}

void sw_pool_step_back(sw_pool *pool, int nice)
{
    pthread_mutex_lock(&pool->lock);
    pool->nice = nice;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
}

/* ---- parallel loop */

typedef struct loop {
    job job; /* first, so that a job is a loop */
    sw_pool *pool;
    sw_pool_fn fn;
    void *ctx;
    int64_t failed; /* lowest failing index so far; -1: none */
    sw_error error; /* of that index */
} loop;

static void loop_work(job *j, int64_t index)
{
    loop *l = (loop *)j;
    sw_error error = {0};
    sw_status code = l->fn(l->ctx, index, &error);
    if (code == SW_OK) return;
    error.code = code;
    pthread_mutex_lock(&l->pool->lock);
    if (l->failed < 0 || index < l->failed) {
        l->failed = index;
        l->error = error;
    }
    l->job.limit = l->job.begin; /* all lower indices are claimed already and will finish */
    pthread_mutex_unlock(&l->pool->lock);
}

static sw_status loop_serially(int64_t count, sw_pool_fn fn, void *ctx, sw_error *err)
{
    for (int64_t i = 0; i < count; i++) SW_TRY(fn(ctx, i, err));
    return SW_OK;
}

sw_status sw_pool_for(sw_pool *pool, int64_t count, sw_pool_fn fn, void *ctx, sw_error *err)
{
    if (!pool || count <= 1) return loop_serially(count, fn, ctx, err);
    loop l = {.job = {.work = loop_work, .limit = count}, .pool = pool, .fn = fn, .ctx = ctx, .failed = -1};
    pthread_mutex_lock(&pool->lock);
    list_job(pool, &l.job);
    bool seated = is_seated(pool);
    while (l.job.begin < l.job.limit) {
        if (may_work(pool, seated)) work_one(pool, &l.job, seated);
        else pthread_cond_wait(&pool->done, &pool->lock);
    }
    while (l.job.active > 0) pthread_cond_wait(&pool->done, &pool->lock);
    unlist_job(&l.job);
    pthread_mutex_unlock(&pool->lock);
    if (l.failed < 0) return SW_OK;
    if (err) *err = l.error;
    return l.error.code;
}

/* ---- ordered pipeline */

typedef struct slot {
    bool ready;
    sw_status status;
    void *item; /* NULL when status is not SW_OK */
    sw_error error;
} slot;

struct sw_prefetch {
    job job; /* first, so that a job is a prefetch */
    sw_pool *pool;
    sw_produce_fn produce;
    sw_discard_fn discard;
    void *ctx;
    int64_t count, taken;
    int ahead;
    bool closed; /* a producer failed */
    bool holds, held; /* what is handed out counts as in flight, and there is such an item */
    slot slot[]; /* [ahead]: index i lives in slot i % ahead */
};

static void prefetch_work(job *j, int64_t index)
{
    sw_prefetch *p = (sw_prefetch *)j;
    slot *s = &p->slot[index % p->ahead]; /* empty: the window moved here when its last item was taken */
    s->status = p->produce(p->ctx, index, &s->item, &s->error);
    if (s->status == SW_OK && !s->item) {
        s->status = sw_error_set(&s->error, SW_E_INTERNAL, "the producer of item %lld gave nothing", (long long)index);
    }
    if (s->status != SW_OK) s->item = NULL;
    pthread_mutex_lock(&p->pool->lock);
    s->ready = true;
    if (s->status != SW_OK) { /* nothing behind a failure will be handed out */
        p->closed = true;
        p->job.limit = p->job.begin;
    }
    pthread_mutex_unlock(&p->pool->lock);
}

sw_status sw_prefetch_new(sw_pool *pool, int64_t count, int ahead, sw_produce_fn produce, sw_discard_fn discard,
                          void *ctx, sw_prefetch **out, sw_error *err)
{
    if (ahead < 1) return sw_error_set(err, SW_E_INVALID, "a prefetch needs room for at least 1 item, not %d", ahead);
    sw_prefetch *p = sw_calloc(1, sizeof(*p) + (size_t)ahead * sizeof(slot));
    if (!p) return sw_nomem(err);
    p->job = (job){.work = prefetch_work, .limit = ahead < count ? ahead : count};
    p->pool = pool;
    p->produce = produce;
    p->discard = discard;
    p->ctx = ctx;
    p->count = count;
    p->ahead = ahead;
    pthread_mutex_lock(&pool->lock);
    list_job(pool, &p->job);
    pthread_mutex_unlock(&pool->lock);
    *out = p;
    return SW_OK;
}

/* Waits, with the lock held, until the slot of index `taken` is filled; makes it here when no worker
 * has begun it and a seat is free. */
static void wait_for_slot(sw_prefetch *p, const slot *s)
{
    bool seated = is_seated(p->pool);
    p->pool->waiting++;
    pthread_cond_broadcast(&p->pool->wake);
    while (!s->ready) {
        if (p->job.begin == p->taken && may_work(p->pool, seated)) work_one(p->pool, &p->job, seated);
        else pthread_cond_wait(&p->pool->done, &p->pool->lock);
    }
    p->pool->waiting--;
}

/* One more item may be begun; with the lock held. */
static void move_window(sw_prefetch *p)
{
    if (p->closed || p->job.limit >= p->count) return;
    p->job.limit++;
    pthread_cond_broadcast(&p->pool->wake); /* one alone could be a thread that may not work now */
}

void sw_prefetch_hold(sw_prefetch *p)
{
    p->holds = true;
}

void sw_prefetch_done(sw_prefetch *p)
{
    if (!p->held) return;
    p->held = false;
    pthread_mutex_lock(&p->pool->lock);
    move_window(p);
    pthread_mutex_unlock(&p->pool->lock);
}

sw_status sw_prefetch_next(sw_prefetch *p, void **item, int64_t *waited_ns, sw_error *err)
{
    *item = NULL;
    if (waited_ns) *waited_ns = 0;
    if (p->taken >= p->count) return SW_OK;
    sw_prefetch_done(p);
    slot *s = &p->slot[p->taken % p->ahead];
    pthread_mutex_lock(&p->pool->lock);
    if (!s->ready) {
        int64_t start = sw_now_ns();
        wait_for_slot(p, s);
        if (waited_ns) *waited_ns = sw_now_ns() - start;
    }
    sw_status status = s->status;
    if (status == SW_OK) {
        *item = s->item;
        *s = (slot){0};
        p->taken++;
        p->held = p->holds;
        if (!p->held) move_window(p);
    } else if (err) {
        *err = s->error; /* stays in its slot: every later call fails alike */
        err->code = status;
    }
    pthread_mutex_unlock(&p->pool->lock);
    return status;
}

void sw_prefetch_free(sw_prefetch *p)
{
    if (!p) return;
    pthread_mutex_lock(&p->pool->lock);
    p->job.limit = p->job.begin;
    while (p->job.active > 0) pthread_cond_wait(&p->pool->done, &p->pool->lock);
    unlist_job(&p->job);
    pthread_mutex_unlock(&p->pool->lock);
    for (int i = 0; i < p->ahead; i++) {
        if (p->slot[i].item && p->discard) p->discard(p->ctx, p->slot[i].item);
    }
    sw_free(p);
}
