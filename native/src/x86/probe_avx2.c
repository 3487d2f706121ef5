/* probe_avx2.c: how fast memory is read and int8 numbers are multiplied with AVX2.
 *
 * Leans on 32-byte loads and on VPMADDUBSW (32 products, two of them added to each int16 lane; two a cycle on Zen 4,
 * ports 0 and 1 on Intel) with VPADDW: the ternary kernels, too, widen to int32 only now and then. */
#include <immintrin.h>

#include "../kernels.h"
#include "registers.h"

enum { LINES = 4, HALVES = 2, CHAINS = 4, REPEATS = BN_PROBE_PRODUCTS / 64 / CHAINS };

/* BOUND: codes are 0..2, so two products are at least 2 * 2 * -128 = -512; a lane takes REPEATS of them per step. */
enum { FOLD_STEPS = 16 };
_Static_assert(FOLD_STEPS * REPEATS * 2 * 2 * -128 >= INT16_MIN, "sums between two foldings fit int16");

#define LOAD(p) _mm256_load_si256((const __m256i *)(p))

uint64_t bn_probe_read__avx2(const uint8_t *data, size_t n_lines)
{
    __m256i acc[LINES][HALVES], all = _mm256_setzero_si256();
    UNROLL
    for (size_t k = 0; k < LINES; k++)
        acc[k][0] = acc[k][1] = all;
    size_t i = 0;
    for (; i + LINES <= n_lines; i += LINES)
        UNROLL
        for (size_t k = 0; k < LINES; k++) {
            const uint8_t *line = data + 64 * (i + k);
            _mm_prefetch((const char *)line + BN_PROBE_AHEAD, _MM_HINT_T1);
            acc[k][0] = _mm256_xor_si256(acc[k][0], LOAD(line));
            acc[k][1] = _mm256_xor_si256(acc[k][1], LOAD(line + 32));
        }
    for (; i < n_lines; i++)
        all = _mm256_xor_si256(all, _mm256_xor_si256(LOAD(data + 64 * i), LOAD(data + 64 * i + 32)));
    UNROLL
    for (size_t k = 0; k < LINES; k++)
        all = _mm256_xor_si256(all, _mm256_xor_si256(acc[k][0], acc[k][1]));
    uint64_t word[4];
    memcpy(word, &all, sizeof word);
    return word[0] ^ word[1] ^ word[2] ^ word[3];
}

/* The sum of the eight lanes, modulo 2^32. */
ALWAYS_INLINE uint32_t sum_lanes(__m256i x)
{
    uint32_t lane[8], sum = 0;
    memcpy(lane, &x, sizeof lane);
    for (size_t i = 0; i < 8; i++)
        sum += lane[i];
    return sum;
}

/* acc += codes . q in 16 lanes. Volatile, or the compiler would see that the products are always the same. */
ALWAYS_INLINE __m256i add_products(__m256i acc, __m256i codes, __m256i q)
{
    __m256i products;
    __asm__ volatile("vpmaddubsw %3, %2, %1\n\tvpaddw %1, %0, %0" : "+x"(acc), "=&x"(products) : "x"(codes), "x"(q));
    return acc;
}

uint32_t bn_probe_int8__avx2(const uint8_t *codes, const int8_t *q, size_t n_steps)
{
    __m256i wide = _mm256_setzero_si256(), ones = _mm256_set1_epi16(1);
    __m256i c[HALVES] = {LOAD(codes), LOAD(codes + 32)}, x[HALVES] = {LOAD(q), LOAD(q + 32)};
    for (size_t first = 0; first < n_steps; first += FOLD_STEPS) {
        size_t n = n_steps - first < FOLD_STEPS ? n_steps - first : FOLD_STEPS;
        __m256i acc[CHAINS][HALVES];
        UNROLL
        for (size_t k = 0; k < CHAINS; k++)
            acc[k][0] = acc[k][1] = _mm256_setzero_si256();
        for (size_t i = 0; i < n * REPEATS; i++)
            UNROLL
            for (size_t k = 0; k < CHAINS; k++)
                UNROLL
                for (size_t h = 0; h < HALVES; h++)
                    acc[k][h] = add_products(acc[k][h], c[h], x[h]);
        UNROLL
        for (size_t k = 0; k < CHAINS; k++)
            UNROLL
            for (size_t h = 0; h < HALVES; h++)
                wide = _mm256_add_epi32(wide, _mm256_madd_epi16(acc[k][h], ones));
    }
    return sum_lanes(wide);
}
