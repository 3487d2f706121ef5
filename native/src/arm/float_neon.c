/* float_neon.c: RoPE, attention, gated activations and the conversion to f16 on AArch64.
 *
 * Leans on FMUL, FADD, FSUB, FDIV, FCVTL (f16 to f32, exact) and FCVTN (f32 to f16, half to even), FCMGT + BSL for
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

/* ---- Attention ---- */

enum { POSITIONS = 4 };     /* positions that share one load of the query */

/* k[n], n < 16, padded with +0. */
ALWAYS_INLINE bn_group f16_tail(const uint16_t *k, size_t n)
{
    uint16_t padded[BN_LANES] = {0};
    memcpy(padded, k, n * sizeof *k);
    return bn_group_from_f16(padded);
}

/* The last two steps of four lane sums at once: lanes l and l+2, then l and l+1. */
ALWAYS_INLINE float32x4_t sum_of_each(float32x4_t a, float32x4_t b, float32x4_t c, float32x4_t d)
{
    float32x4_t ab = vaddq_f32(vcombine_f32(vget_low_f32(a), vget_low_f32(b)),
                               vcombine_f32(vget_high_f32(a), vget_high_f32(b)));
    float32x4_t cd = vaddq_f32(vcombine_f32(vget_low_f32(c), vget_low_f32(d)),
                               vcombine_f32(vget_high_f32(c), vget_high_f32(d)));
    return vpaddq_f32(ab, cd);
}

/* scores[4] = (q . key[p]) * scale */
ALWAYS_INLINE float32x4_t scores_of_4(const float *q, const uint16_t *const key[POSITIONS], size_t head_dim,
                                      float scale)
{
    size_t whole = head_dim / BN_LANES * BN_LANES, rest = head_dim - whole;
    bn_group lanes[POSITIONS];
    UNROLL
    for (size_t p = 0; p < POSITIONS; p++)
        lanes[p] = bn_group_zero();
    for (size_t i = 0; i < whole; i += BN_LANES) {
        bn_group query = bn_group_load(q + i);
        UNROLL
        for (size_t p = 0; p < POSITIONS; p++)
            lanes[p] = bn_group_add_product(lanes[p], query, bn_group_from_f16(key[p] + i));
    }
    if (rest > 0) {
        bn_group query = bn_group_load_tail(q + whole, rest);
        UNROLL
        for (size_t p = 0; p < POSITIONS; p++)
            lanes[p] = bn_group_add_product(lanes[p], query, f16_tail(key[p] + whole, rest));
    }
    float32x4_t sums = sum_of_each(bn_group_fold_to_4(lanes[0]), bn_group_fold_to_4(lanes[1]),
                                   bn_group_fold_to_4(lanes[2]), bn_group_fold_to_4(lanes[3]));
    return vmulq_n_f32(sums, scale);
}

void bn_attn_qk_f16__neon(const float *q, const uint16_t *k, size_t n_pos, size_t head_dim, float scale, float *scores)
{
    for (size_t pos = 0; pos < n_pos; pos += POSITIONS) {
        size_t n = n_pos - pos < POSITIONS ? n_pos - pos : POSITIONS;
        const uint16_t *key[POSITIONS];
        UNROLL
        for (size_t p = 0; p < POSITIONS; p++)      /* the last position stands in for those that are missing */
            key[p] = k + (pos + (p < n ? p : n - 1)) * head_dim;
        float32x4_t four = scores_of_4(q, key, head_dim, scale);
        if (n == POSITIONS) {
            vst1q_f32(scores + pos, four);
        } else {
            float all[POSITIONS];
            vst1q_f32(all, four);
            memcpy(scores + pos, all, n * sizeof *scores);
        }
    }
}

/* out[64] = sum over pos of p[pos] * v[pos][64] */
static void weigh_64(const float *p, const uint16_t *v, size_t n_pos, size_t head_dim, float *out)
{
    bn_group sum[4];
    UNROLL
    for (size_t g = 0; g < 4; g++)
        sum[g] = bn_group_zero();
    for (size_t pos = 0; pos < n_pos; pos++, v += head_dim) {
        float32x4_t weight = vdupq_n_f32(p[pos]);
        bn_group weights = {{weight, weight, weight, weight}};
        UNROLL
        for (size_t g = 0; g < 4; g++)
            sum[g] = bn_group_add_product(sum[g], weights, bn_group_from_f16(v + BN_LANES * g));
    }
    UNROLL
    for (size_t g = 0; g < 4; g++)
        bn_group_store(out + BN_LANES * g, sum[g]);
}

/* out[4] = sum over pos of p[pos] * v[pos][4] */
static void weigh_4(const float *p, const uint16_t *v, size_t n_pos, size_t head_dim, float *out)
{
    float32x4_t sum = vdupq_n_f32(0.0f);
    for (size_t pos = 0; pos < n_pos; pos++, v += head_dim) {
        float32x4_t value = vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(v)));
        sum = vaddq_f32(sum, vmulq_n_f32(value, p[pos]));
    }
    vst1q_f32(out, sum);
}

void bn_attn_pv_f16__neon(const float *p, const uint16_t *v, size_t n_pos, size_t head_dim, float *out)
{
    size_t d = 0;
    for (; d + 64 <= head_dim; d += 64)
        weigh_64(p, v + d, n_pos, head_dim, out + d);
    for (; d + 4 <= head_dim; d += 4)
        weigh_4(p, v + d, n_pos, head_dim, out + d);
    for (; d < head_dim; d++) {
        float sum = 0.0f;
        for (size_t pos = 0; pos < n_pos; pos++)
            sum += p[pos] * bn_f32_from_f16(v[pos * head_dim + d]);
        out[d] = sum;
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

void bn_softmax_f32__neon(float *x, size_t n)
{
    size_t whole = n / BN_LANES * BN_LANES, rest = n - whole;
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
    float sum = bn_group_sum(lanes);
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        vst1q_f32(x + i, vdivq_f32(vld1q_f32(x + i), vdupq_n_f32(sum)));
    for (; i < n; i++)
        x[i] = x[i] / sum;
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
