/* dense_avx512icl.c: dense rows as floats, and the dot products of rows of floats, with AVX-512.
 *
 * Leans on VCVTPH2PS (f16 to f32, exact), VPMOVZXWD + VPSLLD (bf16), VPMOVSXBD + VCVTDQ2PS (q8_0), VPERMB, VPSLLVW and
 * VPTERNLOGD (q6_k), VPERMPS as a table of 16 floats (q4_0), VMULPS with a broadcast scale from memory, and VADDPS; no
 * FMA, which rounds once where the scalar file rounds twice. The bodies are in dense_x86.h. */
#include "group_avx512icl.h"

/* Half a q6_k block: values 64*k.. of it, 0..63, one to a byte. */
typedef struct {
    __m512i values[2];
} six_bits;

/* 4 bits of low | 2 bits at 4 and 5 of high */
ALWAYS_INLINE __m512i six_bits_of(__m512i low, __m512i high)
{
    __m512i merged = _mm512_ternarylogic_epi32(_mm512_set1_epi8(0x0f), low, high, 0xca);
    return _mm512_and_si512(merged, _mm512_set1_epi8(0x3f));
}

ALWAYS_INLINE six_bits six_bits_load(const uint8_t *ql, const uint8_t *qh)
{
    __m512i low = _mm512_loadu_si512(ql), high = _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)qh));
    __m512i left = _mm512_inserti64x4(_mm512_set1_epi16(2), _mm256_set1_epi16(4), 0);
    __m512i right = _mm512_inserti64x4(_mm512_set1_epi16(2), _mm256_setzero_si256(), 0);
    return (six_bits){{six_bits_of(low, _mm512_sllv_epi16(high, left)),
                       six_bits_of(_mm512_srli_epi16(low, 4), _mm512_srlv_epi16(high, right))}};
}

/* Values 16*g.. of the half as floats, minus 32. The byte q becomes the last of the float 2^23 + q, from which
 * 2^23 + 32 is subtracted exactly. */
ALWAYS_INLINE group six_bits_value(const six_bits *q, size_t g)
{
    __m512i first = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m512i index = _mm512_add_epi32(first, _mm512_set1_epi32((int)(16 * (g % 4))));
    __m512i bits = _mm512_set1_epi32(0x4b000000);
    bits = _mm512_mask_permutexvar_epi8(bits, 0x1111111111111111, index, q->values[g / 4]);
    return _mm512_sub_ps(_mm512_castsi512_ps(bits), _mm512_set1_ps(0x1p23f + 32.0f));
}

/* The 16 values that a block of q4_0 can hold, and its bytes, one to an index: VPERMPS looks at 4 bits only. */
typedef struct {
    __m512 table;
    __m512i index;
} block_q4_0;

ALWAYS_INLINE void q4_0_load(block_q4_0 *out, const uint8_t *block, size_t part)
{
    (void)part;
    __m512 values = _mm512_setr_ps(-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7);
    out->table = group_mul(group_set1_f16(block), values);
    out->index = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(block + 2)));
}

ALWAYS_INLINE group q4_0_value(const block_q4_0 *part, size_t g)
{
    return _mm512_permutexvar_ps(g ? _mm512_srli_epi32(part->index, 4) : part->index, part->table);
}

#include "dense_x86.h"
