/* lut_scalar.c: the reference for ternary matrix times int8 activations by lookup. The layout l3 is drawn in kernels.h.
 *
 * The table holds, for each three activations, what their 27 possible indices stand for. A sum of lookups is the exact sum
 * of weight * q; q_sum is added once, since code = weight + 1. */
#include "../kernels.h"

enum { TRIPLES = BN_LOOKUP_COLS / 3, INDICES = 32 };
_Static_assert(TRIPLES * INDICES * sizeof(int16_t) == BN_TABLE_BYTES, "one int16 per index of a triple");

/* Weight -1, 0, +1 of col 0, 1 or 2 of the three that an index stands for. */
static int32_t weight(unsigned index, size_t col)
{
    static const unsigned power[3] = {9, 3, 1};
    unsigned n = 13 + (index & 16 ? -(index & 15) : index);        /* 13 = 9 + 3 + 1: no digit is negative now */
    return (int32_t)(n / power[col] % 3) - 1;
}

/* Lane of the vector that holds cols 9*v.. of the group, for a row of the slab. */
static unsigned lane(const uint8_t *group, size_t v, size_t row)
{
    const uint8_t *at = group + (2 * v + row / 32) * 64 + row % 32 * 2;
    return at[0] | (unsigned)at[1] << 8;
}

/* Index of three cols of a group. */
static unsigned index_of(const uint8_t *group, size_t row, size_t triple)
{
    if (triple < TRIPLES - 1)
        return lane(group, triple / 3, row) >> (5 * (triple % 3)) & 31;
    unsigned index = 0;
    for (unsigned v = 0; v < 5; v++)
        index |= lane(group, v, row) >> 15 << v;
    return index;
}

void bn_table_l3_i8__scalar(const int8_t *q, size_t n_groups, void *table)
{
    int16_t *out = table;
    for (size_t triple = 0; triple < TRIPLES * n_groups; triple++, q += 3)
        for (unsigned index = 0; index < INDICES; index++)
            *out++ = (int16_t)(weight(index, 0) * q[0] + weight(index, 1) * q[1] + weight(index, 2) * q[2]);
}

void bn_gemv_l3_i8__scalar(const uint8_t *slabs, size_t n_slabs, size_t n_groups, const void *table, int32_t q_sum,
                           int32_t *sums)
{
    const int16_t *entries = table;
    for (size_t row = 0; row < BN_SLAB_ROWS * n_slabs; row++) {
        const uint8_t *slab = slabs + row / BN_SLAB_ROWS * n_groups * BN_LOOKUP_BYTES;
        sums[row] = q_sum;
        for (size_t triple = 0; triple < TRIPLES * n_groups; triple++) {
            const uint8_t *group = slab + triple / TRIPLES * BN_LOOKUP_BYTES;
            sums[row] += entries[triple * INDICES + index_of(group, row % BN_SLAB_ROWS, triple % TRIPLES)];
        }
    }
}

void bn_unpack_l3__scalar(const uint8_t *weights, size_t stride, size_t tile, size_t n_tiles, size_t first,
                          size_t n_blocks, uint8_t *panel)
{
    for (size_t row = 0; row < BN_TILE_ROWS * n_tiles; row++) {
        size_t from = BN_TILE_ROWS * tile + row;
        for (size_t col = 0; col < BN_BLOCK_COLS * n_blocks; col++) {
            size_t at = BN_BLOCK_COLS * first + col;
            const uint8_t *group = weights + from / BN_SLAB_ROWS * stride + at / BN_LOOKUP_COLS * BN_LOOKUP_BYTES;
            unsigned index = index_of(group, from % BN_SLAB_ROWS, at % BN_LOOKUP_COLS / 3);
            panel[(col / 4 * n_tiles * BN_TILE_ROWS + row) * 4 + col % 4] = (uint8_t)(weight(index, at % 3) + 1);
        }
    }
}
