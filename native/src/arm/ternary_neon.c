/* ternary_neon.c: ternary matrix times int8 activations on Armv8.0, which has no dot product instruction.
 *
 * Leans on SMLAL and SMLAL2 (8 products int8 x int8 added to int16) and SADALP (pairs of int16 added to int32). In t2,
 * c2 and gemm every int16 lane stays with one row, so there is no shuffling until the very end. */
#include "ternary_neon.h"

/* BOUND: an int16 lane takes one product of each of the 4 fields of a block, code 0..2 times q -128..127. In 32 blocks
 * that is at most 32 * 4 * 2 * 127 = 32512 <= 32767 and at least 32 * 4 * 2 * -128 = -32768. Fold to int32 every 32. */
enum { FOLD_BLOCKS = 32, FOLD_GROUPS = 8 };
_Static_assert(FOLD_BLOCKS * 4 * 2 * 127 <= INT16_MAX, "positive sums fit int16");
_Static_assert(FOLD_BLOCKS * 4 * 2 * -128 >= INT16_MIN, "negative sums fit int16");

/* The four activations that meet field f, in every 32-bit lane. */
#define BROADCAST(q, f) vreinterpretq_s8_s32(vdupq_laneq_s32(vreinterpretq_s32_s8(q), f))

/* acc[0..1] += the low and the high half of codes * q. Asm lines because gcc 12 copies the accumulators of the
 * intrinsics. */
ALWAYS_INLINE void multiply_add(int16x8_t acc[2], int8x16_t codes, int8x16_t q)
{
    __asm__("smlal %0.8h, %1.8b, %2.8b" : "+w"(acc[0]) : "w"(codes), "w"(q));
    __asm__("smlal2 %0.8h, %1.16b, %2.16b" : "+w"(acc[1]) : "w"(codes), "w"(q));
}

/* acc[8] += one block of a tile: acc[2*k], acc[2*k + 1] belong to rows 4*k..4*k + 3. */
ALWAYS_INLINE void add_block(int16x8_t acc[8], const uint8_t *block, const int8_t *q)
{
    int8x16_t all = vld1q_s8(q);
    int8x16_t q0 = BROADCAST(all, 0), q1 = BROADCAST(all, 1), q2 = BROADCAST(all, 2), q3 = BROADCAST(all, 3);
    UNROLL
    for (size_t k = 0; k < 4; k++) {
        int8x16_t codes[4];
        bn_unpack_fields(vld1q_u8(block + 16 * k), codes);
        multiply_add(acc + 2 * k, codes[0], q0);
        multiply_add(acc + 2 * k, codes[1], q1);
        multiply_add(acc + 2 * k, codes[2], q2);
        multiply_add(acc + 2 * k, codes[3], q3);
    }
}

/* sums[16] = one tile @ q */
ALWAYS_INLINE void tile_dot(const uint8_t *tile, size_t n_blocks, const int8_t *q, int32_t *sums)
{
    int32x4_t wide[8];
    UNROLL
    for (size_t i = 0; i < 8; i++)
        wide[i] = vdupq_n_s32(0);
    for (size_t first = 0; first < n_blocks; first += FOLD_BLOCKS) {
        size_t end = n_blocks - first < FOLD_BLOCKS ? n_blocks : first + FOLD_BLOCKS;
        int16x8_t acc[8];
        UNROLL
        for (size_t i = 0; i < 8; i++)
            acc[i] = vdupq_n_s16(0);
        for (size_t block = first; block < end; block++)
            add_block(acc, tile + block * BN_BLOCK_BYTES, q + block * BN_BLOCK_COLS);
        UNROLL
        for (size_t i = 0; i < 8; i++)
            wide[i] = vpadalq_s16(wide[i], acc[i]);
    }
    UNROLL
    for (size_t k = 0; k < 4; k++)
        vst1q_s32(sums + 4 * k, vpaddq_s32(wide[2 * k], wide[2 * k + 1]));
}

void bn_gemv_t2_i8__neon(const uint8_t *tiles, size_t n_tiles, size_t n_blocks, const int8_t *q, int32_t *sums)
{
    for (size_t i = 0; i < n_tiles; i++)
        tile_dot(tiles + i * n_blocks * BN_BLOCK_BYTES, n_blocks, q, sums + i * BN_TILE_ROWS);
}

#define TILE_DOT tile_dot
BN_GEMV_G2(neon)

/* ---- One token: rows and cols ---- */

/* BOUND: an int16 lane takes 16 products of a group of a row, 4 vectors of 4 fields: in 8 groups 128, as above. */
_Static_assert(FOLD_GROUPS * 16 == FOLD_BLOCKS * 4, "as many products of a row as of a tile");

/* acc[r] += one group of ROWS rows of r2 @ q */
ALWAYS_INLINE void add_group(int16x8_t acc[ROWS][2], const uint8_t *const row[ROWS], size_t at, const int8_t *q)
{
    UNROLL
    for (size_t p = 0; p < 64; p += 16) {
        int8x16_t values[4];
        UNROLL
        for (size_t f = 0; f < 4; f++)
            values[f] = vld1q_s8(q + 64 * f + p);
        UNROLL
        for (size_t r = 0; r < ROWS; r++) {
            int8x16_t codes[4];
            bn_unpack_fields(vld1q_u8(row[r] + at + p), codes);
            UNROLL
            for (size_t f = 0; f < 4; f++)
                multiply_add(acc[r], codes[f], values[f]);
        }
        END_OF_STEP();
    }
}

ALWAYS_INLINE int32x4_t rows_dot(const uint8_t *const row[ROWS], const uint8_t *const ahead[ROWS], size_t n_groups,
                                 const int8_t *q)
{
    int32x4_t wide[ROWS];
    UNROLL
    for (size_t r = 0; r < ROWS; r++)
        wide[r] = vdupq_n_s32(0);
    for (size_t first = 0; first < n_groups; first += FOLD_GROUPS) {
        size_t end = n_groups - first < FOLD_GROUPS ? n_groups : first + FOLD_GROUPS;
        int16x8_t acc[ROWS][2];
        UNROLL
        for (size_t r = 0; r < ROWS; r++)
            acc[r][0] = acc[r][1] = vdupq_n_s16(0);
        for (size_t group = first; group < end; group++) {
            UNROLL
            for (size_t r = 0; r < ROWS; r++)
                __builtin_prefetch(ahead[r] + group * 64);
            add_group(acc, row, group * 64, q + group * BN_GROUP_COLS);
        }
        UNROLL
        for (size_t r = 0; r < ROWS; r++)
            wide[r] = vpadalq_s16(vpadalq_s16(wide[r], acc[r][0]), acc[r][1]);
    }
    return vpaddq_s32(vpaddq_s32(wide[0], wide[1]), vpaddq_s32(wide[2], wide[3]));
}

BN_GEMV_R2(neon)

/* BOUND: an int16 lane takes one product of each col. */
_Static_assert(COLS * 2 * 128 <= INT16_MAX, "sums of the cols that pass together fit int16");

/* 32 bytes of each col: acc[l][f][0] holds the rows of m = 0 and 1 (kernels.h), acc[l][f][1] those of m = 2 and 3. */
ALWAYS_INLINE void add_cols(const uint8_t *const col[COLS], const uint8_t *const *next, const uint8_t *const *ahead,
                            size_t at, size_t n, const int8_t *q, int32_t *sums)
{
    int16x8_t acc[2][4][2];
    UNROLL
    for (size_t l = 0; l < 2; l++)
        UNROLL
        for (size_t f = 0; f < 4; f++)
            acc[l][f][0] = acc[l][f][1] = vdupq_n_s16(0);
    for (size_t i = 0; i < n; i += 2) {
        __builtin_prefetch(next[i] + at + 64);
        __builtin_prefetch(ahead[i] + at);
        UNROLL
        for (size_t c = 0; c < 2; c++) {
            int8x16_t value = vld1q_dup_s8(q + i + c);
            UNROLL
            for (size_t l = 0; l < 2; l++) {
                int8x16_t codes[4];
                bn_unpack_fields(vld1q_u8(col[i + c] + at + 16 * l), codes);
                UNROLL
                for (size_t f = 0; f < 4; f++)
                    multiply_add(acc[l][f], codes[f], value);
            }
        }
    }
    UNROLL
    for (size_t l = 0; l < 2; l++)
        UNROLL
        for (size_t f = 0; f < 4; f++)
            UNROLL
            for (size_t m = 0; m < 4; m++) {
                int16x8_t eight = acc[l][f][m / 2];
                int32x4_t four = vmovl_s16(m % 2 ? vget_high_s16(eight) : vget_low_s16(eight));
                bn_put(sums + 64 * f + BN_TILE_ROWS * m + 4 * l, four, 1);
            }
}

BN_GEMV_C2(neon, 32)

/* ---- Several tokens ---- */

enum { TOKENS = 3, TOKEN_STEP = 1 };
#define TOKEN_COUNTS(CASE, dot) CASE(dot, 1) CASE(dot, 2) CASE(dot, 3)

/* Four activations, in every 32-bit lane: LD1R. */
ALWAYS_INLINE int8x16_t four_of(const int8_t *q)
{
    int32_t four;
    memcpy(&four, q, sizeof four);
    return vreinterpretq_s8_s32(vdupq_n_s32(four));
}

/* sums[t][16] (+)= at most FOLD_BLOCKS blocks of one tile @ q[t], as gemm_neon.h says. n_tokens <= TOKENS is a constant
 * where this is inlined: 24 accumulators, 3 registers of activations and 4 of codes at most. */
ALWAYS_INLINE void panel_dot(const uint8_t *panel, size_t step, size_t n_blocks, const int8_t *q, size_t q_stride,
                             size_t n_tokens, int add, int32_t *sums, size_t sums_stride)
{
    int16x8_t acc[TOKENS][8];
    UNROLL
    for (size_t t = 0; t < n_tokens; t++)
        UNROLL
        for (size_t i = 0; i < 8; i++)
            acc[t][i] = vdupq_n_s16(0);
    for (size_t block = 0; block < n_blocks; block++, q += BN_BLOCK_COLS, panel += 4 * step)
        UNROLL
        for (size_t f = 0; f < 4; f++) {
            int8x16_t four[TOKENS];
            UNROLL
            for (size_t t = 0; t < n_tokens; t++)
                four[t] = four_of(q + t * q_stride + 4 * f);
            UNROLL
            for (size_t k = 0; k < 4; k++) {
                int8x16_t codes = vld1q_s8((const int8_t *)panel + f * step + 16 * k);
                UNROLL
                for (size_t t = 0; t < n_tokens; t++)
                    multiply_add(acc[t] + 2 * k, codes, four[t]);
            }
            END_OF_STEP();
        }
    UNROLL
    for (size_t t = 0; t < n_tokens; t++)
        UNROLL
        for (size_t k = 0; k < 4; k++)
            bn_put(sums + t * sums_stride + 4 * k,
                   vpaddq_s32(vpaddlq_s16(acc[t][2 * k]), vpaddlq_s16(acc[t][2 * k + 1])), add);
}

#include "gemm_neon.h"

BN_ANY_TOKENS(panel_dot)

/* Goes through the panel in runs of FOLD_BLOCKS, whose sums fit int16. */
void bn_gemm_panel_i8__neon(const uint8_t *panel, size_t n_tiles, size_t n_blocks, const int8_t *q, size_t q_stride,
                            size_t n_tokens, int add, int32_t *sums)
{
    size_t first = 0;
    do {
        size_t n = n_blocks - first < FOLD_BLOCKS ? n_blocks - first : FOLD_BLOCKS;
        meet_tokens(panel_dot_any, panel + 4 * first * n_tiles * BN_BLOCK_BYTES, n_tiles, n, q + first * BN_BLOCK_COLS,
                    q_stride, n_tokens, add || first > 0, sums);
        first += n;
    } while (first < n_blocks);
}
