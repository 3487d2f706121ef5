/* ternary_avx2.c: ternary matrix times int8 activations with AVX2.
 *
 * Leans on VPMADDUBSW (32 products uint8 x int8, added in pairs to int16; latency 3-5, two a cycle on Zen 2 and later,
 * ports 0 and 1 on Intel), VPMADDWD by ones (pairs of int16 to int32) and VPBROADCASTD of four activations from memory.
 * A register holds 8 rows, 4 products each, so there are no horizontal sums but the last pair. */
#include <immintrin.h>

#include "../kernels.h"
#include "registers.h"

/* BOUND: a lane of VPMADDUBSW is two products of code 0..2 and q -128..127: 508 at most, -512 at least; it never
 * saturates. In gemm a lane takes 4 of them per block: 16 blocks give 32512 <= 32767 and -32768.
 * In gemv fields 1 and 3 are read as codes 0, 4, 8, which saves their shift, so a lane takes 2 * 4 * 508 per block:
 * 8 blocks give 32512 and -32768. */
enum { GEMM_FOLD_BLOCKS = 16, GEMV_FOLD_BLOCKS = 8, HIGHEST = 2 * 2 * 127, LOWEST = 2 * 2 * -128 };
_Static_assert(GEMM_FOLD_BLOCKS * 4 * HIGHEST <= INT16_MAX, "positive sums of gemm fit int16");
_Static_assert(GEMM_FOLD_BLOCKS * 4 * LOWEST >= INT16_MIN, "negative sums of gemm fit int16");
_Static_assert(GEMV_FOLD_BLOCKS * 2 * 4 * HIGHEST <= INT16_MAX, "positive sums of gemv fit int16");
_Static_assert(GEMV_FOLD_BLOCKS * 2 * 4 * LOWEST >= INT16_MIN, "negative sums of gemv fit int16");
/* The two kinds of sums of gemv together, once those of fields 1 and 3 are divided by 4. */
_Static_assert(GEMV_FOLD_BLOCKS * 2 * 2 * LOWEST >= INT16_MIN, "the sum over all fields fits int16");

/* Memory answers late: ask for the weights this far ahead. Reading past the end of the matrix is only a hint. */
enum { PREFETCH_BYTES = 6144 };

enum { HALVES = 2, HALF_ROWS = 8, HALF_BYTES = 32, TOKENS = 4, PANEL_BLOCK_BYTES = 256 };

#define LOAD(p) _mm256_load_si256((const __m256i *)(p))
#define FOUR(q) _mm256_set1_epi32(bn_four(q))

/* acc + codes * q in 16 lanes of 16 bits. The sum is an asm line because gcc 12 regroups sums of several products, and
 * spills what it then cannot hold. */
ALWAYS_INLINE __m256i add_products(__m256i acc, __m256i codes, __m256i q)
{
    __m256i products = _mm256_maddubs_epi16(codes, q);
    __asm__("vpaddw %1, %0, %0" : "+x"(acc) : "x"(products));
    return acc;
}

/* 16-bit sums of 8 rows: fields 0 and 2, and four times fields 1 and 3. */
typedef struct {
    __m256i even, odd;
} half_sums;

ALWAYS_INLINE void add_half(half_sums *acc, __m256i w, const __m256i q[4])
{
    __m256i low = _mm256_set1_epi8(0x03), high = _mm256_set1_epi8(0x0c), shifted = _mm256_srli_epi16(w, 4);
    acc->even = add_products(acc->even, _mm256_and_si256(w, low), q[0]);
    acc->odd = add_products(acc->odd, _mm256_and_si256(w, high), q[1]);
    acc->even = add_products(acc->even, _mm256_and_si256(shifted, low), q[2]);
    acc->odd = add_products(acc->odd, _mm256_and_si256(shifted, high), q[3]);
}

/* sums[16] = one tile @ q */
static void tile_dot(const uint8_t *tile, size_t n_blocks, const int8_t *q, int32_t *sums)
{
    __m256i zero = _mm256_setzero_si256(), ones = _mm256_set1_epi16(1), wide[HALVES] = {zero, zero};
    for (size_t first = 0; first < n_blocks; first += GEMV_FOLD_BLOCKS) {
        size_t n = n_blocks - first < GEMV_FOLD_BLOCKS ? n_blocks - first : GEMV_FOLD_BLOCKS;
        half_sums acc[HALVES] = {{zero, zero}, {zero, zero}};
        for (size_t block = 0; block < n; block++, tile += BN_BLOCK_BYTES, q += BN_BLOCK_COLS) {
            _mm_prefetch((const char *)tile + PREFETCH_BYTES, _MM_HINT_T0);
            __m256i four[4] = {FOUR(q), FOUR(q + 4), FOUR(q + 8), FOUR(q + 12)};
            add_half(&acc[0], LOAD(tile), four);
            add_half(&acc[1], LOAD(tile + HALF_BYTES), four);
        }
        UNROLL
        for (size_t h = 0; h < HALVES; h++) {
            __m256i all = _mm256_add_epi16(acc[h].even, _mm256_srai_epi16(acc[h].odd, 2));
            wide[h] = _mm256_add_epi32(wide[h], _mm256_madd_epi16(all, ones));
        }
    }
    UNROLL
    for (size_t h = 0; h < HALVES; h++)
        _mm256_storeu_si256((__m256i *)(sums + HALF_ROWS * h), wide[h]);
}

void bn_gemv_t2_i8__avx2(const uint8_t *tiles, size_t n_tiles, size_t n_blocks, const int8_t *q, int32_t *sums)
{
    for (size_t i = 0; i < n_tiles; i++)
        tile_dot(tiles + i * n_blocks * BN_BLOCK_BYTES, n_blocks, q, sums + i * BN_TILE_ROWS);
}
