/* check.h: a small checkasm: counted checks, repeatable random numbers, memory between guard pages.
 *
 * A check program calls check_begin once, any number of checks, and ends with `return check_end();`, which prints the
 * line `N passed, N failed`. */
#ifndef BN_CHECK_H
#define BN_CHECK_H

#include <stddef.h>
#include <stdint.h>

/* Prints the seed and starts the random numbers with it. */
void check_begin(const char *program, uint64_t seed);
int check_end(void);

/* Names the case that runs now: it is printed with a failure, and with a crash. */
void check_case(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Counts one check; tells the case and `what` if it failed. Returns ok. */
int check(int ok, const char *what);

/* ---- Random numbers ---- */

uint64_t check_random(void);                    /* 64 random bits */
size_t check_below(size_t n);                   /* 0..n-1 */
float check_uniform(void);                      /* [-1, 1) */

/* ---- Guarded memory ---- */

/* Where a block lies: its first byte behind a page that faults, or its last byte before one. */
typedef enum { CHECK_AT_START, CHECK_AT_END } check_place;

typedef struct {
    uint8_t *pages;             /* readable part, between two pages that fault */
    size_t capacity;
    uint8_t *data;              /* the block handed out last */
    size_t size;
} check_guard;

/* A block of `size` bytes flush against a guard page (less only what `align` forces); it and its surroundings are
 * filled with a poison byte. Valid until the next call with the same guard. */
void *check_alloc(check_guard *guard, size_t size, size_t align, check_place place);
/* The same, filled with a copy of `from`. */
void *check_copy(check_guard *guard, const void *from, size_t size, size_t align, check_place place);
/* 1 if the surroundings of the block still hold the poison. */
int check_surroundings(const check_guard *guard);

/* ---- Comparing ---- */

/* 1 if equal bit for bit, any NaN being equal to any other. */
int check_same_floats(const float *a, const float *b, size_t n);

#endif
