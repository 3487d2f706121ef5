/* ternary_avxvnni.c: ternary matrix times int8 activations with AVX-VNNI.
 *
 * Leans on VPDPBUSD ymm (32 products uint8 x int8, four of them added to each int32 lane; latency 5, two a cycle on
 * Alder Lake's performance cores, ports 0 and 1) and VPBROADCASTD of four activations from memory. A register holds 8
 * rows: no horizontal sums, but for r2, whose rows lie along the register. The unpack kernels are AVX2's.
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
__typeof__(*((bn_kernels *)0)->gemv_g2_i8) FN(gemv_g2_i8);
__typeof__(*((bn_kernels *)0)->gemv_r2_i8) FN(gemv_r2_i8);
__typeof__(*((bn_kernels *)0)->gemv_c2_i8) FN(gemv_c2_i8);
__typeof__(*((bn_kernels *)0)->gemm_panel_i8) FN(gemm_panel_i8);

/* ---- One token ----
 *
 * gemv leaves the fields where they are in the byte, as codes 0..2 times 1, 4, 16, 64, each with an accumulator of its
 * own that is shifted down at the end.
 * BOUND: field 3 is at most 128, so a lane takes at least 4 * 128 * -128 = -2^16 per block: 2^15 blocks give -2^31.
 * Fold every 2^14. */
enum { FOLD_BLOCKS = 1 << 14 };
_Static_assert((int64_t)FOLD_BLOCKS * 4 * 128 * -128 >= INT32_MIN, "sums of field 3 fit int32");

/* Memory answers late: ask for the weights this far ahead. Reading past the end of the matrix is only a hint. */
enum { PREFETCH_BYTES = 6144 };

enum { HALVES = 2, HALF_ROWS = 8, HALF_BYTES = 32, GROUP_BYTES = 64, TOKENS = 6 };

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

/* The sum of the fields' accumulators, each shifted down by what its codes were too large. */
ALWAYS_INLINE __m256i sum_of_fields(const __m256i acc[4])
{
    __m256i low = _mm256_add_epi32(acc[0], _mm256_srai_epi32(acc[1], 2));
    __m256i high = _mm256_add_epi32(_mm256_srai_epi32(acc[2], 4), _mm256_srai_epi32(acc[3], 6));
    return _mm256_add_epi32(low, high);
}

/* sums[16] (+)= at most FOLD_BLOCKS blocks of one tile @ q */
ALWAYS_INLINE void tile_dot(const uint8_t *tile, size_t n_blocks, const int8_t *q, int add, int32_t *sums)
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
        __m256i sum = sum_of_fields(acc[h]);
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

#define TILE_DOT(tile, n_blocks, q, sums) tile_dot(tile, n_blocks, q, 0, sums)
#include "slab_x86.h"

void FN(gemv_g2_i8)(const uint8_t *slab, size_t n_groups, size_t group_blocks, int halves, const int8_t *q,
                    const int32_t *q_sums, float *acc)
{
    bn_gemv_slab(slab, n_groups, group_blocks, halves, q, q_sums, acc);
}

/* A row of r2 is read from end to end, then the next one: many lines at once are on their way to the L2 cache only.
 * From there the row after the next is asked for.
 * BOUND: as above, a lane of field 3 takes at least -2^16 per half of a group, and there are at most 2^14 groups. Each
 * half has its own accumulators. */
enum { ROWS_FAR = 16, ROWS_NEAR = 2 };
_Static_assert((int)ROWS_FAR <= (int)BN_AHEAD, "the index goes that far");

void FN(gemv_r2_i8)(const uint8_t *rows, size_t n_groups, const uint32_t *index, size_t n, const int8_t *q,
                    int32_t *sums)
{
    for (size_t i = 0; i < n; i++) {
        const uint8_t *row = rows + index[i] * n_groups * 64;
        const uint8_t *near = rows + index[i + ROWS_NEAR] * n_groups * 64;
        const uint8_t *far = rows + index[i + ROWS_FAR] * n_groups * 64;
        __m256i acc[HALVES][4];
        UNROLL
        for (size_t f = 0; f < 4; f++)
            acc[0][f] = acc[1][f] = _mm256_setzero_si256();
        for (size_t group = 0; group < n_groups; group++) {
            _mm_prefetch((const char *)far + group * 64, _MM_HINT_T1);
            _mm_prefetch((const char *)near + group * 64, _MM_HINT_T0);
            UNROLL
            for (size_t h = 0; h < HALVES; h++) {
                const int8_t *at = q + group * BN_GROUP_COLS + HALF_BYTES * h;
                __m256i values[4] = {LOAD(at), LOAD(at + 64), LOAD(at + 128), LOAD(at + 192)};
                add_half(acc[h], LOAD(row + group * 64 + HALF_BYTES * h), values);
            }
        }
        __m256i all = _mm256_add_epi32(sum_of_fields(acc[0]), sum_of_fields(acc[1]));
        __m128i four = _mm_add_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
        __m128i two = _mm_add_epi32(four, _mm_unpackhi_epi64(four, four));
        sums[i] = _mm_cvtsi128_si32(_mm_hadd_epi32(two, two));
    }
}

/* Cols of c2 that pass together through all strips, while the next ones are on their way to the L2 cache.
 * BOUND: a lane of field 3 takes at least -2^16 per four cols. */
enum { COLS = 64 };
_Static_assert((int)COLS <= (int)BN_AHEAD, "the index goes that far");

/* Half h of a strip is met in two passes, as 16 accumulators at once are too many: pass p takes the rows
 * 64*f + 16*m + 8*h.. of m = 2*p and 2*p + 1. sums[256] += n cols @ q, n a multiple of 4; asks for the next strip of
 * every fourth col, and for this one of those `ahead`. */
ALWAYS_INLINE void add_quarter_strip(const uint8_t *const col[COLS], const uint8_t *const ahead[COLS], size_t at,
                                     size_t h, size_t p, size_t n, const int8_t *q, int32_t *sums)
{
    __m256i acc[2][4];
    UNROLL
    for (size_t f = 0; f < 4; f++)
        acc[0][f] = acc[1][f] = _mm256_setzero_si256();
    for (size_t i = 0; i < n; i += 4) {
        __m256i c[4], mixed[2], four = FOUR(q + i);
        UNROLL
        for (size_t j = 0; j < 4; j++)
            c[j] = LOAD(col[i + j] + at + HALF_BYTES * h);
        _mm_prefetch((const char *)ahead[i + 2 * h + p] + at, _MM_HINT_T1);
        _mm_prefetch((const char *)col[i + 2 * h + p] + at + 64, _MM_HINT_T0);
        __m256i ab = p ? _mm256_unpackhi_epi8(c[0], c[1]) : _mm256_unpacklo_epi8(c[0], c[1]);
        __m256i cd = p ? _mm256_unpackhi_epi8(c[2], c[3]) : _mm256_unpacklo_epi8(c[2], c[3]);
        mixed[0] = _mm256_unpacklo_epi16(ab, cd);
        mixed[1] = _mm256_unpackhi_epi16(ab, cd);
        UNROLL
        for (size_t m = 0; m < 2; m++)
            UNROLL
            for (size_t f = 0; f < 4; f++)
                acc[m][f] = dot(acc[m][f], _mm256_and_si256(mixed[m], _mm256_set1_epi8((char)(3 << (2 * f)))), four);
    }
    UNROLL
    for (size_t f = 0; f < 4; f++)
        UNROLL
        for (size_t m = 0; m < 2; m++) {
            __m256i *out = (__m256i *)(sums + 64 * f + BN_TILE_ROWS * (2 * p + m) + HALF_ROWS * h);
            __m256i sum = _mm256_srai_epi32(acc[m][f], 2 * (int)f);
            _mm256_storeu_si256(out, _mm256_add_epi32(sum, _mm256_loadu_si256(out)));
        }
}

void FN(gemv_c2_i8)(const uint8_t *cols, size_t n_strips, const uint32_t *index, const int8_t *q, size_t n,
                    int32_t *sums)
{
    for (size_t first = 0; first < n; first += COLS) {
        size_t n_here = n - first < COLS ? n - first : COLS, n_fours = (n_here + 3) / 4 * 4;
        const uint8_t *col[COLS], *ahead[COLS];
        int8_t values[COLS] = {0};
        memcpy(values, q + first, n_here);
        for (size_t i = 0; i < n_here; i++) {
            col[i] = cols + index[first + i] * n_strips * 64;
            ahead[i] = cols + index[first + n_here + i] * n_strips * 64;
        }
        for (size_t i = n_here; i < n_fours; i++)       /* missing ones: the last col times zero */
            col[i] = ahead[i] = col[n_here - 1];
        for (size_t strip = 0; strip < n_strips; strip++) {
            int32_t *out = sums + strip * BN_STRIP_ROWS;
            add_quarter_strip(col, ahead, strip * 64, 0, 0, n_fours, values, out);
            add_quarter_strip(col, ahead, strip * 64, 0, 1, n_fours, values, out);
            add_quarter_strip(col, ahead, strip * 64, 1, 0, n_fours, values, out);
            add_quarter_strip(col, ahead, strip * 64, 1, 1, n_fours, values, out);
        }
    }
}

/* ---- Several tokens ---- */

/* sums[t][16] (+)= blocks of one tile @ q[t] for exactly n_tokens <= TOKENS, which is a constant where this is inlined:
 * 12 accumulators, 2 registers of codes and 1 of activations at most. The groups of the tile lie `step` bytes apart,
 * the sums of the tokens sums_stride numbers. */
ALWAYS_INLINE void panel_dot(const uint8_t *panel, size_t step, size_t n_blocks, const int8_t *q, size_t q_stride,
                             size_t n_tokens, int add, int32_t *sums, size_t sums_stride)
{
    __m256i acc[TOKENS][HALVES];
    UNROLL
    for (size_t t = 0; t < n_tokens; t++)
        acc[t][0] = acc[t][1] = _mm256_setzero_si256();
    const int8_t *base[TOKENS / 3] = {q, q + 3 * q_stride};
    for (size_t block = 0; block < n_blocks; block++) {
        /* The same columns of the tokens that come next: a line holds 4 blocks, so each block asks for a third. */
        size_t ahead = (n_tokens + block % 4) * q_stride;
        _mm_prefetch((const char *)base[0] + ahead, _MM_HINT_T0);
        if (n_tokens > 3)
            _mm_prefetch((const char *)base[1] + ahead, _MM_HINT_T0);
        UNROLL
        for (size_t f = 0; f < 4; f++, panel += step) {
            __m256i low = LOAD(panel), high = LOAD(panel + HALF_BYTES);
            UNROLL
            for (size_t t = 0; t < n_tokens; t++) {
                __m256i four = FOUR(base[t / 3] + t % 3 * q_stride + 4 * f);
                acc[t][0] = dot(acc[t][0], low, four);
                acc[t][1] = dot(acc[t][1], high, four);
            }
        }
        base[0] += BN_BLOCK_COLS;
        base[1] += BN_BLOCK_COLS;
    }
    UNROLL
    for (size_t t = 0; t < n_tokens; t++)
        UNROLL
        for (size_t h = 0; h < HALVES; h++) {
            __m256i *out = (__m256i *)(sums + t * sums_stride + HALF_ROWS * h);
            _mm256_storeu_si256(out, add ? _mm256_add_epi32(acc[t][h], _mm256_loadu_si256(out)) : acc[t][h]);
        }
}

#define PANEL_DOT_CASE(n)                                                                                              \
    case n: panel_dot(panel, step, n_blocks, q, q_stride, n, add, sums, sums_stride); break;

/* panel_dot with the number of tokens as a constant. */
static void panel_dot_any(const uint8_t *panel, size_t step, size_t n_blocks, const int8_t *q, size_t q_stride,
                          size_t n_tokens, int add, int32_t *sums, size_t sums_stride)
{
    switch (n_tokens) {
        PANEL_DOT_CASE(1)
        PANEL_DOT_CASE(2)
        PANEL_DOT_CASE(3)
        PANEL_DOT_CASE(4)
        PANEL_DOT_CASE(5)
        PANEL_DOT_CASE(6)
    }
}

/* Tokens are dealt evenly: 7 are met as 4 and 3, not as 6 and 1. */
void FN(gemm_panel_i8)(const uint8_t *panel, size_t n_tiles, size_t n_blocks, const int8_t *q, size_t q_stride,
                       size_t n_tokens, int add, int32_t *sums)
{
    size_t n_groups = (n_tokens + TOKENS - 1) / TOKENS;
    for (size_t group = 0; group < n_groups; group++) {
        size_t t = group * n_tokens / n_groups, end = (group + 1) * n_tokens / n_groups;
        for (size_t i = 0; i < n_tiles; i++)
            panel_dot_any(panel + i * GROUP_BYTES, n_tiles * GROUP_BYTES, n_blocks, q + t * q_stride, q_stride, end - t,
                          add, sums + (t * n_tiles + i) * BN_TILE_ROWS, n_tiles * BN_TILE_ROWS);
    }
}
