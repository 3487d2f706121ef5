/* ternary_scalar.c: the reference for ternary matrix times int8 activations. Exact int32 sums of code * q, code = 0, 1, 2.
 *
 * The layouts t2, r2 and c2 and the panel are drawn in kernels.h. |sum| <= 2 * 128 * cols, so int32 holds any cols up to
 * 2^23. */
#include <string.h>

#include "../kernels.h"
#include "half_scalar.h"

/* ---- Where the code of a (row, col) lies ---- */

static int32_t field(uint8_t byte, size_t f)
{
    return byte >> (2 * f) & 3;
}

/* stride: bytes of a tile */
static int32_t code_t2(const uint8_t *weights, size_t stride, size_t row, size_t col)
{
    const uint8_t *block = weights + row / 16 * stride + col / 16 * 64;
    return field(block[4 * (row % 16) + col % 4], col % 16 / 4);
}

/* stride: bytes of a row */
static int32_t code_r2(const uint8_t *weights, size_t stride, size_t row, size_t col)
{
    const uint8_t *group = weights + row * stride + col / 256 * 64;
    return field(group[col % 64], col % 256 / 64);
}

/* stride: bytes of a col */
static int32_t code_c2(const uint8_t *weights, size_t stride, size_t row, size_t col)
{
    const uint8_t *strip = weights + col * stride + row / 256 * 64;
    size_t m = row % 64 / 16, l = row % 16 / 4, j = row % 4;
    return field(strip[16 * l + 4 * m + j], row % 256 / 64);
}

/* ---- One token ---- */

void bn_gemv_t2_i8__scalar(const uint8_t *tiles, size_t n_tiles, size_t n_blocks, const int8_t *q, int32_t *sums)
{
    for (size_t row = 0; row < BN_TILE_ROWS * n_tiles; row++) {
        sums[row] = 0;
        for (size_t col = 0; col < BN_BLOCK_COLS * n_blocks; col++)
            sums[row] += code_t2(tiles, n_blocks * BN_BLOCK_BYTES, row, col) * q[col];
    }
}

static float scale_of(const uint8_t *at, int half)
{
    uint16_t bits;
    float scale;
    memcpy(&bits, at, sizeof bits);
    if (half)
        return bn_f32_from_f16(bits);
    memcpy(&scale, at, sizeof scale);
    return scale;
}

void bn_gemv_g2_i8__scalar(const uint8_t *slab, size_t n_groups, size_t group_blocks, int halves, const int8_t *q,
                           const int32_t *q_sums, float *acc)
{
    size_t tile_bytes = group_blocks * BN_BLOCK_BYTES, scales_at = BN_SLAB_ROWS / BN_TILE_ROWS * tile_bytes;
    size_t group_bytes = scales_at + BN_SLAB_ROWS * (halves ? 2 : 4);
    for (size_t row = 0; row < BN_SLAB_ROWS; row++) {
        acc[row] = 0.0f;
        for (size_t g = 0; g < n_groups; g++) {
            const uint8_t *group = slab + g * group_bytes, *at = group + scales_at + row * (halves ? 2 : 4);
            int32_t sum = 0;
            for (size_t col = 0; col < BN_BLOCK_COLS * group_blocks; col++)
                sum += code_t2(group, tile_bytes, row, col) * q[g * BN_BLOCK_COLS * group_blocks + col];
            acc[row] += (float)(sum - q_sums[g]) * scale_of(at, halves);
        }
    }
}

void bn_gemv_r2_i8__scalar(const uint8_t *rows, size_t n_groups, const uint32_t *index, size_t n, const int8_t *q,
                           int32_t *sums)
{
    for (size_t i = 0; i < n; i++) {
        sums[i] = 0;
        for (size_t col = 0; col < BN_GROUP_COLS * n_groups; col++)
            sums[i] += code_r2(rows, n_groups * 64, index[i], col) * q[col];
    }
}

void bn_gemv_c2_i8__scalar(const uint8_t *cols, size_t n_strips, const uint32_t *index, const int8_t *q, size_t n,
                           int32_t *sums)
{
    for (size_t i = 0; i < n; i++)
        for (size_t row = 0; row < BN_STRIP_ROWS * n_strips; row++)
            sums[row] += code_c2(cols, n_strips * 64, row, index[i]) * q[i];
}

/* ---- Several tokens ---- */

#define BN_UNPACK(layout)                                                                                              \
    void bn_unpack_##layout##__scalar(const uint8_t *weights, size_t stride, size_t tile, size_t n_tiles,              \
                                      size_t first, size_t n_blocks, uint8_t *panel)                                   \
    {                                                                                                                  \
        for (size_t col = 0; col < BN_BLOCK_COLS * n_blocks; col++)                                                    \
            for (size_t row = 0; row < BN_TILE_ROWS * n_tiles; row++)                                                  \
                panel[(col / 4 * n_tiles * BN_TILE_ROWS + row) * 4 + col % 4] = (uint8_t)code_##layout(                \
                    weights, stride, BN_TILE_ROWS * tile + row, BN_BLOCK_COLS * first + col);                          \
    }

BN_UNPACK(t2)
BN_UNPACK(r2)
BN_UNPACK(c2)

void bn_gemm_panel_i8__scalar(const uint8_t *panel, size_t n_tiles, size_t n_blocks, const int8_t *q, size_t q_stride,
                              size_t n_tokens, int add, int32_t *sums)
{
    size_t n_rows = BN_TILE_ROWS * n_tiles;
    for (size_t t = 0; t < n_tokens; t++, q += q_stride, sums += n_rows)
        for (size_t row = 0; row < n_rows; row++) {
            int32_t sum = add ? sums[row] : 0;
            for (size_t col = 0; col < BN_BLOCK_COLS * n_blocks; col++)
                sum += panel[(col / 4 * n_rows + row) * 4 + col % 4] * q[col];
            sums[row] = sum;
        }
}
