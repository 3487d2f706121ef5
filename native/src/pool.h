/* pool.h: threads that run one function together. Knows nothing of matrices.
 *
 * One caller at a time uses a pool; the caller is thread 0 of every run. After fork() the child may only free it. */
#ifndef BN_POOL_H
#define BN_POOL_H

#include <stdint.h>

#include "bitnet.h"

typedef struct bn_pool bn_pool;

/* Starts n_threads - 1 workers; n_threads >= 1. */
bn_status bn_pool_create(int32_t n_threads, bn_pool **out);
void bn_pool_free(bn_pool *pool);           /* stops and joins the workers; NULL is allowed */
int32_t bn_pool_n_threads(const bn_pool *pool);

/* Are its threads here? Not in a forked child, where they stayed behind; a pool of one thread works there too. */
int bn_pool_is_alive(const bn_pool *pool);

/* Every thread calls fn(arg, thread) once; returns when all have. What the caller wrote before, fn sees; what fn wrote,
 * the caller sees after. fn must not start another run. */
void bn_pool_run(bn_pool *pool, void (*fn)(void *arg, int32_t thread), void *arg);

/* Inside fn: waits until every thread of the run has arrived. What any thread wrote before it, every thread sees after.
 * All threads must pass the same number of barriers. A run begins and ends with an implied one. */
void bn_pool_barrier(bn_pool *pool);

/* The same, but the last thread to arrive calls alone(arg), with its own arg, while the others still wait: what is too
 * little to share costs no barrier of its own. It is a step of its own; bn_pool_next_step begins another one within it. */
void bn_pool_barrier_alone(bn_pool *pool, void (*alone)(void *arg), void *arg);
void bn_pool_next_step(bn_pool *pool);

/* Inside fn: a piece of the step, 0..n-1, each handed out exactly once to whichever thread asks; -1 when none is left. A
 * thread gets consecutive pieces as long as it can, then what others have left. n <= 2^54. A step is what lies between two
 * barriers: each barrier begins anew. Within a step all threads must ask with the same n. */
int64_t bn_pool_next(bn_pool *pool, int32_t thread, int64_t n);

#endif
