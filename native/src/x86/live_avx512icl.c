/* live_avx512icl.c: open gates and activations that are not zero, with AVX-512.
 *
 * Leans on VPCOMPRESSD between registers (two operations; straight to memory it is microcode on Zen 4), stored whole: what
 * is too much is overwritten by the next store or lies in the slack of the index. */
#include <immintrin.h>

#include "../kernels.h"

static const uint32_t COUNT_UP[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

/* index[..] = those of first..first+15 whose bit is set; returns how many. */
static inline size_t put(__mmask16 mask, uint32_t first, uint32_t *index)
{
    __m512i numbers = _mm512_add_epi32(_mm512_loadu_si512(COUNT_UP), _mm512_set1_epi32((int)first));
    _mm512_storeu_si512(index, _mm512_maskz_compress_epi32(mask, numbers));
    return (size_t)__builtin_popcount(mask);
}

static inline __mmask16 first_of(size_t n)
{
    return (__mmask16)(n < 16 ? (1u << n) - 1 : 0xffff);
}

size_t bn_live_f32__avx512icl(const float *x, size_t n, uint32_t first, uint32_t *index)
{
    size_t found = 0;
    for (size_t i = 0; i < n; i += 16) {
        __m512 values = _mm512_maskz_loadu_ps(first_of(n - i), x + i);
        found += put(_mm512_cmp_ps_mask(values, _mm512_setzero_ps(), _CMP_GT_OQ), first + (uint32_t)i, index + found);
    }
    return found;
}

size_t bn_live_i8__avx512icl(const int8_t *q, size_t n, uint32_t first, uint32_t *index)
{
    size_t found = 0;
    for (size_t i = 0; i < n; i += 16) {
        __m128i values = _mm_maskz_loadu_epi8(first_of(n - i), q + i);
        found += put(_mm_test_epi8_mask(values, values), first + (uint32_t)i, index + found);
    }
    return found;
}
