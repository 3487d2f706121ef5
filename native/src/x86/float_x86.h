/* float_x86.h: RoPE, softmax, gated activations and f16 over groups of 16; included once by each float_<isa>.c. */
#ifndef BN_FLOAT_X86_H
#define BN_FLOAT_X86_H

#include "../kernels.h"
#include "../scalar/exp_scalar.h"
#include "lanes_x86.h"

/* ---- RoPE ---- */

/* n <= 16 pairs (a[i], b[i]) */
ALWAYS_INLINE void turn_halves(float *a, float *b, size_t n, const float *cos, const float *sin)
{
    group a0 = group_load_up_to(a, n), b0 = group_load_up_to(b, n);
    group c = group_load_up_to(cos, n), s = group_load_up_to(sin, n);
    group_store_up_to(a, n, group_sub(group_mul(a0, c), group_mul(b0, s)));
    group_store_up_to(b, n, group_add(group_mul(a0, s), group_mul(b0, c)));
}

/* n <= 8 pairs (x[2i], x[2i + 1]) */
ALWAYS_INLINE void turn_neighbours(float *x, size_t n, const float *cos, const float *sin)
{
    group both = group_load_up_to(x, 2 * n), c = group_load_twice(cos, n), s = group_load_twice(sin, n);
    group_store_up_to(x, 2 * n, group_sub_add(group_mul(both, c), group_mul(group_swap_pairs(both), s)));
}

void BN_FN(rope_f32)(float *x, size_t n_heads, size_t head_dim, size_t n_rot, int neox, const float *cos,
                     const float *sin)
{
    size_t pairs = n_rot / 2, step = neox ? BN_LANES : BN_LANES / 2;
    for (size_t h = 0; h < n_heads; h++, x += head_dim)
        for (size_t i = 0; i < pairs; i += step) {
            size_t n = pairs - i < step ? pairs - i : step;
            if (neox)
                turn_halves(x + i, x + pairs + i, n, cos + i, sin + i);
            else
                turn_neighbours(x + 2 * i, n, cos + i, sin + i);
        }
}

/* ---- exp, softmax, gated activations ---- */

/* p * r + c */
ALWAYS_INLINE group horner(group p, group r, float c)
{
    return group_add(group_mul(p, r), group_set1(c));
}

/* bn_exp, operation for operation. */
ALWAYS_INLINE group exp_of(group x)
{
    group round = group_set1(BN_EXP_ROUND);
    x = group_min(group_max(x, group_set1(BN_EXP_MIN)), group_set1(BN_EXP_MAX));
    group n = group_sub(group_add(group_mul(x, group_set1(BN_EXP_LOG2E)), round), round);
    group r = group_sub(x, group_mul(n, group_set1(BN_EXP_LN2_HI)));
    r = group_sub(r, group_mul(n, group_set1(BN_EXP_LN2_LO)));
    group p = group_set1(0x1.a01a02p-13f);
    p = horner(p, r, 0x1.6c16c2p-10f);
    p = horner(p, r, 0x1.111112p-7f);
    p = horner(p, r, 0x1.555556p-5f);
    p = horner(p, r, 0x1.555556p-3f);
    p = horner(p, r, 0.5f);
    p = horner(p, r, 1.0f);
    p = horner(p, r, 1.0f);
    group_i32 whole = group_round(n), half = group_i32_half(whole);
    return group_mul(group_mul(p, group_power_of_2(half)), group_power_of_2(group_i32_sub(whole, half)));
}

/* Every lane starts from x[0]: if that is a NaN it stays, as in the scalar file, and any other NaN is passed over. A
 * zero may come out with the other sign, which exp(x - max) does not show. */
ALWAYS_INLINE float max_of(const float *x, size_t n)
{
    group max = group_set1(x[0]);
    size_t i = 0;
    for (; i + BN_LANES <= n; i += BN_LANES)
        max = group_max(group_load(x + i), max);
    float result = group_largest(max);
    for (; i < n; i++)
        result = x[i] > result ? x[i] : result;
    return result;
}

/* 16 scores, or n < 16 padded with +0: sums times the scales. */
ALWAYS_INLINE group scores_of(const float *x, size_t n, float scale, const float *k_scale)
{
    group sums = group_load_up_to(x, n);
    if (k_scale)
        sums = group_mul(sums, group_load_up_to(k_scale, n));
    return group_mul(sums, group_set1(scale));
}

/* Stores the weights of 16 values, or of n < 16, for their scores in x, and returns the exps, +0 from n on. */
ALWAYS_INLINE group weights_of(float *x, size_t n, group max, const float *v_scale)
{
    group e = exp_of(group_sub(group_load_up_to(x, n), max));
    if (n < BN_LANES)
        e = group_keep(e, n);
    group_store_up_to(x, n, v_scale ? group_mul(e, group_load_up_to(v_scale, n)) : e);
    return e;
}

float BN_FN(softmax_f32)(float *x, size_t n, float scale, const float *k_scale, const float *v_scale)
{
    size_t whole = n / BN_LANES * BN_LANES, rest = n - whole;
    for (size_t i = 0; i < whole; i += BN_LANES)
        group_store(x + i, scores_of(x + i, BN_LANES, scale, k_scale ? k_scale + i : NULL));
    if (rest > 0)
        group_store_tail(x + whole, rest, scores_of(x + whole, rest, scale, k_scale ? k_scale + whole : NULL));
    group max = group_set1(max_of(x, n)), lanes = group_set1(0.0f);
    for (size_t i = 0; i < whole; i += BN_LANES)
        lanes = group_add(lanes, weights_of(x + i, BN_LANES, max, v_scale ? v_scale + i : NULL));
    if (rest > 0)
        lanes = group_add(lanes, weights_of(x + whole, rest, max, v_scale ? v_scale + whole : NULL));
    return group_sum(lanes);
}

ALWAYS_INLINE group relu2_of(group g, group u)
{
    return group_if_positive(g, group_mul(group_mul(g, g), u));
}

ALWAYS_INLINE group silu_of(group g, group u)
{
    return group_mul(group_div(g, group_add(group_set1(1.0f), exp_of(group_neg(g)))), u);
}

/* bn_gelu, operation for operation. */
ALWAYS_INLINE group gelu_of(group g, group u)
{
    group rise = group_add(group_set1(BN_GELU_A), group_mul(group_set1(BN_GELU_B), group_mul(g, g)));
    group denominator = group_add(group_set1(1.0f), exp_of(group_neg(group_mul(g, rise))));
    return group_mul(group_div(g, denominator), u);
}

#define BN_GLU(act)                                                                                                    \
    void BN_FN(glu_##act##_f32)(const float *g, const float *u, size_t n, float *out)                                  \
    {                                                                                                                  \
        size_t i = 0;                                                                                                  \
        for (; i + BN_LANES <= n; i += BN_LANES)                                                                       \
            group_store(out + i, act##_of(group_load(g + i), group_load(u + i)));                                      \
        if (i < n)                                                                                                     \
            group_store_tail(out + i, n - i, act##_of(group_load_tail(g + i, n - i), group_load_tail(u + i, n - i)));  \
    }

BN_GLU(relu2)
BN_GLU(silu)
BN_GLU(gelu)

/* ---- f16 ---- */

void BN_FN(f16_from_f32)(const float *x, size_t n, uint16_t *h)
{
    size_t i = 0;
    for (; i + BN_LANES <= n; i += BN_LANES)
        group_store_f16(h + i, group_load(x + i));
    if (i < n)
        group_store_f16_tail(h + i, n - i, group_load_tail(x + i, n - i));
}

#endif
