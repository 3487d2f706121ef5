/* float_neon.c: RoPE, softmax, gated activations and the conversion to f16 on AArch64.
 *
 * Leans on FMUL, FADD, FSUB, FDIV, FCVTN (f32 to f16, half to even), FCMGT + BSL for
 * comparisons that pick a value, LD2/ST2 for the interleaved RoPE. No FMLA: it rounds once where the scalar file rounds
 * twice. */
#include "../kernels.h"
#include "../scalar/exp_scalar.h"
#include "../scalar/half_scalar.h"
#include "lanes_neon.h"

/* ---- RoPE ---- */

ALWAYS_INLINE float32x4_t turn_a(float32x4_t a, float32x4_t b, float32x4_t cos, float32x4_t sin)
{
    return vsubq_f32(vmulq_f32(a, cos), vmulq_f32(b, sin));
}

ALWAYS_INLINE float32x4_t turn_b(float32x4_t a, float32x4_t b, float32x4_t cos, float32x4_t sin)
{
    return vaddq_f32(vmulq_f32(a, sin), vmulq_f32(b, cos));
}

/* Turns as many pairs of one head as fill registers and returns their number. */
static size_t turn_halves(float *x, size_t pairs, const float *cos, const float *sin)
{
    size_t i = 0;
    for (; i + 4 <= pairs; i += 4) {
        float32x4_t a = vld1q_f32(x + i), b = vld1q_f32(x + pairs + i), c = vld1q_f32(cos + i), s = vld1q_f32(sin + i);
        vst1q_f32(x + i, turn_a(a, b, c, s));
        vst1q_f32(x + pairs + i, turn_b(a, b, c, s));
    }
    return i;
}

static size_t turn_neighbours(float *x, size_t pairs, const float *cos, const float *sin)
{
    size_t i = 0;
    for (; i + 4 <= pairs; i += 4) {
        float32x4x2_t p = vld2q_f32(x + 2 * i), out;
        float32x4_t c = vld1q_f32(cos + i), s = vld1q_f32(sin + i);
        out.val[0] = turn_a(p.val[0], p.val[1], c, s);
        out.val[1] = turn_b(p.val[0], p.val[1], c, s);
        vst2q_f32(x + 2 * i, out);
    }
    return i;
}

void bn_rope_f32__neon(float *x, size_t n_heads, size_t head_dim, size_t n_rot, int neox, const float *cos,
                       const float *sin)
{
    size_t pairs = n_rot / 2;
    for (size_t h = 0; h < n_heads; h++, x += head_dim) {
        size_t i = neox ? turn_halves(x, pairs, cos, sin) : turn_neighbours(x, pairs, cos, sin);
        for (; i < pairs; i++) {
            float *a = neox ? x + i : x + 2 * i, *b = neox ? x + i + pairs : a + 1;
            float a0 = *a, b0 = *b;
            *a = a0 * cos[i] - b0 * sin[i];
            *b = a0 * sin[i] + b0 * cos[i];
        }
    }
}

/* ---- exp, softmax, gated activations ---- */

/* p * r + c */
ALWAYS_INLINE float32x4_t horner(float32x4_t p, float32x4_t r, float c)
{
    return vaddq_f32(vmulq_f32(p, r), vdupq_n_f32(c));
}

/* bn_exp, operation for operation. */
ALWAYS_INLINE float32x4_t exp_of(float32x4_t x)
{
    float32x4_t min = vdupq_n_f32(BN_EXP_MIN), max = vdupq_n_f32(BN_EXP_MAX), round = vdupq_n_f32(BN_EXP_ROUND);
    x = vbslq_f32(vcgtq_f32(x, min), x, min);
    x = vbslq_f32(vcltq_f32(x, max), x, max);
    float32x4_t n = vsubq_f32(vaddq_f32(vmulq_n_f32(x, BN_EXP_LOG2E), round), round);
    float32x4_t r = vsubq_f32(vsubq_f32(x, vmulq_n_f32(n, BN_EXP_LN2_HI)), vmulq_n_f32(n, BN_EXP_LN2_LO));
    float32x4_t p = vdupq_n_f32(0x1.a01a02p-13f);
    p = horner(p, r, 0x1.6c16c2p-10f);
    p = horner(p, r, 0x1.111112p-7f);
    p = horner(p, r, 0x1.555556p-5f);
    p = horner(p, r, 0x1.555556p-3f);
    p = horner(p, r, 0.5f);
    p = horner(p, r, 1.0f);
    p = horner(p, r, 1.0f);
    int32x4_t whole = vcvtq_s32_f32(n), half = vshrq_n_s32(whole, 1), bias = vdupq_n_s32(127);
    float32x4_t a = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(half, bias), 23));
    float32x4_t b = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vsubq_s32(whole, half), bias), 23));
    return vmulq_f32(vmulq_f32(p, a), b);
}

/* Every lane starts from x[0]: if that is a NaN it stays, as in the scalar file, and any other NaN is passed over. A
 * zero may come out with the other sign, which exp(x - max) does not show. */
static float max_of(const float *x, size_t n)
{
    float32x4_t max = vdupq_n_f32(x[0]);
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        float32x4_t v = vld1q_f32(x + i);
        max = vbslq_f32(vcgtq_f32(v, max), v, max);
    }
    float result = vmaxvq_f32(max);
    for (; i < n; i++)
        result = x[i] > result ? x[i] : result;
    return result;
}

/* exp(g - max) of 16 elements */
ALWAYS_INLINE bn_group exp_of_group(bn_group g, float32x4_t max)
{
    UNROLL
    for (size_t v = 0; v < 4; v++)
        g.v[v] = exp_of(vsubq_f32(g.v[v], max));
    return g;
}

/* x = (x * k_scale) * scale, k_scale being 1 for all if NULL */
static void scale_scores(float *x, size_t n, float scale, const float *k_scale)
{
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        float32x4_t v = vld1q_f32(x + i);
        if (k_scale)
            v = vmulq_f32(v, vld1q_f32(k_scale + i));
        vst1q_f32(x + i, vmulq_n_f32(v, scale));
    }
    for (; i < n; i++)
        x[i] = k_scale ? (x[i] * k_scale[i]) * scale : x[i] * scale;
}

float bn_softmax_f32__neon(float *x, size_t n, float scale, const float *k_scale, const float *v_scale)
{
    size_t whole = n / BN_LANES * BN_LANES, rest = n - whole;
    scale_scores(x, n, scale, k_scale);
    float32x4_t max = vdupq_n_f32(max_of(x, n));
    bn_group lanes = bn_group_zero();
    for (size_t i = 0; i < whole; i += BN_LANES) {
        bn_group e = exp_of_group(bn_group_load(x + i), max);
        bn_group_store(x + i, e);
        UNROLL
        for (size_t v = 0; v < 4; v++)
            lanes.v[v] = vaddq_f32(lanes.v[v], e.v[v]);
    }
    if (rest > 0) {
        bn_group_store_tail(x + whole, rest, exp_of_group(bn_group_load_tail(x + whole, rest), max));
        bn_group e = bn_group_load_tail(x + whole, rest);   /* padded with +0 again */
        UNROLL
        for (size_t v = 0; v < 4; v++)
            lanes.v[v] = vaddq_f32(lanes.v[v], e.v[v]);
    }
    if (v_scale)
        scale_scores(x, n, 1.0f, v_scale);      /* times 1 changes nothing */
    return bn_group_sum(lanes);
}

void bn_glu_relu2_f32__neon(const float *g, const float *u, size_t n, float *out)
{
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        float32x4_t gate = vld1q_f32(g + i), product = vmulq_f32(vmulq_f32(gate, gate), vld1q_f32(u + i));
        vst1q_f32(out + i, vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(product), vcgtzq_f32(gate))));
    }
    for (; i < n; i++)
        out[i] = g[i] > 0.0f ? (g[i] * g[i]) * u[i] : 0.0f;
}

void bn_glu_silu_f32__neon(const float *g, const float *u, size_t n, float *out)
{
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        float32x4_t gate = vld1q_f32(g + i);
        float32x4_t denominator = vaddq_f32(vdupq_n_f32(1.0f), exp_of(vnegq_f32(gate)));
        vst1q_f32(out + i, vmulq_f32(vdivq_f32(gate, denominator), vld1q_f32(u + i)));
    }
    for (; i < n; i++)
        out[i] = (g[i] / (1.0f + bn_exp(-g[i]))) * u[i];
}

void bn_glu_gelu_f32__neon(const float *g, const float *u, size_t n, float *out)
{
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        float32x4_t gate = vld1q_f32(g + i);
        float32x4_t rise = vaddq_f32(vdupq_n_f32(BN_GELU_A), vmulq_n_f32(vmulq_f32(gate, gate), BN_GELU_B));
        float32x4_t denominator = vaddq_f32(vdupq_n_f32(1.0f), exp_of(vnegq_f32(vmulq_f32(gate, rise))));
        vst1q_f32(out + i, vmulq_f32(vdivq_f32(gate, denominator), vld1q_f32(u + i)));
    }
    for (; i < n; i++)
        out[i] = bn_gelu(g[i]) * u[i];
}

/* ---- f16 ---- */

/* FCVTN keeps the payload of a NaN, so every NaN is first made the one that becomes 0x7e00. */
void bn_f16_from_f32__neon(const float *x, size_t n, uint16_t *h)
{
    uint32x4_t sign = vdupq_n_u32(0x80000000), quiet = vdupq_n_u32(0x7fc00000);
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        float32x4_t v = vld1q_f32(x + i);
        float32x4_t nan = vreinterpretq_f32_u32(vorrq_u32(vandq_u32(vreinterpretq_u32_f32(v), sign), quiet));
        v = vbslq_f32(vceqq_f32(v, v), v, nan);
        vst1_u16(h + i, vreinterpret_u16_f16(vcvt_f16_f32(v)));
    }
    for (; i < n; i++)
        h[i] = bn_f16_from_f32(x[i]);
}
