/* dense_neon.c: dense rows as floats, and the dot products of rows of floats, on AArch64.
 *
 * Leans on FCVTL (f16 to f32, exact), SHLL (bf16 to f32), SSHLL + SCVTF (int8 to f32), FMUL and FADD; no FMLA. Each
 * type hands out groups of 16 values in the order of the row, which dequant stores and gemv, for types of floats, adds to the 16 lanes. The
 * block formats are drawn in scalar/dense_scalar.c. */
#include "../kernels.h"
#include "lanes_neon.h"

/* ---- Plain types: 16 values at p ---- */

ALWAYS_INLINE bn_group f32_group(const uint8_t *p)
{
    return (bn_group){{vreinterpretq_f32_u8(vld1q_u8(p)), vreinterpretq_f32_u8(vld1q_u8(p + 16)),
                       vreinterpretq_f32_u8(vld1q_u8(p + 32)), vreinterpretq_f32_u8(vld1q_u8(p + 48))}};
}

ALWAYS_INLINE bn_group f16_group(const uint8_t *p)
{
    float16x8_t a = vreinterpretq_f16_u8(vld1q_u8(p)), b = vreinterpretq_f16_u8(vld1q_u8(p + 16));
    return (bn_group){{vcvt_f32_f16(vget_low_f16(a)), vcvt_high_f32_f16(a), vcvt_f32_f16(vget_low_f16(b)),
                       vcvt_high_f32_f16(b)}};
}

ALWAYS_INLINE bn_group bf16_group(const uint8_t *p)
{
    uint16x8_t a = vreinterpretq_u16_u8(vld1q_u8(p)), b = vreinterpretq_u16_u8(vld1q_u8(p + 16));
    return (bn_group){{vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(a), 16)),
                       vreinterpretq_f32_u32(vshll_high_n_u16(a, 16)),
                       vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(b), 16)),
                       vreinterpretq_f32_u32(vshll_high_n_u16(b, 16))}};
}

/* Both kernels of a type of `size` bytes a value. A tail is padded with zero bytes, which are +0 in all three types. */
#define BN_PLAIN_TYPE(type, size)                                                                                      \
    void bn_dequant_##type##__neon(const void *row, size_t n, float *out)                                              \
    {                                                                                                                  \
        const uint8_t *p = row;                                                                                        \
        uint8_t padded[BN_LANES * (size)] = {0};                                                                       \
        size_t i = 0;                                                                                                  \
        for (; i + BN_LANES <= n; i += BN_LANES)                                                                       \
            bn_group_store(out + i, type##_group(p + (size) * i));                                                     \
        memcpy(padded, p + (size) * i, (size) * (n - i));                                                              \
        bn_group_store_tail(out + i, n - i, type##_group(padded));                                                     \
    }                                                                                                                  \
                                                                                                                       \
    void bn_gemv_##type##_f32__neon(const void *w, size_t row_bytes, size_t rows, size_t cols, const float *x,         \
                                    float *y)                                                                          \
    {                                                                                                                  \
        size_t whole = cols / BN_LANES * BN_LANES, rest = cols - whole;                                                \
        for (size_t r = 0; r < rows; r++) {                                                                            \
            const uint8_t *p = (const uint8_t *)w + r * row_bytes;                                                     \
            bn_group lanes = bn_group_zero();                                                                          \
            for (size_t i = 0; i < whole; i += BN_LANES)                                                               \
                lanes = bn_group_add_product(lanes, type##_group(p + (size) * i), bn_group_load(x + i));               \
            if (rest > 0) {                                                                                            \
                uint8_t padded[BN_LANES * (size)] = {0};                                                               \
                memcpy(padded, p + (size) * whole, (size) * rest);                                                     \
                lanes = bn_group_add_product(lanes, type##_group(padded), bn_group_load_tail(x + whole, rest));        \
            }                                                                                                          \
            y[r] = bn_group_sum(lanes);                                                                                \
        }                                                                                                              \
    }

BN_PLAIN_TYPE(f32, 4)
BN_PLAIN_TYPE(f16, 2)
BN_PLAIN_TYPE(bf16, 2)

/* ---- Block types: a part of a block as up to 8 groups of integers, each with its scale ---- */

typedef struct {
    int8x16_t q[8];
    float scale[8];
} block_part;

/* The f16 at p + 2*i as float; reads 8 bytes at p. */
#define F16_AT(p, i) vgetq_lane_f32(vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p))), i)

ALWAYS_INLINE block_part q8_0_part(const uint8_t *block, size_t part)
{
    (void)part;
    block_part out;
    out.scale[0] = out.scale[1] = F16_AT(block, 0);
    out.q[0] = vreinterpretq_s8_u8(vld1q_u8(block + 2));
    out.q[1] = vreinterpretq_s8_u8(vld1q_u8(block + 18));
    return out;
}

ALWAYS_INLINE block_part q4_0_part(const uint8_t *block, size_t part)
{
    (void)part;
    block_part out;
    uint8x16_t nibbles = vld1q_u8(block + 2);
    int8x16_t eight = vdupq_n_s8(8);
    out.scale[0] = out.scale[1] = F16_AT(block, 0);
    out.q[0] = vsubq_s8(vreinterpretq_s8_u8(vandq_u8(nibbles, vdupq_n_u8(15))), eight);
    out.q[1] = vsubq_s8(vreinterpretq_s8_u8(vshrq_n_u8(nibbles, 4)), eight);
    return out;
}

ALWAYS_INLINE block_part q2_0_part(const uint8_t *block, size_t part)
{
    (void)part;
    block_part out;
    uint8x16_t bytes = vld1q_u8(block + 2), three = vdupq_n_u8(3);
    int8x16_t one = vdupq_n_s8(1);
    int8x16x4_t field;
    field.val[0] = vsubq_s8(vreinterpretq_s8_u8(vandq_u8(bytes, three)), one);
    field.val[1] = vsubq_s8(vreinterpretq_s8_u8(vandq_u8(vshrq_n_u8(bytes, 2), three)), one);
    field.val[2] = vsubq_s8(vreinterpretq_s8_u8(vandq_u8(vshrq_n_u8(bytes, 4), three)), one);
    field.val[3] = vsubq_s8(vreinterpretq_s8_u8(vshrq_n_u8(bytes, 6)), one);
    int8_t values[64];
    vst4q_s8(values, field);        /* one value of each field behind the other, as they lie in a byte */
    UNROLL
    for (size_t g = 0; g < 4; g++) {
        out.scale[g] = F16_AT(block, 0);
        out.q[g] = vld1q_s8(values + 16 * g);
    }
    return out;
}

/* (low 4 bits | 2 high bits at bits 4 and 5 of `high`) - 32 */
ALWAYS_INLINE int8x16_t six_bits(uint8x16_t low, uint8x16_t high)
{
    return vsubq_s8(vreinterpretq_s8_u8(vorrq_u8(low, vandq_u8(high, vdupq_n_u8(0x30)))), vdupq_n_s8(32));
}

/* Half a block: 128 values. */
ALWAYS_INLINE block_part q6_k_part(const uint8_t *block, size_t part)
{
    const uint8_t *ql = block + 64 * part, *qh = block + 128 + 32 * part, *sc = block + 192 + 8 * part;
    float d = F16_AT(block + 202, 3);
    uint8x16_t mask = vdupq_n_u8(15);
    block_part out;
    UNROLL
    for (size_t g = 0; g < 8; g++)
        out.scale[g] = d * (float)(int8_t)sc[g];
    UNROLL
    for (size_t l = 0; l < 2; l++) {
        uint8x16_t a = vld1q_u8(ql + 16 * l), b = vld1q_u8(ql + 32 + 16 * l), high = vld1q_u8(qh + 16 * l);
        out.q[l] = six_bits(vandq_u8(a, mask), vshlq_n_u8(high, 4));
        out.q[2 + l] = six_bits(vandq_u8(b, mask), vshlq_n_u8(high, 2));
        out.q[4 + l] = six_bits(vshrq_n_u8(a, 4), high);
        out.q[6 + l] = six_bits(vshrq_n_u8(b, 4), vshrq_n_u8(high, 2));
    }
    return out;
}

/* q * scale */
ALWAYS_INLINE bn_group scaled(int8x16_t q, float scale)
{
    int16x8_t low = vmovl_s8(vget_low_s8(q)), high = vmovl_high_s8(q);
    return (bn_group){{vmulq_n_f32(vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))), scale),
                       vmulq_n_f32(vcvtq_f32_s32(vmovl_high_s16(low)), scale),
                       vmulq_n_f32(vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))), scale),
                       vmulq_n_f32(vcvtq_f32_s32(vmovl_high_s16(high)), scale)}};
}

/* The kernel of a type whose blocks of `bytes` come in n_parts parts of n_groups groups. */
#define BN_BLOCK_TYPE(type, bytes, n_parts, n_groups)                                                                  \
    void bn_dequant_##type##__neon(const void *row, size_t n, float *out)                                              \
    {                                                                                                                  \
        const uint8_t *block = row;                                                                                    \
        for (float *end = out + n; out < end; block += (bytes))                                                        \
            for (size_t part = 0; part < (n_parts); part++, out += BN_LANES * (n_groups)) {                            \
                block_part values = type##_part(block, part);                                                          \
                UNROLL                                                                                                 \
                for (size_t g = 0; g < (n_groups); g++)                                                                \
                    bn_group_store(out + BN_LANES * g, scaled(values.q[g], values.scale[g]));                          \
            }                                                                                                          \
    }

BN_BLOCK_TYPE(q8_0, 34, 1, 2)
BN_BLOCK_TYPE(q4_0, 18, 1, 2)
BN_BLOCK_TYPE(q2_0, 18, 1, 4)
BN_BLOCK_TYPE(q6_k, 210, 2, 8)
