/* pool.c: a thread pool on pthreads, made for runs of many short steps with a barrier after each.
 *
 * A run, a barrier and the end of a run are the same event: `phase` moves on by one. Whoever waits for it spins first,
 * because the next step is usually microseconds away, and then sleeps, because it may be seconds away, or the awaited
 * thread may need this very core. Spinning must last longer than waking a sleeper takes: otherwise one sleep makes the
 * others sleep at the next barrier, and so on for ever. With more threads than CPUs the awaited thread is probably
 * waiting for this one to leave: then it yields instead of spinning.
 *
 * Every thread has a run of the pieces of its own, so that it walks through memory in one line, and takes from the runs of
 * others when its own is done. The counters lie on cache lines of their own: pieces are drawn while others spin on the
 * phase. */
#include "pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "os.h"

enum {
    CACHE_LINE = 128,           /* 64 almost everywhere; pairs of lines are prefetched on x86, and Apple has 128 */
    SPINS = 2048,               /* 5 to 100 microseconds, by the CPU's idea of a pause: longer than a wake-up */
    YIELDS = 8,                 /* each lets another thread of this CPU run */
    PATIENCE = 4,               /* spins in vain, one after the other, before spinning is given up */
    RETRY = 256                 /* waits until it is tried again */
};

typedef struct {
    bn_pool *pool;
    int32_t thread;
    pthread_t handle;
} worker;

/* How many pieces of a thread's run are handed out. */
typedef struct {
    _Atomic int64_t taken;
    char pad[CACHE_LINE - sizeof(_Atomic int64_t)];
} run_counter;

struct bn_pool {
    int32_t n_threads;
    int crowded;                /* more threads than CPUs */
    pid_t owner;                /* the process whose threads the workers are */
    worker *workers;            /* n_threads - 1 */
    run_counter *runs;          /* n_threads */
    pthread_mutex_t mutex;      /* of the sleepers */
    pthread_cond_t moved;       /* phase has moved on */
    void (*fn)(void *arg, int32_t thread);      /* NULL: workers leave. Written between runs, published by phase */
    void *arg;

    char pad0[CACHE_LINE];
    atomic_uint phase;
    atomic_uint sleepers;       /* threads that hold or wait for `moved` */
    atomic_uint in_vain;        /* waits since spinning last helped; lost updates only make it another guess */
    char pad1[CACHE_LINE];
    atomic_int arrived;         /* threads that stand at the current barrier */
    char pad2[CACHE_LINE];
};

/* Tells the core that this is a spin loop: saves power and leaves the units to a hyper-thread. */
static inline void spin_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");       /* `yield` does nothing on most cores */
#else
    atomic_signal_fence(memory_order_seq_cst);
#endif
}

/* Does spinning pay? Not if the awaited thread is kept from running, by others or by this very one. */
static int spins_now(bn_pool *pool)
{
    unsigned in_vain = atomic_load_explicit(&pool->in_vain, memory_order_relaxed);
    return !pool->crowded && (in_vain < PATIENCE || in_vain % RETRY == 0);
}

/* Waits awake while the phase is `old`. Returns 1 once it has moved; acquire pairs with the exchange in move_on. */
static int wait_awake(bn_pool *pool, unsigned old)
{
    if (spins_now(pool)) {
        for (int i = 0; i < SPINS; i++) {
            if (atomic_load_explicit(&pool->phase, memory_order_acquire) != old) {
                if (atomic_load_explicit(&pool->in_vain, memory_order_relaxed) != 0)
                    atomic_store_explicit(&pool->in_vain, 0, memory_order_relaxed);
                return 1;
            }
            spin_pause();
        }
    }
    atomic_fetch_add_explicit(&pool->in_vain, 1, memory_order_relaxed);
    for (int i = 0; i < (pool->crowded ? 8 * YIELDS : YIELDS); i++) {
        if (atomic_load_explicit(&pool->phase, memory_order_acquire) != old)
            return 1;
        sched_yield();
    }
    return 0;
}

/* Sleeps while the phase is `old`. The sleeper writes `sleepers` and then reads `phase`; move_on writes `phase` and then
 * reads `sleepers`. All four are sequentially consistent, so at least one of the two sees the other. Both writes are
 * read-modify-writes: QEMU runs AArch64's plain stlr before ldar on x86 without the fence in between that they need. */
static void park(bn_pool *pool, unsigned old)
{
    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add_explicit(&pool->sleepers, 1, memory_order_seq_cst);
    while (atomic_load_explicit(&pool->phase, memory_order_seq_cst) == old)
        pthread_cond_wait(&pool->moved, &pool->mutex);
    atomic_fetch_sub_explicit(&pool->sleepers, 1, memory_order_relaxed);
    pthread_mutex_unlock(&pool->mutex);
}

/* No piece is taken. */
static void renew(bn_pool *pool)
{
    for (int32_t thread = 0; thread < pool->n_threads; thread++)
        atomic_store_explicit(&pool->runs[thread].taken, 0, memory_order_relaxed);
}

/* Begins the next step: everybody who waits goes on. */
static void move_on(bn_pool *pool, unsigned phase)
{
    renew(pool);
    atomic_exchange_explicit(&pool->phase, phase, memory_order_seq_cst);
    if (atomic_load_explicit(&pool->sleepers, memory_order_seq_cst) > 0) {
        pthread_mutex_lock(&pool->mutex);       /* a sleeper is now either waiting or has yet to look at the phase */
        pthread_cond_broadcast(&pool->moved);
        pthread_mutex_unlock(&pool->mutex);
    }
}

/* The barrier; returns the phase that begins. The last to arrive calls `alone` first, unless it is NULL: what the others
 * did before they arrived, it sees (acquire), and what it does they see once the phase has moved. The phase can be read
 * without order: it cannot move before this thread has arrived, and the release half of the addition keeps the load
 * before it. */
static unsigned arrive(bn_pool *pool, void (*alone)(void *arg), void *arg)
{
    unsigned old = atomic_load_explicit(&pool->phase, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&pool->arrived, 1, memory_order_acq_rel) + 1 == pool->n_threads) {
        atomic_store_explicit(&pool->arrived, 0, memory_order_relaxed);
        if (alone) {
            renew(pool);
            alone(arg);
        }
        move_on(pool, old + 1);
        return old + 1;
    }
    if (!wait_awake(pool, old))
        park(pool, old);
    return old + 1;
}

static void *worker_main(void *arg)
{
    worker *self = arg;
    bn_pool *pool = self->pool;
    for (unsigned phase = 0;; phase = arrive(pool, NULL, NULL)) {
        if (!wait_awake(pool, phase))
            park(pool, phase);
        if (!pool->fn)
            return NULL;
        pool->fn(pool->arg, self->thread);
    }
}

/* Starts a worker that no signal of the process is delivered to: they are the program's, not the library's. */
static int worker_start(worker *self)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&self->handle, NULL, worker_main, self);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

/* Sends n_workers workers home and frees everything. */
static void stop(bn_pool *pool, int32_t n_workers)
{
    if (n_workers > 0) {
        pool->fn = NULL;
        move_on(pool, atomic_load_explicit(&pool->phase, memory_order_relaxed) + 1);
        for (int32_t i = 0; i < n_workers; i++)
            pthread_join(pool->workers[i].handle, NULL);
    }
    pthread_cond_destroy(&pool->moved);
    pthread_mutex_destroy(&pool->mutex);
    free(pool->workers);
    free(pool->runs);
    free(pool);
}

bn_status bn_pool_create(int32_t n_threads, bn_pool **out)
{
    if (!out || n_threads < 1)
        return BN_ERR_ARG;
    *out = NULL;
    bn_pool *pool = calloc(1, sizeof *pool);
    worker *workers = calloc((size_t)n_threads, sizeof *workers);
    run_counter *runs = calloc((size_t)n_threads, sizeof *runs);
    int n_made = 0;
    if (pool && workers && runs && pthread_mutex_init(&pool->mutex, NULL) == 0)
        n_made = 1 + (pthread_cond_init(&pool->moved, NULL) == 0);
    if (n_made < 2) {
        if (n_made == 1)
            pthread_mutex_destroy(&pool->mutex);
        free(workers);
        free(runs);
        free(pool);
        return BN_ERR_NOMEM;
    }
    pool->n_threads = n_threads;
    pool->crowded = n_threads > bn_os_cpus();
    pool->owner = getpid();
    pool->workers = workers;
    pool->runs = runs;
    atomic_init(&pool->phase, 0);
    atomic_init(&pool->sleepers, 0);
    atomic_init(&pool->in_vain, 0);
    atomic_init(&pool->arrived, 0);
    for (int32_t i = 0; i < n_threads - 1; i++) {
        workers[i].pool = pool;
        workers[i].thread = i + 1;
        if (worker_start(&workers[i]) != 0) {
            stop(pool, i);
            return BN_ERR_THREAD;
        }
    }
    *out = pool;
    return BN_OK;
}

void bn_pool_free(bn_pool *pool)
{
    if (!pool)
        return;
    if (pool->owner == getpid()) {
        stop(pool, pool->n_threads - 1);
    } else {                    /* a forked child: the workers stayed behind, and may have held the mutex */
        free(pool->workers);
        free(pool->runs);
        free(pool);
    }
}

int32_t bn_pool_n_threads(const bn_pool *pool)
{
    return pool->n_threads;
}

int bn_pool_is_alive(const bn_pool *pool)
{
    return pool->n_threads == 1 || pool->owner == getpid();
}

void bn_pool_run(bn_pool *pool, void (*fn)(void *arg, int32_t thread), void *arg)
{
    if (pool->n_threads > 1) {
        pool->fn = fn;
        pool->arg = arg;
        move_on(pool, atomic_load_explicit(&pool->phase, memory_order_relaxed) + 1);
    }
    fn(arg, 0);
    bn_pool_barrier(pool);
}

void bn_pool_barrier(bn_pool *pool)
{
    bn_pool_barrier_alone(pool, NULL, NULL);
}

void bn_pool_barrier_alone(bn_pool *pool, void (*alone)(void *arg), void *arg)
{
    if (pool->n_threads > 1) {
        arrive(pool, alone, arg);
        return;
    }
    renew(pool);
    if (alone)
        alone(arg);
    renew(pool);
}

void bn_pool_next_step(bn_pool *pool)
{
    renew(pool);
}

/* The next piece of `owner`'s run of the n pieces, or -1. Relaxed: a piece carries no data; the barriers around the step
 * order what the pieces touch. A look before the addition keeps done runs from being written to. */
static int64_t take(bn_pool *pool, int64_t owner, int64_t n)
{
    _Atomic int64_t *taken = &pool->runs[owner].taken;
    int64_t first = owner * n / pool->n_threads, end = (owner + 1) * n / pool->n_threads;
    int64_t piece = first + atomic_load_explicit(taken, memory_order_relaxed);
    if (piece >= end)
        return -1;
    if (pool->n_threads > 1)
        piece = first + atomic_fetch_add_explicit(taken, 1, memory_order_relaxed);
    else
        atomic_store_explicit(taken, piece + 1, memory_order_relaxed);
    return piece < end ? piece : -1;
}

int64_t bn_pool_next(bn_pool *pool, int32_t thread, int64_t n)
{
    int64_t piece = take(pool, thread, n);
    for (int32_t i = 1; piece < 0 && i < pool->n_threads; i++)
        piece = take(pool, (thread + i) % pool->n_threads, n);
    return piece;
}
