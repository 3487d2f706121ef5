/* live_avx2.c: open gates and activations that are not zero, with AVX2: a bit for each, then a walk over the bits. */
#include <immintrin.h>

#include "../kernels.h"

/* index[..] = the numbers of the bits, plus first; returns how many. */
static inline size_t put(uint32_t bits, uint32_t first, uint32_t *index)
{
    size_t found = 0;
    for (; bits; bits &= bits - 1)
        index[found++] = first + (uint32_t)__builtin_ctz(bits);
    return found;
}

size_t bn_live_f32__avx2(const float *x, size_t n, uint32_t first, uint32_t *index)
{
    size_t found = 0, i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 open = _mm256_cmp_ps(_mm256_loadu_ps(x + i), _mm256_setzero_ps(), _CMP_GT_OQ);
        found += put((uint32_t)_mm256_movemask_ps(open), first + (uint32_t)i, index + found);
    }
    for (; i < n; i++) {
        index[found] = first + (uint32_t)i;
        found += x[i] > 0.0f;
    }
    return found;
}

size_t bn_live_i8__avx2(const int8_t *q, size_t n, uint32_t first, uint32_t *index)
{
    size_t found = 0, i = 0;
    for (; i + 32 <= n; i += 32) {
        __m256i zero = _mm256_cmpeq_epi8(_mm256_loadu_si256((const __m256i *)(q + i)), _mm256_setzero_si256());
        found += put(~(uint32_t)_mm256_movemask_epi8(zero), first + (uint32_t)i, index + found);
    }
    for (; i < n; i++) {
        index[found] = first + (uint32_t)i;
        found += q[i] != 0;
    }
    return found;
}
