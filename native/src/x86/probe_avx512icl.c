/* probe_avx512icl.c: how fast memory is read and int8 numbers are multiplied with AVX-512 VNNI.
 *
 * Leans on loads of whole lines and on VPDPBUSD zmm, 64 products each (latency 4, one a cycle on Zen 4, ports 0 and 5 on
 * Ice Lake server): 16 of them that do not wait for each other are a step. */
#include <immintrin.h>

#include "../kernels.h"
#include "registers.h"

enum { LINES = 8, CHAINS = BN_PROBE_PRODUCTS / 64 };

/* The exclusive-or of the eight words of a register. */
ALWAYS_INLINE uint64_t fold(__m512i x)
{
    uint64_t word[8];
    memcpy(word, &x, sizeof word);
    return word[0] ^ word[1] ^ word[2] ^ word[3] ^ word[4] ^ word[5] ^ word[6] ^ word[7];
}

uint64_t bn_probe_read__avx512icl(const uint8_t *data, size_t n_lines)
{
    __m512i acc[LINES];
    UNROLL
    for (size_t k = 0; k < LINES; k++)
        acc[k] = _mm512_setzero_si512();
    size_t i = 0;
    for (; i + LINES <= n_lines; i += LINES)
        UNROLL
        for (size_t k = 0; k < LINES; k++) {
            const uint8_t *line = data + 64 * (i + k);
            _mm_prefetch((const char *)line + BN_PROBE_AHEAD, _MM_HINT_T1);
            acc[k] = _mm512_xor_si512(acc[k], _mm512_load_si512(line));
        }
    for (; i < n_lines; i++)
        acc[0] = _mm512_xor_si512(acc[0], _mm512_load_si512(data + 64 * i));
    UNROLL
    for (size_t k = 1; k < LINES; k++)
        acc[0] = _mm512_xor_si512(acc[0], acc[k]);
    return fold(acc[0]);
}

uint32_t bn_probe_int8__avx512icl(const uint8_t *codes, const int8_t *q, size_t n_steps)
{
    __m512i acc[CHAINS], c = _mm512_load_si512(codes), x = _mm512_load_si512(q);
    UNROLL
    for (size_t k = 0; k < CHAINS; k++)
        acc[k] = _mm512_setzero_si512();
    for (size_t i = 0; i < n_steps; i++)
        UNROLL
        for (size_t k = 0; k < CHAINS; k++)     /* asm because gcc 12 copies the accumulators of the intrinsic */
            __asm__("vpdpbusd %2, %1, %0" : "+v"(acc[k]) : "v"(c), "v"(x));
    UNROLL
    for (size_t k = 1; k < CHAINS; k++)
        acc[0] = _mm512_add_epi32(acc[0], acc[k]);
    return (uint32_t)_mm512_reduce_add_epi32(acc[0]);
}
