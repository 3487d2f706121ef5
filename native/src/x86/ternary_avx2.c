/* ternary_avx2.c: ternary matrix times int8 activations with AVX2.
 *
 * Leans on VPMADDUBSW (32 products uint8 x int8, added in pairs to int16; latency 3-5, two a cycle on Zen 2 and later,
 * ports 0 and 1 on Intel), VPMADDWD by ones (pairs of int16 to int32) and VPBROADCASTD of four activations from memory.
 * In t2 and the panel a register holds 8 rows, 4 products each, in c2 16 rows, 2 products each, and in r2 32 cols of a
 * row. */
#include <immintrin.h>

#include "../kernels.h"
#include "registers.h"

/* BOUND: a lane of VPMADDUBSW is two products of code 0..2 and q -128..127: 508 at most, -512 at least; it never
 * saturates. One token reads fields 1 and 3 as codes 0, 4, 8, which saves their shift. In t2 and r2 a lane takes both
 * of them, 2 * 4 * 508, per block or group: 8 of these give 32512 and -32768. In c2 a lane takes one field, 4 * 508,
 * per two cols: 32 cols give the same. In the panel a lane takes 4 * 508 per block: 16 blocks give the same again. */
enum { HIGHEST = 2 * 2 * 127, LOWEST = 2 * 2 * -128, FOLD = 8, COLS = 32, PANEL_FOLD_BLOCKS = 16 };
_Static_assert(FOLD * 2 * 4 * HIGHEST <= INT16_MAX, "positive sums of t2 and r2 fit int16");
_Static_assert(FOLD * 2 * 4 * LOWEST >= INT16_MIN, "negative sums of t2 and r2 fit int16");
/* The two kinds of sums together, once those of fields 1 and 3 are divided by 4. */
_Static_assert(FOLD * 2 * 2 * LOWEST >= INT16_MIN, "the sum over all fields of t2 and r2 fits int16");
_Static_assert(COLS / 2 * 4 * HIGHEST <= INT16_MAX, "positive sums of c2 fit int16");
_Static_assert(COLS / 2 * 4 * LOWEST >= INT16_MIN, "negative sums of c2 fit int16");
_Static_assert(PANEL_FOLD_BLOCKS * 4 * HIGHEST <= INT16_MAX, "positive sums of the panel fit int16");
_Static_assert(PANEL_FOLD_BLOCKS * 4 * LOWEST >= INT16_MIN, "negative sums of the panel fit int16");

/* Memory answers late: ask for the weights this far ahead. Reading past the end of the matrix is only a hint. */
enum { PREFETCH_BYTES = 6144 };

enum { HALVES = 2, HALF_ROWS = 8, HALF_BYTES = 32, GROUP_BYTES = 64, TOKENS = 4 };

#define LOAD(p) _mm256_load_si256((const __m256i *)(p))
#define FOUR(q) _mm256_set1_epi32(bn_four(q))

/* ---- One token ---- */

/* acc + codes * q in 16 lanes of 16 bits. The sum is an asm line because gcc 12 regroups sums of several products, and
 * spills what it then cannot hold. */
ALWAYS_INLINE __m256i add_products(__m256i acc, __m256i codes, __m256i q)
{
    __m256i products = _mm256_maddubs_epi16(codes, q);
    __asm__("vpaddw %1, %0, %0" : "+x"(acc) : "x"(products));
    return acc;
}

/* 16-bit sums of a register of weights: fields 0 and 2, and four times fields 1 and 3. */
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

/* 32-bit sums of pairs of lanes, all fields together. */
ALWAYS_INLINE __m256i fold(half_sums acc)
{
    __m256i all = _mm256_add_epi16(acc.even, _mm256_srai_epi16(acc.odd, 2));
    return _mm256_madd_epi16(all, _mm256_set1_epi16(1));
}

/* sums[16] = one tile @ q */
ALWAYS_INLINE void tile_dot(const uint8_t *tile, size_t n_blocks, const int8_t *q, int32_t *sums)
{
    __m256i zero = _mm256_setzero_si256(), wide[HALVES] = {zero, zero};
    for (size_t first = 0; first < n_blocks; first += FOLD) {
        size_t n = n_blocks - first < FOLD ? n_blocks - first : FOLD;
        half_sums acc[HALVES] = {{zero, zero}, {zero, zero}};
        for (size_t block = 0; block < n; block++, tile += BN_BLOCK_BYTES, q += BN_BLOCK_COLS) {
            _mm_prefetch((const char *)tile + PREFETCH_BYTES, _MM_HINT_T0);
            __m256i four[4] = {FOUR(q), FOUR(q + 4), FOUR(q + 8), FOUR(q + 12)};
            add_half(&acc[0], LOAD(tile), four);
            add_half(&acc[1], LOAD(tile + HALF_BYTES), four);
        }
        UNROLL
        for (size_t h = 0; h < HALVES; h++)
            wide[h] = _mm256_add_epi32(wide[h], fold(acc[h]));
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

#define TILE_DOT tile_dot
#include "slab_x86.h"

void bn_gemv_g2_i8__avx2(const uint8_t *slab, size_t n_groups, size_t group_blocks, int halves, const int8_t *q,
                         const int32_t *q_sums, float *acc)
{
    bn_gemv_slab(slab, n_groups, group_blocks, halves, q, q_sums, acc);
}

/* A row of r2 is read from end to end, then the next one: many lines at once are on their way to the L2 cache only.
 * From there the row after the next is asked for. */
enum { ROWS_FAR = 16, ROWS_NEAR = 2 };
_Static_assert((int)ROWS_FAR <= (int)BN_AHEAD && (int)COLS <= (int)BN_AHEAD, "the index goes that far");

/* One row @ q; asks for the rows `near` and `far`. */
ALWAYS_INLINE __m256i row_dot(const uint8_t *row, const uint8_t *near, const uint8_t *far, size_t n_groups,
                              const int8_t *q)
{
    __m256i zero = _mm256_setzero_si256(), wide = zero;
    for (size_t first = 0; first < n_groups; first += FOLD) {
        size_t end = n_groups - first < FOLD ? n_groups : first + FOLD;
        half_sums acc[HALVES] = {{zero, zero}, {zero, zero}};
        for (size_t group = first; group < end; group++, q += BN_GROUP_COLS) {
            _mm_prefetch((const char *)far + group * 64, _MM_HINT_T1);
            _mm_prefetch((const char *)near + group * 64, _MM_HINT_T0);
            UNROLL
            for (size_t h = 0; h < HALVES; h++) {
                const int8_t *at = q + HALF_BYTES * h;
                __m256i values[4] = {LOAD(at), LOAD(at + 64), LOAD(at + 128), LOAD(at + 192)};
                add_half(&acc[h], LOAD(row + group * 64 + HALF_BYTES * h), values);
            }
        }
        wide = _mm256_add_epi32(wide, _mm256_add_epi32(fold(acc[0]), fold(acc[1])));
    }
    return wide;
}

void bn_gemv_r2_i8__avx2(const uint8_t *rows, size_t n_groups, const uint32_t *index, size_t n, const int8_t *q,
                         int32_t *sums)
{
    for (size_t i = 0; i < n; i++) {
        const uint8_t *row = rows + index[i] * n_groups * 64;
        const uint8_t *near = rows + index[i + ROWS_NEAR] * n_groups * 64;
        const uint8_t *far = rows + index[i + ROWS_FAR] * n_groups * 64;
        __m256i wide = row_dot(row, near, far, n_groups, q);
        __m128i four = _mm_add_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1));
        __m128i two = _mm_add_epi32(four, _mm_unpackhi_epi64(four, four));
        sums[i] = _mm_cvtsi128_si32(_mm_hadd_epi32(two, two));
    }
}

/* COLS cols of c2 pass together through all strips, while the next ones are on their way to the L2 cache.
 * Two cols interleaved byte by byte fill the lanes of 16 rows: rows 64*f + 32*i + 8*h.. of half h of a strip are the
 * low halves of the 128-bit lanes of acc[i][f], rows 16 further their high halves. Fields 1 and 3 are times four. */

/* acc[f] += field f of two cols in 16 rows */
ALWAYS_INLINE void add_pair(__m256i acc[4], __m256i w, __m256i q)
{
    __m256i low = _mm256_set1_epi8(0x03), high = _mm256_set1_epi8(0x0c), shifted = _mm256_srli_epi16(w, 4);
    acc[0] = add_products(acc[0], _mm256_and_si256(w, low), q);
    acc[1] = add_products(acc[1], _mm256_and_si256(w, high), q);
    acc[2] = add_products(acc[2], _mm256_and_si256(shifted, low), q);
    acc[3] = add_products(acc[3], _mm256_and_si256(shifted, high), q);
}

ALWAYS_INLINE void add_to(int32_t *sums, __m256i more)
{
    _mm256_storeu_si256((__m256i *)sums, _mm256_add_epi32(more, _mm256_loadu_si256((const __m256i *)sums)));
}

/* sums[256] += half h of a strip of n_pairs pairs of cols @ pairs; asks for the next strip of every other col, and for
 * this one of those `ahead`. */
ALWAYS_INLINE void add_half_strip(const uint8_t *const col[COLS], const uint8_t *const ahead[COLS], size_t at, size_t h,
                                  size_t n_pairs, const int32_t *pairs, int32_t *sums)
{
    __m256i acc[2][4];
    UNROLL
    for (size_t f = 0; f < 4; f++)
        acc[0][f] = acc[1][f] = _mm256_setzero_si256();
    for (size_t i = 0; i < n_pairs; i++) {
        __m256i a = LOAD(col[2 * i] + at + HALF_BYTES * h), b = LOAD(col[2 * i + 1] + at + HALF_BYTES * h);
        __m256i q = _mm256_set1_epi32(pairs[i]);
        _mm_prefetch((const char *)ahead[2 * i + h] + at, _MM_HINT_T1);
        _mm_prefetch((const char *)col[2 * i + h] + at + 64, _MM_HINT_T0);
        add_pair(acc[0], _mm256_unpacklo_epi8(a, b), q);
        add_pair(acc[1], _mm256_unpackhi_epi8(a, b), q);
    }
    UNROLL
    for (size_t f = 0; f < 4; f++)
        UNROLL
        for (size_t i = 0; i < 2; i++) {        /* int16 to int32, and fields 1 and 3 to their size */
            __m256i low = _mm256_unpacklo_epi16(acc[i][f], acc[i][f]);
            __m256i high = _mm256_unpackhi_epi16(acc[i][f], acc[i][f]);
            int32_t *out = sums + 64 * f + 32 * i + HALF_ROWS * h;
            add_to(out, _mm256_srai_epi32(low, 16 + 2 * (f % 2)));
            add_to(out + 16, _mm256_srai_epi32(high, 16 + 2 * (f % 2)));
        }
}

void bn_gemv_c2_i8__avx2(const uint8_t *cols, size_t n_strips, const uint32_t *index, const int8_t *q, size_t n,
                         int32_t *sums)
{
    for (size_t first = 0; first < n; first += COLS) {
        size_t n_here = n - first < COLS ? n - first : COLS;
        const uint8_t *col[COLS], *ahead[COLS];
        int8_t values[COLS] = {0};
        int32_t pairs[COLS / 2];
        memcpy(values, q + first, n_here);
        for (size_t i = 0; i < n_here; i++) {
            col[i] = cols + index[first + i] * n_strips * 64;
            ahead[i] = cols + index[first + n_here + i] * n_strips * 64;
        }
        if (n_here % 2)                         /* a missing one: the last col times zero */
            col[n_here] = ahead[n_here] = col[n_here - 1];
        for (size_t i = 0; i < n_here; i += 2) {        /* a pair of activations, twice */
            uint32_t even = (uint8_t)values[i], odd = (uint8_t)values[i + 1];
            pairs[i / 2] = (int32_t)((even | odd << 8) * 0x10001);
        }
        for (size_t strip = 0; strip < n_strips; strip++) {
            int32_t *out = sums + strip * BN_STRIP_ROWS;
            add_half_strip(col, ahead, strip * 64, 0, (n_here + 1) / 2, pairs, out);
            add_half_strip(col, ahead, strip * 64, 1, (n_here + 1) / 2, pairs, out);
        }
    }
}

/* ---- Several tokens ---- */

ALWAYS_INLINE __m256i field_of(__m256i w, size_t f)
{
    return _mm256_and_si256(_mm256_srli_epi16(w, 2 * (int)f), _mm256_set1_epi8(3));
}

ALWAYS_INLINE void store(uint8_t *out, __m256i codes)
{
    _mm256_store_si256((__m256i *)out, codes);
}

void bn_unpack_t2__avx2(const uint8_t *weights, size_t stride, size_t tile, size_t n_tiles, size_t first,
                        size_t n_blocks, uint8_t *panel)
{
    size_t step = n_tiles * GROUP_BYTES;
    for (size_t i = 0; i < n_tiles; i++) {
        const uint8_t *blocks = weights + (tile + i) * stride + first * BN_BLOCK_BYTES;
        uint8_t *out = panel + i * GROUP_BYTES;
        for (size_t block = 0; block < n_blocks; block++, out += 4 * step) {
            UNROLL
            for (size_t h = 0; h < HALVES; h++) {
                __m256i w = LOAD(blocks + block * BN_BLOCK_BYTES + HALF_BYTES * h);
                UNROLL
                for (size_t f = 0; f < 4; f++)
                    store(out + f * step + HALF_BYTES * h, field_of(w, f));
            }
        }
    }
}

/* row[i], 8 dwords each, become col[i]. */
ALWAYS_INLINE void transpose(__m256i row[8])
{
    __m256i a[8], b[8];
    UNROLL
    for (size_t i = 0; i < 8; i += 2) {
        a[i] = _mm256_unpacklo_epi32(row[i], row[i + 1]);
        a[i + 1] = _mm256_unpackhi_epi32(row[i], row[i + 1]);
    }
    UNROLL
    for (size_t i = 0; i < 8; i += 4) {         /* b[i + d]: dwords 4*lane + d of rows i..i+3 */
        b[i] = _mm256_unpacklo_epi64(a[i], a[i + 2]);
        b[i + 1] = _mm256_unpackhi_epi64(a[i], a[i + 2]);
        b[i + 2] = _mm256_unpacklo_epi64(a[i + 1], a[i + 3]);
        b[i + 3] = _mm256_unpackhi_epi64(a[i + 1], a[i + 3]);
    }
    UNROLL
    for (size_t d = 0; d < 4; d++) {
        row[d] = _mm256_permute2x128_si256(b[d], b[4 + d], 0x20);
        row[4 + d] = _mm256_permute2x128_si256(b[d], b[4 + d], 0x31);
    }
}

void bn_unpack_r2__avx2(const uint8_t *weights, size_t stride, size_t tile, size_t n_tiles, size_t first,
                        size_t n_blocks, uint8_t *panel)
{
    size_t step = n_tiles * GROUP_BYTES, end = 4 * n_blocks;            /* groups of four cols */
    for (size_t half = 0; half < HALVES * n_tiles; half++)              /* 8 rows x 32 bytes at a time */
        for (size_t at = 0; at < (end + 63) / 64 * 64; at += HALF_BYTES) {
            const uint8_t *from = weights + (tile * BN_TILE_ROWS + half * HALF_ROWS) * stride + 4 * first + at;
            size_t group = at / 64 * 64 + at % 64 / 4;                  /* that of byte `at`, field 0 */
            __m256i rows[8];
            UNROLL
            for (size_t r = 0; r < 8; r++)
                rows[r] = LOAD(from + r * stride);
            transpose(rows);
            UNROLL
            for (size_t f = 0; f < 4; f++)
                UNROLL
                for (size_t d = 0; d < 8; d++)
                    if (group + 16 * f + d < end)
                        store(panel + (group + 16 * f + d) * step + half * HALF_BYTES, field_of(rows[d], f));
        }
}

/* Tile m of the four that share field f of a strip; m is a constant where this is inlined. */
ALWAYS_INLINE void unpack_cols(const uint8_t *col, size_t stride, size_t n_groups, size_t m, size_t f, size_t step,
                               uint8_t *out)
{
    __m128i shift = _mm_cvtsi64_si128((int64_t)(2 * f));
    for (size_t group = 0; group < n_groups; group++, col += 4 * stride, out += step) {
        UNROLL
        for (size_t c = 0; c < 4; c++)
            _mm_prefetch((const char *)col + (16 + c) * stride, _MM_HINT_T0);
        UNROLL
        for (size_t h = 0; h < HALVES; h++) {
            __m256i c[4], ab, cd;
            UNROLL
            for (size_t i = 0; i < 4; i++)
                c[i] = LOAD(col + i * stride + HALF_BYTES * h);
            ab = m < 2 ? _mm256_unpacklo_epi8(c[0], c[1]) : _mm256_unpackhi_epi8(c[0], c[1]);
            cd = m < 2 ? _mm256_unpacklo_epi8(c[2], c[3]) : _mm256_unpackhi_epi8(c[2], c[3]);
            __m256i mixed = m % 2 ? _mm256_unpackhi_epi16(ab, cd) : _mm256_unpacklo_epi16(ab, cd);
            store(out + HALF_BYTES * h, field_of(_mm256_srl_epi16(mixed, shift), 0));
        }
    }
}

void bn_unpack_c2__avx2(const uint8_t *weights, size_t stride, size_t tile, size_t n_tiles, size_t first,
                        size_t n_blocks, uint8_t *panel)
{
    size_t step = n_tiles * GROUP_BYTES;
    for (size_t i = 0; i < n_tiles; i++) {
        const uint8_t *col = weights + first * BN_BLOCK_COLS * stride + (tile + i) / 16 * 64;
        uint8_t *out = panel + i * GROUP_BYTES;
        size_t f = (tile + i) % 16 / 4;
        switch ((tile + i) % 4) {
        case 0: unpack_cols(col, stride, 4 * n_blocks, 0, f, step, out); break;
        case 1: unpack_cols(col, stride, 4 * n_blocks, 1, f, step, out); break;
        case 2: unpack_cols(col, stride, 4 * n_blocks, 2, f, step, out); break;
        case 3: unpack_cols(col, stride, 4 * n_blocks, 3, f, step, out); break;
        }
    }
}

/* sums[t][16] (+)= at most PANEL_FOLD_BLOCKS blocks of one tile @ q[t] for exactly n_tokens <= TOKENS, which is a
 * constant where this is inlined: 8 accumulators, 2 registers of codes and 1 of activations at most. The groups of the
 * tile lie `step` bytes apart, the sums of the tokens sums_stride numbers. */
ALWAYS_INLINE void panel_dot(const uint8_t *panel, size_t step, size_t n_blocks, const int8_t *q, size_t q_stride,
                             size_t n_tokens, int add, int32_t *sums, size_t sums_stride)
{
    __m256i acc[TOKENS][HALVES], ones = _mm256_set1_epi16(1);
    UNROLL
    for (size_t t = 0; t < n_tokens; t++)
        acc[t][0] = acc[t][1] = _mm256_setzero_si256();
    for (size_t block = 0; block < n_blocks; block++, q += BN_BLOCK_COLS) {
        /* A line holds the activations of 4 blocks: in each of them, ask for one of the tokens that come next. */
        _mm_prefetch((const char *)q + (n_tokens + block % TOKENS) * q_stride, _MM_HINT_T0);
        UNROLL
        for (size_t f = 0; f < 4; f++, panel += step) {
            __m256i low = LOAD(panel), high = LOAD(panel + HALF_BYTES);
            UNROLL
            for (size_t t = 0; t < n_tokens; t++) {
                __m256i four = FOUR(q + t * q_stride + 4 * f);
                acc[t][0] = add_products(acc[t][0], low, four);
                acc[t][1] = add_products(acc[t][1], high, four);
            }
        }
    }
    UNROLL
    for (size_t t = 0; t < n_tokens; t++)
        UNROLL
        for (size_t h = 0; h < HALVES; h++) {
            __m256i *out = (__m256i *)(sums + t * sums_stride + HALF_ROWS * h);
            __m256i sum = _mm256_madd_epi16(acc[t][h], ones);
            _mm256_storeu_si256(out, add ? _mm256_add_epi32(sum, _mm256_loadu_si256(out)) : sum);
        }
}

/* panel_dot with the number of tokens as a constant. */
static void panel_dot_any(const uint8_t *panel, size_t step, size_t n_blocks, const int8_t *q, size_t q_stride,
                          size_t n_tokens, int add, int32_t *sums, size_t sums_stride)
{
    switch (n_tokens) {
    case 1: panel_dot(panel, step, n_blocks, q, q_stride, 1, add, sums, sums_stride); break;
    case 2: panel_dot(panel, step, n_blocks, q, q_stride, 2, add, sums, sums_stride); break;
    case 3: panel_dot(panel, step, n_blocks, q, q_stride, 3, add, sums, sums_stride); break;
    default: panel_dot(panel, step, n_blocks, q, q_stride, TOKENS, add, sums, sums_stride);
    }
}

/* Goes through the panel in runs of PANEL_FOLD_BLOCKS, whose sums fit int16. */
void bn_gemm_panel_i8__avx2(const uint8_t *panel, size_t n_tiles, size_t n_blocks, const int8_t *q, size_t q_stride,
                            size_t n_tokens, int add, int32_t *sums)
{
    size_t step = n_tiles * GROUP_BYTES, first = 0;
    do {
        size_t n = n_blocks - first < PANEL_FOLD_BLOCKS ? n_blocks - first : PANEL_FOLD_BLOCKS;
        for (size_t t = 0; t < n_tokens; t += TOKENS)
            for (size_t i = 0; i < n_tiles; i++)
                panel_dot_any(panel + 4 * first * step + i * GROUP_BYTES, step, n,
                              q + t * q_stride + first * BN_BLOCK_COLS, q_stride, n_tokens - t, add || first > 0,
                              sums + (t * n_tiles + i) * BN_TILE_ROWS, n_tiles * BN_TILE_ROWS);
        first += n;
    } while (first < n_blocks);
}
