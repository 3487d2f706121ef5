/* slab_x86.h: a slab of g2 times activations in registers of 8 rows; included by the ISAs that have those, after they
 * have said how a tile meets activations: TILE_DOT(tile, n_blocks, q, sums) writes int32 sums[16]. */
#ifndef BN_SLAB_X86_H
#define BN_SLAB_X86_H

#include <immintrin.h>
#include <string.h>

#include "../kernels.h"
#include "../unroll.h"

/* acc[16] += (float)(sums - q_sum) * scale; scales are f16 or float32. */
ALWAYS_INLINE void bn_add_tile(const int32_t *sums, int32_t q_sum, const uint8_t *scales, int halves, float *acc)
{
    UNROLL
    for (size_t i = 0; i < BN_TILE_ROWS; i += 8) {
        __m256i sum = _mm256_loadu_si256((const __m256i *)(sums + i));
        __m256 value = _mm256_cvtepi32_ps(_mm256_sub_epi32(sum, _mm256_set1_epi32(q_sum)));
        __m256 scale = halves ? _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(scales + 2 * i)))
                              : _mm256_loadu_ps((const float *)(scales + 4 * i));
        _mm256_storeu_ps(acc + i, _mm256_add_ps(_mm256_loadu_ps(acc + i), _mm256_mul_ps(value, scale)));
    }
}

/* group_blocks is a constant where this is inlined: short loops whose length is known. */
ALWAYS_INLINE void bn_slab_dot(const uint8_t *slab, size_t n_groups, size_t group_blocks, int halves, const int8_t *q,
                               const int32_t *q_sums, float *acc)
{
    enum { TILES = BN_SLAB_ROWS / BN_TILE_ROWS };
    const size_t tile_bytes = group_blocks * BN_BLOCK_BYTES, scale_bytes = BN_TILE_ROWS * (halves ? 2 : 4);
    memset(acc, 0, BN_SLAB_ROWS * sizeof *acc);
    for (size_t g = 0; g < n_groups; g++, q += group_blocks * BN_BLOCK_COLS) {
        const uint8_t *scales = slab + TILES * tile_bytes;
        for (size_t i = 0; i < TILES; i++) {
            int32_t sums[BN_TILE_ROWS];
            TILE_DOT(slab + i * tile_bytes, group_blocks, q, sums);
            bn_add_tile(sums, q_sums[g], scales + i * scale_bytes, halves, acc + i * BN_TILE_ROWS);
        }
        slab = scales + TILES * scale_bytes;
    }
}

/* gemv_g2_i8 of kernels.h. */
ALWAYS_INLINE void bn_gemv_slab(const uint8_t *slab, size_t n_groups, size_t group_blocks, int halves, const int8_t *q,
                                const int32_t *q_sums, float *acc)
{
    switch (group_blocks) {
    case 4: bn_slab_dot(slab, n_groups, 4, halves, q, q_sums, acc); break;
    case 8: bn_slab_dot(slab, n_groups, 8, halves, q, q_sums, acc); break;
    default: bn_slab_dot(slab, n_groups, 16, halves, q, q_sums, acc);
    }
}

#endif
