/* live_neon.c: finding open gates and activations that are not zero, on AArch64.
 *
 * Leans on TBL: the four bits of a comparison pick the table row that moves the indices of the live lanes to the front.
 * All four lanes are stored; the next four overwrite what is not live. */
#include <arm_neon.h>

#include "../kernels.h"
#include "../unroll.h"

#define LANE(i) 4 * (i), 4 * (i) + 1, 4 * (i) + 2, 4 * (i) + 3
#define ROW(a, b, c, d) {LANE(a), LANE(b), LANE(c), LANE(d)}

/* Row `bits`: the lanes whose bit is set, ascending; then any. */
static const uint8_t front[16][16] = {
    ROW(0, 0, 0, 0), ROW(0, 0, 0, 0), ROW(1, 0, 0, 0), ROW(0, 1, 0, 0), ROW(2, 0, 0, 0), ROW(0, 2, 0, 0),
    ROW(1, 2, 0, 0), ROW(0, 1, 2, 0), ROW(3, 0, 0, 0), ROW(0, 3, 0, 0), ROW(1, 3, 0, 0), ROW(0, 1, 3, 0),
    ROW(2, 3, 0, 0), ROW(0, 2, 3, 0), ROW(1, 2, 3, 0), ROW(0, 1, 2, 3)};
static const uint8_t bits_set[16] = {0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4};
static const uint32_t lane_bits[4] = {1, 2, 4, 8}, lane_numbers[4] = {0, 1, 2, 3};

/* Writes at + 0..3 where live is all ones, and returns how many. */
ALWAYS_INLINE size_t put_live(uint32x4_t live, uint32x4_t at, uint32_t *index)
{
    uint32_t bits = vaddvq_u32(vandq_u32(live, vld1q_u32(lane_bits)));
    vst1q_u32(index, vreinterpretq_u32_u8(vqtbl1q_u8(vreinterpretq_u8_u32(at), vld1q_u8(front[bits]))));
    return bits_set[bits];
}

size_t bn_live_f32__neon(const float *x, size_t n, uint32_t first, uint32_t *index)
{
    size_t found = 0, i = 0;
    uint32x4_t numbers = vaddq_u32(vdupq_n_u32(first), vld1q_u32(lane_numbers));
    for (; i + 4 <= n; i += 4)
        found += put_live(vcgtzq_f32(vld1q_f32(x + i)), vaddq_u32(numbers, vdupq_n_u32((uint32_t)i)), index + found);
    for (; i < n; i++) {
        index[found] = first + (uint32_t)i;
        found += x[i] > 0.0f;
    }
    return found;
}

size_t bn_live_i8__neon(const int8_t *q, size_t n, uint32_t first, uint32_t *index)
{
    size_t found = 0, i = 0;
    uint32x4_t numbers = vaddq_u32(vdupq_n_u32(first), vld1q_u32(lane_numbers));
    for (; i + 8 <= n; i += 8) {
        int16x8_t eight = vmovl_s8(vld1_s8(q + i));
        uint32x4_t at = vaddq_u32(numbers, vdupq_n_u32((uint32_t)i));
        int32x4_t low = vmovl_s16(vget_low_s16(eight)), high = vmovl_high_s16(eight);
        found += put_live(vtstq_s32(low, low), at, index + found);
        found += put_live(vtstq_s32(high, high), vaddq_u32(at, vdupq_n_u32(4)), index + found);
    }
    for (; i < n; i++) {
        index[found] = first + (uint32_t)i;
        found += q[i] != 0;
    }
    return found;
}
