/* ternary_avx512icl.c: ternary matrix times int8 activations with AVX-512 VNNI.
 *
 * Leans on VPDPBUSD zmm (64 products uint8 x int8, four of them added to each int32 lane; latency 4, one a cycle on
 * Zen 4, ports 0 and 5 on Ice Lake server) and on broadcasts of four activations from memory: embedded in VPDPBUSD in
 * gemv, as VPBROADCASTD shared by two tiles in gemm. The 16 rows of a tile are the 16 lanes of a register: no
 * horizontal sums, but for r2, whose rows lie along the register. */
#include <immintrin.h>

#include "../kernels.h"
#include "registers.h"

/* ---- One token ----
 *
 * gemv leaves the fields where they are in the byte, as codes 0..2 times 1, 4, 16, 64, each with an accumulator of its
 * own that is shifted down at the end: 64 bytes of weights take 4 VPAND and 4 VPDPBUSD.
 * BOUND: field 3 is at most 128, so a lane takes at least 4 * 128 * -128 = -2^16 per block: 2^15 blocks give -2^31.
 * Fold every 2^14. */
enum { FOLD_BLOCKS = 1 << 14 };
_Static_assert((int64_t)FOLD_BLOCKS * 4 * 128 * -128 >= INT32_MIN, "sums of field 3 fit int32");

/* Memory answers late: ask for the weights this far ahead. Reading past the end of the matrix is only a hint. */
enum { PREFETCH_BYTES = 6144 };

enum { PANEL_BLOCK_BYTES = 256, PANEL_GROUP_BYTES = 64, TOKENS = 12, SLAB_TILES = BN_SLAB_ROWS / BN_TILE_ROWS };

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

/* The sum of the fields' accumulators, each shifted down by what its codes were too large. */
ALWAYS_INLINE __m512i sum_of_fields(const __m512i acc[4])
{
    __m512i low = _mm512_add_epi32(acc[0], _mm512_srai_epi32(acc[1], 2));
    __m512i high = _mm512_add_epi32(_mm512_srai_epi32(acc[2], 4), _mm512_srai_epi32(acc[3], 6));
    return _mm512_add_epi32(low, high);
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
    return sum_of_fields(acc);
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

/* The 16 floats that a tile of g2 adds, its sums being those of codes. */
ALWAYS_INLINE __m512 scaled(__m512i sums, __m512i q_sum, const uint8_t *scales, int halves)
{
    __m512 scale = halves ? _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)scales)) : _mm512_loadu_ps(scales);
    return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_sub_epi32(sums, q_sum)), scale);
}

/* group_blocks is a constant where this is inlined: short loops whose length is known. */
ALWAYS_INLINE void slab_dot(const uint8_t *slab, size_t n_groups, size_t group_blocks, int halves, const int8_t *q,
                            const int32_t *q_sums, float *acc)
{
    const size_t tile_bytes = group_blocks * BN_BLOCK_BYTES, scale_bytes = BN_TILE_ROWS * (halves ? 2 : 4);
    __m512 sum[SLAB_TILES];
    UNROLL
    for (size_t i = 0; i < SLAB_TILES; i++)
        sum[i] = _mm512_setzero_ps();
    for (size_t g = 0; g < n_groups; g++, q += group_blocks * BN_BLOCK_COLS) {
        const uint8_t *scales = slab + SLAB_TILES * tile_bytes;
        __m512i q_sum = _mm512_set1_epi32(q_sums[g]);
        UNROLL
        for (size_t i = 0; i < SLAB_TILES; i++)
            sum[i] = _mm512_add_ps(sum[i], scaled(tile_dot(slab + i * tile_bytes, group_blocks, q), q_sum,
                                                  scales + i * scale_bytes, halves));
        slab = scales + SLAB_TILES * scale_bytes;
    }
    UNROLL
    for (size_t i = 0; i < SLAB_TILES; i++)
        _mm512_storeu_ps(acc + i * BN_TILE_ROWS, sum[i]);
}

void bn_gemv_g2_i8__avx512icl(const uint8_t *slab, size_t n_groups, size_t group_blocks, int halves, const int8_t *q,
                              const int32_t *q_sums, float *acc)
{
    switch (group_blocks) {
    case 4: slab_dot(slab, n_groups, 4, halves, q, q_sums, acc); break;
    case 8: slab_dot(slab, n_groups, 8, halves, q, q_sums, acc); break;
    default: slab_dot(slab, n_groups, 16, halves, q, q_sums, acc);
    }
}

/* A row of r2 is read from end to end, then the next one: many lines at once are on their way to the L2 cache only. From
 * there the row after the next is asked for.
 * BOUND: as above, a lane of field 3 takes at least -2^16 per group, and there are at most 2^14 groups. */
enum { ROWS = 4, ROWS_FAR = 16, ROWS_NEAR = 2 };
_Static_assert((int)ROWS_FAR <= (int)BN_AHEAD && (int)ROWS_NEAR <= (int)BN_AHEAD, "the index goes that far");

/* The sums of the lanes of four registers. */
ALWAYS_INLINE __m128i four_sums(const __m512i row[ROWS])
{
    __m512i a = _mm512_add_epi32(_mm512_unpacklo_epi32(row[0], row[1]), _mm512_unpackhi_epi32(row[0], row[1]));
    __m512i b = _mm512_add_epi32(_mm512_unpacklo_epi32(row[2], row[3]), _mm512_unpackhi_epi32(row[2], row[3]));
    __m512i c = _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
    __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(c), _mm512_extracti64x4_epi64(c, 1));
    return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

/* The lanes of row index[0] @ q. */
ALWAYS_INLINE __m512i row_dot(const uint8_t *rows, size_t n_groups, const uint32_t *index, const int8_t *q)
{
    const uint8_t *row = rows + index[0] * n_groups * 64, *far = rows + index[ROWS_FAR] * n_groups * 64;
    const uint8_t *near = rows + index[ROWS_NEAR] * n_groups * 64;
    __m512i acc[4];
    UNROLL
    for (size_t f = 0; f < 4; f++)
        acc[f] = _mm512_setzero_si512();
    for (size_t group = 0; group < n_groups; group++) {
        __m512i w = _mm512_load_si512(row + group * 64);
        _mm_prefetch((const char *)far + group * 64, _MM_HINT_T1);
        _mm_prefetch((const char *)near + group * 64, _MM_HINT_T0);
        UNROLL
        for (size_t f = 0; f < 4; f++)
            acc[f] = dot(acc[f], _mm512_and_si512(w, _mm512_set1_epi8((char)(3 << (2 * f)))),
                         _mm512_load_si512(q + group * BN_GROUP_COLS + 64 * f));
    }
    return sum_of_fields(acc);
}

void bn_gemv_r2_i8__avx512icl(const uint8_t *rows, size_t n_groups, const uint32_t *index, size_t n, const int8_t *q,
                              int32_t *sums)
{
    for (size_t i = 0; i < n; i += ROWS) {
        size_t n_here = n - i < ROWS ? n - i : ROWS;
        __m512i sum[ROWS] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(),
                             _mm512_setzero_si512()};
        UNROLL
        for (size_t r = 0; r < ROWS; r++)
            if (r < n_here)
                sum[r] = row_dot(rows, n_groups, index + i + r, q);
        _mm_mask_storeu_epi32(sums + i, (__mmask8)((1u << n_here) - 1), four_sums(sum));
    }
}

/* Cols of c2 that pass together through all strips, while the next ones are on their way to the L2 cache.
 * BOUND: a lane of field 3 takes at least -2^16 per four cols. */
enum { COLS = 64 };
_Static_assert((int)COLS <= (int)BN_AHEAD, "the index goes that far");

/* Interleaves four vectors byte by byte: lane 4*l + j of out[m] holds byte 16*l + 4*m + j of each of them. */
ALWAYS_INLINE void interleave(const __m512i col[4], __m512i out[4])
{
    __m512i low01 = _mm512_unpacklo_epi8(col[0], col[1]), high01 = _mm512_unpackhi_epi8(col[0], col[1]);
    __m512i low23 = _mm512_unpacklo_epi8(col[2], col[3]), high23 = _mm512_unpackhi_epi8(col[2], col[3]);
    out[0] = _mm512_unpacklo_epi16(low01, low23);
    out[1] = _mm512_unpackhi_epi16(low01, low23);
    out[2] = _mm512_unpacklo_epi16(high01, high23);
    out[3] = _mm512_unpackhi_epi16(high01, high23);
}

/* sums[256] += one strip of n cols @ q, n a multiple of 4; asks for the next strip, and for this one of the cols `ahead`. */
static void add_strip(const uint8_t *const col[COLS], const uint8_t *const ahead[COLS], size_t at, size_t n,
                      const int8_t *q, int32_t *sums)
{
    __m512i acc[4][4];
    UNROLL
    for (size_t m = 0; m < 4; m++)
        UNROLL
        for (size_t f = 0; f < 4; f++)
            acc[m][f] = _mm512_setzero_si512();
    for (size_t i = 0; i < n; i += 4) {
        __m512i bytes[4], four = _mm512_set1_epi32(bn_four(q + i)), mixed[4];
        UNROLL
        for (size_t c = 0; c < 4; c++) {
            bytes[c] = _mm512_load_si512(col[i + c] + at);
            _mm_prefetch((const char *)ahead[i + c] + at, _MM_HINT_T1);
            _mm_prefetch((const char *)col[i + c] + at + 64, _MM_HINT_T0);
        }
        interleave(bytes, mixed);
        UNROLL
        for (size_t m = 0; m < 4; m++)
            UNROLL
            for (size_t f = 0; f < 4; f++)
                acc[m][f] = dot(acc[m][f], _mm512_and_si512(mixed[m], _mm512_set1_epi8((char)(3 << (2 * f)))), four);
    }
    UNROLL
    for (size_t f = 0; f < 4; f++)
        UNROLL
        for (size_t m = 0; m < 4; m++) {
            int32_t *out = sums + 64 * f + BN_TILE_ROWS * m;
            __m512i sum = _mm512_srai_epi32(acc[m][f], 2 * (unsigned)f);
            _mm512_storeu_si512(out, _mm512_add_epi32(_mm512_loadu_si512(out), sum));
        }
}

void bn_gemv_c2_i8__avx512icl(const uint8_t *cols, size_t n_strips, const uint32_t *index, const int8_t *q, size_t n,
                              int32_t *sums)
{
    for (size_t first = 0; first < n; first += COLS) {
        size_t n_here = n - first < COLS ? n - first : COLS;
        const uint8_t *col[COLS], *ahead[COLS];
        int8_t values[COLS] = {0};
        memcpy(values, q + first, n_here);
        for (size_t i = 0; i < n_here; i++) {
            col[i] = cols + index[first + i] * n_strips * 64;
            ahead[i] = cols + index[first + n_here + i] * n_strips * 64;
        }
        for (size_t i = n_here; i < (n_here + 3) / 4 * 4; i++)      /* missing ones: the last col times zero */
            col[i] = ahead[i] = col[n_here - 1];
        for (size_t strip = 0; strip < n_strips; strip++)
            add_strip(col, ahead, strip * 64, (n_here + 3) / 4 * 4, values, sums + strip * BN_STRIP_ROWS);
    }
}

/* ---- Several tokens: panel[block][field][n_tiles][16 rows][4] ---- */

ALWAYS_INLINE __m512i field_of(__m512i w, size_t f)
{
    return _mm512_and_si512(_mm512_srli_epi16(w, 2 * (unsigned)f), _mm512_set1_epi8(3));
}

void bn_unpack_t2__avx512icl(const uint8_t *weights, size_t stride, size_t tile, size_t n_tiles, size_t first,
                             size_t n_blocks, uint8_t *panel)
{
    size_t step = n_tiles * PANEL_GROUP_BYTES;
    for (size_t i = 0; i < n_tiles; i++) {
        const uint8_t *blocks = weights + (tile + i) * stride + first * BN_BLOCK_BYTES;
        uint8_t *out = panel + i * PANEL_GROUP_BYTES;
        for (size_t block = 0; block < n_blocks; block++, out += 4 * step) {
            __m512i w = _mm512_load_si512(blocks + block * BN_BLOCK_BYTES);
            UNROLL
            for (size_t f = 0; f < 4; f++)
                _mm512_store_si512(out + f * step, field_of(w, f));
        }
    }
}

/* row[i], 16 dwords each, become col[i]. */
ALWAYS_INLINE void transpose(__m512i row[16])
{
    __m512i a[16], b[16];
    UNROLL
    for (size_t i = 0; i < 16; i += 2) {
        a[i] = _mm512_unpacklo_epi32(row[i], row[i + 1]);
        a[i + 1] = _mm512_unpackhi_epi32(row[i], row[i + 1]);
    }
    UNROLL
    for (size_t i = 0; i < 16; i += 4) {        /* b[i + d]: dwords 4*lane + d of rows i..i+3 */
        b[i] = _mm512_unpacklo_epi64(a[i], a[i + 2]);
        b[i + 1] = _mm512_unpackhi_epi64(a[i], a[i + 2]);
        b[i + 2] = _mm512_unpacklo_epi64(a[i + 1], a[i + 3]);
        b[i + 3] = _mm512_unpackhi_epi64(a[i + 1], a[i + 3]);
    }
    UNROLL
    for (size_t d = 0; d < 4; d++) {
        __m512i low01 = _mm512_shuffle_i32x4(b[d], b[4 + d], 0x44), high01 = _mm512_shuffle_i32x4(b[d], b[4 + d], 0xee);
        __m512i low23 = _mm512_shuffle_i32x4(b[8 + d], b[12 + d], 0x44);
        __m512i high23 = _mm512_shuffle_i32x4(b[8 + d], b[12 + d], 0xee);
        row[d] = _mm512_shuffle_i32x4(low01, low23, 0x88);
        row[4 + d] = _mm512_shuffle_i32x4(low01, low23, 0xdd);
        row[8 + d] = _mm512_shuffle_i32x4(high01, high23, 0x88);
        row[12 + d] = _mm512_shuffle_i32x4(high01, high23, 0xdd);
    }
}

void bn_unpack_r2__avx512icl(const uint8_t *weights, size_t stride, size_t tile, size_t n_tiles, size_t first,
                             size_t n_blocks, uint8_t *panel)
{
    size_t step = n_tiles * PANEL_GROUP_BYTES, end = 4 * n_blocks;
    for (size_t i = 0; i < n_tiles; i++)
        for (size_t at = 0; at < end; at += BN_GROUP_COLS / 4) {        /* groups of four cols */
            const uint8_t *from = weights + (tile + i) * BN_TILE_ROWS * stride + (4 * first + at) / 64 * 64;
            __m512i rows[16];
            UNROLL
            for (size_t r = 0; r < 16; r++)
                rows[r] = _mm512_load_si512(from + r * stride);
            transpose(rows);
            UNROLL
            for (size_t f = 0; f < 4; f++)
                UNROLL
                for (size_t d = 0; d < 16; d++)
                    if (at + 16 * f + d < end)
                        _mm512_store_si512(panel + (at + 16 * f + d) * step + i * PANEL_GROUP_BYTES,
                                           field_of(rows[d], f));
        }
}

/* Tile m of the four that share field f of a strip; m is a constant where this is inlined. */
ALWAYS_INLINE void unpack_cols(const uint8_t *col, size_t stride, size_t n_groups, size_t m, size_t f, size_t step,
                               uint8_t *out)
{
    __m128i shift = _mm_cvtsi64_si128((int64_t)(2 * f));
    for (size_t group = 0; group < n_groups; group++, col += 4 * stride, out += step) {
        __m512i bytes[4], mixed[4];
        UNROLL
        for (size_t c = 0; c < 4; c++) {
            bytes[c] = _mm512_load_si512(col + c * stride);
            _mm_prefetch((const char *)col + (16 + c) * stride, _MM_HINT_T0);
        }
        interleave(bytes, mixed);
        _mm512_store_si512(out, _mm512_and_si512(_mm512_srl_epi16(mixed[m], shift), _mm512_set1_epi8(3)));
    }
}

void bn_unpack_c2__avx512icl(const uint8_t *weights, size_t stride, size_t tile, size_t n_tiles, size_t first,
                             size_t n_blocks, uint8_t *panel)
{
    size_t step = n_tiles * PANEL_GROUP_BYTES;
    for (size_t i = 0; i < n_tiles; i++) {
        const uint8_t *col = weights + first * BN_BLOCK_COLS * stride + (tile + i) / 16 * 64;
        uint8_t *out = panel + i * PANEL_GROUP_BYTES;
        size_t f = (tile + i) % 16 / 4;
        switch ((tile + i) % 4) {
        case 0: unpack_cols(col, stride, 4 * n_blocks, 0, f, step, out); break;
        case 1: unpack_cols(col, stride, 4 * n_blocks, 1, f, step, out); break;
        case 2: unpack_cols(col, stride, 4 * n_blocks, 2, f, step, out); break;
        case 3: unpack_cols(col, stride, 4 * n_blocks, 3, f, step, out); break;
        }
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
ALWAYS_INLINE void gemm(const uint8_t *panel, size_t n_tiles, size_t n_blocks, const int8_t *q, size_t q_stride,
                        size_t n_tokens, int add, int32_t *sums)
{
    size_t n_groups = (n_tokens + TOKENS - 1) / TOKENS;
    for (size_t group = 0; group < n_groups; group++) {
        size_t t = group * n_tokens / n_groups, end = (group + 1) * n_tokens / n_groups;
        panel_dot_any(panel, n_tiles, n_blocks, q + t * q_stride, q_stride, end - t, add,
                      sums + t * n_tiles * BN_TILE_ROWS);
    }
}

void bn_gemm_panel_i8__avx512icl(const uint8_t *panel, size_t n_tiles, size_t n_blocks, const int8_t *q, size_t q_stride,
                                 size_t n_tokens, int add, int32_t *sums)
{
    if (n_tiles == 2)
        gemm(panel, 2, n_blocks, q, q_stride, n_tokens, add, sums);
    else
        gemm(panel, 1, n_blocks, q, q_stride, n_tokens, add, sums);
}
