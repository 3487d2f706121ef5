/* exp_scalar.h: exp(x) in float, the same operations in the same order for every ISA, and what is made of it.
 *
 * x = n*ln2 + r, |r| <= ln2/2, with ln2 in two parts so that r is accurate; e^r by its Taylor polynomial of degree 7
 * in Horner form; 2^n in two factors so that results down to the subnormals come out. At most 1.25 ulp off in all. */
#ifndef BN_EXP_SCALAR_H
#define BN_EXP_SCALAR_H

#include "half_scalar.h"

static const float BN_EXP_MIN = -104.0f;            /* exp rounds to 0 below */
static const float BN_EXP_MAX = 89.0f;              /* exp overflows to infinity above */
static const float BN_EXP_LOG2E = 0x1.715476p+0f;
static const float BN_EXP_LN2_HI = 0x1.62e4p-1f;    /* 15 bits: n * hi is exact */
static const float BN_EXP_LN2_LO = 0x1.7f7d1cp-20f;
static const float BN_EXP_ROUND = 0x1.8p+23f;       /* adding and subtracting it rounds to an integer, half to even */

/* A NaN behaves as BN_EXP_MIN: the comparisons below are false for it. */
static inline float bn_exp(float x)
{
    x = x > BN_EXP_MIN ? x : BN_EXP_MIN;
    x = x < BN_EXP_MAX ? x : BN_EXP_MAX;
    float n = (x * BN_EXP_LOG2E + BN_EXP_ROUND) - BN_EXP_ROUND;
    float r = (x - n * BN_EXP_LN2_HI) - n * BN_EXP_LN2_LO;
    float p = 0x1.a01a02p-13f;      /* 1/5040 */
    p = p * r + 0x1.6c16c2p-10f;    /* 1/720 */
    p = p * r + 0x1.111112p-7f;     /* 1/120 */
    p = p * r + 0x1.555556p-5f;     /* 1/24 */
    p = p * r + 0x1.555556p-3f;     /* 1/6 */
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    int32_t whole = (int32_t)n, half = whole >> 1;
    float a = bn_float_from_bits((uint32_t)(half + 127) << 23);
    float b = bn_float_from_bits((uint32_t)(whole - half + 127) << 23);
    return (p * a) * b;
}

/* GELU by its tanh formula, as a sigmoid: x / (1 + exp(-x * (A + B * x^2))). */
static const float BN_GELU_A = 0x1.988454p+0f;      /* 2 * sqrt(2 / pi) */
static const float BN_GELU_B = 0x1.2444f2p-4f;      /* 0.044715 * that */

static inline float bn_gelu(float x)
{
    return x / (1.0f + bn_exp(-(x * (BN_GELU_A + BN_GELU_B * (x * x)))));
}

#endif
