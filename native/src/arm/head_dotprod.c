/* head_dotprod.c: quantised heads with the dot product of Armv8.2.
 *
 * Leans on SDOT by element: a 16-byte load holds the high and low digits of the activations of two fields, and each of
 * its lanes meets the codes of four rows. The body is in head_neon.h. */
#include "head_neon.h"

ALWAYS_INLINE int32x4_t rows_dot(const int8x16_t *codes, size_t n_fields, const int16_t *x, const int8_t *digits)
{
    (void)x;
    int32x4_t high = vdupq_n_s32(0), low = vdupq_n_s32(0);
    UNROLL
    for (size_t f = 0; f < n_fields; f += 2) {
        int8x16_t two = vld1q_s8(digits + 8 * f);
        high = vdotq_laneq_s32(high, codes[f], two, 0);
        low = vdotq_laneq_s32(low, codes[f], two, 1);
        high = vdotq_laneq_s32(high, codes[f + 1], two, 2);
        low = vdotq_laneq_s32(low, codes[f + 1], two, 3);
    }
    return vaddq_s32(vshlq_n_s32(high, 8), low);
}

BN_HEAD_TYPES(dotprod)
