/* head_neon.h: tiles of a quantised head times hidden states of 16 bits; included once by each head_<isa>.c, which has
 * defined int32x4_t rows_dot(codes, n_fields, x, digits): the exact sums of four rows of a group, codes[f] holding
 * field f of them as signed bytes, x[4 * n_fields] and its digits being one token's.
 *
 * Four rows are a register: a group is taken apart four rows at a time and meets all tokens before the next four. The
 * layout of a tile is drawn in dense_tiles.h, the arithmetic is bounded in scalar/head_scalar.c. */
#ifndef BN_HEAD_NEON_H
#define BN_HEAD_NEON_H

#include "../dense_tiles.h"
#include "lanes_neon.h"

enum { TOKENS = 4, MAX_FIELDS = 16 };

/* ---- How the codes of four rows of a group come apart: at points to their bytes in line 0 ---- */

/* A code with its top bit turned over is its value, as int8: the offset, which makes up for a bias, is not needed. */
ALWAYS_INLINE void q8_0_rows(const uint8_t *at, int8x16_t codes[MAX_FIELDS])
{
    UNROLL
    for (size_t f = 0; f < 8; f++)
        codes[f] = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(at + 64 * f), vdupq_n_u8(0x80)));
}

ALWAYS_INLINE void q4_0_rows(const uint8_t *at, int8x16_t codes[MAX_FIELDS])
{
    UNROLL
    for (size_t i = 0; i < 4; i++) {
        uint8x16_t line = vld1q_u8(at + 64 * i);
        codes[2 * i] = vreinterpretq_s8_u8(vandq_u8(line, vdupq_n_u8(15)));
        codes[2 * i + 1] = vreinterpretq_s8_u8(vshrq_n_u8(line, 4));
    }
}

ALWAYS_INLINE void q2_0_rows(const uint8_t *at, int8x16_t codes[MAX_FIELDS])
{
    uint8x16_t three = vdupq_n_u8(3);
    UNROLL
    for (size_t i = 0; i < 4; i++) {
        uint8x16_t line = vld1q_u8(at + 64 * i);
        codes[4 * i] = vreinterpretq_s8_u8(vandq_u8(line, three));
        codes[4 * i + 1] = vreinterpretq_s8_u8(vandq_u8(vshrq_n_u8(line, 2), three));
        codes[4 * i + 2] = vreinterpretq_s8_u8(vandq_u8(vshrq_n_u8(line, 4), three));
        codes[4 * i + 3] = vreinterpretq_s8_u8(vshrq_n_u8(line, 6));
    }
}

ALWAYS_INLINE void q6_k_rows(const uint8_t *at, int8x16_t codes[MAX_FIELDS])
{
    uint8x16_t a = vld1q_u8(at), b = vld1q_u8(at + 64), c = vld1q_u8(at + 128), six = vdupq_n_u8(0x3f);
    codes[0] = vreinterpretq_s8_u8(vandq_u8(a, six));
    codes[1] = vreinterpretq_s8_u8(vandq_u8(b, six));
    codes[2] = vreinterpretq_s8_u8(vandq_u8(c, six));
    /* The bits 6 and 7 of c, b, a, shifted in one behind the other: at 4 and 5, 2 and 3, 0 and 1. */
    uint8x16_t top = vshrq_n_u8(vsriq_n_u8(c, vsriq_n_u8(b, a, 2), 2), 2);
    codes[3] = vreinterpretq_s8_u8(top);
}

/* ---- Tokens ---- */

/* y[n_tokens][16] = tile @ tokens, n_tokens <= TOKENS. The loop over tokens stays one, because gcc 12 spills if it is
 * unrolled; for one token, which is what decoding asks for, the count is a constant and the loop is gone. */
#define BN_HEAD_TYPE(name, type, isa)                                                                                  \
    ALWAYS_INLINE void name##_tile(const uint8_t *tile, size_t n_blocks, const bn_acts_i16 *acts, size_t first,        \
                                   size_t n_tokens, float *y)                                                          \
    {                                                                                                                  \
        const bn_tile_format f = bn_tile_format_of(type);                                                              \
        const size_t group_cols = f.cols / f.n_groups;                                                                 \
        size_t cols = n_blocks * f.cols, all_groups = n_blocks * f.n_groups;                                           \
        const int16_t *x = acts->x + first * cols;                                                                     \
        const int8_t *digits = acts->digits + 2 * first * cols;                                                        \
        const int32_t *offset = acts->offset + first * all_groups;                                                     \
        bn_group acc[TOKENS];                                                                                          \
        for (size_t t = 0; t < n_tokens; t++)                                                                          \
            acc[t] = bn_group_zero();                                                                                  \
        for (size_t block = 0; block < n_blocks; block++) {                                                            \
            const uint8_t *sc = tile + bn_tile_block_at(f, block), *codes = sc + f.sc_bytes;                           \
            bn_group d = bn_group_from_f16((const uint16_t *)(const void *)(tile + bn_tile_scales_at(f, block)));      \
            for (size_t g = 0; g < f.n_groups; g++, codes += f.group_bytes) {                                          \
                bn_group scale = f.sc_bytes ? bn_group_mul(d, bn_group_from_i8((const int8_t *)sc + 16 * g)) : d;      \
                UNROLL                                                                                                 \
                for (size_t k = 0; k < 4; k++) {                                                                       \
                    int8x16_t fields[MAX_FIELDS];                                                                      \
                    name##_rows(codes + 16 * k, fields);                                                               \
                    for (size_t t = 0; t < n_tokens; t++) {                                                            \
                        int32x4_t sum = rows_dot(fields, group_cols / 4, x + t * cols, digits + 2 * t * cols);         \
                        if (type != BN_TYPE_Q8_0)                                                                      \
                            sum = vaddq_s32(sum, vdupq_n_s32(offset[t * all_groups]));                                 \
                        acc[t].v[k] = vaddq_f32(acc[t].v[k], vmulq_f32(vcvtq_f32_s32(sum), scale.v[k]));               \
                    }                                                                                                  \
                }                                                                                                      \
                x += group_cols;                                                                                       \
                digits += 2 * group_cols;                                                                              \
                offset++;                                                                                              \
            }                                                                                                          \
        }                                                                                                              \
        for (size_t t = 0; t < n_tokens; t++)                                                                          \
            UNROLL                                                                                                     \
            for (size_t k = 0; k < 4; k++)                                                                             \
                vst1q_f32(y + t * BN_TILE_ROWS + 4 * k, vdivq_f32(acc[t].v[k], vdupq_n_f32(acts->s[first + t])));      \
    }                                                                                                                  \
                                                                                                                       \
    void bn_gemm_##name##_i16__##isa(const uint8_t *tile, size_t n_blocks, const bn_acts_i16 *acts, size_t n_tokens,   \
                                     float *y)                                                                         \
    {                                                                                                                  \
        for (size_t t = 0; t < n_tokens; t += TOKENS, y += TOKENS * BN_TILE_ROWS)                                      \
            if (n_tokens - t == 1)                                                                                     \
                name##_tile(tile, n_blocks, acts, t, 1, y);                                                            \
            else                                                                                                       \
                name##_tile(tile, n_blocks, acts, t, n_tokens - t < TOKENS ? n_tokens - t : TOKENS, y);                \
    }

#define BN_HEAD_TYPES(isa)                                                                                             \
    BN_HEAD_TYPE(q8_0, BN_TYPE_Q8_0, isa)                                                                              \
    BN_HEAD_TYPE(q6_k, BN_TYPE_Q6_K, isa)                                                                              \
    BN_HEAD_TYPE(q4_0, BN_TYPE_Q4_0, isa)                                                                              \
    BN_HEAD_TYPE(q2_0, BN_TYPE_Q2_0, isa)

#endif
