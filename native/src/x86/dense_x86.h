/* dense_x86.h: dense rows as floats, and the dot products of floats, over groups of 16; included once by each dense_<isa>.c,
 * which has defined how the bits of q4_0 and q6_k come apart. The block formats are drawn in scalar/dense_scalar.c.
 *
 * Four rows at a time: they share the loads of x, and their sums do not wait for each other. */
#ifndef BN_DENSE_X86_H
#define BN_DENSE_X86_H

#include "../kernels.h"
#include "lanes_x86.h"

enum { ROWS = 4 };

/* row[j] = the rows at w; the last one stands in for those that are missing. */
ALWAYS_INLINE void find_rows(const void *w, size_t row_bytes, size_t n_rows, const uint8_t *row[ROWS])
{
    UNROLL
    for (size_t j = 0; j < ROWS; j++)
        row[j] = (const uint8_t *)w + (j < n_rows ? j : n_rows - 1) * row_bytes;
}

/* Memory answers late: while `bytes` of these rows at p are used, asks for the same part of the rows that come next.
 * Past the end of the matrix that is only a hint. Into the L2 cache: four rows and x together are too much for L1. */
ALWAYS_INLINE void ask_for_next_rows(const uint8_t *p, size_t row_bytes, size_t bytes)
{
    for (size_t line = 0; line < bytes; line += 64)
        _mm_prefetch((const char *)p + ROWS * row_bytes + line, _MM_HINT_T1);
}

/* y[n_rows] = the sums of the lanes */
ALWAYS_INLINE void store_sums(const group lanes[ROWS], size_t n_rows, float *y)
{
    float sums[ROWS];
    _mm_storeu_ps(sums, group_sum_of_each(lanes));
    memcpy(y, sums, (n_rows < ROWS ? n_rows : ROWS) * sizeof *y);
}

/* ---- Plain types: 16 values at p, or n < 16 of them padded with +0 ---- */

ALWAYS_INLINE group f32_group(const void *p)
{
    return group_load(p);
}

ALWAYS_INLINE group f32_group_tail(const void *p, size_t n)
{
    return group_load_tail(p, n);
}

#define f16_group group_from_f16
#define f16_group_tail group_from_f16_tail
#define bf16_group group_from_bf16
#define bf16_group_tail group_from_bf16_tail

/* Both kernels of a type of `size` bytes a value. */
#define BN_PLAIN_TYPE(type, size)                                                                                      \
    void BN_FN(dequant_##type)(const void *row, size_t n, float *out)                                                  \
    {                                                                                                                  \
        const uint8_t *p = row;                                                                                        \
        size_t i = 0;                                                                                                  \
        for (; i + BN_LANES <= n; i += BN_LANES)                                                                       \
            group_store(out + i, type##_group(p + (size) * i));                                                        \
        group_store_tail(out + i, n - i, type##_group_tail(p + (size) * i, n - i));                                    \
    }                                                                                                                  \
                                                                                                                       \
    void BN_FN(gemv_##type##_f32)(const void *w, size_t row_bytes, size_t rows, size_t cols, const float *x, float *y) \
    {                                                                                                                  \
        size_t whole = cols / BN_LANES * BN_LANES, rest = cols - whole;                                                \
        group tail = group_load_tail(x + whole, rest);                                                                 \
        for (size_t r = 0; r < rows; r += ROWS) {                                                                      \
            const uint8_t *row[ROWS];                                                                                  \
            find_rows((const uint8_t *)w + r * row_bytes, row_bytes, rows - r, row);                                   \
            group lanes[ROWS] = {group_set1(0.0f), group_set1(0.0f), group_set1(0.0f), group_set1(0.0f)};              \
            for (size_t i = 0; i < whole; i += BN_LANES) {                                                             \
                group values = group_load(x + i);                                                                      \
                UNROLL                                                                                                 \
                for (size_t j = 0; j < ROWS; j++)                                                                      \
                {                                                                                                      \
                    ask_for_next_rows(row[j] + (size) * i, row_bytes, (size) * BN_LANES);                              \
                    lanes[j] = group_add_product(lanes[j], type##_group(row[j] + (size) * i), values);                 \
                }                                                                                                      \
            }                                                                                                          \
            if (rest > 0) {                                                                                            \
                UNROLL                                                                                                 \
                for (size_t j = 0; j < ROWS; j++)                                                                      \
                    lanes[j] = group_add_product(lanes[j], type##_group_tail(row[j] + (size) * whole, rest), tail);    \
            }                                                                                                          \
            store_sums(lanes, rows - r, y + r);                                                                        \
        }                                                                                                              \
    }

BN_PLAIN_TYPE(f32, 4)
BN_PLAIN_TYPE(f16, 2)
BN_PLAIN_TYPE(bf16, 2)

/* ---- Block types: <type>_load takes a part of a block apart, <type>_value(part, g) is its group g ---- */

typedef struct {
    group d;
    __m128i q[2];
} block_q8_0;

ALWAYS_INLINE void q8_0_load(block_q8_0 *out, const uint8_t *block, size_t part)
{
    (void)part;
    out->d = group_set1_f16(block);
    out->q[0] = _mm_loadu_si128((const __m128i *)(block + 2));
    out->q[1] = _mm_loadu_si128((const __m128i *)(block + 18));
}

ALWAYS_INLINE group q8_0_value(const block_q8_0 *part, size_t g)
{
    return group_mul(part->d, group_from_i8(part->q[g]));
}

typedef struct {
    group d;
    __m128i q[4];
} block_q2_0;

/* Four bytes at a time become a group: the values of a byte lie one behind the other. */
ALWAYS_INLINE void q2_0_load(block_q2_0 *out, const uint8_t *block, size_t part)
{
    (void)part;
    __m128i bytes = _mm_loadu_si128((const __m128i *)(block + 2)), three = _mm_set1_epi8(3), one = _mm_set1_epi8(1);
    __m128i field[4] = {_mm_and_si128(bytes, three), _mm_and_si128(_mm_srli_epi16(bytes, 2), three),
                        _mm_and_si128(_mm_srli_epi16(bytes, 4), three), _mm_and_si128(_mm_srli_epi16(bytes, 6), three)};
    UNROLL
    for (size_t i = 0; i < 4; i++)
        field[i] = _mm_sub_epi8(field[i], one);
    __m128i low01 = _mm_unpacklo_epi8(field[0], field[1]), low23 = _mm_unpacklo_epi8(field[2], field[3]);
    __m128i high01 = _mm_unpackhi_epi8(field[0], field[1]), high23 = _mm_unpackhi_epi8(field[2], field[3]);
    out->d = group_set1_f16(block);
    out->q[0] = _mm_unpacklo_epi16(low01, low23);
    out->q[1] = _mm_unpackhi_epi16(low01, low23);
    out->q[2] = _mm_unpacklo_epi16(high01, high23);
    out->q[3] = _mm_unpackhi_epi16(high01, high23);
}

ALWAYS_INLINE group q2_0_value(const block_q2_0 *part, size_t g)
{
    return group_mul(part->d, group_from_i8(part->q[g]));
}

typedef struct {
    six_bits q;
    float scale[8];
} half_q6_k;

ALWAYS_INLINE void q6_k_load(half_q6_k *out, const uint8_t *block, size_t part)
{
    __m256i sc = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(block + 192 + 8 * part)));
    uint16_t d;
    memcpy(&d, block + 208, sizeof d);
    out->q = six_bits_load(block + 64 * part, block + 128 + 32 * part);
    _mm256_storeu_ps(out->scale, _mm256_mul_ps(_mm256_cvtph_ps(_mm_set1_epi16((int16_t)d)), _mm256_cvtepi32_ps(sc)));
    /* Through memory: a broadcast load costs less than the two shuffles by which gcc would pick a lane. */
    __asm__("" : "+m"(out->scale));
}

ALWAYS_INLINE group q6_k_value(const half_q6_k *part, size_t g)
{
    return group_mul(group_set1(part->scale[g]), six_bits_value(&part->q, g));
}

/* The kernel of a type whose blocks of `bytes` come in n_parts parts of n_groups groups. */
#define BN_BLOCK_TYPE(type, part_type, bytes, n_parts, n_groups)                                                       \
    void BN_FN(dequant_##type)(const void *row, size_t n, float *out)                                                  \
    {                                                                                                                  \
        const uint8_t *block = row;                                                                                    \
        for (float *end = out + n; out < end; block += (bytes))                                                        \
            for (size_t part = 0; part < (n_parts); part++, out += BN_LANES * (n_groups)) {                            \
                part_type values;                                                                                      \
                type##_load(&values, block, part);                                                                     \
                UNROLL                                                                                                 \
                for (size_t g = 0; g < (n_groups); g++)                                                                \
                    group_store(out + BN_LANES * g, type##_value(&values, g));                                         \
            }                                                                                                          \
    }

BN_BLOCK_TYPE(q8_0, block_q8_0, 34, 1, 2)
BN_BLOCK_TYPE(q4_0, block_q4_0, 18, 1, 2)
BN_BLOCK_TYPE(q2_0, block_q2_0, 18, 1, 4)
BN_BLOCK_TYPE(q6_k, half_q6_k, 210, 2, 8)

#endif
