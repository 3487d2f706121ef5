/* check.c: the framework behind the check programs. */
#define _GNU_SOURCE
#include "check.h"

#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { POISON = 0xa5, SURROUNDINGS = 512, MAX_PRINTED = 30 };

static struct {
    const char *program;
    uint64_t seed, state;
    long passed, failed;
    char text[256];             /* the running case */
} now;

/* A kernel that leaves its block dies here: says where before it does. Only async-signal-safe calls. */
static void on_crash(int number)
{
    static const char head[] = "crashed in ";
    ssize_t ignored = write(2, head, sizeof head - 1);
    ignored = write(2, now.text, strlen(now.text));
    ignored = write(2, "\n", 1);
    (void)ignored;
    signal(number, SIG_DFL);
    raise(number);
}

void check_begin(const char *program, uint64_t seed)
{
    now.program = program;
    now.seed = now.state = seed;
    printf("%s: seed %" PRIu64 "\n", program, seed);
    fflush(stdout);
    signal(SIGSEGV, on_crash);
    signal(SIGBUS, on_crash);
    signal(SIGILL, on_crash);
    signal(SIGABRT, on_crash);
}

int check_end(void)
{
    if (now.failed > MAX_PRINTED)
        printf("  %ld more failures not shown\n", now.failed - MAX_PRINTED);
    if (now.failed > 0)
        printf("repeat with: %s --seed %" PRIu64 "\n", now.program, now.seed);
    printf("%ld passed, %ld failed\n", now.passed, now.failed);
    return now.failed > 0 || now.passed == 0;
}

void check_case(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(now.text, sizeof now.text, format, args);
    va_end(args);
}

int check(int ok, const char *what)
{
    if (ok) {
        now.passed++;
    } else if (now.failed++ < MAX_PRINTED) {
        printf("  FAILED %s: %s\n", now.text, what);
        fflush(stdout);
    }
    return ok;
}

/* splitmix64 */
uint64_t check_random(void)
{
    uint64_t z = now.state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

size_t check_below(size_t n)
{
    return (size_t)(check_random() % n);
}

float check_uniform(void)
{
    return (float)((int32_t)(check_random() >> 40) - (1 << 23)) * 0x1p-23f;
}

void *check_alloc(check_guard *guard, size_t size, size_t align, check_place place)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), need = (size + SURROUNDINGS + page - 1) / page * page;
    if (need > guard->capacity) {
        if (guard->pages)
            munmap(guard->pages - page, guard->capacity + 2 * page);
        uint8_t *mapped = mmap(NULL, need + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (mapped == MAP_FAILED || mprotect(mapped + page, need, PROT_READ | PROT_WRITE) != 0) {
            perror("check_alloc");
            exit(2);
        }
        guard->pages = mapped + page;
        guard->capacity = need;
    }
    size_t offset = place == CHECK_AT_START ? 0 : (guard->capacity - size) / align * align;
    guard->data = guard->pages + offset;
    guard->size = size;
    size_t before = offset < SURROUNDINGS ? offset : SURROUNDINGS, after = guard->capacity - offset - size;
    after = after < SURROUNDINGS ? after : SURROUNDINGS;
    memset(guard->data - before, POISON, before + size + after);
    return guard->data;
}

void *check_copy(check_guard *guard, const void *from, size_t size, size_t align, check_place place)
{
    void *data = check_alloc(guard, size, align, place);
    if (size > 0)
        memcpy(data, from, size);
    return data;
}

static int all_poison(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != POISON)
            return 0;
    return 1;
}

int check_surroundings(const check_guard *guard)
{
    size_t offset = (size_t)(guard->data - guard->pages), after = guard->capacity - offset - guard->size;
    size_t before = offset < SURROUNDINGS ? offset : SURROUNDINGS;
    after = after < SURROUNDINGS ? after : SURROUNDINGS;
    return all_poison(guard->data - before, before) && all_poison(guard->data + guard->size, after);
}

int check_same_floats(const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(&a[i], &b[i], sizeof a[i]) != 0 && (a[i] == a[i] || b[i] == b[i]))
            return 0;
    return 1;
}
