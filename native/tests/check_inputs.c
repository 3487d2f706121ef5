/* check_inputs.c: the inputs every kernel must survive. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check_kernels.h"
#include "scalar/half_scalar.h"

const char *float_pattern_name(float_pattern pattern)
{
    static const char *const names[FLOATS_COUNT] = {
        [FLOATS_UNIFORM] = "uniform",   [FLOATS_ZERO] = "zero", [FLOATS_MINUS_ZERO] = "-0",
        [FLOATS_CONSTANT] = "constant", [FLOATS_OUTLIER] = "outlier", [FLOATS_SUBNORMAL] = "subnormal",
        [FLOATS_HUGE] = "huge",         [FLOATS_WIDE] = "wide", [FLOATS_TIES] = "ties",
        [FLOATS_INF] = "inf",           [FLOATS_NAN] = "nan", [FLOATS_NAN_FIRST] = "nan first",
        [FLOATS_BITS] = "bits"};
    return names[pattern];
}

static float random_wide(void)
{
    float x;
    do
        x = bn_float_from_bits((uint32_t)check_random());
    while (!isfinite(x));
    return x;
}

static float one_float(float_pattern pattern)
{
    float u = check_uniform();
    switch (pattern) {
    case FLOATS_ZERO: return 0.0f;
    case FLOATS_MINUS_ZERO: return -0.0f;
    case FLOATS_CONSTANT: return 0.7f;
    case FLOATS_OUTLIER: return u * 1e-3f;
    case FLOATS_SUBNORMAL: return u * 0x1p-127f;
    case FLOATS_HUGE: return u * 0x1.fffffep127f;
    case FLOATS_WIDE: return random_wide();
    case FLOATS_TIES: return copysignf((float)check_below(255) * 0.5f, u);
    case FLOATS_BITS: return bn_float_from_bits((uint32_t)check_random());
    default: return 4.0f * u;
    }
}

void fill_floats(float *x, size_t n, float_pattern pattern)
{
    if (n == 0)
        return;
    for (size_t i = 0; i < n; i++)
        x[i] = one_float(pattern);
    size_t few = 1 + n / 50;
    for (size_t i = 0; i < few; i++) {
        size_t at = check_below(n);
        if (pattern == FLOATS_INF)
            x[at] = check_below(2) ? INFINITY : -INFINITY;
        else if (pattern == FLOATS_NAN && at > 0)
            x[at] = bn_float_from_bits(0x7f800001 | (uint32_t)check_random());
    }
    if (pattern == FLOATS_OUTLIER)
        x[check_below(n)] = check_below(2) ? 3e8f : -3e8f;
    else if (pattern == FLOATS_TIES)
        x[check_below(n)] = 127.0f;     /* scale 1: the ties stay ties */
    else if (pattern == FLOATS_NAN_FIRST)
        x[0] = bn_float_from_bits(0x7fc00000 | (uint32_t)check_below(2) << 31);
}

const char *half_pattern_name(half_pattern pattern)
{
    static const char *const names[HALVES_COUNT] = {
        [HALVES_UNIFORM] = "uniform", [HALVES_ZERO] = "zero", [HALVES_SUBNORMAL] = "subnormal", [HALVES_MAX] = "max",
        [HALVES_BITS] = "bits"};
    return names[pattern];
}

void fill_halves(uint16_t *h, size_t n, half_pattern pattern)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t bits = (uint16_t)check_random(), sign = bits & 0x8000;
        switch (pattern) {
        case HALVES_UNIFORM: h[i] = bn_f16_from_f32(check_uniform()); break;
        case HALVES_ZERO: h[i] = sign; break;
        case HALVES_SUBNORMAL: h[i] = bits & 0x83ff; break;
        case HALVES_MAX: h[i] = sign | 0x7bff; break;
        default: h[i] = bits; break;
        }
    }
}

void fill_bytes(void *p, size_t n)
{
    uint8_t *bytes = p;
    for (size_t i = 0; i < n; i += 8) {
        uint64_t bits = check_random();
        memcpy(bytes + i, &bits, n - i < 8 ? n - i : 8);
    }
}

void *scratch_get(scratch *s, size_t size)
{
    if (size > s->capacity || !s->data) {
        free(s->data);
        s->capacity = size + 64;
        s->data = malloc(s->capacity);
        if (!s->data) {
            perror("scratch_get");
            exit(2);
        }
    }
    return s->data;
}

/* 0..80 covers one and two registers of every ISA, their tails and the 16 lanes; then real widths and primes. */
int element_count(size_t index, int quick, size_t *n)
{
    static const size_t many[] = {127, 128, 129, 255, 256, 257, 509, 640, 1009, 2560, 6912};
    static const size_t few[] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 63, 64, 65, 79, 127, 257, 640};
    if (quick) {
        if (index >= COUNT_OF(few))
            return -1;
        *n = few[index];
        return 0;
    }
    if (index <= 80) {
        *n = index;
        return 0;
    }
    if (index - 81 >= COUNT_OF(many))
        return -1;
    *n = many[index - 81];
    return 0;
}
