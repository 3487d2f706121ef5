/* ternary_avx512icl.c: ternary matrix times int8 activations with AVX-512 VNNI.
 *
 * Leans on VPDPBUSD zmm (64 products uint8 x int8, four of them added to each int32 lane; latency 4, one a cycle on
 * Zen 4, ports 0 and 5 on Ice Lake server) and on broadcasts of four activations from memory: embedded in VPDPBUSD in
 * gemv, as VPBROADCASTD shared by two tiles in gemm. The 16 rows of a tile are the 16 lanes of a register: no
 * horizontal sums. */
#include <immintrin.h>

#include "../kernels.h"
#include "registers.h"

/* gemv leaves the fields where they are in the byte, as codes 0..2 times 1, 4, 16, 64, each with an accumulator of its
 * own that is shifted down at the end: a block of 256 weights takes 4 VPAND and 4 VPDPBUSD.
 * BOUND: field 3 is at most 128, so a lane takes at least 4 * 128 * -128 = -2^16 per block: 2^15 blocks give -2^31.
 * Fold every 2^14. */
enum { FOLD_BLOCKS = 1 << 14 };
_Static_assert((int64_t)FOLD_BLOCKS * 4 * 128 * -128 >= INT32_MIN, "sums of field 3 fit int32");

/* Memory answers late: ask for the weights this far ahead. Reading past the end of the matrix is only a hint. */
enum { PREFETCH_BYTES = 6144 };

/* gemm goes through the columns in pieces whose unpacked tiles stay in the L1 cache for all tokens. */
enum { PANEL_BLOCKS = 32, PANEL_BLOCK_BYTES = 256, TOKENS = 12 };

/* acc += codes . q. An asm line because gcc 12 copies and spills the accumulators of the intrinsic. */
ALWAYS_INLINE __m512i dot(__m512i acc, __m512i codes, __m512i q)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(codes), "v"(q));
    return acc;
}

/* The same with four activations from memory, met by all lanes. */
ALWAYS_INLINE __m512i dot_four(__m512i acc, __m512i codes, const int8_t *q)
{
    __asm__("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(acc) : "v"(codes), "m"(*(const int32_t(*)[1])q));
    return acc;
}

/* acc[f] += field f of one block */
ALWAYS_INLINE void add_block(__m512i acc[4], const uint8_t *block, const int8_t *q)
{
    __m512i w = _mm512_load_si512(block);
    _mm_prefetch((const char *)block + PREFETCH_BYTES, _MM_HINT_T0);
    acc[0] = dot_four(acc[0], _mm512_and_si512(w, _mm512_set1_epi8(0x03)), q);
    acc[1] = dot_four(acc[1], _mm512_and_si512(w, _mm512_set1_epi8(0x0c)), q + 4);
    acc[2] = dot_four(acc[2], _mm512_and_si512(w, _mm512_set1_epi8(0x30)), q + 8);
    acc[3] = dot_four(acc[3], _mm512_and_si512(w, _mm512_set1_epi8((char)0xc0)), q + 12);
}

/* One tile @ q, at most FOLD_BLOCKS blocks. */
ALWAYS_INLINE __m512i tile_dot(const uint8_t *tile, size_t n_blocks, const int8_t *q)
{
    __m512i acc[4];
    UNROLL
    for (size_t f = 0; f < 4; f++)
        acc[f] = _mm512_setzero_si512();
    size_t block = 0;
    for (; block + 2 <= n_blocks; block += 2) {
        add_block(acc, tile + block * BN_BLOCK_BYTES, q + block * BN_BLOCK_COLS);
        add_block(acc, tile + (block + 1) * BN_BLOCK_BYTES, q + (block + 1) * BN_BLOCK_COLS);
    }
    if (block < n_blocks)
        add_block(acc, tile + block * BN_BLOCK_BYTES, q + block * BN_BLOCK_COLS);
    __m512i low = _mm512_add_epi32(acc[0], _mm512_srai_epi32(acc[1], 2));
    __m512i high = _mm512_add_epi32(_mm512_srai_epi32(acc[2], 4), _mm512_srai_epi32(acc[3], 6));
    return _mm512_add_epi32(low, high);
}

void bn_gemv_t2_i8__avx512icl(const uint8_t *tiles, size_t n_tiles, size_t n_blocks, const int8_t *q, int32_t *sums)
{
    for (size_t i = 0; i < n_tiles; i++) {
        const uint8_t *tile = tiles + i * n_blocks * BN_BLOCK_BYTES;
        __m512i sum = _mm512_setzero_si512();
        for (size_t first = 0; first < n_blocks; first += FOLD_BLOCKS) {
            size_t n = n_blocks - first < FOLD_BLOCKS ? n_blocks - first : FOLD_BLOCKS;
            sum = _mm512_add_epi32(sum, tile_dot(tile + first * BN_BLOCK_BYTES, n, q + first * BN_BLOCK_COLS));
        }
        _mm512_storeu_si512(sums + i * BN_TILE_ROWS, sum);
    }
}

/* panel[block][field][n_tiles][16 rows][4]: codes one to a byte; this tile is the one at `panel`. */
static void unpack_blocks(const uint8_t *blocks, size_t n_blocks, size_t n_tiles, uint8_t *panel)
{
    __m512i mask = _mm512_set1_epi8(3);
    size_t step = n_tiles * BN_BLOCK_BYTES;
    for (size_t block = 0; block < n_blocks; block++) {
        __m512i w = _mm512_load_si512(blocks + block * BN_BLOCK_BYTES);
        uint8_t *out = panel + block * n_tiles * PANEL_BLOCK_BYTES;
        _mm512_store_si512(out, _mm512_and_si512(w, mask));
        _mm512_store_si512(out + step, _mm512_and_si512(_mm512_srli_epi16(w, 2), mask));
        _mm512_store_si512(out + 2 * step, _mm512_and_si512(_mm512_srli_epi16(w, 4), mask));
        _mm512_store_si512(out + 3 * step, _mm512_and_si512(_mm512_srli_epi16(w, 6), mask));
    }
}

/* sums[t][16*n_tiles] (+)= unpacked blocks @ q[t] for exactly n_tokens <= TOKENS. Both counts are constants where this
 * is inlined: 24 accumulators, 2 registers of codes and 1 of activations at most. */
ALWAYS_INLINE void panel_dot(const uint8_t *panel, size_t n_tiles, size_t n_blocks, const int8_t *q, size_t q_stride,
                             size_t n_tokens, int add, int32_t *sums)
{
    __m512i acc[TOKENS][BN_GEMM_TILES];
    UNROLL
    for (size_t t = 0; t < n_tokens; t++)
        UNROLL
        for (size_t i = 0; i < n_tiles; i++)
            acc[t][i] = add ? _mm512_loadu_si512(sums + (t * n_tiles + i) * BN_TILE_ROWS) : _mm512_setzero_si512();
    /* Tokens 3*j, 3*j + 1 and 3*j + 2 are reached from one pointer: base, base + stride, base + 2 * stride. */
    const int8_t *base[TOKENS / 3];
    UNROLL
    for (size_t j = 0; j < TOKENS / 3; j++)
        base[j] = q + 3 * j * q_stride;
    for (size_t block = 0; block < n_blocks; block++) {
        /* The same columns of the tokens that come next: a line holds 4 blocks, so each block asks for a third. */
        size_t ahead = (n_tokens + block % 4) * q_stride;
        UNROLL
        for (size_t j = 0; j < TOKENS / 3; j++)
            if (3 * j < n_tokens)
                _mm_prefetch((const char *)base[j] + ahead, _MM_HINT_T0);
        UNROLL
        for (size_t f = 0; f < 4; f++) {
            __m512i codes[BN_GEMM_TILES];
            UNROLL
            for (size_t i = 0; i < n_tiles; i++)
                codes[i] = _mm512_load_si512(panel + (f * n_tiles + i) * BN_BLOCK_BYTES);
            UNROLL
            for (size_t t = 0; t < n_tokens; t++) {
                __m512i four = _mm512_set1_epi32(bn_four(base[t / 3] + t % 3 * q_stride + 4 * f));
                UNROLL
                for (size_t i = 0; i < n_tiles; i++)
                    acc[t][i] = dot(acc[t][i], codes[i], four);
            }
        }
        panel += n_tiles * PANEL_BLOCK_BYTES;
        UNROLL
        for (size_t j = 0; j < TOKENS / 3; j++)
            base[j] += BN_BLOCK_COLS;
    }
    UNROLL
    for (size_t t = 0; t < n_tokens; t++)
        UNROLL
        for (size_t i = 0; i < n_tiles; i++)
            _mm512_storeu_si512(sums + (t * n_tiles + i) * BN_TILE_ROWS, acc[t][i]);
}

/* panel_dot with the number of tokens as a constant. */
#define PANEL_DOT_CASE(n)                                                                                              \
    case n: panel_dot(panel, n_tiles, n_blocks, q, q_stride, n, add, sums); break;

ALWAYS_INLINE void panel_dot_any(const uint8_t *panel, size_t n_tiles, size_t n_blocks, const int8_t *q,
                                 size_t q_stride, size_t n_tokens, int add, int32_t *sums)
{
    switch (n_tokens) {
        PANEL_DOT_CASE(1)
        PANEL_DOT_CASE(2)
        PANEL_DOT_CASE(3)
        PANEL_DOT_CASE(4)
        PANEL_DOT_CASE(5)
        PANEL_DOT_CASE(6)
        PANEL_DOT_CASE(7)
        PANEL_DOT_CASE(8)
        PANEL_DOT_CASE(9)
        PANEL_DOT_CASE(10)
        PANEL_DOT_CASE(11)
        PANEL_DOT_CASE(12)
    }
}

/* Tokens are dealt evenly: 13 are met as 7 and 6, not as 12 and 1. */
ALWAYS_INLINE void gemm(const uint8_t *tiles, size_t n_tiles, size_t n_blocks, const int8_t *q, size_t q_stride,
                        size_t n_tokens, uint8_t *panel, int32_t *sums)
{
    size_t n_groups = (n_tokens + TOKENS - 1) / TOKENS, first = 0;
    do {
        size_t n = n_blocks - first < PANEL_BLOCKS ? n_blocks - first : PANEL_BLOCKS;
        for (size_t i = 0; i < n_tiles; i++)
            unpack_blocks(tiles + (i * n_blocks + first) * BN_BLOCK_BYTES, n, n_tiles, panel + i * BN_BLOCK_BYTES);
        for (size_t group = 0; group < n_groups; group++) {
            size_t t = group * n_tokens / n_groups, end = (group + 1) * n_tokens / n_groups;
            panel_dot_any(panel, n_tiles, n, q + t * q_stride + first * BN_BLOCK_COLS, q_stride, end - t, first > 0,
                          sums + t * n_tiles * BN_TILE_ROWS);
        }
        first += n;
    } while (first < n_blocks);
}

void bn_gemm_t2_i8__avx512icl(const uint8_t *tiles, size_t n_tiles, size_t n_blocks, const int8_t *q, size_t q_stride,
                              size_t n_tokens, uint8_t *panel, int32_t *sums)
{
    if (n_tiles == 2)
        gemm(tiles, 2, n_blocks, q, q_stride, n_tokens, panel, sums);
    else
        gemm(tiles, 1, n_blocks, q, q_stride, n_tokens, panel, sums);
}
