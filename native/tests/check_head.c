/* check_head.c: quantised heads: hidden states of 16 bits, and tiles that meet them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check_kernels.h"
#include "dense_tiles.h"
#include "scalar/half_scalar.h"

static check_guard guard_h, guard_x, guard_digits, guard_offset, guard_s, guard_tile, guard_y;
static scratch master_h, master_tile, master_x, master_digits, master_offset, master_s, expected_y;

/* What kernels.h claims about the numbers, in other words. */
static int quant_is_right(const float *h, size_t n, size_t group_cols, int32_t bias, const int16_t *x,
                          const int8_t *digits, const int32_t *offset, float s)
{
    float amax = 1e-30f;
    int finite = 1;
    for (size_t i = 0; i < n; i++) {
        finite &= isfinite(h[i]) != 0;
        amax = fmaxf(amax, fabsf(h[i]));
    }
    if (finite ? s != 32512.0f / amax : !isnan(s))
        return 0;
    for (size_t i = 0; i < n; i++) {
        int32_t joined = 256 * digits[i / 4 * 8 + i % 4] + digits[i / 4 * 8 + 4 + i % 4];
        if (joined != x[i] || abs(x[i]) > 32512 || x[i] != (finite ? (int32_t)rintf(h[i] * s) : 0))
            return 0;
    }
    for (size_t g = 0; g < n / group_cols; g++) {
        int64_t sum = 0;
        for (size_t i = 0; i < group_cols; i++)
            sum += x[g * group_cols + i];
        if (offset[g] != -bias * sum)
            return 0;
    }
    return 1;
}

static void check_one_quant(const target *t, size_t n, size_t group_cols, int32_t bias, float_pattern pattern,
                            check_place place)
{
    check_case("%s %s: n %zu, group of %zu, bias %d, %s, place %d", t->kernel, t->isa, n, group_cols, (int)bias,
               float_pattern_name(pattern), (int)place);
    float *h0 = scratch_get(&master_h, n * sizeof *h0);
    fill_floats(h0, n, pattern);
    float *h = check_copy(&guard_h, h0, n * sizeof *h, sizeof *h, place);
    int16_t *x = check_alloc(&guard_x, n * sizeof *x, sizeof *x, place);
    int8_t *digits = check_alloc(&guard_digits, 2 * n, 1, place);
    int32_t *offset = check_alloc(&guard_offset, n / group_cols * sizeof *offset, sizeof *offset, place);
    float *s = check_alloc(&guard_s, sizeof *s, sizeof *s, place);
    TARGET_FN(t, quant_i16)(h, n, group_cols, bias, x, digits, offset, s);
    check(quant_is_right(h0, n, group_cols, bias, x, digits, offset, *s), "differs from its contract");
    check(check_surroundings(&guard_x) && check_surroundings(&guard_digits) && check_surroundings(&guard_offset) &&
              check_surroundings(&guard_s),
          "wrote outside of its outputs");
    check(memcmp(h, h0, n * sizeof *h) == 0, "changed its input");
}

static void check_quant(const target *t)
{
    static const size_t counts[] = {0, 1, 2, 3, 5, 8, 16, 17, 40, 80, 160};
    static const struct { size_t group_cols; int32_t bias; } kinds[] = {{32, 128}, {16, 32}, {32, 8}, {64, 1}};
    size_t turn = 0;
    for (size_t i = 0; i < COUNT_OF(counts); i++)
        for (size_t j = 0; j < COUNT_OF(kinds); j++)
            for (int pattern = 0; pattern < FLOATS_COUNT; pattern++)
                check_one_quant(t, counts[i] * kinds[j].group_cols, kinds[j].group_cols, kinds[j].bias,
                                (float_pattern)pattern, turn++ % 4 == 3 ? CHECK_AT_START : CHECK_AT_END);
}

/* ---- Tiles ---- */

typedef enum {
    TILE_SANE,                  /* random codes, scales in [-1, 1) */
    TILE_BITS,                  /* random bits, scales with infinities and NaNs among them */
    TILE_ZEROS,                 /* codes 0: the least value of every type */
    TILE_ONES,                  /* codes with all bits set: the greatest */
    TILE_COUNT
} tile_pattern;

typedef enum {
    X_RANDOM,
    X_MAX,
    X_MIN,
    X_LOW_LEAST,                /* 32384 = 256 * 127 - 128: the greatest high digit with the least low one */
    X_ALTERNATE,
    X_NOT_FINITE,               /* x is 0 and s is NaN */
    X_COUNT
} x_pattern;

static const char *const tile_names[TILE_COUNT] = {"sane", "bits", "zeros", "ones"};
static const char *const x_names[X_COUNT] = {"random", "max", "min", "low least", "alternating", "not finite"};

static void fill_tile(uint8_t *tile, bn_tile_format f, size_t n_blocks, tile_pattern pattern)
{
    size_t n_bytes = bn_tile_bytes(f, n_blocks);
    fill_bytes(tile, n_bytes);
    if (pattern == TILE_BITS)
        return;
    for (size_t block = 0; block < n_blocks; block++) {
        uint8_t *codes = tile + bn_tile_block_at(f, block) + f.sc_bytes;
        if (pattern != TILE_SANE)
            memset(codes, pattern == TILE_ONES ? 0xff : 0, f.n_groups * f.group_bytes);
        for (size_t r = 0; r < BN_TILE_ROWS; r++) {
            uint16_t d = bn_f16_from_f32(check_uniform());
            memcpy(tile + bn_tile_scales_at(f, block) + 2 * r, &d, sizeof d);
        }
    }
}

/* The hidden states of n_tokens tokens, made from x as the contract says. */
static bn_acts_i16 fill_acts(bn_tile_format f, size_t n_blocks, size_t n_tokens, x_pattern pattern)
{
    size_t n = n_tokens * n_blocks * f.cols, group_cols = f.cols / f.n_groups;
    int16_t *x = scratch_get(&master_x, n * sizeof *x);
    int8_t *digits = scratch_get(&master_digits, 2 * n);
    int32_t *offset = scratch_get(&master_offset, n / group_cols * sizeof *offset);
    float *s = scratch_get(&master_s, n_tokens * sizeof *s);
    static const int16_t even[X_COUNT] = {0, 32512, -32512, 32384, 32512, 0};
    static const int16_t odd[X_COUNT] = {0, 32512, -32512, 32384, -32512, 0};
    memset(offset, 0, n / group_cols * sizeof *offset);
    for (size_t i = 0; i < n; i++) {
        int32_t value = i % 2 ? odd[pattern] : even[pattern];
        if (pattern == X_RANDOM)
            value = (int32_t)check_below(65025) - 32512;
        x[i] = (int16_t)value;
        digits[i / 4 * 8 + i % 4] = (int8_t)((value + 128) >> 8);
        digits[i / 4 * 8 + 4 + i % 4] = (int8_t)(value - 256 * ((value + 128) >> 8));
        offset[i / group_cols] -= f.bias * value;
    }
    for (size_t t = 0; t < n_tokens; t++)
        s[t] = pattern == X_NOT_FINITE ? NAN : 32512.0f / (0.01f + fabsf(check_uniform()));
    return (bn_acts_i16){x, digits, offset, s};
}

typedef __typeof__(*((bn_kernels *)0)->gemm_q8_0_i16) gemm_fn;

static const struct { const char *kernel; bn_type type; gemm_fn *scalar; } types[] = {
    {"gemm_q8_0_i16", BN_TYPE_Q8_0, bn_gemm_q8_0_i16__scalar},
    {"gemm_q6_k_i16", BN_TYPE_Q6_K, bn_gemm_q6_k_i16__scalar},
    {"gemm_q4_0_i16", BN_TYPE_Q4_0, bn_gemm_q4_0_i16__scalar},
    {"gemm_q2_0_i16", BN_TYPE_Q2_0, bn_gemm_q2_0_i16__scalar}};

static void check_one_gemm(const target *t, size_t type, size_t n_blocks, size_t n_tokens, tile_pattern tiles,
                           x_pattern xs, check_place place)
{
    check_case("%s %s: %zu blocks, %zu tokens, tile %s, x %s, place %d", t->kernel, t->isa, n_blocks, n_tokens,
               tile_names[tiles], x_names[xs], (int)place);
    bn_tile_format f = bn_tile_format_of(types[type].type);
    size_t tile_bytes = bn_tile_bytes(f, n_blocks), n = n_tokens * n_blocks * f.cols;
    size_t n_offsets = n / f.cols * f.n_groups, n_y = n_tokens * BN_TILE_ROWS;
    uint8_t *tile0 = scratch_get(&master_tile, tile_bytes);
    float *expected = scratch_get(&expected_y, n_y * sizeof *expected);
    fill_tile(tile0, f, n_blocks, tiles);
    bn_acts_i16 acts0 = fill_acts(f, n_blocks, n_tokens, xs);
    types[type].scalar(tile0, n_blocks, &acts0, n_tokens, expected);

    uint8_t *tile = check_copy(&guard_tile, tile0, tile_bytes, 64, place);
    bn_acts_i16 acts = {check_copy(&guard_x, acts0.x, n * sizeof *acts0.x, sizeof *acts0.x, place),
                        check_copy(&guard_digits, acts0.digits, 2 * n, 1, place),
                        check_copy(&guard_offset, acts0.offset, n_offsets * sizeof(int32_t), sizeof(int32_t), place),
                        check_copy(&guard_s, acts0.s, n_tokens * sizeof(float), sizeof(float), place)};
    float *y = check_alloc(&guard_y, n_y * sizeof *y, sizeof *y, place);
    ((gemm_fn *)t->fn)(tile, n_blocks, &acts, n_tokens, y);
    check(check_same_floats(y, expected, n_y), "y differs from the reference");
    check(check_surroundings(&guard_y), "wrote outside of y");
    check(memcmp(tile, tile0, tile_bytes) == 0 && memcmp(acts.x, acts0.x, n * sizeof *acts.x) == 0 &&
              memcmp(acts.digits, acts0.digits, 2 * n) == 0,
          "changed its inputs");
    if (xs == X_NOT_FINITE) {
        int n_nans = 0;
        for (size_t i = 0; i < n_y; i++)
            n_nans += isnan(y[i]) != 0;
        check(n_nans == (int)n_y, "a logit of a hidden state that is not finite is not NaN");
    }
}

static void check_gemm(const target *t)
{
    static const size_t block_counts[] = {1, 2, 3, 5, 8, 10, 7, 27, 80};
    static const size_t token_counts[] = {1, 2, 3, 4, 5, 8, 9, 6, 7, 13};
    size_t type = 0, turn = 0;
    while (strcmp(types[type].kernel, t->kernel) != 0)
        type++;
    for (size_t i = 0; i < COUNT_OF(block_counts) - (t->quick ? 3 : 0); i++)
        for (size_t j = 0; j < COUNT_OF(token_counts) - (t->quick ? 5 : 0); j++)
            for (int tiles = 0; tiles < TILE_COUNT; tiles++)
                for (int xs = 0; xs < X_COUNT; xs++)
                    check_one_gemm(t, type, block_counts[i], token_counts[j], (tile_pattern)tiles, (x_pattern)xs,
                                   turn++ % 4 == 3 ? CHECK_AT_START : CHECK_AT_END);
}

const kernel_check head_checks[] = {{"quant_i16", check_quant},
                                    {"gemm_q8_0_i16", check_gemm},
                                    {"gemm_q6_k_i16", check_gemm},
                                    {"gemm_q4_0_i16", check_gemm},
                                    {"gemm_q2_0_i16", check_gemm},
                                    {NULL, NULL}};
