/* attention_x86.h: scores and weighted values over a cache of f16, in groups of 16; included once by float_<isa>.c. */
#ifndef BN_ATTENTION_X86_H
#define BN_ATTENTION_X86_H

#include "../kernels.h"
#include "lanes_x86.h"

enum { POSITIONS = 4 };     /* positions that share one load of the query, with independent sums */

/* The four sums (q . key[p]) * scale. */
ALWAYS_INLINE __m128 scores_of_4(const float *q, const uint16_t *const key[POSITIONS], size_t head_dim, float scale)
{
    size_t whole = head_dim / BN_LANES * BN_LANES, rest = head_dim - whole;
    group lanes[POSITIONS];
    UNROLL
    for (size_t p = 0; p < POSITIONS; p++)
        lanes[p] = group_set1(0.0f);
    for (size_t i = 0; i < whole; i += BN_LANES) {
        group query = group_load(q + i);
        UNROLL
        for (size_t p = 0; p < POSITIONS; p++)
            lanes[p] = group_add_product(lanes[p], query, group_from_f16(key[p] + i));
    }
    if (rest > 0) {
        group query = group_load_tail(q + whole, rest);
        UNROLL
        for (size_t p = 0; p < POSITIONS; p++)
            lanes[p] = group_add_product(lanes[p], query, group_from_f16_tail(key[p] + whole, rest));
    }
    return _mm_mul_ps(group_sum_of_each(lanes), _mm_set1_ps(scale));
}

void BN_FN(attn_qk_f16)(const float *q, const uint16_t *k, size_t n_pos, size_t head_dim, float scale, float *scores)
{
    for (size_t pos = 0; pos < n_pos; pos += POSITIONS) {
        size_t n = n_pos - pos < POSITIONS ? n_pos - pos : POSITIONS;
        const uint16_t *key[POSITIONS];
        UNROLL
        for (size_t p = 0; p < POSITIONS; p++)      /* the last position stands in for those that are missing */
            key[p] = k + (pos + (p < n ? p : n - 1)) * head_dim;
        float four[POSITIONS];
        _mm_storeu_ps(four, scores_of_4(q, key, head_dim, scale));
        memcpy(scores + pos, four, n * sizeof *scores);
    }
}

/* out[16*n] = sum over pos of p[pos] * v[pos][16*n], n <= 4 a constant */
ALWAYS_INLINE void weigh(const float *p, const uint16_t *v, size_t n_pos, size_t head_dim, size_t n, float *out)
{
    group sum[4];
    UNROLL
    for (size_t g = 0; g < n; g++)
        sum[g] = group_set1(0.0f);
    for (size_t pos = 0; pos < n_pos; pos++, v += head_dim) {
        group weight = group_set1(p[pos]);
        UNROLL
        for (size_t g = 0; g < n; g++)
            sum[g] = group_add_product(sum[g], weight, group_from_f16(v + BN_LANES * g));
    }
    UNROLL
    for (size_t g = 0; g < n; g++)
        group_store(out + BN_LANES * g, sum[g]);
}

/* The same for n < 16 values. */
static void weigh_tail(const float *p, const uint16_t *v, size_t n_pos, size_t head_dim, size_t n, float *out)
{
    group sum = group_set1(0.0f);
    for (size_t pos = 0; pos < n_pos; pos++, v += head_dim)
        sum = group_add_product(sum, group_set1(p[pos]), group_from_f16_tail(v, n));
    group_store_tail(out, n, sum);
}

void BN_FN(attn_pv_f16)(const float *p, const uint16_t *v, size_t n_pos, size_t head_dim, float *out)
{
    size_t d = 0;
    for (; d + 4 * BN_LANES <= head_dim; d += 4 * BN_LANES)
        weigh(p, v + d, n_pos, head_dim, 4, out + d);
    for (; d + BN_LANES <= head_dim; d += BN_LANES)
        weigh(p, v + d, n_pos, head_dim, 1, out + d);
    if (d < head_dim)
        weigh_tail(p, v + d, n_pos, head_dim, head_dim - d, out + d);
}

#endif
