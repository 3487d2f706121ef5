/* file_codes_tl.c: TL1 and TL2 taken apart (file_codes_tl.h).
 *
 * Neighbours in memory are rows: 16 of them, or 32, with four, six or 24 columns each. So the loops go over the units as
 * they lie and put the few codes of each row to their place; the rows written at once stay in the first-level cache. */
#include "file_codes_tl.h"

#include <string.h>

#define NONE 0xff               /* in a table: no weights */
#define ANY_NONE 0xfcfcfcfcu    /* bits of four codes that only NONE has */

/* ---- Pairs: two columns in a nibble, 3 a + b of their codes ---- */

/* The codes of a byte: four columns, the first two in the high nibble. */
#define NO_PAIRS {NONE, NONE, NONE, NONE}
#define PAIRS(a, b)                                                                                                     \
    {a, b, 0, 0}, {a, b, 0, 1}, {a, b, 0, 2}, {a, b, 1, 0}, {a, b, 1, 1}, {a, b, 1, 2}, {a, b, 2, 0}, {a, b, 2, 1},     \
    {a, b, 2, 2}, NO_PAIRS, NO_PAIRS, NO_PAIRS, NO_PAIRS, NO_PAIRS, NO_PAIRS, NO_PAIRS
static const uint8_t pair_codes[256][4] = {
    PAIRS(0, 0), PAIRS(0, 1), PAIRS(0, 2), PAIRS(1, 0), PAIRS(1, 1), PAIRS(1, 2), PAIRS(2, 0), PAIRS(2, 1), PAIRS(2, 2),
    [144 ... 255] = NO_PAIRS};

/* Writes the four codes of a byte and returns them, to be looked over for NONE. */
static inline uint32_t put_pairs(uint8_t byte, uint8_t *codes)
{
    uint32_t four;
    memcpy(&four, pair_codes[byte], 4);
    memcpy(codes, &four, 4);
    return four;
}

/* ---- TL1: units of 16 rows of 4 columns, in steps of 64 bytes ---- */

static uint32_t codes_of_tl1(const bn_tiled *s, size_t row, size_t n_rows, size_t col, size_t n_cols,
                             uint8_t *restrict codes, size_t stride)
{
    uint32_t seen = 0;
    for (size_t r = 0; r < n_rows; r += 16, codes += 16 * stride) {
        size_t in_outer = (row + r) % s->outer, in_inner = in_outer % s->inner;
        const uint8_t *tiles = s->data + (row + r) / s->outer * (s->outer * s->cols / 4);
        size_t inner = in_outer / s->inner * (s->inner * s->tile / 4);
        /* A step is two rows of units, of two columns each, or four rows of one. */
        size_t across = s->inner == 32 ? 2 : 1, unit_row = in_inner / 16 * across * 16;
        for (size_t c = 0; c < n_cols;) {
            const uint8_t *tile = tiles + (col + c) / s->tile * (s->outer * s->tile / 4) + inner + unit_row;
            size_t x = (col + c) % s->tile, end = s->tile - x < n_cols - c ? c + s->tile - x : n_cols;
            for (; c < end; c += 4, x += 4) {
                const uint8_t *unit = tile + x / 4 / across * 64 + x / 4 % across * 16;
                for (size_t i = 0; i < 16; i++)
                    seen |= put_pairs(unit[i], codes + i * stride + c);
            }
        }
    }
    return seen;
}

/* ---- TL2: threes of columns, v = 9 a + 3 b + c of their weights, as |v| in a nibble and a sign elsewhere ---- */

/* The codes of a byte of two indices, for each of the four pairs of signs: 8 KB. The last two bytes are nothing, so that
 * they can be copied eight at a time. */
#define NO_THREES {NONE, NONE, NONE, NONE, NONE, NONE, 0, 0}
#define THREES(v, w) \
    {((v) + 13) / 9, ((v) + 13) / 3 % 3, ((v) + 13) % 3, ((w) + 13) / 9, ((w) + 13) / 3 % 3, ((w) + 13) % 3, 0, 0}
#define THREES_16(v, s)                                                                                                 \
    THREES(v, 0), THREES(v, s), THREES(v, 2 * (s)), THREES(v, 3 * (s)), THREES(v, 4 * (s)), THREES(v, 5 * (s)),         \
    THREES(v, 6 * (s)), THREES(v, 7 * (s)), THREES(v, 8 * (s)), THREES(v, 9 * (s)), THREES(v, 10 * (s)),                \
    THREES(v, 11 * (s)), THREES(v, 12 * (s)), THREES(v, 13 * (s)), NO_THREES, NO_THREES
#define NO_THREES_16                                                                                                    \
    NO_THREES, NO_THREES, NO_THREES, NO_THREES, NO_THREES, NO_THREES, NO_THREES, NO_THREES, NO_THREES, NO_THREES,       \
    NO_THREES, NO_THREES, NO_THREES, NO_THREES, NO_THREES, NO_THREES
#define THREES_256(r, s)                                                                                                \
    THREES_16(0, s), THREES_16(r, s), THREES_16(2 * (r), s), THREES_16(3 * (r), s), THREES_16(4 * (r), s),              \
    THREES_16(5 * (r), s), THREES_16(6 * (r), s), THREES_16(7 * (r), s), THREES_16(8 * (r), s), THREES_16(9 * (r), s),  \
    THREES_16(10 * (r), s), THREES_16(11 * (r), s), THREES_16(12 * (r), s), THREES_16(13 * (r), s), NO_THREES_16,       \
    NO_THREES_16
static const uint8_t three_codes[4 * 256][8] = {THREES_256(1, 1), THREES_256(1, -1), THREES_256(-1, 1),
                                                THREES_256(-1, -1)};

/* Place among 32 rows of the indices and pairs of row r: the 8-row groups come in the order 0, 2, 1, 3. */
static inline size_t place(size_t r)
{
    return (r & 8) << 1 | (r & 16) >> 1 | (r & 7);
}

/* 32 rows of 24 columns: indices [4][32 places] of 6 columns each, signs [16] words of 2 bytes; word j has the 8 signs of
 * row j in its odd bits, those of row j + 16 in its even bits, from the top down. Returns what it wrote,
 * or-ed together. */
static uint32_t put_threes(const uint8_t *restrict indices, const uint8_t *restrict signs, uint8_t *restrict codes,
                           size_t stride)
{
    uint64_t seen = 0;
    for (size_t r = 0; r < 32; r++, codes += stride) {
        uint32_t word = (uint32_t)signs[r % 16 * 2] | (uint32_t)signs[r % 16 * 2 + 1] << 8;
        uint32_t own = word >> (1 - r / 16) & 0x5555;       /* the row's signs, at every other bit */
        uint32_t pairs = (own | own >> 1) & 0x3333;         /* those of a byte side by side */
        const uint8_t *at = indices + place(r);
        for (size_t g = 0; g < 4; g++) {
            uint64_t six;
            memcpy(&six, three_codes[(pairs >> (12 - 4 * g) & 3) << 8 | at[32 * g]], 8);
            memcpy(codes + 6 * g, &six, g < 3 ? 8 : 6);     /* the last two are overwritten by what follows */
            seen |= six;
        }
    }
    return (uint32_t)(seen | seen >> 32);
}

/* Whole groups of 24 columns, before n_threes. */
static uint32_t codes_of_threes(const bn_tiled *s, size_t row, size_t n_rows, size_t col, size_t n_cols,
                                uint8_t *restrict codes, size_t stride)
{
    const uint8_t *signs = s->data + s->rows * s->n_threes / 6;
    uint32_t seen = 0;
    for (size_t r = 0; r < n_rows; r += 32)
        for (size_t c = 0; c < n_cols; c += 24) {
            /* 32 rows of 24 columns are a block; this one is behind whole outer tiles, tiles and inner tiles. */
            size_t block = (row + r) / s->outer * (s->outer / 32) * (s->n_threes / 24) +
                           (col + c) / s->tile * (s->outer / 32) * (s->tile / 24) +
                           (row + r) % s->outer / 32 * (s->tile / 24) + (col + c) % s->tile / 24;
            seen |= put_threes(s->data + block * 128, signs + block * 32, codes + r * stride + c, stride);
        }
    return seen;
}

/* Columns from n_threes on, in tiles of 32: col counts from there, and is a multiple of 4. */
static uint32_t codes_of_pairs(const bn_tiled *s, size_t row, size_t n_rows, size_t col, size_t n_cols,
                               uint8_t *restrict codes, size_t stride)
{
    const uint8_t *pairs = s->data + s->rows * s->n_threes / 6 + s->rows * s->n_threes / 24;
    uint32_t seen = 0;
    for (size_t r = 0; r < n_rows; r += 32)
        for (size_t c = 0; c < n_cols; c += 4) {
            const uint8_t *unit = pairs + (row + r) / s->outer * (s->outer * (s->cols - s->n_threes) / 4) +
                                  (col + c) / 32 * (s->outer * 8) + (row + r) % s->outer / 32 * 256 +
                                  (col + c) % 32 / 4 * 32;
            for (size_t i = 0; i < 32; i++)
                seen |= put_pairs(unit[place(i)], codes + (r + i) * stride + c);
        }
    return seen;
}

/* ---- Both ---- */

int bn_codes_tiled(const bn_tiled *s, size_t row, size_t n_rows, size_t col, size_t n_cols, uint8_t *restrict codes,
                   size_t stride)
{
    if (!s->is_tl2)
        return (codes_of_tl1(s, row, n_rows, col, n_cols, codes, stride) & ANY_NONE) != 0;
    size_t left = s->n_threes > col ? s->n_threes - col : 0, n_threes = left < n_cols ? left : n_cols;
    uint32_t seen = codes_of_threes(s, row, n_rows, col, n_threes, codes, stride);
    if (n_threes < n_cols)
        seen |= codes_of_pairs(s, row, n_rows, col + n_threes - s->n_threes, n_cols - n_threes, codes + n_threes, stride);
    return (seen & ANY_NONE) != 0;
}

int bn_tiled_find(bn_pack_format format, const bn_tiling *tiling, const uint8_t *data, size_t n_bytes, size_t rows,
                  size_t cols, bn_tiled *out)
{
    if (tiling->rows_outer < 1 || tiling->cols < 1 || tiling->rows_inner < 1)
        return 0;
    bn_tiled s = {.data = data, .rows = rows, .cols = cols, .outer = (size_t)tiling->rows_outer,
                  .tile = (size_t)tiling->cols, .inner = (size_t)tiling->rows_inner, .is_tl2 = format == BN_PACK_TL2};
    /* So outer <= rows, and where there are tiles, tile <= cols: no product below passes rows * cols. */
    if (rows % s.outer || s.outer % s.inner)
        return 0;
    if (format == BN_PACK_TL1) {
        if ((s.inner != 32 && s.inner != 64) || cols % s.tile || s.tile % (256 / s.inner) || n_bytes != rows * cols / 4)
            return 0;
    } else if (format == BN_PACK_TL2) {
        s.n_threes = cols / s.tile * s.tile;
        if (s.inner != 32 || s.tile % 24 || (cols - s.n_threes) % 32 ||
            n_bytes != rows * s.n_threes / 6 + rows * s.n_threes / 24 + rows * (cols - s.n_threes) / 4)
            return 0;
    } else {
        return 0;
    }
    *out = s;
    return 1;
}
