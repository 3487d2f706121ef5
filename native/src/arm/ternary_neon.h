/* ternary_neon.h: what the ternary kernels of the AArch64 ISAs share: the fields of a byte, and the loops of gemv over
 * rows and cols, each a macro around the inner loop that an ISA has of its own. */
#ifndef BN_TERNARY_NEON_H
#define BN_TERNARY_NEON_H

#include <arm_neon.h>
#include <string.h>

#include "../kernels.h"
#include "../unroll.h"

enum {
    ROWS = 4,           /* rows of r2 that share the loads of activations */
    ROWS_AHEAD = 8,     /* the rows that memory is asked for come so many entries later */
    COLS = 64           /* cols of c2 that pass together through all strips */
};
_Static_assert((int)ROWS_AHEAD <= (int)BN_AHEAD && (int)COLS <= (int)BN_AHEAD, "the index goes that far");

/* No load moves across this line. Without it gcc 12 loads at the beginning of a loop everything that its unrolled steps
 * want, and spills accumulators to make room. */
#define END_OF_STEP() __asm__ volatile("" ::: "memory")

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

/* acc[16] += (float)(sums - q_sum) * scale; scales are f16 or float32. */
ALWAYS_INLINE void bn_add_tile(const int32_t *sums, int32_t q_sum, const uint8_t *scales, int halves, float *acc)
{
    UNROLL
    for (size_t i = 0; i < BN_TILE_ROWS; i += 4) {
        float32x4_t value = vcvtq_f32_s32(vsubq_s32(vld1q_s32(sums + i), vdupq_n_s32(q_sum)));
        float32x4_t scale = halves ? vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(scales + 2 * i)))
                                   : vreinterpretq_f32_u8(vld1q_u8(scales + 4 * i));
        vst1q_f32(acc + i, vaddq_f32(vld1q_f32(acc + i), vmulq_f32(value, scale)));
    }
}

/* gemv_g2_i8 of an ISA that has defined TILE_DOT(tile, n_blocks, q, sums), which writes int32 sums[16]. The blocks of a
 * group are a constant: short loops whose length is known. */
#define BN_GEMV_G2(isa)                                                                                                \
    ALWAYS_INLINE void slab_dot(const uint8_t *slab, size_t n_groups, size_t group_blocks, int halves, const int8_t *q,\
                                const int32_t *q_sums, float *acc)                                                     \
    {                                                                                                                  \
        const size_t tile_bytes = group_blocks * BN_BLOCK_BYTES, scale_bytes = BN_TILE_ROWS * (halves ? 2 : 4);        \
        memset(acc, 0, BN_SLAB_ROWS * sizeof *acc);                                                                    \
        for (size_t g = 0; g < n_groups; g++, q += group_blocks * BN_BLOCK_COLS) {                                     \
            const uint8_t *scales = slab + BN_SLAB_ROWS / BN_TILE_ROWS * tile_bytes;                                   \
            for (size_t i = 0; i < BN_SLAB_ROWS / BN_TILE_ROWS; i++) {                                                 \
                int32_t sums[BN_TILE_ROWS];                                                                            \
                TILE_DOT(slab + i * tile_bytes, group_blocks, q, sums);                                                \
                bn_add_tile(sums, q_sums[g], scales + i * scale_bytes, halves, acc + i * BN_TILE_ROWS);                \
            }                                                                                                          \
            slab = scales + BN_SLAB_ROWS / BN_TILE_ROWS * scale_bytes;                                                 \
        }                                                                                                              \
    }                                                                                                                  \
                                                                                                                       \
    void bn_gemv_g2_i8__##isa(const uint8_t *slab, size_t n_groups, size_t group_blocks, int halves, const int8_t *q,  \
                              const int32_t *q_sums, float *acc)                                                       \
    {                                                                                                                  \
        switch (group_blocks) {                                                                                        \
        case 4: slab_dot(slab, n_groups, 4, halves, q, q_sums, acc); break;                                            \
        case 8: slab_dot(slab, n_groups, 8, halves, q, q_sums, acc); break;                                            \
        default: slab_dot(slab, n_groups, 16, halves, q, q_sums, acc);                                                 \
        }                                                                                                              \
    }

/* gemv_r2_i8 of an ISA that has defined int32x4_t rows_dot(row[ROWS], ahead[ROWS], n_groups, q), the sums of ROWS rows
 * of r2; it asks memory for the rows `ahead`. The last row stands in for those that are missing. */
#define BN_GEMV_R2(isa)                                                                                                \
    void bn_gemv_r2_i8__##isa(const uint8_t *rows, size_t n_groups, const uint32_t *index, size_t n, const int8_t *q,  \
                              int32_t *sums)                                                                           \
    {                                                                                                                  \
        for (size_t i = 0; i < n; i += ROWS) {                                                                         \
            size_t n_here = n - i < ROWS ? n - i : ROWS;                                                               \
            const uint8_t *row[ROWS], *ahead[ROWS];                                                                    \
            int32_t four[ROWS];                                                                                        \
            UNROLL                                                                                                     \
            for (size_t r = 0; r < ROWS; r++) {                                                                        \
                size_t at = i + (r < n_here ? r : n_here - 1);                                                         \
                row[r] = rows + index[at] * n_groups * 64;                                                             \
                ahead[r] = rows + index[at + ROWS_AHEAD] * n_groups * 64;                                              \
            }                                                                                                          \
            vst1q_s32(four, rows_dot(row, ahead, n_groups, q));                                                        \
            memcpy(sums + i, four, n_here * sizeof *sums);                                                             \
        }                                                                                                              \
    }

/* gemv_c2_i8 of an ISA that has defined add_cols(col[COLS], next, ahead, at, n, q, sums): adds piece_bytes bytes from
 * `at` of n cols, a multiple of 4, times q to the rows that they hold, sums being those of the first. It asks memory for
 * what comes 64 bytes later in next[i] and for what it now reads in ahead[i], i = 0, 64 / piece_bytes, ..: all pieces
 * of a strip together ask for the next strip of every col, and for this strip of the cols that come next. Missing cols
 * are the last one times zero. */
#define BN_GEMV_C2(isa, piece_bytes)                                                                                   \
    void bn_gemv_c2_i8__##isa(const uint8_t *cols, size_t n_strips, const uint32_t *index, const int8_t *q, size_t n,  \
                              int32_t *sums)                                                                           \
    {                                                                                                                  \
        for (size_t first = 0; first < n; first += COLS) {                                                             \
            size_t n_here = n - first < COLS ? n - first : COLS, n_fours = (n_here + 3) / 4 * 4;                       \
            const uint8_t *col[COLS], *ahead[COLS];                                                                    \
            int8_t values[COLS] = {0};                                                                                 \
            memcpy(values, q + first, n_here);                                                                         \
            for (size_t i = 0; i < n_fours; i++) {                                                                     \
                size_t at = first + (i < n_here ? i : n_here - 1);                                                     \
                col[i] = cols + index[at] * n_strips * 64;                                                             \
                ahead[i] = cols + index[at + n_here] * n_strips * 64;                                                  \
            }                                                                                                          \
            for (size_t at = 0; at < n_strips * 64; at += (piece_bytes)) {                                             \
                size_t piece = at % 64 / (piece_bytes);                                                                \
                add_cols(col, col + piece, ahead + piece, at, n_fours, values,                                         \
                         sums + at / 64 * BN_STRIP_ROWS + at % 64 / 4);                                                \
            }                                                                                                          \
        }                                                                                                              \
    }

#endif
