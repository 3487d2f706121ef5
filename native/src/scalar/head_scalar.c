/* head_scalar.c: the reference for quantised heads: a tile of 16 rows times hidden states of 16 bits.
 *
 * Within a group, whose cols share a scale, everything is an exact integer; groups are added as floats, one after the
 * other. The layout of a tile is drawn in dense_tiles.h.
 *
 * BOUND: a group has at most 32 cols, a code is at most 255, |x| at most 32512, the bias at most 128: code * x, digit
 * by digit, and the offset stay below 2^31 together, in whichever order they are added. Groups of 64 cols have codes up
 * to 3 and a bias of 1. */
#include <math.h>

#include "../dense_tiles.h"
#include "half_scalar.h"

_Static_assert(32LL * 255 * (256 * 127 + 128) + 32LL * 128 * 32512 < 1LL << 31, "int32 sums of a group");
_Static_assert(64LL * 3 * (256 * 127 + 128) + 64LL * 1 * 32512 < 1LL << 31, "int32 sums of a group of q2_0");

void bn_quant_i16__scalar(const float *h, size_t n, size_t group_cols, int32_t bias, int16_t *x, int8_t *digits,
                          int32_t *offset, float *s)
{
    float amax = 1e-30f;
    int finite = 1;
    for (size_t i = 0; i < n; i++) {
        finite &= isfinite(h[i]) != 0;
        amax = fabsf(h[i]) > amax ? fabsf(h[i]) : amax;
    }
    *s = finite ? 32512.0f / amax : NAN;
    for (size_t group = 0; group < n / group_cols; group++)
        offset[group] = 0;
    for (size_t i = 0; i < n; i++) {
        /* Adding 1.5 * 2^23 leaves no fraction bits: the sum is rounded half to even. */
        int32_t value = finite ? (int32_t)((h[i] * *s + 0x1.8p+23f) - 0x1.8p+23f) : 0;
        int32_t high = (value + 128) >> 8;
        x[i] = (int16_t)value;
        digits[i / 4 * 8 + i % 4] = (int8_t)high;
        digits[i / 4 * 8 + 4 + i % 4] = (int8_t)(value - 256 * high);
        offset[i / group_cols] -= bias * value;
    }
}

/* Code of row r and col `col` of a group. */
static int32_t code_at(bn_type type, const uint8_t *group, size_t r, size_t col)
{
    size_t field = col / 4, byte = 4 * r + col % 4;
    switch (type) {
    case BN_TYPE_Q8_0: return group[64 * field + byte];
    case BN_TYPE_Q4_0: return group[64 * (field / 2) + byte] >> (4 * (field % 2)) & 15;
    case BN_TYPE_Q2_0: return group[64 * (field / 4) + byte] >> (2 * (field % 4)) & 3;
    default:
        if (field < 3)
            return group[64 * field + byte] & 63;
        return group[byte] >> 6 | group[64 + byte] >> 6 << 2 | group[128 + byte] >> 6 << 4;
    }
}

/* (row r of the tile) . (one token), times s */
static float row_dot(bn_type type, const uint8_t *tile, size_t n_blocks, size_t r, const int16_t *x)
{
    bn_tile_format f = bn_tile_format_of(type);
    size_t group_cols = f.cols / f.n_groups;
    float acc = 0.0f;
    for (size_t block = 0; block < n_blocks; block++) {
        const uint8_t *at = tile + bn_tile_block_at(f, block);
        uint16_t half;
        memcpy(&half, tile + bn_tile_scales_at(f, block) + 2 * r, sizeof half);
        for (size_t g = 0; g < f.n_groups; g++, x += group_cols) {
            float scale = bn_f32_from_f16(half);
            if (f.sc_bytes)
                scale = scale * (float)(int8_t)at[16 * g + r];
            int32_t sum = 0;
            for (size_t col = 0; col < group_cols; col++)
                sum += (code_at(type, at + f.sc_bytes + g * f.group_bytes, r, col) - f.bias) * x[col];
            acc = acc + (float)sum * scale;
        }
    }
    return acc;
}

static void gemm(bn_type type, const uint8_t *tile, size_t n_blocks, const bn_acts_i16 *acts, size_t n_tokens, float *y)
{
    size_t cols = n_blocks * bn_tile_format_of(type).cols;
    for (size_t t = 0; t < n_tokens; t++)
        for (size_t r = 0; r < BN_TILE_ROWS; r++)
            y[t * BN_TILE_ROWS + r] = row_dot(type, tile, n_blocks, r, acts->x + t * cols) / acts->s[t];
}

#define BN_GEMM(name, type)                                                                                           \
    void bn_gemm_##name##_i16__scalar(const uint8_t *tile, size_t n_blocks, const bn_acts_i16 *acts, size_t n_tokens, \
                                      float *y)                                                                       \
    {                                                                                                                 \
        gemm(type, tile, n_blocks, acts, n_tokens, y);                                                                \
    }

BN_GEMM(q8_0, BN_TYPE_Q8_0)
BN_GEMM(q6_k, BN_TYPE_Q6_K)
BN_GEMM(q4_0, BN_TYPE_Q4_0)
BN_GEMM(q2_0, BN_TYPE_Q2_0)
