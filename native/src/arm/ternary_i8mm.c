/* ternary_i8mm.c: ternary matrix times many int8 activations with the matrix product of Armv8.6 (FEAT_I8MM).
 *
 * Leans on SMMLA: 2 rows x 8 cols times 8 cols x 2 tokens, 32 products int8 x int8, added to four int32. Two groups of
 * four cols of the panel are zipped into pairs of rows, 8 cols each, and the activations of two tokens into the other
 * operand. */
#include "ternary_neon.h"

enum { TOKENS = 6, TOKEN_STEP = 2, PAIRS = TOKENS / 2, ROW_PAIRS = BN_TILE_ROWS / 2 };
enum { FEW_TOKENS = 2 * TOKENS, ZIP_BLOCKS = 32 };
#define TOKEN_COUNTS(CASE, dot) CASE(dot, 1) CASE(dot, 2) CASE(dot, 3) CASE(dot, 4) CASE(dot, 5) CASE(dot, 6)

/* acc += codes . q. An asm line because gcc 12 copies the accumulators of the intrinsic. */
ALWAYS_INLINE int32x4_t dot(int32x4_t acc, int8x16_t codes, int8x16_t q)
{
    __asm__("smmla %0.4s, %1.16b, %2.16b" : "+w"(acc) : "w"(codes), "w"(q));
    return acc;
}

/* Four rows of two groups of four cols become two pairs of rows, 8 cols each: what the panel has, what SMMLA wants. */
ALWAYS_INLINE void zip_rows(int8x16_t *a, int8x16_t *b)
{
    int32x4_t first = vreinterpretq_s32_s8(*a), second = vreinterpretq_s32_s8(*b);
    *a = vreinterpretq_s8_s32(vzip1q_s32(first, second));
    *b = vreinterpretq_s8_s32(vzip2q_s32(first, second));
}

/* acc[p][..] += 16 rows x 8 cols @ pairs of tokens; the second group of four cols lies step bytes further. */
ALWAYS_INLINE void add_8_cols(int32x4_t acc[PAIRS][ROW_PAIRS], const uint8_t *group, size_t step, int zipped,
                              const int8_t *q, size_t q_stride, size_t n_tokens)
{
    int8x16_t pair[PAIRS];
    UNROLL
    for (size_t p = 0; 2 * p < n_tokens; p++) {
        const int8_t *first = q + 2 * p * q_stride, *second = 2 * p + 1 < n_tokens ? first + q_stride : first;
        pair[p] = vcombine_s8(vld1_s8(first), vld1_s8(second));
    }
    UNROLL
    for (size_t k = 0; k < 4; k++) {
        int8x16_t a = vld1q_s8((const int8_t *)group + 16 * k), b = vld1q_s8((const int8_t *)group + step + 16 * k);
        if (!zipped)
            zip_rows(&a, &b);
        UNROLL
        for (size_t p = 0; 2 * p < n_tokens; p++) {
            acc[p][2 * k] = dot(acc[p][2 * k], a, pair[p]);
            acc[p][2 * k + 1] = dot(acc[p][2 * k + 1], b, pair[p]);
        }
        END_OF_STEP();
    }
}

/* sums[t][16] (+)= blocks of one tile @ q[t], as gemm_neon.h says. A last token without a partner is paired with
 * itself. n_tokens <= TOKENS and zipped are constants where this is inlined: 24 accumulators, 3 registers of
 * activations and 4 of codes at most. */
ALWAYS_INLINE void pairs_dot(const uint8_t *panel, size_t step, int zipped, size_t n_blocks, const int8_t *q,
                             size_t q_stride, size_t n_tokens, int add, int32_t *sums, size_t sums_stride)
{
    const size_t n_pairs = (n_tokens + 1) / 2;
    int32x4_t acc[PAIRS][ROW_PAIRS];
    UNROLL
    for (size_t p = 0; p < n_pairs; p++)
        UNROLL
        for (size_t r = 0; r < ROW_PAIRS; r++)
            acc[p][r] = vdupq_n_s32(0);
    for (size_t block = 0; block < n_blocks; block++, q += BN_BLOCK_COLS, panel += 4 * step) {
        add_8_cols(acc, panel, step, zipped, q, q_stride, n_tokens);
        add_8_cols(acc, panel + 2 * step, step, zipped, q + 8, q_stride, n_tokens);
    }
    UNROLL
    for (size_t p = 0; p < n_pairs; p++)
        UNROLL
        for (size_t r = 0; r < ROW_PAIRS; r += 2) {
            int32_t *out = sums + 2 * p * sums_stride + 2 * r;
            bn_put(out, vuzp1q_s32(acc[p][r], acc[p][r + 1]), add);
            if (2 * p + 1 < n_tokens)
                bn_put(out + sums_stride, vuzp2q_s32(acc[p][r], acc[p][r + 1]), add);
        }
}

/* pairs_dot of a panel as it comes, and of one that is zipped. */
ALWAYS_INLINE void panel_dot(const uint8_t *panel, size_t step, size_t n_blocks, const int8_t *q, size_t q_stride,
                             size_t n_tokens, int add, int32_t *sums, size_t sums_stride)
{
    pairs_dot(panel, step, 0, n_blocks, q, q_stride, n_tokens, add, sums, sums_stride);
}

ALWAYS_INLINE void zipped_dot(const uint8_t *panel, size_t step, size_t n_blocks, const int8_t *q, size_t q_stride,
                              size_t n_tokens, int add, int32_t *sums, size_t sums_stride)
{
    pairs_dot(panel, step, 1, n_blocks, q, q_stride, n_tokens, add, sums, sums_stride);
}

#include "gemm_neon.h"

BN_ANY_TOKENS(panel_dot)
BN_ANY_TOKENS(zipped_dot)

/* The panel with its groups zipped two by two, each pair of them in its old place. */
static void zip_panel(const uint8_t *panel, size_t n_tiles, size_t n_blocks, uint8_t *zipped)
{
    size_t step = n_tiles * BN_BLOCK_BYTES;
    for (size_t at = 0; at < 4 * n_blocks * step; at += 2 * step)
        for (size_t i = at; i < at + step; i += 16) {
            int8x16_t a = vld1q_s8((const int8_t *)panel + i), b = vld1q_s8((const int8_t *)panel + i + step);
            zip_rows(&a, &b);
            vst1q_s8((int8_t *)zipped + i, a);
            vst1q_s8((int8_t *)zipped + i + step, b);
        }
}

/* A few tokens zip the codes as they go; for many, a piece of the panel at a time is zipped once. */
void bn_gemm_panel_i8__i8mm(const uint8_t *panel, size_t n_tiles, size_t n_blocks, const int8_t *q, size_t q_stride,
                            size_t n_tokens, int add, int32_t *sums)
{
    uint8_t zipped[BN_GEMM_TILES * ZIP_BLOCKS * 4 * BN_BLOCK_BYTES];
    if (n_tokens <= FEW_TOKENS) {
        meet_tokens(panel_dot_any, panel, n_tiles, n_blocks, q, q_stride, n_tokens, add, sums);
        return;
    }
    size_t first = 0;
    do {
        size_t n = n_blocks - first < ZIP_BLOCKS ? n_blocks - first : ZIP_BLOCKS;
        zip_panel(panel + 4 * first * n_tiles * BN_BLOCK_BYTES, n_tiles, n, zipped);
        meet_tokens(zipped_dot_any, zipped, n_tiles, n, q + first * BN_BLOCK_COLS, q_stride, n_tokens,
                    add || first > 0, sums);
        first += n;
    } while (first < n_blocks);
}
