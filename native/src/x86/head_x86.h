/* head_x86.h: tiles of a quantised head times hidden states of 16 bits; included once by each head_<isa>.c, which has
 * defined for each type how the codes of a group come apart (<type>_load) and meet the activations (<type>_dot),
 * and how many tokens share the codes once they are apart: TOKENS, with a TOKEN_COUNTS that names each count up to it.
 *
 * The 16 rows of a tile are the lanes of a group: no horizontal sums.
 * The layout of a tile is drawn in dense_tiles.h, the arithmetic is bounded in scalar/head_scalar.c. */
#ifndef BN_HEAD_X86_H
#define BN_HEAD_X86_H

#include "../dense_tiles.h"

/* Memory answers late: ask for what lies this far ahead. Reading past the end of the matrix is only a hint. */
enum { PREFETCH_BYTES = 4096 };

ALWAYS_INLINE void ask_ahead(const uint8_t *p, size_t n_bytes)
{
    UNROLL
    for (size_t line = 0; line < n_bytes; line += 64)
        _mm_prefetch((const char *)p + PREFETCH_BYTES + line, _MM_HINT_T0);
}

#define BN_HEAD_CASE(name, n) case n: name##_tile(tile, n_blocks, acts, t, n, y); break;

/* Tokens are dealt evenly: 9 are met as 4 and 5, not as 8 and 1.
 * y[n_tokens][16] = tile @ tokens, n_tokens <= TOKENS being a constant where this is inlined. */
#define BN_HEAD_TYPE(name, type)                                                                                       \
    ALWAYS_INLINE void name##_tile(const uint8_t *tile, size_t n_blocks, const bn_acts_i16 *acts, size_t first,        \
                                   size_t n_tokens, float *y)                                                          \
    {                                                                                                                  \
        const bn_tile_format f = bn_tile_format_of(type);                                                              \
        const size_t group_cols = f.cols / f.n_groups;                                                                 \
        size_t cols = n_blocks * f.cols, all_groups = n_blocks * f.n_groups;                                           \
        const int16_t *x = acts->x + first * cols;                                                                     \
        const int8_t *digits = acts->digits + 2 * first * cols;                                                        \
        const int32_t *offset = acts->offset + first * all_groups;                                                     \
        group acc[TOKENS];                                                                                             \
        UNROLL                                                                                                         \
        for (size_t t = 0; t < n_tokens; t++)                                                                          \
            acc[t] = group_set1(0.0f);                                                                                 \
        for (size_t block = 0; block < n_blocks; block++) {                                                            \
            group d = group_from_f16(tile + block % 2 * (BN_TILE_SCALE_BYTES / 2));                                    \
            const uint8_t *sc = tile + BN_TILE_SCALE_BYTES + block % 2 * bn_tile_block_bytes(f);                       \
            const uint8_t *codes = sc + f.sc_bytes;                                                                    \
            ask_ahead(sc, f.sc_bytes);                                                                                 \
            for (size_t g = 0; g < f.n_groups; g++, codes += f.group_bytes) {                                          \
                group scale = d;                                                                                       \
                if (f.sc_bytes)                                                                                        \
                    scale = group_mul(d, group_from_i8(_mm_load_si128((const __m128i *)(sc + 16 * g))));               \
                ask_ahead(codes, f.group_bytes);                                                                       \
                name##_codes c = name##_load(codes);                                                                   \
                UNROLL                                                                                                 \
                for (size_t t = 0; t < n_tokens; t++) {                                                                \
                    group_i32 sum = name##_dot(&c, x + t * cols, digits + 2 * t * cols, offset[t * all_groups]);       \
                    acc[t] = group_add(acc[t], group_mul(group_from_i32(sum), scale));                                 \
                }                                                                                                      \
                x += group_cols;                                                                                       \
                digits += 2 * group_cols;                                                                              \
                offset++;                                                                                              \
            }                                                                                                          \
            if (block % 2) {                                                                                           \
                tile = codes;                                                                                          \
                ask_ahead(tile, BN_TILE_SCALE_BYTES);                                                                  \
            }                                                                                                          \
        }                                                                                                              \
        UNROLL                                                                                                         \
        for (size_t t = 0; t < n_tokens; t++)                                                                          \
            group_store(y + t * BN_TILE_ROWS, group_div(acc[t], group_set1(acts->s[first + t])));                      \
    }                                                                                                                  \
                                                                                                                       \
    void BN_FN(gemm_##name##_i16)(const uint8_t *tile, size_t n_blocks, const bn_acts_i16 *acts, size_t n_tokens,      \
                                  float *y)                                                                            \
    {                                                                                                                  \
        size_t n_rounds = (n_tokens + TOKENS - 1) / TOKENS;                                                            \
        for (size_t round = 0, t = 0, end; round < n_rounds; round++, y += (end - t) * BN_TILE_ROWS, t = end) {        \
            end = (round + 1) * n_tokens / n_rounds;                                                                   \
            switch (end - t) {                                                                                         \
            TOKEN_COUNTS(BN_HEAD_CASE, name)                                                                           \
            }                                                                                                          \
        }                                                                                                              \
    }

BN_HEAD_TYPE(q8_0, BN_TYPE_Q8_0)
BN_HEAD_TYPE(q6_k, BN_TYPE_Q6_K)
BN_HEAD_TYPE(q4_0, BN_TYPE_Q4_0)
BN_HEAD_TYPE(q2_0, BN_TYPE_Q2_0)

#endif
