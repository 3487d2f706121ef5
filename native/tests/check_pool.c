/* check_pool.c: the thread pool: each piece once, barriers that hold, any number of threads, clean ends.
 *
 * The data behind the checks is deliberately not atomic: so the thread sanitizer proves that the barriers order it. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "pool.h"

enum { MAX_THREADS = 64, MAX_PIECES = 1000 };

static void sleep_ms(long ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

/* ---- Every thread exactly once, and what it wrote is seen ---- */

typedef struct {
    bn_pool *pool;
    int calls[MAX_THREADS];     /* by thread */
    int piece[MAX_PIECES];      /* how often each piece was handed out */
    int64_t n_pieces;
    int n_steps;
    int bad;                    /* written by thread 0 only */
    atomic_int errors;
} job;

static void count_calls(void *arg, int32_t thread)
{
    job *j = arg;
    j->calls[thread]++;
}

static void check_calls(bn_pool *pool, int32_t n_threads, int n_runs)
{
    job j = {.pool = pool};
    for (int run = 0; run < n_runs; run++)
        bn_pool_run(pool, count_calls, &j);
    int ok = 1;
    for (int32_t t = 0; t < MAX_THREADS; t++)
        ok &= j.calls[t] == (t < n_threads ? n_runs : 0);
    check(ok, "each thread is called once per run");
}

/* ---- Pieces: steps of varying length, each piece once, in ascending order per thread ---- */

/* Marks every piece of every step; between steps one thread checks and clears. */
static void draw_pieces(void *arg, int32_t thread)
{
    job *j = arg;
    for (int step = 0; step < j->n_steps; step++) {
        int64_t n = j->n_pieces * (step % 3) / 2;       /* 0, half, all */
        for (int64_t piece; (piece = bn_pool_next(j->pool, thread, n)) >= 0;) {
            if (piece < n)
                j->piece[piece]++;
            else
                atomic_fetch_add(&j->errors, 1);
        }
        if (bn_pool_next(j->pool, thread, n) != -1)
            atomic_fetch_add(&j->errors, 1);
        bn_pool_barrier(j->pool);
        if (thread == 0) {
            for (int64_t i = 0; i < MAX_PIECES; i++)
                j->bad += j->piece[i] != (i < n);
            memset(j->piece, 0, sizeof j->piece);
        }
        bn_pool_barrier(j->pool);
    }
}

/* One step without a barrier at its end: the end of the run must begin the count anew. */
static void draw_once(void *arg, int32_t thread)
{
    job *j = arg;
    for (int64_t piece; (piece = bn_pool_next(j->pool, thread, j->n_pieces)) >= 0;)
        j->piece[piece]++;
}

static void check_pieces(bn_pool *pool, int n_steps)
{
    static const int64_t counts[] = {0, 1, 2, 3, 7, 64, 1000};
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        job j = {.pool = pool, .n_pieces = counts[c], .n_steps = n_steps};
        bn_pool_run(pool, draw_pieces, &j);
        check(atomic_load(&j.errors) == 0, "pieces stay in range and end with -1");
        check(j.bad == 0, "each piece of each step is handed out once");
        for (int run = 0; run < 3; run++)
            bn_pool_run(pool, draw_once, &j);
        int ok = 1;
        for (int64_t i = 0; i < MAX_PIECES; i++)
            ok &= j.piece[i] == (i < counts[c] ? 3 : 0);
        check(ok, "each run begins with piece 0");
    }
}

/* A step that is left before its pieces are drawn does not leak into the next. */
static void leave_early(void *arg, int32_t thread)
{
    job *j = arg;
    bn_pool_next(j->pool, thread, 100);
    bn_pool_barrier(j->pool);
    draw_once(j, thread);
}

static void check_left_step(bn_pool *pool)
{
    job j = {.pool = pool, .n_pieces = 10};
    bn_pool_run(pool, leave_early, &j);
    int ok = 1;
    for (int64_t i = 0; i < 10; i++)
        ok &= j.piece[i] == 1;
    check(ok, "a barrier ends a step whose pieces were not all drawn");
}

/* ---- Alone at the barrier: once per step, after everybody's pieces and before anybody's next ---- */

typedef struct {
    job *job;
    int32_t thread;
} lonely;

/* Two steps of one thread: each draws all pieces, the first of them after the others drew theirs. */
static void draw_alone(void *arg)
{
    const lonely *me = arg;
    job *j = me->job;
    for (int64_t i = 0; i < j->n_pieces; i++)
        j->bad += j->piece[i] != 1;
    draw_once(j, me->thread);
    bn_pool_next_step(j->pool);
    draw_once(j, me->thread);
    for (int64_t i = 0; i < j->n_pieces; i++)
        j->bad += j->piece[i] != 3;
    memset(j->piece, 0, sizeof j->piece);
}

static void draw_and_leave_one(void *arg, int32_t thread)
{
    job *j = arg;
    lonely me = {j, thread};
    for (int step = 0; step < j->n_steps; step++) {
        draw_once(j, thread);
        bn_pool_barrier_alone(j->pool, draw_alone, &me);
    }
}

static void check_alone(bn_pool *pool, int n_steps)
{
    job j = {.pool = pool, .n_pieces = 7, .n_steps = n_steps};
    bn_pool_run(pool, draw_and_leave_one, &j);
    int left = 0;
    for (int64_t i = 0; i < MAX_PIECES; i++)
        left += j.piece[i];
    check(j.bad == 0 && left == 0, "one thread plays alone between the steps, with all pieces");
}

/* ---- Barriers: a ring where each step reads what the neighbour wrote in the step before ---- */

typedef struct {
    bn_pool *pool;
    int n_steps, lame;          /* lame: a thread that sleeps now and then, so that others park; -1 for none */
    int value[2][MAX_THREADS];
    int bad[MAX_THREADS];
} ring;

static void go_round(void *arg, int32_t thread)
{
    ring *r = arg;
    int32_t n = bn_pool_n_threads(r->pool);
    r->value[0][thread] = thread;
    bn_pool_barrier(r->pool);
    for (int step = 0; step < r->n_steps; step++) {
        int from = r->value[step % 2][(thread + 1) % n];
        r->bad[thread] += from != (thread + 1 + step) % n;
        r->value[(step + 1) % 2][thread] = from;
        if (thread == r->lame && step % 16 == 0)
            sleep_ms(1);
        bn_pool_barrier(r->pool);
    }
}

static void check_ring(bn_pool *pool, int n_steps, int lame)
{
    ring r = {.pool = pool, .n_steps = n_steps, .lame = lame};
    bn_pool_run(pool, go_round, &r);
    int bad = 0;
    for (int t = 0; t < MAX_THREADS; t++)
        bad += r.bad[t];
    check(bad == 0, "after a barrier every thread sees what all wrote before it");
}

/* ---- Create and free ---- */

static void check_lifetimes(int n_cycles)
{
    for (int cycle = 0; cycle < n_cycles; cycle++) {
        int32_t n_threads = 1 + cycle % 9;
        check_case("create and free, cycle %d, %d threads", cycle, (int)n_threads);
        bn_pool *pool = NULL;
        if (!check(bn_pool_create(n_threads, &pool) == BN_OK && pool, "create"))
            return;
        check(bn_pool_n_threads(pool) == n_threads, "the number of threads");
        if (cycle % 3 != 0)             /* some pools are freed before their first run */
            check_calls(pool, n_threads, 1 + cycle % 2);
        if (cycle % 16 == 1)
            sleep_ms(5);                /* freed while all workers are parked */
        bn_pool_free(pool);
    }
    check_case("arguments");
    bn_pool *pool;
    check(bn_pool_create(0, &pool) == BN_ERR_ARG, "0 threads");
    check(bn_pool_create(-1, &pool) == BN_ERR_ARG, "-1 threads");
    check(bn_pool_create(1, NULL) == BN_ERR_ARG, "no result");
    bn_pool_free(NULL);
}

#if defined(__SANITIZE_THREAD__)
#define CHECK_NO_FORK
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CHECK_NO_FORK
#endif
#endif

/* A child that inherited a pool may free it: neither crash nor hang. */
static void check_fork(bn_pool *pool)
{
#if defined(CHECK_NO_FORK)
    (void)pool;                         /* the thread sanitizer does not follow a fork with threads */
#else
    pid_t child = fork();
    if (child == 0) {
        alarm(20);
        bn_pool_free(pool);
        _exit(0);
    }
    int status = -1;
    check(child > 0 && waitpid(child, &status, 0) == child && status == 0, "a forked child frees its copy");
#endif
}

int main(int argc, char **argv)
{
    int quick = 0;
    uint64_t seed = 1;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--quick") == 0)
            quick = 1;
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            seed = strtoull(argv[++i], NULL, 10);
        else
            return 2;
    }
    check_begin("check_pool", seed);
    static const int32_t counts[] = {1, 2, 3, 4, 7, 16, MAX_THREADS};
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        int32_t n = counts[c];
        int many = n > 8 || quick;      /* far more threads than cores: every barrier is a round of the scheduler */
        check_case("%d threads", (int)n);
        bn_pool *pool = NULL;
        if (!check(bn_pool_create(n, &pool) == BN_OK, "create"))
            break;
        check_calls(pool, n, many ? 50 : 2000);
        check_pieces(pool, many ? 9 : 90);
        check_left_step(pool);
        check_alone(pool, many ? 9 : 90);
        check_ring(pool, many ? 100 : 3000, -1);
        check_ring(pool, many ? 33 : 200, n - 1);
        sleep_ms(20);                   /* all workers have parked by now */
        check_calls(pool, n, 3);
        check_fork(pool);
        check_calls(pool, n, 3);
        bn_pool_free(pool);
    }
    check_lifetimes(quick ? 60 : 400);
    return check_end();
}
