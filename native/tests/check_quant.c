/* check_quant.c: the way in and out of the integers: RMSNorm, quantisation, descaling. */
#include <string.h>

#include "check_kernels.h"

static check_guard guard_x, guard_w, guard_y;
static scratch master_x, master_w, expected_y;

static check_place place_of(size_t turn)
{
    return turn % 4 == 3 ? CHECK_AT_START : CHECK_AT_END;
}

static void check_one_rmsnorm(const target *t, size_t n, float_pattern pattern, float eps, int in_place,
                              check_place place)
{
    check_case("%s %s: n %zu, %s, eps %g, in place %d, place %d", t->kernel, t->isa, n, float_pattern_name(pattern),
               (double)eps, in_place, (int)place);
    size_t bytes = n * sizeof(float);
    float *x0 = scratch_get(&master_x, bytes), *w0 = scratch_get(&master_w, bytes);
    float *expected = scratch_get(&expected_y, bytes);
    fill_floats(x0, n, pattern);
    fill_floats(w0, n, check_below(8) ? FLOATS_UNIFORM : FLOATS_BITS);
    bn_rmsnorm_f32__scalar(x0, w0, n, eps, expected);

    float *x = check_copy(&guard_x, x0, bytes, sizeof *x, place);
    float *w = check_copy(&guard_w, w0, bytes, sizeof *w, place);
    float *y = in_place ? x : check_alloc(&guard_y, bytes, sizeof *y, place);
    TARGET_FN(t, rmsnorm_f32)(x, w, n, eps, y);
    check(check_same_floats(y, expected, n), "y differs from the reference");
    check(check_surroundings(in_place ? &guard_x : &guard_y), "wrote outside of y");
    check(memcmp(w, w0, bytes) == 0 && (in_place || memcmp(x, x0, bytes) == 0), "changed its inputs");
}

static void check_rmsnorm(const target *t)
{
    size_t turn = 0, n;
    for (size_t index = 1; element_count(index, t->quick, &n) == 0; index++)
        for (int pattern = 0; pattern < FLOATS_COUNT; pattern++, turn++)
            check_one_rmsnorm(t, n, (float_pattern)pattern, turn % 5 ? 1e-5f : 0.0f, turn % 3 == 2, place_of(turn));
}

static void check_one_quant(const target *t, size_t n, float_pattern pattern, check_place place)
{
    check_case("%s %s: n %zu, %s, place %d", t->kernel, t->isa, n, float_pattern_name(pattern), (int)place);
    float *x0 = scratch_get(&master_x, n * sizeof(float));
    int8_t *expected = scratch_get(&expected_y, n);
    fill_floats(x0, n, pattern);
    float scale0;
    int32_t sum0;
    bn_quant_i8__scalar(x0, n, expected, &scale0, &sum0);

    struct { float scale; int32_t sum; } *results = check_alloc(&guard_w, sizeof *results, sizeof(float), place);
    float *x = check_copy(&guard_x, x0, n * sizeof *x, sizeof *x, place);
    int8_t *q = check_alloc(&guard_y, n, 1, place);
    TARGET_FN(t, quant_i8)(x, n, q, &results->scale, &results->sum);
    check(memcmp(q, expected, n) == 0, "q differs from the reference");
    check(check_same_floats(&results->scale, &scale0, 1), "the scale differs from the reference");
    check(results->sum == sum0, "the sum differs from the reference");
    check(check_surroundings(&guard_y) && check_surroundings(&guard_w), "wrote outside of its outputs");
    check(memcmp(x, x0, n * sizeof *x) == 0, "changed its input");
}

static void check_quant(const target *t)
{
    size_t turn = 0, n;
    for (size_t index = 0; element_count(index, t->quick, &n) == 0; index++)
        for (int pattern = 0; pattern < FLOATS_COUNT; pattern++)
            check_one_quant(t, n, (float_pattern)pattern, place_of(turn++));
}

static void check_one_descale(const target *t, size_t n, float s, float scale, int add, check_place place)
{
    check_case("%s %s: n %zu, s %g, scale %g, add %d, place %d", t->kernel, t->isa, n, (double)s, (double)scale, add,
               (int)place);
    int32_t *sums0 = scratch_get(&master_x, n * sizeof(int32_t));
    float *y0 = scratch_get(&master_w, n * sizeof(float)), *expected = scratch_get(&expected_y, n * sizeof(float));
    /* As large as 2^22 cols make them, so that not every sum is a float. */
    for (size_t i = 0; i < n; i++)
        sums0[i] = (int32_t)check_below(1u << 31) - (1 << 30);
    int32_t q_sum = (int32_t)check_below(1u << 30) - (1 << 29);
    if (check_below(4) == 0)
        for (size_t i = 0; i < n; i++)
            sums0[i] = q_sum;           /* +0, or -0 by a negative scale */
    fill_floats(y0, n, (float_pattern)check_below(FLOATS_COUNT));
    memcpy(expected, y0, n * sizeof *expected);
    bn_descale_f32__scalar(sums0, n, q_sum, s, scale, add, expected);

    int32_t *sums = check_copy(&guard_x, sums0, n * sizeof *sums, sizeof *sums, place);
    float *y = check_copy(&guard_y, y0, n * sizeof *y, sizeof *y, place);
    TARGET_FN(t, descale_f32)(sums, n, q_sum, s, scale, add, y);
    check(check_same_floats(y, expected, n), "y differs from the reference");
    check(check_surroundings(&guard_y), "wrote outside of y");
    check(memcmp(sums, sums0, n * sizeof *sums) == 0, "changed its input");
}

static void check_descale(const target *t)
{
    static const float s[] = {63.5f, 1.0f, 127.0f / 1e-5f, 1e-37f, 0.0f};
    static const float scales[] = {0.8125f, -1.9f, 0.0f, 1e30f, 1e-40f};
    size_t turn = 0, n;
    for (size_t index = 0; element_count(index, t->quick, &n) == 0; index++)
        for (size_t i = 0; i < COUNT_OF(s); i++)
            for (size_t j = 0; j < COUNT_OF(scales); j++, turn++)
                check_one_descale(t, n, s[i], scales[j], turn % 2, place_of(turn));
}

static void check_one_descale_rows(const target *t, size_t n, float s, float_pattern pattern, int add,
                                   check_place place)
{
    check_case("%s %s: n %zu, s %g, scales %s, add %d, place %d", t->kernel, t->isa, n, (double)s,
               float_pattern_name(pattern), add, (int)place);
    static scratch master_scales;
    int32_t *sums0 = scratch_get(&master_x, n * sizeof(int32_t));
    float *scales0 = scratch_get(&master_scales, n * sizeof(float));
    float *y0 = scratch_get(&master_w, n * sizeof(float)), *expected = scratch_get(&expected_y, n * sizeof(float));
    for (size_t i = 0; i < n; i++)
        sums0[i] = (int32_t)check_below(1u << 31) - (1 << 30);
    int32_t q_sum = (int32_t)check_below(1u << 30) - (1 << 29);
    fill_floats(scales0, n, pattern);
    fill_floats(y0, n, (float_pattern)check_below(FLOATS_COUNT));
    memcpy(expected, y0, n * sizeof *expected);
    bn_descale_rows_f32__scalar(sums0, n, q_sum, s, scales0, add, expected);

    int32_t *sums = check_copy(&guard_x, sums0, n * sizeof *sums, sizeof *sums, place);
    float *scales = check_copy(&guard_w, scales0, n * sizeof *scales, sizeof *scales, place);
    float *y = check_copy(&guard_y, y0, n * sizeof *y, sizeof *y, place);
    TARGET_FN(t, descale_rows_f32)(sums, n, q_sum, s, scales, add, y);
    check(check_same_floats(y, expected, n), "y differs from the reference");
    check(check_surroundings(&guard_y), "wrote outside of y");
}

static void check_descale_rows(const target *t)
{
    size_t turn = 0, n;
    for (size_t index = 0; element_count(index, t->quick, &n) == 0; index++)
        for (int pattern = 0; pattern < FLOATS_COUNT; pattern++, turn++)
            check_one_descale_rows(t, n, turn % 7 ? 63.5f : 0.0f, (float_pattern)pattern, turn % 2, place_of(turn));
}

/* The extremes, all -128 and all 127, and random q. */
static void check_group_sums(const target *t)
{
    static const size_t counts[] = {0, 1, 2, 3, 7, 32, 135};
    for (size_t i = 0; i < COUNT_OF(counts); i++)
        for (size_t group_cols = 64; group_cols <= 256; group_cols += 64)
            for (int fill = 0; fill < 3; fill++) {
                size_t n = counts[i], bytes = n * group_cols;
                check_place place = place_of(i + (size_t)fill);
                check_case("%s %s: %zu groups of %zu, fill %d, place %d", t->kernel, t->isa, n, group_cols, fill,
                           (int)place);
                int8_t *q0 = scratch_get(&master_x, bytes);
                int32_t *expected = scratch_get(&expected_y, n * sizeof *expected);
                fill_bytes(q0, bytes);
                if (fill > 0)
                    memset(q0, fill == 1 ? 0x80 : 0x7f, bytes);
                bn_group_sums_i8__scalar(q0, n, group_cols, expected);
                int8_t *q = check_copy(&guard_x, q0, bytes, 64, place);
                int32_t *sums = check_alloc(&guard_y, n * sizeof *sums, sizeof *sums, place);
                TARGET_FN(t, group_sums_i8)(q, n, group_cols, sums);
                check(memcmp(sums, expected, n * sizeof *sums) == 0, "a sum differs from the reference");
                check(check_surroundings(&guard_y), "wrote outside of the sums");
            }
}

static void check_one_add_scaled(const target *t, size_t n, size_t n_tokens, size_t q_stride, float_pattern pattern,
                                 check_place place)
{
    check_case("%s %s: n %zu, %zu tokens, stride %zu, scales %s, place %d", t->kernel, t->isa, n, n_tokens, q_stride,
               float_pattern_name(pattern), (int)place);
    static scratch master_scales, master_q;
    static check_guard guard_q;
    size_t total = n * n_tokens, n_q = n_tokens ? (n_tokens - 1) * q_stride + 1 : 0;
    int32_t *sums0 = scratch_get(&master_x, total * sizeof(int32_t));
    int32_t *q0 = scratch_get(&master_q, n_q * sizeof(int32_t));
    float *scales0 = scratch_get(&master_scales, n * sizeof(float));
    float *acc0 = scratch_get(&master_w, total * sizeof(float));
    float *expected = scratch_get(&expected_y, total * sizeof(float));
    for (size_t i = 0; i < total; i++)
        sums0[i] = (int32_t)check_below(1u << 31) - (1 << 30);
    for (size_t i = 0; i < n_q; i++)
        q0[i] = (int32_t)check_below(1u << 30) - (1 << 29);
    fill_floats(scales0, n, pattern);
    fill_floats(acc0, total, (float_pattern)check_below(FLOATS_COUNT));
    memcpy(expected, acc0, total * sizeof *expected);
    bn_add_scaled_f32__scalar(sums0, n, n_tokens, q0, q_stride, scales0, expected);

    int32_t *sums = check_copy(&guard_x, sums0, total * sizeof *sums, sizeof *sums, place);
    int32_t *q = check_copy(&guard_q, q0, n_q * sizeof *q, sizeof *q, place);
    float *scales = check_copy(&guard_w, scales0, n * sizeof *scales, sizeof *scales, place);
    float *acc = check_copy(&guard_y, acc0, total * sizeof *acc, sizeof *acc, place);
    TARGET_FN(t, add_scaled_f32)(sums, n, n_tokens, q, q_stride, scales, acc);
    check(check_same_floats(acc, expected, total), "the sums differ from the reference");
    check(check_surroundings(&guard_y), "wrote outside of the sums");
}

static void check_add_scaled(const target *t)
{
    static const size_t token_counts[] = {0, 1, 2, 3, 17};
    size_t turn = 0;
    for (size_t n = 0; n <= 96; n += BN_TILE_ROWS)
        for (size_t i = 0; i < COUNT_OF(token_counts); i++)
            for (int pattern = 0; pattern < FLOATS_COUNT; pattern++, turn++)
                check_one_add_scaled(t, n, token_counts[i], turn % 5, (float_pattern)pattern, place_of(turn));
}

/* Codes at random, or all 2 with q all -128 or all 127. */
static void check_one_slab(const target *t, size_t n_groups, size_t group_blocks, int halves, size_t pattern,
                           int extreme)
{
    check_place place = place_of(pattern + n_groups);
    check_case("%s %s: %zu groups of %zu blocks, halves %d, scales %zu, extreme %d, place %d", t->kernel, t->isa,
               n_groups, group_blocks, halves, pattern, extreme, (int)place);
    size_t code_bytes = group_blocks * 256, scale_bytes = BN_SLAB_ROWS * (halves ? 2 : 4);
    size_t bytes = n_groups * (code_bytes + scale_bytes), n_q = n_groups * group_blocks * BN_BLOCK_COLS;
    uint8_t *slab0 = scratch_get(&master_x, bytes);
    int8_t *q0 = scratch_get(&master_w, n_q);
    float expected[BN_SLAB_ROWS];
    for (size_t g = 0; g < n_groups; g++) {
        uint8_t *codes = slab0 + g * (code_bytes + scale_bytes);
        for (size_t i = 0; i < code_bytes; i++)
            for (unsigned shift = 0; shift < 8; shift += 2)
                codes[i] = (uint8_t)((shift ? codes[i] : 0) | (extreme ? 2 : check_below(3)) << shift);
        if (halves)
            fill_halves((uint16_t *)(void *)(codes + code_bytes), BN_SLAB_ROWS, (half_pattern)(pattern % HALVES_COUNT));
        else
            fill_floats((float *)(void *)(codes + code_bytes), BN_SLAB_ROWS, (float_pattern)(pattern % FLOATS_COUNT));
    }
    fill_bytes(q0, n_q);
    if (extreme)
        memset(q0, extreme == 1 ? 0x80 : 0x7f, n_q);
    int32_t *q_sums = check_alloc(&guard_w, n_groups * sizeof *q_sums, sizeof *q_sums, place);
    bn_group_sums_i8__scalar(q0, n_groups, group_blocks * BN_BLOCK_COLS, q_sums);
    bn_gemv_g2_i8__scalar(slab0, n_groups, group_blocks, halves, q0, q_sums, expected);

    static check_guard guard_q;
    uint8_t *slab = check_copy(&guard_x, slab0, bytes, 64, place);
    int8_t *q = check_copy(&guard_q, q0, n_q, 64, place);
    float *acc = check_alloc(&guard_y, sizeof expected, sizeof *acc, place);
    TARGET_FN(t, gemv_g2_i8)(slab, n_groups, group_blocks, halves, q, q_sums, acc);
    check(check_same_floats(acc, expected, BN_SLAB_ROWS), "the sums differ from the reference");
    check(check_surroundings(&guard_y), "wrote outside of the sums");
}

static void check_slabs(const target *t)
{
    static const size_t counts[] = {0, 1, 2, 3, 7, 20};
    size_t turn = 0;
    for (size_t i = 0; i < COUNT_OF(counts); i++)
        for (size_t group_blocks = 4; group_blocks <= 16; group_blocks *= 2)
            for (size_t pattern = 0; pattern < FLOATS_COUNT; pattern++, turn++)
                for (int halves = 0; halves < 2; halves++)
                    check_one_slab(t, counts[i], group_blocks, halves, pattern, (int)(turn % 3));
}

const kernel_check quant_checks[] = {{"rmsnorm_f32", check_rmsnorm},
                                     {"quant_i8", check_quant},
                                     {"descale_f32", check_descale},
                                     {"descale_rows_f32", check_descale_rows},
                                     {"group_sums_i8", check_group_sums},
                                     {"add_scaled_f32", check_add_scaled},
                                     {"gemv_g2_i8", check_slabs},
                                     {NULL, NULL}};
