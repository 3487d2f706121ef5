/* lut_avx2.c: ternary matrix times int8 activations by lookup, with AVX2.
 *
 * Leans on VPSHUFB (32 lookups in a table of 16 bytes; one cycle, two of them a cycle on Zen 2 and later, one on Intel
 * before Ice Lake) and VPSIGNB. A lookup finds the sum of three activations for the magnitude of the index, as two bytes
 * lo + 31 * hi, and the sign of the index is put to both. Bytes of 32 rows stand in one register: the even ones from the
 * first 16 lanes of a vector of weights, the odd ones from the other 16. */
#include <immintrin.h>

#include "../kernels.h"
#include "../unroll.h"

/* BOUND: a sum of three activations is at most 384 in magnitude, so |hi| <= 12 and |lo| <= 15: 8 of them fit int8.
 * An int16 lane takes 16 sums of three per group: 5 groups give 30720. */
enum { TRIPLES = BN_LOOKUP_COLS / 3, HALF_TRIPLES = 8, FOLD_GROUPS = 5, BASE = 31, HIGHEST_LO = 15, HIGHEST_HI = 12 };
_Static_assert(HIGHEST_HI * BASE + HIGHEST_LO >= 3 * 128, "two bytes hold a sum of three");
_Static_assert(HALF_TRIPLES * HIGHEST_LO <= INT8_MAX && HALF_TRIPLES * HIGHEST_HI <= INT8_MAX, "sums of bytes fit int8");
_Static_assert(FOLD_GROUPS * TRIPLES * 3 * 128 <= INT16_MAX, "sums of lookups fit int16");

/* Memory answers late: ask for the weights this far ahead. Reading past the end of the matrix is only a hint. */
enum { PREFETCH_BYTES = 12288 };

#define LOAD(p) _mm256_load_si256((const __m256i *)(p))
#define BYTES(x) _mm256_set1_epi8(x)
#define WORDS(x) _mm256_set1_epi16(x)

/* ---- The table: 16 bytes of lo and 16 of hi for each three activations ---- */

enum { ENTRY_BYTES = 32 };
_Static_assert(TRIPLES * ENTRY_BYTES <= BN_TABLE_BYTES, "the table fits");

/* Weights a, b, c of the magnitudes 0..13 of an index (kernels.h). */
static const int8_t weights_of[3][16] = {{0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0},
                                         {0, 0, 1, 1, 1, -1, -1, -1, 0, 0, 0, 1, 1, 1, 0, 0},
                                         {0, 1, -1, 0, 1, -1, 0, 1, -1, 0, 1, -1, 0, 1, 0, 0}};

void bn_table_l3_i8__avx2(const int8_t *q, size_t n_groups, void *table)
{
    __m256i weights[3];
    for (size_t k = 0; k < 3; k++)
        weights[k] = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)weights_of[k]));
    for (size_t triple = 0; triple < TRIPLES * n_groups; triple++, q += 3) {
        __m256i sum = _mm256_mullo_epi16(weights[0], WORDS(q[0]));
        sum = _mm256_add_epi16(sum, _mm256_mullo_epi16(weights[1], WORDS(q[1])));
        sum = _mm256_add_epi16(sum, _mm256_mullo_epi16(weights[2], WORDS(q[2])));
        /* (sum * 1057 + 2^14) >> 15 is sum / 31, rounded, for all |sum| <= 384 */
        __m256i hi = _mm256_mulhrs_epi16(sum, WORDS(1057));
        __m256i lo = _mm256_sub_epi16(sum, _mm256_mullo_epi16(hi, WORDS(BASE)));
        __m256i both = _mm256_permute4x64_epi64(_mm256_packs_epi16(lo, hi), 0xd8);
        _mm256_store_si256((__m256i *)table + triple, both);
    }
}

/* ---- One token ---- */

/* Sums of 32 rows: bytes of 8 lookups at most, and int16 of rows 0..15 and 16..31. */
typedef struct {
    __m256i lo, hi, even, odd;
} row_sums;

/* sum + x in bytes. An asm line because gcc 12 regroups sums of many terms, and spills what it then cannot hold. */
ALWAYS_INLINE __m256i add_bytes(__m256i sum, __m256i x)
{
    __asm__("vpaddb %1, %0, %0" : "+x"(sum) : "x"(x));
    return sum;
}

/* Adds the sums of three activations that the indices 0..31 in all bytes stand for. */
ALWAYS_INLINE void add_entries(row_sums *acc, __m256i index, const uint8_t *entry)
{
    __m256i table_lo = _mm256_broadcastsi128_si256(_mm_load_si128((const __m128i *)entry));
    __m256i table_hi = _mm256_broadcastsi128_si256(_mm_load_si128((const __m128i *)entry + 1));
    __m256i sign = _mm256_add_epi8(index, BYTES(0x70));     /* bit 4 becomes the sign, and nothing becomes zero */
    acc->lo = add_bytes(acc->lo, _mm256_sign_epi8(_mm256_shuffle_epi8(table_lo, index), sign));
    acc->hi = add_bytes(acc->hi, _mm256_sign_epi8(_mm256_shuffle_epi8(table_hi, index), sign));
}

/* Moves the bytes into the int16 sums. */
ALWAYS_INLINE void widen(row_sums *acc)
{
    acc->even = _mm256_add_epi16(acc->even, _mm256_maddubs_epi16(WORDS(1), acc->lo));
    acc->odd = _mm256_add_epi16(acc->odd, _mm256_maddubs_epi16(WORDS(1 << 8), acc->lo));
    acc->even = _mm256_add_epi16(acc->even, _mm256_maddubs_epi16(WORDS(BASE), acc->hi));
    acc->odd = _mm256_add_epi16(acc->odd, _mm256_maddubs_epi16(WORDS(BASE << 8), acc->hi));
    acc->lo = acc->hi = _mm256_setzero_si256();
}

/* Adds all lookups of a group for one half of a slab; `half` is its first vector. */
ALWAYS_INLINE void add_group(row_sums *acc, const uint8_t *half, const uint8_t *table)
{
    __m256i spare = _mm256_setzero_si256(), five = BYTES(31);
    UNROLL
    for (size_t v = 0; v < 5; v++) {
        const uint8_t *at = half + 2 * v * 64, *entry = table + 3 * v * ENTRY_BYTES;
        __m256i first = LOAD(at), second = LOAD(at + 32);
        _mm_prefetch((const char *)at + PREFETCH_BYTES, _MM_HINT_T1);
        /* bits 0..7 and bits 8..15 of all 32 lanes */
        __m256i low = _mm256_or_si256(_mm256_and_si256(first, WORDS(0xff)), _mm256_slli_epi16(second, 8));
        __m256i high = _mm256_or_si256(_mm256_srli_epi16(first, 8), _mm256_andnot_si256(WORDS(0xff), second));
        __m256i middle = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(low, 5), BYTES(7)),
                                         _mm256_slli_epi16(_mm256_and_si256(high, BYTES(3)), 3));
        add_entries(acc, _mm256_and_si256(low, five), entry);
        add_entries(acc, middle, entry + ENTRY_BYTES);
        if (v == 2)
            widen(acc);
        add_entries(acc, _mm256_and_si256(_mm256_srli_epi16(high, 2), five), entry + 2 * ENTRY_BYTES);
        /* bit v of the last index comes in at the top and moves down with each that follows */
        spare = _mm256_or_si256(_mm256_srli_epi16(spare, 1), _mm256_and_si256(high, BYTES((char)0x80)));
    }
    add_entries(acc, _mm256_and_si256(_mm256_srli_epi16(spare, 3), five), table + 15 * ENTRY_BYTES);
    widen(acc);
}

/* sums[16] += int16 sums */
ALWAYS_INLINE void fold(__m256i narrow, int32_t *sums)
{
    __m256i *out = (__m256i *)sums;
    __m256i low = _mm256_cvtepi16_epi32(_mm256_castsi256_si128(narrow));
    __m256i high = _mm256_cvtepi16_epi32(_mm256_extracti128_si256(narrow, 1));
    _mm256_storeu_si256(out, _mm256_add_epi32(_mm256_loadu_si256(out), low));
    _mm256_storeu_si256(out + 1, _mm256_add_epi32(_mm256_loadu_si256(out + 1), high));
}

void bn_gemv_l3_i8__avx2(const uint8_t *slabs, size_t n_slabs, size_t n_groups, const void *table, int32_t q_sum,
                         int32_t *sums)
{
    __m256i zero = _mm256_setzero_si256();
    for (size_t slab = 0; slab < n_slabs; slab++, slabs += n_groups * BN_LOOKUP_BYTES, sums += BN_SLAB_ROWS) {
        for (size_t row = 0; row < BN_SLAB_ROWS; row++)
            sums[row] = q_sum;
        for (size_t first = 0; first < n_groups; first += FOLD_GROUPS) {
            size_t end = first + FOLD_GROUPS < n_groups ? first + FOLD_GROUPS : n_groups;
            for (size_t h = 0; h < 2; h++) {
                row_sums acc = {zero, zero, zero, zero};
                for (size_t group = first; group < end; group++)
                    add_group(&acc, slabs + group * BN_LOOKUP_BYTES + h * 64,
                              (const uint8_t *)table + group * TRIPLES * ENTRY_BYTES);
                fold(acc.even, sums + 32 * h);
                fold(acc.odd, sums + 32 * h + 16);
            }
        }
    }
}

/* ---- Several tokens ---- */

/* Codes of one digit (weight a, b or c) for the indices in all bytes. */
ALWAYS_INLINE __m256i codes_of(__m256i index, __m256i digit)
{
    __m256i sign = _mm256_add_epi8(index, BYTES(0x70));
    return _mm256_add_epi8(_mm256_sign_epi8(_mm256_shuffle_epi8(digit, index), sign), BYTES(1));
}

/* The two cols of 16 rows in `first` and `second`, one word per row each, to a group of four cols of the panel. */
ALWAYS_INLINE void store_group(uint8_t *out, __m256i first, __m256i second)
{
    __m256i low = _mm256_unpacklo_epi16(first, second), high = _mm256_unpackhi_epi16(first, second);
    _mm256_store_si256((__m256i *)out, _mm256_permute2x128_si256(low, high, 0x20));
    _mm256_store_si256((__m256i *)(out + 32), _mm256_permute2x128_si256(low, high, 0x31));
}

/* 12 cols of 16 rows: `p` holds the indices of two triples in the bytes of each word, `r` those of the next two. */
ALWAYS_INLINE void store_twelve(uint8_t *out, size_t step, __m256i p, __m256i r, const __m256i digit[3])
{
    __m256i odd = WORDS((short)0xff00);
    __m256i p0 = codes_of(p, digit[0]), p1 = codes_of(p, digit[1]), p2 = codes_of(p, digit[2]);
    __m256i r0 = codes_of(r, digit[0]), r1 = codes_of(r, digit[1]), r2 = codes_of(r, digit[2]);
    store_group(out, _mm256_blendv_epi8(p0, _mm256_slli_epi16(p1, 8), odd), _mm256_blendv_epi8(p2, p0, odd));
    store_group(out + step, _mm256_blendv_epi8(_mm256_srli_epi16(p1, 8), p2, odd),
                _mm256_blendv_epi8(r0, _mm256_slli_epi16(r1, 8), odd));
    store_group(out + 2 * step, _mm256_blendv_epi8(r2, r0, odd), _mm256_blendv_epi8(_mm256_srli_epi16(r1, 8), r2, odd));
}

void bn_unpack_l3__avx2(const uint8_t *weights, size_t stride, size_t tile, size_t n_tiles, size_t first,
                        size_t n_blocks, uint8_t *panel)
{
    __m256i digit[3], five = WORDS(31);
    size_t step = n_tiles * 64;
    for (size_t k = 0; k < 3; k++)
        digit[k] = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)weights_of[k]));
    for (size_t i = 0; i < n_tiles; i++) {
        size_t row = (tile + i) * BN_TILE_ROWS;
        const uint8_t *group = weights + row / BN_SLAB_ROWS * stride + first / 3 * BN_LOOKUP_BYTES +
                               row % BN_SLAB_ROWS / 32 * 64 + row % 32 * 2;
        uint8_t *out = panel + i * 64;
        for (size_t g = 0; g < n_blocks / 3; g++, group += BN_LOOKUP_BYTES) {
            __m256i index[TRIPLES];
            index[15] = _mm256_setzero_si256();
            UNROLL
            for (int v = 0; v < 5; v++) {
                __m256i w = LOAD(group + 2 * v * 64);
                UNROLL
                for (int k = 0; k < 3; k++)
                    index[3 * v + k] = _mm256_and_si256(_mm256_srli_epi16(w, 5 * k), five);
                index[15] = _mm256_or_si256(index[15], _mm256_slli_epi16(_mm256_srli_epi16(w, 15), v));
            }
            UNROLL
            for (size_t k = 0; k < TRIPLES; k += 4, out += 3 * step)
                store_twelve(out, step, _mm256_or_si256(index[k], _mm256_slli_epi16(index[k + 1], 8)),
                             _mm256_or_si256(index[k + 2], _mm256_slli_epi16(index[k + 3], 8)), digit);
        }
    }
}
