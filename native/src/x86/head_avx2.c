/* head_avx2.c: quantised heads with AVX2.
 *
 * Leans on VPMADDUBSW (32 products uint8 x int8, added in pairs to int16) for codes of 2, 4 and 6 bits, whose sums fit,
 * once for the high and once for the low digits of the activations; on VPMADDWD by 256 and by 1, which joins the digits
 * on the way to int32; and for codes of 8 bits on VPSHUFB and VPMADDWD with the activations whole. The body is in
 * head_x86.h.
 *
 * BOUND: a lane of VPMADDUBSW is two products of a code and a digit of -128..127. Codes up to 15 over 8 fields:
 * 16 * 15 * 128 = 30720; codes up to 63 over 2 fields: 4 * 63 * 128 = 32256; codes up to 3 over 16 fields:
 * 32 * 3 * 128 = 12288. A lane of VPMADDWD is two products of a code and x: 8 fields of codes up to 255 are bounded in
 * scalar/head_scalar.c. */
#include "group_avx2.h"

enum { TOKENS = 4, HALVES = 2, HALF_BYTES = 32 };

#define TOKEN_COUNTS(CASE, name) CASE(name, 1) CASE(name, 2) CASE(name, 3) CASE(name, 4)

_Static_assert(16 * 15 * 128 <= INT16_MAX, "sums of q4_0 fit int16");
_Static_assert(32 * 3 * 128 <= INT16_MAX, "sums of q2_0 fit int16");
_Static_assert(4 * 63 * 128 <= INT16_MAX, "sums of two fields of q6_k fit int16");

#define LOAD(p) _mm256_load_si256((const __m256i *)(p))
#define FOUR(q) _mm256_set1_epi32(bn_four(q))

/* Half h of a group's int32 lanes. */
#define HALF(g, h) (*((h) ? &(g)->hi : &(g)->lo))

/* 256 * high + low, pairs added */
ALWAYS_INLINE __m256i join_digits(__m256i high, __m256i low)
{
    return _mm256_add_epi32(_mm256_madd_epi16(high, _mm256_set1_epi16(256)),
                            _mm256_madd_epi16(low, _mm256_set1_epi16(1)));
}

/* ---- q8_0: codes are taken from memory where they are used ---- */

typedef struct {
    const uint8_t *lines;
} q8_0_codes;

ALWAYS_INLINE q8_0_codes q8_0_load(const uint8_t *group)
{
    return (q8_0_codes){group};
}

/* Two of each four cols meet two activations in every row: cols 0 and 1, then 2 and 3. */
ALWAYS_INLINE group_i32 q8_0_dot(const q8_0_codes *c, const int16_t *x, const int8_t *digits, int32_t offset)
{
    (void)digits;
    __m256i first = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, -1, 1, -1, 4, -1, 5, -1, 8, -1, 9, -1, 12, -1, 13, -1));
    __m256i second = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(2, -1, 3, -1, 6, -1, 7, -1, 10, -1, 11, -1, 14, -1, 15, -1));
    group_i32 sum = group_i32_set1(offset);
    UNROLL
    for (size_t f = 0; f < 8; f++) {
        __m256i x01 = FOUR((const int8_t *)(x + 4 * f)), x23 = FOUR((const int8_t *)(x + 4 * f + 2));
        UNROLL
        for (size_t h = 0; h < HALVES; h++) {
            __m256i codes = LOAD(c->lines + 64 * f + HALF_BYTES * h);
            __m256i a = _mm256_madd_epi16(_mm256_shuffle_epi8(codes, first), x01);
            __m256i b = _mm256_madd_epi16(_mm256_shuffle_epi8(codes, second), x23);
            HALF(&sum, h) = _mm256_add_epi32(_mm256_add_epi32(HALF(&sum, h), a), b);
        }
    }
    return sum;
}

/* acc + codes * q in 16 lanes of 16 bits. The sum is an asm line because gcc 12 regroups sums of several products, and
 * spills what it then cannot hold. */
ALWAYS_INLINE __m256i add_products(__m256i acc, __m256i codes, __m256i q)
{
    __m256i products = _mm256_maddubs_epi16(codes, q);
    __asm__("vpaddw %1, %0, %0" : "+x"(acc) : "x"(products));
    return acc;
}

/* 16-bit sums of both halves, for both digits. */
typedef struct {
    __m256i high[HALVES], low[HALVES];
} digit_sums;

/* sums (+)= the codes of one field * its digits */
ALWAYS_INLINE void add_field(digit_sums *sums, int first, const __m256i codes[HALVES], const int8_t *digits)
{
    __m256i high = FOUR(digits), low = FOUR(digits + 4);
    UNROLL
    for (size_t h = 0; h < HALVES; h++) {
        sums->high[h] = first ? _mm256_maddubs_epi16(codes[h], high) : add_products(sums->high[h], codes[h], high);
        sums->low[h] = first ? _mm256_maddubs_epi16(codes[h], low) : add_products(sums->low[h], codes[h], low);
    }
}

ALWAYS_INLINE void add_joined(group_i32 *sum, const digit_sums *sums)
{
    UNROLL
    for (size_t h = 0; h < HALVES; h++)
        HALF(sum, h) = _mm256_add_epi32(HALF(sum, h), join_digits(sums->high[h], sums->low[h]));
}

/* ---- q4_0: as q8_0, 16 registers are too few to keep codes ---- */

typedef q8_0_codes q4_0_codes;

ALWAYS_INLINE q4_0_codes q4_0_load(const uint8_t *group)
{
    return (q4_0_codes){group};
}

ALWAYS_INLINE group_i32 q4_0_dot(const q4_0_codes *c, const int16_t *x, const int8_t *digits, int32_t offset)
{
    (void)x;
    __m256i mask = _mm256_set1_epi8(15);
    group_i32 sum = group_i32_set1(offset);
    digit_sums sums;
    UNROLL
    for (size_t i = 0; i < 4; i++) {
        __m256i lines[HALVES] = {LOAD(c->lines + 64 * i), LOAD(c->lines + 64 * i + HALF_BYTES)};
        __m256i even[HALVES] = {_mm256_and_si256(lines[0], mask), _mm256_and_si256(lines[1], mask)};
        __m256i odd[HALVES] = {_mm256_and_si256(_mm256_srli_epi16(lines[0], 4), mask),
                               _mm256_and_si256(_mm256_srli_epi16(lines[1], 4), mask)};
        add_field(&sums, i == 0, even, digits + 16 * i);
        add_field(&sums, 0, odd, digits + 16 * i + 8);
    }
    add_joined(&sum, &sums);
    return sum;
}

/* ---- q2_0 ---- */

typedef q8_0_codes q2_0_codes;

ALWAYS_INLINE q2_0_codes q2_0_load(const uint8_t *group)
{
    return (q2_0_codes){group};
}

ALWAYS_INLINE group_i32 q2_0_dot(const q2_0_codes *c, const int16_t *x, const int8_t *digits, int32_t offset)
{
    (void)x;
    __m256i mask = _mm256_set1_epi8(3);
    group_i32 sum = group_i32_set1(offset);
    digit_sums sums;
    UNROLL
    for (size_t i = 0; i < 4; i++) {
        __m256i lines[HALVES] = {LOAD(c->lines + 64 * i), LOAD(c->lines + 64 * i + HALF_BYTES)};
        UNROLL
        for (size_t k = 0; k < 4; k++) {
            __m256i field[HALVES] = {_mm256_and_si256(_mm256_srli_epi16(lines[0], (int)(2 * k)), mask),
                                     _mm256_and_si256(_mm256_srli_epi16(lines[1], (int)(2 * k)), mask)};
            add_field(&sums, i == 0 && k == 0, field, digits + 32 * i + 8 * k);
        }
    }
    add_joined(&sum, &sums);
    return sum;
}

/* ---- q6_k ---- */

typedef struct {
    __m256i fields[4][HALVES];
} q6_k_codes;

ALWAYS_INLINE q6_k_codes q6_k_load(const uint8_t *group)
{
    q6_k_codes out;
    __m256i six = _mm256_set1_epi8(0x3f);
    UNROLL
    for (size_t h = 0; h < HALVES; h++) {
        const uint8_t *line = group + HALF_BYTES * h;
        __m256i a = LOAD(line), b = LOAD(line + 64), c = LOAD(line + 128);
        out.fields[0][h] = _mm256_and_si256(a, six);
        out.fields[1][h] = _mm256_and_si256(b, six);
        out.fields[2][h] = _mm256_and_si256(c, six);
        a = _mm256_and_si256(_mm256_srli_epi16(a, 6), _mm256_set1_epi8(0x03));
        b = _mm256_and_si256(_mm256_srli_epi16(b, 4), _mm256_set1_epi8(0x0c));
        c = _mm256_and_si256(_mm256_srli_epi16(c, 2), _mm256_set1_epi8(0x30));
        out.fields[3][h] = _mm256_or_si256(_mm256_or_si256(a, b), c);
    }
    return out;
}

ALWAYS_INLINE group_i32 q6_k_dot(const q6_k_codes *c, const int16_t *x, const int8_t *digits, int32_t offset)
{
    (void)x;
    group_i32 sum = group_i32_set1(offset);
    UNROLL
    for (size_t f = 0; f < 4; f += 2) {
        digit_sums sums;
        add_field(&sums, 1, c->fields[f], digits + 8 * f);
        add_field(&sums, 0, c->fields[f + 1], digits + 8 * f + 8);
        add_joined(&sum, &sums);
    }
    return sum;
}

#include "head_x86.h"
