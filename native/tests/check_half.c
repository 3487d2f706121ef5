/* check_half.c: f16 and back. Every f16, every boundary where rounding turns, both signs, every kind of NaN. */
#include <math.h>
#include <string.h>

#include "check_kernels.h"
#include "scalar/half_scalar.h"

enum { N_HALVES = 1 << 16, FIRST_INF = 0x7c00, PER_HALF = 6 };

static check_guard guard_in, guard_out;
static scratch master_in, expected_out;

/* The value of a finite f16 from its definition: (-1)^sign * fraction * 2^exponent. */
static double half_value(unsigned h)
{
    int exponent = (int)(h >> 10 & 31);
    double fraction = exponent ? 1024 + (h & 1023) : h & 1023;
    double value = ldexp(fraction, (exponent ? exponent : 1) - 25);
    return h & 0x8000 ? -value : value;
}

/* The reference against the definition, for every f16 and every boundary between two of them. */
static void check_reference(void)
{
    check_case("f16_from_f32 scalar against the definition of f16");
    int exact = 1, back = 1, ties = 1, near = 1;
    for (unsigned h = 0; h < N_HALVES; h++) {
        unsigned magnitude = h & 0x7fff, sign = h & 0x8000;
        if (magnitude > FIRST_INF)
            continue;
        float x = bn_f32_from_f16((uint16_t)h);
        if (magnitude == FIRST_INF) {
            exact &= isinf(x) && !!signbit(x) == !!sign;
        } else {
            exact &= (double)x == half_value(h) && !!signbit(x) == !!sign;
            /* Between h and the next; beyond the largest, the next of an f16 with more exponents. */
            double next = magnitude + 1 == FIRST_INF ? copysign(65536.0, sign ? -1.0 : 1.0) : half_value(h + 1);
            float middle = (float)((half_value(h) + next) / 2), up = copysignf(INFINITY, middle), down = 0.0f;
            ties &= bn_f16_from_f32(middle) == (h & 1 ? h + 1 : h);
            near &= bn_f16_from_f32(nextafterf(middle, down)) == h && bn_f16_from_f32(nextafterf(middle, up)) == h + 1;
        }
        back &= bn_f16_from_f32(x) == h;
    }
    check(exact, "f16 to f32 is exact");
    check(back, "f32 to f16 gives every f16 back");
    check(ties, "ties go to even");
    check(near, "values beside a tie go to the nearer");
    check(bn_f16_from_f32(NAN) == 0x7e00 && bn_f16_from_f32(-NAN) == 0xfe00, "NaN keeps its sign");
}

/* Around every f16: itself, the tie above it, and the floats beside both. */
static void fill_boundaries(float *x)
{
    for (unsigned h = 0; h < N_HALVES; h++, x += PER_HALF) {
        float value = bn_f32_from_f16((uint16_t)h), middle;
        if ((h & 0x7fff) >= FIRST_INF - 1)
            middle = copysignf((h & 1023) % 2 ? 65520.0f : 0x1.fffffep127f, value);
        else
            middle = (float)((half_value(h) + half_value(h + 1)) / 2);
        uint32_t v = bn_bits_from_float(value), m = bn_bits_from_float(middle);
        x[0] = value;
        x[1] = bn_float_from_bits(v + 1);
        x[2] = bn_float_from_bits(v - 1);
        x[3] = middle;
        x[4] = bn_float_from_bits(m + 1);
        x[5] = bn_float_from_bits(m - 1);
    }
}

static void check_one(const target *t, const float *x0, size_t n, check_place place)
{
    uint16_t *expected = scratch_get(&expected_out, n * sizeof *expected);
    bn_f16_from_f32__scalar(x0, n, expected);
    float *x = check_copy(&guard_in, x0, n * sizeof *x, sizeof *x, place);
    uint16_t *h = check_alloc(&guard_out, n * sizeof *h, sizeof *h, place);
    TARGET_FN(t, f16_from_f32)(x, n, h);
    check(memcmp(h, expected, n * sizeof *h) == 0, "h differs from the reference");
    check(check_surroundings(&guard_out), "wrote outside of h");
    check(memcmp(x, x0, n * sizeof *x) == 0, "changed its input");
}

static void check_f16_from_f32(const target *t)
{
    if (t->is_scalar)
        check_reference();
    size_t turn = 0, n;
    for (size_t index = 0; element_count(index, t->quick, &n) == 0; index++)
        for (int pattern = 0; pattern < FLOATS_COUNT; pattern++, turn++) {
            check_case("%s %s: n %zu, %s", t->kernel, t->isa, n, float_pattern_name((float_pattern)pattern));
            float *x0 = scratch_get(&master_in, n * sizeof *x0);
            fill_floats(x0, n, (float_pattern)pattern);
            check_one(t, x0, n, turn % 4 == 3 ? CHECK_AT_START : CHECK_AT_END);
        }
    check_case("%s %s: every boundary", t->kernel, t->isa);
    float *x0 = scratch_get(&master_in, N_HALVES * PER_HALF * sizeof *x0);
    fill_boundaries(x0);
    check_one(t, x0, N_HALVES * PER_HALF, CHECK_AT_END);
    n = t->quick ? 1 << 14 : 1 << 20;
    check_case("%s %s: %zu random floats", t->kernel, t->isa, n);
    x0 = scratch_get(&master_in, n * sizeof *x0);
    fill_floats(x0, n, FLOATS_BITS);
    check_one(t, x0, n, CHECK_AT_END);
}

const kernel_check half_checks[] = {{"f16_from_f32", check_f16_from_f32}, {NULL, NULL}};
