/* probe_avxvnni.c: how fast int8 numbers are multiplied with AVX-VNNI.
 *
 * Leans on VPDPBUSD ymm (32 products uint8 x int8; latency 5, two a cycle on Alder Lake's performance cores, ports 0 and
 * 1): CHAINS of them do not wait for each other. With BN_TEST_EVEX_VNNI the same source becomes a function in the
 * encoding of AVX-512, as in ternary_avxvnni.c. */
#include <immintrin.h>

#include "../kernels.h"
#include "registers.h"

#if defined(BN_TEST_EVEX_VNNI)
#define DPBUSD "vpdpbusd"
#define FN(kernel) bn_##kernel##__avxvnni_evex
#else
#define DPBUSD "%{vex%} vpdpbusd"
#define FN(kernel) bn_##kernel##__avxvnni
#endif
__typeof__(*((bn_kernels *)0)->probe_int8) FN(probe_int8);

enum { HALVES = 2, CHAINS = 6 };

#define LOAD(p) _mm256_load_si256((const __m256i *)(p))

uint32_t FN(probe_int8)(const uint8_t *codes, const int8_t *q, size_t n_steps)
{
    __m256i acc[CHAINS][HALVES], all = _mm256_setzero_si256();
    __m256i c[HALVES] = {LOAD(codes), LOAD(codes + 32)}, x[HALVES] = {LOAD(q), LOAD(q + 32)};
    UNROLL
    for (size_t k = 0; k < CHAINS; k++)
        acc[k][0] = acc[k][1] = all;
    for (size_t i = 0; i < n_steps; i++)
        UNROLL
        for (size_t k = 0; k < BN_PROBE_PRODUCTS / 64; k++)
            UNROLL
            for (size_t h = 0; h < HALVES; h++) /* asm because gcc 12 copies the accumulators of the intrinsic */
                __asm__(DPBUSD " %2, %1, %0" : "+x"(acc[k % CHAINS][h]) : "x"(c[h]), "x"(x[h]));
    UNROLL
    for (size_t k = 0; k < CHAINS; k++)
        all = _mm256_add_epi32(all, _mm256_add_epi32(acc[k][0], acc[k][1]));
    uint32_t lane[8], sum = 0;
    memcpy(lane, &all, sizeof lane);
    for (size_t i = 0; i < 8; i++)
        sum += lane[i];
    return sum;
}
