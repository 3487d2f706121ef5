/* quant_neon.c: RMSNorm, int8 quantisation and descaling on AArch64.
 *
 * Leans on FMUL, FADD, FDIV, FCMGT + BSL (a comparison that picks a value, so that a NaN takes the same side as in the
 * scalar file; FMAX and FMAXNM treat it differently), FCVTNS (rounds half to even), SCVTF and XTN. */
#include <math.h>

#include "../kernels.h"
#include "lanes_neon.h"

void bn_rmsnorm_f32__neon(const float *x, const float *w, size_t n, float eps, float *y)
{
    size_t whole = n / BN_LANES * BN_LANES, rest = n - whole;
    bn_group lanes = bn_group_zero(), tail = bn_group_load_tail(x + whole, rest);
    for (size_t i = 0; i < whole; i += BN_LANES) {
        bn_group g = bn_group_load(x + i);
        lanes = bn_group_add_product(lanes, g, g);
    }
    lanes = bn_group_add_product(lanes, tail, tail);
    float r = 1.0f / sqrtf(bn_group_sum(lanes) / (float)n + eps);
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        vst1q_f32(y + i, vmulq_f32(vld1q_f32(w + i), vmulq_n_f32(vld1q_f32(x + i), r)));
    for (; i < n; i++)
        y[i] = w[i] * (x[i] * r);
}

/* amax = |x| > amax ? |x| : amax */
ALWAYS_INLINE float32x4_t larger_magnitude(float32x4_t x, float32x4_t amax)
{
    float32x4_t magnitude = vabsq_f32(x);
    return vbslq_f32(vcgtq_f32(magnitude, amax), magnitude, amax);
}

/* max(absmax(x), least). No lane ever holds a NaN, so their order does not matter. */
static float absmax(const float *x, size_t n, float least)
{
    bn_group max = {{vdupq_n_f32(least), vdupq_n_f32(least), vdupq_n_f32(least), vdupq_n_f32(least)}};
    size_t i = 0;
    for (; i + BN_LANES <= n; i += BN_LANES)
        UNROLL
        for (size_t v = 0; v < 4; v++)
            max.v[v] = larger_magnitude(vld1q_f32(x + i + 4 * v), max.v[v]);
    bn_group tail = bn_group_load_tail(x + i, n - i);
    UNROLL
    for (size_t v = 0; v < 4; v++)
        max.v[0] = larger_magnitude(tail.v[v], larger_magnitude(max.v[v], max.v[0]));
    return vmaxvq_f32(max.v[0]);
}

/* round(clamp(x * scale)); a NaN fails the first comparison and becomes -128. */
ALWAYS_INLINE int32x4_t quantise(float32x4_t x, float scale)
{
    float32x4_t low = vdupq_n_f32(-128.0f), high = vdupq_n_f32(127.0f);
    float32x4_t v = vmulq_n_f32(x, scale);
    v = vbslq_f32(vcgtq_f32(v, low), v, low);
    v = vbslq_f32(vcltq_f32(v, high), v, high);
    return vcvtnq_s32_f32(v);
}

/* q[16] of one group, added to four partial sums. */
ALWAYS_INLINE int8x16_t quantise_group(bn_group g, float scale, int32x4_t *sum)
{
    int32x4_t a = quantise(g.v[0], scale), b = quantise(g.v[1], scale);
    int32x4_t c = quantise(g.v[2], scale), d = quantise(g.v[3], scale);
    *sum = vaddq_s32(*sum, vaddq_s32(vaddq_s32(a, b), vaddq_s32(c, d)));
    int16x8_t ab = vcombine_s16(vmovn_s32(a), vmovn_s32(b)), cd = vcombine_s16(vmovn_s32(c), vmovn_s32(d));
    return vcombine_s8(vmovn_s16(ab), vmovn_s16(cd));
}

void bn_quant_i8__neon(const float *x, size_t n, int8_t *q, float *s, int32_t *sum)
{
    float scale = 127.0f / absmax(x, n, 1e-5f);
    int32x4_t total = vdupq_n_s32(0);
    size_t i = 0;
    for (; i + BN_LANES <= n; i += BN_LANES)
        vst1q_s8(q + i, quantise_group(bn_group_load(x + i), scale, &total));
    /* The padding is +0, quantises to 0 and adds nothing. */
    int8_t tail[BN_LANES];
    vst1q_s8(tail, quantise_group(bn_group_load_tail(x + i, n - i), scale, &total));
    memcpy(q + i, tail, n - i);
    *s = scale;
    *sum = vaddvq_s32(total);
}

void bn_descale_f32__neon(const int32_t *sums, size_t n, int32_t q_sum, float s, float scale, int add, float *y)
{
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        float32x4_t v = vcvtq_f32_s32(vsubq_s32(vld1q_s32(sums + i), vdupq_n_s32(q_sum)));
        v = vmulq_n_f32(vdivq_f32(v, vdupq_n_f32(s)), scale);
        vst1q_f32(y + i, add ? vaddq_f32(vld1q_f32(y + i), v) : v);
    }
    for (; i < n; i++) {
        float v = ((float)(sums[i] - q_sum) / s) * scale;
        y[i] = add ? y[i] + v : v;
    }
}

void bn_descale_rows_f32__neon(const int32_t *sums, size_t n, int32_t q_sum, float s, const float *scales, int add,
                               float *y)
{
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        float32x4_t v = vcvtq_f32_s32(vsubq_s32(vld1q_s32(sums + i), vdupq_n_s32(q_sum)));
        v = vmulq_f32(vdivq_f32(v, vdupq_n_f32(s)), vld1q_f32(scales + i));
        vst1q_f32(y + i, add ? vaddq_f32(vld1q_f32(y + i), v) : v);
    }
    for (; i < n; i++) {
        float v = ((float)(sums[i] - q_sum) / s) * scales[i];
        y[i] = add ? y[i] + v : v;
    }
}

/* BOUND: an int16 lane takes two q of at least -128 per 16 cols, at most 256 cols: -4096. */
void bn_group_sums_i8__neon(const int8_t *q, size_t n, size_t group_cols, int32_t *sums)
{
    _Static_assert(256 / 16 * 2 * -128 >= INT16_MIN, "int16 lanes");
    for (size_t i = 0; i < n; i++, q += group_cols) {
        int16x8_t sum = vdupq_n_s16(0);
        for (size_t c = 0; c < group_cols; c += 16)
            sum = vpadalq_s8(sum, vld1q_s8(q + c));
        sums[i] = vaddlvq_s16(sum);
    }
}

void bn_add_scaled_f32__neon(const int32_t *sums, size_t n, size_t n_tokens, const int32_t *q_sums, size_t q_stride,
                             const float *scales, float *acc)
{
    for (size_t t = 0; t < n_tokens; t++, sums += n, acc += n) {
        int32x4_t q_sum = vdupq_n_s32(q_sums[t * q_stride]);
        for (size_t i = 0; i < n; i += 4) {
            float32x4_t v = vcvtq_f32_s32(vsubq_s32(vld1q_s32(sums + i), q_sum));
            vst1q_f32(acc + i, vaddq_f32(vld1q_f32(acc + i), vmulq_f32(v, vld1q_f32(scales + i))));
        }
    }
}

/* 1 if no value is an infinity or a NaN: only those are not zero when taken from themselves. */
static int all_finite(const float *x, size_t n)
{
    uint32x4_t finite = vdupq_n_u32(UINT32_MAX);
    for (size_t i = 0; i < n; i += 4) {
        float32x4_t v = vld1q_f32(x + i);
        finite = vandq_u32(finite, vceqzq_f32(vsubq_f32(v, v)));
    }
    return vminvq_u32(finite) != 0;
}

void bn_quant_i16__neon(const float *h, size_t n, size_t group_cols, int32_t bias, int16_t *x, int8_t *digits,
                        int32_t *offset, float *s)
{
    int finite = all_finite(h, n);
    float scale = finite ? 32512.0f / absmax(h, n, 1e-30f) : NAN;
    for (size_t i = 0; i < n; offset++) {
        int32x4_t total = vdupq_n_s32(0);
        for (size_t end = i + group_cols; i < end; i += 4) {
            int32x4_t value = finite ? vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(h + i), scale)) : vdupq_n_s32(0);
            /* The rounding shift gives (value + 128) >> 8; what is left is the lowest byte. */
            int16x4_t whole = vmovn_s32(value), high = vmovn_s32(vrshrq_n_s32(value, 8));
            total = vaddq_s32(total, value);
            vst1_s16(x + i, whole);
            vst1_s8(digits + 2 * i, vmovn_s16(vcombine_s16(high, whole)));
        }
        *offset = -bias * vaddvq_s32(total);
    }
    *s = scale;
}
