/* kernels.h: the kernel table, one pointer per operation, each with its contract.
 *
 * The scalar file of an operation is its specification: every other implementation returns the same bits, for integers
 * and for floats. What makes that possible for floats:
 *   - a sum runs over 16 virtual lanes: element i is added to lane i % 16, in ascending order of i, the last
 *     group padded with +0; then lanes l and l+8 are added, then l and l+4, l+2, l+1 (see lanes.h);
 *   - multiply and add stay two operations (-ffp-contract=off, no fma intrinsic);
 *   - exp is our polynomial, in the same order of operations; sqrt and division are IEEE;
 *   - comparisons that pick a value are written so that a NaN takes the same side everywhere.
 *
 * The packed 2-bit layout `t2` (written by tmat.c, read by gemv_t2_i8 and gemm_t2_i8):
 *   rows are grouped in tiles of BN_TILE_ROWS = 16, cols in blocks of BN_BLOCK_COLS = 16;
 *   tile i is n_blocks * 64 bytes; block b of a tile is 64 bytes; byte 4*r + j of it holds, for row r = 0..15 of the
 *   tile, the codes of the four cols 16*b + 4*f + j, f = 0..3, at bits 2*f; code = weight + 1 (0, 1, 2).
 *   Padding rows and cols hold code 1. So byte lane 4*r+j of (block >> 2f) & 3 meets activations q[16*b + 4*f + j]:
 *   a four-byte broadcast of activations against 16 rows, with no horizontal sum at the end.
 * Tiles start at multiples of 64 bytes. Activations are padded with zeros to a multiple of 64 and start at a multiple of 64.
 * All other pointers need only their type's natural alignment. No argument may overlap an output unless said. */
#ifndef BN_KERNELS_H
#define BN_KERNELS_H

#include <stddef.h>
#include <stdint.h>

enum {
    BN_TILE_ROWS = 16,
    BN_BLOCK_COLS = 16,
    BN_BLOCK_BYTES = 64,
    BN_GEMM_TILES = 2       /* most tiles of one gemm call */
};

/* Hidden states for a quantised head, one row per token; written by quant_i16. */
typedef struct {
    const int16_t *x;           /* [n_tokens][cols] */
    const int8_t *digits;       /* [n_tokens][cols / 4][2][4] */
    const int32_t *offset;      /* [n_tokens][groups] */
    const float *s;             /* [n_tokens] */
} bn_acts_i16;

typedef struct bn_kernels {
    /* sums[16*n_tiles] = sum over cols of code * q, for n_tiles consecutive tiles of n_blocks blocks each.
     * q: int8 [16*n_blocks], any value -128..127. n_tiles >= 0, n_blocks <= 2^18 (tmat.c sees to it). */
    void (*gemv_t2_i8)(const uint8_t *tiles, size_t n_tiles, size_t n_blocks, const int8_t *q, int32_t *sums);

    /* sums[t][16*n_tiles] = the same for n_tokens rows of q, q_stride bytes apart. 1 <= n_tiles <= BN_GEMM_TILES.
     * panel: scratch of n_tiles * n_blocks * 256 bytes, 64-byte aligned, for the unpacked codes. */
    void (*gemm_t2_i8)(const uint8_t *tiles, size_t n_tiles, size_t n_blocks, const int8_t *q, size_t q_stride,
                       size_t n_tokens, uint8_t *panel, int32_t *sums);

    /* y[n] = w * (x * (1 / sqrt(mean(x^2) + eps))); y may be x. */
    void (*rmsnorm_f32)(const float *x, const float *w, size_t n, float eps, float *y);

    /* s = 127 / max(absmax(x), 1e-5); q = clamp(round_half_even(x * s), -128, 127), NaN -> -128; sum = sum of q. */
    void (*quant_i8)(const float *x, size_t n, int8_t *q, float *s, int32_t *sum);

    /* y[n] (+)= ((float)(sums[i] - q_sum) / s) * scale; added to y if add, else stored. */
    void (*descale_f32)(const int32_t *sums, size_t n, int32_t q_sum, float s, float scale, int add, float *y);

    /* Turns n_heads heads of head_dim values in place: the first n_rot values of each, pairs (i, i + n_rot/2) if neox,
     * else (2i, 2i+1); (a, b) -> (a*cos - b*sin, a*sin + b*cos). cos, sin: [n_rot/2]. */
    void (*rope_f32)(float *x, size_t n_heads, size_t head_dim, size_t n_rot, int neox, const float *cos,
                     const float *sin);

    /* scores[n_pos] = (q . k[pos]) * scale, k: f16 [n_pos][head_dim]; the 16-lane sum. */
    void (*attn_qk_f16)(const float *q, const uint16_t *k, size_t n_pos, size_t head_dim, float scale, float *scores);

    /* x = softmax(x) in place: m = max, e = exp(x - m), x = e / (16-lane sum of e). n >= 1. */
    void (*softmax_f32)(float *x, size_t n);

    /* out[d] = sum over pos, ascending, of p[pos] * v[pos][d]; v: f16 [n_pos][head_dim]. */
    void (*attn_pv_f16)(const float *p, const uint16_t *v, size_t n_pos, size_t head_dim, float *out);

    /* out = relu(g)^2 * u, as (r * r) * u with r = g > 0 ? g : 0; out may be g or u. */
    void (*glu_relu2_f32)(const float *g, const float *u, size_t n, float *out);

    /* out = (g / (1 + exp(-g))) * u; out may be g or u. */
    void (*glu_silu_f32)(const float *g, const float *u, size_t n, float *out);

    /* h = x rounded to f16, half to even, subnormals kept, overflow to infinity, NaN to a quiet NaN 0x7e00 | sign. */
    void (*f16_from_f32)(const float *x, size_t n, uint16_t *h);

    /* One row of a dense matrix as floats, exactly (the order of operations is the scalar file's). */
    void (*dequant_f32)(const void *row, size_t n, float *out);
    void (*dequant_f16)(const void *row, size_t n, float *out);
    void (*dequant_bf16)(const void *row, size_t n, float *out);
    void (*dequant_q8_0)(const void *row, size_t n, float *out);
    void (*dequant_q6_k)(const void *row, size_t n, float *out);
    void (*dequant_q4_0)(const void *row, size_t n, float *out);

    /* y[rows] = dequant(row) . x with the 16-lane sum; rows lie row_bytes apart and cols is a multiple of the block. */
    void (*gemv_f32_f32)(const void *w, size_t row_bytes, size_t rows, size_t cols, const float *x, float *y);
    void (*gemv_f16_f32)(const void *w, size_t row_bytes, size_t rows, size_t cols, const float *x, float *y);
    void (*gemv_bf16_f32)(const void *w, size_t row_bytes, size_t rows, size_t cols, const float *x, float *y);

    /* A hidden state for a quantised head: x = round_half_even(h * s), s = 32512 / max(absmax(h), 1e-30), so that
     * |x| <= 32512; digits of each four x: the high four, then the low four, x = 256 * high + low, all int8;
     * offset[n / group_cols] = -bias * sum of x over each group. If an h is not finite, x is 0 and s is NaN, which
     * makes every logit NaN. n is a multiple of group_cols, group_cols of 4. */
    void (*quant_i16)(const float *h, size_t n, size_t group_cols, int32_t bias, int16_t *x, int8_t *digits,
                      int32_t *offset, float *s);

    /* y[n_tokens][16] = (tile @ x) / s for one tile of n_blocks blocks, laid out as dense_tiles.h draws it. Groups of
     * cols that share a scale are exact integers S = sum of (code - bias) * x, added in ascending order to one float
     * per row: acc = acc + (float)S * d, for q6_k (float)S * (d * (float)sc). Tiles start at multiples of 64. */
    void (*gemm_q8_0_i16)(const uint8_t *tile, size_t n_blocks, const bn_acts_i16 *acts, size_t n_tokens, float *y);
    void (*gemm_q6_k_i16)(const uint8_t *tile, size_t n_blocks, const bn_acts_i16 *acts, size_t n_tokens, float *y);
    void (*gemm_q4_0_i16)(const uint8_t *tile, size_t n_blocks, const bn_acts_i16 *acts, size_t n_tokens, float *y);
} bn_kernels;

#endif
