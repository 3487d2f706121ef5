/* ternary_i8mm.c: ternary matrix times many int8 activations with the matrix product of Armv8.6 (FEAT_I8MM).
 *
 * Leans on SMMLA: 2 rows x 8 cols times 8 cols x 2 tokens, 32 products int8 x int8, added to four int32. The codes of
 * two fields are zipped into pairs of rows when they are unpacked, the activations of two tokens on the way. 1024
 * products, a block of one tile and four tokens, take 61 instructions (gcc 12): 32 SMMLA, 4 ZIP, the rest loads. */
#include <arm_neon.h>

#include "../kernels.h"
#include "../unroll.h"

/* PANEL_BLOCKS blocks of a tile are unpacked at a time, 16 KiB, so that they stay in the L1 cache for all tokens. */
enum { PANEL_BLOCKS = 64, PANEL_BLOCK_BYTES = 256, TOKENS = 4, ROW_PAIRS = BN_TILE_ROWS / 2 };

/* 2 rows x 8 cols from 4 rows x 4 cols of two neighbouring fields: rows 0, 1 and rows 2, 3. */
ALWAYS_INLINE void store_row_pairs(uint8x16_t field, uint8x16_t next_field, uint8_t *out)
{
    uint32x4_t a = vreinterpretq_u32_u8(field), b = vreinterpretq_u32_u8(next_field);
    vst1q_u8(out, vreinterpretq_u8_u32(vzip1q_u32(a, b)));
    vst1q_u8(out + 16, vreinterpretq_u8_u32(vzip2q_u32(a, b)));
}

/* panel[block][half of its cols][pair of rows][2 rows][8 cols], codes one to a byte. */
static void unpack_blocks(const uint8_t *blocks, size_t n_blocks, uint8_t *panel)
{
    uint8x16_t mask = vdupq_n_u8(3);
    for (size_t block = 0; block < n_blocks; block++)
        UNROLL
        for (size_t k = 0; k < 4; k++) {
            uint8_t *out = panel + block * PANEL_BLOCK_BYTES + 32 * k;
            uint8x16_t w = vld1q_u8(blocks + block * BN_BLOCK_BYTES + 16 * k);
            store_row_pairs(vandq_u8(w, mask), vandq_u8(vshrq_n_u8(w, 2), mask), out);
            store_row_pairs(vandq_u8(vshrq_n_u8(w, 4), mask), vshrq_n_u8(w, 6), out + 128);
        }
}

/* Two tokens x 8 cols: the low or the high halves of 16 activations of each. */
ALWAYS_INLINE int8x16_t zip_low(int8x16_t a, int8x16_t b)
{
    return vreinterpretq_s8_s64(vzip1q_s64(vreinterpretq_s64_s8(a), vreinterpretq_s64_s8(b)));
}

ALWAYS_INLINE int8x16_t zip_high(int8x16_t a, int8x16_t b)
{
    return vreinterpretq_s8_s64(vzip2q_s64(vreinterpretq_s64_s8(a), vreinterpretq_s64_s8(b)));
}

/* out[4] (+)= sums of four rows of one token */
ALWAYS_INLINE void put(int32_t *out, int32x4_t sum, int add)
{
    vst1q_s32(out, add ? vaddq_s32(vld1q_s32(out), sum) : sum);
}

/* sums[t][16] (+)= unpacked blocks of one tile @ q[t], for 1 <= n_tokens <= TOKENS. The last token stands in for those
 * that are missing; its sums are stored once. */
static void panel_dot(const uint8_t *panel, size_t n_blocks, const int8_t *q, size_t q_stride, size_t n_tokens, int add,
                      int32_t *sums, size_t sums_stride)
{
    const int8_t *token[TOKENS];
    int32x4_t acc[TOKENS / 2][ROW_PAIRS];
    UNROLL
    for (size_t t = 0; t < TOKENS; t++)
        token[t] = q + (t < n_tokens ? t : n_tokens - 1) * q_stride;
    UNROLL
    for (size_t p = 0; p < TOKENS / 2; p++)
        UNROLL
        for (size_t r = 0; r < ROW_PAIRS; r++)
            acc[p][r] = vdupq_n_s32(0);
    for (size_t block = 0; block < n_blocks; block++) {
        const int8_t *codes = (const int8_t *)panel + block * PANEL_BLOCK_BYTES;
        int8x16_t low[TOKENS / 2], high[TOKENS / 2];
        UNROLL
        for (size_t p = 0; p < TOKENS / 2; p++) {
            int8x16_t a = vld1q_s8(token[2 * p] + block * BN_BLOCK_COLS);
            int8x16_t b = vld1q_s8(token[2 * p + 1] + block * BN_BLOCK_COLS);
            low[p] = zip_low(a, b);
            high[p] = zip_high(a, b);
        }
        UNROLL
        for (size_t r = 0; r < ROW_PAIRS; r++) {
            int8x16_t low_codes = vld1q_s8(codes + 16 * r), high_codes = vld1q_s8(codes + 128 + 16 * r);
            UNROLL
            for (size_t p = 0; p < TOKENS / 2; p++) {
                acc[p][r] = vmmlaq_s32(acc[p][r], low_codes, low[p]);
                acc[p][r] = vmmlaq_s32(acc[p][r], high_codes, high[p]);
            }
        }
    }
    UNROLL
    for (size_t p = 0; p < TOKENS / 2; p++)
        UNROLL
        for (size_t r = 0; r < ROW_PAIRS; r += 2) {
            int32_t *out = sums + 2 * p * sums_stride + 2 * r;
            if (2 * p < n_tokens)
                put(out, vuzp1q_s32(acc[p][r], acc[p][r + 1]), add);
            if (2 * p + 1 < n_tokens)
                put(out + sums_stride, vuzp2q_s32(acc[p][r], acc[p][r + 1]), add);
        }
}

void bn_gemm_t2_i8__i8mm(const uint8_t *tiles, size_t n_tiles, size_t n_blocks, const int8_t *q, size_t q_stride,
                         size_t n_tokens, uint8_t *panel, int32_t *sums)
{
    size_t first = 0;
    do {
        size_t n = n_blocks - first < PANEL_BLOCKS ? n_blocks - first : PANEL_BLOCKS;
        for (size_t i = 0; i < n_tiles; i++) {
            unpack_blocks(tiles + (i * n_blocks + first) * BN_BLOCK_BYTES, n, panel);
            for (size_t t = 0; t < n_tokens; t += TOKENS)
                panel_dot(panel, n, q + t * q_stride + first * BN_BLOCK_COLS, q_stride,
                          n_tokens - t < TOKENS ? n_tokens - t : TOKENS, first > 0,
                          sums + (t * n_tiles + i) * BN_TILE_ROWS, n_tiles * BN_TILE_ROWS);
        }
        first += n;
    } while (first < n_blocks);
}
