/* group_avx2.h: 16 floats in two registers, element i in lane i % 8 of half i / 8: the lanes of lanes.h with AVX2.
 *
 * group_avx512icl.h has the same functions for one register; the bodies in *_x86.h are written once for both. A load of
 * the first n < 16 elements touches no others and pads with +0. */
#ifndef BN_GROUP_AVX2_H
#define BN_GROUP_AVX2_H

#include <immintrin.h>
#include <stddef.h>

#include "registers.h"

#define BN_FN(kernel) bn_##kernel##__avx2

typedef struct {
    __m256 lo, hi;
} group;

typedef struct {
    __m256i lo, hi;
} group_i32;

ALWAYS_INLINE group group_set1(float x)
{
    return (group){_mm256_set1_ps(x), _mm256_set1_ps(x)};
}

ALWAYS_INLINE group group_load(const float *x)
{
    return (group){_mm256_loadu_ps(x), _mm256_loadu_ps(x + 8)};
}

/* All bits of lane i set if i < n. */
ALWAYS_INLINE group_i32 group_mask(size_t n)
{
    static const int32_t steps[32] = {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};
    const __m256i *mask = (const __m256i *)(steps + 16 - n);
    return (group_i32){_mm256_loadu_si256(mask), _mm256_loadu_si256(mask + 1)};
}

ALWAYS_INLINE group group_load_tail(const float *x, size_t n)
{
    group_i32 mask = group_mask(n);
    return (group){_mm256_maskload_ps(x, mask.lo), _mm256_maskload_ps(x + 8, mask.hi)};
}

ALWAYS_INLINE void group_store(float *y, group g)
{
    _mm256_storeu_ps(y, g.lo);
    _mm256_storeu_ps(y + 8, g.hi);
}

ALWAYS_INLINE void group_store_tail(float *y, size_t n, group g)
{
    group_i32 mask = group_mask(n);
    _mm256_maskstore_ps(y, mask.lo, g.lo);
    _mm256_maskstore_ps(y + 8, mask.hi, g.hi);
}

/* g with +0 in lanes n.. */
ALWAYS_INLINE group group_keep(group g, size_t n)
{
    group_i32 mask = group_mask(n);
    return (group){_mm256_and_ps(g.lo, _mm256_castsi256_ps(mask.lo)),
                   _mm256_and_ps(g.hi, _mm256_castsi256_ps(mask.hi))};
}

ALWAYS_INLINE group group_add(group a, group b)
{
    return (group){_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)};
}

ALWAYS_INLINE group group_sub(group a, group b)
{
    return (group){_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)};
}

ALWAYS_INLINE group group_mul(group a, group b)
{
    return (group){_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)};
}

ALWAYS_INLINE group group_div(group a, group b)
{
    return (group){_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)};
}

/* a > b ? a : b, which is b if one of them is a NaN */
ALWAYS_INLINE group group_max(group a, group b)
{
    return (group){_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)};
}

/* a < b ? a : b */
ALWAYS_INLINE group group_min(group a, group b)
{
    return (group){_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)};
}

/* x where g > 0, else +0 */
ALWAYS_INLINE group group_if_positive(group g, group x)
{
    __m256 zero = _mm256_setzero_ps();
    return (group){_mm256_and_ps(_mm256_cmp_ps(g.lo, zero, _CMP_GT_OQ), x.lo),
                   _mm256_and_ps(_mm256_cmp_ps(g.hi, zero, _CMP_GT_OQ), x.hi)};
}

ALWAYS_INLINE group group_abs(group a)
{
    __m256 sign = _mm256_set1_ps(-0.0f);
    return (group){_mm256_andnot_ps(sign, a.lo), _mm256_andnot_ps(sign, a.hi)};
}

ALWAYS_INLINE group group_neg(group a)
{
    __m256 sign = _mm256_set1_ps(-0.0f);
    return (group){_mm256_xor_ps(sign, a.lo), _mm256_xor_ps(sign, a.hi)};
}

/* Lanes l and l+8, then l and l+4: four are left. */
ALWAYS_INLINE __m128 group_fold_to_4(group g)
{
    __m256 eight = _mm256_add_ps(g.lo, g.hi);
    return _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
}

/* The largest lane; no lane may be a NaN unless all are. */
ALWAYS_INLINE float group_largest(group g)
{
    __m256 eight = _mm256_max_ps(g.lo, g.hi);
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

/* ---- Conversions ---- */

ALWAYS_INLINE group group_from_f16(const void *h)
{
    const __m128i *p = h;
    return (group){_mm256_cvtph_ps(_mm_loadu_si128(p)), _mm256_cvtph_ps(_mm_loadu_si128(p + 1))};
}

ALWAYS_INLINE group group_from_f16_tail(const void *h, size_t n)
{
    uint16_t padded[16] = {0};
    memcpy(padded, h, n * sizeof *padded);
    return group_from_f16(padded);
}

/* The f16 at h in every lane. */
ALWAYS_INLINE group group_set1_f16(const void *h)
{
    int16_t half;
    memcpy(&half, h, sizeof half);
    __m256 eight = _mm256_cvtph_ps(_mm_set1_epi16(half));
    return (group){eight, eight};
}

ALWAYS_INLINE group group_from_bf16(const void *b)
{
    const __m128i *p = b;
    __m256i lo = _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(p)), 16);
    __m256i hi = _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(p + 1)), 16);
    return (group){_mm256_castsi256_ps(lo), _mm256_castsi256_ps(hi)};
}

ALWAYS_INLINE group group_from_bf16_tail(const void *b, size_t n)
{
    uint16_t padded[16] = {0};
    memcpy(padded, b, n * sizeof *padded);
    return group_from_bf16(padded);
}

ALWAYS_INLINE group group_from_i8(__m128i q)
{
    return (group){_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(q)),
                   _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_unpackhi_epi64(q, q)))};
}

/* VCVTPS2PH keeps the payload of a NaN, so every NaN is first made the one that becomes 0x7e00. */
ALWAYS_INLINE __m128i bn_half_of(__m256 x)
{
    __m256 sign = _mm256_and_ps(x, _mm256_set1_ps(-0.0f)), quiet = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fc00000));
    x = _mm256_blendv_ps(x, _mm256_or_ps(sign, quiet), _mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    return _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

ALWAYS_INLINE void group_store_f16(uint16_t *h, group g)
{
    _mm_storeu_si128((__m128i *)h, bn_half_of(g.lo));
    _mm_storeu_si128((__m128i *)(h + 8), bn_half_of(g.hi));
}

ALWAYS_INLINE void group_store_f16_tail(uint16_t *h, size_t n, group g)
{
    uint16_t all[16];
    group_store_f16(all, g);
    memcpy(h, all, n * sizeof *h);
}

/* ---- 32-bit integers ---- */

ALWAYS_INLINE group_i32 group_i32_set1(int32_t x)
{
    return (group_i32){_mm256_set1_epi32(x), _mm256_set1_epi32(x)};
}

ALWAYS_INLINE group_i32 group_i32_load(const int32_t *x)
{
    return (group_i32){_mm256_loadu_si256((const __m256i *)x), _mm256_loadu_si256((const __m256i *)(x + 8))};
}

ALWAYS_INLINE group_i32 group_i32_load_tail(const int32_t *x, size_t n)
{
    group_i32 mask = group_mask(n);
    return (group_i32){_mm256_maskload_epi32(x, mask.lo), _mm256_maskload_epi32(x + 8, mask.hi)};
}

ALWAYS_INLINE group_i32 group_i32_add(group_i32 a, group_i32 b)
{
    return (group_i32){_mm256_add_epi32(a.lo, b.lo), _mm256_add_epi32(a.hi, b.hi)};
}

ALWAYS_INLINE group_i32 group_i32_sub(group_i32 a, group_i32 b)
{
    return (group_i32){_mm256_sub_epi32(a.lo, b.lo), _mm256_sub_epi32(a.hi, b.hi)};
}

ALWAYS_INLINE group_i32 group_i32_half(group_i32 a)
{
    return (group_i32){_mm256_srai_epi32(a.lo, 1), _mm256_srai_epi32(a.hi, 1)};
}

/* 2^a for -126 <= a <= 127 */
ALWAYS_INLINE group group_power_of_2(group_i32 a)
{
    group_i32 biased = group_i32_add(a, group_i32_set1(127));
    return (group){_mm256_castsi256_ps(_mm256_slli_epi32(biased.lo, 23)),
                   _mm256_castsi256_ps(_mm256_slli_epi32(biased.hi, 23))};
}

ALWAYS_INLINE int32_t group_i32_sum(group_i32 g)
{
    __m256i eight = _mm256_add_epi32(g.lo, g.hi);
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
    __m128i two = _mm_add_epi32(four, _mm_unpackhi_epi64(four, four));
    return _mm_cvtsi128_si32(two) + _mm_extract_epi32(two, 1);
}

/* Half to even. */
ALWAYS_INLINE group_i32 group_round(group g)
{
    return (group_i32){_mm256_cvtps_epi32(g.lo), _mm256_cvtps_epi32(g.hi)};
}

ALWAYS_INLINE group group_from_i32(group_i32 g)
{
    return (group){_mm256_cvtepi32_ps(g.lo), _mm256_cvtepi32_ps(g.hi)};
}

/* The 16 values, which must fit int8. */
ALWAYS_INLINE __m128i group_i32_to_i8(group_i32 g)
{
    __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(g.lo, g.hi), 0xd8);
    return _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
}

/* ---- Pairs (2i, 2i+1) ---- */

/* Lanes 2i and 2i+1 are x[i], i < n <= 8; those of i >= n are +0. */
ALWAYS_INLINE group group_load_twice(const float *x, size_t n)
{
    __m256 eight = _mm256_maskload_ps(x, group_mask(n).lo);
    return (group){_mm256_permutevar8x32_ps(eight, _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3)),
                   _mm256_permutevar8x32_ps(eight, _mm256_setr_epi32(4, 4, 5, 5, 6, 6, 7, 7))};
}

ALWAYS_INLINE group group_swap_pairs(group g)
{
    return (group){_mm256_permute_ps(g.lo, 0xb1), _mm256_permute_ps(g.hi, 0xb1)};
}

/* a - b in even lanes, a + b in odd ones */
ALWAYS_INLINE group group_sub_add(group a, group b)
{
    return (group){_mm256_addsub_ps(a.lo, b.lo), _mm256_addsub_ps(a.hi, b.hi)};
}

#endif
