/* panel_neon.c: the panel of codes that all AArch64 kernels for several tokens read, from each layout of the weights.
 *
 * Leans on AND and USHR for the fields, TRN1 and TRN2 to turn rows of r2, and ST4, which interleaves four cols of c2
 * byte by byte. The layouts and the panel are drawn in kernels.h. */
#include "ternary_neon.h"

void bn_unpack_t2__neon(const uint8_t *weights, size_t stride, size_t tile, size_t n_tiles, size_t first,
                        size_t n_blocks, uint8_t *panel)
{
    size_t step = n_tiles * BN_BLOCK_BYTES;
    for (size_t i = 0; i < n_tiles; i++) {
        const uint8_t *blocks = weights + (tile + i) * stride + first * BN_BLOCK_BYTES;
        int8_t *out = (int8_t *)panel + i * BN_BLOCK_BYTES;
        for (size_t block = 0; block < n_blocks; block++, out += 4 * step)
            UNROLL
            for (size_t k = 0; k < 4; k++) {
                int8x16_t codes[4];
                bn_unpack_fields(vld1q_u8(blocks + block * BN_BLOCK_BYTES + 16 * k), codes);
                UNROLL
                for (size_t f = 0; f < 4; f++)
                    vst1q_s8(out + f * step + 16 * k, codes[f]);
            }
    }
}

/* row[i], four groups of four cols each, become the four rows of group i. */
ALWAYS_INLINE void turn(uint8x16_t row[4])
{
    uint32x4_t r0 = vreinterpretq_u32_u8(row[0]), r1 = vreinterpretq_u32_u8(row[1]);
    uint32x4_t r2 = vreinterpretq_u32_u8(row[2]), r3 = vreinterpretq_u32_u8(row[3]);
    uint64x2_t a = vreinterpretq_u64_u32(vtrn1q_u32(r0, r1)), b = vreinterpretq_u64_u32(vtrn2q_u32(r0, r1));
    uint64x2_t c = vreinterpretq_u64_u32(vtrn1q_u32(r2, r3)), d = vreinterpretq_u64_u32(vtrn2q_u32(r2, r3));
    row[0] = vreinterpretq_u8_u64(vtrn1q_u64(a, c));
    row[1] = vreinterpretq_u8_u64(vtrn1q_u64(b, d));
    row[2] = vreinterpretq_u8_u64(vtrn2q_u64(a, c));
    row[3] = vreinterpretq_u8_u64(vtrn2q_u64(b, d));
}

/* Four rows of a group of r2, n_blocks blocks of it being wanted: bytes 16*p.. of a row hold the blocks p, p + 4, p + 8
 * and p + 12, one in each field. out: the first row of the first block. */
ALWAYS_INLINE void unpack_rows(const uint8_t *rows, size_t stride, size_t n_blocks, size_t step, uint8_t *out)
{
    for (size_t p = 0; p < 4 && p < n_blocks; p++) {
        uint8x16_t row[4];
        UNROLL
        for (size_t r = 0; r < 4; r++)
            row[r] = vld1q_u8(rows + r * stride + 16 * p);
        turn(row);
        UNROLL
        for (size_t d = 0; d < 4; d++) {
            int8x16_t codes[4];
            bn_unpack_fields(row[d], codes);
            UNROLL
            for (size_t f = 0; f < 4; f++)
                if (p + 4 * f < n_blocks)
                    vst1q_s8((int8_t *)out + (4 * (p + 4 * f) + d) * step, codes[f]);
        }
    }
}

void bn_unpack_r2__neon(const uint8_t *weights, size_t stride, size_t tile, size_t n_tiles, size_t first,
                        size_t n_blocks, uint8_t *panel)
{
    const size_t group_blocks = BN_GROUP_COLS / BN_BLOCK_COLS;
    size_t step = n_tiles * BN_BLOCK_BYTES;
    for (size_t four = 0; four < n_tiles * BN_TILE_ROWS / 4; four++) {
        const uint8_t *rows = weights + (tile * BN_TILE_ROWS + 4 * four) * stride;
        for (size_t block = 0; block < n_blocks; block += group_blocks) {
            size_t left = n_blocks - block;
            unpack_rows(rows + (first + block) * BN_BLOCK_COLS / 4, stride, left < group_blocks ? left : group_blocks,
                        step, panel + 4 * block * step + 16 * four);
        }
    }
}

/* Bytes p..p+3 of a strip and those 16, 32 and 48 further on: the 16 rows of a tile, in order. */
ALWAYS_INLINE uint8x16_t rows_of_tile(const uint8_t *p)
{
    const uint32_t *words = (const uint32_t *)(const void *)p;      /* weights start at 64, so words are aligned */
    uint32x4_t rows = vld1q_dup_u32(words);
    rows = vld1q_lane_u32(words + 4, rows, 1);
    rows = vld1q_lane_u32(words + 8, rows, 2);
    rows = vld1q_lane_u32(words + 12, rows, 3);
    return vreinterpretq_u8_u32(rows);
}

void bn_unpack_c2__neon(const uint8_t *weights, size_t stride, size_t tile, size_t n_tiles, size_t first,
                        size_t n_blocks, uint8_t *panel)
{
    size_t step = n_tiles * BN_BLOCK_BYTES;
    uint8x16_t mask = vdupq_n_u8(3);
    for (size_t i = 0; i < n_tiles; i++) {
        size_t f = (tile + i) % 16 / 4, m = (tile + i) % 4;
        const uint8_t *col = weights + first * BN_BLOCK_COLS * stride + (tile + i) / 16 * 64 + 4 * m;
        uint8_t *out = panel + i * BN_BLOCK_BYTES;
        int8x16_t down = vdupq_n_s8((int8_t)(-2 * (int)f));
        for (size_t group = 0; group < 4 * n_blocks; group++, col += 4 * stride, out += step) {
            uint8x16x4_t four;
            UNROLL
            for (size_t c = 0; c < 4; c++)
                four.val[c] = vandq_u8(vshlq_u8(rows_of_tile(col + c * stride), down), mask);
            vst4q_u8(out, four);
        }
    }
}
