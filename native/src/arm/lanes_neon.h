/* lanes_neon.h: the 16 lanes of lanes.h in four registers, and groups of 16 elements to feed them.
 *
 * Lane l is element l % 4 of v[l / 4]. Multiply and add are two instructions, as in the scalar files: FMLA rounds once
 * and would give other bits. */
#ifndef BN_LANES_NEON_H
#define BN_LANES_NEON_H

#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "../lanes.h"
#include "../unroll.h"

typedef struct {
    float32x4_t v[4];
} bn_group;

ALWAYS_INLINE bn_group bn_group_zero(void)
{
    float32x4_t zero = vdupq_n_f32(0.0f);
    return (bn_group){{zero, zero, zero, zero}};
}

ALWAYS_INLINE bn_group bn_group_load(const float *x)
{
    return (bn_group){{vld1q_f32(x), vld1q_f32(x + 4), vld1q_f32(x + 8), vld1q_f32(x + 12)}};
}

/* x[n], n < 16, padded with +0. */
ALWAYS_INLINE bn_group bn_group_load_tail(const float *x, size_t n)
{
    float padded[BN_LANES] = {0};
    memcpy(padded, x, n * sizeof *x);
    return bn_group_load(padded);
}

ALWAYS_INLINE void bn_group_store(float *y, bn_group g)
{
    UNROLL
    for (size_t i = 0; i < 4; i++)
        vst1q_f32(y + 4 * i, g.v[i]);
}

/* The first n < 16 elements. */
ALWAYS_INLINE void bn_group_store_tail(float *y, size_t n, bn_group g)
{
    float all[BN_LANES];
    bn_group_store(all, g);
    memcpy(y, all, n * sizeof *y);
}

/* 16 values of f16, exactly. */
ALWAYS_INLINE bn_group bn_group_from_f16(const uint16_t *h)
{
    float16x8_t a = vreinterpretq_f16_u16(vld1q_u16(h)), b = vreinterpretq_f16_u16(vld1q_u16(h + 8));
    return (bn_group){{vcvt_f32_f16(vget_low_f16(a)), vcvt_high_f32_f16(a), vcvt_f32_f16(vget_low_f16(b)),
                       vcvt_high_f32_f16(b)}};
}

/* 16 values of int8. */
ALWAYS_INLINE bn_group bn_group_from_i8(const int8_t *q)
{
    int8x16_t all = vld1q_s8(q);
    int16x8_t low = vmovl_s8(vget_low_s8(all)), high = vmovl_high_s8(all);
    return (bn_group){{vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))), vcvtq_f32_s32(vmovl_high_s16(low)),
                       vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))), vcvtq_f32_s32(vmovl_high_s16(high))}};
}

ALWAYS_INLINE bn_group bn_group_mul(bn_group a, bn_group b)
{
    UNROLL
    for (size_t i = 0; i < 4; i++)
        a.v[i] = vmulq_f32(a.v[i], b.v[i]);
    return a;
}

/* lanes + a * b */
ALWAYS_INLINE bn_group bn_group_add_product(bn_group lanes, bn_group a, bn_group b)
{
    UNROLL
    for (size_t i = 0; i < 4; i++)
        lanes.v[i] = vaddq_f32(lanes.v[i], vmulq_f32(a.v[i], b.v[i]));
    return lanes;
}

/* Lanes l and l+8, then l and l+4: four are left. */
ALWAYS_INLINE float32x4_t bn_group_fold_to_4(bn_group lanes)
{
    return vaddq_f32(vaddq_f32(lanes.v[0], lanes.v[2]), vaddq_f32(lanes.v[1], lanes.v[3]));
}

/* The sum of bn_lanes_sum. */
ALWAYS_INLINE float bn_group_sum(bn_group lanes)
{
    float32x4_t four = bn_group_fold_to_4(lanes);
    float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
    return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}

#endif
