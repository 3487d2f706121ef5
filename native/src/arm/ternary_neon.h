/* ternary_neon.h: what the ternary kernels of the AArch64 ISAs share: the fields of a byte, and the loops of gemv over
 * rows and cols and of gemm over tokens, each a macro around the inner loop that an ISA has of its own. */
#ifndef BN_TERNARY_NEON_H
#define BN_TERNARY_NEON_H

#include <arm_neon.h>
#include <string.h>

#include "../kernels.h"
#include "../unroll.h"

enum {
    ROWS = 4,           /* rows of r2 that share the loads of activations */
    COLS = 64,          /* cols of c2 that pass together through all strips */
    TOKENS = 4          /* tokens that share the loads of a panel */
};

/* The four fields of 16 bytes: codes[f] = w >> 2f & 3. */
ALWAYS_INLINE void bn_unpack_fields(uint8x16_t w, int8x16_t codes[4])
{
    uint8x16_t mask = vdupq_n_u8(3);
    codes[0] = vreinterpretq_s8_u8(vandq_u8(w, mask));
    codes[1] = vreinterpretq_s8_u8(vandq_u8(vshrq_n_u8(w, 2), mask));
    codes[2] = vreinterpretq_s8_u8(vandq_u8(vshrq_n_u8(w, 4), mask));
    codes[3] = vreinterpretq_s8_u8(vshrq_n_u8(w, 6));
}

/* out[4] = sum, or += sum */
ALWAYS_INLINE void bn_put(int32_t *out, int32x4_t sum, int add)
{
    vst1q_s32(out, add ? vaddq_s32(vld1q_s32(out), sum) : sum);
}

/* gemv_r2_i8 of an ISA that has defined int32x4_t rows_dot(row[ROWS], n_groups, q), the sums of ROWS rows of r2. The
 * last row stands in for those that are missing. */
#define BN_GEMV_R2(isa)                                                                                                \
    void bn_gemv_r2_i8__##isa(const uint8_t *rows, size_t n_groups, const uint32_t *index, size_t n, const int8_t *q,  \
                              int32_t *sums)                                                                           \
    {                                                                                                                  \
        for (size_t i = 0; i < n; i += ROWS) {                                                                         \
            size_t n_here = n - i < ROWS ? n - i : ROWS;                                                               \
            const uint8_t *row[ROWS];                                                                                  \
            int32_t four[ROWS];                                                                                        \
            for (size_t r = 0; r < ROWS; r++)                                                                          \
                row[r] = rows + index[i + (r < n_here ? r : n_here - 1)] * n_groups * 64;                              \
            vst1q_s32(four, rows_dot(row, n_groups, q));                                                               \
            memcpy(sums + i, four, n_here * sizeof *sums);                                                             \
        }                                                                                                              \
    }

/* gemv_c2_i8 of an ISA that has defined add_cols(col[COLS], at, n, q, sums): adds bytes at..at+15 of n cols, a multiple
 * of 4, times q to the rows that they hold, sums being those of the first. Missing cols are the last one times zero. */
#define BN_GEMV_C2(isa)                                                                                                \
    void bn_gemv_c2_i8__##isa(const uint8_t *cols, size_t n_strips, const uint32_t *index, const int8_t *q, size_t n,  \
                              int32_t *sums)                                                                           \
    {                                                                                                                  \
        for (size_t first = 0; first < n; first += COLS) {                                                             \
            size_t n_here = n - first < COLS ? n - first : COLS, n_fours = (n_here + 3) / 4 * 4;                       \
            const uint8_t *col[COLS];                                                                                  \
            int8_t values[COLS] = {0};                                                                                 \
            memcpy(values, q + first, n_here);                                                                         \
            for (size_t i = 0; i < n_fours; i++)                                                                       \
                col[i] = cols + index[first + (i < n_here ? i : n_here - 1)] * n_strips * 64;                          \
            for (size_t strip = 0; strip < n_strips; strip++)                                                          \
                for (size_t l = 0; l < 4; l++)                                                                         \
                    add_cols(col, strip * 64 + 16 * l, n_fours, values, sums + strip * BN_STRIP_ROWS + 4 * l);         \
        }                                                                                                              \
    }

/* gemm_panel_i8 of an ISA that has defined panel_dot(panel, step, n_blocks, token[TOKENS], n_tokens, add, sums,
 * sums_stride): sums[t][16] (+)= one tile of a panel, its groups of four cols `step` bytes apart, @ token[t], for
 * n_blocks <= fold_blocks and 1 <= n_tokens <= TOKENS. The last token stands in for those that are missing. */
#define BN_GEMM_PANEL(isa, fold_blocks)                                                                                \
    void bn_gemm_panel_i8__##isa(const uint8_t *panel, size_t n_tiles, size_t n_blocks, const int8_t *q,               \
                                 size_t q_stride, size_t n_tokens, int add, int32_t *sums)                             \
    {                                                                                                                  \
        size_t first = 0, step = n_tiles * BN_BLOCK_BYTES, n_rows = n_tiles * BN_TILE_ROWS;                            \
        do {                                                                                                           \
            size_t n = n_blocks - first < (fold_blocks) ? n_blocks - first : (fold_blocks);                            \
            for (size_t t = 0; t < n_tokens; t += TOKENS) {                                                            \
                size_t n_here = n_tokens - t < TOKENS ? n_tokens - t : TOKENS;                                         \
                const int8_t *token[TOKENS];                                                                           \
                for (size_t i = 0; i < TOKENS; i++)                                                                    \
                    token[i] = q + (t + (i < n_here ? i : n_here - 1)) * q_stride + first * BN_BLOCK_COLS;             \
                for (size_t i = 0; i < n_tiles; i++)                                                                   \
                    panel_dot(panel + first * 4 * step + i * BN_BLOCK_BYTES, step, n, token, n_here,                   \
                              add || first > 0, sums + t * n_rows + i * BN_TILE_ROWS, n_rows);                         \
            }                                                                                                          \
            first += n;                                                                                                \
        } while (first < n_blocks);                                                                                    \
    }

#endif
