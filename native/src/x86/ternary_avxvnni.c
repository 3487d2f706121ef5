/* ternary_avxvnni.c: ternary matrix times int8 activations with AVX-VNNI.
 *
 * Leans on VPDPBUSD ymm (32 products uint8 x int8, four of them added to each int32 lane; latency 5, two a cycle on
 * Alder Lake's performance cores, ports 0 and 1) and VPBROADCASTD of four activations from memory. A register holds 8
 * rows: no horizontal sums.
 *
 * With BN_TEST_EVEX_VNNI the same source becomes bn_<kernel>__avxvnni_evex in the encoding of AVX-512, so that a CPU
 * that has VNNI only there can check it. */
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
__typeof__(*((bn_kernels *)0)->gemv_t2_i8) FN(gemv_t2_i8);

/* gemv leaves the fields where they are in the byte, as codes 0..2 times 1, 4, 16, 64, each with an accumulator of its
 * own that is shifted down at the end.
 * BOUND: field 3 is at most 128, so a lane takes at least 4 * 128 * -128 = -2^16 per block: 2^15 blocks give -2^31.
 * Fold every 2^14. */
enum { FOLD_BLOCKS = 1 << 14 };
_Static_assert((int64_t)FOLD_BLOCKS * 4 * 128 * -128 >= INT32_MIN, "sums of field 3 fit int32");

/* Memory answers late: ask for the weights this far ahead. Reading past the end of the matrix is only a hint. */
enum { PREFETCH_BYTES = 6144 };

/* gemm goes through the columns in pieces whose unpacked tiles stay in the L1 cache for all tokens. */
enum { PANEL_BLOCKS = 32, PANEL_BLOCK_BYTES = 256, TOKENS = 6, HALVES = 2, HALF_ROWS = 8, HALF_BYTES = 32 };

#define LOAD(p) _mm256_load_si256((const __m256i *)(p))
#define FOUR(q) _mm256_set1_epi32(bn_four(q))

/* acc += codes . q. An asm line because gcc 12 copies and spills the accumulators of the intrinsic. */
ALWAYS_INLINE __m256i dot(__m256i acc, __m256i codes, __m256i q)
{
    __asm__(DPBUSD " %2, %1, %0" : "+x"(acc) : "x"(codes), "x"(q));
    return acc;
}

/* acc[f] += field f of one block, 8 rows */
ALWAYS_INLINE void add_half(__m256i acc[4], __m256i w, const __m256i q[4])
{
    acc[0] = dot(acc[0], _mm256_and_si256(w, _mm256_set1_epi8(0x03)), q[0]);
    acc[1] = dot(acc[1], _mm256_and_si256(w, _mm256_set1_epi8(0x0c)), q[1]);
    acc[2] = dot(acc[2], _mm256_and_si256(w, _mm256_set1_epi8(0x30)), q[2]);
    acc[3] = dot(acc[3], _mm256_and_si256(w, _mm256_set1_epi8((char)0xc0)), q[3]);
}

/* sums[16] (+)= at most FOLD_BLOCKS blocks of one tile @ q */
static void tile_dot(const uint8_t *tile, size_t n_blocks, const int8_t *q, int add, int32_t *sums)
{
    __m256i acc[HALVES][4];
    UNROLL
    for (size_t f = 0; f < 4; f++)
        acc[0][f] = acc[1][f] = _mm256_setzero_si256();
    for (size_t block = 0; block < n_blocks; block++, tile += BN_BLOCK_BYTES, q += BN_BLOCK_COLS) {
        _mm_prefetch((const char *)tile + PREFETCH_BYTES, _MM_HINT_T0);
        __m256i four[4] = {FOUR(q), FOUR(q + 4), FOUR(q + 8), FOUR(q + 12)};
        add_half(acc[0], LOAD(tile), four);
        add_half(acc[1], LOAD(tile + HALF_BYTES), four);
    }
    UNROLL
    for (size_t h = 0; h < HALVES; h++) {
        __m256i *out = (__m256i *)(sums + HALF_ROWS * h);
        __m256i low = _mm256_add_epi32(acc[h][0], _mm256_srai_epi32(acc[h][1], 2));
        __m256i high = _mm256_add_epi32(_mm256_srai_epi32(acc[h][2], 4), _mm256_srai_epi32(acc[h][3], 6));
        __m256i sum = _mm256_add_epi32(low, high);
        _mm256_storeu_si256(out, add ? _mm256_add_epi32(sum, _mm256_loadu_si256(out)) : sum);
    }
}

void FN(gemv_t2_i8)(const uint8_t *tiles, size_t n_tiles, size_t n_blocks, const int8_t *q, int32_t *sums)
{
    for (size_t i = 0; i < n_tiles; i++) {
        const uint8_t *tile = tiles + i * n_blocks * BN_BLOCK_BYTES;
        size_t first = 0;
        do {
            size_t n = n_blocks - first < FOLD_BLOCKS ? n_blocks - first : FOLD_BLOCKS;
            tile_dot(tile + first * BN_BLOCK_BYTES, n, q + first * BN_BLOCK_COLS, first > 0, sums + i * BN_TILE_ROWS);
            first += n;
        } while (first < n_blocks);
    }
}
