/* quant_x86.h: RMSNorm, int8 quantisation and descaling over groups of 16; included once by each quant_<isa>.c. */
#ifndef BN_QUANT_X86_H
#define BN_QUANT_X86_H

#include <math.h>

#include "../kernels.h"
#include "lanes_x86.h"

void BN_FN(rmsnorm_f32)(const float *x, const float *w, size_t n, float eps, float *y)
{
    size_t whole = n / BN_LANES * BN_LANES, rest = n - whole;
    group lanes = group_set1(0.0f), tail = group_load_tail(x + whole, rest);
    for (size_t i = 0; i < whole; i += BN_LANES) {
        group g = group_load(x + i);
        lanes = group_add_product(lanes, g, g);
    }
    lanes = group_add_product(lanes, tail, tail);
    group r = group_set1(1.0f / sqrtf(group_sum(lanes) / (float)n + eps));
    for (size_t i = 0; i < whole; i += BN_LANES)
        group_store(y + i, group_mul(group_load(w + i), group_mul(group_load(x + i), r)));
    group_store_tail(y + whole, rest, group_mul(group_load_tail(w + whole, rest), group_mul(tail, r)));
}

/* max(absmax(x), least). No lane ever holds a NaN, so their order does not matter. */
ALWAYS_INLINE float absmax(const float *x, size_t n, float least)
{
    group max = group_set1(least), second = max;
    size_t i = 0;
    for (; i + 2 * BN_LANES <= n; i += 2 * BN_LANES) {
        max = group_max(group_abs(group_load(x + i)), max);
        second = group_max(group_abs(group_load(x + i + BN_LANES)), second);
    }
    if (i + BN_LANES <= n) {
        max = group_max(group_abs(group_load(x + i)), max);
        i += BN_LANES;
    }
    max = group_max(group_abs(group_load_tail(x + i, n - i)), max);
    return group_largest(group_max(second, max));
}

/* round(clamp(x * scale)); a NaN fails the first comparison and becomes -128. */
ALWAYS_INLINE group_i32 quantise(group x, group scale)
{
    group v = group_max(group_mul(x, scale), group_set1(-128.0f));
    return group_round(group_min(v, group_set1(127.0f)));
}

void BN_FN(quant_i8)(const float *x, size_t n, int8_t *q, float *s, int32_t *sum)
{
    float amax = absmax(x, n, 1e-5f);
    group scale = group_set1(127.0f / amax);
    group_i32 total = group_i32_set1(0);
    size_t i = 0;
    for (; i + BN_LANES <= n; i += BN_LANES) {
        group_i32 rounded = quantise(group_load(x + i), scale);
        _mm_storeu_si128((__m128i *)(q + i), group_i32_to_i8(rounded));
        total = group_i32_add(total, rounded);
    }
    if (i < n) {
        /* The padding is +0, and the scale is finite: it quantises to 0 and adds nothing. */
        group_i32 rounded = quantise(group_load_tail(x + i, n - i), scale);
        int8_t tail[BN_LANES];
        _mm_storeu_si128((__m128i *)tail, group_i32_to_i8(rounded));
        memcpy(q + i, tail, n - i);
        total = group_i32_add(total, rounded);
    }
    *s = 127.0f / amax;
    *sum = group_i32_sum(total);
}

ALWAYS_INLINE group descaled(group_i32 sums, group_i32 q_sum, group s, group scale)
{
    return group_mul(group_div(group_from_i32(group_i32_sub(sums, q_sum)), s), scale);
}

void BN_FN(descale_f32)(const int32_t *sums, size_t n, int32_t q_sum, float s, float scale, int add, float *y)
{
    size_t whole = n / BN_LANES * BN_LANES, rest = n - whole;
    group_i32 all_q_sum = group_i32_set1(q_sum);
    group all_s = group_set1(s), all_scale = group_set1(scale);
    for (size_t i = 0; i < whole; i += BN_LANES) {
        group v = descaled(group_i32_load(sums + i), all_q_sum, all_s, all_scale);
        group_store(y + i, add ? group_add(group_load(y + i), v) : v);
    }
    if (rest > 0) {
        group v = descaled(group_i32_load_tail(sums + whole, rest), all_q_sum, all_s, all_scale);
        group_store_tail(y + whole, rest, add ? group_add(group_load_tail(y + whole, rest), v) : v);
    }
}

void BN_FN(descale_rows_f32)(const int32_t *sums, size_t n, int32_t q_sum, float s, const float *scales, int add,
                             float *y)
{
    size_t whole = n / BN_LANES * BN_LANES, rest = n - whole;
    group_i32 all_q_sum = group_i32_set1(q_sum);
    group all_s = group_set1(s);
    for (size_t i = 0; i < whole; i += BN_LANES) {
        group v = descaled(group_i32_load(sums + i), all_q_sum, all_s, group_load(scales + i));
        group_store(y + i, add ? group_add(group_load(y + i), v) : v);
    }
    if (rest > 0) {
        group_i32 tail = group_i32_load_tail(sums + whole, rest);
        group v = descaled(tail, all_q_sum, all_s, group_load_tail(scales + whole, rest));
        group_store_tail(y + whole, rest, add ? group_add(group_load_tail(y + whole, rest), v) : v);
    }
}

void BN_FN(add_scaled_f32)(const int32_t *sums, size_t n, size_t n_tokens, const int32_t *q_sums, size_t q_stride,
                           const float *scales, float *acc)
{
    for (size_t t = 0; t < n_tokens; t++, sums += n, acc += n) {
        group_i32 q_sum = group_i32_set1(q_sums[t * q_stride]);
        for (size_t i = 0; i < n; i += BN_LANES) {
            group v = group_from_i32(group_i32_sub(group_i32_load(sums + i), q_sum));
            group_store(acc + i, group_add_product(group_load(acc + i), v, group_load(scales + i)));
        }
    }
}

#endif
