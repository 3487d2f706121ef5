/* ternary_neon.c: ternary matrix times int8 activations on Armv8.0, which has no dot product instruction.
 *
 * Leans on SMLAL and SMLAL2 (8 products int8 x int8 added to int16) and SADALP (pairs of int16 added to int32). Every
 * int16 lane stays with one row, so there is no shuffling until the very end. In gemv a block of one tile, 256 weights,
 * takes 68 instructions (gcc 12), 32 of them multiplications and 24 the unpacking; gemm unpacks once for all tokens and
 * takes 117 for 512 products, 64 of them multiplications. */
#include <arm_neon.h>

#include "../kernels.h"
#include "../unroll.h"

/* BOUND: an int16 lane takes one product of each of the 4 fields of a block, code 0..2 times q -128..127. In 32 blocks
 * that is at most 32 * 4 * 2 * 127 = 32512 <= 32767 and at least 32 * 4 * 2 * -128 = -32768. Fold to int32 every 32. */
enum { FOLD_BLOCKS = 32, HALF_TILES = 2, TOKENS = 4 };
_Static_assert(FOLD_BLOCKS * 4 * 2 * 127 <= INT16_MAX, "positive sums fit int16");
_Static_assert(FOLD_BLOCKS * 4 * 2 * -128 >= INT16_MIN, "negative sums fit int16");

/* The four fields of 16 bytes: codes[f] = w >> 2f & 3. */
ALWAYS_INLINE void unpack(uint8x16_t w, int8x16_t codes[4])
{
    uint8x16_t mask = vdupq_n_u8(3);
    codes[0] = vreinterpretq_s8_u8(vandq_u8(w, mask));
    codes[1] = vreinterpretq_s8_u8(vandq_u8(vshrq_n_u8(w, 2), mask));
    codes[2] = vreinterpretq_s8_u8(vandq_u8(vshrq_n_u8(w, 4), mask));
    codes[3] = vreinterpretq_s8_u8(vshrq_n_u8(w, 6));
}

/* The four activations that meet field f, in every 32-bit lane. */
#define BROADCAST(q, f) vreinterpretq_s8_s32(vdupq_laneq_s32(vreinterpretq_s32_s8(q), f))

/* acc[0..1] += codes * q: lanes 4*r + j of four rows. */
ALWAYS_INLINE void multiply_add(int16x8_t acc[2], int8x16_t codes, int8x16_t q)
{
    acc[0] = vmlal_s8(acc[0], vget_low_s8(codes), vget_low_s8(q));
    acc[1] = vmlal_high_s8(acc[1], codes, q);
}

/* acc[8] += one block of a tile: acc[2*k], acc[2*k + 1] belong to rows 4*k..4*k + 3. */
ALWAYS_INLINE void add_block(int16x8_t acc[8], const uint8_t *block, const int8_t *q)
{
    int8x16_t all = vld1q_s8(q);
    int8x16_t q0 = BROADCAST(all, 0), q1 = BROADCAST(all, 1), q2 = BROADCAST(all, 2), q3 = BROADCAST(all, 3);
    UNROLL
    for (size_t k = 0; k < 4; k++) {
        int8x16_t codes[4];
        unpack(vld1q_u8(block + 16 * k), codes);
        multiply_add(acc + 2 * k, codes[0], q0);
        multiply_add(acc + 2 * k, codes[1], q1);
        multiply_add(acc + 2 * k, codes[2], q2);
        multiply_add(acc + 2 * k, codes[3], q3);
    }
}

/* sums[16] = one tile @ q */
static void tile_dot(const uint8_t *tile, size_t n_blocks, const int8_t *q, int32_t *sums)
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

/* panel[half of the tile][block][field][8 rows][4]: codes one to a byte, each half a stream of its own. */
static void unpack_blocks(const uint8_t *blocks, size_t n_blocks, uint8_t *panel)
{
    for (size_t block = 0; block < n_blocks; block++)
        UNROLL
        for (size_t k = 0; k < 4; k++) {
            int8_t *out = (int8_t *)panel + ((k / 2) * n_blocks + block) * 128 + 16 * (k % 2);
            int8x16_t codes[4];
            unpack(vld1q_u8(blocks + block * BN_BLOCK_BYTES + 16 * k), codes);
            UNROLL
            for (size_t f = 0; f < 4; f++)
                vst1q_s8(out + 32 * f, codes[f]);
        }
}

/* acc[t] += field f of one block: 8 rows for token t. */
#define ADD_FIELD(f)                                                                                                   \
    do {                                                                                                               \
        int8x16_t low = vld1q_s8(codes + 32 * (f)), high = vld1q_s8(codes + 32 * (f) + 16);                            \
        UNROLL                                                                                                         \
        for (size_t t = 0; t < TOKENS; t++) {                                                                          \
            int8x16_t four = BROADCAST(all[t], f);                                                                     \
            multiply_add(acc[t], low, four);                                                                           \
            multiply_add(acc[t] + 2, high, four);                                                                      \
        }                                                                                                              \
    } while (0)

/* sums[t][8] (+)= at most FOLD_BLOCKS unpacked blocks of 8 rows @ q[t], for 1 <= n_tokens <= TOKENS. The last token
 * stands in for those that are missing; its sums are stored once. */
static void half_tile_dot(const uint8_t *panel, size_t n_blocks, const int8_t *q, size_t q_stride, size_t n_tokens,
                          int add, int32_t *sums, size_t sums_stride)
{
    const int8_t *token[TOKENS];
    int16x8_t acc[TOKENS][4];
    UNROLL
    for (size_t t = 0; t < TOKENS; t++) {
        token[t] = q + (t < n_tokens ? t : n_tokens - 1) * q_stride;
        UNROLL
        for (size_t i = 0; i < 4; i++)
            acc[t][i] = vdupq_n_s16(0);
    }
    for (size_t block = 0; block < n_blocks; block++) {
        const int8_t *codes = (const int8_t *)panel + 128 * block;
        int8x16_t all[TOKENS];
        UNROLL
        for (size_t t = 0; t < TOKENS; t++)
            all[t] = vld1q_s8(token[t] + block * BN_BLOCK_COLS);
        ADD_FIELD(0);
        ADD_FIELD(1);
        ADD_FIELD(2);
        ADD_FIELD(3);
    }
    UNROLL
    for (size_t t = 0; t < TOKENS; t++)
        if (t < n_tokens) {
            UNROLL
            for (size_t k = 0; k < 2; k++) {
                int32_t *out = sums + t * sums_stride + 4 * k;
                int32x4_t sum = vpaddq_s32(vpaddlq_s16(acc[t][2 * k]), vpaddlq_s16(acc[t][2 * k + 1]));
                vst1q_s32(out, add ? vaddq_s32(vld1q_s32(out), sum) : sum);
            }
        }
}

/* Goes through the columns in pieces of FOLD_BLOCKS: the sums of a piece fit int16, and the unpacked piece stays in the
 * L1 cache for all tokens. */
void bn_gemm_t2_i8__neon(const uint8_t *tiles, size_t n_tiles, size_t n_blocks, const int8_t *q, size_t q_stride,
                         size_t n_tokens, uint8_t *panel, int32_t *sums)
{
    size_t first = 0;
    do {
        size_t n = n_blocks - first < FOLD_BLOCKS ? n_blocks - first : FOLD_BLOCKS;
        for (size_t i = 0; i < n_tiles; i++) {
            unpack_blocks(tiles + (i * n_blocks + first) * BN_BLOCK_BYTES, n, panel);
            for (size_t half = 0; half < HALF_TILES; half++)
                for (size_t t = 0; t < n_tokens; t += TOKENS)
                    half_tile_dot(panel + half * n * 128, n, q + t * q_stride + first * BN_BLOCK_COLS, q_stride,
                                  n_tokens - t < TOKENS ? n_tokens - t : TOKENS, first > 0,
                                  sums + (t * n_tiles + i) * BN_TILE_ROWS + half * 8, n_tiles * BN_TILE_ROWS);
        }
        first += n;
    } while (first < n_blocks);
}
