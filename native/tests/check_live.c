/* check_live.c: finding what is not skipped: the same indices as the reference. */
#include <math.h>
#include <string.h>

#include "check_kernels.h"

static check_guard guard_x, guard_index;
static scratch master_x, expected_index;

enum { SLACK = 16 };

/* x is random with about `live` of 8 values to be found, among them what is easily mistaken: NaN, -0, infinities. */
static void fill_gates(float *x, size_t n, size_t live)
{
    static const float odd[] = {NAN, -0.0f, 0.0f, INFINITY, -INFINITY, 1e-45f, -1e-45f};
    for (size_t i = 0; i < n; i++) {
        float size = 1.0f + check_uniform();
        x[i] = check_below(8) < live ? size : -size;
        if (check_below(16) == 0)
            x[i] = odd[check_below(COUNT_OF(odd))];
    }
}

static void check_one(const target *t, size_t n, size_t live, int floats, check_place place)
{
    check_case("%s %s: %zu values, %zu of 8 live, place %d", t->kernel, t->isa, n, live, (int)place);
    size_t bytes = n * (floats ? sizeof(float) : 1), index_bytes = (n + SLACK) * sizeof(uint32_t);
    void *x0 = scratch_get(&master_x, bytes);
    uint32_t *expected = scratch_get(&expected_index, index_bytes);
    if (floats)
        fill_gates(x0, n, live);
    else
        for (size_t i = 0; i < n; i++)
            ((int8_t *)x0)[i] = (int8_t)(check_below(8) < live ? (int)check_below(256) - 128 : 0);
    size_t count = floats ? bn_live_f32__scalar(x0, n, 1000, expected) : bn_live_i8__scalar(x0, n, 1000, expected);
    void *x = check_copy(&guard_x, x0, bytes, floats ? sizeof(float) : 1, place);
    uint32_t *index = check_alloc(&guard_index, index_bytes, sizeof *index, place);
    size_t found = floats ? TARGET_FN(t, live_f32)(x, n, 1000, index) : TARGET_FN(t, live_i8)(x, n, 1000, index);
    check(found == count && memcmp(index, expected, count * sizeof *index) == 0, "found something else");
    check(check_surroundings(&guard_index), "wrote outside of the index and its slack");
}

static void check_sizes(const target *t, int floats)
{
    static const size_t sizes[] = {0, 1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 512, 1000};
    static const size_t lives[] = {0, 1, 3, 4, 8};
    size_t turn = 0;
    for (size_t i = 0; i < COUNT_OF(sizes); i++)
        for (size_t j = 0; j < COUNT_OF(lives); j++)
            for (int repeat = 0; repeat < 4; repeat++)
                check_one(t, sizes[i], lives[j], floats, turn++ % 4 == 3 ? CHECK_AT_START : CHECK_AT_END);
}

static void check_live_f32(const target *t)
{
    check_sizes(t, 1);
}

static void check_live_i8(const target *t)
{
    check_sizes(t, 0);
}

const kernel_check live_checks[] = {{"live_f32", check_live_f32}, {"live_i8", check_live_i8}, {NULL, NULL}};
