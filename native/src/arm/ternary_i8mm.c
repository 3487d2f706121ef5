/* ternary_i8mm.c: ternary matrix times many int8 activations with the matrix product of Armv8.6 (FEAT_I8MM).
 *
 * Leans on SMMLA: 2 rows x 8 cols times 8 cols x 2 tokens, 32 products int8 x int8, added to four int32. Two groups of
 * four cols of the panel are zipped into pairs of rows on the way, and the activations into pairs of tokens. */
#include "ternary_neon.h"

enum { ROW_PAIRS = BN_TILE_ROWS / 2 };

/* Two tokens x 8 cols: the low or the high halves of 16 activations of each. */
ALWAYS_INLINE int8x16_t zip_low(int8x16_t a, int8x16_t b)
{
    return vreinterpretq_s8_s64(vzip1q_s64(vreinterpretq_s64_s8(a), vreinterpretq_s64_s8(b)));
}

ALWAYS_INLINE int8x16_t zip_high(int8x16_t a, int8x16_t b)
{
    return vreinterpretq_s8_s64(vzip2q_s64(vreinterpretq_s64_s8(a), vreinterpretq_s64_s8(b)));
}

/* acc[pair of tokens][pair of rows] += two groups of four cols of 16 rows @ cols[pair of tokens] */
ALWAYS_INLINE void add_eight_cols(int32x4_t acc[TOKENS / 2][ROW_PAIRS], const int8_t *codes, size_t step,
                                  const int8x16_t cols[TOKENS / 2])
{
    UNROLL
    for (size_t k = 0; k < 4; k++) {
        int32x4_t a = vreinterpretq_s32_s8(vld1q_s8(codes + 16 * k));
        int32x4_t b = vreinterpretq_s32_s8(vld1q_s8(codes + step + 16 * k));
        int8x16_t rows01 = vreinterpretq_s8_s32(vzip1q_s32(a, b)), rows23 = vreinterpretq_s8_s32(vzip2q_s32(a, b));
        UNROLL
        for (size_t p = 0; p < TOKENS / 2; p++) {
            acc[p][2 * k] = vmmlaq_s32(acc[p][2 * k], rows01, cols[p]);
            acc[p][2 * k + 1] = vmmlaq_s32(acc[p][2 * k + 1], rows23, cols[p]);
        }
    }
}

static void panel_dot(const uint8_t *panel, size_t step, size_t n_blocks, const int8_t *const token[TOKENS],
                      size_t n_tokens, int add, int32_t *sums, size_t sums_stride)
{
    int32x4_t acc[TOKENS / 2][ROW_PAIRS];
    UNROLL
    for (size_t p = 0; p < TOKENS / 2; p++)
        UNROLL
        for (size_t r = 0; r < ROW_PAIRS; r++)
            acc[p][r] = vdupq_n_s32(0);
    const int8_t *codes = (const int8_t *)panel;
    for (size_t block = 0; block < n_blocks; block++, codes += 4 * step) {
        int8x16_t low[TOKENS / 2], high[TOKENS / 2];
        UNROLL
        for (size_t p = 0; p < TOKENS / 2; p++) {
            int8x16_t a = vld1q_s8(token[2 * p] + block * BN_BLOCK_COLS);
            int8x16_t b = vld1q_s8(token[2 * p + 1] + block * BN_BLOCK_COLS);
            low[p] = zip_low(a, b);
            high[p] = zip_high(a, b);
        }
        add_eight_cols(acc, codes, step, low);
        add_eight_cols(acc, codes + 2 * step, step, high);
    }
    UNROLL
    for (size_t p = 0; p < TOKENS / 2; p++)
        UNROLL
        for (size_t r = 0; r < ROW_PAIRS; r += 2) {
            int32_t *out = sums + 2 * p * sums_stride + 2 * r;
            if (2 * p < n_tokens)
                bn_put(out, vuzp1q_s32(acc[p][r], acc[p][r + 1]), add);
            if (2 * p + 1 < n_tokens)
                bn_put(out + sums_stride, vuzp2q_s32(acc[p][r], acc[p][r + 1]), add);
        }
}

BN_GEMM_PANEL(i8mm, n_blocks)
