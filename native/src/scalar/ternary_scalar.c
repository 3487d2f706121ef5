/* ternary_scalar.c: the reference for ternary matrix times int8 activations. Exact int32 sums of code * q, code = 0, 1, 2.
 *
 * The layout t2 is drawn in kernels.h. |sum| <= 2 * 128 * cols, so int32 holds any cols up to 2^23. */
#include "../kernels.h"

/* Code of row r, col 16*block + 4*f + j of a tile. */
static int32_t code_at(const uint8_t *tile, size_t block, size_t r, size_t f, size_t j)
{
    return (tile[block * BN_BLOCK_BYTES + 4 * r + j] >> (2 * f)) & 3;
}

/* sums[16] = one tile @ q */
static void tile_dot(const uint8_t *tile, size_t n_blocks, const int8_t *q, int32_t *sums)
{
    for (size_t r = 0; r < BN_TILE_ROWS; r++) {
        int32_t sum = 0;
        for (size_t block = 0; block < n_blocks; block++)
            for (size_t f = 0; f < 4; f++)
                for (size_t j = 0; j < 4; j++)
                    sum += code_at(tile, block, r, f, j) * q[block * BN_BLOCK_COLS + 4 * f + j];
        sums[r] = sum;
    }
}

void bn_gemv_t2_i8__scalar(const uint8_t *tiles, size_t n_tiles, size_t n_blocks, const int8_t *q, int32_t *sums)
{
    for (size_t i = 0; i < n_tiles; i++)
        tile_dot(tiles + i * n_blocks * BN_BLOCK_BYTES, n_blocks, q, sums + i * BN_TILE_ROWS);
}

void bn_gemm_t2_i8__scalar(const uint8_t *tiles, size_t n_tiles, size_t n_blocks, const int8_t *q, size_t q_stride,
                           size_t n_tokens, uint8_t *panel, int32_t *sums)
{
    (void)panel;
    for (size_t t = 0; t < n_tokens; t++)
        bn_gemv_t2_i8__scalar(tiles, n_tiles, n_blocks, q + t * q_stride, sums + t * n_tiles * BN_TILE_ROWS);
}
