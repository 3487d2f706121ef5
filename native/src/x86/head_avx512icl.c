/* head_avx512icl.c: quantised heads with AVX-512 VNNI.
 *
 * Leans on VPDPBUSD zmm with four digits of activations broadcast from memory (64 products uint8 x int8, four of them
 * added to each int32 lane; latency 4, one a cycle on Zen 4), once for the high and once for the low digits, and on
 * VPTERNLOGD to put codes of 6 bits together. The body is in head_x86.h. */
#include "group_avx512icl.h"

enum { TOKENS = 8 };
#define TOKEN_COUNTS(CASE, name) \
    CASE(name, 1) CASE(name, 2) CASE(name, 3) CASE(name, 4) \
    CASE(name, 5) CASE(name, 6) CASE(name, 7) CASE(name, 8)

/* acc += codes . four digits, met by all lanes. An asm line because gcc 12 copies the accumulators of the intrinsic. */
ALWAYS_INLINE __m512i dot_four(__m512i acc, __m512i codes, const int8_t *digits)
{
    __asm__("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(acc) : "v"(codes), "m"(*(const int32_t(*)[1])digits));
    return acc;
}

/* offset + the sum over n_fields fields of codes * x */
ALWAYS_INLINE __m512i dot_digits(const __m512i *codes, size_t n_fields, const int8_t *digits, int32_t offset)
{
    __m512i high = _mm512_setzero_si512(), low = _mm512_set1_epi32(offset);
    UNROLL
    for (size_t f = 0; f < n_fields; f++) {
        high = dot_four(high, codes[f], digits + 8 * f);
        low = dot_four(low, codes[f], digits + 8 * f + 4);
    }
    return _mm512_add_epi32(_mm512_slli_epi32(high, 8), low);
}

/* The codes of a group, one to a byte. */
typedef struct {
    __m512i fields[8];
} q8_0_codes;

typedef q8_0_codes q4_0_codes;

typedef struct {
    __m512i fields[4];
} q6_k_codes;

typedef struct {
    __m512i fields[16];
} q2_0_codes;

ALWAYS_INLINE q8_0_codes q8_0_load(const uint8_t *group)
{
    q8_0_codes c;
    UNROLL
    for (size_t f = 0; f < 8; f++)
        c.fields[f] = _mm512_load_si512(group + 64 * f);
    return c;
}

ALWAYS_INLINE q4_0_codes q4_0_load(const uint8_t *group)
{
    q4_0_codes c;
    __m512i mask = _mm512_set1_epi8(15);
    UNROLL
    for (size_t i = 0; i < 4; i++) {
        __m512i line = _mm512_load_si512(group + 64 * i);
        c.fields[2 * i] = _mm512_and_si512(line, mask);
        c.fields[2 * i + 1] = _mm512_and_si512(_mm512_srli_epi16(line, 4), mask);
    }
    return c;
}

ALWAYS_INLINE q2_0_codes q2_0_load(const uint8_t *group)
{
    q2_0_codes c;
    __m512i mask = _mm512_set1_epi8(3);
    UNROLL
    for (size_t f = 0; f < 16; f++)
        c.fields[f] = _mm512_and_si512(
            _mm512_srli_epi16(_mm512_load_si512(group + 64 * (f / 4)), (unsigned)(2 * (f % 4))), mask);
    return c;
}

/* mask ? a : b, bit by bit */
ALWAYS_INLINE __m512i pick(__m512i mask, __m512i a, __m512i b)
{
    return _mm512_ternarylogic_epi32(mask, a, b, 0xca);
}

ALWAYS_INLINE q6_k_codes q6_k_load(const uint8_t *group)
{
    __m512i a = _mm512_load_si512(group), b = _mm512_load_si512(group + 64), c = _mm512_load_si512(group + 128);
    __m512i six = _mm512_set1_epi8(0x3f);
    __m512i high = pick(_mm512_set1_epi8(0x03), _mm512_srli_epi16(a, 6), _mm512_srli_epi16(b, 4));
    high = pick(_mm512_set1_epi8(0x0f), high, _mm512_srli_epi16(c, 2));
    return (q6_k_codes){{_mm512_and_si512(a, six), _mm512_and_si512(b, six), _mm512_and_si512(c, six),
                         _mm512_and_si512(high, six)}};
}

ALWAYS_INLINE group_i32 q8_0_dot(const q8_0_codes *c, const int16_t *x, const int8_t *digits, int32_t offset)
{
    (void)x;
    return dot_digits(c->fields, 8, digits, offset);
}

ALWAYS_INLINE group_i32 q4_0_dot(const q4_0_codes *c, const int16_t *x, const int8_t *digits, int32_t offset)
{
    (void)x;
    return dot_digits(c->fields, 8, digits, offset);
}

ALWAYS_INLINE group_i32 q2_0_dot(const q2_0_codes *c, const int16_t *x, const int8_t *digits, int32_t offset)
{
    (void)x;
    return dot_digits(c->fields, 16, digits, offset);
}

ALWAYS_INLINE group_i32 q6_k_dot(const q6_k_codes *c, const int16_t *x, const int8_t *digits, int32_t offset)
{
    (void)x;
    return dot_digits(c->fields, 4, digits, offset);
}

#include "head_x86.h"
