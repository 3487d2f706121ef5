/* head_neon.c: quantised heads on Armv8.0, which has no dot product instruction.
 *
 * Leans on SSHLL (int8 to int16) and SMLAL and SMLAL2 (4 products int16 x int16 added to int32). The activations are taken
 * whole, not as digits: four of them meet the four codes of a row. The body is in head_neon.h. */
#include "head_neon.h"

ALWAYS_INLINE int32x4_t rows_dot(const int8x16_t *codes, size_t n_fields, const int16_t *x, const int8_t *digits)
{
    (void)digits;
    int32x4_t row[4];
    UNROLL
    for (size_t r = 0; r < 4; r++)
        row[r] = vdupq_n_s32(0);
    UNROLL
    for (size_t f = 0; f < n_fields; f++) {
        int16x4_t four = vld1_s16(x + 4 * f);
        int16x8_t rows01 = vmovl_s8(vget_low_s8(codes[f])), rows23 = vmovl_high_s8(codes[f]);
        row[0] = vmlal_s16(row[0], vget_low_s16(rows01), four);
        row[1] = vmlal_s16(row[1], vget_high_s16(rows01), four);
        row[2] = vmlal_s16(row[2], vget_low_s16(rows23), four);
        row[3] = vmlal_s16(row[3], vget_high_s16(rows23), four);
    }
    return vpaddq_s32(vpaddq_s32(row[0], row[1]), vpaddq_s32(row[2], row[3]));
}

BN_HEAD_TYPES(neon)
