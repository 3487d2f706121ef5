/* kernels.h: the kernel table, one pointer per operation, each with its contract.
 *
 * The scalar file of an operation is its specification: every other implementation returns the same bits, for integers
 * and for floats. What makes that possible for floats:
 *   - a sum runs over 16 virtual lanes: element i is added to lane i % 16, in ascending order of i, the last
 *     group padded with +0; then lanes l and l+8 are added, then l and l+4, l+2, l+1 (see lanes.h); or, where a
 *     contract says so, it is one plain sum in ascending order, with others beside it in the vector;
 *   - multiply and add stay two operations (-ffp-contract=off, no fma intrinsic);
 *   - exp is our polynomial, in the same order of operations; sqrt and division are IEEE;
 *   - comparisons that pick a value are written so that a NaN takes the same side everywhere.
 *
 * Ternary weights are held as codes = weight + 1 (0, 1, 2), two bits each unless said, in the layout that suits who reads
 * them (tmat.c writes them). Padding rows and cols hold code 1. `f` is the field 0..3 of a byte, at bits 2*f.
 *
 *   t2  tiles, for a matrix that is always read whole. 16 rows are a tile, 16 cols a block of 64 bytes; tile i is
 *       n_blocks * 64 bytes. Byte 4*r + j of block b holds row r of the tile, cols 16*b + 4*f + j. So byte lane 4*r + j of
 *       (block >> 2*f) & 3 meets activations q[16*b + 4*f + j]: a four-byte broadcast of activations against 16 rows.
 *   r2  rows, for a matrix of which some rows are not needed. 256 cols are a group of 64 bytes. Byte p of group b holds
 *       cols 256*b + 64*f + p: a vector of bytes meets as many consecutive activations.
 *   c2  cols, for a matrix that meets many activations of zero. 256 rows are a strip of 64 bytes; col i is
 *       n_strips * 64 bytes. Byte 16*l + 4*m + j of strip s (l, m, j = 0..3) holds rows 256*s + 64*f + 16*m + 4*l + j: once
 *       four cols are interleaved byte by byte, an int32 lane holds four cols of a row, 16 consecutive rows a register.
 *   l3  lookups, for a matrix that is always read whole, in 5/3 bits a weight: three cols are one index of 5 bits into the
 *       27 sums that three weights can make of three activations. 64 rows are a slab, 48 cols a group of 640 bytes; slab i
 *       is n_groups * 640 bytes. A group is five pairs of 64-byte vectors of 32 little-endian uint16: lane r of vector
 *       2*v + h is row 32*h + r of the slab. It holds the indices of the cols 9*v.., 9*v + 3.., 9*v + 6.. of the group at
 *       bits 0, 5 and 10. Its bit 15 is bit v of the index of the cols 45..47. The index of weights a, b, c (-1, 0, +1)
 *       is the magnitude of n = 9*a + 3*b + c in bits 0..3 and its sign in bit 4 (set if n < 0).
 *
 *   g2  groups, for a matrix with a scale per row and group of 64, 128 or 256 cols. 64 rows are a slab, which holds
 *       group after group: its four tiles as in t2, each of group_cols / 16 blocks, then the scales of the 64 rows, as
 *       f16 if all scales of the matrix are numbers of f16, else as float32.
 *
 * The panel: codes of 1 or 2 tiles one to a byte, in groups of four cols, panel[group][tile][16 rows][4 cols].
 *
 * Weights and panels start at multiples of 64 bytes. Activations start at a multiple of 64 bytes and are followed by
 * zeros, up to a multiple of 256 and 64 more. All other pointers need only their type's natural alignment. No argument
 * may overlap an output unless said. */
#ifndef BN_KERNELS_H
#define BN_KERNELS_H

#include <stddef.h>
#include <stdint.h>

enum {
    BN_TILE_ROWS = 16,
    BN_BLOCK_COLS = 16,
    BN_BLOCK_BYTES = 64,
    BN_GROUP_COLS = 256,    /* of a row of r2 */
    BN_STRIP_ROWS = 256,    /* of a col of c2 */
    BN_SLAB_ROWS = 64,      /* of l3 */
    BN_LOOKUP_COLS = 48,    /* of a group of l3 */
    BN_LOOKUP_BYTES = 640,
    BN_TABLE_BYTES = 1024,  /* most that table_l3_i8 writes per group */
    BN_GEMM_TILES = 2,      /* most tiles of one panel */
    BN_AHEAD = 64,          /* entries of an index that only say what will be wanted next */
    BN_PROBE_PRODUCTS = 1024,   /* multiply-adds of a step of probe_int8 */
    BN_PROBE_AHEAD = 4096   /* bytes that probe_read asks memory for ahead; past the end it is only a hint */
};

/* Hidden states for a quantised head, one row per token; written by quant_i16. */
typedef struct {
    const int16_t *x;           /* [n_tokens][cols] */
    const int8_t *digits;       /* [n_tokens][cols / 4][2][4] */
    const int32_t *offset;      /* [n_tokens][groups] */
    const float *s;             /* [n_tokens] */
} bn_acts_i16;

typedef struct bn_kernels {
    /* t2: sums[16*n_tiles] = sum over cols of code * q, for n_tiles consecutive tiles of n_blocks blocks each.
     * q: int8 [16*n_blocks], any value -128..127. n_tiles >= 0, n_blocks <= 2^18 (tmat.c sees to it). */
    void (*gemv_t2_i8)(const uint8_t *tiles, size_t n_tiles, size_t n_blocks, const int8_t *q, int32_t *sums);

    /* r2: sums[i] = sum over cols of code * q of row index[i], i < n; rows of n_groups groups, at most 2^14.
     * index[n..n+BN_AHEAD-1] are rows too, likely the next ones to be wanted: memory may be asked for them. */
    void (*gemv_r2_i8)(const uint8_t *rows, size_t n_groups, const uint32_t *index, size_t n, const int8_t *q,
                       int32_t *sums);

    /* c2: sums[256*n_strips] += sum over i < n of code * q[i] of col index[i]. q: any n values, no zeros follow.
     * index[n..n+BN_AHEAD-1] as above. */
    void (*gemv_c2_i8)(const uint8_t *cols, size_t n_strips, const uint32_t *index, const int8_t *q, size_t n,
                       int32_t *sums);

    /* What gemv_l3_i8 looks up: the sums of each three activations, for n_groups groups. q: int8 [48*n_groups]. The table,
     * n_groups * BN_TABLE_BYTES bytes that start at a multiple of 64, is only for gemv_l3_i8 of the same ISA. */
    void (*table_l3_i8)(const int8_t *q, size_t n_groups, void *table);

    /* l3: sums[64*n_slabs] = sum over cols of code * q, for n_slabs consecutive slabs of n_groups groups each, at most
     * 2^17. q_sum: the sum of the q that the table was made from: it turns sums of weights into sums of codes. */
    void (*gemv_l3_i8)(const uint8_t *slabs, size_t n_slabs, size_t n_groups, const void *table, int32_t q_sum,
                       int32_t *sums);

    /* g2: acc[64] = sum over n_groups groups, one after the other from +0 on, of (float)(sum over the group's cols of
     * code * q - q_sums[group]) * scale, for the rows of one slab. group_blocks: 4, 8 or 16. halves: scales are f16.
     * q: int8 [16*group_blocks*n_groups]. */
    void (*gemv_g2_i8)(const uint8_t *slab, size_t n_groups, size_t group_blocks, int halves, const int8_t *q,
                       const int32_t *q_sums, float *acc);

    /* Panel of blocks first..first+n_blocks-1 of tiles tile..tile+n_tiles-1. stride: bytes of a tile (t2), row (r2),
     * col (c2) or slab (l3). 1 <= n_tiles <= BN_GEMM_TILES; first is a multiple of 16, for l3 first and n_blocks are
     * multiples of 3. The panel holds n_tiles * n_blocks * 256 bytes. */
    void (*unpack_t2)(const uint8_t *weights, size_t stride, size_t tile, size_t n_tiles, size_t first, size_t n_blocks,
                      uint8_t *panel);
    void (*unpack_r2)(const uint8_t *weights, size_t stride, size_t tile, size_t n_tiles, size_t first, size_t n_blocks,
                      uint8_t *panel);
    void (*unpack_c2)(const uint8_t *weights, size_t stride, size_t tile, size_t n_tiles, size_t first, size_t n_blocks,
                      uint8_t *panel);
    void (*unpack_l3)(const uint8_t *weights, size_t stride, size_t tile, size_t n_tiles, size_t first, size_t n_blocks,
                      uint8_t *panel);

    /* sums[t][16*n_tiles] = (or +=, if add) sum over the panel's cols of code * q[t], for n_tokens rows of q that lie
     * q_stride bytes apart and start at the panel's first col. n_blocks blocks of 16 cols; n_tokens >= 0. */
    void (*gemm_panel_i8)(const uint8_t *panel, size_t n_tiles, size_t n_blocks, const int8_t *q, size_t q_stride,
                          size_t n_tokens, int add, int32_t *sums);

    /* Writes first + i for every i < n with x[i] > 0 (or q[i] != 0), ascending, and returns how many. index has room for
     * n + 16: what follows the last one is anything. */
    size_t (*live_f32)(const float *x, size_t n, uint32_t first, uint32_t *index);
    size_t (*live_i8)(const int8_t *q, size_t n, uint32_t first, uint32_t *index);

    /* y[n] = w * (x * (1 / sqrt(mean(x^2) + eps))); y may be x. */
    void (*rmsnorm_f32)(const float *x, const float *w, size_t n, float eps, float *y);

    /* s = 127 / max(absmax(x), 1e-5); q = clamp(round_half_even(x * s), -128, 127), NaN -> -128; sum = sum of q. */
    void (*quant_i8)(const float *x, size_t n, int8_t *q, float *s, int32_t *sum);

    /* y[n] (+)= ((float)(sums[i] - q_sum) / s) * scale; added to y if add, else stored. */
    void (*descale_f32)(const int32_t *sums, size_t n, int32_t q_sum, float s, float scale, int add, float *y);

    /* The same with a scale for each sum: scales[n]. */
    void (*descale_rows_f32)(const int32_t *sums, size_t n, int32_t q_sum, float s, const float *scales, int add,
                             float *y);

    /* sums[i] = sum of q[i*group_cols..(i+1)*group_cols-1], i < n; group_cols is a multiple of 64, at most 256. */
    void (*group_sums_i8)(const int8_t *q, size_t n, size_t group_cols, int32_t *sums);

    /* What one group of g2 adds: acc[t][i] = acc[t][i] + (float)(sums[t][i] - q_sums[t*q_stride]) * scales[i], for
     * t < n_tokens, i < n; n is a multiple of 16. */
    void (*add_scaled_f32)(const int32_t *sums, size_t n, size_t n_tokens, const int32_t *q_sums, size_t q_stride,
                           const float *scales, float *acc);

    /* Turns n_heads heads of head_dim values in place: the first n_rot values of each, pairs (i, i + n_rot/2) if neox,
     * else (2i, 2i+1); (a, b) -> (a*cos - b*sin, a*sin + b*cos). cos, sin: [n_rot/2]. */
    void (*rope_f32)(float *x, size_t n_heads, size_t head_dim, size_t n_rot, int neox, const float *cos,
                     const float *sin);

    /* The two matrix products of attention: out[r][16*s + l] = (or +=, if add) sum over i < n, in ascending order, of
     * a[r][i] * b[s][i][l], for n_rows rows of a and n_slabs slabs of b, l < 16. Each lane is one plain sum that starts
     * from +0 (or from out). Strides are in values: from one row or slab to the next. Any of the counts may be 0.
     * b is float32, f16 or int8; up to 4 kB behind it memory may be asked for. */
    void (*slabs_f32)(const float *a, size_t a_stride, size_t n_rows, const void *b, size_t b_stride, size_t n_slabs,
                      size_t n, int add, float *out, size_t out_stride);
    void (*slabs_f16)(const float *a, size_t a_stride, size_t n_rows, const void *b, size_t b_stride, size_t n_slabs,
                      size_t n, int add, float *out, size_t out_stride);
    void (*slabs_i8)(const float *a, size_t a_stride, size_t n_rows, const void *b, size_t b_stride, size_t n_slabs,
                     size_t n, int add, float *out, size_t out_stride);

    /* Sums of products with keys into weights of values, in place: s = x * scale, or (x * k_scale) * scale if k_scale is
     * not NULL; m = max of s; e = exp(s - m); x = e, or e * v_scale if v_scale is not NULL. Returns the 16-lane sum of
     * e, by which the weighted values are still to be divided. k_scale, v_scale: [n]; n >= 1. */
    float (*softmax_f32)(float *x, size_t n, float scale, const float *k_scale, const float *v_scale);

    /* out = g > 0 ? (g * g) * u : +0: where the gate is closed u does not matter; out may be g or u. */
    void (*glu_relu2_f32)(const float *g, const float *u, size_t n, float *out);

    /* out = (g / (1 + exp(-g))) * u; out may be g or u. */
    void (*glu_silu_f32)(const float *g, const float *u, size_t n, float *out);

    /* out = (g / (1 + exp(-g * (a + b * (g * g))))) * u; out may be g or u. With a = 2 * sqrt(2/pi) and b = 0.044715 * a
     * that is GELU by its tanh formula, 0.5 * g * (1 + tanh(z)) = g / (1 + exp(-2z)), without cancellation. */
    void (*glu_gelu_f32)(const float *g, const float *u, size_t n, float *out);

    /* h = x rounded to f16, half to even, subnormals kept, overflow to infinity, NaN to a quiet NaN 0x7e00 | sign. */
    void (*f16_from_f32)(const float *x, size_t n, uint16_t *h);

    /* One row of a dense matrix as floats, exactly (the order of operations is the scalar file's). */
    void (*dequant_f32)(const void *row, size_t n, float *out);
    void (*dequant_f16)(const void *row, size_t n, float *out);
    void (*dequant_bf16)(const void *row, size_t n, float *out);
    void (*dequant_q8_0)(const void *row, size_t n, float *out);
    void (*dequant_q6_k)(const void *row, size_t n, float *out);
    void (*dequant_q4_0)(const void *row, size_t n, float *out);
    void (*dequant_q2_0)(const void *row, size_t n, float *out);

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
    void (*gemm_q2_0_i16)(const uint8_t *tile, size_t n_blocks, const bn_acts_i16 *acts, size_t n_tokens, float *y);

    /* What memory gives at most: reads n_lines * 64 bytes that start at a multiple of 64 and returns the exclusive-or of
     * their 64-bit words. */
    uint64_t (*probe_read)(const uint8_t *data, size_t n_lines);

    /* What the CPU multiplies at most, without reading memory: n_steps * 16 times the sum of codes[64] * q[64], modulo
     * 2^32, in chains that do not wait for each other. codes are 0..2; both start at multiples of 64. */
    uint32_t (*probe_int8)(const uint8_t *codes, const int8_t *q, size_t n_steps);
} bn_kernels;

#endif
