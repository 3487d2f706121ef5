/* check_ternary.c: the integer kernels. Sums must equal the reference's for any activation -128..127 and any codes. */
#include <string.h>

#include "check_kernels.h"

typedef enum { CODES_RANDOM, CODES_0, CODES_1, CODES_2, CODES_ALTERNATE, CODES_COUNT } code_pattern;

static const char *const code_names[CODES_COUNT] = {"random", "all 0", "all 1", "all 2", "0 and 2"};

typedef enum {
    Q_RANDOM,
    Q_MAX,                      /* 127: the pattern that overflows 16-bit sums */
    Q_MIN,                      /* -128 */
    Q_ZERO,
    Q_OUTLIER,                  /* 127 once, else 0 */
    Q_ALTERNATE,                /* 127, -128 */
    Q_MIXED,                    /* each token one of the above */
    Q_COUNT
} q_pattern;

static const char *const q_names[Q_COUNT] = {"random",  "all 127",      "all -128", "zero",
                                             "outlier", "127 and -128", "mixed"};

static check_guard guard_tiles, guard_q, guard_panel, guard_sums;
static scratch master_tiles, master_q, expected_sums;

static size_t padded(size_t n)
{
    return (n + 63) / 64 * 64;
}

static unsigned one_code(code_pattern pattern, size_t index)
{
    switch (pattern) {
    case CODES_0: return 0;
    case CODES_1: return 1;
    case CODES_2: return 2;
    case CODES_ALTERNATE: return index % 2 * 2;
    default: return (unsigned)check_below(3);
    }
}

static void fill_tiles(uint8_t *tiles, size_t n_bytes, code_pattern pattern)
{
    if (pattern == CODES_RANDOM) {
        fill_bytes(tiles, n_bytes);
        for (size_t i = 0; i < n_bytes; i++)        /* code 3 does not exist: make it 1 */
            tiles[i] ^= (uint8_t)((tiles[i] & tiles[i] >> 1 & 0x55) << 1);
        return;
    }
    for (size_t i = 0; i < n_bytes; i++) {
        unsigned byte = 0;
        for (unsigned f = 0; f < 4; f++)
            byte |= one_code(pattern, i + f) << (2 * f);
        tiles[i] = (uint8_t)byte;
    }
}

static void fill_q(int8_t *q, size_t n, q_pattern pattern)
{
    if (pattern == Q_MIXED)
        pattern = (q_pattern)check_below(Q_MIXED);
    if (pattern == Q_RANDOM) {
        fill_bytes(q, n);
        return;
    }
    static const int8_t even[Q_COUNT] = {[Q_MAX] = 127, [Q_MIN] = -128, [Q_ALTERNATE] = 127};
    static const int8_t odd[Q_COUNT] = {[Q_MAX] = 127, [Q_MIN] = -128, [Q_ALTERNATE] = -128};
    for (size_t i = 0; i < n; i++)
        q[i] = i % 2 ? odd[pattern] : even[pattern];
    if (pattern == Q_OUTLIER && n > 0)
        q[check_below(n)] = 127;
}

/* n_tokens rows of n values, padded with zeros to a multiple of 64; what lies between the rows is anything. */
static void fill_q_rows(int8_t *q, size_t n_tokens, size_t n, size_t stride, q_pattern pattern)
{
    for (size_t t = 0; t < n_tokens; t++, q += stride) {
        fill_q(q, n, pattern);
        memset(q + n, 0, padded(n) - n);
        memset(q + padded(n), 0x7f, stride - padded(n));
    }
}

/* The definition again, from the drawing in kernels.h: element by element, no tiles. */
static int matches_layout(const uint8_t *tiles, size_t n_tiles, size_t n_blocks, const int8_t *q, const int32_t *sums)
{
    for (size_t row = 0; row < n_tiles * BN_TILE_ROWS; row++) {
        int64_t sum = 0;
        for (size_t col = 0; col < n_blocks * BN_BLOCK_COLS; col++) {
            size_t b = col / 16, f = col % 16 / 4, j = col % 4;
            size_t at = (row / 16 * n_blocks + b) * 64 + 4 * (row % 16) + j;
            sum += (int64_t)(tiles[at] >> (2 * f) & 3) * q[col];
        }
        if (sum != sums[row])
            return 0;
    }
    return 1;
}

static void check_one_gemv(const target *t, size_t n_tiles, size_t n_blocks, code_pattern codes, q_pattern qs,
                           check_place place)
{
    check_case("%s %s: %zu tiles, %zu blocks, codes %s, q %s, place %d", t->kernel, t->isa, n_tiles, n_blocks,
               code_names[codes], q_names[qs], (int)place);
    size_t tile_bytes = n_tiles * n_blocks * BN_BLOCK_BYTES, q_bytes = padded(n_blocks * BN_BLOCK_COLS);
    size_t sum_bytes = n_tiles * BN_TILE_ROWS * sizeof(int32_t);
    uint8_t *tiles0 = scratch_get(&master_tiles, tile_bytes);
    int8_t *q0 = scratch_get(&master_q, q_bytes);
    int32_t *expected = scratch_get(&expected_sums, sum_bytes);
    fill_tiles(tiles0, tile_bytes, codes);
    fill_q_rows(q0, 1, n_blocks * BN_BLOCK_COLS, q_bytes, qs);
    bn_gemv_t2_i8__scalar(tiles0, n_tiles, n_blocks, q0, expected);

    uint8_t *tiles = check_copy(&guard_tiles, tiles0, tile_bytes, 64, place);
    int8_t *q = check_copy(&guard_q, q0, q_bytes, 64, place);
    int32_t *sums = check_alloc(&guard_sums, sum_bytes, sizeof *sums, place);
    TARGET_FN(t, gemv_t2_i8)(tiles, n_tiles, n_blocks, q, sums);
    check(memcmp(sums, expected, sum_bytes) == 0, "sums differ from the reference");
    check(check_surroundings(&guard_sums), "wrote outside of sums");
    check(memcmp(tiles, tiles0, tile_bytes) == 0 && memcmp(q, q0, q_bytes) == 0, "changed its inputs");
    if (t->is_scalar && n_tiles * n_blocks <= 200)
        check(matches_layout(tiles0, n_tiles, n_blocks, q0, sums), "the reference differs from the layout's drawing");
}

static void check_gemv(const target *t)
{
    static const size_t tile_counts[] = {0, 1, 2, 3, 5, 4, 7, 8, 9};
    static const size_t few_blocks[] = {0, 1, 2, 3, 4, 5, 8, 9, 17, 33, 40};
    static const size_t many_blocks[] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,   12,  13,  15,  16,  17,
                                         31, 32, 33, 40, 63, 64, 65, 67, 96, 127, 160, 257, 432, 541, 896};
    const size_t *block_counts = t->quick ? few_blocks : many_blocks;
    size_t n_block_counts = t->quick ? COUNT_OF(few_blocks) : COUNT_OF(many_blocks);
    size_t n_tile_counts = t->quick ? 5 : COUNT_OF(tile_counts), turn = 0;
    for (size_t i = 0; i < n_tile_counts; i++)
        for (size_t j = 0; j < n_block_counts; j++)
            for (int codes = 0; codes < CODES_COUNT; codes++)
                for (int qs = 0; qs < Q_MIXED; qs++)
                    check_one_gemv(t, tile_counts[i], block_counts[j], (code_pattern)codes, (q_pattern)qs,
                                   turn++ % 4 == 3 ? CHECK_AT_START : CHECK_AT_END);
    /* One-signed sums: cols 6912 and 14336 in the quick round, the most a matrix may have in the other. */
    static const size_t long_blocks[] = {432, 896, 4097, 1 << 18};
    for (size_t j = 0; j < (t->quick ? 2 : COUNT_OF(long_blocks)); j++)
        for (int qs = Q_MAX; qs <= Q_MIN; qs++)
            check_one_gemv(t, 1, long_blocks[j], CODES_2, (q_pattern)qs, CHECK_AT_END);
}

static void check_one_gemm(const target *t, size_t n_tiles, size_t n_blocks, size_t n_tokens, code_pattern codes,
                           q_pattern qs, check_place place)
{
    size_t n = n_blocks * BN_BLOCK_COLS, stride = padded(n) + check_below(2) * 64;
    check_case("%s %s: %zu tiles, %zu blocks, %zu tokens, stride %zu, codes %s, q %s, place %d", t->kernel, t->isa,
               n_tiles, n_blocks, n_tokens, stride, code_names[codes], q_names[qs], (int)place);
    size_t tile_bytes = n_tiles * n_blocks * BN_BLOCK_BYTES, q_bytes = (n_tokens - 1) * stride + padded(n);
    size_t sum_bytes = n_tokens * n_tiles * BN_TILE_ROWS * sizeof(int32_t);
    uint8_t *tiles0 = scratch_get(&master_tiles, tile_bytes);
    int8_t *q0 = scratch_get(&master_q, n_tokens * stride);
    int32_t *expected = scratch_get(&expected_sums, sum_bytes);
    fill_tiles(tiles0, tile_bytes, codes);
    fill_q_rows(q0, n_tokens, n, stride, qs);
    bn_gemm_t2_i8__scalar(tiles0, n_tiles, n_blocks, q0, stride, n_tokens, NULL, expected);

    uint8_t *tiles = check_copy(&guard_tiles, tiles0, tile_bytes, 64, place);
    int8_t *q = check_copy(&guard_q, q0, q_bytes, 64, place);
    uint8_t *panel = check_alloc(&guard_panel, n_tiles * n_blocks * 256, 64, place);
    int32_t *sums = check_alloc(&guard_sums, sum_bytes, sizeof *sums, place);
    TARGET_FN(t, gemm_t2_i8)(tiles, n_tiles, n_blocks, q, stride, n_tokens, panel, sums);
    check(memcmp(sums, expected, sum_bytes) == 0, "sums differ from the reference");
    check(check_surroundings(&guard_sums), "wrote outside of sums");
    check(check_surroundings(&guard_panel), "wrote outside of the panel");
    check(memcmp(tiles, tiles0, tile_bytes) == 0 && memcmp(q, q0, q_bytes) == 0, "changed its inputs");
}

static void check_gemm(const target *t)
{
    static const size_t few_tokens[] = {1, 2, 3, 4, 5, 7, 8, 12, 13, 32};
    static const size_t many_tokens[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15, 16, 17, 24, 25, 31, 32, 33};
    static const size_t few_blocks[] = {1, 2, 3, 4, 5, 8, 17, 40};
    static const size_t many_blocks[] = {1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 17, 31, 33, 40, 67, 160, 432};
    const size_t *token_counts = t->quick ? few_tokens : many_tokens;
    const size_t *block_counts = t->quick ? few_blocks : many_blocks;
    size_t n_token_counts = t->quick ? COUNT_OF(few_tokens) : COUNT_OF(many_tokens);
    size_t n_block_counts = t->quick ? COUNT_OF(few_blocks) : COUNT_OF(many_blocks), turn = 0;
    static const struct { code_pattern codes; q_pattern q; } inputs[] = {
        {CODES_RANDOM, Q_RANDOM}, {CODES_2, Q_MIN},  {CODES_2, Q_MAX},  {CODES_RANDOM, Q_MIXED},
        {CODES_ALTERNATE, Q_ALTERNATE}, {CODES_0, Q_RANDOM}, {CODES_1, Q_RANDOM}, {CODES_RANDOM, Q_OUTLIER}};
    for (size_t n_tiles = 1; n_tiles <= BN_GEMM_TILES; n_tiles++)
        for (size_t i = 0; i < n_token_counts; i++)
            for (size_t j = 0; j < n_block_counts; j++)
                for (size_t k = 0; k < (t->quick ? 4 : COUNT_OF(inputs)); k++)
                    check_one_gemm(t, n_tiles, block_counts[j], token_counts[i], inputs[k].codes, inputs[k].q,
                                   turn++ % 4 == 3 ? CHECK_AT_START : CHECK_AT_END);
    check_one_gemm(t, BN_GEMM_TILES, 896, 5, CODES_2, Q_MAX, CHECK_AT_END);
    check_one_gemm(t, BN_GEMM_TILES, 896, 4, CODES_2, Q_MIN, CHECK_AT_END);
    if (!t->quick) {
        check_one_gemm(t, BN_GEMM_TILES, 160, 512, CODES_RANDOM, Q_MIXED, CHECK_AT_END);
        check_one_gemm(t, BN_GEMM_TILES, 1 << 18, 3, CODES_2, Q_MIN, CHECK_AT_END);
    }
}

const kernel_check ternary_checks[] = {{"gemv_t2_i8", check_gemv}, {"gemm_t2_i8", check_gemm}, {NULL, NULL}};
