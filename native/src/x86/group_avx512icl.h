/* group_avx512icl.h: 16 floats in one register: the lanes of lanes.h with AVX-512.
 *
 * group_avx2.h has the same functions for two registers; the bodies in *_x86.h are written once for both. A load of the
 * first n < 16 elements touches no others and pads with +0. */
#ifndef BN_GROUP_AVX512ICL_H
#define BN_GROUP_AVX512ICL_H

#include <immintrin.h>
#include <stddef.h>

#include "registers.h"

#define BN_FN(kernel) bn_##kernel##__avx512icl

typedef __m512 group;
typedef __m512i group_i32;

ALWAYS_INLINE group group_set1(float x)
{
    return _mm512_set1_ps(x);
}

ALWAYS_INLINE group group_load(const float *x)
{
    return _mm512_loadu_ps(x);
}

/* Bit i set if i < n. */
ALWAYS_INLINE __mmask16 group_mask(size_t n)
{
    return (__mmask16)((1u << n) - 1);
}

ALWAYS_INLINE group group_load_tail(const float *x, size_t n)
{
    return _mm512_maskz_loadu_ps(group_mask(n), x);
}

ALWAYS_INLINE void group_store(float *y, group g)
{
    _mm512_storeu_ps(y, g);
}

ALWAYS_INLINE void group_store_tail(float *y, size_t n, group g)
{
    _mm512_mask_storeu_ps(y, group_mask(n), g);
}

/* g with +0 in lanes n.. */
ALWAYS_INLINE group group_keep(group g, size_t n)
{
    return _mm512_maskz_mov_ps(group_mask(n), g);
}

ALWAYS_INLINE group group_add(group a, group b)
{
    return _mm512_add_ps(a, b);
}

ALWAYS_INLINE group group_sub(group a, group b)
{
    return _mm512_sub_ps(a, b);
}

ALWAYS_INLINE group group_mul(group a, group b)
{
    return _mm512_mul_ps(a, b);
}

ALWAYS_INLINE group group_div(group a, group b)
{
    return _mm512_div_ps(a, b);
}

/* a > b ? a : b, which is b if one of them is a NaN */
ALWAYS_INLINE group group_max(group a, group b)
{
    return _mm512_max_ps(a, b);
}

/* a < b ? a : b */
ALWAYS_INLINE group group_min(group a, group b)
{
    return _mm512_min_ps(a, b);
}

/* x where g > 0, else +0 */
ALWAYS_INLINE group group_if_positive(group g, group x)
{
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(g, _mm512_setzero_ps(), _CMP_GT_OQ), x);
}

ALWAYS_INLINE group group_abs(group a)
{
    return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), a);
}

ALWAYS_INLINE group group_neg(group a)
{
    return _mm512_xor_ps(_mm512_set1_ps(-0.0f), a);
}

/* Lanes l and l+8, then l and l+4: four are left. */
ALWAYS_INLINE __m128 group_fold_to_4(group g)
{
    __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(g), _mm512_extractf32x8_ps(g, 1));
    return _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
}

/* The largest lane; no lane may be a NaN unless all are. */
ALWAYS_INLINE float group_largest(group g)
{
    __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(g), _mm512_extractf32x8_ps(g, 1));
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

/* ---- Conversions ---- */

ALWAYS_INLINE group group_from_f16(const void *h)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256(h));
}

ALWAYS_INLINE group group_from_f16_tail(const void *h, size_t n)
{
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(group_mask(n), h));
}

/* The f16 at h in every lane. */
ALWAYS_INLINE group group_set1_f16(const void *h)
{
    int16_t half;
    memcpy(&half, h, sizeof half);
    return _mm512_cvtph_ps(_mm256_set1_epi16(half));
}

ALWAYS_INLINE group group_from_bf16(const void *b)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(b)), 16));
}

ALWAYS_INLINE group group_from_bf16_tail(const void *b, size_t n)
{
    __m256i values = _mm256_maskz_loadu_epi16(group_mask(n), b);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(values), 16));
}

ALWAYS_INLINE group group_from_i8(__m128i q)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(q));
}

/* VCVTPS2PH keeps the payload of a NaN, so every NaN is first made the one that becomes 0x7e00. */
ALWAYS_INLINE __m256i bn_half_of(group x)
{
    __m512 sign = _mm512_and_ps(x, _mm512_set1_ps(-0.0f)), quiet = _mm512_castsi512_ps(_mm512_set1_epi32(0x7fc00000));
    x = _mm512_mask_or_ps(x, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), sign, quiet);
    return _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

ALWAYS_INLINE void group_store_f16(uint16_t *h, group g)
{
    _mm256_storeu_si256((__m256i *)h, bn_half_of(g));
}

ALWAYS_INLINE void group_store_f16_tail(uint16_t *h, size_t n, group g)
{
    _mm256_mask_storeu_epi16(h, group_mask(n), bn_half_of(g));
}

/* ---- 32-bit integers ---- */

ALWAYS_INLINE group_i32 group_i32_set1(int32_t x)
{
    return _mm512_set1_epi32(x);
}

ALWAYS_INLINE group_i32 group_i32_load(const int32_t *x)
{
    return _mm512_loadu_si512(x);
}

ALWAYS_INLINE group_i32 group_i32_load_tail(const int32_t *x, size_t n)
{
    return _mm512_maskz_loadu_epi32(group_mask(n), x);
}

ALWAYS_INLINE group_i32 group_i32_add(group_i32 a, group_i32 b)
{
    return _mm512_add_epi32(a, b);
}

ALWAYS_INLINE group_i32 group_i32_sub(group_i32 a, group_i32 b)
{
    return _mm512_sub_epi32(a, b);
}

ALWAYS_INLINE group_i32 group_i32_half(group_i32 a)
{
    return _mm512_srai_epi32(a, 1);
}

/* 2^a for -126 <= a <= 127 */
ALWAYS_INLINE group group_power_of_2(group_i32 a)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(a, _mm512_set1_epi32(127)), 23));
}

ALWAYS_INLINE int32_t group_i32_sum(group_i32 g)
{
    return _mm512_reduce_add_epi32(g);
}

/* Half to even. */
ALWAYS_INLINE group_i32 group_round(group g)
{
    return _mm512_cvtps_epi32(g);
}

ALWAYS_INLINE group group_from_i32(group_i32 g)
{
    return _mm512_cvtepi32_ps(g);
}

/* The 16 values, which must fit int8. */
ALWAYS_INLINE __m128i group_i32_to_i8(group_i32 g)
{
    return _mm512_cvtepi32_epi8(g);
}

/* ---- Pairs (2i, 2i+1) ---- */

/* Lanes 2i and 2i+1 are x[i], i < n <= 8; those of i >= n are +0. */
ALWAYS_INLINE group group_load_twice(const float *x, size_t n)
{
    __m512 eight = _mm512_maskz_loadu_ps(group_mask(n), x);
    return _mm512_permutexvar_ps(_mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7), eight);
}

ALWAYS_INLINE group group_swap_pairs(group g)
{
    return _mm512_permute_ps(g, 0xb1);
}

/* a - b in even lanes, a + b in odd ones */
ALWAYS_INLINE group group_sub_add(group a, group b)
{
    return _mm512_mask_sub_ps(_mm512_add_ps(a, b), 0x5555, a, b);
}

#endif
