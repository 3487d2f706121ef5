/* ternary_dotprod.c: ternary matrix times int8 activations with the dot product of Armv8.2.
 *
 * Leans on SDOT by element (16 products int8 x int8, four of them added to each int32 lane; the second operand is one
 * 32-bit lane of a register): a 16-byte load holds the activations of a whole block, and lane f of it meets field f.
 * In gemv a block of one tile, 256 weights, takes 40 instructions (gcc 12), 16 of them SDOT and 16 the unpacking; gemm
 * unpacks once for all tokens and takes 92 for 1024 products, 64 of them SDOT. */
#include <arm_neon.h>

#include "../kernels.h"
#include "../unroll.h"

/* gemv leaves fields 1 and 2 where they are in the byte, as codes 0, 4, 8 and 0, 16, 32, and shifts their sums at the
 * end: two instructions less per 16 bytes. Field 3 would be 0, 64, 128, which does not fit int8: it is shifted down.
 * BOUND: a lane takes 4 products of field 2 per block, at least 4 * 32 * -128 = -2^14: 2^16 blocks give -2^30. Fields 0
 * and 3 share a lane with 8 products per block, at least 8 * 2 * -128. Fold every 2^16 blocks. */
enum { FOLD_BLOCKS = 1 << 16 };
_Static_assert((int64_t)FOLD_BLOCKS * 4 * 32 * -128 >= INT32_MIN, "sums of field 2 fit int32");

/* gemm unpacks PANEL_BLOCKS blocks of a tile at a time, 16 KiB, so that they stay in the L1 cache for all tokens. */
enum { PANEL_BLOCKS = 64, PANEL_BLOCK_BYTES = 256, TOKENS = 4 };

/* Sums of four rows over at most FOLD_BLOCKS blocks: fields 0 and 3, four times field 1, sixteen times field 2. */
typedef struct {
    int32x4_t field0_3, field1, field2;
} row_sums;

/* Adds one block of four rows. */
ALWAYS_INLINE void add_rows(row_sums *acc, uint8x16_t w, int8x16_t q)
{
    int8x16_t c0 = vreinterpretq_s8_u8(vandq_u8(w, vdupq_n_u8(0x03)));
    int8x16_t c1 = vreinterpretq_s8_u8(vandq_u8(w, vdupq_n_u8(0x0c)));
    int8x16_t c2 = vreinterpretq_s8_u8(vandq_u8(w, vdupq_n_u8(0x30)));
    int8x16_t c3 = vreinterpretq_s8_u8(vshrq_n_u8(w, 6));
    acc->field0_3 = vdotq_laneq_s32(acc->field0_3, c0, q, 0);
    acc->field1 = vdotq_laneq_s32(acc->field1, c1, q, 1);
    acc->field2 = vdotq_laneq_s32(acc->field2, c2, q, 2);
    acc->field0_3 = vdotq_laneq_s32(acc->field0_3, c3, q, 3);
}

/* sums[16] (+)= at most FOLD_BLOCKS blocks of one tile @ q */
static void tile_dot(const uint8_t *tile, size_t n_blocks, const int8_t *q, int add, int32_t *sums)
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
    for (size_t k = 0; k < 4; k++) {
        int32x4_t sum = vaddq_s32(acc[k].field0_3, vshrq_n_s32(acc[k].field1, 2));
        sum = vaddq_s32(sum, vshrq_n_s32(acc[k].field2, 4));
        vst1q_s32(sums + 4 * k, add ? vaddq_s32(vld1q_s32(sums + 4 * k), sum) : sum);
    }
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

/* panel[block][field][16 rows][4]: the codes of a field one to a byte. */
static void unpack_blocks(const uint8_t *blocks, size_t n_blocks, uint8_t *panel)
{
    uint8x16_t mask = vdupq_n_u8(3);
    for (size_t block = 0; block < n_blocks; block++)
        UNROLL
        for (size_t k = 0; k < 4; k++) {
            uint8_t *out = panel + block * PANEL_BLOCK_BYTES + 16 * k;
            uint8x16_t w = vld1q_u8(blocks + block * BN_BLOCK_BYTES + 16 * k);
            vst1q_u8(out, vandq_u8(w, mask));
            vst1q_u8(out + 64, vandq_u8(vshrq_n_u8(w, 2), mask));
            vst1q_u8(out + 128, vandq_u8(vshrq_n_u8(w, 4), mask));
            vst1q_u8(out + 192, vshrq_n_u8(w, 6));
        }
}

/* acc[t][k] += field f of one block: rows 4*k..4*k + 3 for token t. */
#define ADD_FIELD(f)                                                                                                   \
    UNROLL                                                                                                             \
    for (size_t k = 0; k < 4; k++) {                                                                                   \
        int8x16_t rows = vld1q_s8(codes + 64 * (f) + 16 * k);                                                          \
        UNROLL                                                                                                         \
        for (size_t t = 0; t < TOKENS; t++)                                                                            \
            acc[t][k] = vdotq_laneq_s32(acc[t][k], rows, all[t], f);                                                   \
    }

/* sums[t][16] (+)= unpacked blocks of one tile @ q[t], for 1 <= n_tokens <= TOKENS. The last token stands in for those
 * that are missing; its sums are stored once. */
static void panel_dot(const uint8_t *panel, size_t n_blocks, const int8_t *q, size_t q_stride, size_t n_tokens, int add,
                      int32_t *sums, size_t sums_stride)
{
    const int8_t *token[TOKENS];
    int32x4_t acc[TOKENS][4];
    UNROLL
    for (size_t t = 0; t < TOKENS; t++) {
        token[t] = q + (t < n_tokens ? t : n_tokens - 1) * q_stride;
        UNROLL
        for (size_t k = 0; k < 4; k++)
            acc[t][k] = vdupq_n_s32(0);
    }
    for (size_t block = 0; block < n_blocks; block++) {
        const int8_t *codes = (const int8_t *)panel + block * PANEL_BLOCK_BYTES;
        int8x16_t all[TOKENS];
        UNROLL
        for (size_t t = 0; t < TOKENS; t++)
            all[t] = vld1q_s8(token[t] + block * BN_BLOCK_COLS);
        ADD_FIELD(0)
        ADD_FIELD(1)
        ADD_FIELD(2)
        ADD_FIELD(3)
    }
    UNROLL
    for (size_t t = 0; t < TOKENS; t++)
        if (t < n_tokens) {
            UNROLL
            for (size_t k = 0; k < 4; k++) {
                int32_t *out = sums + t * sums_stride + 4 * k;
                vst1q_s32(out, add ? vaddq_s32(vld1q_s32(out), acc[t][k]) : acc[t][k]);
            }
        }
}

void bn_gemm_t2_i8__dotprod(const uint8_t *tiles, size_t n_tiles, size_t n_blocks, const int8_t *q, size_t q_stride,
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
