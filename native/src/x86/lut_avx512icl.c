/* lut_avx512icl.c: ternary matrix times int8 activations by lookup, with AVX-512 BW.
 *
 * Leans on VPERMW zmm (32 lookups in a table of 32 int16 that is one register; latency 4 on Zen 4 and 7 on Ice Lake, one a
 * cycle on Zen 4, two micro-ops and half as many on Ice Lake), which looks at the low 5 bits of a lane and ignores the
 * others, so that an index is brought down by a shift and never masked. */
#include <immintrin.h>
#include <string.h>

#include "../kernels.h"
#include "../unroll.h"

/* BOUND: an entry is at most 3 * 128 in magnitude, and an int16 lane takes 16 entries per group: 5 groups give 30720. */
enum { FOLD_GROUPS = 5, TRIPLES = BN_LOOKUP_COLS / 3 };
_Static_assert(FOLD_GROUPS * TRIPLES * 3 * 128 <= INT16_MAX, "sums of entries fit int16");

/* Memory answers late: ask for the weights this far ahead. Reading past the end of the matrix is only a hint. They go to
 * the L2 cache: in the L1 cache they would push out the table, which is larger than that itself. */
enum { PREFETCH_BYTES = 12288 };

/* ---- The table: 32 int16 for each three activations ---- */

/* Weights a, b, c of each index (kernels.h), zeros for the indices that mean nothing: for VPMADDUBSW they are the signed
 * bytes, a and b in one lane, c and nothing in another. */
#define WEIGHTS(n) {(int8_t)(((n) + 13) / 9 - 1), (int8_t)(((n) + 13) / 3 % 3 - 1), (int8_t)(((n) + 13) % 3 - 1)}
#define SIGNED(s)                                                                                                      \
    WEIGHTS(0), WEIGHTS(s 1), WEIGHTS(s 2), WEIGHTS(s 3), WEIGHTS(s 4), WEIGHTS(s 5), WEIGHTS(s 6), WEIGHTS(s 7),      \
        WEIGHTS(s 8), WEIGHTS(s 9), WEIGHTS(s 10), WEIGHTS(s 11), WEIGHTS(s 12), WEIGHTS(s 13), WEIGHTS(0), WEIGHTS(0)
static const int8_t index_weights[32][3] = {SIGNED(+), SIGNED(-)};

void bn_table_l3_i8__avx512icl(const int8_t *q, size_t n_groups, void *table)
{
    _Alignas(64) int8_t ab[32][2], c0[32][2];
    _Alignas(64) int16_t bias[32];
    for (size_t i = 0; i < 32; i++) {
        const int8_t *w = index_weights[i];
        ab[i][0] = w[0];
        ab[i][1] = w[1];
        c0[i][0] = w[2];
        c0[i][1] = 0;
        bias[i] = (int16_t)(-128 * (w[0] + w[1] + w[2]));
    }
    __m512i weights_ab = _mm512_load_si512(ab), weights_c0 = _mm512_load_si512(c0), start = _mm512_load_si512(bias);
    for (size_t group = 0; group < n_groups; group++, q += BN_LOOKUP_COLS) {
        /* VPMADDUBSW wants one side unsigned: q + 128, and `start` takes it back. Sums of two reach 2 * 255. */
        uint8_t u[BN_LOOKUP_COLS + 16];
        for (size_t i = 0; i < BN_LOOKUP_COLS; i += 16) {
            __m128i values = _mm_loadu_si128((const __m128i *)(q + i));
            _mm_storeu_si128((__m128i *)(u + i), _mm_xor_si128(values, _mm_set1_epi8((char)0x80)));
        }
        u[BN_LOOKUP_COLS] = 0;
        UNROLL
        for (size_t i = 0; i < TRIPLES; i++) {
            int16_t two, one;
            memcpy(&two, u + 3 * i, 2);
            memcpy(&one, u + 3 * i + 2, 2);
            __m512i sum = _mm512_add_epi16(start, _mm512_maddubs_epi16(_mm512_set1_epi16(two), weights_ab));
            sum = _mm512_add_epi16(sum, _mm512_maddubs_epi16(_mm512_set1_epi16(one), weights_c0));
            _mm512_store_si512((uint8_t *)table + group * BN_TABLE_BYTES + i * 64, sum);
        }
    }
}

/* ---- One token ---- */

/* Sums of 32 rows: int16, and int32 of the even and of the odd rows. */
typedef struct {
    __m512i narrow, even, odd;
} row_sums;

/* sums + the entries at the low five bits of each lane. The sum is an asm line because gcc 12 regroups sums of many terms,
 * and spills what it then cannot hold. */
ALWAYS_INLINE __m512i add_entries(__m512i sums, __m512i index, __m512i table)
{
    __m512i entries = _mm512_permutexvar_epi16(index, table);
    __asm__("vpaddw %1, %0, %0" : "+v"(sums) : "v"(entries));
    return sums;
}

/* Adds all lookups of a group for the two halves of a slab. */
ALWAYS_INLINE void add_group(row_sums acc[2], const uint8_t *group, const __m512i *table)
{
    __m512i spare[2];
    UNROLL
    for (unsigned v = 0; v < 5; v++) {
        __m512i first = table[3 * v], second = table[3 * v + 1], third = table[3 * v + 2];
        UNROLL
        for (size_t h = 0; h < 2; h++) {
            const uint8_t *at = group + (2 * v + h) * 64;
            __m512i w = _mm512_load_si512(at), bits = _mm512_srli_epi16(w, 15 - v);
            _mm_prefetch((const char *)at + PREFETCH_BYTES, _MM_HINT_T1);
            acc[h].narrow = add_entries(acc[h].narrow, w, first);
            acc[h].narrow = add_entries(acc[h].narrow, _mm512_srli_epi16(w, 5), second);
            acc[h].narrow = add_entries(acc[h].narrow, _mm512_srli_epi16(w, 10), third);
            /* Bits below v stay, bit v comes from here; 0xe4: where the mask is set the first, else the second. */
            __m512i below = _mm512_set1_epi16((short)((1 << v) - 1));
            spare[h] = v == 0 ? bits : _mm512_ternarylogic_epi32(spare[h], bits, below, 0xe4);
        }
    }
    UNROLL
    for (size_t h = 0; h < 2; h++)
        acc[h].narrow = add_entries(acc[h].narrow, spare[h], table[15]);
}

/* Moves the int16 sums into the int32 ones. */
ALWAYS_INLINE void fold(row_sums *acc)
{
    acc->even = _mm512_add_epi32(acc->even, _mm512_srai_epi32(_mm512_slli_epi32(acc->narrow, 16), 16));
    acc->odd = _mm512_add_epi32(acc->odd, _mm512_srai_epi32(acc->narrow, 16));
    acc->narrow = _mm512_setzero_si512();
}

/* sums[32] = start + the int32 sums. */
ALWAYS_INLINE void store(const row_sums *acc, __m512i start, int32_t *sums)
{
    __m512i even = _mm512_add_epi32(acc->even, start), odd = _mm512_add_epi32(acc->odd, start);
    __m512i low = _mm512_unpacklo_epi32(even, odd), high = _mm512_unpackhi_epi32(even, odd);
    /* low: rows 0-3, 8-11, 16-19, 24-27; high: 4-7, 12-15, ... */
    __m512i first = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11), second = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
    _mm512_storeu_si512(sums, _mm512_permutex2var_epi64(low, first, high));
    _mm512_storeu_si512(sums + 16, _mm512_permutex2var_epi64(low, second, high));
}

void bn_gemv_l3_i8__avx512icl(const uint8_t *slabs, size_t n_slabs, size_t n_groups, const void *table, int32_t q_sum,
                              int32_t *sums)
{
    const __m512i *entries = table, zero = _mm512_setzero_si512(), start = _mm512_set1_epi32(q_sum);
    for (size_t slab = 0; slab < n_slabs; slab++, sums += BN_SLAB_ROWS) {
        const uint8_t *groups = slabs + slab * n_groups * BN_LOOKUP_BYTES;
        row_sums acc[2] = {{zero, zero, zero}, {zero, zero, zero}};
        for (size_t first = 0; first < n_groups; first += FOLD_GROUPS) {
            size_t end = first + FOLD_GROUPS < n_groups ? first + FOLD_GROUPS : n_groups;
            for (size_t group = first; group < end; group++)
                add_group(acc, groups + group * BN_LOOKUP_BYTES, entries + group * TRIPLES);
            fold(&acc[0]);
            fold(&acc[1]);
        }
        store(&acc[0], start, sums);
        store(&acc[1], start, sums + 32);
    }
}

/* ---- Several tokens ---- */

/* Two codes in a word, for each index: a and b, b and c, c alone, a alone in the upper byte. */
typedef struct {
    __m512i ab, bc, c, a;
} code_words;

static code_words make_code_words(void)
{
    _Alignas(64) int16_t ab[32], bc[32], c[32], a[32];
    for (size_t i = 0; i < 32; i++) {
        c[i] = (int16_t)(index_weights[i][2] + 1);
        a[i] = (int16_t)((index_weights[i][0] + 1) << 8);
        ab[i] = (int16_t)(a[i] >> 8 | (index_weights[i][1] + 1) << 8);
        bc[i] = (int16_t)(ab[i] >> 8 | c[i] << 8);
    }
    return (code_words){_mm512_load_si512(ab), _mm512_load_si512(bc), _mm512_load_si512(c), _mm512_load_si512(a)};
}

/* Four cols of 32 rows, two of them in each word: the first 16 rows go to out[0], the others to out[1]. */
ALWAYS_INLINE void store_four(uint8_t *const out[2], __m512i first, __m512i second)
{
    __m512i lanes = _mm512_cvtepu8_epi16(_mm256_setr_epi8(0, 32, 1, 33, 2, 34, 3, 35, 4, 36, 5, 37, 6, 38, 7, 39, 8, 40, 9,
                                                          41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47));
    __m512i other = _mm512_add_epi16(lanes, _mm512_set1_epi16(16));
    _mm512_store_si512(out[0], _mm512_permutex2var_epi16(first, lanes, second));
    _mm512_store_si512(out[1], _mm512_permutex2var_epi16(first, other, second));
}

/* Codes of the 32 rows of one half of a slab, n_groups groups; out[0] and out[1] move by step[0] and step[1] per four
 * cols. */
ALWAYS_INLINE void unpack_half(const uint8_t *half, size_t n_groups, code_words codes, uint8_t *out[2],
                               const size_t step[2])
{
    for (size_t group = 0; group < n_groups; group++, half += BN_LOOKUP_BYTES) {
        __m512i index[TRIPLES], words[24];
        UNROLL
        for (unsigned v = 0; v < 5; v++) {
            __m512i w = _mm512_load_si512(half + 2 * v * 64), bits = _mm512_srli_epi16(w, 15 - v);
            __m512i below = _mm512_set1_epi16((short)((1 << v) - 1));
            index[3 * v] = w;
            index[3 * v + 1] = _mm512_srli_epi16(w, 5);
            index[3 * v + 2] = _mm512_srli_epi16(w, 10);
            index[15] = v == 0 ? bits : _mm512_ternarylogic_epi32(index[15], bits, below, 0xe4);
        }
        UNROLL
        for (size_t i = 0; i < TRIPLES; i += 2) {       /* six cols are three words */
            words[3 * i / 2] = _mm512_permutexvar_epi16(index[i], codes.ab);
            words[3 * i / 2 + 1] = _mm512_or_si512(_mm512_permutexvar_epi16(index[i], codes.c),
                                                   _mm512_permutexvar_epi16(index[i + 1], codes.a));
            words[3 * i / 2 + 2] = _mm512_permutexvar_epi16(index[i + 1], codes.bc);
        }
        UNROLL
        for (size_t four = 0; four < BN_LOOKUP_COLS / 4; four++) {
            store_four(out, words[2 * four], words[2 * four + 1]);
            out[0] += step[0];
            out[1] += step[1];
        }
    }
}

void bn_unpack_l3__avx512icl(const uint8_t *weights, size_t stride, size_t tile, size_t n_tiles, size_t first,
                             size_t n_blocks, uint8_t *panel)
{
    code_words codes = make_code_words();
    for (size_t i = 0; i < n_tiles; i++) {
        size_t row = (tile + i) * BN_TILE_ROWS, which = (tile + i) % 2;
        _Alignas(64) uint8_t unwanted[64];      /* takes the tile that shares the vectors but is not asked for */
        uint8_t *out[2] = {unwanted, unwanted};
        size_t step[2] = {0, 0};
        out[which] = panel + i * 64;
        step[which] = n_tiles * 64;
        if (which == 0 && i + 1 < n_tiles) {
            out[1] = panel + ++i * 64;
            step[1] = n_tiles * 64;
        }
        unpack_half(weights + row / BN_SLAB_ROWS * stride + first / 3 * BN_LOOKUP_BYTES + row % BN_SLAB_ROWS / 32 * 64,
                    n_blocks / 3, codes, out, step);
    }
}
