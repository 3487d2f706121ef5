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

static check_guard guard_tiles, guard_q, guard_index, guard_panel, guard_sums;
static scratch master_tiles, master_q, master_index, expected_sums, expected_panel;

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

/* ---- r2 and c2: some rows, some cols ---- */

/* n indices below `limit`, in ascending order as the drivers give them, each at most once while they last; then those to
 * be asked for ahead. */
static void fill_index(uint32_t *index, size_t n, size_t limit)
{
    for (size_t i = 0; i < n; i++)
        index[i] = (uint32_t)(n <= limit ? i * limit / n : i % limit);
    for (size_t i = 0; i < BN_AHEAD; i++)
        index[n + i] = (uint32_t)check_below(limit);
}

static void check_one_r2(const target *t, size_t n_rows, size_t n_groups, size_t n, code_pattern codes, q_pattern qs,
                         check_place place)
{
    check_case("%s %s: %zu of %zu rows, %zu groups, codes %s, q %s, place %d", t->kernel, t->isa, n, n_rows, n_groups,
               code_names[codes], q_names[qs], (int)place);
    size_t bytes = n_rows * n_groups * 64, q_bytes = n_groups * BN_GROUP_COLS, sum_bytes = n * sizeof(int32_t);
    uint8_t *rows0 = scratch_get(&master_tiles, bytes);
    int8_t *q0 = scratch_get(&master_q, q_bytes);
    uint32_t *index0 = scratch_get(&master_index, (n + BN_AHEAD) * sizeof *index0);
    int32_t *expected = scratch_get(&expected_sums, sum_bytes);
    fill_tiles(rows0, bytes, codes);
    fill_q(q0, q_bytes, qs);
    fill_index(index0, n, n_rows);
    bn_gemv_r2_i8__scalar(rows0, n_groups, index0, n, q0, expected);

    uint8_t *rows = check_copy(&guard_tiles, rows0, bytes, 64, place);
    int8_t *q = check_copy(&guard_q, q0, q_bytes, 64, place);
    uint32_t *index = check_copy(&guard_index, index0, (n + BN_AHEAD) * sizeof *index, sizeof *index, place);
    int32_t *sums = check_alloc(&guard_sums, sum_bytes, sizeof *sums, place);
    TARGET_FN(t, gemv_r2_i8)(rows, n_groups, index, n, q, sums);
    check(memcmp(sums, expected, sum_bytes) == 0, "sums differ from the reference");
    check(check_surroundings(&guard_sums), "wrote outside of sums");
}

static void check_r2(const target *t)
{
    static const size_t counts[] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 37}, groups[] = {1, 2, 3, 10, 27};
    size_t turn = 0;
    for (size_t i = 0; i < COUNT_OF(counts); i++)
        for (size_t j = 0; j < (t->quick ? 3 : COUNT_OF(groups)); j++)
            for (int codes = 0; codes < CODES_COUNT; codes++)
                for (int qs = 0; qs < Q_MIXED; qs++)
                    check_one_r2(t, 37, groups[j], counts[i], (code_pattern)codes, (q_pattern)qs,
                                 turn++ % 4 == 3 ? CHECK_AT_START : CHECK_AT_END);
    static const size_t long_groups[] = {56, 257, 1 << 14};
    for (size_t j = 0; j < (t->quick ? 1 : COUNT_OF(long_groups)); j++)
        for (int qs = Q_MAX; qs <= Q_MIN; qs++)
            check_one_r2(t, 3, long_groups[j], 3, CODES_2, (q_pattern)qs, CHECK_AT_END);
}

static void check_one_c2(const target *t, size_t n_cols, size_t n_strips, size_t n, code_pattern codes, q_pattern qs,
                         check_place place)
{
    check_case("%s %s: %zu of %zu cols, %zu strips, codes %s, q %s, place %d", t->kernel, t->isa, n, n_cols, n_strips,
               code_names[codes], q_names[qs], (int)place);
    size_t bytes = n_cols * n_strips * 64, sum_bytes = n_strips * BN_STRIP_ROWS * sizeof(int32_t);
    uint8_t *cols0 = scratch_get(&master_tiles, bytes);
    int8_t *q0 = scratch_get(&master_q, n);
    uint32_t *index0 = scratch_get(&master_index, (n + BN_AHEAD) * sizeof *index0);
    int32_t *expected = scratch_get(&expected_sums, sum_bytes);
    fill_tiles(cols0, bytes, codes);
    fill_q(q0, n, qs);
    fill_index(index0, n, n_cols);
    int32_t *before = scratch_get(&expected_panel, sum_bytes);
    for (size_t row = 0; row < n_strips * BN_STRIP_ROWS; row++)
        before[row] = (int32_t)check_below(1 << 20) - (1 << 19);
    memcpy(expected, before, sum_bytes);
    bn_gemv_c2_i8__scalar(cols0, n_strips, index0, q0, n, expected);

    uint8_t *cols = check_copy(&guard_tiles, cols0, bytes, 64, place);
    int8_t *q = check_copy(&guard_q, q0, n, 1, place);
    uint32_t *index = check_copy(&guard_index, index0, (n + BN_AHEAD) * sizeof *index, sizeof *index, place);
    int32_t *sums = check_copy(&guard_sums, before, sum_bytes, 64, place);
    TARGET_FN(t, gemv_c2_i8)(cols, n_strips, index, q, n, sums);
    check(memcmp(sums, expected, sum_bytes) == 0, "sums differ from the reference");
    check(check_surroundings(&guard_sums), "wrote outside of sums");
}

static void check_c2(const target *t)
{
    static const size_t counts[] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 67, 256, 300};
    static const size_t strips[] = {1, 2, 3, 10};
    size_t turn = 0;
    for (size_t i = 0; i < COUNT_OF(counts); i++)
        for (size_t j = 0; j < (t->quick ? 2 : COUNT_OF(strips)); j++)
            for (int codes = 0; codes < CODES_COUNT; codes++)
                for (int qs = 0; qs < Q_MIXED; qs++)
                    check_one_c2(t, 300, strips[j], counts[i], (code_pattern)codes, (q_pattern)qs,
                                 turn++ % 4 == 3 ? CHECK_AT_START : CHECK_AT_END);
    for (int qs = Q_MAX; qs <= Q_MIN; qs++)     /* more cols than 16-bit sums could hold */
        check_one_c2(t, 300, 1, t->quick ? 2000 : 40000, CODES_2, (q_pattern)qs, CHECK_AT_END);
}

/* ---- l3: lookups. A table and who reads it are checked together: the table is only between the two. ---- */

/* Function of the same ISA, or NULL. EVEX has none of these. */
static void (*partner(const target *t, const char *kernel))(void)
{
    for (size_t i = 0; i < bn_n_entries; i++)
        if (strcmp(bn_entries[i].kernel, kernel) == 0 && bn_entries[i].isa == t->which)
            return bn_entries[i].fn;
    return NULL;
}

/* 16 indices of each row and group as they lie in memory, all of them of weights that exist. */
static void fill_slabs(uint8_t *slabs, size_t n_bytes, code_pattern pattern)
{
    for (size_t at = 0; at < n_bytes; at += BN_LOOKUP_BYTES)
        for (size_t row = 0; row < BN_SLAB_ROWS; row++) {
            unsigned index[16];
            for (size_t i = 0; i < 16; i++) {
                int n = -13;
                for (size_t k = 0, power = 9; k < 3; k++, power /= 3)
                    n += (int)(one_code(pattern, 3 * i + k) * power);
                index[i] = n < 0 ? 16 + (unsigned)-n : (unsigned)n;
            }
            for (size_t v = 0; v < 5; v++) {
                unsigned lane = index[3 * v] | index[3 * v + 1] << 5 | index[3 * v + 2] << 10 | (index[15] >> v & 1) << 15;
                uint8_t *out = slabs + at + (2 * v + row / 32) * 64 + row % 32 * 2;
                out[0] = (uint8_t)lane;
                out[1] = (uint8_t)(lane >> 8);
            }
        }
}

/* The sums again, from the codes of the panel that the reference unpacks. */
static int matches_panel(const uint8_t *slabs, size_t n_slabs, size_t n_groups, const int8_t *q, const int32_t *sums)
{
    static scratch panel;
    uint8_t *codes = scratch_get(&panel, n_groups * 3 * 256);
    for (size_t tile = 0; tile < n_slabs * BN_SLAB_ROWS / BN_TILE_ROWS; tile++) {
        int32_t expected[BN_TILE_ROWS];
        bn_unpack_l3__scalar(slabs, n_groups * BN_LOOKUP_BYTES, tile, 1, 0, 3 * n_groups, codes);
        bn_gemm_panel_i8__scalar(codes, 1, 3 * n_groups, q, 0, 1, 0, expected);
        if (memcmp(expected, sums + tile * BN_TILE_ROWS, sizeof expected) != 0)
            return 0;
    }
    return 1;
}

static void check_one_l3(const target *t, size_t n_slabs, size_t n_groups, code_pattern codes, q_pattern qs,
                         check_place place)
{
    check_case("%s %s: %zu slabs, %zu groups, codes %s, q %s, place %d", t->kernel, t->isa, n_slabs, n_groups,
               code_names[codes], q_names[qs], (int)place);
    size_t bytes = n_slabs * n_groups * BN_LOOKUP_BYTES, q_bytes = n_groups * BN_LOOKUP_COLS;
    size_t sum_bytes = n_slabs * BN_SLAB_ROWS * sizeof(int32_t), table_bytes = n_groups * BN_TABLE_BYTES;
    __typeof__(bn_table_l3_i8__scalar) *table = (__typeof__(bn_table_l3_i8__scalar) *)partner(t, "table_l3_i8");
    __typeof__(bn_gemv_l3_i8__scalar) *gemv = (__typeof__(bn_gemv_l3_i8__scalar) *)partner(t, "gemv_l3_i8");
    if (!check(table && gemv, "the ISA has only one of table_l3_i8 and gemv_l3_i8"))
        return;
    uint8_t *slabs0 = scratch_get(&master_tiles, bytes);
    int8_t *q0 = scratch_get(&master_q, q_bytes);
    int32_t *expected = scratch_get(&expected_sums, sum_bytes), q_sum = 0;
    fill_slabs(slabs0, bytes, codes);
    fill_q(q0, q_bytes, qs);
    for (size_t i = 0; i < q_bytes; i++)
        q_sum += q0[i];
    uint8_t *entries = check_alloc(&guard_panel, table_bytes, 64, place);
    bn_table_l3_i8__scalar(q0, n_groups, entries);
    bn_gemv_l3_i8__scalar(slabs0, n_slabs, n_groups, entries, q_sum, expected);
    if (t->is_scalar)
        check(matches_panel(slabs0, n_slabs, n_groups, q0, expected), "lookups differ from the codes");

    uint8_t *slabs = check_copy(&guard_tiles, slabs0, bytes, 64, place);
    int8_t *q = check_copy(&guard_q, q0, q_bytes, 16, place);
    int32_t *sums = check_alloc(&guard_sums, sum_bytes, sizeof *sums, place);
    entries = check_alloc(&guard_panel, table_bytes, 64, place);
    table(q, n_groups, entries);
    check(check_surroundings(&guard_panel), "wrote outside of the table");
    gemv(slabs, n_slabs, n_groups, entries, q_sum, sums);
    check(memcmp(sums, expected, sum_bytes) == 0, "sums differ from the reference");
    check(check_surroundings(&guard_sums), "wrote outside of sums");
}

static void check_l3(const target *t)
{
    static const size_t slabs[] = {0, 1, 2, 3}, few_groups[] = {0, 1, 2, 4, 5, 6, 11};
    static const size_t many_groups[] = {0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 15, 16, 20, 31, 54};
    const size_t *groups = t->quick ? few_groups : many_groups;
    size_t n_groups = t->quick ? COUNT_OF(few_groups) : COUNT_OF(many_groups), turn = 0;
    for (size_t i = 0; i < (t->quick ? 2 : COUNT_OF(slabs)); i++)
        for (size_t j = 0; j < n_groups; j++)
            for (int codes = 0; codes < CODES_COUNT; codes++)
                for (int qs = 0; qs < Q_MIXED; qs++)
                    check_one_l3(t, slabs[i], groups[j], (code_pattern)codes, (q_pattern)qs,
                                 turn++ % 4 == 3 ? CHECK_AT_START : CHECK_AT_END);
    static const size_t long_groups[] = {144, 299, 87382};      /* cols 6912, 14336 and the most a matrix may have */
    for (size_t j = 0; j < (t->quick ? 1 : COUNT_OF(long_groups)); j++)
        for (int codes = CODES_0; codes <= CODES_2; codes += 2)
            for (int qs = Q_MAX; qs <= Q_MIN; qs++)
                check_one_l3(t, 1, long_groups[j], (code_pattern)codes, (q_pattern)qs, CHECK_AT_END);
}

/* ---- Panels ---- */

typedef void unpack_fn(const uint8_t *, size_t, size_t, size_t, size_t, size_t, uint8_t *);

/* A matrix of n_rows_of_tiles tiles and all_blocks blocks, of which the panel takes n_tiles x n_blocks. */
static void check_one_unpack(const target *t, unpack_fn *reference, size_t bytes, size_t stride, size_t tile,
                             size_t n_tiles, size_t first, size_t n_blocks, check_place place)
{
    check_case("%s %s: tile %zu, %zu tiles, blocks %zu..%zu, place %d", t->kernel, t->isa, tile, n_tiles, first,
               first + n_blocks, (int)place);
    size_t panel_bytes = n_tiles * n_blocks * 256;
    uint8_t *weights0 = scratch_get(&master_tiles, bytes), *expected = scratch_get(&expected_panel, panel_bytes);
    if (reference == bn_unpack_l3__scalar)
        fill_slabs(weights0, bytes, CODES_RANDOM);
    else
        fill_tiles(weights0, bytes, CODES_RANDOM);
    reference(weights0, stride, tile, n_tiles, first, n_blocks, expected);
    uint8_t *weights = check_copy(&guard_tiles, weights0, bytes, 64, place);
    uint8_t *panel = check_alloc(&guard_panel, panel_bytes, 64, place);
    ((unpack_fn *)t->fn)(weights, stride, tile, n_tiles, first, n_blocks, panel);
    check(memcmp(panel, expected, panel_bytes) == 0, "the panel differs from the reference");
    check(check_surroundings(&guard_panel), "wrote outside of the panel");
}

typedef enum { LAYOUT_T2, LAYOUT_R2, LAYOUT_C2 } layout;

static void check_unpack(const target *t, unpack_fn *reference, layout layout)
{
    static const size_t firsts[] = {0, 16, 32}, counts[] = {0, 1, 2, 3, 4, 5, 15, 16, 17, 31, 32};
    const size_t all_tiles = 16, all_blocks = 64;
    size_t stride = layout == LAYOUT_T2 ? all_blocks * 64 : layout == LAYOUT_R2 ? all_blocks / 16 * 64 : 64;
    size_t bytes = all_tiles * all_blocks * 64, turn = 0;
    for (size_t i = 0; i < COUNT_OF(firsts); i++)
        for (size_t j = 0; j < COUNT_OF(counts); j++)
            for (size_t n_tiles = 1; n_tiles <= BN_GEMM_TILES; n_tiles++)
                for (size_t tile = 0; tile + n_tiles <= all_tiles; tile += t->quick ? 5 : 1)
                    check_one_unpack(t, reference, bytes, stride, tile, n_tiles, firsts[i], counts[j],
                                     turn++ % 4 == 3 ? CHECK_AT_START : CHECK_AT_END);
}

static void check_unpack_t2(const target *t)
{
    check_unpack(t, bn_unpack_t2__scalar, LAYOUT_T2);
}

static void check_unpack_r2(const target *t)
{
    check_unpack(t, bn_unpack_r2__scalar, LAYOUT_R2);
}

static void check_unpack_c2(const target *t)
{
    check_unpack(t, bn_unpack_c2__scalar, LAYOUT_C2);
}

static void check_unpack_l3(const target *t)
{
    static const size_t firsts[] = {0, 3, 33}, counts[] = {0, 3, 6, 15, 18, 30, 33};
    const size_t all_tiles = 12, all_groups = 22;
    size_t stride = all_groups * BN_LOOKUP_BYTES, turn = 0;
    for (size_t i = 0; i < COUNT_OF(firsts); i++)
        for (size_t j = 0; j < COUNT_OF(counts); j++)
            for (size_t n_tiles = 1; n_tiles <= BN_GEMM_TILES; n_tiles++)
                for (size_t tile = 0; tile + n_tiles <= all_tiles; tile += t->quick ? 5 : 1)
                    check_one_unpack(t, bn_unpack_l3__scalar, all_tiles / 4 * stride, stride, tile, n_tiles, firsts[i],
                                     counts[j], turn++ % 4 == 3 ? CHECK_AT_START : CHECK_AT_END);
}

static void fill_panel(uint8_t *panel, size_t n, code_pattern pattern)
{
    for (size_t i = 0; i < n; i++)
        panel[i] = (uint8_t)one_code(pattern, i);
}

static void check_one_gemm(const target *t, size_t n_tiles, size_t n_blocks, size_t n_tokens, int add,
                           code_pattern codes, q_pattern qs, check_place place)
{
    size_t n = n_blocks * BN_BLOCK_COLS, stride = padded(n) + check_below(2) * 64;
    check_case("%s %s: %zu tiles, %zu blocks, %zu tokens, stride %zu, add %d, codes %s, q %s, place %d", t->kernel,
               t->isa, n_tiles, n_blocks, n_tokens, stride, add, code_names[codes], q_names[qs], (int)place);
    size_t panel_bytes = n_tiles * n_blocks * 256, q_bytes = n_tokens ? (n_tokens - 1) * stride + padded(n) : 0;
    size_t sum_bytes = n_tokens * n_tiles * BN_TILE_ROWS * sizeof(int32_t);
    uint8_t *panel0 = scratch_get(&master_tiles, panel_bytes);
    int8_t *q0 = scratch_get(&master_q, n_tokens * stride);
    int32_t *expected = scratch_get(&expected_sums, sum_bytes);
    fill_panel(panel0, panel_bytes, codes);
    fill_q_rows(q0, n_tokens, n, stride, qs);
    int32_t *before = scratch_get(&expected_panel, sum_bytes);
    for (size_t i = 0; i < sum_bytes / sizeof *before; i++)
        before[i] = (int32_t)check_below(1 << 20) - (1 << 19);
    memcpy(expected, before, sum_bytes);
    bn_gemm_panel_i8__scalar(panel0, n_tiles, n_blocks, q0, stride, n_tokens, add, expected);

    uint8_t *panel = check_copy(&guard_panel, panel0, panel_bytes, 64, place);
    int8_t *q = check_copy(&guard_q, q0, q_bytes, 64, place);
    int32_t *sums = check_copy(&guard_sums, before, sum_bytes, sizeof *sums, place);
    TARGET_FN(t, gemm_panel_i8)(panel, n_tiles, n_blocks, q, stride, n_tokens, add, sums);
    check(memcmp(sums, expected, sum_bytes) == 0, "sums differ from the reference");
    check(check_surroundings(&guard_sums), "wrote outside of sums");
    check(memcmp(panel, panel0, panel_bytes) == 0 && memcmp(q, q0, q_bytes) == 0, "changed its inputs");
}

static void check_gemm(const target *t)
{
    static const size_t few_tokens[] = {0, 1, 2, 3, 4, 5, 7, 8, 12, 13, 32};
    static const size_t many_tokens[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15, 16, 17, 24, 25, 31, 32, 33};
    static const size_t few_blocks[] = {1, 2, 3, 4, 5, 8, 17, 32};
    static const size_t many_blocks[] = {1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 17, 31, 32, 33, 40, 67};
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
                for (size_t k = 0; k < (t->quick ? 4 : COUNT_OF(inputs)); k++, turn++)
                    check_one_gemm(t, n_tiles, block_counts[j], token_counts[i], turn % 2, inputs[k].codes, inputs[k].q,
                                   turn % 4 == 3 ? CHECK_AT_START : CHECK_AT_END);
    check_one_gemm(t, BN_GEMM_TILES, 67, 13, 0, CODES_RANDOM, Q_MIXED, CHECK_AT_END);
    check_one_gemm(t, BN_GEMM_TILES, 896, 5, 1, CODES_2, Q_MAX, CHECK_AT_END);
    check_one_gemm(t, BN_GEMM_TILES, 896, 4, 0, CODES_2, Q_MIN, CHECK_AT_END);
    if (!t->quick) {
        check_one_gemm(t, BN_GEMM_TILES, 160, 512, 1, CODES_RANDOM, Q_MIXED, CHECK_AT_END);
        check_one_gemm(t, BN_GEMM_TILES, 1 << 16, 3, 0, CODES_2, Q_MIN, CHECK_AT_END);
    }
}

const kernel_check ternary_checks[] = {{"gemv_t2_i8", check_gemv},     {"gemv_r2_i8", check_r2},
                                       {"gemv_c2_i8", check_c2},       {"unpack_t2", check_unpack_t2},
                                       {"gemv_l3_i8", check_l3},       {"table_l3_i8", check_l3},
                                       {"unpack_l3", check_unpack_l3},
                                       {"unpack_r2", check_unpack_r2}, {"unpack_c2", check_unpack_c2},
                                       {"gemm_panel_i8", check_gemm},  {NULL, NULL}};
