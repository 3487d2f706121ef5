/* lut_neon.c: ternary matrix times int8 activations by lookup, with Neon.
 *
 * Leans on TBL with two registers (16 lookups of a byte in a table of 32; two micro-ops on most cores). A lookup finds the
 * sum of three activations as two bytes lo + 31 * hi. Bytes of 16 rows stand in one register. */
#include <arm_neon.h>

#include "../kernels.h"
#include "../unroll.h"

/* BOUND: a sum of three activations is at most 384 in magnitude, so |hi| <= 12 and |lo| <= 15: 8 of them fit int8.
 * An int16 lane takes 16 sums of three per group: 5 groups give 30720. */
enum { TRIPLES = BN_LOOKUP_COLS / 3, HALF_TRIPLES = 8, FOLD_GROUPS = 5, BASE = 31, HIGHEST_LO = 15, HIGHEST_HI = 12 };
_Static_assert(HIGHEST_HI * BASE + HIGHEST_LO >= 3 * 128, "two bytes hold a sum of three");
_Static_assert(HALF_TRIPLES * HIGHEST_LO <= INT8_MAX && HALF_TRIPLES * HIGHEST_HI <= INT8_MAX, "sums of bytes fit int8");
_Static_assert(FOLD_GROUPS * TRIPLES * 3 * 128 <= INT16_MAX, "sums of lookups fit int16");

/* Memory answers late: ask for the weights this far ahead. Reading past the end of the matrix is only a hint. */
enum { PREFETCH_BYTES = 4096 };

/* ---- The table: for each three activations 32 bytes of lo, then 32 of hi; 16..31 are 0..15 with the other sign ---- */

enum { ENTRY_BYTES = 64 };
_Static_assert(TRIPLES * ENTRY_BYTES <= BN_TABLE_BYTES, "the table fits");

/* Weights a, b, c of the magnitudes 0..13 of an index (kernels.h). */
static const int8_t weights_of[3][16] = {{0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0},
                                         {0, 0, 1, 1, 1, -1, -1, -1, 0, 0, 0, 1, 1, 1, 0, 0},
                                         {0, 1, -1, 0, 1, -1, 0, 1, -1, 0, 1, -1, 0, 1, 0, 0}};

/* Sums of three activations for eight magnitudes. */
ALWAYS_INLINE int16x8_t sums_of(const int16x8_t weights[3], const int8_t *q)
{
    int16x8_t sum = vmulq_n_s16(weights[0], q[0]);
    sum = vmlaq_n_s16(sum, weights[1], q[1]);
    return vmlaq_n_s16(sum, weights[2], q[2]);
}

void bn_table_l3_i8__neon(const int8_t *q, size_t n_groups, void *table)
{
    int16x8_t weights[2][3];
    for (size_t k = 0; k < 3; k++)
        for (size_t h = 0; h < 2; h++)
            weights[h][k] = vmovl_s8(vld1_s8(weights_of[k] + 8 * h));
    int8_t *out = table;
    for (size_t triple = 0; triple < TRIPLES * n_groups; triple++, q += 3, out += ENTRY_BYTES) {
        int16x8_t sum[2], hi[2], lo[2];
        UNROLL
        for (size_t h = 0; h < 2; h++) {
            sum[h] = sums_of(weights[h], q);
            /* (sum * 1057 + 2^14) >> 15 is sum / 31, rounded, for all |sum| <= 384 */
            hi[h] = vqrdmulhq_n_s16(sum[h], 1057);
            lo[h] = vmlsq_n_s16(sum[h], hi[h], BASE);
        }
        int8x16_t low = vcombine_s8(vmovn_s16(lo[0]), vmovn_s16(lo[1]));
        int8x16_t high = vcombine_s8(vmovn_s16(hi[0]), vmovn_s16(hi[1]));
        vst1q_s8(out, low);
        vst1q_s8(out + 16, vnegq_s8(low));
        vst1q_s8(out + 32, high);
        vst1q_s8(out + 48, vnegq_s8(high));
    }
}

/* ---- One token ---- */

/* Sums of 16 rows: bytes of 8 lookups at most, and int16 of rows 0..7 and 8..15. */
typedef struct {
    int8x16_t lo, hi;
    int16x8_t first, second;
} row_sums;

/* Adds the sums of three activations that the indices 0..31 stand for. */
ALWAYS_INLINE void add_entries(row_sums *acc, uint8x16_t index, const int8_t *entry)
{
    int8x16x2_t lo = {{vld1q_s8(entry), vld1q_s8(entry + 16)}}, hi = {{vld1q_s8(entry + 32), vld1q_s8(entry + 48)}};
    acc->lo = vaddq_s8(acc->lo, vqtbl2q_s8(lo, index));
    acc->hi = vaddq_s8(acc->hi, vqtbl2q_s8(hi, index));
}

/* Moves the bytes into the int16 sums. */
ALWAYS_INLINE void widen(row_sums *acc)
{
    acc->first = vaddw_s8(acc->first, vget_low_s8(acc->lo));
    acc->second = vaddw_s8(acc->second, vget_high_s8(acc->lo));
    acc->first = vmlal_s8(acc->first, vget_low_s8(acc->hi), vdup_n_s8(BASE));
    acc->second = vmlal_s8(acc->second, vget_high_s8(acc->hi), vdup_n_s8(BASE));
    acc->lo = acc->hi = vdupq_n_s8(0);
}

/* The 16 indices of 16 rows, a byte each, from the five pieces of 32 bytes that lie 128 bytes apart. */
ALWAYS_INLINE void split(const uint8_t *group, uint8x16_t index[TRIPLES])
{
    uint8x16_t five = vdupq_n_u8(31), spare = vdupq_n_u8(0);
    UNROLL
    for (size_t v = 0; v < 5; v++) {
        uint8x16x2_t w = vld2q_u8(group + v * 128);     /* bits 0..7 and bits 8..15 */
        index[3 * v] = vandq_u8(w.val[0], five);
        index[3 * v + 1] = vandq_u8(vsliq_n_u8(vshrq_n_u8(w.val[0], 5), w.val[1], 3), five);
        index[3 * v + 2] = vandq_u8(vshrq_n_u8(w.val[1], 2), five);
        /* bit v of the last index comes in at the top and moves down with each that follows */
        spare = vsriq_n_u8(w.val[1], spare, 1);
    }
    index[15] = vshrq_n_u8(spare, 3);
}

ALWAYS_INLINE void add_group(row_sums *acc, const uint8_t *group, const int8_t *table)
{
    uint8x16_t index[TRIPLES];
    split(group, index);
    UNROLL
    for (size_t i = 0; i < TRIPLES; i++) {
        add_entries(acc, index[i], table + i * ENTRY_BYTES);
        if (i == HALF_TRIPLES - 1 || i == TRIPLES - 1)
            widen(acc);
    }
}

/* sums[8] += int16 sums */
ALWAYS_INLINE void fold(int16x8_t narrow, int32_t *sums)
{
    vst1q_s32(sums, vaddw_s16(vld1q_s32(sums), vget_low_s16(narrow)));
    vst1q_s32(sums + 4, vaddw_s16(vld1q_s32(sums + 4), vget_high_s16(narrow)));
}

void bn_gemv_l3_i8__neon(const uint8_t *slabs, size_t n_slabs, size_t n_groups, const void *table, int32_t q_sum,
                         int32_t *sums)
{
    for (size_t slab = 0; slab < n_slabs; slab++, slabs += n_groups * BN_LOOKUP_BYTES, sums += BN_SLAB_ROWS) {
        for (size_t row = 0; row < BN_SLAB_ROWS; row++)
            sums[row] = q_sum;
        for (size_t first = 0; first < n_groups; first += FOLD_GROUPS) {
            size_t end = first + FOLD_GROUPS < n_groups ? first + FOLD_GROUPS : n_groups;
            for (size_t at = first * BN_LOOKUP_BYTES; at < end * BN_LOOKUP_BYTES; at += 64)
                __builtin_prefetch(slabs + at + PREFETCH_BYTES);
            for (size_t quarter = 0; quarter < 4; quarter++) {
                row_sums acc = {vdupq_n_s8(0), vdupq_n_s8(0), vdupq_n_s16(0), vdupq_n_s16(0)};
                for (size_t group = first; group < end; group++)
                    add_group(&acc, slabs + group * BN_LOOKUP_BYTES + quarter * 32,
                              (const int8_t *)table + group * TRIPLES * ENTRY_BYTES);
                fold(acc.first, sums + 16 * quarter);
                fold(acc.second, sums + 16 * quarter + 8);
            }
        }
    }
}

/* ---- Several tokens ---- */

void bn_unpack_l3__neon(const uint8_t *weights, size_t stride, size_t tile, size_t n_tiles, size_t first,
                        size_t n_blocks, uint8_t *panel)
{
    uint8x16x2_t digit[3];      /* codes of the weights a, b, c of each index */
    size_t step = n_tiles * 64;
    for (size_t k = 0; k < 3; k++) {
        int8x16_t positive = vld1q_s8(weights_of[k]);
        digit[k].val[0] = vreinterpretq_u8_s8(vaddq_s8(vdupq_n_s8(1), positive));
        digit[k].val[1] = vreinterpretq_u8_s8(vsubq_s8(vdupq_n_s8(1), positive));
    }
    for (size_t i = 0; i < n_tiles; i++) {
        size_t row = (tile + i) * BN_TILE_ROWS;
        const uint8_t *group = weights + row / BN_SLAB_ROWS * stride + first / 3 * BN_LOOKUP_BYTES +
                               row % BN_SLAB_ROWS / 32 * 64 + row % 32 * 2;
        uint8_t *out = panel + i * 64;
        for (size_t g = 0; g < n_blocks / 3; g++, group += BN_LOOKUP_BYTES) {
            uint8x16_t index[TRIPLES];
            split(group, index);
            UNROLL
            for (size_t four = 0; four < BN_LOOKUP_COLS / 4; four++, out += step) {
                uint8x16x4_t cols;
                UNROLL
                for (size_t c = 0; c < 4; c++)
                    cols.val[c] = vqtbl2q_u8(digit[(4 * four + c) % 3], index[(4 * four + c) / 3]);
                vst4q_u8(out, cols);
            }
        }
    }
}
