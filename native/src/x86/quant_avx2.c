/* quant_avx2.c: RMSNorm, int8 quantisation and descaling with AVX2.
 *
 * Leans on VMULPS and VADDPS (latency 3-4, two a cycle; no FMA, which rounds once where the scalar file rounds twice),
 * VDIVPS, VCVTPS2DQ (rounds half to even), and VMAXPS and VMINPS, which are a > b ? a : b and a < b ? a : b to the
 * letter, NaNs included. The bodies are in quant_x86.h. VPSADBW adds up eight unsigned bytes. */
#include "group_avx2.h"

#include "quant_x86.h"

/* q + 128 are unsigned bytes, whose sums are too large by 128 for each col. */
void bn_group_sums_i8__avx2(const int8_t *q, size_t n, size_t group_cols, int32_t *sums)
{
    const __m256i sign = _mm256_set1_epi8((char)0x80), zero = _mm256_setzero_si256();
    for (size_t i = 0; i < n; i++, q += group_cols) {
        __m256i sum = zero;
        for (size_t c = 0; c < group_cols; c += 32) {
            __m256i bytes = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(q + c)), sign);
            sum = _mm256_add_epi64(sum, _mm256_sad_epu8(bytes, zero));
        }
        __m128i two = _mm_add_epi64(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
        sums[i] = _mm_cvtsi128_si32(_mm_add_epi64(two, _mm_unpackhi_epi64(two, two))) - 128 * (int32_t)group_cols;
    }
}
