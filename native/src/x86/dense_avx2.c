/* dense_avx2.c: dense rows as floats, and the dot products of rows of floats, with AVX2.
 *
 * Leans on VCVTPH2PS (f16 to f32, exact), VPMOVZXWD + VPSLLD (bf16), VPMOVSXBD + VCVTDQ2PS (int8), VMULPS and VADDPS
 * (two a cycle); no FMA, which rounds once where the scalar file rounds twice. The bodies are in dense_x86.h. */
#include "group_avx2.h"

/* Half a q6_k block: values 32*k.. of it, minus 32. */
typedef struct {
    __m256i values[4];
} six_bits;

/* (4 bits of low | 2 bits at 4 and 5 of high) - 32 */
ALWAYS_INLINE __m256i six_bits_of(__m256i low, __m256i high)
{
    __m256i bits = _mm256_or_si256(_mm256_and_si256(low, _mm256_set1_epi8(0x0f)),
                                   _mm256_and_si256(high, _mm256_set1_epi8(0x30)));
    return _mm256_sub_epi8(bits, _mm256_set1_epi8(32));
}

ALWAYS_INLINE six_bits six_bits_load(const uint8_t *ql, const uint8_t *qh)
{
    __m256i a = _mm256_loadu_si256((const __m256i *)ql), b = _mm256_loadu_si256((const __m256i *)(ql + 32));
    __m256i high = _mm256_loadu_si256((const __m256i *)qh);
    return (six_bits){{six_bits_of(a, _mm256_slli_epi16(high, 4)), six_bits_of(b, _mm256_slli_epi16(high, 2)),
                       six_bits_of(_mm256_srli_epi16(a, 4), high),
                       six_bits_of(_mm256_srli_epi16(b, 4), _mm256_srli_epi16(high, 2))}};
}

/* Values 16*g.. of the half as floats. */
ALWAYS_INLINE group six_bits_value(const six_bits *q, size_t g)
{
    __m256i v = q->values[g / 2];
    return group_from_i8(g % 2 ? _mm256_extracti128_si256(v, 1) : _mm256_castsi256_si128(v));
}

typedef struct {
    group d;
    __m128i q[2];
} block_q4_0;

ALWAYS_INLINE void q4_0_load(block_q4_0 *out, const uint8_t *block, size_t part)
{
    (void)part;
    __m128i nibbles = _mm_loadu_si128((const __m128i *)(block + 2)), mask = _mm_set1_epi8(15), eight = _mm_set1_epi8(8);
    out->d = group_set1_f16(block);
    out->q[0] = _mm_sub_epi8(_mm_and_si128(nibbles, mask), eight);
    out->q[1] = _mm_sub_epi8(_mm_and_si128(_mm_srli_epi16(nibbles, 4), mask), eight);
}

ALWAYS_INLINE group q4_0_value(const block_q4_0 *part, size_t g)
{
    return group_mul(part->d, group_from_i8(part->q[g]));
}

#include "dense_x86.h"
