/* ternary_dotprod.c: ternary matrix times int8 activations with the dot product of Armv8.2.
 *
 * Leans on SDOT (16 products int8 x int8, four of them added to each int32 lane), by element in t2 and gemm: a 16-byte
 * load holds the activations of a whole block, and lane f of it meets field f. */
#include "ternary_neon.h"

/* gemv leaves fields 1 and 2 where they are in the byte, as codes 0, 4, 8 and 0, 16, 32, and shifts their sums at the
 * end: two instructions less per 16 bytes. Field 3 would be 0, 64, 128, which does not fit int8: it is shifted down.
 * BOUND: a lane takes 4 products of field 2 per block, at least 4 * 32 * -128 = -2^14: 2^16 blocks give -2^30. Fields 0
 * and 3 share a lane with 8 products per block, at least 8 * 2 * -128. Fold every 2^16 blocks. */
enum { FOLD_BLOCKS = 1 << 16 };
_Static_assert((int64_t)FOLD_BLOCKS * 4 * 32 * -128 >= INT32_MIN, "sums of field 2 fit int32");

/* Sums of four rows over at most FOLD_BLOCKS blocks: fields 0 and 3, four times field 1, sixteen times field 2. */
typedef struct {
    int32x4_t field0_3, field1, field2;
} row_sums;

ALWAYS_INLINE int32x4_t joined(row_sums acc)
{
    return vaddq_s32(vaddq_s32(acc.field0_3, vshrq_n_s32(acc.field1, 2)), vshrq_n_s32(acc.field2, 4));
}

/* The fields of 16 bytes where row_sums wants them: fields 0 and 3 as they are, 1 and 2 four and sixteen times. */
ALWAYS_INLINE void split(uint8x16_t w, int8x16_t codes[4])
{
    codes[0] = vreinterpretq_s8_u8(vandq_u8(w, vdupq_n_u8(0x03)));
    codes[1] = vreinterpretq_s8_u8(vandq_u8(w, vdupq_n_u8(0x0c)));
    codes[2] = vreinterpretq_s8_u8(vandq_u8(w, vdupq_n_u8(0x30)));
    codes[3] = vreinterpretq_s8_u8(vshrq_n_u8(w, 6));
}

/* ---- One token ---- */

/* Adds one block of four rows. */
ALWAYS_INLINE void add_rows(row_sums *acc, uint8x16_t w, int8x16_t q)
{
    int8x16_t codes[4];
    split(w, codes);
    acc->field0_3 = vdotq_laneq_s32(acc->field0_3, codes[0], q, 0);
    acc->field1 = vdotq_laneq_s32(acc->field1, codes[1], q, 1);
    acc->field2 = vdotq_laneq_s32(acc->field2, codes[2], q, 2);
    acc->field0_3 = vdotq_laneq_s32(acc->field0_3, codes[3], q, 3);
}

/* Adds codes . values[f] for each field f of 16 bytes. */
ALWAYS_INLINE void add_fields(row_sums *acc, uint8x16_t w, const int8x16_t values[4])
{
    int8x16_t codes[4];
    split(w, codes);
    acc->field0_3 = vdotq_s32(acc->field0_3, codes[0], values[0]);
    acc->field1 = vdotq_s32(acc->field1, codes[1], values[1]);
    acc->field2 = vdotq_s32(acc->field2, codes[2], values[2]);
    acc->field0_3 = vdotq_s32(acc->field0_3, codes[3], values[3]);
}

/* sums[16] (+)= at most FOLD_BLOCKS blocks of one tile @ q */
ALWAYS_INLINE void tile_dot(const uint8_t *tile, size_t n_blocks, const int8_t *q, int add, int32_t *sums)
{
    row_sums acc[4];
    UNROLL
    for (size_t k = 0; k < 4; k++)
        acc[k].field0_3 = acc[k].field1 = acc[k].field2 = vdupq_n_s32(0);
    for (size_t block = 0; block < n_blocks; block++, tile += BN_BLOCK_BYTES, q += BN_BLOCK_COLS) {
        int8x16_t all = vld1q_s8(q);
        UNROLL
        for (size_t k = 0; k < 4; k++)
            add_rows(&acc[k], vld1q_u8(tile + 16 * k), all);
    }
    UNROLL
    for (size_t k = 0; k < 4; k++)
        bn_put(sums + 4 * k, joined(acc[k]), add);
}

void bn_gemv_t2_i8__dotprod(const uint8_t *tiles, size_t n_tiles, size_t n_blocks, const int8_t *q, int32_t *sums)
{
    for (size_t i = 0; i < n_tiles; i++) {
        const uint8_t *tile = tiles + i * n_blocks * BN_BLOCK_BYTES;
        size_t first = 0;
        do {
            size_t n = n_blocks - first < FOLD_BLOCKS ? n_blocks - first : FOLD_BLOCKS;
            tile_dot(tile + first * BN_BLOCK_BYTES, n, q + first * BN_BLOCK_COLS, first > 0, sums + i * BN_TILE_ROWS);
            first += n;
        } while (first < n_blocks);
    }
}

#define TILE_DOT(tile, n_blocks, q, sums) tile_dot(tile, n_blocks, q, 0, sums)
BN_GEMV_G2(dotprod)

/* BOUND: a lane takes 16 products of field 2 per group, at least 16 * 32 * -128 = -2^16, and there are at most 2^14
 * groups: -2^30. Fields 0 and 3 are less. */
_Static_assert((int64_t)(1 << 14) * 16 * 32 * -128 >= INT32_MIN, "sums of field 2 of a row fit int32");

ALWAYS_INLINE int32x4_t rows_dot(const uint8_t *const row[ROWS], const uint8_t *const ahead[ROWS], size_t n_groups,
                                 const int8_t *q)
{
    row_sums acc[ROWS];
    UNROLL
    for (size_t r = 0; r < ROWS; r++)
        acc[r].field0_3 = acc[r].field1 = acc[r].field2 = vdupq_n_s32(0);
    for (size_t group = 0; group < n_groups; group++, q += BN_GROUP_COLS) {
        UNROLL
        for (size_t r = 0; r < ROWS; r++)
            __builtin_prefetch(ahead[r] + group * 64);
        UNROLL
        for (size_t p = 0; p < 64; p += 16) {
            int8x16_t values[4];
            UNROLL
            for (size_t f = 0; f < 4; f++)
                values[f] = vld1q_s8(q + 64 * f + p);
            UNROLL
            for (size_t r = 0; r < ROWS; r++)
                add_fields(&acc[r], vld1q_u8(row[r] + group * 64 + p), values);
            END_OF_STEP();
        }
    }
    return vpaddq_s32(vpaddq_s32(joined(acc[0]), joined(acc[1])), vpaddq_s32(joined(acc[2]), joined(acc[3])));
}

BN_GEMV_R2(dotprod)

/* Interleaves four vectors byte by byte: lane j of out[m] holds byte 4*m + j of each of them. */
ALWAYS_INLINE void interleave(const uint8x16_t col[4], uint8x16_t out[4])
{
    uint16x8_t low01 = vreinterpretq_u16_u8(vzip1q_u8(col[0], col[1]));
    uint16x8_t high01 = vreinterpretq_u16_u8(vzip2q_u8(col[0], col[1]));
    uint16x8_t low23 = vreinterpretq_u16_u8(vzip1q_u8(col[2], col[3]));
    uint16x8_t high23 = vreinterpretq_u16_u8(vzip2q_u8(col[2], col[3]));
    out[0] = vreinterpretq_u8_u16(vzip1q_u16(low01, low23));
    out[1] = vreinterpretq_u8_u16(vzip2q_u16(low01, low23));
    out[2] = vreinterpretq_u8_u16(vzip1q_u16(high01, high23));
    out[3] = vreinterpretq_u8_u16(vzip2q_u16(high01, high23));
}

/* A lane takes four products of each field per four cols, as in t2, and there are no more than COLS of them. */
ALWAYS_INLINE void add_cols(const uint8_t *const col[COLS], const uint8_t *const *next, const uint8_t *const *ahead,
                            size_t at, size_t n, const int8_t *q, int32_t *sums)
{
    int32x4_t acc[4][4];
    UNROLL
    for (size_t m = 0; m < 4; m++)
        UNROLL
        for (size_t f = 0; f < 4; f++)
            acc[m][f] = vdupq_n_s32(0);
    for (size_t i = 0; i < n; i += 4) {
        int32_t word;
        memcpy(&word, q + i, sizeof word);
        int8x16_t four = vreinterpretq_s8_s32(vdupq_n_s32(word));
        uint8x16_t bytes[4], mixed[4];
        __builtin_prefetch(next[i] + at + 64);
        __builtin_prefetch(ahead[i] + at);
        UNROLL
        for (size_t c = 0; c < 4; c++)
            bytes[c] = vld1q_u8(col[i + c] + at);
        interleave(bytes, mixed);
        UNROLL
        for (size_t m = 0; m < 4; m++) {
            int8x16_t codes[4];
            split(mixed[m], codes);
            UNROLL
            for (size_t f = 0; f < 4; f++)
                acc[m][f] = vdotq_s32(acc[m][f], codes[f], four);
        }
    }
    UNROLL
    for (size_t m = 0; m < 4; m++) {
        int32_t *out = sums + BN_TILE_ROWS * m;
        bn_put(out, acc[m][0], 1);
        bn_put(out + 64, vshrq_n_s32(acc[m][1], 2), 1);
        bn_put(out + 128, vshrq_n_s32(acc[m][2], 4), 1);
        bn_put(out + 192, acc[m][3], 1);
    }
}

BN_GEMV_C2(dotprod, 16)

/* ---- Several tokens ---- */

enum { TOKENS = 6, TOKEN_STEP = 1 };
#define TOKEN_COUNTS(CASE, dot) CASE(dot, 1) CASE(dot, 2) CASE(dot, 3) CASE(dot, 4) CASE(dot, 5) CASE(dot, 6)

/* acc[t] += group f of a block of one tile @ q[t]; f is written out because SDOT wants it as a constant. */
#define ADD_GROUP(f)                                                                                                   \
    do {                                                                                                               \
        UNROLL                                                                                                         \
        for (size_t k = 0; k < 4; k++) {                                                                               \
            int8x16_t codes = vreinterpretq_s8_u8(vld1q_u8(panel + (f) * step + 16 * k));                              \
            UNROLL                                                                                                     \
            for (size_t t = 0; t < n_tokens; t++)                                                                      \
                acc[t][k] = vdotq_laneq_s32(acc[t][k], codes, all[t], f);                                              \
            END_OF_STEP();                                                                                             \
        }                                                                                                              \
    } while (0)

/* sums[t][16] (+)= blocks of one tile @ q[t], as gemm_neon.h says. n_tokens <= TOKENS is a constant where this is
 * inlined: 24 accumulators, 6 registers of activations and 2 of codes at most. */
ALWAYS_INLINE void panel_dot(const uint8_t *panel, size_t step, size_t n_blocks, const int8_t *q, size_t q_stride,
                             size_t n_tokens, int add, int32_t *sums, size_t sums_stride)
{
    int32x4_t acc[TOKENS][4];
    UNROLL
    for (size_t t = 0; t < n_tokens; t++)
        UNROLL
        for (size_t k = 0; k < 4; k++)
            acc[t][k] = vdupq_n_s32(0);
    for (size_t block = 0; block < n_blocks; block++, q += BN_BLOCK_COLS, panel += 4 * step) {
        int8x16_t all[TOKENS];
        UNROLL
        for (size_t t = 0; t < n_tokens; t++)
            all[t] = vld1q_s8(q + t * q_stride);
        ADD_GROUP(0);
        ADD_GROUP(1);
        ADD_GROUP(2);
        ADD_GROUP(3);
    }
    UNROLL
    for (size_t t = 0; t < n_tokens; t++)
        UNROLL
        for (size_t k = 0; k < 4; k++)
            bn_put(sums + t * sums_stride + 4 * k, acc[t][k], add);
}

#include "gemm_neon.h"

BN_ANY_TOKENS(panel_dot)

void bn_gemm_panel_i8__dotprod(const uint8_t *panel, size_t n_tiles, size_t n_blocks, const int8_t *q, size_t q_stride,
                               size_t n_tokens, int add, int32_t *sums)
{
    meet_tokens(panel_dot_any, panel, n_tiles, n_blocks, q, q_stride, n_tokens, add, sums);
}
